/*
 * writer_maker.h - a writer of these options, and the text it makes of one record.
 */
#ifndef SCOTTY_TESTS_WRITER_MAKER_H
#define SCOTTY_TESTS_WRITER_MAKER_H

#include "pstore/consumer.h"

struct writer_maker {
	struct conf_doc *doc;
	struct writer *writer;
	struct buf origin, head, tail, text;
};

/* Opens writer `name`, to check only, with the options of that YAML. False with err. */
bool try_writer(struct writer_maker *, const char *name, const char *options, struct err *);
/* The same; fails the test where that can't be. */
void make_writer(struct writer_maker *, const char *name, const char *options);
void free_writer(struct writer_maker *);

/*
 * The text of a record of host1.example.com/vecapp (us-east-1, 127.0.0.1), ended by a NUL, NULL if
 * there is none. Valid until the next call.
 */
const char *text_of(struct writer_maker *, const struct metric_desc *, struct value, int64_t ts_ns);
/* Of any endpoint; origin->text is filled in. The text is in m->text. */
bool format_record(struct writer_maker *, struct write_origin *, const struct metric_desc *,
    struct value, int64_t ts_ns);

#endif
