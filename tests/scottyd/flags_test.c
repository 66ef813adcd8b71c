#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "scottyd/config.h"

static int
parse(struct flags *flags, struct err *err, char **argv)
{
	int argc = 0;

	while (argv[argc] != NULL)
		argc++;
	return flags_parse(flags, argc, argv, err);
}

#define PARSE(flags, err, ...) parse(flags, err, (char *[]){ "scottyd", __VA_ARGS__, NULL })

static void
one_or_two_dashes_with_or_without_equals(void **state)
{
	struct flags flags;
	struct err err;

	(void)state;
	assert_int_equal(PARSE(&flags, &err, "-portNum", "7", "--name=x", "-listen=:1"), 0);
	assert_int_equal(flags.port, 7);
	assert_string_equal(flags.name, "x");
	assert_string_equal(flags.listen, ":1");
	assert_int_equal(PARSE(&flags, &err, "--portNum=8", "--collectionFrequency", "1m30s"), 0);
	assert_int_equal(flags.port, 8);
	assert_int_equal(flags.frequency_ns, 90 * NS_PER_S);
}

static void
what_is_not_given_is_not_set(void **state)
{
	struct flags flags;
	struct err err;

	(void)state;
	assert_int_equal(PARSE(&flags, &err, "-debug"), 0);
	assert_true(flags.debug_log);
	assert_int_equal(flags.port, -1);
	assert_int_equal(flags.frequency_ns, -1);
	assert_null(flags.config);
	assert_int_equal(flags.what, RUN);
}

static void
an_empty_value_is_a_value(void **state)
{
	struct flags flags;
	struct err err;

	(void)state;
	assert_int_equal(PARSE(&flags, &err, "-stateDir="), 0);
	assert_string_equal(flags.state_dir, "");
	assert_int_equal(PARSE(&flags, &err, "-stateDir", ""), 0);
	assert_string_equal(flags.state_dir, "");
}

static void
switches_take_no_following_word(void **state)
{
	struct flags flags;
	struct err err;

	(void)state;
	assert_int_equal(PARSE(&flags, &err, "-validate", "-config", "f"), 0);
	assert_int_equal(flags.what, VALIDATE);
	assert_string_equal(flags.config, "f");
	assert_int_equal(PARSE(&flags, &err, "-validate=false"), 0);
	assert_int_equal(flags.what, RUN);
	assert_int_equal(PARSE(&flags, &err, "-alsoLogToStderr=true"), 0);
}

static void
what_is_wrong_is_named(void **state)
{
	static const struct {
		char *argv[4];
		const char *text;
	} rows[] = {
		{ { "scottyd", "-foo" }, "flag -foo: not known; -help lists them" },
		{ { "scottyd", "--foo=1" }, "flag -foo: not known; -help lists them" },
		{ { "scottyd", "foo" }, "'foo' is not a flag; -help lists them" },
		{ { "scottyd", "-" }, "'-' is not a flag; -help lists them" },
		{ { "scottyd", "-portNum" }, "flag -portNum: wants N" },
		{ { "scottyd", "-portNum", "x" }, "flag -portNum: 'x' is no good: wants N" },
		{ { "scottyd", "-portNum", "-1" }, "flag -portNum: '-1' is no good: wants N" },
		{ { "scottyd", "-collectionFrequency", "0" },
		    "flag -collectionFrequency: '0' is no good: wants TIME" },
		{ { "scottyd", "-debug=maybe" }, "flag -debug: 'maybe' is no good" },
		{ { "scottyd", "-coordinator", "x" },
		    "flag -coordinator: not supported: there is no coordination yet" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct flags flags;
		struct err err;

		assert_int_equal(parse(&flags, &err, (char **)(uintptr_t)rows[i].argv), -1);
		assert_int_equal(err.code, ERR_CONFIG);
		assert_string_equal(err.text, rows[i].text);
	}
}

static void
help_fits_a_screen(void **state)
{
	char text[8192] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");
	struct str rest, line;
	int lines = 0;

	(void)state;
	assert_non_null(out);
	flags_help(out);
	fclose(out);
	rest = str_of(text);
	while (str_split(&rest, '\n', &line)) {
		assert_true(line.len <= 100);
		lines++;
	}
	assert_in_range(lines, 10, 40);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_or_two_dashes_with_or_without_equals),
		cmocka_unit_test(what_is_not_given_is_not_set),
		cmocka_unit_test(an_empty_value_is_a_value),
		cmocka_unit_test(switches_take_no_following_word),
		cmocka_unit_test(what_is_wrong_is_named),
		cmocka_unit_test(help_fits_a_screen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
