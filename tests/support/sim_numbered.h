/*
 * sim_numbered.h - what an endpoint answers whose samples are numbered: all its metrics, /n/000,
 * /n/001 ..., have the number of the answer as their value, and its time. So whoever got some of
 * them sees what is missing, doubled or out of order, without any other knowledge.
 */
#ifndef SCOTTY_TESTS_SIM_NUMBERED_H
#define SCOTTY_TESTS_SIM_NUMBERED_H

#include "sim_body.h"

/* NULL when out of memory. */
struct sim_text *sim_numbered_answer(unsigned metric_count, uint64_t number, int64_t ts_ns);

#endif
