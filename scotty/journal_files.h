/*
 * scotty/journal_files.h - the files of the journal and of sealed history, as far as tools need to
 * know them.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_JOURNAL_FILES_H
#define SCOTTY_SCOTTY_JOURNAL_FILES_H

#include "journal/journal.h"

/* Directories below the state directory that hold them, in the order in which they are copied. */
extern const char *const journal_dirs[]; /* NULL at the end */

/* Looks at one file of them. False: it is none of the journal's, so nobody knows what is good. */
bool journal_file_check(const char *path, struct journal_check *);

#endif
