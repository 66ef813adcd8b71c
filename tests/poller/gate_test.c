#include "poller/gate.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

/* A waiter that notes when it was let through. */
struct guest {
	struct gate_waiter waiter;
	unsigned granted; /* 1 = the first of the fixture's */
};

struct fixture {
	struct gate gate;
	struct loop *loop;
	struct guest guests[8];
};

static unsigned granted_count;

static void
on_granted(struct gate_waiter *waiter)
{
	CONTAINER_OF(waiter, struct guest, waiter)->granted = ++granted_count;
}

static void
begin(struct fixture *f, size_t limit)
{
	struct err err;

	*f = (struct fixture){ .loop = loop_new(&err) };
	assert_non_null(f->loop);
	loop_set_clock(f->loop, 0, 0);
	gate_init(&f->gate, limit);
	granted_count = 0;
	for (size_t i = 0; i < ARRAY_LEN(f->guests); i++)
		f->guests[i].waiter =
		    (struct gate_waiter){ .granted = on_granted, .loop = f->loop };
}

static void
finish(struct fixture *f)
{
	gate_fini(&f->gate);
	loop_free(f->loop);
}

static bool
take(struct fixture *f, size_t guest)
{
	return gate_take(&f->gate, &f->guests[guest].waiter);
}

static void
leave(struct fixture *f, size_t guest)
{
	gate_leave(&f->gate, &f->guests[guest].waiter);
}

static void
slots_are_given_at_once_up_to_the_limit(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 2);
	assert_true(take(&f, 0));
	assert_true(take(&f, 1));
	assert_int_equal(gate_taken(&f.gate), 2);
	assert_false(take(&f, 2));
	assert_int_equal(gate_taken(&f.gate), 2);
	leave(&f, 2);
	finish(&f);
}

static void
without_a_limit_all_pass_and_are_counted(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 0);
	for (size_t i = 0; i < 1000; i++)
		assert_true(take(&f, 0));
	assert_int_equal(gate_taken(&f.gate), 1000);
	gate_give(&f.gate);
	assert_int_equal(gate_taken(&f.gate), 999);
	finish(&f);
}

static void
the_longest_waiting_is_next(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	for (size_t i = 1; i < 4; i++)
		assert_false(take(&f, i));
	for (size_t i = 1; i < 4; i++) {
		gate_give(&f.gate);
		assert_int_equal(f.guests[i].granted, 0); /* not before the next turn */
		loop_turn(f.loop, 0);
		assert_int_equal(f.guests[i].granted, i);
		assert_int_equal(gate_taken(&f.gate), 1);
	}
	gate_give(&f.gate);
	assert_int_equal(gate_taken(&f.gate), 0);
	finish(&f);
}

static void
nobody_overtakes_one_who_was_granted_but_not_told(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	assert_false(take(&f, 1));
	gate_give(&f.gate);
	assert_false(take(&f, 2));
	loop_turn(f.loop, 0);
	assert_int_equal(f.guests[1].granted, 1);
	assert_int_equal(f.guests[2].granted, 0);
	leave(&f, 2);
	finish(&f);
}

static void
who_leaves_the_line_is_not_called(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	for (size_t i = 1; i < 6; i++)
		assert_false(take(&f, i));
	leave(&f, 1); /* first, middle, last */
	leave(&f, 3);
	leave(&f, 5);
	for (int i = 0; i < 3; i++) {
		gate_give(&f.gate);
		loop_turn(f.loop, 0);
	}
	assert_int_equal(f.guests[2].granted, 1);
	assert_int_equal(f.guests[4].granted, 2);
	assert_int_equal(granted_count, 2);
	assert_int_equal(gate_taken(&f.gate), 0);
	finish(&f);
}

static void
a_slot_granted_to_one_who_leaves_goes_to_the_next(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	assert_false(take(&f, 1));
	assert_false(take(&f, 2));
	gate_give(&f.gate);
	leave(&f, 1);
	loop_turn(f.loop, 0);
	assert_int_equal(f.guests[1].granted, 0);
	assert_int_equal(f.guests[2].granted, 1);
	assert_int_equal(gate_taken(&f.gate), 1);
	finish(&f);
}

static void
a_slot_granted_to_one_who_leaves_last_is_free(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	assert_false(take(&f, 1));
	gate_give(&f.gate);
	leave(&f, 1);
	assert_int_equal(gate_taken(&f.gate), 0);
	loop_turn(f.loop, 0);
	assert_int_equal(granted_count, 0);
	finish(&f);
}

static void
one_who_left_may_ask_again(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	assert_false(take(&f, 1));
	gate_give(&f.gate);
	leave(&f, 1);
	assert_true(take(&f, 2));
	assert_false(take(&f, 1));
	gate_give(&f.gate);
	loop_turn(f.loop, 0);
	assert_int_equal(f.guests[1].granted, 1);
	assert_int_equal(granted_count, 1);
	finish(&f);
}

static void
leaving_without_waiting_does_nothing(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	leave(&f, 0);
	assert_true(take(&f, 0));
	leave(&f, 0);
	assert_int_equal(gate_taken(&f.gate), 1);
	finish(&f);
}

static void
a_higher_limit_lets_the_line_through(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	for (size_t i = 1; i < 5; i++)
		assert_false(take(&f, i));
	gate_set_limit(&f.gate, 3);
	loop_turn(f.loop, 0);
	assert_int_equal(granted_count, 2);
	assert_int_equal(gate_taken(&f.gate), 3);
	gate_set_limit(&f.gate, 0);
	loop_turn(f.loop, 0);
	assert_int_equal(granted_count, 4);
	finish(&f);
}

static void
a_lower_limit_holds_once_slots_are_given_back(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(take(&f, i));
	assert_false(take(&f, 3));
	gate_set_limit(&f.gate, 1);
	gate_give(&f.gate);
	gate_give(&f.gate);
	loop_turn(f.loop, 0);
	assert_int_equal(granted_count, 0);
	gate_give(&f.gate);
	loop_turn(f.loop, 0);
	assert_int_equal(f.guests[3].granted, 1);
	assert_int_equal(gate_taken(&f.gate), 1);
	finish(&f);
}

static void *
give_one(void *arg)
{
	gate_give(arg);
	return NULL;
}

static void
a_slot_given_by_another_thread_arrives(void **state)
{
	struct fixture f;
	pthread_t thread;

	(void)state;
	begin(&f, 1);
	assert_true(take(&f, 0));
	assert_false(take(&f, 1));
	assert_int_equal(pthread_create(&thread, NULL, give_one, &f.gate), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	loop_turn(f.loop, 0);
	assert_int_equal(f.guests[1].granted, 1);
	finish(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(slots_are_given_at_once_up_to_the_limit),
		cmocka_unit_test(without_a_limit_all_pass_and_are_counted),
		cmocka_unit_test(the_longest_waiting_is_next),
		cmocka_unit_test(nobody_overtakes_one_who_was_granted_but_not_told),
		cmocka_unit_test(who_leaves_the_line_is_not_called),
		cmocka_unit_test(a_slot_granted_to_one_who_leaves_goes_to_the_next),
		cmocka_unit_test(a_slot_granted_to_one_who_leaves_last_is_free),
		cmocka_unit_test(one_who_left_may_ask_again),
		cmocka_unit_test(leaving_without_waiting_does_nothing),
		cmocka_unit_test(a_higher_limit_lets_the_line_through),
		cmocka_unit_test(a_lower_limit_holds_once_slots_are_given_back),
		cmocka_unit_test(a_slot_given_by_another_thread_arrives),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
