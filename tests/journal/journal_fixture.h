/*
 * journal_fixture.h - a fleet without a network, its store, and a journal in a directory of the
 * test's own, whose time is turned by hand.
 */
#ifndef SCOTTY_TESTS_JOURNAL_FIXTURE_H
#define SCOTTY_TESTS_JOURNAL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gen_metrics.h"
#include "journal/journal.h"
#include "store/iter.h"

#define ENDPOINTS 3
#define METRICS   20

struct fixture {
	char dir[64];
	struct journal_conf conf;
	struct gen *gen;
	uint64_t poll_count; /* so far */
	int64_t mono_ns, real_ns;
	/* What is open. */
	struct store *store;
	struct journal *journal;
};

/* What is polled. */
struct gen_conf fixture_gen_conf(void);

void fixture_init(struct fixture *);
/* Closes it, and deletes the directory. */
void fixture_fini(struct fixture *);

/* A store with what the journal brings back. -1: journal_restore's. */
int fixture_open(struct fixture *, struct err *);
/* The same, and it goes on from there. */
void fixture_start(struct fixture *);
void fixture_close(struct fixture *);

/* All endpoints are polled once. */
void fixture_poll(struct fixture *);
/* So much time passes, and the journal wakes up. */
void fixture_turn(struct fixture *, int64_t ns);

/* What the store answers to all there is to ask: equal if it holds the same. */
struct sum {
	uint64_t hash;
	size_t records;
};
struct sum fixture_sum(struct store *);
void assert_same_sum(struct sum, struct sum);
/*
 * All that the one holds, the other says too, for that time. Ends the test if not.
 */
void assert_part_of(struct store *part, struct store *whole);
/* Rows of all sets, in what was ever polled. */
uint64_t fixture_rows(struct store *);

/* Files of the journal. */
/* How many files whose names hold that text; the name of the last by name, if name is not NULL. */
size_t fixture_files(struct fixture *, const char *text, char name[256]);
/* The same of another directory. */
size_t fixture_files_in(struct fixture *, const char *dir, const char *text, char name[256]);
/* A file's bytes, on the heap. */
char *fixture_read(struct fixture *, const char *name, size_t *len);
void fixture_write(struct fixture *, const char *name, const void *p, size_t len);
/* Deletes all files whose names hold that text. */
void fixture_delete(struct fixture *, const char *text);

#endif
