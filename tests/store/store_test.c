#include <stdio.h>

#include "fault.h"
#include "store_fixture.h"

static void
an_endpoint_is_a_host_and_an_application(void **state)
{
	struct fixture *f = *state;
	struct series_set *same, *other;
	struct err err;

	same = store_set(f->store, STR("web1"), STR("app"), &err);
	assert_ptr_equal(same, f->set);
	assert_true(str_eq(series_set_host(same), STR("web1")));
	assert_true(str_eq(series_set_app(same), STR("app")));
	series_set_unref(same);
	other = store_set(f->store, STR("web1a"), STR("pp"), &err);
	assert_ptr_not_equal(other, f->set);
	series_set_unref(other);
	assert_null(store_find(f->store, STR("web"), STR("1app")));
	same = store_find(f->store, STR("web1"), STR("app"));
	assert_ptr_equal(same, f->set);
	series_set_unref(same);
}

static void
a_name_that_is_too_long_is_refused(void **state)
{
	struct fixture *f = *state;
	static char name[2000];
	struct err err;

	memset(name, 'x', sizeof(name));
	assert_null(store_set(f->store, (struct str){ name, sizeof(name) }, STR("a"), &err));
	assert_int_equal(err.code, ERR_LIMIT);
	assert_null(store_set(f->store, STR("a"), (struct str){ name, sizeof(name) }, &err));
	assert_int_equal(err.code, ERR_LIMIT);
	assert_null(store_find(f->store, STR("a"), (struct str){ name, sizeof(name) }));
}

static void
a_snapshot_is_sorted_by_host_and_application(void **state)
{
	struct fixture *f = *state;
	static const char *const names[][2] = { { "web2", "a" }, { "web1", "z" }, { "a", "x" },
		{ "web1", "a" } };
	static const char *const sorted[][2] = { { "a", "x" }, { "web1", "a" }, { "web1", "app" },
		{ "web1", "z" }, { "web2", "a" } };
	struct series_set *const *sets;
	struct err err;
	size_t n;

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		series_set_unref(
		    store_set(f->store, str_of(names[i][0]), str_of(names[i][1]), &err));
	assert_int_equal(sets_snapshot(f->store, &sets, &n, &err), 0);
	assert_int_equal(n, ARRAY_LEN(sorted));
	for (size_t i = 0; i < n; i++) {
		assert_true(str_eq(series_set_host(sets[i]), str_of(sorted[i][0])));
		assert_true(str_eq(series_set_app(sets[i]), str_of(sorted[i][1])));
	}
	sets_free(sets, n);
	store_forget(f->store, f->set); /* else the list there is will do */
	fault_malloc(1);
	assert_int_equal(sets_snapshot(f->store, &sets, &n, &err), -1);
	fault_malloc(0);
	assert_int_equal(err.code, ERR_NOMEM);
}

static void
an_empty_store_has_an_empty_snapshot(void **state)
{
	struct fixture *f = *state;
	struct series_set *const *sets;
	struct err err;
	size_t n;

	store_forget(f->store, f->set);
	assert_int_equal(sets_snapshot(f->store, &sets, &n, &err), 0);
	assert_int_equal(n, 0);
	sets_free(sets, n);
}

static void
a_forgotten_set_gives_its_memory_back_with_the_last_reference(void **state)
{
	struct fixture *f = *state;
	struct series_set *set;
	struct store_stats before, after;
	struct record record;
	struct err err;
	struct iter *it;

	/* What the first append leaves for the next one stays. */
	put_text(f, "/a", "even", 0, 1);
	set = store_set(f->store, STR("web3"), STR("app"), &err);
	assert_int_equal(append_to(f, set, &err), 0);
	store_forget(f->store, set);
	series_set_unref(set);
	store_get_stats(f->store, &before);
	set = store_set(f->store, STR("web2"), STR("app"), &err);
	for (int64_t i = 0; i < 500; i++) {
		put_text(f, "/a", i % 2 == 0 ? "even" : "odd", 0, i);
		assert_int_equal(append_to(f, set, &err), 0);
	}
	it = iter_new(set, STR("/a"), ITER_UNDER, &err);
	assert_non_null(it);
	store_forget(f->store, set);
	store_forget(f->store, set);
	assert_null(store_find(f->store, STR("web2"), STR("app")));
	series_set_unref(set);
	store_get_stats(f->store, &after);
	assert_int_equal(after.sets, before.sets);
	assert_int_equal(after.values, 500);
	assert_int_equal(iter_latest_many(it, &record, 1), 1);
	assert_true(str_eq(record.value.s, STR("odd")));
	iter_free(it);
	store_get_stats(f->store, &after);
	assert_int_equal(after.values, 0);
	assert_int_equal(after.series, 0);
	assert_int_equal(after.active_series, 0);
	assert_int_equal(after.bytes_used, before.bytes_used);
}

static void
an_endpoint_that_comes_back_finds_its_series(void **state)
{
	struct fixture *f = *state;
	struct series_set *set;
	struct err err;

	put_i64(f, "/a", 1, 0, 0);
	append(f);
	set = f->set;
	series_set_unref(f->set);
	f->set = store_set(f->store, STR("web1"), STR("app"), &err);
	assert_ptr_equal(f->set, set);
	assert_string_equal(history(f, "/a"), "0:1");
}

static void
the_same_metrics_on_many_machines_are_described_once(void **state)
{
	struct fixture *f = *state;
	struct store_stats one, two, three;
	struct series_set *sets[2];
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_INT64 };
	static char text[10000];
	struct err err;

	memset(text, 'd', sizeof(text));
	desc.description = (struct str){ text, sizeof(text) };
	for (size_t i = 0; i < 2; i++)
		sets[i] = store_set(f->store, i == 0 ? STR("x") : STR("y"), STR("app"), &err);
	store_get_stats(f->store, &one);
	put_desc(f, &desc, (struct value){ .i = 1 }, 0, 0);
	assert_int_equal(append_to(f, sets[0], &err), 0);
	store_get_stats(f->store, &two);
	put_desc(f, &desc, (struct value){ .i = 1 }, 0, 0);
	assert_int_equal(append_to(f, sets[1], &err), 0);
	store_get_stats(f->store, &three);
	assert_true(two.bytes_used - one.bytes_used > sizeof(text));
	assert_true(three.bytes_used - two.bytes_used < 1000);
	series_set_unref(sets[0]);
	series_set_unref(sets[1]);
}

static void
many_descriptions_are_all_found_again(void **state)
{
	struct fixture *f = *state;
	static char paths[2000][8];
	struct store_stats stats;

	for (int64_t round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			/* The other way round, so that positions do not help. */
			size_t at = round == 0 ? i : ARRAY_LEN(paths) - 1 - i;

			snprintf(paths[at], sizeof(paths[at]), "/%zu", at);
			put_i64(f, paths[at], (int64_t)at, 0, round);
		}
		append(f);
	}
	assert_int_equal(f->stats.added, 0);
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.series, ARRAY_LEN(paths));
}

static void
many_groups_are_all_found_again(void **state)
{
	struct fixture *f = *state;
	static char paths[500][8];

	for (int64_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			snprintf(paths[i], sizeof(paths[i]), "/%zu", i);
			put_i64(f, paths[i], 1, (int64_t)i * 1000, round * 10 + (int64_t)i);
		}
		append(f);
	}
	assert_int_equal(f->stats.stale, 0);
	assert_string_equal(latest_text(f, "/7"), "/7=27:1");
}

static void
a_full_store_takes_no_new_series(void **state)
{
	struct fixture *f = fixture_new(32 * 1024);
	static char paths[200][32];
	struct store_stats stats;
	struct err err = { .code = ERR_NONE };
	int64_t i = 0;
	int rc = 0;

	(void)state;
	for (; rc == 0; i++) {
		assert_true(i < (int64_t)ARRAY_LEN(paths));
		snprintf(paths[i], sizeof(paths[i]), "/metric/number/%d", (int)i);
		put_i64(f, "/first", i, 0, i);
		for (int64_t k = 0; k <= i; k++)
			put_i64(f, paths[k], 1, 0, i);
		rc = append_to(f, f->set, &err);
		store_get_stats(f->store, &stats);
		assert_true(stats.bytes_used <= stats.bytes_limit);
	}
	assert_true(i > 50);
	assert_int_equal(err.code, ERR_LIMIT);
	assert_non_null(strstr(err.text, " values to web1/app: store is full: "));
	assert_non_null(strstr(err.text, " KiB of 32 KiB used; raise store.memory"));
	/* The failed poll left nothing behind; known series go on. */
	assert_true(stats.series == (uint64_t)i && stats.active_series == (uint64_t)i);
	put_i64(f, "/first", i, 0, i);
	append(f);
	assert_int_equal(f->stats.added, i); /* the others end */
	fixture_free(f);
}

static void
series_in_place_of_others_use_their_memory(void **state)
{
	struct fixture *f = fixture_new(4 * 1024 * 1024);
	static char paths[500][32];
	struct store_stats stats;

	(void)state;
	for (int64_t round = 0; round < 100; round++) {
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			snprintf(paths[i], sizeof(paths[i]), "/round/%d/%zu", (int)round, i);
			put_i64(f, paths[i], round, 0, round);
		}
		append(f);
		store_get_stats(f->store, &stats);
		assert_int_equal(stats.active_series, ARRAY_LEN(paths));
	}
	assert_true(stats.series < 50 * ARRAY_LEN(paths));
	fixture_free(f);
}

static void
values_go_on_where_there_is_no_room_for_a_page(void **state)
{
	struct fixture *f = *state;
	struct store_stats stats;
	char newest[6];

	/* Room for the series, not for a page of any of them. */
	put_i64(f, "/a", 0, 0, 0);
	append(f);
	store_get_stats(f->store, &stats);
	f = fixture_new(stats.bytes_used);
	for (int64_t i = 0; i < 100; i++) {
		put_i64(f, "/a", i, 0, i);
		append(f);
		assert_int_equal(f->stats.added, 1);
		store_get_stats(f->store, &stats);
		assert_true(stats.bytes_used <= stats.bytes_limit);
		assert_true(stats.values < 20);
	}
	assert_string_equal(latest_text(f, "/a"), "/a=99:99");
	snprintf(newest, sizeof(newest), "%.5s", history(f, "/a"));
	assert_string_equal(newest, "99:99");
	fixture_free(f);
}

static void
pages_of_inactive_series_go_first(void **state)
{
	struct fixture *f = fixture_new(128 * 1024);
	struct series_set *live;
	struct store_stats stats;
	struct err err;
	int64_t i;

	(void)state;
	live = store_set(f->store, STR("web2"), STR("app"), &err);
	assert_non_null(live);
	for (i = 0; i < 3000; i++) {
		put_i64(f, "/old", i < 2 ? i : noise(i), 0, i);
		assert_int_equal(append_to(f, live, &err), 0);
	}
	for (; i < 6000; i++) {
		put_i64(f, "/newer", noise(i), 0, i);
		append(f);
	}
	store_deactivate(f->set, AT(6000));
	store_get_stats(f->store, &stats);
	assert_int_equal(stats.pages_reclaimed, 0);
	for (; stats.pages_reclaimed < 20; i++) {
		put_i64(f, "/old", noise(i), 0, i);
		assert_int_equal(append_to(f, live, &err), 0);
		store_get_stats(f->store, &stats);
	}
	assert_true(stats.oldest_ts_ns == TS_NONE); /* nothing of an active series yet */
	assert_true(stats.series == 2);
	series_set_unref(f->set);
	f->set = live;
	assert_string_equal(range_text(f, "/old", AT(0), AT(2)), "1:1 0:0");
	for (; i < 30000; i++) {
		put_i64(f, "/old", noise(i), 0, i);
		append(f);
	}
	store_get_stats(f->store, &stats);
	assert_true(stats.oldest_ts_ns > AT(6000));
	assert_string_equal(range_text(f, "/old", AT(0), AT(2)), "");
	/* The inactive series is gone with its last page. */
	f->set = store_find(f->store, STR("web1"), STR("app"));
	assert_string_equal(history(f, "/newer"), "");
	put_i64(f, "/other", 1, 0, i);
	append(f);
	store_get_stats(f->store, &stats);
	assert_true(stats.series == 2 && stats.active_series == 2);
	/* And may come back. */
	put_i64(f, "/newer", 5, 0, i + 1);
	append(f);
	snprintf(f->batch.bad_text, sizeof(f->batch.bad_text), "%d:5", (int)i + 1);
	assert_string_equal(history(f, "/newer"), f->batch.bad_text);
	series_set_unref(live);
	fixture_free(f);
}

/* Appends to the set until so many pages more were reclaimed; returns the time that comes next. */
static int64_t
reclaim_pages(struct fixture *f, struct series_set *set, int64_t i, uint64_t count)
{
	struct store_stats stats;
	uint64_t wanted;
	struct err err;

	store_get_stats(f->store, &stats);
	for (wanted = stats.pages_reclaimed + count; stats.pages_reclaimed < wanted; i++) {
		put_i64(f, "/live", noise(i), 0, i);
		assert_int_equal(append_to(f, set, &err), 0);
		store_get_stats(f->store, &stats);
	}
	return i;
}

static void
what_has_just_ended_is_spared_for_a_while(void **state)
{
	struct fixture *f = fixture_new(128 * 1024);
	struct series_set *live;
	struct err err;
	int64_t i, ended;

	(void)state;
	live = store_set(f->store, STR("web2"), STR("app"), &err);
	assert_non_null(live);
	i = ended = reclaim_pages(f, live, 0, 20);
	for (; i < ended + 100; i++) {
		put_i64(f, "/short", noise(i), 0, i);
		append(f);
	}
	store_deactivate(f->set, AT(i));
	i = reclaim_pages(f, live, i + 1, 2);
	assert_true(strlen(range_text(f, "/short", AT(ended), AT(ended + 2))) > 0);
	reclaim_pages(f, live, i, 20);
	assert_string_equal(history(f, "/short"), "");
	series_set_unref(live);
	fixture_free(f);
}

static void
the_oldest_page_of_all_goes_next(void **state)
{
	struct fixture *f = fixture_new(128 * 1024);
	struct store_stats stats = { .pages_reclaimed = 0 };
	struct series_set *other;
	struct err err;
	int64_t i;

	(void)state;
	/* The set that was filled first loses its pages, though it is the later one by its clock.
	 */
	other = store_set(f->store, STR("a"), STR("a"), &err);
	for (i = 0; i < 3000; i++) {
		put_i64(f, "/a", noise(i), 0, 1000000 + i);
		append(f);
	}
	for (; stats.pages_reclaimed < 20; i++) {
		put_i64(f, "/a", noise(i), 0, i);
		assert_int_equal(append_to(f, other, &err), 0);
		store_get_stats(f->store, &stats);
	}
	assert_string_equal(range_text(f, "/a", AT(0), AT(1000100)), "");
	assert_true(stats.oldest_ts_ns > AT(1000100));
	series_set_unref(f->set);
	f->set = other;
	assert_true(strlen(range_text(f, "/a", AT(3000), AT(3002))) > 0);
	fixture_free(f);
}

static const struct metric_desc *
find(const struct batch *batch, const char *path, struct value *value)
{
	for (size_t i = 0; i < batch->len; i++) {
		if (str_eq(batch->desc[i].path, str_of(path))) {
			*value = batch->value[i];
			return &batch->desc[i];
		}
	}
	fail_msg("no %s", path);
	return NULL;
}

static void
own_metrics_tell_of_the_store(void **state)
{
	static const char *const paths[] = { "/store/metricValueCount", "/store/timeSpan",
		"/store/valuePageCount", "/store/timestampPageCount", "/store/totalPagesInUseCount",
		"/store/totalPages", "/store/pageUtilization", "/store/maxValuesPerPage",
		"/store/bytesUsed", "/store/bytesLimit", "/store/reclaimedPages",
		"/store/seriesCount", "/store/activeSeriesCount", "/store/endpointCount",
		"/store/highPriorityCount", "/store/lowPriorityCount", "/store/highPriorityRatio",
		"/store/firstHighPriorityTS", "/store/firstLowPriorityTS",
		"/store/inactiveThreshhold", "/store/absoluteInactiveThreshhold",
		"/store/expanding", "/store/pagesPerMetric" };
	struct store_conf conf = { .memory_bytes = 1 << 20 };
	struct fixture *f = *state;
	struct batch batch;
	struct store *store;
	struct series_set *set;
	struct value value;
	struct err err;
	struct own *own = own_new(&err);

	store = store_new(&conf, own, &err);
	assert_non_null(store);
	set = store_set(store, STR("h"), STR("a"), &err);
	for (int64_t i = 0; i < 60; i++) {
		put_i64(f, "/a", i, 0, i);
		put_i64(f, "/b", 0, 0, i);
		assert_int_equal(append_to(f, set, &err), 0);
	}
	batch_init(&batch, 0);
	assert_int_equal(own_collect(own, &batch, BASE_NS, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		find(&batch, paths[i], &value);
	assert_int_equal(find(&batch, "/store/metricValueCount", &value)->kind, KIND_INT64);
	assert_int_equal(value.i, 61);
	find(&batch, "/store/valuePageCount", &value);
	assert_true(value.f > 0.9 && value.f < 1.1);
	find(&batch, "/store/pageUtilization", &value);
	assert_true(value.f > 0.05 && value.f < 0.5);
	find(&batch, "/store/bytesPerValue", &value);
	assert_true(value.f > 1 && value.f < 4);
	find(&batch, "/store/bytesPerSeries", &value);
	assert_true(value.f > 100 && value.f < 20000); /* scratch memory included */
	find(&batch, "/store/lowPriorityCount", &value);
	assert_int_equal(value.u, 1);
	find(&batch, "/store/highPriorityCount", &value);
	assert_int_equal(value.u, 0);
	find(&batch, "/store/expanding", &value);
	assert_true(value.b);
	assert_true(find(&batch, "/store/pagesPerMetric", &value)->not_cumulative);
	assert_int_equal(value.dist->len, 20);
	assert_int_equal(value.dist->count, 1);
	assert_int_equal(value.dist->counts[1], 1);
	assert_true(value.dist->sum == 1 && value.dist->min == 1 && value.dist->max == 1);
	find(&batch, "/store/seriesCount", &value);
	assert_int_equal(value.u, 2);
	find(&batch, "/store/endpointCount", &value);
	assert_int_equal(value.u, 1);
	find(&batch, "/store/bytesLimit", &value);
	assert_int_equal(value.u, 1 << 20);
	batch_fini(&batch);
	series_set_unref(set);
	store_free(store);
	own_free(own);
}

static struct value
value_of(const struct batch *batch, const char *path)
{
	struct value value = { 0 };

	find(batch, path, &value);
	return value;
}

static void
pages_are_counted_as_they_come_and_go(void **state)
{
	struct fixture *f = *state;
	struct store_conf conf = { .memory_bytes = 76 << 10 };
	struct err err;
	struct own *own = own_new(&err);
	struct store *store = store_new(&conf, own, &err);
	struct series_set *sets[2];
	struct batch batch;
	struct value high = { 0 }, low, all, ratio, first_high, first_low = { 0 }, per_group,
	             expanding;

	assert_non_null(store);
	sets[0] = store_set(store, STR("h"), STR("a"), &err);
	sets[1] = store_set(store, STR("h"), STR("b"), &err);
	batch_init(&batch, 0);
	for (int64_t round = 0; round < 40; round++) {
		for (int64_t i = 0; i < 400; i++) {
			put_i64(f, "/a", noise(i), i % 3, round * 400 + i);
			assert_int_equal(append_to(f, sets[round < 20 ? i % 2 : 0], &err), 0);
		}
		if (round == 20)
			store_deactivate(sets[1], TS_NONE);
		batch_reset(&batch);
		assert_int_equal(own_collect(own, &batch, BASE_NS + round, &err), 0);
		high = value_of(&batch, "/store/highPriorityCount");
		low = value_of(&batch, "/store/lowPriorityCount");
		all = value_of(&batch, "/store/totalPagesInUseCount");
		ratio = value_of(&batch, "/store/highPriorityRatio");
		first_high = value_of(&batch, "/store/firstHighPriorityTS");
		first_low = value_of(&batch, "/store/firstLowPriorityTS");
		per_group = value_of(&batch, "/store/pagesPerMetric");
		expanding = value_of(&batch, "/store/expanding");
		assert_int_equal(high.u + low.u, all.i);
		assert_true(ratio.f == (double)high.u / (double)all.i);
		assert_true(per_group.dist->sum == (double)all.i);
		assert_true(per_group.dist->count > 0 && per_group.dist->count <= 8);
		assert_true(first_high.i == 0 || first_high.i >= BASE_NS);
		if (round == 0)
			assert_true(expanding.b && high.u < all.u);
		if (round == 20)
			assert_true(high.u > 10 && !expanding.b && first_high.i > BASE_NS);
	}
	/* By now those of the endpoint that ended are gone. */
	assert_true(high.u < 10 && first_low.i > BASE_NS);
	batch_fini(&batch);
	series_set_unref(sets[0]);
	series_set_unref(sets[1]);
	store_free(store);
	own_free(own);
}

static void
constructors_report_lack_of_memory(void **state)
{
	struct store_conf conf = { .memory_bytes = 1 << 20 };
	struct series_set *set = NULL;
	struct store *store = NULL;
	struct cursor *cursor;
	struct err err;
	struct own *own = own_new(&err);
	unsigned nth = 0;

	(void)state;
	while (store == NULL) {
		fault_malloc(++nth);
		store = store_new(&conf, own, &err);
		fault_malloc(0);
		assert_true(store != NULL || err.code == ERR_NOMEM);
	}
	assert_true(nth > 2);
	cursor = cursor_new(store, "w", CURSOR_EVERY, &err);
	assert_non_null(cursor);
	for (nth = 0; set == NULL;) {
		fault_malloc(++nth);
		set = store_set(store, STR("h"), STR("a"), &err);
		fault_malloc(0);
		assert_true(set != NULL || err.code == ERR_NOMEM);
	}
	assert_true(nth > 3);
	series_set_unref(set);
	cursor_free(cursor);
	store_free(store);
	own_free(own);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(an_endpoint_is_a_host_and_an_application),
		TEST(a_name_that_is_too_long_is_refused),
		TEST(a_snapshot_is_sorted_by_host_and_application),
		TEST(an_empty_store_has_an_empty_snapshot),
		TEST(a_forgotten_set_gives_its_memory_back_with_the_last_reference),
		TEST(an_endpoint_that_comes_back_finds_its_series),
		TEST(the_same_metrics_on_many_machines_are_described_once),
		TEST(many_descriptions_are_all_found_again),
		TEST(many_groups_are_all_found_again),
		cmocka_unit_test(a_full_store_takes_no_new_series),
		cmocka_unit_test(series_in_place_of_others_use_their_memory),
		TEST(values_go_on_where_there_is_no_room_for_a_page),
		cmocka_unit_test(pages_of_inactive_series_go_first),
		cmocka_unit_test(what_has_just_ended_is_spared_for_a_while),
		cmocka_unit_test(the_oldest_page_of_all_goes_next),
		TEST(own_metrics_tell_of_the_store),
		TEST(pages_are_counted_as_they_come_and_go),
		cmocka_unit_test(constructors_report_lack_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
