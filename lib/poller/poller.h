/*
 * poller/poller.h - the threads that poll. Each is an event loop that owns its endpoints; an
 * endpoint stays with one poller for life (hash of host and application).
 *
 * Threads: pollers_new/free main; the rest any. Locks taken: status, gate, loop, self, those of the
 * store.
 */
#ifndef SCOTTY_POLLER_POLLER_H
#define SCOTTY_POLLER_POLLER_H

#include "messages/own.h"
#include "poller/endpoint_step.h"
#include "poller/target.h"
#include "sources/resolver.h"
#include "store/store.h"

struct pollers;
struct endpoint;

struct pollers_conf {
	unsigned threads; /* 0 = one per processor */
	/*
	 * Endpoints being connected or polled at once; > 0. Those whose last poll timed out get at
	 * most half of them.
	 */
	size_t connections;
	size_t polls; /* of those, transferring; 0 = no limit */
	/*
	 * From the start of the source to CONNECTED, or to the end of the poll for a source that
	 * never reports CONNECTED; from the poll slot to the end. Both > 0.
	 */
	int64_t connect_timeout_ns, poll_timeout_ns;
	int64_t stale_after_ns; /* 0 = never */
	uint64_t max_response;  /* bytes one poll may take; > 0 */
	/*
	 * After each good poll of an endpoint, on its poller's thread, before the batch is emptied.
	 * May be NULL. Must not block.
	 */
	void (*polled)(void *ctx, struct endpoint *, const struct batch *);
	void *ctx;
};

/* store, resolver and own outlive the pool. Threads run at once. NULL with err. */
struct pollers *pollers_new(
    const struct pollers_conf *, struct store *, struct resolver *, struct own *, struct err *);
/*
 * Stops all threads; polls under way are abandoned. No more calls for
 * endpoints but endpoint_status and endpoint_unref: those not removed end here, and their series
 * stay active.
 */
void pollers_free(struct pollers *);
/* New limits and deadlines, from the next poll on (threads stay as they are). */
void pollers_set(struct pollers *, const struct pollers_conf *);

/*
 * Starts polling target (gets a reference). If replaces is not NULL, that endpoint (same host and
 * app) ends first and its series live on in the new one; the caller's reference to it is taken, its
 * status goes on. NULL with ERR_NOMEM, ERR_LIMIT: then replaces is as it was.
 *
 * The options must have been checked against the source's table. The source is opened on its
 * poller's thread by the first poll; one that can't be opened shows as failed to connect, with the
 * source's complaint, and is tried again with each tick.
 */
struct endpoint *endpoint_add(
    struct pollers *, struct target *, struct endpoint *replaces, struct err *);
/* Ends it: poll abandoned, series inactive. Takes the caller's reference. Returns at once. */
void endpoint_remove(struct endpoint *);
/*
 * Has it polled now, outside of its schedule, which stays; nothing happens while a poll is under
 * way. Returns at once.
 */
void endpoint_poll_now(struct endpoint *);
/* The same for all endpoints there are, at the same time. */
void pollers_poll_now(struct pollers *);
struct endpoint *endpoint_ref(struct endpoint *);
void endpoint_unref(struct endpoint *); /* NULL is fine; the last one frees it */

struct target *endpoint_target(const struct endpoint *);     /* lent */
struct series_set *endpoint_series(const struct endpoint *); /* lent */

/* An endpoint as readers see it: a consistent copy. */
struct endpoint_status {
	enum ep_state state;
	bool down;                  /* the last poll that ended failed */
	char error[ERR_TEXT_BYTES]; /* why; "" if not down */
	int64_t error_ts_ns;        /* when it went wrong (last failure); TS_NONE if not down */
	int64_t last_poll_ts_ns;    /* end of the last good poll, wall clock; TS_NONE before any */
	bool stale;                 /* no good poll for stale_after: series are marked inactive */
	int64_t wait_connect_ns, connect_ns, wait_poll_ns, poll_ns; /* of the last poll */
	size_t metric_count;                                        /* of the last good poll */
	size_t bad_count;                                           /* metrics it left out */
	char bad_text[256];                                         /* the first of those and why */
	uint64_t polls, failures;                                   /* ended, of those failed */
	uint64_t skipped; /* ticks that found the poll before under way, or the loop too late */
	uint64_t first_values;              /* values added by the first good poll */
	uint64_t later_values, later_polls; /* by those after it */
	int64_t lateness_ns;                /* start of the last poll that ended after its tick */
	size_t body_bytes, changed;         /* of the last good poll: its answer, values added */
};
void endpoint_status(struct endpoint *, struct endpoint_status *out);

#endif
