/*
 * sources/tricorder_parse_priv.h - the JSON that a tricorder process serves, to a batch, in one
 * pass.
 *
 * Takes what RFC 8259 allows, in any layout and with keys in any order; of equal keys the last one
 * counts, unknown ones are skipped. In strings, bytes that are not UTF-8 and halves of surrogate
 * pairs become U+FFFD, as with Go's decoder. On documents that json-c reads in strict mode it gives
 * the same metrics (the differences are listed in tests/sources/tricorder_diff_test.c). Strings are
 * unescaped in place: the document is overwritten, and the batch points into it.
 *
 * Bounds: nesting 64; time linear in the document; memory only from the batch's arena.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_PARSE_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_PARSE_PRIV_H

#include "base/err.h"
#include "messages/batch.h"

/*
 * doc[len] must be writable and followed by a NUL at doc[len]; it must live as long as the batch's
 * content.
 *
 * A metric that is no good is left out and counted (batch.h), for batch_add's reasons or these: no
 * path, no value, unknown kind, a value that does not fit its kind, a distribution without ranges,
 * a tag given twice, more than 64 tags, a time stamp or group id that is none. Absent and null are
 * the same; only path, kind and value are needed (a list may be null: it is empty).
 *
 * -1 with ERR_PROTO ("not JSON at byte 17: ...", "not a list of metrics at byte 0") if the
 * document as a whole is no good, ERR_NOMEM, ERR_LIMIT: then the batch must not be used.
 */
int tricorder_parse(char *doc, size_t len, struct batch *, struct err *);

#endif
