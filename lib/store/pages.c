#include "store/pages_priv.h"

#include <assert.h>

#include "store/set_priv.h"

/*
 * A stream that has just ended is spared until so small a part of the pages filled up anew: else a
 * store that is full, as most are, would take what writers are still about to read.
 */
#define IDLE_REST_PART 8

const double pages_limits[PAGES_LIMITS] = { 1, 2, 5, 1e1, 2e1, 5e1, 1e2, 2e2, 5e2, 1e3, 2e3, 5e3,
	1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6 };

void
pages_init(struct page_pool *pool)
{
	*pool = (struct page_pool){ .oldest_ns = TS_NONE, .idle_first_ns = TS_NONE };
	lock_init(&pool->lock, LOCK_pages);
}

void
pages_fini(struct page_pool *pool)
{
	assert(pool->oldest == NULL && pool->idle_first == NULL && pool->spares == NULL);
	assert(pool->page_count == 0);
	lock_fini(&pool->lock);
}

/* REQUIRES the pool's lock, as do the next two. */
static void
note_oldest(struct page_pool *pool)
{
	pool->oldest_ns = pool->oldest == NULL ? TS_NONE : pool->oldest->before_ns;
}

static void
note_idle_first(struct page_pool *pool)
{
	pool->idle_first_ns = pool->idle_first == NULL ? TS_NONE : pool->idle_first->idle_from_ns;
}

static void
note_idle_from(struct page_pool *pool, struct stream *s)
{
	s->idle_from_ns = s->oldest == NULL ? TS_NONE : s->oldest->before_ns;
	note_idle_first(pool);
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
	note_oldest(pool);
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
		note_oldest(pool);
	}
	lock_drop(&pool->lock);
}

static _Atomic uint64_t *
stream_count_of(struct page_pool *pool, uint32_t pages)
{
	size_t bucket = 0;

	while (bucket < PAGES_LIMITS && pages >= pages_limits[bucket])
		bucket++;
	return &pool->stream_counts[bucket];
}

static void
count_stream(struct page_pool *pool, uint32_t before, uint32_t now)
{
	if (before > 0)
		--*stream_count_of(pool, before);
	if (now > 0)
		++*stream_count_of(pool, now);
}

void
pages_joined(struct page_pool *pool, struct stream *s)
{
	uint32_t pages = stream_pages(s);

	count_stream(pool, pages - 1, pages);
	lock_take(&pool->lock);
	if (s->in_idle_list)
		pool->idle_pages++;
	lock_drop(&pool->lock);
}

void
pages_left(struct page_pool *pool, struct stream *s)
{
	uint32_t pages = stream_pages(s);

	count_stream(pool, pages + 1, pages);
	lock_take(&pool->lock);
	if (s->in_idle_list) {
		pool->idle_pages--;
		note_idle_from(pool, s);
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
		pool->idle_pages += stream_pages(stream);
		note_idle_from(pool, stream);
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
		pool->idle_pages -= stream_pages(stream);
		note_idle_first(pool);
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
