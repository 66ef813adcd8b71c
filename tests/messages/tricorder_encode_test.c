#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "messages/tricorder.h"
#include "vectors.h"

struct fixture {
	struct batch batch;
	struct buf out;
	struct json_object *metrics; /* what the batch was filled from */
};

/* Fills the batch with a captured listing. */
static void
fill(struct fixture *f, const char *name)
{
	f->metrics = vector_parse(name);
	for (size_t i = 0; i < vector_len(f->metrics); i++) {
		struct json_object *metric = vector_at(f->metrics, i);
		struct metric_desc desc = vector_desc(&f->batch.arena, metric);
		struct value value =
		    vector_value(&f->batch.arena, &desc, vector_get(metric, "value"));
		struct err err;

		assert_int_equal(batch_add(&f->batch, &desc, &value, vector_i64(metric, "groupId"),
		                     vector_ts(metric), &err),
		    0);
	}
	assert_int_equal(f->batch.bad_count, 0);
	assert_string_equal(f->batch.bad_text, "");
	assert_int_equal(f->batch.len, vector_len(f->metrics));
}

static int
setup(void **state)
{
	static struct fixture f;

	batch_init(&f.batch, 0);
	buf_init(&f.out, 0);
	f.metrics = NULL;
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	buf_fini(&f->out);
	vector_free(f->metrics);
	return 0;
}

static void
assert_written(struct fixture *f, struct str want)
{
	size_t same = 0;

	assert_false(f->out.failed);
	while (same < want.len && same < f->out.len && want.p[same] == f->out.p[same])
		same++;
	if (same < want.len || same < f->out.len)
		fail_msg("differs at byte %zu: %.80s", same, f->out.p + same);
	buf_clear(&f->out);
}

static void
listings_are_written_as_captured(void **state)
{
	static const char *const names[] = { "tricorder_metricsapi_vec.json",
		"tricorder_metricsapi_proc.json" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct str want = vector_load(names[i]);

		fill(f, names[i]);
		tricorder_encode(&f->batch, STR_EMPTY, &f->out);
		assert_written(f, want);
		tricorder_encode(&f->batch, STR("/nowhere"), &f->out);
		assert_written(f, STR("[]"));
		free((void *)(uintptr_t)want.p);
		vector_free(f->metrics);
		f->metrics = NULL;
		batch_reset(&f->batch);
	}
}

static void
one_metric_is_written_as_captured(void **state)
{
	struct fixture *f = *state;
	struct str want = vector_load("tricorder_metricsapi_singleton.json");

	fill(f, "tricorder_metricsapi_vec.json");
	assert_true(tricorder_encode_one(&f->batch, STR("/vec/int/int8"), &f->out));
	assert_written(f, want);
	assert_false(tricorder_encode_one(&f->batch, STR("/vec/int"), &f->out));
	assert_int_equal(f->out.len, 0);
	free((void *)(uintptr_t)want.p);
}

static size_t
count_paths(struct fixture *f, struct str prefix)
{
	size_t n = 0;

	buf_clear(&f->out);
	tricorder_encode(&f->batch, prefix, &f->out);
	buf_putc(&f->out, '\0');
	for (const char *p = f->out.p; (p = strstr(p, "\"path\"")) != NULL; p++)
		n++;
	buf_clear(&f->out);
	return n;
}

static void
a_prefix_holds_itself_and_what_is_under_it(void **state)
{
	struct fixture *f = *state;

	fill(f, "tricorder_metricsapi_vec.json");
	assert_int_equal(count_paths(f, STR("/vec/int")), 5);
	assert_int_equal(count_paths(f, STR("/vec/int/int8")), 1);
	assert_int_equal(count_paths(f, STR("/vec/in")), 0);
	assert_int_equal(count_paths(f, STR("/")), f->batch.len);
}

static void
floats_that_are_no_number_are_not_listed(void **state)
{
	static const double values[] = { NAN, INFINITY, -INFINITY, 1 };
	static const char *const paths[] = { "/a", "/b", "/c", "/d" };
	struct fixture *f = *state;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct metric_desc desc = {
			.path = str_of(paths[i]),
			.kind = i % 2 == 0 ? KIND_FLOAT64 : KIND_FLOAT32,
		};
		struct value value = { .f = values[i] };

		assert_int_equal(batch_add(&f->batch, &desc, &value, 0, TS_NONE, &err), 0);
	}
	batch_end(&f->batch, 0);
	assert_int_equal(count_paths(f, STR_EMPTY), 1);
	/* Asked for by name there is no leaving it out. */
	assert_true(tricorder_encode_one(&f->batch, STR("/a"), &f->out));
	assert_written(
	    f, STR("{\n\t\"path\": \"/a\",\n\t\"description\": \"\",\n\t\"kind\": "
	           "\"float64\",\n\t\"bits\": 64,"
	           "\n\t\"value\": null,\n\t\"timestamp\": \"0.000000000\",\n\t\"groupId\": 0\n}"));
}

static void
tags_are_the_last_key(void **state)
{
	static const struct tag tags[] = { { { "oid", 3 }, { "1.3", 3 } } };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/a"),
		.unit = STR("None"),
		.kind = KIND_BOOL,
		.tags = tags,
		.tag_count = 1 };
	struct value value = { .b = true };
	struct err err;

	assert_int_equal(batch_add(&f->batch, &desc, &value, 5, 1, &err), 0);
	tricorder_encode(&f->batch, STR_EMPTY, &f->out);
	assert_written(f,
	    STR("[\n\t{\n\t\t\"path\": \"/a\",\n\t\t\"description\": \"\",\n\t\t\"unit\": \"None\","
	        "\n\t\t\"kind\": \"bool\",\n\t\t\"value\": true,\n\t\t\"timestamp\": "
	        "\"0.000000001\","
	        "\n\t\t\"groupId\": 5,\n\t\t\"tags\": {\n\t\t\t\"oid\": \"1.3\"\n\t\t}\n\t}\n]"));
}

static void
without_memory_the_buf_fails(void **state)
{
	struct fixture *f = *state;
	unsigned nth = 0;
	bool happened;

	fill(f, "tricorder_metricsapi_vec.json");
	do {
		struct buf out;

		buf_init(&out, 0);
		fault_malloc(++nth);
		tricorder_encode(&f->batch, STR_EMPTY, &out);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(out.failed, happened);
		buf_fini(&out);
	} while (happened);
	assert_true(nth > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(listings_are_written_as_captured, setup, teardown),
		cmocka_unit_test_setup_teardown(one_metric_is_written_as_captured, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_prefix_holds_itself_and_what_is_under_it, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    floats_that_are_no_number_are_not_listed, setup, teardown),
		cmocka_unit_test_setup_teardown(tags_are_the_last_key, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_the_buf_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
