/*
 * A metric's object is walked once and the values of its keys are kept as tokens, as the kind,
 * which says how to read the value, may come after it. Values that are arrays or objects are
 * checked and counted by that walk, and walked again to take them in.
 */
#include "sources/tricorder_parse_priv.h"

#include <math.h>
#include <string.h>

#include "messages/number.h"
#include "sources/tricorder_parser_priv.h"

/* Most tags of one metric: more than any backend takes, few enough to sort by insertion. */
#define MOST_TAGS 64
/* Most bytes of the document shown in a complaint. */
#define MOST_SHOWN_BYTES 64
/* U+FFFD in UTF-8. */
#define REPLACEMENT       "\xEF\xBF\xBD"
#define REPLACEMENT_BYTES 3

const struct str tricorder_metric_keys[METRIC_KEYS] = {
	[PATH] = STR("path"),
	[DESCRIPTION] = STR("description"),
	[UNIT] = STR("unit"),
	[KIND] = STR("kind"),
	[SUB_TYPE] = STR("subType"),
	[BITS] = STR("bits"),
	[VALUE] = STR("value"),
	[TIMESTAMP] = STR("timestamp"),
	[GROUP_ID] = STR("groupId"),
	[TAGS] = STR("tags"),
};

const struct str tricorder_dist_keys[DIST_KEYS] = {
	[MIN] = STR("min"),
	[MAX] = STR("max"),
	[AVERAGE] = STR("average"),
	[MEDIAN] = STR("median"),
	[SUM] = STR("sum"),
	[COUNT] = STR("count"),
	[GENERATION] = STR("generation"),
	[NOT_CUMULATIVE] = STR("isNotCumulative"),
	[RANGES] = STR("ranges"),
};

const struct str tricorder_range_keys[RANGE_KEYS] = {
	[RANGE_LOWER] = STR("lower"),
	[RANGE_UPPER] = STR("upper"),
	[RANGE_COUNT] = STR("count"),
};

static enum outcome
not_json(struct parser *p)
{
	const struct scan_doc *doc = p->list.doc;

	err_set(p->err, ERR_PROTO, "not JSON at byte %zu: %s", (size_t)(doc->bad_at - doc->start),
	    doc->why);
	return POLL_LOST;
}

void *
parser_array(struct parser *p, size_t n, size_t size)
{
	void *array = arena_array(&p->batch->arena, n, size);

	if (array == NULL)
		batch_alloc_err(p->batch, n * size, p->err);
	return array;
}

/* What a complaint shows of a text: its beginning, as far as it is UTF-8. */
static struct str
beginning(struct str s)
{
	s = str_sub(s, 0, MOST_SHOWN_BYTES);
	s.len = utf8_valid_prefix(s.p, s.len);
	return s;
}

static enum outcome
complain(struct parser *p, const char *what, struct str text, const char *why)
{
	text = beginning(text);
	batch_bad(p->batch, p->path, "%s %.*s %s", what, STR_ARG(text), why);
	return METRIC_BAD;
}

/* A value as it stands in the document; a string must not have been unescaped. */
static struct str
json_text(const struct scan_token *t)
{
	if (t->type == SCAN_STRING)
		return (struct str){ t->p - 1, t->len + 2 };
	return scan_text(t);
}

/* Reads a key and its colon: which of keys[] it is, n if none of them. -1: not JSON. */
static int
read_key(struct scan *s, const struct str *keys, size_t n, size_t *out)
{
	struct scan_token key;

	if (scan_key(s, &key) != 0)
		return -1;
	if (key.escaped)
		scan_unescape(&key);
	for (*out = 0; *out < n && !str_eq(keys[*out], scan_text(&key));)
		(*out)++;
	return 0;
}

/*
 * As read_key, for keys that nearly always come in the table's order: the one at *guess is tried
 * first, then those behind it.
 */
static inline int
guess_key(struct scan *s, const struct str *keys, size_t n, size_t *guess, size_t *out)
{
	for (size_t i = *guess; i < n; i++) {
		if (scan_known_key(s, keys[i])) {
			*guess = i + 1;
			*out = i;
			return 0;
		}
	}
	return read_key(s, keys, n, out);
}

/*
 * Walks the object that s stands at and puts the value of keys[i] to values[i], all of which are
 * SCAN_NOTHING before; the last of equal keys wins, as in json-c. values[n] takes those of other
 * keys. -1: not JSON.
 */
static int
read_object(struct scan *s, const struct str *keys, size_t n, struct scan_token *values)
{
	struct scan in;
	size_t guess = 0;
	int step;

	scan_enter(&in, s);
	while ((step = scan_next(&in)) > 0) {
		size_t at;

		if (guess_key(&in, keys, n, &guess, &at) != 0 || scan_value(&in, &values[at]) != 0)
			return -1;
	}
	s->p = in.p;
	return step;
}

/* A scan that stands at an array or object which was passed over. */
static struct scan
scan_at(const struct parser *p, const struct scan_token *t)
{
	struct scan s = p->list;

	s.p = t->p;
	return s;
}

static bool
is_absent(const struct scan_token *t)
{
	return t->type == SCAN_NOTHING || t->type == SCAN_NULL;
}

/*
 * Replaces each byte that is not UTF-8, as Go's decoder does. The text grows, so it can't stay
 * where it is.
 */
static enum outcome
repair_utf8(struct parser *p, struct str *text)
{
	struct str rest = *text;
	size_t good = utf8_valid_prefix(rest.p, rest.len);
	char *copy, *out;

	out = copy = parser_array(p, good + (rest.len - good) * REPLACEMENT_BYTES, 1);
	if (copy == NULL)
		return POLL_LOST;
	while (rest.len > 0) {
		good = utf8_valid_prefix(rest.p, rest.len);
		memcpy(out, rest.p, good);
		out += good;
		if (good < rest.len) {
			memcpy(out, REPLACEMENT, REPLACEMENT_BYTES);
			out += REPLACEMENT_BYTES;
			good++;
		}
		rest = str_sub(rest, good, SIZE_MAX);
	}
	*text = (struct str){ copy, (size_t)(out - copy) };
	return METRIC_GOOD;
}

/* The text of a string token, unescaped in its place. */
static enum outcome
take_text(struct parser *p, struct scan_token *t, struct str *out)
{
	if (t->escaped)
		scan_unescape(t);
	*out = scan_text(t);
	if (t->beyond_ascii && utf8_valid_prefix(out->p, out->len) < out->len)
		return repair_utf8(p, out);
	return METRIC_GOOD;
}

/* As take_text, for a key that may be absent: then the text is empty. */
static enum outcome
read_text(struct parser *p, struct scan_token *values, size_t key, struct str *out)
{
	struct scan_token *t = &values[key];

	if (t->type == SCAN_STRING)
		return take_text(p, t, out);
	if (!is_absent(t))
		return complain(p, tricorder_metric_keys[key].p, json_text(t), "is not a string");
	*out = STR_EMPTY;
	return METRIC_GOOD;
}

static bool
to_uint(const struct scan_token *t, uint64_t *out)
{
	if (t->type != SCAN_NUMBER || !t->whole || t->negative)
		return false;
	*out = t->magnitude;
	return true;
}

static bool
to_int(const struct scan_token *t, int64_t *out)
{
	if (t->type != SCAN_NUMBER || !t->whole || t->magnitude > (uint64_t)INT64_MAX + t->negative)
		return false;
	*out = (int64_t)(t->negative ? 0 - t->magnitude : t->magnitude);
	return true;
}

static bool
to_f64(const struct scan_token *t, double *out)
{
	if (t->type != SCAN_NUMBER)
		return false;
	if (t->whole) { /* one conversion, so rounded once */
		*out = t->negative ? -(double)t->magnitude : (double)t->magnitude;
		return true;
	}
	return number_parse_f64(scan_text(t), out) && isfinite(*out);
}

static bool
to_f32(const struct scan_token *t, double *out)
{
	float rounded;

	if (t->type != SCAN_NUMBER || !number_parse_f32(scan_text(t), &rounded) ||
	    !isfinite(rounded))
		return false;
	*out = (double)rounded;
	return true;
}

static enum outcome
read_time(struct parser *p, enum kind kind, struct str unit, struct scan_token *t, int64_t *out)
{
	struct str text;

	if (t->escaped)
		scan_unescape(t);
	text = scan_text(t);
	if (number_parse_time(text, unit_per_second(unit), out))
		return METRIC_GOOD;
	text = beginning(text);
	batch_bad(p->batch, p->path, "value '%.*s' is no %s", STR_ARG(text), kind_name(kind));
	return METRIC_BAD;
}

/* A value, or an element of a list, that is neither a list nor a distribution. */
static enum outcome
read_scalar(
    struct parser *p, enum kind kind, struct str unit, struct scan_token *t, struct value *out)
{
	bool fits = false;
	struct str text;

	switch (kind) {
	case KIND_BOOL:
		out->b = t->type == SCAN_TRUE;
		fits = out->b || t->type == SCAN_FALSE;
		break;
	case KIND_INT8:
	case KIND_INT16:
	case KIND_INT32:
	case KIND_INT64:
		fits = to_int(t, &out->i) && kind_int_fits(kind, out->i);
		break;
	case KIND_UINT8:
	case KIND_UINT16:
	case KIND_UINT32:
	case KIND_UINT64:
		fits = to_uint(t, &out->u) && kind_uint_fits(kind, out->u);
		break;
	case KIND_FLOAT32:
		fits = to_f32(t, &out->f);
		break;
	case KIND_FLOAT64:
		fits = to_f64(t, &out->f);
		break;
	case KIND_STRING:
		if (t->type == SCAN_STRING)
			return take_text(p, t, &out->s);
		break;
	case KIND_TIME:
	case KIND_DURATION:
		if (t->type == SCAN_STRING)
			return read_time(p, kind, unit, t, &out->i);
		break;
	case KIND_NONE:
	case KIND_LIST:
	case KIND_DIST:
	case KIND_COUNT:
		break;
	}
	if (fits)
		return METRIC_GOOD;
	text = beginning(json_text(t));
	batch_bad(p->batch, p->path, "value %.*s does not fit %s", STR_ARG(text), kind_name(kind));
	return METRIC_BAD;
}

/* The value of a base64 digit (RFC 4648, section 4), or -1. */
static int
base64_digit(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Decodes padded base64 to a value each; out has room for 3 per 4 digits. False: not base64. */
static bool
decode_base64(struct str text, struct value *out, size_t *n)
{
	size_t padding = 0, digits;
	uint32_t bits = 0;

	*n = 0;
	if (text.len % 4 != 0)
		return false;
	while (padding < 2 && padding < text.len && text.p[text.len - 1 - padding] == '=')
		padding++;
	digits = text.len - padding;
	for (size_t i = 0; i < digits; i++) {
		int digit = base64_digit(text.p[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		/* The 2nd, 3rd and 4th digit of four complete a byte: 4, 2 and 0 bits are over. */
		if (i % 4 != 0)
			out[(*n)++].u = bits >> (6 - i % 4 * 2) & 0xFF;
	}
	return true;
}

/* Tricorder writes a list of uint8 as one string. */
static enum outcome
read_bytes(struct parser *p, struct scan_token *t, struct list *list)
{
	struct value *values;
	struct str text;

	if (t->escaped)
		scan_unescape(t);
	text = scan_text(t);
	values = parser_array(p, text.len / 4 * 3, sizeof(*values));
	if (values == NULL)
		return POLL_LOST;
	list->values = values;
	if (decode_base64(text, values, &list->len))
		return METRIC_GOOD;
	return complain(p, "value", text, "is not base64");
}

static enum outcome
read_elements(
    struct parser *p, const struct metric_desc *desc, const struct scan_token *t, struct list *list)
{
	struct scan in = scan_at(p, t);
	struct value *values = parser_array(p, t->count, sizeof(*values));

	if (values == NULL)
		return POLL_LOST;
	scan_enter(&in, &in);
	for (size_t i = 0; i < t->count; i++) {
		struct scan_token element;
		enum outcome outcome;

		if (scan_next(&in) != 1 || scan_value(&in, &element) != 0)
			return not_json(p);
		outcome = read_scalar(p, desc->sub_kind, desc->unit, &element, &values[i]);
		if (outcome != METRIC_GOOD)
			return outcome;
	}
	list->values = values;
	list->len = t->count;
	return METRIC_GOOD;
}

static enum outcome
read_list(struct parser *p, const struct metric_desc *desc, struct scan_token *t, struct value *out)
{
	struct list *list = parser_array(p, 1, sizeof(*list));

	if (list == NULL)
		return POLL_LOST;
	*list = (struct list){ NULL, 0 };
	out->list = list;
	if (t->type == SCAN_NULL)
		return METRIC_GOOD;
	if (t->type == SCAN_STRING && desc->sub_kind == KIND_UINT8)
		return read_bytes(p, t, list);
	if (t->type == SCAN_ARRAY)
		return read_elements(p, desc, t, list);
	return complain(p, "value", json_text(t), "is not a list");
}

/* Fills counts and limits (all but the last range's) and adds up the counts. */
static enum outcome
read_ranges(
    struct parser *p, const struct scan_token *t, uint64_t *counts, double *limits, uint64_t *total)
{
	struct scan in = scan_at(p, t);

	*total = 0;
	scan_enter(&in, &in);
	for (size_t i = 0; i < t->count; i++) {
		struct scan_token range[RANGE_KEYS + 1] = { { .type = SCAN_NOTHING } };

		if (scan_next(&in) != 1)
			return not_json(p);
		if (*in.p != '{') {
			batch_bad(p->batch, p->path, "range %zu is not an object", i);
			return METRIC_BAD;
		}
		if (read_object(&in, tricorder_range_keys, RANGE_KEYS, range) != 0)
			return not_json(p);
		if (!to_uint(&range[RANGE_COUNT], &counts[i]) ||
		    __builtin_add_overflow(*total, counts[i], total)) {
			batch_bad(p->batch, p->path, "count of range %zu does not fit uint64", i);
			return METRIC_BAD;
		}
		if (i + 1 < t->count && !to_f64(&range[RANGE_UPPER], &limits[i])) {
			batch_bad(p->batch, p->path, "upper limit of range %zu is no float64", i);
			return METRIC_BAD;
		}
	}
	return METRIC_GOOD;
}

static bool
absent_or_f64(const struct scan_token *t, double *out)
{
	return is_absent(t) || to_f64(t, out);
}

static bool
absent_or_uint(const struct scan_token *t, uint64_t *out)
{
	return is_absent(t) || to_uint(t, out);
}

static bool
absent_or_bool(const struct scan_token *t, bool *out)
{
	*out = t->type == SCAN_TRUE;
	return *out || t->type == SCAN_FALSE || is_absent(t);
}

/* All of a distribution but its ranges; what is absent is zero. Gives the bad key, or NULL. */
static const char *
read_summary(const struct scan_token *values, struct dist *dist, bool *not_cumulative)
{
	uint64_t count; /* checked only: the counts of the ranges say it too */
	struct {
		int key;
		double *to;
	} floats[] = {
		{ MIN, &dist->min },
		{ MAX, &dist->max },
		{ AVERAGE, &dist->average },
		{ MEDIAN, &dist->median },
		{ SUM, &dist->sum },
	};

	for (size_t i = 0; i < ARRAY_LEN(floats); i++) {
		if (!absent_or_f64(&values[floats[i].key], floats[i].to))
			return tricorder_dist_keys[floats[i].key].p;
	}
	if (!absent_or_uint(&values[COUNT], &count))
		return tricorder_dist_keys[COUNT].p;
	if (!absent_or_uint(&values[GENERATION], &dist->generation))
		return tricorder_dist_keys[GENERATION].p;
	if (!absent_or_bool(&values[NOT_CUMULATIVE], not_cumulative))
		return tricorder_dist_keys[NOT_CUMULATIVE].p;
	return NULL;
}

static enum outcome
read_dist(struct parser *p, const struct scan_token *t, struct metric_desc *desc, struct value *out)
{
	struct scan_token values[DIST_KEYS + 1] = { { .type = SCAN_NOTHING } };
	const struct scan_token *ranges = &values[RANGES];
	struct scan at = scan_at(p, t);
	struct dist *dist;
	const char *bad_key;
	uint64_t *counts;
	double *limits;

	if (t->type != SCAN_OBJECT)
		return complain(p, "value", json_text(t), "is not a distribution");
	if (read_object(&at, tricorder_dist_keys, DIST_KEYS, values) != 0)
		return not_json(p);
	if (ranges->type != SCAN_ARRAY || ranges->count == 0) {
		batch_bad(p->batch, p->path, "distribution without ranges");
		return METRIC_BAD;
	}
	dist = parser_array(p, 1, sizeof(*dist));
	counts = dist == NULL ? NULL : parser_array(p, ranges->count, sizeof(*counts));
	limits = counts == NULL ? NULL : parser_array(p, ranges->count - 1, sizeof(*limits));
	if (limits == NULL)
		return POLL_LOST;
	*dist = (struct dist){ .counts = counts, .len = ranges->count };
	bad_key = read_summary(values, dist, &desc->not_cumulative);
	if (bad_key != NULL) {
		batch_bad(p->batch, p->path, "%s of the distribution is no good", bad_key);
		return METRIC_BAD;
	}
	desc->limits = limits;
	desc->limit_count = ranges->count - 1;
	out->dist = dist;
	return read_ranges(p, ranges, counts, limits, &dist->count);
}

/* Puts the tag to its place among the n before it. False if its key is there already. */
static bool
insert_tag(struct tag *tags, size_t n, struct tag tag)
{
	for (; n > 0; n--) {
		int order = str_cmp(tags[n - 1].key, tag.key);

		if (order == 0)
			return false;
		if (order < 0)
			break;
		tags[n] = tags[n - 1];
	}
	tags[n] = tag;
	return true;
}

static enum outcome
read_tag(struct parser *p, struct scan *in, struct tag *tag)
{
	struct scan_token key, value;
	enum outcome outcome;

	if (scan_next(in) != 1 || scan_key(in, &key) != 0 || scan_value(in, &value) != 0)
		return not_json(p);
	outcome = take_text(p, &key, &tag->key);
	if (outcome != METRIC_GOOD)
		return outcome;
	if (tag->key.len == 0) {
		batch_bad(p->batch, p->path, "tag without a key");
		return METRIC_BAD;
	}
	if (value.type != SCAN_STRING)
		return complain(p, "tag", tag->key, "is not a string");
	return take_text(p, &value, &tag->value);
}

static enum outcome
read_tags(struct parser *p, const struct scan_token *t, struct metric_desc *desc)
{
	struct scan in = scan_at(p, t);
	struct tag *tags;

	if (is_absent(t))
		return METRIC_GOOD;
	if (t->type != SCAN_OBJECT)
		return complain(p, "tags", json_text(t), "are not an object");
	if (t->count > MOST_TAGS) {
		batch_bad(p->batch, p->path, "more than %d tags", MOST_TAGS);
		return METRIC_BAD;
	}
	tags = parser_array(p, t->count, sizeof(*tags));
	if (tags == NULL)
		return POLL_LOST;
	scan_enter(&in, &in);
	for (size_t i = 0; i < t->count; i++) {
		struct tag tag;
		enum outcome outcome = read_tag(p, &in, &tag);

		if (outcome != METRIC_GOOD)
			return outcome;
		if (!insert_tag(tags, i, tag))
			return complain(p, "tag", tag.key, "given twice");
	}
	desc->tags = tags;
	desc->tag_count = t->count;
	return METRIC_GOOD;
}

static enum outcome
read_kind(struct parser *p, struct scan_token *values, struct metric_desc *desc)
{
	struct str text;
	enum outcome outcome = read_text(p, values, KIND, &text);

	if (outcome != METRIC_GOOD)
		return outcome;
	desc->kind = kind_parse(text);
	if (desc->kind == KIND_NONE) {
		text = beginning(text);
		batch_bad(p->batch, p->path, "unknown kind '%.*s'", STR_ARG(text));
		return METRIC_BAD;
	}
	if (desc->kind != KIND_LIST)
		return METRIC_GOOD;
	outcome = read_text(p, values, SUB_TYPE, &text);
	if (outcome != METRIC_GOOD)
		return outcome;
	desc->sub_kind = kind_parse(text);
	if (desc->sub_kind == KIND_NONE || desc->sub_kind == KIND_LIST ||
	    desc->sub_kind == KIND_DIST) {
		text = beginning(text);
		batch_bad(p->batch, p->path, "unknown kind '%.*s' of elements", STR_ARG(text));
		return METRIC_BAD;
	}
	return METRIC_GOOD;
}

enum outcome
parser_read_value(
    struct parser *p, struct scan_token *t, struct metric_desc *desc, struct value *out)
{
	if (t->type == SCAN_NOTHING || (t->type == SCAN_NULL && desc->kind != KIND_LIST)) {
		batch_bad(p->batch, p->path, "no value");
		return METRIC_BAD;
	}
	if (desc->kind == KIND_LIST)
		return read_list(p, desc, t, out);
	if (desc->kind == KIND_DIST)
		return read_dist(p, t, desc, out);
	return read_scalar(p, desc->kind, desc->unit, t, out);
}

static enum outcome
read_path(struct parser *p, struct scan_token *values, struct metric_desc *desc)
{
	enum outcome outcome;

	p->path = STR("(no path)");
	outcome = read_text(p, values, PATH, &desc->path);
	if (outcome != METRIC_GOOD)
		return outcome;
	if (desc->path.len == 0) {
		batch_bad(p->batch, p->path, "path is missing");
		return METRIC_BAD;
	}
	p->path = desc->path;
	return METRIC_GOOD;
}

static enum outcome
read_group(struct parser *p, const struct scan_token *t, int64_t *out)
{
	*out = 0;
	if (is_absent(t) || to_int(t, out))
		return METRIC_GOOD;
	return complain(p, "groupId", json_text(t), "does not fit int64");
}

static enum outcome
read_timestamp(struct parser *p, struct scan_token *values, int64_t *out)
{
	struct str text;
	enum outcome outcome = read_text(p, values, TIMESTAMP, &text);
	int64_t ns = TS_NONE;

	if (outcome != METRIC_GOOD)
		return outcome;
	if (!str_eq(text, p->stamp)) {
		if (text.len > 0 && !number_parse_time(text, 1, &ns))
			return complain(p, "timestamp", text, "is no time");
		p->stamp = text;
		p->stamp_ns = ns;
	}
	*out = p->stamp_ns;
	return METRIC_GOOD;
}

static enum outcome
take_metric(struct parser *p, struct scan_token *values)
{
	struct metric_desc desc = { .kind = KIND_NONE };
	struct value value;
	int64_t group = 0, ts_ns = TS_NONE;
	enum outcome outcome;

	if ((outcome = read_path(p, values, &desc)) != METRIC_GOOD ||
	    (outcome = read_text(p, values, DESCRIPTION, &desc.description)) != METRIC_GOOD ||
	    (outcome = read_text(p, values, UNIT, &desc.unit)) != METRIC_GOOD ||
	    (outcome = read_kind(p, values, &desc)) != METRIC_GOOD ||
	    (outcome = parser_read_value(p, &values[VALUE], &desc, &value)) != METRIC_GOOD ||
	    (outcome = read_timestamp(p, values, &ts_ns)) != METRIC_GOOD ||
	    (outcome = read_group(p, &values[GROUP_ID], &group)) != METRIC_GOOD ||
	    (outcome = read_tags(p, &values[TAGS], &desc)) != METRIC_GOOD)
		return outcome;
	if (batch_add(p->batch, &desc, &value, group, ts_ns, p->err) != 0)
		return POLL_LOST;
	return METRIC_GOOD;
}

static enum outcome
read_metric(struct parser *p)
{
	struct scan_token values[METRIC_KEYS + 1] = { { .type = SCAN_NOTHING } };

	if (*p->list.p == '{') {
		if (read_object(&p->list, tricorder_metric_keys, METRIC_KEYS, values) != 0)
			return not_json(p);
		return take_metric(p, values);
	}
	if (scan_value(&p->list, &values[0]) != 0)
		return not_json(p);
	batch_bad(p->batch, STR("(no path)"), "a metric that is not an object");
	return METRIC_BAD;
}

int
parser_begin(struct parser *p, char *doc, size_t len, struct batch *batch, struct err *err)
{
	struct scan whole;

	*p = (struct parser){ .batch = batch, .stamp_ns = TS_NONE, .err = err };
	scan_init(&whole, &p->doc, doc, len);
	whole.p = scan_space(doc);
	if (*whole.p != '[') {
		err_set(
		    err, ERR_PROTO, "not a list of metrics at byte %zu", (size_t)(whole.p - doc));
		return -1;
	}
	scan_enter(&p->list, &whole);
	return 0;
}

int
parser_rest(struct parser *p)
{
	int step;

	while ((step = scan_next(&p->list)) > 0) {
		if (read_metric(p) == POLL_LOST)
			return -1;
	}
	if (step < 0 || scan_finish(&p->list) != 0) {
		not_json(p);
		return -1;
	}
	return 0;
}

int
tricorder_parse(char *doc, size_t len, struct batch *batch, struct err *err)
{
	struct parser p;

	if (parser_begin(&p, doc, len, batch, err) != 0)
		return -1;
	return parser_rest(&p);
}
