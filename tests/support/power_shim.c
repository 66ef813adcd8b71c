/*
 * Preloaded into a program whose power is to be cut: writes down what it does to files below a
 * directory (SCOTTY_POWER_DIR), in the order in which it is done, to a file (SCOTTY_POWER_LOG). A
 * test makes of that what a disk may hold that lost some of what was not synced.
 *
 * Each record is a line, "OPERATION NS INODE OFFSET BYTES PATH", with the time since 1970, and so
 * many bytes behind it: what was written, or the second path of a rename. Only the calls that
 * scottyd and SQLite use are known.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *dir;
static int log_fd = -1;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void
open_log(void)
{
	const char *path = getenv("SCOTTY_POWER_LOG");

	dir = getenv("SCOTTY_POWER_DIR");
	if (path != NULL)
		log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (dir == NULL || log_fd < 0)
		abort(); /* a test without it would test nothing */
}

static bool
is_ours(const char *path)
{
	size_t n = strlen(dir);

	return strncmp(path, dir, n) == 0 && (path[n] == '/' || path[n] == 0);
}

static bool
path_of_fd(int fd, char path[PATH_MAX])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, PATH_MAX - 1);
	path[n < 0 ? 0 : n] = 0;
	return n > 0 && is_ours(path);
}

static bool
path_at(int dir_fd, const char *name, char path[PATH_MAX])
{
	char at[PATH_MAX] = "";

	if (name[0] == '/') {
		snprintf(path, PATH_MAX, "%s", name);
		return is_ours(path);
	}
	if (dir_fd == AT_FDCWD || !path_of_fd(dir_fd, at))
		return false;
	return snprintf(path, PATH_MAX, "%s/%s", at, name) < PATH_MAX;
}

static void
put(const void *p, size_t n)
{
	if (REAL(write)(log_fd, p, n) != (ssize_t)n)
		abort();
}

/* The lock is held, so that what is done and what is written down have the same order. */
static void
note(const char *what, uint64_t inode, int64_t offset, const char *path, const void *p, size_t n)
{
	int errnum = errno;
	char line[PATH_MAX + 128];
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	snprintf(line, sizeof(line), "%s %lld %llu %lld %zu %s\n", what,
	    (long long)(ts.tv_sec * NS_PER_S + ts.tv_nsec), (unsigned long long)inode,
	    (long long)offset, n, path);
	put(line, strlen(line));
	if (n > 0)
		put(p, n);
	errno = errnum;
}

static uint64_t
inode_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

/* What was written, where it is now. */
static void
note_written(int fd, int64_t offset, const void *p, ssize_t n)
{
	char path[PATH_MAX];

	if (n > 0 && path_of_fd(fd, path))
		note("write", inode_of(fd), offset, path, p, (size_t)n);
}

typedef int (*open_fn)(int, const char *, int, ...);

static int
do_open(open_fn real, int dir_fd, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX];
	bool ours = path_at(dir_fd, name, path), was;
	int fd;

	pthread_mutex_lock(&lock);
	was = !ours || access(path, F_OK) == 0;
	fd = real(dir_fd, name, flags, mode);
	if (fd >= 0 && !was)
		note("create", inode_of(fd), 0, path, NULL, 0);
	if (fd >= 0 && ours && was && (flags & O_TRUNC) != 0)
		note("cut", inode_of(fd), 0, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	return fd;
}

static mode_t
mode_of(int flags, va_list args)
{
	return (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
}

#define OPEN_AT(name)                                                                              \
	int name(int dir_fd, const char *path, int flags, ...)                                     \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return do_open(REAL(openat), dir_fd, path, flags, mode);                           \
	}
#define OPEN(name)                                                                                 \
	int name(const char *path, int flags, ...)                                                 \
	{                                                                                          \
		va_list args;                                                                      \
		mode_t mode;                                                                       \
                                                                                                   \
		va_start(args, flags);                                                             \
		mode = mode_of(flags, args);                                                       \
		va_end(args);                                                                      \
		return do_open(REAL(openat), AT_FDCWD, path, flags, mode);                         \
	}
OPEN_AT(openat)
OPEN_AT(openat64)
OPEN(open)
OPEN(open64)

ssize_t
write(int fd, const void *p, size_t len)
{
	ssize_t n;

	pthread_mutex_lock(&lock);
	n = REAL(write)(fd, p, len);
	note_written(fd, n > 0 ? lseek(fd, 0, SEEK_CUR) - n : 0, p, n);
	pthread_mutex_unlock(&lock);
	return n;
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
	ssize_t n, left;
	int64_t at;

	pthread_mutex_lock(&lock);
	n = left = REAL(writev)(fd, parts, count);
	at = n > 0 ? lseek(fd, 0, SEEK_CUR) - n : 0;
	for (int i = 0; i < count && left > 0; i++) {
		ssize_t len = (ssize_t)parts[i].iov_len < left ? (ssize_t)parts[i].iov_len : left;

		note_written(fd, at, parts[i].iov_base, len);
		at += len;
		left -= len;
	}
	pthread_mutex_unlock(&lock);
	return n;
}

#define PWRITE(name)                                                                               \
	ssize_t name(int fd, const void *p, size_t len, off_t at)                                  \
	{                                                                                          \
		ssize_t n;                                                                         \
                                                                                                   \
		pthread_mutex_lock(&lock);                                                         \
		n = REAL(name)(fd, p, len, at);                                                    \
		note_written(fd, at, p, n);                                                        \
		pthread_mutex_unlock(&lock);                                                       \
		return n;                                                                          \
	}
PWRITE(pwrite)
PWRITE(pwrite64)

#define FD_CALL(name, params, args, what, offset)                                                  \
	int name params                                                                            \
	{                                                                                          \
		char path[PATH_MAX];                                                               \
		int rc;                                                                            \
                                                                                                   \
		pthread_mutex_lock(&lock);                                                         \
		rc = REAL(name) args;                                                              \
		if (rc == 0 && path_of_fd(fd, path))                                               \
			note(what, inode_of(fd), offset, path, NULL, 0);                           \
		pthread_mutex_unlock(&lock);                                                       \
		return rc;                                                                         \
	}
FD_CALL(fsync, (int fd), (fd), "sync", 0)
FD_CALL(fdatasync, (int fd), (fd), "sync", 0)
FD_CALL(ftruncate, (int fd, off_t len), (fd, len), "cut", len)
FD_CALL(ftruncate64, (int fd, off_t len), (fd, len), "cut", len)

static int
do_rename(int from_fd, const char *from, int to_fd, const char *to)
{
	char path[PATH_MAX], other[PATH_MAX];
	bool ours = path_at(from_fd, from, path) && path_at(to_fd, to, other);
	int rc;

	pthread_mutex_lock(&lock);
	rc = REAL(renameat)(from_fd, from, to_fd, to);
	if (rc == 0 && ours)
		note("rename", 0, 0, path, other, strlen(other));
	pthread_mutex_unlock(&lock);
	return rc;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	return do_rename(from_fd, from, to_fd, to);
}

int
rename(const char *from, const char *to)
{
	return do_rename(AT_FDCWD, from, AT_FDCWD, to);
}

static int
do_unlink(int dir_fd, const char *name, int flags)
{
	char path[PATH_MAX];
	bool ours = path_at(dir_fd, name, path);
	int rc;

	pthread_mutex_lock(&lock);
	rc = REAL(unlinkat)(dir_fd, name, flags);
	if (rc == 0 && ours)
		note("unlink", 0, 0, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int
unlinkat(int dir_fd, const char *name, int flags)
{
	return do_unlink(dir_fd, name, flags);
}

int
unlink(const char *name)
{
	return do_unlink(AT_FDCWD, name, 0);
}

int
mkdirat(int dir_fd, const char *name, mode_t mode)
{
	char path[PATH_MAX];
	bool ours = path_at(dir_fd, name, path);
	int rc;

	pthread_mutex_lock(&lock);
	rc = REAL(mkdirat)(dir_fd, name, mode);
	if (rc == 0 && ours)
		note("mkdir", 0, 0, path, NULL, 0);
	pthread_mutex_unlock(&lock);
	return rc;
}

int
mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}
