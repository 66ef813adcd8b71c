/*
 * poller/endpoint_step.h - an endpoint's life as a pure function: state and event in, next state
 * and one action out. endpoint.c carries the action out; nothing here has an effect.
 *
 *   EMPTY, SYNCED, FAILED_TO_... --tick--> WAITING_TO_CONNECT --slot--> CONNECTING
 *   CONNECTING --connected--> WAITING_TO_POLL --slot--> POLLING --done--> SYNCED
 *   CONNECTING --failed, timeout--> FAILED_TO_CONNECT
 *   WAITING_TO_POLL --failed--> FAILED_TO_POLL
 *   POLLING --failed, timeout--> FAILED_TO_POLL
 *   CONNECTING, WAITING_TO_POLL --done--> SYNCED --failed: the store refused--> FAILED_TO_POLL
 *   from tick to end --stop--> EMPTY
 */
#ifndef SCOTTY_POLLER_ENDPOINT_STEP_H
#define SCOTTY_POLLER_ENDPOINT_STEP_H

#include <stdbool.h>

/* Values and texts are upstream's. */
enum ep_state {
	EP_FAILED_TO_POLL = -2,
	EP_FAILED_TO_CONNECT = -1,
	EP_EMPTY = 0,
	EP_WAITING_TO_CONNECT = 1,
	EP_CONNECTING = 2,
	EP_WAITING_TO_POLL = 3,
	EP_POLLING = 4,
	EP_SYNCED = 5,
};

enum ep_event {
	EV_TICK, /* time to poll */
	EV_SLOT, /* the gate waited for let it through */
	EV_CONNECTED,
	EV_DONE,    /* the batch is full */
	EV_FAILED,  /* the source gave up */
	EV_TIMEOUT, /* connect or poll deadline */
	EV_STOP,    /* the endpoint is being removed */
};

enum ep_action {
	ACT_NONE,
	ACT_SKIP,       /* a tick during a poll: count it */
	ACT_QUEUE,      /* ask for a connection slot */
	ACT_CONNECT,    /* start the source, connect deadline */
	ACT_QUEUE_POLL, /* ask for a poll slot */
	ACT_POLL,       /* let the source go on, poll deadline */
	ACT_STORE,      /* append the batch, give the slots back */
	ACT_FAIL,       /* note the source's error, give the slots back */
	ACT_CANCEL,     /* cancel the source, note the time-out, give the slots back */
	ACT_ABANDON,    /* cancel whatever goes on, give the slots back, say nothing */
};

struct ep_step {
	enum ep_state next;
	enum ep_action act;
};

/* Any state with any event; an event that makes no sense there leaves the state with ACT_NONE. */
struct ep_step endpoint_step(enum ep_state, enum ep_event);

/* "", "waiting to connect", ..., "failed to poll". EP_EMPTY gives "empty". */
const char *ep_state_text(enum ep_state);
/* True from the tick to the end of the poll. */
bool ep_state_is_busy(enum ep_state);

#endif
