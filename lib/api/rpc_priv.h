/*
 * api/rpc_priv.h - XML-RPC (http://xmlrpc.com/spec.md): the text of values, and the methods.
 *
 * A metric is a struct with the keys of /api/latest. Its value is a boolean; an int or, where it
 * does not fit 32 bits, the widely known extension i8; a double; a string; an array; for a list of
 * uint8 base64; for a distribution a struct with sum, count, counts, rollOverCount. As strings come
 * times and durations (as in JSON), unsigned values above the largest i8, and NaN and the
 * infinities, which have no place in a double.
 *
 * Threads: pure functions, but for rpc_new and rpc_free.
 */
#ifndef SCOTTY_API_RPC_PRIV_H
#define SCOTTY_API_RPC_PRIV_H

#include "api/route_priv.h"
#include "messages/metric.h"
#include "store/iter.h"

/* Each appends one <value>. */
void rpc_string(struct buf *, struct str);
void rpc_int(struct buf *, int64_t);
void rpc_double(struct buf *, double);
void rpc_value(struct buf *, const struct metric_desc *, const struct value *);
void rpc_metric(struct buf *, struct str host, struct str app, const struct record *);

/* The methods. NULL with ERR_NOMEM. Once made, any thread may serve requests from it. */
struct rpc *rpc_new(struct err *);
void rpc_free(struct rpc *); /* NULL is fine */

#endif
