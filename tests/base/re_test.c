#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/re.h"
#include "fault.h"

static const struct {
	const char *expression, *text;
	bool matches;
} rows[] = {
	{ "", "", true },
	{ "", "a", true },
	{ "a", "", false },
	{ "a", "bab", true },
	{ "^a", "ba", false },
	{ "a$", "ab", false },
	{ "^$", "", true },
	{ "^/sys/", "/sys/cpu", true },
	{ "^/sys/", "/proc/sys/", false },
	{ "a.c", "abc", true },
	{ "a.c", "a\nc", false },
	{ "(?s)a.c", "a\nc", true },
	{ "^a.c$",
	    "a\xc3\xa9"
	    "c",
	    true }, /* one character of two bytes */
	{ "^a.c$",
	    "a\xff"
	    "c",
	    true }, /* no UTF-8 */
	{ "ab*c", "ac", true },
	{ "ab+c", "ac", false },
	{ "ab+?c", "abbc", true },
	{ "^ab?c$", "abbc", false },
	{ "^(ab)*$", "ababab", true },
	{ "^(ab)*$", "aba", false },
	{ "^(a*)*$", "aaab", false },
	{ "^(?:a|b|cd)+$", "abcdba", true },
	{ "^(?:a|b|cd)+$", "abcba", false },
	{ "^a|b$", "ax", true },
	{ "^(a|)$", "", true },
	{ "^(|a)b$", "ab", true },
	{ "^a{2}$", "aa", true },
	{ "^a{2}$", "aaa", false },
	{ "^a{2,}$", "aaaa", true },
	{ "^a{2,3}$", "aaaa", false },
	{ "^a{0,2}$", "", true },
	{ "^a{0}b$", "b", true },
	{ "a{,2}", "a{,2}", true }, /* stands for itself */
	{ "a{x", "a{x", true },
	{ "[abc]", "xbx", true },
	{ "^[^abc]+$", "xyz", true },
	{ "^[^abc]+$", "xya", false },
	{ "^[a-c]+$", "abc", true },
	{ "[a-]", "-", true },
	{ "[]a]", "]", true },
	{ "[^]a]", "]", false },
	{ "^[\\d.]+$", "1.25", true },
	{ "^[\\D]$", "1", false },
	{ "^[[:alpha:]_]+$", "ab_c", true },
	{ "^[[:^digit:]]$", "7", false },
	{ "\\d+", "abc7", true },
	{ "^\\w+$", "a_1", true },
	{ "^\\W$", "-", true },
	{ "\\s", "a b", true },
	{ "^\\S+$", "a b", false },
	{ "\\bcpu\\b", "/sys/cpu/0", true },
	{ "\\bcpu\\b", "/sys/cpus/0", false },
	{ "cpu\\B", "/sys/cpus", true },
	{ "\\Aab\\z", "ab", true },
	{ "(?i)CPU", "/sys/Cpu", true },
	{ "(?i)[a-c]X", "Bx", true },
	{ "a(?i)b", "aB", true },
	{ "a(?i)b", "AB", false },
	{ "(?i:a)b", "AB", false },
	{ "(?i:a)b", "Ab", true },
	{ "(?-i)a", "A", false },
	{ "(?m)^b$", "a\nb\nc", true },
	{ "^b$", "a\nb\nc", false },
	{ "(?P<name>a)b", "ab", true },
	{ "\\.json", "xjson", false },
	{ "a\\.b", "a.b", true },
	{ "\\x41\\x{42}\\103", "ABC", true },
	{ "\\Qa.b\\E+", "a.bbb", true },
	{ "\\Qa.b", "axb", false },
	{ "\\t", "\t", true },
	{ "\\/", "/", true },
	{ "x*", "", true },
	{ "(?U)a+?", "a", true },
	{ "\xc3\xa9", "caf\xc3\xa9", true },
	{ "[\xc3\xa9-\xc3\xab]", "\xc3\xaa", true },
};

static void
matches_as_re2_does(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct err err;
		struct re *re = re_new(str_of(rows[i].expression), &err);

		if (re == NULL)
			fail_msg("row %zu: %s", i, err.text);
		/* Twice: nothing stays from one text to the next. */
		for (int n = 0; n < 2; n++) {
			if (re_match(re, str_of(rows[i].text)) != rows[i].matches)
				fail_msg("'%s' on '%s' is %d", rows[i].expression, rows[i].text,
				    !rows[i].matches);
		}
		re_free(re);
	}
}

static void
what_is_wrong_is_told(void **state)
{
	static const char *const wrong[] = { "(", ")", "a)", "[", "[a", "*", "a**", "+a", "a{2}{3}",
		"a{2,1}", "a{1001}", "\\", "\\1", "(a)\\1", "(?=a)", "(?!a)", "(?<=a)b", "(?<!a)b",
		"\\pL", "[z-a]", "[[:nope:]]", "\\xZZ", "\\x{110000}", "(?P<n", "(?z)a", "\\y",
		"((a{100}){100}){100}", "(((){1000}){1000}){1000}", "[b-\\d]" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct err err;
		struct re *re = re_new(str_of(wrong[i]), &err);

		if (re != NULL)
			fail_msg("'%s' is taken", wrong[i]);
		assert_int_equal(err.code, ERR_CONFIG);
		assert_non_null(strstr(err.text, "regular expression"));
	}
}

static void
what_is_too_long_or_deep_is_refused(void **state)
{
	static char text[RE_BYTES_MAX + 1];
	struct err err;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_null(re_new((struct str){ text, sizeof(text) }, &err));
	memset(text, '(', sizeof(text));
	assert_null(re_new((struct str){ text, RE_BYTES_MAX }, &err));
}

/* What takes others exponential time: many ways to match, and none at the end. */
static void
no_text_is_slow(void **state)
{
	static char text[20000];
	struct err err;
	struct re *re = re_new(STR("^(a|a|aa?)*(a*)*b$"), &err);

	(void)state;
	assert_non_null(re);
	memset(text, 'a', sizeof(text));
	assert_false(re_match(re, (struct str){ text, sizeof(text) }));
	re_free(re);
}

static void
without_memory_there_is_none(void **state)
{
	struct err err;
	struct re *re;
	unsigned nth = 1;

	(void)state;
	for (fault_malloc(nth); (re = re_new(STR("^(a|[b-d]*){2,3}\\d$"), &err)) == NULL;
	     fault_malloc(++nth))
		assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	assert_true(nth > 5);
	re_free(re);
}

static const struct {
	const char *expression;
	const char *yes[6], *no[6];
} whole[] = {
	{ "", { "" }, { "a" } },
	{ "abc", { "abc" }, { "ab", "abcd", "xabc", "" } },
	{ "a.c",
	    { "abc", "a.c",
	        "a\xC3\xA4"
	        "c" },
	    { "ac", "abbc", "a\nc" } },
	{ ".*", { "", "abc", "\xE2\x82\xAC" }, { "\n" } },
	{ "..", { "\xC3\xA4\xE2\x82\xAC", "ab" }, { "\xC3\xA4" } },
	{ "a|bc|", { "a", "bc", "" }, { "ab", "abc", "c" } },
	{ "(a|b)*c", { "c", "abbac" }, { "ab", "cc" } },
	{ "a+", { "a", "aaaa" }, { "", "ab" } },
	{ "\xC3\xA4+", { "\xC3\xA4", "\xC3\xA4\xC3\xA4" }, { "\xC3\xA4\xA4" } },
	{ "ab?c", { "ac", "abc" }, { "abbc" } },
	{ "a{2,3}", { "aa", "aaa" }, { "a", "aaaa" } },
	{ "(ab){2}", { "abab" }, { "ab", "ababab" } },
	{ "a{2,}", { "aa", "aaaaaa" }, { "a" } },
	{ "a{0,}b", { "b", "aab" }, { "a" } },
	{ "xa{0}y", { "xy" }, { "xay" } },
	{ "a{1,3}?", { "a", "aaa" }, { "" } },
	{ "(a*)*", { "", "aaa" }, { "b" } },
	{ "(a|b{2}|(?:c))+", { "abbc" }, { "b" } },
	{ "[a-c]", { "a", "b", "c" }, { "d", "-" } },
	{ "[]a-]", { "]", "a", "-" }, { "b" } },
	{ "[^a-c]", { "d", "\xC3\xA4", "\n" }, { "a", "" } },
	{ "[\\d_]+", { "1_2" }, { "a" } },
	{ "\\w+\\s\\d", { "ab_1 2", "a\t3" }, { "a b" } },
	{ "\\D\\W\\S", { "a-b", "\xC3\xA4-\xC3\xA4" }, { "1-b", "aab", "a- " } },
	{ "\\.\\*\\\\\\n", { ".*\\\n" }, { "a" } },
	{ "^a$", { "a" }, { "ba" } },
	{ "(^|x)a", { "a", "xa" }, { "ya" } },
	{ "10\\.0\\.\\d{1,3}\\.\\d{1,3}:9100", { "10.0.1.23:9100" }, { "10a0.1.23:9100" } },
};

static void
whole_texts_match(void **state)
{
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
		struct re *re = re_new_whole(str_of(whole[i].expression), &err);

		if (re == NULL)
			fail_msg("%s: %s", whole[i].expression, err.text);
		for (size_t k = 0; k < 6; k++) {
			if (whole[i].yes[k] != NULL && !re_match(re, str_of(whole[i].yes[k])))
				fail_msg(
				    "%s does not match %s", whole[i].expression, whole[i].yes[k]);
			if (whole[i].no[k] != NULL && re_match(re, str_of(whole[i].no[k])))
				fail_msg("%s matches %s", whole[i].expression, whole[i].no[k]);
		}
		re_free(re);
	}
}

static void
brackets_that_are_not_balanced_stay_so(void **state)
{
	struct err err;

	(void)state;
	assert_null(re_new_whole(STR("a)(b"), &err));
	assert_int_equal(err.code, ERR_CONFIG);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matches_as_re2_does),
		cmocka_unit_test(whole_texts_match),
		cmocka_unit_test(brackets_that_are_not_balanced_stay_so),
		cmocka_unit_test(what_is_wrong_is_told),
		cmocka_unit_test(what_is_too_long_or_deep_is_refused),
		cmocka_unit_test(no_text_is_slow),
		cmocka_unit_test(without_memory_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
