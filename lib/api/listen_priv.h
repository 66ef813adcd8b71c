/*
 * api/listen_priv.h - the listening socket.
 */
#ifndef SCOTTY_API_LISTEN_PRIV_H
#define SCOTTY_API_LISTEN_PRIV_H

#include <stdint.h>

#include "base/err.h"

/*
 * A socket that listens at text ("HOST:PORT" as in api.h), close-on-exec; IPv4 and IPv6 alike where
 * HOST is empty. *port is the one in use. -1 with ERR_CONFIG, ERR_IO, ERR_NOMEM.
 */
int listen_open(const char *text, uint16_t *port, struct err *);

#endif
