#include "store/window_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/row_each_priv.h"
#include "store/store_priv.h"

/* Up to so many series are looked for one by one in a row; else all changes are gone through. */
#define FEW_SLOTS 4
/*
 * Distributions taken apart at a time; and strings and lists held, though pages may go meanwhile.
 * Of these no more than that part of the store's limit, as no page that goes makes room for what a
 * reader holds: else some slow readers leave none for what is new.
 */
#define MOST_HELD_BYTES ((size_t)16 * 1024 * 1024)
#define HELD_PART       256
/* Windows kept for the next readers: so many, of that part of the store's limit at most each. */
#define MOST_SPARES 4
#define SPARE_PART  256

void
window_init(struct window *w)
{
	*w = (struct window){ .no_slot = { .first = NO_EVENT, .done = true } };
	walk_init(&w->walk);
	arena_init(&w->arena, 2 * MOST_HELD_BYTES);
	arena_init(&w->other, 2 * MOST_HELD_BYTES);
}

static void
forget_events(struct window *w)
{
	while (w->blob_len > w->kept_len)
		blob_unref(w->walk.store, w->blobs[--w->blob_len]);
	w->blob_bytes = w->kept_bytes;
	w->event_len = w->dist_count = 0;
	for (size_t i = 0; i < w->slot_len; i++) {
		w->slots[i].first = NO_EVENT;
		w->slots[i].end = 0;
	}
}

void
window_fini(struct window *w)
{
	window_release(w);
	forget_events(w);
	walk_fini(&w->walk);
	arena_fini(&w->arena);
	arena_fini(&w->other);
	free(w->slots);
	free(w->slot_of);
	free(w->heads);
	free(w->open_bits);
	free(w->events);
	free(w->times);
	free(w->blobs);
}

void
window_keep(struct window *w)
{
	w->kept_len = w->blob_len;
	w->kept_bytes = w->blob_bytes;
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
	w->blob_bytes -= w->kept_bytes;
	w->kept_bytes = 0;
}

static size_t
most_held_bytes(const struct window *w)
{
	size_t part = w->walk.store->limit_bytes / HELD_PART;

	return part < MOST_HELD_BYTES ? part : MOST_HELD_BYTES;
}

bool
window_has_to_go(const struct window *w)
{
	return w->dist_count > 0 || (w->kept_len > 0 && w->kept_bytes > most_held_bytes(w));
}

void
window_reset(struct window *w)
{
	forget_events(w);
	arena_reset(&w->arena);
	arena_reset(&w->other);
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
	if (!grow(&w->slots, &w->slot_cap, w->slot_len + 1, sizeof(*w->slots)))
		return -1;
	w->slots[w->slot_len++] = (struct slot){ .meta = meta,
		.at = at,
		.first = NO_EVENT,
		.class = (uint8_t)row_class_of(meta->desc.kind) };
	return 0;
}

/* Its end moves back from its head. */
static void
end_plain(struct window *w, struct slot *slot)
{
	if (!slot->plain)
		return;
	slot->plain = false;
	slot->end = w->heads[slot->at].end_bytes / sizeof(struct event);
	w->heads[slot->at].end_bytes = 0;
}

static void
close_slot(struct window *w, struct slot *slot)
{
	end_plain(w, slot);
	w->open_len -= !slot->done;
	slot->done = true;
	if (w->slot_of_len > 0)
		bit_set(w->open_bits, slot->at, false);
}

/* Keeps a reference until the events are forgotten. There is room. */
static uint64_t
keep(struct window *w, struct blob *blob)
{
	if (blob != NULL) {
		w->blobs[w->blob_len++] = blob_ref(blob);
		w->blob_bytes += blob->bytes;
	}
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
	slot->put_off = slot->class <= ROW_F32 && !w->oldest_first;
	slot->bits = s->bits[slot->at];
	slot->active = slot->steady = bit_get(s->active, slot->at);
	if (class_has_blob(slot->class))
		keep(w, blob_of_bits(slot->bits));
}

/* A distribution with room for its counts. NULL: out of memory. */
ALWAYS_INLINE struct dist *
new_dist(struct arena *arena, size_t len, uint64_t **counts)
{
	struct dist *dist = arena_alloc(arena, sizeof(*dist) + len * sizeof(**counts));

	if (dist == NULL)
		return NULL;
	*counts = (uint64_t *)(void *)(dist + 1);
	*dist = (struct dist){ .counts = *counts, .len = len };
	return dist;
}

static const struct dist *
copy_dist(struct arena *arena, const struct dist *from)
{
	uint64_t *counts;
	struct dist *dist = new_dist(arena, from->len, &counts);

	if (dist == NULL)
		return NULL;
	*dist = *from;
	dist->counts = counts;
	if (from->len > 0)
		memcpy(counts, from->counts, from->len * sizeof(*counts));
	return dist;
}

/* What a distribution was before. NULL: out of memory, or the row is corrupt. */
ALWAYS_INLINE const struct dist *
dist_before(struct window *w, const struct row_undo *undo, const struct dist *dist)
{
	struct row_dist after = { .rollovers = dist->rollovers,
		.sum = dist->sum,
		.len = dist->len,
		.counts = (uint64_t *)(uintptr_t)dist->counts };
	struct row_dist row_dist = { .counts = NULL };
	struct dist *before = new_dist(&w->arena, dist->len, &row_dist.counts);

	if (before == NULL || !row_dist_before(undo, &after, &row_dist, &before->count))
		return NULL;
	before->sum = row_dist.sum;
	before->rollovers = row_dist.rollovers;
	w->dist_count++;
	return before;
}

static bool
map_slots(struct window *w)
{
	uint32_t most = w->walk.len;

	w->slot_of_len = 0;
	if (w->slot_len <= FEW_SLOTS)
		return true;
	for (size_t i = 0; i < w->slot_len; i++) {
		if (w->slots[i].at >= most)
			most = w->slots[i].at + 1;
	}
	if (!grow(&w->slot_of, &w->slot_of_cap, most, sizeof(*w->slot_of)) ||
	    !grow(&w->heads, &w->head_cap, most, sizeof(*w->heads)) ||
	    !grow(&w->open_bits, &w->open_cap, most / 64 + 1, sizeof(*w->open_bits)))
		return false;
	w->slot_of_len = most;
	for (size_t i = 0; i < most; i++)
		w->slot_of[i] = &w->no_slot;
	memset(w->heads, 0, most * sizeof(*w->heads));
	memset(w->open_bits, 0, (most / 64 + 1) * sizeof(*w->open_bits));
	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		w->slot_of[slot->at] = slot;
		slot->plain = slot->put_off && !slot->done;
		bit_set(w->open_bits, slot->at, !slot->done);
		w->heads[slot->at].tail = slot->active ? EVENT_ACTIVE : 0;
	}
	return true;
}

static struct slot *
slot_at(struct window *w, uint32_t at)
{
	if (w->slot_len > FEW_SLOTS)
		return at < w->slot_of_len ? w->slot_of[at] : &w->no_slot;
	for (size_t i = 0; i < w->slot_len; i++) {
		if (w->slots[i].at == at)
			return &w->slots[i];
	}
	return &w->no_slot;
}

struct slot *
window_slot(struct window *w, uint32_t at, const struct meta *meta)
{
	struct slot *slot = slot_at(w, at);

	return slot->meta == meta ? slot : NULL;
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
	w->has_moves = set->move_len > 0;
	lock_drop(&set->lock);
	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		/* The blob stays as it is and is held: see keep. */
		if (!slot->done && slot->class == ROW_DIST) {
			slot->dist = &blob_dist(blob_of_bits(slot->bits))->dist;
			w->dist_count++;
		}
	}
	return map_slots(w);
}

/* The place of the next event of a slot, whose end this is, where it has to be in a new piece. */
static uint32_t
new_piece(struct window *w, struct slot *slot, uint32_t end)
{
	uint32_t number = (uint32_t)w->event_len;

	w->event_len += EVENT_PIECE;
	if (slot->first == NO_EVENT)
		slot->first = number;
	else
		w->events[end - 1].next = number & NO_EVENT;
	return number;
}

static inline uint32_t
slot_end(const struct window *w, const struct slot *slot)
{
	if (slot->plain)
		return w->heads[slot->at].end_bytes / sizeof(struct event);
	return slot->end;
}

/* The place of the slot's next event. */
static inline uint32_t
place_event(struct window *w, struct slot *slot)
{
	uint32_t number = slot_end(w, slot);

	if (number % EVENT_PIECE == 0)
		number = new_piece(w, slot, number);
	if (slot->plain)
		w->heads[slot->at].end_bytes = (number + 1) * (uint32_t)sizeof(struct event);
	else
		slot->end = number + 1;
	return number;
}

/* The number of the time of the row the walk is at. There is room: see run. */
ALWAYS_INLINE uint32_t
note_time(struct window *w)
{
	uint32_t row = w->walk.next_row - 1;

	if (w->time_len == 0 || w->times[w->time_len - 1].row != row)
		w->times[w->time_len++] =
		    (struct row_time){ w->walk.ts_ns, row, walk_is_patch(&w->walk) };
	return (uint32_t)w->time_len - 1;
}

/* The one after it of the slot, if newest first. */
static inline uint32_t
next_event(const struct window *w, const struct slot *slot, uint32_t number)
{
	if (number + 1 == slot->end)
		return NO_EVENT;
	return (number + 1) % EVENT_PIECE != 0 ? number + 1 : w->events[number].next;
}

/* Puts an event behind those of the slot; if oldest first, before. */
ALWAYS_INLINE void
put_event(struct window *w, struct slot *slot, uint64_t bits, uint32_t time, bool active)
{
	uint32_t number, tail = active ? EVENT_ACTIVE : 0;

	if (w->oldest_first) {
		number = (uint32_t)w->event_len++;
		tail |= slot->first;
		slot->first = number;
	} else {
		number = place_event(w, slot);
	}
	w->events[number] = (struct event){ .bits = bits, .time = time, .tail = tail };
	w->last_event = number;
}

/* What an event has, until more is known, of a slot that is put off: the same value before. */
static inline uint64_t
no_difference(const struct slot *slot)
{
	return slot->class == ROW_INT ? 0 : SCHEME_XOR;
}

static inline uint64_t
event_bits(const struct slot *slot, bool active)
{
	if (slot->put_off)
		return no_difference(slot);
	return active && slot->dist != NULL ? (uintptr_t)slot->dist : slot->bits;
}

/*
 * The slot got its value, or became inactive, at this time. False: that is not asked for. There is
 * room: see window_run.
 */
ALWAYS_INLINE bool
emit(struct window *w, struct slot *slot, bool active)
{
	int64_t ts_ns = w->walk.ts_ns;

	if (ts_ns >= w->end_ns || w->walk.next_row > w->before_row || w->failed)
		return false;
	put_event(w, slot, event_bits(slot, active), note_time(w), active);
	if (ts_ns <= w->start_ns)
		close_slot(w, slot);
	return true;
}

ALWAYS_INLINE void
undo_value(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	enum row_class class = (enum row_class)slot->class;

	if (slot->put_off && slot->first != NO_EVENT) {
		struct event *event = &w->events[slot_end(w, slot) - 1];

		event->bits = undo->payload;
		event->verbatim = undo->form == ROW_VERBATIM;
		slot->steady = slot->steady && !event->verbatim;
	} else if (class == ROW_DIST) {
		slot->dist = dist_before(w, undo, slot->dist);
		w->failed = w->failed || slot->dist == NULL;
	} else if (class != ROW_REF) {
		slot->bits = row_before(undo, class, slot->bits);
	} else if (grow(&w->blobs, &w->blob_cap, w->blob_len + 1, sizeof(struct blob *))) {
		slot->bits = keep(w, walk_ref(&w->walk, slot->at));
	} else {
		w->failed = true;
	}
}

/* What is more than another value. */
__attribute__((noinline)) static void
undo_special(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	bool leaves = undo->how == ROW_FLIP && !slot->active && walk_is_patch(&w->walk);
	if ((!leaves || w->oldest_first) && emit(w, slot, slot->active))
		w->events[w->last_event].is_leave = leaves;
	if (undo->how == ROW_FLIP)
		slot->active = !slot->active;
	else if (undo->how != ROW_BORN)
		undo_value(w, slot, undo);
	if (undo->how == ROW_WAKE || undo->how == ROW_BORN)
		slot->active = false;
	slot->steady = slot->steady && slot->active;
	if (slot->plain)
		w->heads[slot->at].tail = slot->active ? EVENT_ACTIVE : 0;
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
	emit(w, slot, slot->active);
	undo_value(w, slot, undo);
}

static void
undo_birth(struct window *w, struct slot *slot)
{
	if (slot->done)
		return;
	emit(w, slot, true);
	slot->active = false;
	close_slot(w, slot);
}

static void
undo_births(struct window *w, const struct row *row)
{
	if (row->len_before == w->walk.len)
		return;
	if (w->slot_len > FEW_SLOTS) {
		for (uint32_t at = row->len_before; at < w->walk.len; at++)
			undo_birth(w, slot_at(w, at));
		return;
	}
	for (size_t i = 0; i < w->slot_len; i++) {
		if (w->slots[i].at >= row->len_before)
			undo_birth(w, &w->slots[i]);
	}
}

static void
undo_few(struct window *w, const struct row *row)
{
	struct row_undo undo;

	for (size_t i = 0; i < w->slot_len; i++) {
		if (!w->slots[i].done && row_find(row, w->slots[i].at, &undo))
			undo_change(w, &w->slots[i], &undo);
	}
}

/* A change, whatever it is. */
static void
undo_any(void *arg, const struct row_undo *undo)
{
	struct window *w = arg;

	undo_change(w, w->slot_of[undo->at], undo);
}

static void
undo_difference(void *arg, uint32_t at, uint64_t payload)
{
	undo_any(arg, &(struct row_undo){
	                  .at = at, .how = ROW_SET, .form = ROW_DIFFERENCE, .payload = payload });
}

/* What is known of all events of a row that is newest first, each of which is no slot's last. */
struct row_events {
	struct window *w;
	struct head *heads;
	uint8_t *events;
	uint64_t time;
	uint32_t others; /* changes that were not put off as most are */
	bool any;        /* of those, some are a slot's that is not done */
};

/* The position has no plain slot, or that has to go on in a new piece. */
__attribute__((noinline)) static void
put_off_slowly(struct row_events *all, uint32_t at, uint64_t payload)
{
	struct window *w = all->w;
	struct slot *slot = w->slot_of[at];
	struct head *head = &w->heads[at];
	uint32_t number;

	all->others++;
	all->any |= !slot->done;
	if (!slot->plain) {
		undo_difference(w, at, payload);
		return;
	}
	number = place_event(w, slot);
	w->events[number] =
	    (struct event){ .bits = payload, .time = (uint32_t)all->time, .tail = head->tail };
}

ALWAYS_INLINE void
put_off_difference(void *arg, uint32_t at, uint64_t payload)
{
	struct row_events *all = arg;
	uint64_t head = all->heads[at].word;
	struct event *event = (struct event *)(void *)(all->events + (uint32_t)head);

	if (__builtin_expect(head % (EVENT_PIECE * sizeof(*event)) == 0, false)) {
		put_off_slowly(all, at, payload);
		return;
	}
	all->heads[at].word = head + sizeof(*event);
	event->bits = payload;
	event->time_and_tail = head - (uint32_t)head + all->time;
}

/* Another distribution than before, of an active series. */
static void
put_off_dist(struct window *w, struct slot *slot, const struct row_undo *undo, uint64_t time)
{
	uint32_t number = place_event(w, slot);

	w->events[number] = (struct event){
		.bits = (uintptr_t)slot->dist, .time = (uint32_t)time, .tail = EVENT_ACTIVE
	};
	slot->dist = dist_before(w, undo, slot->dist);
	w->failed = w->failed || slot->dist == NULL;
}

__attribute__((noinline)) static void
undo_other(void *arg, const struct row_undo *undo)
{
	struct row_events *all = arg;
	struct window *w = all->w;
	struct slot *slot = w->slot_of[undo->at];

	all->others++;
	if (slot->done)
		return;
	all->any = true;
	if (slot->class == ROW_DIST && undo->how == ROW_SET && slot->active && !w->failed)
		put_off_dist(w, slot, undo, all->time);
	else
		undo_change(w, slot, undo);
}

ALWAYS_INLINE bool
put_off_row(struct window *w, struct row *row)
{
	size_t time_len = w->time_len;
	struct row_events all = { w, w->heads, (uint8_t *)w->events, note_time(w), 0, false };
	bool is_whole = row_each(row, put_off_difference, undo_other, &all);

	if (!all.any && all.others == row->change_count)
		w->time_len = time_len;
	return is_whole;
}

WITH_BMI2 static bool
put_off_row_bmi2(struct window *w, struct row *row)
{
	return put_off_row(w, row);
}

static bool
undo_many(struct window *w, struct row *row)
{
	if (w->oldest_first || w->walk.ts_ns >= w->end_ns || w->walk.ts_ns <= w->start_ns ||
	    w->walk.next_row > w->before_row || w->failed)
		return row_each(row, undo_difference, undo_any, w);
	return has_bmi2() ? put_off_row_bmi2(w, row) : put_off_row(w, row);
}

/* A row that was begun. False: it is corrupt, which may be found after some of its changes. */
static bool
undo_row(struct window *w, struct row *row)
{
	undo_births(w, row);
	if (row->change_count == 0)
		return true;
	/* Those that seldom change are looked for far back. */
	if (w->slot_len > FEW_SLOTS &&
	    (w->open_len > w->slot_len / 4 || row_may_change(row, w->open_bits)))
		return undo_many(w, row);
	if (row_end(row) != 0)
		return false;
	if (w->slot_len <= FEW_SLOTS)
		undo_few(w, row);
	return true;
}

/* What a put-off slot has before the one of its events that has these bits. */
ALWAYS_INLINE uint64_t
bits_before(enum row_class class, const struct event *event, uint64_t bits)
{
	if (event->verbatim)
		return event->bits;
	return class == ROW_INT ? bits - unfold(event->bits)
	                        : float_before(event->bits, class, bits);
}

/* What it has before its events. */
static uint64_t
bits_before_all(const struct window *w, const struct slot *slot)
{
	uint64_t bits = slot->bits;

	for (uint32_t i = slot->first; slot->put_off && i != NO_EVENT; i = next_event(w, slot, i))
		bits = bits_before((enum row_class)slot->class, &w->events[i], bits);
	return bits;
}

/* Before it goes on: what the slot has now is kept. */
static void
drop_events(struct window *w)
{
	struct slot *slot = &w->slots[0];
	struct arena arena = w->other;
	struct blob *now = NULL;

	assert(w->slot_len == 1); /* then it is the only one to have filled the window */
	slot->bits = bits_before_all(w, slot);
	if (class_has_blob(slot->class) && !slot->done)
		now = blob_ref(slot->class == ROW_DIST ? NULL : blob_of_bits(slot->bits));
	arena_reset(&arena);
	if (slot->dist != NULL) {
		slot->dist = copy_dist(&arena, slot->dist);
		w->failed = w->failed || slot->dist == NULL;
	}
	forget_events(w);
	if (!w->oldest_first)
		w->time_len = 0;
	w->other = w->arena;
	w->arena = arena;
	if (now != NULL) {
		keep(w, now);
		blob_unref(w->walk.store, now);
	}
	w->full = false;
}

/* The row the walk is at, which is corrupt, has led to an event of the slot. */
static bool
has_event_of_row(const struct window *w, const struct slot *slot)
{
	const struct event *last;

	if (slot->first == NO_EVENT)
		return false;
	last = &w->events[w->oldest_first ? slot->first : slot_end(w, slot) - 1];
	return w->times[last->time].row == w->walk.next_row - 1;
}

/* All rows were gone through, or the walk is at one that is corrupt. */
static void
end_run(struct window *w)
{
	size_t time_len = w->time_len;

	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		if (!slot->done && slot->active && !has_event_of_row(w, slot) &&
		    emit(w, slot, true))
			w->events[w->last_event].is_base = true;
		close_slot(w, slot);
	}
	w->time_len = time_len; /* it is the time of no row */
}

/*
 * More than there should be at a time beside events. What cannot go on has to be read at once; and
 * what goes on has to get further.
 */
static bool
holds_much(const struct window *w)
{
	return (w->arena.used_bytes > MOST_HELD_BYTES ||
	           w->blob_bytes - w->kept_bytes > most_held_bytes(w)) &&
	       w->event_len > 0 && !(w->oldest_first && w->slot_len == 1);
}

/* The rows, until all is found, there are too many events, or memory is short. */
static void
run(struct window *w, size_t most_events)
{
	size_t most_of_row = w->slot_len * (w->oldest_first ? 1 : EVENT_PIECE);
	struct row row;

	while (w->open_len > 0 && !w->failed) {
		if (w->event_len + most_of_row > most_events || holds_much(w)) {
			w->full = true;
			return;
		}
		/* A row has at most one event of each slot, and one time. */
		if (!grow(&w->times, &w->time_cap, w->time_len + 1, sizeof(*w->times)) ||
		    !grow(&w->events, &w->event_cap, w->event_len + most_of_row,
		        sizeof(*w->events))) {
			w->failed = true;
			return;
		}
		if (w->walk.next_row == w->from_row || !walk_begin_row(&w->walk, &row)) {
			end_run(w);
			break;
		}
		if (w->oldest_first && w->walk.next_row <= w->before_row)
			note_time(w);
		if (!undo_row(w, &row)) {
			end_run(w);
			break;
		}
		walk_undo(&w->walk, &row);
	}
	w->failed = w->failed || w->walk.failed;
}

void
window_run(struct window *w, size_t most_events)
{
	if (w->full)
		drop_events(w);
	run(w, most_events);
	for (size_t i = 0; i < w->slot_len; i++)
		end_plain(w, &w->slots[i]);
}

static bool
is_plain_kind(const struct slot *slot)
{
	return slot->class <= ROW_F32 && slot->meta->desc.kind != KIND_BOOL;
}

static struct value
value_of(const struct slot *slot, uint64_t bits, bool active)
{
	enum kind kind = slot->meta->desc.kind;

	if (is_plain_kind(slot))
		return (struct value){ .u = active ? bits : 0 };
	if (kind == KIND_DIST && active)
		return (struct value){ .dist = (const struct dist *)(uintptr_t)bits };
	return bits_to_value(bits, kind, active);
}

void
window_record(const struct slot *slot, const struct event *event, int64_t ts_ns, struct record *out)
{
	*out = (struct record){ .desc = &slot->meta->desc,
		.ts_ns = ts_ns,
		.value = value_of(slot, event->bits, event->active),
		.active = event->active };
}

/* The record of a number other than a bool. */
ALWAYS_INLINE void
put_number(const struct window *w, const struct metric_desc *desc, const struct event *event,
    uint64_t bits, bool active, struct record *out)
{
	out->desc = desc;
	out->ts_ns = w->times[event->time].ts_ns;
	out->value.u = active ? bits : 0;
	out->active = active;
}

/* Of events that lie side by side. steady: as the slot is, so that this need not be looked at. */
ALWAYS_INLINE uint64_t
put_ints(const struct window *w, const struct slot *slot, const struct event *events, uint64_t bits,
    struct record *out, size_t n, bool steady)
{
	for (size_t i = 0; i < n; i++) {
		put_number(
		    w, &slot->meta->desc, &events[i], bits, steady || events[i].active, &out[i]);
		bits =
		    steady ? bits - unfold(events[i].bits) : bits_before(ROW_INT, &events[i], bits);
	}
	return bits;
}

/* Most often an m / 10^s comes after another of the same s, so the m is kept. */
ALWAYS_INLINE uint64_t
put_floats(const struct window *w, const struct slot *slot, const struct event *events,
    uint64_t bits, struct record *out, size_t n, bool steady)
{
	unsigned known = SCHEME_XOR; /* bits are m / 10^known; or none is known */
	int64_t m = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t rest = events[i].bits >> SCHEME_BITS;
		unsigned scheme = events[i].bits & SCHEME_XOR;
		double far;

		put_number(
		    w, &slot->meta->desc, &events[i], bits, steady || events[i].active, &out[i]);
		if ((!steady && events[i].verbatim) || scheme == SCHEME_XOR ||
		    (scheme != known && !decimal_near(f64_of(bits), scheme, ROW_F64, &m, &far))) {
			bits = bits_before(ROW_F64, &events[i], bits);
			known = SCHEME_XOR;
			continue;
		}
		known = scheme;
		m = (int64_t)((uint64_t)m - unfold(rest));
		bits = f64_bits((double)m / ten_to[scheme]);
	}
	return bits;
}

/* Of a put-off slot of plain numbers. */
static uint64_t
put_numbers(const struct window *w, const struct slot *slot, const struct event *events,
    uint64_t bits, struct record *out, size_t n)
{
	if (slot->class == ROW_INT)
		return slot->steady ? put_ints(w, slot, events, bits, out, n, true)
		                    : put_ints(w, slot, events, bits, out, n, false);
	return slot->steady ? put_floats(w, slot, events, bits, out, n, true)
	                    : put_floats(w, slot, events, bits, out, n, false);
}

static uint64_t
put_others(const struct window *w, const struct slot *slot, const struct event *events,
    uint64_t bits, struct record *out, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct event event = events[i];

		if (slot->put_off) {
			event.bits = bits;
			bits = bits_before((enum row_class)slot->class, &events[i], bits);
		}
		window_record(slot, &event, w->times[event.time].ts_ns, &out[i]);
	}
	return bits;
}

size_t
window_records(const struct window *w, struct slot_reader *reader, struct record *out, size_t max)
{
	const struct slot *slot = reader->slot;
	size_t n = 0;

	assert(!w->oldest_first);
	while (n < max && reader->event != NO_EVENT) {
		uint32_t first = reader->event, end = first - first % EVENT_PIECE + EVENT_PIECE;
		const struct event *events = &w->events[first];
		size_t some;

		/* The slot's last piece may not be full. */
		if (slot->end > first && slot->end < end)
			end = slot->end;
		some = end - first < max - n ? end - first : max - n;
		if (slot->class <= ROW_F64 && is_plain_kind(slot))
			reader->bits = put_numbers(w, slot, events, reader->bits, &out[n], some);
		else
			reader->bits = put_others(w, slot, events, reader->bits, &out[n], some);
		reader->event = next_event(w, slot, first + (uint32_t)some - 1);
		n += some;
	}
	return n;
}

static size_t
held_bytes(const struct window *w)
{
	return sizeof(*w) + w->walk.cap + w->walk.ref_cap * sizeof(*w->walk.refs) +
	       w->slot_cap * sizeof(*w->slots) + w->slot_of_cap * sizeof(*w->slot_of) +
	       w->head_cap * sizeof(*w->heads) + w->open_cap * sizeof(*w->open_bits) +
	       w->event_cap * sizeof(*w->events) + w->time_cap * sizeof(*w->times) +
	       w->blob_cap * sizeof(struct blob *) + w->arena.used_bytes + w->other.used_bytes;
}

/* A spare one; NULL: there is none. */
static struct window *
take_spare(struct store *store)
{
	struct window *w;

	lock_take(&store->pool.lock);
	w = store->windows;
	if (w != NULL) {
		store->windows = w->next_spare;
		store->window_count--;
	}
	lock_drop(&store->pool.lock);
	if (w != NULL)
		memory_uncharge(store, w->charged_bytes);
	return w;
}

struct window *
window_take(struct store *store)
{
	struct window *w = take_spare(store);

	if (w == NULL) {
		w = malloc(sizeof(*w));
		if (w != NULL)
			window_init(w);
	}
	return w;
}

static void
window_free(struct window *w)
{
	window_fini(w);
	free(w);
}

bool
windows_free_one(struct store *store)
{
	struct window *w = take_spare(store);

	if (w != NULL)
		window_free(w);
	return w != NULL;
}

void
window_give_back(struct store *store, struct window *w)
{
	bool kept = false;

	if (w == NULL)
		return;
	window_release(w);
	window_reset(w);
	walk_release(&w->walk);
	w->charged_bytes = held_bytes(w);
	if (w->charged_bytes <= store->limit_bytes / SPARE_PART &&
	    memory_try_charge(store, w->charged_bytes)) {
		lock_take(&store->pool.lock);
		kept = store->window_count < MOST_SPARES;
		if (kept) {
			w->next_spare = store->windows;
			store->windows = w;
			store->window_count++;
		}
		lock_drop(&store->pool.lock);
		if (!kept)
			memory_uncharge(store, w->charged_bytes);
	}
	if (!kept)
		window_free(w);
}
