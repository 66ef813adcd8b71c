/*
 * The format of state.db, and the way to it from older ones. A step is never changed once it was
 * released: a change of the format is another step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "state/state_priv.h"

/* steps[n] leads from user_version n to n + 1. */
static const char *const steps[] = {
	"CREATE TABLE IF NOT EXISTS endpoints ("
	" host TEXT NOT NULL, app TEXT NOT NULL, body TEXT NOT NULL,"
	" from_loopback INTEGER NOT NULL, PRIMARY KEY (host, app)) WITHOUT ROWID;",

	"CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) WITHOUT ROWID;"
	/* removed_s: seconds since 1970; 0 = it is there */
	"CREATE TABLE writers (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"
	" removed_s INTEGER NOT NULL);"
	/*
	 * Numbered in the order in which writers read them, so that what they commit together lies
	 * together among the positions.
	 */
	"CREATE TABLE sets (id INTEGER PRIMARY KEY, host TEXT NOT NULL, app TEXT NOT NULL,"
	" UNIQUE (host, app));"
	/* See struct cursor_position; saved_s: seconds since 1970. */
	"CREATE TABLE positions ("
	" writer INTEGER NOT NULL, set_id INTEGER NOT NULL, stream INTEGER NOT NULL,"
	" birth INTEGER NOT NULL, row INTEGER NOT NULL, target INTEGER NOT NULL,"
	" at INTEGER NOT NULL, at_row INTEGER NOT NULL, remaining INTEGER NOT NULL,"
	" flags INTEGER NOT NULL, saved_s INTEGER NOT NULL,"
	" PRIMARY KEY (writer, set_id, stream)) WITHOUT ROWID;",

	/* Of roll-ups: see struct cursor_frames; without its flag it says nothing. */
	"ALTER TABLE positions ADD COLUMN from_ns INTEGER NOT NULL DEFAULT 0;",

	"ALTER TABLE positions ADD COLUMN row_ns INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE positions ADD COLUMN skip_target INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE positions ADD COLUMN skip_at INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE positions ADD COLUMN skip_at_row INTEGER NOT NULL DEFAULT 0;",
};

#define FORMAT ((int)ARRAY_LEN(steps))

/* Where the registry was before there was a state.db: its format 1, and what marks it as taken. */
#define OLD_FILE   "registry.db"
#define OLD_FORMAT 1
#define OLD_TAKEN  "2"

static int
set_version(struct db *db, int version, struct err *err)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", version);
	return db_exec(db, sql, err);
}

/* Steps from version `from` up to version `to`. REQUIRES a transaction. */
static int
run_steps(struct db *db, int from, int to, struct err *err)
{
	for (int i = from; i < to; i++) {
		if (db_exec(db, steps[i], err) != 0)
			return -1;
	}
	return set_version(db, to, err);
}

int
schema_check(struct db *db, const char *path, bool *is_current, struct err *err)
{
	int version;

	if (db_user_version(db, &version, err) != 0)
		return -1;
	*is_current = version == FORMAT;
	if (version <= FORMAT)
		return 0;
	err_set(err, ERR_DENIED,
	    "%s: written by a newer scottyd (format %d, this one knows %d); use that one, or "
	    "another "
	    "-stateDir",
	    path, version, FORMAT);
	return -1;
}

/* True if the old registry may be taken over. */
static bool
old_is_there(const char *path)
{
	struct db *old;
	struct err err;
	int version = 0;

	if (access(path, F_OK) != 0)
		return false;
	old = db_open(path, &err);
	if (old == NULL && err.code == ERR_PROTO) {
		if (state_set_aside(path, err.text, &err) != 0)
			log_error("state", "%s", err.text);
	} else if (old == NULL || db_user_version(old, &version, &err) != 0) {
		log_error("state", "the registry of before is not taken over: %s", err.text);
	}
	db_close(old);
	return version == OLD_FORMAT;
}

/*
 * Copies the rows, and marks the old file with a format that its scottyd refuses: to go on with
 * what was registered long ago would be worse. The file keeps its rows.
 */
static int
take_over(struct db *db, const char *path, struct err *err)
{
	struct db_query *query = db_prepare(db, "ATTACH ?1 AS old", err);
	int rc = -1;

	if (query != NULL) {
		db_bind_text(query, 1, str_of(path));
		rc = db_run(query, err);
	}
	db_query_free(query);
	if (rc != 0)
		return -1;
	rc = db_begin(db, true, err);
	if (rc == 0 && run_steps(db, 0, 1, err) == 0 &&
	    db_exec(db, "INSERT OR REPLACE INTO endpoints SELECT * FROM old.endpoints", err) == 0)
		rc = db_commit(db, err);
	else if (rc == 0) {
		db_rollback(db);
		rc = -1;
	}
	/* After the commit: if this fails, only a downgrade will notice. */
	if (rc == 0 && db_exec(db, "PRAGMA old.user_version=" OLD_TAKEN, err) != 0)
		log_warn("state", "the registry of before is not marked: %s", err->text);
	if (db_exec(db, "DETACH old", err) != 0)
		rc = -1;
	if (rc == 0)
		log_info("state", "registry taken over: file=%s", path);
	return rc;
}

static int
take_over_from(struct db *db, const char *dir, struct err *err)
{
	char *path;
	int rc = 0;

	if (asprintf(&path, "%s/" OLD_FILE, dir) < 0) {
		err_nomem(err);
		return -1;
	}
	if (old_is_there(path))
		rc = take_over(db, path, err);
	free(path);
	return rc;
}

int
schema_upgrade(struct db *db, const char *dir, struct err *err)
{
	int version;

	if (db_user_version(db, &version, err) != 0 ||
	    (version == 0 && take_over_from(db, dir, err) != 0) || db_begin(db, true, err) != 0)
		return -1;
	if (db_user_version(db, &version, err) != 0 || run_steps(db, version, FORMAT, err) != 0) {
		db_rollback(db);
		return -1;
	}
	return db_commit(db, err);
}
