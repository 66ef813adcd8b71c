/*
 * store/desc.h - keeps a description that a reader gave out for longer than the reader does.
 *
 * Threads: any. Locks taken: meta.
 */
#ifndef SCOTTY_STORE_DESC_H
#define SCOTTY_STORE_DESC_H

#include "messages/metric.h"
#include "store/store.h"

/*
 * desc is one that a record of the store's iterators, cursors or roll-ups leads to, while it is
 * valid. It stays valid, and its address that description's, until it is let go of. Cannot fail.
 */
void desc_hold(struct store *, const struct metric_desc *desc);
void desc_release(struct store *, const struct metric_desc *desc);

#endif
