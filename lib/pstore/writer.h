/*
 * pstore/writer.h - what every writer to another store implements: three functions on a pump
 * thread of its own, so it may block. The store is the queue: a writer that is slow falls behind
 * with its cursor, and polling never waits for it.
 *
 * Formatting is to be a separate pure function (records to bytes), so that it can be tested
 * against tables and fuzzed.
 */
#ifndef SCOTTY_PSTORE_WRITER_H
#define SCOTTY_PSTORE_WRITER_H

#include <stddef.h>

#include "base/conf.h"
#include "store/cursor.h"

enum write_result {
	WRITE_OK,    /* the cursor commits */
	WRITE_RETRY, /* the cursor rewinds; again after a while */
	WRITE_DROP,  /* refused for good: counted, the cursor commits */
};

struct writer {
	const struct writer_ops *ops; /* first member of every writer */
};

struct writer_ops {
	const char *name; /* the configuration's word: "influx" */
	const char *help;
	const struct conf_opt *opts;
	unsigned kinds; /* bit set (1u << kind) of the value kinds it can hold */
	struct writer *(*open)(const struct conf *, struct err *);
	enum write_result (*write)(
	    struct writer *, const struct cursor_record *, size_t n, struct err *);
	void (*close)(struct writer *);
};

/* By name; NULL if there is none in this build. */
const struct writer_ops *writer_find(struct str name);
/* All of them, i = 0, 1, ...; NULL at the end. */
const struct writer_ops *writer_at(size_t i);

#endif
