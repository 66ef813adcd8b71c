#include "sources/http.h"

#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

/*
 * Removing a transfer walks over all connections of its multi, so many small multis are cheaper
 * than one large (docs/design.md). More connections than targets only while some are replaced.
 */
#define TARGETS_PER_MULTI     200
#define CONNECTIONS_PER_MULTI 250

/* An idle easy handle takes about 8 kB. */
#define IDLE_TRANSFERS_MAX 256

#define HEADER_BYTES_MAX (64 * 1024)
/* Of an answer that is not 200 as much is read, so that its connection can be kept. */
#define UNWANTED_BYTES_MAX  (64 * 1024)
#define REASON_BYTES        64
#define CONNECT_TIMEOUT_S   300L /* libcurl's default; an endpoint's deadline comes sooner */
#define HOST_NAME_MAX_BYTES 254  /* RFC 1035, with a dot at the end */

/* "[ADDRESS]:PORT" */
#define WHERE_BYTES (INET6_ADDRSTRLEN + sizeof("[]:65535"))

/* A curl multi handle with the targets and connections that are its own. */
struct multi {
	struct http_client *client;
	CURLM *curl;
	struct loop_timer timer;
	struct http_target *targets;
	unsigned target_count;
	struct watch *watches;
	struct multi *next;
};

/* A socket that libcurl waits for; idle connections have none. */
struct watch {
	struct loop_fd fd;
	struct multi *multi;
	struct watch *prev, *next;
};

/* A curl easy handle and what goes with it: pooled, as many as there are requests at once. */
struct http_transfer {
	CURL *curl;
	struct http_request *request; /* NULL when idle */
	struct net_addr addr;         /* the only one it may connect to */
	struct curl_slist connect_to;
	char connect_to_text[WHERE_BYTES + 2];
	size_t header_bytes, unwanted_bytes;
	char reason[REASON_BYTES]; /* of the last status line */
	char error[CURL_ERROR_SIZE];
	struct http_transfer *next; /* idle ones */
};

struct http_target {
	struct multi *multi;
	struct http_target *prev, *next; /* of the same multi */
	char *name, *ca_file;
	struct buf url, accept_header; /* ended by NUL */
	struct curl_slist headers;
	uint16_t port;
	bool tls, verify;
	bool deny_loopback, deny_link_local;
	bool numeric;           /* name is an address: nothing to resolve */
	struct net_addr addr;   /* of the last request; AF_UNSPEC: none yet */
	int fd;                 /* the connection opened for it last, while open; else -1 */
	size_t last_body_bytes; /* the size to expect */
	unsigned request_count; /* under way */
};

struct http_client {
	struct loop *loop;
	struct resolver *resolver;
	long keep_alive_s;
	struct multi *multis;
	struct http_transfer *idle;
	unsigned idle_count;
};

int
http_global_init(struct err *err)
{
	CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (rc != CURLE_OK) {
		err_set(err, ERR_IO, "start of libcurl: %s", curl_easy_strerror(rc));
		return -1;
	}
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
		err_errno(err, errno, "ignoring SIGPIPE");
		return -1;
	}
	return 0;
}

/* Texts of errors. */

/* "10.0.0.1:80" or "[::1]:80", to out[WHERE_BYTES]. */
static void
where_text(const struct net_addr *addr, uint16_t port, char *out)
{
	char text[INET6_ADDRSTRLEN];

	net_addr_text(addr, text);
	snprintf(
	    out, WHERE_BYTES, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, (unsigned)port);
}

/* Copies what a server sent as far as it fits; all but printable ASCII turns into '?'. */
static void
printable_copy(char *out, size_t cap, struct str text)
{
	size_t n = text.len < cap - 1 ? text.len : cap - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
	out[n] = '\0';
}

static void
err_too_large(struct err *err, const char *what, size_t limit)
{
	if (limit > 0 && limit % (1024 * 1024) == 0)
		err_set(err, ERR_LIMIT, "%s larger than %zu MiB", what, limit / (1024 * 1024));
	else if (limit > 0 && limit % 1024 == 0)
		err_set(err, ERR_LIMIT, "%s larger than %zu KiB", what, limit / 1024);
	else
		err_set(err, ERR_LIMIT, "%s larger than %zu bytes", what, limit);
}

static long
info_long(const struct http_transfer *t, CURLINFO what)
{
	long value = 0;

	curl_easy_getinfo(t->curl, what, &value);
	return value;
}

static curl_off_t
info_offset(const struct http_transfer *t, CURLINFO what)
{
	curl_off_t value = 0;

	curl_easy_getinfo(t->curl, what, &value);
	return value;
}

/* What libcurl says of a failure. */
static void
curl_text(const struct http_transfer *t, CURLcode rc, char *out, size_t cap)
{
	const char *text = t->error[0] != '\0' ? t->error : curl_easy_strerror(rc);

	printable_copy(out, cap, str_trim(str_of(text)));
}

static void
err_of_status(const struct http_transfer *t, struct err *err)
{
	long status = info_long(t, CURLINFO_RESPONSE_CODE);
	char *location = NULL;
	char text[256];

	if (status >= 300 && status < 400)
		curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &location);
	if (location != NULL) {
		printable_copy(text, sizeof(text), str_of(location));
		err_set(
		    err, ERR_PROTO, "answered %ld to %s; redirects are not followed", status, text);
	} else {
		err_set(err, ERR_PROTO, "answered %ld%s%s", status, t->reason[0] == '\0' ? "" : " ",
		    t->reason);
	}
}

static void
err_of_connect(const struct http_transfer *t, CURLcode rc, const char *where, struct err *err)
{
	int errnum = (int)info_long(t, CURLINFO_OS_ERRNO);
	char text[CURL_ERROR_SIZE];

	if (errnum != 0) {
		err_errno(err, errnum, "connect to %s", where);
		if (errnum == ETIMEDOUT)
			err->code = ERR_TIMEOUT;
	} else {
		curl_text(t, rc, text, sizeof(text));
		err_set(err, ERR_IO, "connect to %s: %s", where, text);
	}
}

static void
err_of_cut_off(const struct http_transfer *t, struct err *err)
{
	curl_off_t got = info_offset(t, CURLINFO_SIZE_DOWNLOAD_T);
	curl_off_t whole = info_offset(t, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T);

	if (whole >= 0)
		err_set(err, ERR_PROTO, "answer cut off after %lld of %lld bytes", (long long)got,
		    (long long)whole);
	else
		err_set(err, ERR_PROTO, "answer cut off after %lld bytes", (long long)got);
}

static void
err_of_transport(const struct http_transfer *t, CURLcode rc, struct err *err)
{
	size_t got = t->request->body->len;
	int errnum = (int)info_long(t, CURLINFO_OS_ERRNO);
	char text[CURL_ERROR_SIZE];

	if (errnum == ECONNRESET || errnum == EPIPE) {
		err_set(err, ERR_IO, "connection reset after %zu bytes", got);
	} else if (errnum != 0) {
		err_errno(err, errnum, "connection broken after %zu bytes", got);
	} else {
		curl_text(t, rc, text, sizeof(text));
		err_set(err, ERR_PROTO, "answer broken after %zu bytes: %s", got, text);
	}
}

/* rc may be CURLE_OK: then it is the status that is wrong. */
static void
err_of_transfer(const struct http_transfer *t, CURLcode rc, struct err *err)
{
	const struct http_request *req = t->request;
	long status = info_long(t, CURLINFO_RESPONSE_CODE);
	char where[WHERE_BYTES], text[CURL_ERROR_SIZE];

	if (rc == CURLE_OUT_OF_MEMORY) {
		err_nomem(err);
		return;
	}
	if (rc == CURLE_OK || (status >= 200 && status != 200)) {
		err_of_status(t, err);
		return;
	}
	where_text(&t->addr, req->target->port, where);
	curl_text(t, rc, text, sizeof(text));
	switch ((int)rc) {
	case CURLE_COULDNT_CONNECT:
		err_of_connect(t, rc, where, err);
		break;
	case CURLE_OPERATION_TIMEDOUT: /* of the connect, as nothing else has a limit */
		err_set(err, ERR_TIMEOUT, "connect to %s: timed out", where);
		break;
	case CURLE_SSL_CACERT_BADFILE:
		err_set(err, ERR_CONFIG, "TLS with %s: %s", where, text);
		break;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_SSL_CIPHER:
	case CURLE_PEER_FAILED_VERIFICATION:
		err_set(err, ERR_PROTO, "TLS with %s: %s", where, text);
		break;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
		err_of_transport(t, rc, err);
		break;
	case CURLE_PARTIAL_FILE:
		err_of_cut_off(t, err);
		break;
	case CURLE_GOT_NOTHING:
		err_set(err, ERR_PROTO, "connection closed without an answer");
		break;
	case CURLE_FILESIZE_EXCEEDED:
		err_too_large(err, "answer", req->max_bytes);
		break;
	default:
		err_set(err, ERR_PROTO, "answer from %s: %s", where, text);
		break;
	}
}

/* Telling the owner: always from a task of the loop, so that he is never called in libcurl. */

static struct loop *
loop_of(const struct http_request *req)
{
	return req->target->multi->client->loop;
}

/* The outcome; later ones don't count. why NULL: success. */
static void
settle(struct http_request *req, const struct err *why)
{
	if (req->settled)
		return;
	req->settled = true;
	if (why == NULL)
		req->why.code = ERR_NONE;
	else
		req->why = *why;
	loop_defer(loop_of(req), &req->tell_task);
}

static void
transfer_free(struct http_transfer *t)
{
	curl_easy_cleanup(t->curl);
	free(t);
}

/* libcurl never clears the errno of a handle, and it must not explain another request's failure. */
static void
transfer_put(struct http_client *client, struct http_transfer *t)
{
	if (client->idle_count >= IDLE_TRANSFERS_MAX || info_long(t, CURLINFO_OS_ERRNO) != 0) {
		transfer_free(t);
		return;
	}
	t->request = NULL;
	t->next = client->idle;
	client->idle = t;
	client->idle_count++;
}

/* Takes the request's transfer away from libcurl; closes the connection if it is not finished. */
static void
detach(struct http_request *req)
{
	struct multi *m = req->target->multi;

	if (req->transfer == NULL)
		return;
	curl_multi_remove_handle(m->curl, req->transfer->curl);
	transfer_put(m->client, req->transfer);
	req->transfer = NULL;
}

static void
tell(struct loop_task *task)
{
	struct http_request *req = CONTAINER_OF(task, struct http_request, tell_task);
	struct err why;

	if (req->connected && !req->told) {
		req->told = true;
		/* Before the call, in which the owner may cancel. */
		if (req->settled)
			loop_defer(loop_of(req), &req->tell_task);
		if (req->on_connected != NULL)
			req->on_connected(req);
		return;
	}
	assert(req->active && req->settled);
	detach(req);
	req->active = false;
	req->target->request_count--;
	if (req->why.code == ERR_NONE) {
		req->on_done(req, NULL);
		return;
	}
	why = req->why; /* the owner may start anew in the call */
	req->on_done(req, &why);
}

/* The body. */

/* Makes room for n more bytes, at first for as many as the last answer had. */
static bool
body_reserve(struct http_request *req, size_t n)
{
	struct buf *body = req->body;
	size_t expected = req->target->last_body_bytes;

	if (body->cap == 0 && expected > n && expected <= req->max_bytes)
		n = expected;
	return buf_reserve(body, n);
}

static size_t
skip_unwanted(struct http_transfer *t, size_t n)
{
	struct err err;

	t->unwanted_bytes += n;
	if (t->unwanted_bytes <= UNWANTED_BYTES_MAX)
		return n;
	err_of_status(t, &err);
	settle(t->request, &err);
	return CURL_WRITEFUNC_ERROR;
}

/* libcurl's limit sees only the length a server announces; this one counts what was decoded. */
static size_t
on_body(char *p, size_t one, size_t n, void *ctx)
{
	struct http_transfer *t = ctx;
	struct http_request *req = t->request;
	struct err err;

	(void)one;
	if (info_long(t, CURLINFO_RESPONSE_CODE) != 200)
		return skip_unwanted(t, n);
	if (req->hold) {
		req->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	if (n > req->max_bytes - req->body->len) {
		err_too_large(&err, "answer", req->max_bytes);
		settle(req, &err);
		return CURL_WRITEFUNC_ERROR;
	}
	if (!body_reserve(req, n)) {
		err_nomem(&err);
		settle(req, &err);
		return CURL_WRITEFUNC_ERROR;
	}
	buf_add(req->body, p, n);
	return n;
}

/* Keeps the reason phrase of a status line (RFC 9112, section 4). */
static void
keep_reason(struct http_transfer *t, struct str line)
{
	struct str word;

	if (!str_starts(line, STR("HTTP/")))
		return;
	(void)str_split(&line, ' ', &word);
	(void)str_split(&line, ' ', &word);
	printable_copy(t->reason, sizeof(t->reason), str_trim(line));
}

static size_t
on_header(char *p, size_t one, size_t n, void *ctx)
{
	struct http_transfer *t = ctx;
	struct err err;

	(void)one;
	t->header_bytes += n;
	if (t->header_bytes > HEADER_BYTES_MAX) {
		err_too_large(&err, "headers of the answer", HEADER_BYTES_MAX);
		settle(t->request, &err);
		return CURL_WRITEFUNC_ERROR;
	}
	keep_reason(t, (struct str){ p, n });
	return n;
}

/* Connections. */

/* Called for kept connections too; twice when such a one turns out to be dead. */
static int
on_ready(void *ctx, char *ip, char *local_ip, int port, int local_port)
{
	struct http_transfer *t = ctx;
	struct http_request *req = t->request;

	(void)ip, (void)local_ip, (void)port, (void)local_port;
	if (!req->connected) {
		req->connected = true;
		loop_defer(loop_of(req), &req->tell_task);
	}
	return CURL_PREREQFUNC_OK;
}

static bool
same_address(const struct curl_sockaddr *socket_addr, const struct net_addr *addr)
{
	const void *p = &socket_addr->addr;
	struct net_addr other = { .family = socket_addr->addr.sa_family };

	if (other.family == AF_INET)
		memcpy(other.bytes, &((const struct sockaddr_in *)p)->sin_addr, 4);
	else if (other.family == AF_INET6)
		memcpy(other.bytes, &((const struct sockaddr_in6 *)p)->sin6_addr, 16);
	else
		return false;
	return net_addr_equal(&other, addr);
}

/* The guard has passed t->addr, so that is the only address libcurl may connect to. */
static curl_socket_t
on_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *addr)
{
	struct http_transfer *t = ctx;
	struct http_request *req = t->request;
	struct err err;
	int fd;

	(void)purpose;
	if (!same_address(addr, &t->addr)) {
		err_set(&err, ERR_DENIED, "connect to %s: not the address that was resolved",
		    req->target->name);
		settle(req, &err);
		return CURL_SOCKET_BAD;
	}
	fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
	if (fd < 0) {
		char where[WHERE_BYTES];
		int errnum = errno;

		where_text(&t->addr, req->target->port, where);
		if (errnum == EMFILE || errnum == ENFILE)
			err_set(&err, ERR_LIMIT, "connect to %s: out of file descriptors", where);
		else
			err_errno(&err, errnum, "connect to %s: socket", where);
		settle(req, &err);
		return CURL_SOCKET_BAD;
	}
	req->target->fd = fd;
	return fd;
}

static int
on_close(void *ctx, curl_socket_t fd)
{
	struct multi *m = ctx;

	for (struct http_target *target = m->targets; target != NULL; target = target->next) {
		if (target->fd == fd)
			target->fd = -1;
	}
	return close(fd);
}

/*
 * Ends the connection opened for target unless a request is using it: another target of the same
 * address may. libcurl has no call for that, but closes what it finds dead at its next look.
 */
static void
end_connection(struct http_target *target)
{
	int fd = target->fd;

	target->fd = -1;
	if (fd < 0)
		return;
	for (const struct watch *w = target->multi->watches; w != NULL; w = w->next) {
		if (w->fd.fd == fd)
			return;
	}
	shutdown(fd, SHUT_RDWR);
}

/* Driving libcurl. */

static void
complete(struct http_transfer *t, CURLcode rc)
{
	struct http_request *req = t->request;
	struct err err;

	if (rc == CURLE_OK && info_long(t, CURLINFO_RESPONSE_CODE) == 200) {
		/* A buf has one byte more than it says, but none at all if it is empty. */
		if (buf_reserve(req->body, req->body->p == NULL)) {
			req->body->p[req->body->len] = '\0';
			req->target->last_body_bytes = req->body->len;
			settle(req, NULL);
		} else {
			err_nomem(&err);
			settle(req, &err);
		}
	} else if (!req->settled) {
		err_of_transfer(t, rc, &err);
		settle(req, &err);
	}
	detach(req);
}

static void
drive(struct multi *m, curl_socket_t fd, int events)
{
	CURLMcode rc;
	CURLMsg *msg;
	int count;

	rc = curl_multi_socket_action(m->curl, fd, events, &count);
	if (rc != CURLM_OK)
		log_error("http", "libcurl failed; deadlines end its requests: error=%s",
		    curl_multi_strerror(rc));
	while ((msg = curl_multi_info_read(m->curl, &count)) != NULL) {
		char *owner = NULL;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &owner);
		complete((struct http_transfer *)(void *)owner, msg->data.result);
	}
}

static void
on_fd(struct loop_fd *fd, unsigned events)
{
	struct watch *w = CONTAINER_OF(fd, struct watch, fd);
	int curl_events = 0;

	if ((events & LOOP_READ) != 0)
		curl_events |= CURL_CSELECT_IN;
	if ((events & LOOP_WRITE) != 0)
		curl_events |= CURL_CSELECT_OUT;
	/* Not CURL_CSELECT_ERR, which hides the cause: the call that then fails tells it. */
	if ((events & LOOP_ERROR) != 0)
		curl_events |= CURL_CSELECT_IN | CURL_CSELECT_OUT;
	drive(w->multi, fd->fd, curl_events); /* may free w */
}

static void
on_timer(struct loop_timer *timer)
{
	struct multi *m = CONTAINER_OF(timer, struct multi, timer);

	drive(m, CURL_SOCKET_TIMEOUT, 0);
}

static int
set_timer(CURLM *curl, long timeout_ms, void *ctx)
{
	struct multi *m = ctx;
	struct loop *loop = m->client->loop;

	(void)curl;
	if (timeout_ms < 0)
		loop_timer_clear(loop, &m->timer);
	else
		loop_timer_set(loop, &m->timer, loop_now_ns(loop) + timeout_ms * NS_PER_MS);
	return 0;
}

static int
watch_add(struct multi *m, curl_socket_t fd, unsigned events, struct err *err)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_nomem(err);
		return -1;
	}
	w->multi = m;
	w->fd.fd = fd;
	w->fd.fn = on_fd;
	if (loop_fd_add(m->client->loop, &w->fd, events, err) != 0) {
		free(w);
		return -1;
	}
	w->next = m->watches;
	if (w->next != NULL)
		w->next->prev = w;
	m->watches = w;
	curl_multi_assign(m->curl, fd, w); /* in this callback it is allowed, and can't fail */
	return 0;
}

static void
watch_remove(struct watch *w)
{
	if (w == NULL)
		return;
	loop_fd_del(w->multi->client->loop, &w->fd);
	if (w->prev == NULL)
		w->multi->watches = w->next;
	else
		w->prev->next = w->next;
	if (w->next != NULL)
		w->next->prev = w->prev;
	free(w);
}

static int
set_watch(CURL *curl, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	unsigned events =
	    (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
	struct multi *m = ctx;
	struct watch *w = socket_ctx;
	char *owner = NULL;
	struct err err;

	if (what == CURL_POLL_REMOVE) {
		watch_remove(w);
	} else if (w != NULL) {
		loop_fd_set(m->client->loop, &w->fd, events);
	} else if (watch_add(m, fd, events, &err) != 0) {
		/* An error returned here would end all requests of the multi. */
		curl_easy_getinfo(curl, CURLINFO_PRIVATE, &owner);
		if (owner != NULL) /* libcurl has handles of its own */
			settle(((struct http_transfer *)(void *)owner)->request, &err);
	}
	return 0;
}

static void
multi_free(struct multi *m)
{
	if (m == NULL)
		return;
	if (m->curl != NULL)
		curl_multi_cleanup(m->curl);
	assert(m->watches == NULL);
	loop_timer_clear(m->client->loop, &m->timer);
	free(m);
}

static struct multi *
multi_new(struct http_client *client, struct err *err)
{
	struct multi *m = calloc(1, sizeof(*m));

	if (m == NULL)
		goto failed;
	m->client = client;
	m->timer.fn = on_timer;
	m->curl = curl_multi_init();
	if (m->curl == NULL ||
	    curl_multi_setopt(m->curl, CURLMOPT_SOCKETFUNCTION, set_watch) != CURLM_OK ||
	    curl_multi_setopt(m->curl, CURLMOPT_SOCKETDATA, m) != CURLM_OK ||
	    curl_multi_setopt(m->curl, CURLMOPT_TIMERFUNCTION, set_timer) != CURLM_OK ||
	    curl_multi_setopt(m->curl, CURLMOPT_TIMERDATA, m) != CURLM_OK ||
	    curl_multi_setopt(m->curl, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_PER_MULTI) !=
	        CURLM_OK)
		goto failed;
	return m;
failed:
	multi_free(m);
	err_nomem(err);
	return NULL;
}

/* One with room for another target. */
static struct multi *
multi_get(struct http_client *client, struct err *err)
{
	struct multi *m;

	for (m = client->multis; m != NULL; m = m->next) {
		if (m->target_count < TARGETS_PER_MULTI)
			return m;
	}
	m = multi_new(client, err);
	if (m != NULL) {
		m->next = client->multis;
		client->multis = m;
	}
	return m;
}

/* A multi without targets would keep its connections for ever, as only its transfers close them. */
static void
multi_drop_if_empty(struct multi *m)
{
	struct multi **link = &m->client->multis;

	if (m->target_count != 0)
		return;
	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	multi_free(m);
}

/* Clients and targets. */

struct http_client *
http_client_new(
    struct loop *loop, struct resolver *resolver, unsigned keep_alive_s, struct err *err)
{
	struct http_client *client = calloc(1, sizeof(*client));

	if (client == NULL) {
		err_nomem(err);
		return NULL;
	}
	client->loop = loop;
	client->resolver = resolver;
	client->keep_alive_s = keep_alive_s;
	return client;
}

void
http_client_free(struct http_client *client)
{
	if (client == NULL)
		return;
	assert(client->multis == NULL);
	while (client->idle != NULL) {
		struct http_transfer *t = client->idle;

		client->idle = t->next;
		transfer_free(t);
	}
	free(client);
}

static bool
host_is_good(struct str name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.p[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '-' && c != '_')
			return false;
	}
	return name.len > 0 && name.len <= HOST_NAME_MAX_BYTES;
}

static bool
is_one_word(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7F)
			return false;
	}
	return true;
}

static int
check_conf(const struct http_target_conf *conf, struct err *err)
{
	struct net_addr addr;

	if (!host_is_good(conf->name) && !resolver_numeric(conf->name, &addr)) {
		err_set(err, ERR_CONFIG, "address \"%.*s\": neither a host name nor an IP address",
		    STR_ARG(conf->name));
		return -1;
	}
	if (conf->port == 0) {
		err_set(err, ERR_CONFIG, "address \"%.*s\": port 0", STR_ARG(conf->name));
		return -1;
	}
	if (!str_starts(conf->path, STR("/")) || !is_one_word(conf->path)) {
		err_set(err, ERR_CONFIG,
		    "path \"%.*s\": must start with '/' and hold no white space",
		    STR_ARG(conf->path));
		return -1;
	}
	if (!is_one_word(conf->accept)) {
		err_set(err, ERR_CONFIG, "media type \"%.*s\": holds white space",
		    STR_ARG(conf->accept));
		return -1;
	}
	return 0;
}

static void
make_url(const struct http_target_conf *conf, struct buf *url)
{
	bool bare_ipv6 =
	    memchr(conf->name.p, ':', conf->name.len) != NULL && conf->name.p[0] != '[';

	buf_printf(url, "%s://%s%.*s%s:%u%.*s", conf->tls ? "https" : "http", bare_ipv6 ? "[" : "",
	    STR_ARG(conf->name), bare_ipv6 ? "]" : "", (unsigned)conf->port, STR_ARG(conf->path));
	buf_putc(url, '\0');
}

/* Without a type it takes libcurl's own header away. */
static void
make_accept_header(struct str type, struct buf *header)
{
	buf_printf(header, "Accept:%s%.*s", type.len > 0 ? " " : "", STR_ARG(type));
	buf_putc(header, '\0');
}

/* -1: out of memory. */
static int
copy_conf(struct http_target *target, const struct http_target_conf *conf)
{
	target->port = conf->port;
	target->tls = conf->tls;
	target->verify = conf->verify;
	target->deny_loopback = conf->deny_loopback;
	target->deny_link_local = conf->deny_link_local;
	target->numeric = resolver_numeric(conf->name, &target->addr);
	target->fd = -1;
	make_url(conf, &target->url);
	make_accept_header(conf->accept, &target->accept_header);
	target->headers.data = target->accept_header.p;
	target->name = str_dup(conf->name);
	if (target->url.failed || target->accept_header.failed || target->name == NULL)
		return -1;
	if (conf->ca_file.len > 0) {
		target->ca_file = str_dup(conf->ca_file);
		if (target->ca_file == NULL)
			return -1;
	}
	return 0;
}

static void
target_destroy(struct http_target *target)
{
	buf_fini(&target->url);
	buf_fini(&target->accept_header);
	free(target->name);
	free(target->ca_file);
	free(target);
}

struct http_target *
http_target_new(struct http_client *client, const struct http_target_conf *conf, struct err *err)
{
	struct http_target *target;

	if (check_conf(conf, err) != 0)
		return NULL;
	target = calloc(1, sizeof(*target));
	if (target == NULL) {
		err_nomem(err);
		return NULL;
	}
	buf_init(&target->url, 0);
	buf_init(&target->accept_header, 0);
	if (copy_conf(target, conf) != 0) {
		err_nomem(err);
		goto failed;
	}
	target->multi = multi_get(client, err);
	if (target->multi == NULL)
		goto failed;
	target->next = target->multi->targets;
	if (target->next != NULL)
		target->next->prev = target;
	target->multi->targets = target;
	target->multi->target_count++;
	return target;
failed:
	target_destroy(target);
	return NULL;
}

const char *
http_target_url(const struct http_target *target)
{
	return target->url.p;
}

void
http_target_free(struct http_target *target)
{
	struct multi *m;

	if (target == NULL)
		return;
	assert(target->request_count == 0);
	m = target->multi;
	end_connection(target);
	if (target->prev == NULL)
		m->targets = target->next;
	else
		target->prev->next = target->next;
	if (target->next != NULL)
		target->next->prev = target->prev;
	m->target_count--;
	target_destroy(target);
	multi_drop_if_empty(m);
}

/* Transfers. */

/* What is the same for every request. */
static bool
transfer_set_up(struct http_transfer *t, const struct http_client *client)
{
	CURL *c = t->curl;

	return curl_easy_setopt(c, CURLOPT_PRIVATE, t) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROXY, "") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_USERAGENT, "scottyd/" SCOTTY_VERSION) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip") == CURLE_OK &&
	       /* One request per connection at a time: HTTP/2 has nothing to offer here. */
	       curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_TIMEOUT, 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, client->keep_alive_s) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_WRITEDATA, t) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HEADERDATA, t) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, on_ready) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_PREREQDATA, t) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, t) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CLOSESOCKETFUNCTION, on_close) == CURLE_OK;
}

/* From the pool, or a new one; NULL when out of memory. */
static struct http_transfer *
transfer_take(struct http_client *client)
{
	struct http_transfer *t = client->idle;

	if (t != NULL) {
		client->idle = t->next;
		client->idle_count--;
		return t;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->curl = curl_easy_init();
	if (t->curl == NULL || !transfer_set_up(t, client)) {
		transfer_free(t);
		return NULL;
	}
	return t;
}

/*
 * Certificates: the target's file, or the system's bundle. No directory of single files besides, as
 * libcurl then could not share one parsed store among a multi's connections.
 */
static bool
transfer_aim_tls(CURL *c, const struct http_target *target)
{
	const char *ca_file = target->ca_file;

	if (ca_file == NULL)
		curl_easy_getinfo(c, CURLINFO_CAINFO, &ca_file);
	return curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, target->verify ? 1L : 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, target->verify ? 2L : 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CAINFO, ca_file) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
}

/* What differs from request to request; false when out of memory. */
static bool
transfer_aim(struct http_transfer *t, struct http_request *req, const struct net_addr *addr)
{
	curl_off_t most = req->max_bytes < INT64_MAX ? (curl_off_t)req->max_bytes : INT64_MAX;
	struct http_target *target = req->target;
	char where[WHERE_BYTES];
	CURL *c = t->curl;

	t->request = req;
	t->addr = *addr;
	t->header_bytes = t->unwanted_bytes = 0;
	t->reason[0] = t->error[0] = '\0';
	/*
	 * Any host and port of the URL stand for this address, so libcurl has nothing to resolve.
	 */
	where_text(addr, target->port, where);
	snprintf(t->connect_to_text, sizeof(t->connect_to_text), "::%s", where);
	t->connect_to.data = t->connect_to_text;
	return curl_easy_setopt(c, CURLOPT_URL, target->url.p) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECT_TO, target->numeric ? NULL : &t->connect_to) ==
	           CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HTTPHEADER, &target->headers) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, target->multi) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, most) == CURLE_OK &&
	       (!target->tls || transfer_aim_tls(c, target));
}

/* Requests. */

static int
check_guard(const struct http_target *target, const struct net_addr *addr, struct err *err)
{
	const char *kind = NULL;
	char where[WHERE_BYTES];

	if (target->deny_loopback && net_addr_is_loopback(addr))
		kind = "loopback";
	else if (target->deny_link_local && net_addr_is_link_local(addr))
		kind = "link-local";
	if (kind == NULL)
		return 0;
	where_text(addr, target->port, where);
	err_set(err, ERR_DENIED, "connect to %s: %s addresses are not allowed here", where, kind);
	return -1;
}

/*
 * The guard comes first: libcurl may have a connection to that address which another target, one
 * that is allowed to, has opened.
 */
static void
begin(struct http_request *req, const struct net_addr *addr)
{
	struct http_target *target = req->target;
	struct multi *m = target->multi;
	struct http_transfer *t;
	struct err err;

	if (check_guard(target, addr, &err) != 0) {
		settle(req, &err);
		return;
	}
	if (!net_addr_equal(&target->addr, addr)) {
		end_connection(target);
		target->addr = *addr;
	}
	t = transfer_take(m->client);
	if (t != NULL && transfer_aim(t, req, addr) &&
	    curl_multi_add_handle(m->curl, t->curl) == CURLM_OK) {
		req->transfer = t;
		return;
	}
	if (t != NULL)
		transfer_put(m->client, t);
	err_nomem(&err);
	settle(req, &err);
}

static void
on_resolved(struct resolver_ask *ask, const struct net_addr *addr, const struct err *err)
{
	struct http_request *req = CONTAINER_OF(ask, struct http_request, ask);

	if (err != NULL)
		settle(req, err);
	else
		begin(req, addr);
}

void
http_get(struct http_request *req, struct http_target *target)
{
	struct http_client *client = target->multi->client;
	struct net_addr addr;

	assert(!req->active && req->on_done != NULL && req->body != NULL);
	req->target = target;
	req->tell_task.fn = tell;
	req->ask.fn = on_resolved;
	req->ask.loop = client->loop;
	req->body->limit = req->max_bytes;
	buf_clear(req->body);
	req->active = true;
	req->connected = req->told = req->settled = req->paused = false;
	target->request_count++;
	if (target->numeric)
		begin(req, &target->addr);
	else if (resolver_get(client->resolver, str_of(target->name), &req->ask, &addr))
		begin(req, &addr);
}

void
http_proceed(struct http_request *req)
{
	req->hold = false;
	if (!req->paused)
		return;
	req->paused = false;
	if (req->transfer != NULL)
		curl_easy_pause(req->transfer->curl, CURLPAUSE_CONT);
}

void
http_cancel(struct http_request *req)
{
	struct http_client *client;

	if (!req->active)
		return;
	client = req->target->multi->client;
	resolver_cancel(client->resolver, &req->ask);
	detach(req);
	loop_defer_cancel(client->loop, &req->tell_task);
	req->active = false;
	req->target->request_count--;
}
