/*
 * InfluxDB's line protocol: whatever the bytes of names, tags and strings, a reader that follows
 * the protocol's rules finds one line with those very names, but for what can't be said.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "pstore/consumer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What comes back of a name: see influx_line.h. */
static void
put_expected(struct buf *out, struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		size_t run = 0;

		if (s.p[i] == '\n' || s.p[i] == '\r') {
			buf_puts(out, s.p[i] == '\n' ? "\\n" : "\\r");
			continue;
		}
		if (s.p[i] == '\0') {
			buf_puts(out, "\xef\xbf\xbd");
			continue;
		}
		while (s.p[i] == '\\' && run <= i && s.p[i - run] == '\\')
			run++;
		if (run % 2 != 0 && (i + 1 == s.len || memchr(" ,=", s.p[i + 1], 3) != NULL))
			buf_putc(out, '/');
		else
			buf_putc(out, s.p[i]);
	}
}

/* Reads a name up to one of the ends, as InfluxDB does: a backslash takes the next with it. */
static void
read_name(struct str *rest, const char *ends, struct buf *out)
{
	while (rest->len > 0 && (rest->p[0] == '\0' || strchr(ends, rest->p[0]) == NULL)) {
		size_t n = rest->p[0] == '\\' && rest->len > 1 ? 2 : 1;

		if (n == 2 && memchr(" ,=", rest->p[1], 3) != NULL)
			buf_putc(out, rest->p[1]);
		else
			buf_add(out, rest->p, n);
		*rest = str_sub(*rest, n, rest->len);
	}
}

static void
expect(struct str *rest, const char *text)
{
	assert(str_starts(*rest, str_of(text)));
	*rest = str_sub(*rest, strlen(text), rest->len);
}

static void
expect_name(struct str *rest, const char *ends, struct str name)
{
	struct buf got, want;

	buf_init(&got, 0);
	buf_init(&want, 0);
	read_name(rest, ends, &got);
	put_expected(&want, name);
	assert(str_eq(buf_view(&got), buf_view(&want)));
	buf_fini(&got);
	buf_fini(&want);
}

static void
expect_string(struct str *rest, struct str s)
{
	expect(rest, "\"");
	for (size_t i = 0; i < s.len; i++) {
		if (rest->p[0] == '\\')
			*rest = str_sub(*rest, 1, rest->len);
		assert(rest->len > 0 && rest->p[0] == s.p[i]);
		*rest = str_sub(*rest, 1, rest->len);
	}
	expect(rest, "\"");
}

static void
check_line(struct str line, const struct write_record *record)
{
	const struct metric_desc *desc = record->series->desc;

	expect_name(&line, ", ", desc->path);
	expect(&line, ",@version=1");
	if (record->origin->app.len > 0) {
		expect(&line, ",appname=");
		expect_name(&line, ", ", record->origin->app);
	}
	if (record->origin->host.len > 0) {
		expect(&line, ",host=");
		expect_name(&line, ", ", record->origin->host);
	}
	if (desc->tag_count > 0 && desc->tags[0].value.len > 0 && desc->tags[0].key.len > 0) {
		expect(&line, ",");
		expect_name(&line, "=", desc->tags[0].key);
		expect(&line, "=");
		expect_name(&line, " ,", desc->tags[0].value);
	}
	expect(&line, " name=");
	expect_string(&line, desc->path);
	expect(&line, ",value=");
	expect_string(&line, record->value.s);
	expect(&line, " 5\n");
	assert(line.len == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct writer *writer;
	struct str rest = { (const char *)data, size }, parts[6] = { { NULL, 0 } };
	struct buf origin_text, head, tail, line;
	struct tag tag;
	struct metric_desc desc = { .kind = KIND_STRING, .tags = &tag, .tag_count = 1 };
	struct write_origin origin = { .host = STR_EMPTY };
	struct write_series series = { .desc = &desc };
	struct write_record record = { &origin, &series, 5, { .i = 0 }, false };
	struct err err;

	if (writer == NULL) {
		struct conf_doc *doc =
		    conf_parse(STR("{hostAndPort: 'http://x', database: d}"), "fuzz", &err);

		writer = writer_find(STR("influx"))->open(doc->root, NULL, &err);
		conf_doc_unref(doc);
		assert(writer != NULL);
	}
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		str_split(&rest, '|', &parts[i]);
	tag = (struct tag){ parts[1], parts[2] };
	if (str_eq(tag.key, STR("host")) || str_eq(tag.key, STR("time")) ||
	    str_eq(tag.key, STR("app")) || str_eq(tag.key, STR("appname")) ||
	    str_eq(tag.key, STR("region")) || str_eq(tag.key, STR("ipaddress")) ||
	    str_eq(tag.key, STR("@version")) || parts[0].len == 0)
		return 0;
	desc.path = parts[0];
	origin.host = parts[3];
	origin.app = parts[4];
	record.value.s = parts[5];
	buf_init(&origin_text, 0);
	buf_init(&head, 0);
	buf_init(&tail, 0);
	buf_init(&line, 0);
	writer->ops->prepare_origin(writer, &origin, &origin_text);
	writer->ops->prepare_series(writer, &desc, &head, &tail);
	origin.text = buf_view(&origin_text);
	series.head = buf_view(&head);
	series.tail = buf_view(&tail);
	assert(writer->ops->format(writer, &record, &line));
	check_line(buf_view(&line), &record);
	buf_fini(&origin_text);
	buf_fini(&head);
	buf_fini(&tail);
	buf_fini(&line);
	return 0;
}
