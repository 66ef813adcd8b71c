#include <stdio.h>

#include "fault.h"
#include "store_fixture.h"

static struct cursor *
open_cursor(struct fixture *f, const char *name, enum cursor_mode mode)
{
	struct err err;
	struct cursor *cursor = cursor_new(f->store, name, mode, &err);

	if (cursor == NULL)
		fail_msg("%s", err.text);
	return cursor;
}

static void
every_gives_a_record_per_time_of_the_group(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	put_i64(f, "/a", 1, 0, 1000);
	append(f);
	put_i64(f, "/a", 2, 0, 2000);
	append(f);
	assert_string_equal(cursor_text(f, cursor, 10), "/a=0:1 /a=1000:1 /a=2000:2");
	assert_string_equal(cursor_text(f, cursor, 10), "");
	put_i64(f, "/a", 2, 0, 3000);
	append(f);
	assert_string_equal(cursor_text(f, cursor, 10), "/a=3000:2");
	cursor_free(cursor);
}

static void
a_cursor_finds_room_in_a_full_store(void **state)
{
	struct fixture *f = fixture_new(64 << 10);
	struct err err = { .code = ERR_NONE };
	struct cursor *cursor;
	char host[16];

	(void)state;
	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 1, 0);
	append(f);
	for (unsigned n = 0; err.code != ERR_LIMIT; n++) {
		snprintf(host, sizeof(host), "h%u", n);
		err.code = ERR_NONE;
		series_set_unref(store_set(f->store, str_of(host), STR("a"), &err));
	}
	cursor = open_cursor(f, "w", CURSOR_EVERY);
	assert_string_equal(cursor_text(f, cursor, 1), "/a=0:1 /b=0:2");
	cursor_free(cursor);
	fixture_free(f);
}

static void
changes_gives_a_record_per_stored_value(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor;

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	put_i64(f, "/a", 1, 0, 1000);
	append(f);
	put_i64(f, "/a", 2, 0, 2000);
	append(f);
	cursor = open_cursor(f, "w", CURSOR_CHANGES);
	assert_string_equal(cursor_text(f, cursor, 1), "/a=0:1 /a=2000:2");
	put_i64(f, "/a", 2, 0, 3000);
	append(f);
	assert_string_equal(cursor_text(f, cursor, 1), "");
	cursor_free(cursor);
}

static void
inactive_markers_come_once(void **state)
{
	struct fixture *f = *state;
	struct cursor *every = open_cursor(f, "every", CURSOR_EVERY);
	struct cursor *changes = open_cursor(f, "changes", CURSOR_CHANGES);

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 0, 0);
	append(f);
	for (int64_t ms = 1000; ms < 4000; ms += 1000) {
		put_i64(f, "/a", 1, 0, ms);
		append(f);
	}
	put_i64(f, "/a", 1, 0, 4000);
	put_i64(f, "/b", 2, 0, 4000);
	append(f);
	assert_string_equal(cursor_text(f, every, 4),
	    "/a=0:1 /a=1000:1 /a=2000:1 /a=3000:1 /a=4000:1 /b=0:2 /b=1000:0i /b=4000:2");
	assert_string_equal(cursor_text(f, changes, 4), "/a=0:1 /b=0:2 /b=1000:0i /b=4000:2");
	cursor_free(every);
	cursor_free(changes);
}

static void
what_was_not_committed_is_read_again(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);
	struct cursor_record records[3];

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 1, 0, 0);
	append(f);
	put_i64(f, "/a", 1, 0, 1);
	put_i64(f, "/b", 1, 0, 1);
	append(f);
	assert_int_equal(cursor_read(cursor, records, 3), 3);
	cursor_rewind(cursor);
	assert_string_equal(cursor_text(f, cursor, 3), "/a=0:1 /a=1:1 /b=0:1 /b=1:1");
	cursor_rewind(cursor);
	assert_int_equal(cursor_read(cursor, records, 3), 3);
	cursor_commit(cursor);
	cursor_rewind(cursor);
	assert_string_equal(cursor_text(f, cursor, 3), "/b=1:1");
	cursor_commit(cursor);
	cursor_rewind(cursor);
	assert_string_equal(cursor_text(f, cursor, 3), "");
	assert_int_equal(cursor_missed_count(cursor), 0);
	cursor_free(cursor);
}

static void
cursors_do_not_disturb_each_other(void **state)
{
	struct fixture *f = *state;
	struct cursor *a = open_cursor(f, "a", CURSOR_EVERY);
	struct cursor *b;
	struct err err;

	assert_null(cursor_new(f->store, "a", CURSOR_EVERY, &err));
	assert_int_equal(err.code, ERR_EXISTS);
	put_i64(f, "/a", 1, 0, 0);
	append(f);
	assert_string_equal(cursor_text(f, a, 3), "/a=0:1");
	cursor_commit(a);
	b = open_cursor(f, "b", CURSOR_EVERY);
	assert_string_equal(cursor_text(f, b, 3), "/a=0:1");
	cursor_free(a);
	a = open_cursor(f, "a", CURSOR_EVERY);
	assert_string_equal(cursor_text(f, a, 3), "/a=0:1");
	cursor_free(a);
	cursor_free(b);
}

static void
all_sets_are_read_old_and_new(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);
	struct cursor_record records[8];
	struct series_set *other;
	struct err err;

	other = store_set(f->store, STR("web2"), STR("db"), &err);
	assert_non_null(other);
	put_i64(f, "/a", 1, 0, 0);
	append(f);
	put_i64(f, "/a", 2, 0, 0);
	assert_int_equal(append_to(f, other, &err), 0);
	assert_int_equal(cursor_read(cursor, records, 8), 2);
	for (size_t i = 0; i < 2; i++) {
		bool first = str_eq(records[i].host, STR("web1"));

		assert_true(first || str_eq(records[i].host, STR("web2")));
		assert_true(str_eq(records[i].app, first ? STR("app") : STR("db")));
		assert_int_equal(records[i].record.value.i, first ? 1 : 2);
	}
	cursor_free(cursor);
	series_set_unref(other);
}

static void
records_follow_a_series_to_its_new_group(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);

	put_i64(f, "/a", 1, 1, 0);
	put_i64(f, "/b", 1, 2, 0);
	append(f);
	put_i64(f, "/a", 1, 1, 1000);
	put_i64(f, "/b", 1, 2, 1000);
	append(f);
	put_i64(f, "/a", 1, 2, 2000);
	put_i64(f, "/b", 1, 2, 2000);
	append(f);
	put_i64(f, "/a", 1, 2, 3000);
	put_i64(f, "/b", 1, 2, 3000);
	append(f);
	assert_string_equal(cursor_text(f, cursor, 2),
	    "/a=0:1 /a=1000:1 /b=0:1 /b=1000:1 /b=2000:1 /b=3000:1 /a=2000:1 /a=3000:1");
	cursor_free(cursor);
}

static void
a_late_first_value_is_not_left_out(void **state)
{
	struct fixture *f = *state;
	struct cursor *changes = open_cursor(f, "w", CURSOR_CHANGES);
	struct cursor *every = open_cursor(f, "e", CURSOR_EVERY);

	put_i64(f, "/a", 1, 0, 1000);
	append(f);
	assert_string_equal(cursor_text(f, changes, 2), "/a=1000:1");
	assert_string_equal(cursor_text(f, every, 2), "/a=1000:1");
	put_i64(f, "/a", 1, 0, 500);
	put_i64(f, "/b", 1, 0, 500);
	append(f);
	assert_string_equal(cursor_text(f, changes, 2), "/b=1000:1");
	assert_string_equal(cursor_text(f, every, 2), "/b=1000:1");
	cursor_free(changes);
	cursor_free(every);
}

static void
more_strings_than_can_be_held_take_more_calls(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);
	struct cursor_record records[500];
	static char texts[200][8];
	size_t n, sum = 0;

	for (size_t i = 0; i < 200; i++) {
		snprintf(texts[i], sizeof(texts[i]), "/%03zu", i);
		put_text(f, texts[i], texts[i], 0, 0);
	}
	append(f);
	while ((n = cursor_read(cursor, records, ARRAY_LEN(records))) > 0) {
		for (size_t i = 0; i < n; i++)
			assert_true(
			    str_eq(records[i].record.value.s, records[i].record.desc->path));
		sum += n;
	}
	assert_int_equal(sum, 200);
	cursor_free(cursor);
}

static void
a_slow_cursor_counts_what_it_missed(void **state)
{
	struct fixture *f = fixture_new(64 * 1024);
	struct cursor *every = open_cursor(f, "every", CURSOR_EVERY);
	struct cursor *changes = open_cursor(f, "changes", CURSOR_CHANGES);
	struct cursor_record records[64];
	uint64_t got[2] = { 0, 0 };
	size_t n, bases = 0;

	(void)state;
	for (int64_t i = 0; i < 10000; i++) {
		put_i64(f, "/a", noise(i), 0, i);
		put_i64(f, "/b", 0, 0, i);
		append(f);
	}
	assert_true(cursor_missed_count(every) > 0);
	assert_true(cursor_missed_count(changes) > 0);
	while ((n = cursor_read(every, records, ARRAY_LEN(records))) > 0)
		got[0] += n;
	while ((n = cursor_read(changes, records, ARRAY_LEN(records))) > 0) {
		for (size_t i = 0; i < n; i++) {
			got[1] += !records[i].is_base;
			bases += records[i].is_base;
		}
	}
	assert_int_equal(got[0] + cursor_missed_count(every), 20000);
	assert_int_equal(got[1] + cursor_missed_count(changes), 10001);
	assert_int_equal(bases, 2); /* so that what did not change since is known */
	cursor_free(every);
	cursor_free(changes);
	fixture_free(f);
}

static void
what_is_lost_between_read_and_rewind_is_missed(void **state)
{
	struct fixture *f = fixture_new(64 * 1024);
	struct cursor *cursor = open_cursor(f, "w", CURSOR_CHANGES);
	struct cursor_record records[2];
	size_t n, got = 0;

	(void)state;
	for (int64_t i = 0; i < 10000; i++) {
		put_i64(f, "/a", noise(i), 0, i);
		append(f);
		if (i == 1)
			assert_int_equal(cursor_read(cursor, records, 2), 2);
	}
	n = cursor_missed_count(cursor);
	cursor_rewind(cursor);
	assert_int_equal(cursor_missed_count(cursor), n + 2);
	while ((n = cursor_read(cursor, records, 2)) > 0) {
		for (size_t i = 0; i < n; i++)
			got += !records[i].is_base;
	}
	assert_int_equal(got + cursor_missed_count(cursor), 10000);
	cursor_free(cursor);
	fixture_free(f);
}

static void
what_a_forgotten_set_had_is_missed(void **state)
{
	struct fixture *f = *state;
	struct cursor *every = open_cursor(f, "every", CURSOR_EVERY);
	struct cursor *changes = open_cursor(f, "changes", CURSOR_CHANGES);
	struct cursor_record records[3];

	for (int64_t i = 0; i < 10; i++) {
		put_text(f, "/a", i < 5 ? "some" : "more", 0, i);
		append(f);
	}
	assert_int_equal(cursor_read(every, records, 3), 3);
	store_forget(f->store, f->set);
	assert_int_equal(cursor_missed_count(every), 7);
	assert_int_equal(cursor_missed_count(changes), 2);
	assert_true(str_eq(records[2].record.value.s, STR("some")));
	assert_true(str_eq(records[2].host, STR("web1")));
	cursor_rewind(every);
	assert_int_equal(cursor_missed_count(every), 10);
	assert_int_equal(cursor_read(every, records, 3), 0);
	assert_int_equal(cursor_read(changes, records, 3), 0);
	cursor_free(every);
	cursor_free(changes);
}

static void
lag_is_the_age_of_what_is_not_committed(void **state)
{
	struct fixture *f = *state;
	struct cursor *cursor = open_cursor(f, "w", CURSOR_EVERY);
	struct cursor_record records[8];

	assert_true(cursor_lag_ns(cursor, AT(50), NULL) == 0);
	put_i64(f, "/a", 1, 0, 100);
	append(f);
	put_i64(f, "/a", 1, 0, 200);
	append(f);
	assert_true(cursor_lag_ns(cursor, AT(250), NULL) == 150 * NS_PER_MS);
	assert_int_equal(cursor_read(cursor, records, 8), 2);
	assert_true(cursor_lag_ns(cursor, AT(250), NULL) == 150 * NS_PER_MS);
	put_i64(f, "/a", 1, 0, 300);
	append(f);
	cursor_commit(cursor);
	assert_true(cursor_lag_ns(cursor, AT(350), NULL) == 50 * NS_PER_MS);
	assert_int_equal(cursor_read(cursor, records, 8), 1);
	cursor_rewind(cursor);
	assert_true(cursor_lag_ns(cursor, AT(350), NULL) == 50 * NS_PER_MS);
	assert_int_equal(cursor_read(cursor, records, 8), 1);
	cursor_commit(cursor);
	assert_true(cursor_lag_ns(cursor, AT(350), NULL) == 0);
	cursor_free(cursor);
}

static void
reading_without_memory_loses_nothing(void **state)
{
	struct fixture *f = *state;
	struct cursor_record records[3];
	struct cursor *cursor = NULL;
	struct err err;
	unsigned nth = 0;

	put_text(f, "/a", "some", 0, 0);
	append(f);
	while (cursor == NULL) {
		fault_malloc(++nth);
		cursor = cursor_new(f->store, "w", CURSOR_EVERY, &err);
		fault_malloc(0);
		assert_true(cursor != NULL || err.code == ERR_NOMEM);
	}
	assert_int_equal(nth, 5); /* the cursor, its name, a place, marks */
	for (size_t n = 0; n == 0; nth++) {
		fault_malloc(nth - 4);
		n = cursor_read(cursor, records, 3);
		assert_true(n == 1 || fault_happened());
		fault_malloc(0);
		cursor_commit(cursor);
	}
	assert_true(nth > 8);
	assert_true(str_eq(records[0].record.value.s, STR("some")));
	assert_int_equal(cursor_read(cursor, records, 3), 0);
	assert_int_equal(cursor_missed_count(cursor), 0);
	cursor_free(cursor);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(every_gives_a_record_per_time_of_the_group),
		TEST(changes_gives_a_record_per_stored_value),
		TEST(inactive_markers_come_once),
		TEST(what_was_not_committed_is_read_again),
		TEST(cursors_do_not_disturb_each_other),
		TEST(all_sets_are_read_old_and_new),
		TEST(records_follow_a_series_to_its_new_group),
		TEST(a_late_first_value_is_not_left_out),
		TEST(more_strings_than_can_be_held_take_more_calls),
		cmocka_unit_test(a_slow_cursor_counts_what_it_missed),
		cmocka_unit_test(what_is_lost_between_read_and_rewind_is_missed),
		TEST(what_a_forgotten_set_had_is_missed),
		cmocka_unit_test(a_cursor_finds_room_in_a_full_store),
		TEST(lag_is_the_age_of_what_is_not_committed),
		TEST(reading_without_memory_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
