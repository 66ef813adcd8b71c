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
};

struct store_past {
	/* -1 with ERR_LIMIT (too much is being read already), ERR_NOMEM. Else to be closed. */
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
};

/* From here on; NULL: there is nothing but memory, and nobody reads any more. Lent. */
void store_set_past(struct store *, struct store_past *);

#endif
