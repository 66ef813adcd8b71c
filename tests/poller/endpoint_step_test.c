#include "poller/endpoint_step.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

static const enum ep_state states[] = {
	EP_FAILED_TO_POLL,
	EP_FAILED_TO_CONNECT,
	EP_EMPTY,
	EP_WAITING_TO_CONNECT,
	EP_CONNECTING,
	EP_WAITING_TO_POLL,
	EP_POLLING,
	EP_SYNCED,
};

#define EVENTS (EV_STOP + 1)

/* One row per state, one column per event, in the order of their enums. */
#define STAYS                                                                                      \
	{                                                                                          \
		EP_EMPTY, ACT_NONE                                                                 \
	} /* whatever the state is */
static const struct ep_step wanted[ARRAY_LEN(states)][EVENTS] = {
	/* failed to poll */
	{ { EP_WAITING_TO_CONNECT, ACT_QUEUE }, STAYS, STAYS, STAYS, STAYS, STAYS, STAYS },
	/* failed to connect */
	{ { EP_WAITING_TO_CONNECT, ACT_QUEUE }, STAYS, STAYS, STAYS, STAYS, STAYS, STAYS },
	/* empty */
	{ { EP_WAITING_TO_CONNECT, ACT_QUEUE }, STAYS, STAYS, STAYS, STAYS, STAYS, STAYS },
	/* waiting to connect */
	{
	    { EP_WAITING_TO_CONNECT, ACT_SKIP },
	    { EP_CONNECTING, ACT_CONNECT },
	    STAYS,
	    STAYS,
	    STAYS,
	    STAYS,
	    { EP_EMPTY, ACT_ABANDON },
	},
	/* connecting */
	{
	    { EP_CONNECTING, ACT_SKIP },
	    STAYS,
	    { EP_WAITING_TO_POLL, ACT_QUEUE_POLL },
	    { EP_SYNCED, ACT_STORE },
	    { EP_FAILED_TO_CONNECT, ACT_FAIL },
	    { EP_FAILED_TO_CONNECT, ACT_CANCEL },
	    { EP_EMPTY, ACT_ABANDON },
	},
	/* waiting to poll */
	{
	    { EP_WAITING_TO_POLL, ACT_SKIP },
	    { EP_POLLING, ACT_POLL },
	    STAYS,
	    { EP_SYNCED, ACT_STORE },
	    { EP_FAILED_TO_POLL, ACT_FAIL },
	    STAYS, /* time in line does not count */
	    { EP_EMPTY, ACT_ABANDON },
	},
	/* polling */
	{
	    { EP_POLLING, ACT_SKIP }, /* no overlap */
	    STAYS,
	    STAYS,
	    { EP_SYNCED, ACT_STORE },
	    { EP_FAILED_TO_POLL, ACT_FAIL },
	    { EP_FAILED_TO_POLL, ACT_CANCEL },
	    { EP_EMPTY, ACT_ABANDON },
	},
	/* synced; failed: the store refused */
	{
	    { EP_WAITING_TO_CONNECT, ACT_QUEUE },
	    STAYS,
	    STAYS,
	    STAYS,
	    { EP_FAILED_TO_POLL, ACT_FAIL },
	    STAYS,
	    STAYS,
	},
};

static void
step_follows_the_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		for (int event = 0; event < EVENTS; event++) {
			struct ep_step want = wanted[i][event];
			struct ep_step got = endpoint_step(states[i], (enum ep_event)event);

			if (want.act == ACT_NONE)
				want.next = states[i];
			if (got.next != want.next || got.act != want.act)
				fail_msg("\"%s\", event %d: went to \"%s\", action %d",
				    ep_state_text(states[i]), event, ep_state_text(got.next),
				    (int)got.act);
		}
	}
}

static void
every_state_can_be_left_for_synced(void **state)
{
	/* From the tick on, in order. */
	static const enum ep_event way[] = { EV_TICK, EV_SLOT, EV_CONNECTED, EV_SLOT, EV_DONE };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		enum ep_state at = states[i];

		for (size_t e = 0; e < ARRAY_LEN(way); e++)
			at = endpoint_step(at, way[e]).next;
		assert_int_equal(at, EP_SYNCED);
	}
}

static void
texts_are_upstreams(void **state)
{
	static const char *const texts[] = {
		"failed to poll",
		"failed to connect",
		"empty",
		"waiting to connect",
		"connecting",
		"waiting to poll",
		"polling",
		"synced",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		assert_string_equal(ep_state_text(states[i]), texts[i]);
}

static void
busy_is_from_the_tick_to_the_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(states); i++) {
		bool starts_when_told = endpoint_step(states[i], EV_TICK).act == ACT_QUEUE;

		assert_int_equal(ep_state_is_busy(states[i]), !starts_when_told);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(step_follows_the_table),
		cmocka_unit_test(every_state_can_be_left_for_synced),
		cmocka_unit_test(texts_are_upstreams),
		cmocka_unit_test(busy_is_from_the_tick_to_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
