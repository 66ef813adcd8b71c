/*
 * What it costs a writer's cursor to read on disk what memory gave up: endpoints that were polled
 * for some files of history, with memory for the newest values, and with memory for all.
 *
 * Prints `name value unit`. Flags: -endpoints N -metrics N -files N -polls N (in each file).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu.h"
#include "gen_metrics.h"
#include "journal/journal.h"
#include "store/cursor.h"

#define CHUNK 1000
#define AIM   250000.0

struct bench {
	unsigned long endpoints, metrics, files, polls;
	char dir[64];
	struct store *store;
	struct journal *journal;
};

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "follow_bench: %s\n", what);
	exit(1);
}

static void
open_store(struct bench *b, uint64_t memory_bytes)
{
	struct store_conf store_conf = { .memory_bytes = memory_bytes };
	struct journal_conf conf = { .state_dir = b->dir,
		.sync_ns = 3600 * NS_PER_S,
		.segment_ns = 3600 * NS_PER_S,
		.segment_bytes = UINT64_C(1) << 40,
		.retention_ns = 7 * 86400 * NS_PER_S,
		.disk_bytes = UINT64_C(1) << 40,
		.restore_ns = NS_PER_S,
		.waiting_bytes = (size_t)1 << 30,
		.manual = true };
	struct err err;

	strcpy(b->dir, "/tmp/scotty-bench-XXXXXX");
	if (mkdtemp(b->dir) == NULL)
		die("no directory");
	b->store = store_new(&store_conf, NULL, &err);
	b->journal = b->store == NULL ? NULL : journal_new(&conf, NULL, &err);
	if (b->journal == NULL || journal_restore(b->journal, b->store, 0, NULL, NULL, &err) != 0 ||
	    journal_start(b->journal, b->store, &err) != 0)
		die(err.text);
}

static void
close_store(struct bench *b)
{
	char command[128];

	journal_free(b->journal);
	store_free(b->store);
	snprintf(command, sizeof(command), "rm -rf %s", b->dir);
	if (system(command) != 0)
		die("can't clean up");
}

static void
poll_all(struct bench *b, struct gen *gen, uint64_t number)
{
	for (size_t i = 0; i < b->endpoints; i++) {
		struct append_stats stats;
		struct err err;
		struct series_set *set = store_set(b->store, gen_host(gen, i), STR("app"), &err);

		if (set == NULL || store_append(set, gen_poll(gen, i, number), &stats, &err) != 0)
			die(err.text);
		series_set_unref(set);
	}
}

static void
fill(struct bench *b)
{
	struct gen_conf conf = { .endpoint_count = b->endpoints,
		.metric_count = b->metrics,
		.changed_permille = 280,
		.interval_ns = 10 * NS_PER_S,
		.jitter_ns = NS_PER_S,
		.jitter_unit_ns = NS_PER_MS };
	struct gen *gen = gen_new(&conf);
	int64_t mono_ns = clock_mono_ns();
	struct err err;

	if (gen == NULL)
		die("out of memory");
	for (unsigned long n = 0; n < b->files * b->polls; n++) {
		bool is_last = n % b->polls == b->polls - 1;

		poll_all(b, gen, n);
		mono_ns += is_last ? 3600 * NS_PER_S : NS_PER_S / 4;
		journal_turn(b->journal, mono_ns, clock_real_ns());
		if (is_last && journal_seal(b->journal, clock_real_ns(), &err) != 0)
			die(err.text);
	}
	gen_free(gen);
}

/* What is printed: values a second, of the clock and of a processor. */
static void
run(struct bench *b, const char *name, uint64_t memory_bytes)
{
	static struct cursor_record records[CHUNK];
	uint64_t wanted = b->endpoints * b->metrics * b->files * b->polls, count = 0;
	struct cursor *cursor;
	struct err err;
	double begin_cpu, cpu;
	int64_t begin_ns;
	size_t n;

	open_store(b, memory_bytes);
	cursor = cursor_new(b->store, "w", CURSOR_EVERY, &err);
	if (cursor == NULL)
		die(err.text);
	fill(b);
	begin_ns = clock_mono_ns();
	begin_cpu = cpu_s();
	while ((n = cursor_read(cursor, records, CHUNK)) > 0) {
		count += n;
		cursor_commit(cursor);
	}
	cpu = cpu_s() - begin_cpu;
	if (count != wanted || cursor_missed_count(cursor) != 0)
		die("not all was read");
	printf("follow_%s_values %.0f 1/s (aim: %.0f)\n", name,
	    (double)count * 1e9 / (double)(clock_mono_ns() - begin_ns), AIM);
	printf("follow_%s_cpu %.2f s/million\n", name, cpu * 1e6 / (double)count);
	cursor_free(cursor);
	close_store(b);
}

int
main(int argc, char **argv)
{
	struct bench b = { .endpoints = 100, .metrics = 200, .files = 6, .polls = 60 };

	for (int i = 1; i + 1 < argc; i += 2) {
		unsigned long n = strtoul(argv[i + 1], NULL, 10);

		if (strcmp(argv[i], "-endpoints") == 0)
			b.endpoints = n;
		else if (strcmp(argv[i], "-metrics") == 0)
			b.metrics = n;
		else if (strcmp(argv[i], "-files") == 0)
			b.files = n;
		else if (strcmp(argv[i], "-polls") == 0)
			b.polls = n;
		else
			die("no such flag");
	}
	run(&b, "memory", UINT64_C(1) << 32);
	run(&b, "disk", b.endpoints * b.metrics * 100 + (1 << 20));
	return 0;
}
