#include "poller/poller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "endpoint_fixture.h"
#include "fault.h"
#include "sources/http.h"

/* Staleness. */

static void
without_good_polls_series_become_inactive_once(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	int64_t good_ns;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	good_ns = f.passed_ns;
	for (int i = 0; i < 3; i++) {
		go_to_tick(&f, ep);
		report_failed(&scripts[1], "no");
		settle(&f);
	}
	advance(&f, good_ns + STALE_AFTER_NS - 1 - f.passed_ns);
	assert_false(status_of(ep).stale);
	assert_int_equal(active_series(ep), 1);
	advance(&f, 1);
	assert_true(status_of(ep).stale);
	assert_int_equal(active_series(ep), 0);
	poll_well(&f, ep, &scripts[1]);
	assert_false(status_of(ep).stale);
	assert_int_equal(active_series(ep), 1);
	remove_and_finish(&f, ep);
}

static void
good_polls_keep_an_endpoint_fresh(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	for (int i = 0; i < 10; i++) {
		poll_well(&f, ep, &scripts[1]);
		assert_false(status_of(ep).stale);
	}
	remove_and_finish(&f, ep);
}

static void
without_a_limit_nothing_becomes_stale(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	f.conf.stale_after_ns = 0;
	pollers_set(f.pool, &f.conf);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	for (int i = 0; i < 20; i++) {
		go_to_tick(&f, ep);
		report_failed(&scripts[1], "no");
		settle(&f);
	}
	assert_false(status_of(ep).stale);
	assert_int_equal(active_series(ep), 1);
	remove_and_finish(&f, ep);
}

/* Coming and going. */

static void
removal_in_any_state_leaves_nothing_behind(void **state)
{
	static const enum ep_state stages[] = {
		EP_EMPTY,
		EP_WAITING_TO_CONNECT,
		EP_CONNECTING,
		EP_WAITING_TO_POLL,
		EP_POLLING,
		EP_SYNCED,
		EP_FAILED_TO_CONNECT,
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
		enum ep_state stage = stages[i];
		struct fixture f;
		struct endpoint *ep, *seen;
		bool cancelled = stage >= EP_CONNECTING && stage <= EP_POLLING;

		begin(&f);
		f.pool->connections.taken += stage == EP_WAITING_TO_CONNECT ? 100 : 0;
		f.pool->polls.limit = stage == EP_WAITING_TO_POLL ? 1 : 0;
		f.pool->polls.taken += stage == EP_WAITING_TO_POLL ? 1 : 0;
		ep = add(&f, 1, &waiting_ops);
		if (stage != EP_EMPTY)
			go_to_tick(&f, ep);
		if (stage == EP_WAITING_TO_POLL || stage == EP_POLLING || stage == EP_SYNCED)
			report_connected(&scripts[1]);
		settle(&f);
		if (stage == EP_SYNCED)
			report_done(&scripts[1]);
		if (stage == EP_FAILED_TO_CONNECT)
			report_failed(&scripts[1], "no");
		settle(&f);
		assert_state(ep, stage);
		seen = endpoint_ref(ep);
		endpoint_remove(ep);
		settle(&f);
		assert_int_equal(scripts[1].cancelled, cancelled);
		assert_int_equal(scripts[1].closed, scripts[1].opened);
		assert_int_equal(active_series(seen), 0);
		assert_false(ep_state_is_busy(status_of(seen).state));
		f.pool->connections.taken -= stage == EP_WAITING_TO_CONNECT ? 100 : 0;
		f.pool->polls.taken -= stage == EP_WAITING_TO_POLL ? 1 : 0;
		endpoint_unref(seen);
		finish(&f);
	}
}

static void
an_end_before_a_report_is_acted_on_drops_it(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	report_connected(&scripts[1]);
	report_done(&scripts[1]);
	endpoints_end(&f.pool->pollers[0]);
	endpoint_unref(ep);
	settle(&f);
	assert_int_equal(f.polled, 0);
	assert_int_equal(scripts[1].cancelled, 0); /* it was over already */
	/* The next poll uses the same memory and is none the wiser. */
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	assert_state(ep, EP_CONNECTING);
	advance(&f, CONNECT_TIMEOUT_NS);
	assert_state(ep, EP_FAILED_TO_CONNECT);
	remove_and_finish(&f, ep);
}

static void
removal_before_it_was_taken_in_is_fine(void **state)
{
	struct fixture f;

	(void)state;
	begin(&f);
	remove_and_finish(&f, add_replacing(&f, 1, &plain_ops, NULL));
}

static void
a_slot_granted_to_a_removed_endpoint_goes_on(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin_with(&f, 64 * 1024 * 1024, 1, 0);
	f.pool->connections.taken = 1;
	ep = add(&f, 1, &plain_ops);
	go_to_tick(&f, ep);
	assert_state(ep, EP_WAITING_TO_CONNECT);
	endpoint_remove(ep);
	gate_give(&f.pool->connections); /* posted after the removal */
	finish(&f);
	assert_int_equal(scripts[1].started, 0);
}

static void
endpoints_left_at_the_end_are_freed(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	go_to_tick(&f, ep);
	endpoints_end(&f.pool->pollers[0]);
	assert_int_equal(scripts[1].cancelled, 1);
	assert_int_equal(active_series(ep), 1); /* a stop is no removal */
	endpoint_unref(ep);
	finish(&f);
}

static void
a_replacement_goes_on_where_the_old_one_was(void **state)
{
	struct fixture f;
	struct endpoint *old, *new;
	struct endpoint_status status;

	(void)state;
	begin(&f);
	old = add(&f, 1, &plain_ops);
	poll_well(&f, old, &scripts[1]);
	go_to_tick(&f, old);
	report_failed(&scripts[1], "no");
	settle(&f);
	go_to_tick(&f, old); /* a poll is under way */
	new = add_replacing(&f, 1, &waiting_ops, old);
	assert_int_equal(status_of(new).polls, 2); /* even before the poller knows */
	assert_int_equal(scripts[1].cancelled, 0);
	settle(&f);
	assert_int_equal(scripts[1].cancelled, 1);
	assert_int_equal(scripts[1].closed, 1);
	assert_int_equal(active_series(new), 1);
	status = status_of(new);
	assert_int_equal(status.state, EP_EMPTY);
	assert_int_equal(status.polls, 2);
	assert_int_equal(status.failures, 1);
	assert_true(status.down);
	assert_string_equal(status.error, "no");
	assert_int_equal(f.pool->endpoint_count, 1);
	poll_well(&f, new, &scripts[1]);
	status = status_of(new);
	assert_int_equal(status.polls, 3);
	assert_int_equal(status.later_polls, 1);
	assert_false(status.down);
	assert_int_equal(scripts[1].opened, 2);
	remove_and_finish(&f, new);
}

static void
a_chain_of_replacements_in_one_turn_leaves_the_last(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add_replacing(&f, 1, &plain_ops, NULL);
	for (int i = 0; i < 10; i++)
		ep = add_replacing(&f, 1, &plain_ops, ep);
	settle(&f);
	assert_int_equal(f.pool->endpoint_count, 1);
	poll_well(&f, ep, &scripts[1]);
	assert_int_equal(scripts[1].opened, 1);
	remove_and_finish(&f, ep);
}

static void
staleness_passes_on_to_the_replacement(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	int64_t good_ns;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	good_ns = f.passed_ns;
	advance(&f, NS_PER_S);
	ep = add_replacing(&f, 1, &plain_ops, ep);
	settle(&f);
	scripts[1].refuses_to_open = true;
	advance(&f, good_ns + STALE_AFTER_NS - 1 - f.passed_ns);
	assert_int_equal(active_series(ep), 1);
	advance(&f, 1);
	assert_true(status_of(ep).stale);
	assert_int_equal(active_series(ep), 0);
	ep = add_replacing(&f, 1, &plain_ops, ep);
	settle(&f);
	assert_true(status_of(ep).stale);
	remove_and_finish(&f, ep);
}

static void
an_endpoint_that_comes_back_finds_its_series(void **state)
{
	struct fixture f;
	struct endpoint *ep;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	endpoint_remove(ep);
	ep = add_replacing(&f, 1, &plain_ops, NULL); /* both in one turn */
	settle(&f);
	assert_int_equal(active_series(ep), 0);
	poll_well(&f, ep, &scripts[1]);
	assert_int_equal(active_series(ep), 1);
	remove_and_finish(&f, ep);
}

/* Memory. */

static void
memory_goes_with_what_is_under_way(void **state)
{
	struct fixture f;
	struct endpoint *eps[4];

	(void)state;
	begin(&f);
	for (unsigned i = 0; i < 4; i++) {
		scripts[i].reports_inside_start = true;
		eps[i] = add(&f, i, &plain_ops);
	}
	assert_int_equal(f.pool->pollers[0].rest_count, 0);
	for (int i = 0; i < 100; i++)
		advance(&f, INTERVAL_NS / 10);
	for (unsigned i = 0; i < 4; i++)
		assert_state(eps[i], EP_SYNCED);
	assert_int_equal(f.pool->pollers[0].rest_count, 1);
	for (unsigned i = 0; i < 4; i++)
		endpoint_remove(eps[i]);
	finish(&f);
}

static void
a_batch_has_memory_once_it_is_begun(void **state)
{
	struct fixture f;
	struct endpoint *eps[4];
	struct poller *poller;

	(void)state;
	begin(&f);
	poller = &f.pool->pollers[0];
	for (unsigned i = 0; i < 4; i++)
		eps[i] = add(&f, i, &plain_ops);
	for (int round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 4; i++)
			endpoint_poll_now(eps[i]);
		settle(&f);
		for (unsigned i = 0; i < 4; i++) {
			assert_non_null(scripts[i].job);
			assert_null(scripts[i].job->batch->arena.chunks);
		}
		for (unsigned i = 0; i < 4; i++) {
			report_done(&scripts[i]);
			settle(&f);
			assert_int_equal(poller->kept_count, 1);
		}
	}
	for (unsigned i = 0; i < 4; i++)
		endpoint_remove(eps[i]);
	finish(&f);
}

static void
a_crowd_is_not_remembered(void **state)
{
	enum { N = 300 };
	struct fixture f;
	struct endpoint *eps[N];

	(void)state;
	begin(&f);
	scripts[1].reports_inside_start = true;
	for (unsigned i = 0; i < N; i++) {
		char host[16];

		snprintf(host, sizeof(host), "crowd%u", i);
		eps[i] = add_target(&f, host, 1, &plain_ops, NULL);
	}
	settle(&f);
	advance(&f, INTERVAL_NS); /* all in one turn */
	assert_int_equal(f.pool->poll_count, N);
	assert_in_range(f.pool->pollers[0].rest_count, 1, N / 2);
	for (unsigned i = 0; i < N; i++)
		endpoint_remove(eps[i]);
	finish(&f);
}

static void
a_pool_needs_all_its_memory(void **state)
{
	struct fixture f;
	struct err err;
	unsigned nth = 1;

	(void)state;
	begin(&f);
	for (;;) {
		struct own *own = own_new(&err);
		struct pollers *pool;

		assert_non_null(own);
		fault_malloc(nth++);
		pool = pollers_make(&f.conf, f.store, f.resolver, own, &err);
		if (pool == NULL)
			assert_int_equal(err.code, ERR_NOMEM);
		else
			pollers_unmake(pool);
		own_free(own);
		if (!fault_happened())
			break;
	}
	fault_malloc(0);
	assert_true(nth > 3);
	finish(&f);
}

static void
adding_takes_all_its_memory_first(void **state)
{
	struct target *target = target_of("host1", 1, &plain_ops);
	struct fixture f;
	struct endpoint *ep, *new;
	struct err err;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	poll_well(&f, ep, &scripts[1]);
	for (unsigned nth = 1;; nth++) {
		fault_malloc(nth);
		new = endpoint_add(f.pool, target, ep, &err);
		if (new != NULL)
			break;
		assert_true(fault_happened());
		fault_malloc(0);
		assert_int_equal(err.code, ERR_NOMEM);
		/* It is as it was. */
		poll_well(&f, ep, &scripts[1]);
		assert_int_equal(scripts[1].opened, 1);
	}
	assert_false(fault_happened());
	fault_malloc(0);
	target_unref(target);
	remove_and_finish(&f, new);
}

static void
a_poll_without_memory_fails_and_recovers(void **state)
{
	unsigned failures = 0;
	bool happened;

	(void)state;
	log_set_level(LOG_ERROR);
	for (unsigned nth = 1;; nth++) {
		struct fixture f;
		struct endpoint *ep;
		struct endpoint_status status;

		begin(&f);
		scripts[1].reports_inside_start = true;
		ep = add(&f, 1, &plain_ops);
		fault_malloc(nth);
		go_to_tick(&f, ep);
		happened = fault_happened();
		fault_malloc(0);
		status = status_of(ep);
		assert_false(ep_state_is_busy(status.state));
		if (status.down) {
			assert_non_null(strstr(status.error, "out of memory"));
			assert_int_equal(active_series(ep), 0);
			failures++;
		}
		poll_well(&f, ep, &scripts[1]);
		remove_and_finish(&f, ep);
		if (!happened)
			break;
	}
	log_set_level(LOG_INFO);
	assert_true(failures >= 3); /* the source, the poll, the store */
}

/* What is told. */

/* Lines on standard error since the last call; the first call starts it. */
static size_t
log_lines(FILE **file, int *saved_fd)
{
	static char text[65536];
	size_t len, lines = 0;

	if (*file == NULL) {
		*file = tmpfile();
		assert_non_null(*file);
		*saved_fd = dup(STDERR_FILENO);
		assert_true(dup2(fileno(*file), STDERR_FILENO) >= 0);
		return 0;
	}
	rewind(*file);
	len = fread(text, 1, sizeof(text), *file);
	for (size_t i = 0; i < len; i++)
		lines += text[i] == '\n';
	assert_int_equal(ftruncate(fileno(*file), 0), 0);
	rewind(*file);
	return lines;
}

static void
only_changes_are_logged(void **state)
{
	struct fixture f;
	struct endpoint *ep;
	FILE *file = NULL;
	int saved_fd;
	size_t good, first, second, recovered;

	(void)state;
	begin(&f);
	ep = add(&f, 1, &plain_ops);
	log_lines(&file, &saved_fd);
	poll_well(&f, ep, &scripts[1]);
	good = log_lines(&file, &saved_fd);
	go_to_tick(&f, ep);
	report_failed(&scripts[1], "no");
	settle(&f);
	first = log_lines(&file, &saved_fd);
	go_to_tick(&f, ep);
	report_failed(&scripts[1], "no again");
	settle(&f);
	second = log_lines(&file, &saved_fd);
	poll_well(&f, ep, &scripts[1]);
	recovered = log_lines(&file, &saved_fd);
	dup2(saved_fd, STDERR_FILENO);
	close(saved_fd);
	fclose(file);
	assert_int_equal(good, 0);
	assert_int_equal(first, 1);
	assert_int_equal(second, 0);
	assert_int_equal(recovered, 1);
	remove_and_finish(&f, ep);
}

/* The metric's place in the batch. */
static size_t
metric_at(const struct batch *batch, const char *path)
{
	for (size_t i = 0; i < batch->len; i++) {
		if (str_eq(batch->desc[i].path, str_of(path)))
			return i;
	}
	fail_msg("no %s", path);
	return 0;
}

static uint64_t
number_at(const struct batch *batch, const char *path)
{
	size_t at = metric_at(batch, path);

	assert_int_equal(batch->desc[at].kind, KIND_UINT64);
	return batch->value[at].u;
}

static const struct dist *
dist_at(const struct batch *batch, const char *path)
{
	size_t at = metric_at(batch, path);

	assert_int_equal(batch->desc[at].kind, KIND_DIST);
	return batch->value[at].dist;
}

static void
own_metrics_tell_what_went_on(void **state)
{
	struct fixture f;
	struct endpoint *good, *bad;
	struct batch batch;
	struct err err;

	(void)state;
	begin(&f);
	set_timeouts(&f, 1000 * NS_PER_S, 1000 * NS_PER_S);
	scripts[1].has_bad_metric = true;
	good = add(&f, 1, &waiting_ops); /* called tricorder */
	poll_well(&f, good, &scripts[1]);
	poll_well(&f, good, &scripts[1]);
	bad = add(&f, 2, &plain_ops);
	go_to_tick(&f, bad);
	report_failed(&scripts[2], "no");
	advance(&f, 0);
	if (scripts[1].job != NULL) { /* ticked meanwhile */
		report_done(&scripts[1]);
		settle(&f);
	}
	go_to_tick(&f, good);
	report_connected(&scripts[1]);
	settle(&f);
	batch_init(&batch, 0);
	assert_int_equal(own_collect(f.own, &batch, 1, &err), 0);
	assert_int_equal(number_at(&batch, "/collector/endpointCount"), 2);
	assert_int_equal(number_at(&batch, "/collector/polls"), f.pool->poll_count);
	assert_int_equal(number_at(&batch, "/collector/failedPolls"), status_of(bad).failures);
	assert_int_equal(number_at(&batch, "/collector/badMetrics"), status_of(good).polls);
	assert_int_equal(number_at(&batch, "/collector/skippedTicks"), 0);
	assert_in_range(number_at(&batch, "/collector/connectionsInUse"), 1, 2);
	assert_int_equal(number_at(&batch, "/collector/pollsInUse"), 1);
	assert_int_equal(
	    dist_at(&batch, "/collector/collectionTimes")->count, status_of(good).polls);
	assert_int_equal(
	    dist_at(&batch, "/collector/collectionTimes_tricorder")->count, status_of(good).polls);
	assert_int_equal(
	    dist_at(&batch, "/collector/changedMetricsPerEndpoint")->count, status_of(good).polls);
	assert_in_range(dist_at(&batch, "/collector/lateness")->count, 3, 5);
	assert_int_equal(
	    batch.desc[metric_at(&batch, "/collector/elapsedTime")].kind, KIND_DURATION);
	batch_fini(&batch);
	endpoint_remove(good);
	remove_and_finish(&f, bad);
}

static void
limits_are_upstreams(void **state)
{
	double geometric[32];
	size_t n = own_geometric(1, 1e4, geometric, ARRAY_LEN(geometric));
	struct fixture f;
	struct batch batch;
	struct err err;
	const struct metric_desc *desc;

	(void)state;
	begin(&f);
	batch_init(&batch, 0);
	assert_int_equal(own_collect(f.own, &batch, 1, &err), 0);
	desc = &batch.desc[metric_at(&batch, "/collector/changedMetricsPerEndpoint")];
	assert_int_equal(desc->limit_count, n);
	assert_memory_equal(desc->limits, geometric, n * sizeof(*geometric));
	desc = &batch.desc[metric_at(&batch, "/collector/collectionTimes")];
	assert_int_equal(desc->limit_count, 14);
	assert_true(str_eq(desc->unit, STR(UNIT_SECONDS)));
	batch_fini(&batch);
	finish(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_good_polls_series_become_inactive_once),
		cmocka_unit_test(good_polls_keep_an_endpoint_fresh),
		cmocka_unit_test(without_a_limit_nothing_becomes_stale),
		cmocka_unit_test(removal_in_any_state_leaves_nothing_behind),
		cmocka_unit_test(an_end_before_a_report_is_acted_on_drops_it),
		cmocka_unit_test(removal_before_it_was_taken_in_is_fine),
		cmocka_unit_test(a_slot_granted_to_a_removed_endpoint_goes_on),
		cmocka_unit_test(endpoints_left_at_the_end_are_freed),
		cmocka_unit_test(a_replacement_goes_on_where_the_old_one_was),
		cmocka_unit_test(a_chain_of_replacements_in_one_turn_leaves_the_last),
		cmocka_unit_test(staleness_passes_on_to_the_replacement),
		cmocka_unit_test(an_endpoint_that_comes_back_finds_its_series),
		cmocka_unit_test(memory_goes_with_what_is_under_way),
		cmocka_unit_test(a_batch_has_memory_once_it_is_begun),
		cmocka_unit_test(a_crowd_is_not_remembered),
		cmocka_unit_test(a_pool_needs_all_its_memory),
		cmocka_unit_test(adding_takes_all_its_memory_first),
		cmocka_unit_test(a_poll_without_memory_fails_and_recovers),
		cmocka_unit_test(only_changes_are_logged),
		cmocka_unit_test(own_metrics_tell_what_went_on),
		cmocka_unit_test(limits_are_upstreams),
	};
	struct err err;

	if (http_global_init(&err) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
