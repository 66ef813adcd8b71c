/*
 * pstore/lane_priv.h - one batch on its way to the server: formats it, sends it, and decides what
 * an answer means.
 *
 * The records before `from` are settled: acknowledged, or given up for good. A request has those
 * from `from` to before `upto`. Where a request was refused, [from, bad_end) is known to hold a bad
 * one, and the next request asks for the first half of that.
 *
 * Threads: filled by the pump's, then sent by its own or the pump's; the pump hands it over.
 */
#ifndef SCOTTY_PSTORE_LANE_PRIV_H
#define SCOTTY_PSTORE_LANE_PRIV_H

#include "base/arena.h"
#include "pstore/pump.h"
#include "store/cursor.h"

struct known_series;
struct known_origin;

/* Sums that the lanes of a pump share. */
struct lane_counts {
	_Atomic uint64_t written, attempts, successes, retries, bytes, unwritable, refused,
	    dead_letters, waiting;
};

/* What lanes ask of their pump, on any lane's thread. */
struct lane_env {
	const struct consumer *consumer;
	struct lane_counts *counts;
	const atomic_bool *stop, *paused;
	const _Atomic unsigned *resumed; /* how often: then nobody waits any longer */
	void *ctx;
	/* The server has taken this one; NULL: all of a request. NULL = nobody wants to know. */
	void (*written)(void *ctx, const struct write_record *);
	/* Refused for good. True if it is kept in a file. */
	bool (*dead)(void *ctx, const struct write_record *, const char *why);
	/* Nothing went: again after that time. is_first: the lane's request before went. */
	void (*failed)(void *ctx, const struct write_answer *, int64_t again_ns, bool is_first);
	void (*recovered)(void *ctx); /* the first that went again */
	int64_t (*now_ns)(void *ctx);
};

struct lane {
	const struct lane_env *env;
	struct writer *writer;

	struct write_record *records; /* batch_size */
	uint32_t *ends;
	bool *refused;
	size_t cap, n;
	struct arena values; /* what records lead to */

	size_t from, upto;
	size_t bad_end;           /* 0: nothing is known to be bad */
	size_t bad_count;         /* found in this batch */
	size_t since_bad;         /* records settled since the last one */
	size_t request_max;       /* records of a request, once one was too large */
	char why[ERR_TEXT_BYTES]; /* what the server said of the bad one looked for */
	bool formatted;
	struct buf body;

	int64_t not_before_ns;
	unsigned resumed;  /* when that was set */
	unsigned failures; /* in a row */
	uint64_t random;
};

/* Opens the writer. seed makes its back-off differ from others'. -1 with ERR_CONFIG, ERR_NOMEM. */
int lane_init(
    struct lane *, const struct lane_env *, const struct writer_env *, uint64_t seed, struct err *);
void lane_fini(struct lane *); /* also after a failed init, or of zeros */

/* Empties it for another batch. */
void lane_clear(struct lane *);
/* Adds a record; its value is copied. There must be room. -1 when out of memory. */
int lane_add(
    struct lane *, const struct write_origin *, const struct write_series *, const struct record *);
static inline size_t
lane_room(const struct lane *lane)
{
	return lane->cap - lane->n;
}

/*
 * Does what can be done now: at most one request. Returns when to call again (INT64_MIN = at once,
 * INT64_MAX = all is settled, or paused).
 */
int64_t lane_turn(struct lane *);
static inline bool
lane_is_done(const struct lane *lane)
{
	return lane->from == lane->n;
}

#endif
