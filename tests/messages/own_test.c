#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "messages/own.h"

#define NOW INT64_C(1500000000123456789)

struct fixture {
	struct own *own;
	struct batch batch;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	f.own = own_new(&f.err);
	batch_init(&f.batch, 0);
	*state = &f;
	return f.own == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	own_free(f->own);
	batch_fini(&f->batch);
	return 0;
}

static struct value
read_number(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .i = atomic_load((_Atomic int64_t *)ctx) };
}

static struct value
read_text(void *ctx, struct arena *arena)
{
	char text[32];

	snprintf(text, sizeof(text), "is %lld", (long long)atomic_load((_Atomic int64_t *)ctx));
	return (struct value){ .s = arena_copy(arena, str_of(text)) };
}

static const struct own_metric rows[] = {
	{ "/x/number", "A number", UNIT_BYTES, KIND_INT64, 1, read_number },
	{ "/a/text", "A text", UNIT_NONE, KIND_STRING, 0, read_text },
	{ "/x-y/number", "Another", UNIT_NONE, KIND_INT64, 2, read_number },
};

static const double limits[] = { 10, 20, 50 };

static void
collect(struct fixture *f)
{
	batch_reset(&f->batch);
	assert_int_equal(own_collect(f->own, &f->batch, NOW, &f->err), 0);
	assert_string_equal(f->batch.bad_text, "");
}

static void
all_rows_are_collected_in_component_order(void **state)
{
	struct fixture *f = *state;
	_Atomic int64_t number = 42;

	collect(f);
	assert_int_equal(f->batch.len, 0);
	assert_int_equal(own_add(f->own, rows, ARRAY_LEN(rows), &number, &f->err), 0);
	collect(f);
	assert_int_equal(f->batch.len, 3);
	assert_true(str_eq(f->batch.desc[0].path, STR("/a/text")));
	assert_true(str_eq(f->batch.desc[1].path, STR("/x/number")));
	assert_true(str_eq(f->batch.desc[2].path, STR("/x-y/number")));
	assert_true(str_eq(f->batch.value[0].s, STR("is 42")));
	assert_int_equal(f->batch.value[1].i, 42);
	assert_true(str_eq(f->batch.desc[1].description, STR("A number")));
	assert_true(str_eq(f->batch.desc[1].unit, STR("Bytes")));
	assert_int_equal(f->batch.desc[1].kind, KIND_INT64);
	assert_int_equal(f->batch.group[0], 0);
	assert_int_equal(f->batch.group[1], 1);
	assert_int_equal(f->batch.group[2], 2);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(f->batch.ts[i], NOW);
	number = 43;
	collect(f);
	assert_int_equal(f->batch.value[2].i, 43);
}

static void
a_path_is_registered_once(void **state)
{
	static const struct own_metric twice[] = {
		{ "/new", "", "", KIND_INT64, 0, read_number },
		{ "/b", "", "", KIND_INT64, 0, read_number },
		{ "/new", "", "", KIND_INT64, 0, read_number },
	};
	struct fixture *f = *state;
	_Atomic int64_t number = 1, other = 2;

	assert_int_equal(own_add(f->own, rows, ARRAY_LEN(rows), &number, &f->err), 0);
	assert_int_equal(own_add(f->own, rows, ARRAY_LEN(rows), &number, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXISTS);
	assert_string_equal(f->err.text, "own metric /x/number exists already");
	assert_int_equal(own_add(f->own, rows + 1, 1, &other, &f->err), -1);
	assert_int_equal(own_add(f->own, twice, 3, &other, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXISTS);
	assert_null(own_dist_new(f->own, "/a/text", "", "", limits, 3, &f->err));
	assert_int_equal(f->err.code, ERR_EXISTS);
	collect(f);
	assert_int_equal(f->batch.len, 3);
	assert_int_equal(f->batch.value[1].i, 1);
}

static void
what_is_removed_is_gone_and_may_come_back(void **state)
{
	struct fixture *f = *state;
	_Atomic int64_t first = 1, second = 2;

	assert_int_equal(own_add(f->own, rows, 2, &first, &f->err), 0);
	assert_int_equal(own_add(f->own, rows + 2, 1, &second, &f->err), 0);
	own_remove(f->own, rows, &second); /* not with this ctx */
	own_remove(f->own, rows + 2, &first);
	collect(f);
	assert_int_equal(f->batch.len, 3);
	own_remove(f->own, rows, &first);
	collect(f);
	assert_int_equal(f->batch.len, 1);
	assert_int_equal(f->batch.value[0].i, 2);
	assert_int_equal(own_add(f->own, rows, 2, &second, &f->err), 0);
	collect(f);
	assert_int_equal(f->batch.len, 3);
	assert_int_equal(f->batch.value[1].i, 2);
}

static void
a_batch_outlives_the_rows(void **state)
{
	char path[] = "/w/name", description[] = "d", unit[] = "u";
	struct own_metric row = { path, description, unit, KIND_INT64, 0, read_number };
	struct fixture *f = *state;
	_Atomic int64_t number = 1;

	assert_int_equal(own_add(f->own, &row, 1, &number, &f->err), 0);
	collect(f);
	own_remove(f->own, &row, &number);
	path[1] = description[0] = unit[0] = 'X';
	assert_true(str_eq(f->batch.desc[0].path, STR("/w/name")));
	assert_true(str_eq(f->batch.desc[0].description, STR("d")));
	assert_true(str_eq(f->batch.desc[0].unit, STR("u")));
}

static void
assert_near(double got, double want)
{
	if (fabs(got - want) > 1e-12 * fabs(want))
		fail_msg("%.17g, not %.17g", got, want);
}

static void
distributions_count_as_tricorder_does(void **state)
{
	static const double values[] = { 1, 9.5, 10, 20, 32.5, 100.5 };
	struct fixture *f = *state;
	struct own_dist *first = own_dist_new(f->own, "/d/b", "B", "None", limits, 3, &f->err);
	struct own_dist *second = own_dist_new(f->own, "/d/a", "A", "None", limits, 3, &f->err);
	const struct dist *d;

	assert_true(first != NULL && second != NULL);
	for (size_t i = 0; i < ARRAY_LEN(values); i++)
		own_dist_add(first, values[i]);
	collect(f);
	assert_int_equal(f->batch.len, 2);
	assert_true(str_eq(f->batch.desc[0].path, STR("/d/a")));
	assert_int_equal(f->batch.group[0], 101);
	assert_int_equal(f->batch.group[1], 100);
	assert_int_equal(f->batch.desc[1].kind, KIND_DIST);
	assert_int_equal(f->batch.desc[1].limit_count, 3);
	assert_true(f->batch.desc[1].limits == limits);
	assert_false(f->batch.desc[1].not_cumulative);

	/* The numbers of the captured distribution (tricorder_metricsapi_vec.json). */
	d = f->batch.value[1].dist;
	assert_int_equal(d->len, 4);
	assert_int_equal(d->counts[0], 2);
	assert_int_equal(d->counts[1], 1);
	assert_int_equal(d->counts[2], 2);
	assert_int_equal(d->counts[3], 1);
	assert_int_equal(d->count, 6);
	assert_int_equal(d->generation, 6);
	assert_near(d->min, 1);
	assert_near(d->max, 100.5);
	assert_near(d->sum, 173.5);
	assert_near(d->average, 28.916666666666668);
	assert_near(d->median, 22.5);

	d = f->batch.value[0].dist;
	assert_int_equal(d->count, 0);
	assert_true(d->min == 0 && d->max == 0 && d->average == 0 && d->median == 0);
}

static void
count_some(void *ctx, struct dist *dist, uint64_t *counts)
{
	counts[1] = *(const uint64_t *)ctx;
	counts[2] = 1;
	dist->sum = 15 * (double)counts[1] + 25;
	dist->min = 15;
	dist->max = 25;
}

static const struct own_counted counted = {
	.metric = { .path = "/d/counted", .description = "D", .unit = "None", .kind = KIND_DIST },
	.limits = limits,
	.limit_count = 3,
	.count = count_some,
};

static void
distributions_may_be_counted_when_they_are_asked_for(void **state)
{
	struct fixture *f = *state;
	uint64_t some = 3;
	const struct dist *d;

	assert_int_equal(own_add_counted(f->own, &counted, &some, &f->err), 0);
	assert_int_equal(own_add_counted(f->own, &counted, &some, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXISTS);
	for (; some > 0; some--) {
		collect(f);
		assert_int_equal(f->batch.len, 1);
		assert_true(f->batch.desc[0].not_cumulative);
		assert_int_equal(f->batch.desc[0].limit_count, 3);
		d = f->batch.value[0].dist;
		assert_int_equal(d->len, 4);
		assert_int_equal(d->counts[0] + d->counts[3], 0);
		assert_int_equal(d->counts[1], some);
		assert_int_equal(d->count, some + 1);
		assert_near(d->average, d->sum / (double)d->count);
		assert_true(d->median >= 10 && d->median <= 25);
	}
	own_remove(f->own, &counted.metric, &some);
	collect(f);
	assert_int_equal(f->batch.len, 0);
}

static void
medians_follow_the_table(void **state)
{
	static const struct {
		double values[5];
		size_t n;
		double median;
	} cases[] = {
		{ { 7 }, 1, 7 },
		{ { 7, 30 }, 2, 18.5 },
		/* The second of three in [11, 19]: 11 + 8 * 2 / 4. */
		{ { 11, 12, 19 }, 3, 15 },
		/* The first of one in [10, 20). */
		{ { 5, 11, 60 }, 3, 15 },
		/* All below the first limit, so between the least and the largest. */
		{ { -8, 2, 4 }, 3, -2 },
		/* All above the last. */
		{ { 60, 70, 80 }, 3, 70 },
		{ { 5, 5, 5, 5 }, 4, 5 },
		/* Second of two in [5, 10), first of two in [10, 15]. */
		{ { 5, 9, 12, 15 }, 4, (5 + 5 * 2. / 3 + 10 + 5 * 1. / 3) / 2 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct own_dist *dist;

		own_free(f->own);
		f->own = own_new(&f->err);
		assert_non_null(f->own);
		dist = own_dist_new(f->own, "/d", "", "", limits, 3, &f->err);
		assert_non_null(dist);
		for (size_t k = 0; k < cases[i].n; k++)
			own_dist_add(dist, cases[i].values[k]);
		collect(f);
		assert_near(f->batch.value[0].dist->median, cases[i].median);
	}
}

static void
geometric_limits_are_1_2_5(void **state)
{
	static const double want[] = { 0.5, 1, 2, 5, 10, 20, 50 };
	static const double small[] = { 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 0.01 };
	double got[64];

	(void)state;
	assert_int_equal(own_geometric(0.5, 50, got, ARRAY_LEN(got)), 7);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(own_geometric(0.7, 21, got, ARRAY_LEN(got)), 7);
	assert_memory_equal(got, want, sizeof(want));
	assert_int_equal(own_geometric(0.5, 50, got, 3), 3);
	assert_memory_equal(got, want, 3 * sizeof(want[0]));
	assert_int_equal(own_geometric(1e-4, 0.01, got, ARRAY_LEN(got)), 7);
	assert_memory_equal(got, small, sizeof(small));
	assert_int_equal(own_geometric(1, 1e6, got, ARRAY_LEN(got)), 19);
	assert_true(got[0] == 1 && got[18] == 1e6);
	assert_int_equal(own_geometric(1e-4, 1000, got, ARRAY_LEN(got)), 22);
	assert_true(got[0] == 1e-4 && got[21] == 1000);
}

static void
without_memory_nothing_is_half_done(void **state)
{
	_Atomic int64_t number = 5;
	uint64_t some = 3;
	unsigned nth = 0;
	bool happened;

	(void)state;
	do {
		struct err err = { .code = ERR_NONE };
		struct own_dist *dist = NULL;
		struct own *own;
		struct batch b;
		size_t expected = 0;

		batch_init(&b, 0);
		fault_malloc(++nth);
		own = own_new(&err);
		if (own != NULL && own_add(own, rows, ARRAY_LEN(rows), &number, &err) == 0)
			expected += ARRAY_LEN(rows);
		if (own != NULL && own_add_counted(own, &counted, &some, &err) == 0)
			expected++;
		if (own != NULL)
			dist = own_dist_new(own, "/d", "", "", limits, 3, &err);
		if (dist != NULL) {
			own_dist_add(dist, 7);
			expected++;
		}
		if (own != NULL && own_collect(own, &b, NOW, &err) == 0)
			assert_int_equal(b.len, expected);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(err.code, happened ? ERR_NOMEM : ERR_NONE);
		own_free(own);
		batch_fini(&b);
	} while (happened);
	assert_true(nth > 4);
}

static void
beyond_the_batchs_limit_collecting_fails(void **state)
{
	struct fixture *f = *state;
	_Atomic int64_t number = 5;
	size_t limit;

	assert_int_equal(own_add(f->own, rows, ARRAY_LEN(rows), &number, &f->err), 0);
	assert_non_null(own_dist_new(f->own, "/d", "", "", limits, 3, &f->err));
	for (limit = 1; limit < 100000; limit += 500) {
		struct batch b;
		int rc;

		batch_init(&b, limit);
		rc = own_collect(f->own, &b, NOW, &f->err);
		batch_fini(&b);
		if (rc == 0)
			break;
		assert_int_equal(f->err.code, ERR_LIMIT);
	}
	assert_in_range(limit, 1000, 99999);
}

#define THREADS     4
#define ADDS        5000
#define COLLECTIONS 200

struct threads_ctx {
	struct own *own;
	struct own_dist *dist;
	_Atomic int64_t number;
};

static void *
add_many(void *arg)
{
	struct threads_ctx *ctx = arg;

	for (int i = 0; i < ADDS; i++) {
		own_dist_add(ctx->dist, i % 60);
		atomic_fetch_add(&ctx->number, 1);
	}
	return NULL;
}

static void *
come_and_go(void *arg)
{
	struct threads_ctx *ctx = arg;
	_Atomic int64_t mine = 0;
	struct err err;

	for (int i = 0; i < COLLECTIONS; i++) {
		if (own_add(ctx->own, rows, ARRAY_LEN(rows), &mine, &err) == 0)
			own_remove(ctx->own, rows, &mine);
	}
	return NULL;
}

static void *
collect_many(void *arg)
{
	struct threads_ctx *ctx = arg;
	bool *good = malloc(sizeof(*good));
	uint64_t last = 0;
	struct batch b;
	struct err err;

	batch_init(&b, 0);
	*good = true;
	for (int i = 0; i < COLLECTIONS; i++) {
		batch_reset(&b);
		*good &= own_collect(ctx->own, &b, NOW, &err) == 0 && b.bad_count == 0;
		for (size_t k = 0; k < b.len; k++) {
			const struct dist *d = b.value[k].dist;

			if (b.desc[k].kind != KIND_DIST)
				continue;
			*good &=
			    d->counts[0] + d->counts[1] + d->counts[2] + d->counts[3] == d->count &&
			    d->count >= last;
			last = d->count;
		}
	}
	batch_fini(&b);
	return good;
}

static void
threads_lose_nothing(void **state)
{
	struct fixture *f = *state;
	struct threads_ctx ctx = { .own = f->own };
	pthread_t adders[THREADS], changer, collector;
	void *good;

	ctx.dist = own_dist_new(f->own, "/d", "", "", limits, 3, &f->err);
	assert_non_null(ctx.dist);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&adders[i], NULL, add_many, &ctx), 0);
	assert_int_equal(pthread_create(&changer, NULL, come_and_go, &ctx), 0);
	assert_int_equal(pthread_create(&collector, NULL, collect_many, &ctx), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(adders[i], NULL);
	pthread_join(changer, NULL);
	pthread_join(collector, &good);
	assert_true(*(bool *)good);
	free(good);
	collect(f);
	assert_int_equal(f->batch.len, 1);
	assert_int_equal(f->batch.value[0].dist->count, THREADS * ADDS);
	assert_int_equal(ctx.number, THREADS * ADDS);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    all_rows_are_collected_in_component_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_path_is_registered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_removed_is_gone_and_may_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_batch_outlives_the_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    distributions_count_as_tricorder_does, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    distributions_may_be_counted_when_they_are_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(medians_follow_the_table, setup, teardown),
		cmocka_unit_test(geometric_limits_are_1_2_5),
		cmocka_unit_test(without_memory_nothing_is_half_done),
		cmocka_unit_test_setup_teardown(
		    beyond_the_batchs_limit_collecting_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(threads_lose_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
