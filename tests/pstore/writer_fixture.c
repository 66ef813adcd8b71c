#include "writer_fixture.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const uint64_t counts[] = { 1, 2, 3 };
static const double limits[] = { 0.5, 10 };
const struct dist some_dist = { .counts = counts, .len = 3, .sum = 12.5, .count = 6 };
const struct dist endless_dist = { .counts = counts, .len = 3, .sum = INFINITY, .count = 6 };
const struct metric_desc dist_desc = {
	.path = { "/d", 2 }, .kind = KIND_DIST, .limits = limits, .limit_count = 2
};

bool
text_maker_try(struct text_maker *m, const char *name, const char *options, struct err *err)
{
	const struct writer_ops *ops = writer_find(str_of(name));
	struct conf_report report;
	bool ok;

	*m = (struct text_maker){ .doc = conf_parse(str_of(options), "test", err),
		.origin = { .host = STR("host1.example.com"),
		    .app = STR("vecapp"),
		    .region = STR("us-east-1"),
		    .address = STR("127.0.0.1") } };
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
text_maker_init(struct text_maker *m, const char *name, const char *options)
{
	struct err err;

	if (!text_maker_try(m, name, options, &err)) {
		fprintf(stderr, "%s: %s\n", name, err.text);
		abort();
	}
}

void
text_maker_fini(struct text_maker *m)
{
	if (m->writer != NULL)
		m->writer->ops->close(m->writer);
	conf_doc_unref(m->doc);
	buf_fini(&m->origin_text);
	buf_fini(&m->head);
	buf_fini(&m->tail);
	buf_fini(&m->text);
}

static void
prepare(const struct text_maker *m, const struct write_origin *origin,
    const struct metric_desc *desc, struct buf *origin_text, struct buf *head, struct buf *tail)
{
	const struct writer_ops *ops = m->writer->ops;

	if (ops->prepare_origin != NULL)
		ops->prepare_origin(m->writer, origin, origin_text);
	if (ops->prepare_series != NULL)
		ops->prepare_series(m->writer, desc, head, tail);
}

struct str
text_of(struct text_maker *m, const struct metric_desc *desc, struct value value, int64_t ts_ns)
{
	const struct writer_ops *ops = m->writer->ops;
	struct write_series series = { .desc = desc };
	struct write_record record = { &m->origin, &series, ts_ns, value, m->is_end };

	buf_clear(&m->origin_text);
	buf_clear(&m->head);
	buf_clear(&m->tail);
	buf_clear(&m->text);
	prepare(m, &m->origin, desc, &m->origin_text, &m->head, &m->tail);
	m->origin.text = buf_view(&m->origin_text);
	series.head = buf_view(&m->head);
	series.tail = buf_view(&m->tail);
	if (!ops->format(m->writer, &record, &m->text)) {
		assert(m->text.len == 0);
		return STR_EMPTY;
	}
	buf_putc(&m->text, '\0');
	assert(!m->head.failed && !m->tail.failed && !m->text.failed);
	return (struct str){ m->text.p, m->text.len - 1 };
}

bool
text_fits(const struct text_maker *m, const struct metric_desc *desc, struct value value,
    void (*fault)(unsigned), unsigned nth)
{
	const struct writer_ops *ops = m->writer->ops;
	struct write_origin origin = m->origin;
	struct write_series series = { .desc = desc };
	struct write_record record = { &origin, &series, 5, value, m->is_end };
	struct buf texts[4];
	bool ok;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		buf_init(&texts[i], 0);
	fault(nth);
	prepare(m, &origin, desc, &texts[0], &texts[1], &texts[2]);
	ok = !texts[0].failed && !texts[1].failed && !texts[2].failed;
	if (ok) {
		origin.text = buf_view(&texts[0]);
		series.head = buf_view(&texts[1]);
		series.tail = buf_view(&texts[2]);
		ok = ops->format(m->writer, &record, &texts[3]) && !texts[3].failed;
	}
	fault(0);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		buf_fini(&texts[i]);
	return ok;
}
