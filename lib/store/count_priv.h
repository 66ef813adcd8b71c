/*
 * store/count_priv.h - how many records rows have, as cursors count them (log_priv.h), found by
 * reading the rows.
 *
 * Threads: any. Locks taken: series.
 */
#ifndef SCOTTY_STORE_COUNT_PRIV_H
#define SCOTTY_STORE_COUNT_PRIV_H

#include "store/cursor.h"
#include "store/set_priv.h"

struct row_counts {
	uint32_t next_row;   /* rows before it were looked at */
	uint64_t sum;        /* records of all rows before next_row */
	uint64_t count;      /* of those, in rows from `from` on */
	int64_t from_ns;     /* time of the row `from`; TS_NONE: it is not there */
	int64_t earliest_ns; /* the same of the row `earliest` */
};

/*
 * Counts the records of the stream's rows from `from` on, and finds out when these two were;
 * earliest <= from. As far as the rows are still there. -1 with ERR_NOMEM.
 */
int count_rows(struct series_set *, uint32_t stream, enum cursor_mode, uint32_t from,
    uint32_t earliest, struct row_counts *out, struct err *);

struct row_search {
	uint32_t row;    /* in: a row; out: what was found, which is not after it */
	int64_t from_ns; /* TS_NONE: where that begins to which the row belongs, or the newest */
	int64_t (*begin_ns)(void *ctx, int64_t ts_ns); /* TS_NONE only */
	void *ctx;
};
/*
 * Finds the oldest row of the stream that is not older than from_ns, as far as they are still
 * there. -1 with ERR_NOMEM.
 */
int find_row(struct series_set *, uint32_t stream, struct row_search *, struct err *);

#endif
