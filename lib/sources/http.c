#include "sources/http.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sources/http_priv.h"

#define HOST_NAME_MAX_BYTES 254 /* RFC 1035, with a dot at the end */

/*
 * Of the open-file limit this much is left to the rest of the process (API, registry, resolver),
 * but no more than a quarter of a small limit.
 */
#define FILES_LEFT_TO_OTHERS 256

/* Of all clients; the kernel's own limit stands behind it. */
static atomic_uint sockets_open;
static atomic_uint sockets_max = 768;

int
http_global_init(struct err *err)
{
	if (http_tls_global_init(err) != 0)
		return -1;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
		err_errno(err, errno, "ignoring SIGPIPE");
		return -1;
	}
	http_set_connections_max(0);
	return 0;
}

/* Texts of errors. */

void
http_where_text(const struct net_addr *addr, uint16_t port, char *out)
{
	char text[INET6_ADDRSTRLEN];

	net_addr_text(addr, text);
	snprintf(out, HTTP_WHERE_BYTES, addr->family == AF_INET6 ? "[%s]:%u" : "%s:%u", text,
	    (unsigned)port);
}

void
http_printable_copy(char *out, size_t cap, struct str text)
{
	size_t n = text.len < cap - 1 ? text.len : cap - 1;

	for (size_t i = 0; i < n; i++)
		out[i] = text.p[i] >= ' ' && text.p[i] <= '~' ? text.p[i] : '?';
	out[n] = '\0';
}

void
http_media_type_copy(char *out, struct str content_type)
{
	const char *semicolon = memchr(content_type.p, ';', content_type.len);

	if (semicolon != NULL)
		content_type.len = (size_t)(semicolon - content_type.p);
	http_printable_copy(out, HTTP_MEDIA_TYPE_BYTES, str_trim(content_type));
	for (char *p = out; *p != '\0'; p++)
		*p |= *p >= 'A' && *p <= 'Z' ? 'a' - 'A' : 0;
}

void
http_err_too_large(struct err *err, const char *what, size_t limit)
{
	if (limit > 0 && limit % (1024 * 1024) == 0)
		err_set(err, ERR_LIMIT, "%s larger than %zu MiB", what, limit / (1024 * 1024));
	else if (limit > 0 && limit % 1024 == 0)
		err_set(err, ERR_LIMIT, "%s larger than %zu KiB", what, limit / 1024);
	else
		err_set(err, ERR_LIMIT, "%s larger than %zu bytes", what, limit);
}

void
http_err_of_status(struct err *err, unsigned status, const char *reason, struct str location)
{
	char text[256];

	if (location.len > 0) {
		http_printable_copy(text, sizeof(text), location);
		err_set(
		    err, ERR_PROTO, "answered %u to %s; redirects are not followed", status, text);
	} else {
		err_set(err, ERR_PROTO, "answered %u%s%s", status, reason[0] == '\0' ? "" : " ",
		    reason);
	}
}

void
http_err_of_connect(struct err *err, int errnum, const char *where)
{
	err_errno(err, errnum, "connect to %s", where);
	if (errnum == ETIMEDOUT)
		err->code = ERR_TIMEOUT;
}

void
http_err_of_cut_off(struct err *err, uint64_t got, int64_t whole)
{
	if (whole >= 0)
		err_set(err, ERR_PROTO, "answer cut off after %llu of %lld bytes",
		    (unsigned long long)got, (long long)whole);
	else
		err_set(err, ERR_PROTO, "answer cut off after %llu bytes", (unsigned long long)got);
}

void
http_err_of_break(struct err *err, int errnum, size_t got)
{
	if (errnum == ECONNRESET || errnum == EPIPE)
		err_set(err, ERR_IO, "connection reset after %zu bytes", got);
	else
		err_errno(err, errnum, "connection broken after %zu bytes", got);
}

/* Descriptors. */

void
http_set_connections_max(unsigned max)
{
	struct rlimit limit;

	if (max == 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		rlim_t most = limit.rlim_cur < 1u << 30 ? limit.rlim_cur : 1u << 30;

		most -= most / 4 < FILES_LEFT_TO_OTHERS ? most / 4 : FILES_LEFT_TO_OTHERS;
		max = (unsigned)most;
	}
	atomic_store(&sockets_max, max > 0 ? max : 1);
}

static unsigned
read_count(const atomic_uint *count)
{
	return atomic_load_explicit(count, memory_order_relaxed);
}

bool
http_sockets_too_many(void)
{
	return read_count(&sockets_open) > read_count(&sockets_max);
}

static bool
out_of_descriptors(int errnum)
{
	return errnum == EMFILE || errnum == ENFILE;
}

int
http_socket_open(struct http_client *client, int family, int type, int protocol, const char *where,
    struct err *err)
{
	int fd;

	if (read_count(&sockets_open) >= read_count(&sockets_max))
		(void)http_plain_close_idle(client->plain);
	fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fd < 0 && out_of_descriptors(errno) && http_plain_close_idle(client->plain))
		fd = socket(family, type | SOCK_CLOEXEC, protocol);
	if (fd >= 0) {
		atomic_fetch_add_explicit(&sockets_open, 1, memory_order_relaxed);
	} else {
		int errnum = errno;

		if (out_of_descriptors(errnum))
			err_set(err, ERR_LIMIT, "connect to %s: out of file descriptors", where);
		else
			err_errno(err, errnum, "connect to %s: socket", where);
	}
	return fd;
}

int
http_socket_close(int fd)
{
	atomic_fetch_sub_explicit(&sockets_open, 1, memory_order_relaxed);
	return close(fd);
}

/* Telling the owner. */

static void
tell(struct loop_task *task)
{
	struct http_request *req = CONTAINER_OF(task, struct http_request, tell_task);
	struct err why;

	if (req->connected && !req->told) {
		req->told = true;
		/* Before the call, in which the owner may cancel. */
		if (req->settled)
			loop_defer(req->target->client->loop, &req->tell_task);
		if (req->on_connected != NULL)
			req->on_connected(req);
		return;
	}
	assert(req->active && req->settled);
	req->target->via->end(req);
	req->active = false;
	req->target->request_count--;
	if (req->why.code == ERR_NONE) {
		req->on_done(req, NULL);
		return;
	}
	why = req->why; /* the owner may start anew in the call */
	req->on_done(req, &why);
}

void
http_connected(struct http_request *req)
{
	if (req->connected)
		return;
	req->connected = true;
	loop_defer(req->target->client->loop, &req->tell_task);
}

/* False if it was settled before. */
static bool
note_outcome(struct http_request *req, const struct err *why)
{
	if (req->settled)
		return false;
	req->settled = true;
	if (why == NULL)
		req->why.code = ERR_NONE;
	else
		req->why = *why;
	return true;
}

void
http_settle(struct http_request *req, const struct err *why)
{
	if (note_outcome(req, why))
		loop_defer(req->target->client->loop, &req->tell_task);
}

void
http_settle_now(struct http_request *req, const struct err *why)
{
	if (!req->told)
		http_settle(req, why);
	else if (note_outcome(req, why))
		tell(&req->tell_task);
}

void
http_body_begin(struct http_request *req)
{
	if (req->body_begun)
		return;
	req->body_begun = true;
	if (req->on_body != NULL)
		req->on_body(req);
	req->body->limit = req->max_bytes;
}

int
http_body_end(struct http_request *req, struct err *err)
{
	struct buf *body = req->body;

	http_body_begin(req);
	/* A buf has one byte more than it says, but none at all if it is empty. */
	if (!buf_reserve(body, body->p == NULL)) {
		err_nomem(err);
		return -1;
	}
	body->p[body->len] = '\0';
	req->target->last_body_bytes = body->len;
	return 0;
}

bool
http_body_reserve(struct http_request *req, size_t n)
{
	struct buf *body = req->body;
	size_t expected = req->target->last_body_bytes;

	http_body_begin(req);
	if (body->cap == 0 && expected > n && expected <= req->max_bytes)
		n = expected;
	return buf_reserve(body, n);
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
	client->plain = http_plain_new(client, err);
	if (client->plain == NULL)
		goto failed;
	client->tls = http_tls_new(client, err);
	if (client->tls == NULL)
		goto failed;
	return client;
failed:
	http_client_free(client);
	return NULL;
}

void
http_client_free(struct http_client *client)
{
	if (client == NULL)
		return;
	assert(client->target_count == 0);
	http_tls_free(client->tls);
	http_plain_free(client->plain);
	free(client);
}

void
http_client_all_by_libcurl(struct http_client *client)
{
	client->all_by_libcurl = true;
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

static struct str
before(struct str text, char end)
{
	const char *at = memchr(text.p, end, text.len);

	return at == NULL ? text : str_sub(text, 0, (size_t)(at - text.p));
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

/* What goes out must be the headers meant, and no more of them (RFC 9110, section 5). */
static bool
header_is_good(struct str line)
{
	const char *colon = line.len == 0 ? NULL : memchr(line.p, ':', line.len);
	size_t name_len = colon == NULL ? 0 : (size_t)(colon - line.p);

	for (size_t i = 0; i < line.len; i++) {
		unsigned char c = (unsigned char)line.p[i];

		if ((c < ' ' && c != '\t') || c == 0x7F)
			return false;
		if (i < name_len && strchr("()<>@,;:\\\"/[]?={} \t", c) != NULL)
			return false;
	}
	return name_len > 0;
}

/* The names of what the client itself says. */
static bool
header_is_ours(struct str line)
{
	static const struct str names[] = { { "Host", 4 }, { "Connection", 10 },
		{ "Content-Length", 14 }, { "Transfer-Encoding", 17 }, { "Accept-Encoding", 15 },
		{ "Accept", 6 }, { "User-Agent", 10 } };
	struct str name = before(line, ':');

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (str_eq_nocase(name, names[i]))
			return true;
	}
	return false;
}

/* Values may be secret, so only names are told. */
static int
check_headers(struct str headers, struct err *err)
{
	struct str line;

	while (str_split(&headers, '\n', &line)) {
		if (!header_is_good(line)) {
			err_set(err, ERR_CONFIG, "a header is malformed");
			return -1;
		}
		if (header_is_ours(line)) {
			err_set(err, ERR_CONFIG, "header %.*s: is set by scottyd itself",
			    STR_ARG(before(line, ':')));
			return -1;
		}
	}
	return 0;
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
	if (conf->server_name.len > 0 && !host_is_good(conf->server_name)) {
		err_set(err, ERR_CONFIG, "server name \"%.*s\": not a host name",
		    STR_ARG(conf->server_name));
		return -1;
	}
	if ((conf->cert_file.len > 0) != (conf->key_file.len > 0)) {
		err_set(err, ERR_CONFIG,
		    "a client certificate needs its key, and a key its "
		    "certificate");
		return -1;
	}
	return check_headers(conf->headers, err);
}

static void
make_url(const struct http_target_conf *conf, struct str name, struct buf *url)
{
	bool bare_ipv6 = str_is_bare_ipv6(name);

	buf_printf(url, "%s://%s%.*s%s:%u%.*s", conf->tls ? "https" : "http", bare_ipv6 ? "[" : "",
	    STR_ARG(name), bare_ipv6 ? "]" : "", (unsigned)conf->port, STR_ARG(conf->path));
	buf_putc(url, '\0');
}

/* The port of the scheme is not named in Host (RFC 9110, section 7.2). */
static struct str
host_of(const struct http_target_conf *conf, const char *url)
{
	struct str place = before(str_of(strstr(url, "://") + 3), '/');

	if (conf->port == (conf->tls ? 443 : 80))
		place.len = (size_t)((const char *)memrchr(place.p, ':', place.len) - place.p);
	return place;
}

/* The fragment of a path is not sent (RFC 9110, section 4.2.4). */
static void
make_head(const struct http_target_conf *conf, const char *url, struct buf *head)
{
	struct str headers = conf->headers, line;
	struct str place = host_of(conf, url);

	buf_printf(head,
	    "GET %.*s HTTP/1.1\r\nHost: %.*s\r\nUser-Agent: " HTTP_USER_AGENT
	    "\r\nAccept-Encoding: gzip\r\n",
	    STR_ARG(before(conf->path, '#')), STR_ARG(place));
	if (conf->accept.len > 0)
		buf_printf(head, "Accept: %.*s\r\n", STR_ARG(conf->accept));
	while (str_split(&headers, '\n', &line)) {
		buf_str(head, line);
		buf_puts(head, "\r\n");
	}
	buf_puts(head, "\r\n");
}

/* Accept without a type takes libcurl's own header away. */
static void
make_header_lines(const struct http_target_conf *conf, const char *url, struct buf *lines)
{
	struct str headers = conf->headers, line;

	buf_printf(lines, "Accept:%s%.*s", conf->accept.len > 0 ? " " : "", STR_ARG(conf->accept));
	buf_putc(lines, '\0');
	if (conf->server_name.len > 0) {
		buf_printf(lines, "Host: %.*s", STR_ARG(host_of(conf, url)));
		buf_putc(lines, '\0');
	}
	while (str_split(&headers, '\n', &line)) {
		buf_str(lines, line);
		buf_putc(lines, '\0');
	}
}

/* *out is NULL for an empty text; -1: out of memory. */
static int
copy_unless_empty(struct str text, char **out)
{
	if (text.len == 0)
		return 0;
	*out = str_dup(text);
	return *out == NULL ? -1 : 0;
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
	make_url(conf, conf->name, &target->url);
	target->name = str_dup(conf->name);
	if (target->url.failed || target->name == NULL)
		return -1;
	if (target->via == &http_over_plain) {
		make_head(conf, target->url.p, &target->head);
		return target->head.failed ? -1 : 0;
	}
	make_header_lines(conf, target->url.p, &target->header_lines);
	if (conf->server_name.len > 0)
		make_url(conf, conf->server_name, &target->tls_url);
	if (target->header_lines.failed || target->tls_url.failed ||
	    copy_unless_empty(conf->ca_file, &target->ca_file) != 0 ||
	    copy_unless_empty(conf->cert_file, &target->cert_file) != 0 ||
	    copy_unless_empty(conf->key_file, &target->key_file) != 0)
		return -1;
	return 0;
}

static void
target_destroy(struct http_target *target)
{
	buf_fini(&target->url);
	buf_fini(&target->tls_url);
	buf_wipe(&target->head); /* headers may be secret */
	buf_wipe(&target->header_lines);
	free(target->name);
	free(target->ca_file);
	free(target->cert_file);
	free(target->key_file);
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
	target->client = client;
	target->via = conf->tls || client->all_by_libcurl ? &http_over_tls : &http_over_plain;
	if (copy_conf(target, conf) != 0) {
		err_nomem(err);
		goto failed;
	}
	if (target->via->target_add(target, err) != 0)
		goto failed;
	client->target_count++;
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
	if (target == NULL)
		return;
	assert(target->request_count == 0);
	target->via->target_remove(target);
	target->client->target_count--;
	target_destroy(target);
}

/* Requests. */

static int
check_guard(const struct http_target *target, const struct net_addr *addr, struct err *err)
{
	const char *kind = NULL;
	char where[HTTP_WHERE_BYTES];

	if (target->deny_loopback && net_addr_is_loopback(addr))
		kind = "loopback";
	else if (target->deny_link_local && net_addr_is_link_local(addr))
		kind = "link-local";
	if (kind == NULL)
		return 0;
	http_where_text(addr, target->port, where);
	err_set(err, ERR_DENIED, "connect to %s: %s addresses are not allowed here", where, kind);
	return -1;
}

/*
 * The guard comes first: there may be a kept connection to that address which another target, one
 * that is allowed to, has opened.
 */
static void
begin(struct http_request *req, const struct net_addr *addr)
{
	struct http_target *target = req->target;
	struct err err;

	if (check_guard(target, addr, &err) != 0) {
		http_settle(req, &err);
		return;
	}
	if (!net_addr_equal(&target->addr, addr)) {
		target->via->target_moved(target);
		target->addr = *addr;
	}
	target->via->begin(req, addr);
}

static void
on_resolved(struct resolver_ask *ask, const struct net_addr *addr, const struct err *err)
{
	struct http_request *req = CONTAINER_OF(ask, struct http_request, ask);

	if (err != NULL)
		http_settle(req, err);
	else
		begin(req, addr);
}

void
http_get(struct http_request *req, struct http_target *target)
{
	struct http_client *client = target->client;
	struct net_addr addr;

	assert(!req->active && req->on_done != NULL && req->body != NULL);
	req->target = target;
	req->tell_task.fn = tell;
	req->ask.fn = on_resolved;
	req->ask.loop = client->loop;
	buf_clear(req->body);
	if (req->media_type != NULL)
		req->media_type[0] = '\0';
	req->active = true;
	req->connected = req->told = req->settled = req->paused = req->body_begun = false;
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
	req->target->via->proceed(req);
}

void
http_cancel(struct http_request *req)
{
	struct http_client *client;

	if (!req->active)
		return;
	client = req->target->client;
	resolver_cancel(client->resolver, &req->ask);
	req->target->via->end(req);
	loop_defer_cancel(client->loop, &req->tell_task);
	req->active = false;
	req->target->request_count--;
}
