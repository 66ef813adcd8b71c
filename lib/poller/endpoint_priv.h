/*
 * poller/endpoint_priv.h - what endpoint.c and poller.c share: the pool, its threads, and what one
 * poll needs. Tests turn a poller's loop by hand with it.
 */
#ifndef SCOTTY_POLLER_ENDPOINT_PRIV_H
#define SCOTTY_POLLER_ENDPOINT_PRIV_H

#include <pthread.h>

#include "base/loop.h"
#include "poller/gate.h"
#include "poller/poller.h"
#include "sources/snmp_totals.h"

/*
 * Batches kept for their memory, when empty: enough for the answers that one thread is reading
 * unless targets are slow.
 */
#define BATCHES_KEPT 32

/*
 * One poll: taken from its poller when it starts and given back when it is over, so that memory
 * goes with what is under way, not with the number of endpoints.
 */
struct poll {
	struct poll_job job; /* lent to the source */
	struct batch batch;  /* has memory once the source has begun it */
	struct endpoint *owner;
	struct loop_task react_task; /* acts on what was reported */
	struct loop_timer deadline;
	bool running;      /* started, and neither DONE nor FAILED was reported */
	bool connected;    /* reported, not acted on yet */
	enum ep_event end; /* EV_DONE or EV_FAILED was reported; EV_TICK: neither yet */
	struct err err;    /* why, if EV_FAILED */
	struct poll *next; /* of those at rest */
};

/* A thread that polls. All fields belong to it once it runs. */
struct poller {
	struct pollers *pool;
	struct loop *loop;
	struct source_env env;
	struct endpoint *endpoints; /* those it polls, newest first */
	/*
	 * Those whose tick has come and who have not been let through yet, longest waiting first:
	 * when there is more to poll than can be done in time, all wait alike, and what is under
	 * way stays little.
	 */
	struct endpoint *line_first, *line_last;
	struct loop_timer line_timer; /* lets some through; set while somebody is in line */
	uint64_t start_turn;          /* the loop's turn that starts_left is for */
	unsigned starts_left;
	struct poll *rest; /* polls to be used again */
	size_t rest_count;
	struct batch kept[BATCHES_KEPT]; /* the last one was used last: it is the next */
	size_t kept_count;
	struct loop_task poll_now_task;
	struct loop_task stop_task;
	pthread_t thread;
	bool started; /* pollers_new and pollers_free: the thread is there */
};

struct pollers {
	/* Constant. */
	struct store *store;
	struct own *own;
	struct tricorder_layouts *layouts;
	void (*polled)(void *ctx, struct endpoint *, const struct batch *);
	void *ctx;
	struct poller *pollers;
	unsigned count;
	int64_t began_mono_ns;
	struct own_dist *collection_times, *tricorder_times, *changed, *lateness;
	bool own_added;

	/* pollers_set, any poller. */
	_Atomic int64_t connect_timeout_ns, poll_timeout_ns, stale_after_ns;
	_Atomic uint64_t max_response;
	struct gate connections, polls;
	/*
	 * Of the connections, how many may go to endpoints whose last poll took too long: however
	 * many of them hang, the good ones find slots.
	 */
	struct gate slow_connections;

	/* Own metrics: any poller adds, any thread reads. */
	_Atomic uint64_t endpoint_count, poll_count, failed_count, bad_count, skipped_count;
	struct snmp_totals snmp;
	_Atomic uint64_t metric_count, body_bytes; /* of all good polls */
};

/*
 * pollers_new without starting the threads; pollers_free without stopping them: no endpoint may be
 * left.
 */
struct pollers *pollers_make(
    const struct pollers_conf *, struct store *, struct resolver *, struct own *, struct err *);
void pollers_unmake(struct pollers *);

/* A poll with an empty batch, bound by max_response. NULL when out of memory. */
struct poll *poller_take_poll(struct poller *);
void poller_give_poll(struct poller *, struct poll *);
/* The source is about to fill the batch: it gets the memory that was used last. */
void poller_begin_batch(struct poller *, struct poll *);

/*
 * True if another poll may start in this turn of the poller's loop, and counts it. Polls start in
 * small portions, and only once the answers to those before have been taken in.
 */
bool poller_may_start(struct poller *);
/* Lets those in line through, as far as may be. The poller's thread. */
void endpoints_serve_line(struct poller *);
/* Has all endpoints of a poller polled now. The poller's thread. */
void endpoints_poll_now(struct poller *);
/* Ends all endpoints of a poller; their series stay as they are. The poller's thread. */
void endpoints_end(struct poller *);

#endif
