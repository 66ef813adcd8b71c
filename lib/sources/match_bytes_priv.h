/*
 * sources/match_bytes_priv.h - what reading by a layout does most: comparing bytes and reading
 * digits, many at a time. What is compiled for AVX2 has ways of its own.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_SOURCES_MATCH_BYTES_PRIV_H
#define SCOTTY_SOURCES_MATCH_BYTES_PRIV_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* Digits that a uint64_t surely holds. */
#define SAFE_DIGITS 19

static const uint64_t powers_of_ten[SAFE_DIGITS + 1] = { 1, 10, 100, 1000, 10000, 100000, 1000000,
	10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
	100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
	1000000000000000000, UINT64_C(10000000000000000000) };

/*
 * Lengths differ from metric to metric, and a branch that is mispredicted costs as much as
 * comparing 200 bytes. So they are sorted into few classes, and within a class all do the same:
 * pieces of one length, which overlap.
 */

/* Sixteen bytes, which the compiler compares at once. */
typedef uint64_t half __attribute__((vector_size(16)));

static inline half
differ16(const char *a, const char *b)
{
	half x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

static inline bool
is_zero_half(half h)
{
	return (h[0] | h[1]) == 0;
}

#ifdef __AVX2__

typedef uint64_t wide __attribute__((vector_size(32)));

static inline wide
differ32(const char *a, const char *b)
{
	wide x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

static inline bool
is_zero(wide w)
{
	return _mm256_testz_si256((__m256i)w, (__m256i)w) != 0;
}

#else

typedef half wide;

static inline wide
differ32(const char *a, const char *b)
{
	return differ16(a, b) | differ16(a + 16, b + 16);
}

static inline bool
is_zero(wide w)
{
	return is_zero_half(w);
}

#endif

static inline wide
differ64(const char *a, const char *b)
{
	return differ32(a, b) | differ32(a + 32, b + 32);
}

static inline uint64_t
differ8(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

static inline uint32_t
differ4(const char *a, const char *b)
{
	uint32_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

/* n of at least 64. Pieces overlap, so some of the bytes are compared twice. */
static inline __attribute__((always_inline)) bool
same_many_bytes(const char *a, const char *b, size_t n)
{
	wide differ = { 0 };
	size_t last, third;

	for (; n > 256; a += 256, b += 256, n -= 256)
		differ |= differ64(a, b) | differ64(a + 64, b + 64) | differ64(a + 128, b + 128) |
		          differ64(a + 192, b + 192);
	if (n < 64) { /* the rest of many */
		a -= 64 - n;
		b -= 64 - n;
		n = 64;
	}
	last = n - 64;
	differ |= differ64(a, b) | differ64(a + last, b + last);
	if (n > 128) {
		third = last < 128 ? last : 128;
		differ |= differ64(a + 64, b + 64) | differ64(a + third, b + third);
	}
	return is_zero(differ);
}

static inline bool
same_32_to_96_bytes(const char *a, const char *b, size_t n)
{
	size_t middle = n < 64 ? n - 32 : 32, last = n - 32;

	return is_zero(
	    differ32(a, b) | differ32(a + middle, b + middle) | differ32(a + last, b + last));
}

/* As memcmp(a, b, n) == 0. */
static inline bool
same_bytes(const char *a, const char *b, size_t n)
{
	if (n >= 64)
		return same_many_bytes(a, b, n);
	if (n >= 32)
		return is_zero(differ32(a, b) | differ32(a + n - 32, b + n - 32));
	if (n >= 16)
		return is_zero_half(differ16(a, b) | differ16(a + n - 16, b + n - 16));
	if (n >= 8)
		return (differ8(a, b) | differ8(a + n - 8, b + n - 8)) == 0;
	while (n > 0 && a[n - 1] == b[n - 1])
		n--;
	return n == 0;
}

static inline bool
is_16_to_32(size_t n)
{
	return n >= 16 && n <= 32;
}

/* What differs of so many. */
static inline half
differ_16_to_32(const char *a, const char *b, size_t n)
{
	return differ16(a, b) | differ16(a + n - 16, b + n - 16);
}

/* Of each byte that is no digit the top bit, at least up to the first such; bytes less '0'. */
static inline uint64_t
other_than_digits(uint64_t text)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);

	/* What is below the first such byte carries nothing into it. */
	return (text | (text + ones * (0x80 - 10))) & ones * 0x80;
}

/* The value of eight digits less '0', the first in the lowest byte. */
static inline uint64_t
value_of_eight(uint64_t text)
{
	text = (text * 10 + (text >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
	text = (text * 100 + (text >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
	return (text * 10000 + (text >> 32)) & UINT64_C(0xFFFFFFFF);
}

/* Their value, and how many there are, of the sixteen bytes from low's lowest on; up to 16. */
static inline size_t
digits_of(uint64_t low, uint64_t high, uint64_t *value)
{
	const uint64_t zeros = UINT64_C(0x3030303030303030);
	unsigned __int128 digits;
	uint64_t other;
	size_t n;

	low = le64toh(low) ^ zeros;
	high = le64toh(high) ^ zeros;
	other = other_than_digits(low);
	n = other == 0 ? 8 : 0;
	other = other == 0 ? other_than_digits(high) : other;
	n += other == 0 ? 8 : (size_t)__builtin_ctzll(other) >> 3;
	if (n == 0) {
		*value = 0;
		return 0;
	}
	digits = (unsigned __int128)high << 64 | low;
	digits <<= 8 * (16 - n); /* zeros come before them then */
	*value =
	    value_of_eight((uint64_t)digits) * 100000000 + value_of_eight((uint64_t)(digits >> 64));
	return n;
}

/* As digits_of, of the sixteen bytes at p. */
static inline size_t
whole_sixteen(const char *p, uint64_t *value)
{
#ifdef __AVX2__
	/* From the n-th on: those that put n bytes behind 16 - n zeros. */
	static const int8_t places[32] = { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1,
		-1, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };
	__m128i text = _mm_loadu_si128((const __m128i *)(const void *)p), digits;
	uint64_t eights;
	size_t n;

	text = _mm_sub_epi8(text, _mm_set1_epi8('0'));
	digits = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(9)), text);
	n = (size_t)__builtin_ctz(~(unsigned)_mm_movemask_epi8(digits));
	text = _mm_shuffle_epi8(text, _mm_loadu_si128((const __m128i *)(const void *)(places + n)));
	text = _mm_maddubs_epi16(text, _mm_set1_epi16(1 << 8 | 10));
	text = _mm_madd_epi16(text, _mm_set1_epi32(1 << 16 | 100));
	text = _mm_packus_epi32(text, text);
	text = _mm_madd_epi16(text, _mm_set1_epi32(1 << 16 | 10000));
	eights = (uint64_t)_mm_cvtsi128_si64(text);
	*value = (eights & UINT32_MAX) * 100000000 + (eights >> 32);
	return n;
#else
	uint64_t low, high;

	memcpy(&low, p, sizeof(low));
	memcpy(&high, p + 8, sizeof(high));
	return digits_of(low, high, value);
#endif
}

/* The digits among the sixteen bytes at p, up to the first other byte, and their value. */
static inline size_t
sixteen_digits(const char *p, const char *end, uint64_t *value)
{
	uint64_t low = 0, high = 0;
	size_t there = (size_t)(end - p);

	if (there >= 16)
		return whole_sixteen(p, value);
	memcpy(&low, p, there < 8 ? there : 8);
	if (there > 8)
		memcpy(&high, p + 8, there - 8);
	return digits_of(low, high, value);
}

/* As read_digits, where there are more. */
static __attribute__((noinline)) size_t
read_many_digits(const char *p, const char *end, uint64_t *value)
{
	size_t n = sixteen_digits(p, end, value), k;
	uint64_t more;

	if (n < 16)
		return n;
	k = sixteen_digits(p + 16, end, &more);
	*value = *value * powers_of_ten[k] + more;
	return 16 + k;
}

/* How many digits stand at p, and their value. More than SAFE_DIGITS: the value is void. */
static inline size_t
read_digits(const char *p, const char *end, uint64_t *value)
{
	size_t n = end - p >= 16 ? whole_sixteen(p, value) : 16;

	return n < 16 ? n : read_many_digits(p, end, value);
}

/* How many digits stand of the eight bytes at p, and their value. 0: none, or eight. */
static inline size_t
up_to_seven_digits(const char *p, uint64_t *value)
{
	uint64_t text, other;
	size_t n;

	memcpy(&text, p, sizeof(text));
	text = le64toh(text) ^ UINT64_C(0x3030303030303030);
	other = other_than_digits(text);
	n = other == 0 ? 0 : (size_t)__builtin_ctzll(other) >> 3;
	if (n > 0)
		*value = value_of_eight(text << (64 - 8 * n)); /* zeros come before them then */
	return n;
}

/* As read_digits, for what seldom has eight of them. */
static inline size_t
read_few_digits(const char *p, const char *end, uint64_t *value)
{
	size_t n = end - p >= 8 ? up_to_seven_digits(p, value) : 0;

	return n > 0 ? n : read_many_digits(p, end, value);
}

#endif
