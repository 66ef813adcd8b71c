#include "sources/tricorder_learn_priv.h"

#include <stdlib.h>

#include "sources/tricorder_parser_priv.h"

struct learner {
	struct scan_doc doc;
	struct scan list;        /* of the metrics that are left */
	const char *taken;       /* what stands before this is in holes and fixed */
	struct buf holes, fixed; /* of the metric at hand */
	struct buf bytes;        /* of all drafts */
	struct draft *drafts;
	size_t draft_count;
};

/* Makes a hole of [start, end). */
static void
add_hole(struct learner *l, enum hole_type type, size_t at, const char *start, const char *end)
{
	struct hole hole = {
		.gap = (uint32_t)(start - l->taken),
		.type = type,
		.at = (uint32_t)at,
	};

	buf_add(&l->holes, &hole, sizeof(hole));
	buf_add(&l->fixed, l->taken, (size_t)(start - l->taken));
	l->taken = end;
}

/* A hole in place of a token; a string's quotes are not part of it. */
static void
add_token(struct learner *l, enum hole_type type, size_t at, const struct scan_token *t)
{
	add_hole(l, type, at, t->p, t->p + t->len);
}

/*
 * Reads a key and its value: which of keys[] it is, n if none of them. -1 if it is given twice
 * (which of them counts is not for us to say) or written with escapes. Until the last key is read,
 * a value may be one that does not count, hence of any type.
 */
static int
learn_key(struct scan *in, const struct str *keys, size_t n, unsigned *seen, size_t *out,
    struct scan_token *value)
{
	struct scan_token key;

	if (scan_key(in, &key) != 0 || key.escaped || scan_value(in, value) != 0)
		return -1;
	for (*out = 0; *out < n && !str_eq(keys[*out], scan_text(&key));)
		(*out)++;
	if (*out < n && (*seen & 1u << *out) != 0)
		return -1;
	*seen |= 1u << *out;
	return 0;
}

/* A scan at the array or object that was passed over. */
static struct scan
inside(const struct learner *l, const struct scan_token *t)
{
	struct scan in = l->list;

	in.p = t->p;
	scan_enter(&in, &in);
	return in;
}

static int
learn_range(struct learner *l, struct scan *ranges, size_t i)
{
	unsigned seen = 0;
	struct scan in;
	int step;

	if (*ranges->p != '{')
		return -1;
	scan_enter(&in, ranges);
	while ((step = scan_next(&in)) > 0) {
		struct scan_token value;
		size_t key;

		if (learn_key(&in, tricorder_range_keys, RANGE_KEYS, &seen, &key, &value) != 0)
			return -1;
		if (key == RANGE_COUNT)
			add_token(l, HOLE_BUCKET, i, &value);
	}
	ranges->p = in.p;
	return step;
}

static int
learn_ranges(struct learner *l, const struct scan_token *t)
{
	struct scan in;

	if (t->type != SCAN_ARRAY)
		return -1;
	in = inside(l, t);
	for (size_t i = 0; i < t->count; i++) {
		if (scan_next(&in) != 1 || learn_range(l, &in, i) != 0)
			return -1;
	}
	return 0;
}

static int
learn_dist(struct learner *l, const struct scan_token *t)
{
	static const size_t offsets[DIST_KEYS] = {
		[MIN] = offsetof(struct dist, min),
		[MAX] = offsetof(struct dist, max),
		[AVERAGE] = offsetof(struct dist, average),
		[MEDIAN] = offsetof(struct dist, median),
		[SUM] = offsetof(struct dist, sum),
		[COUNT] = offsetof(struct dist, count), /* the sum of the buckets replaces it */
		[GENERATION] = offsetof(struct dist, generation),
	};
	unsigned seen = 0;
	struct scan in;
	int step;

	if (t->type != SCAN_OBJECT)
		return -1;
	in = inside(l, t);
	while ((step = scan_next(&in)) > 0) {
		struct scan_token value;
		size_t key;

		if (learn_key(&in, tricorder_dist_keys, DIST_KEYS, &seen, &key, &value) != 0)
			return -1;
		if (key == RANGES) {
			if (learn_ranges(l, &value) != 0)
				return -1;
		} else if (key == COUNT || key == GENERATION) {
			if (value.type == SCAN_NUMBER)
				add_token(l, HOLE_DIST_UINT, offsets[key], &value);
		} else if (key <= SUM && value.type == SCAN_NUMBER) {
			add_token(l, HOLE_DIST_F64, offsets[key], &value);
		}
	}
	return step;
}

static int
learn_value(struct learner *l, enum kind kind, const struct scan_token *t)
{
	switch (kind) {
	case KIND_BOOL:
		add_token(l, HOLE_BOOL, 0, t);
		return 0;
	case KIND_INT8:
	case KIND_INT16:
	case KIND_INT32:
	case KIND_INT64:
		add_token(l, HOLE_INT, 0, t);
		return 0;
	case KIND_UINT8:
	case KIND_UINT16:
	case KIND_UINT32:
	case KIND_UINT64:
		add_token(l, HOLE_UINT, 0, t);
		return 0;
	case KIND_FLOAT32:
		add_token(l, HOLE_F32, 0, t);
		return 0;
	case KIND_FLOAT64:
		add_token(l, HOLE_F64, 0, t);
		return 0;
	case KIND_STRING:
		add_token(l, HOLE_STRING, 0, t);
		return 0;
	case KIND_TIME:
	case KIND_DURATION:
		add_token(l, HOLE_TIME, 0, t);
		return t->escaped ? -1 : 0;
	case KIND_LIST:
		if (t->type == SCAN_STRING)
			add_hole(l, HOLE_LIST, 0, t->p - 1, t->p + t->len + 1);
		else
			add_token(l, HOLE_LIST, 0, t);
		return 0;
	case KIND_DIST:
		return learn_dist(l, t);
	case KIND_NONE:
	case KIND_COUNT:
		break;
	}
	return -1;
}

/* Fills holes and fixed with the metric that the list stands at. */
static int
learn_object(struct learner *l, enum kind kind)
{
	unsigned seen = 0;
	struct scan in;
	int step;

	l->taken = l->list.p;
	scan_enter(&in, &l->list);
	while ((step = scan_next(&in)) > 0) {
		struct scan_token value;
		size_t key;

		if (learn_key(&in, tricorder_metric_keys, METRIC_KEYS, &seen, &key, &value) != 0)
			return -1;
		if (key == VALUE && learn_value(l, kind, &value) != 0)
			return -1;
		if (key == TIMESTAMP && value.type == SCAN_STRING) {
			if (value.escaped)
				return -1;
			add_token(l, HOLE_STAMP, 0, &value);
		}
	}
	if (step < 0)
		return -1;
	buf_add(&l->fixed, l->taken, (size_t)(in.p - l->taken));
	l->list.p = in.p;
	return 0;
}

static int
learn_metric(struct learner *l, enum kind kind)
{
	buf_clear(&l->holes);
	buf_clear(&l->fixed);
	if (scan_next(&l->list) != 1 || learn_object(l, kind) != 0)
		return -1;
	l->drafts[l->draft_count++] = (struct draft){
		.at = l->bytes.len,
		.hole_count = l->holes.len / sizeof(struct hole),
		.fixed_len = l->fixed.len,
	};
	buf_str(&l->bytes, buf_view(&l->holes));
	buf_str(&l->bytes, buf_view(&l->fixed));
	return l->holes.failed || l->fixed.failed || l->bytes.failed ? -1 : 0;
}

static bool
learn_metrics(struct learner *l, const struct batch *batch, size_t from)
{
	for (size_t i = from; i < batch->len; i++) {
		if (learn_metric(l, batch->desc[i].kind) != 0)
			return false;
	}
	return true;
}

struct layout *
layout_learn(struct tricorder_layouts *table, struct str app, const struct layout *prefix,
    size_t prefix_len, char *text, size_t len, bool first, const struct batch *batch)
{
	struct layout *learned = NULL;
	struct learner l;

	scan_init(&l.list, &l.doc, text, len);
	l.list.depth = 1;
	l.list.close = ']';
	l.list.first = first;
	buf_init(&l.holes, 0);
	buf_init(&l.fixed, 0);
	buf_init(&l.bytes, 0);
	l.draft_count = 0;
	l.drafts = calloc(batch->len - prefix_len + 1, sizeof(*l.drafts));
	if (l.drafts != NULL && learn_metrics(&l, batch, prefix_len)) {
		const struct lesson lesson = {
			.prefix = prefix,
			.prefix_len = prefix_len,
			.drafts = l.drafts,
			.bytes = l.bytes.p,
			.batch = batch,
		};

		learned = layout_remember(table, app, &lesson);
	}
	free(l.drafts);
	buf_fini(&l.holes);
	buf_fini(&l.fixed);
	buf_fini(&l.bytes);
	return learned;
}
