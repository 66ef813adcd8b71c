#include "messages/json.h"

#include <assert.h>
#include <math.h>

#include "messages/number.h"

/* What may come before a key or a value: comma, line break, a tab per level. */
#define LEAD_BYTES (JSON_DEPTH + 2)

/* Room for n bytes at the end of out, or NULL. */
static char *
room(struct buf *out, size_t n)
{
	if (out->cap - out->len < n && !buf_reserve(out, n))
		return NULL;
	return out->p + out->len;
}

static void
set_end(struct buf *out, const char *end)
{
	out->len = (size_t)(end - out->p);
}

static char *
put_break(const struct json *j, char *p)
{
	if (!j->indent)
		return p;
	*p++ = '\n';
	memset(p, '\t', j->depth);
	return p + j->depth;
}

/* What separates an element from what comes before it. */
static char *
put_lead(struct json *j, char *p)
{
	if (j->used[j->depth])
		*p++ = ',';
	j->used[j->depth] = true;
	return put_break(j, p);
}

/*
 * Begins a value: room for n bytes after whatever has to come before it, or NULL. The caller writes
 * there and calls set_end.
 */
static char *
begin_value(struct json *j, size_t n)
{
	char *p = room(j->out, LEAD_BYTES + n);
	bool after_key = j->after_key;

	j->after_key = false;
	return p == NULL || after_key || j->depth == 0 ? p : put_lead(j, p);
}

static void
literal(struct json *j, struct str text)
{
	char *p = begin_value(j, text.len);

	if (p != NULL)
		set_end(j->out, str_put(p, text));
}

void
json_init(struct json *j, struct buf *out, bool indent)
{
	*j = (struct json){ .out = out, .indent = indent };
}

void
json_init_members(struct json *j, struct buf *out)
{
	*j = (struct json){ .out = out, .depth = 1 };
}

static void
begin(struct json *j, struct str bracket)
{
	assert(j->depth < JSON_DEPTH);
	literal(j, bracket);
	j->used[++j->depth] = false;
}

static void
end(struct json *j, char bracket)
{
	char *p = room(j->out, LEAD_BYTES + 1);
	bool used = j->used[j->depth];

	assert(j->depth > 0 && !j->after_key);
	j->depth--;
	if (p == NULL)
		return;
	if (used)
		p = put_break(j, p);
	*p++ = bracket;
	set_end(j->out, p);
}

void
json_begin_object(struct json *j)
{
	begin(j, STR("{"));
}

void
json_end_object(struct json *j)
{
	end(j, '}');
}

void
json_begin_array(struct json *j)
{
	begin(j, STR("["));
}

void
json_end_array(struct json *j)
{
	end(j, ']');
}

void
json_key_str(struct json *j, struct str key)
{
	char *p = room(j->out, LEAD_BYTES + key.len + 4);

	assert(j->depth > 0 && !j->after_key);
	j->after_key = true;
	if (p == NULL)
		return;
	p = put_lead(j, p);
	*p++ = '"';
	p = str_put(p, key);
	*p++ = '"';
	*p++ = ':';
	if (j->indent)
		*p++ = ' ';
	set_end(j->out, p);
}

/* What a byte of a string asks for: one of these, or a backslash and the letter given. */
enum {
	AS_IS,
	HIGH = 'h', /* part of a character beyond ASCII, or no UTF-8 at all */
	HEX = 'u',  /* \u00XX */
};

static const unsigned char escapes[256] = {
	[0 ... 0x08] = HEX,
	['\t'] = 't',
	['\n'] = 'n',
	[0x0B ... 0x0C] = HEX,
	['\r'] = 'r',
	[0x0E ... 0x1F] = HEX,
	['"'] = '"',
	['\\'] = '\\',
	['<'] = HEX,
	['>'] = HEX,
	['&'] = HEX,
	[0x80 ... 0xFF] = HIGH,
};

/* The byte c in each of eight. */
#define EIGHT(c) ((uint64_t)(c)*UINT64_C(0x0101010101010101))

/*
 * True if escapes[] says AS_IS of all eight bytes. Taking 1 from a zero byte sets its top bit, as
 * does taking 0x20 from a control character, and what was below 0x80 else stays so. A borrow from
 * the next byte needs a byte that was found already.
 */
static bool
are_clean(uint64_t bytes)
{
	uint64_t angle = (bytes & ~EIGHT('<' ^ '>')) ^ EIGHT('<');
	uint64_t quote = (bytes & ~EIGHT('"' ^ '&')) ^ EIGHT('"');
	uint64_t backslash = bytes ^ EIGHT('\\');
	uint64_t found = bytes | (bytes - EIGHT(0x20)) | (angle - EIGHT(1)) | (quote - EIGHT(1)) |
	                 (backslash - EIGHT(1));

	return (found & EIGHT(0x80)) == 0;
}

static uint64_t
load_eight(const char *p)
{
	uint64_t bytes;

	memcpy(&bytes, p, sizeof(bytes));
	return bytes;
}

/* Copies what stays as it is from the start of [p, end), and returns where it stopped. */
static const char *
copy_clean(char *out, const char *p, const char *end)
{
	uint64_t bytes;

	if (end - p >= 8) {
		char *last = out + (end - p) - 8;

		while (end - p > 8 && are_clean(bytes = load_eight(p))) {
			memcpy(out, &bytes, 8);
			out += 8;
			p += 8;
		}
		/* The last eight may hold some that were copied already. */
		if (end - p <= 8 && are_clean(bytes = load_eight(end - 8))) {
			memcpy(last, &bytes, 8);
			return end;
		}
	}
	while (p < end && escapes[(unsigned char)*p] == AS_IS)
		*out++ = *p++;
	return p;
}

static void
add_escaped(struct buf *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";
	const char text[] = { '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] };

	if (escapes[c] == HEX) {
		buf_add(out, text, sizeof(text));
	} else {
		buf_putc(out, '\\');
		buf_putc(out, (char)escapes[c]);
	}
}

/*
 * Adds the character at p, which is not ASCII, and returns its length. *valid_end: up to where the
 * text is known to be UTF-8.
 */
static size_t
add_high(struct buf *out, const char *p, const char *end, const char **valid_end)
{
	unsigned char lead = (unsigned char)*p;
	size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;

	if (p >= *valid_end)
		*valid_end = p + utf8_valid_prefix(p, (size_t)(end - p));
	if (p >= *valid_end) {
		buf_puts(out, "\\ufffd");
		return 1;
	}
	if (n == 3 && memcmp(p, "\u2028", 3) == 0)
		buf_puts(out, "\\u2028");
	else if (n == 3 && memcmp(p, "\u2029", 3) == 0)
		buf_puts(out, "\\u2029");
	else if (n == 3 && memcmp(p, "\uFFFD", 3) == 0)
		buf_puts(out, "\\ufffd");
	else
		buf_add(out, p, n);
	return n;
}

/* s with escapes, without the quotes. */
static void
add_text(struct buf *out, struct str s)
{
	const char *p = s.p, *end = s.len == 0 ? p : p + s.len, *valid_end = p;

	while (p < end) {
		char *to = room(out, (size_t)(end - p));
		const char *stop;

		if (to == NULL)
			return;
		stop = copy_clean(to, p, end);
		out->len += (size_t)(stop - p);
		p = stop;
		if (p == end)
			return;
		if (escapes[(unsigned char)*p] == HIGH)
			p += add_high(out, p, end, &valid_end);
		else
			add_escaped(out, (unsigned char)*p++);
	}
}

void
json_string(struct json *j, struct str s)
{
	char *p = begin_value(j, s.len + 2);

	if (p == NULL)
		return;
	*p++ = '"';
	set_end(j->out, p);
	add_text(j->out, s);
	buf_putc(j->out, '"');
}

void
json_bool(struct json *j, bool value)
{
	literal(j, value ? STR("true") : STR("false"));
}

void
json_null(struct json *j)
{
	literal(j, STR("null"));
}

void
json_u64(struct json *j, uint64_t value)
{
	char *p = begin_value(j, NUMBER_BYTES);

	if (p != NULL)
		set_end(j->out, p + number_u64(p, value));
}

void
json_i64(struct json *j, int64_t value)
{
	char *p = begin_value(j, NUMBER_BYTES);

	if (p != NULL)
		set_end(j->out, p + number_i64(p, value));
}

static size_t
put_literal(char *out, struct str text)
{
	return (size_t)(str_put(out, text) - out);
}

static size_t
put_f64(char *out, double value)
{
	return isfinite(value) ? number_f64(out, value) : put_literal(out, STR("null"));
}

static size_t
put_f32(char *out, float value)
{
	return isfinite(value) ? number_f32(out, value) : put_literal(out, STR("null"));
}

void
json_f64(struct json *j, double value)
{
	char *p = begin_value(j, NUMBER_BYTES);

	if (p != NULL)
		set_end(j->out, p + put_f64(p, value));
}

void
json_f32(struct json *j, float value)
{
	char *p = begin_value(j, NUMBER_BYTES);

	if (p != NULL)
		set_end(j->out, p + put_f32(p, value));
}

void
json_string_unless_empty(struct json *j, const char *key, struct str s)
{
	if (s.len == 0)
		return;
	json_key(j, key);
	json_string(j, s);
}

static size_t
put_time(char *out, int64_t ns, int64_t per_second)
{
	size_t len = number_time(out + 1, ns, per_second);

	out[0] = '"';
	out[len + 1] = '"';
	return len + 2;
}

void
json_ts(struct json *j, int64_t ts_ns)
{
	char *p;

	if (ts_ns == TS_NONE) {
		literal(j, STR("\"\""));
		return;
	}
	p = begin_value(j, NUMBER_BYTES + 2);
	if (p != NULL)
		set_end(j->out, p + put_time(p, ts_ns, 1));
}

#define SCALAR_BYTES (NUMBER_BYTES + 2)

static size_t
put_bool(char *out, const struct value *value, struct str unit)
{
	(void)unit;
	return put_literal(out, value->b ? STR("true") : STR("false"));
}

static size_t
put_int(char *out, const struct value *value, struct str unit)
{
	(void)unit;
	return number_i64(out, value->i);
}

static size_t
put_uint(char *out, const struct value *value, struct str unit)
{
	(void)unit;
	return number_u64(out, value->u);
}

static size_t
put_float32(char *out, const struct value *value, struct str unit)
{
	(void)unit;
	return put_f32(out, (float)value->f);
}

static size_t
put_float64(char *out, const struct value *value, struct str unit)
{
	(void)unit;
	return put_f64(out, value->f);
}

static size_t
put_time_value(char *out, const struct value *value, struct str unit)
{
	return put_time(out, value->i, unit_per_second(unit));
}

/* Those that have no place here are no scalars. */
static json_scalar *const scalars[KIND_COUNT] = {
	[KIND_BOOL] = put_bool,
	[KIND_INT8] = put_int,
	[KIND_INT16] = put_int,
	[KIND_INT32] = put_int,
	[KIND_INT64] = put_int,
	[KIND_UINT8] = put_uint,
	[KIND_UINT16] = put_uint,
	[KIND_UINT32] = put_uint,
	[KIND_UINT64] = put_uint,
	[KIND_FLOAT32] = put_float32,
	[KIND_FLOAT64] = put_float64,
	[KIND_TIME] = put_time_value,
	[KIND_DURATION] = put_time_value,
};

json_scalar *
json_scalar_of(enum kind kind)
{
	return scalars[kind];
}

static void
scalar(struct json *j, enum kind kind, struct str unit, const struct value *value)
{
	char *p;

	if (kind == KIND_STRING) {
		json_string(j, value->s);
		return;
	}
	p = begin_value(j, SCALAR_BYTES);
	if (p != NULL && scalars[kind] != NULL)
		set_end(j->out, p + scalars[kind](p, value, unit));
}

/* A list of uint8 as Go writes it: base64 (RFC 4648, section 4). */
static void
base64(struct json *j, const struct list *list)
{
	char *p = begin_value(j, (list->len + 2) / 3 * 4 + 2);

	if (p == NULL)
		return;
	*p++ = '"';
	for (size_t i = 0; i < list->len; i += 3) {
		const struct value *v = &list->values[i];
		size_t left = list->len - i;
		uint64_t bits =
		    v[0].u << 16 | (left > 1 ? v[1].u << 8 : 0) | (left > 2 ? v[2].u : 0);

		base64_group(p, (uint32_t)bits, left);
		p += 4;
	}
	*p++ = '"';
	set_end(j->out, p);
}

static void
list(struct json *j, const struct metric_desc *desc, const struct list *l)
{
	if (desc->sub_kind == KIND_UINT8) {
		base64(j, l);
		return;
	}
	json_begin_array(j);
	for (size_t i = 0; i < l->len; i++)
		scalar(j, desc->sub_kind, desc->unit, &l->values[i]);
	json_end_array(j);
}

/* The same as below in one go. */
static void
compact_distribution(struct json *j, const struct dist *d)
{
	size_t names = STR("{\"sum\":,\"count\":,\"counts\":[],\"rollOverCount\":}").len;
	char *p = begin_value(j, names + (d->len + 3) * (NUMBER_BYTES + 1));

	if (p == NULL)
		return;
	p = str_put(p, STR("{\"sum\":"));
	p += put_f64(p, d->sum);
	p = str_put(p, STR(",\"count\":"));
	p += number_u64(p, d->count);
	p = str_put(p, STR(",\"counts\":["));
	p += number_u64_list(p, d->counts, d->len);
	p = str_put(p, STR("],\"rollOverCount\":"));
	p += number_u64(p, d->rollovers);
	*p++ = '}';
	set_end(j->out, p);
}

static void
indented_distribution(struct json *j, const struct dist *d)
{
	json_begin_object(j);
	json_key(j, "sum");
	json_f64(j, d->sum);
	json_key(j, "count");
	json_u64(j, d->count);
	json_key(j, "counts");
	json_begin_array(j);
	for (size_t i = 0; i < d->len; i++)
		json_u64(j, d->counts[i]);
	json_end_array(j);
	json_key(j, "rollOverCount");
	json_u64(j, d->rollovers);
	json_end_object(j);
}

static void
distribution(struct json *j, const struct dist *d)
{
	if (d == NULL)
		json_null(j);
	else if (j->indent)
		indented_distribution(j, d);
	else
		compact_distribution(j, d);
}

void
json_value(struct json *j, const struct metric_desc *desc, const struct value *value)
{
	if (desc->kind == KIND_LIST)
		list(j, desc, value->list);
	else if (desc->kind == KIND_DIST)
		distribution(j, value->dist);
	else
		scalar(j, desc->kind, desc->unit, value);
}

static void
desc_members(struct json *j, const struct metric_desc *desc)
{
	int bits = kind_bits(desc->kind == KIND_LIST ? desc->sub_kind : desc->kind);

	json_string_unless_empty(j, "path", desc->path);
	json_key(j, "description");
	json_string(j, desc->description);
	json_string_unless_empty(j, "unit", desc->unit);
	json_key(j, "kind");
	json_string(j, str_of(kind_name(desc->kind)));
	json_string_unless_empty(j, "subType", str_of(kind_name(desc->sub_kind)));
	if (bits != 0) {
		json_key(j, "bits");
		json_i64(j, bits);
	}
}

/* Keys and values of an object as they are; nothing if there are none. */
static void
raw_members(struct json *j, struct str text)
{
	char *p = text.len == 0 ? NULL : begin_value(j, text.len);

	if (p != NULL)
		set_end(j->out, str_put(p, text));
}

void
json_desc(struct json *j, const struct metric_desc *desc)
{
	if (desc->text != NULL && !j->indent)
		raw_members(j, desc->text->desc);
	else
		desc_members(j, desc);
}

void
json_key_text(struct json *j, struct str key)
{
	json_string(j, key);
	buf_str(j->out, j->indent ? STR(": ") : STR(":"));
	j->after_key = true;
}

void
json_tags(struct json *j, const struct metric_desc *desc)
{
	if (desc->tag_count == 0)
		return;
	json_key(j, "tags");
	json_begin_object(j);
	for (size_t i = 0; i < desc->tag_count; i++) {
		json_key_text(j, desc->tags[i].key);
		json_string(j, desc->tags[i].value);
	}
	json_end_object(j);
}

static void
tail_members(struct json *j, const struct metric_desc *desc)
{
	if (desc->not_cumulative) {
		json_key(j, "isNotCumulative");
		json_bool(j, true);
	}
	if (desc->limit_count > 0) {
		json_key(j, "upperLimits");
		json_begin_array(j);
		for (size_t i = 0; i < desc->limit_count; i++)
			json_f64(j, desc->limits[i]);
		json_end_array(j);
	}
	json_tags(j, desc);
}

void
json_desc_tail(struct json *j, const struct metric_desc *desc)
{
	if (desc->text != NULL && !j->indent)
		raw_members(j, desc->text->tail);
	else
		tail_members(j, desc);
}

size_t
json_desc_text(struct buf *out, const struct metric_desc *desc)
{
	size_t before = out->len, len;
	struct json json;

	json_init_members(&json, out);
	desc_members(&json, desc);
	len = out->len - before;
	json_init_members(&json, out);
	tail_members(&json, desc);
	return len;
}

char *
json_begin_raw(struct json *j, size_t n)
{
	assert(!j->indent);
	return begin_value(j, n);
}

void
json_end_raw(struct json *j, const char *end)
{
	set_end(j->out, end);
}

_Static_assert(JSON_VALUE_BYTES >= SCALAR_BYTES, "a scalar must fit");

char *
json_value_raw(
    struct json *j, char *p, size_t n, const struct metric_desc *desc, const struct value *value)
{
	if (scalars[desc->kind] != NULL)
		return p + scalars[desc->kind](p, value, desc->unit);
	set_end(j->out, p);
	j->after_key = true;
	json_value(j, desc, value);
	return room(j->out, n);
}
