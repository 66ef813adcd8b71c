#include "store/pace_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"

#define ROWS    2000
#define STEP_NS (30 * NS_PER_S)

static uint64_t seed;
static int64_t times[ROWS];
static struct row_late lates[ROWS]; /* what row i says of the row before */

static uint64_t
random_u64(void)
{
	uint64_t x = seed += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Forward over all times, and back. */
static void
go_both_ways(void)
{
	struct pace pace;

	pace_begin(&pace, times[0]);
	for (size_t i = 1; i < ROWS; i++) {
		lates[i] = pace_advance(&pace, times[i]);
		assert_true(pace_ts(&pace) == times[i]);
	}
	for (size_t i = ROWS; i-- > 1;) {
		pace_undo(&pace, lates[i]);
		assert_true(pace_ts(&pace) == times[i - 1]);
	}
}

/* How many rows say something else than units up to most. Those in which the pace is found apart.
 */
static size_t
count_odd(int64_t most)
{
	size_t odd = 0;

	for (size_t i = 20; i < ROWS; i++)
		odd += lates[i].unit != ROW_SAME || lates[i].units > most || lates[i].units < -most;
	return odd;
}

static void
times_on_a_grid_are_on_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++)
		times[i] = 1234567 + (int64_t)i * STEP_NS;
	go_both_ways();
	assert_int_equal(count_odd(0), 0);
}

static void
jitter_stays_in_its_units(void **state)
{
	static const int64_t units[] = { 1, NS_PER_US, NS_PER_MS };

	(void)state;
	for (size_t u = 0; u < ARRAY_LEN(units); u++) {
		for (size_t i = 0; i < ROWS; i++)
			times[i] = (int64_t)i * STEP_NS + (int64_t)(random_u64() % 21) * units[u];
		go_both_ways();
		assert_true(count_odd(32) < ROWS / 50);
	}
}

static void
a_clock_that_drifts_is_followed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS; i++)
		times[i] = (int64_t)i * (STEP_NS + 7 * NS_PER_MS);
	go_both_ways();
	assert_int_equal(count_odd(1), 0);
}

static void
an_odd_time_and_a_gap_cost_little(void **state)
{
	int64_t ts_ns = 0;

	(void)state;
	for (size_t i = 0; i < ROWS; i++) {
		times[i] = ts_ns + (int64_t)(random_u64() % 10) * NS_PER_MS + (i == 700);
		ts_ns += i == 1000 ? 5 * STEP_NS : STEP_NS;
	}
	go_both_ways();
	/* The odd time, the gap, and those after it until the pace is found again. */
	assert_true(count_odd(40) <= 20);
	assert_true(lates[750].unit == ROW_SAME && lates[1100].unit == ROW_SAME);
}

/* Times that rise, from and to anywhere. */
static void
any_times_come_back(void **state)
{
	(void)state;
	for (int round = 0; round < 100; round++) {
		uint64_t most = UINT64_MAX / ROWS >> random_u64() % 54;

		times[0] = INT64_MIN + (int64_t)(random_u64() % 3);
		for (size_t i = 1; i < ROWS; i++)
			times[i] = (int64_t)((uint64_t)times[i - 1] + 1 + random_u64() % most);
		go_both_ways();
	}
	for (size_t i = 0; i < ROWS; i++)
		times[i] = INT64_MAX - ROWS + (int64_t)i;
	times[0] = INT64_MIN;
	go_both_ways();
}

static void
a_row_of_the_same_time_changes_nothing(void **state)
{
	struct pace pace, before;

	(void)state;
	pace_begin(&pace, 1000);
	pace_advance(&pace, 3000);
	before = pace;
	pace_undo(&pace, (struct row_late){ 0, ROW_PATCH });
	assert_true(pace.expected_ns == before.expected_ns && pace.step_ns == before.step_ns);
	assert_true(pace_ts(&pace) == 3000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_on_a_grid_are_on_time),
		cmocka_unit_test(jitter_stays_in_its_units),
		cmocka_unit_test(a_clock_that_drifts_is_followed),
		cmocka_unit_test(an_odd_time_and_a_gap_cost_little),
		cmocka_unit_test(any_times_come_back),
		cmocka_unit_test(a_row_of_the_same_time_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
