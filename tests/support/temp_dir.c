#include "temp_dir.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

void
temp_dir_init(struct temp_dir *dir)
{
	strcpy(dir->path, "/tmp/scotty-test-XXXXXX");
	assert_non_null(mkdtemp(dir->path));
}

void
temp_dir_fini(struct temp_dir *dir)
{
	DIR *open_dir = opendir(dir->path);
	const struct dirent *entry;

	assert_non_null(open_dir);
	while ((entry = readdir(open_dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			assert_int_equal(remove(temp_path(dir, entry->d_name)), 0);
	closedir(open_dir);
	assert_int_equal(rmdir(dir->path), 0);
}

const char *
temp_path(struct temp_dir *dir, const char *name)
{
	int len = snprintf(dir->file, sizeof(dir->file), "%s/%s", dir->path, name);

	assert_in_range(len, 1, sizeof(dir->file) - 1);
	return dir->file;
}

void
temp_write(struct temp_dir *dir, const char *name, const char *text)
{
	FILE *f = fopen(temp_path(dir, name), "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

void
temp_replace(struct temp_dir *dir, const char *name, const char *text)
{
	char from[sizeof(dir->file)];

	temp_write(dir, "new~", text);
	strcpy(from, dir->file);
	assert_int_equal(rename(from, temp_path(dir, name)), 0);
}
