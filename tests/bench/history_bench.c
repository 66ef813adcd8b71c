/*
 * What history takes on disk: segments of the journal as a fleet's polls fill them, sealed, and one
 * endpoint's past read back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu.h"
#include "gen_metrics.h"
#include "journal/journal.h"
#include "store/iter.h"

/* The journal's thread writes so often. */
#define WRITES_PER_S 4
/* Endpoints whose past is read. */
#define READS 20

struct options {
	int64_t endpoints, metrics, polls, segments, interval_s, permille;
};

struct bench {
	struct options options;
	char dir[32];
	struct store *store;
	struct journal *journal;
	struct gen *gen;
	uint64_t poll;
	int64_t mono_ns;
	uint64_t journal_bytes;
	int64_t seal_cpu_ns;
};

__attribute__((noreturn)) static void
die(const char *what)
{
	fprintf(stderr, "history_bench: %s\n", what);
	exit(1);
}

static uint64_t
file_bytes(const struct bench *b, const char *what, int64_t number)
{
	char path[96];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/%012" PRId64 "%s", b->dir, what, number,
	    what[0] == 'j' ? ".sj" : ".sh");
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

/* Old values go as fast as new ones come, so that most is on disk. */
static void
open_store(struct bench *b)
{
	const struct options *o = &b->options;
	struct store_conf store_conf = {
		.memory_bytes = ((uint64_t)3 << 20) + (uint64_t)(o->endpoints * o->metrics) * 20 +
		                (uint64_t)o->endpoints * 4096,
	};
	struct journal_conf conf = { .state_dir = b->dir,
		.sync_ns = 3600 * NS_PER_S,
		.segment_ns = 3600 * NS_PER_S,
		.segment_bytes = (uint64_t)1 << 40,
		.retention_ns = 7 * 24 * 3600 * NS_PER_S,
		.disk_bytes = (uint64_t)1 << 40,
		.waiting_bytes = (size_t)1 << 30,
		.manual = true };
	struct err err;

	b->store = store_new(&store_conf, NULL, &err);
	b->journal = b->store == NULL ? NULL : journal_new(&conf, NULL, &err);
	if (b->journal == NULL || journal_restore(b->journal, b->store, 0, NULL, NULL, &err) != 0 ||
	    journal_start(b->journal, b->store, &err) != 0)
		die(err.text);
	b->mono_ns = clock_mono_ns();
}

static void
append(struct bench *b, size_t endpoint)
{
	struct append_stats stats;
	struct err err;
	struct series_set *set = store_set(b->store, gen_host(b->gen, endpoint), STR("app"), &err);

	if (set == NULL ||
	    store_append(set, gen_poll(b->gen, endpoint, b->poll), &stats, &err) != 0)
		die(err.text);
	series_set_unref(set);
}

static void
poll_all(struct bench *b)
{
	const struct options *o = &b->options;
	int64_t writes = 0;

	for (int64_t i = 0; i < o->endpoints; i++) {
		append(b, (size_t)i);
		if ((i + 1) * o->interval_s * WRITES_PER_S / o->endpoints > writes) {
			journal_turn(b->journal, b->mono_ns, clock_real_ns());
			writes = (i + 1) * o->interval_s * WRITES_PER_S / o->endpoints;
		}
	}
	b->poll++;
}

static void
fill(struct bench *b)
{
	for (int64_t segment = 1; segment <= b->options.segments; segment++) {
		struct err err;
		int64_t begun_ns;

		for (int64_t i = 0; i < b->options.polls; i++)
			poll_all(b);
		b->mono_ns += 3600 * NS_PER_S;
		journal_turn(b->journal, b->mono_ns, clock_real_ns());
		b->journal_bytes += file_bytes(b, "journal", segment);
		begun_ns = cpu_ns();
		if (journal_seal(b->journal, clock_real_ns(), &err) != 0)
			die(err.text);
		b->seal_cpu_ns += cpu_ns() - begun_ns;
	}
}

/* All of one endpoint's past; the first time it may have to come from the disk. */
static size_t
read_one(struct bench *b, size_t endpoint)
{
	struct series_set *set = store_find(b->store, gen_host(b->gen, endpoint), STR("app"));
	const struct metric_desc *desc;
	struct record records[64];
	size_t count = 0, n;
	struct err err;
	struct iter *it = set == NULL ? NULL : iter_new(set, STR_EMPTY, ITER_UNDER, &err);

	if (it == NULL || iter_reach(it, 0, &err) != 0)
		die(set == NULL ? "a set is gone" : err.text);
	while (iter_next_series(it, &desc)) {
		iter_range(it, 0, INT64_MAX);
		while ((n = iter_read(it, records, ARRAY_LEN(records))) > 0)
			count += n;
	}
	iter_free(it);
	series_set_unref(set);
	return count;
}

static void
report(struct bench *b)
{
	const struct options *o = &b->options;
	uint64_t sealed_bytes = 0;
	struct journal_stats stats;
	double polled = (double)(o->endpoints * o->metrics * o->polls * o->segments);
	size_t count = 0;
	int64_t begun_ns;

	for (int64_t i = 1; i <= o->segments; i++)
		sealed_bytes += file_bytes(b, "history", i);
	journal_get_stats(b->journal, &stats);
	printf("polled %.0f values\n", polled);
	printf("changed %" PRIu64 " values\n", stats.values);
	printf("journal %" PRIu64 " bytes\n", b->journal_bytes);
	printf("sealed %" PRIu64 " bytes\n", sealed_bytes);
	printf("sealed_of_journal %.2f times\n", (double)sealed_bytes / (double)b->journal_bytes);
	printf("journal_per_changed %.2f bytes\n", (double)b->journal_bytes / (double)stats.values);
	printf("sealed_per_changed %.2f bytes\n", (double)sealed_bytes / (double)stats.values);
	printf("sealed_per_polled %.3f bytes\n", (double)sealed_bytes / polled);
	printf("seal_cpu %.2f s\n", (double)b->seal_cpu_ns / 1e9);
	printf("seal_rate %.1f million_changed_per_s\n",
	    (double)stats.values / ((double)b->seal_cpu_ns / 1e9) / 1e6);
	begun_ns = clock_mono_ns();
	for (size_t i = 0; i < READS; i++)
		count += read_one(b, i * 7919 % (size_t)o->endpoints);
	printf("read_one %.2f ms\n", (double)(clock_mono_ns() - begun_ns) / 1e6 / READS);
	printf("read_one %.0f records\n", (double)count / READS);
}

static bool
options_parse(struct options *o, int argc, char **argv)
{
	*o = (struct options){ 1000, 200, 120, 1, 30, 300 };
	for (int i = 1; i + 1 < argc; i += 2) {
		struct str flag = str_of(argv[i]);
		int64_t *number = str_eq(flag, STR("-n"))          ? &o->endpoints
		                  : str_eq(flag, STR("-metrics"))  ? &o->metrics
		                  : str_eq(flag, STR("-polls"))    ? &o->polls
		                  : str_eq(flag, STR("-segments")) ? &o->segments
		                  : str_eq(flag, STR("-interval")) ? &o->interval_s
		                  : str_eq(flag, STR("-permille")) ? &o->permille
		                                                   : NULL;

		if (number == NULL || !str_to_i64(str_of(argv[i + 1]), number) || *number < 1)
			return false;
	}
	return argc % 2 == 1;
}

int
main(int argc, char **argv)
{
	struct bench b = { .dir = "/tmp/scotty-bench-XXXXXX" };
	struct gen_conf conf;
	char command[64];

	if (!options_parse(&b.options, argc, argv)) {
		fputs("usage: history_bench [-n 1000] [-metrics 200] [-polls 120] [-segments 1] "
		      "[-interval 30] [-permille 300]\n"
		      "polls: of a segment; interval: seconds between two\n",
		    stderr);
		return 2;
	}
	conf = (struct gen_conf){ .endpoint_count = (size_t)b.options.endpoints,
		.metric_count = (size_t)b.options.metrics,
		.changed_permille = (unsigned)b.options.permille,
		.interval_ns = b.options.interval_s * NS_PER_S,
		.jitter_ns = 10 * NS_PER_MS,
		.jitter_unit_ns = 1 };
	b.gen = gen_new(&conf);
	if (b.gen == NULL || mkdtemp(b.dir) == NULL)
		die("no memory, or no directory");
	open_store(&b);
	fill(&b);
	report(&b);
	journal_stop(b.journal);
	journal_free(b.journal);
	store_free(b.store);
	gen_free(b.gen);
	snprintf(command, sizeof(command), "rm -r %s", b.dir);
	return system(command) == 0 ? 0 : 1;
}
