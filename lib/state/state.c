#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "state/state_priv.h"

#define FILE_NAME "state.db"
#define RETRY_NS  (10 * NS_PER_S)

static const char *const sql[QUERY_COUNT] = {
	[QUERY_REGISTRY_EACH] =
	    "SELECT host, app, body, from_loopback FROM endpoints ORDER BY host, app",
	[QUERY_REGISTRY_PUT] = "INSERT OR REPLACE INTO endpoints VALUES (?1, ?2, ?3, ?4)",
	[QUERY_REGISTRY_DELETE] = "DELETE FROM endpoints WHERE host = ?1 AND app = ?2",
	[QUERY_SETTING_GET] = "SELECT value FROM settings WHERE name = ?1",
	[QUERY_SETTING_SET] = "INSERT OR REPLACE INTO settings VALUES (?1, ?2)",
	[QUERY_WRITER_ADD] = "INSERT INTO writers (name, removed_s) VALUES (?1, 0)"
	                     " ON CONFLICT (name) DO UPDATE SET removed_s = 0",
	[QUERY_WRITER_ID] = "SELECT id FROM writers WHERE name = ?1",
	[QUERY_WRITER_EACH] = "SELECT id, name, removed_s FROM writers ORDER BY name",
	[QUERY_WRITER_REMOVED] = "UPDATE writers SET removed_s = ?2 WHERE id = ?1",
	[QUERY_WRITER_DROP] = "DELETE FROM writers WHERE id = ?1",
	[QUERY_SET_ADD] = "INSERT INTO sets (host, app) VALUES (?1, ?2)",
	[QUERY_SET_ID] = "SELECT id FROM sets WHERE host = ?1 AND app = ?2",
	[QUERY_SETS_SWEEP] = "DELETE FROM sets WHERE id NOT IN (SELECT set_id FROM positions)",
	[QUERY_POSITIONS_OF] =
	    "SELECT host, app, stream, birth, row, target, at, at_row, remaining,"
	    " flags, set_id, from_ns, row_ns, skip_target, skip_at, skip_at_row FROM positions "
	    "JOIN sets ON sets.id = set_id"
	    " WHERE writer = ?1",
	[QUERY_POSITIONS_TIME] = "SELECT coalesce(max(saved_s), 0) FROM positions"
	                         " WHERE writer = ?1",
	[QUERY_POSITION_PUT] = "INSERT OR REPLACE INTO positions"
	                       " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12,"
	                       " ?13, ?14, ?15, ?16)",
	[QUERY_POSITIONS_DROP] = "DELETE FROM positions WHERE writer = ?1",
	[QUERY_POSITIONS_SWEEP] = "DELETE FROM positions WHERE saved_s < ?1",
};

/* --- the directory and its lock -------------------------------------------------------------- */

static int
make_dir(const char *dir, struct err *err)
{
	struct stat st;

	if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	if (mkdir(dir, 0700) == 0)
		return 0;
	err_errno(err, errno, "stateDir %s (choose another with -stateDir, '' = none)", dir);
	return -1;
}

/* Who holds the lock, as far as that can be read. */
static void
refuse(int fd, const char *dir, struct err *err)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
	struct str pid = str_trim((struct str){ text, n > 0 ? (size_t)n : 0 });

	err_set(err, ERR_EXISTS, "stateDir %s is in use by another scottyd%s%.*s", dir,
	    pid.len > 0 ? ", process " : "", STR_ARG(pid));
}

static void
write_pid(int fd)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());

	/* Others are refused all the same if it can't be written; they can't say by whom then. */
	if (ftruncate(fd, 0) == 0)
		(void)!pwrite(fd, text, (size_t)len, 0);
}

/* -1 only if another has it. Where nothing can be written there is nothing to protect. */
static int
take_dir(struct state *state, struct err *err)
{
	char *path;

	if (asprintf(&path, "%s/lock", state->dir) < 0) {
		err_nomem(err);
		return -1;
	}
	state->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (state->lock_fd < 0)
		state->lock_fd = open(path, O_RDONLY | O_CLOEXEC);
	free(path);
	if (state->lock_fd < 0)
		return 0;
	if (flock(state->lock_fd, LOCK_EX | LOCK_NB) == 0) {
		write_pid(state->lock_fd);
		return 0;
	}
	if (errno == EWOULDBLOCK) {
		refuse(state->lock_fd, state->dir, err);
		return -1;
	}
	return 0;
}

/* --- the database ---------------------------------------------------------------------------- */

int
state_set_aside(const char *path, const char *reason, struct err *err)
{
	static const char *const suffixes[] = { "", "-wal", "-shm" };
	time_t now = (time_t)(clock_real_ns() / NS_PER_S);
	char date[32], from[4096], to[4096];
	struct tm tm;

	strftime(date, sizeof(date), "%Y%m%dT%H%M%S", gmtime_r(&now, &tm));
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		snprintf(from, sizeof(from), "%s%s", path, suffixes[i]);
		snprintf(to, sizeof(to), "%s.corrupt-%s%s", path, date, suffixes[i]);
		if (rename(from, to) != 0 && errno != ENOENT) {
			err_errno(err, errno, "%s is damaged; rename to %s", from, to);
			return -1;
		}
	}
	log_error("state",
	    "database was damaged, set aside, starting an empty one: file=%s.corrupt-%s "
	    "error=\"%s\"",
	    path, date, reason);
	return 0;
}

static void
close_db(struct state *state)
{
	memset(state->queries, 0, sizeof(state->queries));
	db_close(state->db);
	state->db = NULL;
}

/* Drops names that no position has, which is only safe while nobody knows their numbers. */
static int
sweep_sets(struct state *state, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_SETS_SWEEP, err);

	if (query != NULL && db_run(query, err) == 0)
		return 0;
	close_db(state);
	return -1;
}

static int
open_to_write(struct state *state, struct err *err)
{
	bool is_current;

	state->db = db_open(state->path, err);
	if (state->db == NULL || schema_check(state->db, state->path, &is_current, err) != 0)
		goto fail;
	if (is_current || schema_upgrade(state->db, state->dir, err) == 0)
		return sweep_sets(state, err);
fail:
	close_db(state);
	return -1;
}

static int
open_to_read(struct state *state, struct err *err)
{
	bool is_current;

	state->db = db_open_read_only(state->path, err);
	if (state->db != NULL && schema_check(state->db, state->path, &is_current, err) == 0) {
		if (is_current)
			return 0;
		err_set(err, ERR_IO, "%s: of an older version, and can't be written", state->path);
	}
	close_db(state);
	return -1;
}

/* Remembers which file was opened. REQUIRES the lock. */
static void
note_file(struct state *state)
{
	struct stat st = { 0 };

	if (stat(state->path, &st) != 0)
		st.st_ino = 0;
	state->dev = st.st_dev;
	state->ino = st.st_ino;
}

/* SQLite would go on writing to a file that has no name any more. REQUIRES the lock. */
static bool
is_still_there(const struct state *state)
{
	struct stat st;

	return stat(state->path, &st) == 0 && st.st_dev == state->dev && st.st_ino == state->ino;
}

/* Opens it in the best way there is. -1 with why it can't be written. REQUIRES the lock. */
static int
open_db(struct state *state, struct err *err)
{
	struct err ignored;
	int rc;

	close_db(state);
	state->read_only = false;
	state->generation++;
	state->retry_mono_ns = clock_mono_ns() + RETRY_NS;
	rc = open_to_write(state, err);
	if (rc != 0 && err->code == ERR_PROTO) {
		rc = state_set_aside(state->path, err->text, err);
		if (rc == 0)
			rc = open_to_write(state, err);
	}
	note_file(state);
	if (rc == 0)
		return 0;
	/* Another's file, or a directory that can't be written. */
	if (err->code == ERR_IO)
		state->read_only = open_to_read(state, &ignored) == 0;
	return -1;
}

struct state *
state_open(const char *dir, struct err *err)
{
	struct state *state = calloc(1, sizeof(*state));

	if (state == NULL) {
		err_nomem(err);
		return NULL;
	}
	state->lock_fd = -1;
	lock_init(&state->lock, LOCK_state);
	state->dir = strdup(dir);
	if (state->dir == NULL || asprintf(&state->path, "%s/" FILE_NAME, dir) < 0) {
		state->path = NULL;
		err_nomem(err);
		goto fail;
	}
	if (make_dir(dir, err) != 0 || take_dir(state, err) != 0)
		goto fail;
	if (open_db(state, err) == 0)
		return state;
	if (err->code == ERR_DENIED || err->code == ERR_NOMEM)
		goto fail;
	log_error("state", "nothing is kept for now, %s: error=\"%s\"",
	    state->read_only ? "what was kept is read" : "and nothing can be read", err->text);
	return state;
fail:
	state_close(state);
	return NULL;
}

void
state_close(struct state *state)
{
	if (state == NULL)
		return;
	close_db(state);
	lock_fini(&state->lock);
	if (state->lock_fd >= 0)
		close(state->lock_fd);
	free(state->path);
	free(state->dir);
	free(state);
}

const char *
state_dir(const struct state *state)
{
	return state->dir;
}

bool
state_can_read(struct state *state)
{
	bool can;

	lock_take(&state->lock);
	can = state->db != NULL;
	lock_drop(&state->lock);
	return can;
}

/* --- access ---------------------------------------------------------------------------------- */

/* REQUIRES the lock. */
static int
have_db(struct state *state, enum state_access access, struct err *err)
{
	if (state->db != NULL && access != STATE_READ && !state->read_only &&
	    !is_still_there(state)) {
		log_error("state", "database was removed or replaced: file=%s", state->path);
		close_db(state);
		state->retry_mono_ns = INT64_MIN;
	}
	if (state->db != NULL && (access == STATE_READ || !state->read_only))
		return 0;
	if (clock_mono_ns() < state->retry_mono_ns) {
		err_set(err, ERR_IO, "%s can't be %s; see the log", state->path,
		    access == STATE_READ ? "read" : "written");
		return -1;
	}
	if (open_db(state, err) != 0)
		return access == STATE_READ && state->db != NULL ? 0 : -1;
	log_info("state", "all is kept again: file=%s", state->path);
	return 0;
}

/* To callers, what is wrong with the file is a matter of the disk. Always -1. */
static int
failed(struct err *err)
{
	if (err->code == ERR_PROTO)
		err->code = ERR_IO;
	return -1;
}

int
state_enter(struct state *state, enum state_access access, struct err *err)
{
	lock_take(&state->lock);
	if (have_db(state, access, err) == 0 &&
	    (access == STATE_READ || db_begin(state->db, access == STATE_WRITE_DURABLE, err) == 0))
		return 0;
	lock_drop(&state->lock);
	return failed(err);
}

int
state_leave(struct state *state, enum state_access access, int rc, struct err *err)
{
	if (access != STATE_READ && rc == 0)
		rc = db_commit(state->db, err);
	else if (access != STATE_READ)
		db_rollback(state->db);
	lock_drop(&state->lock);
	return rc == 0 ? 0 : failed(err);
}

struct db_query *
state_query(struct state *state, enum state_query query, struct err *err)
{
	if (state->queries[query] == NULL)
		state->queries[query] = db_prepare(state->db, sql[query], err);
	return state->queries[query];
}

/* --- for tools ------------------------------------------------------------------------------- */

/* NULL with *there false: no such file; else with err. */
static struct db *
open_for_tool(const char *dir, bool *there, struct err *err)
{
	struct db *db = NULL;
	char *path;

	*there = true;
	if (asprintf(&path, "%s/" FILE_NAME, dir) < 0) {
		err_nomem(err);
		return NULL;
	}
	if (access(path, F_OK) != 0 && errno == ENOENT)
		*there = false;
	else
		db = db_open_read_only(path, err);
	free(path);
	return db;
}

int
state_copy(const char *dir, struct buf *out, bool *there, struct err *err)
{
	struct db *db = open_for_tool(dir, there, err);
	int rc = db == NULL ? -1 : db_copy(db, out, err);

	db_close(db);
	return *there ? rc : 0;
}

int
state_check(const char *dir, struct buf *out, bool *there, struct err *err)
{
	struct db *db = open_for_tool(dir, there, err);
	int rc = db == NULL ? -1 : db_check_all(db, out, err);

	db_close(db);
	if (*there && rc != 0 && err->code == ERR_PROTO) {
		buf_puts(out, err->text);
		buf_putc(out, '\n');
		rc = 0;
	}
	return *there ? rc : 0;
}
