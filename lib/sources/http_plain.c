/*
 * Plain HTTP over sockets of our own, at a fifth of the CPU that libcurl takes (http_bench).
 *
 * A request on a kept connection is one send and, when the answer is there, one read: the head goes
 * to memory that all connections share, the content straight to the body's owner. Where the one
 * ends and the other begins is guessed from the target's last answer; a wrong guess costs a copy.
 * A connection stays in the epoll set from its first byte to its last; while idle it holds no
 * buffer, and any event of it means that it is of no more use.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "sources/http_conn_priv.h"
#include "sources/http_gzip_priv.h"
#include "sources/http_priv.h"

/* One read takes in as much beyond what the body has room for. */
#define SHARED_BYTES (64 * 1024)
/* A longer head is not guessed. */
#define LEAD_BYTES_MAX 4096
/* Room made at a time for what a length promises: promises cost the peer nothing. */
#define RESERVE_BYTES_MAX (1024 * 1024)
/*
 * An owner lets a held answer proceed a turn or two after he knows of the connection. For as many
 * turns it may be announced again and again, which is cheaper than to leave the epoll set.
 */
#define HELD_EVENTS_MAX 4

#define IDLE_GZIPS_MAX 16 /* of 40 kB each */

/* What one read brought, in this order. */
struct input {
	struct str lead, body, rest;
};

struct http_plain {
	struct http_conns conns;
	struct http_gzip *gzips[IDLE_GZIPS_MAX];
	unsigned gzip_count;
	/* During a read: the owner's buffer holds input that is yet to be looked at. */
	bool input_in_body;
	struct buf aside; /* such a buffer, when its place is needed */
	char shared[SHARED_BYTES];
};

static struct http_plain *
pool_of(const struct http_conn *c)
{
	return CONTAINER_OF(c->conns, struct http_plain, conns);
}

static struct loop *
loop_of(const struct http_conn *c)
{
	return c->conns->client->loop;
}

/* Requests and their connections. */

static void
gzip_put(struct http_plain *pool, struct http_gzip *gzip)
{
	if (gzip != NULL && pool->gzip_count < IDLE_GZIPS_MAX)
		pool->gzips[pool->gzip_count++] = gzip;
	else
		http_gzip_free(gzip);
}

/* NULL when out of memory. */
static struct http_gzip *
gzip_take(struct http_plain *pool)
{
	struct http_gzip *gzip;

	if (pool->gzip_count == 0)
		return http_gzip_new();
	gzip = pool->gzips[--pool->gzip_count];
	http_gzip_reset(gzip);
	return gzip;
}

static void
attach(struct http_conn *c, struct http_request *req)
{
	c->request = req;
	req->conn = c;
	c->sent = c->lead_bytes = 0;
	c->wire_bytes = c->content_bytes = 0;
	c->held_events = 0;
	http_answer_init(&c->answer);
}

/* The connection stays with its target or goes. */
static void
detach(struct http_conn *c, bool keep)
{
	c->request->conn = NULL;
	c->request = NULL;
	http_answer_fini(&c->answer);
	buf_fini(&pool_of(c)->aside);
	gzip_put(pool_of(c), c->gzip);
	c->gzip = NULL;
	if (keep)
		http_conn_keep(c);
	else
		http_conn_close(c);
}

/* Last calls of an event's function: the owner may act. */

static void
fail(struct http_conn *c, const struct err *why)
{
	struct http_request *req = c->request;

	detach(c, false);
	http_settle_now(req, why);
}

/* What is wrong with an answer that is not 200 is its status, whatever else may be. */
static bool
is_other_status(const struct http_conn *c)
{
	return c->answer.status >= 200 && c->answer.status != 200;
}

/* The error of such an answer; a path without host is completed, as it is told (RFC 9110). */
static void
err_of_status(const struct http_conn *c, struct err *err)
{
	const struct http_answer *a = &c->answer;
	const char *url = c->target->url.p;
	char text[512];

	if (a->location != NULL && a->location[0] == '/' && a->location[1] != '/') {
		int origin = (int)strcspn(url + strlen("http://"), "/") + (int)strlen("http://");

		snprintf(text, sizeof(text), "%.*s%s", origin, url, a->location);
		http_err_of_status(err, a->status, a->reason, str_of(text));
	} else {
		http_err_of_status(err, a->status, a->reason, str_of(a->location));
	}
}

static void
err_of_answer(const struct http_conn *c, const char *why, struct err *err)
{
	char where[HTTP_WHERE_BYTES];

	http_where_text(&c->addr, c->port, where);
	err_set(err, ERR_PROTO, "answer from %s: %s", where, why);
}

/* The answer can't be read on. */
static void
fail_bad(struct http_conn *c)
{
	const struct http_answer *a = &c->answer;
	struct err err;

	if (a->fault == ERR_NOMEM)
		err_nomem(&err);
	else if (is_other_status(c))
		err_of_status(c, &err);
	else if (a->fault == ERR_LIMIT)
		http_err_too_large(&err, "headers of the answer", HTTP_HEADER_BYTES_MAX);
	else if (a->head_done)
		err_set(&err, ERR_PROTO, "answer broken after %zu bytes: %s", c->request->body->len,
		    a->why);
	else
		err_of_answer(c, a->why, &err);
	fail(c, &err);
}

static void
fail_status(struct http_conn *c)
{
	struct err err;

	err_of_status(c, &err);
	fail(c, &err);
}

static void
fail_nomem(struct http_conn *c)
{
	struct err err;

	err_nomem(&err);
	fail(c, &err);
}

static void
fail_too_large(struct http_conn *c)
{
	struct err err;

	http_err_too_large(&err, "answer", c->request->max_bytes);
	fail(c, &err);
}

static void start(struct http_request *req, struct http_conn *c);
static void on_fd(struct loop_fd *fd, unsigned events);

/*
 * The peer may close a kept connection while a request is on its way to it. What it has not begun
 * to answer is asked again, once, of a new one (RFC 9112, section 9.3.1).
 */
static bool
ask_again(struct http_conn *c)
{
	struct http_request *req = c->request;
	struct http_plain *pool = pool_of(c);
	struct net_addr addr = c->addr;
	struct err err;

	if (!c->reused || c->wire_bytes > 0)
		return false;
	detach(c, false);
	c = http_conn_open(&pool->conns, req->target, &addr, on_fd, &err);
	if (c == NULL)
		http_settle(req, &err);
	else
		start(req, c);
	return true;
}

static void
fail_broken(struct http_conn *c, int errnum)
{
	struct err err;

	if (ask_again(c))
		return;
	if (is_other_status(c))
		err_of_status(c, &err);
	else
		http_err_of_break(&err, errnum, c->request->body->len);
	fail(c, &err);
}

/* The answer is whole. */
static void
succeed(struct http_conn *c, bool keep)
{
	struct http_request *req = c->request;
	struct err err;

	if (is_other_status(c)) {
		err_of_status(c, &err);
		detach(c, keep);
		http_settle_now(req, &err);
	} else if (c->gzip != NULL && !http_gzip_is_whole(c->gzip)) {
		err_set(&err, ERR_PROTO, "answer broken after %zu bytes: gzip ends too soon",
		    req->body->len);
		fail(c, &err);
	} else if (http_body_end(req, &err) != 0) {
		fail(c, &err);
	} else {
		req->target->lead_bytes = c->gzip == NULL ? c->lead_bytes : 0;
		detach(c, keep);
		http_settle_now(req, NULL);
	}
}

static void
fail_closed(struct http_conn *c)
{
	const struct http_answer *a = &c->answer;
	struct err err;

	if (c->wire_bytes == 0) {
		if (ask_again(c))
			return;
		err_set(&err, ERR_PROTO, "connection closed without an answer");
	} else if (is_other_status(c)) {
		err_of_status(c, &err);
	} else {
		http_err_of_cut_off(&err, c->content_bytes,
		    a->has_length && a->length <= INT64_MAX ? (int64_t)a->length : -1);
	}
	fail(c, &err);
}

/* Sending. */

static void
send_request(struct http_conn *c)
{
	const struct buf *head = &c->target->head;
	struct loop *loop = loop_of(c);
	ssize_t n = send(c->fd.fd, head->p + c->sent, head->len - c->sent, MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		fail_broken(c, errno);
		return;
	}
	c->sent += n > 0 ? (size_t)n : 0;
	if (c->sent < head->len)
		loop_fd_set(loop, &c->fd, LOOP_READ | LOOP_WRITE);
	else if (c->fd.events != LOOP_READ)
		loop_fd_set(loop, &c->fd, LOOP_READ);
}

static void
start(struct http_request *req, struct http_conn *c)
{
	attach(c, req);
	if (c->connecting)
		return;
	http_connected(req);
	send_request(c);
}

static void
end_connect(struct http_conn *c)
{
	char where[HTTP_WHERE_BYTES];
	int errnum = 0;
	socklen_t len = sizeof(errnum);
	struct err err;

	if (getsockopt(c->fd.fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0)
		errnum = errno;
	if (errnum == 0) {
		c->connecting = false;
		http_connected(c->request);
		send_request(c);
		return;
	}
	http_where_text(&c->addr, c->port, where);
	http_err_of_connect(&err, errnum, where);
	fail(c, &err);
}

/* Reading. */

/* The owner's buffer is wanted while input lies in it: it goes aside, and he gets another. */
static void
put_input_aside(struct http_conn *c)
{
	struct buf *body = c->request->body;

	assert(pool_of(c)->aside.p == NULL);
	pool_of(c)->aside = *body;
	pool_of(c)->aside.len = 0;
	buf_init(body, c->request->max_bytes);
	pool_of(c)->input_in_body = false;
}

/* False: the request has ended. */
static bool
take_head(struct http_conn *c)
{
	const struct http_answer *a = &c->answer;
	struct err err;

	if (is_other_status(c))
		return true;
	if (c->request->media_type != NULL)
		memcpy(c->request->media_type, a->media_type, sizeof(a->media_type));
	if (a->has_length && a->length > c->request->max_bytes) {
		fail_too_large(c);
		return false;
	}
	switch (a->coding) {
	case HTTP_CODING_NONE:
		return true;
	case HTTP_CODING_GZIP:
		c->gzip = gzip_take(pool_of(c));
		if (c->gzip != NULL)
			return true;
		fail_nomem(c);
		return false;
	case HTTP_CODING_OTHER:
		break;
	}
	err_of_answer(c, "Unrecognized content encoding type", &err);
	fail(c, &err);
	return false;
}

static bool
take_gzip(struct http_conn *c, struct str data)
{
	struct http_request *req = c->request;
	struct err err;

	if (pool_of(c)->input_in_body)
		put_input_aside(c);
	http_body_begin(req);
	switch (http_gzip_inflate(c->gzip, data, req->body, req->max_bytes)) {
	case HTTP_GZIP_OK:
		return true;
	case HTTP_GZIP_TOO_LARGE:
		fail_too_large(c);
		return false;
	case HTTP_GZIP_NOMEM:
		fail_nomem(c);
		return false;
	case HTTP_GZIP_BAD:
		break;
	}
	snprintf(err.text, sizeof(err.text), "Error while processing content unencoding: %s",
	    http_gzip_why(c->gzip));
	err_of_answer(c, err.text, &err);
	fail(c, &err);
	return false;
}

/* A piece of the content; in_body: it lies in the owner's buffer. False: the request has ended. */
static bool
take_data(struct http_conn *c, struct str data, bool in_body)
{
	struct http_request *req = c->request;
	struct buf *body = req->body;

	c->content_bytes += data.len;
	if (is_other_status(c)) {
		if (c->content_bytes <= HTTP_UNWANTED_BYTES_MAX)
			return true;
		fail_status(c);
		return false;
	}
	if (c->content_bytes > req->max_bytes) {
		fail_too_large(c);
		return false;
	}
	if (c->gzip != NULL)
		return take_gzip(c, data);
	if (in_body && pool_of(c)->input_in_body) {
		/* It can only have moved towards the front, past heads of chunks. */
		if (data.p != body->p + body->len)
			memmove(body->p + body->len, data.p, data.len);
		body->len += data.len;
		return true;
	}
	if (pool_of(c)->input_in_body)
		put_input_aside(c);
	if (!http_body_reserve(req, data.len)) {
		fail_nomem(c);
		return false;
	}
	buf_add(body, data.p, data.len);
	return true;
}

/* Goes through a piece of input. False: the request has ended; more: there is input behind it. */
static bool
take_input(struct http_conn *c, struct str in, bool in_body, bool more)
{
	const char *from = in.p;
	const size_t len = in.len;
	struct str data;

	for (;;) {
		switch (http_answer_next(&c->answer, &in, &data)) {
		case HTTP_ANSWER_MORE:
			c->wire_bytes += len;
			return true;
		case HTTP_ANSWER_HEAD:
			if (!take_head(c))
				return false;
			break;
		case HTTP_ANSWER_DATA:
			if (c->lead_bytes == 0)
				c->lead_bytes = (size_t)c->wire_bytes + (size_t)(data.p - from);
			if (!take_data(c, data, in_body))
				return false;
			break;
		case HTTP_ANSWER_END:
			/* Nobody has asked for more: who sends it can't be trusted to be in step.
			 */
			succeed(c, c->answer.keep_alive && in.len == 0 && !more &&
			               c->sent == c->target->head.len);
			return false;
		case HTTP_ANSWER_BAD:
			fail_bad(c);
			return false;
		}
	}
}

/* How many bytes of what is read next come before content for the body. */
static size_t
lead_expected(const struct http_conn *c)
{
	size_t lead = c->target->lead_bytes;

	if (c->answer.head_done || lead > LEAD_BYTES_MAX || c->wire_bytes >= lead)
		return 0;
	return lead - (size_t)c->wire_bytes;
}

/* How many bytes of content come next, as far as room should be made for them before. */
static size_t
content_expected(const struct http_conn *c, size_t lead)
{
	const struct http_request *req = c->request;
	size_t left = req->max_bytes - req->body->len;
	uint64_t n;

	if (lead > 0)
		n = req->target->last_body_bytes;
	else
		n = c->answer.left < RESERVE_BYTES_MAX ? c->answer.left : RESERVE_BYTES_MAX;
	return n < left ? (size_t)n : left;
}

/* Makes room in the body for input that may be read right there; false when out of memory. */
static bool
make_room(struct http_conn *c, size_t lead, size_t *room)
{
	const struct http_answer *a = &c->answer;
	struct http_request *req = c->request;
	struct buf *body = req->body;
	size_t left = req->max_bytes - body->len;

	*room = 0;
	if (lead == 0 && (!a->head_done || c->gzip != NULL || a->status != 200))
		return true;
	http_body_begin(req);
	if (!buf_reserve(body, content_expected(c, lead)))
		return false;
	*room = body->cap - body->len < left ? body->cap - body->len : left;
	return true;
}

/* One read. What readv returns, with errno ENOMEM when there is no room for it. */
static ssize_t
read_input(struct http_conn *c, struct input *in)
{
	struct http_plain *pool = pool_of(c);
	struct buf *body = c->request->body;
	size_t lead = lead_expected(c), room, left;
	struct iovec parts[3];
	ssize_t n;

	if (!make_room(c, lead, &room)) {
		errno = ENOMEM;
		return -1;
	}
	parts[0] = (struct iovec){ pool->shared, lead };
	parts[1] = (struct iovec){ room > 0 ? body->p + body->len : NULL, room };
	parts[2] = (struct iovec){ pool->shared + lead, SHARED_BYTES - lead };
	n = readv(c->fd.fd, parts, 3);
	if (n <= 0)
		return n;
	left = (size_t)n;
	in->lead = (struct str){ pool->shared, left < lead ? left : lead };
	left -= in->lead.len;
	in->body = (struct str){ parts[1].iov_base, left < room ? left : room };
	left -= in->body.len;
	in->rest = (struct str){ parts[2].iov_base, left };
	return n;
}

/* False: the request has ended. */
static bool
take_all_input(struct http_conn *c, const struct input *in)
{
	struct http_plain *pool = pool_of(c);
	bool more = in->rest.len > 0;

	pool->input_in_body = in->body.len > 0;
	if (in->lead.len > 0 && !take_input(c, in->lead, false, more || in->body.len > 0))
		return false;
	if (in->body.len > 0 && !take_input(c, in->body, true, more))
		return false;
	pool->input_in_body = false;
	buf_fini(&pool->aside);
	return !more || take_input(c, in->rest, false, false);
}

static void
read_answer(struct http_conn *c)
{
	struct input in;
	ssize_t n = read_input(c, &in);

	if (n > 0)
		(void)take_all_input(c, &in);
	else if (n < 0 && errno == ENOMEM)
		fail_nomem(c);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail_broken(c, errno);
	else if (n == 0 && http_answer_close(&c->answer) == HTTP_ANSWER_END)
		succeed(c, false);
	else if (n == 0)
		fail_closed(c);
}

/* Whether what has come of an answer can be the beginning of a good one. */
static bool
may_be_good(struct str in)
{
	enum http_answer_step step;
	struct http_answer a;
	struct str data;
	bool good;

	http_answer_init(&a);
	step = http_answer_next(&a, &in, &data);
	good = step == HTTP_ANSWER_MORE || (step == HTTP_ANSWER_HEAD && a.status == 200);
	http_answer_fini(&a);
	return good;
}

/*
 * A good answer that is held stays in the socket. All else is read at once: it takes no memory, and
 * its owner should not have to wait for it.
 */
static void
look_at_held(struct http_conn *c)
{
	char *shared = pool_of(c)->shared;
	ssize_t n = recv(c->fd.fd, shared, SHARED_BYTES, MSG_PEEK);

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail_broken(c, errno); /* the error is told only once */
	else if (n > 0 && may_be_good((struct str){ shared, (size_t)n }))
		loop_fd_del(loop_of(c), &c->fd);
	else
		read_answer(c);
}

static void
on_readable(struct http_conn *c)
{
	if (!c->request->hold || c->wire_bytes > 0) {
		read_answer(c);
		return;
	}
	c->request->paused = true;
	if (++c->held_events >= HELD_EVENTS_MAX)
		look_at_held(c);
}

static void
on_fd(struct loop_fd *fd, unsigned events)
{
	struct http_conn *c = CONTAINER_OF(fd, struct http_conn, fd);

	if (c->request == NULL) {
		http_conn_close(c); /* closed by the peer, or it sends what nobody asked for */
	} else if (c->connecting) {
		end_connect(c);
	} else if ((events & (LOOP_READ | LOOP_ERROR)) != 0) {
		on_readable(c);
	} else if (c->sent < c->target->head.len) {
		send_request(c);
	}
}

/* The client's side. */

bool
http_plain_close_idle(struct http_plain *pool)
{
	return http_conns_close_idle(&pool->conns);
}

struct http_plain *
http_plain_new(struct http_client *client, struct err *err)
{
	struct http_plain *pool = calloc(1, sizeof(*pool));

	if (pool == NULL) {
		err_nomem(err);
		return NULL;
	}
	http_conns_init(&pool->conns, client);
	return pool;
}

void
http_plain_free(struct http_plain *pool)
{
	if (pool == NULL)
		return;
	http_conns_fini(&pool->conns);
	while (pool->gzip_count > 0)
		http_gzip_free(pool->gzips[--pool->gzip_count]);
	free(pool);
}

static int
target_add(struct http_target *target, struct err *err)
{
	(void)target, (void)err;
	return 0;
}

static void
drop_kept(struct http_target *target)
{
	if (target->conn != NULL)
		http_conn_close(target->conn);
}

static void
begin(struct http_request *req, const struct net_addr *addr)
{
	struct http_plain *pool = req->target->client->plain;
	struct http_conn *c = http_conn_take(&pool->conns, req->target, addr);
	struct err err;

	if (c == NULL)
		c = http_conn_open(&pool->conns, req->target, addr, on_fd, &err);
	if (c == NULL)
		http_settle(req, &err);
	else
		start(req, c);
}

static void
proceed(struct http_request *req)
{
	struct http_conn *c = req->conn;
	struct err err;

	if (c == NULL || c->fd.added)
		return;
	if (loop_fd_add(loop_of(c), &c->fd, LOOP_READ, &err) == 0)
		return;
	detach(c, false);
	http_settle(req, &err);
}

static void
end(struct http_request *req)
{
	if (req->conn != NULL)
		detach(req->conn, false);
}

const struct http_transport http_over_plain = {
	.target_add = target_add,
	.target_remove = drop_kept,
	.target_moved = drop_kept,
	.begin = begin,
	.proceed = proceed,
	.end = end,
};
