/*
 * GET /api/errors/: the active endpoints whose last poll failed, and why.
 */
#include "api/members_priv.h"

static void
put_error(struct json *json, const struct member_view *view)
{
	if (!view->active || !view->status.down)
		return;
	json_begin_object(json);
	json_key(json, "hostName");
	json_string(json, view->host);
	json_key(json, "timestamp");
	json_ts(json, view->status.error_ts_ns);
	json_key(json, "error");
	json_string(json, str_of(view->status.error));
	json_key(json, "appName");
	json_string(json, view->app);
	json_end_object(json);
}

void
errors_get(struct request *req, struct response *resp)
{
	members_answer(req, resp, put_error);
}
