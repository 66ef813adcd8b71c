/*
 * poller/gate.h - at most so many at once, over all pollers. Who finds no slot free waits in line.
 *
 * Threads: any; a waiter belongs to its loop's thread. Locks taken: gate, loop.
 */
#ifndef SCOTTY_POLLER_GATE_H
#define SCOTTY_POLLER_GATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/lock.h"
#include "base/loop.h"

struct gate_waiter {
	void (*granted)(struct gate_waiter *); /* on the waiter's loop, in a later turn */
	struct loop *loop;
	/* the gate's own from here on */
	struct loop_task task;
	struct gate_waiter *next, *prev;
	enum { GATE_IDLE, GATE_WAITING, GATE_GRANTED } state;
	struct gate *gate;
};

struct gate {
	struct lock lock;
	size_t limit;                     /* 0 = no limit */
	_Atomic size_t taken;             /* changed with the lock held, read by anyone */
	struct gate_waiter *first, *last; /* longest waiting first */
};

void gate_init(struct gate *, size_t limit);
void gate_fini(struct gate *); /* nobody waits */
/*
 * True: a slot is the caller's at once. False: granted() will be called, in the order of asking.
 * The waiter must be idle.
 */
bool gate_take(struct gate *, struct gate_waiter *);
/*
 * Leaves the line: granted() will not be called, and a slot granted meanwhile goes to the next.
 * Does nothing when idle. The waiter's thread.
 */
void gate_leave(struct gate *, struct gate_waiter *);
/* Gives a slot back: to the longest waiting, if any. */
void gate_give(struct gate *);
/* Another limit: slots it frees go to those in line, those above it are not handed out again. */
void gate_set_limit(struct gate *, size_t limit);
/* Slots taken now. Takes no lock. */
size_t gate_taken(struct gate *);

#endif
