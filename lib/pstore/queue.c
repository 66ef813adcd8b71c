/*
 * The store as a writer's queue: a cursor, or a roll-up over one.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crash.h"
#include "base/log.h"
#include "pstore/queue_priv.h"

/* A cursor's name among all there are. */
static char *
cursor_name(const char *name)
{
	char *out;

	return asprintf(&out, "pstore/%s", name) < 0 ? NULL : out;
}

static struct cursor *
open_cursor(const struct pump_env *env, const struct consumer *c, struct err *err)
{
	char *name = cursor_name(c->name);
	struct cursor *cursor;

	if (name == NULL) {
		err_nomem(err);
		return NULL;
	}
	cursor = cursor_new(env->store, name, CURSOR_EVERY, err);
	free(name);
	return cursor;
}

struct queue *
queue_open(const struct pump_env *env, const struct consumer *c, struct err *err)
{
	struct queue *q = calloc(1, sizeof(*q));
	struct cursor *cursor;

	if (q == NULL) {
		err_nomem(err);
		return NULL;
	}
	q->env = *env;
	q->name = strdup(c->name);
	q->span_ns = c->rollup_span_ns;
	q->fn = c->rollup_fn;
	cursor = q->name == NULL ? NULL : open_cursor(env, c, err);
	if (cursor == NULL) {
		if (q->name == NULL)
			err_nomem(err);
		queue_close(q);
		return NULL;
	}
	q->cursor = cursor;
	if (q->span_ns > 0) {
		q->rollup = rollup_new(env->store, cursor, q->span_ns, q->fn, err);
		if (q->rollup == NULL) {
			queue_close(q);
			return NULL;
		}
	}
	if (env->load != NULL && env->load(env->positions_ctx, c->name, cursor, err) != 0) {
		log_warn("writer", "%s: position not known, begins at the oldest value: %s",
		    c->name, err->text);
	}
	return q;
}

void
queue_close(struct queue *q)
{
	if (q == NULL)
		return;
	if (q->rollup != NULL)
		rollup_free(q->rollup);
	else
		cursor_free(q->cursor);
	free(q->name);
	free(q);
}

bool
queue_fits(const struct queue *q, const struct consumer *c)
{
	return q->span_ns == c->rollup_span_ns && (q->span_ns == 0 || q->fn == c->rollup_fn);
}

int
queue_read(struct queue *q, int64_t now_ns, struct cursor_record *out, size_t max, size_t *n,
    struct err *err)
{
	if (q->rollup != NULL)
		return rollup_read(q->rollup, now_ns, out, max, n, err);
	*n = cursor_read(q->cursor, out, max);
	return 0;
}

void
queue_commit(struct queue *q)
{
	struct err err;
	bool saved = true;

	CRASH_POINT("acknowledged");
	if (q->rollup != NULL)
		rollup_commit(q->rollup);
	else
		cursor_commit(q->cursor);
	if (q->env.save != NULL)
		saved = q->env.save(q->env.positions_ctx, q->name, q->cursor, &err) == 0;
	CRASH_POINT("position kept");
	if (!saved && !q->save_failed)
		log_warn("writer", "%s: position not kept, after a restart some is sent again: %s",
		    q->name, err.text);
	q->save_failed = !saved;
}

void
queue_rewind(struct queue *q)
{
	if (q->rollup != NULL)
		rollup_rewind(q->rollup);
	else
		cursor_rewind(q->cursor);
}

uint64_t
queue_missed_count(const struct queue *q)
{
	return q->rollup != NULL ? rollup_missed_count(q->rollup) : cursor_missed_count(q->cursor);
}

bool
queue_is_waiting(const struct queue *q)
{
	return cursor_is_waiting(q->cursor);
}

int64_t
queue_lag_ns(struct queue *q, int64_t now_ns, uint64_t *count)
{
	/* The cursor lives as long as the roll-up that it belongs to, on the same thread. */
	return cursor_lag_ns(q->cursor, now_ns, count);
}
