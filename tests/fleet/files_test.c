#include "fleet/files_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "temp_dir.h"

/* Longer than a change takes to settle, shorter than between two looks. */
#define SETTLED_NS (100 * NS_PER_MS)
#define LOOKED_NS  (4 * NS_PER_S)

struct fixture {
	struct temp_dir dir;
	struct loop *loop;
	struct lock lock;
	struct files *files;
	int64_t mono_ns, real_ns;
	unsigned told, confirmed, failed, dropped;
	char text[64]; /* told last */
};

/* A text that begins with '!' is no good. */
static int
take(void *ctx, const char *path, struct str text, struct err *err)
{
	struct fixture *f = ctx;

	(void)path;
	if (text.len > 0 && text.p[0] == '!') {
		err_set(err, ERR_PROTO, "begins with !");
		return -1;
	}
	f->told++;
	snprintf(f->text, sizeof(f->text), "%.*s", STR_ARG(text));
	return 0;
}

static void
confirm(void *ctx)
{
	((struct fixture *)ctx)->confirmed++;
}

static void
failed(void *ctx)
{
	((struct fixture *)ctx)->failed++;
}

static void
dropped(void *ctx, const char *path)
{
	(void)path;
	((struct fixture *)ctx)->dropped++;
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

/* As many files as were told since the last time. */
static unsigned
told_after(struct fixture *f, int64_t ns)
{
	f->told = 0;
	pass(f, ns);
	return f->told;
}

static struct files *
open_files(struct fixture *f, const char *pattern, bool literal, struct err *err)
{
	struct str patterns = str_of(pattern);
	struct files_user user = { take, confirm, failed, dropped, f, "test file", 1 << 20 };

	return files_new(f->loop, &f->lock, &patterns, 1, literal, &user, err);
}

static void
scan(struct fixture *f, bool anew)
{
	lock_take(&f->lock);
	files_scan(f->files, anew);
	lock_drop(&f->lock);
}

static void
watch_path(struct fixture *f, const char *path)
{
	struct err err;

	f->files = open_files(f, path, false, &err);
	if (f->files == NULL)
		fail_msg("%s", err.text);
	scan(f, true);
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
	lock_init(&f->lock, LOCK_registry);
	log_set_level(LOG_ERROR + 1);
}

static void
end(struct fixture *f)
{
	int fds = fault_open_fds();

	files_free(f->files);
	assert_int_equal(fault_open_fds(), fds - 1); /* inotify's */
	loop_free(f->loop);
	lock_fini(&f->lock);
	temp_dir_fini(&f->dir);
}

static void
quiet_files_are_not_told(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	temp_write(&f.dir, "a.x", "1");
	watch_path(&f, temp_path(&f.dir, "*.x"));
	assert_int_equal(f.told, 1);
	assert_int_equal(told_after(&f, SETTLED_NS), 0);
	assert_int_equal(told_after(&f, LOOKED_NS), 0);
	temp_write(&f.dir, "another", "1");
	assert_int_equal(told_after(&f, LOOKED_NS), 0);
	temp_write(&f.dir, "a.x", "1"); /* the same once more */
	f.confirmed = 0;
	assert_int_equal(told_after(&f, LOOKED_NS), 0);
	assert_true(f.confirmed > 0);
	end(&f);
}

static void
each_way_of_writing_is_noticed_once(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "*.x"));
	temp_write(&f.dir, "a.x", "1");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	temp_write(&f.dir, "a.x", "2");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	temp_replace(&f.dir, "a.x", "3");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	assert_string_equal(f.text, "3");
	temp_write(&f.dir, "b.x", "1");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	assert_int_equal(f.failed, 0);
	remove(temp_path(&f.dir, "a.x"));
	assert_int_equal(told_after(&f, SETTLED_NS), 0);
	assert_int_equal(f.failed, 1);
	assert_int_equal(told_after(&f, LOOKED_NS), 0);
	assert_int_equal(f.failed, 1);
	end(&f);
}

static void
what_is_gone_is_forgotten_on_demand(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	temp_write(&f.dir, "a.x", "1");
	temp_write(&f.dir, "b.x", "1");
	watch_path(&f, temp_path(&f.dir, "*.x"));
	remove(temp_path(&f.dir, "a.x"));
	pass(&f, SETTLED_NS);
	assert_int_equal(f.dropped, 0);
	files_forget_gone(f.files);
	assert_int_equal(f.dropped, 1);
	temp_write(&f.dir, "a.x", "1");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	end(&f);
}

static void
a_text_that_is_no_good_is_tried_again_while_it_is_young(void **state)
{
	struct fixture f;
	struct stat st;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "a.x"));
	temp_write(&f.dir, "a.x", "!");
	assert_int_equal(stat(temp_path(&f.dir, "a.x"), &st), 0);
	f.real_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec;
	pass(&f, SETTLED_NS);
	assert_int_equal(f.failed, 0);
	pass(&f, 400 * NS_PER_MS);
	assert_int_equal(f.failed, 0);
	pass(&f, NS_PER_S);
	assert_int_equal(f.failed, 1);
	pass(&f, LOOKED_NS);
	assert_int_equal(f.failed, 1);
	temp_write(&f.dir, "a.x", "good");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	end(&f);
}

static void
a_literal_path_is_no_pattern(void **state)
{
	struct fixture f;
	struct err err;

	(void)state;
	begin(&f);
	temp_write(&f.dir, "a.x", "1");
	f.files = open_files(&f, temp_path(&f.dir, "[a].x"), true, &err);
	assert_non_null(f.files);
	scan(&f, true);
	assert_int_equal(f.told, 0);
	assert_int_equal(f.failed, 1); /* it is not there */
	temp_write(&f.dir, "[a].x", "2");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	end(&f);
}

static void
directories_and_pipes_are_no_files(void **state)
{
	struct buf text;
	struct fixture f;
	struct err err;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "*"));
	assert_int_equal(mkdir(temp_path(&f.dir, "d"), 0700), 0);
	assert_int_equal(mkfifo(temp_path(&f.dir, "p"), 0600), 0);
	assert_int_equal(told_after(&f, LOOKED_NS), 0);
	buf_init(&text, 0);
	assert_int_equal(file_read("/nonexistent/x", 1, &text, &err), -1);
	assert_int_equal(err.code, ERR_NOTFOUND);
	assert_int_equal(file_read(temp_path(&f.dir, "p"), 1, &text, &err), -1);
	assert_string_equal(err.text, "not a file");
	temp_write(&f.dir, "large", "123");
	assert_int_equal(file_read(temp_path(&f.dir, "large"), 2, &text, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	buf_fini(&text);
	assert_int_equal(rmdir(temp_path(&f.dir, "d")), 0);
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
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	/* What it leads to counts. */
	temp_write(&f.dir, "two", "[333]");
	assert_int_equal(told_after(&f, LOOKED_NS), 1);
	assert_string_equal(f.text, "[333]");
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
	assert_int_equal(told_after(&f, SETTLED_NS), 0);
	assert_int_equal(told_after(&f, LOOKED_NS), 1);
	/* From now on at once. */
	temp_write(&f.dir, "later/mdb", "[ ]");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	assert_int_equal(remove(path), 0);
	assert_int_equal(rmdir(temp_path(&f.dir, "later")), 0);
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
	assert_int_equal(told_after(&f, LOOKED_NS), 1);
	temp_write(&f.dir, "away/mdb", "[  ]");
	assert_int_equal(told_after(&f, SETTLED_NS), 0);
	temp_write(&f.dir, "d/mdb", "[  ]");
	assert_int_equal(told_after(&f, SETTLED_NS), 1);
	remove(temp_path(&f.dir, "away/mdb"));
	remove(temp_path(&f.dir, "d/mdb"));
	end(&f);
}

static void
a_busy_writer_can_not_put_reading_off(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "mdb"));
	f.told = 0;
	for (int i = 0; i < 100; i++) {
		char text[16];

		snprintf(text, sizeof(text), "%d", i);
		temp_write(&f.dir, "mdb", text);
		pass(&f, 10 * NS_PER_MS);
	}
	assert_in_range(f.told, 10, 20);
	end(&f);
}

static void
watching_without_memory_fails_cleanly(void **state)
{
	struct fixture f;
	struct err err;

	(void)state;
	begin(&f);
	for (unsigned nth = 1; f.files == NULL; nth++) {
		fault_malloc(nth);
		f.files = open_files(&f, "/tmp/scotty-none", false, &err);
		if (f.files == NULL)
			assert_int_equal(err.code, ERR_NOMEM);
	}
	assert_false(fault_happened());
	fault_malloc(0);
	end(&f);
}

static void
what_was_not_read_for_want_of_memory_is_read_later(void **state)
{
	struct fixture f;
	bool lacked = true;

	(void)state;
	begin(&f);
	watch_path(&f, temp_path(&f.dir, "*.x"));
	for (unsigned nth = 1; lacked; nth++) {
		char name[16], text[16];

		snprintf(name, sizeof(name), "%u.x", nth);
		snprintf(text, sizeof(text), "%u", nth);
		temp_write(&f.dir, name, text);
		fault_malloc(nth);
		scan(&f, false);
		lacked = fault_happened();
		fault_malloc(0);
		f.real_ns = clock_real_ns();
		pass(&f, 11 * NS_PER_S);
		pass(&f, SETTLED_NS);
		assert_string_equal(f.text, text);
	}
	end(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quiet_files_are_not_told),
		cmocka_unit_test(each_way_of_writing_is_noticed_once),
		cmocka_unit_test(what_is_gone_is_forgotten_on_demand),
		cmocka_unit_test(a_text_that_is_no_good_is_tried_again_while_it_is_young),
		cmocka_unit_test(a_literal_path_is_no_pattern),
		cmocka_unit_test(directories_and_pipes_are_no_files),
		cmocka_unit_test(a_swapped_symbolic_link_is_noticed),
		cmocka_unit_test(a_directory_made_later_is_found),
		cmocka_unit_test(a_directory_that_is_replaced_is_found_again),
		cmocka_unit_test(a_busy_writer_can_not_put_reading_off),
		cmocka_unit_test(watching_without_memory_fails_cleanly),
		cmocka_unit_test(what_was_not_read_for_want_of_memory_is_read_later),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
