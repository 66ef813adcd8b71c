#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "fault.h"
#include "messages/prometheus.h"

struct fixture {
	struct batch batch;
	struct buf out;
};

static int
setup(void **state)
{
	static struct fixture f;

	batch_init(&f.batch, 0);
	batch_set_unordered(&f.batch);
	buf_init(&f.out, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	buf_fini(&f->out);
	return 0;
}

static void
add_desc(struct fixture *f, const struct metric_desc *desc, struct value value)
{
	struct err err;

	assert_int_equal(batch_add(&f->batch, desc, &value, 0, 0, &err), 0);
	assert_string_equal(f->batch.bad_text, "");
}

static void
add(struct fixture *f, const char *path, enum kind kind, const char *unit, struct value value)
{
	struct metric_desc desc = {
		.path = str_of(path), .description = STR("Text"), .unit = str_of(unit), .kind = kind
	};

	add_desc(f, &desc, value);
}

static void
assert_text(struct fixture *f, const char *want)
{
	prometheus_encode(&f->batch, &f->out);
	assert_false(f->out.failed);
	buf_putc(&f->out, '\0');
	assert_string_equal(f->out.p, want);
	buf_clear(&f->out);
}

static void
an_empty_batch_gives_nothing(void **state)
{
	assert_text(*state, "");
}

static void
names_carry_the_unit(void **state)
{
	static const struct {
		const char *path;
		enum kind kind;
		const char *unit;
		struct value value;
		const char *want;
	} rows[] = {
		{ "/a/b-c.d", KIND_INT64, "None", { .i = -5 }, "scotty_a_b_c_d -5" },
		{ "/a", KIND_UINT64, "", { .u = UINT64_MAX }, "scotty_a 18446744073709551615" },
		{ "/aB/TCPTimeOuts/x2Y", KIND_INT8, "", { .i = 1 },
		    "scotty_a_b_tcp_time_outs_x2_y 1" },
		{ "/a", KIND_UINT8, "Bytes", { .u = 7 }, "scotty_a_bytes 7" },
		{ "/a-bytes", KIND_UINT8, "Bytes", { .u = 7 }, "scotty_a_bytes 7" },
		{ "/a", KIND_INT8, "BytesPerSecond", { .i = 7 }, "scotty_a_bytes_per_second 7" },
		{ "/a", KIND_FLOAT32, "Celsius", { .f = 0.1f }, "scotty_a_celsius 0.1" },
		{ "/a", KIND_FLOAT64, "Seconds", { .f = 0.25 }, "scotty_a_seconds 0.25" },
		{ "/a", KIND_FLOAT64, "Milliseconds", { .f = 250 }, "scotty_a_seconds 0.25" },
		{ "/a", KIND_UINT32, "Milliseconds", { .u = 250 }, "scotty_a_seconds 0.25" },
		{ "/a", KIND_DURATION, "Milliseconds", { .i = 250000000 },
		    "scotty_a_seconds 0.25" },
		{ "/a", KIND_DURATION, "None", { .i = -1500000000 }, "scotty_a_seconds -1.5" },
		{ "/a", KIND_TIME, "None", { .i = 1500000000500000000 },
		    "scotty_a_timestamp_seconds 1500000000.5" },
		{ "/a", KIND_BOOL, "None", { .b = true }, "scotty_a 1" },
		{ "/a", KIND_BOOL, "None", { .b = false }, "scotty_a 0" },
		{ "/a", KIND_FLOAT64, "None", { .f = NAN }, "scotty_a NaN" },
		{ "/a", KIND_FLOAT64, "None", { .f = INFINITY }, "scotty_a +Inf" },
		{ "/a", KIND_FLOAT32, "None", { .f = -INFINITY }, "scotty_a -Inf" },
		{ "/a", KIND_STRING, "None", { .s = { "x", 1 } }, "scotty_a_info{value=\"x\"} 1" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str name = { rows[i].want, strcspn(rows[i].want, " {") };
		struct buf want;

		batch_reset(&f->batch);
		add(f, rows[i].path, rows[i].kind, rows[i].unit, rows[i].value);
		buf_init(&want, 0);
		buf_printf(&want, "# HELP %.*s Text\n# TYPE %.*s gauge\n%s\n", STR_ARG(name),
		    STR_ARG(name), rows[i].want);
		buf_putc(&want, '\0');
		assert_text(f, want.p);
		buf_fini(&want);
	}
}

static void
a_gauge_is_not_called_like_something_else(void **state)
{
	struct fixture *f = *state;

	add(f, "/itemCount", KIND_BOOL, "", (struct value){ .b = true });
	add(f, "/itemTotal", KIND_BOOL, "", (struct value){ .b = true });
	assert_text(f, "# HELP scotty_item_count Text\n# TYPE scotty_item_count untyped\n"
	               "scotty_item_count 1\n"
	               "# HELP scotty_item_total Text\n# TYPE scotty_item_total untyped\n"
	               "scotty_item_total 1\n");
}

static void
names_of_prometheus_stay(void **state)
{
	static const struct {
		const char *path, *unit;
		enum kind kind;
		const char *want; /* NULL = none */
	} rows[] = {
		{ "/node_Mem_bytes_total", "Bytes", KIND_FLOAT64, "node_Mem_bytes_total" },
		{ "/a:b", "Seconds", KIND_FLOAT64, "a:b" },
		{ "/a", "Milliseconds", KIND_FLOAT64, "a_seconds" },
		{ "/a", "Seconds", KIND_DIST, "a" },
		{ "/aB", "Bytes", KIND_INT8, "a_b_bytes" },
		{ "/a/b", "Bytes", KIND_FLOAT64, "a_b_bytes" },
		{ "/9a", "None", KIND_FLOAT64, "_9a" },
		{ "/a", "None", KIND_LIST, NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct metric_desc desc = { .path = str_of(rows[i].path),
			.unit = str_of(rows[i].unit),
			.kind = rows[i].kind };
		struct buf name;

		buf_init(&name, 0);
		assert_int_equal(prometheus_name(&desc, &name), rows[i].want != NULL);
		if (rows[i].want != NULL) {
			buf_putc(&name, '\0');
			assert_string_equal(name.p, rows[i].want);
		}
		buf_fini(&name);
	}
}

static void
more_labels_come_first_and_have_the_name(void **state)
{
	static const struct tag tags[] = { { { "exported_x", 10 }, { "1", 1 } },
		{ { "job", 3 }, { "2", 1 } }, { { "x", 1 }, { "3", 1 } } };
	static const struct tag labels[] = { { { "job", 3 }, { "j", 1 } },
		{ { "x", 1 }, { "y\n", 2 } } };
	const struct prometheus_labels more = { labels, 2 };
	const struct metric_desc desc = {
		.path = STR("/a"), .kind = KIND_INT8, .tags = tags, .tag_count = 3
	};
	const struct value value = { .i = -1 };
	struct fixture *f = *state;

	prometheus_put_sample(&f->out, STR("a"), &desc, &value, &more, INT64_C(1500000000));
	buf_putc(&f->out, '\0');
	assert_string_equal(
	    f->out.p, "a{job=\"j\",x=\"y\\n\",exported_x=\"1\",exported_job=\"2\"} -1 1500\n");
	buf_clear(&f->out);
}

static void
names_come_sorted(void **state)
{
	struct fixture *f = *state;

	add(f, "/b", KIND_BOOL, "", (struct value){ .b = true });
	add(f, "/a/x", KIND_BOOL, "", (struct value){ .b = true });
	assert_text(f, "# HELP scotty_a_x Text\n# TYPE scotty_a_x gauge\nscotty_a_x 1\n"
	               "# HELP scotty_b Text\n# TYPE scotty_b gauge\nscotty_b 1\n");
}

static void
a_cumulative_distribution_is_a_histogram(void **state)
{
	static const double limits[] = { 10, 20, 50 };
	static const uint64_t counts[] = { 2, 1, 2, 1 };
	struct dist dist = { .counts = counts, .len = 4, .sum = 173.5, .count = 6 };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/d"),
		.description = STR("Text"),
		.kind = KIND_DIST,
		.unit = STR("Milliseconds"),
		.limits = limits,
		.limit_count = 3 };

	add_desc(f, &desc, (struct value){ .dist = &dist });
	desc.path = STR("/e");
	desc.not_cumulative = true;
	add_desc(f, &desc, (struct value){ .dist = &dist });
	assert_text(f, "# HELP scotty_d_seconds Text\n# TYPE scotty_d_seconds histogram\n"
	               "scotty_d_seconds_bucket{le=\"0.01\"} 2\n"
	               "scotty_d_seconds_bucket{le=\"0.02\"} 3\n"
	               "scotty_d_seconds_bucket{le=\"0.05\"} 5\n"
	               "scotty_d_seconds_bucket{le=\"+Inf\"} 6\n"
	               "scotty_d_seconds_sum 0.1735\n"
	               "scotty_d_seconds_count 6\n");
}

static void
a_histogram_has_its_tags_on_every_line(void **state)
{
	static const struct tag tags[] = {
		{ { "le", 2 }, { "x", 1 } },
		{ { "w", 1 }, { "y", 1 } },
	};
	static const double limits[] = { 1 };
	static const uint64_t counts[] = { 0, 0 };
	struct dist dist = { .counts = counts, .len = 2 };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/d"),
		.kind = KIND_DIST,
		.limits = limits,
		.limit_count = 1,
		.tags = tags,
		.tag_count = 2 };

	add_desc(f, &desc, (struct value){ .dist = &dist });
	assert_text(f, "# HELP scotty_d /d\n# TYPE scotty_d histogram\n"
	               "scotty_d_bucket{le=\"1\",w=\"y\"} 0\n"
	               "scotty_d_bucket{le=\"+Inf\",w=\"y\"} 0\n"
	               "scotty_d_sum{le=\"x\",w=\"y\"} 0\n"
	               "scotty_d_count{le=\"x\",w=\"y\"} 0\n");
}

static void
lists_have_no_place(void **state)
{
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/l"), .kind = KIND_LIST, .sub_kind = KIND_INT8 };

	add_desc(f, &desc, value_zero(KIND_LIST));
	assert_text(f, "");
}

static void
texts_are_escaped(void **state)
{
	static const struct tag tags[] = { { { "2-k", 3 }, { "\"\\\n", 3 } } };
	struct fixture *f = *state;
	struct metric_desc desc = { .path = STR("/s"),
		.description = STR("a\\b\nc\"d"),
		.kind = KIND_STRING,
		.tags = tags,
		.tag_count = 1 };

	add_desc(f, &desc, (struct value){ .s = STR("x\\y\nz\"") });
	assert_text(f, "# HELP scotty_s_info a\\\\b\\nc\"d\n# TYPE scotty_s_info gauge\n"
	               "scotty_s_info{value=\"x\\\\y\\nz\\\"\",_2_k=\"\\\"\\\\\\n\"} 1\n");
}

static void
metrics_that_differ_in_tags_share_a_head(void **state)
{
	static const struct tag tags[][1] = {
		{ { { "k", 1 }, { "1", 1 } } },
		{ { { "k", 1 }, { "2", 1 } } },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct metric_desc desc = { .path = STR("/a"),
			.description = STR("Text"),
			.kind = KIND_INT8,
			.tags = tags[i],
			.tag_count = 1 };

		add_desc(f, &desc, (struct value){ .i = (int64_t)i });
	}
	assert_text(f, "# HELP scotty_a Text\n# TYPE scotty_a gauge\n"
	               "scotty_a{k=\"1\"} 0\nscotty_a{k=\"2\"} 1\n");
}

static void
of_equal_names_the_first_counts(void **state)
{
	static const struct tag tags[] = {
		{ { "a-b", 3 }, { "1", 1 } },
		{ { "a.b", 3 }, { "2", 1 } },
	};
	struct fixture *f = *state;
	struct metric_desc desc = {
		.path = STR("/a/b"), .kind = KIND_INT8, .tags = tags, .tag_count = 2
	};

	add_desc(f, &desc, (struct value){ .i = 1 });
	desc.path = STR("/a-b");
	add_desc(f, &desc, (struct value){ .i = 2 });
	assert_text(f, "# HELP scotty_a_b /a/b\n# TYPE scotty_a_b gauge\n"
	               "scotty_a_b{a_b=\"1\"} 1\n");
}

static void
add_process(struct fixture *f)
{
	add(f, "/proc/cpu/sys", KIND_DURATION, "Seconds", (struct value){ .i = 250000000 });
	add(f, "/proc/cpu/user", KIND_DURATION, "Seconds", (struct value){ .i = 1000000000 });
	add(f, "/proc/io/num-open-file-descriptors", KIND_INT64, "None", (struct value){ .i = 11 });
	add(f, "/proc/memory/total", KIND_UINT64, "Bytes", (struct value){ .u = 4096 });
	add(f, "/proc/start-time", KIND_TIME, "None", (struct value){ .i = 1500000000000000000 });
}

static void
a_process_has_its_usual_metrics(void **state)
{
	struct fixture *f = *state;
	const char *tail;

	add_process(f);
	prometheus_encode(&f->batch, &f->out);
	buf_putc(&f->out, '\0');
	tail = strstr(f->out.p, "# HELP process_");
	assert_non_null(tail);
	assert_string_equal(tail,
	    "# HELP process_cpu_seconds_total User and system CPU time spent in seconds\n"
	    "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 1.25\n"
	    "# HELP process_open_fds Number of open file descriptors\n"
	    "# TYPE process_open_fds gauge\nprocess_open_fds 11\n"
	    "# HELP process_resident_memory_bytes Resident memory size in bytes\n"
	    "# TYPE process_resident_memory_bytes gauge\nprocess_resident_memory_bytes 4096\n"
	    "# HELP process_start_time_seconds Start time of the process since 1970 in seconds\n"
	    "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1500000000\n");
}

static void
half_of_the_cpu_time_is_none(void **state)
{
	struct fixture *f = *state;

	add(f, "/proc/cpu/sys", KIND_DURATION, "Seconds", (struct value){ .i = 250000000 });
	assert_text(f, "# HELP scotty_proc_cpu_sys_seconds Text\n"
	               "# TYPE scotty_proc_cpu_sys_seconds gauge\n"
	               "scotty_proc_cpu_sys_seconds 0.25\n");
}

static void
without_memory_the_buf_fails(void **state)
{
	struct fixture *f = *state;
	unsigned nth = 0;
	bool happened;

	add_process(f);
	add(f, "/s", KIND_STRING, "", (struct value){ .s = STR("a\"b") });
	do {
		struct buf out;

		buf_init(&out, 0);
		fault_malloc(++nth);
		prometheus_encode(&f->batch, &out);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(out.failed, happened);
		buf_fini(&out);
	} while (happened);
	assert_true(nth > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_empty_batch_gives_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(names_carry_the_unit, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_gauge_is_not_called_like_something_else, setup, teardown),
		cmocka_unit_test_setup_teardown(names_of_prometheus_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    more_labels_come_first_and_have_the_name, setup, teardown),
		cmocka_unit_test_setup_teardown(names_come_sorted, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_cumulative_distribution_is_a_histogram, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_histogram_has_its_tags_on_every_line, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_have_no_place, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_are_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    metrics_that_differ_in_tags_share_a_head, setup, teardown),
		cmocka_unit_test_setup_teardown(of_equal_names_the_first_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_process_has_its_usual_metrics, setup, teardown),
		cmocka_unit_test_setup_teardown(half_of_the_cpu_time_is_none, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_the_buf_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
