#include "store/row_priv.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

static_assert(
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "nibbles are loaded as little endian words");

static_assert(FLT_EVAL_METHOD == 0, "decimals are told by how doubles round");

enum {
	FLAG_CHANGES = 1,
	FLAG_BIRTHS = 2,
	FLAG_WIDE = 4,
	FLAG_SPARSE = 8,

	CODE_FLIP = 0,
	CODE_VERBATIM = 14,
	CODE_SPECIAL = 15,
	DIFFERENCE_MAX = 13, /* nibbles */

	SPECIAL_DIST = 0,
	SPECIAL_WAKE = 1,
	SPECIAL_BORN = 2,
	SPECIAL_DIST_WAKE = 3,

	SCHEME_BITS = 3,
	SCHEME_XOR = 7, /* less than it: decimal digits */

	WORD_NIBBLES = 16,
	NUMBER_NIBBLES = 1 + WORD_NIBBLES, /* at most */
	CHANGE_NIBBLES = 3 + WORD_NIBBLES, /* at most, code and all, but for a distribution */
};

#define NIBBLES_8 UINT64_C(0x8888888888888888)

static const double ten_to[SCHEME_XOR] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6 };
static const int64_t unit_ns[] = { 1, 1000, 1000000, 1000000000 };

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

/* Bits and differences. */

static inline uint64_t
fold(uint64_t difference)
{
	return difference << 1 ^ (0 - (difference >> 63));
}

static inline uint64_t
unfold(uint64_t folded)
{
	return folded >> 1 ^ (0 - (folded & 1));
}

static inline uint64_t
f64_bits(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static inline double
f64_of(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* How many nibbles v takes: 1 to 16, also for 0. */
static inline unsigned
nibbles_of(uint64_t v)
{
	return (unsigned)(67 - __builtin_clzll(v | 1)) / 4;
}

/* The lowest n nibbles of v, n <= 16. */
static inline uint64_t
low_nibbles(uint64_t v, unsigned n)
{
	return n == 0 ? 0 : v & UINT64_MAX >> (64 - 4 * n);
}

/* Set bits of v. Baseline x86-64 has no instruction for it. */
static inline unsigned
ones(uint64_t v)
{
	v -= v >> 1 & UINT64_C(0x5555555555555555);
	v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
	v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
	return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
}

/* The sum of the 16 nibbles of v. */
static inline unsigned
nibble_sum(uint64_t v)
{
	const uint64_t low = UINT64_C(0x0f0f0f0f0f0f0f0f);

	return (unsigned)(((v & low) + (v >> 4 & low)) * UINT64_C(0x0101010101010101) >> 56);
}

/* The distribution that a position's bits point to. */
static inline const struct row_dist *
row_dist_of(uint64_t bits)
{
	return (const struct row_dist *)(uintptr_t)bits;
}

/* Floats. */

/*
 * The integer m next to value * 10^s; false if it is too big for value to lead to the same m
 * wherever it comes from: it may be off by 2^-53 (a float: 2^-24) of itself, and m by 1/2. far: how
 * far m is from the product.
 */
static inline bool
decimal_near(double value, unsigned s, enum row_class class, int64_t *m, double *far)
{
	double limit = class == ROW_F32 && s > 0 ? 0x1p22 : 0x1p50;
	double scaled = value * ten_to[s];
	/* Doubles of that size have no digits after the point, so this rounds. */
	double rounded = scaled + 0x1.8p52 - 0x1.8p52;

	if (!(fabs(scaled) < limit))
		return false;
	*m = (int64_t)rounded;
	*far = fabs(scaled - rounded);
	return true;
}

static inline uint64_t
decimal_bits(int64_t m, unsigned s, enum row_class class)
{
	double value = (double)m / ten_to[s];
	/* Volatile, as gcc 12 takes (double)(float) for nothing when it makes vectors of two. */
	volatile float rounded;

	if (class != ROW_F32)
		return f64_bits(value);
	rounded = (float)value;
	return f64_bits((double)rounded);
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

uint64_t
row_float_before(uint64_t difference, enum row_class class, uint64_t after)
{
	unsigned scheme = difference & SCHEME_XOR;
	uint64_t rest = difference >> SCHEME_BITS;
	double far;
	int64_t m;

	if (scheme == SCHEME_XOR)
		return after ^ __builtin_bswap64(rest);
	if (!decimal_near(f64_of(after), scheme, class, &m, &far))
		return after; /* only in a corrupt row */
	return decimal_bits((int64_t)((uint64_t)m - unfold(rest)), scheme, class);
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

/* How many nibbles follow that one. */
static inline unsigned
number_len(unsigned code)
{
	return code < 15 ? code : WORD_NIBBLES;
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
put_time(struct writer *w, int64_t dod_ns)
{
	unsigned unit = 0;
	uint64_t folded;

	while (dod_ns != 0 && unit < 3 && dod_ns % unit_ns[unit + 1] == 0)
		unit++;
	folded = fold((uint64_t)(dod_ns / unit_ns[unit]));
	if (folded >> 62 == 0) {
		put_number(w, folded == 0 ? 0 : folded << 2 | unit);
		return;
	}
	put(w, 1, 2);
	put_word(w, (uint64_t)dod_ns);
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

static size_t
bitmap_nibbles(uint32_t len)
{
	return len / 4 + (len % 4 != 0);
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

/* Nibbles of a payload that is not special. */
static inline unsigned
payload_len(unsigned code)
{
	return code == CODE_VERBATIM ? WORD_NIBBLES : code;
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
row_encode(struct buf *out, int64_t dod_ns, uint32_t len_before, uint32_t len_after,
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
	put(&w, flags, 1);
	put_time(&w, dod_ns);
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

/* Reading. Places are counted in nibbles, and may go beyond the end: it is looked at later. */

struct reader {
	const uint8_t *p;
	size_t at, end;
};

/* The next n <= 16 nibbles; false if there are fewer. */
static bool
take(struct reader *r, unsigned n, uint64_t *v)
{
	if (n > r->end - r->at)
		return false;
	*v = low_nibbles(row_nibbles(r->p, r->at), n);
	r->at += n;
	return true;
}

static bool
take_number(struct reader *r, uint64_t *v)
{
	uint64_t code;

	return take(r, 1, &code) && take(r, number_len((unsigned)code), v);
}

static bool
take_time(struct reader *r, int64_t *dod_ns)
{
	size_t from = r->at;
	uint64_t v;

	if (!take_number(r, &v))
		return false;
	if (v == 0 && r->at - from == 2) {
		if (!take(r, WORD_NIBBLES, &v))
			return false;
		*dod_ns = (int64_t)v;
		return true;
	}
	*dod_ns = (int64_t)(unfold(v >> 2) * (uint64_t)unit_ns[v & 3]);
	return true;
}

/* Gaps at the start of a word; count 0: a gap has more nibbles than that, which none needs. */
struct gaps {
	unsigned count, nibbles;
	uint64_t positions; /* those in between and those that changed */
};

/* The first gap. Each step halves the number of the groups of three bits. */
static inline struct gaps
first_gap(uint64_t word)
{
	uint64_t last = ~word & NIBBLES_8;
	struct gaps gaps = { 0 };

	if (last == 0)
		return gaps;
	gaps.count = 1;
	gaps.nibbles = (unsigned)__builtin_ctzll(last) / 4 + 1;
	word = low_nibbles(word, gaps.nibbles);
	word = (word & UINT64_C(0x0707070707070707)) | (word & UINT64_C(0x7070707070707070)) >> 1;
	word = (word & UINT64_C(0x003f003f003f003f)) | (word & UINT64_C(0x3f003f003f003f00)) >> 2;
	word = (word & UINT64_C(0x00000fff00000fff)) | (word & UINT64_C(0x0fff00000fff0000)) >> 4;
	word = (word & UINT64_C(0x0000000000ffffff)) | (word & UINT64_C(0x00ffffff00000000)) >> 8;
	gaps.positions = word + 1;
	return gaps;
}

/* All that are whole. */
static inline struct gaps
sum_gaps(uint64_t word)
{
	uint64_t last = ~word & NIBBLES_8, later, weight = 7;
	struct gaps gaps = { .count = ones(last) };

	if (last == 0)
		return gaps;
	gaps.nibbles = (unsigned)(64 - __builtin_clzll(last)) / 4;
	word = low_nibbles(word, gaps.nibbles);
	/* Which nibbles come after another of their gap: they count 8 times, or 64 times, ... */
	later = (word & NIBBLES_8) >> 3 << 4;
	word &= ~NIBBLES_8;
	gaps.positions = gaps.count + nibble_sum(word);
	for (uint64_t deep = later; deep != 0; deep = deep << 4 & later, weight *= 8)
		gaps.positions += weight * nibble_sum(word & deep * 15);
	return gaps;
}

static inline unsigned
nibble_at(const uint8_t *p, size_t at)
{
	return p[at / 2] >> at % 2 * 4 & 15;
}

/* Nibbles of a special payload at a place not beyond the end; 0 if corrupt. */
static size_t
special_len(const uint8_t *p, size_t at)
{
	uint64_t word = row_nibbles(p, at);
	unsigned next = word >> 4 & 15;

	switch (word & 15) {
	case SPECIAL_BORN:
		return 1;
	case SPECIAL_WAKE:
		if (next == 0 || next > CODE_VERBATIM)
			return 0;
		return 2 + payload_len(next);
	case SPECIAL_DIST:
	case SPECIAL_DIST_WAKE:
		/* Such a count fits in 32 bits in any row that fits in memory. */
		return next > 8 ? 0 : 2 + next + low_nibbles(word >> 8, next);
	default:
		return 0;
	}
}

/* The place behind the payloads at a place of which codes has the codes; SIZE_MAX: corrupt. */
static size_t
skip_specials(const uint8_t *p, uint64_t codes, size_t at, size_t end)
{
	for (; codes != 0; codes >>= 4) {
		unsigned code = codes & 15;
		size_t len = payload_len(code);

		if (code == CODE_SPECIAL) {
			if (at > end)
				return SIZE_MAX;
			len = special_len(p, at);
			if (len == 0)
				return SIZE_MAX;
		}
		at += len;
	}
	return at;
}

/* The sum of n nibbles. some_wide: one is 14 or 15. */
static inline size_t
sum_codes(const uint8_t *p, size_t at, size_t n, bool *some_wide)
{
	uint64_t mask = UINT64_MAX << at % 2 * 4, word, wide = 0;
	size_t sum = 0;

	n += at % 2;
	p += at / 2;
	for (; n > WORD_NIBBLES; n -= WORD_NIBBLES, p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		word &= mask;
		mask = UINT64_MAX;
		wide |= word & word << 1 & word << 2;
		sum += nibble_sum(word);
	}
	memcpy(&word, p, sizeof(word));
	word = low_nibbles(word & mask, (unsigned)n);
	wide |= word & word << 1 & word << 2;
	*some_wide = (wide & NIBBLES_8) != 0;
	return sum + nibble_sum(word);
}

/* The place behind the first n payloads of a row with flag 4; SIZE_MAX: corrupt. */
static size_t
skip_wide(const struct row *row, size_t n)
{
	size_t at = row->payloads;

	for (size_t i = 0; i < n && at != SIZE_MAX; i += WORD_NIBBLES) {
		uint64_t codes = row_nibbles(row->p, row->codes + i), wide;

		if (n - i < WORD_NIBBLES)
			codes = low_nibbles(codes, (unsigned)(n - i));
		wide = codes & codes << 1 & codes << 2 & NIBBLES_8;
		if ((wide & codes << 3) != 0)
			at = skip_specials(row->p, codes, at, row->end);
		else
			at += nibble_sum(codes) + (WORD_NIBBLES - CODE_VERBATIM) * ones(wide);
	}
	return at;
}

/* The place behind the payloads of the first n changes; SIZE_MAX: corrupt. */
static size_t
skip_payloads(const struct row *row, size_t n)
{
	bool some_wide;
	size_t sum;

	if (row->wide)
		return skip_wide(row, n);
	sum = sum_codes(row->p, row->codes, n, &some_wide);
	return some_wide ? SIZE_MAX : row->payloads + sum;
}

/* How many of the first n bits of the bitmap are set. */
static inline unsigned
count_bits(const struct row *row, size_t n)
{
	const uint8_t *p = row->p + row->bitmap / 2;
	uint64_t mask = UINT64_MAX << row->bitmap % 2 * 4, word;
	unsigned count = 0;

	n += row->bitmap % 2 * 4;
	for (; n >= 64; n -= 64, p += sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		count += ones(word & mask);
		mask = UINT64_MAX;
	}
	memcpy(&word, p, sizeof(word));
	return count + ones(word & mask & ((UINT64_C(1) << n) - 1));
}

/* Finds the number of changes and what follows the bitmap. */
static bool
open_bitmap(struct row *row, struct reader *r)
{
	size_t nibbles = bitmap_nibbles(row->len_before);
	unsigned pad;

	if (nibbles == 0 || nibbles > r->end - r->at)
		return false;
	row->change_count = count_bits(row, row->len_before);
	r->at += nibbles;
	/* A bit of no position would be taken for one. */
	pad = nibble_at(row->p, r->at - 1) >> (row->len_before - 1) % 4;
	return pad <= 1;
}

/* The gaps at a place before end, followed by what is no whole gap. */
static inline uint64_t
load_gaps(const uint8_t *p, size_t at, size_t end)
{
	uint64_t word = row_nibbles(p, at);

	return end - at < WORD_NIBBLES ? word | UINT64_MAX << 4 * (end - at) : word;
}

static bool
open_gaps(struct row *row, struct reader *r)
{
	uint64_t nibbles, from = 0;
	size_t end;

	if (!take_number(r, &nibbles) || nibbles > r->end - r->at)
		return false;
	row->bitmap = r->at;
	for (end = r->at + nibbles; r->at < end && from <= row->len_before;) {
		struct gaps gaps = sum_gaps(load_gaps(r->p, r->at, end));

		if (gaps.count == 0)
			return false;
		row->change_count += gaps.count;
		from += gaps.positions;
		r->at += gaps.nibbles;
	}
	return from <= row->len_before;
}

static bool
open_changes(struct row *row, struct reader *r)
{
	row->bitmap = r->at;
	if (!(row->sparse ? open_gaps(row, r) : open_bitmap(row, r)))
		return false;
	if (row->change_count == 0 || row->change_count > r->end - r->at)
		return false;
	row->codes = r->at;
	row->payloads = r->at + row->change_count;
	row->bitmap_next = row->bitmap;
	row->payload = row->payloads;
	r->at = skip_payloads(row, row->change_count);
	return r->at <= r->end;
}

int
row_open(struct row *row, const uint8_t *p, size_t bytes, uint32_t len_after)
{
	struct reader r = { .p = p, .end = bytes * 2 };
	uint64_t flags, births = 0;

	assert(bytes <= SIZE_MAX / 4);
	*row = (struct row){ .p = p, .end = r.end };
	if (!take(&r, 1, &flags) || !take_time(&r, &row->dod_ns))
		return -1;
	if ((flags & FLAG_BIRTHS) != 0 && (!take_number(&r, &births) || births > len_after))
		return -1;
	row->len_before = len_after - (uint32_t)births;
	row->wide = (flags & FLAG_WIDE) != 0;
	row->sparse = (flags & FLAG_SPARSE) != 0;
	if ((flags & FLAG_CHANGES) != 0) {
		if (!open_changes(row, &r))
			return -1;
	} else if (row->wide || row->sparse) {
		return -1;
	}
	row->bytes = r.at / 2 + r.at % 2;
	return 0;
}

/* Fills undo, but for the position, from the special payload at a place. */
static void
read_special(const uint8_t *p, size_t at, struct row_undo *undo)
{
	uint64_t word = row_nibbles(p, at);
	unsigned next = word >> 4 & 15;

	undo->form = ROW_NOTHING;
	undo->how = ROW_BORN;
	switch (word & 15) {
	case SPECIAL_WAKE:
		undo->how = ROW_WAKE;
		undo->form = next == CODE_VERBATIM ? ROW_VERBATIM : ROW_DIFFERENCE;
		undo->payload = low_nibbles(row_nibbles(p, at + 2), payload_len(next));
		break;
	case SPECIAL_DIST:
	case SPECIAL_DIST_WAKE:
		undo->how = (word & 15) == SPECIAL_DIST ? ROW_SET : ROW_WAKE;
		undo->form = ROW_BUCKETS;
		undo->p = p;
		undo->payload = at + 2 + next;
		undo->nibbles = (uint32_t)low_nibbles(word >> 8, next);
		break;
	}
}

/* Fills undo, but for the position, from the payload at a place. */
static void
read_payload(const uint8_t *p, unsigned code, size_t at, struct row_undo *undo)
{
	if (code == CODE_SPECIAL) {
		read_special(p, at, undo);
		return;
	}
	undo->how = code == CODE_FLIP ? ROW_FLIP : ROW_SET;
	undo->form = code == CODE_FLIP       ? ROW_NOTHING
	             : code == CODE_VERBATIM ? ROW_VERBATIM
	                                     : ROW_DIFFERENCE;
	undo->payload = low_nibbles(row_nibbles(p, at), payload_len(code));
}

struct row_undo
row_read_special(struct row *row, uint32_t at)
{
	struct row_undo undo = { .at = at };

	read_special(row->p, row->payload, &undo);
	row->payload += special_len(row->p, row->payload);
	return undo;
}

void
row_load_codes(struct row *row)
{
	row->code_bits = row_nibbles(row->p, row->codes + row->index);
}

/* A word of the bitmap that is not 0, or the gaps of up to 64 positions as such a word. */
void
row_load_bits(struct row *row)
{
	uint64_t from = row->from_next;
	size_t left = row->change_count - row->index;

	if (!row->sparse) {
		while (row->bits == 0) {
			row->bits = row_nibbles(row->p, row->bitmap_next);
			row->bitmap_next += WORD_NIBBLES;
			row->from = row->from_next;
			row->from_next += 64;
		}
		return;
	}
	for (; left > 0; left--) {
		struct gaps gap = first_gap(row_nibbles(row->p, row->bitmap_next));

		from += gap.positions;
		if (row->bits == 0)
			row->from = (uint32_t)from - 1;
		else if (from - 1 - row->from >= 64)
			break;
		row->bits |= UINT64_C(1) << (from - 1 - row->from);
		row->from_next = (uint32_t)from;
		row->bitmap_next += gap.nibbles;
	}
}

/* Which of the gaps in a word ends at position at, if they begin at 0; -1 if none. */
static int64_t
find_in_word(uint64_t word, uint64_t at)
{
	for (int64_t i = 0;; i++) {
		struct gaps gap = first_gap(word);

		if (gap.positions > at)
			return gap.positions - 1 == at ? i : -1;
		at -= gap.positions;
		word >>= 4 * gap.nibbles;
	}
}

/* Which change the position is in the gaps; -1 if in none. */
static int64_t
find_in_gaps(const struct row *row, uint32_t at)
{
	uint64_t from = 0;
	uint32_t i = 0;

	for (size_t place = row->bitmap; place < row->codes;) {
		uint64_t word = load_gaps(row->p, place, row->codes);
		struct gaps gaps = sum_gaps(word);

		if (from + gaps.positions > at) {
			int64_t found = find_in_word(word, at - from);

			return found < 0 ? -1 : i + found;
		}
		from += gaps.positions;
		place += gaps.nibbles;
		i += gaps.count;
	}
	return -1;
}

/* Which change the position is in the bitmap; -1 if in none. */
static int64_t
find_in_bitmap(const struct row *row, uint32_t at)
{
	unsigned nibble = nibble_at(row->p, row->bitmap + at / 4);

	return (nibble >> at % 4 & 1) != 0 ? (int64_t)count_bits(row, at) : -1;
}

bool
row_find(const struct row *row, uint32_t at, struct row_undo *undo)
{
	int64_t i;

	if (row->change_count == 0 || at >= row->len_before)
		return false;
	i = row->sparse ? find_in_gaps(row, at) : find_in_bitmap(row, at);
	if (i < 0)
		return false;
	undo->at = at;
	read_payload(
	    row->p, nibble_at(row->p, row->codes + (size_t)i), skip_payloads(row, (size_t)i), undo);
	return true;
}

/* How many nibbles the counts take of which n codes are at a place. */
static size_t
counts_nibbles(const uint8_t *p, size_t at, size_t n)
{
	size_t sum = n;

	for (size_t i = 0; i < n; i += WORD_NIBBLES) {
		uint64_t codes = row_nibbles(p, at + i);

		if (n - i < WORD_NIBBLES)
			codes = low_nibbles(codes, (unsigned)(n - i));
		/* 15 stands for 16. */
		sum += nibble_sum(codes) +
		       ones(codes & codes << 1 & codes << 2 & codes << 3 & NIBBLES_8);
	}
	return sum;
}

static void
undo_counts(const uint8_t *p, size_t codes_at, uint64_t *counts, size_t n)
{
	size_t at = codes_at + n;

	for (size_t i = 0; i < n; i += WORD_NIBBLES) {
		uint64_t codes = row_nibbles(p, codes_at + i);

		if (n - i < WORD_NIBBLES)
			codes = low_nibbles(codes, (unsigned)(n - i));
		while (codes != 0) {
			unsigned shift = (unsigned)__builtin_ctzll(codes) & ~3U;
			unsigned len = number_len(codes >> shift & 15);

			counts[i + shift / 4] -= unfold(low_nibbles(row_nibbles(p, at), len));
			codes &= ~(UINT64_C(15) << shift);
			at += len;
		}
	}
}

bool
row_dist_before(const struct row_undo *undo, struct row_dist *dist)
{
	struct reader r = { undo->p, undo->payload, undo->payload + undo->nibbles };
	struct row_undo sum;
	uint64_t len, rollovers, sum_code, sum_payload;

	if (undo->form != ROW_BUCKETS || !take_number(&r, &len) || len != dist->len ||
	    !take_number(&r, &rollovers) || !take(&r, 1, &sum_code) || sum_code == CODE_FLIP ||
	    sum_code == CODE_SPECIAL)
		return false;
	sum =
	    (struct row_undo){ .form = sum_code == CODE_VERBATIM ? ROW_VERBATIM : ROW_DIFFERENCE };
	if (!take(&r, payload_len((unsigned)sum_code), &sum_payload))
		return false;
	sum.payload = sum_payload;
	if (len > r.end - r.at || counts_nibbles(r.p, r.at, len) != r.end - r.at)
		return false;
	undo_counts(r.p, r.at, dist->counts, len);
	dist->rollovers -= unfold(rollovers);
	dist->sum = f64_of(row_before(&sum, ROW_F64, f64_bits(dist->sum)));
	return true;
}
