#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/cursor_priv.h"
#include "store/iter.h"
#include "store/redo_priv.h"
#include "store/set_priv.h"
#include "store/sorted_priv.h"
#include "store/store_priv.h"

struct store *
store_new(const struct store_conf *conf, struct own *own, struct err *err)
{
	struct store *store = calloc(1, sizeof(*store));

	if (store == NULL) {
		err_nomem(err);
		return NULL;
	}
	store->limit_bytes = conf->memory_bytes;
	store->opened_ns = clock_real_ns();
	store->oldest_ts_ns = TS_NONE;
	lock_init(&store->lock, LOCK_store);
	map_init(&store->sets);
	pages_init(&store->pool);
	blob_table_init(&store->blobs);
	schema_table_init(&store->schemas);
	plan_table_init(&store->plans);
	if (meta_table_init(&store->metas, err) != 0)
		goto fail;
	if (own != NULL && store_self_add(store, own, err) != 0)
		goto fail;
	return store;
fail:
	store_free(store);
	return NULL;
}

void
store_free(struct store *store)
{
	const struct map_entry *entry;
	struct page *page;
	size_t pos = 0;

	if (store == NULL)
		return;
	assert(store->cursors == NULL);
	store_self_remove(store);
	sorted_unref(store->sorted);
	while ((entry = map_next(&store->sets, &pos)) != NULL) {
		struct series_set *set = entry->value;

		assert(set->refs == 1);
		series_set_unref(set);
	}
	map_fini(&store->sets);
	plan_table_fini(&store->plans);
	schema_table_fini(&store->schemas);
	blob_table_fini(&store->blobs);
	meta_table_fini(&store->metas);
	scratches_free(store);
	while (windows_free_one(store))
		;
	while ((page = pages_take_spare(&store->pool)) != NULL)
		memory_free(store, page, PAGE_BYTES);
	pages_fini(&store->pool);
	assert(store->used_bytes == 0);
	lock_fini(&store->lock);
	free(store);
}

/* REQUIRES the store's lock. */
static struct series_set *
find_set(struct store *store, struct str key)
{
	struct series_set *set = map_get(&store->sets, key);

	return set == NULL ? NULL : series_set_ref(set);
}

/* A new set, one reference for the store and one for the caller. REQUIRES the store's lock. */
static struct series_set *
add_set(struct store *store, struct str key, bool beyond, struct err *err)
{
	struct series_set *set = set_new(store, key, beyond, err);

	if (set == NULL)
		return NULL;
	if (places_open(set, beyond, err) != 0) {
		series_set_unref(set);
		return NULL;
	}
	if (map_put(&store->sets, (struct str){ set->key, set->key_len }, set) != 0) {
		places_close(set);
		series_set_unref(set);
		err_nomem(err);
		return NULL;
	}
	store->set_count++;
	sorted_drop(store);
	return series_set_ref(set);
}

static struct series_set *
find_or_add(struct store *store, struct str host, struct str app, bool beyond, struct err *err)
{
	char bytes[SET_KEY_MOST];
	struct str key = { bytes, set_key(bytes, host, app) };
	struct series_set *set;

	if (key.len == 0) {
		err_set(err, ERR_LIMIT, "name of an endpoint: longer than %d bytes", SET_KEY_MOST);
		return NULL;
	}
	lock_take(&store->lock);
	set = find_set(store, key);
	if (set == NULL)
		set = add_set(store, key, beyond, err);
	lock_drop(&store->lock);
	return set;
}

struct series_set *
store_set(struct store *store, struct str host, struct str app, struct err *err)
{
	return find_or_add(store, host, app, false, err);
}

struct series_set *
store_set_listed(struct store *store, struct str host, struct str app, struct err *err)
{
	return find_or_add(store, host, app, true, err);
}

struct series_set *
store_find(struct store *store, struct str host, struct str app)
{
	char bytes[SET_KEY_MOST];
	struct str key = { bytes, set_key(bytes, host, app) };
	struct series_set *set;

	if (key.len == 0)
		return NULL;
	lock_take(&store->lock);
	set = find_set(store, key);
	lock_drop(&store->lock);
	return set;
}

void
store_forget(struct store *store, struct series_set *set)
{
	struct str key = { set->key, set->key_len };
	bool found;

	lock_take(&store->lock);
	found = map_get(&store->sets, key) == set;
	if (found) {
		lock_take(&set->lock);
		redo_tell_forget(set);
		lock_drop(&set->lock);
		map_del(&store->sets, key);
		places_close(set);
		sorted_drop(store);
		store->set_count--;
	}
	lock_drop(&store->lock);
	if (found)
		series_set_unref(set);
}

void
store_get_stats(struct store *store, struct store_stats *stats)
{
	uint64_t used = store->used_bytes;
	uint64_t free_bytes = used < store->limit_bytes ? store->limit_bytes - used : 0;

	*stats = (struct store_stats){
		.sets = store->set_count,
		.series = store->series_count,
		.active_series = store->active_count,
		.values = store->series_count + store->value_count,
		.pages = store->pool.page_count,
		.pages_total = store->pool.page_count + free_bytes / PAGE_BYTES,
		.pages_free = free_bytes / PAGE_BYTES,
		.pages_reclaimed = store->reclaimed_count,
		.bytes_used = used,
		.bytes_limit = store->limit_bytes,
		.log_bytes = store->pool.used_bytes,
		.oldest_ts_ns = store->oldest_ts_ns,
	};
}
