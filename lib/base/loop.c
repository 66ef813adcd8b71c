#include "base/loop.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"

/* As many events as one turn takes from the kernel; the rest come with the next turn. */
#define EVENTS_PER_TURN 256

/* How often tasks that were deferred by deferred tasks are called before others get their turn. */
#define DEFERRED_ROUNDS 4

struct task_list {
	struct loop_task *first, *last;
};

struct loop {
	int epoll_fd;
	int wake_fd; /* an eventfd, written by other threads */

	/* The loop's thread. */
	int64_t mono_ns, real_ns, stamp_ns;
	uint64_t turn_count;
	bool clock_stands; /* loop_set_clock was called */
	bool turning;
	bool calling_timers;
	struct loop_timer *timers; /* root of the heap */
	struct loop_timer *later;  /* another heap: set by a timer, so for the next turn */
	struct epoll_event events[EVENTS_PER_TURN];
	int event_next, event_count;
	struct task_list deferred, deferred_now; /* the latter are being called */

	struct lock lock;        /* for all below and the `posted` of every task */
	struct task_list posted; /* for the next turn */
	struct task_list now;    /* for this turn */
	/*
	 * Changed with the lock held. Read by the loop's thread without it, as it does several
	 * times a turn: what it misses has written wake_fd by then, so the next turn sees it.
	 */
	_Atomic bool woken; /* wake_fd was written since posted was last taken */
	_Atomic bool stopped;
};

static int
fail(struct err *err, const char *what)
{
	err_errno(err, errno, "%s", what);
	return -1;
}

static int
open_fds(struct loop *loop, struct err *err)
{
	/* Edge-triggered, so that it need not be read: each write is an event of its own. */
	struct epoll_event wake = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };

	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		return fail(err, "epoll_create");
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		return fail(err, "eventfd");
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) != 0)
		return fail(err, "epoll_ctl of an eventfd");
	return 0;
}

/*
 * A wall clock that was set back, or stands still, is waited for at half speed, so that stamps go
 * on meanwhile.
 */
static void
set_clocks(struct loop *loop, int64_t mono_ns, int64_t real_ns)
{
	if (real_ns > loop->stamp_ns)
		loop->stamp_ns = real_ns;
	else
		loop->stamp_ns += (mono_ns - loop->mono_ns) / 2;
	loop->mono_ns = mono_ns;
	loop->real_ns = real_ns;
}

static void
read_clocks(struct loop *loop)
{
	if (!loop->clock_stands)
		set_clocks(loop, clock_mono_ns(), clock_real_ns());
}

struct loop *
loop_new(struct err *err)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL) {
		err_nomem(err);
		return NULL;
	}
	loop->epoll_fd = loop->wake_fd = -1;
	lock_init(&loop->lock, LOCK_loop);
	if (open_fds(loop, err) != 0) {
		loop_free(loop);
		return NULL;
	}
	read_clocks(loop);
	return loop;
}

void
loop_free(struct loop *loop)
{
	if (loop == NULL)
		return;
	assert(!loop->turning);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	lock_fini(&loop->lock);
	free(loop);
}

uint64_t
loop_turn_count(const struct loop *loop)
{
	return loop->turn_count;
}

bool
loop_is_behind(const struct loop *loop)
{
	return loop->event_count == EVENTS_PER_TURN;
}

int64_t
loop_now_ns(const struct loop *loop)
{
	return loop->mono_ns;
}

int64_t
loop_real_ns(const struct loop *loop)
{
	return loop->real_ns;
}

int64_t
loop_stamp_ns(const struct loop *loop)
{
	return loop->stamp_ns;
}

void
loop_set_clock(struct loop *loop, int64_t mono_ns, int64_t real_ns)
{
	if (!loop->clock_stands)
		loop->stamp_ns = INT64_MIN; /* what the real clocks said does not count */
	loop->clock_stands = true;
	set_clocks(loop, mono_ns, real_ns);
}

/* Deferred tasks: called after each callback, so that no other comes between. */

static void
tasks_append(struct task_list *list, struct loop_task *t)
{
	t->next = NULL;
	if (list->first == NULL)
		list->first = t;
	else
		list->last->next = t;
	list->last = t;
}

/* True if it was there. */
static bool
tasks_remove(struct task_list *list, struct loop_task *t)
{
	struct loop_task *before = NULL;

	for (struct loop_task *at = list->first; at != t; at = at->next) {
		if (at == NULL)
			return false;
		before = at;
	}
	if (before == NULL)
		list->first = t->next;
	else
		before->next = t->next;
	if (list->last == t)
		list->last = before;
	return true;
}

void
loop_defer(struct loop *loop, struct loop_task *t)
{
	assert(t->fn != NULL);
	if (t->deferred)
		return;
	t->deferred = true;
	tasks_append(&loop->deferred, t);
}

static void
call_deferred(struct loop *loop)
{
	for (int round = 0; round < DEFERRED_ROUNDS && loop->deferred.first != NULL; round++) {
		struct loop_task *t;

		loop->deferred_now = loop->deferred;
		loop->deferred = (struct task_list){ NULL, NULL };
		while ((t = loop->deferred_now.first) != NULL) {
			loop->deferred_now.first = t->next;
			t->deferred = false;
			t->fn(t);
		}
	}
}

/* File descriptors. */

static int
control(struct loop *loop, int op, struct loop_fd *h)
{
	struct epoll_event event = { .data.ptr = h };

	if ((h->events & LOOP_READ) != 0)
		event.events |= EPOLLIN;
	if ((h->events & LOOP_WRITE) != 0)
		event.events |= EPOLLOUT;
	return epoll_ctl(loop->epoll_fd, op, h->fd, &event);
}

int
loop_fd_add(struct loop *loop, struct loop_fd *h, unsigned events, struct err *err)
{
	assert(!h->added && h->fn != NULL && (events & ~(LOOP_READ | LOOP_WRITE)) == 0);
	h->events = events;
	if (control(loop, EPOLL_CTL_ADD, h) != 0) {
		err_errno(err, errno, "epoll_ctl of fd %d", h->fd);
		return -1;
	}
	h->added = true;
	return 0;
}

void
loop_fd_set(struct loop *loop, struct loop_fd *h, unsigned events)
{
	int rc;

	assert(h->added && (events & ~(LOOP_READ | LOOP_WRITE)) == 0);
	h->events = events;
	rc = control(loop, EPOLL_CTL_MOD, h);
	/* libcurl closes a connection and opens another of the same number without a word. */
	if (rc != 0 && errno == ENOENT)
		rc = control(loop, EPOLL_CTL_ADD, h);
	if (rc != 0)
		log_error("loop", "epoll_ctl of fd %d: errno=%d", h->fd, errno);
}

void
loop_fd_del(struct loop *loop, struct loop_fd *h)
{
	if (!h->added)
		return;
	h->added = false;
	/* Fails only if the fd is closed already, which is as good. */
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, h->fd, NULL);
	for (int i = loop->event_next; i < loop->event_count; i++) {
		if (loop->events[i].data.ptr == h)
			loop->events[i].data.ptr = NULL;
	}
}

static unsigned
events_of(uint32_t epoll_events)
{
	unsigned events = 0;

	if ((epoll_events & EPOLLIN) != 0)
		events |= LOOP_READ;
	if ((epoll_events & EPOLLOUT) != 0)
		events |= LOOP_WRITE;
	if ((epoll_events & (EPOLLERR | EPOLLHUP)) != 0)
		events |= LOOP_ERROR;
	return events;
}

static void
call_fds(struct loop *loop)
{
	while (loop->event_next < loop->event_count) {
		const struct epoll_event *event = &loop->events[loop->event_next++];
		struct loop_fd *h = event->data.ptr;
		unsigned events;

		if (h == NULL) /* a wake-up, or deleted in this turn */
			continue;
		/* A callback of this turn may have changed what this one waits for. */
		events = events_of(event->events) & (h->events | LOOP_ERROR);
		if (events == 0)
			continue;
		h->fn(h, events);
		call_deferred(loop);
	}
}

/*
 * Timers: a pairing heap (Fredman, Sedgewick, Sleator, Tarjan 1986). A node's prev is the sibling
 * before it, or the parent of a first child; a root has neither next nor prev.
 */

static struct loop_timer *
heap_merge(struct loop_timer *a, struct loop_timer *b)
{
	struct loop_timer *under;

	if (a == NULL || b == NULL)
		return a == NULL ? b : a;
	if (b->at_ns < a->at_ns) {
		under = a;
		a = b;
	} else {
		under = b;
	}
	under->prev = a;
	under->next = a->child;
	if (a->child != NULL)
		a->child->prev = under;
	a->child = under;
	return a;
}

/* One heap of a list of siblings: merges pairs on the way there, all of them on the way back. */
static struct loop_timer *
heap_merge_all(struct loop_timer *list)
{
	struct loop_timer *pairs = NULL, *root = NULL;

	while (list != NULL) {
		struct loop_timer *a = list, *b = a->next;

		list = b == NULL ? NULL : b->next;
		a->next = a->prev = NULL;
		if (b != NULL)
			b->next = b->prev = NULL;
		a = heap_merge(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		struct loop_timer *next = pairs->next;

		pairs->next = NULL;
		root = heap_merge(root, pairs);
		pairs = next;
	}
	return root;
}

/* Takes t out of whichever heap it is in; what was under it takes its place there. */
static void
heap_remove(struct loop *loop, struct loop_timer *t)
{
	struct loop_timer *heir = heap_merge_all(t->child);

	if (heir != NULL) {
		heir->prev = t->prev;
		heir->next = t->next;
	}
	if (t->next != NULL)
		t->next->prev = heir != NULL ? heir : t->prev;
	if (t == loop->timers)
		loop->timers = heir;
	else if (t == loop->later)
		loop->later = heir;
	else if (t->prev->child == t)
		t->prev->child = heir != NULL ? heir : t->next;
	else
		t->prev->next = heir != NULL ? heir : t->next;
	t->child = t->next = t->prev = NULL;
}

void
loop_timer_set(struct loop *loop, struct loop_timer *t, int64_t at_ns)
{
	struct loop_timer **heap = loop->calling_timers ? &loop->later : &loop->timers;

	assert(t->fn != NULL);
	loop_timer_clear(loop, t);
	t->at_ns = at_ns;
	t->set = true;
	*heap = heap_merge(*heap, t);
}

void
loop_timer_clear(struct loop *loop, struct loop_timer *t)
{
	if (!t->set)
		return;
	heap_remove(loop, t);
	t->set = false;
}

/* A timer set meanwhile waits for the next turn, or one that sets itself anew would go round. */
static void
call_timers(struct loop *loop)
{
	loop->calling_timers = true;
	while (loop->timers != NULL && loop->timers->at_ns <= loop->mono_ns) {
		struct loop_timer *t = loop->timers;

		loop_timer_clear(loop, t);
		t->fn(t);
		call_deferred(loop);
	}
	loop->calling_timers = false;
	loop->timers = heap_merge(loop->timers, loop->later);
	loop->later = NULL;
}

/* Posted tasks. */

/*
 * Under the lock: what wakes the loop may make it be freed, and that has to wait for the write. One
 * write serves all until the loop looks.
 */
static void
wake(struct loop *loop)
{
	const uint64_t one = 1;
	ssize_t n;

	if (loop->woken)
		return;
	loop->woken = true;
	n = write(loop->wake_fd, &one, sizeof(one));
	assert(n == (ssize_t)sizeof(one)); /* fails only after 2^64 - 1 of them */
}

void
loop_post(struct loop *loop, struct loop_task *t)
{
	assert(t->fn != NULL);
	lock_take(&loop->lock);
	if (!t->posted) {
		t->posted = true;
		tasks_append(&loop->posted, t);
	}
	wake(loop);
	lock_drop(&loop->lock);
}

void
loop_defer_cancel(struct loop *loop, struct loop_task *t)
{
	if (t->deferred) {
		if (!tasks_remove(&loop->deferred_now, t))
			tasks_remove(&loop->deferred, t);
		t->deferred = false;
		return;
	}
	lock_take(&loop->lock);
	if (t->posted && !tasks_remove(&loop->now, t))
		tasks_remove(&loop->posted, t);
	t->posted = false;
	lock_drop(&loop->lock);
}

void
loop_stop(struct loop *loop)
{
	lock_take(&loop->lock);
	loop->stopped = true;
	wake(loop);
	lock_drop(&loop->lock);
}

/* What is posted from here on is for the next turn. True if there is something for this one. */
static bool
take_posted(struct loop *loop)
{
	bool any;

	if (!loop->woken)
		return false;
	lock_take(&loop->lock);
	assert(loop->now.first == NULL);
	loop->now = loop->posted;
	any = loop->now.first != NULL;
	loop->posted = (struct task_list){ NULL, NULL };
	loop->woken = false;
	lock_drop(&loop->lock);
	return any;
}

static struct loop_task *
next_posted(struct loop *loop)
{
	struct loop_task *t;

	lock_take(&loop->lock);
	t = loop->now.first;
	if (t != NULL) {
		loop->now.first = t->next;
		/* Before the call, so that what is posted during it is not lost. */
		t->posted = false;
	}
	lock_drop(&loop->lock);
	return t;
}

static void
call_posted(struct loop *loop)
{
	struct loop_task *t;

	while ((t = next_posted(loop)) != NULL) {
		t->fn(t);
		call_deferred(loop);
	}
}

/* Turns. */

/* How long the turn may wait, in milliseconds rounded up, as timers must not come early. */
static int
wait_ms(struct loop *loop, int64_t max_wait_ns)
{
	int64_t wait_ns = max_wait_ns < 0 ? INT64_MAX : max_wait_ns;

	if (loop->clock_stands || wait_ns == 0 || loop->deferred.first != NULL || loop->woken)
		return 0;
	if (loop->timers != NULL) {
		/* Not mono_ns: the last turn's callbacks took their time. */
		int64_t now_ns = clock_mono_ns();

		if (loop->timers->at_ns <= now_ns)
			return 0;
		if (loop->timers->at_ns - now_ns < wait_ns)
			wait_ns = loop->timers->at_ns - now_ns;
	}
	if (wait_ns == INT64_MAX)
		return -1;
	if (wait_ns / NS_PER_MS >= INT_MAX)
		return INT_MAX;
	return (int)(wait_ns / NS_PER_MS + (wait_ns % NS_PER_MS != 0));
}

void
loop_turn(struct loop *loop, int64_t max_wait_ns)
{
	bool any_posted;
	int n;

	assert(!loop->turning);
	loop->turning = true;
	loop->turn_count++;
	n = epoll_wait(loop->epoll_fd, loop->events, EVENTS_PER_TURN, wait_ms(loop, max_wait_ns));
	assert(n >= 0 || errno == EINTR);
	loop->event_next = 0;
	loop->event_count = n > 0 ? n : 0;
	read_clocks(loop);
	any_posted = take_posted(loop);
	call_deferred(loop); /* what was before the turn */
	call_fds(loop);
	call_timers(loop);
	if (any_posted)
		call_posted(loop);
	loop->turning = false;
}

static bool
take_stop(struct loop *loop)
{
	return loop->stopped && atomic_exchange(&loop->stopped, false);
}

void
loop_run(struct loop *loop)
{
	while (!take_stop(loop))
		loop_turn(loop, -1);
}
