/*
 * What was registered over the API, and settings.
 */
#include "state/state_priv.h"

int
state_registry_each(struct state *state,
    void (*each)(void *ctx, struct str host, struct str app, struct str body, bool from_loopback),
    void *ctx, struct err *err)
{
	struct db_query *query;
	int more = -1;

	if (state_enter(state, STATE_READ, err) != 0)
		return -1;
	query = state_query(state, QUERY_REGISTRY_EACH, err);
	while (query != NULL && (more = db_next(query, err)) == 1)
		each(ctx, db_text(query, 0), db_text(query, 1), db_text(query, 2),
		    db_i64(query, 3) != 0);
	return state_leave(state, STATE_READ, more, err);
}

int
state_registry_put(struct state *state, struct str host, struct str app, struct str body,
    bool from_loopback, struct err *err)
{
	struct db_query *query;
	int rc = -1;

	if (state_enter(state, STATE_WRITE_DURABLE, err) != 0)
		return -1;
	query = state_query(state, QUERY_REGISTRY_PUT, err);
	if (query != NULL) {
		db_bind_text(query, 1, host);
		db_bind_text(query, 2, app);
		db_bind_text(query, 3, body);
		db_bind_i64(query, 4, from_loopback);
		rc = db_run(query, err);
	}
	return state_leave(state, STATE_WRITE_DURABLE, rc, err);
}

int
state_registry_delete(struct state *state, struct str host, struct str app, struct err *err)
{
	struct db_query *query;
	int rc = -1;

	if (state_enter(state, STATE_WRITE_DURABLE, err) != 0)
		return -1;
	query = state_query(state, QUERY_REGISTRY_DELETE, err);
	if (query != NULL) {
		db_bind_text(query, 1, host);
		db_bind_text(query, 2, app);
		rc = db_run(query, err);
	}
	return state_leave(state, STATE_WRITE_DURABLE, rc, err);
}

int
state_setting_get(struct state *state, const char *name, struct buf *out, struct err *err)
{
	struct db_query *query;
	int more = -1;

	if (state_enter(state, STATE_READ, err) != 0)
		return -1;
	query = state_query(state, QUERY_SETTING_GET, err);
	if (query != NULL) {
		db_bind_text(query, 1, str_of(name));
		more = db_next(query, err);
	}
	if (more == 1) {
		buf_str(out, db_text(query, 0));
		db_reset(query);
		more = 0;
	}
	return state_leave(state, STATE_READ, more, err);
}

int
state_setting_set(struct state *state, const char *name, struct str value, struct err *err)
{
	struct db_query *query;
	int rc = -1;

	if (state_enter(state, STATE_WRITE_DURABLE, err) != 0)
		return -1;
	query = state_query(state, QUERY_SETTING_SET, err);
	if (query != NULL) {
		db_bind_text(query, 1, str_of(name));
		db_bind_text(query, 2, value);
		rc = db_run(query, err);
	}
	return state_leave(state, STATE_WRITE_DURABLE, rc, err);
}
