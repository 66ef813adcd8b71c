/*
 * store/cursor.h - a named place in the store from which one writer reads on.
 *
 * Records of one series come oldest first; series come in no set order. One record per time stamp
 * of the series' group, whether the value changed or not (CURSOR_EVERY), or one per stored value
 * (CURSOR_CHANGES). An inactive marker comes once in both.
 *
 * Pages may be reclaimed under a slow cursor. If they are kept on disk (store/past.h) it reads them
 * there, oldest first, an endpoint's share of one file at a time and then the next endpoint, and
 * goes on in memory; a read then takes as long as the disk does. What is in neither counts as
 * missed: rows that the disk lost or dropped, series whose position was used anew by then, and what
 * is left of a set that is forgotten.
 *
 * Threads: a cursor belongs to one thread. Locks taken: store, series, pages, meta; none of them
 * while files are read.
 */
#ifndef SCOTTY_STORE_CURSOR_H
#define SCOTTY_STORE_CURSOR_H

#include "store/iter.h"

struct cursor;

enum cursor_mode { CURSOR_EVERY, CURSOR_CHANGES };

struct cursor_record {
	struct str host, app;
	uint32_t stream; /* in the set */
	struct record record;
	/*
	 * CURSOR_CHANGES: not a change at that time, but what the series had when what came before
	 * was reclaimed. Counts neither as a record nor as missed.
	 */
	bool is_base;
};

/*
 * Opens the cursor called name (copied) at the oldest value held. The store must outlive it.
 * Its places, 300 to 500 bytes an endpoint, go above the store's limit if need be: there are few
 * cursors. NULL on error: ERR_EXISTS if the name is in use, ERR_NOMEM.
 */
struct cursor *cursor_new(struct store *, const char *name, enum cursor_mode, struct err *);
void cursor_free(struct cursor *); /* NULL is fine */

/*
 * Copies at most max records to out[0..max) and returns how many; 0 means caught up, that there is
 * no memory for the moment, or that the disk is waited for: nothing is lost by that. Strings, lists
 * and distributions in the records stay valid until the next cursor call; host, app and desc until
 * the next commit or rewind.
 */
size_t cursor_read(struct cursor *, struct cursor_record *out, size_t max);
/* The last read ended though some is to come from disk. */
bool cursor_is_waiting(const struct cursor *);
void cursor_commit(struct cursor *); /* done with what was read */
void cursor_rewind(struct cursor *); /* read it again from the last commit */
/* Records lost before they were read; a rewind may turn some back into unread ones. */
uint64_t cursor_missed_count(const struct cursor *);
/*
 * Age of the oldest record not committed; 0: all are. *count (may be NULL): how many there are,
 * inactive markers too, and those on disk, which are guessed after a restart.
 */
int64_t cursor_lag_ns(struct cursor *, int64_t now_ns, uint64_t *count);

/*
 * What is committed of one stream, to be kept over restarts: it fits the stream when the store was
 * brought back as it was. What the numbers mean is in cursor_priv.h (struct mark).
 */
struct cursor_position {
	struct str host, app;
	int64_t birth_ns; /* of the set, which tells it from others of that name */
	uint32_t stream;  /* in the set */
	uint32_t row, target, at, at_row;
	uint64_t left;
	uint32_t flags;  /* CURSOR_POSITION_FLAGS at most */
	uint64_t tag;    /* the keeper's own word about the set; 0 until it gave one */
	int64_t from_ns; /* see struct cursor_frames; with a flag that says it is so */
	int64_t row_ns;  /* the row is not older; 0: not known */
	uint32_t skip_target, skip_at, skip_at_row;
};
#define CURSOR_POSITION_FLAGS 31

/*
 * Of whoever makes one record of several: a position that is kept must not lie between those. It is
 * kept with a time, and restored before the first row that is not older, if that is before where
 * the cursor was.
 */
struct cursor_frames {
	/*
	 * That time: where the oldest begins that is not done with in the stream of that position;
	 * INT64_MAX if there is none. row_ns is the time of the oldest row that was not read to its
	 * end, TS_NONE if all are.
	 */
	int64_t (*oldest_ns)(void *ctx, const struct cursor_position *, int64_t row_ns);
	/* Where the one begins that a time belongs to; a kept time may have come from others. */
	int64_t (*begin_ns)(void *ctx, int64_t ts_ns);
	void *ctx;
};
/* Before cursor_keep and cursor_restore. */
void cursor_set_frames(struct cursor *, const struct cursor_frames *);
/* The stream's position is to be saved again, though the cursor did not move. */
void cursor_touch(struct cursor *, struct str host, struct str app, uint32_t stream);

/* From now on the cursor remembers which positions changed. Before the first read. */
void cursor_keep(struct cursor *);
/*
 * Has each called for every position that changed since cursor_saved, those of a set in a row,
 * until it returns something else than 0, which is returned then, with err. Takes no lock during
 * the call; what is lent is so for the call. A tag that each puts into the position comes with the
 * next one of that set, after cursor_saved also in later rounds. No read, commit or rewind comes
 * between this and cursor_saved.
 */
int cursor_save(struct cursor *, int (*each)(void *ctx, struct cursor_position *, struct err *),
    void *ctx, struct err *);
void cursor_saved(struct cursor *);
/* False: cursor_save has nothing to tell. */
bool cursor_has_changes(const struct cursor *);
/*
 * Goes on from that position. Before the first read. Rows that are not in memory are read from
 * disk, or missed; a row that is not there yet is taken for the newest. -1 with ERR_NOTFOUND (there
 * is no such stream, or another one: it is read from its oldest row), ERR_PROTO (the numbers make
 * no sense: the same), ERR_NOMEM.
 */
int cursor_restore(struct cursor *, const struct cursor_position *, struct err *);
/*
 * What began after that time and has no position is read from its first row on, which may be on
 * disk: the cursor was there before it. After the last cursor_restore, before the first read.
 */
void cursor_begin_new(struct cursor *, int64_t since_ns);

#endif
