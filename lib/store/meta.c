#include "store/meta_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "messages/json.h"
#include "store/desc.h"
#include "store/redo_priv.h"
#include "store/store_priv.h"

#define FIRST_CAP 256
/* A description's share of the buckets, which are at most twice as many. */
#define BUCKET_BYTES (2 * sizeof(struct meta *))

int
meta_table_init(struct meta_table *table, struct err *err)
{
	*table = (struct meta_table){ .cap = FIRST_CAP };
	lock_init(&table->lock, LOCK_meta);
	table->buckets = calloc(table->cap, sizeof(struct meta *));
	if (table->buckets == NULL) {
		err_nomem(err);
		return -1;
	}
	return 0;
}

void
meta_table_fini(struct meta_table *table)
{
	assert(table->len == 0);
	free(table->buckets);
	lock_fini(&table->lock);
}

/* Where the pointer to it is, or to NULL where it goes. REQUIRES the table's lock. */
static struct meta **
find(struct meta_table *table, const struct metric_desc *desc, uint64_t hash)
{
	struct meta **at = &table->buckets[hash & (table->cap - 1)];

	while (*at != NULL && ((*at)->hash != hash || !desc_eq(&(*at)->desc, desc)))
		at = &(*at)->next;
	return at;
}

/* More buckets; if there is no memory for them, the lists in the present ones get longer. */
static void
grow(struct meta_table *table)
{
	size_t cap = table->cap * 2;
	struct meta **buckets = calloc(cap, sizeof(struct meta *));

	if (buckets == NULL)
		return;
	for (size_t i = 0; i < table->cap; i++) {
		while (table->buckets[i] != NULL) {
			struct meta *meta = table->buckets[i];
			struct meta **at = &buckets[meta->hash & (cap - 1)];

			table->buckets[i] = meta->next;
			meta->next = *at;
			*at = meta;
		}
	}
	free(table->buckets);
	table->buckets = buckets;
	table->cap = cap;
}

static size_t
meta_bytes(const struct metric_desc *desc, struct str text)
{
	size_t bytes = sizeof(struct meta) + desc->limit_count * sizeof(*desc->limits) +
	               desc->tag_count * sizeof(*desc->tags) + desc->path.len +
	               desc->description.len + desc->unit.len + text.len;

	for (size_t i = 0; i < desc->tag_count; i++)
		bytes += desc->tags[i].key.len + desc->tags[i].value.len;
	return bytes;
}

static void *
put(char **room, const void *p, size_t bytes)
{
	void *copy = *room;

	if (bytes > 0)
		memcpy(copy, p, bytes);
	*room += bytes;
	return copy;
}

static struct str
put_str(char **room, struct str s)
{
	return (struct str){ put(room, s.p, s.len), s.len };
}

static struct meta *
alloc(struct store *store, size_t bytes, struct err *err)
{
	struct meta *meta;

	if (memory_charge(store, BUCKET_BYTES, err) != 0)
		return NULL;
	meta = memory_alloc(store, bytes, err);
	if (meta == NULL)
		memory_uncharge(store, BUCKET_BYTES);
	return meta;
}

/* text: what json_desc_text gave, the first text_desc_len bytes of it for json_desc. */
static struct meta *
make_with_text(struct store *store, const struct metric_desc *desc, uint64_t hash, struct str text,
    size_t text_desc_len, struct err *err)
{
	size_t bytes = meta_bytes(desc, text);
	struct meta *meta = alloc(store, bytes, err);
	struct tag *tags;
	char *room;

	if (meta == NULL)
		return NULL;
	*meta = (struct meta){ .desc = *desc, .hash = hash, .bytes = bytes, .refs = 1 };
	/* What needs to be aligned comes first. */
	room = (char *)(meta + 1);
	meta->desc.limits = put(&room, desc->limits, desc->limit_count * sizeof(*desc->limits));
	tags = put(&room, desc->tags, desc->tag_count * sizeof(*tags));
	meta->desc.tags = tags;
	meta->desc.path = put_str(&room, desc->path);
	meta->desc.description = put_str(&room, desc->description);
	meta->desc.unit = put_str(&room, desc->unit);
	for (size_t i = 0; i < desc->tag_count; i++) {
		tags[i].key = put_str(&room, desc->tags[i].key);
		tags[i].value = put_str(&room, desc->tags[i].value);
	}
	text = put_str(&room, text);
	meta->text.desc = str_sub(text, 0, text_desc_len);
	meta->text.tail = str_sub(text, text_desc_len, SIZE_MAX);
	meta->desc.text = &meta->text;
	return meta;
}

static struct meta *
make(struct store *store, const struct metric_desc *desc, uint64_t hash, struct err *err)
{
	struct meta *meta = NULL;
	struct buf text;
	size_t desc_len;

	buf_init(&text, 0);
	desc_len = json_desc_text(&text, desc);
	if (text.failed)
		err_nomem(err);
	else
		meta = make_with_text(store, desc, hash, buf_view(&text), desc_len, err);
	buf_fini(&text);
	return meta;
}

static void
discard(struct store *store, struct meta *meta)
{
	redo_tell_gone(store, false, meta->number, meta->told);
	memory_free(store, meta, meta->bytes);
	memory_uncharge(store, BUCKET_BYTES);
}

/* The one in the table, which may be fresh itself, with a reference; NULL if there is none. */
static struct meta *
find_or_add(
    struct meta_table *table, const struct metric_desc *desc, uint64_t hash, struct meta *fresh)
{
	struct meta **at, *meta;

	lock_take(&table->lock);
	at = find(table, desc, hash);
	meta = *at;
	if (meta != NULL) {
		meta->refs++;
	} else if (fresh != NULL) {
		*at = meta = fresh;
		meta->number = ++table->serial;
		if (++table->len > table->cap)
			grow(table);
	}
	lock_drop(&table->lock);
	return meta;
}

struct meta *
meta_intern(struct store *store, const struct metric_desc *desc, uint64_t hash, struct err *err)
{
	struct meta *meta = find_or_add(&store->metas, desc, hash, NULL);
	struct meta *fresh;

	if (meta != NULL)
		return meta;
	/* Without the lock, as memory may have to be reclaimed: another thread may be faster. */
	fresh = make(store, desc, hash, err);
	if (fresh == NULL)
		return NULL;
	meta = find_or_add(&store->metas, desc, hash, fresh);
	if (meta != fresh)
		discard(store, fresh);
	return meta;
}

struct meta *
meta_ref(struct store *store, struct meta *meta)
{
	if (meta == NULL)
		return NULL;
	lock_take(&store->metas.lock);
	meta->refs++;
	lock_drop(&store->metas.lock);
	return meta;
}

void
meta_unref(struct store *store, struct meta *meta)
{
	struct meta_table *table = &store->metas;
	bool last;

	if (meta == NULL)
		return;
	lock_take(&table->lock);
	last = --meta->refs == 0;
	if (last) {
		*find(table, &meta->desc, meta->hash) = meta->next;
		table->len--;
	}
	lock_drop(&table->lock);
	if (last)
		discard(store, meta);
}

void
desc_hold(struct store *store, const struct metric_desc *desc)
{
	meta_ref(store, CONTAINER_OF(desc, struct meta, desc));
}

void
desc_release(struct store *store, const struct metric_desc *desc)
{
	meta_unref(store, CONTAINER_OF(desc, struct meta, desc));
}
