#include "journal/files_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "journal/segment_priv.h"

#define ASIDE_NAME_BYTES 64

int
files_open_dir(const char *state_dir, const char *name, struct err *err)
{
	int state_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;

	if (state_fd < 0) {
		err_errno(err, errno, "open %s", state_dir);
		return -1;
	}
	/* A directory that a power cut takes takes along all that was synced in it. */
	if ((mkdirat(state_fd, name, 0700) == 0 || errno == EEXIST) && fsync(state_fd) == 0)
		fd = openat(state_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		err_errno(err, errno, "open %s/%s", state_dir, name);
	close(state_fd);
	return fd;
}

int
files_renew_dir(int fd, const char *state_dir, const char *name, struct err *err)
{
	struct stat st;
	int now;

	if (fd >= 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
		return fd;
	now = files_open_dir(state_dir, name, err);
	if (fd < 0 || now < 0)
		return now;
	if (dup3(now, fd, O_CLOEXEC) < 0) {
		err_errno(err, errno, "open %s/%s", state_dir, name);
		fd = -1;
	}
	close(now);
	return fd;
}

int
segment_files_add(struct segment_files *files, struct segment_file file, struct err *err)
{
	if (files->len == files->cap) {
		size_t cap = files->cap == 0 ? 32 : files->cap * 2;
		struct segment_file *grown = realloc(files->files, cap * sizeof(*grown));

		if (grown == NULL) {
			err_nomem(err);
			return -1;
		}
		files->files = grown;
		files->cap = cap;
	}
	files->files[files->len++] = file;
	files->bytes += file.bytes;
	return 0;
}

static int
note_name(struct segment_files *files, int dir_fd, enum segment_kind kind, const char *name,
    struct err *err)
{
	uint64_t number;
	struct stat st;

	/* Those set aside have numbers too, which are not used again. */
	if (strlen(name) < 12 || !str_to_u64(str_sub(str_of(name), 0, 12), &number))
		return 0;
	if (files->next_number <= number)
		files->next_number = number + 1;
	if (!segment_parse_name(name, kind, &number))
		return 0;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
		return 0;
	return segment_files_add(files,
	    (struct segment_file){ .kind = kind,
	        .number = number,
	        .bytes = (uint64_t)st.st_size,
	        .written_ns = st.st_mtim.tv_sec * NS_PER_S + st.st_mtim.tv_nsec },
	    err);
}

static int
by_number(const void *a, const void *b)
{
	const struct segment_file *x = a, *y = b;

	return (x->number > y->number) - (x->number < y->number);
}

int
segment_files_list(struct segment_files *files, int dir_fd, enum segment_kind kind, struct err *err)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	*files = (struct segment_files){ .next_number = 1 };
	if (dir == NULL) {
		err_errno(err, errno, "list the journal");
		if (fd >= 0)
			close(fd);
		return -1;
	}
	while (rc == 0 && (errno = 0, entry = readdir(dir)) != NULL)
		rc = note_name(files, dir_fd, kind, entry->d_name, err);
	if (rc == 0 && errno != 0) {
		err_errno(err, errno, "list the journal");
		rc = -1;
	}
	closedir(dir);
	if (files->len > 0)
		qsort(files->files, files->len, sizeof(*files->files), by_number);
	return rc;
}

void
segment_files_free(struct segment_files *files)
{
	free(files->files);
}

static void
aside_name(char name[ASIDE_NAME_BYTES], const char *segment, int64_t real_ns)
{
	char date[32];
	time_t seconds = (time_t)(real_ns / NS_PER_S);
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y%m%dT%H%M%SZ", &tm);
	snprintf(name, ASIDE_NAME_BYTES, "%s.damaged-%s", segment, date);
}

/* The bytes from offset on, to a new file, durably. */
static int
copy_tail(int from, int to, uint64_t offset)
{
	char bytes[16384];

	for (;;) {
		ssize_t n = pread(from, bytes, sizeof(bytes), (off_t)offset), done = 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (n == 0)
			return fsync(to);
		while (done < n) {
			ssize_t written = write(to, bytes + done, (size_t)(n - done));

			if (written <= 0 && errno != EINTR)
				return -1;
			if (written > 0)
				done += written;
		}
		offset += (uint64_t)n;
	}
}

static int
move_tail(int dir_fd, const char *name, const char *aside, uint64_t good_bytes)
{
	int from = openat(dir_fd, name, O_RDWR | O_CLOEXEC);
	int to =
	    from < 0 ? -1 : openat(dir_fd, aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int rc = -1;

	if (to >= 0 && copy_tail(from, to, good_bytes) == 0 && fsync(dir_fd) == 0) {
		CRASH_POINT("tail copied");
		if (ftruncate(from, (off_t)good_bytes) == 0 && fsync(from) == 0)
			rc = 0;
	}
	if (rc != 0 && to >= 0) {
		int errnum = errno;

		unlinkat(dir_fd, aside, 0);
		errno = errnum;
	}
	if (to >= 0)
		close(to);
	if (from >= 0)
		close(from);
	return rc;
}

int
files_set_aside(int dir_fd, enum segment_kind kind, uint64_t number, uint64_t good_bytes,
    int64_t real_ns, struct err *err)
{
	char name[SEGMENT_NAME_BYTES], aside[ASIDE_NAME_BYTES];
	int rc;

	segment_name(name, kind, number);
	aside_name(aside, name, real_ns);
	if (good_bytes == 0)
		rc = renameat(dir_fd, name, dir_fd, aside);
	else
		rc = move_tail(dir_fd, name, aside, good_bytes);
	if (rc != 0)
		err_errno(err, errno, "set aside %s", name);
	return rc;
}

uint64_t
files_most_bytes(int dir_fd, uint64_t bytes, double percent)
{
	struct statvfs fs;

	if (percent == 0)
		return bytes;
	/* What can't be told now is told the next time. */
	if (fstatvfs(dir_fd, &fs) != 0)
		return UINT64_MAX;
	return (uint64_t)((double)fs.f_blocks * (double)fs.f_frsize * percent / 100);
}

size_t
files_drop_old(int dir_fd, uint64_t most_bytes, int64_t before_ns)
{
	struct segment_files files;
	size_t dropped = 0, old = 0;
	struct err err;

	if (segment_files_list(&files, dir_fd, SEGMENT_JOURNAL, &err) != 0)
		files.len = 0;
	while (dropped + 1 < files.len) {
		const struct segment_file *file = &files.files[dropped];
		bool too_old = file->written_ns < before_ns && dropped + 2 < files.len && old < 2;
		char name[SEGMENT_NAME_BYTES];

		if (files.bytes <= most_bytes && !too_old)
			break;
		segment_name(name, SEGMENT_JOURNAL, file->number);
		if (unlinkat(dir_fd, name, 0) != 0)
			break;
		CRASH_POINT("segment dropped");
		files.bytes -= file->bytes;
		old += too_old;
		dropped++;
	}
	segment_files_free(&files);
	return dropped;
}
