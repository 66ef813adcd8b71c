/*
 * poller/schedule.h - when an endpoint is polled: pure arithmetic.
 *
 * An endpoint ticks at those times of the wall clock that leave its place when divided by the
 * interval, so load spreads evenly and stays put over restarts. The place is hash % interval,
 * rounded down to grains of at most 250 ms: the few endpoints that tick together find the
 * processor's caches warm, which a poll that comes alone does not. Between ticks only the monotonic
 * clock counts: a jump of the wall clock moves nothing.
 */
#ifndef SCOTTY_POLLER_SCHEDULE_H
#define SCOTTY_POLLER_SCHEDULE_H

#include <stdint.h>

#include "base/str.h"

/* Which of n pollers owns the endpoint, and its place in the interval. Stable over restarts. */
uint64_t schedule_hash(struct str host, struct str app);

/*
 * The monotonic time of the first tick after now. mono and real are the two clocks read together;
 * interval_ns > 0.
 */
int64_t schedule_first(
    uint64_t hash, int64_t interval_ns, int64_t now_mono_ns, int64_t now_real_ns);

/*
 * The tick after `tick`, not before now: ticks that lie in the past are left out, and *missed is
 * set to how many (the loop was late by more than an interval).
 */
int64_t schedule_next(
    int64_t tick_mono_ns, int64_t interval_ns, int64_t now_mono_ns, uint64_t *missed);

#endif
