/*
 * sources/http_priv.h - what the two ways of an HTTP request share.
 *
 * http.c keeps targets and requests, has names resolved, applies the guard and tells the owner;
 * http_plain.c (sockets of our own) and http_tls.c (libcurl) carry a request to an address.
 */
#ifndef SCOTTY_SOURCES_HTTP_PRIV_H
#define SCOTTY_SOURCES_HTTP_PRIV_H

#include "sources/http.h"

#define HTTP_HEADER_BYTES_MAX (64 * 1024)
/* Of an answer that is not 200 as much is read, so that its connection can be kept. */
#define HTTP_UNWANTED_BYTES_MAX (64 * 1024)
#define HTTP_REASON_BYTES       64

/* "[ADDRESS]:PORT" */
#define HTTP_WHERE_BYTES (INET6_ADDRSTRLEN + sizeof("[]:65535"))

#define HTTP_USER_AGENT "scottyd/" SCOTTY_VERSION

struct http_plain; /* http_plain.c: a client's connections over plain HTTP */
struct http_conn;  /* one of them */
struct http_tls;   /* http_tls.c: a client's multis */
struct curl_slist;
struct http_multi; /* one of them */

/* A way to carry requests. */
struct http_transport {
	/* A target is made, or -1 with err; a target is going. */
	int (*target_add)(struct http_target *, struct err *);
	void (*target_remove)(struct http_target *);
	/* The target's address is another from here on: kept connections to the old one end. */
	void (*target_moved)(struct http_target *);
	/* The guard has passed the address. */
	void (*begin)(struct http_request *, const struct net_addr *);
	void (*proceed)(struct http_request *);
	/* No more of this request; its connection is closed if it is not finished. */
	void (*end)(struct http_request *);
};

extern const struct http_transport http_over_plain, http_over_tls;

struct http_client {
	struct loop *loop;
	struct resolver *resolver;
	unsigned keep_alive_s;
	unsigned target_count;
	bool all_by_libcurl;
	struct http_plain *plain;
	struct http_tls *tls;
};

struct http_target {
	struct http_client *client;
	const struct http_transport *via;
	char *name;
	struct buf url; /* ended by NUL */
	uint16_t port;
	bool tls, verify;
	bool deny_loopback, deny_link_local;
	bool numeric;           /* name is an address: nothing to resolve */
	struct net_addr addr;   /* of the last request; AF_UNSPEC: none yet */
	size_t last_body_bytes; /* the size to expect */
	unsigned request_count; /* under way */

	/* http_plain.c's */
	struct buf head;        /* the request as it is sent */
	struct http_conn *conn; /* kept for the next request, else NULL */
	size_t lead_bytes;      /* before the content of its last answer; 0: not known */

	/* http_tls.c's */
	struct http_multi *multi;
	struct http_target *prev, *next; /* of the same multi */
	char *ca_file;                   /* NULL: the system's */
	char *cert_file, *key_file;      /* NULL: none */
	struct buf tls_url;              /* with the server's name, ended by NUL; empty: url */
	struct buf header_lines;         /* each ended by NUL */
	struct curl_slist *headers;      /* of these */
	int fd; /* the connection opened for it last, while open; else -1 */
};

/* For tests and benchmarks: targets made from here on go by libcurl, plain HTTP too. */
void http_client_all_by_libcurl(struct http_client *);

struct http_plain *http_plain_new(struct http_client *, struct err *);
void http_plain_free(struct http_plain *); /* NULL is fine */
/* Closes the connection unused longest; false: there is none unused. */
bool http_plain_close_idle(struct http_plain *);

int http_tls_global_init(struct err *);
struct http_tls *http_tls_new(struct http_client *, struct err *);
void http_tls_free(struct http_tls *); /* NULL is fine */

/* A request's way to its end. */

/* The connection stands, the request goes out. Does nothing when called again. */
void http_connected(struct http_request *);
/* Its outcome, told by a task of the loop; later ones don't count. why NULL: success. */
void http_settle(struct http_request *, const struct err *why);
/*
 * As http_settle, at once if the owner knows of the connection: only for the last call of an
 * event's function, as he may free all there is.
 */
void http_settle_now(struct http_request *, const struct err *why);
/* Before the body gets memory; it may be called again. */
void http_body_begin(struct http_request *);
/* Ends the body by NUL and notes its size; -1 with ERR_NOMEM. */
int http_body_end(struct http_request *, struct err *);
/* Makes room for n more bytes of the body, at first for as many as the last answer had. */
bool http_body_reserve(struct http_request *, size_t n);

/* The descriptors of all clients together, any thread. */

/* Opens a socket, of which close is to be told; at the limit an idle connection goes for it. */
int http_socket_open(
    struct http_client *, int family, int type, int protocol, const char *where, struct err *);
int http_socket_close(int fd);
/* More are open than should be: what can be closed is not kept. */
bool http_sockets_too_many(void);

/* Texts of errors. */

/* "10.0.0.1:80" or "[::1]:80", to out[HTTP_WHERE_BYTES]. */
void http_where_text(const struct net_addr *, uint16_t port, char *out);
/* Copies what a server sent as far as it fits; all but printable ASCII turns into '?'. */
void http_printable_copy(char *out, size_t cap, struct str text);
/* Copies the media type of a Content-Type to out[HTTP_MEDIA_TYPE_BYTES], as http_request says. */
void http_media_type_copy(char *out, struct str content_type);
void http_err_too_large(struct err *, const char *what, size_t limit);
/* location empty: none, or not a redirect. */
void http_err_of_status(struct err *, unsigned status, const char *reason, struct str location);
void http_err_of_connect(struct err *, int errnum, const char *where);
/* whole < 0: the length was not announced. */
void http_err_of_cut_off(struct err *, uint64_t got, int64_t whole);
/* A connection that broke after so many bytes of the body. */
void http_err_of_break(struct err *, int errnum, size_t got);

#endif
