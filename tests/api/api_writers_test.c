/* What /api/writers shows of writers and asks of them; the writers are made up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "base/clock.h"

/* Stand in for those of lib/pstore. */
static struct {
	struct writer_view views[2];
	size_t n;
	enum err_code fails;
	char name[100]; /* last paused or resumed */
	bool paused;
	unsigned calls;
} fake;

int
writers_snapshot(struct writers *writers, struct writer_view **out, size_t *n, struct err *err)
{
	(void)writers;
	if (fake.fails != ERR_NONE) {
		err_set(err, fake.fails, "the \"fake\" fails");
		return -1;
	}
	*out = malloc(sizeof(fake.views));
	assert_non_null(*out);
	memcpy(*out, fake.views, sizeof(fake.views));
	*n = fake.n;
	return 0;
}

int
writers_pause(struct writers *writers, struct str name, bool paused, struct err *err)
{
	(void)writers;
	snprintf(fake.name, sizeof(fake.name), "%.*s", STR_ARG(name));
	fake.paused = paused;
	fake.calls++;
	if (fake.fails == ERR_NONE)
		return 0;
	err_set(err, fake.fails, "no writer '%.*s'", STR_ARG(name));
	return -1;
}

static int
setup(void **state)
{
	static struct api_fixture f;
	static char somewhere;

	memset(&fake, 0, sizeof(fake));
	api_fixture_init(&f);
	f.service.env.writers = (struct writers *)(void *)&somewhere;
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	api_fixture_fini(*state);
	return 0;
}

static void
the_list_has_all_keys_in_order(void **state)
{
	struct api_fixture *f = *state;

	fake.n = 2;
	fake.views[0] = (struct writer_view){
		.name = "<a>\"\n", .writer = "influx", .concurrency = 3, .batch_size = 1000,
		.rollup_span_ns = 90 * NS_PER_S,
		.stats = {
			.state = PUMP_RETRYING, .written = 1, .attempts = 2, .successes = 3,
			.retries = 4, .bytes = 5, .unsupported = 6, .unwritable = 7, .refused = 8,
			.dead_letters = 9, .missed = 10, .waiting = 11, .left = 12, .lag_s = 1.5,
			.last_success_ns = FIXTURE_NOW_NS, .last_error_ns = FIXTURE_NOW_NS + 1,
			.last_error = "http://x: </script>",
		},
	};
	fake.views[1] = (struct writer_view){ .name = "b", .writer = "mock" };
	assert_string_equal(get(f, "/api/writers?format=text"),
	    "[\n\t{\n"
	    "\t\t\"name\": \"\\u003ca\\u003e\\\"\\n\",\n"
	    "\t\t\"writer\": \"influx\",\n"
	    "\t\t\"state\": \"retrying\",\n"
	    "\t\t\"lagSeconds\": 1.5,\n"
	    "\t\t\"valuesWritten\": 1,\n"
	    "\t\t\"valuesNotWritten\": 12,\n"
	    "\t\t\"valuesWaiting\": 11,\n"
	    "\t\t\"missed\": 10,\n"
	    "\t\t\"refused\": 8,\n"
	    "\t\t\"deadLettered\": 9,\n"
	    "\t\t\"unwritable\": 7,\n"
	    "\t\t\"unsupported\": 6,\n"
	    "\t\t\"writeAttempts\": 2,\n"
	    "\t\t\"successfulWrites\": 3,\n"
	    "\t\t\"retries\": 4,\n"
	    "\t\t\"bytes\": 5,\n"
	    "\t\t\"lastSuccessfulWrite\": \"1795209663.000000000\",\n"
	    "\t\t\"lastWriteError\": \"http://x: \\u003c/script\\u003e\",\n"
	    "\t\t\"lastWriteErrorTime\": \"1795209663.000000001\",\n"
	    "\t\t\"concurrency\": 3,\n"
	    "\t\t\"batchSize\": 1000,\n"
	    "\t\t\"rollUpSpanSeconds\": 90\n"
	    "\t},\n\t{\n"
	    "\t\t\"name\": \"b\",\n"
	    "\t\t\"writer\": \"mock\",\n"
	    "\t\t\"state\": \"idle\",\n"
	    "\t\t\"lagSeconds\": 0,\n"
	    "\t\t\"valuesWritten\": 0,\n"
	    "\t\t\"valuesNotWritten\": 0,\n"
	    "\t\t\"valuesWaiting\": 0,\n"
	    "\t\t\"missed\": 0,\n"
	    "\t\t\"refused\": 0,\n"
	    "\t\t\"deadLettered\": 0,\n"
	    "\t\t\"unwritable\": 0,\n"
	    "\t\t\"unsupported\": 0,\n"
	    "\t\t\"writeAttempts\": 0,\n"
	    "\t\t\"successfulWrites\": 0,\n"
	    "\t\t\"retries\": 0,\n"
	    "\t\t\"bytes\": 0,\n"
	    "\t\t\"lastSuccessfulWrite\": \"\",\n"
	    "\t\t\"lastWriteError\": \"\",\n"
	    "\t\t\"lastWriteErrorTime\": \"\",\n"
	    "\t\t\"concurrency\": 0,\n"
	    "\t\t\"batchSize\": 0,\n"
	    "\t\t\"rollUpSpanSeconds\": 0\n"
	    "\t}\n]\n");
	assert_int_equal(f->status, 200);
	expect_both_layouts_agree(f, "/api/writers");
}

static void
none_is_an_empty_list(void **state)
{
	struct api_fixture *f = *state;

	assert_string_equal(get(f, "/api/writers"), "[]\n");
	f->service.env.writers = NULL;
	assert_string_equal(get(f, "/api/writers"), "[]\n");
	ask(f, METHOD_POST, "/api/writers/a/pause");
	assert_int_equal(f->status, 404);
}

static void
a_list_that_cannot_be_had_is_said_so(void **state)
{
	struct api_fixture *f = *state;

	fake.fails = ERR_NOMEM;
	get(f, "/api/writers");
	assert_true(f->status >= 500);
}

static const struct {
	enum method method;
	const char *target;
	unsigned status;
	const char *name; /* of the writer that was asked, NULL = none was */
	bool paused;
} asks[] = {
	{ METHOD_POST, "/api/writers/a/pause", 204, "a", true },
	{ METHOD_POST, "/api/writers/a/resume", 204, "a", false },
	{ METHOD_POST, "/api/writers/a%2Fb%20c/pause", 204, "a/b c", true },
	{ METHOD_POST, "/api/writers/pause/resume", 204, "pause", false },
	{ METHOD_POST, "/api/writers/a", 404, NULL, false },
	{ METHOD_POST, "/api/writers/a/what", 404, NULL, false },
	{ METHOD_POST, "/api/writers/a/paused", 404, NULL, false },
	{ METHOD_GET, "/api/writers/a/pause", 405, NULL, false },
	{ METHOD_DELETE, "/api/writers/a", 405, NULL, false },
	{ METHOD_POST, "/api/writers", 405, NULL, false },
};

static void
pause_and_resume_go_to_the_writer_of_that_name(void **state)
{
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(asks); i++) {
		fake.calls = 0;
		ask(f, asks[i].method, asks[i].target);
		if (f->status != asks[i].status || fake.calls != (asks[i].name != NULL))
			fail_msg("%s: %u, %u calls", asks[i].target, f->status, fake.calls);
		if (asks[i].name == NULL)
			continue;
		assert_string_equal(fake.name, asks[i].name);
		assert_int_equal(fake.paused, asks[i].paused);
	}
}

static void
a_writer_that_is_not_there_is_said_so(void **state)
{
	struct api_fixture *f = *state;

	fake.fails = ERR_NOTFOUND;
	assert_non_null(strstr(ask(f, METHOD_POST, "/api/writers/no/pause"), "no writer"));
	assert_int_equal(f->status, 404);
}

/* From afar without the token, and from a page of another site. */
static void
not_everybody_may(void **state)
{
	struct api_fixture *f = *state;

	f->from_afar = true;
	ask(f, METHOD_POST, "/api/writers/a/pause");
	assert_int_equal(f->status, 403);
	f->from_afar = false;
	set_header(f, "Origin", "http://evil.example");
	ask(f, METHOD_POST, "/api/writers/a/pause");
	assert_int_equal(f->status, 403);
	assert_int_equal(fake.calls, 0);
	set_header(f, "Origin", NULL);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(the_list_has_all_keys_in_order),
		T(none_is_an_empty_list),
		T(a_list_that_cannot_be_had_is_said_so),
		T(pause_and_resume_go_to_the_writer_of_that_name),
		T(a_writer_that_is_not_there_is_said_so),
		T(not_everybody_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
