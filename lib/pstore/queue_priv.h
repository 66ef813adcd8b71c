/*
 * pstore/queue_priv.h - what a pump reads from: see queue_open in pump.h.
 *
 * Threads: one at a time.
 */
#ifndef SCOTTY_PSTORE_QUEUE_PRIV_H
#define SCOTTY_PSTORE_QUEUE_PRIV_H

#include "pstore/pump.h"

struct queue {
	struct pump_env env;
	char *name;
	struct cursor *cursor; /* the roll-up's own if there is one */
	struct rollup *rollup; /* NULL = every value */
	int64_t span_ns;
	enum rollup_fn fn;
	bool save_failed; /* the last time */
};

/* As rollup_read and cursor_read. */
int queue_read(
    struct queue *, int64_t now_ns, struct cursor_record *out, size_t max, size_t *n, struct err *);
void queue_commit(struct queue *); /* and keeps the position */
void queue_rewind(struct queue *);
uint64_t queue_missed_count(const struct queue *);
bool queue_is_waiting(const struct queue *); /* see cursor_is_waiting */
/* See cursor_lag_ns; records, not frames. */
int64_t queue_lag_ns(struct queue *, int64_t real_now_ns, uint64_t *count);

#endif
