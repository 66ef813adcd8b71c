#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fault.h"
#include "sources/snmp_conf_priv.h"
#include "sources/snmp_rows_priv.h"
#include "sources/snmp_text.h"

struct fixture {
	const struct snmp_names *names;
	struct arena arena, lookup_arena;
	struct snmp_rows rows, lookups;
	struct batch batch;
	size_t nameless;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	f.names = snmp_names_standard();
	assert_non_null(f.names);
	arena_init(&f.arena, 0);
	arena_init(&f.lookup_arena, 0);
	snmp_rows_init(&f.rows, &f.arena);
	snmp_rows_init(&f.lookups, &f.lookup_arena);
	batch_init(&f.batch, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	arena_fini(&f->arena);
	arena_fini(&f->lookup_arena);
	return 0;
}

static void
keep(struct snmp_rows *rows, const char *oid, struct snmp_varbind varbind)
{
	struct snmp_oid_room room;

	assert_true(snmp_oid_parse(str_of(oid), &room));
	varbind.name = snmp_oid_of(&room);
	assert_true(snmp_rows_keep(rows, &varbind, 0));
}

static void
keep_text(struct snmp_rows *rows, const char *oid, const char *text)
{
	keep(rows, oid, (struct snmp_varbind){ .type = SNMP_OCTETS, .octets = str_of(text) });
}

static void
keep_number(struct snmp_rows *rows, const char *oid, enum snmp_type type, uint64_t number)
{
	keep(rows, oid, (struct snmp_varbind){ .type = type, .u = number });
}

static void
convert(struct fixture *f)
{
	batch_reset(&f->batch);
	assert_int_equal(
	    snmp_rows_to_batch(&f->rows, &f->lookups, f->names, &f->batch, &f->nameless, &f->err),
	    0);
	assert_int_equal(f->batch.bad_count, 0);
}

static size_t
metric(const struct fixture *f, const char *path)
{
	for (size_t i = 0; i < f->batch.len; i++) {
		if (str_eq(f->batch.desc[i].path, str_of(path)))
			return i;
	}
	fail_msg("no metric %s", path);
	return 0;
}

static void
check_tags(const struct metric_desc *desc, const char *expected)
{
	struct buf text;

	buf_init(&text, 0);
	for (size_t i = 0; i < desc->tag_count; i++)
		buf_printf(
		    &text, "%.*s=%.*s ", STR_ARG(desc->tags[i].key), STR_ARG(desc->tags[i].value));
	buf_putc(&text, '\0');
	assert_string_equal(text.p, expected);
	buf_fini(&text);
}

static void
rows_are_called_by_their_names(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *desc;

	keep_text(&f->rows, "1.3.6.1.2.1.31.1.1.1.1.3", "eth0");
	keep_text(&f->rows, "1.3.6.1.2.1.31.1.1.1.18.3", "to the core");
	keep_text(&f->rows, "1.3.6.1.2.1.2.2.1.2.3", "Ethernet");
	keep_number(&f->rows, "1.3.6.1.2.1.2.2.1.10.3", SNMP_COUNTER32, 17);
	keep_number(&f->rows, "1.3.6.1.2.1.2.1.0", SNMP_INTEGER, 1);
	convert(f);
	assert_int_equal(f->batch.len, 5);
	desc = &f->batch.desc[metric(f, "/snmp/if/eth0/in-octets")];
	check_tags(
	    desc, "ifAlias=to the core ifDescr=Ethernet ifIndex=3 oid=1.3.6.1.2.1.2.2.1.10.3 ");
	assert_int_equal(desc->kind, KIND_UINT32);
	assert_true(str_eq(desc->unit, STR("Bytes")));
	assert_int_equal(f->batch.value[metric(f, "/snmp/if/eth0/in-octets")].u, 17);
	check_tags(&f->batch.desc[metric(f, "/snmp/if/number")], "oid=1.3.6.1.2.1.2.1.0 ");
	assert_int_equal(f->nameless, 0);
}

static void
names_come_from_earlier_lookups_too(void **state)
{
	struct fixture *f = *state;

	keep_text(&f->lookups, "1.3.6.1.2.1.2.2.1.2.3", "old");
	keep_text(&f->lookups, "1.3.6.1.2.1.2.2.1.2.4", "lo");
	keep_text(&f->rows, "1.3.6.1.2.1.2.2.1.2.3", "new");
	keep_number(&f->rows, "1.3.6.1.2.1.2.2.1.10.3", SNMP_COUNTER32, 1);
	keep_number(&f->rows, "1.3.6.1.2.1.2.2.1.10.4", SNMP_COUNTER32, 1);
	convert(f);
	metric(f, "/snmp/if/new/in-octets");
	metric(f, "/snmp/if/lo/in-octets");
	assert_int_equal(f->batch.len, 3);
	keep_number(&f->rows, "1.3.6.1.2.1.2.2.1.10.5", SNMP_COUNTER32, 1);
	convert(f);
	metric(f, "/snmp/if/5/in-octets");
	assert_int_equal(f->nameless, 1);
}

static void
rows_of_the_same_name_are_kept_apart(void **state)
{
	struct fixture *f = *state;

	keep_text(&f->rows, "1.3.6.1.2.1.25.4.2.1.2.7", "sh");
	keep_text(&f->rows, "1.3.6.1.2.1.25.4.2.1.2.8", "init");
	keep_text(&f->rows, "1.3.6.1.2.1.25.4.2.1.2.9", "sh");
	keep_number(&f->rows, "1.3.6.1.2.1.25.5.1.1.2.9", SNMP_INTEGER, 1);
	/* The same name in another table is another matter. */
	keep_text(&f->rows, "1.3.6.1.2.1.2.2.1.2.1", "init");
	convert(f);
	metric(f, "/snmp/hr/run/sh@7/name");
	metric(f, "/snmp/hr/run/init/name");
	metric(f, "/snmp/hr/run/sh@9/mem");
	metric(f, "/snmp/if/init/descr");
}

static void
unknown_objects_do_not_vanish(void **state)
{
	struct fixture *f = *state;

	keep_number(&f->rows, "1.3.6.1.4.1.99999.1.2.3", SNMP_GAUGE32, 5);
	keep_number(&f->rows, "1.3.6.1.2.1.2.2.1.99.1", SNMP_GAUGE32, 5);
	convert(f);
	check_tags(&f->batch.desc[metric(f, "/snmp/oid/1.3.6.1.4.1.99999.1.2.3")],
	    "oid=1.3.6.1.4.1.99999.1.2.3 ");
	metric(f, "/snmp/oid/1.3.6.1.2.1.2.2.1.99.1");
}

static void
types_become_kinds(void **state)
{
	static const struct {
		enum snmp_type type;
		enum kind kind;
	} rows[] = { { SNMP_INTEGER, KIND_INT32 }, { SNMP_COUNTER32, KIND_UINT32 },
		{ SNMP_GAUGE32, KIND_UINT32 }, { SNMP_COUNTER64, KIND_UINT64 },
		{ SNMP_TIMETICKS, KIND_DURATION }, { SNMP_FLOAT, KIND_FLOAT32 },
		{ SNMP_DOUBLE, KIND_FLOAT64 }, { SNMP_INTEGER64, KIND_INT64 } };
	struct fixture *f = *state;
	char oid[64];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(oid, sizeof(oid), "1.3.6.1.4.1.9.%zu", i);
		keep_number(&f->rows, oid, rows[i].type, 0);
	}
	convert(f);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(f->batch.desc[i].kind, rows[i].kind);
	keep_number(&f->rows, "1.3.6.1.2.1.1.3.0", SNMP_TIMETICKS, 123);
	convert(f);
	assert_true(
	    f->batch.value[metric(f, "/snmp/system/up-time")].i == INT64_C(1230) * NS_PER_MS);
}

static void
number_beyond_its_type_costs_only_itself(void **state)
{
	struct fixture *f = *state;

	keep(&f->rows, "1.3.6.1.4.1.9.1",
	    (struct snmp_varbind){ .type = SNMP_INTEGER, .i = INT64_C(1) << 31 });
	keep_number(&f->rows, "1.3.6.1.4.1.9.2", SNMP_INTEGER, 1);
	assert_int_equal(
	    snmp_rows_to_batch(&f->rows, &f->lookups, f->names, &f->batch, &f->nameless, &f->err),
	    0);
	assert_int_equal(f->batch.len, 1);
	assert_int_equal(f->batch.bad_count, 1);
}

static void
octets_become_text(void **state)
{
	static const struct {
		struct str octets;
		enum snmp_show show;
		const char *text;
	} rows[] = {
		{ STR("plain\ntext"), SNMP_SHOW_AUTO, "plain\ntext" },
		{ STR(""), SNMP_SHOW_AUTO, "" },
		{ STR("eth0\0"), SNMP_SHOW_AUTO, "eth0" },
		{ STR("\x01z"), SNMP_SHOW_AUTO, "01 7A" },
		{ STR("\xff"), SNMP_SHOW_AUTO, "FF" },
		{ STR("gr\xc3\xbc\xc3\x9f"), SNMP_SHOW_AUTO, "gr\xc3\xbc\xc3\x9f" },
		{ STR("a\xff"
		      "b\x1b"),
		    SNMP_SHOW_TEXT, "a?b?" },
		{ STR("abc"), SNMP_SHOW_HEX, "61 62 63" },
		{ STR("\x00\x1a\xff\x00\x00\x01"), SNMP_SHOW_MAC, "00:1a:ff:00:00:01" },
		{ STR(""), SNMP_SHOW_MAC, "" },
		{ STR("\x07\xea\x0b\x15\x04\x30\x08\x00"), SNMP_SHOW_DATE, "2026-11-21,4:48:8.0" },
		{ STR("\x07\xea\x0b\x15\x04\x30\x08\x00+\x01\x1e"), SNMP_SHOW_DATE,
		    "2026-11-21,4:48:8.0,+1:30" },
		{ STR("\x07\xea"), SNMP_SHOW_DATE, "07 EA" },
		{ STR("\xc0\x00\x02\x07"), SNMP_SHOW_IP, "192.0.2.7" },
		{ STR("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"), SNMP_SHOW_IP, "2001:db8::1" },
		{ STR("x"), SNMP_SHOW_IP, "78" },
	};
	struct fixture *f = *state;
	struct str text;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(snmp_text_show(&f->arena, rows[i].octets, rows[i].show, &text));
		assert_string_equal(text.p, rows[i].text);
		assert_int_equal(text.len, strlen(rows[i].text));
	}
}

static void
components_are_fit_for_paths(void **state)
{
	static const char *const rows[][2] = { { "Gi0/1", "Gi0_1" }, { " eth0 ", "eth0" },
		{ "a\nb", "a_b" }, { "..", "__" }, { "/", "_" }, { "\xff", "_" }, { "  ", "" } };
	struct fixture *f = *state;
	char longer[500];
	struct str text;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(snmp_text_component(&f->arena, str_of(rows[i][0]), &text));
		assert_string_equal(text.p, rows[i][1]);
	}
	memset(longer, 'x', sizeof(longer));
	assert_true(snmp_text_component(&f->arena, (struct str){ longer, sizeof(longer) }, &text));
	assert_int_equal(text.len, 200);
}

static void
runs_are_put_in_order(void **state)
{
	struct fixture *f = *state;
	struct snmp_oid_room room = { .len = 3, .ids = { 1, 3, 0 } };

	for (uint32_t i = 0; i < 300; i++) {
		const struct snmp_varbind varbind = {
			.name = snmp_oid_of(&room), .type = SNMP_INTEGER, .i = i / 3
		};

		room.ids[2] = i;
		assert_true(snmp_rows_keep(&f->rows, &varbind, i % 3));
	}
	assert_true(snmp_rows_sort(&f->rows, 3));
	for (uint32_t i = 0; i < 300; i++)
		assert_int_equal(f->rows.all[i].name.ids[2], i % 100 * 3 + i / 100);
}

static void
symbols_are_known(void **state)
{
	static const char *const rows[][2] = { { "ifTable", "1.3.6.1.2.1.2.2" },
		{ "IF-MIB::ifInOctets", "1.3.6.1.2.1.2.2.1.10" },
		{ "SNMPv2-MIB::sysUpTime.0", "1.3.6.1.2.1.1.3.0" }, { ".1.3.6", "1.3.6" },
		{ "system", "1.3.6.1.2.1.1" } };
	static const char *const unknown[] = { "ifTabel", "ifTable.", "ifTable.x", "::", "" };
	struct fixture *f = *state;
	struct snmp_oid_room room;
	char text[SNMP_OID_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_true(snmp_names_parse(f->names, str_of(rows[i][0]), &room));
		text[snmp_oid_text(snmp_oid_of(&room), text)] = '\0';
		assert_string_equal(text, rows[i][1]);
	}
	for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
		assert_false(snmp_names_parse(f->names, str_of(unknown[i]), &room));
}

/* A configuration, NULL if it is refused. */
static struct snmp_conf *
conf_of(struct fixture *f, const char *yaml, bool deny_files)
{
	struct conf_doc *doc = conf_parse(str_of(yaml), "t", &f->err);
	struct snmp_conf *conf;

	assert_non_null(doc);
	conf = snmp_conf_new(doc->root, deny_files, &f->err);
	conf_doc_unref(doc);
	return conf;
}

static void
options_make_a_plan(void **state)
{
	struct fixture *f = *state;
	struct snmp_conf *conf = conf_of(f, "", false);

	assert_non_null(conf);
	assert_int_equal(conf->plan.root_count, 3); /* system, ifTable, ifXTable */
	assert_int_equal(conf->plan.lookup_count, 0);
	assert_true(conf->uptime_walked);
	snmp_conf_free(conf);
	/* What is in another subtree, or asked for twice, is asked for once. */
	conf = conf_of(f,
	    "walk: [ifInOctets, ifTable, sysName.0, 1.3.6.1.2.1.2.2.1.16]\n"
	    "get: [ifInOctets.1, sysUpTime.0, sysLocation.0]\n",
	    false);
	assert_non_null(conf);
	assert_int_equal(conf->plan.root_count, 1);
	assert_int_equal(conf->plan.get_count, 2);
	assert_int_equal(conf->plan.lookup_count, 2); /* ifName, ifAlias */
	assert_false(conf->uptime_walked);
	snmp_conf_free(conf);
}

static void
options_that_make_no_sense_are_refused(void **state)
{
	static const char *const rows[][2] = { { "version: 4", "version" },
		{ "walk: nowhere", "nowhere" }, { "version: 3", "user" },
		{ "{version: 3, user: u, authPassword: short}", "shorter than 8" },
		{ "{version: 3, user: u, level: authPriv}", "'authPassword' is missing" },
		{ "{version: 3, user: u, authPassword: longenough, authProtocol: X}",
		    "authProtocol" },
		{ "names: 1", "'names' must be a list" },
		{ "names: [{name: a}]", "'oid' is missing" },
		{ "names: [{oid: 1.3.6, name: /a}]", "'name' is no path" },
		{ "names: [{oid: 1.3.6, name: a, kind: b}]", "'kind' is none of" } };
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_null(conf_of(f, rows[i][0], false));
		if (strstr(f->err.text, rows[i][1]) == NULL)
			fail_msg("%s: %s", rows[i][0], f->err.text);
	}
	assert_null(conf_of(f, "community: {file: /etc/shadow}", true));
	assert_int_equal(f->err.code, ERR_DENIED);
}

/* The first test: whoever comes later finds them made. */
static void
standard_names_are_made_whole_or_not_at_all(void **state)
{
	unsigned nth = 1;

	(void)state;
	for (fault_malloc(nth); snmp_names_standard() == NULL; fault_malloc(++nth))
		;
	fault_malloc(0);
	assert_true(nth > 10);
	assert_ptr_equal(snmp_names_standard(), snmp_names_standard());
}

/* Each complaint about the options in yaml, line by line. */
static char *
complaints_about(struct fixture *f, const char *yaml)
{
	struct conf_doc *doc = conf_parse(str_of(yaml), "t", &f->err);
	struct conf_report report;
	char *text;

	assert_non_null(doc);
	conf_report_init(&report, "t");
	if (conf_check(doc->root, snmp_opts, &report))
		snmp_conf_check(doc->root, &report);
	text = str_dup(buf_view(&report.text));
	assert_non_null(text);
	conf_report_fini(&report);
	conf_doc_unref(doc);
	return text;
}

static void
each_fault_is_told_with_its_place(void **state)
{
	static const char *const rows[][2] = {
		{ "version: 2c", "" },
		{ "{version: 3, user: u, authPassword: {env: A}, privPassword: {file: /p}}", "" },
		{ "version: 4", "t:1:10: 'version' is none of 1, 2c, 3: '4'\n" },
		{ "walk: [system, ifTabel,\n  1.3.x]",
		    "t:1:16: neither a number nor a known name: 'ifTabel'\n"
		    "t:2:3: neither a number nor a known name: '1.3.x'\n" },
		{ "get: 1.2.3.\n", "t:1:6: neither a number nor a known name: '1.2.3.'\n" },
		{ "version: 3\nlevel: authNoPriv",
		    "t:1:1: 'user' is missing, which version 3 needs\n"
		    "t:1:1: 'authPassword' is missing, which level authNoPriv needs\n" },
		{ "version: 3\nuser: u\nauthProtocol: ROT13\nprivProtocol: XOR\n"
		  "authPassword: 1234567\nprivPassword: '12345678'",
		    "t:3:15: 'authProtocol' is none of MD5, SHA, SHA-1, SHA-224, SHA-256, "
		    "SHA-384, SHA-512: 'ROT13'\n"
		    "t:4:15: 'privProtocol' is none of DES, AES, AES-128, AES-192, AES-256, "
		    "AES-192C, AES-256C: 'XOR'\n"
		    "t:5:15: 'authPassword' is shorter than 8 bytes\n" },
		{ "names:\n  - {oid: nothing, name: a/b}\n  - {oid: 1.3, name: a/b, more: 1}",
		    "t:2:11: 'oid' is neither a number nor a known name: 'nothing'\n"
		    "t:3:27: unknown key 'more'\n" },
		{ "maxRepetitions: 0", NULL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *text = complaints_about(f, rows[i][0]);

		if (rows[i][1] == NULL)
			assert_string_not_equal(text, "");
		else
			assert_string_equal(text, rows[i][1]);
		free(text);
	}
}

static void
nothing_is_lost_without_memory(void **state)
{
	struct fixture *f = *state;
	struct snmp_conf *conf;
	struct conf_doc *doc;
	unsigned nth = 1;

	doc = conf_parse(STR("{version: 3, user: u, authPassword: longenough, walk: [ifTable],"
	                     " names: [{oid: 1.3.6, name: a/b, index: ifName}]}"),
	    "t", &f->err);
	assert_non_null(doc);
	nth = 1;
	for (fault_malloc(nth); (conf = snmp_conf_new(doc->root, false, &f->err)) == NULL;
	     fault_malloc(++nth))
		assert_true(f->err.code == ERR_NOMEM || strstr(f->err.text, "memory") != NULL);
	fault_malloc(0);
	snmp_conf_free(conf);
	conf_doc_unref(doc);

	for (unsigned i = 0; i < 100; i++) {
		char oid[64];

		snprintf(oid, sizeof(oid), "1.3.6.1.2.1.2.2.1.2.%u", i);
		keep_text(&f->rows, oid, oid);
	}
	nth = 1;
	for (;; fault_malloc(0)) {
		batch_fini(&f->batch);
		fault_malloc(nth++);
		if (snmp_rows_to_batch(
		        &f->rows, &f->lookups, f->names, &f->batch, &f->nameless, &f->err) == 0)
			break;
		assert_int_equal(f->err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	assert_int_equal(f->batch.len, 100);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(standard_names_are_made_whole_or_not_at_all),
		cmocka_unit_test_setup_teardown(each_fault_is_told_with_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(rows_are_called_by_their_names, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    names_come_from_earlier_lookups_too, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    rows_of_the_same_name_are_kept_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_objects_do_not_vanish, setup, teardown),
		cmocka_unit_test_setup_teardown(types_become_kinds, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    number_beyond_its_type_costs_only_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(octets_become_text, setup, teardown),
		cmocka_unit_test_setup_teardown(components_are_fit_for_paths, setup, teardown),
		cmocka_unit_test_setup_teardown(runs_are_put_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(symbols_are_known, setup, teardown),
		cmocka_unit_test_setup_teardown(options_make_a_plan, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    options_that_make_no_sense_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_lost_without_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
