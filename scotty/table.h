/*
 * scotty/table.h - an answer of scottyd that is an array of objects, shown as a table or, with
 * -json, as it is.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_TABLE_H
#define SCOTTY_SCOTTY_TABLE_H

#include "scotty/client.h"

enum cell {
	CELL_TEXT,    /* a string or number */
	CELL_AGE,     /* seconds since 1970, as "12s", "3h05m"; 0 is "never" */
	CELL_SECONDS, /* as "0.012s" */
	CELL_VALUE,   /* a metric's value: a distribution in short, a list as JSON */
};

struct column {
	const char *title, *key;
	enum cell cell;
};

/* GETs the path and prints what comes; nothing for an empty array. */
int table_show(
    struct client *, const char *path, const struct column *, size_t count, struct err *);
/*
 * Appends the table of the array of objects in text (ended by NUL); ages are as of now_ns. -1 with
 * ERR_PROTO: it is no such array.
 */
int table_format(struct buf *, const char *text, const struct column *, size_t count,
    int64_t now_ns, struct err *);

#endif
