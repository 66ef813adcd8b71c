/*
 * pstore/record_json.h - a record as a line of JSON: what the file writer writes, and the form of
 * dead letters. Keys as in /api/latest; NaN and infinities are null.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_RECORD_JSON_H
#define SCOTTY_PSTORE_RECORD_JSON_H

#include "pstore/writer.h"

/*
 * With why not NULL, its first keys are "writer" and "reason". One that ends its series has
 * "active": false and no value. Ends with a newline.
 */
void record_json(struct buf *out, const struct write_record *, const char *writer, const char *why);
/* "endpointTags":{...}, unless there are none: in an object that has been begun. */
struct json;
void record_json_tags(struct json *, const struct write_origin *);
/* As upstream's debugging echo: {HostName: H, Path: P, ...}, and an empty line. */
void record_echo(struct buf *out, const struct write_record *);

#endif
