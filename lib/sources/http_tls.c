/*
 * HTTPS, by libcurl's multi interface on the client's loop.
 */
#include <assert.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "sources/http_priv.h"

/*
 * Removing a transfer walks over all connections of its multi, so many small multis are cheaper
 * than one large (docs/design.md). More connections than targets only while some are replaced.
 */
#define TARGETS_PER_MULTI     200
#define CONNECTIONS_PER_MULTI 250

/* An idle easy handle takes about 8 kB. */
#define IDLE_TRANSFERS_MAX 256

#define CONNECT_TIMEOUT_S 300L /* libcurl's default; an endpoint's deadline comes sooner */

struct http_tls {
	struct http_client *client;
	struct http_multi *multis;
	struct http_transfer *idle;
	unsigned idle_count;
};

/* A curl multi handle with the targets and connections that are its own. */
struct http_multi {
	struct http_tls *tls;
	CURLM *curl;
	struct loop_timer timer;
	struct http_target *targets;
	unsigned target_count;
	struct watch *watches;
	struct http_multi *next;
};

/* A socket that libcurl waits for; idle connections have none. */
struct watch {
	struct loop_fd fd;
	struct http_multi *multi;
	struct watch *prev, *next;
};

/* A curl easy handle and what goes with it: pooled, as many as there are requests at once. */
struct http_transfer {
	CURL *curl;
	struct http_request *request; /* NULL when idle */
	struct net_addr addr;         /* the only one it may connect to */
	struct curl_slist connect_to;
	char connect_to_text[HTTP_WHERE_BYTES + 2];
	size_t header_bytes, unwanted_bytes;
	char reason[HTTP_REASON_BYTES]; /* of the last status line */
	char error[CURL_ERROR_SIZE];
	struct http_transfer *next; /* idle ones */
};

int
http_tls_global_init(struct err *err)
{
	CURLcode rc = curl_global_init(CURL_GLOBAL_DEFAULT);

	if (rc != CURLE_OK) {
		err_set(err, ERR_IO, "start of libcurl: %s", curl_easy_strerror(rc));
		return -1;
	}
	return 0;
}

/* Texts of errors. */

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

	http_printable_copy(out, cap, str_trim(str_of(text)));
}

static void
err_of_status(const struct http_transfer *t, struct err *err)
{
	long status = info_long(t, CURLINFO_RESPONSE_CODE);
	char *location = NULL;

	if (status >= 300 && status < 400)
		curl_easy_getinfo(t->curl, CURLINFO_REDIRECT_URL, &location);
	http_err_of_status(err, (unsigned)status, t->reason, str_of(location));
}

static void
err_of_connect(const struct http_transfer *t, CURLcode rc, const char *where, struct err *err)
{
	int errnum = (int)info_long(t, CURLINFO_OS_ERRNO);
	char text[CURL_ERROR_SIZE];

	if (errnum != 0) {
		http_err_of_connect(err, errnum, where);
	} else {
		curl_text(t, rc, text, sizeof(text));
		err_set(err, ERR_IO, "connect to %s: %s", where, text);
	}
}

static void
err_of_cut_off(const struct http_transfer *t, struct err *err)
{
	curl_off_t got = info_offset(t, CURLINFO_SIZE_DOWNLOAD_T);

	http_err_of_cut_off(err, (uint64_t)got, info_offset(t, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T));
}

static void
err_of_transport(const struct http_transfer *t, CURLcode rc, struct err *err)
{
	size_t got = t->request->body->len;
	int errnum = (int)info_long(t, CURLINFO_OS_ERRNO);
	char text[CURL_ERROR_SIZE];

	if (errnum != 0) {
		http_err_of_break(err, errnum, got);
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
	char where[HTTP_WHERE_BYTES], text[CURL_ERROR_SIZE];

	if (rc == CURLE_OUT_OF_MEMORY) {
		err_nomem(err);
		return;
	}
	if (rc == CURLE_OK || (status >= 200 && status != 200)) {
		err_of_status(t, err);
		return;
	}
	http_where_text(&t->addr, req->target->port, where);
	curl_text(t, rc, text, sizeof(text));
	switch ((int)rc) {
	case CURLE_COULDNT_CONNECT:
		err_of_connect(t, rc, where, err);
		break;
	case CURLE_OPERATION_TIMEDOUT: /* of the connect, as nothing else has a limit */
		err_set(err, ERR_TIMEOUT, "connect to %s: timed out", where);
		break;
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
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
		http_err_too_large(err, "answer", req->max_bytes);
		break;
	default:
		err_set(err, ERR_PROTO, "answer from %s: %s", where, text);
		break;
	}
}

/* Transfers back to the pool. */

static void
transfer_free(struct http_transfer *t)
{
	curl_easy_cleanup(t->curl);
	free(t);
}

/* libcurl never clears the errno of a handle, and it must not explain another request's failure. */
static void
transfer_put(struct http_tls *tls, struct http_transfer *t)
{
	if (tls->idle_count >= IDLE_TRANSFERS_MAX || info_long(t, CURLINFO_OS_ERRNO) != 0) {
		transfer_free(t);
		return;
	}
	t->request = NULL;
	t->next = tls->idle;
	tls->idle = t;
	tls->idle_count++;
}

/* Takes the request's transfer away from libcurl; closes the connection if it is not finished. */
static void
detach(struct http_request *req)
{
	struct http_multi *m = req->target->multi;

	if (req->transfer == NULL)
		return;
	curl_multi_remove_handle(m->curl, req->transfer->curl);
	transfer_put(m->tls, req->transfer);
	req->transfer = NULL;
}

/* The answer. */

static size_t
skip_unwanted(struct http_transfer *t, size_t n)
{
	struct err err;

	t->unwanted_bytes += n;
	if (t->unwanted_bytes <= HTTP_UNWANTED_BYTES_MAX)
		return n;
	err_of_status(t, &err);
	http_settle(t->request, &err);
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
		http_err_too_large(&err, "answer", req->max_bytes);
		http_settle(req, &err);
		return CURL_WRITEFUNC_ERROR;
	}
	if (!http_body_reserve(req, n)) {
		err_nomem(&err);
		http_settle(req, &err);
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
	http_printable_copy(t->reason, sizeof(t->reason), str_trim(line));
}

static void
keep_type(const struct http_request *req, struct str line)
{
	struct str name;

	if (req->media_type != NULL && str_split(&line, ':', &name) &&
	    str_eq_nocase(name, STR("Content-Type")))
		http_media_type_copy(req->media_type, line);
}

static size_t
on_header(char *p, size_t one, size_t n, void *ctx)
{
	struct http_transfer *t = ctx;
	struct err err;

	(void)one;
	t->header_bytes += n;
	if (t->header_bytes > HTTP_HEADER_BYTES_MAX) {
		http_err_too_large(&err, "headers of the answer", HTTP_HEADER_BYTES_MAX);
		http_settle(t->request, &err);
		return CURL_WRITEFUNC_ERROR;
	}
	keep_reason(t, (struct str){ p, n });
	keep_type(t->request, (struct str){ p, n });
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
	http_connected(req);
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
	char where[HTTP_WHERE_BYTES];
	struct err err;
	int fd;

	(void)purpose;
	if (!same_address(addr, &t->addr)) {
		err_set(&err, ERR_DENIED, "connect to %s: not the address that was resolved",
		    req->target->name);
		http_settle(req, &err);
		return CURL_SOCKET_BAD;
	}
	http_where_text(&t->addr, req->target->port, where);
	fd = http_socket_open(
	    req->target->client, addr->family, addr->socktype, addr->protocol, where, &err);
	if (fd < 0) {
		http_settle(req, &err);
		return CURL_SOCKET_BAD;
	}
	req->target->fd = fd;
	return fd;
}

static int
on_close(void *ctx, curl_socket_t fd)
{
	struct http_multi *m = ctx;

	for (struct http_target *target = m->targets; target != NULL; target = target->next) {
		if (target->fd == fd)
			target->fd = -1;
	}
	return http_socket_close(fd);
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
		http_settle(req, http_body_end(req, &err) == 0 ? NULL : &err);
	} else if (!req->settled) {
		err_of_transfer(t, rc, &err);
		http_settle(req, &err);
	}
	detach(req);
}

static void
drive(struct http_multi *m, curl_socket_t fd, int events)
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
	struct http_multi *m = CONTAINER_OF(timer, struct http_multi, timer);

	drive(m, CURL_SOCKET_TIMEOUT, 0);
}

static int
set_timer(CURLM *curl, long timeout_ms, void *ctx)
{
	struct http_multi *m = ctx;
	struct loop *loop = m->tls->client->loop;

	(void)curl;
	if (timeout_ms < 0)
		loop_timer_clear(loop, &m->timer);
	else
		loop_timer_set(loop, &m->timer, loop_now_ns(loop) + timeout_ms * NS_PER_MS);
	return 0;
}

static int
watch_add(struct http_multi *m, curl_socket_t fd, unsigned events, struct err *err)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_nomem(err);
		return -1;
	}
	w->multi = m;
	w->fd.fd = fd;
	w->fd.fn = on_fd;
	if (loop_fd_add(m->tls->client->loop, &w->fd, events, err) != 0) {
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
	loop_fd_del(w->multi->tls->client->loop, &w->fd);
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
	struct http_multi *m = ctx;
	struct watch *w = socket_ctx;
	char *owner = NULL;
	struct err err;

	if (what == CURL_POLL_REMOVE) {
		watch_remove(w);
	} else if (w != NULL) {
		loop_fd_set(m->tls->client->loop, &w->fd, events);
	} else if (watch_add(m, fd, events, &err) != 0) {
		/* An error returned here would end all requests of the multi. */
		curl_easy_getinfo(curl, CURLINFO_PRIVATE, &owner);
		if (owner != NULL) /* libcurl has handles of its own */
			http_settle(((struct http_transfer *)(void *)owner)->request, &err);
	}
	return 0;
}

static void
multi_free(struct http_multi *m)
{
	if (m == NULL)
		return;
	if (m->curl != NULL)
		curl_multi_cleanup(m->curl);
	assert(m->watches == NULL);
	loop_timer_clear(m->tls->client->loop, &m->timer);
	free(m);
}

static struct http_multi *
multi_new(struct http_tls *tls, struct err *err)
{
	struct http_multi *m = calloc(1, sizeof(*m));

	if (m == NULL)
		goto failed;
	m->tls = tls;
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
static struct http_multi *
multi_get(struct http_tls *tls, struct err *err)
{
	struct http_multi *m;

	for (m = tls->multis; m != NULL; m = m->next) {
		if (m->target_count < TARGETS_PER_MULTI)
			return m;
	}
	m = multi_new(tls, err);
	if (m != NULL) {
		m->next = tls->multis;
		tls->multis = m;
	}
	return m;
}

/* A multi without targets would keep its connections for ever, as only its transfers close them. */
static void
multi_drop_if_empty(struct http_multi *m)
{
	struct http_multi **link = &m->tls->multis;

	if (m->target_count != 0)
		return;
	while (*link != m)
		link = &(*link)->next;
	*link = m->next;
	multi_free(m);
}

/* Clients and targets. */

struct http_tls *
http_tls_new(struct http_client *client, struct err *err)
{
	struct http_tls *tls = calloc(1, sizeof(*tls));

	if (tls == NULL) {
		err_nomem(err);
		return NULL;
	}
	tls->client = client;
	return tls;
}

void
http_tls_free(struct http_tls *tls)
{
	if (tls == NULL)
		return;
	assert(tls->multis == NULL);
	while (tls->idle != NULL) {
		struct http_transfer *t = tls->idle;

		tls->idle = t->next;
		transfer_free(t);
	}
	free(tls);
}

/* libcurl copies the text, which may be secret. */
static void
free_headers(struct http_target *target)
{
	for (struct curl_slist *h = target->headers; h != NULL; h = h->next)
		explicit_bzero(h->data, strlen(h->data));
	curl_slist_free_all(target->headers);
	target->headers = NULL;
}

static int
make_headers(struct http_target *target, struct err *err)
{
	struct str lines = buf_view(&target->header_lines), line;

	while (str_split(&lines, '\0', &line)) {
		struct curl_slist *longer = curl_slist_append(target->headers, line.p);

		if (longer == NULL) {
			free_headers(target);
			err_nomem(err);
			return -1;
		}
		target->headers = longer;
	}
	return 0;
}

static int
target_add(struct http_target *target, struct err *err)
{
	if (make_headers(target, err) != 0)
		return -1;
	target->multi = multi_get(target->client->tls, err);
	if (target->multi == NULL) {
		free_headers(target);
		return -1;
	}
	target->next = target->multi->targets;
	if (target->next != NULL)
		target->next->prev = target;
	target->multi->targets = target;
	target->multi->target_count++;
	return 0;
}

static void
target_remove(struct http_target *target)
{
	struct http_multi *m = target->multi;

	end_connection(target);
	free_headers(target);
	if (target->prev == NULL)
		m->targets = target->next;
	else
		target->prev->next = target->next;
	if (target->next != NULL)
		target->next->prev = target->prev;
	m->target_count--;
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
	       curl_easy_setopt(c, CURLOPT_USERAGENT, HTTP_USER_AGENT) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "gzip") == CURLE_OK &&
	       /* One request per connection at a time: HTTP/2 has nothing to offer here. */
	       curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_TIMEOUT, 0L) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, (long)client->keep_alive_s) == CURLE_OK &&
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
transfer_take(struct http_tls *tls)
{
	struct http_transfer *t = tls->idle;

	if (t != NULL) {
		tls->idle = t->next;
		tls->idle_count--;
		return t;
	}
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return NULL;
	t->curl = curl_easy_init();
	if (t->curl == NULL || !transfer_set_up(t, tls->client)) {
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
	       curl_easy_setopt(c, CURLOPT_SSLCERT, target->cert_file) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_SSLKEY, target->key_file) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CAPATH, NULL) == CURLE_OK;
}

/* What differs from request to request; false when out of memory. */
static bool
transfer_aim(struct http_transfer *t, struct http_request *req, const struct net_addr *addr)
{
	curl_off_t most = req->max_bytes < INT64_MAX ? (curl_off_t)req->max_bytes : INT64_MAX;
	struct http_target *target = req->target;
	bool named_anew = target->tls_url.len > 0;
	char where[HTTP_WHERE_BYTES];
	CURL *c = t->curl;

	t->request = req;
	t->addr = *addr;
	t->header_bytes = t->unwanted_bytes = 0;
	t->reason[0] = t->error[0] = '\0';
	/*
	 * Any host and port of the URL stand for this address, so libcurl has nothing to resolve.
	 */
	http_where_text(addr, target->port, where);
	snprintf(t->connect_to_text, sizeof(t->connect_to_text), "::%s", where);
	t->connect_to.data = t->connect_to_text;
	return curl_easy_setopt(c, CURLOPT_URL, named_anew ? target->tls_url.p : target->url.p) ==
	           CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_FORBID_REUSE, http_sockets_too_many() ? 1L : 0L) ==
	           CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CONNECT_TO,
	           target->numeric && !named_anew ? NULL : &t->connect_to) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_HTTPHEADER, target->headers) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_CLOSESOCKETDATA, target->multi) == CURLE_OK &&
	       curl_easy_setopt(c, CURLOPT_MAXFILESIZE_LARGE, most) == CURLE_OK &&
	       (!target->tls || transfer_aim_tls(c, target));
}

/* Requests. */

static void
begin(struct http_request *req, const struct net_addr *addr)
{
	struct http_multi *m = req->target->multi;
	struct http_transfer *t = transfer_take(m->tls);
	struct err err;

	if (t != NULL && transfer_aim(t, req, addr) &&
	    curl_multi_add_handle(m->curl, t->curl) == CURLM_OK) {
		req->transfer = t;
		return;
	}
	if (t != NULL)
		transfer_put(m->tls, t);
	err_nomem(&err);
	http_settle(req, &err);
}

static void
proceed(struct http_request *req)
{
	if (req->transfer != NULL)
		curl_easy_pause(req->transfer->curl, CURLPAUSE_CONT);
}

const struct http_transport http_over_tls = {
	.target_add = target_add,
	.target_remove = target_remove,
	.target_moved = end_connection,
	.begin = begin,
	.proceed = proceed,
	.end = detach,
};
