#include "api/stamps_priv.h"

#include "base/clock.h"
#include "base/str.h"
#include "messages/metric.h"
#include "messages/number.h"

#define BEHIND_BYTES 10

/* All of it, in time and text, but for the first character. */
static void
set_all(struct stamp *stamp, int64_t ts_ns)
{
	static const char before[] = "\"timestamp\":\"", behind[BEHIND_BYTES + 1] = "\",\"value\":";
	char time[NUMBER_BYTES];
	size_t len = ts_ns == TS_NONE ? 0 : number_time(time, ts_ns, 1);

	memcpy(stamp->text + 1, before, sizeof(before) - 1);
	memcpy(stamp->text + sizeof(before), time, len);
	len += sizeof(before);
	memcpy(stamp->text + len, behind, BEHIND_BYTES);
	stamp->len = len + BEHIND_BYTES;
	stamp->ts_ns = ts_ns;
}

void
stamps_init(struct stamps *s, char before)
{
	struct stamp none = { .text = { before } };

	set_all(&none, TS_NONE);
	for (size_t i = 0; i < ARRAY_LEN(s->slots); i++)
		s->slots[i] = none;
}

void
stamp_set(struct stamp *stamp, int64_t ts_ns)
{
	char digits[NUMBER_BYTES]; /* those of the fraction, after a 1 */

	if (ts_ns < 0 || stamp->ts_ns < 0 || ts_ns / NS_PER_S != stamp->ts_ns / NS_PER_S) {
		set_all(stamp, ts_ns);
		return;
	}
	number_u64(digits, (uint64_t)(NS_PER_S + ts_ns % NS_PER_S));
	memcpy(stamp->text + stamp->len - BEHIND_BYTES - 9, digits + 1, 9);
	stamp->ts_ns = ts_ns;
}
