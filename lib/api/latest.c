/*
 * GET /api/latest/[PATH]: the newest value of every active metric.
 */
#include <stdlib.h>

#include "api/json_array_priv.h"
#include "api/latest_priv.h"
#include "api/stamps_priv.h"

struct latest_array {
	struct json_array array;
	struct latest walk;
	struct stamps stamps;
	const struct series_set *named; /* the set whose names these are; NULL at first */
	struct buf names;               /* the members that each of its metrics begins with */
};

static void
put_names(struct json *json, const struct series_set *set)
{
	json_string_unless_empty(json, "hostName", series_set_host(set));
	json_string_unless_empty(json, "appName", series_set_app(set));
}

static void
put_metric(struct json *json, const struct series_set *set, const struct record *record)
{
	json_begin_object(json);
	put_names(json, set);
	json_desc(json, record->desc);
	json_key(json, "timestamp");
	json_ts(json, record->ts_ns);
	json_key(json, "value");
	json_value(json, record->desc, &record->value);
	json_desc_tail(json, record->desc);
	json_end_object(json);
}

static struct str
names_text(struct latest_array *a, const struct series_set *set)
{
	struct json json;

	if (a->named != set) {
		buf_clear(&a->names);
		json_init_members(&json, &a->names);
		put_names(&json, set);
		a->named = set;
	}
	return buf_view(&a->names);
}

/*
 * The same as put_metric, of a compact document and a description with its text: in one go, as most
 * of what anybody reads here is written here.
 */
static void
put_metric_compact(
    struct latest_array *a, const struct series_set *set, const struct record *record)
{
	const struct desc_text *text = record->desc->text;
	struct json *json = &a->array.json;
	struct str names = names_text(a, set);
	size_t punctuation = STR("{,").len;
	size_t tail_room = JSON_VALUE_BYTES + text->tail.len + STR(",}").len;
	char *p = json_begin_raw(
	    json, punctuation + names.len + text->desc.len + STAMP_BYTES + tail_room);

	if (p == NULL)
		return;
	*p++ = '{';
	p = str_put(p, names);
	if (names.len > 0)
		*p++ = ',';
	p = str_put(p, text->desc);
	p = stamps_put(&a->stamps, p, record->ts_ns);
	p = json_value_raw(json, p, tail_room, record->desc, &record->value);
	if (p == NULL)
		return;
	if (text->tail.len > 0)
		*p++ = ',';
	p = str_put(p, text->tail);
	*p++ = '}';
	json_end_raw(json, p);
}

static enum stream_result
latest_element(struct json_array *array)
{
	struct latest_array *a = CONTAINER_OF(array, struct latest_array, array);
	const struct series_set *set;
	const struct record *record;

	if (!latest_next(&a->walk, &set, &record))
		return STREAM_END;
	if (array->json.indent || record->desc->text == NULL)
		put_metric(&array->json, set, record);
	else
		put_metric_compact(a, set, record);
	return a->names.failed ? STREAM_FAILED : STREAM_MORE;
}

static void
latest_free(struct json_array *array)
{
	struct latest_array *a = CONTAINER_OF(array, struct latest_array, array);

	latest_fini(&a->walk);
	buf_fini(&a->names);
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
	stamps_init(&a->stamps, ',');
	buf_init(&a->names, 0);
	a->named = NULL;
	json_array_init(&a->array, request_wants_text(req), latest_element, latest_free);
	resp->stream = &a->array.stream;
	return;
out:
	free(a);
	response_err(req, resp, &err);
}
