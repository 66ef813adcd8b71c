#include "store/pages_priv.h"

#include "store/chain_priv.h"
#include "store/set_priv.h"

/* Set in the age of a page still filling: it sorts after all full ones. */
#define AGE_FILLING (UINT64_C(1) << 63)

void
pages_init(struct page_pool *pool)
{
	*pool = (struct page_pool){ .filled = 0 };
	lock_init(&pool->lock, LOCK_pages);
}

void
pages_fini(struct page_pool *pool)
{
	assert(pool->tops[HEAP_LIVE] == NULL && pool->tops[HEAP_IDLE] == NULL);
	lock_fini(&pool->lock);
}

/* Joins two heaps, each NULL or a top without siblings. */
static struct page *
meld(struct page *a, struct page *b)
{
	struct page *top, *below;

	if (a == NULL || b == NULL)
		return a != NULL ? a : b;
	top = a->age <= b->age ? a : b;
	below = top == a ? b : a;
	below->prev = top;
	below->next = top->child;
	if (top->child != NULL)
		top->child->prev = below;
	top->child = below;
	return top;
}

static struct page *
cut_first(struct page **siblings)
{
	struct page *page = *siblings;

	if (page != NULL) {
		*siblings = page->next;
		page->next = page->prev = NULL;
	}
	return page;
}

/* One heap of a list of siblings: pairs from the left, then all from the right. */
static struct page *
meld_all(struct page *siblings)
{
	struct page *pairs = NULL, *top = NULL;

	while (siblings != NULL) {
		struct page *a = cut_first(&siblings);
		struct page *pair = meld(a, cut_first(&siblings));

		pair->next = pairs;
		pairs = pair;
	}
	while (pairs != NULL)
		top = meld(top, cut_first(&pairs));
	return top;
}

static void
heap_add(struct page_pool *pool, enum page_heap heap, struct page *page)
{
	page->child = page->next = page->prev = NULL;
	page->heap = (uint16_t)heap;
	pool->tops[heap] = meld(pool->tops[heap], page);
	pool->lens[heap]++;
}

static void
heap_del(struct page_pool *pool, struct page *page)
{
	enum page_heap heap = page->heap;
	struct page *below = meld_all(page->child);

	if (page == pool->tops[heap]) {
		pool->tops[heap] = below;
	} else {
		if (page->prev->child == page)
			page->prev->child = page->next;
		else
			page->prev->next = page->next;
		if (page->next != NULL)
			page->next->prev = page->prev;
		pool->tops[heap] = meld(pool->tops[heap], below);
	}
	page->heap = HEAP_NONE;
	pool->lens[heap]--;
}

void
pages_enter(struct page_pool *pool, struct page *page, bool idle)
{
	lock_take(&pool->lock);
	page->age = AGE_FILLING | pool->filled++;
	heap_add(pool, idle ? HEAP_IDLE : HEAP_LIVE, page);
	lock_drop(&pool->lock);
}

void
pages_filled(struct page_pool *pool, struct page *page)
{
	enum page_heap heap;

	lock_take(&pool->lock);
	heap = page->heap;
	if (heap != HEAP_NONE) {
		heap_del(pool, page);
		page->age = pool->filled++;
		heap_add(pool, heap, page);
	}
	lock_drop(&pool->lock);
}

void
pages_leave(struct page_pool *pool, struct page *page)
{
	lock_take(&pool->lock);
	if (page->heap != HEAP_NONE)
		heap_del(pool, page);
	lock_drop(&pool->lock);
}

void
pages_set_idle(struct page_pool *pool, struct page *oldest, bool idle)
{
	lock_take(&pool->lock);
	for (struct page *page = oldest; page != NULL; page = page->newer) {
		if (page->heap == HEAP_NONE)
			continue; /* claimed: it is as good as gone */
		heap_del(pool, page);
		heap_add(pool, idle ? HEAP_IDLE : HEAP_LIVE, page);
	}
	lock_drop(&pool->lock);
}

struct chain *
pages_claim(struct page_pool *pool)
{
	struct chain *chain = NULL;

	lock_take(&pool->lock);
	while (chain == NULL) {
		enum page_heap heap = pool->tops[HEAP_IDLE] != NULL ? HEAP_IDLE : HEAP_LIVE;
		struct page *page = pool->tops[heap];

		if (page == NULL)
			break;
		heap_del(pool, page);
		/*
		 * A set on its way out frees its pages itself, and stays until they left the heap.
		 */
		if (series_set_try_ref(page->chain->set))
			chain = page->chain;
	}
	lock_drop(&pool->lock);
	return chain;
}
