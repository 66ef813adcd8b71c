/*
 * Rows: exact bytes of small ones, round trips of every class and every way to change, corrupt
 * ones, and random histories walked back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fault.h"
#include "store/pace_priv.h"
#include "store/row_each_priv.h"

/* One row to be encoded: what row_encode takes. */
struct poll {
	struct row_late late;
	uint32_t len_before, len_after;
	const uint8_t *classes;
	const struct row_change *changes;
	size_t n;
};

static uint64_t seed;

static uint64_t
random_u64(void)
{
	seed += UINT64_C(0x9e3779b97f4a7c15);
	uint64_t v = seed;

	v = (v ^ v >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	v = (v ^ v >> 27) * UINT64_C(0x94d049bb133111eb);
	return v ^ v >> 31;
}

static uint64_t
random_below(uint64_t n)
{
	return random_u64() % n;
}

static uint64_t
bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static double
double_of(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* The bits of the float next to value. Volatile: see decimal_bits of row.c. */
static uint64_t
bits_of_float(double value)
{
	volatile float rounded = (float)value;

	return bits_of((double)rounded);
}

static uint64_t
bits_of_dist(struct row_dist *dist)
{
	return (uintptr_t)dist;
}

static const struct row_dist *
dist_of(uint64_t bits)
{
	return (const struct row_dist *)(uintptr_t)bits;
}

/* Copies the bytes to a block that ends with the slack, so that a sanitizer sees a read beyond. */
static uint8_t *
with_slack(const void *bytes, size_t len)
{
	uint8_t *p = malloc(len + ROW_SLACK);

	assert_non_null(p);
	memcpy(p, bytes, len);
	memset(p + len, 0xa7, ROW_SLACK);
	return p;
}

static int
encode(struct buf *out, const struct poll *poll)
{
	return row_encode(out, poll->late, poll->len_before, poll->len_after, poll->classes,
	    poll->changes, poll->n);
}

static void
check_dist(const struct row_undo *undo, const struct row_change *change)
{
	const struct row_dist *before = dist_of(change->before), *after = dist_of(change->after);
	size_t bytes = after->len * sizeof(*after->counts);
	struct row_dist got = *after;

	got.counts = malloc(bytes + 1);
	assert_non_null(got.counts);
	memcpy(got.counts, after->counts, bytes);
	assert_true(row_dist_before(undo, &got, &got, NULL));
	assert_true(got.rollovers == before->rollovers);
	assert_true(bits_of(got.sum) == bits_of(before->sum));
	assert_memory_equal(got.counts, before->counts, bytes);
	free(got.counts);
}

static void
check_undo(const struct row_undo *undo, const struct poll *poll, const struct row_change *change)
{
	enum row_class class = (enum row_class)poll->classes[change->at];

	assert_int_equal(undo->at, change->at);
	assert_int_equal(undo->how, change->how);
	if (class == ROW_REF || change->how == ROW_BORN || change->how == ROW_FLIP)
		return;
	if (class == ROW_DIST)
		check_dist(undo, change);
	else if (row_before(undo, class, change->after) != change->before)
		fail_msg("class %d, position %u: %a after %a came back as %a", (int)class,
		    (unsigned)change->at, double_of(change->before), double_of(change->after),
		    double_of(row_before(undo, class, change->after)));
}

static void
check_row(const uint8_t *p, size_t len, const struct poll *poll)
{
	struct row_undo undo;
	struct row row;
	size_t i = 0;

	assert_int_equal(row_open(&row, p, len, poll->len_after), 0);
	assert_int_equal(row.bytes, len);
	assert_true(row.late.units == poll->late.units && row.late.unit == poll->late.unit);
	assert_int_equal(row.len_before, poll->len_before);
	assert_int_equal(row.change_count, poll->n);
	for (; row_next(&row, &undo); i++)
		check_undo(&undo, poll, &poll->changes[i]);
	assert_int_equal(i, poll->n);
	i = 0;
	for (uint32_t at = 0; at <= poll->len_before; at++) {
		bool changed = i < poll->n && poll->changes[i].at == at;

		assert_int_equal(row_find(&row, at, &undo), changed);
		if (changed)
			check_undo(&undo, poll, &poll->changes[i++]);
	}
}

/* Both rows are those that are encoded one by one. */
static void
check_both(const struct poll *poll)
{
	struct row_change *exchanged = malloc((poll->n + 1) * sizeof(*exchanged));
	struct buf undo, redo, one;

	assert_non_null(exchanged);
	for (size_t i = 0; i < poll->n; i++) {
		exchanged[i] = poll->changes[i];
		exchanged[i].before = poll->changes[i].after;
		exchanged[i].after = poll->changes[i].before;
	}
	buf_init(&undo, 0);
	buf_init(&redo, 0);
	buf_init(&one, 0);
	assert_int_equal(row_encode_both(&undo, &redo, poll->late, poll->len_before,
	                     poll->len_after, poll->classes, poll->changes, poll->n),
	    0);
	assert_int_equal(encode(&one, poll), 0);
	assert_int_equal(undo.len, one.len);
	assert_memory_equal(undo.p, one.p, one.len);
	buf_clear(&one);
	assert_int_equal(row_encode(&one, (struct row_late){ 0, ROW_SAME }, poll->len_before,
	                     poll->len_before, poll->classes, exchanged, poll->n),
	    0);
	assert_int_equal(redo.len, one.len);
	assert_memory_equal(redo.p, one.p, one.len);
	buf_fini(&undo);
	buf_fini(&redo);
	buf_fini(&one);
	free(exchanged);
}

/* Encodes behind other bytes, decodes before other bytes. Returns the length. */
static size_t
check_round_trip(const struct poll *poll)
{
	struct buf out;
	uint8_t *p;
	size_t len;

	buf_init(&out, 0);
	buf_puts(&out, "abc");
	assert_int_equal(encode(&out, poll), 0);
	assert_memory_equal(out.p, "abc", 3);
	check_both(poll);
	len = out.len - 3;
	p = with_slack(out.p + 3, len);
	check_row(p, len, poll);
	free(p);
	buf_fini(&out);
	return len;
}

/* One position of four that changes. */
static size_t
check_change(enum row_class class, enum row_how how, uint64_t before, uint64_t after)
{
	uint8_t classes[4] = { 0 };
	struct row_change change = {
		.at = 2, .how = (uint8_t)how, .before = before, .after = after
	};
	struct poll poll = { { 0, ROW_SAME }, 4, 4, classes, &change, 1 };

	classes[2] = (uint8_t) class;
	return check_round_trip(&poll);
}

#define BYTES(...) .bytes = { __VA_ARGS__ }, .len = sizeof((uint8_t[]){ __VA_ARGS__ })

static uint64_t five_seven[] = { 5, 7 }, six_seven[] = { 6, 7 };
static struct row_dist dist_before = { 1, 1.0, 2, five_seven };
static struct row_dist dist_after = { 1, 2.5, 2, six_seven };

/* At most one change. */
static const struct {
	int64_t late;
	uint32_t len_before, len_after;
	enum row_class class;
	int how; /* -1: no change */
	uint32_t at;
	double before, after; /* the bits, but for ROW_INT its value */
	size_t len;
	uint8_t bytes[12];
} exact[] = {
	{ 0, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x00) },
	{ -1, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x04) },
	{ 1, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x14) },
	{ 32, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0xf6) },
	{ -33, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x0a, 65) },
	{ 1000, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x7a, 0xd0) },
	{ 1024, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x8a, 0, 8) },
	{ -10000000, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x1e, 0xff, 0x2c, 0x31) },
	{ 1 << 30, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x8e, 0, 0, 0, 0x80) },
	{ INT64_C(1) << 34, 5, 5, ROW_INT, -1, 0, 0, 0, BYTES(0x90, 0, 0, 0, 0, 0x08) },
	{ INT64_MIN, 5, 5, ROW_INT, -1, 0, 0, 0,
	    BYTES(0xf0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff) },
	{ -1, 0, 3, ROW_INT, -1, 0, 0, 0, BYTES(0x12, 0x11, 0x03) },
	{ 0, 0, 3, ROW_INT, -1, 0, 0, 0, BYTES(0x02, 0x31) },
	{ 0, 0, 17, ROW_INT, -1, 0, 0, 0, BYTES(0x02, 0x12, 0x01) },
	{ 0, 4, 4, ROW_INT, ROW_SET, 0, 7, 8, BYTES(0x01, 0x11, 0x02) },
	{ 0, 4, 4, ROW_INT, ROW_SET, 0, 8, 7, BYTES(0x01, 0x11, 0x01) },
	{ 0, 200, 200, ROW_INT, ROW_SET, 100, 7, 8, BYTES(0x09, 0x31, 0xcc, 0x11, 0x02) },
	{ 0, 4, 4, ROW_INT, ROW_FLIP, 1, 7, 7, BYTES(0x01, 0x02) },
	{ 0, 4, 4, ROW_INT, ROW_BORN, 3, 0, 7, BYTES(0x05, 0xf8, 0x02) },
	{ 0, 4, 4, ROW_INT, ROW_WAKE, 0, 7, 8, BYTES(0x05, 0xf1, 0x11, 0x02) },
	{ 0, 4, 4, ROW_INT, ROW_SET, 0, 1, 0x1p62, BYTES(0x05, 0xe1, 0x01, 0, 0, 0, 0, 0, 0, 0) },
	{ 0, 4, 4, ROW_F64, ROW_SET, 0, 0.25, 0.3, BYTES(0x01, 0x21, 0x52) },
	{ 0, 4, 4, ROW_F64, ROW_SET, 0, 0.0, -0.0, BYTES(0x01, 0x31, 0x07, 0x04) },
	{ 0, 4, 4, ROW_F32, ROW_SET, 0, (double)0.1F, (double)0.2F, BYTES(0x01, 0x21, 0x11) },
	{ 0, 4, 4, ROW_REF, ROW_SET, 0, 0, 0, BYTES(0x01, 0x11, 0x00) },
	{ 0, 4, 4, ROW_DIST, ROW_SET, 0, 0, 0,
	    BYTES(0x05, 0xf1, 0x10, 0x19, 0x02, 0x12, 0x1f, 0x20) },
};

static void
small_rows_have_these_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(exact); i++) {
		uint8_t classes[200];
		struct row_change change = { .at = exact[i].at, .how = (uint8_t)exact[i].how };
		struct poll poll = { { exact[i].late, ROW_SAME }, exact[i].len_before,
			exact[i].len_after, classes, &change, exact[i].how >= 0 };
		struct buf out;

		memset(classes, (int)exact[i].class, sizeof(classes));
		if (exact[i].class == ROW_INT) {
			change.before = (uint64_t)exact[i].before;
			change.after = (uint64_t)exact[i].after;
		} else if (exact[i].class == ROW_DIST) {
			change.before = bits_of_dist(&dist_before);
			change.after = bits_of_dist(&dist_after);
		} else {
			change.before = bits_of(exact[i].before);
			change.after = bits_of(exact[i].after);
		}
		buf_init(&out, 0);
		assert_int_equal(encode(&out, &poll), 0);
		if (out.len != exact[i].len || memcmp(out.p, exact[i].bytes, out.len) != 0)
			fail_msg("row %zu: other bytes", i);
		buf_fini(&out);
		check_round_trip(&poll);
	}
}

static void
each_kind_has_its_class(void **state)
{
	(void)state;
	assert_int_equal(row_class_of(KIND_BOOL), ROW_INT);
	assert_int_equal(row_class_of(KIND_INT8), ROW_INT);
	assert_int_equal(row_class_of(KIND_UINT64), ROW_INT);
	assert_int_equal(row_class_of(KIND_TIME), ROW_INT);
	assert_int_equal(row_class_of(KIND_DURATION), ROW_INT);
	assert_int_equal(row_class_of(KIND_FLOAT32), ROW_F32);
	assert_int_equal(row_class_of(KIND_FLOAT64), ROW_F64);
	assert_int_equal(row_class_of(KIND_STRING), ROW_REF);
	assert_int_equal(row_class_of(KIND_LIST), ROW_REF);
	assert_int_equal(row_class_of(KIND_DIST), ROW_DIST);
}

/* Alone in its row, and with births. */
static void
check_late(int64_t units, enum row_unit unit)
{
	check_round_trip(&(struct poll){ .late = { units, unit } });
	check_round_trip(&(struct poll){ .late = { units, unit }, .len_after = 3 });
}

static void
any_lateness_comes_back(void **state)
{
	(void)state;
	for (enum row_unit unit = ROW_NS; unit <= ROW_SAME; unit++) {
		for (int bit = 0; bit < 63; bit++) {
			for (int64_t off = -1; off <= 1; off++) {
				check_late((INT64_C(1) << bit) + off, unit);
				check_late(-(INT64_C(1) << bit) - off, unit);
			}
		}
		for (int64_t units = -70; units <= 70; units++)
			check_late(units, unit);
		check_late(INT64_MAX, unit);
		check_late(INT64_MIN, unit);
	}
	check_late(0, ROW_PATCH);
}

static void
any_count_of_births_comes_back(void **state)
{
	static const uint32_t lens[] = { 0, 1, 15, 16, 255, 256, 65536, UINT32_MAX };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		check_round_trip(&(struct poll){ .len_after = lens[i] });
}

static void
any_int_comes_back(void **state)
{
	static const uint64_t values[] = { 0, 1, 2, 7, 8, 255, 1000, UINT32_MAX, INT64_MAX,
		UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 1, 1U << 25, UINT64_C(1) << 51,
		(UINT64_C(1) << 51) - 1, (UINT64_C(1) << 51) + 1, UINT64_C(1) << 52 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		for (size_t k = 0; k < ARRAY_LEN(values); k++) {
			check_change(ROW_INT, ROW_SET, values[i], values[k]);
			check_change(ROW_INT, ROW_WAKE, values[i], values[k]);
		}
}

static void
any_float_comes_back(void **state)
{
	static const uint64_t nans[] = { UINT64_C(0x7ff8000000000000), UINT64_C(0xfff8000000000000),
		UINT64_C(0x7ff8000000000001), UINT64_C(0x7ff0000000000001),
		UINT64_C(0x7fffffffffffffff) };
	static const double values[] = { 0.0, -0.0, 1, -1, 0.1, 0.2, 0.3, -12.34, 12.35, 99.999,
		0.0001, 1234.56789, 0.123456, -0.000001, 1e6, 1e15, 1e15 + 0.25, 0x1p49, 0x1p50 - 1,
		0x1p50, 0x1p50 + 1, 0x1p53, 0x1p63, 1e300, -1e300, DBL_MAX, DBL_MIN, 0x1p-1074,
		-0x1p-1074, 0x1p-1040, 1.0 / 3, 2.0 / 3, INFINITY, -INFINITY, 4194303.5, 4194304.5,
		1125899906.842624 };
	uint64_t bits[ARRAY_LEN(nans) + ARRAY_LEN(values)];
	size_t n = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nans); i++)
		bits[n++] = nans[i];
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		bits[n++] = bits_of(values[i]);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			check_change(ROW_F64, ROW_SET, bits[i], bits[k]);
			check_change(ROW_F64, ROW_WAKE, bits[i], bits[k]);
		}
}

static void
any_float32_comes_back(void **state)
{
	static const double values[] = { 0.0, -0.0, 1, -1, 0.1, 0.2, 0.3, -12.34, 12.35, 99.999,
		0.0001, 0.123456, 1e6, 16777215, 16777216, 4194303.5, 4194304.5, 419430.3, 419430.4,
		(double)FLT_MAX, (double)FLT_MIN, 0x1p-149, -0x1p-149, 1.0 / 3, INFINITY, -INFINITY,
		NAN, -NAN };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		for (size_t k = 0; k < ARRAY_LEN(values); k++) {
			uint64_t before = bits_of_float(values[i]),
			         after = bits_of_float(values[k]);

			check_change(ROW_F32, ROW_SET, before, after);
			check_change(ROW_F32, ROW_WAKE, before, after);
		}
}

/* Four nibbles of flags, time, bitmap, code; then 3 bits and the folded difference. */
static void
decimals_are_as_short_as_their_difference(void **state)
{
	double scale = 1;

	(void)state;
	for (unsigned digits = 0; digits <= 6; digits++, scale *= 10) {
		for (double m = 1; m < 1e9; m = m * 10 + 3)
			assert_in_range(check_change(ROW_F64, ROW_SET, bits_of(m / scale),
			                    bits_of((m - 50) / scale)),
			    4, 5);
		for (double m = 1; m < 4194304; m = m * 10 + 3)
			assert_in_range(check_change(ROW_F32, ROW_SET, bits_of_float(m / scale),
			                    bits_of_float((m - 50) / scale)),
			    4, 5);
	}
	/* Binary fractions and floats that are no decimals: no more than their digits. */
	assert_in_range(
	    check_change(ROW_F64, ROW_SET, bits_of(0x1.8p-20), bits_of(0x1.cp-20)), 4, 5);
	assert_in_range(
	    check_change(ROW_F32, ROW_SET, bits_of_float(1.0 / 3), bits_of_float(1.0 / 7)), 4, 8);
}

static void
flips_births_and_references_come_back(void **state)
{
	static const enum row_class classes[] = { ROW_INT, ROW_F64, ROW_F32, ROW_REF, ROW_DIST };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
		check_change(classes[i], ROW_FLIP, 0, 0);
		check_change(classes[i], ROW_BORN, 0, 0);
	}
	check_change(ROW_REF, ROW_SET, 0, 0);
	check_change(ROW_REF, ROW_WAKE, 0, 0);
}

static void
flips_and_births_leave_the_bits(void **state)
{
	struct row_change changes[] = { { 0, ROW_FLIP, 5, 5 }, { 1, ROW_BORN, 0, 6 } };
	uint8_t classes[2] = { ROW_INT, ROW_F64 };
	struct poll poll = { { 0, ROW_SAME }, 2, 2, classes, changes, 2 };
	struct row_undo undo = { 0 };
	struct buf out;
	struct row row;
	uint8_t *p;

	(void)state;
	buf_init(&out, 0);
	assert_int_equal(encode(&out, &poll), 0);
	p = with_slack(out.p, out.len);
	assert_int_equal(row_open(&row, p, out.len, 2), 0);
	assert_true(row_next(&row, &undo));
	assert_int_equal(row_before(&undo, ROW_INT, 5), 5);
	assert_true(row_next(&row, &undo));
	assert_int_equal(row_before(&undo, ROW_F64, 6), 6);
	free(p);
	buf_fini(&out);
}

static void
distributions_come_back(void **state)
{
	static const size_t lens[] = { 0, 1, 2, 15, 16, 17, 33, 1000 };
	static uint64_t before_counts[1000], after_counts[1000];

	(void)state;
	seed = 1;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		for (unsigned bits = 0; bits <= 64; bits++) {
			uint64_t most = bits == 0 ? 0 : UINT64_MAX >> (64 - bits);
			struct row_dist before = { random_u64() & most, 0.5, lens[i],
				before_counts };
			struct row_dist after = { random_u64() & most, 1e300, lens[i],
				after_counts };

			for (size_t k = 0; k < lens[i]; k++) {
				before_counts[k] = random_u64();
				after_counts[k] = before_counts[k] + (random_u64() & most);
			}
			check_change(
			    ROW_DIST, ROW_SET, bits_of_dist(&before), bits_of_dist(&after));
			check_change(
			    ROW_DIST, ROW_WAKE, bits_of_dist(&before), bits_of_dist(&after));
			after.sum = 0.75;
			check_change(
			    ROW_DIST, ROW_SET, bits_of_dist(&before), bits_of_dist(&after));
			after.sum = NAN;
			check_change(
			    ROW_DIST, ROW_SET, bits_of_dist(&before), bits_of_dist(&after));
		}
}

static void
a_distribution_of_another_length_is_left_alone(void **state)
{
	uint64_t counts[] = { 1, 2, 3 };
	struct row_dist dist = { 4, 5.0, 3, counts };
	struct row_undo undo = { 0 };
	struct row row;
	uint8_t *p = with_slack(exact[ARRAY_LEN(exact) - 1].bytes, exact[ARRAY_LEN(exact) - 1].len);

	(void)state;
	assert_int_equal(row_open(&row, p, exact[ARRAY_LEN(exact) - 1].len, 4), 0);
	assert_true(row_next(&row, &undo));
	assert_false(row_dist_before(&undo, &dist, &dist, NULL));
	dist.len = 1;
	assert_false(row_dist_before(&undo, &dist, &dist, NULL));
	assert_true(dist.rollovers == 4 && dist.sum == 5.0 && counts[0] == 1 && counts[1] == 2);
	/* Nor does it lead to bits. */
	assert_int_equal(row_before(&undo, ROW_INT, 7), 7);
	free(p);
}

/* Positions [0, len) of which each that divides into step changed, plus one at the end. */
static void
check_pattern(uint32_t len, uint32_t step, bool special)
{
	uint8_t *classes = calloc(len + 1, 1);
	struct row_change *changes = calloc(len + 1, sizeof(*changes));
	struct poll poll = { { 0, ROW_SAME }, len, len + 1, classes, changes, 0 };

	assert_true(classes != NULL && changes != NULL);
	for (uint32_t at = 0; at < len; at++)
		if (at % step == 0 || at == len - 1)
			changes[poll.n++] = (struct row_change){ .at = at,
				.how = special && at % 3 == 0 ? ROW_WAKE : ROW_SET,
				.before = random_u64() >> random_below(64),
				.after = random_u64() >> random_below(64) };
	check_round_trip(&poll);
	free(changes);
	free(classes);
}

static void
changes_are_found_in_rows_of_any_density(void **state)
{
	static const uint32_t lens[] = { 1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 1000,
		5000 };

	(void)state;
	seed = 2;
	for (size_t i = 0; i < ARRAY_LEN(lens); i++)
		for (uint32_t step = 1; step <= lens[i] * 2; step += 1 + step / 4) {
			check_pattern(lens[i], step, false);
			check_pattern(lens[i], step, true);
		}
}

static void
the_last_of_four_billion_positions_is_found(void **state)
{
	uint8_t bytes[] = { 0x09, 0xb1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0x13, 0x02 };
	uint8_t *p = with_slack(bytes, sizeof(bytes));
	struct row_undo undo = { 0 };
	struct row row;

	(void)state;
	assert_int_equal(row_open(&row, p, sizeof(bytes), UINT32_MAX), 0);
	assert_int_equal(row.change_count, 1);
	assert_true(row_next(&row, &undo));
	assert_int_equal(undo.at, UINT32_MAX - 1);
	assert_true(row_find(&row, UINT32_MAX - 1, &undo));
	assert_false(row_find(&row, UINT32_MAX - 2, &undo));
	assert_false(row_find(&row, 0, &undo));
	free(p);
}

/* Of four positions after the row. */
static const struct {
	const char *why;
	size_t len;
	uint8_t bytes[12];
} corrupt[] = {
	{ "no bytes", 0, { 0 } },
	{ "quiet time cut short", 4, { 0x9e, 1, 2, 3 } },
	{ "time cut short", 2, { 0x40, 0x11 } },
	{ "time of 64 bits cut short", 8, { 0xf0, 1, 2, 3, 4, 5, 6, 7 } },
	{ "unit cut short", 1, { 0x10 } },
	{ "time of a unit cut short", 2, { 0x10, 0x10 } },
	{ "a unit that is the row's", 3, { 0x10, 0x40, 0x00 } },
	{ "no unit", 3, { 0x10, 0x60, 0x00 } },
	{ "births cut short", 1, { 0x02 } },
	{ "more births than positions", 2, { 0x02, 0x51 } },
	{ "births of 64 bits", 10, { 0x02, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f } },
	{ "no positions to change", 4, { 0x03, 0x41, 0x11, 0x02 } },
	{ "an empty bitmap", 3, { 0x01, 0x00, 0x00 } },
	{ "a bit of no position", 4, { 0x03, 0x11, 0x18, 0x02 } },
	{ "codes cut short", 2, { 0x01, 0x1f } },
	{ "payload cut short", 3, { 0x01, 0x41, 0x02 } },
	{ "bits cut short", 9, { 0x05, 0xe1, 0 } },
	{ "wide code without its flag", 10, { 0x01, 0xe1, 0 } },
	{ "special code without its flag", 3, { 0x01, 0xf1, 0x02 } },
	{ "unknown special payload", 3, { 0x05, 0xf1, 0x04 } },
	{ "wakes with no payload", 3, { 0x05, 0xf1, 0x01 } },
	{ "wakes with a special payload", 3, { 0x05, 0xf1, 0xf1 } },
	{ "special payload beyond the end", 2, { 0x05, 0xf1 } },
	{ "distribution cut short", 7, { 0x05, 0xf1, 0x10, 0x19, 0x02, 0x12, 0x1f } },
	{ "distribution of more than 32 bits", 12, { 0x05, 0xf1, 0x90, 0 } },
	{ "no gaps", 2, { 0x09, 0x00 } },
	{ "gaps cut short", 2, { 0x09, 0x71 } },
	{ "a gap without end", 4, { 0x09, 0x11, 0x18, 0x02 } },
	{ "gaps beyond the positions", 4, { 0x09, 0x11, 0x14, 0x02 } },
};

static void
ignore_difference(void *arg, uint32_t at, uint64_t payload)
{
	(void)arg;
	(void)at;
	(void)payload;
}

static void
ignore_other(void *arg, const struct row_undo *undo)
{
	(void)arg;
	(void)undo;
}

/* Of a row that is only begun, its end being found on the way. */
static bool
goes_through(const uint8_t *p, size_t len, uint32_t len_after)
{
	struct row row;

	return row_begin(&row, p, len, len_after) == 0 &&
	       (row.change_count == 0 || row_each(&row, ignore_difference, ignore_other, NULL));
}

static void
corrupt_rows_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(corrupt); i++) {
		uint8_t *p = with_slack(corrupt[i].bytes, corrupt[i].len);
		struct row row;

		if (row_open(&row, p, corrupt[i].len, 4) != -1)
			fail_msg("taken: %s", corrupt[i].why);
		if (goes_through(p, corrupt[i].len, 4))
			fail_msg("gone through: %s", corrupt[i].why);
		free(p);
	}
}

static void
a_row_cut_short_is_refused(void **state)
{
	uint64_t before_counts[] = { 1, 2, 3, UINT64_MAX }, after_counts[] = { 1, 5, 3, 4 };
	struct row_dist before = { 1, 0.1, 4, before_counts }, after = { 2, 0.2, 4, after_counts };
	uint8_t classes[80] = { ROW_INT, ROW_F64, ROW_REF, ROW_DIST, ROW_INT };
	struct row_change changes[] = {
		{ 0, ROW_SET, 1, UINT64_MAX / 2 },
		{ 1, ROW_WAKE, 1, 2 },
		{ 2, ROW_SET, 0, 0 },
		{ 3, ROW_SET, bits_of_dist(&before), bits_of_dist(&after) },
		{ 4, ROW_BORN, 0, 0 },
		{ 70, ROW_SET, 0, 1000 },
	};
	struct poll poll = { { 123456789, ROW_NS }, 75, 80, classes, changes, ARRAY_LEN(changes) };
	struct buf out;
	struct row row;

	(void)state;
	check_round_trip(&poll);
	buf_init(&out, 0);
	assert_int_equal(encode(&out, &poll), 0);
	for (size_t len = 0; len < out.len; len++) {
		uint8_t *p = with_slack(out.p, len);

		assert_int_equal(row_open(&row, p, len, 80), -1);
		assert_false(goes_through(p, len, 80));
		free(p);
	}
	buf_fini(&out);
}

static void
without_memory_nothing_is_added(void **state)
{
	uint8_t classes[4] = { 0 };
	struct row_change change = { 1, ROW_SET, 1, 2 };
	struct poll poll = { { 0, ROW_SAME }, 4, 4, classes, &change, 1 };
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	fault_malloc(1);
	assert_int_equal(encode(&out, &poll), -1);
	assert_true(fault_happened());
	fault_malloc(0);
	assert_true(out.failed);
	assert_int_equal(out.len, 0);
	buf_fini(&out);
	buf_init(&out, 4);
	buf_puts(&out, "ab");
	assert_int_equal(encode(&out, &poll), -1);
	assert_true(out.failed);
	assert_int_equal(out.len, 2);
	buf_fini(&out);
}

/*
 * Random histories. A state is what a stream has in memory; the states after each row are kept and
 * compared with what the rows lead back to.
 */

#define POSITIONS 320
#define BUCKETS   24
#define ROWS      40

struct state {
	struct pace pace;
	uint32_t len;
	bool exists[POSITIONS], active[POSITIONS];
	uint64_t bits[POSITIONS]; /* not of distributions */
	struct row_dist dists[POSITIONS];
	uint64_t counts[POSITIONS][BUCKETS];
};

struct history {
	uint8_t classes[POSITIONS];
	struct state states[ROWS + 1]; /* the first before any row */
	struct buf rows[ROWS];
	uint64_t refs[ROWS * POSITIONS]; /* what ROW_REF positions were: the list on the side */
	size_t ref_count;
};

static uint64_t
random_int(uint64_t before)
{
	switch (random_below(4)) {
	case 0:
		return random_u64();
	case 1:
		return random_u64() >> random_below(64);
	case 2:
		return before - random_below(100);
	default:
		return before + random_below(1000);
	}
}

static double
random_double(double before)
{
	static const double odd[] = { 0.0, -0.0, INFINITY, -INFINITY, 1e300, 0x1p-1074, 1.0 / 3 };
	double scale = 1;

	for (uint64_t digits = random_below(7); digits > 0; digits--)
		scale *= 10;
	switch (random_below(6)) {
	case 0:
		return double_of(random_u64());
	case 1:
		return odd[random_below(ARRAY_LEN(odd))];
	case 2:
		return before + (double)random_below(100) / 100;
	default:
		return ((double)random_below(2000000) - 1000000) / scale;
	}
}

static uint64_t
random_bits(enum row_class class, uint64_t before)
{
	switch (class) {
	case ROW_F64:
		return bits_of(random_double(double_of(before)));
	case ROW_F32:
		return bits_of_float(random_double(double_of(before)));
	case ROW_INT:
	case ROW_REF:
	case ROW_DIST:
		break;
	}
	return random_int(before);
}

static void
random_dist(struct row_dist *dist)
{
	dist->sum = random_double(dist->sum);
	dist->rollovers += random_below(5) == 0;
	for (size_t i = 0; i < dist->len; i++)
		if (random_below(3) == 0)
			dist->counts[i] = random_int(dist->counts[i]);
}

/* Copies a state; its distributions point to counts of their own. */
static void
state_copy(struct state *to, const struct state *from)
{
	*to = *from;
	for (size_t i = 0; i < POSITIONS; i++)
		to->dists[i].counts = to->counts[i];
}

static void
history_begin(struct history *history)
{
	struct state *first = &history->states[0];

	history->ref_count = 0;
	memset(first, 0, sizeof(*first));
	pace_begin(&first->pace, (int64_t)random_below(UINT64_C(2) << 60));
	first->len = (uint32_t)random_below(random_below(4) == 0 ? 250 : 40);
	for (uint32_t i = 0; i < POSITIONS; i++) {
		history->classes[i] = (uint8_t)random_below(5);
		first->exists[i] = i < first->len && random_below(10) != 0;
		first->active[i] = first->exists[i] && random_below(10) != 0;
		first->bits[i] = random_bits((enum row_class)history->classes[i], 0);
		first->dists[i].len = random_below(BUCKETS + 1);
	}
	state_copy(first, first);
}

/* What happens to a position that changes. */
static enum row_how
random_how(const struct state *before, uint32_t at)
{
	if (!before->exists[at])
		return ROW_BORN;
	if (!before->active[at])
		return random_below(2) == 0 ? ROW_FLIP : ROW_WAKE;
	return random_below(12) == 0 ? ROW_FLIP : ROW_SET;
}

static void
change_position(struct history *history, const struct state *before, struct state *after,
    struct row_change *change)
{
	uint32_t at = change->at;
	enum row_class class = (enum row_class)history->classes[at];
	enum row_how how = random_how(before, at);

	change->how = (uint8_t)how;
	after->exists[at] = true;
	after->active[at] = how == ROW_FLIP ? !before->active[at] : true;
	if (how != ROW_FLIP && class == ROW_DIST)
		random_dist(&after->dists[at]);
	else if (how != ROW_FLIP)
		after->bits[at] = random_bits(class, before->bits[at]);
	if ((how == ROW_SET || how == ROW_WAKE) && class == ROW_REF)
		history->refs[history->ref_count++] = before->bits[at];
	change->before = class == ROW_DIST ? (uintptr_t)&before->dists[at] : before->bits[at];
	change->after = class == ROW_DIST ? (uintptr_t)&after->dists[at] : after->bits[at];
}

/* Adds row i, which leads from state i to state i + 1. Returns the number of changes. */
static size_t
history_add(struct history *history, size_t i)
{
	static struct row_change changes[POSITIONS];
	const struct state *before = &history->states[i];
	struct state *after = &history->states[i + 1];
	uint64_t percent = random_below(3) == 0 ? random_below(5) : random_below(101);
	uint32_t births = random_below(8) == 0 ? (uint32_t)random_below(20) : 0;
	struct row_late late;
	size_t n = 0;

	state_copy(after, before);
	late = pace_advance(&after->pace,
	    pace_ts(&before->pace) + (random_below(4) == 0
	                                     ? 1 + (int64_t)random_below(UINT64_C(1) << 50)
	                                     : 30000000000));
	for (uint32_t at = 0; at < before->len; at++) {
		if (random_below(100) >= percent)
			continue;
		changes[n].at = at;
		change_position(history, before, after, &changes[n++]);
	}
	for (; births > 0 && after->len < POSITIONS; births--, after->len++) {
		after->exists[after->len] = true;
		after->active[after->len] = true;
	}
	buf_clear(&history->rows[i]);
	assert_int_equal(row_encode(&history->rows[i], late, before->len, after->len,
	                     history->classes, changes, n),
	    0);
	return n;
}

static void
undo_position(struct history *history, struct state *now, const struct row_undo *undo)
{
	enum row_class class = (enum row_class)history->classes[undo->at];
	uint32_t at = undo->at;

	switch ((enum row_how)undo->how) {
	case ROW_BORN:
		now->exists[at] = false;
		now->active[at] = false;
		return;
	case ROW_FLIP:
		now->active[at] = !now->active[at];
		return;
	case ROW_WAKE:
		now->active[at] = false;
		break;
	case ROW_SET:
		break;
	}
	if (class == ROW_DIST)
		assert_true(row_dist_before(undo, &now->dists[at], &now->dists[at], NULL));
	else if (class == ROW_REF)
		now->bits[at] = history->refs[--history->ref_count];
	else
		now->bits[at] = row_before(undo, class, now->bits[at]);
}

/* What row_each is to give. */
struct expected {
	const struct row_undo *undos;
	size_t n, at;
};

static void
check_other(void *arg, const struct row_undo *undo)
{
	struct expected *all = arg;
	const struct row_undo *expected = &all->undos[all->at++];

	assert_true(all->at <= all->n);
	assert_int_equal(undo->at, expected->at);
	assert_int_equal(undo->how, expected->how);
	assert_int_equal(undo->form, expected->form);
	assert_true(undo->form == ROW_NOTHING || undo->payload == expected->payload);
}

static void
check_difference(void *arg, uint32_t at, uint64_t payload)
{
	check_other(
	    arg, &(struct row_undo){
	             .at = at, .how = ROW_SET, .form = ROW_DIFFERENCE, .payload = payload });
}

static void
check_each(const struct row *row, const struct row_undo *undos, size_t n)
{
	struct expected expected = { undos, n, 0 };
	struct row begun = *row;

	begun.bytes = 0;
	assert_true(row_each(&begun, check_difference, check_other, &expected));
	assert_int_equal(expected.at, n);
	assert_int_equal(begun.bytes, row->bytes);
}

/* Each position alone: the answer may be wrong only for gaps, and only that it may have changed. */
static void
check_may_change(const struct row *row, const struct row_undo *undos, size_t n)
{
	uint64_t bits[POSITIONS / 64 + 1] = { 0 };
	size_t i = 0;

	for (uint32_t at = 0; at < row->len_before; at++) {
		bool changed = i < n && undos[i].at == at;

		bits[at / 64] = UINT64_C(1) << at % 64;
		assert_true(row_may_change(row, bits) == (changed || row->sparse));
		bits[at / 64] = 0;
		i += changed;
	}
}

/* Undoes all changes of a row, last position first as the list on the side is read from its end. */
static void
undo_changes(struct history *history, struct state *now, struct row *row)
{
	static struct row_undo undos[POSITIONS];
	struct row opened = *row;
	struct row_undo found;
	size_t n = 0;

	while (row_next(row, &undos[n]))
		n++;
	assert_int_equal(n, row->change_count);
	if (n > 0) {
		check_each(&opened, undos, n);
		check_may_change(&opened, undos, n);
	}
	for (uint32_t at = now->len; at-- > 0;) {
		bool changed = n > 0 && undos[n - 1].at == at;

		assert_int_equal(row_find(row, at, &found), changed);
		if (changed)
			undo_position(history, now, random_below(2) == 0 ? &found : &undos[n - 1]);
		n -= changed;
	}
	assert_int_equal(n, 0);
}

static void
check_state(const struct history *history, const struct state *got, const struct state *want)
{
	assert_true(pace_ts(&got->pace) == pace_ts(&want->pace));
	assert_int_equal(got->len, want->len);
	for (uint32_t at = 0; at < want->len; at++) {
		assert_int_equal(got->exists[at], want->exists[at]);
		assert_int_equal(got->active[at], want->active[at]);
		if (!want->exists[at])
			continue;
		if (history->classes[at] != ROW_DIST) {
			assert_true(got->bits[at] == want->bits[at]);
			continue;
		}
		assert_true(got->dists[at].rollovers == want->dists[at].rollovers);
		assert_true(bits_of(got->dists[at].sum) == bits_of(want->dists[at].sum));
		assert_memory_equal(got->counts[at], want->counts[at], sizeof(want->counts[at]));
	}
}

static void
walk_back(struct history *history)
{
	static struct state now;

	state_copy(&now, &history->states[ROWS]);
	for (size_t i = ROWS; i-- > 0;) {
		struct buf *bytes = &history->rows[i];
		uint8_t *p = with_slack(bytes->p, bytes->len);
		struct row row;

		assert_int_equal(row_open(&row, p, bytes->len, now.len), 0);
		assert_int_equal(row.bytes, bytes->len);
		now.len = row.len_before;
		undo_changes(history, &now, &row);
		pace_undo(&now.pace, row.late);
		check_state(history, &now, &history->states[i]);
		free(p);
	}
	assert_int_equal(history->ref_count, 0);
}

static void
rows_lead_back_to_every_state(void **state)
{
	static struct history history;
	size_t changes = 0;

	(void)state;
	for (uint64_t round = 1; changes < 2000000; round++) {
		seed = round;
		history_begin(&history);
		for (size_t i = 0; i < ROWS; i++)
			changes += history_add(&history, i);
		walk_back(&history);
	}
	for (size_t i = 0; i < ROWS; i++)
		buf_fini(&history.rows[i]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_rows_have_these_bytes),
		cmocka_unit_test(each_kind_has_its_class),
		cmocka_unit_test(any_lateness_comes_back),
		cmocka_unit_test(any_count_of_births_comes_back),
		cmocka_unit_test(any_int_comes_back),
		cmocka_unit_test(any_float_comes_back),
		cmocka_unit_test(any_float32_comes_back),
		cmocka_unit_test(decimals_are_as_short_as_their_difference),
		cmocka_unit_test(flips_births_and_references_come_back),
		cmocka_unit_test(flips_and_births_leave_the_bits),
		cmocka_unit_test(distributions_come_back),
		cmocka_unit_test(a_distribution_of_another_length_is_left_alone),
		cmocka_unit_test(changes_are_found_in_rows_of_any_density),
		cmocka_unit_test(the_last_of_four_billion_positions_is_found),
		cmocka_unit_test(corrupt_rows_are_refused),
		cmocka_unit_test(a_row_cut_short_is_refused),
		cmocka_unit_test(without_memory_nothing_is_added),
		cmocka_unit_test(rows_lead_back_to_every_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
