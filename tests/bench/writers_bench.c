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

#ifdef HAVE_RDKAFKA
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#endif

#include "base/clock.h"
#include "cpu.h"
#include "gen_metrics.h"
#include "pstore/kafka_producer.h"
#include "pstore/pump.h"
#include "store/store.h"

#define INTERVAL_NS (30 * NS_PER_S)
#define METRICS     200
#define CHANGED     280 /* permille */
#define AIM         500000.0
#define BUFFER      (4 * 1024 * 1024)
#define KAFKA       "topic: t, clientId: c, tenantId: aTenant, apiKey: aKey"
#define BROKERS     ", endpoints: '"
#define ADDRESS     ", hostAndPort: 'http://127.0.0.1:"

static _Noreturn void
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

/* Reads all there is, as carbon does. */
static void
serve_lines(int fd)
{
	static char buffer[BUFFER];

	while (recv(fd, buffer, sizeof(buffer), 0) > 0)
		;
}

/* Answers each request of a connection once all of it is there. */
static void
serve_requests(int fd)
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
start_server(void (*serve)(int fd), uint16_t *port)
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
			serve(client);
			close(client);
		}
	}
	close(fd);
	return pid;
}

#ifdef HAVE_RDKAFKA
/* Brokers in a process of their own. Their address goes to text. */
static pid_t
start_brokers(char *text, size_t size)
{
	int ends[2];
	ssize_t len;
	pid_t pid;

	if (pipe(ends) != 0 || (pid = fork()) < 0)
		die("fork");
	if (pid == 0) {
		rd_kafka_mock_cluster_t *cluster;
		rd_kafka_conf_t *conf = rd_kafka_conf_new();
		rd_kafka_t *rk;
		const char *brokers;

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
		rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, NULL, 0);
		cluster = rk == NULL ? NULL : rd_kafka_mock_cluster_new(rk, 1);
		if (cluster == NULL || rd_kafka_mock_topic_create(cluster, "t", 4, 1) != 0)
			_exit(1);
		brokers = rd_kafka_mock_cluster_bootstraps(cluster);
		if (write(ends[1], brokers, strlen(brokers)) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(ends[1]);
	len = read(ends[0], text, size - 1);
	close(ends[0]);
	if (len <= 0)
		die("no brokers");
	text[len] = '\0';
	return pid;
}

/* What the library takes by itself for messages like ours, made beforehand. */
static void
bench_library(const char *compression, size_t requests)
{
	struct kafka_producer_conf conf = { .topic = "t", .timeout_ns = 30 * NS_PER_S };
	static struct write_record records[1000];
	static struct write_origin origin = { .host = STR("web0001.example.com") };
	static uint32_t ends[1000];
	static bool refused[1000];
	struct kafka_producer *producer;
	char brokers[100], name[64];
	struct buf body;
	struct err err;
	double begin_s = 0, cpu;
	pid_t server = start_brokers(brokers, sizeof(brokers));

	producer = kafka_producer_new(&conf, &err);
	if (producer == NULL ||
	    kafka_producer_set(producer, "bootstrap.servers", brokers, &err) != 0 ||
	    kafka_producer_set(producer, "enable.idempotence", "true", &err) != 0 ||
	    kafka_producer_set(producer, "linger.ms", "100", &err) != 0 ||
	    kafka_producer_set(producer, "compression.codec", compression, &err) != 0)
		die(err.text);
	buf_init(&body, 0);
	for (size_t i = 0; i < ARRAY_LEN(records); i++) {
		records[i].origin = &origin;
		buf_printf(&body,
		    "{\"@timestamp\":\"2026-11-20T21:21:50.%03zuZ\",\"@version\":\"1\",\"apikey\":"
		    "\"aKey\",\"appname\":\"app\",\"host\":\"web0001.example.com\",\"ipaddress\":"
		    "\"10.0.0.1\",\"name\":\"_sys_fs_%zu_METRICS_available\",\"region\":\"us-east-"
		    "1\","
		    "\"tenant_id\":\"aTenant\",\"value\":%zu}\n",
		    i, i % 50, i * i);
		ends[i] = (uint32_t)body.len;
	}
	for (size_t i = 0; i < requests; i++) {
		struct write_request request = { buf_view(&body), records, ends,
			ARRAY_LEN(records) };
		struct write_answer answer = { .status = WRITE_DONE, .refused = refused };

		if (i == 1)
			begin_s = cpu_s(); /* it is connected */
		kafka_producer_send(producer, &request, &answer);
		if (answer.status != WRITE_DONE)
			die(answer.err.text);
	}
	cpu = cpu_s() - begin_s;
	snprintf(name, sizeof(name), "kafka_%s_library", compression);
	printf("%-34s %10.2f s per million records, by itself\n", name,
	    cpu / (double)((requests - 1) * ARRAY_LEN(records)) * 1e6);
	kafka_producer_free(producer);
	buf_fini(&body);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
}
#endif

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
	    stats.bytes * (polls - 1) / polls,
	    strcmp(name, "influx") == 0 || strcmp(name, "kafka") == 0);
	pump_free(pump);
	close_fleet(&fleet);
}

static void
remove_files(const char *directory)
{
	char path[100];

	snprintf(path, sizeof(path), "%s/records", directory);
	unlink(path);
	rmdir(directory);
}

int
main(int argc, char **argv)
{
	bool quick = argc > 1 && strcmp(argv[1], "-quick") == 0;
	const char *only = argc > 2 && strcmp(argv[1], "-only") == 0 ? argv[2] : NULL;
	size_t endpoints = quick ? 10 : 500, polls = quick ? 3 : 20, batch = 1000;
	char file_element[100], directory[] = "/tmp/writers_bench-XXXXXX";
	const struct {
		const char *name, *element; /* without the server's address and the last brace */
		const char *address;        /* key and text before the port; NULL = none */
		void (*serve)(int fd);      /* NULL with an address: brokers */
	} writers[] = {
		{ "mock", "mock: {", NULL, NULL },
		{ "file", file_element, NULL, NULL },
		{ "influx", "influx: {database: d", ADDRESS, serve_requests },
		{ "influx_tagged", "influx: {database: d, schema: tagged", ADDRESS,
		    serve_requests },
		{ "influx_gzip", "influx: {database: d, gzip: true", ADDRESS, serve_requests },
		{ "openTSDB", "openTSDB: {precision: ms", ADDRESS, serve_requests },
		{ "graphite", "graphite: {form: path", ", hostAndPort: '127.0.0.1:", serve_lines },
		{ "graphite_tags", "graphite: {form: tags",
		    ", hostAndPort: '127.0.0.1:", serve_lines },
		{ "prometheus", "prometheus: {timeout: 30s",
		    ", url: 'http://127.0.0.1:", serve_requests },
		{ "lmm", "lmm: {tenantId: t, apiKey: k",
		    ", endpoint: 'http://127.0.0.1:", serve_requests },
#ifdef HAVE_RDKAFKA
		{ "kafka", "kafka: {" KAFKA, BROKERS, NULL },
		{ "kafka_json", "kafka: {format: json, " KAFKA, BROKERS, NULL },
		{ "kafka_influx", "kafka: {format: influx, " KAFKA, BROKERS, NULL },
		{ "kafka_plain", "kafka: {compression: none, " KAFKA, BROKERS, NULL },
		{ "kafka_zstd", "kafka: {compression: zstd, " KAFKA, BROKERS, NULL },
#endif
	};

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* A file of its own: one that is begun anew is renamed. */
	if (mkdtemp(directory) == NULL)
		die("no directory");
	snprintf(file_element, sizeof(file_element), "file: {path: %s/records, keep: 0", directory);
	for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
		char element[300], server_text[150] = "";
		uint16_t port;
		pid_t server = 0;

		if (only != NULL && strcmp(only, writers[i].name) != 0)
			continue;
		if (writers[i].serve != NULL) {
			server = start_server(writers[i].serve, &port);
			snprintf(server_text, sizeof(server_text), "%s%u'", writers[i].address,
			    (unsigned)port);
		}
#ifdef HAVE_RDKAFKA
		if (writers[i].serve == NULL && writers[i].address != NULL) {
			char brokers[100];

			server = start_brokers(brokers, sizeof(brokers));
			snprintf(
			    server_text, sizeof(server_text), "%s%s'", writers[i].address, brokers);
		}
#endif
		snprintf(element, sizeof(element), "%s%s}", writers[i].element, server_text);
		bench(writers[i].name, element, true, endpoints, polls, batch);
		bench(writers[i].name, element, false, endpoints, polls, batch);
		if (server == 0)
			continue;
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
#ifdef HAVE_RDKAFKA
	if (only == NULL || strcmp(only, "kafka") == 0) {
		bench_library("lz4", quick ? 3 : 500);
		bench_library("none", quick ? 3 : 500);
	}
#endif
	remove_files(directory);
	return 0;
}
