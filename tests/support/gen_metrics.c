#include "gen_metrics.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

#define BASE_NS    (1700000000 * NS_PER_S)
#define PATH_BYTES 48
#define HOST_BYTES 32
/* How many metrics lie in one directory. */
#define PART_LEN 50
#define BUCKETS  20
/* Numbers of layouts begin far from those that sources give. */
#define FIRST_LAYOUT (UINT64_C(1) << 63)

enum slot {
	COUNTER = 'c',
	FLOAT = 'f',
	STRING = 's',
	INT = 'i',
	TIME = 't',
	DURATION = 'u',
	DIST = 'd'
};

/* What stands where, over and over. */
static const char *const mixes[] = {
	[GEN_MIXED] = "ccfcccfcsccfcctcfcidccfcccfcsccfccucfcid",
	[GEN_COUNTERS] = "c",
	[GEN_FLOATS] = "f",
};

/* What is to be told from poll to poll of one distribution. */
struct spread {
	uint64_t cents; /* of the sum */
	uint32_t counts[BUCKETS];
};

/*
 * Descriptions twice over, as answers of successive polls share no memory either; only the metrics'
 * positions are the same.
 */
struct gen {
	struct gen_conf conf;
	uint64_t changed_odds; /* of 2^32, for those that change at all */
	enum slot *slots;      /* of the metrics */
	struct metric_desc *descs[2];
	char (*paths[2])[PATH_BYTES];
	double limits[BUCKETS - 1];
	uint64_t *states;       /* of each endpoint, each metric: the number as it is */
	struct spread *spreads; /* of each endpoint, each distribution */
	size_t spread_count;    /* of one endpoint */
	struct batch batch;
	uint64_t layout_id;
	struct value *values;
	int64_t *groups, *stamps;
	struct dist *dists;
	uint64_t (*counts)[BUCKETS];
	char host[HOST_BYTES]; /* also a string's value */
	uint64_t random;
};

static enum slot
slot_of(const struct gen_conf *conf, size_t metric)
{
	const char *mix = mixes[conf->mix];

	return (enum slot)mix[metric % strlen(mix)];
}

static enum kind
kind_of(enum slot slot)
{
	static const enum kind kinds[] = {
		[COUNTER] = KIND_UINT64,
		[FLOAT] = KIND_FLOAT64,
		[STRING] = KIND_STRING,
		[INT] = KIND_INT32,
		[TIME] = KIND_TIME,
		[DURATION] = KIND_DURATION,
		[DIST] = KIND_DIST,
	};

	return kinds[slot];
}

static uint64_t
next_random(struct gen *gen)
{
	gen->random ^= gen->random << 13;
	gen->random ^= gen->random >> 7;
	gen->random ^= gen->random << 17;
	return gen->random;
}

/* The same number for the same arguments, in every run. */
static uint64_t
mixed(uint64_t a, uint64_t b)
{
	uint64_t x =
	    (a + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ (b + 1) * UINT64_C(0xd1b54a32d192ed03);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x != 0 ? x : 1; /* what next_random starts from */
}

static void
describe(struct gen *gen)
{
	for (size_t i = 0; i < BUCKETS - 1; i++)
		gen->limits[i] = (double)(i + 1) * 5;
	for (size_t copy = 0; copy < 2; copy++) {
		for (size_t i = 0; i < gen->conf.metric_count; i++) {
			struct metric_desc *desc = &gen->descs[copy][i];
			char *path = gen->paths[copy][i];

			snprintf(path, PATH_BYTES, "/service/part-%05zu/value-%02zu", i / PART_LEN,
			    i % PART_LEN);
			*desc = (struct metric_desc){
				.path = str_of(path),
				.description = STR("What this number tells of the part"),
				.unit = STR(UNIT_NONE),
				.kind = kind_of(gen->slots[i]),
			};
			if (desc->kind == KIND_DIST) {
				desc->limits = gen->limits;
				desc->limit_count = BUCKETS - 1;
			}
		}
	}
}

/* What a number starts from; counters of all sizes. */
static uint64_t
first_state(enum slot slot, uint64_t random)
{
	if (slot == COUNTER)
		return random >> (24 + random % 32);
	if (slot == TIME)
		return (uint64_t)(BASE_NS / NS_PER_MS) - random % 1000000;
	return 10000 + random % 10000;
}

static void
begin(struct gen *gen)
{
	size_t len = gen->conf.metric_count, at = 0;

	for (size_t endpoint = 0; endpoint < gen->conf.endpoint_count; endpoint++) {
		for (size_t i = 0; i < len; i++)
			gen->states[at++] = first_state(gen->slots[i], mixed(endpoint, i));
	}
	for (size_t i = 0; i < gen->conf.endpoint_count * gen->spread_count; i++)
		gen->spreads[i] = (struct spread){ .cents = 100 };
}

static bool
alloc(struct gen *gen)
{
	size_t len = gen->conf.metric_count, series = len * gen->conf.endpoint_count;

	for (size_t copy = 0; copy < 2; copy++) {
		gen->descs[copy] = calloc(len, sizeof(**gen->descs));
		gen->paths[copy] = calloc(len, sizeof(**gen->paths));
		if (gen->descs[copy] == NULL || gen->paths[copy] == NULL)
			return false;
	}
	gen->states = calloc(series, sizeof(*gen->states));
	gen->spreads =
	    calloc(gen->spread_count * gen->conf.endpoint_count + 1, sizeof(*gen->spreads));
	gen->slots = calloc(len, sizeof(*gen->slots));
	gen->values = calloc(len, sizeof(*gen->values));
	gen->groups = calloc(len, sizeof(*gen->groups));
	gen->stamps = calloc(len, sizeof(*gen->stamps));
	gen->dists = calloc(gen->spread_count + 1, sizeof(*gen->dists));
	gen->counts = calloc(gen->spread_count + 1, sizeof(*gen->counts));
	return gen->slots != NULL && gen->states != NULL && gen->spreads != NULL &&
	       gen->values != NULL && gen->groups != NULL && gen->stamps != NULL &&
	       gen->dists != NULL && gen->counts != NULL;
}

struct gen *
gen_new(const struct gen_conf *conf)
{
	static _Atomic uint64_t layouts = FIRST_LAYOUT;
	struct gen *gen = calloc(1, sizeof(*gen));
	size_t constant = 0;

	if (gen == NULL)
		return NULL;
	assert(conf->metric_count > 0 && conf->endpoint_count > 0 && conf->jitter_unit_ns > 0);
	gen->conf = *conf;
	for (size_t i = 0; i < conf->metric_count; i++) {
		enum slot slot = slot_of(conf, i);

		gen->spread_count += slot == DIST;
		constant += slot == STRING || slot == INT;
	}
	gen->changed_odds = ((uint64_t)conf->changed_permille << 32) / 1000 * conf->metric_count /
	                    (conf->metric_count - constant);
	gen->layout_id = conf->no_layout ? 0 : atomic_fetch_add(&layouts, 1);
	batch_init(&gen->batch, 0);
	if (!alloc(gen)) {
		gen_free(gen);
		return NULL;
	}
	for (size_t i = 0; i < conf->metric_count; i++)
		gen->slots[i] = slot_of(conf, i);
	describe(gen);
	begin(gen);
	return gen;
}

void
gen_free(struct gen *gen)
{
	if (gen == NULL)
		return;
	for (size_t copy = 0; copy < 2; copy++) {
		free(gen->descs[copy]);
		free(gen->paths[copy]);
	}
	free(gen->slots);
	free(gen->states);
	free(gen->spreads);
	free(gen->values);
	free(gen->groups);
	free(gen->stamps);
	free(gen->dists);
	free(gen->counts);
	batch_fini(&gen->batch);
	free(gen);
}

/* Some more values in a distribution, most of them about its middle. */
static void
spread_add(struct gen *gen, struct spread *spread)
{
	for (uint64_t n = 1 + next_random(gen) % 5; n > 0; n--) {
		uint64_t random = next_random(gen);
		uint64_t bucket = (random % 10 + (random >> 8) % 11) % BUCKETS;

		spread->counts[bucket]++;
		spread->cents += bucket * 500 + (random >> 16) % 500;
	}
}

static struct value
dist_value(struct gen *gen, const struct spread *spread, size_t n)
{
	struct dist *dist = &gen->dists[n];

	*dist = (struct dist){
		.counts = gen->counts[n], .len = BUCKETS, .sum = (double)spread->cents / 100
	};
	for (size_t i = 0; i < BUCKETS; i++) {
		gen->counts[n][i] = spread->counts[i];
		dist->count += spread->counts[i];
	}
	return (struct value){ .dist = dist };
}

/* Moves a number on. */
static uint64_t
next_state(struct gen *gen, size_t metric, int64_t ts_ns, uint64_t state)
{
	uint64_t random = next_random(gen);

	switch (gen->slots[metric]) {
	case COUNTER:
		/* Slow and fast ones: each has a pace of its own. */
		return state + 1 + random % (UINT64_C(1) << (1 + metric % 16));
	case FLOAT:
		if ((random >> 32) % 2 == 0 || state < 200)
			return state + 1 + random % 100;
		return state - 1 - random % 100;
	case TIME:
		return (uint64_t)(ts_ns / NS_PER_MS) - random % 1000;
	case DURATION:
		return state + 1 + random % 1000000;
	case STRING:
	case INT:
	case DIST:
		break;
	}
	return state;
}

static struct value
number_value(enum slot slot, uint64_t state)
{
	switch (slot) {
	case FLOAT:
		return (struct value){ .f = (double)state / 100 };
	case TIME:
		return (struct value){ .i = (int64_t)state * NS_PER_MS };
	case DURATION:
		return (struct value){ .i = (int64_t)state * NS_PER_US };
	case COUNTER:
	case STRING:
	case INT:
	case DIST:
		break;
	}
	return (struct value){ .u = state };
}

static struct value
string_value(const struct gen *gen, size_t metric)
{
	bool is_own = metric / 20 % 2 == 0;

	return (struct value){ .s = is_own ? str_of(gen->host) : STR("2.42.0-release build 7") };
}

static int64_t
stamp(struct gen *gen, size_t endpoint, uint64_t poll)
{
	int64_t place_ns = (int64_t)(mixed(endpoint, 0) % (uint64_t)gen->conf.interval_ns);
	int64_t ts_ns = BASE_NS + place_ns + (int64_t)poll * gen->conf.interval_ns;

	if (gen->conf.jitter_ns > 0)
		ts_ns += (int64_t)(next_random(gen) % (uint64_t)gen->conf.jitter_ns);
	return ts_ns - ts_ns % gen->conf.jitter_unit_ns;
}

static bool
changes(struct gen *gen, uint64_t poll)
{
	return poll > 0 && (next_random(gen) & UINT32_MAX) < gen->changed_odds;
}

const struct batch *
gen_poll(struct gen *gen, size_t endpoint, uint64_t poll)
{
	size_t len = gen->conf.metric_count, dist = 0;
	uint64_t *states = &gen->states[endpoint * len];
	int64_t ts_ns;

	gen->random = mixed(endpoint, poll + 1);
	ts_ns = stamp(gen, endpoint, poll);
	gen_host(gen, endpoint);
	for (size_t i = 0; i < len; i++) {
		enum slot slot = gen->slots[i];

		gen->stamps[i] = ts_ns;
		if (slot == STRING) {
			gen->values[i] = string_value(gen, i);
		} else if (slot == DIST) {
			struct spread *spread = &gen->spreads[endpoint * gen->spread_count + dist];

			if (changes(gen, poll))
				spread_add(gen, spread);
			gen->values[i] = dist_value(gen, spread, dist++);
		} else {
			if (slot != INT && changes(gen, poll))
				states[i] = next_state(gen, i, ts_ns, states[i]);
			gen->values[i] = number_value(slot, states[i]);
		}
	}
	gen->batch.len = len;
	gen->batch.desc = gen->descs[poll % 2];
	gen->batch.value = gen->values;
	gen->batch.group = gen->groups;
	gen->batch.ts = gen->stamps;
	gen->batch.layout_id = gen->layout_id;
	return &gen->batch;
}

struct str
gen_host(struct gen *gen, size_t endpoint)
{
	snprintf(gen->host, sizeof(gen->host), "machine%07zu.example", endpoint);
	return str_of(gen->host);
}

struct str
gen_path(const struct gen *gen, size_t metric)
{
	return gen->descs[0][metric].path;
}
