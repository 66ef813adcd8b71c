/*
 * store/walk_priv.h - goes back through the log of one stream, row by row, from what is now.
 *
 * A page is copied under the set's lock, rows are read from the copy without. Pages are given up
 * oldest first, so one whose number is not below the oldest's is still where it was.
 *
 * Threads: a walk belongs to its owner. Locks taken: series.
 */
#ifndef SCOTTY_STORE_WALK_PRIV_H
#define SCOTTY_STORE_WALK_PRIV_H

#include "store/row_priv.h"
#include "store/set_priv.h"

struct walk {
	struct store *store; /* stays when the set is gone */
	struct series_set *set;
	const struct stream *stream;
	/* The stream as it was after row next_row - 1. */
	uint32_t next_row;
	uint32_t len;
	int64_t ts_ns;
	struct pace pace;
	bool is_patch; /* the row that walk_row gave */
	/* Bytes of that row and older ones; all rows from first_row on are whole. */
	uint8_t *bytes;
	size_t at, end, cap;
	uint32_t first_row;
	const struct page *page; /* to be copied next; NULL: none. Valid if not given up */
	uint32_t page_number;
	/* What ROW_REF values were before, of rows from first_row on: references. */
	struct ring_item *refs;
	size_t ref_len, ref_cap;
	bool failed; /* out of memory: ended before its time */
};

void walk_init(struct walk *);
void walk_fini(struct walk *);
/* Lets go of what it refers to; its memory stays. */
void walk_release(struct walk *);

/* Begins at the newest row. REQUIRES the set's lock, and that walk_prepare was called without. */
void walk_start(struct walk *, struct series_set *, uint32_t stream);
/* Makes room for the first page. -1: out of memory. */
int walk_prepare(struct walk *);

/* The next older row; false at the end of what is there. */
bool walk_row(struct walk *, struct row *);
/* The same, but the row is only begun (row_begin). */
bool walk_begin_row(struct walk *, struct row *);
/* Goes to the state before that row. */
void walk_undo(struct walk *, const struct row *);
/*
 * True if the row that walk_row gave has the time of the row before it (see log_priv.h), or is the
 * first of all.
 */
static inline bool
walk_is_patch(const struct walk *walk)
{
	return walk->is_patch;
}
/* What a position had before row next_row - 1 replaced it; may be NULL. Lent. */
struct blob *walk_ref(const struct walk *, uint32_t at);

#endif
