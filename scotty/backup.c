/*
 * scotty backup FILE: what a state directory holds, as one tar archive. scottyd may run meanwhile.
 *
 * The database is copied first, as of one moment, and then what the journal has by then: so no
 * position of a writer is beyond what the archive has of the journal. A journal file is copied as
 * far as it is whole.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "scotty/client.h"
#include "scotty/dir_list.h"
#include "scotty/journal_files.h"
#include "scotty/tar.h"
#include "state/state.h"

#define COPY_BYTES ((size_t)256 * 1024)

int command_backup(struct client *, char **, size_t, struct err *);

struct backup {
	const char *dir;
	struct tar tar;
	char *piece; /* COPY_BYTES */
	size_t file_count;
};

static int
add_database(struct backup *backup, struct err *err)
{
	struct buf copy;
	bool there;
	int rc;

	buf_init(&copy, 0);
	rc = state_copy(backup->dir, &copy, &there, err);
	if (rc == 0 && there) {
		backup->file_count++;
		rc = tar_file(&backup->tar, "state.db", copy.len, err);
		if (rc == 0)
			rc = tar_add(&backup->tar, copy.p, copy.len, err);
	}
	buf_fini(&copy);
	return rc;
}

/* So many bytes from the file's start. */
static int
add_bytes(struct backup *backup, FILE *in, const char *path, uint64_t bytes, struct err *err)
{
	while (bytes > 0) {
		size_t n = bytes < COPY_BYTES ? (size_t)bytes : COPY_BYTES;

		n = fread(backup->piece, 1, n, in);
		if (n == 0) {
			if (ferror(in))
				err_errno(err, errno, "%s", path);
			else
				err_set(err, ERR_IO, "%s: became shorter while it was read", path);
			return -1;
		}
		if (tar_add(&backup->tar, backup->piece, n, err) != 0)
			return -1;
		bytes -= n;
	}
	return 0;
}

static int
add_file(struct backup *backup, const char *path, struct err *err)
{
	FILE *in = fopen(path, "re");
	struct journal_check check;
	struct stat st;
	int rc = -1;

	/* It was sealed, or dropped as too old, since we looked. */
	if (in == NULL && errno == ENOENT)
		return 0;
	if (in == NULL) {
		err_errno(err, errno, "%s", path);
		return -1;
	}
	/* Of a segment what is whole by now; of what else is there all. */
	if (!journal_file_check(path, &check) && fstat(fileno(in), &st) == 0)
		check.good_bytes = (uint64_t)st.st_size;
	if (tar_file(&backup->tar, path + strlen(backup->dir) + 1, check.good_bytes, err) == 0)
		rc = add_bytes(backup, in, path, check.good_bytes, err);
	backup->file_count++;
	fclose(in);
	return rc;
}

static int
add_dir(struct backup *backup, const char *name, struct err *err)
{
	struct dir_list list;
	char *path = NULL;
	int rc = dir_list_read(&list, backup->dir, name, err);

	if (rc == 0 && list.len > 0) {
		char slashed[TAR_NAME_MOST];

		snprintf(slashed, sizeof(slashed), "%s/", name);
		rc = tar_dir(&backup->tar, slashed, err);
	}
	for (size_t i = 0; rc == 0 && i < list.len; i++) {
		if (asprintf(&path, "%s/%s/%s", backup->dir, name, list.names[i]) < 0) {
			err_nomem(err);
			rc = -1;
			break;
		}
		rc = add_file(backup, path, err);
		free(path);
	}
	dir_list_fini(&list);
	return rc;
}

static int
add_all(struct backup *backup, struct err *err)
{
	if (add_database(backup, err) != 0)
		return -1;
	for (size_t i = 0; journal_dirs[i] != NULL; i++) {
		if (add_dir(backup, journal_dirs[i], err) != 0)
			return -1;
	}
	if (backup->file_count > 0)
		return tar_end(&backup->tar, err);
	err_set(err, ERR_NOTFOUND, "%s: no state of a scottyd there (-stateDir says where it is)",
	    backup->dir);
	return -1;
}

/* On the disk before it gets its name, so that a file of that name is always whole. */
static int
finish(FILE *out, const char *temporary, const char *path, struct err *err)
{
	if (fflush(out) == 0 && fsync(fileno(out)) == 0 && rename(temporary, path) == 0)
		return 0;
	err_errno(err, errno, "%s", path);
	return -1;
}

static int
write_archive(struct backup *backup, const char *temporary, const char *path, struct err *err)
{
	/* Options of endpoints may hold secrets. */
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int rc;

	if (out == NULL) {
		err_errno(err, errno, "%s", temporary);
		if (fd >= 0)
			close(fd);
		return -1;
	}
	tar_init(&backup->tar, out, clock_real_ns() / NS_PER_S);
	rc = add_all(backup, err);
	if (rc == 0)
		rc = finish(out, temporary, path, err);
	fclose(out);
	if (rc != 0)
		unlink(temporary);
	return rc;
}

int
command_backup(struct client *client, char **words, size_t n, struct err *err)
{
	struct backup backup = { .dir = client_options(client)->state_dir };
	char *temporary = NULL;
	int rc = -1;

	(void)n;
	backup.piece = malloc(COPY_BYTES);
	if (backup.piece == NULL || asprintf(&temporary, "%s.%d~", words[0], (int)getpid()) < 0) {
		temporary = NULL;
		err_nomem(err);
	} else {
		rc = write_archive(&backup, temporary, words[0], err);
	}
	free(temporary);
	free(backup.piece);
	return rc;
}
