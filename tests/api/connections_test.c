#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <sys/socket.h>
#include <unistd.h>

#include "api/connections_priv.h"
#include "base/clock.h"
#include "fault.h"

#define HEAD_NS    (10 * NS_PER_S)
#define REQUEST_NS (60 * NS_PER_S)
#define PACE_NS    (REQUEST_NS / 4)
#define PACE_BYTES ((size_t)(PACE_NS / NS_PER_S) * ANSWER_BYTES_PER_S)

/* A table without its thread: time is what the test says. */
struct fixture {
	struct connections *table;
	int fds[2];
	struct peer *peer; /* of fds[0], connected at 0 */
};

static int
setup(void **state)
{
	static struct fixture f;
	const struct connections_conf conf = {
		.limit = 2,
		.head_timeout_ns = HEAD_NS,
		.request_timeout_ns = REQUEST_NS,
	};
	struct err err;

	f.table = connections_new(&conf, &err);
	assert_non_null(f.table);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f.fds), 0);
	f.peer = peer_add(f.table, f.fds[0], 0);
	assert_non_null(f.peer);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	if (f->peer != NULL)
		peer_remove(f->table, f->peer);
	connections_free(f->table);
	close(f->fds[0]);
	close(f->fds[1]);
	return 0;
}

/* The other end sees the end of the connection. */
static bool
is_cut(const struct fixture *f)
{
	char byte;

	return recv(f->fds[1], &byte, 1, 0) == 0;
}

/* The peer answers a request made at 0; its pace was noted for the deadline. */
static void
answer_until_its_pace_counts(struct fixture *f)
{
	peer_begins(f->table, f->peer, 0);
	peer_head_done(f->table, f->peer);
	assert_int_equal(connections_cut_late(f->table, REQUEST_NS - PACE_NS), REQUEST_NS);
	assert_false(is_cut(f));
}

static void
slow_head_is_cut_at_its_deadline(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(connections_cut_late(f->table, HEAD_NS - 1), HEAD_NS);
	assert_false(is_cut(f));
	peer_begins(f->table, f->peer, HEAD_NS - 1); /* the request line alone gains nothing */
	connections_cut_late(f->table, HEAD_NS);
	assert_true(is_cut(f));
}

static void
request_has_the_longer_time_since_it_began(void **state)
{
	struct fixture *f = *state;

	peer_begins(f->table, f->peer, 5 * NS_PER_S);
	peer_head_done(f->table, f->peer);
	connections_cut_late(f->table, REQUEST_NS - PACE_NS);
	assert_int_equal(connections_cut_late(f->table, REQUEST_NS - 1), REQUEST_NS);
	assert_false(is_cut(f));
	connections_cut_late(f->table, REQUEST_NS);
	assert_true(is_cut(f));
}

static void
next_request_starts_anew(void **state)
{
	struct fixture *f = *state;
	int64_t now = 50 * NS_PER_S;

	peer_begins(f->table, f->peer, 0);
	peer_head_done(f->table, f->peer);
	peer_rests(f->table, f->peer, now);
	assert_int_equal(connections_cut_late(f->table, now), now + REQUEST_NS);
	now += 30 * NS_PER_S;
	peer_begins(f->table, f->peer, now);
	assert_int_equal(connections_cut_late(f->table, now), now + HEAD_NS);
	peer_head_done(f->table, f->peer);
	assert_int_equal(connections_cut_late(f->table, now), now + REQUEST_NS - PACE_NS);
	assert_false(is_cut(f));
}

static void
resting_connection_is_cut_too(void **state)
{
	struct fixture *f = *state;

	peer_begins(f->table, f->peer, 0);
	peer_head_done(f->table, f->peer);
	peer_rests(f->table, f->peer, 0);
	connections_cut_late(f->table, REQUEST_NS);
	assert_true(is_cut(f));
}

static void
fast_answer_may_take_longer(void **state)
{
	struct fixture *f = *state;
	int64_t now = REQUEST_NS;

	answer_until_its_pace_counts(f);
	peer_sent(f->peer, PACE_BYTES);
	assert_int_equal(connections_cut_late(f->table, now), now + PACE_NS);
	for (int i = 0; i < 100; i++) {
		now += PACE_NS;
		peer_sent(f->peer, PACE_BYTES);
		assert_int_equal(connections_cut_late(f->table, now), now + PACE_NS);
	}
	assert_false(is_cut(f));
	now += PACE_NS;
	peer_sent(f->peer, PACE_BYTES - 1);
	connections_cut_late(f->table, now);
	assert_true(is_cut(f));
}

static void
answer_below_the_rate_is_cut(void **state)
{
	struct fixture *f = *state;

	peer_sent(f->peer, 1000 * PACE_BYTES); /* before its pace counts */
	answer_until_its_pace_counts(f);
	peer_sent(f->peer, PACE_BYTES - 1);
	connections_cut_late(f->table, REQUEST_NS);
	assert_true(is_cut(f));
}

static void
what_waits_in_the_socket_counts_as_not_taken(void **state)
{
	static const char bytes[60000];
	struct fixture *f = *state;
	size_t queued = 0;
	ssize_t n;

	answer_until_its_pace_counts(f);
	while ((n = send(f->fds[0], bytes, sizeof(bytes), MSG_DONTWAIT)) > 0)
		queued += (size_t)n;
	assert_true(queued > 0);
	peer_sent(f->peer, PACE_BYTES + queued / 2);
	connections_cut_late(f->table, REQUEST_NS);
	while ((n = recv(f->fds[1], (char[4096]){ 0 }, 4096, 0)) > 0)
		continue;
	assert_int_equal(n, 0); /* the end, not "nothing yet" */
}

static void
who_was_cut_stays_cut_and_counts_once(void **state)
{
	struct fixture *f = *state;
	struct connections_stats stats;

	connections_cut_late(f->table, HEAD_NS);
	peer_begins(f->table, f->peer, HEAD_NS);
	peer_rests(f->table, f->peer, HEAD_NS);
	assert_int_equal(connections_cut_late(f->table, 10 * REQUEST_NS), INT64_MAX);
	connections_get_stats(f->table, &stats);
	assert_int_equal(stats.cut, 1);
	assert_int_equal(stats.count, 1);
}

static void
more_than_the_limit_find_no_room(void **state)
{
	struct fixture *f = *state;
	struct connections_stats stats;
	struct peer *second;

	assert_true(connections_have_room(f->table));
	second = peer_add(f->table, f->fds[1], 0);
	assert_non_null(second);
	assert_false(connections_have_room(f->table));
	peer_remove(f->table, second);
	assert_true(connections_have_room(f->table));
	connections_get_stats(f->table, &stats);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.count, 1);
}

static void
drain_cuts_who_rests_at_once(void **state)
{
	struct fixture *f = *state;

	connections_drain(f->table, INT64_MAX);
	assert_true(is_cut(f));
}

static void
drain_cuts_who_comes_later(void **state)
{
	struct fixture *f = *state;
	struct peer *late;
	char byte;

	connections_drain(f->table, INT64_MAX);
	late = peer_add(f->table, f->fds[1], 0);
	assert_non_null(late);
	assert_int_equal(recv(f->fds[1], &byte, 1, MSG_DONTWAIT), 0);
	peer_remove(f->table, late);
}

static void
drain_cuts_an_answer_at_its_deadline(void **state)
{
	struct fixture *f = *state;

	peer_begins(f->table, f->peer, 0);
	peer_head_done(f->table, f->peer);
	connections_drain(f->table, 0);
	assert_true(is_cut(f));
}

static void
peers_may_leave_in_any_order(void **state)
{
	struct fixture *f = *state;
	struct peer *peers[5];

	for (size_t i = 0; i < 5; i++) {
		peers[i] = peer_add(f->table, f->fds[0], (int64_t)i);
		assert_non_null(peers[i]);
	}
	peer_remove(f->table, peers[2]);
	peer_remove(f->table, peers[4]);
	peer_remove(f->table, f->peer);
	f->peer = NULL;
	assert_int_equal(connections_cut_late(f->table, 0), HEAD_NS);
	peer_remove(f->table, peers[0]);
	assert_int_equal(connections_cut_late(f->table, 0), HEAD_NS + 1);
	peer_remove(f->table, peers[1]);
	peer_remove(f->table, peers[3]);
	assert_int_equal(connections_cut_late(f->table, 0), INT64_MAX);
}

static void
without_memory_there_is_no_peer_and_no_table(void **state)
{
	struct fixture *f = *state;
	const struct connections_conf conf = { .limit = 1 };
	struct err err;

	fault_malloc(1);
	assert_null(peer_add(f->table, f->fds[0], 0));
	fault_malloc(1);
	assert_null(connections_new(&conf, &err));
	assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	connections_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(slow_head_is_cut_at_its_deadline),
		TEST(request_has_the_longer_time_since_it_began),
		TEST(next_request_starts_anew),
		TEST(resting_connection_is_cut_too),
		TEST(fast_answer_may_take_longer),
		TEST(answer_below_the_rate_is_cut),
		TEST(what_waits_in_the_socket_counts_as_not_taken),
		TEST(who_was_cut_stays_cut_and_counts_once),
		TEST(more_than_the_limit_find_no_room),
		TEST(drain_cuts_who_rests_at_once),
		TEST(drain_cuts_who_comes_later),
		TEST(drain_cuts_an_answer_at_its_deadline),
		TEST(peers_may_leave_in_any_order),
		TEST(without_memory_there_is_no_peer_and_no_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
