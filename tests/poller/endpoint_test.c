#include "poller/poller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"
#include "endpoint_fixture.h"
#include "sources/http.h"

/* Good polls. */

static void
a_new_endpoint_waits_for_its_tick(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	advance(&f, until_tick(&f, ep) - 1);
	assert_int_equal(scripts[1].opened + scripts[1].started, 0);
	status = status_of(ep);
	assert_int_equal(status.state, EP_EMPTY);
	assert_false(status.down);
	assert_string_equal(status.error, "");
	assert_true(status.last_poll_ts_ns == TS_NONE && status.error_ts_ns == TS_NONE);
	assert_int_equal(status.polls, 0);
	advance(&f, 1);
	assert_int_equal(scripts[1].started, 1);
	remove_and_finish(&f, ep);
}

static void
a_poll_passes_through_all_states(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &waiting_ops);
	go_to_tick(&f, ep);
	assert_state(ep, EP_CONNECTING);
	report_connected(&scripts[1]);
	assert_state(ep, EP_CONNECTING); /* acted on in the next turn */
	assert_int_equal(scripts[1].proceeded, 0);
	loop_turn(f.loop, 0);
	assert_state(ep, EP_POLLING);
	assert_int_equal(scripts[1].proceeded, 1);
	report_done(&scripts[1]);
	assert_state(ep, EP_POLLING);
	loop_turn(f.loop, 0);
	assert_state(ep, EP_SYNCED);
	remove_and_finish(&f, ep);
}

static void
a_good_poll_is_stored_and_told(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	scripts[1].metrics = 3;
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	assert_int_equal(active_series(ep), 3);
	assert_int_equal(f.polled, 1);
	assert_int_equal(f.polled_metrics, 3);
	status = status_of(ep);
	assert_int_equal(status.polls, 1);
	assert_int_equal(status.failures, 0);
	assert_int_equal(status.metric_count, 3);
	assert_int_equal(status.bad_count, 0);
	assert_int_equal(status.last_poll_ts_ns, START_REAL_NS + f.passed_ns);
	assert_true(status.first_values > 0);
	assert_int_equal(status.later_polls, 0);
	poll_well(&f, ep, &scripts[1]);
	status = status_of(ep);
	assert_int_equal(status.polls, 2);
	assert_int_equal(status.later_polls, 1);
	assert_int_equal(status.later_values, 3);
	remove_and_finish(&f, ep);
}

static void
polled_now_it_keeps_its_schedule(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	scripts[1].reports_inside_start = true;
	ep = add(&f, 1, &waiting_ops);
	endpoint_poll_now(ep);
	endpoint_poll_now(ep);
	settle(&f);
	assert_int_equal(scripts[1].started, 1);
	assert_int_equal(status_of(ep).lateness_ns, 0);
	pollers_poll_now(f.pool);
	settle(&f);
	assert_int_equal(scripts[1].started, 2);
	advance(&f, until_tick(&f, ep) - 1);
	assert_int_equal(scripts[1].started, 2);
	advance(&f, 1);
	assert_int_equal(scripts[1].started, 3);
	remove_and_finish(&f, ep);
}

static void
polled_now_during_a_poll_nothing_is_skipped(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &waiting_ops);
	go_to_tick(&f, ep);
	endpoint_poll_now(ep);
	pollers_poll_now(f.pool);
	settle(&f);
	assert_int_equal(scripts[1].started, 1);
	assert_int_equal(status_of(ep).skipped, 0);
	remove_and_finish(&f, ep);
}

static void
polled_now_after_its_end_nothing_happens(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = endpoint_ref(add(&f, 1, &waiting_ops));
	endpoint_remove(ep);
	endpoint_poll_now(ep);
	settle(&f);
	assert_int_equal(scripts[1].started, 0);
	endpoint_unref(ep);
	finish(&f);
}

static void
polls_start_in_portions_in_the_order_of_ticks(void **state)
{
	struct fixture f;
	struct poller *poller;
	struct endpoint *eps[5];

	(void)state;
	begin(&f);
	poller = &f.pool->pollers[0];
	for (unsigned i = 0; i < ARRAY_LEN(eps); i++)
		eps[i] = add(&f, 1 + i, &waiting_ops);
	/* As if this turn had started all but two of its portion. */
	poller->start_turn = loop_turn_count(f.loop) + 1;
	poller->starts_left = 2;
	for (unsigned i = 0; i < ARRAY_LEN(eps); i++)
		endpoint_poll_now(eps[i]);
	loop_turn(f.loop, 0);
	for (unsigned i = 0; i < ARRAY_LEN(eps); i++)
		assert_int_equal(scripts[1 + i].started, i < 2);
	assert_state(eps[2], EP_WAITING_TO_CONNECT);
	endpoint_remove(eps[3]);
	poller->start_turn = loop_turn_count(f.loop) + 1;
	poller->starts_left = 1;
	loop_turn(f.loop, 0);
	assert_int_equal(scripts[3].started, 1);
	assert_int_equal(scripts[5].started, 0);
	settle(&f);
	assert_int_equal(scripts[4].started, 0);
	assert_int_equal(scripts[5].started, 1);
	for (unsigned i = 0; i < ARRAY_LEN(eps); i++)
		if (i != 3)
			endpoint_remove(eps[i]);
	finish(&f);
}

static void
who_timed_out_gets_at_most_half_of_the_connections(void **state)
{
	struct fixture f;
	struct endpoint *slow[3], *good;

	(void)state;
	begin_with(&f, 64 * 1024 * 1024, 4, 0);
	for (unsigned i = 0; i < 3; i++)
		slow[i] = add(&f, 1 + i, &waiting_ops);
	pollers_poll_now(f.pool);
	settle(&f);
	advance(&f, CONNECT_TIMEOUT_NS);
	for (unsigned i = 0; i < 3; i++)
		assert_state(slow[i], EP_FAILED_TO_CONNECT);
	good = add(&f, 4, &waiting_ops);
	pollers_poll_now(f.pool);
	settle(&f);
	assert_int_equal(gate_taken(&f.pool->connections), 3);
	assert_int_equal(scripts[1].started + scripts[2].started + scripts[3].started, 5);
	assert_state(good, EP_CONNECTING);
	/* One that answers makes room, and is as good as the others from then on. */
	for (unsigned i = 0; i < 3; i++) {
		if (scripts[1 + i].job == NULL)
			continue;
		report_connected(&scripts[1 + i]);
		report_done(&scripts[1 + i]);
		break;
	}
	settle(&f);
	assert_int_equal(scripts[1].started + scripts[2].started + scripts[3].started, 6);
	pollers_poll_now(f.pool);
	settle(&f);
	assert_int_equal(gate_taken(&f.pool->connections), 4);
	for (unsigned i = 0; i < 3; i++)
		endpoint_remove(slow[i]);
	endpoint_remove(good);
	finish(&f);
}

static void
reports_inside_start_are_acted_on_after_it(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	scripts[1].reports_inside_start = true;
	ep = add(&f, 1, &waiting_ops);
	advance_one_turn(&f, until_tick(&f, ep));
	assert_int_equal(scripts[1].started, 1);
	assert_state(ep, EP_SYNCED);
	assert_int_equal(active_series(ep), 1);
	/* It was done before it could be told to go on. */
	assert_int_equal(scripts[1].proceeded, 0);
	remove_and_finish(&f, ep);
}

static void
a_source_need_not_report_that_it_is_connected(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin_with(&f, 64 * 1024 * 1024, 100, 1);
	scripts[1].reports_inside_start = true;
	scripts[1].skips_connected = true;
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	assert_state(ep, EP_SYNCED);
	remove_and_finish(&f, ep);
}

static void
the_four_times_of_a_poll_are_kept(void **state)
{
	struct fixture f;
	struct endpoint *first, *second;
	struct endpoint_status status;

	(void)state;
	begin_with(&f, 64 * 1024 * 1024, 100, 1);
	set_timeouts(&f, CONNECT_TIMEOUT_NS, 1000 * NS_PER_S);
	first = add(&f, 1, &waiting_ops);
	go_to_tick(&f, first);
	report_connected(&scripts[1]); /* has the only poll slot from here on */
	settle(&f);
	second = add(&f, 2, &waiting_ops);
	gate_set_limit(&f.pool->connections, 1);
	go_to_tick(&f, second);
	assert_state(second, EP_WAITING_TO_CONNECT);
	advance(&f, NS_PER_MS);
	gate_set_limit(&f.pool->connections, 2);
	settle(&f);
	assert_state(second, EP_CONNECTING);
	advance(&f, 2 * NS_PER_MS);
	report_connected(&scripts[2]);
	settle(&f);
	assert_state(second, EP_WAITING_TO_POLL);
	assert_int_equal(scripts[2].proceeded, 0);
	advance(&f, 3 * NS_PER_MS);
	report_failed(&scripts[1], "gone");
	settle(&f);
	assert_state(second, EP_POLLING);
	assert_int_equal(scripts[2].proceeded, 1);
	advance(&f, 4 * NS_PER_MS);
	report_done(&scripts[2]);
	settle(&f);
	assert_state(second, EP_SYNCED);
	status = status_of(second);
	assert_int_equal(status.wait_connect_ns, NS_PER_MS);
	assert_int_equal(status.connect_ns, 2 * NS_PER_MS);
	assert_int_equal(status.wait_poll_ns, 3 * NS_PER_MS);
	assert_int_equal(status.poll_ns, 4 * NS_PER_MS);
	assert_int_equal(status.lateness_ns, NS_PER_MS);
	endpoint_remove(first);
	remove_and_finish(&f, second);
}

static void
bad_metrics_cost_only_themselves(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	scripts[1].has_bad_metric = true;
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	status = status_of(ep);
	assert_false(status.down);
	assert_int_equal(status.metric_count, 1);
	assert_int_equal(status.bad_count, 1);
	assert_non_null(strstr(status.bad_text, "no slash"));
	scripts[1].has_bad_metric = false;
	poll_well(&f, ep, &scripts[1]);
	status = status_of(ep);
	assert_int_equal(status.bad_count, 0);
	assert_string_equal(status.bad_text, "");
	remove_and_finish(&f, ep);
}

/* Failures. */

static void
a_failure_before_connected_is_failed_to_connect(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_failed(&scripts[1], "connection refused");
	settle(&f);
	status = status_of(ep);
	assert_int_equal(status.state, EP_FAILED_TO_CONNECT);
	assert_true(status.down);
	assert_string_equal(status.error, "connection refused");
	assert_int_equal(status.error_ts_ns, START_REAL_NS + f.passed_ns);
	assert_int_equal(status.polls, 1);
	assert_int_equal(status.failures, 1);
	assert_int_equal(scripts[1].cancelled, 0);
	assert_int_equal(f.polled, 0);
	remove_and_finish(&f, ep);
}

static void
the_times_of_a_failed_poll_are_its_own(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_connected(&scripts[1]);
	settle(&f);
	advance(&f, NS_PER_S);
	report_failed(&scripts[1], "cut off");
	settle(&f);
	assert_int_equal(status_of(ep).connect_ns, 0);
	assert_int_equal(status_of(ep).poll_ns, NS_PER_S);
	go_to_tick(&f, ep);
	advance(&f, NS_PER_MS);
	report_failed(&scripts[1], "refused");
	settle(&f);
	assert_int_equal(status_of(ep).connect_ns, NS_PER_MS);
	assert_int_equal(status_of(ep).poll_ns, 0);
	remove_and_finish(&f, ep);
}

static void
a_failure_after_connected_is_failed_to_poll(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_connected(&scripts[1]); /* both before the next turn */
	report_failed(&scripts[1], "cut off");
	settle(&f);
	assert_state(ep, EP_FAILED_TO_POLL);
	assert_string_equal(status_of(ep).error, "cut off");
	remove_and_finish(&f, ep);
}

static void
the_error_stays_until_the_next_success(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	go_to_tick(&f, ep);
	report_failed(&scripts[1], "first");
	settle(&f);
	go_to_tick(&f, ep);
	assert_state(ep, EP_CONNECTING);
	assert_string_equal(status_of(ep).error, "first");
	report_failed(&scripts[1], "second");
	settle(&f);
	status = status_of(ep);
	assert_string_equal(status.error, "second");
	assert_int_equal(active_series(ep), 1); /* as upstream: the last values stay */
	assert_int_equal(status.metric_count, 1);
	poll_well(&f, ep, &scripts[1]);
	status = status_of(ep);
	assert_false(status.down);
	assert_string_equal(status.error, "");
	assert_true(status.error_ts_ns == TS_NONE);
	assert_int_equal(status.polls, 4);
	assert_int_equal(status.failures, 2);
	remove_and_finish(&f, ep);
}

static void
connecting_has_a_deadline(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	advance(&f, CONNECT_TIMEOUT_NS - 1);
	assert_state(ep, EP_CONNECTING);
	advance(&f, 1);
	assert_state(ep, EP_FAILED_TO_CONNECT);
	assert_string_equal(status_of(ep).error, "connect to 10.0.0.1:1: timed out after 5 s");
	assert_int_equal(scripts[1].cancelled, 1);
	assert_int_equal(gate_taken(&f.pool->connections), 0);
	/* The same source is good for the next. */
	poll_well(&f, ep, &scripts[1]);
	assert_int_equal(scripts[1].opened, 1);
	remove_and_finish(&f, ep);
}

static void
polling_has_a_deadline_of_its_own(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	advance(&f, CONNECT_TIMEOUT_NS - 1);
	report_connected(&scripts[1]);
	settle(&f);
	advance(&f, POLL_TIMEOUT_NS - 1);
	assert_state(ep, EP_POLLING);
	advance(&f, 1);
	assert_state(ep, EP_FAILED_TO_POLL);
	assert_string_equal(status_of(ep).error, "poll of 10.0.0.1:1: timed out after 10 s");
	assert_int_equal(scripts[1].cancelled, 1);
	remove_and_finish(&f, ep);
}

static void
what_is_reported_in_the_turn_of_the_deadline_is_in_time(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_connected(&scripts[1]);
	advance(&f, CONNECT_TIMEOUT_NS);
	assert_state(ep, EP_POLLING);
	report_done(&scripts[1]);
	advance(&f, POLL_TIMEOUT_NS);
	assert_state(ep, EP_SYNCED);
	assert_int_equal(scripts[1].cancelled, 0);
	remove_and_finish(&f, ep);
}

static void
time_outs_name_the_place_as_one_would_type_it(void **state)
{
	static const struct {
		struct str address;
		uint16_t port;
		const char *error;
	} places[] = {
		{ STR("web1"), 2, "connect to web1:2: timed out after 5 s" },
		{ STR("fe80::1"), 2, "connect to [fe80::1]:2: timed out after 5 s" },
		{ STR("[fe80::1]"), 2, "connect to [fe80::1]:2: timed out after 5 s" },
		{ STR("web1"), 0, "connect to web1: timed out after 5 s" },
		{ STR_EMPTY, 0, "connect to host: timed out after 5 s" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct fixture f;
		struct target *target;
		struct endpoint *ep;
		struct err err;

		begin(&f);
		target = target_new(&(struct target){
		    .host = STR("host"),
		    .app = STR("app"),
		    .address = places[i].address,
		    .port = places[i].port,
		    .source = &plain_ops,
		    .interval_ns = INTERVAL_NS,
		});
		assert_non_null(target);
		ep = endpoint_add(f.pool, target, NULL, &err);
		target_unref(target);
		assert_non_null(ep);
		settle(&f);
		go_to_tick(&f, ep);
		advance(&f, CONNECT_TIMEOUT_NS);
		assert_string_equal(status_of(ep).error, places[i].error);
		remove_and_finish(&f, ep);
	}
}

static void
a_source_that_cannot_be_opened_is_tried_again(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	scripts[1].refuses_to_open = true;
	ep = add(&f, 1, &plain_ops);
	for (unsigned i = 1; i <= 2; i++) {
		go_to_tick(&f, ep);
		status = status_of(ep);
		assert_int_equal(status.state, EP_FAILED_TO_CONNECT);
		assert_string_equal(status.error, "option x: makes no sense");
		assert_int_equal(status.failures, i);
	}
	scripts[1].refuses_to_open = false;
	poll_well(&f, ep, &scripts[1]);
	assert_false(status_of(ep).down);
	remove_and_finish(&f, ep);
}

static void
a_poll_that_the_store_refuses_has_failed(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin_with(&f, 1024 * 1024, 100, 0);
	scripts[1].metrics = 50000; /* far more series than fit */
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_connected(&scripts[1]);
	report_done(&scripts[1]);
	settle(&f);
	status = status_of(ep);
	assert_int_equal(status.state, EP_FAILED_TO_POLL);
	assert_true(status.down);
	assert_true(status.error[0] != '\0');
	assert_int_equal(active_series(ep), 0);
	assert_int_equal(f.polled, 0);
	scripts[1].metrics = 1;
	poll_well(&f, ep, &scripts[1]);
	remove_and_finish(&f, ep);
}

static void
max_response_bounds_the_batch(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	assert_int_equal(scripts[1].job->batch->arena.limit_bytes, f.conf.max_response);
	report_done(&scripts[1]);
	settle(&f);
	f.conf.max_response = 1024 * 1024;
	pollers_set(f.pool, &f.conf);
	go_to_tick(&f, ep);
	assert_int_equal(scripts[1].job->batch->arena.limit_bytes, f.conf.max_response);
	remove_and_finish(&f, ep);
}

/* Schedule. */

static void
polls_never_overlap(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	set_timeouts(&f, 100 * NS_PER_S, POLL_TIMEOUT_NS);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	go_to_tick(&f, ep);
	go_to_tick(&f, ep);
	assert_int_equal(scripts[1].started, 1);
	assert_int_equal(status_of(ep).skipped, 2);
	report_done(&scripts[1]);
	settle(&f);
	assert_state(ep, EP_SYNCED);
	assert_int_equal(status_of(ep).lateness_ns, 0); /* that of its own tick */
	assert_int_equal(scripts[1].started, 1);        /* what was skipped stays so */
	go_to_tick(&f, ep);
	assert_int_equal(scripts[1].started, 2);
	remove_and_finish(&f, ep);
}

static void
a_late_loop_leaves_ticks_out_and_keeps_the_place(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	scripts[1].reports_inside_start = true;
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	advance(&f, 3 * INTERVAL_NS + INTERVAL_NS / 3);
	assert_int_equal(scripts[1].started, 2);
	status = status_of(ep);
	assert_int_equal(status.skipped, 2);
	assert_int_equal(status.lateness_ns, 2 * INTERVAL_NS + INTERVAL_NS / 3);
	advance(&f, until_tick(&f, ep) - 1);
	assert_int_equal(scripts[1].started, 2);
	advance(&f, 1);
	assert_int_equal(scripts[1].started, 3);
	remove_and_finish(&f, ep);
}

static void
a_jump_of_the_wall_clock_moves_no_tick(void **state)
{
	static const int64_t jumps[] = { 3600 * NS_PER_S, -3600 * NS_PER_S, 12345678901 };
	struct fixture f;
	struct endpoint *ep;
	unsigned wanted = 1;

	(void)state;
	begin(&f);
	scripts[1].reports_inside_start = true;
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	for (size_t i = 0; i < ARRAY_LEN(jumps); i++) {
		f.jump_ns = jumps[i];
		advance(&f, INTERVAL_NS - 1);
		assert_int_equal(scripts[1].started, wanted);
		advance(&f, 1);
		assert_int_equal(scripts[1].started, ++wanted);
	}
	remove_and_finish(&f, ep);
}

static void
endpoints_do_not_start_together(void **state)
{
	enum { N = 1000 };
	static struct endpoint *eps[N];
	struct fixture f;
	size_t most = 0;

	(void)state;
	begin(&f);
	scripts[1].refuses_to_open = true;
	for (unsigned i = 0; i < N; i++) {
		char host[16];

		snprintf(host, sizeof(host), "spread%u", i);
		eps[i] = add_target(&f, host, 1, &plain_ops, NULL);
	}
	log_set_level(LOG_ERROR);
	settle(&f);
	for (int i = 0; i < 300; i++) {
		uint64_t before = f.pool->poll_count;

		advance(&f, INTERVAL_NS / 300);
		if (f.pool->poll_count - before > most)
			most = f.pool->poll_count - before;
	}
	log_set_level(LOG_INFO);
	assert_int_equal(f.pool->poll_count, N);
	assert_in_range(most, 1, 20);
	for (unsigned i = 0; i < N; i++)
		endpoint_remove(eps[i]);
	finish(&f);
}

/* Gates. */

static void
time_in_line_does_not_count_towards_deadlines(void **state)
{
	struct fixture f;
	struct endpoint *first, *second;

	(void)state;
	begin_with(&f, 64 * 1024 * 1024, 1, 0);
	set_timeouts(&f, 40 * NS_PER_S, POLL_TIMEOUT_NS);
	first = add(&f, 1, &plain_ops);
	second = add(&f, 2, &plain_ops);
	advance(&f, INTERVAL_NS); /* both ticked */
	assert_int_equal(scripts[1].started + scripts[2].started, 1);
	if (scripts[2].started == 1) {
		struct endpoint *other = first;

		first = second;
		second = other;
	}
	assert_state(second, EP_WAITING_TO_CONNECT);
	advance(&f, 40 * NS_PER_S);
	assert_state(first, EP_FAILED_TO_CONNECT);
	assert_state(second, EP_CONNECTING);
	assert_true(status_of(second).skipped > 0);
	advance(&f, 39 * NS_PER_S);
	assert_state(second, EP_CONNECTING);
	endpoint_remove(first);
	report_done(scripts[1].job != NULL ? &scripts[1] : &scripts[2]);
	settle(&f);
	/* Since its own tick, though another one passed meanwhile. */
	assert_true(status_of(second).lateness_ns >= 40 * NS_PER_S);
	remove_and_finish(&f, second);
}

/* Brings endpoint 2 to the line for the poll slot, which endpoint 1 has. */
static struct endpoint *
wait_to_poll(struct fixture *f, const struct source_ops *ops, struct endpoint **holder)
{
	struct endpoint *ep;

	begin_with(f, 64 * 1024 * 1024, 100, 1);
	set_timeouts(f, CONNECT_TIMEOUT_NS, 1000 * NS_PER_S);
	*holder = add(f, 1, &plain_ops);
	go_to_tick(f, *holder);
	report_connected(&scripts[1]);
	settle(f);
	assert_state(*holder, EP_POLLING);
	ep = add(f, 2, ops);
	go_to_tick(f, ep);
	report_connected(&scripts[2]);
	settle(f);
	return ep;
}

static void
an_answer_is_held_back_until_there_is_a_poll_slot(void **state)
{
	struct fixture f;
	struct endpoint *holder, *ep;

	(void)state;
	ep = wait_to_poll(&f, &waiting_ops, &holder);
	assert_state(ep, EP_WAITING_TO_POLL);
	advance(&f, 3 * CONNECT_TIMEOUT_NS); /* no deadline in line */
	assert_state(ep, EP_WAITING_TO_POLL);
	assert_int_equal(scripts[2].proceeded, 0);
	report_done(&scripts[1]);
	settle(&f);
	assert_state(ep, EP_POLLING);
	assert_int_equal(scripts[2].proceeded, 1);
	assert_int_equal(gate_taken(&f.pool->polls), 1);
	endpoint_remove(holder);
	remove_and_finish(&f, ep);
}

static void
a_source_that_does_not_wait_may_be_done_in_line(void **state)
{
	struct fixture f;
	struct endpoint *holder, *ep;

	(void)state;
	ep = wait_to_poll(&f, &plain_ops, &holder);
	report_done(&scripts[2]);
	settle(&f);
	assert_state(ep, EP_SYNCED);
	assert_int_equal(gate_taken(&f.pool->polls), 1);
	report_done(&scripts[1]);
	settle(&f);
	assert_int_equal(gate_taken(&f.pool->polls), 0);
	endpoint_remove(holder);
	remove_and_finish(&f, ep);
}

static void
a_failure_in_line_is_failed_to_poll(void **state)
{
	struct fixture f;
	struct endpoint *holder, *ep;

	(void)state;
	ep = wait_to_poll(&f, &waiting_ops, &holder);
	report_failed(&scripts[2], "hung up");
	settle(&f);
	assert_state(ep, EP_FAILED_TO_POLL);
	endpoint_remove(holder);
	remove_and_finish(&f, ep);
}

static void
new_limits_hold_from_the_next_poll_on(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	set_timeouts(&f, NS_PER_S / 2, POLL_TIMEOUT_NS);
	advance(&f, CONNECT_TIMEOUT_NS - 1);
	assert_state(ep, EP_CONNECTING);
	advance(&f, 1);
	go_to_tick(&f, ep);
	advance(&f, NS_PER_S / 2);
	assert_string_equal(status_of(ep).error, "connect to 10.0.0.1:1: timed out after 0.5 s");
	remove_and_finish(&f, ep);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_endpoint_waits_for_its_tick),
		cmocka_unit_test(a_poll_passes_through_all_states),
		cmocka_unit_test(a_good_poll_is_stored_and_told),
		cmocka_unit_test(polls_start_in_portions_in_the_order_of_ticks),
		cmocka_unit_test(who_timed_out_gets_at_most_half_of_the_connections),
		cmocka_unit_test(polled_now_it_keeps_its_schedule),
		cmocka_unit_test(polled_now_during_a_poll_nothing_is_skipped),
		cmocka_unit_test(polled_now_after_its_end_nothing_happens),
		cmocka_unit_test(reports_inside_start_are_acted_on_after_it),
		cmocka_unit_test(a_source_need_not_report_that_it_is_connected),
		cmocka_unit_test(the_four_times_of_a_poll_are_kept),
		cmocka_unit_test(bad_metrics_cost_only_themselves),
		cmocka_unit_test(a_failure_before_connected_is_failed_to_connect),
		cmocka_unit_test(the_times_of_a_failed_poll_are_its_own),
		cmocka_unit_test(a_failure_after_connected_is_failed_to_poll),
		cmocka_unit_test(the_error_stays_until_the_next_success),
		cmocka_unit_test(connecting_has_a_deadline),
		cmocka_unit_test(polling_has_a_deadline_of_its_own),
		cmocka_unit_test(what_is_reported_in_the_turn_of_the_deadline_is_in_time),
		cmocka_unit_test(time_outs_name_the_place_as_one_would_type_it),
		cmocka_unit_test(a_source_that_cannot_be_opened_is_tried_again),
		cmocka_unit_test(a_poll_that_the_store_refuses_has_failed),
		cmocka_unit_test(max_response_bounds_the_batch),
		cmocka_unit_test(polls_never_overlap),
		cmocka_unit_test(a_late_loop_leaves_ticks_out_and_keeps_the_place),
		cmocka_unit_test(a_jump_of_the_wall_clock_moves_no_tick),
		cmocka_unit_test(endpoints_do_not_start_together),
		cmocka_unit_test(time_in_line_does_not_count_towards_deadlines),
		cmocka_unit_test(an_answer_is_held_back_until_there_is_a_poll_slot),
		cmocka_unit_test(a_source_that_does_not_wait_may_be_done_in_line),
		cmocka_unit_test(a_failure_in_line_is_failed_to_poll),
		cmocka_unit_test(new_limits_hold_from_the_next_poll_on),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
