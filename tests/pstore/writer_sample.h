/*
 * writer_sample.h - what a writer makes of the captured values, compared with what upstream did.
 */
#ifndef SCOTTY_TESTS_WRITER_SAMPLE_H
#define SCOTTY_TESTS_WRITER_SAMPLE_H

#include "writer_fixture.h"

struct writer_sample {
	const char *file; /* a vector */
	int64_t ts_ms;    /* of its records */
	/* Paths, ended by NULL, and what they begin with, whose values can't be the same. */
	const char *const *others;
	size_t at_least; /* so many are */
	/* Appends the text as the sample has it; NULL = as it is. */
	void (*as_sampled)(const struct metric_desc *, struct str text, struct buf *out);
};

/*
 * Of each value of the other vector the writer's text is in the sample, without the newline at its
 * end. Lists and distributions, which upstream does not write, and values that changed meanwhile
 * are left out. Else the test fails.
 */
void check_sample(struct text_maker *, const struct writer_sample *);

#endif
