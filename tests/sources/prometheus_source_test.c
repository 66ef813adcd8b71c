/*
 * The source as it is opened. What it does with real servers: tests/integration/exporters_test.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"
#include "sources/http_priv.h"
#include "sources/prometheus_conf_priv.h"
#include "sources/source.h"
#include "sources/tricorder_layouts.h"

struct fixture {
	struct source_env env;
	struct resolver *resolver;
	int fds_before;
};

static int
setup(void **state)
{
	static struct fixture f;
	struct resolver_conf conf = { .threads = 1 };
	struct err err;

	f = (struct fixture){ .fds_before = fault_open_fds() };
	f.env.layouts = tricorder_layouts_new(1024 * 1024, &err);
	f.env.loop = loop_new(&err);
	f.resolver = resolver_new(&conf, &err);
	assert_true(f.env.layouts != NULL && f.env.loop != NULL && f.resolver != NULL);
	f.env.http = http_client_new(f.env.loop, f.resolver, 60, &err);
	assert_non_null(f.env.http);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	http_client_free(f->env.http);
	resolver_free(f->resolver);
	loop_free(f->env.loop);
	tricorder_layouts_free(f->env.layouts);
	assert_int_equal(fault_open_fds(), f->fds_before);
	return 0;
}

static struct source *
open_with(struct fixture *f, const struct conf_doc *doc, bool from_afar, struct err *err)
{
	const struct source_target target = {
		.host = STR("h"),
		.app = STR("a"),
		.address = STR("10.0.0.1"),
		.port = 9100,
		.deny_loopback = from_afar,
		.options = doc->root,
	};

	return source_find(STR("prometheus"))->open(&f->env, &target, err);
}

static struct conf_doc *
parse(const char *options)
{
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(options), "f", &err);

	assert_non_null(doc);
	return doc;
}

static const char *const good[] = {
	"{path: /p?x=1, params: {a: [1, 2], b: c d}, headers: {X: y}, user: u, password: p}",
	"{bearerToken: t, histograms: series, tls: true, caFile: /ca, certFile: /c, keyFile: /k, "
	"serverName: s.example, headers: {X: y}}",
};

static void
opening_survives_without_memory(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct conf_doc *doc = parse(good[i]);
		struct source *source;
		struct err err;
		unsigned nth = 1;

		for (;; nth++) {
			fault_malloc(nth);
			source = open_with(f, doc, false, &err);
			fault_malloc(0);
			if (source != NULL)
				break;
			assert_int_equal(err.code, ERR_NOMEM);
		}
		assert_true(nth > 8);
		source->ops->close(source);
		conf_doc_unref(doc);
	}
}

static void
files_of_this_machine_are_not_for_others(void **state)
{
	static const char *const bad[] = { "{user: u, password: {file: /etc/shadow}}",
		"{bearerToken: {env: HOME}}", "{headers: {X: {file: /etc/passwd}}}",
		"{tls: true, certFile: /c, keyFile: /k}" };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct conf_doc *doc = parse(bad[i]);
		struct err err;

		assert_null(open_with(f, doc, true, &err));
		assert_int_equal(err.code, ERR_DENIED);
		conf_doc_unref(doc);
	}
}

static void
a_secret_is_in_headers_and_in_no_error(void **state)
{
	struct prometheus_conf conf;
	struct conf_doc *doc = parse("{headers: {X: \"a\\nY: b\"}, bearerToken: t0ken}");
	struct err err;

	(void)state;
	assert_int_equal(prometheus_conf_init(&conf, doc->root, false, &err), -1);
	assert_string_equal(err.text, "X: holds a control character");
	prometheus_conf_fini(&conf);
	conf_doc_unref(doc);

	doc = parse("{headers: {X: a b}, user: Aladdin, password: open sesame}");
	assert_int_equal(prometheus_conf_init(&conf, doc->root, false, &err), 0);
	buf_putc(&conf.headers, '\0');
	assert_string_equal(conf.headers.p,
	    "X: a b\nAuthorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\n"); /* RFC 7617 */
	prometheus_conf_fini(&conf);
	conf_doc_unref(doc);
}

static void
headers_of_a_target_are_checked(void **state)
{
	static const char *const bad[] = { "X", ": y", "X y: z", "X: \x01", "HOST: x",
		"Content-Length: 3", "X: y\n\nZ: a", "X: y\r\nZ: a" };
	struct fixture *f = *state;
	struct http_target_conf conf = { .name = STR("h"), .port = 1, .path = STR("/") };
	struct http_target *target;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		conf.headers = str_of(bad[i]);
		if (http_target_new(f->env.http, &conf, &err) != NULL)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(err.code, ERR_CONFIG);
	}
	conf.headers = STR("X: y\nZ:\n");
	conf.accept = STR("text/plain");
	target = http_target_new(f->env.http, &conf, &err);
	assert_non_null(target);
	assert_true(
	    str_ends(buf_view(&target->head), STR("\r\nAccept: text/plain\r\nX: y\r\nZ:\r\n\r\n")));
	http_target_free(target);
}

static void
media_types_lose_their_parameters(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "text/plain", "text/plain" },
		{ " Application/OpenMetrics-Text ; version=1.0.0", "application/openmetrics-text" },
		{ "", "" },
		{ ";", "" },
		{ "a\x01\xFF", "a??" },
		{ "application/x-1234567890-1234567890-1234567890",
		    "application/x-1234567890-1234567890-123" },
	};
	char out[HTTP_MEDIA_TYPE_BYTES];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		http_media_type_copy(out, str_of(rows[i].text));
		assert_string_equal(out, rows[i].want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(opening_survives_without_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    files_of_this_machine_are_not_for_others, setup, teardown),
		cmocka_unit_test(a_secret_is_in_headers_and_in_no_error),
		cmocka_unit_test_setup_teardown(headers_of_a_target_are_checked, setup, teardown),
		cmocka_unit_test(media_types_lose_their_parameters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
