#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "fault.h"
#include "pump_fixture.h"

#define LONG (3600 * NS_PER_S)

static void
all_records_arrive_once_and_in_order(void **state)
{
	struct pump_fixture *f = *state;
	struct pump_stats stats;

	fill_store(f, 100, 100);
	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	check_taken(100, 100, NULL);
	stats = stats_of(f);
	assert_int_equal(stats.written, 10000);
	assert_int_equal(stats.attempts, 10);
	assert_int_equal(stats.successes, 10);
	assert_int_equal(stats.bytes, sink.taken.len);
	assert_true(stats.lag_s <= 0);
}

static void
order_holds_with_several_lanes(void **state)
{
	struct pump_fixture *f = *state;

	fill_store(f, 50, 40);
	open_pump(f, fake_consumer(64, 5));
	run_pump(f, LONG);
	check_taken(50, 40, NULL);
}

static void
what_comes_later_follows_within_a_second(void **state)
{
	struct pump_fixture *f = *state;
	int64_t before_ns;

	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	assert_int_equal(sink.requests, 0);
	fill_store(f, 3, 1);
	before_ns = f->mono_ns;
	run_pump(f, LONG);
	f->mono_ns = pump_turn(f->pump);
	run_pump(f, LONG);
	check_taken(3, 1, NULL);
	assert_int_equal(sink.requests, 1);
	assert_in_range((uint64_t)(f->mono_ns - before_ns), 0, (uint64_t)(2 * NS_PER_S));
}

/* Of the kinds of which the writer wants to know; also of an endpoint that is given up. */
static void
the_end_of_a_series_is_told(void **state)
{
	struct pump_fixture *f = *state;

	put_i64(f->store, "/a", 1, 0, 0);
	put(f->store, "/b", KIND_FLOAT64, (struct value){ .f = 2 }, 0, 0);
	append(f->store);
	put_i64(f->store, "/a", 3, 0, 1000);
	append(f->store);
	put(f->store, "/b", KIND_FLOAT64, (struct value){ .f = 4 }, 0, 2000);
	append(f->store);
	assert_int_equal(store_deactivate(f->store->set, BASE_NS + 2500 * NS_PER_MS), 1);
	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	buf_putc(&sink.taken, '\0');
	assert_string_equal(
	    sink.taken.p, "/a 1 0\n/a 3 1000\n/b 2 0\n/b end 1000\n/b 4 2000\n/b end 2500\n");
}

/* A frame says how it was for a while, not until when. */
static void
roll_ups_tell_of_no_end(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(1000, 1);

	put(f->store, "/b", KIND_FLOAT64, (struct value){ .f = 2 }, 0, 0);
	append(f->store);
	assert_int_equal(store_deactivate(f->store->set, BASE_NS + 100 * NS_PER_MS), 1);
	c->rollup_span_ns = NS_PER_S;
	open_pump(f, c);
	run_pump(f, LONG);
	f->mono_ns += 3 * NS_PER_S;
	run_pump(f, LONG);
	buf_putc(&sink.taken, '\0');
	assert_string_equal(sink.taken.p, "/b 2 0\n");
}

static void
one_bad_record_costs_itself(void **state)
{
	struct pump_fixture *f = *state;
	struct pump_stats stats;

	sink.mode = SINK_PICKY;
	sink.bad = "/s063 37 ";
	fill_store(f, 100, 100);
	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	check_taken(100, 100, "/s063 37 ");
	stats = stats_of(f);
	assert_int_equal(stats.written, 9999);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.dead_letters, 1);
	/* Ten batches, and log2(1000) + 1 more. */
	assert_in_range(stats.attempts, 11, 10 + 10 + 1);
}

/* Wherever it is, and whatever the length of the batch. */
static void
one_bad_record_is_found_in_log2_requests(void **state)
{
	struct pump_fixture *f = *state;

	for (unsigned n = 1; n <= 40; n++) {
		for (unsigned bad = 0; bad < n; bad++) {
			char text[32];
			unsigned log2 = 0;

			while (1u << log2 < n)
				log2++;
			buf_clear(&sink.taken);
			sink.requests = 0;
			sink.mode = SINK_PICKY;
			snprintf(text, sizeof(text), "/s000 %u ", bad);
			sink.bad = text;
			fixture_free(f->store);
			f->store = fixture_new(BIG_BYTES);
			f->env.store = f->store->store;
			fill_store(f, 1, n);
			open_pump(f, fake_consumer(64, 1));
			run_pump(f, LONG);
			check_taken(1, n, text);
			assert_in_range(sink.requests, 1, 1 + log2 + 1);
			pump_free(f->pump);
			f->pump = NULL;
		}
	}
}

static void
a_batch_of_nothing_but_bad_records_costs_a_request_each(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_PICKY;
	sink.bad = "/s";
	fill_store(f, 1, 500);
	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	assert_int_equal(stats_of(f).refused, 500);
	assert_int_equal(sink.taken_count, 0);
	assert_in_range(sink.requests, 500, 550);
}

static void
dead_letters_are_lines_of_json(void **state)
{
	struct pump_fixture *f = *state;
	char path[128], line[1024];
	FILE *file;

	sink.mode = SINK_PICKY;
	sink.bad = "/s000 0 ";
	fill_store(f, 1, 2);
	open_pump(f, fake_consumer(10, 1));
	run_pump(f, LONG);
	snprintf(path, sizeof(path), "%s/dead/fake one.jsonl", f->state_dir);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line,
	    "{\"writer\":\"fake one\",\"reason\":\"told so\",\"hostName\":\"web1\",\"appName\":"
	    "\"app\",\"path\":\"/s000\",\"description\":\"\",\"kind\":\"int64\",\"bits\":64,"
	    "\"value\":0,\"timestamp\":\"1500000000.001000000\"}\n");
	assert_null(fgets(line, sizeof(line), file));
	fclose(file);
}

static void
what_fails_is_sent_again_as_it_was(void **state)
{
	struct pump_fixture *f = *state;
	int64_t begin_ns;

	sink.mode = SINK_LATER;
	sink.left = 10;
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(30, 1));
	begin_ns = f->mono_ns;
	pump_turn(f->pump);
	for (unsigned i = 0; i < 10; i++) {
		size_t requests = sink.requests;
		int64_t before_ns = f->mono_ns, most_ns = NS_PER_S << (i < 6 ? i : 6);

		while (sink.requests == requests) {
			int64_t at_ns = pump_turn(f->pump);

			f->mono_ns = at_ns > f->mono_ns ? at_ns : f->mono_ns;
		}
		if (i == 0)
			continue;
		most_ns = NS_PER_S << (i - 1 < 6 ? i - 1 : 6);
		most_ns = most_ns > 60 * NS_PER_S ? 60 * NS_PER_S : most_ns;
		assert_true(sink.same);
		/* 1 s, 2 s, 4 s ... 60 s, less up to half of that. */
		assert_in_range((uint64_t)(f->mono_ns - before_ns),
		    (uint64_t)(most_ns / 2 > NS_PER_S ? most_ns / 2 : NS_PER_S), (uint64_t)most_ns);
	}
	assert_int_equal(stats_of(f).state, PUMP_RETRYING);
	assert_int_equal(stats_of(f).retries, 10);
	assert_string_equal(stats_of(f).last_error, "told so");
	run_pump(f, LONG);
	check_taken(10, 10, NULL);
	assert_true(f->mono_ns - begin_ns < 400 * NS_PER_S);
	assert_int_equal(stats_of(f).state, PUMP_IDLE);
}

static void
the_server_may_say_when(void **state)
{
	struct pump_fixture *f = *state;
	int64_t begin_ns;

	sink.mode = SINK_LATER;
	sink.left = 1;
	sink.retry_after_ns = 90 * NS_PER_S;
	fill_store(f, 1, 1);
	open_pump(f, fake_consumer(30, 1));
	begin_ns = f->mono_ns;
	run_pump(f, LONG);
	check_taken(1, 1, NULL);
	assert_in_range((uint64_t)(f->mono_ns - begin_ns), (uint64_t)(90 * NS_PER_S),
	    (uint64_t)(92 * NS_PER_S));
}

static void
misconfigured_is_tried_every_minute(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_MISCONFIGURED;
	fill_store(f, 1, 1);
	open_pump(f, fake_consumer(30, 1));
	run_pump(f, 601 * NS_PER_S);
	assert_in_range(sink.requests, 10, 11);
	assert_int_equal(stats_of(f).state, PUMP_REFUSED);
	sink.mode = SINK_OK;
	run_pump(f, LONG);
	check_taken(1, 1, NULL);
	assert_int_equal(stats_of(f).state, PUMP_IDLE);
}

static void
too_large_requests_become_smaller(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_SMALL;
	sink.most = 7;
	sink.bad = "/s003 3 ";
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(50, 1));
	run_pump(f, LONG);
	/* Only a record that is too large alone is given up, and none other is. */
	assert_int_equal(stats_of(f).refused + sink.taken_count, 100);
	assert_in_range(stats_of(f).refused, 0, 1);
	assert_true(sink.requests < 60);
}

static void
a_record_too_large_alone_is_given_up(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_SMALL;
	sink.most = 1;
	sink.bad = "/s003 3 ";
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(50, 1));
	run_pump(f, LONG);
	check_taken(10, 10, "/s003 3 ");
	assert_int_equal(stats_of(f).refused, 1);
}

static void
refused_ones_that_are_named_are_dead_letters(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_SOME;
	sink.bad = "/s003 3 ";
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(50, 1));
	run_pump(f, LONG);
	check_taken(10, 10, "/s003 3 ");
	assert_int_equal(stats_of(f).refused, 1);
	assert_int_equal(stats_of(f).written, 99);
	assert_int_equal(stats_of(f).dead_letters, 1);
	assert_int_equal(sink.requests, 2);
}

static void
refused_ones_that_are_only_counted_are_counted(void **state)
{
	struct pump_fixture *f = *state;

	sink.mode = SINK_COUNTS;
	sink.bad = "/s003 3 ";
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(50, 1));
	run_pump(f, LONG);
	assert_int_equal(stats_of(f).refused, 1);
	assert_int_equal(stats_of(f).written, 99);
	assert_int_equal(stats_of(f).dead_letters, 0);
}

static uint64_t
journal_mark(void *ctx)
{
	return ++((struct pump_fixture *)ctx)->mark;
}

static bool
journal_accepted(void *ctx, uint64_t mark, int64_t deadline_ns)
{
	struct pump_fixture *f = ctx;

	assert_true(deadline_ns > f->mono_ns);
	f->mono_ns = deadline_ns;
	return mark <= f->accepted_mark;
}

static void
nothing_is_written_that_the_journal_has_not(void **state)
{
	struct pump_fixture *f = *state;

	f->env.mark = journal_mark;
	f->env.accepted = journal_accepted;
	f->env.journal_ctx = f;
	fill_store(f, 3, 3);
	open_pump(f, fake_consumer(50, 1));
	for (unsigned i = 0; i < 20; i++)
		pump_turn(f->pump);
	assert_int_equal(sink.requests, 0);
	assert_int_equal(stats_of(f).state, PUMP_WAITING);
	f->accepted_mark = f->mark;
	run_pump(f, LONG);
	check_taken(3, 3, NULL);
}

static int
note_save(void *ctx, const char *name, struct cursor *cursor, struct err *err)
{
	struct pump_fixture *f = ctx;

	assert_string_equal(name, "fake one");
	assert_non_null(cursor);
	f->saves++;
	assert_true(f->taken_at_save <= sink.taken_count);
	f->taken_at_save = sink.taken_count;
	err_set(err, ERR_IO, "never kept");
	return f->saves % 2 == 0 ? 0 : -1;
}

static void
positions_are_kept_once_acknowledged(void **state)
{
	struct pump_fixture *f = *state;

	f->env.save = note_save;
	f->env.positions_ctx = f;
	sink.mode = SINK_LATER;
	fill_store(f, 10, 10);
	open_pump(f, fake_consumer(30, 1));
	run_pump(f, 100 * NS_PER_S);
	assert_int_equal(f->saves, 0);
	sink.mode = SINK_OK;
	run_pump(f, LONG);
	check_taken(10, 10, NULL);
	assert_int_equal(f->saves, 4);
}

static void
a_paused_one_writes_nothing_until_resumed(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);

	c->paused = true;
	fill_store(f, 3, 3);
	open_pump(f, c);
	run_pump(f, 10 * NS_PER_S);
	assert_int_equal(sink.requests, 0);
	assert_int_equal(stats_of(f).state, PUMP_PAUSED);
	assert_true(stats_of(f).lag_s > 0.5);
	pump_pause(f->pump, false);
	run_pump(f, LONG);
	check_taken(3, 3, NULL);
}

static void
what_was_put_off_is_tried_when_resumed(void **state)
{
	struct pump_fixture *f = *state;
	size_t before;

	sink.mode = SINK_MISCONFIGURED;
	fill_store(f, 2, 2);
	open_pump(f, fake_consumer(10, 1));
	run_pump(f, 10 * NS_PER_S);
	before = sink.requests;
	assert_int_equal(before, 1);
	pump_pause(f->pump, false);
	run_pump(f, 10 * NS_PER_S);
	assert_int_equal(sink.requests, before + 1);
}

static void
records_per_second_are_kept_to(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);
	int64_t begin_ns = f->mono_ns;

	c->records_per_second = 5;
	fill_store(f, 10, 10);
	open_pump(f, c);
	run_pump(f, LONG);
	check_taken(10, 10, NULL);
	assert_in_range((uint64_t)(f->mono_ns - begin_ns), (uint64_t)(18 * NS_PER_S),
	    (uint64_t)(20 * NS_PER_S));
}

static void
what_cannot_be_written_is_counted(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);
	struct err err;
	struct pump_stats stats;

	c->exclude.list = calloc(1, sizeof(struct re *));
	c->exclude.list[0] = re_new(STR("^/left/"), &err);
	c->exclude.len = 1;
	for (int i = 0; i < 20; i++) {
		put_i64(f->store, "/left/out", i, 0, i);
		put(f->store, "/bool", KIND_BOOL, (struct value){ .b = true }, 0, i);
		put(f->store, "/nan", KIND_FLOAT64, (struct value){ .f = i == 7 ? 1 : NAN }, 0, i);
		append(f->store);
	}
	open_pump(f, c);
	run_pump(f, LONG);
	stats = stats_of(f);
	assert_int_equal(stats.written, 1);
	assert_int_equal(stats.unwritable, 19);
	assert_int_equal(stats.unsupported, 20);
	assert_int_equal(stats.refused, 0);
	assert_string_equal((buf_putc(&sink.taken, '\0'), sink.taken.p), "/nan 1 7\n");
}

static void
include_lets_only_those_in(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);
	struct err err;

	c->include.list = calloc(1, sizeof(struct re *));
	c->include.list[0] = re_new(STR("s001$"), &err);
	c->include.len = 1;
	fill_store(f, 3, 2);
	open_pump(f, c);
	run_pump(f, LONG);
	assert_string_equal((buf_putc(&sink.taken, '\0'), sink.taken.p), "/s001 0 1\n/s001 1 2\n");
}

static void
strings_and_distributions_outlive_the_reading(void **state)
{
	struct pump_fixture *f = *state;

	for (unsigned i = 0; i < 100; i++) {
		uint64_t counts[3] = { i, 1, 1 };
		char text[16];

		snprintf(text, sizeof(text), "t%u", i);
		put_dist(f->store, "/d", counts, 0, i);
		put_text(f->store, "/t", text, 1, i);
		append(f->store);
	}
	open_pump(f, fake_consumer(1000, 1));
	run_pump(f, LONG);
	assert_int_equal(sink.taken_count, 200);
	buf_putc(&sink.taken, '\0');
	for (unsigned i = 0; i < 100; i++) {
		char text[32];

		snprintf(text, sizeof(text), "/t t%u %u\n", i, i);
		assert_non_null(strstr(sink.taken.p, text));
		snprintf(text, sizeof(text), "/d %u %u\n", i + 2, i);
		assert_non_null(strstr(sink.taken.p, text));
	}
}

static void
what_was_written_is_echoed(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);
	char path[128], text[1024] = "";
	struct err err;
	FILE *file;

	snprintf(path, sizeof(path), "%s/echo", f->state_dir);
	c->debug_metric = re_new(STR("^/s00[12]"), &err);
	c->debug_host = re_new(STR("web"), &err);
	c->debug_path = strdup(path);
	sink.mode = SINK_PICKY;
	sink.bad = "/s002 ";
	fill_store(f, 3, 1);
	open_pump(f, c);
	run_pump(f, LONG);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	assert_non_null(strstr(text,
	    "{HostName: web1, Path: /s001, Tags: {appname: app}, Kind: int64, SubType: , Unit: , "
	    "Value: 0, Timestamp: 1500000000.001000000}\n\n\n"));
	assert_null(strstr(text, "/s000"));
	assert_null(strstr(text, "/s002"));
}

static void
look_up_origin(void *ctx, struct str host, struct str app, struct origin_tags *out)
{
	const char **region = ctx;

	assert_true(str_eq(host, STR("web1")) && str_eq(app, STR("app")));
	strcpy(out->text, *region);
	out->region = str_of(out->text);
	out->tags[0] = (struct tag){ STR("dc"), str_of(out->text) };
	out->tag_count = 1;
}

static void
an_endpoints_tags_are_asked_for_now_and_then(void **state)
{
	struct pump_fixture *f = *state;
	const char *region = "east";

	f->env.origin = look_up_origin;
	f->env.origin_ctx = &region;
	put_i64(f->store, "/a", 1, 0, 1);
	append(f->store);
	open_pump(f, fake_consumer(10, 1));
	run_pump(f, LONG);
	region = "west";
	f->mono_ns += 100 * NS_PER_S;
	put_i64(f->store, "/a", 1, 0, 2);
	append(f->store);
	run_pump(f, LONG);
	assert_string_equal(
	    (buf_putc(&sink.taken, '\0'), sink.taken.p), "/a@east 1 1\n/a@west 1 2\n");
}

static bool
known_after(void *ctx)
{
	return *(unsigned *)ctx == 0 || --*(unsigned *)ctx == 0;
}

static void
nothing_is_written_before_the_endpoints_are_known(void **state)
{
	struct pump_fixture *f = *state;
	unsigned asked = 20;

	f->env.origins_known = known_after;
	f->env.origin_ctx = &asked;
	fill_store(f, 2, 2);
	open_pump(f, fake_consumer(10, 1));
	run_pump(f, NS_PER_S);
	assert_int_equal(sink.requests, 0);
	assert_int_equal(stats_of(f).state, PUMP_WAITING);
	assert_true(stats_of(f).lag_s > 0.5);
	run_pump(f, LONG);
	check_taken(2, 2, NULL);
}

/* The server may hang: nothing is looked at again until it has answered. */
static void
the_lag_is_known_when_a_request_begins(void **state)
{
	struct pump_fixture *f = *state;
	unsigned asked = 2;

	f->env.origins_known = known_after;
	f->env.origin_ctx = &asked;
	open_pump(f, fake_consumer(10, 1));
	(void)pump_turn(f->pump);
	assert_int_equal(stats_of(f).state, PUMP_WAITING);
	assert_true(stats_of(f).lag_s <= 0);
	fill_store(f, 2, 2);
	(void)pump_turn(f->pump); /* reads */
	(void)pump_turn(f->pump); /* the journal has what was read */
	assert_int_equal(sink.requests, 0);
	assert_int_equal(stats_of(f).state, PUMP_WRITING);
	assert_true(stats_of(f).lag_s > 0);
}

static void
rolled_up_frames_arrive(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);

	c->rollup_span_ns = 1000 * NS_PER_MS;
	c->rollup_fn = ROLLUP_SUM;
	for (int i = 0; i < 30; i++) {
		put_i64(f->store, "/a", 1, 0, i * 100);
		append(f->store);
	}
	open_pump(f, c);
	run_pump(f, 1);
	assert_string_equal(
	    (buf_putc(&sink.taken, '\0'), sink.taken.p), "/a 5 0\n/a 10 1000\n/a 10 2000\n");
}

static void
a_queue_goes_on_with_another_pump(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(10, 1);
	struct queue *queue;
	struct err err;

	fill_store(f, 10, 10);
	open_pump(f, c);
	while (sink.requests < 5)
		pump_turn(f->pump);
	pump_stop(f->pump);
	queue = pump_take_queue(f->pump);
	pump_free(f->pump);
	c = fake_consumer(7, 2);
	assert_true(queue_fits(queue, c));
	f->pump = pump_new(&f->env, c, queue, &err);
	assert_non_null(f->pump);
	run_pump(f, LONG);
	/* At most the batch under way comes twice; here it had not been sent. */
	check_taken(10, 10, NULL);
}

/* What is logged goes there. */
static FILE *
catch_log(int *stderr_fd)
{
	FILE *file = tmpfile();

	assert_non_null(file);
	*stderr_fd = dup(STDERR_FILENO);
	assert_true(*stderr_fd >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	return file;
}

/* Ends that. Returns how many lines had the text. */
static size_t
count_logged(FILE *file, int stderr_fd, const char *text)
{
	char line[1000];
	size_t n = 0;

	dup2(stderr_fd, STDERR_FILENO);
	close(stderr_fd);
	rewind(file);
	while (fgets(line, sizeof(line), file) != NULL)
		n += strstr(line, text) != NULL;
	fclose(file);
	return n;
}

/* While the batch that it does not take is still on its way. */
static void
what_a_dead_server_costs_is_said_every_minute(void **state)
{
	struct pump_fixture *f = *state;
	uint64_t last = 0;
	int64_t at = 0;
	FILE *log;
	int fd;

	fixture_free(f->store);
	f->store = fixture_new(256 * 1024);
	f->env.store = f->store->store;
	open_pump(f, fake_consumer(100, 1));
	sink.mode = SINK_LATER;
	log = catch_log(&fd);
	for (int second = 0; second < 179; second++) {
		for (int i = 0; i < 1000; i++, at++) {
			put_i64(f->store, "/a", noise(at), 0, at);
			append(f->store);
		}
		f->mono_ns += NS_PER_S;
		pump_turn(f->pump);
		pump_turn(f->pump);
		pump_turn(f->pump);
		assert_true(stats_of(f).missed >= last);
		last = stats_of(f).missed;
	}
	/* 0, 60, 120 s after the first was given up. */
	assert_int_equal(count_logged(log, fd, "too far behind"), 3);
	assert_true(last > 100000);
	assert_int_equal(stats_of(f).state, PUMP_RETRYING);
	assert_int_equal(sink.taken_count, 0);
	sink.mode = SINK_OK;
	run_pump(f, LONG);
	/* The oldest went, but for the batch that was read; the others are all there. */
	assert_int_equal(stats_of(f).missed + stats_of(f).written, (uint64_t)at);
}

static void
what_is_reclaimed_is_counted_as_missed(void **state)
{
	struct pump_fixture *f = *state;
	struct pump_stats stats;

	fixture_free(f->store);
	f->store = fixture_new(256 * 1024);
	f->env.store = f->store->store;
	open_pump(f, fake_consumer(100, 1));
	for (int64_t i = 0; i < 100000; i++) {
		put_i64(f->store, "/a", noise(i), 0, i);
		append(f->store);
	}
	run_pump(f, LONG);
	stats = stats_of(f);
	assert_true(stats.missed > 1000);
	assert_int_equal(stats.missed + stats.written, 100000);
}

static void
threads_bring_everything_too(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(100, 1);
	struct err err;

	f->env.mono_ns = NULL;
	fill_store(f, 100, 100);
	open_pump(f, c);
	assert_int_equal(pump_start(f->pump, &err), 0);
	while (stats_of(f).written < 10000)
		sched_yield();
	pump_stop(f->pump);
	queue_close(pump_take_queue(f->pump));
	check_taken(100, 100, NULL);
}

static void
without_memory_nothing_is_lost(void **state)
{
	struct pump_fixture *f = *state;
	struct consumer *c = fake_consumer(30, 2);
	struct queue *queue;
	struct err err;
	unsigned nth = 1;

	fill_store(f, 10, 10);
	put_text(f->store, "/s010", "text", 1, 1);
	append(f->store);
	for (fault_malloc(nth); (queue = queue_open(&f->env, c, &err)) == NULL; fault_malloc(++nth))
		assert_int_equal(err.code, ERR_NOMEM);
	nth = 1;
	for (fault_malloc(nth); (f->pump = pump_new(&f->env, c, queue, &err)) == NULL;
	     fault_malloc(++nth))
		assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	/* Each allocation of the rounds fails in turn. */
	buf_reserve(&sink.taken, 100000);
	buf_reserve(&sink.last, 100000);
	for (nth = 1; nth < 200; nth++) {
		fault_malloc(nth);
		for (int i = 0; i < 3; i++) {
			int64_t at_ns = pump_turn(f->pump);

			f->mono_ns = at_ns > f->mono_ns ? at_ns : f->mono_ns;
		}
		fault_malloc(0);
	}
	run_pump(f, LONG);
	assert_int_equal(sink.taken_count, 101);
	assert_int_equal(stats_of(f).written, 101);
}

#define T(name) cmocka_unit_test_setup_teardown(name, pump_fixture_setup, pump_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		T(all_records_arrive_once_and_in_order),
		T(order_holds_with_several_lanes),
		T(what_comes_later_follows_within_a_second),
		T(the_end_of_a_series_is_told),
		T(roll_ups_tell_of_no_end),
		T(one_bad_record_costs_itself),
		T(one_bad_record_is_found_in_log2_requests),
		T(a_batch_of_nothing_but_bad_records_costs_a_request_each),
		T(dead_letters_are_lines_of_json),
		T(what_fails_is_sent_again_as_it_was),
		T(the_server_may_say_when),
		T(misconfigured_is_tried_every_minute),
		T(too_large_requests_become_smaller),
		T(a_record_too_large_alone_is_given_up),
		T(refused_ones_that_are_named_are_dead_letters),
		T(refused_ones_that_are_only_counted_are_counted),
		T(nothing_is_written_that_the_journal_has_not),
		T(positions_are_kept_once_acknowledged),
		T(a_paused_one_writes_nothing_until_resumed),
		T(what_was_put_off_is_tried_when_resumed),
		T(records_per_second_are_kept_to),
		T(what_cannot_be_written_is_counted),
		T(include_lets_only_those_in),
		T(strings_and_distributions_outlive_the_reading),
		T(what_was_written_is_echoed),
		T(an_endpoints_tags_are_asked_for_now_and_then),
		T(nothing_is_written_before_the_endpoints_are_known),
		T(the_lag_is_known_when_a_request_begins),
		T(rolled_up_frames_arrive),
		T(a_queue_goes_on_with_another_pump),
		T(what_is_reclaimed_is_counted_as_missed),
		T(what_a_dead_server_costs_is_said_every_minute),
		T(threads_bring_everything_too),
		T(without_memory_nothing_is_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
