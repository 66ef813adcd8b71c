/*
 * The parser against json-c: 100,000 documents, made at random from a fixed seed and half of them
 * damaged, are read by both. Either both refuse a document or both give the same metrics, save
 * for what `differences` lists.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/buf.h"
#include "messages/number.h"
#include "sources/tricorder_parse_priv.h"

#define DOCUMENTS 100000
#define DEPTH     64

/* Where json-c, in strict mode, does not do as RFC 8259 or Go's decoder says. */
enum difference {
	NONE,
	NAN_INFINITY,   /* json-c takes the words NaN, Infinity and -Infinity */
	CONTROL,        /* json-c takes raw control characters in strings */
	BARE_POINT,     /* json-c takes "1.", "1.e5" and "-.5" */
	LEADING_ZERO,   /* json-c takes "00" and "-01" */
	SINGLE_QUOTES,  /* json-c takes 'key' behind a comma */
	EMPTY_TOO_DEEP, /* json-c does not count the innermost level when it is empty */
	NOT_UTF8, /* json-c refuses what is not UTF-8, anywhere; we put U+FFFD into what we keep */
	OVERLONG, /* json-c takes overlong UTF-8 that begins with F0; we: as all that is not UTF-8
	           */
	ODD_PAIR, /* json-c makes U+FFFD of a pair whose code point ends as a surrogate does */
	CLAMPED,  /* json-c makes 2^64 and above 2^64-1, below -2^63 -2^63; we: does not fit */
	MINUS_ZERO, /* json-c reads -0 as the integer 0: no sign as a float, and fit for a uint */
	NUL_IN_KEY, /* json-c cuts keys at \u0000 */
	TAG_TWICE,  /* json-c keeps the last tag of equal keys; we: bad metric */
	DIFFERENCES,
	UNEXPLAINED,
};

static const char *const differences[DIFFERENCES] = {
	[NONE] = "none",
	[NAN_INFINITY] = "NaN or Infinity",
	[CONTROL] = "control character",
	[BARE_POINT] = "point without digits",
	[LEADING_ZERO] = "leading zero",
	[SINGLE_QUOTES] = "key in single quotes",
	[EMPTY_TOO_DEEP] = "65 levels, the last empty",
	[NOT_UTF8] = "not UTF-8",
	[OVERLONG] = "overlong UTF-8",
	[ODD_PAIR] = "pair of surrogates that ends like one",
	[CLAMPED] = "integer clamped",
	[MINUS_ZERO] = "minus zero",
	[NUL_IN_KEY] = "NUL in a key",
	[TAG_TWICE] = "tag given twice",
};

/* SplitMix64 (Steele, Lea, Flood, 2014): small, and the same everywhere. */
static uint64_t random_state;

static uint64_t
random_u64(void)
{
	uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);

	z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
	z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
	return z ^ z >> 31;
}

static size_t
below(size_t n)
{
	return (size_t)(random_u64() % n);
}

static bool
one_in(size_t n)
{
	return below(n) == 0;
}

#define PICK(array) ((array)[below(ARRAY_LEN(array))])

/* --- Documents --- */

static void
put_space(struct buf *doc)
{
	static const char *const spaces[] = { " ", "\n", "\t", "\r\n", "  ", "\n\t\t" };

	if (one_in(8))
		buf_puts(doc, PICK(spaces));
}

static void
put_raw(struct buf *doc, const char *text)
{
	put_space(doc);
	buf_puts(doc, text);
	put_space(doc);
}

static void
put_string(struct buf *doc)
{
	static const char *const pieces[] = { "", "a", "plain text", "\\n", "\\\"", "\\\\", "\\/",
		"\\u0041", "\\u00e9", "\\u20ac", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\xC3\xA9",
		"\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\x7F", "0123456789abcdef", "\\u0000",
		"\\b\\f\\r\\t" };
	static const char *const odd[] = { "\xFF", "\x01", "\xF0\x82\x98\x80", "\\ud836\\ude00" };

	buf_putc(doc, '"');
	for (size_t n = below(4); n > 0; n--)
		buf_puts(doc, PICK(pieces));
	if (one_in(250))
		buf_puts(doc, PICK(odd));
	buf_putc(doc, '"');
}

static void
put_number(struct buf *doc)
{
	static const char *const numbers[] = { "0", "1", "-1", "127", "128", "-128", "-129", "255",
		"256", "32767", "-32768", "65535", "65536", "2147483647", "2147483648",
		"4294967295", "9007199254740993", "9223372036854775807", "9223372036854775808",
		"-9223372036854775807", "18446744073709551614", "1.0", "1e3", "0.1", "-0.5",
		"12.375", "1e+21", "1E-7", "3.4028235e38", "3.5e38", "1e400", "-1e400", "5e-324",
		"16777217", "0.30000000000000004", "123456789.123456789",
		"1.00000017881393432617187499" };
	static const char *const odd[] = { "-0", "18446744073709551615", "18446744073709551616",
		"-9223372036854775808", "-9223372036854775809", "NaN", "-Infinity", "1.", "00",
		"-01" };

	if (one_in(2))
		buf_u64(doc, below(128));
	else
		put_raw(doc, one_in(25) ? PICK(odd) : PICK(numbers));
}

static void
put_time(struct buf *doc)
{
	static const char *const times[] = { "\"0.000000000\"", "\"1500000000.123456789\"",
		"\"-1.750000000\"", "\"960357.000001000\"", "\"+5\"", "\"1.\"", "\"\\u0031.5\"",
		"\"9223372036.854775807\"", "\"9223372036854.775807\"", "\"99999999999999999999\"",
		"\"1e3\"", "\"\"", "\".5\"", "\"x\"" };

	put_raw(doc, PICK(times));
}

static void put_any(struct buf *doc, int depth);

static void
put_ranges(struct buf *doc)
{
	size_t n = below(4);

	put_raw(doc, "[");
	for (size_t i = 0; i < n; i++) {
		buf_puts(doc, i > 0 ? "," : "");
		if (one_in(40)) {
			put_any(doc, 2);
			continue;
		}
		buf_printf(doc, "{\"lower\":%zu,\"upper\":", i * 10);
		if (one_in(20))
			put_any(doc, 3);
		else
			buf_u64(doc, (i + 1) * 10 + below(3));
		buf_puts(doc, ",\"count\":");
		if (one_in(20))
			put_number(doc);
		else
			buf_u64(doc, below(100));
		buf_putc(doc, '}');
	}
	put_raw(doc, "]");
}

static void
put_dist(struct buf *doc)
{
	static const char *const keys[] = { "min", "max", "average", "median", "sum", "count",
		"generation", "isNotCumulative", "other" };

	buf_putc(doc, '{');
	for (size_t n = below(6); n > 0; n--) {
		const char *key = PICK(keys);

		buf_printf(doc, "\"%s\":", key);
		if (strcmp(key, "isNotCumulative") == 0)
			put_raw(doc, one_in(2) ? "true" : "false");
		else if (one_in(30))
			put_any(doc, 2);
		else
			buf_u64(doc, below(1000));
		buf_putc(doc, ',');
	}
	buf_puts(doc, one_in(30) ? "\"range\":" : "\"ranges\":");
	put_ranges(doc);
	buf_putc(doc, '}');
}

static void
put_any(struct buf *doc, int depth)
{
	static const char *const words[] = { "true", "false", "null", "[]", "{}", "\"\"" };

	switch (below(depth < 4 ? 7 : 4)) {
	case 0:
		put_raw(doc, PICK(words));
		return;
	case 1:
		put_number(doc);
		return;
	case 2:
		put_string(doc);
		return;
	case 3:
		put_time(doc);
		return;
	case 4:
		put_raw(doc, "[");
		for (size_t n = below(3); n > 0; n--) {
			put_any(doc, depth + 1);
			buf_puts(doc, n > 1 ? "," : "");
		}
		put_raw(doc, "]");
		return;
	case 5:
		put_raw(doc, "{");
		for (size_t n = below(3); n > 0; n--) {
			put_string(doc);
			put_raw(doc, ":");
			put_any(doc, depth + 1);
			buf_puts(doc, n > 1 ? "," : "");
		}
		put_raw(doc, "}");
		return;
	default:
		put_dist(doc);
	}
}

/* A value that mostly suits the kind, of an element when the kind is a list's. */
static void
put_value(struct buf *doc, enum kind kind)
{
	if (one_in(25)) {
		put_any(doc, 0);
		return;
	}
	if (kind == KIND_BOOL)
		put_raw(doc, one_in(2) ? "true" : "false");
	else if (kind == KIND_STRING)
		put_string(doc);
	else if (kind == KIND_TIME || kind == KIND_DURATION)
		put_time(doc);
	else if (kind == KIND_DIST)
		put_dist(doc);
	else
		put_number(doc);
}

static void
put_list(struct buf *doc, enum kind sub_kind)
{
	static const char *const base64[] = { "\"AQL/\"", "\"\"", "\"+zk=\"", "\"eg==\"", "\"AQL\"",
		"\"A===\"", "\"AQ=L\"", "\"AQ_-\"", "\"eg=\\u003d\"" };

	if (sub_kind == KIND_UINT8 && !one_in(4)) {
		put_raw(doc, PICK(base64));
		return;
	}
	if (one_in(20)) {
		put_raw(doc, "null");
		return;
	}
	put_raw(doc, "[");
	for (size_t n = below(4); n > 0; n--) {
		put_value(doc, sub_kind);
		buf_puts(doc, n > 1 ? "," : "");
	}
	put_raw(doc, "]");
}

static void
put_kind(struct buf *doc, enum kind kind)
{
	static const char *const odd[] = { "int", "uint", "float", "goTime", "", "xyz" };

	buf_printf(doc, "\"%s\"", one_in(20) ? PICK(odd) : kind_name(kind));
}

/* What a document's metric is to be like. */
struct plan {
	size_t number;
	bool alone; /* in its document */
	enum kind kind, sub_kind;
};

static void
put_tags(struct buf *doc, const struct plan *plan)
{
	static const char *const keys[] = { "zone", "oid", "a", "b", "c", "d" };
	size_t first = below(ARRAY_LEN(keys));
	/* One key for all, if nothing else is wrong: the first complaint is all that we see. */
	bool same = plan->alone && one_in(30);

	buf_putc(doc, '{');
	for (size_t n = below(4), i = 0; i < n; i++) {
		buf_printf(doc, "%s\"%s\":", i > 0 ? "," : "",
		    keys[(first + (same ? 0 : i)) % ARRAY_LEN(keys)]);
		if (!same && one_in(30))
			put_any(doc, 2);
		else
			put_string(doc);
	}
	buf_putc(doc, '}');
}

enum {
	PATH,
	DESCRIPTION,
	UNIT,
	KIND,
	SUB_TYPE,
	BITS,
	VALUE,
	TIMESTAMP,
	GROUP_ID,
	TAGS,
	OTHER,
	KEYS
};
static const char *const keys[KEYS] = { "path", "description", "unit", "kind", "subType", "bits",
	"value", "timestamp", "groupId", "tags", "other" };

static void
put_member(struct buf *doc, size_t key, const struct plan *plan)
{
	static const char *const units[] = { "\"None\"", "\"Seconds\"", "\"Milliseconds\"",
		"\"x\"" };

	put_space(doc);
	if (one_in(50))
		buf_printf(doc, "\"\\u%04x%s\"", (unsigned)keys[key][0], keys[key] + 1);
	else if (one_in(1000))
		buf_printf(doc, "'%s'", keys[key]);
	else
		buf_printf(doc, "\"%s\"", keys[key]);
	put_raw(doc, ":");
	if (one_in(60)) {
		put_any(doc, 0);
		return;
	}
	switch (key) {
	case PATH:
		buf_printf(
		    doc, "\"%s/m%zu\"", one_in(30) ? "" : "/dir", one_in(30) ? 1 : plan->number);
		break;
	case DESCRIPTION:
		put_string(doc);
		break;
	case UNIT:
		buf_puts(doc, PICK(units));
		break;
	case KIND:
		put_kind(doc, plan->kind);
		break;
	case SUB_TYPE:
		put_kind(doc, plan->sub_kind);
		break;
	case VALUE:
		if (plan->kind == KIND_LIST)
			put_list(doc, plan->sub_kind);
		else
			put_value(doc, plan->kind);
		break;
	case TIMESTAMP:
		if (one_in(10))
			put_time(doc);
		else
			buf_puts(doc, "\"1500000000.123456789\"");
		break;
	case GROUP_ID:
		buf_u64(doc, below(3));
		break;
	case TAGS:
		put_tags(doc, plan);
		break;
	default:
		put_any(doc, 0);
	}
}

static void
put_metric(struct buf *doc, const struct plan *plan)
{
	size_t order[KEYS], n = 0;

	for (size_t key = 0; key < KEYS; key++) {
		bool optional = key != PATH && key != KIND && key != VALUE && key != SUB_TYPE;

		if (!one_in(optional ? 3 : 100))
			order[n++] = key;
	}
	if (n > 0 && one_in(3)) { /* in another order, some twice */
		for (size_t i = 0; i < n; i++) {
			size_t other = below(n), key = order[i];

			order[i] = order[other];
			if (!one_in(50))
				order[other] = key;
		}
	}
	buf_putc(doc, '{');
	for (size_t i = 0; i < n; i++) {
		buf_puts(doc, i > 0 ? "," : "");
		put_member(doc, order[i], plan);
	}
	put_raw(doc, "}");
}

static void
put_nested(struct buf *doc)
{
	size_t n = DEPTH - 3 + below(5);

	for (size_t i = 0; i < n; i++)
		buf_putc(doc, '[');
	for (size_t i = 0; i < n; i++)
		buf_putc(doc, ']');
}

static void
put_document(struct buf *doc)
{
	size_t n = below(4);

	put_raw(doc, "[");
	for (size_t i = 0; i < n; i++) {
		struct plan plan = {
			.number = i,
			.alone = n == 1,
			.kind = (enum kind)(1 + below(KIND_COUNT - 1)),
			.sub_kind = (enum kind)(1 + below(KIND_COUNT - 1)),
		};

		buf_puts(doc, i > 0 ? "," : "");
		if (one_in(60))
			put_any(doc, 0);
		else
			put_metric(doc, &plan);
	}
	if (one_in(200)) {
		buf_puts(doc, n > 0 ? "," : "");
		put_nested(doc);
	}
	put_raw(doc, "]");
}

/* Replaces len bytes at `at` with text. */
static void
splice(struct buf *doc, size_t at, size_t len, const char *text)
{
	struct buf whole;

	buf_init(&whole, 0);
	buf_add(&whole, doc->p, at);
	buf_puts(&whole, text);
	buf_add(&whole, doc->p + at + len, doc->len - at - len);
	buf_fini(doc);
	*doc = whole;
}

static void
damage(struct buf *doc)
{
	static const char *const tokens[] = { "{", "}", "[", "]", ",", ":", "\"", "\\", "null",
		"true", "0", "-", ".", "e5", "\\u00", "\\ud800", "\x1F", "\xC3", " ", "/**/", "'",
		"[[", "]]", "NaN", "Infinity", "1.", "\"path\":", "\"value\":1,", "\"\\u0000\"" };
	size_t at = below(doc->len), len;

	switch (below(5)) {
	case 0:
		doc->p[at] = (char)(1 + below(255));
		break;
	case 1:
		splice(doc, at, 0, PICK(tokens));
		break;
	case 2:
		len = 1 + below(4);
		splice(doc, at, len < doc->len - at ? len : doc->len - at, "");
		break;
	case 3:
		len = 1 + below(2);
		splice(doc, at, len < doc->len - at ? len : doc->len - at, PICK(tokens));
		break;
	default:
		doc->len = at;
	}
}

/* --- The reference --- */

/* Seen on the way: what may explain a difference. */
struct reference {
	struct batch batch;
	bool clamped;
};

static bool
ref_text(json_object *o, struct str *out)
{
	*out = STR_EMPTY;
	if (o == NULL)
		return true;
	if (!json_object_is_type(o, json_type_string))
		return false;
	*out = (struct str){ json_object_get_string(o), (size_t)json_object_get_string_len(o) };
	return true;
}

static bool
ref_int(struct reference *r, json_object *o, int64_t *out)
{
	if (!json_object_is_type(o, json_type_int))
		return false;
	*out = json_object_get_int64(o);
	r->clamped |= *out == INT64_MIN;
	return *out != INT64_MAX || json_object_get_uint64(o) == INT64_MAX;
}

static bool
ref_uint(struct reference *r, json_object *o, uint64_t *out)
{
	if (!json_object_is_type(o, json_type_int))
		return false;
	*out = json_object_get_uint64(o);
	r->clamped |= *out == UINT64_MAX;
	return json_object_get_int64(o) >= 0;
}

static bool
ref_f64(struct reference *r, json_object *o, double *out)
{
	if (json_object_is_type(o, json_type_int))
		r->clamped |= json_object_get_uint64(o) == UINT64_MAX ||
		              json_object_get_int64(o) == INT64_MIN;
	else if (!json_object_is_type(o, json_type_double))
		return false;
	*out = json_object_get_double(o);
	return isfinite(*out);
}

static bool
ref_f32(struct reference *r, json_object *o, double *out)
{
	if (!ref_f64(r, o, out))
		return false;
	if (json_object_is_type(o, json_type_double)) /* the source's digits, rounded once */
		*out = (double)strtof(json_object_to_json_string(o), NULL);
	else if (*out < 0)
		*out = (double)(float)json_object_get_int64(o);
	else
		*out = (double)(float)json_object_get_uint64(o);
	return isfinite(*out);
}

static bool
ref_scalar(struct reference *r, enum kind kind, struct str unit, json_object *o, struct value *out)
{
	struct str text;

	if (o == NULL)
		return false;
	if (kind_is_int(kind))
		return ref_int(r, o, &out->i) && kind_int_fits(kind, out->i);
	if (kind_is_uint(kind))
		return ref_uint(r, o, &out->u) && kind_uint_fits(kind, out->u);
	if (kind == KIND_FLOAT64)
		return ref_f64(r, o, &out->f);
	if (kind == KIND_FLOAT32)
		return ref_f32(r, o, &out->f);
	if (kind == KIND_STRING)
		return ref_text(o, &out->s);
	if (kind == KIND_BOOL) {
		out->b = json_object_get_boolean(o);
		return json_object_is_type(o, json_type_boolean);
	}
	return ref_text(o, &text) && number_parse_time(text, unit_per_second(unit), &out->i);
}

/* Base64 bit by bit, as plainly as can be. */
static bool
ref_base64(struct str text, struct value *out, size_t *n)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t bits = 0, padding = 0;

	while (padding < 2 && text.len > 0 && text.p[text.len - 1] == '=') {
		padding++;
		text.len--;
	}
	if ((text.len + padding) % 4 != 0)
		return false;
	for (size_t i = 0; i < text.len * 6 / 8; i++)
		out[i].u = 0;
	for (size_t i = 0; i < text.len; i++) {
		const char *digit = strchr(digits, text.p[i]);

		if (digit == NULL || *digit == '\0')
			return false;
		for (int bit = 5; bit >= 0; bit--, bits++) {
			if (((digit - digits) >> bit & 1) != 0 && bits / 8 < text.len * 6 / 8)
				out[bits / 8].u |= UINT64_C(1) << (7 - bits % 8);
		}
	}
	*n = text.len * 6 / 8;
	return true;
}

static bool
ref_list(struct reference *r, const struct metric_desc *desc, json_object *o, struct value *out)
{
	struct list *list = arena_alloc(&r->batch.arena, sizeof(*list));
	struct value *values;
	struct str text;

	*list = (struct list){ NULL, 0 };
	out->list = list;
	if (o == NULL)
		return true;
	if (desc->sub_kind == KIND_UINT8 && ref_text(o, &text)) {
		values = arena_array(&r->batch.arena, text.len, sizeof(*values));
		list->values = values;
		return ref_base64(text, values, &list->len);
	}
	if (!json_object_is_type(o, json_type_array))
		return false;
	list->len = json_object_array_length(o);
	values = arena_array(&r->batch.arena, list->len, sizeof(*values));
	list->values = values;
	for (size_t i = 0; i < list->len; i++) {
		if (!ref_scalar(
		        r, desc->sub_kind, desc->unit, json_object_array_get_idx(o, i), &values[i]))
			return false;
	}
	return true;
}

static bool
ref_dist(struct reference *r, struct metric_desc *desc, json_object *o, struct value *out)
{
	struct dist *dist = arena_alloc(&r->batch.arena, sizeof(*dist));
	json_object *ranges = NULL, *field;
	uint64_t *counts, count;
	double *limits;

	*dist = (struct dist){ .len = 0 };
	out->dist = dist;
	if (!json_object_object_get_ex(o, "ranges", &ranges) ||
	    !json_object_is_type(ranges, json_type_array) || json_object_array_length(ranges) == 0)
		return false;
	dist->len = json_object_array_length(ranges);
	dist->counts = counts = arena_array(&r->batch.arena, dist->len, sizeof(*counts));
	desc->limits = limits = arena_array(&r->batch.arena, dist->len, sizeof(*limits));
	desc->limit_count = dist->len - 1;
	for (size_t i = 0; i < dist->len; i++) {
		json_object *range = json_object_array_get_idx(ranges, i);

		if (!json_object_is_type(range, json_type_object) ||
		    !ref_uint(r, json_object_object_get(range, "count"), &counts[i]) ||
		    dist->count + counts[i] < dist->count)
			return false;
		dist->count += counts[i];
		if (i + 1 < dist->len &&
		    !ref_f64(r, json_object_object_get(range, "upper"), &limits[i]))
			return false;
	}
	struct {
		const char *key;
		double *to;
	} floats[] = { { "min", &dist->min }, { "max", &dist->max }, { "average", &dist->average },
		{ "median", &dist->median }, { "sum", &dist->sum } };
	for (size_t i = 0; i < ARRAY_LEN(floats); i++) {
		field = json_object_object_get(o, floats[i].key);
		if (field != NULL && !ref_f64(r, field, floats[i].to))
			return false;
	}
	field = json_object_object_get(o, "count");
	if (field != NULL && !ref_uint(r, field, &count))
		return false;
	field = json_object_object_get(o, "generation");
	if (field != NULL && !ref_uint(r, field, &dist->generation))
		return false;
	field = json_object_object_get(o, "isNotCumulative");
	desc->not_cumulative = field != NULL && json_object_get_boolean(field);
	return field == NULL || json_object_is_type(field, json_type_boolean);
}

static int
by_key(const void *a, const void *b)
{
	return str_cmp(((const struct tag *)a)->key, ((const struct tag *)b)->key);
}

static bool
ref_tags(struct reference *r, struct metric_desc *desc, json_object *o)
{
	struct json_object_iterator at, end;
	struct tag *tags;
	size_t n = 0;

	if (o == NULL)
		return true;
	if (!json_object_is_type(o, json_type_object))
		return false;
	tags = arena_array(&r->batch.arena, (size_t)json_object_object_length(o), sizeof(*tags));
	end = json_object_iter_end(o);
	for (at = json_object_iter_begin(o); !json_object_iter_equal(&at, &end);
	     json_object_iter_next(&at)) {
		json_object *text = json_object_iter_peek_value(&at);

		tags[n].key = str_of(json_object_iter_peek_name(&at));
		if (text == NULL || !ref_text(text, &tags[n].value) || tags[n].key.len == 0)
			return false;
		n++;
	}
	qsort(tags, n, sizeof(*tags), by_key);
	desc->tags = tags;
	desc->tag_count = n;
	return true;
}

static bool
ref_value(struct reference *r, struct metric_desc *desc, json_object *o, struct value *out)
{
	json_object *value;

	if (!json_object_object_get_ex(o, "value", &value) ||
	    (value == NULL && desc->kind != KIND_LIST))
		return false;
	if (desc->kind == KIND_LIST)
		return ref_list(r, desc, value, out);
	if (desc->kind == KIND_DIST)
		return ref_dist(r, desc, value, out);
	return ref_scalar(r, desc->kind, desc->unit, value, out);
}

static void
ref_metric(struct reference *r, json_object *o)
{
	struct metric_desc desc = { .kind = KIND_NONE };
	struct str kind, sub_kind, stamp;
	json_object *group = json_object_object_get(o, "groupId");
	int64_t group_id = 0, ts_ns = TS_NONE;
	struct value value;
	struct err err;
	bool good;

	good = json_object_is_type(o, json_type_object) &&
	       ref_text(json_object_object_get(o, "path"), &desc.path) && desc.path.len > 0 &&
	       ref_text(json_object_object_get(o, "description"), &desc.description) &&
	       ref_text(json_object_object_get(o, "unit"), &desc.unit) &&
	       ref_text(json_object_object_get(o, "kind"), &kind) &&
	       (desc.kind = kind_parse(kind)) != KIND_NONE;
	if (good && desc.kind == KIND_LIST) {
		good = ref_text(json_object_object_get(o, "subType"), &sub_kind);
		desc.sub_kind = good ? kind_parse(sub_kind) : KIND_NONE;
		good = good && desc.sub_kind != KIND_NONE && desc.sub_kind != KIND_LIST &&
		       desc.sub_kind != KIND_DIST;
	}
	good = good && ref_value(r, &desc, o, &value) &&
	       ref_text(json_object_object_get(o, "timestamp"), &stamp) &&
	       (stamp.len == 0 || number_parse_time(stamp, 1, &ts_ns)) &&
	       (group == NULL || ref_int(r, group, &group_id)) &&
	       ref_tags(r, &desc, json_object_object_get(o, "tags"));
	if (!good)
		batch_bad(&r->batch, desc.path, "bad");
	else
		assert_int_equal(batch_add(&r->batch, &desc, &value, group_id, ts_ns, &err), 0);
}

/* --- The comparison --- */

static bool
same_dist(const struct dist *a, const struct dist *b)
{
	return a->min == b->min && a->max == b->max && a->average == b->average &&
	       a->median == b->median && a->sum == b->sum && a->count == b->count &&
	       a->generation == b->generation;
}

static bool
same_metrics(const struct batch *a, const struct batch *b)
{
	if (a->len != b->len || a->bad_count != b->bad_count)
		return false;
	for (size_t i = 0; i < a->len; i++) {
		if (!desc_eq(&a->desc[i], &b->desc[i]) ||
		    !value_eq(&a->desc[i], &a->value[i], &b->value[i]) ||
		    a->group[i] != b->group[i] || a->ts[i] != b->ts[i])
			return false;
		if (a->desc[i].kind == KIND_DIST && !same_dist(a->value[i].dist, b->value[i].dist))
			return false;
	}
	return true;
}

static bool
has_minus_zero(struct str doc)
{
	for (size_t i = 0; i + 2 < doc.len; i++) {
		if (doc.p[i] == '-' && doc.p[i + 1] == '0' && strchr(".eE", doc.p[i + 2]) == NULL)
			return true;
	}
	return false;
}

/* Pairs like \ud836\ude00, U+1DA00: json-c takes the 0xDA00 in it for half of a pair. */
static bool
has_odd_pair(struct str doc)
{
	const char *p = doc.p, *end = p + doc.len;
	unsigned high, low;

	while ((p = memmem(p, (size_t)(end - p), "\\u", 2)) != NULL) {
		if (sscanf(p, "\\u%4x\\u%4x", &high, &low) == 2 && high >> 10 == 0xD800 >> 10 &&
		    low >> 10 == 0xDC00 >> 10 && ((high << 10 | (low & 0x3FF)) & 0xF800) == 0xD800)
			return true;
		p += 2;
	}
	return false;
}

static bool
is_at(struct str doc, size_t at, struct str word)
{
	return str_starts(str_sub(doc, at, SIZE_MAX), word);
}

/* Does an empty array or object stand there? */
static bool
is_empty_at(struct str doc, size_t at)
{
	struct str inside = str_trim(str_sub(doc, at + 1, SIZE_MAX));

	return inside.len > 0 && (inside.p[0] == ']' || inside.p[0] == '}');
}

/* Why we refuse what json-c takes. */
static enum difference
explain_refusal(struct str doc, const struct err *err)
{
	size_t at;

	if (sscanf(err->text, "not JSON at byte %zu", &at) != 1)
		return UNEXPLAINED;
	if (strstr(err->text, "control character") != NULL)
		return CONTROL;
	if (strstr(err->text, "begins with 0") != NULL)
		return LEADING_ZERO;
	if (strstr(err->text, "key is missing") != NULL && is_at(doc, at, STR("'")))
		return SINGLE_QUOTES;
	if (strstr(err->text, "nested deeper") != NULL && is_empty_at(doc, at))
		return EMPTY_TOO_DEEP;
	if (is_at(doc, at, STR("NaN")) || is_at(doc, at, STR("Infinity")))
		return NAN_INFINITY;
	if (at > 0 && (doc.p[at - 1] == '.' || is_at(doc, at - 1, STR("-."))))
		return BARE_POINT;
	return UNEXPLAINED;
}

/* Why metrics differ. */
static enum difference
explain_metrics(struct str doc, const struct batch *ours, const struct reference *theirs)
{
	if (utf8_valid_prefix(doc.p, doc.len) < doc.len)
		return OVERLONG;
	if (has_odd_pair(doc))
		return ODD_PAIR;
	if (theirs->clamped)
		return CLAMPED;
	if (has_minus_zero(doc))
		return MINUS_ZERO;
	if (memmem(doc.p, doc.len, "\\u0000", 6) != NULL)
		return NUL_IN_KEY;
	if (strstr(ours->bad_text, "given twice") != NULL)
		return TAG_TWICE;
	return UNEXPLAINED;
}

static bool
only_space(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (strchr(" \t\r\n", s.p[i]) == NULL || s.p[i] == '\0')
			return false;
	}
	return true;
}

struct totals {
	size_t taken, refused, metrics, bad, by[DIFFERENCES];
};

/* What both make of one document. copy is ours to overwrite. */
static enum difference
compare(struct str doc, char *copy, struct batch *ours, struct totals *totals)
{
	json_tokener *tokener = json_tokener_new_ex(DEPTH + 1);
	struct reference theirs = { .clamped = false };
	enum difference found = NONE;
	bool we_take, they_take;
	json_object *root;
	struct err err;

	assert_non_null(tokener);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	root = json_tokener_parse_ex(tokener, doc.p, (int)doc.len);
	they_take = json_tokener_get_error(tokener) == json_tokener_success &&
	            only_space(str_sub(doc, json_tokener_get_parse_end(tokener), SIZE_MAX)) &&
	            json_object_is_type(root, json_type_array);
	batch_reset(ours);
	we_take = tricorder_parse(copy, doc.len, ours, &err) == 0;

	batch_init(&theirs.batch, 0);
	if (they_take && we_take) {
		for (size_t i = 0; i < json_object_array_length(root); i++)
			ref_metric(&theirs, json_object_array_get_idx(root, i));
		if (!same_metrics(ours, &theirs.batch))
			found = explain_metrics(doc, ours, &theirs);
		totals->taken++;
		totals->metrics += ours->len;
		totals->bad += ours->bad_count;
	} else if (they_take) {
		found = explain_refusal(doc, &err);
	} else if (we_take) {
		found = json_tokener_get_error(tokener) == json_tokener_error_parse_utf8_string
		            ? NOT_UTF8
		            : UNEXPLAINED;
	} else {
		totals->refused++;
	}
	if (found == UNEXPLAINED)
		print_message(
		    "%.*s\njson-c: %s, %zu good, %zu bad (%s)\nwe: %s, %zu good, %zu bad (%s)\n",
		    STR_ARG(doc), json_tokener_error_desc(json_tokener_get_error(tokener)),
		    theirs.batch.len, theirs.batch.bad_count, theirs.batch.bad_text,
		    we_take ? "taken" : err.text, ours->len, ours->bad_count, ours->bad_text);
	batch_fini(&theirs.batch);
	json_object_put(root);
	json_tokener_free(tokener);
	return found;
}

static void
random_documents_read_as_json_c_reads_them(void **state)
{
	struct totals totals = { .taken = 0 };
	struct batch ours;
	struct buf doc;

	(void)state;
	random_state = 1;
	batch_init(&ours, 0);
	buf_init(&doc, 0);
	for (size_t i = 0; i < DOCUMENTS; i++) {
		enum difference found;
		struct str text;
		char *copy;

		buf_clear(&doc);
		put_document(&doc);
		for (size_t n = one_in(2) ? 1 + below(2) : 0; n > 0 && doc.len > 0; n--)
			damage(&doc);
		buf_putc(&doc, '\0'); /* beyond its end, for what expects C strings */
		text = str_sub(buf_view(&doc), 0, doc.len - 1);
		copy = str_dup(text);
		assert_true(copy != NULL && !doc.failed);
		found = compare(text, copy, &ours, &totals);
		if (found == UNEXPLAINED)
			fail_msg("document %zu", i);
		totals.by[found]++;
		free(copy);
	}
	print_message("%zu taken by both (%zu metrics, %zu bad), %zu refused by both\n",
	    totals.taken, totals.metrics, totals.bad, totals.refused);
	for (size_t i = NONE + 1; i < DIFFERENCES; i++) {
		print_message("%6zu %s\n", totals.by[i], differences[i]);
		/*
		 * Each is met, so that the list stays true; all are rare, so that it hides nothing.
		 */
		assert_in_range(totals.by[i], 10, DOCUMENTS / 40);
	}
	assert_true(totals.taken > DOCUMENTS / 2);
	assert_true(totals.refused > DOCUMENTS / 10);
	assert_true(totals.metrics > DOCUMENTS / 3);
	buf_fini(&doc);
	batch_fini(&ours);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_documents_read_as_json_c_reads_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
