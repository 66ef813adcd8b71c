/*
 * store/redo_skim.h - what the records of a stretch (redo.h) are about, without restoring them: to
 * sort them out by set.
 *
 * Records may change places as long as those of a set keep their order, and the metas and schemas
 * that they name come before them.
 *
 * Threads: any.
 */
#ifndef SCOTTY_STORE_REDO_SKIM_H
#define SCOTTY_STORE_REDO_SKIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum redo_about {
	REDO_ABOUT_META,   /* number */
	REDO_ABOUT_SCHEMA, /* number, stream_count */
	REDO_ABOUT_STATE,  /* number, host, app, birth_ns, schema */
	REDO_ABOUT_POLL,   /* number, schema (0: no other one) */
	REDO_ABOUT_FORGET,
	REDO_ABOUT_GONE, /* not needed if metas and schemas may stay */
};

struct redo_skimmed {
	enum redo_about about;
	const char *p; /* the record, of so many bytes */
	size_t bytes;
	uint64_t number; /* of the meta, the schema or the set */
	struct str host, app;
	int64_t birth_ns;
	uint64_t schema;
	uint32_t stream_count;
	/* Where the rest begins. */
	size_t rest;
};

/* The record at p, at most so many bytes. False: it makes no sense. */
bool redo_skim(const char *p, size_t bytes, struct redo_skimmed *);
/*
 * Of a state whose schema has so many streams: the time from which on all of it is known, TS_NONE
 * if it has nothing before. False: it makes no sense.
 */
bool redo_skim_whole(const struct redo_skimmed *, uint32_t stream_count, int64_t *whole_ns);
/* Calls fn with the number of each meta of a schema. False: it makes no sense, or fn said false. */
bool redo_skim_metas(
    const struct redo_skimmed *, bool (*fn)(void *ctx, uint64_t number), void *ctx);

#endif
