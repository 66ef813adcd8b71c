/*
 * store/row_bits_priv.h - what writing and reading of rows have in common: codes, folded
 * differences, decimals.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_STORE_ROW_BITS_PRIV_H
#define SCOTTY_STORE_ROW_BITS_PRIV_H

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "store/row_priv.h"

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

	QUIET_DIRECT = 64, /* from there on: more bytes */
	QUIET_BITS = 3,
	QUIET_LENGTHS = 4,

	SPECIAL_DIST = 0,
	SPECIAL_WAKE = 1,
	SPECIAL_BORN = 2,
	SPECIAL_DIST_WAKE = 3,

	ROW_DIST_NIBBLES = 8, /* of the number that says how many a distribution has, at most */

	SCHEME_BITS = 3,
	SCHEME_XOR = 7, /* less than it: decimal digits */

	WORD_NIBBLES = 16,
	NUMBER_NIBBLES = 1 + WORD_NIBBLES, /* at most */
	CHANGE_NIBBLES = 3 + WORD_NIBBLES, /* at most, code and all, but for a distribution */
};

#define NIBBLES_8 UINT64_C(0x8888888888888888)

/*
 * Rows are read and written by shifts of places found a moment before, for which processors of the
 * last ten years have better instructions. What reads or writes many is there twice, WITH_BMI2 and
 * without. ROW_PLAIN: a test wants the latter.
 */
#if defined(__x86_64__) && !defined(ROW_PLAIN)
#define WITH_BMI2 __attribute__((target("bmi,bmi2,popcnt,avx2")))
static inline bool
has_bmi2(void)
{
	/* The last two have it, but spread bits one by one. */
	return __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("avx2") &&
	       !__builtin_cpu_is("znver1") && !__builtin_cpu_is("znver2");
}
#else
#define WITH_BMI2
static inline bool
has_bmi2(void)
{
	return false;
}
#endif
#define ALWAYS_INLINE __attribute__((always_inline)) static inline

static const double ten_to[SCHEME_XOR] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6 };

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

static inline size_t
bitmap_nibbles(uint32_t len)
{
	return len / 4 + (len % 4 != 0);
}

/* How many nibbles follow the first one of a number. */
static inline unsigned
number_len(unsigned code)
{
	return code < 15 ? code : WORD_NIBBLES;
}

/* The difference of a code up to 13 at a place. */
ALWAYS_INLINE uint64_t
difference_at(const uint8_t *p, size_t at, unsigned code)
{
	uint64_t word;

	memcpy(&word, p + at / 2, sizeof(word));
	return word >> at % 2 * 4 & ((UINT64_C(1) << 4 * code) - 1);
}

/* Nibbles of a payload that is not special. */
static inline unsigned
payload_len(unsigned code)
{
	return code == CODE_VERBATIM ? WORD_NIBBLES : code;
}

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

/* See row_float_before. */
static inline uint64_t
float_before(uint64_t difference, enum row_class class, uint64_t after)
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

#endif
