/*
 * fleet_sim - many endpoints in one process, for scottyd to poll: good ones and bad ones.
 *
 * Each listens on 127.0.0.1 at a port of its own, from -base on, or with -addresses on an address
 * of its own, from 127.1.0.0 on, at port -base. They answer as tricorder processes or, with
 * -prometheus, as node_exporter does, or, with -numbered, with metrics whose value is how many
 * answers the endpoint gave (sim_numbered.h). The good ones come first; the bad ones of each flag
 * follow in the order of the help text. It prints "ready", runs until SIGTERM or for -seconds, and
 * then says how well each was polled; at SIGUSR1 it does so for all since the last one, and begins
 * anew.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/conf.h"
#include "base/loop.h"
#include "lateness.h"
#include "sim_body.h"
#include "sim_numbered.h"

/* So many documents are there at most: endpoints share them. */
#define BODIES_MAX 16

#define FIRST_OWN_ADDRESS 0x7f010000u /* 127.1.0.0 */

/* An endless body comes at 20 MB/s: so much every so often. */
#define HUGE_PERIOD_NS (10 * NS_PER_MS)
#define HUGE_CHUNK     (200 * 1000)

enum behaviour { GOOD, HANG, DRIP, REFUSE, STATUS_500, CUT, GARBAGE, HUGE_BODY, BEHAVIOUR_COUNT };

static const struct {
	const char *name, *help;
} behaviours[] = {
	[GOOD] = { "good", NULL },
	[HANG] = { "hang", "accept and read, but never answer" },
	[DRIP] = { "drip", "send one byte a second" },
	[REFUSE] = { "refuse", "do not listen" },
	[STATUS_500] = { "500", "answer with status 500" },
	[CUT] = { "cut", "close in the middle of the answer" },
	[GARBAGE] = { "garbage", "answer with what is no JSON" },
	[HUGE_BODY] = { "huge", "send chunks without end, 20 MB/s" },
};

struct options {
	int64_t n, metrics, base, seconds, interval_ns;
	bool addresses, prometheus, numbered;
	const char *config;           /* NULL = write none */
	int64_t bad[BEHAVIOUR_COUNT]; /* how many of each */
};

/* Since the start or the last SIGUSR1. */
struct totals {
	uint64_t answers, bytes, steps; /* of good endpoints; steps that their documents made */
	int64_t first_ns, last_ns;      /* first request, last answer that was sent */
	double cpu_s;                   /* of this process, at the start of the count */
};

struct sim;

struct site {
	struct sim *sim;
	struct loop_fd listener; /* fd -1 = none */
	uint32_t number;
	enum behaviour behaviour;
	uint64_t seen;     /* step of its document, or number, that was answered last */
	int64_t polled_ns; /* when the last request was complete; 0 = never */
	uint64_t polls;
	struct lateness lateness;
};

struct sim {
	struct options options;
	struct loop *loop;
	struct sim_body *bodies[BODIES_MAX];
	size_t body_count;
	struct site *sites;
	struct conn *conns; /* all that are open */
	struct loop_fd signals;
	struct loop_timer end;
	struct totals totals;
};

/* One accepted connection; frees itself when the other side is gone. */
struct conn {
	struct loop_fd fd;
	struct loop_timer timer; /* for what is sent bit by bit */
	struct site *site;
	struct conn *next, *prev;
	unsigned matched;      /* bytes of the empty line that ends a request's head */
	struct sim_text *text; /* the answer being sent, else NULL */
	struct str rest;       /* of it */
	struct buf out;        /* other bytes that the socket did not take yet */
	bool writing;          /* waits for the socket to take more */
	bool close_when_sent;
};

static void
conn_free(struct conn *conn)
{
	struct sim *sim = conn->site->sim;

	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		sim->conns = conn->next;
	loop_timer_clear(sim->loop, &conn->timer);
	loop_fd_del(sim->loop, &conn->fd);
	close(conn->fd.fd);
	sim_text_unref(conn->text);
	buf_fini(&conn->out);
	free(conn);
}

/* Returns what the socket does not take of bytes; *broken when the connection is gone. */
static struct str
send_some(struct conn *conn, struct str bytes, bool *broken)
{
	ssize_t n;

	*broken = false;
	while (bytes.len > 0) {
		n = send(conn->fd.fd, bytes.p, bytes.len, MSG_NOSIGNAL);
		if (n < 0) {
			*broken = errno != EAGAIN;
			break;
		}
		bytes = str_sub(bytes, (size_t)n, bytes.len);
	}
	return bytes;
}

static void
wait_to_write(struct conn *conn, bool writing)
{
	if (conn->writing == writing)
		return;
	conn->writing = writing;
	loop_fd_set(conn->site->sim->loop, &conn->fd, LOOP_READ | (writing ? LOOP_WRITE : 0));
}

static void
text_sent(struct conn *conn)
{
	struct totals *totals = &conn->site->sim->totals;

	totals->answers++;
	totals->bytes += conn->text->bytes.len;
	totals->last_ns = clock_mono_ns();
	sim_text_unref(conn->text);
	conn->text = NULL;
}

/* Sends what is waiting. False when the connection is gone. */
static bool
flush(struct conn *conn)
{
	bool broken;

	if (conn->text != NULL) {
		conn->rest = send_some(conn, conn->rest, &broken);
		if (!broken && conn->rest.len == 0)
			text_sent(conn);
	} else {
		struct str left = send_some(conn, buf_view(&conn->out), &broken);

		buf_drop(&conn->out, conn->out.len - left.len);
	}
	if (broken) {
		conn_free(conn);
		return false;
	}
	if (conn->text != NULL || conn->out.len > 0) {
		wait_to_write(conn, true);
		return true;
	}
	if (conn->close_when_sent) {
		conn_free(conn);
		return false;
	}
	wait_to_write(conn, false);
	return true;
}

/* Sends bytes, all at once if the socket takes them. False when the connection is gone. */
static bool
send_bytes(struct conn *conn, struct str bytes)
{
	buf_str(&conn->out, bytes);
	if (conn->out.failed)
		conn->close_when_sent = true;
	return flush(conn);
}

/* What the endpoint has to say next; NULL when out of memory. */
static struct sim_text *
next_text(struct site *site)
{
	struct sim *sim = site->sim;
	int64_t ts_ns = loop_real_ns(sim->loop);

	if (sim->options.numbered)
		return sim_numbered_answer((unsigned)sim->options.metrics, ++site->seen, ts_ns);
	return sim_body_answer(sim->bodies[site->number % sim->body_count], &site->seen, ts_ns);
}

/* Sends the endpoint's next document, or half of it. False when the connection is gone. */
static bool
send_document(struct conn *conn, bool half)
{
	struct site *site = conn->site;
	struct sim *sim = site->sim;
	uint64_t seen = site->seen;

	if (conn->text != NULL) { /* two requests at once: not what scottyd does */
		conn_free(conn);
		return false;
	}
	conn->text = next_text(site);
	if (conn->text == NULL) {
		conn_free(conn);
		return false;
	}
	sim->totals.steps += site->seen - seen;
	conn->rest = str_sub(conn->text->bytes, 0, conn->text->bytes.len / (half ? 2 : 1));
	conn->close_when_sent = half;
	return flush(conn);
}

static void
drip(struct loop_timer *timer)
{
	struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
	struct loop *loop = conn->site->sim->loop;

	if (send_bytes(conn, STR(" ")))
		loop_timer_set(loop, timer, loop_now_ns(loop) + NS_PER_S);
}

/* The next chunk, once the other side took the last one. */
static void
send_chunk(struct loop_timer *timer)
{
	static const char chunk[HUGE_CHUNK];
	struct conn *conn = CONTAINER_OF(timer, struct conn, timer);
	struct loop *loop = conn->site->sim->loop;

	if (conn->out.len == 0) {
		buf_printf(&conn->out, "%zx\r\n", sizeof(chunk));
		buf_add(&conn->out, chunk, sizeof(chunk));
		buf_puts(&conn->out, "\r\n");
		if (!flush(conn))
			return;
	}
	loop_timer_set(loop, timer, loop_now_ns(loop) + HUGE_PERIOD_NS);
}

static void
note_poll(struct site *site)
{
	struct sim *sim = site->sim;
	int64_t now_ns = clock_mono_ns(); /* a turn may answer hundreds */

	if (sim->totals.first_ns == 0)
		sim->totals.first_ns = now_ns;
	if (site->polled_ns > 0)
		lateness_add(&site->lateness, now_ns - site->polled_ns - sim->options.interval_ns);
	site->polled_ns = now_ns;
	site->polls++;
}

/* A request is complete. False when the connection is gone. */
static bool
answer(struct conn *conn)
{
	struct site *site = conn->site;
	struct sim *sim = site->sim;

	note_poll(site);
	switch (site->behaviour) {
	case GOOD:
		return send_document(conn, false);
	case HANG:
		return true;
	case DRIP:
		conn->timer.fn = drip;
		loop_timer_set(sim->loop, &conn->timer, loop_now_ns(sim->loop) + NS_PER_S);
		return send_bytes(conn, STR("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n["));
	case STATUS_500:
		return send_bytes(
		    conn, STR("HTTP/1.1 500 Internal Server Error\r\n"
		              "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nOops\n"));
	case CUT:
		return send_document(conn, true);
	case GARBAGE:
		return send_bytes(conn, STR("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
		                            "Content-Length: 18\r\n\r\n<html>hello</html>"));
	case HUGE_BODY:
		conn->timer.fn = send_chunk;
		loop_timer_set(sim->loop, &conn->timer, loop_now_ns(sim->loop));
		return send_bytes(
		    conn, STR("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
	case REFUSE:
	case BEHAVIOUR_COUNT:
		break;
	}
	return true;
}

/* Answers each request that ends in the n bytes at p. False when the connection is gone. */
static bool
take_bytes(struct conn *conn, const char *p, size_t n)
{
	static const char end[] = "\r\n\r\n";

	for (size_t i = 0; i < n; i++) {
		if (p[i] == end[conn->matched])
			conn->matched++;
		else
			conn->matched = p[i] == '\r';
		if (end[conn->matched] != '\0')
			continue;
		conn->matched = 0;
		if (!answer(conn))
			return false;
	}
	return true;
}

static void
conn_event(struct loop_fd *fd, unsigned events)
{
	struct conn *conn = CONTAINER_OF(fd, struct conn, fd);
	char bytes[4096];
	ssize_t n;

	if ((events & (LOOP_READ | LOOP_ERROR)) != 0) {
		n = recv(fd->fd, bytes, sizeof(bytes), 0);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			conn_free(conn);
			return;
		}
		if (n > 0 && !take_bytes(conn, bytes, (size_t)n))
			return;
	}
	if ((events & LOOP_WRITE) != 0)
		flush(conn);
}

static void
accept_event(struct loop_fd *fd, unsigned events)
{
	struct site *site = CONTAINER_OF(fd, struct site, listener);
	struct sim *sim = site->sim;
	int sock = accept4(fd->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct conn *conn;
	struct err err;
	int on = 1;

	(void)events;
	if (sock < 0)
		return;
	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn = calloc(1, sizeof(*conn));
	if (conn == NULL) {
		close(sock);
		return;
	}
	conn->site = site;
	conn->fd = (struct loop_fd){ .fd = sock, .fn = conn_event };
	buf_init(&conn->out, 0);
	if (loop_fd_add(sim->loop, &conn->fd, LOOP_READ, &err) != 0) {
		fprintf(stderr, "fleet_sim: %s\n", err.text);
		close(sock);
		free(conn);
		return;
	}
	conn->next = sim->conns;
	if (conn->next != NULL)
		conn->next->prev = conn;
	sim->conns = conn;
}

static struct sockaddr_in
site_address(const struct sim *sim, size_t i)
{
	uint32_t ip = sim->options.addresses ? FIRST_OWN_ADDRESS + (uint32_t)i : INADDR_LOOPBACK;
	int64_t port = sim->options.base + (sim->options.addresses ? 0 : (int64_t)i);

	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(ip),
	};
}

static int
site_listen(struct sim *sim, size_t i, struct err *err)
{
	struct sockaddr_in addr = site_address(sim, i);
	struct site *site = &sim->sites[i];
	int on = 1;

	site->listener.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (site->listener.fd < 0) {
		err_errno(err, errno, "socket %zu", i);
		return -1;
	}
	setsockopt(site->listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(site->listener.fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
	    listen(site->listener.fd, 16) != 0) {
		err_errno(err, errno, "listen on %s:%u", inet_ntoa(addr.sin_addr),
		    (unsigned)ntohs(addr.sin_port));
		return -1;
	}
	site->listener.fn = accept_event;
	return loop_fd_add(sim->loop, &site->listener, LOOP_READ, err);
}

/* The bad ones take the end of the range. */
static void
share_out(struct sim *sim)
{
	size_t i = (size_t)sim->options.n;

	for (size_t b = BEHAVIOUR_COUNT - 1; b > GOOD; b--)
		for (int64_t k = 0; k < sim->options.bad[b]; k++)
			sim->sites[--i].behaviour = (enum behaviour)b;
}

static double
cpu_seconds(void)
{
	struct rusage use;

	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* Counts anew. */
static void
totals_begin(struct sim *sim)
{
	sim->totals = (struct totals){ .cpu_s = cpu_seconds() };
	for (size_t i = 0; i < (size_t)sim->options.n; i++) {
		sim->sites[i].polls = 0;
		sim->sites[i].lateness = (struct lateness){ 0 };
	}
}

static void
print_line(const char *name, const char *behaviour, uint64_t polls, uint64_t least, uint64_t most,
    const struct lateness *lateness)
{
	printf("%s behaviour=%s polls=%llu least=%llu most=%llu p50_ms=%.3f p99_ms=%.3f "
	       "max_ms=%.3f\n",
	    name, behaviour, (unsigned long long)polls, (unsigned long long)least,
	    (unsigned long long)most, (double)lateness_quantile_us(lateness, 50) / 1000,
	    (double)lateness_quantile_us(lateness, 99) / 1000, (double)lateness->max_us / 1000);
}

/* How this process fared: it must not be what limits scottyd. */
static void
print_totals(const struct totals *totals)
{
	double answers = totals->answers == 0 ? 1 : (double)totals->answers;
	int64_t length_ns = totals->last_ns - totals->first_ns;

	printf("process behaviour=any cpu_s=%.3f answers=%llu bytes=%llu us_per_answer=%.2f "
	       "steps_per_answer=%.3f first_to_last_ms=%.3f\n",
	    cpu_seconds() - totals->cpu_s, (unsigned long long)totals->answers,
	    (unsigned long long)totals->bytes, (cpu_seconds() - totals->cpu_s) * 1e6 / answers,
	    (double)totals->steps / answers,
	    totals->last_ns == 0 ? 0.0 : (double)length_ns / (double)NS_PER_MS);
}

/*
 * A line per endpoint if wanted, then one for all of each behaviour: least and most are the polls
 * of single endpoints.
 */
static void
report(const struct sim *sim, bool each)
{
	for (enum behaviour b = GOOD; b < BEHAVIOUR_COUNT; b++) {
		uint64_t polls = 0, least = UINT64_MAX, most = 0;
		struct lateness all = { 0 };

		for (size_t i = 0; i < (size_t)sim->options.n; i++) {
			const struct site *site = &sim->sites[i];
			char name[32];

			if (site->behaviour != b)
				continue;
			snprintf(name, sizeof(name), "sim%05zu", i);
			if (each)
				print_line(name, behaviours[b].name, site->polls, site->polls,
				    site->polls, &site->lateness);
			polls += site->polls;
			least = site->polls < least ? site->polls : least;
			most = site->polls > most ? site->polls : most;
			lateness_merge(&all, &site->lateness);
		}
		if (least != UINT64_MAX)
			print_line("all", behaviours[b].name, polls, least, most, &all);
	}
	print_totals(&sim->totals);
	fflush(stdout);
}

static void
on_signal(struct loop_fd *fd, unsigned events)
{
	struct sim *sim = CONTAINER_OF(fd, struct sim, signals);
	struct signalfd_siginfo info;

	(void)events;
	if (read(fd->fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1) {
		report(sim, false);
		totals_begin(sim);
	} else {
		loop_stop(sim->loop);
	}
}

static void
stop_at_end(struct loop_timer *timer)
{
	loop_stop(CONTAINER_OF(timer, struct sim, end)->loop);
}

static int
watch_signals(struct sim *sim, struct err *err)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	sim->signals.fn = on_signal;
	sim->signals.fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
	if (sim->signals.fd < 0) {
		err_errno(err, errno, "signalfd");
		return -1;
	}
	return loop_fd_add(sim->loop, &sim->signals, LOOP_READ, err);
}

static int
write_config(const struct sim *sim, struct err *err)
{
	const struct options *options = &sim->options;
	FILE *f = fopen(options->config, "w");
	bool failed;

	if (f == NULL) {
		err_errno(err, errno, "%s", options->config);
		return -1;
	}
	fprintf(f, "mdbFile: \"\"\ncollection:\n  frequency: %lldms\nendpoints:\n",
	    (long long)(options->interval_ns / NS_PER_MS));
	for (size_t i = 0; i < (size_t)options->n; i++) {
		struct sockaddr_in addr = site_address(sim, i);

		fprintf(f, "- {host: sim%05zu, app: sim, address: %s, port: %u%s}\n", i,
		    inet_ntoa(addr.sin_addr), (unsigned)ntohs(addr.sin_port),
		    options->prometheus ? ", source: prometheus" : "");
	}
	failed = ferror(f) != 0;
	if (fclose(f) == 0 && !failed)
		return 0;
	err_set(err, ERR_IO, "%s could not be written", options->config);
	return -1;
}

/* One connection and one listener per endpoint. */
static void
raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* -1: out of memory. */
static int
make_bodies(struct sim *sim)
{
	size_t n = sim->options.n < BODIES_MAX ? (size_t)sim->options.n : BODIES_MAX;

	for (size_t i = 0; i < n; i++) {
		sim->bodies[i] = sim_body_new(i, (unsigned)sim->options.metrics,
		    sim->options.prometheus ? SIM_PROMETHEUS : SIM_TRICORDER);
		if (sim->bodies[i] == NULL)
			return -1;
		sim->body_count++;
	}
	return 0;
}

static int
sim_start(struct sim *sim, struct err *err)
{
	const struct options *options = &sim->options;

	raise_open_files();
	sim->loop = loop_new(err);
	if (sim->loop == NULL || watch_signals(sim, err) != 0)
		return -1;
	sim->sites = calloc((size_t)options->n, sizeof(*sim->sites));
	if (sim->sites == NULL || make_bodies(sim) != 0) {
		err_nomem(err);
		return -1;
	}
	share_out(sim);
	for (size_t i = 0; i < (size_t)options->n; i++) {
		struct site *site = &sim->sites[i];

		site->sim = sim;
		site->number = (uint32_t)i;
		site->listener.fd = -1;
		if (site->behaviour != REFUSE && site_listen(sim, i, err) != 0)
			return -1;
	}
	if (options->config != NULL && write_config(sim, err) != 0)
		return -1;
	totals_begin(sim);
	sim->end.fn = stop_at_end;
	if (options->seconds > 0)
		loop_timer_set(sim->loop, &sim->end, clock_mono_ns() + options->seconds * NS_PER_S);
	return 0;
}

/* What was half started, too. The system closes the listeners. */
static void
sim_fini(struct sim *sim)
{
	while (sim->conns != NULL)
		conn_free(sim->conns);
	loop_free(sim->loop);
	for (size_t i = 0; i < sim->body_count; i++)
		sim_body_free(sim->bodies[i]);
	free(sim->sites);
}

static void
usage(FILE *out)
{
	fputs("usage: fleet_sim [-n 1000] [-metrics 200] [-base 20000] [-addresses] [-prometheus] "
	      "[-numbered]\n"
	      "    [-interval 10s] [-seconds S] [-write-config FILE] [-BEHAVIOUR K]...\n"
	      "K endpoints at the end of the range are bad:\n",
	    out);
	for (size_t b = GOOD + 1; b < BEHAVIOUR_COUNT; b++)
		fprintf(out, "  -%-8s %s\n", behaviours[b].name, behaviours[b].help);
}

/* Where the number of this flag belongs, or NULL. */
static int64_t *
number_of(struct options *options, struct str flag)
{
	if (str_eq(flag, STR("-n")))
		return &options->n;
	if (str_eq(flag, STR("-metrics")))
		return &options->metrics;
	if (str_eq(flag, STR("-base")))
		return &options->base;
	if (str_eq(flag, STR("-seconds")))
		return &options->seconds;
	for (size_t b = GOOD + 1; b < BEHAVIOUR_COUNT; b++)
		if (str_starts(flag, STR("-")) &&
		    str_eq(str_sub(flag, 1, flag.len), str_of(behaviours[b].name)))
			return &options->bad[b];
	return NULL;
}

static bool
options_parse(struct options *options, int argc, char **argv)
{
	int64_t bad = 0;

	*options = (struct options){
		.n = 1000, .metrics = 200, .base = 20000, .interval_ns = 10 * NS_PER_S
	};
	for (int i = 1; i < argc; i++) {
		struct str flag = str_of(argv[i]), value = str_of(argv[i + 1]);
		int64_t *number = number_of(options, flag);

		if (str_eq(flag, STR("-addresses"))) {
			options->addresses = true;
			continue;
		}
		if (str_eq(flag, STR("-prometheus"))) {
			options->prometheus = true;
			continue;
		}
		if (str_eq(flag, STR("-numbered"))) {
			options->numbered = true;
			continue;
		}
		i++;
		if (number != NULL && str_to_i64(value, number) && *number >= 0)
			continue;
		if (str_eq(flag, STR("-interval")) &&
		    conf_parse_duration(value, &options->interval_ns))
			continue;
		if (!str_eq(flag, STR("-write-config")) || value.len == 0)
			return false;
		options->config = value.p;
	}
	for (size_t b = GOOD + 1; b < BEHAVIOUR_COUNT; b++)
		bad += options->bad[b];
	return options->n >= 1 && options->n <= 100000 && bad <= options->n &&
	       options->metrics <= 1000000 && options->base >= 1 &&
	       options->base + (options->addresses ? 0 : options->n - 1) <= 65535;
}

int
main(int argc, char **argv)
{
	struct sim sim = { 0 };
	struct err err;

	if (!options_parse(&sim.options, argc, argv)) {
		usage(stderr);
		return 2;
	}
	if (sim_start(&sim, &err) != 0) {
		fprintf(stderr, "fleet_sim: %s\n", err.text);
		sim_fini(&sim);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	loop_run(sim.loop);
	report(&sim, true);
	sim_fini(&sim);
	return 0;
}
