#include "store/sorted_priv.h"

#include <stdlib.h>

#include "store/iter.h"
#include "store/store_priv.h"

void
sorted_unref(struct sorted_sets *sorted)
{
	if (sorted == NULL || atomic_fetch_sub(&sorted->refs, 1) != 1)
		return;
	for (size_t i = 0; i < sorted->len; i++)
		series_set_unref(sorted->sets[i]);
	free(sorted);
}

void
sorted_drop(struct store *store)
{
	store->set_changes++;
	sorted_unref(store->sorted);
	store->sorted = NULL;
}

/* The list with a reference, or NULL. REQUIRES the store's lock. */
static struct sorted_sets *
take(struct store *store)
{
	if (store->sorted != NULL)
		atomic_fetch_add(&store->sorted->refs, 1);
	return store->sorted;
}

/* References to all sets, if there is room. REQUIRES the store's lock. */
static bool
copy_sets(const struct store *store, struct sorted_sets *sorted, size_t room)
{
	const struct map_entry *entry;
	size_t pos = 0;

	if (store->sets.len > room)
		return false;
	while ((entry = map_next(&store->sets, &pos)) != NULL)
		sorted->sets[sorted->len++] = series_set_ref(entry->value);
	return true;
}

static int
cmp_sets(const void *a, const void *b)
{
	const struct series_set *x = *(struct series_set *const *)a;
	const struct series_set *y = *(struct series_set *const *)b;
	int order = str_cmp(x->host, y->host);

	return order != 0 ? order : str_cmp(x->app, y->app);
}

/* A list of the sets of this moment, not sorted yet. NULL: out of memory. */
static struct sorted_sets *
collect(struct store *store, uint64_t *set_changes)
{
	struct sorted_sets *sorted = NULL;
	size_t room = 0;
	bool done = false;

	while (!done) {
		free(sorted);
		sorted = malloc(sizeof(*sorted) + room * sizeof(struct series_set *));
		if (sorted == NULL)
			return NULL;
		atomic_init(&sorted->refs, 1);
		sorted->len = 0;
		lock_take(&store->lock);
		done = copy_sets(store, sorted, room);
		room = store->sets.len;
		*set_changes = store->set_changes;
		lock_drop(&store->lock);
	}
	return sorted;
}

int
sets_snapshot(struct store *store, struct series_set *const **out, size_t *n, struct err *err)
{
	struct sorted_sets *sorted;
	uint64_t set_changes;

	lock_take(&store->lock);
	sorted = take(store);
	lock_drop(&store->lock);
	if (sorted == NULL) {
		sorted = collect(store, &set_changes);
		if (sorted == NULL) {
			err_nomem(err);
			return -1;
		}
		qsort(sorted->sets, sorted->len, sizeof(struct series_set *), cmp_sets);
		lock_take(&store->lock);
		if (store->sorted == NULL && store->set_changes == set_changes) {
			store->sorted = sorted;
			take(store);
		}
		lock_drop(&store->lock);
	}
	*out = sorted->sets;
	*n = sorted->len;
	return 0;
}

void
sets_free(struct series_set *const *sets, size_t n)
{
	(void)n;
	if (sets != NULL)
		sorted_unref(CONTAINER_OF(sets, struct sorted_sets, sets));
}
