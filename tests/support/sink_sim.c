/*
 * sink_sim - servers of several kinds in one process, for writers to write the numbered samples of
 * fleet_sim to: they tally what arrives (tally.h), are down, and fail as told.
 *
 * Usage: sink_sim KIND:PORT ... Each listens on 127.0.0.1; of kind `file` there is only a tally,
 * and the port is 0. It prints "ready", then does what its input tells it to, and prints "ok" after
 * each line, below what the line asks for. N is the number of a sink, from 0 on.
 *
 *   down N, up N    nothing listens, what was connected is cut off
 *   fault N WHAT    one for each of the next requests:
 *     status C S      not taken, answered with status C; S > 0: Retry-After so many seconds
 *     silent 0 0      not taken, and never answered
 *     reset 0 0       not taken, reset in the middle
 *     half 0 0        taken (carbon: in part), half an answer, closed
 *     close 0 0       taken, closed without an answer
 *     drip MS 0       taken, answered byte by byte, so far apart
 *     late MS 0       taken, answered after that time
 *   delay N MS      every answer comes after up to so long
 *   figures N       requests=N connections=N faults=N (to come) and what tally_print prints
 *   gaps N, last N  see tally.h
 *   read N PATH     adds what is in a file
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "sink_text.h"

#define SINKS_MAX  16
#define FAULTS_MAX 64
#define READ_BYTES ((size_t)256 * 1024)
#define PART_BYTES ((size_t)1000) /* of what carbon reads of a part */

enum fault_kind { NONE, STATUS, SILENT, RESET, HALF, CLOSE, DRIP, LATE, FAULT_COUNT };

static const char *const fault_names[FAULT_COUNT] = {
	[NONE] = "",
	[STATUS] = "status",
	[SILENT] = "silent",
	[RESET] = "reset",
	[HALF] = "half",
	[CLOSE] = "close",
	[DRIP] = "drip",
	[LATE] = "late",
};

struct fault {
	enum fault_kind kind;
	unsigned number, seconds;
};

struct conn;

struct sink {
	enum sink_kind kind;
	uint16_t port;
	pthread_mutex_t lock; /* all below */
	pthread_cond_t gone;  /* a thread ended */
	unsigned threads;
	int listener; /* -1 = down */
	struct conn *conns;
	struct tally *tally;
	struct fault faults[FAULTS_MAX]; /* the next first */
	size_t fault_len;
	unsigned delay_ms, requests, connections;
};

/* A connection, with a thread of its own. */
struct conn {
	struct sink *sink;
	struct conn *next, *prev;
	int fd;
	struct buf in;
};

static _Noreturn void
die(const char *what)
{
	fprintf(stderr, "sink_sim: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void
sleep_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * NS_PER_MS };

	nanosleep(&t, NULL);
}

/* At most so many bytes. False when there is nothing more to come. */
static bool
read_more(struct conn *conn, size_t most)
{
	ssize_t n;

	if (!buf_reserve(&conn->in, most))
		die("memory");
	n = recv(conn->fd, conn->in.p + conn->in.len, most, 0);
	if (n > 0)
		conn->in.len += (size_t)n;
	return n > 0;
}

static bool
send_text(struct conn *conn, const char *text)
{
	size_t len = strlen(text);

	return send(conn->fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* How many bytes of it could be read. */
static size_t
take(struct sink *sink, struct str body)
{
	size_t n;

	pthread_mutex_lock(&sink->lock);
	n = sink_text_read(sink->kind, body, sink->tally);
	pthread_mutex_unlock(&sink->lock);
	return n;
}

static struct fault
next_fault(struct sink *sink)
{
	struct fault fault = { NONE, 0, 0 };

	pthread_mutex_lock(&sink->lock);
	sink->requests++;
	if (sink->fault_len > 0) {
		fault = sink->faults[0];
		sink->fault_len--;
		memmove(sink->faults, sink->faults + 1, sink->fault_len * sizeof(fault));
	} else if (sink->delay_ms > 0) {
		fault = (struct fault){ LATE, (unsigned)rand() % sink->delay_ms, 0 };
	}
	pthread_mutex_unlock(&sink->lock);
	return fault;
}

static void
reset_at_close(struct conn *conn)
{
	struct linger linger = { 1, 0 };

	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static void
wait_until_gone(struct conn *conn)
{
	char byte[4096];

	while (recv(conn->fd, byte, sizeof(byte), 0) > 0)
		;
}

/* Servers of HTTP. */

#define GOOD_ANSWER "HTTP/1.1 204 No Content\r\n\r\n"

static size_t
content_length(const char *head)
{
	const char *at = strcasestr(head, "\r\nContent-Length:");

	return at == NULL ? 0 : strtoul(at + strlen("\r\nContent-Length:"), NULL, 10);
}

/* Bytes of the head of the next request, once all of that is there; 0 at the end. */
static size_t
read_head(struct conn *conn)
{
	const char *end;

	for (;;) {
		end = conn->in.len == 0 ? NULL : memmem(conn->in.p, conn->in.len, "\r\n\r\n", 4);
		if (end != NULL)
			return (size_t)(end + 4 - conn->in.p);
		if (!read_more(conn, READ_BYTES))
			return 0;
	}
}

/* The body of the next request at the begin of what was read. False when there is none. */
static bool
read_request(struct conn *conn, size_t *len)
{
	size_t head_len = read_head(conn);

	if (head_len == 0)
		return false;
	conn->in.p[head_len - 1] = '\0';
	*len = content_length(conn->in.p);
	if (strcasestr(conn->in.p, "\r\nExpect:") != NULL &&
	    !send_text(conn, "HTTP/1.1 100 Continue\r\n\r\n"))
		return false;
	buf_drop(&conn->in, head_len);
	while (conn->in.len < *len) {
		if (!read_more(conn, READ_BYTES))
			return false;
	}
	return true;
}

static bool
send_status(struct conn *conn, const struct fault *fault)
{
	char text[200], retry[60] = "";

	if (fault->seconds > 0)
		snprintf(retry, sizeof(retry), "Retry-After: %u\r\n", fault->seconds);
	snprintf(text, sizeof(text), "HTTP/1.1 %u Fault\r\n%sContent-Length: 4\r\n\r\nno.\n",
	    fault->number, retry);
	return send_text(conn, text);
}

static bool
send_drip(struct conn *conn, unsigned ms)
{
	for (const char *p = GOOD_ANSWER; *p != '\0'; p++) {
		const char byte[] = { *p, '\0' };

		sleep_ms(ms);
		if (!send_text(conn, byte))
			return false;
	}
	return true;
}

/* False when the connection is to be closed. */
static bool
answer_request(struct conn *conn, struct str body)
{
	struct fault fault = next_fault(conn->sink);

	switch (fault.kind) {
	case STATUS:
		return send_status(conn, &fault);
	case SILENT:
		wait_until_gone(conn);
		return false;
	case RESET:
		reset_at_close(conn);
		return false;
	case NONE:
	case HALF:
	case CLOSE:
	case DRIP:
	case LATE:
	case FAULT_COUNT:
		break;
	}
	if (take(conn->sink, body) + strlen("]") < body.len)
		die("body"); /* no way to go on: it is our test that is wrong, or the writer */
	switch (fault.kind) {
	case HALF:
		send_text(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
		return false;
	case CLOSE:
		return false;
	case DRIP:
		return send_drip(conn, fault.number);
	case LATE:
		sleep_ms(fault.number);
		break;
	case NONE:
	case STATUS:
	case SILENT:
	case RESET:
	case FAULT_COUNT:
		break;
	}
	return send_text(conn, GOOD_ANSWER);
}

static void
serve_http(struct conn *conn)
{
	size_t len;

	while (read_request(conn, &len)) {
		bool goes_on = answer_request(conn, str_sub(buf_view(&conn->in), 0, len));

		buf_drop(&conn->in, len);
		if (!goes_on)
			return;
	}
}

/* Carbon reads lines, and closes at the end of the other side. */
static void
serve_lines(struct conn *conn)
{
	struct fault fault = next_fault(conn->sink);
	bool in_part = fault.kind == HALF || fault.kind == RESET;

	if (fault.kind == CLOSE)
		return;
	if (fault.kind == SILENT) {
		sleep_ms(fault.number);
		return;
	}
	while (read_more(conn, in_part ? PART_BYTES : READ_BYTES)) {
		buf_drop(&conn->in, take(conn->sink, buf_view(&conn->in)));
		if (in_part)
			break;
	}
	if (fault.kind == RESET)
		reset_at_close(conn);
	else if (fault.kind == LATE)
		sleep_ms(fault.number);
}

static void
conn_close(struct conn *conn)
{
	struct sink *sink = conn->sink;

	pthread_mutex_lock(&sink->lock);
	if (conn->next != NULL)
		conn->next->prev = conn->prev;
	if (conn->prev != NULL)
		conn->prev->next = conn->next;
	else
		sink->conns = conn->next;
	close(conn->fd);
	sink->threads--;
	pthread_cond_signal(&sink->gone);
	pthread_mutex_unlock(&sink->lock);
	buf_fini(&conn->in);
	free(conn);
}

static void *
conn_run(void *arg)
{
	struct conn *conn = arg;

	if (conn->sink->kind == SINK_GRAPHITE)
		serve_lines(conn);
	else
		serve_http(conn);
	conn_close(conn);
	return NULL;
}

/* Sinks. */

/* With the lock held. */
static void
start_thread(struct sink *sink, void *(*run)(void *), void *arg)
{
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	if (pthread_create(&thread, &attr, run, arg) != 0)
		die("thread");
	pthread_attr_destroy(&attr);
	sink->threads++;
}

/* A connection that came; -1: one that is gone already. False when the sink is down. */
static bool
sink_accepted(struct sink *sink, int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));
	bool is_up;
	int on = 1;

	if (conn == NULL)
		die("memory");
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	conn->sink = sink;
	conn->fd = fd;
	buf_init(&conn->in, 0);
	pthread_mutex_lock(&sink->lock);
	is_up = sink->listener >= 0;
	if (is_up && fd >= 0) {
		sink->connections++;
		conn->next = sink->conns;
		if (conn->next != NULL)
			conn->next->prev = conn;
		sink->conns = conn;
		start_thread(sink, conn_run, conn);
	}
	pthread_mutex_unlock(&sink->lock);
	if (!is_up && fd >= 0)
		close(fd);
	if (!is_up || fd < 0)
		free(conn);
	return is_up;
}

static void *
sink_listen(void *arg)
{
	struct sink *sink = arg;
	int listener, fd;

	pthread_mutex_lock(&sink->lock);
	listener = sink->listener;
	pthread_mutex_unlock(&sink->lock);
	do
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	while (sink_accepted(sink, fd));
	close(listener);
	pthread_mutex_lock(&sink->lock);
	sink->threads--;
	pthread_cond_signal(&sink->gone);
	pthread_mutex_unlock(&sink->lock);
	return NULL;
}

static void
sink_up(struct sink *sink)
{
	struct sockaddr_in addr = { .sin_family = AF_INET,
		.sin_port = htons(sink->port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (const struct sockaddr *)(const void *)&addr, sizeof(addr)) != 0 ||
	    listen(fd, SOMAXCONN) != 0)
		die("listen");
	pthread_mutex_lock(&sink->lock);
	sink->listener = fd;
	start_thread(sink, sink_listen, sink);
	pthread_mutex_unlock(&sink->lock);
}

static void
sink_down(struct sink *sink)
{
	pthread_mutex_lock(&sink->lock);
	shutdown(sink->listener, SHUT_RDWR);
	sink->listener = -1;
	for (struct conn *conn = sink->conns; conn != NULL; conn = conn->next)
		shutdown(conn->fd, SHUT_RDWR);
	while (sink->threads > 0)
		pthread_cond_wait(&sink->gone, &sink->lock);
	pthread_mutex_unlock(&sink->lock);
}

static void
sink_new(struct sink *sink, const char *arg)
{
	const char *colon = strchr(arg, ':');

	if (colon == NULL)
		die("KIND:PORT");
	while (strncmp(arg, sink_kind_names[sink->kind], (size_t)(colon - arg)) != 0) {
		if (++sink->kind == SINK_KIND_COUNT)
			die("kind");
	}
	sink->port = (uint16_t)strtoul(colon + 1, NULL, 10);
	pthread_mutex_init(&sink->lock, NULL);
	pthread_cond_init(&sink->gone, NULL);
	sink->listener = -1;
	sink->tally = tally_new();
	if (sink->kind != SINK_FILE)
		sink_up(sink);
}

static void
read_file(struct sink *sink, const char *path)
{
	FILE *file = fopen(path, "re");
	struct buf text;
	size_t n;

	if (file == NULL)
		die(path);
	buf_init(&text, 0);
	do {
		if (!buf_reserve(&text, READ_BYTES))
			die("memory");
		n = fread(text.p + text.len, 1, READ_BYTES, file);
		text.len += n;
		buf_drop(&text, sink_text_read(sink->kind, buf_view(&text), sink->tally));
	} while (n > 0);
	if (text.len > 0)
		tally_stray(sink->tally, buf_view(&text));
	buf_fini(&text);
	fclose(file);
}

/* Commands. */

static void
add_fault(struct sink *sink, const char *name, unsigned number, unsigned seconds)
{
	struct fault fault = { STATUS, number, seconds };

	while (strcmp(name, fault_names[fault.kind]) != 0) {
		if (++fault.kind == FAULT_COUNT)
			die(name);
	}
	if (sink->fault_len == FAULTS_MAX)
		die("too many faults");
	sink->faults[sink->fault_len++] = fault;
}

/* What needs the lock. */
static void
tell(struct sink *sink, const char *verb, const char *text, unsigned first, unsigned second)
{
	if (strcmp(verb, "fault") == 0) {
		add_fault(sink, text, first, second);
	} else if (strcmp(verb, "delay") == 0) {
		sink->delay_ms = (unsigned)strtoul(text, NULL, 10);
	} else if (strcmp(verb, "figures") == 0) {
		printf("requests=%u connections=%u faults=%zu ", sink->requests, sink->connections,
		    sink->fault_len);
		tally_print(sink->tally, stdout);
	} else if (strcmp(verb, "gaps") == 0) {
		tally_print_gaps(sink->tally, stdout);
	} else if (strcmp(verb, "last") == 0) {
		tally_print_last(sink->tally, stdout);
	} else if (strcmp(verb, "read") == 0) {
		read_file(sink, text);
	} else {
		die(verb);
	}
}

static void
do_line(struct sink *sinks, unsigned count, const char *line)
{
	char verb[20] = "", text[4000] = "";
	unsigned n = 0, first = 0, second = 0;

	if (sscanf(line, "%19s %u %3999s %u %u", verb, &n, text, &first, &second) < 2 || n >= count)
		die(line);
	if (strcmp(verb, "down") == 0) {
		sink_down(&sinks[n]);
	} else if (strcmp(verb, "up") == 0) {
		sink_up(&sinks[n]);
	} else {
		pthread_mutex_lock(&sinks[n].lock);
		tell(&sinks[n], verb, text, first, second);
		pthread_mutex_unlock(&sinks[n].lock);
	}
}

int
main(int argc, char **argv)
{
	static struct sink sinks[SINKS_MAX];
	unsigned count = (unsigned)argc - 1;
	char line[4096];

	if (argc < 2 || count > SINKS_MAX) {
		fprintf(stderr, "usage: sink_sim KIND:PORT ...\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOFBF, 0);
	for (unsigned i = 0; i < count; i++)
		sink_new(&sinks[i], argv[i + 1]);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL) {
		do_line(sinks, count, line);
		puts("ok");
		fflush(stdout);
	}
	_exit(0); /* threads are still about */
}
