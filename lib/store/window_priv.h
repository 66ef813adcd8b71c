/*
 * store/window_priv.h - the records of some series of one stream, taken apart from its rows.
 *
 * A row has the changes of all series at one time; readers want series by series. A window is a
 * bounded room in which the rows are sorted out for as many series as it has slots. Newest first,
 * the events of a slot lie side by side, in pieces of EVENT_PIECE, so that they are written and
 * read in order; and numbers are not worked out until they are read, series by series, as what was
 * before depends on what is after, and how on the kind.
 *
 * A window that is given back is kept for the next reader, so that few queries need the heap.
 *
 * Threads: a window belongs to its reader. Locks taken: series; to take one or give it back, pages.
 */
#ifndef SCOTTY_STORE_WINDOW_PRIV_H
#define SCOTTY_STORE_WINDOW_PRIV_H

#include "base/arena.h"
#include "store/iter.h"
#include "store/walk_priv.h"

#define NO_EVENT    0x0fffffff
#define EVENT_PIECE 32

/* A record: at this time the series got this value, or became inactive. */
struct event {
	/*
	 * As of a position; of a distribution: a struct dist * in an arena. Of a slot that is put
	 * off: what leads from this value to the one before it, as a row has it.
	 */
	uint64_t bits;
	union {
		uint64_t time_and_tail;
		struct {
			uint32_t time; /* of the window's times */
			union {
				struct {
					/* Oldest first: the next of the slot's, NO_EVENT at the
					 * end. Else for the last of a piece: the first of the next
					 * piece. */
					uint32_t next : 28;
					/* Put off: the bits before, not a difference. */
					uint32_t verbatim : 1;
					uint32_t active : 1;
					/* No change: what there was before all rows. */
					uint32_t is_base : 1;
					/* No record: it goes on in another stream. */
					uint32_t is_leave : 1;
				};
				uint32_t tail; /* bit by bit they are slow to write */
			};
		};
	};
};

#define EVENT_ACTIVE (UINT32_C(1) << 29) /* of tail */

struct slot {
	const struct meta *meta; /* its owner sees to it that it stays */
	uint32_t at;             /* position */
	uint32_t first;          /* event; NO_EVENT */
	uint32_t end;            /* newest first: behind the last event; of a plain one: see head */
	/* Before the rows undone so far; put off: before those that gave no event. */
	uint64_t bits;
	const struct dist *dist; /* the same of a distribution; never changed */
	bool active;
	bool done;     /* nothing more to be found */
	uint8_t class; /* enum row_class */
	bool put_off;  /* what its events' values are is found when they are read */
	bool plain;    /* the same, not done, one of many, and window_run is under way */
	bool steady;   /* put off: all its events are active, and none has the bits before */
};

/*
 * What most events of a plain slot need, in one word, side by side by position: the tail of the
 * next event, and where that goes: the slot's end, in bytes. Of other positions that is 0.
 */
struct head {
	union {
		uint64_t word;
		struct {
			uint32_t end_bytes, tail;
		};
	};
};

/* Time of one row. */
struct row_time {
	int64_t ts_ns;
	uint32_t row;
	bool is_patch;
};

struct window {
	struct window *next_spare;
	size_t charged_bytes; /* of a spare */
	struct walk walk;
	/* Of which records. */
	int64_t start_ns, end_ns;      /* before end_ns; and back to one not after start_ns */
	uint32_t from_row, before_row; /* of rows from from_row to before_row - 1 */
	bool oldest_first; /* the order of a slot's events; all rows' times and leaves are kept */

	bool has_moves; /* when it was started, the set had series that moved */

	struct slot *slots;                  /* as they were added */
	size_t slot_len, slot_cap, open_len; /* open_len: slots not done */
	struct slot *
	    *slot_of; /* by position, if there are many slots; those without one: no_slot */
	size_t slot_of_len, slot_of_cap;
	struct head *heads; /* as many */
	size_t head_cap;
	uint64_t *open_bits; /* as many: a bit for each slot that is not done */
	size_t open_cap;
	struct event *events;
	size_t event_len, event_cap;
	struct slot no_slot; /* done */
	uint32_t last_event; /* the one made last */
	/* Newest first, of the rows that have events; behind them that of the base. */
	struct row_time *times;
	size_t time_len, time_cap;
	struct blob **blobs; /* references */
	size_t blob_len, blob_cap;
	size_t kept_len; /* of them of windows before: see window_keep */
	size_t blob_bytes, kept_bytes;
	size_t dist_count;  /* in arena */
	struct arena arena; /* distributions of events and slots */
	struct arena other; /* the same, from before the window went on */
	bool failed;        /* out of memory */
	bool full;          /* more events than there may be */
};

void window_init(struct window *);
void window_fini(struct window *);

/* Begins anew, without slots. */
void window_reset(struct window *);
/*
 * Strings and lists that records have led to so far stay over resets, until they are released. (Not
 * distributions.)
 */
void window_keep(struct window *);
void window_release(struct window *);
/* What was kept is much, or can't be kept: the reader has to be done with it before more is read.
 */
bool window_has_to_go(const struct window *);
/* Adds a slot for a position that has none. -1: out of memory. */
int window_add(struct window *, uint32_t at, const struct meta *);
/* The slot of a position that has this series; NULL: there is none. */
struct slot *window_slot(struct window *, uint32_t at, const struct meta *);

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

/* What a reader gets of an event that is not put off. It lives until the window is reset or goes
 * on.
 */
void window_record(const struct slot *, const struct event *, int64_t ts_ns, struct record *out);

/* A slot of a window that is newest first, being read. */
struct slot_reader {
	const struct slot *slot;
	uint32_t event; /* the next; NO_EVENT */
	uint64_t bits;  /* its, if the slot is put off */
};

static inline struct slot_reader
slot_reader(const struct slot *slot)
{
	return (struct slot_reader){ slot, slot->first, slot->bits };
}

/* Up to max more records, which live until the window is reset or goes on. Returns how many. */
size_t window_records(const struct window *, struct slot_reader *, struct record *out, size_t max);

/* An initialised window, maybe one that was given back. NULL: out of memory. */
struct window *window_take(struct store *);
void window_give_back(struct store *, struct window *); /* NULL is fine */

#endif
