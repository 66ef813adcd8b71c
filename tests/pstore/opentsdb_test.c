#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pstore/opentsdb_answer.h"
#include "writer_sample.h"

#define OPTIONS "{hostAndPort: 'tsdb:4242'}"
#define TAGS                                                                                       \
	"\"tags\":{\"HostName\":\"host1.example.com\",\"appname\":\"vecapp\","                     \
	"\"ipaddress\":\"127.0.0.1\",\"region\":\"us-east-1\"}}"

/*
 * The sample's points, which upstream wrote of the values that the other vector has, but for: the
 * largest uint64, which upstream makes negative; "never", which is 1970 here; a string whose bytes
 * are no UTF-8, which the other vector can't hold.
 */
static void
payload_is_that_of_upstream(void **state)
{
	static const char *const others[] = { "/vec/time/nilptr", "/vec/time/zero",
		"/vec/string/escapes", "/vec/uint/uint64", NULL };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "openTSDB", OPTIONS);
	check_sample(&m, &(struct writer_sample){ .file = "pstore_opentsdb_sample.txt",
	                     .ts_ms = 1795209710972,
	                     .others = others,
	                     .at_least = 30 });
	text_maker_fini(&m);
}

static const struct {
	enum kind kind;
	struct value value;
	const char *text; /* NULL = can't be written */
} kinds[] = {
	{ KIND_BOOL, { .b = true }, "1" },
	{ KIND_INT64, { .i = INT64_MIN }, "-9223372036854775808" },
	{ KIND_INT64, { .i = INT64_MAX }, "9223372036854775807" },
	{ KIND_UINT64, { .u = INT64_MAX }, "9223372036854775807" },
	{ KIND_UINT64, { .u = UINT64_C(1) << 63 }, "9223372036854775808.0" },
	{ KIND_UINT64, { .u = UINT64_MAX }, "18446744073709552000.0" },
	{ KIND_UINT8, { .u = 255 }, "255" },
	{ KIND_FLOAT64, { .f = 0.1 }, "0.1" },
	{ KIND_FLOAT64, { .f = -0.0 }, "-0" },
	{ KIND_FLOAT64, { .f = 0x1p62 }, "4611686018427388000" },
	{ KIND_FLOAT64, { .f = -0x1p63 }, "-9223372036854775808.0" },
	{ KIND_FLOAT64, { .f = 1e300 }, "1e+300" },
	{ KIND_FLOAT64, { .f = NAN }, NULL },
	{ KIND_FLOAT32, { .f = INFINITY }, NULL },
	{ KIND_FLOAT64, { .f = -INFINITY }, NULL },
	{ KIND_TIME, { .i = 1500000000123456789 }, "1500000000.123456789" },
	{ KIND_DURATION, { .i = -1500000000 }, "-1500" },
	{ KIND_STRING, { .s = { "a\"b", 3 } }, "\"a\\\"b\"" },
};

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "openTSDB", "{hostAndPort: 'https://tsdb:4242/', precision: ms}");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = {
			.path = STR("/a b"), .unit = STR(UNIT_MILLISECONDS), .kind = kinds[i].kind
		};
		struct str got = text_of(&m, &desc, kinds[i].value, 1234567890123456789);
		char want[300];

		if (kinds[i].text == NULL) {
			assert_null(got.p);
			continue;
		}
		snprintf(want, sizeof(want),
		    "{\"metric\":\"/a_20b\",\"timestamp\":1234567890123,\"value\":%s," TAGS,
		    kinds[i].text);
		/* -2^63 has more than one shortest text that reads back. */
		if (kinds[i].kind == KIND_FLOAT64 && kinds[i].value.f <= -0x1p63)
			assert_non_null(strstr(got.p, ".0,\"tags\""));
		else if (kinds[i].kind == KIND_UINT64 && kinds[i].value.u == UINT64_C(1) << 63)
			assert_non_null(strstr(got.p, ".0,\"tags\""));
		else
			assert_string_equal(got.p, want);
	}
	text_maker_fini(&m);
}

static void
what_it_cannot_hold_is_told_by_its_kinds(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "openTSDB", OPTIONS);
	assert_int_equal(m.writer->kinds, KINDS_ALL & ~KIND_BIT(KIND_LIST));
	text_maker_fini(&m);
	text_maker_init(&m, "openTSDB", "{hostAndPort: x, strings: false}");
	assert_int_equal(
	    m.writer->kinds, KINDS_ALL & ~(KIND_BIT(KIND_LIST) | KIND_BIT(KIND_STRING)));
	text_maker_fini(&m);
}

#define POINT(name, value, more)                                                                   \
	"{\"metric\":\"/d" name "\",\"timestamp\":5,\"value\":" value                              \
	",\"tags\":{\"HostName\":\"h\"" more "}}"

static void
a_distribution_is_several_points(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "openTSDB", OPTIONS);
	m.origin = (struct write_origin){ .host = STR("h") };
	assert_string_equal(
	    text_of(&m, &dist_desc, (struct value){ .dist = &some_dist }, 5 * NS_PER_S).p,
	    POINT(".count", "6", "") "," POINT(".sum", "12.5", "") "," POINT(
	        ".bucket", "1", ",\"le\":\"0.5\"") "," POINT(".bucket", "3",
	        ",\"le\":\"10\"") "," POINT(".bucket", "6", ",\"le\":\"inf\""));
	assert_null(
	    strstr(text_of(&m, &dist_desc, (struct value){ .dist = &endless_dist }, 5 * NS_PER_S).p,
	        ".sum"));
	text_maker_fini(&m);
}

static void
tags_are_escaped_and_do_not_clash(void **state)
{
	static const struct tag tags[] = { { STR("HostName"), STR("other") },
		{ STR("empty"), STR("") }, { STR("if name"), STR("eth0:1") } };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = tags, .tag_count = 3
	};
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "openTSDB", OPTIONS);
	m.origin = (struct write_origin){ .host = STR("h\"\n"), .app = STR("a b") };
	assert_string_equal(text_of(&m, &desc, (struct value){ .i = 1 }, 5 * NS_PER_S).p,
	    "{\"metric\":\"/x\",\"timestamp\":5,\"value\":1,\"tags\":{\"HostName\":\"h_22_0A\","
	    "\"appname\":\"a_20b\",\"metric_HostName\":\"other\",\"if_20name\":\"eth0_3A1\"}}");
	m.origin = (struct write_origin){ .host = STR_EMPTY };
	assert_string_equal(text_of(&m, &desc, (struct value){ .i = 1 }, 5 * NS_PER_S).p,
	    "{\"metric\":\"/x\",\"timestamp\":5,\"value\":1,\"tags\":{"
	    "\"metric_HostName\":\"other\",\"if_20name\":\"eth0_3A1\"}}");
	text_maker_fini(&m);
}

/* Answers. */

#define P(name, value)                                                                             \
	"{\"metric\":\"" name "\",\"timestamp\":5,\"value\":" value                                \
	",\"tags\":{\"a\":\"b\",\"c\":\"d\"}}"
/* As the server has them: the value as a text, tags in another order. */
#define E(name, why)                                                                               \
	"{\"datapoint\":{\"metric\":\"" name "\",\"timestamp\":5,\"value\":\"1\","                 \
	"\"tags\":{\"c\":\"d\",\"a\":\"b\"}},\"error\":\"" why "\"}"

/* Records 0, 1 (two points), 2 (not written), 3. */
static const char *const texts[] = { P("/a", "1"), P("/b", "1") "," P("/b.sum", "1"), "",
	P("/a", "2") };

static const struct {
	const char *answer;
	enum write_status status;
	uint64_t refused_count;
	const char *refused; /* of each record */
} answers[] = {
	{ "{\"success\":4,\"failed\":0,\"errors\":[]}", WRITE_DONE, 0, "...." },
	{ "{\"success\":3,\"failed\":1,\"errors\":[" E("/a", "bad") "]}", WRITE_SOME, 1, "x..." },
	{ "{\"success\":2,\"failed\":2,\"errors\":[" E("/a", "bad") "," E("/a", "bad") "]}",
	    WRITE_SOME, 2, "x..x" },
	{ "{\"failed\":2,\"errors\":[" E("/b", "bad") "," E("/b.sum", "bad") "]}", WRITE_SOME, 1,
	    ".x.." },
	{ "{\"failed\":2,\"errors\":[" E("/zzz", "bad") "," E("/a", "bad") "]}", WRITE_SOME, 2,
	    "x..." },
	{ "{\"failed\":1,\"errors\":[{\"error\":\"no point\"}]}", WRITE_SOME, 1, "...." },
	{ "{\"failed\":2,\"errors\":[" E("/b", "bad") "," E(
	      "/a", "Storage exception: region moved") "]}",
	    WRITE_LATER, 0, "...." },
	{ "{\"failed\":1,\"errors\":[]}", WRITE_REFUSED, 0, "...." },
	{ "{\"failed\":1}", WRITE_REFUSED, 0, "...." },
	{ "{\"failed\":-1}", WRITE_DONE, 0, "...." },
	{ "{\"failed\":\"1\"}", WRITE_DONE, 0, "...." },
	{ "{\"failed\":1,\"errors\":[null,1,[]]}", WRITE_SOME, 1, "...." },
	{ "{\"error\":{\"code\":400}}", WRITE_DONE, 0, "...." },
	{ "{\"failed\":1,\"errors\":[", WRITE_DONE, 0, "...." },
	{ "", WRITE_DONE, 0, "...." },
	{ "[1]", WRITE_DONE, 0, "...." },
};

static void
answers_name_the_points(void **state)
{
	struct buf body;
	uint32_t ends[ARRAY_LEN(texts)];
	struct write_request request = { .ends = ends, .n = ARRAY_LEN(texts) };

	(void)state;
	buf_init(&body, 0);
	buf_putc(&body, '[');
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		if (i > 0 && texts[i][0] != '\0')
			buf_putc(&body, ',');
		buf_puts(&body, texts[i]);
		ends[i] = (uint32_t)body.len;
	}
	buf_putc(&body, ']');
	request.body = buf_view(&body);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
		bool refused[ARRAY_LEN(texts)] = { false };
		struct write_answer out = { .status = WRITE_DONE, .refused = refused };

		opentsdb_judge(str_of(answers[i].answer), &request, &out);
		if (out.status != answers[i].status ||
		    out.refused_count != answers[i].refused_count)
			fail_msg("row %zu: status %d, %llu refused", i, (int)out.status,
			    (unsigned long long)out.refused_count);
		for (size_t k = 0; k < ARRAY_LEN(texts); k++)
			assert_int_equal(refused[k], answers[i].refused[k] == 'x');
	}
	buf_fini(&body);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_is_that_of_upstream),
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(what_it_cannot_hold_is_told_by_its_kinds),
		cmocka_unit_test(a_distribution_is_several_points),
		cmocka_unit_test(tags_are_escaped_and_do_not_clash),
		cmocka_unit_test(answers_name_the_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
