/* Requests of writers over HTTP, to a server that misbehaves, over loopback. */
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "bad_server.h"
#include "base/clock.h"
#include "fault.h"
#include "pstore/post.h"

static const struct conf_opt opts[] = {
	POST_OPTS,
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

struct client {
	struct bad_server *server;
	struct conf_doc *doc;
	struct post *post;
	atomic_bool stop;
	struct post_answer answer; /* of the last request */
	struct write_answer meaning;
	struct err err;
};

/* NULL with err only when memory is short. */
static struct post *
make_post(struct client *c, struct err *err)
{
	char url[100];
	struct post_conf conf = { .url = url,
		.headers = { "X-Test: yes", "Content-Type;" },
		.user = "me",
		.password = "pass",
		.conf = c->doc->root,
		.opts = opts,
		.stop = &c->stop };

	snprintf(url, sizeof(url), "http://127.0.0.1:%u/write?p=secret",
	    (unsigned)bad_server_port(c->server));
	return post_new(&conf, err);
}

static void
open_client(struct client *c, enum bad_mode mode, const char *options)
{
	struct err err;

	*c = (struct client){ .server = bad_server_start(mode, NULL),
		.doc = conf_parse(str_of(options), "test", &err) };
	assert_non_null(c->doc);
	c->post = make_post(c, &err);
	assert_non_null(c->post);
}

static void
close_client(struct client *c)
{
	post_free(c->post);
	conf_doc_unref(c->doc);
	bad_server_stop(c->server);
}

static enum write_status
post(struct client *c)
{
	c->err = (struct err){ .code = ERR_NONE };
	c->meaning = (struct write_answer){ .status = WRITE_DONE };
	post_send(c->post, STR("x"), &c->answer, &c->err);
	post_judge(c->post, &c->answer, &c->err, &c->meaning);
	return c->meaning.status;
}

static const struct {
	enum bad_mode mode;
	enum write_status meaning;
	long status;
	const char *text; /* in the error */
} modes[] = {
	{ BAD_OK, WRITE_DONE, 200, NULL },
	{ BAD_CHUNKED, WRITE_DONE, 200, NULL },
	{ BAD_OLD, WRITE_DONE, 200, NULL },
	{ BAD_CLOSE_EACH, WRITE_DONE, 200, NULL },
	{ BAD_STALE, WRITE_DONE, 200, NULL },
	{ BAD_REFUSE, WRITE_LATER, 0, "Couldn't connect" },
	{ BAD_HANG, WRITE_LATER, 0, "timed out" },
	{ BAD_SHUT, WRITE_LATER, 0, "Empty reply" },
	{ BAD_RESET, WRITE_LATER, 0, "reset" },
	{ BAD_CUT_OFF, WRITE_LATER, 0, "transfer closed" },
	{ BAD_CUT_OFF_CHUNKED, WRITE_LATER, 0, "" },
	{ BAD_DRIP, WRITE_LATER, 0, "timed out" },
	{ BAD_BROKEN_CHUNK, WRITE_LATER, 0, "" },
	{ BAD_500, WRITE_LATER, 500, ": 500" },
	{ BAD_500_ENDLESS, WRITE_LATER, 0, "" },
	{ BAD_REDIRECT_SELF, WRITE_MISCONFIGURED, 301, ": 301" },
	{ BAD_REDIRECT_OTHER, WRITE_MISCONFIGURED, 301, ": 301" },
	{ BAD_NOT_HTTP, WRITE_LATER, 0, "" },
	{ BAD_ENDLESS, WRITE_LATER, 0, "" },
	{ BAD_HUGE_HEADERS, WRITE_LATER, 0, "" },
};

/* Twice each, as the second one may be on a connection that the first has left. */
static void
whatever_the_server_does_has_a_meaning(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct client c;

		open_client(&c, modes[i].mode, "{timeout: 500ms}");
		for (int k = 0; k < 2; k++) {
			int64_t begin_ns = clock_mono_ns();

			if (post(&c) != modes[i].meaning || c.answer.status != modes[i].status)
				fail_msg("mode %zu: status %ld, meaning %d, %s", i, c.answer.status,
				    (int)c.meaning.status, c.meaning.err.text);
			assert_true(clock_mono_ns() - begin_ns < 10 * NS_PER_S);
			if (modes[i].text == NULL)
				continue;
			if (strstr(c.meaning.err.text, modes[i].text) == NULL)
				fail_msg("mode %zu: %s", i, c.meaning.err.text);
			/* Who may read the log is not to know what is in an address. */
			assert_non_null(strstr(c.meaning.err.text, "/write: "));
			assert_null(strstr(c.meaning.err.text, "secret"));
		}
		/* No redirection is followed. */
		assert_true(bad_server_request_count(c.server) <= 3);
		close_client(&c);
	}
}

static void
a_connection_is_kept(void **state)
{
	struct client c;

	(void)state;
	open_client(&c, BAD_OK, "{}");
	for (int i = 0; i < 10; i++)
		assert_int_equal(post(&c), WRITE_DONE);
	assert_int_equal(bad_server_accepted_count(c.server), 1);
	close_client(&c);
	open_client(&c, BAD_CLOSE_EACH, "{}");
	for (int i = 0; i < 10; i++)
		assert_int_equal(post(&c), WRITE_DONE);
	assert_true(bad_server_open_count(c.server) <= 1);
	close_client(&c);
}

static void
the_head_is_what_was_asked_for(void **state)
{
	char head[2000];
	struct client c;

	(void)state;
	open_client(&c, BAD_OK, "{}");
	assert_int_equal(post(&c), WRITE_DONE);
	bad_server_last_request(c.server, head, sizeof(head));
	assert_non_null(strstr(head, "POST /write?p=secret HTTP/1.1\r\n"));
	assert_non_null(strstr(head, "\r\nX-Test: yes\r\n"));
	assert_non_null(strstr(head, "\r\nContent-Type:\r\n"));
	assert_non_null(strstr(head, "\r\nContent-Length: 1\r\n"));
	assert_non_null(strstr(head, "\r\nAuthorization: Basic bWU6cGFzcw==\r\n"));
	assert_null(strstr(head, "Expect"));
	assert_null(strstr(head, "Content-Encoding"));
	close_client(&c);
	open_client(&c, BAD_OK, "{gzip: true}");
	assert_int_equal(post(&c), WRITE_DONE);
	bad_server_last_request(c.server, head, sizeof(head));
	assert_non_null(strstr(head, "\r\nContent-Encoding: gzip\r\n"));
	assert_null(strstr(head, "\r\nContent-Length: 1\r\n"));
	close_client(&c);
}

static void
a_stop_ends_a_request(void **state)
{
	int64_t begin_ns = clock_mono_ns();
	struct client c;

	(void)state;
	open_client(&c, BAD_HANG, "{timeout: 60s}");
	c.stop = true;
	assert_int_equal(post(&c), WRITE_LATER);
	assert_true(clock_mono_ns() - begin_ns < 10 * NS_PER_S);
	close_client(&c);
}

static const struct {
	long status;
	enum write_status meaning;
} statuses[] = {
	{ 200, WRITE_DONE },
	{ 204, WRITE_DONE },
	{ 299, WRITE_DONE },
	{ 301, WRITE_MISCONFIGURED },
	{ 400, WRITE_REFUSED },
	{ 401, WRITE_MISCONFIGURED },
	{ 403, WRITE_MISCONFIGURED },
	{ 404, WRITE_MISCONFIGURED },
	{ 405, WRITE_MISCONFIGURED },
	{ 408, WRITE_LATER },
	{ 413, WRITE_TOO_LARGE },
	{ 422, WRITE_REFUSED },
	{ 425, WRITE_LATER },
	{ 429, WRITE_LATER },
	{ 500, WRITE_LATER },
	{ 503, WRITE_LATER },
	{ 599, WRITE_LATER },
};

static void
statuses_have_meanings(void **state)
{
	struct client c;

	(void)state;
	open_client(&c, BAD_REFUSE, "{}");
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++) {
		struct post_answer answer = {
			.status = statuses[i].status, .text = STR(" why \n"), .retry_after_ns = 7
		};
		struct write_answer out = { .status = WRITE_DONE };
		char want[20];

		post_judge(c.post, &answer, NULL, &out);
		if (out.status != statuses[i].meaning)
			fail_msg("%ld means %d", statuses[i].status, (int)out.status);
		assert_int_equal(out.retry_after_ns, 7);
		snprintf(want, sizeof(want), "%ld: why", statuses[i].status);
		assert_int_equal(
		    str_ends(str_of(out.err.text), str_of(want)), out.status != WRITE_DONE);
	}
	close_client(&c);
}

static void
without_memory_there_is_none(void **state)
{
	struct client c;
	struct err err;
	unsigned nth = 1;

	(void)state;
	open_client(&c, BAD_OK, "{gzip: true}");
	post_free(c.post);
	for (fault_malloc(nth); (c.post = make_post(&c, &err)) == NULL; fault_malloc(++nth))
		assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	assert_true(nth > 3);
	/* What can't be compressed for lack of memory is for later. */
	fault_malloc(1);
	assert_int_equal(post(&c), WRITE_LATER);
	fault_malloc(0);
	assert_int_equal(c.err.code, ERR_NOMEM);
	assert_int_equal(post(&c), WRITE_DONE);
	close_client(&c);
}

static void
only_http_is_spoken(void **state)
{
	struct err err;

	(void)state;
	assert_int_equal(post_check_url(STR("http://x"), &err), 0);
	assert_int_equal(post_check_url(STR("https://x"), &err), 0);
	assert_int_equal(post_check_url(STR("file:///etc/passwd"), &err), -1);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_int_equal(post_check_url(STR(""), &err), -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_the_server_does_has_a_meaning),
		cmocka_unit_test(a_connection_is_kept),
		cmocka_unit_test(the_head_is_what_was_asked_for),
		cmocka_unit_test(a_stop_ends_a_request),
		cmocka_unit_test(statuses_have_meanings),
		cmocka_unit_test(without_memory_there_is_none),
		cmocka_unit_test(only_http_is_spoken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
