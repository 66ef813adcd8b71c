#include "store/ring_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "store/store_priv.h"

#define MEMORY  (1024 * 1024)
#define MOST    3000
#define STEPS   200000
#define LEAST   (256 * sizeof(struct ring_item) + 16) /* what does not shrink */
#define AT_MOST 5                                     /* bytes of room for one in use */

struct ring_state {
	struct store *store;
	uint64_t used_before;
	struct ring ring;
	uint32_t first, next; /* numbers of the rows in the ring, of which each has one item */
};

static int
setup(void **state)
{
	struct store_conf conf = { .memory_bytes = MEMORY };
	struct ring_state *f = calloc(1, sizeof(*f));
	struct err err;

	assert_non_null(f);
	f->store = store_new(&conf, NULL, &err);
	assert_non_null(f->store);
	f->used_before = f->store->used_bytes;
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct ring_state *f = *state;

	while (f->ring.len > 0)
		ring_pop(f->store, &f->ring);
	assert_int_equal(f->store->used_bytes, f->used_before);
	store_free(f->store);
	free(f);
	return 0;
}

static void
push(struct ring_state *f, size_t n)
{
	struct memory_want want;

	assert_true(ring_reserve(f->store, &f->ring, n, &want));
	for (; n > 0; n--, f->next++)
		ring_push(&f->ring, (struct ring_item){ .row = f->next, .at = f->next * 7 });
}

static void
pop(struct ring_state *f, size_t n)
{
	for (; n > 0 && f->ring.len > 0; n--, f->first++) {
		struct ring_item item = ring_pop(f->store, &f->ring);

		assert_int_equal(item.row, f->first);
		assert_int_equal(item.at, f->first * 7);
	}
}

static void
check(struct ring_state *f)
{
	size_t used = f->store->used_bytes - f->used_before;

	assert_int_equal(f->ring.len, f->next - f->first);
	for (uint32_t i = 0; i < f->ring.len; i += 1 + f->ring.len / 16) {
		assert_int_equal(ring_at(&f->ring, i)->row, f->first + i);
		assert_int_equal(ring_find(&f->ring, f->first + i), i);
	}
	assert_true(used <= LEAST || used <= AT_MOST * f->ring.len * sizeof(struct ring_item));
}

/* Whatever it once had, a ring has room for little more than what is in it. */
static void
takes_memory_for_what_is_in_it(void **state)
{
	struct ring_state *f = *state;

	srand(1);
	for (size_t i = 0; i < STEPS; i++) {
		/* It swells for a while, and shrinks for a while. */
		bool swells = i / 500 % 2 == 0;
		size_t n = (size_t)rand() % 20;

		if (swells && f->ring.len + n <= MOST)
			push(f, n);
		else
			pop(f, n);
		check(f);
	}
}

static void
gives_all_back_when_it_is_empty(void **state)
{
	struct ring_state *f = *state;

	push(f, MOST);
	pop(f, MOST);
	assert_int_equal(f->ring.cap, 0);
	assert_int_equal(f->store->used_bytes, f->used_before);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(takes_memory_for_what_is_in_it, setup, teardown),
		cmocka_unit_test_setup_teardown(gives_all_back_when_it_is_empty, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
