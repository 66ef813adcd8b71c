/*
 * /api/endpoints: which endpoints there are and how they fare; registering and removing them.
 */
#include "api/admin_priv.h"
#include "api/fields_priv.h"
#include "api/members_priv.h"

/* The last poll was good. */
static bool
is_up(const struct member_view *view)
{
	return view->active && !view->status.down && view->status.last_poll_ts_ns != TS_NONE;
}

static void
put_endpoint(struct json *json, const struct member_view *view)
{
	const struct endpoint_status *status = &view->status;

	json_begin_object(json);
	put_text(json, "hostName", view->host);
	put_text(json, "appName", view->app);
	put_text(json, "source", str_of(view->source));
	put_text(json, "address", view->address);
	put_count(json, "port", view->port);
	put_text(json, "state", str_of(ep_state_text(status->state)));
	put_bool(json, "active", view->active);
	put_bool(json, "down", status->down);
	put_text(json, "error", str_of(status->error));
	put_time(json, "lastPoll", status->last_poll_ts_ns);
	put_seconds(json, "pollSeconds", status->poll_ns);
	put_count(json, "metricCount", status->metric_count);
	put_text(json, "origin", str_of(origin_name(view->origin)));
	put_count(json, "badMetrics", status->bad_count);
	put_text(json, "badMetric", str_of(status->bad_text));
	put_count(json, "skippedTicks", status->skipped);
	put_bool(json, "stale", status->stale);
	put_seconds(json, "waitConnectSeconds", status->wait_connect_ns);
	put_seconds(json, "connectSeconds", status->connect_ns);
	put_seconds(json, "waitPollSeconds", status->wait_poll_ns);
	put_bool(json, "up", is_up(view));
	put_count(json, "changedMetrics", status->changed);
	put_count(json, "bodyBytes", status->body_bytes);
	put_seconds(json, "latenessSeconds", status->lateness_ns);
	json_tags(json, &(struct metric_desc){ .tags = view->tags, .tag_count = view->tag_count });
	json_end_object(json);
}

void
endpoints_get(struct request *req, struct response *resp)
{
	members_answer(req, resp, put_endpoint);
}

void
registration_put(struct request *req, struct response *resp)
{
	struct str host, app;
	bool created;
	struct err err;

	if (!admin_allowed(req)) {
		response_status(req, resp, 403);
		return;
	}
	if (request_named_endpoint(req, &host, &app, &err) != 0 ||
	    fleet_put(req->service->env.fleet, host, app, req->body, req->from_loopback, &created,
	        &err) != 0) {
		response_err(req, resp, &err);
		return;
	}
	resp->status = created ? 201 : 200;
	buf_puts(&resp->body, "{}\n");
}

void
registration_delete(struct request *req, struct response *resp)
{
	struct str host, app;
	struct err err;

	if (!admin_allowed(req)) {
		response_status(req, resp, 403);
		return;
	}
	if (request_named_endpoint(req, &host, &app, &err) != 0 ||
	    fleet_delete(req->service->env.fleet, host, app, &err) != 0) {
		response_err(req, resp, &err);
		return;
	}
	resp->status = 204;
	resp->content_type = NULL;
}
