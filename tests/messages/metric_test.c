#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "messages/metric.h"
#include "vectors.h"

static const struct {
	enum kind kind;
	const char *name;
	int bits;
	bool numeric, is_int, is_uint;
} kinds[] = {
	{ KIND_BOOL, "bool", 0, false, false, false },
	{ KIND_INT8, "int8", 8, true, true, false },
	{ KIND_INT16, "int16", 16, true, true, false },
	{ KIND_INT32, "int32", 32, true, true, false },
	{ KIND_INT64, "int64", 64, true, true, false },
	{ KIND_UINT8, "uint8", 8, true, false, true },
	{ KIND_UINT16, "uint16", 16, true, false, true },
	{ KIND_UINT32, "uint32", 32, true, false, true },
	{ KIND_UINT64, "uint64", 64, true, false, true },
	{ KIND_FLOAT32, "float32", 32, true, false, false },
	{ KIND_FLOAT64, "float64", 64, true, false, false },
	{ KIND_STRING, "string", 0, false, false, false },
	{ KIND_TIME, "time", 0, true, false, false },
	{ KIND_DURATION, "duration", 0, true, false, false },
	{ KIND_LIST, "list", 0, false, false, false },
	{ KIND_DIST, "distribution", 0, false, false, false },
};

static void
kinds_follow_the_table(void **state)
{
	(void)state;
	assert_int_equal(ARRAY_LEN(kinds), KIND_COUNT - 1);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		enum kind kind = kinds[i].kind;

		assert_string_equal(kind_name(kind), kinds[i].name);
		assert_int_equal(kind_parse(str_of(kinds[i].name)), kind);
		assert_int_equal(kind_bits(kind), kinds[i].bits);
		assert_int_equal(kind_is_numeric(kind), kinds[i].numeric);
		assert_int_equal(kind_is_int(kind), kinds[i].is_int);
		assert_int_equal(kind_is_uint(kind), kinds[i].is_uint);
	}
}

static void
unknown_kinds_are_none(void **state)
{
	static const char *const names[] = { "", "int7", "Int8", "int8 ", "goTime", "dist" };

	(void)state;
	assert_string_equal(kind_name(KIND_NONE), "");
	assert_false(kind_is_numeric(KIND_NONE));
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(kind_parse(str_of(names[i])), KIND_NONE);
}

static void
old_servers_kinds_have_64_bits(void **state)
{
	(void)state;
	assert_int_equal(kind_parse(STR("int")), KIND_INT64);
	assert_int_equal(kind_parse(STR("uint")), KIND_UINT64);
	assert_int_equal(kind_parse(STR("float")), KIND_FLOAT64);
}

static void
ranges_end_where_the_type_does(void **state)
{
	(void)state;
	assert_true(kind_int_fits(KIND_INT8, 127) && kind_int_fits(KIND_INT8, -128));
	assert_false(kind_int_fits(KIND_INT8, 128) || kind_int_fits(KIND_INT8, -129));
	assert_true(kind_int_fits(KIND_INT16, INT16_MIN) && kind_int_fits(KIND_INT16, INT16_MAX));
	assert_false(kind_int_fits(KIND_INT16, INT16_MAX + 1));
	assert_true(kind_int_fits(KIND_INT32, INT32_MIN) && kind_int_fits(KIND_INT32, INT32_MAX));
	assert_false(kind_int_fits(KIND_INT32, (int64_t)INT32_MIN - 1));
	assert_true(kind_int_fits(KIND_INT64, INT64_MIN) && kind_int_fits(KIND_INT64, INT64_MAX));
	assert_true(kind_uint_fits(KIND_UINT8, 255) && !kind_uint_fits(KIND_UINT8, 256));
	assert_true(kind_uint_fits(KIND_UINT16, 65535) && !kind_uint_fits(KIND_UINT16, 65536));
	assert_true(kind_uint_fits(KIND_UINT32, UINT32_MAX));
	assert_false(kind_uint_fits(KIND_UINT32, (uint64_t)UINT32_MAX + 1));
	assert_true(kind_uint_fits(KIND_UINT64, UINT64_MAX));
}

static void
only_milliseconds_are_a_thousand_a_second(void **state)
{
	static const char *const others[] = { "", "None", "Seconds", "Bytes", "milliseconds" };

	(void)state;
	assert_int_equal(unit_per_second(STR("Milliseconds")), 1000);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_int_equal(unit_per_second(str_of(others[i])), 1);
}

static const struct tag tags[] = {
	{ { "a", 1 }, { "1", 1 } },
	{ { "b", 1 }, { "2", 1 } },
};
static const struct tag other_tags[] = {
	{ { "a", 1 }, { "1", 1 } },
	{ { "b", 1 }, { "3", 1 } },
};
static const double limits[] = { 1, 2, 3 }, other_limits[] = { 1, 2, 4 };

static const struct metric_desc base = {
	.path = { "/a/b", 4 },
	.description = { "text", 4 },
	.unit = { "None", 4 },
	.kind = KIND_DIST,
	.tags = tags,
	.tag_count = 2,
	.limits = limits,
	.limit_count = 3,
};

static void
a_desc_equals_its_copy_elsewhere(void **state)
{
	char path[] = "/a/b";
	struct tag copied_tags[] = { tags[0], tags[1] };
	double copied_limits[] = { 1, 2, 3 };
	struct metric_desc copy = base;

	(void)state;
	copy.path = str_of(path);
	copy.tags = copied_tags;
	copy.limits = copied_limits;
	assert_true(desc_eq(&base, &copy));
	assert_int_equal(desc_hash(&base), desc_hash(&copy));
	assert_int_equal(desc_cmp(&base, &copy), 0);
}

static void
each_part_of_a_desc_tells_it_apart(void **state)
{
	struct metric_desc other[] = { base, base, base, base, base, base, base, base, base };

	(void)state;
	other[0].path = STR("/a/c");
	other[1].description = STR("texT");
	other[2].unit = STR("Bytes");
	other[3].kind = KIND_INT8;
	other[4].sub_kind = KIND_INT8;
	other[5].tags = other_tags;
	other[6].tag_count = 1;
	other[7].limits = other_limits;
	other[8].not_cumulative = true;
	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		assert_false(desc_eq(&base, &other[i]));
		assert_false(desc_eq(&other[i], &base));
		assert_true(desc_hash(&base) != desc_hash(&other[i]));
	}
}

static void
descs_sort_by_path_then_tags(void **state)
{
	static const struct tag tag_a[] = { { { "a", 1 }, { "2", 1 } } };
	const struct metric_desc order[] = {
		{ .path = STR("/a") },
		{ .path = STR("/a-b") },
		{ .path = STR("/a/b") },
		{ .path = STR("/a/b"), .tags = tags, .tag_count = 1 },
		{ .path = STR("/a/b"), .tags = tags, .tag_count = 2 },
		{ .path = STR("/a/b"), .tags = other_tags, .tag_count = 2 },
		{ .path = STR("/a/b"), .tags = tag_a, .tag_count = 1 },
		{ .path = STR("/a/b"), .tags = tags + 1, .tag_count = 1 },
		{ .path = STR("/a/c") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t k = 0; k < ARRAY_LEN(order); k++) {
			int cmp = desc_cmp(&order[i], &order[k]);

			assert_int_equal((cmp > 0) - (cmp < 0), (i > k) - (i < k));
		}
	}
}

static bool
eq(enum kind kind, struct value a, struct value b)
{
	struct metric_desc desc = { .kind = kind };

	return value_eq(&desc, &a, &b);
}

static void
scalars_are_equal_bit_for_bit(void **state)
{
	(void)state;
	assert_true(eq(KIND_BOOL, (struct value){ .b = true }, (struct value){ .b = true }));
	assert_false(eq(KIND_BOOL, (struct value){ .b = true }, (struct value){ .b = false }));
	assert_true(eq(KIND_INT64, (struct value){ .i = -5 }, (struct value){ .i = -5 }));
	assert_false(eq(KIND_TIME, (struct value){ .i = -5 }, (struct value){ .i = 5 }));
	assert_false(eq(KIND_UINT8, (struct value){ .u = 1 }, (struct value){ .u = 2 }));
	assert_true(eq(KIND_FLOAT64, (struct value){ .f = NAN }, (struct value){ .f = NAN }));
	assert_false(eq(KIND_FLOAT64, (struct value){ .f = 0.0 }, (struct value){ .f = -0.0 }));
	assert_false(eq(KIND_FLOAT32, (struct value){ .f = 1 }, (struct value){ .f = 1.5 }));
	assert_true(eq(
	    KIND_STRING, (struct value){ .s = { "ab", 2 } }, (struct value){ .s = { "abc", 2 } }));
	assert_false(eq(KIND_STRING, (struct value){ .s = { "a\0b", 3 } },
	    (struct value){ .s = { "a\0c", 3 } }));
}

static void
lists_are_equal_by_their_elements(void **state)
{
	struct metric_desc desc = { .kind = KIND_LIST, .sub_kind = KIND_STRING };
	struct value ab[] = { { .s = STR("a") }, { .s = STR("b") } };
	struct value ac[] = { { .s = STR("a") }, { .s = STR("c") } };
	struct list lists[] = { { ab, 2 }, { ac, 2 }, { ab, 1 }, { NULL, 0 } };
	struct value ab_again[] = { { .s = str_of(kind_name(KIND_NONE)) }, { .s = STR("b") } };
	struct list again = { ab_again, 2 };

	(void)state;
	ab_again[0].s = (struct str){ "abc", 1 };
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		for (size_t k = 0; k < ARRAY_LEN(lists); k++)
			assert_int_equal(value_eq(&desc, &(struct value){ .list = &lists[i] },
			                     &(struct value){ .list = &lists[k] }),
			    i == k);
	}
	assert_true(value_eq(
	    &desc, &(struct value){ .list = &lists[0] }, &(struct value){ .list = &again }));
}

static void
distributions_are_equal_by_what_the_store_keeps(void **state)
{
	uint64_t counts[] = { 1, 2 }, same_counts[] = { 1, 2 }, other_counts[] = { 2, 1 };
	struct dist a = { .counts = counts, .len = 2, .count = 3, .sum = 7, .rollovers = 1 };
	struct dist same = a, other[] = { a, a, a, a };

	(void)state;
	same.counts = same_counts;
	same.generation = 9;
	same.min = 1;
	same.median = 2;
	assert_true(eq(KIND_DIST, (struct value){ .dist = &a }, (struct value){ .dist = &same }));
	other[0].counts = other_counts;
	other[1].sum = 8;
	other[2].rollovers = 2;
	other[3].len = 1;
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		assert_false(eq(
		    KIND_DIST, (struct value){ .dist = &a }, (struct value){ .dist = &other[i] }));
	assert_false(eq(KIND_DIST, (struct value){ .dist = &a }, (struct value){ .dist = NULL }));
	assert_true(eq(KIND_DIST, (struct value){ .dist = NULL }, (struct value){ .dist = NULL }));
}

static void
zero_values_are_zero(void **state)
{
	(void)state;
	for (enum kind kind = KIND_BOOL; kind < KIND_COUNT; kind++) {
		struct value zero = value_zero(kind);

		if (kind == KIND_STRING)
			assert_int_equal(zero.s.len, 0);
		else if (kind == KIND_LIST)
			assert_int_equal(zero.list->len, 0);
		else if (kind == KIND_DIST)
			assert_null(zero.dist);
		else if (kind == KIND_BOOL)
			assert_false(zero.b);
		else
			assert_true(value_to_double(kind, &zero) == 0);
	}
}

static void
numbers_become_doubles(void **state)
{
	(void)state;
	assert_true(value_to_double(KIND_INT32, &(struct value){ .i = -7 }) == -7);
	assert_true(value_to_double(KIND_UINT64, &(struct value){ .u = UINT64_MAX }) == 0x1p64);
	assert_true(value_to_double(KIND_FLOAT32, &(struct value){ .f = 0.5 }) == 0.5);
	assert_true(value_to_double(KIND_DURATION, &(struct value){ .i = -1500000000 }) == -1.5);
}

static void
times_become_seconds_as_upstream_does(void **state)
{
	struct json_object *rows = vector_parse("timestamp_float_roundtrip.json");

	(void)state;
	assert_true(vector_len(rows) > 5);
	for (size_t i = 0; i < vector_len(rows); i++) {
		struct json_object *row = vector_at(rows, i);
		struct metric_desc desc = { .kind = KIND_TIME };
		struct value v = vector_value(NULL, &desc, vector_get(row, "unixSecondsNanos"));
		double want = strtod(vector_text(row, "float64").p, NULL);

		assert_true(value_to_double(KIND_TIME, &v) == want);
	}
	vector_free(rows);
}

static void
paths_sort_component_by_component(void **state)
{
	static const char *const order[] = { "", "/", "/vec", "/vec/a", "/vec/a/b", "/vec/a-b",
		"/vec/z", "/vec-a/x", "/vec.a/x", "/veca", "/vec\xC3\xA9", "/w" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		for (size_t k = 0; k < ARRAY_LEN(order); k++) {
			int cmp = path_cmp_components(str_of(order[i]), str_of(order[k]));

			if ((cmp > 0) - (cmp < 0) != (i > k) - (i < k))
				fail_msg("%s and %s: %d", order[i], order[k], cmp);
		}
	}
}

static void
a_path_is_under_whole_components(void **state)
{
	(void)state;
	assert_true(path_is_under(STR("/a/b"), STR("/a")));
	assert_true(path_is_under(STR("/a"), STR("/a")));
	assert_true(path_is_under(STR("/a/b"), STR_EMPTY));
	assert_true(path_is_under(STR("/a/b"), STR("/")));
	assert_false(path_is_under(STR("/ab"), STR("/a")));
	assert_false(path_is_under(STR("/a"), STR("/a/b")));
	assert_false(path_is_under(STR("/b"), STR("/a")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_follow_the_table),
		cmocka_unit_test(unknown_kinds_are_none),
		cmocka_unit_test(old_servers_kinds_have_64_bits),
		cmocka_unit_test(ranges_end_where_the_type_does),
		cmocka_unit_test(only_milliseconds_are_a_thousand_a_second),
		cmocka_unit_test(a_desc_equals_its_copy_elsewhere),
		cmocka_unit_test(each_part_of_a_desc_tells_it_apart),
		cmocka_unit_test(descs_sort_by_path_then_tags),
		cmocka_unit_test(scalars_are_equal_bit_for_bit),
		cmocka_unit_test(lists_are_equal_by_their_elements),
		cmocka_unit_test(distributions_are_equal_by_what_the_store_keeps),
		cmocka_unit_test(zero_values_are_zero),
		cmocka_unit_test(numbers_become_doubles),
		cmocka_unit_test(times_become_seconds_as_upstream_does),
		cmocka_unit_test(paths_sort_component_by_component),
		cmocka_unit_test(a_path_is_under_whole_components),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
