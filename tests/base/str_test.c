#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "fault.h"

static int
sign(int x)
{
	return (x > 0) - (x < 0);
}

static void
order_is_by_bytes_and_a_prefix_comes_first(void **state)
{
	static const struct str rising[] = { STR(""), STR("\0"), STR("a"), STR("aa"), STR("ab"),
		STR("b"), STR("\x80") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rising); i++) {
		for (size_t j = 0; j < ARRAY_LEN(rising); j++) {
			assert_int_equal(sign(str_cmp(rising[i], rising[j])), (i > j) - (i < j));
			assert_int_equal(str_eq(rising[i], rising[j]), i == j);
		}
	}
	assert_int_equal(str_cmp(STR_EMPTY, STR("")), 0);
	assert_true(str_eq(STR_EMPTY, STR("")));
}

static void
starts_and_ends_compare_the_right_end(void **state)
{
	(void)state;
	assert_true(str_starts(STR("/proc/cpu"), STR("/proc")));
	assert_true(str_starts(STR("a"), STR_EMPTY));
	assert_true(str_starts(STR_EMPTY, STR_EMPTY));
	assert_false(str_starts(STR("a"), STR("ab")));
	assert_false(str_starts(STR("ba"), STR("a")));
	assert_true(str_ends(STR("x.yaml"), STR(".yaml")));
	assert_true(str_ends(STR("a"), STR_EMPTY));
	assert_true(str_ends(STR_EMPTY, STR_EMPTY));
	assert_false(str_ends(STR("a"), STR("ba")));
	assert_false(str_ends(STR("ab"), STR("a")));
}

static void
nocase_folds_ascii_letters_only(void **state)
{
	(void)state;
	assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
	assert_false(str_eq_nocase(STR("a"), STR("ab")));
	assert_false(str_eq_nocase(STR("@"), STR("`"))); /* one below A and a */
	assert_false(str_eq_nocase(STR("["), STR("{"))); /* one above Z and z */
	assert_false(str_eq_nocase(STR("\xc9"), STR("\xe9")));
}

static void
sub_stays_within_bounds(void **state)
{
	static const struct {
		size_t from, len;
		struct str want;
	} rows[] = {
		{ 0, 5, STR("abcde") },
		{ 1, 2, STR("bc") },
		{ 4, 9, STR("e") },
		{ 1, SIZE_MAX, STR("bcde") },
		{ 5, 1, STR("") },
		{ 6, 1, STR("") },
		{ SIZE_MAX, SIZE_MAX, STR("") },
		{ 2, 0, STR("") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!str_eq(str_sub(STR("abcde"), rows[i].from, rows[i].len), rows[i].want))
			fail_msg("row %zu", i);
	}
	assert_int_equal(str_sub(STR_EMPTY, 0, 1).len, 0);
}

static void
split_gives_each_part(void **state)
{
	static const struct {
		struct str text;
		struct str parts[4];
		size_t count;
	} rows[] = {
		{ STR(""), { STR("") }, 0 },
		{ STR("a"), { STR("a") }, 1 },
		{ STR("a,b"), { STR("a"), STR("b") }, 2 },
		{ STR(",a,,b"), { STR(""), STR("a"), STR(""), STR("b") }, 4 },
		{ STR("a,"), { STR("a") }, 1 },
		{ STR(","), { STR("") }, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str rest = rows[i].text, part = STR("untouched");
		size_t n = 0;

		for (; str_split(&rest, ',', &part); n++) {
			if (n == rows[i].count || !str_eq(part, rows[i].parts[n]))
				fail_msg("row %zu part %zu", i, n);
		}
		assert_int_equal(n, rows[i].count);
		assert_int_equal(rest.len, 0);
	}
}

static void
trim_takes_ascii_space_off_both_ends(void **state)
{
	(void)state;
	assert_true(str_eq(str_trim(STR(" \t\r\n\v\fa b\n ")), STR("a b")));
	assert_true(str_eq(str_trim(STR("a")), STR("a")));
	assert_int_equal(str_trim(STR(" \n")).len, 0);
	assert_int_equal(str_trim(STR_EMPTY).len, 0);
	assert_true(str_eq(str_trim(STR("\0 \xa0")), STR("\0 \xa0")));
}

static void
dup_is_ended_by_nul(void **state)
{
	char *copy = str_dup(str_sub(STR("abcdef"), 1, 3));

	(void)state;
	assert_string_equal(copy, "bcd");
	free(copy);
	copy = str_dup(STR_EMPTY);
	assert_string_equal(copy, "");
	free(copy);
}

static void
dup_without_memory_is_null(void **state)
{
	(void)state;
	fault_malloc(1);
	assert_null(str_dup(STR("abc")));
	fault_malloc(0);
}

static void
i64_is_exact_at_its_limits(void **state)
{
	static const struct {
		struct str text;
		int64_t want;
	} rows[] = {
		{ STR("0"), 0 },
		{ STR("-0"), 0 },
		{ STR("+7"), 7 },
		{ STR("-1"), -1 },
		{ STR("0000000000000000000000000000012"), 12 },
		{ STR("9223372036854775807"), INT64_MAX },
		{ STR("-9223372036854775807"), -INT64_MAX },
		{ STR("-9223372036854775808"), INT64_MIN },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t got = 99;

		if (!str_to_i64(rows[i].text, &got) || got != rows[i].want)
			fail_msg("row %zu: %lld", i, (long long)got);
	}
}

static void
u64_is_exact_at_its_limits(void **state)
{
	uint64_t got = 99;

	(void)state;
	assert_true(str_to_u64(STR("0"), &got));
	assert_int_equal(got, 0);
	assert_true(str_to_u64(STR("+18446744073709551615"), &got));
	assert_true(got == UINT64_MAX);
}

static void
what_is_no_number_is_refused(void **state)
{
	static const struct {
		struct str text;
		bool i64, u64;
	} rows[] = {
		{ STR(""), false, false },
		{ STR("+"), false, false },
		{ STR("-"), false, false },
		{ STR("--1"), false, false },
		{ STR("+-1"), false, false },
		{ STR(" 1"), false, false },
		{ STR("1 "), false, false },
		{ STR("1\0"), false, false },
		{ STR("1.0"), false, false },
		{ STR("0x1"), false, false },
		{ STR("1e3"), false, false },
		{ STR("/"), false, false },
		{ STR(":"), false, false },
		{ STR("\xb1"), false, false },
		{ STR("-1"), true, false },
		{ STR("-0"), true, false },
		{ STR("9223372036854775808"), false, true },
		{ STR("-9223372036854775809"), false, false },
		{ STR("18446744073709551616"), false, false },
		{ STR("18446744073709551620"), false, false },
		{ STR("99999999999999999999999"), false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t i64 = 99;
		uint64_t u64 = 99;

		if (str_to_i64(rows[i].text, &i64) != rows[i].i64 || (!rows[i].i64 && i64 != 99))
			fail_msg("row %zu as i64", i);
		if (str_to_u64(rows[i].text, &u64) != rows[i].u64 || (!rows[i].u64 && u64 != 99))
			fail_msg("row %zu as u64", i);
	}
}

static size_t
encode(uint32_t c, char out[4])
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xC0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3F));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xE0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3F));
		out[2] = (char)(0x80 | (c & 0x3F));
		return 3;
	}
	out[0] = (char)(0xF0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3F));
	out[2] = (char)(0x80 | (c >> 6 & 0x3F));
	out[3] = (char)(0x80 | (c & 0x3F));
	return 4;
}

static void
utf8_takes_every_character_but_surrogates(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x200000; c++) {
		bool valid = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
		char text[4];
		size_t n = encode(c, text);

		if (utf8_valid_prefix(text, n) != (valid ? n : 0))
			fail_msg("U+%04X", (unsigned)c);
		if (valid && n > 1 && utf8_valid_prefix(text, n - 1) != 0)
			fail_msg("U+%04X cut", (unsigned)c);
	}
}

/* Decodes by arithmetic, where str.c goes by ranges of bytes. */
static size_t
plain_utf8_length(const unsigned char *p)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n;
	uint32_t c;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >> 5 == 0x6)
		n = 2;
	else if (p[0] >> 4 == 0xE)
		n = 3;
	else if (p[0] >> 3 == 0x1E)
		n = 4;
	else
		return 0;
	c = p[0] & (0x7Fu >> n);
	for (size_t i = 1; i < n; i++) {
		if (p[i] >> 6 != 2)
			return 0;
		c = c << 6 | (p[i] & 0x3F);
	}
	if (c < smallest[n] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	return n;
}

static void
utf8_refuses_all_other_bytes(void **state)
{
	static const unsigned char thirds[] = { 0x00, 0x7F, 0x80, 0xBF, 0xC0, 0xFF };

	(void)state;
	for (unsigned i = 0; i < 256 * 256; i++) {
		for (size_t j = 0; j < ARRAY_LEN(thirds) * ARRAY_LEN(thirds); j++) {
			const unsigned char text[] = { (unsigned char)(i >> 8), (unsigned char)i,
				thirds[j / ARRAY_LEN(thirds)], thirds[j % ARRAY_LEN(thirds)] };
			size_t want = 0, n;

			while (want < 4) {
				unsigned char padded[8] = { 0 };

				/* A NUL behind the end is no continuation, as the end is none. */
				memcpy(padded, text + want, 4 - want);
				n = plain_utf8_length(padded);
				if (n == 0)
					break;
				want += n;
			}
			n = utf8_valid_prefix((const char *)text, 4);
			if (n != want)
				fail_msg("%02x%02x%02x%02x: %zu, not %zu", text[0], text[1],
				    text[2], text[3], n, want);
		}
	}
}

static void
utf8_finds_a_bad_byte_wherever_it_is(void **state)
{
	(void)state;
	for (size_t len = 0; len <= 40; len++) {
		char *text = malloc(len + 1); /* exact, for the address sanitizer */

		assert_non_null(text);
		memset(text, 'a', len + 1);
		assert_int_equal(utf8_valid_prefix(text, len), len);
		for (size_t at = 0; at < len; at++) {
			text[at] = (char)0xFF;
			assert_int_equal(utf8_valid_prefix(text, len), at);
			text[at] = 'a';
		}
		free(text);
	}
	assert_int_equal(utf8_valid_prefix(NULL, 0), 0);
}

static void
hex_digits_are_those_of_both_cases(void **state)
{
	static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";

	(void)state;
	for (int c = 0; c < 256; c++) {
		const char *low = c == 0 ? NULL : strchr(digits, c);
		const char *high = c == 0 ? NULL : strchr(upper, c);
		int want = low != NULL    ? (int)(low - digits)
		           : high != NULL ? (int)(high - upper)
		                          : -1;

		assert_int_equal(str_hex_digit((char)c), want);
	}
}

static void
bare_ipv6_is_told_from_names_and_brackets(void **state)
{
	(void)state;
	assert_true(str_is_bare_ipv6(STR("::1")));
	assert_true(str_is_bare_ipv6(STR("2001:db8::10")));
	assert_false(str_is_bare_ipv6(STR("[::1]")));
	assert_false(str_is_bare_ipv6(STR("127.0.0.1")));
	assert_false(str_is_bare_ipv6(STR("host.example.com")));
	assert_false(str_is_bare_ipv6(STR_EMPTY));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(order_is_by_bytes_and_a_prefix_comes_first),
		cmocka_unit_test(starts_and_ends_compare_the_right_end),
		cmocka_unit_test(nocase_folds_ascii_letters_only),
		cmocka_unit_test(sub_stays_within_bounds),
		cmocka_unit_test(split_gives_each_part),
		cmocka_unit_test(trim_takes_ascii_space_off_both_ends),
		cmocka_unit_test(dup_is_ended_by_nul),
		cmocka_unit_test(dup_without_memory_is_null),
		cmocka_unit_test(i64_is_exact_at_its_limits),
		cmocka_unit_test(u64_is_exact_at_its_limits),
		cmocka_unit_test(what_is_no_number_is_refused),
		cmocka_unit_test(hex_digits_are_those_of_both_cases),
		cmocka_unit_test(bare_ipv6_is_told_from_names_and_brackets),
		cmocka_unit_test(utf8_takes_every_character_but_surrogates),
		cmocka_unit_test(utf8_refuses_all_other_bytes),
		cmocka_unit_test(utf8_finds_a_bad_byte_wherever_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
