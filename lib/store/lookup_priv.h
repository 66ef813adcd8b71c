/*
 * store/lookup_priv.h - from a hash to the ordinals of what has it: a table with open addressing
 * that costs 8 bytes a slot. The owner keeps the things in an array and compares them itself.
 *
 * Threads: the owner's.
 */
#ifndef SCOTTY_STORE_LOOKUP_PRIV_H
#define SCOTTY_STORE_LOOKUP_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store;

struct lookup_slot {
	uint32_t hash;
	uint32_t place; /* ordinal + 1; 0 = free */
};

struct lookup { /* all zero: empty */
	struct lookup_slot *slots;
	size_t cap; /* 0 or a power of two */
};

/* Makes room for len ordinals in all. -1 with ERR_NOMEM, ERR_LIMIT. */
int lookup_reserve(struct store *, struct lookup *, size_t len, struct err *);
void lookup_fini(struct store *, struct lookup *);

/* There is room for it. */
void lookup_add(struct lookup *, uint64_t hash, uint32_t ordinal);
/* The next ordinal that may have this hash; start with *step = 0. False when there is none. */
bool lookup_next(const struct lookup *, uint64_t hash, size_t *step, uint32_t *ordinal);

#endif
