#include "sources/http_conn_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/hash.h"

static struct http_conn **
bucket_of(struct http_conns *conns, const struct net_addr *addr, uint16_t port)
{
	size_t len = addr->family == AF_INET ? 4 : 16;
	uint64_t hash = hash_bytes((struct str){ (const char *)addr->bytes, len });

	return &conns->buckets[hash_mix(hash, port) % HTTP_CONN_BUCKETS];
}

static void
idle_append(struct http_conn *c)
{
	struct http_conns *conns = c->conns;

	c->next = NULL;
	c->prev = conns->last_idle;
	if (conns->last_idle == NULL)
		conns->first_idle = c;
	else
		conns->last_idle->next = c;
	conns->last_idle = c;
}

static void
idle_remove(struct http_conn *c)
{
	struct http_conns *conns = c->conns;

	if (c->prev == NULL)
		conns->first_idle = c->next;
	else
		c->prev->next = c->next;
	if (c->next == NULL)
		conns->last_idle = c->prev;
	else
		c->next->prev = c->prev;
}

void
http_conn_close(struct http_conn *c)
{
	struct http_conn **link = bucket_of(c->conns, &c->addr, c->port);

	while (*link != c)
		link = &(*link)->chain;
	*link = c->chain;
	if (c->target->conn == c) {
		c->target->conn = NULL;
		idle_remove(c);
	}
	loop_fd_del(c->conns->client->loop, &c->fd);
	http_socket_close(c->fd.fd);
	free(c);
}

bool
http_conns_close_idle(struct http_conns *conns)
{
	if (conns->first_idle == NULL)
		return false;
	http_conn_close(conns->first_idle);
	return true;
}

static void
on_sweep(struct loop_timer *timer)
{
	struct http_conns *conns = CONTAINER_OF(timer, struct http_conns, sweep);
	struct loop *loop = conns->client->loop;
	int64_t keep_ns = (int64_t)conns->client->keep_alive_s * NS_PER_S;

	while (
	    conns->first_idle != NULL && conns->first_idle->idle_ns + keep_ns <= loop_now_ns(loop))
		http_conn_close(conns->first_idle);
	if (conns->first_idle != NULL)
		loop_timer_set(loop, timer, conns->first_idle->idle_ns + keep_ns);
}

/* One target keeps one connection, to where it is now. */
void
http_conn_keep(struct http_conn *c)
{
	struct http_conns *conns = c->conns;
	struct loop *loop = conns->client->loop;

	if (!net_addr_equal(&c->addr, &c->target->addr)) {
		http_conn_close(c);
		return;
	}
	if (c->target->conn != NULL)
		http_conn_close(c->target->conn);
	c->target->conn = c;
	c->reused = true;
	c->idle_ns = loop_now_ns(loop);
	idle_append(c);
	if (!conns->sweep.set)
		loop_timer_set(loop, &conns->sweep,
		    c->idle_ns + (int64_t)conns->client->keep_alive_s * NS_PER_S);
	if (http_sockets_too_many())
		http_conn_close(conns->first_idle);
}

struct http_conn *
http_conn_take(struct http_conns *conns, struct http_target *target, const struct net_addr *addr)
{
	struct http_conn *c = target->conn;

	if (c == NULL) {
		c = *bucket_of(conns, addr, target->port);
		while (c != NULL && (c->request != NULL || c->port != target->port ||
		                        !net_addr_equal(&c->addr, addr)))
			c = c->chain;
		if (c == NULL)
			return NULL;
	}
	idle_remove(c);
	c->target->conn = NULL;
	c->target = target;
	return c;
}

/* Starts to connect; what connect said: 0, EINPROGRESS or another errno. */
static int
start_connect(int fd, const struct net_addr *addr, uint16_t port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} to = { .any = { .sa_family = addr->family } };
	const int on = 1;
	socklen_t len;

	/* A request is sent whole, so there is nothing for Nagle to collect. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (addr->family == AF_INET) {
		to.v4.sin_port = htons(port);
		memcpy(&to.v4.sin_addr, addr->bytes, 4);
		len = sizeof(to.v4);
	} else {
		to.v6.sin6_port = htons(port);
		memcpy(&to.v6.sin6_addr, addr->bytes, 16);
		len = sizeof(to.v6);
	}
	return connect(fd, &to.any, len) == 0 ? 0 : errno;
}

struct http_conn *
http_conn_open(struct http_conns *conns, struct http_target *target, const struct net_addr *addr,
    void (*fn)(struct loop_fd *, unsigned events), struct err *err)
{
	struct http_conn *c = calloc(1, sizeof(*c)), **bucket;
	char where[HTTP_WHERE_BYTES];
	int errnum;

	if (c == NULL) {
		err_nomem(err);
		return NULL;
	}
	http_where_text(addr, target->port, where);
	c->conns = conns;
	c->target = target;
	c->addr = *addr;
	c->port = target->port;
	c->fd.fn = fn;
	c->fd.fd = http_socket_open(
	    target->client, addr->family, SOCK_STREAM | SOCK_NONBLOCK, 0, where, err);
	if (c->fd.fd < 0)
		goto failed;
	errnum = start_connect(c->fd.fd, addr, target->port);
	c->connecting = errnum == EINPROGRESS;
	if (errnum != 0 && !c->connecting) {
		http_err_of_connect(err, errnum, where);
		goto failed;
	}
	if (loop_fd_add(conns->client->loop, &c->fd, c->connecting ? LOOP_WRITE : LOOP_READ, err) !=
	    0)
		goto failed;
	bucket = bucket_of(conns, addr, target->port);
	c->chain = *bucket;
	*bucket = c;
	return c;
failed:
	if (c->fd.fd >= 0)
		http_socket_close(c->fd.fd);
	free(c);
	return NULL;
}

void
http_conns_init(struct http_conns *conns, struct http_client *client)
{
	conns->client = client;
	conns->sweep.fn = on_sweep;
}

void
http_conns_fini(struct http_conns *conns)
{
	assert(conns->first_idle == NULL);
	loop_timer_clear(conns->client->loop, &conns->sweep);
}
