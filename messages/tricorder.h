/*
 * messages/tricorder.h - a batch as a tricorder process publishes it: the JSON of /metricsapi.
 * scottyd serves its own metrics so; the demo endpoint and the fleet simulator do too.
 *
 * Wire format: the indented JSON of tricorder.v1 (docs/design.md, "Wire formats").
 */
#ifndef SCOTTY_MESSAGES_TRICORDER_H
#define SCOTTY_MESSAGES_TRICORDER_H

#include "base/buf.h"
#include "messages/batch.h"

/*
 * Appends the array of all metrics at or under prefix (an empty one holds all). Metrics must be in
 * component order. NaN and infinite floats are left out. Failure shows in out->failed.
 */
void tricorder_encode(const struct batch *, struct str prefix, struct buf *out);
/* The object of exactly the metric at path. False if there is none: nothing was appended. */
bool tricorder_encode_one(const struct batch *, struct str path, struct buf *out);

#endif
