#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/conf.h"
#include "conf_fixture.h"
#include "fault.h"

static const struct conf_opt nested[] = {
	{ .name = "frequency",
	    .type = CONF_DURATION,
	    .dflt = "30s",
	    .min = NS_PER_S / 10,
	    .max = INT64_MAX },
	{ .name = "threads", .type = CONF_INT, .dflt = "0", .max = 64 },
	{ .name = "maxResponse", .type = CONF_SIZE, .dflt = "64MiB", .min = 1024, .max = 1 << 30 },
	{ .name = NULL },
};

static const struct conf_opt opts[] = {
	{ .name = "bool", .type = CONF_BOOL, .dflt = "true" },
	{ .name = "int", .type = CONF_INT, .dflt = "-3", .min = -5, .max = 5 },
	{ .name = "any", .type = CONF_INT },
	{ .name = "float", .type = CONF_FLOAT, .dflt = "0.5" },
	{ .name = "listen", .type = CONF_TEXT, .dflt = "127.0.0.1:6980" },
	{ .name = "text", .type = CONF_TEXT },
	{ .name = "secret", .type = CONF_SECRET },
	{ .name = "size", .type = CONF_SIZE, .dflt = "50%" },
	{ .name = "disk", .type = CONF_DISK, .dflt = "2GiB", .min = 1 << 20, .max = INT64_MAX },
	{ .name = "duration", .type = CONF_DURATION, .dflt = "7d" },
	{ .name = "texts", .type = CONF_TEXTS },
	{ .name = "collection", .type = CONF_TREE },
	{ .name = NULL },
};

/* Checks a whole text: the top, and what is below "collection", alone or in a list. */
static void
check_all(struct conf_doc *doc, struct conf_report *report)
{
	const struct conf *below;

	conf_check(doc->root, opts, report);
	below = conf_child(doc->root, "collection");
	if (below == NULL || below->shape != CONF_LIST) {
		conf_check(below, nested, report);
		return;
	}
	for (const struct conf *c = below->first; c != NULL; c = c->next)
		conf_check(c, nested, report);
}

static const struct {
	const char *text, *complaints;
} checks[] = {
	/* Taken as they are. */
	{ "", "" },
	{ "bool: false\nint: -5\nany: 9223372036854775807\nfloat: 1e3\ntext: 2c\n", "" },
	{ "duration: '1h'\nsize: \"1GiB\"\nlisten: ''\ntexts: a\n", "" },
	{ "{\"duration\": \"1h\", \"size\": 4, \"texts\": [\"a\", 1, true], \"float\": 2}", "" },
	{ "bool:\nint: ~\nfloat: null\nsize:\nduration: null\ntexts:\nsecret: ~\ntext:\n", "" },
	{ "secret: hunter2\n", "" },
	{ "secret: {file: /etc/x}\n", "" },
	{ "secret:\n  env: NAME\n", "" },
	{ "collection: {frequency: 100ms, threads: 64, maxResponse: 1K}\n", "" },
	/* Keys. */
	{ "# x\ncollection:\n  frequenzy: 30s\n  thread: 1\n",
	    "t:3:3: unknown key 'frequenzy'; did you mean 'frequency'?\n"
	    "t:4:3: unknown key 'thread'; did you mean 'threads'?\n" },
	{ "colection:\n  threads: 1\n",
	    "t:1:1: unknown key 'colection'; did you mean 'collection'?\n" },
	{ "Listen: x\n", "t:1:1: unknown key 'Listen'; did you mean 'listen'?\n" },
	{ "txet: x\n", "t:1:1: unknown key 'txet'; did you mean 'text'?\n" },
	{ "tex: x\n", "t:1:1: unknown key 'tex'; did you mean 'text'?\n" },
	{ "wholly: x\n'': y\nx: z\n",
	    "t:1:1: unknown key 'wholly'\nt:2:1: unknown key ''\nt:3:1: unknown key 'x'\n" },
	{ "\"a\\nb\\e\": x\n", "t:1:1: unknown key 'a?b?'\n" },
	{ "<<: {bool: true}\n", "t:1:1: unknown key '<<'\n" },
	/* Types. */
	{ "- a\n", "t:1:1: the top level wants a map, not a list\n" },
	{ "a\n", "t:1:1: the top level wants a map, not 'a'\n" },
	{ "bool: yes\n", "t:1:7: 'bool' wants true or false, not 'yes'\n" },
	{ "bool: \"true\"\n",
	    "t:1:7: 'bool' wants true or false, not the text \"true\" in quotes\n" },
	{ "int: \"4\"\n", "t:1:6: 'int' wants a whole number, not the text \"4\" in quotes\n" },
	{ "int: |\n  4\n", "t:1:6: 'int' wants a whole number, not the text \"4?\" in quotes\n" },
	{ "int: 1.5\n", "t:1:6: 'int' wants a whole number, not '1.5'\n" },
	{ "int: 04\n", "t:1:6: 'int' wants a whole number, not '04'\n" },
	{ "int: +4\n", "t:1:6: 'int' wants a whole number, not '+4'\n" },
	{ "int: --4\n", "t:1:6: 'int' wants a whole number, not '--4'\n" },
	{ "int: -+4\n", "t:1:6: 'int' wants a whole number, not '-+4'\n" },
	{ "any: 9223372036854775808\n",
	    "t:1:6: 'any' wants a whole number, not '9223372036854775808'\n" },
	{ "float: '1'\n", "t:1:8: 'float' wants a number, not the text \"1\" in quotes\n" },
	{ "float: .inf\n", "t:1:8: 'float' wants a number, not '.inf'\n" },
	{ "float: {}\n", "t:1:8: 'float' wants a number, not a map\n" },
	{ "listen: [a]\n", "t:1:9: 'listen' wants a text, not a list\n" },
	{ "size: 64mb\n", "t:1:7: 'size' wants a size such as 64MiB or 50%, not '64mb'\n" },
	{ "disk: 25%\n", "" },
	{ "disk: 0%\n",
	    "t:1:7: 'disk' wants a size such as 16GiB, or 50% of the file system, not '0%'\n" },
	{ "disk: {}\n",
	    "t:1:7: 'disk' wants a size such as 16GiB, or 50% of the file system, not a map\n" },
	{ "disk: 4k\n",
	    "t:1:7: 'disk' wants a size such as 16GiB, or 50% of the file system, not '4k'\n" },
	{ "disk: 4KiB\n", "t:1:7: 'disk' must be at least 1MiB, not 4KiB\n" },
	{ "size: 9223372036854775808\n",
	    "t:1:7: 'size' wants a size such as 64MiB or 50%, not '9223372036854775808'\n" },
	{ "collection:\n  frequency: 30\n",
	    "t:2:14: 'collection.frequency' wants a duration such as 30s or 1h30m, not '30'\n" },
	{ "collection:\n- threads: 1\n- threads: a\n-\n- b\n",
	    "t:3:12: 'collection[].threads' wants a whole number, not 'a'\n"
	    "t:4:2: 'collection[]' wants a map, but is empty\n"
	    "t:5:3: 'collection[]' wants a map, not 'b'\n" },
	{ "texts: {a: b}\n", "t:1:8: 'texts' wants a text or a list of texts, not a map\n" },
	{ "texts: [a, [b], ~, {}]\n", "t:1:12: 'texts[]' wants a text, not a list\n"
	                              "t:1:17: 'texts[]' wants a text, but is empty\n"
	                              "t:1:20: 'texts[]' wants a text, not a map\n" },
	/* Ranges. */
	{ "int: 6\n", "t:1:6: 'int' must be from -5 to 5, not 6\n" },
	{ "any: -1\n", "t:1:6: 'any' must be at least 0, not -1\n" },
	{ "duration: -1s\n", "t:1:11: 'duration' must be at least 0, not -1s\n" },
	{ "collection: {frequency: 50ms, threads: 65, maxResponse: 2GiB}\n",
	    "t:1:25: 'collection.frequency' must be at least 100ms, not 50ms\n"
	    "t:1:40: 'collection.threads' must be from 0 to 64, not 65\n"
	    "t:1:57: 'collection.maxResponse' must be from 1KiB to 1GiB, not 2GiB\n" },
	/* Secrets, which no complaint shows. */
	{ "secret: [hunter2]\n", "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {hunter2}\n", "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {}\n", "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {file: ~}\n", "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {env: ''}\n", "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {env: [hunter2]}\n",
	    "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
	{ "secret: {file: x, env: hunter2}\n",
	    "t:1:9: 'secret' wants a text, {file: PATH} or {env: NAME}\n" },
};

static void
check_complains_of_all_that_is_wrong(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(checks); i++) {
		struct conf_doc *doc = parse(checks[i].text);
		struct conf_report report;
		size_t lines = 0;

		conf_report_init(&report, doc->name);
		check_all(doc, &report);
		for (const char *p = checks[i].complaints; *p != '\0'; p++)
			lines += *p == '\n';
		assert_int_equal(report.count, lines);
		buf_putc(&report.text, '\0');
		assert_string_equal(report.text.p, checks[i].complaints);
		conf_report_fini(&report);
		conf_doc_unref(doc);
	}
}

static void
check_tells_whether_this_map_is_good(void **state)
{
	struct conf_doc *good = parse("int: 1\n"), *bad = parse("int: x\n");
	struct conf_report report;

	(void)state;
	conf_report_init(&report, "t");
	assert_true(conf_check(NULL, opts, &report));
	assert_false(conf_check(bad->root, opts, &report));
	assert_true(conf_check(good->root, opts, &report)); /* whatever came before */
	assert_int_equal(report.count, 1);
	conf_report_fini(&report);
	conf_doc_unref(good);
	conf_doc_unref(bad);
}

static void
a_long_path_is_cut(void **state)
{
	struct conf_report report;
	struct conf_doc *doc;
	const struct conf *node;
	struct buf text;

	(void)state;
	buf_init(&text, 0);
	for (int i = 0; i < 31; i++)
		buf_printf(&text, "{'long key number %d': ", i);
	buf_puts(&text, "1");
	for (int i = 0; i < 31; i++)
		buf_putc(&text, '}');
	buf_putc(&text, '\0');
	doc = parse(text.p);
	for (node = doc->root; node->first != NULL; node = node->first)
		;
	conf_report_init(&report, "t");
	assert_false(conf_check(node, opts, &report));
	buf_putc(&report.text, '\0');
	assert_non_null(strstr(report.text.p, "'long key number 0.long key number 1."));
	assert_non_null(strstr(report.text.p, "...' wants a map, not '1'\n"));
	assert_true(report.text.len < 320);
	conf_report_fini(&report);
	conf_doc_unref(doc);
	buf_fini(&text);
}

static void
values_come_from_the_map(void **state)
{
	struct conf_doc *doc =
	    parse("bool: false\nint: 4\nany: 0\nfloat: -2.5\ntext: x\nlisten: ''\n"
	          "size: 1MiB\nduration: 1m\n");
	const struct conf *map = doc->root;
	struct str listen = conf_text(map, opts, "listen");
	double number = conf_float(map, opts, "float");

	(void)state;
	assert_false(conf_bool(map, opts, "bool"));
	assert_int_equal(conf_int(map, opts, "int"), 4);
	assert_int_equal(conf_int(map, opts, "any"), 0);
	assert_true(number >= -2.5 && number <= -2.5);
	assert_string_equal(conf_text(map, opts, "text").p, "x");
	assert_non_null(listen.p);
	assert_int_equal(listen.len, 0);
	assert_int_equal(conf_size(map, opts, "size"), 1 << 20);
	assert_int_equal(conf_duration_ns(map, opts, "duration"), 60 * NS_PER_S);
	conf_doc_unref(doc);
}

static void
assert_defaults(const struct conf *map)
{
	double number = conf_float(map, opts, "float");

	assert_true(conf_bool(map, opts, "bool"));
	assert_int_equal(conf_int(map, opts, "int"), -3);
	assert_int_equal(conf_int(map, opts, "any"), 0);
	assert_true(number >= 0.5 && number <= 0.5);
	assert_string_equal(conf_text(map, opts, "listen").p, "127.0.0.1:6980");
	assert_null(conf_text(map, opts, "text").p);
	assert_true(conf_size(map, opts, "size") == conf_memory_bytes() / 2);
	assert_true(conf_disk(map, opts, "disk").bytes == UINT64_C(2) << 30);
	assert_int_equal(conf_duration_ns(map, opts, "duration"), 7 * 86400 * NS_PER_S);
}

static void
values_absent_or_unreadable_are_the_defaults(void **state)
{
	static const char *const texts[] = { "texts: a\n",
		"bool:\nint: ~\nany: null\nfloat:\ntext:\nlisten:\nsize:\nduration:\n",
		"bool: x\nint: x\nany: x\nfloat: x\ntext: {}\nlisten: []\nsize: x\nduration: x\n",
		"- a\n" };

	(void)state;
	assert_defaults(NULL);
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct conf_doc *doc = parse(texts[i]);

		assert_defaults(doc->root);
		conf_doc_unref(doc);
	}
}

static void
a_report_has_a_line_per_complaint(void **state)
{
	struct conf_doc *doc = parse("a: 1\n");
	struct conf_report report;
	struct err err;

	(void)state;
	conf_report_init(&report, "f.yaml");
	conf_complain(&report, conf_child(doc->root, "a"), "forged\nf.yaml:2:1: %s", "x\ty\x7F");
	conf_complain(&report, NULL, "no place");
	assert_int_equal(report.count, 2);
	conf_report_err(&report, &err);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_string_equal(err.text, "f.yaml:1:4: forged?f.yaml:2:1: x?y?");
	buf_putc(&report.text, '\0');
	assert_string_equal(
	    report.text.p, "f.yaml:1:4: forged?f.yaml:2:1: x?y?\nf.yaml: no place\n");
	conf_report_fini(&report);
	conf_doc_unref(doc);
}

static void
a_full_report_goes_on_counting(void **state)
{
	struct conf_report report;

	(void)state;
	conf_report_init(&report, "t");
	for (int i = 0; i < 20000; i++)
		conf_complain(&report, NULL, "%060d", i);
	assert_int_equal(report.count, 20000);
	assert_true(report.text.len <= 1024 * 1024 && report.text.len > 1024 * 1024 - 64);
	assert_int_equal(report.text.p[report.text.len - 1], '\n');
	conf_report_fini(&report);
}

static void
a_report_without_memory_still_counts(void **state)
{
	struct conf_report report;
	struct err err;

	(void)state;
	conf_report_init(&report, "t");
	fault_malloc(1);
	conf_complain(&report, NULL, "lost");
	assert_true(fault_happened());
	fault_malloc(0);
	assert_int_equal(report.count, 1);
	assert_int_equal(report.text.len, 0);
	conf_report_err(&report, &err);
	assert_int_equal(err.code, ERR_NOMEM);
	conf_report_fini(&report);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_complains_of_all_that_is_wrong),
		cmocka_unit_test(check_tells_whether_this_map_is_good),
		cmocka_unit_test(a_long_path_is_cut),
		cmocka_unit_test(values_come_from_the_map),
		cmocka_unit_test(values_absent_or_unreadable_are_the_defaults),
		cmocka_unit_test(a_report_has_a_line_per_complaint),
		cmocka_unit_test(a_full_report_goes_on_counting),
		cmocka_unit_test(a_report_without_memory_still_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
