#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/lock_priv.h"
#include "base/str.h"

struct fixture {
	struct lock low, middle, high;
	struct lock_cond cond;
	int value; /* under low */
};

static int
setup(void **state)
{
	static struct fixture f;

	lock_init(&f.low, LOCK_fleet);
	lock_init(&f.middle, LOCK_series);
	lock_init(&f.high, LOCK_loop);
	lock_cond_init(&f.cond);
	f.value = 0;
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	lock_cond_fini(&f->cond);
	lock_fini(&f->high);
	lock_fini(&f->middle);
	lock_fini(&f->low);
	return 0;
}

static void
locks_may_be_taken_in_rising_order(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		lock_take(&f->low);
		lock_take(&f->middle);
		lock_take(&f->high);
		lock_drop(&f->high);
		lock_drop(&f->middle);
		lock_drop(&f->low);
	}
}

static void
locks_may_be_dropped_in_any_order(void **state)
{
	struct fixture *f = *state;

	lock_take(&f->low);
	lock_take(&f->middle);
	lock_drop(&f->low);
	lock_take(&f->high);
	lock_drop(&f->middle);
	lock_drop(&f->high);
	lock_take(&f->low);
	lock_drop(&f->low);
}

/* Calls fn in a child and checks that it aborts with this text. */
static void
assert_aborts(struct fixture *f, void (*fn)(struct fixture *), const char *want)
{
	char text[512] = "";
	int fds[2], status;
	ssize_t n;
	pid_t pid;

#if !LOCK_CHECKS_RANKS
	print_message("skipped: ranks are not checked in this build\n");
	skip();
#endif
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fds[1], STDERR_FILENO);
		fn(f);
		_exit(0);
	}
	close(fds[1]);
	n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
	assert_true(n > 0);
	assert_string_equal(text, want);
}

static void
take_falling(struct fixture *f)
{
	lock_take(&f->middle);
	lock_take(&f->low);
}

static void
falling_order_aborts(void **state)
{
	assert_aborts(*state, take_falling, "lock order: takes fleet while holding series\n");
}

static void
take_equal(struct fixture *f)
{
	struct lock other;

	lock_init(&other, LOCK_series);
	lock_take(&f->middle);
	lock_take(&other);
}

static void
two_locks_of_one_rank_abort(void **state)
{
	assert_aborts(*state, take_equal, "lock order: takes series while holding series\n");
}

static void
take_below_the_rest(struct fixture *f)
{
	lock_take(&f->low);
	lock_take(&f->high);
	lock_drop(&f->low);
	lock_take(&f->middle);
}

static void
order_holds_after_a_drop_from_below(void **state)
{
	assert_aborts(*state, take_below_the_rest, "lock order: takes series while holding loop\n");
}

static void
drop_what_is_not_held(struct fixture *f)
{
	lock_take(&f->low);
	lock_drop(&f->high);
}

static void
dropping_a_lock_not_held_aborts(void **state)
{
	assert_aborts(
	    *state, drop_what_is_not_held, "lock order: drops loop, which it does not hold\n");
}

static void
wait_under_a_higher_lock(struct fixture *f)
{
	lock_take(&f->low);
	lock_take(&f->high);
	lock_cond_wait(&f->cond, &f->low, 0);
}

static void
waiting_with_a_higher_lock_held_aborts(void **state)
{
	assert_aborts(
	    *state, wait_under_a_higher_lock, "lock order: takes fleet while holding loop\n");
}

static void *
count(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < 20000; i++) {
		lock_take(&f->low);
		f->value++;
		lock_drop(&f->low);
	}
	return NULL;
}

static void
one_thread_at_a_time_holds_a_lock(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[4];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, f), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(f->value, 80000);
}

static void
a_deadline_long_past_ends_the_wait_at_once(void **state)
{
	static const int64_t deadlines[] = { INT64_MIN, -1, 0, 1, NS_PER_S - 1 };
	struct fixture *f = *state;

	lock_take(&f->low);
	for (size_t i = 0; i < ARRAY_LEN(deadlines); i++)
		assert_false(lock_cond_wait(&f->cond, &f->low, deadlines[i]));
	lock_take(&f->middle); /* low is held again, and known to be */
	lock_drop(&f->middle);
	lock_drop(&f->low);
}

/* Needs the real clock, as that it is the right one is what is tested. */
static void
deadlines_are_of_the_monotonic_clock(void **state)
{
	struct fixture *f = *state;
	int64_t deadline_ns = clock_mono_ns() + 5 * NS_PER_MS;

	lock_take(&f->low);
	while (lock_cond_wait(&f->cond, &f->low, deadline_ns))
		;
	lock_drop(&f->low);
	assert_true(clock_mono_ns() >= deadline_ns);
}

/* Takes turns with the test: waits for odd values and makes them even. */
static void *
make_even(void *arg)
{
	struct fixture *f = arg;

	lock_take(&f->low);
	while (f->value < 1000) {
		if (f->value % 2 == 0) {
			lock_cond_wait(&f->cond, &f->low, INT64_MAX);
		} else {
			f->value++;
			lock_cond_broadcast(&f->cond);
		}
	}
	lock_drop(&f->low);
	return NULL;
}

static void
a_signal_wakes_the_one_who_waits(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, make_even, f), 0);
	lock_take(&f->low);
	while (f->value < 1000) {
		if (f->value % 2 == 0) {
			f->value++;
			lock_cond_signal(&f->cond);
		} else {
			assert_true(lock_cond_wait(&f->cond, &f->low, INT64_MAX - 1));
		}
	}
	lock_drop(&f->low);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_may_be_taken_in_rising_order),
		cmocka_unit_test(locks_may_be_dropped_in_any_order),
		cmocka_unit_test(falling_order_aborts),
		cmocka_unit_test(two_locks_of_one_rank_abort),
		cmocka_unit_test(order_holds_after_a_drop_from_below),
		cmocka_unit_test(dropping_a_lock_not_held_aborts),
		cmocka_unit_test(waiting_with_a_higher_lock_held_aborts),
		cmocka_unit_test(one_thread_at_a_time_holds_a_lock),
		cmocka_unit_test(a_deadline_long_past_ends_the_wait_at_once),
		cmocka_unit_test(deadlines_are_of_the_monotonic_clock),
		cmocka_unit_test(a_signal_wakes_the_one_who_waits),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
