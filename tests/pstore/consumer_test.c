#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/hash.h"
#include "fault.h"
#include "pstore/consumer.h"

/* The complaints about a list, each without its newline; "" if there are none. */
static const char *
complaints(const char *text)
{
	static char out[2000];
	struct conf_report report;
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(text), "pstore.yaml", &err);

	if (doc == NULL)
		fail_msg("%s", err.text);
	conf_report_init(&report, "pstore.yaml");
	consumers_check(doc->root, NULL, &report);
	snprintf(out, sizeof(out), "%.*s", STR_ARG(buf_view(&report.text)));
	conf_report_fini(&report);
	conf_doc_unref(doc);
	return out;
}

static const struct {
	const char *text, *complaints;
} lists[] = {
	{ "", "" },
	{ "[]", "" },
	/* The sample in upstream's own description. */
	{ "- influx:\n    hostAndPort: \"http://tsdb.example.com:8086\"\n    database: scotty\n"
	  "  consumer:\n    name: \"main tsdb\"\n    batchSize: 500\n",
	    "" },
	{ "- mock: {}\n  consumer: {name: a, concurrency: 2, batchSize: 10, recordsPerSecond: 5,\n"
	  "    rollUpSpan: 1m, paused: true, regexesOfMetricsToExclude: [\"^/sys/\", foo],\n"
	  "    debugMetricRegex: x, debugHostRegex: y, debugFilePath: /tmp/x}\n",
	    "" },
	{ "- mock: {accepted: [int64, string]}\n  consumer: {name: a, rollUpSpan: 60000000000}",
	    "" },
	{ "- mock: {}\n  consumer: {name: a, rollUpSpan: -5s}", "" },
	{ "- mock: {}\n", "pstore.yaml:1:3: Name field is required.\n" },
	{ "- mock: {}\n  consumer: {batchSize: 3}", "pstore.yaml:2:13: Name field is required.\n" },
	{ "- consumer: {name: a}\n", "pstore.yaml:1:3: One writer field must be defined.\n" },
	{ "- mock:\n  consumer: {name: a}\n",
	    "pstore.yaml:1:3: One writer field must be defined.\n" },
	{ "- mock: {}\n  consumer: {name: a}\n- mock: {}\n  consumer: {name: a}\n",
	    "pstore.yaml:4:20: config: Duplicate consumer name found: a\n" },
	{ "- nope: {}\n  consumer: {name: a}\n", "pstore.yaml:1:9: Unrecognized fields: nope\n" },
	{ "- influx: {}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:11: HostAndPort and Database fields required.\n" },
	{ "- influx: {hostAndPort: 'ftp://x', database: d}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:11: Unsupported protocol scheme: ftp, your address must start with "
	    "http:// or https://\n" },
	{ "- influx: {hostAndPort: 'http://x', database: d, precision: q}\n"
	  "  consumer: {name: a}\n",
	    "pstore.yaml:1:11: 'precision' must be one of ns, u, ms, s, m, h\n" },
	{ "- influx: {hostAndPort: 'http://x', bucket: b, precision: h}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:11: 'precision' must be one of ns, us, ms, s\n" },
	{ "- influx: {hostAndPort: 'http://x', bucket: b, database: d}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:11: 'database' is for 1.x, 'bucket' for 2.x: one of them\n" },
	{ "- file: {path: x}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:9: path required, beginning with '/'\n" },
	{ "- mock: {accepted: [int64, nope]}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:9: 'nope' is no kind of value\n" },
	{ "- mock: {}\n  consumer: {name: a, regexesOfMetricsToExclude: [a, \"(\"]}\n",
	    "pstore.yaml:2:54: regular expression '(': missing closing ) at character 2\n" },
	{ "- mock: {}\n  consumer: {name: a, debugHostRegex: '*'}\n",
	    "pstore.yaml:2:39: regular expression '*': missing argument to repetition operator at "
	    "character 1\n" },
	{ "- mock: {}\n  consumer: {name: a, rollUpSpan: soon}\n",
	    "pstore.yaml:2:35: 'rollUpSpan' must be a duration, as 30s or 1h30m\n" },
	{ "- mock: {}\n  consumer: {name: a, rollUp: most}\n",
	    "pstore.yaml:2:31: 'rollUp' must be one of mean, min, max, last, count, sum\n" },
	{ "- mock: {}\n  file: {path: /x}\n  consumer: {name: a}\n",
	    "pstore.yaml:1:3: only one writer field may be defined\n" },
	{ "a: 1", "pstore.yaml:1:1: writers must be a list\n" },
	{ "- 1", "pstore.yaml:1:3: a writer must be a map\n" },
};

static void
complaints_are_upstreams_with_a_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const char *got = complaints(lists[i].text);

		if (strcmp(got, lists[i].complaints) != 0)
			fail_msg("row %zu: got %s", i, got);
	}
}

static void
unknown_keys_are_complained_about(void **state)
{
	(void)state;
	assert_non_null(strstr(complaints("- mock: {what: 1}\n  consumer: {name: a}"),
	    "pstore.yaml:1:10: Unrecognized fields: what\n"));
	assert_non_null(strstr(complaints("- mock: {}\n  consumer: {name: a, batchsize: 3}"),
	    "pstore.yaml:2:23: Unrecognized fields: batchsize; did you mean 'batchSize'?"));
}

static void
defaults_are_upstreams(void **state)
{
	struct err err;
	struct conf_doc *doc = conf_parse(STR("- mock: {}\n  consumer: {name: a}"), "x", &err);
	struct consumer *c = consumer_new(doc, doc->root->first, &err);

	(void)state;
	assert_non_null(c);
	assert_string_equal(c->name, "a");
	assert_string_equal(c->ops->name, "mock");
	assert_int_equal(c->concurrency, 1);
	assert_int_equal(c->batch_size, 1000);
	assert_int_equal(c->records_per_second, 0);
	assert_int_equal(c->rollup_span_ns, 0);
	assert_int_equal(c->rollup_fn, ROLLUP_MEAN);
	assert_false(c->paused);
	assert_int_equal(c->exclude.len + c->include.len, 0);
	assert_null(c->debug_path);
	consumer_free(c);
	conf_doc_unref(doc);
}

static void
without_memory_there_is_none(void **state)
{
	struct err err;
	struct conf_doc *doc =
	    conf_parse(STR("- mock: {}\n  consumer: {name: a, regexesOfMetricsToExclude: [a, b],\n"
	                   "    debugMetricRegex: x, debugFilePath: y}"),
	        "x", &err);
	struct consumer *c;
	unsigned nth = 1;

	(void)state;
	for (fault_malloc(nth); (c = consumer_new(doc, doc->root->first, &err)) == NULL;
	     fault_malloc(++nth))
		assert_int_equal(err.code, ERR_NOMEM);
	fault_malloc(0);
	assert_true(nth > 4);
	consumer_free(c);
	conf_doc_unref(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(complaints_are_upstreams_with_a_place),
		cmocka_unit_test(unknown_keys_are_complained_about),
		cmocka_unit_test(defaults_are_upstreams),
		cmocka_unit_test(without_memory_there_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
