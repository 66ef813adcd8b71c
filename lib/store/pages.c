#include "store/pages_priv.h"

#include <assert.h>

#include "store/set_priv.h"

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

struct stream *
pages_victim(struct page_pool *pool, struct page **page)
{
	struct stream *found = NULL;

	*page = NULL;
	lock_take(&pool->lock);
	/* A set that is being freed takes its streams and pages out of the lists itself. */
	for (struct stream *s = pool->idle_first; found == NULL && s != NULL; s = s->idle_next) {
		if (series_set_try_ref(s->set))
			found = s;
	}
	for (struct page *p = pool->oldest; found == NULL && p != NULL; p = p->next) {
		if (series_set_try_ref(p->stream->set)) {
			found = p->stream;
			*page = p;
		}
	}
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
