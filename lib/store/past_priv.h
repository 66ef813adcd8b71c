/*
 * store/past_priv.h - what an iterator reads where memory ends: the set as it was restored from
 * disk (past.h), series by series beside those of memory.
 *
 * Memory may give up more while a query goes on, beyond what was read from disk. When a series goes
 * on from memory to the past, that is looked at, and if need be the disk is read again.
 *
 * Threads: the reader. Locks taken: series, pages; to open and close, those of who keeps the past.
 */
#ifndef SCOTTY_STORE_PAST_PRIV_H
#define SCOTTY_STORE_PAST_PRIV_H

#include "store/iter.h"
#include "store/past.h"

struct past {
	struct store_past *from;
	struct series_set *set; /* memory's, as the next three of who reads it */
	struct str prefix;
	enum iter_match how;
	int64_t reach_ns;
	struct past_found found;
	int64_t cut_ns;               /* see iter_cut_ns */
	unsigned renewals;            /* so often the disk was read again */
	bool failed;                  /* the last time in vain */
	struct iter *records, *times; /* of found.set, both at the same series; NULL: no store */
	const struct metric_desc *memory_desc; /* memory's current series; NULL: it has no more */
	/* The series that comes next in memory's order, or the current one if in_past. */
	const struct metric_desc *desc; /* NULL: no more */
	bool in_memory, in_past;        /* who has the current series */
	/* The range. Records are read before end_ns. */
	bool records_ranged, times_ranged;
	int64_t start_ns, before_ns, end_ns;
	int64_t record_ns, time_ns; /* the last that was given; before_ns: none */
};

/* iter.c: false if there is nothing to be read of the current series any more. */
bool iter_has_series(struct iter *);

/*
 * *out is NULL if memory has all from start_ns on, or the past has nothing. *cut_ns is what
 * iter_cut_ns says. set and prefix are lent until past_free. -1 with ERR_LIMIT, ERR_NOMEM.
 */
int past_open(struct series_set *, struct str prefix, enum iter_match, int64_t start_ns,
    struct past **out, int64_t *cut_ns, struct err *);
void past_free(struct past *); /* NULL is fine */

/* Moves on; memory's next series is that of desc, NULL: none. */
void past_next_series(struct past *, const struct metric_desc *desc);

/* As iter_range, of the current series; past_read gives what is before end_ns as well. */
void past_range(struct past *, int64_t start_ns, int64_t before_ns);
size_t past_read(struct past *, struct record *out, size_t max);
size_t past_read_times(struct past *, int64_t before_ns, int64_t *out, size_t max);
bool past_failed(const struct past *);

/* True if nothing of the stream is missing between its past and that time. */
bool past_leads_to(struct past *, uint32_t stream, int64_t ts_ns);
/* From when on it is whole: of the current series, or of a stream. */
int64_t past_earliest(struct past *);
int64_t past_earliest_of(const struct past *, uint32_t stream);

#endif
