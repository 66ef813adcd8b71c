/*
 * store/set_priv.h - one endpoint: its series, groups and index.
 *
 * Series and groups are never taken out of a set, so their ordinals stay. Fields marked "appender"
 * belong to the thread that appends; those marked "lock" change and are read with the set's lock
 * held, and the appender may read them without, unless they belong to a chain's pages.
 */
#ifndef SCOTTY_STORE_SET_PRIV_H
#define SCOTTY_STORE_SET_PRIV_H

#include "base/lock.h"
#include "store/chain_priv.h"
#include "store/lookup_priv.h"
#include "store/meta_priv.h"
#include "store/store.h"

struct place;

/* Metrics that share their times. */
struct group {
	struct chain times; /* lock */
	int64_t lost_ns;    /* lock; newest time given up; TS_NONE: none */
	int64_t id;
	size_t active_count; /* lock; series */
	/* Of the append under way; appender. */
	uint32_t poll; /* the last that had, or made, a time for it */
	bool advances; /* in that poll: next_ns is later than the last time */
	int64_t next_ns;
};

/* Resets of a distribution: shared by the series of one path and tags, whatever their limits. */
struct rollover {
	struct rollover *next;
	uint64_t count; /* 0: no value yet */
	uint64_t generation;
	const struct meta *meta; /* of the last value: its limits */
};

struct series {
	struct chain values; /* lock */
	struct meta *meta;
	struct group *group; /* lock */
	/*
	 * Its times are those of group later than joined_ns, and before that those of old_group up
	 * to left_ns. TS_NONE, and NULL: it was in no other group. Lock.
	 */
	struct group *old_group;
	int64_t left_ns, joined_ns;
	struct rollover *rollover; /* KIND_DIST; appender */
	uint32_t ordinal;
	uint32_t poll; /* the last that had it; appender */
};

/* Series sorted by path and tags, then age. Never changes: a reader keeps a reference. */
struct index {
	struct store *store;
	_Atomic uint32_t refs;
	size_t len;
	struct series *series[];
};

struct series_set {
	struct store *store;
	_Atomic uint32_t refs;
	struct str host, app;        /* in key */
	_Atomic size_t active_count; /* changed with the lock held */
	_Atomic uint64_t
	    append_count; /* so that cursors know of news; changed with the lock held */

	/* Appender. */
	struct lookup by_desc, by_group;
	struct group **groups;
	size_t group_len, group_cap;
	uint32_t *order; /* ordinals of the last batch's metrics */
	size_t order_len, order_cap;
	struct rollover *rollovers;
	uint32_t poll; /* appends tried */

	struct lock lock;
	struct series **series; /* lock; by ordinal */
	size_t len, cap;        /* lock; each place has room for cap positions */
	struct index *index;    /* lock; NULL without series */
	struct place *places;   /* lock, and to change it the store's too */

	size_t key_len;
	char key[];
};

/* Key of host and app in the store's map; the two can't run into each other. */
#define SET_KEY_MOST 1024
/* Writes it to key[SET_KEY_MOST]; its length, or 0 if it is too long. */
size_t set_key(char *key, struct str host, struct str app);

/* With one reference, not in the store's map yet. NULL with ERR_NOMEM, ERR_LIMIT. */
struct series_set *set_new(struct store *, struct str key, struct err *);
/* False if the last reference is gone already; the set is still there to ask. */
bool series_set_try_ref(struct series_set *);

/* Makes room for len series, in all places too. -1 with ERR_NOMEM, ERR_LIMIT. The appender's. */
int set_reserve(struct series_set *, size_t len, struct err *);

/* The group, made without a time if need be. NULL with ERR_NOMEM, ERR_LIMIT. The appender's. */
struct group *set_group(struct series_set *, int64_t id, struct err *);

/*
 * A series without a point, not in the set yet. Takes the reference to meta, also on error. NULL
 * with ERR_NOMEM, ERR_LIMIT. The appender's.
 */
struct series *series_new(struct series_set *, struct meta *, struct err *);
/* Only one that is not in a set. NULL is fine. */
void series_free(struct series *);

/*
 * The index with n more series, sorted here. NULL with ERR_NOMEM, ERR_LIMIT. The appender's.
 */
struct index *index_with(
    const struct index *, struct series **more, size_t n, struct series_set *, struct err *);
void index_unref(struct index *); /* NULL is fine */
/* The first whose path and tags are not before desc's. */
size_t index_find(const struct index *, const struct metric_desc *desc);

#endif
