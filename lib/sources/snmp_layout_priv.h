/*
 * sources/snmp_layout_priv.h - what the polls of agents were made of, remembered, so that the next
 * poll need only be compared and its values taken.
 *
 * A layout is a poll's varbinds without their values (but with the texts that name rows) and the
 * metrics that came of them. Agents that differ in values only share it, and with it the store's
 * plan.
 *
 * Bounds: all layouts of a table count against its budget. When it is used up, those that no agent
 * uses any more go, and if that does not help, no more are remembered.
 *
 * Threads: a table belongs to its poller's thread. A layout never changes, and any thread may give
 * a reference back.
 */
#ifndef SCOTTY_SOURCES_SNMP_LAYOUT_PRIV_H
#define SCOTTY_SOURCES_SNMP_LAYOUT_PRIV_H

#include "sources/snmp_rows_priv.h"

struct snmp_layouts;
struct snmp_layout;

/* NULL with ERR_NOMEM. */
struct snmp_layouts *snmp_layouts_new(size_t budget_bytes, struct err *);
/* Layouts live on as long as somebody has a reference. NULL is fine. */
void snmp_layouts_free(struct snmp_layouts *);
size_t snmp_layouts_bytes(const struct snmp_layouts *);

/*
 * The layout of a poll, with a reference for the caller: the batch has one metric for each of rows,
 * in that order, and perhaps more after them. Sets the batch's layout_id. NULL without memory or
 * budget.
 */
struct snmp_layout *snmp_layout_learn(
    struct snmp_layouts *, const struct snmp_rows *rows, const struct snmp_names *, struct batch *);
void snmp_layout_unref(struct snmp_layout *); /* NULL is fine */

enum snmp_fit {
	SNMP_FITS,  /* the batch is made */
	SNMP_OTHER, /* it is as it was: the poll is another */
	SNMP_LOST,  /* err says why: ERR_NOMEM, ERR_LIMIT */
};
/*
 * Makes the empty batch that rows and then the values in more would make, if they are as in the
 * poll that was learned, but for values. What names rows besides must not have changed either.
 */
enum snmp_fit snmp_layout_apply(struct snmp_layout *, const struct snmp_rows *rows,
    const struct value *more, size_t more_count, struct batch *, struct err *);

#endif
