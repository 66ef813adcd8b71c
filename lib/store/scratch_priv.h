/*
 * store/scratch_priv.h - memory that an append works in, kept for the next one of any set, so that
 * there are as many as threads append at a time. What is kept counts as the store's memory.
 *
 * Threads: a scratch belongs to who took it. Locks taken: pages.
 */
#ifndef SCOTTY_STORE_SCRATCH_PRIV_H
#define SCOTTY_STORE_SCRATCH_PRIV_H

#include "base/buf.h"
#include "store/log_priv.h"
#include "store/row_priv.h"

/* A row to be: what it does to its stream, and where it is encoded. */
struct work {
	uint32_t stream;
	bool is_patch; /* has the time of the row before */
	bool lost;     /* there is no room for it */
	uint32_t len_before;
	uint32_t change, change_count; /* first in changes; how many */
	uint32_t born, born_count;     /* first in born; how many */
	/* Of the changes: */
	uint32_t reborn_count, woken_count, stopped_count, ref_count;
	uint32_t moved_count;        /* of those born, anew or not */
	size_t off;                  /* in rows */
	size_t redo_off, redo_bytes; /* in redos; 0 bytes: of none */
	struct log_row row;          /* p comes last */
	struct log_room room;        /* also for the next work if that is of the same stream */
};

struct scratch {
	struct scratch *next;
	struct row_change *changes; /* there is room for one more than there can be */
	struct blob **spares; /* by change: takes the place of a distribution that someone reads */
	uint64_t *born;       /* bits of new positions */
	uint32_t *metric_of;  /* by position; see append.c */
	struct blob **fresh;  /* references to be given back if the append fails */
	struct row_dist *dists;
	struct work *works;
	struct buf rows;
	struct buf redos; /* what the journal is told of changes; see row_encode_both */
	size_t change_len, born_len, fresh_len, dist_len, work_len;
	size_t cap, stream_cap;
	size_t charged_bytes;
};

/* Room for so many positions and streams. NULL with ERR_NOMEM. */
struct scratch *scratch_take(struct store *, size_t positions, size_t streams, struct err *);
/* NULL is fine. */
void scratch_give_back(struct store *, struct scratch *);

#endif
