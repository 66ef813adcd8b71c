#include "fleet/target_conf_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "fleet/fleet.h"

#define FREQUENCY_NS (30 * NS_PER_S)

static struct conf_doc *
parse(const char *text)
{
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(text), "f", &err);

	if (doc == NULL)
		fail_msg("%s: %s", text, err.text);
	return doc;
}

/* The target that an element gives, NULL with the complaints in *text (to be freed). */
static struct target *
target_of(const char *element, const char *host, const char *app, char **text)
{
	struct conf_doc *doc = parse(element);
	struct conf_report report;
	struct target *target;

	conf_report_init(&report, "f");
	target = target_from_conf(doc, doc->root, str_of(host), str_of(app), FREQUENCY_NS, &report);
	*text = str_dup(buf_view(&report.text));
	assert_int_equal(target == NULL, report.count > 0);
	conf_report_fini(&report);
	conf_doc_unref(doc);
	return target;
}

static void
assert_str(struct str got, const char *expected)
{
	if (!str_eq(got, str_of(expected)))
		fail_msg("\"%.*s\" instead of \"%s\"", STR_ARG(got), expected);
}

static void
defaults_are_those_documented(void **state)
{
	char *text;
	struct target *target = target_of("{host: web1, app: a b, port: 1}", NULL, NULL, &text);

	(void)state;
	assert_non_null(target);
	assert_str(target->host, "web1");
	assert_str(target->app, "a b");
	assert_str(target->address, "web1");
	assert_str(target->region, "");
	assert_int_equal(target->port, 1);
	assert_string_equal(target->source->name, "tricorder");
	assert_int_equal(target->interval_ns, FREQUENCY_NS);
	assert_false(target->deny_loopback);
	assert_false(target->deny_link_local);
	assert_null(target->options);
	assert_null(target->doc); /* nothing holds the file's text for longer than need be */
	free(text);
	target_unref(target);
}

static void
every_key_is_taken_over(void **state)
{
	char *text;
	struct target *target =
	    target_of("{host: web1, app: x, address: \"::1\", port: 65535,"
	              " source: tricorder, interval: 100ms, region: eu/1, tags: {rack: 7, dc: x},"
	              " options: {tls: true, path: /m}}",
	        NULL, NULL, &text);

	(void)state;
	assert_non_null(target);
	assert_str(target->address, "::1");
	assert_int_equal(target->port, 65535);
	assert_int_equal(target->interval_ns, 100 * NS_PER_MS);
	assert_str(target->region, "eu/1");
	assert_int_equal(target->tag_count, 2);
	assert_str(target->tags[0].key, "dc");
	assert_str(target->tags[1].value, "7");
	assert_non_null(target->doc);
	assert_str(conf_child(target->options, "path")->text, "/m");
	free(text);
	target_unref(target);
}

static void
secrets_are_in_a_file_only_for_the_configuration(void **state)
{
	const char *secrets[] = { "{env: COMMUNITY}", "public" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
		char *text, element[128];
		struct target *target;

		snprintf(element, sizeof(element),
		    "{host: h, app: a, port: 161, source: snmp, options: {community: %s}}",
		    secrets[i]);
		target = target_of(element, i == 0 ? NULL : "h", i == 0 ? NULL : "a", &text);
		assert_non_null(target);
		free(text);
		target_unref(target);
	}
}

static void
a_source_complains_about_its_options(void **state)
{
	char *text;
	struct target *target =
	    target_of("{host: h, app: a, port: 161, source: snmp, options: {walk: nowhere}}", NULL,
	        NULL, &text);

	(void)state;
	assert_null(target);
	assert_string_equal(text, "f:1:60: neither a number nor a known name: 'nowhere'\n");
	free(text);
}

static void
a_local_source_needs_no_port(void **state)
{
	char *text;
	struct target *target = target_of("{host: h, app: a, source: self}", NULL, NULL, &text);

	(void)state;
	assert_non_null(target);
	assert_int_equal(target->port, 0);
	free(text);
	target_unref(target);
}

static void
the_url_stands_in_for_host_and_app(void **state)
{
	char *text;
	struct target *target = target_of("{port: 80, app: a}", "h", "a", &text);

	(void)state;
	assert_non_null(target);
	assert_str(target->host, "h");
	assert_str(target->address, "h");
	free(text);
	target_unref(target);
}

static const struct {
	const char *element, *host, *app, *complaints;
} bad_elements[] = {
	{ "{}", NULL, NULL,
	    "f:1:1: 'host' is missing\nf:1:1: 'app' is missing\nf:1:1: 'port' is missing\n" },
	{ "", NULL, NULL, "f: 'host' is missing\nf: 'app' is missing\nf: 'port' is missing\n" },
	{ "", "h", "a", "f: 'port' is missing\n" },
	{ "{port: 161, source: snmp, options: {community: {file: /etc/shadow}}}", "h", "a",
	    "f:1:48: 'community' names a file or a variable of this machine, which only the "
	    "configuration file may\n" },
	{ "{host: '', app: a, port: 1}", NULL, NULL, "f:1:8: 'host' must not be empty\n" },
	{ "{host: a/b, app: \"a\\tb\", port: 1}", NULL, NULL,
	    "f:1:8: 'host' holds a '/'\nf:1:18: 'app' holds a control character\n" },
	{ "{port: 1}", "h/", "a", "f:1:1: 'host' holds a '/'\n" },
	{ "{host: g, port: 1}", "h", "a", "f:1:8: 'host' is 'g' here and 'h' in the URL\n" },
	{ "{app: '', port: 1}", "h", "a", "f:1:7: 'app' is '' here and 'a' in the URL\n" },
	{ "{source: ping, port: 1}", "h", "a",
	    "f:1:10: no source 'ping' in this build; there are: tricorder, prometheus, self, "
	    "snmp\n" },
	{ "{port: 1, tags: [x]}", "h", "a", "f:1:17: 'tags' must be a map\n" },
	{ "{port: 1, tags: {a-b: x, c: [d], e: \"\\n\"}}", "h", "a",
	    "f:1:23: tag 'a-b' has a name that is not of letters, digits and '_'\n"
	    "f:1:29: tag 'c' must be a text\nf:1:37: tag 'e' holds a control character\n" },
	{ "{port: 1, address: '', region: \"\\x7f\"}", "h", "a",
	    "f:1:20: 'address' must not be empty\nf:1:32: 'region' holds a control character\n" },
};

static void
complaints_say_what_is_wrong_where(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_elements); i++) {
		char *text;
		struct target *target = target_of(
		    bad_elements[i].element, bad_elements[i].host, bad_elements[i].app, &text);

		if (target != NULL)
			fail_msg("taken: %s", bad_elements[i].element);
		assert_string_equal(text, bad_elements[i].complaints);
		free(text);
	}
}

static const struct {
	const char *element;
	unsigned complaints;
} counted[] = {
	{ "[]", 1 },
	{ "text", 1 },
	{ "{port: 0}", 1 },
	{ "{port: 65536}", 1 },
	{ "{port: '80'}", 1 },
	{ "{port: [1]}", 1 },
	{ "{port: 1, interval: 99ms}", 1 },
	{ "{port: 1, interval: 25h}", 1 },
	{ "{port: 1, host: [h]}", 1 },
	{ "{port: 1, options: 3}", 1 },
	{ "{port: 1, options: {tls: maybe, color: red}}", 2 },
	{ "{source: self, options: {tls: true}}", 1 },
	/* All of them, not just the first. */
	{ "{colour: red, port: x, app: '', options: {tls: 1}, source: none}", 4 },
};

static void
each_fault_is_one_complaint(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(counted); i++) {
		struct conf_doc *doc = parse(counted[i].element);
		struct conf_report report;

		conf_report_init(&report, "f");
		assert_null(
		    target_from_conf(doc, doc->root, STR("h"), STR("a"), FREQUENCY_NS, &report));
		if (report.count != counted[i].complaints)
			fail_msg("%s: %zu complaints: %.*s", counted[i].element, report.count,
			    STR_ARG(buf_view(&report.text)));
		conf_report_fini(&report);
		conf_doc_unref(doc);
	}
}

static void
names_have_a_length_and_an_alphabet(void **state)
{
	char bytes[300];

	(void)state;
	memset(bytes, 'x', sizeof(bytes));
	assert_null(name_fault((struct str){ bytes, NAME_BYTES_MAX }, NAME_IDENTITY));
	assert_non_null(name_fault((struct str){ bytes, NAME_BYTES_MAX + 1 }, NAME_IDENTITY));
	assert_non_null(name_fault(STR_EMPTY, NAME_OTHER));
	assert_non_null(name_fault(STR("\xc3"), NAME_OTHER));
	assert_null(name_fault(STR("\xc3\xa9 <b>"), NAME_IDENTITY));
	assert_null(name_fault(STR("a/b"), NAME_OTHER));
	assert_non_null(name_fault(STR("a/b"), NAME_IDENTITY));
	for (unsigned c = 0; c < 256; c++) {
		bytes[0] = (char)c;
		if (c >= 0x20 && c < 0x7f && c != '/')
			assert_null(name_fault((struct str){ bytes, 3 }, NAME_IDENTITY));
		else
			assert_non_null(name_fault((struct str){ bytes, 3 }, NAME_IDENTITY));
	}
}

static void
assert_check(const char *list, const char *complaints)
{
	struct conf_doc *doc = parse(list);
	struct conf_report report;
	char *text;

	conf_report_init(&report, "f");
	assert_int_equal(fleet_check_endpoints(doc->root, &report), complaints[0] == '\0');
	text = str_dup(buf_view(&report.text));
	assert_string_equal(text == NULL ? "" : text, complaints);
	free(text);
	conf_report_fini(&report);
	conf_doc_unref(doc);
}

static void
lists_are_checked_as_a_whole(void **state)
{
	(void)state;
	assert_check("[]", "");
	assert_check("", "");
	assert_check("- {host: h, app: a, port: 1}\n- {host: h, app: b, port: 1}\n", "");
	assert_check("{}", "f:1:1: 'endpoints' must be a list\n");
	assert_check("- {host: h, app: a, port: 1}\n"
	             "- {host: h, app: a}\n"
	             "- {host: h, app: a, port: 2}\n"
	             "- {host: g, app: a, port: 2}\n"
	             "- {host: h, app: a, port: 3}\n",
	    "f:2:3: 'port' is missing\n"
	    "f:3:3: endpoint h/a is given twice, first in line 1\n"
	    "f:5:3: endpoint h/a is given twice, first in line 1\n");
}

static void
targets_without_memory_fail_cleanly(void **state)
{
	struct conf_doc *doc = parse("{port: 1, options: {tls: true}}");
	struct conf_report report;
	struct target *target = NULL;
	struct err err;

	(void)state;
	for (unsigned nth = 1; target == NULL; nth++) {
		conf_report_init(&report, "f");
		fault_malloc(nth);
		target =
		    target_from_conf(doc, doc->root, STR("h"), STR("a"), FREQUENCY_NS, &report);
		if (target == NULL) {
			assert_true(report.count > 0);
			conf_report_err(&report, &err);
			assert_int_not_equal(err.code, ERR_NONE);
		}
		conf_report_fini(&report);
	}
	assert_false(fault_happened());
	fault_malloc(0);
	target_unref(target);
	conf_doc_unref(doc);
}

static void
checks_without_memory_are_not_passed(void **state)
{
	struct conf_doc *doc =
	    parse("- {host: h, app: a, port: 1}\n- {host: g, app: a, port: 1}\n");
	struct conf_report report;
	bool passed = false;

	(void)state;
	for (unsigned nth = 1; !passed; nth++) {
		conf_report_init(&report, "f");
		fault_malloc(nth);
		passed = fleet_check_endpoints(doc->root, &report);
		assert_int_equal(passed, !fault_happened());
		conf_report_fini(&report);
	}
	fault_malloc(0);
	conf_doc_unref(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_those_documented),
		cmocka_unit_test(every_key_is_taken_over),
		cmocka_unit_test(secrets_are_in_a_file_only_for_the_configuration),
		cmocka_unit_test(a_source_complains_about_its_options),
		cmocka_unit_test(a_local_source_needs_no_port),
		cmocka_unit_test(the_url_stands_in_for_host_and_app),
		cmocka_unit_test(complaints_say_what_is_wrong_where),
		cmocka_unit_test(each_fault_is_one_complaint),
		cmocka_unit_test(names_have_a_length_and_an_alphabet),
		cmocka_unit_test(lists_are_checked_as_a_whole),
		cmocka_unit_test(targets_without_memory_fail_cleanly),
		cmocka_unit_test(checks_without_memory_are_not_passed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
