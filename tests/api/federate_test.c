#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/selector_priv.h"
#include "api_fixture.h"

static void
add_sample(struct batch *batch, const char *path, const char *unit, double value,
    const struct tag *tags, size_t tag_count)
{
	const struct metric_desc desc = {
		.path = str_of(path),
		.description = STR("What it\nis."),
		.unit = str_of(unit),
		.kind = KIND_FLOAT64,
		.tags = tags,
		.tag_count = tag_count,
	};
	const struct value v = { .f = value };
	struct err err;

	assert_int_equal(batch_add(batch, &desc, &v, 0, FIXTURE_NOW_NS, &err), 0);
}

static void
add_dist(struct batch *batch)
{
	static const double limits[] = { 0.5, 1 };
	static const uint64_t counts[] = { 1, 2, 3 };
	static const struct dist dist = { .counts = counts, .len = 3, .sum = 7.5, .count = 6 };
	const struct metric_desc desc = {
		.path = STR("/h_seconds"),
		.unit = STR(UNIT_SECONDS),
		.kind = KIND_DIST,
		.limits = limits,
		.limit_count = 2,
	};
	const struct value v = { .dist = &dist };
	struct err err;

	assert_int_equal(batch_add(batch, &desc, &v, 0, FIXTURE_NOW_NS, &err), 0);
}

/* Of the endpoint "one", in store_all. */
static const struct tag endpoint_tags[] = { { { "cpu", 3 }, { "arm", 3 } },
	{ { "dc", 2 }, { "x", 1 } }, { { "job", 3 }, { "else", 4 } }, { { "le", 2 }, { "1", 1 } } };
static size_t endpoint_tag_count;

static void
store_all(struct api_fixture *f)
{
	static const struct tag tags[] = { { { "cpu", 3 }, { "0", 1 } },
		{ { "job", 3 }, { "a\"b", 3 } } };
	struct batch batch;

	fake_fleet.members[0] = (struct member_view){
		.host = STR("one"), .app = STR("node"), .port = 9100, .source = "prometheus"
	};
	memcpy(fake_fleet.members[0].tags, endpoint_tags, sizeof(endpoint_tags));
	fake_fleet.members[0].tag_count = endpoint_tag_count;
	fake_fleet.len = 1;
	batch_begin(&batch);
	add_sample(&batch, "/cpu_seconds_total", UNIT_SECONDS, 1.5, tags, 2);
	add_sample(&batch, "/inf", UNIT_NONE, -HUGE_VAL, NULL, 0);
	add_dist(&batch);
	store_batch(f, "one", "node", &batch);
	batch_begin(&batch);
	add_sample(&batch, "/cpu_seconds_total", UNIT_SECONDS, 2.5, tags, 1);
	add_sample(&batch, "/dir/used", UNIT_BYTES, 10, NULL, 0);
	store_batch(f, "two", "node", &batch);
}

#define HEAD_CPU "# HELP cpu_seconds_total What it\\nis.\n# TYPE cpu_seconds_total untyped\n"
#define CPU_ONE                                                                                    \
	"cpu_seconds_total{instance=\"one:9100\",job=\"node\",cpu=\"0\",exported_job=\"a\\\"b\"} " \
	"1.5 1795209663000\n"
#define CPU_TWO "cpu_seconds_total{instance=\"two\",job=\"node\",cpu=\"0\"} 2.5 1795209663000\n"
#define DIST                                                                                       \
	"# HELP h_seconds /h_seconds\n# TYPE h_seconds histogram\n"                                \
	"h_seconds_bucket{le=\"0.5\",instance=\"one:9100\",job=\"node\"} 1 1795209663000\n"        \
	"h_seconds_bucket{le=\"1\",instance=\"one:9100\",job=\"node\"} 3 1795209663000\n"          \
	"h_seconds_bucket{le=\"+Inf\",instance=\"one:9100\",job=\"node\"} 6 1795209663000\n"       \
	"h_seconds_sum{instance=\"one:9100\",job=\"node\"} 7.5 1795209663000\n"                    \
	"h_seconds_count{instance=\"one:9100\",job=\"node\"} 6 1795209663000\n"
#define INFINITE                                                                                   \
	"# HELP inf What it\\nis.\n# TYPE inf untyped\n"                                           \
	"inf{instance=\"one:9100\",job=\"node\"} -Inf 1795209663000\n"
#define DIR                                                                                        \
	"# HELP dir_used_bytes What it\\nis.\n# TYPE dir_used_bytes untyped\n"                     \
	"dir_used_bytes{instance=\"two\",job=\"node\"} 10 1795209663000\n"

static const struct {
	const char *query, *want;
} rows[] = {
	{ "match[]=cpu_seconds_total", HEAD_CPU CPU_ONE CPU_TWO },
	{ "match%5B%5D=%7Bjob%3D%22node%22%7D", HEAD_CPU CPU_ONE CPU_TWO DIR DIST INFINITE },
	{ "match[]={__name__=~\"cpu.*|dir_.%2B\",instance!=\"one:9100\"}", HEAD_CPU CPU_TWO DIR },
	{ "match[]=cpu_seconds_total{cpu='0',job=\"node\",instance=~`one:\\d%2B`}",
	    HEAD_CPU CPU_ONE },
	{ "match[]={cpu=\"\",__name__!~\"h_.*\"}", DIR INFINITE },
	{ "match[]=inf&match[]=h_seconds_count", DIST INFINITE },
	{ "match[]=inf{x!=\"\"}", "" },
	{ "match[]={job!~\".*\"}", "" },
	{ "match[]=cpu", "" },
	{ "x=y", "" },
};

static void
selectors_select(void **state)
{
	struct api_fixture *f = *state;
	char target[512];

	store_all(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(target, sizeof(target), "/federate?%s", rows[i].query);
		assert_string_equal(get(f, target), rows[i].want);
		assert_int_equal(f->status, 200);
	}
	assert_string_equal(f->response.content_type, "text/plain; version=0.0.4; charset=utf-8");
}

static void
labels_of_endpoints_are_selected_and_shown(void **state)
{
	struct api_fixture *f = *state;

	endpoint_tag_count = ARRAY_LEN(endpoint_tags);
	store_all(f);
	endpoint_tag_count = 0;
	assert_string_equal(get(f, "/federate?match[]=cpu_seconds_total{dc=\"x\"}"),
	    HEAD_CPU "cpu_seconds_total{instance=\"one:9100\",job=\"node\",cpu=\"arm\",dc=\"x\","
	             "exported_cpu=\"0\",exported_job=\"a\\\"b\"} 1.5 1795209663000\n");
	assert_string_equal(get(f, "/federate?match[]={dc=\"x\",__name__=\"inf\"}"),
	    "# HELP inf What it\\nis.\n# TYPE inf untyped\n"
	    "inf{instance=\"one:9100\",job=\"node\",cpu=\"arm\",dc=\"x\"} -Inf "
	    "1795209663000\n");
	assert_string_equal(get(f, "/federate?match[]=dir_used_bytes{dc=\"\"}"), DIR);
	assert_string_equal(get(f, "/federate?match[]=dir_used_bytes{dc=\"x\"}"), "");
}

static void
bad_selectors_are_refused(void **state)
{
	static const char *const bad[] = { "", "{}", "a{", "a{b}", "a{b=}", "a{b=c}", "a{b=\"c}",
		"a{b=\"c\"", "a{b=\"c\" d=\"e\"}", "a{=\"c\"}", "a{b==\"c\"}", "a b", "a{b=~\"(\"}",
		"a{b=\"\\q\"}", "1a", "a{b:c=\"d\"}", "a{b=\"c\"}[5m]", "a{b<\"c\"}" };
	struct api_fixture *f = *state;
	struct selector s;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct arena arena;

		arena_init(&arena, 0);
		if (selector_parse(&s, str_of(bad[i]), &arena, &err) == 0)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.code, ERR_CONFIG);
		selector_fini(&s);
		arena_fini(&arena);
	}
	get(f, "/federate?match[]=a{");
	assert_int_equal(f->status, 400);
	assert_non_null(strstr(f->answer.p, "selector: a label without a name"));
}

static void
too_many_selectors_are_refused(void **state)
{
	struct api_fixture *f = *state;
	struct buf target;

	buf_init(&target, 0);
	buf_puts(&target, "/federate?");
	for (int i = 0; i < 17; i++)
		buf_puts(&target, "match[]=a&");
	buf_putc(&target, '\0');
	get(f, target.p);
	assert_int_equal(f->status, 400);
	buf_fini(&target);
}

static void
long_answers_come_in_bounded_pieces(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;
	char path[64];

	batch_begin(&batch);
	for (int i = 0; i < 5000; i++) {
		snprintf(path, sizeof(path), "/some_longer_name_%05d", i);
		add_sample(&batch, arena_copy(&batch.arena, str_of(path)).p, UNIT_NONE, i, NULL, 0);
	}
	store_batch(f, "h", "a", &batch);
	get(f, "/federate?match[]={job=\"a\"}");
	assert_in_range(f->largest_piece, STREAM_PIECE_BYTES, 2 * STREAM_PIECE_BYTES);
	assert_non_null(
	    strstr(f->answer.p, "\nsome_longer_name_04999{instance=\"h\",job=\"a\"} 4999 "));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(selectors_select),
		TEST(labels_of_endpoints_are_selected_and_shown),
		TEST(bad_selectors_are_refused),
		TEST(too_many_selectors_are_refused),
		TEST(long_answers_come_in_bounded_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
