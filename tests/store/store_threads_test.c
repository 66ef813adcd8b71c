/*
 * Many threads on one store that is so small that they reclaim each other's pages all the time:
 * one appender per set, readers, a cursor each of both modes. Meant for ThreadSanitizer. cmocka's
 * assertions are for the main thread only.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "store_fixture.h"

#define APPENDERS   3
#define READERS     2
#define METRICS     20 /* fewer than a reader copies at once */
#define POLLS       3000
#define SMALL_BYTES (512 * 1024) /* readers hold on to the strings of a window */

struct shared {
	struct store *store;
	atomic_int appenders_left;
	_Atomic uint64_t appended;
};

struct reader {
	struct shared *shared;
	struct cursor *cursor;
	uint64_t delivered;
};

struct appender {
	struct shared *shared;
	struct str host;
};

static char paths[METRICS][16];

/* Every metric of a poll has the poll's number, as a number or in letters. */
static void
fill_batch(struct batch *batch, int64_t poll)
{
	char *text = arena_alloc(&batch->arena, 24);
	struct err err;

	snprintf(text, 24, "%ld", (long)poll);
	for (size_t i = 0; i < METRICS; i++) {
		struct metric_desc desc = { .path = str_of(paths[i]),
			.kind = i % 2 == 0 ? KIND_INT64 : KIND_STRING };
		struct value value = { .i = poll };

		if (desc.kind == KIND_STRING)
			value.s = str_of(text);
		assert(batch_add(batch, &desc, &value, (int64_t)i % 3, AT(poll), &err) == 0);
	}
	batch_end(batch, 0);
}

static void *
append_thread(void *arg)
{
	const struct appender *appender = arg;
	struct shared *shared = appender->shared;
	struct append_stats stats;
	struct series_set *set;
	struct batch batch;
	struct err err;

	batch_init(&batch, 0);
	set = store_set(shared->store, appender->host, STR("app"), &err);
	assert(set != NULL);
	for (int64_t poll = 0; poll < POLLS; poll++) {
		if (poll == POLLS / 2) {
			store_forget(shared->store, set);
			series_set_unref(set);
			set = store_set(shared->store, appender->host, STR("app"), &err);
			assert(set != NULL);
		}
		batch_reset(&batch);
		batch_set_unordered(&batch);
		fill_batch(&batch, poll);
		assert(store_append(set, &batch, &stats, &err) == 0);
		assert(stats.added == METRICS);
		shared->appended += METRICS;
	}
	assert(store_deactivate(set, AT(POLLS)) == METRICS);
	shared->appended += METRICS;
	series_set_unref(set);
	batch_fini(&batch);
	shared->appenders_left--;
	return NULL;
}

static int64_t
number_of(const struct record *record)
{
	int64_t number = -1;

	if (record->desc->kind == KIND_INT64)
		return record->value.i;
	str_to_i64(record->value.s, &number);
	return number;
}

/* A poll is seen whole or not at all. */
static void
read_latest(struct series_set *set)
{
	struct record records[METRICS];
	struct err err;
	struct iter *it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	size_t n = iter_latest_many(it, records, METRICS);

	assert(n == 0 || n == METRICS);
	for (size_t i = 0; i < n; i++) {
		assert(number_of(&records[i]) == number_of(&records[0]));
		assert(records[i].ts_ns == records[0].ts_ns);
	}
	iter_free(it);
}

/* All series change with each poll, so a value is that of its time. */
static void
check_record(const struct record *record)
{
	assert(!record->active || record->ts_ns == AT(number_of(record)));
}

static void
read_ranges(struct series_set *set)
{
	const struct metric_desc *desc;
	struct record records[64];
	struct err err;
	struct iter *it = iter_new(set, STR("/m"), ITER_UNDER, &err);
	size_t n;

	while (iter_next_series(it, &desc)) {
		int64_t before_ns = INT64_MAX;

		iter_range(it, TS_NONE, INT64_MAX);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0) {
			for (size_t i = 0; i < n; i++) {
				assert(records[i].ts_ns < before_ns);
				before_ns = records[i].ts_ns;
				check_record(&records[i]);
			}
		}
		iter_earliest(it);
	}
	iter_free(it);
}

static void *
read_thread(void *arg)
{
	struct shared *shared = arg;
	struct store_stats stats;
	struct series_set *const *sets;
	struct err err;
	size_t n;

	while (shared->appenders_left > 0) {
		assert(sets_snapshot(shared->store, &sets, &n, &err) == 0);
		for (size_t i = 0; i < n; i++) {
			read_latest(sets[i]);
			read_ranges(sets[i]);
			series_set_active_count(sets[i]);
		}
		sets_free(sets, n);
		store_get_stats(shared->store, &stats);
		assert(stats.bytes_used <= stats.bytes_limit);
	}
	return NULL;
}

static int
restore_guest(void *guest, struct cursor_position *pos, struct err *err)
{
	assert(cursor_restore(guest, pos, err) == 0 || err->code == ERR_NOTFOUND);
	return 0;
}

static void *
cursor_thread(void *arg)
{
	struct reader *reader = arg;
	struct shared *shared = reader->shared;
	struct cursor_record records[200];
	struct cursor *guest;
	uint64_t rounds = 0;
	struct err err;
	bool last;
	size_t n;

	cursor_keep(reader->cursor);
	do {
		last = shared->appenders_left == 0;
		while ((n = cursor_read(reader->cursor, records, ARRAY_LEN(records))) > 0) {
			for (size_t i = 0; i < n; i++)
				check_record(&records[i].record);
			if (++rounds % 7 == 0) {
				cursor_rewind(reader->cursor);
				continue;
			}
			cursor_commit(reader->cursor);
			for (size_t i = 0; i < n; i++)
				reader->delivered += !records[i].is_base;
		}
		/* Coming and going does no harm either, nor to go on where another is. */
		guest = cursor_new(shared->store, "guest", CURSOR_EVERY, &err);
		if (guest != NULL)
			cursor_save(reader->cursor, restore_guest, guest, &err);
		cursor_saved(reader->cursor);
		cursor_free(guest);
	} while (!last);
	return NULL;
}

static void
threads_share_a_store_that_is_too_small(void **state)
{
	static const struct str hosts[APPENDERS] = { { "a", 1 }, { "b", 1 }, { "c", 1 } };
	struct store_conf conf = { .memory_bytes = SMALL_BYTES };
	struct appender appenders[APPENDERS];
	struct shared shared = { .appenders_left = APPENDERS };
	struct reader readers[2];
	pthread_t threads[APPENDERS + READERS + 2];
	struct store_stats stats;
	struct err err;
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < METRICS; i++)
		snprintf(paths[i], sizeof(paths[i]), "/m/%02zu", i);
	shared.store = store_new(&conf, NULL, &err);
	assert_non_null(shared.store);
	for (size_t i = 0; i < 2; i++) {
		readers[i] = (struct reader){ .shared = &shared };
		readers[i].cursor = cursor_new(shared.store, i == 0 ? "every" : "changes",
		    i == 0 ? CURSOR_EVERY : CURSOR_CHANGES, &err);
		assert_non_null(readers[i].cursor);
		assert_int_equal(
		    pthread_create(&threads[n++], NULL, cursor_thread, &readers[i]), 0);
	}
	for (size_t i = 0; i < APPENDERS; i++) {
		appenders[i] = (struct appender){ &shared, hosts[i] };
		assert_int_equal(
		    pthread_create(&threads[n++], NULL, append_thread, &appenders[i]), 0);
	}
	for (size_t i = 0; i < READERS; i++)
		assert_int_equal(pthread_create(&threads[n++], NULL, read_thread, &shared), 0);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	store_get_stats(shared.store, &stats);
	assert_true(stats.pages_reclaimed > 0);
	for (size_t i = 0; i < 2; i++) {
		uint64_t missed = cursor_missed_count(readers[i].cursor);

		assert_int_equal(readers[i].delivered + missed, shared.appended);
		cursor_free(readers[i].cursor);
	}
	store_free(shared.store);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_a_store_that_is_too_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
