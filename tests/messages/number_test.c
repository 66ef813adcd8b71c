#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "messages/number.h"
#include "vectors.h"

/* The same numbers each time (xorshift64*). */
static uint64_t random_state = 88172645463325252;

static uint64_t
random_bits(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(2685821657736338717);
}

static double
f64_of(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static float
f32_of(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static bool
same_f64(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool
same_f32(float a, float b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Text of the last number, ended by a NUL; cut at NUMBER_BYTES, which none may exceed. */
static char text[NUMBER_BYTES + 1];

static const char *
ended(size_t len)
{
	assert_in_range(len, 1, NUMBER_BYTES);
	text[len] = '\0';
	return text;
}

static const char *
f64_text(double value)
{
	memset(text, 'x', sizeof(text));
	return ended(number_f64(text, value));
}

static const char *
f32_text(float value)
{
	memset(text, 'x', sizeof(text));
	return ended(number_f32(text, value));
}

static void
integers_are_written_whole(void **state)
{
	char want[32];

	(void)state;
	for (uint64_t power = 1;; power *= 10) {
		for (uint64_t i = power - 1; i != power + 2; i++) {
			snprintf(want, sizeof(want), "%" PRIu64, i);
			assert_string_equal(ended(number_u64(text, i)), want);
			snprintf(want, sizeof(want), "%" PRId64, -(int64_t)i);
			assert_string_equal(ended(number_i64(text, -(int64_t)i)), want);
		}
		if (power > UINT64_MAX / 10)
			break;
	}
	assert_string_equal(ended(number_u64(text, UINT64_MAX)), "18446744073709551615");
	assert_string_equal(ended(number_i64(text, INT64_MIN)), "-9223372036854775808");
	assert_string_equal(ended(number_i64(text, INT64_MAX)), "9223372036854775807");
}

static void
integers_of_every_length_are_written_whole(void **state)
{
	char want[32];

	(void)state;
	for (int i = 0; i < 200000; i++) {
		uint64_t value = random_bits() >> (random_bits() % 64);

		snprintf(want, sizeof(want), "%" PRIu64, value);
		assert_string_equal(ended(number_u64(text, value)), want);
	}
}

static void
floats_are_written_as_captured(void **state)
{
	struct json_object *rows = vector_parse("number_format.json");

	(void)state;
	assert_true(vector_len(rows) > 20);
	for (size_t i = 0; i < vector_len(rows); i++) {
		struct json_object *row = vector_at(rows, i);
		const char *want = vector_text(row, "json").p;
		double value = strtod(want, NULL), again;

		assert_string_equal(f64_text(value), want);
		assert_string_equal(
		    ended(number_f64_g(text, value)), vector_text(row, "tsdbDps").p);
		assert_true(number_parse_f64(str_of(want), &again));
		assert_true(same_f64(again, value));
	}
	vector_free(rows);
}

static void
what_is_no_number_is_named(void **state)
{
	(void)state;
	assert_string_equal(f64_text(NAN), "NaN");
	assert_string_equal(f64_text(-NAN), "NaN");
	assert_string_equal(f64_text(INFINITY), "+Inf");
	assert_string_equal(f64_text(-INFINITY), "-Inf");
	assert_string_equal(f32_text(-INFINITY), "-Inf");
	assert_string_equal(ended(number_f64_g(text, INFINITY)), "+Inf");
}

static void
forms_change_at_their_bounds(void **state)
{
	static const struct {
		double value;
		const char *json, *g;
	} rows[] = {
		{ 0.0, "0", "0" },
		{ -0.0, "-0", "-0" },
		{ 0.001, "0.001", "0.001" },
		{ 1e-6, "0.000001", "1e-06" },
		{ 9.99999e-7, "9.99999e-7", "9.99999e-07" },
		{ -1.25e-5, "-0.0000125", "-1.25e-05" },
		{ 999999.5, "999999.5", "999999.5" },
		{ 1e15, "1000000000000000", "1e+15" },
		{ 9007199254740992.0, "9007199254740992", "9.007199254740992e+15" },
		{ 123456789012345680000.0, "123456789012345680000", "1.2345678901234568e+20" },
		{ 999999999999999900000.0, "999999999999999900000", "9.999999999999999e+20" },
		{ 1e21, "1e+21", "1e+21" },
		{ 1e100, "1e+100", "1e+100" },
		{ DBL_MAX, "1.7976931348623157e+308", "1.7976931348623157e+308" },
		{ DBL_MIN, "2.2250738585072014e-308", "2.2250738585072014e-308" },
		{ -5e-324, "-5e-324", "-5e-324" },
		/* Next to a power of two a shortest number may not be the nearest of its length. */
		{ 0x1p89, "6.189700196426902e+26", "6.189700196426902e+26" },
		{ 0x1p-44, "5.684341886080802e-14", "5.684341886080802e-14" },
		{ 1.0 / 3, "0.3333333333333333", "0.3333333333333333" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_string_equal(f64_text(rows[i].value), rows[i].json);
		assert_string_equal(ended(number_f64_g(text, rows[i].value)), rows[i].g);
	}
	assert_string_equal(f32_text(0.1f), "0.1");
	assert_string_equal(f32_text(16777216.0f), "16777216");
	assert_string_equal(f32_text(FLT_MAX), "3.4028235e+38");
	assert_string_equal(f32_text(1e-45f), "1e-45");
	assert_string_equal(f32_text(1e-6f), "0.000001");
	/* Halfway between two of the shortest: the even one. */
	assert_string_equal(f32_text(0x1p-12f), "0.00024414062");
}

/* n numbers, each near one of all powers of ten, as number_u64 has them. */
static void
check_list(size_t n)
{
	char got[8 * NUMBER_BYTES], want[8 * NUMBER_BYTES] = "";
	uint64_t values[7];
	size_t len = 0;

	assert_true(n <= sizeof(values) / sizeof(values[0]));
	for (size_t i = 0; i < n; i++) {
		values[i] = random_bits() >> (random_bits() % 64);
		if (random_bits() % 2 == 0)
			values[i] %= 1002; /* most counts are small */
		len += (size_t)snprintf(
		    want + len, sizeof(want) - len, "%s%" PRIu64, i == 0 ? "" : ",", values[i]);
	}
	memset(got, 'x', sizeof(got));
	len = number_u64_list(got, values, n);
	assert_true(len < sizeof(got));
	got[len] = '\0';
	assert_string_equal(got, want);
}

static void
lists_of_integers_have_commas_between(void **state)
{
	char got[1001 * NUMBER_BYTES], *p = got;
	uint64_t values[1000];

	(void)state;
	for (size_t i = 0; i < 1000; i++)
		values[i] = i;
	got[number_u64_list(got, values, 1000)] = '\0';
	for (size_t i = 0; i < 1000; i++) {
		assert_int_equal(strtoul(p, &p, 10), i);
		assert_int_equal(*p++, i < 999 ? ',' : '\0');
	}
	for (int i = 0; i < 100000; i++)
		check_list((size_t)i % 8);
}

/* What a type reads back, so that one reference serves both. */
typedef bool reads_back_fn(const char *, const void *value);

static bool
f64_reads_back(const char *digits, const void *value)
{
	return same_f64(strtod(digits, NULL), *(const double *)value);
}

static bool
f32_reads_back(const char *digits, const void *value)
{
	return same_f32(strtof(digits, NULL), *(const float *)value);
}

/* n digits and an exponent: value rounded to the nearest such, and up to one more or less. */
static void
with_digits(char out[3][40], double value, int n)
{
	int exp;

	snprintf(out[0], 40, "%.*e", n - 1, value);
	exp = atoi(strchr(out[0], 'e') + 1) - (n - 1);
	for (int i = 0; i < 2; i++) {
		int64_t digits = 0;

		for (const char *p = out[0]; *p != 'e'; p++) {
			if (*p != '.')
				digits = digits * 10 + (*p - '0');
		}
		snprintf(out[1 + i], 40, "%" PRId64 "e%d", digits + (i == 0 ? 1 : -1), exp);
	}
}

static int
significant_digits(const char *s)
{
	int n = 0, zeros = 0;

	for (; *s != '\0' && *s != 'e'; s++) {
		if (*s == '0' && n > 0)
			zeros++;
		else if (*s >= '1' && *s <= '9') {
			n += zeros + 1;
			zeros = 0;
		}
	}
	return n;
}

/*
 * got reads back, no number of fewer digits does, and of those of as many none that does is nearer.
 * value is not negative.
 */
static void
assert_shortest(const char *got, double value, reads_back_fn *reads_back, const void *bits)
{
	char near[3][40];
	int n = significant_digits(got);

	if (!reads_back(got, bits))
		fail_msg("%s is not %.17g", got, value);
	if (n > 1) {
		with_digits(near, value, n - 1);
		for (int i = 0; i < 3; i++) {
			if (reads_back(near[i], bits))
				fail_msg("%s is longer than %s", got, near[i]);
		}
	}
	with_digits(near, value, n);
	if (reads_back(near[0], bits) && !same_f64(strtod(near[0], NULL), strtod(got, NULL)))
		fail_msg("%s is nearer than %s", near[0], got);
}

static void
assert_f64_shortest(double value)
{
	double again;

	if (!isfinite(value) || value == 0)
		return;
	value = fabs(value);
	f64_text(value);
	assert_shortest(text, value, f64_reads_back, &value);
	assert_true(number_parse_f64(str_of(text), &again));
	assert_true(same_f64(again, value));
}

static void
assert_f32_shortest(float value)
{
	float again;

	if (!isfinite(value) || value == 0)
		return;
	value = fabsf(value);
	f32_text(value);
	assert_shortest(text, (double)value, f32_reads_back, &value);
	assert_true(number_parse_f32(str_of(text), &again));
	assert_true(same_f32(again, value));
}

static void
doubles_are_shortest_around_every_power_of_two(void **state)
{
	(void)state;
	for (uint64_t exponent = 0; exponent < 0x7FF; exponent++) {
		for (int64_t off = -3; off <= 3; off++)
			assert_f64_shortest(f64_of((exponent << 52) + (uint64_t)off));
	}
}

/* Where a decimal is found without a search, and next to it, where it must not be taken. */
static void
decimals_are_shortest_and_so_are_their_neighbours(void **state)
{
	(void)state;
	for (int i = 0; i < 100000; i++) {
		uint64_t millionths = random_bits() >> (14 + random_bits() % 50);
		double value = (double)millionths / 1e6;

		assert_f64_shortest(value);
		assert_f64_shortest(nextafter(value, INFINITY));
		assert_f64_shortest(nextafter(value, 0));
	}
	assert_string_equal(f64_text(999999999.999999), "999999999.999999");
	assert_string_equal(f64_text(-0.000001), "-0.000001");
	assert_string_equal(f64_text(100.5), "100.5");
}

static void
doubles_are_shortest_at_random(void **state)
{
	(void)state;
	for (int i = 0; i < 200000; i++) {
		assert_f64_shortest(f64_of(random_bits()));
		assert_f64_shortest((double)(random_bits() >> 11) * 0x1p-53);
		assert_f64_shortest((double)(random_bits() % 1000000000) / 1e5);
	}
}

static void
floats_are_shortest_around_every_power_of_two(void **state)
{
	(void)state;
	for (uint32_t exponent = 0; exponent < 0xFF; exponent++) {
		for (int32_t off = -100; off <= 100; off++)
			assert_f32_shortest(f32_of((exponent << 23) + (uint32_t)off));
	}
}

static void
floats_are_shortest_at_random(void **state)
{
	(void)state;
	for (int i = 0; i < 200000; i++)
		assert_f32_shortest(f32_of((uint32_t)random_bits()));
}

static void
assert_reads_like_libc(const char *number)
{
	double f64 = -1, want_f64 = strtod(number, NULL);
	float f32 = -1, want_f32 = strtof(number, NULL);

	if (!number_parse_f64(str_of(number), &f64) || !same_f64(f64, want_f64))
		fail_msg("%s gave %.17g, not %.17g", number, f64, want_f64);
	if (!number_parse_f32(str_of(number), &f32) || !same_f32(f32, want_f32))
		fail_msg("%s gave %.9g, not %.9g", number, (double)f32, (double)want_f32);
}

static void
numbers_of_the_grammar_are_read(void **state)
{
	static const char *const good[] = { "0", "-0", "0.0", "-0.0e5", "0e999999999999", "1", "-1",
		"10", "1.5", "1E5", "1e+5", "1e-5", "1.0000", "123456789012345678901234567890",
		"0.000000000000000000000000000000000001", "1e22", "1e23", "9007199254740993",
		"9007199254740993.00000000000000000000000000000000001", "18446744073709551615",
		"18446744073709551616", "5e-324", "2.4703282292062327e-324",
		"2.4703282292062328e-324", "2.2250738585072011e-308", "1.7976931348623157e308",
		"1.7976931348623159e308", "1e309", "-1e400", "1e-400", "1e99999999999999999999999",
		"-1e-99999999999999999999999", "3.4028235677973366e38", "3.4028235677973365e38",
		"7.006492321624085e-46", "7.006492321624086e-46", "16777217", "16777217.000000001",
		"33554435", "1.00000017881393421514957253748434595763683319091796875001",
		"1.00000017881393432617187500", "1.00000017881393432617187499",
		"8.589934591999999e9" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_reads_like_libc(good[i]);
}

static void
all_else_is_refused(void **state)
{
	static const char *const bad[] = { "", "-", "+1", "01", "-01", "00", ".5", "1.", "1.e5",
		"1e", "1e+", "1e-", "1e5.", "1e5x", "1 ", " 1", "0x10", "NaN", "inf", "Infinity",
		"--1", "1e1e1", "1.2.3", "1,5", "e5", "1_0" };
	double f64 = 7;
	float f32 = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (number_parse_f64(str_of(bad[i]), &f64) ||
		    number_parse_f32(str_of(bad[i]), &f32))
			fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_false(number_parse_f64(STR_EMPTY, &f64));
	assert_true(f64 == 7 && f32 == 7);
}

static void
random_numbers_are_read_like_libc(void **state)
{
	char number[80];

	(void)state;
	for (int i = 0; i < 300000; i++) {
		uint64_t digits = (random_bits() >> random_bits() % 60) | 1;
		int exp = (int)(random_bits() % 60) - 30;

		if (i % 4 == 0)
			exp *= 11;
		snprintf(number, sizeof(number), "%" PRIu64 "%s%" PRIu64 "e%d", digits,
		    i % 3 == 0 ? "" : ".", random_bits() >> random_bits() % 64, exp);
		assert_reads_like_libc(number);
		snprintf(number, sizeof(number), "%" PRIu64 "e%d", digits, exp);
		assert_reads_like_libc(number);
	}
}

/* The exact decimal halfway between value and the next, where reading is hardest. */
static void
numbers_between_two_doubles_are_read_like_libc(void **state)
{
	static char number[1200];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		/* A long double holds the midpoint; its decimal form is finite. */
		uint64_t bits = random_bits() >> 1;
		double value = f64_of(i % 2 == 0 ? bits : bits & (UINT64_C(0x400FFFFFFFFFFFFF)));
		long double middle =
		    ((long double)value + (long double)nextafter(value, INFINITY)) / 2;
		size_t len;

		if (!isfinite(value) || nextafter(value, INFINITY) > DBL_MAX)
			continue;
		snprintf(number, sizeof(number), "%.800Le", middle);
		assert_reads_like_libc(number);
		/* A little more than that, beyond all digits that are looked at. */
		snprintf(number, sizeof(number), "%.1000Le", middle);
		len = (size_t)(strchr(number, 'e') - number);
		number[len - 1] = '1';
		assert_reads_like_libc(number);
	}
}

static void
digits_beyond_count_all_the_same(void **state)
{
	static char number[3000];
	double value;

	(void)state;
	memset(number, '0', sizeof(number) - 1);
	memcpy(number, "9007199254740993.", 17);
	assert_true(number_parse_f64(str_of(number), &value));
	assert_true(value == 9007199254740992.0);
	number[sizeof(number) - 2] = '1';
	assert_true(number_parse_f64(str_of(number), &value));
	assert_true(value == 9007199254740994.0);

	/* 2990 zeros behind the point that the exponent makes up for. */
	memset(number, '0', sizeof(number) - 1);
	number[1] = '.';
	memcpy(number + sizeof(number) - 1 - 6, "1e2993", 6);
	assert_true(number_parse_f64(str_of(number), &value));
	assert_true(value == 10);
}

/* Against the C library, which reads text. */
static void
decimals_are_rounded_right(void **state)
{
	size_t undecided = 0;
	double value;

	(void)state;
	for (int i = 0; i < 300000; i++) {
		uint64_t mantissa = random_bits() >> random_bits() % 11;
		int exp = -(int)(random_bits() % 30);
		char number[64];

		snprintf(number, sizeof(number), "%" PRIu64 "e%d", mantissa, exp);
		if (!number_from_decimal(mantissa, exp, &value))
			undecided++;
		else if (value != strtod(number, NULL))
			fail_msg("%s: %.17g", number, value);
	}
	assert_true(undecided < 3000); /* such as are exact, with few decimals */
	/* Halfway between two, so that more than a product has to be known. */
	if (number_from_decimal(UINT64_C(90071992547409935), -1, &value))
		assert_true(value == 9007199254740994.0);
	assert_false(number_from_decimal(1, 309, &value));
	assert_false(number_from_decimal(1, -400, &value));
}

/* "1s 0ns", "0s -250000000ns" */
static int64_t
seconds_and_ns(const char *shown)
{
	long long s, ns;

	assert_int_equal(sscanf(shown, "%llds %lldns", &s, &ns), 2);
	return s * NS_PER_S + ns;
}

static void
times_are_read_as_captured(void **state)
{
	struct json_object *rows = vector_parse("duration_parse.json");

	(void)state;
	assert_true(vector_len(rows) > 10);
	for (size_t i = 0; i < vector_len(rows); i++) {
		struct json_object *row = vector_at(rows, i);
		struct str in = vector_text(row, "in");
		bool error = vector_bool(row, "error");
		int64_t ns = 7;

		assert_int_equal(number_parse_time(in, 1, &ns), !error);
		assert_int_equal(number_parse_time(in, 1000, &ns), !error);
		if (error) {
			assert_int_equal(ns, 7);
			continue;
		}
		assert_int_equal(ns, seconds_and_ns(vector_text(row, "asMilliseconds").p));
		assert_true(number_parse_time(in, 1, &ns));
		assert_int_equal(ns, seconds_and_ns(vector_text(row, "asSeconds").p));
		assert_string_equal(
		    ended(number_time(text, ns, 1)), vector_text(row, "backAsSeconds").p);
	}
	vector_free(rows);
}

static void
times_beyond_64_bits_are_refused(void **state)
{
	int64_t ns = 0;

	(void)state;
	assert_true(number_parse_time(STR("9223372036.854775807"), 1, &ns));
	assert_int_equal(ns, INT64_MAX);
	assert_true(number_parse_time(STR("-9223372036.854775808"), 1, &ns));
	assert_int_equal(ns, INT64_MIN);
	assert_true(number_parse_time(STR("9223372036854.775807999"), 1000, &ns));
	assert_int_equal(ns, INT64_MAX);
	assert_true(number_parse_time(STR("-9223372036854.775808"), 1000, &ns));
	assert_int_equal(ns, INT64_MIN);
	assert_false(number_parse_time(STR("9223372036.854775808"), 1, &ns));
	assert_false(number_parse_time(STR("-9223372036.854775809"), 1, &ns));
	assert_false(number_parse_time(STR("9223372036854.775808"), 1000, &ns));
	assert_false(number_parse_time(STR("9223372036854775807"), 1, &ns));
	assert_false(number_parse_time(STR("18446744073709551616"), 1, &ns));
	assert_false(number_parse_time(STR("99999999999999999999999999"), 1000, &ns));
}

static void
times_of_other_forms_are_refused(void **state)
{
	static const char *const bad[] = { "+", "-+", ".", "1.-5", "1.+5", "1.5.5", "1.123456789x",
		"0x1", "1,5", "1 ", "+-1" };
	int64_t ns = 7;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (number_parse_time(str_of(bad[i]), 1, &ns))
			fail_msg("\"%s\" was taken", bad[i]);
	}
	assert_true(number_parse_time(STR("-+1.5"), 1, &ns)); /* as upstream does */
	assert_int_equal(ns, -1500000000);
}

static void
times_are_written_with_nine_decimals(void **state)
{
	static const struct {
		int64_t ns, per_second;
		const char *want;
	} rows[] = {
		{ 0, 1, "0.000000000" },
		{ -250000000, 1, "-0.250000000" },
		{ 1500000000123456789, 1, "1500000000.123456789" },
		{ 960357000001, 1000, "960357.000001000" },
		{ -1, 1000, "-0.000001000" },
		{ -1750000000, 1000, "-1750.000000000" },
		{ INT64_MAX, 1, "9223372036.854775807" },
		{ INT64_MIN, 1, "-9223372036.854775808" },
		{ INT64_MIN, 1000, "-9223372036854.775808000" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t ns;

		ended(number_time(text, rows[i].ns, rows[i].per_second));
		assert_string_equal(text, rows[i].want);
		assert_true(number_parse_time(str_of(text), rows[i].per_second, &ns));
		assert_int_equal(ns, rows[i].ns);
	}
}

static void
samples_are_read_like_libc(void **state)
{
	static const char *const good[] = { "+1", "01", "-007.50", ".5", "5.", "-.5e1", "5.e-3",
		"+0", "-0", "000", "1e+05", "0000000000000000000000001.5e-400",
		".0000000000000000000000000001", "9007199254740993.00000000000000000000001", "Inf",
		"+Inf", "-Inf", "iNF", "-infinity" };
	static const char *const bad[] = { "", "+", "-", ".", "+.", "e1", ".e1", "1e", "1e-", "+-1",
		" 1", "1 ", "0x1p3", "1_0", "1..2", "+NaN", "-NaN", "NaN1", "infin", "++Inf" };
	double value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		if (!number_parse_sample(str_of(good[i]), &value) ||
		    !same_f64(value, strtod(good[i], NULL)))
			fail_msg("%s", good[i]);
	}
	assert_true(number_parse_sample(STR("nAn"), &value));
	assert_true(same_f64(value, (double)NAN));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (number_parse_sample(str_of(bad[i]), &value))
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_written_whole),
		cmocka_unit_test(integers_of_every_length_are_written_whole),
		cmocka_unit_test(lists_of_integers_have_commas_between),
		cmocka_unit_test(floats_are_written_as_captured),
		cmocka_unit_test(what_is_no_number_is_named),
		cmocka_unit_test(forms_change_at_their_bounds),
		cmocka_unit_test(doubles_are_shortest_around_every_power_of_two),
		cmocka_unit_test(decimals_are_shortest_and_so_are_their_neighbours),
		cmocka_unit_test(doubles_are_shortest_at_random),
		cmocka_unit_test(floats_are_shortest_around_every_power_of_two),
		cmocka_unit_test(floats_are_shortest_at_random),
		cmocka_unit_test(numbers_of_the_grammar_are_read),
		cmocka_unit_test(all_else_is_refused),
		cmocka_unit_test(random_numbers_are_read_like_libc),
		cmocka_unit_test(numbers_between_two_doubles_are_read_like_libc),
		cmocka_unit_test(digits_beyond_count_all_the_same),
		cmocka_unit_test(decimals_are_rounded_right),
		cmocka_unit_test(samples_are_read_like_libc),
		cmocka_unit_test(times_are_read_as_captured),
		cmocka_unit_test(times_beyond_64_bits_are_refused),
		cmocka_unit_test(times_of_other_forms_are_refused),
		cmocka_unit_test(times_are_written_with_nine_decimals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
