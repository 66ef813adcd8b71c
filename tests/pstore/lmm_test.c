#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "writer_sample.h"

#define OPTIONS "{endpoint: 'http://127.0.0.1:1/lmm', tenantId: aTenant, apiKey: aKey}"

/*
 * The sample's objects, which upstream wrote of the values that the other vector has. Not those
 * whose value was averaged over 10 s, which shows with fractions below zero, -0 and the largest
 * uint64; "never", which is 1970 here; a string whose bytes are no UTF-8.
 */
static void
payload_is_that_of_upstream(void **state)
{
	static const char *const others[] = { "/vec/time/nilptr", "/vec/time/zero",
		"/vec/string/escapes", "/vec/uint/uint64", "/vec/float/negzero",
		"/vec/duration/negative", NULL };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "lmm", OPTIONS);
	check_sample(&m, &(struct writer_sample){ .file = "pstore_lmm_sample.txt",
	                     .ts_ms = 1795209710000,
	                     .others = others,
	                     .at_least = 27 });
	text_maker_fini(&m);
}

static const struct value numbers[] = { { .i = 1 }, { .i = -2 } };
static const struct list number_list = { numbers, 2 };

#define A100                                                                                       \
	"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffgggggggggghhhhhhhhhhiiiiiiii" \
	"ii"

static const struct {
	enum kind kind, sub_kind;
	struct value value;
	const char *before, *after; /* the key tenant_id; NULL = can't be written */
} kinds[] = {
	{ KIND_BOOL, KIND_NONE, { .b = true }, "", "1}" },
	{ KIND_INT64, KIND_NONE, { .i = INT64_MIN }, "", "-9223372036854776000}" },
	{ KIND_INT64, KIND_NONE, { .i = 9007199254740991 }, "", "9007199254740991}" },
	{ KIND_UINT64, KIND_NONE, { .u = UINT64_MAX }, "", "18446744073709552000}" },
	{ KIND_FLOAT64, KIND_NONE, { .f = 1e300 }, "", "1e+300}" },
	{ KIND_FLOAT64, KIND_NONE, { .f = NAN }, NULL, NULL },
	{ KIND_FLOAT32, KIND_NONE, { .f = -INFINITY }, NULL, NULL },
	{ KIND_TIME, KIND_NONE, { .i = 1500000000123456789 }, "", "1500000000.123456789}" },
	{ KIND_DURATION, KIND_NONE, { .i = -250000000 }, "", "-0.25}" },
	{ KIND_STRING, KIND_NONE, { .s = { "a\"b", 3 } }, ",\"stringValue\":\"a\\\"b\"", "0}" },
	{ KIND_STRING, KIND_NONE, { .s = { A100 "1234567890X", 101 } },
	    ",\"stringValue\":\"" A100 "1234567890\"", "0}" },
	{ KIND_STRING, KIND_NONE, { .s = { A100 "123456789\xc3\xa9", 101 } },
	    ",\"stringValue\":\"" A100 "123456789\"", "0}" },
	{ KIND_LIST, KIND_INT64, { .list = &number_list }, ",\"stringValue\":\"[1,-2]\"", "0}" },
	{ KIND_DIST, KIND_NONE, { .dist = &some_dist },
	    ",\"count\":6,\"le_0.5\":1,\"le_10\":3,\"le_inf\":6,\"sum\":12.5",
	    "2.0833333333333335}" },
	{ KIND_DIST, KIND_NONE, { .dist = &endless_dist },
	    ",\"count\":6,\"le_0.5\":1,\"le_10\":3,\"le_inf\":6", "0}" },
};

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "lmm", OPTIONS);
	assert_int_equal(m.writer->kinds, KINDS_ALL);
	m.origin = (struct write_origin){ .host = STR("h"), .app = STR("a") };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = dist_desc;
		struct str got;
		char want[600];

		desc.kind = kinds[i].kind;
		desc.sub_kind = kinds[i].sub_kind;
		got = text_of(&m, &desc, kinds[i].value, 1999 * NS_PER_MS);
		if (kinds[i].before == NULL) {
			assert_null(got.p);
			continue;
		}
		snprintf(want, sizeof(want),
		    "{\"@timestamp\":\"1970-01-01T00:00:01.999Z\",\"@version\":\"1\","
		    "\"apikey\":\"aKey\",\"appname\":\"a\",\"host\":\"h\",\"name\":\"/d\"%s,"
		    "\"tenant_id\":\"aTenant\",\"value\":%s",
		    kinds[i].before, kinds[i].after);
		assert_string_equal(got.p, want);
	}
	text_maker_fini(&m);
}

static const struct {
	int64_t ts_ns;
	const char *stamp;
} stamps[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ -86400 * NS_PER_S, "1969-12-31T00:00:00.000Z" },
	{ INT64_C(951782400) * NS_PER_S, "2000-02-29T00:00:00.000Z" },
	{ INT64_C(951868799) * NS_PER_S, "2000-02-29T23:59:59.000Z" },
	{ INT64_C(1709164800) * NS_PER_S, "2024-02-29T00:00:00.000Z" },
	{ INT64_C(1795209710972) * NS_PER_MS + 999999, "2026-11-20T21:21:50.972Z" },
	{ INT64_C(4102444800) * NS_PER_S, "2100-01-01T00:00:00.000Z" },
	{ INT64_MAX, "2262-04-11T23:47:16.854Z" },
	{ INT64_MIN + 1, "1677-09-21T00:12:43.145Z" },
};

static void
stamps_are_dates(void **state)
{
	struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "lmm", OPTIONS);
	for (size_t i = 0; i < ARRAY_LEN(stamps); i++) {
		struct str got = text_of(&m, &desc, (struct value){ .i = 1 }, stamps[i].ts_ns);

		got = str_sub(got, strlen("{\"@timestamp\":\""), strlen(stamps[i].stamp));
		if (!str_eq(got, str_of(stamps[i].stamp)))
			fail_msg("%.*s, not %s", STR_ARG(got), stamps[i].stamp);
	}
	text_maker_fini(&m);
}

static void
tags_follow_the_name(void **state)
{
	static const struct tag tags[] = { { STR("host"), STR("other") }, { STR("le_5"), STR("x") },
		{ STR("o\"id"), STR("1.3.6") } };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = tags, .tag_count = 3
	};
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "lmm", OPTIONS);
	assert_non_null(strstr(text_of(&m, &desc, (struct value){ .i = 7 }, 0).p,
	    ",\"name\":\"/x\",\"metric_host\":\"other\",\"metric_le_5\":\"x\","
	    "\"o\\\"id\":\"1.3.6\",\"region\":"));
	text_maker_fini(&m);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_is_that_of_upstream),
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(stamps_are_dates),
		cmocka_unit_test(tags_follow_the_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
