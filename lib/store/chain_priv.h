/*
 * store/chain_priv.h - points that rise in time: the history of one series, or the times of one
 * group. The newest point is kept in the chain, older ones in pages.
 *
 * Threads: all functions need the lock of the chain's set (rank series) unless they say otherwise;
 * the set's appender may read `last` and `last_active` without it.
 */
#ifndef SCOTTY_STORE_CHAIN_PRIV_H
#define SCOTTY_STORE_CHAIN_PRIV_H

#include "messages/metric.h"
#include "store/pages_priv.h"

enum chain_kind {
	CHAIN_NUMBERS, /* bits are the value */
	CHAIN_BLOBS,   /* bits are a struct blob *, or 0 for empty ones and inactive markers */
	CHAIN_TIMES,   /* of a group: bits unused */
};

struct chain {
	struct series_set *set;
	struct page *oldest, *newest;
	struct point last;   /* ts_ns TS_NONE: no point yet */
	uint32_t lost_count; /* pages given up so far; so the number of the oldest */
	bool last_active;
	bool idle;    /* its pages are reclaimed first */
	uint8_t kind; /* enum chain_kind */
};

void chain_init(struct chain *, struct series_set *, enum chain_kind);
/*
 * For a set that nobody refers to any more, without its lock: first all chains withdraw, then all
 * end.
 */
void chain_withdraw(struct chain *);
void chain_fini(struct chain *);

/* True if the next point takes a page. */
bool chain_needs_page(const struct chain *);
/*
 * Adds a point later than the last one; a page, if need be, is taken from pages, else the chain's
 * own oldest is used again, and without one the point that was the last is lost.
 */
void chain_add(struct chain *, struct point, bool active, struct page_list *pages);
void chain_set_idle(struct chain *, bool idle);
/*
 * Gives up the oldest page; cursors that had not read it count that. NULL if there is none. The
 * caller calls chain_release_page once the lock is dropped, then owns the page.
 */
struct page *chain_drop_oldest(struct chain *);
/* Lets go of what the page's points refer to. Needs no lock; a reference to the set is enough. */
void chain_release_page(const struct chain *, struct page *);

/* Time of the oldest point held. The chain has one. */
int64_t chain_first_ns(const struct chain *);

/*
 * A place in a chain. Valid while the lock is held; to go on after it was dropped, see walk_resume.
 */
struct walk {
	const struct chain *chain;
	enum { WALK_BEFORE, WALK_PAGE, WALK_LAST } where;
	const struct page *page;
	uint32_t page_number, at;
};

/* To the newest point at or before ts_ns; before all points if there is none (then false). */
bool walk_to(struct walk *, const struct chain *, int64_t ts_ns);
/*
 * As walk_to, beginning at the page where the walk was when the lock was dropped, for a ts_ns not
 * after that point. False also if the page was reclaimed meanwhile.
 */
bool walk_resume(struct walk *, int64_t ts_ns);
/* One point on; false, not moved, if there is none. */
bool walk_next(struct walk *);
/* One point back, from a point; false, not moved, if there is none. */
bool walk_prev(struct walk *);
/* The point; not before all points. */
struct point walk_point(const struct walk *);
bool walk_active(const struct walk *);

#endif
