/*
 * How fast the main port answers: a store of 1,000 endpoints with 200 metrics each, filled as
 * pollers would, served over loopback on one processor and read by a process on another.
 *
 * usage: api_bench [SERVER_PROCESSOR READER_PROCESSOR [QUESTION]]
 */
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/clock.h"

#define ENDPOINTS 1000
#define METRICS   200
#define BUCKETS   20
/* Those of the endpoints that were polled for an hour, every 30 s; the others were once. */
#define WITH_HISTORY 40
#define POLLS        120
#define POLL_NS      (30 * NS_PER_S)

#define STORE_BYTES (UINT64_C(2) << 30)
#define READ_BYTES  (1024 * 1024)

static void
fail(const char *what)
{
	perror(what);
	exit(1);
}

static void
pin(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)processor, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		fail("pin to a processor");
}

/* What one endpoint's metrics stand at: each moves in 30% of the polls, by chance. */
struct endpoint {
	uint64_t random; /* xorshift64* */
	uint64_t steps[METRICS];
};

static uint64_t
next_random(struct endpoint *ep)
{
	ep->random ^= ep->random >> 12;
	ep->random ^= ep->random << 25;
	ep->random ^= ep->random >> 27;
	return ep->random * UINT64_C(2685821657736338717);
}

static struct value
dist_value(struct batch *batch, uint64_t step)
{
	uint64_t *counts = arena_array(&batch->arena, BUCKETS, sizeof(*counts));
	struct dist *dist = arena_alloc(&batch->arena, sizeof(*dist));

	if (counts == NULL || dist == NULL)
		fail("a distribution");
	*dist = (struct dist){ .counts = counts, .len = BUCKETS, .sum = (double)step * 2.25 };
	for (size_t i = 0; i < BUCKETS; i++) {
		counts[i] = step * i / 7;
		dist->count += counts[i];
	}
	return (struct value){ .dist = dist };
}

/*
 * Of 20 metrics, 12 are counters, 4 floats of two decimals, 2 constants, 1 a time or a duration, 1
 * a distribution.
 */
static struct value
describe(struct batch *batch, unsigned i, uint64_t step, struct metric_desc *desc)
{
	static const double limits[BUCKETS - 1] = { 1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3,
		5e3, 1e4, 2e4, 5e4, 1e5, 2e5, 5e5, 1e6 };
	unsigned row = i % 20;

	if (row < 12) {
		desc->kind = KIND_UINT64;
		return (struct value){ .u = (i + 1) * 12345678 + step * 4711 };
	}
	if (row < 16) {
		desc->kind = KIND_FLOAT64;
		return (struct value){ .f = (double)(step * 7919 % 100000) / 100 };
	}
	if (row == 16) {
		desc->kind = KIND_STRING;
		return (struct value){ .s = STR("release-2026.11") };
	}
	if (row == 17) {
		desc->kind = KIND_INT32;
		return (struct value){ .i = -(int64_t)i };
	}
	if (row == 18) {
		desc->kind = i % 40 == 18 ? KIND_TIME : KIND_DURATION;
		return (struct value){ .i = NS_PER_S * 1500000 + (int64_t)step * NS_PER_MS };
	}
	desc->kind = KIND_DIST;
	desc->limits = limits;
	desc->limit_count = BUCKETS - 1;
	return dist_value(batch, step);
}

static void
add_metric(struct batch *batch, unsigned i, uint64_t step, int64_t ts_ns)
{
	struct metric_desc desc = { .unit = STR("None") };
	struct value value = describe(batch, i, step, &desc);
	char path[64], text[64];
	struct err err;

	snprintf(path, sizeof(path), "/service/part-%02u/metric-%04u", i / 20, i);
	snprintf(text, sizeof(text), "What number %u tells of this part", i);
	desc.path = arena_copy(&batch->arena, str_of(path));
	desc.description = arena_copy(&batch->arena, str_of(text));
	if (batch_add(batch, &desc, &value, 0, ts_ns, &err) != 0 || batch->bad_count > 0)
		fail("add to a batch");
}

static void
poll_once(struct series_set *set, struct endpoint *ep, struct batch *batch, int64_t ts_ns)
{
	struct append_stats stats;
	struct err err;

	batch_reset(batch);
	for (unsigned i = 0; i < METRICS; i++) {
		ep->steps[i] += next_random(ep) % 10 < 3;
		add_metric(batch, i, ep->steps[i], ts_ns);
	}
	batch_end(batch, ts_ns);
	if (store_append(set, batch, &stats, &err) != 0)
		fail("append");
}

static void
fill(struct store *store)
{
	int64_t now_ns = clock_real_ns();
	struct batch batch;
	struct err err;

	batch_init(&batch, 0);
	for (unsigned i = 0; i < ENDPOINTS; i++) {
		int polls = i < WITH_HISTORY ? POLLS : 1;
		struct endpoint ep = { .random = i + 1 };
		struct series_set *set;
		char host[32];

		snprintf(host, sizeof(host), "host%04u.example.com", i);
		set = store_set(store, str_of(host), STR("service"), &err);
		if (set == NULL)
			fail("fill the store");
		for (int poll = polls - 1; poll >= 0; poll--)
			poll_once(set, &ep, &batch, now_ns - poll * POLL_NS);
		series_set_unref(set);
	}
	batch_fini(&batch);
}

/* The reader's side. */
struct reader {
	int fd;
	char *bytes;
	size_t len, at; /* of bytes: received, and looked at so far */
	clockid_t server_cpu;
};

static void
receive(struct reader *r)
{
	ssize_t n = recv(r->fd, r->bytes, READ_BYTES, 0);

	if (n <= 0)
		fail("the server closed the connection");
	r->len = (size_t)n;
	r->at = 0;
}

static size_t
skip(struct reader *r, size_t n)
{
	for (size_t left = n; left > 0;) {
		size_t here;

		if (r->at == r->len)
			receive(r);
		here = r->len - r->at < left ? r->len - r->at : left;
		r->at += here;
		left -= here;
	}
	return n;
}

/* A line to text[512], without its end. */
static void
read_line(struct reader *r, char *text)
{
	size_t len = 0;

	for (char c = '\0'; c != '\n';) {
		if (r->at == r->len)
			receive(r);
		c = r->bytes[r->at++];
		if (c != '\r' && c != '\n' && len < 511)
			text[len++] = c;
	}
	text[len] = '\0';
}

/* Asks and reads the answer. The size of its body as sent, chunk frames left out. */
static size_t
ask(struct reader *r, const char *request)
{
	size_t body = 0, chunk = 1, length = 0;
	bool chunked = false;
	char line[512];

	if (send(r->fd, request, strlen(request), 0) != (ssize_t)strlen(request))
		fail("send");
	read_line(r, line);
	if (strncmp(line, "HTTP/1.1 200", 12) != 0) {
		fprintf(stderr, "%s\n", line);
		exit(1);
	}
	while (line[0] != '\0') {
		read_line(r, line);
		if (strcasecmp(line, "Transfer-Encoding: chunked") == 0)
			chunked = true;
		if (strncasecmp(line, "Content-Length: ", 16) == 0)
			length = strtoul(line + 16, NULL, 10);
	}
	if (!chunked)
		return skip(r, length);
	while (chunk > 0) {
		read_line(r, line);
		chunk = strtoul(line, NULL, 16);
		body += skip(r, chunk);
		read_line(r, line);
	}
	return body;
}

struct figure {
	double wall_s, cpu_s; /* the least, of one request */
	size_t bytes;         /* of one answer's body */
};

static double
server_cpu_s(const struct reader *r)
{
	struct timespec used;

	if (clock_gettime(r->server_cpu, &used) != 0)
		fail("the server's processor time");
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static const struct question {
	const char *name, *target;  /* target: all of one endpoint's history if it is NULL */
	const char *headers, *body; /* body: NULL = a GET */
	int tries, repeat;
} questions[] = {
	{ "latest", "/api/latest/", "", NULL, 40, 1 },
	{ "latest_gzip", "/api/latest/", "Accept-Encoding: gzip\r\n", NULL, 20, 1 },
	{ "rpc_latest", "/RPC2", "Content-Type: text/xml\r\n",
	    "<methodCall><methodName>Scotty.Latest</methodName></methodCall>", 5, 1 },
	{ "host_hour", NULL, "", NULL, 50, WITH_HISTORY },
	{ "host_hour_gzip", NULL, "Accept-Encoding: gzip\r\n", NULL, 20, WITH_HISTORY },
	{ "metrics", "/metrics", "", NULL, 20, 500 },
	{ "healthz", "/healthz", "", NULL, 20, 5000 },
};

/* Request number i to out[1024]. */
static void
write_request(const struct question *q, int i, char *out)
{
	char path[64];

	snprintf(path, sizeof(path), "/api/hosts/host%04d.example.com/service", i % WITH_HISTORY);
	snprintf(out, 1024, "%s %s HTTP/1.1\r\nHost: bench\r\n%sContent-Length: %zu\r\n\r\n%s",
	    q->body == NULL ? "GET" : "POST", q->target == NULL ? path : q->target, q->headers,
	    str_of(q->body).len, q->body == NULL ? "" : q->body);
}

/* The best of some tries: what the code takes when nothing else runs on the machine. */
static struct figure
measure(struct reader *r, const struct question *q)
{
	struct figure best = { .wall_s = 1e9, .cpu_s = 1e9 };
	char request[1024];

	for (int i = 0; i < q->tries; i++) {
		double cpu_s = server_cpu_s(r), wall_s;
		int64_t start_ns = clock_mono_ns();

		best.bytes = 0;
		for (int k = 0; k < q->repeat; k++) {
			write_request(q, k, request);
			best.bytes += ask(r, request);
		}
		wall_s = (double)(clock_mono_ns() - start_ns) / 1e9 / q->repeat;
		cpu_s = (server_cpu_s(r) - cpu_s) / q->repeat;
		best.bytes /= (size_t)q->repeat;
		if (wall_s < best.wall_s)
			best.wall_s = wall_s;
		if (cpu_s < best.cpu_s)
			best.cpu_s = cpu_s;
	}
	return best;
}

static void
print_figures(const struct figure *figures)
{
	/* Speeds of compressed answers are in bytes of the same answer uncompressed. */
	size_t plain = figures[0].bytes;

	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		const char *name = questions[i].name;
		const struct figure *f = &figures[i];

		printf("%s_bytes %zu bytes\n", name, f->bytes);
		if (i < 3)
			printf("%s_speed %.0f MB/s\n", name,
			    (double)(i == 2 ? f->bytes : plain) / f->wall_s / 1e6);
		printf("%s_time %.1f us\n", name, f->wall_s * 1e6);
		printf("%s_cpu %.1f us\n", name, f->cpu_s * 1e6);
	}
}

static int
connect_to(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(port) };
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
		fail("connect");
	return fd;
}

/* The reader's process: waits for the port, asks all questions. only: NULL, or one's name. */
static int
run_reader(int port_fd, int processor, const char *only)
{
	struct reader r = { .bytes = malloc(READ_BYTES) };
	struct figure figures[ARRAY_LEN(questions)] = { 0 };
	uint16_t port = 0;

	pin(processor);
	if (r.bytes == NULL || clock_getcpuclockid(getppid(), &r.server_cpu) != 0 ||
	    read(port_fd, &port, sizeof(port)) != sizeof(port))
		fail("start the reader");
	r.fd = connect_to(port);
	for (size_t i = 0; i < ARRAY_LEN(questions); i++) {
		if (only == NULL || strcmp(only, questions[i].name) == 0)
			figures[i] = measure(&r, &questions[i]);
	}
	print_figures(figures);
	close(r.fd);
	free(r.bytes);
	return 0;
}

static void
serve(int port_fd, int processor)
{
	const struct api_conf conf = { .listen = "127.0.0.1:0" };
	const struct store_conf store_conf = { .memory_bytes = STORE_BYTES };
	struct api_env env = { 0 };
	struct api *api;
	struct err err;
	uint16_t port;

	env.own = own_new(&err);
	if (env.own == NULL || own_add_process(env.own, 0, NULL, &err) != 0)
		fail("own metrics");
	env.store = store_new(&store_conf, env.own, &err);
	if (env.store == NULL)
		fail("store");
	fill(env.store);
	pin(processor);
	api = api_new(&conf, &env, &err);
	if (api == NULL)
		fail("api");
	port = api_port(api);
	if (write(port_fd, &port, sizeof(port)) != sizeof(port))
		fail("tell the port");
	close(port_fd);
	wait(NULL);
	api_free(api);
	store_free(env.store);
	own_free(env.own);
}

int
main(int argc, char **argv)
{
	int server = argc > 2 ? atoi(argv[1]) : 0, reader = argc > 2 ? atoi(argv[2]) : 1,
	    pipe_fd[2];
	pid_t child;

	if (pipe(pipe_fd) != 0)
		fail("pipe");
	child = fork();
	if (child < 0)
		fail("fork");
	if (child == 0) {
		close(pipe_fd[1]);
		return run_reader(pipe_fd[0], reader, argc > 3 ? argv[3] : NULL);
	}
	close(pipe_fd[0]);
	serve(pipe_fd[1], server);
	return 0;
}
