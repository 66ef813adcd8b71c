/*
 * scotty/out.h - text for a terminal that may come from an endpoint, so is not to be trusted.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_OUT_H
#define SCOTTY_SCOTTY_OUT_H

#include "base/buf.h"

/* Appends the text; each byte of a control character, or that is no UTF-8, becomes \xNN. */
void out_text(struct buf *, struct str);
/*
 * Appends a piece of a JSON document. Control characters become \u00NN, which is the same document,
 * as only line ends and tabs stand outside strings; what is no UTF-8 becomes \ufffd. Returns how
 * much of the piece was used: a character that is cut by its end is left for the next, save when
 * there is none.
 */
size_t out_json(struct buf *, struct str piece, bool is_last);

#endif
