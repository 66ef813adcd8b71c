/*
 * sources/tricorder_layouts.h - what the answers of tricorder processes look like, remembered for
 * the whole fleet, so that the next answer need only be compared with it.
 *
 * A *skeleton* is one metric: its bytes but for the value and the time stamp, and what they
 * describe. A *layout* is the list of an answer's skeletons. Both are shared: endpoints that differ
 * in a few metrics share the skeletons of all others, endpoints that do not differ the layout.
 *
 * Bounds: all memory counts against one budget. When it is used up, or the table has doubled,
 * layouts that no endpoint uses are dropped; when that does not help, no more are remembered.
 *
 * Threads: all functions from any. Lock: layouts.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_LAYOUTS_H
#define SCOTTY_SOURCES_TRICORDER_LAYOUTS_H

#include <stddef.h>

struct tricorder_layouts;
struct err;

/* NULL with ERR_NOMEM. */
struct tricorder_layouts *tricorder_layouts_new(size_t budget_bytes, struct err *);
/* NULL is fine. Every source and every batch that used it must be gone. */
void tricorder_layouts_free(struct tricorder_layouts *);

struct tricorder_layouts_stats {
	size_t layouts, skeletons, bytes;
};
void tricorder_layouts_stats(struct tricorder_layouts *, struct tricorder_layouts_stats *out);

#endif
