#include "store/row_priv.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "store/row_bits_priv.h"

/* Buckets of a distribution that are gone through at a time. */
#define COUNTS_MOST 64

enum row_class
row_class_of(enum kind kind)
{
	switch (kind) {
	case KIND_FLOAT32:
		return ROW_F32;
	case KIND_FLOAT64:
		return ROW_F64;
	case KIND_STRING:
	case KIND_LIST:
		return ROW_REF;
	case KIND_DIST:
		return ROW_DIST;
	case KIND_BOOL:
	case KIND_INT8:
	case KIND_INT16:
	case KIND_INT32:
	case KIND_INT64:
	case KIND_UINT8:
	case KIND_UINT16:
	case KIND_UINT32:
	case KIND_UINT64:
	case KIND_TIME:
	case KIND_DURATION:
	case KIND_NONE:
	case KIND_COUNT:
		break;
	}
	return ROW_INT;
}

/* How many nibbles v takes: 1 to 16, also for 0. */
static inline unsigned
nibbles_of(uint64_t v)
{
	return (unsigned)(67 - __builtin_clzll(v | 1)) / 4;
}

/* The distribution that a position's bits point to. */
static inline const struct row_dist *
row_dist_of(uint64_t bits)
{
	return (const struct row_dist *)(uintptr_t)bits;
}

/* True if the value is m / 10^s, bit for bit. */
static inline bool
decimal_is(uint64_t bits, unsigned s, enum row_class class, int64_t *m)
{
	/* Rounding twice takes none that is further from m than this: most need no division. */
	double most = class == ROW_F32 ? 0x1p-22 : 0x1p-51, far;

	return decimal_near(f64_of(bits), s, class, m, &far) && far <= fabs((double)*m) * most &&
	       decimal_bits(*m, s, class) == bits;
}

/* True if the value is certainly no decimal of any scheme: not with all the digits there are. */
static inline bool
decimal_never(uint64_t bits, enum row_class class)
{
	double far;
	int64_t m;

	return class == ROW_F64 && decimal_near(f64_of(bits), SCHEME_XOR - 1, class, &m, &far) &&
	       far > fabs((double)m) * 0x1p-51;
}

/*
 * What is written for a float: difference and scheme, and those with before and after exchanged.
 * False: only verbatim.
 */
static inline bool
float_difference(uint64_t before, uint64_t after, enum row_class class, uint64_t *difference,
    uint64_t *exchanged)
{
	/* Two digits are tried first, as most have them or fewer, if they are not too big for it.
	 */
	static const uint8_t order[] = { 2, 0, 1, 3, 4, 5, 6 };
	uint64_t reversed = __builtin_bswap64(before ^ after);
	int64_t m_before, m_after;

	for (size_t i = 0; i < sizeof(order); i++) {
		unsigned s = order[i];

		if (s == 3 && decimal_never(after, class))
			break;
		if (!decimal_is(after, s, class, &m_after) ||
		    !decimal_is(before, s, class, &m_before))
			continue;
		for (; s > 0 && m_after % 10 == 0 && m_before % 10 == 0; s--) {
			m_after /= 10;
			m_before /= 10;
		}
		*difference = fold((uint64_t)m_after - (uint64_t)m_before) << SCHEME_BITS | s;
		*exchanged = fold((uint64_t)m_before - (uint64_t)m_after) << SCHEME_BITS | s;
		return true;
	}
	*difference = *exchanged = reversed << SCHEME_BITS | SCHEME_XOR;
	return reversed >> (64 - SCHEME_BITS) == 0;
}

/* Writing. Each put may store eight bytes from where it stands, so there must be room for them. */

struct writer {
	uint8_t *p;
	uint64_t bits; /* not yet a byte */
	unsigned odd;  /* 4 if a nibble is in bits, else 0 */
};

/* Puts n nibbles, at most 14; v has no more. */
ALWAYS_INLINE void
put(struct writer *w, uint64_t v, unsigned n)
{
	unsigned bits = w->odd + 4 * n;

	v = w->bits | v << w->odd;
	memcpy(w->p, &v, sizeof(v));
	w->p += bits / 8;
	w->bits = v >> (bits & ~7U);
	w->odd = bits & 7;
}

ALWAYS_INLINE void
put_word(struct writer *w, uint64_t v)
{
	put(w, v & UINT32_MAX, 8);
	put(w, v >> 32, 8);
}

/* The nibble that starts the number v. */
ALWAYS_INLINE unsigned
number_code(uint64_t v)
{
	unsigned n = nibbles_of(v) - (v == 0);

	return n < 15 ? n : 15;
}

ALWAYS_INLINE void
put_number_rest(struct writer *w, uint64_t v)
{
	unsigned code = number_code(v);

	if (code < 15)
		put(w, v, code);
	else
		put_word(w, v);
}

ALWAYS_INLINE void
put_number(struct writer *w, uint64_t v)
{
	put(w, number_code(v), 1);
	put_number_rest(w, v);
}

ALWAYS_INLINE size_t
number_nibbles(uint64_t v)
{
	return 1 + number_len(number_code(v));
}

ALWAYS_INLINE void
put_time(struct writer *w, struct row_late late)
{
	if (late.unit != ROW_SAME) {
		put(w, 1, 2);
		put(w, late.unit, 1);
	}
	if (late.unit != ROW_PATCH)
		put_number(w, fold((uint64_t)late.units));
}

/* Writes a quiet row. False: it cannot be one. */
ALWAYS_INLINE bool
put_quiet(struct writer *w, struct row_late late)
{
	uint64_t folded = fold((uint64_t)late.units), q = folded - 1;
	unsigned bytes = 0;

	if (late.unit != ROW_SAME || folded == 0)
		return false;
	if (q >= QUIET_DIRECT) {
		for (bytes = 1; folded >> (8 * bytes + QUIET_BITS) != 0; bytes++) {
			if (bytes == QUIET_LENGTHS)
				return false;
		}
		q = QUIET_DIRECT + ((bytes - 1) << QUIET_BITS) + (folded >> 8 * bytes);
		folded &= (UINT64_C(1) << 8 * bytes) - 1;
	}
	put(w, q / 16 < 3 ? (q / 16 + 1) * 4 : (q / 16 - 2) * 4 + FLAG_BIRTHS, 1);
	put(w, q % 16, 1);
	if (bytes > 0)
		put(w, folded, 2 * bytes);
	return true;
}

ALWAYS_INLINE unsigned
gap_nibbles(uint32_t gap)
{
	return (unsigned)(34 - __builtin_clz(gap | 1)) / 3;
}

ALWAYS_INLINE void
put_gap(struct writer *w, uint32_t gap)
{
	for (; gap >= 8; gap >>= 3)
		put(w, 8 | (gap & 7), 1);
	put(w, gap, 1);
}

/* How many nibbles the gaps take; 0 if the bitmap takes no more. */
static size_t
gaps_nibbles(uint32_t len, const struct row_change *changes, size_t n)
{
	size_t dense = bitmap_nibbles(len), sparse = n;
	uint32_t from = 0;

	for (size_t i = 0; i < n && sparse < dense; i++) {
		sparse += gap_nibbles(changes[i].at - from) - 1;
		from = changes[i].at + 1;
	}
	return sparse + number_nibbles(sparse) < dense ? sparse : 0;
}

ALWAYS_INLINE void
put_gaps(struct writer *w, size_t nibbles, const struct row_change *changes, size_t n)
{
	uint32_t from = 0;

	put_number(w, nibbles);
	for (size_t i = 0; i < n; i++) {
		put_gap(w, changes[i].at - from);
		from = changes[i].at + 1;
	}
}

ALWAYS_INLINE void
put_bitmap(struct writer *w, uint32_t len, const struct row_change *changes, size_t n)
{
	size_t i = 0;

	/* Ten nibbles at a time. */
	for (uint32_t from = 0; from < len; from += 40) {
		uint32_t left = len - from < 40 ? len - from : 40;
		uint64_t bits = 0;

		for (; i < n && changes[i].at - from < left; i++)
			bits |= UINT64_C(1) << (changes[i].at - from);
		put(w, bits, (unsigned)bitmap_nibbles(left));
	}
}

/* A code, 1 to 14, and its payload. */
struct coded {
	unsigned code;
	uint64_t payload;
};

ALWAYS_INLINE struct coded
coded(bool fits, uint64_t difference, uint64_t bits)
{
	unsigned code = nibbles_of(difference);

	if (fits && code <= DIFFERENCE_MAX)
		return (struct coded){ code, difference };
	return (struct coded){ CODE_VERBATIM, bits };
}

/*
 * How the bits before are written if those after are known; exchanged: how those after are if those
 * before are known. Not for distributions.
 */
ALWAYS_INLINE struct coded
code_value(enum row_class class, uint64_t before, uint64_t after, struct coded *exchanged)
{
	uint64_t there = 0, back = 0;
	bool fits = true;

	if (class == ROW_INT) {
		there = fold(after - before);
		back = fold(before - after);
	} else if (class == ROW_F64) {
		fits = float_difference(before, after, ROW_F64, &there, &back);
	} else if (class == ROW_F32) {
		fits = float_difference(before, after, ROW_F32, &there, &back);
	}
	*exchanged = coded(fits, back, after);
	return coded(fits, there, before);
}

ALWAYS_INLINE void
put_payload(struct writer *w, struct coded value)
{
	if (value.code == CODE_VERBATIM)
		put_word(w, value.payload);
	else
		put(w, value.payload, value.code);
}

/* The codes of some buckets of a distribution: 16 in each word, the first one lowest. */
struct counts {
	uint64_t codes[COUNTS_MOST / 16];
};

ALWAYS_INLINE uint64_t
count_difference(const struct row_dist *before, const struct row_dist *after, size_t i)
{
	return fold(after->counts[i] - before->counts[i]);
}

/* Of those from a bucket on, as many as fit. Returns the nibbles of their payloads. */
ALWAYS_INLINE size_t
take_counts(
    struct counts *c, const struct row_dist *before, const struct row_dist *after, size_t from)
{
	size_t nibbles = 0;

	for (size_t i = from; i < after->len && i < from + COUNTS_MOST; i += 16) {
		uint64_t codes = 0;

		for (size_t j = 0; j < 16 && i + j < after->len; j++) {
			unsigned code = number_code(count_difference(before, after, i + j));

			codes |= (uint64_t)code << 4 * j;
			nibbles += number_len(code);
		}
		c->codes[(i - from) / 16] = codes;
	}
	return nibbles;
}

ALWAYS_INLINE void
put_codes(struct writer *w, const struct counts *c, size_t n)
{
	for (size_t i = 0; i < n; i += 8)
		put(w, c->codes[i / 16] >> i % 16 * 4 & UINT32_MAX,
		    n - i < 8 ? (unsigned)(n - i) : 8);
}

/* How many buckets there are comes before all of them: more than fit are gone through again. */
ALWAYS_INLINE void
put_dist(struct writer *w, const struct row_dist *before, const struct row_dist *after)
{
	struct counts counts;
	uint64_t rollovers = fold(after->rollovers - before->rollovers);
	struct coded unused;
	struct coded sum =
	    code_value(ROW_F64, f64_bits(before->sum), f64_bits(after->sum), &unused);
	size_t len = after->len, nibbles;

	nibbles = number_nibbles(len) + number_nibbles(rollovers) + 1 + payload_len(sum.code) + len;
	for (size_t i = 0; i < len; i += COUNTS_MOST)
		nibbles += take_counts(&counts, before, after, i);
	put_number(w, nibbles);
	put_number(w, len);
	put_number(w, rollovers);
	put(w, sum.code, 1);
	put_payload(w, sum);
	for (size_t i = 0; i < len; i += COUNTS_MOST) {
		if (len > COUNTS_MOST)
			take_counts(&counts, before, after, i);
		put_codes(w, &counts, len - i < COUNTS_MOST ? len - i : COUNTS_MOST);
	}
	for (size_t i = 0; i < len; i++)
		put_number_rest(w, count_difference(before, after, i));
}

/* Puts what comes after the code 15. */
ALWAYS_INLINE void
put_special(struct writer *w, enum row_class class, const struct row_change *change,
    uint64_t before, uint64_t after)
{
	bool wakes = change->how == ROW_WAKE;
	struct coded value, unused;

	if (change->how == ROW_BORN) {
		put(w, SPECIAL_BORN, 1);
	} else if (class == ROW_DIST) {
		put(w, wakes ? SPECIAL_DIST_WAKE : SPECIAL_DIST, 1);
		put_dist(w, row_dist_of(before), row_dist_of(after));
	} else {
		value = code_value(class, before, after, &unused);
		put(w, SPECIAL_WAKE, 1);
		put(w, value.code, 1);
		put_payload(w, value);
	}
}

/* Puts what is left of a byte. */
ALWAYS_INLINE void
put_end(struct writer *w)
{
	if (w->odd != 0)
		*w->p++ = (uint8_t)w->bits;
	*w = (struct writer){ .p = w->p };
}

/*
 * Codes are stored as whole bytes only, since what comes next is payloads that are there already;
 * if the last code is alone in its byte, the first payload has left room for it.
 */
struct code_writer {
	struct writer payloads;
	uint8_t *codes;
	uint64_t word;  /* the next ones */
	unsigned shift; /* bits there are in it */
	bool wide;      /* a code was 14 or 15 */
};

/* Of n changes, from where w is. */
ALWAYS_INLINE struct code_writer
begin_codes(const struct writer *w, size_t n)
{
	size_t nibbles = w->odd / 4 + n;

	return (struct code_writer){
		.payloads = { .p = w->p + nibbles / 2, .odd = nibbles % 2 * 4 },
		.codes = w->p,
		.word = w->bits,
		.shift = w->odd,
	};
}

ALWAYS_INLINE void
put_code(struct code_writer *c, unsigned code)
{
	c->wide |= code >= CODE_VERBATIM;
	c->word |= (uint64_t)code << c->shift;
	c->shift += 4;
	if (c->shift == 64) {
		memcpy(c->codes, &c->word, sizeof(c->word));
		c->codes += sizeof(c->word);
		c->word = c->shift = 0;
	}
}

/* To the end of a byte. */
ALWAYS_INLINE void
end_codes(struct code_writer *c, struct writer *w)
{
	put_end(&c->payloads);
	for (; c->shift >= 8; c->shift -= 8, c->word >>= 8)
		*c->codes++ = (uint8_t)c->word;
	if (c->shift > 0)
		*c->codes |= (uint8_t)c->word;
	*w = c->payloads;
}

/* A change that is not just another value, from before to after. */
ALWAYS_INLINE void
put_other(struct code_writer *c, enum row_class class, const struct row_change *change,
    uint64_t before, uint64_t after)
{
	if (change->how == ROW_FLIP) {
		put_code(c, CODE_FLIP);
		return;
	}
	put_special(&c->payloads, class, change, before, after);
	put_code(c, CODE_SPECIAL);
}

/* Puts codes and payloads, n > 0; again: the same with before and after exchanged, or NULL. */
ALWAYS_INLINE void
put_changes(struct code_writer *c, struct code_writer *again, const uint8_t *classes,
    const struct row_change *changes, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		const struct row_change *change = &changes[i];
		enum row_class class = (enum row_class)classes[change->at];
		struct coded there, back;

		assert(i == 0 || change->at > changes[i - 1].at);
		if (__builtin_expect(change->how == ROW_SET && class != ROW_DIST, true)) {
			there = code_value(class, change->before, change->after, &back);
			put_payload(&c->payloads, there);
			put_code(c, there.code);
			if (again != NULL) {
				put_payload(&again->payloads, back);
				put_code(again, back.code);
			}
		} else {
			uint64_t before = change->before, after = change->after;

			put_other(c, class, change, before, after);
			if (again != NULL)
				put_other(again, class, change, after, before);
		}
	}
}

/* The most that a distribution takes beyond other changes. */
static size_t
dist_nibbles(const struct row_dist *before, const struct row_dist *after)
{
	assert(before->len == after->len);
	return (5 + after->len) * NUMBER_NIBBLES;
}

/* The most bytes that the row may take, and what the last put stores too much. */
static size_t
row_room(uint32_t len_before, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	size_t nibbles = 4 * NUMBER_NIBBLES + bitmap_nibbles(len_before) + n * CHANGE_NIBBLES;

	for (size_t i = 0; i < n; i++) {
		const struct row_change *change = &changes[i];

		if (classes[change->at] == ROW_DIST && change->how != ROW_FLIP &&
		    change->how != ROW_BORN)
			nibbles +=
			    dist_nibbles(row_dist_of(change->before), row_dist_of(change->after));
	}
	return nibbles / 2 + 1 + sizeof(uint64_t);
}

/* A row in the making; start: its flags. */
struct encoding {
	struct buf *out;
	uint8_t *start;
	struct writer w;
	struct code_writer codes;
};

/* All but codes and payloads. There is room. */
ALWAYS_INLINE void
begin_row(struct encoding *e, struct row_late late, uint32_t len_before, uint32_t births,
    size_t gaps, const struct row_change *changes, size_t n)
{
	unsigned flags = (n > 0 ? FLAG_CHANGES : 0U) | (births > 0 ? FLAG_BIRTHS : 0U) |
	                 (gaps > 0 ? FLAG_SPARSE : 0U);

	e->start = (uint8_t *)e->out->p + e->out->len;
	e->w = (struct writer){ .p = e->start };
	if (flags == 0 && put_quiet(&e->w, late))
		return;
	put(&e->w, flags, 1);
	put_time(&e->w, late);
	if (births > 0)
		put_number(&e->w, births);
	if (gaps > 0)
		put_gaps(&e->w, gaps, changes, n);
	else if (n > 0)
		put_bitmap(&e->w, len_before, changes, n);
	if (n > 0)
		e->codes = begin_codes(&e->w, n);
	else
		put_end(&e->w);
}

ALWAYS_INLINE void
end_row(struct encoding *e, size_t n)
{
	if (n > 0) {
		end_codes(&e->codes, &e->w);
		if (e->codes.wide)
			*e->start |= FLAG_WIDE;
	}
	e->out->len += (size_t)(e->w.p - e->start);
}

/* As row_encode_both; redo may be NULL. */
ALWAYS_INLINE int
encode(struct buf *undo, struct buf *redo, struct row_late late, uint32_t len_before,
    uint32_t len_after, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	size_t room = row_room(len_before, classes, changes, n);
	size_t gaps = gaps_nibbles(len_before, changes, n);
	struct encoding there = { .out = undo }, back = { .out = redo };

	assert(len_after >= len_before && (n == 0 || changes[n - 1].at < len_before));
	if (!buf_reserve(undo, room) || (redo != NULL && !buf_reserve(redo, room)))
		return -1;
	begin_row(&there, late, len_before, len_after - len_before, gaps, changes, n);
	if (redo != NULL)
		begin_row(&back, row_no_time, len_before, 0, gaps, changes, n);
	put_changes(&there.codes, redo != NULL ? &back.codes : NULL, classes, changes, n);
	end_row(&there, n);
	if (redo != NULL)
		end_row(&back, n);
	return 0;
}

static int
encode_plain(struct buf *undo, struct buf *redo, struct row_late late, uint32_t len_before,
    uint32_t len_after, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	return encode(undo, redo, late, len_before, len_after, classes, changes, n);
}

WITH_BMI2 static int
encode_bmi2(struct buf *undo, struct buf *redo, struct row_late late, uint32_t len_before,
    uint32_t len_after, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	return encode(undo, redo, late, len_before, len_after, classes, changes, n);
}

int
row_encode(struct buf *out, struct row_late late, uint32_t len_before, uint32_t len_after,
    const uint8_t *classes, const struct row_change *changes, size_t n)
{
	return row_encode_both(out, NULL, late, len_before, len_after, classes, changes, n);
}

int
row_encode_both(struct buf *undo, struct buf *redo, struct row_late late, uint32_t len_before,
    uint32_t len_after, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	if (has_bmi2())
		return encode_bmi2(undo, redo, late, len_before, len_after, classes, changes, n);
	return encode_plain(undo, redo, late, len_before, len_after, classes, changes, n);
}
