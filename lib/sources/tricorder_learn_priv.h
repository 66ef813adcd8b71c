/*
 * sources/tricorder_learn_priv.h - from an answer to the skeletons of its metrics.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_LEARN_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_LEARN_PRIV_H

#include "sources/json_scan_priv.h"
#include "sources/tricorder_layout_priv.h"

/*
 * Learns the metrics that follow the first prefix->prefix_len: text is what was left of the
 * document behind those, a copy made before the parser read it, of less than 4 GiB; `first` as in
 * struct scan. All of the document is in the batch, and nothing was bad. The rest as
 * layout_remember. NULL also for a document that is not worth it: keys given twice or with escapes,
 * times with escapes.
 */
struct layout *layout_learn(struct tricorder_layouts *, struct str app, const struct layout *prefix,
    size_t prefix_len, char *text, size_t len, bool first, const struct batch *);

#endif
