#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/conf_priv.h"
#include "conf_fixture.h"

static const struct {
	const char *text;
	int64_t ns;
} durations[] = {
	{ "0", 0 },
	{ "-0", 0 },
	{ "0s", 0 },
	{ "30s", 30 * NS_PER_S },
	{ "1h30m", 5400 * NS_PER_S },
	{ "1h30m1.5s", 5401 * NS_PER_S + 500 * NS_PER_MS },
	{ "1.5s", 1500 * NS_PER_MS },
	{ "1.1s", 1100 * NS_PER_MS },
	{ ".5s", 500 * NS_PER_MS },
	{ "1.s", NS_PER_S },
	{ "100ms", 100 * NS_PER_MS },
	{ "7us", 7 * NS_PER_US },
	{ "7\xC2\xB5s", 7 * NS_PER_US },
	{ "7\xCE\xBCs", 7 * NS_PER_US },
	{ "9ns", 9 },
	{ "7d", 7 * 86400 * NS_PER_S },
	{ "-1m", -60 * NS_PER_S },
	{ "+1m", 60 * NS_PER_S },
	{ "0.3333333333333333333h", 1200 * NS_PER_S - 1 },
	{ "9223372036854775807ns", INT64_MAX },
	{ "-9223372036854775807ns", -INT64_MAX },
	{ "106751d", INT64_C(106751) * 86400 * NS_PER_S },
	{ "0.9ns", 0 },
};

static const char *const not_durations[] = { "", "-", "+", "1", "30", "0.0", "s", ".s", ".", "1x",
	"1 s", " 1s", "1s ", "1s1", "--1s", "1sm", "1S", "1.2.3s", "1e3s", "0x1s", "00", "106752d",
	"9223372036854775808ns", "9223372036854775807ns1ns", "18446744073709551616ns",
	"99999999999999999999999h", "18446744073709551615d", "1\xC2", "\xB5s", "1w" };

static void
durations_are_as_in_go_and_days(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		int64_t ns = -7;

		if (!conf_parse_duration(str_of(durations[i].text), &ns) || ns != durations[i].ns)
			fail_msg("%s: %" PRId64, durations[i].text, ns);
	}
	for (size_t i = 0; i < ARRAY_LEN(not_durations); i++) {
		int64_t ns = -7;

		if (conf_parse_duration(str_of(not_durations[i]), &ns) || ns != -7)
			fail_msg("'%s' is taken: %" PRId64, not_durations[i], ns);
	}
}

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{ "0", 0 },
	{ "512", 512 },
	{ "512B", 512 },
	{ "1KiB", 1024 },
	{ "1K", 1024 },
	{ "1kB", 1000 },
	{ "1KB", 1000 },
	{ "64MiB", 64 << 20 },
	{ "64M", 64 << 20 },
	{ "64MB", 64000000 },
	{ "4GiB", UINT64_C(4) << 30 },
	{ "4GB", UINT64_C(4000000000) },
	{ "4G", UINT64_C(4) << 30 },
	{ "2TiB", UINT64_C(2) << 40 },
	{ "2T", UINT64_C(2) << 40 },
	{ "2TB", UINT64_C(2000000000000) },
	{ "1.5KiB", 1536 },
	{ ".5K", 512 },
	{ "0%", 0 },
	{ "18446744073709551615", UINT64_MAX },
};

static const char *const not_sizes[] = { "", "B", "%", "MiB", "-1", "+1", "1 MiB", "1mib", "1m",
	"101%", "100.1%", "50%%", "18446744073709551616", "16777216TiB", "1e3", "1KiBB", "1\xFF",
	"1P" };

static void
sizes_have_binary_and_decimal_units(void **state)
{
	uint64_t half = 0, eighth = 0, all = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		uint64_t bytes = 7;

		if (!conf_parse_size(str_of(sizes[i].text), &bytes) || bytes != sizes[i].bytes)
			fail_msg("%s: %" PRIu64, sizes[i].text, bytes);
	}
	for (size_t i = 0; i < ARRAY_LEN(not_sizes); i++) {
		uint64_t bytes = 7;

		if (conf_parse_size(str_of(not_sizes[i]), &bytes) || bytes != 7)
			fail_msg("'%s' is taken: %" PRIu64, not_sizes[i], bytes);
	}
	assert_true(conf_parse_size(STR("100%"), &all));
	assert_true(all == conf_memory_bytes());
	assert_true(conf_parse_size(STR("50%"), &half));
	assert_true(half == all / 2);
	assert_true(conf_parse_size(STR("12.5%"), &eighth));
	assert_true(eighth == all / 8);
}

static void
room_on_a_disk_is_bytes_or_percents(void **state)
{
	static const char *const others[] = { "", "%", "0%", "0.0%", "101%", "-1%", "50 %", "50%%",
		"18446744073709551615" };
	struct conf_disk disk = { 7, 7 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(conf_parse_disk(str_of(others[i]), &disk));
	assert_true(disk.bytes == 7 && disk.percent > 6);
	assert_true(conf_parse_disk(STR("2GiB"), &disk));
	assert_true(disk.bytes == UINT64_C(2) << 30 && disk.percent <= 0);
	assert_true(conf_parse_disk(STR("12.5%"), &disk));
	assert_true(disk.bytes == 0 && disk.percent > 12.4 && disk.percent < 12.6);
	assert_true(conf_parse_disk(STR("100%"), &disk));
}

static void
bools_are_true_and_false_alone(void **state)
{
	static const char *const others[] = { "", "yes", "True", "1", "tru", "truee" };
	bool value = false;

	(void)state;
	assert_true(conf_parse_bool(STR("true"), &value));
	assert_true(value);
	assert_true(conf_parse_bool(STR("false"), &value));
	assert_false(value);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(conf_parse_bool(str_of(others[i]), &value));
}

static void
floats_are_decimal_and_finite(void **state)
{
	static const struct {
		const char *text;
		double value;
	} floats[] = { { "0", 0 }, { "-1.5e3", -1500 }, { "+.25", .25 }, { "1.", 1 },
		{ "1E-2", .01 } };
	static const char *const others[] = { "", ".", "-", "1e", "1e+", "1e999", "inf", ".inf",
		"nan", "0x1p3", "1 ", "1,5", "--1" };
	struct buf digits;
	double value;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(floats); i++) {
		assert_true(conf_parse_float(str_of(floats[i].text), &value));
		assert_true(value >= floats[i].value && value <= floats[i].value);
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(conf_parse_float(str_of(others[i]), &value));

	buf_init(&digits, 0);
	for (int i = 0; i < 1000; i++)
		buf_putc(&digits, '1');
	assert_false(conf_parse_float(buf_view(&digits), &value));
	buf_fini(&digits);
}

static void
amounts_are_shown_with_the_largest_whole_unit(void **state)
{
	(void)state;
	assert_string_equal(conf_show_duration(0).text, "0");
	assert_string_equal(conf_show_duration(90 * NS_PER_S).text, "90s");
	assert_string_equal(conf_show_duration(-7200 * NS_PER_S).text, "-2h");
	assert_string_equal(conf_show_duration(7 * NS_PER_US).text, "7us");
	assert_string_equal(conf_show_duration(INT64_MIN).text, "-9223372036854775808ns");
	assert_string_equal(conf_show_size(0).text, "0");
	assert_string_equal(conf_show_size(64 << 20).text, "64MiB");
	assert_string_equal(conf_show_size(1000).text, "1000");
}

static void
long_text_is_cut_on_a_character(void **state)
{
	struct conf_shown shown;
	char text[200];

	(void)state;
	for (size_t i = 0; i + 1 < sizeof(text); i += 2)
		memcpy(text + i, "\xC3\xA9", 2);
	for (size_t from = 0; from < 2; from++) {
		text[0] = 'x';
		text[1] = '\n';
		shown = conf_show((struct str){ text + from, sizeof(text) - from });
		assert_int_equal(
		    utf8_valid_prefix(shown.text, sizeof(shown.text)), sizeof(shown.text));
		assert_true(str_ends(str_of(shown.text), STR("\xC3\xA9...")));
		assert_int_equal(shown.text[1 - from], '?');
	}
}

static void
make_group(struct conf_fixture *f, const char *dir, const char *file, const char *limit)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/%s", f->dir, dir);
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	write_file(f, path, 0600, str_of(limit));
}

static uint64_t
limit_of(struct conf_fixture *f, const char *cgroup)
{
	return conf_cgroup_limit_bytes(write_file(f, "cgroup", 0600, str_of(cgroup)), f->dir);
}

static void
the_least_limit_of_a_group_and_those_above_counts(void **state)
{
	struct conf_fixture *f = *state;

	make_group(f, ".", "memory.max", "5000\n"); /* a container's own root */
	make_group(f, "a", "memory.max", "2000\n");
	make_group(f, "a/b", "memory.max", "max\n");
	make_group(f, "c", "memory.max", "9000\n");
	make_group(f, "memory", "memory.limit_in_bytes", "9223372036854771712\n");
	make_group(f, "memory/d", "memory.limit_in_bytes", "700\n");

	assert_int_equal(limit_of(f, "0::/\n"), 5000);
	assert_int_equal(limit_of(f, "0::/a\n"), 2000);
	assert_int_equal(limit_of(f, "0::/a/b\n"), 2000);
	assert_int_equal(limit_of(f, "0::/c\n"), 5000);
	assert_int_equal(limit_of(f, "0::/not/there\n"), 5000);
	assert_int_equal(limit_of(f, "9:cpu:/d\n4:hugetlb,memory:/d/e\n0::/\n"), 700);
	assert_true(limit_of(f, "4:memory:/\n") == UINT64_C(9223372036854771712));
	assert_true(limit_of(f, "4:cpu:/a\nnonsense\n\n") == UINT64_MAX);
	assert_true(conf_cgroup_limit_bytes("/nonexistent", f->dir) == UINT64_MAX);
}

static void
memory_is_at_least_a_megabyte(void **state)
{
	(void)state;
	assert_true(conf_memory_bytes() > 1 << 20);
	assert_true(conf_memory_bytes() < UINT64_MAX);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(durations_are_as_in_go_and_days),
		cmocka_unit_test(sizes_have_binary_and_decimal_units),
		cmocka_unit_test(room_on_a_disk_is_bytes_or_percents),
		cmocka_unit_test(bools_are_true_and_false_alone),
		cmocka_unit_test(floats_are_decimal_and_finite),
		cmocka_unit_test(amounts_are_shown_with_the_largest_whole_unit),
		cmocka_unit_test(long_text_is_cut_on_a_character),
		CONF_TEST_WITH_FILES(the_least_limit_of_a_group_and_those_above_counts),
		cmocka_unit_test(memory_is_at_least_a_megabyte),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
