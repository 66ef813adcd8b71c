#include "store/chain_priv.h"

#include "store/blob_priv.h"
#include "store/cursor_priv.h"
#include "store/set_priv.h"
#include "store/store_priv.h"

void
chain_init(struct chain *chain, struct series_set *set, enum chain_kind kind)
{
	*chain = (struct chain){ .set = set, .last = { TS_NONE, 0 }, .kind = (uint8_t)kind };
}

static void
release_point(const struct chain *chain, const struct point *point)
{
	if (chain->kind == CHAIN_BLOBS)
		blob_unref(blob_of_bits(point->bits));
}

void
chain_release_page(const struct chain *chain, struct page *page)
{
	for (uint32_t i = 0; i < page->len; i++)
		release_point(chain, &page->points[i]);
	page->len = 0;
}

/* Page counts are kept per series and per group pages. */
static _Atomic uint64_t *
page_counter(const struct chain *chain)
{
	return &chain->set->store->page_count[chain->kind == CHAIN_TIMES];
}

void
chain_withdraw(struct chain *chain)
{
	for (struct page *page = chain->oldest; page != NULL; page = page->newer)
		pages_leave(&chain->set->store->pool, page);
}

void
chain_fini(struct chain *chain)
{
	struct store *store = chain->set->store;
	struct page *newer;
	uint64_t count = chain->last.ts_ns != TS_NONE;

	for (struct page *page = chain->oldest; page != NULL; page = newer) {
		newer = page->newer;
		count += page->len;
		(*page_counter(chain))--;
		chain_release_page(chain, page);
		memory_free(store, page, sizeof(*page));
	}
	release_point(chain, &chain->last);
	if (chain->kind != CHAIN_TIMES)
		store->value_count -= count;
}

/*
 * Points before upto_ns, count of them, the newest at newest_ns, are about to go. Call while the
 * chain still has them.
 */
static void
account_loss(struct chain *chain, uint32_t count, int64_t newest_ns, int64_t upto_ns)
{
	struct store *store = chain->set->store;
	int64_t oldest_ns = store->oldest_ts_ns;

	if (chain->kind == CHAIN_TIMES) {
		struct group *group = CONTAINER_OF(chain, struct group, times);

		places_lose_times(group, newest_ns + 1);
		group->lost_ns = newest_ns;
	} else {
		places_lose_values(CONTAINER_OF(chain, struct series, values), upto_ns);
		store->value_count -= count;
	}
	chain->lost_count++;
	while (!chain->idle && oldest_ns < newest_ns &&
	       !atomic_compare_exchange_weak(&store->oldest_ts_ns, &oldest_ns, newest_ns))
		continue;
}

struct page *
chain_drop_oldest(struct chain *chain)
{
	struct page *page = chain->oldest;
	struct page *newer;

	if (page == NULL)
		return NULL;
	newer = page->newer;
	account_loss(chain, page->len, page->points[page->len - 1].ts_ns,
	    newer != NULL ? newer->points[0].ts_ns : chain->last.ts_ns);
	pages_leave(&chain->set->store->pool, page);
	chain->oldest = newer;
	if (newer != NULL)
		newer->older = NULL;
	else
		chain->newest = NULL;
	(*page_counter(chain))--;
	chain->set->store->reclaimed_count++;
	return page;
}

bool
chain_needs_page(const struct chain *chain)
{
	return chain->last.ts_ns != TS_NONE &&
	       (chain->newest == NULL || chain->newest->len == PAGE_POINTS);
}

static void
attach_page(struct chain *chain, struct page *page)
{
	*page =
	    (struct page){ .older = chain->newest, .chain = chain, .number = chain->lost_count };
	if (chain->newest != NULL) {
		page->number = chain->newest->number + 1;
		chain->newest->newer = page;
	} else {
		chain->oldest = page;
	}
	chain->newest = page;
	(*page_counter(chain))++;
	pages_enter(&chain->set->store->pool, page, chain->idle);
}

/* A page for the last point: one of the list, or else the chain's own oldest. NULL if none. */
static struct page *
page_for_last(struct chain *chain, struct page_list *pages)
{
	struct page *page = pages->first;

	if (page != NULL) {
		pages->first = page->newer;
		pages->len--;
	} else {
		page = chain_drop_oldest(chain);
		if (page != NULL)
			chain_release_page(chain, page);
	}
	return page;
}

/* Moves the last point to a page. False if there is none for it. */
static bool
keep_last(struct chain *chain, struct page_list *pages)
{
	struct page *page;

	if (chain_needs_page(chain)) {
		page = page_for_last(chain, pages);
		if (page == NULL)
			return false;
		attach_page(chain, page);
	}
	page = chain->newest;
	page->points[page->len] = chain->last;
	if (!chain->last_active)
		page->inactive |= UINT64_C(1) << page->len;
	if (++page->len == PAGE_POINTS)
		pages_filled(&chain->set->store->pool, page);
	return true;
}

void
chain_add(struct chain *chain, struct point point, bool active, struct page_list *pages)
{
	assert(point.ts_ns > chain->last.ts_ns);
	if (chain->last.ts_ns != TS_NONE && !keep_last(chain, pages)) {
		account_loss(chain, 1, chain->last.ts_ns, point.ts_ns);
		release_point(chain, &chain->last);
	}
	chain->last = point;
	chain->last_active = active;
}

void
chain_set_idle(struct chain *chain, bool idle)
{
	if (chain->idle == idle)
		return;
	chain->idle = idle;
	if (chain->oldest != NULL)
		pages_set_idle(&chain->set->store->pool, chain->oldest, idle);
}

int64_t
chain_first_ns(const struct chain *chain)
{
	return chain->oldest != NULL ? chain->oldest->points[0].ts_ns : chain->last.ts_ns;
}

/* Index of the newest point of page at or before ts_ns. Its first point is. */
static uint32_t
page_find(const struct page *page, int64_t ts_ns)
{
	uint32_t low = 0, high = page->len;

	while (high - low > 1) {
		uint32_t mid = (low + high) / 2;

		if (page->points[mid].ts_ns <= ts_ns)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* To the newest point at or before ts_ns in w->page or an older one. */
static bool
walk_back_to(struct walk *w, int64_t ts_ns)
{
	for (; w->page != NULL; w->page = w->page->older) {
		if (w->page->points[0].ts_ns <= ts_ns) {
			w->where = WALK_PAGE;
			w->page_number = w->page->number;
			w->at = page_find(w->page, ts_ns);
			return true;
		}
	}
	w->where = WALK_BEFORE;
	return false;
}

bool
walk_to(struct walk *w, const struct chain *chain, int64_t ts_ns)
{
	*w = (struct walk){ .chain = chain, .where = WALK_LAST };
	if (chain->last.ts_ns != TS_NONE && chain->last.ts_ns <= ts_ns)
		return true;
	w->page = chain->newest;
	return walk_back_to(w, ts_ns);
}

bool
walk_resume(struct walk *w, int64_t ts_ns)
{
	assert(w->where == WALK_PAGE);
	/* As a difference, for numbers that wrapped round. */
	if ((int32_t)(w->page_number - w->chain->lost_count) < 0)
		return false;
	return walk_back_to(w, ts_ns);
}

/* To the first or last point of a page. */
static void
enter_page(struct walk *w, const struct page *page, uint32_t at)
{
	w->where = WALK_PAGE;
	w->page = page;
	w->page_number = page->number;
	w->at = at;
}

bool
walk_next(struct walk *w)
{
	const struct page *next;

	if (w->where == WALK_LAST)
		return false;
	if (w->where == WALK_PAGE && w->at + 1 < w->page->len) {
		w->at++;
		return true;
	}
	next = w->where == WALK_BEFORE ? w->chain->oldest : w->page->newer;
	if (next != NULL) {
		enter_page(w, next, 0);
		return true;
	}
	if (w->chain->last.ts_ns == TS_NONE)
		return false;
	w->where = WALK_LAST;
	return true;
}

bool
walk_prev(struct walk *w)
{
	const struct page *prev;

	assert(w->where != WALK_BEFORE);
	if (w->where == WALK_PAGE && w->at > 0) {
		w->at--;
		return true;
	}
	prev = w->where == WALK_LAST ? w->chain->newest : w->page->older;
	if (prev == NULL)
		return false;
	enter_page(w, prev, prev->len - 1u);
	return true;
}

struct point
walk_point(const struct walk *w)
{
	assert(w->where != WALK_BEFORE);
	return w->where == WALK_LAST ? w->chain->last : w->page->points[w->at];
}

bool
walk_active(const struct walk *w)
{
	assert(w->where != WALK_BEFORE);
	if (w->where == WALK_LAST)
		return w->chain->last_active;
	return (w->page->inactive >> w->at & 1) == 0;
}
