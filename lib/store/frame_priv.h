/*
 * store/frame_priv.h - one frame of one series in the making (see rollup.h for what comes of it).
 *
 * Threads: none of its own; the caller's data.
 */
#ifndef SCOTTY_STORE_FRAME_PRIV_H
#define SCOTTY_STORE_FRAME_PRIV_H

#include "store/rollup.h"

__extension__ typedef __int128 wide_int;

/* A copy of a value that frames and those who read their results share; counted. */
struct kept {
	uint32_t refs;
	struct value value;
	struct list list; /* what the value leads to, as the next two */
	struct dist dist;
	struct kept *next; /* among those given out */
	uint64_t data[];
};

void kept_unref(struct kept *); /* NULL is fine */

struct frame {
	int64_t name_ns; /* TS_NONE: none */
	uint64_t count;  /* values that it is made of */
	union {
		wide_int sum;
		double real_sum;
		struct value extreme;
		struct kept *kept; /* owns a reference */
	};
};

/* The multiple of span_ns nearest to ts_ns, kept within what a time can be; never TS_NONE. */
int64_t frame_name_ns(int64_t ts_ns, int64_t span_ns);

/* Where the frame of that name begins: half a span before it. */
int64_t frame_begin_ns(int64_t name_ns, int64_t span_ns);

/* The kind of the results, KIND_NONE if it is the series' own. */
enum kind frame_kind(enum rollup_fn, enum kind);

/* Sets it to none; open sets it to one without values. */
void frame_clear(struct frame *, enum rollup_fn, enum kind);
void frame_open(struct frame *, int64_t name_ns);
static inline bool
frame_is_open(const struct frame *frame)
{
	return frame->name_ns != TS_NONE;
}
/* to, which was cleared, becomes the same as from. */
void frame_copy(struct frame *to, const struct frame *from, enum rollup_fn, enum kind);

/* Adds an active value. -1 with ERR_NOMEM: nothing was changed. */
int frame_add(
    struct frame *, enum rollup_fn, const struct metric_desc *, const struct value *, struct err *);
/*
 * The frame's value; at least one was added. *kept: what a string, list or distribution leads to,
 * with a reference for the caller, or NULL.
 */
struct value frame_value(const struct frame *, enum rollup_fn, enum kind, struct kept **kept);

#endif
