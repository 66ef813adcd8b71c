/*
 * Records as upstream sends them to Kafka and LMM, and as lines of JSON: whatever the bytes of
 * names and strings, each is one line that json-c takes, and what was UTF-8 reads back as it was.
 */
#include <assert.h>
#include <json-c/json_object.h>
#include <json-c/json_tokener.h>
#include <stdint.h>
#include <stdlib.h>

#include "pstore/json_line.h"
#include "pstore/lmm_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct texts {
	struct buf origin, head, tail, out;
};

static void
check_text(struct json_object *object, const char *key, struct str want)
{
	struct json_object *value;

	assert(json_object_object_get_ex(object, key, &value));
	if (utf8_valid_prefix(want.p, want.len) != want.len)
		return;
	assert((size_t)json_object_get_string_len(value) == want.len);
	assert(want.len == 0 || memcmp(json_object_get_string(value), want.p, want.len) == 0);
}

static struct json_object *
parse_line(const struct buf *line)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object;

	assert(!line->failed && memchr(line->p, '\n', line->len) == NULL);
	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	object = json_tokener_parse_ex(tokener, line->p, (int)line->len);
	assert(object != NULL);
	json_tokener_free(tokener);
	return object;
}

/* What was prepared becomes the record's. */
static void
take_texts(struct texts *t, struct write_origin *origin, struct write_series *series)
{
	origin->text = buf_view(&t->origin);
	series->head = buf_view(&t->head);
	series->tail = buf_view(&t->tail);
}

static void
check_lmm(struct texts *t, const struct write_record *record, struct write_origin *origin,
    struct write_series *series)
{
	struct lmm_record lmm = { .api_key = STR("key"), .tenant = origin->app, .tagged = true };
	struct json_object *object;

	lmm_prepare_origin(&lmm, origin, &t->origin);
	lmm_prepare_series(&lmm, series->desc, &t->head, &t->tail);
	take_texts(t, origin, series);
	assert(lmm_format(&lmm, record, &t->out));
	object = parse_line(&t->out);
	check_text(object, "host", origin->host);
	check_text(object, "appname", origin->app);
	check_text(object, "tenant_id", origin->app);
	check_text(object, "name", series->desc->path);
	check_text(object, "stringValue", record->value.s);
	json_object_put(object);
}

static void
check_json(struct texts *t, const struct write_record *record, struct write_origin *origin,
    struct write_series *series)
{
	struct json_object *object;

	json_line_prepare_origin(origin, &t->origin);
	json_line_prepare_series(series->desc, &t->head, &t->tail);
	take_texts(t, origin, series);
	json_line_format(record, &t->out);
	assert(t->out.len > 0 && t->out.p[t->out.len - 1] == '\n');
	t->out.len--;
	object = parse_line(&t->out);
	check_text(object, "hostName", origin->host);
	check_text(object, "path", series->desc->path);
	check_text(object, "value", record->value.s);
	json_object_put(object);
}

static void
clear(struct texts *t)
{
	buf_clear(&t->origin);
	buf_clear(&t->head);
	buf_clear(&t->tail);
	buf_clear(&t->out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size }, parts[8] = { { NULL, 0 } };
	struct texts t = { 0 };
	struct tag tag, origin_tag;
	struct metric_desc desc = { .kind = KIND_STRING, .tags = &tag, .tag_count = 1 };
	struct write_origin origin = { .host = STR_EMPTY };
	struct write_series series = { .desc = &desc };
	struct write_record record = { &origin, &series, 5, { .i = 0 }, false };

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		str_split(&rest, '|', &parts[i]);
	desc.path = parts[0];
	tag = (struct tag){ parts[1], parts[2] };
	origin.host = parts[3];
	origin.app = parts[4];
	origin.region = parts[5];
	origin_tag = (struct tag){ parts[7], parts[2] };
	origin.tags = &origin_tag;
	origin.tag_count = parts[7].len > 0;
	record.value.s = parts[6];
	/*
	 * No metric is without a path. A second key of the same name would hide the first; json-c
	 * ends keys at a NUL.
	 */
	if (desc.path.len == 0 || tag.key.len == 0 || str_starts(tag.key, STR("metric_")) ||
	    memchr(tag.key.p, '\0', tag.key.len) != NULL ||
	    (parts[7].len > 0 && memchr(parts[7].p, '\0', parts[7].len) != NULL))
		return 0;
	check_lmm(&t, &record, &origin, &series);
	clear(&t);
	check_json(&t, &record, &origin, &series);
	buf_fini(&t.origin);
	buf_fini(&t.head);
	buf_fini(&t.tail);
	buf_fini(&t.out);
	return 0;
}
