/*
 * record.h - documents of a tricorder process, kept in a file one after the other: for each, its
 * length in decimal, a line feed, its bytes.
 *
 * Threads: one.
 */
#ifndef SCOTTY_TESTS_BENCH_RECORD_H
#define SCOTTY_TESTS_BENCH_RECORD_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/err.h"

/*
 * Starts the scottyd beside this program, which polls nothing but itself, asks it for its metrics
 * every 100 ms for that long, and stops it. The file is made anew. -1 with ERR_IO, ERR_PROTO,
 * ERR_NOMEM.
 */
int record_scottyd(const char *file, unsigned seconds, struct err *);

/* The next document replaces what is in out, a NUL after it. False at the end or what is no file.
 */
bool record_next(FILE *, struct buf *out);

#endif
