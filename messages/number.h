/*
 * messages/number.h - numbers and times as text, and back, exactly.
 *
 * Formats are those of tricorder's JSON (reference: Go's encoding/json): floats in the shortest
 * digits that read back to the same value, positional below 1e21 and from 1e-6 up.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_MESSAGES_NUMBER_H
#define SCOTTY_MESSAGES_NUMBER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define NUMBER_BYTES 40 /* enough for any text below: the longest has 25 */

/* Each writes to out[NUMBER_BYTES], no NUL, and returns the length; what is behind is undefined. */
size_t number_u64(char *out, uint64_t);
size_t number_i64(char *out, int64_t);
/* With a comma between any two, to out[(n + 1) * NUMBER_BYTES]. */
size_t number_u64_list(char *out, const uint64_t *, size_t n);
/* JSON form; NaN and infinities (which JSON lacks) give "NaN", "+Inf", "-Inf". */
size_t number_f64(char *out, double);
size_t number_f32(char *out, float);
/* Like C's %g but shortest: exponent of two digits or more, below 1e-4 or from 1e6 (Go's %g). */
size_t number_f64_g(char *out, double);

/*
 * Seconds (or, per_second = 1000, milliseconds) with nine decimals from nanoseconds:
 * -250000000 gives "-0.250000000". Truncates below a nanosecond toward zero.
 */
size_t number_time(char *out, int64_t ns, int64_t per_second);
/*
 * The reverse: optional '-', whole part (a '+' before it is accepted), optional '.' and fraction,
 * cut or padded to nine digits. False if not of that form or beyond int64 nanoseconds.
 */
bool number_parse_time(struct str, int64_t per_second, int64_t *out_ns);

/*
 * A JSON number (RFC 8259 grammar) to double, correctly rounded; a finite text that overflows gives
 * an infinity. False if not of that form. number_parse_f32 rounds once, to a float. The locale has
 * no say.
 */
bool number_parse_f64(struct str, double *out);
bool number_parse_f32(struct str, float *out);
/*
 * mantissa * 10^exp, correctly rounded. False, which is rare, where only reading the number as text
 * tells how it is rounded, or whether it is too large or small.
 */
bool number_from_decimal(uint64_t mantissa, int64_t exp, double *out);
/*
 * As number_parse_f64, for a number as Prometheus' text formats have it: a sign of either kind,
 * leading zeros, a whole part or a fraction that is missing, "Inf", "Infinity" and "NaN" (no sign)
 * in any case.
 */
bool number_parse_sample(struct str, double *out);

#endif
