/*
 * api/latest_priv.h - walks the newest values of all active metrics, for REST and XML-RPC alike:
 * by host, application, path.
 *
 * It holds references to the sets of the start, and copies of a few values at a time.
 *
 * Threads: a walk belongs to its request. Locks taken: store, series, pages, meta.
 */
#ifndef SCOTTY_API_LATEST_PRIV_H
#define SCOTTY_API_LATEST_PRIV_H

#include "store/iter.h"

#define LATEST_RECORDS 64

struct latest {
	struct fleet_iter *iter;
	const struct series_set *set; /* of the records; lent */
	struct record records[LATEST_RECORDS];
	size_t len, next; /* of records */
};

/* All metrics at or under prefix (copied; empty holds all). -1 with ERR_NOMEM. */
int latest_init(struct latest *, struct store *, struct str prefix, struct err *);
void latest_fini(struct latest *);
/*
 * Moves on to the next metric: its set, and its newest value, valid until the next call. False at
 * the end.
 */
bool latest_next(struct latest *, const struct series_set **set, const struct record **record);

#endif
