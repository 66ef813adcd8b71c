/*
 * The store against plain arrays that never forget. With plenty of memory the two must agree
 * exactly; with little, what the store still has must agree, and what it lacks must be the oldest
 * and be counted by every cursor that had not read it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store_fixture.h"

#define SETS      2
#define PATHS     8
#define VARIANTS  2 /* descriptions (limits, for distributions) of one path */
#define SERIES    (PATHS * VARIANTS)
#define GROUPS    4
#define CURSORS   2
#define MOST_READ 50

struct model_point {
	int64_t ts_ns;
	int64_t value; /* see value_key */
	bool active;
};

struct model_series {
	struct model_point *points;
	size_t len, cap;
	int group, old_group; /* old_group -1: none */
	int64_t left_ns, joined_ns;
};

struct model_group {
	int64_t *times;
	size_t len, cap;
};

struct model_set {
	struct series_set *set;
	struct model_series series[SERIES];
	struct model_group groups[GROUPS];
	uint64_t rollovers[PATHS], generations[PATHS];
	int last_variant[PATHS];
	/* What the endpoint is up to. */
	int64_t now_ns;
	int shift, variant;
};

/* Positions as the model knows them, by what was delivered. */
struct model_cursor {
	struct cursor *cursor;
	enum cursor_mode mode;
	int64_t read_ns[SETS][SERIES], committed_ns[SETS][SERIES];
	uint64_t skipped, skipped_committed;
	uint64_t forgotten; /* of the skipped */
};

struct world {
	uint64_t random;
	struct store *store;
	bool is_small;
	struct batch batch;
	struct model_set sets[SETS];
	struct model_cursor cursors[CURSORS];
	struct metric_desc descs[SERIES];
	char paths[PATHS][16];
};

static uint64_t
pick(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % n;
}

/* A series' kind goes by its path. */
static enum kind
kind_of(size_t path)
{
	static const enum kind kinds[] = { KIND_INT64, KIND_STRING, KIND_DIST, KIND_LIST };

	return kinds[path % ARRAY_LEN(kinds)];
}

static void
make_descs(struct world *w)
{
	static const double limits[VARIANTS][1] = { { 1 }, { 2 } };

	for (size_t i = 0; i < SERIES; i++) {
		size_t path = i / VARIANTS;
		struct metric_desc *desc = &w->descs[i];

		snprintf(w->paths[path], sizeof(w->paths[path]), "/path/%zu", path);
		*desc =
		    (struct metric_desc){ .path = str_of(w->paths[path]), .kind = kind_of(path) };
		if (desc->kind == KIND_LIST)
			desc->sub_kind = KIND_INT64;
		if (desc->kind == KIND_DIST) {
			desc->limits = limits[i % VARIANTS];
			desc->limit_count = 1;
		} else if (i % VARIANTS != 0) {
			desc->description = STR("another");
		}
	}
}

static struct value
make_value(struct world *w, enum kind kind, int64_t n, uint64_t generation)
{
	static const char *const texts[] = { "", "1", "2", "3" };
	struct dist *dist = arena_alloc(&w->batch.arena, sizeof(*dist));
	uint64_t *counts = arena_array(&w->batch.arena, 2, sizeof(*counts));
	struct list *list = arena_alloc(&w->batch.arena, sizeof(*list));
	struct value *values = arena_array(&w->batch.arena, 4, sizeof(*values));

	switch ((int)kind) {
	case KIND_STRING:
		return (struct value){ .s = str_of(texts[n]) };
	case KIND_DIST:
		counts[0] = (uint64_t)n;
		counts[1] = 7;
		*dist = (struct dist){ .counts = counts,
			.len = 2,
			.count = (uint64_t)n + 7,
			.sum = (double)n,
			.generation = generation };
		return (struct value){ .dist = dist };
	case KIND_LIST:
		memset(values, 0, 4 * sizeof(*values));
		*list = (struct list){ values, (size_t)n };
		return (struct value){ .list = list };
	default:
		return (struct value){ .i = n };
	}
}

/* One number that stands for a value; rollovers are part of a distribution. */
static int64_t
value_key(const struct record *record)
{
	const struct value *value = &record->value;

	switch ((int)record->desc->kind) {
	case KIND_STRING:
		return value->s.len == 0 ? 0 : value->s.p[0] - '0';
	case KIND_DIST:
		if (value->dist == NULL)
			return 0;
		assert_int_equal(value->dist->count, value->dist->counts[0] + 7);
		return (int64_t)(value->dist->counts[0] + 1000 * value->dist->rollovers);
	case KIND_LIST:
		return (int64_t)value->list->len;
	default:
		return value->i;
	}
}

static const struct model_point *
last_point(const struct model_series *s)
{
	return s->len == 0 ? NULL : &s->points[s->len - 1];
}

static bool
is_active(const struct model_series *s)
{
	return s->len > 0 && last_point(s)->active;
}

static int64_t
last_time(const struct model_group *g)
{
	return g->len == 0 ? TS_NONE : g->times[g->len - 1];
}

static void
add_point(struct model_series *s, int64_t ts_ns, int64_t value, bool active)
{
	if (s->len == s->cap) {
		s->cap = s->cap * 2 + 8;
		s->points = realloc(s->points, s->cap * sizeof(*s->points));
		assert_non_null(s->points);
	}
	assert_true(s->len == 0 || last_point(s)->ts_ns < ts_ns);
	s->points[s->len++] = (struct model_point){ ts_ns, value, active };
}

static void
add_time(struct model_group *g, int64_t ts_ns)
{
	if (g->len == g->cap) {
		g->cap = g->cap * 2 + 8;
		g->times = realloc(g->times, g->cap * sizeof(*g->times));
		assert_non_null(g->times);
	}
	g->times[g->len++] = ts_ns;
}

static int64_t
latest_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* The time at or before which a series may not get another point. */
static int64_t
floor_of(const struct model_set *m, const struct model_series *s, int group)
{
	int64_t floor_ns = latest_of(last_point(s)->ts_ns, s->joined_ns);

	return s->group == group ? floor_ns : latest_of(floor_ns, last_time(&m->groups[s->group]));
}

static void
move(const struct model_set *m, struct model_series *s, int group, int64_t floor_ns)
{
	if (group == s->group)
		return;
	s->joined_ns = latest_of(floor_ns, last_time(&m->groups[group]));
	s->left_ns = last_time(&m->groups[s->group]);
	s->old_group = s->group;
	s->group = group;
}

static void
add_marker(const struct model_set *m, struct model_series *s, int64_t ts_ns)
{
	int64_t floor_ns = floor_of(m, s, s->group);

	if (ts_ns <= floor_ns) {
		ts_ns = floor_ns + NS_PER_MS;
		s->joined_ns = ts_ns - 1;
	}
	add_point(s, ts_ns, 0, false);
}

/* What one poll found: per series a value, or that it was absent. */
struct poll {
	bool present[SERIES];
	int64_t n[SERIES];
	uint64_t generation[SERIES];
	int group[SERIES];
	int64_t ts_ns[GROUPS]; /* TS_NONE: the group is absent */
};

static int64_t
model_rollovers(struct model_set *m, size_t i, const struct poll *poll)
{
	size_t path = i / VARIANTS;

	if (m->rollovers[path] == 0 || poll->generation[i] < m->generations[path] ||
	    m->last_variant[path] != (int)(i % VARIANTS))
		m->rollovers[path]++;
	m->generations[path] = poll->generation[i];
	m->last_variant[path] = (int)(i % VARIANTS);
	return (int64_t)m->rollovers[path];
}

/* Adds a poll to the model. */
static struct append_stats
model_append(struct model_set *m, const struct poll *poll)
{
	struct append_stats stats = { 0, 0 };
	int64_t marker_ns[GROUPS];
	bool known[SERIES];

	for (int g = 0; g < GROUPS; g++)
		marker_ns[g] = poll->ts_ns[g] > last_time(&m->groups[g]) ? poll->ts_ns[g] : TS_NONE;
	for (size_t i = 0; i < SERIES; i++)
		known[i] = m->series[i].len > 0;
	for (size_t i = 0; i < SERIES; i++) {
		struct model_series *s = &m->series[i];
		int group = poll->group[i];
		int64_t value, ts_ns, floor_ns;

		if (!poll->present[i])
			continue;
		value = poll->n[i];
		ts_ns = poll->ts_ns[group];
		if (kind_of(i / VARIANTS) == KIND_DIST)
			value += 1000 * model_rollovers(m, i, poll);
		if (!known[i]) {
			s->group = group;
			if (marker_ns[group] == TS_NONE)
				s->joined_ns = last_time(&m->groups[group]) - 1;
			add_point(s, ts_ns, value, true);
			stats.added++;
			continue;
		}
		if (marker_ns[group] == TS_NONE) {
			stats.stale++;
			continue;
		}
		floor_ns = floor_of(m, s, group);
		if (ts_ns <= floor_ns) {
			stats.stale++;
		} else if (!is_active(s) || last_point(s)->value != value) {
			add_point(s, ts_ns, value, true);
			stats.added++;
		}
		move(m, s, group, floor_ns);
	}
	for (size_t i = 0; i < SERIES; i++) {
		struct model_series *s = &m->series[i];
		int g = s->group;

		if (!known[i] || poll->present[i] || !is_active(s))
			continue;
		if (poll->ts_ns[g] == TS_NONE && marker_ns[g] == TS_NONE)
			marker_ns[g] = last_time(&m->groups[g]) + NS_PER_MS;
		if (marker_ns[g] == TS_NONE)
			continue;
		add_marker(m, s, marker_ns[g]);
		stats.added++;
	}
	for (int g = 0; g < GROUPS; g++) {
		if (marker_ns[g] != TS_NONE)
			add_time(&m->groups[g], marker_ns[g]);
	}
	return stats;
}

static void
make_poll(struct world *w, struct model_set *m, struct poll *poll)
{
	memset(poll, 0, sizeof(*poll));
	for (int g = 0; g < GROUPS; g++)
		poll->ts_ns[g] = TS_NONE;
	if (pick(w, 10) != 0)
		m->now_ns += (int64_t)pick(w, 1000) * NS_PER_MS / 10;
	else if (pick(w, 3) == 0)
		m->now_ns -= 100 * NS_PER_MS;
	if (pick(w, 50) == 0)
		m->variant = !m->variant;
	for (size_t path = 0; path < PATHS; path++) {
		size_t i = path * VARIANTS + (size_t)m->variant * (path % 3 != 0);
		int group = (int)((path + (size_t)m->shift) % GROUPS);

		if (pick(w, 8) == 0 || (group == 1 && pick(w, 4) == 0))
			continue;
		poll->present[i] = true;
		poll->n[i] = path % 2 == 0 ? (int64_t)pick(w, 4) : pick(w, 20) == 0;
		poll->generation[i] = (uint64_t)m->now_ns / (50 * (uint64_t)NS_PER_S) % 3;
		poll->group[i] = group;
		poll->ts_ns[group] = m->now_ns + group * 30 * NS_PER_MS;
	}
}

static void
do_append(struct world *w, struct model_set *m)
{
	struct append_stats expected, got;
	struct poll poll;
	struct err err;

	make_poll(w, m, &poll);
	batch_reset(&w->batch);
	batch_set_unordered(&w->batch);
	for (size_t i = 0; i < SERIES; i++) {
		struct value value;

		if (!poll.present[i])
			continue;
		value = make_value(w, w->descs[i].kind, poll.n[i], poll.generation[i]);
		assert_int_equal(batch_add(&w->batch, &w->descs[i], &value, poll.group[i],
		                     poll.ts_ns[poll.group[i]], &err),
		    0);
	}
	assert_int_equal(w->batch.bad_count, 0);
	batch_end(&w->batch, 0);
	expected = model_append(m, &poll);
	if (store_append(m->set, &w->batch, &got, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(got.added, expected.added);
	assert_int_equal(got.stale, expected.stale);
}

static void
do_deactivate(struct model_set *m)
{
	bool touched[GROUPS] = { false };
	size_t marked = 0;

	for (size_t i = 0; i < SERIES; i++) {
		struct model_series *s = &m->series[i];

		if (!is_active(s))
			continue;
		add_marker(m, s, latest_of(m->now_ns, last_time(&m->groups[s->group]) + NS_PER_MS));
		touched[s->group] = true;
		marked++;
	}
	for (int g = 0; g < GROUPS; g++) {
		if (touched[g])
			add_time(&m->groups[g],
			    latest_of(m->now_ns, last_time(&m->groups[g]) + NS_PER_MS));
	}
	assert_int_equal(store_deactivate(m->set, m->now_ns), marked);
	assert_int_equal(series_set_active_count(m->set), 0);
}

/* Which series this description is. */
static size_t
series_of(const struct world *w, const struct metric_desc *desc)
{
	for (size_t i = 0; i < SERIES; i++) {
		if (desc_eq(&w->descs[i], desc))
			return i;
	}
	fail_msg("unknown series");
	return 0;
}

static void
check_point(const struct record *record, const struct model_point *point)
{
	assert_true(record->ts_ns == point->ts_ns);
	assert_int_equal(record->active, point->active);
	assert_int_equal(value_key(record), point->value);
}

/* One series' range, newest first: the store may lack only the oldest, and then says so. */
static void
check_range(struct world *w, struct iter *it, const struct model_series *s, int64_t start_ns,
    int64_t end_ns)
{
	struct record records[MOST_READ];
	size_t at = s->len, n;
	bool more = start_ns < end_ns;

	while (at > 0 && s->points[at - 1].ts_ns >= end_ns)
		at--;
	iter_range(it, start_ns, end_ns);
	while ((n = iter_read(it, records, 1 + pick(w, MOST_READ))) > 0) {
		for (size_t i = 0; i < n; i++) {
			assert_true(more && at > 0);
			check_point(&records[i], &s->points[--at]);
			more = s->points[at].ts_ns > start_ns;
		}
	}
	if (more && at > 0) {
		assert_true(w->is_small && at < s->len);
		assert_true(iter_earliest(it) >= s->points[at].ts_ns);
	}
}

static void
check_latest(const struct model_set *m, struct iter *it, const struct model_series *s)
{
	struct record record;
	bool active = iter_latest(it, &record);

	assert_int_equal(active, is_active(s));
	if (!active)
		return;
	assert_true(record.ts_ns == latest_of(last_time(&m->groups[s->group]), s->joined_ns));
	assert_int_equal(value_key(&record), last_point(s)->value);
}

static void
do_queries(struct world *w, struct model_set *m)
{
	int64_t end_ns = m->now_ns - (int64_t)pick(w, 2000) * NS_PER_S / 10;
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(m->set, STR_EMPTY, ITER_UNDER, &err);
	size_t count = 0;

	assert_non_null(it);
	while (iter_next_series(it, &desc)) {
		const struct model_series *s = &m->series[series_of(w, desc)];

		assert_true(s->len > 0);
		count++;
		check_latest(m, it, s);
		check_range(w, it, s, m->now_ns - (int64_t)pick(w, 5) * NS_PER_S, INT64_MAX);
		check_range(w, it, s, end_ns - (int64_t)pick(w, 100) * NS_PER_S, end_ns);
	}
	iter_free(it);
	for (size_t i = 0; i < SERIES; i++)
		count -= m->series[i].len > 0;
	assert_int_equal(count, 0);
}

/* How many of the times, or points, are at or before ts_ns. */
static size_t
times_upto(const struct model_group *g, int64_t ts_ns)
{
	size_t low = 0, high = g->len;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (g->times[mid] <= ts_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static size_t
points_upto(const struct model_series *s, int64_t ts_ns)
{
	size_t low = 0, high = s->len;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (s->points[mid].ts_ns <= ts_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The next time of the groups the series was in; false at the end. */
static bool
next_time(const struct model_set *m, const struct model_series *s, int64_t after_ns, int64_t *ts_ns)
{
	if (after_ns < s->left_ns) {
		const struct model_group *old = &m->groups[s->old_group];
		size_t at = times_upto(old, after_ns);

		if (at < old->len && old->times[at] <= s->left_ns) {
			*ts_ns = old->times[at];
			return true;
		}
	}
	after_ns = latest_of(after_ns, s->joined_ns);
	if (times_upto(&m->groups[s->group], after_ns) == m->groups[s->group].len)
		return false;
	*ts_ns = m->groups[s->group].times[times_upto(&m->groups[s->group], after_ns)];
	return true;
}

/* The record a cursor gets after after_ns, if nothing is ever lost. */
static bool
next_record(const struct model_set *m, const struct model_series *s, enum cursor_mode mode,
    int64_t after_ns, struct model_point *out)
{
	int64_t ts_ns, before_ns = after_ns;

	if (mode == CURSOR_CHANGES) {
		size_t at = points_upto(s, after_ns);

		if (at == s->len)
			return false;
		*out = s->points[at];
		return true;
	}
	while (s->len > 0 && next_time(m, s, before_ns, &ts_ns)) {
		size_t at = points_upto(s, ts_ns);

		/* Beyond a change of group, what came up to it is not repeated. */
		if (before_ns < s->joined_ns && ts_ns > s->joined_ns)
			before_ns = s->joined_ns;
		if (at > 0 && (s->points[at - 1].active || points_upto(s, before_ns) != at)) {
			*out = s->points[at - 1];
			out->ts_ns = ts_ns;
			return true;
		}
		before_ns = ts_ns;
	}
	return false;
}

/* Counts records up to, not including, the one at ts_ns, and moves the position there. */
static void
skip_to(struct model_cursor *c, const struct model_set *m, size_t set, size_t i, int64_t ts_ns)
{
	struct model_point point;
	int64_t *read_ns = &c->read_ns[set][i];

	while (next_record(m, &m->series[i], c->mode, *read_ns, &point) && point.ts_ns < ts_ns) {
		*read_ns = point.ts_ns;
		c->skipped++;
	}
}

static size_t
set_index(const struct world *w, const struct cursor_record *record)
{
	for (size_t set = 0; set < SETS; set++) {
		if (str_eq(record->host, series_set_host(w->sets[set].set)))
			return set;
	}
	fail_msg("unknown set");
	return 0;
}

/* Reads once; false when caught up. */
static bool
read_once(struct world *w, struct model_cursor *c)
{
	struct cursor_record records[MOST_READ];
	size_t n = cursor_read(c->cursor, records, 1 + pick(w, MOST_READ));

	for (size_t r = 0; r < n; r++) {
		size_t set = set_index(w, &records[r]);
		size_t i = series_of(w, records[r].record.desc);
		const struct model_set *m = &w->sets[set];
		struct model_point point;

		skip_to(c, m, set, i, records[r].record.ts_ns);
		assert_true(next_record(m, &m->series[i], c->mode, c->read_ns[set][i], &point));
		check_point(&records[r].record, &point);
		c->read_ns[set][i] = point.ts_ns;
	}
	return n > 0;
}

static void
catch_up(struct world *w, struct model_cursor *c)
{
	while (read_once(w, c))
		continue;
	for (size_t set = 0; set < SETS; set++) {
		for (size_t i = 0; i < SERIES; i++)
			skip_to(c, &w->sets[set], set, i, INT64_MAX);
	}
	assert_int_equal(cursor_missed_count(c->cursor), c->skipped);
	assert_true(w->is_small || c->skipped == c->forgotten);
}

static void
commit(struct model_cursor *c)
{
	cursor_commit(c->cursor);
	memcpy(c->committed_ns, c->read_ns, sizeof(c->read_ns));
	c->skipped_committed = c->skipped;
}

static void
rewind_cursor(struct model_cursor *c)
{
	cursor_rewind(c->cursor);
	memcpy(c->read_ns, c->committed_ns, sizeof(c->read_ns));
	c->skipped = c->skipped_committed;
}

static void
do_cursor(struct world *w, struct model_cursor *c)
{
	switch (pick(w, 5)) {
	case 0:
		commit(c);
		break;
	case 1:
		rewind_cursor(c);
		break;
	case 2:
		catch_up(w, c);
		break;
	default:
		read_once(w, c);
		break;
	}
}

/* Group ids are dealt out anew. */
static void
do_renumber(struct world *w, struct model_set *m)
{
	/* A change of group is exact for cursors that have seen the one before. */
	for (size_t i = 0; i < CURSORS; i++) {
		catch_up(w, &w->cursors[i]);
		commit(&w->cursors[i]);
	}
	m->shift = (int)pick(w, GROUPS);
}

static void
open_set(struct world *w, size_t set)
{
	static const struct str hosts[SETS] = { { "one", 3 }, { "two", 3 } };
	struct model_set *m = &w->sets[set];
	struct err err;

	*m = (struct model_set){ .now_ns = BASE_NS };
	m->set = store_set(w->store, hosts[set], STR("app"), &err);
	assert_non_null(m->set);
	for (size_t i = 0; i < SERIES; i++) {
		m->series[i].old_group = -1;
		m->series[i].left_ns = m->series[i].joined_ns = TS_NONE;
		for (size_t c = 0; c < CURSORS; c++)
			w->cursors[c].read_ns[set][i] = w->cursors[c].committed_ns[set][i] =
			    TS_NONE;
	}
}

static void
close_set(struct model_set *m)
{
	for (size_t i = 0; i < SERIES; i++)
		free(m->series[i].points);
	for (size_t g = 0; g < GROUPS; g++)
		free(m->groups[g].times);
	series_set_unref(m->set);
}

/* The endpoint goes; another of its name comes. */
static void
do_forget(struct world *w, size_t set)
{
	struct model_set *m = &w->sets[set];

	for (size_t i = 0; i < CURSORS; i++) {
		struct model_cursor *c = &w->cursors[i];

		commit(c);
		for (size_t j = 0; j < SERIES; j++)
			skip_to(c, m, set, j, INT64_MAX);
		c->forgotten += c->skipped - c->skipped_committed;
		c->skipped_committed = c->skipped;
	}
	store_forget(w->store, m->set);
	close_set(m);
	open_set(w, set);
}

static void
check_sums(struct world *w)
{
	struct store_stats stats;
	uint64_t points = 0, series = 0, active = 0;

	store_get_stats(w->store, &stats);
	for (size_t set = 0; set < SETS; set++) {
		for (size_t i = 0; i < SERIES; i++) {
			const struct model_series *s = &w->sets[set].series[i];

			points += s->len;
			series += s->len > 0;
			active += is_active(s);
		}
	}
	assert_int_equal(stats.series, series);
	assert_int_equal(stats.active_series, active);
	assert_true(stats.values == points || (w->is_small && stats.values < points));
	assert_true(stats.bytes_used <= stats.bytes_limit);
}

static void
step(struct world *w)
{
	size_t set = pick(w, SETS);
	uint64_t what = pick(w, 1000);

	if (what < 700)
		do_append(w, &w->sets[set]);
	else if (what < 710)
		do_deactivate(&w->sets[set]);
	else if (what < 750)
		do_queries(w, &w->sets[set]);
	else if (what < 755)
		do_renumber(w, &w->sets[set]);
	else if (what < 756)
		do_forget(w, set);
	else
		do_cursor(w, &w->cursors[pick(w, CURSORS)]);
	check_sums(w);
}

static void
open_world(struct world *w, uint64_t seed, uint64_t memory_bytes, bool is_small)
{
	struct err err;

	*w = (struct world){ .random = seed * UINT64_C(0x9e3779b97f4a7c15), .is_small = is_small };
	w->store = store_new(&(struct store_conf){ .memory_bytes = memory_bytes }, NULL, &err);
	assert_non_null(w->store);
	batch_init(&w->batch, 0);
	make_descs(w);
	for (size_t c = 0; c < CURSORS; c++) {
		w->cursors[c].mode = c % 2 == 0 ? CURSOR_EVERY : CURSOR_CHANGES;
		w->cursors[c].cursor =
		    cursor_new(w->store, c == 0 ? "c0" : "c1", w->cursors[c].mode, &err);
		assert_non_null(w->cursors[c].cursor);
	}
	for (size_t set = 0; set < SETS; set++)
		open_set(w, set);
}

static void
close_world(struct world *w)
{
	for (size_t c = 0; c < CURSORS; c++) {
		catch_up(w, &w->cursors[c]);
		cursor_free(w->cursors[c].cursor);
	}
	for (size_t set = 0; set < SETS; set++)
		close_set(&w->sets[set]);
	batch_fini(&w->batch);
	store_free(w->store);
}

static void
run(uint64_t first_seed, uint64_t seeds, uint64_t memory_bytes, bool is_small)
{
	static struct world w;

	for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
		open_world(&w, seed, memory_bytes, is_small);
		for (int i = 0; i < 5000; i++)
			step(&w);
		close_world(&w);
	}
}

static void
with_plenty_of_memory_nothing_is_lost(void **state)
{
	(void)state;
	run(1, 8, BIG_BYTES, false);
}

static void
with_little_memory_the_oldest_is_lost_and_counted(void **state)
{
	(void)state;
	run(101, 8, 128 * 1024, true);
}

static void
with_hardly_any_memory_the_newest_is_left(void **state)
{
	(void)state;
	run(201, 4, 32 * 1024, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(with_plenty_of_memory_nothing_is_lost),
		cmocka_unit_test(with_little_memory_the_oldest_is_lost_and_counted),
		cmocka_unit_test(with_hardly_any_memory_the_newest_is_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
