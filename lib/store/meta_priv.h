/*
 * store/meta_priv.h - metric descriptions, each kept once for the whole fleet: machines that run
 * the same program have the same metrics. Each has its JSON (desc.text), which readers send over
 * and over.
 *
 * Threads: any. Locks taken: meta. A description does not change while a reference is held.
 */
#ifndef SCOTTY_STORE_META_PRIV_H
#define SCOTTY_STORE_META_PRIV_H

#include "base/err.h"
#include "base/lock.h"
#include "messages/metric.h"

struct store;

struct meta {
	struct metric_desc desc; /* leads into this block, and to text */
	struct desc_text text;   /* leads into this block */
	uint64_t hash;           /* desc_hash */
	size_t bytes;
	struct meta *next; /* the table's lock */
	uint64_t refs;     /* the table's lock */
	uint64_t number;   /* never used again in the life of the process */
	uint64_t told;     /* in which stretch; see redo.h, store_tap.open */
};

struct meta_table {
	struct lock lock;
	struct meta **buckets;
	size_t cap, len; /* cap: a power of two */
	uint64_t serial;
};

int meta_table_init(struct meta_table *, struct err *);
void meta_table_fini(struct meta_table *); /* also after a failed init */

/*
 * The one description equal to desc, with a reference; hash is desc_hash(desc). NULL with
 * ERR_NOMEM, ERR_LIMIT. May reclaim pages: see memory_alloc.
 */
struct meta *meta_intern(struct store *, const struct metric_desc *, uint64_t hash, struct err *);
/* NULL is fine, for both. */
struct meta *meta_ref(struct store *, struct meta *);
void meta_unref(struct store *, struct meta *);

#endif
