/*
 * store/store.h - history: per endpoint a set of series, in pages from one bounded pool.
 *
 * Pollers append whole polls; readers (iter.h) and writers (cursor.h) pull. Only values that differ
 * from the previous one are kept; the times of the polls are kept once per group. Memory is
 * bounded: the oldest page of an inactive series goes first, then the oldest page of all; the
 * newest value of a live series is never given up.
 *
 * Threads: any; one set is appended to by one thread at a time (its poller). Locks taken: store,
 * series, pages, meta.
 */
#ifndef SCOTTY_STORE_STORE_H
#define SCOTTY_STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "messages/batch.h"
#include "messages/own.h"

struct store;
struct series_set; /* one endpoint's series */

struct store_conf {
	uint64_t memory_bytes; /* bounds pages, values and series together */
};

/* own may be NULL: then no /store/... metrics. */
struct store *store_new(const struct store_conf *, struct own *, struct err *);
/* All sets must have been released, all cursors freed. NULL is fine. */
void store_free(struct store *);

/*
 * The set of the endpoint host/app (copied), made if need be, with one reference for the caller. An
 * endpoint that comes back finds its old series. NULL with ERR_NOMEM, ERR_LIMIT.
 */
struct series_set *store_set(struct store *, struct str host, struct str app, struct err *);
/*
 * The same above the limit if need be: for an endpoint that somebody has listed, which is to be
 * shown, and whose polls then say that the store is full. ERR_LIMIT only for the names' length.
 */
struct series_set *store_set_listed(struct store *, struct str host, struct str app, struct err *);
/* The same if it exists, with a reference; else NULL. */
struct series_set *store_find(struct store *, struct str host, struct str app);
struct series_set *series_set_ref(struct series_set *);
void series_set_unref(struct series_set *); /* NULL is fine */
/*
 * Takes the set out of the store with all its history; its memory goes when the last reference
 * does. Cursors count what they had not read as missed.
 */
void store_forget(struct store *, struct series_set *);

struct str series_set_host(const struct series_set *); /* live as long as the set */
struct str series_set_app(const struct series_set *);

/* What store_append did. */
struct append_stats {
	size_t added; /* new series + values added + series made inactive, as upstream counts */
	size_t stale; /* metrics left out as their group's time did not advance */
};

/*
 * Adds a whole poll or nothing; the batch was ended (batch_end). Per group: a time not later than
 * the group's last adds nothing of it, save for new series. A series that is absent gets an
 * inactive marker: at the group's time if the group is in the batch, else at the group's last time
 * + 1 ms. A distribution with other limits or a smaller generation counts a rollover. -1 with
 * ERR_NOMEM, ERR_LIMIT (no room for a new series, or for a string, list or distribution, within
 * memory_bytes): nothing was changed.
 */
int store_append(struct series_set *, const struct batch *, struct append_stats *, struct err *);

/*
 * Has the processor fetch what the next append reads from memory; for who has something else to do
 * until then. The appender's.
 */
void store_fetch(struct series_set *);

/*
 * Marks every active series inactive at ts_ns, or 1 ms after its group's last time if that is later
 * (so TS_NONE means the latter). The next append makes those it holds active again. Returns how
 * many were marked; cannot fail.
 */
size_t store_deactivate(struct series_set *, int64_t ts_ns);

/* Active series, for status lines. */
size_t series_set_active_count(const struct series_set *);

/* Sums over the whole store; what /store/... shows. */
struct store_stats {
	uint64_t sets, series, active_series;
	uint64_t values; /* held in memory: the newest of each series and the changes before */
	uint64_t pages, pages_total, pages_free; /* in use; with those still to be had; those */
	uint64_t pages_reclaimed;                /* taken from their owner while they held values */
	uint64_t bytes_used, bytes_limit;
	uint64_t log_bytes;   /* of the pages, in use for history */
	int64_t oldest_ts_ns; /* latest time given up of an active series; TS_NONE before any */
};
void store_get_stats(struct store *, struct store_stats *);

#endif
