/*
 * What holds for the formats of all writers: where an endpoint's tags go, and what becomes of a
 * record when memory is short.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fault.h"
#include "writer_fixture.h"

#define INFLUX "hostAndPort: 'http://x', database: d"
#define LMM    "endpoint: 'http://x', tenantId: t, apiKey: k"
#define KAFKA  "endpoints: ['127.0.0.1:1'], topic: t, clientId: c, tenantId: t, apiKey: k"
#define FILE_W "path: /nowhere"

static const struct tag of_origin[] = { { { "a", 1 }, { "1", 1 } }, { { "dc", 2 }, { "x y", 3 } },
	{ { "host", 4 }, { "other", 5 } } };
static const struct tag of_metric[] = { { { "dc", 2 }, { "mine", 4 } } };

#define JSON_ENDPOINT_TAGS ",\"endpointTags\":{\"a\":\"1\",\"dc\":\"x y\",\"host\":\"other\"}"
#define JSON_LINE(tags)                                                                            \
	"{\"hostName\":\"h\",\"appName\":\"a\",\"path\":\"/"                                       \
	"x\",\"description\":\"\",\"kind\":\"int64\",\"bits\":64,"                                 \
	"\"value\":5,\"timestamp\":\"7.000000000\"" JSON_ENDPOINT_TAGS tags "}\n"
#define LMM_LINE(name, tags, origin_tags)                                                          \
	"{\"@timestamp\":\"1970-01-01T00:00:07.000Z\",\"@version\":\"1\",\"apikey\":\"k\","        \
	"\"appname\":\"a\",\"host\":\"h\",\"name\":\"" name "\"" tags origin_tags                  \
	",\"tenant_id\":\"t\",\"value\":5}"
#define TSDB_LINE(tags)                                                                            \
	"{\"metric\":\"/x\",\"timestamp\":7,\"value\":5,\"tags\":{\"HostName\":\"h\","             \
	"\"appname\":\"a\"" tags "}}"

static const struct {
	const char *name, *options;
	const char *text; /* of a metric without tags */
	const char
	    *clashes; /* of one with a tag that the endpoint has too: the metric's is there */
} tagged[] = {
	{ "influx", "{" INFLUX "}",
	    "/x,@version=1,appname=a,host=h name=\"/x\",value=5 7000000000\n",
	    "/x,@version=1,appname=a,host=h,dc=mine name=\"/x\",value=5 7000000000\n" },
	{ "influx", "{" INFLUX ", schema: tagged}",
	    "/x,app=a,host=h,a=1,dc=x\\ y,endpoint_host=other value=5i 7000000000\n",
	    "/x,app=a,host=h,a=1,endpoint_host=other,dc=mine value=5i 7000000000\n" },
	{ "openTSDB", "{hostAndPort: x}",
	    TSDB_LINE(",\"a\":\"1\",\"dc\":\"x_20y\",\"host\":\"other\""),
	    TSDB_LINE(",\"a\":\"1\",\"host\":\"other\",\"dc\":\"mine\"") },
	/* No more than that: those of the endpoint go first, from the last one on. */
	{ "openTSDB", "{hostAndPort: x, maxTags: 4}", TSDB_LINE(",\"a\":\"1\",\"dc\":\"x_20y\""),
	    TSDB_LINE(",\"a\":\"1\",\"dc\":\"mine\"") },
	{ "openTSDB", "{hostAndPort: x, maxTags: 1}", TSDB_LINE(""),
	    TSDB_LINE(",\"dc\":\"mine\"") },
	{ "graphite", "{hostAndPort: x, form: tags}",
	    "x;app=a;host=h;a=1;dc=x_20y;endpoint_host=other 5 7\n",
	    "x;app=a;host=h;a=1;endpoint_host=other;dc=mine 5 7\n" },
	/* Names do not change when a tag does. */
	{ "graphite", "{hostAndPort: x}", "h.a.x 5 7\n", "h.a.x.dc=mine 5 7\n" },
	{ "lmm", "{" LMM "}", LMM_LINE("/x", "", ""), LMM_LINE("/x", ",\"dc\":\"mine\"", "") },
	{ "lmm", "{" LMM ", schema: tagged}",
	    LMM_LINE("/x", "", ",\"a\":\"1\",\"dc\":\"x y\",\"endpoint_host\":\"other\""),
	    LMM_LINE("/x", ",\"dc\":\"mine\"", ",\"a\":\"1\",\"endpoint_host\":\"other\"") },
	{ "kafka", "{" KAFKA "}", LMM_LINE("_x", "", "") "\n",
	    LMM_LINE("_x", ",\"dc\":\"mine\"", "") "\n" },
	{ "kafka", "{" KAFKA ", schema: tagged}",
	    LMM_LINE("_x", "", ",\"a\":\"1\",\"dc\":\"x y\",\"endpoint_host\":\"other\"") "\n",
	    LMM_LINE("_x", ",\"dc\":\"mine\"", ",\"a\":\"1\",\"endpoint_host\":\"other\"") "\n" },
	{ "kafka", "{" KAFKA ", format: json}", JSON_LINE(""),
	    JSON_LINE(",\"tags\":{\"dc\":\"mine\"}") },
	{ "kafka", "{" KAFKA ", format: influx, schema: tagged}",
	    "/x,app=a,host=h,a=1,dc=x\\ y,endpoint_host=other value=5i 7000000000\n",
	    "/x,app=a,host=h,a=1,endpoint_host=other,dc=mine value=5i 7000000000\n" },
	{ "prometheus", "{url: 'http://x'}", NULL, NULL }, /* see remote_write_test */
	{ "file", "{" FILE_W "}", JSON_LINE(""), JSON_LINE(",\"tags\":{\"dc\":\"mine\"}") },
};

static void
expect(struct text_maker *m, const char *name, const struct metric_desc *desc, const char *want)
{
	struct str got = text_of(m, desc, (struct value){ .i = 5 }, INT64_C(7000000000));

	if (!str_eq(got, str_of(want)))
		fail_msg("%s: got %.*s, want %s", name, STR_ARG(got), want);
}

static void
tags_of_endpoints_are_written_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tagged); i++) {
		struct metric_desc desc = { .path = STR("/x"), .kind = KIND_INT64 };
		struct text_maker m;

		if (tagged[i].text == NULL || writer_find(str_of(tagged[i].name)) == NULL)
			continue; /* or built without its library */
		text_maker_init(&m, tagged[i].name, tagged[i].options);
		m.origin = (struct write_origin){ .host = STR("h"),
			.app = STR("a"),
			.tags = of_origin,
			.tag_count = ARRAY_LEN(of_origin) };
		expect(&m, tagged[i].name, &desc, tagged[i].text);
		desc.tags = of_metric;
		desc.tag_count = ARRAY_LEN(of_metric);
		expect(&m, tagged[i].name, &desc, tagged[i].clashes);
		text_maker_fini(&m);
	}
}

/* An endpoint's tag called as that of a bucket does not make two of it. */
static void
a_buckets_limit_is_not_an_endpoints_tag(void **state)
{
	static const struct tag le = { { "le", 2 }, { "1", 1 } };
	static const char *const writers[][3] = {
		{ "openTSDB", "{hostAndPort: x}", "\"endpoint_le\":\"1\",\"le\":\"10\"" },
		{ "graphite", "{hostAndPort: x, form: tags}", ";endpoint_le=1;le=10 " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
		struct text_maker m;

		text_maker_init(&m, writers[i][0], writers[i][1]);
		m.origin.tags = &le;
		m.origin.tag_count = 1;
		assert_non_null(
		    strstr(text_of(&m, &dist_desc, (struct value){ .dist = &some_dist }, 5).p,
		        writers[i][2]));
		text_maker_fini(&m);
	}
}

/* All that a point may have: 8, of which a bucket's limit is one. */
static void
a_point_has_eight_tags_at_most(void **state)
{
	struct tag many[8];
	struct text_maker m;
	const char *text;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct tag){ { &"abcdefgh"[i], 1 }, STR("v") };
	text_maker_init(&m, "openTSDB", "{hostAndPort: x}");
	m.origin.tags = many;
	m.origin.tag_count = ARRAY_LEN(many);
	text = text_of(&m, &dist_desc, (struct value){ .dist = &some_dist }, 5).p;
	assert_non_null(strstr(
	    text, ",\"region\":\"us-east-1\",\"a\":\"v\",\"b\":\"v\",\"c\":\"v\",\"d\":\"v\"}}"));
	for (; (text = strstr(text, "\"le\"")) != NULL; text++, n++)
		assert_memory_equal(text - strlen("\"c\":\"v\","), "\"c\":\"v\",", 8);
	assert_int_equal(n, 3);
	text_maker_fini(&m);
}

/* Opening, with one allocation after the other failing. */
static void
opening_without_memory_leaves_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tagged); i++) {
		const struct writer_ops *ops = writer_find(str_of(tagged[i].name));
		struct err err;
		struct conf_doc *doc = conf_parse(str_of(tagged[i].options), "t", &err);
		atomic_bool stop = false;
		struct writer_env env = { .name = "t", .stop = &stop };
		struct writer *w;
		unsigned nth = 1;

		if (ops == NULL) {
			conf_doc_unref(doc);
			continue;
		}
		for (fault_malloc(nth); (w = ops->open(doc->root, &env, &err)) == NULL;
		     fault_malloc(++nth))
			assert_int_equal(err.code, ERR_NOMEM);
		fault_malloc(0);
		assert_true(nth > 1);
		ops->close(w);
		conf_doc_unref(doc);
	}
}

static const struct {
	enum kind kind, sub_kind;
	struct value value;
} kinds[] = {
	{ KIND_INT64, KIND_NONE, { .i = 5 } },
	{ KIND_FLOAT64, KIND_NONE, { .f = 0.5 } },
	{ KIND_STRING, KIND_NONE, { .s = { "text", 4 } } },
	{ KIND_DIST, KIND_NONE, { .dist = &some_dist } },
	{ KIND_LIST, KIND_INT64, { .list = &(struct list){ .len = 0 } } },
};

/* What could not be written in full is marked so. */
static void
formatting_without_memory_is_said(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(tagged) * ARRAY_LEN(kinds); i++) {
		size_t k = i / ARRAY_LEN(tagged), w = i % ARRAY_LEN(tagged);
		struct metric_desc desc = dist_desc;
		struct text_maker m;
		unsigned nth = 1;

		if (writer_find(str_of(tagged[w].name)) == NULL)
			continue;
		text_maker_init(&m, tagged[w].name, tagged[w].options);
		desc.kind = kinds[k].kind;
		desc.sub_kind = kinds[k].sub_kind;
		desc.tags = of_metric;
		desc.tag_count = ARRAY_LEN(of_metric);
		m.origin.tags = of_origin;
		m.origin.tag_count = ARRAY_LEN(of_origin);
		while ((m.writer->kinds & KIND_BIT(desc.kind)) != 0 &&
		       !text_fits(&m, &desc, kinds[k].value, fault_malloc, nth))
			assert_true(nth++ < 1000); /* it ends: only one of them fails */
		text_maker_fini(&m);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tags_of_endpoints_are_written_once),
		cmocka_unit_test(a_buckets_limit_is_not_an_endpoints_tag),
		cmocka_unit_test(a_point_has_eight_tags_at_most),
		cmocka_unit_test(opening_without_memory_leaves_nothing),
		cmocka_unit_test(formatting_without_memory_is_said),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
