/*
 * store/cursor_priv.h - places: how far each cursor has read each set. Every cursor has one place
 * in every set of the store, from the start of whichever came later.
 *
 * A stream is read in pieces. A *piece* is all rows up to the newest when it begins; as rows have
 * to be gone through from the newest back, it is read position by position, a window of them at a
 * time. So a mark in the middle of a piece is: rows before row are done with; of those before
 * target the positions before at are, and of position at itself the rows before at_row.
 *
 * Missed records are counted by sums: a stream knows how many records its rows had in all, and how
 * many those given up had; a mark knows the sum up to its target, and how many records of its piece
 * are left. So what a piece did not hand out was missed, and rows lost beyond it are too.
 *
 * Where the past is kept (past.h), a mark stays where it is when its rows are given up. The cursor
 * then reads pieces from there, until it comes to the oldest row that memory has; what the sums
 * lack by then was missed. A piece that was begun in memory and lost rows is broken up: its rows
 * are read again in other pieces, and what it gave out of them is skipped. Rows whose records
 * nobody counted (of before a restart, of a broken piece) go into the sums by a guess, the same for
 * all of them, so that only those that nobody has make a difference.
 *
 * A place belongs to its cursor's thread while it is held (read from since the last commit), and
 * to the store's lock otherwise. The marks in it have the set's lock, as whoever gives up rows
 * moves them.
 */
#ifndef SCOTTY_STORE_CURSOR_PRIV_H
#define SCOTTY_STORE_CURSOR_PRIV_H

#include "store/cursor.h"
#include "store/past.h"
#include "store/set_priv.h"
#include "store/window_priv.h"

struct place;

/* Where memory ends: see cursor_past.c. All of it is the cursor's thread's. */
struct cursor_past {
	struct store_past *from;
	struct past_found found; /* store NULL: none is open */
	struct place *place; /* of which it is, while that is being read; NULL: it may be closed */
	struct window window;
	int64_t next_say_ns; /* that it fails */
	int64_t (*mono_ns)(void);
};

struct cursor {
	struct store *store;
	enum cursor_mode mode;
	char *name;
	struct cursor *next;  /* the store's lock */
	struct place *places; /* the store's lock, as the next two */
	struct place *at;     /* to visit next; NULL: the first */
	size_t place_count;
	struct place *held;
	bool keeps;                  /* see cursor_keep */
	struct cursor_frames frames; /* functions NULL: none */
	struct place *changed;       /* places committed since cursor_saved */
	uint64_t read_count;         /* records since the last commit */
	_Atomic uint64_t missed_count;

	/* What is being read: a window of a piece. */
	struct window *window; /* memory_window or that of the past */
	struct window memory_window;
	struct cursor_past past;
	bool waits;            /* see cursor_is_waiting */
	struct place *place;   /* NULL: none */
	struct schema *schema; /* a reference */
	uint32_t stream;
	bool window_is_last; /* the piece ends with it */
	size_t slot;         /* to be read, and in it: */
	bool in_slot;
	uint32_t event;            /* the next */
	size_t time;               /* CURSOR_EVERY: so many times are left */
	const struct event *state; /* the same: since the last time */
	size_t most_slots;
	/* Schemas whose descriptions were handed out: references. */
	struct schema **schemas;
	size_t schema_len, schema_cap;
	/* The same of series that only the past knows. */
	struct meta **metas;
	size_t meta_len, meta_cap;
};

/* How far one stream is read. */
struct mark {
	uint64_t sum;  /* records of all rows before target */
	uint64_t left; /* records of the piece not handed out */
	uint32_t row, target;
	uint32_t at, at_row;
	bool in_piece;
	bool has_base;   /* this piece begins with what there was before it */
	bool wants_base; /* the next does: rows were lost */
	/*
	 * Of a piece that was broken up, 0: none: of rows before skip_target the positions before
	 * skip_at were given out, and of that one the rows before skip_at_row.
	 */
	uint32_t skip_target, skip_at, skip_at_row;
	/* Rows before guess_row count as so many records each. */
	uint32_t guess_row, guess;
};

struct place_stream {
	struct mark committed, read;
	uint64_t missed_count; /* since the last commit */
	int64_t committed_ns, row_ns,
	    read_ns;      /* the rows committed.row, read.row, read.target are not older */
	bool changed;     /* committed is to be saved */
	bool is_behind;   /* rows it needs are not in memory */
	bool is_restored; /* the marks are those of a position */
	bool goes_back;   /* to the first row that is not older than: */
	int64_t back_ns;
};

struct place {
	struct cursor *cursor;
	struct series_set *set;
	struct place *next, *prev; /* of the cursor; the store's lock */
	struct place *next_in_set; /* the set's lock, and to change it the store's too */

	/* The set's lock. */
	struct place_stream *streams; /* of all streams that the set has made */
	uint32_t len;
	bool gone;          /* the set was forgotten; to change it the store's lock too */
	uint64_t past_next; /* see past_query.next */

	/* The cursor's thread. */
	bool held; /* with a reference to the set; the store's lock too */
	struct place *next_held;
	bool changed; /* the same: in the cursor's list of those, with a reference to the set */
	struct place *next_changed;
	uint64_t tag, new_tag; /* of the set, for whom the positions are kept; new_tag: not yet */
	uint32_t next_stream;  /* to be looked at */
	uint64_t done_count;   /* the set's append_count when all of it was read */
	uint64_t round_count;  /* the same when the round over its streams began */
	bool is_late;          /* this round leaves some for the next, as it is on disk */
	bool has_moved;        /* but it got further */
	uint64_t past_asked;   /* by store_past.seal; 0: no */
	unsigned past_waits;   /* for that, one after the other */
	int64_t past_retry_ns; /* the past is not asked before that (monotonic clock) */
	unsigned past_tries;   /* of a disk that fails, one after the other */
};

/*
 * A place for the cursor in the set, above the limit if need be and beyond. REQUIRES the store's
 * lock. -1 with ERR_NOMEM, ERR_LIMIT.
 */
int place_open(struct cursor *, struct series_set *, bool beyond, struct err *);
/* One that is not held. REQUIRES the store's lock. */
void place_close(struct place *);
/* One that is in no set and no cursor. */
void place_free(struct store *, struct place *);

/* Where the rows of a piece are; PIECE_NONE: there is nothing new. */
enum piece { PIECE_NONE, PIECE_IN_MEMORY, PIECE_IN_PAST };
/*
 * A piece of this stream begins, or goes on, if memory has it; what is in the past is only told.
 * REQUIRES the set's lock.
 */
enum piece place_begin_piece(struct place *, uint32_t stream);

/* The store's past, if cursors may follow there; else NULL. */
struct store_past *place_past(const struct place *);
/* Rows of a stream that are in the past, from `from` on, not before the mark's, to before `end`. */
struct past_rows {
	uint32_t from, end;
	uint64_t count; /* of records */
	int64_t end_ns; /* the row `end` is not older */
};
/* A piece of these begins. REQUIRES the set's lock. */
void place_begin_past_piece(struct place *, uint32_t stream, const struct past_rows *);
/* The piece that was begun can't be read to its end as it is. REQUIRES the set's lock. */
void place_break_piece(struct place *, uint32_t stream);
/* The stream goes back to that row. REQUIRES the set's lock. */
void place_go_back(struct place *, uint32_t stream, uint32_t row);
/* What the stream lacks is nowhere: it goes on where memory begins. REQUIRES the set's lock. */
void place_give_up(struct place *, uint32_t stream);
/* True if that record, of a piece that was broken up, was given out. */
static inline bool
mark_has_given(const struct mark *mark, uint32_t at, uint32_t row)
{
	return row < mark->skip_target &&
	       (at < mark->skip_at || (at == mark->skip_at && row < mark->skip_at_row));
}

/* cursor_past.c */
void cursor_past_init(struct cursor *);
void cursor_past_fini(struct cursor *);
enum past_state {
	PAST_OPEN,    /* it has something of a stream of the place */
	PAST_LATER,   /* not now */
	PAST_NOTHING, /* it has nothing, and the place goes on without */
	PAST_IN_USE,  /* what the last records lead to comes first: at the next read */
};
/*
 * Opens the past of a place that is held, as far as it is behind. is_free: no record of this read
 * leads into the one that is open. Takes as long as the disk does.
 */
enum past_state cursor_past_open(struct cursor *, struct place *, bool is_free);
/*
 * A piece of the stream from the past that is open. *mark is where it is then. False: it has none.
 * *failed: no memory.
 */
bool cursor_past_begin(
    struct cursor *, struct place *, uint32_t stream, struct mark *, bool *failed);
/* Descriptions of the window's slots become those of the cursor's store. False: no memory. */
bool cursor_past_adopt(struct cursor *);
/* Nothing more is read of the one that is open. */
void cursor_past_leave(struct cursor *);
/* Closes it; no record may lead into it. */
void cursor_past_close(struct cursor *);

/* Keeps the schema until its descriptions are no longer needed. False: out of memory. */
bool cursor_keep_schema(struct cursor *, struct schema *);
/* All windows of the piece were read. REQUIRES the set's lock. */
void place_end_piece(struct place *, uint32_t stream);

/* In cursor_position.flags, with those in place.c: from_ns holds. */
#define CURSOR_POSITION_FROM 16u

/* So many records counted as missed were read after all. REQUIRES the set's lock. */
void place_found(struct place *, uint32_t stream, uint64_t count);

/* What was read is done with. Locks taken: series. */
void place_commit(struct place *);
/*
 * What was read is read again, save what was lost meanwhile: that is missed. Locks taken: series.
 */
void place_rewind(struct place *);

/* Streams it has marks for. Locks taken: series. */
uint32_t place_len(struct place *);
/*
 * The position to be saved of a stream; false: none. *row_ns: see struct cursor_frames. Locks
 * taken: series.
 */
bool place_save(struct place *, uint32_t stream, struct cursor_position *out, int64_t *row_ns);
/* The cursor's place in the set, where that stream is to be saved; NULL: none. REQUIRES the store's
 * lock. Locks taken: series. */
struct place *place_touch(const struct cursor *, struct series_set *, uint32_t stream);
void place_saved(struct place *); /* of all its streams */
/* See cursor_restore. The set has such a place. Locks taken: series. */
int place_restore(
    struct cursor *, struct series_set *, const struct cursor_position *, struct err *);

/* See cursor_begin_new. Locks taken: series. */
void place_begin_new(struct place *, int64_t since_ns);

/*
 * Time of the oldest record not committed; INT64_MAX: none. *count grows by how many there are.
 * Locks taken: series.
 */
int64_t place_oldest_ns(struct place *, uint64_t *count);

/* Places in a new set for all cursors, as place_open. REQUIRES the store's lock. */
int places_open(struct series_set *, bool beyond, struct err *);
/* The set goes: so do its places, and what was not read is missed. REQUIRES the store's lock. */
void places_close(struct series_set *);

/*
 * Makes marks in all places for len streams. False: see memory_try. REQUIRES the set's lock. The
 * appender's.
 */
bool places_reserve(struct series_set *, uint32_t len, struct memory_want *);

/* The stream is about to get a row; or it gave up its oldest. REQUIRE the set's lock. */
void places_note_row(const struct stream *, int64_t ts_ns);
void places_lose_rows(const struct stream *);

#endif
