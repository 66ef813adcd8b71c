/*
 * store/sorted_priv.h - all sets by host and application, as a list that never changes: all who ask
 * share it until a set comes or goes.
 *
 * Threads: any. Locks taken: none; the store's lock guards store->sorted.
 */
#ifndef SCOTTY_STORE_SORTED_PRIV_H
#define SCOTTY_STORE_SORTED_PRIV_H

#include <stdatomic.h>

#include "store/set_priv.h"

struct sorted_sets {
	_Atomic uint64_t refs;
	size_t len;
	struct series_set *sets[]; /* references */
};

void sorted_unref(struct sorted_sets *); /* NULL is fine */
/* The list is no longer right. REQUIRES the store's lock. */
void sorted_drop(struct store *);

#endif
