#include "store/pages_priv.h"

#include <assert.h>

#include "store/set_priv.h"

/*
 * A stream that has just ended is spared until so small a part of the pages filled up anew: else a
 * store that is full, as most are, would take what writers are still about to read.
 */
#define IDLE_REST_PART 8

void
pages_init(struct page_pool *pool)
{
	*pool = (struct page_pool){ .oldest = NULL };
	lock_init(&pool->lock, LOCK_pages);
}

void
pages_fini(struct page_pool *pool)
{
	assert(pool->oldest == NULL && pool->idle_first == NULL && pool->spares == NULL);
	assert(pool->page_count == 0);
	lock_fini(&pool->lock);
}

void
pages_add_full(struct page_pool *pool, struct page *page)
{
	lock_take(&pool->lock);
	page->next = NULL;
	page->prev = pool->youngest;
	if (page->prev != NULL)
		page->prev->next = page;
	else
		pool->oldest = page;
	pool->youngest = page;
	pool->full_count++;
	pool->filled_count++;
	lock_drop(&pool->lock);
}

void
pages_remove(struct page_pool *pool, struct page *page)
{
	lock_take(&pool->lock);
	if (page->prev != NULL || pool->oldest == page) {
		if (page->prev != NULL)
			page->prev->next = page->next;
		else
			pool->oldest = page->next;
		if (page->next != NULL)
			page->next->prev = page->prev;
		else
			pool->youngest = page->prev;
		page->prev = page->next = NULL;
		pool->full_count--;
	}
	lock_drop(&pool->lock);
}

void
pages_add_idle(struct page_pool *pool, struct stream *stream)
{
	lock_take(&pool->lock);
	if (!stream->in_idle_list) {
		stream->in_idle_list = true;
		stream->idle_since = pool->filled_count;
		stream->idle_next = NULL;
		stream->idle_prev = pool->idle_last;
		if (stream->idle_prev != NULL)
			stream->idle_prev->idle_next = stream;
		else
			pool->idle_first = stream;
		pool->idle_last = stream;
		pool->idle_count++;
	}
	lock_drop(&pool->lock);
}

void
pages_remove_idle(struct page_pool *pool, struct stream *stream)
{
	lock_take(&pool->lock);
	if (stream->in_idle_list) {
		stream->in_idle_list = false;
		if (stream->idle_prev != NULL)
			stream->idle_prev->idle_next = stream->idle_next;
		else
			pool->idle_first = stream->idle_next;
		if (stream->idle_next != NULL)
			stream->idle_next->idle_prev = stream->idle_prev;
		else
			pool->idle_last = stream->idle_prev;
		pool->idle_count--;
	}
	lock_drop(&pool->lock);
}

/*
 * The stream that was idle first, if that was before so many pages had filled up. A set that is
 * being freed takes its streams and pages out of the lists itself. REQUIRES the lock.
 */
static struct stream *
idle_victim(const struct page_pool *pool, uint64_t before)
{
	for (struct stream *s = pool->idle_first; s != NULL; s = s->idle_next) {
		if (s->idle_since > before)
			break;
		if (series_set_try_ref(s->set))
			return s;
	}
	return NULL;
}

struct stream *
pages_victim(struct page_pool *pool, struct page **page)
{
	struct stream *found;
	uint64_t rest;

	*page = NULL;
	lock_take(&pool->lock);
	rest = pool->full_count / IDLE_REST_PART;
	found = pool->filled_count < rest ? NULL : idle_victim(pool, pool->filled_count - rest);
	for (struct page *p = pool->oldest; found == NULL && p != NULL; p = p->next) {
		if (series_set_try_ref(p->stream->set)) {
			found = p->stream;
			*page = p;
		}
	}
	if (found == NULL)
		found = idle_victim(pool, UINT64_MAX);
	lock_drop(&pool->lock);
	return found;
}

void
pages_add_spare(struct page_pool *pool, struct page *page)
{
	lock_take(&pool->lock);
	page->next = pool->spares;
	pool->spares = page;
	lock_drop(&pool->lock);
}

struct page *
pages_take_spare(struct page_pool *pool)
{
	struct page *page;

	lock_take(&pool->lock);
	page = pool->spares;
	if (page != NULL)
		pool->spares = page->next;
	lock_drop(&pool->lock);
	return page;
}
