#include "scotty/out.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct buf buf;

static const char *
text_of(struct str text)
{
	buf_clear(&buf);
	out_text(&buf, text);
	buf_putc(&buf, '\0');
	return buf.p;
}

static void
text_has_no_control_characters(void **state)
{
	(void)state;
	assert_string_equal(text_of(STR("caf\xc3\xa9 /a b")), "caf\xc3\xa9 /a b");
	assert_string_equal(text_of(STR("\x1b[2J\r\n\t\x7f")), "\\x1b[2J\\x0d\\x0a\\x09\\x7f");
	assert_string_equal(text_of(STR("\xc2\x9b"
	                                "31m")),
	    "\\xc2\\x9b31m");
	assert_string_equal(text_of(STR("\xff\xc3")), "\\xff\\xc3");
	assert_string_equal(text_of((struct str){ "a\0b", 3 }), "a\\x00b");
}

/* The document in pieces of so many bytes. */
static const char *
json_of(struct str text, size_t step)
{
	size_t done = 0;

	buf_clear(&buf);
	for (size_t end = step; done < text.len; end += step) {
		struct str piece = { text.p + done, (end < text.len ? end : text.len) - done };

		done += out_json(&buf, piece, end >= text.len);
	}
	buf_putc(&buf, '\0');
	return buf.p;
}

static void
json_stays_the_same_document_in_any_pieces(void **state)
{
	static const struct {
		struct str in;
		const char *out;
	} cases[] = {
		{ { "[\n\t{\"a\":\"caf\xc3\xa9\"}]\n", 18 }, "[\n\t{\"a\":\"caf\xc3\xa9\"}]\n" },
		{ { "\"\x7f\x1b[2J\"", 7 }, "\"\\u007f\\u001b[2J\"" },
		{ { "\"\xc2\x9b\xf0\x9f\x98\x80\"", 8 }, "\"\\u009b\xf0\x9f\x98\x80\"" },
		{ { "\"\xff\"", 3 }, "\"\\ufffd\"" },
		{ { "\"\xc3", 2 }, "\"\\ufffd" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t step = 1; step <= cases[i].in.len; step++)
			assert_string_equal(json_of(cases[i].in, step), cases[i].out);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_has_no_control_characters),
		cmocka_unit_test(json_stays_the_same_document_in_any_pieces),
	};
	int failed;

	buf_init(&buf, 0);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	buf_fini(&buf);
	return failed;
}
