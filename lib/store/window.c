#include "store/window_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/row_bits_priv.h"
#include "store/store_priv.h"

#define NO_SLOT UINT32_MAX
/* Up to so many series are looked for one by one in a row; else all changes are gone through. */
#define FEW_SLOTS 4
/* Distributions taken apart at a time. */
#define MOST_ARENA_BYTES ((size_t)16 * 1024 * 1024)
/* Strings and lists held for the events of some series, though pages may go meanwhile. */
#define MOST_BLOBS 65536
/* Windows kept for the next readers: so many, of that part of the store's limit at most each. */
#define MOST_SPARES 4
#define SPARE_PART  256

void
window_init(struct window *w)
{
	*w = (struct window){ .event_len = 0 };
	walk_init(&w->walk);
	arena_init(&w->arena, 2 * MOST_ARENA_BYTES);
	arena_init(&w->other, 2 * MOST_ARENA_BYTES);
}

static void
forget_events(struct window *w)
{
	while (w->blob_len > w->kept_len)
		blob_unref(w->walk.store, w->blobs[--w->blob_len]);
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

static void
close_slot(struct window *w, struct slot *slot)
{
	w->open_len -= !slot->done;
	slot->done = true;
	slot->plain = 0;
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
	slot->plain = slot->class <= ROW_F64 ? slot->class + 1 : 0;
	slot->bits = s->bits[slot->at];
	slot->active = bit_get(s->active, slot->at);
	if (class_has_blob(slot->class))
		keep(w, blob_of_bits(slot->bits));
}

/* A distribution with room for its counts. NULL: out of memory. */
static struct dist *
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

static uint64_t
sum_of(const uint64_t *counts, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += counts[i];
	return sum;
}

/* What a distribution was before. NULL: out of memory, or the row is corrupt. */
static const struct dist *
dist_before(struct window *w, const struct row_undo *undo, const struct dist *dist)
{
	struct row_dist after = { dist->rollovers, dist->sum, dist->len,
		(uint64_t *)(uintptr_t)dist->counts };
	struct row_dist row_dist;
	struct dist *before = new_dist(&w->arena, dist->len, &row_dist.counts);

	if (before == NULL || !row_dist_before(undo, &after, &row_dist))
		return NULL;
	before->sum = row_dist.sum;
	before->rollovers = row_dist.rollovers;
	before->count = sum_of(row_dist.counts, dist->len);
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
	if (!grow(&w->slot_of, &w->slot_of_cap, most, sizeof(*w->slot_of)))
		return false;
	w->slot_of_len = most;
	memset(w->slot_of, 0xff, most * sizeof(*w->slot_of));
	for (size_t i = 0; i < w->slot_len; i++)
		w->slot_of[w->slots[i].at] = (uint32_t)i;
	return true;
}

static struct slot *
slot_at(struct window *w, uint32_t at)
{
	if (w->slot_len > FEW_SLOTS)
		return at >= w->slot_of_len || w->slot_of[at] == NO_SLOT
		           ? NULL
		           : &w->slots[w->slot_of[at]];
	for (size_t i = 0; i < w->slot_len; i++) {
		if (w->slots[i].at == at)
			return &w->slots[i];
	}
	return NULL;
}

struct slot *
window_slot(struct window *w, uint32_t at, const struct meta *meta)
{
	struct slot *slot = slot_at(w, at);

	return slot != NULL && slot->meta == meta ? slot : NULL;
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

/* The place of the slot's next event, where it has to be in a new piece. */
static uint32_t
new_piece(struct window *w, struct slot *slot)
{
	uint32_t number = (uint32_t)w->event_len;

	w->event_len += EVENT_PIECE;
	if (slot->first == NO_EVENT)
		slot->first = number;
	else
		w->events[slot->end - 1].next = number & NO_EVENT;
	return number;
}

/* The place of the slot's next event. */
ALWAYS_INLINE uint32_t
place_event(struct window *w, struct slot *slot)
{
	uint32_t number = slot->end;

	if (number % EVENT_PIECE == 0)
		number = new_piece(w, slot);
	slot->end = number + 1;
	return number;
}

/* Puts an event behind those of the slot; if oldest first, before. */
ALWAYS_INLINE void
put_event(struct window *w, struct slot *slot, int64_t ts_ns, uint64_t bits, bool active)
{
	uint32_t number, next;
	struct event *event;

	if (w->oldest_first) {
		number = (uint32_t)w->event_len++;
		next = slot->first;
		slot->first = number;
	} else {
		number = place_event(w, slot);
		next = number + 1;
	}
	event = &w->events[number];
	event->ts_ns = ts_ns;
	event->bits = bits;
	event->row = w->walk.next_row - 1;
	event->tail = event_tail(next, active);
	w->last_event = number;
}

/*
 * The slot got its value, or became inactive, at this time. False: that is not asked for. There is
 * room: see window_run.
 */
static bool
emit(struct window *w, struct slot *slot, int64_t ts_ns, bool active)
{
	bool is_dist = active && slot->dist != NULL;

	if (ts_ns >= w->end_ns || w->walk.next_row > w->before_row || w->failed)
		return false;
	put_event(w, slot, ts_ns, is_dist ? (uintptr_t)slot->dist : slot->bits, active);
	if (ts_ns <= w->start_ns)
		close_slot(w, slot);
	return true;
}

static void
undo_value(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	enum row_class class = (enum row_class)slot->class;

	if (class == ROW_DIST) {
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
static void
undo_special(struct window *w, struct slot *slot, const struct row_undo *undo)
{
	bool leaves = undo->how == ROW_FLIP && !slot->active && walk_is_patch(&w->walk);
	if ((!leaves || w->oldest_first) && emit(w, slot, w->walk.ts_ns, slot->active))
		w->events[w->last_event].is_leave = leaves;
	if (undo->how == ROW_FLIP)
		slot->active = !slot->active;
	else if (undo->how != ROW_BORN)
		undo_value(w, slot, undo);
	if (undo->how == ROW_WAKE || undo->how == ROW_BORN)
		slot->active = false;
	if (undo->how == ROW_BORN)
		close_slot(w, slot);
}

static void
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
undo_birth(struct window *w, struct slot *slot)
{
	if (slot == NULL || slot->done)
		return;
	emit(w, slot, w->walk.ts_ns, true);
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

/* A change of a block, whatever it is. */
static void
undo_any(struct window *w, const struct row *row, const struct row_block *block, unsigned i)
{
	uint32_t number = w->slot_of[block->at[i]];
	struct row_undo undo;

	if (number == NO_SLOT)
		return;
	undo = row_block_undo(row, block, i);
	undo_change(w, &w->slots[number], &undo);
}

/* What is known of all events of a row. */
struct row_events {
	struct window *w;
	struct event *events;
	int64_t ts_ns;
	uint32_t row;
};

/* The slot has what it has from that row on. */
ALWAYS_INLINE void
put_plain_event(const struct row_events *all, struct slot *slot)
{
	uint32_t number = place_event(all->w, slot);
	struct event *event = &all->events[number];

	event->ts_ns = all->ts_ns;
	event->bits = slot->bits;
	event->row = all->row;
	event->tail = event_tail(number + 1, slot->active);
}

/*
 * All changes of a block, where each is an event and no slot's last one; newest first. What is
 * undone in the same way comes after each other, so that the processor guesses its way right.
 */
ALWAYS_INLINE void
undo_block(struct window *w, const struct row *row, const struct row_block *block, unsigned n)
{
	struct row_events all = { w, w->events, w->walk.ts_ns, w->walk.next_row - 1 };
	uint8_t ints[ROW_BLOCK], floats[ROW_BLOCK], others[ROW_BLOCK];
	unsigned int_count = 0, float_count = 0, other_count = 0;
	struct slot *slots[ROW_BLOCK];

	for (unsigned i = 0; i < n; i++) {
		uint32_t number = w->slot_of[block->at[i]];
		/* Of codes that are differences. */
		bool plain = block->code[i] - (CODE_FLIP + 1U) < DIFFERENCE_MAX;

		if (number == NO_SLOT)
			continue;
		slots[i] = &w->slots[number];
		ints[int_count] = floats[float_count] = others[other_count] = (uint8_t)i;
		int_count += plain & (slots[i]->plain == ROW_INT + 1);
		float_count += plain & (slots[i]->plain == ROW_F64 + 1);
		other_count += !plain | (slots[i]->plain == 0);
	}
	for (unsigned i = 0; i < int_count; i++) {
		struct slot *slot = slots[ints[i]];

		put_plain_event(&all, slot);
		slot->bits -= unfold(block->payload[ints[i]]);
	}
	for (unsigned i = 0; i < float_count; i++) {
		struct slot *slot = slots[floats[i]];

		put_plain_event(&all, slot);
		slot->bits = float_before(block->payload[floats[i]], ROW_F64, slot->bits);
	}
	for (unsigned i = 0; i < other_count; i++) {
		struct row_undo undo = row_block_undo(row, block, others[i]);

		undo_change(w, slots[others[i]], &undo);
	}
}

WITH_BMI2 static void
undo_block_bmi2(struct window *w, const struct row *row, const struct row_block *block, unsigned n)
{
	undo_block(w, row, block, n);
}

static void
undo_many(struct window *w, struct row *row)
{
	bool plain = w->walk.ts_ns < w->end_ns && w->walk.ts_ns > w->start_ns &&
	             w->walk.next_row <= w->before_row && !w->failed && !w->oldest_first;
	struct row_block block;
	unsigned n;

	while ((n = row_next_block(row, &block)) > 0) {
		if (plain && has_bmi2())
			undo_block_bmi2(w, row, &block, n);
		else if (plain)
			undo_block(w, row, &block, n);
		for (unsigned i = 0; i < n && !plain; i++)
			undo_any(w, row, &block, i);
	}
}

static void
undo_row(struct window *w, struct row *row)
{
	undo_births(w, row);
	if (row->change_count == 0)
		return;
	if (w->slot_len <= FEW_SLOTS)
		undo_few(w, row);
	else
		undo_many(w, row);
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

/* Before it goes on: what the slot has now is kept. */
static void
drop_events(struct window *w)
{
	struct slot *slot = &w->slots[0];
	struct arena arena = w->other;
	struct blob *now = NULL;

	assert(w->slot_len == 1); /* then it is the only one to have filled the window */
	if (class_has_blob(slot->class) && !slot->done)
		now = blob_ref(slot->class == ROW_DIST ? NULL : blob_of_bits(slot->bits));
	arena_reset(&arena);
	if (slot->dist != NULL) {
		slot->dist = copy_dist(&arena, slot->dist);
		w->failed = w->failed || slot->dist == NULL;
	}
	forget_events(w);
	w->other = w->arena;
	w->arena = arena;
	if (now != NULL)
		w->blobs[w->blob_len++] = now;
	w->full = false;
}

/* Newest first, the last event of each slot says that another follows. */
static void
end_events(struct window *w)
{
	for (size_t i = 0; i < w->slot_len && !w->oldest_first; i++) {
		if (w->slots[i].first != NO_EVENT)
			w->events[w->slots[i].end - 1].next = NO_EVENT;
	}
}

/* All rows were gone through. */
static void
end_run(struct window *w)
{
	for (size_t i = 0; i < w->slot_len; i++) {
		struct slot *slot = &w->slots[i];

		if (!slot->done && slot->active && emit(w, slot, w->walk.ts_ns, true))
			w->events[w->last_event].is_base = true;
		close_slot(w, slot);
	}
}

/* More than there should be at a time beside events. What cannot go on has to be read at once. */
static bool
holds_much(const struct window *w)
{
	return (w->arena.used_bytes > MOST_ARENA_BYTES || w->blob_len > w->kept_len + MOST_BLOBS) &&
	       !(w->oldest_first && w->slot_len == 1);
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
		/* A row has at most one event of each slot. */
		if (!grow(&w->events, &w->event_cap, w->event_len + most_of_row,
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
window_run(struct window *w, size_t most_events)
{
	if (w->full)
		drop_events(w);
	run(w, most_events);
	end_events(w);
}

struct value
window_odd_value(const struct event *event, enum kind kind)
{
	if (kind == KIND_DIST && event->active)
		return (struct value){ .dist = (const struct dist *)(uintptr_t)event->bits };
	return bits_to_value(event->bits, kind, event->active);
}

/* The same for those that lie side by side. */
static inline void
put_records(const struct slot *slot, const struct event *event, struct record *out, size_t n)
{
	const struct metric_desc *desc = &slot->meta->desc;

	if (slot->class > ROW_F32 || desc->kind == KIND_BOOL) {
		for (size_t i = 0; i < n; i++)
			window_record(slot, &event[i], &out[i]);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		bool active = event[i].active;

		out[i].desc = desc;
		out[i].ts_ns = event[i].ts_ns;
		out[i].value.u = active ? event[i].bits : 0;
		out[i].active = active;
	}
}

size_t
window_records(const struct window *w, const struct slot *slot, uint32_t *event, struct record *out,
    size_t max)
{
	size_t n = 0;

	while (n < max && *event != NO_EVENT) {
		uint32_t first = *event, end = first - first % EVENT_PIECE + EVENT_PIECE;
		size_t some;

		/* The slot's last piece may not be full. */
		if (slot->end > first && slot->end < end)
			end = slot->end;
		some = end - first < max - n ? end - first : max - n;
		put_records(slot, &w->events[first], &out[n], some);
		*event = w->events[first + some - 1].next;
		n += some;
	}
	return n;
}

static size_t
held_bytes(const struct window *w)
{
	return sizeof(*w) + w->walk.cap + w->walk.ref_cap * sizeof(*w->walk.refs) +
	       w->slot_cap * sizeof(*w->slots) + w->slot_of_cap * sizeof(*w->slot_of) +
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
