#include "scotty/dir_list.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int
add(struct dir_list *list, const char *name)
{
	if (list->len == list->cap) {
		size_t cap = 2 * list->cap + 16;
		char **names = realloc(list->names, cap * sizeof(*names));

		if (names == NULL)
			return -1;
		list->names = names;
		list->cap = cap;
	}
	list->names[list->len] = strdup(name);
	return list->names[list->len] == NULL ? -1 : (list->len++, 0);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int
read_entries(struct dir_list *list, DIR *dir, const char *path, struct err *err)
{
	const struct dirent *entry;
	struct stat st;

	while (errno = 0, (entry = readdir(dir)) != NULL) {
		/* One that goes while we look is none of them. */
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
		    !S_ISREG(st.st_mode))
			continue;
		if (add(list, entry->d_name) != 0) {
			err_nomem(err);
			return -1;
		}
	}
	if (errno == 0)
		return 0;
	err_errno(err, errno, "%s", path);
	return -1;
}

int
dir_list_read(struct dir_list *list, const char *dir, const char *name, struct err *err)
{
	DIR *open_dir = NULL;
	char *path;
	int rc = 0;

	*list = (struct dir_list){ .names = NULL };
	if (asprintf(&path, "%s/%s", dir, name) < 0) {
		err_nomem(err);
		return -1;
	}
	open_dir = opendir(path);
	if (open_dir != NULL) {
		rc = read_entries(list, open_dir, path, err);
		closedir(open_dir);
	} else if (errno != ENOENT) {
		err_errno(err, errno, "%s", path);
		rc = -1;
	}
	free(path);
	if (rc != 0)
		dir_list_fini(list);
	else if (list->len > 0)
		qsort(list->names, list->len, sizeof(*list->names), compare);
	return rc;
}

void
dir_list_fini(struct dir_list *list)
{
	while (list->len > 0)
		free(list->names[--list->len]);
	free(list->names);
	*list = (struct dir_list){ .names = NULL };
}
