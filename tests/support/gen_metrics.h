/*
 * gen_metrics.h - batches as a fleet of equal machines would yield them, without any network.
 *
 * Of 20 metrics, 12 are counters, 4 floats with two decimals on a random walk, 2 constants (a
 * string, of which every other one is the endpoint's own, and an int), 1 a time or a duration, 1 a
 * distribution of 20 buckets. Polls lie on a grid, each endpoint's at its own place in the
 * interval, and come a little late. The same conf gives the same values, if the polls of an
 * endpoint are asked for in order.
 *
 * Threads: a generator belongs to one thread. Costs 8 bytes a series, 88 a distribution.
 */
#ifndef SCOTTY_TESTS_GEN_METRICS_H
#define SCOTTY_TESTS_GEN_METRICS_H

#include "messages/batch.h"

enum gen_mix { GEN_MIXED, GEN_COUNTERS, GEN_FLOATS };

struct gen_conf {
	size_t endpoint_count, metric_count; /* metrics of each endpoint */
	enum gen_mix mix;
	/* Of 1000 polled values, how many differ from the one before. Constants never do. */
	unsigned changed_permille;
	int64_t interval_ns;
	int64_t jitter_ns, jitter_unit_ns; /* late by less than that; stamps are whole units */
	bool no_layout;                    /* batches do not name their layout */
};

struct gen;

/* NULL when out of memory. */
struct gen *gen_new(const struct gen_conf *);
void gen_free(struct gen *); /* NULL is fine */

/* What the endpoint answers at that poll. Valid until the next call. */
const struct batch *gen_poll(struct gen *, size_t endpoint, uint64_t poll);

/* Host name of an endpoint; valid until the next call. Names rise with the numbers. */
struct str gen_host(struct gen *, size_t endpoint);
/* Path of a metric every endpoint has. */
struct str gen_path(const struct gen *, size_t metric);

#endif
