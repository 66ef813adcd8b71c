/*
 * api/connections_priv.h - who is connected, and until when: a client that sends its request or
 * takes its answer too slowly is cut off, by shutdown() of its socket from a thread of the table's
 * own.
 *
 * A new connection has head_timeout for its first request head. From there on a request has
 * request_timeout, up to its answer's last byte; an answer still under way then may go on as long
 * as the client takes ANSWER_BYTES_PER_S, looked at over every quarter of request_timeout. Between
 * requests, a connection may rest for request_timeout.
 *
 * Threads: any. Locks taken: connections. The socket of a peer must stay open until peer_remove.
 */
#ifndef SCOTTY_API_CONNECTIONS_PRIV_H
#define SCOTTY_API_CONNECTIONS_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ANSWER_BYTES_PER_S (64 * 1024)

struct connections;
struct peer; /* one connection */

struct connections_conf {
	size_t limit;
	int64_t head_timeout_ns, request_timeout_ns;
};

/* NULL with ERR_NOMEM. */
struct connections *connections_new(const struct connections_conf *, struct err *);
/* Stops the thread. All peers must have been removed. NULL is fine. */
void connections_free(struct connections *);
/* The thread that cuts. -1 with ERR_IO. */
int connections_start(struct connections *, struct err *);

/* False, and counted, when there are as many as may be. */
bool connections_have_room(struct connections *);
/* NULL when out of memory. */
struct peer *peer_add(struct connections *, int fd, int64_t now_ns);
void peer_remove(struct connections *, struct peer *); /* before its socket is closed */

/* The request line is there; then the head; some of the answer's body went out; all of it did. */
void peer_begins(struct connections *, struct peer *, int64_t now_ns);
void peer_head_done(struct connections *, struct peer *);
void peer_sent(struct peer *, size_t bytes);
void peer_rests(struct connections *, struct peer *, int64_t now_ns);

/* Cuts who is late. Returns when to look again; INT64_MAX = nobody is there. */
int64_t connections_cut_late(struct connections *, int64_t now_ns);
/*
 * For the end: cuts whoever rests or comes from now on at once and waits for the others until the
 * deadline of the monotonic clock, then cuts them too.
 */
void connections_drain(struct connections *, int64_t deadline_ns);

struct connections_stats {
	size_t count;
	uint64_t refused; /* above the limit */
	uint64_t cut;     /* too slow */
};
void connections_get_stats(struct connections *, struct connections_stats *);

#endif
