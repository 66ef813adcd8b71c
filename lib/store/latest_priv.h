/*
 * store/latest_priv.h - the newest value of a series, as readers get it.
 */
#ifndef SCOTTY_STORE_LATEST_PRIV_H
#define SCOTTY_STORE_LATEST_PRIV_H

#include "store/iter.h"
#include "store/set_priv.h"

/*
 * False if the series is inactive, or not there any more. The hold keeps what the value leads to;
 * it has room. REQUIRES the set's lock.
 */
static inline bool
latest_value(const struct series_set *set, struct series_at at, const struct meta *meta,
    struct record *out, struct blob_hold *hold)
{
	const struct stream *s;
	uint64_t bits;

	if (!set_has_series(set, at, meta))
		return false;
	s = set->streams[at.stream];
	if (!bit_get(s->active, at.at))
		return false;
	bits = s->bits[at.at];
	if (class_has_blob(schema_classes(set->schema, at.stream)[at.at]))
		blob_hold_add(hold, blob_of_bits(bits));
	*out = (struct record){
		.desc = &meta->desc,
		.ts_ns = s->ts_ns,
		.value = bits_to_value(bits, meta->desc.kind, true),
		.active = true,
	};
	return true;
}

#endif
