/*
 * journal/history_priv.h - sealed history: segments that are over become files sorted by endpoint
 * (sealed_priv.h), on a thread of its own and of low priority; old ones go; queries read them.
 *
 * Threads: any, unless it says otherwise. Locks taken: history; to read, store's of a scratch.
 */
#ifndef SCOTTY_JOURNAL_HISTORY_PRIV_H
#define SCOTTY_JOURNAL_HISTORY_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/lock.h"
#include "journal/files_priv.h"
#include "journal/sealed_priv.h"
#include "messages/own.h"
#include "store/past.h"

struct history_conf {
	const char *state_dir;
	int64_t retention_ns; /* 0: nothing is sealed */
	uint64_t disk_bytes;  /* with the journal */
	double disk_percent;  /* if it is not 0, so much of the file system instead */
	size_t band_bytes;    /* sorted out at a time; 0 = 32 MiB */
	/* Most memory of all who query, and again of all who read oldest first; 0 = 256 MiB. */
	uint64_t read_bytes;
	bool manual; /* for tests: no thread, history_turn is called */
};

struct sealed_info {
	uint64_t number, bytes;
	int64_t begun_ns, written_ns; /* of the segment it was */
};

struct history {
	struct store_past past;
	struct history_conf conf; /* the text in it is owned */
	struct own *own;          /* NULL: no own metrics */
	pthread_t thread;
	bool has_thread;
	_Atomic int journal_fd, history_fd; /* -1: not open yet */
	_Atomic bool stopping;

	struct lock lock;
	struct lock_cond wake;
	struct sealed_info *files; /* lock; by number */
	size_t len, cap;           /* lock */
	uint64_t next_number;      /* lock; above all there were */
	uint64_t before;           /* lock; segments below that number are over */
	uint64_t wanted;           /* lock; those below that are to be */
	uint64_t sealed_before;    /* lock; those below that are sealed */
	bool is_writing;           /* lock; there is a segment that is not over */
	bool is_stuck;             /* lock; one can't be read to be sealed */
	bool has_work;             /* lock */

	bool failing; /* the thread's */

	_Atomic uint64_t file_count, bytes, sealed_count, dropped_count, error_count, query_count,
	    refused_count, cut_count, reading_bytes, followed_count,
	    following_bytes;       /* the same of those who read oldest first */
	_Atomic int64_t oldest_ns; /* begin of the oldest file; TS_NONE */
};

/* own may be NULL. NULL with ERR_NOMEM. */
struct history *history_new(const struct history_conf *, struct own *, struct err *);
void history_free(struct history *); /* NULL is fine; it was stopped */

/*
 * Opens what there is. What is no good is set aside and logged. -1 with ERR_CONFIG: a file is of a
 * later version. Once, before all below.
 */
int history_load(struct history *, struct err *);
/* Before the first query. -1 with ERR_IO (no thread). */
int history_start(struct history *, struct err *);
void history_stop(struct history *);

/* Segments with lower numbers are not written any more; is_writing: one is. */
void history_seal_before(struct history *, uint64_t number, bool is_writing);
/* True if the segment that is being written should end soon, as somebody waits for it. */
bool history_wants_segment(struct history *);
/* Above the numbers of all there are or were. */
uint64_t history_next_number(struct history *);
/* Adds what there is to the list. -1 with ERR_NOMEM. */
int history_list(struct history *, struct segment_files *, struct err *);
/* False: it was dropped, or there never was one. */
bool history_has(struct history *, uint64_t number);
/* What the thread does when it wakes up. -1 with ERR_IO, ERR_NOMEM: to be tried again. */
int history_turn(struct history *, int64_t real_ns, struct err *);

/* history_read.c */
int history_past_open(
    struct store_past *, const struct past_query *, struct past_found *, struct err *);
void history_past_close(struct store_past *, struct past_found *);
/* history.c */
uint64_t history_past_seal(struct store_past *);
enum past_sealing history_past_sealing(struct store_past *, uint64_t number);

/* history_earliest.c */
int64_t history_past_earliest(
    struct store_past *, struct str host, struct str app, int64_t birth_ns, int64_t whole_ns);

/* history_self.c */
int history_self_add(struct history *, struct own *, struct err *);
void history_self_remove(struct history *);

#endif
