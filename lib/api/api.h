/*
 * api/api.h - the main port: REST, XML-RPC, scottyd's own metrics.
 *
 * libmicrohttpd with epoll and a pool of threads. Answers are streamed a piece at a time,
 * compressed when the client takes gzip; limits: size of request head and body, time for the head
 * and for the whole request, connections in all and per address. A slow client is cut off and never
 * holds a thread.
 *
 * Threads: api_new/free main; handlers run on the pool's threads. Locks taken: connections, and
 * those of the modules asked.
 */
#ifndef SCOTTY_API_API_H
#define SCOTTY_API_API_H

#include "fleet/fleet.h"
#include "journal/journal.h"
#include "messages/own.h"
#include "pstore/writers.h"
#include "store/store.h"

struct api;

struct api_conf {
	const char *listen;      /* "127.0.0.1:6980", "[::1]:6980", ":6980" = all addresses */
	const char *admin_token; /* NULL = PUT and DELETE from loopback only */
	unsigned threads;        /* 0 = 2 */
	unsigned connections;    /* 0 = 1000 */
	unsigned connections_per_address; /* 0 = no limit but the former */
	int64_t head_timeout_ns;          /* 0 = 10 s */
	/*
	 * 0 = 60 s: from its first byte to the answer's last. An answer that is taken at 64 KiB/s
	 * or more may go on.
	 */
	int64_t request_timeout_ns;
};

/* What handlers read. All outlive the api. */
struct api_env {
	struct store *store;
	struct fleet *fleet;
	struct own *own;
	struct writers *writers; /* NULL = none can be had */
	struct journal *journal; /* NULL = nothing is kept on disk */
};

/*
 * Listens at once; /readiness says 503 until api_set_ready. NULL with ERR_CONFIG (listen makes no
 * sense), ERR_IO ("listen on 127.0.0.1:6980: Address already in use").
 */
struct api *api_new(const struct api_conf *, const struct api_env *, struct err *);
void api_set_ready(struct api *);
/* What /readiness says until then, a literal with its newline; "not ready" at first. */
void api_set_status(struct api *, const char *status);
/* The port in use (the one given, or what the system chose for 0). */
uint16_t api_port(const struct api *);
/* Another token after a reload (copied). */
int api_set_admin_token(struct api *, const char *token, struct err *);
/* Stops listening, cuts what is under way after at most 1 s. NULL is fine. */
void api_free(struct api *);

/* Splits "HOST:PORT" ("" host = all addresses, [v6] in brackets). -1 with ERR_CONFIG. */
int api_parse_listen(struct str text, struct str *host, uint16_t *port, struct err *);

#endif
