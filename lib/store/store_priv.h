/*
 * store/store_priv.h - the store itself and its bound on memory.
 *
 * Shape. A store holds sets (one per endpoint), a set series and groups. Each series and each
 * group owns a *chain* (chain_priv.h): points that rise in time, the newest of them in the chain,
 * the older ones in pages. A point is a time and 64 bits: the number itself, or a pointer to a
 * *blob* (strings, lists, distributions: immutable, counted). A group's points are the times of
 * its polls; a series' points are its changes. A constant metric therefore needs no page.
 *
 * Page (pages_priv.h): 1 KiB of heap, malloc's own 8 bytes included.
 *
 *	offset	bytes
 *	0	16	older, newer: neighbours in the chain
 *	16	8	chain that owns it
 *	24	24	links of the reclaim heap
 *	48	8	age: what the heap is sorted by
 *	56	8	bit i: point i is an inactive marker
 *	64	8	its number in the chain, number of points, heap it is in
 *	72	944	59 points of 16 bytes: time, bits
 *
 * Memory. Everything kept here is counted as malloc rounds it, against one limit; what an append
 * or a reader needs for the moment is not. Who finds the limit reached takes a page: the oldest of
 * an idle chain (its series is inactive, or all series of its group), else the oldest of all. A
 * page's age is the order in which pages filled up, so clocks of endpoints play no part; a page
 * still filling counts as younger than any full one. The chain always loses its oldest page. The
 * newest point is not in a page, so it is never lost; a point that finds no page on its way out of
 * the chain's head is dropped just as if its page had been reclaimed.
 *
 * Locks, in order of rank:
 *
 *	store	sets, cursors, a cursor's list of places
 *	series	one per set: chains, index, places' positions. The set's appender alone changes
 *		series, groups and newest points, so it reads those without the lock.
 *	pages	reclaim heaps and the heap fields of pages
 *	meta	interned descriptions
 *
 * Reclaiming takes the lock of the set that loses the page, so it is only done with no lock of
 * rank series or above held: before an append takes its set's lock (append.c). The page is first
 * claimed, that is taken out of its heap, with the pages lock and a reference to its set, then
 * given up by its owner with the series lock. A claimed page stays in its chain until then.
 */
#ifndef SCOTTY_STORE_STORE_PRIV_H
#define SCOTTY_STORE_STORE_PRIV_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/lock.h"
#include "store/meta_priv.h"
#include "store/pages_priv.h"
#include "store/store.h"

struct cursor;

struct store {
	_Atomic uint64_t used_bytes;
	uint64_t limit_bytes;
	struct page_pool pool;
	struct meta_table metas;
	struct own *own;   /* NULL: no own metrics */
	int64_t opened_ns; /* wall clock */

	struct lock lock;
	struct map sets;        /* lock; by set_key */
	struct cursor *cursors; /* lock */

	/* Sums for store_get_stats. */
	_Atomic uint64_t set_count, series_count, active_count, value_count, reclaimed_count;
	_Atomic uint64_t page_count[2]; /* of series, of groups */
	_Atomic int64_t oldest_ts_ns;
};

/*
 * memory.c. All of these may reclaim pages: hold no lock of rank series or above.
 */

/* Counts bytes as used. -1 with ERR_LIMIT. */
int memory_charge(struct store *, size_t bytes, struct err *);
/* NULL with ERR_LIMIT or ERR_NOMEM. Not zeroed. */
void *memory_alloc(struct store *, size_t bytes, struct err *);
/* A bigger copy of p (NULL when old_bytes is 0), which is freed. NULL: p stays as it is. */
void *memory_grow(struct store *, void *p, size_t old_bytes, size_t new_bytes, struct err *);
/*
 * Adds pages to list until it has n, fewer if there are no more to be had. -1 with ERR_NOMEM only.
 */
int memory_pages(struct store *, size_t n, struct page_list *list, struct err *);

/* These only give: any lock may be held. */
void memory_uncharge(struct store *, size_t bytes);
void memory_free(struct store *, void *p, size_t bytes); /* bytes: as allocated; NULL is fine */
void memory_free_pages(struct store *, struct page_list *);

/* self.c: the own metrics below /store. */
int store_self_add(struct store *, struct own *, struct err *);
void store_self_remove(struct store *);

#endif
