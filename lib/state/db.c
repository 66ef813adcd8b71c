#include "state/db_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUSY_MS 2000
/* The write-ahead log shrinks to this size when it was larger. */
#define WAL_BYTES "4194304"
/* Complaints of a check. */
#define COMPLAINTS_MOST "100"

struct db {
	sqlite3 *handle;
	char *path;
	struct db_query *queries;
};

struct db_query {
	struct db *db;
	sqlite3_stmt *stmt;
	int bound; /* SQLite's code of the first bind that failed, else SQLITE_OK */
	struct db_query *next, **at;
};

static enum err_code
code_of(int rc)
{
	switch (rc & 0xFF) {
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return ERR_PROTO;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_TIMEOUT;
	default:
		return ERR_IO;
	}
}

/* SQLite's words and, where the system refused, the system's. Always -1. */
static int
fail(const struct db *db, int rc, struct err *err)
{
	int system = db->handle == NULL ? 0 : sqlite3_system_errno(db->handle);
	const char *text = db->handle == NULL ? sqlite3_errstr(rc) : sqlite3_errmsg(db->handle);
	enum err_code code = code_of(rc);

	if (system != 0 && code == ERR_IO)
		err_errno(err, system, "%s: %s", db->path, text);
	else
		err_set(err, code, "%s: %s", db->path, text);
	err->code = code;
	return -1;
}

int
db_exec(struct db *db, const char *sql, struct err *err)
{
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : fail(db, rc, err);
}

static struct db *
db_new(const char *path, struct err *err)
{
	struct db *db = calloc(1, sizeof(*db));

	if (db != NULL)
		db->path = strdup(path);
	if (db != NULL && db->path != NULL)
		return db;
	free(db);
	err_nomem(err);
	return NULL;
}

/* Made here, as SQLite would make it readable to all; its companions get the same mode. */
static int
make_file(const char *path, struct err *err)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	struct stat st;

	if (fd < 0) {
		err_errno(err, errno, "%s", path);
		return -1;
	}
	/* A file of another's, which we may write, is as its owner wants it. */
	if (fstat(fd, &st) == 0 && (st.st_mode & 077) != 0 && st.st_uid == geteuid())
		(void)!fchmod(fd, 0600);
	close(fd);
	return 0;
}

static int
check(struct db *db, const char *sql, struct buf *out, struct err *err)
{
	struct db_query *query = db_prepare(db, sql, err);
	int more = -1;

	while (query != NULL && (more = db_next(query, err)) == 1) {
		struct str line = db_text(query, 0);

		if (line.p == NULL || out->failed) {
			err_nomem(err);
			more = -1;
			break;
		}
		if (str_eq(line, STR("ok")))
			continue;
		buf_str(out, line);
		buf_putc(out, '\n');
	}
	db_query_free(query);
	return more;
}

/* Looks at the pages, not at whether indexes agree with tables. */
static int
quick_check(struct db *db, struct err *err)
{
	struct buf wrong;
	int rc;

	buf_init(&wrong, 0);
	rc = check(db, "PRAGMA quick_check(1)", &wrong, err);
	if (rc == 0 && wrong.len > 0) {
		err_set(err, ERR_PROTO, "%s: %.*s", db->path, STR_ARG(str_trim(buf_view(&wrong))));
		rc = -1;
	}
	buf_fini(&wrong);
	return rc;
}

struct db *
db_open(const char *path, struct err *err)
{
	struct db *db;
	int rc;

	if (make_file(path, err) != 0 || (db = db_new(path, err)) == NULL)
		return NULL;
	rc = sqlite3_open_v2(path, &db->handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db->handle, BUSY_MS);
	if (rc != SQLITE_OK) {
		fail(db, rc, err);
		goto fail;
	}
	if (db_exec(db,
	        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=OFF;"
	        "PRAGMA journal_size_limit=" WAL_BYTES ";",
	        err) == 0 &&
	    quick_check(db, err) == 0)
		return db;
fail:
	db_close(db);
	return NULL;
}

/* "file:" and the path with what has a meaning in a URI escaped, then the query. */
static void
put_uri(struct buf *uri, const char *path, const char *query)
{
	buf_puts(uri, "file:");
	for (const char *p = path; *p != '\0'; p++) {
		if (strchr("%?#", *p) != NULL)
			buf_printf(uri, "%%%02X", (unsigned char)*p);
		else
			buf_putc(uri, *p);
	}
	buf_puts(uri, query);
	buf_putc(uri, '\0');
}

/* True if it can be read. */
static int
open_uri(struct db *db, const char *query, struct err *err)
{
	struct buf uri;
	int version, rc;

	buf_init(&uri, 0);
	put_uri(&uri, db->path, query);
	rc = uri.failed ? SQLITE_NOMEM
	                : sqlite3_open_v2(uri.p, &db->handle,
	                      SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	buf_fini(&uri);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(db->handle, BUSY_MS);
	if (rc != SQLITE_OK)
		return fail(db, rc, err);
	return db_user_version(db, &version, err);
}

static bool
has_log(const char *path)
{
	char *log;
	bool there;

	if (asprintf(&log, "%s-wal", path) < 0)
		return true;
	there = access(log, F_OK) == 0;
	free(log);
	return there;
}

struct db *
db_open_read_only(const char *path, struct err *err)
{
	struct db *db = db_new(path, err);

	/*
	 * Without a log nobody has it open, and it is whole by itself. To be told so keeps SQLite
	 * from making the log's files, which it could not do everywhere, and would leave behind.
	 */
	if (db == NULL || open_uri(db, has_log(path) ? "?mode=ro" : "?immutable=1", err) == 0)
		return db;
	db_close(db);
	return NULL;
}

void
db_close(struct db *db)
{
	if (db == NULL)
		return;
	while (db->queries != NULL)
		db_query_free(db->queries);
	sqlite3_close(db->handle);
	free(db->path);
	free(db);
}

int
db_user_version(struct db *db, int *out, struct err *err)
{
	struct db_query *query = db_prepare(db, "PRAGMA user_version", err);
	int rc = -1;

	if (query != NULL && db_next(query, err) == 1) {
		*out = (int)db_i64(query, 0);
		rc = 0;
	}
	db_query_free(query);
	return rc;
}

int
db_begin(struct db *db, bool durable, struct err *err)
{
	/* A transaction that only reads could find, when it wants to write, that it can't. */
	return db_exec(db,
	    durable ? "PRAGMA synchronous=FULL; BEGIN IMMEDIATE"
	            : "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE",
	    err);
}

int
db_commit(struct db *db, struct err *err)
{
	if (db_exec(db, "COMMIT", err) == 0)
		return 0;
	db_rollback(db);
	return -1;
}

void
db_rollback(struct db *db)
{
	/* Some errors have rolled back already; it fails then, and need not do anything. */
	sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
}

struct db_query *
db_prepare(struct db *db, const char *sql, struct err *err)
{
	struct db_query *query = calloc(1, sizeof(*query));
	int rc;

	if (query == NULL) {
		err_nomem(err);
		return NULL;
	}
	rc = sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &query->stmt, NULL);
	if (rc != SQLITE_OK) {
		fail(db, rc, err);
		free(query);
		return NULL;
	}
	query->db = db;
	query->next = db->queries;
	query->at = &db->queries;
	if (query->next != NULL)
		query->next->at = &query->next;
	db->queries = query;
	return query;
}

void
db_query_free(struct db_query *query)
{
	if (query == NULL)
		return;
	*query->at = query->next;
	if (query->next != NULL)
		query->next->at = query->at;
	sqlite3_finalize(query->stmt);
	free(query);
}

static void
bound(struct db_query *query, int rc)
{
	if (query->bound == SQLITE_OK)
		query->bound = rc;
}

void
db_bind_text(struct db_query *query, int i, struct str text)
{
	bound(query, sqlite3_bind_text(query->stmt, i, text.len == 0 ? "" : text.p, (int)text.len,
	                 SQLITE_STATIC));
}

void
db_bind_i64(struct db_query *query, int i, int64_t value)
{
	bound(query, sqlite3_bind_int64(query->stmt, i, value));
}

int
db_next(struct db_query *query, struct err *err)
{
	int rc = query->bound == SQLITE_OK ? sqlite3_step(query->stmt) : query->bound;

	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		fail(query->db, rc, err);
	db_reset(query);
	return rc == SQLITE_DONE ? 0 : -1;
}

struct str
db_text(struct db_query *query, int i)
{
	/* Text first, then its length: the other order may convert under our feet. */
	const char *p = (const char *)sqlite3_column_text(query->stmt, i);

	return p == NULL ? STR_EMPTY
	                 : (struct str){ p, (size_t)sqlite3_column_bytes(query->stmt, i) };
}

int64_t
db_i64(struct db_query *query, int i)
{
	return sqlite3_column_int64(query->stmt, i);
}

int64_t
db_last_id(const struct db *db)
{
	return sqlite3_last_insert_rowid(db->handle);
}

void
db_reset(struct db_query *query)
{
	sqlite3_reset(query->stmt);
	sqlite3_clear_bindings(query->stmt);
	query->bound = SQLITE_OK;
}

int
db_run(struct db_query *query, struct err *err)
{
	int more = db_next(query, err);

	if (more == 1)
		db_reset(query);
	return more < 0 ? -1 : 0;
}

int
db_check_all(struct db *db, struct buf *out, struct err *err)
{
	return check(db, "PRAGMA integrity_check(" COMPLAINTS_MOST ")", out, err);
}

/* A copy in memory. SQLite's code. */
static int
copy_to(struct db *db, sqlite3 *copy)
{
	sqlite3_backup *backup = sqlite3_backup_init(copy, "main", db->handle, "main");
	int rc;

	if (backup == NULL)
		return sqlite3_errcode(copy);
	rc = sqlite3_backup_step(backup, -1); /* all of it, as of one moment */
	sqlite3_backup_finish(backup);
	return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int
db_copy(struct db *db, struct buf *out, struct err *err)
{
	sqlite3 *copy = NULL;
	sqlite3_int64 len = 0;
	unsigned char *p = NULL;
	int rc = sqlite3_open(":memory:", &copy);

	if (rc == SQLITE_OK)
		rc = copy_to(db, copy);
	if (rc == SQLITE_OK) {
		p = sqlite3_serialize(copy, "main", &len, 0);
		buf_add(out, p, p == NULL ? 0 : (size_t)len);
		if (p == NULL || out->failed)
			rc = SQLITE_NOMEM;
	}
	sqlite3_free(p);
	sqlite3_close(copy);
	if (rc == SQLITE_OK)
		return 0;
	err_set(err, code_of(rc), "%s: %s", db->path, sqlite3_errstr(rc));
	return -1;
}
