/*
 * store/redo_priv.h - records that do again what happened to a set (see redo.h).
 *
 * A record is a kind, one byte; the length of the rest, a number; the rest. A number is LEB128:
 * seven bits a byte, the lowest first, 128 added to all bytes but the last. A signed number is
 * folded first (0, -1, 1, -2, ... are 0, 1, 2, 3, ...). A text is its length and its bytes. A word
 * is eight bytes, the lowest first. Metas, schemas and sets have numbers of their own, which are
 * good in one stretch.
 *
 *	META	number; kind, sub kind, 1 if not cumulative (a byte each); path, description, unit
 *		(texts); how many tags, key and value of each; how many limits, a word each
 *	SCHEMA	number; how many streams; of each its group's id (signed) and its length; for each
 *		position 0 if it is free, else its meta times 2, plus 1 if it has moved
 *	STATE	number; host, app; birth (word); schema, 0 for none; moves; for each stream of the
 *		schema: number of its next row, 1 if it has a time (else 0), that time and the time
 *		of its first row (words); for each stream a bit for each position, whether it is
 *		active, in whole bytes, and the values
 *	POLL	the set's number; 1 if its schema changes (else 0), the schema and the new moves
 *		then; how many rows; the rows
 *	FORGET	the set's number, 0 if it was not told in this stretch; host, app, birth
 *	GONE	1 for a schema, 0 for a meta (a byte); its number, which is not used any more
 *
 * Moves are how many there are, and of each stream and position of both places. A row is:
 *
 *	stream; the row's number; flags (a byte): 1 it is the stream's first, 2 there are changes,
 *	4 there are births; the time (see below)
 *	with 2: a row as row_encode writes it, with before and after exchanged and without time or
 *	births; then for each change in the order of positions what the row can't tell: the text
 *	or list after, the generation of a distribution (signed, less what it was before), the first
 *	value of one that is born
 *	with 4: how many are born at the end, and their values
 *
 * The time is signed: how much later it is than that of the row before it in this record, or, of
 *the first one, than that of the stream's row before, or 1970 with flag 1. It comes in the largest
 *unit that divides it, times 4, plus the unit (0 ns, 1 us, 2 ms, 3 s); 0 is no time, and what is
 *too big for that is 3 and a word.
 *
 * Values come in blocks of 64 positions: a row that changes 0 to them, numbers only, and then, in
 * order, the others: a text, a list (how many elements; each is a text or a word), a distribution
 * (rollovers, generation, the sum as a word, how many counts, the counts).
 *
 * Threads: the set's appender, with the set's lock held.
 */
#ifndef SCOTTY_STORE_REDO_PRIV_H
#define SCOTTY_STORE_REDO_PRIV_H

#include "base/clock.h"
#include "store/append_priv.h"
#include "store/redo.h"

enum redo_kind { REDO_META = 1, REDO_SCHEMA, REDO_STATE, REDO_POLL, REDO_FORGET, REDO_GONE };

enum {
	REDO_FIRST = 1,
	REDO_CHANGES = 2,
	REDO_BIRTHS = 4,
	REDO_BLOCK = 64,    /* positions */
	REDO_LONG_TIME = 3, /* 0 seconds, which are written as 0 */
};

static const int64_t redo_unit_ns[] = { 1, NS_PER_US, NS_PER_MS, NS_PER_S };

/* An append is about to be applied. REQUIRES the set's lock. */
void redo_tell(struct append *);
/* The schema of the set is about to lose positions. REQUIRES the set's lock. */
void redo_tell_schema(struct series_set *, const struct schema *);
/* The set is no longer the store's. REQUIRES the set's lock, for all three. */
void redo_tell_forget(struct series_set *);
/* A meta or schema goes that was told in a stretch (0: in none). Any lock of the store's. */
void redo_tell_gone(struct store *, bool is_schema, uint64_t number, uint64_t told);
/* Something happens that is not told: what is told next of the set is all of it. */
void redo_not_told(struct series_set *);

#endif
