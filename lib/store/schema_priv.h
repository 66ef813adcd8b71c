/*
 * store/schema_priv.h - which series an endpoint has, and where: what is equal between endpoints is
 * kept once. 10,000 machines with the same program have one schema.
 *
 * A schema never changes. An endpoint that gets another series gets another schema, found by
 * content or made. A series is known by its stream and its position there. A position without a
 * meta is free for a new series. One that has *moved* keeps the older history of a series that now
 * is at another place; it is not found by its description.
 *
 * Threads: any. Locks taken: meta (the table).
 */
#ifndef SCOTTY_STORE_SCHEMA_PRIV_H
#define SCOTTY_STORE_SCHEMA_PRIV_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/lock.h"
#include "store/meta_priv.h"

struct store;

/* A place in a set. */
struct series_at {
	uint32_t stream, at;
};

struct schema_stream {
	int64_t group_id;    /* what the program called the group last time */
	uint32_t first, len; /* its positions in metas and the like */
};

struct schema {
	struct store *store;
	_Atomic uint64_t refs;
	uint64_t serial;    /* never used again */
	uint64_t told;      /* in which stretch; see redo.h, store_tap.open */
	struct str content; /* what it is found by: streams, metas, moved */
	size_t bytes;
	uint32_t stream_count, len; /* len: positions of all streams */
	uint32_t order_len;         /* series */
	bool has_dist_siblings; /* some distributions differ only in what is not path and tags */
	const struct schema_stream *streams;
	struct meta *const *metas; /* NULL: a free position */
	const uint8_t *moved;
	const uint8_t *classes;        /* enum row_class */
	const struct series_at *order; /* series by path and tags, those with equal ones by place */
};

struct schema_table {
	struct lock lock;
	struct map schemas;
	uint64_t serial;
};

void schema_table_init(struct schema_table *);
void schema_table_fini(struct schema_table *);

static inline struct meta *
schema_meta(const struct schema *schema, uint32_t stream, uint32_t at)
{
	return schema->metas[schema->streams[stream].first + at];
}

static inline const uint8_t *
schema_classes(const struct schema *schema, uint32_t stream)
{
	return schema->classes + schema->streams[stream].first;
}

struct schema *schema_ref(struct schema *); /* NULL is fine */
void schema_unref(struct schema *);         /* NULL is fine */

/* The first in order whose path and tags are not before desc's. */
uint32_t schema_find(const struct schema *, const struct metric_desc *desc);
/* The place of the series with exactly this description; false if there is none. */
bool schema_find_series(const struct schema *, const struct metric_desc *, struct series_at *);

/* A schema to be. */
struct draft_stream {
	int64_t group_id;
	struct meta **metas; /* a reference each; NULL: free */
	uint8_t *moved;
	uint32_t len, cap;
	uint32_t free_hint; /* no position before it is free */
};

struct draft {
	struct store *store;
	bool frees; /* takes the place of a schema with more series: needs no room */
	struct draft_stream *streams;
	uint32_t len, cap;
};

/* Begins with what schema (may be NULL) has. -1 with ERR_NOMEM. Finish it in both cases. */
int draft_init(struct draft *, struct store *, const struct schema *, struct err *);
void draft_fini(struct draft *);
/* A stream without positions; its number is the draft's len before. -1 with ERR_NOMEM. */
int draft_add_stream(struct draft *, int64_t group_id, struct err *);
/* Puts a series at the first free position of the stream. Takes the reference. -1 with ERR_NOMEM.
 */
int draft_add_series(
    struct draft *, uint32_t stream, struct meta *, struct series_at *, struct err *);
/* Puts a series, or with NULL a free position, at the end of the stream. Takes the reference. -1
 * with ERR_NOMEM. */
int draft_put(struct draft *, struct draft_stream *, struct meta *, uint8_t moved, struct err *);
/* Frees a position. */
void draft_remove_series(struct draft *, struct series_at);
/* The schema with this content, with a reference. NULL with ERR_NOMEM, ERR_LIMIT. */
struct schema *draft_finish(const struct draft *, struct err *);

#endif
