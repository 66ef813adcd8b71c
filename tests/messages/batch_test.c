#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fault.h"
#include "messages/batch.h"

#define S INT64_C(1000000000)

struct fixture {
	struct batch batch;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	batch_init(&f.batch, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	return 0;
}

static void
add_desc(struct fixture *f, const struct metric_desc *desc, struct value value, int64_t group,
    int64_t ts)
{
	assert_int_equal(batch_add(&f->batch, desc, &value, group, ts, &f->err), 0);
}

static void
add(struct fixture *f, const char *path, int64_t group, int64_t ts)
{
	struct metric_desc desc = { .path = str_of(path), .kind = KIND_INT64 };

	add_desc(f, &desc, (struct value){ .i = (int64_t)f->batch.len }, group, ts);
}

static void
assert_bad(const struct fixture *f, size_t count, const char *first)
{
	assert_int_equal(f->batch.bad_count, count);
	assert_string_equal(f->batch.bad_text, first);
}

static void
what_is_added_stands_in_order(void **state)
{
	struct fixture *f = *state;

	add(f, "/a", 3, 5 * S);
	add(f, "/b", 4, TS_NONE);
	assert_int_equal(f->batch.len, 2);
	assert_true(str_eq(f->batch.desc[0].path, STR("/a")));
	assert_true(str_eq(f->batch.desc[1].path, STR("/b")));
	assert_int_equal(f->batch.value[1].i, 1);
	assert_int_equal(f->batch.group[0], 3);
	assert_int_equal(f->batch.group[1], 4);
	assert_int_equal(f->batch.ts[0], 5 * S);
	assert_bad(f, 0, "");
}

static void
many_are_all_kept(void **state)
{
	static char paths[3000][32];
	struct fixture *f = *state;

	for (int round = 0; round < 3; round++) {
		batch_reset(&f->batch);
		assert_int_equal(f->batch.len, 0);
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			snprintf(paths[i], sizeof(paths[i]), "/m/%06zu", i);
			add(f, paths[i], (int64_t)(i % 100), (int64_t)(i % 100) * S);
		}
		assert_int_equal(f->batch.len, ARRAY_LEN(paths));
		for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
			assert_true(f->batch.desc[i].path.p == paths[i]);
			assert_int_equal(f->batch.value[i].i, i);
			assert_int_equal(f->batch.ts[i], (int64_t)(i % 100) * S);
		}
		assert_bad(f, 0, "");
	}
}

static void
paths_that_are_none_are_bad(void **state)
{
	static char longest[4096 + 2];
	struct fixture *f = *state;
	static const char *const bad[] = { "", "/", "a", "a/b", "//a", "/a/", "/a//b" };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char text[64];

		batch_reset(&f->batch);
		snprintf(text, sizeof(text), "Bad path: %s", bad[i]);
		add(f, bad[i], 0, S);
		assert_bad(f, 1, text);
		assert_int_equal(f->batch.len, 0);
	}
	batch_reset(&f->batch);
	memset(longest, 'x', sizeof(longest) - 1);
	longest[0] = '/';
	add(f, longest, 0, S);
	assert_int_equal(f->batch.bad_count, 1);
	longest[sizeof(longest) - 2] = '\0';
	add(f, longest, 0, S);
	assert_int_equal(f->batch.bad_count, 1);
	assert_int_equal(f->batch.len, 1);
}

static void
order_is_that_of_components(void **state)
{
	struct fixture *f = *state;

	add(f, "/vec/z", 0, S);
	add(f, "/vec-a/x", 0, S);
	add(f, "/vec.a/x", 0, S);
	assert_bad(f, 0, "");
	add(f, "/vec/zz", 0, S);
	assert_bad(f, 1, "Paths not sorted: '/vec/zz' should come before '/vec.a/x'");
	/* Compared with the one before it, though that was bad. */
	add(f, "/vec/zzz", 0, S);
	add(f, "/vec/a", 0, S);
	assert_bad(f, 2, "Paths not sorted: '/vec/zz' should come before '/vec.a/x'");
	assert_int_equal(f->batch.len, 4);
}

static void
without_order_any_will_do(void **state)
{
	struct fixture *f = *state;

	batch_set_unordered(&f->batch);
	add(f, "/b", 0, S);
	add(f, "/a", 0, S);
	add(f, "/b", 0, S);
	assert_bad(f, 1, "Duplicate path: /b");
	assert_int_equal(f->batch.len, 2);

	batch_reset(&f->batch);
	add(f, "/b", 0, S);
	add(f, "/a", 0, S);
	assert_bad(f, 1, "Paths not sorted: '/a' should come before '/b'");
}

static void
the_same_path_and_tags_twice_are_bad(void **state)
{
	static const struct tag one[] = { { { "k", 1 }, { "1", 1 } } };
	static const struct tag two[] = { { { "k", 1 }, { "2", 1 } } };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_BOOL };

	add_desc(f, &desc, value_zero(KIND_BOOL), 0, S);
	desc.tags = one;
	desc.tag_count = 1;
	add_desc(f, &desc, value_zero(KIND_BOOL), 0, S);
	desc.tags = two;
	add_desc(f, &desc, value_zero(KIND_BOOL), 0, S);
	assert_bad(f, 0, "");
	desc.kind = KIND_INT8; /* another kind does not make another metric of it */
	add_desc(f, &desc, value_zero(KIND_INT8), 0, S);
	assert_bad(f, 1, "Duplicate path: /a");
	assert_int_equal(f->batch.len, 3);
}

static void
what_was_bad_may_come_again(void **state)
{
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_NONE };

	add_desc(f, &desc, value_zero(KIND_BOOL), 0, S);
	assert_bad(f, 1, "Unknown kind: /a");
	add(f, "/a", 0, S);
	assert_int_equal(f->batch.len, 1);
	assert_int_equal(f->batch.bad_count, 1);
}

static void
lists_hold_scalars(void **state)
{
	static const enum kind bad[] = { KIND_NONE, KIND_LIST, KIND_DIST };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_LIST };

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		batch_reset(&f->batch);
		desc.sub_kind = bad[i];
		add_desc(f, &desc, value_zero(KIND_LIST), 0, S);
		assert_bad(f, 1, "Bad list: /a");
	}
	desc.sub_kind = KIND_TIME;
	add_desc(f, &desc, value_zero(KIND_LIST), 0, S);
	assert_int_equal(f->batch.len, 1);
}

static void
distributions_have_rising_limits_and_a_count_more(void **state)
{
	static const double limits[][2] = { { 1, 2 }, { 2, 2 }, { 2, 1 }, { NAN, 2 }, { 1, NAN },
		{ 1, INFINITY } };
	static const uint64_t counts[3];
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct metric_desc desc = {
			.path = STR("/a"), .kind = KIND_DIST, .limits = limits[i], .limit_count = 2
		};
		struct dist dist = { .counts = counts, .len = 3 };

		batch_reset(&f->batch);
		add_desc(f, &desc, (struct value){ .dist = &dist }, 0, S);
		assert_int_equal(f->batch.len, i == 0);
		assert_bad(f, i != 0, i == 0 ? "" : "Bad distribution: /a");
		dist.len = 2;
		desc.path = STR("/b");
		add_desc(f, &desc, (struct value){ .dist = &dist }, 0, S);
		add_desc(f, &desc, (struct value){ .dist = NULL }, 0, S);
		assert_int_equal(f->batch.len, i == 0);
	}
}

static void
a_group_has_one_stamp(void **state)
{
	struct fixture *f = *state;

	add(f, "/a", 7, TS_NONE);
	add(f, "/b", 7, 2 * S);
	add(f, "/c", 8, 3 * S);
	add(f, "/d", 7, 2 * S);
	assert_bad(f, 0, "");
	add(f, "/e", 7, 3 * S);
	assert_bad(f, 1, "Conflicting timestamps for group 7: 2.000000000 and 3.000000000; /e");
	add(f, "/f", 7, TS_NONE);
	assert_int_equal(f->batch.len, 5);
}

static void
a_bad_metric_sets_no_stamp(void **state)
{
	struct fixture *f = *state;

	add(f, "/b", 1, S);
	add(f, "/a", 7, 2 * S); /* out of order */
	add(f, "/c", 7, 3 * S);
	assert_int_equal(f->batch.bad_count, 1);
	assert_int_equal(f->batch.len, 2);
}

static void
missing_stamps_come_from_the_group_or_the_clock(void **state)
{
	struct fixture *f = *state;

	add(f, "/a", 7, TS_NONE);
	add(f, "/b", 7, 2 * S);
	add(f, "/c", 8, TS_NONE);
	batch_end(&f->batch, 9 * S);
	assert_int_equal(f->batch.ts[0], 2 * S);
	assert_int_equal(f->batch.ts[1], 2 * S);
	assert_int_equal(f->batch.ts[2], 9 * S);

	batch_reset(&f->batch);
	batch_end(&f->batch, 9 * S);
	add(f, "/a", 7, TS_NONE);
	batch_end(&f->batch, 9 * S);
	assert_int_equal(f->batch.ts[0], 9 * S);
}

static void
stamps_of_many_groups_are_told_apart(void **state)
{
	static char paths[500][32];
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		int64_t group = (int64_t)(i / 2) * 1000003 - 7;

		snprintf(paths[i], sizeof(paths[i]), "/m/%06zu", i);
		add(f, paths[i], group, i % 2 == 0 ? group * 10 : TS_NONE);
	}
	batch_end(&f->batch, S);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		assert_int_equal(f->batch.ts[i], f->batch.group[i] * 10);
}

static void
sources_name_what_is_bad(void **state)
{
	struct fixture *f = *state;

	batch_bad(&f->batch, STR("/x"), "%s is no %s", "256", "int8");
	batch_bad(&f->batch, STR("/y"), "second");
	assert_bad(f, 2, "/x: 256 is no int8");
	batch_reset(&f->batch);
	assert_bad(f, 0, "");
}

static void
texts_are_cut_between_characters(void **state)
{
	static char path[4001], before[4001], reason[1000];
	struct fixture *f = *state;
	size_t len;

	for (size_t i = 0; i + 1 < sizeof(path); i += 2)
		memcpy(path + i, "\xC3\xA9", 2);
	path[0] = '/';
	path[1] = 'x';
	memset(reason, 'r', sizeof(reason) - 1);
	for (size_t off = 0; off < 2; off++) {
		batch_reset(&f->batch);
		batch_bad(&f->batch, (struct str){ path + off, sizeof(path) - 2 }, "%s", reason);
		len = strlen(f->batch.bad_text);
		assert_true(len > 200);
		assert_int_equal(utf8_valid_prefix(f->batch.bad_text, len), len);

		batch_reset(&f->batch);
		batch_bad(&f->batch, STR("/a"), "%.*s", 600, path + 1 + off);
		len = strlen(f->batch.bad_text);
		assert_int_equal(utf8_valid_prefix(f->batch.bad_text, len), len);
	}
	/* Two long paths in one text leave room for what is said of them. */
	batch_reset(&f->batch);
	memcpy(before, path, sizeof(path));
	add(f, before, 0, S);
	path[1] = 'a';
	add(f, path, 0, S);
	assert_non_null(strstr(f->batch.bad_text, "should come before '/x"));
	assert_int_equal(f->batch.bad_text[strlen(f->batch.bad_text) - 1], '\'');
}

/* 0, or -1 with err; all that was added before stays whole. */
static int
fill(struct batch *b, size_t n, struct err *err)
{
	static char paths[1000][32];

	for (size_t i = 0; i < n; i++) {
		struct metric_desc desc = { .kind = KIND_UINT64 };
		struct value value = { .u = i };

		snprintf(paths[i], sizeof(paths[i]), "/m/%06zu", i);
		desc.path = str_of(paths[i]);
		if (batch_add(b, &desc, &value, (int64_t)i, S, err) != 0) {
			assert_int_equal(b->len, i);
			for (size_t k = 0; k < i; k++)
				assert_int_equal(b->value[k].u, k);
			return -1;
		}
	}
	return 0;
}

static void
without_memory_an_add_fails_and_the_rest_stays(void **state)
{
	struct err err;
	unsigned nth = 0;
	bool happened;

	(void)state;
	do {
		struct batch b;

		batch_init(&b, 0);
		fault_malloc(++nth);
		if (fill(&b, 1000, &err) != 0) {
			assert_true(fault_happened());
			assert_int_equal(err.code, ERR_NOMEM);
			/* Going on is allowed. */
			while (b.len < 1000 && fill(&b, 0, &err) == 0) {
				struct metric_desc desc = { .path = STR("/z"), .kind = KIND_BOOL };
				struct value value = { .b = true };

				assert_int_equal(batch_add(&b, &desc, &value, 0, TS_NONE, &err), 0);
				break;
			}
		}
		happened = fault_happened();
		fault_malloc(0);
		batch_fini(&b);
	} while (happened);
	assert_true(nth > 5);
}

static void
beyond_the_limit_an_add_fails(void **state)
{
	struct batch b;
	struct err err;

	(void)state;
	for (size_t limit = 1; limit < 600000; limit += limit / 7 + 1) {
		batch_init(&b, limit);
		if (fill(&b, 1000, &err) == 0) {
			batch_fini(&b);
			return;
		}
		assert_int_equal(err.code, ERR_LIMIT);
		assert_true(b.arena.used_bytes <= limit);
		batch_fini(&b);
	}
	fail_msg("1000 metrics need more than 600000 bytes");
}

static void
polls_of_the_same_size_end_up_without_the_heap(void **state)
{
	struct batch b;
	struct err err;

	(void)state;
	batch_init(&b, 0);
	for (int i = 0; i < 3; i++) {
		batch_reset(&b);
		assert_int_equal(fill(&b, 200, &err), 0);
	}
	batch_reset(&b);
	fault_malloc(1);
	assert_int_equal(fill(&b, 200, &err), 0);
	assert_false(fault_happened());
	fault_malloc(0);
	batch_fini(&b);
}

static void
a_small_poll_after_a_big_one_is_small(void **state)
{
	struct batch b;
	struct err err;
	size_t alone;

	(void)state;
	batch_init(&b, 0);
	assert_int_equal(fill(&b, 10, &err), 0);
	alone = b.arena.used_bytes;
	batch_fini(&b);
	assert_true(alone < 16384);

	assert_int_equal(fill(&b, 1000, &err), 0);
	batch_reset(&b);
	fault_malloc(1);
	assert_int_equal(fill(&b, 10, &err), 0);
	assert_false(fault_happened());
	fault_malloc(0);
	batch_fini(&b);
}

static void
text_is_kept_between_polls_unless_it_is_large(void **state)
{
	struct batch b;
	const char *p;

	(void)state;
	batch_init(&b, 0);
	buf_reserve(&b.text, 1000);
	buf_puts(&b.text, "answer");
	p = b.text.p;
	batch_reset(&b);
	assert_int_equal(b.text.len, 0);
	assert_ptr_equal(b.text.p, p);
	buf_reserve(&b.text, 2 * 1024 * 1024);
	batch_reset(&b);
	assert_null(b.text.p);
	batch_fini(&b);
}

static unsigned released;

static void
count_release(struct batch_layout *layout)
{
	(void)layout;
	released++;
}

static void
what_a_batch_holds_is_released_when_it_is_emptied(void **state)
{
	struct fixture *f = *state;
	struct batch_layout layout = { .id = 1, .len = 1, .release = count_release };

	released = 0;
	batch_hold(&f->batch, &layout);
	add(f, "/a", 0, S);
	batch_reset(&f->batch);
	assert_int_equal(released, 1);
	batch_reset(&f->batch);
	assert_int_equal(released, 1);
	batch_hold(&f->batch, &layout);
	batch_fini(&f->batch);
	assert_int_equal(released, 2);
}

static void
a_batch_adopts_the_metrics_of_its_layout(void **state)
{
	struct fixture *f = *state;
	struct batch_layout layout = { .id = 17, .len = 2, .release = count_release };
	const struct metric_desc desc[] = {
		{ .path = STR("/a"), .kind = KIND_INT64 },
		{ .path = STR("/b"), .kind = KIND_INT64 },
	};
	const struct value value[] = { { .i = 1 }, { .i = 2 } };
	const int64_t group[] = { 3, 4 };
	int64_t ts[] = { S, TS_NONE };

	for (int round = 0; round < 2; round++) {
		batch_hold(&f->batch, &layout);
		assert_int_equal(batch_adopt(&f->batch, desc, group, value, ts, &f->err), 0);
		assert_true(f->batch.layout_id == 17);
		assert_int_equal(f->batch.len, 2);
		assert_ptr_equal(f->batch.desc, desc);
		assert_ptr_equal(f->batch.value, value);
		assert_ptr_equal(f->batch.group, group);
		batch_end(&f->batch, 9 * S);
		assert_true(f->batch.ts[0] == S);
		assert_true(f->batch.ts[1] == 9 * S);
		batch_reset(&f->batch);
		assert_true(f->batch.layout_id == 0);
		assert_int_equal(f->batch.len, 0);
		add(f, "/c", 0, S); /* into arrays of its own */
		assert_int_equal(f->batch.len, 1);
		batch_reset(&f->batch);
	}
}

static void
without_memory_nothing_is_adopted(void **state)
{
	struct fixture *f = *state;
	static struct batch_layout layout = { .id = 17, .len = 0, .release = count_release };

	batch_hold(&f->batch, &layout);
	fault_malloc(1);
	assert_int_equal(batch_adopt(&f->batch, NULL, NULL, NULL, NULL, &f->err), -1);
	assert_int_equal(f->err.code, ERR_NOMEM);
	assert_true(f->batch.layout_id == 0);
}

static void
memory_goes_from_one_batch_to_another(void **state)
{
	struct metric_desc desc = { .path = STR("/a"), .kind = KIND_INT64 };
	struct value value = { .i = 1 };
	struct batch from, to;
	const void *chunk, *text;
	struct err err;

	(void)state;
	batch_init(&from, 0);
	batch_init(&to, 1);
	to.text.limit = 1000;
	for (int i = 0; i < 3; i++) { /* what it had goes */
		assert_true(buf_reserve(&from.text, 500));
		assert_int_equal(batch_add(&from, &desc, &value, 0, TS_NONE, &err), 0);
		batch_reset(&from);
		chunk = from.arena.chunks;
		text = from.text.p;
		assert_non_null(chunk);
		batch_move_memory(&to, &from);
		assert_ptr_equal(to.arena.chunks, chunk);
		assert_ptr_equal(to.text.p, text);
		assert_int_equal(to.text.limit, 1000);
		assert_int_equal(to.arena.limit_bytes, to.arena.used_bytes);
		assert_null(from.arena.chunks);
		assert_null(from.text.p);
	}
	/* It may go on using what it got, and no more. */
	assert_non_null(arena_alloc(&to.arena, 8));
	assert_null(arena_alloc(&to.arena, 1000 * 1000));
	batch_fini(&from);
	batch_fini(&to);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_added_stands_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(many_are_all_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(paths_that_are_none_are_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(order_is_that_of_components, setup, teardown),
		cmocka_unit_test_setup_teardown(without_order_any_will_do, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    the_same_path_and_tags_twice_are_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(what_was_bad_may_come_again, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_hold_scalars, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    distributions_have_rising_limits_and_a_count_more, setup, teardown),
		cmocka_unit_test_setup_teardown(a_group_has_one_stamp, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_metric_sets_no_stamp, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    missing_stamps_come_from_the_group_or_the_clock, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    stamps_of_many_groups_are_told_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(sources_name_what_is_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_are_cut_between_characters, setup, teardown),
		cmocka_unit_test(without_memory_an_add_fails_and_the_rest_stays),
		cmocka_unit_test(beyond_the_limit_an_add_fails),
		cmocka_unit_test(polls_of_the_same_size_end_up_without_the_heap),
		cmocka_unit_test(a_small_poll_after_a_big_one_is_small),
		cmocka_unit_test_setup_teardown(
		    what_a_batch_holds_is_released_when_it_is_emptied, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_batch_adopts_the_metrics_of_its_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_adopted, setup, teardown),
		cmocka_unit_test(memory_goes_from_one_batch_to_another),
		cmocka_unit_test(text_is_kept_between_polls_unless_it_is_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
