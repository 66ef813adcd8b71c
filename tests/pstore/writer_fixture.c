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

void
text_maker_init(struct text_maker *m, const char *name, const char *options)
{
	struct err err;

	*m = (struct text_maker){ .doc = conf_parse(str_of(options), "test", &err),
		.origin = { .host = STR("host1.example.com"),
		    .app = STR("vecapp"),
		    .region = STR("us-east-1"),
		    .address = STR("127.0.0.1") } };
	assert(m->doc != NULL);
	m->writer = writer_find(str_of(name))->open(m->doc->root, NULL, &err);
	if (m->writer == NULL) {
		fprintf(stderr, "%s: %s\n", name, err.text);
		abort();
	}
}

void
text_maker_fini(struct text_maker *m)
{
	m->writer->ops->close(m->writer);
	conf_doc_unref(m->doc);
	buf_fini(&m->origin_text);
	buf_fini(&m->head);
	buf_fini(&m->tail);
	buf_fini(&m->text);
}

struct str
text_of(struct text_maker *m, const struct metric_desc *desc, struct value value, int64_t ts_ns)
{
	const struct writer_ops *ops = m->writer->ops;
	struct write_series series = { .desc = desc };
	struct write_record record = { &m->origin, &series, ts_ns, value };

	buf_clear(&m->origin_text);
	buf_clear(&m->head);
	buf_clear(&m->tail);
	buf_clear(&m->text);
	ops->prepare_origin(m->writer, &m->origin, &m->origin_text);
	ops->prepare_series(m->writer, desc, &m->head, &m->tail);
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
