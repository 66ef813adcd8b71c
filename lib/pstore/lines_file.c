#include "pstore/lines_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void
lines_file_init(struct lines_file *f, const char *path, uint64_t max_bytes, unsigned keep)
{
	*f = (struct lines_file){ .path = path, .max_bytes = max_bytes, .keep = keep, .fd = -1 };
}

void
lines_file_fini(struct lines_file *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Where the last whole line of a file of that size ends; -1: it can't be read. */
static off_t
whole_lines(int fd, off_t size)
{
	char block[4096];

	while (size > 0) {
		off_t from = (size - 1) / (off_t)sizeof(block) * (off_t)sizeof(block);
		ssize_t n = pread(fd, block, (size_t)(size - from), from);

		if (n != size - from)
			return -1;
		while (n > 0 && block[n - 1] != '\n')
			n--;
		if (n > 0)
			return from + n;
		size = from;
	}
	return 0;
}

/*
 * A process that died while it wrote may have left half a line, behind which the next one must not
 * go. What it was of was not acknowledged, and comes again.
 */
static int
cut_half_line(struct lines_file *f, off_t size)
{
	off_t end = whole_lines(f->fd, size);

	if (end < 0 || (end < size && ftruncate(f->fd, end) != 0))
		return -1;
	f->size = (uint64_t)end;
	return 0;
}

static int
refuse(const char *path, struct err *err)
{
	err_set(err, ERR_CONFIG, "%s: is no regular file; name another one", path);
	return -1;
}

/* -1 if the path leads to something that is no regular file; nothing there is fine. */
static int
check_regular(const char *path, struct err *err)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return S_ISREG(st.st_mode) ? 0 : refuse(path, err);
	if (errno == ENOENT)
		return 0;
	err_errno(err, errno, "%s", path);
	return -1;
}

static int
open_file(struct lines_file *f, struct err *err)
{
	struct stat st;

	/* To open a device may do something already. */
	if (check_regular(f->path, err) != 0)
		return -1;
	/* It may have changed since: a pipe that nobody reads would be waited for. */
	f->size = 0;
	f->fd =
	    open(f->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (f->fd < 0 || fstat(f->fd, &st) != 0 ||
	    (S_ISREG(st.st_mode) && cut_half_line(f, st.st_size) != 0)) {
		err_errno(err, errno, "%s", f->path);
		lines_file_fini(f);
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		lines_file_fini(f);
		return refuse(f->path, err);
	}
	return 0;
}

/* The i-th name, 0 = PATH itself. */
static int
put_name(const struct lines_file *f, unsigned i, char *out, size_t size, struct err *err)
{
	int len =
	    i == 0 ? snprintf(out, size, "%s", f->path) : snprintf(out, size, "%s.%u", f->path, i);

	if (len >= 0 && (size_t)len < size)
		return 0;
	err_set(err, ERR_IO, "%s: name too long", f->path);
	return -1;
}

/* All names that a rotation would take or replace. */
static int
check_names(const struct lines_file *f, struct err *err)
{
	char name[PATH_MAX];

	for (unsigned i = 0; i <= f->keep; i++) {
		if (put_name(f, i, name, sizeof(name), err) != 0 || check_regular(name, err) != 0)
			return -1;
	}
	return 0;
}

/* NAME becomes NAME.1, that NAME.2, and so on; the last one goes. */
static int
rotate(struct lines_file *f, struct err *err)
{
	char from[PATH_MAX], to[PATH_MAX];

	lines_file_fini(f);
	if (check_names(f, err) != 0)
		return -1;
	for (unsigned i = f->keep; i > 0; i--) {
		if (put_name(f, i - 1, from, sizeof(from), err) != 0 ||
		    put_name(f, i, to, sizeof(to), err) != 0)
			return -1;
		if (rename(from, to) != 0 && errno != ENOENT) {
			err_errno(err, errno, "rename %s to %s", from, to);
			return -1;
		}
	}
	if (f->keep == 0 && unlink(f->path) != 0 && errno != ENOENT) {
		err_errno(err, errno, "%s", f->path);
		return -1;
	}
	return 0;
}

int
lines_file_add(struct lines_file *f, struct str lines, struct err *err)
{
	size_t done = 0;

	if (f->fd < 0 && open_file(f, err) != 0)
		return -1;
	if (f->size > 0 && f->size + lines.len > f->max_bytes &&
	    (rotate(f, err) != 0 || open_file(f, err) != 0))
		return -1;
	while (done < lines.len) {
		ssize_t n = write(f->fd, lines.p + done, lines.len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			err_errno(err, errno, "write to %s", f->path);
			if (ftruncate(f->fd, (off_t)f->size) != 0)
				lines_file_fini(f); /* half a line stays until it is opened */
			return -1;
		}
		done += (size_t)n;
	}
	f->size += lines.len;
	return 0;
}
