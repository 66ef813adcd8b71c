/*
 * Number text both ways, against libc: what number_parse_* takes must be what strtod and strtof
 * read, and what number_* writes must read back.
 */
#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "messages/number.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_f64(double value)
{
	char text[NUMBER_BYTES + 1];
	size_t len = number_f64(text, value);
	double again;

	assert(len <= NUMBER_BYTES);
	text[len] = '\0';
	assert(number_parse_f64(str_of(text), &again) == (isfinite(value) != 0));
	if (isfinite(value)) {
		assert(memcmp(&again, &value, sizeof(value)) == 0);
		again = strtod(text, NULL);
		assert(memcmp(&again, &value, sizeof(value)) == 0);
		text[number_f64_g(text, value)] = '\0';
		again = strtod(text, NULL);
		assert(memcmp(&again, &value, sizeof(value)) == 0);
	}
}

static void
check_f32(float value)
{
	char text[NUMBER_BYTES + 1];
	size_t len = number_f32(text, value);
	float again;

	assert(len <= NUMBER_BYTES);
	text[len] = '\0';
	if (!isfinite(value))
		return;
	assert(number_parse_f32(str_of(text), &again));
	assert(memcmp(&again, &value, sizeof(value)) == 0);
	again = strtof(text, NULL);
	assert(memcmp(&again, &value, sizeof(value)) == 0);
}

static void
check_text(struct str s)
{
	char *copy = str_dup(s);
	double f64, want_f64;
	float f32, want_f32;

	assert(copy != NULL);
	if (number_parse_f64(s, &f64)) {
		want_f64 = strtod(copy, NULL);
		assert(memcmp(&f64, &want_f64, sizeof(f64)) == 0);
		assert(number_parse_f32(s, &f32));
		want_f32 = strtof(copy, NULL);
		assert(memcmp(&f32, &want_f32, sizeof(f32)) == 0);
		check_f64(f64);
		check_f32(f32);
	} else {
		assert(!number_parse_f32(s, &f32));
	}
	free(copy);
}

/* strtod takes all that samples may be, and more. */
static void
check_sample(struct str s)
{
	char *copy = str_dup(s);
	double value, want;

	assert(copy != NULL);
	if (number_parse_sample(s, &value)) {
		want = strtod(copy, NULL);
		assert(memcmp(&value, &want, sizeof(value)) == 0);
	} else {
		assert(!number_parse_f64(s, &value));
	}
	free(copy);
}

static void
check_time(struct str s, int64_t per_second)
{
	char text[NUMBER_BYTES];
	int64_t ns, again;

	if (!number_parse_time(s, per_second, &ns))
		return;
	s = (struct str){ text, number_time(text, ns, per_second) };
	assert(s.len <= sizeof(text));
	assert(number_parse_time(s, per_second, &again) && again == ns);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str s = { (const char *)data, size };
	double f64 = 0;
	float f32 = 0;

	check_text(s);
	check_sample(s);
	check_time(s, 1);
	check_time(s, 1000);
	memcpy(&f64, data, size < sizeof(f64) ? size : sizeof(f64));
	memcpy(&f32, data, size < sizeof(f32) ? size : sizeof(f32));
	check_f64(f64);
	check_f32(f32);
	return 0;
}
