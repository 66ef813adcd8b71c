/*
 * What writing costs: a pump from the store to a server in another process that acknowledges
 * whatever comes, for each writer. CPU is that of this process: reading, formatting, sending.
 *
 *   live      each poll is written as it comes: one record per series
 *   catch_up  an hour's polls at once, as after an outage
 *
 * Prints `name value unit`, and what is aimed at.
 */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "gen_metrics.h"
#include "pstore/pump.h"
#include "store/store.h"

#define INTERVAL_NS (30 * NS_PER_S)
#define METRICS     200
#define CHANGED     280 /* permille */
#define AIM         500000.0
#define BUFFER      (4 * 1024 * 1024)

static void
die(const char *what)
{
	fprintf(stderr, "writers_bench: %s\n", what);
	exit(1);
}

/* The server. */

static size_t
content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\nContent-Length:");

	return at == NULL ? 0 : strtoul(at + strlen("\r\nContent-Length:"), NULL, 10);
}

/* Answers each request of a connection once all of it is there. */
static void
serve_connection(int fd)
{
	static const char answer[] = "HTTP/1.1 204 No Content\r\n\r\n";
	static char buffer[BUFFER];
	size_t len = 0, skip = 0;

	for (;;) {
		ssize_t n = recv(fd, buffer + len, sizeof(buffer) - 1 - len, 0);
		char *end;

		if (n <= 0)
			return;
		if (skip >= (size_t)n) {
			skip -= (size_t)n;
			if (skip == 0 && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
				return;
			continue;
		}
		len += (size_t)n;
		buffer[len] = '\0';
		end = strstr(buffer, "\r\n\r\n");
		if (end == NULL)
			continue;
		skip = content_length(buffer) - (len - (size_t)(end + 4 - buffer));
		len = 0;
		if (skip == 0 && send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0)
			return;
	}
}

static pid_t
start_server(uint16_t *port)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
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
		for (;;) {
			int client = accept(fd, NULL, NULL);

			if (client < 0)
				_exit(1);
			serve_connection(client);
			close(client);
		}
	}
	close(fd);
	return pid;
}

/* The store and what is in it. */

struct fleet {
	struct gen *gen;
	struct store *store;
	struct series_set **sets;
	size_t endpoints;
};

static struct fleet
open_fleet(size_t endpoints)
{
	struct gen_conf conf = {
		.endpoint_count = endpoints,
		.metric_count = METRICS,
		.changed_permille = CHANGED,
		.interval_ns = INTERVAL_NS,
		.jitter_ns = 10 * NS_PER_MS,
		.jitter_unit_ns = NS_PER_MS,
	};
	struct fleet fleet = { .gen = gen_new(&conf), .endpoints = endpoints };
	struct store_conf store_conf = { .memory_bytes = UINT64_C(4) << 30 };
	struct err err;

	fleet.store = store_new(&store_conf, NULL, &err);
	fleet.sets = calloc(endpoints, sizeof(struct series_set *));
	if (fleet.gen == NULL || fleet.store == NULL || fleet.sets == NULL)
		die("out of memory");
	for (size_t i = 0; i < endpoints; i++) {
		fleet.sets[i] = store_set(fleet.store, gen_host(fleet.gen, i), STR("app"), &err);
		if (fleet.sets[i] == NULL)
			die(err.text);
	}
	return fleet;
}

static void
poll_fleet(struct fleet *fleet, uint64_t poll)
{
	struct append_stats stats;
	struct err err;

	for (size_t i = 0; i < fleet->endpoints; i++) {
		if (store_append(fleet->sets[i], gen_poll(fleet->gen, i, poll), &stats, &err) != 0)
			die(err.text);
	}
}

static void
close_fleet(struct fleet *fleet)
{
	for (size_t i = 0; i < fleet->endpoints; i++)
		series_set_unref(fleet->sets[i]);
	free(fleet->sets);
	store_free(fleet->store);
	gen_free(fleet->gen);
}

/* The pump. */

static int64_t
skewed_ns(void *ctx)
{
	return clock_mono_ns() + *(int64_t *)ctx;
}

static void
find_tags(void *ctx, struct str host, struct str app, struct origin_tags *out)
{
	(void)ctx;
	(void)host;
	(void)app;
	out->region = STR("us-east-1");
	out->address = STR("10.0.0.1");
}

static struct pump *
open_pump(struct fleet *fleet, const char *element, size_t batch_size, int64_t *skew_ns)
{
	struct pump_env env = { .store = fleet->store,
		.origin = find_tags,
		.mono_ns = skewed_ns,
		.clock_ctx = skew_ns };
	char text[512];
	struct conf_doc *doc;
	struct consumer *consumer;
	struct queue *queue;
	struct pump *pump = NULL;
	struct err err;

	snprintf(text, sizeof(text), "- {%s, consumer: {name: bench, batchSize: %zu}}", element,
	    batch_size);
	doc = conf_parse(str_of(text), "bench", &err);
	if (doc == NULL || (consumer = consumer_new(doc, doc->root->first, &err)) == NULL ||
	    (queue = queue_open(&env, consumer, &err)) == NULL ||
	    (pump = pump_new(&env, consumer, queue, &err)) == NULL)
		die(err.text);
	conf_doc_unref(doc);
	return pump;
}

static double
cpu_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Until all is written. What it waits for passes at once. */
static void
drain(struct pump *pump, uint64_t total, int64_t *skew_ns)
{
	struct pump_stats stats;

	for (;;) {
		int64_t at_ns = pump_turn(pump), now_ns = skewed_ns(skew_ns);

		pump_get_stats(pump, &stats);
		if (stats.last_error_ns != 0)
			die(stats.last_error);
		if (stats.written + stats.unwritable + stats.unsupported >= total)
			return;
		if (at_ns > now_ns)
			*skew_ns += at_ns - now_ns;
	}
}

static void
report(
    const char *writer, const char *mode, double records, double cpu, uint64_t bytes, bool has_aim)
{
	char name[64];

	snprintf(name, sizeof(name), "%s_%s", writer, mode);
	printf("%-34s %10.0f records/s of one core%s\n", name, records / cpu,
	    !has_aim               ? ""
	    : records / cpu >= AIM ? " (aim 500000: reached)"
	                           : " (aim 500000: MISSED)");
	snprintf(name, sizeof(name), "%s_%s_cpu", writer, mode);
	printf("%-34s %10.2f s per million records\n", name, cpu / records * 1e6);
	if (bytes > 0) {
		snprintf(name, sizeof(name), "%s_%s_bytes", writer, mode);
		printf("%-34s %10.1f bytes per record\n", name, (double)bytes / records);
	}
}

static void
bench(const char *name, const char *element, bool live, size_t endpoints, size_t polls,
    size_t batch_size)
{
	struct fleet fleet = open_fleet(endpoints);
	int64_t skew_ns = 0;
	uint64_t total = 0;
	double begin_s, cpu = 0;
	struct pump *pump = open_pump(&fleet, element, batch_size, &skew_ns);
	struct pump_stats stats;

	/* The first poll is written before the clock runs: texts are made, a connection is. */
	for (size_t poll = 0; poll < polls; poll++) {
		poll_fleet(&fleet, poll);
		total += endpoints * METRICS;
		if (poll > 0 && !live && poll + 1 < polls)
			continue;
		begin_s = cpu_s();
		drain(pump, total, &skew_ns);
		if (poll > 0)
			cpu += cpu_s() - begin_s;
	}
	pump_get_stats(pump, &stats);
	report(name, live ? "live" : "catch_up", (double)(total - endpoints * METRICS), cpu,
	    stats.bytes * (polls - 1) / polls, strcmp(name, "influx") == 0);
	pump_free(pump);
	close_fleet(&fleet);
}

int
main(int argc, char **argv)
{
	bool quick = argc > 1 && strcmp(argv[1], "-quick") == 0;
	const char *only = argc > 2 && strcmp(argv[1], "-only") == 0 ? argv[2] : NULL;
	size_t endpoints = quick ? 10 : 500, polls = quick ? 3 : 20, batch = 1000;
	static const struct {
		const char *name, *element; /* without address, path and the last brace */
		bool has_server;
	} writers[] = {
		{ "mock", "mock: {", false },
		{ "file", "file: {keep: 0", false },
		{ "influx", "influx: {database: d", true },
		{ "influx_tagged", "influx: {database: d, schema: tagged", true },
		{ "influx_gzip", "influx: {database: d, gzip: true", true },
	};

	char dir[] = "/tmp/scotty-bench-XXXXXX", path[100];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		return 1;
	}
	snprintf(path, sizeof(path), "%s/values", dir);
	for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
		char element[300], where[200] = "";
		uint16_t port;
		pid_t server;

		if (only != NULL && strcmp(only, writers[i].name) != 0)
			continue;
		server = start_server(&port);
		if (writers[i].has_server)
			snprintf(where, sizeof(where), ", hostAndPort: 'http://127.0.0.1:%u'",
			    (unsigned)port);
		else if (strcmp(writers[i].name, "file") == 0)
			snprintf(where, sizeof(where), ", path: %s", path);
		snprintf(element, sizeof(element), "%s%s}", writers[i].element, where);
		bench(writers[i].name, element, true, endpoints, polls, batch);
		bench(writers[i].name, element, false, endpoints, polls, batch);
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	unlink(path);
	rmdir(dir);
	return 0;
}
