/*
 * journal/journal.h - what was polled, on disk: the store's tellings (store/redo.h) in segments,
 * stateDir/journal/NUMBER.sj, and the store brought back from them.
 *
 * Pollers put what they tell into a buffer in memory; the journal's thread writes it at least every
 * 250 ms, or when somebody waits for it, and makes it durable once a sync interval. Pollers never
 * wait for the disk. A telling is *accepted* once it is written, so that the death of the process
 * does not lose it.
 *
 * If the disk does not do its part, the journal is *degraded*: polling goes on, what is told is
 * counted as lost, and all counts as accepted. It tries again, ever more seldom, with a new
 * segment, in which all is told anew.
 *
 * A segment ends after a while or when it is large. Then it becomes a file of sealed history,
 * stateDir/history/NUMBER.sh, sorted by endpoint, from which the store is brought back as well, and
 * which readers of the store get to see where memory ends (store/past.h). It stays until it is
 * older than the retention, or all take too much room. What is damaged is set aside under another
 * name and never deleted.
 *
 * Threads: any, unless it says otherwise. Locks taken: journal, and store's while restoring.
 */
#ifndef SCOTTY_JOURNAL_JOURNAL_H
#define SCOTTY_JOURNAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "messages/own.h"
#include "store/redo.h"

struct journal;

struct journal_conf {
	const char *state_dir;
	int64_t sync_ns;    /* 0 = after each write */
	int64_t segment_ns; /* a segment ends when it is so old */
	/* Or so large, and four times as large as what it told of what all endpoints are. */
	uint64_t segment_bytes;
	/*
	 * History goes when it was not written to for so long; 0: there is none but the segments
	 * that are needed to restart.
	 */
	int64_t retention_ns;
	uint64_t disk_bytes; /* all files together; the oldest go */
	double disk_percent; /* if it is not 0, so much of the file system instead, as it is then */
	int64_t restore_ns;  /* segments last written so long before the newest stay on disk */
	uint64_t restore_bytes;   /* most that is read of segments at a start; 0 = no limit */
	unsigned restore_threads; /* 0 = one per processor, up to 8 */
	size_t band_bytes;        /* sorted out at a time; 0 = 32 MiB */
	uint64_t read_bytes;      /* most memory for all who read history on disk; 0 = 256 MiB */
	size_t waiting_bytes;     /* what waits for a slow disk; more is lost; 0 = 16 MiB */
	bool manual;              /* for tests: no thread, journal_turn is called */
};

/*
 * Makes the directory journal if need be. What it can't do there is logged, and tried again later.
 * own may be NULL. NULL with ERR_NOMEM, ERR_IO (no thread).
 */
struct journal *journal_new(const struct journal_conf *, struct own *, struct err *);
/* Stops it if need be. NULL is fine. */
void journal_free(struct journal *);

/* Asked now and then; true to have restoring end early. */
typedef bool (*journal_stop_fn)(void *ctx);

/*
 * Brings the store back from the segments: the newest that hold at most memory_bytes, as more does
 * not fit, are at most restore_bytes large and not older than restore_ns says, but always the
 * newest two, and one that was written long enough to tell of silent endpoints too. Says so in the
 * log each second. stop may be NULL. -1 with ERR_CONFIG: a segment is of a later version; nothing
 * was touched. All other trouble is logged, and what there is comes back.
 */
int journal_restore(struct journal *, struct store *, uint64_t memory_bytes, journal_stop_fn stop,
    void *ctx, struct err *);
/* Begins to write what the store tells. Before the first append. -1 with ERR_IO (no thread). */
int journal_start(struct journal *, struct store *, struct err *);
/* Writes what is left, durably. The store is no longer appended to, but still there. */
void journal_stop(struct journal *);

/* Stands for all that was told so far. */
uint64_t journal_mark(struct journal *);
/* True if all that the mark stands for is written, or never will be as the journal is degraded. */
bool journal_accepted(struct journal *, uint64_t mark);
/* Has it written at once, and waits for that; false when the time was up. */
bool journal_wait(struct journal *, uint64_t mark, int64_t deadline_mono_ns);

struct journal_stats {
	uint64_t bytes, rows, values, chunks, syncs, segments; /* written by this process */
	uint64_t lost_rows;                                    /* told, but not kept */
	uint64_t lost_restoring_rows; /* kept, but not brought back at the start */
	uint64_t missing_rows;        /* found missing at the start */
	uint64_t restored_rows, restored_values;
	bool degraded, restoring;
};
void journal_get_stats(struct journal *, struct journal_stats *);
/* What last went wrong; "" if nothing did. */
void journal_last_error(struct journal *, char *text, size_t bytes);

/* For tests: what the thread does when it wakes up, at these times. */
void journal_turn(struct journal *, int64_t mono_ns, int64_t real_ns);

/* For tests: what the thread does that seals segments which are over. -1 with ERR_IO, ERR_NOMEM. */
int journal_seal(struct journal *, int64_t real_ns, struct err *);

/* What is on disk, for who checks it. */
struct journal_check {
	uint64_t bytes, good_bytes; /* of the file; of them, from its start, without a fault */
	uint32_t chunk_count;
	char fault[ERR_TEXT_BYTES]; /* "" if there is none */
};
/*
 * Checks one file of the directory (of segments, or of sealed ones), and changes nothing. False if
 * the name is not one of theirs.
 */
bool journal_check_file(const char *journal_dir, const char *name, struct journal_check *);

#endif
