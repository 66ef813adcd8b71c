/*
 * writer_fixture.h - a writer opened from options, and the text it makes of one record.
 */
#ifndef SCOTTY_TESTS_WRITER_FIXTURE_H
#define SCOTTY_TESTS_WRITER_FIXTURE_H

#include "pstore/writer.h"

struct text_maker {
	struct conf_doc *doc;
	struct writer *writer;
	struct write_origin origin; /* host1.example.com, vecapp, us-east-1, 127.0.0.1 at first */
	bool is_end;                /* the record ends its series */
	struct buf origin_text, head, tail, text;
};

/* options is a map in YAML. Opens to check only. False with err: only fini is for it then. */
bool text_maker_try(struct text_maker *, const char *name, const char *options, struct err *);
/* The same; aborts where that can't be. */
void text_maker_init(struct text_maker *, const char *name, const char *options);
void text_maker_fini(struct text_maker *);
/* Ended by a NUL beyond .len; p NULL: it can't be written. Valid until the next call. */
struct str text_of(struct text_maker *, const struct metric_desc *, struct value, int64_t ts_ns);
/*
 * Makes a text with the n-th allocation failing. False if the buffers say that memory was short.
 * fault is fault_malloc (fault.h), which not all programs with this have.
 */
bool text_fits(const struct text_maker *, const struct metric_desc *, struct value,
    void (*fault)(unsigned), unsigned nth);

/* A distribution: limits 0.5 and 10; counts 1, 2, 3; sum 12.5. */
extern const struct metric_desc dist_desc;
extern const struct dist some_dist, endless_dist; /* the latter's sum is infinite */

#endif
