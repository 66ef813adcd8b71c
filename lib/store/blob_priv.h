/*
 * store/blob_priv.h - values that are more than 64 bits: strings, lists, distributions. What a
 * position has in its bits is then a pointer to a blob, or 0 for an empty string or list.
 *
 * Strings are kept once for the fleet: equal texts are one blob, so that what all machines say
 * alike costs one pointer each. Strings and lists never change. A distribution does as long as
 * nobody but its position holds a reference; readers take theirs with the set's lock held.
 *
 * Threads: any; the count is atomic. Locks taken: meta (the table of strings).
 */
#ifndef SCOTTY_STORE_BLOB_PRIV_H
#define SCOTTY_STORE_BLOB_PRIV_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/lock.h"
#include "messages/metric.h"
#include "store/row_priv.h"

struct memory_want;
struct store;

struct blob {
	_Atomic uint32_t refs;
	bool shared; /* in the table of strings */
	size_t bytes;
	union {
		struct str s;
		struct list list;
	};
	uint64_t data[]; /* what they lead to; or a struct held_dist */
};

struct held_dist {
	struct dist dist; /* what readers get: without generation */
	uint64_t generation;
	uint64_t counts[];
};

struct blob_table {
	struct lock lock;
	struct map strings;
};

void blob_table_init(struct blob_table *);
void blob_table_fini(struct blob_table *);

/* Reference a blob of this kind for a value; *out NULL for an empty one. -1: ERR_NOMEM, ERR_LIMIT.
 */
int blob_new_string(struct store *, struct str, struct blob **out, struct err *);
int blob_new_list(
    struct store *, enum kind sub_kind, const struct list *, struct blob **out, struct err *);
/* Room for a distribution, to be filled by blob_set_dist. NULL: as memory_alloc. */
struct blob *blob_new_dist(struct store *, size_t len, struct err *);
/* The same with a lock held. NULL: as memory_try. */
struct blob *blob_try_dist(struct store *, size_t len, struct memory_want *);
/* dist has as many buckets as the blob. */
void blob_set_dist(struct blob *, const struct dist *, uint64_t rollovers);

static inline struct blob *
blob_of_bits(uint64_t bits)
{
	return (struct blob *)(uintptr_t)bits;
}

static inline struct held_dist *
blob_dist(struct blob *blob)
{
	return (struct held_dist *)(void *)blob->data;
}

static inline bool
class_has_blob(uint8_t class)
{
	return class == ROW_REF || class == ROW_DIST;
}

/* NULL is fine, for both. */
struct blob *blob_ref(struct blob *);
void blob_unref(struct store *, struct blob *);

/* The value that the bits stand for; zero if inactive. It lives as long as its blob. */
struct value bits_to_value(uint64_t bits, enum kind, bool active);

/* The blobs a reader was given records of, until its next call. */
#define BLOB_HOLD 64

struct blob_hold {
	struct blob *blobs[BLOB_HOLD];
	size_t len;
};

/* There is room. The set's lock is held. */
void blob_hold_add(struct blob_hold *, struct blob *);
void blob_hold_release(struct store *, struct blob_hold *);

#endif
