/*
 * Poller threads under fire: endpoints come and go while they are polled. For the sanitizers above
 * all, so it runs on the real clock.
 */
#include "poller/poller.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "sources/http.h"

/* A source that behaves as the target's port says. */
enum behaviour {
	AT_ONCE,  /* connected and done inside start */
	SOON,     /* connected after 0.3 ms, done 0.3 ms after it may proceed */
	REFUSES,  /* failed after 0.3 ms */
	HANGS,    /* never reports */
	STALLS,   /* connected, then nothing */
	UNUSABLE, /* cannot be opened */
	BEHAVIOURS
};

#define PAUSE_NS (300 * NS_PER_US)

struct actor {
	struct source source;
	struct loop *loop;
	struct loop_timer timer;
	enum behaviour behaviour;
	bool connected;
	struct poll_job *job;
};

static atomic_int open_count; /* sources not yet closed */
static atomic_int under_way, most_under_way;
static atomic_int polling, most_polling;

static void
note_one_more(atomic_int *count, atomic_int *most)
{
	int n = atomic_fetch_add(count, 1) + 1, seen = atomic_load(most);

	while (n > seen && !atomic_compare_exchange_weak(most, &seen, n))
		;
}

static void
report_end(struct actor *actor, enum poll_event event)
{
	struct poll_job *job = actor->job;
	struct err err;

	atomic_fetch_sub(&under_way, 1);
	if (actor->connected && actor->behaviour == SOON)
		atomic_fetch_sub(&polling, 1);
	actor->job = NULL;
	err_set(&err, ERR_IO, "refused");
	job->report(job, event, event == POLL_FAILED ? &err : NULL);
}

static void
fill(struct batch *batch, uint64_t number)
{
	const struct metric_desc desc = {
		.path = STR("/number"), .unit = STR(UNIT_NONE), .kind = KIND_UINT64
	};
	const struct value value = { .u = number };
	struct err err;

	(void)batch_add(batch, &desc, &value, 0, TS_NONE, &err);
}

static void
actor_next(struct loop_timer *timer)
{
	struct actor *actor = CONTAINER_OF(timer, struct actor, timer);

	if (actor->behaviour == REFUSES) {
		report_end(actor, POLL_FAILED);
	} else if (!actor->connected) {
		actor->job->report(actor->job, POLL_CONNECTED, NULL);
		actor->connected = actor->behaviour == STALLS;
	} else {
		fill(actor->job->batch, (uint64_t)loop_now_ns(actor->loop));
		report_end(actor, POLL_DONE);
	}
}

static void
actor_start(struct source *source, struct poll_job *job)
{
	struct actor *actor = CONTAINER_OF(source, struct actor, source);

	assert_null(actor->job); /* no overlap */
	actor->job = job;
	actor->connected = false;
	note_one_more(&under_way, &most_under_way);
	if (actor->behaviour == AT_ONCE) {
		job->report(job, POLL_CONNECTED, NULL);
		fill(job->batch, 1);
		report_end(actor, POLL_DONE);
	} else if (actor->behaviour != HANGS) {
		loop_timer_set(actor->loop, &actor->timer, loop_now_ns(actor->loop) + PAUSE_NS);
	}
}

static void
actor_proceed(struct source *source)
{
	struct actor *actor = CONTAINER_OF(source, struct actor, source);

	if (actor->behaviour != SOON)
		return;
	note_one_more(&polling, &most_polling);
	actor->connected = true;
	loop_timer_set(actor->loop, &actor->timer, loop_now_ns(actor->loop) + PAUSE_NS);
}

static void
actor_cancel(struct source *source)
{
	struct actor *actor = CONTAINER_OF(source, struct actor, source);

	assert_non_null(actor->job);
	loop_timer_clear(actor->loop, &actor->timer);
	atomic_fetch_sub(&under_way, 1);
	if (actor->connected && actor->behaviour == SOON)
		atomic_fetch_sub(&polling, 1);
	actor->job = NULL;
}

static void
actor_close(struct source *source)
{
	struct actor *actor = CONTAINER_OF(source, struct actor, source);

	assert_null(actor->job);
	atomic_fetch_sub(&open_count, 1);
	free(actor);
}

static struct source *actor_open(
    struct source_env *env, const struct source_target *target, struct err *err);

static const struct source_ops actor_ops = {
	.name = "actor",
	.open = actor_open,
	.start = actor_start,
	.cancel = actor_cancel,
	.close = actor_close,
	.proceed = actor_proceed,
};

static struct source *
actor_open(struct source_env *env, const struct source_target *target, struct err *err)
{
	struct actor *actor;

	if (target->port == UNUSABLE) {
		err_set(err, ERR_CONFIG, "no use");
		return NULL;
	}
	actor = calloc(1, sizeof(*actor));
	if (actor == NULL) {
		err_nomem(err);
		return NULL;
	}
	*actor = (struct actor){
		.source.ops = &actor_ops,
		.loop = env->loop,
		.timer.fn = actor_next,
		.behaviour = target->port,
	};
	atomic_fetch_add(&open_count, 1);
	return &actor->source;
}

/* The fixture. */

struct fixture {
	int fds;
	struct own *own;
	struct store *store;
	struct resolver *resolver;
	struct pollers *pool;
	atomic_int polled;
};

static void
on_polled(void *ctx, struct endpoint *ep, const struct batch *batch)
{
	struct fixture *f = ctx;

	assert_true(batch->len == 1 && endpoint_target(ep) != NULL);
	atomic_fetch_add(&f->polled, 1);
}

static void
begin(struct fixture *f, struct pollers_conf conf)
{
	struct err err;

	*f = (struct fixture){ .fds = fault_open_fds() };
	atomic_store(&most_under_way, 0);
	atomic_store(&most_polling, 0);
	f->own = own_new(&err);
	f->store = store_new(&(struct store_conf){ .memory_bytes = 64 << 20 }, NULL, &err);
	f->resolver = resolver_new(&(struct resolver_conf){ .threads = 1 }, &err);
	assert_true(f->own != NULL && f->store != NULL && f->resolver != NULL);
	conf.max_response = 1024 * 1024;
	conf.polled = on_polled;
	conf.ctx = f;
	f->pool = pollers_new(&conf, f->store, f->resolver, f->own, &err);
	if (f->pool == NULL)
		fail_msg("%s", err.text);
}

static void
finish(struct fixture *f)
{
	pollers_free(f->pool);
	assert_int_equal(atomic_load(&open_count), 0);
	assert_int_equal(atomic_load(&under_way), 0);
	assert_int_equal(atomic_load(&polling), 0);
	resolver_free(f->resolver);
	store_free(f->store);
	own_free(f->own);
	assert_int_equal(fault_open_fds(), f->fds);
}

static struct endpoint *
add(struct fixture *f, unsigned number, enum behaviour behaviour, int64_t interval_ns,
    struct endpoint *replaces)
{
	char host[16];
	struct target *target;
	struct endpoint *ep;
	struct err err;

	snprintf(host, sizeof(host), "host%u", number);
	target = target_new(&(struct target){
	    .host = str_of(host),
	    .app = STR("app"),
	    .address = str_of(host),
	    .port = (uint16_t)behaviour,
	    .source = &actor_ops,
	    .interval_ns = interval_ns,
	});
	assert_non_null(target);
	ep = endpoint_add(f->pool, target, replaces, &err);
	target_unref(target);
	assert_non_null(ep);
	return ep;
}

static void
pause_ns(int64_t ns)
{
	const struct timespec length = { ns / NS_PER_S, ns % NS_PER_S };

	nanosleep(&length, NULL);
}

/* Churn. */

#define CHURN_SLOTS 64
#define CHURN_STEPS 6000

/* A reader as the API is one: takes references under a lock, reads without it. */
struct churn {
	pthread_mutex_t mutex;
	struct endpoint *slots[CHURN_SLOTS]; /* under mutex */
	atomic_bool over;
};

static void *
read_statuses(void *arg)
{
	struct churn *churn = arg;
	struct endpoint_status status;

	for (unsigned i = 0; !atomic_load(&churn->over); i = (i + 1) % CHURN_SLOTS) {
		struct endpoint *ep;

		pthread_mutex_lock(&churn->mutex);
		ep = churn->slots[i] == NULL ? NULL : endpoint_ref(churn->slots[i]);
		pthread_mutex_unlock(&churn->mutex);
		if (ep == NULL)
			continue;
		endpoint_status(ep, &status);
		assert_true(status.failures <= status.polls);
		assert_true(status.down == (status.error[0] != '\0'));
		endpoint_unref(ep);
	}
	return NULL;
}

/* A small generator (Numerical Recipes): the same steps in every run. */
static unsigned
dice(unsigned sides)
{
	static uint32_t x = 1;

	x = x * 1664525 + 1013904223;
	return (x >> 16) % sides;
}

/* With the mutex held. */
static void
churn_step(struct fixture *f, struct churn *churn)
{
	unsigned number = dice(CHURN_SLOTS);
	struct endpoint **slot = &churn->slots[number];
	enum behaviour behaviour = (enum behaviour)dice(BEHAVIOURS);
	int64_t interval_ns = (1 + dice(4)) * NS_PER_MS;

	if (*slot == NULL) {
		*slot = add(f, number, behaviour, interval_ns, NULL);
		return;
	}
	switch (dice(3)) {
	case 0:
		endpoint_remove(*slot);
		*slot = NULL;
		break;
	case 1: /* the name is used again at once */
		endpoint_remove(*slot);
		*slot = add(f, number, behaviour, interval_ns, NULL);
		break;
	default:
		*slot = add(f, number, behaviour, interval_ns, *slot);
		break;
	}
}

static void
assert_nothing_is_active(struct store *store)
{
	for (unsigned i = 0; i < CHURN_SLOTS; i++) {
		char host[16];
		struct series_set *set;

		snprintf(host, sizeof(host), "host%u", i);
		set = store_find(store, str_of(host), STR("app"));
		assert_non_null(set);
		assert_int_equal(series_set_active_count(set), 0);
		series_set_unref(set);
	}
}

static void
endpoints_come_and_go_while_polled(void **state)
{
	static struct churn churn;
	struct fixture f;
	pthread_t reader;

	(void)state;
	begin(&f, (struct pollers_conf){
	              .threads = 3,
	              .connections = 24,
	              .polls = 5,
	              .connect_timeout_ns = 3 * NS_PER_MS,
	              .poll_timeout_ns = 3 * NS_PER_MS,
	              .stale_after_ns = 2 * NS_PER_MS,
	          });
	pthread_mutex_init(&churn.mutex, NULL);
	assert_int_equal(pthread_create(&reader, NULL, read_statuses, &churn), 0);
	for (unsigned i = 0; i < CHURN_STEPS; i++) {
		pthread_mutex_lock(&churn.mutex);
		churn_step(&f, &churn);
		pthread_mutex_unlock(&churn.mutex);
		if (i % 8 == 0)
			pause_ns(NS_PER_MS);
	}
	atomic_store(&churn.over, true);
	pthread_join(reader, NULL);
	for (unsigned i = 0; i < CHURN_SLOTS; i++) {
		/* Every name was polled at least once in its time, or is now. */
		if (churn.slots[i] == NULL)
			churn.slots[i] = add(&f, i, AT_ONCE, NS_PER_MS, NULL);
		endpoint_remove(churn.slots[i]);
	}
	pollers_free(f.pool);
	f.pool = NULL;
	assert_nothing_is_active(f.store);
	assert_true(atomic_load(&f.polled) > 100);
	assert_in_range(atomic_load(&most_under_way), 1, 24);
	assert_in_range(atomic_load(&most_polling), 1, 5);
	pthread_mutex_destroy(&churn.mutex);
	finish(&f);
}

static void
settings_change_while_polled(void **state)
{
	enum { N = 32 };
	struct pollers_conf conf = {
		.threads = 2,
		.connections = 8,
		.polls = 2,
		.connect_timeout_ns = NS_PER_S,
		.poll_timeout_ns = NS_PER_S,
		.max_response = 1024 * 1024,
	};
	struct fixture f;
	struct endpoint *eps[N];

	(void)state;
	begin(&f, conf);
	for (unsigned i = 0; i < N; i++)
		eps[i] = add(&f, i, SOON, NS_PER_MS, NULL);
	for (size_t i = 0; i < 200; i++) {
		conf.connections = 1 + i % 8;
		conf.polls = i % 4;
		conf.stale_after_ns = (int64_t)(i % 2) * NS_PER_S;
		pollers_set(f.pool, &conf);
		pause_ns(NS_PER_MS);
	}
	assert_in_range(atomic_load(&most_under_way), 1, 8);
	for (unsigned i = 0; i < N; i++)
		endpoint_remove(eps[i]);
	finish(&f);
}

static void
stopping_does_not_wait_for_targets_that_hang(void **state)
{
	enum { N = 1000 };
	static struct endpoint *eps[N];
	struct fixture f;
	int64_t began_ns;

	(void)state;
	begin(&f, (struct pollers_conf){
	              .threads = 0,         /* one per processor */
	              .connections = N / 2, /* the others stand in line */
	              .connect_timeout_ns = 1000 * NS_PER_S,
	              .poll_timeout_ns = 1000 * NS_PER_S,
	          });
	for (unsigned i = 0; i < N; i++)
		eps[i] = add(&f, i, i % 2 == 0 ? HANGS : STALLS, 10 * NS_PER_MS, NULL);
	while (atomic_load(&under_way) < N / 2)
		pause_ns(NS_PER_MS);
	/* Half of them go by themselves, the rest with the threads. */
	for (unsigned i = 0; i < N; i += 2)
		endpoint_remove(eps[i]);
	began_ns = clock_mono_ns();
	pollers_free(f.pool);
	assert_true(clock_mono_ns() - began_ns < NS_PER_S);
	f.pool = NULL;
	for (unsigned i = 1; i < N; i += 2)
		endpoint_unref(eps[i]);
	finish(&f);
}

static int
compare_i64(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Sorts, tells and returns the middle. */
static int64_t
median_ns(const char *what, int64_t *values, size_t n)
{
	qsort(values, n, sizeof(*values), compare_i64);
	printf("%s: median %.3f ms, 99%% %.3f ms\n", what, (double)values[n / 2] / NS_PER_MS,
	    (double)values[n * 99 / 100] / NS_PER_MS);
	return values[n / 2];
}

/*
 * 1,000 endpoints, each tenth hangs: it is given up at its deadline, and the rest start on time.
 * The bounds are far above what an idle machine shows (about a millisecond), as the sanitizers and
 * other tests take their share.
 */
static void
targets_that_hang_make_no_other_late(void **state)
{
	enum { N = 1000 };
	static struct endpoint *eps[N];
	static int64_t lateness_ns[N], overrun_ns[N];
	const int64_t timeout_ns = 300 * NS_PER_MS;
	struct fixture f;
	size_t good = 0, hanging = 0;

	(void)state;
	begin(&f, (struct pollers_conf){
	              .threads = 2,
	              .connections = N,
	              .connect_timeout_ns = timeout_ns,
	              .poll_timeout_ns = timeout_ns,
	          });
	for (unsigned i = 0; i < N; i++)
		eps[i] = add(&f, i, i % 10 == 0 ? HANGS : SOON, 500 * NS_PER_MS, NULL);
	pause_ns(1500 * NS_PER_MS);
	for (unsigned i = 0; i < N; i++) {
		struct endpoint_status status;

		endpoint_status(eps[i], &status);
		assert_true(status.polls >= 1);
		if (i % 10 == 0) {
			assert_non_null(strstr(status.error, "timed out after 0.3 s"));
			assert_true(status.connect_ns >= timeout_ns);
			overrun_ns[hanging++] = status.connect_ns - timeout_ns;
		} else {
			assert_int_equal(status.failures, 0);
			lateness_ns[good++] = status.lateness_ns;
		}
		endpoint_remove(eps[i]);
	}
	finish(&f);
	assert_true(median_ns("given up after the deadline", overrun_ns, hanging) < 50 * NS_PER_MS);
	assert_true(median_ns("lateness", lateness_ns, good) < 50 * NS_PER_MS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_come_and_go_while_polled),
		cmocka_unit_test(settings_change_while_polled),
		cmocka_unit_test(stopping_does_not_wait_for_targets_that_hang),
		cmocka_unit_test(targets_that_hang_make_no_other_late),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	log_set_level(LOG_ERROR); /* thousands of failures are the point */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
