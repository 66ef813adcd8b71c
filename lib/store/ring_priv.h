/*
 * store/ring_priv.h - a queue of small things that come and go in order: what waits outside a log's
 * rows until they are given up.
 *
 * Threads: the owner locks.
 */
#ifndef SCOTTY_STORE_RING_PRIV_H
#define SCOTTY_STORE_RING_PRIV_H

#include <stdint.h>

#include "store/blob_priv.h"

struct memory_want;

/* One thing that a row has to do with. */
struct ring_item {
	uint32_t row, at; /* number of the row; position */
	struct blob *blob;
};

struct ring {
	struct ring_item *items;
	uint32_t first, len, cap; /* cap: a power of two, or 0 */
};

static inline struct ring_item *
ring_at(const struct ring *ring, uint32_t i)
{
	return &ring->items[(ring->first + i) & (ring->cap - 1)];
}

/* Makes room for n more. False: try again once there is memory. */
bool ring_reserve(struct store *, struct ring *, size_t n, struct memory_want *);
/* There is room. */
void ring_push(struct ring *, struct ring_item);
/* The first one leaves; memory that is of no use any more is given back. */
struct ring_item ring_pop(struct store *, struct ring *);
/* The first whose row is not before row. */
uint32_t ring_find(const struct ring *, uint32_t row);

#endif
