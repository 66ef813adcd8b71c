/*
 * store/set_priv.h - one endpoint: its schema, streams and places of cursors.
 *
 * Fields marked "appender" belong to the thread that appends; those marked "lock" change and are
 * read with the set's lock held, and the appender may read them without.
 */
#ifndef SCOTTY_STORE_SET_PRIV_H
#define SCOTTY_STORE_SET_PRIV_H

#include "base/lock.h"
#include "store/log_priv.h"
#include "store/plan_priv.h"
#include "store/schema_priv.h"
#include "store/store.h"

struct place;

struct series_set {
	struct store *store;
	_Atomic uint32_t refs;
	struct str host, app;          /* in key */
	_Atomic size_t active_count;   /* changed with the lock held */
	_Atomic uint32_t dead_count;   /* positions to be used anew; changed with the lock held */
	_Atomic uint64_t append_count; /* so that cursors know of news */
	int64_t birth_ns;              /* see series_set_birth_ns */
	uint64_t number;               /* in the life of the process */
	/* Lock; see redo.h. */
	uint64_t told;  /* in which stretch all of it was told; 0: in none */
	bool forgotten; /* not the store's any more */

	struct plan *plan; /* of the last append, a reference; NULL: none. Appender */

	struct lock lock;
	struct schema *schema;   /* lock; a reference; NULL without series */
	struct stream **streams; /* lock; those of the schema */
	uint32_t stream_count;   /* lock; as in the schema */
	uint32_t stream_cap;     /* that many are made */
	/* Series that moved and whose older history is still there; as moved, oldest first. Lock.
	 */
	struct move *moves;
	uint32_t move_len, move_cap;
	struct place *places; /* lock, and to change it the store's too */

	size_t key_len;
	char key[];
};

/* Key of host and app in the store's map; the two can't run into each other. */
#define SET_KEY_MOST 1024
/* Writes it to key[SET_KEY_MOST]; its length, or 0 if it is too long. */
size_t set_key(char *key, struct str host, struct str app);

/*
 * With one reference, not in the store's map yet; beyond: above the limit if need be. NULL with
 * ERR_NOMEM, ERR_LIMIT. REQUIRES the store's lock.
 */
struct series_set *set_new(struct store *, struct str key, bool beyond, struct err *);
/* False if the last reference is gone already; the set is still there to ask. */
bool series_set_try_ref(struct series_set *);

/*
 * Makes streams so that there are count, and room for count more moves. False: see memory_try.
 * REQUIRES the lock. The appender's.
 */
bool set_reserve_streams(struct series_set *, uint32_t count, struct memory_want *);
bool set_reserve_moves(struct series_set *, size_t count, struct memory_want *);

/* Another schema; takes the reference, gives back that to the one before. REQUIRES the lock. */
struct schema *set_swap_schema(struct series_set *, struct schema *);

/*
 * Frees what positions have that the schema to come no longer has, none of them active, and forgets
 * moves from and to them. REQUIRES the lock.
 */
void set_free_positions(struct series_set *, const struct schema *);

/* Frees the positions of dead series, if there is memory for the schema without. The appender's. */
void set_sweep_dead(struct series_set *);
/*
 * Gives up the history of streams with series that ended: these may take all the memory there is
 * while the few rows that tell of them are in a newest page. True if there are dead series then.
 * The appender's.
 */
bool set_give_up_ended(struct series_set *);

/* The place where the older history of the series there is. False: none. REQUIRES the lock. */
bool set_older_place(const struct series_set *, struct series_at, struct series_at *older);

/* True if meta is the series at that place, still or again. REQUIRES the lock. */
static inline bool
set_has_series(const struct series_set *set, struct series_at at, const struct meta *meta)
{
	return at.stream < set->stream_count && at.at < set->streams[at.stream]->len &&
	       schema_meta(set->schema, at.stream, at.at) == meta &&
	       !bit_get(set->streams[at.stream]->dead, at.at);
}

#endif
