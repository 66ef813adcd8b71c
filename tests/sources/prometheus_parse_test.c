/*
 * Documents of both formats and what becomes of them: each is read by the full parser and then by
 * the layout that was learned of it, with the same result.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "batch_same.h"
#include "fault.h"
#include "messages/number.h"
#include "sources/prometheus_layout_priv.h"

#define BUDGET_BYTES (1024 * 1024)
#define NOW_NS       7

/* An endpoint with its last poll. */
struct fixture {
	struct tricorder_layouts *table;
	struct layout_memory memory;
	struct batch batch;
	char *doc;
};

static int
setup(void **state)
{
	static struct fixture f;
	struct err err;

	f.table = tricorder_layouts_new(BUDGET_BYTES, &err);
	assert_non_null(f.table);
	layout_memory_init(&f.memory, f.table, STR("app"));
	batch_init(&f.batch, 0);
	f.doc = NULL;
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	layout_memory_fini(&f->memory);
	tricorder_layouts_free(f->table);
	free(f->doc);
	return 0;
}

/* Exactly the document's size, so that a sanitizer sees a read beyond its end. */
static char *
copy_of(struct str doc)
{
	char *copy = malloc(doc.len + 1);

	assert_non_null(copy);
	str_put(copy, doc);
	copy[doc.len] = '\0';
	return copy;
}

/* Polls by layout and by the full parser; fails the test if they differ. */
static int
poll_form(struct fixture *f, struct str doc, const struct prometheus_form *form, struct err *err)
{
	struct err plain_err = { .code = ERR_NONE };
	char *plain_doc = copy_of(doc);
	struct batch plain;
	int rc, plain_rc;

	batch_reset(&f->batch);
	free(f->doc);
	f->doc = copy_of(doc);
	err->code = ERR_NONE;
	batch_init(&plain, 0);
	rc = prometheus_read(&f->memory, f->doc, doc.len, form, &f->batch, err);
	plain_rc = prometheus_parse(plain_doc, doc.len, form, &plain, NULL, &plain_err);
	assert_int_equal(rc, plain_rc);
	assert_int_equal(err->code, plain_err.code);
	if (rc == 0) {
		const char *differs;

		batch_end(&f->batch, NOW_NS);
		batch_end(&plain, NOW_NS);
		differs = batch_difference(&f->batch, &plain);
		if (differs != NULL)
			fail_msg("%s differs: %.*s", differs, STR_ARG(doc));
	} else {
		assert_string_equal(err->text, plain_err.text);
	}
	batch_fini(&plain);
	free(plain_doc);
	return rc;
}

static int
poll_text(struct fixture *f, const char *doc, struct err *err)
{
	static const struct prometheus_form form = { .openmetrics = false };

	return poll_form(f, str_of(doc), &form, err);
}

static void
put_f64(struct buf *out, double value)
{
	char text[NUMBER_BYTES];

	buf_add(out, text, number_f64(text, value));
}

static void
put_dist(struct buf *out, const struct metric_desc *desc, const struct dist *dist)
{
	buf_puts(out, desc->not_cumulative ? "gauge(" : "(");
	for (size_t i = 0; i < dist->len; i++) {
		if (i > 0) {
			buf_putc(out, ' ');
			put_f64(out, desc->limits[i - 1]);
			buf_putc(out, ' ');
		}
		buf_u64(out, dist->counts[i]);
	}
	buf_puts(out, ") sum ");
	put_f64(out, dist->sum);
}

/* A line per metric: PATH{TAGS} VALUE UNIT [@STAMP gGROUP] [# DESCRIPTION]; bad ones at the end. */
static void
show(struct buf *out, const struct batch *b)
{
	for (size_t i = 0; i < b->len; i++) {
		const struct metric_desc *desc = &b->desc[i];

		buf_str(out, desc->path);
		for (size_t k = 0; k < desc->tag_count; k++)
			buf_printf(out, "%s%.*s=%.*s%s", k == 0 ? "{" : ",",
			    STR_ARG(desc->tags[k].key), STR_ARG(desc->tags[k].value),
			    k + 1 == desc->tag_count ? "}" : "");
		buf_putc(out, ' ');
		if (desc->kind == KIND_DIST)
			put_dist(out, desc, b->value[i].dist);
		else
			put_f64(out, b->value[i].f);
		buf_putc(out, ' ');
		buf_str(out, desc->unit);
		if (b->ts[i] != NOW_NS)
			buf_printf(
			    out, " @%lld g%lld", (long long)b->ts[i], (long long)b->group[i]);
		if (desc->description.len > 0)
			buf_printf(out, " # %.*s", STR_ARG(desc->description));
		buf_putc(out, '\n');
	}
	if (b->bad_count > 0)
		buf_printf(out, "bad %zu: %s\n", b->bad_count, b->bad_text);
}

static const struct {
	const char *name;
	struct prometheus_form form;
	bool learned;
	const char *doc, *want;
} rows[] = {
#include "prometheus_documents.inc"
};

static void
check_row(struct fixture *f, size_t row)
{
	struct buf got;
	struct err err;

	/* Learned at the first, matched at the second time. */
	for (int time = 0; time < 2; time++) {
		f->memory.wait = f->memory.backoff = 0;
		if (poll_form(f, str_of(rows[row].doc), &rows[row].form, &err) != 0)
			fail_msg("%s: %s", rows[row].name, err.text);
		buf_init(&got, 0);
		show(&got, &f->batch);
		buf_putc(&got, '\0');
		if (strcmp(got.p, rows[row].want) != 0)
			fail_msg("%s, poll %d:\n%swanted:\n%s", rows[row].name, time, got.p,
			    rows[row].want);
		buf_fini(&got);
		if ((f->batch.layout_id != 0) != rows[row].learned)
			fail_msg("%s: layout %s", rows[row].name,
			    rows[row].learned ? "is not learned" : "is learned");
	}
}

static void
documents_give_what_they_say(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(*state, i);
}

/* Every sample of one document as the only one of the next, and numbers of all forms in it. */
static void
numbers_are_those_of_strtod(void **state)
{
	static const char *const numbers[] = { "0", "-0", "+0", "00", "1", "-1", "+1", "01.50",
		".5", "5.", "-.5e1", "1e5", "1E5", "1e+05", "1e-05", "1.6777216e+07", "1e22",
		"1e23", "9007199254740993", "9007199254740992e1", "123456789012345678901234567890",
		"1e400", "-1e400", "1e-400", "4.9e-324", "2.2250738585072011e-308", "0.1",
		"0.30000000000000004", "1.7976931348623157e+308", "1.7953456781234567e+09",
		"12345678901234567890", "1e00000000000000000000005", "Inf", "+Inf", "-Inf", "inf",
		"INFINITY", "+infinity", "-infinity" };
	struct fixture *f = *state;
	char doc[128];
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		double want = strtod(numbers[i], NULL);

		for (int time = 0; time < 2; time++) {
			snprintf(doc, sizeof(doc), "a %s\nb{c=\"d\"} %s\n", numbers[i], numbers[i]);
			assert_int_equal(poll_text(f, doc, &err), 0);
			assert_int_equal(f->batch.len, 2);
			if (memcmp(&f->batch.value[0].f, &want, sizeof(want)) != 0)
				fail_msg("%s read as %a", numbers[i], f->batch.value[0].f);
		}
	}
	assert_int_not_equal(f->batch.layout_id, 0);
	assert_int_equal(poll_text(f, "a NaN\nb{c=\"d\"} nan\n", &err), 0);
	assert_int_not_equal(f->batch.layout_id, 0);
	assert_true(f->batch.value[0].f != f->batch.value[0].f);
	assert_true(f->batch.value[1].f != f->batch.value[1].f);
}

static void
random_numbers_are_those_of_strtod(void **state)
{
	struct fixture *f = *state;
	char doc[128];
	struct err err;

	srandom(8);
	for (int i = 0; i < 20000; i++) {
		int digits = 1 + (int)(random() % 20), point = (int)(random() % 22), len = 0;
		double want;

		len += snprintf(doc, sizeof(doc), "a %s", random() % 2 == 0 ? "-" : "");
		for (int k = 0; k < digits; k++) {
			if (k == point && k > 0)
				doc[len++] = '.';
			doc[len++] = (char)('0' + random() % 10);
		}
		doc[len] = '\0';
		if (random() % 2 == 0)
			len += snprintf(
			    doc + len, sizeof(doc) - (size_t)len, "e%d", (int)(random() % 60) - 30);
		want = strtod(doc + 2, NULL);
		snprintf(doc + len, sizeof(doc) - (size_t)len, "\n");
		assert_int_equal(poll_text(f, doc, &err), 0);
		if (memcmp(&f->batch.value[0].f, &want, sizeof(want)) != 0)
			fail_msg("%s read as %a", doc, f->batch.value[0].f);
	}
	assert_int_not_equal(f->batch.layout_id, 0);
}

static void
what_is_no_number_is_bad(void **state)
{
	static const char *const numbers[] = { "", "-", "+", ".", "e5", "1e", "1e+", "1e5.", "0x10",
		"1_000", "1,5", "+NaN", "-nan", "nanx", "infin", "1.2.3", "--1", "1\v", "\"1\"" };
	struct fixture *f = *state;
	char doc[128];
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
		assert_int_equal(poll_text(f, "good 1\na 1\n", &err), 0);
		snprintf(doc, sizeof(doc), "good 1\na %s\n", numbers[i]);
		assert_int_equal(poll_text(f, doc, &err), 0);
		if (f->batch.len != 1 || f->batch.bad_count != 1)
			fail_msg("\"%s\" was taken", numbers[i]);
		assert_int_equal(f->batch.layout_id, 0);
	}
}

static void
what_is_no_exposition_fails_the_poll(void **state)
{
	static const struct prometheus_form openmetrics = { .openmetrics = true };
	struct fixture *f = *state;
	struct err err;

	assert_int_equal(poll_text(f, "<html>\n<body>Log in</body>\n", &err), -1);
	assert_int_equal(err.code, ERR_PROTO);
	assert_string_equal(
	    err.text, "not Prometheus' format: (no name): line 1: a line without a name");
	assert_int_equal(poll_form(f, STR("a 1\n"), &openmetrics, &err), -1);
	assert_string_equal(err.text, "no \"# EOF\" at the end: the answer was cut off");
	assert_int_equal(poll_form(f, STR("a 1\n# EOF\n"), &openmetrics, &err), 0);
	assert_int_equal(poll_form(f, STR("a 1\n# EO"), &openmetrics, &err), -1);
	assert_int_equal(poll_text(f, "", &err), 0);
	assert_int_equal(poll_text(f, "# nothing yet\n\n", &err), 0);
	assert_int_equal(f->batch.len, 0);
}

/* Reliability C2: whatever comes costs no more than its line. */
static void
hostile_lines_cost_themselves(void **state)
{
	struct fixture *f = *state;
	struct buf doc;
	struct err err;

	buf_init(&doc, 0);
	buf_puts(&doc, "good 1\n");
	for (int i = 0; i < 65536; i++)
		buf_putc(&doc, 'n');
	buf_puts(&doc, " 1\na{");
	for (int i = 0; i < 65536; i++)
		buf_putc(&doc, 'n');
	buf_puts(&doc, "=\"v\"} 1\na{b=\"");
	for (int i = 0; i < 65536; i++)
		buf_putc(&doc, 'v');
	buf_puts(&doc, "\"} 1\na{");
	for (int i = 0; i < 65; i++)
		buf_printf(&doc, "l%d=\"v\",", i);
	buf_puts(&doc, "} 1\na{b=\"\xC3\x28\"} 1\na{b=\"");
	buf_putc(&doc, '\0');
	buf_puts(&doc, "\"} 1\n");
	buf_putc(&doc, '\0');
	buf_puts(&doc, "a 1\na{b=\"c} 1\na{b=\"c\\\n\xFF 1\nlast 2\n");
	for (int time = 0; time < 2; time++) {
		static const struct prometheus_form form = { .openmetrics = false };

		assert_int_equal(poll_form(f, buf_view(&doc), &form, &err), 0);
		assert_int_equal(f->batch.len, 2);
		assert_int_equal(f->batch.bad_count, 10);
	}
	buf_fini(&doc);
}

static void
a_long_description_is_cut_between_characters(void **state)
{
	struct fixture *f = *state;
	struct buf doc;
	struct err err;

	buf_init(&doc, 0);
	buf_puts(&doc, "# HELP a x");
	for (int i = 0; i < 100000; i++)
		buf_puts(&doc, "\xC3\xA4");
	buf_puts(&doc, "\na 1\n");
	buf_putc(&doc, '\0');
	assert_int_equal(poll_text(f, doc.p, &err), 0);
	assert_int_equal(f->batch.desc[0].description.len, 1023);
	buf_fini(&doc);
}

static void
values_and_stamps_change_by_layout(void **state)
{
	static const struct {
		const char *doc;
		bool known; /* it matches what was learned of the one before */
	} polls[] = {
		{ "a 1 1000\nb 2 1000\nc 3 2000\n", false },
		{ "a 5 3000\nb 6 3000\nc 7 4000\n", true },
		{ "a 5 3000\nb 6 3000\nc 7 3000\n", false }, /* one group now */
		{ "a 5 5000\nb 6 6000\nc 7 5000\n", false },
		{ "a 5 -5000\nb 6 0\nc 7 -5000\n", true },
		{ "a 5 -5000\nb 6 99999999999999999999\nc 7 -5000\n", false },
	};
	struct fixture *f = *state;
	uint64_t id = 0;
	struct err err;

	for (size_t i = 0; i < ARRAY_LEN(polls); i++) {
		f->memory.wait = f->memory.backoff = 0;
		assert_int_equal(poll_text(f, polls[i].doc, &err), 0);
		assert_int_equal(f->batch.layout_id == id, polls[i].known);
		id = f->batch.layout_id;
	}
	assert_int_equal(f->batch.bad_count, 1);
}

/* The same lines, of which other comments say something else. */
static void
descriptions_are_part_of_a_layout(void **state)
{
	struct fixture *f = *state;
	struct err err;

	assert_int_equal(poll_text(f, "# HELP a one\na{b=\"1\"} 1\na{b=\"2\"} 1\n", &err), 0);
	f->memory.wait = f->memory.backoff = 0;
	assert_int_equal(poll_text(f, "# HELP a two\na{b=\"1\"} 1\na{b=\"2\"} 1\n", &err), 0);
	assert_int_equal(f->batch.desc[1].description.p[0], 't');
	f->memory.wait = f->memory.backoff = 0;
	assert_int_equal(poll_text(f, "# HELP a one\na{b=\"1\"} 1\na{b=\"2\"} 1\n", &err), 0);
	assert_int_equal(f->batch.desc[1].description.p[0], 'o');
}

static void
endpoints_of_an_application_share_a_layout(void **state)
{
	static const struct prometheus_form form = { .openmetrics = false };
	struct fixture *f = *state;
	struct layout_memory other;
	struct batch batch;
	struct str doc = STR("a 1\nb 2\n");
	char *copy = copy_of(doc);
	struct err err;

	assert_int_equal(poll_text(f, doc.p, &err), 0);
	layout_memory_init(&other, f->table, STR("app"));
	batch_init(&batch, 0);
	assert_int_equal(prometheus_read(&other, copy, doc.len, &form, &batch, &err), 0);
	assert_int_equal(batch.layout_id, f->batch.layout_id);
	assert_ptr_equal(batch.desc, other.layout->desc);
	batch_fini(&batch);
	layout_memory_fini(&other);
	free(copy);
}

static void
what_keeps_changing_is_seldom_learned(void **state)
{
	struct fixture *f = *state;
	int learned = 0;
	char doc[32];
	struct err err;

	for (int i = 0; i < 300; i++) {
		snprintf(doc, sizeof(doc), "a%d 1\n", i);
		assert_int_equal(poll_text(f, doc, &err), 0);
		learned += f->batch.layout_id != 0;
	}
	assert_in_range(learned, 5, 15);
}

static void
reading_survives_without_memory(void **state)
{
	static const struct prometheus_form form = { .openmetrics = true };
	struct str doc =
	    STR("# TYPE h histogram\n# HELP h a\\\\b\nh_bucket{a=\"\\n\",le=\"1\"} 1 5\n"
	        "h_bucket{a=\"\\n\",le=\"+Inf\"} 1 5\nh_sum{a=\"\\n\"} 1 5\nb 1\n# EOF\n");
	struct fixture *f = *state;
	unsigned nth = 1;

	for (;; nth++) {
		struct batch batch;
		struct err err;
		int rc;

		batch_init(&batch, 0);
		fault_malloc(nth);
		rc = prometheus_read(&f->memory, doc.p, doc.len, &form, &batch, &err);
		fault_malloc(0);
		if (rc != 0)
			assert_int_equal(err.code, ERR_NOMEM);
		else
			assert_int_equal(batch.len, 2);
		rc = batch.layout_id != 0 ? 1 : rc;
		batch_fini(&batch);
		f->memory.wait = f->memory.backoff = 0;
		if (rc == 1)
			break;
	}
	assert_true(nth > 3);
}

static void
a_batch_is_bounded(void **state)
{
	static const struct prometheus_form form = { .openmetrics = false };
	struct batch batch;
	struct buf doc;
	struct err err;

	(void)state;
	buf_init(&doc, 0);
	buf_puts(&doc, "# TYPE h histogram\n");
	for (int i = 0; i < 20000; i++)
		buf_printf(&doc, "h_bucket{a=\"%d\",le=\"+Inf\"} 1 %d\n", i, i);
	buf_putc(&doc, '\0');
	batch_init(&batch, 1024 * 1024);
	assert_int_equal(prometheus_parse(doc.p, doc.len - 1, &form, &batch, NULL, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	batch_fini(&batch);
	batch_init(&batch, 0);
	assert_int_equal(prometheus_parse(doc.p, doc.len - 1, &form, &batch, NULL, &err), 0);
	assert_int_equal(batch.len, 20000);
	batch_fini(&batch);
	buf_fini(&doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(documents_give_what_they_say, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_are_those_of_strtod, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    random_numbers_are_those_of_strtod, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_number_is_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_no_exposition_fails_the_poll, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_lines_cost_themselves, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_long_description_is_cut_between_characters, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    values_and_stamps_change_by_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptions_are_part_of_a_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    endpoints_of_an_application_share_a_layout, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_keeps_changing_is_seldom_learned, setup, teardown),
		cmocka_unit_test_setup_teardown(reading_survives_without_memory, setup, teardown),
		cmocka_unit_test(a_batch_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
