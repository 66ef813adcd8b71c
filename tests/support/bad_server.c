#include "bad_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/loop.h"

#define REQUEST_BYTES_MAX 8192
#define BOMB_BLOCK_BYTES  (1024 * 1024)
#define BOMB_BLOCKS       200
#define RESET_DELAY_NS    (20 * NS_PER_MS)
#define FOR_EVER          SIZE_MAX

/* What comes when all is sent. */
enum end { END_KEEP, END_CLOSE, END_RESET };

struct conn {
	struct bad_server *server;
	struct loop_fd fd;
	struct loop_timer timer;
	struct conn *prev, *next;
	char request[REQUEST_BYTES_MAX];
	size_t request_len;
	unsigned answers;
	bool busy; /* an answer is under way */
	struct buf out;
	size_t sent;
	size_t drip_from; /* from this byte of out on one at a time */
	struct buf block; /* sent again and again after out */
	size_t blocks_left;
	enum end end;
};

struct bad_server {
	struct bad_server_conf conf;
	uint16_t port;
	atomic_int mode;
	atomic_uint accepted, open, requests;
	pthread_t thread;

	/* The server's thread. */
	struct loop *loop;
	struct loop_fd listener;
	struct conn *conns;

	pthread_mutex_t mutex; /* for what follows */
	pthread_cond_t dropped;
	bool dropping;
	char last_request[REQUEST_BYTES_MAX];
	struct loop_task drop_task, accept_task;
};

static void serve(struct conn *c);

static void
conn_close(struct conn *c)
{
	struct bad_server *s = c->server;

	loop_fd_del(s->loop, &c->fd);
	loop_timer_clear(s->loop, &c->timer);
	close(c->fd.fd);
	if (c->prev == NULL)
		s->conns = c->next;
	else
		c->prev->next = c->next;
	if (c->next != NULL)
		c->next->prev = c->prev;
	buf_fini(&c->out);
	buf_fini(&c->block);
	free(c);
	atomic_fetch_sub(&s->open, 1);
}

/* Contents. */

static void
default_content(struct buf *out)
{
	while (out->len < 2000)
		buf_puts(out, "abcdefghi\n");
}

static void
add_content(struct bad_server *s, const char *path, struct buf *out)
{
	if (s->conf.content != NULL)
		s->conf.content(s->conf.ctx, path, out);
	else
		default_content(out);
	assert(!out->failed);
}

/* Appends what deflate makes of data. */
static void
add_deflated(z_stream *z, const void *data, size_t len, int flush, struct buf *out)
{
	union {
		const void *given;
		Bytef *wanted; /* zlib takes it without const, and only reads it */
	} in = { .given = data };

	z->next_in = in.wanted;
	z->avail_in = (uInt)len;
	do {
		bool room = buf_reserve(out, 4096);

		assert(room);
		z->next_out = (Bytef *)out->p + out->len;
		z->avail_out = 4096;
		deflate(z, flush);
		out->len += 4096 - z->avail_out;
	} while (z->avail_out == 0);
}

static void
gzip_start(z_stream *z)
{
	int rc;

	*z = (z_stream){ .next_in = NULL };
	/* 16 + 15: a gzip header and the largest window. */
	rc = deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY);
	assert(rc == Z_OK);
}

static void
gzip(const struct buf *content, struct buf *out)
{
	z_stream z;

	gzip_start(&z);
	add_deflated(&z, content->p, content->len, Z_FINISH, out);
	deflateEnd(&z);
}

/* After a full flush deflate starts anew, so that all blocks but the first are the same bytes. */
static void
gzip_bomb(struct buf *first, struct buf *block)
{
	void *zeros = calloc(1, BOMB_BLOCK_BYTES);
	z_stream z;

	assert(zeros != NULL);
	gzip_start(&z);
	add_deflated(&z, zeros, BOMB_BLOCK_BYTES, Z_FULL_FLUSH, first);
	add_deflated(&z, zeros, BOMB_BLOCK_BYTES, Z_FULL_FLUSH, block);
	deflateEnd(&z);
	free(zeros);
}

/* Answers. */

static void
head(struct conn *c, const char *status, const char *headers)
{
	buf_printf(&c->out, "HTTP/1.1 %s\r\nContent-Type: text/plain\r\n%s\r\n", status, headers);
}

static void
answer_whole(struct conn *c, const char *status, const char *headers, const struct buf *content)
{
	char all[640];

	snprintf(all, sizeof(all), "%sContent-Length: %zu\r\n", headers, content->len);
	head(c, status, all);
	buf_str(&c->out, buf_view(content));
}

static void
answer_half(struct conn *c, const struct buf *content, enum end end)
{
	answer_whole(c, "200 OK", "", content);
	c->out.len -= content->len - content->len / 2;
	c->end = end;
}

static void
add_chunk(struct buf *out, struct str data)
{
	if (data.len == 0) /* that would be the last */
		return;
	buf_printf(out, "%zx\r\n", data.len);
	buf_str(out, data);
	buf_puts(out, "\r\n");
}

/* In two chunks, or the first of them. */
static void
answer_chunked(struct conn *c, const struct buf *content, bool whole)
{
	size_t half = content->len / 2;

	head(c, "200 OK", "Transfer-Encoding: chunked\r\n");
	add_chunk(&c->out, str_sub(buf_view(content), 0, half));
	if (whole) {
		add_chunk(&c->out, str_sub(buf_view(content), half, content->len));
		buf_puts(&c->out, "0\r\n\r\n");
	} else {
		c->end = END_CLOSE;
	}
}

static void
answer_endless(struct conn *c, const char *status)
{
	char data[4096];

	memset(data, 'x', sizeof(data));
	head(c, status, "Transfer-Encoding: chunked\r\n");
	add_chunk(&c->block, (struct str){ data, sizeof(data) });
	c->blocks_left = FOR_EVER;
}

static void
answer_gzip(struct conn *c, const struct buf *content)
{
	struct buf packed;

	buf_init(&packed, 0);
	gzip(content, &packed);
	answer_whole(c, "200 OK", "Content-Encoding: gzip\r\n", &packed);
	buf_fini(&packed);
}

static void
answer_bomb(struct conn *c)
{
	head(c, "200 OK", "Content-Encoding: gzip\r\nConnection: close\r\n");
	gzip_bomb(&c->out, &c->block);
	c->blocks_left = BOMB_BLOCKS - 1;
	c->end = END_CLOSE;
}

static void
answer_redirect(struct conn *c, const char *path, bool to_self)
{
	char location[512];
	struct buf nothing;

	buf_init(&nothing, 0);
	if (to_self)
		snprintf(location, sizeof(location), "Location: http://%s:%u%s\r\n",
		    c->server->conf.address, (unsigned)c->server->port, path);
	else
		snprintf(location, sizeof(location), "Location: http://192.0.2.1/other\r\n");
	answer_whole(c, "301 Moved Permanently", location, &nothing);
}

static void
answer(struct conn *c, const char *path)
{
	struct bad_server *s = c->server;
	struct buf content;

	buf_init(&content, 0);
	add_content(s, path, &content);
	c->end = END_KEEP;
	c->drip_from = FOR_EVER;
	switch ((enum bad_mode)atomic_load(&s->mode)) {
	case BAD_OK:
		answer_whole(c, "200 OK", "", &content);
		break;
	case BAD_CHUNKED:
		answer_chunked(c, &content, true);
		break;
	case BAD_GZIP:
		answer_gzip(c, &content);
		break;
	case BAD_OLD:
		buf_puts(&c->out, "HTTP/1.0 200 OK\r\n\r\n");
		buf_str(&c->out, buf_view(&content));
		c->end = END_CLOSE;
		break;
	case BAD_CLOSE_EACH:
		answer_whole(c, "200 OK", "Connection: close\r\n", &content);
		c->end = END_CLOSE;
		break;
	case BAD_STALE:
		if (c->answers == 0)
			answer_whole(c, "200 OK", "", &content);
		else
			c->end = END_CLOSE;
		break;
	case BAD_REFUSE: /* it does not listen: none comes here */
	case BAD_HANG:
		break;
	case BAD_SHUT:
		c->end = END_CLOSE;
		break;
	case BAD_RESET:
		answer_half(c, &content, END_RESET);
		break;
	case BAD_CUT_OFF:
		answer_half(c, &content, END_CLOSE);
		break;
	case BAD_CUT_OFF_CHUNKED:
		answer_chunked(c, &content, false);
		break;
	case BAD_DRIP:
		answer_whole(c, "200 OK", "", &content);
		c->drip_from = c->out.len - content.len;
		break;
	case BAD_BROKEN_CHUNK:
		answer_chunked(c, &content, false);
		buf_puts(&c->out, "no length\r\n");
		break;
	case BAD_BROKEN_GZIP:
		answer_whole(c, "200 OK", "Content-Encoding: gzip\r\n", &content);
		break;
	case BAD_500:
		answer_whole(c, "500 Internal Server Error", "", &content);
		break;
	case BAD_500_ENDLESS:
		answer_endless(c, "500 Internal Server Error");
		break;
	case BAD_REDIRECT_SELF:
	case BAD_REDIRECT_OTHER:
		answer_redirect(c, path, atomic_load(&s->mode) == BAD_REDIRECT_SELF);
		break;
	case BAD_NOT_HTTP:
		buf_puts(&c->out, "SSH-2.0-OpenSSH_9.2p1\r\n");
		c->end = END_CLOSE;
		break;
	case BAD_ENDLESS:
		answer_endless(c, "200 OK");
		break;
	case BAD_GZIP_BOMB:
		answer_bomb(c);
		break;
	case BAD_HUGE_HEADERS:
		buf_puts(&c->out, "HTTP/1.1 200 OK\r\n");
		buf_printf(&c->block, "X-Filler: %01000d\r\n", 0);
		c->blocks_left = FOR_EVER;
		break;
	}
	assert(!c->out.failed && !c->block.failed);
	buf_fini(&content);
}

/* Sending. */

/* At most len bytes; false when the socket takes no more or the connection is gone. */
static bool
send_some(struct conn *c, size_t len)
{
	ssize_t n = send(c->fd.fd, c->out.p + c->sent, len, MSG_NOSIGNAL);

	if (n > 0) {
		c->sent += (size_t)n;
		return true;
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		loop_fd_set(c->server->loop, &c->fd, LOOP_READ | LOOP_WRITE);
	else
		conn_close(c);
	return false;
}

static void
finish(struct conn *c)
{
	struct bad_server *s = c->server;
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	switch (c->end) {
	case END_KEEP:
		if (c->out.len == 0) /* hangs: busy for ever */
			return;
		buf_clear(&c->out);
		c->sent = 0;
		c->busy = false;
		c->answers++;
		loop_fd_set(s->loop, &c->fd, LOOP_READ);
		serve(c);
		break;
	case END_CLOSE:
		conn_close(c);
		break;
	case END_RESET:
		setsockopt(c->fd.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		loop_timer_set(s->loop, &c->timer, loop_now_ns(s->loop) + RESET_DELAY_NS);
		break;
	}
}

static void
send_answer(struct conn *c)
{
	struct bad_server *s = c->server;

	for (;;) {
		while (c->sent < c->out.len && c->sent < c->drip_from) {
			size_t end = c->out.len < c->drip_from ? c->out.len : c->drip_from;

			if (!send_some(c, end - c->sent))
				return;
		}
		if (c->sent < c->out.len) {
			loop_timer_set(
			    s->loop, &c->timer, loop_now_ns(s->loop) + s->conf.drip_ms * NS_PER_MS);
			return;
		}
		if (c->blocks_left == 0)
			break;
		if (c->blocks_left != FOR_EVER)
			c->blocks_left--;
		buf_clear(&c->out);
		buf_str(&c->out, buf_view(&c->block));
		c->sent = 0;
	}
	finish(c);
}

/* For the next byte of a drip, or to reset. */
static void
on_timer(struct loop_timer *timer)
{
	struct conn *c = CONTAINER_OF(timer, struct conn, timer);

	if (c->end == END_RESET) {
		conn_close(c);
	} else {
		c->drip_from++;
		send_answer(c);
	}
}

/* Requests. */

static void
keep_request(struct bad_server *s, const char *text)
{
	pthread_mutex_lock(&s->mutex);
	snprintf(s->last_request, sizeof(s->last_request), "%s", text);
	pthread_mutex_unlock(&s->mutex);
	atomic_fetch_add(&s->requests, 1);
}

/* Takes the next whole request and answers it. */
static void
serve(struct conn *c)
{
	char path[256] = "/";
	char *end;
	size_t len;

	c->request[c->request_len] = '\0';
	end = strstr(c->request, "\r\n\r\n");
	if (c->busy || end == NULL)
		return;
	len = (size_t)(end - c->request) + 4;
	end[2] = '\0';
	keep_request(c->server, c->request);
	sscanf(c->request, "%*s %255s", path);
	c->request_len -= len;
	memmove(c->request, c->request + len, c->request_len);
	c->busy = true;
	answer(c, path);
	send_answer(c);
}

static void
on_conn(struct loop_fd *fd, unsigned events)
{
	struct conn *c = CONTAINER_OF(fd, struct conn, fd);

	if ((events & (LOOP_READ | LOOP_ERROR)) != 0) {
		size_t room = sizeof(c->request) - 1 - c->request_len;
		ssize_t n = recv(c->fd.fd, c->request + c->request_len, room, 0);

		if (n > 0) {
			c->request_len += (size_t)n;
			serve(c);
			return;
		}
		if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			conn_close(c);
			return;
		}
	}
	if ((events & LOOP_WRITE) != 0)
		send_answer(c);
}

static void
conn_add(struct bad_server *s, int fd)
{
	struct conn *c = calloc(1, sizeof(*c));
	struct err err;
	int rc;

	assert(c != NULL);
	c->server = s;
	c->fd.fd = fd;
	c->fd.fn = on_conn;
	c->timer.fn = on_timer;
	buf_init(&c->out, 0);
	buf_init(&c->block, 0);
	c->next = s->conns;
	if (c->next != NULL)
		c->next->prev = c;
	s->conns = c;
	atomic_fetch_add(&s->accepted, 1);
	atomic_fetch_add(&s->open, 1);
	rc = loop_fd_add(s->loop, &c->fd, LOOP_READ, &err);
	assert(rc == 0);
}

static void
on_listener(struct loop_fd *listener, unsigned events)
{
	struct bad_server *s = CONTAINER_OF(listener, struct bad_server, listener);
	int fd;

	(void)events;
	while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
		conn_add(s, fd);
}

/* Start, stop and orders. */

static void
drop(struct loop_task *task)
{
	struct bad_server *s = CONTAINER_OF(task, struct bad_server, drop_task);

	while (s->conns != NULL)
		conn_close(s->conns);
	pthread_mutex_lock(&s->mutex);
	s->dropping = false;
	pthread_cond_signal(&s->dropped);
	pthread_mutex_unlock(&s->mutex);
}

static void
start_accepting(struct loop_task *task)
{
	struct bad_server *s = CONTAINER_OF(task, struct bad_server, accept_task);
	struct err err;
	int rc;

	rc = loop_fd_add(s->loop, &s->listener, LOOP_READ, &err);
	assert(rc == 0);
}

/* Any thread: from here on connects succeed. */
static void
start_listening(struct bad_server *s)
{
	int rc = listen(s->listener.fd, SOMAXCONN);

	assert(rc == 0);
	loop_post(s->loop, &s->accept_task);
}

static void *
run(void *arg)
{
	struct bad_server *s = arg;

	loop_run(s->loop);
	return NULL;
}

static void
bind_listener(struct bad_server *s)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons(s->conf.port) };
	socklen_t len = sizeof(addr);
	const int on = 1;
	int fd, rc;

	rc = inet_pton(AF_INET, s->conf.address, &addr.sin_addr);
	assert(rc == 1);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert(fd >= 0);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	rc = bind(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr));
	assert(rc == 0);
	rc = getsockname(fd, (struct sockaddr *)(void *)&addr, &len);
	assert(rc == 0);
	s->port = ntohs(addr.sin_port);
	s->listener.fd = fd;
	s->listener.fn = on_listener;
}

struct bad_server *
bad_server_start(enum bad_mode mode, const struct bad_server_conf *conf)
{
	struct bad_server *s = calloc(1, sizeof(*s));
	struct err err;
	int rc;

	assert(s != NULL);
	if (conf != NULL)
		s->conf = *conf;
	if (s->conf.address == NULL)
		s->conf.address = "127.0.0.1";
	if (s->conf.drip_ms == 0)
		s->conf.drip_ms = 1000;
	atomic_init(&s->mode, mode);
	pthread_mutex_init(&s->mutex, NULL);
	pthread_cond_init(&s->dropped, NULL);
	s->drop_task.fn = drop;
	s->accept_task.fn = start_accepting;
	s->loop = loop_new(&err);
	assert(s->loop != NULL);
	bind_listener(s);
	if (mode != BAD_REFUSE)
		start_listening(s);
	rc = pthread_create(&s->thread, NULL, run, s);
	assert(rc == 0);
	return s;
}

void
bad_server_stop(struct bad_server *s)
{
	if (s == NULL)
		return;
	loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	while (s->conns != NULL)
		conn_close(s->conns);
	loop_fd_del(s->loop, &s->listener);
	close(s->listener.fd);
	loop_free(s->loop);
	pthread_cond_destroy(&s->dropped);
	pthread_mutex_destroy(&s->mutex);
	free(s);
}

uint16_t
bad_server_port(const struct bad_server *s)
{
	return s->port;
}

void
bad_server_set_mode(struct bad_server *s, enum bad_mode mode)
{
	assert(mode != BAD_REFUSE);
	if (atomic_exchange(&s->mode, mode) == BAD_REFUSE)
		start_listening(s);
}

void
bad_server_drop_connections(struct bad_server *s)
{
	pthread_mutex_lock(&s->mutex);
	s->dropping = true;
	loop_post(s->loop, &s->drop_task);
	while (s->dropping)
		pthread_cond_wait(&s->dropped, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
}

unsigned
bad_server_accepted_count(struct bad_server *s)
{
	return atomic_load(&s->accepted);
}

unsigned
bad_server_open_count(struct bad_server *s)
{
	return atomic_load(&s->open);
}

unsigned
bad_server_request_count(struct bad_server *s)
{
	return atomic_load(&s->requests);
}

void
bad_server_last_request(struct bad_server *s, char *out, size_t cap)
{
	pthread_mutex_lock(&s->mutex);
	snprintf(out, cap, "%s", s->last_request);
	pthread_mutex_unlock(&s->mutex);
}
