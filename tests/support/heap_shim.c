/*
 * Preloaded into a program whose memory is to be looked at: counts the bytes of its heap that are
 * in use, block by block. The file (SCOTTY_HEAP_FILE) has two 64-bit numbers: that count; and how
 * many blocks of LEAK_BYTES the program is to lose, one with each allocation, for the test that
 * shows that this is seen.
 */
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define LEAK_BYTES 1024

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

struct heap {
	_Atomic int64_t bytes, leaks;
};

static struct heap before; /* the file is mapped */
static struct heap *heap = &before;

static void *
count(void *p)
{
	if (p != NULL)
		heap->bytes += (int64_t)malloc_usable_size(p);
	if (heap->leaks > 0 && heap->leaks-- > 0)
		heap->bytes += (int64_t)malloc_usable_size(__libc_malloc(LEAK_BYTES));
	return p;
}

static void
discount(void *p)
{
	if (p != NULL)
		heap->bytes -= (int64_t)malloc_usable_size(p);
}

void *
malloc(size_t bytes)
{
	return count(__libc_malloc(bytes));
}

void *
calloc(size_t n, size_t bytes)
{
	return count(__libc_calloc(n, bytes));
}

void *
realloc(void *p, size_t bytes)
{
	int64_t had = p == NULL ? 0 : (int64_t)malloc_usable_size(p);
	void *moved = __libc_realloc(p, bytes);

	if (moved == NULL && bytes > 0)
		return NULL;
	heap->bytes -= had;
	return count(moved);
}

void *
memalign(size_t align, size_t bytes)
{
	return count(__libc_memalign(align, bytes));
}

void *
aligned_alloc(size_t align, size_t bytes)
{
	return memalign(align, bytes);
}

int
posix_memalign(void **p, size_t align, size_t bytes)
{
	*p = memalign(align, bytes);
	return *p == NULL ? 12 /* ENOMEM */ : 0;
}

void
free(void *p)
{
	discount(p);
	__libc_free(p);
}

__attribute__((constructor)) static void
map_file(void)
{
	const char *path = getenv("SCOTTY_HEAP_FILE");
	int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
	void *p = MAP_FAILED;

	if (fd >= 0)
		p = mmap(NULL, sizeof(*heap), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		abort(); /* a test without it would test nothing */
	heap = p;
	heap->bytes += before.bytes;
	close(fd);
}
