/*
 * store/log_priv.h - one stream (a group of an endpoint): what its values are now, and the log of
 * rows that says what they were before.
 *
 * A row (row_priv.h) is an undo record of one poll. The log grows downwards: the newest row begins
 * at the lowest address in use of the newest page, and reading on through memory goes back in time,
 * from page to older page. A row may lie in several pages: it counts with the oldest of them, as it
 * is lost with that one. So the rows from a page's first_row on need no page older than it.
 *
 *	newest page                    older page
 *	[ free | row 9 | row 8 | ro]   [w 7 | row 6 | row 5 | ...]     first_row: 8, and e.g. 3
 *
 * Records of a row, as cursors count them. For a row later than the one before: *changes* are all
 * that it changed, *every* is all series active after it plus those that it made inactive. A
 **patch* has the time of the row before it: its births are its records in both senses, and a series
 *that it makes inactive has left for another stream, which is no record.
 *
 * What rows keep outside pages waits in rings: blobs that were replaced, and positions that became
 * inactive. A position whose marker is given up has no row left that tells of it: it is dead, and
 * the appender uses it anew.
 *
 * Threads: the set's lock guards all of it; the appender alone changes what is not of the log, and
 * so reads that without. Locks taken: pages.
 */
#ifndef SCOTTY_STORE_LOG_PRIV_H
#define SCOTTY_STORE_LOG_PRIV_H

#include "store/pace_priv.h"
#include "store/pages_priv.h"
#include "store/ring_priv.h"

struct memory_want;
struct series_set;

struct stream {
	struct series_set *set;
	uint32_t number; /* in the set */
	/* The newest state. */
	uint64_t *bits;    /* by position; one block with the two below */
	uint64_t *active;  /* bit per position */
	uint64_t *dead;    /* bit per position: to be used anew */
	uint32_t len, cap; /* positions */
	uint32_t active_count;
	bool settled;     /* active are those, and only those, the set's plan has */
	int64_t ts_ns;    /* of the newest row; TS_NONE: none yet */
	int64_t begin_ns; /* of the first row */
	struct pace pace; /* after it; undefined if there is none */
	/* The log: rows first_row to next_row - 1. */
	struct page *newest, *oldest;
	uint32_t first_row, next_row;
	uint32_t next_page;
	int64_t base_ns; /* time of the row before first_row; TS_NONE: nothing lost */
	uint64_t every_sum, every_lost; /* records of all rows; of those given up */
	uint64_t change_sum, change_lost;
	struct ring blobs;   /* what ROW_REF values were before, by row */
	struct ring markers; /* positions that became inactive, by row */
	/* The pages lock. */
	struct stream *idle_prev, *idle_next;
	int64_t idle_from_ns; /* while in the list: before_ns of its oldest page */
	bool in_idle_list;
	uint64_t idle_since; /* pages that had filled up then */
};

/* NULL: see memory_try. */
struct stream *stream_try_new(struct series_set *, struct memory_want *);
/* Its log, blobs and rings too. NULL is fine. The classes are those of its positions. */
void stream_free(struct stream *, const uint8_t *classes);
/* Makes room for len positions. False: see memory_try. */
bool stream_reserve(struct stream *, uint32_t len, struct memory_want *);

/* Pages of its log. REQUIRES the set's lock. */
static inline uint32_t
stream_pages(const struct stream *s)
{
	return s->newest == NULL ? 0 : s->newest->number - s->oldest->number + 1;
}

/* The time from which on its history is whole: 0 if none of it is gone. */
static inline int64_t
stream_whole_ns(const struct stream *s)
{
	return s->first_row == 0 || s->base_ns == TS_NONE ? 0 : s->base_ns;
}

static inline bool
bit_get(const uint64_t *words, uint32_t at)
{
	return (words[at / 64] >> at % 64 & 1) != 0;
}

static inline void
bit_set(uint64_t *words, uint32_t at, bool on)
{
	if (on)
		words[at / 64] |= UINT64_C(1) << at % 64;
	else
		words[at / 64] &= ~(UINT64_C(1) << at % 64);
}

/* Sets whether a position is active, and all that counts them. */
void stream_set_active(struct stream *, uint32_t at, bool active);
/* No position is of use any more: its rows are gone, and its time begins anew. */
void stream_reset(struct stream *);

/* The same, but the room for positions stays; of classes is what it has. */
void stream_clear(struct stream *, const uint8_t *classes);
/* An empty stream of which so many rows are gone goes on at that time, or TS_NONE. */
void stream_begin_at(struct stream *, uint32_t next_row, int64_t ts_ns, int64_t begin_ns);

/* Pages for a row, got before it is put into the log. */
struct log_room {
	struct page *grown; /* takes the place of the newest page, which is smaller; or NULL */
	struct page *pages; /* by newer, in the order in which they are filled */
	size_t bytes;       /* there is in them */
};

/*
 * Adds to room what a row of so many bytes still needs. False: see memory_try; the room keeps what
 * it has. Holding the set's lock from a success to log_put makes sure that it is enough.
 */
bool log_reserve(struct stream *, size_t bytes, struct log_room *, struct memory_want *);
void log_free_room(struct store *, struct log_room *);

/* What goes into a log. */
struct log_row {
	const uint8_t *p;
	size_t bytes;
	int64_t ts_ns; /* not before the stream's */
	uint32_t every_count, change_count, value_count;
	uint32_t held_bytes;
};
/* Takes what it needs from the room. The stream's time moves on. */
void log_put(struct stream *, const struct log_row *, struct log_room *);
/* The same for a row that finds no room: with it go all rows before it. */
void log_lose(struct stream *, const struct log_row *);

/* Gives the oldest page up. It is kept as a spare if it may be reused. */
void log_drop_oldest(struct stream *, bool keep_spare);
/* Gives all pages up. */
void log_clear(struct stream *);

#endif
