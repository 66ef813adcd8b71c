/*
 * api/gzip_priv.h - compresses answers (RFC 1952), streams piece by piece.
 *
 * Threads: a stream belongs to its request.
 */
#ifndef SCOTTY_API_GZIP_PRIV_H
#define SCOTTY_API_GZIP_PRIV_H

#include "api/route_priv.h"

/* True if that Accept-Encoding header takes gzip: it names it and gives it no q of 0. */
bool gzip_accepted(struct str accept_encoding);

/*
 * A stream of what inner yields, compressed. Takes inner, also on failure: NULL when out of
 * memory, and inner is closed then.
 */
struct stream *gzip_stream_new(struct stream *inner);
/* Compresses what the buffer holds. False when out of memory: it is as it was. */
bool gzip_buf(struct buf *);

#endif
