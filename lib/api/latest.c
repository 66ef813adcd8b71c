/*
 * GET /api/latest/[PATH]: the newest value of every active metric.
 */
#include <stdlib.h>

#include "api/json_array_priv.h"
#include "api/latest_priv.h"

struct latest_array {
	struct json_array array;
	struct latest walk;
};

static void
put_metric(struct json *json, const struct series_set *set, const struct record *record)
{
	json_begin_object(json);
	json_string_unless_empty(json, "hostName", series_set_host(set));
	json_string_unless_empty(json, "appName", series_set_app(set));
	json_desc(json, record->desc);
	json_key(json, "timestamp");
	json_ts(json, record->ts_ns);
	json_key(json, "value");
	json_value(json, record->desc, &record->value);
	json_desc_tail(json, record->desc);
	json_end_object(json);
}

static enum stream_result
latest_element(struct json_array *array)
{
	struct latest_array *a = CONTAINER_OF(array, struct latest_array, array);
	const struct series_set *set;
	const struct record *record;
	struct err err;
	int rc = latest_next(&a->walk, &set, &record, &err);

	if (rc != 1)
		return rc == 0 ? STREAM_END : STREAM_FAILED;
	put_metric(&array->json, set, record);
	return STREAM_MORE;
}

static void
latest_free(struct json_array *array)
{
	struct latest_array *a = CONTAINER_OF(array, struct latest_array, array);

	latest_fini(&a->walk);
	free(a);
}

void
latest_get(struct request *req, struct response *resp)
{
	struct latest_array *a = NULL;
	struct str prefix;
	struct err err;

	if (request_metric_path(req, req->rest, &prefix, &err) != 0)
		goto out;
	a = malloc(sizeof(*a));
	if (a == NULL) {
		err_nomem(&err);
		goto out;
	}
	if (latest_init(&a->walk, req->service->env.store, prefix, &err) != 0)
		goto out;
	json_array_init(&a->array, request_wants_text(req), latest_element, latest_free);
	resp->stream = &a->array.stream;
	return;
out:
	free(a);
	response_err(req, resp, &err);
}
