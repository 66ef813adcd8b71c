/*
 * sources/tricorder_layout_priv.h - skeletons and layouts as the parser sees them.
 *
 * Both are immutable once they are in the table. Whoever has a reference to a layout may read it
 * and its skeletons without a lock.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_LAYOUT_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_LAYOUT_PRIV_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "messages/batch.h"
#include "sources/tricorder_layouts.h"

/* What stands in a hole. Quotes around strings are fixed bytes, save those of HOLE_LIST. */
enum hole_type {
	HOLE_BOOL,
	HOLE_INT,
	HOLE_UINT,
	HOLE_F32,
	HOLE_F64,
	HOLE_TIME, /* or a duration */
	HOLE_STRING,
	HOLE_LIST, /* an array, a string with its quotes, or null */
	HOLE_STAMP,
	HOLE_DIST_F64,  /* at: offset in struct dist */
	HOLE_DIST_UINT, /* likewise */
	HOLE_BUCKET,    /* at: which */
	/* Of Prometheus' formats, always followed by a space or the end of the line. */
	HOLE_SAMPLE,       /* a number */
	HOLE_SAMPLE_SUM,   /* likewise, of a distribution */
	HOLE_SAMPLE_COUNT, /* a count that is known otherwise */
	HOLE_CUMULATIVE,   /* a bucket and all those before; at: which */
	HOLE_STAMP_MS,     /* whole milliseconds */
	HOLE_STAMP_S,      /* seconds */
	HOLE_EXEMPLAR,     /* what stands before the end of the line, maybe nothing */
};

/* Compared as bytes, hence without padding. */
struct hole {
	uint32_t gap; /* fixed bytes between the hole before, or the metric's start, and this one */
	uint32_t type;
	uint32_t at;
};

/* What is compared at each poll comes first, as one heap block with holes and fixed bytes. */
struct skeleton {
	const struct hole *holes;
	size_t hole_count;
	const char *fixed; /* all fixed bytes; behind the last hole stand what gaps leave of them */
	size_t fixed_len;
	size_t context_len;             /* see struct draft */
	const struct metric_desc *desc; /* text, tags and limits are the skeleton's own */
	int64_t group;
	enum kind kind; /* desc's */
	size_t refs;    /* of layouts; table's lock */
	size_t bytes;   /* of the heap block */
};

struct layout {
	struct batch_layout shared;
	atomic_size_t refs; /* endpoints and batches; 0: may be dropped under the table's lock */
	struct tricorder_layouts *table;
	struct skeleton **skeletons; /* shared.len of them */
	const uint32_t *slots;       /* of the skeletons' groups: equal groups, equal slots */
	size_t slot_count;
	size_t dist_count, bucket_count; /* in all */
	/* What a batch needs as arrays. NULL if there was no budget: the poll makes its own. */
	struct metric_desc *desc;
	int64_t *group;
	size_t bytes;               /* of all heap blocks, skeletons left out */
	struct layout *next_doomed; /* table's lock */
	bool doomed;
};

/* What a poll read by a layout fills in. All of it is one block of the batch's arena. */
struct layout_arrays {
	struct value *values;
	int64_t *ts;
	int64_t *group_ts;  /* by slot; TS_NONE at first */
	struct dist *dists; /* dist_count of them; bucket_count counts */
	uint64_t *counts;
};

/* -1 with ERR_NOMEM or ERR_LIMIT. */
int layout_arrays_make(struct layout_arrays *, const struct layout *, struct batch *, struct err *);
/*
 * Descriptions and groups for batch_adopt: the layout's, or copies in the batch's arena where it
 * has none of its own. -1 with ERR_NOMEM or ERR_LIMIT.
 */
int layout_descs(const struct layout *, struct batch *, const struct metric_desc **desc,
    const int64_t **group, struct err *);

/*
 * A metric that was learned: holes, then fixed bytes, then its context, from `at` on in the buffer
 * of all of them. The context is what its desc and group follow from that stands elsewhere in the
 * answer, in a form of the source's choice; it is not compared with answers.
 */
struct draft {
	size_t at, hole_count, fixed_len, context_len;
};

/* What was learned of an answer: the first metrics as `prefix` has them, then the drafts. */
struct lesson {
	const struct layout *prefix; /* NULL if prefix_len is 0 */
	size_t prefix_len;
	const struct draft *drafts;
	const char *bytes;         /* of the drafts */
	const struct batch *batch; /* all metrics, good and none left out */
};

/*
 * The layout that was learned, remembered from now on, with a reference for the caller. NULL if
 * there is neither budget nor memory for it. app's next endpoint is given it as a guess.
 */
struct layout *layout_remember(struct tricorder_layouts *, struct str app, const struct lesson *);
/* The layout that an endpoint of app had last, with a reference for the caller, or NULL. */
struct layout *layout_guess(struct tricorder_layouts *, struct str app);
struct layout *layout_ref(struct layout *);
void layout_unref(struct layout *); /* NULL is fine */

#endif
