/*
 * The texts of the writers for OpenTSDB, LMM, Graphite and Prometheus: whatever the bytes of names,
 * tags and strings, a reader of each format finds one whole record, with the names that can be had
 * back.
 */
#include <assert.h>
#include <json-c/json.h>
#include <stdlib.h>

#include "../pstore/write_request.h"
#include "../pstore/writer_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct json_object *
parse(struct str text)
{
	struct json_tokener *tok = json_tokener_new();
	struct json_object *obj;

	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With the NUL that is behind it. */
	obj = json_tokener_parse_ex(tok, text.p, (int)text.len + 1);
	assert(obj != NULL && json_tokener_get_parse_end(tok) == text.len);
	json_tokener_free(tok);
	return obj;
}

static struct str
text_at(struct json_object *obj, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(obj, key, &value))
		return STR_EMPTY;
	return (
	    struct str){ json_object_get_string(value), (size_t)json_object_get_string_len(value) };
}

/* What name_escape made, read as upstream does. */
static void
expect_name(struct str escaped, struct str name)
{
	size_t at = 0;

	for (size_t i = 0; i < escaped.len; i++, at++) {
		char c = escaped.p[i];

		if (c == '_' && i + 2 < escaped.len && str_hex_digit(escaped.p[i + 1]) >= 0 &&
		    str_hex_digit(escaped.p[i + 2]) >= 0) {
			c = (char)(str_hex_digit(escaped.p[i + 1]) * 16 +
			           str_hex_digit(escaped.p[i + 2]));
			i += 2;
		}
		assert(at < name.len && name.p[at] == c);
	}
	assert(at == name.len);
}

static void
check_opentsdb(struct text_maker *m, const struct metric_desc *desc, struct value value)
{
	struct json_object *point = parse(text_of(m, desc, value, 5));
	struct json_object *tags;

	assert(json_object_object_get_ex(point, "tags", &tags));
	expect_name(text_at(point, "metric"), desc->path);
	expect_name(text_at(tags, "HostName"), m->origin.host);
	expect_name(text_at(tags, "appname"), m->origin.app);
	json_object_put(point);
}

static void
check_lmm(struct text_maker *m, const struct metric_desc *desc, struct value value)
{
	struct json_object *obj = parse(text_of(m, desc, value, 5));

	assert(text_at(obj, "name").len >= 1);
	assert(str_eq(text_at(obj, "tenant_id"), STR("t")));
	json_object_put(obj);
}

static void
check_graphite(struct text_maker *m, const struct metric_desc *desc)
{
	struct metric_desc number = *desc;
	struct str line, word;
	size_t words = 0;

	number.kind = KIND_INT64;
	line = text_of(m, &number, (struct value){ .i = 7 }, 5);
	assert(str_ends(line, STR("\n")));
	line.len--;
	assert(memchr(line.p, '\n', line.len) == NULL);
	for (; str_split(&line, ' ', &word); words++)
		assert(word.len > 0);
	assert(words == 3);
}

static void
check_prometheus(struct text_maker *m, const struct metric_desc *desc, struct value value)
{
	struct buf out;

	buf_init(&out, 0);
	assert(write_request_read(text_of(m, desc, value, 5), &out));
	buf_fini(&out);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct {
		const char *name, *options;
	} makers[] = {
		{ "openTSDB", "{hostAndPort: x}" },
		{ "lmm", "{endpoint: 'http://x', tenantId: t, apiKey: k, schema: tagged}" },
		{ "graphite", "{hostAndPort: x}" },
		{ "graphite", "{hostAndPort: x, form: tags}" },
		{ "prometheus", "{url: 'http://x'}" },
	};
	struct str rest = { (const char *)data, size }, parts[9] = { { NULL, 0 } };
	struct tag tags[2], origin_tag;
	struct metric_desc desc = { .kind = KIND_STRING, .tags = tags, .tag_count = 2 };
	struct text_maker m[ARRAY_LEN(makers)];

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		str_split(&rest, '|', &parts[i]);
	if (!str_starts(parts[0], STR("/")) || parts[0].len < 2 || parts[4].len == 0)
		return 0;
	tags[0] = (struct tag){ parts[1], parts[2] };
	origin_tag = (struct tag){ parts[8], parts[2] };
	tags[1] = (struct tag){ parts[3], parts[2] };
	desc.tag_count = tags[0].key.len == 0 ? 0 : str_cmp(tags[0].key, tags[1].key) >= 0 ? 1 : 2;
	desc.path = parts[0];
	for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
		text_maker_init(&m[i], makers[i].name, makers[i].options);
		m[i].origin = (struct write_origin){ .host = parts[4],
			.app = parts[5],
			.region = parts[6],
			.tags = &origin_tag,
			.tag_count = origin_tag.key.len > 0 };
	}
	check_opentsdb(&m[0], &desc, (struct value){ .s = parts[7] });
	check_lmm(&m[1], &desc, (struct value){ .s = parts[7] });
	check_graphite(&m[2], &desc);
	check_graphite(&m[3], &desc);
	check_prometheus(&m[4], &desc, (struct value){ .s = parts[7] });
	for (size_t i = 0; i < ARRAY_LEN(makers); i++)
		text_maker_fini(&m[i]);
	return 0;
}
