#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "fault.h"

static void
assert_holds(const struct buf *b, const char *want)
{
	assert_int_equal(b->len, strlen(want));
	if (b->len > 0)
		assert_memory_equal(b->p, want, b->len);
}

static void
what_was_wiped_is_empty(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_wipe(&b);
	buf_puts(&b, "secret");
	buf_wipe(&b);
	assert_null(b.p);
	assert_int_equal(b.len, 0);
	assert_int_equal(b.limit, 100);
}

static void
appends_come_one_after_the_other(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_null(b.p);
	buf_add(&b, NULL, 0);
	assert_null(b.p);
	buf_puts(&b, "ab");
	buf_putc(&b, 'c');
	buf_str(&b, STR("de"));
	buf_str(&b, STR_EMPTY);
	buf_add(&b, "fgh", 2);
	buf_printf(&b, "%d%s", 7, "");
	assert_holds(&b, "abcdefg7");
	assert_true(str_eq(buf_view(&b), STR("abcdefg7")));
	assert_false(b.failed);
	buf_fini(&b);
	assert_null(b.p);
}

static void
numbers_are_written_exactly(void **state)
{
	static const int64_t values[] = { 0, 1, -1, 9, 10, -10, 1234567890123, INT64_MAX,
		INT64_MIN };
	struct buf b;
	char want[32];

	(void)state;
	buf_init(&b, 0);
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		buf_clear(&b);
		buf_i64(&b, values[i]);
		snprintf(want, sizeof(want), "%lld", (long long)values[i]);
		assert_holds(&b, want);
		buf_clear(&b);
		buf_u64(&b, (uint64_t)values[i]);
		snprintf(want, sizeof(want), "%llu", (unsigned long long)values[i]);
		assert_holds(&b, want);
	}
	buf_fini(&b);
}

static void
growth_keeps_what_is_there(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	for (unsigned i = 0; i < 100000; i++)
		buf_putc(&b, (char)i);
	assert_int_equal(b.len, 100000);
	for (unsigned i = 0; i < 100000; i++)
		assert_int_equal(b.p[i], (char)i);
	buf_fini(&b);
}

/* Text of any length into a buf with any room left, the byte for vsnprintf's NUL included. */
static void
printf_fits_at_every_length(void **state)
{
	char text[300];

	(void)state;
	memset(text, 'x', sizeof(text));
	for (int len = 0; len < (int)sizeof(text); len++) {
		struct buf b;

		buf_init(&b, 0);
		buf_puts(&b, "ab");
		buf_printf(&b, "%.*s", len, text);
		buf_printf(&b, "%s", "end");
		assert_int_equal(b.len, (size_t)len + 5);
		assert_memory_equal(b.p, "ab", 2);
		assert_memory_equal(b.p + 2, text, (size_t)len);
		assert_memory_equal(b.p + 2 + len, "end", 3);
		buf_fini(&b);
	}
}

static void
limit_may_be_reached_but_not_passed(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 5);
	buf_puts(&b, "abc");
	buf_printf(&b, "%s", "de");
	assert_false(b.failed);
	assert_holds(&b, "abcde");
	buf_putc(&b, 'f');
	assert_true(b.failed);
	assert_holds(&b, "abcde");
	buf_fini(&b);
}

static void
failure_sticks_until_cleared(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 100);
	buf_puts(&b, "abc");
	assert_false(buf_reserve(&b, 98));
	assert_true(b.failed);
	assert_false(buf_reserve(&b, 1));
	buf_putc(&b, 'x'); /* there would be room for each of these */
	buf_puts(&b, "x");
	buf_printf(&b, "x");
	buf_u64(&b, 1);
	buf_i64(&b, -1);
	assert_holds(&b, "abc");
	buf_clear(&b);
	assert_false(b.failed);
	buf_puts(&b, "de");
	assert_holds(&b, "de");
	buf_fini(&b);
}

static void
impossible_sizes_fail(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	buf_putc(&b, 'a');
	assert_false(buf_reserve(&b, SIZE_MAX));
	buf_clear(&b);
	assert_false(buf_reserve(&b, PTRDIFF_MAX));
	buf_fini(&b);
	buf_init(&b, SIZE_MAX);
	assert_false(buf_reserve(&b, SIZE_MAX));
	buf_fini(&b);
}

static void
reserved_room_needs_no_memory(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	assert_true(buf_reserve(&b, 1000));
	assert_int_equal(b.len, 0);
	fault_malloc(1);
	for (int i = 0; i < 250; i++)
		buf_printf(&b, "%s", "abcd");
	assert_false(fault_happened());
	assert_int_equal(b.len, 1000);
	assert_false(b.failed);
	buf_clear(&b);
	buf_puts(&b, "kept");
	assert_false(fault_happened());
	fault_malloc(0);
	buf_fini(&b);
}

static void
add_all(struct buf *b)
{
	char text[200];

	memset(text, 'x', sizeof(text));
	buf_add(b, text, 10);
	buf_putc(b, 'c');
	buf_add(b, text, sizeof(text));
	buf_printf(b, "%.*s", (int)sizeof(text), text);
	buf_puts(b, "end");
	for (int i = 0; i < 1000; i++)
		buf_u64(b, UINT64_MAX);
}

static void
without_memory_appends_are_whole_or_not_there(void **state)
{
	struct buf whole, b;
	unsigned nth = 0;
	bool failed;

	(void)state;
	buf_init(&whole, 0);
	add_all(&whole);
	do {
		buf_init(&b, 0);
		fault_malloc(++nth);
		add_all(&b);
		failed = fault_happened();
		fault_malloc(0);
		assert_int_equal(b.failed, failed);
		assert_int_equal(b.len < whole.len, failed);
		assert_true(str_starts(buf_view(&whole), buf_view(&b)));
		buf_fini(&b);
	} while (failed);
	assert_in_range(nth, 4, 100);
	buf_fini(&whole);
}

static void
drop_moves_the_rest_to_the_front(void **state)
{
	struct buf b;

	(void)state;
	buf_init(&b, 0);
	buf_drop(&b, 0);
	buf_puts(&b, "abcdef");
	buf_drop(&b, 0);
	assert_holds(&b, "abcdef");
	buf_drop(&b, 2);
	assert_holds(&b, "cdef");
	buf_drop(&b, 4);
	assert_holds(&b, "");
	buf_fini(&b);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_come_one_after_the_other),
		cmocka_unit_test(what_was_wiped_is_empty),
		cmocka_unit_test(numbers_are_written_exactly),
		cmocka_unit_test(growth_keeps_what_is_there),
		cmocka_unit_test(printf_fits_at_every_length),
		cmocka_unit_test(limit_may_be_reached_but_not_passed),
		cmocka_unit_test(failure_sticks_until_cleared),
		cmocka_unit_test(impossible_sizes_fail),
		cmocka_unit_test(reserved_room_needs_no_memory),
		cmocka_unit_test(without_memory_appends_are_whole_or_not_there),
		cmocka_unit_test(drop_moves_the_rest_to_the_front),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
