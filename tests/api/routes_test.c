#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "api_fixture.h"
#include "fault.h"

static int
setup(void **state)
{
	static struct api_fixture f;
	struct batch batch;

	api_fixture_init(&f);
	batch_begin(&batch);
	add_int(&batch, "/x", 1, 0, FIXTURE_NOW_NS);
	store_batch(&f, "h", "a b", &batch);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	api_fixture_fini(*state);
	return 0;
}

/* The captured answers of upstream, but for the dates. */
static const struct {
	const char *target, *location;
} redirects[] = {
	{ "/api/hosts", "/api/hosts/" },
	{ "/api/latest", "/api/latest/" },
	{ "/api/earliest", "/api/earliest/" },
	{ "/api/tsdb", "/api/tsdb/" },
	{ "/metricsapi", "/metricsapi/" },
	{ "/metricsapi?singleton=1", "/metricsapi/?singleton=1" },
	{ "/metricsapi//vec", "/metricsapi/vec" },
	{ "/api/hosts/host1.example.com/vecapp//vec/bool",
	    "/api/hosts/host1.example.com/vecapp/vec/bool" },
	{ "/api/./hosts/../latest//?a=b&c", "/api/latest/?a=b&c" },
	{ "//evil.example/x", "/evil.example/x" },
	{ "/\\evil.example//", "/%5Cevil.example/" },
	{ "/%2e%2e/api/latest/", "/api/latest/" },
	{ "//api/hosts/a%20b", "/api/hosts/a%20b" },
	{ "//a?x=\"<>'\x01", "/a?x=\"<>'%01" },
};

static void
unclean_and_unfinished_paths_are_redirected(void **state)
{
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(redirects); i++) {
		const char *location;

		get(f, redirects[i].target);
		location = answer_header(f, "Location");
		if (f->status != 301 || location == NULL ||
		    strcmp(location, redirects[i].location) != 0)
			fail_msg("row %zu: %u to %s", i, f->status, location);
		assert_string_equal(f->response.content_type, "text/html; charset=utf-8");
	}
}

static void
redirect_has_upstreams_body(void **state)
{
	struct api_fixture *f = *state;

	assert_string_equal(
	    get(f, "/api/hosts"), "<a href=\"/api/hosts/\">Moved Permanently</a>.\n\n");
	assert_string_equal(get(f, "//a?x=\"<>'&"),
	    "<a href=\"/a?x=&#34;&lt;&gt;&#39;&amp;\">Moved Permanently</a>.\n\n");
	assert_string_equal(ask(f, METHOD_HEAD, "/api/hosts"), "");
	assert_int_equal(f->status, 301);
}

static const struct {
	enum method method;
	const char *target;
	unsigned status;
	const char *body, *allow;
} plain[] = {
	{ METHOD_GET, "/nope", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api/", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/healthz/", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/healthzz", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/API/latest/", 404, "404 Not Found\n", NULL },
	{ METHOD_PUT, "/nope", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api/hosts/", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api/hosts/h", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api/hosts/h/", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/api/hosts/h/nope/x", 404, "404 Not Found\n", NULL },
	{ METHOD_GET, "/%zz", 400, "400 Bad Request\n", NULL },
	{ METHOD_GET, "*", 400, "400 Bad Request\n", NULL },
	{ METHOD_GET, "", 400, "400 Bad Request\n", NULL },
	{ METHOD_OTHER, "/healthz", 405, "405 Method Not Allowed\n", "GET, HEAD, POST" },
	{ METHOD_DELETE, "/api/latest/", 405, "405 Method Not Allowed\n", "GET, HEAD, POST" },
	{ METHOD_POST, "/api/endpoints", 405, "{\"error\":\"Method Not Allowed\"}\n", "GET, HEAD" },
	{ METHOD_GET, "/api/endpoints/h/a", 405, "{\"error\":\"Method Not Allowed\"}\n",
	    "PUT, DELETE" },
	{ METHOD_GET, "/RPC2", 405, "{\"error\":\"Method Not Allowed\"}\n", "POST" },
	{ METHOD_GET, "/healthz", 200, "OK", NULL },
	{ METHOD_POST, "/healthz?x", 200, "OK", NULL },
	{ METHOD_GET, "http://host:1/healthz", 200, "OK", NULL },
	{ METHOD_GET, "/%68ealthz", 200, "OK", NULL },
	{ METHOD_GET, "/readiness", 503, "not ready\n", NULL },
	{ METHOD_GET, "/has-tricorder-metrics", 200, "true", NULL },
	{ METHOD_GET, "/api/errors", 200, "[]\n", NULL },
	{ METHOD_GET, "/api/errors/x?format=text", 200, "[]", NULL },
	{ METHOD_GET, "/api/latest/nope", 200, "[]\n", NULL },
	{ METHOD_GET, "/api/latest/nope?format=text", 200, "[]", NULL },
	{ METHOD_GET, "/api/endpoints", 200, "[]\n", NULL },
};

static void
each_target_has_its_answer(void **state)
{
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(plain); i++) {
		const char *body = ask(f, plain[i].method, plain[i].target);
		const char *allow = answer_header(f, "Allow");

		if (f->status != plain[i].status || strcmp(body, plain[i].body) != 0)
			fail_msg("row %zu: %u \"%s\"", i, f->status, body);
		if ((allow == NULL) != (plain[i].allow == NULL) ||
		    (allow != NULL && strcmp(allow, plain[i].allow) != 0))
			fail_msg("row %zu: Allow: %s", i, allow);
	}
}

static void
ready_is_said_once_it_is_so(void **state)
{
	struct api_fixture *f = *state;

	atomic_store(&f->service.ready, true);
	assert_string_equal(get(f, "/readiness"), "OK");
	assert_int_equal(f->status, 200);
}

static void
refusal_comes_before_the_handler_in_the_routes_form(void **state)
{
	struct api_fixture *f = *state;

	f->refuse = 413;
	assert_string_equal(
	    ask(f, METHOD_PUT, "/api/endpoints/h/a"), "{\"error\":\"Content Too Large\"}\n");
	assert_int_equal(f->status, 413);
	assert_int_equal(fake_fleet.puts, 0);
	assert_string_equal(get(f, "/healthz"), "413 Content Too Large\n");
	assert_string_equal(get(f, "/nope"), "413 Content Too Large\n");
}

static void
parameters_come_from_a_form_before_the_query(void **state)
{
	struct api_fixture *f = *state;

	set_header(f, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
	f->body = "format=text&x=y";
	assert_string_equal(ask(f, METHOD_POST, "/api/errors/?format=json"), "[]");
	assert_string_equal(ask(f, METHOD_GET, "/api/errors/?format=json"), "[]\n");
	set_header(f, "Content-Type", "text/plain");
	assert_string_equal(ask(f, METHOD_POST, "/api/errors/"), "[]\n");
}

static void
long_answers_are_compressed_for_who_takes_it(void **state)
{
	struct api_fixture *f = *state;

	get(f, "/api/latest/");
	assert_string_equal(answer_header(f, "Vary"), "Accept-Encoding");
	assert_null(answer_header(f, "Content-Encoding"));
	set_header(f, "Accept-Encoding", "deflate, gzip");
	get(f, "/api/latest/");
	assert_string_equal(answer_header(f, "Content-Encoding"), "gzip");
	assert_memory_equal(f->answer.p, "\x1f\x8b", 2);
	get(f, "/healthz"); /* a route that never is */
	assert_null(answer_header(f, "Vary"));
	assert_string_equal(f->answer.p, "OK");
	get(f, "/metricsapi/nope"); /* not worth it */
	assert_null(answer_header(f, "Content-Encoding"));
	assert_string_equal(f->answer.p, "[]");
}

static void
own_metrics_are_those_of_tricorder(void **state)
{
	struct api_fixture *f = *state;

	assert_string_equal(get(f, "/metricsapi/nope"), "[]");
	assert_string_equal(f->response.content_type, "application/json");
	assert_string_equal(answer_header(f, "X-Tricorder-Media-Type"), "tricorder.v1");
	assert_string_equal(get(f, "/metricsapi/nope?singleton=1"), "404 Not Found\n");
	assert_int_equal(f->status, 404);
	assert_string_equal(answer_header(f, "X-Tricorder-Media-Type"), "tricorder.v1");
	assert_string_equal(f->response.content_type, "text/plain; charset=utf-8");
}

static struct value
read_seven(void *ctx, struct arena *arena)
{
	(void)ctx;
	(void)arena;
	return (struct value){ .u = 7 };
}

static void
own_metrics_show_what_is_registered(void **state)
{
	static const struct own_metric row = { "/test/seven", "Seven", "None", KIND_UINT64, 0,
		read_seven };
	struct api_fixture *f = *state;
	struct err err;

	assert_int_equal(own_add(f->own, &row, 1, NULL, &err), 0);
	assert_string_equal(get(f, "/metricsapi/test/seven?singleton=yes"),
	    "{\n"
	    "\t\"path\": \"/test/seven\",\n"
	    "\t\"description\": \"Seven\",\n"
	    "\t\"unit\": \"None\",\n"
	    "\t\"kind\": \"uint64\",\n"
	    "\t\"bits\": 64,\n"
	    "\t\"value\": 7,\n"
	    "\t\"timestamp\": \"1795209663.000000000\",\n"
	    "\t\"groupId\": 0\n"
	    "}");
	assert_non_null(
	    strstr(get(f, "/metricsapi/test"), "[\n\t{\n\t\t\"path\": \"/test/seven\""));
	assert_non_null(strstr(get(f, "/metrics"), "scotty_test_seven 7\n"));
	assert_string_equal(f->response.content_type, "text/plain; version=0.0.4; charset=utf-8");
	own_remove(f->own, &row, NULL);
}

/*
 * Asks with the nth allocation failing, for every n: what comes is the usual answer or a refusal
 * or, for a stream, breaks off; never a part that looks whole.
 */
static void
fail_each_allocation(struct api_fixture *f, const char *target, bool body_counts)
{
	char *usual_body = str_dup(str_of(get(f, target)));
	unsigned nth = 0, usual = f->status;

	assert_non_null(usual_body);
	do {
		const char *body;

		buf_fini(&f->answer);
		fault_malloc(++nth);
		body = get(f, target);
		if (f->status != usual && f->status != 503)
			fail_msg("%s: allocation %u: %u", target, nth, f->status);
		if (body_counts && f->status == usual && body != NULL && !f->broken &&
		    strcmp(body, usual_body) != 0)
			fail_msg("%s: allocation %u: %s", target, nth, body);
	} while (fault_happened());
	fault_malloc(0);
	assert_true(nth > 1);
	free(usual_body);
}

static void
without_memory_there_is_an_answer_all_the_same(void **state)
{
	static const char *const targets[] = { "/showAllApps", "/api/hosts/h/a%20b",
		"/api/hosts/h/a%20b/x?history=1", "/api/latest/x?format=text", "/api/errors/",
		"/api/earliest/x", "/api/tsdb/h/a%20b/x", "/metricsapi/", "/metrics", "/healthz",
		"/api/endpoints", "/api/hosts", "//", "/nope" };
	static const struct own_metric row = { "/test/seven", "Seven", "None", KIND_UINT64, 0,
		read_seven };
	struct api_fixture *f = *state;
	struct err err;

	assert_int_equal(own_add(f->own, &row, 1, NULL, &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		fail_each_allocation(f, targets[i], true);
	fail_each_allocation(f, "/", false); /* shows the CPU time used */
	set_header(f, "Accept-Encoding", "gzip");
	for (size_t i = 0; i < ARRAY_LEN(targets); i++)
		fail_each_allocation(f, targets[i], false); /* may come uncompressed */
	own_remove(f->own, &row, NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(unclean_and_unfinished_paths_are_redirected),
		TEST(redirect_has_upstreams_body),
		TEST(each_target_has_its_answer),
		TEST(ready_is_said_once_it_is_so),
		TEST(refusal_comes_before_the_handler_in_the_routes_form),
		TEST(parameters_come_from_a_form_before_the_query),
		TEST(long_answers_are_compressed_for_who_takes_it),
		TEST(own_metrics_are_those_of_tricorder),
		TEST(own_metrics_show_what_is_registered),
		TEST(without_memory_there_is_an_answer_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
