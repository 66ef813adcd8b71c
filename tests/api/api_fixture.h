/*
 * api_fixture.h - requests without a server: a store, own metrics, a fleet made of a table, and a
 * client that hands requests to routes_dispatch and reads the whole answer.
 */
#ifndef SCOTTY_TESTS_API_FIXTURE_H
#define SCOTTY_TESTS_API_FIXTURE_H

#include "api/route_priv.h"

/* 2026-11-20 21:21:03 UTC, in the hour of the captured answers. */
#define FIXTURE_NOW_NS (INT64_C(1795209663) * INT64_C(1000000000))

struct api_fixture {
	struct service service;
	struct store *store;
	struct own *own;

	/* For the next requests. */
	struct header headers[8]; /* of the request, ended by a NULL name */
	const char *body;
	unsigned refuse;
	bool from_afar;

	/* The answer, until the next request. */
	unsigned status;
	struct response response; /* its body and stream are empty by then */
	struct buf answer;
	size_t largest_piece;
	bool broken; /* the stream failed */
	struct request request;
};

void api_fixture_init(struct api_fixture *);
void api_fixture_fini(struct api_fixture *);
/* For cmocka: one fixture is the state. */
int api_fixture_setup(void **state);
int api_fixture_teardown(void **state);

/* Asks and returns the whole body, ended by a NUL, compressed or not. */
const char *ask(struct api_fixture *, enum method, const char *target);
const char *get(struct api_fixture *, const char *target);
void set_header(struct api_fixture *, const char *name, const char *value); /* NULL: take it away */
/* The answer's header of that name, or NULL. */
const char *answer_header(const struct api_fixture *, const char *name);

/* Appends a batch to host/app, taking it. */
void store_batch(struct api_fixture *, const char *host, const char *app, struct batch *);
/* One metric with the stamp, in its own group `group`. */
void add_int(struct batch *, const char *path, int64_t value, int64_t group, int64_t ts_ns);

/* A batch for adding to in any order. */
void batch_begin(struct batch *);
/*
 * Metrics of every kind, lists of every kind of element, texts that need escapes, tags, limits.
 * round: 0, 1, ... gives other values and stamps, a second apart up to FIXTURE_NOW_NS for 3.
 */
void add_every_kind(struct batch *, int round);
/*
 * Expects a target's compact answer to be the indented one (format=text) without its white space:
 * the two are written in different ways.
 */
void expect_both_layouts_agree(struct api_fixture *, const char *target);

/*
 * The fake fleet: what fleet_snapshot shows, sorted by the caller. state of put and delete: what
 * the last call got, and what it answers.
 */
struct fake_fleet {
	struct member_view members[8];
	size_t len;
	unsigned refs; /* snapshots not freed */
	/* of fleet_put, fleet_delete */
	enum err_code fails; /* ERR_NONE: they succeed */
	bool creates;
	unsigned puts, deletes;
	char host[64], app[64], body[256];
	bool from_loopback;
};
extern struct fake_fleet fake_fleet;

#endif
