/*
 * messages/batch.h - what one poll yields: the metrics in the source's order, checked.
 *
 * A source adds metric after metric; one that is no good (bad path, duplicate, out of order, time
 * stamps at odds with its group) costs only itself: it is counted, the first one is named, and
 * the poll goes on. All memory comes from the batch's arena, which is bounded.
 *
 * Arrays run in parallel: desc[i], value[i], group[i] and ts[i] are the i-th metric.
 *
 * A source that knows from an earlier poll what its metrics are need not have them checked again:
 * it makes the arrays and has the batch adopt them.
 *
 * Threads: a batch belongs to the poll that fills it, then to the thread that stores it.
 */
#ifndef SCOTTY_MESSAGES_BATCH_H
#define SCOTTY_MESSAGES_BATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "messages/metric.h"

/*
 * What batches of one layout share, counted by who made it: batches of several threads hold it at
 * the same time, and nothing of it changes.
 */
struct batch_layout {
	uint64_t id; /* batch.layout_id: not 0, never used again in the life of the process */
	size_t len;  /* metrics */
	void (*release)(struct batch_layout *); /* gives one reference back; any thread */
};

/* A number for a layout; any thread. */
uint64_t batch_layout_next_id(void);

struct batch {
	struct arena arena; /* sources allocate what their metrics point to from it */
	struct buf text;    /* the answer polled, where a source's metrics point into that */
	size_t len;
	const struct metric_desc *desc;
	const struct value *value;
	const int64_t *group; /* metrics of equal group share their time stamp */
	const int64_t *ts;    /* ns since 1970, never TS_NONE once batch_end was called */
	size_t bad_count;     /* metrics left out */
	char bad_text[256];   /* the first of them and why; "" if none. Valid UTF-8 */
	/*
	 * Batches with the same number, if it is not 0, have equal desc and group arrays, whatever
	 * endpoint they came from. Numbers are never used again in the life of a process.
	 */
	uint64_t layout_id;
	/* private: */
	struct batch_index *index;   /* arrays' room, seen paths, stamps of groups */
	struct batch_layout *layout; /* held until the batch is emptied; NULL = none */
	size_t last_len;             /* of the poll before: how much room to begin with */
	bool unordered;
};

/* limit_bytes bounds the arena. Cannot fail: the first add may. */
void batch_init(struct batch *, size_t limit_bytes);
void batch_fini(struct batch *);
/* Empties it for the next poll and keeps some memory. The order counts again. */
void batch_reset(struct batch *);
/*
 * Of two empty batches: `to` gets the memory that `from` has kept, and goes back to the heap with
 * its own. Limits stay, save that the arena may go on using what it got.
 */
void batch_move_memory(struct batch *to, struct batch *from);

/*
 * Adds one metric; what desc and value point to is lent until the batch is reset (take it from the
 * arena). ts_ns may be TS_NONE. A bad metric is counted and named and the call succeeds.
 * -1 only with ERR_NOMEM or ERR_LIMIT (the arena's limit): then the poll has failed.
 *
 * Bad: a path that does not start with '/', has an empty component or is longer than 4096 bytes;
 * sorted before the metric that preceded it in the source (path_cmp_components); path and tags seen
 * already; KIND_NONE; a list of lists; limits that do not rise or are not one fewer than the
 * counts; another time stamp than its group's.
 */
int batch_add(struct batch *, const struct metric_desc *, const struct value *, int64_t group,
    int64_t ts_ns, struct err *);
/* For sources: counts and names a metric that can't even be added, for a reason of their own. */
void batch_bad(struct batch *, struct str path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* For sources whose metrics come in no order (SNMP tables, own metrics): no order check. */
void batch_set_unordered(struct batch *);

/*
 * For sources: what descs and arrays of the batch point into. The batch takes over one reference
 * and releases it when it is emptied. It can hold one.
 */
void batch_hold(struct batch *, struct batch_layout *);
/*
 * For sources: makes an empty batch one of all metrics of the layout that it holds, unchecked: they
 * must be what batch_add would take, in this order. A ts may be TS_NONE only if its whole group has
 * none. The arrays have layout->len elements and live as long as the batch's content; batch_end may
 * write to ts. No batch_add may follow. -1 as batch_add: then the poll has failed.
 */
int batch_adopt(struct batch *, const struct metric_desc *desc, const int64_t *group,
    const struct value *value, int64_t *ts, struct err *);

/* For sources: sets err to ERR_LIMIT or ERR_NOMEM after the arena gave no block of that size. */
void batch_alloc_err(const struct batch *, size_t size, struct err *);

/*
 * Ends the filling: a metric without a stamp gets its group's, a group without any gets now_ns (the
 * wall clock at the end of the transfer).
 */
void batch_end(struct batch *, int64_t now_ns);

#endif
