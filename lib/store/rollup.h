/*
 * store/rollup.h - a cursor over a cursor: one record per series and frame of time instead of one
 * per poll.
 *
 * The frame of a time t with span d is the multiple of d nearest to t (half way: the later one), so
 * it reaches half a span before and after its name, as upstream's. A frame of a series is given out
 * once a record of the series in a later frame has come, be it an inactive marker. A series of
 * which nothing comes for two spans of the caller's clock, with the inner cursor caught up, has
 * ended (inactive, forgotten, silent), and so has its frame. Inactive records count for nothing; a
 * frame without an active value gives no record.
 *
 * What a record says, by kind of the series:
 *
 *            ints, uints     durations       times            floats       others
 *   mean     same, exact     same, exact     same, exact      same         the first value
 *   min max  same            same            same             same         the first value
 *   last     same            same            same             same         the last value
 *   sum      (u)int64        duration        the first value  float64      the first value
 *   count    uint64, without a unit: how many active values
 *
 * Others are bool, string, list and distribution. Means of whole numbers, times and durations are
 * taken of an exact sum and rounded half away from zero, negative ones too. Upstream goes by way of
 * a float, so that integers beyond 2^53 lose digits and negative durations come out 1 ns high. A
 * sum that does not fit stops at the end of its range. Floats are summed as doubles in order of
 * time, so they may become infinite; a NaN makes sum and mean NaN, while min and max leave it out
 * unless there is nothing else. In mean, min and max the time 0, which means "never", is left out
 * unless there is nothing else; upstream averages it with the others.
 *
 * A series is one description in one group of an endpoint, as everywhere in the store: a metric
 * that changes its description or its group gives a record for each in the frame in which it did.
 *
 * Progress: frames in the making are kept here, some 200 bytes a series, and are part of the
 * position. A commit keeps them as they are then, with the inner cursor's position; a rewind brings
 * both back. The inner cursor belongs to the roll-up. A position of it that is kept (cursor_save)
 * says from when on the rows of a stream are needed to make the open frames of its series again,
 * whole. So after a restore
 *
 *   no frame is left out, and each is made of all its records: what comes twice is the same twice,
 *   unless some of them were reclaimed meanwhile;
 *   only frames that were not given out and committed come, as long as the series of a group end
 *   together. One that ended earlier has the frames from its last one on come again, for the two
 *   spans until it is given out; and so does a group that was being caught up with.
 *
 * A kept position may also be that of a roll-up with another span, or of none: it is moved back to
 * where a frame begins.
 *
 * Threads: a roll-up belongs to one thread. Locks taken: the cursor's, meta.
 */
#ifndef SCOTTY_STORE_ROLLUP_H
#define SCOTTY_STORE_ROLLUP_H

#include "store/cursor.h"

enum rollup_fn { ROLLUP_MEAN, ROLLUP_MIN, ROLLUP_MAX, ROLLUP_LAST, ROLLUP_COUNT, ROLLUP_SUM };

struct rollup;

/*
 * Takes the cursor, which must be fresh and of the mode CURSOR_EVERY, unless it fails; positions
 * are restored after that. The store
 * must outlive it. span_ns > 0. NULL with ERR_NOMEM.
 */
struct rollup *rollup_new(
    struct store *, struct cursor *, int64_t span_ns, enum rollup_fn, struct err *);
void rollup_free(struct rollup *); /* and its cursor; NULL is fine */

/*
 * Sets out[0..*n) to at most max records; *n == 0 means caught up. now_ns is the monotonic clock.
 * Strings, lists and distributions in the records stay valid until the next rollup call; host, app
 * and desc until the next commit or rewind. -1 with ERR_NOMEM, ERR_LIMIT: then all is as after a
 * rewind.
 */
int rollup_read(struct rollup *, int64_t now_ns, struct cursor_record *out, size_t max, size_t *n,
    struct err *);
void rollup_commit(struct rollup *); /* done with what was read */
void rollup_rewind(struct rollup *); /* read it again from the last commit */
/* Records, not frames, that were lost to reclaiming before they could be read. */
uint64_t rollup_missed_count(const struct rollup *);

#endif
