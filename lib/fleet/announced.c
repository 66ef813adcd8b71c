#include "fleet/announced_priv.h"

#include "fleet/target_conf_priv.h"

/* What is known of one NAME so far. */
struct candidate {
	struct announced app;
	bool has_metrics;
};

/*
 * Splits /health-checks/NAME/LEAF; false for any other path, or a NAME that can't be one of ours.
 */
static bool
split_path(struct str path, struct str *name, struct str *leaf)
{
	const struct str prefix = STR("/health-checks/");

	if (!str_starts(path, prefix))
		return false;
	*leaf = str_sub(path, prefix.len, path.len);
	return str_split(leaf, '/', name) && leaf->len > 0 &&
	       name_fault(*name, NAME_IDENTITY) == NULL;
}

/* The port if the metric is of an integer kind and in range, else 0. */
static uint16_t
port_of(const struct metric_desc *desc, const struct value *value)
{
	if (kind_is_int(desc->kind) && value->i > 0 && value->i <= UINT16_MAX)
		return (uint16_t)value->i;
	if (kind_is_uint(desc->kind) && value->u > 0 && value->u <= UINT16_MAX)
		return (uint16_t)value->u;
	return 0;
}

static void
note(struct candidate *candidate, struct str leaf, const struct metric_desc *desc,
    const struct value *value)
{
	bool yes = desc->kind == KIND_BOOL && value->b;

	if (str_eq(leaf, STR("has-tricorder-metrics")))
		candidate->has_metrics = yes;
	else if (str_eq(leaf, STR("port-number")))
		candidate->app.port = port_of(desc, value);
	else if (str_eq(leaf, STR("use-tls")))
		candidate->app.tls = yes;
}

/* Adds the candidate if it counts. Names come in runs, as a batch is in component order. */
static int
keep(const struct candidate *candidate, struct arena *arena, struct announced *out, size_t *n)
{
	if (!candidate->has_metrics || candidate->app.port == 0 || *n == ANNOUNCED_COUNT_MAX)
		return 0;
	out[*n] = candidate->app;
	out[*n].name = arena_copy(arena, candidate->app.name);
	if (out[*n].name.p == NULL)
		return -1;
	(*n)++;
	return 0;
}

/* How many different names there can be at most. */
static size_t
count_names(const struct batch *batch)
{
	struct str name, leaf, last = STR_EMPTY;
	size_t n = 0;

	for (size_t i = 0; i < batch->len && n < ANNOUNCED_COUNT_MAX; i++)
		if (split_path(batch->desc[i].path, &name, &leaf) && !str_eq(name, last)) {
			last = name;
			n++;
		}
	return n;
}

int
announced_read(const struct batch *batch, struct arena *arena, struct announced **out, size_t *n)
{
	struct candidate candidate = { 0 };

	*n = 0;
	*out = arena_array(arena, count_names(batch), sizeof(**out));
	if (*out == NULL)
		return -1;
	for (size_t i = 0; i < batch->len; i++) {
		struct str name, leaf;

		if (!split_path(batch->desc[i].path, &name, &leaf))
			continue;
		if (!str_eq(name, candidate.app.name)) {
			if (keep(&candidate, arena, *out, n) != 0)
				return -1;
			candidate = (struct candidate){ .app.name = name };
		}
		note(&candidate, leaf, &batch->desc[i], &batch->value[i]);
	}
	return keep(&candidate, arena, *out, n);
}
