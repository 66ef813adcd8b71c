/*
 * api/stamps_priv.h - time stamps as text, with what stands around them in compact documents,
 * remembered: all metrics of a poll share theirs, and all series of an endpoint theirs of an hour.
 *
 * Threads: belongs to its request.
 */
#ifndef SCOTTY_API_STAMPS_PRIV_H
#define SCOTTY_API_STAMPS_PRIV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Room for a text, which is shorter; all of it is written. */
#define STAMP_BYTES 48

struct stamp {
	int64_t ts_ns;
	size_t len;
	char text[STAMP_BYTES];
};

/*
 * Of times that fall on the same slot, the last one is kept. An hour of polls has 120 times, of
 * each group; those of one poll fall on the same slot, where a time takes over the seconds of the
 * one before.
 */
#define STAMP_SLOT_BITS 10
#define STAMP_POLL_BITS 24 /* ns: 17 ms */
struct stamps {
	struct stamp slots[1 << STAMP_SLOT_BITS];
};

/* before: the character that is to stand before each. */
void stamps_init(struct stamps *, char before);
void stamp_set(struct stamp *, int64_t ts_ns);

/*
 * Writes the character before, "timestamp":TIME,"value": with the time as json_ts has it, and
 * returns the end.
 */
static inline char *
stamps_put(struct stamps *s, char *out, int64_t ts_ns)
{
	/* Multiplied by 2^64 over the golden ratio, which keeps what comes regularly apart. */
	uint64_t mixed = ((uint64_t)ts_ns >> STAMP_POLL_BITS) * UINT64_C(0x9E3779B97F4A7C15);
	struct stamp *stamp = &s->slots[mixed >> (64 - STAMP_SLOT_BITS)];

	if (stamp->ts_ns != ts_ns)
		stamp_set(stamp, ts_ns);
	memcpy(out, stamp->text, STAMP_BYTES);
	return out + stamp->len;
}

#endif
