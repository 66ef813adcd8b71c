#include "store/count_priv.h"

#include <stdlib.h>

#include "store/walk_priv.h"

struct counter {
	struct walk walk;
	uint64_t *active; /* bit per position: after the row to be looked at next */
	uint32_t active_count;
};

/* Where all begins: now. REQUIRES the set's lock. */
static int
start(struct counter *c, struct series_set *set, uint32_t stream, struct err *err)
{
	const struct stream *s = set->streams[stream];
	size_t words = (s->len + 63) / 64;

	c->active = malloc((words + 1) * sizeof(*c->active));
	if (c->active == NULL) {
		err_nomem(err);
		return -1;
	}
	if (words > 0)
		memcpy(c->active, s->active, words * sizeof(*c->active));
	c->active_count = s->active_count;
	walk_start(&c->walk, set, stream);
	return 0;
}

/* Turns the row's changes back; how many series became active by it, inactive, and were born. */
static void
turn_back(struct counter *c, struct row *row, uint32_t *woken, uint32_t *stopped, uint32_t *born)
{
	struct row_undo undo;

	*woken = *stopped = 0;
	*born = c->walk.len - row->len_before;
	for (uint32_t at = row->len_before; at < c->walk.len; at++)
		bit_set(c->active, at, false);
	while (row_next(row, &undo)) {
		bool was_active = undo.how == ROW_FLIP && !bit_get(c->active, undo.at);

		if (undo.how == ROW_SET)
			continue;
		bit_set(c->active, undo.at, was_active);
		*stopped += was_active;
		*woken += !was_active && undo.how != ROW_BORN;
		*born += undo.how == ROW_BORN;
	}
}

/* Records of the row; the counter moves to the state before it. */
static uint64_t
count_row(struct counter *c, struct row *row, enum cursor_mode mode)
{
	uint32_t woken, stopped, born, active_after = c->active_count;
	uint32_t changed = row->change_count + c->walk.len - row->len_before;

	turn_back(c, row, &woken, &stopped, &born);
	c->active_count = active_after + stopped - woken - born;
	/* That of a stream's first row is one too, and all it has are births. */
	if (walk_is_patch(&c->walk))
		return born;
	return mode == CURSOR_EVERY ? active_after + stopped : changed;
}

int
count_rows(struct series_set *set, uint32_t stream, enum cursor_mode mode, uint32_t from,
    uint32_t earliest, struct row_counts *out, struct err *err)
{
	struct counter c = { .active = NULL };
	struct row row;
	int rc = -1;

	*out = (struct row_counts){ .from_ns = TS_NONE, .earliest_ns = TS_NONE };
	walk_init(&c.walk);
	if (walk_prepare(&c.walk) != 0) {
		err_nomem(err);
		goto out;
	}
	lock_take(&set->lock);
	out->next_row = set->streams[stream]->next_row;
	out->sum = mode == CURSOR_EVERY ? set->streams[stream]->every_sum
	                                : set->streams[stream]->change_sum;
	rc = start(&c, set, stream, err);
	lock_drop(&set->lock);
	while (rc == 0 && c.walk.next_row > earliest && walk_row(&c.walk, &row)) {
		uint32_t number = c.walk.next_row - 1;
		uint64_t count = count_row(&c, &row, mode);

		if (number >= from)
			out->count += count;
		if (number == from)
			out->from_ns = c.walk.ts_ns;
		if (number == earliest)
			out->earliest_ns = c.walk.ts_ns;
		walk_undo(&c.walk, &row);
	}
	if (rc == 0 && c.walk.failed) {
		err_nomem(err);
		rc = -1;
	}
out:
	free(c.active);
	walk_fini(&c.walk);
	return rc;
}

int
find_row(struct series_set *set, uint32_t stream, struct row_search *search, struct err *err)
{
	int64_t from_ns = search->from_ns;
	uint32_t found = search->row;
	struct walk walk;
	struct row row;
	int rc = 0;

	walk_init(&walk);
	if (walk_prepare(&walk) != 0) {
		err_nomem(err);
		walk_fini(&walk);
		return -1;
	}
	lock_take(&set->lock);
	walk_start(&walk, set, stream);
	lock_drop(&set->lock);
	while (walk_row(&walk, &row)) {
		uint32_t number = walk.next_row - 1;

		if (search->from_ns == TS_NONE && (from_ns == TS_NONE || number >= search->row))
			from_ns = search->begin_ns(search->ctx, walk.ts_ns);
		/* A patch has the time of a row before it. */
		if (walk.ts_ns < from_ns && !walk_is_patch(&walk))
			break;
		if (walk.ts_ns >= from_ns && number < found)
			found = number;
		walk_undo(&walk, &row);
	}
	if (walk.failed) {
		err_nomem(err);
		rc = -1;
	}
	walk_fini(&walk);
	if (rc == 0)
		search->row = found;
	return rc;
}
