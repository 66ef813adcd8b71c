#include "pstore/writer_own_priv.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

#define PATH_BYTES  400
#define MOST_LIMITS 40

/* The distributions of one name. */
struct writer_dists {
	struct writer_dists *next;
	char *name;
	char round_path[PATH_BYTES], record_path[PATH_BYTES];
	struct own_dist *round_s, *per_record_ms;
};

static double limits[MOST_LIMITS];
static size_t limit_count;

/* Reading: one snapshot for each metric, which is cheap. */

#define READ(name, member, expression)                                                             \
	static struct value read_##name(void *ctx, struct arena *arena)                            \
	{                                                                                          \
		struct pump_stats s;                                                               \
                                                                                                   \
		(void)arena;                                                                       \
		pump_get_stats(ctx, &s);                                                           \
		return (struct value){ .member = (expression) };                                   \
	}
#define READ_CONF(name, member, expression)                                                        \
	static struct value read_##name(void *ctx, struct arena *arena)                            \
	{                                                                                          \
		const struct consumer *c = pump_consumer(ctx);                                     \
                                                                                                   \
		(void)arena;                                                                       \
		return (struct value){ .member = (expression) };                                   \
	}

READ_CONF(max_records, u, c->records_per_second * c->concurrency)
READ_CONF(concurrency, u, c->concurrency)
READ_CONF(batch_size, u, c->batch_size)
READ_CONF(span, i, c->rollup_span_ns)
READ(written, u, s.written)
READ(not_written, u, s.left)
READ(attempts, u, s.attempts)
READ(successes, u, s.successes)
READ(ratio, f, s.attempts == 0 ? 0 : (double)s.successes / (double)s.attempts)
READ(skipped, b, s.missed > 0)
READ(blocked, b, s.state == PUMP_RETRYING || s.state == PUMP_REFUSED)
READ(paused, b, s.state == PUMP_PAUSED)
READ(error_time, i, s.last_error_ns)
READ(success_time, i, s.last_success_ns)
READ(lag, f, s.lag_s)
READ(time_left, i, (int64_t)(s.lag_s *(double)NS_PER_S))
READ(position, f, s.position)
READ(missed, u, s.missed)
READ(dropped, u, s.missed + s.refused + s.unwritable)
READ(dead, u, s.dead_letters)
READ(refused, u, s.refused)
READ(unwritable, u, s.unwritable)
READ(unsupported, u, s.unsupported)
READ(retries, u, s.retries)
READ(bytes, u, s.bytes)
READ(state, s, str_of(pump_state_text(s.state)))

static struct value
read_error(void *ctx, struct arena *arena)
{
	struct pump_stats s;

	pump_get_stats(ctx, &s);
	return (struct value){ .s = arena_copy(arena, str_of(s.last_error)) };
}

static const struct own_metric templates[] = {
	{ "batchSize", "Records per request", UNIT_NONE, KIND_UINT64, 0, read_batch_size },
	{ "blocked", "True while the server can't be written to", UNIT_NONE, KIND_BOOL, 0,
	    read_blocked },
	{ "bytes", "Acknowledged, before compression", UNIT_BYTES, KIND_UINT64, 0, read_bytes },
	{ "concurrency", "Threads", UNIT_NONE, KIND_UINT64, 0, read_concurrency },
	{ "deadLettered", "Refused records kept in stateDir/dead", UNIT_NONE, KIND_UINT64, 0,
	    read_dead },
	{ "dropped", "Records that will never be written: missed, refused, unwritable", UNIT_NONE,
	    KIND_UINT64, 0, read_dropped },
	{ "lag", "Age of the oldest record not written", UNIT_SECONDS, KIND_FLOAT64, 0, read_lag },
	{ "lastSuccessfulWrite", "Time of the last successful write", UNIT_NONE, KIND_TIME, 0,
	    read_success_time },
	{ "lastWriteError", "Last write error", UNIT_NONE, KIND_STRING, 0, read_error },
	{ "lastWriteErrorTime", "Time of the last write error", UNIT_NONE, KIND_TIME, 0,
	    read_error_time },
	{ "maxRecordsPerSecond", "Limit of all threads, 0 = none", UNIT_NONE, KIND_UINT64, 0,
	    read_max_records },
	{ "missed", "Records gone from memory and disk, unread", UNIT_NONE, KIND_UINT64, 0,
	    read_missed },
	{ "paused", "True while paused", UNIT_NONE, KIND_BOOL, 0, read_paused },
	{ "refused", "Records that the server refused for good", UNIT_NONE, KIND_UINT64, 0,
	    read_refused },
	{ "retries", "Requests put off", UNIT_NONE, KIND_UINT64, 0, read_retries },
	{ "rollUpSpan", "Span of the roll-up, 0 = every value", UNIT_NONE, KIND_DURATION, 0,
	    read_span },
	{ "state", "idle, writing, waiting, retrying, refused, paused", UNIT_NONE, KIND_STRING, 0,
	    read_state },
	{ "successfulWriteRatio", "Successful writes / write attempts", UNIT_NONE, KIND_FLOAT64, 0,
	    read_ratio },
	{ "successfulWrites", "Requests acknowledged", UNIT_NONE, KIND_UINT64, 0, read_successes },
	{ "timeLeft", "Age of the oldest record not written", UNIT_NONE, KIND_DURATION, 0,
	    read_time_left },
	{ "unsupported", "Records of kinds that the writer can't hold", UNIT_NONE, KIND_UINT64, 0,
	    read_unsupported },
	{ "unwritable", "Values that the writer can't hold", UNIT_NONE, KIND_UINT64, 0,
	    read_unwritable },
	{ "valuesNotWritten", "Records in the store and not acknowledged", UNIT_NONE, KIND_UINT64,
	    0, read_not_written },
	{ "valuesSkipped", "True once records were reclaimed before they were read", UNIT_NONE,
	    KIND_BOOL, 0, read_skipped },
	{ "valuesWritten", "Records acknowledged", UNIT_NONE, KIND_UINT64, 0, read_written },
	{ "writeAttempts", "Requests", UNIT_NONE, KIND_UINT64, 0, read_attempts },
	{ "writePositionIndex", "Position in what the store holds; 100: all is written", UNIT_NONE,
	    KIND_FLOAT64, 0, read_position },
};

/* /writer/NAME/METRIC; a slash in the name would make it another path. */
static void
put_path(char *out, const char *name, const char *metric)
{
	int prefix = snprintf(out, PATH_BYTES, "/writer/%s", name);

	for (char *p = out + strlen("/writer/"); *p != '\0'; p++) {
		if (*p == '/' || (unsigned char)*p < ' ')
			*p = '_';
	}
	snprintf(out + prefix, PATH_BYTES - (size_t)prefix, "/%s", metric);
}

/* Those of the name, made if need be; NULL: there are none to be had. */
static struct writer_dists *
find_dists(struct own *own, struct writer_dists **all, const char *name)
{
	struct writer_dists *d;
	struct err err;

	for (d = *all; d != NULL; d = d->next) {
		if (strcmp(d->name, name) == 0)
			return d;
	}
	d = calloc(1, sizeof(*d));
	if (d != NULL)
		d->name = strdup(name);
	if (d == NULL || d->name == NULL) {
		free(d);
		return NULL;
	}
	if (limit_count == 0)
		limit_count = own_geometric(1e-4, 1000, limits, MOST_LIMITS);
	put_path(d->round_path, name, "totalTimeSpent");
	put_path(d->record_path, name, "writeTimePerMetric");
	d->round_s = own_dist_new(own, d->round_path, "Time spent on each round", UNIT_SECONDS,
	    limits, limit_count, &err);
	d->per_record_ms = own_dist_new(own, d->record_path, "Time spent on each record",
	    UNIT_MILLISECONDS, limits, limit_count, &err);
	d->next = *all;
	*all = d;
	return d;
}

static void
observe(void *ctx, double round_s, double per_record_ms)
{
	struct writer_dists *d = ctx;

	if (d->round_s != NULL)
		own_dist_add(d->round_s, round_s);
	if (d->per_record_ms != NULL)
		own_dist_add(d->per_record_ms, per_record_ms);
}

void
writer_own_add(struct writer_own *o, struct own *own, struct writer_dists **all, struct pump *pump)
{
	const char *name = pump_consumer(pump)->name;
	struct writer_dists *dists;
	size_t n = ARRAY_LEN(templates);
	struct err err;
	char *paths;

	*o = (struct writer_own){ NULL, NULL };
	if (own == NULL)
		return;
	dists = find_dists(own, all, name);
	if (dists != NULL)
		pump_observe(pump, observe, dists);
	o->rows = malloc(n * (sizeof(*o->rows) + PATH_BYTES));
	if (o->rows == NULL)
		return;
	paths = (char *)(o->rows + n);
	for (size_t i = 0; i < n; i++) {
		o->rows[i] = templates[i];
		put_path(&paths[i * PATH_BYTES], name, templates[i].path);
		o->rows[i].path = &paths[i * PATH_BYTES];
	}
	o->pump = pump;
	if (own_add(own, o->rows, n, pump, &err) == 0)
		return;
	log_warn("writer", "%s: no metrics about it: %s", name, err.text);
	free(o->rows);
	o->rows = NULL;
}

void
writer_own_remove(struct writer_own *o, struct own *own)
{
	if (o->rows == NULL)
		return;
	own_remove(own, o->rows, o->pump);
	free(o->rows);
	o->rows = NULL;
}

void
writer_dists_free(struct writer_dists *dists)
{
	while (dists != NULL) {
		struct writer_dists *next = dists->next;

		free(dists->name);
		free(dists);
		dists = next;
	}
}
