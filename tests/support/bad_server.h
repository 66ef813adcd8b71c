/*
 * bad_server.h - an HTTP server on loopback, in a thread of its own, that misbehaves as told.
 *
 * Threads: all functions belong to the thread that started it; the content callback runs on the
 * server's. What goes wrong in the server itself ends the test by an assertion.
 */
#ifndef SCOTTY_TESTS_BAD_SERVER_H
#define SCOTTY_TESTS_BAD_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum bad_mode {
	/* Good ones: the content, connections kept alive. */
	BAD_OK,
	BAD_CHUNKED,
	BAD_GZIP,
	BAD_OLD,        /* HTTP/1.0 without Content-Length */
	BAD_CLOSE_EACH, /* says so, and closes after each answer */
	BAD_STALE,      /* answers a connection's first request, and closes it at the second */
	/* No answer. */
	BAD_REFUSE, /* does not listen; only as the mode at the start */
	BAD_HANG,   /* accepts and stays silent */
	BAD_SHUT,   /* closes at the request */
	/* An answer that does not end well: half the content, then ... */
	BAD_RESET,   /* ... a reset, after 20 ms */
	BAD_CUT_OFF, /* ... a close before Content-Length is reached */
	BAD_CUT_OFF_CHUNKED,
	BAD_DRIP,         /* one byte of the content at a time */
	BAD_BROKEN_CHUNK, /* half the content, then no length of a chunk */
	BAD_BROKEN_GZIP,  /* says gzip, and is not */
	/* Another answer than asked for. */
	BAD_500,
	BAD_500_ENDLESS,
	BAD_REDIRECT_SELF,
	BAD_REDIRECT_OTHER, /* to http://192.0.2.1/other */
	BAD_NOT_HTTP,
	/* Too much. */
	BAD_ENDLESS,      /* chunked, for ever */
	BAD_GZIP_BOMB,    /* 200 MiB of zeros from 200 kB */
	BAD_HUGE_HEADERS, /* headers for ever */
};

struct bad_server_conf {
	const char *address; /* NULL = 127.0.0.1 */
	uint16_t port;       /* 0 = any */
	/* Appends the content to out, which is empty. NULL = 2,000 bytes of text. */
	void (*content)(void *ctx, const char *path, struct buf *out);
	void *ctx;
	unsigned drip_ms; /* between bytes; 0 = 1,000 */
};

struct bad_server;

/* conf may be NULL: all defaults. */
struct bad_server *bad_server_start(enum bad_mode, const struct bad_server_conf *);
/* Closes its connections and waits for its thread. NULL is fine. */
void bad_server_stop(struct bad_server *);
uint16_t bad_server_port(const struct bad_server *);
/* For requests still to come; makes a server that refused listen. */
void bad_server_set_mode(struct bad_server *, enum bad_mode);
/* Closes all connections; they are closed when it returns. */
void bad_server_drop_connections(struct bad_server *);

unsigned bad_server_accepted_count(struct bad_server *); /* connections so far */
unsigned bad_server_open_count(struct bad_server *);     /* of these, not closed yet */
unsigned bad_server_request_count(struct bad_server *);
/* The head of the newest request, as text cut to out[0..cap). */
void bad_server_last_request(struct bad_server *, char *out, size_t cap);

#endif
