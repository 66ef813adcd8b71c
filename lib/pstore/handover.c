#include "pstore/handover.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"

/* How often a wait looks whether it is to end. */
#define LOOK_NS (250 * NS_PER_MS)
/* What a server that should not answer may say before it counts as none. */
#define CHATTER_MOST ((size_t)64 * 1024)

struct wait {
	int64_t deadline_ns;
	const atomic_bool *stop;
};

/* The time until the next look; 0 when the wait is over, and err tells why. */
static int64_t
left_ns(const struct wait *wait, const char *what, struct err *err)
{
	int64_t left = wait->deadline_ns - clock_mono_ns();

	if (wait->stop != NULL && atomic_load(wait->stop))
		err_set(err, ERR_IO, "%s: stopped", what);
	else if (left <= 0)
		err_set(err, ERR_TIMEOUT, "%s: timed out", what);
	else
		return left < LOOK_NS ? left : LOOK_NS;
	return 0;
}

/* Names. The thread that looks one up may go on after nobody waits any more. */

struct lookup {
	struct lock lock;
	struct lock_cond cond;
	/* The lock. */
	bool done, abandoned;
	int rc;
	struct addrinfo *found;

	char *host, *port;
};

static void
lookup_free(struct lookup *l)
{
	if (l->found != NULL)
		freeaddrinfo(l->found);
	lock_cond_fini(&l->cond);
	lock_fini(&l->lock);
	free(l->host);
	free(l->port);
	free(l);
}

static int
ask(const char *host, const char *port, int flags, struct addrinfo **found)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
		.ai_flags = flags | AI_NUMERICSERV };

	*found = NULL;
	return getaddrinfo(host, port, &hints, found);
}

static void *
lookup_run(void *ctx)
{
	struct lookup *l = ctx;
	struct addrinfo *found;
	int rc = ask(l->host, l->port, AI_ADDRCONFIG, &found);
	bool abandoned;

	lock_take(&l->lock);
	l->rc = rc;
	l->found = found;
	l->done = true;
	abandoned = l->abandoned;
	lock_cond_signal(&l->cond);
	lock_drop(&l->lock);
	if (abandoned)
		lookup_free(l);
	return NULL;
}

static struct lookup *
lookup_start(const char *host, const char *port, struct err *err)
{
	struct lookup *l = calloc(1, sizeof(*l));
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	if (l == NULL) {
		err_nomem(err);
		return NULL;
	}
	lock_init(&l->lock, LOCK_lookup);
	lock_cond_init(&l->cond);
	l->host = strdup(host);
	l->port = strdup(port);
	if (l->host == NULL || l->port == NULL) {
		err_nomem(err);
		lookup_free(l);
		return NULL;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, lookup_run, l);
	pthread_attr_destroy(&attr);
	if (rc == 0)
		return l;
	err_errno(err, rc, "thread to look up %s", host);
	lookup_free(l);
	return NULL;
}

/* With the lock held: until it is done or the wait is over. */
static bool
lookup_wait(struct lookup *l, const struct wait *wait, struct err *err)
{
	while (!l->done) {
		int64_t ns = left_ns(wait, "address", err);

		if (ns == 0)
			return false;
		lock_cond_wait(&l->cond, &l->lock, clock_mono_ns() + ns);
	}
	return true;
}

/* NULL with err; else to be freed. */
static struct addrinfo *
look_up(const char *host, const char *port, const struct wait *wait, struct err *err)
{
	struct addrinfo *found;
	struct lookup *l;
	bool done;

	if (ask(host, port, AI_NUMERICHOST, &found) == 0)
		return found;
	l = lookup_start(host, port, err);
	if (l == NULL)
		return NULL;
	lock_take(&l->lock);
	done = lookup_wait(l, wait, err);
	l->abandoned = !done;
	lock_drop(&l->lock);
	if (!done)
		return NULL;
	found = l->found;
	l->found = NULL;
	if (found == NULL)
		err_set(err, ERR_IO, "address: %s", gai_strerror(l->rc));
	lookup_free(l);
	return found;
}

/* The connection. */

/* Until one of the events, or an error, is there. */
static int
wait_for(int fd, short events, const struct wait *wait, const char *what, struct err *err)
{
	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = events };
		int64_t ns = left_ns(wait, what, err);

		if (ns == 0)
			return -1;
		if (poll(&pfd, 1, (int)(ns / NS_PER_MS) + 1) > 0)
			return 0;
	}
}

static int
connect_one(const struct addrinfo *to, const struct wait *wait, struct err *err)
{
	int fd =
	    socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
	int error = 0;
	socklen_t len = sizeof(error);

	if (fd < 0) {
		err_errno(err, errno, "socket");
		return -1;
	}
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0)
		return fd;
	error = errno;
	if (error == EINPROGRESS) {
		if (wait_for(fd, POLLOUT, wait, "connect", err) != 0)
			goto failed;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error == 0)
			return fd;
	}
	err_errno(err, error, "connect");
failed:
	close(fd);
	return -1;
}

static int
connect_any(const struct addrinfo *all, const struct wait *wait, struct err *err)
{
	int fd = -1;

	for (const struct addrinfo *to = all; to != NULL && fd < 0; to = to->ai_next)
		fd = connect_one(to, wait, err);
	return fd;
}

static int
send_all(int fd, struct str bytes, const struct wait *wait, struct err *err)
{
	while (bytes.len > 0) {
		ssize_t n = send(fd, bytes.p, bytes.len, MSG_NOSIGNAL);

		if (n >= 0) {
			bytes = str_sub(bytes, (size_t)n, SIZE_MAX);
		} else if (errno != EAGAIN && errno != EINTR) {
			err_errno(err, errno, "send");
			return -1;
		} else if (wait_for(fd, POLLOUT, wait, "send", err) != 0) {
			return -1;
		}
	}
	return 0;
}

/*
 * The server has ended its side. If it did so before it had all, its kernel has not acknowledged
 * what came later, our end among it.
 */
static int
check_end(int fd, struct err *err)
{
	int unacknowledged;

	if (ioctl(fd, SIOCOUTQ, &unacknowledged) == 0 && unacknowledged == 0)
		return 0;
	err_set(err, ERR_IO, "closed before all was read");
	return -1;
}

static int
wait_for_end(int fd, const struct wait *wait, struct err *err)
{
	size_t chatter = 0;
	char bytes[512];

	while (chatter < CHATTER_MOST) {
		ssize_t n;

		if (wait_for(fd, POLLIN, wait, "wait until all is read", err) != 0)
			return -1;
		n = recv(fd, bytes, sizeof(bytes), 0);
		if (n == 0)
			return check_end(fd, err);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			err_errno(err, errno, "wait until all is read");
			return -1;
		}
		chatter += n > 0 ? (size_t)n : 0;
	}
	err_set(err, ERR_PROTO, "it answers, so it is no such server");
	return -1;
}

int
handover(const char *host, const char *port, struct str bytes, int64_t timeout_ns,
    const atomic_bool *stop, struct err *err)
{
	const struct wait wait = { clock_mono_ns() + timeout_ns, stop };
	struct addrinfo *found = look_up(host, port, &wait, err);
	int fd = -1, rc = -1;

	if (found == NULL)
		goto out;
	fd = connect_any(found, &wait, err);
	if (fd < 0 || send_all(fd, bytes, &wait, err) != 0)
		goto out;
	if (shutdown(fd, SHUT_WR) != 0) {
		err_errno(err, errno, "shutdown");
		goto out;
	}
	rc = wait_for_end(fd, &wait, err);
out:
	if (fd >= 0)
		close(fd);
	if (found != NULL)
		freeaddrinfo(found);
	if (rc != 0)
		err_wrap(err, "%s:%s", host, port);
	return rc;
}
