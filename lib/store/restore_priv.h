/*
 * store/restore_priv.h - reading what redo_priv.h describes, and what is known while a stretch is
 * restored. Nothing read is believed: what makes no sense is refused before it is applied.
 *
 * Threads: the one that restores.
 */
#ifndef SCOTTY_STORE_RESTORE_PRIV_H
#define SCOTTY_STORE_RESTORE_PRIV_H

#include "store/redo_priv.h"

/* Later times can't come of appends: see TS_MOST. */
#define TS_LATEST (INT64_MAX - 180 * 86400 * NS_PER_S)

/* Bytes being read. After one that is bad, all reads give zeros. */
struct redo_reader {
	const uint8_t *p, *end; /* RESTORE_SLACK more are readable */
	bool bad;
};

uint8_t redo_byte(struct redo_reader *);
uint64_t redo_number(struct redo_reader *);
/* Bad if it is more than most. */
uint64_t redo_number_to(struct redo_reader *, uint64_t most);
int64_t redo_signed(struct redo_reader *);
uint64_t redo_word(struct redo_reader *);
int64_t redo_time(struct redo_reader *);
struct str redo_bytes(struct redo_reader *, uint64_t len);
/* Valid UTF-8. */
struct str redo_text(struct redo_reader *);

/* What a number stands for in this stretch. */
struct restored_meta {
	uint64_t number;
	struct meta *meta; /* a reference; NULL: no room */
};

struct restored_schema {
	uint64_t number;
	struct schema *schema; /* a reference; NULL: no room */
};

struct restored_set {
	uint64_t number;
	struct series_set *set; /* a reference; NULL: there was no memory for it */
	bool is_broken;         /* what is told of it can't be applied until the next state */
	bool is_ahead;          /* there may be more of it than what is told comes to */
	bool is_others;         /* another part restores it; there is no set */
};

struct store_restore {
	struct store *store;
	struct restore_stats stats;
	struct map metas, schemas, sets; /* by number */
	unsigned part, parts;
};

static inline struct str
restore_key(const uint64_t *number)
{
	return (struct str){ (const char *)number, sizeof(*number) };
}

/* The set of that name is restored here, in whatever stretch it comes. */
bool restore_is_mine(const struct store_restore *, struct str host, struct str app);

/*
 * The schema of that number; NULL for 0 and, bad, one that there is not. *lacking: there was no
 * room for it.
 */
struct schema *restore_schema(struct store_restore *, struct redo_reader *, bool *lacking);

/*
 * A text, list or distribution; *bits is what a position holds then, a reference. -1 with
 * ERR_NOMEM or ERR_LIMIT; the reader may be bad.
 */
int restore_blob(
    struct store *, struct redo_reader *, const struct metric_desc *, uint64_t *bits, struct err *);
/*
 * Values of n positions from first on, in bits[], which is zero. What is there is the caller's,
 * also on error, for restore_values_free. -1 as restore_blob.
 */
int restore_values(struct store *, struct redo_reader *, const struct schema *, uint32_t stream,
    uint32_t first, uint64_t *bits, uint32_t n, struct err *);
void restore_values_free(struct store *, const struct schema *, uint32_t stream, uint32_t first,
    uint64_t *bits, uint32_t n);

/* Moves between positions of the schema; added to moves. -1 with ERR_NOMEM. */
int restore_moves(struct redo_reader *, const struct schema *, struct moves *, struct err *);

/*
 * What becomes of a stream's positions with another schema: false if it can't be (another series at
 * a position, an active one that goes, fewer positions but not none). *reborn: how many free ones
 * get a series.
 */
bool restore_can_change(
    const struct series_set *, const struct schema *, uint32_t stream, uint32_t *reborn);

/*
 * The rest of a record. What there is no memory for is counted as lost; bad in the reader: it makes
 * no sense. restore_state: -1 with ERR_NOMEM if even that can't be.
 */
void restore_poll(struct store_restore *, struct redo_reader *);
int restore_state(struct store_restore *, struct redo_reader *, struct err *);

#endif
