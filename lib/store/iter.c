#include "store/iter.h"

#include <assert.h>
#include <stdlib.h>

#include "store/blob_priv.h"
#include "store/record_priv.h"
#include "store/set_priv.h"

/* Most series looked at, and most records copied, while the lock is held. */
#define CHUNK BLOB_HOLD

enum range_state { RANGE_NONE, RANGE_FIRST, RANGE_MORE };

struct iter {
	struct series_set *set;
	struct index *index;   /* NULL: the set is empty */
	size_t next;           /* in index, of the series after the current one */
	struct series *series; /* NULL before the first */
	enum iter_match match;

	enum range_state range;
	int64_t start_ns, before_ns; /* what is still to be read lies before before_ns */
	struct walk walk;

	struct blob_hold hold;
	struct str prefix;
	char prefix_bytes[];
};

struct iter *
iter_new(struct series_set *set, struct str prefix, enum iter_match match, struct err *err)
{
	struct iter *it = malloc(sizeof(*it) + prefix.len);

	if (it == NULL) {
		err_nomem(err);
		return NULL;
	}
	*it = (struct iter){ .set = series_set_ref(set), .match = match };
	if (prefix.len > 0)
		memcpy(it->prefix_bytes, prefix.p, prefix.len);
	it->prefix = (struct str){ it->prefix_bytes, prefix.len };
	/* "/" holds all, as "" does. */
	if (match == ITER_UNDER && str_eq(prefix, STR("/")))
		it->prefix.len = 0;
	lock_take(&set->lock);
	it->index = set->index;
	if (it->index != NULL)
		it->index->refs++;
	lock_drop(&set->lock);
	if (it->index != NULL)
		it->next = index_find(it->index, &(struct metric_desc){ .path = it->prefix });
	return it;
}

void
iter_free(struct iter *it)
{
	if (it == NULL)
		return;
	blob_hold_release(&it->hold);
	index_unref(it->index);
	series_set_unref(it->set);
	free(it);
}

static bool
matches(const struct iter *it, struct str path)
{
	return it->match == ITER_EXACT ? str_eq(path, it->prefix) : path_is_under(path, it->prefix);
}

/* The next series that matches, or NULL. What matches begins with the prefix, so does no other. */
static struct series *
find_next(struct iter *it)
{
	while (it->index != NULL && it->next < it->index->len) {
		struct series *series = it->index->series[it->next];

		if (!str_starts(series->meta->desc.path, it->prefix))
			break;
		it->next++;
		if (matches(it, series->meta->desc.path))
			return series;
	}
	return NULL;
}

bool
iter_next_series(struct iter *it, const struct metric_desc **desc)
{
	blob_hold_release(&it->hold);
	it->range = RANGE_NONE;
	it->series = find_next(it);
	if (it->series == NULL)
		return false;
	*desc = &it->series->meta->desc;
	return true;
}

/* False if the series is inactive. REQUIRES the set's lock. */
static bool
latest(struct iter *it, const struct series *series, struct record *out)
{
	const struct chain *values = &series->values;
	int64_t ts_ns = series->group->times.last.ts_ns;

	if (!values->last_active)
		return false;
	/* Right after a change of group, the new one may still be behind. */
	if (ts_ns < series->joined_ns)
		ts_ns = series->joined_ns;
	record_set(out, series, ts_ns, values->last.bits, true, &it->hold);
	return true;
}

bool
iter_latest(struct iter *it, struct record *out)
{
	bool active;

	assert(it->series != NULL);
	blob_hold_release(&it->hold);
	lock_take(&it->set->lock);
	active = latest(it, it->series, out);
	lock_drop(&it->set->lock);
	return active;
}

size_t
iter_latest_many(struct iter *it, struct record *out, size_t max)
{
	struct series *series[CHUNK];
	size_t n = 0, found = 1;

	if (max > CHUNK)
		max = CHUNK;
	blob_hold_release(&it->hold);
	it->range = RANGE_NONE;
	while (n == 0 && found > 0) {
		for (found = 0; found < max; found++) {
			series[found] = find_next(it);
			if (series[found] == NULL)
				break;
		}
		lock_take(&it->set->lock);
		for (size_t i = 0; i < found; i++)
			n += latest(it, series[i], &out[n]);
		lock_drop(&it->set->lock);
	}
	return n;
}

void
iter_range(struct iter *it, int64_t start_ns, int64_t end_ns)
{
	assert(it->series != NULL);
	it->range = start_ns < end_ns ? RANGE_FIRST : RANGE_NONE;
	it->start_ns = start_ns;
	it->before_ns = end_ns;
}

/* To the newest point before before_ns. REQUIRES the set's lock. */
static bool
find_point(struct iter *it)
{
	if (it->range == RANGE_FIRST)
		return walk_to(&it->walk, &it->series->values, it->before_ns - 1);
	return walk_resume(&it->walk, it->before_ns - 1);
}

/* REQUIRES the set's lock. */
static size_t
read_points(struct iter *it, struct record *out, size_t max)
{
	size_t n = 0;
	bool more = find_point(it);

	while (more && n < max) {
		struct point point = walk_point(&it->walk);

		record_set(&out[n++], it->series, point.ts_ns, point.bits, walk_active(&it->walk),
		    &it->hold);
		it->before_ns = point.ts_ns;
		more = point.ts_ns > it->start_ns && walk_prev(&it->walk);
	}
	it->range = more ? RANGE_MORE : RANGE_NONE;
	return n;
}

size_t
iter_read(struct iter *it, struct record *out, size_t max)
{
	size_t n;

	assert(it->series != NULL);
	blob_hold_release(&it->hold);
	if (it->range == RANGE_NONE || max == 0)
		return 0;
	lock_take(&it->set->lock);
	n = read_points(it, out, max < CHUNK ? max : CHUNK);
	lock_drop(&it->set->lock);
	return n;
}

/* Later of ts_ns and the oldest time the chain still has, if it lost any. */
static int64_t
whole_from(const struct chain *chain, int64_t ts_ns)
{
	int64_t first_ns = chain->lost_count == 0 ? 0 : chain_first_ns(chain);

	return first_ns > ts_ns ? first_ns : ts_ns;
}

int64_t
iter_earliest(struct iter *it)
{
	int64_t ts_ns;

	assert(it->series != NULL);
	blob_hold_release(&it->hold);
	lock_take(&it->set->lock);
	ts_ns = whole_from(&it->series->values, 0);
	ts_ns = whole_from(&it->series->group->times, ts_ns);
	lock_drop(&it->set->lock);
	return ts_ns;
}
