#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"
#include "store/frame_priv.h"
#include "store_fixture.h"

#define SPAN_MS 1000
#define SPAN_NS (SPAN_MS * NS_PER_MS)

static struct rollup *
open_rollup(struct fixture *f, enum rollup_fn fn)
{
	struct err err;
	struct cursor *cursor = cursor_new(f->store, "w", CURSOR_EVERY, &err);
	struct rollup *rollup;

	assert_non_null(cursor);
	rollup = rollup_new(f->store, cursor, SPAN_NS, fn, &err);
	assert_non_null(rollup);
	return rollup;
}

static size_t
read_some(struct rollup *rollup, int64_t now_ns, struct cursor_record *out, size_t max)
{
	struct err err;
	size_t n;

	if (rollup_read(rollup, now_ns, out, max, &n, &err) != 0)
		fail_msg("%s", err.text);
	return n;
}

static void
add_record(struct buf *out, const struct record *record)
{
	const struct value *value = &record->value;

	assert_true(record->active);
	buf_printf(out, "%.*s=%" PRId64 ":", STR_ARG(record->desc->path),
	    (record->ts_ns - BASE_NS) / NS_PER_MS);
	switch ((int)record->desc->kind) {
	case KIND_BOOL:
		buf_puts(out, value->b ? "true" : "false");
		break;
	case KIND_STRING:
		buf_printf(out, "'%.*s'", STR_ARG(value->s));
		break;
	case KIND_LIST:
		for (size_t i = 0; i < value->list->len; i++)
			buf_printf(out, "[%.*s]", STR_ARG(value->list->values[i].s));
		break;
	case KIND_DIST:
		buf_printf(out, "%g/%" PRIu64, value->dist->sum, value->dist->counts[0]);
		break;
	default:
		buf_i64(out, value->i);
	}
	buf_putc(out, '\0');
}

static int
text_cmp(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "PATH=MS:VALUE ..." of what is there to read, as of now_ns, in order of these texts. */
static const char *
text(struct fixture *f, struct rollup *rollup, int64_t now_ns)
{
	struct cursor_record records[3];
	char *texts[16];
	size_t n, len = 0;

	while ((n = read_some(rollup, now_ns, records, ARRAY_LEN(records))) > 0) {
		for (size_t i = 0; i < n; i++) {
			assert_true(str_eq(records[i].host, STR("web1")));
			assert_true(str_eq(records[i].app, STR("app")));
			buf_clear(&f->text);
			add_record(&f->text, &records[i].record);
			assert_true(len < ARRAY_LEN(texts));
			texts[len++] = strdup(f->text.p);
		}
	}
	qsort(texts, len, sizeof(*texts), text_cmp);
	buf_clear(&f->text);
	for (size_t i = 0; i < len; i++) {
		buf_printf(&f->text, "%s%s", i == 0 ? "" : " ", texts[i]);
		free(texts[i]);
	}
	buf_putc(&f->text, '\0');
	return f->text.p;
}

static void
poll_i64(struct fixture *f, int64_t value, int64_t ms)
{
	put_i64(f, "/a", value, 0, ms);
	append(f);
}

static void
a_frame_is_named_by_the_nearest_multiple(void **state)
{
	static const struct {
		int64_t ts, span, name;
	} rows[] = {
		{ 0, 10, 0 },
		{ 4, 10, 0 },
		{ 5, 10, 10 },
		{ 14, 10, 10 },
		{ 15, 10, 20 },
		{ -4, 10, 0 },
		{ -5, 10, 0 },
		{ -6, 10, -10 },
		{ -15, 10, -10 },
		{ -16, 10, -20 },
		{ 3, 7, 0 },
		{ 4, 7, 7 },
		{ -3, 7, 0 },
		{ -4, 7, -7 },
		{ 5, 1, 5 },
		{ INT64_MAX, 1, INT64_MAX },
		{ INT64_MAX, 10, INT64_MAX },
		{ INT64_MAX, INT64_MAX, INT64_MAX },
		{ INT64_MIN + 1, 1, INT64_MIN + 1 },
		{ INT64_MIN + 1, 10, INT64_MIN + 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int64_t name = frame_name_ns(rows[i].ts, rows[i].span);

		if (name != rows[i].name)
			fail_msg("row %zu: %" PRId64, i, name);
	}
}

/* The same by its definition, in numbers that can't overflow. */
static int64_t
name_by_definition(int64_t ts_ns, int64_t span_ns)
{
	wide_int span = span_ns, twice = 2 * (wide_int)ts_ns + span;
	wide_int number = twice / (2 * span), name;

	if (twice % (2 * span) < 0)
		number--;
	name = number * span;
	if (name > INT64_MAX)
		return INT64_MAX;
	return name <= TS_NONE ? TS_NONE + 1 : (int64_t)name;
}

/* Of 1 to 64 bits, either sign. */
static int64_t
number_of_any_size(uint64_t i)
{
	uint64_t random = (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

	random ^= random >> 29;
	random *= UINT64_C(0xbf58476d1ce4e5b9);
	return (int64_t)random >> (random >> 3) % 64;
}

static void
frames_of_any_times_and_spans_are_named_exactly(void **state)
{
	(void)state;
	for (uint64_t i = 0; i < 300000; i++) {
		int64_t ts_ns = number_of_any_size(i), span_ns = number_of_any_size(i * 7 + 1);

		if (i % 3 == 0) /* next to the ends */
			ts_ns = ts_ns < 0 ? INT64_MIN + 1 + (int64_t)(i % 1000)
			                  : INT64_MAX - (int64_t)(i % 1000);
		if (ts_ns == INT64_MIN || span_ns <= 0)
			continue;
		if (frame_name_ns(ts_ns, span_ns) != name_by_definition(ts_ns, span_ns))
			fail_msg("%" PRId64 " by %" PRId64, ts_ns, span_ns);
	}
}

#define MOST_VALUES 4

/* Integers of a frame, as i or u, and what becomes of them. */
static void
whole_numbers_are_rolled_up_exactly(void **state)
{
	static const struct {
		enum kind kind;
		enum rollup_fn fn;
		size_t len;
		int64_t values[MOST_VALUES];
		enum kind result_kind;
		int64_t result;
	} rows[] = {
		{ KIND_INT64, ROLLUP_MEAN, 2, { 1, 2 }, KIND_INT64, 2 },
		{ KIND_INT64, ROLLUP_MEAN, 2, { -1, -2 }, KIND_INT64, -2 },
		{ KIND_INT64, ROLLUP_MEAN, 3, { 1, 1, 2 }, KIND_INT64, 1 },
		{ KIND_INT64, ROLLUP_MEAN, 3, { -1, -1, -2 }, KIND_INT64, -1 },
		{ KIND_INT64, ROLLUP_MEAN, 2, { -1, 2 }, KIND_INT64, 1 },
		{ KIND_INT64, ROLLUP_MEAN, 2, { -2, 1 }, KIND_INT64, -1 },
		{ KIND_INT64, ROLLUP_MEAN, 1, { 9007199254740993 }, KIND_INT64, 9007199254740993 },
		{ KIND_INT64, ROLLUP_MEAN, 3, { INT64_MAX, INT64_MAX, INT64_MAX - 3 }, KIND_INT64,
		    INT64_MAX - 1 },
		{ KIND_INT64, ROLLUP_MEAN, 2, { INT64_MIN, INT64_MIN }, KIND_INT64, INT64_MIN },
		{ KIND_INT8, ROLLUP_MEAN, 2, { 127, 126 }, KIND_INT8, 127 },
		{ KIND_UINT64, ROLLUP_MEAN, 2, { -1, -1 }, KIND_UINT64, -1 },
		{ KIND_UINT64, ROLLUP_MEAN, 2, { -1, 0 }, KIND_UINT64, INT64_MIN },
		{ KIND_DURATION, ROLLUP_MEAN, 1, { -5 }, KIND_DURATION, -5 },
		{ KIND_DURATION, ROLLUP_MEAN, 2, { -5, -6 }, KIND_DURATION, -6 },
		{ KIND_TIME, ROLLUP_MEAN, 3, { 10, 0, 20 }, KIND_TIME, 15 },
		{ KIND_TIME, ROLLUP_MEAN, 2, { 0, 0 }, KIND_TIME, 0 },
		{ KIND_TIME, ROLLUP_MIN, 3, { 0, 20, 10 }, KIND_TIME, 10 },
		{ KIND_TIME, ROLLUP_MAX, 3, { -20, 0, -10 }, KIND_TIME, -10 },
		{ KIND_TIME, ROLLUP_MAX, 1, { 0 }, KIND_TIME, 0 },
		{ KIND_TIME, ROLLUP_SUM, 2, { 20, 10 }, KIND_TIME, 20 },
		{ KIND_TIME, ROLLUP_LAST, 2, { 20, 0 }, KIND_TIME, 0 },
		{ KIND_TIME, ROLLUP_COUNT, 3, { 20, 0, 10 }, KIND_UINT64, 3 },
		{ KIND_INT64, ROLLUP_MIN, 3, { 3, INT64_MIN, 5 }, KIND_INT64, INT64_MIN },
		{ KIND_INT64, ROLLUP_MAX, 3, { -3, -1, -5 }, KIND_INT64, -1 },
		{ KIND_UINT64, ROLLUP_MIN, 2, { -1, 5 }, KIND_UINT64, 5 },
		{ KIND_UINT64, ROLLUP_MAX, 2, { -1, 5 }, KIND_UINT64, -1 },
		{ KIND_INT8, ROLLUP_LAST, 3, { 3, 1, 2 }, KIND_INT8, 2 },
		{ KIND_INT8, ROLLUP_COUNT, 3, { 3, 1, 2 }, KIND_UINT64, 3 },
		{ KIND_INT8, ROLLUP_SUM, 3, { 127, 127, 127 }, KIND_INT64, 381 },
		{ KIND_UINT8, ROLLUP_SUM, 2, { 255, 255 }, KIND_UINT64, 510 },
		{ KIND_INT64, ROLLUP_SUM, 3, { INT64_MAX, 1, -2 }, KIND_INT64, INT64_MAX - 1 },
		{ KIND_INT64, ROLLUP_SUM, 2, { INT64_MAX, 1 }, KIND_INT64, INT64_MAX },
		{ KIND_INT64, ROLLUP_SUM, 2, { INT64_MIN, -1 }, KIND_INT64, INT64_MIN },
		{ KIND_UINT64, ROLLUP_SUM, 2, { -1, 1 }, KIND_UINT64, -1 },
		{ KIND_DURATION, ROLLUP_SUM, 2, { -5, 2 }, KIND_DURATION, -3 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct rollup *rollup = open_rollup(f, rows[i].fn);
		struct cursor_record record;

		for (size_t j = 0; j < rows[i].len; j++) {
			put(f, "/a", rows[i].kind, (struct value){ .i = rows[i].values[j] }, 0,
			    (int64_t)j);
			append(f);
		}
		put(f, "/a", rows[i].kind, (struct value){ .i = 1 }, 0, SPAN_MS);
		append(f);
		assert_int_equal(read_some(rollup, 0, &record, 1), 1);
		if (record.record.desc->kind != rows[i].result_kind ||
		    record.record.value.i != rows[i].result)
			fail_msg("row %zu: %s %" PRId64, i, kind_name(record.record.desc->kind),
			    record.record.value.i);
		rollup_free(rollup);
		fixture_free(f);
	}
}

static void
floats_are_rolled_up_as_doubles(void **state)
{
	static const struct {
		enum kind kind;
		enum rollup_fn fn;
		double values[2];
		enum kind result_kind;
		double result;
	} rows[] = {
		{ KIND_FLOAT64, ROLLUP_MEAN, { 1.5, 2 }, KIND_FLOAT64, 1.75 },
		{ KIND_FLOAT32, ROLLUP_MEAN, { 0.1F, 0.2F }, KIND_FLOAT32, 0.15F },
		{ KIND_FLOAT64, ROLLUP_SUM, { 1.5, 2 }, KIND_FLOAT64, 3.5 },
		{ KIND_FLOAT32, ROLLUP_SUM, { 3e38F, 3e38F }, KIND_FLOAT64,
		    (double)3e38F + (double)3e38F },
		{ KIND_FLOAT64, ROLLUP_MIN, { 1.5, -2 }, KIND_FLOAT64, -2 },
		{ KIND_FLOAT64, ROLLUP_MIN, { (double)NAN, 2 }, KIND_FLOAT64, 2 },
		{ KIND_FLOAT64, ROLLUP_MAX, { 2, (double)NAN }, KIND_FLOAT64, 2 },
		{ KIND_FLOAT64, ROLLUP_MAX, { (double)NAN, (double)NAN }, KIND_FLOAT64,
		    (double)NAN },
		{ KIND_FLOAT64, ROLLUP_MEAN, { 2, (double)NAN }, KIND_FLOAT64, (double)NAN },
		{ KIND_FLOAT64, ROLLUP_LAST, { 2, 1 }, KIND_FLOAT64, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct rollup *rollup = open_rollup(f, rows[i].fn);
		struct cursor_record record;
		double got;

		for (int64_t j = 0; j < 3; j++) {
			put(f, "/a", rows[i].kind, (struct value){ .f = rows[i].values[j % 2] }, 0,
			    j < 2 ? j : SPAN_MS);
			append(f);
		}
		assert_int_equal(read_some(rollup, 0, &record, 1), 1);
		got = record.record.value.f;
		if (record.record.desc->kind != rows[i].result_kind ||
		    !(got == rows[i].result || (isnan(got) && isnan(rows[i].result))))
			fail_msg("row %zu: %s %.17g", i, kind_name(record.record.desc->kind), got);
		rollup_free(rollup);
		fixture_free(f);
	}
}

static void
put_texts(struct fixture *f, const char *path, const char *text_a, const char *text_b, int64_t ms)
{
	struct metric_desc desc = {
		.path = str_of(path), .kind = KIND_LIST, .sub_kind = KIND_STRING
	};
	struct value values[] = { { .s = str_of(text_a) }, { .s = str_of(text_b) } };
	struct list list = { values, 2 };

	put_desc(f, &desc, (struct value){ .list = &list }, 0, ms);
	append(f);
}

static void
poll_others(struct fixture *f, bool first, int64_t ms)
{
	static const uint64_t counts[2][3] = { { 1, 2, 3 }, { 2, 2, 3 } };

	put(f, "/bool", KIND_BOOL, (struct value){ .b = first }, 0, ms);
	put_dist(f, "/dist", counts[!first], 1, ms);
	put_text(f, "/string", first ? "one" : "two", 0, ms);
	put_texts(f, "/texts", first ? "a" : "c", first ? "b" : "", ms);
}

static void
of_others_the_first_or_the_last_counts(void **state)
{
	static const struct {
		enum rollup_fn fn;
		const char *want;
	} rows[] = {
		{ ROLLUP_MEAN, "/bool=0:true /dist=0:60/1 /string=0:'one' /texts=0:[a][b]" },
		{ ROLLUP_MAX, "/bool=0:true /dist=0:60/1 /string=0:'one' /texts=0:[a][b]" },
		{ ROLLUP_SUM, "/bool=0:true /dist=0:60/1 /string=0:'one' /texts=0:[a][b]" },
		{ ROLLUP_LAST, "/bool=0:false /dist=0:70/2 /string=0:'two' /texts=0:[c][]" },
		{ ROLLUP_COUNT, "/bool=0:3 /dist=0:3 /string=0:3 /texts=0:3" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct rollup *rollup = open_rollup(f, rows[i].fn);

		poll_others(f, true, 0);
		poll_others(f, false, 1);
		poll_others(f, false, 2);
		poll_others(f, true, SPAN_MS);
		assert_string_equal(text(f, rollup, 0), rows[i].want);
		rollup_free(rollup);
		fixture_free(f);
	}
}

static void
a_count_has_no_unit(void **state)
{
	static const double limits[] = { 10, 20 };
	static const uint64_t counts[] = { 1, 2, 3 };
	struct metric_desc desc = { .path = STR("/d"),
		.description = STR("what it is"),
		.unit = STR(UNIT_SECONDS),
		.kind = KIND_DIST,
		.limits = limits,
		.limit_count = 2 };
	struct dist dist = { .counts = counts, .len = 3, .count = 6 };
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_COUNT);
	struct cursor_record record;

	for (int64_t ms = 0; ms <= SPAN_MS; ms += SPAN_MS) {
		put_desc(f, &desc, (struct value){ .dist = &dist }, 0, ms);
		append(f);
	}
	assert_int_equal(read_some(rollup, 0, &record, 1), 1);
	desc = (struct metric_desc){ .path = STR("/d"),
		.description = STR("what it is"),
		.unit = STR(UNIT_NONE),
		.kind = KIND_UINT64 };
	assert_true(desc_eq(record.record.desc, &desc));
	rollup_free(rollup);
}

static void
only_frames_followed_by_a_later_one_are_given(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_MEAN);

	poll_i64(f, 1, 0);
	poll_i64(f, 3, 400);
	assert_string_equal(text(f, rollup, 0), "");
	poll_i64(f, 10, 500); /* half way */
	assert_string_equal(text(f, rollup, 0), "/a=0:2");
	poll_i64(f, 20, 1499);
	poll_i64(f, 90, 7600);
	poll_i64(f, 91, 8500);
	assert_string_equal(text(f, rollup, 0), "/a=1000:15 /a=8000:90");
	assert_string_equal(text(f, rollup, 0), "");
	rollup_free(rollup);
}

static void
inactive_values_count_for_nothing(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_MEAN);

	poll_i64(f, 1, 0);
	put_i64(f, "/b", 0, 0, 100);
	append(f);
	poll_i64(f, 3, 200);
	put_i64(f, "/b", 7, 0, SPAN_MS); /* ends /a in the frame after, where it has no value */
	append(f);
	assert_string_equal(text(f, rollup, 0), "/a=0:2 /b=0:0");
	put_i64(f, "/b", 7, 0, 2 * SPAN_MS);
	append(f);
	assert_string_equal(text(f, rollup, 0), "/b=1000:7");
	rollup_free(rollup);
}

static void
a_series_that_ended_has_its_last_frame_given(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_MEAN);

	poll_i64(f, 1, 0);
	assert_string_equal(text(f, rollup, 0), "");
	store_deactivate(f->set, AT(100));
	assert_string_equal(text(f, rollup, SPAN_NS), "");
	assert_string_equal(text(f, rollup, 3 * SPAN_NS - 1), "");
	assert_string_equal(text(f, rollup, 3 * SPAN_NS), "/a=0:1");
	rollup_rewind(rollup);
	assert_string_equal(text(f, rollup, 4 * SPAN_NS), "");
	assert_string_equal(text(f, rollup, 6 * SPAN_NS), "/a=0:1");
	rollup_commit(rollup);
	assert_string_equal(text(f, rollup, 9 * SPAN_NS), "");
	/* And when it comes back. */
	poll_i64(f, 5, SPAN_MS);
	poll_i64(f, 5, 2 * SPAN_MS);
	assert_string_equal(text(f, rollup, 10 * SPAN_NS), "/a=1000:5");
	rollup_free(rollup);
}

static void
a_late_reader_ends_nothing_before_its_time(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_MEAN);

	poll_i64(f, 1, 0);
	assert_string_equal(text(f, rollup, 0), "");
	poll_i64(f, 3, 100); /* long read after it was stored */
	assert_string_equal(text(f, rollup, 100 * SPAN_NS), "");
	poll_i64(f, 4, SPAN_MS);
	assert_string_equal(text(f, rollup, 100 * SPAN_NS), "/a=0:2");
	rollup_free(rollup);
}

static void
forgotten_endpoints_leave_nothing_behind(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_LAST);
	struct store_stats half, end;
	char path[32], want[64];
	struct err err;

	for (int i = 0; i < 200; i++) {
		snprintf(path, sizeof(path), "/path/%03d", i);
		put_text(f, path, "text", 0, 0);
		append(f);
		assert_string_equal(text(f, rollup, i * 2 * SPAN_NS), "");
		store_forget(f->store, f->set);
		series_set_unref(f->set);
		f->set = store_set(f->store, STR("web1"), STR("app"), &err);
		assert_non_null(f->set);
		snprintf(want, sizeof(want), "%s=0:'text'", path);
		assert_string_equal(text(f, rollup, (i + 1) * 2 * SPAN_NS), want);
		rollup_commit(rollup);
		store_get_stats(f->store, i < 100 ? &half : &end);
	}
	/* Descriptions that a frame in the making holds count too. */
	assert_true(end.bytes_used <= half.bytes_used);
	rollup_free(rollup);
}

static void
a_rewind_brings_back_frames_partly_read(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_LAST);

	put_text(f, "/s", "one", 0, 0);
	append(f);
	assert_string_equal(text(f, rollup, 0), ""); /* commits, as nothing was given */
	rollup_rewind(rollup);
	put_text(f, "/s", "two", 0, 1);
	append(f);
	put_text(f, "/s", "three", 0, SPAN_MS);
	append(f);
	for (int i = 0; i < 3; i++) {
		assert_string_equal(text(f, rollup, 0), "/s=0:'two'");
		rollup_rewind(rollup);
	}
	assert_string_equal(text(f, rollup, 0), "/s=0:'two'");
	rollup_commit(rollup);
	rollup_rewind(rollup);
	assert_string_equal(text(f, rollup, 0), "");
	put_text(f, "/s", "four", 0, 2 * SPAN_MS);
	append(f);
	assert_string_equal(text(f, rollup, 0), "/s=1000:'three'");
	rollup_free(rollup);
}

static void
what_gave_no_record_yet_is_committed(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_MEAN);

	poll_i64(f, 7, 0);
	assert_string_equal(text(f, rollup, 0), "");
	store_forget(f->store, f->set); /* can't be read again */
	rollup_rewind(rollup);
	assert_string_equal(text(f, rollup, 2 * SPAN_NS), "/a=0:7");
	assert_int_equal(rollup_missed_count(rollup), 0);
	rollup_free(rollup);
}

static void
a_new_one_starts_at_the_oldest_value_held(void **state)
{
	struct fixture *f = *state;
	struct rollup *rollup = open_rollup(f, ROLLUP_SUM);

	poll_i64(f, 1, 0);
	poll_i64(f, 2, 1);
	assert_string_equal(text(f, rollup, 0), "");
	rollup_commit(rollup);
	rollup_free(rollup);
	rollup = open_rollup(f, ROLLUP_SUM);
	poll_i64(f, 4, SPAN_MS);
	assert_string_equal(text(f, rollup, 0), "/a=0:3");
	assert_int_equal(rollup_missed_count(rollup), 0);
	rollup_free(rollup);
}

static void
opening_fails_whole_without_memory(void **state)
{
	struct fixture *f = *state;
	struct err err;
	struct cursor *cursor = cursor_new(f->store, "w", CURSOR_EVERY, &err);

	assert_non_null(cursor);
	fault_malloc(1);
	assert_null(rollup_new(f->store, cursor, SPAN_NS, ROLLUP_MEAN, &err));
	fault_malloc(0);
	assert_int_equal(err.code, ERR_NOMEM);
	cursor_free(cursor);
}

static void
a_read_without_memory_is_rewound(void **state)
{
	struct fixture *f = *state;
	bool failed = true;

	poll_others(f, true, 0);
	poll_others(f, false, 1);
	poll_others(f, true, SPAN_MS);
	for (unsigned nth = 1; failed; nth++) {
		struct rollup *rollup = open_rollup(f, ROLLUP_LAST);
		struct cursor_record records[8];
		struct err err;
		size_t n = 77;

		fault_malloc(nth);
		failed = rollup_read(rollup, 0, records, ARRAY_LEN(records), &n, &err) != 0;
		fault_malloc(0);
		if (failed) {
			assert_int_equal(err.code, ERR_NOMEM);
			assert_int_equal(n, 77);
			assert_string_equal(text(f, rollup, 0),
			    "/bool=0:false /dist=0:70/2 /string=0:'two' /texts=0:[c][]");
		}
		rollup_free(rollup);
		assert_true(nth < 1000);
	}
}

/*
 * Random polls, reads, commits and rewinds against arrays of all that was polled: in the end each
 * frame must have been committed once, with the value that plain arithmetic gives.
 */
#define SETS   2
#define SERIES 5

struct point {
	int64_t ts_ns;
	struct value value;
	bool active;
};

struct result {
	size_t series; /* over all sets */
	int64_t name_ns;
	uint64_t bits; /* of a string: its first byte */
};

struct world {
	uint64_t random;
	enum rollup_fn fn;
	struct fixture *f;
	struct series_set *sets[SETS];
	int64_t now_ms[SETS];
	struct point *points[SETS * SERIES];
	size_t lens[SETS * SERIES];
	struct rollup *rollup;
	struct result *results; /* committed, then those not yet */
	size_t result_len, committed_len;
};

#define POLLS 600

static const struct {
	const char *path;
	enum kind kind;
} world_rows[SERIES] = {
	{ "/always", KIND_INT64 },
	{ "/duration", KIND_DURATION },
	{ "/float", KIND_FLOAT64 },
	{ "/string", KIND_STRING },
	{ "/uint", KIND_UINT64 },
};

static uint64_t
pick(struct world *w, uint64_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	w->random ^= w->random << 17;
	return w->random % n;
}

static struct value
pick_value(struct world *w, enum kind kind)
{
	static const char *const texts[] = { "one", "two", "six", "" };
	static const int64_t edges[] = { INT64_MAX, INT64_MIN, -1, 0 };

	if (kind == KIND_STRING)
		return (struct value){ .s = str_of(texts[pick(w, 4)]) };
	if (kind == KIND_FLOAT64)
		return (struct value){ .f = (double)pick(w, 100000) / 100 - 300 };
	if (pick(w, 8) == 0)
		return (struct value){ .i = edges[pick(w, 4)] };
	return (struct value){ .i = (int64_t)pick(w, 1000) - 500 };
}

static void
add_point(struct world *w, size_t series, int64_t ts_ns, struct value value, bool active)
{
	w->points[series][w->lens[series]++] = (struct point){ ts_ns, value, active };
}

static void
world_poll(struct world *w)
{
	size_t set = pick(w, SETS);
	int64_t ms = w->now_ms[set] += 1 + (int64_t)pick(w, pick(w, 10) == 0 ? 3000 : 300);
	struct err err;

	for (size_t i = 0; i < SERIES; i++) {
		size_t series = set * SERIES + i, len = w->lens[series];
		struct point *last = len > 0 ? &w->points[series][len - 1] : NULL;
		struct value value = pick_value(w, world_rows[i].kind);

		if (last != NULL && last->active && pick(w, 2) == 0)
			value = last->value;
		if (i == 0 || pick(w, 8) != 0) {
			put(w->f, world_rows[i].path, world_rows[i].kind, value, 0, ms);
			add_point(w, series, AT(ms), value, true);
		} else if (last != NULL && last->active) {
			add_point(w, series, AT(ms), value, false);
		}
	}
	assert_int_equal(append_to(w->f, w->sets[set], &err), 0);
}

static uint64_t
bits_of(enum kind kind, struct value value)
{
	if (kind == KIND_STRING)
		return value.s.len > 0 ? (unsigned char)value.s.p[0] : 0;
	return value.u;
}

static size_t
world_read(struct world *w, int64_t now_ns)
{
	struct cursor_record records[9];
	size_t n = read_some(w->rollup, now_ns, records, 1 + pick(w, ARRAY_LEN(records)));

	for (size_t i = 0; i < n; i++) {
		const struct record *record = &records[i].record;
		size_t row = 0, set = str_eq(records[i].host, STR("web1")) ? 0 : 1;

		while (!str_eq(record->desc->path, str_of(world_rows[row].path)))
			row++;
		assert_true(w->result_len < POLLS * SERIES);
		w->results[w->result_len++] = (struct result){ set * SERIES + row, record->ts_ns,
			bits_of(record->desc->kind, record->value) };
	}
	return n;
}

static void
world_commit(struct world *w)
{
	rollup_commit(w->rollup);
	w->committed_len = w->result_len;
}

static void
world_rewind(struct world *w)
{
	rollup_rewind(w->rollup);
	w->result_len = w->committed_len;
}

static uint64_t
mean_of_whole(wide_int sum, wide_int n)
{
	/* Twice the magnitude plus n, over 2 n, rounds the magnitude half up. */
	wide_int size = sum < 0 ? -sum : sum;

	size = (2 * size + n) / (2 * n);
	return (uint64_t)(sum < 0 ? -size : size);
}

static uint64_t
sum_of_whole(wide_int sum, enum kind kind)
{
	wide_int least = kind == KIND_UINT64 ? 0 : INT64_MIN;
	wide_int most = kind == KIND_UINT64 ? (wide_int)UINT64_MAX : INT64_MAX;

	return (uint64_t)(sum < least ? least : sum > most ? most : sum);
}

/* What becomes of n > 0 values. */
static uint64_t
model_bits(enum rollup_fn fn, enum kind kind, const struct value *values, size_t n)
{
	struct value min = values[0], max = values[0];
	wide_int sum = 0;
	double real = 0;

	if (fn == ROLLUP_COUNT)
		return n;
	if (fn == ROLLUP_LAST || kind == KIND_STRING)
		return bits_of(kind, values[fn == ROLLUP_LAST ? n - 1 : 0]);
	for (size_t i = 0; i < n; i++) {
		wide_int whole = kind == KIND_UINT64 ? (wide_int)values[i].u : values[i].i;
		bool below, above;

		if (kind == KIND_FLOAT64) {
			real += values[i].f;
			below = values[i].f < min.f;
			above = values[i].f > max.f;
		} else {
			sum += whole;
			below = kind == KIND_UINT64 ? values[i].u < min.u : values[i].i < min.i;
			above = kind == KIND_UINT64 ? values[i].u > max.u : values[i].i > max.i;
		}
		min = below ? values[i] : min;
		max = above ? values[i] : max;
	}
	if (fn == ROLLUP_MIN || fn == ROLLUP_MAX)
		return bits_of(kind, fn == ROLLUP_MIN ? min : max);
	if (kind == KIND_FLOAT64)
		return (struct value){ .f = fn == ROLLUP_MEAN ? real / (double)n : real }.u;
	return fn == ROLLUP_MEAN ? mean_of_whole(sum, (wide_int)n) : sum_of_whole(sum, kind);
}

static int
result_cmp(const void *va, const void *vb)
{
	const struct result *a = va, *b = vb;

	if (a->series != b->series)
		return a->series < b->series ? -1 : 1;
	return a->name_ns < b->name_ns ? -1 : a->name_ns > b->name_ns;
}

static int64_t
model_frame_ns(int64_t ts_ns)
{
	/* Test times are after 1970. */
	return (ts_ns + SPAN_NS / 2) / SPAN_NS * SPAN_NS;
}

static void
world_compare(struct world *w)
{
	struct value values[POLLS];
	size_t at = 0;

	qsort(w->results, w->result_len, sizeof(*w->results), result_cmp);
	for (size_t series = 0; series < SETS * SERIES; series++) {
		const struct point *points = w->points[series];
		enum kind kind = world_rows[series % SERIES].kind;

		for (size_t i = 0, end; i < w->lens[series]; i = end) {
			int64_t name_ns = model_frame_ns(points[i].ts_ns);
			const struct result *got = &w->results[at];
			size_t n = 0;

			for (end = i;
			     end < w->lens[series] && model_frame_ns(points[end].ts_ns) == name_ns;
			     end++) {
				if (points[end].active)
					values[n++] = points[end].value;
			}
			if (n == 0)
				continue;
			if (at++ >= w->result_len || got->series != series ||
			    got->name_ns != name_ns ||
			    got->bits != model_bits(w->fn, kind, values, n))
				fail_msg("function %d, series %zu, frame %" PRId64, (int)w->fn,
				    series, name_ns);
		}
	}
	assert_int_equal(at, w->result_len);
}

static void
world_run(struct world *w)
{
	for (size_t polls = 0; polls < POLLS;) {
		switch (pick(w, 8)) {
		case 0:
			world_commit(w);
			break;
		case 1:
			world_rewind(w);
			break;
		case 2:
		case 3:
			if (world_read(w, 0) == 0)
				world_commit(w);
			break;
		default:
			world_poll(w);
			polls++;
			break;
		}
	}
	while (world_read(w, 0) > 0)
		continue;
	while (world_read(w, 2 * SPAN_NS) > 0)
		continue;
	world_commit(w);
}

static void
world_open(struct world *w, uint64_t seed, enum rollup_fn fn)
{
	struct err err;

	*w = (struct world){ .random = seed, .fn = fn, .f = fixture_new(BIG_BYTES) };
	w->sets[0] = w->f->set;
	w->sets[1] = store_set(w->f->store, STR("web2"), STR("app"), &err);
	assert_non_null(w->sets[1]);
	w->rollup = open_rollup(w->f, fn);
	w->results = calloc(POLLS * SERIES, sizeof(*w->results));
	assert_non_null(w->results);
	for (size_t i = 0; i < SETS * SERIES; i++) {
		w->points[i] = calloc(POLLS, sizeof(**w->points));
		assert_non_null(w->points[i]);
	}
}

static void
world_close(struct world *w)
{
	for (size_t i = 0; i < SETS * SERIES; i++)
		free(w->points[i]);
	free(w->results);
	rollup_free(w->rollup);
	series_set_unref(w->sets[1]);
	fixture_free(w->f);
}

static void
every_frame_comes_once_whatever_is_rewound(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 60; seed++) {
		struct world w;

		world_open(&w, seed * 0x9e3779b97f4a7c15U, (enum rollup_fn)(seed % 6));
		world_run(&w);
		world_compare(&w);
		world_close(&w);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
		cmocka_unit_test(a_frame_is_named_by_the_nearest_multiple),
		cmocka_unit_test(frames_of_any_times_and_spans_are_named_exactly),
		cmocka_unit_test(whole_numbers_are_rolled_up_exactly),
		cmocka_unit_test(floats_are_rolled_up_as_doubles),
		cmocka_unit_test(of_others_the_first_or_the_last_counts),
		T(a_count_has_no_unit),
		T(only_frames_followed_by_a_later_one_are_given),
		T(inactive_values_count_for_nothing),
		T(a_series_that_ended_has_its_last_frame_given),
		T(a_late_reader_ends_nothing_before_its_time),
		T(forgotten_endpoints_leave_nothing_behind),
		T(a_rewind_brings_back_frames_partly_read),
		T(what_gave_no_record_yet_is_committed),
		T(a_new_one_starts_at_the_oldest_value_held),
		T(opening_fails_whole_without_memory),
		T(a_read_without_memory_is_rewound),
		cmocka_unit_test(every_frame_comes_once_whatever_is_rewound),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
