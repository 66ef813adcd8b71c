/*
 * messages/own.h - what scottyd tells of itself: a registry of own metrics.
 *
 * A module registers rows at start: a path and a function that reads the value when asked. The
 * self source, /metricsapi and /metrics all collect from here, so a number is defined once.
 *
 * Threads: any. Locks taken: self; a reader function runs with it held and may take only those
 * that rank above it.
 * Counters are atomics, so readers need no lock of their owner.
 */
#ifndef SCOTTY_MESSAGES_OWN_H
#define SCOTTY_MESSAGES_OWN_H

#include "base/err.h"
#include "messages/batch.h"

struct own; /* the registry */

struct own *own_new(struct err *);
void own_free(struct own *);

/*
 * One metric. read gets ctx and returns the value; strings it returns must stay valid until
 * own_collect is called next with the same batch, or be copied to arena.
 */
struct own_metric {
	const char *path, *description, *unit;
	enum kind kind;
	int group; /* 0 plain, 1 memory, 2 resource usage; see tricorder's groups */
	struct value (*read)(void *ctx, struct arena *);
};

/*
 * Registers n rows (lent: static tables) with one ctx. -1 with ERR_NOMEM, ERR_EXISTS. They are in
 * force until own_remove with the same ctx and rows.
 */
int own_add(struct own *, const struct own_metric *rows, size_t n, void *ctx, struct err *);
void own_remove(struct own *, const struct own_metric *rows, void *ctx);

/*
 * A distribution that is counted anew whenever it is asked for, and so is not cumulative. count
 * gets ctx, and fills counts[limit_count + 1], which are zero, and of the distribution sum, min and
 * max; it is called as read is.
 */
struct own_counted {
	struct own_metric metric; /* KIND_DIST; without read */
	const double *limits;     /* rising */
	size_t limit_count;
	void (*count)(void *ctx, struct dist *, uint64_t *counts);
};
#define OWN_GROUP_COUNTED 99 /* their group */

/* As own_add, of one; own_remove takes its metric. */
int own_add_counted(struct own *, const struct own_counted *, void *ctx, struct err *err);

/* A distribution that any thread may add to. */
struct own_dist;

/*
 * Texts and limits (rising) are lent. The distribution is registered, cumulative, in a group of its
 * own (from 100 up), and lives as long as the registry. NULL with ERR_NOMEM, ERR_EXISTS.
 */
struct own_dist *own_dist_new(struct own *, const char *path, const char *description,
    const char *unit, const double *limits, size_t limit_count, struct err *);
void own_dist_add(struct own_dist *, double); /* a finite value */

/* The limits 1, 2, 5 times 10^k from the largest not above lower to the first not below upper. */
size_t own_geometric(double lower, double upper, double *out, size_t max);

/*
 * Fills the batch (reset by the caller) with all metrics, in component order, stamps now_ns.
 * -1 with ERR_NOMEM or ERR_LIMIT.
 */
int own_collect(struct own *, struct batch *, int64_t now_ns, struct err *);

/* Registers the metrics of every process (/proc/...: arguments, CPU, memory, I/O, start time). */
int own_add_process(struct own *, int argc, char **argv, struct err *);

#endif
