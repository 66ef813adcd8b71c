/*
 * Files of lines: what a writer that died left of a line is cut off.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "pstore/lines_file.h"
#include "temp_dir.h"

/* Longer than what is read at once. */
#define LONG_LINE 5000

static void
assert_file(struct temp_dir *dir, const char *want)
{
	static char text[4 * LONG_LINE];
	FILE *f = fopen(temp_path(dir, "lines"), "r");
	size_t n;

	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	fclose(f);
	assert_string_equal(text, want);
}

/* What there is when it is opened, and what is there with one more line. */
static void
check_opened(const char *before, const char *after)
{
	struct temp_dir dir;
	struct lines_file file;
	char path[128];
	struct err err;

	temp_dir_init(&dir);
	temp_write(&dir, "lines", before);
	strcpy(path, temp_path(&dir, "lines"));
	lines_file_init(&file, path, 1 << 20, 1);
	assert_int_equal(lines_file_add(&file, STR("more\n"), &err), 0);
	assert_file(&dir, after);
	assert_int_equal(file.size, strlen(after));
	lines_file_fini(&file);
	temp_dir_fini(&dir);
}

static void
half_a_line_is_cut_off(void **state)
{
	static const struct {
		const char *before, *after;
	} rows[] = {
		{ "", "more\n" },
		{ "one\n", "one\nmore\n" },
		{ "one\ntwo", "one\nmore\n" },
		{ "tw", "more\n" },
		{ "\n", "\nmore\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check_opened(rows[i].before, rows[i].after);
}

static void
lines_may_be_longer_than_a_block(void **state)
{
	static char before[2 * LONG_LINE], after[2 * LONG_LINE];

	(void)state;
	for (size_t kept = 4090; kept < 4100; kept++) {
		memset(before, 'x', kept);
		before[kept - 1] = '\n';
		memset(before + kept, 'y', LONG_LINE);
		before[kept + LONG_LINE] = '\0';
		snprintf(after, sizeof(after), "%.*smore\n", (int)kept, before);
		check_opened(before, after);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(half_a_line_is_cut_off),
		cmocka_unit_test(lines_may_be_longer_than_a_block),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
