/*
 * tricorder_demo PORT - a program that publishes metrics the tricorder way, for scottyd to poll.
 *
 * It serves http://127.0.0.1:PORT/metricsapi/ with one metric of every kind under /demo/kinds, with
 * values that move. A program of your own needs no more than this: a JSON array behind one URL.
 */
#include <errno.h>
#include <math.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "messages/batch.h"
#include "messages/tricorder.h"

#define PREFIX      "/metricsapi"
#define BATCH_BYTES (1024 * 1024)

/*
 * Groups: metrics of one group have one time stamp. Lists and distributions have groups of their
 * own.
 */
enum { GROUP_NOW = 3, GROUP_LIST = 10, GROUP_DIST = 20 };

static int64_t start_ns;

/* Adds one metric, stamped ts_ns. */
static void
add(struct batch *batch, const char *path, enum kind kind, const char *unit,
    const char *description, struct value value, int64_t ts_ns)
{
	struct metric_desc desc = {
		.path = str_of(path),
		.description = str_of(description),
		.unit = str_of(unit),
		.kind = kind,
	};
	struct err err;

	if (batch_add(batch, &desc, &value, GROUP_NOW, ts_ns, &err) != 0)
		fprintf(stderr, "tricorder_demo: %s: %s\n", path, err.text);
}

static void
add_dist(struct batch *batch, uint64_t ticks, int64_t ts_ns)
{
	static const double limits[] = { 1, 2, 5, 10, 20, 50 };
	static uint64_t counts[ARRAY_LEN(limits) + 1];
	static struct dist dist = { .counts = counts, .len = ARRAY_LEN(counts) };
	const struct metric_desc desc = {
		.path = STR("/demo/kinds/distribution"),
		.description = STR("How long imagined requests took"),
		.unit = STR(UNIT_MILLISECONDS),
		.kind = KIND_DIST,
		.limits = limits,
		.limit_count = ARRAY_LEN(limits),
	};
	const struct value value = { .dist = &dist };
	struct err err;

	/* One imagined request a second, of 0.5 to 57.5 ms. */
	while (dist.count < ticks) {
		double ms = (double)(dist.count * 7919 % 115) / 2;
		size_t i = 0;

		while (i < ARRAY_LEN(limits) && ms >= limits[i])
			i++;
		counts[i]++;
		dist.sum += ms;
		dist.min = dist.count == 0 || ms < dist.min ? ms : dist.min;
		dist.max = dist.count == 0 || ms > dist.max ? ms : dist.max;
		dist.count++;
		dist.generation++;
	}
	dist.average = dist.count == 0 ? 0 : dist.sum / (double)dist.count;
	dist.median = dist.average;
	if (batch_add(batch, &desc, &value, GROUP_DIST, ts_ns, &err) != 0)
		fprintf(stderr, "tricorder_demo: %s\n", err.text);
}

static void
add_list(struct batch *batch, uint64_t ticks, int64_t ts_ns)
{
	const struct value elements[] = { { .i = (int64_t)ticks }, { .i = -1 }, { .i = 2 } };
	const struct metric_desc desc = {
		.path = STR("/demo/kinds/list"),
		.description = STR("Uptime in seconds, and two constants"),
		.unit = STR(UNIT_NONE),
		.kind = KIND_LIST,
		.sub_kind = KIND_INT32,
	};
	struct value *copy = arena_alloc(&batch->arena, sizeof(elements));
	struct list *kept = arena_alloc(&batch->arena, sizeof(*kept));
	struct err err;

	if (copy == NULL || kept == NULL)
		return;
	memcpy(copy, elements, sizeof(elements));
	*kept = (struct list){ copy, ARRAY_LEN(elements) };
	if (batch_add(batch, &desc, &(struct value){ .list = kept }, GROUP_LIST, ts_ns, &err) != 0)
		fprintf(stderr, "tricorder_demo: %s\n", err.text);
}

/* All metrics as of now, sorted by path component. */
static void
collect(struct batch *batch)
{
	static const char *const moods[] = { "calm", "busy", "<very> busy" };
	int64_t now_ns = clock_real_ns(), up_ns = now_ns - start_ns;
	uint64_t ticks = (uint64_t)(up_ns / NS_PER_S);
	double wave = sin((double)up_ns / 10e9);

#define ADD(name, kind, unit, description, ...)                                                    \
	add(batch, "/demo/kinds/" name, kind, unit, description, (struct value){ __VA_ARGS__ },    \
	    now_ns)
	ADD("bool", KIND_BOOL, UNIT_NONE, "True in odd seconds", .b = ticks % 2 == 1);
	add_dist(batch, ticks, now_ns);
	ADD("duration", KIND_DURATION, UNIT_SECONDS, "Time since the start", .i = up_ns);
	ADD("float32", KIND_FLOAT32, UNIT_CELSIUS, "A wave", .f = (double)(float)(20 + 5 * wave));
	ADD("float64", KIND_FLOAT64, UNIT_NONE, "The same wave, in full", .f = 20 + 5 * wave);
	ADD("int16", KIND_INT16, UNIT_NONE, "Down from 0", .i = -(int64_t)(ticks % 32768));
	ADD("int32", KIND_INT32, UNIT_NONE, "A constant", .i = -2147483647);
	ADD("int64", KIND_INT64, UNIT_BYTES_PER_SECOND, "A wave in bytes",
	    .i = (int64_t)(1e6 * wave));
	ADD("int8", KIND_INT8, UNIT_NONE, "Up to 127 and again", .i = (int64_t)(ticks % 128));
	add_list(batch, ticks, now_ns);
	ADD("string", KIND_STRING, UNIT_NONE, "A mood", .s = str_of(moods[ticks / 10 % 3]));
	ADD("time", KIND_TIME, UNIT_NONE, "Start of this program", .i = start_ns);
	ADD("uint16", KIND_UINT16, UNIT_NONE, "Seconds, 16 bits", .u = ticks % 65536);
	ADD("uint32", KIND_UINT32, UNIT_NONE, "A counter, fast", .u = ticks * 1000 % UINT32_MAX);
	ADD("uint64", KIND_UINT64, UNIT_BYTES, "A counter, big", .u = UINT64_C(1) << 63 | ticks);
	ADD("uint8", KIND_UINT8, UNIT_NONE, "Seconds, 8 bits", .u = ticks % 256);
#undef ADD
	batch_end(batch, now_ns);
}

static enum MHD_Result
reply(struct MHD_Connection *connection, unsigned status, struct str body, const char *type)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(
	    body.len, (void *)(uintptr_t)body.p, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result rc;

	MHD_add_response_header(response, "Content-Type", type);
	if (status == MHD_HTTP_MOVED_PERMANENTLY)
		MHD_add_response_header(response, "Location", PREFIX "/");
	rc = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return rc;
}

static enum MHD_Result
handle(void *ctx, struct MHD_Connection *connection, const char *url, const char *method,
    const char *version, const char *upload, size_t *upload_size, void **request)
{
	struct str path = str_of(url);
	struct batch batch;
	struct buf body;
	enum MHD_Result rc;

	(void)ctx, (void)method, (void)version, (void)upload, (void)request;
	*upload_size = 0;
	if (str_eq(path, STR(PREFIX)))
		return reply(connection, MHD_HTTP_MOVED_PERMANENTLY, STR(""), "text/html");
	if (!path_is_under(path, STR(PREFIX)))
		return reply(connection, MHD_HTTP_NOT_FOUND, STR("404 Not Found\n"), "text/plain");
	/* What is left names a metric or all that lie under a path; its last slash says nothing. */
	path = str_sub(path, strlen(PREFIX), path.len);
	if (str_ends(path, STR("/")))
		path.len--;
	batch_init(&batch, BATCH_BYTES);
	buf_init(&body, 0);
	collect(&batch);
	tricorder_encode(&batch, path, &body);
	rc = reply(connection, MHD_HTTP_OK, buf_view(&body), "application/json");
	buf_fini(&body);
	batch_fini(&batch);
	return rc;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in addr = { .sin_family = AF_INET };
	struct MHD_Daemon *daemon;
	sigset_t signals;
	int64_t port;
	int sig;

	if (argc != 2 || !str_to_i64(str_of(argv[1]), &port) || port < 1 || port > 65535) {
		fprintf(stderr, "usage: tricorder_demo PORT\n");
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	start_ns = clock_real_ns();
	addr.sin_port = htons((uint16_t)port);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, (uint16_t)port, NULL, NULL, handle,
	    NULL, MHD_OPTION_SOCK_ADDR, &addr, MHD_OPTION_END);
	if (daemon == NULL) {
		fprintf(stderr, "tricorder_demo: listen on 127.0.0.1:%d: %s\n", (int)port,
		    strerror(errno));
		return 1;
	}
	sigwait(&signals, &sig);
	MHD_stop_daemon(daemon);
	return 0;
}
