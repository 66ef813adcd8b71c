/*
 * state/state_priv.h - what the parts of the state directory share.
 */
#ifndef SCOTTY_STATE_STATE_PRIV_H
#define SCOTTY_STATE_STATE_PRIV_H

#include <sys/types.h>

#include "base/lock.h"
#include "state/db_priv.h"
#include "state/state.h"

/* Each is prepared when it is first used. */
enum state_query {
	QUERY_REGISTRY_EACH,
	QUERY_REGISTRY_PUT,
	QUERY_REGISTRY_DELETE,
	QUERY_SETTING_GET,
	QUERY_SETTING_SET,
	QUERY_WRITER_ADD,
	QUERY_WRITER_ID,
	QUERY_WRITER_EACH,
	QUERY_WRITER_REMOVED,
	QUERY_WRITER_DROP,
	QUERY_SET_ADD,
	QUERY_SET_ID,
	QUERY_SETS_SWEEP,
	QUERY_POSITIONS_OF,
	QUERY_POSITIONS_TIME,
	QUERY_POSITION_PUT,
	QUERY_POSITIONS_DROP,
	QUERY_POSITIONS_SWEEP,
	QUERY_COUNT
};

struct state {
	char *dir, *path;
	int lock_fd; /* -1: not locked, as nothing can be written there */
	struct lock lock;
	/* The lock. */
	struct db *db; /* NULL: can't be had for now */
	bool read_only;
	dev_t dev; /* which file it is */
	ino_t ino;
	struct db_query *queries[QUERY_COUNT];
	int64_t retry_mono_ns; /* not before */
	uint64_t generation;   /* how often it was opened: numbers of sets are of one */
};

enum state_access { STATE_READ, STATE_WRITE, STATE_WRITE_DURABLE };

/* Takes the lock and begins; on failure there is no state_leave. */
int state_enter(struct state *, enum state_access, struct err *);
/* Ends it, with what was done undone if rc is not 0, and drops the lock. 0, or -1. */
int state_leave(struct state *, enum state_access, int rc, struct err *);
/* REQUIRES the lock. NULL with err. */
struct db_query *state_query(struct state *, enum state_query, struct err *);

/* schema.c: brings the database to the format of this version. REQUIRES the lock. */
int schema_upgrade(struct db *, const char *dir, struct err *);
/* -1 with ERR_DENIED if it is of a newer version; *is_current: nothing is to be done. */
int schema_check(struct db *, const char *path, bool *is_current, struct err *);

/* Renames the file and its companions to NAME.corrupt-DATE, which is logged with the reason. */
int state_set_aside(const char *path, const char *reason, struct err *);

#endif
