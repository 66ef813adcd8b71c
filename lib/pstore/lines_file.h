/*
 * pstore/lines_file.h - a file of lines that is begun anew when it is full: NAME, and the ones
 * before as NAME.1, NAME.2 ...
 *
 * A line is whole or not there, unless the system goes down: what was written is not synced. Only
 * regular files are written to, renamed or removed: neither a device nor a pipe can be begun anew.
 *
 * Threads: a file belongs to its owner.
 */
#ifndef SCOTTY_PSTORE_LINES_FILE_H
#define SCOTTY_PSTORE_LINES_FILE_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct lines_file {
	const char *path; /* lent */
	uint64_t max_bytes;
	unsigned keep; /* files before this one */
	int fd;        /* -1: not open yet */
	uint64_t size;
};

void lines_file_init(struct lines_file *, const char *path, uint64_t max_bytes, unsigned keep);
void lines_file_fini(struct lines_file *);
/*
 * Appends whole lines; the file is made (mode 0600) if need be. -1 with ERR_IO, ERR_CONFIG (there
 * is something else of that name): none of them is in the file.
 */
int lines_file_add(struct lines_file *, struct str lines, struct err *);

#endif
