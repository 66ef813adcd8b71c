/*
 * pstore/value_text.h - values as decimal numbers without an exponent, as upstream's writers have
 * them.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_VALUE_TEXT_H
#define SCOTTY_PSTORE_VALUE_TEXT_H

#include "messages/metric.h"
#include "messages/number.h"

/* Enough for any finite double in full: up to 309 digits, or 324 zeros and 17 digits. */
#define VALUE_TEXT_BYTES 352

/* The shortest digits that read back to the same value (Go's 'f', -1). It must be finite. */
size_t value_text_f64(char *out, double);
/*
 * A value of a scalar kind but string, as a float: bools as 1 and 0, ints and uints to the
 * precision of a double, times in seconds since 1970, durations in the metric's unit; the last two
 * exactly, to the nanosecond. Returns the length; 0: it is not finite.
 */
size_t value_text(char *out, const struct metric_desc *, const struct value *);
/* The upper limit of a distribution's bucket i, in buf where it is a number; "inf" of the last. */
struct str value_text_limit(char buf[NUMBER_BYTES], const struct metric_desc *, size_t i);

#endif
