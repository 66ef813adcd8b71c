/*
 * scotty fsck DIR: looks at all that a state directory holds, and changes nothing. What a running
 * scottyd is just writing may look as if it were cut short.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "scotty/client.h"
#include "scotty/dir_list.h"
#include "scotty/journal_files.h"
#include "scotty/out.h"
#include "state/state.h"

int command_fsck(struct client *, char **, size_t, struct err *);

struct fsck {
	const char *dir;
	size_t file_count, bad_count, unknown_count;
	struct buf line;
};

/* "FILE: TEXT", where what is unprintable is escaped. */
static void
say(struct fsck *fsck, const char *file, struct str text)
{
	buf_clear(&fsck->line);
	out_text(&fsck->line, str_of(file));
	buf_puts(&fsck->line, ": ");
	out_text(&fsck->line, text);
	printf("%.*s\n", STR_ARG(buf_view(&fsck->line)));
}

static void
say_bad(struct fsck *fsck, const char *file, struct str text)
{
	fsck->bad_count++;
	say(fsck, file, text);
}

static int
check_database(struct fsck *fsck, struct err *err)
{
	struct buf wrong;
	struct str rest, line;
	bool there;
	int rc;

	buf_init(&wrong, 0);
	rc = state_check(fsck->dir, &wrong, &there, err);
	rest = buf_view(&wrong);
	if (rc == 0 && there) {
		fsck->file_count++;
		fsck->bad_count += rest.len > 0;
		if (rest.len == 0)
			say(fsck, "state.db", STR("good"));
		while (str_split(&rest, '\n', &line))
			say(fsck, "state.db", line);
	}
	buf_fini(&wrong);
	return rc;
}

static void
check_file(struct fsck *fsck, const char *path, const char *file)
{
	struct journal_check check;
	char text[ERR_TEXT_BYTES + 64];

	fsck->file_count++;
	if (!journal_file_check(path, &check)) {
		fsck->unknown_count++;
	} else if (check.fault[0] == '\0') {
		say(fsck, file, STR("good"));
	} else {
		snprintf(text, sizeof(text), "good up to byte %llu of %llu: %s",
		    (unsigned long long)check.good_bytes, (unsigned long long)check.bytes,
		    check.fault);
		say_bad(fsck, file, str_of(text));
	}
}

static int
check_dir(struct fsck *fsck, const char *name, struct err *err)
{
	struct dir_list list;
	int rc;

	rc = dir_list_read(&list, fsck->dir, name, err);
	for (size_t i = 0; rc == 0 && i < list.len; i++) {
		char *path;

		if (asprintf(&path, "%s/%s/%s", fsck->dir, name, list.names[i]) < 0) {
			err_nomem(err);
			rc = -1;
			break;
		}
		check_file(fsck, path, path + strlen(fsck->dir) + 1);
		free(path);
	}
	dir_list_fini(&list);
	return rc;
}

static int
check_all(struct fsck *fsck, struct err *err)
{
	struct stat st;

	if (stat(fsck->dir, &st) != 0) {
		err_errno(err, errno, "%s", fsck->dir);
		return -1;
	}
	if (check_database(fsck, err) != 0)
		return -1;
	for (size_t i = 0; journal_dirs[i] != NULL; i++) {
		if (check_dir(fsck, journal_dirs[i], err) != 0)
			return -1;
	}
	if (fsck->unknown_count > 0)
		printf("%zu files not checked\n", fsck->unknown_count);
	if (fsck->bad_count == 0)
		return 0;
	err_set(err, ERR_IO, "%s: %zu of %zu files are not good", fsck->dir, fsck->bad_count,
	    fsck->file_count);
	return -1;
}

int
command_fsck(struct client *client, char **words, size_t n, struct err *err)
{
	struct fsck fsck = { .dir = words[0] };
	int rc;

	(void)client;
	(void)n;
	buf_init(&fsck.line, 0);
	rc = check_all(&fsck, err);
	buf_fini(&fsck.line);
	return rc;
}
