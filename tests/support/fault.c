#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

static _Thread_local unsigned countdown;
static _Thread_local bool happened;

void
fault_malloc(unsigned nth)
{
	countdown = nth;
	happened = false;
}

bool
fault_happened(void)
{
	return happened;
}

static bool
fails(void)
{
	if (countdown == 0 || --countdown != 0)
		return false;
	happened = true;
	errno = ENOMEM;
	return true;
}

/* The linker turns each call of f into __wrap_f, and __real_f into f. */
#define WRAP(type, name, params, args)                                                             \
	type __real_##name params;                                                                 \
	type __wrap_##name params;                                                                 \
	type __wrap_##name params                                                                  \
	{                                                                                          \
		if (fails())                                                                       \
			return NULL;                                                               \
		return __real_##name args;                                                         \
	}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wundef"
__attribute__((weak)) void *__real_malloc(size_t);
__attribute__((weak)) void *__real_calloc(size_t, size_t);
__attribute__((weak)) void *__real_realloc(void *, size_t);
__attribute__((weak)) char *__real_strdup(const char *);
__attribute__((weak)) char *__real_strndup(const char *, size_t);
__attribute__((weak)) void *__real_aligned_alloc(size_t, size_t);

WRAP(void *, malloc, (size_t n), (n))
WRAP(void *, calloc, (size_t n, size_t size), (n, size))
WRAP(void *, realloc, (void *p, size_t n), (p, n))
WRAP(char *, strdup, (const char *s), (s))
WRAP(char *, strndup, (const char *s, size_t n), (s, n))
WRAP(void *, aligned_alloc, (size_t align, size_t n), (align, n))
#pragma GCC diagnostic pop

int
fault_open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	if (dir == NULL)
		return -1;
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n - 3; /* ".", ".." and the directory itself */
}
