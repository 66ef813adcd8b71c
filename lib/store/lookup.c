#include "store/lookup_priv.h"

#include "store/store_priv.h"

#define FIRST_CAP 8

static void
add(struct lookup *lookup, struct lookup_slot slot)
{
	size_t at = slot.hash & (lookup->cap - 1);

	while (lookup->slots[at].place != 0)
		at = (at + 1) & (lookup->cap - 1);
	lookup->slots[at] = slot;
}

int
lookup_reserve(struct store *store, struct lookup *lookup, size_t len, struct err *err)
{
	struct lookup grown = { NULL, lookup->cap == 0 ? FIRST_CAP : lookup->cap };

	while (grown.cap / 4 * 3 < len)
		grown.cap *= 2;
	if (grown.cap == lookup->cap)
		return 0;
	grown.slots = memory_alloc(store, grown.cap * sizeof(*grown.slots), err);
	if (grown.slots == NULL)
		return -1;
	memset(grown.slots, 0, grown.cap * sizeof(*grown.slots));
	for (size_t i = 0; i < lookup->cap; i++) {
		if (lookup->slots[i].place != 0)
			add(&grown, lookup->slots[i]);
	}
	lookup_fini(store, lookup);
	*lookup = grown;
	return 0;
}

void
lookup_fini(struct store *store, struct lookup *lookup)
{
	memory_free(store, lookup->slots, lookup->cap * sizeof(*lookup->slots));
}

void
lookup_add(struct lookup *lookup, uint64_t hash, uint32_t ordinal)
{
	add(lookup, (struct lookup_slot){ (uint32_t)hash, ordinal + 1 });
}

bool
lookup_next(const struct lookup *lookup, uint64_t hash, size_t *step, uint32_t *ordinal)
{
	while (lookup->cap > 0) {
		size_t at = ((uint32_t)hash + (*step)++) & (lookup->cap - 1);

		if (lookup->slots[at].place == 0)
			return false;
		if (lookup->slots[at].hash == (uint32_t)hash) {
			*ordinal = lookup->slots[at].place - 1;
			return true;
		}
	}
	return false;
}
