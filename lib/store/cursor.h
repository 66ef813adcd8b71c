/*
 * store/cursor.h - a named place in the store from which one writer reads on.
 *
 * Records of one series come oldest first; series come in no set order. One record per time stamp
 * of the series' group, whether the value changed or not (CURSOR_EVERY), or one per stored value
 * (CURSOR_CHANGES). An inactive marker comes once in both. Pages may be reclaimed under a slow
 * cursor: it moves on and counts the records it missed.
 *
 * Threads: a cursor belongs to one thread. Locks taken: store, series, pages, meta.
 */
#ifndef SCOTTY_STORE_CURSOR_H
#define SCOTTY_STORE_CURSOR_H

#include "store/iter.h"

struct cursor;

enum cursor_mode { CURSOR_EVERY, CURSOR_CHANGES };

struct cursor_record {
	struct str host, app;
	struct record record;
	/*
	 * CURSOR_CHANGES: not a change at that time, but what the series had when what came before
	 * was reclaimed. Counts neither as a record nor as missed.
	 */
	bool is_base;
};

/*
 * Opens the cursor called name (copied) at the oldest value held. The store must outlive it.
 * NULL on error: ERR_EXISTS if the name is in use, ERR_NOMEM, ERR_LIMIT (no room for its places:
 * 200 to 300 bytes an endpoint).
 */
struct cursor *cursor_new(struct store *, const char *name, enum cursor_mode, struct err *);
void cursor_free(struct cursor *); /* NULL is fine */

/*
 * Copies at most max records to out[0..max) and returns how many; 0 means caught up, or that there
 * is no memory for the moment: nothing is lost by that. Strings, lists and distributions in the
 * records stay valid until the next cursor call; host, app and desc until the next commit or
 * rewind.
 */
size_t cursor_read(struct cursor *, struct cursor_record *out, size_t max);
void cursor_commit(struct cursor *); /* done with what was read */
void cursor_rewind(struct cursor *); /* read it again from the last commit */
/* Records reclaimed before they were read; a rewind may turn some back into unread ones. */
uint64_t cursor_missed_count(const struct cursor *);
/* Age of the oldest record not committed; 0: all are. */
int64_t cursor_lag_ns(struct cursor *, int64_t now_ns);

#endif
