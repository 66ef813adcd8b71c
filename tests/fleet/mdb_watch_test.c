#include "fleet/mdb_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "temp_dir.h"

/* Longer than a change takes to settle, shorter than between two looks. */
#define SETTLED_NS (100 * NS_PER_MS)
#define LOOKED_NS  (4 * NS_PER_S)

struct fixture {
	struct temp_dir dir;
	struct loop *loop;
	struct mdb_watch *watch;
	int64_t mono_ns, real_ns;
	unsigned changes;
};

static void
on_changed(void *ctx)
{
	((struct fixture *)ctx)->changes++;
}

/* Lets the time pass, in two steps, as the first turn may only find out that something is due. */
static void
pass(struct fixture *f, int64_t ns)
{
	loop_turn(f->loop, 0);
	f->mono_ns += ns;
	f->real_ns += ns;
	loop_set_clock(f->loop, f->mono_ns, f->real_ns);
	loop_turn(f->loop, 0);
}

/* As many calls as there were since the last time. */
static unsigned
calls_after(struct fixture *f, int64_t ns)
{
	f->changes = 0;
	pass(f, ns);
	return f->changes;
}

static void
watch_path(struct fixture *f, const char *path)
{
	struct err err;

	f->watch = mdb_watch_new(f->loop, path, on_changed, f, &err);
	if (f->watch == NULL)
		fail_msg("%s", err.text);
}

static void
begin(struct fixture *f)
{
	struct err err;

	*f = (struct fixture){ .mono_ns = 1000 * NS_PER_S, .real_ns = clock_real_ns() };
	temp_dir_init(&f->dir);
	f->loop = loop_new(&err);
	assert_non_null(f->loop);
	loop_set_clock(f->loop, f->mono_ns, f->real_ns);
}

static void
end(struct fixture *f)
{
	int fds = fault_open_fds();

	mdb_watch_free(f->watch);
	assert_int_equal(fault_open_fds(), fds - 1); /* inotify's */
	loop_free(f->loop);
	temp_dir_fini(&f->dir);
}

static void
quiet_files_cause_no_calls(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	temp_write(&f.dir, "mdb", "[]");
	watch_path(&f, temp_path(&f.dir, "mdb"));
	assert_int_equal(calls_after(&f, SETTLED_NS), 0);
	assert_int_equal(calls_after(&f, LOOKED_NS), 0);
	temp_write(&f.dir, "another", "[]");
	assert_int_equal(calls_after(&f, LOOKED_NS), 0);
	assert_int_equal(calls_after(&f, LOOKED_NS), 0);
	end(&f);
}

static void
each_way_of_writing_is_noticed_once(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	temp_write(&f.dir, "mdb", "[]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	temp_write(&f.dir, "mdb", "[ ]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	temp_replace(&f.dir, "mdb", "[]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	remove(temp_path(&f.dir, "mdb"));
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	assert_int_equal(calls_after(&f, LOOKED_NS), 0);
	end(&f);
}

static void
a_swapped_symbolic_link_is_noticed(void **state)
{
	struct fixture f;
	char link[128];

	(void)state;
	begin(&f);
	temp_write(&f.dir, "one", "[1]");
	temp_write(&f.dir, "two", "[22]");
	snprintf(link, sizeof(link), "%s", temp_path(&f.dir, "link~"));
	assert_int_equal(symlink("one", temp_path(&f.dir, "mdb")), 0);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	assert_int_equal(symlink("two", link), 0);
	assert_int_equal(rename(link, temp_path(&f.dir, "mdb")), 0);
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	/* What it leads to is only looked at now and then. */
	temp_write(&f.dir, "two", "[333]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 0);
	pass(&f, LOOKED_NS);
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	end(&f);
}

static void
a_directory_made_later_is_found(void **state)
{
	struct fixture f;
	char path[140];

	(void)state;
	begin(&f);
	snprintf(path, sizeof(path), "%s/mdb", temp_path(&f.dir, "later"));
	watch_path(&f, path);
	assert_int_equal(mkdir(temp_path(&f.dir, "later"), 0700), 0);
	temp_write(&f.dir, "later/mdb", "[]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 0);
	pass(&f, LOOKED_NS);
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	/* From now on at once. */
	temp_write(&f.dir, "later/mdb", "[ ]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	assert_int_equal(remove(path), 0);
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	end(&f);
}

static void
a_directory_that_is_replaced_is_found_again(void **state)
{
	struct fixture f;
	char path[140], away[128];

	(void)state;
	begin(&f);
	assert_int_equal(mkdir(temp_path(&f.dir, "d"), 0700), 0);
	temp_write(&f.dir, "d/mdb", "[]");
	snprintf(path, sizeof(path), "%s/mdb", temp_path(&f.dir, "d"));
	watch_path(&f, path);
	snprintf(away, sizeof(away), "%s", temp_path(&f.dir, "away"));
	assert_int_equal(rename(temp_path(&f.dir, "d"), away), 0);
	assert_int_equal(mkdir(temp_path(&f.dir, "d"), 0700), 0);
	temp_write(&f.dir, "d/mdb", "[ ]");
	pass(&f, LOOKED_NS);
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	temp_write(&f.dir, "away/mdb", "[  ]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 0);
	temp_write(&f.dir, "d/mdb", "[  ]");
	assert_int_equal(calls_after(&f, SETTLED_NS), 1);
	remove(temp_path(&f.dir, "away/mdb"));
	remove(temp_path(&f.dir, "d/mdb"));
	end(&f);
}

static void
a_busy_writer_can_not_put_the_call_off(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	f.changes = 0;
	for (int i = 0; i < 100; i++) {
		temp_write(&f.dir, "mdb", "[]");
		pass(&f, 10 * NS_PER_MS);
	}
	assert_in_range(f.changes, 10, 20);
	end(&f);
}

static void
another_call_comes_when_asked_for(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	mdb_watch_again(f.watch, NS_PER_S);
	assert_int_equal(calls_after(&f, NS_PER_S - 1), 0);
	assert_int_equal(calls_after(&f, 1), 1);
	/* The sooner of two. */
	mdb_watch_again(f.watch, NS_PER_S);
	mdb_watch_again(f.watch, NS_PER_MS);
	mdb_watch_again(f.watch, NS_PER_S);
	assert_int_equal(calls_after(&f, NS_PER_MS), 1);
	assert_int_equal(calls_after(&f, NS_PER_S), 0);
	end(&f);
}

static void
a_file_is_fresh_for_a_second(void **state)
{
	struct fixture f;
	struct stat st;
	int64_t written_ns;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	assert_false(mdb_watch_is_fresh(f.watch)); /* there is none */
	temp_write(&f.dir, "mdb", "[");
	pass(&f, SETTLED_NS);
	assert_int_equal(stat(temp_path(&f.dir, "mdb"), &st), 0);
	written_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
	loop_set_clock(f.loop, f.mono_ns, written_ns + NS_PER_S - 1);
	assert_true(mdb_watch_is_fresh(f.watch));
	loop_set_clock(f.loop, f.mono_ns, written_ns + NS_PER_S);
	assert_false(mdb_watch_is_fresh(f.watch));
	/* By a clock far ahead of ours. */
	loop_set_clock(f.loop, f.mono_ns, written_ns - 3600 * NS_PER_S);
	assert_false(mdb_watch_is_fresh(f.watch));
	end(&f);
}

static void
a_watch_without_memory_fails_cleanly(void **state)
{
	struct fixture f;
	struct err err;

	(void)state;
	begin(&f);
	for (unsigned nth = 1; f.watch == NULL; nth++) {
		fault_malloc(nth);
		f.watch = mdb_watch_new(f.loop, "/tmp/scotty-none", on_changed, &f, &err);
		if (f.watch == NULL)
			assert_int_equal(err.code, ERR_NOMEM);
	}
	assert_false(fault_happened());
	fault_malloc(0);
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quiet_files_cause_no_calls),
		cmocka_unit_test(each_way_of_writing_is_noticed_once),
		cmocka_unit_test(a_swapped_symbolic_link_is_noticed),
		cmocka_unit_test(a_directory_made_later_is_found),
		cmocka_unit_test(a_directory_that_is_replaced_is_found_again),
		cmocka_unit_test(a_busy_writer_can_not_put_the_call_off),
		cmocka_unit_test(another_call_comes_when_asked_for),
		cmocka_unit_test(a_file_is_fresh_for_a_second),
		cmocka_unit_test(a_watch_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
