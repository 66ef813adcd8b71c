/*
 * Target groups to targets.
 */
#include "fleet/sd_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "fleet/conf_text_priv.h"

/* A source with all options that labels can stand for. */
static const struct conf_opt full_opts[] = {
	{ "path", CONF_TEXT, "/", "", 0, 0 },
	{ "tls", CONF_BOOL, "false", "", 0, 0 },
	{ "params", CONF_TREE, NULL, "", 0, 0 },
	{ "timeout", CONF_DURATION, NULL, "", NS_PER_S, 60 * NS_PER_S },
	{ "user", CONF_TEXT, NULL, "", 0, 0 },
	{ .name = NULL },
};
static const struct source_ops full_source = { .name = "full", .opts = full_opts };

static const struct conf_opt bare_opts[] = {
	{ .name = NULL },
};
static const struct source_ops bare_source = { .name = "bare", .opts = bare_opts };

static void
show(struct buf *out, const struct target *t)
{
	buf_printf(out, "%.*s/%.*s %.*s:%u %gs", STR_ARG(t->host), STR_ARG(t->app),
	    STR_ARG(t->address), (unsigned)t->port, (double)t->interval_ns / (double)NS_PER_S);
	if (t->region.len > 0)
		buf_printf(out, " @%.*s", STR_ARG(t->region));
	for (size_t i = 0; i < t->tag_count; i++)
		buf_printf(out, " %.*s=%.*s", STR_ARG(t->tags[i].key), STR_ARG(t->tags[i].value));
	if (t->options != NULL) {
		buf_putc(out, ' ');
		conf_text_tree(out, t->options);
	}
	buf_putc(out, '\n');
}

/* Reads text and shows what became of it: the targets, or the error. */
static void
read_and_show(
    const char *text, const struct source_ops *source, const char *options, struct buf *out)
{
	struct target_list list;
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(options), "o", &err);
	struct target_defaults defaults = {
		.source = source,
		.interval_ns = 30 * NS_PER_S,
		.doc = doc,
		.options = doc->root,
	};

	target_list_init(&list);
	if (sd_read(str_of(text), "f", &defaults, &list, &err) != 0)
		buf_printf(out, "%s\n", err.text);
	for (size_t i = 0; i < list.len; i++)
		show(out, list.p[i].target);
	if (list.bad > 0)
		buf_printf(out, "%zu bad: %s\n", list.bad, list.bad_reason.text);
	buf_putc(out, '\0');
	target_list_fini(&list);
	conf_doc_unref(doc);
}

static const struct {
	const struct source_ops *source;
	const char *options, *text, *expected;
} rows[] = {
	{ &full_source, "", "[]", "" },
	{ &full_source, "", "- targets: [a:1, b]\n- targets: ['c:3']\n  labels:\n",
	    "a/full a:1 30s\nb/full b:80 30s\nc/full c:3 30s\n" },
	{ &full_source, "", "[{targets: ['a:1'], labels: {n: null, s: 'null', t: ~}}]",
	    "a/full a:1 30s s=null\n" },
	{ &full_source, "", "- labels: {a: b}\n- targets: []\n", "" },
	{ &full_source, "",
	    "[{\"targets\": [\"a:1\"], \"labels\": {\"job\": \"j\", \"z\": \"1\", "
	    "\"b\": \"\\u00e4\", \"e\": \"\", \"__meta_x\": \"y\", \"__tmp\": \"t\"}}]",
	    "a/j a:1 30s b=\xc3\xa4 job=j z=1\n" },
	/* Addresses. */
	{ &full_source, "",
	    "[{targets: ['[::1]:9', '[fe80::2]', '::3'], labels: {__scheme__: https}}]",
	    "::1/full ::1:9 30s {\"tls\": true}\nfe80::2/full fe80::2:443 30s {\"tls\": true}\n"
	    "::3/full ::3:443 30s {\"tls\": true}\n" },
	{ &full_source, "",
	    "[{targets: [ignored], labels: {__address__: 'x:7', instance: 'web9:7'}}]",
	    "web9/full x:7 30s instance=web9:7\n" },
	{ &full_source, "", "[{targets: ['b:9115'], labels: {instance: 'https://site/x'}}]",
	    "b/full b:9115 30s instance=https://site/x\n" },
	{ &full_source, "", "[{targets: ['a:0']}]",
	    "1 bad: f:1:13: target 'a:0': address 'a:0' has no port from 1 to 65535 after its "
	    "colon\n" },
	{ &full_source, "", "[{targets: ['http://a/']}]",
	    "1 bad: f:1:13: target 'http://a/': address 'http://a/' has no port from 1 to 65535 "
	    "after its colon\n" },
	{ &full_source, "", "[{targets: ['a/b:1', '[a]:1', '[::1', '[::1]x', ':1', '', 'ok:1']}]",
	    "ok/full ok:1 30s\n6 bad: f:1:13: target 'a/b:1': address 'a/b:1' has no host that can "
	    "be a name\n" },
	/* Labels that are options. */
	{ &full_source, "{user: u, path: /old, params: {a: [1, 2], b: x}}",
	    "[{targets: ['a:1'], labels: {__metrics_path__: /m, __param_b: 'y\"', __param_c: z,"
	    " __scrape_interval__: 5s, __scrape_timeout__: 3s, region: r}}]",
	    "a/full a:1 5s @r {\"user\": u, \"path\": \"/m\", \"params\": {\"a\": [1, 2], "
	    "\"b\": \"y\\\"\", \"c\": \"z\"}, \"timeout\": \"3s\"}\n" },
	{ &full_source, "{user: 'true'}", "[{targets: ['a:1']}]",
	    "a/full a:1 30s {\"user\": \"true\"}\n" },
	{ &full_source, "", "[{targets: ['a:1'], labels: {__scrape_interval__: 1x}}]",
	    "1 bad: f:1:13: target 'a:1': label '__scrape_interval__' is no duration from 100ms to "
	    "24h\n" },
	{ &full_source, "", "[{targets: ['a:1'], labels: {__scrape_timeout__: 5m}}]",
	    "1 bad: f:1:13: target 'a:1': labels:1:13: 'timeout' must be from 1s to 1m, not 5m\n" },
	{ &full_source, "", "[{targets: ['a:1'], labels: {__scheme__: ftp}}]",
	    "1 bad: f:1:13: target 'a:1': label '__scheme__' is neither http nor https\n" },
	{ &bare_source, "",
	    "[{targets: ['a:1'], labels: {__scheme__: http, __scrape_timeout__: 1s}}]",
	    "a/bare a:1 30s\n" },
	{ &bare_source, "", "[{targets: ['a:1', 'b:1'], labels: {__scheme__: https}}]",
	    "2 bad: f:1:13: target 'a:1': label '__scheme__': source 'bare' has no option "
	    "'tls'\n" },
	{ &bare_source, "", "[{targets: ['a:1'], labels: {__metrics_path__: /}}]",
	    "1 bad: f:1:13: target 'a:1': label '__metrics_path__': source 'bare' has no option "
	    "'path'\n" },
	{ &bare_source, "", "[{targets: ['a:1'], labels: {__param_target: x}}, {targets: ['b:1']}]",
	    "b/bare b:1 30s\n1 bad: f:1:13: target 'a:1': label '__param_target': source 'bare' "
	    "has "
	    "no option 'params'\n" },
	/* Labels that can't be. */
	{ &full_source, "", "[{targets: ['a:1'], labels: {'a-b': x}}]",
	    "1 bad: f:1:13: target 'a:1': label 'a-b' has a name that is not of letters, "
	    "digits and '_'\n" },
	{ &full_source, "", "[{\"targets\": [\"a:1\"], \"labels\": {\"a\": \"x\\ny\"}}]",
	    "1 bad: f:1:15: target 'a:1': label 'a' holds a control character\n" },
	{ &full_source, "", "[{targets: ['a:1'], labels: {job: a/b}}]",
	    "1 bad: f:1:13: target 'a:1': its application ('app' or label 'job') holds a '/'\n" },
	/* Texts that are no target groups. */
	{ &full_source, "", "", "f: empty; no targets at all is written []\n" },
	{ &full_source, "", "{targets: [a]}", "f:1:1: not a list of target groups\n" },
	{ &full_source, "", "[{targets: a}]", "f:1:12: 'targets' must be a list\n" },
	{ &full_source, "", "[{targets: [[a]]}]", "f:1:13: 'targets' hold texts only\n" },
	{ &full_source, "", "[{targets: [a], labels: {b: [c]}}]",
	    "f:1:29: 'labels' hold texts only\n" },
	{ &full_source, "", "[{targets: [a], lables: {}}]", NULL },
	{ &full_source, "", "[{\"targets\": [\"a:1\"", NULL },
	{ &full_source, "", "nonsense", "f:1:1: not a list of target groups\n" },
};

static void
groups_become_targets(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf got;

		buf_init(&got, 0);
		read_and_show(rows[i].text, rows[i].source, rows[i].options, &got);
		assert_false(got.failed);
		if (rows[i].expected == NULL)
			assert_memory_equal(got.p, "f:1:", 4);
		else if (strcmp(got.p, rows[i].expected) != 0)
			fail_msg("row %zu: %s\nis not\n%s", i, got.p, rows[i].expected);
		buf_fini(&got);
	}
}

static void
options_are_shared_and_places_differ(void **state)
{
	static const char text[] = "[{targets: ['a:1', 'b:1']}, {targets: ['a:1', 'c:1'], labels: "
	                           "{__metrics_path__: /m}}]";
	struct target_defaults defaults = { .source = &full_source, .interval_ns = NS_PER_S };
	struct target_list list;
	struct err err;

	(void)state;
	target_list_init(&list);
	assert_int_equal(sd_read(str_of(text), "f", &defaults, &list, &err), 0);
	assert_int_equal(list.len, 4);
	assert_null(list.p[0].target->doc);
	assert_ptr_equal(list.p[2].target->doc, list.p[3].target->doc);
	assert_true(list.p[0].place != list.p[2].place);
	target_list_fini(&list);
}

static void
too_many_labels_are_refused(void **state)
{
	struct target_defaults defaults = { .source = &full_source, .interval_ns = NS_PER_S };
	struct target_list list;
	struct buf text;
	struct err err;

	(void)state;
	buf_init(&text, 0);
	buf_puts(&text, "[{targets: ['a:1'], labels: {");
	for (int i = 0; i <= TARGET_TAGS_MAX; i++)
		buf_printf(&text, "%sl%d: x", i > 0 ? ", " : "", i);
	buf_puts(&text, "}}]");
	target_list_init(&list);
	assert_int_equal(sd_read(buf_view(&text), "f", &defaults, &list, &err), 0);
	assert_int_equal(list.len, 0);
	assert_int_equal(list.bad, 1);
	target_list_fini(&list);
	buf_fini(&text);
}

static void
too_many_targets_are_refused(void **state)
{
	struct target_defaults defaults = { .source = &full_source, .interval_ns = NS_PER_S };
	struct target_list list;
	struct buf text;
	struct err err;

	(void)state;
	buf_init(&text, 0);
	buf_puts(&text, "[{\"targets\": [\"a:1\"");
	for (int i = 1; i < SD_TARGETS_MAX; i++)
		buf_puts(&text, ",\"a:1\"");
	buf_puts(&text, "]}, {\"targets\": []}]");
	target_list_init(&list);
	assert_int_equal(sd_read(buf_view(&text), "f", &defaults, &list, &err), 0);
	assert_int_equal(list.len, SD_TARGETS_MAX);
	target_list_fini(&list);
	text.len -= 3;
	buf_puts(&text, "\"a:1\"]}]");
	assert_int_equal(sd_read(buf_view(&text), "f", &defaults, &list, &err), -1);
	assert_int_equal(err.code, ERR_LIMIT);
	target_list_fini(&list);
	buf_fini(&text);
}

static void
reading_without_memory_fails_cleanly(void **state)
{
	static const char text[] =
	    "[{targets: ['a:1', 'b:1'], labels: {__metrics_path__: /m, x: y}}]";
	struct target_defaults defaults = { .source = &full_source, .interval_ns = NS_PER_S };
	struct target_list list;
	bool failed = true;
	struct err err;

	(void)state;
	for (unsigned nth = 1; failed; nth++) {
		target_list_init(&list);
		fault_malloc(nth);
		failed = sd_read(str_of(text), "f", &defaults, &list, &err) != 0;
		assert_int_equal(failed, fault_happened());
		fault_malloc(0);
		if (failed)
			assert_int_equal(err.code, ERR_NOMEM);
		else
			assert_int_equal(list.len, 2);
		target_list_fini(&list);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_become_targets),
		cmocka_unit_test(options_are_shared_and_places_differ),
		cmocka_unit_test(too_many_labels_are_refused),
		cmocka_unit_test(too_many_targets_are_refused),
		cmocka_unit_test(reading_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
