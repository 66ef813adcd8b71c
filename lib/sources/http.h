/*
 * sources/http.h - HTTP GET for sources: many targets, one loop, nothing that blocks.
 *
 * Plain HTTP goes over sockets of our own, HTTPS by libcurl (docs/design.md); both look the same
 * from here. Connections are kept alive, in a number bounded for the whole process. Names are
 * resolved by resolver.h. Redirects are not followed, proxies of the environment not used.
 *
 * Threads: a client and its requests belong to one loop's thread.
 */
#ifndef SCOTTY_SOURCES_HTTP_H
#define SCOTTY_SOURCES_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"
#include "sources/resolver.h"

struct http_client;
struct http_conn;
struct http_transfer;

/*
 * Once in main, before any thread. Ignores SIGPIPE, as OpenSSL writes without MSG_NOSIGNAL.
 * -1 with ERR_IO.
 */
int http_global_init(struct err *);

/*
 * How many connections the process keeps open, all clients together: at that number the one unused
 * longest is closed before another is opened, and none is kept that can be closed. Those in use
 * are not touched, so max should be above the number of requests at once. 0 = the default, set by
 * http_global_init: the open-file limit less 256, or three quarters of a limit below 1,024. Any
 * thread.
 */
void http_set_connections_max(unsigned max);

/* resolver outlives the client. keep_alive_s: how long an unused connection is kept. */
struct http_client *http_client_new(
    struct loop *, struct resolver *, unsigned keep_alive_s, struct err *);
/* All its targets must be freed. NULL is fine. */
void http_client_free(struct http_client *);

/* Where requests go: prepared once per endpoint. */
struct http_target_conf {
	struct str name; /* the address as configured: also for Host and certificate checks */
	uint16_t port;
	struct str path;    /* starts with '/'; may hold a query */
	struct str accept;  /* empty = no Accept header */
	struct str headers; /* more of them, "NAME: VALUE\n" each; may hold secrets */
	bool tls;
	/* TLS only. */
	bool verify;                    /* check chain and name */
	struct str ca_file;             /* empty = the system's */
	struct str cert_file, key_file; /* the client's own (PEM); empty = none */
	struct str server_name;         /* asked for and checked in place of name; empty = name */
	/* The guard: addresses refused after resolution, whatever the name says. */
	bool deny_loopback, deny_link_local;
};

struct http_target;
/* Text copied. NULL with ERR_CONFIG, ERR_NOMEM. */
struct http_target *http_target_new(
    struct http_client *, const struct http_target_conf *, struct err *);
void http_target_free(struct http_target *); /* no request under way; NULL is fine */
/* What is asked for, for error texts: "http://10.0.0.1:6910/metricsapi/". Lives as long as the
 * target. */
const char *http_target_url(const struct http_target *);

#define HTTP_MEDIA_TYPE_BYTES 40

/* One GET, embedded in its owner. At most one at a time per request struct. */
struct http_request {
	/* Set by the owner. */
	void (*on_connected)(struct http_request *); /* the request goes out; may be NULL */
	void (*on_body)(struct http_request *);      /* before body gets memory; may be NULL */
	void (*on_done)(struct http_request *, const struct err *); /* NULL = 200 answered whole */
	size_t max_bytes; /* body after decompression; more is ERR_LIMIT */
	bool hold;        /* the body is not taken in before http_proceed */
	/*
	 * Lent by the owner from http_get until he is done with the answer: it is emptied, then
	 * gets the body, which is whole when on_done comes without an err. A NUL stands beyond its
	 * end. on_body may give it memory, for the answer to be read there.
	 */
	struct buf *body;
	/*
	 * Lent likewise, or NULL: gets the answer's media type in small letters without parameters,
	 * ended by NUL, cut to HTTP_MEDIA_TYPE_BYTES; "" if it has none.
	 */
	char *media_type;
	/* the client's own from here on; zero before the first http_get */
	struct http_target *target;
	struct http_transfer *transfer; /* while libcurl works on it */
	struct http_conn *conn;         /* over plain HTTP */
	struct resolver_ask ask;
	struct loop_task tell_task; /* calls the owner */
	bool active, connected, told, settled, paused, body_begun;
	struct err why; /* when settled; ERR_NONE = success */
};

/*
 * Starts; callbacks come in later turns of the loop, never inside this call. on_done once unless
 * cancelled. Errors say what happened where: "connect to 10.0.0.1:80: Connection refused",
 * "answered 500 Internal Server Error", "answer larger than 64 MiB", "answer cut off after 512 of
 * 1000 bytes", "answered 301 to http://x/; redirects are not followed".
 */
void http_get(struct http_request *, struct http_target *);
/* Takes in the body of a request that was started with hold. Clears hold; may be called early. */
void http_proceed(struct http_request *);
/* No callback once it has returned; the connection is closed, as an answer may still be coming. */
void http_cancel(struct http_request *);

#endif
