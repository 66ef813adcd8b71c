/*
 * Positions of a writer: what it costs to keep them, in batches as a writer commits them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "cpu.h"
#include "messages/batch.h"
#include "state/state.h"

#define SETS    10000
#define STREAMS 3
#define BATCH   1000 /* positions of a transaction */
#define ROUNDS  5    /* over all sets */

static void
die(const struct err *err)
{
	fprintf(stderr, "state_bench: %s\n", err->text);
	exit(1);
}

/* One more value in each of its groups. */
static void
append(struct store *store, struct batch *batch, int set, int64_t round)
{
	static const char *const paths[STREAMS] = { "/a", "/b", "/c" };
	struct append_stats stats;
	struct series_set *series;
	char host[64];
	struct err err;

	/* In an order that is not that of the database's keys, as polls are. */
	snprintf(host, sizeof(host), "web%05d.example.com", set * 7919 % SETS);
	series = store_set(store, str_of(host), STR("health agent"), &err);
	if (series == NULL)
		die(&err);
	batch_reset(batch);
	for (int i = 0; i < STREAMS; i++) {
		struct metric_desc desc = { .path = str_of(paths[i]), .kind = KIND_INT64 };

		if (batch_add(batch, &desc, &(struct value){ .i = round }, i,
		        (1000 + round) * NS_PER_S, &err) != 0)
			die(&err);
	}
	batch_end(batch, 0);
	if (store_append(series, batch, &stats, &err) != 0)
		die(&err);
	series_set_unref(series);
}

struct times {
	int64_t cpu_ns, wall_ns;
	size_t count, batches;
};

static void
save(struct state *state, struct cursor *cursor, struct times *times, size_t n)
{
	int64_t cpu = cpu_ns(), wall = clock_mono_ns();
	struct err err;

	if (state_positions_save(state, "influx", cursor, wall, &err) != 0)
		die(&err);
	times->cpu_ns += cpu_ns() - cpu;
	times->wall_ns += clock_mono_ns() - wall;
	times->count += n;
	times->batches++;
}

static void
run(struct store *store, struct state *state, struct cursor *cursor)
{
	static struct cursor_record records[BATCH];
	struct times times = { 0 };
	struct batch batch;
	size_t n;

	batch_init(&batch, 0);
	for (int64_t round = 0; round < ROUNDS; round++) {
		for (int set = 0; set < SETS; set++)
			append(store, &batch, set, round);
		while ((n = cursor_read(cursor, records, BATCH)) > 0) {
			cursor_commit(cursor);
			save(state, cursor, &times, n); /* one record each: so many positions */
		}
	}
	batch_fini(&batch);
	printf("position_save_cpu %.2f us\n", (double)times.cpu_ns / 1e3 / (double)times.count);
	printf("positions_10000_per_s %.2f %%_of_a_core\n",
	    (double)times.cpu_ns / 1e9 / (double)times.count * 10000 * 100);
	printf("position_save_wall %.2f us\n", (double)times.wall_ns / 1e3 / (double)times.count);
	printf("transaction_of_%d %.2f ms\n", BATCH,
	    (double)times.wall_ns / 1e6 / (double)times.batches);
}

int
main(void)
{
	struct store_conf conf = { .memory_bytes = (uint64_t)512 << 20 };
	char dir[] = "/tmp/scotty-bench-XXXXXX", command[64];
	struct cursor *cursor = NULL;
	struct state *state = NULL;
	struct store *store;
	struct err err;
	int64_t begin;

	store = store_new(&conf, NULL, &err);
	if (store == NULL || mkdtemp(dir) == NULL || (state = state_open(dir, &err)) == NULL ||
	    (cursor = cursor_new(store, "influx", CURSOR_EVERY, &err)) == NULL ||
	    state_positions_load(state, "influx", cursor, &err) != 0)
		die(&err);
	run(store, state, cursor);
	cursor_free(cursor);
	begin = clock_mono_ns();
	cursor = cursor_new(store, "influx", CURSOR_EVERY, &err);
	if (cursor == NULL || state_positions_load(state, "influx", cursor, &err) != 0)
		die(&err);
	printf(
	    "positions_load_%d %.1f ms\n", SETS * STREAMS, (double)(clock_mono_ns() - begin) / 1e6);
	cursor_free(cursor);
	state_close(state);
	store_free(store);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) == 0 ? 0 : 1;
}
