/* Remembered texts of time stamps are those that json_ts writes, whatever was remembered before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/stamps_priv.h"
#include "base/clock.h"
#include "messages/json.h"

static void
check(struct stamps *stamps, int64_t ts_ns)
{
	char text[STAMP_BYTES];
	struct json json;
	struct buf expected;

	buf_init(&expected, 0);
	buf_puts(&expected, "{\"timestamp\":");
	json_init(&json, &expected, false);
	json_ts(&json, ts_ns);
	buf_puts(&expected, ",\"value\":");
	assert_int_equal(stamps_put(stamps, text, ts_ns) - text, expected.len);
	assert_memory_equal(text, expected.p, expected.len);
	buf_fini(&expected);
}

static struct stamps *
new_stamps(void)
{
	struct stamps *stamps = malloc(sizeof(*stamps));

	assert_non_null(stamps);
	stamps_init(stamps, '{');
	return stamps;
}

static void
any_time_may_follow_any_other(void **state)
{
	static const int64_t times[] = { TS_NONE, 0, 1, -1, NS_PER_S - 1, NS_PER_S, -NS_PER_S,
		1500000000 * NS_PER_S, 1500000000 * NS_PER_S + 1, 1500000000 * NS_PER_S + 123456789,
		1500000001 * NS_PER_S, INT64_MAX, INT64_MAX - 1, TS_NONE + 1 };
	struct stamps *stamps = new_stamps();

	(void)state;
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		for (size_t k = 0; k < sizeof(times) / sizeof(times[0]); k++) {
			check(stamps, times[i]);
			check(stamps, times[k]);
			check(stamps, times[i]);
		}
	}
	free(stamps);
}

/* Groups of a poll a few nanoseconds apart, polls at several distances. */
static void
times_of_polls_and_groups_are_told_apart(void **state)
{
	static const int64_t intervals[] = { NS_PER_MS, 100 * NS_PER_MS, 999999937, NS_PER_S,
		30 * NS_PER_S, 3600 * NS_PER_S };
	struct stamps *stamps = new_stamps();

	(void)state;
	for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
		for (int64_t poll = 0; poll < 300; poll++) {
			int64_t ts_ns = 1700000000 * NS_PER_S + poll * intervals[i];

			for (int64_t group = 0; group < 5; group++)
				check(stamps, ts_ns + group);
			check(stamps, ts_ns - intervals[i]);
		}
	}
	free(stamps);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_time_may_follow_any_other),
		cmocka_unit_test(times_of_polls_and_groups_are_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
