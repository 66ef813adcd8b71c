/*
 * api/admin_priv.h - who may change something.
 */
#ifndef SCOTTY_API_ADMIN_PRIV_H
#define SCOTTY_API_ADMIN_PRIV_H

#include "api/route_priv.h"

/*
 * True for a client that sends the token, and for one on loopback; never for a page of another site
 * that a browser of such a client shows.
 */
bool admin_allowed(struct request *);

/*
 * Equal, in a time that tells nothing about `secret` save whether it is empty: that is never equal.
 */
bool token_eq(struct str given, struct str secret);

#endif
