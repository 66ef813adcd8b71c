/*
 * scotty/client.h - asks a scottyd over HTTP.
 *
 * Waits at most 5 s for a connection, and 60 s for an answer to go on. No redirect is followed, no
 * proxy used.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_CLIENT_H
#define SCOTTY_SCOTTY_CLIENT_H

#include "base/buf.h"
#include "scotty/command.h"

/* Longest answer that is kept as a whole. */
#define CLIENT_ANSWER_BYTES ((size_t)512 << 20)

/*
 * The options are lent. NULL with ERR_CONFIG (server or token file make no sense), ERR_NOMEM,
 * ERR_IO.
 */
struct client *client_new(const struct options *, struct err *);
void client_free(struct client *); /* NULL is fine */
const struct options *client_options(const struct client *);

/* Appends one component of a path, escaped. */
void client_path_add(struct buf *path, struct str component);

/* Takes bytes of an answer, in order; -1 with err to stop. */
struct client_sink {
	int (*take)(void *ctx, struct str bytes, struct err *);
	void *ctx;
};
/*
 * Sends GET, hands what comes to the sink. -1 with ERR_NOTFOUND (404), ERR_DENIED (403),
 * ERR_PROTO (any other answer that is no success), ERR_IO, ERR_TIMEOUT, or what the sink said.
 */
int client_get(struct client *, const char *path, const struct client_sink *, struct err *);
/* The same with the whole answer, as text ended by NUL, appended to out. */
int client_get_all(struct client *, const char *path, struct buf *out, struct err *);
/* Sends POST without a body, with the token. */
int client_post(struct client *, const char *path, struct buf *out, struct err *);

#endif
