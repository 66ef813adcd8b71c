/*
 * endpoint_fixture.h - endpoints against sources that do what the test says, on a loop whose clock
 * the test turns: a pool with one poller and no thread.
 */
#ifndef SCOTTY_TESTS_ENDPOINT_FIXTURE_H
#define SCOTTY_TESTS_ENDPOINT_FIXTURE_H

#include "base/clock.h"
#include "poller/endpoint_priv.h"
#include "poller/poller.h"

#define INTERVAL_NS        (30 * NS_PER_S)
#define CONNECT_TIMEOUT_NS (5 * NS_PER_S)
#define POLL_TIMEOUT_NS    (10 * NS_PER_S)
#define STALE_AFTER_NS     (100 * NS_PER_S)
#define START_MONO_NS      (1000 * NS_PER_S)
#define START_REAL_NS      (INT64_C(1700000000) * NS_PER_S)

/* What the source of the target with this number as its port does and did. */
struct script {
	bool refuses_to_open;
	bool reports_inside_start; /* CONNECTED and DONE */
	bool skips_connected;      /* with the former: DONE only */
	size_t metrics;            /* to add before DONE; 0 = 1 */
	bool has_bad_metric;
	/* What happened so far. */
	unsigned opened, closed, started, cancelled, proceeded;
	struct poll_job *job; /* of the poll under way */
};

#define SCRIPTS 8
extern struct script scripts[SCRIPTS];

/* As the source under way would. */
void report_connected(struct script *);
void report_done(struct script *);
void report_failed(struct script *, const char *text);

extern const struct source_ops waiting_ops; /* holds its answer back; called "tricorder" */
extern const struct source_ops plain_ops;   /* does not */

struct fixture {
	int fds;
	struct own *own;
	struct store *store;
	struct resolver *resolver;
	struct pollers_conf conf;
	struct pollers *pool;
	struct loop *loop;
	int64_t passed_ns; /* since the start */
	int64_t jump_ns;   /* by which the wall clock was set */
	unsigned polled;   /* calls of the hook */
	size_t polled_metrics;
};

void begin(struct fixture *);
void begin_with(struct fixture *, uint64_t store_bytes, size_t connections, size_t polls);
/* All endpoints must have been handed back; nothing may be left of them. */
void finish(struct fixture *);
void set_timeouts(struct fixture *, int64_t connect_ns, int64_t poll_ns);

/* Turns until nothing that was deferred is left. */
void settle(struct fixture *);
/* Lets time pass: with a single turn, or with settle after it. */
void advance_one_turn(struct fixture *, int64_t ns);
void advance(struct fixture *, int64_t ns);

/* HOST/app at 10.0.0.1:PORT. Caller unrefs. */
struct target *target_of(const char *host, unsigned port, const struct source_ops *);
struct endpoint *add_target(struct fixture *, const char *host, unsigned port,
    const struct source_ops *, struct endpoint *replaces);
/* Adds hostPORT: add waits for the poller to take it in, add_replacing does not. */
struct endpoint *add(struct fixture *, unsigned port, const struct source_ops *);
struct endpoint *add_replacing(
    struct fixture *, unsigned port, const struct source_ops *, struct endpoint *replaces);
void remove_and_finish(struct fixture *, struct endpoint *);

/* How long until the endpoint's next tick. */
int64_t until_tick(const struct fixture *, struct endpoint *);
void go_to_tick(struct fixture *, struct endpoint *);
/* A whole good poll at the next tick. */
void poll_well(struct fixture *, struct endpoint *, struct script *);

struct endpoint_status status_of(struct endpoint *);
void assert_state(struct endpoint *, enum ep_state wanted);
size_t active_series(struct endpoint *);

#endif
