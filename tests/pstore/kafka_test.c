#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>

#include "../messages/vectors.h"
#include "fault.h"
#include "pstore/record_json.h"
#include "writer_maker.h"

#define REQUIRED "endpoints: ['127.0.0.1:1'], topic: t, clientId: c"
#define LMM      "{" REQUIRED ", tenantId: aTenant, apiKey: aKey}"
#define JSON     "{" REQUIRED ", format: json}"

/*
 * The sample is of the writer lmm, whose objects Kafka's messages are but for the slashes of names
 * and strings' full length. "Never" came to upstream by another protocol, as in the sample of
 * influx.
 */
static void
payload_is_that_of_upstream(void **state)
{
	static const char *const others[] = { "/vec/time/nilptr", "/vec/time/zero",
		"/vec/float/negzero", "/vec/uint/uint64" };
	struct str sample = vector_load("pstore_lmm_sample.txt");
	struct json_object *metrics = vector_parse("tricorder_metricsapi_vec.json");
	struct writer_maker m;
	struct arena arena;
	size_t found = 0;

	(void)state;
	arena_init(&arena, 0);
	make_writer(&m, "kafka", LMM);
	for (size_t i = 0; i < vector_len(metrics); i++) {
		struct json_object *metric = vector_at(metrics, i);
		struct metric_desc desc = vector_desc(&arena, metric);
		struct value value = vector_value(&arena, &desc, vector_get(metric, "value"));
		bool other = desc.kind == KIND_LIST || desc.kind == KIND_DIST ||
		             str_starts(desc.path, STR("/vec/live")) ||
		             str_starts(desc.path, STR("/vec/duration/negative"));
		char name[300], with_slashes[300], want[2000];
		const char *text, *at;

		for (size_t k = 0; k < ARRAY_LEN(others); k++)
			other = other || str_eq(desc.path, str_of(others[k]));
		desc.tags = NULL;
		desc.tag_count = 0;
		if (other || !str_starts(desc.path, STR("/vec")))
			continue;
		text = text_of(&m, &desc, value, INT64_C(1795209710000) * 1000000);
		snprintf(with_slashes, sizeof(with_slashes), "\"%.*s\"", STR_ARG(desc.path));
		snprintf(name, sizeof(name), "\"%.*s\"", STR_ARG(desc.path));
		for (char *p = name; *p != '\0'; p++)
			*p = *p == '/' ? '_' : *p;
		at = strstr(text, name);
		if (at == NULL)
			fail_msg("no %s in %s", name, text);
		snprintf(want, sizeof(want), "%.*s%s%.*s", (int)(at - text), text, with_slashes,
		    (int)(strlen(at) - strlen(name) - 1), at + strlen(name));
		if (memmem(sample.p, sample.len, want, strlen(want)) == NULL)
			fail_msg("not in the sample: %s", want);
		found++;
	}
	assert_true(found >= 25);
	free_writer(&m);
	arena_fini(&arena);
	vector_free(metrics);
	free((void *)(uintptr_t)sample.p);
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
	struct writer_maker m;

	(void)state;
	make_writer(&m, "kafka", LMM);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = desc_of(i);
		const char *got = text_of(&m, &desc, kinds[i].value, INT64_C(951782400987654321));
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
	free_writer(&m);
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
	struct writer_maker m;

	(void)state;
	make_writer(&m, "kafka", LMM);
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		const char *text = text_of(&m, &desc, (struct value){ .i = 1 }, times[i].ts_ns);

		assert_memory_equal(
		    text + strlen("{\"@timestamp\":\""), times[i].text, strlen(times[i].text));
	}
	free_writer(&m);
}

static void
a_metrics_tags_follow_its_name(void **state)
{
	static const struct tag tags[] = { { STR("host"), STR("other") }, { STR("le_5"), STR("x") },
		{ STR("o\"id"), STR("1.3.6") } };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = tags, .tag_count = 3
	};
	struct writer_maker m;

	(void)state;
	make_writer(&m, "kafka", LMM);
	assert_non_null(strstr(text_of(&m, &desc, (struct value){ .i = 5 }, 1),
	    "\"name\":\"_x\",\"metric_host\":\"other\",\"metric_le_5\":\"x\",\"o\\\"id\":\"1.3.6\","
	    "\"region\""));
	free_writer(&m);
}

static void
region_and_address_may_be_unknown(void **state)
{
	struct write_origin origin = { .host = STR("h"), .app = STR("a") };
	struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
	struct writer_maker m;

	(void)state;
	make_writer(&m, "kafka", LMM);
	assert_true(format_record(&m, &origin, &desc, (struct value){ .i = 5 }, 0));
	buf_putc(&m.text, '\0');
	assert_string_equal(m.text.p,
	    "{\"@timestamp\":\"1970-01-01T00:00:00.000Z\",\"@version\":\"1\",\"apikey\":\"aKey\","
	    "\"appname\":\"a\",\"host\":\"h\",\"name\":\"_x\",\"tenant_id\":\"aTenant\","
	    "\"value\":5}\n");
	free_writer(&m);
}

/* The prepared line is the one that is made in one go. */
static void
json_is_that_of_the_file_writer(void **state)
{
	static const struct tag tags[] = { { STR("k"), STR("v\"") } };
	struct write_origin origins[] = {
		{ .host = STR("h\n"), .app = STR("a") },
		{ .host = STR("h"), .app = STR("a"), .region = STR("r"), .address = STR("::1") },
	};
	struct writer_maker m;
	struct buf want;

	(void)state;
	buf_init(&want, 0);
	make_writer(&m, "kafka", JSON);
	for (size_t i = 0; i < ARRAY_LEN(kinds) * 4; i++) {
		struct metric_desc desc = desc_of(i / 4);
		struct write_series series = { .desc = &desc };
		struct write_record record = { &origins[i % 2], &series, 1234567890123456789,
			kinds[i / 4].value };

		desc.tags = tags;
		desc.tag_count = i / 2 % 2;
		buf_clear(&want);
		record_json(&want, &record, NULL, NULL);
		assert_true(format_record(
		    &m, &origins[i % 2], &desc, kinds[i / 4].value, 1234567890123456789));
		if (!str_eq(buf_view(&m.text), buf_view(&want)))
			fail_msg("got %.*s, want %.*s", STR_ARG(buf_view(&m.text)),
			    STR_ARG(buf_view(&want)));
	}
	free_writer(&m);
	buf_fini(&want);
}

static void
influx_is_that_of_the_influx_writer(void **state)
{
	static const char *const schemas[] = { "upstream", "tagged" };

	(void)state;
	for (size_t s = 0; s < ARRAY_LEN(schemas); s++) {
		struct writer_maker kafka, influx;
		char options[300];

		snprintf(options, sizeof(options), "{%s, format: influx, schema: %s}", REQUIRED,
		    schemas[s]);
		make_writer(&kafka, "kafka", options);
		snprintf(options, sizeof(options),
		    "{hostAndPort: 'http://x', database: d, schema: %s}", schemas[s]);
		make_writer(&influx, "influx", options);
		for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
			struct metric_desc desc = desc_of(i);
			const char *got = text_of(&kafka, &desc, kinds[i].value, 5);
			const char *want = text_of(&influx, &desc, kinds[i].value, 5);

			assert_int_equal(got == NULL, want == NULL);
			if (got != NULL)
				assert_string_equal(got, want);
		}
		free_writer(&kafka);
		free_writer(&influx);
	}
}

/* Whatever bytes there are, a message stays one line, and JSON that has them. */
static void
every_byte_can_be_said(void **state)
{
	static const char *const options[] = { LMM, JSON };

	(void)state;
	for (size_t o = 0; o < ARRAY_LEN(options); o++) {
		struct writer_maker m;

		make_writer(&m, "kafka", options[o]);
		for (int c = 0; c < 256; c++) {
			char bytes[3] = { 'x', (char)c, 'y' };
			struct str s = { bytes, 3 };
			struct tag tag = { s, s };
			struct metric_desc desc = {
				.path = s, .kind = KIND_STRING, .tags = &tag, .tag_count = 1
			};
			struct write_origin origin = {
				.host = s, .app = s, .region = s, .address = s
			};
			struct json_object *json;

			assert_true(format_record(&m, &origin, &desc, (struct value){ .s = s }, 1));
			assert_ptr_equal(
			    memchr(m.text.p, '\n', m.text.len), m.text.p + m.text.len - 1);
			assert_int_equal(utf8_valid_prefix(m.text.p, m.text.len), m.text.len);
			buf_putc(&m.text, '\0');
			json = json_tokener_parse(m.text.p);
			assert_non_null(json);
			json_object_put(json);
		}
		free_writer(&m);
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
		struct writer_maker m;
		struct err err = { .text = "" };
		bool ok = try_writer(&m, "kafka", configs[i].options, &err);

		if (ok != (configs[i].error == NULL) ||
		    (!ok && strstr(err.text, configs[i].error) == NULL))
			fail_msg("%s: %s", configs[i].options, err.text);
		free_writer(&m);
	}
}

static void
opening_without_memory_leaves_nothing(void **state)
{
	static const char *const options[] = { LMM, JSON, "{" REQUIRED ", format: influx}" };
	const struct writer_ops *ops = writer_find(STR("kafka"));

	(void)state;
	for (size_t o = 0; o < ARRAY_LEN(options); o++) {
		struct writer *writer = NULL;
		struct conf_doc *doc;
		struct err err;

		doc = conf_parse(str_of(options[o]), "test", &err);
		assert_non_null(doc);
		for (unsigned nth = 1; writer == NULL; nth++) {
			fault_malloc(nth);
			writer = ops->open(doc->root, NULL, &err);
			if (writer == NULL)
				assert_int_equal(err.code, ERR_NOMEM);
			assert_true(nth < 1000);
		}
		fault_malloc(0);
		ops->close(writer);
		conf_doc_unref(doc);
	}
}

/* What could not be written in full is marked so. */
static void
formatting_without_memory_is_said(void **state)
{
	static const char *const options[] = { LMM, JSON };
	static const struct tag tag = { STR("host"), STR("x") };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(options) * ARRAY_LEN(kinds); i++) {
		struct write_origin origin = { .host = STR("h"), .app = STR("a") };
		struct metric_desc desc = desc_of(i / 2);
		struct writer_maker m;
		bool done = false;

		if (kinds[i / 2].number == NULL)
			continue;
		desc.tags = &tag;
		desc.tag_count = 1;
		make_writer(&m, "kafka", options[i % 2]);
		for (unsigned nth = 1; !done; nth++) {
			const struct writer_ops *ops = m.writer->ops;
			struct write_series series = { .desc = &desc };
			struct write_record record = { &origin, &series, 5, kinds[i / 2].value };
			struct buf texts[4];

			for (size_t k = 0; k < ARRAY_LEN(texts); k++)
				buf_init(&texts[k], 0);
			fault_malloc(nth);
			ops->prepare_origin(m.writer, &origin, &texts[0]);
			ops->prepare_series(m.writer, &desc, &texts[1], &texts[2]);
			if (!texts[0].failed && !texts[1].failed && !texts[2].failed) {
				origin.text = buf_view(&texts[0]);
				series.head = buf_view(&texts[1]);
				series.tail = buf_view(&texts[2]);
				assert_true(ops->format(m.writer, &record, &texts[3]));
				done = !texts[3].failed;
			}
			assert_true(done != fault_happened());
			fault_malloc(0);
			for (size_t k = 0; k < ARRAY_LEN(texts); k++)
				buf_fini(&texts[k]);
		}
		free_writer(&m);
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
		cmocka_unit_test(opening_without_memory_leaves_nothing),
		cmocka_unit_test(formatting_without_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
