#include "api/connections_priv.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <linux/sockios.h>

#include "base/clock.h"
#include "base/lock.h"

/* The thread looks no oftener than this, however close deadlines lie. */
#define LOOK_EVERY_NS (10 * NS_PER_MS)

enum phase {
	PHASE_FRESH,   /* connected, nothing complete yet */
	PHASE_RESTING, /* between two requests */
	PHASE_HEAD,
	PHASE_ANSWERING, /* the head is there: body, handler, answer */
};

struct peer { /* all under the table's lock but sent_bytes */
	struct peer *next, *prev;
	int fd;
	enum phase phase;
	bool cut;
	int64_t request_ns; /* when the request began */
	int64_t deadline_ns;
	_Atomic uint64_t sent_bytes; /* of answers, given to the socket since it connected */
	uint64_t taken_bytes;        /* of those, what the client had taken at seen_ns */
	int64_t seen_ns;             /* when its pace was last looked at; 0 = not yet */
};

struct connections {
	struct connections_conf conf;
	struct lock lock;
	struct lock_cond wake; /* the thread: an earlier deadline, or the end */
	struct lock_cond gone; /* connections_drain: somebody was cut or left */
	struct peer *first;
	size_t uncut;    /* peers that were not cut */
	int64_t wake_ns; /* when the thread looks next */
	bool draining, stopping;
	bool started;
	pthread_t thread;
	_Atomic size_t count;
	_Atomic uint64_t refused, cut;
};

struct connections *
connections_new(const struct connections_conf *conf, struct err *err)
{
	struct connections *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		err_nomem(err);
		return NULL;
	}
	c->conf = *conf;
	c->wake_ns = INT64_MAX;
	lock_init(&c->lock, LOCK_connections);
	lock_cond_init(&c->wake);
	lock_cond_init(&c->gone);
	return c;
}

static void
cut(struct connections *c, struct peer *peer)
{
	if (peer->cut)
		return;
	peer->cut = true;
	peer->deadline_ns = INT64_MAX;
	shutdown(peer->fd, SHUT_RDWR);
	c->uncut--;
	lock_cond_signal(&c->gone);
}

static void
set_deadline(struct connections *c, struct peer *peer, int64_t deadline_ns)
{
	if (peer->cut)
		return;
	peer->deadline_ns = deadline_ns;
	if (deadline_ns < c->wake_ns)
		lock_cond_signal(&c->wake);
}

/*
 * What the client's side has acknowledged: the socket may hold megabytes that are sent only as far
 * as we are concerned.
 */
static uint64_t
taken_bytes(const struct peer *peer)
{
	uint64_t sent = atomic_load_explicit(&peer->sent_bytes, memory_order_relaxed);
	int queued = 0;

	if (ioctl(peer->fd, SIOCOUTQ, &queued) != 0 || queued < 0)
		queued = 0;
	return sent > (unsigned)queued ? sent - (unsigned)queued : 0;
}

/* How long a client's pace is looked at: 15 s as a rule, as TCP opens closed windows in jumps. */
static int64_t
pace_ns(const struct connections *c)
{
	return c->conf.request_timeout_ns / 4;
}

/*
 * Of a peer whose deadline is there: true if it has another one, as its pace was only to be noted
 * for that, or as it takes its answer fast enough.
 */
static bool
may_go_on(struct connections *c, struct peer *peer, int64_t now_ns)
{
	uint64_t taken = taken_bytes(peer);
	double bytes = (double)taken - (double)peer->taken_bytes;
	double span_s = (double)(now_ns - peer->seen_ns) / (double)NS_PER_S;
	bool first = peer->seen_ns == 0;

	if (peer->phase != PHASE_ANSWERING || (!first && bytes < span_s * ANSWER_BYTES_PER_S))
		return false;
	peer->taken_bytes = taken;
	peer->seen_ns = now_ns;
	peer->deadline_ns =
	    first ? peer->request_ns + c->conf.request_timeout_ns : now_ns + pace_ns(c);
	return true;
}

/* With the lock held. */
static int64_t
cut_late(struct connections *c, int64_t now_ns)
{
	int64_t next_ns = INT64_MAX;

	for (struct peer *peer = c->first; peer != NULL; peer = peer->next) {
		if (peer->deadline_ns <= now_ns && !may_go_on(c, peer, now_ns)) {
			cut(c, peer);
			atomic_fetch_add(&c->cut, 1);
		}
		if (peer->deadline_ns < next_ns)
			next_ns = peer->deadline_ns;
	}
	return next_ns;
}

int64_t
connections_cut_late(struct connections *c, int64_t now_ns)
{
	int64_t next_ns;

	lock_take(&c->lock);
	next_ns = cut_late(c, now_ns);
	lock_drop(&c->lock);
	return next_ns;
}

static void *
run(void *arg)
{
	struct connections *c = arg;

	lock_take(&c->lock);
	while (!c->stopping) {
		int64_t now_ns = clock_mono_ns();
		int64_t next_ns = cut_late(c, now_ns);

		c->wake_ns = next_ns < now_ns + LOOK_EVERY_NS ? now_ns + LOOK_EVERY_NS : next_ns;
		lock_cond_wait(&c->wake, &c->lock, c->wake_ns);
	}
	lock_drop(&c->lock);
	return NULL;
}

int
connections_start(struct connections *c, struct err *err)
{
	int rc = pthread_create(&c->thread, NULL, run, c);

	if (rc != 0) {
		err_errno(err, rc, "start the thread that watches connections");
		return -1;
	}
	c->started = true;
	return 0;
}

void
connections_free(struct connections *c)
{
	if (c == NULL)
		return;
	if (c->started) {
		lock_take(&c->lock);
		c->stopping = true;
		lock_cond_signal(&c->wake);
		lock_drop(&c->lock);
		pthread_join(c->thread, NULL);
	}
	lock_cond_fini(&c->gone);
	lock_cond_fini(&c->wake);
	lock_fini(&c->lock);
	free(c);
}

bool
connections_have_room(struct connections *c)
{
	if (atomic_load(&c->count) < c->conf.limit)
		return true;
	atomic_fetch_add(&c->refused, 1);
	return false;
}

struct peer *
peer_add(struct connections *c, int fd, int64_t now_ns)
{
	struct peer *peer = calloc(1, sizeof(*peer));

	if (peer == NULL)
		return NULL;
	peer->fd = fd;
	peer->phase = PHASE_FRESH;
	peer->request_ns = now_ns;
	atomic_fetch_add(&c->count, 1);
	lock_take(&c->lock);
	peer->next = c->first;
	if (c->first != NULL)
		c->first->prev = peer;
	c->first = peer;
	c->uncut++;
	set_deadline(c, peer, now_ns + c->conf.head_timeout_ns);
	if (c->draining)
		cut(c, peer);
	lock_drop(&c->lock);
	return peer;
}

void
peer_remove(struct connections *c, struct peer *peer)
{
	lock_take(&c->lock);
	if (peer->next != NULL)
		peer->next->prev = peer->prev;
	if (peer->prev != NULL)
		peer->prev->next = peer->next;
	else
		c->first = peer->next;
	if (!peer->cut)
		c->uncut--;
	lock_cond_signal(&c->gone);
	lock_drop(&c->lock);
	atomic_fetch_sub(&c->count, 1);
	free(peer);
}

void
peer_begins(struct connections *c, struct peer *peer, int64_t now_ns)
{
	lock_take(&c->lock);
	/* A fresh connection's time runs since it was made. */
	if (peer->phase == PHASE_RESTING) {
		peer->request_ns = now_ns;
		set_deadline(c, peer, now_ns + c->conf.head_timeout_ns);
	}
	peer->phase = PHASE_HEAD;
	lock_drop(&c->lock);
}

void
peer_head_done(struct connections *c, struct peer *peer)
{
	lock_take(&c->lock);
	peer->phase = PHASE_ANSWERING;
	peer->seen_ns = 0;
	set_deadline(c, peer, peer->request_ns + c->conf.request_timeout_ns - pace_ns(c));
	lock_drop(&c->lock);
}

void
peer_sent(struct peer *peer, size_t bytes)
{
	atomic_fetch_add_explicit(&peer->sent_bytes, bytes, memory_order_relaxed);
}

void
peer_rests(struct connections *c, struct peer *peer, int64_t now_ns)
{
	lock_take(&c->lock);
	peer->phase = PHASE_RESTING;
	if (c->draining)
		cut(c, peer);
	set_deadline(c, peer, now_ns + c->conf.request_timeout_ns);
	lock_drop(&c->lock);
}

void
connections_drain(struct connections *c, int64_t deadline_ns)
{
	bool in_time = true;

	lock_take(&c->lock);
	c->draining = true;
	for (struct peer *peer = c->first; peer != NULL; peer = peer->next) {
		if (peer->phase == PHASE_FRESH || peer->phase == PHASE_RESTING)
			cut(c, peer);
	}
	while (c->uncut > 0 && in_time)
		in_time = lock_cond_wait(&c->gone, &c->lock, deadline_ns);
	for (struct peer *peer = c->first; peer != NULL; peer = peer->next)
		cut(c, peer);
	lock_drop(&c->lock);
}

void
connections_get_stats(struct connections *c, struct connections_stats *out)
{
	*out = (struct connections_stats){
		.count = atomic_load(&c->count),
		.refused = atomic_load(&c->refused),
		.cut = atomic_load(&c->cut),
	};
}
