/*
 * api/route_priv.h - requests and answers as handlers see them, and the table of routes.
 *
 * A handler is a function from a request to a response and knows no socket, so that a test calls
 * it as the server does. Adding a route is a handler's file and a line in routes.def.
 *
 * Threads: handlers run on any of the server's threads, several at once; what they share is in
 * struct service.
 */
#ifndef SCOTTY_API_ROUTE_PRIV_H
#define SCOTTY_API_ROUTE_PRIV_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/lock.h"

struct rpc;

/* What all requests share. */
struct service {
	struct api_env env;
	int64_t start_ts_ns;
	_Atomic bool ready;
	const char *_Atomic status; /* until it is ready; NULL: "not ready" */
	struct rpc *rpc;            /* the methods of XML-RPC; read-only */
	struct lock token_lock;
	char *token; /* token_lock; NULL = administration from loopback only */
};

/* 0, or -1 with ERR_NOMEM. */
int service_init(struct service *, const struct api_env *, const char *token, struct err *);
void service_fini(struct service *);
int service_set_token(struct service *, const char *token, struct err *);

enum method {
	METHOD_GET = 1,
	METHOD_HEAD = 2,
	METHOD_POST = 4,
	METHOD_PUT = 8,
	METHOD_DELETE = 16,
	METHOD_OTHER = 32,
};

/* METHOD_OTHER for what no route takes. */
enum method method_parse(const char *name);

#define REQUEST_BODY_BYTES (64 * 1024) /* most a body may have */

struct request {
	enum method method;
	struct str target; /* as it came: path and query */
	struct str body;
	bool from_loopback; /* straight from this machine, by no proxy */
	int64_t now_ns;     /* wall clock */
	unsigned refuse;    /* 0, or the status to answer with, whatever is asked for */
	struct service *service;
	/*
	 * The value of a header, empty if absent; name in any case. Valid as long as the request.
	 */
	struct str (*header)(const struct request *, const char *name);

	/* Filled by routes_dispatch. */
	struct str path;    /* normalized, still with its %XX */
	struct str query;   /* raw */
	struct str rest;    /* of the path: what comes after the route's */
	bool json_errors;   /* the route's errors are {"error":"..."} */
	struct arena arena; /* what handlers decode; freed with the request */
};

void request_init(struct request *, struct service *);
void request_fini(struct request *);
/* A parameter of the form in the body or of the query, the first of that name; empty if absent. */
struct str request_param(struct request *, const char *name);
/* The metric's path or prefix that a part of req->rest stands for. -1 with ERR_NOMEM. */
int request_metric_path(struct request *, struct str raw, struct str *path, struct err *);
/*
 * Cuts HOST/APP off *rest, leaving what follows, and decodes both. -1 with ERR_NOTFOUND (one of
 * them is missing or empty), ERR_NOMEM.
 */
int request_endpoint(
    struct request *, struct str *rest, struct str *host, struct str *app, struct err *);
/* As request_endpoint, of the whole of req->rest: ERR_NOTFOUND too if something follows. */
int request_named_endpoint(struct request *, struct str *host, struct str *app, struct err *);
/* True if the answer shall be indented (format=text). */
bool request_wants_text(struct request *);

/*
 * An answer made in pieces. fill appends the next one to out, about STREAM_PIECE_BYTES;
 * MORE with nothing appended is fine, FAILED breaks the connection off, as the status line is
 * gone by then. After END and FAILED there is no further fill.
 */
enum stream_result { STREAM_MORE, STREAM_END, STREAM_FAILED };
struct stream {
	enum stream_result (*fill)(struct stream *, struct buf *out);
	void (*close)(struct stream *);
};

#define STREAM_PIECE_BYTES (32 * 1024)
/* Empties a buffer for the next piece; after an uncommonly large one its memory is given back. */
void stream_piece_clear(struct buf *);

#define RESPONSE_HEADERS 4
struct header {
	const char *name;  /* lent: literals */
	const char *value; /* lent: literals, or from the request's arena */
};

struct response {
	unsigned status;
	const char *content_type;
	struct header headers[RESPONSE_HEADERS];
	size_t header_count;
	struct buf body;       /* the whole answer, or */
	struct stream *stream; /* its source */
	bool close;            /* end the connection after this one */
};

void response_init(struct response *); /* 200, application/json, empty */
void response_fini(struct response *);
void response_header(struct response *, const char *name, const char *value);
/* Starts over with an answer of that text, of type text/plain. */
void response_text(struct response *, unsigned status, const char *text);
/* "404 Not Found\n", or {"error":"not found"} on routes with such errors. */
void response_status(const struct request *, struct response *, unsigned status);
/* The same with a text of its own for the JSON form. */
void response_refuse(const struct request *, struct response *, unsigned status, const char *why);
/* What err means to a client: 400, 404, 409, 500 or 503. */
void response_err(const struct request *, struct response *, const struct err *);
/* "Not Found" for 404 */
const char *status_text(unsigned status);

/*
 * Answers a request: finds the route, redirects to the clean form of its path, calls the handler,
 * compresses. Whatever happens, there is an answer.
 */
void routes_dispatch(struct request *, struct response *);

#define ROUTE(path, methods, handler, flags) void handler(struct request *, struct response *);
#include "api/routes.def"
#undef ROUTE

#endif
