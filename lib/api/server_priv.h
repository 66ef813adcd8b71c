/*
 * api/server_priv.h - the HTTP server: libmicrohttpd between sockets and routes_dispatch.
 *
 * Threads: server_new/free main; the server has a pool of its own and one that cuts slow clients.
 */
#ifndef SCOTTY_API_SERVER_PRIV_H
#define SCOTTY_API_SERVER_PRIV_H

#include "api/connections_priv.h"
#include "api/route_priv.h"

struct server;

struct server_conf {
	unsigned threads;
	unsigned connections_per_address; /* 0 = no limit */
	struct connections_conf connections;
};

/* Serves on listen_fd, which it takes, also on failure. service outlives it. NULL with err. */
struct server *server_new(
    const struct server_conf *, int listen_fd, struct service *, struct err *);
/* Takes at most a second. NULL is fine. */
void server_free(struct server *);

struct server_stats {
	uint64_t requests;
	uint64_t failed; /* those answered with 400 or above */
	struct connections_stats connections;
};
void server_get_stats(struct server *, struct server_stats *);

#endif
