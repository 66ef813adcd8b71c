/* Roll-ups over restarts: what comes is what one that never ended gives, and the same if twice. */
#include <stdio.h>
#include <stdlib.h>

#include "store/rollup.h"
#include "store_fixture.h"

#define SPAN_NS (1000 * NS_PER_MS)
#define PATHS   8
#define FRAMES  200
#define NEVER   INT64_MIN

/* What a roll-up gave, and was committed: by path and frame. */
struct taken {
	int64_t values[PATHS][FRAMES]; /* NEVER: not yet */
	unsigned times[PATHS][FRAMES];
};

struct reader {
	struct fixture *f;
	struct rollup *rollup;
	struct cursor *cursor; /* its own */
	enum rollup_fn fn;
	int64_t span_ns;
	struct taken taken;
	struct cursor_position kept[4];
	size_t kept_len;
	struct cursor_record records[40];
};

static void
reader_open(struct reader *r, const char *name)
{
	struct err err;

	r->cursor = cursor_new(r->f->store, name, CURSOR_EVERY, &err);
	assert_non_null(r->cursor);
	r->rollup = rollup_new(r->f->store, r->cursor, r->span_ns, r->fn, &err);
	assert_non_null(r->rollup);
	cursor_keep(r->cursor);
}

static void
reader_init(struct reader *r, struct fixture *f, const char *name)
{
	*r = (struct reader){ .f = f, .fn = ROLLUP_SUM, .span_ns = SPAN_NS };
	for (size_t i = 0; i < (size_t)PATHS * FRAMES; i++)
		(&r->taken.values[0][0])[i] = NEVER;
	reader_open(r, name);
}

static int
keep(void *ctx, struct cursor_position *pos, struct err *err)
{
	struct reader *r = ctx;
	size_t i = 0;

	(void)err;
	while (i < r->kept_len && r->kept[i].stream != pos->stream)
		i++;
	assert_true(i < 4);
	r->kept[i] = *pos;
	r->kept_len += i == r->kept_len;
	return 0;
}

static void
note(struct reader *r, const struct record *record)
{
	int path = atoi(record->desc->path.p + 1);
	int64_t frame = (record->ts_ns - BASE_NS) / SPAN_NS;
	int64_t *value;

	assert_true(path >= 0 && path < PATHS && frame >= 0 && frame < FRAMES);
	value = &r->taken.values[path][frame];
	if (*value != NEVER && *value != record->value.i)
		fail_msg("/%d frame %d: %lld, before %lld", path, (int)frame,
		    (long long)record->value.i, (long long)*value);
	*value = record->value.i;
	r->taken.times[path][frame]++;
}

/* One round as a pump has it: read, send, commit, save. False: nothing to read. */
static bool
reader_round(struct reader *r, int64_t now_ns, size_t max)
{
	struct err err;
	size_t n;

	assert_int_equal(rollup_read(r->rollup, now_ns, r->records, max, &n, &err), 0);
	for (size_t i = 0; i < n; i++)
		note(r, &r->records[i].record);
	if (n == 0)
		return false;
	rollup_commit(r->rollup);
	assert_int_equal(cursor_save(r->cursor, keep, r, &err), 0);
	cursor_saved(r->cursor);
	return true;
}

/* Ends, in the middle of a round or not, and goes on from what was kept. */
static void
reader_restart(struct reader *r, const char *name, size_t unsent)
{
	struct err err;
	size_t n;

	if (unsent > 0)
		assert_int_equal(rollup_read(r->rollup, 0, r->records, unsent, &n, &err), 0);
	rollup_free(r->rollup);
	reader_open(r, name);
	for (size_t i = 0; i < r->kept_len; i++) {
		struct cursor_position pos = r->kept[i];

		pos.host = STR("web1");
		pos.app = STR("app");
		if (cursor_restore(r->cursor, &pos, &err) != 0)
			fail_msg("%s", err.text);
	}
}

static uint32_t
draw(uint64_t *state, uint32_t below)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33) % below;
}

static const char *const paths[PATHS] = { "/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7" };

/* Polls with steps from a tenth of a frame to three; series come and go. */
static int64_t
fill(struct fixture *f, uint64_t *random, int64_t ms, unsigned polls)
{
	for (unsigned i = 0; i < polls; i++) {
		ms += 100 + (draw(random, 10) == 0 ? draw(random, 3000) : draw(random, 300));
		for (int path = 0; path < PATHS; path++) {
			if (draw(random, 12) > 0)
				put_i64(f, paths[path], (int64_t)draw(random, 1000), path % 2, ms);
		}
		append(f);
	}
	return ms;
}

static void
frames_are_those_of_one_that_never_ended(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 150; seed++) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct reader steady, r;
		uint64_t random = seed * 977;
		int64_t ms = 0;

		reader_init(&steady, f, "steady");
		reader_init(&r, f, "restarted");
		while (ms < 100000) {
			ms = fill(f, &random, ms, 1 + draw(&random, draw(&random, 3) ? 5 : 60));
			for (uint32_t i = draw(&random, 8); i > 0; i--)
				reader_round(&r, 0, 1 + draw(&random, 40));
			if (draw(&random, 3) == 0)
				reader_restart(&r, "restarted", draw(&random, 40));
		}
		while (reader_round(&steady, 0, 40) || reader_round(&r, 0, 40))
			;
		while (
		    reader_round(&steady, 10 * SPAN_NS, 40) || reader_round(&r, 10 * SPAN_NS, 40))
			;
		if (memcmp(steady.taken.values, r.taken.values, sizeof(r.taken.values)) != 0)
			fail_msg("seed %d", (int)seed);
		assert_int_equal(rollup_missed_count(r.rollup), 0);
		rollup_free(steady.rollup);
		rollup_free(r.rollup);
		fixture_free(f);
	}
}

/* Caught up before each restart, and all series end together: nothing comes twice. */
static void
nothing_comes_twice_but_open_frames(void **state)
{
	struct fixture *f = fixture_new(BIG_BYTES);
	struct reader r;

	(void)state;
	reader_init(&r, f, "w");
	for (int64_t ms = 0; ms < 60000; ms += 250) {
		put_i64(f, "/0", ms, 0, ms);
		put_i64(f, "/1", 2 * ms, 0, ms);
		append(f);
		while (reader_round(&r, 0, 40))
			;
		if (ms % 750 == 0)
			reader_restart(&r, "w", 0);
	}
	while (reader_round(&r, 0, 40) || reader_round(&r, 10 * SPAN_NS, 40))
		;
	for (int path = 0; path < 2; path++) {
		for (int frame = 0; frame <= 60; frame++)
			assert_int_equal(r.taken.times[path][frame], 1);
	}
	/* What was ended because nothing came is done with too. */
	reader_restart(&r, "w", 0);
	assert_false(reader_round(&r, 10 * SPAN_NS, 40));
	assert_false(reader_round(&r, 20 * SPAN_NS, 40));
	rollup_free(r.rollup);
	fixture_free(f);
}

/* As from a writer that had none, or another: frames are whole. */
static void
positions_of_others_are_moved_to_where_a_frame_begins(void **state)
{
	struct fixture *f = fixture_new(BIG_BYTES);
	struct cursor_record records[30];
	struct reader r;
	struct err err;

	(void)state;
	reader_init(&r, f, "w");
	rollup_free(r.rollup);
	for (int64_t ms = 0; ms < 5100; ms += 100) {
		put_i64(f, "/0", 1, 0, ms);
		append(f);
	}
	/* A plain cursor got to 2.9 s, in the middle of the frame of 3 s. */
	r.cursor = cursor_new(f->store, "w", CURSOR_EVERY, &err);
	cursor_keep(r.cursor);
	assert_int_equal(cursor_read(r.cursor, records, 30), 30);
	cursor_commit(r.cursor);
	assert_int_equal(cursor_save(r.cursor, keep, &r, &err), 0);
	cursor_free(r.cursor);
	/* It was in the middle of a piece, too: that begins anew. */
	reader_open(&r, "w");
	reader_restart(&r, "w", 0);
	while (reader_round(&r, 0, 40))
		;
	assert_int_equal(r.taken.values[0][3], 10);
	assert_int_equal(r.taken.values[0][4], 10);
	/* And another span: frames of 2 s, that of 4 s from 3 s on. */
	r.span_ns = 2 * SPAN_NS;
	reader_restart(&r, "w", 0);
	r.taken.values[0][4] = NEVER;
	while (reader_round(&r, 10 * SPAN_NS, 40))
		;
	assert_int_equal(r.taken.values[0][4], 20);
	rollup_free(r.rollup);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_are_those_of_one_that_never_ended),
		cmocka_unit_test(nothing_comes_twice_but_open_frames),
		cmocka_unit_test(positions_of_others_are_moved_to_where_a_frame_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
