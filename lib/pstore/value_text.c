#include "pstore/value_text.h"

#include <math.h>

#include "messages/number.h"

/* Largest magnitude up to which all whole numbers are doubles. */
#define EXACT (INT64_C(1) << 53)

size_t
value_text_f64(char *out, double value)
{
	char text[NUMBER_BYTES], digits[NUMBER_BYTES];
	size_t len = number_f64(text, value), count = 0, at = 0, n = 0;
	const char *e = memchr(text, 'e', len);
	bool negative = text[0] == '-';
	int64_t exponent;

	if (e == NULL) {
		memcpy(out, text, len);
		return len;
	}
	/* d.ddde+-xx: the point goes `exponent` places to the right. */
	for (const char *p = text + negative; p < e; p++) {
		if (*p != '.')
			digits[count++] = *p;
	}
	for (at = (size_t)(e - text) + 2, exponent = 0; at < len; at++)
		exponent = exponent * 10 + (text[at] - '0');
	if (e[1] == '-')
		exponent = -exponent;
	if (negative)
		out[n++] = '-';
	if (exponent < 0) {
		memcpy(out + n, "0.", 2);
		n += 2;
		memset(out + n, '0', (size_t)(-exponent - 1));
		n += (size_t)(-exponent - 1);
		memcpy(out + n, digits, count);
		return n + count;
	}
	memcpy(out + n, digits, count); /* from 1e21 up there are more places than digits */
	n += count;
	memset(out + n, '0', (size_t)exponent + 1 - count);
	return n + (size_t)exponent + 1 - count;
}

/* Nanoseconds in the unit, without zeros at the end. */
static size_t
put_time(char *out, int64_t ns, int64_t per_second)
{
	size_t len = number_time(out, ns, per_second);

	while (out[len - 1] == '0')
		len--;
	return out[len - 1] == '.' ? len - 1 : len;
}

size_t
value_text(char *out, const struct metric_desc *desc, const struct value *value)
{
	enum kind kind = desc->kind;

	if (kind == KIND_TIME)
		return put_time(out, value->i, 1);
	if (kind == KIND_DURATION)
		return put_time(out, value->i, unit_per_second(desc->unit));
	if (kind == KIND_BOOL) {
		out[0] = value->b ? '1' : '0';
		return 1;
	}
	if (kind_is_int(kind))
		return value->i > -EXACT && value->i < EXACT
		           ? number_i64(out, value->i)
		           : value_text_f64(out, (double)value->i);
	if (kind_is_uint(kind))
		return value->u < (uint64_t)EXACT ? number_u64(out, value->u)
		                                  : value_text_f64(out, (double)value->u);
	return isfinite(value->f) ? value_text_f64(out, value->f) : 0;
}

struct str
value_text_limit(char buf[NUMBER_BYTES], const struct metric_desc *desc, size_t i)
{
	if (i >= desc->limit_count)
		return STR("inf");
	return (struct str){ buf, number_f64(buf, desc->limits[i]) };
}
