/*
 * store/blob_priv.h - values that are more than 64 bits: strings, lists, distributions. A blob
 * never changes, so whoever holds a reference reads it without a lock.
 *
 * Threads: any; the count is atomic.
 */
#ifndef SCOTTY_STORE_BLOB_PRIV_H
#define SCOTTY_STORE_BLOB_PRIV_H

#include <stdatomic.h>

#include "base/err.h"
#include "messages/metric.h"

struct store;

struct blob {
	struct store *store;
	_Atomic uint32_t refs;
	size_t bytes;
	union {
		struct str s;
		struct list list;
		struct dist dist;
	};
	uint64_t data[]; /* what they lead to */
};

bool kind_has_blob(enum kind);

/*
 * Bits for a point with this value; a blob starts with one reference. rollovers is for
 * distributions. -1 with ERR_NOMEM, ERR_LIMIT. May reclaim pages: see memory_alloc.
 */
int value_to_bits(struct store *, const struct metric_desc *, const struct value *,
    uint64_t rollovers, uint64_t *bits, struct err *);
/* True if a point with these bits holds this value. */
bool bits_hold_value(
    uint64_t bits, const struct metric_desc *, const struct value *, uint64_t rollovers);
/* The value; what it leads to lives as long as a reference to its blob is held. */
struct value bits_to_value(uint64_t bits, const struct metric_desc *, bool active);

struct blob *blob_of_bits(uint64_t bits);
void blob_unref(struct blob *); /* NULL is fine */

/* The blobs a reader was given records of, until its next call. */
#define BLOB_HOLD 64

struct blob_hold {
	struct blob *blobs[BLOB_HOLD];
	size_t len;
};

/* There is room. bits: of a point of that kind. The owning set's lock is held. */
void blob_hold_add(struct blob_hold *, enum kind, uint64_t bits);
void blob_hold_release(struct blob_hold *);

#endif
