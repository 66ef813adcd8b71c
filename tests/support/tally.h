/*
 * tally.h - what arrived at a sink of the numbered samples of fleet_sim: which are missing, doubled
 * or out of order.
 *
 * All metrics of an endpoint have the number of its answer as their value, so the numbers of each
 * series go 1, 2, 3 ... What comes again goes back to a number that was there, and on from it one
 * by one, too. What was sent but lost by its sender, who was killed, is left out when the rest
 * comes again. Anything else is a stray.
 *
 * Threads: a tally belongs to its owner.
 */
#ifndef SCOTTY_TESTS_TALLY_H
#define SCOTTY_TESTS_TALLY_H

#include <stdio.h>

#include "base/str.h"

struct tally_sample {
	struct str host, path;
	uint64_t number;
	int64_t ts_ns;
};

struct tally;

struct tally *tally_new(void); /* all of it ends the program when out of memory */
void tally_free(struct tally *);
void tally_add(struct tally *, const struct tally_sample *);
/* What can't be read counts as a stray. */
void tally_stray(struct tally *, struct str what);

/*
 * One line: "values=N series=N doubled=N missing=N strays=N" and, if there are any, " stray=" and
 * the first of them. values are those that came for the first time, missing the numbers that were
 * left out.
 */
void tally_print(const struct tally *, FILE *);
/* A line "BEFORE AFTER" for each pair of times (ns) between which numbers were left out. */
void tally_print_gaps(const struct tally *, FILE *);
/* A line "HOST LEAST MOST" each: the lowest and the highest of its series' last numbers. */
void tally_print_last(const struct tally *, FILE *);

#endif
