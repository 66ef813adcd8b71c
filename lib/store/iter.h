/*
 * store/iter.h - reads the store for queries: series in path order, values newest first.
 *
 * An iterator copies a piece at a time and holds no lock between calls, so a slow reader keeps
 * nobody waiting; values appended meanwhile may or may not be seen. It keeps a reference to its
 * set.
 *
 * What memory no longer has may be on disk (past.h). Who wants it says how far back, by iter_reach.
 *
 * Threads: an iterator belongs to one thread. Locks taken: series, pages; iter_reach takes those of
 * who keeps the past, and reads files.
 */
#ifndef SCOTTY_STORE_ITER_H
#define SCOTTY_STORE_ITER_H

#include "store/store.h"

/* One value of one series. */
struct record {
	const struct metric_desc
	    *desc; /* lives as long as the iterator that gave it, or as it says */
	int64_t ts_ns;
	struct value value; /* inactive: value_zero of the kind */
	bool active;
};

/*
 * All sets of the store, sorted by host, then application, as they are now. *out is an array that
 * all who ask share until a set comes or goes; given back by sets_free. -1 with ERR_NOMEM.
 */
int sets_snapshot(struct store *, struct series_set *const **out, size_t *n, struct err *);
void sets_free(struct series_set *const *, size_t n); /* NULL is fine */

enum iter_match {
	ITER_UNDER, /* path equal to or under the prefix; an empty prefix holds all */
	ITER_EXACT, /* path equal to the prefix */
};

/*
 * Series of one set whose path matches, sorted by path (plain byte order), then tags. prefix is
 * copied. NULL with ERR_NOMEM. No series is looked at yet: iter_next_series first.
 */
struct iter *iter_new(struct series_set *, struct str prefix, enum iter_match, struct err *);
void iter_free(struct iter *);

/*
 * Before the first iter_next_series: history and series are to reach back to start_ns, if need be
 * to the past on disk. Costs nothing if memory has it all. Not for iter_latest_many. -1 with
 * ERR_LIMIT (too many are doing so), ERR_NOMEM: the iterator has what memory has.
 */
int iter_reach(struct iter *, int64_t start_ns, struct err *);
/*
 * What was reached for is whole from this time on: before it something had to be left out that the
 * disk has or should have, as there was too much of it, or it could not be read. 0: nothing was.
 */
int64_t iter_cut_ns(const struct iter *);

/* Moves on to the next series. False at the end. Its description is in *desc. */
bool iter_next_series(struct iter *, const struct metric_desc **desc);

/*
 * The current series' value as of its group's last time, stamped with that time. False if it is
 * inactive. Strings, lists and distributions stay valid until the next iter_ call.
 */
bool iter_latest(struct iter *, struct record *out);
/*
 * Many series at once: iter_next_series and iter_latest of the active ones, up to max. Returns how
 * many; 0 at the end.
 */
size_t iter_latest_many(struct iter *, struct record *out, size_t max);

/*
 * Values of the current series with start_ns < time < end_ns and the last one at or before start_ns
 * (so the value at the start is known), newest first, each at the time it changed. Call again for
 * more; 0 when done. start >= end gives none. Valid until the next iter_ call. Where older history
 * was reclaimed and is not reached on disk, the last record is the value there was, with the time
 * from which on all is known.
 * Without memory a history ends early: see iter_failed.
 *
 * To ask for the same range of one series after the other costs little more than to ask for one.
 */
void iter_range(struct iter *, int64_t start_ns, int64_t end_ns);
size_t iter_read(struct iter *, struct record *out, size_t max);
/* True if some history, or its times, ended early as there was no memory. */
bool iter_failed(const struct iter *);

/*
 * Times of the current series' group with start_ns < time < end_ns, newest first, whether values
 * changed or not; the range is that of iter_range. Call again for more; 0 when done.
 */
size_t iter_read_times(struct iter *, int64_t *out, size_t max);

/*
 * Earliest time from which the path's history is whole, as far as it is reached: 0 unless pages of
 * it were reclaimed. The current series.
 */
int64_t iter_earliest(struct iter *);
/* The same with all that is on disk, whether it is reached or not. Reads files. */
int64_t iter_earliest_kept(struct iter *);

/*
 * Newest values of the active series of all sets whose path matches, by host, application, path.
 * Only sets that have such a series are looked into. prefix is copied. NULL with ERR_NOMEM.
 */
struct fleet_iter *fleet_iter_new(struct store *, struct str prefix, enum iter_match, struct err *);
void fleet_iter_free(struct fleet_iter *);
/*
 * Up to max more records, all of one set (lent). Returns how many; 0 at the end. Valid until the
 * next call.
 */
size_t fleet_iter_next(
    struct fleet_iter *, const struct series_set **set, struct record *out, size_t max);

#endif
