#include "fault_io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static _Thread_local unsigned before, left;
static _Thread_local int error;
static _Thread_local bool happened;

void
fault_io(unsigned nth, unsigned count, int errnum)
{
	before = nth;
	left = nth == 0 ? 0 : count;
	error = errnum;
	happened = false;
}

bool
fault_io_happened(void)
{
	return happened;
}

static bool
fails(void)
{
	if (before == 0 || (before > 1 && --before > 0) || left == 0)
		return false;
	left--;
	happened = true;
	errno = error;
	return true;
}

/* The linker turns each call of f into __wrap_f, and __real_f into f. */
int __real_openat(int, const char *, int, ...);
int __wrap_openat(int dir_fd, const char *path, int flags, ...);
ssize_t __real_write(int, const void *, size_t);
ssize_t __wrap_write(int fd, const void *p, size_t n);
ssize_t __real_writev(int, const struct iovec *, int);
ssize_t __wrap_writev(int fd, const struct iovec *parts, int n);

int
__wrap_openat(int dir_fd, const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
	va_end(args);
	return fails() ? -1 : __real_openat(dir_fd, path, flags, mode);
}

ssize_t
__wrap_write(int fd, const void *p, size_t n)
{
	return fails() ? -1 : __real_write(fd, p, n);
}

ssize_t
__wrap_writev(int fd, const struct iovec *parts, int n)
{
	if (!fails())
		return __real_writev(fd, parts, n);
	if (error == ENOSPC && parts[0].iov_len > 5) {
		(void)!__real_write(fd, parts[0].iov_base, 5);
		errno = error;
	}
	return -1;
}

#define WRAP(name, params, args)                                                                   \
	int __real_##name params;                                                                  \
	int __wrap_##name params;                                                                  \
	int __wrap_##name params                                                                   \
	{                                                                                          \
		return fails() ? -1 : __real_##name args;                                          \
	}

WRAP(fsync, (int fd), (fd))
WRAP(fdatasync, (int fd), (fd))
WRAP(ftruncate, (int fd, off_t n), (fd, n))
WRAP(renameat, (int a, const char *b, int c, const char *d), (a, b, c, d))
WRAP(unlinkat, (int a, const char *b, int c), (a, b, c))
WRAP(mkdirat, (int a, const char *b, mode_t c), (a, b, c))
