/*
 * What a poll costs the client: kept connections to a server in another process, one request after
 * the other on each, as many under way at once as a loaded poller has.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "sources/http_priv.h"

#define CONNECTIONS 1000
#define AT_ONCE     50
#define ROUNDS      50
#define TRIES       3
#define EVENTS      256
#define LENGTH_MAX  (64 * 1024)
#define FIRST_HOST  0x7F010001u /* 127.1.0.1 and on: an address for each */

struct bench;

struct client_poll {
	struct http_request request;
	struct http_target *target;
	struct bench *bench;
};

struct bench {
	struct loop *loop;
	struct http_client *client;
	struct client_poll polls[CONNECTIONS];
	/* As in a poller: a body goes with a request under way, not with an endpoint. */
	struct buf bodies[AT_ONCE];
	struct buf *idle[AT_ONCE];
	unsigned idle_count;
	unsigned next, left, under_way;
	size_t body_bytes;
};

static void
die(const char *what)
{
	perror(what);
	exit(1);
}

/* The server: whatever comes, it answers the same. */

static size_t
make_answer(char *out, size_t body_bytes)
{
	int head = sprintf(out,
	    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	    "Date: Sat, 01 Aug 2026 10:00:00 GMT\r\nContent-Length: %zu\r\n\r\n",
	    body_bytes);

	memset(out + head, 'x', body_bytes);
	return (size_t)head + body_bytes;
}

static void
answer(int fd, const char *text, size_t len)
{
	char request[4096];
	ssize_t n = recv(fd, request, sizeof(request), 0);

	if (n <= 0) {
		close(fd);
		return;
	}
	/* The sockets of the server block: the client reads all it is sent. */
	if (send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		close(fd);
}

static void
serve(int listener, size_t body_bytes)
{
	static char text[LENGTH_MAX + 1024];
	size_t len = make_answer(text, body_bytes);
	struct epoll_event events[EVENTS], event = { .events = EPOLLIN, .data.fd = listener };
	int epoll_fd = epoll_create1(0);

	epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != listener) {
				answer(events[i].data.fd, text, len);
				continue;
			}
			event.data.fd = accept(listener, NULL, NULL);
			epoll_ctl(epoll_fd, EPOLL_CTL_ADD, event.data.fd, &event);
		}
	}
}

static pid_t
start_server(size_t body_bytes, uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET, .sin_addr.s_addr = INADDR_ANY };
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	if (fd < 0 || bind(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, SOMAXCONN) != 0 ||
	    getsockname(fd, (struct sockaddr *)(void *)&addr, &len) != 0)
		die("server");
	*port = ntohs(addr.sin_port);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve(fd, body_bytes);
	}
	close(fd);
	return pid;
}

/* The client. */

static void
start_next(struct bench *b)
{
	struct client_poll *p = &b->polls[b->next];

	b->next = (b->next + 1) % CONNECTIONS;
	b->left--;
	b->under_way++;
	p->request.body = b->idle[--b->idle_count];
	p->request.hold = true;
	http_get(&p->request, p->target);
}

static void
on_connected(struct http_request *request)
{
	http_proceed(request);
}

static void
on_done(struct http_request *request, const struct err *err)
{
	struct bench *b = CONTAINER_OF(request, struct client_poll, request)->bench;

	if (err != NULL || request->body->len != b->body_bytes) {
		fprintf(stderr, "%s\n", err != NULL ? err->text : "not the whole body");
		exit(1);
	}
	b->idle[b->idle_count++] = request->body;
	b->under_way--;
	if (b->left > 0)
		start_next(b);
}

static void
run(struct bench *b, unsigned requests)
{
	b->left = requests;
	while (b->left > 0 && b->idle_count > 0)
		start_next(b);
	while (b->under_way > 0)
		loop_turn(b->loop, -1);
}

static void
set_up(struct bench *b, struct resolver *resolver, bool by_libcurl, uint16_t port)
{
	struct err err;

	b->loop = loop_new(&err);
	b->client = b->loop == NULL ? NULL : http_client_new(b->loop, resolver, 600, &err);
	if (b->client == NULL)
		die("client");
	if (by_libcurl)
		http_client_all_by_libcurl(b->client);
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		const unsigned host = FIRST_HOST + i;
		char name[32];
		const struct http_target_conf conf = {
			.name = { name, (size_t)sprintf(name, "127.%u.%u.%u", host >> 16 & 255,
			                    host >> 8 & 255, host & 255) },
			.port = port,
			.path = STR("/metricsapi/"),
			.accept = STR("application/json")
		};

		b->polls[i].bench = b;
		b->polls[i].target = http_target_new(b->client, &conf, &err);
		b->polls[i].request.on_connected = on_connected;
		b->polls[i].request.on_done = on_done;
		b->polls[i].request.max_bytes = 1024 * 1024;
		if (b->polls[i].target == NULL)
			die("target");
	}
	for (unsigned i = 0; i < AT_ONCE; i++)
		b->idle[b->idle_count++] = &b->bodies[i];
}

static void
take_down(struct bench *b)
{
	for (unsigned i = 0; i < CONNECTIONS; i++)
		http_target_free(b->polls[i].target);
	for (unsigned i = 0; i < AT_ONCE; i++)
		buf_fini(&b->bodies[i]);
	http_client_free(b->client);
	loop_free(b->loop);
}

static double
us(const struct timeval *t)
{
	return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

/* Prints the best try: what it takes when nothing else runs on the machine. */
static void
measure(struct resolver *resolver, bool by_libcurl, size_t body_bytes)
{
	struct bench *b = calloc(1, sizeof(*b));
	const char *name = by_libcurl ? "libcurl" : "plain";
	double best_user = 0, best_system = 0, best_wall = 0;
	uint16_t port;
	pid_t server = start_server(body_bytes, &port);

	if (b == NULL)
		die("memory");
	b->body_bytes = body_bytes;
	set_up(b, resolver, by_libcurl, port);
	run(b, 2 * CONNECTIONS); /* connects, and learns what to expect */
	for (int i = 0; i < TRIES; i++) {
		struct rusage before, after;
		int64_t started_ns = clock_mono_ns();
		double user, system, wall;

		getrusage(RUSAGE_SELF, &before);
		run(b, ROUNDS * CONNECTIONS);
		getrusage(RUSAGE_SELF, &after);
		user = (us(&after.ru_utime) - us(&before.ru_utime)) / ROUNDS / CONNECTIONS;
		system = (us(&after.ru_stime) - us(&before.ru_stime)) / ROUNDS / CONNECTIONS;
		wall = (double)(clock_mono_ns() - started_ns) / 1e3 / ROUNDS / CONNECTIONS;
		if (i == 0 || user + system < best_user + best_system) {
			best_user = user;
			best_system = system;
			best_wall = wall;
		}
	}
	printf("http_%s_%zu_cpu %.2f us/request\n", name, body_bytes, best_user + best_system);
	printf("http_%s_%zu_user %.2f us/request\n", name, body_bytes, best_user);
	printf("http_%s_%zu_kernel %.2f us/request\n", name, body_bytes, best_system);
	printf("http_%s_%zu_wall %.2f us/request\n", name, body_bytes, best_wall);
	fflush(stdout);
	take_down(b);
	free(b);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}

int
main(void)
{
	const struct resolver_conf conf = { .threads = 1 };
	struct resolver *resolver;
	struct err err;

	if (http_global_init(&err) != 0)
		die("start");
	http_set_connections_max(2 * CONNECTIONS);
	resolver = resolver_new(&conf, &err);
	if (resolver == NULL)
		die("resolver");
	measure(resolver, false, 2000);
	measure(resolver, false, 50000);
	measure(resolver, true, 2000);
	measure(resolver, true, 50000);
	resolver_free(resolver);
	return 0;
}
