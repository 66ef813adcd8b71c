#include "poller/endpoint_step.h"

#include "base/str.h"

/*
 * Every transition there is; what is not listed leaves the state and does nothing. A source need
 * not report that it is connected, and one that cannot hold its answer back may be done or fail
 * before the poll slot is there.
 */
static const struct transition {
	enum ep_state from;
	enum ep_event on;
	struct ep_step step;
} transitions[] = {
	{ EP_EMPTY, EV_TICK, { EP_WAITING_TO_CONNECT, ACT_QUEUE } },
	{ EP_SYNCED, EV_TICK, { EP_WAITING_TO_CONNECT, ACT_QUEUE } },
	{ EP_FAILED_TO_CONNECT, EV_TICK, { EP_WAITING_TO_CONNECT, ACT_QUEUE } },
	{ EP_FAILED_TO_POLL, EV_TICK, { EP_WAITING_TO_CONNECT, ACT_QUEUE } },

	{ EP_WAITING_TO_CONNECT, EV_TICK, { EP_WAITING_TO_CONNECT, ACT_SKIP } },
	{ EP_WAITING_TO_CONNECT, EV_SLOT, { EP_CONNECTING, ACT_CONNECT } },
	{ EP_WAITING_TO_CONNECT, EV_STOP, { EP_EMPTY, ACT_ABANDON } },

	{ EP_CONNECTING, EV_TICK, { EP_CONNECTING, ACT_SKIP } },
	{ EP_CONNECTING, EV_CONNECTED, { EP_WAITING_TO_POLL, ACT_QUEUE_POLL } },
	{ EP_CONNECTING, EV_DONE, { EP_SYNCED, ACT_STORE } },
	{ EP_CONNECTING, EV_FAILED, { EP_FAILED_TO_CONNECT, ACT_FAIL } },
	{ EP_CONNECTING, EV_TIMEOUT, { EP_FAILED_TO_CONNECT, ACT_CANCEL } },
	{ EP_CONNECTING, EV_STOP, { EP_EMPTY, ACT_ABANDON } },

	{ EP_WAITING_TO_POLL, EV_TICK, { EP_WAITING_TO_POLL, ACT_SKIP } },
	{ EP_WAITING_TO_POLL, EV_SLOT, { EP_POLLING, ACT_POLL } },
	{ EP_WAITING_TO_POLL, EV_DONE, { EP_SYNCED, ACT_STORE } },
	{ EP_WAITING_TO_POLL, EV_FAILED, { EP_FAILED_TO_POLL, ACT_FAIL } },
	{ EP_WAITING_TO_POLL, EV_STOP, { EP_EMPTY, ACT_ABANDON } },

	{ EP_POLLING, EV_TICK, { EP_POLLING, ACT_SKIP } },
	{ EP_POLLING, EV_DONE, { EP_SYNCED, ACT_STORE } },
	{ EP_POLLING, EV_FAILED, { EP_FAILED_TO_POLL, ACT_FAIL } },
	{ EP_POLLING, EV_TIMEOUT, { EP_FAILED_TO_POLL, ACT_CANCEL } },
	{ EP_POLLING, EV_STOP, { EP_EMPTY, ACT_ABANDON } },

	/* The store refused the batch. */
	{ EP_SYNCED, EV_FAILED, { EP_FAILED_TO_POLL, ACT_FAIL } },
};

struct ep_step
endpoint_step(enum ep_state state, enum ep_event event)
{
	for (size_t i = 0; i < ARRAY_LEN(transitions); i++) {
		const struct transition *t = &transitions[i];

		if (t->from == state && t->on == event)
			return t->step;
	}
	return (struct ep_step){ state, ACT_NONE };
}

const char *
ep_state_text(enum ep_state state)
{
	switch (state) {
	case EP_FAILED_TO_POLL:
		return "failed to poll";
	case EP_FAILED_TO_CONNECT:
		return "failed to connect";
	case EP_EMPTY:
		return "empty";
	case EP_WAITING_TO_CONNECT:
		return "waiting to connect";
	case EP_CONNECTING:
		return "connecting";
	case EP_WAITING_TO_POLL:
		return "waiting to poll";
	case EP_POLLING:
		return "polling";
	case EP_SYNCED:
		return "synced";
	}
	return "";
}

bool
ep_state_is_busy(enum ep_state state)
{
	return state >= EP_WAITING_TO_CONNECT && state <= EP_POLLING;
}
