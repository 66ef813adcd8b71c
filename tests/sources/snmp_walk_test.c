#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sources/snmp_walk_priv.h"

#define OBJECTS_MOST 200

/* An agent as a sorted list of objects, and what a walk took from it. */
struct agent {
	struct snmp_oid_room objects[OBJECTS_MOST];
	size_t count;
	size_t answer_most; /* varbinds; 0 = no limit */
	struct snmp_oid_room taken[OBJECTS_MOST];
	uint32_t runs[OBJECTS_MOST];
	size_t taken_count, lookup_count, uptimes;
	unsigned requests;
};

struct fixture {
	struct agent agent;
	struct snmp_walk walk;
	struct snmp_plan plan;
	struct snmp_guide guide;
	struct snmp_reps reps;
	struct snmp_oid_room root_rooms[4], get_rooms[4];
	struct snmp_oid roots[4], gets[4];
	struct snmp_oid_room mark_rooms[OBJECTS_MOST];
	struct snmp_oid marks[OBJECTS_MOST];
	size_t first[5];
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.plan = (struct snmp_plan){ .gets = f.gets, .roots = f.roots };
	snmp_reps_init(&f.reps, 10);
	*state = &f;
	return 0;
}

static void
parse(struct snmp_oid_room *room, const char *text)
{
	assert_true(snmp_oid_parse(str_of(text), room));
}

static void
add(struct fixture *f, const char *before, unsigned number, const char *after)
{
	char text[100];
	struct snmp_oid_room room;
	size_t at = f->agent.count++;

	snprintf(text, sizeof(text), "%s%u%s", before, number, after);
	parse(&room, text);
	while (at > 0 &&
	       snmp_oid_cmp(snmp_oid_of(&f->agent.objects[at - 1]), snmp_oid_of(&room)) > 0) {
		f->agent.objects[at] = f->agent.objects[at - 1];
		at--;
	}
	f->agent.objects[at] = room;
}

static void
add_root(struct fixture *f, const char *text)
{
	parse(&f->root_rooms[f->plan.root_count], text);
	f->roots[f->plan.root_count] = snmp_oid_of(&f->root_rooms[f->plan.root_count]);
	f->plan.root_count++;
}

static void
add_get(struct fixture *f, const char *text)
{
	parse(&f->get_rooms[f->plan.get_count], text);
	f->gets[f->plan.get_count] = snmp_oid_of(&f->get_rooms[f->plan.get_count]);
	f->plan.get_count++;
}

static int
take(struct fixture *f, struct snmp_oid name, enum snmp_type type)
{
	struct agent *a = &f->agent;
	struct snmp_varbind varbind = { .name = name, .type = type };

	switch (snmp_walk_take(&f->walk, &varbind, &f->err)) {
	case SNMP_KEEP:
		a->runs[a->taken_count] = f->walk.run;
		snmp_oid_keep(&a->taken[a->taken_count++], name);
		return 0;
	case SNMP_LOOKUP:
		a->lookup_count++;
		return 0;
	case SNMP_UPTIME:
		a->uptimes++;
		return 0;
	case SNMP_DROP:
		return 0;
	case SNMP_WRONG:
		break;
	}
	return -1;
}

static size_t
find(const struct agent *a, struct snmp_oid name, bool next)
{
	for (size_t i = 0; i < a->count; i++) {
		int order = snmp_oid_cmp(snmp_oid_of(&a->objects[i]), name);

		if (next ? order > 0 : order == 0)
			return i;
	}
	return a->count;
}

/* Answers as RFC 3416 section 4.2 says. */
static int
answer_bulk(struct fixture *f, const struct snmp_ask *ask)
{
	struct agent *a = &f->agent;
	struct snmp_oid_room at[SNMP_GETS_MOST + 1];
	size_t sent = 0;

	for (size_t i = 0; i < ask->count; i++)
		snmp_oid_keep(&at[i], ask->oids[i]);
	for (unsigned n = 0; n < ask->repetitions; n++) {
		for (size_t i = n == 0 ? 0 : ask->non_repeaters; i < ask->count; i++) {
			size_t next = find(a, snmp_oid_of(&at[i]), true);
			bool end = next == a->count;

			if (a->answer_most > 0 && sent++ == a->answer_most)
				return 0;
			if (!end)
				snmp_oid_keep(&at[i], snmp_oid_of(&a->objects[next]));
			if (take(f, snmp_oid_of(&at[i]),
			        end ? SNMP_END_OF_MIB_VIEW : SNMP_INTEGER) != 0)
				return -1;
		}
	}
	return 0;
}

/* Version 1 answers all or nothing. */
static int64_t
first_missing(const struct fixture *f, const struct snmp_ask *ask)
{
	for (size_t i = 0; i < ask->count; i++) {
		if (find(&f->agent, ask->oids[i], ask->pdu != SNMP_PDU_GET) == f->agent.count)
			return (int64_t)i + 1;
	}
	return 0;
}

static int
answer(struct fixture *f, const struct snmp_ask *ask, int64_t *status, int64_t *index)
{
	const struct agent *a = &f->agent;

	*status = *index = 0;
	if (ask->pdu == SNMP_PDU_GETBULK)
		return answer_bulk(f, ask);
	if (f->plan.v1 && (*index = first_missing(f, ask)) > 0) {
		*status = SNMP_ERR_NO_SUCH_NAME;
		return 0;
	}
	for (size_t i = 0; i < ask->count; i++) {
		size_t at = find(a, ask->oids[i], ask->pdu != SNMP_PDU_GET);
		int rc = at == a->count ? take(f, ask->oids[i], SNMP_NO_SUCH_INSTANCE)
		                        : take(f, snmp_oid_of(&a->objects[at]), SNMP_INTEGER);

		if (rc != 0)
			return -1;
	}
	return 0;
}

/* A whole poll. -1: it failed. */
static int
poll(struct fixture *f, bool lookups)
{
	struct agent *a = &f->agent;
	struct snmp_ask ask;
	int64_t status, index;

	a->taken_count = a->lookup_count = a->uptimes = 0;
	a->requests = 0;
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, lookups);
	while (snmp_walk_ask(&f->walk, 0, &ask)) {
		assert_true(a->requests++ < 10000);
		if (answer(f, &ask, &status, &index) != 0 ||
		    snmp_walk_answered(&f->walk, status, index, &f->err) != 0)
			return -1;
	}
	return 0;
}

/* Each object of the subtrees was taken once; sorted by run they are in order. */
static void
check_all_taken(const struct fixture *f)
{
	const struct agent *a = &f->agent;
	size_t expected = 0, at = 0;

	for (size_t root = 0; root < f->plan.root_count; root++) {
		for (size_t i = 0; i < a->count; i++)
			expected += snmp_oid_is_under(snmp_oid_of(&a->objects[i]), f->roots[root]);
	}
	assert_int_equal(a->taken_count, expected);
	for (uint32_t run = 0; run < f->walk.run_count; run++) {
		for (size_t i = 0; i < a->taken_count; i++) {
			if (a->runs[i] != run)
				continue;
			while (at < a->count && snmp_oid_cmp(snmp_oid_of(&a->objects[at]),
			                            snmp_oid_of(&a->taken[i])) != 0)
				at++;
			assert_true(at < a->count);
		}
	}
}

/* Marks for each step-th object of each root, as a poll would set them. */
static void
set_guide(struct fixture *f, size_t step, unsigned lanes)
{
	size_t count = 0;

	for (size_t root = 0; root < f->plan.root_count; root++) {
		size_t found = 0;

		f->first[root] = count;
		for (size_t i = 0; i < f->agent.count; i++) {
			struct snmp_oid oid = snmp_oid_of(&f->agent.objects[i]);

			if (!snmp_oid_is_under(oid, f->roots[root]) || ++found % step != 0)
				continue;
			snmp_oid_keep(&f->mark_rooms[count], oid);
			f->marks[count] = snmp_oid_of(&f->mark_rooms[count]);
			count++;
		}
	}
	f->first[f->plan.root_count] = count;
	f->guide = (struct snmp_guide){ f->marks, f->first, lanes };
}

static void
add_table(struct fixture *f)
{
	add(f, "1.3.6.1.2.1.1.3.", 0, "");
	for (unsigned i = 1; i <= 33; i++)
		add(f, "1.3.6.1.2.1.2.", i, ".1");
	for (unsigned i = 1; i <= 20; i++)
		add(f, "1.3.6.1.2.1.4.", i, "");
	add(f, "1.3.6.1.2.1.5.", 1, "");
	add_root(f, "1.3.6.1.2.1.2");
	add_root(f, "1.3.6.1.2.1.3");
	add_root(f, "1.3.6.1.2.1.4");
}

static void
every_object_comes_once_whatever_the_size_of_requests(void **state)
{
	struct fixture *f = *state;

	add_table(f);
	for (unsigned v1 = 0; v1 < 2; v1++) {
		for (unsigned reps = 1; reps <= 60; reps++) {
			f->plan.v1 = v1 == 1;
			snmp_reps_init(&f->reps, reps);
			assert_int_equal(poll(f, false), 0);
			check_all_taken(f);
			assert_int_equal(f->agent.uptimes, 1);
		}
	}
}

static void
every_object_comes_once_by_a_guide_too(void **state)
{
	struct fixture *f = *state;

	add_table(f);
	for (unsigned lanes = 2; lanes <= SNMP_LANES_MOST; lanes++) {
		for (size_t step = 1; step <= 34; step++) {
			for (size_t most = 0; most < 40; most += 7) {
				f->agent.answer_most = most;
				set_guide(f, step, lanes);
				assert_int_equal(poll(f, false), 0);
				check_all_taken(f);
			}
		}
	}
}

static void
what_came_and_went_since_the_guide_is_not_missed(void **state)
{
	struct fixture *f = *state;

	add_table(f);
	set_guide(f, 10, 4);
	for (unsigned i = 1; i <= 40; i += 3)
		add(f, "1.3.6.1.2.1.2.", i, ".0.7");
	for (size_t gone = 1; gone < f->agent.count; gone += 4) {
		for (size_t i = gone; i + 1 < f->agent.count; i++)
			f->agent.objects[i] = f->agent.objects[i + 1];
		f->agent.count--;
	}
	assert_int_equal(poll(f, false), 0);
	check_all_taken(f);
	assert_true(f->walk.strayed);
}

static void
a_guide_saves_requests_and_does_not_stray(void **state)
{
	struct fixture *f = *state;
	unsigned plain;

	add_table(f);
	assert_int_equal(poll(f, false), 0);
	plain = f->agent.requests;
	set_guide(f, 10, 5);
	assert_int_equal(poll(f, false), 0);
	check_all_taken(f);
	assert_true(f->agent.requests < plain);
	assert_false(f->walk.strayed);
}

static void
retries_go_one_lane_at_a_time_and_ask_for_less(void **state)
{
	struct fixture *f = *state;
	struct snmp_ask ask;

	add_table(f);
	set_guide(f, 10, 4);
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
	assert_true(snmp_walk_ask(&f->walk, 0, &ask));
	assert_int_equal(ask.count, 1 + 4); /* sysUpTime goes along */
	assert_int_equal(ask.repetitions, 10);
	assert_true(snmp_walk_ask(&f->walk, 1, &ask));
	assert_int_equal(ask.count, 1 + 1);
	assert_int_equal(ask.repetitions, 5);
	assert_true(f->walk.narrow);
	assert_int_equal(answer_bulk(f, &ask), 0);
	assert_int_equal(snmp_walk_answered(&f->walk, 0, 0, &f->err), 0);
	assert_true(snmp_walk_ask(&f->walk, 0, &ask));
	assert_int_equal(ask.count, 1);
}

static void
version_1_leaves_out_what_is_missing(void **state)
{
	struct fixture *f = *state;

	f->plan.v1 = true;
	add(f, "1.3.6.1.2.1.1.3.", 0, "");
	add(f, "1.3.6.1.2.1.1.5.", 0, "");
	add(f, "1.3.6.1.2.1.1.6.", 0, "");
	add_get(f, "1.3.6.1.2.1.1.4.0");
	add_get(f, "1.3.6.1.2.1.1.5.0");
	add_get(f, "1.3.6.1.2.1.1.99.0");
	add_get(f, "1.3.6.1.2.1.1.6.0");
	assert_int_equal(poll(f, false), 0);
	assert_int_equal(f->agent.taken_count, 2);
	assert_int_equal(f->agent.uptimes, 1);
}

static void
lookups_are_walked_when_asked_for(void **state)
{
	struct fixture *f = *state;

	add_table(f);
	f->plan.root_count--;
	f->plan.lookup_count = 1;
	assert_int_equal(poll(f, false), 0);
	assert_int_equal(f->agent.lookup_count, 0);
	assert_int_equal(poll(f, true), 0);
	assert_int_equal(f->agent.lookup_count, 20);
}

static void
objects_that_do_not_increase_are_an_error_that_names_them(void **state)
{
	static const char *const backs[] = { "1.3.6.1.2.1.2.5", "1.3.6.1.2.1.2.4",
		"1.3.6.1.2.1.1.9" };
	struct fixture *f = *state;
	struct snmp_ask ask;

	add_root(f, "1.3.6.1.2.1.2");
	for (size_t i = 0; i < ARRAY_LEN(backs); i++) {
		struct snmp_oid_room at, back;

		parse(&at, "1.3.6.1.2.1.2.5");
		parse(&back, backs[i]);
		snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
		assert_true(snmp_walk_ask(&f->walk, 0, &ask));
		assert_int_equal(take(f, snmp_uptime, SNMP_TIMETICKS), 0);
		assert_int_equal(take(f, snmp_oid_of(&at), SNMP_INTEGER), 0);
		assert_int_equal(take(f, snmp_oid_of(&back), SNMP_INTEGER), -1);
		assert_non_null(strstr(f->err.text, backs[i]));
		assert_non_null(strstr(f->err.text, "does not increase"));
	}
}

static void
errors_name_the_object(void **state)
{
	struct fixture *f = *state;
	struct snmp_ask ask;

	add_get(f, "1.3.6.1.2.1.1.4.0");
	add_get(f, "1.3.6.1.2.1.1.5.0");
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
	assert_true(snmp_walk_ask(&f->walk, 0, &ask));
	assert_int_equal(snmp_walk_answered(&f->walk, 5, 3, &f->err), -1);
	assert_string_equal(f->err.text, "1.3.6.1.2.1.1.5.0: agent answered genErr");
	assert_int_equal(snmp_walk_answered(&f->walk, 77, 0, &f->err), -1);
	assert_string_equal(f->err.text, "1.3.6.1.2.1.1.4.0: agent answered error 77");
}

static void
too_big_asks_for_less_until_that_is_no_use(void **state)
{
	struct fixture *f = *state;
	struct snmp_ask ask;
	unsigned rounds = 0;

	add_root(f, "1.3.6.1.2.1.2");
	add_get(f, "1.3.6.1.2.1.1.4.0");
	add_get(f, "1.3.6.1.2.1.1.5.0");
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
	do {
		assert_true(snmp_walk_ask(&f->walk, 0, &ask));
		assert_true(rounds++ < 10);
	} while (snmp_walk_answered(&f->walk, SNMP_ERR_TOO_BIG, 0, &f->err) == 0);
	assert_int_equal(ask.count, 1);
	assert_string_equal(f->err.text, "1.3.6.1.2.1.1.4.0: agent answered tooBig");

	f->plan.get_count = 0;
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
	rounds = 0;
	do {
		assert_true(snmp_walk_ask(&f->walk, 0, &ask));
		assert_true(rounds++ < 10);
	} while (snmp_walk_answered(&f->walk, SNMP_ERR_TOO_BIG, 0, &f->err) == 0);
	assert_int_equal(f->reps.now, 1);
}

static void
an_answer_to_another_question_is_refused(void **state)
{
	struct fixture *f = *state;
	struct snmp_ask ask;

	add_get(f, "1.3.6.1.2.1.1.4.0");
	snmp_walk_begin(&f->walk, &f->plan, &f->guide, &f->reps, false);
	assert_true(snmp_walk_ask(&f->walk, 0, &ask));
	assert_int_equal(take(f, snmp_uptime, SNMP_TIMETICKS), 0);
	assert_int_equal(take(f, snmp_uptime, SNMP_TIMETICKS), -1);
	assert_int_equal(take(f, f->gets[0], SNMP_INTEGER), -1); /* more than was asked for */
}

static void
repetitions_shrink_only_when_large_ones_fail_in_a_row(void **state)
{
	struct snmp_reps reps;

	(void)state;
	snmp_reps_init(&reps, 10);
	for (unsigned i = 0; i < 1000; i++)
		snmp_reps_answered(&reps, i % 3 == 0 ? 1 : 0); /* packets lost now and then */
	assert_int_equal(reps.now, 10);
	for (unsigned i = 0; i < 4; i++)
		snmp_reps_answered(&reps, 1);
	assert_int_equal(reps.now, 5);
	for (unsigned i = 0; i < 200; i++)
		snmp_reps_answered(&reps, 0);
	assert_int_equal(reps.now, 10);
	while (snmp_reps_too_big(&reps))
		;
	assert_int_equal(reps.now, 1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(
		    every_object_comes_once_whatever_the_size_of_requests, setup),
		cmocka_unit_test_setup(every_object_comes_once_by_a_guide_too, setup),
		cmocka_unit_test_setup(what_came_and_went_since_the_guide_is_not_missed, setup),
		cmocka_unit_test_setup(a_guide_saves_requests_and_does_not_stray, setup),
		cmocka_unit_test_setup(retries_go_one_lane_at_a_time_and_ask_for_less, setup),
		cmocka_unit_test_setup(version_1_leaves_out_what_is_missing, setup),
		cmocka_unit_test_setup(lookups_are_walked_when_asked_for, setup),
		cmocka_unit_test_setup(
		    objects_that_do_not_increase_are_an_error_that_names_them, setup),
		cmocka_unit_test_setup(errors_name_the_object, setup),
		cmocka_unit_test_setup(too_big_asks_for_less_until_that_is_no_use, setup),
		cmocka_unit_test_setup(an_answer_to_another_question_is_refused, setup),
		cmocka_unit_test(repetitions_shrink_only_when_large_ones_fail_in_a_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
