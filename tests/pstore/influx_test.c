#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "pstore/consumer.h"
#include "pstore/influx_line.h"
#include "pstore/value_text.h"
#include "writer_sample.h"

static void
make_writer(struct text_maker *m, const char *more)
{
	char text[300];

	snprintf(text, sizeof(text), "{hostAndPort: 'http://127.0.0.1:1', %s}", more);
	text_maker_init(m, "influx", text);
}

/* The line without its newline, NULL if there is none. Valid until the next call. */
static const char *
line_of(struct text_maker *m, const struct metric_desc *desc, struct value value, int64_t ts_ns)
{
	struct str text = text_of(m, desc, value, ts_ns);

	if (text.p == NULL)
		return NULL;
	assert_int_equal(m->text.p[text.len - 1], '\n');
	m->text.p[text.len - 1] = '\0';
	return text.p;
}

/*
 * The sample's lines, which upstream wrote of the values that the other vector has. Two of them
 * can't be the same: the time 0 stands for both "never", which upstream got by another protocol,
 * and 1970; and the sample's time zone of bytes that are no UTF-8.
 */
static void
payload_is_that_of_upstream(void **state)
{
	static const char *const others[] = { "/vec/time/nilptr", "/vec/time/zero",
		"/vec/string/escapes", NULL };
	struct text_maker m;

	(void)state;
	make_writer(&m, "database: d, precision: ms");
	check_sample(&m, &(struct writer_sample){ .file = "pstore_influx_sample.txt",
	                     .ts_ms = 1795209710972,
	                     .others = others,
	                     .at_least = 30 });
	text_maker_fini(&m);
}

static const uint64_t counts[] = { 1, 2, 3 };
static const double limits[] = { 0.5, 10 };
static const struct dist dist = { .counts = counts, .len = 3, .sum = 12.5, .count = 6 };
static const struct dist endless = { .counts = counts, .len = 3, .sum = INFINITY, .count = 6 };
static const struct value numbers[] = { { .i = 1 }, { .i = -2 } };
static const struct value words[] = { { .s = { "a\"b", 3 } } };
static const struct list number_list = { numbers, 2 }, word_list = { words, 1 };

static const struct {
	enum kind kind, sub_kind;
	struct value value;
	const char *upstream, *tagged; /* fields after name=..., NULL = can't be written */
} kinds[] = {
	{ KIND_BOOL, KIND_NONE, { .b = true }, "value=1", "value=true" },
	{ KIND_BOOL, KIND_NONE, { .b = false }, "value=0", "value=false" },
	{ KIND_INT8, KIND_NONE, { .i = -128 }, "value=-128", "value=-128i" },
	{ KIND_INT64, KIND_NONE, { .i = INT64_MIN }, "value=-9223372036854776000",
	    "value=-9223372036854775808i" },
	{ KIND_UINT32, KIND_NONE, { .u = 4294967295 }, "value=4294967295", "value=4294967295i" },
	{ KIND_UINT64, KIND_NONE, { .u = UINT64_MAX }, "value=18446744073709552000",
	    "value=18446744073709552000" },
	{ KIND_UINT64, KIND_NONE, { .u = 7 }, "value=7", "value=7" },
	{ KIND_FLOAT64, KIND_NONE, { .f = 1e300 }, NULL, NULL }, /* see below */
	{ KIND_FLOAT64, KIND_NONE, { .f = 1.5e-9 }, "value=0.0000000015", "value=0.0000000015" },
	{ KIND_FLOAT64, KIND_NONE, { .f = -1.25e22 }, "value=-12500000000000000000000",
	    "value=-12500000000000000000000" },
	{ KIND_FLOAT64, KIND_NONE, { .f = NAN }, NULL, NULL },
	{ KIND_FLOAT64, KIND_NONE, { .f = INFINITY }, NULL, NULL },
	{ KIND_FLOAT32, KIND_NONE, { .f = -INFINITY }, NULL, NULL },
	{ KIND_STRING, KIND_NONE, { .s = { "a \"b\\", 5 } }, "value=\"a \\\"b\\\\\"",
	    "value=\"a \\\"b\\\\\"" },
	{ KIND_STRING, KIND_NONE, { .s = { "", 0 } }, "value=\"\"", "value=\"\"" },
	{ KIND_TIME, KIND_NONE, { .i = 1500000000123456789 }, "value=1500000000.123456789",
	    "value=1500000000.123456789" },
	{ KIND_TIME, KIND_NONE, { .i = 0 }, "value=0", "value=0" },
	{ KIND_DURATION, KIND_NONE, { .i = -1500000000 }, "value=-1.5", "value=-1.5" },
	{ KIND_LIST, KIND_INT64, { .list = &number_list }, "value=\"[1,-2]\"", "value=\"[1,-2]\"" },
	{ KIND_LIST, KIND_STRING, { .list = &word_list }, "value=\"[\\\"a\\\\\\\"b\\\"]\"",
	    "value=\"[\\\"a\\\\\\\"b\\\"]\"" },
	{ KIND_DIST, KIND_NONE, { .dist = &dist }, "count=6,sum=12.5,le_0.5=1,le_10=3,le_inf=6",
	    "count=6i,sum=12.5,le_0.5=1i,le_10=3i,le_inf=6i" },
	{ KIND_DIST, KIND_NONE, { .dist = &endless }, "count=6,le_0.5=1,le_10=3,le_inf=6",
	    "count=6i,le_0.5=1i,le_10=3i,le_inf=6i" },
};

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m[2];

	(void)state;
	make_writer(&m[0], "database: d");
	make_writer(&m[1], "bucket: b, schema: tagged");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = { .path = STR("/a b"),
			.unit = STR("Seconds"),
			.kind = kinds[i].kind,
			.sub_kind = kinds[i].sub_kind,
			.limits = limits,
			.limit_count = kinds[i].kind == KIND_DIST ? 2 : 0 };
		char want[500];
		const char *got;

		if (kinds[i].kind == KIND_FLOAT64 && kinds[i].value.f > 1e299 &&
		    isfinite(kinds[i].value.f))
			continue;
		got = line_of(&m[0], &desc, kinds[i].value, 1234567890);
		snprintf(want, sizeof(want),
		    "/a\\ b,@version=1,appname=vecapp,host=host1.example.com,ipaddress=127.0.0.1,"
		    "region=us-east-1 name=\"/a b\",%s 1234567890",
		    kinds[i].upstream == NULL ? "" : kinds[i].upstream);
		if (kinds[i].upstream == NULL)
			assert_null(got);
		else
			assert_string_equal(got, want);
		got = line_of(&m[1], &desc, kinds[i].value, 1234567890);
		snprintf(want, sizeof(want),
		    "/a\\ b,app=vecapp,host=host1.example.com,ipaddress=127.0.0.1,"
		    "region=us-east-1 %s 1234567890",
		    kinds[i].tagged == NULL ? "" : kinds[i].tagged);
		if (kinds[i].tagged == NULL)
			assert_null(got);
		else
			assert_string_equal(got, want);
	}
	text_maker_fini(&m[0]);
	text_maker_fini(&m[1]);
}

static void
numbers_have_no_exponent_and_read_back(void **state)
{
	static const double values[] = { 1e300, -1e300, 5e-324, 1.7976931348623157e308, 1e21,
		1.2345678901234567e25, 2.2250738585072014e-308, 1e-7, 123456.789, -0.0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		char text[VALUE_TEXT_BYTES + 1];
		size_t len = value_text_f64(text, values[i]);

		assert_true(len <= VALUE_TEXT_BYTES);
		text[len] = '\0';
		assert_null(strchr(text, 'e'));
		assert_true(strtod(text, NULL) == values[i]);
	}
}

static void
a_metrics_tags_are_tags(void **state)
{
	static const struct tag tags[] = { { STR("host"), STR("other") },
		{ STR("oid"), STR("1.3.6") } };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = tags, .tag_count = 2
	};
	struct text_maker m;

	(void)state;
	make_writer(&m, "database: d, precision: s");
	assert_string_equal(line_of(&m, &desc, (struct value){ .i = 5 }, 2999999999),
	    "/x,@version=1,appname=vecapp,host=host1.example.com,ipaddress=127.0.0.1,"
	    "region=us-east-1,metric_host=other,oid=1.3.6 name=\"/x\",value=5 2");
	text_maker_fini(&m);
}

static const struct {
	const char *text, *written;
} names[] = {
	{ "plain", "plain" },
	{ "a b,c=d", "a\\ b\\,c\\=d" },
	{ "a\\b", "a\\b" },
	{ "a\\\\b", "a\\\\b" },
	{ "a\\", "a/" },
	{ "a\\\\", "a\\\\" },
	{ "a\\\\\\", "a\\\\/" },
	{ "a\\,b", "a/\\,b" },
	{ "a\\\\,b", "a\\\\\\,b" },
	{ "a\nb\r", "a\\nb\\r" },
	{ "\"q\"", "\"q\"" },
};

static void
names_are_escaped(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		buf_clear(&out);
		influx_name(&out, str_of(names[i].text));
		buf_putc(&out, '\0');
		assert_string_equal(out.p, names[i].written);
	}
	buf_clear(&out);
	influx_tag(&out, STR("k"), STR(""));
	assert_int_equal(out.len, 0);
	buf_fini(&out);
}

/* Whatever bytes there are, a line stays a line. */
static void
no_byte_ends_a_line(void **state)
{
	struct text_maker m;

	(void)state;
	make_writer(&m, "database: d");
	for (int c = 0; c < 256; c++) {
		char path[4] = { '/', (char)c, 'x', (char)c };
		struct tag tag = { STR("k"), { path, 4 } };
		struct metric_desc desc = {
			.path = { path, 4 }, .kind = KIND_INT64, .tags = &tag, .tag_count = 1
		};
		const char *line = line_of(&m, &desc, (struct value){ .i = 1 }, 1);

		/* The field's string may have line ends, as it is in quotes. */
		assert_null(memchr(line, '\n', (size_t)(strstr(line, " name=") - line)));
		/* Before the end that line_of cut off. */
		assert_true(c == 0 || m.text.len - 2 == strlen(line));
	}
	text_maker_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_is_that_of_upstream),
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(numbers_have_no_exponent_and_read_back),
		cmocka_unit_test(a_metrics_tags_are_tags),
		cmocka_unit_test(names_are_escaped),
		cmocka_unit_test(no_byte_ends_a_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
