/*
 * api/hosts_priv.h - what the views of one endpoint's history have in common.
 */
#ifndef SCOTTY_API_HOSTS_PRIV_H
#define SCOTTY_API_HOSTS_PRIV_H

#include "api/route_priv.h"

/*
 * The series of the endpoint that *rest begins with, with a reference; *rest is what follows. NULL
 * with ERR_NOTFOUND, ERR_NOMEM.
 */
struct series_set *request_series(struct request *, struct str *rest, struct err *);
/*
 * The start of the time asked for: history=N minutes ago, N any whole number; else of `minutes`.
 */
int64_t request_history_start(struct request *, int64_t minutes);

#endif
