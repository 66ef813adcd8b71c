#include "fleet/announced_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fault.h"

static void
add(struct batch *batch, const char *path, enum kind kind, struct value value)
{
	struct metric_desc desc = {
		.path = arena_copy(&batch->arena, str_of(path)),
		.kind = kind,
		.sub_kind = kind == KIND_LIST ? KIND_INT64 : KIND_NONE,
	};
	struct err err;

	assert_int_equal(batch_add(batch, &desc, &value, 0, TS_NONE, &err), 0);
	assert_string_equal(batch->bad_text, "");
}

static void
add_bool(struct batch *batch, const char *path, bool value)
{
	add(batch, path, KIND_BOOL, (struct value){ .b = value });
}

static void
add_int(struct batch *batch, const char *path, enum kind kind, int64_t value)
{
	add(batch, path, kind, (struct value){ .i = value });
}

/* "NAME:PORT[:tls] ..." of what the batch announces; the batch is emptied. */
static void
assert_announced(struct batch *batch, const char *expected)
{
	struct announced *apps;
	struct arena arena;
	struct buf got;
	size_t n;

	arena_init(&arena, 0);
	buf_init(&got, 0);
	assert_int_equal(announced_read(batch, &arena, &apps, &n), 0);
	for (size_t i = 0; i < n; i++)
		buf_printf(&got, "%s%.*s:%u%s", i == 0 ? "" : " ", STR_ARG(apps[i].name),
		    (unsigned)apps[i].port, apps[i].tls ? ":tls" : "");
	buf_putc(&got, '\0');
	assert_string_equal(got.p, expected);
	buf_fini(&got);
	arena_fini(&arena);
	batch_reset(batch);
	batch_set_unordered(batch);
}

static int
setup(void **state)
{
	static struct batch batch;

	batch_init(&batch, 0);
	batch_set_unordered(&batch);
	*state = &batch;
	return 0;
}

static int
teardown(void **state)
{
	batch_fini(*state);
	return 0;
}

static void
an_application_needs_metrics_and_a_port(void **state)
{
	struct batch *b = *state;

	assert_announced(b, "");
	add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
	assert_announced(b, "");
	add_int(b, "/health-checks/a/port-number", KIND_INT64, 80);
	assert_announced(b, "");
	add_bool(b, "/health-checks/a/has-tricorder-metrics", false);
	add_int(b, "/health-checks/a/port-number", KIND_INT64, 80);
	assert_announced(b, "");
	add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
	add_bool(b, "/health-checks/a/healthy", false);
	add_int(b, "/health-checks/a/port-number", KIND_INT64, 80);
	add_int(b, "/other/a/port-number", KIND_INT64, 81);
	assert_announced(b, "a:80");
}

static void
several_applications_come_in_their_order(void **state)
{
	struct batch *b = *state;

	add_bool(b, "/health-checks/a b/has-tricorder-metrics", true);
	add_int(b, "/health-checks/a b/port-number", KIND_UINT16, 1);
	add_bool(b, "/health-checks/b/healthy", true);
	add_bool(b, "/health-checks/c/has-tricorder-metrics", true);
	add_int(b, "/health-checks/c/port-number", KIND_UINT64, 65535);
	add_bool(b, "/health-checks/c/use-tls", true);
	add_bool(b, "/health-checks/d/has-tricorder-metrics", true);
	add_int(b, "/health-checks/d/port-number", KIND_INT8, 7);
	add_bool(b, "/health-checks/d/use-tls", false);
	assert_announced(b, "a b:1 c:65535:tls d:7");
}

static void
ports_are_of_any_integer_kind_and_in_range(void **state)
{
	struct batch *b = *state;

	for (int kind = KIND_BOOL; kind < KIND_COUNT; kind++) {
		bool counts = kind_is_int((enum kind)kind) || kind_is_uint((enum kind)kind);

		if (kind == KIND_DIST || kind == KIND_LIST || kind == KIND_STRING)
			continue;
		add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
		add_int(b, "/health-checks/a/port-number", (enum kind)kind, 1);
		assert_announced(b, counts ? "a:1" : "");
	}
	for (int64_t port = -1; port <= 65536; port += port == -1 ? 1 : 65536) {
		add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
		add_int(b, "/health-checks/a/port-number", KIND_INT64, port);
		assert_announced(b, "");
	}
	add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
	add(b, "/health-checks/a/port-number", KIND_UINT64, (struct value){ .u = UINT64_MAX });
	assert_announced(b, "");
}

static void
flags_must_be_bools(void **state)
{
	struct batch *b = *state;

	add_int(b, "/health-checks/a/has-tricorder-metrics", KIND_INT64, 1);
	add_int(b, "/health-checks/a/port-number", KIND_INT64, 80);
	assert_announced(b, "");
	add_bool(b, "/health-checks/a/has-tricorder-metrics", true);
	add_int(b, "/health-checks/a/port-number", KIND_INT64, 80);
	add(b, "/health-checks/a/use-tls", KIND_STRING, (struct value){ .s = STR("true") });
	assert_announced(b, "a:80");
}

static void
names_are_one_component_that_can_be_a_name(void **state)
{
	struct batch *b = *state;

	add_bool(b, "/health-checks/a/b/has-tricorder-metrics", true);
	add_int(b, "/health-checks/a/b/port-number", KIND_INT64, 80);
	add_bool(b, "/health-checks/x\ty/has-tricorder-metrics", true);
	add_int(b, "/health-checks/x\ty/port-number", KIND_INT64, 80);
	add_bool(b, "/health-checks/has-tricorder-metrics", true);
	add_bool(b, "/health-checks-a/c/has-tricorder-metrics", true);
	add_int(b, "/health-checks-a/c/port-number", KIND_INT64, 80);
	assert_announced(b, "");
}

static void
too_many_are_left_out(void **state)
{
	struct batch *b = *state;
	struct announced *apps;
	struct arena arena;
	size_t n;

	for (int i = 0; i < ANNOUNCED_COUNT_MAX + 10; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/health-checks/a%d/has-tricorder-metrics", i);
		add_bool(b, path, true);
		snprintf(path, sizeof(path), "/health-checks/a%d/port-number", i);
		add_int(b, path, KIND_INT32, 80);
	}
	arena_init(&arena, 0);
	assert_int_equal(announced_read(b, &arena, &apps, &n), 0);
	assert_int_equal(n, ANNOUNCED_COUNT_MAX);
	assert_true(str_eq(apps[n - 1].name, STR("a999")));
	arena_fini(&arena);
	batch_reset(b);
	batch_set_unordered(b);
}

static void
reading_without_memory_fails_cleanly(void **state)
{
	struct batch *b = *state;
	struct announced *apps;
	struct arena arena;
	size_t n;
	int rc = -1;

	for (int i = 0; i < 500; i++) {
		char path[64];

		snprintf(
		    path, sizeof(path), "/health-checks/application%d/has-tricorder-metrics", i);
		add_bool(b, path, true);
		snprintf(path, sizeof(path), "/health-checks/application%d/port-number", i);
		add_int(b, path, KIND_INT32, 80);
	}
	for (unsigned nth = 1; rc != 0; nth++) {
		arena_init(&arena, 0);
		fault_malloc(nth);
		rc = announced_read(b, &arena, &apps, &n);
		assert_int_equal(rc == 0, !fault_happened());
		fault_malloc(0);
		arena_fini(&arena);
	}
	assert_int_equal(n, 500);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_application_needs_metrics_and_a_port),
		cmocka_unit_test(several_applications_come_in_their_order),
		cmocka_unit_test(ports_are_of_any_integer_kind_and_in_range),
		cmocka_unit_test(flags_must_be_bools),
		cmocka_unit_test(names_are_one_component_that_can_be_a_name),
		cmocka_unit_test(too_many_are_left_out),
		cmocka_unit_test(reading_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
