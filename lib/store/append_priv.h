/*
 * store/append_priv.h - an append in the making: rows found by comparing a batch with what is
 * (append.c) or read from a journal (redo_read.c), and how they land (land.c).
 *
 * Threads: the set's appender.
 */
#ifndef SCOTTY_STORE_APPEND_PRIV_H
#define SCOTTY_STORE_APPEND_PRIV_H

#include "store/scratch_priv.h"
#include "store/set_priv.h"

struct append {
	struct series_set *set;
	const struct batch *batch; /* NULL: nothing is there any more */
	struct plan *plan;         /* NULL without batch */
	bool plan_is_new;
	struct schema *schema; /* what the set has after it (lent); NULL: no series */
	bool is_restored;      /* rows come from a journal: they are not told to it again */
	int64_t wanted_ns;     /* without batch: time of markers, if late enough */
	struct moves moves;
	struct scratch *scratch;
	size_t added, stale; /* metrics */
};

/* What is known of a stream before the append; a stream to be made is empty. */
struct before {
	uint32_t len, active_count;
	int64_t ts_ns;
	struct pace pace; /* undefined if ts_ns is TS_NONE */
};

struct before append_state_before(const struct append *, uint32_t stream);

static inline const uint8_t *
append_classes(const struct append *a, uint32_t stream)
{
	return schema_classes(a->schema, stream);
}

/* A row of the stream, after those there are. */
struct work *append_begin_work(
    struct append *, uint32_t stream, const struct before *before, int64_t ts_ns);
struct row_change *append_add_change(struct append *, struct work *, uint32_t at, enum row_how how);
/* Counts what the row keeps of a string or list that it replaces. */
void append_note_ref(struct work *, uint64_t bits);
/* Counts the moves that end at this new series. */
void append_note_birth(const struct append *, struct work *, uint32_t at);
/*
 * Encodes the row, unless it says nothing, and makes of before what is after it. -1 with
 * ERR_NOMEM.
 */
int append_end_work(struct append *, struct work *, struct before *before, struct err *);
/* All rows are there: their bytes have found their place. */
void append_end_works(struct append *);

/* The position becomes inactive in this row. REQUIRES the set's lock. */
void append_stop(const struct work *, struct stream *, uint32_t at);

/* Gets all that can fail, then applies all of it. -1 with ERR_NOMEM, ERR_LIMIT: nothing changed. */
int append_land(struct append *, struct err *);
/* done: it has landed. */
void append_fini(struct append *, bool done);

#endif
