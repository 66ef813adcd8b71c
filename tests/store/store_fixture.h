/*
 * store_fixture.h - one store with one set, batches in a line, and histories as text.
 *
 * Times in tests are milliseconds after BASE_NS.
 */
#ifndef SCOTTY_TESTS_STORE_FIXTURE_H
#define SCOTTY_TESTS_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/cursor.h"
#include "store/iter.h"
#include "store/store.h"

#define BASE_NS   (1500000000 * NS_PER_S)
#define AT(ms)    (BASE_NS + (ms)*NS_PER_MS)
#define BIG_BYTES (64 * 1024 * 1024)

struct fixture {
	struct store *store;
	struct series_set *set; /* web1/app */
	struct batch batch;
	struct append_stats stats; /* of the last append */
	struct buf text;
};

/* A number that looks like none other, so that it takes much room in a page. */
int64_t noise(int64_t);

/* Ends the test if it can't. */
struct fixture *fixture_new(uint64_t memory_bytes);
void fixture_free(struct fixture *);
/* For cmocka: a store with plenty of room. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Adds one metric to the batch, described by its kind and path only. */
void put(struct fixture *, const char *path, enum kind, struct value, int64_t group, int64_t ms);
void put_desc(
    struct fixture *, const struct metric_desc *, struct value, int64_t group, int64_t ms);
void put_i64(struct fixture *, const char *path, int64_t value, int64_t group, int64_t ms);
void put_text(struct fixture *, const char *path, const char *value, int64_t group, int64_t ms);
/* Buckets up to 10, up to 20, above. */
void put_dist(
    struct fixture *, const char *path, const uint64_t counts[3], uint64_t generation, int64_t ms);
/* Appends the batch to the set, which must work, and empties it. */
void append(struct fixture *);
int append_to(struct fixture *, struct series_set *, struct err *);

/*
 * "MS:VALUE MS:VALUE ...", newest first, with an 'i' after what is inactive. Valid until the next
 * call. Strings are quoted, lists are [a,b], a distribution is sum/count/rollovers(counts).
 */
const char *range_text(struct fixture *, const char *path, int64_t start_ns, int64_t end_ns);
const char *history(struct fixture *, const char *path);
/* "PATH=MS:VALUE ..." of all active series under the prefix. */
const char *latest_text(struct fixture *, const char *prefix);
/* "PATH=MS:VALUE ..." of what the cursor reads, at most max at a time, until it is caught up. */
const char *cursor_text(struct fixture *, struct cursor *, size_t max);

#endif
