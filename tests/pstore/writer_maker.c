#include "writer_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

bool
try_writer(struct writer_maker *m, const char *name, const char *options, struct err *err)
{
	const struct writer_ops *ops = writer_find(str_of(name));
	struct conf_report report;
	bool ok;

	*m = (struct writer_maker){ .doc = conf_parse(str_of(options), "test", err) };
	assert_non_null(ops);
	if (m->doc == NULL)
		return false;
	conf_report_init(&report, "test");
	ok = conf_check(m->doc->root, ops->opts, &report);
	if (!ok)
		conf_report_err(&report, err);
	conf_report_fini(&report);
	if (ok)
		m->writer = ops->open(m->doc->root, NULL, err);
	return m->writer != NULL;
}

void
make_writer(struct writer_maker *m, const char *name, const char *options)
{
	struct err err;

	if (!try_writer(m, name, options, &err))
		fail_msg("%s", err.text);
}

void
free_writer(struct writer_maker *m)
{
	if (m->writer != NULL)
		m->writer->ops->close(m->writer);
	conf_doc_unref(m->doc);
	buf_fini(&m->origin);
	buf_fini(&m->head);
	buf_fini(&m->tail);
	buf_fini(&m->text);
}

bool
format_record(struct writer_maker *m, struct write_origin *origin, const struct metric_desc *desc,
    struct value value, int64_t ts_ns)
{
	const struct writer_ops *ops = m->writer->ops;
	struct write_series series = { .desc = desc };
	struct write_record record = { origin, &series, ts_ns, value };

	buf_clear(&m->origin);
	buf_clear(&m->head);
	buf_clear(&m->tail);
	buf_clear(&m->text);
	ops->prepare_origin(m->writer, origin, &m->origin);
	ops->prepare_series(m->writer, desc, &m->head, &m->tail);
	origin->text = buf_view(&m->origin);
	series.head = buf_view(&m->head);
	series.tail = buf_view(&m->tail);
	if (!ops->format(m->writer, &record, &m->text)) {
		assert_int_equal(m->text.len, 0);
		return false;
	}
	assert_false(m->text.failed);
	return true;
}

const char *
text_of(struct writer_maker *m, const struct metric_desc *desc, struct value value, int64_t ts_ns)
{
	struct write_origin origin = { .host = STR("host1.example.com"),
		.app = STR("vecapp"),
		.region = STR("us-east-1"),
		.address = STR("127.0.0.1") };

	if (!format_record(m, &origin, desc, value, ts_ns))
		return NULL;
	buf_putc(&m->text, '\0');
	m->text.len--;
	return m->text.p;
}
