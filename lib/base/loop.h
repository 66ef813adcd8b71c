/*
 * base/loop.h - one thread's event loop: file descriptors (epoll), timers, deferred calls.
 *
 * Handles are embedded in their owner, who keeps them alive while they are set. Setting a timer or
 * deferring a task cannot fail. A callback may add and remove any handle, its own included; a
 * handle that was removed gets no further call, even when its event was already read.
 *
 * Threads: all functions belong to the loop's thread, save loop_post and loop_stop. Before
 * loop_run, the thread that made it counts as its thread.
 */
#ifndef SCOTTY_BASE_LOOP_H
#define SCOTTY_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;

#define LOOP_READ  1u
#define LOOP_WRITE 2u
#define LOOP_ERROR 4u /* error or hang-up; reported whether asked for or not */

struct loop_fd {
	int fd;
	void (*fn)(struct loop_fd *, unsigned events);
	unsigned events; /* LOOP_READ | LOOP_WRITE; the loop's own from here on */
	bool added;
};

/* Timers are linked into a pairing heap, so that setting one never needs memory. */
struct loop_timer {
	void (*fn)(struct loop_timer *);
	int64_t at_ns; /* the loop's own from here on */
	struct loop_timer *child, *next, *prev;
	bool set;
};

/* Either always deferred or always posted. */
struct loop_task {
	void (*fn)(struct loop_task *);
	struct loop_task *next; /* the loop's own from here on */
	bool deferred, posted;
};

struct loop *loop_new(struct err *);
/* Handles still set are forgotten, not called. NULL is fine. */
void loop_free(struct loop *);

/* Turns until loop_stop. */
void loop_run(struct loop *);
/* Any thread: loop_run returns after the current turn, or at once if it is yet to be called. */
void loop_stop(struct loop *);
/*
 * One turn: waits for events at most max_wait_ns (0 = not at all, -1 = as long as the next
 * timer allows), then calls what is due: fds, timers, posted and deferred tasks.
 */
void loop_turn(struct loop *, int64_t max_wait_ns);

/* Turns begun so far. */
uint64_t loop_turn_count(const struct loop *);
/*
 * True if the turn under way took as many events from the kernel as it takes at most, so that
 * others are waiting: no time to begin what brings more of them.
 */
bool loop_is_behind(const struct loop *);

/* The monotonic clock, read once per turn. */
int64_t loop_now_ns(const struct loop *);
/* The wall clock, read once per turn. */
int64_t loop_real_ns(const struct loop *);
/*
 * The wall clock for stamping what is kept: it never goes back. When the wall clock is set back or
 * stands still, it goes on at half speed until that is ahead again.
 */
int64_t loop_stamp_ns(const struct loop *);
/*
 * For tests: time stands still at the given values until set again; loop_turn then never waits.
 */
void loop_set_clock(struct loop *, int64_t mono_ns, int64_t real_ns);

/* h->fd, h->fn set; events as above. 0, or -1 with ERR_IO or ERR_NOMEM. */
int loop_fd_add(struct loop *, struct loop_fd *h, unsigned events, struct err *);
/* Cannot fail on an fd that is added. */
void loop_fd_set(struct loop *, struct loop_fd *h, unsigned events);
/* Does nothing if not added. Call before closing the fd. */
void loop_fd_del(struct loop *, struct loop_fd *h);

/*
 * (Re)sets t->fn to be called once at at_ns of loop_now_ns, or as soon after as can be; when set by
 * a timer's callback, in the next turn at the soonest.
 */
void loop_timer_set(struct loop *, struct loop_timer *t, int64_t at_ns);
void loop_timer_clear(struct loop *, struct loop_timer *t);

/*
 * Calls t->fn once, soon after the callback under way has returned, before other fds, timers and
 * posted tasks get theirs; what was begun is so brought to its end before anything else is. At the
 * latest in the next turn: tasks that defer tasks over and over do not hold the loop up. In the
 * order deferred. Does nothing if t is deferred already.
 */
void loop_defer(struct loop *, struct loop_task *t);
/* Calls off a task, deferred or posted. */
void loop_defer_cancel(struct loop *, struct loop_task *t);

/*
 * Any thread: calls t->fn once in the next turn, and wakes the loop. The task must not be posted
 * already, unless the caller can live with one call for both. Tasks run in the order posted. Locks
 * taken: loop.
 */
void loop_post(struct loop *, struct loop_task *t);

#endif
