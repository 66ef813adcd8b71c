/*
 * base/arena.h - memory that is given back all at once: what one poll or one request needs.
 *
 * Blocks are aligned to 8 bytes and not zeroed. A reset keeps the largest chunk, so an endpoint's
 * next poll seldom needs the heap, and at most 1 MiB.
 *
 * Threads: an arena belongs to its owner.
 */
#ifndef SCOTTY_BASE_ARENA_H
#define SCOTTY_BASE_ARENA_H

#include <stddef.h>

#include "base/str.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* newest first */
	char *next, *end;           /* free part of the newest */
	size_t used_bytes;          /* taken from the heap for this arena */
	size_t limit_bytes;         /* most it may take; 0 = no limit */
};

void arena_init(struct arena *, size_t limit_bytes);
void arena_fini(struct arena *);
void arena_reset(struct arena *);
/* NULL when the heap or the limit is used up. size 0 gives a valid pointer. */
void *arena_alloc(struct arena *, size_t size);
/* n * size with overflow checked. */
void *arena_array(struct arena *, size_t n, size_t size);
/* A copy; .p is NULL (and .len 0) when out of memory, else ended by a NUL beyond .len. */
struct str arena_copy(struct arena *, struct str);

#endif
