/* All writers together: what a change of configuration does to whom. Threads run. */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "../store/store_fixture.h"
#include "fault.h"
#include "pstore/writers.h"

struct writers_fixture {
	struct fixture *store;
	struct own *own;
	struct writers *writers;
};

static int
setup(void **state)
{
	struct writers_fixture *f = calloc(1, sizeof(*f));
	struct pump_env env = { .state_dir = "" };
	struct err err;

	assert_non_null(f);
	f->store = fixture_new(BIG_BYTES);
	f->own = own_new(&err);
	env.store = f->store->store;
	f->writers = writers_new(&env, f->own, &err);
	assert_non_null(f->writers);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct writers_fixture *f = *state;

	writers_free(f->writers);
	own_free(f->own);
	fixture_free(f->store);
	free(f);
	return 0;
}

/* The nth allocation of it fails; 0 = none. */
static int
set(struct writers_fixture *f, const char *text, unsigned nth, struct err *err)
{
	struct err parse_err;
	struct conf_doc *doc = conf_parse(str_of(text), "test", &parse_err);
	struct writers_list list = { doc, doc->root };
	int rc;

	fault_malloc(nth);
	rc = writers_set(f->writers, &list, 1, err);
	fault_malloc(0);
	conf_doc_unref(doc); /* those who need it hold it */
	return rc;
}

static void
must_set(struct writers_fixture *f, const char *text)
{
	struct err err;

	if (set(f, text, 0, &err) != 0)
		fail_msg("%s", err.text);
}

/* "NAME:WRITTEN NAME:WRITTEN ..." */
static const char *
written(struct writers_fixture *f)
{
	static char out[500];
	struct writer_view *views;
	size_t n, len = 0;
	struct err err;

	out[0] = '\0';
	assert_int_equal(writers_snapshot(f->writers, &views, &n, &err), 0);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(out + len, sizeof(out) - len, "%s%s:%llu", i > 0 ? " " : "",
		    views[i].name, (unsigned long long)views[i].stats.written);
	free(views);
	return out;
}

static void
wait_until_written(struct writers_fixture *f, const char *want)
{
	while (strcmp(written(f), want) != 0)
		sched_yield();
}

static void
poll_values(struct writers_fixture *f, int times)
{
	static int64_t ms;

	for (int i = 0; i < times; i++) {
		ms += 10;
		put_i64(f->store, "/a", ms, 0, ms);
		put_i64(f->store, "/b", ms, 0, ms);
		append(f->store);
	}
}

static bool
has_metric(struct writers_fixture *f, const char *path)
{
	struct batch batch;
	struct err err;
	bool found = false;

	batch_init(&batch, 0);
	assert_int_equal(own_collect(f->own, &batch, AT(0), &err), 0);
	for (size_t i = 0; i < batch.len; i++)
		found = found || str_eq(batch.desc[i].path, str_of(path));
	batch_fini(&batch);
	return found;
}

static void
queues_outlive_changes_and_removal(void **state)
{
	struct writers_fixture *f = *state;

	poll_values(f, 50);
	must_set(f, "[{mock: {}, consumer: {name: a}}, {mock: {}, consumer: {name: b}}]");
	wait_until_written(f, "a:100 b:100");
	assert_true(has_metric(f, "/writer/a/valuesWritten"));
	/* b is as it was, a goes on where it was, c begins at the oldest value. */
	must_set(f,
	    "[{mock: {}, consumer: {name: c, concurrency: 4}}, {consumer: {name: b}, mock: {}}, "
	    "{mock: {}, consumer: {name: a, batchSize: 7}}]");
	wait_until_written(f, "c:100 b:100 a:0");
	must_set(f, "[{mock: {}, consumer: {name: b}}]");
	assert_false(has_metric(f, "/writer/a/valuesWritten"));
	poll_values(f, 10);
	must_set(f, "[{mock: {}, consumer: {name: a, concurrency: 3}}]");
	wait_until_written(f, "a:20");
	must_set(f, "[]");
	assert_string_equal(written(f), "");
}

static void
another_roll_up_begins_anew(void **state)
{
	struct writers_fixture *f = *state;

	must_set(f, "[{mock: {}, consumer: {name: a, rollUpSpan: 1m}}]");
	poll_values(f, 10);
	must_set(f, "[{mock: {}, consumer: {name: a}}]");
	wait_until_written(f, "a:20");
}

static void
pausing_is_by_name(void **state)
{
	struct writers_fixture *f = *state;
	struct err err;

	must_set(f, "[{mock: {}, consumer: {name: a, paused: true}}]");
	poll_values(f, 10);
	assert_string_equal(written(f), "a:0");
	assert_int_equal(writers_pause(f->writers, STR("b"), false, &err), -1);
	assert_int_equal(err.code, ERR_NOTFOUND);
	assert_int_equal(writers_pause(f->writers, STR("a"), false, &err), 0);
	wait_until_written(f, "a:20");
}

static void
lanes_share_the_work(void **state)
{
	struct writers_fixture *f = *state;

	must_set(f, "[{mock: {}, consumer: {name: a, concurrency: 8, batchSize: 3}}]");
	poll_values(f, 200);
	wait_until_written(f, "a:400");
}

static void
without_memory_writers_are_as_before_or_changed(void **state)
{
	struct writers_fixture *f = *state;
	struct err err;
	unsigned nth = 1;

	must_set(f, "[{mock: {}, consumer: {name: a}}]");
	while (set(f, "[{mock: {}, consumer: {name: a}}, {mock: {}, consumer: {name: b}}]", nth++,
	           &err) != 0) {
		assert_int_equal(err.code, ERR_NOMEM);
		assert_true(strncmp(written(f), "a:", 2) == 0);
		must_set(f, "[{mock: {}, consumer: {name: a}}]");
	}
	assert_true(nth > 10);
	poll_values(f, 1);
	wait_until_written(f, "a:2 b:2");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(queues_outlive_changes_and_removal),
		T(another_roll_up_begins_anew),
		T(pausing_is_by_name),
		T(lanes_share_the_work),
		T(without_memory_writers_are_as_before_or_changed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
