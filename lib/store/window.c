#include "store/window_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/iter.h"
#include "store/store_priv.h"

#define NO_SLOT UINT32_MAX
/* Up to so many series are looked for one by one in a row; else all changes are gone through. */
#define FEW_SLOTS 4
/* Distributions taken apart at a time. */
#define MOST_ARENA_BYTES ((size_t)16 * 1024 * 1024)

void
window_init(struct window *w)
{
	*w = (struct window){ .event_len = 0 };
	walk_init(&w->walk);
	arena_init(&w->arena, 2 * MOST_ARENA_BYTES);
	arena_init(&w->states, MOST_ARENA_BYTES);
}

static void
forget_events(struct window *w)
{
	while (w->blob_len > w->kept_len)
		blob_unref(w->walk.store, w->blobs[--w->blob_len]);
	w->event_len = w->dist_count = 0;
	for (size_t i = 0; i < w->slot_len; i++)
		w->slots[i].first = w->slots[i].last = NO_EVENT;
}

void
window_fini(struct window *w)
{
	window_release(w);
	forget_events(w);
	walk_fini(&w->walk);
	arena_fini(&w->arena);
	arena_fini(&w->states);
	free(w->slots);
	free(w->slot_of);
	free(w->events);
	free(w->times);
	free(w->blobs);
}

void
window_keep(struct window *w)
{
	w->kept_len = w->blob_len;
}

void
window_release(struct window *w)
{
	for (size_t i = 0; i < w->kept_len; i++)
		blob_unref(w->walk.store, w->blobs[i]);
	w->blob_len -= w->kept_len;
	if (w->kept_len > 0)
		memmove(w->blobs, w->blobs + w->kept_len, w->blob_len * sizeof(*w->blobs));
	w->kept_len = 0;
}

void
window_reset(struct window *w)
{
	forget_events(w);
	arena_reset(&w->arena);
	arena_reset(&w->states);
	w->slot_len = w->open_len = w->time_len = 0;
	w->start_ns = TS_NONE;
	w->end_ns = INT64_MAX;
	w->from_row = 0;
	w->before_row = UINT32_MAX;
	w->oldest_first = w->failed = w->full = false;
}

/* At least min elements; p on failure is what it was. */
static bool
grow(void *array, size_t *cap, size_t min, size_t size)
{
	void **p = array, *grown;
	size_t wanted = *cap * 2 > min ? *cap * 2 : min + 16;

	if (min <= *cap)
		return true;
	grown = realloc(*p, wanted * size);
	if (grown == NULL)
		return false;
	*p = grown;
	*cap = wanted;
	return true;
}

int
window_add(struct window *w, uint32_t at, const struct meta *meta)
{
	assert(w->slot_len == 0 || w->slots[w->slot_len - 1].at < at);
	if (!grow(&w->slots, &w->slot_cap, w->slot_len + 1, sizeof(*w->slots)))
		return -1;
	w->slots[w->slot_len++] = (struct slot){ .meta = meta,
		.at = at,
		.first = NO_EVENT,
		.last = NO_EVENT,
		.class = (uint8_t)row_class_of(meta->desc.kind) };
	return 0;
}

static void
close_slot(struct window *w, struct slot *slot)
{
	w->open_len -= !slot->done;
	slot->done = true;
}

/* Keeps a reference until the events are forgotten. There is room. */
static uint64_t
keep(struct window *w, struct blob *blob)
{
	if (blob != NULL)
		w->blobs[w->blob_len++] = blob_ref(blob);
	return (uintptr_t)blob;
}

/* REQUIRES the set's lock. */
static void
copy_slot(struct window *w, struct slot *slot, struct series_set *set, uint32_t stream)
{
	const struct stream *s = set->streams[stream];

	slot->done = !set_has_series(set, (struct series_at){ stream, slot->at }, slot->meta);
	if (slot->done)
		return;
	w->open_len++;
	slot->bits = s->bits[slot->at];
	slot->active = bit_get(s->active, slot->at);
	if (class_has_blob(slot->class))
		keep(w, blob_of_bits(slot->bits));
}

/* A distribution of the slot's own, to be changed back row by row. */
static bool
copy_dist(struct window *w, struct slot *slot)
{
	const struct dist *dist = &blob_dist(blob_of_bits(slot->bits))->dist;

	slot->dist = arena_alloc(&w->states, sizeof(*slot->dist));
	if (slot->dist == NULL)
		return false;
	*slot->dist = (struct row_dist){ dist->rollovers, dist->sum, dist->len,
		arena_array(&w->states, dist->len, sizeof(*dist->counts)) };
	if (slot->dist->counts == NULL)
		return false;
	for (size_t i = 0; i < dist->len; i++)
		slot->dist->counts[i] = dist->counts[i];
	return true;
}

static bool
map_slots(struct window *w)
{
	uint32_t most = w->slot_len == 0 ? 0 : w->slots[w->slot_len - 1].at + 1;

	if (w->walk.len > most)
		most = w->walk.len;
	if (w->slot_len <= FEW_SLOTS)
		return true;
	if (!grow(&w->slot_of, &w->slot_of_cap, most, sizeof(*w->slot_of)))
		return false;
	memset(w->slot_of, 0xff, most * sizeof(*w->slot_of));
	for (size_t i = 0; i < w->slot_len; i++)
		w->slot_of[w->slots[i].at] = (uint32_t)i;
	return true;
}

bool
window_start(struct window *w, struct series_set *set, uint32_t stream)
{
	if (walk_prepare(&w->walk) != 0 ||
	    !grow(&w->blobs, &w->blob_cap, w->blob_len + w->slot_len, sizeof(struct blob *)))
		return false;
	lock_take(&set->lock);
	walk_start(&w->walk, set, stream);
	for (size_t i = 0; i < w->slot_len; i++)
		copy_slot(w, &w->slots[i], set, stream);
	lock_drop(&set->lock);
	w->born_len = w->slot_len;
	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		if (!slot->done && slot->meta->desc.kind == KIND_DIST && !copy_dist(w, slot))
			return false;
	}
	return map_slots(w);
}

/* A distribution as it is at the walk's place, for an event. NULL: out of memory. */
static struct dist *
dist_of(struct window *w, const struct row_dist *from)
{
	struct dist *dist = arena_alloc(&w->arena, sizeof(*dist));
	uint64_t *counts = arena_array(&w->arena, from->len, sizeof(*counts));

	if (dist == NULL || counts == NULL)
		return NULL;
	w->dist_count++;
	*dist = (struct dist){
		.counts = counts, .len = from->len, .sum = from->sum, .rollovers = from->rollovers
	};
	for (size_t i = 0; i < from->len; i++) {
		counts[i] = from->counts[i];
		dist->count += counts[i];
	}
	return dist;
}

static inline void
link_event(struct window *w, struct slot *slot, uint32_t number)
{
	if (slot->first == NO_EVENT) {
		slot->first = slot->last = number;
	} else if (w->oldest_first) {
		w->events[number].next = slot->first & NO_EVENT;
		slot->first = number;
	} else {
		w->events[slot->last].next = number & NO_EVENT;
		slot->last = number;
	}
}

/*
 * The slot got its value, or became inactive, at this time. False: that is not asked for. There is
 * room: see window_run.
 */
__attribute__((always_inline)) static inline bool
emit(struct window *w, struct slot *slot, int64_t ts_ns, bool active)
{
	uint64_t bits = slot->bits;

	if (ts_ns >= w->end_ns || w->walk.next_row > w->before_row || w->failed)
		return false;
	if (active && slot->dist != NULL) {
		bits = (uintptr_t)dist_of(w, slot->dist);
		w->failed = w->failed || bits == 0;
	}
	if (w->failed)
		return false;
	w->events[w->event_len] = (struct event){ .ts_ns = ts_ns,
		.bits = bits,
		.row = w->walk.next_row - 1,
		.next = NO_EVENT,
		.active = active };
	link_event(w, slot, (uint32_t)w->event_len++);
	if (ts_ns <= w->start_ns)
		close_slot(w, slot);
	return true;
}

static inline void
undo_value(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	enum row_class class = (enum row_class)slot->class;

	if (class == ROW_DIST) {
		w->failed = w->failed || !row_dist_before(undo, slot->dist);
	} else if (class != ROW_REF) {
		slot->bits = row_before(undo, class, slot->bits);
	} else if (grow(&w->blobs, &w->blob_cap, w->blob_len + 1, sizeof(struct blob *))) {
		slot->bits = keep(w, walk_ref(&w->walk, slot->at));
	} else {
		w->failed = true;
	}
}

/* What is more than another value. */
static void
undo_special(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	bool leaves = undo->how == ROW_FLIP && !slot->active && walk_is_patch(&w->walk);
	if ((!leaves || w->oldest_first) && emit(w, slot, w->walk.ts_ns, slot->active))
		w->events[w->event_len - 1].is_leave = leaves;
	if (undo->how == ROW_FLIP)
		slot->active = !slot->active;
	else if (undo->how != ROW_BORN)
		undo_value(w, slot, undo);
	if (undo->how == ROW_WAKE || undo->how == ROW_BORN)
		slot->active = false;
	if (undo->how == ROW_BORN)
		close_slot(w, slot);
}

static inline void
undo_change(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	if (slot->done)
		return;
	if (undo->how != ROW_SET) {
		undo_special(w, slot, undo);
		return;
	}
	emit(w, slot, w->walk.ts_ns, slot->active);
	undo_value(w, slot, undo);
}

static void
undo_births(struct window *w, const struct row *row)
{
	while (w->born_len > 0 && w->slots[w->born_len - 1].at >= row->len_before) {
		struct slot *slot = &w->slots[--w->born_len];

		if (slot->done)
			continue;
		emit(w, slot, w->walk.ts_ns, true);
		slot->active = false;
		close_slot(w, slot);
	}
}

static void
undo_row(struct window *w, struct row *row)
{
	struct row_undo undo;

	undo_births(w, row);
	if (row->change_count == 0)
		return;
	if (w->slot_len <= FEW_SLOTS) {
		for (size_t i = 0; i < w->born_len; i++) {
			if (!w->slots[i].done && row_find(row, w->slots[i].at, &undo))
				undo_change(w, &w->slots[i], &undo);
		}
		return;
	}
	while (row_next(row, &undo)) {
		uint32_t i = w->slot_of[undo.at];

		if (i != NO_SLOT)
			undo_change(w, &w->slots[i], &undo);
	}
}

static void
note_time(struct window *w)
{
	if (!w->oldest_first || w->walk.next_row > w->before_row)
		return;
	if (!grow(&w->times, &w->time_cap, w->time_len + 1, sizeof(*w->times))) {
		w->failed = true;
		return;
	}
	w->times[w->time_len++] =
	    (struct row_time){ w->walk.ts_ns, w->walk.next_row - 1, walk_is_patch(&w->walk) };
}

/* Before it goes on: what the slots have now is kept. */
static void
drop_events(struct window *w)
{
	struct blob *now = NULL;

	assert(w->slot_len == 1); /* then it is the only one to have filled the window */
	if (w->slots[0].dist == NULL && class_has_blob(w->slots[0].class))
		now = blob_ref(blob_of_bits(w->slots[0].bits));
	forget_events(w);
	arena_reset(&w->arena);
	if (now != NULL)
		w->blobs[w->blob_len++] = now;
	w->full = false;
}

/* All rows were gone through. */
static void
end_run(struct window *w)
{
	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		if (!slot->done && slot->active && emit(w, slot, w->walk.ts_ns, true))
			w->events[w->event_len - 1].is_base = true;
		close_slot(w, slot);
	}
}

void
window_run(struct window *w, size_t most_events)
{
	struct row row;

	if (w->full)
		drop_events(w);
	while (w->open_len > 0 && !w->failed) {
		if (w->event_len + w->slot_len > most_events ||
		    w->arena.used_bytes > MOST_ARENA_BYTES) {
			w->full = true;
			return;
		}
		/* A row has at most one event of each slot. */
		if (!grow(&w->events, &w->event_cap, w->event_len + w->slot_len,
		        sizeof(*w->events))) {
			w->failed = true;
			return;
		}
		if (w->walk.next_row == w->from_row || !walk_row(&w->walk, &row)) {
			end_run(w);
			break;
		}
		note_time(w);
		undo_row(w, &row);
		walk_undo(&w->walk, &row);
	}
	w->failed = w->failed || w->walk.failed;
}

void
window_record(const struct slot *slot, const struct event *event, struct record *out)
{
	enum kind kind = slot->meta->desc.kind;

	*out = (struct record){
		.desc = &slot->meta->desc, .ts_ns = event->ts_ns, .active = event->active
	};
	if (event->active && slot->class <= ROW_F32 && kind != KIND_BOOL)
		out->value.u = event->bits; /* as bits_to_value does, without the call */
	else if (kind == KIND_DIST && event->active)
		out->value.dist = (const struct dist *)(uintptr_t)event->bits;
	else
		out->value = bits_to_value(event->bits, kind, event->active);
}
