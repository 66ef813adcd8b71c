/*
 * Cursors that go on in sealed history where memory ends: what they give is what a cursor gives in
 * a store that forgets nothing.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "fault_io.h"
#include "journal_fixture.h"
#include "positions.h"
#include "store/cursor_priv.h"
#include "store/rollup.h"
#include "store/store_priv.h"

#define HOSTS  4
#define PATHS  10
#define GROUPS 2
#define MOVING (PATHS - 1) /* this one goes from group to group if series churn */
#define BEGIN  (1700000000 * NS_PER_S)

/* So little that most of what was polled is only on disk. */
#define LITTLE_BYTES ((uint64_t)48 * 1024)
#define MORE_BYTES   ((uint64_t)88 * 1024) /* with which a restart loses nothing */

/* What a cursor gave: texts by host, path and stream, in order. */
struct reader {
	struct cursor *cursor;
	enum cursor_mode mode;
	struct buf read[HOSTS][PATHS][GROUPS];
	size_t committed[HOSTS][PATHS][GROUPS], saved[HOSTS][PATHS][GROUPS];
	struct positions positions; /* saved */
	uint64_t missed_count;      /* by those before this cursor */
	uint64_t doubled_count;
};

struct world {
	struct fixture f;
	uint64_t memory_bytes;
	struct store *whole; /* holds all that was ever polled */
	struct batch batch;
	uint64_t random;
	int64_t now_ns;
	struct reader little, all;
	/* What is between the little store and the history. */
	struct store_past past, *real;
	int error_count; /* so many openings fail */
	unsigned opened_count, open_count;
};

static int64_t test_mono_ns;

static int64_t
mono_ns(void)
{
	return test_mono_ns;
}

static uint32_t
draw(struct world *w, uint32_t below)
{
	w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(w->random >> 33) % below;
}

/* The disk's part. */

static int
past_open(struct store_past *past, const struct past_query *query, struct past_found *found,
    struct err *err)
{
	struct world *w = CONTAINER_OF(past, struct world, past);

	w->opened_count++;
	if (w->error_count > 0) {
		w->error_count--;
		err_errno(err, EIO, "read");
		return -1;
	}
	if (w->real->open(w->real, query, found, err) != 0)
		return -1;
	w->open_count += found->store != NULL;
	return 0;
}

static void
past_close(struct store_past *past, struct past_found *found)
{
	struct world *w = CONTAINER_OF(past, struct world, past);

	w->open_count -= found->store != NULL;
	w->real->close(w->real, found);
}

static int64_t
past_earliest(
    struct store_past *past, struct str host, struct str app, int64_t birth_ns, int64_t whole_ns)
{
	struct world *w = CONTAINER_OF(past, struct world, past);

	return w->real->earliest(w->real, host, app, birth_ns, whole_ns);
}

static uint64_t
past_seal(struct store_past *past)
{
	struct world *w = CONTAINER_OF(past, struct world, past);

	return w->real->seal(w->real);
}

static enum past_sealing
past_sealing(struct store_past *past, uint64_t number)
{
	struct world *w = CONTAINER_OF(past, struct world, past);

	return w->real->sealing(w->real, number);
}

static void
start(struct world *w)
{
	struct store_conf conf = { .memory_bytes = w->memory_bytes };
	struct fixture *f = &w->f;
	struct journal_stats stats;
	struct err err;

	f->store = store_new(&conf, NULL, &err);
	f->journal = journal_new(&f->conf, NULL, &err);
	assert_non_null(f->store);
	assert_non_null(f->journal);
	if (journal_restore(f->journal, f->store, conf.memory_bytes, NULL, NULL, &err) != 0 ||
	    journal_start(f->journal, f->store, &err) != 0)
		fail_msg("%s", err.text);
	journal_get_stats(f->journal, &stats);
	assert_int_equal(stats.lost_restoring_rows, 0); /* else rows would have other numbers */
	f->mono_ns = clock_mono_ns();
	w->real = f->store->past;
	assert_non_null(w->real);
	w->past =
	    (struct store_past){ past_open, past_close, past_earliest, past_seal, past_sealing };
	store_set_past(f->store, &w->past);
}

static int
setup(void **state)
{
	static struct world world;
	struct store_conf conf = { .memory_bytes = 64 << 20 };
	struct world *w = &world;
	struct err err;

	log_set_level(LOG_ERROR + 1);
	*w = (struct world){ .memory_bytes = LITTLE_BYTES, .random = 1, .now_ns = BEGIN };
	fixture_init(&w->f);
	w->f.conf.sync_ns = 3600 * NS_PER_S;
	w->f.conf.band_bytes = 4000;
	w->whole = store_new(&conf, NULL, &err);
	assert_non_null(w->whole);
	batch_init(&w->batch, 0);
	test_mono_ns = NS_PER_S;
	*state = w;
	return 0;
}

static void
reader_fini(struct reader *r)
{
	cursor_free(r->cursor);
	r->cursor = NULL;
	for (size_t i = 0; i < sizeof(r->read) / sizeof(struct buf); i++)
		buf_fini(&(&r->read[0][0][0])[i]);
}

static int
teardown(void **state)
{
	struct world *w = *state;

	fault_io(0, 0, 0);
	reader_fini(&w->little);
	reader_fini(&w->all);
	assert_int_equal(w->open_count, 0);
	fixture_fini(&w->f);
	store_free(w->whole);
	batch_fini(&w->batch);
	return 0;
}

/* Polls. */

static void
put(struct world *w, uint32_t path, uint32_t group, int64_t ts_ns)
{
	static const enum kind kinds[] = { KIND_INT64, KIND_FLOAT64, KIND_STRING, KIND_BOOL };
	/* The batch does not copy texts. */
	static const char *const paths[PATHS] = { "/0", "/1", "/2", "/3", "/4", "/5", "/6", "/7",
		"/8", "/9" };
	static const char *const texts[] = { "", "a", "text", "another-one", "0123456789abcdef" };
	struct metric_desc desc = { .path = str_of(paths[path]),
		.kind = kinds[path % ARRAY_LEN(kinds)] };
	uint32_t v = draw(w, 4) == 0 ? draw(w, 1000000) : 7;
	struct value value = { .i = v };
	struct err err;

	if (desc.kind == KIND_FLOAT64)
		value.f = v / 100.0;
	else if (desc.kind == KIND_STRING)
		value.s = str_of(texts[v % ARRAY_LEN(texts)]);
	else if (desc.kind == KIND_BOOL)
		value.b = v % 2 != 0;
	if (batch_add(&w->batch, &desc, &value, group, ts_ns, &err) != 0)
		fail_msg("%s", err.text);
}

static void
append(struct world *w, struct store *store, const char *host)
{
	struct append_stats stats;
	struct err err;
	struct series_set *set = store_set(store, str_of(host), STR("app"), &err);

	assert_non_null(set);
	if (store_append(set, &w->batch, &stats, &err) != 0)
		fail_msg("%s", err.text);
	series_set_unref(set);
}

static void
deactivate(struct store *store, const char *host)
{
	struct series_set *set = store_find(store, str_of(host), STR("app"));

	if (set != NULL)
		store_deactivate(set, TS_NONE);
	series_set_unref(set);
}

/* Series come and go with the time, and the last one between groups, if they are to. */
static void
poll_host(struct world *w, unsigned i, bool churns)
{
	uint32_t round = (uint32_t)(w->f.poll_count / 13);
	char host[16];

	snprintf(host, sizeof(host), "web%u", i);
	if (churns && w->f.poll_count % 60 == 20 + i) {
		deactivate(w->f.store, host);
		deactivate(w->whole, host);
		return;
	}
	batch_reset(&w->batch);
	for (uint32_t path = 0; path < PATHS; path++) {
		uint32_t group = path == MOVING && churns ? round % GROUPS : path % GROUPS;

		if (churns && path > 3 && (path + round + i) % 5 == 0)
			continue;
		put(w, path, group, w->now_ns + i * NS_PER_MS + (int64_t)group * NS_PER_US);
	}
	batch_end(&w->batch, 0);
	append(w, w->f.store, host);
	append(w, w->whole, host);
}

static void
poll(struct world *w, int times, bool churns)
{
	for (int n = 0; n < times; n++) {
		w->now_ns += NS_PER_S + (int64_t)draw(w, 100) * NS_PER_MS;
		for (unsigned i = 0; i < HOSTS; i++)
			poll_host(w, i, churns);
		w->f.poll_count++;
		fixture_turn(&w->f, 300 * NS_PER_MS);
	}
}

static void
try_to_seal(struct world *w)
{
	struct err err;

	if (journal_seal(w->f.journal, clock_real_ns(), &err) != 0)
		fail_msg("%s", err.text);
}

/* The segment ends, and is sealed. */
static void
seal(struct world *w)
{
	fixture_turn(&w->f, w->f.conf.segment_ns);
	try_to_seal(w);
}

/* Readers. */

static void
reader_open(struct reader *r, struct store *store)
{
	struct err err;

	r->cursor = cursor_new(store, r->mode == CURSOR_EVERY ? "e" : "c", r->mode, &err);
	assert_non_null(r->cursor);
	r->cursor->past.mono_ns = mono_ns;
	cursor_keep(r->cursor);
}

/* Time of the last record that was noted; INT64_MIN if there is none. */
static int64_t
last_ms(const struct buf *records)
{
	size_t at = records->len;

	if (at == 0)
		return INT64_MIN;
	for (at--; at > 0 && records->p[at - 1] != ' ';)
		at--;
	return strtoll(records->p + at, NULL, 10);
}

static void
note(struct reader *r, const struct cursor_record *record)
{
	const struct record *rec = &record->record;
	int host = record->host.p[record->host.len - 1] - '0';
	int path = atoi(rec->desc->path.p + 1);
	struct buf *out;

	if (record->is_base)
		return;
	assert_true(record->stream < GROUPS);
	out = &r->read[host][path][record->stream];
	/* One that moves between groups has several places in a stream, which are read one by one.
	 */
	if (path != MOVING && (rec->ts_ns - BEGIN) / NS_PER_MS <= last_ms(out)) {
		r->doubled_count++;
		return;
	}
	buf_printf(out, "%lld:", (long long)((rec->ts_ns - BEGIN) / NS_PER_MS));
	if (!rec->active)
		buf_puts(out, "i");
	else if (rec->desc->kind == KIND_STRING)
		buf_str(out, rec->value.s);
	else if (rec->desc->kind == KIND_BOOL)
		buf_puts(out, rec->value.b ? "T" : "F");
	else
		buf_printf(out, "%llx", (unsigned long long)rec->value.u);
	buf_putc(out, ' ');
}

static size_t
reader_read(struct reader *r, size_t max)
{
	struct cursor_record records[128];
	size_t n = cursor_read(r->cursor, records, max);

	for (size_t i = 0; i < n; i++)
		note(r, &records[i]);
	return n;
}

static void
note_lengths(struct reader *r, size_t lengths[HOSTS][PATHS][GROUPS])
{
	for (size_t i = 0; i < HOSTS * PATHS * GROUPS; i++)
		(&lengths[0][0][0])[i] = (&r->read[0][0][0])[i].len;
}

static void
go_back(struct reader *r, size_t lengths[HOSTS][PATHS][GROUPS])
{
	for (size_t i = 0; i < HOSTS * PATHS * GROUPS; i++)
		(&r->read[0][0][0])[i].len = (&lengths[0][0][0])[i];
}

static void
reader_commit(struct reader *r)
{
	cursor_commit(r->cursor);
	note_lengths(r, r->committed);
}

static void
reader_rewind(struct reader *r)
{
	cursor_rewind(r->cursor);
	go_back(r, r->committed);
}

static void
reader_save(struct reader *r)
{
	struct err err;

	assert_int_equal(cursor_save(r->cursor, positions_keep, &r->positions, &err), 0);
	cursor_saved(r->cursor);
	memcpy(r->saved, r->committed, sizeof(r->saved));
}

/* The process ends and comes back; or the cursor only. */
static void
restart(struct world *w, struct reader *r, bool store_too)
{
	r->missed_count += cursor_missed_count(r->cursor);
	cursor_free(r->cursor);
	r->cursor = NULL;
	if (store_too) {
		fixture_turn(&w->f, NS_PER_S);
		fixture_close(&w->f);
		start(w);
	}
	reader_open(r, w->f.store);
	positions_restore(&r->positions, r->cursor);
	go_back(r, r->saved);
	memcpy(r->committed, r->saved, sizeof(r->saved));
}

/* To the end; the disk gets all the time that it takes. */
static void
read_all(struct world *w, struct reader *r)
{
	size_t n;
	int waits = 0;

	do {
		n = reader_read(r, 128);
		if (n == 0 && cursor_is_waiting(r->cursor)) {
			test_mono_ns += 61 * NS_PER_S;
			fixture_turn(&w->f, 6 * NS_PER_S);
			try_to_seal(w);
			assert_true(waits++ < 1000);
		}
		reader_commit(r);
	} while (n > 0 || cursor_is_waiting(r->cursor));
	assert_int_equal(cursor_lag_ns(r->cursor, INT64_MAX, NULL), 0);
}

static int
compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void
sort_words(struct buf *records)
{
	static char *words[65536];
	char *copy = strndup(records->p, records->len), *save = NULL;
	size_t n = 0;

	assert_non_null(copy);
	for (char *word = strtok_r(copy, " ", &save); word != NULL;
	     word = strtok_r(NULL, " ", &save)) {
		assert_true(n < ARRAY_LEN(words));
		words[n++] = word;
	}
	qsort(words, n, sizeof(*words), compare);
	buf_clear(records);
	for (size_t i = 0; i < n; i++)
		buf_printf(records, "%s ", words[i]);
	free(copy);
}

static void
assert_same_records(struct buf *a, struct buf *b)
{
	size_t at = 0;

	buf_putc(a, '\0');
	buf_putc(b, '\0');
	if (strcmp(a->p, b->p) != 0) {
		while (a->p[at] == b->p[at])
			at++;
		at = at > 30 ? at - 30 : 0;
		fail_msg(
		    "%zu bytes, not %zu: %.60s, not %.60s", a->len, b->len, a->p + at, b->p + at);
	}
	a->len--;
	b->len--;
}

static void
assert_same(struct reader *a, struct reader *b)
{
	for (size_t i = 0; i < HOSTS * PATHS * GROUPS; i++) {
		struct buf *left = &(&a->read[0][0][0])[i], *right = &(&b->read[0][0][0])[i];

		if (i / GROUPS % PATHS == MOVING && left->len > 0 && right->len > 0) {
			sort_words(left);
			sort_words(right);
		}
		assert_same_records(left, right);
	}
}

static void
assert_all_read(struct world *w)
{
	struct err err;

	read_all(w, &w->little);
	reader_fini(&w->all);
	w->all = (struct reader){ .mode = w->little.mode };
	w->all.cursor = cursor_new(w->whole, "w", w->all.mode, &err);
	assert_non_null(w->all.cursor);
	while (reader_read(&w->all, 128) > 0)
		cursor_commit(w->all.cursor);
	assert_same(&w->little, &w->all);
	assert_int_equal(cursor_missed_count(w->little.cursor) + w->little.missed_count, 0);
	assert_int_equal(w->open_count, 0);
}

static void
open_little(struct world *w, enum cursor_mode mode)
{
	w->little = (struct reader){ .mode = mode };
	reader_open(&w->little, w->f.store);
}

/* It has a position in all streams. */
static void
begin_little(struct world *w, enum cursor_mode mode)
{
	open_little(w, mode);
	poll(w, 1, false);
	while (reader_read(&w->little, 100) > 0)
		reader_commit(&w->little);
	reader_save(&w->little);
}

static void
assert_much_was_reclaimed(struct world *w)
{
	struct store_stats stats;

	store_get_stats(w->f.store, &stats);
	assert_true(stats.pages_reclaimed > 20);
}

/* Tests. */

static void
held_back(struct world *w, enum cursor_mode mode)
{
	start(w);
	open_little(w, mode);
	for (int i = 0; i < 6; i++) {
		poll(w, 70, false);
		seal(w);
	}
	poll(w, 33, false);
	assert_much_was_reclaimed(w);
	assert_all_read(w);
	poll(w, 3, false);
	assert_all_read(w);
}

static void
a_cursor_that_was_held_back_gets_all(void **state)
{
	held_back(*state, CURSOR_EVERY);
}

static void
so_does_one_of_changes(void **state)
{
	held_back(*state, CURSOR_CHANGES);
}

static void
what_is_not_sealed_yet_is_waited_for(void **state)
{
	struct world *w = *state;
	uint64_t left;

	start(w);
	open_little(w, CURSOR_EVERY);
	poll(w, 500, false);
	assert_much_was_reclaimed(w);
	assert_int_equal(fixture_files_in(&w->f, "history", ".sh", NULL), 0);
	(void)cursor_lag_ns(w->little.cursor, INT64_MAX, &left);
	assert_int_equal(left, 500 * HOSTS * PATHS);
	assert_int_equal(reader_read(&w->little, 10), 0);
	assert_true(cursor_is_waiting(w->little.cursor));
	assert_all_read(w);
	assert_true(fixture_files_in(&w->f, "history", ".sh", NULL) >= 1);
}

/* What the little store's cursor gave, of what that of the whole gave, from some place on each. */
static void
assert_ends_of_all(struct world *w, uint64_t missed)
{
	struct err err;
	uint64_t sum = 0;

	w->all = (struct reader){ .mode = w->little.mode };
	w->all.cursor = cursor_new(w->whole, "w", w->all.mode, &err);
	assert_non_null(w->all.cursor);
	while (reader_read(&w->all, 128) > 0)
		cursor_commit(w->all.cursor);
	for (size_t i = 0; i < HOSTS * PATHS * GROUPS; i++) {
		struct buf *part = &(&w->little.read[0][0][0])[i];
		struct buf *whole = &(&w->all.read[0][0][0])[i];

		assert_true(part->len <= whole->len);
		if (part->len > 0)
			assert_memory_equal(part->p, whole->p + whole->len - part->len, part->len);
		for (size_t k = 0; k < whole->len - part->len; k++)
			sum += whole->p[k] == ' ';
	}
	assert_int_equal(sum, missed);
}

/* Nothing is to be read, nor given up, for hours. */
static void
assert_waits(struct world *w)
{
	for (int i = 0; i < 200; i++) {
		test_mono_ns += 61 * NS_PER_S;
		assert_int_equal(reader_read(&w->little, 128), 0);
		assert_true(cursor_is_waiting(w->little.cursor));
	}
	assert_int_equal(cursor_missed_count(w->little.cursor), 0);
}

static void
sealing_is_waited_for_without_end(void **state)
{
	struct world *w = *state;
	struct err err;

	start(w);
	open_little(w, CURSOR_EVERY);
	poll(w, 300, false);
	assert_waits(w);
	/* Nor when there is no room on the disk. */
	fixture_turn(&w->f, w->f.conf.segment_ns);
	fault_io(3, 1000000, ENOSPC);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), -1);
	fault_io(0, 0, 0);
	assert_waits(w);
	assert_all_read(w);
}

static void
a_segment_that_cannot_be_read_is_given_up_in_the_end(void **state)
{
	struct world *w = *state;
	struct err err;
	int waits = 0;

	start(w);
	open_little(w, CURSOR_EVERY);
	poll(w, 300, false);
	assert_int_equal(reader_read(&w->little, 128), 0);
	fixture_turn(&w->f, w->f.conf.segment_ns);
	fault_io(1, 1000000, EIO);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), -1);
	fault_io(0, 0, 0);
	for (; reader_read(&w->little, 128) == 0; waits++) {
		assert_true(cursor_is_waiting(w->little.cursor));
		test_mono_ns += 61 * NS_PER_S;
	}
	assert_in_range(waits, 10, 12);
	while (reader_read(&w->little, 128) > 0)
		continue;
	assert_true(cursor_missed_count(w->little.cursor) > 0);
	assert_ends_of_all(w, cursor_missed_count(w->little.cursor));
}

static void
what_was_written_before_the_disk_failed_is_read_meanwhile(void **state)
{
	struct world *w = *state;
	struct journal_stats stats;
	struct err err;

	start(w);
	open_little(w, CURSOR_EVERY);
	poll(w, 300, false);
	/* The next one can't be written, nor any segment after that. */
	fault_io(1, 1000000, ENOSPC);
	poll(w, 1, false);
	journal_get_stats(w->f.journal, &stats);
	assert_true(stats.degraded);
	fault_io(0, 0, 0);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), 0);
	while (reader_read(&w->little, 128) > 0 || cursor_is_waiting(w->little.cursor)) {
		reader_commit(&w->little);
		test_mono_ns += NS_PER_S;
	}
	assert_int_equal(cursor_missed_count(w->little.cursor), 0);
	assert_ends_of_all(w, 0);
	journal_get_stats(w->f.journal, &stats);
	assert_true(stats.degraded);
}

static void
a_position_may_lie_in_the_past(void **state)
{
	struct world *w = *state;

	w->memory_bytes = MORE_BYTES;
	start(w);
	begin_little(w, CURSOR_EVERY);
	poll(w, 400, false);
	seal(w);
	poll(w, 400, false);
	seal(w);
	poll(w, 50, false);
	for (int i = 0; i < 20; i++) {
		uint64_t left, rest;

		for (int k = 0; k < 3 + i; k++)
			(void)reader_read(&w->little, 17);
		(void)cursor_lag_ns(w->little.cursor, INT64_MAX, &left);
		reader_commit(&w->little);
		reader_save(&w->little);
		(void)cursor_lag_ns(w->little.cursor, INT64_MAX, &left);
		restart(w, &w->little, i % 2 == 0);
		/* As all series are there all the time the guess is right. */
		(void)cursor_lag_ns(w->little.cursor, INT64_MAX, &rest);
		assert_int_equal(left, rest);
	}
	assert_all_read(w);
}

/* All that may happen, in any order. */
static void
do_anything(struct world *w, bool churns)
{
	struct reader *r = &w->little;

	switch (draw(w, 12)) {
	case 0:
		poll(w, (int)draw(w, 400), churns);
		break;
	case 1:
		seal(w);
		break;
	case 2:
	case 3:
	case 4:
	case 5:
		for (uint32_t n = draw(w, 60); n > 0; n--)
			(void)reader_read(r, 1 + draw(w, 128));
		break;
	case 6:
	case 7:
		poll(w, (int)draw(w, 6), churns);
		(void)reader_read(r, 1 + draw(w, 128));
		reader_commit(r);
		break;
	case 8:
		reader_rewind(r);
		break;
	case 9:
		reader_commit(r);
		reader_save(r);
		break;
	case 10:
		reader_commit(r);
		reader_save(r);
		/* Restoring series that churn takes more memory than there is. */
		restart(w, r, !churns && draw(w, 2) == 0);
		break;
	default:
		test_mono_ns += 61 * NS_PER_S;
		fixture_turn(&w->f, 6 * NS_PER_S);
		try_to_seal(w);
		if (draw(w, 4) == 0)
			w->error_count = 2;
	}
}

static void
whatever_happens_all_is_read_in_order(void **state)
{
	struct world *w = *state;
	uint64_t opened[2] = { 0, 0 }; /* without and with churn */

	for (uint64_t seed = 1; seed <= 6; seed++) {
		w->random = seed;
		w->memory_bytes = MORE_BYTES;
		start(w);
		begin_little(w, seed % 2 == 0 ? CURSOR_CHANGES : CURSOR_EVERY);
		for (int i = 0; i < 120; i++)
			do_anything(w, seed > 3);
		w->error_count = 0;
		assert_all_read(w);
		/* See place_break_piece. */
		assert_in_range(w->little.doubled_count, 0, 500);
		opened[seed > 3] += w->opened_count;
		(void)teardown(state);
		(void)setup(state);
	}
	assert_true(opened[false] > 0 && opened[true] > 0);
}

static void
what_is_new_after_a_restart_is_read_from_its_first_row(void **state)
{
	struct world *w = *state;
	int64_t since_ns;

	w->memory_bytes = MORE_BYTES;
	start(w);
	open_little(w, CURSOR_EVERY);
	/* No position was saved since, of any of them. */
	since_ns = clock_real_ns();
	poll(w, 400, false);
	seal(w);
	poll(w, 400, false);
	seal(w);
	poll(w, 50, false);
	cursor_free(w->little.cursor);
	fixture_close(&w->f);
	start(w);
	reader_open(&w->little, w->f.store);
	cursor_begin_new(w->little.cursor, since_ns - 60 * NS_PER_S);
	assert_all_read(w);
	assert_true(w->opened_count > 0);
	/* Not what was there before. */
	cursor_free(w->little.cursor);
	reader_open(&w->little, w->f.store);
	cursor_begin_new(w->little.cursor, clock_real_ns() + NS_PER_S);
	w->opened_count = 0;
	while (reader_read(&w->little, 100) > 0)
		reader_commit(&w->little);
	assert_int_equal(w->opened_count, 0);
}

/* Threads. */

static _Atomic bool is_over;

static void *
keep_polling(void *arg)
{
	struct world *w = arg;

	for (int i = 0; i < 15; i++) {
		poll(w, 40, false);
		fixture_turn(&w->f, w->f.conf.segment_ns);
	}
	is_over = true;
	return NULL;
}

static void *
keep_sealing(void *arg)
{
	struct world *w = arg;
	struct err err;

	while (!is_over) {
		if (journal_seal(w->f.journal, clock_real_ns(), &err) != 0)
			fail_msg("%s", err.text);
	}
	return NULL;
}

static void
polling_sealing_and_reading_go_on_side_by_side(void **state)
{
	struct world *w = *state;
	pthread_t threads[2];
	unsigned rounds = 0;

	start(w);
	open_little(w, CURSOR_EVERY);
	is_over = false;
	assert_int_equal(pthread_create(&threads[0], NULL, keep_polling, w), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, keep_sealing, w), 0);
	while (!is_over) {
		size_t n = reader_read(&w->little, 100);

		if (++rounds % 5 == 0)
			reader_rewind(&w->little);
		else
			reader_commit(&w->little);
		test_mono_ns += n == 0 ? NS_PER_S : 0; /* others may hold up sealing for long */
		if (n == 0)
			(void)sched_yield();
	}
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_much_was_reclaimed(w);
	assert_all_read(w);
}

static void
drop_file(struct world *w, unsigned number)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/history/%012u.sh", w->f.dir, number);
	assert_int_equal(unlink(path), 0);
}

static void
what_was_dropped_is_missed_and_no_more(void **state)
{
	struct world *w = *state;
	struct err err;

	w->f.conf.disk_bytes = 40000;
	start(w);
	open_little(w, CURSOR_EVERY);
	for (int i = 0; i < 12; i++) {
		poll(w, 50, false);
		seal(w);
	}
	poll(w, 20, false);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), 0);
	assert_in_range(fixture_files_in(&w->f, "history", ".sh", NULL), 2, 8);
	read_all(w, &w->little);
	assert_in_range(cursor_missed_count(w->little.cursor), 1, 600 * HOSTS * PATHS);
	assert_ends_of_all(w, cursor_missed_count(w->little.cursor));
}

static void
files_may_go_while_they_are_read(void **state)
{
	struct world *w = *state;
	uint64_t missed;

	start(w);
	open_little(w, CURSOR_EVERY);
	for (int i = 0; i < 8; i++) {
		poll(w, 50, false);
		seal(w);
	}
	/* In the first file of some, which is open for one of them. */
	for (int i = 0; i < 30; i++)
		assert_int_equal(reader_read(&w->little, 10), 10);
	assert_int_equal(w->open_count, 1);
	drop_file(w, 1);
	drop_file(w, 4);
	read_all(w, &w->little);
	/* Of those that had read the first only the fourth is missed, save the row that led to it.
	 */
	missed = cursor_missed_count(w->little.cursor);
	assert_in_range(missed, 50 * HOSTS * PATHS, 2 * 50 * HOSTS * PATHS);
	reader_rewind(&w->little);
	assert_int_equal(reader_read(&w->little, 10), 0);
	assert_int_equal(cursor_missed_count(w->little.cursor), missed);
}

static void
a_failing_disk_is_tried_again(void **state)
{
	struct world *w = *state;

	start(w);
	open_little(w, CURSOR_EVERY);
	for (int i = 0; i < 4; i++) {
		poll(w, 100, false);
		seal(w);
	}
	w->error_count = 7;
	assert_int_equal(reader_read(&w->little, 100), 0);
	assert_true(cursor_is_waiting(w->little.cursor));
	assert_int_equal(w->opened_count, HOSTS);
	/* Not at once. */
	assert_int_equal(reader_read(&w->little, 100), 0);
	assert_int_equal(w->opened_count, HOSTS);
	assert_all_read(w);
}

static void
in_the_end_it_goes_on_without_the_disk(void **state)
{
	struct world *w = *state;

	start(w);
	open_little(w, CURSOR_EVERY);
	for (int i = 0; i < 4; i++) {
		poll(w, 100, false);
		seal(w);
	}
	poll(w, 10, false);
	/* Of this file nothing can be opened, and nobody knows for how long. */
	for (int i = 0; i < 20; i++) {
		fault_io(1, 1000000, EIO);
		assert_int_equal(reader_read(&w->little, 100), 0);
		fault_io(0, 0, 0);
		test_mono_ns += 61 * NS_PER_S;
		if (!cursor_is_waiting(w->little.cursor))
			break;
		if (w->opened_count >= 11 * HOSTS)
			break;
	}
	assert_int_equal(w->opened_count, 11 * HOSTS);
	fault_io(1, 1000000, EIO);
	while (reader_read(&w->little, 100) > 0)
		reader_commit(&w->little);
	fault_io(0, 0, 0);
	assert_true(cursor_missed_count(w->little.cursor) > 0);
	read_all(w, &w->little);
	assert_ends_of_all(w, cursor_missed_count(w->little.cursor));
}

static void
lack_of_memory_is_waited_out(void **state)
{
	struct world *w = *state;
	struct cursor_record records[100];
	unsigned nth = 1;
	size_t n;

	start(w);
	open_little(w, CURSOR_EVERY);
	for (int i = 0; i < 3; i++) {
		poll(w, 60, false);
		seal(w);
	}
	poll(w, 10, false);
	do {
		bool happened;

		fault_malloc(nth);
		n = cursor_read(w->little.cursor, records, ARRAY_LEN(records));
		happened = fault_happened();
		fault_malloc(0);
		for (size_t i = 0; i < n; i++)
			note(&w->little, &records[i]);
		if (nth % 7 == 0)
			reader_rewind(&w->little);
		else
			reader_commit(&w->little);
		test_mono_ns += NS_PER_S;
		nth = happened ? nth + 1 : 1;
	} while (n > 0 || nth > 1);
	assert_all_read(w);
}

static void
readers_share_a_bounded_memory(void **state)
{
	struct world *w = *state;
	struct reader others[4] = { { .mode = CURSOR_EVERY } };
	struct cursor_record record;
	struct err err;
	size_t got = 0;

	w->f.conf.read_bytes = 16 << 20; /* three of them */
	start(w);
	open_little(w, CURSOR_EVERY);
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		char name[8];

		snprintf(name, sizeof(name), "o%zu", i);
		others[i].cursor = cursor_new(w->f.store, name, CURSOR_EVERY, &err);
		others[i].cursor->past.mono_ns = mono_ns;
	}
	for (int i = 0; i < 3; i++) {
		poll(w, 100, false);
		seal(w);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		got += cursor_read(others[i].cursor, &record, 1);
	assert_int_equal(w->open_count, got);
	assert_in_range(got, 1, ARRAY_LEN(others));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		cursor_free(others[i].cursor);
	assert_int_equal(w->open_count, 0);
	assert_all_read(w);
}

/* Frames, as text by host and path. */
static void
read_rollup(struct world *w, struct rollup *r, struct reader *reader)
{
	int64_t now_ns = 0;
	bool waited;

	do {
		struct cursor_record records[64];
		struct err err;
		size_t n;

		assert_int_equal(rollup_read(r, now_ns, records, ARRAY_LEN(records), &n, &err), 0);
		for (size_t i = 0; i < n; i++)
			note(reader, &records[i]);
		rollup_commit(r);
		waited = cursor_is_waiting(reader->cursor);
		if (waited) {
			test_mono_ns += 61 * NS_PER_S;
			fixture_turn(&w->f, 6 * NS_PER_S);
			try_to_seal(w);
		}
		/* Long enough for the frame of a series that has ended. */
		now_ns += n > 0 ? 0 : 100 * NS_PER_S;
	} while (waited || now_ns < 1000 * NS_PER_S);
}

/* All frames were given, whole, once or again. Frees the roll-up. */
static void
assert_all_frames(struct world *w, struct rollup *little)
{
	struct rollup *all;
	struct err err;

	w->all = (struct reader){ .mode = CURSOR_EVERY };
	w->all.cursor = cursor_new(w->whole, "w", CURSOR_EVERY, &err);
	all = rollup_new(w->whole, w->all.cursor, 10 * NS_PER_S, ROLLUP_MEAN, &err);
	assert_non_null(all);
	read_rollup(w, little, &w->little);
	read_rollup(w, all, &w->all);
	assert_int_equal(rollup_missed_count(little), 0);
	assert_same(&w->little, &w->all);
	rollup_free(little);
	rollup_free(all);
	w->little.cursor = w->all.cursor = NULL;
}

static struct rollup *
begin_rollup(struct world *w)
{
	struct rollup *rollup;
	struct err err;

	cursor_free(w->little.cursor);
	reader_open(&w->little, w->f.store);
	rollup = rollup_new(w->f.store, w->little.cursor, 10 * NS_PER_S, ROLLUP_MEAN, &err);
	assert_non_null(rollup);
	return rollup;
}

/* Into the middle of a frame. */
static void
read_some_frames(struct world *w, struct rollup *rollup)
{
	for (int i = 0; i < 2; i++) {
		struct cursor_record records[8];
		struct err err;
		size_t n;

		assert_int_equal(rollup_read(rollup, 0, records, 8, &n, &err), 0);
		for (size_t k = 0; k < n; k++)
			note(&w->little, &records[k]);
		rollup_commit(rollup);
	}
}

static void
poll_much(struct world *w)
{
	for (int i = 0; i < 5; i++) {
		poll(w, 90, false);
		seal(w);
	}
	poll(w, 20, false);
	assert_much_was_reclaimed(w);
}

/* Nothing of it was read. */
static void
forget_all(struct reader *r)
{
	for (size_t i = 0; i < HOSTS * PATHS * GROUPS; i++)
		buf_clear(&(&r->read[0][0][0])[i]);
}

static void
roll_ups_begin_their_frames_anew_there(void **state)
{
	struct world *w = *state;
	struct rollup *little;

	start(w);
	begin_little(w, CURSOR_EVERY);
	forget_all(&w->little);
	little = begin_rollup(w);
	poll(w, 14, false);
	read_some_frames(w, little);
	reader_save(&w->little);
	poll_much(w);
	rollup_free(little);
	w->little.cursor = NULL;
	little = begin_rollup(w);
	positions_restore(&w->little.positions, w->little.cursor);
	assert_all_frames(w, little);
}

static void
roll_ups_go_on_there_too(void **state)
{
	struct world *w = *state;
	struct rollup *little;

	start(w);
	begin_little(w, CURSOR_EVERY);
	forget_all(&w->little);
	little = begin_rollup(w);
	poll(w, 8, false);
	read_some_frames(w, little);
	poll_much(w);
	assert_all_frames(w, little);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    polling_sealing_and_reading_go_on_side_by_side, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_was_dropped_is_missed_and_no_more, setup, teardown),
		cmocka_unit_test_setup_teardown(files_may_go_while_they_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failing_disk_is_tried_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    in_the_end_it_goes_on_without_the_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(lack_of_memory_is_waited_out, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_share_a_bounded_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(roll_ups_go_on_there_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    roll_ups_begin_their_frames_anew_there, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_cursor_that_was_held_back_gets_all, setup, teardown),
		cmocka_unit_test_setup_teardown(so_does_one_of_changes, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_not_sealed_yet_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(sealing_is_waited_for_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_segment_that_cannot_be_read_is_given_up_in_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_was_written_before_the_disk_failed_is_read_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(a_position_may_lie_in_the_past, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_new_after_a_restart_is_read_from_its_first_row, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    whatever_happens_all_is_read_in_order, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
