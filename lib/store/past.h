/*
 * store/past.h - what memory no longer has: the store asks who keeps it on disk.
 *
 * What it was told (redo.h) can be restored in another store, a *scratch*, whose sets have the same
 * births, streams and rows. Readers go on there where memory ends. The store knows no files.
 *
 * Threads: any. No lock is held.
 */
#ifndef SCOTTY_STORE_PAST_H
#define SCOTTY_STORE_PAST_H

#include "store/store.h"

struct past_query {
	struct str host, app;
	int64_t birth_ns;
	int64_t start_ns; /* from here on, at least */
	/* Asked now and then with the set as far as it is restored: true if that will do. */
	bool (*is_enough)(void *ctx, struct series_set *);
	void *ctx;
	/*
	 * For who follows all there is, oldest first: no more is read than is enough, and what
	 * there is no room for is left out at the end. Only what is sealed is read.
	 */
	bool oldest_first;
	bool leaves_out; /* what the disk fails to give is left out; else it is ERR_IO */
	uint64_t next;   /* that of what was found before, to go on there; 0: from start_ns on */
};

struct past_found {
	struct store *store;    /* the scratch; NULL: there is nothing */
	struct series_set *set; /* in it, a reference */
	/*
	 * Some is left out, whether there is a store or not: the oldest, as there was more than
	 * there is room for, or what could not be read.
	 */
	bool is_cut;
	uint64_t memory_bytes; /* that it was granted */
	int64_t whole_ns;      /* if is_cut: from then on it is not because of that */
	uint64_t next;         /* oldest first: what is next; never 0 */
};

enum past_sealing {
	PAST_SEALED, /* all that was told by then, and was kept */
	PAST_SEALS,  /* it is on disk, and will be */
	PAST_STUCK,  /* the disk fails to give it */
};

struct store_past {
	/*
	 * -1 with ERR_LIMIT (too much is being read already), ERR_NOMEM, or ERR_IO if it is oldest
	 * first. Else to be closed.
	 */
	int (*open)(
	    struct store_past *, const struct past_query *, struct past_found *, struct err *);
	void (*close)(struct store_past *, struct past_found *);
	/*
	 * The time from which on it has all of that set, 0 if that is all there ever was; memory
	 * has all from whole_ns on, which is the answer if there is nothing before. At the cost of
	 * a look into an index.
	 */
	int64_t (*earliest)(struct store_past *, struct str host, struct str app, int64_t birth_ns,
	    int64_t whole_ns);
	/*
	 * Has all that was told so far sealed soon, and says by which number to ask for that. NULL:
	 * nothing is ever sealed, so it is no use to follow.
	 */
	uint64_t (*seal)(struct store_past *);
	enum past_sealing (*sealing)(struct store_past *, uint64_t number);
};

/* From here on; NULL: there is nothing but memory, and nobody reads any more. Lent. */
void store_set_past(struct store *, struct store_past *);

#endif
