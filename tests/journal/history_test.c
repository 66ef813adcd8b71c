#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "fault.h"
#include "fault_io.h"
#include "journal/journal_priv.h"
#include "journal_fixture.h"

/* Few enough that much is only on disk, but the newest values fit. */
#define LITTLE_BYTES ((uint64_t)40 * 1024)

/* Heads of a few chunks and the foot. */
#define SEALED_OVERHEAD 300

/* Index, with a part of each endpoint, METAs and SCHEMAs, and foot, behind the chunks. */
#define SEALED_TAIL ((ENDPOINTS + 2) * 40 + 48)

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
	struct gen_conf conf = fixture_gen_conf();
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

	log_set_level(LOG_ERROR + 1);
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
assert_same_of(struct world *w, size_t endpoint, int64_t start_ns, int64_t end_ns)
{
	struct str host = gen_host(w->gen, endpoint);
	struct asked part = ask(w->f.store, host, start_ns);
	struct asked whole = ask(w->whole, host, start_ns);

	while (next_series(&whole)) {
		assert_true(next_series(&part));
		assert_true(desc_eq(part.desc, whole.desc));
		assert_same_records(&part, &whole, start_ns, end_ns);
		assert_same_times(&part, &whole, start_ns, end_ns);
		assert_true(iter_earliest(part.iter) <= start_ns || iter_earliest(part.iter) == 0);
	}
	assert_false(next_series(&part));
	iter_free(part.iter);
	iter_free(whole.iter);
}

static void
assert_same_since(struct world *w, int64_t start_ns, int64_t end_ns)
{
	for (size_t e = 0; e < ENDPOINTS; e++)
		assert_same_of(w, e, start_ns, end_ns);
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

/* The segment that is being written is as if it had last been written then. */
static void
segment_was_written(struct world *w, int64_t real_ns)
{
	struct timespec times[2] = { { 0, UTIME_OMIT },
		{ real_ns / NS_PER_S, real_ns % NS_PER_S } };
	char name[256], path[512];

	assert_int_equal(fixture_files(&w->f, ".sj", name), 1);
	snprintf(path, sizeof(path), "%s/journal/%s", w->f.dir, name);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void
old_files_go(void **state)
{
	struct world *w = *state;
	struct err err;

	w->f.conf.retention_ns = 100 * NS_PER_S;
	start(w);
	for (int i = 0; i < 6; i++) {
		struct err why;

		poll(w, 10);
		segment_was_written(w, clock_real_ns() - (90 - i * 10) * NS_PER_S);
		/* Its time is that of the last write, so it is set as the segment ends. */
		fixture_turn(&w->f, w->f.conf.segment_ns);
		assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &why), 0);
	}
	assert_int_equal(sealed_count(w), 6);
	/* Not all at once, as it may be the clock that is wrong. */
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns() + 3600 * NS_PER_S, &err), 0);
	assert_int_equal(sealed_count(w), 4);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns() + 3600 * NS_PER_S, &err), 0);
	assert_int_equal(sealed_count(w), 2);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), 0);
	assert_int_equal(sealed_count(w), 2);
}

static void
what_takes_too_much_room_goes_oldest_first(void **state)
{
	struct world *w = *state;
	char last[256];

	w->f.conf.disk_bytes = 20000;
	start(w);
	for (int i = 0; i < 12; i++) {
		poll(w, 20);
		seal(w);
	}
	assert_in_range(sealed_count(w), 2, 10);
	(void)fixture_files_in(&w->f, "history", ".sh", last);
	assert_string_equal(last, "000000000012.sh");
}

static int64_t
birth_ns(struct world *w, struct str host)
{
	struct series_set *set = store_find(w->f.store, host, STR("app"));
	int64_t ns;

	assert_non_null(set);
	ns = series_set_birth_ns(set);
	series_set_unref(set);
	return ns;
}

static void
how_far_back_the_files_go_is_known(void **state)
{
	struct world *w = *state;

	for (int dropped = 0; dropped < 2; dropped++) {
		struct str host = gen_host(w->gen, 0);
		struct asked near, far;

		if (dropped)
			w->f.conf.disk_bytes = 60000;
		start(w);
		for (int i = 0; i < 6; i++) {
			poll(w, 70);
			if (i == 0 &&
			    !dropped) /* a tick before they came, as the clock of files has it */
				segment_was_written(w, birth_ns(w, host) - 10 * NS_PER_MS);
			seal(w);
		}
		near = ask(w->f.store, host, INT64_MAX);
		far = ask(w->f.store, host, INT64_MIN);
		while (iter_next_series(near.iter, &near.desc)) {
			int64_t memory_ns = iter_earliest(near.iter);
			int64_t kept_ns = iter_earliest_kept(near.iter);

			assert_true(iter_next_series(far.iter, &far.desc));
			assert_true(memory_ns > 0);
			assert_true(kept_ns < memory_ns);
			assert_int_equal(kept_ns > 0, dropped);
			assert_int_equal(kept_ns, iter_earliest(far.iter));
			assert_int_equal(kept_ns, iter_earliest_kept(far.iter));
		}
		iter_free(near.iter);
		iter_free(far.iter);
		fixture_close(&w->f);
	}
}

static void
one_that_cannot_be_read_does_not_keep_others(void **state)
{
	struct world *w = *state;
	struct err err;

	start(w);
	for (int i = 0; i < 2; i++) {
		poll(w, 20);
		fixture_turn(&w->f, w->f.conf.segment_ns);
	}
	for (unsigned nth = 1; sealed_count(w) == 0; nth++) {
		fault_io(nth, 1, EIO);
		assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), -1);
		fault_io(0, 0, 0);
	}
	assert_non_null(strstr(err.text, "000000000001.sj"));
	assert_int_equal(sealed_count(w), 1);

	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), 0);
	assert_int_equal(sealed_count(w), 2);
	assert_all_same(w);
}

static void
without_retention_nothing_is_sealed(void **state)
{
	struct world *w = *state;

	w->f.conf.retention_ns = 0;
	start(w);
	poll(w, 10);
	seal(w);
	assert_int_equal(sealed_count(w), 0);
}

static void
numbers_are_never_used_again(void **state)
{
	struct world *w = *state;
	char name[256];

	start(w);
	poll(w, 10);
	seal(w);
	fixture_close(&w->f);
	fixture_delete(&w->f, ".sj");
	start(w);
	assert_int_equal(fixture_files(&w->f, ".sj", name), 1);
	assert_string_equal(name, "000000000002.sj");
}

/* What is said is true, though it may not be all. */
static void
assert_part_of_whole(struct world *w)
{
	for (size_t e = 0; e < ENDPOINTS; e++) {
		struct str host = gen_host(w->gen, e);
		struct asked part = ask(w->f.store, host, 0), whole = ask(w->whole, host, 0);
		struct record record, other;

		while (next_series(&whole)) {
			assert_true(next_series(&part));
			assert_true(desc_eq(part.desc, whole.desc));
			iter_range(part.iter, 0, INT64_MAX);
			while (iter_read(part.iter, &record, 1) == 1) {
				iter_range(whole.iter, record.ts_ns, record.ts_ns + 1);
				assert_int_equal(iter_read(whole.iter, &other, 1), 1);
				assert_same_record(&record, &other);
			}
		}
		assert_false(next_series(&part));
		iter_free(part.iter);
		iter_free(whole.iter);
	}
}

static void
room_may_be_a_share_of_the_file_system(void **state)
{
	struct world *w = *state;
	struct statvfs fs;
	size_t before;

	assert_int_equal(statvfs(w->f.dir, &fs), 0);
	/* About 20000 bytes. */
	w->f.conf.disk_bytes = 0;
	w->f.conf.disk_percent = 20000.0 * 100 / ((double)fs.f_blocks * (double)fs.f_frsize);
	start(w);
	for (int i = 0; i < 12; i++) {
		poll(w, 20);
		seal(w);
	}
	before = sealed_count(w);
	assert_in_range(before, 2, 10);
	/* The file system shrinks, so to say. */
	w->f.journal->history->conf.disk_percent /= 2;
	seal(w);
	assert_in_range(sealed_count(w), 1, before - 1);
}

/* If it can't be sealed, as the disk is full, it is made less full. */
static void
a_full_disk_costs_what_is_too_much(void **state)
{
	struct world *w = *state;
	struct err err;

	start(w);
	for (int i = 0; i < 6; i++) {
		poll(w, 20);
		seal(w);
	}
	poll(w, 20);
	fixture_turn(&w->f, w->f.conf.segment_ns);
	w->f.journal->history->conf.disk_bytes = 10000;
	fault_io(1, 10, ENOSPC);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), -1);
	assert_int_equal(sealed_count(w), 6);
	fault_io(2, 1, ENOSPC);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), -1);
	fault_io(0, 0, 0);
	assert_in_range(sealed_count(w), 1, 5);
	assert_int_equal(journal_seal(w->f.journal, clock_real_ns(), &err), 0);
	assert_part_of_whole(w);
}

static void
write_sealed(struct world *w, const char *name, const char *bytes, size_t len)
{
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "%s/history/%s", w->f.dir, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static char *
read_sealed(struct world *w, const char *name, size_t *len)
{
	char from[64];

	snprintf(from, sizeof(from), "../history/%s", name);
	return fixture_read(&w->f, from, len);
}

static void
delete_sealed(struct world *w, const char *name)
{
	char path[512];

	snprintf(path, sizeof(path), "%s/history/%s", w->f.dir, name);
	assert_int_equal(unlink(path), 0);
}

static void
delete_aside(struct world *w)
{
	char name[256], path[512];

	while (fixture_files_in(&w->f, "history", "damaged", name) > 0) {
		snprintf(path, sizeof(path), "%s/history/%s", w->f.dir, name);
		assert_int_equal(unlink(path), 0);
	}
}

/* From one damaged byte to the next; each takes a start, whose threads take that sanitizer long. */
#ifdef __SANITIZE_THREAD__
#define STEP 40
#else
#define STEP 5
#endif

static void
a_damaged_file_costs_only_what_is_damaged(void **state)
{
	struct world *w = *state;
	static const char name[] = "000000000001.sh";
	size_t len, set_aside = 0, kept = 0;
	char *bytes;

	start(w);
	poll(w, 12);
	seal(w);
	poll(w, 12);
	seal(w);
	poll(w, 10);
	fixture_close(&w->f);
	bytes = read_sealed(w, name, &len);
	for (size_t at = 0; at < len; at += at < 40 || at + 100 > len ? 1 : STEP) {
		struct journal_check check;
		char dir[128];

		bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
		write_sealed(w, name, bytes, len);
		bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
		snprintf(dir, sizeof(dir), "%s/history", w->f.dir);
		assert_true(journal_check_file(dir, name, &check));
		assert_int_not_equal(check.fault[0], 0);
		start(w);
		assert_part_of_whole(w);
		fixture_close(&w->f);
		/* Or it was left where it is, as the rest is good. */
		if (fixture_files_in(&w->f, "history", "damaged", NULL) > 0)
			set_aside++;
		else
			kept++;
		delete_aside(w);
		fixture_delete(&w->f, "damaged");
	}
	assert_true(set_aside > 0 && kept > 0);
	for (size_t cut = 0; cut < len; cut += 2 * STEP + 1) {
		write_sealed(w, name, bytes, cut);
		start(w);
		assert_part_of_whole(w);
		fixture_close(&w->f);
		assert_int_equal(fixture_files_in(&w->f, "history", "damaged", NULL), 1);
		delete_aside(w);
	}
	write_sealed(w, name, bytes, len);
	start(w);
	assert_all_same(w);
	free(bytes);
}

static void
copy_file(const char *from, const char *to)
{
	char bytes[16384];
	FILE *in = fopen(from, "r"), *out = fopen(to, "w");
	size_t n;

	assert_non_null(in);
	assert_non_null(out);
	n = fread(bytes, 1, sizeof(bytes), in);
	assert_in_range(n, 1, sizeof(bytes) - 1);
	assert_int_equal(fwrite(bytes, 1, n, out), n);
	fclose(in);
	assert_int_equal(fclose(out), 0);
}

/* history_v1.sh: 60 polls of the fleet, made when the format was of version 1. */
static void
files_of_version_1_are_read(void **state)
{
	struct world *w = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/history", w->f.dir);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/history/000000000001.sh", w->f.dir);
	copy_file(TEST_DATA "/history_v1.sh", path);
	for (; w->f.poll_count < 60; w->f.poll_count++) {
		for (size_t e = 0; e < ENDPOINTS; e++) {
			(void)gen_poll(w->f.gen, e, w->f.poll_count);
			append(w->whole, w->gen, e, w->f.poll_count);
		}
	}
	start(w);
	assert_all_same(w);
	/* Until it is only on disk. */
	for (int i = 0; i < 4; i++) {
		poll(w, 70);
		seal(w);
	}
	assert_int_equal(sealed_count(w), 5);
	assert_all_same(w);
}

/* One that has a chunk of its own, or several, among those that share one. */
static void
large_endpoints_have_chunks_of_their_own(void **state)
{
	static const char name[] = "000000000001.sh";
	struct world *w = *state;
	struct journal_check check;
	char dir[128];

	w->f.conf.band_bytes = 0;
	w->f.conf.segment_bytes = 1 << 30;
	start(w);
	poll(w, 4000);
	seal(w);
	snprintf(dir, sizeof(dir), "%s/history", w->f.dir);
	assert_true(journal_check_file(dir, name, &check));
	assert_string_equal(check.fault, "");
	assert_true(check.chunk_count > 2 + ENDPOINTS);
	poll(w, 30);
	assert_same_since(w, 0, INT64_MAX);
}

/* A sealed file of many endpoints that were polled twice each, and of the segment it was. */
static void
small_endpoints_take_little_room(void **state)
{
	struct world *w = *state;
	struct gen_conf conf = { .endpoint_count = 300,
		.metric_count = 10,
		.changed_permille = 300,
		.interval_ns = 10 * NS_PER_S,
		.jitter_ns = NS_PER_S,
		.jitter_unit_ns = NS_PER_MS };
	struct gen *gen = gen_new(&conf);
	size_t journal_bytes, sealed_bytes;
	char name[256];

	assert_non_null(gen);
	w->f.conf.band_bytes = 0;
	w->memory_bytes = 64 << 20;
	start(w);
	for (uint64_t n = 0; n < 2; n++) {
		for (size_t e = 0; e < conf.endpoint_count; e++)
			append(w->f.store, gen, e, n);
		fixture_turn(&w->f, 300 * NS_PER_MS);
	}
	gen_free(gen);
	assert_int_equal(fixture_files(&w->f, ".sj", name), 1);
	free(fixture_read(&w->f, name, &journal_bytes));
	seal(w);
	free(read_sealed(w, "000000000001.sh", &sealed_bytes));
	/* The index has 40 bytes of each. */
	assert_in_range(
	    sealed_bytes, 1, journal_bytes + conf.endpoint_count * 40 + SEALED_OVERHEAD);
}

/* From when on the history of an endpoint from start_ns on is said to be whole; 0: all of it. */
static int64_t
cut_of(struct world *w, size_t endpoint, int64_t start_ns)
{
	struct asked part = ask(w->f.store, gen_host(w->gen, endpoint), start_ns);
	int64_t cut_ns = iter_cut_ns(part.iter);

	iter_free(part.iter);
	return cut_ns;
}

static int64_t newest_ns(struct world *);

/* Memory has then given up all that it had when the iterator reached back to the disk. */
static void
slow_questions_miss_nothing(void **state)
{
	struct world *w = *state;

	start(w);
	for (int i = 0; i < 4; i++) {
		poll(w, 100);
		seal(w);
	}
	poll(w, 33);
	for (size_t e = 0; e < ENDPOINTS; e++) {
		struct str host = gen_host(w->gen, e);
		struct asked part = ask(w->f.store, host, 0), whole = ask(w->whole, host, 0);
		int64_t end_ns = newest_ns(w);

		for (int i = 0; next_series(&whole); i++) {
			assert_true(next_series(&part));
			assert_true(desc_eq(part.desc, whole.desc));
			if (i == 3 || i == 12)
				poll(w, 100);
			assert_same_records(&part, &whole, 0, end_ns);
			if (i == 5)
				poll(w, 100);
			assert_same_times(&part, &whole, 0, end_ns);
		}
		assert_false(next_series(&part));
		assert_int_equal(iter_cut_ns(part.iter), 0);
		iter_free(part.iter);
		iter_free(whole.iter);
	}
}

/* The same, and the disk can't be read by then. */
static void
a_gap_that_cannot_be_closed_is_told(void **state)
{
	struct world *w = *state;
	struct record record;
	struct asked part;

	start(w);
	for (int i = 0; i < 4; i++) {
		poll(w, 100);
		seal(w);
	}
	part = ask(w->f.store, gen_host(w->gen, 0), 0);
	assert_int_equal(iter_cut_ns(part.iter), 0);
	poll(w, 400);
	fixture_delete(&w->f, ".sj");
	assert_true(next_series(&part));
	iter_range(part.iter, 0, INT64_MAX);
	while (iter_read(part.iter, &record, 1) == 1)
		continue;
	assert_true(iter_cut_ns(part.iter) > 0 || iter_failed(part.iter));
	iter_free(part.iter);
}

static int64_t
newest_ns(struct world *w)
{
	struct asked whole = ask(w->whole, gen_host(w->gen, 0), 0);
	struct record record;

	assert_true(next_series(&whole));
	assert_true(iter_latest(whole.iter, &record));
	iter_free(whole.iter);
	return record.ts_ns;
}

static void
what_is_left_out_is_told(void **state)
{
	struct world *w = *state;
	int64_t ends_ns[6], cut_ns;
	char *bytes;
	size_t len;

	w->f.conf.band_bytes = 0;
	start(w);
	for (int i = 0; i < 6; i++) {
		poll(w, 70);
		ends_ns[i] = newest_ns(w) + 10 * NS_PER_S; /* the others come after the first */
		seal(w);
	}
	poll(w, 33);
	assert_all_same(w);
	for (size_t e = 0; e < ENDPOINTS; e++)
		assert_int_equal(cut_of(w, e, 0), 0);
	/* What the chunk of the sets says is wrong: it is met as it is read. */
	bytes = read_sealed(w, "000000000003.sh", &len);
	bytes[len - SEALED_TAIL - 8] ^= 1;
	write_sealed(w, "000000000003.sh", bytes, len);
	free(bytes);
	for (size_t e = 0; e < ENDPOINTS; e++) {
		cut_ns = cut_of(w, e, 0);
		assert_in_range(cut_ns, ends_ns[1], ends_ns[2]);
		assert_same_of(w, e, cut_ns, INT64_MAX);
		assert_int_equal(cut_of(w, e, ends_ns[2]), 0);
	}
	/* It may be gone, like one that was set aside. */
	delete_sealed(w, "000000000003.sh");
	assert_in_range(cut_of(w, 0, 0), ends_ns[1], ends_ns[2]);
	assert_int_equal(cut_of(w, 0, ends_ns[2]), 0);
	assert_same_since(w, ends_ns[2], INT64_MAX);
}

static void
more_than_there_is_room_for_is_told(void **state)
{
	struct world *w = *state;

	w->f.conf.read_bytes = 400 * 1024;
	start(w);
	for (int i = 0; i < 30; i++) {
		poll(w, 400);
		seal(w);
	}
	for (size_t e = 0; e < ENDPOINTS; e++) {
		int64_t cut_ns = cut_of(w, e, 0);

		assert_true(cut_ns > 0);
		assert_same_of(w, e, cut_ns, INT64_MAX);
	}
}

static void
a_damaged_segment_is_sealed_up_to_the_damage(void **state)
{
	struct world *w = *state;
	size_t len;
	char *bytes;

	start(w);
	poll(w, 30);
	fixture_turn(&w->f, w->f.conf.segment_ns);
	bytes = fixture_read(&w->f, "000000000001.sj", &len);
	bytes[len / 2] ^= 4;
	fixture_write(&w->f, "000000000001.sj", bytes, len);
	free(bytes);
	poll(w, 5);
	seal(w);
	assert_int_equal(sealed_count(w), 2);
	assert_int_equal(fixture_files(&w->f, "000000000001.sj.damaged-", NULL), 1);
	assert_part_of_whole(w);
}

static void
a_failing_disk_leaves_the_segment_or_the_sealed_file(void **state)
{
	struct world *w = *state;
	static const int errors[] = { EIO, ENOSPC };

	start(w);
	for (size_t e = 0; e < ARRAY_LEN(errors); e++) {
		for (unsigned nth = 1;; nth++) {
			struct err err;
			bool happened;
			int rc;

			poll(w, 12);
			fixture_turn(&w->f, w->f.conf.segment_ns);
			fault_io(nth, 1, errors[e]);
			rc = journal_seal(w->f.journal, clock_real_ns(), &err);
			happened = fault_io_happened();
			fault_io(0, 0, 0);
			if (nth % 8 == 0)
				assert_all_same(w);
			if (rc != 0)
				assert_int_equal(err.code, ERR_IO);
			if (journal_seal(w->f.journal, clock_real_ns(), &err) != 0)
				fail_msg("%u: %s", nth, err.text);
			assert_int_equal(fixture_files_in(&w->f, "history", ".new", NULL), 0);
			assert_int_equal(fixture_files(&w->f, ".sj", NULL), 1);
			if (!happened)
				break;
		}
	}
	assert_all_same(w);
	fixture_close(&w->f);
	start(w);
	assert_all_same(w);
}

static void
lack_of_memory_is_reported_and_costs_nothing(void **state)
{
	struct world *w = *state;
	struct series_set *set;
	struct err err;
	int rc;

	start(w);
	poll(w, 60);
	fixture_turn(&w->f, w->f.conf.segment_ns);
	for (unsigned nth = 1;; nth++) {
		fault_malloc(nth);
		rc = journal_seal(w->f.journal, clock_real_ns(), &err);
		fault_malloc(0);
		if (rc == 0 && sealed_count(w) == 1)
			break;
		assert_true(rc != 0 && err.code == ERR_NOMEM);
	}
	poll(w, 100);
	set = store_find(w->f.store, gen_host(w->gen, 0), STR("app"));
	for (unsigned nth = 1;; nth++) {
		struct iter *it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);

		assert_non_null(it);
		fault_malloc(nth);
		rc = iter_reach(it, 0, &err);
		fault_malloc(0);
		iter_free(it);
		if (rc == 0 && nth > 500)
			break;
		assert_true(rc == 0 || err.code == ERR_NOMEM);
	}
	series_set_unref(set);
	assert_all_same(w);
}

static void
readers_share_a_bounded_memory(void **state)
{
	struct world *w = *state;
	struct asked asked[8];
	struct series_set *set;
	struct iter *it;
	struct err err;
	size_t n = 0;

	w->f.conf.read_bytes = 16 << 20;
	start(w);
	poll(w, 450);
	seal(w);
	for (; n < 2; n++)
		asked[n] = ask(w->f.store, gen_host(w->gen, 0), 0);
	set = store_find(w->f.store, gen_host(w->gen, 0), STR("app"));
	it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	while (iter_reach(it, 0, &err) == 0) {
		asked[n++].iter = it;
		assert_true(n < ARRAY_LEN(asked));
		it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	}
	assert_int_equal(err.code, ERR_LIMIT);
	iter_free(it);
	series_set_unref(set);
	while (n > 0)
		iter_free(asked[--n].iter);
	assert_all_same(w);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(queries_go_on_where_memory_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    segments_that_are_not_sealed_are_read_too, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restart_changes_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(old_files_go, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_takes_too_much_room_goes_oldest_first, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    how_far_back_the_files_go_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    room_may_be_a_share_of_the_file_system, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_full_disk_costs_what_is_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    one_that_cannot_be_read_does_not_keep_others, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    without_retention_nothing_is_sealed, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_are_never_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_damaged_file_costs_only_what_is_damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(files_of_version_1_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    large_endpoints_have_chunks_of_their_own, setup, teardown),
		cmocka_unit_test_setup_teardown(small_endpoints_take_little_room, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_left_out_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_questions_miss_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_gap_that_cannot_be_closed_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    more_than_there_is_room_for_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_damaged_segment_is_sealed_up_to_the_damage, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_failing_disk_leaves_the_segment_or_the_sealed_file, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    lack_of_memory_is_reported_and_costs_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(readers_share_a_bounded_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
