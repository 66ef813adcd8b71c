#include "poller/schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"

#define INTERVAL_NS (30 * NS_PER_S)
#define REAL_NS     (INT64_C(1700000000) * NS_PER_S + 123456789)

static void
hash_never_changes(void **state)
{
	(void)state;
	/* Another value here moves every endpoint's place at the next upgrade. */
	assert_true(
	    schedule_hash(STR("web1"), STR("health agent")) == UINT64_C(0xFF7C1BBE46B40CF9));
}

static void
hash_tells_host_from_app(void **state)
{
	(void)state;
	assert_true(schedule_hash(STR("a"), STR("b")) != schedule_hash(STR("b"), STR("a")));
	assert_true(schedule_hash(STR("ab"), STR("")) != schedule_hash(STR("a"), STR("b")));
}

static void
first_tick_is_after_now_and_within_an_interval(void **state)
{
	(void)state;
	for (uint64_t hash = 0; hash < 1000; hash++) {
		int64_t tick = schedule_first(hash * 123456789, INTERVAL_NS, 5000, REAL_NS);

		assert_in_range((uint64_t)tick, 5001, 5000 + INTERVAL_NS);
	}
}

static void
first_tick_has_its_place_on_the_wall_clock(void **state)
{
	const uint64_t hash = UINT64_C(0xFEDCBA9876543210);

	(void)state;
	for (int64_t later = 0; later < 3 * INTERVAL_NS; later += INTERVAL_NS / 7) {
		int64_t wait = schedule_first(hash, INTERVAL_NS, 77, REAL_NS + later) - 77;

		assert_true((REAL_NS + later + wait) % INTERVAL_NS == 4250 * NS_PER_MS);
	}
	assert_in_range((int64_t)(hash % INTERVAL_NS), 4250 * NS_PER_MS, 4500 * NS_PER_MS - 1);
}

static void
ticks_share_grains_of_250_ms_or_a_32nd_of_the_interval(void **state)
{
	static const struct {
		int64_t interval_ns, grain_ns;
	} rows[] = {
		{ 3600 * NS_PER_S, 250 * NS_PER_MS },
		{ 10 * NS_PER_S, 250 * NS_PER_MS },
		{ 320 * NS_PER_MS, 10 * NS_PER_MS },
		{ 32 * NS_PER_MS, NS_PER_MS },
		{ 25, 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		for (uint64_t hash = 0; hash < 1000; hash++) {
			int64_t interval_ns = rows[i].interval_ns, place_ns;
			uint64_t scattered = hash * UINT64_C(0x9e3779b97f4a7c15);

			place_ns = schedule_first(scattered, interval_ns, 0, 0) % interval_ns;
			assert_true(place_ns % rows[i].grain_ns == 0);
			assert_true((int64_t)(scattered % (uint64_t)interval_ns) - place_ns <
			            rows[i].grain_ns);
		}
	}
}

static void
a_place_that_is_now_means_the_next_time(void **state)
{
	(void)state;
	assert_int_equal(schedule_first(6, 100, 1000, 206), 1100);
	assert_int_equal(schedule_first(9, 100, 1000, 206), 1003);
	assert_int_equal(schedule_first(3, 100, 1000, 206), 1097);
}

static void
a_clock_before_1970_does_no_harm(void **state)
{
	(void)state;
	assert_int_equal(schedule_first(6, 100, 1000, -98), 1004);
	assert_int_equal(schedule_first(0, 100, 1000, -100), 1100);
}

static void
next_tick_follows_an_interval_later(void **state)
{
	uint64_t missed = 9;

	(void)state;
	assert_int_equal(schedule_next(1000, 100, 1000, &missed), 1100);
	assert_int_equal(missed, 0);
	assert_int_equal(schedule_next(1000, 100, 1099, &missed), 1100);
	assert_int_equal(missed, 0);
	assert_int_equal(schedule_next(1000, 100, 1100, &missed), 1100);
	assert_int_equal(missed, 0);
}

static void
ticks_in_the_past_are_left_out_and_counted(void **state)
{
	uint64_t missed;

	(void)state;
	assert_int_equal(schedule_next(1000, 100, 1101, &missed), 1200);
	assert_int_equal(missed, 1);
	assert_int_equal(schedule_next(1000, 100, 1200, &missed), 1200);
	assert_int_equal(missed, 1);
	assert_int_equal(schedule_next(1000, 100, 1201, &missed), 1300);
	assert_int_equal(missed, 2);
	assert_int_equal(
	    schedule_next(1000, 100, 1000 + 1000000 * 100, &missed), 1000 + 1000000 * 100);
	assert_int_equal(missed, 999999);
}

/* 10,000 endpoints in 100 grains of the interval: 100 each, give or take. */
static void
ticks_spread_over_the_interval(void **state)
{
	unsigned slices[100] = { 0 };
	char host[32];

	(void)state;
	for (unsigned i = 0; i < 10000; i++) {
		int64_t wait_ns;

		snprintf(host, sizeof(host), "host%u.example.com", i);
		wait_ns = schedule_first(
		    schedule_hash(str_of(host), STR("health agent")), 25 * NS_PER_S, 0, REAL_NS);
		slices[(wait_ns - 1) / (250 * NS_PER_MS)]++;
	}
	for (unsigned i = 0; i < 100; i++)
		assert_in_range(slices[i], 50, 150);
}

static void
pollers_share_endpoints_evenly(void **state)
{
	unsigned counts[7] = { 0 };
	char host[32];

	(void)state;
	for (unsigned i = 0; i < 7000; i++) {
		snprintf(host, sizeof(host), "host%u", i);
		counts[schedule_hash(str_of(host), STR("app")) % 7]++;
	}
	for (unsigned i = 0; i < 7; i++)
		assert_in_range(counts[i], 850, 1150);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_never_changes),
		cmocka_unit_test(hash_tells_host_from_app),
		cmocka_unit_test(first_tick_is_after_now_and_within_an_interval),
		cmocka_unit_test(first_tick_has_its_place_on_the_wall_clock),
		cmocka_unit_test(ticks_share_grains_of_250_ms_or_a_32nd_of_the_interval),
		cmocka_unit_test(a_place_that_is_now_means_the_next_time),
		cmocka_unit_test(a_clock_before_1970_does_no_harm),
		cmocka_unit_test(next_tick_follows_an_interval_later),
		cmocka_unit_test(ticks_in_the_past_are_left_out_and_counted),
		cmocka_unit_test(ticks_spread_over_the_interval),
		cmocka_unit_test(pollers_share_endpoints_evenly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
