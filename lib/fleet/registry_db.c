#include "fleet/registry_db_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define SCHEMA_VERSION 1
#define BUSY_MS        2000

struct registry_db {
	sqlite3 *db;
	sqlite3_stmt *put, *del;
	char *path;
};

static const char schema[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE IF NOT EXISTS endpoints ("
    " host TEXT NOT NULL, app TEXT NOT NULL, body TEXT NOT NULL,"
    " from_loopback INTEGER NOT NULL, PRIMARY KEY (host, app)) WITHOUT ROWID;"
    "PRAGMA user_version=1;"
    "COMMIT;";

/* Puts SQLite's own words into err. Always -1. */
static int
fail(struct registry_db *db, const char *what, struct err *err)
{
	err_set(err, ERR_IO, "registry %s: %s: %s", db->path, what,
	    db->db == NULL ? "no database" : sqlite3_errmsg(db->db));
	return -1;
}

static struct str
column(sqlite3_stmt *stmt, int i)
{
	/* Text first, then its length: the other order may convert under our feet. */
	const char *p = (const char *)sqlite3_column_text(stmt, i);

	return p == NULL ? STR_EMPTY : (struct str){ p, (size_t)sqlite3_column_bytes(stmt, i) };
}

static int
user_version(sqlite3 *db, int *out)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int(stmt, 0);
	sqlite3_finalize(stmt);
	return rc == SQLITE_ROW ? SQLITE_OK : rc;
}

/* Looks at the whole file: a registry is small. */
static int
quick_check(sqlite3 *db)
{
	sqlite3_stmt *stmt = NULL;
	struct str answer;
	int rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW) {
		answer = column(stmt, 0);
		rc = str_eq(answer, STR("ok")) ? SQLITE_OK : SQLITE_CORRUPT;
		if (answer.p == NULL)
			rc = SQLITE_NOMEM; /* no answer is no reason to give up the file */
	}
	sqlite3_finalize(stmt);
	return rc;
}

static void
close_handles(struct registry_db *db)
{
	sqlite3_finalize(db->put);
	sqlite3_finalize(db->del);
	sqlite3_close(db->db);
	db->put = db->del = NULL;
	db->db = NULL;
}

/* SQLITE_OK, or SQLite's code with err set. */
static int
open_file(struct registry_db *db, struct err *err)
{
	int version = 0, rc;
	int fd = open(db->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	/* Made here, as SQLite would make it readable to all; its companions get the same mode. */
	if (fd < 0) {
		err_errno(err, errno, "registry %s", db->path);
		return SQLITE_CANTOPEN;
	}
	if (fchmod(fd, 0600) != 0)
		log_warn("fleet", "registry may be readable to others: file=%s error=\"%s\"",
		    db->path, strerror(errno));
	close(fd);
	rc = sqlite3_open_v2(db->path, &db->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db->db, BUSY_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(
		    db->db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = quick_check(db->db);
	if (rc == SQLITE_OK)
		rc = user_version(db->db, &version);
	if (rc == SQLITE_OK && version > SCHEMA_VERSION) {
		err_set(err, ERR_IO,
		    "registry %s: written by a newer scottyd (format %d, this one knows %d)",
		    db->path, version, SCHEMA_VERSION);
		return SQLITE_MISMATCH;
	}
	if (rc == SQLITE_OK && version == 0)
		rc = sqlite3_exec(db->db, schema, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v3(db->db,
		    "INSERT INTO endpoints VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET"
		    " body = ?3, from_loopback = ?4",
		    -1, SQLITE_PREPARE_PERSISTENT, &db->put, NULL);
	if (rc == SQLITE_OK)
		rc =
		    sqlite3_prepare_v3(db->db, "DELETE FROM endpoints WHERE host = ?1 AND app = ?2",
		        -1, SQLITE_PREPARE_PERSISTENT, &db->del, NULL);
	if (rc != SQLITE_OK)
		fail(db, "open", err);
	return rc;
}

/* Renames the file and its companions to NAME.corrupt-DATE. */
static int
set_aside(struct registry_db *db, struct err *err)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	time_t now = (time_t)(clock_real_ns() / NS_PER_S);
	char date[32], from[4096], to[4096];
	struct tm tm;

	strftime(date, sizeof(date), "%Y%m%dT%H%M%S", gmtime_r(&now, &tm));
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		snprintf(from, sizeof(from), "%s%s", db->path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.corrupt-%s%s", db->path, date, suffixes[i]);
		if (rename(from, to) != 0 && errno != ENOENT) {
			err_errno(err, errno, "rename %s to %s", from, to);
			return -1;
		}
	}
	log_error("fleet",
	    "registry was damaged, set aside, starting an empty one: file=%s.corrupt-%s", db->path,
	    date);
	return 0;
}

struct registry_db *
registry_db_open(const char *state_dir, struct err *err)
{
	struct registry_db *db = calloc(1, sizeof(*db));
	int rc;

	if (db == NULL || asprintf(&db->path, "%s/registry.db", state_dir) < 0) {
		free(db);
		err_nomem(err);
		return NULL;
	}
	rc = open_file(db, err);
	if (rc == SQLITE_CORRUPT || rc == SQLITE_NOTADB) {
		close_handles(db);
		rc = set_aside(db, err) == 0 ? open_file(db, err) : SQLITE_CORRUPT;
	}
	if (rc == SQLITE_OK)
		return db;
	registry_db_close(db);
	return NULL;
}

void
registry_db_close(struct registry_db *db)
{
	if (db == NULL)
		return;
	close_handles(db);
	free(db->path);
	free(db);
}

int
registry_db_each(struct registry_db *db,
    void (*each)(void *ctx, struct str host, struct str app, struct str body, bool from_loopback),
    void *ctx, struct err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc;

	rc = sqlite3_prepare_v2(db->db,
	    "SELECT host, app, body, from_loopback FROM endpoints ORDER BY host, app", -1, &stmt,
	    NULL);
	while (rc == SQLITE_OK || rc == SQLITE_ROW) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW)
			each(ctx, column(stmt, 0), column(stmt, 1), column(stmt, 2),
			    sqlite3_column_int(stmt, 3) != 0);
	}
	if (rc != SQLITE_DONE)
		fail(db, "read", err);
	sqlite3_finalize(stmt);
	return rc == SQLITE_DONE ? 0 : -1;
}

static int
bind_text(sqlite3_stmt *stmt, int i, struct str text)
{
	return sqlite3_bind_text(
	    stmt, i, text.len == 0 ? "" : text.p, (int)text.len, SQLITE_STATIC);
}

/* Runs a prepared change whose parameters are bound. */
static int
change(struct registry_db *db, sqlite3_stmt *stmt, int rc, const char *what, struct err *err)
{
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc != SQLITE_DONE)
		fail(db, what, err);
	sqlite3_reset(stmt);
	sqlite3_clear_bindings(stmt);
	return rc == SQLITE_DONE ? 0 : -1;
}

int
registry_db_put(struct registry_db *db, struct str host, struct str app, struct str body,
    bool from_loopback, struct err *err)
{
	int rc = bind_text(db->put, 1, host);

	if (rc == SQLITE_OK)
		rc = bind_text(db->put, 2, app);
	if (rc == SQLITE_OK)
		rc = bind_text(db->put, 3, body);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int(db->put, 4, from_loopback);
	return change(db, db->put, rc, "keep", err);
}

int
registry_db_delete(struct registry_db *db, struct str host, struct str app, struct err *err)
{
	int rc = bind_text(db->del, 1, host);

	if (rc == SQLITE_OK)
		rc = bind_text(db->del, 2, app);
	return change(db, db->del, rc, "remove", err);
}
