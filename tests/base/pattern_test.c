#include "base/pattern.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"

static const struct {
	const char *expression;
	const char *yes[6], *no[6];
} rows[] = {
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
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pattern *p = pattern_new(str_of(rows[i].expression), &err);

		if (p == NULL)
			fail_msg("%s: %s", rows[i].expression, err.text);
		for (size_t k = 0; k < 6; k++) {
			if (rows[i].yes[k] != NULL && !pattern_matches(p, str_of(rows[i].yes[k])))
				fail_msg(
				    "%s does not match %s", rows[i].expression, rows[i].yes[k]);
			if (rows[i].no[k] != NULL && pattern_matches(p, str_of(rows[i].no[k])))
				fail_msg("%s matches %s", rows[i].expression, rows[i].no[k]);
		}
		pattern_free(p);
	}
}

static void
what_is_no_expression_is_refused(void **state)
{
	static const char *const bad[] = { "(", ")", "a)", "(a", "[", "[a", "[]", "*", "a|*", "a{",
		"a{x}", "a{1001}", "a{3,2}", "a{1", "\\", "\\q", "[b-a]", "[[:alpha:]]",
		"[\xC3\xA4]", "(?i)a", "(?P<x>a)", "[a-\\d]" };
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		if (pattern_new(str_of(bad[i]), &err) != NULL)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.code, ERR_CONFIG);
	}
}

static void
large_expressions_are_refused(void **state)
{
	char deep[200], longest[5000];
	struct err err;

	(void)state;
	memset(deep, '(', sizeof(deep));
	assert_null(pattern_new((struct str){ deep, sizeof(deep) }, &err));
	memset(longest, 'a', sizeof(longest));
	assert_null(pattern_new((struct str){ longest, sizeof(longest) }, &err));
	assert_int_equal(err.code, ERR_LIMIT);
	assert_null(pattern_new(STR("((a{100}){100}){100}"), &err));
	assert_int_equal(err.code, ERR_LIMIT);
	assert_null(pattern_new(STR("((((){1000}){1000}){1000}){1000}"), &err));
	assert_int_equal(err.code, ERR_LIMIT);
}

/* What makes engines that try again take for ever. */
static void
matching_takes_linear_time(void **state)
{
	char text[4001];
	struct pattern *p;
	struct err err;

	(void)state;
	memset(text, 'a', sizeof(text));
	text[4000] = 'b';
	p = pattern_new(STR("(a*)*(a|aa)*(a+)+c"), &err);
	assert_non_null(p);
	assert_false(pattern_matches(p, (struct str){ text, sizeof(text) }));
	pattern_free(p);
}

static void
no_memory_is_told(void **state)
{
	struct err err;

	(void)state;
	fault_malloc(1);
	assert_null(pattern_new(STR("a"), &err));
	fault_malloc(0);
	assert_int_equal(err.code, ERR_NOMEM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_texts_match),
		cmocka_unit_test(what_is_no_expression_is_refused),
		cmocka_unit_test(large_expressions_are_refused),
		cmocka_unit_test(matching_takes_linear_time),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
