#include "state/state.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fault.h"
#include "temp_dir.h"

struct fixture {
	struct temp_dir dir;
	struct state *state;
};

static void
reopen(struct fixture *f)
{
	struct err err;

	state_close(f->state);
	f->state = state_open(f->dir.path, &err);
	if (f->state == NULL)
		fail_msg("%s", err.text);
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	temp_dir_init(&f->dir);
	reopen(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	state_close(f->state);
	temp_dir_fini(&f->dir);
	free(f);
	return 0;
}

static void
put(struct fixture *f, const char *host, const char *app, const char *body, bool from_loopback)
{
	struct err err;

	if (state_registry_put(
	        f->state, str_of(host), str_of(app), str_of(body), from_loopback, &err) != 0)
		fail_msg("%s", err.text);
}

static void
add_row(void *ctx, struct str host, struct str app, struct str body, bool from_loopback)
{
	buf_printf(ctx, "%.*s/%.*s=%.*s%s;", STR_ARG(host), STR_ARG(app), STR_ARG(body),
	    from_loopback ? "!" : "");
}

/* Rows as "HOST/APP=BODY;", with a '!' after the body of those from loopback. */
static void
assert_rows(struct fixture *f, const char *expected)
{
	struct buf got;
	struct err err;

	buf_init(&got, 0);
	assert_int_equal(state_registry_each(f->state, add_row, &got, &err), 0);
	buf_putc(&got, '\0');
	assert_false(got.failed);
	assert_string_equal(got.p, expected);
	buf_fini(&got);
}

/* Files whose name starts with prefix; the last one's name to *name. */
static unsigned
count_files(struct fixture *f, const char *prefix, char name[256])
{
	DIR *dir = opendir(f->dir.path);
	const struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0)
			continue;
		snprintf(name, 256, "%s", entry->d_name);
		n++;
	}
	closedir(dir);
	return n;
}

static void
overwrite(struct fixture *f, long offset, const char *bytes, size_t len)
{
	FILE *file = fopen(temp_path(&f->dir, "state.db"), "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
}

/* In another connection. */
static void
run_sql(struct fixture *f, const char *name, const char *text)
{
	sqlite3 *other;

	assert_int_equal(sqlite3_open(temp_path(&f->dir, name), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, text, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
}

static struct buf
read_file(struct fixture *f, const char *name)
{
	FILE *file = fopen(temp_path(&f->dir, name), "r");
	char bytes[65536];
	struct buf out;

	assert_non_null(file);
	buf_init(&out, 0);
	buf_add(&out, bytes, fread(bytes, 1, sizeof(bytes), file));
	fclose(file);
	return out;
}

/* The database and its companions. */
static void
remove_files(struct fixture *f, const char *name)
{
	char companion[64];

	assert_int_equal(unlink(temp_path(&f->dir, name)), 0);
	snprintf(companion, sizeof(companion), "%s-wal", name);
	unlink(temp_path(&f->dir, companion));
	snprintf(companion, sizeof(companion), "%s-shm", name);
	unlink(temp_path(&f->dir, companion));
}

static void
rows_are_kept_over_reopening(void **state)
{
	struct fixture *f = *state;
	struct err err;

	assert_rows(f, "");
	put(f, "h2", "a", "{port: 2}", false);
	put(f, "h1", "b", "", true);
	put(f, "h1", "a", "{\"region\": \"\xc3\xa9'\\\"\"}", false);
	reopen(f);
	assert_rows(f, "h1/a={\"region\": \"\xc3\xa9'\\\"\"};h1/b=!;h2/a={port: 2};");
	put(f, "h1", "b", "x", false);
	assert_int_equal(state_registry_delete(f->state, STR("h2"), STR("a"), &err), 0);
	assert_int_equal(state_registry_delete(f->state, STR("h2"), STR("none"), &err), 0);
	reopen(f);
	assert_rows(f, "h1/a={\"region\": \"\xc3\xa9'\\\"\"};h1/b=x;");
}

static void
a_row_is_on_disk_when_put_returns(void **state)
{
	struct fixture *f = *state;
	struct sqlite3_stmt *stmt;
	sqlite3 *other;

	/* As after a crash: the first handle is never closed before the second one reads. */
	put(f, "h", "a", "x", false);
	assert_int_equal(sqlite3_open(temp_path(&f->dir, "state.db"), &other), SQLITE_OK);
	assert_int_equal(
	    sqlite3_prepare_v2(other, "SELECT body FROM endpoints", -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "x");
	sqlite3_finalize(stmt);
	sqlite3_close(other);
}

static void
nobody_else_can_read_the_files(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "state.db", "state.db-wal", "state.db-shm" };
	struct stat st;

	put(f, "h", "a", "secret", false);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(stat(temp_path(&f->dir, names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	state_close(f->state);
	f->state = NULL;
	assert_int_equal(chmod(temp_path(&f->dir, "state.db"), 0644), 0);
	reopen(f);
	assert_int_equal(stat(temp_path(&f->dir, "state.db"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
what_is_no_database_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char name[256] = "", text[32] = "";
	FILE *file;

	state_close(f->state);
	f->state = NULL;
	temp_write(&f->dir, "state.db", "this is no database, by any means");
	reopen(f);
	put(f, "h", "a", "x", false);
	assert_rows(f, "h/a=x;");
	assert_int_equal(count_files(f, "state.db.corrupt-", name), 1);
	/* registry.db.corrupt-20261121T030000, and nothing of it lost. */
	assert_int_equal(strlen(name), strlen("state.db.corrupt-YYYYMMDDTHHMMSS"));
	assert_int_equal(name[strlen("state.db.corrupt-YYYYMMDD")], 'T');
	file = fopen(temp_path(&f->dir, name), "r");
	assert_non_null(file);
	assert_int_equal(fread(text, 1, 7, file), 7);
	fclose(file);
	assert_string_equal(text, "this is");
}

static void
a_damaged_database_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char bytes[4096], name[256];

	for (int i = 0; i < 200; i++) {
		char host[16];

		snprintf(host, sizeof(host), "host%d", i);
		put(f, host, "a", "{port: 1, address: 10.0.0.1, region: us-east-1}", false);
	}
	state_close(f->state);
	f->state = NULL;
	memset(bytes, 0xa5, sizeof(bytes));
	overwrite(f, 4096, bytes, sizeof(bytes));
	reopen(f);
	assert_rows(f, "");
	assert_int_equal(count_files(f, "state.db.corrupt-", name), 1);
}

static void
an_empty_file_becomes_a_registry(void **state)
{
	struct fixture *f = *state;
	char name[256];

	state_close(f->state);
	f->state = NULL;
	temp_write(&f->dir, "state.db", "");
	reopen(f);
	put(f, "h", "a", "x", false);
	assert_rows(f, "h/a=x;");
	assert_int_equal(count_files(f, "state.db.corrupt-", name), 0);
}

static void
a_newer_format_is_refused_and_not_touched(void **state)
{
	struct fixture *f = *state;
	char name[256];
	struct buf before, after;
	struct err err;

	state_close(f->state);
	f->state = NULL;
	run_sql(f, "state.db", "PRAGMA user_version=5; CREATE TABLE novelties (x)");
	before = read_file(f, "state.db");
	assert_null(state_open(f->dir.path, &err));
	assert_int_equal(err.code, ERR_DENIED);
	assert_non_null(
	    strstr(err.text, "written by a newer scottyd (format 5, this one knows 4)"));
	after = read_file(f, "state.db");
	assert_true(str_eq(buf_view(&before), buf_view(&after)));
	buf_fini(&before);
	buf_fini(&after);
	assert_int_equal(count_files(f, "state.db.corrupt-", name), 0);
}

static void
a_directory_that_is_none_gives_an_error(void **state)
{
	struct err err;

	(void)state;
	assert_null(state_open("/nonexistent/state", &err));
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(err.text,
	    "stateDir /nonexistent/state (choose another with -stateDir, '' = none): "
	    "No such file or directory");
	assert_null(state_open("/dev/null", &err));
	assert_int_equal(err.code, ERR_IO);
}

/* A process of its own, as locks belong to it. The exit code of what it was asked. */
static int
in_child(struct fixture *f, int (*ask)(struct fixture *))
{
	pid_t pid = fork();
	int status;

	assert_int_not_equal(pid, -1);
	if (pid == 0)
		_exit(ask(f));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int
try_open(struct fixture *f)
{
	char expected[128];
	struct err err;

	snprintf(expected, sizeof(expected), "stateDir %s is in use by another scottyd, process %d",
	    f->dir.path, (int)getppid());
	if (state_open(f->dir.path, &err) != NULL)
		return 1;
	if (err.code == ERR_EXISTS && strcmp(err.text, expected) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return 2;
}

static void
a_second_one_is_refused_with_the_pid_of_the_first(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in_child(f, try_open), 0);
	state_close(f->state);
	f->state = NULL;
	assert_int_equal(in_child(f, try_open), 1);
	/* What is left behind by a process that died is no obstacle. */
	temp_write(&f->dir, "lock", "1\n");
	reopen(f);
}

static void
an_old_registry_is_taken_over_once(void **state)
{
	struct fixture *f = *state;

	state_close(f->state);
	f->state = NULL;
	remove_files(f, "state.db");
	run_sql(f, "registry.db",
	    "CREATE TABLE endpoints (host TEXT NOT NULL, app TEXT NOT NULL, body TEXT NOT NULL,"
	    " from_loopback INTEGER NOT NULL, PRIMARY KEY (host, app)) WITHOUT ROWID;"
	    "INSERT INTO endpoints VALUES ('h', 'a', 'x', 0), ('h', 'b', 'y', 1);"
	    "PRAGMA user_version=1");
	reopen(f);
	assert_rows(f, "h/a=x;h/b=y!;");
	assert_int_equal(
	    state_registry_delete(f->state, STR("h"), STR("a"), &(struct err){ 0 }), 0);
	reopen(f);
	assert_rows(f, "h/b=y!;");
	/* It has its rows, and its scottyd refuses it. */
	run_sql(f, "registry.db", "INSERT INTO endpoints VALUES ('h', 'c', 'z', 0)");
	remove_files(f, "state.db");
	reopen(f);
	assert_rows(f, "");
}

static void
an_old_registry_that_is_damaged_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char name[256];

	state_close(f->state);
	f->state = NULL;
	remove_files(f, "state.db");
	temp_write(&f->dir, "registry.db",
	    "no database, and long enough to have a header of one, "
	    "which is one hundred bytes long, if not more");
	reopen(f);
	put(f, "h", "a", "x", false);
	assert_rows(f, "h/a=x;");
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 1);
}

static void
a_database_of_the_version_before_is_upgraded(void **state)
{
	struct fixture *f = *state;
	struct buf value;
	struct err err;

	put(f, "h", "a", "x", false);
	state_close(f->state);
	f->state = NULL;
	run_sql(f, "state.db",
	    "DROP TABLE settings; DROP TABLE writers; DROP TABLE positions; DROP TABLE sets;"
	    "PRAGMA user_version=1");
	reopen(f);
	assert_rows(f, "h/a=x;");
	buf_init(&value, 0);
	assert_int_equal(state_setting_get(f->state, "s", &value, &err), 0);
	assert_int_equal(value.len, 0);
	assert_int_equal(state_setting_set(f->state, "s", STR("1"), &err), 0);
	assert_int_equal(state_setting_set(f->state, "s", STR("23"), &err), 0);
	reopen(f);
	assert_int_equal(state_setting_get(f->state, "s", &value, &err), 0);
	assert_true(str_eq(buf_view(&value), STR("23")));
	buf_fini(&value);
}

static void
a_database_that_cannot_be_had_is_no_end(void **state)
{
	struct fixture *f = *state;
	struct err err;

	state_close(f->state);
	f->state = NULL;
	remove_files(f, "state.db");
	assert_int_equal(mkdir(temp_path(&f->dir, "state.db"), 0700), 0);
	f->state = state_open(f->dir.path, &err);
	assert_non_null(f->state);
	assert_int_equal(
	    state_registry_put(f->state, STR("h"), STR("a"), STR("x"), false, &err), -1);
	assert_int_equal(err.code, ERR_IO);
	assert_int_equal(state_registry_each(f->state, add_row, NULL, &err), -1);
}

static void
a_database_that_was_removed_is_noticed(void **state)
{
	struct fixture *f = *state;
	struct err err;

	put(f, "h", "a", "x", false);
	remove_files(f, "state.db");
	put(f, "h", "b", "x", false);
	reopen(f);
	assert_rows(f, "h/b=x;");
	remove_files(f, "state.db");
	assert_int_equal(mkdir(temp_path(&f->dir, "state.db"), 0700), 0);
	assert_int_equal(
	    state_registry_put(f->state, STR("h"), STR("a"), STR("x"), false, &err), -1);
	assert_int_equal(err.code, ERR_IO);
}

static void
a_full_disk_gives_an_error_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, none;
	struct err err;

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(
		    state_registry_put(f->state, STR("h"), STR("a"), STR("x"), false, &err), -1);
		assert_int_equal(err.code, ERR_IO);
	}
	assert_rows(f, "");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	put(f, "h", "a", "y", false);
	reopen(f);
	assert_rows(f, "h/a=y;");
}

static void
a_copy_is_whole_and_a_check_finds_damage(void **state)
{
	struct fixture *f = *state;
	struct buf copy, wrong;
	struct temp_dir other;
	char bytes[4096];
	struct err err;
	FILE *file;
	bool there;

	buf_init(&copy, 0);
	buf_init(&wrong, 0);
	for (int i = 0; i < 200; i++) {
		char host[16];

		snprintf(host, sizeof(host), "host%d", i);
		put(f, host, "a", "{port: 1, address: 10.0.0.1, region: us-east-1}", false);
	}
	assert_int_equal(state_copy(f->dir.path, &copy, &there, &err), 0);
	assert_true(there);
	put(f, "later", "a", "x", false);
	assert_int_equal(state_check(f->dir.path, &wrong, &there, &err), 0);
	assert_true(there && wrong.len == 0);
	state_close(f->state);
	f->state = NULL;

	memset(bytes, 0xa5, sizeof(bytes));
	overwrite(f, 4096, bytes, sizeof(bytes));
	assert_int_equal(state_check(f->dir.path, &wrong, &there, &err), 0);
	assert_true(there && wrong.len > 0);
	temp_dir_init(&other);
	assert_int_equal(state_check(other.path, &wrong, &there, &err), 0);
	assert_false(there);
	file = fopen(temp_path(&other, "state.db"), "w");
	assert_non_null(file);
	assert_int_equal(fwrite(copy.p, 1, copy.len, file), copy.len);
	fclose(file);
	f->state = state_open(other.path, &err);
	assert_non_null(f->state);
	buf_clear(&copy);
	assert_int_equal(state_registry_each(f->state, add_row, &copy, &err), 0);
	assert_null(memmem(copy.p, copy.len, "later", 5));
	assert_non_null(memmem(copy.p, copy.len, "host199/a", 9));
	state_close(f->state);
	f->state = NULL;
	temp_dir_fini(&other);
	buf_fini(&copy);
	buf_fini(&wrong);
}

static void
a_locked_registry_gives_an_error_and_recovers(void **state)
{
	struct fixture *f = *state;
	sqlite3 *other;
	struct err err;

	assert_int_equal(sqlite3_open(temp_path(&f->dir, "state.db"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(
	    state_registry_put(f->state, STR("h"), STR("a"), STR("x"), false, &err), -1);
	assert_int_equal(err.code, ERR_TIMEOUT);
	assert_non_null(strstr(err.text, "database is locked"));
	assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	put(f, "h", "a", "y", false);
	assert_rows(f, "h/a=y;");
}

static void
opening_without_memory_fails_cleanly(void **state)
{
	struct fixture *f = *state;
	bool happened = true;
	struct err err;
	char name[256];

	state_close(f->state);
	for (unsigned nth = 1; happened; nth++) {
		fault_malloc(nth);
		f->state = state_open(f->dir.path, &err);
		happened = fault_happened();
		fault_malloc(0);
		/* SQLite can do without some memory. */
		assert_true(f->state != NULL || (happened && err.code == ERR_NOMEM));
		if (f->state != NULL)
			put(f, "h", "a", "x", false);
		state_close(f->state);
	}
	f->state = NULL;
	assert_int_equal(count_files(f, "state.db.corrupt-", name), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_are_kept_over_reopening, setup, teardown),
		cmocka_unit_test_setup_teardown(a_row_is_on_disk_when_put_returns, setup, teardown),
		cmocka_unit_test_setup_teardown(nobody_else_can_read_the_files, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_database_is_set_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(a_damaged_database_is_set_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_file_becomes_a_registry, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_newer_format_is_refused_and_not_touched, setup, teardown),
		cmocka_unit_test(a_directory_that_is_none_gives_an_error),
		cmocka_unit_test_setup_teardown(
		    a_locked_registry_gives_an_error_and_recovers, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_second_one_is_refused_with_the_pid_of_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_old_registry_is_taken_over_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_old_registry_that_is_damaged_is_set_aside, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_database_of_the_version_before_is_upgraded, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_database_that_cannot_be_had_is_no_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_database_that_was_removed_is_noticed, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_full_disk_gives_an_error_and_recovers, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_copy_is_whole_and_a_check_finds_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    opening_without_memory_fails_cleanly, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
