#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pstore/name_escape.h"

/* As upstream reads names: '_' without two hexadecimal digits is itself. */
static struct str
unescape(struct str s, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '_' && i + 2 < s.len && str_hex_digit(s.p[i + 1]) >= 0 &&
		    str_hex_digit(s.p[i + 2]) >= 0) {
			out[n++] =
			    (char)(str_hex_digit(s.p[i + 1]) * 16 + str_hex_digit(s.p[i + 2]));
			i += 2;
		} else {
			out[n++] = s.p[i];
		}
	}
	return (struct str){ out, n };
}

static const struct {
	const char *name, *also, *escaped;
} names[] = {
	{ "/proc/io-x/a.b", "./", "/proc/io-x/a.b" },
	{ "a.b/c", "", "a_2Eb_2Fc" },
	{ "num_free", "", "num_free" },
	{ "sys_add", "", "sys_5Fadd" },
	{ "a_20", "", "a_5F20" },
	{ "a_", "", "a_" },
	{ "a_ b", "", "a__20b" },
	{ "health agent", "", "health_20agent" },
	{ "\xc3\xa9", "", "_C3_A9" },
	{ "", "", "" },
};

static void
escapes_follow_the_table(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		buf_clear(&out);
		name_escape(&out, str_of(names[i].name), names[i].also);
		buf_putc(&out, '\0');
		assert_string_equal(out.p, names[i].escaped);
	}
	buf_fini(&out);
}

/* Three bytes: what is decided of one depends on the two after it. */
static void
every_name_can_be_had_back(void **state)
{
	static const char around[] = "_0aFg. \0";
	char decoded[16];
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	for (int a = 0; a < 256; a++) {
		for (int b = 0; b < 256; b++) {
			for (size_t k = 0; k < sizeof(around); k++) {
				char bytes[] = { (char)a, (char)b, around[k], (char)a };
				struct str name = { bytes, sizeof(bytes) };

				buf_clear(&out);
				name_escape(&out, name, ".");
				assert_true(str_eq(unescape(buf_view(&out), decoded), name));
			}
		}
	}
	buf_fini(&out);
}

static void
keys_of_ours_get_a_prefix(void **state)
{
	static const char *const ours[] = { "host", "app", NULL };

	(void)state;
	assert_string_equal(name_prefix(STR("host"), "metric_", ours), "metric_");
	assert_string_equal(name_prefix(STR("hos"), "metric_", ours), "");
	assert_string_equal(name_prefix(STR(""), "metric_", ours), "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(escapes_follow_the_table),
		cmocka_unit_test(every_name_can_be_had_back),
		cmocka_unit_test(keys_of_ours_get_a_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
