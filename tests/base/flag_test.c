#include "base/flag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

struct fields {
	const char *text;
	int64_t number;
	bool on, other;
	enum { FIRST, SECOND } choice;
};

#define FIELD(name) offsetof(struct fields, name)

static const struct flag table[] = {
	{ "text", FLAG_TEXT, FIELD(text), "TEXT", "a text", 0 },
	{ "number", FLAG_INT, FIELD(number), "N", NULL, 0 },
	{ "on", FLAG_SWITCH, FIELD(on), NULL, "a switch", 0 },
	{ "second", FLAG_CHOICE, FIELD(choice), NULL, "a choice", SECOND },
	{ "old", FLAG_IGNORED, 0, NULL, "nothing", 0 },
};

static struct err err;

static int
parse(struct fields *fields, struct flag_words *words, char **argv)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	*fields = (struct fields){ .number = -1 };
	return flag_parse(table, ARRAY_LEN(table), fields, argc, argv, words, &err);
}

#define PARSE(fields, words, ...) parse(fields, words, (char *[]){ "prog", __VA_ARGS__, NULL })

static void
words_and_flags_may_be_mixed(void **state)
{
	struct fields fields;
	char *argv[] = { "prog", "a", "-on", "b", "--text", "-x", "-", "--", "-old", NULL };
	struct flag_words words;

	(void)state;
	assert_int_equal(parse(&fields, &words, argv), 0);
	assert_int_equal(words.len, 4);
	assert_string_equal(words.words[0], "a");
	assert_string_equal(words.words[1], "b");
	assert_string_equal(words.words[2], "-");
	assert_string_equal(words.words[3], "-old");
	assert_true(fields.on);
	assert_string_equal(fields.text, "-x");
}

static void
words_are_refused_where_none_are_taken(void **state)
{
	struct fields fields;

	(void)state;
	assert_int_equal(PARSE(&fields, NULL, "-on", "a"), -1);
	assert_string_equal(err.text, "'a' is not a flag; -help lists them");
	assert_int_equal(PARSE(&fields, NULL, "--"), -1);
}

static void
values_have_their_type(void **state)
{
	struct fields fields;

	(void)state;
	assert_int_equal(
	    PARSE(&fields, NULL, "-second", "--old", "-on=false", "-number=7", "-text=a=b"), 0);
	assert_int_equal(fields.choice, SECOND);
	assert_false(fields.on);
	assert_int_equal(fields.number, 7);
	assert_string_equal(fields.text, "a=b");
	assert_int_equal(PARSE(&fields, NULL, "-second=false"), 0);
	assert_int_equal(fields.choice, FIRST);
}

static void
what_is_wrong_is_said(void **state)
{
	static const struct {
		char *arg;
		const char *text;
	} cases[] = {
		{ "-foo=1", "flag -foo: not known; -help lists them" },
		{ "-number", "flag -number: wants N" },
		{ "-number=-1", "flag -number: '-1' is no good: wants N" },
		{ "-on=perhaps", "flag -on: 'perhaps' is no good" },
		{ "-=", "flag -: not known; -help lists them" },
	};
	struct fields fields;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(PARSE(&fields, NULL, cases[i].arg), -1);
		assert_int_equal(err.code, ERR_CONFIG);
		assert_string_equal(err.text, cases[i].text);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_flags_may_be_mixed),
		cmocka_unit_test(words_are_refused_where_none_are_taken),
		cmocka_unit_test(values_have_their_type),
		cmocka_unit_test(what_is_wrong_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
