/*
 * scotty/journal_files.h - the files of the journal and of sealed history, as far as tools need to
 * know them.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_JOURNAL_FILES_H
#define SCOTTY_SCOTTY_JOURNAL_FILES_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

/* Directories below the state directory that hold them, in the order in which they are copied. */
extern const char *const journal_dirs[]; /* NULL at the end */

struct journal_check {
	bool checked;        /* false: it is not known how */
	uint64_t good_bytes; /* so many from the start are whole */
	uint64_t bytes;
	char why[128]; /* what is wrong after them; "" = nothing */
};

/* Looks at one file. -1 with ERR_IO: it can't be read. */
int journal_file_check(const char *path, struct journal_check *, struct err *);

#endif
