#include "fault.h"
#include "store_fixture.h"

static void
first_values_start_series(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;

	put_i64(f, "/b", 2, 0, 0);
	put_i64(f, "/a", 1, 0, 0);
	append(f);
	assert_int_equal(f->stats.added, 2);
	assert_int_equal(f->stats.stale, 0);
	assert_int_equal(series_set_active_count(f->set), 2);
	assert_string_equal(history(f, "/a"), "0:1");
	assert_string_equal(latest_text(f, ""), "/a=0:1 /b=0:2");
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.series, 2);
	assert_int_equal(stats.active_series, 2);
	assert_int_equal(stats.values, 2);
	assert_int_equal(stats.sets, 1);
}

static void
only_changes_are_kept(void **state)
{
	struct fixture *f = *state;
	const int64_t values[] = { 5, 5, 6, 6, 5 };

	for (int64_t i = 0; i < 5; i++) {
		put_i64(f, "/a", values[i], 0, i * 1000);
		append(f);
		assert_int_equal(f->stats.added, i == 0 || i == 2 || i == 4);
	}
	assert_string_equal(history(f, "/a"), "4000:5 2000:6 0:5");
}

static void
latest_is_stamped_with_the_groups_last_time(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	put_i64(f, "/a", 1, 0, 1000);
	append(f);
	assert_string_equal(latest_text(f, "/a"), "/a=1000:1");
	assert_string_equal(history(f, "/a"), "0:1");
}

static void
a_group_that_does_not_advance_adds_only_new_series(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 7, 1000);
	put_i64(f, "/gone", 1, 7, 1000);
	append(f);
	put_i64(f, "/a", 2, 7, 1000);
	put_i64(f, "/new", 3, 7, 1000);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_int_equal(f->stats.stale, 1);
	put_i64(f, "/a", 2, 7, 500);
	put_i64(f, "/newer", 4, 7, 500);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/a"), "1000:1");
	assert_string_equal(history(f, "/new"), "1000:3");
	assert_string_equal(history(f, "/newer"), "1000:4");
	assert_string_equal(latest_text(f, "/newer"), "/newer=1000:4");
	assert_string_equal(history(f, "/gone"), "1000:1");
	/* What was absent in the meantime shows when the time advances. */
	put_i64(f, "/a", 2, 7, 1500);
	append(f);
	assert_int_equal(f->stats.added, 4);
	assert_string_equal(history(f, "/gone"), "1500:0i 1000:1");
	assert_string_equal(history(f, "/a"), "1500:2 1000:1");
}

static void
absent_from_its_group_means_inactive_at_the_groups_time(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 0, 0);
	append(f);
	put_i64(f, "/a", 1, 0, 30250);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/b"), "30250:0i 0:2");
	assert_string_equal(latest_text(f, ""), "/a=30250:1");
	assert_int_equal(series_set_active_count(f->set), 1);
	/* A second absence adds nothing. */
	put_i64(f, "/a", 1, 0, 60000);
	append(f);
	assert_int_equal(f->stats.added, 0);
	assert_string_equal(history(f, "/b"), "30250:0i 0:2");
	/* Back with the same value: a new record all the same. */
	put_i64(f, "/a", 1, 0, 90000);
	put_i64(f, "/b", 2, 0, 90000);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/b"), "90000:2 30250:0i 0:2");
	assert_int_equal(series_set_active_count(f->set), 2);
}

static void
absent_with_its_group_means_inactive_a_millisecond_later(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 1, 10);
	put_i64(f, "/c", 3, 1, 10);
	append(f);
	put_i64(f, "/a", 1, 0, 1000);
	put_i64(f, "/b", 2, 1, 1010);
	put_i64(f, "/c", 3, 1, 1010);
	append(f);
	put_i64(f, "/a", 1, 0, 2000);
	append(f);
	assert_int_equal(f->stats.added, 2);
	assert_string_equal(history(f, "/b"), "1011:0i 10:2");
	assert_string_equal(history(f, "/c"), "1011:0i 10:3");
	/* The group's time went along: a poll at that time is not later. */
	put_i64(f, "/a", 1, 0, 3000);
	put_i64(f, "/b", 2, 1, 1011);
	append(f);
	assert_int_equal(f->stats.stale, 1);
	assert_string_equal(history(f, "/b"), "1011:0i 10:2");
	put_i64(f, "/a", 1, 0, 4000);
	put_i64(f, "/b", 4, 1, 1012);
	append(f);
	assert_string_equal(history(f, "/b"), "1012:4 1011:0i 10:2");
}

static void
an_empty_poll_makes_all_inactive(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/a"), "1:0i 0:1");
	append(f);
	assert_int_equal(f->stats.added, 0);
}

static void
deactivate_marks_all_series_once(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 1, 5000);
	append(f);
	assert_int_equal(store_deactivate(f->set, AT(3000)), 2);
	assert_string_equal(history(f, "/a"), "3000:0i 0:1");
	assert_string_equal(history(f, "/b"), "5001:0i 5000:2");
	assert_int_equal(series_set_active_count(f->set), 0);
	assert_int_equal(store_deactivate(f->set, AT(9000)), 0);
	assert_string_equal(latest_text(f, ""), "");
	put_i64(f, "/a", 1, 0, 10000);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/a"), "10000:1 3000:0i 0:1");
}

static void
any_other_description_is_another_series(void **state)
{
	struct fixture *f = *state;
	static const struct tag tag = { { "k", 1 }, { "v", 1 } };
	static const struct tag tag2 = { { "k", 1 }, { "w", 1 } };
	const struct metric_desc plain = { .path = STR("/a"), .kind = KIND_UINT32 };
	struct metric_desc others[] = { plain, plain, plain, plain, plain };
	struct store_stats stats;

	others[0].description = STR("words");
	others[1].unit = STR("Bytes");
	others[2].kind = KIND_UINT64;
	others[3].tags = &tag;
	others[3].tag_count = 1;
	others[4].tags = &tag2;
	others[4].tag_count = 1;
	put_desc(f, &plain, (struct value){ .u = 1 }, 0, 0);
	append(f);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		put_desc(f, &others[i], (struct value){ .u = 1 }, 0, 1000 * (int64_t)(i + 1));
		append(f);
		assert_int_equal(f->stats.added, 2); /* the new one, and a marker for the old */
		store_get_stats(f->store, &stats);
		assert_int_equal(stats.series, i + 2);
		assert_int_equal(stats.active_series, 1);
	}
	assert_string_equal(latest_text(f, "/a"), "/a=5000:1");
}

static void
a_series_moves_to_a_renumbered_group(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;

	put_i64(f, "/a", 1, 1, 0);
	put_i64(f, "/b", 1, 2, 0);
	append(f);
	put_i64(f, "/a", 2, 8, 1000);
	put_i64(f, "/b", 1, 9, 1000);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_string_equal(history(f, "/a"), "1000:2 0:1");
	assert_string_equal(history(f, "/b"), "0:1");
	assert_string_equal(latest_text(f, ""), "/a=1000:2 /b=1000:1");
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.series, 2);
}

static void
a_series_does_not_go_back_in_time_with_its_group(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 1, 0);
	put_i64(f, "/slow", 1, 2, 0);
	append(f);
	put_i64(f, "/a", 1, 1, 2000);
	put_i64(f, "/slow", 1, 2, 1000);
	append(f);
	/* /a was known up to 2000; its new group is at 1500, and so is the value. */
	put_i64(f, "/a", 7, 2, 1500);
	put_i64(f, "/slow", 1, 2, 1500);
	append(f);
	assert_int_equal(f->stats.stale, 1);
	assert_string_equal(history(f, "/a"), "0:1");
	assert_string_equal(latest_text(f, "/a"), "/a=2000:1");
	put_i64(f, "/a", 7, 2, 2500);
	put_i64(f, "/slow", 1, 2, 2500);
	append(f);
	assert_string_equal(history(f, "/a"), "2500:7 0:1");
}

static void
a_marker_is_later_than_the_last_value_of_a_moved_series(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 1, 0);
	put_i64(f, "/slow", 1, 2, 0);
	append(f);
	put_i64(f, "/a", 2, 1, 2000);
	put_i64(f, "/slow", 1, 2, 1000);
	append(f);
	put_i64(f, "/a", 2, 2, 1500);
	put_i64(f, "/slow", 1, 2, 1500);
	append(f);
	put_i64(f, "/slow", 1, 2, 1600);
	append(f);
	assert_string_equal(history(f, "/a"), "2001:0i 2000:2 0:1");
}

static void
strings_and_lists_are_kept_whole(void **state)
{
	struct fixture *f = *state;
	static const struct value ints[] = { { .i = 1 }, { .i = -2 } };
	static const struct value texts[] = { { .s = { "x", 1 } }, { .s = { "", 0 } },
		{ .s = { "long one", 8 } } };
	static const struct list int_list = { ints, 2 }, text_list = { texts, 3 };
	static const struct list empty = { NULL, 0 };
	const struct metric_desc int_desc = {
		.path = STR("/ints"), .kind = KIND_LIST, .sub_kind = KIND_INT8
	};
	const struct metric_desc text_desc = {
		.path = STR("/texts"), .kind = KIND_LIST, .sub_kind = KIND_STRING
	};
	const char *const strings[] = { "one", "one", "", "", "two" };

	for (int64_t i = 0; i < 5; i++) {
		put_text(f, "/s", strings[i], 0, i);
		put_desc(f, &int_desc, (struct value){ .list = i < 2 ? &int_list : &empty }, 0, i);
		put_desc(
		    f, &text_desc, (struct value){ .list = i < 3 ? &text_list : &empty }, 0, i);
		append(f);
	}
	append(f);
	assert_string_equal(history(f, "/s"), "5:''i 4:'two' 2:'' 0:'one'");
	assert_string_equal(history(f, "/ints"), "5:[]i 2:[] 0:[1,-2]");
	assert_string_equal(history(f, "/texts"), "5:[]i 3:[] 0:['x','','long one']");
}

static void
numbers_come_back_bit_for_bit(void **state)
{
	struct fixture *f = *state;

	put(f, "/bool", KIND_BOOL, (struct value){ .b = true }, 0, 0);
	put(f, "/uint", KIND_UINT64, (struct value){ .u = UINT64_MAX }, 0, 0);
	put(f, "/int", KIND_INT64, (struct value){ .i = INT64_MIN }, 0, 0);
	put(f, "/float", KIND_FLOAT64, (struct value){ .f = 0.0 }, 0, 0);
	append(f);
	put(f, "/bool", KIND_BOOL, (struct value){ .b = false }, 0, 1);
	put(f, "/uint", KIND_UINT64, (struct value){ .u = UINT64_MAX }, 0, 1);
	put(f, "/int", KIND_INT64, (struct value){ .i = INT64_MAX }, 0, 1);
	put(f, "/float", KIND_FLOAT64, (struct value){ .f = -0.0 }, 0, 1);
	append(f);
	append(f);
	assert_string_equal(history(f, "/bool"), "2:falsei 1:false 0:true");
	assert_string_equal(history(f, "/uint"), "2:0i 0:18446744073709551615");
	assert_string_equal(
	    history(f, "/int"), "2:0i 1:9223372036854775807 0:-9223372036854775808");
	assert_string_equal(history(f, "/float"), "2:0i 1:-0 0:0");
}

static void
distributions_count_rollovers(void **state)
{
	struct fixture *f = *state;
	static const uint64_t some[3] = { 1, 2, 0 }, more[3] = { 1, 2, 3 };

	put_dist(f, "/d", some, 5, 0);
	append(f);
	put_dist(f, "/d", some, 6, 1); /* a newer generation, the same counts */
	append(f);
	assert_int_equal(f->stats.added, 0);
	put_dist(f, "/d", more, 7, 2);
	append(f);
	put_dist(f, "/d", more, 1, 3); /* started anew, though it looks the same */
	append(f);
	assert_int_equal(f->stats.added, 1);
	append(f);
	assert_string_equal(
	    history(f, "/d"), "4:nulli 3:60/6/2(1,2,3) 2:60/6/1(1,2,3) 0:30/3/1(1,2,0)");
}

static void
other_limits_are_another_series_and_a_rollover(void **state)
{
	struct fixture *f = *state;
	static const double limits[] = { 10, 20, 30 };
	static const uint64_t counts[3] = { 1, 2, 0 }, four[4] = { 1, 0, 0, 0 };
	static const struct dist dist = {
		.counts = four, .len = 4, .sum = 4, .count = 1, .generation = 9
	};
	const struct metric_desc desc = {
		.path = STR("/d"), .kind = KIND_DIST, .limits = limits, .limit_count = 3
	};

	put_dist(f, "/d", counts, 5, 0);
	append(f);
	put_desc(f, &desc, (struct value){ .dist = &dist }, 0, 1);
	append(f);
	assert_string_equal(history(f, "/d"), "1:nulli 0:30/3/1(1,2,0) 1:4/1/2(1,0,0,0)");
	put_dist(f, "/d", counts, 10, 2);
	append(f);
	assert_string_equal(
	    history(f, "/d"), "2:30/3/3(1,2,0) 1:nulli 0:30/3/1(1,2,0) 2:nulli 1:4/1/2(1,0,0,0)");
}

static void
times_at_the_end_of_the_scale_do_no_harm(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc desc = { .path = STR("/a"), .kind = KIND_BOOL };
	struct value value = { .b = true };
	struct err err;

	assert_int_equal(batch_add(&f->batch, &desc, &value, 0, INT64_MAX, &err), 0);
	append(f);
	append(f);
	assert_int_equal(f->stats.added, 1);
	assert_int_equal(batch_add(&f->batch, &desc, &value, 0, INT64_MAX, &err), 0);
	append(f);
	assert_int_equal(f->stats.stale, 1);
	assert_int_equal(batch_add(&f->batch, &desc, &value, 5, INT64_MIN + 1, &err), 0);
	append(f);
	assert_int_equal(store_deactivate(f->set, INT64_MAX), 0);
	assert_int_equal(series_set_active_count(f->set), 0);
}

static void
pages_hold_what_came_before(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;

	for (int64_t i = 0; i < 1000; i++) {
		put_i64(f, "/changing", i, 0, i);
		put_i64(f, "/constant", 1, 0, i);
		append(f);
	}
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.values, 1001);
	assert_true(stats.pages > 0 && stats.pages < 10);
	assert_int_equal(stats.pages_total - stats.pages_free, stats.pages);
	assert_string_equal(
	    range_text(f, "/changing", AT(500), AT(503)), "502:502 501:501 500:500");
	assert_string_equal(history(f, "/constant"), "0:1");
}

/* One poll with something of everything: known, changed, absent, new, all kinds of values. */
static void
put_all(struct fixture *f, int64_t round)
{
	static const uint64_t counts[2][3] = { { 1, 2, 3 }, { 4, 5, 6 } };
	static const char *const fresh[2][3] = { { "/x", "/xs", "/xd" }, { "/y", "/ys", "/yd" } };

	put_i64(f, "/known", 1, 0, round);
	put_i64(f, "/changed", round, 0, round);
	put_text(f, "/text", round == 0 ? "old" : "new", 0, round);
	put_dist(f, "/dist", counts[round], 1, round);
	put_i64(f, fresh[round][0], 1, round, round);
	put_text(f, fresh[round][1], "text", round, round);
	put_dist(f, fresh[round][2], counts[0], 1, round == 0 ? 0 : 1);
}

static void
append_is_whole_or_nothing_without_memory(void **state)
{
	struct err err;
	unsigned nth = 0;
	bool failed = true;

	(void)state;
	while (failed) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct store_stats before, after;
		struct cursor *cursor = cursor_new(f->store, "w", CURSOR_EVERY, &err);
		int rc;

		assert_non_null(cursor);
		put_all(f, 0);
		append(f);
		put_all(f, 1);
		batch_end(&f->batch, BASE_NS);
		store_get_stats(f->store, &before);
		fault_malloc(++nth);
		rc = store_append(f->set, &f->batch, &f->stats, &err);
		failed = fault_happened();
		fault_malloc(0);
		assert_true(rc == 0 || failed);
		store_get_stats(f->store, &after);
		if (rc != 0) {
			assert_int_equal(err.code, ERR_NOMEM);
			assert_int_equal(after.values, before.values);
			assert_int_equal(after.series, before.series);
			assert_int_equal(after.active_series, before.active_series);
			assert_string_equal(history(f, "/changed"), "0:0");
			assert_string_equal(history(f, "/y"), "");
			/* And then it works. */
			assert_int_equal(store_append(f->set, &f->batch, &f->stats, &err), 0);
		}
		/* 3 new, 3 changed, 3 absent */
		assert_int_equal(f->stats.added, 9);
		assert_string_equal(history(f, "/changed"), "1:1 0:0");
		assert_string_equal(history(f, "/text"), "1:'new' 0:'old'");
		assert_string_equal(history(f, "/dist"), "1:150/15/1(4,5,6) 0:60/6/1(1,2,3)");
		assert_string_equal(history(f, "/x"), "1:0i 0:1");
		assert_string_equal(history(f, "/y"), "1:1");
		assert_non_null(strstr(cursor_text(f, cursor, 10), "/ys=1:'text'"));
		cursor_free(cursor);
		fixture_free(f);
	}
	assert_true(nth > 20);
}

static void
deactivate_works_without_memory(void **state)
{
	struct fixture *f = *state;

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	fault_malloc(1);
	assert_int_equal(store_deactivate(f->set, AT(10)), 1);
	fault_malloc(0);
	/* Nothing was to be had: the series ended as if all of it were reclaimed. */
	assert_int_equal(series_set_active_count(f->set), 0);
	assert_string_equal(history(f, "/a"), "");
	put_i64(f, "/a", 2, 0, 20);
	append(f);
	assert_string_equal(history(f, "/a"), "20:2");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(first_values_start_series),
		TEST(only_changes_are_kept),
		TEST(latest_is_stamped_with_the_groups_last_time),
		TEST(a_group_that_does_not_advance_adds_only_new_series),
		TEST(absent_from_its_group_means_inactive_at_the_groups_time),
		TEST(absent_with_its_group_means_inactive_a_millisecond_later),
		TEST(an_empty_poll_makes_all_inactive),
		TEST(deactivate_marks_all_series_once),
		TEST(any_other_description_is_another_series),
		TEST(a_series_moves_to_a_renumbered_group),
		TEST(a_series_does_not_go_back_in_time_with_its_group),
		TEST(a_marker_is_later_than_the_last_value_of_a_moved_series),
		TEST(strings_and_lists_are_kept_whole),
		TEST(numbers_come_back_bit_for_bit),
		TEST(distributions_count_rollovers),
		TEST(other_limits_are_another_series_and_a_rollover),
		TEST(times_at_the_end_of_the_scale_do_no_harm),
		TEST(pages_hold_what_came_before),
		cmocka_unit_test(append_is_whole_or_nothing_without_memory),
		TEST(deactivate_works_without_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
