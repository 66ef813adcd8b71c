#include "messages/metric.h"

#include <assert.h>

#include "base/clock.h"
#include "base/hash.h"

static const struct {
	struct str name;
	int bits;
} kinds[KIND_COUNT] = {
	[KIND_NONE] = { { "", 0 }, 0 },
	[KIND_BOOL] = { { "bool", 4 }, 0 },
	[KIND_INT8] = { { "int8", 4 }, 8 },
	[KIND_INT16] = { { "int16", 5 }, 16 },
	[KIND_INT32] = { { "int32", 5 }, 32 },
	[KIND_INT64] = { { "int64", 5 }, 64 },
	[KIND_UINT8] = { { "uint8", 5 }, 8 },
	[KIND_UINT16] = { { "uint16", 6 }, 16 },
	[KIND_UINT32] = { { "uint32", 6 }, 32 },
	[KIND_UINT64] = { { "uint64", 6 }, 64 },
	[KIND_FLOAT32] = { { "float32", 7 }, 32 },
	[KIND_FLOAT64] = { { "float64", 7 }, 64 },
	[KIND_STRING] = { { "string", 6 }, 0 },
	[KIND_TIME] = { { "time", 4 }, 0 },
	[KIND_DURATION] = { { "duration", 8 }, 0 },
	[KIND_LIST] = { { "list", 4 }, 0 },
	[KIND_DIST] = { { "distribution", 12 }, 0 },
};

/* Of servers older than the sized kinds. */
static const struct {
	struct str name;
	enum kind kind;
} old_kinds[] = {
	{ { "int", 3 }, KIND_INT64 },
	{ { "uint", 4 }, KIND_UINT64 },
	{ { "float", 5 }, KIND_FLOAT64 },
};

const char *
kind_name(enum kind kind)
{
	assert(kind < KIND_COUNT);
	return kinds[kind].name.p;
}

enum kind
kind_parse(struct str name)
{
	for (enum kind kind = KIND_BOOL; kind < KIND_COUNT; kind++) {
		if (str_eq(kinds[kind].name, name))
			return kind;
	}
	for (size_t i = 0; i < ARRAY_LEN(old_kinds); i++) {
		if (str_eq(old_kinds[i].name, name))
			return old_kinds[i].kind;
	}
	return KIND_NONE;
}

int
kind_bits(enum kind kind)
{
	assert(kind < KIND_COUNT);
	return kinds[kind].bits;
}

bool
kind_is_numeric(enum kind kind)
{
	return kind_bits(kind) != 0 || kind == KIND_TIME || kind == KIND_DURATION;
}

bool
kind_is_int(enum kind kind)
{
	return kind >= KIND_INT8 && kind <= KIND_INT64;
}

bool
kind_is_uint(enum kind kind)
{
	return kind >= KIND_UINT8 && kind <= KIND_UINT64;
}

bool
kind_int_fits(enum kind kind, int64_t value)
{
	int64_t most;

	assert(kind_is_int(kind));
	most = (int64_t)(UINT64_MAX >> (65 - kind_bits(kind)));
	return value >= -most - 1 && value <= most;
}

bool
kind_uint_fits(enum kind kind, uint64_t value)
{
	assert(kind_is_uint(kind));
	return value <= UINT64_MAX >> (64 - kind_bits(kind));
}

int64_t
unit_per_second(struct str unit)
{
	return str_eq(unit, STR(UNIT_MILLISECONDS)) ? 1000 : 1;
}

bool
tags_eq(const struct tag *a, size_t a_count, const struct tag *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++) {
		if (!str_eq(a[i].key, b[i].key) || !str_eq(a[i].value, b[i].value))
			return false;
	}
	return true;
}

/* The limits as bytes: bit for bit is what desc_eq and desc_hash agree on. */
static struct str
limit_bytes(const struct metric_desc *d)
{
	return (struct str){ (const char *)d->limits, d->limit_count * sizeof(*d->limits) };
}

bool
desc_eq(const struct metric_desc *a, const struct metric_desc *b)
{
	return str_eq(a->path, b->path) && a->kind == b->kind && a->sub_kind == b->sub_kind &&
	       a->not_cumulative == b->not_cumulative && str_eq(a->unit, b->unit) &&
	       str_eq(a->description, b->description) &&
	       tags_eq(a->tags, a->tag_count, b->tags, b->tag_count) &&
	       str_eq(limit_bytes(a), limit_bytes(b));
}

uint64_t
desc_hash(const struct metric_desc *d)
{
	uint64_t small =
	    (uint64_t)d->kind | (uint64_t)d->sub_kind << 8 | (uint64_t)d->not_cumulative << 16;
	uint64_t hash = hash_mix(hash_bytes(d->path), small);

	hash = hash_mix(hash, hash_bytes(d->unit));
	hash = hash_mix(hash, hash_bytes(d->description));
	for (size_t i = 0; i < d->tag_count; i++) {
		hash = hash_mix(hash, hash_bytes(d->tags[i].key));
		hash = hash_mix(hash, hash_bytes(d->tags[i].value));
	}
	if (d->limit_count > 0)
		hash = hash_mix(hash, hash_bytes(limit_bytes(d)));
	return hash;
}

int
desc_cmp(const struct metric_desc *a, const struct metric_desc *b)
{
	int order = str_cmp(a->path, b->path);

	for (size_t i = 0; order == 0 && i < a->tag_count && i < b->tag_count; i++) {
		order = str_cmp(a->tags[i].key, b->tags[i].key);
		if (order == 0)
			order = str_cmp(a->tags[i].value, b->tags[i].value);
	}
	if (order == 0)
		order = (a->tag_count > b->tag_count) - (a->tag_count < b->tag_count);
	return order;
}

static bool
same_bits(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

static bool
dist_eq(const struct dist *a, const struct dist *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return a->len == b->len && a->count == b->count && a->rollovers == b->rollovers &&
	       same_bits(a->sum, b->sum) &&
	       (a->len == 0 || memcmp(a->counts, b->counts, a->len * sizeof(*a->counts)) == 0);
}

static bool
scalar_eq(enum kind kind, const struct value *a, const struct value *b)
{
	if (kind == KIND_BOOL)
		return a->b == b->b;
	if (kind == KIND_STRING)
		return str_eq(a->s, b->s);
	if (kind == KIND_FLOAT32 || kind == KIND_FLOAT64)
		return same_bits(a->f, b->f);
	return a->u == b->u; /* and i: the same bits */
}

static bool
list_eq(enum kind kind, const struct list *a, const struct list *b)
{
	if (a->len != b->len)
		return false;
	for (size_t i = 0; i < a->len; i++) {
		if (!scalar_eq(kind, &a->values[i], &b->values[i]))
			return false;
	}
	return true;
}

bool
value_eq(const struct metric_desc *desc, const struct value *a, const struct value *b)
{
	if (desc->kind == KIND_LIST)
		return list_eq(desc->sub_kind, a->list, b->list);
	if (desc->kind == KIND_DIST)
		return dist_eq(a->dist, b->dist);
	return scalar_eq(desc->kind, a, b);
}

struct value
value_zero(enum kind kind)
{
	static const struct list empty = { NULL, 0 };

	if (kind == KIND_STRING)
		return (struct value){ .s = STR_EMPTY };
	if (kind == KIND_LIST)
		return (struct value){ .list = &empty };
	if (kind == KIND_DIST)
		return (struct value){ .dist = NULL };
	return (struct value){ .u = 0 };
}

/* Seconds and their fraction apart, as upstream does it: one division would lose digits. */
static double
seconds(int64_t ns)
{
	return (double)(ns / NS_PER_S) + (double)(ns % NS_PER_S) * 1e-9;
}

double
value_to_double(enum kind kind, const struct value *value)
{
	assert(kind_is_numeric(kind));
	if (kind == KIND_TIME || kind == KIND_DURATION)
		return seconds(value->i);
	if (kind_is_int(kind))
		return (double)value->i;
	if (kind_is_uint(kind))
		return (double)value->u;
	return value->f;
}

int
path_cmp_components(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len, i = 0;

	while (i < len && a.p[i] == b.p[i])
		i++;
	if (i == len)
		return (a.len > b.len) - (a.len < b.len);
	/* Where a component ends, it is the shorter one: '/' sorts before every other byte. */
	if (a.p[i] == '/' || b.p[i] == '/')
		return a.p[i] == '/' ? -1 : 1;
	return (unsigned char)a.p[i] < (unsigned char)b.p[i] ? -1 : 1;
}

bool
path_is_under(struct str path, struct str prefix)
{
	if (prefix.len == 0 || str_eq(prefix, STR("/")))
		return true;
	return str_starts(path, prefix) && (path.len == prefix.len || path.p[prefix.len] == '/');
}
