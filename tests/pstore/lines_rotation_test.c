#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "pstore/lines_file.h"
#include "temp_dir.h"

struct files {
	struct temp_dir dir;
	char path[128];
	struct lines_file file;
};

static void
begin(struct files *f, uint64_t max_bytes, unsigned keep)
{
	temp_dir_init(&f->dir);
	snprintf(f->path, sizeof(f->path), "%s", temp_path(&f->dir, "lines"));
	lines_file_init(&f->file, f->path, max_bytes, keep);
}

static void
end(struct files *f)
{
	lines_file_fini(&f->file);
	temp_dir_fini(&f->dir);
}

static void
check_content(struct files *f, const char *name, const char *text)
{
	char got[100];
	FILE *file = fopen(temp_path(&f->dir, name), "r");

	assert_non_null(file);
	got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
	fclose(file);
	assert_string_equal(got, text);
}

static bool
is_pipe(struct files *f, const char *name)
{
	struct stat st;

	return lstat(temp_path(&f->dir, name), &st) == 0 && S_ISFIFO(st.st_mode);
}

static void
a_full_file_is_begun_anew(void **state)
{
	struct files f;
	struct err err;

	(void)state;
	begin(&f, 8, 2);
	for (int i = 0; i < 4; i++) {
		char line[8] = { (char)('a' + i), '1', '2', '3', '\n', '\0' };

		assert_int_equal(lines_file_add(&f.file, str_of(line), &err), 0);
	}
	check_content(&f, "lines", "d123\n");
	check_content(&f, "lines.1", "c123\n");
	check_content(&f, "lines.2", "b123\n");
	assert_int_not_equal(access(temp_path(&f.dir, "lines.3"), F_OK), 0);
	end(&f);
}

/* With a reader, it could be opened. */
static void
what_is_no_file_is_refused_and_stays(void **state)
{
	for (unsigned keep = 0; keep < 2; keep++) {
		struct files f;
		struct err err;
		int reader;

		(void)state;
		begin(&f, 8, keep);
		assert_int_equal(mkfifo(f.path, 0600), 0);
		for (reader = 0; reader < 2; reader++) {
			FILE *pipe = reader == 1 ? fopen(f.path, "r+") : NULL;

			for (int i = 0; i < 4; i++) {
				assert_int_equal(
				    lines_file_add(&f.file, STR("a long line\n"), &err), -1);
				assert_int_equal(err.code, ERR_CONFIG);
				assert_non_null(strstr(err.text, "is no regular file"));
			}
			if (pipe != NULL)
				fclose(pipe);
		}
		assert_true(is_pipe(&f, "lines"));
		end(&f);
	}
}

/* Neither the file itself, when it became a pipe meanwhile, nor one that a file would replace. */
static void
a_rotation_touches_files_only(void **state)
{
	static const char *const names[] = { "lines", "lines.1", "lines.2" };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct files f;
		struct err err;

		begin(&f, 8, 2);
		assert_int_equal(lines_file_add(&f.file, STR("12345\n"), &err), 0);
		if (i == 0)
			assert_int_equal(unlink(f.path), 0);
		assert_int_equal(mkfifo(temp_path(&f.dir, names[i]), 0600), 0);
		assert_int_equal(lines_file_add(&f.file, STR("67890\n"), &err), -1);
		assert_int_equal(err.code, ERR_CONFIG);
		assert_true(is_pipe(&f, names[i]));
		if (i > 0)
			check_content(&f, "lines", "12345\n");
		end(&f);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_file_is_begun_anew),
		cmocka_unit_test(what_is_no_file_is_refused_and_stays),
		cmocka_unit_test(a_rotation_touches_files_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
