/*
 * sources/http_gzip_priv.h - gzip content inflated as it comes (RFC 1952), within a limit.
 *
 * Threads: an http_gzip belongs to its owner.
 */
#ifndef SCOTTY_SOURCES_HTTP_GZIP_PRIV_H
#define SCOTTY_SOURCES_HTTP_GZIP_PRIV_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct http_gzip;

enum http_gzip_result {
	HTTP_GZIP_OK,
	HTTP_GZIP_TOO_LARGE,
	HTTP_GZIP_BAD,
	HTTP_GZIP_NOMEM,
};

/* About 40 kB: for use again and again. NULL when out of memory. */
struct http_gzip *http_gzip_new(void);
void http_gzip_free(struct http_gzip *); /* NULL is fine */
/* For another stream. */
void http_gzip_reset(struct http_gzip *);
/*
 * Appends what in yields, so that out holds at most max bytes. Members that follow each other are
 * one content.
 */
enum http_gzip_result http_gzip_inflate(
    struct http_gzip *, struct str in, struct buf *out, size_t max);
/* All that came made up whole members. */
bool http_gzip_is_whole(const struct http_gzip *);
/* After HTTP_GZIP_BAD: what is wrong. */
const char *http_gzip_why(const struct http_gzip *);

#endif
