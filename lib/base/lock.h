/*
 * base/lock.h - mutexes with a rank, so that deadlock by order is an assertion, not a night's work.
 */
#ifndef SCOTTY_BASE_LOCK_H
#define SCOTTY_BASE_LOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum lock_rank {
#define LOCK(name, what) LOCK_##name,
#include "base/locks.def"
#undef LOCK
	LOCK_COUNT
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

void lock_init(struct lock *, enum lock_rank);
void lock_fini(struct lock *);
void lock_take(struct lock *);
void lock_drop(struct lock *);

struct lock_cond {
	pthread_cond_t cond;
};

void lock_cond_init(struct lock_cond *);
void lock_cond_fini(struct lock_cond *);
void lock_cond_signal(struct lock_cond *);
void lock_cond_broadcast(struct lock_cond *);
/*
 * Gives the lock up, waits for a signal until deadline_mono_ns (INT64_MAX = for ever), takes the
 * lock again. False when the time was up. May wake for no reason.
 */
bool lock_cond_wait(struct lock_cond *, struct lock *, int64_t deadline_mono_ns);

#endif
