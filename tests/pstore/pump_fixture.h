/*
 * pump_fixture.h - a pump over a store, with a sink that answers as told and a clock that is turned
 * by hand.
 *
 * A record is a line "PATH VALUE MS", with "end" for a value where a float64 has none any more; the
 * sink keeps the lines of the requests it took.
 */
#ifndef SCOTTY_TESTS_PUMP_FIXTURE_H
#define SCOTTY_TESTS_PUMP_FIXTURE_H

#include "../store/store_fixture.h"
#include "pstore/pump.h"

enum sink_mode {
	SINK_OK,
	SINK_LATER,
	SINK_MISCONFIGURED,
	SINK_PICKY, /* refuses requests that hold a bad record */
	SINK_SMALL, /* says too large above `most` records, or when one has a bad record alone */
	SINK_SOME,  /* writes all but the bad ones, and names them */
	SINK_COUNTS /* the same, without naming them */
};

struct sink {
	enum sink_mode mode;
	unsigned left;          /* requests until it is SINK_OK; 0 = for ever */
	int64_t retry_after_ns; /* of SINK_LATER */
	size_t most;
	const char *bad; /* lines that begin with this are bad */

	struct buf taken;
	size_t taken_count, requests, refused_requests;
	struct buf last; /* body of the last request */
	bool same;       /* the last two had the same */
};

struct pump_fixture {
	struct fixture *store;
	struct pump_env env;
	struct pump *pump;
	int64_t mono_ns, real_ns;
	uint64_t mark, accepted_mark; /* the journal's */
	unsigned saves;
	size_t taken_at_save; /* by the sink */
	char state_dir[64];
};

extern struct sink sink;
extern const struct writer_ops fake_ops;

int pump_fixture_setup(void **state);
int pump_fixture_teardown(void **state);

/* A consumer with the fake writer; batches of that length. */
struct consumer *fake_consumer(size_t batch_size, unsigned concurrency);
/* Opens a queue and a pump. */
void open_pump(struct pump_fixture *, struct consumer *);
/* Turns it and its clock until there is nothing to write; at most for so long. */
void run_pump(struct pump_fixture *, int64_t at_most_ns);
struct pump_stats stats_of(struct pump_fixture *);
/* n polls of that many series /sNNN each, whose values are the poll's number. */
void fill_store(struct pump_fixture *, unsigned series, unsigned polls);
/* Each series of fill_store is there with its values once each, in order, but for `missing`. */
void check_taken(unsigned series, unsigned polls, const char *missing);

#endif
