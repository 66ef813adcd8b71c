/*
 * journal_gen - the state directory of a scottyd that polled a fleet for a while, made without
 * polling: gen_metrics.h's endpoints, up to now.
 *
 * It prints how many values were polled and changed, and what the store took.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/conf.h"
#include "gen_metrics.h"
#include "journal/journal.h"

#define INTERVAL_NS (30 * NS_PER_S)

struct options {
	int64_t endpoints, metrics, polls, segment_bytes;
	const char *state_dir;
};

__attribute__((noreturn)) static void
die(const char *what)
{
	fprintf(stderr, "journal_gen: %s\n", what);
	exit(1);
}

/* ts has room for a time of each metric. */
static void
append(struct store *store, struct gen *gen, size_t endpoint, uint64_t poll, int64_t shift_ns,
    int64_t *ts)
{
	struct batch batch = *gen_poll(gen, endpoint, poll); /* lent, but for its times */
	struct append_stats stats;
	struct series_set *set;
	struct err err;

	for (size_t i = 0; i < batch.len; i++)
		ts[i] = batch.ts[i] + shift_ns;
	batch.ts = ts;
	set = store_set(store, gen_host(gen, endpoint), STR("app"), &err);
	if (set == NULL || store_append(set, &batch, &stats, &err) != 0)
		die(err.text);
	series_set_unref(set);
}

/* How much later than the generator's the times are to be, so that they end now. */
static int64_t
shift_of(const struct gen_conf *conf, int64_t polls)
{
	struct gen *gen = gen_new(conf);
	int64_t first_ns;

	if (gen == NULL)
		die("out of memory");
	first_ns = gen_poll(gen, 0, 0)->ts[0];
	gen_free(gen);
	return clock_real_ns() - polls * INTERVAL_NS - first_ns;
}

static void
generate(const struct options *options, struct store *store, struct journal *journal)
{
	struct gen_conf conf = { .endpoint_count = (size_t)options->endpoints,
		.metric_count = (size_t)options->metrics,
		.changed_permille = 300,
		.interval_ns = INTERVAL_NS,
		.jitter_ns = 10 * NS_PER_MS,
		.jitter_unit_ns = 1 };
	int64_t shift_ns = shift_of(&conf, options->polls);
	int64_t *ts = calloc(conf.metric_count, sizeof(*ts));
	struct gen *gen = gen_new(&conf);

	if (gen == NULL || ts == NULL)
		die("out of memory");
	for (uint64_t poll = 0; poll < (uint64_t)options->polls; poll++) {
		for (size_t i = 0; i < conf.endpoint_count; i++)
			append(store, gen, i, poll, shift_ns, ts);
		/* As its thread would, before too much waits. */
		journal_turn(journal, clock_mono_ns(), clock_real_ns());
	}
	gen_free(gen);
	free(ts);
}

static bool
options_parse(struct options *options, int argc, char **argv)
{
	*options = (struct options){
		.endpoints = 1000, .metrics = 200, .polls = 120, .segment_bytes = 16 << 20
	};
	if (argc < 2)
		return false;
	options->state_dir = argv[1];
	for (int i = 2; i < argc; i++) {
		struct str flag = str_of(argv[i]);
		int64_t *number = str_eq(flag, STR("-n"))         ? &options->endpoints
		                  : str_eq(flag, STR("-metrics")) ? &options->metrics
		                  : str_eq(flag, STR("-polls"))   ? &options->polls
		                  : str_eq(flag, STR("-segment")) ? &options->segment_bytes
		                                                  : NULL;

		if (number == NULL || !str_to_i64(str_of(argv[++i]), number) || *number < 1)
			return false;
	}
	return true;
}

int
main(int argc, char **argv)
{
	struct store_conf store_conf = { .memory_bytes = (uint64_t)8 << 30 };
	struct journal_conf conf = { .sync_ns = 3600 * NS_PER_S,
		.segment_ns = 3600 * NS_PER_S,
		.retention_ns = 7 * 24 * 3600 * NS_PER_S,
		.disk_bytes = (uint64_t)64 << 30,
		.waiting_bytes = (size_t)1 << 30,
		.manual = true };
	struct journal_stats journal_stats;
	struct store_stats store_stats;
	struct options options;
	struct journal *journal;
	struct store *store;
	struct err err;

	if (!options_parse(&options, argc, argv)) {
		fputs("usage: journal_gen DIR [-n 1000] [-metrics 200] [-polls 120] "
		      "[-segment 16777216]\n",
		    stderr);
		return 2;
	}
	conf.state_dir = options.state_dir;
	conf.segment_bytes = (uint64_t)options.segment_bytes;
	store = store_new(&store_conf, NULL, &err);
	journal = store == NULL ? NULL : journal_new(&conf, NULL, &err);
	if (journal == NULL || journal_restore(journal, store, 0, NULL, NULL, &err) != 0 ||
	    journal_start(journal, store, &err) != 0)
		die(err.text);
	generate(&options, store, journal);
	/* All but the last file. */
	if (journal_seal(journal, clock_real_ns(), &err) != 0)
		die(err.text);
	journal_stop(journal);
	journal_get_stats(journal, &journal_stats);
	store_get_stats(store, &store_stats);
	printf("polled=%" PRId64 " values=%" PRIu64 " lost=%" PRIu64 " bytes=%" PRIu64
	       " memory=%" PRIu64 "\n",
	    options.endpoints * options.metrics * options.polls, journal_stats.values,
	    journal_stats.lost_rows, journal_stats.bytes, (uint64_t)store_stats.bytes_used);
	journal_free(journal);
	store_free(store);
	return 0;
}
