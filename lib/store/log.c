#include "store/log_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/cursor_priv.h"
#include "store/set_priv.h"
#include "store/store_priv.h"

/*
 * The newest page of a log begins as small as will do for some rows, and grows, so that what rarely
 * changes owns little. With malloc's own 8 bytes.
 */
static const size_t block_bytes[] = { 128, 192, 256, 384, 512, 768, PAGE_BYTES + 8 };
#define ROWS_AHEAD 4

/*
 * A page whose rows keep more than this outside pages counts as full: else blobs without end could
 * hang on a page that is not given up as it is still filling.
 */
#define HELD_MOST (4 * PAGE_BYTES)

static size_t
page_bytes(const struct page *page)
{
	return sizeof(*page) + page->cap;
}

static struct page *
init_page(struct page *page, size_t cap)
{
	if (page != NULL)
		*page = (struct page){ .start = (uint16_t)cap, .cap = (uint16_t)cap };
	return page;
}

/* Free bytes in the newest page. */
static size_t
room_in_newest(const struct stream *s)
{
	return s->newest == NULL || s->newest->held_bytes > HELD_MOST ? 0 : s->newest->start;
}

/* What a page should have room for to hold a row of so many bytes, beyond what is used of it. */
static size_t
cap_for(size_t used, size_t bytes)
{
	size_t head = sizeof(struct page) + 8, i = 0;

	while (i < ARRAY_LEN(block_bytes) - 1 && block_bytes[i] - head < used + ROWS_AHEAD * bytes)
		i++;
	return block_bytes[i] - head;
}

/* How big a page the newest is to grow into; 0: it need not or cannot. */
static size_t
grown_cap(const struct stream *s, size_t bytes)
{
	const struct page *page = s->newest;

	if (page == NULL || page->held_bytes > HELD_MOST || page->cap == PAGE_CAP ||
	    bytes <= page->start)
		return 0;
	return cap_for((size_t)(page->cap - page->start), bytes);
}

/*
 * A page that goes behind the newest, for what is left of a row. Spare pages, which are full ones,
 * are taken first: as long as there are any the store is full, and small blocks would only cut the
 * heap to pieces.
 */
static struct page *
try_page(struct store *store, size_t bytes, struct memory_want *want)
{
	struct page *page = pages_take_spare(&store->pool);
	size_t cap = page != NULL ? PAGE_CAP : cap_for(0, bytes);

	if (page == NULL)
		page = memory_try(store, sizeof(*page) + cap, want);
	want->page = page == NULL;
	return init_page(page, cap);
}

static void
add_to_room(struct log_room *room, struct page *page)
{
	struct page **last = &room->pages;

	while (*last != NULL)
		last = &(*last)->newer;
	*last = page;
	room->bytes += page->cap;
}

bool
log_reserve(struct stream *s, size_t bytes, struct log_room *room, struct memory_want *want)
{
	size_t cap = grown_cap(s, bytes), in_newest = room_in_newest(s);
	struct store *store = s->set->store;

	if (room->grown != NULL && room->grown->cap < cap) {
		memory_free(store, room->grown, page_bytes(room->grown));
		room->grown = NULL;
	}
	if (cap > 0 && room->grown == NULL) {
		room->grown = init_page(memory_try(store, sizeof(struct page) + cap, want), cap);
		if (room->grown == NULL)
			return false;
	}
	if (cap > 0)
		in_newest += (size_t)(room->grown->cap - s->newest->cap);
	while (bytes > in_newest + room->bytes) {
		struct page *page = try_page(store, bytes - in_newest - room->bytes, want);

		if (page == NULL)
			return false;
		add_to_room(room, page);
	}
	return true;
}

void
log_free_room(struct store *store, struct log_room *room)
{
	if (room->grown != NULL)
		memory_free(store, room->grown, page_bytes(room->grown));
	while (room->pages != NULL) {
		struct page *page = room->pages;

		room->pages = page->newer;
		if (page->cap == PAGE_CAP)
			pages_add_spare(&store->pool, page);
		else
			memory_free(store, page, page_bytes(page));
	}
	*room = (struct log_room){ .grown = NULL };
}

static void
link_newest(struct stream *s, struct page *page)
{
	struct page_pool *pool = &s->set->store->pool;

	page->stream = s;
	page->number = s->next_page++;
	page->older = s->newest;
	page->newer = page->prev = page->next = NULL;
	if (s->newest != NULL) {
		s->newest->newer = page;
		pages_add_full(pool, s->newest);
	} else {
		s->oldest = page;
	}
	s->newest = page;
	pool->page_count++;
	pages_joined(pool, s);
	if (s->active_count == 0)
		pages_add_idle(pool, s);
}

/* The newest page's bytes move into a bigger one, which takes its place. */
static void
grow_newest(struct stream *s, struct page *grown)
{
	struct page *old = s->newest;
	size_t used = (size_t)(old->cap - old->start), cap = grown->cap;

	assert(used <= cap);
	*grown = *old;
	grown->cap = (uint16_t)cap;
	grown->start = (uint16_t)(cap - used);
	memcpy(grown->data + grown->start, old->data + old->start, used);
	s->newest = grown;
	if (grown->older != NULL)
		grown->older->newer = grown;
	else
		s->oldest = grown;
	memory_free(s->set->store, old, page_bytes(old));
}

/* Puts the end of what is left of a row in front of what the newest page has; how much it was. */
static size_t
fill_newest(struct stream *s, const uint8_t *p, size_t bytes)
{
	struct page *page = s->newest;
	size_t n = bytes < page->start ? bytes : page->start;

	page->start = (uint16_t)(page->start - n);
	memcpy(page->data + page->start, p + bytes - n, n);
	s->set->store->pool.used_bytes += n;
	return n;
}

static struct page *
next_page(struct log_room *room)
{
	struct page *page = room->pages;

	assert(page != NULL);
	room->pages = page->newer;
	room->bytes -= page->cap;
	return page;
}

static void
advance(struct stream *s, const struct log_row *row)
{
	if (s->ts_ns == TS_NONE) {
		s->begin_ns = row->ts_ns;
		pace_begin(&s->pace, row->ts_ns);
	} else if (row->ts_ns != s->ts_ns) {
		pace_advance(&s->pace, row->ts_ns);
	}
	s->ts_ns = row->ts_ns;
	s->next_row++;
	assert(s->next_row != 0);
	s->every_sum += row->every_count;
	s->change_sum += row->change_count;
	s->set->store->value_count += row->value_count;
}

static void
count_in(struct page *page, const struct log_row *row)
{
	page->every_count += row->every_count;
	page->change_count += row->change_count;
	page->value_count += row->value_count;
	page->held_bytes += row->held_bytes;
}

void
log_put(struct stream *s, const struct log_row *row, struct log_room *room)
{
	size_t left = row->bytes;
	struct page *owner = NULL; /* the oldest page it lies in */

	places_note_row(s, row->ts_ns);
	if (room->grown != NULL && grown_cap(s, left) > 0) {
		grow_newest(s, room->grown);
		room->grown = NULL;
	}
	if (room_in_newest(s) > 0) {
		left -= fill_newest(s, row->p, left);
		owner = s->newest;
	}
	while (left > 0) {
		struct page *page = next_page(room);

		page->first_row = owner == NULL ? s->next_row : s->next_row + 1;
		page->before_ns = owner == NULL ? s->ts_ns : row->ts_ns;
		link_newest(s, page);
		left -= fill_newest(s, row->p, left);
		if (owner == NULL)
			owner = page;
	}
	count_in(owner, row);
	advance(s, row);
}

void
log_lose(struct stream *s, const struct log_row *row)
{
	places_note_row(s, row->ts_ns);
	advance(s, row);
	s->set->store->value_count -= row->value_count;
	/* It counts as lost before those before it, so that cursors see it go with them. */
	s->every_lost += row->every_count;
	s->change_lost += row->change_count;
	log_clear(s);
	s->first_row = s->next_row;
	s->base_ns = s->ts_ns;
	places_lose_rows(s);
}

/*
 * Positions that became inactive in rows given up are dead, unless they were active since: then
 * they are active, or there is a later marker.
 */
static void
find_dead(struct stream *s)
{
	struct series_set *set = s->set;
	uint32_t dead_count = 0;

	if (s->markers.len == 0 || ring_at(&s->markers, 0)->row >= s->first_row)
		return;
	while (s->markers.len > 0 && ring_at(&s->markers, 0)->row < s->first_row) {
		uint32_t at = ring_pop(set->store, &s->markers).at;

		if (!bit_get(s->active, at) && !bit_get(s->dead, at)) {
			bit_set(s->dead, at, true);
			dead_count++;
		}
	}
	for (uint32_t i = 0; i < s->markers.len; i++) {
		uint32_t at = ring_at(&s->markers, i)->at;

		if (bit_get(s->dead, at)) {
			bit_set(s->dead, at, false);
			dead_count--;
		}
	}
	set->dead_count += dead_count;
}

static void
lose_rings(struct stream *s)
{
	while (s->blobs.len > 0 && ring_at(&s->blobs, 0)->row < s->first_row)
		blob_unref(s->set->store, ring_pop(s->set->store, &s->blobs).blob);
	find_dead(s);
}

void
log_drop_oldest(struct stream *s, bool keep_spare)
{
	struct page *page = s->oldest, *newer = page->newer;
	struct store *store = s->set->store;

	pages_remove(&store->pool, page);
	s->oldest = newer;
	if (newer != NULL)
		newer->older = NULL;
	else
		s->newest = NULL;
	pages_left(&store->pool, s);
	if (newer == NULL)
		pages_remove_idle(&store->pool, s);
	s->first_row = newer == NULL ? s->next_row : newer->first_row;
	s->base_ns = newer == NULL ? s->ts_ns : newer->before_ns;
	s->every_lost += page->every_count;
	s->change_lost += page->change_count;
	lose_rings(s);
	places_lose_rows(s);
	store->value_count -= page->value_count;
	store->pool.page_count--;
	store->pool.used_bytes -= (uint64_t)(page->cap - page->start);
	if (keep_spare) {
		store->reclaimed_count++;
		if (s->active_count > 0 && store->oldest_ts_ns < s->base_ns)
			store->oldest_ts_ns = s->base_ns;
	}
	if (keep_spare && page->cap == PAGE_CAP)
		pages_add_spare(&store->pool, page);
	else
		memory_free(store, page, page_bytes(page));
}

void
log_clear(struct stream *s)
{
	while (s->oldest != NULL)
		log_drop_oldest(s, false);
}
