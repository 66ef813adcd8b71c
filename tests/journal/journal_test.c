#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "fault.h"
#include "fault_io.h"
#include "journal_fixture.h"

#define TURN_NS (250 * NS_PER_MS)

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	log_set_level(LOG_ERROR + 1);
	fixture_init(f);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	fixture_fini(*state);
	free(*state);
	return 0;
}

static void
poll_and_turn(struct fixture *f, int n)
{
	for (int i = 0; i < n; i++) {
		fixture_poll(f);
		fixture_turn(f, TURN_NS);
	}
}

static struct journal_stats
stats_of(struct fixture *f)
{
	struct journal_stats stats;

	journal_get_stats(f->journal, &stats);
	return stats;
}

static void
what_was_polled_comes_back(void **state)
{
	struct fixture *f = *state;
	struct err err;

	for (int life = 0; life < 4; life++) {
		struct sum sum;

		fixture_start(f);
		poll_and_turn(f, 20);
		fixture_poll(f); /* the stop writes it */
		sum = fixture_sum(f->store);
		fixture_close(f);
		assert_int_equal(fixture_open(f, &err), 0);
		assert_same_sum(fixture_sum(f->store), sum);
		assert_int_equal(fixture_rows(f->store), ENDPOINTS * f->poll_count);
		fixture_close(f);
	}
	assert_int_equal(fixture_files(f, "", NULL), 4);
}

/* The sums after each chunk of one segment, and where each chunk ends. */
struct chunks {
	struct sum sums[16];
	size_t ends[16], len;
	char name[256], *bytes;
};

static void
make_chunks(struct fixture *f, struct chunks *chunks, int polls)
{
	size_t bytes;

	fixture_start(f);
	*chunks = (struct chunks){ .len = 0 };
	for (int i = 0; i <= polls; i++) {
		if (i > 0)
			poll_and_turn(f, 1);
		chunks->sums[chunks->len] = fixture_sum(f->store);
		free(chunks->bytes);
		assert_int_equal(fixture_files(f, ".sj", chunks->name), 1);
		chunks->bytes = fixture_read(f, chunks->name, &bytes);
		chunks->ends[chunks->len++] = bytes;
	}
	fixture_close(f);
}

/* How many chunks lie before the byte; what came back must be those. */
static size_t
chunks_before(const struct chunks *chunks, size_t byte)
{
	size_t n = 0;

	while (n + 1 < chunks->len && chunks->ends[n + 1] <= byte)
		n++;
	return n;
}

static void
check_damaged(struct fixture *f, const struct chunks *chunks, size_t good, size_t aside)
{
	struct err err;

	assert_int_equal(fixture_open(f, &err), 0);
	assert_same_sum(fixture_sum(f->store), chunks->sums[good]);
	assert_int_equal(fixture_files(f, "damaged", NULL), aside);
	fixture_close(f);
	/* It is said once. */
	assert_int_equal(fixture_open(f, &err), 0);
	assert_same_sum(fixture_sum(f->store), chunks->sums[good]);
	assert_int_equal(fixture_files(f, "damaged", NULL), aside);
	fixture_close(f);
	fixture_delete(f, "");
}

static void
a_journal_cut_anywhere_keeps_what_is_before(void **state)
{
	struct fixture *f = *state;
	struct chunks chunks;
	size_t last;

	make_chunks(f, &chunks, 4);
	last = chunks.len - 1;
	for (size_t cut = 0; cut <= chunks.ends[last]; cut++) {
		size_t good = chunks_before(&chunks, cut);

		/* Each byte of the last chunk, and some of the others. */
		if (cut < chunks.ends[last - 1] && cut % 13 != 0)
			continue;
		fixture_write(f, chunks.name, chunks.bytes, cut);
		check_damaged(
		    f, &chunks, cut < chunks.ends[0] ? 0 : good, cut == chunks.ends[good] ? 0 : 1);
	}
	free(chunks.bytes);
}

static void
a_byte_that_is_wrong_costs_what_follows(void **state)
{
	struct fixture *f = *state;
	struct chunks chunks;

	f->conf.restore_threads = 3;
	make_chunks(f, &chunks, 3);
	for (size_t i = 0; i < chunks.ends[chunks.len - 1]; i++) {
		size_t good = i < chunks.ends[0] ? 0 : chunks_before(&chunks, i);

		chunks.bytes[i] = (char)(chunks.bytes[i] ^ (1 << i % 8));
		fixture_write(f, chunks.name, chunks.bytes, chunks.ends[chunks.len - 1]);
		chunks.bytes[i] = (char)(chunks.bytes[i] ^ (1 << i % 8));
		check_damaged(f, &chunks, good, 1);
	}
	free(chunks.bytes);
}

static void
nothing_that_is_set_aside_is_lost(void **state)
{
	struct fixture *f = *state;
	struct chunks chunks;
	size_t len, total;
	char name[256], *aside;
	struct err err;

	make_chunks(f, &chunks, 3);
	total = chunks.ends[chunks.len - 1];
	chunks.bytes[chunks.ends[1] + 20] ^= 1;
	fixture_write(f, chunks.name, chunks.bytes, total);
	assert_int_equal(fixture_open(f, &err), 0);
	assert_int_equal(fixture_files(f, "damaged", name), 1);
	aside = fixture_read(f, name, &len);
	assert_int_equal(len, total - chunks.ends[1]);
	assert_memory_equal(aside, chunks.bytes + chunks.ends[1], len);
	free(aside);
	free(chunks.bytes);
}

static void
damage_in_one_segment_leaves_the_next(void **state)
{
	struct fixture *f = *state;
	char name[256], *bytes;
	struct sum sum;
	size_t len;
	struct err err;

	fixture_start(f);
	poll_and_turn(f, 20);
	assert_int_equal(fixture_files(f, ".sj", name), 1);
	fixture_close(f);
	fixture_start(f);
	poll_and_turn(f, 20);
	sum = fixture_sum(f->store);
	bytes = fixture_read(f, name, &len);
	bytes[len - 600] ^= 1; /* behind the first chunk, which is the largest */
	fixture_write(f, name, bytes, len);
	free(bytes);
	{
		struct store *whole = f->store;

		journal_free(f->journal);
		assert_int_equal(fixture_open(f, &err), 0);
		assert_part_of(f->store, whole);
		assert_true(stats_of(f).missing_rows > 0);
		assert_true(fixture_sum(f->store).records < sum.records);
		/* All of the second, and some of the first. */
		assert_in_range(fixture_rows(f->store), ENDPOINTS * 24, ENDPOINTS * 40 - 1);
		store_free(whole);
	}
}

static void
a_later_version_is_left_alone(void **state)
{
	struct fixture *f = *state;
	char name[256], *bytes;
	uint32_t version = 2, crc;
	size_t len, after;
	struct err err;

	fixture_start(f);
	poll_and_turn(f, 2);
	fixture_close(f);
	fixture_files(f, ".sj", name);
	bytes = fixture_read(f, name, &len);
	memcpy(bytes + 8, &version, 4);
	crc = crc32c(crc32c(0, bytes, 12), bytes + 16, 16);
	memcpy(bytes + 12, &crc, 4);
	fixture_write(f, name, bytes, len);
	free(bytes);
	assert_int_equal(fixture_open(f, &err), -1);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_non_null(strstr(err.text, "newer"));
	bytes = fixture_read(f, name, &after);
	assert_int_equal(after, len);
	free(bytes);
}

static void
segments_end_and_the_oldest_go(void **state)
{
	struct fixture *f = *state;
	struct sum sum;
	struct err err;
	size_t files;

	f->conf.segment_bytes = 4096;
	f->conf.disk_bytes = 20000;
	fixture_start(f);
	poll_and_turn(f, 300);
	files = fixture_files(f, ".sj", NULL);
	assert_in_range(files, 3, 8);
	assert_true(stats_of(f).segments > files);
	sum = fixture_sum(f->store);
	{
		struct store *whole = f->store;

		journal_free(f->journal);
		assert_int_equal(fixture_open(f, &err), 0);
		assert_part_of(f->store, whole);
		assert_true(fixture_sum(f->store).records < sum.records);
		assert_int_equal(stats_of(f).missing_rows, 0);
		store_free(whole);
	}
}

static void
old_segments_stay_on_disk(void **state)
{
	struct fixture *f = *state;
	struct err err;

	for (int life = 0; life < 4; life++) {
		fixture_start(f);
		poll_and_turn(f, 5);
		fixture_close(f);
	}
	/* The first two were last written an hour ago. */
	for (int i = 1; i <= 2; i++) {
		char path[128];
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT },
			{ .tv_sec = time(NULL) - 3600 } };

		snprintf(path, sizeof(path), "%s/journal/%012d.sj", f->dir, i);
		assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	f->conf.restore_ns = 60 * NS_PER_S;
	assert_int_equal(fixture_open(f, &err), 0);
	assert_in_range(fixture_rows(f->store), 10 * ENDPOINTS, 11 * ENDPOINTS);
	fixture_close(f);
	assert_int_equal(fixture_files(f, ".sj", NULL), 4);
	f->conf.restore_ns = 7200 * NS_PER_S;
	assert_int_equal(fixture_open(f, &err), 0);
	assert_int_equal(fixture_rows(f->store), 20 * ENDPOINTS);
}

/* Behind the newest two, as much as may be read. */
static void
no_more_is_read_than_may_be(void **state)
{
	static const struct {
		uint64_t bytes;
		uint64_t lives; /* that come back */
	} rows[] = { { 1, 2 }, { 0, 4 }, { 1 << 30, 4 } };
	struct fixture *f = *state;
	struct err err;

	for (int life = 0; life < 4; life++) {
		fixture_start(f);
		poll_and_turn(f, 5);
		fixture_close(f);
	}
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		f->conf.restore_bytes = rows[i].bytes;
		assert_int_equal(fixture_open(f, &err), 0);
		assert_int_equal(stats_of(f).missing_rows, 0);
		/* Of what is not read, the row before the first is known. */
		assert_in_range(fixture_rows(f->store), 5 * rows[i].lives * ENDPOINTS,
		    (5 * rows[i].lives + 1) * ENDPOINTS);
		fixture_close(f);
	}
}

/* Endpoints that are made, forgotten and made again, in many chunks. */
static void
any_number_of_threads_restores_the_same(void **state)
{
	struct fixture *f = *state;
	struct journal_stats one;
	struct sum sum;
	struct err err;

	f->conf.segment_bytes = 4096;
	fixture_start(f);
	for (int i = 0; i < 40; i++) {
		struct series_set *set = store_find(f->store, gen_host(f->gen, 1), STR("app"));

		if (i % 8 == 7)
			store_forget(f->store, set);
		series_set_unref(set);
		poll_and_turn(f, 5);
	}
	sum = fixture_sum(f->store);
	fixture_close(f);
	f->conf.restore_threads = 1;
	assert_int_equal(fixture_open(f, &err), 0);
	assert_same_sum(fixture_sum(f->store), sum);
	one = stats_of(f);
	fixture_close(f);
	for (unsigned threads = 2; threads < 9; threads++) {
		f->conf.restore_threads = threads;
		assert_int_equal(fixture_open(f, &err), 0);
		assert_same_sum(fixture_sum(f->store), sum);
		assert_int_equal(stats_of(f).restored_rows, one.restored_rows);
		assert_int_equal(stats_of(f).restored_values, one.restored_values);
		assert_int_equal(stats_of(f).lost_restoring_rows, 0);
		fixture_close(f);
	}
}

/* What many endpoints are is told at most once for three times as much that happened. */
static void
a_segment_holds_more_than_what_all_are(void **state)
{
	struct fixture *f = *state;

	f->conf.segment_bytes = 100;
	fixture_start(f);
	poll_and_turn(f, 200);
	/* Else it were 200. */
	assert_in_range(fixture_files(f, ".sj", NULL), 3, 40);
}

/* An endpoint that is polled once. Returns its birth. */
static int64_t
poll_silent(struct fixture *f)
{
	struct append_stats stats;
	struct series_set *set;
	int64_t birth_ns;
	struct err err;

	set = store_set(f->store, STR("silent"), STR("app"), &err);
	assert_non_null(set);
	assert_int_equal(store_append(set, gen_poll(f->gen, 0, 0), &stats, &err), 0);
	birth_ns = series_set_birth_ns(set);
	series_set_unref(set);
	return birth_ns;
}

/* It is there, and the same. */
static void
check_silent(struct fixture *f, int64_t birth_ns)
{
	struct series_set *set = store_find(f->store, STR("silent"), STR("app"));

	assert_non_null(set);
	assert_int_equal(series_set_birth_ns(set), birth_ns);
	series_set_unref(set);
}

/* The first is polled once; then many segments pass, of which two are read. */
static void
who_is_silent_comes_back(void **state)
{
	struct fixture *f = *state;
	int64_t birth_ns;

	f->conf.segment_bytes = 1000;
	f->conf.restore_bytes = 1;
	fixture_start(f);
	birth_ns = poll_silent(f);
	poll_and_turn(f, 600);
	assert_true(fixture_files(f, ".sj", NULL) > 3);
	for (int life = 0; life < 3; life++) {
		fixture_close(f);
		fixture_start(f);
		check_silent(f, birth_ns);
		poll_and_turn(f, 45); /* more than 10 s */
	}
}

/* Processes that die within seconds leave files that don't know of it. */
static void
who_is_silent_comes_back_after_short_lives(void **state)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = time(NULL) + 100 } };
	struct fixture *f = *state;
	int64_t birth_ns;
	char path[128];

	f->conf.restore_bytes = 1;
	fixture_start(f);
	birth_ns = poll_silent(f);
	poll_and_turn(f, 5);
	fixture_close(f);
	/* This one was written for 100 s. */
	snprintf(path, sizeof(path), "%s/journal/%012d.sj", f->dir, 1);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
	for (int life = 0; life < 4; life++) {
		fixture_start(f);
		assert_int_equal(stats_of(f).missing_rows, 0);
		check_silent(f, birth_ns);
		poll_and_turn(f, 2);
		/* Of the others only the last two files come back. */
		assert_in_range(fixture_rows(f->store), 1 + 2 * ENDPOINTS, 1 + 12 * ENDPOINTS);
		fixture_close(f);
	}
}

static void
a_segment_ends_by_its_age(void **state)
{
	struct fixture *f = *state;

	f->conf.segment_ns = 10 * NS_PER_S;
	fixture_start(f);
	for (int i = 0; i < 5; i++) {
		fixture_poll(f);
		fixture_turn(f, 6 * NS_PER_S);
	}
	assert_int_equal(fixture_files(f, ".sj", NULL), 3);
}

static void
what_is_written_is_accepted(void **state)
{
	struct fixture *f = *state;
	uint64_t mark;

	fixture_start(f);
	fixture_poll(f);
	mark = journal_mark(f->journal);
	assert_false(journal_accepted(f->journal, mark));
	assert_false(journal_wait(f->journal, mark, 0));
	fixture_turn(f, TURN_NS);
	assert_true(journal_accepted(f->journal, mark));
	assert_true(journal_wait(f->journal, mark, 0));
	fixture_poll(f);
	assert_false(journal_accepted(f->journal, journal_mark(f->journal)));
}

static void
syncs_come_at_their_time(void **state)
{
	struct fixture *f = *state;

	fixture_start(f);
	for (int i = 0; i < 8; i++) {
		fixture_poll(f);
		fixture_turn(f, TURN_NS);
	}
	assert_int_equal(stats_of(f).syncs, 2);
	fixture_turn(f, 10 * NS_PER_S);
	fixture_turn(f, 10 * NS_PER_S);
	assert_int_equal(stats_of(f).syncs, 2); /* nothing to sync */
}

static void
a_disk_that_fails_costs_what_comes_then(void **state)
{
	struct fixture *f = *state;
	struct journal_stats stats;
	struct store *whole;
	char text[ERR_TEXT_BYTES];
	struct err err;
	uint64_t mark;

	fixture_start(f);
	poll_and_turn(f, 10);
	fixture_poll(f);
	fault_io(1, 1000000, EIO);
	mark = journal_mark(f->journal);
	fixture_turn(f, TURN_NS);
	assert_true(stats_of(f).degraded);
	assert_true(journal_accepted(f->journal, mark));
	journal_last_error(f->journal, text, sizeof(text));
	assert_non_null(strstr(text, "Input/output"));
	poll_and_turn(f, 10);
	assert_true(journal_accepted(f->journal, journal_mark(f->journal)));
	fault_io(0, 0, 0);
	fixture_turn(f, 60 * NS_PER_S);
	stats = stats_of(f);
	assert_false(stats.degraded);
	assert_int_equal(stats.lost_rows, 11 * ENDPOINTS);
	poll_and_turn(f, 10);
	assert_int_equal(stats_of(f).lost_rows, 11 * ENDPOINTS);
	whole = f->store;
	journal_free(f->journal);
	assert_int_equal(fixture_open(f, &err), 0);
	assert_part_of(f->store, whole);
	assert_int_equal(stats_of(f).missing_rows, 11 * ENDPOINTS);
	/* What was before is there, and of the hole what came last. */
	assert_in_range(fixture_rows(f->store), 20 * ENDPOINTS, 22 * ENDPOINTS);
	assert_int_equal(fixture_files(f, "damaged", NULL), 0);
	store_free(whole);
}

static void
a_buffer_that_is_full_costs_some_endpoints(void **state)
{
	struct fixture *f = *state;
	struct store *whole;
	struct err err;

	f->conf.waiting_bytes = 3000;
	fixture_start(f);
	poll_and_turn(f, 5);
	for (int i = 0; i < 60; i++)
		fixture_poll(f);
	assert_true(stats_of(f).lost_rows > 0);
	fixture_turn(f, TURN_NS);
	assert_false(stats_of(f).degraded);
	poll_and_turn(f, 5);
	whole = f->store;
	journal_free(f->journal);
	assert_int_equal(fixture_open(f, &err), 0);
	assert_part_of(f->store, whole);
	assert_true(stats_of(f).missing_rows > 0);
	store_free(whole);
}

/* A short life in which segments end, and the disk gets well again. */
static void
short_life(struct fixture *f)
{
	poll_and_turn(f, 6);
	fixture_turn(f, 2 * NS_PER_S);
	poll_and_turn(f, 6);
	for (int i = 0; i < 6; i++)
		fixture_turn(f, 20 * NS_PER_S);
	poll_and_turn(f, 3);
}

static void
any_call_may_fail(void **state)
{
	static const struct {
		int errnum;
		unsigned count;
	} ways[] = { { EIO, 1 }, { ENOSPC, 1 }, { EIO, 4 }, { ENOSPC, 1000 } };

	(void)state;
	for (size_t way = 0; way < ARRAY_LEN(ways); way++) {
		bool failed = true;

		for (unsigned nth = 1; failed; nth++) {
			struct fixture f;
			struct store *whole;
			struct err err;

			fixture_init(&f);
			f.conf.segment_bytes = 1200;
			fault_io(nth, ways[way].count, ways[way].errnum);
			fixture_start(&f);
			short_life(&f);
			failed = fault_io_happened();
			fault_io(0, 0, 0);
			fixture_turn(&f, 60 * NS_PER_S);
			assert_false(stats_of(&f).degraded);
			poll_and_turn(&f, 1);
			whole = f.store;
			journal_free(f.journal);
			assert_int_equal(fixture_open(&f, &err), 0);
			assert_part_of(f.store, whole);
			/* All is known up to the last poll. */
			assert_int_equal(fixture_rows(f.store) >= ENDPOINTS &&
			                     stats_of(&f).lost_restoring_rows == 0,
			    1);
			for (size_t i = 0; i < ENDPOINTS; i++) {
				struct series_set *set =
				    store_find(f.store, gen_host(f.gen, i), STR("app"));
				struct iter *iter;
				const struct metric_desc *desc;
				struct record record;

				assert_non_null(set);
				iter = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
				assert_true(iter_next_series(iter, &desc));
				assert_true(iter_latest(iter, &record));
				assert_int_equal(record.ts_ns / NS_PER_S,
				    gen_poll(f.gen, i, f.poll_count - 1)->ts[0] / NS_PER_S);
				iter_free(iter);
				series_set_unref(set);
			}
			store_free(whole);
			fixture_fini(&f);
		}
	}
}

/* Recovery too: what fails costs what it must, and the next one finds all of it. */
static void
recovery_may_fail(void **state)
{
	struct fixture *f = *state;
	bool failed = true;
	char name[256], *bytes;
	size_t len;
	struct sum good;
	struct err err;

	fixture_start(f);
	poll_and_turn(f, 5);
	fixture_close(f);
	fixture_files(f, ".sj", name);
	bytes = fixture_read(f, name, &len);
	fixture_write(f, name, bytes, len - 5);
	assert_int_equal(fixture_open(f, &err), 0);
	good = fixture_sum(f->store);
	fixture_close(f);
	for (unsigned nth = 1; failed; nth++) {
		fixture_delete(f, "");
		fixture_write(f, name, bytes, len - 5);
		fault_io(nth, 1, EIO);
		assert_int_equal(fixture_open(f, &err), 0);
		failed = fault_io_happened();
		fault_io(0, 0, 0);
		fixture_close(f);
		assert_int_equal(fixture_open(f, &err), 0);
		assert_same_sum(fixture_sum(f->store), good);
		fixture_close(f);
	}
	free(bytes);
}

static void
memory_may_fail(void **state)
{
	struct fixture *f = *state;
	bool failed = true;
	struct err err;

	fixture_start(f);
	poll_and_turn(f, 5);
	fixture_close(f);
	for (unsigned nth = 1; failed; nth += nth < 100 ? 1 : 13) {
		struct store_conf conf = { .memory_bytes = 64 << 20 };

		f->store = store_new(&conf, NULL, &err);
		assert_non_null(f->store);
		fault_malloc(nth);
		f->journal = journal_new(&f->conf, NULL, &err);
		if (f->journal != NULL &&
		    journal_restore(f->journal, f->store, UINT64_MAX, NULL, NULL, &err) == 0)
			(void)journal_start(f->journal, f->store, &err);
		failed = fault_happened();
		fault_malloc(0);
		fixture_close(f);
	}
}

static void
without_a_directory_polling_goes_on(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s/absent", f->dir);
	f->conf.state_dir = path;
	fixture_start(f);
	poll_and_turn(f, 3);
	assert_true(stats_of(f).degraded);
	assert_int_equal(mkdir(path, 0700), 0);
	fixture_turn(f, 60 * NS_PER_S);
	assert_false(stats_of(f).degraded);
	fixture_poll(f);
	fixture_close(f);
	f->conf.state_dir = f->dir;
	{
		char command[300];

		snprintf(command, sizeof(command), "rm -r '%s'", path);
		assert_int_equal(system(command), 0);
	}
}

static void
a_directory_that_was_deleted_is_made_anew(void **state)
{
	struct fixture *f = *state;
	char command[128];

	fixture_start(f);
	poll_and_turn(f, 3);
	fixture_delete(f, "");
	snprintf(command, sizeof(command), "rmdir %s/journal", f->dir);
	assert_int_equal(system(command), 0);
	fixture_turn(f, 2 * f->conf.segment_ns); /* the next segment can't be made there */
	fixture_turn(f, 60 * NS_PER_S);
	assert_false(stats_of(f).degraded);
	poll_and_turn(f, 3);
	assert_int_equal(fixture_files(f, ".sj", NULL), 1);
	fixture_close(f);
	fixture_start(f);
	assert_in_range(fixture_rows(f->store), 3 * ENDPOINTS, 6 * ENDPOINTS);
}

static bool
always(void *ctx)
{
	(void)ctx;
	return true;
}

static void
restoring_ends_early_when_asked(void **state)
{
	struct fixture *f = *state;
	struct store_conf conf = { .memory_bytes = 64 << 20 };
	struct err err;

	fixture_start(f);
	poll_and_turn(f, 5);
	fixture_close(f);
	f->store = store_new(&conf, NULL, &err);
	f->journal = journal_new(&f->conf, NULL, &err);
	assert_int_equal(journal_restore(f->journal, f->store, UINT64_MAX, always, NULL, &err), 0);
	assert_int_equal(fixture_rows(f->store), ENDPOINTS);
}

static void
files_are_checked(void **state)
{
	struct fixture *f = *state;
	struct journal_check check;
	char name[256], path[128], *bytes;
	size_t len;

	fixture_start(f);
	poll_and_turn(f, 3);
	fixture_close(f);
	snprintf(path, sizeof(path), "%s/journal", f->dir);
	fixture_files(f, ".sj", name);
	assert_false(journal_check_file(path, "000000000001.sj.damaged-x", &check));
	assert_true(journal_check_file(path, name, &check));
	assert_string_equal(check.fault, "");
	assert_int_equal(check.chunk_count, 3);
	assert_int_equal(check.good_bytes, check.bytes);
	bytes = fixture_read(f, name, &len);
	bytes[len - 1] ^= 1;
	fixture_write(f, name, bytes, len);
	free(bytes);
	assert_true(journal_check_file(path, name, &check));
	assert_non_null(strstr(check.fault, "checksum"));
	assert_int_equal(check.chunk_count, 2);
	assert_true(check.good_bytes < check.bytes);
}

/* With its thread, and several that append. */
#define APPENDERS 3
#define APPENDS   400

struct appender {
	pthread_t thread;
	struct fixture *f;
	int number;
};

static void *
append_many(void *arg)
{
	struct appender *a = arg;
	struct gen_conf conf = { .endpoint_count = 1,
		.metric_count = 40,
		.changed_permille = 300,
		.interval_ns = 10 * NS_PER_S,
		.jitter_ns = NS_PER_S,
		.jitter_unit_ns = NS_PER_MS };
	struct gen *gen = gen_new(&conf);
	char host[16];
	struct err err;
	struct series_set *set;

	snprintf(host, sizeof(host), "host%d", a->number);
	set = store_set(a->f->store, str_of(host), STR("app"), &err);
	for (uint64_t i = 0; i < APPENDS; i++) {
		struct append_stats stats;

		if (store_append(set, gen_poll(gen, 0, i), &stats, &err) != 0)
			abort();
	}
	series_set_unref(set);
	gen_free(gen);
	return NULL;
}

static void
threads_append_while_it_writes(void **state)
{
	struct fixture *f = *state;
	struct appender appenders[APPENDERS];
	struct sum sum;
	struct err err;

	f->conf.manual = false;
	f->conf.restore_threads = 3;
	f->conf.segment_bytes = 20000;
	f->conf.sync_ns = 0;
	fixture_start(f);
	for (int i = 0; i < APPENDERS; i++) {
		appenders[i] = (struct appender){ .f = f, .number = i };
		assert_int_equal(
		    pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_true(journal_wait(
		    f->journal, journal_mark(f->journal), clock_mono_ns() + 20 * NS_PER_S));
	for (int i = 0; i < APPENDERS; i++)
		pthread_join(appenders[i].thread, NULL);
	sum = fixture_sum(f->store);
	fixture_close(f);
	assert_int_equal(fixture_open(f, &err), 0);
	assert_same_sum(fixture_sum(f->store), sum);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_was_polled_comes_back),
		TEST(a_journal_cut_anywhere_keeps_what_is_before),
		TEST(a_byte_that_is_wrong_costs_what_follows),
		TEST(nothing_that_is_set_aside_is_lost),
		TEST(damage_in_one_segment_leaves_the_next),
		TEST(a_later_version_is_left_alone),
		TEST(segments_end_and_the_oldest_go),
		TEST(old_segments_stay_on_disk),
		TEST(no_more_is_read_than_may_be),
		TEST(any_number_of_threads_restores_the_same),
		TEST(who_is_silent_comes_back),
		TEST(who_is_silent_comes_back_after_short_lives),
		TEST(a_segment_ends_by_its_age),
		TEST(a_segment_holds_more_than_what_all_are),
		TEST(what_is_written_is_accepted),
		TEST(syncs_come_at_their_time),
		TEST(a_disk_that_fails_costs_what_comes_then),
		TEST(a_buffer_that_is_full_costs_some_endpoints),
		TEST(any_call_may_fail),
		TEST(recovery_may_fail),
		TEST(memory_may_fail),
		TEST(without_a_directory_polling_goes_on),
		TEST(a_directory_that_was_deleted_is_made_anew),
		TEST(restoring_ends_early_when_asked),
		TEST(files_are_checked),
		TEST(threads_append_while_it_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
