/*
 * base/hash.h - hashing of bytes, and a table from text to pointer.
 */
#ifndef SCOTTY_BASE_HASH_H
#define SCOTTY_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/*
 * hash_stable never changes, over restarts and versions: it spreads polls over the interval.
 * hash_bytes is seeded at random once per process, as paths come from endpoints that may try to
 * make them collide.
 */
uint64_t hash_stable(struct str);
uint64_t hash_bytes(struct str);
/* Mixes b into a. */
uint64_t hash_mix(uint64_t a, uint64_t b);

/*
 * A table with open addressing. Keys are not copied: they must live as long as their entry, usually
 * inside the value. Owner locks.
 */
struct map_entry {
	struct str key;
	void *value; /* NULL = free slot */
	uint64_t hash;
};

struct map {
	struct map_entry *slots;
	size_t cap, len;
};

void map_init(struct map *);
void map_fini(struct map *); /* the values are the owner's business */
void *map_get(const struct map *, struct str key);
/* Adds or replaces; value must not be NULL. 0, or -1 when out of memory (map unchanged). */
int map_put(struct map *, struct str key, void *value);
/* Takes it out and returns it; NULL if not there. */
void *map_del(struct map *, struct str key);
/* Each entry in no set order: start with *pos = 0; NULL at the end. No put or del meanwhile. */
const struct map_entry *map_next(const struct map *, size_t *pos);

#endif
