#include <math.h>

#include "api/markup_priv.h"
#include "api/rpc_priv.h"
#include "messages/json.h"
#include "messages/number.h"

void
rpc_string(struct buf *out, struct str s)
{
	buf_str(out, STR("<value><string>"));
	markup_text(out, s);
	buf_str(out, STR("</string></value>"));
}

void
rpc_int(struct buf *out, int64_t n)
{
	bool small = n >= INT32_MIN && n <= INT32_MAX;

	buf_str(out, small ? STR("<value><int>") : STR("<value><i8>"));
	buf_i64(out, n);
	buf_str(out, small ? STR("</int></value>") : STR("</i8></value>"));
}

static void
put_uint(struct buf *out, uint64_t n)
{
	char text[NUMBER_BYTES];

	if (n <= INT64_MAX)
		rpc_int(out, (int64_t)n);
	else
		rpc_string(out, (struct str){ text, number_u64(text, n) });
}

static void
put_zeros(struct buf *out, size_t n)
{
	while (n-- > 0)
		buf_putc(out, '0');
}

/*
 * The format has no exponents. Texts that have one (number_f64: below 1e-6, from 1e21 on) have few
 * digits, all of which end up on one side of the point.
 */
static void
put_positional(struct buf *out, struct str mantissa, int64_t exp)
{
	struct str whole;

	str_split(&mantissa, '.', &whole);
	if (str_starts(whole, STR("-"))) {
		buf_putc(out, '-');
		whole = str_sub(whole, 1, whole.len);
	}
	if (exp < 0) {
		buf_str(out, STR("0."));
		put_zeros(out, (size_t)-exp - 1);
		buf_str(out, whole);
		buf_str(out, mantissa);
	} else {
		buf_str(out, whole);
		buf_str(out, mantissa);
		put_zeros(out, (size_t)exp - mantissa.len);
		buf_str(out, STR(".0"));
	}
}

/* text is a finite number as JSON has it. */
static void
put_double(struct buf *out, struct str text)
{
	struct str exponent = text, mantissa;
	int64_t exp = 0;

	str_split(&exponent, 'e', &mantissa);
	buf_str(out, STR("<value><double>"));
	if (exponent.len > 0) {
		str_to_i64(
		    str_starts(exponent, STR("+")) ? str_sub(exponent, 1, exponent.len) : exponent,
		    &exp);
		put_positional(out, mantissa, exp);
	} else {
		buf_str(out, text);
		if (memchr(text.p, '.', text.len) == NULL)
			buf_str(out, STR(".0"));
	}
	buf_str(out, STR("</double></value>"));
}

void
rpc_double(struct buf *out, double value)
{
	char text[NUMBER_BYTES];
	struct str s = { text, number_f64(text, value) };

	if (isfinite(value))
		put_double(out, s);
	else
		rpc_string(out, s);
}

static void
put_float(struct buf *out, float value)
{
	char text[NUMBER_BYTES];
	struct str s = { text, number_f32(text, value) };

	if (isfinite(value))
		put_double(out, s);
	else
		rpc_string(out, s);
}

/*
 * Appends what begin and end enclose: the text that the value has between its quotes in JSON. There
 * is nothing to escape in those it is used for.
 */
static void
put_json_text(struct buf *out, const char *begin, const struct metric_desc *desc,
    const struct value *value, const char *end)
{
	struct json json;
	size_t at;

	buf_puts(out, begin);
	at = out->len;
	json_init(&json, out, false);
	json_value(&json, desc, value);
	if (out->failed)
		return;
	out->len -= 2;
	memmove(out->p + at, out->p + at + 1, out->len - at);
	buf_puts(out, end);
}

static void
begin_member(struct buf *out, const char *name)
{
	buf_str(out, STR("<member><name>"));
	buf_str(out, str_of(name));
	buf_str(out, STR("</name>"));
}

static void
end_member(struct buf *out)
{
	buf_str(out, STR("</member>"));
}

static void
put_text_member(struct buf *out, const char *name, struct str text)
{
	begin_member(out, name);
	rpc_string(out, text);
	end_member(out);
}

static void
put_text_unless_empty(struct buf *out, const char *name, struct str text)
{
	if (text.len > 0)
		put_text_member(out, name, text);
}

static void
begin_array(struct buf *out)
{
	buf_str(out, STR("<value><array><data>"));
}

static void
end_array(struct buf *out)
{
	buf_str(out, STR("</data></array></value>"));
}

static void
put_list(struct buf *out, const struct metric_desc *desc, const struct value *value)
{
	struct metric_desc element = { .kind = desc->sub_kind, .unit = desc->unit };

	if (desc->sub_kind == KIND_UINT8) {
		put_json_text(out, "<value><base64>", desc, value, "</base64></value>");
		return;
	}
	begin_array(out);
	for (size_t i = 0; i < value->list->len; i++)
		rpc_value(out, &element, &value->list->values[i]);
	end_array(out);
}

static void
put_dist(struct buf *out, const struct dist *dist)
{
	static const struct dist none;

	if (dist == NULL)
		dist = &none;
	buf_str(out, STR("<value><struct>"));
	begin_member(out, "sum");
	rpc_double(out, dist->sum);
	end_member(out);
	begin_member(out, "count");
	put_uint(out, dist->count);
	end_member(out);
	begin_member(out, "counts");
	begin_array(out);
	for (size_t i = 0; i < dist->len; i++)
		put_uint(out, dist->counts[i]);
	end_array(out);
	end_member(out);
	begin_member(out, "rollOverCount");
	put_uint(out, dist->rollovers);
	end_member(out);
	buf_str(out, STR("</struct></value>"));
}

void
rpc_value(struct buf *out, const struct metric_desc *desc, const struct value *value)
{
	switch (desc->kind) {
	case KIND_BOOL:
		buf_str(out, value->b ? STR("<value><boolean>1</boolean></value>")
		                      : STR("<value><boolean>0</boolean></value>"));
		break;
	case KIND_INT8:
	case KIND_INT16:
	case KIND_INT32:
	case KIND_INT64:
		rpc_int(out, value->i);
		break;
	case KIND_UINT8:
	case KIND_UINT16:
	case KIND_UINT32:
	case KIND_UINT64:
		put_uint(out, value->u);
		break;
	case KIND_FLOAT32:
		put_float(out, (float)value->f);
		break;
	case KIND_FLOAT64:
		rpc_double(out, value->f);
		break;
	case KIND_STRING:
		rpc_string(out, value->s);
		break;
	case KIND_TIME:
	case KIND_DURATION:
		put_json_text(out, "<value><string>", desc, value, "</string></value>");
		break;
	case KIND_LIST:
		put_list(out, desc, value);
		break;
	case KIND_DIST:
		put_dist(out, value->dist);
		break;
	case KIND_NONE:
	case KIND_COUNT:
		break;
	}
}

static void
put_timestamp(struct buf *out, int64_t ts_ns)
{
	static const struct metric_desc stamp = { .kind = KIND_TIME };
	struct value value = { .i = ts_ns };

	begin_member(out, "timestamp");
	put_json_text(out, "<value><string>", &stamp, &value, "</string></value>");
	end_member(out);
}

static void
put_limits(struct buf *out, const struct metric_desc *desc)
{
	begin_member(out, "upperLimits");
	begin_array(out);
	for (size_t i = 0; i < desc->limit_count; i++)
		rpc_double(out, desc->limits[i]);
	end_array(out);
	end_member(out);
}

static void
put_tags(struct buf *out, const struct metric_desc *desc)
{
	begin_member(out, "tags");
	buf_str(out, STR("<value><struct>"));
	for (size_t i = 0; i < desc->tag_count; i++) {
		buf_str(out, STR("<member><name>"));
		markup_text(out, desc->tags[i].key);
		buf_str(out, STR("</name>"));
		rpc_string(out, desc->tags[i].value);
		end_member(out);
	}
	buf_str(out, STR("</struct></value>"));
	end_member(out);
}

void
rpc_metric(struct buf *out, struct str host, struct str app, const struct record *record)
{
	const struct metric_desc *desc = record->desc;
	int bits = kind_bits(desc->kind == KIND_LIST ? desc->sub_kind : desc->kind);

	buf_str(out, STR("<value><struct>"));
	put_text_unless_empty(out, "hostName", host);
	put_text_unless_empty(out, "appName", app);
	put_text_member(out, "path", desc->path);
	put_text_member(out, "description", desc->description);
	put_text_unless_empty(out, "unit", desc->unit);
	put_text_member(out, "kind", str_of(kind_name(desc->kind)));
	put_text_unless_empty(out, "subType", str_of(kind_name(desc->sub_kind)));
	if (bits != 0) {
		begin_member(out, "bits");
		rpc_int(out, bits);
		end_member(out);
	}
	put_timestamp(out, record->ts_ns);
	begin_member(out, "value");
	rpc_value(out, desc, &record->value);
	end_member(out);
	if (desc->not_cumulative) {
		begin_member(out, "isNotCumulative");
		buf_str(out, STR("<value><boolean>1</boolean></value>"));
		end_member(out);
	}
	if (desc->limit_count > 0)
		put_limits(out, desc);
	if (desc->tag_count > 0)
		put_tags(out, desc);
	buf_str(out, STR("</struct></value>"));
}
