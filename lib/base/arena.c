#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES       8
#define FIRST_CHUNK_BYTES (4 * 1024)
#define MOST_CHUNK_BYTES  (256 * 1024)
#define MOST_KEPT_BYTES   (1024 * 1024)

struct arena_chunk {
	struct arena_chunk *next;
	size_t bytes; /* of the heap block, this head included */
	alignas(ALIGN_BYTES) char data[];
};

void
arena_init(struct arena *a, size_t limit_bytes)
{
	*a = (struct arena){ .limit_bytes = limit_bytes };
}

static void
chunks_free(struct arena_chunk *chunk)
{
	while (chunk != NULL) {
		struct arena_chunk *next = chunk->next;

		free(chunk);
		chunk = next;
	}
}

void
arena_fini(struct arena *a)
{
	chunks_free(a->chunks);
	arena_init(a, a->limit_bytes);
}

/* Makes all of the newest chunk free. */
static void
use_newest(struct arena *a)
{
	a->next = a->chunks->data;
	a->end = (char *)a->chunks + a->chunks->bytes;
}

void
arena_reset(struct arena *a)
{
	struct arena_chunk **kept_at = NULL, *kept;

	for (struct arena_chunk **at = &a->chunks; *at != NULL; at = &(*at)->next) {
		if ((*at)->bytes <= MOST_KEPT_BYTES &&
		    (kept_at == NULL || (*at)->bytes > (*kept_at)->bytes))
			kept_at = at;
	}
	if (kept_at == NULL) {
		arena_fini(a);
		return;
	}
	kept = *kept_at;
	*kept_at = kept->next;
	chunks_free(a->chunks);
	kept->next = NULL;
	a->chunks = kept;
	a->used_bytes = kept->bytes;
	use_newest(a);
}

static size_t
left_bytes(const struct arena *a)
{
	size_t limit = a->limit_bytes == 0 ? SIZE_MAX : a->limit_bytes;

	/* The limit may have been set below what was used already. */
	return limit > a->used_bytes ? limit - a->used_bytes : 0;
}

static struct arena_chunk *
chunk_new(struct arena *a, size_t bytes)
{
	struct arena_chunk *chunk = malloc(bytes);

	if (chunk == NULL)
		return NULL;
	chunk->bytes = bytes;
	a->used_bytes += bytes;
	return chunk;
}

static size_t
next_chunk_bytes(const struct arena *a)
{
	size_t bytes = a->chunks == NULL ? FIRST_CHUNK_BYTES : a->chunks->bytes * 2;

	return bytes < MOST_CHUNK_BYTES ? bytes : MOST_CHUNK_BYTES;
}

/* A block with a chunk to itself, behind the newest, whose free part stays in use. */
static void *
alloc_alone(struct arena *a, size_t needed)
{
	struct arena_chunk *chunk = chunk_new(a, needed);

	if (chunk == NULL)
		return NULL;
	if (a->chunks == NULL) {
		chunk->next = NULL;
		a->chunks = chunk;
	} else {
		chunk->next = a->chunks->next;
		a->chunks->next = chunk;
	}
	return chunk->data;
}

static void *
alloc_slow(struct arena *a, size_t size)
{
	size_t needed = sizeof(struct arena_chunk) + size;
	size_t bytes = next_chunk_bytes(a), left = left_bytes(a);
	struct arena_chunk *chunk;

	if (needed > left)
		return NULL;
	if (needed > bytes / 2)
		return alloc_alone(a, needed);
	chunk = chunk_new(a, bytes < left ? bytes : left & ~(size_t)(ALIGN_BYTES - 1));
	if (chunk == NULL)
		return NULL;
	chunk->next = a->chunks;
	a->chunks = chunk;
	use_newest(a);
	a->next += size;
	return chunk->data;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	char *p = a->next;

	if (size > PTRDIFF_MAX - sizeof(struct arena_chunk) - ALIGN_BYTES)
		return NULL;
	size = size == 0 ? ALIGN_BYTES : (size + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
	if (size > (size_t)(a->end - a->next))
		return alloc_slow(a, size);
	a->next += size;
	return p;
}

void *
arena_array(struct arena *a, size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		return NULL;
	return arena_alloc(a, bytes);
}

struct str
arena_copy(struct arena *a, struct str s)
{
	char *copy = s.len == SIZE_MAX ? NULL : arena_alloc(a, s.len + 1);

	if (copy == NULL)
		return STR_EMPTY;
	if (s.len > 0)
		memcpy(copy, s.p, s.len);
	copy[s.len] = '\0';
	return (struct str){ copy, s.len };
}
