/*
 * store/pace_priv.h - when the next row is expected, and how late rows are: what is small to write.
 *
 * Polls lie on a grid, more or less. Each row is expected one step after the place on the grid of
 * the row before; by a part of how late it is, place and step are corrected. All of it can be
 * undone: from the state after a row and the lateness of the row before follows the state after
 * that one, so a row need only say that lateness. (The difference of differences, instead, has six
 * times the variance of times that scatter round a grid.)
 *
 * Lateness is a multiple of a unit that divides the row's time, so whole milliseconds cost no
 * digits of nanoseconds. A finer unit is taken when it must be, a coarser one when two times in a
 * row allow it and it is of use. The grid itself is in nanoseconds.
 *
 * Threads: pure functions. All arithmetic wraps, so that corrupt rows lead to other times only.
 */
#ifndef SCOTTY_STORE_PACE_PRIV_H
#define SCOTTY_STORE_PACE_PRIV_H

#include "store/row_priv.h"

/* State after a row. */
struct pace {
	int64_t expected_ns; /* time of the row, by the rows before it */
	int64_t step_ns;     /* of the grid, corrected by the row's lateness */
	int64_t late_ns;     /* time - expected, the latter rounded to units */
	enum row_unit unit;  /* ROW_NS to ROW_S */
};

/* The first row of all has this time. */
void pace_begin(struct pace *, int64_t ts_ns);
/* The next row has this time, which is later. Returns what that row says of the row before. */
struct row_late pace_advance(struct pace *, int64_t ts_ns);
/* Goes to the state after the row before, of which a row says that. */
void pace_undo(struct pace *, struct row_late);

int64_t pace_ts(const struct pace *);

#endif
