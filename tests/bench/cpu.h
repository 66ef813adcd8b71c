/*
 * cpu.h - what this process has computed, for benchmarks.
 */
#ifndef SCOTTY_BENCH_CPU_H
#define SCOTTY_BENCH_CPU_H

#include <time.h>

#include "base/clock.h"

static inline int64_t
cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static inline double
cpu_s(void)
{
	return (double)cpu_ns() / NS_PER_S;
}

#endif
