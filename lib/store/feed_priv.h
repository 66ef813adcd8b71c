/*
 * store/feed_priv.h - the records a cursor gets of one series, oldest first.
 *
 * CURSOR_CHANGES: a record per point. CURSOR_EVERY: a record per time of the series' group (before
 * a change of group: of the old one) from its first point on, with the value as of then; an
 * inactive marker comes once, at the first time that is not before it.
 *
 * Threads: REQUIRES the set's lock from start to end.
 */
#ifndef SCOTTY_STORE_FEED_PRIV_H
#define SCOTTY_STORE_FEED_PRIV_H

#include "store/cursor.h"
#include "store/set_priv.h"

struct feed {
	const struct series *series;
	struct walk values;
	const struct group *group; /* CURSOR_EVERY: whose times are being walked; else NULL */
	struct walk times;
};

struct feed_record {
	int64_t ts_ns;
	uint64_t bits;
	bool active;
	const struct group *group; /* whose time ts_ns is */
};

/* Begins with the first record later than after_ns. */
void feed_start(struct feed *, const struct series *, enum cursor_mode, int64_t after_ns);
bool feed_next(struct feed *, struct feed_record *);

#endif
