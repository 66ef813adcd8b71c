#include <stdio.h>

#include "fault.h"
#include "store/store_priv.h"
#include "store_fixture.h"

static const char *
paths_text(struct fixture *f, const char *prefix, enum iter_match match)
{
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(f->set, str_of(prefix), match, &err);

	assert_non_null(it);
	buf_clear(&f->text);
	while (iter_next_series(it, &desc)) {
		if (f->text.len > 0)
			buf_putc(&f->text, ' ');
		buf_str(&f->text, desc->path);
	}
	iter_free(it);
	buf_putc(&f->text, '\0');
	return f->text.p;
}

static void
series_come_in_byte_order_of_their_paths(void **state)
{
	struct fixture *f = *state;
	static const char *const paths[] = { "/b/c", "/a-b", "/a/z", "/a", "/b", "/a/b/c", "/ab" };

	assert_string_equal(paths_text(f, "", ITER_UNDER), "");
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		for (size_t j = 0; j <= i; j++)
			put_i64(f, paths[j], 1, 0, (int64_t)i);
		append(f);
	}
	assert_string_equal(paths_text(f, "", ITER_UNDER), "/a /a-b /a/b/c /a/z /ab /b /b/c");
	assert_string_equal(paths_text(f, "/", ITER_UNDER), "/a /a-b /a/b/c /a/z /ab /b /b/c");
	assert_string_equal(paths_text(f, "/a", ITER_UNDER), "/a /a/b/c /a/z");
	assert_string_equal(paths_text(f, "/a/b", ITER_UNDER), "/a/b/c");
	assert_string_equal(paths_text(f, "/a", ITER_EXACT), "/a");
	assert_string_equal(paths_text(f, "/a/b", ITER_EXACT), "");
	assert_string_equal(paths_text(f, "/c", ITER_UNDER), "");
	assert_string_equal(paths_text(f, "", ITER_EXACT), "");
}

static void
tags_order_series_of_one_path(void **state)
{
	struct fixture *f = *state;
	static const struct tag tags[] = { { { "k", 1 }, { "2", 1 } }, { { "k", 1 }, { "1", 1 } } };
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_BOOL, .tag_count = 1 };
	const struct metric_desc *got;
	struct err err;
	struct iter *it;

	for (size_t i = 0; i < 2; i++) {
		desc.tags = &tags[i];
		put_desc(f, &desc, (struct value){ .b = true }, 0, 0);
	}
	put(f, "/a", KIND_BOOL, (struct value){ .b = true }, 0, 0);
	append(f);
	it = iter_new(f->set, STR("/a"), ITER_EXACT, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &got));
	assert_int_equal(got->tag_count, 0);
	assert_true(iter_next_series(it, &got));
	assert_true(str_eq(got->tags[0].value, STR("1")));
	assert_true(iter_next_series(it, &got));
	assert_true(str_eq(got->tags[0].value, STR("2")));
	assert_false(iter_next_series(it, &got));
	assert_false(iter_next_series(it, &got));
	iter_free(it);
}

static void
a_range_goes_back_to_the_value_at_its_start(void **state)
{
	struct fixture *f = *state;

	for (int64_t i = 1; i <= 5; i++) {
		put_i64(f, "/a", i, 0, i * 100);
		append(f);
	}
	assert_string_equal(range_text(f, "/a", AT(250), AT(450)), "400:4 300:3 200:2");
	/* A record at the start is the value at the start; the end is not included. */
	assert_string_equal(range_text(f, "/a", AT(200), AT(400)), "300:3 200:2");
	assert_string_equal(range_text(f, "/a", AT(201), AT(400)), "300:3 200:2");
	assert_string_equal(range_text(f, "/a", AT(0), AT(150)), "100:1");
	assert_string_equal(range_text(f, "/a", AT(0), AT(100)), "");
	/* history=0: at least the current value. */
	assert_string_equal(range_text(f, "/a", AT(9000), INT64_MAX), "500:5");
	assert_string_equal(range_text(f, "/a", AT(300), AT(300)), "");
	assert_string_equal(range_text(f, "/a", AT(400), AT(300)), "");
	assert_string_equal(
	    range_text(f, "/a", TS_NONE, INT64_MAX), "500:5 400:4 300:3 200:2 100:1");
}

static void
the_sample_of_the_hosts_call(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc desc = { .path = STR("/queue/depth"),
		.description = STR("Jobs waiting"),
		.unit = STR("None"),
		.kind = KIND_INT32 };

	put_desc(f, &desc, (struct value){ .i = -7 }, 0, 0);
	put_i64(f, "/other", 1, 0, 0);
	append(f);
	put_i64(f, "/other", 1, 0, 30250);
	append(f);
	assert_string_equal(history(f, "/queue/depth"), "30250:0i 0:-7");
}

static void
inactive_series_have_no_latest_value(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *it;

	put_i64(f, "/a", 1, 0, 0);
	put_i64(f, "/b", 2, 0, 0);
	append(f);
	put_i64(f, "/b", 2, 0, 1000);
	append(f);
	it = iter_new(f->set, STR_EMPTY, ITER_UNDER, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	assert_false(iter_latest(it, &record));
	assert_true(iter_next_series(it, &desc));
	assert_true(iter_latest(it, &record));
	assert_true(record.ts_ns == AT(1000) && record.value.i == 2 && record.active);
	assert_ptr_equal(record.desc, desc);
	iter_free(it);
}

static void
latest_many_gives_all_however_many(void **state)
{
	struct fixture *f = *state;
	static char paths[300][8];
	struct record records[300];
	struct err err;
	struct iter *it;
	size_t n, sum = 0;

	for (size_t i = 0; i < 300; i++) {
		snprintf(paths[i], sizeof(paths[i]), "/m%03zu", i);
		put_text(f, paths[i], "text", 0, 0);
	}
	append(f);
	for (size_t i = 0; i < 300; i += i < 150 ? 150 : 1) /* 150 in a row are gone */
		put_text(f, paths[i], "text", 0, 1);
	append(f);
	it = iter_new(f->set, STR_EMPTY, ITER_UNDER, &err);
	assert_non_null(it);
	while ((n = iter_latest_many(it, records, ARRAY_LEN(records))) > 0) {
		sum += n;
		assert_true(str_eq(records[n - 1].value.s, STR("text")));
	}
	assert_int_equal(sum, 151);
	iter_free(it);
}

static void
values_stay_valid_while_newer_ones_come(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *desc;
	struct record records[200];
	struct err err;
	struct iter *it;

	put_text(f, "/a", "kept for long", 0, 0);
	append(f);
	it = iter_new(f->set, STR("/a"), ITER_EXACT, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	assert_true(iter_latest(it, &records[0]));
	put_text(f, "/a", "another", 0, 1);
	append(f);
	assert_true(str_eq(records[0].value.s, STR("kept for long")));
	assert_true(iter_latest(it, &records[0]));
	assert_true(str_eq(records[0].value.s, STR("another")));
	/* A series that came later is not in this iterator. */
	put_text(f, "/a", "another", 0, 2);
	put_text(f, "/a/b", "new", 0, 2);
	append(f);
	assert_false(iter_next_series(it, &desc));
	iter_free(it);
}

static void
a_range_that_is_read_slowly_sees_no_value_twice(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *it;
	int64_t expect = 299;

	for (int64_t i = 0; i < 300; i++) {
		put_i64(f, "/a", i, 0, i);
		append(f);
	}
	it = iter_new(f->set, STR("/a"), ITER_EXACT, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, AT(10), INT64_MAX);
	while (iter_read(it, &record, 1) == 1) {
		assert_int_equal(record.value.i, expect--);
		put_i64(f, "/a", 1000 + expect, 0, 1000 - expect);
		append(f);
	}
	assert_int_equal(expect, 9);
	assert_int_equal(iter_read(it, &record, 1), 0);
	assert_int_equal(iter_earliest(it), 0);
	iter_free(it);
}

/* Appends so much to a store of 64 KiB that pages are reclaimed. */
static void
append_too_much(struct fixture *f, int64_t from, int64_t to)
{
	for (int64_t i = from; i < to; i++) {
		put_i64(f, "/a", i, 0, i);
		put_i64(f, "/b", noise(i), 0, i);
		append(f);
	}
}

static void
earliest_is_where_the_history_is_whole(void **state)
{
	struct fixture *f = fixture_new(64 * 1024);
	const struct metric_desc *desc;
	struct record records[64];
	struct err err;
	struct iter *it;
	int64_t first_ns = 0;
	size_t n;

	(void)state;
	append_too_much(f, 0, 10000);
	it = iter_new(f->set, STR("/a"), ITER_EXACT, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, TS_NONE, INT64_MAX);
	while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0)
		first_ns = records[n - 1].ts_ns;
	assert_true(first_ns > AT(3000));
	assert_true(iter_earliest(it) == first_ns);
	/* It is the value of that time. */
	assert_true(AT(records[0].value.i) >= first_ns);
	iter_free(it);
	fixture_free(f);
}

static void
a_range_that_is_reclaimed_meanwhile_shows_nothing_else(void **state)
{
	struct fixture *f = fixture_new(64 * 1024);
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *it;
	int64_t expect = 999;

	(void)state;
	append_too_much(f, 0, 1000);
	it = iter_new(f->set, STR("/a"), ITER_EXACT, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, TS_NONE, INT64_MAX);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(iter_read(it, &record, 1), 1);
		assert_int_equal(record.value.i, expect--);
	}
	append_too_much(f, 1000, 10000);
	/* What was taken apart already may still come, and nothing else. */
	while (iter_read(it, &record, 1) == 1)
		assert_int_equal(record.value.i, expect--);
	assert_int_equal(iter_read(it, &record, 1), 0);
	iter_free(it);
	fixture_free(f);
}

/* All polls have other texts, of so many bytes. */
enum { TEXT_SERIES = 20, TEXT_POLLS = 100, TEXT_BYTES = 200 };

static void
put_long_texts(struct fixture *f, int64_t ms)
{
	for (int i = 0; i < TEXT_SERIES; i++) {
		static char paths[TEXT_SERIES][8], texts[TEXT_SERIES][TEXT_BYTES];

		snprintf(paths[i], sizeof(paths[i]), "/s/%02d", i);
		snprintf(texts[i], sizeof(texts[i]), "%0*lld", TEXT_BYTES - 1,
		    (long long)(ms * 100 + i));
		put_text(f, paths[i], texts[i], 0, ms);
	}
}

static int64_t
text_number(const struct record *record)
{
	int64_t number = -1;

	str_to_i64(record->value.s, &number);
	return number;
}

/* What a reader holds is not to be had by reclaiming, so that must be little. */
static void
a_reader_that_stops_holds_few_texts(void **state)
{
	enum { MEMORY = 1024 * 1024, MOST_HELD = MEMORY / 256 };
	struct fixture *f = fixture_new(MEMORY);
	const struct metric_desc *desc;
	struct record record;
	struct err err;
	struct iter *it;

	(void)state;
	for (int64_t ms = 0; ms < TEXT_POLLS; ms++) {
		put_long_texts(f, ms);
		append(f);
	}
	assert_true(f->store->blobs.strings.len == TEXT_SERIES * TEXT_POLLS);
	it = iter_new(f->set, STR("/s"), ITER_UNDER, &err);
	assert_non_null(it);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, INT64_MIN, INT64_MAX);
	assert_int_equal(iter_read(it, &record, 1), 1);
	for (int64_t ms = TEXT_POLLS; ms < 150000; ms++) {
		put_i64(f, "/n", noise(ms), 1, ms);
		append(f);
	}
	assert_in_range(
	    f->store->blobs.strings.len, TEXT_SERIES, 2 * TEXT_SERIES + MOST_HELD / TEXT_BYTES);
	iter_free(it);
	fixture_free(f);
}

static void
texts_that_are_much_come_whole(void **state)
{
	struct fixture *f = fixture_new(4 * 1024 * 1024);
	const struct metric_desc *desc;
	struct record records[7];
	struct err err;
	struct iter *it;
	int64_t series = 0;

	(void)state;
	for (int64_t ms = 0; ms < TEXT_POLLS; ms++) {
		put_long_texts(f, ms);
		append(f);
	}
	it = iter_new(f->set, STR("/s"), ITER_UNDER, &err);
	assert_non_null(it);
	for (; iter_next_series(it, &desc); series++) {
		int64_t ms = TEXT_POLLS;
		size_t n;

		iter_range(it, INT64_MIN, INT64_MAX);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0) {
			for (size_t i = 0; i < n; i++)
				assert_int_equal(text_number(&records[i]), --ms * 100 + series);
		}
		assert_int_equal(ms, 0);
	}
	assert_int_equal(series, TEXT_SERIES);
	iter_free(it);
	fixture_free(f);
}

static const char *
times_text(struct fixture *f, const char *path, int64_t start_ns, int64_t end_ns)
{
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(f->set, str_of(path), ITER_EXACT, &err);
	int64_t times[2];
	size_t n;

	assert_non_null(it);
	buf_clear(&f->text);
	assert_true(iter_next_series(it, &desc));
	iter_range(it, start_ns, end_ns);
	while ((n = iter_read_times(it, times, 2)) > 0) {
		for (size_t i = 0; i < n; i++)
			buf_printf(
			    &f->text, " %lld", (long long)((times[i] - BASE_NS) / NS_PER_MS));
	}
	iter_free(it);
	buf_putc(&f->text, '\0');
	return f->text.p;
}

static void
times_of_a_group_are_those_of_its_polls(void **state)
{
	struct fixture *f = *state;

	for (int64_t i = 1; i <= 5; i++) {
		put_i64(f, "/a", 1, 0, i * 100);
		put_i64(f, "/b", i, 1, i * 100 + 1);
		append(f);
	}
	put_i64(f, "/a", 1, 0, 500);
	put_i64(f, "/late", 1, 0, 500);
	put_i64(f, "/b", 1, 1, 500);
	append(f);
	assert_string_equal(times_text(f, "/a", TS_NONE, INT64_MAX), " 500 400 300 200 100");
	assert_string_equal(times_text(f, "/b", AT(201), AT(501)), " 401 301");
	assert_string_equal(times_text(f, "/b", AT(501), AT(501)), "");
}

/* Many series and records: they do not fit into one window. */
static void
a_long_history_of_many_series_comes_whole(void **state)
{
	struct fixture *f = *state;
	static char paths[150][8], texts[2][16] = { "even", "odd" };
	const struct metric_desc *desc;
	struct record records[100];
	struct err err;
	struct iter *it;
	size_t n;

	for (int64_t poll = 0; poll < 700; poll++) {
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			snprintf(paths[i], sizeof(paths[i]), "/m%03zu", i);
			if (i == 3)
				put_text(f, paths[i], texts[poll % 2], 0, poll);
			else
				put_i64(f, paths[i], poll * (int64_t)i, (int64_t)i % 2, poll);
		}
		append(f);
	}
	it = iter_new(f->set, STR("/"), ITER_UNDER, &err);
	assert_non_null(it);
	for (size_t i = 0; iter_next_series(it, &desc); i++) {
		int64_t poll = 699;

		assert_true(str_eq(desc->path, str_of(paths[i])));
		iter_range(it, AT(50), INT64_MAX);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0) {
			for (size_t r = 0; r < n; r++, poll--) {
				if (i == 0)
					poll = 0;
				assert_true(records[r].ts_ns == AT(poll));
				if (i == 3)
					assert_true(
					    str_eq(records[r].value.s, str_of(texts[poll % 2])));
				else
					assert_int_equal(records[r].value.i, poll * (int64_t)i);
			}
		}
		assert_int_equal(poll, i == 0 ? -1 : 49);
	}
	iter_free(it);
}

static const char *
fleet_text(struct fixture *f, const char *prefix, enum iter_match match)
{
	const struct series_set *set;
	struct record records[2];
	struct err err;
	struct fleet_iter *it = fleet_iter_new(f->store, str_of(prefix), match, &err);
	size_t n;

	assert_non_null(it);
	buf_clear(&f->text);
	while ((n = fleet_iter_next(it, &set, records, 2)) > 0) {
		for (size_t i = 0; i < n; i++)
			buf_printf(&f->text, " %.*s%.*s=%.*s", STR_ARG(series_set_host(set)),
			    STR_ARG(records[i].desc->path), STR_ARG(records[i].value.s));
	}
	fleet_iter_free(it);
	buf_putc(&f->text, '\0');
	return f->text.p;
}

static void
a_path_is_found_in_the_whole_fleet(void **state)
{
	struct fixture *f = *state;
	static const char *const hosts[] = { "web9", "web2", "db1", "idle" };
	struct series_set *sets[4];
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
		sets[i] = store_set(f->store, str_of(hosts[i]), STR("app"), &err);
		put_text(f, hosts[i][0] == 'w' ? "/web/a" : "/db/a", hosts[i], 0, 0);
		if (hosts[i][0] != 'i')
			put_text(f, "/web/b", "b", 0, 0);
		put_text(f, "/webx", "x", 0, 0);
		assert_int_equal(append_to(f, sets[i], &err), 0);
	}
	store_deactivate(sets[3], AT(1));
	assert_string_equal(
	    fleet_text(f, "/web/a", ITER_EXACT), " web2/web/a=web2 web9/web/a=web9");
	assert_string_equal(fleet_text(f, "/web", ITER_UNDER),
	    " db1/web/b=b web2/web/a=web2 web2/web/b=b web9/web/a=web9 web9/web/b=b");
	assert_string_equal(fleet_text(f, "/webx/", ITER_EXACT), "");
	assert_string_equal(fleet_text(f, "/", ITER_UNDER),
	    " db1/db/a=db1 db1/web/b=b db1/webx=x web2/web/a=web2 web2/web/b=b web2/webx=x"
	    " web9/web/a=web9 web9/web/b=b web9/webx=x");
	for (size_t i = 0; i < ARRAY_LEN(hosts); i++)
		series_set_unref(sets[i]);
}

static void
iterators_report_lack_of_memory(void **state)
{
	struct fixture *f = *state;
	struct err err = { .code = ERR_NONE };

	fault_malloc(1);
	assert_null(iter_new(f->set, STR("/a"), ITER_UNDER, &err));
	fault_malloc(0);
	assert_int_equal(err.code, ERR_NOMEM);
	for (unsigned nth = 1; nth < 3; nth++) {
		series_set_unref(store_set(f->store, STR("other"), STR("a"), &err));
		fault_malloc(nth);
		assert_null(fleet_iter_new(f->store, STR("/a"), ITER_UNDER, &err));
		fault_malloc(0);
		assert_int_equal(err.code, ERR_NOMEM);
	}
}

/* Without memory a history ends early, and what there is of it is right. */
static void
a_history_is_cut_short_without_memory(void **state)
{
	struct fixture *f = *state;
	struct record records[20];
	unsigned nth = 0;
	bool failed = true;

	for (int64_t i = 0; i < 20; i++) {
		put_i64(f, "/a", i, 0, i);
		put_text(f, "/a/b", i % 2 == 0 ? "even" : "odd", 0, i);
		append(f);
	}
	while (failed) {
		const struct metric_desc *desc;
		struct err err;
		struct iter *it = iter_new(f->set, STR("/a"), ITER_UNDER, &err);
		size_t n;

		assert_non_null(it);
		assert_true(iter_next_series(it, &desc));
		fault_malloc(++nth);
		iter_range(it, TS_NONE, INT64_MAX);
		n = iter_read(it, records, ARRAY_LEN(records));
		failed = fault_happened();
		fault_malloc(0);
		assert_true(iter_failed(it) == (n < 20));
		assert_true(n == 20 || (failed && n < 20));
		for (size_t i = 0; i < n; i++)
			assert_int_equal(records[i].value.i, 19 - i);
		iter_free(it);
	}
	assert_true(nth > 3);
}

/* More than there are events in a window. */
#define LONG_POLLS 140000

/* Decimals, now of two digits and now of four, and now and then what is none. */
static double
float_of(int64_t i)
{
	return i % 7 == 0 ? (double)i / 3 : (double)i / (i % 50 < 25 ? 100 : 10000);
}

/* What poll i stored, of a kind. */
static void
check_record(const struct record *record, int64_t i)
{
	assert_true(record->active && record->ts_ns == AT(i * 10));
	if (record->desc->kind == KIND_INT64)
		assert_int_equal(record->value.i, i);
	else if (record->desc->kind == KIND_STRING)
		assert_true(str_eq(record->value.s, i % 2 == 0 ? STR("even") : STR("odd")));
	else if (record->desc->kind == KIND_BOOL)
		assert_true(record->value.b == (i % 2 == 0));
	else if (record->desc->kind == KIND_FLOAT64)
		assert_true(record->value.f == float_of(i));
	else
		assert_true(record->value.dist->counts[1] == (uint64_t)i * 3 &&
		            record->value.dist->count == (uint64_t)i * 3 + 9);
}

static void
a_history_longer_than_memory_for_it_is_whole(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *desc;
	static struct record records[256];
	struct err err;
	struct iter *it;

	for (int64_t i = 0; i < LONG_POLLS; i++) {
		uint64_t counts[3] = { 4, (uint64_t)i * 3, 5 };

		put(f, "/b", KIND_BOOL, (struct value){ .b = i % 2 == 0 }, 0, i * 10);
		put_dist(f, "/d", counts, 1, i * 10);
		put(f, "/f", KIND_FLOAT64, (struct value){ .f = float_of(i) }, 0, i * 10);
		put_i64(f, "/n", i, 0, i * 10);
		put_text(f, "/s", i % 2 == 0 ? "even" : "odd", 0, i * 10);
		append(f);
	}
	it = iter_new(f->set, STR_EMPTY, ITER_UNDER, &err);
	assert_non_null(it);
	while (iter_next_series(it, &desc)) {
		int64_t i = LONG_POLLS;
		size_t n;

		iter_range(it, INT64_MIN, INT64_MAX);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0) {
			for (size_t k = 0; k < n; k++)
				check_record(&records[k], --i);
		}
		assert_int_equal(i, 0);
		assert_false(iter_failed(it));
	}
	iter_free(it);
}

/* Each series is followed by one of another group in order of path. */
static void
series_of_many_groups_may_alternate(void **state)
{
	enum { SERIES = 40, GROUPS = 7, POLLS = 50 };
	struct fixture *f = *state;
	const struct metric_desc *desc;
	char paths[SERIES][8];
	struct record records[POLLS];
	struct err err;
	struct iter *it;
	int series = 0;

	for (int i = 0; i < SERIES; i++)
		snprintf(paths[i], sizeof(paths[i]), "/%02d", i);
	for (int64_t ms = 0; ms < POLLS; ms++) {
		for (int i = 0; i < SERIES; i++)
			put_i64(f, paths[i], ms / (i + 1), i % GROUPS, ms);
		append(f);
	}
	it = iter_new(f->set, STR_EMPTY, ITER_UNDER, &err);
	assert_non_null(it);
	for (; iter_next_series(it, &desc); series++) {
		iter_range(it, INT64_MIN, INT64_MAX);
		assert_int_equal(iter_read(it, records, POLLS), 1 + (POLLS - 1) / (series + 1));
		assert_true(str_eq(desc->path, str_of(paths[series])));
		assert_int_equal(records[0].value.i, (POLLS - 1) / (series + 1));
		assert_int_equal(iter_read(it, records, POLLS), 0);
	}
	assert_int_equal(series, SERIES);
	iter_free(it);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		TEST(series_come_in_byte_order_of_their_paths),
		TEST(tags_order_series_of_one_path),
		TEST(a_range_goes_back_to_the_value_at_its_start),
		TEST(the_sample_of_the_hosts_call),
		TEST(inactive_series_have_no_latest_value),
		TEST(latest_many_gives_all_however_many),
		TEST(values_stay_valid_while_newer_ones_come),
		TEST(a_range_that_is_read_slowly_sees_no_value_twice),
		cmocka_unit_test(earliest_is_where_the_history_is_whole),
		cmocka_unit_test(a_range_that_is_reclaimed_meanwhile_shows_nothing_else),
		cmocka_unit_test(a_reader_that_stops_holds_few_texts),
		cmocka_unit_test(texts_that_are_much_come_whole),
		TEST(times_of_a_group_are_those_of_its_polls),
		TEST(a_long_history_of_many_series_comes_whole),
		TEST(a_path_is_found_in_the_whole_fleet),
		TEST(iterators_report_lack_of_memory),
		TEST(a_history_is_cut_short_without_memory),
		TEST(a_history_longer_than_memory_for_it_is_whole),
		TEST(series_of_many_groups_may_alternate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
