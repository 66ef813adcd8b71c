/*
 * store/pages_priv.h - pages and the order in which they are reclaimed.
 *
 * Threads: the pool's lock (rank pages) guards the heaps. Each function below takes it.
 */
#ifndef SCOTTY_STORE_PAGES_PRIV_H
#define SCOTTY_STORE_PAGES_PRIV_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/lock.h"

#define PAGE_BYTES  1024 /* with malloc's own 8 */
#define PAGE_POINTS 59

struct chain;
struct series_set;

struct point {
	int64_t ts_ns;
	uint64_t bits;
};

enum page_heap { HEAP_LIVE, HEAP_IDLE, HEAP_NONE };

struct page {
	/* The owning set's lock. */
	struct page *older, *newer;
	struct chain *chain;
	/* The pool's lock: a pairing heap, the smallest age on top. */
	struct page *child, *next, *prev; /* prev: parent of a first child */
	uint64_t age;
	/* The owning set's lock. */
	uint64_t inactive;
	uint32_t number; /* in the chain, from 0 and without gaps */
	uint16_t len;
	uint16_t heap; /* enum page_heap; the pool's lock */
	struct point points[PAGE_POINTS];
};

static_assert(sizeof(struct page) == PAGE_BYTES - 8, "a page takes 1 KiB of the heap");

/* Pages linked by newer. */
struct page_list {
	struct page *first;
	size_t len;
};

struct page_pool {
	struct lock lock;
	struct page *tops[HEAP_NONE];
	uint64_t filled;                  /* pages so far, with those begun */
	_Atomic uint64_t lens[HEAP_NONE]; /* changed with the lock held */
};

void pages_init(struct page_pool *);
void pages_fini(struct page_pool *);

/* A page that begins to fill becomes one that may be reclaimed, after all full ones. */
void pages_enter(struct page_pool *, struct page *, bool idle);
/* It is full: it may be reclaimed in its turn. */
void pages_filled(struct page_pool *, struct page *);
/* Out of its heap if it is in one. */
void pages_leave(struct page_pool *, struct page *);
/* The chain's pages, from oldest on, move to the heap of idle or of live ones. */
void pages_set_idle(struct page_pool *, struct page *oldest, bool idle);
/*
 * Claims the page to reclaim next. Returns the chain that must give up a page, with a reference to
 * its set for the caller; NULL if no page can be had.
 */
struct chain *pages_claim(struct page_pool *);

#endif
