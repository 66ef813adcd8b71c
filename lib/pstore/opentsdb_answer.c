#include "pstore/opentsdb_answer.h"

#include <json-c/json.h>
#include <stdlib.h>

/* Deeper than any answer; json-c's own default is the same. */
#define DEPTH 32
/* Errors of points that are none of ours, until it is given up to look which they are. */
#define STRANGERS_MOST 16

struct point {
	struct json_object *json; /* borrowed, of the request */
	size_t record;
};

static struct json_object *
parse(struct str text)
{
	struct json_tokener *tok = json_tokener_new_ex(DEPTH);
	struct json_object *obj = NULL;

	if (tok != NULL && text.len > 0 && text.len < INT32_MAX)
		obj = json_tokener_parse_ex(tok, text.p, (int)text.len);
	json_tokener_free(tok);
	return obj;
}

/* obj[key] if that is of the type, else NULL. */
static struct json_object *
member(struct json_object *obj, const char *key, enum json_type type)
{
	struct json_object *value;

	if (!json_object_is_type(obj, json_type_object) ||
	    !json_object_object_get_ex(obj, key, &value) || !json_object_is_type(value, type))
		return NULL;
	return value;
}

static bool
same_member(struct json_object *a, struct json_object *b, const char *key, enum json_type type)
{
	struct json_object *x = member(a, key, type), *y = member(b, key, type);

	return x != NULL && y != NULL && json_object_equal(x, y);
}

/* The value is not compared: the server may have made another text of it. */
static bool
same_point(struct json_object *a, struct json_object *b)
{
	return same_member(a, b, "timestamp", json_type_int) &&
	       same_member(a, b, "metric", json_type_string) &&
	       same_member(a, b, "tags", json_type_object);
}

/* The request's points and which record each is of. NULL when out of memory. */
static struct point *
make_points(const struct write_request *request, struct json_object *body, size_t *count)
{
	size_t n = json_object_array_length(body), record = 0, at = 1; /* after the '[' */
	struct point *points = calloc(n + 1, sizeof(*points));
	struct json_tokener *tok = json_tokener_new_ex(DEPTH);

	*count = 0;
	while (points != NULL && tok != NULL && *count < n) {
		struct str rest = str_sub(request->body, at, SIZE_MAX);
		struct json_object *one;

		/* Only to see where it ends. */
		json_tokener_reset(tok);
		one = json_tokener_parse_ex(tok, rest.p, (int)rest.len);
		if (one == NULL)
			break;
		json_object_put(one);
		at += json_tokener_get_parse_end(tok) + 1; /* a comma follows */
		while (record + 1 < request->n && request->ends[record] < at - 1)
			record++;
		points[*count] = (struct point){ json_object_array_get_idx(body, *count), record };
		++*count;
	}
	json_tokener_free(tok);
	return points;
}

/* Marks the records of the errors' points. They come in the order of the points. */
static void
mark_refused(struct json_object *errors, const struct point *points, size_t n, bool *refused)
{
	size_t at = 0, strangers = 0;

	for (size_t i = 0; i < json_object_array_length(errors) && n > 0; i++) {
		struct json_object *bad =
		    member(json_object_array_get_idx(errors, i), "datapoint", json_type_object);
		size_t tried = 0;

		while (tried < n && !same_point(points[(at + tried) % n].json, bad))
			tried++;
		if (tried == n && ++strangers == STRANGERS_MOST)
			return;
		if (tried == n)
			continue;
		at = (at + tried) % n;
		refused[points[at].record] = true;
		at = (at + 1) % n;
	}
}

/* OpenTSDB is up, but what it keeps its data in is not, or has too much to do. */
static bool
is_passing(const char *why)
{
	return strstr(why, "Storage exception") != NULL || strstr(why, "hrottle") != NULL ||
	       strstr(why, "imed out") != NULL;
}

/* The first error's text; NULL if there is none. */
static const char *
first_text(struct json_object *errors)
{
	struct json_object *text = NULL;

	if (errors != NULL && json_object_array_length(errors) > 0)
		text = member(json_object_array_get_idx(errors, 0), "error", json_type_string);
	return text == NULL ? NULL : json_object_get_string(text);
}

static bool
any_is_passing(struct json_object *errors)
{
	for (size_t i = 0; i < json_object_array_length(errors); i++) {
		struct json_object *text =
		    member(json_object_array_get_idx(errors, i), "error", json_type_string);

		if (text != NULL && is_passing(json_object_get_string(text)))
			return true;
	}
	return false;
}

/* Some points failed, and errors says which. */
static void
take_errors(struct json_object *errors, uint64_t failed, const struct write_request *request,
    struct write_answer *out)
{
	struct json_object *body = parse(request->body);
	struct point *points;
	size_t n, known = 0, marked = 0;

	out->status = WRITE_REFUSED; /* without memory the pump may find out */
	if (!json_object_is_type(body, json_type_array))
		goto out;
	points = make_points(request, body, &n);
	if (points == NULL)
		goto out;
	mark_refused(errors, points, n, out->refused);
	for (size_t i = 0; i < n; i++)
		known += out->refused[points[i].record];
	for (size_t i = 0; i < request->n; i++)
		marked += out->refused[i];
	free(points);
	/* Of a record with several points all count as one. */
	out->refused_count = marked + (failed > known ? failed - known : 0);
	if (out->refused_count > request->n)
		out->refused_count = request->n;
	out->status = WRITE_SOME;
out:
	json_object_put(body);
}

void
opentsdb_judge(struct str text, const struct write_request *request, struct write_answer *out)
{
	struct json_object *answer = parse(text), *errors;
	struct json_object *count = member(answer, "failed", json_type_int);
	int64_t failed = count == NULL ? 0 : json_object_get_int64(count);

	if (failed <= 0)
		goto out;
	errors = member(answer, "errors", json_type_array);
	err_set(&out->err, ERR_PROTO, "%lld of %zu points refused: %s", (long long)failed,
	    request->n, first_text(errors) == NULL ? "it does not say why" : first_text(errors));
	if (errors == NULL || json_object_array_length(errors) == 0)
		out->status = WRITE_REFUSED;
	else if (any_is_passing(errors))
		out->status = WRITE_LATER;
	else
		take_errors(errors, (uint64_t)failed, request, out);
out:
	json_object_put(answer);
}
