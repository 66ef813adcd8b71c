/*
 * journal/journal_priv.h - the journal itself.
 */
#ifndef SCOTTY_JOURNAL_JOURNAL_PRIV_H
#define SCOTTY_JOURNAL_JOURNAL_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/lock.h"
#include "journal/history_priv.h"
#include "journal/journal.h"
#include "journal/segment_priv.h"

struct journal {
	struct store_tap tap;
	struct journal_conf conf; /* the text in it is owned */
	struct own *own;          /* NULL: no own metrics */
	struct history *history;  /* what becomes of segments that are over */
	struct store *store;      /* that tells it; NULL: none */
	pthread_t thread;
	bool has_thread;

	struct lock lock;
	struct lock_cond wake;           /* of the thread: much waits, somebody waits, or stop */
	struct lock_cond written;        /* for journal_wait */
	struct buf waiting;              /* lock; told, not written */
	struct store_told waiting_told;  /* lock */
	size_t open_at;                  /* lock; where the telling under way begins */
	uint64_t stretch;                /* lock; the segment that waiting is for */
	bool listening;                  /* lock; tellings are taken */
	bool wants_segment;              /* lock; waiting is no good from here on without another */
	bool hurries;                    /* lock; somebody waits for what is told to be written */
	bool stopping;                   /* lock */
	_Atomic uint64_t told_count;     /* lock to change it; tellings so far */
	_Atomic uint64_t accepted_count; /* lock to change it; of them, accepted */

	/* The thread's. */
	int dir_fd; /* -1: not open yet */
	struct segment_writer segment;
	struct buf writing;
	bool is_dirty; /* written since the last sync */
	bool has_all;  /* the segment tells of all there are, but for those that came since */
	uint64_t told_bytes, state_bytes; /* of the segment, before they were compressed */
	int64_t synced_ns, begun_ns, retry_ns, backoff_ns; /* monotonic; begun_ns: the segment */
	int64_t degraded_ns;                               /* since when */
	uint64_t lost_before;                              /* lost_rows when it became so */

	_Atomic uint64_t bytes, rows, values, chunks, syncs, segments, lost_rows;
	_Atomic uint64_t lost_restoring_rows, missing_rows, restored_rows, restored_values;
	_Atomic bool degraded, restoring;

	struct lock error_lock;
	char error[ERR_TEXT_BYTES]; /* error_lock */
};

/* Keeps it to be shown. */
void journal_note_error(struct journal *, const char *text);

/* self.c */
int journal_self_add(struct journal *, struct own *, struct err *);
void journal_self_remove(struct journal *);

#endif
