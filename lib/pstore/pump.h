/*
 * pstore/pump.h - brings the store's records to one writer, each at least once and in order within
 * its series.
 *
 *   read a round -> wait until the journal has it -> send -> all acknowledged: commit, next round
 *
 * A round is at most one batch for each thread (a *lane*); a series always goes by the same lane.
 * A batch is kept, formatted, until the server has it: what fails is sent again as it was, after 1
 * s at first and 60 s at most, or when the server says. A batch that is refused for its content is
 * cut in halves until the bad record is found, by log2(batch) + 1 further requests for a single
 * one; bad ones are counted and go to stateDir/dead/NAME.jsonl. So nothing that one record holds
 * can stop the others, and nothing that a server does can stop the polling.
 *
 * Threads: one of its own, and one for each lane if there are several. All functions but pump_new,
 * pump_start and pump_free may be called by any thread. Locks taken: pump, and the store's.
 */
#ifndef SCOTTY_PSTORE_PUMP_H
#define SCOTTY_PSTORE_PUMP_H

#include "messages/own.h"
#include "pstore/consumer.h"

struct pump;
struct queue;

/* What else is known of an endpoint: tags sorted by key. The texts lead into text. */
#define ORIGIN_TAGS_MAX 64
struct origin_tags {
	struct str region, address;
	struct tag tags[ORIGIN_TAGS_MAX];
	size_t tag_count;
	char text[5 * 1024];
};
typedef void origin_lookup(void *ctx, struct str host, struct str app, struct origin_tags *out);

/* All of it outlives the pump. Functions may be NULL: then there is no such thing. */
struct pump_env {
	struct store *store;
	const char *state_dir; /* NULL or "" = no dead letters */
	int64_t idle_ns;       /* once all was read: what comes within goes together; 0 = 1 s */

	origin_lookup *origin;
	/*
	 * False for a while after the start, in which the look-up does not know all endpoints yet:
	 * nothing is read meanwhile, as it would go under other tags than before.
	 */
	bool (*origins_known)(void *ctx);
	void *origin_ctx;

	/*
	 * The journal: mark returns a number for all that was appended so far; accepted waits until
	 * the deadline (monotonic clock) at most, and tells if that is on its way to the disk. Who
	 * waits holds up a writer, so the journal should write at once.
	 */
	uint64_t (*mark)(void *ctx);
	bool (*accepted)(void *ctx, uint64_t mark, int64_t deadline_ns);
	void *journal_ctx;

	/*
	 * Positions over restarts: load sets a fresh cursor to where the writer of that name was,
	 * save keeps what was committed. -1 with err: logged, and it begins at the oldest value.
	 */
	int (*load)(void *ctx, const char *name, struct cursor *, struct err *);
	int (*save)(void *ctx, const char *name, struct cursor *, struct err *);
	void *positions_ctx;

	int64_t (*mono_ns)(void *ctx); /* NULL = the clocks of the system */
	int64_t (*real_ns)(void *ctx);
	void *clock_ctx;
};

/* The queue: a named position in the store, which outlives changes of configuration. */
struct queue *queue_open(const struct pump_env *, const struct consumer *, struct err *);
void queue_close(struct queue *); /* NULL is fine */
/* True if a consumer configured so can go on with it. */
bool queue_fits(const struct queue *, const struct consumer *);

/*
 * Takes the queue and the consumer, unless it fails. Nothing is written before pump_start. NULL
 * with ERR_CONFIG, ERR_NOMEM.
 */
struct pump *pump_new(const struct pump_env *, struct consumer *, struct queue *, struct err *);
/* Begins its threads. -1 with ERR_IO. */
int pump_start(struct pump *, struct err *);
/* The queue, to be gone on with. The pump must have been stopped. */
struct queue *pump_take_queue(struct pump *);
/* Asks it to end, within about a second; pump_free waits for that. */
void pump_stop(struct pump *);
void pump_free(struct pump *); /* stops; NULL is fine */

/*
 * For tests, instead of pump_start: does what there is to do now, and returns when there is more
 * (monotonic clock, INT64_MAX = not before something changes).
 */
int64_t pump_turn(struct pump *);

const struct consumer *pump_consumer(const struct pump *);
/* Resumed: what was put off after an error is tried at once. */
void pump_pause(struct pump *, bool paused);

enum pump_state {
	PUMP_IDLE, /* all is written */
	PUMP_WRITING,
	PUMP_WAITING,  /* for its records per second, the journal, or history on disk */
	PUMP_RETRYING, /* after an error */
	PUMP_REFUSED,  /* misconfigured: tried now and then */
	PUMP_PAUSED,
};
const char *pump_state_text(enum pump_state); /* "idle", ... */

/* Counted since the start. */
struct pump_stats {
	enum pump_state state;
	uint64_t written;             /* acknowledged */
	uint64_t attempts, successes; /* requests */
	uint64_t retries;
	uint64_t bytes;        /* of requests that were acknowledged, before compression */
	uint64_t unsupported;  /* of a kind that the writer can't hold */
	uint64_t unwritable;   /* values that it can't hold: NaN */
	uint64_t refused;      /* by the server, for good */
	uint64_t dead_letters; /* of these, those kept in the file */
	uint64_t missed;       /* gone from memory and disk before they were read */
	uint64_t waiting;      /* read but not acknowledged */
	/*
	 * In the store or its history on disk and not acknowledged, as of a second ago: values,
	 * also of those left out, and inactive markers; after a restart what is on disk is a guess;
	 * of a roll-up what goes into frames that are not in the making yet.
	 */
	uint64_t left;
	double position; /* in what the store holds, percent; 100 = all is acknowledged */
	double lag_s;    /* age of the oldest record not acknowledged */
	int64_t last_success_ns, last_error_ns; /* wall clock; 0 = never */
	char last_error[ERR_TEXT_BYTES];
};
void pump_get_stats(struct pump *, struct pump_stats *);

/* Gets the length of each round and the time per record; ctx is the caller's. Before pump_start. */
void pump_observe(
    struct pump *, void (*fn)(void *ctx, double round_s, double per_record_ms), void *ctx);

#endif
