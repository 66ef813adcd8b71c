#include <arpa/inet.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/server_priv.h"
#include "base/clock.h"
#include "base/log.h"

/* Holds the request head, then what is sent of an answer at a time. */
#define CONNECTION_MEMORY_BYTES (32 * 1024)
/* More of a body that is refused anyway is not worth reading: the connection breaks. */
#define DISCARD_BYTES (1024 * 1024)
#define STOP_NS       (800 * NS_PER_MS)
/*
 * So many pieces are made before the first is sent, as most answers have no more: then one system
 * call sends all. Such an answer's bytes count as sent from the start, which is no gift: there are
 * so few that who takes them at ANSWER_BYTES_PER_S is done before anyone looks.
 */
#define PIECES_AHEAD 24
/* Of so many answers at a time, which bounds what clients that take nothing can have it hold. */
#define AHEAD_MOST 16
/* Their memory is kept for other answers, so that it need not be mapped for each. */
#define SPARES      2
#define SPARE_BYTES (2 * PIECES_AHEAD * STREAM_PIECE_BYTES)

struct server {
	struct service *service;
	struct connections *connections;
	struct MHD_Daemon *daemon;
	_Atomic(struct answer *) spares[SPARES]; /* without a stream; NULL: none */
	_Atomic unsigned ahead_count;
	_Atomic uint64_t requests, failed;
};

/* One request and its answer, up to the latter's last byte. */
struct exchange {
	struct server *server;
	struct MHD_Connection *connection;
	struct peer *peer; /* NULL if there was no memory for one: then it is being cut */
	struct request request;
	struct buf body;
	uint64_t body_bytes; /* received, kept or not */
	bool begun;
};

/* A stream on its way out; the library owns it and may free it after its connection. */
struct answer {
	struct server *server;
	struct stream *stream; /* NULL: all of it is in piece */
	struct peer *peer;
	struct buf piece;
	size_t offset;             /* of what is still to send of piece */
	enum stream_result result; /* of the last fill */
	bool ahead;                /* counted in ahead_count */
};

/*
 * On every answer: what comes from endpoints must never run in a browser, be kept by one, or be
 * framed by another site.
 */
static const struct header common_headers[] = {
	{ "X-Content-Type-Options", "nosniff" },
	{ "Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'" },
	{ "Cache-Control", "no-store" },
};

static struct str
exchange_header(const struct request *req, const char *name)
{
	const struct exchange *x = CONTAINER_OF((struct request *)req, struct exchange, request);

	return str_of(MHD_lookup_connection_value(x->connection, MHD_HEADER_KIND, name));
}

static struct peer *
peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info == NULL ? NULL : info->socket_context;
}

static void
exchange_free(struct exchange *x)
{
	if (x == NULL)
		return;
	request_fini(&x->request);
	buf_fini(&x->body);
	free(x);
}

/* The request line is there. What is returned becomes the request's context; NULL breaks it off. */
static void *
on_request_line(void *cls, const char *target, struct MHD_Connection *connection)
{
	struct server *server = cls;
	struct exchange *x = calloc(1, sizeof(*x));

	if (x == NULL)
		return NULL;
	x->server = server;
	x->connection = connection;
	x->peer = peer_of(connection);
	buf_init(&x->body, REQUEST_BODY_BYTES);
	request_init(&x->request, server->service);
	x->request.header = exchange_header;
	x->request.target = arena_copy(&x->request.arena, str_of(target));
	if (x->request.target.p == NULL) {
		exchange_free(x);
		return NULL;
	}
	if (x->peer != NULL)
		peer_begins(server->connections, x->peer, clock_mono_ns());
	return x;
}

static bool
is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)address;

		return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	}
	if (address->sa_family == AF_INET6) {
		const struct in6_addr *v6 =
		    &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

		return IN6_IS_ADDR_LOOPBACK(v6) ||
		       (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
	}
	return false;
}

/* Whom a proxy on this machine asks for may be anywhere. */
static bool
comes_by_proxy(const struct request *req)
{
	static const char *const headers[] = { "Forwarded", "X-Forwarded-For", "X-Real-IP", "Via" };

	for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
		if (req->header(req, headers[i]).p != NULL)
			return true;
	}
	return false;
}

static bool
is_from_loopback(struct exchange *x)
{
	const union MHD_ConnectionInfo *info =
	    MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);

	return info != NULL && info->client_addr != NULL && is_loopback(info->client_addr) &&
	       !comes_by_proxy(&x->request);
}

struct framing {
	unsigned lengths, encodings, hosts;
	bool odd_encoding;
	uint64_t length;
};

static enum MHD_Result
note_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	struct framing *f = cls;
	struct str name = str_of(key), text = str_trim(str_of(value));

	(void)kind;
	if (str_eq_nocase(name, STR("Content-Length"))) {
		f->lengths++;
		if (!str_to_u64(text, &f->length))
			f->length = UINT64_MAX;
	} else if (str_eq_nocase(name, STR("Transfer-Encoding"))) {
		f->encodings++;
		f->odd_encoding |= !str_eq_nocase(text, STR("chunked"));
	} else if (str_eq_nocase(name, STR("Host"))) {
		f->hosts++;
	}
	return MHD_YES;
}

/*
 * The library lets through what a proxy before it may read in another way (RFC 9112, section 6.3),
 * so that one request could be taken for two. The status to refuse with, or 0.
 */
static unsigned
check_head(struct exchange *x)
{
	struct framing f = { 0 };

	MHD_get_connection_values(x->connection, MHD_HEADER_KIND, note_header, &f);
	if (f.lengths + f.encodings > 1 || f.odd_encoding || f.hosts > 1)
		return 400;
	return f.length > REQUEST_BODY_BYTES ? 413 : 0;
}

static void
add_piece(struct answer *a)
{
	a->result = a->stream->fill(a->stream, &a->piece);
	if (a->piece.failed)
		a->result = STREAM_FAILED;
}

/* The next piece; false at the end, or when there is none any more. */
static bool
next_piece(struct answer *a)
{
	while (a->offset == a->piece.len && a->result == STREAM_MORE) {
		stream_piece_clear(&a->piece);
		a->offset = 0;
		add_piece(a);
	}
	return a->offset < a->piece.len && a->result != STREAM_FAILED;
}

static ssize_t
read_answer(void *cls, uint64_t pos, char *out, size_t max)
{
	struct answer *a = cls;
	size_t len = 0;

	(void)pos;
	/* Each call is a system call later, so give all that is asked for. */
	while (len < max && next_piece(a)) {
		struct str part = str_sub(buf_view(&a->piece), a->offset, max - len);

		str_put(out + len, part);
		a->offset += part.len;
		len += part.len;
	}
	if (a->result == STREAM_FAILED)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len == 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (a->peer != NULL)
		peer_sent(a->peer, len);
	return (ssize_t)len;
}

static void
close_stream(struct answer *a)
{
	if (a->stream != NULL)
		a->stream->close(a->stream);
	a->stream = NULL;
}

/* NULL when out of memory. */
static struct answer *
take_answer(struct server *server)
{
	struct answer *a = NULL;

	for (size_t i = 0; i < SPARES && a == NULL; i++)
		a = atomic_exchange(&server->spares[i], NULL);
	if (a == NULL)
		a = calloc(1, sizeof(*a));
	if (a == NULL)
		return NULL;
	a->server = server;
	a->result = STREAM_MORE;
	a->ahead = atomic_fetch_add(&server->ahead_count, 1) < AHEAD_MOST;
	if (!a->ahead)
		atomic_fetch_sub(&server->ahead_count, 1);
	return a;
}

static void
drop_answer(struct answer *a)
{
	if (a == NULL)
		return;
	buf_fini(&a->piece);
	free(a);
}

static void
give_back_answer(void *cls)
{
	struct answer *a = cls;
	struct server *server = a->server;

	close_stream(a);
	if (a->ahead)
		atomic_fetch_sub(&server->ahead_count, 1);
	a->peer = NULL;
	a->offset = 0;
	if (a->piece.cap > SPARE_BYTES)
		buf_fini(&a->piece);
	else
		buf_clear(&a->piece);
	for (size_t i = 0; i < SPARES && a != NULL; i++)
		a = atomic_exchange(&server->spares[i], a);
	drop_answer(a);
}

/* Makes what there is of it if it is short, else its beginning. */
static void
make_ahead(struct answer *a)
{
	for (size_t i = 0; i < PIECES_AHEAD && a->result == STREAM_MORE; i++)
		add_piece(a);
	if (a->result == STREAM_END)
		close_stream(a);
}

/* Both take what the answer consists of out of resp. NULL when out of memory. */
static struct MHD_Response *
make_stream(struct exchange *x, struct response *resp)
{
	struct answer *a = take_answer(x->server);
	struct MHD_Response *made;

	if (a == NULL)
		return NULL;
	a->stream = resp->stream;
	a->peer = x->peer;
	resp->stream = NULL;
	if (a->ahead)
		make_ahead(a);
	if (a->result == STREAM_END)
		made = MHD_create_response_from_buffer_with_free_callback_cls(
		    a->piece.len, a->piece.p, give_back_answer, a);
	else
		made = MHD_create_response_from_callback(
		    MHD_SIZE_UNKNOWN, STREAM_PIECE_BYTES, read_answer, a, give_back_answer);
	if (made == NULL)
		give_back_answer(a);
	else if (a->result == STREAM_END && a->peer != NULL)
		peer_sent(a->peer, a->piece.len);
	return made;
}

static struct MHD_Response *
make_fixed(struct response *resp)
{
	struct MHD_Response *made = MHD_create_response_from_buffer(resp->body.len, resp->body.p,
	    resp->body.p == NULL ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);

	if (made != NULL)
		buf_init(&resp->body, 0);
	return made;
}

static bool
add_headers(struct MHD_Response *made, const struct header *headers, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (MHD_add_response_header(made, headers[i].name, headers[i].value) != MHD_YES)
			return false;
	}
	return true;
}

static bool
add_all_headers(struct MHD_Response *made, const struct response *resp)
{
	const struct header type = { "Content-Type", resp->content_type };
	const struct header close_header = { "Connection", "close" };

	return add_headers(made, common_headers, ARRAY_LEN(common_headers)) &&
	       add_headers(made, resp->headers, resp->header_count) &&
	       add_headers(made, &type, resp->content_type != NULL) &&
	       add_headers(made, &close_header, resp->close);
}

/* Sends resp; if that can't be, the connection breaks. */
static enum MHD_Result
queue(struct exchange *x, struct response *resp)
{
	struct MHD_Response *made = resp->stream != NULL ? make_stream(x, resp) : make_fixed(resp);
	enum MHD_Result rc = MHD_NO;

	if (made == NULL)
		return MHD_NO;
	if (add_all_headers(made, resp))
		rc = MHD_queue_response(x->connection, resp->status, made);
	MHD_destroy_response(made);
	return rc;
}

static enum MHD_Result
answer(struct exchange *x)
{
	struct server *server = x->server;
	struct request *req = &x->request;
	struct response resp;
	enum MHD_Result rc;

	response_init(&resp);
	req->body = buf_view(&x->body);
	req->now_ns = clock_real_ns();
	req->from_loopback = is_from_loopback(x);
	routes_dispatch(req, &resp);
	/* Where the request ends is not known, or was not waited for. */
	resp.close = req->refuse != 0;
	atomic_fetch_add_explicit(&server->requests, 1, memory_order_relaxed);
	if (resp.status >= 400)
		atomic_fetch_add_explicit(&server->failed, 1, memory_order_relaxed);
	rc = queue(x, &resp);
	response_fini(&resp);
	return rc;
}

/* Keeps a part of the body, or drops it if the whole is too long. */
static enum MHD_Result
take_body(struct exchange *x, const char *part, size_t len)
{
	x->body_bytes += len;
	if (x->body_bytes > DISCARD_BYTES)
		return MHD_NO;
	if (x->body_bytes > REQUEST_BODY_BYTES)
		x->request.refuse = 413;
	else
		buf_add(&x->body, part, len);
	if (x->body.failed)
		x->request.refuse = 503;
	return MHD_YES;
}

/* Called with the head, then with each part of the body, then with nothing more. */
static enum MHD_Result
on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *part, size_t *part_len, void **context)
{
	struct exchange *x = *context;
	size_t len = *part_len;

	(void)cls;
	(void)connection;
	(void)url;
	(void)version;
	if (x == NULL)
		return MHD_NO;
	if (!x->begun) {
		x->begun = true;
		if (x->peer != NULL)
			peer_head_done(x->server->connections, x->peer);
		x->request.method = method_parse(method);
		x->request.refuse = check_head(x);
		return x->request.refuse == 0 ? MHD_YES : answer(x);
	}
	*part_len = 0;
	return len > 0 ? take_body(x, part, len) : answer(x);
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **context,
    enum MHD_RequestTerminationCode code)
{
	struct server *server = cls;
	struct peer *peer = peer_of(connection);

	(void)code;
	exchange_free(*context);
	*context = NULL;
	if (peer != NULL)
		peer_rests(server->connections, peer, clock_mono_ns());
}

static void
on_connection(void *cls, struct MHD_Connection *connection, void **context,
    enum MHD_ConnectionNotificationCode code)
{
	struct server *server = cls;
	const union MHD_ConnectionInfo *info;

	if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
		if (*context != NULL)
			peer_remove(server->connections, *context);
		*context = NULL;
		return;
	}
	info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	*context = peer_add(server->connections, info->connect_fd, clock_mono_ns());
	if (*context == NULL)
		shutdown(info->connect_fd, SHUT_RDWR);
}

static enum MHD_Result
on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
	struct server *server = cls;

	(void)address;
	(void)len;
	return connections_have_room(server->connections) ? MHD_YES : MHD_NO;
}

__attribute__((format(printf, 2, 0))) static void
on_log(void *cls, const char *fmt, va_list args)
{
	char text[512];

	(void)cls;
	vsnprintf(text, sizeof(text), fmt, args);
	text[strcspn(text, "\n")] = '\0';
	/* Mostly about what clients do wrong, which must not fill the log. */
	log_debug("api", "%s", text);
}

/* Takes listen_fd, also on failure. */
static struct MHD_Daemon *
start_daemon(struct server *server, const struct server_conf *conf, int listen_fd)
{
	/*
	 * The library parts its limit among the threads and lets the rest wait unanswered.
	 * on_accept keeps the real limit, so this one leaves each thread room for all.
	 */
	size_t limit = (conf->connections.limit + 16) * conf->threads;
	struct MHD_OptionItem options[] = {
		{ MHD_OPTION_LISTEN_SOCKET, listen_fd, NULL },
		{ MHD_OPTION_CONNECTION_LIMIT, (intptr_t)(limit < INT_MAX ? limit : INT_MAX),
		    NULL },
		{ MHD_OPTION_PER_IP_CONNECTION_LIMIT, (intptr_t)conf->connections_per_address,
		    NULL },
		{ MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY_BYTES, NULL },
		{ MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL },
		/* The last: one thread is the library's default, and a pool of one an error. */
		{ conf->threads > 1 ? MHD_OPTION_THREAD_POOL_SIZE : MHD_OPTION_END,
		    (intptr_t)conf->threads, NULL },
		{ MHD_OPTION_END, 0, NULL },
	};

	return MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG, 0,
	    on_accept, server, on_request, server, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
	    MHD_OPTION_URI_LOG_CALLBACK, on_request_line, server, MHD_OPTION_NOTIFY_COMPLETED,
	    on_completed, server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server,
	    MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

struct server *
server_new(const struct server_conf *conf, int listen_fd, struct service *service, struct err *err)
{
	struct server *server = calloc(1, sizeof(*server));

	if (server == NULL) {
		err_nomem(err);
		goto failed;
	}
	server->service = service;
	server->connections = connections_new(&conf->connections, err);
	if (server->connections == NULL || connections_start(server->connections, err) != 0)
		goto failed;
	server->daemon = start_daemon(server, conf, listen_fd);
	if (server->daemon != NULL)
		return server;
	listen_fd = -1;
	err_set(err, ERR_IO, "start the HTTP server: out of memory, threads or file descriptors");
failed:
	if (listen_fd >= 0)
		close(listen_fd);
	server_free(server);
	return NULL;
}

/*
 * Stops listening and answering; nothing of the library's runs any more when it returns. Not by
 * MHD_quiesce_daemon: it and a thread of the pool may both take the socket out of the thread's
 * epoll set, and the second to do so aborts the process (0.9.75).
 */
static void
stop_daemon(struct server *server)
{
	connections_drain(server->connections, clock_mono_ns() + STOP_NS);
	MHD_stop_daemon(server->daemon);
}

void
server_free(struct server *server)
{
	if (server == NULL)
		return;
	if (server->daemon != NULL)
		stop_daemon(server);
	for (size_t i = 0; i < SPARES; i++)
		drop_answer(server->spares[i]);
	connections_free(server->connections);
	free(server);
}

void
server_get_stats(struct server *server, struct server_stats *out)
{
	out->requests = atomic_load(&server->requests);
	out->failed = atomic_load(&server->failed);
	connections_get_stats(server->connections, &out->connections);
}
