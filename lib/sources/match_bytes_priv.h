/*
 * sources/match_bytes_priv.h - what reading by a layout does most: comparing bytes, and reading
 * digits, eight at a time.
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

/* Digits that a uint64_t surely holds. */
#define SAFE_DIGITS 19

static const uint64_t powers_of_ten[SAFE_DIGITS + 1] = { 1, 10, 100, 1000, 10000, 100000, 1000000,
	10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
	100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
	1000000000000000000, UINT64_C(10000000000000000000) };

/* Sixteen bytes, which the compiler compares at once. */
typedef uint64_t wide __attribute__((vector_size(16)));

static inline wide
differ16(const char *a, const char *b)
{
	wide x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

static inline bool
is_zero(wide w)
{
	return (w[0] | w[1]) == 0;
}

static inline uint64_t
differ8(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

/* As memcmp(a, b, n) == 0, which costs more to call than most of these are long. */
static inline bool
same_bytes(const char *a, const char *b, size_t n)
{
	wide differ = { 0, 0 };

	if (n < 8) {
		while (n > 0 && a[n - 1] == b[n - 1])
			n--;
		return n == 0;
	}
	if (n < 16)
		return (differ8(a, b) | differ8(a + n - 8, b + n - 8)) == 0;
	for (; n > 64; a += 64, b += 64, n -= 64)
		differ |= differ16(a, b) | differ16(a + 16, b + 16) | differ16(a + 32, b + 32) |
		          differ16(a + 48, b + 48);
	if (n > 32) /* some of the bytes twice */
		differ |=
		    differ16(a, b) | differ16(a + 16, b + 16) | differ16(a + n - 32, b + n - 32);
	else if (n > 16)
		differ |= differ16(a, b);
	return is_zero(differ | differ16(a + n - 16, b + n - 16));
}

/* The digits among the eight bytes at p, up to the first other byte, and their value. */
static inline size_t
eight_digits(const char *p, const char *end, uint64_t *value)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t text = 0, other;
	size_t n = 8;

	if (end - p >= 8)
		memcpy(&text, p, sizeof(text));
	else
		memcpy(&text, p, (size_t)(end - p));
	text = le64toh(text) ^ ones * '0';
	/* A byte above 9 gets its top bit set. The lowest such is exact, as none below it carries.
	 */
	other = (text | (text + ones * (0x80 - 10))) & ones * 0x80;
	if (other != 0) {
		n = (size_t)__builtin_ctzll(other) >> 3;
		if (n == 0) {
			*value = 0;
			return 0;
		}
		text <<= 64 - 8 * n; /* zeros come before it then */
	}
	text = (text * 10 + (text >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
	text = (text * 100 + (text >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
	*value = (text * 10000 + (text >> 32)) & UINT64_C(0xFFFFFFFF);
	return n;
}

/* How many digits stand at p, and their value. More than SAFE_DIGITS: the value is void. */
static inline size_t
read_digits(const char *p, const char *end, uint64_t *value)
{
	uint64_t more;
	size_t n = eight_digits(p, end, value), k;

	if (n < 8)
		return n;
	k = eight_digits(p + 8, end, &more);
	*value = *value * powers_of_ten[k] + more;
	if (k < 8)
		return 8 + k;
	k = eight_digits(p + 16, end, &more);
	*value = *value * powers_of_ten[k] + more;
	return 16 + k;
}

#endif
