/*
 * store/cursor_priv.h - places: how far each cursor has read each set. Every cursor has one place
 * in every set of the store, from the start of whichever came later.
 *
 * A place belongs to its cursor's thread while it is held (read from since the last commit), and
 * to the store's lock otherwise. The positions in it have the set's lock, as whoever reclaims a
 * page of the set counts there what was not read yet.
 */
#ifndef SCOTTY_STORE_CURSOR_PRIV_H
#define SCOTTY_STORE_CURSOR_PRIV_H

#include "store/blob_priv.h"
#include "store/cursor.h"
#include "store/set_priv.h"

struct cursor {
	struct store *store;
	enum cursor_mode mode;
	char *name;
	struct cursor *next;  /* the store's lock */
	struct place *places; /* the store's lock, as the next two */
	struct place *at;     /* to visit next; NULL: the first */
	size_t place_count;
	struct place *held;
	uint64_t read_count; /* records since the last commit */
	struct blob_hold hold;
	_Atomic uint64_t missed_count;
};

/* Of one series: time of the newest record done with, and of the newest read. */
struct position {
	int64_t committed_ns, read_ns;
};

struct place {
	struct cursor *cursor;
	struct series_set *set;
	struct place *next, *prev; /* of the cursor; the store's lock */
	struct place *next_in_set; /* the set's lock, and to change it the store's too */

	/* The set's lock. */
	struct position *positions; /* by the series' ordinals */
	size_t cap;
	uint64_t at_risk_count; /* read, not committed, and not there to be read again */
	bool gone;              /* the set was forgotten; to change it the store's lock too */

	/* The cursor's thread. */
	bool held; /* with a reference to the set; the store's lock too */
	struct place *next_held;
	size_t next_series;  /* where the next round over the series begins */
	uint64_t done_count; /* the set's append_count when all of it was read */
};

/* A place for the cursor in the set. REQUIRES the store's lock. -1 with ERR_NOMEM, ERR_LIMIT. */
int place_open(struct cursor *, struct series_set *, struct err *);
/* One that is not held. REQUIRES the store's lock. */
void place_close(struct place *);
/* One that is in no set and no cursor. */
void place_free(struct store *, struct place *);

/* What was read is done with. Locks taken: series. */
void place_commit(struct place *);
/*
 * What was read is read again, save what was lost meanwhile: that is missed. Locks taken: series.
 */
void place_rewind(struct place *);

/* Places in a new set for all cursors. REQUIRES the store's lock. -1 with ERR_NOMEM, ERR_LIMIT. */
int places_open(struct series_set *, struct err *);
/* The set goes: so do its places, and what was not read is missed. REQUIRES the store's lock. */
void places_close(struct series_set *);

/* A place without room for cap series, or NULL. REQUIRES the set's lock. */
struct place *places_short(struct series_set *, size_t cap);
/* Makes room in all places. -1 with ERR_NOMEM, ERR_LIMIT. The appender's. */
int places_grow(struct series_set *, size_t cap, struct err *);

/*
 * Count what is about to be lost, while it is still there: the series' records before upto_ns, or
 * the records that stand for the group's times before upto_ns. REQUIRES the set's lock.
 */
void places_lose_values(const struct series *, int64_t upto_ns);
void places_lose_times(const struct group *, int64_t upto_ns);

#endif
