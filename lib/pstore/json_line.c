#include "pstore/json_line.h"

#include "messages/json.h"
#include "messages/number.h"
#include "pstore/record_json.h"
#include "pstore/two_texts.h"

void
json_line_prepare_origin(const struct write_origin *origin, struct buf *out)
{
	struct json json;

	two_texts_begin(out);
	buf_putc(out, '{');
	json_init_members(&json, out);
	json_key(&json, "hostName");
	json_string(&json, origin->host);
	json_key(&json, "appName");
	json_string(&json, origin->app);
	two_texts_second(out);
	json_string_unless_empty(&json, "region", origin->region);
	json_string_unless_empty(&json, "ipAddress", origin->address);
	record_json_tags(&json, origin);
}

void
json_line_prepare_series(const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	struct json json;
	size_t begin;

	buf_putc(head, ',');
	json_init_members(&json, head);
	json_desc(&json, desc);
	buf_puts(head, ",\"value\":");
	begin = tail->len;
	buf_putc(tail, ',');
	json_init_members(&json, tail);
	json_desc_tail(&json, desc);
	if (tail->len == begin + 1)
		tail->len = begin;
	buf_puts(tail, "}\n");
}

void
json_line_format(const struct write_record *record, struct buf *out)
{
	const struct write_series *series = record->series;
	struct str first, second;
	struct json json;
	char *p;

	two_texts_split(record->origin->text, &first, &second);
	if (!buf_reserve(out, first.len + series->head.len))
		return;
	p = str_put(out->p + out->len, first);
	p = str_put(p, series->head);
	out->len = (size_t)(p - out->p);
	json_init(&json, out, false);
	json_value(&json, series->desc, &record->value);
	buf_puts(out, ",\"timestamp\":");
	json_ts(&json, record->ts_ns);
	if (!buf_reserve(out, second.len + series->tail.len))
		return;
	p = str_put(out->p + out->len, second);
	p = str_put(p, series->tail);
	out->len = (size_t)(p - out->p);
}
