#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/loop.h"
#include "base/str.h"
#include "fault.h"

#define START_NS INT64_C(1000000)

struct probe;

struct fixture {
	struct loop *loop;
	struct err err;
	int open_fds;
	struct probe *called[1024]; /* in this order */
	size_t called_count;
};

static int
setup(void **state)
{
	static struct fixture f;

	f.open_fds = fault_open_fds();
	f.called_count = 0;
	f.loop = loop_new(&f.err);
	if (f.loop == NULL)
		return -1;
	loop_set_clock(f.loop, START_NS, 7);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	assert_int_equal(fault_open_fds(), f->open_fds);
	return 0;
}

static void
turn_at(struct fixture *f, int64_t mono_ns)
{
	loop_set_clock(f->loop, mono_ns, 7);
	loop_turn(f->loop, -1);
}

/* What a callback is to do, other than counting, and to whom. */
struct probe {
	struct fixture *f;
	struct loop_fd fd;
	struct loop_timer timer;
	struct loop_task task;
	unsigned calls, events;
	void (*then)(struct probe *self);
	struct probe *other;
};

static void
probe_called(struct probe *p)
{
	struct fixture *f = p->f;

	p->calls++;
	assert_true(f->called_count < ARRAY_LEN(f->called));
	f->called[f->called_count++] = p;
	if (p->then != NULL)
		p->then(p);
}

static void
probe_on_fd(struct loop_fd *h, unsigned events)
{
	struct probe *p = CONTAINER_OF(h, struct probe, fd);

	p->events = events;
	probe_called(p);
}

static void
probe_on_timer(struct loop_timer *t)
{
	assert_false(t->set);
	probe_called(CONTAINER_OF(t, struct probe, timer));
}

static void
probe_on_task(struct loop_task *t)
{
	probe_called(CONTAINER_OF(t, struct probe, task));
}

static void
probe_init(struct probe *p, struct fixture *f)
{
	*p = (struct probe){ .f = f };
	p->fd.fd = -1;
	p->fd.fn = probe_on_fd;
	p->timer.fn = probe_on_timer;
	p->task.fn = probe_on_task;
}

/* A probe on an eventfd that is readable (value 1) or not (value 0), and always writable. */
static void
probe_open(struct probe *p, struct fixture *f, unsigned value, unsigned events)
{
	probe_init(p, f);
	p->fd.fd = eventfd(value, EFD_CLOEXEC);
	assert_true(p->fd.fd >= 0);
	assert_int_equal(loop_fd_add(f->loop, &p->fd, events, &f->err), 0);
}

static void
probe_close(struct probe *p)
{
	loop_fd_del(p->f->loop, &p->fd);
	close(p->fd.fd);
}

/* Making one. */

static void
loop_without_memory_is_an_error(void **state)
{
	struct loop *loop;
	struct err err;

	(void)state;
	fault_malloc(1);
	loop = loop_new(&err);
	fault_malloc(0);
	assert_null(loop);
	assert_int_equal(err.code, ERR_NOMEM);
}

static void
loop_without_fds_is_an_error(void **state)
{
	int open_fds = fault_open_fds(), lowest_free = dup(STDERR_FILENO);
	struct rlimit all, few;

	(void)state;
	close(lowest_free);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	few = all;
	for (int spare = 0; spare < 2; spare++) {
		struct loop *loop;
		struct err err;

		few.rlim_cur = (rlim_t)(lowest_free + spare);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
		loop = loop_new(&err);
		assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
		assert_null(loop);
		assert_int_equal(err.code, ERR_IO);
		assert_int_equal(fault_open_fds(), open_fds);
	}
	loop_free(NULL);
}

static void
clock_stands_at_what_was_set(void **state)
{
	struct fixture *f = *state;

	loop_set_clock(f->loop, 5, -6);
	loop_turn(f->loop, -1);
	assert_int_equal(loop_now_ns(f->loop), 5);
	assert_int_equal(loop_real_ns(f->loop), -6);
}

/* File descriptors. */

static void
stamps_never_go_back(void **state)
{
	struct fixture *f = *state;
	static const struct {
		int64_t mono_s, real_s, stamp_s;
	} steps[] = {
		{ 100, 1000, 1000 },
		{ 110, 4610, 4610 }, /* an hour ahead */
		{ 120, 1020, 4615 }, /* and back */
		{ 130, 1030, 4620 },
		{ 140, 1030, 4625 }, /* stands still */
		{ 9000, 9890, 9890 },
		{ 9000, 9890, 9890 },
		{ 9010, 9900, 9900 },
	};

	for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
		loop_set_clock(f->loop, steps[i].mono_s * NS_PER_S, steps[i].real_s * NS_PER_S);
		assert_int_equal(loop_stamp_ns(f->loop), steps[i].stamp_s * NS_PER_S);
		assert_int_equal(loop_real_ns(f->loop), steps[i].real_s * NS_PER_S);
	}
}

static void
an_fd_is_called_for_what_it_waits_for(void **state)
{
	static const struct {
		unsigned value, asked, got;
	} rows[] = {
		{ 0, LOOP_READ, 0 },
		{ 1, LOOP_READ, LOOP_READ },
		{ 0, LOOP_WRITE, LOOP_WRITE },
		{ 1, LOOP_READ | LOOP_WRITE, LOOP_READ | LOOP_WRITE },
		{ 0, LOOP_READ | LOOP_WRITE, LOOP_WRITE },
		{ 1, 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f = *state;
		struct probe p;

		probe_open(&p, f, rows[i].value, rows[i].asked);
		loop_turn(f->loop, -1);
		if (p.events != rows[i].got || p.calls != (rows[i].got != 0))
			fail_msg("row %zu: events %u, %u calls", i, p.events, p.calls);
		loop_turn(f->loop, -1); /* level-triggered */
		assert_int_equal(p.calls, rows[i].got != 0 ? 2 : 0);
		probe_close(&p);
	}
}

static void
events_can_be_changed(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_open(&p, f, 1, 0);
	loop_fd_set(f->loop, &p.fd, LOOP_READ);
	loop_turn(f->loop, -1);
	assert_int_equal(p.events, LOOP_READ);
	loop_fd_set(f->loop, &p.fd, LOOP_WRITE);
	loop_turn(f->loop, -1);
	assert_int_equal(p.events, LOOP_WRITE);
	loop_fd_set(f->loop, &p.fd, 0);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 2);
	probe_close(&p);
}

static void
a_hang_up_is_reported_unasked(void **state)
{
	struct fixture *f = *state;
	struct probe p;
	int fds[2];

	probe_init(&p, f);
	assert_int_equal(pipe(fds), 0);
	p.fd.fd = fds[0];
	assert_int_equal(loop_fd_add(f->loop, &p.fd, 0, &f->err), 0);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 0);
	close(fds[1]);
	loop_turn(f->loop, -1);
	assert_int_equal(p.events, LOOP_ERROR);
	probe_close(&p);
}

static void
a_plain_file_can_not_be_waited_for(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_init(&p, f);
	p.fd.fd = memfd_create("plain", MFD_CLOEXEC);
	assert_int_equal(loop_fd_add(f->loop, &p.fd, LOOP_READ, &f->err), -1);
	assert_int_equal(f->err.code, ERR_IO);
	assert_false(p.fd.added);
	probe_close(&p);
}

static void
an_fd_deleted_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_open(&p, f, 1, LOOP_READ);
	loop_fd_del(f->loop, &p.fd);
	loop_fd_del(f->loop, &p.fd);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 0);
	close(p.fd.fd);
}

static void
delete_other(struct probe *p)
{
	probe_close(p->other);
	free(p->other);
	p->other = NULL;
}

/* Either may come first; it frees the other, whose event was read with its own. */
static void
an_event_already_read_is_forgotten_with_its_fd(void **state)
{
	struct fixture *f = *state;
	struct probe *a = malloc(sizeof(*a)), *b = malloc(sizeof(*b)), *left;

	assert_non_null(a);
	assert_non_null(b);
	probe_open(a, f, 1, LOOP_READ);
	probe_open(b, f, 1, LOOP_READ);
	a->other = b;
	b->other = a;
	a->then = b->then = delete_other;
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, 1);
	left = f->called[0];
	assert_null(left->other);
	left->then = NULL;
	loop_turn(f->loop, -1);
	assert_int_equal(left->calls, 2);
	probe_close(left);
	free(left);
}

static void
renew_other(struct probe *p)
{
	struct err err;

	loop_fd_del(p->f->loop, &p->other->fd);
	assert_int_equal(loop_fd_add(p->f->loop, &p->other->fd, LOOP_READ, &err), 0);
}

static void
an_fd_added_anew_does_not_get_the_old_event(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_open(&a, f, 1, LOOP_READ);
	probe_open(&b, f, 1, LOOP_READ);
	a.other = &b;
	b.other = &a;
	a.then = b.then = renew_other;
	loop_turn(f->loop, -1);
	assert_int_equal(a.calls + b.calls, 1);
	a.then = b.then = NULL;
	loop_turn(f->loop, -1);
	assert_int_equal(a.calls + b.calls, 3);
	probe_close(&a);
	probe_close(&b);
}

static void
silence_other(struct probe *p)
{
	loop_fd_set(p->f->loop, &p->other->fd, 0);
}

static void
an_fd_that_no_longer_waits_does_not_get_the_old_event(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_open(&a, f, 1, LOOP_READ);
	probe_open(&b, f, 1, LOOP_READ);
	a.other = &b;
	b.other = &a;
	a.then = b.then = silence_other;
	loop_turn(f->loop, -1);
	assert_int_equal(a.calls + b.calls, 1);
	probe_close(&a);
	probe_close(&b);
}

static void
free_self(struct probe *p)
{
	probe_close(p);
	free(p);
}

static void
a_callback_may_free_its_own_handle(void **state)
{
	struct fixture *f = *state;
	struct probe *p = malloc(sizeof(*p));

	assert_non_null(p);
	probe_open(p, f, 1, LOOP_READ);
	p->then = free_self;
	loop_turn(f->loop, -1);
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, 1);
}

/* libcurl does this: another file under the number of one that was closed. */
static void
an_fd_replaced_under_its_number_can_be_set(void **state)
{
	struct fixture *f = *state;
	struct probe p;
	int number, other;

	probe_open(&p, f, 0, LOOP_READ);
	number = p.fd.fd;
	other = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(dup2(other, number), number);
	close(other);
	loop_fd_set(f->loop, &p.fd, LOOP_READ);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 1);
	probe_close(&p);
}

static void
more_fds_than_a_turn_takes_get_their_turn(void **state)
{
	enum { FDS = 600 };
	static struct probe probes[FDS];
	struct fixture *f = *state;

	for (size_t i = 0; i < FDS; i++)
		probe_open(&probes[i], f, 1, LOOP_READ);
	for (int turn = 0; turn < 3; turn++)
		loop_turn(f->loop, -1);
	for (size_t i = 0; i < FDS; i++) {
		assert_true(probes[i].calls > 0);
		probe_close(&probes[i]);
	}
}

/* Timers. */

static void
a_timer_is_called_once_when_its_time_has_come(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_init(&p, f);
	loop_timer_set(f->loop, &p.timer, START_NS + 100);
	turn_at(f, START_NS + 99);
	assert_int_equal(p.calls, 0);
	assert_true(p.timer.set);
	turn_at(f, START_NS + 100);
	assert_int_equal(p.calls, 1);
	turn_at(f, START_NS + 200);
	assert_int_equal(p.calls, 1);
}

static void
timers_are_called_in_order_of_time(void **state)
{
	static const int64_t at[] = { 50, 20, 90, -10, 70, 10, 40, 80, 30, 60, INT64_MIN, 55 };
	struct fixture *f = *state;
	struct probe probes[ARRAY_LEN(at)];

	for (size_t i = 0; i < ARRAY_LEN(at); i++) {
		probe_init(&probes[i], f);
		loop_timer_set(f->loop, &probes[i].timer, at[i]);
	}
	turn_at(f, 55);
	assert_int_equal(f->called_count, 8);
	turn_at(f, 1000);
	assert_int_equal(f->called_count, ARRAY_LEN(at));
	for (size_t i = 1; i < ARRAY_LEN(at); i++)
		assert_true(f->called[i - 1]->timer.at_ns < f->called[i]->timer.at_ns);
}

static void
a_timer_set_again_has_only_its_new_time(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_init(&p, f);
	loop_timer_set(f->loop, &p.timer, START_NS + 10);
	loop_timer_set(f->loop, &p.timer, START_NS + 30);
	turn_at(f, START_NS + 20);
	assert_int_equal(p.calls, 0);
	loop_timer_set(f->loop, &p.timer, START_NS + 25);
	turn_at(f, START_NS + 25);
	assert_int_equal(p.calls, 1);
	turn_at(f, START_NS + 30);
	assert_int_equal(p.calls, 1);
}

static void
clear_other_timer(struct probe *p)
{
	loop_timer_clear(p->f->loop, &p->other->timer);
}

static void
a_timer_cleared_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_init(&a, f);
	probe_init(&b, f);
	loop_timer_clear(f->loop, &a.timer);
	loop_timer_set(f->loop, &a.timer, START_NS);
	loop_timer_clear(f->loop, &a.timer);
	turn_at(f, START_NS);
	assert_int_equal(f->called_count, 0);

	/* Both are due; whichever comes first clears the other. */
	a.other = &b;
	b.other = &a;
	a.then = b.then = clear_other_timer;
	loop_timer_set(f->loop, &a.timer, START_NS);
	loop_timer_set(f->loop, &b.timer, START_NS);
	turn_at(f, START_NS);
	turn_at(f, START_NS);
	assert_int_equal(f->called_count, 1);
}

static void
set_own_timer(struct probe *p)
{
	loop_timer_set(p->f->loop, &p->timer, loop_now_ns(p->f->loop));
}

static void
a_timer_that_sets_itself_is_called_once_a_turn(void **state)
{
	struct fixture *f = *state;
	struct probe p;

	probe_init(&p, f);
	p.then = set_own_timer;
	loop_timer_set(f->loop, &p.timer, START_NS);
	for (unsigned turn = 1; turn <= 3; turn++) {
		turn_at(f, START_NS);
		assert_int_equal(p.calls, turn);
	}
	loop_timer_clear(f->loop, &p.timer);
	turn_at(f, START_NS);
	assert_int_equal(p.calls, 3);
}

static void
set_then_clear_other_timer(struct probe *p)
{
	struct probe third = { .timer = { .fn = probe_on_timer } };

	loop_timer_set(p->f->loop, &p->other->timer, 0);
	loop_timer_set(p->f->loop, &third.timer, 1);
	loop_timer_clear(p->f->loop, &p->other->timer);
	loop_timer_clear(p->f->loop, &third.timer);
}

static void
a_timer_set_by_a_timer_can_be_cleared_by_it(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_init(&a, f);
	probe_init(&b, f);
	a.other = &b;
	a.then = set_then_clear_other_timer;
	loop_timer_set(f->loop, &a.timer, START_NS);
	turn_at(f, START_NS);
	turn_at(f, START_NS);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 0);
}

struct model_timer {
	struct loop_timer timer;
	int64_t want_ns; /* INT64_MAX: not set */
};

static int64_t model_last_ns, model_now_ns;

static void
model_on_timer(struct loop_timer *t)
{
	struct model_timer *m = CONTAINER_OF(t, struct model_timer, timer);

	assert_int_equal(m->want_ns, t->at_ns);
	assert_true(m->want_ns <= model_now_ns);
	assert_true(m->want_ns >= model_last_ns);
	model_last_ns = m->want_ns;
	m->want_ns = INT64_MAX;
}

/* Sets, clears and advances the clock at random. */
static void
timers_agree_with_a_plain_array(void **state)
{
	static struct model_timer models[300];
	struct fixture *f = *state;
	uint64_t random = 1;

	model_now_ns = 0;
	for (size_t i = 0; i < ARRAY_LEN(models); i++) {
		models[i] =
		    (struct model_timer){ .timer = { .fn = model_on_timer }, .want_ns = INT64_MAX };
	}
	for (int step = 0; step < 60000; step++) {
		struct model_timer *m;

		random = hash_mix(random, (uint64_t)step);
		m = &models[random % ARRAY_LEN(models)];
		if ((random >> 32) % 100 < 60) {
			m->want_ns = model_now_ns + (int64_t)(random >> 40) % 1000;
			loop_timer_set(f->loop, &m->timer, m->want_ns);
		} else if ((random >> 32) % 100 < 90) {
			m->want_ns = INT64_MAX;
			loop_timer_clear(f->loop, &m->timer);
		} else {
			model_last_ns = INT64_MIN;
			model_now_ns += (int64_t)(random >> 40) % 100;
			turn_at(f, model_now_ns);
			for (size_t i = 0; i < ARRAY_LEN(models); i++)
				assert_true(models[i].want_ns > model_now_ns);
		}
		assert_int_equal(m->timer.set, m->want_ns != INT64_MAX);
	}
}

static unsigned many_calls;

static void
count_call(struct loop_timer *t)
{
	(void)t;
	many_calls++;
}

/* Sorted times make the heap a list or a star: neither may cost recursion or a square of time. */
static void
many_timers_in_sorted_order_are_no_trouble(void **state)
{
	enum { TIMERS = 200000 };
	static struct loop_timer timers[TIMERS];
	struct fixture *f = *state;

	for (int64_t direction = -1; direction <= 1; direction++) {
		many_calls = 0;
		for (int64_t i = 0; i < TIMERS; i++) {
			timers[i].fn = count_call;
			loop_timer_set(f->loop, &timers[i], direction * i);
		}
		turn_at(f, TIMERS);
		assert_int_equal(many_calls, TIMERS);
	}
}

/*
 * Needs the real clock: that a turn neither waits too long nor spins until the time has come, not
 * even after it was woken, is what is tested.
 */
static void
a_turn_waits_for_the_next_timer(void **state)
{
	struct fixture real = *(struct fixture *)*state, *f = &real;
	unsigned turns = 0;
	struct probe p;
	int64_t at_ns;

	f->loop = loop_new(&f->err);
	probe_init(&p, f);
	loop_post(f->loop, &p.task);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 1);
	at_ns = loop_now_ns(f->loop) + 5 * NS_PER_MS + 1;
	loop_timer_set(f->loop, &p.timer, at_ns);
	loop_turn(f->loop, 0);
	assert_int_equal(p.calls, 1);
	for (; p.calls == 1; turns++)
		loop_turn(f->loop, -1);
	assert_true(loop_now_ns(f->loop) >= at_ns);
	assert_in_range(turns, 1, 3);
	loop_timer_set(f->loop, &p.timer, INT64_MAX);
	loop_turn(f->loop, NS_PER_MS);
	assert_int_equal(p.calls, 2);
	loop_free(f->loop);
}

/* With the real clock and nothing else to wait for: it would wait for ever. */
static void
a_turn_does_not_wait_with_a_task_deferred(void **state)
{
	struct fixture real = *(struct fixture *)*state, *f = &real;
	struct probe p;

	f->loop = loop_new(&f->err);
	probe_init(&p, f);
	loop_defer(f->loop, &p.task);
	loop_turn(f->loop, -1);
	assert_int_equal(p.calls, 1);
	loop_free(f->loop);
}

/* Tasks. */

static void
tasks_are_called_in_the_order_queued(void **state)
{
	struct fixture *f = *state;
	struct probe probes[5];

	for (size_t i = 0; i < ARRAY_LEN(probes); i++) {
		probe_init(&probes[i], f);
		if (i % 2 == 0)
			loop_defer(f->loop, &probes[i].task);
		else
			loop_post(f->loop, &probes[i].task);
	}
	assert_int_equal(f->called_count, 0);
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, ARRAY_LEN(probes));
	/* Deferred ones first. */
	for (size_t i = 0; i < 3; i++)
		assert_ptr_equal(f->called[i], &probes[2 * i]);
	for (size_t i = 0; i < 2; i++)
		assert_ptr_equal(f->called[3 + i], &probes[2 * i + 1]);
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, ARRAY_LEN(probes));
}

static void
a_task_queued_twice_is_called_once(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_init(&a, f);
	probe_init(&b, f);
	loop_defer(f->loop, &a.task);
	loop_post(f->loop, &b.task);
	loop_defer(f->loop, &a.task);
	loop_post(f->loop, &b.task);
	loop_turn(f->loop, -1);
	loop_turn(f->loop, -1);
	assert_int_equal(a.calls, 1);
	assert_int_equal(b.calls, 1);
}

static void
defer_other(struct probe *p)
{
	loop_defer(p->f->loop, &p->other->task);
}

static void
a_task_deferred_follows_the_callback_that_did(void **state)
{
	struct fixture *f = *state;
	struct probe fd, timers[2], task, tasks[5];
	const struct probe *wanted[] = { &fd, &tasks[0], &timers[0], &tasks[1], &timers[1],
		&tasks[2], &task, &tasks[3], &tasks[4] };

	for (size_t i = 0; i < ARRAY_LEN(tasks); i++)
		probe_init(&tasks[i], f);
	probe_open(&fd, f, 0, LOOP_WRITE);
	fd.other = &tasks[0];
	for (size_t i = 0; i < ARRAY_LEN(timers); i++) {
		probe_init(&timers[i], f);
		timers[i].other = &tasks[1 + i];
		timers[i].then = defer_other;
		loop_timer_set(f->loop, &timers[i].timer, START_NS - 1 + (int64_t)i);
	}
	probe_init(&task, f);
	task.other = &tasks[3];
	tasks[3].other = &tasks[4];
	fd.then = task.then = tasks[3].then = defer_other;
	loop_post(f->loop, &task.task);
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, ARRAY_LEN(wanted));
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		assert_ptr_equal(f->called[i], wanted[i]);
	probe_close(&fd);
}

static void
tasks_that_defer_themselves_hold_nobody_up(void **state)
{
	struct fixture *f = *state;
	struct probe self, timer;

	probe_init(&self, f);
	self.other = &self;
	self.then = defer_other;
	probe_init(&timer, f);
	loop_defer(f->loop, &self.task);
	loop_timer_set(f->loop, &timer.timer, START_NS);
	loop_turn(f->loop, -1);
	assert_int_equal(timer.calls, 1);
	assert_in_range(self.calls, 1, 20);
	self.then = NULL;
	loop_turn(f->loop, -1);
	assert_in_range(self.calls, 2, 21);
}

static void
tasks_come_after_fds_and_timers(void **state)
{
	struct fixture *f = *state;
	struct probe fd, timer, task;

	probe_init(&task, f);
	probe_init(&timer, f);
	loop_post(f->loop, &task.task);
	loop_timer_set(f->loop, &timer.timer, START_NS);
	probe_open(&fd, f, 0, LOOP_WRITE);
	loop_turn(f->loop, -1);
	assert_int_equal(f->called_count, 3);
	assert_ptr_equal(f->called[0], &fd);
	assert_ptr_equal(f->called[1], &timer);
	assert_ptr_equal(f->called[2], &task);
	probe_close(&fd);
}

/* Every subset of four tasks, then one more queued behind what is left. */
static void
a_task_cancelled_is_not_called(void **state)
{
	struct fixture *f = *state;

	for (unsigned cancelled = 0; cancelled < 16; cancelled++) {
		struct probe probes[5];

		for (unsigned i = 0; i < 4; i++) {
			probe_init(&probes[i], f);
			loop_defer_cancel(f->loop, &probes[i].task);
			loop_defer(f->loop, &probes[i].task);
		}
		for (unsigned i = 0; i < 4; i++) {
			if ((cancelled & 1u << i) != 0)
				loop_defer_cancel(f->loop, &probes[i].task);
		}
		probe_init(&probes[4], f);
		loop_defer(f->loop, &probes[4].task);
		loop_turn(f->loop, -1);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(probes[i].calls, (cancelled & 1u << i) == 0);
	}
}

static void
cancel_other_task(struct probe *p)
{
	loop_defer_cancel(p->f->loop, &p->other->task);
}

static void
a_task_can_cancel_one_of_its_turn_and_queue_it_anew(void **state)
{
	struct fixture *f = *state;
	struct probe a, b, c;

	probe_init(&a, f);
	probe_init(&b, f);
	probe_init(&c, f);
	a.other = &c;
	a.then = cancel_other_task;
	loop_defer(f->loop, &a.task);
	loop_defer(f->loop, &b.task);
	loop_defer(f->loop, &c.task);
	loop_turn(f->loop, -1);
	assert_int_equal(b.calls, 1);
	assert_int_equal(c.calls, 0);
	loop_defer(f->loop, &c.task);
	loop_turn(f->loop, -1);
	assert_int_equal(c.calls, 1);
}

static void
free_own_memory(struct probe *p)
{
	free(p);
}

static void
a_task_may_free_itself(void **state)
{
	struct fixture *f = *state;
	struct probe *p = malloc(sizeof(*p)), last;

	assert_non_null(p);
	probe_init(p, f);
	p->then = free_own_memory;
	loop_defer(f->loop, &p->task);
	probe_init(&last, f);
	loop_defer(f->loop, &last.task);
	loop_turn(f->loop, -1);
	assert_int_equal(last.calls, 1);
}

/* Threads. These loops have the real clock and wait for ever, so a lost wake-up is a hang. */

static void *
run(void *loop)
{
	loop_run(loop);
	return NULL;
}

static pthread_t
run_in_a_thread(struct loop *loop)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, loop), 0);
	return thread;
}

static void
stop_ends_a_run_whenever_it_comes(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		struct err err;
		struct loop *loop = loop_new(&err);
		pthread_t thread = run_in_a_thread(loop);

		loop_stop(loop);
		assert_int_equal(pthread_join(thread, NULL), 0);
		loop_free(loop);
	}
}

static void
stop_loop(struct probe *p)
{
	loop_stop(p->f->loop);
}

static void
stop_lets_the_turn_finish_and_ends_one_run(void **state)
{
	struct fixture *f = *state;
	struct probe a, b;

	probe_init(&a, f);
	probe_init(&b, f);
	a.then = b.then = stop_loop;
	for (unsigned calls = 1; calls <= 2; calls++) {
		loop_defer(f->loop, &a.task);
		loop_defer(f->loop, &b.task);
		loop_run(f->loop);
		assert_int_equal(a.calls, calls);
		assert_int_equal(b.calls, calls);
	}
}

enum { POSTERS = 4, POSTS = 5000 };

struct posted {
	struct loop_task task;
	struct poster *poster;
	unsigned number;
};

struct poster {
	struct loop *loop;
	unsigned next; /* the loop's thread */
	struct posted tasks[POSTS];
};

static void
posted_called(struct loop_task *t)
{
	struct posted *posted = CONTAINER_OF(t, struct posted, task);

	assert_int_equal(posted->number, posted->poster->next);
	posted->poster->next++;
}

static void *
post_all(void *arg)
{
	struct poster *poster = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		poster->tasks[i] = (struct posted){
			.task = { .fn = posted_called }, .poster = poster, .number = i
		};
		loop_post(poster->loop, &poster->tasks[i].task);
	}
	return NULL;
}

static void
each_thread_s_posts_arrive_once_and_in_order(void **state)
{
	static struct poster posters[POSTERS];
	pthread_t threads[POSTERS], runner;
	struct loop *loop;
	struct err err;

	(void)state;
	loop = loop_new(&err);
	runner = run_in_a_thread(loop);
	for (size_t i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){ .loop = loop };
		assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
	}
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	loop_stop(loop);
	assert_int_equal(pthread_join(runner, NULL), 0);
	loop_turn(loop, 0); /* what was posted while the last turn ran */
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(posters[i].next, POSTS);
	loop_free(loop);
}

struct doorbell {
	struct loop *loop;
	struct loop_task task;
	atomic_uint rung;
	unsigned heard; /* the loop's thread */
};

static void
doorbell_called(struct loop_task *t)
{
	struct doorbell *bell = CONTAINER_OF(t, struct doorbell, task);

	bell->heard += atomic_exchange_explicit(&bell->rung, 0, memory_order_relaxed);
	if (bell->heard == POSTERS * POSTS)
		loop_stop(bell->loop);
}

static void *
ring(void *arg)
{
	struct doorbell *bell = arg;

	for (unsigned i = 0; i < POSTS; i++) {
		atomic_fetch_add_explicit(&bell->rung, 1, memory_order_relaxed);
		loop_post(bell->loop, &bell->task);
	}
	return NULL;
}

/* One call may do for several posts, but each post is followed by a call. */
static void
a_task_posted_by_many_misses_none(void **state)
{
	static struct doorbell bell;
	pthread_t threads[POSTERS];
	struct err err;

	(void)state;
	bell = (struct doorbell){ .loop = loop_new(&err), .task = { .fn = doorbell_called } };
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ring, &bell), 0);
	loop_run(bell.loop);
	for (size_t i = 0; i < POSTERS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(bell.heard, POSTERS * POSTS);
	loop_free(bell.loop);
}

/* Two loops that post to each other: each waits for the other's post. */
struct player {
	struct loop *loop;
	struct loop_task task;
	struct player *other;
	unsigned calls;
};

static void
return_the_ball(struct loop_task *t)
{
	struct player *player = CONTAINER_OF(t, struct player, task);

	player->calls++;
	if (player->calls <= 2000)
		loop_post(player->other->loop, &player->other->task);
	if (player->calls >= 2000)
		loop_stop(player->loop);
}

static void
two_loops_wake_each_other(void **state)
{
	struct player players[2];
	pthread_t threads[2];
	struct err err;

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		players[i] = (struct player){ .loop = loop_new(&err),
			.task = { .fn = return_the_ball },
			.other = &players[1 - i] };
	}
	for (size_t i = 0; i < 2; i++)
		threads[i] = run_in_a_thread(players[i].loop);
	loop_post(players[0].loop, &players[0].task);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], NULL), 0);
		assert_int_equal(players[i].calls, 2000);
	}
	for (size_t i = 0; i < 2; i++)
		loop_free(players[i].loop);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(loop_without_memory_is_an_error),
		TEST(loop_without_fds_is_an_error),
		TEST(clock_stands_at_what_was_set),
		TEST(stamps_never_go_back),
		TEST(an_fd_is_called_for_what_it_waits_for),
		TEST(events_can_be_changed),
		TEST(a_hang_up_is_reported_unasked),
		TEST(a_plain_file_can_not_be_waited_for),
		TEST(an_fd_deleted_is_not_called),
		TEST(an_event_already_read_is_forgotten_with_its_fd),
		TEST(an_fd_added_anew_does_not_get_the_old_event),
		TEST(an_fd_that_no_longer_waits_does_not_get_the_old_event),
		TEST(a_callback_may_free_its_own_handle),
		TEST(an_fd_replaced_under_its_number_can_be_set),
		TEST(more_fds_than_a_turn_takes_get_their_turn),
		TEST(a_timer_is_called_once_when_its_time_has_come),
		TEST(timers_are_called_in_order_of_time),
		TEST(a_timer_set_again_has_only_its_new_time),
		TEST(a_timer_cleared_is_not_called),
		TEST(a_timer_that_sets_itself_is_called_once_a_turn),
		TEST(a_timer_set_by_a_timer_can_be_cleared_by_it),
		TEST(timers_agree_with_a_plain_array),
		TEST(many_timers_in_sorted_order_are_no_trouble),
		TEST(a_turn_waits_for_the_next_timer),
		TEST(a_turn_does_not_wait_with_a_task_deferred),
		TEST(tasks_are_called_in_the_order_queued),
		TEST(a_task_queued_twice_is_called_once),
		TEST(a_task_deferred_follows_the_callback_that_did),
		TEST(tasks_that_defer_themselves_hold_nobody_up),
		TEST(tasks_come_after_fds_and_timers),
		TEST(a_task_cancelled_is_not_called),
		TEST(a_task_can_cancel_one_of_its_turn_and_queue_it_anew),
		TEST(a_task_may_free_itself),
		TEST(stop_ends_a_run_whenever_it_comes),
		TEST(stop_lets_the_turn_finish_and_ends_one_run),
		TEST(each_thread_s_posts_arrive_once_and_in_order),
		TEST(a_task_posted_by_many_misses_none),
		TEST(two_loops_wake_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
