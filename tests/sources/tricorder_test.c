#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bad_server.h"
#include "base/clock.h"
#include "fault.h"
#include "sources/http.h"
#include "sources/source.h"
#include "sources/tricorder_layouts.h"

/* Far longer than anything here takes, sanitizers included. */
#define PATIENCE_NS (30 * NS_PER_S)

#define MAX_RESPONSE_BYTES (2 * 1024 * 1024)
#define MANY_METRICS       30000
#define LAYOUTS_BYTES      (64 * 1024 * 1024)

struct fixture {
	struct source_env env;
	struct resolver *resolver;
	struct bad_server *server;
	struct conf_doc *options;
	struct source *source;
	struct batch batch;
	struct poll_job job;
	unsigned connected, done, failed;
	bool held; /* a poll is not told to proceed */
	struct err err;
	int fds_before;
};

static void
report(struct poll_job *job, enum poll_event event, const struct err *err)
{
	struct fixture *f = CONTAINER_OF(job, struct fixture, job);

	assert_int_equal(f->done + f->failed, 0);
	assert_int_equal(err != NULL, event == POLL_FAILED);
	f->connected += event == POLL_CONNECTED;
	if (event == POLL_CONNECTED && !f->held)
		f->source->ops->proceed(f->source);
	f->done += event == POLL_DONE;
	f->failed += event == POLL_FAILED;
	if (err != NULL)
		f->err = *err;
}

static int
setup(void **state)
{
	static struct fixture f;
	struct resolver_conf conf = { .threads = 1 };
	struct err err;

	f = (struct fixture){ .job = { .batch = &f.batch, .report = report } };
	f.fds_before = fault_open_fds();
	batch_init(&f.batch, 0);
	f.env.max_response = MAX_RESPONSE_BYTES;
	f.env.layouts = tricorder_layouts_new(LAYOUTS_BYTES, &err);
	assert_non_null(f.env.layouts);
	f.env.loop = loop_new(&err);
	f.resolver = resolver_new(&conf, &err);
	assert_true(f.env.loop != NULL && f.resolver != NULL);
	f.env.http = http_client_new(f.env.loop, f.resolver, 60, &err);
	assert_non_null(f.env.http);
	*state = &f;
	return 0;
}

static void
close_source(struct fixture *f)
{
	if (f->source != NULL) {
		f->source->ops->cancel(f->source);
		f->source->ops->close(f->source);
	}
	f->source = NULL;
	conf_doc_unref(f->options);
	f->options = NULL;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	close_source(f);
	bad_server_stop(f->server);
	http_client_free(f->env.http);
	resolver_free(f->resolver);
	loop_free(f->env.loop);
	batch_fini(&f->batch);
	tricorder_layouts_free(f->env.layouts);
	assert_int_equal(fault_open_fds(), f->fds_before);
	return 0;
}

/* What the path asked for tells the server to answer. Runs on the server's thread. */
static void
put_content(void *ctx, const char *path, struct buf *out)
{
	(void)ctx;
	if (strcmp(path, "/empty") == 0)
		return;
	if (strcmp(path, "/html") == 0) {
		buf_puts(out, "<html>");
		return;
	}
	if (strcmp(path, "/many") != 0) {
		buf_puts(out, "[{\"path\":\"/a\",\"kind\":\"int8\",\"value\":5},"
		              "{\"path\":\"/b\",\"kind\":\"int8\",\"value\":500}]");
		return;
	}
	for (unsigned i = 0; i < MANY_METRICS; i++)
		buf_printf(out, "%s{\"path\":\"/m%06u\",\"kind\":\"bool\",\"value\":true}",
		    i == 0 ? "[" : ",", i);
	buf_putc(out, ']');
}

static struct source_target
target_at(const struct fixture *f, uint16_t port)
{
	return (struct source_target){
		.address = STR("127.0.0.1"),
		.port = port,
		.options = f->options == NULL ? NULL : f->options->root,
	};
}

/* A server in that mode and a source that polls it; options are YAML, NULL for none. */
static void
open_source(struct fixture *f, enum bad_mode mode, const char *options)
{
	struct bad_server_conf conf = { .content = put_content };
	struct source_target target;
	struct err err;

	close_source(f);
	if (f->server == NULL)
		f->server = bad_server_start(mode, &conf);
	else
		bad_server_set_mode(f->server, mode);
	if (options != NULL) {
		f->options = conf_parse(str_of(options), "options", &err);
		assert_non_null(f->options);
	}
	target = target_at(f, bad_server_port(f->server));
	f->source = source_find(STR("tricorder"))->open(&f->env, &target, &err);
	if (f->source == NULL)
		fail_msg("%s", err.text);
}

static void
start_poll(struct fixture *f)
{
	batch_reset(&f->batch);
	f->connected = f->done = f->failed = 0;
	f->source->ops->start(f->source, &f->job);
	assert_int_equal(f->done + f->failed, 0);
}

static bool
is_over(const struct fixture *f)
{
	return f->done + f->failed > 0;
}

static bool
is_connected(const struct fixture *f)
{
	return f->connected > 0;
}

static void
turn_until(struct fixture *f, bool (*what)(const struct fixture *))
{
	int64_t deadline_ns = clock_mono_ns() + PATIENCE_NS;

	while (!what(f)) {
		loop_turn(f->env.loop, NS_PER_MS * 10);
		assert_true(clock_mono_ns() < deadline_ns);
	}
}

static void
poll_well(struct fixture *f)
{
	start_poll(f);
	turn_until(f, is_over);
	if (f->done != 1)
		fail_msg("%s", f->err.text);
}

static void
poll_badly(struct fixture *f, enum err_code code, const char *text)
{
	start_poll(f);
	turn_until(f, is_over);
	assert_int_equal(f->failed, 1);
	if (f->err.code != code || strstr(f->err.text, text) == NULL)
		fail_msg("%d: %s", (int)f->err.code, f->err.text);
}

static void
a_poll_connects_and_yields_the_metrics(void **state)
{
	struct fixture *f = *state;
	char head[1024];

	open_source(f, BAD_OK, NULL);
	for (int i = 0; i < 3; i++) {
		poll_well(f);
		assert_int_equal(f->connected, 1);
		assert_int_equal(f->batch.len, 1);
		assert_true(str_eq(f->batch.desc[0].path, STR("/a")));
		assert_int_equal(f->batch.value[0].i, 5);
		assert_int_equal(f->batch.bad_count, 1);
		assert_non_null(strstr(f->batch.bad_text, "value 500 does not fit int8"));
	}
	assert_int_equal(bad_server_accepted_count(f->server), 1);
	bad_server_last_request(f->server, head, sizeof(head));
	assert_ptr_equal(strstr(head, "GET /metricsapi/ HTTP/1.1\r\n"), head);
	assert_non_null(strstr(head, "Accept: application/json\r\n"));
}

static void
compressed_and_chunked_answers_are_taken(void **state)
{
	struct fixture *f = *state;

	open_source(f, BAD_GZIP, NULL);
	poll_well(f);
	assert_int_equal(f->batch.len, 1);
	bad_server_set_mode(f->server, BAD_CHUNKED);
	poll_well(f);
	assert_int_equal(f->batch.len, 1);
}

static void
the_path_is_an_option(void **state)
{
	struct fixture *f = *state;
	char head[1024];

	open_source(f, BAD_OK, "path: /other/metrics?deep=1");
	poll_well(f);
	bad_server_last_request(f->server, head, sizeof(head));
	assert_ptr_equal(strstr(head, "GET /other/metrics?deep=1 HTTP/1.1\r\n"), head);
}

static void
what_is_no_list_of_metrics_fails_with_its_url(void **state)
{
	struct fixture *f = *state;
	char text[128];

	open_source(f, BAD_OK, "path: /html");
	snprintf(text, sizeof(text), "http://127.0.0.1:%u/html: not a list of metrics at byte 0",
	    (unsigned)bad_server_port(f->server));
	poll_badly(f, ERR_PROTO, text);
	assert_string_equal(f->err.text, text);
	assert_int_equal(f->connected, 1);
	open_source(f, BAD_OK, "path: /empty");
	poll_badly(f, ERR_PROTO, "/empty: not a list of metrics at byte 0");
}

static void
failures_of_the_transfer_are_passed_on(void **state)
{
	struct fixture *f = *state;

	open_source(f, BAD_REFUSE, NULL);
	poll_badly(f, ERR_IO, "connect to 127.0.0.1:");
	assert_int_equal(f->connected, 0);
	bad_server_set_mode(f->server, BAD_500);
	poll_badly(f, ERR_PROTO, "answered 500");
	bad_server_set_mode(f->server, BAD_CUT_OFF);
	poll_badly(f, ERR_PROTO, "answer cut off after");
	bad_server_set_mode(f->server, BAD_OK);
	poll_well(f);
}

static void
the_layout_of_an_answer_is_known_to_the_next_endpoint(void **state)
{
	struct fixture *f = *state;
	uint64_t id;

	f->env.max_response = 16 * MAX_RESPONSE_BYTES;
	open_source(f, BAD_OK, "path: /many");
	poll_well(f);
	id = f->batch.layout_id;
	assert_true(id != 0);
	poll_well(f);
	assert_true(f->batch.layout_id == id);
	open_source(f, BAD_OK, "path: /many");
	poll_well(f);
	assert_true(f->batch.layout_id == id);
	assert_int_equal(f->batch.len, MANY_METRICS);
}

static void
an_answer_above_the_limit_fails(void **state)
{
	struct fixture *f = *state;

	f->env.max_response = 100;
	open_source(f, BAD_OK, "path: /many");
	poll_badly(f, ERR_LIMIT, "answer larger than 100 bytes");
}

static void
answer_and_batch_share_the_limit(void **state)
{
	struct fixture *f = *state;
	size_t used_bytes;

	f->env.max_response = 16 * MAX_RESPONSE_BYTES;
	open_source(f, BAD_OK, "path: /many");
	poll_well(f);
	assert_int_equal(f->batch.len, MANY_METRICS);
	used_bytes = f->batch.arena.used_bytes;
	assert_true(used_bytes > MAX_RESPONSE_BYTES);

	f->env.max_response = MAX_RESPONSE_BYTES;
	open_source(f, BAD_OK, "path: /many");
	poll_badly(f, ERR_LIMIT, "/many: metrics need more than");
	assert_true(f->batch.arena.used_bytes <= MAX_RESPONSE_BYTES);
}

static void
a_cancelled_poll_reports_nothing_more(void **state)
{
	struct fixture *f = *state;

	open_source(f, BAD_HANG, NULL);
	start_poll(f);
	turn_until(f, is_connected);
	f->source->ops->cancel(f->source);
	bad_server_drop_connections(f->server);
	for (int i = 0; i < 10; i++)
		loop_turn(f->env.loop, NS_PER_MS);
	assert_int_equal(f->done + f->failed, 0);

	start_poll(f);
	f->source->ops->cancel(f->source); /* before any turn */
	bad_server_set_mode(f->server, BAD_OK);
	poll_well(f);
}

static void
an_answer_waits_until_it_may_proceed(void **state)
{
	struct fixture *f = *state;
	const enum bad_mode modes[] = { BAD_OK, BAD_CHUNKED, BAD_GZIP };

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		open_source(f, modes[i], NULL);
		f->held = true;
		start_poll(f);
		turn_until(f, is_connected);
		for (int turn = 0; turn < 20; turn++)
			loop_turn(f->env.loop, NS_PER_MS);
		assert_false(is_over(f));
		f->source->ops->proceed(f->source);
		turn_until(f, is_over);
		assert_int_equal(f->done, 1);
		assert_int_equal(f->batch.len, 1);
		f->held = false;
		poll_well(f);
	}
}

static void
a_held_answer_can_be_cancelled(void **state)
{
	struct fixture *f = *state;

	open_source(f, BAD_OK, NULL);
	f->held = true;
	start_poll(f);
	turn_until(f, is_connected);
	for (int turn = 0; turn < 5; turn++)
		loop_turn(f->env.loop, NS_PER_MS);
	f->source->ops->cancel(f->source);
	f->held = false;
	poll_well(f);
}

static void
options_that_make_no_request_are_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const options[] = { "path: metricsapi", "path: \"\"", "path: \"/a b\"",
		"path: \"/a\\r\\nHost: x\"" };

	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct source_target target;
		struct err err;

		f->options = conf_parse(str_of(options[i]), "options", &err);
		assert_non_null(f->options);
		target = target_at(f, 80);
		assert_null(source_find(STR("tricorder"))->open(&f->env, &target, &err));
		assert_int_equal(err.code, ERR_CONFIG);
		close_source(f);
	}
}

static void
denied_addresses_are_not_polled(void **state)
{
	struct fixture *f = *state;
	struct source_target target;
	struct err err;

	open_source(f, BAD_OK, NULL);
	target = target_at(f, bad_server_port(f->server));
	close_source(f);
	target.deny_loopback = true;
	f->source = source_find(STR("tricorder"))->open(&f->env, &target, &err);
	assert_non_null(f->source);
	poll_badly(f, ERR_DENIED, "loopback");
}

static void
open_fails_whole_without_memory(void **state)
{
	struct fixture *f = *state;
	struct source_target target = target_at(f, 80);
	struct err err;

	for (unsigned nth = 1;; nth++) {
		fault_malloc(nth);
		f->source = source_find(STR("tricorder"))->open(&f->env, &target, &err);
		if (!fault_happened())
			break;
		fault_malloc(0);
		assert_null(f->source);
		assert_int_equal(err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	assert_non_null(f->source);
	close_source(f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    a_poll_connects_and_yields_the_metrics, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    an_answer_waits_until_it_may_proceed, setup, teardown),
		cmocka_unit_test_setup_teardown(a_held_answer_can_be_cancelled, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    compressed_and_chunked_answers_are_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(the_path_is_an_option, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_no_list_of_metrics_fails_with_its_url, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    failures_of_the_transfer_are_passed_on, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    the_layout_of_an_answer_is_known_to_the_next_endpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(an_answer_above_the_limit_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(answer_and_batch_share_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_cancelled_poll_reports_nothing_more, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    options_that_make_no_request_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(denied_addresses_are_not_polled, setup, teardown),
		cmocka_unit_test_setup_teardown(open_fails_whole_without_memory, setup, teardown),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
