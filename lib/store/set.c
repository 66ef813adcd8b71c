#include "store/set_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/blob_priv.h"
#include "store/cursor_priv.h"
#include "store/store_priv.h"

/* A set's share of the store's map, which is at least half full. */
#define MAP_BYTES (2 * sizeof(struct map_entry))

size_t
set_key(char *key, struct str host, struct str app)
{
	uint16_t host_len = (uint16_t)host.len;
	size_t len = sizeof(host_len);

	if (host.len > SET_KEY_MOST - len || app.len > SET_KEY_MOST - len - host.len)
		return 0;
	memcpy(key, &host_len, len);
	if (host.len > 0)
		memcpy(key + len, host.p, host.len);
	len += host.len;
	if (app.len > 0)
		memcpy(key + len, app.p, app.len);
	return len + app.len;
}

struct series_set *
set_new(struct store *store, struct str key, struct err *err)
{
	struct series_set *set;
	uint16_t host_len;

	if (memory_charge(store, MAP_BYTES, err) != 0)
		return NULL;
	set = memory_alloc(store, sizeof(*set) + key.len, err);
	if (set == NULL) {
		memory_uncharge(store, MAP_BYTES);
		return NULL;
	}
	*set = (struct series_set){ .store = store, .key_len = key.len };
	atomic_init(&set->refs, 1);
	lock_init(&set->lock, LOCK_series);
	memcpy(set->key, key.p, key.len);
	memcpy(&host_len, key.p, sizeof(host_len));
	set->host = (struct str){ set->key + sizeof(host_len), host_len };
	set->app = (struct str){ set->host.p + host_len, key.len - sizeof(host_len) - host_len };
	return set;
}

static void
free_rollovers(struct series_set *set)
{
	while (set->rollovers != NULL) {
		struct rollover *rollover = set->rollovers;

		set->rollovers = rollover->next;
		memory_free(set->store, rollover, sizeof(*rollover));
	}
}

static void
free_groups(struct series_set *set)
{
	for (size_t i = 0; i < set->group_len; i++) {
		chain_fini(&set->groups[i]->times);
		memory_free(set->store, set->groups[i], sizeof(struct group));
	}
	memory_free(set->store, set->groups, set->group_cap * sizeof(*set->groups));
}

static void
free_series(struct series_set *set)
{
	for (size_t i = 0; i < set->len; i++) {
		set->series[i]->rollover = NULL; /* shared, and gone already */
		series_free(set->series[i]);
	}
	memory_free(set->store, set->series, set->cap * sizeof(*set->series));
}

static void
set_free(struct series_set *set)
{
	struct store *store = set->store;

	assert(set->places == NULL);
	for (size_t i = 0; i < set->len; i++)
		chain_withdraw(&set->series[i]->values);
	for (size_t i = 0; i < set->group_len; i++)
		chain_withdraw(&set->groups[i]->times);
	store->active_count -= set->active_count;
	store->series_count -= set->len;
	index_unref(set->index);
	free_rollovers(set);
	free_series(set);
	free_groups(set);
	memory_free(store, set->order, set->order_cap * sizeof(*set->order));
	lookup_fini(store, &set->by_desc);
	lookup_fini(store, &set->by_group);
	lock_fini(&set->lock);
	memory_free(store, set, sizeof(*set) + set->key_len);
	memory_uncharge(store, MAP_BYTES);
}

struct series_set *
series_set_ref(struct series_set *set)
{
	uint32_t before = atomic_fetch_add(&set->refs, 1);

	assert(before > 0);
	return set;
}

bool
series_set_try_ref(struct series_set *set)
{
	uint32_t refs = atomic_load(&set->refs);

	while (refs > 0) {
		if (atomic_compare_exchange_weak(&set->refs, &refs, refs + 1))
			return true;
	}
	return false;
}

void
series_set_unref(struct series_set *set)
{
	if (set != NULL && atomic_fetch_sub(&set->refs, 1) == 1)
		set_free(set);
}

struct str
series_set_host(const struct series_set *set)
{
	return set->host;
}

struct str
series_set_app(const struct series_set *set)
{
	return set->app;
}

size_t
series_set_active_count(const struct series_set *set)
{
	return set->active_count;
}

/* Swaps the arrays if all places have room. REQUIRES the set's lock. */
static bool
use_room(struct series_set *set, struct series **series, size_t cap)
{
	if (places_short(set, cap) != NULL)
		return false;
	if (set->len > 0)
		memcpy(series, set->series, set->len * sizeof(*series));
	set->series = series;
	set->cap = cap;
	return true;
}

int
set_reserve(struct series_set *set, size_t len, struct err *err)
{
	size_t cap = len > set->cap + set->cap / 4 ? len : set->cap + set->cap / 4;
	struct series **old = set->series, **series;
	size_t old_cap = set->cap;
	bool done = false;

	if (len <= set->cap)
		return 0;
	series = memory_alloc(set->store, cap * sizeof(*series), err);
	if (series == NULL)
		return -1;
	/* Cursors may come and go meanwhile; positions are made without the lock. */
	while (!done) {
		if (places_grow(set, cap, err) != 0) {
			memory_free(set->store, series, cap * sizeof(*series));
			return -1;
		}
		lock_take(&set->lock);
		done = use_room(set, series, cap);
		lock_drop(&set->lock);
	}
	memory_free(set->store, old, old_cap * sizeof(*old));
	return 0;
}

static uint64_t
group_hash(int64_t id)
{
	return hash_bytes((struct str){ (const char *)&id, sizeof(id) });
}

static struct group *
find_group(const struct series_set *set, int64_t id, uint64_t hash)
{
	size_t step = 0;
	uint32_t at;

	while (lookup_next(&set->by_group, hash, &step, &at)) {
		if (set->groups[at]->id == id)
			return set->groups[at];
	}
	return NULL;
}

static int
reserve_group(struct series_set *set, struct err *err)
{
	size_t cap = set->group_cap == 0 ? 2 : set->group_cap * 2;
	struct group **groups;

	if (lookup_reserve(set->store, &set->by_group, set->group_len + 1, err) != 0)
		return -1;
	if (set->group_len < set->group_cap)
		return 0;
	groups = memory_grow(
	    set->store, set->groups, set->group_cap * sizeof(*groups), cap * sizeof(*groups), err);
	if (groups == NULL)
		return -1;
	set->groups = groups;
	set->group_cap = cap;
	return 0;
}

struct group *
set_group(struct series_set *set, int64_t id, struct err *err)
{
	uint64_t hash = group_hash(id);
	struct group *group = find_group(set, id, hash);

	if (group != NULL || reserve_group(set, err) != 0)
		return group;
	group = memory_alloc(set->store, sizeof(*group), err);
	if (group == NULL)
		return NULL;
	*group = (struct group){ .id = id, .lost_ns = TS_NONE };
	chain_init(&group->times, set, CHAIN_TIMES);
	group->times.idle = true; /* until a series in it is active */
	lookup_add(&set->by_group, hash, (uint32_t)set->group_len);
	set->groups[set->group_len++] = group;
	return group;
}

/*
 * That of an older series of the same path and tags, or a new one. The same path and tags are in
 * a batch but once, so no two new series share one.
 */
static struct rollover *
rollover_for(struct series_set *set, const struct metric_desc *desc, struct err *err)
{
	const struct index *index = set->index;
	struct rollover *rollover;

	for (size_t i = index == NULL ? 0 : index_find(index, desc);
	     index != NULL && i < index->len && desc_cmp(&index->series[i]->meta->desc, desc) == 0;
	     i++) {
		if (index->series[i]->rollover != NULL)
			return index->series[i]->rollover;
	}
	rollover = memory_alloc(set->store, sizeof(*rollover), err);
	if (rollover != NULL)
		*rollover = (struct rollover){ .count = 0 };
	return rollover;
}

struct series *
series_new(struct series_set *set, struct meta *meta, struct err *err)
{
	struct series *series = memory_alloc(set->store, sizeof(*series), err);
	enum kind kind = meta->desc.kind;

	if (series == NULL) {
		meta_unref(set->store, meta);
		return NULL;
	}
	*series = (struct series){ .meta = meta, .left_ns = TS_NONE, .joined_ns = TS_NONE };
	chain_init(&series->values, set, kind_has_blob(kind) ? CHAIN_BLOBS : CHAIN_NUMBERS);
	if (kind == KIND_DIST) {
		series->rollover = rollover_for(set, &meta->desc, err);
		if (series->rollover == NULL) {
			series_free(series);
			return NULL;
		}
	}
	return series;
}

void
series_free(struct series *series)
{
	struct store *store;

	if (series == NULL)
		return;
	store = series->values.set->store;
	chain_fini(&series->values);
	if (series->rollover != NULL && series->rollover->count == 0)
		memory_free(store, series->rollover, sizeof(*series->rollover));
	meta_unref(store, series->meta);
	memory_free(store, series, sizeof(*series));
}

static size_t
index_bytes(size_t len)
{
	return sizeof(struct index) + len * sizeof(struct series *);
}

static int
cmp_series(const void *a, const void *b)
{
	const struct series *x = *(struct series *const *)a, *y = *(struct series *const *)b;

	return desc_cmp(&x->meta->desc, &y->meta->desc);
}

struct index *
index_with(const struct index *old, struct series **more, size_t n, struct series_set *set,
    struct err *err)
{
	size_t old_len = old == NULL ? 0 : old->len, at = 0, taken = 0;
	struct index *index = memory_alloc(set->store, index_bytes(old_len + n), err);

	if (index == NULL)
		return NULL;
	index->store = set->store;
	atomic_init(&index->refs, 1);
	index->len = old_len + n;
	qsort(more, n, sizeof(*more), cmp_series);
	for (size_t i = 0; i < index->len; i++) {
		/* The new ones are of different paths and tags; an equal old one goes first. */
		if (taken == n || (at < old_len && cmp_series(&old->series[at], &more[taken]) <= 0))
			index->series[i] = old->series[at++];
		else
			index->series[i] = more[taken++];
	}
	return index;
}

void
index_unref(struct index *index)
{
	if (index != NULL && atomic_fetch_sub(&index->refs, 1) == 1)
		memory_free(index->store, index, index_bytes(index->len));
}

size_t
index_find(const struct index *index, const struct metric_desc *desc)
{
	size_t low = 0, high = index->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (desc_cmp(&index->series[mid]->meta->desc, desc) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}
