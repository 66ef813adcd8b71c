#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/str.h"

static void
set_gives_code_and_text(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, ERR_TIMEOUT, "timed out after %d s", 10);
	assert_int_equal(err.code, ERR_TIMEOUT);
	assert_string_equal(err.text, "timed out after 10 s");
}

static void
errno_adds_its_text(void **state)
{
	struct err err;

	(void)state;
	err_errno(&err, ENOENT, "open %s", "/x");
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(err.text, "open /x: No such file or directory");
}

static void
errno_of_memory_is_nomem(void **state)
{
	struct err err;

	(void)state;
	err_errno(&err, ENOMEM, "epoll_ctl");
	assert_int_equal(err.code, ERR_NOMEM);
	err_nomem(&err);
	assert_int_equal(err.code, ERR_NOMEM);
	assert_string_equal(err.text, "out of memory");
}

static void
wrap_puts_context_first_and_keeps_the_code(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, ERR_PROTO, "bad JSON");
	err_wrap(&err, "poll of %s", "web1");
	assert_int_equal(err.code, ERR_PROTO);
	assert_string_equal(err.text, "poll of web1: bad JSON");
}

static void
own_text_may_be_an_argument(void **state)
{
	struct err err;

	(void)state;
	err_set(&err, ERR_IO, "inner");
	err_set(&err, ERR_CONFIG, "<%s>", err.text);
	assert_string_equal(err.text, "<inner>");
	err_wrap(&err, "(%s)", err.text);
	assert_string_equal(err.text, "(<inner>): <inner>");
}

static void
longest_text_fits_whole(void **state)
{
	char text[ERR_TEXT_BYTES];
	struct err err;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text + sizeof(text) - 3, "\xc3\xa9", 3);
	err_set(&err, ERR_IO, "%s", text);
	assert_string_equal(err.text, text);
}

static void
long_text_is_cut_on_a_character(void **state)
{
	static const char *const characters[] = { "x", "\xc3\xa9", "\xe2\x82\xac",
		"\xf0\x9f\x98\x80" };
	char text[2 * ERR_TEXT_BYTES + 1];
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(characters); i++) {
		for (size_t shift = 0; shift < 4; shift++) {
			size_t n = strlen(characters[i]), len = shift;

			memset(text, 'a', shift);
			for (; len + n < sizeof(text); len += n)
				memcpy(text + len, characters[i], n);
			text[len] = '\0';
			err_set(&err, ERR_IO, "%s", text);
			len = strlen(err.text);
			assert_in_range(len, ERR_TEXT_BYTES - n, ERR_TEXT_BYTES - 1);
			assert_int_equal(utf8_valid_prefix(err.text, len), len);
			assert_memory_equal(err.text, text, len);
		}
	}
}

static void
wrap_of_a_full_text_is_cut(void **state)
{
	char text[ERR_TEXT_BYTES];
	struct err err;

	(void)state;
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&err, ERR_LIMIT, "%s", text);
	err_wrap(&err, "outer");
	assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
	assert_memory_equal(err.text, "outer: xxx", 10);
	assert_int_equal(err.code, ERR_LIMIT);
}

static void
long_text_of_stray_bytes_stays_within_bounds(void **state)
{
	char text[2 * ERR_TEXT_BYTES];
	struct err err;

	(void)state;
	memset(text, 0x80, sizeof(text));
	text[sizeof(text) - 1] = '\0';
	err_set(&err, ERR_IO, "%s", text);
	assert_int_equal(strlen(err.text), ERR_TEXT_BYTES - 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_gives_code_and_text),
		cmocka_unit_test(errno_adds_its_text),
		cmocka_unit_test(errno_of_memory_is_nomem),
		cmocka_unit_test(wrap_puts_context_first_and_keeps_the_code),
		cmocka_unit_test(own_text_may_be_an_argument),
		cmocka_unit_test(longest_text_fits_whole),
		cmocka_unit_test(long_text_is_cut_on_a_character),
		cmocka_unit_test(wrap_of_a_full_text_is_cut),
		cmocka_unit_test(long_text_of_stray_bytes_stays_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
