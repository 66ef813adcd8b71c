/*
 * GET /api/writers: how the writers fare; POST /api/writers/NAME/pause and /resume.
 */
#include <stdlib.h>

#include "api/admin_priv.h"
#include "api/fields_priv.h"
#include "api/query_priv.h"

static int64_t
ts_of(int64_t real_ns)
{
	return real_ns == 0 ? TS_NONE : real_ns;
}

static void
put_writer(struct json *json, const struct writer_view *view)
{
	const struct pump_stats *stats = &view->stats;

	json_begin_object(json);
	put_text(json, "name", str_of(view->name));
	put_text(json, "writer", str_of(view->writer));
	put_text(json, "state", str_of(pump_state_text(stats->state)));
	json_key(json, "lagSeconds");
	json_f64(json, stats->lag_s);
	put_count(json, "valuesWritten", stats->written);
	put_count(json, "valuesNotWritten", stats->left);
	put_count(json, "valuesWaiting", stats->waiting);
	put_count(json, "missed", stats->missed);
	put_count(json, "refused", stats->refused);
	put_count(json, "deadLettered", stats->dead_letters);
	put_count(json, "unwritable", stats->unwritable);
	put_count(json, "unsupported", stats->unsupported);
	put_count(json, "writeAttempts", stats->attempts);
	put_count(json, "successfulWrites", stats->successes);
	put_count(json, "retries", stats->retries);
	put_count(json, "bytes", stats->bytes);
	put_time(json, "lastSuccessfulWrite", ts_of(stats->last_success_ns));
	put_text(json, "lastWriteError", str_of(stats->last_error));
	put_time(json, "lastWriteErrorTime", ts_of(stats->last_error_ns));
	put_count(json, "concurrency", view->concurrency);
	put_count(json, "batchSize", view->batch_size);
	put_seconds(json, "rollUpSpanSeconds", view->rollup_span_ns);
	json_end_object(json);
}

void
writers_get(struct request *req, struct response *resp)
{
	struct writers *writers = req->service->env.writers;
	struct writer_view *views = NULL;
	size_t n = 0;
	struct json json;
	struct err err;

	if (writers != NULL && writers_snapshot(writers, &views, &n, &err) != 0) {
		response_err(req, resp, &err);
		return;
	}
	json_init(&json, &resp->body, request_wants_text(req));
	json_begin_array(&json);
	for (size_t i = 0; i < n; i++)
		put_writer(&json, &views[i]);
	json_end_array(&json);
	buf_putc(&resp->body, '\n');
	free(views);
}

void
writer_post(struct request *req, struct response *resp)
{
	static const struct {
		const char *verb;
		bool paused;
	} verbs[] = { { "/pause", true }, { "/resume", false } };
	struct writers *writers = req->service->env.writers;
	struct err err;

	if (!admin_allowed(req)) {
		response_status(req, resp, 403);
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(verbs) && writers != NULL; i++) {
		size_t len = strlen(verbs[i].verb);
		struct str name;

		if (!str_ends(req->rest, str_of(verbs[i].verb)))
			continue;
		name = url_decode(&req->arena, str_sub(req->rest, 0, req->rest.len - len));
		if (writers_pause(writers, name, verbs[i].paused, &err) != 0) {
			response_err(req, resp, &err);
			return;
		}
		resp->status = 204;
		return;
	}
	response_status(req, resp, 404);
}
