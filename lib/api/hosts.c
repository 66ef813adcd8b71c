/*
 * GET /api/hosts/HOST/APP[/PATH]: the history of one endpoint's metrics.
 */
#include "api/hosts_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "api/json_array_priv.h"
#include "api/stamps_priv.h"
#include "base/clock.h"
#include "store/iter.h"

#define DEFAULT_MINUTES 60
#define NS_PER_MINUTE   (60 * NS_PER_S)
#define RECORDS         64

struct host_array {
	struct json_array array;
	struct series_set *set; /* a reference */
	struct iter *iter;
	const struct metric_desc *desc; /* the series to show; NULL = no more */
	bool in_series;                 /* its values are being written */
	int64_t start_ns;
	struct stamps stamps;
	struct record records[RECORDS];
};

/* Moves on to the next series. */
static void
next_series(struct host_array *a)
{
	a->in_series = false;
	if (!iter_next_series(a->iter, &a->desc))
		a->desc = NULL;
}

static void
begin_series(struct host_array *a)
{
	struct json *json = &a->array.json;

	json_begin_object(json);
	json_desc(json, a->desc);
	json_key(json, "values");
	json_begin_array(json);
	iter_range(a->iter, a->start_ns, INT64_MAX);
	a->in_series = true;
}

static void
put_value(struct json *json, const struct record *record)
{
	json_begin_object(json);
	json_key(json, "timestamp");
	json_ts(json, record->ts_ns);
	json_key(json, "value");
	json_value(json, record->desc, &record->value);
	json_key(json, "active");
	json_bool(json, record->active);
	json_end_object(json);
}

#define TAIL_BYTES 17 /* the longer of put_tail's */

/* What follows the value, and a comma. */
static inline char *
put_tail(char *p, bool active)
{
	if (__builtin_expect(active, true))
		return str_put(p, STR(",\"active\":true},"));
	return str_put(p, STR(",\"active\":false},"));
}

/* Values of a kind that may be long. NULL when out of memory. each: room for one, at p for n. */
static char *
put_others(struct host_array *a, char *p, size_t n, size_t each)
{
	for (size_t i = 0; i < n && p != NULL; i++) {
		p = stamps_put(&a->stamps, p, a->records[i].ts_ns);
		p = json_value_raw(
		    &a->array.json, p, (n - i) * each, a->desc, &a->records[i].value);
		if (p != NULL)
			p = put_tail(p, a->records[i].active);
	}
	return p;
}

static char *
put_scalars(struct host_array *a, char *p, size_t n, json_scalar *put)
{
	struct str unit = a->desc->unit;

	for (size_t i = 0; i < n; i++) {
		const struct record *record = &a->records[i];

		p = stamps_put(&a->stamps, p, record->ts_ns);
		p += put(p, &record->value, unit);
		p = put_tail(p, record->active);
	}
	return p;
}

/* The same as put_value of each, in a compact document and in one go. */
static void
put_values_compact(struct host_array *a, size_t n)
{
	size_t each = STAMP_BYTES + JSON_VALUE_BYTES + TAIL_BYTES;
	json_scalar *put = json_scalar_of(a->desc->kind);
	struct json *json = &a->array.json;
	char *p = n == 0 ? NULL : json_begin_raw(json, n * each);

	if (p != NULL)
		p = put != NULL ? put_scalars(a, p, n, put) : put_others(a, p, n, each);
	if (p != NULL)
		json_end_raw(json, p - 1); /* without the last one's comma */
}

static enum stream_result
host_element(struct json_array *array)
{
	struct host_array *a = CONTAINER_OF(array, struct host_array, array);
	struct json *json = &array->json;
	size_t n;

	if (a->desc == NULL)
		return STREAM_END;
	if (!a->in_series)
		begin_series(a);
	n = iter_read(a->iter, a->records, RECORDS);
	if (!json->indent)
		put_values_compact(a, n);
	for (size_t i = 0; i < n && json->indent; i++)
		put_value(json, &a->records[i]);
	if (n == 0 && iter_failed(a->iter))
		return STREAM_FAILED;
	if (n == 0) {
		json_end_array(json);
		json_desc_tail(json, a->desc);
		json_end_object(json);
		next_series(a);
	}
	return STREAM_MORE;
}

static void
host_free(struct json_array *array)
{
	struct host_array *a = CONTAINER_OF(array, struct host_array, array);

	iter_free(a->iter);
	series_set_unref(a->set);
	free(a);
}

int64_t
request_history_start(struct request *req, int64_t minutes)
{
	int64_t span_ns, start_ns;

	/* What is no number counts as absent. */
	str_to_i64(request_param(req, "history"), &minutes);
	if (__builtin_mul_overflow(minutes, NS_PER_MINUTE, &span_ns) ||
	    __builtin_sub_overflow(req->now_ns, span_ns, &start_ns))
		return minutes > 0 ? INT64_MIN : INT64_MAX - 1;
	return start_ns;
}

/* The series of that path, as far back as is asked for: on disk, if memory does not have it. */
static int
begin(struct host_array *a, struct str path, enum iter_match how, struct err *err)
{
	a->iter = iter_new(a->set, path, how, err);
	if (a->iter == NULL || iter_reach(a->iter, a->start_ns, err) != 0)
		return -1;
	next_series(a);
	return 0;
}

/*
 * Begins with the metric of exactly that path; if there is none, with those under it, unless it is
 * to be a single one. 0 or -1.
 */
static int
find_first(struct host_array *a, struct str path, bool singleton, struct err *err)
{
	if (path.len > 0) {
		if (begin(a, path, ITER_EXACT, err) != 0)
			return -1;
		if (a->desc != NULL || singleton)
			return 0;
		iter_free(a->iter);
		a->iter = NULL;
	}
	return begin(a, path, ITER_UNDER, err);
}

void
response_history_cut(struct request *req, struct response *resp, int64_t start_ns, int64_t cut_ns)
{
	int64_t cut_ms = cut_ns / NS_PER_MS + (cut_ns % NS_PER_MS > 0);
	time_t seconds = (time_t)(cut_ms / 1000);
	char date[32], text[48];
	const char *value;
	struct tm tm;

	if (cut_ns == 0 || cut_ns <= start_ns)
		return;
	gmtime_r(&seconds, &tm);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text, sizeof(text), "%s.%03dZ", date, (int)(cut_ms % 1000));
	value = arena_copy(&req->arena, str_of(text)).p;
	response_header(resp, "X-Scotty-History-Cut", value == NULL ? "" : value);
}

struct series_set *
request_series(struct request *req, struct str *rest, struct err *err)
{
	struct str host, app;
	struct series_set *set;

	if (request_endpoint(req, rest, &host, &app, err) != 0)
		return NULL;
	set = store_find(req->service->env.store, host, app);
	if (set == NULL)
		err_set(err, ERR_NOTFOUND, "no such endpoint");
	return set;
}

void
hosts_get(struct request *req, struct response *resp)
{
	struct host_array *a = malloc(sizeof(*a));
	struct str rest = req->rest, path;
	struct err err;

	if (a == NULL) {
		response_status(req, resp, 503);
		return;
	}
	json_array_init(&a->array, request_wants_text(req), host_element, host_free);
	stamps_init(&a->stamps, '{');
	a->iter = NULL;
	a->start_ns = request_history_start(req, DEFAULT_MINUTES);
	a->set = request_series(req, &rest, &err);
	if (a->set == NULL || request_metric_path(req, rest, &path, &err) != 0 ||
	    find_first(a, path, request_param(req, "singleton").len > 0, &err) != 0) {
		host_free(&a->array);
		response_err(req, resp, &err);
		return;
	}
	response_history_cut(req, resp, a->start_ns, iter_cut_ns(a->iter));
	resp->stream = &a->array.stream;
}
