/*
 * scotty/tar.h - writes a tar archive (POSIX.1-1988 ustar; sizes above 8 GiB as GNU tar has them).
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_TAR_H
#define SCOTTY_SCOTTY_TAR_H

#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct tar {
	FILE *out;
	int64_t time_s; /* of all that is in it */
	uint64_t left;  /* bytes of the file being written that are to come */
	uint64_t size;  /* of that file */
};

#define TAR_NAME_MOST 100

/* out is lent. */
void tar_init(struct tar *, FILE *out, int64_t time_s);
/* A directory, whose name ends in a slash. Names have at most TAR_NAME_MOST bytes, else ERR_LIMIT.
 */
int tar_dir(struct tar *, const char *name, struct err *);
/* A file of size bytes: they follow by tar_add. -1 with ERR_IO, ERR_LIMIT. */
int tar_file(struct tar *, const char *name, uint64_t size, struct err *);
/* At most what is left of the file. */
int tar_add(struct tar *, const void *, size_t len, struct err *);
/* The archive's end. */
int tar_end(struct tar *, struct err *);

#endif
