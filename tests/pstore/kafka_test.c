#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>

#include "pstore/record_json.h"
#include "writer_sample.h"

#define REQUIRED "endpoints: ['127.0.0.1:1'], topic: t, clientId: c"
#define LMM      "{" REQUIRED ", tenantId: aTenant, apiKey: aKey}"
#define TAGGED   "{" REQUIRED ", tenantId: aTenant, apiKey: aKey, schema: tagged}"
#define JSON     "{" REQUIRED ", format: json}"

/*
 * The sample is of the writer lmm, whose objects Kafka's messages are but for the slashes of names
 * and strings' full length. "Never" came to upstream by another protocol, as in the sample of
 * influx.
 */
static void
with_slashes(const struct metric_desc *desc, struct str text, struct buf *out)
{
	static const char key[] = "\"name\":\"";
	const char *at = memmem(text.p, text.len, key, strlen(key));
	size_t name = at == NULL ? text.len : (size_t)(at - text.p) + strlen(key);

	buf_str(out, str_sub(text, 0, name));
	buf_str(out, desc->path);
	buf_str(out, str_sub(text, name + desc->path.len, SIZE_MAX));
}

static void
payload_is_that_of_upstream(void **state)
{
	static const char *const others[] = { "/vec/time/nilptr", "/vec/time/zero",
		"/vec/float/negzero", "/vec/uint/uint64", "/vec/duration/negative", NULL };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "kafka", LMM);
	check_sample(&m, &(struct writer_sample){ .file = "pstore_lmm_sample.txt",
	                     .ts_ms = 1795209710000,
	                     .others = others,
	                     .at_least = 25,
	                     .as_sampled = with_slashes });
	text_maker_fini(&m);
}

static const uint64_t counts[] = { 1, 2, 3 };
static const double limits[] = { 0.5, 10 };
static const struct dist dist = { .counts = counts, .len = 3, .sum = 12.5, .count = 6 };
static const struct dist endless = { .counts = counts, .len = 3, .sum = INFINITY, .count = 6 };
static const struct dist none = { .counts = counts, .len = 0, .sum = 0, .count = 0 };
static const struct value numbers[] = { { .i = 1 }, { .i = -2 } };
static const struct value words[] = { { .s = { "a\"b", 3 } } };
static const struct list number_list = { numbers, 2 }, word_list = { words, 1 };

static const struct {
	enum kind kind, sub_kind;
	struct value value;
	const char *before, *number; /* the tenant, and the value; number NULL = can't be written */
} kinds[] = {
	{ KIND_BOOL, KIND_NONE, { .b = true }, "", "1" },
	{ KIND_BOOL, KIND_NONE, { .b = false }, "", "0" },
	{ KIND_INT8, KIND_NONE, { .i = -128 }, "", "-128" },
	{ KIND_INT64, KIND_NONE, { .i = INT64_MIN }, "", "-9223372036854776000" },
	{ KIND_UINT32, KIND_NONE, { .u = 4294967295 }, "", "4294967295" },
	{ KIND_UINT64, KIND_NONE, { .u = UINT64_MAX }, "", "18446744073709552000" },
	{ KIND_FLOAT64, KIND_NONE, { .f = 1.5e-9 }, "", "1.5e-9" },
	{ KIND_FLOAT64, KIND_NONE, { .f = -1e300 }, "", "-1e+300" },
	{ KIND_FLOAT32, KIND_NONE, { .f = 0.5 }, "", "0.5" },
	{ KIND_FLOAT64, KIND_NONE, { .f = NAN }, "", NULL },
	{ KIND_FLOAT64, KIND_NONE, { .f = INFINITY }, "", NULL },
	{ KIND_FLOAT32, KIND_NONE, { .f = -INFINITY }, "", NULL },
	{ KIND_STRING, KIND_NONE, { .s = { "a \"b\\", 5 } }, "\"stringValue\":\"a \\\"b\\\\\",",
	    "0" },
	{ KIND_STRING, KIND_NONE, { .s = { "", 0 } }, "\"stringValue\":\"\",", "0" },
	{ KIND_TIME, KIND_NONE, { .i = 1500000000123456789 }, "", "1500000000.123456789" },
	{ KIND_TIME, KIND_NONE, { .i = 0 }, "", "0" },
	{ KIND_DURATION, KIND_NONE, { .i = -1500000000 }, "", "-1.5" },
	{ KIND_LIST, KIND_INT64, { .list = &number_list }, "\"stringValue\":\"[1,-2]\",", "0" },
	{ KIND_LIST, KIND_STRING, { .list = &word_list },
	    "\"stringValue\":\"[\\\"a\\\\\\\"b\\\"]\",", "0" },
	{ KIND_DIST, KIND_NONE, { .dist = &dist },
	    "\"count\":6,\"le_0.5\":1,\"le_10\":3,\"le_inf\":6,\"sum\":12.5,",
	    "2.0833333333333335" },
	{ KIND_DIST, KIND_NONE, { .dist = &endless },
	    "\"count\":6,\"le_0.5\":1,\"le_10\":3,\"le_inf\":6,", "0" },
	{ KIND_DIST, KIND_NONE, { .dist = &none }, "\"count\":0,\"sum\":0,", "0" },
};

static struct metric_desc
desc_of(size_t i)
{
	return (struct metric_desc){ .path = STR("/a b/c"),
		.unit = STR("Seconds"),
		.kind = kinds[i].kind,
		.sub_kind = kinds[i].sub_kind,
		.limits = limits,
		.limit_count = kinds[i].kind == KIND_DIST ? 2 : 0 };
}

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "kafka", LMM);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = desc_of(i);
		const char *got = text_of(&m, &desc, kinds[i].value, 951782400987654321).p;
		char want[500];

		if (kinds[i].number == NULL) {
			assert_null(got);
			continue;
		}
		snprintf(want, sizeof(want),
		    "{\"@timestamp\":\"2000-02-29T00:00:00.987Z\",\"@version\":\"1\",\"apikey\":"
		    "\"aKey\",\"appname\":\"vecapp\",\"host\":\"host1.example.com\",\"ipaddress\":"
		    "\"127.0.0.1\",\"name\":\"_a b_c\",\"region\":\"us-east-1\",%s\"tenant_id\":"
		    "\"aTenant\",\"value\":%s}\n",
		    kinds[i].before, kinds[i].number);
		assert_string_equal(got, want);
	}
	text_maker_fini(&m);
}

static const struct {
	int64_t ts_ns;
	const char *text;
} times[] = {
	{ 0, "1970-01-01T00:00:00.000Z" },
	{ -1, "1969-12-31T23:59:59.999Z" },
	{ 999999, "1970-01-01T00:00:00.000Z" },
	{ INT64_C(1709251199999999999), "2024-02-29T23:59:59.999Z" },
	{ INT64_C(1709251200000000000), "2024-03-01T00:00:00.000Z" },
	{ INT64_C(4107542399000000000), "2100-02-28T23:59:59.000Z" },
	{ INT64_C(4107542400000000000), "2100-03-01T00:00:00.000Z" },
	{ INT64_MAX, "2262-04-11T23:47:16.854Z" },
	{ INT64_MIN, "1677-09-21T00:12:43.145Z" },
};

static void
times_are_utc_to_the_millisecond(void **state)
{
	struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "kafka", LMM);
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		const char *text = text_of(&m, &desc, (struct value){ .i = 1 }, times[i].ts_ns).p;

		assert_memory_equal(
		    text + strlen("{\"@timestamp\":\""), times[i].text, strlen(times[i].text));
	}
	text_maker_fini(&m);
}

static void
a_metrics_tags_follow_its_name(void **state)
{
	static const struct tag tags[] = { { STR("host"), STR("other") }, { STR("le_5"), STR("x") },
		{ STR("o\"id"), STR("1.3.6") } };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = tags, .tag_count = 3
	};
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "kafka", LMM);
	assert_non_null(strstr(text_of(&m, &desc, (struct value){ .i = 5 }, 1).p,
	    "\"name\":\"_x\",\"metric_host\":\"other\",\"metric_le_5\":\"x\",\"o\\\"id\":\"1.3.6\","
	    "\"region\""));
	text_maker_fini(&m);
}

static void
region_and_address_may_be_unknown(void **state)
{
	struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "kafka", LMM);
	m.origin = (struct write_origin){ .host = STR("h"), .app = STR("a") };
	assert_string_equal(text_of(&m, &desc, (struct value){ .i = 5 }, 0).p,
	    "{\"@timestamp\":\"1970-01-01T00:00:00.000Z\",\"@version\":\"1\",\"apikey\":\"aKey\","
	    "\"appname\":\"a\",\"host\":\"h\",\"name\":\"_x\",\"tenant_id\":\"aTenant\","
	    "\"value\":5}\n");
	text_maker_fini(&m);
}

/* The prepared line is the one that is made in one go. */
static void
json_is_that_of_the_file_writer(void **state)
{
	static const struct tag tags[] = { { STR("k\""), STR("v\"") }, { STR("z"), STR("y") } };
	const struct write_origin origins[] = {
		{ .host = STR("h\n"), .app = STR("a") },
		{ .host = STR("h"), .app = STR("a"), .region = STR("r"), .address = STR("::1") },
		{ .host = STR("h"), .app = STR("a"), .tags = tags, .tag_count = 2 },
	};
	struct text_maker m;
	struct buf want;

	(void)state;
	buf_init(&want, 0);
	text_maker_init(&m, "kafka", JSON);
	for (size_t i = 0; i < ARRAY_LEN(kinds) * 6; i++) {
		struct metric_desc desc = desc_of(i / 6);
		struct write_series series = { .desc = &desc };
		struct write_record record = { &m.origin, &series, 1234567890123456789,
			kinds[i / 6].value, false };
		struct str got;

		m.origin = origins[i % 3];
		desc.tags = tags;
		desc.tag_count = i / 3 % 2;
		buf_clear(&want);
		record_json(&want, &record, NULL, NULL);
		got = text_of(&m, &desc, kinds[i / 6].value, 1234567890123456789);
		if (!str_eq(got, buf_view(&want)))
			fail_msg("got %.*s, want %.*s", STR_ARG(got), STR_ARG(buf_view(&want)));
	}
	text_maker_fini(&m);
	buf_fini(&want);
}

static void
influx_is_that_of_the_influx_writer(void **state)
{
	static const char *const schemas[] = { "upstream", "tagged" };

	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(schemas); s++) {
		struct text_maker kafka, influx;
		char options[300];

		snprintf(options, sizeof(options), "{%s, format: influx, schema: %s}", REQUIRED,
		    schemas[s]);
		text_maker_init(&kafka, "kafka", options);
		snprintf(options, sizeof(options),
		    "{hostAndPort: 'http://x', database: d, schema: %s}", schemas[s]);
		text_maker_init(&influx, "influx", options);
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			struct metric_desc desc = desc_of(i);
			const char *got = text_of(&kafka, &desc, kinds[i].value, 5).p;
			const char *want = text_of(&influx, &desc, kinds[i].value, 5).p;

			assert_int_equal(got == NULL, want == NULL);
			if (got != NULL)
				assert_string_equal(got, want);
		}
		text_maker_fini(&kafka);
		text_maker_fini(&influx);
	}
}

/* Whatever bytes there are, a message stays one line, and JSON that has them. */
static void
every_byte_can_be_said(void **state)
{
	static const char *const options[] = { TAGGED, JSON };

	(void)state;
	for (size_t o = 0; o < ARRAY_LEN(options); o++) {
		struct text_maker m;

		text_maker_init(&m, "kafka", options[o]);
		for (int c = 0; c < 256; c++) {
			char bytes[3] = { 'x', (char)c, 'y' };
			struct str s = { bytes, 3 };
			struct tag tag = { s, s };
			struct metric_desc desc = {
				.path = s, .kind = KIND_STRING, .tags = &tag, .tag_count = 1
			};
			struct tag origin_tag = { { "a\xff\"", 3 }, s };
			struct json_object *json;
			struct str text;

			m.origin = (struct write_origin){ s, s, s, s, STR_EMPTY, &origin_tag, 1 };
			text = text_of(&m, &desc, (struct value){ .s = s }, 1);
			assert_ptr_equal(memchr(text.p, '\n', text.len), text.p + text.len - 1);
			assert_int_equal(utf8_valid_prefix(text.p, text.len), text.len);
			json = json_tokener_parse(text.p);
			assert_non_null(json);
			json_object_put(json);
		}
		text_maker_fini(&m);
	}
}

static const struct {
	const char *options, *error;
} configs[] = {
	{ LMM, NULL },
	{ JSON, NULL },
	{ "{" REQUIRED ", format: influx, compression: zstd}", NULL },
	{ "{endpoints: 'a:1', topic: t, clientId: c, tenantId: x, apiKey: y}", NULL },
	{ "{" REQUIRED ", tenantId: x}",
	    "endpoint, topic, clientId, tenantId, and apiKey keys required" },
	{ "{" REQUIRED "}", "endpoint, topic, clientId, tenantId, and apiKey keys required" },
	{ "{endpoints: [], topic: t, clientId: c, tenantId: x, apiKey: y}",
	    "endpoint, topic, clientId, tenantId, and apiKey keys required" },
	{ "{topic: t, clientId: c, format: json}",
	    "endpoint, topic, clientId, tenantId, and apiKey keys required" },
	{ "{" REQUIRED ", format: xml}", "'format' must be lmm, json or influx" },
	{ "{" REQUIRED ", format: influx, schema: x}", "'schema' must be upstream or tagged" },
	{ "{" REQUIRED ", format: json, compression: rar}", "compression.codec" },
	{ "{" REQUIRED ", format: json, caFile: /x}", "need 'tls: true'" },
	{ "{" REQUIRED ", format: json, tls: true, keyFile: /x}", "go together" },
	{ "{" REQUIRED ", format: json, saslMechanism: PLAIN}", "go together" },
	{ "{" REQUIRED ", format: json, username: u, password: p}", "go together" },
	{ "{" REQUIRED ", format: json, saslMechanism: PLAIN, username: u, password: p}", NULL },
	{ "{" REQUIRED ", format: json, saslMechanism: X, username: u, password: p}",
	    "'saslMechanism' must be" },
	{ "{" REQUIRED ", format: json, tls: true}", NULL },
};

static void
options_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(configs); i++) {
		struct text_maker m;
		struct err err = { .text = "" };
		bool ok = text_maker_try(&m, "kafka", configs[i].options, &err);

		if (ok != (configs[i].error == NULL) ||
		    (!ok && strstr(err.text, configs[i].error) == NULL))
			fail_msg("%s: %s", configs[i].options, err.text);
		text_maker_fini(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(payload_is_that_of_upstream),
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(times_are_utc_to_the_millisecond),
		cmocka_unit_test(a_metrics_tags_follow_its_name),
		cmocka_unit_test(region_and_address_may_be_unknown),
		cmocka_unit_test(json_is_that_of_the_file_writer),
		cmocka_unit_test(influx_is_that_of_the_influx_writer),
		cmocka_unit_test(every_byte_can_be_said),
		cmocka_unit_test(options_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
