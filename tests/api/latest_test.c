#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../messages/vectors.h"
#include "api_fixture.h"

/* Stores what a captured answer of /api/latest says, each metric in a group of its own. */
static void
store_vector(struct api_fixture *f, const char *name)
{
	struct json_object *all = vector_parse(name);
	struct batch batch;
	struct err err;

	batch_begin(&batch);
	for (size_t i = 0; i < vector_len(all); i++) {
		struct json_object *one = vector_at(all, i);
		struct metric_desc desc = vector_desc(&batch.arena, one);
		struct value value = vector_value(&batch.arena, &desc, vector_get(one, "value"));

		assert_int_equal(
		    batch_add(&batch, &desc, &value, (int64_t)i, vector_ts(one), &err), 0);
	}
	assert_int_equal(batch.len, vector_len(all));
	store_batch(f, "host1.example.com", "vecapp", &batch);
	vector_free(all);
}

static void
answer_is_upstreams_to_the_byte(void **state)
{
	struct api_fixture *f = *state;

	store_vector(f, "scotty_api_latest_vec.json");
	get(f, "/api/latest/");
	vector_expect("scotty_api_latest_vec.json", buf_view(&f->answer));
	assert_string_equal(f->response.content_type, "application/json");
	get(f, "/api/latest/vec/");
	vector_expect("scotty_api_latest_vec.json", buf_view(&f->answer));
}

static void
text_answer_is_upstreams_to_the_byte(void **state)
{
	struct api_fixture *f = *state;

	store_vector(f, "scotty_api_latest_vec_text.json");
	get(f, "/api/latest/?format=text");
	vector_expect("scotty_api_latest_vec_text.json", buf_view(&f->answer));
}

static void
path_holds_what_is_at_or_under_it(void **state)
{
	struct api_fixture *f = *state;
	const char *both =
	    "[{\"hostName\":\"host1.example.com\",\"appName\":\"vecapp\",\"path\":\"/vec/bool/"
	    "false\","
	    "\"description\":\"A false bool\",\"unit\":\"None\",\"kind\":\"bool\",\"timestamp\":"
	    "\"1795209659.250951528\",\"value\":false},{\"hostName\":\"host1.example.com\","
	    "\"appName\":\"vecapp\",\"path\":\"/vec/bool/true\",\"description\":\"A true bool\","
	    "\"unit\":\"None\",\"kind\":\"bool\",\"timestamp\":\"1795209659.250951528\","
	    "\"value\":true}]\n";

	store_vector(f, "scotty_api_latest_vec.json");
	assert_string_equal(get(f, "/api/latest/vec/bool"), both);
	assert_string_equal(get(f, "/api/latest/vec/bo%6Fl/"), both);
	assert_string_equal(get(f, "/api/latest/vec/bo"), "[]\n");
	assert_string_equal(get(f, "/api/latest/vec/bool/true/x"), "[]\n");
	assert_non_null(strstr(get(f, "/api/latest/vec/bool/true"), "[{\"hostName\""));
}

static void
endpoints_come_by_host_then_application(void **state)
{
	static const char *const names[][2] = { { "b", "y" }, { "a", "z" }, { "b", "x" },
		{ "", "" } };
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct batch batch;

		batch_begin(&batch);
		add_int(&batch, "/p", (int64_t)i, 0, FIXTURE_NOW_NS);
		store_batch(f, names[i][0], names[i][1], &batch);
	}
#define REST                                                                                       \
	"\"path\":\"/p\",\"description\":\"An int\",\"unit\":\"None\",\"kind\":\"int64\","         \
	"\"bits\":64,\"timestamp\":\"1795209663.000000000\",\"value\":"
	assert_string_equal(get(f, "/api/latest/p"),
	    "[{" REST "3},{\"hostName\":\"a\",\"appName\":\"z\"," REST "1},"
	    "{\"hostName\":\"b\",\"appName\":\"x\"," REST "2},"
	    "{\"hostName\":\"b\",\"appName\":\"y\"," REST "0}]\n");
#undef REST
}

static void
inactive_metrics_are_left_out(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;

	batch_begin(&batch);
	add_int(&batch, "/stays", 1, 0, FIXTURE_NOW_NS - 10);
	add_int(&batch, "/goes", 1, 0, FIXTURE_NOW_NS - 10);
	store_batch(f, "h", "a", &batch);
	batch_begin(&batch);
	add_int(&batch, "/stays", 1, 0, FIXTURE_NOW_NS);
	store_batch(f, "h", "a", &batch);
	assert_string_equal(get(f, "/api/latest/goes"), "[]\n");
	assert_non_null(strstr(get(f, "/api/latest/"), "\"/stays\""));
}

static void
long_answers_come_in_bounded_pieces(void **state)
{
	struct api_fixture *f = *state;
	struct batch batch;
	size_t commas = 0;
	char path[64];

	batch_begin(&batch);
	for (int i = 0; i < 20000; i++) {
		snprintf(path, sizeof(path), "/some/longer/path/%05d", i);
		add_int(&batch, arena_copy(&batch.arena, str_of(path)).p, i, 0, FIXTURE_NOW_NS);
	}
	store_batch(f, "h", "a", &batch);
	get(f, "/api/latest/");
	assert_in_range(f->largest_piece, STREAM_PIECE_BYTES, 2 * STREAM_PIECE_BYTES);
	for (const char *p = f->answer.p; (p = strstr(p, "},{")) != NULL; p++)
		commas++;
	assert_int_equal(commas, 19999);
}

static void
both_layouts_agree_for_every_kind(void **state)
{
	static const char *const names[][2] = { { "host<1>", "app" }, { "h", "a&b" }, { "", "" } };
	struct api_fixture *f = *state;

	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < ARRAY_LEN(names); i++) {
			struct batch batch;

			batch_begin(&batch);
			add_every_kind(&batch, round);
			store_batch(f, names[i][0], names[i][1], &batch);
		}
		expect_both_layouts_agree(f, "/api/latest/");
	}
	assert_non_null(strstr(f->answer.p, "\"host\\u003c1\\u003e\""));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(answer_is_upstreams_to_the_byte),
		TEST(text_answer_is_upstreams_to_the_byte),
		TEST(path_holds_what_is_at_or_under_it),
		TEST(endpoints_come_by_host_then_application),
		TEST(inactive_metrics_are_left_out),
		TEST(both_layouts_agree_for_every_kind),
		TEST(long_answers_come_in_bounded_pieces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
