#include "messages/tricorder.h"

#include <math.h>

#include "messages/json.h"

static void
distribution(struct json *j, const struct metric_desc *desc, const struct dist *d)
{
	/* As tricorder does: with nothing in it, all else reads zero too. */
	static const struct dist nothing = { .count = 0 };
	const struct dist *shown = d->count == 0 ? &nothing : d;

	json_begin_object(j);
	json_key(j, "min");
	json_f64(j, shown->min);
	json_key(j, "max");
	json_f64(j, shown->max);
	json_key(j, "average");
	json_f64(j, shown->average);
	json_key(j, "median");
	json_f64(j, shown->median);
	json_key(j, "sum");
	json_f64(j, shown->sum);
	json_key(j, "count");
	json_u64(j, shown->count);
	json_key(j, "generation");
	json_u64(j, shown->generation);
	if (desc->not_cumulative && d->count > 0) {
		json_key(j, "isNotCumulative");
		json_bool(j, true);
	}
	json_key(j, "ranges");
	json_begin_array(j);
	for (size_t i = 0; i < d->len; i++) {
		json_begin_object(j);
		json_key(j, "lower");
		json_f64(j, i == 0 ? 0 : desc->limits[i - 1]);
		json_key(j, "upper");
		json_f64(j, i == desc->limit_count ? 0 : desc->limits[i]);
		json_key(j, "count");
		json_u64(j, d->counts[i]);
		json_end_object(j);
	}
	json_end_array(j);
	json_end_object(j);
}

static void
metric(struct json *j, const struct batch *b, size_t i)
{
	const struct metric_desc *desc = &b->desc[i];

	json_begin_object(j);
	json_desc(j, desc);
	json_key(j, "value");
	if (desc->kind == KIND_DIST)
		distribution(j, desc, b->value[i].dist);
	else
		json_value(j, desc, &b->value[i]);
	json_key(j, "timestamp");
	json_ts(j, b->ts[i]);
	json_key(j, "groupId");
	json_i64(j, b->group[i]);
	json_tags(j, desc);
	json_end_object(j);
}

static bool
is_listed(const struct batch *b, size_t i)
{
	enum kind kind = b->desc[i].kind;

	return (kind != KIND_FLOAT32 && kind != KIND_FLOAT64) || isfinite(b->value[i].f);
}

void
tricorder_encode(const struct batch *b, struct str prefix, struct buf *out)
{
	struct json j;

	json_init(&j, out, true);
	json_begin_array(&j);
	for (size_t i = 0; i < b->len; i++) {
		if (path_is_under(b->desc[i].path, prefix) && is_listed(b, i))
			metric(&j, b, i);
	}
	json_end_array(&j);
}

bool
tricorder_encode_one(const struct batch *b, struct str path, struct buf *out)
{
	struct json j;

	for (size_t i = 0; i < b->len; i++) {
		if (str_eq(b->desc[i].path, path)) {
			json_init(&j, out, true);
			metric(&j, b, i);
			return true;
		}
	}
	return false;
}
