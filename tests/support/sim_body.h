/*
 * sim_body.h - what the simulated endpoints answer: one text for all, patched per poll.
 *
 * All endpoints publish metrics of the same names. Whatever differs between endpoints and polls
 * (values, times) has a fixed width in the text and is written over in place, so an endpoint costs
 * no memory and a poll costs no allocation.
 *
 * Of 20 metrics, 12 are counters, 4 floats, 2 constants, 1 a time or a duration, 1 a distribution.
 * A value moves every third poll, so some 30% of all do in any one.
 */
#ifndef SCOTTY_TESTS_SIM_BODY_H
#define SCOTTY_TESTS_SIM_BODY_H

#include <stdint.h>

#include "base/str.h"

struct sim_body;

/* NULL when out of memory. */
struct sim_body *sim_body_new(unsigned metric_count);
void sim_body_free(struct sim_body *); /* NULL is fine */

/*
 * Answer number poll of an endpoint: an HTTP/1.1 head with its Content-Length, then the JSON
 * of tricorder's /metricsapi/. It stays valid until the next call.
 */
struct str sim_body_answer(struct sim_body *, uint64_t endpoint, uint64_t poll, int64_t ts_ns);

#endif
