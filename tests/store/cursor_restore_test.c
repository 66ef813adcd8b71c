/*
 * Positions of cursors that are kept: one that is restarted at any moment gives what one that never
 * was gives.
 */
#include <stdio.h>
#include <stdlib.h>

#include "fault.h"
#include "positions.h"
#include "store/redo.h"
#include "store_fixture.h"

#define SETS  3
#define PATHS 12

/* A cursor, what it gave and was committed, and what of it is kept. */
struct reader {
	struct cursor *cursor;
	enum cursor_mode mode;
	struct buf read[SETS][PATHS]; /* "MS:VALUE " of each record */
	size_t committed[SETS][PATHS], saved[SETS][PATHS];
	uint64_t count, committed_count; /* records */
	uint64_t missed_count;           /* by those before this cursor */
	struct positions positions;      /* saved */
};

struct random {
	uint64_t state;
};

/* In [0, below). */
static uint32_t
draw(struct random *r, uint32_t below)
{
	r->state = r->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(r->state >> 33) % below;
}

static void
reader_open(struct fixture *f, struct reader *r)
{
	struct err err;

	r->cursor = cursor_new(f->store, r->mode == CURSOR_EVERY ? "e" : "c", r->mode, &err);
	assert_non_null(r->cursor);
	cursor_keep(r->cursor);
}

static void
note(struct reader *r, const struct cursor_record *record)
{
	int host = record->host.p[record->host.len - 1] - '0';
	int path = atoi(record->record.desc->path.p + 1);
	const struct record *rec = &record->record;
	struct buf *out = &r->read[host][path];

	if (record->is_base)
		return;
	buf_printf(out, "%lld:", (long long)((rec->ts_ns - BASE_NS) / NS_PER_MS));
	if (rec->desc->kind == KIND_STRING)
		buf_str(out, rec->value.s);
	else
		buf_i64(out, rec->value.i);
	buf_puts(out, rec->active ? " " : "i ");
	r->count++;
}

static size_t
reader_read(struct reader *r, size_t max)
{
	struct cursor_record records[64];
	size_t n = cursor_read(r->cursor, records, max);

	for (size_t i = 0; i < n; i++)
		note(r, &records[i]);
	return n;
}

static void
reader_commit(struct reader *r)
{
	cursor_commit(r->cursor);
	for (size_t i = 0; i < SETS * PATHS; i++)
		(&r->committed[0][0])[i] = (&r->read[0][0])[i].len;
	r->committed_count = r->count;
}

static void
go_back(struct reader *r, size_t to[SETS][PATHS])
{
	for (size_t i = 0; i < SETS * PATHS; i++)
		(&r->read[0][0])[i].len = (&to[0][0])[i];
}

static void
reader_rewind(struct reader *r)
{
	cursor_rewind(r->cursor);
	go_back(r, r->committed);
	r->count = r->committed_count;
}

static int
keep(void *ctx, struct cursor_position *pos, struct err *err)
{
	/* The word about a set comes back, over restarts too. */
	assert_true(pos->tag == 0 || pos->tag == (uint64_t)pos->host.p[pos->host.len - 1]);
	pos->tag = (uint64_t)pos->host.p[pos->host.len - 1];
	return positions_keep(ctx, pos, err);
}

static void
reader_save(struct reader *r)
{
	struct err err;

	assert_int_equal(cursor_save(r->cursor, keep, &r->positions, &err), 0);
	cursor_saved(r->cursor);
	memcpy(r->saved, r->committed, sizeof(r->saved));
}

/* The process ends and comes back. */
static void
reader_restart(struct fixture *f, struct reader *r)
{
	r->missed_count += cursor_missed_count(r->cursor);
	cursor_free(r->cursor);
	reader_open(f, r);
	positions_restore(&r->positions, r->cursor);
	go_back(r, r->saved);
	memcpy(r->committed, r->saved, sizeof(r->saved));
}

static void
reader_fini(struct reader *r)
{
	cursor_free(r->cursor);
	for (size_t i = 0; i < SETS * PATHS; i++)
		buf_fini(&(&r->read[0][0])[i]);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* A series that moved is read stream by stream, in any order: its records are sorted. */
static const char *
sorted(struct buf *records, struct buf *out)
{
	char *words[4096], *save = NULL;
	size_t n = 0;

	buf_putc(records, '\0');
	for (char *word = strtok_r(records->p, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save))
		words[n++] = word;
	qsort(words, n, sizeof(*words), compare);
	for (size_t i = 0; i < n; i++) {
		buf_puts(out, words[i]);
		buf_putc(out, ' ');
	}
	buf_putc(out, '\0');
	return out->p;
}

static void
assert_same(struct reader *a, struct reader *b)
{
	for (size_t i = 0; i < SETS * PATHS; i++) {
		struct buf left = { .p = NULL }, right = { .p = NULL };

		assert_string_equal(
		    sorted(&(&a->read[0][0])[i], &left), sorted(&(&b->read[0][0])[i], &right));
		buf_fini(&left);
		buf_fini(&right);
	}
}

/* Some metrics come and go, some change, some move to another group. */
static void
append_some(struct fixture *f, struct random *random, int64_t ms)
{
	static char paths[PATHS][8], hosts[SETS][8], texts[PATHS][16];
	uint32_t host = draw(random, SETS);
	struct series_set *set;
	struct err err;

	snprintf(hosts[host], sizeof(hosts[host]), "h%u", host);
	set = store_set(f->store, str_of(hosts[host]), STR("app"), &err);
	assert_non_null(set);
	for (int i = 0; i < PATHS; i++) {
		int64_t group = i % 3 + (draw(random, 40) == 0);

		snprintf(paths[i], sizeof(paths[i]), "/%02d", i);
		snprintf(texts[i], sizeof(texts[i]), "t%u", draw(random, 3));
		if (draw(random, 8) == 0)
			continue;
		if (i % 4 == 3)
			put_text(f, paths[i], texts[i], group, ms);
		else
			put_i64(f, paths[i], draw(random, 3) == 0 ? noise(ms) : i, group, ms);
	}
	if (draw(random, 30) == 0)
		store_deactivate(set, TS_NONE);
	assert_true(append_to(f, set, &err) == 0 || err.code == ERR_LIMIT);
	series_set_unref(set);
}

static void
drain(struct reader *r)
{
	while (reader_read(r, 64) > 0)
		;
	reader_commit(r);
}

static void
step(struct fixture *f, struct random *random, struct reader *never, struct reader *r)
{
	switch (draw(random, 6)) {
	case 0:
	case 1:
		reader_read(never, 20);
		reader_read(r, 1 + draw(random, 64));
		break;
	case 2:
		reader_commit(r);
		if (draw(random, 2) == 0)
			reader_save(r);
		break;
	case 3:
		reader_rewind(r);
		break;
	case 4:
		if (draw(random, 3) == 0)
			reader_restart(f, r);
		break;
	default:
		reader_commit(never);
	}
}

static void
a_restarted_cursor_gives_what_another_gives(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < 40; seed++) {
		struct fixture *f = fixture_new(BIG_BYTES);
		struct reader never = { .mode = seed % 2 ? CURSOR_EVERY : CURSOR_CHANGES };
		struct reader restarted = { .mode = never.mode };
		struct random random = { seed };

		never.cursor =
		    cursor_new(f->store, "never restarted", never.mode, &(struct err){ 0 });
		assert_non_null(never.cursor);
		reader_open(f, &restarted);
		for (int64_t ms = 0; ms < 300; ms++) {
			append_some(f, &random, ms * 1000);
			step(f, &random, &never, &restarted);
		}
		drain(&never);
		drain(&restarted);
		assert_same(&never, &restarted);
		assert_int_equal(cursor_missed_count(restarted.cursor), 0);
		reader_fini(&never);
		reader_fini(&restarted);
		fixture_free(f);
	}
}

static void
what_is_missed_is_counted_over_restarts(void **state)
{
	uint64_t missed = 0;

	(void)state;
	for (uint32_t seed = 0; seed < 8; seed++) {
		struct fixture *f = fixture_new((uint64_t)256 * 1024);
		struct reader never = { .mode = seed % 2 ? CURSOR_EVERY : CURSOR_CHANGES };
		struct reader restarted = { .mode = never.mode };
		struct random random = { seed };

		never.cursor =
		    cursor_new(f->store, "never restarted", never.mode, &(struct err){ 0 });
		assert_non_null(never.cursor);
		reader_open(f, &restarted);
		for (int64_t ms = 0; ms < 4000; ms++) {
			append_some(f, &random, ms * 1000);
			if (draw(&random, 30) == 0)
				reader_read(&restarted, 1 + draw(&random, 64));
			if (draw(&random, 400) == 0) {
				drain(&restarted);
				reader_save(&restarted);
				reader_restart(f, &restarted);
			}
		}
		drain(&never);
		drain(&restarted);
		assert_int_equal(never.count + cursor_missed_count(never.cursor),
		    restarted.count + restarted.missed_count +
		        cursor_missed_count(restarted.cursor));
		missed += restarted.missed_count;
		reader_fini(&never);
		reader_fini(&restarted);
		fixture_free(f);
	}
	assert_true(missed > 1000);
}

static size_t
count_positions(struct cursor *cursor)
{
	struct positions positions = { .len = 0 };
	struct err err;

	assert_int_equal(cursor_save(cursor, keep, &positions, &err), 0);
	return positions.len;
}

static void
only_what_changed_is_saved(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .mode = CURSOR_EVERY };

	reader_open(f, &r);
	for (int64_t ms = 0; ms < 3; ms++) {
		put_i64(f, "/1", ms, 1, ms);
		put_i64(f, "/2", ms, 2, ms);
		append(f);
	}
	assert_int_equal(count_positions(r.cursor), 0);
	reader_read(&r, 64);
	assert_int_equal(count_positions(r.cursor), 0);
	cursor_commit(r.cursor);
	assert_int_equal(count_positions(r.cursor), 2);
	assert_int_equal(count_positions(r.cursor), 2); /* it was not told that they are kept */
	cursor_saved(r.cursor);
	assert_int_equal(count_positions(r.cursor), 0);
	put_i64(f, "/1", 7, 1, 10);
	put_i64(f, "/2", 2, 2, 2);
	append(f);
	reader_read(&r, 64);
	cursor_rewind(r.cursor);
	assert_int_equal(count_positions(r.cursor), 0);
	reader_read(&r, 64);
	cursor_commit(r.cursor);
	assert_int_equal(count_positions(r.cursor), 1);
	reader_fini(&r);
}

static void
a_forgotten_set_has_nothing_to_save(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .mode = CURSOR_EVERY };

	reader_open(f, &r);
	put_i64(f, "/1", 1, 0, 0);
	append(f);
	reader_read(&r, 64);
	cursor_commit(r.cursor);
	store_forget(f->store, f->set);
	assert_int_equal(count_positions(r.cursor), 0);
	reader_fini(&r); /* with its list of changes */
}

static int
restore(struct fixture *f, struct reader *r, struct err *err, uint32_t row, uint32_t target,
    uint32_t flags)
{
	struct cursor_position pos = { .host = STR("web1"),
		.app = STR("app"),
		.birth_ns = series_set_birth_ns(f->set),
		.row = row,
		.target = target,
		.flags = flags };

	return cursor_restore(r->cursor, &pos, err);
}

static void
positions_that_do_not_fit_are_refused_or_clamped(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .mode = CURSOR_EVERY };
	struct cursor_position other = { .host = STR("web2"), .app = STR("app") };
	struct err err;

	reader_open(f, &r);
	for (int64_t ms = 0; ms < 4; ms++) {
		put_i64(f, "/1", ms, 0, ms);
		append(f);
	}
	assert_int_equal(cursor_restore(r.cursor, &other, &err), -1);
	assert_int_equal(err.code, ERR_NOTFOUND);
	other.host = STR("web1");
	other.birth_ns = series_set_birth_ns(f->set);
	other.stream = 1;
	assert_int_equal(cursor_restore(r.cursor, &other, &err), -1);
	assert_int_equal(err.code, ERR_NOTFOUND);
	other.stream = 0;
	other.birth_ns++;
	assert_int_equal(cursor_restore(r.cursor, &other, &err), -1);
	assert_int_equal(err.code, ERR_NOTFOUND);
	assert_int_equal(restore(f, &r, &err, 2, 1, 0), -1);
	assert_int_equal(err.code, ERR_PROTO);
	assert_int_equal(restore(f, &r, &err, 1, 2, 0), -1);
	assert_int_equal(err.code, ERR_PROTO);
	assert_int_equal(restore(f, &r, &err, 1, 1, 32), -1);
	assert_int_equal(err.code, ERR_PROTO);
	assert_string_equal(cursor_text(f, r.cursor, 10), "/1=0:0 /1=1:1 /1=2:2 /1=3:3");
	cursor_rewind(r.cursor);
	assert_int_equal(restore(f, &r, &err, 3, 3, 0), 0);
	assert_true(cursor_lag_ns(r.cursor, AT(10), NULL) == 7 * NS_PER_MS);
	assert_string_equal(cursor_text(f, r.cursor, 10), "/1=3:3");
	cursor_rewind(r.cursor);
	assert_int_equal(
	    restore(f, &r, &err, 1000, 1000, 0), 0); /* the last rows did not come back */
	assert_string_equal(cursor_text(f, r.cursor, 10), "");
	put_i64(f, "/1", 4, 0, 4);
	append(f);
	assert_string_equal(cursor_text(f, r.cursor, 10), "/1=4:4");
	assert_int_equal(cursor_missed_count(r.cursor), 0);
	/* All positions of a piece are done with, as a corrupt file may say. */
	cursor_commit(r.cursor);
	other = (struct cursor_position){ .host = STR("web1"),
		.app = STR("app"),
		.birth_ns = series_set_birth_ns(f->set),
		.row = 1,
		.target = 3,
		.at = 77,
		.at_row = 5,
		.left = 2,
		.flags = 1 };
	assert_int_equal(cursor_restore(r.cursor, &other, &err), 0);
	assert_string_equal(cursor_text(f, r.cursor, 10), "/1=3:3 /1=4:4");
	assert_int_equal(cursor_missed_count(r.cursor), 2);
	reader_fini(&r);
}

static void
rows_given_up_while_it_was_away_are_missed(void **state)
{
	struct fixture *f = fixture_new((uint64_t)64 * 1024);
	struct reader r = { .mode = CURSOR_EVERY };
	struct err err;
	size_t n;

	(void)state;
	reader_open(f, &r);
	for (int64_t ms = 0; ms < 40000; ms++) {
		put_i64(f, "/1", noise(ms), 0, ms);
		put_i64(f, "/2", noise(ms), 0, ms);
		append(f);
	}
	assert_int_equal(restore(f, &r, &err, 10, 10, 0), 0);
	n = cursor_missed_count(r.cursor);
	assert_int_not_equal(n, 0);
	drain(&r);
	assert_int_equal(cursor_missed_count(r.cursor), n * 2 - n);
	reader_fini(&r);
	fixture_free(f);
}

static void
restoring_without_memory_fails_and_can_be_repeated(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .mode = CURSOR_EVERY };
	struct err err;
	unsigned nth = 0;
	int rc = -1;

	reader_open(f, &r);
	for (int64_t ms = 0; ms < 4; ms++) {
		put_text(f, "/1", ms % 2 ? "a" : "b", 0, ms);
		append(f);
	}
	while (rc != 0) {
		fault_malloc(++nth);
		rc = restore(f, &r, &err, 2, 2, 0);
		fault_malloc(0);
		assert_true(rc == 0 || err.code == ERR_NOMEM);
	}
	assert_true(nth > 2);
	assert_string_equal(cursor_text(f, r.cursor, 10), "/1=2:'b' /1=3:'a'");
	reader_fini(&r);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_restarted_cursor_gives_what_another_gives),
		cmocka_unit_test(what_is_missed_is_counted_over_restarts),
		TEST(only_what_changed_is_saved),
		TEST(a_forgotten_set_has_nothing_to_save),
		TEST(positions_that_do_not_fit_are_refused_or_clamped),
		cmocka_unit_test(rows_given_up_while_it_was_away_are_missed),
		TEST(restoring_without_memory_fails_and_can_be_repeated),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
