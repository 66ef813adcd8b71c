/*
 * The store against plain arrays that never forget. With plenty of memory the two must agree
 * exactly; with little, what the store still has must agree, and what it lacks must be the oldest
 * and be counted by every cursor that had not read it.
 *
 * Steps are polls (series come, go, wake, change their group), ends of all of an endpoint's series,
 * endpoints forgotten, queries, cursors and roll-ups that read, commit and rewind, and restarts:
 * what was told so far is restored into another store, which must answer alike. Little memory
 * reclaims all the time.
 *
 * 100,000 steps are run; MODEL_TIMES=30 in the environment runs 3 million, with other seeds.
 */
#include <stdio.h>
#include <stdlib.h>

#include "store/frame_priv.h"
#include "store/redo.h"
#include "store_fixture.h"

#define STEPS       5000 /* of a world */
#define SEEDS_APART 1000
#define SETS        2
#define PATHS       8
#define VARIANTS    2 /* descriptions (limits, for distributions) of one path */
#define SERIES      (PATHS * VARIANTS)
#define GROUPS      4
#define STREAMS     64
#define CURSORS     2 /* one of each mode */
#define MOST_READ   50
#define SPAN_NS     (2 * NS_PER_S) /* of frames */

struct model_point {
	int64_t ts_ns;
	int64_t value; /* see value_key */
	bool active;
};

struct model_points {
	struct model_point *p;
	size_t len, cap;
};

struct model_series {
	struct model_points by_mode[CURSORS]; /* records as cursors of that mode get them */
	int stream;                           /* -1: not known yet */
};

struct model_stream {
	int64_t ts_ns; /* TS_NONE: not there yet */
	int id;        /* of its group, last time */
};

struct model_set {
	struct series_set *set;
	struct model_series series[SERIES];
	struct model_stream streams[STREAMS];
	int stream_count;
	uint64_t rollovers[PATHS], generations[PATHS];
	int last_variant[PATHS];
	/* What the endpoint is up to. */
	int64_t now_ns;
	int shift, variant;
	bool is_small;
};

/* Positions as the model knows them, by what was delivered. */
struct model_cursor {
	struct cursor *cursor;
	enum cursor_mode mode;
	size_t read[SETS][SERIES], committed[SETS][SERIES]; /* records */
	uint64_t skipped, skipped_committed;
	uint64_t forgotten; /* of the skipped */
};

/* Records that have been given out, of each series. */
struct model_rollup {
	struct rollup *rollup;
	enum rollup_fn fn;
	size_t read[SETS][SERIES], committed[SETS][SERIES];
};

/* What the store tells, one stretch. */
struct model_tap {
	struct store_tap tap;
	struct buf told;
};

struct world {
	uint64_t random;
	struct store *store;
	bool is_small, with_layouts;
	int groups;                 /* 1: no series ever moves, and there are many in a stream */
	struct model_rollup rollup; /* with one group and plenty of memory */
	struct model_tap tap;
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

/* One number that stands for a value; rollovers are part of a distribution if nothing is lost. */
static int64_t
value_key(const struct record *record, bool is_small)
{
	const struct value *value = &record->value;

	switch ((int)record->desc->kind) {
	case KIND_STRING:
		return value->s.len == 0 ? 0 : value->s.p[0] - '0';
	case KIND_DIST:
		if (value->dist == NULL)
			return 0;
		assert_int_equal(value->dist->count, value->dist->counts[0] + 7);
		/* A series that was reclaimed begins to count anew. */
		return (int64_t)(value->dist->counts[0] +
		                 (is_small ? 0 : 1000 * value->dist->rollovers));
	case KIND_LIST:
		return (int64_t)value->list->len;
	default:
		return value->i;
	}
}

static const struct model_points *
changes_of(const struct model_series *s)
{
	return &s->by_mode[CURSOR_CHANGES];
}

static const struct model_point *
last_point(const struct model_series *s)
{
	const struct model_points *changes = changes_of(s);

	return changes->len == 0 ? NULL : &changes->p[changes->len - 1];
}

static bool
is_active(const struct model_series *s)
{
	return last_point(s) != NULL && last_point(s)->active;
}

static void
add_point(struct model_series *s, enum cursor_mode mode, struct model_point point)
{
	struct model_points *points = &s->by_mode[mode];

	if (points->len == points->cap) {
		points->cap = points->cap * 2 + 8;
		points->p = realloc(points->p, points->cap * sizeof(*points->p));
		assert_non_null(points->p);
	}
	assert_true(points->len == 0 || points->p[points->len - 1].ts_ns < point.ts_ns);
	points->p[points->len++] = point;
}

/* A record that is one in both senses. */
static void
add_change(struct model_series *s, int64_t ts_ns, int64_t value, bool active)
{
	add_point(s, CURSOR_CHANGES, (struct model_point){ ts_ns, value, active });
	add_point(s, CURSOR_EVERY, (struct model_point){ ts_ns, value, active });
}

static int64_t
latest_of(int64_t a, int64_t b)
{
	return a > b ? a : b;
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

/* How many of the group's metrics are in that stream; twice that, and 1 if it had its number. */
static int
votes(const struct model_set *m, const struct poll *poll, int group, int stream)
{
	int count = 0;

	for (size_t i = 0; i < SERIES; i++)
		count +=
		    poll->present[i] && poll->group[i] == group && m->series[i].stream == stream;
	return count == 0 ? 0 : 2 * count + (m->streams[stream].id == group);
}

/* The pair of a group and a stream with most votes of those left; false if there is none. */
static bool
best_pair(const struct model_set *m, const struct poll *poll, const int *order,
    const int *stream_of, const bool *taken, int *group, int *stream)
{
	int most = 0;

	for (int g = 0; g < GROUPS && order[g] >= 0; g++) {
		for (int s = 0; s < m->stream_count && stream_of[order[g]] < 0; s++) {
			int count = taken[s] ? 0 : votes(m, poll, order[g], s);

			if (count > most) {
				most = count;
				*group = order[g];
				*stream = s;
			}
		}
	}
	return most > 0;
}

/* Which stream each group of the poll continues, as plan_priv.h has it. */
static void
choose_streams(struct model_set *m, const struct poll *poll, int stream_of[GROUPS])
{
	bool taken[STREAMS] = { false };
	int order[GROUPS] = { -1, -1, -1, -1 }, n = 0, g, s;

	for (g = 0; g < GROUPS; g++)
		stream_of[g] = -1;
	for (size_t i = 0; i < SERIES; i++) {
		bool seen = !poll->present[i];

		for (g = 0; g < n; g++)
			seen = seen || order[g] == poll->group[i];
		if (!seen)
			order[n++] = poll->group[i];
	}
	while (best_pair(m, poll, order, stream_of, taken, &g, &s)) {
		stream_of[g] = s;
		taken[s] = true;
	}
	for (int i = 0; i < n; i++) {
		g = order[i];
		for (s = 0; stream_of[g] < 0 && s < m->stream_count; s++) {
			if (!taken[s] && m->streams[s].id == g)
				stream_of[g] = s;
		}
		if (stream_of[g] < 0) {
			assert_true(m->stream_count < STREAMS);
			stream_of[g] = m->stream_count;
			m->streams[m->stream_count++].ts_ns = TS_NONE;
		}
		taken[stream_of[g]] = true;
		m->streams[stream_of[g]].id = g;
	}
}

/* A known metric stays in its stream until time goes on there and in that of its group. */
static bool
waits(const struct model_series *s, int stream, int64_t ts_ns, const int64_t *before_ns)
{
	return s->stream >= 0 && s->stream != stream &&
	       (ts_ns <= before_ns[s->stream] || ts_ns <= before_ns[stream]);
}

/* One metric of a poll, which goes into its group's stream or stays where it is for now. */
static void
model_metric(struct model_set *m, size_t i, const struct poll *poll, const int *stream_of,
    const int64_t *before_ns, struct append_stats *stats)
{
	struct model_series *s = &m->series[i];
	int stream = stream_of[poll->group[i]];
	int64_t ts_ns = poll->ts_ns[poll->group[i]], value = poll->n[i];
	bool advances = ts_ns > before_ns[stream];
	bool moves = s->stream >= 0 && s->stream != stream;

	if ((s->stream >= 0 && !advances) || waits(s, stream, ts_ns, before_ns)) {
		stats->stale++;
		return;
	}
	if (kind_of(i / VARIANTS) == KIND_DIST) {
		int64_t rollovers = model_rollovers(m, i, poll);

		value += m->is_small ? 0 : 1000 * rollovers;
	}
	if (s->stream >= 0 && !moves && is_active(s) && last_point(s)->value == value) {
		add_point(s, CURSOR_EVERY, (struct model_point){ ts_ns, value, true });
		return;
	}
	s->stream = stream;
	add_change(s, advances ? ts_ns : before_ns[stream], value, true);
	stats->added++;
}

/* True if a metric of the group goes into its stream; else that is as if the group were absent. */
static bool
is_fed(const struct model_set *m, const struct poll *poll, int group, int stream,
    const int64_t *before_ns)
{
	for (size_t i = 0; i < SERIES; i++) {
		if (poll->present[i] && poll->group[i] == group &&
		    !waits(&m->series[i], stream, poll->ts_ns[group], before_ns))
			return true;
	}
	return false;
}

/* Adds a poll to the model. */
static struct append_stats
model_append(struct model_set *m, const struct poll *poll)
{
	struct append_stats stats = { 0, 0 };
	int64_t before_ns[STREAMS], marker_ns[STREAMS];
	bool waited[SERIES] = { false };
	int stream_of[GROUPS];

	choose_streams(m, poll, stream_of);
	for (int s = 0; s < m->stream_count; s++) {
		before_ns[s] = m->streams[s].ts_ns;
		marker_ns[s] = before_ns[s] + NS_PER_MS; /* if it is absent */
	}
	for (int g = 0; g < GROUPS; g++) {
		int s = stream_of[g];

		if (s < 0 || !is_fed(m, poll, g, s, before_ns))
			continue;
		marker_ns[s] = poll->ts_ns[g] > before_ns[s] ? poll->ts_ns[g] : TS_NONE;
		m->streams[s].ts_ns = latest_of(before_ns[s], poll->ts_ns[g]);
	}
	for (size_t i = 0; i < SERIES; i++) {
		int g = poll->group[i];

		if (!poll->present[i])
			continue;
		waited[i] = waits(&m->series[i], stream_of[g], poll->ts_ns[g], before_ns);
		model_metric(m, i, poll, stream_of, before_ns, &stats);
	}
	for (size_t i = 0; i < SERIES; i++) {
		struct model_series *s = &m->series[i];

		if (!is_active(s) || marker_ns[s->stream] == TS_NONE)
			continue;
		/* What waits is as it was at the times of the stream it is still in. */
		if (poll->present[i] && waited[i] &&
		    m->streams[s->stream].ts_ns == marker_ns[s->stream])
			add_point(s, CURSOR_EVERY,
			    (struct model_point){
			        marker_ns[s->stream], last_point(s)->value, true });
		if (poll->present[i])
			continue;
		add_change(s, marker_ns[s->stream], 0, false);
		m->streams[s->stream].ts_ns = marker_ns[s->stream];
		stats.added++;
	}
	return stats;
}

static void
make_poll(struct world *w, struct model_set *m, struct poll *poll)
{
	memset(poll, 0, sizeof(*poll));
	for (int g = 0; g < GROUPS; g++)
		poll->ts_ns[g] = TS_NONE;
	/* No stale values: of a series that was given up they are not, which the model cannot know.
	 */
	if (w->is_small)
		m->now_ns += GROUPS * 31 * NS_PER_MS;
	if (w->is_small || pick(w, 10) != 0)
		m->now_ns += (int64_t)(pick(w, 1000) + 1) * NS_PER_MS / 10;
	else if (pick(w, 3) == 0)
		m->now_ns -= 100 * NS_PER_MS;
	if (pick(w, 50) == 0)
		m->variant = !m->variant;
	for (size_t path = 0; path < PATHS; path++) {
		size_t i = path * VARIANTS + (size_t)m->variant * (path % 3 != 0);
		int group = (int)((path + (size_t)m->shift) % (size_t)w->groups);

		if (pick(w, 8) == 0 || (group == 1 && pick(w, 4) == 0))
			continue;
		poll->present[i] = true;
		poll->n[i] = path % 2 == 0 ? (int64_t)pick(w, 4) : pick(w, 20) == 0;
		if (!w->is_small)
			poll->generation[i] = (uint64_t)m->now_ns / (50 * (uint64_t)NS_PER_S) % 3;
		poll->group[i] = group;
		poll->ts_ns[group] = m->now_ns + group * 30 * NS_PER_MS;
	}
}

static void
do_deactivate(struct model_set *m)
{
	int64_t marker_ns[STREAMS];
	size_t marked = 0;

	for (int s = 0; s < m->stream_count; s++)
		marker_ns[s] = latest_of(m->now_ns, m->streams[s].ts_ns + NS_PER_MS);
	for (size_t i = 0; i < SERIES; i++) {
		struct model_series *s = &m->series[i];

		if (!is_active(s))
			continue;
		add_change(s, marker_ns[s->stream], 0, false);
		m->streams[s->stream].ts_ns = marker_ns[s->stream];
		marked++;
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
check_point(const struct world *w, const struct record *record, const struct model_point *point)
{
	assert_true(record->ts_ns == point->ts_ns);
	assert_int_equal(record->active, point->active);
	assert_int_equal(value_key(record, w->is_small), point->value);
}

/*
 * One series' range, newest first. What the store may lack is the oldest; then the last record may
 * be a later one than that of the model, with the same value.
 */
static void
check_range(struct world *w, struct iter *it, const struct model_series *s, int64_t start_ns,
    int64_t end_ns)
{
	const struct model_points *points = changes_of(s);
	struct record records[MOST_READ];
	size_t at = points->len, n;
	bool more = start_ns < end_ns;

	while (at > 0 && points->p[at - 1].ts_ns >= end_ns)
		at--;
	iter_range(it, start_ns, end_ns);
	while ((n = iter_read(it, records, 1 + pick(w, MOST_READ))) > 0) {
		for (size_t i = 0; i < n; i++) {
			struct model_point point;

			assert_true(more && at > 0);
			point = points->p[--at];
			more = point.ts_ns > start_ns;
			if (w->is_small && records[i].ts_ns != point.ts_ns) {
				assert_true(records[i].ts_ns > point.ts_ns);
				assert_true(iter_earliest(it) >= records[i].ts_ns);
				point.ts_ns = records[i].ts_ns;
				assert_int_equal(iter_read(it, records, 1), 0);
				records[0] = records[i];
				check_point(w, &records[0], &point);
				return;
			}
			check_point(w, &records[i], &point);
		}
	}
	if (more && at > 0)
		assert_true(w->is_small && (at == points->len || iter_earliest(it) > 0 ||
		                               !points->p[at - 1].active));
}

static void
check_latest(
    struct world *w, const struct model_set *m, struct iter *it, const struct model_series *s)
{
	struct record record;
	bool active = iter_latest(it, &record);

	assert_int_equal(active, is_active(s));
	if (!active)
		return;
	assert_true(record.ts_ns == m->streams[s->stream].ts_ns);
	assert_int_equal(value_key(&record, w->is_small), last_point(s)->value);
}

/* set: m's, or what was restored of it. */
static void
do_queries(struct world *w, const struct model_set *m, struct series_set *set)
{
	int64_t end_ns = m->now_ns - (int64_t)pick(w, 2000) * NS_PER_S / 10;
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	size_t count = 0, known = 0;

	assert_non_null(it);
	while (iter_next_series(it, &desc)) {
		const struct model_series *s = &m->series[series_of(w, desc)];

		assert_true(s->stream >= 0);
		count++;
		check_latest(w, m, it, s);
		check_range(w, it, s, m->now_ns - (int64_t)pick(w, 5) * NS_PER_S, INT64_MAX);
		check_range(w, it, s, end_ns - (int64_t)pick(w, 100) * NS_PER_S, end_ns);
	}
	iter_free(it);
	for (size_t i = 0; i < SERIES; i++)
		known += m->series[i].stream >= 0;
	assert_true(count == known || (w->is_small && count < known));
}

/* Counts records up to, not including, the one at ts_ns, and moves the position there. */
static void
skip_to(struct model_cursor *c, const struct model_set *m, size_t set, size_t i, int64_t ts_ns)
{
	const struct model_points *points = &m->series[i].by_mode[c->mode];
	size_t *read = &c->read[set][i];

	while (*read < points->len && points->p[*read].ts_ns < ts_ns) {
		(*read)++;
		c->skipped++;
	}
}

static struct buf *
tap_open(struct store_tap *tap, uint64_t *stretch)
{
	*stretch = 1;
	return &((struct model_tap *)tap)->told;
}

static void
tap_close(struct store_tap *tap, bool done, struct store_told told)
{
	(void)tap;
	(void)told;
	assert_true(done);
}

static void
tap_missed(struct store_tap *tap, struct store_told told)
{
	(void)tap;
	(void)told;
	fail_msg("something was not told");
}

/* Restores what was told so far, and asks that. */
static void
do_restore(struct world *w)
{
	struct buf *told = &w->tap.told;
	struct store_restore *restore;
	struct store *copy;
	struct err err;
	size_t good;

	assert_true(buf_reserve(told, RESTORE_SLACK));
	copy = store_new(&(struct store_conf){ .memory_bytes = BIG_BYTES }, NULL, &err);
	assert_non_null(copy);
	restore = restore_new(copy, &err);
	assert_non_null(restore);
	restore_begin_stretch(restore);
	if (restore_feed(restore, told->p, told->len, &good, &err) != 0)
		fail_msg("%s", err.text);
	restore_free(restore);
	for (size_t i = 0; i < SETS; i++) {
		struct series_set *set = store_set(
		    copy, series_set_host(w->sets[i].set), series_set_app(w->sets[i].set), &err);

		assert_non_null(set);
		do_queries(w, &w->sets[i], set);
		series_set_unref(set);
	}
	store_free(copy);
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

/* What a series had when older records were lost is what the model had then. */
static void
check_base(const struct world *w, const struct model_cursor *c, const struct model_points *points,
    size_t read, const struct record *record)
{
	struct model_point point;

	assert_true(w->is_small && c->mode == CURSOR_CHANGES);
	while (read < points->len && points->p[read].ts_ns <= record->ts_ns)
		read++;
	assert_true(read > 0);
	point = points->p[read - 1];
	point.ts_ns = record->ts_ns;
	check_point(w, record, &point);
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
		const struct model_points *points = &m->series[i].by_mode[c->mode];

		if (records[r].is_base) {
			check_base(w, c, points, c->read[set][i], &records[r].record);
			continue;
		}
		skip_to(c, m, set, i, records[r].record.ts_ns);
		assert_true(c->read[set][i] < points->len);
		check_point(w, &records[r].record, &points->p[c->read[set][i]++]);
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
	memcpy(c->committed, c->read, sizeof(c->read));
	c->skipped_committed = c->skipped;
}

static void
rewind_cursor(struct model_cursor *c)
{
	cursor_rewind(c->cursor);
	memcpy(c->read, c->committed, sizeof(c->read));
	c->skipped = c->skipped_committed;
}

static void
open_rollup(struct world *w)
{
	static const enum rollup_fn fns[] = { ROLLUP_COUNT, ROLLUP_SUM, ROLLUP_LAST, ROLLUP_MAX };
	struct model_rollup *r = &w->rollup;
	struct cursor *cursor;
	struct err err;

	*r = (struct model_rollup){ .fn = fns[pick(w, ARRAY_LEN(fns))] };
	cursor = cursor_new(w->store, "rolled", CURSOR_EVERY, &err);
	assert_non_null(cursor);
	r->rollup = rollup_new(w->store, cursor, SPAN_NS, r->fn, &err);
	assert_non_null(r->rollup);
}

/* A frame of whole numbers of the series: the model's records from *read on, which moves behind. */
static int64_t
model_frame(enum rollup_fn fn, const struct model_points *points, size_t *read, int64_t name_ns)
{
	int64_t count = 0, sum = 0, last = 0, most = INT64_MIN;

	for (; *read < points->len; (*read)++) {
		const struct model_point *point = &points->p[*read];

		if (frame_name_ns(point->ts_ns, SPAN_NS) > name_ns)
			break;
		if (!point->active)
			continue;
		assert_true(frame_name_ns(point->ts_ns, SPAN_NS) == name_ns);
		count++;
		sum += point->value;
		last = point->value;
		most = point->value > most ? point->value : most;
	}
	/* It is given out because of what comes after. */
	assert_true(count > 0 && *read < points->len);
	return fn == ROLLUP_COUNT  ? count
	       : fn == ROLLUP_SUM  ? sum
	       : fn == ROLLUP_LAST ? last
	                           : most;
}

/* Which series a record of a roll-up is of: its kind may be another. */
static size_t
rolled_series(const struct world *w, const struct record *record)
{
	for (size_t i = 0; i < SERIES; i++) {
		const struct metric_desc *desc = &w->descs[i];

		if (str_eq(desc->path, record->desc->path) &&
		    str_eq(desc->description, record->desc->description) &&
		    (record->desc->limit_count == 0 || desc->limits[0] == record->desc->limits[0]))
			return i;
	}
	fail_msg("unknown series");
	return 0;
}

/* Reads once; false when there is nothing more. */
static bool
read_rollup(struct world *w)
{
	struct model_rollup *r = &w->rollup;
	struct cursor_record records[MOST_READ];
	struct err err;
	size_t n;

	if (rollup_read(r->rollup, 0, records, 1 + pick(w, MOST_READ), &n, &err) != 0)
		fail_msg("%s", err.text);
	for (size_t k = 0; k < n; k++) {
		const struct record *record = &records[k].record;
		size_t set = set_index(w, &records[k]), i = rolled_series(w, record);
		const struct model_points *points = &w->sets[set].series[i].by_mode[CURSOR_EVERY];
		int64_t expected;

		/* A count no longer says of which limits: both series' frames may be meant. */
		if (kind_of(i / VARIANTS) == KIND_DIST && r->fn == ROLLUP_COUNT)
			continue;
		expected = model_frame(r->fn, points, &r->read[set][i], record->ts_ns);
		if (r->fn == ROLLUP_COUNT)
			assert_true(record->value.u == (uint64_t)expected);
		else if (r->fn == ROLLUP_LAST || kind_of(i / VARIANTS) == KIND_INT64)
			assert_true(value_key(record, false) == expected);
	}
	return n > 0;
}

static void
do_rollup(struct world *w)
{
	struct model_rollup *r = &w->rollup;

	switch (r->rollup == NULL ? 0 : pick(w, 4)) {
	case 0:
		break;
	case 1:
		rollup_commit(r->rollup);
		memcpy(r->committed, r->read, sizeof(r->read));
		break;
	case 2:
		rollup_rewind(r->rollup);
		memcpy(r->read, r->committed, sizeof(r->read));
		break;
	default:
		read_rollup(w);
		break;
	}
}

/* The metrics and their groups follow from these two. */
static uint64_t
layout_of(const struct model_set *m, const struct poll *poll)
{
	uint64_t layout = 1;

	for (size_t i = 0; i < SERIES; i++)
		layout = layout * 2 + poll->present[i];
	return layout * GROUPS + (uint64_t)m->shift;
}

/* True if a series goes from one stream to another with this poll. */
static bool
will_move(const struct model_set *m, const struct poll *poll)
{
	struct model_set after = *m;
	int stream_of[GROUPS];

	choose_streams(&after, poll, stream_of);
	for (size_t i = 0; i < SERIES; i++) {
		if (poll->present[i] && m->series[i].stream >= 0 &&
		    m->series[i].stream != stream_of[poll->group[i]])
			return true;
	}
	return false;
}

/* The order of a series' records over a move is only sure for who has read those before it. */
static void
catch_up_all(struct world *w)
{
	for (size_t i = 0; i < CURSORS; i++) {
		catch_up(w, &w->cursors[i]);
		commit(&w->cursors[i]);
	}
}

static void
do_append(struct world *w, struct model_set *m)
{
	struct append_stats expected, got;
	struct poll poll;
	struct err err;

	make_poll(w, m, &poll);
	if (will_move(m, &poll))
		catch_up_all(w);
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
	/* With a layout's number or without, and now so, now so: all must be the same. */
	if (w->with_layouts && pick(w, 4) != 0)
		w->batch.layout_id = layout_of(m, &poll);
	expected = model_append(m, &poll);
	if (store_append(m->set, &w->batch, &got, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(got.added, expected.added);
	assert_int_equal(got.stale, expected.stale);
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
	if (!w->is_small)
		m->shift = (int)pick(w, (uint64_t)w->groups);
}

static void
open_set(struct world *w, size_t set)
{
	static const struct str hosts[SETS] = { { "one", 3 }, { "two", 3 } };
	struct model_set *m = &w->sets[set];
	struct err err;

	*m = (struct model_set){ .now_ns = BASE_NS, .is_small = w->is_small };
	m->set = store_set(w->store, hosts[set], STR("app"), &err);
	assert_non_null(m->set);
	for (size_t i = 0; i < SERIES; i++) {
		m->series[i].stream = -1;
		for (size_t c = 0; c < CURSORS; c++)
			w->cursors[c].read[set][i] = w->cursors[c].committed[set][i] = 0;
	}
}

static void
close_set(struct model_set *m)
{
	for (size_t i = 0; i < SERIES; i++) {
		for (size_t mode = 0; mode < CURSORS; mode++)
			free(m->series[i].by_mode[mode].p);
	}
	series_set_unref(m->set);
}

/* The endpoint goes; another of its name comes. */
static void
do_forget(struct world *w, size_t set)
{
	struct model_set *m = &w->sets[set];
	bool rolled = w->rollup.rollup != NULL;

	for (size_t i = 0; i < CURSORS; i++) {
		struct model_cursor *c = &w->cursors[i];

		commit(c);
		cursor_rewind(c->cursor); /* holds on to no set */
		for (size_t j = 0; j < SERIES; j++)
			skip_to(c, m, set, j, INT64_MAX);
		c->forgotten += c->skipped - c->skipped_committed;
		c->skipped_committed = c->skipped;
	}
	/* Frames of what was before would be told from those of what comes by nothing. */
	rollup_free(w->rollup.rollup);
	store_forget(w->store, m->set);
	close_set(m);
	open_set(w, set);
	if (rolled)
		open_rollup(w);
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

			points += changes_of(s)->len;
			series += s->stream >= 0;
			active += is_active(s);
		}
	}
	assert_true(stats.series == series || (w->is_small && stats.series < series));
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
		do_queries(w, &w->sets[set], w->sets[set].set);
	else if (what < 755)
		do_renumber(w, &w->sets[set]);
	else if (what < 756)
		do_forget(w, set);
	else if (what < 757 && !w->is_small && pick(w, 4) == 0)
		do_restore(w);
	else if (what < 790)
		do_rollup(w);
	else
		do_cursor(w, &w->cursors[pick(w, CURSORS)]);
	check_sums(w);
}

static void
open_world(struct world *w, uint64_t seed, uint64_t memory_bytes, bool is_small)
{
	struct err err;

	*w = (struct world){ .random = seed * UINT64_C(0x9e3779b97f4a7c15), .is_small = is_small };
	w->with_layouts = seed % 2 == 0;
	w->groups = seed % 4 < 2 ? 1 : GROUPS;
	w->store = store_new(&(struct store_conf){ .memory_bytes = memory_bytes }, NULL, &err);
	assert_non_null(w->store);
	w->tap.tap = (struct store_tap){ tap_open, tap_close, tap_missed };
	buf_init(&w->tap.told, 0);
	if (!is_small)
		store_set_tap(w->store, &w->tap.tap);
	batch_init(&w->batch, 0);
	make_descs(w);
	for (size_t c = 0; c < CURSORS; c++) {
		w->cursors[c].mode = (enum cursor_mode)c;
		w->cursors[c].cursor =
		    cursor_new(w->store, c == 0 ? "c0" : "c1", w->cursors[c].mode, &err);
		assert_non_null(w->cursors[c].cursor);
	}
	if (!is_small && w->groups == 1)
		open_rollup(w);
	for (size_t set = 0; set < SETS; set++)
		open_set(w, set);
}

static void
close_world(struct world *w)
{
	while (w->rollup.rollup != NULL && read_rollup(w))
		continue;
	rollup_free(w->rollup.rollup);
	if (!w->is_small)
		do_restore(w);
	for (size_t c = 0; c < CURSORS; c++) {
		catch_up(w, &w->cursors[c]);
		cursor_free(w->cursors[c].cursor);
	}
	for (size_t set = 0; set < SETS; set++)
		close_set(&w->sets[set]);
	batch_fini(&w->batch);
	store_free(w->store);
	buf_fini(&w->tap.told);
}

/* 100,000 steps in all, or as often that as the environment's MODEL_TIMES says. */
static uint64_t
times_to_run(void)
{
	uint64_t times = 1;

	str_to_u64(str_of(getenv("MODEL_TIMES")), &times);
	return times;
}

/* Where the run is, for who reads of a failure. */
static uint64_t now_seed;
static int now_step = -1; /* -1: not running */

static void
run(uint64_t first_seed, uint64_t seeds, uint64_t memory_bytes, bool is_small)
{
	static struct world w;

	for (uint64_t i = 0; i < seeds * times_to_run(); i++) {
		now_seed = first_seed + i % seeds + i / seeds * SEEDS_APART;
		open_world(&w, now_seed, memory_bytes, is_small);
		for (now_step = 0; now_step < STEPS; now_step++)
			step(&w);
		close_world(&w);
	}
	now_step = -1;
}

static int
say_where(void **state)
{
	(void)state;
	if (now_step >= 0)
		print_message("seed %llu, step %d\n", (unsigned long long)now_seed, now_step);
	now_step = -1;
	return 0;
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
	run(101, 8, 64 * 1024, true);
}

static void
with_hardly_any_memory_the_newest_is_left(void **state)
{
	(void)state;
	run(201, 4, 48 * 1024, true);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(with_plenty_of_memory_nothing_is_lost, say_where),
		cmocka_unit_test_teardown(
		    with_little_memory_the_oldest_is_lost_and_counted, say_where),
		cmocka_unit_test_teardown(with_hardly_any_memory_the_newest_is_left, say_where),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
