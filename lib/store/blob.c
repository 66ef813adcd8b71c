#include "store/blob_priv.h"

#include <assert.h>

#include "store/store_priv.h"

/* A string's share of the table, which is at least a third full. */
#define TABLE_BYTES (3 * sizeof(struct map_entry))

void
blob_table_init(struct blob_table *table)
{
	lock_init(&table->lock, LOCK_meta);
	map_init(&table->strings);
}

void
blob_table_fini(struct blob_table *table)
{
	assert(table->strings.len == 0);
	map_fini(&table->strings);
	lock_fini(&table->lock);
}

static struct blob *
init(struct blob *blob, size_t bytes)
{
	if (blob != NULL) {
		*blob = (struct blob){ .bytes = bytes };
		atomic_init(&blob->refs, 1);
	}
	return blob;
}

static struct blob *
alloc(struct store *store, size_t data_bytes, struct err *err)
{
	size_t bytes = sizeof(struct blob) + data_bytes;

	return init(memory_alloc(store, bytes, err), bytes);
}

static void
discard(struct store *store, struct blob *blob)
{
	if (blob->shared)
		memory_uncharge(store, TABLE_BYTES);
	memory_free(store, blob, blob->bytes);
}

static struct str
put_str(char **room, struct str s)
{
	struct str copy = { *room, s.len };

	if (s.len > 0)
		memcpy(*room, s.p, s.len);
	*room += s.len;
	return copy;
}

static struct blob *
make_string(struct store *store, struct str s, struct err *err)
{
	struct blob *blob;
	char *room;

	if (memory_charge(store, TABLE_BYTES, err) != 0)
		return NULL;
	blob = alloc(store, s.len, err);
	if (blob == NULL) {
		memory_uncharge(store, TABLE_BYTES);
		return NULL;
	}
	room = (char *)blob->data;
	blob->s = put_str(&room, s);
	blob->shared = true;
	return blob;
}

/*
 * The one in the table, which may be fresh itself, with a reference; NULL if there is none, or no
 * memory to put the fresh one in.
 */
static struct blob *
find_or_add(struct blob_table *table, struct str s, struct blob *fresh)
{
	struct blob *blob;

	lock_take(&table->lock);
	blob = map_get(&table->strings, s);
	if (blob != NULL)
		blob->refs++;
	else if (fresh != NULL && map_put(&table->strings, fresh->s, fresh) == 0)
		blob = fresh;
	lock_drop(&table->lock);
	return blob;
}

int
blob_new_string(struct store *store, struct str s, struct blob **out, struct err *err)
{
	struct blob *fresh;

	*out = NULL;
	if (s.len == 0)
		return 0;
	*out = find_or_add(&store->blobs, s, NULL);
	if (*out != NULL)
		return 0;
	/* Without the lock, as memory may have to be reclaimed: another thread may be faster. */
	fresh = make_string(store, s, err);
	if (fresh == NULL)
		return -1;
	*out = find_or_add(&store->blobs, s, fresh);
	if (*out != fresh)
		discard(store, fresh);
	if (*out == NULL)
		err_nomem(err);
	return *out == NULL ? -1 : 0;
}

int
blob_new_list(struct store *store, enum kind sub_kind, const struct list *list, struct blob **out,
    struct err *err)
{
	size_t bytes = list->len * sizeof(struct value);
	struct value *values;
	struct blob *blob;
	char *room;

	*out = NULL;
	if (list->len == 0)
		return 0;
	for (size_t i = 0; sub_kind == KIND_STRING && i < list->len; i++)
		bytes += list->values[i].s.len;
	blob = alloc(store, bytes, err);
	if (blob == NULL)
		return -1;
	values = (struct value *)(void *)blob->data;
	room = (char *)(values + list->len);
	memcpy(values, list->values, list->len * sizeof(*values));
	for (size_t i = 0; sub_kind == KIND_STRING && i < list->len; i++)
		values[i].s = put_str(&room, list->values[i].s);
	blob->list = (struct list){ values, list->len };
	*out = blob;
	return 0;
}

static struct blob *
init_dist(struct blob *blob, size_t len)
{
	if (blob != NULL)
		*blob_dist(blob) = (struct held_dist){
			.dist = { .counts = blob_dist(blob)->counts, .len = len },
		};
	return blob;
}

static size_t
dist_bytes(size_t len)
{
	return sizeof(struct held_dist) + len * sizeof(uint64_t);
}

struct blob *
blob_new_dist(struct store *store, size_t len, struct err *err)
{
	return init_dist(alloc(store, dist_bytes(len), err), len);
}

struct blob *
blob_try_dist(struct store *store, size_t len, struct memory_want *want)
{
	size_t bytes = sizeof(struct blob) + dist_bytes(len);

	return init_dist(init(memory_try(store, bytes, want), bytes), len);
}

void
blob_set_dist(struct blob *blob, const struct dist *dist, uint64_t rollovers)
{
	struct held_dist *held = blob_dist(blob);

	assert(dist->len == held->dist.len);
	held->dist.sum = dist->sum;
	held->dist.rollovers = rollovers;
	held->dist.count = 0;
	for (size_t i = 0; i < dist->len; i++) {
		held->counts[i] = dist->counts[i];
		held->dist.count += dist->counts[i];
	}
	held->generation = dist->generation;
}

struct blob *
blob_ref(struct blob *blob)
{
	if (blob != NULL)
		atomic_fetch_add(&blob->refs, 1);
	return blob;
}

/* Gives up a reference that is not the last one. */
static bool
unref_shared(struct blob *blob)
{
	uint32_t refs = atomic_load(&blob->refs);

	while (refs > 1) {
		if (atomic_compare_exchange_weak(&blob->refs, &refs, refs - 1))
			return true;
	}
	return false;
}

void
blob_unref(struct store *store, struct blob *blob)
{
	bool last;

	if (blob == NULL)
		return;
	if (!blob->shared) {
		last = atomic_fetch_sub(&blob->refs, 1) == 1;
	} else {
		/* The last one goes with the table locked, as who looks there takes a new one. */
		if (unref_shared(blob))
			return;
		lock_take(&store->blobs.lock);
		last = atomic_fetch_sub(&blob->refs, 1) == 1;
		if (last)
			map_del(&store->blobs.strings, blob->s);
		lock_drop(&store->blobs.lock);
	}
	if (last)
		discard(store, blob);
}

struct value
bits_to_value(uint64_t bits, enum kind kind, bool active)
{
	struct blob *blob = blob_of_bits(bits);

	if (!active)
		return value_zero(kind);
	switch ((int)kind) {
	case KIND_BOOL:
		return (struct value){ .b = bits != 0 };
	case KIND_STRING:
		return blob == NULL ? value_zero(kind) : (struct value){ .s = blob->s };
	case KIND_LIST:
		return blob == NULL ? value_zero(kind) : (struct value){ .list = &blob->list };
	case KIND_DIST:
		return (struct value){ .dist = &blob_dist(blob)->dist };
	default:
		return (struct value){ .u = bits }; /* of the same size and place as i and f */
	}
}

void
blob_hold_add(struct blob_hold *hold, struct blob *blob)
{
	if (blob == NULL)
		return;
	assert(hold->len < BLOB_HOLD);
	hold->blobs[hold->len++] = blob_ref(blob);
}

void
blob_hold_release(struct store *store, struct blob_hold *hold)
{
	while (hold->len > 0)
		blob_unref(store, hold->blobs[--hold->len]);
}
