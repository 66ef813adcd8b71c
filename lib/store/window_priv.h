/*
 * store/window_priv.h - the records of some series of one stream, taken apart from its rows.
 *
 * A row has the changes of all series at one time; readers want series by series. A window is a
 * bounded room in which the rows are sorted out for as many series as it has slots.
 *
 * Threads: a window belongs to its reader. Locks taken: series.
 */
#ifndef SCOTTY_STORE_WINDOW_PRIV_H
#define SCOTTY_STORE_WINDOW_PRIV_H

#include "base/arena.h"
#include "store/walk_priv.h"

struct record;

#define NO_EVENT 0x1fffffff

/* A record: at this time the series got this value, or became inactive. */
struct event {
	int64_t ts_ns;
	uint64_t bits; /* as of a position; of a distribution: a struct dist * in the arena */
	uint32_t row;
	uint32_t next : 29; /* of the slot's; NO_EVENT at the end */
	uint32_t active : 1;
	uint32_t is_base : 1;  /* no change: what there was before all rows */
	uint32_t is_leave : 1; /* no record: the series goes on in another stream */
};

struct slot {
	const struct meta *meta; /* its owner sees to it that it stays */
	uint32_t at;             /* position */
	uint32_t first, last;    /* events; NO_EVENT */
	uint64_t bits;           /* before the rows undone so far */
	struct row_dist *dist;   /* the same of a distribution */
	bool active;
	bool done;     /* nothing more to be found */
	uint8_t class; /* enum row_class */
};

/* Time of one row. */
struct row_time {
	int64_t ts_ns;
	uint32_t row;
	bool is_patch;
};

struct window {
	struct walk walk;
	/* Of which records. */
	int64_t start_ns, end_ns;      /* before end_ns; and back to one not after start_ns */
	uint32_t from_row, before_row; /* of rows from from_row to before_row - 1 */
	bool oldest_first; /* the order of a slot's events; row times and leaves are kept */

	struct slot *slots;                  /* by position */
	size_t slot_len, slot_cap, open_len; /* open_len: slots not done */
	size_t born_len;   /* slots from here on are not born yet at the walk's place */
	uint32_t *slot_of; /* by position: index of the slot, or UINT32_MAX */
	size_t slot_of_cap;
	struct event *events;
	size_t event_len, event_cap;
	struct row_time *times; /* newest first */
	size_t time_len, time_cap;
	struct blob **blobs; /* references */
	size_t blob_len, blob_cap;
	size_t kept_len;     /* of them of windows before: see window_keep */
	size_t dist_count;   /* in arena */
	struct arena arena;  /* distributions of events */
	struct arena states; /* distributions of slots */
	bool failed;         /* out of memory */
	bool full;           /* more events than there may be */
};

void window_init(struct window *);
void window_fini(struct window *);

/* Begins anew, without slots. */
void window_reset(struct window *);
/*
 * Strings and lists that records have led to so far stay over resets, until they are released. (Not
 * distributions: with dist_count > 0 there is nothing to be done but to let the reader go first.)
 */
void window_keep(struct window *);
void window_release(struct window *);
/* Adds a slot; positions must rise. -1: out of memory. */
int window_add(struct window *, uint32_t at, const struct meta *);

/*
 * Copies what is now, after which window_run may be called. Slots whose place has another series by
 * now are done. False: out of memory.
 */
bool window_start(struct window *, struct series_set *, uint32_t stream);
/*
 * Goes back until all is found, or there are most_events: then full is set. To go on after that
 * forgets the events; with more than one slot it is no use. What is active before all rows gets an
 * event there too.
 */
void window_run(struct window *, size_t most_events);

/* What a reader gets. The value lives until the window is reset or goes on. */
void window_record(const struct slot *, const struct event *, struct record *);

#endif
