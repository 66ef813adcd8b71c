/*
 * pstore/writers.h - all writers that are configured: starts, changes and ends them, and tells how
 * they fare.
 *
 * A writer's queue goes by its name: it stays when all else of it changes, save for the span of a
 * roll-up. A writer that is configured no more keeps its queue for an hour, in case it comes back.
 *
 * Threads: writers_pause and writers_snapshot any, all else one at a time. Locks taken: writers,
 * pump, self, and those of the store.
 */
#ifndef SCOTTY_PSTORE_WRITERS_H
#define SCOTTY_PSTORE_WRITERS_H

#include "pstore/pump.h"

struct writers;

/* A list of elements, checked (consumers_check), and the document that holds it. */
struct writers_list {
	struct conf_doc *doc;
	const struct conf *list; /* NULL = empty */
};

/* None yet. env is copied; own may be NULL. NULL with ERR_NOMEM. */
struct writers *writers_new(const struct pump_env *, struct own *, struct err *);
/* Stops them all, within about a second. NULL is fine. */
void writers_free(struct writers *);

/*
 * From now on these: those that say the same as before are not disturbed. -1 with the first error
 * (ERR_CONFIG, ERR_NOMEM, ERR_LIMIT, ERR_IO); the others run.
 */
int writers_set(struct writers *, const struct writers_list *, size_t n, struct err *);
/* Now and then: lets go of queues that were kept long enough. */
void writers_tend(struct writers *);

/* -1 with ERR_NOTFOUND. Holds until the next change of that writer's configuration. */
int writers_pause(struct writers *, struct str name, bool paused, struct err *);

struct writer_view {
	const char *name;   /* leads into the array */
	const char *writer; /* "influx" */
	unsigned concurrency;
	size_t batch_size;
	int64_t rollup_span_ns;
	struct pump_stats stats;
};
/* All of them in the order configured, in one block for free(); -1 with ERR_NOMEM. */
int writers_snapshot(struct writers *, struct writer_view **out, size_t *n, struct err *);

#endif
