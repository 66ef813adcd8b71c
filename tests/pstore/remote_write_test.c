#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "write_request.h"
#include "writer_fixture.h"

#define OPTIONS "{url: 'http://127.0.0.1:1/api/v1/write'}"
#define ORIGIN  "instance=host1.example.com,job=vecapp,region=us-east-1"
#define AT      (INT64_C(1234567890123) * NS_PER_MS + 999999)

static const uint64_t two_counts[] = { 1, 2 };
static const struct dist two = { .counts = two_counts, .len = 2, .sum = 3000, .count = 3 };
static const double limit[] = { 500 };

static const struct {
	enum kind kind;
	const char *unit;
	struct value value;
	const char *name, *text; /* text: what comes between the labels and the time */
} kinds[] = {
	{ KIND_BOOL, "None", { .b = true }, "a_b", " 1" },
	{ KIND_INT64, "None", { .i = -5 }, "a_b", " -5" },
	{ KIND_INT64, "Milliseconds", { .i = 1500 }, "a_b_seconds", " 1.5" },
	{ KIND_UINT64, "Bytes", { .u = UINT64_MAX }, "a_b_bytes", " 1.8446744073709552e+19" },
	{ KIND_FLOAT64, "None", { .f = NAN }, "a_b", " nan" },
	{ KIND_FLOAT64, "None", { .f = INFINITY }, "a_b", " inf" },
	{ KIND_FLOAT32, "None", { .f = -INFINITY }, "a_b", " -inf" },
	{ KIND_TIME, "None", { .i = 1500000000250000000 }, "a_b_timestamp_seconds",
	    " 1500000000.25" },
	{ KIND_DURATION, "Milliseconds", { .i = 1500000000 }, "a_b_seconds", " 1.5" },
	{ KIND_STRING, "None", { .s = { "x y", 3 } }, "a_b_info", ",value=x y 1" },
	{ KIND_STRING, "None", { .s = { "", 0 } }, "a_b_info", " 1" },
};

static void
check_series(struct str bytes, const char *want)
{
	struct buf got;

	buf_init(&got, 0);
	assert_true(write_request_read(bytes, &got));
	buf_putc(&got, '\0');
	assert_string_equal(got.p, want);
	buf_fini(&got);
}

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	assert_int_equal(m.writer->kinds, KINDS_ALL & ~KIND_BIT(KIND_LIST));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = {
			.path = STR("/a/b"), .unit = str_of(kinds[i].unit), .kind = kinds[i].kind
		};
		char want[300];

		snprintf(want, sizeof(want), "__name__=%s," ORIGIN "%s 1234567890123\n",
		    kinds[i].name, kinds[i].text);
		check_series(text_of(&m, &desc, kinds[i].value, AT), want);
	}
	text_maker_fini(&m);
}

static const char gone_bytes[] = { 2, 0, 0, 0, 0, 0, '\xf0', '\x7f' };

/* A NaN with the bits that mean "gone" is a NaN like any other. */
static void
no_value_means_that_a_series_is_gone(void **state)
{
	static const uint64_t gone = UINT64_C(0x7ff0000000000002);
	static const char plain_bytes[] = { 1, 0, 0, 0, 0, 0, '\xf8', '\x7f' };
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_FLOAT64 };
	struct text_maker m;
	struct value value;
	struct str got;

	(void)state;
	memcpy(&value.f, &gone, sizeof(gone));
	text_maker_init(&m, "prometheus", OPTIONS);
	got = text_of(&m, &desc, value, AT);
	assert_null(memmem(got.p, got.len, gone_bytes, sizeof(gone_bytes)));
	assert_non_null(memmem(got.p, got.len, plain_bytes, sizeof(plain_bytes)));
	text_maker_fini(&m);
}

static size_t
count_of(struct str bytes, const char *what, size_t len)
{
	size_t n = 0;

	for (const char *at; (at = memmem(bytes.p, bytes.len, what, len)) != NULL; n++)
		bytes = str_sub(bytes, (size_t)(at + len - bytes.p), SIZE_MAX);
	return n;
}

/* Each series of it, whatever the value would have been. */
static void
the_end_of_a_series_is_a_marker(void **state)
{
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_INT64 };
	struct text_maker m;
	struct str got;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	assert_int_equal(m.writer->ops->end_kinds & KIND_BIT(KIND_STRING), 0);
	m.is_end = true;
	got = text_of(&m, &desc, (struct value){ .i = 0 }, AT);
	assert_int_equal(count_of(got, gone_bytes, sizeof(gone_bytes)), 1);
	check_series(got, "__name__=a," ORIGIN " nan 1234567890123\n");
	desc = dist_desc;
	got = text_of(&m, &desc, (struct value){ .dist = &(struct dist){ .len = 0 } }, AT);
	assert_int_equal(count_of(got, gone_bytes, sizeof(gone_bytes)), 5);
	text_maker_fini(&m);
}

static void
a_distribution_is_a_histogram(void **state)
{
	struct metric_desc desc = { .path = STR("/rpc-time"),
		.unit = STR(UNIT_MILLISECONDS),
		.kind = KIND_DIST,
		.limits = limit,
		.limit_count = 1 };
	struct value value = { .dist = &two };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	m.origin.region = STR_EMPTY;
	check_series(text_of(&m, &desc, value, AT),
	    "__name__=rpc_time_seconds_bucket,instance=host1.example.com,job=vecapp,le=0.5 1 "
	    "1234567890123\n"
	    "__name__=rpc_time_seconds_bucket,instance=host1.example.com,job=vecapp,le=+Inf 3 "
	    "1234567890123\n"
	    "__name__=rpc_time_seconds_sum,instance=host1.example.com,job=vecapp 3 1234567890123\n"
	    "__name__=rpc_time_seconds_count,instance=host1.example.com,job=vecapp 3 "
	    "1234567890123\n");
	desc.not_cumulative = true;
	assert_null(text_of(&m, &desc, value, AT).p);
	text_maker_fini(&m);
}

static const struct {
	enum kind kind;
	struct tag tags[4];
	const char *labels;
} clashes[] = {
	{ KIND_INT64,
	    { { STR("Zone"), STR("1") }, { STR("job"), STR("2") }, { STR("kin"), STR("3") },
	        { STR("zz"), STR("4") } },
	    "Zone=1,__name__=x,exported_job=2,instance=h,job=a,kin=3,zz=4 1" },
	{ KIND_INT64,
	    { { STR("__name__x"), STR("1") }, { STR("exported_job"), STR("2") },
	        { STR("job"), STR("3") }, { STR("value"), STR("4") } },
	    "__name__=x,__name__x=1,exported_exported_job=3,exported_job=2,instance=h,job=a,"
	    "value=4 1" },
	{ KIND_STRING,
	    { { STR("a-b"), STR("1") }, { STR("a.b"), STR("2") }, { STR("value"), STR("3") },
	        { STR("vb"), STR("4") } },
	    "__name__=x_info,a_b=1,exported_a_b=2,exported_value=3,instance=h,job=a,value=s,vb=4 "
	    "1" },
};

static void
labels_are_sorted_and_unique(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	m.origin = (struct write_origin){ .host = STR("h"), .app = STR("a") };
	for (size_t i = 0; i < ARRAY_LEN(clashes); i++) {
		struct metric_desc desc = { .path = STR("/x"),
			.kind = clashes[i].kind,
			.tags = clashes[i].tags,
			.tag_count = 4 };
		struct value value = { .i = 1 };
		char want[300];

		if (desc.kind == KIND_STRING)
			value.s = STR("s");
		snprintf(want, sizeof(want), "%s 1234567890123\n", clashes[i].labels);
		check_series(text_of(&m, &desc, value, AT), want);
	}
	text_maker_fini(&m);
}

static const struct {
	enum kind kind;
	struct tag of_origin[3], of_metric[2];
	const char *labels;
} both[] = {
	{ KIND_INT64,
	    { { STR("Zone"), STR("1") }, { STR("k.x"), STR("2") }, { STR("z"), STR("3") } },
	    { { STR("b"), STR("4") }, { STR("zz"), STR("5") } },
	    "Zone=1,__name__=x,b=4,instance=h,job=a,k_x=2,z=3,zz=5 1" },
	/* What has the same label is the same, whatever its key; the metric's counts. */
	{ KIND_INT64, { { STR("k.x"), STR("1") }, { STR("z"), STR("2") }, { STR("zz"), STR("") } },
	    { { STR("k_x"), STR("3") }, { STR("z"), STR("4") } },
	    "__name__=x,instance=h,job=a,k_x=3,z=4 1" },
	/* Ours, and what others may have as theirs. */
	{ KIND_STRING,
	    { { STR("job"), STR("1") }, { STR("le"), STR("2") }, { STR("value"), STR("3") } },
	    { { STR("exported_job"), STR("4") }, { STR("value"), STR("5") } },
	    "__name__=x_info,exported_job=4,exported_le=2,exported_value=5,instance=h,job=a,"
	    "value=s 1" },
};

static void
an_endpoints_tags_are_labels_too(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	for (size_t i = 0; i < ARRAY_LEN(both); i++) {
		struct metric_desc desc = { .path = STR("/x"),
			.kind = both[i].kind,
			.tags = both[i].of_metric,
			.tag_count = 2 };
		struct value value = { .i = 1 };
		char want[300];

		m.origin = (struct write_origin){
			.host = STR("h"), .app = STR("a"), .tags = both[i].of_origin, .tag_count = 3
		};
		if (desc.kind == KIND_STRING)
			value.s = STR("s");
		snprintf(want, sizeof(want), "%s 1234567890123\n", both[i].labels);
		check_series(text_of(&m, &desc, value, AT), want);
	}
	text_maker_fini(&m);
}

/* More than 127 bytes of it less, so that the length itself has one byte less. */
static void
what_is_left_out_may_be_long(void **state)
{
	static char long_value[200];
	struct tag of_origin = { STR("k"), { long_value, sizeof(long_value) } };
	struct tag of_metric = { STR("k"), STR("v") };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = &of_metric, .tag_count = 1
	};
	struct text_maker m;

	(void)state;
	memset(long_value, 'x', sizeof(long_value));
	text_maker_init(&m, "prometheus", OPTIONS);
	m.origin = (struct write_origin){ .host = STR("h"), .tags = &of_origin, .tag_count = 1 };
	check_series(
	    text_of(&m, &desc, (struct value){ .i = 1 }, 0), "__name__=x,instance=h,k=v 1 0\n");
	text_maker_fini(&m);
}

/* __name__ can't be a tag's label: it is one already. */
static void
a_tag_is_never_the_name(void **state)
{
	static const struct tag tag = { STR("__name__"), STR("evil") };
	struct metric_desc desc = {
		.path = STR("/x"), .kind = KIND_INT64, .tags = &tag, .tag_count = 1
	};
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "prometheus", OPTIONS);
	m.origin = (struct write_origin){ .host = STR("h") };
	check_series(text_of(&m, &desc, (struct value){ .i = 1 }, 0),
	    "__name__=x,exported___name__=evil,instance=h 1 0\n");
	text_maker_fini(&m);
}

static const struct {
	const char *name, *options, *error;
} configurations[] = {
	{ "prometheus", "{}",
	    "'url' required, as http://prometheus.example.com:9090/api/v1/write" },
	{ "prometheus", "{url: 'http://x', username: u, token: t}",
	    "'username' or 'token': one of them" },
	{ "prometheus", "{url: 'ftp://x'}",
	    "Unsupported protocol scheme: ftp, your address must start with http:// or https://" },
	{ "openTSDB", "{}", "HostAndPort fields required." },
	{ "openTSDB", "{hostAndPort: 'ftp://x'}",
	    "Unsupported protocol scheme: ftp, your address must start with http:// or https://" },
	{ "openTSDB", "{hostAndPort: x, precision: h}", "'precision' must be s or ms" },
	{ "lmm", "{}", "endpoint, tenantId, and apiKey keys required" },
	{ "lmm", "{endpoint: 'http://x', tenantId: t, apiKey: k, schema: x}",
	    "'schema' must be upstream or tagged" },
	{ "lmm", "{endpoint: 'http://x', tenantId: t}",
	    "endpoint, tenantId, and apiKey keys required" },
	{ "lmm", "{endpoint: 'http://x', apiKey: k}",
	    "endpoint, tenantId, and apiKey keys required" },
	{ "lmm", "{endpoint: 'http://x', tenantId: t, apiKey: \"k\\nX: y\"}",
	    "tenantId and apiKey must not have line ends" },
};

static void
configurations_are_checked(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(configurations); i++) {
		const struct writer_ops *ops = writer_find(str_of(configurations[i].name));
		struct err err;
		struct conf_doc *doc = conf_parse(str_of(configurations[i].options), "t", &err);

		assert_null(ops->open(doc->root, NULL, &err));
		assert_string_equal(err.text, configurations[i].error);
		conf_doc_unref(doc);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(no_value_means_that_a_series_is_gone),
		cmocka_unit_test(the_end_of_a_series_is_a_marker),
		cmocka_unit_test(a_distribution_is_a_histogram),
		cmocka_unit_test(labels_are_sorted_and_unique),
		cmocka_unit_test(an_endpoints_tags_are_labels_too),
		cmocka_unit_test(what_is_left_out_may_be_long),
		cmocka_unit_test(a_tag_is_never_the_name),
		cmocka_unit_test(configurations_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
