/*
 * store/record_priv.h - from a point of a series to what readers get.
 */
#ifndef SCOTTY_STORE_RECORD_PRIV_H
#define SCOTTY_STORE_RECORD_PRIV_H

#include "store/blob_priv.h"
#include "store/iter.h"
#include "store/set_priv.h"

/* The hold keeps what the value leads to; it has room. REQUIRES the set's lock. */
static inline void
record_set(struct record *out, const struct series *series, int64_t ts_ns, uint64_t bits,
    bool active, struct blob_hold *hold)
{
	const struct metric_desc *desc = &series->meta->desc;

	if (active)
		blob_hold_add(hold, desc->kind, bits);
	*out = (struct record){
		.desc = desc,
		.ts_ns = ts_ns,
		.value = bits_to_value(bits, desc, active),
		.active = active,
	};
}

#endif
