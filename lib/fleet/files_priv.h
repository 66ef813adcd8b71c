/*
 * fleet/files_priv.h - files that are watched and read when they change.
 *
 * Which files: glob patterns, or one literal path. Changes come from inotify on the directories; a
 * look at all of them every few seconds finds what inotify does not see (a directory made later,
 * the target of a symbolic link, network file systems). A file that changed is read a moment later
 * and told only if its bytes differ. One that makes no sense may be in the middle of being written:
 * it is read again before anybody complains. Each file's trouble is logged once, and once its end.
 *
 * Threads: the loop's, with the lock given held; while files_scan is called, any.
 */
#ifndef SCOTTY_FLEET_FILES_PRIV_H
#define SCOTTY_FLEET_FILES_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/lock.h"
#include "base/loop.h"
#include "base/str.h"

#define FILES_COUNT_MAX 100000

struct files;

struct files_user {
	/*
	 * The file is new or has other bytes. -1 with err: ERR_NOMEM is tried again soon, all else
	 * when it changes.
	 */
	int (*take)(void *ctx, const char *path, struct str text, struct err *);
	/* A file is as it was, after all. NULL = of no interest. */
	void (*confirm)(void *ctx);
	/* It can't be read, or take failed; counts once for each time. */
	void (*failed)(void *ctx);
	/* Forgotten by files_forget_gone. NULL = of no interest. */
	void (*dropped)(void *ctx, const char *path);
	void *ctx;
	const char *what; /* for the log: "target file" */
	size_t bytes_max; /* of one file */
};

/*
 * patterns (copied) are n; with literal they are paths, and one that is not there is a failure.
 * user is copied. lock is taken around calls on the loop. Nothing is read yet. NULL with ERR_NOMEM.
 */
struct files *files_new(struct loop *, struct lock *, const struct str *patterns, size_t n,
    bool literal, const struct files_user *, struct err *);
void files_free(struct files *); /* NULL is fine */
/* Looks for changes now. anew: reads and tells all files, changed or not. Lock held. */
void files_scan(struct files *, bool anew);
/* Forgets files that are gone. Lock held. */
void files_forget_gone(struct files *);

/* Reads a regular file of at most max bytes. -1 with ERR_NOTFOUND, ERR_IO, ERR_LIMIT, ERR_NOMEM. */
struct buf;
int file_read(const char *path, size_t max, struct buf *, struct err *);

#endif
