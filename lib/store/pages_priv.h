/*
 * store/pages_priv.h - pages, the pieces of memory that history is in, and who loses one next.
 *
 * A page belongs to the log of one stream (log_priv.h). The newest page of a log is still filling;
 * all others are full and stand in one list, in the order in which they filled up. Streams without
 * an active series stand in a second list as long as they have pages: a short while after they
 * ended they lose theirs first, the newest included. A full page that is taken away is kept as a
 * spare for the next that needs one, so memory changes hands without the heap.
 *
 * Threads: any. Locks taken: pages.
 */
#ifndef SCOTTY_STORE_PAGES_PRIV_H
#define SCOTTY_STORE_PAGES_PRIV_H

#include "base/lock.h"
#include "store/store.h"

struct stream;

/* With malloc's own 8 bytes a full page is 1 KiB. */
#define PAGE_BYTES 1016

struct page {
	struct page *older, *newer; /* in the log; the set's lock */
	struct page *prev, *next;   /* by age, or among the spares; the pages lock */
	struct stream *stream;      /* NULL: not in a log */
	int64_t before_ns;          /* time of the row before first_row */
	uint32_t first_row; /* the oldest row that is lost with this page and no older one */
	uint32_t number;    /* in the log; older pages have smaller numbers */
	uint32_t every_count, change_count, value_count; /* records of its rows: see log_priv.h */
	uint32_t held_bytes;                             /* what its rows keep outside pages */
	uint16_t start, cap; /* data[start] to data[cap - 1] are in use */
	uint8_t data[];
};

#define PAGE_CAP (PAGE_BYTES - sizeof(struct page))

/* Groups are counted by how many pages they have: below 1, 2, 5, 10, ... up to 10^6, and above. */
#define PAGES_LIMITS 19
extern const double pages_limits[PAGES_LIMITS];

struct page_pool {
	struct lock lock;
	struct page *oldest, *youngest;                   /* full pages */
	struct stream *idle_first, *idle_last;            /* streams */
	struct page *spares;                              /* counted as used memory */
	_Atomic uint64_t idle_pages;                      /* of the streams in that list */
	uint64_t full_count, filled_count;                /* full pages; that there ever were */
	_Atomic uint64_t page_count, used_bytes;          /* in logs; used_bytes: of their data */
	_Atomic uint64_t stream_counts[PAGES_LIMITS + 1]; /* of those with pages */
	/* Time before that of the first in each list, for own metrics; TS_NONE: none, or it holds
	 * all there was. */
	_Atomic int64_t oldest_ns, idle_first_ns;
};

void pages_init(struct page_pool *);
void pages_fini(struct page_pool *); /* all pages are back */

/* The page is full: it is younger than all that were before. */
void pages_add_full(struct page_pool *, struct page *);
/* Takes it out of the list, if it is there. */
void pages_remove(struct page_pool *, struct page *);

/* A page has joined the stream's log, or left it. The set's lock is held. */
void pages_joined(struct page_pool *, struct stream *);
void pages_left(struct page_pool *, struct stream *);

/* The stream has, or no longer has, pages that go before others. Calling it twice does no harm. The
 * set's lock is held. */
void pages_add_idle(struct page_pool *, struct stream *);
void pages_remove_idle(struct page_pool *, struct stream *);

/*
 * Whose oldest page goes next, with a reference to its set; NULL if there is none. *page: the page
 * meant, NULL for an idle stream's oldest.
 */
struct stream *pages_victim(struct page_pool *, struct page **page);

/* A full page for the next that needs one. */
void pages_add_spare(struct page_pool *, struct page *);
struct page *pages_take_spare(struct page_pool *); /* NULL: none */

#endif
