/*
 * batch_same.h - compares two polls: all that a batch says, bit for bit.
 */
#ifndef SCOTTY_TESTS_BATCH_SAME_H
#define SCOTTY_TESTS_BATCH_SAME_H

#include "messages/batch.h"

/* NULL, or what differs first. layout_id does not count. Call batch_end for both before. */
const char *batch_difference(const struct batch *, const struct batch *);

#endif
