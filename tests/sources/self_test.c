#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fault.h"
#include "messages/own.h"
#include "sources/source.h"

#define NOW_NS INT64_C(1500000000123456789)

struct fixture {
	struct source_env env;
	struct source *source;
	struct batch batch;
	struct poll_job job;
	unsigned done, failed;
	enum err_code why;
};

static struct value
read_depth(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .i = *(int *)ctx };
}

static int depth = 7;
static const struct own_metric rows[] = {
	{ "/queue/depth", "Jobs waiting", UNIT_NONE, KIND_INT32, 0, read_depth },
};

static void
report(struct poll_job *job, enum poll_event event, const struct err *err)
{
	struct fixture *f = CONTAINER_OF(job, struct fixture, job);

	f->done += event == POLL_DONE;
	f->failed += event == POLL_FAILED;
	assert_int_equal(err != NULL, event == POLL_FAILED);
	f->why = err == NULL ? ERR_NONE : err->code;
}

static int
setup(void **state)
{
	static struct fixture f;
	struct source_target target = { .port = 0 };
	struct err err;

	f = (struct fixture){ .job = { .batch = &f.batch, .report = report } };
	batch_init(&f.batch, 0);
	f.env.loop = loop_new(&err);
	f.env.own = own_new(&err);
	assert_true(f.env.loop != NULL && f.env.own != NULL);
	loop_set_clock(f.env.loop, 1, NOW_NS);
	assert_int_equal(own_add(f.env.own, rows, ARRAY_LEN(rows), &depth, &err), 0);
	f.source = source_find(STR("self"))->open(&f.env, &target, &err);
	assert_non_null(f.source);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	f->source->ops->close(f->source);
	own_remove(f->env.own, rows, &depth);
	own_free(f->env.own);
	loop_free(f->env.loop);
	batch_fini(&f->batch);
	return 0;
}

static void
a_poll_yields_the_own_metrics_of_now(void **state)
{
	struct fixture *f = *state;

	for (depth = 7; depth < 9; depth++) {
		batch_reset(&f->batch);
		f->source->ops->start(f->source, &f->job);
		assert_int_equal(f->batch.len, 1);
		assert_true(str_eq(f->batch.desc[0].path, STR("/queue/depth")));
		assert_int_equal(f->batch.value[0].i, depth);
		batch_end(&f->batch, 0);
		assert_int_equal(f->batch.ts[0], NOW_NS);
	}
	assert_int_equal(f->done, 2);
	assert_int_equal(f->failed, 0);
}

static void
a_poll_without_memory_fails(void **state)
{
	struct fixture *f = *state;

	batch_fini(&f->batch);
	fault_malloc(1);
	f->source->ops->start(f->source, &f->job);
	assert_true(fault_happened());
	assert_int_equal(f->done, 0);
	assert_int_equal(f->failed, 1);
	assert_int_equal(f->why, ERR_NOMEM);
}

static void
open_without_memory_fails(void **state)
{
	struct fixture *f = *state;
	struct source_target target = { .port = 0 };
	struct err err;

	fault_malloc(1);
	assert_null(f->source->ops->open(&f->env, &target, &err));
	assert_int_equal(err.code, ERR_NOMEM);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_poll_yields_the_own_metrics_of_now, setup, teardown),
		cmocka_unit_test_setup_teardown(a_poll_without_memory_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(open_without_memory_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
