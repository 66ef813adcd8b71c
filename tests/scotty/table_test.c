#include "scotty/table.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"

static const struct column columns[] = {
	{ "NAME", "name", CELL_TEXT },
	{ "AGE", "at", CELL_AGE },
	{ "TOOK", "took", CELL_SECONDS },
	{ "VALUE", "value", CELL_VALUE },
};

static int
format(struct buf *out, const char *text, struct err *err)
{
	return table_format(out, text, columns, ARRAY_LEN(columns), 1000000 * NS_PER_S + 5, err);
}

static void
assert_table(const char *text, const char *expected)
{
	struct buf out;
	struct err err;

	buf_init(&out, 0);
	if (format(&out, text, &err) != 0)
		fail_msg("%s", err.text);
	buf_putc(&out, '\0');
	assert_string_equal(out.p, expected);
	buf_fini(&out);
}

static void
columns_are_as_wide_as_they_need(void **state)
{
	(void)state;
	assert_table("[]\n", "");
	assert_table(
	    "[{\"name\":\"caf\xc3\xa9s\",\"at\":\"999988.500000000\",\"took\":0.0123,\"value\":1},"
	    "{\"name\":\"b\",\"at\":\"0\",\"took\":1,\"value\":\"x y\"}]",
	    "NAME   AGE    TOOK    VALUE\n"
	    "caf\xc3\xa9s  12s    0.012s  1\n"
	    "b      never  1.000s  x y\n");
}

static void
ages_have_two_units(void **state)
{
	(void)state;
	assert_table(
	    "[{\"at\":\"999941\"},{\"at\":\"999813\"},{\"at\":\"981820\"},{\"at\":\"787600.1\"},"
	    "{\"at\":\"1000009\"}]",
	    "NAME  AGE    TOOK  VALUE\n"
	    "      59s          \n"
	    "      3m07s        \n"
	    "      5h03m        \n"
	    "      2d11h        \n"
	    "      0s           \n");
}

static void
values_are_what_was_sent(void **state)
{
	(void)state;
	assert_table(
	    "[{\"value\":18446744073709551615},{\"value\":0.1},{\"value\":[1,2]},{\"value\":true},"
	    "{\"value\":{\"sum\":503.5,\"count\":16,\"counts\":[16]}},{\"value\":null}]",
	    "NAME  AGE  TOOK  VALUE\n"
	    "                 18446744073709551615\n"
	    "                 0.1\n"
	    "                 [1,2]\n"
	    "                 true\n"
	    "                 count=16 sum=503.5\n"
	    "                 \n");
}

static void
control_characters_are_shown(void **state)
{
	(void)state;
	assert_table("[{\"name\":\"\\u001b[2J\\u009b\\u0000\",\"value\":[\"\\u007f\"]}]",
	    "NAME                 AGE  TOOK  VALUE\n"
	    "\\x1b[2J\\xc2\\x9b\\x00             [\"\\x7f\"]\n");
}

static void
what_is_no_array_is_refused(void **state)
{
	static const char *const texts[] = { "", "{}", "[", "<html>" };
	struct buf out;
	struct err err;

	(void)state;
	buf_init(&out, 0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(format(&out, texts[i], &err), -1);
		assert_int_equal(err.code, ERR_PROTO);
	}
	buf_fini(&out);
}

static void
without_memory_it_fails(void **state)
{
	struct buf out;
	struct err err;
	unsigned nth = 0;
	int rc = -1;

	(void)state;
	while (rc != 0) {
		buf_init(&out, 0);
		fault_malloc(++nth);
		rc = format(&out, "[]", &err);
		fault_malloc(0);
		buf_fini(&out);
	}
	assert_true(nth > 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_they_need),
		cmocka_unit_test(ages_have_two_units),
		cmocka_unit_test(values_are_what_was_sent),
		cmocka_unit_test(control_characters_are_shown),
		cmocka_unit_test(what_is_no_array_is_refused),
		cmocka_unit_test(without_memory_it_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
