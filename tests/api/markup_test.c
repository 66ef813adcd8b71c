#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "api/markup_priv.h"

#define LOST "\xEF\xBF\xBD"

static const struct {
	struct str text;
	const char *markup;
} rows[] = {
	{ { "", 0 }, "" },
	{ { "plain", 5 }, "plain" },
	{ { "<a href=\"x\" id='y'>&", 20 }, "&lt;a href=&#34;x&#34; id=&#39;y&#39;&gt;&amp;" },
	{ { "a\tb\nc\rd", 7 }, "a\tb\nc&#13;d" },
	{ { "a\0b\x01\x1f\x7f", 6 }, "a" LOST "b" LOST LOST LOST },
	{ { "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9 }, "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80" },
	{ { "\xc3", 1 }, LOST },
	{ { "a\xc3z", 3 }, "a" LOST "z" },
	{ { "\xff\xfe", 2 }, LOST LOST },
	{ { "\xc0\xbc", 2 }, LOST LOST },          /* an overlong '<' */
	{ { "\xed\xa0\x80", 3 }, LOST LOST LOST }, /* a surrogate */
	{ { "x\xef\xbf\xbey\xef\xbf\xbfz", 9 }, "x" LOST "y" LOST "z" },
	{ { "\xef\xbf\xbd", 3 }, LOST },
	{ { "]]>", 3 }, "]]&gt;" },
};

static void
text_is_escaped(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf out;

		buf_init(&out, 0);
		markup_text(&out, rows[i].text);
		if (!str_eq(buf_view(&out), str_of(rows[i].markup)))
			fail_msg("row %zu: \"%.*s\"", i, (int)out.len, out.p);
		buf_fini(&out);
	}
}

static void
no_byte_alone_gets_through_raw(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char byte = (char)c;
		struct buf out;

		buf_init(&out, 0);
		markup_text(&out, (struct str){ &byte, 1 });
		assert_int_equal(utf8_valid_prefix(out.p, out.len), out.len);
		for (size_t i = 0; i < out.len; i++) {
			unsigned char got = (unsigned char)out.p[i];

			assert_true(got == '\t' || got == '\n' || got >= 0x20);
			assert_true(got != '<' && got != '>' && got != '"' && got != '\'');
		}
		buf_fini(&out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_escaped),
		cmocka_unit_test(no_byte_alone_gets_through_raw),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
