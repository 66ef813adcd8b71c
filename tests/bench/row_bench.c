/*
 * Rows of the store: how fast polls turn into undo records and back, and what they take.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "store/pace_priv.h"

#define POSITIONS 1000 /* at most in a row */
#define ROWS      64   /* different ones per measurement, so that no branch is learnt by heart */
#define ROUNDS    300
#define TRIES     12
#define BUCKETS   20

/* How a value comes from the one before it. */
enum walk { SMALL_COUNTER, BIG_COUNTER, TWO_DECIMALS, ANY_DOUBLE, DISTRIBUTION };

/* Rows of one shape, with what they were made of and what came of them. */
struct rows {
	uint32_t len;
	uint8_t classes[POSITIONS];
	struct row_change changes[ROWS][POSITIONS];
	size_t counts[ROWS], offsets[ROWS + 1];
	size_t change_count;
	struct buf bytes;
};

static struct rows rows;
static struct row_dist dists[ROWS][2];
static uint64_t buckets[ROWS][2][BUCKETS];
static uint64_t seed = 1;
static volatile uint64_t sink; /* what keeps the compiler from dropping the work */

static uint64_t
random_below(uint64_t n)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
	return (seed >> 32 ^ seed << 16) % n;
}

static uint64_t
bits_of(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

static enum row_class
class_of(enum walk walk)
{
	switch (walk) {
	case TWO_DECIMALS:
	case ANY_DOUBLE:
		return ROW_F64;
	case DISTRIBUTION:
		return ROW_DIST;
	case SMALL_COUNTER:
	case BIG_COUNTER:
		break;
	}
	return ROW_INT;
}

/* One distribution per row in which three buckets grew. */
static void
walk_dist(size_t row, struct row_change *change)
{
	for (size_t side = 0; side < 2; side++)
		dists[row][side] = (struct row_dist){
			.rollovers = 1,
			.sum = 1e6 + 12.5 * (double)side,
			.len = BUCKETS,
			.counts = buckets[row][side],
		};
	for (size_t i = 0; i < BUCKETS; i++) {
		buckets[row][0][i] = random_below(100000);
		buckets[row][1][i] = buckets[row][0][i] + (i % 8 == row % 8 ? random_below(20) : 0);
	}
	change->before = (uintptr_t)&dists[row][0];
	change->after = (uintptr_t)&dists[row][1];
}

static void
walk_value(enum walk walk, size_t row, struct row_change *change)
{
	uint64_t start = random_below(UINT32_MAX);
	double cents = (double)random_below(100000);

	switch (walk) {
	case SMALL_COUNTER:
	case BIG_COUNTER:
		change->before = start;
		change->after = start + 1 + random_below(walk == SMALL_COUNTER ? 1000 : 1000000);
		break;
	case TWO_DECIMALS:
		change->before = bits_of(cents / 100);
		change->after = bits_of((cents + (double)random_below(101) - 50) / 100);
		break;
	case ANY_DOUBLE:
		change->before = bits_of((double)start / 12345.678);
		change->after = bits_of(cents / 12345.678);
		break;
	case DISTRIBUTION:
		walk_dist(row, change);
		break;
	}
}

static void
encode_row(size_t row)
{
	static const struct row_late on_time = { 0, ROW_SAME };

	if (row_encode(&rows.bytes, on_time, rows.len, rows.len, rows.classes, rows.changes[row],
	        rows.counts[row]) != 0)
		exit(1);
}

/* Rows of len positions, percent of which changed. */
static void
make_rows(enum walk walk, uint32_t len, unsigned percent)
{
	rows.len = len;
	rows.change_count = 0;
	memset(rows.classes, (int)class_of(walk), sizeof(rows.classes));
	buf_clear(&rows.bytes);
	for (size_t row = 0; row < ROWS; row++) {
		size_t n = 0;

		for (uint32_t at = 0; at < len; at++) {
			if (random_below(100) >= percent)
				continue;
			rows.changes[row][n] = (struct row_change){ .at = at, .how = ROW_SET };
			walk_value(walk, row, &rows.changes[row][n++]);
		}
		rows.counts[row] = n;
		rows.change_count += n;
		rows.offsets[row] = rows.bytes.len;
		encode_row(row);
	}
	rows.offsets[ROWS] = rows.bytes.len;
	if (!buf_reserve(&rows.bytes, ROW_SLACK))
		exit(1);
}

static void
open_row(struct row *row, size_t i)
{
	if (row_open(row, (uint8_t *)rows.bytes.p + rows.offsets[i],
	        rows.offsets[i + 1] - rows.offsets[i], rows.len) != 0)
		exit(1);
}

static void
encode_all(void)
{
	buf_clear(&rows.bytes);
	for (size_t row = 0; row < ROWS; row++)
		encode_row(row);
}

static void
decode_all(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ROWS; i++) {
		enum row_class class = (enum row_class)rows.classes[0];
		struct row_undo undo;
		const struct row_change *change = rows.changes[i];
		struct row row;

		open_row(&row, i);
		for (; row_next(&row, &undo); change++)
			sum += row_before(&undo, class, change->after);
	}
	sink = sum;
}

static void
decode_dists(void)
{
	for (size_t i = 0; i < ROWS; i++) {
		struct row_undo undo;
		struct row row;

		open_row(&row, i);
		while (row_next(&row, &undo))
			if (!row_dist_before(&undo, &dists[i][1], &dists[i][1], NULL))
				exit(1);
	}
}

static void
open_all(void)
{
	uint64_t sum = 0;
	struct row row;

	for (size_t i = 0; i < ROWS; i++) {
		open_row(&row, i);
		sum += row.change_count;
	}
	sink = sum;
}

/* Looks for each position that changed. */
static void
find_all(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ROWS; i++) {
		struct row_undo undo;
		struct row row;

		open_row(&row, i);
		for (size_t k = 0; k < rows.counts[i]; k++)
			if (row_find(&row, rows.changes[i][k].at, &undo))
				sum += undo.at;
	}
	sink = sum;
}

/* Nanoseconds that one call takes at best. */
static double
time_of(void (*work)(void))
{
	int64_t best_ns = INT64_MAX;

	for (int i = 0; i < TRIES; i++) {
		int64_t start_ns = clock_mono_ns(), took_ns;

		for (int round = 0; round < ROUNDS; round++)
			work();
		took_ns = clock_mono_ns() - start_ns;
		if (took_ns < best_ns)
			best_ns = took_ns;
	}
	return (double)best_ns / ROUNDS;
}

static void
report_rate(const char *name, double ns)
{
	printf("%s %.0f Mvalues/s\n", name, (double)rows.change_count * 1e3 / ns);
}

/* Bytes per change, bitmap and all, less the byte of flags and time. */
static void
report_bytes(const char *name, enum walk walk)
{
	make_rows(walk, 200, 30);
	printf(
	    "%s %.2f bytes\n", name, (double)(rows.bytes.len - ROWS) / (double)rows.change_count);
}

static void
report_find(const char *name, uint32_t len, unsigned percent)
{
	double open_ns;

	make_rows(SMALL_COUNTER, len, percent);
	open_ns = time_of(open_all);
	printf("row_open_%s %.1f ns\n", name, open_ns / ROWS);
	printf("row_find_%s %.1f ns\n", name,
	    (time_of(find_all) - open_ns) / (double)rows.change_count);
}

/* Bytes per row without changes; times off the grid by up to jitter either way. */
static void
report_time(const char *name, int64_t jitter_units, int64_t unit_ns)
{
	struct pace pace;

	pace_begin(&pace, 0);
	buf_clear(&rows.bytes);
	for (int64_t i = 1; i <= 1000; i++) {
		int64_t off =
		    jitter_units == 0
		        ? 0
		        : (int64_t)random_below(2 * (uint64_t)jitter_units + 1) - jitter_units;
		int64_t now_ns = i * 30000000000 + off * unit_ns;

		if (row_encode(&rows.bytes, pace_advance(&pace, now_ns), 0, 0, NULL, NULL, 0) != 0)
			exit(1);
	}
	printf("%s %.2f bytes\n", name, (double)rows.bytes.len / 1000);
}

int
main(void)
{
	buf_init(&rows.bytes, 0);
	make_rows(SMALL_COUNTER, 200, 30);
	report_rate("row_encode_counter", time_of(encode_all));
	report_rate("row_decode_counter", time_of(decode_all));
	make_rows(TWO_DECIMALS, 200, 30);
	report_rate("row_encode_two_decimals", time_of(encode_all));
	report_rate("row_decode_two_decimals", time_of(decode_all));
	make_rows(ANY_DOUBLE, 200, 30);
	report_rate("row_encode_any_double", time_of(encode_all));
	report_rate("row_decode_any_double", time_of(decode_all));
	make_rows(DISTRIBUTION, 1, 100);
	report_rate("row_encode_dist", time_of(encode_all));
	report_rate("row_decode_dist", time_of(decode_dists));
	printf("row_bytes_dist %.2f bytes\n", (double)(rows.bytes.len - ROWS) / ROWS);
	report_find("3_of_200", 200, 2);
	report_find("60_of_200", 200, 30);
	report_find("100_of_1000", 1000, 10);
	report_find("280_of_1000", 1000, 28);
	report_bytes("row_bytes_small_counter", SMALL_COUNTER);
	report_bytes("row_bytes_big_counter", BIG_COUNTER);
	report_bytes("row_bytes_two_decimals", TWO_DECIMALS);
	report_bytes("row_bytes_any_double", ANY_DOUBLE);
	report_time("row_bytes_grid", 0, 1);
	report_time("row_bytes_ms_jitter", 3, 1000000);
	report_time("row_bytes_ns_jitter", 3000000, 1);
	buf_fini(&rows.bytes);
	return 0;
}
