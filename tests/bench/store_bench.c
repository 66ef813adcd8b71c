/*
 * What history costs: bytes of memory per value and series, appends and reads per second, and how
 * long a poller waits while others read. Data: gen_metrics.h, and what scottyd says of itself and
 * of this machine at the moment, or said when it was recorded (-record, -replay).
 *
 * Prints `name value unit`, and what must be reached and is aimed at where there is such a goal.
 * Each section runs in a process of its own, so that none finds memory that another left.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "gen_metrics.h"
#include "record.h"
#include "sources/tricorder_parse_priv.h"
#include "store/rollup.h"

#define MIB         (1024.0 * 1024)
#define INTERVAL_NS (30 * NS_PER_S)
#define METRICS     200
#define HOUR_POLLS  120
#define CHANGED     280 /* permille */
#define ALL         1000
#define RECORDS     256 /* read at once */
#define READERS     3
#define TRIES       15
#define READ_ROUNDS 5

struct options {
	size_t series, polls; /* of the big run; 0 = none */
	size_t copies;        /* endpoints that a replay is given to */
	const char *record, *replay;
	unsigned seconds;
	bool no_layout;
	uint64_t memory_bytes;
	const char *only; /* section; NULL: all */
};

/* What must be reached and what is aimed at; more is better where the aim is the larger. */
static const struct goal {
	const char *name;
	double must, aim;
} goals[] = {
	{ "bytes_per_polled_value", 3, 1.5 },
	{ "bytes_per_changed_counter", 3, 2 },
	{ "bytes_per_changed_float", 4, 3 },
	{ "bytes_per_time_stamp_ms", 2, 1.5 },
	{ "bytes_per_idle_series", 64, 40 },
	{ "append_unchanged", 60, 150 },
	{ "append_changed_counters", 20, 50 },
	{ "append_changed_floats", 20, 50 },
	{ "read_history", 50, 100 },
	{ "path_on_10000_endpoints", 5, 1 },
	{ "hour_of_an_endpoint", 0.5, 0.2 },
	{ "big_rss", 2048, 2048 },
};

__attribute__((noreturn)) static void
die(const char *what)
{
	fprintf(stderr, "store_bench: %s\n", what);
	exit(1);
}

static void
print(const char *name, double value, const char *unit)
{
	const struct goal *goal = NULL;

	for (size_t i = 0; i < ARRAY_LEN(goals); i++) {
		if (strcmp(goals[i].name, name) == 0)
			goal = &goals[i];
	}
	printf("%-32s %10.4g %s", name, value, unit);
	if (goal != NULL) {
		bool more = goal->aim > goal->must;
		bool must = more ? value >= goal->must : value <= goal->must;
		bool aim = more ? value >= goal->aim : value <= goal->aim;

		printf("  (must %g, aim %g: %s)", goal->must, goal->aim,
		    aim    ? "reached"
		    : must ? "must reached"
		           : "MISSED");
	}
	putchar('\n');
}

static double
rss_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long all, resident = 0;

	if (file == NULL || fscanf(file, "%lu %lu", &all, &resident) != 2)
		die("no /proc/self/statm");
	fclose(file);
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

/* A store and what fills it. */
struct fleet {
	struct gen_conf conf;
	struct gen *gen;
	struct store *store;
	struct series_set **sets;
	double rss_before;
	int64_t append_ns;    /* taken by all appends */
	uint64_t added_count; /* by all appends, as store_append counts */
};

static struct store *
open_store(const struct options *options)
{
	struct err err;
	struct store *store =
	    store_new(&(struct store_conf){ .memory_bytes = options->memory_bytes }, NULL, &err);

	if (store == NULL)
		die(err.text);
	return store;
}

static struct fleet
fleet_open(const struct options *options, const struct gen_conf *conf)
{
	struct fleet fleet = { .conf = *conf, .gen = gen_new(conf) };
	struct err err;

	fleet.sets = calloc(conf->endpoint_count, sizeof(*fleet.sets));
	if (fleet.gen == NULL || fleet.sets == NULL)
		die("out of memory");
	gen_poll(fleet.gen, 0, 0);
	fleet.rss_before = rss_bytes();
	fleet.store = open_store(options);
	for (size_t i = 0; i < conf->endpoint_count; i++) {
		fleet.sets[i] = store_set(fleet.store, gen_host(fleet.gen, i), STR("app"), &err);
		if (fleet.sets[i] == NULL)
			die(err.text);
	}
	return fleet;
}

/* Returns how long the append took. */
static int64_t
fleet_poll(struct fleet *fleet, size_t endpoint, uint64_t poll)
{
	const struct batch *batch = gen_poll(fleet->gen, endpoint, poll);
	struct append_stats stats;
	struct err err;
	int64_t start_ns = clock_mono_ns(), took_ns;

	if (store_append(fleet->sets[endpoint], batch, &stats, &err) != 0)
		die(err.text);
	took_ns = clock_mono_ns() - start_ns;
	fleet->append_ns += took_ns;
	fleet->added_count += stats.added;
	return took_ns;
}

/* All endpoints at the polls from..to-1. */
static void
fleet_polls(struct fleet *fleet, uint64_t from, uint64_t to)
{
	for (uint64_t poll = from; poll < to; poll++) {
		for (size_t i = 0; i < fleet->conf.endpoint_count; i++)
			fleet_poll(fleet, i, poll);
	}
}

static struct store_stats
fleet_stats(const struct fleet *fleet)
{
	struct store_stats stats;

	store_get_stats(fleet->store, &stats);
	return stats;
}

static double
fleet_bytes(const struct fleet *fleet)
{
	return (double)fleet_stats(fleet).bytes_used;
}

static double
series_count(const struct fleet *fleet)
{
	return (double)fleet->conf.endpoint_count * (double)fleet->conf.metric_count;
}

/* A fleet as most sections have it, with times of whole milliseconds. */
static struct gen_conf
usual(const struct options *options, size_t endpoints)
{
	return (struct gen_conf){
		.endpoint_count = endpoints,
		.metric_count = METRICS,
		.changed_permille = CHANGED,
		.interval_ns = INTERVAL_NS,
		.jitter_ns = 10 * NS_PER_MS,
		.jitter_unit_ns = NS_PER_MS,
		.no_layout = options->no_layout,
	};
}

/* All values of one endpoint. Returns how many. */
static uint64_t
read_endpoint(struct series_set *set)
{
	struct record records[RECORDS];
	const struct metric_desc *desc;
	struct err err;
	struct iter *it = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	uint64_t count = 0;
	size_t n;

	if (it == NULL)
		die(err.text);
	while (iter_next_series(it, &desc)) {
		iter_range(it, TS_NONE, INT64_MAX);
		while ((n = iter_read(it, records, RECORDS)) > 0)
			count += n;
	}
	iter_free(it);
	return count;
}

/* All values of all endpoints, the best of some rounds. Returns what an endpoint took in it. */
static int64_t
print_reading(const struct fleet *fleet, const char *name)
{
	int64_t best_ns = INT64_MAX;
	uint64_t count = 0;

	for (int round = 0; round < READ_ROUNDS; round++) {
		int64_t start_ns = clock_mono_ns(), took_ns;

		count = 0;
		for (size_t i = 0; i < fleet->conf.endpoint_count; i++)
			count += read_endpoint(fleet->sets[i]);
		took_ns = clock_mono_ns() - start_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	print(name, (double)count * 1e3 / (double)best_ns, "M values/s");
	return best_ns / (int64_t)fleet->conf.endpoint_count;
}

/* One record per poll, to frames of ten polls. */
static void
print_rollup(const struct fleet *fleet)
{
	struct cursor_record records[RECORDS];
	struct err err;
	struct cursor *cursor = cursor_new(fleet->store, "bench", CURSOR_EVERY, &err);
	struct rollup *rollup;
	int64_t start_ns = clock_mono_ns();
	size_t n;

	if (cursor == NULL || (rollup = rollup_new(fleet->store, cursor, 10 * INTERVAL_NS,
	                           ROLLUP_MEAN, &err)) == NULL)
		die(err.text);
	do {
		if (rollup_read(rollup, 0, records, RECORDS, &n, &err) != 0)
			die(err.text);
		rollup_commit(rollup);
	} while (n > 0);
	print("read_rolled_up",
	    series_count(fleet) * HOUR_POLLS * 1e3 / (double)(clock_mono_ns() - start_ns),
	    "M values/s");
	rollup_free(rollup);
}

static void
run_hour(const struct options *options)
{
	struct gen_conf conf = usual(options, 1000);
	struct fleet fleet = fleet_open(options, &conf);
	double values = series_count(&fleet) * HOUR_POLLS;

	fleet_polls(&fleet, 0, HOUR_POLLS);
	print("bytes_per_polled_value", fleet_bytes(&fleet) / values, "B");
	print("rss_per_polled_value", (rss_bytes() - fleet.rss_before) / values, "B");
	print("values_held_per_polled_value", (double)fleet_stats(&fleet).values / values, "");
	print("append_polled", values * 1e3 / (double)fleet.append_ns, "M values/s");
	print("hour_of_an_endpoint", (double)print_reading(&fleet, "read_history") / 1e6, "ms");
	print_rollup(&fleet);
}

/* No distributions, floats and strings. */
static void
run_hour_of_counters(const struct options *options)
{
	struct gen_conf conf = usual(options, 1000);
	struct fleet fleet;

	conf.mix = GEN_COUNTERS;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, HOUR_POLLS);
	print_reading(&fleet, "read_history_counters_only");
}

static void
run_hour_in_ns(const struct options *options)
{
	struct gen_conf conf = usual(options, 1000);
	struct fleet fleet;

	conf.jitter_unit_ns = 1;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, HOUR_POLLS);
	print("bytes_per_polled_value_ns",
	    fleet_bytes(&fleet) / (series_count(&fleet) * HOUR_POLLS), "B");
}

/* The same run with and without changes: what is more is theirs. */
static void
print_changes(const struct options *options, const char *name, enum gen_mix mix)
{
	struct gen_conf conf = usual(options, 100);
	struct fleet with, without;

	conf.mix = mix;
	with = fleet_open(options, &conf);
	fleet_polls(&with, 0, HOUR_POLLS);
	conf.changed_permille = 0;
	without = fleet_open(options, &conf);
	fleet_polls(&without, 0, HOUR_POLLS);
	print(name,
	    (fleet_bytes(&with) - fleet_bytes(&without)) /
	        (double)(with.added_count - without.added_count),
	    "B");
}

static void
run_counters(const struct options *options)
{
	print_changes(options, "bytes_per_changed_counter", GEN_COUNTERS);
}

static void
run_floats(const struct options *options)
{
	print_changes(options, "bytes_per_changed_float", GEN_FLOATS);
}

/* Polls in which nothing changes: all that comes with them is their times. */
static void
print_stamps(const struct options *options, const char *name, int64_t unit_ns)
{
	struct gen_conf conf = usual(options, 1000);
	struct fleet fleet;
	double bytes;

	conf.metric_count = 20;
	conf.changed_permille = 0;
	conf.jitter_unit_ns = unit_ns;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, 2);
	bytes = fleet_bytes(&fleet);
	fleet_polls(&fleet, 2, 2 + 8 * HOUR_POLLS);
	print(name,
	    (fleet_bytes(&fleet) - bytes) / (8.0 * HOUR_POLLS * (double)conf.endpoint_count), "B");
}

static void
run_stamps(const struct options *options)
{
	print_stamps(options, "bytes_per_time_stamp_ms", NS_PER_MS);
	print_stamps(options, "bytes_per_time_stamp_ns", 1);
}

static void
run_idle(const struct options *options)
{
	struct gen_conf conf = usual(options, 1000);
	struct fleet fleet;

	conf.changed_permille = 0;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, 3);
	print("bytes_per_idle_series", fleet_bytes(&fleet) / series_count(&fleet), "B");
	print("rss_per_idle_series", (rss_bytes() - fleet.rss_before) / series_count(&fleet), "B");
}

/* The best of some rounds over all endpoints, after a first one that makes the series. */
static void
print_append(
    const struct options *options, const char *name, enum gen_mix mix, unsigned changed_permille)
{
	struct gen_conf conf = usual(options, 500);
	int64_t best_ns = INT64_MAX;
	struct fleet fleet;

	conf.mix = mix;
	conf.changed_permille = changed_permille;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, 2);
	for (uint64_t poll = 2; poll < 2 + TRIES; poll++) {
		fleet.append_ns = 0;
		fleet_polls(&fleet, poll, poll + 1);
		best_ns = fleet.append_ns < best_ns ? fleet.append_ns : best_ns;
	}
	print(name, series_count(&fleet) * 1e3 / (double)best_ns, "M values/s");
}

static void
run_append(const struct options *options)
{
	print_append(options, "append_unchanged", GEN_MIXED, 0);
	print_append(options, "append_changed_counters", GEN_COUNTERS, ALL);
	print_append(options, "append_changed_floats", GEN_FLOATS, ALL);
}

struct reader {
	pthread_t thread;
	const struct fleet *fleet;
	atomic_bool *stop;
	uint64_t count;
};

static void *
scan(void *arg)
{
	struct reader *reader = arg;

	while (!atomic_load(reader->stop)) {
		for (size_t i = 0; i < reader->fleet->conf.endpoint_count; i++) {
			if (atomic_load(reader->stop))
				break;
			reader->count += read_endpoint(reader->fleet->sets[i]);
		}
	}
	return NULL;
}

static int
ns_cmp(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return x < y ? -1 : x > y;
}

#define ROUND_POLLS 20

/*
 * How long the slowest hundredth of appends took at least, in the best of some rounds: in the
 * others something else wanted the processor. Goes on with the given poll.
 */
static void
print_append_times(struct fleet *fleet, uint64_t poll, const char *name)
{
	size_t len = ROUND_POLLS * fleet->conf.endpoint_count;
	int64_t *times = calloc(len, sizeof(*times)), best_ns = INT64_MAX;

	if (times == NULL)
		die("out of memory");
	for (int round = 0; round < TRIES; round++, poll += ROUND_POLLS) {
		for (size_t i = 0; i < len; i++)
			times[i] = fleet_poll(fleet, i % fleet->conf.endpoint_count,
			    poll + i / fleet->conf.endpoint_count);
		qsort(times, len, sizeof(*times), ns_cmp);
		if (times[len * 99 / 100] < best_ns)
			best_ns = times[len * 99 / 100];
	}
	print(name, (double)best_ns / 1e3, "us");
	free(times);
}

static void
run_readers(const struct options *options)
{
	struct gen_conf conf = usual(options, 200);
	struct fleet fleet = fleet_open(options, &conf);
	struct reader readers[READERS];
	atomic_bool stop = false;
	uint64_t count = 0;
	int64_t start_ns;

	fleet_polls(&fleet, 0, HOUR_POLLS);
	print_append_times(&fleet, HOUR_POLLS, "append_p99_alone");
	start_ns = clock_mono_ns();
	for (size_t i = 0; i < READERS; i++) {
		readers[i] = (struct reader){ .fleet = &fleet, .stop = &stop };
		if (pthread_create(&readers[i].thread, NULL, scan, &readers[i]) != 0)
			die("no thread");
	}
	print_append_times(&fleet, HOUR_POLLS + TRIES * ROUND_POLLS, "append_p99_with_readers");
	atomic_store(&stop, true);
	for (size_t i = 0; i < READERS; i++) {
		pthread_join(readers[i].thread, NULL);
		count += readers[i].count;
	}
	print("read_while_appending", (double)count * 1e3 / (double)(clock_mono_ns() - start_ns),
	    "M values/s");
}

/* Newest values of the path all over the store. Returns how many. */
static size_t
newest_of_path(struct store *store, struct str path)
{
	const struct series_set *set;
	struct record records[64];
	struct fleet_iter *it;
	struct err err;
	size_t n, count = 0;

	it = fleet_iter_new(store, path, ITER_EXACT, &err);
	if (it == NULL)
		die(err.text);
	while ((n = fleet_iter_next(it, &set, records, ARRAY_LEN(records))) > 0)
		count += n;
	fleet_iter_free(it);
	return count;
}

static void
run_path(const struct options *options)
{
	struct gen_conf conf = usual(options, 10000);
	int64_t best_ns = INT64_MAX;
	struct fleet fleet;

	conf.metric_count = 40;
	fleet = fleet_open(options, &conf);
	fleet_polls(&fleet, 0, 3);
	for (int i = 0; i < TRIES; i++) {
		int64_t start_ns = clock_mono_ns(), took_ns;

		if (newest_of_path(fleet.store, gen_path(fleet.gen, 20)) != conf.endpoint_count)
			die("not every endpoint has the path");
		took_ns = clock_mono_ns() - start_ns;
		best_ns = took_ns < best_ns ? took_ns : best_ns;
	}
	print("path_on_10000_endpoints", (double)best_ns / 1e6, "ms");
}

static void
run_big(const struct options *options)
{
	struct gen_conf conf = usual(options, options->series / METRICS);
	struct fleet fleet = fleet_open(options, &conf);
	int64_t start_ns = clock_mono_ns();
	double values = series_count(&fleet) * (double)options->polls;
	struct rusage usage;

	fleet_polls(&fleet, 0, options->polls);
	getrusage(RUSAGE_SELF, &usage);
	print("big_series", series_count(&fleet), "");
	print("big_polled_values", values, "");
	print("big_time", (double)(clock_mono_ns() - start_ns) / 1e9, "s");
	print("big_append", values * 1e3 / (double)fleet.append_ns, "M values/s");
	print("big_bytes_used", fleet_bytes(&fleet) / MIB, "MiB");
	print("big_bytes_per_polled_value", fleet_bytes(&fleet) / values, "B");
	print("big_bytes_per_series", fleet_bytes(&fleet) / series_count(&fleet), "B");
	print("big_reclaimed_pages", (double)fleet_stats(&fleet).pages_reclaimed, "");
	print("big_rss_of_generator", fleet.rss_before / MIB, "MiB");
	print("big_rss", (double)usage.ru_maxrss / 1024, "MiB");
}

/* A recording, given to some endpoints as if each had answered so. */
struct replay {
	struct store *store;
	struct series_set **sets;
	size_t copies;
	uint64_t document_count, value_count, added_count;
	double first_bytes; /* used after the first document */
	int64_t append_ns;
};

static double
replay_bytes(const struct replay *replay)
{
	struct store_stats stats;

	store_get_stats(replay->store, &stats);
	return (double)stats.bytes_used;
}

static void
replay_batch(struct replay *replay, const struct batch *batch)
{
	int64_t start_ns = clock_mono_ns();
	struct append_stats stats;
	struct err err;

	for (size_t i = 0; i < replay->copies; i++) {
		if (store_append(replay->sets[i], batch, &stats, &err) != 0)
			die(err.text);
		replay->added_count += stats.added;
		replay->value_count += batch->len;
	}
	replay->append_ns += clock_mono_ns() - start_ns;
	if (replay->document_count++ == 0)
		replay->first_bytes = replay_bytes(replay);
}

static void
print_replay(const struct replay *replay, double rss_before)
{
	double values = (double)replay->value_count, bytes = replay_bytes(replay);
	struct store_stats stats;

	store_get_stats(replay->store, &stats);
	print("replay_documents", (double)replay->document_count, "");
	print("replay_series_per_endpoint", (double)stats.series / (double)replay->copies, "");
	print("replay_added_per_polled_value", (double)replay->added_count / values, "");
	print("replay_bytes_per_new_series", replay->first_bytes / (double)stats.series, "B");
	print("replay_bytes_per_polled_value", bytes / values, "B");
	print("replay_bytes_per_added_value",
	    (bytes - replay->first_bytes) / (double)(replay->added_count - stats.series), "B");
	print("replay_rss_per_polled_value", (rss_bytes() - rss_before) / values, "B");
	print("replay_append", values * 1e3 / (double)replay->append_ns, "M values/s");
}

static void
run_replay(const struct options *options)
{
	struct replay replay = { .copies = options->copies };
	FILE *file = fopen(options->replay, "r");
	double rss_before = 0;
	struct batch batch;
	struct buf doc;
	struct err err;
	char host[32];

	replay.sets = calloc(replay.copies, sizeof(*replay.sets));
	if (file == NULL || replay.sets == NULL)
		die("no such recording");
	batch_init(&batch, 0);
	buf_init(&doc, 0);
	replay.store = open_store(options);
	for (size_t i = 0; i < replay.copies; i++) {
		snprintf(host, sizeof(host), "machine%05zu", i);
		replay.sets[i] = store_set(replay.store, str_of(host), STR("scotty"), &err);
		if (replay.sets[i] == NULL)
			die(err.text);
	}
	while (record_next(file, &doc)) {
		batch_reset(&batch);
		if (tricorder_parse(doc.p, doc.len, &batch, &err) != 0)
			die(err.text);
		batch_end(&batch, clock_real_ns());
		if (replay.document_count == 0)
			rss_before = rss_bytes();
		replay_batch(&replay, &batch);
	}
	if (replay.document_count == 0)
		die("no documents in the recording");
	print_replay(&replay, rss_before);
	fclose(file);
}

/* What a scottyd says of itself and this machine now. */
static void
run_recorded(const struct options *options)
{
	char file[] = "/tmp/store_bench.XXXXXX";
	struct options replay = *options;
	int fd = mkstemp(file);
	struct err err;

	if (fd < 0)
		die("no temporary file");
	close(fd);
	replay.replay = file;
	if (record_scottyd(file, options->seconds, &err) == 0)
		run_replay(&replay);
	else
		printf("replay: left out, %s\n", err.text);
	unlink(file);
}

static void
in_child(void (*section)(const struct options *), const struct options *options)
{
	pid_t child;
	int status;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		section(options);
		fflush(stdout);
		_exit(0); /* what the store holds goes with the process */
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
		die("a section failed");
}

__attribute__((noreturn)) static void
usage(void)
{
	die("usage: store_bench [-nolayout] [-memory MIB] [-only SECTION]\n"
	    "       store_bench -series N -polls N\n"
	    "       store_bench -record FILE [-seconds N]\n"
	    "       store_bench -replay FILE [-endpoints N]");
}

static size_t
number(const char *text)
{
	uint64_t n = 0;

	if (text == NULL || !str_to_u64(str_of(text), &n) || n == 0 || n > 1000 * 1000 * 1000)
		usage();
	return (size_t)n;
}

static struct options
parse_options(char **argv)
{
	struct options options = {
		.copies = 100, .seconds = 10, .memory_bytes = UINT64_C(8192) << 20
	};

	for (argv++; *argv != NULL; argv++) {
		const char *flag = *argv;

		if (strcmp(flag, "-nolayout") == 0) {
			options.no_layout = true;
			continue;
		}
		if (argv[1] == NULL)
			usage();
		argv++;
		if (strcmp(flag, "-record") == 0)
			options.record = *argv;
		else if (strcmp(flag, "-replay") == 0)
			options.replay = *argv;
		else if (strcmp(flag, "-series") == 0)
			options.series = number(*argv);
		else if (strcmp(flag, "-polls") == 0)
			options.polls = number(*argv);
		else if (strcmp(flag, "-only") == 0)
			options.only = *argv;
		else if (strcmp(flag, "-seconds") == 0)
			options.seconds = (unsigned)number(*argv);
		else if (strcmp(flag, "-endpoints") == 0)
			options.copies = number(*argv);
		else if (strcmp(flag, "-memory") == 0)
			options.memory_bytes = (uint64_t)number(*argv) << 20;
		else
			usage();
	}
	if ((options.polls > 0) != (options.series >= METRICS))
		usage();
	return options;
}

int
main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(const struct options *);
	} sections[] = {
		{ "hour", run_hour },
		{ "hourcounters", run_hour_of_counters },
		{ "hourns", run_hour_in_ns },
		{ "counters", run_counters },
		{ "floats", run_floats },
		{ "stamps", run_stamps },
		{ "idle", run_idle },
		{ "append", run_append },
		{ "readers", run_readers },
		{ "path", run_path },
		{ "recorded", run_recorded },
	};
	struct options options = parse_options(argv);
	struct err err;

	(void)argc;
	if (options.record != NULL) {
		if (record_scottyd(options.record, options.seconds, &err) != 0)
			die(err.text);
	} else if (options.replay != NULL) {
		in_child(run_replay, &options);
	} else if (options.polls > 0) {
		in_child(run_big, &options);
	} else {
		for (size_t i = 0; i < ARRAY_LEN(sections); i++) {
			if (options.only == NULL || strcmp(options.only, sections[i].name) == 0)
				in_child(sections[i].run, &options);
		}
	}
	return 0;
}
