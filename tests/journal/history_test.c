#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "fault.h"
#include "fault_io.h"
#include "journal_fixture.h"

/* Few enough that much is only on disk, but the newest values fit. */
#define LITTLE_BYTES ((uint64_t)40 * 1024)

/* The fleet's store is small; whole holds all that was ever polled. */
struct world {
	struct fixture f;
	struct gen *gen; /* gives the same as the fixture's */
	struct store *whole;
	uint64_t memory_bytes;
};

static void
setup_world(struct world *w)
{
	struct gen_conf conf = { .endpoint_count = ENDPOINTS,
		.metric_count = METRICS,
		.changed_permille = 300,
		.interval_ns = 10 * NS_PER_S,
		.jitter_ns = NS_PER_S,
		.jitter_unit_ns = NS_PER_MS };
	struct store_conf store_conf = { .memory_bytes = 64 << 20 };
	struct err err;

	*w = (struct world){ .memory_bytes = LITTLE_BYTES };
	fixture_init(&w->f);
	w->f.conf.band_bytes = 2000;
	w->gen = gen_new(&conf);
	w->whole = store_new(&store_conf, NULL, &err);
	assert_non_null(w->gen);
	assert_non_null(w->whole);
}

static int
setup(void **state)
{
	static struct world w;

	setup_world(&w);
	*state = &w;
	return 0;
}

static int
teardown(void **state)
{
	struct world *w = *state;

	fault_io(0, 0, 0);
	fixture_fini(&w->f);
	store_free(w->whole);
	gen_free(w->gen);
	return 0;
}

static void
start(struct world *w)
{
	struct store_conf conf = { .memory_bytes = w->memory_bytes };
	struct fixture *f = &w->f;
	struct err err;

	f->store = store_new(&conf, NULL, &err);
	f->journal = journal_new(&f->conf, NULL, &err);
	assert_non_null(f->store);
	assert_non_null(f->journal);
	if (journal_restore(f->journal, f->store, conf.memory_bytes, NULL, NULL, &err) != 0 ||
	    journal_start(f->journal, f->store, &err) != 0)
		fail_msg("%s", err.text);
	f->mono_ns = clock_mono_ns();
}

static void
append(struct store *store, struct gen *gen, size_t endpoint, uint64_t poll)
{
	struct append_stats stats;
	struct err err;
	struct series_set *set = store_set(store, gen_host(gen, endpoint), STR("app"), &err);

	assert_non_null(set);
	if (store_append(set, gen_poll(gen, endpoint, poll), &stats, &err) != 0)
		fail_msg("%s", err.text);
	series_set_unref(set);
}

/* Both stores get the same; now and then an endpoint is gone for a while. */
static void
poll(struct world *w, int times)
{
	for (int i = 0; i < times; i++) {
		uint64_t n = w->f.poll_count++;

		for (size_t e = 0; e < ENDPOINTS; e++) {
			struct str host = gen_host(w->gen, e);
			bool gone = e == 1 && n % 50 >= 40;

			if (gone && n % 50 == 40) {
				struct series_set *a = store_find(w->f.store, host, STR("app"));
				struct series_set *b = store_find(w->whole, host, STR("app"));

				assert_non_null(a);
				assert_non_null(b);
				store_deactivate(a, TS_NONE);
				store_deactivate(b, TS_NONE);
				series_set_unref(a);
				series_set_unref(b);
			}
			if (gone)
				continue;
			append(w->f.store, w->f.gen, e, n);
			append(w->whole, w->gen, e, n);
		}
		fixture_turn(&w->f, 300 * NS_PER_MS);
	}
}

/* A segment ends, and is sealed. */
static void
seal(struct world *w)
{
	struct err err;

	fixture_turn(&w->f, w->f.conf.segment_ns);
	if (journal_seal(w->f.journal, clock_real_ns(), &err) != 0)
		fail_msg("%s", err.text);
}

static size_t
sealed_count(struct world *w)
{
	return fixture_files_in(&w->f, "history", ".sh", NULL);
}

/* What is asked for. */

struct asked {
	struct iter *iter;
	const struct metric_desc *desc;
};

static struct asked
ask(struct store *store, struct str host, int64_t start_ns)
{
	struct series_set *set = store_find(store, host, STR("app"));
	struct asked asked = { NULL, NULL };
	struct err err;

	assert_non_null(set);
	asked.iter = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	assert_non_null(asked.iter);
	if (iter_reach(asked.iter, start_ns, &err) != 0)
		fail_msg("%s", err.text);
	series_set_unref(set);
	return asked;
}

static bool
next_series(struct asked *asked)
{
	return iter_next_series(asked->iter, &asked->desc);
}

static void
assert_same_record(const struct record *a, const struct record *b)
{
	assert_int_equal(a->active, b->active);
	assert_true(value_eq(a->desc, &a->value, &b->value));
}

/*
 * The same records, but that the last one, of before the start, may have a later time: that from
 * which on it is known.
 */
static void
assert_same_records(struct asked *part, struct asked *whole, int64_t start_ns, int64_t end_ns)
{
	iter_range(part->iter, start_ns, end_ns);
	iter_range(whole->iter, start_ns, end_ns);
	for (;;) {
		struct record a, b;
		size_t n = iter_read(part->iter, &a, 1), m = iter_read(whole->iter, &b, 1);

		assert_false(iter_failed(part->iter));
		if (m == 1 && b.ts_ns <= start_ns && n == 1 && a.active) {
			assert_same_record(&a, &b);
			assert_in_range(a.ts_ns - b.ts_ns, 0, start_ns - b.ts_ns);
			assert_int_equal(iter_read(part->iter, &a, 1), 0);
			return;
		}
		/* What ended before is known to have ended, or not known at all. */
		if (m == 1 && b.ts_ns <= start_ns && !b.active && n == 0)
			return;
		assert_int_equal(n, m);
		if (n == 0)
			return;
		assert_int_equal(a.ts_ns, b.ts_ns);
		assert_same_record(&a, &b);
	}
}

static void
assert_same_times(struct asked *part, struct asked *whole, int64_t start_ns, int64_t end_ns)
{
	int64_t a, b;

	iter_range(part->iter, start_ns, end_ns);
	iter_range(whole->iter, start_ns, end_ns);
	for (;;) {
		size_t n = iter_read_times(part->iter, &a, 1);

		assert_int_equal(n, iter_read_times(whole->iter, &b, 1));
		if (n == 0)
			return;
		assert_int_equal(a, b);
	}
}

static void
assert_same_since(struct world *w, int64_t start_ns, int64_t end_ns)
{
	for (size_t e = 0; e < ENDPOINTS; e++) {
		struct str host = gen_host(w->gen, e);
		struct asked part = ask(w->f.store, host, start_ns);
		struct asked whole = ask(w->whole, host, start_ns);

		while (next_series(&whole)) {
			assert_true(next_series(&part));
			assert_true(desc_eq(part.desc, whole.desc));
			assert_same_records(&part, &whole, start_ns, end_ns);
			assert_same_times(&part, &whole, start_ns, end_ns);
			assert_true(
			    iter_earliest(part.iter) <= start_ns || iter_earliest(part.iter) == 0);
		}
		assert_false(next_series(&part));
		iter_free(part.iter);
		iter_free(whole.iter);
	}
}

/* At all kinds of starts and ends. */
static void
assert_all_same(struct world *w)
{
	int64_t first_ns = INT64_C(1400000000) * NS_PER_S, last_ns = 0;
	struct series_set *set = store_find(w->whole, gen_host(w->gen, 0), STR("app"));
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);

	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, 0, INT64_MAX);
	while (iter_read(it, &record, 1) == 1) {
		if (last_ns == 0)
			last_ns = record.ts_ns;
		first_ns = record.ts_ns;
	}
	iter_free(it);
	series_set_unref(set);
	assert_same_since(w, 0, INT64_MAX);
	assert_same_since(w, first_ns - 1, INT64_MAX);
	for (int i = 0; i < 12; i++) {
		int64_t start_ns = first_ns + (last_ns - first_ns) / 11 * i;

		assert_same_since(w, start_ns, INT64_MAX);
		assert_same_since(w, start_ns, start_ns + (last_ns - first_ns) / 7);
	}
}

static void
queries_go_on_where_memory_ends(void **state)
{
	struct world *w = *state;
	struct store_stats stats;

	start(w);
	for (int i = 0; i < 6; i++) {
		poll(w, 70);
		seal(w);
	}
	poll(w, 33);
	assert_int_equal(sealed_count(w), 6);
	assert_int_equal(fixture_files(&w->f, ".sj", NULL), 1);
	store_get_stats(w->f.store, &stats);
	assert_true(stats.pages_reclaimed > 0);
	assert_all_same(w);
}

static void
segments_that_are_not_sealed_are_read_too(void **state)
{
	struct world *w = *state;

	start(w);
	poll(w, 150);
	seal(w);
	poll(w, 150);
	fixture_turn(&w->f, w->f.conf.segment_ns);
	poll(w, 150);
	assert_int_equal(sealed_count(w), 1);
	assert_int_equal(fixture_files(&w->f, ".sj", NULL), 2);
	assert_all_same(w);
}

static void
a_restart_changes_nothing(void **state)
{
	struct world *w = *state;

	for (int life = 0; life < 4; life++) {
		start(w);
		if (life > 0)
			assert_all_same(w);
		poll(w, 60);
		if (life % 2 == 0)
			seal(w);
		poll(w, 20);
		fixture_close(&w->f);
	}
	start(w);
	seal(w);
	assert_all_same(w);
	assert_int_equal(fixture_files(&w->f, ".sj", NULL), 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queries_go_on_where_memory_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    segments_that_are_not_sealed_are_read_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_changes_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
