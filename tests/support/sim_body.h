/*
 * sim_body.h - what simulated endpoints answer: documents whose values move from poll to poll.
 *
 * A document is one application's: metrics as a tricorder process has them, with names that are the
 * same in all documents and values of its own. Its text is built anew once for all the endpoints
 * that share it, so an answer costs them next to nothing.
 *
 * Of 20 metrics, 12 are counters, 4 floats with two decimals, 2 constants (a string and an int), 1
 * a time or a duration, 1 a distribution of 20 buckets. A fifth of all but the constants moves at
 * every step and a sixth of the others, by chance: 30% of all. Numbers change their widths, as real
 * ones do.
 *
 * As node_exporter has them, in Prometheus' text format, they are counters (15 of 20), gauges with
 * two decimals (4) and constants (1), with two labels each and eight to a name.
 */
#ifndef SCOTTY_TESTS_SIM_BODY_H
#define SCOTTY_TESTS_SIM_BODY_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct sim_body;

enum sim_format { SIM_TRICORDER, SIM_PROMETHEUS };

/*
 * An answer: an HTTP/1.1 head with its Content-Length, then the JSON of tricorder's /metricsapi/ or
 * Prometheus' text.
 */
struct sim_text {
	unsigned refs;
	struct str bytes;
};
/* headers: those but Content-Length, with CR LF between. NULL when out of memory. */
struct sim_text *sim_text_new(const char *headers, const struct buf *content);
void sim_text_unref(struct sim_text *); /* NULL is fine */

/* The document of that number. NULL when out of memory. */
struct sim_body *sim_body_new(uint64_t number, unsigned metric_count, enum sim_format);
void sim_body_free(struct sim_body *); /* NULL is fine; texts live on */

/*
 * The next answer for who has *seen the step of that number (0 = none) and from now on another:
 * the one after it, unless that is older than the last two. Another reference; NULL when out of
 * memory.
 */
struct sim_text *sim_body_answer(struct sim_body *, uint64_t *seen, int64_t ts_ns);

#endif
