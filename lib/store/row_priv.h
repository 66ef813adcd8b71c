/*
 * store/row_priv.h - one poll of one group as an undo record: what the values were before it.
 *
 * A row is a string of nibbles (4 bits), the low one of a byte first, and ends on a whole byte. A
 * *number* is a nibble n and n nibbles, the lowest first; n = 15 stands for 16 nibbles. A signed
 * number is folded first: 0, -1, 1, -2, ... are 0, 1, 2, 3, ... Differences are those of 64 bits
 * that wrap, after less before.
 *
 * 1. Flags, one nibble: 1 there are changes, 2 there are births, 4 some code is 14 or 15, 8 the
 *    changed positions are a list of gaps. 4 and 8 with 1; without, the row is a quiet one, see
 *    below.
 * 2. Time, a number: how late the row before was, folded (see pace_priv.h). If its unit is another
 *    than this row's, the nibbles 1, 0, the unit and a number; if this row has the time of the row
 *    before, the nibbles 1, 0, 5.
 * 3. With flag 2, a number: how many positions, the last ones, the row appended.
 * 4. With flag 1, which positions changed, of those there were before the row: a bit each, the
 *    first one lowest, up to a whole nibble. With flag 8 instead: a number, how many nibbles
 * follow, and for each changed one how many positions are between it and the one before, three bits
 * in a nibble, the lowest first, 8 added to all nibbles of it but the last. What is shorter is
 * written.
 * 5. A code per changed position, one nibble each.
 * 6. Their payloads in the same order. By code:
 *     0      none: active became inactive or the reverse, the bits are the same
 *     1..13  a difference of that many nibbles, see below
 *     14     16 nibbles: the bits before
 *     15     the next nibble says which of these it is:
 *            0  distribution
 *            1  inactive before, with other bits: a code from 1 to 14 and its payload
 *            2  no value before
 *            3  distribution, inactive before
 * 7. A nibble 0 if the row would end inside a byte.
 *
 * A quiet row has no changes and no births, and is all time. Of flags and the next nibble n is made
 * q = 16 * (flags / 4 - 1 + (flags has 2 ? 3 : 0)) + n, 0 to 95. Up to 63, q + 1 is the folded
 * lateness. Then come, for r = q - 64, r / 8 + 1 bytes, the lowest first: the low bits of it, and
 * r % 8 those above them.
 *
 * A difference is, by class:
 *     ROW_INT   the folded difference
 *     ROW_F64   its lowest three bits say which, the rest is the difference:
 *               0..6  both values are m / 10^s for an integer m, s being these three bits: the
 *                     folded difference of the m. |m| < 2^50.
 *               7     before xor after, bytes reversed, so that trailing zeros cost nothing
 *     ROW_F32   the same, m / 10^s being rounded to a float and |m| < 2^22 unless s is 0
 *     ROW_REF   one nibble 0; what was there is kept elsewhere
 * A distribution is a number, how many nibbles are left of it, and these:
 *     the count of its buckets, a number
 *     the folded difference of the rollovers, a number
 *     the difference of the sum, a code from 1 to 14 and its payload as for ROW_F64
 *     the first nibble of a number (see above) for each bucket: the folded difference of its count
 *     the other nibbles of these numbers
 *
 * Size: a row without changes is one byte if it is at most 32 units off its grid. A change costs
 * its bit of the bitmap, its code and its difference: two bytes if the difference is from -2048 to
 * 2047.
 *
 * Threads: pure functions on the caller's data. A corrupt row gives an error or other values, never
 * a read outside the bytes given.
 */
#ifndef SCOTTY_STORE_ROW_PRIV_H
#define SCOTTY_STORE_ROW_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "messages/metric.h"

/* How the 64 bits of a position differ from poll to poll. */
enum row_class {
	ROW_INT, /* bool, ints, uints, time, duration */
	ROW_F64,
	ROW_F32,  /* a double that is exactly a float */
	ROW_REF,  /* string, list: the bits before are not in the row */
	ROW_DIST, /* bits are a struct row_dist * */
};
enum row_class row_class_of(enum kind);

/* State of a distribution. len is the same before and after. */
struct row_dist {
	uint64_t rollovers;
	double sum;
	size_t len;
	uint64_t *counts;
};

/* What happened to a position. */
enum row_how {
	ROW_SET,  /* another value; active before and after */
	ROW_FLIP, /* the same bits; active turned into inactive or the reverse */
	ROW_WAKE, /* inactive before, active with other bits after */
	ROW_BORN, /* a position used anew: no value before */
};

struct row_change {
	uint32_t at; /* position */
	uint8_t how; /* enum row_how */
	/* ROW_DIST: struct row_dist *; unused by FLIP and BORN; ROW_REF: unused */
	uint64_t before, after;
};

/* Bytes that must be readable (and may hold anything) beyond the end of what is decoded. */
#define ROW_SLACK 128

/* Units of time. */
enum row_unit {
	ROW_NS,
	ROW_US,
	ROW_MS,
	ROW_S,
	ROW_SAME,  /* that of the row itself */
	ROW_PATCH, /* none: the row has the time of the row before it */
};

/* What a row says of the time of the row before it: how late that was (see pace_priv.h). */
struct row_late {
	int64_t units; /* 0 with ROW_PATCH */
	enum row_unit unit;
};

/* Of rows whose times are told beside them. */
static const struct row_late row_no_time = { 0, ROW_SAME };

/*
 * Appends a row to out. changes are sorted by position, all below len_before; positions
 * [len_before, len_after) are born in this row. classes[] of all positions. 0, or -1: out of memory
 * or over the limit of out (out->failed; no byte was added).
 */
int row_encode(struct buf *out, struct row_late, uint32_t len_before, uint32_t len_after,
    const uint8_t *classes, const struct row_change *changes, size_t n);

/*
 * The same, and to redo a row that tells what the values are after it: of the time of no row, with
 * no births, before and after exchanged.
 */
int row_encode_both(struct buf *undo, struct buf *redo, struct row_late, uint32_t len_before,
    uint32_t len_after, const uint8_t *classes, const struct row_change *changes, size_t n);

/* A row being read. It leads into the bytes given to row_open. */
struct row {
	struct row_late late;
	uint32_t len_before; /* positions before it */
	uint32_t change_count;
	size_t bytes; /* of the whole row: the older one follows; 0: not known yet */
	/* The rest is for row.c. Places are counted in nibbles from p. */
	const uint8_t *p;
	size_t end;                     /* of the bytes */
	size_t bitmap, codes, payloads; /* where each begins; bitmap: or the gaps */
	bool wide, sparse;              /* flags 4 and 8 */
	/* What row_next gives next. */
	uint32_t index;              /* of the change */
	uint64_t bits;               /* the next positions that changed, from position from on */
	uint64_t code_bits;          /* codes up to the next 16th */
	size_t bitmap_next, payload; /* places of what follows bits, and of the payload */
	uint32_t from;
	uint32_t from_next; /* position that what is at bitmap_next counts from */
};

/*
 * The row that starts at p, of a stream that has len_after positions. -1: cut short or corrupt; the
 * row is undefined then. Takes time for each 16 changes and 64 positions, and for each change that
 * is a distribution or a special case.
 */
int row_open(struct row *, const uint8_t *p, size_t bytes, uint32_t len_after);
/*
 * The same but for the payloads of a row with changes. Where they end, and whether they are all
 * there, is found by row_each (row_each_priv.h) on its way, or by row_end.
 */
int row_begin(struct row *, const uint8_t *p, size_t bytes, uint32_t len_after);
int row_end(struct row *);

/* What a change left in the row. */
enum row_form { ROW_NOTHING, ROW_DIFFERENCE, ROW_VERBATIM, ROW_BUCKETS };

/* One change found in a row. It leads into the bytes given to row_open. */
struct row_undo {
	uint32_t at; /* position, below len_before */
	uint8_t how; /* enum row_how */
	/* The rest is for row.c. */
	uint8_t form;     /* enum row_form */
	uint32_t nibbles; /* of a distribution */
	uint64_t payload; /* difference, bits, or the place of a distribution in nibbles from p */
	const uint8_t *p;
};

/* Parts of row_next and row_before that are seldom needed or long. */
void row_load_bits(struct row *);
void row_load_codes(struct row *);
struct row_undo row_read_special(struct row *, uint32_t at);
uint64_t row_float_before(uint64_t difference, enum row_class, uint64_t after);

/* The 16 nibbles at a place not beyond the end. */
static inline uint64_t
row_nibbles(const uint8_t *p, size_t at)
{
	unsigned odd = at % 2 * 4;
	uint64_t word;

	p += at / 2;
	memcpy(&word, p, sizeof(word));
	/* In two steps, as a shift by 64 is undefined. */
	return word >> odd | (uint64_t)p[sizeof(word)] << 1 << (63 - odd);
}

static inline struct row_undo
row_read_bits(struct row *row, uint32_t at)
{
	struct row_undo undo = { .at = at, .how = ROW_SET, .form = ROW_VERBATIM };

	undo.payload = row_nibbles(row->p, row->payload);
	row->payload += 16;
	return undo;
}

/* The next change, in order of position; false after the last. */
static inline bool
row_next(struct row *row, struct row_undo *undo)
{
	uint64_t word;
	uint32_t at;
	unsigned code;

	if (row->index == row->change_count)
		return false;
	if (row->bits == 0)
		row_load_bits(row);
	if (row->index % 16 == 0)
		row_load_codes(row);
	row->index++;
	at = row->from + (uint32_t)__builtin_ctzll(row->bits);
	row->bits &= row->bits - 1;
	code = row->code_bits & 15;
	row->code_bits >>= 4;
	if (code >= 14) {
		/* By value, so that the caller's may be kept in registers. */
		*undo = code == 14 ? row_read_bits(row, at) : row_read_special(row, at);
		return true;
	}
	memcpy(&word, row->p + row->payload / 2, sizeof(word));
	*undo = (struct row_undo){
		.at = at,
		.how = code == 0 ? ROW_FLIP : ROW_SET,
		.form = code == 0 ? ROW_NOTHING : ROW_DIFFERENCE,
		.payload = word >> row->payload % 2 * 4 & ((UINT64_C(1) << 4 * code) - 1),
	};
	row->payload += code;
	return true;
}

/*
 * What a place of payloads says to a code, but for the position. The place moves on. False:
 * corrupt. For who reads many (row_each_priv.h).
 */
bool row_undo_at(const uint8_t *p, unsigned code, size_t *place, struct row_undo *undo);

/*
 * Of a row with changes: false if none of the positions in bits is among them, as far as that is
 * quickly told. bits: one each, none behind len_before, whole words of 64 for all before it.
 */
static inline bool
row_may_change(const struct row *row, const uint64_t *bits)
{
	uint64_t both = 0;

	if (row->sparse)
		return true;
	for (uint32_t i = 0; 64 * i < row->len_before; i++)
		both |= bits[i] & row_nibbles(row->p, row->bitmap + 16 * i);
	return both != 0;
}

/* The change of one position, whether or not row_next was called; false if it did not change. */
bool row_find(const struct row *, uint32_t at, struct row_undo *);

/*
 * The bits before, of those after (ROW_SET and ROW_WAKE; FLIP and BORN give them back unchanged).
 * Not for ROW_REF and ROW_DIST.
 */
static inline uint64_t
row_before(const struct row_undo *undo, enum row_class class, uint64_t after)
{
	uint64_t folded = undo->payload;

	if (undo->form != ROW_DIFFERENCE)
		return undo->form == ROW_VERBATIM ? undo->payload : after;
	if (class != ROW_INT)
		return row_float_before(undo->payload, class, after);
	return after - (folded >> 1 ^ (0 - (folded & 1)));
}

/*
 * The same for a distribution; before->counts has room for as many as after has, and may be
 * after's. *count: their sum; NULL is fine. False: of another length, and before is untouched; or
 * corrupt.
 */
bool row_dist_before(const struct row_undo *, const struct row_dist *after, struct row_dist *before,
    uint64_t *count);

#endif
