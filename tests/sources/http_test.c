#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "bad_server.h"
#include "base/clock.h"
#include "fault.h"
#include "sources/http_priv.h"

/* Far longer than anything here takes, sanitizers included. */
#define PATIENCE_NS (30 * NS_PER_S)

#define TARGETS_MAX 500

/* All tests run twice: over sockets of our own, and by libcurl, which HTTPS goes by. */
static bool by_libcurl;

struct poll {
	struct http_request request;
	struct buf body;
	unsigned connected, done;
	bool connected_first; /* on_connected came before on_done */
	bool failed;
	struct err err;
	struct http_target *again; /* started from on_done */
};

struct fixture {
	struct loop *loop;
	struct resolver *resolver;
	struct http_client *client;
	struct bad_server *server, *other;
	atomic_uchar name_host; /* names are 127.0.0.HOST; 0: no such name */
	int fds_before;
	struct poll polls[TARGETS_MAX];
	struct http_target *targets[TARGETS_MAX];
	size_t target_count;
};

static int
scripted_lookup(void *ctx, const char *name, struct net_addr *out, struct err *err)
{
	struct fixture *f = ctx;
	uint8_t host = atomic_load(&f->name_host);

	if (host == 0) {
		err_set(err, ERR_NOTFOUND, "resolve %s: no such name", name);
		return -1;
	}
	*out = (struct net_addr){ .family = AF_INET, .bytes = { 127, 0, 0, host } };
	return 0;
}

static int
setup(void **state)
{
	/* Addresses change at once: what is known is old with the next turn's clock. */
	struct resolver_conf conf = { .threads = 1, .lifetime_ns = 1, .retry_ns = 1 };
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	assert_non_null(f);
	f->fds_before = fault_open_fds();
	atomic_init(&f->name_host, 1);
	conf.lookup = scripted_lookup;
	conf.ctx = f;
	f->loop = loop_new(&err);
	assert_non_null(f->loop);
	f->resolver = resolver_new(&conf, &err);
	assert_non_null(f->resolver);
	f->client = http_client_new(f->loop, f->resolver, 600, &err);
	assert_non_null(f->client);
	if (by_libcurl)
		http_client_all_by_libcurl(f->client);
	*state = f;
	return 0;
}

static void
free_targets(struct fixture *f)
{
	while (f->target_count > 0)
		http_target_free(f->targets[--f->target_count]);
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	for (size_t i = 0; i < TARGETS_MAX; i++) {
		http_cancel(&f->polls[i].request);
		buf_fini(&f->polls[i].body);
	}
	free_targets(f);
	bad_server_stop(f->server);
	bad_server_stop(f->other);
	http_client_free(f->client);
	resolver_free(f->resolver);
	loop_free(f->loop);
	assert_int_equal(fault_open_fds(), f->fds_before);
	free(f);
	return 0;
}

/* Another server in place of the last, whose targets are freed. */
static void
serve(struct fixture *f, enum bad_mode mode, const struct bad_server_conf *conf)
{
	free_targets(f);
	bad_server_stop(f->server);
	f->server = bad_server_start(mode, conf);
}

static struct http_target_conf
target_conf(const struct fixture *f, const char *name)
{
	return (struct http_target_conf){
		.name = str_of(name),
		.port = bad_server_port(f->server),
		.path = STR("/metricsapi/"),
		.accept = STR("application/json"),
		.verify = true,
	};
}

static struct http_target *
target_of_conf(struct fixture *f, const struct http_target_conf *conf)
{
	struct http_target *target;
	struct err err;

	target = http_target_new(f->client, conf, &err);
	assert_non_null(target);
	assert_true(f->target_count < TARGETS_MAX);
	f->targets[f->target_count++] = target;
	return target;
}

static struct http_target *
target_new(struct fixture *f, const char *name)
{
	const struct http_target_conf conf = target_conf(f, name);

	return target_of_conf(f, &conf);
}

static void
target_free(struct fixture *f, struct http_target *target)
{
	size_t i = 0;

	while (f->targets[i] != target)
		i++;
	f->targets[i] = f->targets[--f->target_count];
	http_target_free(target);
}

static void
note_connected(struct http_request *request)
{
	struct poll *p = CONTAINER_OF(request, struct poll, request);

	p->connected++;
	p->connected_first = p->done == 0;
}

static void
note_done(struct http_request *request, const struct err *err)
{
	struct poll *p = CONTAINER_OF(request, struct poll, request);

	p->done++;
	p->failed = err != NULL;
	if (err != NULL)
		p->err = *err;
	if (p->again != NULL) {
		struct http_target *target = p->again;

		p->again = NULL;
		http_get(request, target);
	}
}

static void
start(struct poll *p, struct http_target *target)
{
	p->request.on_connected = note_connected;
	p->request.on_done = note_done;
	p->request.body = &p->body;
	if (p->request.max_bytes == 0)
		p->request.max_bytes = 1024 * 1024;
	p->connected = p->done = 0;
	p->failed = p->connected_first = false;
	p->err = (struct err){ .code = ERR_NONE };
	http_get(&p->request, target);
}

/* A turn that fails the test when too many seconds have passed since started_ns. */
static void
turn(struct fixture *f, int64_t started_ns)
{
	loop_turn(f->loop, 10 * NS_PER_MS);
	assert_true(clock_mono_ns() - started_ns < PATIENCE_NS);
}

static void
wait_done(struct fixture *f, struct poll *p)
{
	int64_t started_ns = clock_mono_ns();

	while (p->done == 0)
		turn(f, started_ns);
}

static void
get(struct fixture *f, struct poll *p, struct http_target *target)
{
	start(p, target);
	assert_int_equal(p->connected + p->done, 0);
	wait_done(f, p);
	assert_int_equal(p->done, 1);
	assert_false(p->request.active);
}

static void
get_well(struct fixture *f, struct poll *p, struct http_target *target)
{
	get(f, p, target);
	if (p->failed)
		fail_msg("%s", p->err.text);
	assert_int_equal(p->connected, 1);
	assert_true(p->connected_first);
}

/* One get of a new target on its own. */
static void
get_once(struct fixture *f, struct poll *p)
{
	get(f, p, target_new(f, "127.0.0.1"));
}

static void
wait_open_count(struct fixture *f, unsigned count)
{
	int64_t started_ns = clock_mono_ns();

	while (bad_server_open_count(f->server) != count)
		turn(f, started_ns);
}

static void
wait_request_count(struct fixture *f, unsigned count)
{
	int64_t started_ns = clock_mono_ns();

	while (bad_server_request_count(f->server) != count)
		turn(f, started_ns);
}

static void
wait_connected(struct fixture *f, struct poll *p)
{
	int64_t started_ns = clock_mono_ns();

	while (p->connected == 0)
		turn(f, started_ns);
}

static void
assert_default_body(const struct poll *p)
{
	assert_int_equal(p->body.len, 2000);
	assert_int_equal(p->body.p[2000], '\0');
	for (size_t i = 0; i < 2000; i++)
		assert_int_equal(p->body.p[i], "abcdefghi\n"[i % 10]);
}

static void
good_answers_come_whole(void **state)
{
	static const enum bad_mode modes[] = { BAD_OK, BAD_CHUNKED, BAD_GZIP, BAD_OLD,
		BAD_CLOSE_EACH, BAD_STALE };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		struct http_target *target;

		serve(f, modes[i], NULL);
		target = target_new(f, "127.0.0.1");
		for (unsigned n = 0; n < 3; n++) {
			get_well(f, p, target);
			assert_default_body(p);
		}
	}
}

static void
slow_answer_comes_whole(void **state)
{
	const struct bad_server_conf conf = { .drip_ms = 1 };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	serve(f, BAD_DRIP, &conf);
	get_once(f, p);
	assert_false(p->failed);
	assert_default_body(p);
}

static void
content_of_length(void *ctx, const char *path, struct buf *out)
{
	const atomic_size_t *len = ctx;

	(void)path;
	while (out->len < *len)
		buf_putc(out, (char)('a' + out->len % 23));
}

static void
bodies_of_any_size_come_whole(void **state)
{
	static const size_t lens[] = { 0, 1, 4095, 4096, 4097, 1000000, 1048575, 1048576, 5 };
	static const enum bad_mode modes[] = { BAD_OK, BAD_CHUNKED, BAD_GZIP };
	atomic_size_t len = 0;
	const struct bad_server_conf conf = { .content = content_of_length, .ctx = &len };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_OK, &conf);
	target = target_new(f, "127.0.0.1");
	for (size_t m = 0; m < ARRAY_LEN(modes); m++) {
		bad_server_set_mode(f->server, modes[m]);
		for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
			atomic_store(&len, lens[i]);
			get_well(f, p, target);
			assert_int_equal(p->body.len, lens[i]);
			assert_int_equal(p->body.p[lens[i]], '\0');
			for (size_t k = 0; k < lens[i]; k++)
				assert_int_equal(p->body.p[k], 'a' + k % 23);
		}
	}
	assert_int_equal(bad_server_accepted_count(f->server), 1);
}

static void
one_byte_above_the_limit_is_too_much(void **state)
{
	static const enum bad_mode modes[] = { BAD_OK, BAD_CHUNKED, BAD_GZIP };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		serve(f, modes[i], NULL);
		p->request.max_bytes = 2000;
		get_once(f, p);
		assert_false(p->failed);
		assert_default_body(p);
		p->request.max_bytes = 1999;
		get_once(f, p);
		assert_true(p->failed);
		assert_int_equal(p->err.code, ERR_LIMIT);
		assert_string_equal(p->err.text, "answer larger than 1999 bytes");
		assert_true(p->body.cap <= 2000 + 1);
	}
}

/* A text may hold %p for the port. */
static const struct {
	enum bad_mode mode;
	enum err_code code;
	const char *text;
} failures[] = {
	{ BAD_REFUSE, ERR_IO, "connect to 127.0.0.1:%p: Connection refused" },
	{ BAD_SHUT, ERR_PROTO, "connection closed without an answer" },
	{ BAD_RESET, ERR_IO, "connection reset after 1000 bytes" },
	{ BAD_CUT_OFF, ERR_PROTO, "answer cut off after 1000 of 2000 bytes" },
	{ BAD_CUT_OFF_CHUNKED, ERR_PROTO, "answer cut off after 1000 bytes" },
	{ BAD_BROKEN_CHUNK, ERR_PROTO,
	    "answer broken after 1000 bytes: Illegal or missing hexadecimal sequence in "
	    "chunked-encoding" },
	{ BAD_BROKEN_GZIP, ERR_PROTO,
	    "answer from 127.0.0.1:%p: Error while processing content unencoding: incorrect header "
	    "check" },
	{ BAD_500, ERR_PROTO, "answered 500 Internal Server Error" },
	{ BAD_500_ENDLESS, ERR_PROTO, "answered 500 Internal Server Error" },
	{ BAD_REDIRECT_SELF, ERR_PROTO,
	    "answered 301 to http://127.0.0.1:%p/metricsapi/; redirects are not followed" },
	{ BAD_REDIRECT_OTHER, ERR_PROTO,
	    "answered 301 to http://192.0.2.1/other; redirects are not followed" },
	{ BAD_NOT_HTTP, ERR_PROTO, "answer from 127.0.0.1:%p: Received HTTP/0.9 when not allowed" },
	{ BAD_ENDLESS, ERR_LIMIT, "answer larger than 1 MiB" },
	{ BAD_GZIP_BOMB, ERR_LIMIT, "answer larger than 1 MiB" },
	{ BAD_HUGE_HEADERS, ERR_LIMIT, "headers of the answer larger than 64 KiB" },
};

static void
expand_port(const struct fixture *f, const char *text, char *out, size_t cap)
{
	const char *port = strstr(text, "%p");

	if (port == NULL)
		snprintf(out, cap, "%s", text);
	else
		snprintf(out, cap, "%.*s%u%s", (int)(port - text), text,
		    (unsigned)bad_server_port(f->server), port + 2);
}

static void
failures_follow_the_table(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		char text[256];

		serve(f, failures[i].mode, NULL);
		get_once(f, p);
		expand_port(f, failures[i].text, text, sizeof(text));
		if (!p->failed || p->err.code != failures[i].code || strcmp(p->err.text, text) != 0)
			fail_msg("row %zu: failed %d, code %d, \"%s\", not \"%s\"", i, p->failed,
			    (int)p->err.code, p->err.text, text);
		assert_int_equal(p->connected, failures[i].mode == BAD_REFUSE ? 0 : 1);
	}
}

static void
failed_target_recovers(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
		struct http_target *target;

		serve(f, failures[i].mode, NULL);
		target = target_new(f, "127.0.0.1");
		get(f, p, target);
		assert_true(p->failed);
		bad_server_set_mode(f->server, BAD_OK);
		get_well(f, p, target);
		assert_default_body(p);
	}
}

static void
connection_is_kept_alive(void **state)
{
	/* With an answer that is not 200 too, if it is short. */
	static const struct {
		enum bad_mode mode;
		unsigned accepted;
	} rows[] = { { BAD_OK, 1 }, { BAD_CHUNKED, 1 }, { BAD_GZIP, 1 }, { BAD_500, 1 },
		{ BAD_REDIRECT_OTHER, 1 }, { BAD_CLOSE_EACH, 5 }, { BAD_500_ENDLESS, 5 } };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct http_target *target;

		serve(f, rows[i].mode, NULL);
		target = target_new(f, "127.0.0.1");
		for (unsigned n = 0; n < 5; n++)
			get(f, p, target);
		if (bad_server_accepted_count(f->server) != rows[i].accepted)
			fail_msg(
			    "row %zu: %u connections", i, bad_server_accepted_count(f->server));
		assert_int_equal(bad_server_request_count(f->server), 5);
	}
}

static void
connection_closed_between_polls_costs_none(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "127.0.0.1");
	for (unsigned n = 1; n <= 5; n++) {
		get_well(f, p, target);
		assert_int_equal(bad_server_accepted_count(f->server), n);
		bad_server_drop_connections(f->server);
	}
}

/* The close crosses the request: the server has taken it, and answers nothing. */
static void
connection_closed_at_the_next_request_costs_none(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_STALE, NULL);
	target = target_new(f, "127.0.0.1");
	for (unsigned n = 1; n <= 5; n++)
		get_well(f, p, target);
	assert_int_equal(bad_server_accepted_count(f->server), 5);
	assert_int_equal(bad_server_request_count(f->server), 9);
}

static void
cancel_closes_the_connection_and_calls_nothing(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_HANG, NULL);
	target = target_new(f, "127.0.0.1");
	start(p, target);
	wait_request_count(f, 1);
	wait_connected(f, p);
	assert_int_equal(p->connected, 1);
	http_cancel(&p->request);
	wait_open_count(f, 0);
	assert_int_equal(p->done, 0);
	http_cancel(&p->request); /* does nothing */

	bad_server_set_mode(f->server, BAD_OK);
	get_well(f, p, target);
}

static void
cancel_works_after_any_number_of_turns(void **state)
{
	static const char *const names[] = { "127.0.0.1", "web1" };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	serve(f, BAD_OK, NULL);
	for (unsigned turns = 0; turns < 8; turns++) {
		struct http_target *target = target_new(f, names[turns % 2]);
		unsigned calls;

		start(p, target);
		for (unsigned n = 0; n < turns; n++)
			loop_turn(f->loop, NS_PER_MS);
		http_cancel(&p->request);
		assert_false(p->request.active);
		calls = p->connected + p->done;
		for (unsigned n = 0; n < 5; n++)
			loop_turn(f->loop, NS_PER_MS);
		assert_int_equal(p->connected + p->done, calls);
		get_well(f, p, target);
	}
}

static void
cancel_when_connected(struct http_request *request)
{
	note_connected(request);
	http_cancel(request);
}

static void
owner_may_cancel_when_told_of_the_connection(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_HANG, NULL);
	target = target_new(f, "127.0.0.1");
	start(p, target);
	p->request.on_connected = cancel_when_connected;
	wait_connected(f, p);
	assert_false(p->request.active);
	wait_open_count(f, 0);
	assert_int_equal(p->done, 0);
}

static void
owner_may_start_anew_when_told_of_the_end(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "127.0.0.1");
	p->again = target;
	start(p, target);
	wait_done(f, p);
	/* On a slow machine the second one may be over as well. */
	if (p->done == 1) {
		assert_true(p->request.active);
		p->done = 0;
		wait_done(f, p);
	}
	assert_default_body(p);
	assert_int_equal(p->connected, 2);
	assert_int_equal(bad_server_accepted_count(f->server), 1);
}

static void
request_says_what_it_should(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	char head[1024], expected[1024];
	struct http_target_conf conf;
	struct http_target *target;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "web1");
	get_well(f, p, target);
	bad_server_last_request(f->server, head, sizeof(head));
	snprintf(expected, sizeof(expected),
	    "GET /metricsapi/ HTTP/1.1\r\nHost: web1:%u\r\nUser-Agent: scottyd/" SCOTTY_VERSION
	    "\r\nAccept-Encoding: gzip\r\nAccept: application/json\r\n",
	    (unsigned)bad_server_port(f->server));
	assert_string_equal(head, expected);

	conf = target_conf(f, "127.0.0.1");
	conf.path = STR("/a/../b//c?x=1&y=%20");
	conf.accept = STR_EMPTY;
	target = target_of_conf(f, &conf);
	get_well(f, p, target);
	bad_server_last_request(f->server, head, sizeof(head));
	assert_ptr_equal(strstr(head, "GET /a/../b//c?x=1&y=%20 HTTP/1.1\r\n"), head);
	assert_null(strstr(head, "Accept:"));
}

static void
proxies_of_the_environment_are_not_used(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];

	serve(f, BAD_OK, NULL);
	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	setenv("all_proxy", "http://127.0.0.1:1/", 1);
	get_once(f, p);
	unsetenv("http_proxy");
	unsetenv("all_proxy");
	assert_false(p->failed);
}

static void
unresolved_name_is_an_error_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "web1");
	atomic_store(&f->name_host, 0);
	get(f, p, target);
	assert_true(p->failed);
	assert_int_equal(p->err.code, ERR_NOTFOUND);
	assert_string_equal(p->err.text, "resolve web1: no such name");
	assert_int_equal(p->connected, 0);
	atomic_store(&f->name_host, 1);
	loop_turn(f->loop, NS_PER_MS);
	get_well(f, p, target);
}

static void
new_address_of_a_name_is_used_and_the_old_connection_closed(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct bad_server_conf conf = { .address = "127.0.0.2" };
	struct http_target *target;
	int64_t started_ns;

	serve(f, BAD_OK, NULL);
	conf.port = bad_server_port(f->server);
	f->other = bad_server_start(BAD_OK, &conf);
	target = target_new(f, "web1");
	get_well(f, p, target);
	assert_int_equal(bad_server_open_count(f->server), 1);
	atomic_store(&f->name_host, 2);
	started_ns = clock_mono_ns();
	while (bad_server_request_count(f->other) == 0 || bad_server_open_count(f->server) != 0) {
		get_well(f, p, target);
		turn(f, started_ns);
	}
	assert_int_equal(bad_server_accepted_count(f->server), 1);
	assert_int_equal(bad_server_accepted_count(f->other), 1);
}

static void
connection_of_a_freed_target_is_closed(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *stays, *goes;
	struct http_target_conf conf;
	int64_t started_ns;
	int fds;

	/* With others in the same multi: by libcurl, at their next requests. */
	serve(f, BAD_OK, NULL);
	f->other = bad_server_start(BAD_OK, NULL);
	goes = target_new(f, "127.0.0.1");
	get_well(f, p, goes);
	conf = target_conf(f, "127.0.0.1");
	conf.port = bad_server_port(f->other);
	stays = target_of_conf(f, &conf);
	get_well(f, p, stays);
	fds = fault_open_fds();
	target_free(f, goes);
	started_ns = clock_mono_ns();
	while (fault_open_fds() != fds - 2) { /* the server's end and ours */
		get_well(f, p, stays);
		turn(f, started_ns);
	}
	assert_int_equal(bad_server_open_count(f->other), 1);

	/* With the last target its multi goes, and all connections of that. */
	target_free(f, stays);
	started_ns = clock_mono_ns();
	while (bad_server_open_count(f->other) != 0)
		turn(f, started_ns);
}

static void
connection_in_use_is_not_cut(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *stays, *goes;

	serve(f, BAD_OK, NULL);
	stays = target_new(f, "127.0.0.1");
	goes = target_new(f, "127.0.0.1");
	get_well(f, p, goes);
	bad_server_set_mode(f->server, BAD_HANG);
	start(p, stays);
	wait_request_count(f, 2);
	assert_int_equal(bad_server_accepted_count(f->server), 1);
	target_free(f, goes);
	for (unsigned n = 0; n < 5; n++)
		loop_turn(f->loop, NS_PER_MS);
	assert_int_equal(p->done, 0);
	assert_int_equal(bad_server_open_count(f->server), 1);
}

static void
guard_refuses_addresses_whatever_the_name_says(void **state)
{
	static const char *const names[] = { "127.0.0.1", "web1", "0.0.0.0" };
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *allowed;

	serve(f, BAD_OK, NULL);
	/* An open connection to that very address is no way around it. */
	allowed = target_new(f, "127.0.0.1");
	get_well(f, p, allowed);
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		struct http_target_conf conf = target_conf(f, names[i]);

		conf.deny_loopback = true;
		get(f, p, target_of_conf(f, &conf));
		assert_true(p->failed);
		assert_int_equal(p->err.code, ERR_DENIED);
		assert_non_null(strstr(p->err.text, "loopback addresses are not allowed"));
	}
	assert_int_equal(bad_server_request_count(f->server), 1);
}

static void
guard_refuses_link_local_addresses(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target_conf conf;
	struct http_target *target;

	serve(f, BAD_OK, NULL);
	conf = target_conf(f, "169.254.169.254");
	conf.deny_link_local = true;
	conf.port = 80;
	target = target_of_conf(f, &conf);
	get(f, p, target);
	assert_string_equal(p->err.text,
	    "connect to 169.254.169.254:80: link-local addresses are not allowed here");
}

static void
lack_of_file_descriptors_is_an_error_and_recovers(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;
	struct rlimit limit, low;
	char text[128];
	int fd;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "127.0.0.1");
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	fd = dup(0);
	assert_true(fd >= 0);
	close(fd);
	low = limit;
	low.rlim_cur = (rlim_t)fd;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	get(f, p, target);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_true(p->failed);
	assert_int_equal(p->err.code, ERR_LIMIT);
	expand_port(f, "connect to 127.0.0.1:%p: out of file descriptors", text, sizeof(text));
	assert_string_equal(p->err.text, text);
	get_well(f, p, target);
}

static void
many_targets_share_the_loop(void **state)
{
	enum { TARGETS = 450 };
	struct fixture *f = *state;
	char name[32];

	serve(f, BAD_OK, &(struct bad_server_conf){ .address = "0.0.0.0" });
	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof(name), "127.0.%d.%d", 1 + i / 200, 1 + i % 200);
		(void)target_new(f, name);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (int i = 0; i < TARGETS; i++)
			start(&f->polls[i], f->targets[i]);
		for (int i = 0; i < TARGETS; i++) {
			wait_done(f, &f->polls[i]);
			assert_false(f->polls[i].failed);
			assert_default_body(&f->polls[i]);
		}
	}
	assert_int_equal(bad_server_accepted_count(f->server), TARGETS);
	free_targets(f);
	wait_open_count(f, 0);
}

static void
no_more_connections_are_kept_than_allowed(void **state)
{
	enum { TARGETS = 40, MAX = 10 };
	struct fixture *f = *state;
	char name[32];

	serve(f, BAD_OK, &(struct bad_server_conf){ .address = "0.0.0.0" });
	for (int i = 0; i < TARGETS; i++) {
		snprintf(name, sizeof(name), "127.0.1.%d", 1 + i);
		(void)target_new(f, name);
	}
	http_set_connections_max(MAX);
	for (int i = 0; i < 3 * TARGETS; i++) {
		int64_t started_ns = clock_mono_ns();

		get_well(f, &f->polls[0], f->targets[i % TARGETS]);
		/* libcurl can be told only not to keep the next one. */
		while (bad_server_open_count(f->server) > MAX + (by_libcurl ? 1 : 0))
			turn(f, started_ns);
	}
	http_set_connections_max(0);
	get_well(f, &f->polls[0], f->targets[0]);
}

static void
tls_with_a_plain_server_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target_conf conf;
	char where[64];

	serve(f, BAD_HANG, NULL);
	conf = target_conf(f, "127.0.0.1");
	conf.tls = true;
	start(p, target_of_conf(f, &conf));
	wait_open_count(f, 1);
	bad_server_drop_connections(f->server);
	wait_done(f, p);
	assert_true(p->failed);
	assert_int_equal(p->connected, 0);
	expand_port(f, "TLS with 127.0.0.1:%p: ", where, sizeof(where));
	assert_ptr_equal(strstr(p->err.text, where), p->err.text);
}

static const struct {
	const char *name, *path, *accept;
	uint16_t port;
} bad_confs[] = {
	{ "", "/", "", 80 },
	{ "web1/x", "/", "", 80 },
	{ "web1@10.0.0.1", "/", "", 80 },
	{ "web1:80", "/", "", 80 },
	{ "web 1", "/", "", 80 },
	{ "web1\r\nX: y", "/", "", 80 },
	{ "web\xC3\xAB", "/", "", 80 },
	{ "[::1", "/", "", 80 },
	{ "fe80::1%eth0", "/", "", 80 },
	{ "web1", "/", "", 0 },
	{ "web1", "", "", 80 },
	{ "web1", "x", "", 80 },
	{ "web1", "/a b", "", 80 },
	{ "web1", "/a\r\nX: y", "", 80 },
	{ "web1", "/", "text/plain\r\nX: y", 80 },
};

static void
targets_that_make_no_url_are_refused(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad_confs); i++) {
		const struct http_target_conf conf = {
			.name = str_of(bad_confs[i].name),
			.path = str_of(bad_confs[i].path),
			.accept = str_of(bad_confs[i].accept),
			.port = bad_confs[i].port,
		};
		struct err err = { .code = ERR_NONE };

		if (http_target_new(f->client, &conf, &err) != NULL || err.code != ERR_CONFIG)
			fail_msg("row %zu: taken", i);
	}
}

static void
constructors_fail_whole_without_memory(void **state)
{
	struct fixture *f = *state;
	struct http_target *target;
	struct http_client *client;
	struct http_target_conf conf;
	struct err err;
	unsigned nth;

	serve(f, BAD_OK, NULL);
	conf = target_conf(f, "web1");
	conf.ca_file = STR("/nowhere");
	for (nth = 1;; nth++) {
		fault_malloc(nth);
		target = http_target_new(f->client, &conf, &err);
		if (!fault_happened())
			break;
		fault_malloc(0);
		assert_null(target);
		assert_int_equal(err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	assert_true(nth > 3);
	http_target_free(target);

	for (nth = 1;; nth++) {
		fault_malloc(nth);
		client = http_client_new(f->loop, f->resolver, 60, &err);
		if (!fault_happened())
			break;
		fault_malloc(0);
		assert_null(client);
		assert_int_equal(err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	assert_int_equal(nth, 4);
	http_client_free(client);
}

static void
request_without_memory_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct poll *p = &f->polls[0];
	struct http_target *target;
	unsigned failed = 0;

	serve(f, BAD_OK, NULL);
	target = target_new(f, "127.0.0.1");
	/* The second round begins with a transfer in the pool. */
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned nth = 1;; nth++) {
			buf_fini(&p->body);
			fault_malloc(nth);
			get(f, p, target);
			if (!fault_happened())
				break;
			fault_malloc(0);
			assert_true(p->failed);
			assert_int_equal(p->err.code, ERR_NOMEM);
			failed++;
		}
		fault_malloc(0);
		assert_false(p->failed);
	}
	/* A transfer; its body; what watches its socket; its body. */
	assert_int_equal(failed, 4);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(good_answers_come_whole),
		TEST(slow_answer_comes_whole),
		TEST(bodies_of_any_size_come_whole),
		TEST(one_byte_above_the_limit_is_too_much),
		TEST(failures_follow_the_table),
		TEST(failed_target_recovers),
		TEST(connection_is_kept_alive),
		TEST(connection_closed_between_polls_costs_none),
		TEST(connection_closed_at_the_next_request_costs_none),
		TEST(cancel_closes_the_connection_and_calls_nothing),
		TEST(cancel_works_after_any_number_of_turns),
		TEST(owner_may_cancel_when_told_of_the_connection),
		TEST(owner_may_start_anew_when_told_of_the_end),
		TEST(request_says_what_it_should),
		TEST(proxies_of_the_environment_are_not_used),
		TEST(unresolved_name_is_an_error_and_recovers),
		TEST(new_address_of_a_name_is_used_and_the_old_connection_closed),
		TEST(connection_of_a_freed_target_is_closed),
		TEST(connection_in_use_is_not_cut),
		TEST(guard_refuses_addresses_whatever_the_name_says),
		TEST(guard_refuses_link_local_addresses),
		TEST(lack_of_file_descriptors_is_an_error_and_recovers),
		TEST(many_targets_share_the_loop),
		TEST(no_more_connections_are_kept_than_allowed),
		TEST(tls_with_a_plain_server_is_an_error),
		TEST(targets_that_make_no_url_are_refused),
		TEST(constructors_fail_whole_without_memory),
		TEST(request_without_memory_is_an_error),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	if (cmocka_run_group_tests_name("sockets of our own", tests, NULL, NULL) != 0)
		return 1;
	by_libcurl = true;
	return cmocka_run_group_tests_name("libcurl", tests, NULL, NULL);
}
