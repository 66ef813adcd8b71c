#include "store/ring_priv.h"

#include <assert.h>
#include <string.h>

#include "store/store_priv.h"

#define FIRST_CAP 4
/* What is smaller does not shrink: the heap would be full of holes that are of no use. */
#define SMALL_CAP 256

bool
ring_reserve(struct store *store, struct ring *ring, size_t n, struct memory_want *want)
{
	struct ring grown = { .cap = ring->cap == 0 ? FIRST_CAP : ring->cap };

	while (grown.cap < ring->len + n)
		grown.cap *= 2;
	if (grown.cap == ring->cap || n == 0)
		return true;
	grown.items = memory_try(store, grown.cap * sizeof(*grown.items), want);
	if (grown.items == NULL)
		return false;
	for (; grown.len < ring->len; grown.len++)
		grown.items[grown.len] = *ring_at(ring, grown.len);
	memory_free(store, ring->items, ring->cap * sizeof(*ring->items));
	*ring = grown;
	return true;
}

void
ring_push(struct ring *ring, struct ring_item item)
{
	assert(ring->len < ring->cap);
	*ring_at(ring, ring->len++) = item;
}

/*
 * Gives back half of the room of a ring that needs no more than a quarter: else what grew once
 * would stay, with nothing in it, when pages are taken away for other streams.
 */
static void
shrink(struct store *store, struct ring *ring)
{
	uint32_t first = ring->first & (ring->cap - 1);
	uint32_t wrapped = first + ring->len > ring->cap ? first + ring->len - ring->cap : 0;
	uint32_t unwrapped = ring->len - wrapped;

	memmove(ring->items + unwrapped, ring->items, wrapped * sizeof(*ring->items));
	memmove(ring->items, ring->items + first, unwrapped * sizeof(*ring->items));
	ring->first = 0;
	ring->items = memory_shrink(store, ring->items, ring->cap * sizeof(*ring->items),
	    ring->cap / 2 * sizeof(*ring->items));
	ring->cap /= 2;
}

struct ring_item
ring_pop(struct store *store, struct ring *ring)
{
	struct ring_item item = *ring_at(ring, 0);

	ring->first++;
	if (--ring->len == 0) {
		memory_free(store, ring->items, ring->cap * sizeof(*ring->items));
		*ring = (struct ring){ .items = NULL };
	} else if (ring->cap > SMALL_CAP && ring->len <= ring->cap / 4) {
		shrink(store, ring);
	}
	return item;
}

uint32_t
ring_find(const struct ring *ring, uint32_t row)
{
	uint32_t low = 0, high = ring->len;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (ring_at(ring, mid)->row < row)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
