/*
 * journal/crew_priv.h - restoring on several threads. Each has endpoints of its own, so that what
 * is told of one stays in order; chunks are unpacked by turns.
 *
 * Threads: one feeds. Locks taken: crew; the store's by its threads.
 */
#ifndef SCOTTY_JOURNAL_CREW_PRIV_H
#define SCOTTY_JOURNAL_CREW_PRIV_H

#include "journal/segment_priv.h"
#include "store/redo.h"

struct crew;

/*
 * On so many threads; with 1 all is done in crew_feed, without any. NULL with ERR_NOMEM, ERR_IO (no
 * thread).
 */
struct crew *crew_new(struct store *, unsigned threads, struct err *);
void crew_free(struct crew *); /* NULL is fine. What was fed is restored first */

/* What is fed from here on is of another stretch. What was fed is restored. */
void crew_begin_stretch(struct crew *);
/*
 * Takes the chunk that segment_next_raw just read, which began at that byte of the file, and may
 * wait for some before it. False: something of this stretch is no good, there is no use in more.
 */
bool crew_feed(struct crew *, struct segment_reader *, bool is_packed, uint64_t at);
/*
 * Waits until what was fed is restored. -1 with ERR_PROTO: the chunk at that byte is no good, the
 * first if there are several; some behind it may have been restored. -1 with ERR_NOMEM.
 */
int crew_drain(struct crew *, uint64_t *at, struct err *);

/* Of all so far, a little late. */
void crew_get_stats(struct crew *, struct restore_stats *);

#endif
