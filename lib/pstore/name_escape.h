/*
 * pstore/name_escape.h - names for stores that take few characters in them, so that the name can be
 * had back.
 *
 * Letters and digits of ASCII, '-' and the characters the store takes besides stand for themselves;
 * all other bytes are '_' and two hexadecimal digits in capitals. '_' stands for itself unless two
 * hexadecimal digits follow it: then it is "_5F". It is upstream's way to have names back
 * (reference: its OpenTSDB API), which takes a '_' without such digits for itself.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_NAME_ESCAPE_H
#define SCOTTY_PSTORE_NAME_ESCAPE_H

#include "base/buf.h"
#include "base/str.h"

/* also: what stands for itself besides; not '_'. */
void name_escape(struct buf *, struct str name, const char *also);

/*
 * What stands before the key of a tag: prefix ("metric_", "endpoint_") if the key is one of those
 * that the writer gives to records (ours, ended by NULL), else "".
 */
const char *name_prefix(struct str key, const char *prefix, const char *const *ours);

#endif
