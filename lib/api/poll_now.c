/*
 * POST /api/poll: every endpoint is polled now; /api/poll/HOST/APP: that one. Answers before they
 * are.
 */
#include "api/admin_priv.h"

/* Both empty for all endpoints. 0 or -1. */
static int
whom(struct request *req, struct str *host, struct str *app, struct err *err)
{
	*host = *app = STR_EMPTY;
	return req->rest.len == 0 ? 0 : request_named_endpoint(req, host, app, err);
}

void
poll_now_post(struct request *req, struct response *resp)
{
	struct str host, app;
	size_t count;
	struct err err;

	if (!admin_allowed(req)) {
		response_status(req, resp, 403);
		return;
	}
	if (whom(req, &host, &app, &err) != 0 ||
	    fleet_poll_now(req->service->env.fleet, host, app, &count, &err) != 0) {
		response_err(req, resp, &err);
		return;
	}
	resp->status = 202;
	buf_printf(&resp->body, "{\"endpoints\":%zu}\n", count);
}
