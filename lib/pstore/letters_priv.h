/*
 * pstore/letters_priv.h - what one writer leaves behind in files: dead letters (records that the
 * server refuses for good) and the debugging echo.
 *
 * Threads: any of the pump's. Locks taken: letters.
 */
#ifndef SCOTTY_PSTORE_LETTERS_PRIV_H
#define SCOTTY_PSTORE_LETTERS_PRIV_H

#include <stdio.h>

#include "base/lock.h"
#include "pstore/consumer.h"
#include "pstore/lines_file.h"

struct letters {
	const char *name; /* the writer's; lent */
	struct lock lock; /* all that follows */
	char *path;       /* stateDir/dead/NAME.jsonl; NULL: none is kept */
	struct lines_file file;
	FILE *echo; /* NULL: none */
	struct buf line;
	uint64_t unlogged; /* dead letters since the last log line */
	int64_t logged_ns; /* when that was; INT64_MIN: not yet */
	bool failed;       /* the last one could not be kept */
};

/*
 * Nothing is created yet but the echo's file. consumer and state_dir are lent. -1 with ERR_NOMEM;
 * an echo's file that can't be had is logged.
 */
int letters_init(struct letters *, const struct consumer *, const char *state_dir, struct err *);
void letters_fini(struct letters *);
/* Keeps the record; true if it is in the file. At most one log line a minute. */
bool letters_add(struct letters *, const struct write_record *, const char *why, int64_t now_ns);
/* Echoes a record that was written; NULL ends the batch. */
void letters_echo(struct letters *, const struct write_record *);

#endif
