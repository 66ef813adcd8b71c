#include "store/schema_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/redo_priv.h"
#include "store/store_priv.h"

/* A schema's share of the table, which is at least a third full. */
#define TABLE_BYTES (3 * sizeof(struct map_entry))

void
schema_table_init(struct schema_table *table)
{
	*table = (struct schema_table){ .serial = 0 };
	lock_init(&table->lock, LOCK_meta);
	map_init(&table->schemas);
}

void
schema_table_fini(struct schema_table *table)
{
	assert(table->schemas.len == 0);
	map_fini(&table->schemas);
	lock_fini(&table->lock);
}

struct schema *
schema_ref(struct schema *schema)
{
	if (schema != NULL)
		atomic_fetch_add(&schema->refs, 1);
	return schema;
}

static void
discard(struct schema *schema)
{
	struct store *store = schema->store;

	redo_tell_gone(store, true, schema->serial, schema->told);
	for (uint32_t i = 0; i < schema->len; i++)
		meta_unref(store, schema->metas[i]);
	memory_free(store, schema, schema->bytes);
	memory_uncharge(store, TABLE_BYTES);
}

void
schema_unref(struct schema *schema)
{
	struct schema_table *table;
	uint64_t refs;
	bool last;

	if (schema == NULL)
		return;
	refs = atomic_load(&schema->refs);
	while (refs > 1) {
		if (atomic_compare_exchange_weak(&schema->refs, &refs, refs - 1))
			return;
	}
	/* The last one goes with the table locked, as who looks there takes a new one. */
	table = &schema->store->schemas;
	lock_take(&table->lock);
	last = atomic_fetch_sub(&schema->refs, 1) == 1;
	if (last)
		map_del(&table->schemas, schema->content);
	lock_drop(&table->lock);
	if (last)
		discard(schema);
}

static const struct metric_desc *
order_desc(const struct schema *schema, uint32_t i)
{
	struct series_at at = schema->order[i];

	return &schema_meta(schema, at.stream, at.at)->desc;
}

uint32_t
schema_find(const struct schema *schema, const struct metric_desc *desc)
{
	uint32_t low = 0, high = schema->order_len;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (desc_cmp(order_desc(schema, mid), desc) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool
schema_find_series(
    const struct schema *schema, const struct metric_desc *desc, struct series_at *at)
{
	for (uint32_t i = schema_find(schema, desc); i < schema->order_len; i++) {
		if (desc_eq(order_desc(schema, i), desc)) {
			*at = schema->order[i];
			return true;
		}
		if (desc_cmp(order_desc(schema, i), desc) != 0)
			break;
	}
	return false;
}

static int
reserve_positions(struct draft_stream *stream, uint32_t cap, struct err *err)
{
	struct meta **metas = realloc(stream->metas, cap * sizeof(struct meta *));
	uint8_t *moved;

	if (metas != NULL)
		stream->metas = metas;
	moved = metas == NULL ? NULL : realloc(stream->moved, cap);
	if (moved == NULL) {
		err_nomem(err);
		return -1;
	}
	stream->moved = moved;
	stream->cap = cap;
	return 0;
}

static int
copy_stream(struct draft *draft, const struct schema *schema, uint32_t i, struct err *err)
{
	const struct schema_stream *from = &schema->streams[i];
	struct draft_stream *to;

	if (draft_add_stream(draft, from->group_id, err) != 0)
		return -1;
	to = &draft->streams[i];
	if (from->len > 0 && reserve_positions(to, from->len, err) != 0)
		return -1;
	for (; to->len < from->len; to->len++) {
		to->metas[to->len] = meta_ref(draft->store, schema->metas[from->first + to->len]);
		to->moved[to->len] = schema->moved[from->first + to->len];
	}
	return 0;
}

int
draft_init(struct draft *draft, struct store *store, const struct schema *schema, struct err *err)
{
	*draft = (struct draft){ .store = store };
	for (uint32_t i = 0; schema != NULL && i < schema->stream_count; i++) {
		if (copy_stream(draft, schema, i, err) != 0)
			return -1;
	}
	return 0;
}

void
draft_fini(struct draft *draft)
{
	for (uint32_t i = 0; i < draft->len; i++) {
		struct draft_stream *stream = &draft->streams[i];

		for (uint32_t at = 0; at < stream->len; at++)
			meta_unref(draft->store, stream->metas[at]);
		free(stream->metas);
		free(stream->moved);
	}
	free(draft->streams);
}

int
draft_add_stream(struct draft *draft, int64_t group_id, struct err *err)
{
	if (draft->len == draft->cap) {
		uint32_t cap = draft->cap == 0 ? 4 : draft->cap * 2;
		struct draft_stream *streams =
		    realloc(draft->streams, cap * sizeof(*draft->streams));

		if (streams == NULL) {
			err_nomem(err);
			return -1;
		}
		draft->streams = streams;
		draft->cap = cap;
	}
	draft->streams[draft->len++] = (struct draft_stream){ .group_id = group_id };
	return 0;
}

int
draft_add_series(
    struct draft *draft, uint32_t number, struct meta *meta, struct series_at *at, struct err *err)
{
	struct draft_stream *stream = &draft->streams[number];
	uint32_t i = stream->free_hint;

	while (i < stream->len && stream->metas[i] != NULL)
		i++;
	if (i == stream->cap && reserve_positions(stream, i < 32 ? 64 : i * 2, err) != 0) {
		meta_unref(draft->store, meta);
		return -1;
	}
	if (i == stream->len)
		stream->len++;
	stream->metas[i] = meta;
	stream->moved[i] = 0;
	stream->free_hint = i + 1;
	*at = (struct series_at){ number, i };
	return 0;
}

int
draft_put(struct draft *draft, struct draft_stream *stream, struct meta *meta, uint8_t moved,
    struct err *err)
{
	if (stream->len == stream->cap &&
	    reserve_positions(stream, stream->len < 32 ? 64 : stream->len * 2, err) != 0) {
		meta_unref(draft->store, meta);
		return -1;
	}
	stream->metas[stream->len] = meta;
	stream->moved[stream->len++] = moved;
	return 0;
}

void
draft_remove_series(struct draft *draft, struct series_at at)
{
	struct draft_stream *stream = &draft->streams[at.stream];

	meta_unref(draft->store, stream->metas[at.at]);
	stream->metas[at.at] = NULL;
	stream->moved[at.at] = 0;
	if (stream->free_hint > at.at)
		stream->free_hint = at.at;
}

static size_t
content_bytes(uint32_t stream_count, uint32_t len)
{
	return stream_count * sizeof(struct schema_stream) + len * sizeof(struct meta *) + len;
}

/* A block, and room in the table. */
static struct schema *
alloc_block(const struct draft *draft, size_t bytes, struct err *err)
{
	struct store *store = draft->store;
	struct schema *schema;

	if (draft->frees) {
		schema = memory_alloc_beyond(store, bytes, err);
		if (schema != NULL)
			memory_charge_beyond(store, TABLE_BYTES);
		return schema;
	}
	if (memory_charge(store, TABLE_BYTES, err) != 0)
		return NULL;
	schema = memory_alloc(store, bytes, err);
	if (schema == NULL)
		memory_uncharge(store, TABLE_BYTES);
	return schema;
}

/* The struct and its arrays in one block, without order and classes filled in. */
static struct schema *
alloc(const struct draft *draft, uint32_t len, struct err *err)
{
	size_t content = content_bytes(draft->len, len);
	size_t bytes = sizeof(struct schema) + len * sizeof(struct series_at) + content + len;
	struct schema *schema;
	char *room;

	schema = alloc_block(draft, bytes, err);
	if (schema == NULL)
		return NULL;
	*schema = (struct schema){ .store = draft->store, .bytes = bytes, .len = len };
	atomic_init(&schema->refs, 1);
	schema->stream_count = draft->len;
	room = (char *)(schema + 1);
	schema->order = (struct series_at *)(void *)room;
	room += len * sizeof(struct series_at);
	schema->content = (struct str){ room, content };
	schema->streams = (struct schema_stream *)(void *)room;
	room += draft->len * sizeof(struct schema_stream);
	schema->metas = (struct meta **)(void *)room;
	room += len * sizeof(struct meta *);
	schema->moved = (uint8_t *)room;
	schema->classes = (uint8_t *)room + len;
	return schema;
}

/* The parts that are its content; the references to metas are new ones. */
static void
fill_content(struct schema *schema, const struct draft *draft)
{
	struct schema_stream *streams = (struct schema_stream *)(uintptr_t)schema->streams;
	struct meta **metas = (struct meta **)(uintptr_t)schema->metas;
	uint8_t *moved = (uint8_t *)(uintptr_t)schema->moved;
	uint32_t first = 0;

	for (uint32_t i = 0; i < draft->len; i++) {
		const struct draft_stream *from = &draft->streams[i];

		streams[i] = (struct schema_stream){ from->group_id, first, from->len };
		for (uint32_t at = 0; at < from->len; at++) {
			metas[first + at] = meta_ref(draft->store, from->metas[at]);
			moved[first + at] = from->moved[at];
		}
		first += from->len;
	}
}

static int
cmp_series(const void *a, const void *b, void *ctx)
{
	const struct series_at *x = a, *y = b;
	const struct schema *schema = ctx;
	int order = desc_cmp(&schema_meta(schema, x->stream, x->at)->desc,
	    &schema_meta(schema, y->stream, y->at)->desc);

	if (order == 0)
		order = (x->stream > y->stream) - (x->stream < y->stream);
	return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

/* What follows from the content. */
static void
fill_rest(struct schema *schema)
{
	struct series_at *order = (struct series_at *)(uintptr_t)schema->order;
	uint8_t *classes = (uint8_t *)(uintptr_t)schema->classes;

	for (uint32_t i = 0; i < schema->stream_count; i++) {
		const struct schema_stream *stream = &schema->streams[i];

		for (uint32_t at = 0; at < stream->len; at++) {
			const struct meta *meta = schema->metas[stream->first + at];

			classes[stream->first + at] =
			    meta == NULL ? ROW_INT : (uint8_t)row_class_of(meta->desc.kind);
			if (meta != NULL && !schema->moved[stream->first + at])
				order[schema->order_len++] = (struct series_at){ i, at };
		}
	}
	qsort_r(order, schema->order_len, sizeof(*order), cmp_series, schema);
	for (uint32_t i = 1; i < schema->order_len; i++) {
		const struct metric_desc *a = order_desc(schema, i - 1), *b = order_desc(schema, i);

		if ((a->kind == KIND_DIST || b->kind == KIND_DIST) && desc_cmp(a, b) == 0)
			schema->has_dist_siblings = true;
	}
}

/* The one in the table, which may be fresh itself, with a reference. NULL: no memory. */
static struct schema *
find_or_add(struct schema_table *table, struct schema *fresh)
{
	struct schema *schema;

	lock_take(&table->lock);
	schema = map_get(&table->schemas, fresh->content);
	if (schema != NULL) {
		schema->refs++;
	} else if (map_put(&table->schemas, fresh->content, fresh) == 0) {
		schema = fresh;
		schema->serial = ++table->serial;
	}
	lock_drop(&table->lock);
	return schema;
}

struct schema *
draft_finish(const struct draft *draft, struct err *err)
{
	struct schema *fresh, *schema;
	uint32_t len = 0;

	for (uint32_t i = 0; i < draft->len; i++)
		len += draft->streams[i].len;
	fresh = alloc(draft, len, err);
	if (fresh == NULL)
		return NULL;
	fill_content(fresh, draft);
	fill_rest(fresh);
	schema = find_or_add(&draft->store->schemas, fresh);
	if (schema != fresh)
		discard(fresh);
	if (schema == NULL)
		err_nomem(err);
	return schema;
}
