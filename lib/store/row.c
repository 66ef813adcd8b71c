#include "store/row_priv.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "store/row_bits_priv.h"

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

/* What is written for a float: difference and scheme. False: only verbatim. */
static inline bool
float_difference(uint64_t before, uint64_t after, enum row_class class, uint64_t *difference)
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
		return true;
	}
	*difference = reversed << SCHEME_BITS | SCHEME_XOR;
	return reversed >> (64 - SCHEME_BITS) == 0;
}

/* Writing. Each put may store eight bytes from where it stands, so there must be room for them. */

struct writer {
	uint8_t *p;
	uint64_t bits; /* not yet a byte */
	unsigned odd;  /* 4 if a nibble is in bits, else 0 */
};

/* Puts n nibbles, at most 14; v has no more. */
static inline void
put(struct writer *w, uint64_t v, unsigned n)
{
	unsigned bits = w->odd + 4 * n;

	v = w->bits | v << w->odd;
	memcpy(w->p, &v, sizeof(v));
	w->p += bits / 8;
	w->bits = v >> (bits & ~7U);
	w->odd = bits & 7;
}

static inline void
put_word(struct writer *w, uint64_t v)
{
	put(w, v & UINT32_MAX, 8);
	put(w, v >> 32, 8);
}

/* The nibble that starts the number v. */
static inline unsigned
number_code(uint64_t v)
{
	unsigned n = v == 0 ? 0 : nibbles_of(v);

	return n < 15 ? n : 15;
}

static inline void
put_number_rest(struct writer *w, uint64_t v)
{
	unsigned code = number_code(v);

	if (code < 15)
		put(w, v, code);
	else
		put_word(w, v);
}

static inline void
put_number(struct writer *w, uint64_t v)
{
	put(w, number_code(v), 1);
	put_number_rest(w, v);
}

static inline size_t
number_nibbles(uint64_t v)
{
	return 1 + number_len(number_code(v));
}

static void
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
static bool
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

static inline unsigned
gap_nibbles(uint32_t gap)
{
	unsigned n = 1;

	for (; gap >= 8; gap >>= 3)
		n++;
	return n;
}

static void
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

static void
put_gaps(struct writer *w, size_t nibbles, const struct row_change *changes, size_t n)
{
	uint32_t from = 0;

	put_number(w, nibbles);
	for (size_t i = 0; i < n; i++) {
		put_gap(w, changes[i].at - from);
		from = changes[i].at + 1;
	}
}

static void
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

/*
 * How the bits before are written if those after are known: the code, 1 to 14, and its payload. Not
 * for distributions.
 */
static inline unsigned
value_code(enum row_class class, uint64_t before, uint64_t after, uint64_t *payload)
{
	bool fits = true;
	unsigned code;

	*payload = 0;
	if (class == ROW_INT)
		*payload = fold(after - before);
	else if (class == ROW_F64)
		fits = float_difference(before, after, ROW_F64, payload);
	else if (class == ROW_F32)
		fits = float_difference(before, after, ROW_F32, payload);
	code = nibbles_of(*payload);
	if (fits && code <= DIFFERENCE_MAX)
		return code;
	*payload = before;
	return CODE_VERBATIM;
}

static inline void
put_payload(struct writer *w, unsigned code, uint64_t payload)
{
	if (code == CODE_VERBATIM)
		put_word(w, payload);
	else
		put(w, payload, code);
}

static inline uint64_t
count_difference(const struct row_dist *before, const struct row_dist *after, size_t i)
{
	return fold(after->counts[i] - before->counts[i]);
}

static void
put_dist(struct writer *w, const struct row_dist *before, const struct row_dist *after)
{
	uint64_t rollovers = fold(after->rollovers - before->rollovers), sum;
	unsigned sum_code = value_code(ROW_F64, f64_bits(before->sum), f64_bits(after->sum), &sum);
	size_t len = after->len, nibbles;

	nibbles = number_nibbles(len) + number_nibbles(rollovers) + 1 +
	          (sum_code == CODE_VERBATIM ? WORD_NIBBLES : sum_code);
	for (size_t i = 0; i < len; i++)
		nibbles += number_nibbles(count_difference(before, after, i));
	put_number(w, nibbles);
	put_number(w, len);
	put_number(w, rollovers);
	put(w, sum_code, 1);
	put_payload(w, sum_code, sum);
	for (size_t i = 0; i < len; i++)
		put(w, number_code(count_difference(before, after, i)), 1);
	for (size_t i = 0; i < len; i++)
		put_number_rest(w, count_difference(before, after, i));
}

/* Puts what comes after the code 15. */
static void
put_special(struct writer *w, enum row_class class, const struct row_change *change)
{
	bool wakes = change->how == ROW_WAKE;
	uint64_t payload;
	unsigned code;

	if (change->how == ROW_BORN) {
		put(w, SPECIAL_BORN, 1);
	} else if (class == ROW_DIST) {
		put(w, wakes ? SPECIAL_DIST_WAKE : SPECIAL_DIST, 1);
		put_dist(w, row_dist_of(change->before), row_dist_of(change->after));
	} else {
		code = value_code(class, change->before, change->after, &payload);
		put(w, SPECIAL_WAKE, 1);
		put(w, code, 1);
		put_payload(w, code, payload);
	}
}

/* Puts the payload of a change and returns its code. */
static inline unsigned
put_change(struct writer *w, enum row_class class, const struct row_change *change)
{
	uint64_t payload;
	unsigned code;

	if (change->how == ROW_FLIP)
		return CODE_FLIP;
	if (change->how != ROW_SET || class == ROW_DIST) {
		put_special(w, class, change);
		return CODE_SPECIAL;
	}
	code = value_code(class, change->before, change->after, &payload);
	put_payload(w, code, payload);
	return code;
}

/* Puts what is left of a byte. */
static void
put_end(struct writer *w)
{
	if (w->odd != 0)
		*w->p++ = (uint8_t)w->bits;
	*w = (struct writer){ .p = w->p };
}

/*
 * Puts codes and payloads, n > 0, to the end of a byte. Returns true if a code is 14 or 15. Codes
 * are stored as whole bytes only, since what comes next is payloads that are there already; if the
 * last code is alone in its byte, the first payload has left room for it.
 */
static bool
put_changes(struct writer *w, const uint8_t *classes, const struct row_change *changes, size_t n)
{
	size_t nibbles = w->odd / 4 + n;
	struct writer payloads = { .p = w->p + nibbles / 2, .odd = nibbles % 2 * 4 };
	uint8_t *codes = w->p;
	unsigned low = (unsigned)w->bits;
	bool odd = w->odd != 0, wide = false;

	for (size_t i = 0; i < n; i++, odd = !odd) {
		const struct row_change *change = &changes[i];
		unsigned code;

		assert(i == 0 || change->at > changes[i - 1].at);
		code = put_change(&payloads, classes[change->at], change);
		wide |= code >= CODE_VERBATIM;
		if (odd)
			*codes++ = (uint8_t)(low | code << 4);
		else
			low = code;
	}
	put_end(&payloads);
	if (odd)
		*codes |= (uint8_t)low;
	*w = payloads;
	return wide;
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

int
row_encode(struct buf *out, struct row_late late, uint32_t len_before, uint32_t len_after,
    const uint8_t *classes, const struct row_change *changes, size_t n)
{
	size_t gaps = gaps_nibbles(len_before, changes, n);
	unsigned flags = (n > 0 ? FLAG_CHANGES : 0U) | (len_after > len_before ? FLAG_BIRTHS : 0U) |
	                 (gaps > 0 ? FLAG_SPARSE : 0U);
	struct writer w;
	uint8_t *start;

	assert(len_after >= len_before && (n == 0 || changes[n - 1].at < len_before));
	if (!buf_reserve(out, row_room(len_before, classes, changes, n)))
		return -1;
	start = (uint8_t *)out->p + out->len;
	w = (struct writer){ .p = start };
	if (flags == 0 && put_quiet(&w, late)) {
		out->len += (size_t)(w.p - start);
		return 0;
	}
	put(&w, flags, 1);
	put_time(&w, late);
	if (len_after > len_before)
		put_number(&w, len_after - len_before);
	if (gaps > 0)
		put_gaps(&w, gaps, changes, n);
	else if (n > 0)
		put_bitmap(&w, len_before, changes, n);
	if (n == 0)
		put_end(&w);
	else if (put_changes(&w, classes, changes, n))
		*start |= FLAG_WIDE;
	out->len += (size_t)(w.p - start);
	return 0;
}
