#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "sources/resolver.h"

#define START_NS (1000 * NS_PER_S)

/* What the lookup answers; held means that lookups under way do not return. */
struct script {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	bool held;
	bool fails;
	uint8_t host; /* the answer: 10.0.0.HOST */
	unsigned calls, returned;
	char order[64]; /* first characters of the names looked up */
	struct net_addr before;
};

struct fixture {
	struct script script;
	struct loop *loop;
	struct resolver *resolver;
};

/* An ask and what came of it. */
struct asker {
	struct resolver_ask ask;
	unsigned calls;
	struct net_addr addr;
	struct err err;
};

static int
scripted_lookup(void *ctx, const char *name, struct net_addr *out, struct err *err)
{
	struct script *s = ctx;
	int rc = 0;

	pthread_mutex_lock(&s->mutex);
	if (s->calls < sizeof(s->order) - 1)
		s->order[s->calls] = name[0];
	s->calls++;
	s->before = *out;
	pthread_cond_broadcast(&s->changed);
	while (s->held)
		pthread_cond_wait(&s->changed, &s->mutex);
	if (s->fails) {
		err_set(err, ERR_NOTFOUND, "resolve %s: no such name", name);
		rc = -1;
	} else {
		*out = (struct net_addr){ .family = AF_INET, .bytes = { 10, 0, 0, s->host } };
	}
	s->returned++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
	return rc;
}

static void
script_set(struct script *s, bool held, bool fails, uint8_t host)
{
	pthread_mutex_lock(&s->mutex);
	s->held = held;
	s->fails = fails;
	s->host = host;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->mutex);
}

static void
script_wait_calls(struct script *s, unsigned calls)
{
	pthread_mutex_lock(&s->mutex);
	while (s->calls < calls)
		pthread_cond_wait(&s->changed, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
}

static void
script_wait_returned(struct script *s, unsigned returned)
{
	pthread_mutex_lock(&s->mutex);
	while (s->returned < returned)
		pthread_cond_wait(&s->changed, &s->mutex);
	pthread_mutex_unlock(&s->mutex);
}

static unsigned
script_calls(struct script *s)
{
	unsigned calls;

	pthread_mutex_lock(&s->mutex);
	calls = s->calls;
	pthread_mutex_unlock(&s->mutex);
	return calls;
}

static void
fixture_start(struct fixture *f, unsigned threads, size_t max_names)
{
	const struct resolver_conf conf = {
		.threads = threads,
		.lifetime_ns = 60 * NS_PER_S,
		.retry_ns = 5 * NS_PER_S,
		.max_names = max_names,
		.lookup = scripted_lookup,
		.ctx = &f->script,
	};
	struct err err;

	f->resolver = resolver_new(&conf, &err);
	assert_non_null(f->resolver);
}

/* What a test wants other than two threads it starts for itself. */
static int
setup_stopped(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	assert_non_null(f);
	pthread_mutex_init(&f->script.mutex, NULL);
	pthread_cond_init(&f->script.changed, NULL);
	f->script.host = 1;
	f->loop = loop_new(&err);
	assert_non_null(f->loop);
	loop_set_clock(f->loop, START_NS, 0);
	*state = f;
	return 0;
}

static int
setup(void **state)
{
	setup_stopped(state);
	fixture_start(*state, 2, 0);
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	resolver_free(f->resolver);
	/* The script outlives the threads' last look at it. */
	script_set(&f->script, false, false, 1);
	script_wait_returned(&f->script, script_calls(&f->script));
	loop_free(f->loop);
	pthread_mutex_destroy(&f->script.mutex);
	pthread_cond_destroy(&f->script.changed);
	free(f);
	return 0;
}

static void
note_answer(struct resolver_ask *ask, const struct net_addr *addr, const struct err *err)
{
	struct asker *a = CONTAINER_OF(ask, struct asker, ask);

	assert_true((addr == NULL) != (err == NULL));
	a->calls++;
	a->addr = addr != NULL ? *addr : (struct net_addr){ .family = AF_UNSPEC };
	if (err != NULL)
		a->err = *err;
}

/* True when answered at once: then also in a->addr. */
static bool
ask(struct fixture *f, struct asker *a, const char *name)
{
	a->ask.fn = note_answer;
	a->ask.loop = f->loop;
	a->calls = 0;
	return resolver_get(f->resolver, str_of(name), &a->ask, &a->addr);
}

static void
turn_until_answered(struct fixture *f, struct asker *a)
{
	while (a->calls == 0) {
		loop_turn(f->loop, 0);
		sched_yield();
	}
}

static void
ask_and_wait(struct fixture *f, struct asker *a, const char *name)
{
	assert_false(ask(f, a, name));
	turn_until_answered(f, a);
}

static void
pass_time(struct fixture *f, int64_t ns)
{
	loop_set_clock(f->loop, loop_now_ns(f->loop) + ns, 0);
}

static void
assert_host(const struct asker *a, uint8_t host)
{
	assert_int_equal(a->addr.family, AF_INET);
	assert_int_equal(a->addr.bytes[3], host);
}

static void
answer_comes_in_a_later_turn(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	assert_false(ask(f, &a, "web1"));
	script_wait_returned(&f->script, 1);
	assert_int_equal(a.calls, 0);
	turn_until_answered(f, &a);
	assert_host(&a, 1);
	loop_turn(f->loop, 0);
	assert_int_equal(a.calls, 1);
}

static void
known_name_is_answered_at_once(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 }, b = { .calls = 0 };

	ask_and_wait(f, &a, "web1");
	pass_time(f, 60 * NS_PER_S - 1);
	assert_true(ask(f, &b, "web1"));
	assert_host(&b, 1);
	loop_turn(f->loop, 0);
	assert_int_equal(b.calls, 0);
	assert_int_equal(script_calls(&f->script), 1);
}

static void
old_address_is_given_while_a_new_one_is_looked_up(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	ask_and_wait(f, &a, "web1");
	pass_time(f, 60 * NS_PER_S);
	script_set(&f->script, true, false, 2);
	assert_true(ask(f, &a, "web1"));
	assert_host(&a, 1);
	script_wait_calls(&f->script, 2);
	assert_true(ask(f, &a, "web1"));
	assert_host(&a, 1);
	script_set(&f->script, false, false, 2);
	do {
		sched_yield();
		assert_true(ask(f, &a, "web1"));
	} while (a.addr.bytes[3] != 2);
	assert_int_equal(script_calls(&f->script), 2);
}

static void
last_good_address_stays_when_lookups_fail(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	ask_and_wait(f, &a, "web1");
	script_set(&f->script, false, true, 0);
	for (unsigned failures = 0; failures < 3; failures++) {
		/* Whether the lookup before this has been settled shows in that it is due anew. */
		while (script_calls(&f->script) == 1 + failures) {
			pass_time(f, 60 * NS_PER_S);
			assert_true(ask(f, &a, "web1"));
			assert_host(&a, 1);
			sched_yield();
		}
	}
	script_set(&f->script, false, false, 3);
	do {
		pass_time(f, 5 * NS_PER_S);
		sched_yield();
		assert_true(ask(f, &a, "web1"));
	} while (a.addr.bytes[3] != 3);
}

static void
lookup_is_told_the_last_address(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	ask_and_wait(f, &a, "web1");
	assert_int_equal(f->script.before.family, AF_UNSPEC);
	pass_time(f, 60 * NS_PER_S);
	assert_true(ask(f, &a, "web1"));
	script_wait_returned(&f->script, 2);
	pthread_mutex_lock(&f->script.mutex);
	assert_true(net_addr_equal(&f->script.before, &a.addr));
	pthread_mutex_unlock(&f->script.mutex);
}

static void
failure_is_reported_and_tried_again_after_a_while(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	script_set(&f->script, false, true, 0);
	ask_and_wait(f, &a, "web1");
	assert_int_equal(a.err.code, ERR_NOTFOUND);
	assert_string_equal(a.err.text, "resolve web1: no such name");

	pass_time(f, 5 * NS_PER_S - 1);
	a.err.text[0] = '\0';
	assert_false(ask(f, &a, "web1"));
	assert_int_equal(a.calls, 0);
	loop_turn(f->loop, 0);
	assert_int_equal(a.calls, 1);
	assert_string_equal(a.err.text, "resolve web1: no such name");
	assert_int_equal(script_calls(&f->script), 1);

	pass_time(f, 1);
	script_set(&f->script, false, false, 4);
	ask_and_wait(f, &a, "web1");
	assert_host(&a, 4);
	assert_int_equal(script_calls(&f->script), 2);
}

static void
asks_for_one_name_share_a_lookup(void **state)
{
	struct fixture *f = *state;
	struct asker askers[10] = { { .calls = 0 } };

	script_set(&f->script, true, false, 1);
	for (size_t i = 0; i < ARRAY_LEN(askers); i++)
		assert_false(ask(f, &askers[i], "web1"));
	script_set(&f->script, false, false, 1);
	for (size_t i = 0; i < ARRAY_LEN(askers); i++) {
		turn_until_answered(f, &askers[i]);
		assert_host(&askers[i], 1);
	}
	assert_int_equal(script_calls(&f->script), 1);
}

static void
cancelled_ask_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 }, b = { .calls = 0 }, c = { .calls = 0 };

	script_set(&f->script, true, false, 1);
	assert_false(ask(f, &a, "web1"));
	assert_false(ask(f, &b, "web1"));
	assert_false(ask(f, &c, "web1"));
	resolver_cancel(f->resolver, &b.ask);
	script_set(&f->script, false, false, 1);
	turn_until_answered(f, &a);
	turn_until_answered(f, &c);
	assert_int_equal(b.calls, 0);
	resolver_cancel(f->resolver, &b.ask); /* does nothing */
	resolver_cancel(f->resolver, &a.ask);
}

static void
answer_posted_but_cancelled_is_not_called(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	script_set(&f->script, false, true, 0);
	ask_and_wait(f, &a, "web1");
	assert_false(ask(f, &a, "web1")); /* the failure remembered: it is in the loop now */
	resolver_cancel(f->resolver, &a.ask);
	loop_turn(f->loop, 0);
	loop_turn(f->loop, 0);
	assert_int_equal(a.calls, 0);
}

static void
free_does_not_wait_for_a_lookup_that_hangs(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	script_set(&f->script, true, false, 1);
	assert_false(ask(f, &a, "web1"));
	script_wait_calls(&f->script, 1);
	resolver_cancel(f->resolver, &a.ask);
	resolver_free(f->resolver);
	f->resolver = NULL;
	assert_int_equal(f->script.returned, 0);
	assert_int_equal(a.calls, 0);
}

static void
least_recently_asked_name_is_forgotten(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	fixture_start(f, 1, 2);
	ask_and_wait(f, &a, "a");
	ask_and_wait(f, &a, "b");
	assert_true(ask(f, &a, "a"));
	ask_and_wait(f, &a, "c");
	assert_true(ask(f, &a, "a"));
	assert_true(ask(f, &a, "c"));
	ask_and_wait(f, &a, "b");
	assert_int_equal(script_calls(&f->script), 4);
}

static void
names_being_looked_up_are_not_forgotten(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 }, b = { .calls = 0 };

	fixture_start(f, 1, 1);
	script_set(&f->script, true, false, 1);
	assert_false(ask(f, &a, "a"));
	ask_and_wait(f, &b, "b");
	assert_int_equal(b.err.code, ERR_LIMIT);
	assert_string_equal(b.err.text, "resolve b: 1 names are being looked up already");
	script_set(&f->script, false, false, 1);
	turn_until_answered(f, &a);
	assert_host(&a, 1);
	ask_and_wait(f, &b, "b");
	assert_host(&b, 1);
}

static void
lookup_nobody_waits_for_is_left_out(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 }, b = { .calls = 0 }, c = { .calls = 0 };

	fixture_start(f, 1, 0);
	script_set(&f->script, true, false, 1);
	assert_false(ask(f, &a, "a"));
	script_wait_calls(&f->script, 1);
	assert_false(ask(f, &b, "b"));
	assert_false(ask(f, &c, "c"));
	resolver_cancel(f->resolver, &b.ask);
	script_set(&f->script, false, false, 1);
	turn_until_answered(f, &a);
	turn_until_answered(f, &c);
	assert_string_equal(f->script.order, "ac");
	ask_and_wait(f, &b, "b");
	assert_string_equal(f->script.order, "acb");
}

static void
first_lookups_pass_refreshes(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };

	fixture_start(f, 1, 0);
	ask_and_wait(f, &a, "a");
	ask_and_wait(f, &a, "b");
	ask_and_wait(f, &a, "c");
	pass_time(f, 60 * NS_PER_S);
	script_set(&f->script, true, false, 1);
	assert_true(ask(f, &a, "a"));
	script_wait_calls(&f->script, 4);
	assert_true(ask(f, &a, "b"));
	assert_true(ask(f, &a, "c"));
	assert_false(ask(f, &a, "d"));
	script_set(&f->script, false, false, 1);
	turn_until_answered(f, &a);
	script_wait_returned(&f->script, 7);
	assert_string_equal(f->script.order, "abcadbc");
}

static void
what_is_no_host_name_is_refused_without_a_lookup(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .ask = { .fn = note_answer, .loop = f->loop } };
	const struct str nul = { "web\0one", 7 };
	char name[256];

	ask_and_wait(f, &a, "");
	assert_int_equal(a.err.code, ERR_NOTFOUND);
	memset(name, 'a', sizeof(name));
	name[255] = '\0';
	ask_and_wait(f, &a, name);
	assert_int_equal(a.err.code, ERR_NOTFOUND);
	a.calls = 0;
	assert_false(resolver_get(f->resolver, nul, &a.ask, &a.addr));
	turn_until_answered(f, &a);
	assert_int_equal(a.err.code, ERR_NOTFOUND);
	assert_int_equal(script_calls(&f->script), 0);
	name[254] = '\0';
	ask_and_wait(f, &a, name);
	assert_host(&a, 1);
}

static void
ten_thousand_names_are_kept(void **state)
{
	enum { NAMES = 10000 };
	struct fixture *f = *state;
	struct asker *askers = calloc(NAMES, sizeof(*askers));
	char name[32];

	assert_non_null(askers);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "web%d", i);
		assert_false(ask(f, &askers[i], name));
	}
	for (int i = 0; i < NAMES; i++)
		turn_until_answered(f, &askers[i]);
	for (int i = 0; i < NAMES; i++) {
		snprintf(name, sizeof(name), "web%d", i);
		assert_true(ask(f, &askers[i], name));
	}
	assert_int_equal(script_calls(&f->script), NAMES);
	free(askers);
}

/* Neither asks a name server: /etc/hosts has the first, and the second is no name. */
static void
system_looks_names_up(void **state)
{
	const struct resolver_conf conf = { .threads = 1 };
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };
	struct err err;

	f->resolver = resolver_new(&conf, &err);
	assert_non_null(f->resolver);
	ask_and_wait(f, &a, "localhost");
	assert_int_not_equal(a.addr.family, AF_UNSPEC);
	assert_true(net_addr_is_loopback(&a.addr));
	ask_and_wait(f, &a, "a..b");
	assert_int_equal(a.err.code, ERR_NOTFOUND);
	assert_ptr_equal(strstr(a.err.text, "resolve a..b: "), a.err.text);
}

static void
new_fails_whole_without_memory(void **state)
{
	const struct resolver_conf conf = { .threads = 1 };
	struct resolver *r;
	struct err err;

	(void)state;
	fault_malloc(1);
	r = resolver_new(&conf, &err);
	assert_true(fault_happened());
	fault_malloc(0);
	assert_null(r);
	assert_int_equal(err.code, ERR_NOMEM);
}

static void
ask_without_memory_gets_an_error(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .calls = 0 };
	unsigned failed = 0;

	for (unsigned nth = 1;; nth++) {
		fault_malloc(nth);
		assert_false(ask(f, &a, "web1"));
		if (!fault_happened())
			break;
		fault_malloc(0);
		failed++;
		assert_int_equal(a.calls, 0);
		loop_turn(f->loop, 0);
		assert_int_equal(a.calls, 1);
		assert_int_equal(a.err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	assert_true(failed >= 2);
	turn_until_answered(f, &a);
	assert_host(&a, 1);
}

static const struct {
	const char *text;
	const char *address; /* NULL: not numeric */
} numerics[] = {
	{ "10.0.0.1", "10.0.0.1" },
	{ "255.255.255.255", "255.255.255.255" },
	{ "::1", "::1" },
	{ "[::1]", "::1" },
	{ "[fe80::1234]", "fe80::1234" },
	{ "::ffff:10.0.0.1", "::ffff:10.0.0.1" },
	{ "2001:db8:0:0:0:0:0:1", "2001:db8::1" },
	{ "", NULL },
	{ "web1", NULL },
	{ "1", NULL },
	{ "10.0.0", NULL },
	{ "10.0.0.256", NULL },
	{ "10.0.0.1 ", NULL },
	{ "10.0.0.1:80", NULL },
	{ "[10.0.0.1]", NULL },
	{ "[]", NULL },
	{ "[", NULL },
	{ "[::1", NULL },
	{ "::1]", NULL },
	{ "fe80::1%eth0", NULL },
	{ "0x7f000001", NULL },
	{ "1:2:3:4:5:6:7:8:9", NULL },
	{ "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", NULL },
};

static void
numeric_addresses_follow_the_table(void **state)
{
	const struct str nul = { "10.0.0.1\0", 9 };
	struct net_addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(numerics); i++) {
		char text[INET6_ADDRSTRLEN] = "";
		bool numeric = resolver_numeric(str_of(numerics[i].text), &addr);

		if (numeric)
			net_addr_text(&addr, text);
		if (numeric != (numerics[i].address != NULL) ||
		    (numeric && strcmp(text, numerics[i].address) != 0))
			fail_msg("\"%s\" gives \"%s\"", numerics[i].text, text);
	}
	assert_false(resolver_numeric(nul, &addr));
}

enum { NEITHER, LOOPBACK, LINK_LOCAL };

static const struct {
	const char *text;
	int kind;
} kinds[] = {
	{ "127.0.0.1", LOOPBACK },
	{ "127.255.255.254", LOOPBACK },
	{ "0.0.0.0", LOOPBACK },
	{ "::1", LOOPBACK },
	{ "::", LOOPBACK },
	{ "::ffff:127.0.0.1", LOOPBACK },
	{ "::ffff:0.0.0.0", LOOPBACK },
	{ "169.254.169.254", LINK_LOCAL },
	{ "::ffff:169.254.169.254", LINK_LOCAL },
	{ "fe80::1", LINK_LOCAL },
	{ "febf::1", LINK_LOCAL },
	{ "fec0::1", NEITHER },
	{ "126.0.0.1", NEITHER },
	{ "128.0.0.1", NEITHER },
	{ "169.253.0.1", NEITHER },
	{ "10.0.0.1", NEITHER },
	{ "::2", NEITHER },
	{ "2001:db8::7f00:1", NEITHER },
};

static void
loopback_and_link_local_follow_the_table(void **state)
{
	struct net_addr addr;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		assert_true(resolver_numeric(str_of(kinds[i].text), &addr));
		if (net_addr_is_loopback(&addr) != (kinds[i].kind == LOOPBACK) ||
		    net_addr_is_link_local(&addr) != (kinds[i].kind == LINK_LOCAL))
			fail_msg("%s", kinds[i].text);
	}
}

#define WITH_RESOLVER(test)    cmocka_unit_test_setup_teardown(test, setup, teardown)
#define WITHOUT_RESOLVER(test) cmocka_unit_test_setup_teardown(test, setup_stopped, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		WITH_RESOLVER(answer_comes_in_a_later_turn),
		WITH_RESOLVER(known_name_is_answered_at_once),
		WITH_RESOLVER(old_address_is_given_while_a_new_one_is_looked_up),
		WITH_RESOLVER(last_good_address_stays_when_lookups_fail),
		WITH_RESOLVER(lookup_is_told_the_last_address),
		WITH_RESOLVER(failure_is_reported_and_tried_again_after_a_while),
		WITH_RESOLVER(asks_for_one_name_share_a_lookup),
		WITH_RESOLVER(cancelled_ask_is_not_called),
		WITH_RESOLVER(answer_posted_but_cancelled_is_not_called),
		WITH_RESOLVER(free_does_not_wait_for_a_lookup_that_hangs),
		WITHOUT_RESOLVER(least_recently_asked_name_is_forgotten),
		WITHOUT_RESOLVER(names_being_looked_up_are_not_forgotten),
		WITHOUT_RESOLVER(lookup_nobody_waits_for_is_left_out),
		WITHOUT_RESOLVER(first_lookups_pass_refreshes),
		WITH_RESOLVER(what_is_no_host_name_is_refused_without_a_lookup),
		WITH_RESOLVER(ten_thousand_names_are_kept),
		WITH_RESOLVER(ask_without_memory_gets_an_error),
		WITHOUT_RESOLVER(system_looks_names_up),
		cmocka_unit_test(new_fails_whole_without_memory),
		cmocka_unit_test(numeric_addresses_follow_the_table),
		cmocka_unit_test(loopback_and_link_local_follow_the_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
