#include "base/lock.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/lock_priv.h"

#if LOCK_CHECKS_RANKS
static const char *const rank_names[] = {
#define LOCK(name, what) [LOCK_##name] = #name,
#include "base/locks.def"
#undef LOCK
};

/* What this thread holds: always rising, so the last is the highest. */
static _Thread_local struct {
	const struct lock *locks[LOCK_COUNT];
	unsigned count;
} held;

static void
check_take(const struct lock *lock)
{
	const struct lock *top = held.count == 0 ? NULL : held.locks[held.count - 1];

	if (top != NULL && lock->rank <= top->rank) {
		fprintf(stderr, "lock order: takes %s while holding %s\n", rank_names[lock->rank],
		    rank_names[top->rank]);
		abort();
	}
	held.locks[held.count++] = lock;
}

static void
check_drop(const struct lock *lock)
{
	unsigned at = held.count;

	while (at > 0 && held.locks[at - 1] != lock)
		at--;
	if (at == 0) {
		fprintf(stderr, "lock order: drops %s, which it does not hold\n",
		    rank_names[lock->rank]);
		abort();
	}
	for (held.count--; at <= held.count; at++)
		held.locks[at - 1] = held.locks[at];
}
#else
static void
check_take(const struct lock *lock)
{
	(void)lock;
}

static void
check_drop(const struct lock *lock)
{
	(void)lock;
}
#endif

void
lock_init(struct lock *lock, enum lock_rank rank)
{
	int rc = pthread_mutex_init(&lock->mutex, NULL);

	assert(rc == 0 && rank < LOCK_COUNT);
	lock->rank = rank;
}

void
lock_fini(struct lock *lock)
{
	int rc = pthread_mutex_destroy(&lock->mutex);

	assert(rc == 0);
}

void
lock_take(struct lock *lock)
{
	int rc;

	check_take(lock); /* first: a deadlock would keep it from speaking up */
	rc = pthread_mutex_lock(&lock->mutex);
	assert(rc == 0);
}

void
lock_drop(struct lock *lock)
{
	int rc;

	check_drop(lock);
	rc = pthread_mutex_unlock(&lock->mutex);
	assert(rc == 0);
}

void
lock_cond_init(struct lock_cond *cond)
{
	pthread_condattr_t attr;
	int rc = pthread_condattr_init(&attr);

	assert(rc == 0);
	rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	assert(rc == 0);
	rc = pthread_cond_init(&cond->cond, &attr);
	assert(rc == 0);
	pthread_condattr_destroy(&attr);
}

void
lock_cond_fini(struct lock_cond *cond)
{
	int rc = pthread_cond_destroy(&cond->cond);

	assert(rc == 0);
}

void
lock_cond_signal(struct lock_cond *cond)
{
	pthread_cond_signal(&cond->cond);
}

void
lock_cond_broadcast(struct lock_cond *cond)
{
	pthread_cond_broadcast(&cond->cond);
}

bool
lock_cond_wait(struct lock_cond *cond, struct lock *lock, int64_t deadline_mono_ns)
{
	struct timespec until;
	int rc;

	/* Waking takes the lock again, so its rank has to be above all else held even now. */
	check_drop(lock);
	check_take(lock);
	if (deadline_mono_ns == INT64_MAX) {
		rc = pthread_cond_wait(&cond->cond, &lock->mutex);
	} else {
		if (deadline_mono_ns < 0)
			deadline_mono_ns = 0;
		until.tv_sec = (time_t)(deadline_mono_ns / NS_PER_S);
		until.tv_nsec = (long)(deadline_mono_ns % NS_PER_S);
		rc = pthread_cond_timedwait(&cond->cond, &lock->mutex, &until);
	}
	assert(rc == 0 || rc == ETIMEDOUT);
	return rc == 0;
}
