/*
 * store/redo.h - what a journal keeps of the store, and how the store comes back from it.
 *
 * While it runs, the store tells a *tap* of each poll what it changed, as records that do it again.
 * After a restart, *restoring* is an append whose changes are known already. Both go by a set's
 * birth, its streams' numbers and its rows' numbers, which come back exactly, so that memory and
 * disk fit together without gap or double.
 *
 * What is told comes in stretches (a journal's files). The first that is told of a set in a stretch
 * is all that it is at that time, so each stretch can be restored without those before it.
 * redo_priv.h has the format.
 */
#ifndef SCOTTY_STORE_REDO_H
#define SCOTTY_STORE_REDO_H

#include "base/buf.h"
#include "store/store.h"

/* What was told: rows (polls of groups), and values that they changed. */
struct store_told {
	uint64_t rows, values;
	uint64_t state_bytes; /* of what sets are, told anew in each stretch */
};

/*
 * Who listens. Calls come from all threads that append, with a set's lock held. What open gives is
 * appended to and closed again at once.
 */
struct store_tap {
	/*
	 * NULL: nothing can be told now; *stretch is then left alone. Else no other thread's open
	 * returns until close. *stretch: not 0, another one for each stretch.
	 */
	struct buf *(*open)(struct store_tap *, uint64_t *stretch);
	/*
	 * done: what was added since open is whole. Else (there was no memory for it) it is to be
	 * cut off, and the next open must begin another stretch.
	 */
	void (*close)(struct store_tap *, bool done, struct store_told);
	/* So much happened that could not be told. */
	void (*missed)(struct store_tap *, struct store_told);
};

/*
 * From now on; NULL: nobody listens. The tap is lent. Nothing is appended, forgotten or released
 * meanwhile.
 */
void store_set_tap(struct store *, struct store_tap *);

/*
 * Has the tap told what those sets are to which nothing happened in this stretch, so that it can do
 * without those before it. Stops when that took so many bytes: false, there is more. Any thread.
 */
bool store_tell_rest(struct store *, uint64_t bytes_most);

/* Never used for another set of the same name, and rising: sets that are made later have a later
 * one. About the time when it was made. */
int64_t series_set_birth_ns(const struct series_set *);

struct store_restore; /* restoring under way */

struct restore_stats {
	uint64_t rows, values; /* brought back */
	uint64_t known_rows;   /* were there already */
	uint64_t missing_rows; /* known to be missing in between */
	uint64_t lost_rows;    /* told, but memory had no room for them */
};

/*
 * Begins to bring back what was told; nothing is appended or forgotten by others until
 * restore_free. NULL with ERR_NOMEM.
 */
struct store_restore *restore_new(struct store *, struct err *);
/*
 * One of several that restore the same store at the same time, each on a thread of its own, and
 * each sets of its own: what is told is fed to all of them. part is below parts.
 */
struct store_restore *restore_new_part(struct store *, unsigned part, unsigned parts, struct err *);
void restore_free(struct store_restore *); /* NULL is fine */
/* What is fed from here on is of another stretch. */
void restore_begin_stretch(struct store_restore *);
/*
 * Takes some whole tellings (open to close) of a stretch, in their order; RESTORE_SLACK bytes
 * behind them must be readable. -1 with ERR_PROTO: they make no sense from somewhere on, where
 * *good (bytes) is put; what comes after it in this stretch can't be fed. -1 with ERR_NOMEM.
 */
int restore_feed(struct store_restore *, const void *p, size_t bytes, size_t *good, struct err *);
#define RESTORE_SLACK 16
void restore_get_stats(const struct store_restore *, struct restore_stats *);

#endif
