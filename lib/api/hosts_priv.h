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
/*
 * If history from start_ns on is whole only from a later time on (see iter_cut_ns), the answer has
 * a header that says so: "X-Scotty-History-Cut: 2026-11-20T21:21:03.250Z".
 */
void response_history_cut(struct request *, struct response *, int64_t start_ns, int64_t cut_ns);

#endif
