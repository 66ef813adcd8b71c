#include "pstore/lane_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"

#define REQUEST_BYTES  ((size_t)4 * 1024 * 1024)
#define FIRST_DELAY_NS (1 * NS_PER_S)
#define MOST_DELAY_NS  (60 * NS_PER_S)
/* What a Retry-After may ask for. */
#define MOST_ASKED_NS (3600 * NS_PER_S)

int
lane_init(struct lane *lane, const struct lane_env *env, const struct writer_env *writer_env,
    uint64_t seed, struct err *err)
{
	const struct consumer *c = env->consumer;

	*lane = (struct lane){ .env = env, .cap = c->batch_size, .random = seed | 1 };
	arena_init(&lane->values, 0);
	buf_init(&lane->body, 0);
	lane->records = calloc(lane->cap, sizeof(*lane->records));
	lane->ends = calloc(lane->cap, sizeof(*lane->ends));
	lane->refused = calloc(lane->cap, sizeof(*lane->refused));
	if (lane->records == NULL || lane->ends == NULL || lane->refused == NULL) {
		err_nomem(err);
		return -1;
	}
	lane->request_max = lane->cap;
	lane->writer = c->ops->open(c->options, writer_env, err);
	return lane->writer == NULL ? -1 : 0;
}

void
lane_fini(struct lane *lane)
{
	if (lane->writer != NULL)
		lane->writer->ops->close(lane->writer);
	free(lane->records);
	free(lane->ends);
	free(lane->refused);
	arena_fini(&lane->values);
	buf_fini(&lane->body);
}

void
lane_clear(struct lane *lane)
{
	lane->n = lane->from = lane->upto = lane->bad_end = 0;
	lane->bad_count = lane->since_bad = 0;
	/* What was too large may have been an exception. */
	lane->request_max += lane->request_max / 8 + 1;
	if (lane->request_max > lane->cap)
		lane->request_max = lane->cap;
	lane->formatted = false;
	arena_reset(&lane->values);
}

/* Copies of what a value leads to. */

static int
copy_list(
    struct arena *arena, const struct metric_desc *desc, const struct list *from, struct value *to)
{
	struct list *list = arena_alloc(arena, sizeof(*list));
	struct value *values =
	    arena_array(arena, from == NULL ? 0 : from->len, sizeof(struct value));

	if (list == NULL || values == NULL)
		return -1;
	*list = (struct list){ values, from == NULL ? 0 : from->len };
	for (size_t i = 0; i < list->len; i++) {
		values[i] = from->values[i];
		if (desc->sub_kind == KIND_STRING) {
			values[i].s = arena_copy(arena, from->values[i].s);
			if (values[i].s.p == NULL)
				return -1;
		}
	}
	to->list = list;
	return 0;
}

static int
copy_dist(struct arena *arena, const struct dist *from, struct value *to)
{
	struct dist *dist = arena_alloc(arena, sizeof(*dist));
	uint64_t *counts = arena_array(arena, from == NULL ? 0 : from->len, sizeof(*counts));

	if (dist == NULL || counts == NULL)
		return -1;
	*dist = from == NULL ? (struct dist){ 0 } : *from;
	dist->counts = counts;
	for (size_t i = 0; i < dist->len; i++)
		counts[i] = from->counts[i];
	to->dist = dist;
	return 0;
}

static int
copy_value(struct arena *arena, const struct record *record, struct value *to)
{
	enum kind kind = record->desc->kind;

	if (kind == KIND_LIST)
		return copy_list(arena, record->desc, record->value.list, to);
	if (kind == KIND_DIST)
		return copy_dist(arena, record->value.dist, to);
	*to = record->value;
	if (kind != KIND_STRING)
		return 0;
	to->s = arena_copy(arena, record->value.s);
	return to->s.p == NULL ? -1 : 0;
}

int
lane_add(struct lane *lane, const struct write_origin *origin, const struct write_series *series,
    const struct record *record)
{
	struct write_record *to = &lane->records[lane->n];

	assert(lane->n < lane->cap);
	to->origin = origin;
	to->series = series;
	to->ts_ns = record->ts_ns;
	to->is_end = !record->active;
	if (copy_value(&lane->values, record, &to->value) != 0)
		return -1;
	lane->n++;
	return 0;
}

/* Requests. */

/* Ends the request's text before index i of the batch. */
static size_t
text_begin(const struct lane *lane, size_t i)
{
	return i == lane->from ? lane->writer->ops->begin.len : lane->ends[i - 1];
}

/*
 * The texts of the records from `from` on, until `upto` or the bytes that a request may have.
 * Returns how many have bytes. Without memory upto is less, and body.failed set if there is none.
 */
static size_t
format(struct lane *lane, size_t upto)
{
	const struct writer_ops *ops = lane->writer->ops;
	size_t most = ops->request_bytes > 0 ? ops->request_bytes : REQUEST_BYTES, count = 0, i;

	buf_clear(&lane->body);
	buf_str(&lane->body, ops->begin);
	for (i = lane->from; i < upto; i++) {
		size_t len = lane->body.len;
		bool has;

		if (count > 0)
			buf_str(&lane->body, ops->between);
		has = ops->format(lane->writer, &lane->records[i], &lane->body);
		if (lane->body.failed)
			break;
		/* The first one has its bytes whatever they are. */
		if (!has || (count > 0 && lane->body.len + ops->end.len > most))
			lane->body.len = len;
		if (has && lane->body.len == len)
			break;
		count += has;
		lane->ends[i] = (uint32_t)lane->body.len;
	}
	lane->upto = i;
	if (lane->body.failed && i > lane->from) { /* so many can be had */
		lane->body.failed = false;
		lane->body.len = lane->ends[i - 1];
	}
	buf_str(&lane->body, ops->end);
	return count;
}

static void
count(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* The record is given up. */
static void
bury(struct lane *lane, size_t i, const char *why)
{
	count(&lane->env->counts->refused, 1);
	if (lane->env->dead(lane->env->ctx, &lane->records[i], why))
		count(&lane->env->counts->dead_letters, 1);
}

/* The record at `from` is the bad one. */
static void
bury_first(struct lane *lane)
{
	bury(lane, lane->from, lane->why);
	atomic_fetch_sub_explicit(&lane->env->counts->waiting, 1, memory_order_relaxed);
	lane->from++;
	lane->bad_end = 0;
	lane->bad_count++;
	lane->since_bad = 0;
	lane->formatted = false;
}

/* The request is done with: what had bytes, and is not among the refused, is written. */
static void
settle(struct lane *lane, const bool *refused)
{
	const struct lane_env *env = lane->env;
	struct lane_counts *counts = env->counts;
	size_t n = lane->upto - lane->from, written = 0, unwritable = 0;

	for (size_t i = lane->from; i < lane->upto; i++) {
		bool has = lane->ends[i] > text_begin(lane, i);
		bool went = has && (refused == NULL || !refused[i - lane->from]);

		unwritable += !has;
		written += went;
		if (went && env->written != NULL)
			env->written(env->ctx, &lane->records[i]);
	}
	if (env->written != NULL)
		env->written(env->ctx, NULL);
	count(&counts->written, written);
	count(&counts->unwritable, unwritable);
	atomic_fetch_sub_explicit(&counts->waiting, n, memory_order_relaxed);
	lane->since_bad += n;
	lane->from = lane->upto;
	lane->formatted = false;
	/* The first half of a stretch was fine, so the bad one is in the rest of it. */
	if (lane->bad_end > 0 && lane->bad_end - lane->from == 1)
		bury_first(lane);
}

/* A number in [0, 1). */
static double
random_unit(struct lane *lane)
{
	lane->random ^= lane->random << 13;
	lane->random ^= lane->random >> 7;
	lane->random ^= lane->random << 17;
	return (double)(lane->random >> 11) * 0x1p-53;
}

/* 1 s, 2 s, 4 s ... 60 s, less up to half of it by chance, but not below 1 s. */
static int64_t
delay_ns(struct lane *lane)
{
	int64_t delay = lane->failures < 7 ? FIRST_DELAY_NS << lane->failures : MOST_DELAY_NS;

	delay = delay > MOST_DELAY_NS ? MOST_DELAY_NS : delay;
	delay -= (int64_t)((double)(delay / 2) * random_unit(lane));
	return delay < FIRST_DELAY_NS ? FIRST_DELAY_NS : delay;
}

static void
put_off(struct lane *lane, const struct write_answer *answer)
{
	int64_t delay = answer->status == WRITE_MISCONFIGURED ? MOST_DELAY_NS : delay_ns(lane);
	int64_t asked = answer->retry_after_ns;

	if (asked > MOST_ASKED_NS)
		asked = MOST_ASKED_NS;
	if (asked > delay)
		delay = asked;
	count(&lane->env->counts->retries, 1);
	lane->not_before_ns = lane->env->now_ns(lane->env->ctx) + delay;
	lane->env->failed(lane->env->ctx, answer, delay, lane->failures++ == 0);
}

static void
take_some(struct lane *lane, const struct write_answer *answer)
{
	size_t known = 0;

	for (size_t i = lane->from; i < lane->upto; i++) {
		if (!lane->refused[i - lane->from])
			continue;
		known++;
		bury(lane, i, answer->err.text);
	}
	lane->bad_end = 0;
	settle(lane, lane->refused);
	if (answer->refused_count > known) {
		uint64_t unknown = answer->refused_count - known;

		count(&lane->env->counts->refused, unknown);
		atomic_fetch_sub_explicit(
		    &lane->env->counts->written, unknown, memory_order_relaxed);
	}
}

/* No part of the request was taken, for what is in it. */
static void
take_refused(struct lane *lane, const struct write_answer *answer)
{
	bool is_one = lane->upto - lane->from == 1;

	memcpy(lane->why, answer->err.text, sizeof(lane->why));
	lane->formatted = false;
	if (is_one)
		bury_first(lane);
	else if (answer->status == WRITE_TOO_LARGE)
		lane->request_max = (lane->upto - lane->from + 1) / 2;
	else
		lane->bad_end = lane->upto;
}

static void
take_answer(struct lane *lane, const struct write_answer *answer)
{
	const struct lane_env *env = lane->env;

	if (answer->status == WRITE_LATER || answer->status == WRITE_MISCONFIGURED) {
		put_off(lane, answer);
		return;
	}
	if (lane->failures > 0)
		env->recovered(env->ctx);
	lane->failures = 0;
	if (answer->status == WRITE_REFUSED || answer->status == WRITE_TOO_LARGE) {
		take_refused(lane, answer);
		return;
	}
	count(&env->counts->successes, 1);
	count(&env->counts->bytes, lane->body.len);
	if (answer->status == WRITE_SOME)
		take_some(lane, answer);
	else
		settle(lane, NULL);
}

/*
 * Where the next request ends. After a second bad record the stretches that are tried begin small
 * and double, so that a batch of nothing but bad ones costs about one request for each.
 */
static size_t
next_upto(const struct lane *lane)
{
	size_t left = lane->n - lane->from;

	if (lane->bad_end > 0)
		return lane->from + (lane->bad_end - lane->from) / 2;
	if (lane->bad_count > 1 && lane->since_bad < left / 2)
		left = 2 * lane->since_bad + 1;
	if (left > lane->request_max)
		left = lane->request_max;
	return lane->from + left;
}

static void
send_request(struct lane *lane)
{
	size_t n = lane->upto - lane->from;
	struct write_request request = {
		.body = buf_view(&lane->body),
		.records = &lane->records[lane->from],
		.ends = &lane->ends[lane->from],
		.n = n,
	};
	struct write_answer answer = { .status = WRITE_DONE, .refused = lane->refused };
	uint64_t pace = lane->env->consumer->records_per_second;
	int64_t begun_ns = lane->env->now_ns(lane->env->ctx);

	lane->not_before_ns = begun_ns;
	lane->resumed = atomic_load(lane->env->resumed);
	if (pace > 0)
		lane->not_before_ns += (int64_t)((double)n * (double)NS_PER_S / (double)pace);
	memset(lane->refused, 0, n * sizeof(*lane->refused));
	count(&lane->env->counts->attempts, 1);
	lane->writer->ops->send(lane->writer, &request, &answer);
	take_answer(lane, &answer);
}

int64_t
lane_turn(struct lane *lane)
{
	if (lane_is_done(lane) || atomic_load(lane->env->stop) || atomic_load(lane->env->paused))
		return INT64_MAX;
	if (lane->env->now_ns(lane->env->ctx) < lane->not_before_ns &&
	    lane->resumed == atomic_load(lane->env->resumed))
		return lane->not_before_ns;
	if (!lane->formatted) {
		size_t with_bytes = format(lane, next_upto(lane));

		if (lane->body.failed) {
			lane->not_before_ns = lane->env->now_ns(lane->env->ctx) + FIRST_DELAY_NS;
			return lane->not_before_ns;
		}
		lane->formatted = true;
		if (with_bytes == 0) {
			settle(lane, NULL);
			return INT64_MIN;
		}
	}
	send_request(lane);
	return lane_is_done(lane) ? INT64_MAX : INT64_MIN;
}
