#include "poller/poller.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/processors.h"
#include "poller/endpoint_priv.h"
#include "sources/http.h"
#include "sources/tricorder_layouts.h"

/* Longer than the usual interval of 30 s, so that a connection lasts from poll to poll. */
#define KEEP_ALIVE_S 120
/* Polls kept for the next: as many as one turn or two start. */
#define POLLS_KEPT 128
/* For layouts of tricorder answers: 10,000 of 1,000 metrics that differ in a few take 200 MB. */
#define LAYOUTS_BYTES (256 * 1024 * 1024)

/*
 * Polls that one turn of a loop starts: enough for the turn itself to cost little, and few enough
 * for their answers to be dealt with in the next one or two.
 */
#define STARTS_PER_TURN 64

/* Own metrics. */

static const double seconds_limits[] = { .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 20, 30, 50, 100 };
static const double changed_limits[] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000,
	10000 };
static const double lateness_limits[] = { .0001, .0002, .0005, .001, .002, .005, .01, .02, .05, .1,
	.2, .5, 1, 2, 5, 10, 20, 50 };

static struct value
read_elapsed(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .i = clock_mono_ns() - pool->began_mono_ns };
}

static struct value
read_endpoints(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->endpoint_count };
}

static struct value
read_polls(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->poll_count };
}

static struct value
read_failed(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->failed_count };
}

static struct value
read_bad(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->bad_count };
}

static struct value
read_metrics(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->metric_count };
}

static struct value
read_body_bytes(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->body_bytes };
}

static struct value
read_skipped(void *ctx, struct arena *arena)
{
	const struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = pool->skipped_count };
}

static struct value
read_connections(void *ctx, struct arena *arena)
{
	struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = gate_taken(&pool->connections) };
}

static struct value
read_polling(void *ctx, struct arena *arena)
{
	struct pollers *pool = ctx;

	(void)arena;
	return (struct value){ .u = gate_taken(&pool->polls) };
}

static const struct own_metric own_rows[] = {
	{ "/collector/elapsedTime", "elapsed time", UNIT_SECONDS, KIND_DURATION, 0, read_elapsed },
	{ "/collector/endpointCount", "Endpoints being polled", UNIT_NONE, KIND_UINT64, 0,
	    read_endpoints },
	{ "/collector/polls", "Polls that ended", UNIT_NONE, KIND_UINT64, 0, read_polls },
	{ "/collector/failedPolls", "Polls that failed", UNIT_NONE, KIND_UINT64, 0, read_failed },
	{ "/collector/badMetrics", "Metrics left out of good polls", UNIT_NONE, KIND_UINT64, 0,
	    read_bad },
	{ "/collector/metrics", "Metrics of good polls, whether they changed or not", UNIT_NONE,
	    KIND_UINT64, 0, read_metrics },
	{ "/collector/answers", "Size of the answers of good polls, uncompressed", UNIT_BYTES,
	    KIND_UINT64, 0, read_body_bytes },
	{ "/collector/skippedTicks", "Times to poll that passed without a poll", UNIT_NONE,
	    KIND_UINT64, 0, read_skipped },
	{ "/collector/connectionsInUse", "Endpoints being connected or polled", UNIT_NONE,
	    KIND_UINT64, 0, read_connections },
	{ "/collector/pollsInUse", "Endpoints being polled", UNIT_NONE, KIND_UINT64, 0,
	    read_polling },
};

/* -1 if one of them cannot be registered. */
static int
register_own(struct pollers *pool, struct err *err)
{
	pool->collection_times = own_dist_new(pool->own, "/collector/collectionTimes",
	    "Collection Times", UNIT_SECONDS, seconds_limits, ARRAY_LEN(seconds_limits), err);
	if (pool->collection_times == NULL)
		return -1;
	pool->tricorder_times = own_dist_new(pool->own, "/collector/collectionTimes_tricorder",
	    "Tricorder Collection Times", UNIT_SECONDS, seconds_limits, ARRAY_LEN(seconds_limits),
	    err);
	if (pool->tricorder_times == NULL)
		return -1;
	pool->changed = own_dist_new(pool->own, "/collector/changedMetricsPerEndpoint",
	    "Changed metrics per sweep", UNIT_NONE, changed_limits, ARRAY_LEN(changed_limits), err);
	if (pool->changed == NULL)
		return -1;
	pool->lateness = own_dist_new(pool->own, "/collector/lateness",
	    "Start of a poll after the time set for it", UNIT_SECONDS, lateness_limits,
	    ARRAY_LEN(lateness_limits), err);
	if (pool->lateness == NULL)
		return -1;
	if (own_add(pool->own, own_rows, ARRAY_LEN(own_rows), pool, err) != 0)
		return -1;
	pool->own_added = true;
	return snmp_totals_register(&pool->snmp, pool->own, err);
}

/* What polls need. */

static struct poll *
poll_new(void)
{
	struct poll *poll = calloc(1, sizeof(*poll));

	if (poll != NULL)
		batch_init(&poll->batch, 0);
	return poll;
}

static void
poll_free(struct poll *poll)
{
	batch_fini(&poll->batch);
	free(poll);
}

struct poll *
poller_take_poll(struct poller *poller)
{
	struct poll *poll = poller->rest;

	if (poll != NULL) {
		poller->rest = poll->next;
		poller->rest_count--;
	} else if ((poll = poll_new()) == NULL) {
		return NULL;
	}
	poll->batch.arena.limit_bytes = (size_t)poller->env.max_response;
	poll->connected = false;
	poll->end = EV_TICK;
	return poll;
}

void
poller_begin_batch(struct poller *poller, struct poll *poll)
{
	if (poller->kept_count > 0)
		batch_move_memory(&poll->batch, &poller->kept[--poller->kept_count]);
}

/* Empties the batch and takes its memory, if it has any. */
static void
keep_batch(struct poller *poller, struct batch *batch)
{
	batch_reset(batch);
	if (batch->arena.chunks == NULL && batch->text.cap == 0)
		return;
	if (poller->kept_count == BATCHES_KEPT) {
		batch_fini(batch);
		return;
	}
	batch_init(&poller->kept[poller->kept_count], 0);
	batch_move_memory(&poller->kept[poller->kept_count++], batch);
}

void
poller_give_poll(struct poller *poller, struct poll *poll)
{
	assert(!poll->running);
	if (poll->react_task.deferred)
		loop_defer_cancel(poller->loop, &poll->react_task);
	loop_timer_clear(poller->loop, &poll->deadline);
	keep_batch(poller, &poll->batch);
	if (poller->rest_count == POLLS_KEPT) {
		poll_free(poll);
		return;
	}
	poll->owner = NULL;
	poll->next = poller->rest;
	poller->rest = poll;
	poller->rest_count++;
}

/* The line. */

bool
poller_may_start(struct poller *poller)
{
	uint64_t turn = loop_turn_count(poller->loop);

	if (poller->start_turn != turn) {
		poller->start_turn = turn;
		poller->starts_left = STARTS_PER_TURN;
	}
	if (poller->starts_left == 0 || loop_is_behind(poller->loop))
		return false;
	poller->starts_left--;
	return true;
}

static void
serve_line(struct loop_timer *timer)
{
	endpoints_serve_line(CONTAINER_OF(timer, struct poller, line_timer));
}

/* Threads. */

static void
poll_now(struct loop_task *task)
{
	endpoints_poll_now(CONTAINER_OF(task, struct poller, poll_now_task));
}

void
pollers_poll_now(struct pollers *pool)
{
	for (unsigned i = 0; i < pool->count; i++)
		loop_post(pool->pollers[i].loop, &pool->pollers[i].poll_now_task);
}

static void
stop(struct loop_task *task)
{
	struct poller *poller = CONTAINER_OF(task, struct poller, stop_task);

	loop_stop(poller->loop);
}

static void *
poller_main(void *arg)
{
	struct poller *poller = arg;
	char name[16]; /* the most that Linux takes, its NUL included */

	snprintf(name, sizeof(name), "poller-%u", (unsigned)(poller - poller->pool->pollers));
	pthread_setname_np(pthread_self(), name);
	loop_run(poller->loop);
	return NULL;
}

static int
poller_init(struct poller *poller, struct pollers *pool, struct resolver *resolver, struct err *err)
{
	poller->pool = pool;
	poller->line_timer.fn = serve_line;
	poller->poll_now_task.fn = poll_now;
	poller->stop_task.fn = stop;
	poller->loop = loop_new(err);
	if (poller->loop == NULL)
		return -1;
	poller->env.loop = poller->loop;
	poller->env.own = pool->own;
	poller->env.snmp_totals = &pool->snmp;
	poller->env.resolver = resolver;
	poller->env.layouts = pool->layouts;
	poller->env.max_response = pool->max_response;
	poller->env.http = http_client_new(poller->loop, resolver, KEEP_ALIVE_S, err);
	return poller->env.http == NULL ? -1 : 0;
}

/* Half-initialised is fine, as long as it is zero before. */
static void
poller_fini(struct poller *poller)
{
	endpoints_end(poller); /* its thread is gone */
	while (poller->rest != NULL) {
		struct poll *poll = poller->rest;

		poller->rest = poll->next;
		poll_free(poll);
	}
	while (poller->kept_count > 0)
		batch_fini(&poller->kept[--poller->kept_count]);
	if (poller->env.http != NULL)
		http_client_free(poller->env.http);
	loop_free(poller->loop);
}

static int
pollers_start(struct pollers *pool, struct err *err)
{
	for (unsigned i = 0; i < pool->count; i++) {
		struct poller *poller = &pool->pollers[i];
		int rc = pthread_create(&poller->thread, NULL, poller_main, poller);

		if (rc != 0) {
			err_errno(err, rc, "start of poller thread %u", i);
			return -1;
		}
		poller->started = true;
	}
	return 0;
}

/* All at once, so that it takes no longer than the slowest. */
static void
pollers_stop(struct pollers *pool)
{
	for (unsigned i = 0; i < pool->count; i++) {
		/* A task, so that all that was posted before is done first. */
		if (pool->pollers[i].started)
			loop_post(pool->pollers[i].loop, &pool->pollers[i].stop_task);
	}
	for (unsigned i = 0; i < pool->count; i++) {
		if (pool->pollers[i].started)
			pthread_join(pool->pollers[i].thread, NULL);
	}
}

/* The pool. */

static size_t
slow_connections(const struct pollers_conf *conf)
{
	return conf->connections > 1 ? conf->connections / 2 : 1;
}

void
pollers_set(struct pollers *pool, const struct pollers_conf *conf)
{
	assert(conf->connections > 0 && conf->max_response > 0);
	assert(conf->connect_timeout_ns > 0 && conf->poll_timeout_ns > 0);
	pool->connect_timeout_ns = conf->connect_timeout_ns;
	pool->poll_timeout_ns = conf->poll_timeout_ns;
	pool->stale_after_ns = conf->stale_after_ns;
	pool->max_response = conf->max_response;
	gate_set_limit(&pool->connections, conf->connections);
	gate_set_limit(&pool->slow_connections, slow_connections(conf));
	gate_set_limit(&pool->polls, conf->polls);
}

struct pollers *
pollers_make(const struct pollers_conf *conf, struct store *store, struct resolver *resolver,
    struct own *own, struct err *err)
{
	unsigned count = conf->threads == 0 ? processor_count() : conf->threads;
	struct pollers *pool = calloc(1, sizeof(*pool));

	if (pool == NULL) {
		err_nomem(err);
		return NULL;
	}
	pool->store = store;
	pool->own = own;
	pool->polled = conf->polled;
	pool->ctx = conf->ctx;
	pool->began_mono_ns = clock_mono_ns();
	gate_init(&pool->connections, conf->connections);
	gate_init(&pool->slow_connections, slow_connections(conf));
	gate_init(&pool->polls, conf->polls);
	pollers_set(pool, conf);
	pool->layouts = tricorder_layouts_new(LAYOUTS_BYTES, err);
	if (pool->layouts == NULL)
		goto failed;
	pool->pollers = calloc(count, sizeof(*pool->pollers));
	if (pool->pollers == NULL) {
		err_nomem(err);
		goto failed;
	}
	for (pool->count = 0; pool->count < count; pool->count++) {
		if (poller_init(&pool->pollers[pool->count], pool, resolver, err) != 0) {
			pool->count++; /* half of it is there */
			goto failed;
		}
	}
	if (register_own(pool, err) != 0)
		goto failed;
	return pool;
failed:
	pollers_unmake(pool);
	return NULL;
}

void
pollers_unmake(struct pollers *pool)
{
	if (pool->own_added)
		own_remove(pool->own, own_rows, pool);
	snmp_totals_remove(&pool->snmp, pool->own);
	for (unsigned i = 0; i < pool->count; i++)
		poller_fini(&pool->pollers[i]);
	free(pool->pollers);
	tricorder_layouts_free(pool->layouts); /* sources and batches are gone */
	gate_fini(&pool->polls);
	gate_fini(&pool->slow_connections);
	gate_fini(&pool->connections);
	free(pool);
}

struct pollers *
pollers_new(const struct pollers_conf *conf, struct store *store, struct resolver *resolver,
    struct own *own, struct err *err)
{
	struct pollers *pool = pollers_make(conf, store, resolver, own, err);

	if (pool != NULL && pollers_start(pool, err) != 0) {
		pollers_free(pool);
		pool = NULL;
	}
	return pool;
}

void
pollers_free(struct pollers *pool)
{
	if (pool == NULL)
		return;
	pollers_stop(pool);
	pollers_unmake(pool);
}
