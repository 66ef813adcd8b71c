/*
 * sources/http_conn_priv.h - a client's connections over plain HTTP: opened, kept, found, closed.
 *
 * A target keeps one connection; another target of the same address and port may take it over. A
 * connection is in the epoll set from its first byte to its last. Idle ones are closed when they
 * have been unused for keep_alive_s (one timer for all), when http_set_connections_max demands it,
 * and by http_plain.c at any event of theirs.
 *
 * Threads: as the client.
 */
#ifndef SCOTTY_SOURCES_HTTP_CONN_PRIV_H
#define SCOTTY_SOURCES_HTTP_CONN_PRIV_H

#include "sources/http_answer_priv.h"
#include "sources/http_priv.h"

#define HTTP_CONN_BUCKETS 1024 /* 10,000 connections are ten to a bucket */

struct http_gzip;

struct http_conn {
	struct loop_fd fd;
	struct http_conns *conns;
	struct http_conn *prev, *next; /* idle ones: unused longer, unused shorter */
	struct http_conn *chain;       /* of its bucket */
	struct http_target *target;    /* that keeps it, or whose request it serves */
	struct http_request *request;  /* NULL: idle */
	int64_t idle_ns;               /* since then */
	struct net_addr addr;
	uint16_t port;
	bool connecting;
	bool reused; /* it has served another request before this */
	unsigned char held_events;

	/* The request under way. */
	size_t sent;
	uint64_t wire_bytes;    /* of the answer, read so far */
	uint64_t content_bytes; /* of these, content before decompression */
	size_t lead_bytes;      /* before the content; 0: none has come */
	struct http_gzip *gzip; /* NULL: not compressed */
	struct http_answer answer;
};

struct http_conns {
	struct http_client *client;
	struct http_conn *first_idle, *last_idle;     /* unused longest, unused shortest */
	struct loop_timer sweep;                      /* set while there are idle ones */
	struct http_conn *buckets[HTTP_CONN_BUCKETS]; /* all, by address and port */
};

void http_conns_init(struct http_conns *, struct http_client *);
void http_conns_fini(struct http_conns *); /* all are closed */

/* A new one, on its way to addr (`connecting`) or there; fn gets its events. NULL with err. */
struct http_conn *http_conn_open(struct http_conns *, struct http_target *, const struct net_addr *,
    void (*fn)(struct loop_fd *, unsigned events), struct err *);
/* A kept connection to where the target is, its own or another's; NULL: none. */
struct http_conn *http_conn_take(
    struct http_conns *, struct http_target *, const struct net_addr *);
/* No request is under way: it stays with its target, as a rule. It may be closed in the call. */
void http_conn_keep(struct http_conn *);
/* No request is under way; kept or not. */
void http_conn_close(struct http_conn *);
/* Closes the one unused longest; false: there is none unused. */
bool http_conns_close_idle(struct http_conns *);

#endif
