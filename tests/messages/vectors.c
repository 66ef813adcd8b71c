#include "vectors.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/number.h"

struct str
vector_load(const char *name)
{
	char path[512];
	char *text;
	long len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", TEST_DATA, name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	len = ftell(f);
	assert_true(len >= 0);
	rewind(f);
	text = malloc((size_t)len + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, (size_t)len, f), len);
	text[len] = '\0';
	fclose(f);
	return (struct str){ text, (size_t)len };
}

void
vector_expect(const char *name, struct str got)
{
	struct str want = vector_load(name);

	assert_int_equal(got.len, want.len);
	assert_memory_equal(got.p, want.p, want.len);
	free((void *)(uintptr_t)want.p);
}

struct json_object *
vector_parse(const char *name)
{
	struct str text = vector_load(name);
	struct json_object *obj = json_tokener_parse(text.p);

	assert_non_null(obj);
	free((void *)(uintptr_t)text.p);
	return obj;
}

void
vector_free(struct json_object *obj)
{
	json_object_put(obj);
}

size_t
vector_len(struct json_object *array)
{
	return json_object_array_length(array);
}

struct json_object *
vector_at(struct json_object *array, size_t i)
{
	return json_object_array_get_idx(array, i);
}

struct json_object *
vector_get(struct json_object *obj, const char *key)
{
	return json_object_object_get(obj, key);
}

bool
vector_bool(struct json_object *obj, const char *key)
{
	return json_object_get_boolean(vector_get(obj, key));
}

int64_t
vector_i64(struct json_object *obj, const char *key)
{
	return json_object_get_int64(vector_get(obj, key));
}

static struct str
text_of(struct json_object *obj)
{
	return (struct str){ json_object_get_string(obj), (size_t)json_object_get_string_len(obj) };
}

struct str
vector_text(struct json_object *obj, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(obj, key, &value) ? text_of(value) : STR_EMPTY;
}

int64_t
vector_ts(struct json_object *obj)
{
	int64_t ts;

	assert_true(number_parse_time(vector_text(obj, "timestamp"), 1, &ts));
	return ts;
}

static const double *
doubles(struct arena *arena, struct json_object *array, const char *key, size_t n)
{
	double *out = arena_array(arena, n, sizeof(*out));

	assert_non_null(out);
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = vector_at(array, i);

		out[i] = json_object_get_double(key == NULL ? one : vector_get(one, key));
	}
	return out;
}

struct metric_desc
vector_desc(struct arena *arena, struct json_object *metric)
{
	struct metric_desc d = {
		.path = vector_text(metric, "path"),
		.description = vector_text(metric, "description"),
		.unit = vector_text(metric, "unit"),
		.kind = kind_parse(vector_text(metric, "kind")),
		.sub_kind = kind_parse(vector_text(metric, "subType")),
		.not_cumulative = vector_bool(metric, "isNotCumulative"),
	};
	struct json_object *value, *limits = vector_get(metric, "upperLimits");

	assert_int_not_equal(d.kind, KIND_NONE);
	if (limits != NULL) {
		d.limit_count = vector_len(limits);
		d.limits = doubles(arena, limits, NULL, d.limit_count);
	}
	if (d.kind == KIND_DIST && json_object_object_get_ex(metric, "value", &value) &&
	    json_object_object_get_ex(value, "ranges", &limits)) {
		d.limit_count = vector_len(limits) - 1;
		d.limits = doubles(arena, limits, "upper", d.limit_count);
		d.not_cumulative = vector_bool(value, "isNotCumulative");
	}
	return d;
}

static double
number(struct json_object *obj, const char *key)
{
	return json_object_get_double(vector_get(obj, key));
}

static const struct dist *
dist_of(struct arena *arena, struct json_object *value)
{
	struct dist *d = arena_alloc(arena, sizeof(*d));
	struct json_object *ranges = vector_get(value, "ranges");
	struct json_object *counts = vector_get(value, "counts");
	uint64_t *out;

	assert_non_null(d);
	*d = (struct dist){
		.len = vector_len(ranges != NULL ? ranges : counts),
		.sum = number(value, "sum"),
		.count = (uint64_t)number(value, "count"),
		.generation = (uint64_t)number(value, "generation"),
		.rollovers = (uint64_t)number(value, "rollOverCount"),
		.min = number(value, "min"),
		.max = number(value, "max"),
		.average = number(value, "average"),
		.median = number(value, "median"),
	};
	out = arena_array(arena, d->len, sizeof(*out));
	assert_non_null(out);
	for (size_t i = 0; i < d->len; i++)
		out[i] = ranges != NULL ? (uint64_t)number(vector_at(ranges, i), "count")
		                        : json_object_get_uint64(vector_at(counts, i));
	d->counts = out;
	return d;
}

static struct value
scalar_of(enum kind kind, struct str unit, struct json_object *value)
{
	struct value v = { .u = 0 };

	if (kind_is_int(kind))
		v.i = json_object_get_int64(value);
	else if (kind_is_uint(kind))
		v.u = json_object_get_uint64(value);
	else if (kind == KIND_BOOL)
		v.b = json_object_get_boolean(value);
	else if (kind == KIND_STRING)
		v.s = text_of(value);
	else if (kind == KIND_FLOAT32)
		v.f = (double)(float)json_object_get_double(value);
	else if (kind == KIND_FLOAT64)
		v.f = json_object_get_double(value);
	else
		assert_true(number_parse_time(text_of(value), unit_per_second(unit), &v.i));
	return v;
}

/* The bytes of base64 text: the only list that is not an array. */
static size_t
from_base64(struct str text, struct value *out)
{
	static const char letters[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, have = 0;
	size_t n = 0;

	for (size_t i = 0; i < text.len && text.p[i] != '='; i++) {
		bits = bits << 6 | (unsigned)(strchr(letters, text.p[i]) - letters);
		have += 6;
		if (have >= 8) {
			have -= 8;
			out[n++].u = bits >> have & 0xFF;
		}
	}
	return n;
}

static const struct list *
list_of(struct arena *arena, const struct metric_desc *desc, struct json_object *value)
{
	bool base64 = json_object_is_type(value, json_type_string);
	size_t n = base64 ? text_of(value).len : vector_len(value);
	struct list *list = arena_alloc(arena, sizeof(*list));
	struct value *values = arena_array(arena, n, sizeof(*values));

	assert_true(list != NULL && values != NULL);
	for (size_t i = 0; i < n && !base64; i++)
		values[i] = scalar_of(desc->sub_kind, desc->unit, vector_at(value, i));
	*list = (struct list){ values, base64 ? from_base64(text_of(value), values) : n };
	return list;
}

struct value
vector_value(struct arena *arena, const struct metric_desc *desc, struct json_object *value)
{
	if (desc->kind == KIND_LIST)
		return (struct value){ .list = list_of(arena, desc, value) };
	if (desc->kind == KIND_DIST)
		return (struct value){ .dist = value == NULL ? NULL : dist_of(arena, value) };
	/* json-c reads -0 as the integer 0. */
	if (desc->kind == KIND_FLOAT64 && str_ends(desc->path, STR("/negzero")))
		return (struct value){ .f = -0.0 };
	return scalar_of(desc->kind, desc->unit, value);
}
