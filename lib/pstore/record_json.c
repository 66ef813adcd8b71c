#include "pstore/record_json.h"

#include "messages/json.h"
#include "messages/number.h"

static void
put_text(struct json *json, const char *key, struct str value)
{
	json_key(json, key);
	json_string(json, value);
}

void
record_json_tags(struct json *json, const struct write_origin *origin)
{
	if (origin->tag_count == 0)
		return;
	json_key(json, "endpointTags");
	json_begin_object(json);
	for (size_t i = 0; i < origin->tag_count; i++) {
		json_key_text(json, origin->tags[i].key);
		json_string(json, origin->tags[i].value);
	}
	json_end_object(json);
}

void
record_json(struct buf *out, const struct write_record *record, const char *writer, const char *why)
{
	const struct metric_desc *desc = record->series->desc;
	struct json json;

	json_init(&json, out, false);
	json_begin_object(&json);
	if (why != NULL) {
		put_text(&json, "writer", str_of(writer));
		put_text(&json, "reason", str_of(why));
	}
	put_text(&json, "hostName", record->origin->host);
	put_text(&json, "appName", record->origin->app);
	json_desc(&json, desc);
	json_key(&json, record->is_end ? "active" : "value");
	if (record->is_end)
		json_bool(&json, false);
	else
		json_value(&json, desc, &record->value);
	json_key(&json, "timestamp");
	json_ts(&json, record->ts_ns);
	json_string_unless_empty(&json, "region", record->origin->region);
	json_string_unless_empty(&json, "ipAddress", record->origin->address);
	record_json_tags(&json, record->origin);
	json_desc_tail(&json, desc);
	json_end_object(&json);
	buf_putc(out, '\n');
}

static void
echo_tag(struct buf *out, bool *is_first, struct str key, struct str value)
{
	if (value.len == 0)
		return;
	buf_printf(out, "%s%.*s: %.*s", *is_first ? "" : ", ", STR_ARG(key), STR_ARG(value));
	*is_first = false;
}

void
record_echo(struct buf *out, const struct write_record *record)
{
	const struct metric_desc *desc = record->series->desc;
	const struct write_origin *origin = record->origin;
	char time[NUMBER_BYTES];
	bool is_first = true;
	struct json json;

	buf_printf(out, "{HostName: %.*s, Path: %.*s, Tags: {", STR_ARG(origin->host),
	    STR_ARG(desc->path));
	echo_tag(out, &is_first, STR("appname"), origin->app);
	echo_tag(out, &is_first, STR("ipaddress"), origin->address);
	echo_tag(out, &is_first, STR("region"), origin->region);
	for (size_t i = 0; i < origin->tag_count; i++) {
		if (!write_has_tag(desc, origin->tags[i].key))
			echo_tag(out, &is_first, origin->tags[i].key, origin->tags[i].value);
	}
	for (size_t i = 0; i < desc->tag_count; i++)
		echo_tag(out, &is_first, desc->tags[i].key, desc->tags[i].value);
	buf_printf(out, "}, Kind: %s, SubType: %s, Unit: %.*s, Value: ", kind_name(desc->kind),
	    kind_name(desc->sub_kind), STR_ARG(desc->unit));
	json_init(&json, out, false);
	if (record->is_end)
		buf_puts(out, "inactive");
	else
		json_value(&json, desc, &record->value);
	buf_printf(out, ", Timestamp: %.*s}\n\n", (int)number_time(time, record->ts_ns, 1), time);
}
