#include "sources/tricorder_layout_priv.h"

int
layout_arrays_make(
    struct layout_arrays *a, const struct layout *l, struct batch *batch, struct err *err)
{
	size_t n = l->shared.len;
	size_t bytes = n * (sizeof(*a->values) + sizeof(*a->ts)) +
	               l->slot_count * sizeof(*a->group_ts) + l->dist_count * sizeof(*a->dists) +
	               l->bucket_count * sizeof(*a->counts);

	/* In the order of alignment. */
	a->values = arena_alloc(&batch->arena, bytes);
	if (a->values == NULL) {
		batch_alloc_err(batch, bytes, err);
		return -1;
	}
	a->dists = (struct dist *)(void *)(a->values + n);
	a->ts = (int64_t *)(void *)(a->dists + l->dist_count);
	a->group_ts = a->ts + n;
	a->counts = (uint64_t *)(a->group_ts + l->slot_count);
	for (size_t i = 0; i < l->slot_count; i++)
		a->group_ts[i] = TS_NONE;
	return 0;
}

int
layout_descs(const struct layout *l, struct batch *batch, const struct metric_desc **desc,
    const int64_t **group, struct err *err)
{
	size_t n = l->shared.len;
	struct metric_desc *descs;
	int64_t *groups;

	*desc = l->desc;
	*group = l->group;
	if (l->desc != NULL)
		return 0;
	descs = arena_array(&batch->arena, n, sizeof(*descs));
	groups = descs == NULL ? NULL : arena_array(&batch->arena, n, sizeof(*groups));
	if (groups == NULL) {
		batch_alloc_err(batch, n * (descs == NULL ? sizeof(*descs) : sizeof(*groups)), err);
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		descs[i] = *l->skeletons[i]->desc;
		groups[i] = l->skeletons[i]->group;
	}
	*desc = descs;
	*group = groups;
	return 0;
}
