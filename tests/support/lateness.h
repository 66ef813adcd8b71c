/*
 * lateness.h - by how much a period was missed: a small histogram of microseconds.
 *
 * Buckets grow by a quarter of an octave, so that a quantile is at most a quarter too high.
 */
#ifndef SCOTTY_TESTS_LATENESS_H
#define SCOTTY_TESTS_LATENESS_H

#include <stdint.h>

#define LATENESS_BUCKETS                                                                           \
	104 /* up to 2^27 us, some two minutes; what is beyond goes to the last                    \
	     */

struct lateness {
	uint64_t count, max_us;
	uint32_t buckets[LATENESS_BUCKETS];
};

/* Too early counts as too late does. */
void lateness_add(struct lateness *, int64_t deviation_ns);
void lateness_merge(struct lateness *into, const struct lateness *);
/* What percent of all do not exceed, rounded up to a bucket; 0 when there are none. */
uint64_t lateness_quantile_us(const struct lateness *, unsigned percent);

#endif
