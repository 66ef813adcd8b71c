#include "poller/schedule.h"

#include <assert.h>

#include "base/hash.h"

uint64_t
schedule_hash(struct str host, struct str app)
{
	return hash_mix(hash_stable(host), hash_stable(app));
}

int64_t
schedule_first(uint64_t hash, int64_t interval_ns, int64_t now_mono_ns, int64_t now_real_ns)
{
	int64_t place_ns, now_place_ns, wait_ns;

	assert(interval_ns > 0);
	place_ns = (int64_t)(hash % (uint64_t)interval_ns);
	now_place_ns = now_real_ns % interval_ns;
	if (now_place_ns < 0) /* a clock set before 1970 */
		now_place_ns += interval_ns;
	wait_ns = place_ns - now_place_ns;
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
