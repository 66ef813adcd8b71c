#include "messages/number.h"

#include <assert.h>
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* One rounding per operation, which the quick ways below rely on. */
_Static_assert(FLT_EVAL_METHOD == 0, "doubles must be computed as doubles");

static unsigned
digit_count(uint64_t value)
{
	static const uint64_t pow10[] = { 1, 10, 100, 1000, 10000, 100000, 1000000, 10000000,
		100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
		100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
		1000000000000000000, UINT64_C(10000000000000000000) };
	unsigned bits = 64 - (unsigned)__builtin_clzll(value | 1);
	unsigned least = bits * 1233 >> 12; /* floor(log10(2) * bits) */

	return least == 0 ? 1 : least + (value >= pow10[least]);
}

#define TEN_TO_8 100000000

_Static_assert(
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits lie in words, the first one lowest");

/* The byte c in each of eight. */
#define EIGHT(c) ((uint64_t)(c)*UINT64_C(0x0101010101010101))

/*
 * The digits of a number below 10^8, one a byte, in the order they have in memory. It is halved
 * three times, the halves side by side, by multiplications whose upper bits are the quotient:
 * m / 2^n is so near to 1 / 10^k that it is right for all numbers that may come.
 */
static inline uint64_t
eight_digits(uint32_t value)
{
	uint64_t fours = value / 10000 | (uint64_t)(value % 10000) << 32;
	uint64_t hundreds = fours * 10486 >> 20 & UINT64_C(0x0000007F0000007F);
	uint64_t pairs = hundreds | (fours - hundreds * 100) << 16;
	uint64_t tens = pairs * 103 >> 10 & UINT64_C(0x000F000F000F000F);

	return tens | (pairs - tens * 10) << 8;
}

static inline void
put_digits(char *out, uint64_t digits)
{
	digits |= EIGHT('0');
	memcpy(out, &digits, sizeof(digits));
}

static inline void
put_eight(char *out, uint32_t value)
{
	put_digits(out, eight_digits(value));
}

/* A number below 1000 and a comma, and in the top byte the length of both. */
#define SMALL_BYTE(c, at)  ((uint64_t)(c) << 8 * (at))
#define SMALL_TAIL(len)    (SMALL_BYTE(',', (len)-1) | SMALL_BYTE(len, 7))
#define SMALL_DIGIT(n, at) SMALL_BYTE('0' + (n) % 10, at)
#define SMALL(n)                                                                                   \
	((n) < 10       ? SMALL_DIGIT(n, 0) | SMALL_TAIL(2)                                        \
	    : (n) < 100 ? SMALL_DIGIT((n) / 10, 0) | SMALL_DIGIT(n, 1) | SMALL_TAIL(3)             \
	                : SMALL_DIGIT((n) / 100, 0) | SMALL_DIGIT((n) / 10, 1) |                   \
	                      SMALL_DIGIT(n, 2) | SMALL_TAIL(4))
#define SMALL_10(n)                                                                                \
	SMALL(n), SMALL(n + 1), SMALL(n + 2), SMALL(n + 3), SMALL(n + 4), SMALL(n + 5),            \
	    SMALL(n + 6), SMALL(n + 7), SMALL(n + 8), SMALL(n + 9)
#define SMALL_100(n)                                                                               \
	SMALL_10(n), SMALL_10(n + 10), SMALL_10(n + 20), SMALL_10(n + 30), SMALL_10(n + 40),       \
	    SMALL_10(n + 50), SMALL_10(n + 60), SMALL_10(n + 70), SMALL_10(n + 80),                \
	    SMALL_10(n + 90)

static const uint64_t small_texts[1000] = { SMALL_100(0), SMALL_100(100), SMALL_100(200),
	SMALL_100(300), SMALL_100(400), SMALL_100(500), SMALL_100(600), SMALL_100(700),
	SMALL_100(800), SMALL_100(900) };

/* Without leading zeros; value is below 10^8. Writes eight bytes. */
static inline size_t
put_few(char *out, uint32_t value)
{
	uint64_t digits;
	unsigned zeros;

	if (value < ARRAY_LEN(small_texts)) {
		memcpy(out, &small_texts[value], sizeof(small_texts[0]));
		return (small_texts[value] >> 56) - 1;
	}
	digits = eight_digits(value);
	zeros = (unsigned)__builtin_ctzll(digits) / 8;
	digits = (digits | EIGHT('0')) >> 8 * zeros;
	memcpy(out, &digits, sizeof(digits));
	return 8 - zeros;
}

static inline size_t
put_u64(char *out, uint64_t value)
{
	uint64_t upper = value / TEN_TO_8;
	size_t n;

	if (upper == 0)
		return put_few(out, (uint32_t)value);
	if (upper < TEN_TO_8) {
		n = put_few(out, (uint32_t)upper);
	} else {
		n = put_few(out, (uint32_t)(upper / TEN_TO_8));
		put_eight(out + n, (uint32_t)(upper % TEN_TO_8));
		n += 8;
	}
	put_eight(out + n, (uint32_t)(value % TEN_TO_8));
	return n + 8;
}

size_t
number_u64(char *out, uint64_t value)
{
	return put_u64(out, value);
}

size_t
number_u64_list(char *out, const uint64_t *values, size_t n)
{
	char *p = out;

	for (size_t i = 0; i < n; i++) {
		if (values[i] < ARRAY_LEN(small_texts)) {
			memcpy(p, &small_texts[values[i]], sizeof(small_texts[0]));
			p += small_texts[values[i]] >> 56;
		} else {
			p += put_u64(p, values[i]);
			*p++ = ',';
		}
	}
	return n == 0 ? 0 : (size_t)(p - out) - 1;
}

size_t
number_i64(char *out, int64_t value)
{
	if (value >= 0)
		return number_u64(out, (uint64_t)value);
	out[0] = '-';
	return 1 + number_u64(out + 1, -(uint64_t)value);
}

/*
 * Powers of ten to 128 bits, normalised (top bit set). 617 of them are needed; each is the product
 * of one of 24 powers of 10^27 and one of 5^0..5^26. 192 bits of the former, cut, are enough to get
 * all 617 right to the last bit.
 */
#define POW10_MIN (-292)
#define POW10_MAX 324

static const uint64_t pow10_coarse[][3] = {
	{ UINT64_C(0xA76C582338ED2621), UINT64_C(0xAF2AF2B80AF6F24E),
	    UINT64_C(0x657C8F4D43323A36) }, /* 10^-297 */
	{ UINT64_C(0x873E4F75E2224E68), UINT64_C(0x5A7744A6E804A291),
	    UINT64_C(0xCC35EDDFCF0996D7) }, /* 10^-270 */
	{ UINT64_C(0xDA7F5BF590966848), UINT64_C(0xAF39A475506A899E),
	    UINT64_C(0xA30294CC2934E662) }, /* 10^-243 */
	{ UINT64_C(0xB080392CC4349DEC), UINT64_C(0xBD8D794D96AACFB3),
	    UINT64_C(0xFE13A5C86AF64418) }, /* 10^-216 */
	{ UINT64_C(0x8E938662882AF53E), UINT64_C(0x547EB47B7282EE9C),
	    UINT64_C(0x41B0230E1421487D) }, /* 10^-189 */
	{ UINT64_C(0xE65829B3046B0AFA), UINT64_C(0x0CB4A5A3112A5112),
	    UINT64_C(0xA3B561B1CB208396) }, /* 10^-162 */
	{ UINT64_C(0xBA121A4650E4DDEB), UINT64_C(0x92F34D62616CE413),
	    UINT64_C(0x21A0183E10583CD3) }, /* 10^-135 */
	{ UINT64_C(0x964E858C91BA2655), UINT64_C(0x3A6A07F8D510F86F),
	    UINT64_C(0xE9082F25E9C5E9EC) }, /* 10^-108 */
	{ UINT64_C(0xF2D56790AB41C2A2), UINT64_C(0xFAE27299423FB9C3),
	    UINT64_C(0x3695DAD7E8858901) }, /* 10^-81 */
	{ UINT64_C(0xC428D05AA4751E4C), UINT64_C(0xAA97E14C3C26B886),
	    UINT64_C(0x96842DC95323F5A8) }, /* 10^-54 */
	{ UINT64_C(0x9E74D1B791E07E48), UINT64_C(0x775EA264CF55347D),
	    UINT64_C(0xCA49F1C05120C9C7) }, /* 10^-27 */
	{ UINT64_C(0x8000000000000000), UINT64_C(0x0000000000000000),
	    UINT64_C(0x0000000000000000) }, /* 10^0 */
	{ UINT64_C(0xCECB8F27F4200F3A), UINT64_C(0x0000000000000000),
	    UINT64_C(0x0000000000000000) }, /* 10^27 */
	{ UINT64_C(0xA70C3C40A64E6C51), UINT64_C(0x999090B65F67D924),
	    UINT64_C(0x0000000000000000) }, /* 10^54 */
	{ UINT64_C(0x86F0AC99B4E8DAFD), UINT64_C(0x69A028BB3DED71A3),
	    UINT64_C(0xDF9F915627C04E28) }, /* 10^81 */
	{ UINT64_C(0xDA01EE641A708DE9), UINT64_C(0xE80E6F4820CC9495),
	    UINT64_C(0xD74BAAD03BC1D8D3) }, /* 10^108 */
	{ UINT64_C(0xB01AE745B101E9E4), UINT64_C(0x5EC05DCFF72E7F8F),
	    UINT64_C(0xC04C79FFE324301F) }, /* 10^135 */
	{ UINT64_C(0x8E41ADE9FBEBC27D), UINT64_C(0x14588F13BE847307),
	    UINT64_C(0x23BD6A2059C002F5) }, /* 10^162 */
	{ UINT64_C(0xE5D3EF282A242E81), UINT64_C(0x8F1668C8A86DA5FA),
	    UINT64_C(0xF0B5CCF5176ECC7C) }, /* 10^189 */
	{ UINT64_C(0xB9A74A0637CE2EE1), UINT64_C(0x6D953E2BD7173692),
	    UINT64_C(0x88EFB0037AC08BDE) }, /* 10^216 */
	{ UINT64_C(0x95F83D0A1FB69CD9), UINT64_C(0x4ABDAF101564F98E),
	    UINT64_C(0x0D5A4AF7B3A98E47) }, /* 10^243 */
	{ UINT64_C(0xF24A01A73CF2DCCF), UINT64_C(0xBC633B39673C8CEC),
	    UINT64_C(0x3D9C44CD2F36917C) }, /* 10^270 */
	{ UINT64_C(0xC3B8358109E84F07), UINT64_C(0x0A862F80EC4700C8),
	    UINT64_C(0x02606EA01029DC37) }, /* 10^297 */
	{ UINT64_C(0x9E19DB92B4E31BA9), UINT64_C(0x6C07A2C26A8346D1),
	    UINT64_C(0x4944D9F52CD0DEC2) }, /* 10^324 */
};

/* 5^n, shifted up to set the top bit. */
static const uint64_t pow5_fine[] = { UINT64_C(0x8000000000000000), UINT64_C(0xA000000000000000),
	UINT64_C(0xC800000000000000), UINT64_C(0xFA00000000000000), UINT64_C(0x9C40000000000000),
	UINT64_C(0xC350000000000000), UINT64_C(0xF424000000000000), UINT64_C(0x9896800000000000),
	UINT64_C(0xBEBC200000000000), UINT64_C(0xEE6B280000000000), UINT64_C(0x9502F90000000000),
	UINT64_C(0xBA43B74000000000), UINT64_C(0xE8D4A51000000000), UINT64_C(0x9184E72A00000000),
	UINT64_C(0xB5E620F480000000), UINT64_C(0xE35FA931A0000000), UINT64_C(0x8E1BC9BF04000000),
	UINT64_C(0xB1A2BC2EC5000000), UINT64_C(0xDE0B6B3A76400000), UINT64_C(0x8AC7230489E80000),
	UINT64_C(0xAD78EBC5AC620000), UINT64_C(0xD8D726B7177A8000), UINT64_C(0x878678326EAC9000),
	UINT64_C(0xA968163F0A57B400), UINT64_C(0xD3C21BCECCEDA100), UINT64_C(0x84595161401484A0),
	UINT64_C(0xA56FA5B99019A5C8) };

struct u128 {
	uint64_t hi, lo;
};

static struct u128
mul64(uint64_t a, uint64_t b)
{
	unsigned __int128 product = (unsigned __int128)a * b;

	return (struct u128){ (uint64_t)(product >> 64), (uint64_t)product };
}

/* 10^n = result * 2^(floor(log2(10^n)) - 127), rounded up where it is not exact. */
static struct u128
pow10_128(int n)
{
	unsigned coarse = (unsigned)(n + 297) / 27;
	const uint64_t *c = pow10_coarse[coarse];
	uint64_t f = pow5_fine[(unsigned)(n + 297) % 27], below;
	struct u128 low = mul64(c[2], f), mid = mul64(c[1], f), g = mul64(c[0], f);
	bool carry;

	assert(n >= POW10_MIN && n <= POW10_MAX);
	mid.hi += __builtin_add_overflow(mid.lo, low.hi, &mid.lo);
	g.hi += __builtin_add_overflow(g.lo, mid.hi, &g.lo);
	below = low.lo | mid.lo;
	if (g.hi >> 63 == 0) {
		g.hi = g.hi << 1 | g.lo >> 63;
		g.lo = g.lo << 1 | mid.lo >> 63;
		below = low.lo | mid.lo << 1;
	}
	carry = __builtin_add_overflow(g.lo, (uint64_t)(below != 0), &g.lo);
	g.hi += carry;
	return g;
}

/* floor(log2(10^n)), for |n| <= 1233. */
static int
log2_pow10(int n)
{
	return (n * 1741647) >> 19;
}

/* A decimal number, digits * 10^exp. */
struct decimal {
	uint64_t digits;
	int exp;
};

/* A binary number, c * 2^q; the gap below is half that above at powers of two. */
struct binary {
	uint64_t c;
	int q;
	bool closer_below;
};

/* The top 64 bits of g * c; the last one is also set if any bit below is. */
static uint64_t
mul_to_odd(struct u128 g, uint64_t c)
{
	struct u128 low = mul64(g.lo, c), high = mul64(g.hi, c);

	high.hi += __builtin_add_overflow(high.lo, low.hi, &high.lo);
	return high.hi | (high.lo > 1);
}

/*
 * The shortest decimal that reads back as b, the closest to b of those. Raffaello Giulietti, "The
 * Schubfach way to render doubles" (2020): scaled by 10^-k, the interval that rounds to b holds
 * at most one multiple of ten and at least one integer. All below is in quarters.
 */
static struct decimal
shortest(struct binary b)
{
	/* floor(log10(2^q)), or of 3/4 of it, as the interval is that much smaller. */
	int k = (b.q * 1262611 - (b.closer_below ? 524031 : 0)) >> 22;
	int shift = b.q + log2_pow10(-k) + 1;
	struct u128 g = pow10_128(-k);
	bool odd = (b.c & 1) != 0; /* then the interval's ends round elsewhere */
	uint64_t lower = mul_to_odd(g, (4 * b.c - 2 + b.closer_below) << shift) + odd;
	uint64_t value = mul_to_odd(g, 4 * b.c << shift);
	uint64_t upper = mul_to_odd(g, (4 * b.c + 2) << shift) - odd;
	uint64_t s = value / 4, tens = s / 10;
	bool down_in, up_in;

	down_in = lower <= 40 * tens;
	up_in = 40 * tens + 40 <= upper;
	if (s >= 10 && down_in != up_in)
		return (struct decimal){ tens + up_in, k + 1 };
	down_in = lower <= 4 * s;
	up_in = 4 * s + 4 <= upper;
	if (down_in == up_in)
		up_in = value > 4 * s + 2 || (value == 4 * s + 2 && (s & 1) != 0);
	return (struct decimal){ s + up_in, k };
}

/* The same number; d.digits != 0 */
static struct decimal
without_zeros(struct decimal d)
{
	while (d.digits % 10000 == 0) {
		d.digits /= 10000;
		d.exp += 4;
	}
	while (d.digits % 10 == 0) {
		d.digits /= 10;
		d.exp++;
	}
	return d;
}

/* b.c != 0 */
static struct decimal
to_decimal(struct binary b)
{
	struct decimal d = { .exp = 0 };

	if (b.q <= 0 && b.q > -53 && (b.c & ((UINT64_C(1) << -b.q) - 1)) == 0)
		d.digits = b.c >> -b.q; /* a whole number below 2^53: shortest as it is */
	else
		d = shortest(b);
	return without_zeros(d);
}

/*
 * Numbers with few digits after the point, which most are that a program has rounded or a person
 * would read: true if magnitude is the double next to a whole number of millionths, of 14 digits at
 * most. No two such decimals read as one double (DBL_DIG), so no shorter one does. The division,
 * of two whole numbers, is rounded once, so it gives the double that the decimal reads as.
 */
static inline bool
to_millionths(double magnitude, uint64_t *out)
{
	double millionths = magnitude * 1e6;
	int64_t digits;

	if (!(millionths >= 1 && millionths < 1e14 - 1))
		return false;
	digits = (int64_t)(millionths + 0.5);
	*out = (uint64_t)digits;
	return (double)digits / 1e6 == magnitude;
}

/* As they are, with a point; they are no whole number. */
static inline size_t
put_millionths(char *out, uint64_t millionths)
{
	size_t len = put_few(out, (uint32_t)(millionths / 1000000));
	uint64_t digits = eight_digits((uint32_t)(millionths % 1000000) * 100);

	out[len] = '.';
	put_digits(out + len + 1, digits);
	return len + 9 - (unsigned)__builtin_clzll(digits) / 8;
}

/* When a number is written with an exponent: when that is below low or from high on. */
struct form {
	int low, high;
	unsigned exp_digits; /* at least */
};

static const struct form json_form = { .low = -6, .high = 21, .exp_digits = 1 };
static const struct form g_form = { .low = -4, .high = 6, .exp_digits = 2 };

static size_t
put_exponent(char *out, int exp, unsigned least)
{
	unsigned magnitude = (unsigned)abs(exp);
	size_t len = 0;

	out[len++] = 'e';
	out[len++] = exp < 0 ? '-' : '+';
	if (least > 1 && magnitude < 10)
		out[len++] = '0';
	return len + number_u64(out + len, magnitude);
}

#define DIGITS_MOST 17 /* that a float's shortest text can have */

/* The digits of d with a point behind the first `whole` of them, if any follow. */
static size_t
put_with_point(char *out, uint64_t value, size_t whole)
{
	char digits[2 * DIGITS_MOST + 8];
	size_t n = number_u64(digits, value);

	/* Lengths known when compiling make these a few moves each. */
	memcpy(out, digits, DIGITS_MOST);
	if (n == whole)
		return n;
	out[whole] = '.';
	memcpy(out + whole + 1, digits + whole, DIGITS_MOST);
	return n + 1;
}

static size_t
put_decimal(char *out, struct decimal d, const struct form *form)
{
	size_t n = digit_count(d.digits), len;
	int point = (int)n + d.exp; /* digits before the point; may be negative */

	if (point - 1 < form->low || point - 1 >= form->high) {
		len = put_with_point(out, d.digits, 1);
		return len + put_exponent(out + len, point - 1, form->exp_digits);
	}
	if (d.exp >= 0) {
		number_u64(out, d.digits);
		memset(out + n, '0', (size_t)d.exp);
		return (size_t)point;
	}
	if (point > 0)
		return put_with_point(out, d.digits, (size_t)point);
	out[0] = '0';
	out[1] = '.';
	memset(out + 2, '0', (size_t)-point);
	return 2 + (size_t)-point + number_u64(out + 2 - point, d.digits);
}

static size_t
put_special(char *out, double value)
{
	memcpy(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf", isnan(value) ? 3 : 4);
	return isnan(value) ? 3 : 4;
}

static size_t
put_binary(char *out, bool negative, struct binary b, const struct form *form)
{
	size_t len = 0;

	if (negative)
		out[len++] = '-';
	if (b.c == 0)
		out[len++] = '0';
	else
		len += put_decimal(out + len, to_decimal(b), form);
	return len;
}

static size_t
put_f64(char *out, double value, const struct form *form)
{
	uint64_t bits, fraction;
	unsigned exponent;
	struct binary b;

	if (!isfinite(value))
		return put_special(out, value);
	memcpy(&bits, &value, sizeof(bits));
	fraction = bits & ((UINT64_C(1) << 52) - 1);
	exponent = (unsigned)(bits >> 52) & 0x7FF;
	if (exponent == 0)
		b = (struct binary){ .c = fraction, .q = -1074 };
	else
		b = (struct binary){ .c = fraction | UINT64_C(1) << 52,
			.q = (int)exponent - 1075,
			.closer_below = fraction == 0 && exponent > 1 };
	return put_binary(out, bits >> 63 != 0, b, form);
}

size_t
number_f64(char *out, double value)
{
	double magnitude = fabs(value);
	uint64_t millionths;

	out[0] = '-';
	/* Most values are whole. Zero has a sign, and is left to the long way. */
	if (magnitude < 0x1p53 && value != 0) {
		int64_t whole = (int64_t)magnitude;

		if ((double)whole == magnitude)
			return (value < 0) + put_u64(out + (value < 0), (uint64_t)whole);
	}
	if (to_millionths(magnitude, &millionths))
		return (value < 0) + put_millionths(out + (value < 0), millionths);
	return put_f64(out, value, &json_form);
}

size_t
number_f64_g(char *out, double value)
{
	uint64_t millionths;

	if (to_millionths(fabs(value), &millionths)) {
		struct decimal d = without_zeros((struct decimal){ millionths, -6 });

		out[0] = '-';
		return (value < 0) + put_decimal(out + (value < 0), d, &g_form);
	}
	return put_f64(out, value, &g_form);
}

size_t
number_f32(char *out, float value)
{
	uint32_t bits, fraction;
	unsigned exponent;
	struct binary b;

	if (!isfinite(value))
		return put_special(out, (double)value);
	memcpy(&bits, &value, sizeof(bits));
	fraction = bits & ((UINT32_C(1) << 23) - 1);
	exponent = bits >> 23 & 0xFF;
	if (exponent == 0)
		b = (struct binary){ .c = fraction, .q = -149 };
	else
		b = (struct binary){ .c = fraction | UINT32_C(1) << 23,
			.q = (int)exponent - 150,
			.closer_below = fraction == 0 && exponent > 1 };
	return put_binary(out, bits >> 31 != 0, b, &json_form);
}

size_t
number_time(char *out, int64_t ns, int64_t per_second)
{
	uint64_t second = NS_PER_S, factor = (uint64_t)per_second;
	uint64_t magnitude = ns < 0 ? -(uint64_t)ns : (uint64_t)ns;
	uint64_t below, whole;
	size_t len = 0;

	assert(per_second > 0 && per_second <= 1000);
	below = magnitude % second;
	whole = magnitude / second;
	if (per_second != 1) {
		below *= factor;
		whole = whole * factor + below / second;
		below %= second;
	}
	if (ns < 0)
		out[len++] = '-';
	len += put_u64(out + len, whole);
	out[len++] = '.';
	out[len++] = (char)('0' + below / TEN_TO_8);
	put_eight(out + len, (uint32_t)(below % TEN_TO_8));
	return len + 8;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The fraction's first nine digits as nanoseconds of a unit; the others need only be digits. */
static bool
parse_fraction(struct str s, uint64_t *out)
{
	uint64_t value = 0;

	for (size_t i = 0; i < s.len || i < 9; i++) {
		if (i < s.len && !is_digit(s.p[i]))
			return false;
		if (i < 9)
			value = value * 10 + (i < s.len ? (uint64_t)(s.p[i] - '0') : 0);
	}
	*out = value;
	return true;
}

bool
number_parse_time(struct str s, int64_t per_second, int64_t *out_ns)
{
	bool negative = str_starts(s, STR("-"));
	uint64_t second = NS_PER_S, factor = (uint64_t)per_second;
	uint64_t most = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	uint64_t whole, fraction, below;
	const char *point;

	assert(per_second > 0 && per_second <= 1000);
	s = str_sub(s, negative, SIZE_MAX);
	point = s.len == 0 ? NULL : memchr(s.p, '.', s.len);
	if (!str_to_u64(point == NULL ? s : (struct str){ s.p, (size_t)(point - s.p) }, &whole))
		return false;
	if (!parse_fraction(
	        point == NULL ? STR_EMPTY : str_sub(s, (size_t)(point - s.p) + 1, SIZE_MAX),
	        &fraction))
		return false;

	below = (whole % factor * second + fraction) / factor;
	whole /= factor;
	if (whole > most / second || whole * second > most - below)
		return false;
	whole = whole * second + below;
	*out_ns = negative ? (int64_t)-whole : (int64_t)whole;
	return true;
}

#define MANTISSA_DIGITS 19 /* always fit 64 bits */

/* A number taken apart: mantissa * 10^exp. */
struct scan {
	bool negative;
	bool cut;          /* digits other than 0 follow the mantissa's */
	uint64_t mantissa; /* the first MANTISSA_DIGITS significant ones */
	int64_t exp;
	unsigned count;    /* of them */
	struct str digits; /* all, with the point */
};

static const char *
scan_digits(const char *p, const char *end, struct scan *n, int64_t exp_step)
{
	for (; p < end && is_digit(*p); p++) {
		unsigned digit = (unsigned)(*p - '0');

		if (n->count < MANTISSA_DIGITS) {
			n->mantissa = n->mantissa * 10 + digit;
			n->count += n->mantissa != 0;
			n->exp += exp_step;
		} else {
			n->cut |= digit != 0;
			n->exp += exp_step + 1;
		}
	}
	return p;
}

/* Far beyond any text's length, so that no number of digits can make up for it. */
#define EXP_MOST INT64_C(100000000000000000)

static const char *
scan_exponent(const char *p, const char *end, struct scan *n)
{
	int64_t exp = 0;
	bool negative = p < end && *p == '-';

	if (p < end && (*p == '-' || *p == '+'))
		p++;
	if (p == end)
		return NULL;
	for (; p < end && is_digit(*p); p++) {
		if (exp < EXP_MOST)
			exp = exp * 10 + (*p - '0');
	}
	n->exp += negative ? -exp : exp;
	return p;
}

/* The exponent, if there is one, and the end. */
static bool
scan_tail(const char *p, const char *end, struct scan *n)
{
	if (p < end && (*p == 'e' || *p == 'E')) {
		p = scan_exponent(p + 1, end, n);
		if (p == NULL || !is_digit(p[-1]))
			return false;
	}
	return p == end;
}

/* The grammar of RFC 8259, section 6. */
static bool
scan_number(struct str s, struct scan *out)
{
	struct scan n = { .negative = str_starts(s, STR("-")) };
	const char *p, *end, *start;

	if (s.len == 0)
		return false;
	end = s.p + s.len;
	p = s.p + n.negative;
	start = p;
	n.digits.p = p;
	p = scan_digits(p, end, &n, 0);
	if (p == start || (*start == '0' && p > start + 1))
		return false;
	if (p < end && *p == '.') {
		start = ++p;
		p = scan_digits(p, end, &n, -1);
		if (p == start)
			return false;
	}
	n.digits.len = (size_t)(p - n.digits.p);
	if (!scan_tail(p, end, &n))
		return false;
	*out = n;
	return true;
}

/* Looser: what stands in samples. */
static bool
scan_sample(struct str s, struct scan *out)
{
	struct scan n = { .negative = str_starts(s, STR("-")) };
	const char *p = s.p, *end = s.p + s.len;
	size_t count;

	if (s.len == 0)
		return false;
	p += *p == '-' || *p == '+';
	n.digits.p = p;
	p = scan_digits(p, end, &n, 0);
	count = (size_t)(p - n.digits.p);
	if (p < end && *p == '.') {
		const char *fraction = ++p;

		p = scan_digits(p, end, &n, -1);
		count += (size_t)(p - fraction);
	}
	n.digits.len = (size_t)(p - n.digits.p);
	if (count == 0 || !scan_tail(p, end, &n))
		return false;
	*out = n;
	return true;
}

/* No midpoint between two doubles has more significant digits than 767. */
#define EXACT_DIGITS 800
#define EXACT_BYTES  (EXACT_DIGITS + 32)

/*
 * The number for strtod: all digits that can matter and an exponent, but no point, whose form is
 * the locale's.
 */
static void
exact_text(const struct scan *n, char out[EXACT_BYTES])
{
	size_t len = 0;
	int64_t exp = n->exp;

	if (!n->cut) {
		len = number_u64(out, n->mantissa);
	} else {
		bool rest = false;

		for (size_t i = 0; i < n->digits.len; i++) {
			char c = n->digits.p[i];

			if (c == '.' || (c == '0' && len == 0))
				continue;
			if (len < EXACT_DIGITS)
				out[len++] = c;
			else
				rest |= c != '0';
		}
		exp -= (int64_t)len - MANTISSA_DIGITS;
		if (rest) {
			out[len++] = '1'; /* any digit but 0: more than what was kept */
			exp--;
		}
	}
	snprintf(out + len, EXACT_BYTES - len, "e%" PRId64, exp);
}

/* The slow and sure way. Not inlined, as its text is cleared at each entry of whoever holds it. */
__attribute__((noinline)) static double
exact_f64(const struct scan *n)
{
	char text[EXACT_BYTES];

	exact_text(n, text);
	return strtod(text, NULL);
}

__attribute__((noinline)) static float
exact_f32(const struct scan *n)
{
	char text[EXACT_BYTES];

	exact_text(n, text);
	return strtof(text, NULL);
}

/*
 * By multiplication with a 128-bit power of ten (Daniel Lemire, "Number parsing at a gigabyte per
 * second", 2021). False when the error of that could change the rounding, or beyond the normal
 * range.
 */
static bool
to_f64_by_product(uint64_t mantissa, int exp, double *out)
{
	int zeros = __builtin_clzll(mantissa), exp2 = log2_pow10(exp) + 64 - zeros;
	struct u128 g = pow10_128(exp), low = mul64(g.lo, mantissa << zeros);
	struct u128 product = mul64(g.hi, mantissa << zeros);
	uint64_t bits;

	product.hi += __builtin_add_overflow(product.lo, low.hi, &product.lo);
	if (product.hi >> 63 == 0) {
		product.hi = product.hi << 1 | product.lo >> 63;
		product.lo <<= 1;
		exp2--;
	}
	/*
	 * The true product lies within 2 of ours: near a carry into hi it could be on the other
	 * side.
	 */
	if (product.lo + 2 <= 4)
		return false;
	bits = ((product.hi >> 10) + 1) >> 1;
	if (bits >> 53 != 0) {
		bits >>= 1;
		exp2++;
	}
	if (exp2 < -1022 || exp2 > 1023)
		return false;
	bits = (bits & ((UINT64_C(1) << 52) - 1)) | (uint64_t)(exp2 + 1023) << 52;
	memcpy(out, &bits, sizeof(*out));
	return true;
}

bool
number_from_decimal(uint64_t mantissa, int64_t exp, double *out)
{
	static const double pow10[] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10,
		1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

	if (mantissa == 0 || exp == 0)
		*out = (double)mantissa;
	/* Both operands are exact, so the one rounding is right (William Clinger, 1990). */
	else if (mantissa <= UINT64_C(1) << 53 && exp >= -22 && exp <= 22)
		*out = exp < 0 ? (double)mantissa / pow10[-exp] : (double)mantissa * pow10[exp];
	else
		return exp >= POW10_MIN && exp <= DBL_MAX_10_EXP &&
		       to_f64_by_product(mantissa, (int)exp, out);
	return true;
}

/* The magnitude. */
static double
scan_to_f64(const struct scan *n)
{
	double value;

	if (!n->cut && number_from_decimal(n->mantissa, n->exp, &value))
		return value;
	return exact_f64(n);
}

bool
number_parse_f64(struct str s, double *out)
{
	struct scan n;
	double magnitude;

	if (!scan_number(s, &n))
		return false;
	magnitude = scan_to_f64(&n);
	*out = n.negative ? -magnitude : magnitude;
	return true;
}

/*
 * True if rounding the double, which is a number rounded, to a float gives what rounding the number
 * itself would: unless the double lies halfway between two floats, where the number's side is lost.
 */
static bool
rounds_once(double magnitude)
{
	uint64_t bits;

	memcpy(&bits, &magnitude, sizeof(bits));
	return magnitude == 0 || (magnitude >= (double)FLT_MIN && magnitude <= (double)FLT_MAX &&
	                             (bits & ((UINT64_C(1) << 29) - 1)) != UINT64_C(1) << 28);
}

bool
number_parse_f32(struct str s, float *out)
{
	struct scan n;
	double wide;
	float magnitude;

	if (!scan_number(s, &n))
		return false;
	wide = scan_to_f64(&n);
	magnitude = rounds_once(wide) ? (float)wide : exact_f32(&n);
	*out = n.negative ? -magnitude : magnitude;
	return true;
}

/* "Inf" and "Infinity" with or without a sign, "NaN" without. */
static bool
parse_special(struct str s, double *out)
{
	bool negative = str_starts(s, STR("-"));

	if (str_eq_nocase(s, STR("NaN"))) {
		*out = (double)NAN;
		return true;
	}
	s = str_sub(s, negative || str_starts(s, STR("+")), SIZE_MAX);
	if (!str_eq_nocase(s, STR("Inf")) && !str_eq_nocase(s, STR("Infinity")))
		return false;
	*out = negative ? -HUGE_VAL : HUGE_VAL;
	return true;
}

bool
number_parse_sample(struct str s, double *out)
{
	struct scan n;
	double magnitude;

	if (!scan_sample(s, &n))
		return parse_special(s, out);
	magnitude = scan_to_f64(&n);
	*out = n.negative ? -magnitude : magnitude;
	return true;
}
