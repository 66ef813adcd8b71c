#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../messages/vectors.h"
#include "api_fixture.h"
#include "base/clock.h"

#define MINUTE_NS (60 * NS_PER_S)

static struct json_object *
value_at(struct json_object *metric, size_t age)
{
	return vector_at(vector_get(metric, "values"), age);
}

/* Adds value number `age` of the captured metric, 0 the newest. */
static void
add_value(struct batch *batch, struct json_object *metric, size_t age, int64_t group)
{
	struct json_object *one = value_at(metric, age);
	struct metric_desc desc = vector_desc(&batch->arena, metric);
	struct value value = vector_value(&batch->arena, &desc, vector_get(one, "value"));
	struct err err;

	assert_int_equal(batch_add(batch, &desc, &value, group, vector_ts(one), &err), 0);
	assert_string_equal(batch->bad_text, "");
}

/*
 * Stores a captured history, oldest values first. Each metric is in a group of its own, so one that
 * has fewer values than others adds nothing more after its last.
 *
 * If all have gone inactive in the end, the last poll holds none of them, but for each a metric
 * under /zz that shares its group and brings the time of the marker.
 */
static void
store_vector(struct api_fixture *f, const char *name, bool inactive)
{
	struct json_object *all = vector_parse(name);
	size_t rounds = 1;

	for (size_t round = 0; round < rounds; round++) {
		struct batch batch;
		char path[32];

		batch_begin(&batch);
		for (size_t i = 0; i < vector_len(all); i++) {
			struct json_object *metric = vector_at(all, i);
			size_t n = vector_len(vector_get(metric, "values"));
			size_t age = round < n ? n - 1 - round : 0;

			rounds = n > rounds ? n : rounds;
			assert_int_equal(
			    vector_bool(value_at(metric, age), "active"), !inactive || age > 0);
			if (!inactive || age > 0)
				add_value(&batch, metric, age, (int64_t)i);
			snprintf(path, sizeof(path), "/zz/%zu", i);
			if (inactive)
				add_int(&batch, arena_copy(&batch.arena, str_of(path)).p, 1,
				    (int64_t)i, vector_ts(value_at(metric, age)));
		}
		store_batch(f, "host1.example.com", "vecapp", &batch);
	}
	vector_free(all);
}

static void
history_is_upstreams_to_the_byte(void **state)
{
	struct api_fixture *f = *state;

	store_vector(f, "scotty_api_hosts_vec.json", false);
	get(f, "/api/hosts/host1.example.com/vecapp");
	vector_expect("scotty_api_hosts_vec.json", buf_view(&f->answer));
	get(f, "/api/hosts/host1.example.com/vecapp/");
	vector_expect("scotty_api_hosts_vec.json", buf_view(&f->answer));
	get(f, "/api/hosts/host1.example.com/vecapp/vec");
	vector_expect("scotty_api_hosts_vec.json", buf_view(&f->answer));
}

static void
newest_values_as_text_are_upstreams_to_the_byte(void **state)
{
	struct api_fixture *f = *state;

	store_vector(f, "scotty_api_hosts_vec_history0_text.json", false);
	get(f, "/api/hosts/host1.example.com/vecapp?format=text&history=0");
	vector_expect("scotty_api_hosts_vec_history0_text.json", buf_view(&f->answer));
}

static void
inactive_markers_are_upstreams_to_the_byte(void **state)
{
	struct api_fixture *f = *state;

	store_vector(f, "scotty_api_hosts_inactive_text.json", true);
	get(f, "/api/hosts/host1.example.com/vecapp/vec?format=text");
	vector_expect("scotty_api_hosts_inactive_text.json", buf_view(&f->answer));
}

/* A counter that changes every minute: 10 ten minutes ago, ..., 1 a minute ago. */
static void
store_counter(struct api_fixture *f)
{
	for (int64_t age = 10; age > 0; age--) {
		struct batch batch;

		batch_begin(&batch);
		add_int(&batch, "/c", age, 0, FIXTURE_NOW_NS - age * MINUTE_NS);
		add_int(&batch, "/c/sub", 0, 0, FIXTURE_NOW_NS - age * MINUTE_NS);
		add_int(&batch, "/cc", 0, 0, FIXTURE_NOW_NS - age * MINUTE_NS);
		store_batch(f, "h", "health agent", &batch);
	}
}

static size_t
count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* One value more than lie within the time asked for: that at its start. */
static const struct {
	const char *query;
	size_t values;
} histories[] = {
	{ "", 10 },
	{ "?history=60", 10 },
	{ "?history=3", 3 },
	{ "?history=%2B3", 3 },
	{ "?history=+3", 10 }, /* a space before it */
	{ "?history=0", 1 },
	{ "?history=-5", 1 },
	{ "?history=1", 1 },
	{ "?history=2", 2 },
	{ "?history=4&history=1", 4 },
	{ "?history=abc", 10 },
	{ "?history=", 10 },
	{ "?history=3x", 10 },
	{ "?history=%2B-3", 10 },
	{ "?history=3.5", 10 },
	{ "?history=9223372036854775807", 10 },
	{ "?history=-9223372036854775808", 1 },
	{ "?history=99999999999999999999", 10 },
};

static void
history_reaches_back_as_many_minutes(void **state)
{
	struct api_fixture *f = *state;
	char target[128];

	store_counter(f);
	for (size_t i = 0; i < ARRAY_LEN(histories); i++) {
		size_t n;

		snprintf(
		    target, sizeof(target), "/api/hosts/h/health%%20agent/c%s", histories[i].query);
		n = count(get(f, target), "\"timestamp\"");
		if (n != histories[i].values)
			fail_msg("row %zu: %zu values: %s", i, n, f->answer.p);
	}
}

static const struct {
	const char *rest;
	size_t metrics;
} paths[] = {
	{ "", 3 },
	{ "/", 3 },
	{ "/c", 1 }, /* exactly that one, though there is one below */
	{ "/c/", 1 },
	{ "/c?singleton=1", 1 },
	{ "/c/sub", 1 },
	{ "/cc", 1 },
	{ "/d", 0 },
	{ "/c/su", 0 },
	{ "?singleton=1", 3 },
};

static void
path_names_a_metric_or_else_what_is_under_it(void **state)
{
	struct api_fixture *f = *state;
	char target[128];

	store_counter(f);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		size_t n;

		snprintf(target, sizeof(target), "/api/hosts/h/health%%20agent%s", paths[i].rest);
		n = count(get(f, target), "\"path\"");
		if (n != paths[i].metrics || f->status != 200)
			fail_msg("row %zu: %zu metrics", i, n);
	}
}

static void
singleton_takes_no_directory(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;

	batch_begin(&batch);
	add_int(&batch, "/dir/one", 1, 0, FIXTURE_NOW_NS);
	store_batch(f, "h", "a", &batch);
	assert_int_equal(count(get(f, "/api/hosts/h/a/dir"), "\"path\""), 1);
	assert_int_equal(count(get(f, "/api/hosts/h/a/dir?singleton="), "\"path\""), 1);
	assert_string_equal(get(f, "/api/hosts/h/a/dir?singleton=true"), "[]\n");
}

static void
slash_in_a_name_comes_escaped(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;

	batch_begin(&batch);
	add_int(&batch, "/x", 1, 0, FIXTURE_NOW_NS);
	store_batch(f, "h/1", "a\xc3\xa9", &batch);
	assert_int_equal(count(get(f, "/api/hosts/h%2F1/a%C3%A9/x"), "\"path\""), 1);
	get(f, "/api/hosts/h/1/a%C3%A9/x");
	assert_int_equal(f->status, 404);
}

static void
a_long_history_comes_in_bounded_pieces(void **state)
{
	struct api_fixture *f = *state;

	for (int64_t i = 0; i < 3000; i++) {
		struct batch batch;

		batch_begin(&batch);
		add_int(&batch, "/c", i, 0, FIXTURE_NOW_NS - (3000 - i) * NS_PER_S);
		store_batch(f, "h", "a", &batch);
	}
	assert_int_equal(count(get(f, "/api/hosts/h/a/c"), "\"active\":true"), 3000);
	assert_in_range(f->largest_piece, STREAM_PIECE_BYTES, 2 * STREAM_PIECE_BYTES);
	assert_int_equal(count(f->answer.p, "\"path\""), 1);
	assert_non_null(strstr(f->answer.p, "\"value\":2999,\"active\":true},{\"timestamp\":"));
}

static void
numeric_history_is_shown_as_numbers(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;
	static const int64_t stamps[] = { 1795209644249651193, 1795209649249860763,
		1795209654251758575, 1795209659250951528 };
	const struct metric_desc text = { .path = STR("/vec/string"), .kind = KIND_STRING };
	const struct value value = { .s = STR("x") };
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(stamps); i++) {
		batch_begin(&batch);
		add_int(&batch, "/vec/live/counter", (int64_t)i + 1, 0, stamps[i]);
		assert_int_equal(batch_add(&batch, &text, &value, 0, stamps[i], &err), 0);
		store_batch(f, "h", "a", &batch);
	}
	/* As captured from upstream. */
	assert_string_equal(get(f, "/api/tsdb/h/a/vec/live/counter"),
	    "EARLIEST= 0\nOK= true\n"
	    "1.7952096442496512e+09 1\n1.7952096492498608e+09 2\n"
	    "1.7952096542517586e+09 3\n1.7952096592509515e+09 4\n");
	assert_string_equal(f->response.content_type, "text/plain; charset=utf-8");
	assert_string_equal(get(f, "/api/tsdb/h/a/vec/string"), "EARLIEST= 0\nOK= false\n");
	assert_string_equal(
	    get(f, "/api/tsdb/h/a/vec/live/counter?history=0"), "EARLIEST= 0\nOK= true\n");
	assert_string_equal(get(f, "/api/tsdb/h/a"), "404 Not Found\n");
	assert_string_equal(get(f, "/api/tsdb/h/b/x"), "404 Not Found\n");
	assert_string_equal(
	    get(f, "/api/earliest/vec/live/counter"), "PATH:  /vec/live/counter\nEarliest:  0\n");
	assert_string_equal(get(f, "/api/earliest/"), "PATH:  \nEarliest:  0\n");
}

static void
a_number_is_shown_at_each_time_of_its_group(void **state)
{
	static const struct {
		int64_t value;
		bool there;
	} polls[] = { { 5, true }, { 5, true }, { 7, true }, { 0, false }, { 7, true },
		{ 7, true } };
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(polls); i++) {
		int64_t ts_ns = (FIXTURE_NOW_NS / NS_PER_S - 100 + (int64_t)i) * NS_PER_S;
		struct batch batch;

		batch_begin(&batch);
		if (polls[i].there)
			add_int(&batch, "/n", polls[i].value, 0, ts_ns);
		add_int(&batch, "/other", 1, 0, ts_ns);
		store_batch(f, "h", "a", &batch);
	}
	get(f, "/api/tsdb/h/a/n");
	/* Not where it was absent. */
	assert_int_equal(count(f->answer.p, " 5\n"), 2);
	assert_int_equal(count(f->answer.p, " 7\n"), 3);
	assert_int_equal(count(f->answer.p, "\n"), 2 + 5);
}

static void
both_layouts_agree_for_every_kind(void **state)
{
	struct api_fixture *f = *state;

	for (int round = 0; round < 4; round++) {
		struct batch batch;

		batch_begin(&batch);
		add_every_kind(&batch, round);
		store_batch(f, "h", "a", &batch);
		expect_both_layouts_agree(f, "/api/hosts/h/a");
	}
	assert_true(count(f->answer.p, "\"active\"") > 80);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(history_is_upstreams_to_the_byte),
		TEST(newest_values_as_text_are_upstreams_to_the_byte),
		TEST(inactive_markers_are_upstreams_to_the_byte),
		TEST(history_reaches_back_as_many_minutes),
		TEST(path_names_a_metric_or_else_what_is_under_it),
		TEST(singleton_takes_no_directory),
		TEST(slash_in_a_name_comes_escaped),
		TEST(a_long_history_comes_in_bounded_pieces),
		TEST(a_number_is_shown_at_each_time_of_its_group),
		TEST(both_layouts_agree_for_every_kind),
		TEST(numeric_history_is_shown_as_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
