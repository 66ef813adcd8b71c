#include "record.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define INTERVAL_NS (100 * NS_PER_MS)
/* To be up and answer. */
#define START_NS       (10 * NS_PER_S)
#define MOST_DOC_BYTES (64 * 1024 * 1024)

static void
pause_ns(int64_t ns)
{
	struct timespec wait = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

	while (ns > 0 && nanosleep(&wait, &wait) != 0)
		continue;
}

static struct sockaddr_in
loopback(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
		.sin_port = htons(port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

/* A port that was free a moment ago; 0 if there is none. */
static uint16_t
free_port(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint16_t port = 0;

	if (fd >= 0 && bind(fd, (struct sockaddr *)&address, len) == 0 &&
	    getsockname(fd, (struct sockaddr *)&address, &len) == 0)
		port = ntohs(address.sin_port);
	if (fd >= 0)
		close(fd);
	return port;
}

/* The whole answer, head and body. HTTP/1.0: it ends when the server closes the connection. */
static int
ask(uint16_t port, struct buf *answer, struct err *err)
{
	static const char request[] = "GET /metricsapi/ HTTP/1.0\r\nHost: localhost\r\n\r\n";
	struct sockaddr_in address = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ssize_t n = -1;

	buf_clear(answer);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    write(fd, request, sizeof(request) - 1) != (ssize_t)sizeof(request) - 1)
		goto out;
	while (buf_reserve(answer, 65536) &&
	       (n = read(fd, &answer->p[answer->len], answer->cap - answer->len)) > 0)
		answer->len += (size_t)n;
out:
	if (answer->failed)
		err_nomem(err);
	else if (n != 0)
		err_errno(err, errno, "ask scottyd on port %u", port);
	if (fd >= 0)
		close(fd);
	return n == 0 ? 0 : -1;
}

/* Appends the body of the answer. */
static int
write_document(FILE *out, const struct buf *answer, struct err *err)
{
	static const char end_of_head[] = "\r\n\r\n";
	const char *head_end = memmem(answer->p, answer->len, end_of_head, 4);
	struct str body;

	if (head_end == NULL || answer->len < 12 || memcmp(answer->p + 8, " 200", 4) != 0) {
		err_set(err, ERR_PROTO, "scottyd does not answer with its metrics");
		return -1;
	}
	body = str_sub(buf_view(answer), (size_t)(head_end + 4 - answer->p), answer->len);
	fprintf(out, "%zu\n", body.len);
	if (fwrite(body.p, 1, body.len, out) != body.len) {
		err_errno(err, errno, "write document");
		return -1;
	}
	return 0;
}

static int
record(FILE *out, uint16_t port, unsigned seconds, struct err *err)
{
	int64_t start_ns = clock_mono_ns(), next_ns;
	struct buf answer;
	int rc;

	buf_init(&answer, MOST_DOC_BYTES);
	while ((rc = ask(port, &answer, err)) != 0 && clock_mono_ns() < start_ns + START_NS)
		pause_ns(INTERVAL_NS);
	start_ns = next_ns = clock_mono_ns();
	while (rc == 0 && next_ns < start_ns + seconds * NS_PER_S) {
		rc = ask(port, &answer, err);
		if (rc == 0)
			rc = write_document(out, &answer, err);
		next_ns += INTERVAL_NS;
		pause_ns(next_ns - clock_mono_ns());
	}
	buf_fini(&answer);
	return rc;
}

/* In the child. The configuration is a file in memory that the program inherits. */
static void
become_scottyd(uint16_t port)
{
	char program[4096], config[32];
	int fd = memfd_create("scottyd.yaml", 0);
	ssize_t len = readlink("/proc/self/exe", program, sizeof(program) - sizeof("scottyd"));
	char *slash;

	program[len < 0 ? 0 : len] = '\0';
	slash = strrchr(program, '/');
	if (slash == NULL || fd < 0)
		_exit(127);
	strcpy(slash + 1, "scottyd");
	snprintf(config, sizeof(config), "/proc/self/fd/%d", fd);
	dprintf(fd,
	    "listen: 127.0.0.1:%u\nstateDir: \"\"\nmdbFile: \"\"\nendpoints:\n"
	    "  - {host: localhost, app: scotty, source: self, interval: 100ms}\n",
	    port);
	execl(program, program, "-config", config, (char *)NULL);
	_exit(127);
}

int
record_scottyd(const char *file, unsigned seconds, struct err *err)
{
	uint16_t port = free_port();
	FILE *out = fopen(file, "w");
	pid_t child;
	int rc = -1;

	if (out == NULL || port == 0 || (child = fork()) < 0) {
		err_errno(err, errno, "record to %s", file);
		goto out;
	}
	if (child == 0)
		become_scottyd(port);
	rc = record(out, port, seconds, err);
	kill(child, SIGTERM);
	waitpid(child, NULL, 0);
out:
	if (out != NULL && fclose(out) != 0 && rc == 0) {
		err_errno(err, errno, "write %s", file);
		rc = -1;
	}
	return rc;
}

bool
record_next(FILE *in, struct buf *out)
{
	size_t len;

	buf_clear(out);
	if (fscanf(in, "%zu", &len) != 1 || getc(in) != '\n' || len > MOST_DOC_BYTES ||
	    !buf_reserve(out, len + 1) || fread(out->p, 1, len, in) != len)
		return false;
	out->p[len] = '\0';
	out->len = len;
	return true;
}
