#include "fleet/registry_db_priv.h"

#include <dirent.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fault.h"
#include "temp_dir.h"

struct fixture {
	struct temp_dir dir;
	struct registry_db *db;
};

static void
reopen(struct fixture *f)
{
	struct err err;

	registry_db_close(f->db);
	f->db = registry_db_open(f->dir.path, &err);
	if (f->db == NULL)
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

	registry_db_close(f->db);
	temp_dir_fini(&f->dir);
	free(f);
	return 0;
}

static void
put(struct fixture *f, const char *host, const char *app, const char *body, bool from_loopback)
{
	struct err err;

	if (registry_db_put(f->db, str_of(host), str_of(app), str_of(body), from_loopback, &err) !=
	    0)
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
	assert_int_equal(registry_db_each(f->db, add_row, &got, &err), 0);
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
	FILE *file = fopen(temp_path(&f->dir, "registry.db"), "r+");

	assert_non_null(file);
	assert_int_equal(fseek(file, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	fclose(file);
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
	assert_int_equal(registry_db_delete(f->db, STR("h2"), STR("a"), &err), 0);
	assert_int_equal(registry_db_delete(f->db, STR("h2"), STR("none"), &err), 0);
	reopen(f);
	assert_rows(f, "h1/a={\"region\": \"\xc3\xa9'\\\"\"};h1/b=x;");
}

static void
a_row_is_on_disk_when_put_returns(void **state)
{
	struct fixture *f = *state;
	struct registry_db *first = f->db;

	/* As after a crash: the first handle is never closed before the second one reads. */
	put(f, "h", "a", "x", false);
	f->db = NULL;
	reopen(f);
	assert_rows(f, "h/a=x;");
	registry_db_close(first);
}

static void
nobody_else_can_read_the_files(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = { "registry.db", "registry.db-wal", "registry.db-shm" };
	struct stat st;

	put(f, "h", "a", "secret", false);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		assert_int_equal(stat(temp_path(&f->dir, names[i]), &st), 0);
		assert_int_equal(st.st_mode & 0777, 0600);
	}
	registry_db_close(f->db);
	f->db = NULL;
	assert_int_equal(chmod(temp_path(&f->dir, "registry.db"), 0644), 0);
	reopen(f);
	assert_int_equal(stat(temp_path(&f->dir, "registry.db"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void
what_is_no_database_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char name[256] = "", text[32] = "";
	FILE *file;

	registry_db_close(f->db);
	f->db = NULL;
	temp_write(&f->dir, "registry.db", "this is no database, by any means");
	reopen(f);
	put(f, "h", "a", "x", false);
	assert_rows(f, "h/a=x;");
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 1);
	/* registry.db.corrupt-20261121T030000, and nothing of it lost. */
	assert_int_equal(strlen(name), strlen("registry.db.corrupt-YYYYMMDDTHHMMSS"));
	assert_int_equal(name[strlen("registry.db.corrupt-YYYYMMDD")], 'T');
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
	registry_db_close(f->db);
	f->db = NULL;
	memset(bytes, 0xa5, sizeof(bytes));
	overwrite(f, 4096, bytes, sizeof(bytes));
	reopen(f);
	assert_rows(f, "");
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 1);
}

static void
an_empty_file_becomes_a_registry(void **state)
{
	struct fixture *f = *state;
	char name[256];

	registry_db_close(f->db);
	f->db = NULL;
	temp_write(&f->dir, "registry.db", "");
	reopen(f);
	put(f, "h", "a", "x", false);
	assert_rows(f, "h/a=x;");
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 0);
}

static void
a_newer_format_is_refused_and_not_touched(void **state)
{
	struct fixture *f = *state;
	char name[256];
	sqlite3 *other;
	struct err err;

	registry_db_close(f->db);
	f->db = NULL;
	assert_int_equal(sqlite3_open(temp_path(&f->dir, "registry.db"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "PRAGMA user_version=2", NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(other);
	assert_null(registry_db_open(f->dir.path, &err));
	assert_int_equal(err.code, ERR_IO);
	assert_non_null(
	    strstr(err.text, "written by a newer scottyd (format 2, this one knows 1)"));
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 0);
}

static void
a_directory_that_is_none_gives_an_error(void **state)
{
	struct err err;

	(void)state;
	assert_null(registry_db_open("/nonexistent", &err));
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(
	    err.text, "registry /nonexistent/registry.db: No such file or directory");
	assert_null(registry_db_open("/dev/null", &err));
	assert_int_equal(err.code, ERR_IO);
}

static void
a_locked_registry_gives_an_error_and_recovers(void **state)
{
	struct fixture *f = *state;
	sqlite3 *other;
	struct err err;

	assert_int_equal(sqlite3_open(temp_path(&f->dir, "registry.db"), &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
	assert_int_equal(registry_db_put(f->db, STR("h"), STR("a"), STR("x"), false, &err), -1);
	assert_int_equal(err.code, ERR_IO);
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
	struct registry_db *db = NULL;
	struct err err;
	char name[256];

	for (unsigned nth = 1; db == NULL; nth++) {
		fault_malloc(nth);
		db = registry_db_open(f->dir.path, &err);
		assert_int_equal(db != NULL, !fault_happened());
	}
	fault_malloc(0);
	registry_db_close(db);
	assert_int_equal(count_files(f, "registry.db.corrupt-", name), 0);
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
		    opening_without_memory_fails_cleanly, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
