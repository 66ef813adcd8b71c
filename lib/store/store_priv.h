/*
 * store/store_priv.h - the store itself and its bound on memory.
 *
 * Shape. A store holds sets (one per endpoint), a set streams (one per group of metrics that share
 * their times). A stream is an array of the newest values, 64 bits per series, and a log of rows:
 * one row per poll, an *undo record* that says what the values were before (log_priv.h,
 *row_priv.h). Reading begins with what is now and goes back in time. What does not change costs
 *nothing, and the newest value is in no page, so giving up the oldest page needs no repair
 *anywhere.
 *
 *	schema (shared)        set web1/app
 *	stream 0: /a /b /c     stream 0: [bits /a /b /c] time, step --> page (filling) -> page ->
 *page stream 1: /d           stream 1: [bits /d]       time, step --> page
 *
 * Page: 1 KiB of heap, malloc's own 8 bytes included (the first of a log is smaller until it
 *fills).
 *
 *	offset	bytes
 *	0	16	older, newer: neighbours in the log
 *	16	16	prev, next: neighbours by age
 *	32	8	stream that owns it
 *	40	8	time of the row before the next
 *	48	8	first row that needs no older page; the page's number in its log
 *	56	16	records of its rows, in three ways of counting; bytes its rows keep
 *elsewhere 72	4	first byte in use; number of bytes 76	936	rows, the newest one first
 *
 * Values of more than 64 bits are blobs (blob_priv.h). Descriptions (meta_priv.h), lists of series
 * (schema_priv.h) and ways from batch to series (plan_priv.h) are shared by all sets that agree in
 * them. Append is append.c, reading walk_priv.h, window_priv.h, iter.c and cursor.c.
 *
 * Memory. Everything kept here is counted as malloc rounds it, against one limit, also what appends
 * and readers leave for the next ones; what they need for the moment is not. Who finds the limit
 *reached takes a page: the oldest of a stream without active series, else of all full ones the one
 *that filled up first; the clocks of endpoints play no part. A row that finds no page is dropped
 *with all rows before it, just as if they had been reclaimed.
 *
 * Locks, in order of rank:
 *
 *	store	sets, cursors, the sorted list of sets
 *	series	one per set: streams with their logs, schema, moves, places of cursors. The set's
 *		appender alone changes what is not of a log, so it reads that without the lock.
 *	pages	order of reclaiming, spare pages, scratch memory
 *	meta	interned descriptions, strings, schemas, plans (a lock each, never two at once)
 *
 * Reclaiming takes the lock of the set that loses the page, so it is only done with no lock of rank
 * series or above held. With one held, memory_try gives what is left; who gets nothing drops the
 * lock, calls memory_wait, and tries again.
 */
#ifndef SCOTTY_STORE_STORE_PRIV_H
#define SCOTTY_STORE_STORE_PRIV_H

#include <stdatomic.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/lock.h"
#include "store/blob_priv.h"
#include "store/meta_priv.h"
#include "store/pages_priv.h"
#include "store/plan_priv.h"
#include "store/schema_priv.h"
#include "store/store.h"

struct cursor;
struct scratch;
struct window;
struct sorted_sets;
struct store_past;
struct store_tap;

struct store {
	_Atomic uint64_t used_bytes;
	uint64_t limit_bytes;
	_Atomic uint64_t freed_bytes; /* since malloc was last trimmed */
	struct page_pool pool;
	struct scratch *scratches; /* the pool's lock; see scratch_priv.h */
	struct window *windows;    /* the same; see window_priv.h */
	unsigned window_count;
	struct meta_table metas;
	struct blob_table blobs;
	struct schema_table schemas;
	struct plan_table plans;
	struct own *own;   /* NULL: no own metrics */
	int64_t opened_ns; /* wall clock */

	struct lock lock;
	struct map sets;                 /* lock; by set_key */
	struct sorted_sets *sorted;      /* lock; NULL: to be made anew */
	uint64_t set_changes;            /* lock; sets that came or went */
	struct cursor *cursors;          /* lock */
	uint64_t set_serial;             /* lock */
	int64_t last_birth_ns;           /* lock */
	struct store_tap *tap;           /* see redo.h; NULL: nobody is told */
	struct store_past *_Atomic past; /* see past.h; NULL: there is none */

	/* Sums for store_get_stats. */
	_Atomic uint64_t set_count, series_count, active_count, value_count, reclaimed_count;
	_Atomic int64_t oldest_ts_ns;
};

/*
 * Later times are taken for this one. It leaves room above for markers, each 1 ms later than what
 * came before, for as many as there can ever be.
 */
#define TS_MOST (INT64_MAX - 365 * 86400 * NS_PER_S)

static inline int64_t
ts_at_most(int64_t ts_ns)
{
	return ts_ns < TS_MOST ? ts_ns : TS_MOST;
}

/*
 * memory.c. All of these may reclaim pages: hold no lock of rank series or above.
 */

/* Counts bytes as used. -1 with ERR_LIMIT. */
int memory_charge(struct store *, size_t bytes, struct err *err);
/* NULL with ERR_LIMIT or ERR_NOMEM. Not zeroed. */
void *memory_alloc(struct store *, size_t bytes, struct err *err);
/*
 * These go above the limit: for what gives more back at once, or is listed. NULL with ERR_NOMEM.
 */
void memory_charge_beyond(struct store *, size_t bytes);
void *memory_alloc_beyond(struct store *, size_t bytes, struct err *err);
/* For what is listed: within the limit, or above it if need be and beyond. */
void *memory_alloc_listed(struct store *, size_t bytes, bool beyond, struct err *err);

/* What an attempt lacked. */
struct memory_want {
	size_t bytes;
	bool page;  /* a full page will do */
	bool nomem; /* the heap had none */
};
/* Waits for what was wanted to be there, so that the attempt is made again. -1: ERR_LIMIT,
 * ERR_NOMEM. */
int memory_wait(struct store *, const struct memory_want *, struct err *);

/* These do not: any lock may be held. NULL: what is wanted. Not zeroed. */
void *memory_try(struct store *, size_t bytes, struct memory_want *);

/* Counts bytes as used, if they are free. */
bool memory_try_charge(struct store *, size_t bytes);
void memory_uncharge(struct store *, size_t bytes);
void memory_free(struct store *, void *p, size_t bytes); /* bytes: as allocated; NULL is fine */

/* Makes a block smaller, and maybe another. Never fails. */
void *memory_shrink(struct store *, void *p, size_t bytes, size_t less);

/* scratch.c: frees what appends kept for the next. */
void scratches_free(struct store *);
/* window.c: frees one that a reader left for the next. False: there is none. */
bool windows_free_one(struct store *);

/* self.c: the own metrics below /store. */
int store_self_add(struct store *, struct own *, struct err *err);
void store_self_remove(struct store *);

#endif
