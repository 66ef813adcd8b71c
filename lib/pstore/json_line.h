/*
 * pstore/json_line.h - the line of record_json.h from texts that were prepared, for writers that
 * send many: the very same bytes at a fraction of the work.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_JSON_LINE_H
#define SCOTTY_PSTORE_JSON_LINE_H

#include "pstore/writer.h"

/* What struct writer_ops has by these names. Every value can be written. */
void json_line_prepare_origin(const struct write_origin *, struct buf *out);
void json_line_prepare_series(const struct metric_desc *, struct buf *head, struct buf *tail);
void json_line_format(const struct write_record *, struct buf *out);

#endif
