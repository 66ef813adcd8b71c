#include "lateness.h"

#include <stddef.h>

/* 0 to 3 us have a bucket each; from there on, four share each octave. */
static size_t
bucket_of(uint64_t us)
{
	unsigned octave;
	size_t bucket;

	if (us < 4)
		return (size_t)us;
	octave = 63 - (unsigned)__builtin_clzll(us);
	bucket = (octave - 1) * 4 + (us >> (octave - 2) & 3);
	return bucket < LATENESS_BUCKETS ? bucket : LATENESS_BUCKETS - 1;
}

/* The largest value that goes to the bucket. */
static uint64_t
bucket_top_us(size_t bucket)
{
	size_t octave = bucket / 4 + 1;

	if (bucket < 4)
		return bucket;
	return ((UINT64_C(4) + bucket % 4 + 1) << (octave - 2)) - 1;
}

void
lateness_add(struct lateness *lateness, int64_t deviation_ns)
{
	uint64_t us = (uint64_t)(deviation_ns < 0 ? -deviation_ns : deviation_ns) / 1000;

	lateness->count++;
	lateness->buckets[bucket_of(us)]++;
	if (us > lateness->max_us)
		lateness->max_us = us;
}

void
lateness_merge(struct lateness *into, const struct lateness *from)
{
	into->count += from->count;
	if (from->max_us > into->max_us)
		into->max_us = from->max_us;
	for (size_t i = 0; i < LATENESS_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
}

uint64_t
lateness_quantile_us(const struct lateness *lateness, unsigned percent)
{
	uint64_t wanted = (lateness->count * percent + 99) / 100, seen = 0;

	for (size_t i = 0; i < LATENESS_BUCKETS; i++) {
		seen += lateness->buckets[i];
		if (seen >= wanted && seen > 0) {
			uint64_t top = bucket_top_us(i);

			return top < lateness->max_us ? top : lateness->max_us;
		}
	}
	return 0;
}
