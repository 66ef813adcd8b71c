#include "poller/schedule.h"

#include <assert.h>

#include "base/clock.h"
#include "base/hash.h"

/*
 * At 1,000 endpoints every 10 s, a third of a poll's CPU goes where caches are cold and the
 * processor has to be woken. At half the most load, who comes last in a grain starts half a grain
 * late.
 */
#define GRAIN_NS            (250 * NS_PER_MS)
#define GRAINS_PER_INTERVAL 32 /* at least */

uint64_t
schedule_hash(struct str host, struct str app)
{
	return hash_mix(hash_stable(host), hash_stable(app));
}

static int64_t
place_of(uint64_t hash, int64_t interval_ns)
{
	int64_t place_ns = (int64_t)(hash % (uint64_t)interval_ns);
	int64_t grain_ns = interval_ns / GRAINS_PER_INTERVAL;

	if (grain_ns > GRAIN_NS)
		grain_ns = GRAIN_NS;
	return grain_ns == 0 ? place_ns : place_ns - place_ns % grain_ns;
}

int64_t
schedule_first(uint64_t hash, int64_t interval_ns, int64_t now_mono_ns, int64_t now_real_ns)
{
	int64_t now_place_ns, wait_ns;

	assert(interval_ns > 0);
	now_place_ns = now_real_ns % interval_ns;
	if (now_place_ns < 0) /* a clock set before 1970 */
		now_place_ns += interval_ns;
	wait_ns = place_of(hash, interval_ns) - now_place_ns;
	if (wait_ns <= 0)
		wait_ns += interval_ns;
	return now_mono_ns + wait_ns;
}

int64_t
schedule_next(int64_t tick_mono_ns, int64_t interval_ns, int64_t now_mono_ns, uint64_t *missed)
{
	int64_t next_ns = tick_mono_ns + interval_ns, left_out = 0;

	assert(interval_ns > 0);
	if (next_ns < now_mono_ns)
		left_out = (now_mono_ns - next_ns - 1) / interval_ns + 1;
	*missed = (uint64_t)left_out;
	return next_ns + left_out * interval_ns;
}
