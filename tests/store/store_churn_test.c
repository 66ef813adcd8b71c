/*
 * Endpoints come and go, with other metrics each time, for many times the memory there is: what the
 * process takes stays within a tenth of the budget.
 */
#include <stdio.h>

#include "store_fixture.h"

#define BUDGET  ((uint64_t)12 << 20)
#define SETS    200
#define METRICS 100
#define ROUNDS  3000

/* Sanitizers keep what was freed, and more. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RESIDENT_COUNTS 0
#else
#define RESIDENT_COUNTS 1
#endif

/*
 * What is in memory but not in a file, counted page by page: the sums in statm are off by up to
 * some hundred KiB on many processors, and how much of the program's file is mapped is chance.
 */
static uint64_t
resident_bytes(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	unsigned long kib = 0;
	char line[256];

	assert_non_null(file);
	while (kib == 0 && fgets(line, sizeof(line), file) != NULL)
		sscanf(line, "Anonymous: %lu kB", &kib);
	fclose(file);
	assert_true(kib > 0);
	return (uint64_t)kib * 1024;
}

/* The metrics of one kind of endpoint: some change always, some are texts, some go now and then. */
static void
put_metrics(struct fixture *f, int64_t kind, int64_t round)
{
	static char paths[METRICS][32], texts[METRICS][24];

	for (int64_t i = 0; i < METRICS; i++) {
		int64_t group = i % (1 + kind % 3);

		if ((i + round / 7) % 50 == 0)
			continue;
		snprintf(paths[i], sizeof(paths[i]), "/kind%d/metric/%d", (int)kind, (int)i);
		snprintf(texts[i], sizeof(texts[i]), "text %d", (int)(noise(round * i) % 5000));
		if (i % 10 == 9)
			put_text(f, paths[i], texts[i], group, round * 100);
		else
			put_i64(f, paths[i], i % 2 == 0 ? noise(round + i) : i, group, round * 100);
	}
}

static void
memory_stays_within_the_budget_over_a_long_churn(void **state)
{
	struct fixture *f;
	struct series_set *sets[SETS] = { NULL };
	uint64_t besides = 0, most = 0; /* besides: what is not the store's */
	struct store_stats stats;
	struct err err;

	(void)state;
	f = fixture_new(BUDGET);
	for (int64_t round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < 20; i++) {
			size_t at = (size_t)(noise(round * 31 + (int64_t)i) >> 5) % SETS;
			char host[32];

			if (sets[at] != NULL && noise(round + (int64_t)at) % 128 == 0) {
				store_forget(f->store, sets[at]);
				series_set_unref(sets[at]);
				sets[at] = NULL;
			}
			snprintf(host, sizeof(host), "host%zu", at);
			if (sets[at] == NULL)
				sets[at] = store_set(f->store, str_of(host), STR("a"), &err);
			assert_non_null(sets[at]);
			if (noise(round * 7 + (int64_t)at) % 64 == 0)
				store_deactivate(sets[at], TS_NONE);
			put_metrics(f, (int64_t)(at + (size_t)round / 500) % 40, round);
			if (append_to(f, sets[at], &err) != 0)
				fail_msg("%s", err.text);
		}
		if (round == 10) {
			store_get_stats(f->store, &stats);
			besides = resident_bytes() - stats.bytes_used;
		}
		if (round > ROUNDS / 4 && round % 50 == 0 && resident_bytes() > most)
			most = resident_bytes();
	}
	store_get_stats(f->store, &stats);
	assert_true(stats.pages_reclaimed > 5000);
	assert_true(stats.bytes_used <= BUDGET && stats.bytes_used > BUDGET / 10 * 9);
	if (RESIDENT_COUNTS && most - besides > BUDGET + BUDGET / 10)
		fail_msg("%lu KiB resident", (unsigned long)((most - besides) / 1024));
	for (size_t i = 0; i < SETS; i++)
		series_set_unref(sets[i]);
	fixture_free(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_stays_within_the_budget_over_a_long_churn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
