/*
 * Positions of writers go to the database and back. What they mean is cursor_restore_test's
 * subject.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "state/state.h"
#include "store_fixture.h"
#include "temp_dir.h"

#define DAY_NS   (INT64_C(86400) * NS_PER_S)
#define HOUR_NS  (INT64_C(3600) * NS_PER_S)
#define GRACE_NS (24 * HOUR_NS)

struct fix {
	struct fixture *store;
	struct temp_dir dir;
	struct state *state;
	struct cursor *cursor;
	int64_t ms;
};

static void
open_state(struct fix *f)
{
	struct err err;

	f->state = state_open(f->dir.path, &err);
	if (f->state == NULL)
		fail_msg("%s", err.text);
}

static int
setup(void **state)
{
	struct fix *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->store = fixture_new(BIG_BYTES);
	temp_dir_init(&f->dir);
	open_state(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fix *f = *state;

	cursor_free(f->cursor);
	state_close(f->state);
	fixture_free(f->store);
	temp_dir_fini(&f->dir);
	free(f);
	return 0;
}

/* As after a restart; the store stays, as if it had been brought back. */
static void
restart(struct fix *f, const char *writer)
{
	struct err err;

	cursor_free(f->cursor);
	state_close(f->state);
	open_state(f);
	f->cursor = cursor_new(f->store->store, writer, CURSOR_EVERY, &err);
	assert_non_null(f->cursor);
	if (state_positions_load(f->state, writer, f->cursor, &err) != 0)
		fail_msg("%s", err.text);
}

static void
poll(struct fix *f)
{
	put_i64(f->store, "/a", f->ms, 0, f->ms);
	put_i64(f->store, "/b", f->ms, 1, f->ms);
	append(f->store);
	f->ms++;
}

static void
save(struct fix *f, const char *writer, int64_t now_ns)
{
	struct err err;

	cursor_commit(f->cursor);
	if (state_positions_save(f->state, writer, f->cursor, now_ns, &err) != 0)
		fail_msg("%s", err.text);
}

static void
set_writers(struct fix *f, int64_t now_ns, const char *name)
{
	struct err err;

	if (state_writers_set(f->state, &name, name != NULL, now_ns, GRACE_NS, &err) != 0)
		fail_msg("%s", err.text);
}

static void
a_writer_goes_on_where_it_was(void **state)
{
	struct fix *f = *state;
	struct cursor_record records[1];

	restart(f, "w");
	poll(f);
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
	save(f, "w", 0);
	poll(f);
	assert_int_equal(cursor_read(f->cursor, records, 1), 1);
	save(f, "w", 0);
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/b=1:1");
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/b=1:1");
	save(f, "w", 0);
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "");
	restart(f, "another");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /a=1:1 /b=0:0 /b=1:1");
}

static void
what_could_not_be_saved_is_saved_the_next_time(void **state)
{
	struct fix *f = *state;
	struct rlimit limit, none = { 0, RLIM_INFINITY };
	struct err err;

	restart(f, "w");
	poll(f);
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
	cursor_commit(f->cursor);
	/* As good as a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none.rlim_max = limit.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_int_equal(state_positions_save(f->state, "w", f->cursor, 0, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(state_positions_save(f->state, "w", f->cursor, 0, &err), -1);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	save(f, "w", 0);
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "");
}

static void
a_removed_writer_keeps_its_place_for_the_grace_time(void **state)
{
	struct fix *f = *state;

	restart(f, "w");
	poll(f);
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
	save(f, "w", 0);
	set_writers(f, 0, "other");
	set_writers(f, 23 * HOUR_NS, "other");
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "");
	/* There again, so the time begins anew. */
	set_writers(f, 23 * HOUR_NS, "w");
	set_writers(f, 24 * HOUR_NS, "other");
	set_writers(f, 47 * HOUR_NS, "other");
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "");
	set_writers(f, 48 * HOUR_NS, NULL);
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
	set_writers(f, 49 * HOUR_NS, NULL); /* and nothing more */
}

static void
what_was_not_saved_for_long_is_dropped(void **state)
{
	struct fix *f = *state;

	restart(f, "w");
	poll(f);
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
	save(f, "w", 0);
	set_writers(f, 29 * DAY_NS, "w");
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "");
	set_writers(f, 31 * DAY_NS, "w");
	restart(f, "w");
	assert_string_equal(cursor_text(f->store, f->cursor, 8), "/a=0:0 /b=0:0");
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_writer_goes_on_where_it_was),
		TEST(what_could_not_be_saved_is_saved_the_next_time),
		TEST(a_removed_writer_keeps_its_place_for_the_grace_time),
		TEST(what_was_not_saved_for_long_is_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
