/*
 * What is read by a layout is what the full parser reads: each document here goes through both.
 */
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "batch_same.h"
#include "fault.h"
#include "match_either.h"
#include "sources/tricorder_parse_priv.h"
#include "sources/tricorder_read_priv.h"

#define BUDGET_BYTES (1024 * 1024)
#define CORPUS       TEST_DATA "/../fuzz/corpus/tricorder"

/* An endpoint with its last poll. */
struct endpoint {
	struct layout_memory memory;
	struct batch batch;
	char *doc; /* the batch points into it */
};

struct fixture {
	struct tricorder_layouts *table;
	struct endpoint ep;
};

static void
endpoint_begin(struct endpoint *ep, struct tricorder_layouts *table, struct str app)
{
	layout_memory_init(&ep->memory, table, app);
	batch_init(&ep->batch, 0);
	ep->doc = NULL;
}

static void
endpoint_end(struct endpoint *ep)
{
	batch_fini(&ep->batch);
	layout_memory_fini(&ep->memory);
	free(ep->doc);
	ep->doc = NULL;
}

static void
begin_with(struct fixture *f, size_t budget_bytes)
{
	struct err err;

	f->table = tricorder_layouts_new(budget_bytes, &err);
	assert_non_null(f->table);
	endpoint_begin(&f->ep, f->table, STR("app"));
}

static void
end(struct fixture *f)
{
	endpoint_end(&f->ep);
	tricorder_layouts_free(f->table);
}

static int
setup(void **state)
{
	static struct fixture f;

	begin_with(&f, BUDGET_BYTES);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	fault_malloc(0);
	end(*state);
	return 0;
}

/* Exactly the document's size, so that a sanitizer sees a read beyond its end. */
static char *
copy_of(struct str doc)
{
	char *copy = malloc(doc.len + 1);

	assert_non_null(copy);
	if (doc.len > 0)
		memcpy(copy, doc.p, doc.len);
	copy[doc.len] = '\0';
	return copy;
}

/* Polls by layout and by the full parser; fails the test if they differ. */
static void
poll_bytes(struct endpoint *ep, struct str doc)
{
	char *plain_doc = copy_of(doc);
	struct err err = { .code = ERR_NONE }, plain_err = { .code = ERR_NONE };
	struct batch plain;
	int rc, plain_rc;

	batch_reset(&ep->batch);
	free(ep->doc);
	ep->doc = copy_of(doc);
	batch_init(&plain, 0);
	rc = tricorder_read(&ep->memory, ep->doc, doc.len, &ep->batch, &err);
	plain_rc = tricorder_parse(plain_doc, doc.len, &plain, &plain_err);
	assert_int_equal(rc, plain_rc);
	assert_int_equal(err.code, plain_err.code);
	if (rc != 0) {
		assert_string_equal(err.text, plain_err.text);
	} else {
		const char *differs;

		batch_end(&ep->batch, 7);
		batch_end(&plain, 7);
		differs = batch_difference(&ep->batch, &plain);
		if (differs != NULL)
			fail_msg("%s differs: %.*s", differs, STR_ARG(doc));
		if (plain.bad_count > 0)
			assert_true(ep->batch.layout_id == 0);
	}
	batch_fini(&plain);
	free(plain_doc);
}

static void
poll(struct endpoint *ep, const char *doc)
{
	poll_bytes(ep, str_of(doc));
}

/* The memory knows learned's layout, and only that, when doc is polled. */
static void
poll_after(struct endpoint *ep, const char *learned, struct str doc)
{
	ep->memory.wait = ep->memory.backoff = 0;
	poll(ep, learned);
	poll(ep, learned);
	ep->memory.wait = ep->memory.backoff = 0;
	poll_bytes(ep, doc);
}

/* One metric of each kind, as tricorder writes them. */
#define METRIC(path, more, value, ts, group)                                                       \
	"\t{\n\t\t\"path\": \"" path "\",\n\t\t\"description\": \"What \\u003cit\\u003e is\",\n"   \
	"\t\t\"unit\": \"Seconds\",\n\t\t" more ",\n\t\t\"value\": " value                         \
	",\n\t\t\"timestamp\": \"" ts "\",\n\t\t\"groupId\": " group "\n\t}"
#define TS "1500000000.123456789"
#define DIST(a, b)                                                                                 \
	"{\n\t\t\t\"min\": 1,\n\t\t\t\"max\": 100.5,\n\t\t\t\"average\": 28.916666666666668,\n"    \
	"\t\t\t\"median\": 22.5,\n\t\t\t\"sum\": 173.5,\n\t\t\t\"count\": 6,\n"                    \
	"\t\t\t\"generation\": 6,\n\t\t\t\"ranges\": [\n\t\t\t\t{\n\t\t\t\t\t\"lower\": 0,\n"      \
	"\t\t\t\t\t\"upper\": 10,\n\t\t\t\t\t\"count\": " a "\n\t\t\t\t},\n\t\t\t\t{\n"            \
	"\t\t\t\t\t\"lower\": 10,\n\t\t\t\t\t\"upper\": 0,\n\t\t\t\t\t\"count\": " b               \
	"\n\t\t\t\t}\n\t\t\t]\n\t\t}"

static const char *const metrics[] = {
	METRIC("/a/bool", "\"kind\": \"bool\"", "true", TS, "0"),
	METRIC("/a/dist", "\"kind\": \"distribution\"", DIST("2", "4"), TS, "10"),
	METRIC("/a/duration", "\"kind\": \"duration\"", "\"960.357000001\"", TS, "0"),
	METRIC("/a/float32", "\"kind\": \"float32\", \"bits\": 32", "0.1", TS, "0"),
	METRIC("/a/float64", "\"kind\": \"float64\", \"bits\": 64", "12.25", TS, "0"),
	METRIC("/a/int8", "\"kind\": \"int8\", \"bits\": 8", "-7", TS, "0"),
	METRIC("/a/list", "\"kind\": \"list\", \"subType\": \"string\"", "[\"a\", \"b\\n\"]",
	    "1400000000.000000000", "11"),
	METRIC("/a/string", "\"kind\": \"string\"", "\"quite \\u003cplain\\u003e\"", TS, "0"),
	METRIC("/a/time", "\"kind\": \"time\"", "\"1468442100.453000000\"", TS, "0"),
	METRIC("/a/uint64", "\"kind\": \"uint64\", \"bits\": 64", "18446744073709551615", TS, "0"),
};

/* A document of the metrics, the i-th replaced by another text or, if that is NULL, left out. */
static void
write_document(struct buf *doc, size_t replaced, const char *other)
{
	const char *separator = "[\n";

	buf_init(doc, 0);
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
		const char *metric = i == replaced ? other : metrics[i];

		if (metric == NULL)
			continue;
		buf_puts(doc, separator);
		buf_puts(doc, metric);
		separator = ",\n";
	}
	buf_puts(doc, "\n]");
	buf_putc(doc, '\0');
	doc->len--;
	assert_false(doc->failed);
}

static void
the_layout_of_the_last_answer_is_known(void **state)
{
	struct fixture *f = *state;
	struct buf doc;
	uint64_t id;

	write_document(&doc, SIZE_MAX, NULL);
	poll(&f->ep, doc.p);
	id = f->ep.batch.layout_id;
	assert_true(id != 0);
	poll(&f->ep, doc.p);
	assert_true(f->ep.batch.layout_id == id);
	assert_ptr_equal(f->ep.batch.desc, f->ep.memory.layout->desc);
	assert_int_equal(f->ep.batch.len, ARRAY_LEN(metrics));
	buf_fini(&doc);
}

static void
endpoints_of_an_application_share_a_layout_at_once(void **state)
{
	struct fixture *f = *state;
	struct endpoint other, stranger;
	const struct metric_desc *desc;
	struct buf doc;

	write_document(&doc, SIZE_MAX, NULL);
	endpoint_begin(&other, f->table, STR("app"));
	endpoint_begin(&stranger, f->table, STR("other app"));
	poll(&f->ep, doc.p);
	poll(&other, doc.p);
	desc = other.memory.layout->desc;
	assert_ptr_equal(other.batch.desc, desc); /* by the first one's layout */
	assert_true(other.batch.layout_id == f->ep.batch.layout_id);
	poll(&stranger, doc.p);
	assert_ptr_not_equal(stranger.batch.desc, desc);
	assert_true(stranger.batch.layout_id == f->ep.batch.layout_id);
	endpoint_end(&stranger);
	endpoint_end(&other);
	buf_fini(&doc);
}

static void
layouts_share_the_metrics_that_are_equal(void **state)
{
	struct fixture *f = *state;
	struct tricorder_layouts_stats stats;
	struct endpoint other;
	struct buf doc;

	endpoint_begin(&other, f->table, STR("app"));
	write_document(&doc, SIZE_MAX, NULL);
	poll(&f->ep, doc.p);
	buf_fini(&doc);
	write_document(&doc, 4, METRIC("/a/float65", "\"kind\": \"float64\"", "1", TS, "0"));
	poll(&other, doc.p);
	buf_fini(&doc);
	tricorder_layouts_stats(f->table, &stats);
	assert_int_equal(stats.layouts, 2);
	assert_int_equal(stats.skeletons, ARRAY_LEN(metrics) + 1);
	assert_true(other.batch.layout_id != 0);
	assert_true(other.batch.layout_id != f->ep.batch.layout_id);
	endpoint_end(&other);
}

/* In place of each metric. */
static const char *const others[] = {
	NULL,
	"7",
	"{}",
	"{\"path\":\"/a/c\",\"kind\":\"int8\",\"value\":1}",
	"{\"path\":\"/a/c\",\"kind\":\"int8\",\"value\":null}",
	METRIC("/a/float64", "\"kind\": \"float64\"", "12.25", TS, "0"),
	METRIC("/a/float64", "\"kind\": \"float64\"", "12.25", "1500000000.123456788", "0"),
	METRIC("/a/float64", "\"kind\": \"float64\"", "12.25", "", "0"),
	METRIC("/a/float64", "\"kind\": \"float64\"", "12.25", "nonsense", "0"),
	METRIC("/z", "\"kind\": \"float64\"", "12.25", TS, "1"),
	METRIC("/a/bool", "\"kind\": \"bool\"", "false", TS, "3"),
};

static void
any_metric_may_be_another_one(void **state)
{
	struct fixture *f = *state;
	struct buf usual;

	write_document(&usual, SIZE_MAX, NULL);
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
		for (size_t k = 0; k < ARRAY_LEN(others); k++) {
			struct buf doc;

			write_document(&doc, i, others[k]);
			poll_after(&f->ep, usual.p, buf_view(&doc));
			poll_after(&f->ep, doc.p, buf_view(&usual));
			buf_fini(&doc);
		}
	}
	buf_fini(&usual);
}

static void
any_byte_may_change_or_be_the_last(void **state)
{
	struct fixture *f = *state;
	static const char bytes[] = "0-9.\"\\x,}]\n{ e\xC3\x01";
	struct buf usual;

	write_document(&usual, SIZE_MAX, NULL);
	for (size_t at = 0; at < usual.len; at++) {
		char *changed = copy_of(buf_view(&usual));

		changed[at] = bytes[at % (sizeof(bytes) - 1)];
		poll_after(&f->ep, usual.p, (struct str){ changed, usual.len });
		changed[at] = (char)(usual.p[at] + 1);
		poll_after(&f->ep, usual.p, (struct str){ changed, usual.len });
		poll_after(&f->ep, usual.p, (struct str){ usual.p, at });
		free(changed);
	}
	buf_fini(&usual);
}

/* Values of a kind; each follows each other one. */
static const struct {
	const char *kind;
	const char *values[24];
} kinds[] = {
	{ "\"bool\"", { "true", "false", "null", "truf", "t", "1", "\"true\"" } },
	{ "\"int8\"",
	    { "0", "-0", "127", "-128", "128", "-129", "01", "-", "1.0", "1e1", "\"1\"" } },
	{ "\"int64\"",
	    { "9223372036854775807", "-9223372036854775808", "9223372036854775808", "12345678",
	        "123456789", "-1234567890123456", "12345678901234567", "99999999999999999999" } },
	{ "\"uint8\"", { "255", "256", "-1", "-0", "00", "7" } },
	{ "\"uint64\"",
	    { "18446744073709551615", "18446744073709551616", "9999999999999999999",
	        "10000000000000000000", "100000000000000000000000000000", "1", "1.5" } },
	{ "\"float32\"",
	    { "0.1", "3.4e38", "3.5e38", "16777217", "-0", "1e-50", "7.038531e-26", "NaN" } },
	{ "\"float64\"",
	    { "0", "-0", "-0.0", "1", "0.1", "123.456789", "0.3333333333333333",
	        "0.30000000000000004", "9007199254740993", "9007199254740993.0", "1e21", "1E-7",
	        "1e400", "123456789012345678901234567890", "1.", ".5", "01.5", "-", "NaN",
	        "1234567890123456789.5", "18446744073709551615", "1.0000000000000000000000001" } },
	{ "\"string\"",
	    { "\"\"", "\"plain\"", "\"a \\\"quote\\\"\"", "\"\\u00e9\\ud83d\\ude00\\ud800\"",
	        "\"\xC3\xA9\"", "\"\xFF not\"", "\"tab\there\"", "7", "null", "\"\\x\"" } },
	{ "\"time\"",
	    { "\"1468442100.453000000\"", "\"0.000000000\"", "\"-1.750000000\"", "\"1.5\"", "\"7\"",
	        "\"9223372036.854775807\"", "\"9223372036.854775808\"", "\"9000000001.000000001\"",
	        "\"01.000000000\"", "\"+1.000000000\"", "\"1.0000000001\"", "\"\"", "\".5\"",
	        "\"\\u0031.000000000\"", "1", "\"1e5\"" } },
	{ "\"duration\",\"unit\":\"Milliseconds\"",
	    { "\"960357.000000000\"", "\"-0.250000000\"", "\"1\"", "\"x\"" } },
	{ "\"list\",\"subType\":\"uint8\"",
	    { "\"AQL/\"", "\"\"", "[1,2]", "null", "[]", "\"?\"", "\"AQI\\u003d\"", "7" } },
	{ "\"list\",\"subType\":\"string\"",
	    { "[]", "[\"a\"]", "[\"a\\n\",\"\xFF\"]", "[1]", "[[1]]", "[\"a\"", "{}", "null" } },
	{ "\"distribution\"",
	    { "{\"min\":1,\"max\":2.5,\"sum\":3,\"count\":2,\"generation\":9,\"ranges\":["
	      "{\"lower\":0,\"upper\":1,\"count\":1},{\"lower\":1,\"upper\":0,\"count\":1}]}",
	        "{\"min\":10,\"max\":2e5,\"sum\":-3,\"count\":0,\"generation\":10,\"ranges\":["
	        "{\"lower\":0,\"upper\":1,\"count\":18446744073709551615},"
	        "{\"lower\":1,\"upper\":0,\"count\":0}]}",
	        "{\"min\":10,\"max\":2e5,\"sum\":-3,\"count\":0,\"generation\":10,\"ranges\":["
	        "{\"lower\":0,\"upper\":1,\"count\":18446744073709551615},"
	        "{\"lower\":1,\"upper\":0,\"count\":1}]}",
	        "{\"min\":null,\"ranges\":[{\"count\":7}]}", "{\"ranges\":[{\"count\":8}]}",
	        "{\"ranges\":[{\"count\":8,\"x\":[{}]}],\"y\":{\"count\":1}}", "{\"ranges\":[]}",
	        "{\"ranges\":1,\"ranges\":[{\"count\":8}]}",
	        "{\"ranges\":[{\"count\":8,\"count\":9}]}", "{\"r\\u0061nges\":[{\"count\":8}]}",
	        "{\"isNotCumulative\":true,\"ranges\":[{\"count\":8}]}", "7", DIST("2", "4"),
	        DIST("1234567", "12345678"), DIST("01", "x"), DIST("18446744073709551615", "0"),
	        DIST("18446744073709551615", "1") } },
};

static void
write_value(struct buf *doc, const char *kind, const char *value)
{
	buf_init(doc, 0);
	buf_printf(doc,
	    "[{\"path\":\"/a\",\"kind\":%s,\"value\":%s},"
	    "{\"value\":%s,\"kind\":%s,\"path\":\"/b\"}]",
	    kind, value, value, kind);
	assert_false(doc->failed);
}

/* As tricorder writes them, with stamps: most are read another way then. */
static void
write_value_as_tricorder(struct buf *doc, const char *kind, const char *value)
{
	buf_init(doc, 0);
	for (char c = 'a'; c <= 'd'; c++) {
		buf_printf(doc, "%s\t{\n\t\t\"path\": \"/%c\",\n\t\t\"description\": \"%*c\",\n",
		    c == 'a' ? "[\n" : ",\n", c, (c - 'a') * 100, '.');
		buf_printf(doc,
		    "\t\t\"kind\": %s,\n\t\t\"value\": %s,\n\t\t\"timestamp\": \"" TS
		    "\",\n\t\t\"groupId\": 0\n\t}",
		    c == 'a' ? "\"bool\"" : kind, c == 'a' ? "true" : value);
	}
	buf_puts(doc, "\n]");
	assert_false(doc->failed);
}

static void
let_any_value_follow_any_other(
    struct fixture *f, void (*write)(struct buf *, const char *, const char *))
{
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		for (size_t i = 0; kinds[k].values[i] != NULL; i++) {
			for (size_t j = 0; kinds[k].values[j] != NULL; j++) {
				struct buf before, after;

				write(&before, kinds[k].kind, kinds[k].values[i]);
				write(&after, kinds[k].kind, kinds[k].values[j]);
				buf_putc(&before, '\0');
				poll_after(&f->ep, before.p, buf_view(&after));
				buf_fini(&before);
				buf_fini(&after);
			}
		}
	}
}

static void
any_value_may_follow_any_other(void **state)
{
	let_any_value_follow_any_other(*state, write_value);
	let_any_value_follow_any_other(*state, write_value_as_tricorder);
}

#define STAMPED(a, b, c)                                                                           \
	"[{\"path\":\"/a\",\"kind\":\"int8\",\"value\":1,\"timestamp\":" a ",\"groupId\":1},"      \
	"{\"path\":\"/b\",\"kind\":\"int8\",\"value\":1,\"timestamp\":" b ",\"groupId\":2},"       \
	"{\"path\":\"/c\",\"kind\":\"int8\",\"value\":1,\"timestamp\":" c ",\"groupId\":1}]"

static void
stamps_of_a_group_agree_or_not(void **state)
{
	struct fixture *f = *state;
	static const char *const docs[] = {
		STAMPED("\"5.000000000\"", "\"5.000000000\"", "\"5.000000000\""),
		STAMPED("\"5.000000000\"", "\"6.000000000\"", "\"5.000000000\""),
		STAMPED("\"5.000000000\"", "\"6.000000000\"", "\"5.0\""),
		STAMPED("\"5.000000000\"", "\"5.000000000\"", "\"6.000000000\""),
		STAMPED("\"5.000000000\"", "\"\"", "\"\""),
		STAMPED("\"\"", "\"\"", "\"5.000000000\""),
		STAMPED("\"\"", "\"\"", "\"\""),
		STAMPED("\"-5.000000000\"", "\"5\"", "\"-5\""),
		STAMPED("\"5.000000000\"", "\"x\"", "\"5.000000000\""),
		STAMPED("null", "null", "\"5.000000000\""),
		STAMPED("null", "null", "null"),
		STAMPED("7", "null", "\"\\u0035\""),
	};

	for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
		for (size_t k = 0; k < ARRAY_LEN(docs); k++)
			poll_after(&f->ep, docs[i], str_of(docs[k]));
	}
}

static struct str
read_file(const char *name)
{
	static char bytes[64 * 1024];
	char path[512];
	FILE *in;
	size_t len;

	snprintf(path, sizeof(path), "%s/%s", CORPUS, name);
	in = fopen(path, "rb");
	assert_non_null(in);
	len = fread(bytes, 1, sizeof(bytes), in);
	fclose(in);
	return (struct str){ copy_of((struct str){ bytes, len }), len };
}

static void
any_document_of_the_corpus_may_follow_any_other(void **state)
{
	struct fixture *f = *state;
	struct str docs[128];
	size_t n = 0;
	DIR *dir = opendir(CORPUS);
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL && n < ARRAY_LEN(docs)) {
		if (entry->d_name[0] != '.')
			docs[n++] = read_file(entry->d_name);
	}
	closedir(dir);
	assert_true(n > 30);
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++)
			poll_after(&f->ep, docs[i].p, docs[k]);
	}
	for (size_t i = 0; i < n; i++)
		free((char *)docs[i].p);
}

/* A document of n metrics whose names no other application has. */
static void
write_own(struct buf *doc, size_t app, size_t n, size_t own)
{
	buf_init(doc, 0);
	for (size_t i = 0; i < n; i++)
		buf_printf(doc,
		    "%s{\"path\":\"/a%zu/m%04zu-%zu\",\"kind\":\"int64\",\"value\":%zu}",
		    i == 0 ? "[" : ",", app, i, i == n / 2 ? own : 0, own + i);
	buf_puts(doc, "]");
	buf_putc(doc, '\0');
	doc->len--;
	assert_false(doc->failed);
}

static void
layouts_that_gave_way_to_others_do_not_pile_up(void **state)
{
	struct fixture big, *f = &big;
	struct tricorder_layouts_stats stats;
	struct buf doc;

	(void)state;
	begin_with(f, 64 * BUDGET_BYTES);
	for (size_t i = 0; i < 200; i++) {
		write_own(&doc, i, 100, 0);
		f->ep.memory.wait = 0;
		poll(&f->ep, doc.p);
		assert_true(f->ep.batch.layout_id != 0);
		buf_fini(&doc);
	}
	tricorder_layouts_stats(f->table, &stats);
	assert_true(stats.layouts < 100 && stats.bytes < 2 * 1024 * 1024);
	end(f);
}

static void
nothing_is_remembered_beyond_the_budget(void **state)
{
	struct fixture f;
	struct tricorder_layouts_stats stats;
	struct endpoint other;
	struct buf first, second;

	(void)state;
	begin_with(&f, 48 * 1024);
	endpoint_begin(&other, f.table, STR("other"));
	write_own(&first, 1, 100, 0);
	write_own(&second, 2, 100, 0);
	poll(&f.ep, first.p);
	poll(&f.ep, first.p);
	assert_true(f.ep.batch.layout_id != 0);
	poll(&other, second.p);
	assert_true(other.batch.layout_id == 0); /* the first one's is in use */
	tricorder_layouts_stats(f.table, &stats);
	assert_int_equal(stats.layouts, 1);
	assert_int_equal(stats.skeletons, 100);
	assert_true(stats.bytes <= 48 * 1024);

	endpoint_end(&f.ep);
	endpoint_begin(&f.ep, f.table, STR("app"));
	other.memory.wait = 0;
	poll(&other, second.p);
	assert_true(other.batch.layout_id != 0); /* now the first one's was dropped */
	tricorder_layouts_stats(f.table, &stats);
	assert_int_equal(stats.layouts, 1);
	poll(&f.ep, first.p);
	assert_true(f.ep.batch.layout_id == 0);
	endpoint_end(&other);
	buf_fini(&first);
	buf_fini(&second);
	end(&f);
}

static void
a_layout_without_arrays_of_its_own_serves_as_well(void **state)
{
	struct fixture f;
	struct buf doc;

	(void)state;
	begin_with(&f, 48 * 1024);
	write_own(&doc, 1, 130, 0);
	poll(&f.ep, doc.p);
	assert_non_null(f.ep.memory.layout);
	assert_null(f.ep.memory.layout->desc);
	poll(&f.ep, doc.p);
	assert_true(f.ep.batch.layout_id == f.ep.memory.layout->shared.id);
	buf_fini(&doc);
	end(&f);
}

static void
an_answer_that_keeps_changing_is_seldom_learned(void **state)
{
	struct fixture *f = *state;
	unsigned learned = 0;

	for (size_t i = 0; i < 200; i++) {
		struct buf doc;

		write_own(&doc, 1, 20, i);
		poll(&f->ep, doc.p);
		learned += f->ep.batch.layout_id != 0;
		buf_fini(&doc);
	}
	assert_in_range(learned, 3, 12);
	for (size_t i = 0; i < 140; i++) { /* learned at last, and then calm */
		struct buf doc;

		write_own(&doc, 1, 20, 1000);
		poll(&f->ep, doc.p);
		buf_fini(&doc);
	}
	for (size_t i = 0; i < 2; i++) {
		struct buf doc;

		write_own(&doc, 1, 20, 2000);
		poll(&f->ep, doc.p);
		assert_true(f->ep.batch.layout_id != 0); /* at once, as it was calm before */
		buf_fini(&doc);
	}
}

static void
a_batch_outlives_the_endpoint_that_made_it(void **state)
{
	struct fixture *f = *state;
	struct endpoint other;
	struct buf doc, big;

	write_document(&doc, SIZE_MAX, NULL);
	poll(&f->ep, doc.p);
	poll(&f->ep, doc.p);
	layout_memory_fini(&f->ep.memory);
	write_own(&big, 1, 2000, 0);
	endpoint_begin(&other, f->table, STR("other"));
	poll(&other, big.p); /* needs the budget, and drops what is idle */
	assert_true(str_eq(f->ep.batch.desc[0].path, STR("/a/bool")));
	endpoint_end(&other);
	buf_fini(&big);
	buf_fini(&doc);
}

static void
learning_may_fail_at_any_allocation(void **state)
{
	struct buf doc;
	bool happened = true;
	struct err err;

	(void)state;
	write_document(&doc, SIZE_MAX, NULL);
	fault_malloc(1);
	assert_null(tricorder_layouts_new(BUDGET_BYTES, &err));
	assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	for (unsigned nth = 1; happened; nth++) {
		struct fixture f;
		char *copy = copy_of(buf_view(&doc));
		int rc;

		begin_with(&f, BUDGET_BYTES);
		fault_malloc(nth);
		rc = tricorder_read(&f.ep.memory, copy, doc.len, &f.ep.batch, &err);
		happened = fault_happened();
		fault_malloc(0);
		if (rc == 0)
			assert_int_equal(f.ep.batch.len, ARRAY_LEN(metrics));
		else
			assert_int_equal(err.code, ERR_NOMEM);
		f.ep.memory.wait = 0;
		poll(&f.ep, doc.p);
		assert_true(f.ep.batch.layout_id != 0);
		end(&f);
		free(copy);
	}
	buf_fini(&doc);
}

static void
matching_may_fail_at_any_allocation(void **state)
{
	struct fixture *f = *state;
	struct buf doc, other;
	bool happened = true;

	write_document(&doc, SIZE_MAX, NULL);
	write_document(&other, 7, METRIC("/a/u", "\"kind\": \"bool\"", "true", TS, "0"));
	poll(&f->ep, doc.p);
	for (unsigned nth = 1; happened; nth++) {
		char *copy = copy_of(buf_view(&other));
		struct batch batch;
		struct err err;
		int rc;

		batch_init(&batch, 0);
		f->ep.memory.wait = 1;
		fault_malloc(nth);
		rc = tricorder_read(&f->ep.memory, copy, other.len, &batch, &err);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(rc, happened ? -1 : 0);
		if (rc != 0)
			assert_int_equal(err.code, ERR_NOMEM);
		batch_fini(&batch);
		free(copy);
	}
	buf_fini(&doc);
	buf_fini(&other);
}

#define THREADS 4
#define POLLS   300

/* Polls with endpoints of two applications that others poll too, with metrics of their own. */
static void *
poll_a_lot(void *arg)
{
	struct tricorder_layouts *table = arg;
	static atomic_size_t threads;
	size_t self = atomic_fetch_add(&threads, 1);

	for (size_t i = 0; i < POLLS; i++) {
		struct endpoint ep;
		struct buf doc;

		endpoint_begin(&ep, table, i % 2 == 0 ? STR("even") : STR("odd"));
		write_own(&doc, i % 2, 20, i % 7 == 0 ? i * THREADS + self : 0);
		for (unsigned round = 0; round < 3; round++)
			poll(&ep, doc.p);
		endpoint_end(&ep);
		buf_fini(&doc);
	}
	return NULL;
}

static void
threads_share_the_table(void **state)
{
	struct tricorder_layouts_stats stats;
	pthread_t threads[THREADS];
	struct fixture f;

	(void)state;
	begin_with(&f, 40 * 1024); /* so little that layouts are dropped all the time */
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, poll_a_lot, f.table), 0);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	tricorder_layouts_stats(f.table, &stats);
	assert_in_range(stats.bytes, 1, 40 * 1024);
	end(&f);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(the_layout_of_the_last_answer_is_known),
		TEST(endpoints_of_an_application_share_a_layout_at_once),
		TEST(layouts_share_the_metrics_that_are_equal),
		TEST(any_metric_may_be_another_one),
		TEST(any_byte_may_change_or_be_the_last),
		TEST(any_value_may_follow_any_other),
		TEST(stamps_of_a_group_agree_or_not),
		TEST(any_document_of_the_corpus_may_follow_any_other),
		cmocka_unit_test(layouts_that_gave_way_to_others_do_not_pile_up),
		cmocka_unit_test(nothing_is_remembered_beyond_the_budget),
		cmocka_unit_test(a_layout_without_arrays_of_its_own_serves_as_well),
		TEST(an_answer_that_keeps_changing_is_seldom_learned),
		TEST(a_batch_outlives_the_endpoint_that_made_it),
		cmocka_unit_test(learning_may_fail_at_any_allocation),
		TEST(matching_may_fail_at_any_allocation),
		cmocka_unit_test(threads_share_the_table),
	};
#undef TEST
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	match_without_avx2 = true;
	return failed + cmocka_run_group_tests(tests, NULL, NULL);
}
