#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/arena.h"
#include "fault.h"

static void
blocks_are_aligned_and_apart(void **state)
{
	enum { BLOCKS = 2000 };
	static unsigned char *blocks[BLOCKS];
	static size_t sizes[BLOCKS];
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	for (size_t i = 0; i < BLOCKS; i++) {
		sizes[i] = i % 97 == 0 ? i * 50 : i % 41;
		blocks[i] = arena_alloc(&a, sizes[i]);
		assert_non_null(blocks[i]);
		assert_int_equal((uintptr_t)blocks[i] % 8, 0);
		memset(blocks[i], (int)(i % 251), sizes[i]);
	}
	for (size_t i = 0; i < BLOCKS; i++) {
		for (size_t j = 0; j < sizes[i]; j++)
			assert_int_equal(blocks[i][j], i % 251);
	}
	arena_fini(&a);
	assert_int_equal(a.used_bytes, 0);
}

static void
empty_blocks_are_valid_and_apart(void **state)
{
	struct arena a;
	void *one, *two;

	(void)state;
	arena_init(&a, 0);
	one = arena_alloc(&a, 0);
	two = arena_array(&a, 0, 8);
	assert_non_null(one);
	assert_non_null(two);
	assert_ptr_not_equal(one, two);
	arena_fini(&a);
}

static void
impossible_sizes_give_null(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	assert_null(arena_alloc(&a, SIZE_MAX));
	assert_null(arena_alloc(&a, PTRDIFF_MAX));
	assert_null(arena_array(&a, SIZE_MAX / 2, 3));
	assert_null(arena_array(&a, SIZE_MAX / 8 + 2, 8));
	assert_null(arena_copy(&a, (struct str){ "", SIZE_MAX }).p);
	assert_int_equal(a.used_bytes, 0);
	arena_fini(&a);
}

static void
array_has_room_for_all(void **state)
{
	struct arena a;
	uint64_t *array;

	(void)state;
	arena_init(&a, 0);
	array = arena_array(&a, 1000, sizeof(*array));
	memset(array, 0xA5, 1000 * sizeof(*array));
	arena_fini(&a);
}

static void
copy_is_ended_by_nul(void **state)
{
	struct str copy;
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	copy = arena_copy(&a, str_sub(STR("abcdef"), 2, 3));
	assert_int_equal(copy.len, 3);
	assert_string_equal(copy.p, "cde");
	copy = arena_copy(&a, STR_EMPTY);
	assert_int_equal(copy.len, 0);
	assert_string_equal(copy.p, "");
	arena_fini(&a);
}

static void
limit_is_never_passed(void **state)
{
	(void)state;
	for (size_t limit = 1; limit < 40000; limit = limit * 5 / 4 + 3) {
		size_t got = 0;
		struct arena a;

		arena_init(&a, limit);
		while (arena_alloc(&a, 24) != NULL)
			got += 24;
		assert_true(a.used_bytes <= limit);
		assert_true(got <= a.used_bytes);
		/* All but the heads of some chunks was to be had. */
		assert_true(limit < 200 || got >= limit - 200);
		assert_null(arena_alloc(&a, 24));
		arena_fini(&a);
	}
}

static void
limit_is_exact_for_one_block(void **state)
{
	struct arena a;
	size_t limit;

	(void)state;
	arena_init(&a, 0);
	assert_non_null(arena_alloc(&a, 100000));
	limit = a.used_bytes;
	arena_fini(&a);

	arena_init(&a, limit);
	assert_non_null(arena_alloc(&a, 100000));
	arena_fini(&a);
	arena_init(&a, limit - 1);
	assert_null(arena_alloc(&a, 100000));
	assert_int_equal(a.used_bytes, 0);
	arena_fini(&a);
}

static void
use(struct arena *a, size_t bytes, size_t size)
{
	for (size_t i = 0; i < bytes; i += size) {
		char *p = arena_alloc(a, size);

		assert_non_null(p);
		memset(p, 0x5A, size);
	}
}

static void
after_a_reset_little_needs_no_heap(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	use(&a, 3000, 24);
	for (int round = 0; round < 3; round++) {
		size_t used = a.used_bytes;

		arena_reset(&a);
		fault_malloc(1);
		use(&a, 3000, 24);
		assert_false(fault_happened());
		fault_malloc(0);
		assert_int_equal(a.used_bytes, used);
	}
	arena_fini(&a);
}

static void
a_reset_keeps_the_largest_chunk(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	use(&a, 100000, 64);
	use(&a, 500000, 500000);
	use(&a, 100000, 64);
	arena_reset(&a);
	assert_in_range(a.used_bytes, 500000, 500100);
	fault_malloc(1);
	use(&a, 499000, 64);
	assert_false(fault_happened());
	fault_malloc(0);
	arena_fini(&a);
}

static void
a_reset_keeps_at_most_a_mebibyte(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 0);
	use(&a, 2 << 20, 2 << 20);
	arena_reset(&a);
	assert_int_equal(a.used_bytes, 0);
	use(&a, 2 << 20, 2 << 20);
	use(&a, 10 << 20, 40);
	arena_reset(&a);
	assert_in_range(a.used_bytes, 1, 1 << 20);
	arena_reset(&a);
	use(&a, 1000, 8);
	arena_fini(&a);
}

static void
an_unused_arena_may_be_reset(void **state)
{
	struct arena a;

	(void)state;
	arena_init(&a, 7);
	arena_reset(&a);
	assert_int_equal(a.limit_bytes, 7);
	arena_fini(&a);
}

static void
a_large_block_leaves_the_free_part_in_use(void **state)
{
	struct arena a;
	char *before, *after;

	(void)state;
	arena_init(&a, 0);
	before = arena_alloc(&a, 8);
	assert_non_null(arena_alloc(&a, 1 << 20));
	after = arena_alloc(&a, 8);
	assert_ptr_equal(after, before + 8);
	/* Nor does it make the next chunk larger. */
	use(&a, 4096, 64);
	assert_in_range(a.used_bytes, 4096 + (1 << 20), 4096 + (1 << 20) + 8192 + 100);
	arena_fini(&a);
}

static void
chunks_are_few(void **state)
{
	struct arena a;
	unsigned nth = 0;
	bool failed;

	(void)state;
	/* 4 + 8 + ... + 128 KiB are 6 chunks, and the rest of 2 MiB 7 or 8 of 256 KiB. */
	do {
		arena_init(&a, 0);
		fault_malloc(++nth);
		for (size_t i = 0; i < (2 << 20) / 32 && arena_alloc(&a, 32) != NULL; i++)
			;
		failed = fault_happened();
		fault_malloc(0);
		arena_fini(&a);
	} while (failed);
	assert_in_range(nth, 14, 15);
}

static void
out_of_memory_is_null_and_not_for_ever(void **state)
{
	struct arena a;
	struct str copy;

	(void)state;
	arena_init(&a, 0);
	fault_malloc(1);
	assert_null(arena_alloc(&a, 8));
	fault_malloc(1);
	assert_null(arena_array(&a, 100000, 8));
	fault_malloc(1);
	copy = arena_copy(&a, STR("abc"));
	assert_null(copy.p);
	assert_int_equal(copy.len, 0);
	fault_malloc(0);
	assert_int_equal(a.used_bytes, 0);
	assert_non_null(arena_alloc(&a, 8));
	arena_fini(&a);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blocks_are_aligned_and_apart),
		cmocka_unit_test(empty_blocks_are_valid_and_apart),
		cmocka_unit_test(impossible_sizes_give_null),
		cmocka_unit_test(array_has_room_for_all),
		cmocka_unit_test(copy_is_ended_by_nul),
		cmocka_unit_test(limit_is_never_passed),
		cmocka_unit_test(limit_is_exact_for_one_block),
		cmocka_unit_test(after_a_reset_little_needs_no_heap),
		cmocka_unit_test(a_reset_keeps_the_largest_chunk),
		cmocka_unit_test(a_reset_keeps_at_most_a_mebibyte),
		cmocka_unit_test(an_unused_arena_may_be_reset),
		cmocka_unit_test(a_large_block_leaves_the_free_part_in_use),
		cmocka_unit_test(chunks_are_few),
		cmocka_unit_test(out_of_memory_is_null_and_not_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
