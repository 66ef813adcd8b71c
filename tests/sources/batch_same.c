#include "batch_same.h"

static bool
same_f64(double a, double b)
{
	return memcmp(&a, &b, sizeof(a)) == 0;
}

/* Also what the store does not keep, and value_eq leaves out. */
static bool
same_dist(const struct dist *a, const struct dist *b)
{
	return a->len == b->len && memcmp(a->counts, b->counts, a->len * sizeof(*a->counts)) == 0 &&
	       a->count == b->count && a->generation == b->generation &&
	       a->rollovers == b->rollovers && same_f64(a->sum, b->sum) &&
	       same_f64(a->min, b->min) && same_f64(a->max, b->max) &&
	       same_f64(a->average, b->average) && same_f64(a->median, b->median);
}

const char *
batch_difference(const struct batch *a, const struct batch *b)
{
	if (a->bad_count != b->bad_count)
		return "bad_count";
	if (strcmp(a->bad_text, b->bad_text) != 0)
		return "bad_text";
	if (a->len != b->len)
		return "len";
	for (size_t i = 0; i < a->len; i++) {
		if (!desc_eq(&a->desc[i], &b->desc[i]))
			return "desc";
		if (a->group[i] != b->group[i])
			return "group";
		if (a->ts[i] != b->ts[i])
			return "ts";
		if (!value_eq(&a->desc[i], &a->value[i], &b->value[i]))
			return "value";
		if (a->desc[i].kind == KIND_DIST && !same_dist(a->value[i].dist, b->value[i].dist))
			return "distribution";
	}
	return NULL;
}
