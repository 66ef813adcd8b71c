/*
 * base/clock.h - the two clocks. Only base/loop.c and the outermost code read them; all else is
 * given the time, so that a test can turn it by hand.
 */
#ifndef SCOTTY_BASE_CLOCK_H
#define SCOTTY_BASE_CLOCK_H

#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

/* Nanoseconds of the monotonic clock: for deadlines and lengths of time. */
int64_t clock_mono_ns(void);
/* Nanoseconds since 1970-01-01 00:00 UTC: for time stamps. */
int64_t clock_real_ns(void);

#endif
