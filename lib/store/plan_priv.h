/*
 * store/plan_priv.h - where the metrics of a batch go: metric 17 is position 17 of stream 0.
 *
 * Endpoints of one program send the same list of metrics poll after poll, and one endpoint the same
 * as the next. Who finds that out once (plan_make) need not look at descriptions again: a plan is
 * shared by all sets with the same schema and the same layout. It is found by the layout's number
 * and the schema a set has before or after the append; without a number, by comparing the batch
 * with the plan of the append before.
 *
 * Which stream is which group: group numbers are not identity, as programs renumber their groups at
 * a restart. A group continues the stream that most of its known metrics are in, the larger ones
 * choosing first, then those with the number it had last; a group without known metrics the stream
 * that had its number last; else it gets a stream of its own. A known metric whose group continues
 * another stream than its own *moves*: it starts anew there, and its old position keeps what was.
 * It does so only if time goes on in both, and stays where it is until then.
 *
 * Threads: any. Locks taken: meta (the table).
 */
#ifndef SCOTTY_STORE_PLAN_PRIV_H
#define SCOTTY_STORE_PLAN_PRIV_H

#include "messages/batch.h"
#include "store/schema_priv.h"

struct series_set;

/* How a value is taken from the batch. */
enum take {
	TAKE_WORD, /* its 64 bits */
	TAKE_BOOL,
	TAKE_STRING,
	TAKE_LIST,
	TAKE_DIST,
	TAKE_NONE, /* not at all: a metric that can't move yet counts as seen */
};

struct plan_entry {
	uint32_t metric;  /* of the batch */
	uint32_t at : 29; /* position */
	uint32_t take : 3;
};

struct plan_stream {
	uint32_t first, len; /* of entries, by position */
	uint32_t dist_count; /* of them TAKE_DIST */
	int64_t metric;      /* one that has the group's time; -1: the group is not in the batch */
};

struct plan {
	struct store *store;
	_Atomic uint64_t refs;
	struct plan *next;  /* with the same layout; the table's lock */
	uint64_t layout_id; /* 0: not in the table */
	uint64_t from;      /* serial of the schema that sets had before it, 0: none */
	bool once;          /* good for this append only */
	size_t bytes;
	size_t len;            /* metrics of the batch */
	struct schema *schema; /* a reference; what sets have after it */
	struct plan_entry *entries;
	struct plan_stream streams[]; /* of schema */
};

struct plan_table {
	struct lock lock;
	struct map by_layout; /* the first of a list */
};

void plan_table_init(struct plan_table *);
void plan_table_fini(struct plan_table *);

/* A series that goes from one place to another with this append. */
struct move {
	struct series_at from, to;
};

struct moves {
	struct move *moves; /* on the heap */
	size_t len, cap;
};

/*
 * The plan for a batch: the set's own, or another, with a reference. The moves that go with it are
 * added to moves (empty before); the caller frees them. NULL with ERR_NOMEM, ERR_LIMIT. The
 * appender's.
 */
struct plan *plan_for(struct series_set *, const struct batch *, struct moves *moves, struct err *);
void plan_unref(struct plan *); /* NULL is fine */

#endif
