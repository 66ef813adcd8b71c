#include "store/scratch_priv.h"

#include <stdlib.h>

#include "store/store_priv.h"

/* One that has grown beyond this is not kept. */
#define MOST_KEPT_POSITIONS 16384

static void
scratch_free(struct store *store, struct scratch *scratch)
{
	if (scratch == NULL)
		return;
	memory_uncharge(store, scratch->charged_bytes);
	free(scratch->changes);
	free(scratch->spares);
	free(scratch->born);
	free(scratch->metric_of);
	free(scratch->fresh);
	free(scratch->dists);
	free(scratch->works);
	buf_fini(&scratch->rows);
	buf_fini(&scratch->redos);
	free(scratch);
}

/* What it has, but for the head. */
static size_t
held_bytes(const struct scratch *s)
{
	size_t each = 2 * sizeof(*s->changes) + 2 * sizeof(struct blob *) + sizeof(*s->born) +
	              sizeof(*s->metric_of) + sizeof(struct blob *) + 2 * sizeof(*s->dists);

	return s->cap * each + 2 * s->stream_cap * sizeof(*s->works) + s->rows.cap + s->redos.cap;
}

/* Counts what it has grown. False: there is no room for it. */
static bool
charge(struct store *store, struct scratch *scratch)
{
	size_t bytes = held_bytes(scratch);

	if (bytes > scratch->charged_bytes &&
	    !memory_try_charge(store, bytes - scratch->charged_bytes))
		return false;
	if (bytes < scratch->charged_bytes)
		memory_uncharge(store, scratch->charged_bytes - bytes);
	scratch->charged_bytes = bytes;
	return true;
}

static struct scratch *
scratch_new(struct store *store, size_t positions, size_t streams)
{
	struct scratch *scratch = calloc(1, sizeof(*scratch));
	size_t n = positions + positions / 4 + 16;

	if (scratch == NULL)
		return NULL;
	buf_init(&scratch->rows, 0);
	buf_init(&scratch->redos, 0);
	scratch->cap = n;
	scratch->stream_cap = streams + 4;
	scratch->changes = malloc(2 * n * sizeof(*scratch->changes));
	scratch->spares = malloc(2 * n * sizeof(struct blob *));
	scratch->born = malloc(n * sizeof(*scratch->born));
	scratch->metric_of = malloc(n * sizeof(*scratch->metric_of));
	scratch->fresh = malloc(n * sizeof(struct blob *));
	scratch->dists = malloc(2 * n * sizeof(*scratch->dists));
	scratch->works = malloc(2 * scratch->stream_cap * sizeof(*scratch->works));
	if (scratch->changes == NULL || scratch->spares == NULL || scratch->born == NULL ||
	    scratch->metric_of == NULL || scratch->fresh == NULL || scratch->dists == NULL ||
	    scratch->works == NULL) {
		scratch_free(store, scratch);
		return NULL;
	}
	return scratch;
}

struct scratch *
scratch_take(struct store *store, size_t positions, size_t streams, struct err *err)
{
	struct scratch *scratch;

	lock_take(&store->pool.lock);
	scratch = store->scratches;
	if (scratch != NULL)
		store->scratches = scratch->next;
	lock_drop(&store->pool.lock);
	if (scratch != NULL && (scratch->cap < positions || scratch->stream_cap < streams)) {
		scratch_free(store, scratch);
		scratch = NULL;
	}
	if (scratch == NULL)
		scratch = scratch_new(store, positions, streams);
	if (scratch == NULL) {
		err_nomem(err);
		return NULL;
	}
	buf_clear(&scratch->rows);
	buf_clear(&scratch->redos);
	scratch->change_len = scratch->born_len = scratch->fresh_len = 0;
	scratch->dist_len = scratch->work_len = 0;
	return scratch;
}

void
scratch_give_back(struct store *store, struct scratch *scratch)
{
	if (scratch == NULL)
		return;
	if (scratch->cap > MOST_KEPT_POSITIONS || !charge(store, scratch)) {
		scratch_free(store, scratch);
		return;
	}
	lock_take(&store->pool.lock);
	scratch->next = store->scratches;
	store->scratches = scratch;
	lock_drop(&store->pool.lock);
}

void
scratches_free(struct store *store)
{
	while (store->scratches != NULL) {
		struct scratch *scratch = store->scratches;

		store->scratches = scratch->next;
		scratch_free(store, scratch);
	}
}
