/*
 * api/query_priv.h - request targets: path and query string (RFC 3986 and, for what a query holds,
 * the form encoding that browsers use).
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_API_QUERY_PRIV_H
#define SCOTTY_API_QUERY_PRIV_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/str.h"

/*
 * Splits a request target at its first '?'. An absolute one (http://host/path) loses scheme and
 * host. False if what is left does not start with '/'.
 */
bool target_split(struct str target, struct str *path, struct str *query);

/*
 * Appends the path with every byte in the one form RFC 3986 prefers: letters, digits and "-._~" as
 * they are, what a path may not hold as %XX. False if a '%' is not followed by two hex digits.
 */
bool path_normalize(struct str path, struct buf *out);
/*
 * Appends a normalized path without empty, "." and ".." components, a last slash kept, and tells
 * whether that differs from the path.
 */
bool path_clean(struct str path, struct buf *out);

/* Appends the bytes of one path component, all but letters, digits and "-._~" as %XX. */
void url_escape(struct str bytes, struct buf *out);
/* A query string as it may stand in a header: what is not visible ASCII becomes %XX. */
void query_escape(struct str query, struct buf *out);

/* The bytes a normalized path or a part of it stands for. .p is NULL when out of memory. */
struct str url_decode(struct arena *, struct str path);

/*
 * The first value called name, decoded ('+' is a space): pairs are parted by '&' or ';', and one
 * with a broken escape counts as absent. False if there is none, or no memory.
 */
bool query_get(struct str query, const char *name, struct arena *, struct str *value);
/* The same one after the other: *query moves behind the pair that was found. */
bool query_next(struct str *query, const char *name, struct arena *, struct str *value);

/*
 * A metric's path or prefix as people type it: slashes at both ends are cut and one is put before.
 * "" and "/" give "". .p is NULL when out of memory.
 */
struct str metric_path(struct arena *, struct str typed);

#endif
