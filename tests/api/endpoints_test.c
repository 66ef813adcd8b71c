#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/admin_priv.h"
#include "api_fixture.h"
#include "base/clock.h"

static const struct member_view good = {
	.host = STR("web1"), .app = STR("health agent"), .address = STR("10.0.0.1"),
	.source = "tricorder", .port = 6910, .active = true, .origin = ORIGIN_CONFIG,
	.status = {
		.state = EP_SYNCED, .error_ts_ns = TS_NONE,
		.last_poll_ts_ns = FIXTURE_NOW_NS - 2500 * NS_PER_MS,
		.wait_connect_ns = 500 * NS_PER_MS, .connect_ns = 250 * NS_PER_MS,
		.wait_poll_ns = 125 * NS_PER_MS, .poll_ns = 1500 * NS_PER_MS,
		.metric_count = 30, .bad_count = 1, .bad_text = "/x: bad",
		.body_bytes = 5000, .changed = 4, .lateness_ns = NS_PER_MS, .polls = 4,
		.skipped = 3, .first_values = 30, .later_values = 7, .later_polls = 2,
	},
};
static const struct member_view evil = {
	.host = STR("<h>"), .app = STR("a\"&'/b"), .address = STR("x"), .source = "self", .port = 1,
	.active = true, .origin = ORIGIN_MDB,
	.status = {
		.state = EP_FAILED_TO_CONNECT, .down = true, .error = "<script>\n\x01",
		.error_ts_ns = FIXTURE_NOW_NS, .last_poll_ts_ns = TS_NONE, .stale = true,
	},
};

static void
list_has_all_keys_in_order(void **state)
{
	struct api_fixture *f = *state;

	fake_fleet.members[fake_fleet.len++] = good;
	assert_string_equal(get(f, "/api/endpoints?format=text"),
	    "[\n\t{\n"
	    "\t\t\"hostName\": \"web1\",\n"
	    "\t\t\"appName\": \"health agent\",\n"
	    "\t\t\"source\": \"tricorder\",\n"
	    "\t\t\"address\": \"10.0.0.1\",\n"
	    "\t\t\"port\": 6910,\n"
	    "\t\t\"state\": \"synced\",\n"
	    "\t\t\"active\": true,\n"
	    "\t\t\"down\": false,\n"
	    "\t\t\"error\": \"\",\n"
	    "\t\t\"lastPoll\": \"1795209660.500000000\",\n"
	    "\t\t\"pollSeconds\": 1.5,\n"
	    "\t\t\"metricCount\": 30,\n"
	    "\t\t\"origin\": \"config\",\n"
	    "\t\t\"badMetrics\": 1,\n"
	    "\t\t\"badMetric\": \"/x: bad\",\n"
	    "\t\t\"skippedTicks\": 3,\n"
	    "\t\t\"stale\": false,\n"
	    "\t\t\"waitConnectSeconds\": 0.5,\n"
	    "\t\t\"connectSeconds\": 0.25,\n"
	    "\t\t\"waitPollSeconds\": 0.125,\n"
	    "\t\t\"up\": true,\n"
	    "\t\t\"changedMetrics\": 4,\n"
	    "\t\t\"bodyBytes\": 5000,\n"
	    "\t\t\"latenessSeconds\": 0.001\n"
	    "\t}\n]");
}

static void
tags_come_last(void **state)
{
	struct api_fixture *f = *state;
	struct member_view *view = &fake_fleet.members[fake_fleet.len++];
	const char *answer,
	    end[] = "\"latenessSeconds\":0.001,\"tags\":{\"a\":\"\\\"\",\"b\":\"c\"}}]\n";

	*view = good;
	view->tags[0] = (struct tag){ STR("a"), STR("\"") };
	view->tags[1] = (struct tag){ STR("b"), STR("c") };
	view->tag_count = 2;
	answer = get(f, "/api/endpoints");
	assert_true(str_ends(str_of(answer), str_of(end)));
}

static void
endpoint_that_never_answered_has_no_time(void **state)
{
	struct api_fixture *f = *state;

	fake_fleet.members[fake_fleet.len++] = evil;
	get(f, "/api/endpoints");
	assert_non_null(
	    strstr(f->answer.p, "\"state\":\"failed to connect\",\"active\":true,"
	                        "\"down\":true,\"error\":\"\\u003cscript\\u003e\\n\\u0001\","
	                        "\"lastPoll\":\"\","));
}

static void
errors_are_those_of_active_endpoints_that_are_down(void **state)
{
	struct api_fixture *f = *state;

	fake_fleet.members[0] = evil;
	fake_fleet.members[1] = good;
	fake_fleet.members[2] = evil;
	fake_fleet.members[2].active = false;
	fake_fleet.len = 3;
	assert_string_equal(get(f, "/api/errors/"),
	    "[{\"hostName\":\"\\u003ch\\u003e\",\"timestamp\":\"1795209663.000000000\","
	    "\"error\":\"\\u003cscript\\u003e\\n\\u0001\",\"appName\":\"a\\\"\\u0026'/b\"}]\n");
}

static void
pages_show_nothing_unescaped(void **state)
{
	struct api_fixture *f = *state;
	const char *page;

	fake_fleet.members[0] = good;
	fake_fleet.members[1] = evil;
	fake_fleet.len = 2;
	page = get(f, "/showAllApps");
	assert_string_equal(f->response.content_type, "text/html; charset=utf-8");
	assert_null(strstr(page, "<script>"));
	assert_null(strstr(page, "<h>"));
	assert_non_null(strstr(page, "&lt;script&gt;"));
	assert_non_null(
	    strstr(page, "<a href=\"/api/hosts/%3Ch%3E/a%22%26%27%2Fb?format=text&amp;history=0\">"
	                 "a&#34;&amp;&#39;/b</a>"));
	assert_non_null(strstr(page, "<td>synced tricorder</td>\n<td>2.500 s</td>\n<td>30</td>\n"
	                             "<td>3.5</td>\n<td>1.500 s</td>\n"));
	assert_non_null(strstr(page, "Total Endpoints: 2<br>\nTotal Active Endpoints: 2<br>\n"
	                             "Total Failed Endpoints: 1<br>\n"));
	page = get(f, "/showAllApps?up=true");
	assert_null(strstr(page, "script"));
	assert_non_null(strstr(page, "health agent</a>"));
	page = get(f, "/");
	assert_non_null(strstr(page, "Total Failed Endpoints: 1<br>\n"));
}

static const struct {
	enum err_code fails;
	bool creates;
	unsigned status;
	const char *body;
} registrations[] = {
	{ ERR_NONE, true, 201, "{}\n" },
	{ ERR_NONE, false, 200, "{}\n" },
	{ ERR_CONFIG, false, 400, "{\"error\":\"the \\\"fake\\\" fails\"}\n" },
	{ ERR_IO, false, 500, "{\"error\":\"the \\\"fake\\\" fails\"}\n" },
	{ ERR_NOMEM, false, 503, "{\"error\":\"the \\\"fake\\\" fails\"}\n" },
};

static void
put_answers_as_the_fleet_says(void **state)
{
	struct api_fixture *f = *state;

	f->body = "{\"port\": 6910}";
	for (size_t i = 0; i < ARRAY_LEN(registrations); i++) {
		const char *body;

		fake_fleet.fails = registrations[i].fails;
		fake_fleet.creates = registrations[i].creates;
		body = ask(f, METHOD_PUT, "/api/endpoints/web1/health%20agent");
		if (f->status != registrations[i].status ||
		    strcmp(body, registrations[i].body) != 0)
			fail_msg("row %zu: %u %s", i, f->status, body);
	}
	assert_string_equal(fake_fleet.host, "web1");
	assert_string_equal(fake_fleet.app, "health agent");
	assert_string_equal(fake_fleet.body, "{\"port\": 6910}");
	assert_true(fake_fleet.from_loopback);
}

static const struct {
	enum err_code fails;
	unsigned status;
} deletes[] = {
	{ ERR_NONE, 204 },
	{ ERR_NOTFOUND, 404 },
	{ ERR_DENIED, 409 },
	{ ERR_IO, 500 },
};

static void
delete_answers_as_the_fleet_says(void **state)
{
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(deletes); i++) {
		fake_fleet.fails = deletes[i].fails;
		ask(f, METHOD_DELETE, "/api/endpoints/web1/a%2Fb");
		if (f->status != deletes[i].status)
			fail_msg("row %zu: %u", i, f->status);
		assert_int_equal(f->answer.len == 0, deletes[i].fails == ERR_NONE);
	}
	assert_string_equal(fake_fleet.app, "a/b");
}

static void
polling_now_is_accepted_for_one_and_for_all(void **state)
{
	struct api_fixture *f = *state;

	fake_fleet.members[0] = fake_fleet.members[1] = good;
	fake_fleet.len = 2;
	assert_string_equal(ask(f, METHOD_POST, "/api/poll"), "{\"endpoints\":2}\n");
	assert_int_equal(f->status, 202);
	assert_string_equal(fake_fleet.host, "");
	assert_string_equal(
	    ask(f, METHOD_POST, "/api/poll/web1/health%20agent"), "{\"endpoints\":1}\n");
	assert_int_equal(f->status, 202);
	assert_string_equal(fake_fleet.host, "web1");
	assert_string_equal(fake_fleet.app, "health agent");
	ask(f, METHOD_POST, "/api/poll/web1");
	assert_int_equal(f->status, 404);
	ask(f, METHOD_POST, "/api/poll/web1/a/b");
	assert_int_equal(f->status, 404);
	fake_fleet.fails = ERR_NOTFOUND;
	ask(f, METHOD_POST, "/api/poll/web1/a");
	assert_int_equal(f->status, 404);
	get(f, "/api/poll");
	assert_int_equal(f->status, 405);
	f->from_afar = true;
	ask(f, METHOD_POST, "/api/poll");
	assert_int_equal(f->status, 403);
}

static void
path_must_be_a_host_and_an_application(void **state)
{
	static const char *const targets[] = { "/api/endpoints/", "/api/endpoints/h",
		"/api/endpoints/h/", "/api/endpoints/h/a/b" };
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		ask(f, METHOD_PUT, targets[i]);
		assert_int_equal(f->status, 404);
		ask(f, METHOD_DELETE, targets[i]);
		assert_int_equal(f->status, 404);
	}
	assert_int_equal(fake_fleet.puts + fake_fleet.deletes, 0);
}

/* Who may change something. */
static const struct {
	bool from_afar;
	const char *token, *authorization, *origin, *host;
	bool allowed;
} clients[] = {
	{ false, NULL, NULL, NULL, "127.0.0.1:6980", true },
	{ false, "secret", NULL, NULL, "127.0.0.1:6980", true },
	{ true, NULL, NULL, NULL, "scotty:6980", false },
	{ true, NULL, "Bearer ", NULL, "scotty:6980", false },
	{ true, "", "Bearer ", NULL, "scotty:6980", false },
	{ true, "secret", NULL, NULL, "scotty:6980", false },
	{ true, "secret", "Bearer secret", NULL, "scotty:6980", true },
	{ true, "secret", "bearer  secret ", NULL, "scotty:6980", true },
	{ true, "secret", "Bearer secreT", NULL, "scotty:6980", false },
	{ true, "secret", "Bearer secre", NULL, "scotty:6980", false },
	{ true, "secret", "Bearer secretsecret", NULL, "scotty:6980", false },
	{ true, "secret", "Bearer", NULL, "scotty:6980", false },
	{ true, "secret", "Basic secret", NULL, "scotty:6980", false },
	{ true, "secret", "secret", NULL, "scotty:6980", false },
	/* Browsers. */
	{ false, NULL, NULL, "http://127.0.0.1:6980", "127.0.0.1:6980", true },
	{ false, NULL, NULL, "http://localhost:6980", "LOCALHOST:6980", true },
	{ false, NULL, NULL, "http://[::1]:6980", "[::1]:6980", true },
	{ false, NULL, NULL, "http://evil.example", "127.0.0.1:6980", false },
	{ false, NULL, NULL, "http://localhost:80", "localhost:6980", false },
	{ false, NULL, NULL, "null", "localhost:6980", false },
	{ false, NULL, NULL, "http://", "", false },
	/* A name that was made to resolve to 127.0.0.1. */
	{ false, NULL, NULL, "http://evil.example:6980", "evil.example:6980", false },
	{ false, NULL, NULL, "http://localhost.evil:6980", "localhost.evil:6980", false },
	{ true, "secret", "Bearer secret", "https://scotty:6980", "scotty:6980", true },
	{ true, "secret", "Bearer secret", "https://evil.example", "scotty:6980", false },
};

static void
only_admins_may_change_endpoints(void **state)
{
	struct api_fixture *f = *state;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		unsigned puts_before = fake_fleet.puts, status;

		assert_int_equal(service_set_token(&f->service, clients[i].token, &err), 0);
		set_header(f, "Authorization", clients[i].authorization);
		set_header(f, "Origin", clients[i].origin);
		set_header(f, "Host", clients[i].host);
		f->from_afar = clients[i].from_afar;
		ask(f, METHOD_PUT, "/api/endpoints/h/a");
		status = f->status;
		if ((status == 200) != clients[i].allowed ||
		    fake_fleet.puts - puts_before != clients[i].allowed)
			fail_msg("row %zu: PUT %u", i, status);
		if (status != 200 && status != 403)
			fail_msg("row %zu: PUT %u", i, status);
		ask(f, METHOD_DELETE, "/api/endpoints/h/a");
		if ((f->status == 204) != clients[i].allowed)
			fail_msg("row %zu: DELETE %u", i, f->status);
		if (clients[i].allowed)
			assert_int_equal(fake_fleet.from_loopback, !clients[i].from_afar);
	}
}

static void
tokens_are_equal_only_whole(void **state)
{
	(void)state;
	assert_true(token_eq(STR("abc"), STR("abc")));
	assert_false(token_eq(STR("abd"), STR("abc")));
	assert_false(token_eq(STR("ab"), STR("abc")));
	assert_false(token_eq(STR("abcabc"), STR("abc")));
	assert_false(token_eq(STR(""), STR("abc")));
	assert_false(token_eq(STR("abc"), STR("")));
	assert_false(token_eq(STR(""), STR("")));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(list_has_all_keys_in_order),
		TEST(tags_come_last),
		TEST(endpoint_that_never_answered_has_no_time),
		TEST(errors_are_those_of_active_endpoints_that_are_down),
		TEST(pages_show_nothing_unescaped),
		TEST(put_answers_as_the_fleet_says),
		TEST(delete_answers_as_the_fleet_says),
		TEST(polling_now_is_accepted_for_one_and_for_all),
		TEST(path_must_be_a_host_and_an_application),
		TEST(only_admins_may_change_endpoints),
		cmocka_unit_test(tokens_are_equal_only_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
