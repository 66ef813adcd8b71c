/*
 * fleet/http_fetch_priv.h - one document on a server, fetched every so often.
 *
 * By libcurl on a thread of its own, so a server that hangs costs nobody anything. Redirects are
 * not followed, proxies of the environment not used. With an ETag the server may answer 304: the
 * document is as it was.
 */
#ifndef SCOTTY_FLEET_HTTP_FETCH_PRIV_H
#define SCOTTY_FLEET_HTTP_FETCH_PRIV_H

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"

struct http_fetch;

struct http_fetch_conf {
	const char *url;     /* http or https */
	const char *ca_file; /* NULL = the system's */
	const char *bearer;  /* token; NULL = none */
	int64_t refresh_ns;  /* from one answer to the next request */
	int64_t timeout_ns;  /* of a whole request */
	size_t bytes_max;    /* of the document, also after decompression */
	/*
	 * On the loop, after each request: why NULL, then body is the document, or NULL if it is as
	 * it was; else what went wrong. Of several outcomes that wait only the last is told.
	 */
	void (*done)(void *ctx, const struct str *body, const struct err *why);
	void *ctx;
};

/* "http://HOST..." or "https://HOST..." without user, password and fragment. NULL or a complaint.
 */
const char *http_fetch_url_fault(struct str url);

/* Text copied. The first request goes out at once. NULL with ERR_NOMEM, ERR_IO. */
struct http_fetch *http_fetch_new(struct loop *, const struct http_fetch_conf *, struct err *);
/* Asks now. */
void http_fetch_now(struct http_fetch *);
/* The document told last was no good: the next one comes whole, same or not. */
void http_fetch_forget(struct http_fetch *);
/* Ends the request under way. done is not called any more. NULL is fine. */
void http_fetch_free(struct http_fetch *);

#endif
