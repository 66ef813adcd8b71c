#include "store/blob_priv.h"

#include <assert.h>

#include "store/store_priv.h"

bool
kind_has_blob(enum kind kind)
{
	return kind == KIND_STRING || kind == KIND_LIST || kind == KIND_DIST;
}

struct blob *
blob_of_bits(uint64_t bits)
{
	return (struct blob *)(uintptr_t)bits;
}

/* What the store keeps of a distribution. */
static struct dist
kept_of_dist(const struct dist *dist, uint64_t rollovers)
{
	struct dist kept = {
		.counts = dist->counts, .len = dist->len, .sum = dist->sum, .rollovers = rollovers
	};

	for (size_t i = 0; i < dist->len; i++)
		kept.count += dist->counts[i];
	return kept;
}

/* Bytes that follow the struct. */
static size_t
data_bytes(const struct metric_desc *desc, const struct value *value)
{
	size_t bytes;

	if (desc->kind == KIND_STRING)
		return value->s.len;
	if (desc->kind == KIND_DIST)
		return value->dist->len * sizeof(*value->dist->counts);
	bytes = value->list->len * sizeof(struct value);
	for (size_t i = 0; desc->sub_kind == KIND_STRING && i < value->list->len; i++)
		bytes += value->list->values[i].s.len;
	return bytes;
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

static void
fill_list(struct blob *blob, enum kind sub_kind, const struct list *list)
{
	struct value *values = (struct value *)(void *)blob->data;
	char *room = (char *)(values + list->len);

	memcpy(values, list->values, list->len * sizeof(*values));
	for (size_t i = 0; sub_kind == KIND_STRING && i < list->len; i++)
		values[i].s = put_str(&room, list->values[i].s);
	blob->list = (struct list){ values, list->len };
}

static void
fill(struct blob *blob, const struct metric_desc *desc, const struct value *value,
    uint64_t rollovers)
{
	char *room = (char *)blob->data;

	if (desc->kind == KIND_STRING) {
		blob->s = put_str(&room, value->s);
	} else if (desc->kind == KIND_LIST) {
		fill_list(blob, desc->sub_kind, value->list);
	} else {
		blob->dist = kept_of_dist(value->dist, rollovers);
		blob->dist.counts = blob->data;
		memcpy(blob->data, value->dist->counts,
		    value->dist->len * sizeof(*value->dist->counts));
	}
}

static bool
is_empty(enum kind kind, const struct value *value)
{
	return (kind == KIND_STRING && value->s.len == 0) ||
	       (kind == KIND_LIST && value->list->len == 0);
}

static uint64_t
number_to_bits(enum kind kind, const struct value *value)
{
	uint64_t bits;

	if (kind == KIND_BOOL)
		return value->b;
	memcpy(&bits, value, sizeof(bits));
	return bits;
}

int
value_to_bits(struct store *store, const struct metric_desc *desc, const struct value *value,
    uint64_t rollovers, uint64_t *bits, struct err *err)
{
	struct blob *blob;
	size_t bytes;

	if (!kind_has_blob(desc->kind)) {
		*bits = number_to_bits(desc->kind, value);
		return 0;
	}
	if (is_empty(desc->kind, value)) {
		*bits = 0;
		return 0;
	}
	bytes = sizeof(*blob) + data_bytes(desc, value);
	blob = memory_alloc(store, bytes, err);
	if (blob == NULL)
		return -1;
	blob->store = store;
	atomic_init(&blob->refs, 1);
	blob->bytes = bytes;
	fill(blob, desc, value, rollovers);
	*bits = (uintptr_t)blob;
	return 0;
}

struct value
bits_to_value(uint64_t bits, const struct metric_desc *desc, bool active)
{
	const struct blob *blob;

	if (!active)
		return value_zero(desc->kind);
	if (!kind_has_blob(desc->kind)) {
		if (desc->kind == KIND_BOOL)
			return (struct value){ .b = bits != 0 };
		return (struct value){ .u = bits }; /* of the same size and place as i and f */
	}
	blob = blob_of_bits(bits);
	if (blob == NULL)
		return value_zero(desc->kind);
	if (desc->kind == KIND_STRING)
		return (struct value){ .s = blob->s };
	if (desc->kind == KIND_LIST)
		return (struct value){ .list = &blob->list };
	return (struct value){ .dist = &blob->dist };
}

bool
bits_hold_value(
    uint64_t bits, const struct metric_desc *desc, const struct value *value, uint64_t rollovers)
{
	struct value held;
	struct dist dist;

	if (!kind_has_blob(desc->kind))
		return bits == number_to_bits(desc->kind, value);
	held = bits_to_value(bits, desc, true);
	if (desc->kind != KIND_DIST)
		return value_eq(desc, &held, value);
	dist = kept_of_dist(value->dist, rollovers);
	return value_eq(desc, &held, &(struct value){ .dist = &dist });
}

void
blob_unref(struct blob *blob)
{
	if (blob != NULL && atomic_fetch_sub(&blob->refs, 1) == 1)
		memory_free(blob->store, blob, blob->bytes);
}

void
blob_hold_add(struct blob_hold *hold, enum kind kind, uint64_t bits)
{
	struct blob *blob = kind_has_blob(kind) ? blob_of_bits(bits) : NULL;

	if (blob == NULL)
		return;
	assert(hold->len < BLOB_HOLD);
	atomic_fetch_add(&blob->refs, 1);
	hold->blobs[hold->len++] = blob;
}

void
blob_hold_release(struct blob_hold *hold)
{
	while (hold->len > 0)
		blob_unref(hold->blobs[--hold->len]);
}
