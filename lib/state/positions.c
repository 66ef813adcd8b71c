/*
 * Writers, and where each is in every stream.
 */
#include "base/clock.h"
#include "base/log.h"
#include "state/state_priv.h"

/* What was not saved for so long is of endpoints that are gone. */
#define SWEEP_S (INT64_C(30) * 86400)

static int64_t
seconds(int64_t ns)
{
	return ns / NS_PER_S;
}

/* 1 with *id, 0: there is no such writer, -1. */
static int
find_writer(struct state *state, const char *writer, int64_t *id, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_WRITER_ID, err);
	int more = -1;

	if (query != NULL) {
		db_bind_text(query, 1, str_of(writer));
		more = db_next(query, err);
	}
	if (more == 1) {
		*id = db_i64(query, 0);
		db_reset(query);
	}
	return more;
}

/* Adds the writer; one that was removed is there again. */
static int
add_writer(struct state *state, const char *writer, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_WRITER_ADD, err);

	if (query == NULL)
		return -1;
	db_bind_text(query, 1, str_of(writer));
	return db_run(query, err);
}

/* A cursor remembers the number of a set, together with which opening of the database it is of. */
#define TAG_ID_BITS 48

static uint64_t
tag_of(const struct state *state, int64_t set_id)
{
	return state->generation << TAG_ID_BITS | (uint64_t)set_id;
}

static struct cursor_position
position_of(const struct state *state, struct db_query *query)
{
	return (struct cursor_position){
		.host = db_text(query, 0),
		.app = db_text(query, 1),
		.stream = (uint32_t)db_i64(query, 2),
		.birth_ns = db_i64(query, 3),
		.row = (uint32_t)db_i64(query, 4),
		.target = (uint32_t)db_i64(query, 5),
		.at = (uint32_t)db_i64(query, 6),
		.at_row = (uint32_t)db_i64(query, 7),
		.left = (uint64_t)db_i64(query, 8),
		.flags = (uint32_t)db_i64(query, 9),
		.tag = tag_of(state, db_i64(query, 10)),
		.from_ns = db_i64(query, 11),
		.row_ns = db_i64(query, 12),
		.skip_target = (uint32_t)db_i64(query, 13),
		.skip_at = (uint32_t)db_i64(query, 14),
		.skip_at_row = (uint32_t)db_i64(query, 15),
	};
}

/* REQUIRES the lock. */
static int
load(struct state *state, int64_t id, struct cursor *cursor, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_POSITIONS_OF, err);
	int more = -1;

	if (query == NULL)
		return -1;
	db_bind_i64(query, 1, id);
	while ((more = db_next(query, err)) == 1) {
		struct cursor_position pos = position_of(state, query);

		/* A set that did not come back, or another of its name, is read from its start. */
		if (cursor_restore(cursor, &pos, err) != 0 && err->code == ERR_NOMEM) {
			db_reset(query);
			return -1;
		}
	}
	return more;
}

/*
 * What is newer than the last position that was saved was never read. The clocks of both may differ
 * a little, and a round takes its time. REQUIRES the lock.
 */
#define SLACK_S 60

static int
begin_new(struct state *state, int64_t id, struct cursor *cursor, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_POSITIONS_TIME, err);
	int more = -1;

	if (query == NULL)
		return -1;
	db_bind_i64(query, 1, id);
	more = db_next(query, err);
	if (more == 1) {
		int64_t saved_s = db_i64(query, 0);

		db_reset(query);
		if (saved_s > SLACK_S)
			cursor_begin_new(cursor, (saved_s - SLACK_S) * NS_PER_S);
	}
	return more < 0 ? -1 : 0;
}

int
state_positions_load(
    struct state *state, const char *writer, struct cursor *cursor, struct err *err)
{
	int64_t id = 0;
	int rc;

	cursor_keep(cursor);
	if (state_enter(state, STATE_READ, err) != 0)
		return -1;
	rc = find_writer(state, writer, &id, err);
	if (rc == 1)
		rc = load(state, id, cursor, err) == 0 ? begin_new(state, id, cursor, err) : -1;
	return state_leave(state, STATE_READ, rc, err);
}

struct saving {
	struct state *state;
	struct db_query *query;
	int64_t id, now_s;
};

/* The number of the set, which gets one if it has none. REQUIRES a transaction. */
static int
find_set(struct state *state, const struct cursor_position *pos, int64_t *id, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_SET_ID, err);
	int more;

	if (query == NULL)
		return -1;
	db_bind_text(query, 1, pos->host);
	db_bind_text(query, 2, pos->app);
	more = db_next(query, err);
	if (more == 1) {
		*id = db_i64(query, 0);
		db_reset(query);
		return 0;
	}
	query = more == 0 ? state_query(state, QUERY_SET_ADD, err) : NULL;
	if (query == NULL)
		return -1;
	db_bind_text(query, 1, pos->host);
	db_bind_text(query, 2, pos->app);
	if (db_run(query, err) != 0)
		return -1;
	*id = db_last_id(state->db);
	return 0;
}

static int
save_one(void *ctx, struct cursor_position *pos, struct err *err)
{
	struct saving *saving = ctx;
	struct db_query *query = saving->query;
	int64_t set_id = (int64_t)(pos->tag & ((UINT64_C(1) << TAG_ID_BITS) - 1));

	if (pos->tag >> TAG_ID_BITS != saving->state->generation) {
		if (find_set(saving->state, pos, &set_id, err) != 0)
			return -1;
		pos->tag = tag_of(saving->state, set_id);
	}

	db_bind_i64(query, 1, saving->id);
	db_bind_i64(query, 2, set_id);
	db_bind_i64(query, 3, pos->stream);
	db_bind_i64(query, 4, pos->birth_ns);
	db_bind_i64(query, 5, pos->row);
	db_bind_i64(query, 6, pos->target);
	db_bind_i64(query, 7, pos->at);
	db_bind_i64(query, 8, pos->at_row);
	db_bind_i64(query, 9, (int64_t)pos->left);
	db_bind_i64(query, 10, pos->flags);
	db_bind_i64(query, 11, saving->now_s);
	db_bind_i64(query, 12, pos->from_ns);
	db_bind_i64(query, 13, pos->row_ns);
	db_bind_i64(query, 14, pos->skip_target);
	db_bind_i64(query, 15, pos->skip_at);
	db_bind_i64(query, 16, pos->skip_at_row);
	return db_run(query, err);
}

/* REQUIRES a transaction. */
static int
save(struct state *state, const char *writer, struct cursor *cursor, int64_t now_s, struct err *err)
{
	struct saving saving = { .state = state, .now_s = now_s };
	int found = find_writer(state, writer, &saving.id, err);

	if (found == 0) {
		if (add_writer(state, writer, err) != 0)
			return -1;
		found = find_writer(state, writer, &saving.id, err);
	}
	saving.query = state_query(state, QUERY_POSITION_PUT, err);
	if (found != 1 || saving.query == NULL)
		return -1;
	return cursor_save(cursor, save_one, &saving, err);
}

int
state_positions_save(
    struct state *state, const char *writer, struct cursor *cursor, int64_t now_ns, struct err *err)
{
	int rc;

	if (!cursor_has_changes(cursor))
		return 0;
	if (state_enter(state, STATE_WRITE, err) != 0)
		return -1;
	rc = save(state, writer, cursor, seconds(now_ns), err);
	rc = state_leave(state, STATE_WRITE, rc, err);
	if (rc == 0)
		cursor_saved(cursor);
	return rc;
}

/* --- writers that come and go ---------------------------------------------------------------- */

static bool
is_named(struct str name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (str_eq(name, str_of(names[i])))
			return true;
	}
	return false;
}

static int
run_with_id(struct state *state, enum state_query which, int64_t id, struct err *err)
{
	struct db_query *query = state_query(state, which, err);

	if (query == NULL)
		return -1;
	db_bind_i64(query, 1, id);
	return db_run(query, err);
}

static int
drop(struct state *state, int64_t id, struct str name, struct err *err)
{
	log_info("state", "writer was removed long ago, its place is dropped: writer=\"%.*s\"",
	    STR_ARG(name));
	if (run_with_id(state, QUERY_POSITIONS_DROP, id, err) != 0)
		return -1;
	return run_with_id(state, QUERY_WRITER_DROP, id, err);
}

static int
mark_removed(struct state *state, int64_t id, struct str name, int64_t now_s, int64_t grace_s,
    struct err *err)
{
	struct db_query *query = state_query(state, QUERY_WRITER_REMOVED, err);

	if (query == NULL)
		return -1;
	log_info("state",
	    "writer is not configured any more, its place is kept for %lld s: writer=\"%.*s\"",
	    (long long)grace_s, STR_ARG(name));
	db_bind_i64(query, 1, id);
	db_bind_i64(query, 2, now_s);
	return db_run(query, err);
}

/* Writers that are in the database and not among the names. */
static int
remove_others(struct state *state, const char *const *names, size_t n, int64_t now_s,
    int64_t grace_s, struct err *err)
{
	struct db_query *query = state_query(state, QUERY_WRITER_EACH, err);
	int more = -1, rc = 0;

	while (rc == 0 && query != NULL && (more = db_next(query, err)) == 1) {
		int64_t id = db_i64(query, 0), removed_s = db_i64(query, 2);
		struct str name = db_text(query, 1);

		if (is_named(name, names, n))
			continue;
		if (removed_s == 0)
			rc = mark_removed(state, id, name, now_s, grace_s, err);
		else if (now_s - removed_s >= grace_s)
			rc = drop(state, id, name, err);
	}
	if (rc != 0)
		db_reset(query);
	return rc != 0 ? rc : more;
}

int
state_writers_set(struct state *state, const char *const *names, size_t n, int64_t now_ns,
    int64_t grace_ns, struct err *err)
{
	int64_t now_s = seconds(now_ns);
	int rc = 0;

	if (state_enter(state, STATE_WRITE, err) != 0)
		return -1;
	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = add_writer(state, names[i], err);
	if (rc == 0)
		rc = remove_others(state, names, n, now_s, seconds(grace_ns), err);
	if (rc == 0)
		rc = run_with_id(state, QUERY_POSITIONS_SWEEP, now_s - SWEEP_S, err);
	return state_leave(state, STATE_WRITE, rc, err);
}
