/*
 * An append goes in three steps. The plan says for each metric what becomes of it and makes all
 * that is new, outside the set. The reservation gets the rest that can fail: room and pages. The
 * fill, with the set's lock held, only moves pointers, so that a poll lands whole or not at all.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/clock.h"
#include "store/blob_priv.h"
#include "store/cursor_priv.h"
#include "store/set_priv.h"
#include "store/store_priv.h"

/*
 * Later times are taken for this one. It leaves room above for markers, each 1 ms later than what
 * came before, for as many as there can ever be.
 */
#define TS_MOST (INT64_MAX - 365 * 86400 * NS_PER_S)

enum fate {
	FATE_STALE, /* its group's time does not advance */
	FATE_SAME,
	FATE_ADD, /* another value */
	FATE_NEW, /* first value of a new series */
};

/* What becomes of one metric. */
struct item {
	enum fate fate;
	struct series *series; /* FATE_NEW: the append's own until it is filled in */
	struct group *group;
	uint64_t bits;      /* ADD, NEW: likewise, if it is a blob */
	uint64_t rollovers; /* KIND_DIST */
};

struct append {
	struct series_set *set;
	const struct batch *batch; /* NULL: nothing is there any more */
	struct item *items;        /* one per metric */
	size_t new_count, stale_count;
	size_t seen_count;   /* active series the batch has */
	size_t absent_count; /* active series that get a marker */
	struct index *index; /* the set's next; NULL: no new series */
	struct page_list pages;
};

static int64_t
later_by_ms(int64_t ts_ns)
{
	assert(ts_ns <= INT64_MAX - NS_PER_MS);
	return ts_ns + NS_PER_MS;
}

/* The series whose description this is, or NULL. Most batches are like the one before. */
static struct series *
find_series(const struct series_set *set, size_t i, const struct metric_desc *desc, uint64_t *hash)
{
	size_t step = 0;
	uint32_t at;

	if (i < set->order_len && desc_eq(&set->series[set->order[i]]->meta->desc, desc))
		return set->series[set->order[i]];
	*hash = desc_hash(desc);
	while (lookup_next(&set->by_desc, *hash, &step, &at)) {
		struct series *series = set->series[at];

		if (series->meta->hash == *hash && desc_eq(&series->meta->desc, desc))
			return series;
	}
	return NULL;
}

/* The metric's group, with its time in this poll. */
static struct group *
plan_group(struct append *a, size_t i, const struct series *known, struct err *err)
{
	int64_t id = a->batch->group[i], ts_ns = a->batch->ts[i];
	struct group *group = known == NULL ? NULL : known->group;

	if (group == NULL || group->id != id)
		group = i > 0 ? a->items[i - 1].group : NULL;
	if (group == NULL || group->id != id)
		group = set_group(a->set, id, err);
	if (group != NULL && group->poll != a->set->poll) {
		group->poll = a->set->poll;
		group->next_ns = ts_ns < TS_MOST ? ts_ns : TS_MOST;
		group->advances = group->next_ns > group->times.last.ts_ns;
	}
	return group;
}

static bool
same_limits(const struct metric_desc *a, const struct metric_desc *b)
{
	return a->limit_count == b->limit_count &&
	       (a->limit_count == 0 ||
	           memcmp(a->limits, b->limits, a->limit_count * sizeof(*a->limits)) == 0);
}

/* The count with this value: one more if the source began anew. */
static uint64_t
plan_rollovers(const struct series *series, const struct value *value)
{
	const struct rollover *rollover = series->rollover;

	if (rollover == NULL)
		return 0;
	if (rollover->count == 0 || value->dist->generation < rollover->generation ||
	    !same_limits(&rollover->meta->desc, &series->meta->desc))
		return rollover->count + 1;
	return rollover->count;
}

static bool
holds_already(const struct series *series, const struct value *value, uint64_t rollovers)
{
	return series->values.last_active &&
	       bits_hold_value(series->values.last.bits, &series->meta->desc, value, rollovers);
}

static int
plan_new(struct append *a, size_t i, uint64_t hash, struct err *err)
{
	struct store *store = a->set->store;
	const struct value *value = &a->batch->value[i];
	struct item *item = &a->items[i];
	struct meta *meta = meta_intern(store, &a->batch->desc[i], hash, err);
	struct series *series;

	if (meta == NULL)
		return -1;
	series = series_new(a->set, meta, err);
	if (series == NULL)
		return -1;
	item->rollovers = plan_rollovers(series, value);
	if (value_to_bits(store, &meta->desc, value, item->rollovers, &item->bits, err) != 0) {
		series_free(series);
		return -1;
	}
	item->series = series;
	item->fate = FATE_NEW;
	a->new_count++;
	return 0;
}

/*
 * The series' last time, as readers saw it, were it in this group from now on. Past a change of
 * group it is later than the last point: the new group may be behind the old one, but a series
 * does not go back.
 */
static int64_t
floor_ns(const struct series *series, const struct group *group)
{
	int64_t floor_ns = series->values.last.ts_ns;

	if (floor_ns < series->joined_ns)
		floor_ns = series->joined_ns;
	if (group != series->group && floor_ns < series->group->times.last.ts_ns)
		floor_ns = series->group->times.last.ts_ns;
	return floor_ns;
}

static int
plan_metric(struct append *a, size_t i, struct err *err)
{
	const struct value *value = &a->batch->value[i];
	struct item *item = &a->items[i];
	uint64_t hash = 0;
	struct series *series = find_series(a->set, i, &a->batch->desc[i], &hash);

	item->group = plan_group(a, i, series, err);
	if (item->group == NULL)
		return -1;
	if (series == NULL)
		return plan_new(a, i, hash, err);
	item->series = series;
	item->rollovers = plan_rollovers(series, value);
	series->poll = a->set->poll;
	a->seen_count += series->values.last_active;
	if (!item->group->advances || item->group->next_ns <= floor_ns(series, item->group)) {
		item->fate = FATE_STALE;
		a->stale_count++;
	} else if (holds_already(series, value, item->rollovers)) {
		item->fate = FATE_SAME;
	} else if (value_to_bits(a->set->store, &series->meta->desc, value, item->rollovers,
	               &item->bits, err) == 0) {
		item->fate = FATE_ADD;
	} else {
		return -1;
	}
	return 0;
}

/* An active series that the poll does not have, though its group's time allows for a marker. */
static bool
is_absent(const struct series_set *set, const struct series *series)
{
	return series->values.last_active && series->poll != set->poll &&
	       series->group->poll == set->poll && series->group->advances;
}

/*
 * Counts absent series, and finds times for groups that are absent as a whole: wanted_ns, or
 * 1 ms after the last one if that is later.
 */
static void
plan_absent(struct append *a, int64_t wanted_ns)
{
	struct series_set *set = a->set;

	if (a->seen_count == set->active_count)
		return;
	for (size_t i = 0; i < set->len; i++) {
		struct series *series = set->series[i];
		struct group *group = series->group;

		if (!series->values.last_active || series->poll == set->poll)
			continue;
		if (group->poll != set->poll) {
			int64_t soonest_ns = later_by_ms(group->times.last.ts_ns);

			group->poll = set->poll;
			group->advances = true;
			group->next_ns = wanted_ns > soonest_ns ? wanted_ns : soonest_ns;
		}
		a->absent_count += is_absent(set, series);
	}
}

static int
plan(struct append *a, struct err *err)
{
	size_t n = a->batch->len;

	a->items = calloc(n == 0 ? 1 : n, sizeof(*a->items));
	if (a->items == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		if (plan_metric(a, i, err) != 0)
			return -1;
	}
	plan_absent(a, TS_NONE);
	return 0;
}

static int
reserve_order(struct append *a, struct err *err)
{
	struct series_set *set = a->set;
	size_t n = a->batch->len;
	uint32_t *order;

	if (n <= set->order_cap)
		return 0;
	order = memory_grow(
	    set->store, set->order, set->order_cap * sizeof(*order), n * sizeof(*order), err);
	if (order == NULL)
		return -1;
	set->order = order;
	set->order_cap = n;
	return 0;
}

static int
reserve_new(struct append *a, struct err *err)
{
	struct series_set *set = a->set;
	struct series **series;
	size_t n = 0;

	if (a->new_count == 0)
		return 0;
	assert(set->len + a->new_count < UINT32_MAX);
	if (set_reserve(set, set->len + a->new_count, err) != 0 ||
	    lookup_reserve(set->store, &set->by_desc, set->len + a->new_count, err) != 0)
		return -1;
	series = malloc(a->new_count * sizeof(struct series *));
	if (series == NULL) {
		err_nomem(err);
		return -1;
	}
	for (size_t i = 0; i < a->batch->len; i++) {
		if (a->items[i].fate == FATE_NEW)
			series[n++] = a->items[i].series;
	}
	a->index = index_with(set->index, series, n, set, err);
	free(series);
	return a->index == NULL ? -1 : 0;
}

/*
 * Pages the fill will ask for. Until then others may reclaim pages of this set and so make it
 * need more: chain_add does without.
 */
static size_t
pages_needed(const struct append *a)
{
	struct series_set *set = a->set;
	size_t n = 0;

	lock_take(&set->lock);
	for (size_t i = 0; a->batch != NULL && i < a->batch->len; i++) {
		if (a->items[i].fate == FATE_ADD)
			n += chain_needs_page(&a->items[i].series->values);
	}
	for (size_t i = 0; a->absent_count > 0 && i < set->len; i++) {
		if (is_absent(set, set->series[i]))
			n += chain_needs_page(&set->series[i]->values);
	}
	for (size_t i = 0; i < set->group_len; i++) {
		const struct group *group = set->groups[i];

		if (group->poll == set->poll && group->advances)
			n += chain_needs_page(&group->times);
	}
	lock_drop(&set->lock);
	return n;
}

/* Counts a series in or out as active. REQUIRES the set's lock, as all below. */
static void
count_active(struct series *series, bool active)
{
	struct series_set *set = series->values.set;
	struct group *group = series->group;

	if (active) {
		set->active_count++;
		group->active_count++;
	} else {
		set->active_count--;
		group->active_count--;
	}
	chain_set_idle(&series->values, !active);
	chain_set_idle(&group->times, group->active_count == 0);
}

static void
move_to_group(struct series *series, struct group *group)
{
	bool active = series->values.last_active;

	if (active)
		count_active(series, false);
	series->joined_ns = floor_ns(series, group);
	if (series->joined_ns < group->times.last.ts_ns)
		series->joined_ns = group->times.last.ts_ns;
	series->left_ns = series->group->times.last.ts_ns;
	series->old_group = series->group;
	series->group = group;
	if (active)
		count_active(series, true);
}

static void
fill_new(struct append *a, struct item *item)
{
	struct series_set *set = a->set;
	struct series *series = item->series;

	series->group = item->group;
	if (!item->group->advances) /* of the group's times it has the last */
		series->joined_ns = item->group->times.last.ts_ns - 1;
	series->ordinal = (uint32_t)set->len;
	series->poll = set->poll;
	set->series[set->len++] = series;
	lookup_add(&set->by_desc, series->meta->hash, series->ordinal);
	chain_add(
	    &series->values, (struct point){ item->group->next_ns, item->bits }, true, &a->pages);
	count_active(series, true);
}

static void
fill_known(struct append *a, struct item *item)
{
	struct series *series = item->series;
	bool was_active = series->values.last_active;

	if (series->group != item->group && item->group->advances)
		move_to_group(series, item->group);
	if (item->fate != FATE_ADD)
		return;
	chain_add(
	    &series->values, (struct point){ item->group->next_ns, item->bits }, true, &a->pages);
	if (!was_active)
		count_active(series, true);
}

static void
fill_rollover(struct append *a, size_t i)
{
	const struct item *item = &a->items[i];
	struct rollover *rollover = item->series->rollover;

	if (rollover == NULL)
		return;
	if (rollover->count == 0) {
		rollover->next = a->set->rollovers;
		a->set->rollovers = rollover;
	}
	rollover->count = item->rollovers;
	rollover->generation = a->batch->value[i].dist->generation;
	rollover->meta = item->series->meta;
}

/* Returns how many points were added. */
static size_t
fill_batch(struct append *a)
{
	struct series_set *set = a->set;
	size_t added = 0;

	for (size_t i = 0; i < a->batch->len; i++) {
		struct item *item = &a->items[i];

		if (item->fate == FATE_NEW)
			fill_new(a, item);
		else
			fill_known(a, item);
		fill_rollover(a, i);
		added += item->fate == FATE_NEW || item->fate == FATE_ADD;
		set->order[i] = item->series->ordinal;
	}
	set->order_len = a->batch->len;
	return added;
}

/* The marker comes at the group's time; if the series is ahead of its group, 1 ms after its own. */
static int64_t
marker_ns(struct series *series)
{
	int64_t last_ns = floor_ns(series, series->group);

	if (series->group->next_ns > last_ns)
		return series->group->next_ns;
	/* No time of the group before the marker can be one of the series. */
	series->joined_ns = later_by_ms(last_ns) - 1;
	return later_by_ms(last_ns);
}

static size_t
fill_absent(struct append *a)
{
	struct series_set *set = a->set;

	for (size_t i = 0; a->absent_count > 0 && i < set->len; i++) {
		struct series *series = set->series[i];

		if (!is_absent(set, series))
			continue;
		chain_add(
		    &series->values, (struct point){ marker_ns(series), 0 }, false, &a->pages);
		count_active(series, false);
	}
	return a->absent_count;
}

static void
fill_times(struct append *a)
{
	struct series_set *set = a->set;

	for (size_t i = 0; i < set->group_len; i++) {
		struct group *group = set->groups[i];

		if (group->poll == set->poll && group->advances)
			chain_add(
			    &group->times, (struct point){ group->next_ns, 0 }, true, &a->pages);
	}
}

/* Does what was planned. Returns how many points were added. */
static size_t
fill(struct append *a)
{
	struct series_set *set = a->set;
	struct store *store = set->store;
	struct index *old_index = NULL;
	size_t added = 0, active;

	lock_take(&set->lock);
	active = set->active_count;
	if (a->batch != NULL)
		added += fill_batch(a);
	added += fill_absent(a);
	fill_times(a);
	if (a->index != NULL) {
		old_index = set->index;
		set->index = a->index;
		a->index = NULL;
	}
	set->append_count++;
	store->value_count += added;
	store->series_count += a->new_count;
	store->active_count += set->active_count - active; /* modulo 2^64 */
	lock_drop(&set->lock);
	index_unref(old_index);
	return added;
}

/* Frees what was planned and not filled in. */
static void
undo(struct append *a)
{
	for (size_t i = 0; a->items != NULL && i < a->batch->len; i++) {
		struct item *item = &a->items[i];

		if (item->fate != FATE_ADD && item->fate != FATE_NEW)
			continue;
		if (kind_has_blob(item->series->meta->desc.kind))
			blob_unref(blob_of_bits(item->bits));
		if (item->fate == FATE_NEW)
			series_free(item->series);
	}
	index_unref(a->index);
}

int
store_append(
    struct series_set *set, const struct batch *batch, struct append_stats *stats, struct err *err)
{
	struct append a = { .set = set, .batch = batch };
	int rc = -1;

	assert(set != NULL && batch != NULL && stats != NULL && err != NULL);
	set->poll++;
	if (plan(&a, err) != 0 || reserve_order(&a, err) != 0 || reserve_new(&a, err) != 0)
		goto out;
	if (memory_pages(set->store, pages_needed(&a), &a.pages, err) != 0)
		goto out;
	stats->added = fill(&a);
	stats->stale = a.stale_count;
	rc = 0;
out:
	memory_free_pages(set->store, &a.pages); /* what the fill left over */
	if (rc != 0) {
		undo(&a);
		err_wrap(err, "append %zu values to %.*s/%.*s", batch->len, STR_ARG(set->host),
		    STR_ARG(set->app));
	}
	free(a.items);
	return rc;
}

size_t
store_deactivate(struct series_set *set, int64_t ts_ns)
{
	struct append a = { .set = set };
	struct err err;
	size_t marked;

	assert(set != NULL);
	set->poll++;
	plan_absent(&a, ts_ns < TS_MOST ? ts_ns : TS_MOST);
	if (a.absent_count == 0)
		return 0;
	/* Without memory for a page the marker takes the place of the last value. */
	(void)memory_pages(set->store, pages_needed(&a), &a.pages, &err);
	marked = fill(&a);
	memory_free_pages(set->store, &a.pages);
	return marked;
}
