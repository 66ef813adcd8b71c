#include "store/walk_priv.h"

#include <stdlib.h>

#include "store/store_priv.h"

#define CACHE_LINE 64

void
walk_init(struct walk *walk)
{
	*walk = (struct walk){ .bytes = NULL };
}

void
walk_release(struct walk *walk)
{
	while (walk->ref_len > 0)
		blob_unref(walk->store, walk->refs[--walk->ref_len].blob);
}

void
walk_fini(struct walk *walk)
{
	walk_release(walk);
	free(walk->refs);
	free(walk->bytes);
	walk_init(walk);
}

/* Moves what is left to the front and makes room for one more page behind it. */
static bool
make_room(struct walk *walk)
{
	size_t left = walk->end - walk->at, cap = left + PAGE_CAP + ROW_SLACK;
	uint8_t *bytes;

	if (left > 0)
		memmove(walk->bytes, walk->bytes + walk->at, left);
	walk->at = 0;
	walk->end = left;
	if (cap <= walk->cap)
		return true;
	bytes = realloc(walk->bytes, 2 * cap);
	if (bytes == NULL)
		return false;
	memset(bytes + walk->cap, 0, 2 * cap - walk->cap);
	walk->bytes = bytes;
	walk->cap = 2 * cap;
	return true;
}

/* Takes references to the blobs of rows from first_row to before_row - 1. REQUIRES the set's lock.
 */
static bool
copy_refs(struct walk *walk, uint32_t first_row, uint32_t before_row)
{
	const struct ring *ring = &walk->stream->blobs;
	uint32_t first = ring_find(ring, first_row), end = ring_find(ring, before_row);

	walk_release(walk);
	if (end - first > walk->ref_cap) {
		size_t cap = (size_t)(end - first) * 2;
		struct ring_item *refs = realloc(walk->refs, cap * sizeof(*refs));

		if (refs == NULL)
			return false;
		walk->refs = refs;
		walk->ref_cap = cap;
	}
	for (uint32_t i = first; i < end; i++) {
		walk->refs[walk->ref_len] = *ring_at(ring, i);
		blob_ref(walk->refs[walk->ref_len++].blob);
	}
	return true;
}

/* It is in the caches when it is wanted. One that is gone by then does no harm. */
static void
prefetch_page(const struct page *page)
{
	const uint8_t *p = (const uint8_t *)page;

	for (size_t i = 0; page != NULL && i < sizeof(*page) + PAGE_CAP; i += CACHE_LINE)
		__builtin_prefetch(p + i);
}

/* REQUIRES the set's lock. */
static void
copy_page(struct walk *walk, const struct page *page)
{
	size_t n = (size_t)(page->cap - page->start);

	if (!copy_refs(walk, page->first_row, walk->first_row)) {
		walk->failed = true;
		walk->page = NULL;
		return;
	}
	memcpy(walk->bytes + walk->end, page->data + page->start, n);
	walk->end += n;
	walk->first_row = page->first_row;
	walk->page = page->older;
	walk->page_number = page->number - 1;
	prefetch_page(page->older);
}

int
walk_prepare(struct walk *walk)
{
	walk_release(walk);
	walk->at = walk->end = 0;
	return make_room(walk) ? 0 : -1;
}

void
walk_start(struct walk *walk, struct series_set *set, uint32_t stream)
{
	const struct stream *s = set->streams[stream];

	walk->store = set->store;
	walk->set = set;
	walk->stream = s;
	walk->next_row = walk->first_row = s->next_row;
	walk->len = s->len;
	walk->ts_ns = s->ts_ns;
	walk->pace = s->pace;
	walk->is_patch = false;
	walk->page = NULL;
	walk->failed = false;
	if (s->newest != NULL)
		copy_page(walk, s->newest);
}

/* Copies the next older page, if it is still there. */
static bool
go_on(struct walk *walk)
{
	const struct stream *s = walk->stream;
	bool found;

	if (walk->page == NULL)
		return false;
	if (!make_room(walk)) {
		walk->failed = true;
		return false;
	}
	lock_take(&walk->set->lock);
	found = s->oldest != NULL && s->oldest->number <= walk->page_number;
	if (found)
		copy_page(walk, walk->page);
	lock_drop(&walk->set->lock);
	return found && !walk->failed;
}

bool
walk_begin_row(struct walk *walk, struct row *row)
{
	while (walk->next_row == walk->first_row) {
		if (!go_on(walk))
			return false;
	}
	if (row_begin(row, walk->bytes + walk->at, walk->end - walk->at, walk->len) != 0)
		return false;
	walk->is_patch = row->late.unit == ROW_PATCH;
	return true;
}

bool
walk_row(struct walk *walk, struct row *row)
{
	return walk_begin_row(walk, row) && row_end(row) == 0;
}

void
walk_undo(struct walk *walk, const struct row *row)
{
	if (!walk->is_patch) {
		pace_undo(&walk->pace, row->late);
		walk->ts_ns = pace_ts(&walk->pace);
	}
	walk->len = row->len_before;
	walk->at += row->bytes;
	walk->next_row--;
}

struct blob *
walk_ref(const struct walk *walk, uint32_t at)
{
	uint32_t row = walk->next_row - 1;
	size_t low = 0, high = walk->ref_len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct ring_item *item = &walk->refs[mid];

		if (item->row < row || (item->row == row && item->at < at))
			low = mid + 1;
		else
			high = mid;
	}
	if (low < walk->ref_len && walk->refs[low].row == row && walk->refs[low].at == at)
		return walk->refs[low].blob;
	return NULL;
}
