#include "sources/snmp_layout_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch_same.h"
#include "fault.h"

#define BUDGET_BYTES ((size_t)8 * 1024 * 1024)

struct fixture {
	const struct snmp_names *names;
	struct snmp_layouts *layouts;
	struct arena arena;
	struct snmp_rows rows, none;
	struct batch batch, other;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.names = snmp_names_standard();
	f.layouts = snmp_layouts_new(BUDGET_BYTES, &f.err);
	assert_true(f.names != NULL && f.layouts != NULL);
	arena_init(&f.arena, 0);
	snmp_rows_init(&f.rows, &f.arena);
	snmp_rows_init(&f.none, &f.arena);
	batch_init(&f.batch, 0);
	batch_init(&f.other, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	snmp_layouts_free(f->layouts);
	batch_fini(&f->batch);
	batch_fini(&f->other);
	arena_fini(&f->arena);
	return 0;
}

static void
keep(struct fixture *f, const char *oid, struct snmp_varbind varbind)
{
	struct snmp_oid_room room;

	assert_true(snmp_oid_parse(str_of(oid), &room));
	varbind.name = snmp_oid_of(&room);
	assert_true(snmp_rows_keep(&f->rows, &varbind, 0));
}

/* An interface, and what else there is: objects of all kinds, one of them unknown. */
static void
make_rows(struct fixture *f, const char *name, uint64_t number)
{
	snmp_rows_init(&f->rows, &f->arena);
	keep(f, "1.3.6.1.2.1.1.1.0",
	    (struct snmp_varbind){ .type = SNMP_OCTETS, .octets = STR("a switch") });
	keep(f, "1.3.6.1.2.1.1.3.0",
	    (struct snmp_varbind){ .type = SNMP_TIMETICKS, .u = number & UINT32_MAX });
	keep(f, "1.3.6.1.2.1.2.2.1.2.7",
	    (struct snmp_varbind){ .type = SNMP_OCTETS, .octets = str_of(name) });
	keep(f, "1.3.6.1.2.1.2.2.1.8.7",
	    (struct snmp_varbind){ .type = SNMP_INTEGER, .i = (int64_t)(number & 1) });
	keep(f, "1.3.6.1.2.1.31.1.1.1.6.7",
	    (struct snmp_varbind){ .type = SNMP_COUNTER64, .u = number });
	keep(f, "1.3.6.1.4.1.9.9.1.0",
	    (struct snmp_varbind){ .type = SNMP_OCTETS, .octets = STR("\x01\x02") });
}

/* The metrics that make_rows' objects become, and one more, as a poll makes them. */
static void
convert(struct fixture *f, struct batch *batch)
{
	static const struct metric_desc more = {
		.path = { "/more", 5 }, .unit = { "None", 4 }, .kind = KIND_UINT64
	};
	const struct value value = { .u = 5 };
	size_t nameless;

	batch_reset(batch);
	assert_int_equal(
	    snmp_rows_to_batch(&f->rows, &f->none, f->names, batch, &nameless, &f->err), 0);
	assert_int_equal(batch_add(batch, &more, &value, 0, TS_NONE, &f->err), 0);
}

static struct snmp_layout *
learn(struct fixture *f)
{
	struct snmp_layout *l;

	convert(f, &f->other);
	l = snmp_layout_learn(f->layouts, &f->rows, f->names, &f->other);
	assert_non_null(l);
	assert_int_not_equal(f->other.layout_id, 0);
	return l;
}

static enum snmp_fit
apply(struct fixture *f, struct snmp_layout *l)
{
	const struct value more = { .u = 5 };

	batch_reset(&f->batch);
	return snmp_layout_apply(l, &f->rows, &more, 1, &f->batch, &f->err);
}

static void
another_poll_is_made_as_from_scratch(void **state)
{
	struct fixture *f = *state;
	struct snmp_layout *l;
	uint64_t id;

	make_rows(f, "eth0", 1);
	l = learn(f);
	id = f->other.layout_id;
	make_rows(f, "eth0", UINT64_MAX);
	assert_int_equal(apply(f, l), SNMP_FITS);
	assert_int_equal(f->batch.layout_id, id);
	convert(f, &f->other);
	batch_end(&f->batch, 3);
	batch_end(&f->other, 3);
	assert_null(batch_difference(&f->batch, &f->other));
	snmp_layout_unref(l);
}

static void
whatever_is_not_a_value_makes_another_poll(void **state)
{
	struct fixture *f = *state;
	struct snmp_layout *l;

	make_rows(f, "eth0", 1);
	l = learn(f);
	make_rows(f, "eth1", 1); /* names the row */
	assert_int_equal(apply(f, l), SNMP_OTHER);
	make_rows(f, "eth0", 1);
	f->rows.all[4].type = SNMP_COUNTER32;
	assert_int_equal(apply(f, l), SNMP_OTHER);
	make_rows(f, "eth0", 1);
	((uint32_t *)(uintptr_t)f->rows.all[5].name.ids)[8]++;
	assert_int_equal(apply(f, l), SNMP_OTHER);
	make_rows(f, "eth0", 1);
	f->rows.all[3].i = INT64_C(1) << 31; /* costs itself: counted from scratch */
	assert_int_equal(apply(f, l), SNMP_OTHER);
	make_rows(f, "eth0", 1);
	f->rows.len--;
	assert_int_equal(apply(f, l), SNMP_OTHER);
	make_rows(f, "eth0", 1);
	keep(f, "1.3.6.1.4.1.9.9.2.0", (struct snmp_varbind){ .type = SNMP_INTEGER });
	assert_int_equal(apply(f, l), SNMP_OTHER);
	assert_int_equal(f->batch.len, 0);
	snmp_layout_unref(l);
}

static void
agents_that_are_alike_share_one(void **state)
{
	struct fixture *f = *state;
	struct snmp_layout *one, *same, *other;
	size_t bytes;

	make_rows(f, "eth0", 1);
	one = learn(f);
	bytes = snmp_layouts_bytes(f->layouts);
	make_rows(f, "eth0", 2);
	same = learn(f);
	assert_ptr_equal(one, same);
	assert_int_equal(snmp_layouts_bytes(f->layouts), bytes);
	make_rows(f, "eth1", 2);
	other = learn(f);
	assert_ptr_not_equal(one, other);
	snmp_layout_unref(one);
	snmp_layout_unref(same);
	snmp_layout_unref(other);
}

static void
unused_ones_make_room(void **state)
{
	struct fixture *f = *state;
	char name[20];

	for (unsigned i = 0; i < 10000; i++) {
		snprintf(name, sizeof(name), "eth%u", i);
		make_rows(f, name, 1);
		snmp_layout_unref(learn(f));
	}
	assert_true(snmp_layouts_bytes(f->layouts) < 2 * 1024 * 1024);
}

static void
the_budget_holds(void **state)
{
	struct fixture *f = *state;
	struct snmp_layout *held[10000];
	size_t count = 0;
	char name[20];

	while (count < ARRAY_LEN(held)) {
		snprintf(name, sizeof(name), "eth%zu", count);
		make_rows(f, name, 1);
		convert(f, &f->other);
		held[count] = snmp_layout_learn(f->layouts, &f->rows, f->names, &f->other);
		if (held[count] == NULL)
			break;
		count++;
	}
	assert_true(count > 1000 && count < ARRAY_LEN(held));
	assert_int_equal(f->other.layout_id, 0);
	assert_true(snmp_layouts_bytes(f->layouts) <= BUDGET_BYTES);
	while (count > 0)
		snmp_layout_unref(held[--count]);
	snmp_layout_unref(learn(f)); /* there is room again */
}

static void
batches_outlive_the_table(void **state)
{
	struct fixture *f = *state;
	struct snmp_layout *l;

	make_rows(f, "eth0", 1);
	l = learn(f);
	assert_int_equal(apply(f, l), SNMP_FITS);
	snmp_layout_unref(l);
	snmp_layouts_free(f->layouts);
	f->layouts = NULL;
	assert_true(str_eq(f->batch.desc[2].path, STR("/snmp/if/eth0/descr")));
}

static void
nothing_is_lost_without_memory(void **state)
{
	struct fixture *f = *state;
	struct snmp_layouts *layouts;
	struct snmp_layout *l;
	unsigned nth = 1;

	for (fault_malloc(nth); (layouts = snmp_layouts_new(1, &f->err)) == NULL;
	     fault_malloc(++nth))
		assert_int_equal(f->err.code, ERR_NOMEM);
	fault_malloc(0);
	snmp_layouts_free(layouts);

	make_rows(f, "eth0", 1);
	convert(f, &f->other);
	nth = 1;
	for (fault_malloc(nth);
	     (l = snmp_layout_learn(f->layouts, &f->rows, f->names, &f->other)) == NULL;
	     fault_malloc(++nth))
		assert_int_equal(snmp_layouts_bytes(f->layouts), 0);
	fault_malloc(0);
	assert_true(nth > 1);

	for (nth = 1;; nth++) {
		enum snmp_fit fit;

		batch_fini(&f->batch);
		fault_malloc(nth);
		fit = apply(f, l);
		fault_malloc(0);
		if (fit == SNMP_FITS)
			break;
		assert_int_equal(fit, SNMP_LOST);
		assert_int_equal(f->err.code, ERR_NOMEM);
	}
	assert_true(nth > 1);
	snmp_layout_unref(l);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    another_poll_is_made_as_from_scratch, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    whatever_is_not_a_value_makes_another_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(agents_that_are_alike_share_one, setup, teardown),
		cmocka_unit_test_setup_teardown(unused_ones_make_room, setup, teardown),
		cmocka_unit_test_setup_teardown(the_budget_holds, setup, teardown),
		cmocka_unit_test_setup_teardown(batches_outlive_the_table, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
