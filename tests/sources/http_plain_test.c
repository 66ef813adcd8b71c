/* Plain HTTP against a peer driven by hand, byte by byte where it matters. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "sources/http_priv.h"

#define PATIENCE_NS  (30 * NS_PER_S)
#define KEEP_ALIVE_S 600
#define MAX_BYTES    (1024 * 1024)

/* An answer after which the connection is kept, and its body. */
#define HI      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
#define SORRY   "HTTP/1.1 500 Sorry\r\nContent-Length: 2\r\n\r\nno"
#define HALF_HI "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nh"

struct poll {
	struct http_request request;
	struct buf body;
	unsigned connected, begun, done;
	bool failed;
	struct err err;
	struct fixture *free_all; /* targets and client are freed in on_done */
};

struct fixture {
	struct loop *loop;
	struct resolver *resolver;
	struct http_client *client;
	struct http_target *target;
	int listener;
	uint16_t port;
	int peer; /* the connection accepted last, else -1 */
	int fds_before;
	struct poll poll, other;
};

/* The peer. */

static int
listen_somewhere(uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = INADDR_ANY };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (const struct sockaddr *)(const void *)&addr, len), 0);
	assert_int_equal(listen(fd, SOMAXCONN), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&addr, &len), 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

/* Turns the loop until fd has something to read (or to accept). */
static void
wait_readable(struct fixture *f, int fd)
{
	int64_t started_ns = clock_mono_ns();
	struct pollfd p = { .fd = fd, .events = POLLIN };

	while (poll(&p, 1, 1) == 0) {
		loop_turn(f->loop, 0);
		assert_true(clock_mono_ns() - started_ns < PATIENCE_NS);
	}
}

static void
peer_close(struct fixture *f)
{
	if (f->peer >= 0)
		close(f->peer);
	f->peer = -1;
}

static void
peer_reset(struct fixture *f)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(f->peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	peer_close(f);
}

static void
peer_accept(struct fixture *f)
{
	const int on = 1;

	wait_readable(f, f->listener);
	peer_close(f);
	f->peer = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	assert_true(f->peer >= 0);
	setsockopt(f->peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* pieces go at once */
}

/* Takes one request, which came whole as it is small. */
static void
peer_read(struct fixture *f)
{
	char text[1024];
	ssize_t n;

	wait_readable(f, f->peer);
	n = recv(f->peer, text, sizeof(text), 0);
	assert_true(n > 4 && memcmp(text + n - 4, "\r\n\r\n", 4) == 0);
}

static void
peer_send(struct fixture *f, struct str text)
{
	int64_t started_ns = clock_mono_ns();

	while (text.len > 0) {
		ssize_t n = send(f->peer, text.p, text.len, MSG_NOSIGNAL);

		if (n > 0)
			text = str_sub(text, (size_t)n, text.len);
		else
			assert_int_equal(errno, EAGAIN);
		if (text.len > 0)
			loop_turn(f->loop, 0);
		assert_true(clock_mono_ns() - started_ns < PATIENCE_NS);
	}
}

static void
peer_sees_close(struct fixture *f)
{
	char byte;

	wait_readable(f, f->peer);
	assert_true(recv(f->peer, &byte, 1, 0) <= 0);
}

/* The client. */

static int
lookup(void *ctx, const char *name, struct net_addr *out, struct err *err)
{
	(void)ctx, (void)name, (void)out;
	err_set(err, ERR_NOTFOUND, "no names here");
	return -1;
}

static struct http_target *
target_new(struct fixture *f, const char *address, uint16_t port)
{
	const struct http_target_conf conf = {
		.name = str_of(address),
		.port = port,
		.path = STR("/metricsapi/"),
	};
	struct http_target *target;
	struct err err;

	target = http_target_new(f->client, &conf, &err);
	assert_non_null(target);
	return target;
}

static int
setup(void **state)
{
	const struct resolver_conf conf = { .threads = 1, .lookup = lookup };
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	assert_non_null(f);
	f->fds_before = fault_open_fds();
	f->peer = -1;
	f->listener = listen_somewhere(&f->port);
	f->loop = loop_new(&err);
	assert_non_null(f->loop);
	f->resolver = resolver_new(&conf, &err);
	assert_non_null(f->resolver);
	f->client = http_client_new(f->loop, f->resolver, KEEP_ALIVE_S, &err);
	assert_non_null(f->client);
	f->target = target_new(f, "127.0.0.1", f->port);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	http_cancel(&f->poll.request);
	http_cancel(&f->other.request);
	buf_fini(&f->poll.body);
	buf_fini(&f->other.body);
	http_target_free(f->target);
	http_client_free(f->client);
	peer_close(f);
	close(f->listener);
	resolver_free(f->resolver);
	loop_free(f->loop);
	http_set_connections_max(0);
	assert_int_equal(fault_open_fds(), f->fds_before);
	free(f);
	return 0;
}

static void
note_connected(struct http_request *request)
{
	CONTAINER_OF(request, struct poll, request)->connected++;
}

static void
note_body(struct http_request *request)
{
	struct poll *p = CONTAINER_OF(request, struct poll, request);

	assert_int_equal(p->body.len, 0);
	assert_int_equal(p->begun++, 0);
}

static void
note_done(struct http_request *request, const struct err *err)
{
	struct poll *p = CONTAINER_OF(request, struct poll, request);

	p->done++;
	p->failed = err != NULL;
	if (err != NULL)
		p->err = *err;
	if (p->free_all != NULL) {
		http_target_free(p->free_all->target);
		http_client_free(p->free_all->client);
		p->free_all->target = NULL;
		p->free_all->client = NULL;
	}
}

static void
start_target(struct poll *p, struct http_target *target, bool hold)
{
	p->request.on_connected = note_connected;
	p->request.on_body = note_body;
	p->request.on_done = note_done;
	p->request.body = &p->body;
	p->request.max_bytes = MAX_BYTES;
	p->request.hold = hold;
	p->connected = p->begun = p->done = 0;
	p->failed = false;
	http_get(&p->request, target);
}

static void
start(struct fixture *f, bool hold)
{
	start_target(&f->poll, f->target, hold);
}

static void
wait_done(struct fixture *f, struct poll *p)
{
	int64_t started_ns = clock_mono_ns();

	while (p->done == 0) {
		loop_turn(f->loop, NS_PER_MS);
		assert_true(clock_mono_ns() - started_ns < PATIENCE_NS);
	}
}

static void
turn_often(struct fixture *f)
{
	for (unsigned n = 0; n < 20; n++)
		loop_turn(f->loop, 0);
}

static void
assert_body(const struct poll *p, struct str body)
{
	assert_int_equal(p->done, 1);
	if (p->failed)
		fail_msg("%s", p->err.text);
	assert_int_equal(p->begun, 1);
	assert_true(str_eq(buf_view(&p->body), body));
	assert_int_equal(p->body.p[body.len], '\0');
}

static void
assert_failed(const struct poll *p, const char *text)
{
	assert_int_equal(p->done, 1);
	assert_true(p->failed);
	assert_string_equal(p->err.text, text);
}

/* One request that is answered so; over a new connection, or the one there is. */
static void
exchange(struct fixture *f, bool new, struct str answer)
{
	start(f, false);
	if (new)
		peer_accept(f);
	peer_read(f);
	peer_send(f, answer);
	wait_done(f, &f->poll);
}

static void
request_on_a_kept_connection_needs_no_memory(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI));
	fault_malloc(1);
	exchange(f, false, STR(HI));
	assert_false(fault_happened());
	fault_malloc(0);
	assert_body(&f->poll, STR("hi"));
}

static const struct {
	const char *address, *path, *accept;
	uint16_t port;
	const char *line, *host;
} heads[] = {
	{ "127.0.0.1", "/", "", 6910, "GET / HTTP/1.1", "Host: 127.0.0.1:6910" },
	{ "web1", "/metricsapi/", "", 80, "GET /metricsapi/ HTTP/1.1", "Host: web1" },
	{ "web1", "/x?y=http://z:80/", "a/b", 443, "GET /x?y=http://z:80/ HTTP/1.1",
	    "Host: web1:443" },
	{ "::1", "/", "", 6910, "GET / HTTP/1.1", "Host: [::1]:6910" },
	{ "[::1]", "/", "", 80, "GET / HTTP/1.1", "Host: [::1]" },
	{ "web1", "/x?y#z", "", 8080, "GET /x?y HTTP/1.1", "Host: web1:8080" },
};

static void
request_text_follows_the_table(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
		const struct http_target_conf conf = {
			.name = str_of(heads[i].address),
			.port = heads[i].port,
			.path = str_of(heads[i].path),
			.accept = str_of(heads[i].accept),
		};
		char expected[256];
		struct http_target *target;
		struct err err;

		snprintf(expected, sizeof(expected),
		    "%s\r\n%s\r\nUser-Agent: " HTTP_USER_AGENT
		    "\r\nAccept-Encoding: gzip\r\n%s%s%s\r\n",
		    heads[i].line, heads[i].host,
		    heads[i].accept[0] == '\0' ? "" : "Accept: ", heads[i].accept,
		    heads[i].accept[0] == '\0' ? "" : "\r\n");
		target = http_target_new(f->client, &conf, &err);
		assert_non_null(target);
		assert_true(str_eq(buf_view(&target->head), str_of(expected)));
		http_target_free(target);
	}
}

static void
ipv6_is_spoken_too(void **state)
{
	struct sockaddr_in6 addr = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct fixture *f = *state;
	socklen_t len = sizeof(addr);

	close(f->listener);
	f->listener = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->listener < 0 ||
	    bind(f->listener, (const struct sockaddr *)(const void *)&addr, len) != 0) {
		print_message("skipped: this machine has no IPv6\n");
		skip();
	}
	assert_int_equal(listen(f->listener, SOMAXCONN), 0);
	getsockname(f->listener, (struct sockaddr *)(void *)&addr, &len);
	http_target_free(f->target);
	f->target = target_new(f, "::1", ntohs(addr.sin6_port));
	exchange(f, true, STR(HI));
	exchange(f, false, STR(HI));
	assert_body(&f->poll, STR("hi"));
}

/* Answers of any shape. */

struct shape {
	size_t filler_bytes; /* of a header nobody knows */
	size_t body_bytes;
	bool gzip;
	size_t chunk_bytes; /* 0: Content-Length */
	unsigned pieces;
};

/* xorshift: the same numbers each time. */
static size_t
next_random(uint64_t *x, size_t below)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (size_t)(*x % below);
}

static void
pick_shape(struct shape *s, uint64_t *x)
{
	static const size_t sizes[] = { 2, 300, 5000, 70000, 250000 };
	static const size_t chunks[] = { 50, 4096, 100000, 1000000 };

	/* Most are like the one before, or nothing would be guessed right. */
	if (next_random(x, 3) == 0)
		s->filler_bytes = next_random(x, 400);
	if (next_random(x, 3) == 0)
		s->body_bytes = next_random(x, sizes[next_random(x, ARRAY_LEN(sizes))]);
	if (next_random(x, 6) == 0)
		s->gzip = !s->gzip;
	if (next_random(x, 4) == 0)
		s->chunk_bytes = chunks[next_random(x, ARRAY_LEN(chunks))];
	else if (next_random(x, 4) == 0)
		s->chunk_bytes = 0;
	s->pieces = 1 + (unsigned)next_random(x, 4);
}

static void
pack(const struct buf *body, struct buf *packed)
{
	union {
		const void *given;
		Bytef *wanted; /* zlib takes it without const, and only reads it */
	} in = { .given = body->p };
	z_stream z = { .avail_in = (uInt)body->len };

	z.next_in = in.wanted;
	assert_int_equal(deflateInit2(&z, 1, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_true(buf_reserve(packed, deflateBound(&z, (uLong)body->len)));
	z.next_out = (Bytef *)packed->p;
	z.avail_out = (uInt)packed->cap;
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	packed->len = packed->cap - z.avail_out;
	deflateEnd(&z);
}

static void
write_answer(const struct shape *s, const struct buf *content, struct buf *answer)
{
	buf_puts(answer, "HTTP/1.1 200 OK\r\nX-Filler: ");
	for (size_t i = 0; i < s->filler_bytes; i++)
		buf_putc(answer, 'f');
	buf_puts(answer, s->gzip ? "\r\nContent-Encoding: gzip\r\n" : "\r\n");
	if (s->chunk_bytes == 0) {
		buf_printf(answer, "Content-Length: %zu\r\n\r\n", content->len);
		buf_str(answer, buf_view(content));
		return;
	}
	buf_puts(answer, "Transfer-Encoding: chunked\r\n\r\n");
	for (size_t at = 0; at < content->len; at += s->chunk_bytes) {
		struct str chunk = str_sub(buf_view(content), at, s->chunk_bytes);

		buf_printf(answer, "%zx\r\n", chunk.len);
		buf_str(answer, chunk);
		buf_puts(answer, "\r\n");
	}
	buf_puts(answer, "0\r\n\r\n");
}

static void
send_in_pieces(struct fixture *f, const struct buf *answer, unsigned pieces, uint64_t *x)
{
	struct str rest = buf_view(answer);

	while (pieces-- > 1 && rest.len > 1) {
		/* Near the beginning it is most likely to hurt. */
		size_t n = 1 + next_random(x, rest.len < 600 ? rest.len : 600);

		peer_send(f, str_sub(rest, 0, n));
		rest = str_sub(rest, n, rest.len);
		loop_turn(f->loop, 0);
		loop_turn(f->loop, 0);
	}
	peer_send(f, rest);
}

static void
answers_of_any_shape_come_whole_over_one_connection(void **state)
{
	struct shape s = { .body_bytes = 100 };
	struct fixture *f = *state;
	struct buf body, packed, answer;
	uint64_t x = 88172645463325252u;

	buf_init(&body, 0);
	buf_init(&packed, 0);
	buf_init(&answer, 0);
	for (unsigned round = 0; round < 1500; round++) {
		pick_shape(&s, &x);
		buf_clear(&body);
		buf_clear(&packed);
		buf_clear(&answer);
		for (size_t i = 0; i < s.body_bytes; i++)
			buf_putc(&body, (char)('a' + (i * 7 + i / 100 + round) % 26));
		if (s.gzip)
			pack(&body, &packed);
		write_answer(&s, s.gzip ? &packed : &body, &answer);
		assert_false(answer.failed);
		if (next_random(&x, 5) == 0) /* as with a batch that is new */
			buf_fini(&f->poll.body);
		start(f, false);
		if (round == 0)
			peer_accept(f);
		peer_read(f);
		send_in_pieces(f, &answer, s.pieces, &x);
		wait_done(f, &f->poll);
		assert_body(&f->poll, buf_view(&body));
	}
	buf_fini(&body);
	buf_fini(&packed);
	buf_fini(&answer);
}

static void
large_body_goes_to_memory_of_its_size(void **state)
{
	const struct shape s = { .body_bytes = 300000 };
	struct fixture *f = *state;
	struct buf body, answer;

	buf_init(&body, 0);
	buf_init(&answer, 0);
	for (size_t i = 0; i < s.body_bytes; i++)
		buf_putc(&body, 'x');
	write_answer(&s, &body, &answer);
	for (unsigned n = 0; n < 3; n++) {
		exchange(f, n == 0, buf_view(&answer));
		assert_body(&f->poll, buf_view(&body));
		if (n > 0)
			assert_int_equal(f->poll.body.cap, s.body_bytes);
		buf_fini(&f->poll.body);
	}
	buf_fini(&body);
	buf_fini(&answer);
}

static void
gzip_that_ends_too_soon_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct buf body, packed, answer;

	buf_init(&body, 0);
	buf_init(&packed, 0);
	buf_init(&answer, 0);
	buf_puts(&body, "hello");
	pack(&body, &packed);
	packed.len--;
	write_answer(&(struct shape){ .gzip = true }, &packed, &answer);
	exchange(f, true, buf_view(&answer));
	assert_failed(&f->poll, "answer broken after 5 bytes: gzip ends too soon");
	buf_fini(&body);
	buf_fini(&packed);
	buf_fini(&answer);
}

static void
gzip_may_have_members_but_nothing_else(void **state)
{
	struct fixture *f = *state;
	struct buf body, packed, answer;
	char text[128];

	buf_init(&body, 0);
	buf_init(&packed, 0);
	buf_init(&answer, 0);
	buf_puts(&body, "hello");
	pack(&body, &packed);
	assert_true(buf_reserve(&packed, packed.len));
	buf_str(&packed, buf_view(&packed));
	write_answer(&(struct shape){ .gzip = true }, &packed, &answer);
	exchange(f, true, buf_view(&answer));
	assert_body(&f->poll, STR("hellohello"));

	buf_puts(&packed, "more");
	buf_clear(&answer);
	write_answer(&(struct shape){ .gzip = true }, &packed, &answer);
	exchange(f, false, buf_view(&answer));
	snprintf(text, sizeof(text),
	    "answer from 127.0.0.1:%u: Error while processing content unencoding: incorrect header "
	    "check",
	    (unsigned)f->port);
	assert_failed(&f->poll, text);
	buf_fini(&body);
	buf_fini(&packed);
	buf_fini(&answer);
}

static void
empty_body_ends_in_nul_or_in_an_error(void **state)
{
	struct fixture *f = *state;
	const struct str empty = STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");

	exchange(f, true, empty);
	assert_body(&f->poll, STR_EMPTY);
	buf_fini(&f->poll.body);
	fault_malloc(1);
	exchange(f, false, empty);
	assert_true(fault_happened());
	fault_malloc(0);
	assert_failed(&f->poll, "out of memory");
}

static void
address_that_can_not_be_is_an_error(void **state)
{
	struct fixture *f = *state;

	http_target_free(f->target);
	f->target = target_new(f, "255.255.255.255", f->port);
	start(f, false);
	assert_int_equal(f->poll.done, 0);
	wait_done(f, &f->poll);
	assert_true(f->poll.failed && f->poll.connected == 0);
	assert_int_equal(f->poll.err.code, ERR_IO);
	assert_ptr_equal(strstr(f->poll.err.text, "connect to 255.255.255.255:"), f->poll.err.text);
}

static void
coding_not_asked_for_is_an_error(void **state)
{
	struct fixture *f = *state;
	char text[128];

	exchange(
	    f, true, STR("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nhi"));
	snprintf(text, sizeof(text), "answer from 127.0.0.1:%u: Unrecognized content encoding type",
	    (unsigned)f->port);
	assert_failed(&f->poll, text);
}

static void
redirect_to_a_path_is_told_with_its_host(void **state)
{
	struct fixture *f = *state;
	char text[128];

	exchange(
	    f, true, STR("HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n"));
	snprintf(text, sizeof(text),
	    "answered 302 to http://127.0.0.1:%u/login; redirects are not followed",
	    (unsigned)f->port);
	assert_failed(&f->poll, text);
}

/* Hold. */

static void
held_answer_stays_in_the_socket(void **state)
{
	struct fixture *f = *state;

	/* Before, while and after the connection leaves the epoll set. */
	for (unsigned turns = 0; turns < 10; turns++) {
		start(f, true);
		if (turns == 0)
			peer_accept(f);
		peer_read(f);
		peer_send(f, STR(HI));
		for (unsigned n = 0; n < turns; n++)
			loop_turn(f->loop, NS_PER_MS);
		assert_int_equal(f->poll.done, 0);
		assert_int_equal(f->poll.body.len, 0);
		http_proceed(&f->poll.request);
		assert_int_equal(f->poll.done, 0);
		wait_done(f, &f->poll);
		assert_int_equal(f->poll.connected, 1);
		assert_body(&f->poll, STR("hi"));
	}
}

static void
proceed_may_come_before_the_answer(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	http_proceed(&f->poll.request);
	peer_accept(f);
	peer_read(f);
	peer_send(f, STR(HI));
	wait_done(f, &f->poll);
	assert_body(&f->poll, STR("hi"));
}

static void
failures_are_told_though_held(void **state)
{
	struct fixture *f = *state;

	start(f, true);
	peer_accept(f);
	peer_read(f);
	peer_send(f, STR(SORRY));
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "answered 500 Sorry");

	start(f, true);
	peer_read(f);
	peer_send(f, STR("HTTP/1.1 404 Gone\r\nContent-Length: 10000\r\n\r\nno"));
	turn_often(f);
	assert_int_equal(f->poll.done, 0);
	peer_close(f);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "answered 404 Gone");

	start(f, true);
	peer_accept(f);
	peer_read(f);
	peer_close(f);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "connection closed without an answer");

	start(f, true);
	peer_accept(f);
	peer_read(f);
	peer_reset(f);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "connection reset after 0 bytes");
}

static void
held_request_can_be_cancelled(void **state)
{
	struct fixture *f = *state;

	for (unsigned turns = 0; turns < 8; turns++) {
		start(f, true);
		peer_accept(f);
		peer_read(f);
		peer_send(f, STR(HI));
		for (unsigned n = 0; n < turns; n++)
			loop_turn(f->loop, NS_PER_MS);
		http_cancel(&f->poll.request);
		peer_sees_close(f);
		assert_int_equal(f->poll.done, 0);
	}
}

/* Kept connections. */

static void
kept_connection_that_is_reset_at_the_next_request_costs_none(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI));
	start(f, true);
	peer_read(f);
	peer_reset(f);
	peer_accept(f);
	peer_read(f);
	assert_int_equal(f->poll.done, 0);
	http_proceed(&f->poll.request);
	peer_send(f, STR(HI));
	wait_done(f, &f->poll);
	assert_int_equal(f->poll.connected, 1);
	assert_body(&f->poll, STR("hi"));
}

/* The loop has had no turn since, so that it is the request's sending that fails. */
static void
kept_connection_that_was_reset_costs_none(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI));
	peer_reset(f);
	start(f, false);
	assert_int_equal(f->poll.done, 0);
	peer_accept(f);
	peer_read(f);
	peer_send(f, STR(HI));
	wait_done(f, &f->poll);
	assert_int_equal(f->poll.connected, 1);
	assert_body(&f->poll, STR("hi"));

	/* No memory for another connection. */
	peer_reset(f);
	fault_malloc(1);
	start(f, false);
	assert_true(fault_happened());
	fault_malloc(0);
	assert_int_equal(f->poll.done, 0);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "out of memory");
}

static void
request_is_asked_again_only_once(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI));
	start(f, false);
	peer_read(f);
	peer_close(f);
	peer_accept(f);
	peer_read(f);
	peer_close(f);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "connection closed without an answer");
}

static void
request_half_answered_is_not_asked_again(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI));
	start(f, false);
	peer_read(f);
	peer_send(f, STR(HALF_HI));
	turn_often(f);
	peer_close(f);
	wait_done(f, &f->poll);
	assert_failed(&f->poll, "answer cut off after 1 of 2 bytes");
}

/* Whether the connection was kept after an answer shows at the next request. */
static void
what_comes_unasked_ends_the_connection(void **state)
{
	struct fixture *f = *state;

	exchange(f, true, STR(HI HI));
	assert_body(&f->poll, STR("hi"));
	peer_sees_close(f);

	exchange(f, true, STR(HI));
	peer_send(f, STR("more"));
	peer_sees_close(f);

	exchange(f, true, STR(HI));
	assert_body(&f->poll, STR("hi"));
}

static void
idle_connections_are_closed_after_a_while(void **state)
{
	struct fixture *f = *state;
	struct http_target *other = target_new(f, "127.0.0.2", f->port);
	int first;
	char byte;

	loop_set_clock(f->loop, 1000 * NS_PER_S, 0);
	exchange(f, true, STR(HI));
	first = f->peer;
	f->peer = -1;
	loop_set_clock(f->loop, 1100 * NS_PER_S, 0);
	start_target(&f->other, other, false);
	peer_accept(f);
	peer_read(f);
	peer_send(f, STR(HI));
	wait_done(f, &f->other);

	loop_set_clock(f->loop, (1000 + KEEP_ALIVE_S) * NS_PER_S - 1, 0);
	turn_often(f);
	assert_true(recv(first, &byte, 1, MSG_DONTWAIT) < 0);
	loop_set_clock(f->loop, (1000 + KEEP_ALIVE_S) * NS_PER_S, 0);
	turn_often(f);
	assert_int_equal(recv(first, &byte, 1, 0), 0);
	close(first);
	assert_true(recv(f->peer, &byte, 1, MSG_DONTWAIT) < 0);
	loop_set_clock(f->loop, (1100 + KEEP_ALIVE_S) * NS_PER_S, 0);
	turn_often(f);
	assert_int_equal(recv(f->peer, &byte, 1, 0), 0);
	http_target_free(other);
}

static void
target_may_have_two_requests_at_once_and_keeps_one_connection(void **state)
{
	struct fixture *f = *state;
	int peers[2];

	start(f, false);
	start_target(&f->other, f->target, false);
	for (size_t i = 0; i < ARRAY_LEN(peers); i++) {
		peer_accept(f);
		peer_read(f);
		peers[i] = f->peer;
		f->peer = -1;
	}
	for (size_t i = 0; i < ARRAY_LEN(peers); i++)
		assert_true(send(peers[i], HI, sizeof(HI) - 1, 0) > 0);
	wait_done(f, &f->poll);
	wait_done(f, &f->other);
	assert_body(&f->poll, STR("hi"));
	assert_body(&f->other, STR("hi"));
	for (size_t i = 0; i < ARRAY_LEN(peers); i++)
		close(peers[i]);
	assert_non_null(f->target->conn);
	turn_often(f);
	assert_null(f->target->conn);
}

static void
connection_to_where_the_target_was_is_not_kept(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	peer_accept(f);
	peer_read(f);
	f->target->addr.bytes[3] = 2; /* another request has found it there */
	peer_send(f, STR(HI));
	wait_done(f, &f->poll);
	assert_body(&f->poll, STR("hi"));
	assert_null(f->target->conn);
	peer_sees_close(f);
}

/* As long as no socket takes in one go. */
static void
long_request_goes_out_piece_by_piece(void **state)
{
	enum { PATH_BYTES = 8 * 1024 * 1024 };
	struct fixture *f = *state;
	struct http_target_conf conf = { .name = STR("127.0.0.1"), .port = f->port };
	char *path = malloc(PATH_BYTES), *sink = malloc(PATH_BYTES);
	size_t got = 0, whole;
	struct err err;

	assert_true(path != NULL && sink != NULL);
	memset(path, '/', PATH_BYTES);
	conf.path = (struct str){ path, PATH_BYTES };
	http_target_free(f->target);
	f->target = http_target_new(f->client, &conf, &err);
	assert_non_null(f->target);
	whole = f->target->head.len;
	for (unsigned n = 0; n < 2; n++) {
		start(f, false);
		if (n == 0)
			peer_accept(f);
		for (got = 0; got < whole;) {
			ssize_t len;

			wait_readable(f, f->peer);
			len = recv(f->peer, sink, PATH_BYTES, 0);
			assert_true(len > 0);
			got += (size_t)len;
		}
		assert_int_equal(got, whole);
		peer_send(f, STR(HI));
		wait_done(f, &f->poll);
		assert_body(&f->poll, STR("hi"));
		assert_non_null(f->target->conn);
	}
	free(path);
	free(sink);
}

static void
owner_may_free_all_when_told_of_the_end(void **state)
{
	struct fixture *f = *state;
	struct buf body, packed, answer;

	/* Compressed, contrary to what is expected: the client has the most to clear away. */
	buf_init(&body, 0);
	buf_init(&packed, 0);
	buf_init(&answer, 0);
	for (unsigned i = 0; i < 3000; i++)
		buf_putc(&body, (char)('a' + i % 26));
	write_answer(&(struct shape){ .body_bytes = 1 }, &body, &answer);
	exchange(f, true, buf_view(&answer));
	assert_body(&f->poll, buf_view(&body));
	buf_clear(&answer);
	pack(&body, &packed);
	write_answer(&(struct shape){ .gzip = true }, &packed, &answer);
	f->poll.free_all = f;
	exchange(f, false, buf_view(&answer));
	assert_body(&f->poll, buf_view(&body));
	assert_null(f->client);
	peer_sees_close(f);
	buf_fini(&body);
	buf_fini(&packed);
	buf_fini(&answer);
}

static void
gzip_without_memory_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct buf body, packed, answer;
	unsigned failed = 0;

	buf_init(&body, 0);
	buf_init(&packed, 0);
	buf_init(&answer, 0);
	for (unsigned i = 0; i < 3000; i++)
		buf_putc(&body, (char)('a' + i % 26));
	pack(&body, &packed);
	write_answer(&(struct shape){ .gzip = true, .chunk_bytes = 10 }, &packed, &answer);
	for (unsigned nth = 1;; nth++) {
		buf_fini(&f->poll.body);
		start(f, false);
		peer_accept(f);
		peer_read(f);
		fault_malloc(nth);
		send(f->peer, answer.p, answer.len / 2, 0);
		turn_often(f);
		send(f->peer, answer.p + answer.len / 2, answer.len - answer.len / 2, MSG_NOSIGNAL);
		wait_done(f, &f->poll);
		if (!fault_happened())
			break;
		fault_malloc(0);
		assert_failed(&f->poll, "out of memory");
		failed++;
	}
	assert_body(&f->poll, buf_view(&body));
	assert_true(failed >= 2);
	buf_fini(&body);
	buf_fini(&packed);
	buf_fini(&answer);
}

/* Many connections: the server is a process of its own, as descriptors are counted here. */

static void
serve(int listener)
{
	struct epoll_event events[64], event = { .events = EPOLLIN, .data.fd = listener };
	int epoll_fd = epoll_create1(0);
	char request[1024];

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				event.data.fd = accept(listener, NULL, NULL);
				epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
			} else if (recv(fd, request, sizeof(request), 0) <= 0) {
				close(fd);
			} else {
				send(fd, HI, sizeof(HI) - 1, MSG_NOSIGNAL);
			}
		}
	}
}

static pid_t
start_server(const struct fixture *f)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(f->listener);
	}
	return pid;
}

struct many {
	size_t count;
	struct poll *polls;
	struct http_target **targets;
};

static void
many_init(struct fixture *f, struct many *m, size_t count)
{
	m->count = count;
	m->polls = calloc(count, sizeof(*m->polls));
	m->targets = calloc(count, sizeof(*m->targets));
	assert_true(m->polls != NULL && m->targets != NULL);
	for (size_t i = 0; i < count; i++) {
		char address[32];

		snprintf(address, sizeof(address), "127.0.%zu.%zu", 1 + i / 200, 1 + i % 200);
		m->targets[i] = target_new(f, address, f->port);
	}
}

static void
many_fini(struct many *m)
{
	for (size_t i = 0; i < m->count; i++) {
		http_target_free(m->targets[i]);
		buf_fini(&m->polls[i].body);
	}
	free(m->polls);
	free(m->targets);
}

/* Polls all of them once, at most at_once at a time. */
static void
poll_all(struct fixture *f, struct many *m, size_t at_once)
{
	for (size_t i = 0; i < m->count; i += at_once) {
		size_t end = i + at_once < m->count ? i + at_once : m->count;

		for (size_t k = i; k < end; k++)
			start_target(&m->polls[k], m->targets[k], false);
		for (size_t k = i; k < end; k++) {
			wait_done(f, &m->polls[k]);
			assert_body(&m->polls[k], STR("hi"));
		}
	}
}

static void
thousands_of_connections_are_kept(void **state)
{
	enum { COUNT = 2000 };
	struct fixture *f = *state;
	struct rlimit limit;
	struct many m;
	pid_t server;
	int fds;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < COUNT + 100) {
		print_message("skipped: too few files may be open here (ulimit -n)\n");
		skip();
	}
	http_set_connections_max(COUNT);
	server = start_server(f);
	many_init(f, &m, COUNT);
	fds = fault_open_fds();
	poll_all(f, &m, COUNT);
	assert_int_equal(fault_open_fds(), fds + COUNT);
	for (size_t i = 0; i < COUNT; i++)
		assert_non_null(m.targets[i]->conn);
	poll_all(f, &m, 100);
	assert_int_equal(fault_open_fds(), fds + COUNT);
	many_fini(&m);
	assert_int_equal(fault_open_fds(), fds);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static void
no_more_connections_are_kept_than_allowed(void **state)
{
	enum { COUNT = 60, MAX = 20 };
	struct fixture *f = *state;
	struct many m;
	pid_t server = start_server(f);
	int fds;

	http_set_connections_max(MAX);
	many_init(f, &m, COUNT);
	fds = fault_open_fds();
	for (unsigned round = 0; round < 3; round++) {
		poll_all(f, &m, 1);
		assert_int_equal(fault_open_fds(), fds + MAX);
	}
	/* Those asked last are those kept. */
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(m.targets[i]->conn != NULL, i >= COUNT - MAX);
	/* Requests at once are not bounded here. */
	poll_all(f, &m, COUNT);
	assert_int_equal(fault_open_fds(), fds + MAX);
	many_fini(&m);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

static void
more_endpoints_than_descriptors_are_all_polled(void **state)
{
	enum { COUNT = 60, FREE = 10 };
	struct fixture *f = *state;
	struct rlimit limit, low;
	struct many m;
	pid_t server = start_server(f);
	int fd;

	http_set_connections_max(COUNT);
	many_init(f, &m, COUNT);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = dup(0);
	assert_true(fd >= 0);
	close(fd);
	low = limit;
	low.rlim_cur = (rlim_t)fd + FREE;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (unsigned round = 0; round < 3; round++)
		poll_all(f, &m, FREE / 2);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	many_fini(&m);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(request_on_a_kept_connection_needs_no_memory),
		TEST(request_text_follows_the_table),
		TEST(ipv6_is_spoken_too),
		TEST(answers_of_any_shape_come_whole_over_one_connection),
		TEST(large_body_goes_to_memory_of_its_size),
		TEST(gzip_that_ends_too_soon_is_an_error),
		TEST(gzip_may_have_members_but_nothing_else),
		TEST(empty_body_ends_in_nul_or_in_an_error),
		TEST(address_that_can_not_be_is_an_error),
		TEST(coding_not_asked_for_is_an_error),
		TEST(redirect_to_a_path_is_told_with_its_host),
		TEST(held_answer_stays_in_the_socket),
		TEST(proceed_may_come_before_the_answer),
		TEST(failures_are_told_though_held),
		TEST(held_request_can_be_cancelled),
		TEST(kept_connection_that_is_reset_at_the_next_request_costs_none),
		TEST(kept_connection_that_was_reset_costs_none),
		TEST(request_is_asked_again_only_once),
		TEST(request_half_answered_is_not_asked_again),
		TEST(what_comes_unasked_ends_the_connection),
		TEST(idle_connections_are_closed_after_a_while),
		TEST(target_may_have_two_requests_at_once_and_keeps_one_connection),
		TEST(connection_to_where_the_target_was_is_not_kept),
		TEST(long_request_goes_out_piece_by_piece),
		TEST(owner_may_free_all_when_told_of_the_end),
		TEST(gzip_without_memory_is_an_error),
		TEST(thousands_of_connections_are_kept),
		TEST(no_more_connections_are_kept_than_allowed),
		TEST(more_endpoints_than_descriptors_are_all_polled),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
