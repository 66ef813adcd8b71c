#include <assert.h>
#include <string.h>

#include "store/row_bits_priv.h"

/* The lowest n nibbles of v, n <= 16. */
static inline uint64_t
low_nibbles(uint64_t v, unsigned n)
{
	return n == 0 ? 0 : v & UINT64_MAX >> (64 - 4 * n);
}

/* Set bits of v. */
ALWAYS_INLINE unsigned
ones(uint64_t v)
{
	return (unsigned)__builtin_popcountll(v);
}

/* The sum of the 16 nibbles of v. */
ALWAYS_INLINE unsigned
nibble_sum(uint64_t v)
{
	const uint64_t low = UINT64_C(0x0f0f0f0f0f0f0f0f);

	return (unsigned)(((v & low) + (v >> 4 & low)) * UINT64_C(0x0101010101010101) >> 56);
}

/* Reading. Places are counted in nibbles, and may go beyond the end: it is looked at later. */

struct reader {
	const uint8_t *p;
	size_t at, end;
};

/* The next n <= 16 nibbles; false if there are fewer. */
ALWAYS_INLINE bool
take(struct reader *r, unsigned n, uint64_t *v)
{
	if (n > r->end - r->at)
		return false;
	*v = low_nibbles(row_nibbles(r->p, r->at), n);
	r->at += n;
	return true;
}

ALWAYS_INLINE bool
take_number(struct reader *r, uint64_t *v)
{
	uint64_t code;

	return take(r, 1, &code) && take(r, number_len((unsigned)code), v);
}

ALWAYS_INLINE bool
take_time(struct reader *r, struct row_late *late)
{
	size_t from = r->at;
	uint64_t v, unit = ROW_SAME;

	if (!take_number(r, &v))
		return false;
	if (v == 0 && r->at - from == 2) {
		if (!take(r, 1, &unit) || unit == ROW_SAME || unit > ROW_PATCH)
			return false;
		if (unit != ROW_PATCH && !take_number(r, &v))
			return false;
	}
	*late = (struct row_late){ (int64_t)unfold(v), (enum row_unit)unit };
	return true;
}

/* What follows the flags of a quiet row. */
ALWAYS_INLINE bool
take_quiet(struct reader *r, uint64_t flags, struct row_late *late)
{
	uint64_t n, q, folded;
	unsigned bytes;

	if (!take(r, 1, &n))
		return false;
	q = 16 * (flags / 4 - 1 + ((flags & FLAG_BIRTHS) != 0 ? 3 : 0)) + n;
	folded = q + 1;
	if (q >= QUIET_DIRECT) {
		q -= QUIET_DIRECT;
		bytes = (unsigned)(q >> QUIET_BITS) + 1;
		if (!take(r, 2 * bytes, &folded))
			return false;
		folded |= (q & ((1U << QUIET_BITS) - 1)) << 8 * bytes;
	}
	*late = (struct row_late){ (int64_t)unfold(folded), ROW_SAME };
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
ALWAYS_INLINE struct gaps
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
ALWAYS_INLINE size_t
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
		return next > ROW_DIST_NIBBLES ? 0 : 2 + next + low_nibbles(word >> 8, next);
	default:
		return 0;
	}
}

/*
 * The place behind the payloads at a place of which codes has the codes; SIZE_MAX: corrupt. wide,
 * special: the highest bit of each code that is 14 or 15; that is 15.
 */
ALWAYS_INLINE size_t
skip_specials(
    const uint8_t *p, uint64_t codes, uint64_t wide, uint64_t special, size_t at, size_t end)
{
	uint64_t all = special;

	codes &= ~((special >> 3) * 15);
	for (; special != 0; special &= special - 1) {
		uint64_t before = (UINT64_C(1) << __builtin_ctzll(special) / 4 * 4) - 1;
		size_t place = at + nibble_sum(codes & before) +
		               (WORD_NIBBLES - CODE_VERBATIM) * ones(wide & ~all & before);
		size_t len;

		if (place > end)
			return SIZE_MAX;
		len = special_len(p, place);
		if (len == 0)
			return SIZE_MAX;
		at += len;
	}
	return at + nibble_sum(codes) + (WORD_NIBBLES - CODE_VERBATIM) * ones(wide & ~all);
}

/* The sum of n nibbles. some_wide: one is 14 or 15. */
ALWAYS_INLINE size_t
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
ALWAYS_INLINE size_t
skip_wide(const struct row *row, size_t n)
{
	size_t at = row->payloads;

	for (size_t i = 0; i < n && at != SIZE_MAX; i += WORD_NIBBLES) {
		uint64_t codes = row_nibbles(row->p, row->codes + i), wide, special;

		if (n - i < WORD_NIBBLES)
			codes = low_nibbles(codes, (unsigned)(n - i));
		wide = codes & codes << 1 & codes << 2 & NIBBLES_8;
		special = wide & codes << 3;
		if (special != 0)
			at = skip_specials(row->p, codes, wide, special, at, row->end);
		else
			at += nibble_sum(codes) + (WORD_NIBBLES - CODE_VERBATIM) * ones(wide);
	}
	return at;
}

/* The place behind the payloads of the first n changes; SIZE_MAX: corrupt. */
ALWAYS_INLINE size_t
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
ALWAYS_INLINE unsigned
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
ALWAYS_INLINE bool
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

ALWAYS_INLINE bool
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

ALWAYS_INLINE bool
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
	return true;
}

ALWAYS_INLINE int
begin_row(struct row *row, const uint8_t *p, size_t bytes, uint32_t len_after)
{
	struct reader r = { .p = p, .end = bytes * 2 };
	uint64_t flags, births = 0;

	assert(bytes <= SIZE_MAX / 4);
	*row = (struct row){ .p = p, .end = r.end };
	if (!take(&r, 1, &flags))
		return -1;
	if (flags > FLAG_BIRTHS && (flags & FLAG_CHANGES) == 0) {
		row->len_before = len_after;
		if (!take_quiet(&r, flags, &row->late))
			return -1;
		row->bytes = r.at / 2;
		return 0;
	}
	if (!take_time(&r, &row->late))
		return -1;
	if ((flags & FLAG_BIRTHS) != 0 && (!take_number(&r, &births) || births > len_after))
		return -1;
	row->len_before = len_after - (uint32_t)births;
	row->wide = (flags & FLAG_WIDE) != 0;
	row->sparse = (flags & FLAG_SPARSE) != 0;
	if ((flags & FLAG_CHANGES) != 0)
		return open_changes(row, &r) ? 0 : -1;
	row->bytes = r.at / 2 + r.at % 2;
	return 0;
}

WITH_BMI2 static int
begin_row_bmi2(struct row *row, const uint8_t *p, size_t bytes, uint32_t len_after)
{
	return begin_row(row, p, bytes, len_after);
}

int
row_begin(struct row *row, const uint8_t *p, size_t bytes, uint32_t len_after)
{
	return has_bmi2() ? begin_row_bmi2(row, p, bytes, len_after)
	                  : begin_row(row, p, bytes, len_after);
}

ALWAYS_INLINE int
end_row(struct row *row)
{
	size_t at;

	if (row->bytes > 0)
		return 0;
	at = skip_payloads(row, row->change_count);
	if (at > row->end)
		return -1;
	row->bytes = at / 2 + at % 2;
	return 0;
}

WITH_BMI2 static int
end_row_bmi2(struct row *row)
{
	return end_row(row);
}

int
row_end(struct row *row)
{
	return has_bmi2() ? end_row_bmi2(row) : end_row(row);
}

int
row_open(struct row *row, const uint8_t *p, size_t bytes, uint32_t len_after)
{
	return row_begin(row, p, bytes, len_after) == 0 ? row_end(row) : -1;
}

/* Fills undo, but for the position, from the special payload at a place. */
ALWAYS_INLINE void
read_special(const uint8_t *p, size_t at, struct row_undo *undo)
{
	uint64_t word = row_nibbles(p, at);
	unsigned next = word >> 4 & 15;

	if ((word & 15) == SPECIAL_DIST || (word & 15) == SPECIAL_DIST_WAKE) {
		undo->how = (word & 15) == SPECIAL_DIST ? ROW_SET : ROW_WAKE;
		undo->form = ROW_BUCKETS;
		undo->p = p;
		undo->payload = at + 2 + next;
		undo->nibbles = (uint32_t)low_nibbles(word >> 8, next);
	} else if ((word & 15) == SPECIAL_WAKE) {
		undo->how = ROW_WAKE;
		undo->form = next == CODE_VERBATIM ? ROW_VERBATIM : ROW_DIFFERENCE;
		undo->payload = low_nibbles(row_nibbles(p, at + 2), payload_len(next));
	} else {
		undo->how = ROW_BORN;
		undo->form = ROW_NOTHING;
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

bool
row_undo_at(const uint8_t *p, unsigned code, size_t *place, struct row_undo *undo)
{
	size_t len = code == CODE_SPECIAL ? special_len(p, *place) : payload_len(code);

	*undo = (struct row_undo){ .at = 0 };
	read_payload(p, code, *place, undo);
	*place += len;
	return code != CODE_SPECIAL || len > 0;
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

uint64_t
row_float_before(uint64_t difference, enum row_class class, uint64_t after)
{
	return float_before(difference, class, after);
}

/* How many nibbles follow those codes of counts. */
ALWAYS_INLINE size_t
counts_nibbles(uint64_t codes)
{
	/* 15 stands for 16. */
	return nibble_sum(codes) + ones(codes & codes << 1 & codes << 2 & codes << 3 & NIBBLES_8);
}

/*
 * Counts whose differences have these codes, n up to 16. Returns the place behind; SIZE_MAX: that
 * is beyond the end.
 */
__attribute__((noinline)) static size_t
undo_16_counts(const uint8_t *p, uint64_t codes, size_t at, size_t end, const uint64_t *after,
    uint64_t *before, size_t n)
{
	if (at > end || counts_nibbles(codes) > end - at)
		return SIZE_MAX;
	for (size_t i = 0; i < n; i++, codes >>= 4) {
		unsigned code = codes & 15, len = number_len(code);

		if (code <= DIFFERENCE_MAX)
			before[i] = after[i] - unfold(difference_at(p, at, code));
		else
			before[i] = after[i] - unfold(low_nibbles(row_nibbles(p, at), len));
		at += len;
	}
	return at;
}

/* False: they do not end where they are to. */
static bool
undo_counts(const uint8_t *p, size_t codes_at, size_t end, const uint64_t *after, uint64_t *before,
    size_t len)
{
	size_t at = codes_at + len;

	for (size_t i = 0; i < len; i += WORD_NIBBLES) {
		size_t n = len - i < WORD_NIBBLES ? len - i : WORD_NIBBLES;
		uint64_t codes = low_nibbles(row_nibbles(p, codes_at + i), (unsigned)n);

		at = undo_16_counts(p, codes, at, end, after + i, before + i, n);
	}
	return at == end;
}

static uint64_t
sum_of(const uint64_t *counts, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += counts[i];
	return sum;
}

#if defined(__x86_64__) && !defined(ROW_PLAIN)
#define BYTES_1   UINT64_C(0x0101010101010101)
#define NIBBLES_1 UINT64_C(0x1111111111111111)

WITH_BMI2 static inline __m256i
load_4(const uint64_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Takes differences, which are folded bytes, from n counts, n up to 16. */
WITH_BMI2 static inline void
subtract_bytes(__m128i folded, const uint64_t *after, uint64_t *before, size_t n)
{
	__m128i bytes = _mm_xor_si128(_mm_and_si128(_mm_srli_epi16(folded, 1), _mm_set1_epi8(0x7f)),
	    _mm_sub_epi8(_mm_setzero_si128(), _mm_and_si128(folded, _mm_set1_epi8(1))));

	for (; n >= 4; n -= 4, after += 4, before += 4) {
		_mm256_storeu_si256((__m256i *)(void *)before,
		    _mm256_sub_epi64(load_4(after), _mm256_cvtepi8_epi64(bytes)));
		bytes = _mm_srli_si128(bytes, 4);
	}
	for (; n > 0; n--, bytes = _mm_srli_si128(bytes, 1))
		*before++ = *after++ - (uint64_t)(int64_t)(int8_t)_mm_cvtsi128_si32(bytes);
}

/* Up to 16 differences of a nibble at most, as most are. Returns the place behind. */
WITH_BMI2 static inline size_t
undo_nibbles(
    const uint8_t *p, uint64_t codes, size_t at, const uint64_t *after, uint64_t *before, size_t n)
{
	uint64_t folded = _pdep_u64(row_nibbles(p, at), codes * 15);

	subtract_bytes(_mm_set_epi64x((int64_t)_pdep_u64(folded >> 32, BYTES_1 * 15),
	                   (int64_t)_pdep_u64(folded, BYTES_1 * 15)),
	    after, before, n);
	return at + ones(codes);
}

/* Eight differences of two nibbles at most, as bytes. The place moves behind them. */
WITH_BMI2 static inline int64_t
spread_8(const uint8_t *p, uint32_t codes, size_t *at)
{
	uint64_t lens = _pdep_u64(codes, BYTES_1 * 15), twos = lens >> 1 & BYTES_1;
	uint64_t mask = ((lens & BYTES_1) | twos) * 15 | twos * 0xf0;
	uint64_t folded = _pdep_u64(row_nibbles(p, *at), mask);

	*at += ones(mask) / 4;
	return (int64_t)folded;
}

/* Up to 16 of those. */
WITH_BMI2 static inline size_t
undo_bytes(
    const uint8_t *p, uint64_t codes, size_t at, const uint64_t *after, uint64_t *before, size_t n)
{
	int64_t low = spread_8(p, (uint32_t)codes, &at);
	int64_t high = spread_8(p, (uint32_t)(codes >> 32), &at);

	subtract_bytes(_mm_set_epi64x(high, low), after, before, n);
	return at;
}

/* Are they all at most 2? */
static inline bool
are_short(uint64_t codes)
{
	return ((codes >> 2 | codes >> 3 | (codes & codes >> 1)) & NIBBLES_1) == 0;
}

WITH_BMI2 static bool
undo_counts_bmi2(const uint8_t *p, size_t codes_at, size_t end, const uint64_t *after,
    uint64_t *before, size_t len)
{
	size_t at = codes_at + len;

	for (; len > 0; codes_at += WORD_NIBBLES, after += WORD_NIBBLES, before += WORD_NIBBLES) {
		size_t n = len < WORD_NIBBLES ? len : WORD_NIBBLES;
		uint64_t codes = low_nibbles(row_nibbles(p, codes_at), (unsigned)n);

		if (at <= end && (codes & ~NIBBLES_1) == 0)
			at = undo_nibbles(p, codes, at, after, before, n);
		else if (at <= end && are_short(codes))
			at = undo_bytes(p, codes, at, after, before, n);
		else
			at = undo_16_counts(p, codes, at, end, after, before, n);
		len -= n;
	}
	return at == end;
}

WITH_BMI2 static uint64_t
sum_of_bmi2(const uint64_t *counts, size_t len)
{
	__m256i sums = _mm256_setzero_si256();
	size_t i = 0;

	for (; i + 4 <= len; i += 4)
		sums = _mm256_add_epi64(sums, load_4(&counts[i]));
	return (uint64_t)_mm256_extract_epi64(sums, 0) + (uint64_t)_mm256_extract_epi64(sums, 1) +
	       (uint64_t)_mm256_extract_epi64(sums, 2) + (uint64_t)_mm256_extract_epi64(sums, 3) +
	       sum_of(counts + i, len - i);
}
#else
#define undo_counts_bmi2 undo_counts
#define sum_of_bmi2      sum_of
#endif

/* Two numbers and a code. */
ALWAYS_INLINE bool
take_dist_head(struct reader *r, uint64_t *len, uint64_t *rollovers, uint64_t *sum_code)
{
	uint64_t word = row_nibbles(r->p, r->at);
	unsigned len_code = word & 15, rollovers_code = word >> 4 * (1 + len_code % 8) & 15;

	/* All in one word, as is usual. */
	if (len_code <= 4 && rollovers_code <= 4 && r->end - r->at >= WORD_NIBBLES) {
		*len = low_nibbles(word >> 4, len_code);
		word >>= 4 * (2 + len_code);
		*rollovers = low_nibbles(word, rollovers_code);
		*sum_code = word >> 4 * rollovers_code & 15;
		r->at += 3 + len_code + rollovers_code;
		return true;
	}
	return take_number(r, len) && take_number(r, rollovers) && take(r, 1, sum_code);
}

ALWAYS_INLINE double
sum_before(uint64_t code, uint64_t payload, double after)
{
	if (code == CODE_VERBATIM)
		return f64_of(payload);
	return f64_of(float_before(payload, ROW_F64, f64_bits(after)));
}

ALWAYS_INLINE bool
dist_before(const struct row_undo *undo, const struct row_dist *after, struct row_dist *before,
    uint64_t *count, bool bmi2)
{
	struct reader r = { undo->p, undo->payload, undo->payload + undo->nibbles };
	uint64_t len, rollovers, sum_code, sum_payload;

	if (undo->form != ROW_BUCKETS || !take_dist_head(&r, &len, &rollovers, &sum_code) ||
	    len != after->len || sum_code == CODE_FLIP || sum_code == CODE_SPECIAL)
		return false;
	if (!take(&r, payload_len((unsigned)sum_code), &sum_payload))
		return false;
	if (len > r.end - r.at)
		return false;
	before->len = len;
	before->rollovers = after->rollovers - unfold(rollovers);
	before->sum = sum_before(sum_code, sum_payload, after->sum);
	if (!(bmi2 ? undo_counts_bmi2 : undo_counts)(
	        r.p, r.at, r.end, after->counts, before->counts, len))
		return false;
	if (count != NULL)
		*count = (bmi2 ? sum_of_bmi2 : sum_of)(before->counts, len);
	return true;
}

WITH_BMI2 static bool
dist_before_bmi2(const struct row_undo *undo, const struct row_dist *after, struct row_dist *before,
    uint64_t *count)
{
	return dist_before(undo, after, before, count, true);
}

bool
row_dist_before(const struct row_undo *undo, const struct row_dist *after, struct row_dist *before,
    uint64_t *count)
{
	return has_bmi2() ? dist_before_bmi2(undo, after, before, count)
	                  : dist_before(undo, after, before, count, false);
}
