#include "pstore/pump.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "pstore/lane_priv.h"
#include "pstore/letters_priv.h"
#include "pstore/queue_priv.h"
#include "pstore/texts_priv.h"

/* Read from the queue at once. */
#define CHUNK 256
/* Once all was read: what comes within this time goes together. */
#define IDLE_NS (1 * NS_PER_S) /* unless the environment says otherwise */
/* Memory for strings, lists and distributions of a round; then it is full, whatever its length. */
#define ROUND_VALUE_BYTES ((size_t)8 * 1024 * 1024)
/* How often it is asked if the endpoints are known by now. */
#define KNOWN_NS (100 * NS_PER_MS)
/* After running out of memory. */
#define NOMEM_NS (1 * NS_PER_S)
/* Waits for the journal no longer than this at a time, to see a stop. */
#define ACCEPT_NS (100 * NS_PER_MS)
/* How often the age of the oldest record is looked up, which costs a look at all endpoints. */
#define LAG_NS (1 * NS_PER_S)
/* How often it is said that records are reclaimed before they are written. */
#define SAY_MISSED_NS (60 * NS_PER_S)

enum phase { PHASE_READ, PHASE_ACCEPT, PHASE_SEND };

struct lane_thread {
	struct pump *pump;
	struct lane lane;
	pthread_t thread;
	bool running;
	bool busy; /* has a batch to send; the lock */
};

struct pump {
	struct pump_env env;
	struct consumer *consumer;
	struct queue *queue;
	struct texts texts;
	struct letters letters;
	bool has_texts, has_letters;
	struct lane_env lane_env;
	struct lane_counts counts;
	struct lane_thread *lanes; /* consumer->concurrency */
	unsigned lane_count;       /* of these, initialized */
	bool threaded;             /* lanes have threads of their own */

	pthread_t thread;
	bool running;
	atomic_bool stop, paused;
	_Atomic unsigned resumed; /* how often */

	/* The pump's thread. */
	enum phase phase;
	uint64_t mark;
	uint64_t round_unsupported;
	size_t round_count;   /* records read, whatever became of them */
	size_t round_records; /* in the lanes */
	int64_t round_begun_ns;
	int64_t idle_ns, begun_ns; /* begun: wall clock */
	bool ran_out;              /* the round has all there was */
	int64_t next_read_ns, next_lag_ns, next_say_ns;
	uint64_t missed_said; /* of missed, in the log */
	const struct metric_desc *last_desc;
	const struct known_series *last_series;
	struct str last_host, last_app;
	const struct known_origin *last_origin;
	void (*observe)(void *ctx, double round_s, double per_record_ms);
	void *observe_ctx;
	struct cursor_record in[CHUNK];

	_Atomic uint64_t unsupported, missed, left;
	_Atomic int64_t oldest_ns; /* wall clock, of what is not written; 0 = nothing */
	_Atomic double position;   /* percent */
	_Atomic int64_t last_success_ns;
	_Atomic enum pump_state state; /* but for an error or pause, which come before it */

	struct lock lock;
	struct lock_cond cond;
	/* The lock. */
	bool woken;
	unsigned failing_count; /* lanes */
	bool misconfigured;
	int64_t last_error_ns;
	char last_error[ERR_TEXT_BYTES];
};

static int64_t
mono_ns(const struct pump *p)
{
	return p->env.mono_ns != NULL ? p->env.mono_ns(p->env.clock_ctx) : clock_mono_ns();
}

static int64_t
real_ns(const struct pump *p)
{
	return p->env.real_ns != NULL ? p->env.real_ns(p->env.clock_ctx) : clock_real_ns();
}

/* What lanes call. */

static int64_t
lane_now(void *ctx)
{
	return mono_ns(ctx);
}

static void
lane_written(void *ctx, const struct write_record *record)
{
	struct pump *p = ctx;

	if (record != NULL && (!CONTAINER_OF(record->series, struct known_series, series)->echo ||
	                          !CONTAINER_OF(record->origin, struct known_origin, origin)->echo))
		return;
	letters_echo(&p->letters, record);
}

static bool
lane_dead(void *ctx, const struct write_record *record, const char *why)
{
	struct pump *p = ctx;

	return letters_add(&p->letters, record, why, mono_ns(p));
}

static void
lane_failed(void *ctx, const struct write_answer *answer, int64_t again_ns, bool is_first)
{
	struct pump *p = ctx;
	bool misconfigured = answer->status == WRITE_MISCONFIGURED;
	bool news;

	lock_take(&p->lock);
	news = (is_first && p->failing_count == 0) || misconfigured != p->misconfigured;
	p->failing_count += is_first;
	p->misconfigured = misconfigured;
	p->last_error_ns = real_ns(p);
	memcpy(p->last_error, answer->err.text, sizeof(p->last_error));
	lock_drop(&p->lock);
	if (news)
		log_warn("writer", "%s: %s: %s; again in %lld s, then at most every 60 s",
		    p->consumer->name,
		    misconfigured ? "refused, check its configuration" : "can't write",
		    answer->err.text, (long long)((again_ns + NS_PER_S - 1) / NS_PER_S));
}

static void
lane_recovered(void *ctx)
{
	struct pump *p = ctx;
	bool news;

	lock_take(&p->lock);
	news = --p->failing_count == 0;
	if (news)
		p->misconfigured = false;
	lock_drop(&p->lock);
	if (news)
		log_info("writer", "%s: writes again", p->consumer->name);
}

/* Making and unmaking. */

static int
init_lanes(struct pump *p, struct err *err)
{
	struct consumer *c = p->consumer;
	struct writer_env writer_env = { c->name, p->env.state_dir, &p->stop };
	uint64_t seed = hash_bytes(str_of(c->name));

	p->lane_env = (struct lane_env){ .consumer = c,
		.counts = &p->counts,
		.stop = &p->stop,
		.paused = &p->paused,
		.resumed = &p->resumed,
		.ctx = p,
		.written = p->letters.echo == NULL ? NULL : lane_written,
		.dead = lane_dead,
		.failed = lane_failed,
		.recovered = lane_recovered,
		.now_ns = lane_now };
	p->lanes = calloc(c->concurrency, sizeof(*p->lanes));
	if (p->lanes == NULL) {
		err_nomem(err);
		return -1;
	}
	while (p->lane_count < c->concurrency) {
		struct lane_thread *lane = &p->lanes[p->lane_count++];

		lane->pump = p;
		if (lane_init(&lane->lane, &p->lane_env, &writer_env, seed + p->lane_count, err) !=
		    0)
			return -1;
		lane_clear(&lane->lane);
	}
	return 0;
}

struct pump *
pump_new(
    const struct pump_env *env, struct consumer *consumer, struct queue *queue, struct err *err)
{
	struct pump *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		err_nomem(err);
		return NULL;
	}
	lock_init(&p->lock, LOCK_pump);
	lock_cond_init(&p->cond);
	p->env = *env;
	p->idle_ns = env->idle_ns > 0 ? env->idle_ns : IDLE_NS;
	p->begun_ns = real_ns(p);
	p->position = 100;
	p->paused = consumer->paused;
	p->consumer = consumer;
	p->next_read_ns = p->next_lag_ns = p->next_say_ns = INT64_MIN;
	p->has_letters = true;
	if (letters_init(&p->letters, consumer, env->state_dir, err) != 0 ||
	    init_lanes(p, err) != 0)
		goto fail;
	p->has_texts = true;
	if (texts_init(&p->texts, env->store, consumer, p->lanes[0].lane.writer, env->origin,
	        env->origin_ctx, err) != 0)
		goto fail;
	p->queue = queue;
	return p;
fail:
	p->consumer = NULL; /* stays the caller's */
	pump_free(p);
	return NULL;
}

void
pump_free(struct pump *p)
{
	if (p == NULL)
		return;
	pump_stop(p);
	if (p->running)
		pthread_join(p->thread, NULL);
	for (unsigned i = 0; i < p->lane_count; i++) {
		if (p->lanes[i].running)
			pthread_join(p->lanes[i].thread, NULL);
	}
	queue_close(p->queue);
	for (unsigned i = 0; i < p->lane_count; i++)
		lane_fini(&p->lanes[i].lane);
	free(p->lanes);
	if (p->has_texts)
		texts_fini(&p->texts);
	if (p->has_letters)
		letters_fini(&p->letters);
	consumer_free(p->consumer);
	lock_cond_fini(&p->cond);
	lock_fini(&p->lock);
	free(p);
}

/* Reading. */

static const struct known_series *
find_series(struct pump *p, const struct metric_desc *desc)
{
	if (p->last_desc != desc) {
		p->last_series = texts_series(&p->texts, desc);
		p->last_desc = p->last_series == NULL ? NULL : desc;
	}
	return p->last_series;
}

static const struct known_origin *
find_origin(struct pump *p, const struct cursor_record *record)
{
	/* Within a round the same text is at the same place. */
	if (p->last_host.p != record->host.p || p->last_app.p != record->app.p ||
	    p->last_origin == NULL) {
		p->last_origin = texts_origin(&p->texts, record->host, record->app);
		p->last_host = record->host;
		p->last_app = record->app;
	}
	return p->last_origin;
}

/* A series goes by the same lane, so that its order holds. */
static struct lane *
pick_lane(struct pump *p, const struct known_series *series, const struct known_origin *origin)
{
	uint64_t hash;

	if (p->lane_count == 1)
		return &p->lanes[0].lane;
	hash = hash_mix((uintptr_t)series, (uintptr_t)origin);
	return &p->lanes[hash % p->lane_count].lane;
}

/* -1: out of memory. */
static int
take_record(struct pump *p, const struct cursor_record *record)
{
	const struct known_series *series;
	const struct known_origin *origin;

	if (!record->record.active &&
	    (p->consumer->ops->end_kinds & KIND_BIT(record->record.desc->kind)) == 0)
		return 0;
	series = find_series(p, record->record.desc);
	if (series == NULL)
		return -1;
	if (series->use != SERIES_WRITTEN) {
		p->round_unsupported += series->use == SERIES_UNSUPPORTED;
		return 0;
	}
	origin = find_origin(p, record);
	if (origin == NULL)
		return -1;
	p->round_records++;
	return lane_add(
	    pick_lane(p, series, origin), &origin->origin, &series->series, &record->record);
}

/* Records that fit whichever lanes they go to. */
static size_t
round_room(const struct pump *p)
{
	size_t room = CHUNK, bytes = 0;

	for (unsigned i = 0; i < p->lane_count; i++) {
		const struct lane *lane = &p->lanes[i].lane;

		room = lane_room(lane) < room ? lane_room(lane) : room;
		bytes += lane->values.used_bytes;
	}
	return bytes < ROUND_VALUE_BYTES ? room : 0;
}

static void
clear_round(struct pump *p)
{
	for (unsigned i = 0; i < p->lane_count; i++)
		lane_clear(&p->lanes[i].lane);
	p->round_count = p->round_records = 0;
	p->round_unsupported = 0;
	p->last_desc = NULL;
	p->last_origin = NULL;
	p->counts.waiting = 0;
	p->phase = PHASE_READ;
}

/* -1: out of memory. */
static int
read_round(struct pump *p)
{
	size_t room, n;
	struct err err;

	p->ran_out = false;
	/* A round of records that all are left out ends too. */
	while (
	    (room = round_room(p)) > 0 && p->round_count < 64 * CHUNK + p->consumer->batch_size) {
		if (queue_read(p->queue, mono_ns(p), p->in, room, &n, &err) != 0)
			return -1;
		p->ran_out = n == 0;
		if (n == 0)
			break;
		p->round_count += n;
		for (size_t i = 0; i < n; i++) {
			if (take_record(p, &p->in[i]) != 0)
				return -1;
		}
	}
	return 0;
}

/* Records that were reclaimed before they were read: also while a round does not end. */
static void
look_up_missed(struct pump *p, int64_t now_ns)
{
	uint64_t missed = queue_missed_count(p->queue);

	p->missed = missed;
	if (missed <= p->missed_said || now_ns < p->next_say_ns)
		return;
	log_warn("writer",
	    "%s: too far behind, records were given up before they were written: new=%" PRIu64
	    " all=%" PRIu64,
	    p->consumer->name, missed - p->missed_said, missed);
	p->missed_said = missed;
	p->next_say_ns = now_ns + SAY_MISSED_NS;
}

static void
look_up_lag(struct pump *p, int64_t now_ns)
{
	int64_t real = real_ns(p), lag, span;
	uint64_t left;
	struct store_stats stats;

	look_up_missed(p, now_ns);
	if (now_ns < p->next_lag_ns)
		return;
	p->next_lag_ns = now_ns + LAG_NS;
	lag = queue_lag_ns(p->queue, real, &left);
	p->left = left;
	p->oldest_ns = lag > 0 ? real - lag : 0;
	store_get_stats(p->env.store, &stats);
	span = real - (stats.oldest_ts_ns == TS_NONE ? p->begun_ns : stats.oldest_ts_ns);
	p->position = lag <= 0 ? 100 : lag >= span ? 0 : 100 * (1 - (double)lag / (double)span);
}

static void
end_round(struct pump *p, int64_t now_ns)
{
	if (p->round_count > 0)
		queue_commit(p->queue);
	p->unsupported += p->round_unsupported;
	if (p->round_records > 0) {
		double round_s = (double)(now_ns - p->round_begun_ns) / (double)NS_PER_S;

		p->last_success_ns = real_ns(p);
		if (p->observe != NULL)
			p->observe(
			    p->observe_ctx, round_s, round_s * 1000 / (double)p->round_records);
	}
	clear_round(p);
	look_up_lag(p, now_ns);
}

static enum pump_state
state_after_round(const struct pump *p)
{
	if (!p->ran_out)
		return PUMP_WRITING;
	return queue_is_waiting(p->queue) ? PUMP_WAITING : PUMP_IDLE;
}

static int64_t
turn_read(struct pump *p, int64_t now_ns)
{
	if (now_ns < p->next_read_ns)
		return p->next_read_ns;
	if (p->env.origins_known != NULL && !p->env.origins_known(p->env.origin_ctx)) {
		look_up_lag(p, now_ns);
		p->state = PUMP_WAITING;
		return now_ns + KNOWN_NS;
	}
	texts_tidy(&p->texts, now_ns);
	p->round_begun_ns = now_ns;
	if (read_round(p) != 0) {
		queue_rewind(p->queue);
		clear_round(p);
		p->next_read_ns = now_ns + NOMEM_NS;
		return p->next_read_ns;
	}
	p->next_read_ns = p->ran_out ? now_ns + p->idle_ns : INT64_MIN;
	if (p->round_records == 0) {
		end_round(p, now_ns);
		p->state = state_after_round(p);
		return p->next_read_ns;
	}
	p->counts.waiting = p->round_records;
	p->phase = PHASE_ACCEPT;
	p->mark = p->env.mark == NULL ? 0 : p->env.mark(p->env.journal_ctx);
	return INT64_MIN;
}

static void
wake(struct pump *p)
{
	lock_take(&p->lock);
	p->woken = true;
	lock_cond_broadcast(&p->cond);
	lock_drop(&p->lock);
}

/* Hands the lanes to their threads. */
static void
start_lanes(struct pump *p)
{
	p->phase = PHASE_SEND;
	if (!p->threaded)
		return;
	lock_take(&p->lock);
	for (unsigned i = 0; i < p->lane_count; i++)
		p->lanes[i].busy = !lane_is_done(&p->lanes[i].lane);
	lock_cond_broadcast(&p->cond);
	lock_drop(&p->lock);
}

static int64_t
turn_accept(struct pump *p, int64_t now_ns)
{
	if (p->env.accepted != NULL &&
	    !p->env.accepted(p->env.journal_ctx, p->mark, now_ns + ACCEPT_NS)) {
		p->state = PUMP_WAITING;
		look_up_lag(p, now_ns);
		return INT64_MIN;
	}
	/* The next time may be long after, if the server hangs. */
	if (p->oldest_ns == 0)
		p->next_lag_ns = INT64_MIN;
	look_up_lag(p, now_ns);
	p->state = PUMP_WRITING;
	start_lanes(p);
	return INT64_MIN;
}

static bool
lanes_are_busy(struct pump *p)
{
	bool busy = false;

	lock_take(&p->lock);
	for (unsigned i = 0; i < p->lane_count; i++)
		busy = busy || p->lanes[i].busy;
	lock_drop(&p->lock);
	return busy;
}

/* Without threads of their own: one request of each. INT64_MAX: all is settled, or paused. */
static int64_t
turn_lanes(struct pump *p)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < p->lane_count; i++) {
		int64_t at = lane_turn(&p->lanes[i].lane);

		next = at < next ? at : next;
	}
	return next;
}

static int64_t
turn_send(struct pump *p, int64_t now_ns)
{
	bool done = true;
	int64_t next;

	if (p->threaded && lanes_are_busy(p)) {
		look_up_lag(p, now_ns);
		return now_ns + LAG_NS;
	}
	next = p->threaded ? INT64_MIN : turn_lanes(p);
	for (unsigned i = 0; i < p->lane_count; i++)
		done = done && lane_is_done(&p->lanes[i].lane);
	now_ns = mono_ns(p);
	if (done) {
		end_round(p, now_ns);
		p->state = state_after_round(p);
		return p->next_read_ns;
	}
	look_up_lag(p, now_ns);
	p->state = next > now_ns ? PUMP_WAITING : PUMP_WRITING;
	return next > now_ns && next - now_ns > LAG_NS ? now_ns + LAG_NS : next;
}

int64_t
pump_turn(struct pump *p)
{
	int64_t now_ns = mono_ns(p);

	if (p->stop || p->paused) {
		look_up_lag(p, now_ns);
		return p->stop ? INT64_MAX : now_ns + LAG_NS;
	}
	switch (p->phase) {
	case PHASE_READ:
		return turn_read(p, now_ns);
	case PHASE_ACCEPT:
		return turn_accept(p, now_ns);
	case PHASE_SEND:
		return turn_send(p, now_ns);
	}
	return INT64_MAX;
}

/* Threads. */

/* Until that time, a wake or a stop. REQUIRES the lock. */
static void
wait_until(struct pump *p, int64_t at_ns)
{
	while (!p->woken && !p->stop && lock_cond_wait(&p->cond, &p->lock, at_ns))
		;
}

static void *
run_pump(void *arg)
{
	struct pump *p = arg;

	while (!p->stop) {
		int64_t next = pump_turn(p);

		lock_take(&p->lock);
		wait_until(p, next);
		p->woken = false;
		lock_drop(&p->lock);
	}
	return NULL;
}

static void *
run_lane(void *arg)
{
	struct lane_thread *lane = arg;
	struct pump *p = lane->pump;

	lock_take(&p->lock);
	while (!p->stop) {
		int64_t next = INT64_MAX;

		if (lane->busy) {
			lock_drop(&p->lock);
			next = lane_turn(&lane->lane);
			lock_take(&p->lock);
			if (lane_is_done(&lane->lane)) {
				lane->busy = false;
				p->woken = true;
				lock_cond_broadcast(&p->cond);
			}
		}
		/* Paused: the end of that may have come since the look at it. */
		if (lane->busy && next == INT64_MAX)
			next = mono_ns(p) + LAG_NS;
		if (next != INT64_MIN && !p->stop)
			lock_cond_wait(&p->cond, &p->lock, next);
	}
	lock_drop(&p->lock);
	return NULL;
}

static int
start_thread(pthread_t *thread, void *(*run)(void *), void *arg, const char *name, struct err *err)
{
	int rc = pthread_create(thread, NULL, run, arg);

	if (rc == 0)
		return 0;
	err_errno(err, rc, "thread of writer %s", name);
	return -1;
}

int
pump_start(struct pump *p, struct err *err)
{
	p->threaded = p->lane_count > 1;
	for (unsigned i = 0; p->threaded && i < p->lane_count; i++) {
		struct lane_thread *lane = &p->lanes[i];

		if (start_thread(&lane->thread, run_lane, lane, p->consumer->name, err) != 0)
			return -1;
		lane->running = true;
	}
	if (start_thread(&p->thread, run_pump, p, p->consumer->name, err) != 0)
		return -1;
	p->running = true;
	return 0;
}

void
pump_stop(struct pump *p)
{
	p->stop = true;
	wake(p);
}

struct queue *
pump_take_queue(struct pump *p)
{
	struct queue *queue = p->queue;

	assert(p->stop);
	if (p->running)
		pthread_join(p->thread, NULL);
	p->running = false;
	for (unsigned i = 0; i < p->lane_count; i++) {
		if (p->lanes[i].running)
			pthread_join(p->lanes[i].thread, NULL);
		p->lanes[i].running = false;
	}
	queue_rewind(queue);
	p->queue = NULL;
	return queue;
}

void
pump_pause(struct pump *p, bool paused)
{
	p->paused = paused;
	p->resumed += !paused;
	wake(p);
}

/* What others see. */

const struct consumer *
pump_consumer(const struct pump *p)
{
	return p->consumer;
}

const char *
pump_state_text(enum pump_state state)
{
	switch (state) {
	case PUMP_IDLE:
		return "idle";
	case PUMP_WRITING:
		return "writing";
	case PUMP_WAITING:
		return "waiting";
	case PUMP_RETRYING:
		return "retrying";
	case PUMP_REFUSED:
		return "refused";
	case PUMP_PAUSED:
		return "paused";
	}
	return "";
}

void
pump_get_stats(struct pump *p, struct pump_stats *out)
{
	int64_t oldest_ns = p->oldest_ns, now_ns = real_ns(p);

	*out = (struct pump_stats){ .state = p->state,
		.written = p->counts.written,
		.attempts = p->counts.attempts,
		.successes = p->counts.successes,
		.retries = p->counts.retries,
		.bytes = p->counts.bytes,
		.unsupported = p->unsupported,
		.unwritable = p->counts.unwritable,
		.refused = p->counts.refused,
		.dead_letters = p->counts.dead_letters,
		.missed = p->missed,
		.waiting = p->counts.waiting,
		.left = p->left,
		.position = p->position,
		.last_success_ns = p->last_success_ns };
	if (oldest_ns != 0 && oldest_ns < now_ns)
		out->lag_s = (double)(now_ns - oldest_ns) / (double)NS_PER_S;
	lock_take(&p->lock);
	if (p->failing_count > 0)
		out->state = p->misconfigured ? PUMP_REFUSED : PUMP_RETRYING;
	out->last_error_ns = p->last_error_ns;
	memcpy(out->last_error, p->last_error, sizeof(out->last_error));
	lock_drop(&p->lock);
	if (p->paused)
		out->state = PUMP_PAUSED;
}

void
pump_observe(struct pump *p, void (*fn)(void *ctx, double round_s, double per_record_ms), void *ctx)
{
	p->observe = fn;
	p->observe_ctx = ctx;
}
