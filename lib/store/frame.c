#include "store/frame_priv.h"

#include <math.h>
#include <stdlib.h>

/* How values of a kind become one. */
enum way { WAY_COUNT, WAY_SUM, WAY_REAL_SUM, WAY_MIN, WAY_MAX, WAY_FIRST, WAY_LAST };

static bool
is_float(enum kind kind)
{
	return kind == KIND_FLOAT32 || kind == KIND_FLOAT64;
}

static enum way
way_of(enum rollup_fn fn, enum kind kind)
{
	if (fn == ROLLUP_COUNT)
		return WAY_COUNT;
	if (fn == ROLLUP_LAST)
		return WAY_LAST;
	if (!kind_is_numeric(kind) || (fn == ROLLUP_SUM && kind == KIND_TIME))
		return WAY_FIRST;
	if (fn == ROLLUP_MIN)
		return WAY_MIN;
	if (fn == ROLLUP_MAX)
		return WAY_MAX;
	return is_float(kind) ? WAY_REAL_SUM : WAY_SUM;
}

static bool
keeps_copy(enum way way)
{
	return way == WAY_FIRST || way == WAY_LAST;
}

/* Once for each record, so without division of 128 bits. */
int64_t
frame_name_ns(int64_t ts_ns, int64_t span_ns)
{
	int64_t rest = ts_ns % span_ns, name;

	if (rest < 0)
		rest += span_ns; /* what it is above the multiple below it */
	if (rest >= span_ns - span_ns / 2)
		return __builtin_add_overflow(ts_ns, span_ns - rest, &name) ? INT64_MAX : name;
	if (__builtin_sub_overflow(ts_ns, rest, &name) || name == TS_NONE)
		return TS_NONE + 1;
	return name;
}

int64_t
frame_begin_ns(int64_t name_ns, int64_t span_ns)
{
	wide_int begin = (wide_int)name_ns - span_ns / 2;

	return begin <= TS_NONE ? TS_NONE + 1 : (int64_t)begin;
}

enum kind
frame_kind(enum rollup_fn fn, enum kind kind)
{
	enum kind result = kind;

	if (fn == ROLLUP_COUNT)
		result = KIND_UINT64;
	else if (fn == ROLLUP_SUM && kind_is_int(kind))
		result = KIND_INT64;
	else if (fn == ROLLUP_SUM && kind_is_uint(kind))
		result = KIND_UINT64;
	else if (fn == ROLLUP_SUM && is_float(kind))
		result = KIND_FLOAT64;
	return result == kind && fn != ROLLUP_COUNT ? KIND_NONE : result;
}

void
kept_unref(struct kept *kept)
{
	if (kept != NULL && --kept->refs == 0)
		free(kept);
}

/* Bytes that follow the struct. */
static size_t
kept_bytes(const struct metric_desc *desc, const struct value *value)
{
	size_t bytes;

	if (desc->kind == KIND_STRING)
		return value->s.len;
	if (desc->kind == KIND_DIST)
		return value->dist->len * sizeof(*value->dist->counts);
	if (desc->kind != KIND_LIST)
		return 0;
	bytes = value->list->len * sizeof(struct value);
	for (size_t i = 0; desc->sub_kind == KIND_STRING && i < value->list->len; i++)
		bytes += value->list->values[i].s.len;
	return bytes;
}

static struct str
put_str(char **room, struct str s)
{
	struct str copy = { *room, s.len };

	if (s.len > 0)
		memcpy(*room, s.p, s.len);
	*room += s.len;
	return copy;
}

static void
keep_list(struct kept *kept, enum kind sub_kind, const struct list *list)
{
	struct value *values = (struct value *)(void *)kept->data;
	char *room = (char *)(values + list->len);

	for (size_t i = 0; i < list->len; i++) {
		values[i] = list->values[i];
		if (sub_kind == KIND_STRING)
			values[i].s = put_str(&room, list->values[i].s);
	}
	kept->list = (struct list){ values, list->len };
	kept->value.list = &kept->list;
}

static void
keep_dist(struct kept *kept, const struct dist *dist)
{
	kept->dist = *dist;
	kept->dist.counts = kept->data;
	if (dist->len > 0)
		memcpy(kept->data, dist->counts, dist->len * sizeof(*dist->counts));
	kept->value.dist = &kept->dist;
}

/* A copy with one reference, NULL when out of memory. */
static struct kept *
keep(const struct metric_desc *desc, const struct value *value)
{
	struct kept *kept = malloc(sizeof(*kept) + kept_bytes(desc, value));
	char *room;

	if (kept == NULL)
		return NULL;
	*kept = (struct kept){ .refs = 1, .value = *value };
	room = (char *)kept->data;
	if (desc->kind == KIND_STRING)
		kept->value.s = put_str(&room, value->s);
	else if (desc->kind == KIND_LIST)
		keep_list(kept, desc->sub_kind, value->list);
	else if (desc->kind == KIND_DIST)
		keep_dist(kept, value->dist);
	return kept;
}

void
frame_clear(struct frame *frame, enum rollup_fn fn, enum kind kind)
{
	if (frame_is_open(frame) && keeps_copy(way_of(fn, kind)))
		kept_unref(frame->kept);
	*frame = (struct frame){ .name_ns = TS_NONE };
}

void
frame_open(struct frame *frame, int64_t name_ns)
{
	*frame = (struct frame){ .name_ns = name_ns };
}

void
frame_copy(struct frame *to, const struct frame *from, enum rollup_fn fn, enum kind kind)
{
	*to = *from;
	if (frame_is_open(from) && keeps_copy(way_of(fn, kind)) && from->kept != NULL)
		from->kept->refs++;
}

/* What sums see of a whole number, time or duration. */
static wide_int
whole(enum kind kind, const struct value *value)
{
	return kind_is_uint(kind) ? (wide_int)value->u : (wide_int)value->i;
}

static bool
is_less(enum kind kind, const struct value *a, const struct value *b)
{
	return is_float(kind) ? a->f < b->f : whole(kind, a) < whole(kind, b);
}

static void
add_extreme(struct frame *frame, enum way way, enum kind kind, const struct value *value)
{
	const struct value *old = &frame->extreme;
	bool better = way == WAY_MIN ? is_less(kind, value, old) : is_less(kind, old, value);

	if (frame->count == 0 || better || (is_float(kind) && isnan(old->f)))
		frame->extreme = *value;
}

/* Puts a copy of the value in the place of the one it has, if any. */
static int
keep_instead(
    struct frame *frame, const struct metric_desc *desc, const struct value *value, struct err *err)
{
	struct kept *kept;

	if (frame->kept != NULL && value_eq(desc, &frame->kept->value, value))
		return 0;
	kept = keep(desc, value);
	if (kept == NULL) {
		err_nomem(err);
		return -1;
	}
	kept_unref(frame->kept);
	frame->kept = kept;
	return 0;
}

int
frame_add(struct frame *frame, enum rollup_fn fn, const struct metric_desc *desc,
    const struct value *value, struct err *err)
{
	enum way way = way_of(fn, desc->kind);

	switch (way) {
	case WAY_FIRST:
		if (frame->count > 0)
			break;
		/* fall through */
	case WAY_LAST:
		if (keep_instead(frame, desc, value, err) != 0)
			return -1;
		break;
	case WAY_SUM:
		frame->sum += whole(desc->kind, value);
		break;
	case WAY_REAL_SUM:
		frame->real_sum += value->f;
		break;
	case WAY_MIN:
	case WAY_MAX:
		if (desc->kind == KIND_TIME && value->i == 0)
			return 0; /* never: see frame_value */
		add_extreme(frame, way, desc->kind, value);
		break;
	case WAY_COUNT:
		break;
	}
	/* A time of 0 adds nothing to a sum: it is left out by not being counted. */
	if (way != WAY_SUM || desc->kind != KIND_TIME || value->i != 0)
		frame->count++;
	return 0;
}

/* a / n, rounded half away from zero. Most sums have 64 bits. */
static wide_int
divide(wide_int a, uint64_t n)
{
	bool is_small = a >= INT64_MIN && a <= INT64_MAX && n <= INT64_MAX;
	wide_int quotient = is_small ? (int64_t)a / (int64_t)n : a / (wide_int)n;
	wide_int rest = a - quotient * (wide_int)n;

	if (2 * (rest < 0 ? -rest : rest) >= (wide_int)n)
		quotient += a < 0 ? -1 : 1;
	return quotient;
}

static struct value
sum_value(wide_int sum, enum kind kind)
{
	if (kind_is_uint(kind))
		return (struct value){ .u = sum > UINT64_MAX ? UINT64_MAX : (uint64_t)sum };
	if (sum > INT64_MAX)
		return (struct value){ .i = INT64_MAX };
	return (struct value){ .i = sum < INT64_MIN ? INT64_MIN : (int64_t)sum };
}

struct value
frame_value(const struct frame *frame, enum rollup_fn fn, enum kind kind, struct kept **kept)
{
	enum way way = way_of(fn, kind);
	double real = frame->real_sum;

	*kept = NULL;
	if (way == WAY_COUNT)
		return (struct value){ .u = frame->count };
	if (frame->count == 0)
		return value_zero(kind); /* times, none of them other than 0 */
	if (way == WAY_MIN || way == WAY_MAX)
		return frame->extreme;
	if (way == WAY_SUM)
		return sum_value(
		    fn == ROLLUP_MEAN ? divide(frame->sum, frame->count) : frame->sum, kind);
	if (way == WAY_REAL_SUM) {
		if (fn == ROLLUP_MEAN)
			real /= (double)frame->count;
		if (fn == ROLLUP_MEAN && kind == KIND_FLOAT32)
			real = (float)real;
		return (struct value){ .f = real };
	}
	*kept = frame->kept;
	frame->kept->refs++;
	return frame->kept->value;
}
