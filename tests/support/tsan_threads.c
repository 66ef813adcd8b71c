/*
 * C11's threads by way of POSIX's, for builds with ThreadSanitizer, which knows only the latter: a
 * thread that librdkafka begins by thrd_create would crash in it, and what its mutexes order would
 * look like races. glibc's types of both kinds are the same inside.
 *
 * What the library does by atomic instructions remains unseen, as it is not instrumented: races
 * that are found within it are none of ours.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t), "glibc's are the same");
_Static_assert(sizeof(cnd_t) == sizeof(pthread_cond_t), "glibc's are the same");
_Static_assert(sizeof(thrd_t) == sizeof(pthread_t), "glibc's are the same");

const char *__tsan_default_suppressions(void);

const char *
__tsan_default_suppressions(void)
{
	return "race:librdkafka.so\n";
}

struct start {
	thrd_start_t fn;
	void *arg;
};

static int
result(int rc)
{
	return rc == 0           ? thrd_success
	       : rc == EBUSY     ? thrd_busy
	       : rc == ENOMEM    ? thrd_nomem
	       : rc == ETIMEDOUT ? thrd_timedout
	                         : thrd_error;
}

static void *
run(void *arg)
{
	struct start start = *(struct start *)arg;

	free(arg);
	return (void *)(intptr_t)start.fn(start.arg);
}

int
thrd_create(thrd_t *thread, thrd_start_t fn, void *arg)
{
	struct start *start = malloc(sizeof(*start));
	int rc;

	if (start == NULL)
		return thrd_nomem;
	*start = (struct start){ fn, arg };
	rc = pthread_create((pthread_t *)thread, NULL, run, start);
	if (rc != 0)
		free(start);
	return result(rc);
}

int
thrd_join(thrd_t thread, int *out)
{
	void *value = NULL;
	int rc = pthread_join((pthread_t)thread, &value);

	if (rc == 0 && out != NULL)
		*out = (int)(intptr_t)value;
	return result(rc);
}

int
thrd_detach(thrd_t thread)
{
	return result(pthread_detach((pthread_t)thread));
}

int
mtx_init(mtx_t *mutex, int type)
{
	pthread_mutexattr_t attr;
	int rc;

	pthread_mutexattr_init(&attr);
	if ((type & mtx_recursive) != 0)
		pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	rc = pthread_mutex_init((pthread_mutex_t *)mutex, &attr);
	pthread_mutexattr_destroy(&attr);
	return result(rc);
}

void
mtx_destroy(mtx_t *mutex)
{
	pthread_mutex_destroy((pthread_mutex_t *)mutex);
}

int
mtx_lock(mtx_t *mutex)
{
	return result(pthread_mutex_lock((pthread_mutex_t *)mutex));
}

int
mtx_trylock(mtx_t *mutex)
{
	return result(pthread_mutex_trylock((pthread_mutex_t *)mutex));
}

int
mtx_unlock(mtx_t *mutex)
{
	return result(pthread_mutex_unlock((pthread_mutex_t *)mutex));
}

int
cnd_init(cnd_t *cond)
{
	return result(pthread_cond_init((pthread_cond_t *)cond, NULL));
}

void
cnd_destroy(cnd_t *cond)
{
	pthread_cond_destroy((pthread_cond_t *)cond);
}

int
cnd_signal(cnd_t *cond)
{
	return result(pthread_cond_signal((pthread_cond_t *)cond));
}

int
cnd_broadcast(cnd_t *cond)
{
	return result(pthread_cond_broadcast((pthread_cond_t *)cond));
}

int
cnd_wait(cnd_t *cond, mtx_t *mutex)
{
	return result(pthread_cond_wait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex));
}

int
cnd_timedwait(cnd_t *cond, mtx_t *mutex, const struct timespec *at)
{
	return result(pthread_cond_timedwait((pthread_cond_t *)cond, (pthread_mutex_t *)mutex, at));
}
