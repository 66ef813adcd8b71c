/*
 * journal/files_priv.h - the directories of segments and of sealed ones.
 *
 * Threads: one at a time.
 */
#ifndef SCOTTY_JOURNAL_FILES_PRIV_H
#define SCOTTY_JOURNAL_FILES_PRIV_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "journal/segment_priv.h"

struct segment_file {
	enum segment_kind kind;
	uint64_t number, bytes;
	int64_t written_ns; /* last, wall clock */
	int64_t begun_ns;   /* the same; 0 until somebody has looked into it */
};

struct segment_files {
	struct segment_file *files; /* by number */
	size_t len, cap;
	uint64_t next_number; /* above all that there are, set aside or not */
	uint64_t bytes;
};

/* Opens stateDir/NAME, made if need be. A descriptor, or -1 with ERR_IO. */
int files_open_dir(const char *state_dir, const char *name, struct err *);
/*
 * The same for who has opened it before, or not (fd -1): if it was deleted since, fd leads to the
 * one that is there now. Others may use fd meanwhile. -1 with ERR_IO: fd is as before.
 */
int files_renew_dir(int fd, const char *state_dir, const char *name, struct err *);
/* -1 with ERR_IO, ERR_NOMEM. Free it in both cases. */
int segment_files_list(struct segment_files *, int dir_fd, enum segment_kind, struct err *);
/* Behind all others. -1 with ERR_NOMEM. */
int segment_files_add(struct segment_files *, struct segment_file, struct err *);
void segment_files_free(struct segment_files *);

/*
 * Moves what is in a segment from good_bytes on to a file of its own, NAME.damaged-DATE; all of it
 * if good_bytes is 0. -1 with ERR_IO: all is as it was.
 */
int files_set_aside(int dir_fd, enum segment_kind, uint64_t number, uint64_t good_bytes,
    int64_t real_ns, struct err *);

/* bytes, or if percent is not 0 so much of the file system, of whatever size it is now. */
uint64_t files_most_bytes(int dir_fd, uint64_t bytes, double percent);

/*
 * Deletes the oldest segments, save the newest one, until they take at most most_bytes; and those
 * last written before the time, save the newest two and at most two at once, so that a clock that
 * jumps does not cost all of them. How many.
 */
size_t files_drop_old(int dir_fd, uint64_t most_bytes, int64_t before_ns);

#endif
