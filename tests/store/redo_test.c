/*
 * What the store tells a tap brings it back: random lives of endpoints, told in stretches, are
 * restored into another store, and both must answer alike.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"
#include "store/redo.h"
#include "store/set_priv.h"
#include "store_fixture.h"

#define SETS    3
#define METRICS 40

/* A tap that keeps what it is told. */
struct telling {
	uint64_t stretch;
	size_t from, len; /* in bytes */
};

struct recorder {
	struct store_tap tap;
	struct buf bytes;
	struct telling *tellings;
	size_t len, cap;
	uint64_t stretch;
	size_t open_at;
	bool deaf;
	uint64_t missed_rows;
};

static struct buf *
rec_open(struct store_tap *tap, uint64_t *stretch)
{
	struct recorder *r = (struct recorder *)tap;

	if (r->deaf)
		return NULL;
	*stretch = r->stretch;
	r->open_at = r->bytes.len;
	return &r->bytes;
}

static void
rec_close(struct store_tap *tap, bool done, struct store_told told)
{
	struct recorder *r = (struct recorder *)tap;

	(void)told;
	if (!done) {
		r->bytes.len = r->open_at;
		r->bytes.failed = false;
		r->stretch++;
		return;
	}
	if (r->len == r->cap) {
		r->cap = r->cap * 2 + 64;
		r->tellings = realloc(r->tellings, r->cap * sizeof(*r->tellings));
		assert_non_null(r->tellings);
	}
	r->tellings[r->len++] =
	    (struct telling){ r->stretch, r->open_at, r->bytes.len - r->open_at };
}

static void
rec_missed(struct store_tap *tap, struct store_told told)
{
	((struct recorder *)tap)->missed_rows += told.rows;
}

static void
rec_init(struct recorder *r)
{
	*r = (struct recorder){ .tap = { rec_open, rec_close, rec_missed }, .stretch = 1 };
	buf_init(&r->bytes, 0);
}

static void
rec_fini(struct recorder *r)
{
	buf_fini(&r->bytes);
	free(r->tellings);
}

/* Feeds tellings [from, to) to the store, each as it was told. */
static int
feed(struct recorder *r, struct store *store, size_t from, size_t to, struct restore_stats *stats,
    struct err *err)
{
	struct store_restore *restore = restore_new(store, err);
	uint64_t stretch = 0;
	int rc = restore == NULL ? -1 : 0;

	assert_true(buf_reserve(&r->bytes, RESTORE_SLACK));
	for (size_t i = from; rc == 0 && i < to; i++) {
		const struct telling *t = &r->tellings[i];
		size_t good;

		if (t->stretch != stretch)
			restore_begin_stretch(restore);
		stretch = t->stretch;
		rc = restore_feed(restore, r->bytes.p + t->from, t->len, &good, err);
	}
	if (restore != NULL)
		restore_get_stats(restore, stats);
	restore_free(restore);
	return rc;
}

/* The life of some endpoints. */
struct world {
	uint64_t random;
	struct store *store;
	struct batch batch;
	int64_t now_ns[SETS];
	int shift[SETS];
	int64_t counters[SETS][METRICS];
	uint64_t generations[SETS][METRICS];
	bool absent[SETS][METRICS];
	char paths[METRICS][16];
};

static uint64_t
pick(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % n;
}

static enum kind
kind_of(size_t metric)
{
	static const enum kind kinds[] = { KIND_INT64, KIND_FLOAT64, KIND_STRING, KIND_DIST,
		KIND_LIST, KIND_BOOL, KIND_FLOAT32, KIND_UINT64, KIND_TIME, KIND_LIST };

	return kinds[metric % ARRAY_LEN(kinds)];
}

static struct value
make_value(struct world *w, size_t set, size_t metric)
{
	static const char *const texts[] = { "", "up", "down", "sl\xc3\xb6w" };
	struct dist *dist = arena_alloc(&w->batch.arena, sizeof(*dist));
	uint64_t *counts = arena_array(&w->batch.arena, 3, sizeof(*counts));
	struct list *list = arena_alloc(&w->batch.arena, sizeof(*list));
	struct value *values = arena_array(&w->batch.arena, 4, sizeof(*values));
	int64_t *counter = &w->counters[set][metric];

	if (pick(w, 3) == 0)
		*counter =
		    (int64_t)((uint64_t)*counter +
		              (pick(w, 5) == 0 ? pick(w, UINT64_MAX) >> pick(w, 60) : pick(w, 9)));
	switch ((int)kind_of(metric)) {
	case KIND_FLOAT64:
		return (struct value){ .f = pick(w, 40) == 0   ? NAN
			                    : pick(w, 40) == 0 ? -0.0
			                    : pick(w, 9) == 0  ? (double)*counter / 7
			                                       : (double)(*counter % 1000) / 100 };
	case KIND_FLOAT32:
		return (struct value){ .f = (double)((float)(*counter % 1000) / 10.0f) };
	case KIND_BOOL:
		return (struct value){ .b = (*counter & 1) != 0 };
	case KIND_STRING:
		return (struct value){ .s = str_of(texts[*counter & 3]) };
	case KIND_DIST:
		counts[0] = (uint64_t)*counter & 15;
		counts[1] = 7;
		counts[2] = (uint64_t)*counter >> 40;
		w->generations[set][metric] =
		    pick(w, 20) == 0 ? 0 : w->generations[set][metric] + pick(w, 2);
		*dist = (struct dist){ .counts = counts,
			.len = 3,
			.count = counts[0] + counts[1] + counts[2],
			.sum = (double)*counter / 3,
			.generation = w->generations[set][metric] };
		return (struct value){ .dist = dist };
	case KIND_LIST:
		memset(values, 0, 4 * sizeof(*values));
		*list = (struct list){ values, (size_t)(*counter & 3) };
		for (size_t i = 0; i < list->len; i++) {
			if (metric % 20 == 4)
				values[i].s = str_of(texts[(i + (size_t)*counter) & 3]);
			else
				values[i].i = *counter;
		}
		return (struct value){ .list = list };
	default:
		return (struct value){ .i = *counter };
	}
}

static void
make_batch(struct world *w, size_t set)
{
	static const double limits[] = { 1, 2.5 };
	static const struct tag tags[] = { { STR("k"), STR("v") } };
	/* Now and then groups are other ones, or metrics go to other groups. */
	int64_t groups = 1 + (int64_t)pick(w, 3), stamps[4];
	struct err err;

	batch_reset(&w->batch);
	if (pick(w, 10) == 0)
		w->shift[set] = (int)pick(w, 3);
	if (pick(w, 12) != 0)
		w->now_ns[set] += (int64_t)(pick(w, 3) == 0 ? pick(w, 1000000000) : 30 * NS_PER_S);
	for (int i = 0; i < 4; i++)
		stamps[i] = w->now_ns[set] + i * (int64_t)pick(w, 2000);
	(void)groups;
	for (size_t i = 0; i < METRICS; i++) {
		struct metric_desc desc = { .path = str_of(w->paths[i]), .kind = kind_of(i) };
		int64_t group = ((int64_t)(i / 20) + w->shift[set]) % 4;
		struct value value = make_value(w, set, i);

		if (pick(w, 60) == 0)
			w->absent[set][i] = !w->absent[set][i];
		if (w->absent[set][i])
			continue;
		if (desc.kind == KIND_LIST)
			desc.sub_kind = i % 20 == 4 ? KIND_STRING : KIND_INT64;
		if (desc.kind == KIND_DIST) {
			desc.limits = limits;
			desc.limit_count = 2;
		}
		if (i % 7 == 0) {
			desc.tags = tags;
			desc.tag_count = 1;
		}
		assert_int_equal(
		    batch_add(&w->batch, &desc, &value, group, stamps[group], &err), 0);
	}
	batch_end(&w->batch, w->now_ns[set]);
	assert_int_equal(w->batch.bad_count, 0);
}

static struct series_set *
open_set(struct store *store, size_t i)
{
	char host[16];
	struct err err;
	struct series_set *set;

	snprintf(host, sizeof(host), "host%zu", i);
	set = store_set(store, str_of(host), STR("app"), &err);
	assert_non_null(set);
	return set;
}

static void
step(struct world *w)
{
	size_t i = pick(w, SETS);
	struct series_set *set = open_set(w->store, i);
	struct append_stats stats;
	struct err err;

	if (pick(w, 200) == 0) {
		store_forget(w->store, set);
	} else if (pick(w, 30) == 0) {
		store_deactivate(set, pick(w, 2) == 0 ? TS_NONE : w->now_ns[i] + 5 * NS_PER_S);
	} else {
		make_batch(w, i);
		assert_int_equal(store_append(set, &w->batch, &stats, &err), 0);
	}
	series_set_unref(set);
}

static struct world *
world_new(uint64_t seed, uint64_t memory_bytes, struct store_tap *tap)
{
	struct store_conf conf = { .memory_bytes = memory_bytes };
	struct world *w = calloc(1, sizeof(*w));
	struct err err;

	assert_non_null(w);
	w->random = seed * 0x9e3779b97f4a7c15u + 1;
	w->store = store_new(&conf, NULL, &err);
	assert_non_null(w->store);
	store_set_tap(w->store, tap);
	batch_init(&w->batch, 0);
	for (size_t i = 0; i < METRICS; i++)
		snprintf(w->paths[i], sizeof(w->paths[i]), "/m/%02zu", i);
	for (size_t i = 0; i < SETS; i++)
		w->now_ns[i] = BASE_NS;
	return w;
}

static void
world_free(struct world *w)
{
	store_free(w->store);
	batch_fini(&w->batch);
	free(w);
}

/* Answers. */

static void
dump_value(struct buf *out, const struct record *record)
{
	const struct value *value = &record->value;

	buf_printf(out, " %" PRId64 "%s:", record->ts_ns, record->active ? "" : "i");
	switch ((int)record->desc->kind) {
	case KIND_STRING:
		buf_str(out, value->s);
		break;
	case KIND_BOOL:
		buf_putc(out, value->b ? 'T' : 'F');
		break;
	case KIND_LIST:
		for (size_t i = 0; value->list != NULL && i < value->list->len; i++) {
			if (record->desc->sub_kind == KIND_STRING)
				buf_str(out, value->list->values[i].s);
			else
				buf_i64(out, value->list->values[i].i);
			buf_putc(out, ',');
		}
		break;
	case KIND_DIST:
		if (value->dist == NULL)
			break;
		for (size_t i = 0; i < value->dist->len; i++)
			buf_printf(out, "%" PRIu64 ",", value->dist->counts[i]);
		buf_printf(out, "%a,%" PRIu64, value->dist->sum, value->dist->rollovers);
		break;
	default:
		buf_printf(out, "%" PRIx64, value->u);
	}
}

static void
dump_set(struct buf *out, struct series_set *set, int64_t from_ns)
{
	struct err err;
	struct iter *iter = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	const struct metric_desc *desc;

	assert_non_null(iter);
	while (iter_next_series(iter, &desc)) {
		struct record records[8];
		int64_t times[8];
		size_t n;

		buf_printf(out, "%.*s %d:", STR_ARG(desc->path), (int)desc->kind);
		if (iter_latest(iter, &records[0]))
			dump_value(out, &records[0]);
		buf_puts(out, " |");
		iter_range(iter, from_ns, INT64_MAX);
		while ((n = iter_read(iter, records, ARRAY_LEN(records))) > 0) {
			for (size_t i = 0; i < n; i++)
				dump_value(out, &records[i]);
		}
		buf_puts(out, " |");
		while ((n = iter_read_times(iter, times, ARRAY_LEN(times))) > 0) {
			for (size_t i = 0; i < n; i++)
				buf_printf(out, " %" PRId64, times[i]);
		}
		buf_putc(out, '\n');
	}
	iter_free(iter);
}

static char *
dump(struct store *store, int64_t from_ns)
{
	struct series_set *const *sets;
	struct buf out;
	struct err err;
	size_t n;

	buf_init(&out, 0);
	assert_int_equal(sets_snapshot(store, &sets, &n, &err), 0);
	for (size_t i = 0; i < n; i++) {
		buf_printf(&out, "%.*s born %" PRId64 " active %zu\n",
		    STR_ARG(series_set_host(sets[i])), series_set_birth_ns(sets[i]),
		    series_set_active_count(sets[i]));
		for (uint32_t s = 0; s < sets[i]->stream_count; s++)
			buf_printf(&out, "stream %u rows %u len %u ts %" PRId64 "\n", s,
			    sets[i]->streams[s]->next_row, sets[i]->streams[s]->len,
			    sets[i]->streams[s]->ts_ns);
		dump_set(&out, sets[i], from_ns);
	}
	sets_free(sets, n);
	buf_putc(&out, '\0');
	assert_false(out.failed);
	return out.p;
}

static void
assert_alike(struct store *a, struct store *b, int64_t from_ns)
{
	char *x = dump(a, from_ns), *y = dump(b, from_ns), *p = x, *q = y;

	if (strcmp(x, y) != 0) {
		while (*p == *q) {
			p++;
			q++;
		}
		while (p > x && p[-1] != '\n') {
			p--;
			q--;
		}
		fail_msg(
		    "was:\n%.*s\nis:\n%.*s", (int)strcspn(p, "\n"), p, (int)strcspn(q, "\n"), q);
	}
	free(x);
	free(y);
}

static struct store *
make_store(uint64_t memory_bytes)
{
	struct store_conf conf = { .memory_bytes = memory_bytes };
	struct err err;
	struct store *store = store_new(&conf, NULL, &err);

	assert_non_null(store);
	return store;
}

static void
a_life_comes_back(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct restore_stats stats;
		struct recorder r;
		struct world *w;
		struct store *again = make_store(BIG_BYTES);
		struct err err = { ERR_NONE, "" };

		rec_init(&r);
		w = world_new(seed, BIG_BYTES, &r.tap);
		for (int i = 0; i < 300; i++) {
			step(w);
			if (pick(w, 50) == 0)
				r.stretch++;
		}
		if (feed(&r, again, 0, r.len, &stats, &err) != 0)
			fail_msg("seed %d: %s", (int)seed, err.text);
		assert_int_equal(stats.lost_rows, 0);
		assert_int_equal(stats.missing_rows, 0);
		assert_alike(w->store, again, 0);
		/* Told twice is as good. */
		assert_int_equal(feed(&r, again, 0, r.len, &stats, &err), 0);
		store_free(again);
		world_free(w);
		rec_fini(&r);
	}
}

/* The restored store goes on as the one that was never stopped. */
static void
life_goes_on_after_it(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct restore_stats stats;
		struct recorder r, r2;
		struct world *w, *w2;
		struct store *third = make_store(BIG_BYTES);
		struct err err;

		rec_init(&r);
		rec_init(&r2);
		w = world_new(seed, BIG_BYTES, &r.tap);
		for (int i = 0; i < 150; i++)
			step(w);
		w2 = world_new(seed, BIG_BYTES, NULL);
		assert_int_equal(feed(&r, w2->store, 0, r.len, &stats, &err), 0);
		store_set_tap(w2->store, &r2.tap);
		/* Told on behind what was told before, as a journal does. */
		assert_int_equal(feed(&r, third, 0, r.len, &stats, &err), 0);
		{
			struct store *store = w2->store;
			struct batch batch = w2->batch;

			*w2 = *w;
			w2->store = store;
			w2->batch = batch;
		}
		for (int i = 0; i < 150; i++) {
			uint64_t random = w->random;

			/* A forgotten set is born anew, at another time. */
			w->random = w2->random = random;
			if (i % 40 == 39)
				r2.stretch++;
			step(w);
			step(w2);
		}
		assert_int_equal(feed(&r2, third, 0, r2.len, &stats, &err), 0);
		assert_int_equal(stats.lost_rows, 0);
		assert_alike(w2->store, third, 0);
		world_free(w);
		world_free(w2);
		store_free(third);
		rec_fini(&r);
		rec_fini(&r2);
	}
}

/* Any stretch brings back all that is now, and all that was told in it. */
static void
a_later_stretch_alone_brings_back_what_is(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 30; seed++) {
		struct restore_stats stats;
		struct recorder r;
		struct world *w;
		struct store *again = make_store(BIG_BYTES);
		struct err err;
		size_t from;
		int64_t from_ns = 0;

		rec_init(&r);
		w = world_new(seed, BIG_BYTES, &r.tap);
		for (int i = 0; i < 100; i++)
			step(w);
		r.stretch++;
		from = r.len;
		for (size_t i = 0; i < SETS; i++)
			from_ns = w->now_ns[i] > from_ns ? w->now_ns[i] : from_ns;
		/* Every set is told of. */
		for (int i = 0; i < 60; i++)
			step(w);
		assert_int_equal(feed(&r, again, from, r.len, &stats, &err), 0);
		assert_int_equal(stats.lost_rows, 0);
		for (size_t i = 0; i < SETS; i++) {
			struct series_set *a = open_set(w->store, i), *b = open_set(again, i);

			assert_int_equal(a->birth_ns, b->birth_ns);
			assert_int_equal(series_set_active_count(a), series_set_active_count(b));
			for (uint32_t s = 0; s < a->stream_count; s++)
				assert_int_equal(a->streams[s]->next_row, b->streams[s]->next_row);
			series_set_unref(a);
			series_set_unref(b);
		}
		store_free(again);
		world_free(w);
		rec_fini(&r);
	}
}

/* What was not told for a while is a hole; before and after it all is as it was. */
static void
a_hole_is_closed(void **state)
{
	uint64_t missing = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct restore_stats stats;
		struct recorder r;
		struct world *w;
		struct store *again = make_store(BIG_BYTES);
		struct err err = { ERR_NONE, "" };

		rec_init(&r);
		w = world_new(seed, BIG_BYTES, &r.tap);
		for (int round = 0; round < 5; round++) {
			for (int i = 0; i < 40; i++)
				step(w);
			r.deaf = true;
			for (uint64_t i = pick(w, 12); i > 0; i--)
				step(w);
			r.deaf = false;
			r.stretch++;
		}
		for (int i = 0; i < 40; i++)
			step(w);
		if (feed(&r, again, 0, r.len, &stats, &err) != 0)
			fail_msg("seed %d: %s", (int)seed, err.text);
		assert_int_equal(stats.lost_rows, 0);
		missing += stats.missing_rows;
		for (size_t i = 0; i < SETS; i++) {
			struct series_set *a = open_set(w->store, i), *b = open_set(again, i);

			/* One may have been forgotten in a hole. */
			if (a->birth_ns == b->birth_ns) {
				for (uint32_t s = 0; s < a->stream_count; s++) {
					assert_int_equal(
					    a->streams[s]->next_row, b->streams[s]->next_row);
					assert_int_equal(a->streams[s]->len, b->streams[s]->len);
				}
				assert_int_equal(
				    series_set_active_count(a), series_set_active_count(b));
			}
			series_set_unref(a);
			series_set_unref(b);
		}
		store_free(again);
		world_free(w);
		rec_fini(&r);
	}
	assert_true(missing > 100);
}

static void
little_memory_keeps_the_newest(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 10; seed++) {
		struct restore_stats stats;
		struct recorder r;
		struct world *w;
		struct store *again = make_store(120000);
		struct err err;

		rec_init(&r);
		w = world_new(seed, 120000, &r.tap);
		for (int i = 0; i < 2000; i++)
			step(w);
		if (feed(&r, again, 0, r.len, &stats, &err) != 0)
			fail_msg("seed %d: %s", (int)seed, err.text);
		for (size_t i = 0; i < SETS; i++) {
			struct series_set *a = open_set(w->store, i), *b = open_set(again, i);

			for (uint32_t s = 0; s < a->stream_count; s++)
				assert_int_equal(a->streams[s]->next_row, b->streams[s]->next_row);
			series_set_unref(a);
			series_set_unref(b);
		}
		store_free(again);
		world_free(w);
		rec_fini(&r);
	}
}

static void
any_byte_may_be_wrong(void **state)
{
	struct restore_stats stats;
	struct recorder r;
	struct world *w;
	struct err err;
	size_t len;

	(void)state;
	rec_init(&r);
	w = world_new(3, BIG_BYTES, &r.tap);
	for (int i = 0; i < 25; i++)
		step(w);
	len = r.bytes.len;
	for (size_t i = 0; i < len; i++) {
		struct store *again = make_store(BIG_BYTES);
		char was = r.bytes.p[i];

		r.bytes.p[i] = (char)(was ^ (1 << pick(w, 8)));
		(void)feed(&r, again, 0, r.len, &stats, &err);
		free(dump(again, 0));
		/* It can be appended to. */
		for (size_t s = 0; s < SETS; s++) {
			struct series_set *set = open_set(again, s);
			struct append_stats appended;

			make_batch(w, s);
			(void)store_append(set, &w->batch, &appended, &err);
			series_set_unref(set);
		}
		store_free(again);
		r.bytes.p[i] = was;
	}
	world_free(w);
	rec_fini(&r);
}

/* Memory that fails while telling or restoring costs what it must, and nothing is inconsistent. */
static void
memory_may_fail(void **state)
{
	struct restore_stats stats;
	struct recorder r;
	struct world *w;
	struct err err;
	bool failed = true;

	(void)state;
	rec_init(&r);
	w = world_new(5, BIG_BYTES, &r.tap);
	for (int i = 0; i < 20; i++)
		step(w);
	for (unsigned nth = 1; failed; nth += nth < 200 ? 1 : 17) {
		struct store *again = make_store(BIG_BYTES);

		fault_malloc(nth);
		(void)feed(&r, again, 0, r.len, &stats, &err);
		failed = fault_happened();
		fault_malloc(0);
		free(dump(again, 0));
		for (size_t s = 0; s < SETS; s++) {
			struct series_set *set = open_set(again, s);
			struct append_stats appended;

			make_batch(w, s);
			(void)store_append(set, &w->batch, &appended, &err);
			series_set_unref(set);
		}
		store_free(again);
	}
	world_free(w);
	rec_fini(&r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_life_comes_back),
		cmocka_unit_test(life_goes_on_after_it),
		cmocka_unit_test(a_later_stretch_alone_brings_back_what_is),
		cmocka_unit_test(a_hole_is_closed),
		cmocka_unit_test(little_memory_keeps_the_newest),
		cmocka_unit_test(any_byte_may_be_wrong),
		cmocka_unit_test(memory_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
