#include "fleet/mdb_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "fault.h"
#include "fleet/files_priv.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__OPTIMIZE__)
#define IS_SLOW_BUILD true
#else
#define IS_SLOW_BUILD false
#endif

static const char two_machines[] =
    "[{\"Hostname\": \"h2\", \"IpAddress\": \"10.0.0.2\","
    "  \"AwsMetadata\": {\"AccountId\": \"1\", \"Region\": \"us-east-1\", \"Tags\": {\"k\": "
    "\"v\"}}},"
    " {\"Hostname\": \"h1\", \"OwnerGroup\": null, \"DisableUpdates\": true}]";

/* "HOST IP REGION, HOST IP REGION, ...; SKIPPED" */
static void
assert_list(const char *text, const char *expected)
{
	struct err err;
	struct machine_list *list = mdb_parse(str_of(text), &err);
	struct buf got;

	if (list == NULL) {
		fail_msg("%s: %s", text, err.text);
		return;
	}
	buf_init(&got, 0);
	for (size_t i = 0; i < list->len; i++)
		buf_printf(&got, "%s%.*s %.*s %.*s", i == 0 ? "" : ", ",
		    STR_ARG(list->machines[i].host), STR_ARG(list->machines[i].ip),
		    STR_ARG(list->machines[i].region));
	buf_printf(&got, "; %zu", list->skipped);
	buf_putc(&got, '\0');
	assert_false(got.failed);
	assert_string_equal(got.p, expected);
	buf_fini(&got);
	machine_list_free(list);
}

static void
machines_come_sorted_by_host(void **state)
{
	(void)state;
	assert_list(two_machines, "h1  , h2 10.0.0.2 us-east-1; 0");
	assert_list("[]", "; 0");
	assert_list(" \n[ ] \r\n\t", "; 0");
	assert_list("[{\"Hostname\":\"b\"},{\"Hostname\":\"ab\"},{\"Hostname\":\"a\"}]",
	    "a  , ab  , b  ; 0");
}

static void
keys_count_in_any_case(void **state)
{
	(void)state;
	assert_list("[{\"HOSTNAME\":\"h\",\"ipaddress\":\"1.2.3.4\","
	            "\"awsmetadata\":{\"rEGION\":\"r\"}}]",
	    "h 1.2.3.4 r; 0");
}

static void
of_several_with_one_name_the_first_counts(void **state)
{
	(void)state;
	assert_list("[{\"Hostname\":\"h\",\"IpAddress\":\"1.1.1.1\"},{\"Hostname\":\"g\"},"
	            "{\"Hostname\":\"h\",\"IpAddress\":\"2.2.2.2\"},{\"Hostname\":\"h\"}]",
	    "g  , h 1.1.1.1 ; 2");
}

static void
elements_without_a_usable_name_are_skipped(void **state)
{
	char text[1024], name[300];

	(void)state;
	assert_list(
	    "[1, null, \"h\", [], {}, {\"Hostname\": 3}, {\"Hostname\": \"\"},"
	    "{\"Hostname\": \"a/b\"}, {\"Hostname\": \"a\\nb\"}, {\"Hostname\": \"a\\u0000\"},"
	    "{\"Hostname\": \"a\\u007f\"}, {\"Hostname\": \"good\"}]",
	    "good  ; 11");
	memset(name, 'x', sizeof(name));
	name[256] = '\0';
	snprintf(text, sizeof(text), "[{\"Hostname\": \"%s\"}]", name);
	assert_list(text, "; 1");
	/* Nothing to connect to. */
	assert_list("[{\"Hostname\": \"*1\"}, {\"Hostname\": \"*2\", \"IpAddress\": \"::1\"}]",
	    "*2 ::1 ; 1");
}

static void
addresses_and_regions_that_make_no_sense_are_left_out(void **state)
{
	(void)state;
	assert_list("[{\"Hostname\": \"h\", \"IpAddress\": 10, \"AwsMetadata\": \"x\"}]", "h  ; 0");
	assert_list("[{\"Hostname\": \"h\", \"IpAddress\": \"a\\tb\","
	            "\"AwsMetadata\": {\"Region\": [\"r\"]}}]",
	    "h  ; 0");
	assert_list(
	    "[{\"Hostname\": \"h\", \"AwsMetadata\": {\"Region\": \"eu/west\"}}]", "h  eu/west; 0");
}

static const struct {
	const char *text, *error;
} bad_texts[] = {
	{ "", "not JSON: ends in the middle, at byte 0" },
	{ "[", "not JSON: ends in the middle, at byte 1" },
	{ "[{\"Hostname\": \"h\"}", "not JSON: ends in the middle, at byte 18" },
	{ "[{\"Hostname\": \"h", "not JSON: ends in the middle, at byte 16" },
	{ "{}", "not a list of machines" },
	{ "null\n", "not a list of machines" },
	{ "\"h\"", "not a list of machines" },
	{ "[] []", NULL },
	{ "[]x", NULL },
	{ "[{},]", NULL },
	{ "[{'Hostname': 'h'}]", NULL },
	{ "/* h */ []", NULL },
	{ "[\"\xff\"]", NULL },
};

static void
what_is_not_a_list_is_refused_with_its_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(bad_texts); i++) {
		struct err err;
		struct machine_list *list = mdb_parse(str_of(bad_texts[i].text), &err);

		if (list != NULL)
			fail_msg("taken: %s", bad_texts[i].text);
		assert_int_equal(err.code, ERR_PROTO);
		if (bad_texts[i].error != NULL)
			assert_string_equal(err.text, bad_texts[i].error);
		else
			assert_non_null(strstr(err.text, "not JSON at byte "));
	}
}

static void
bytes_after_a_nul_are_not_overlooked(void **state)
{
	struct err err;

	(void)state;
	assert_null(mdb_parse(STR("[]\0[]"), &err));
	assert_string_equal(err.text, "not JSON at byte 2: text after the end");
}

static void
deep_nesting_is_refused(void **state)
{
	char text[2001];
	struct err err;

	(void)state;
	memset(text, '[', 1000);
	memset(text + 1000, ']', 1000);
	text[2000] = '\0';
	assert_null(mdb_parse(str_of(text), &err));
	assert_int_equal(err.code, ERR_PROTO);
}

static void
parsing_without_memory_fails_cleanly(void **state)
{
	struct machine_list *list = NULL;
	struct err err;

	(void)state;
	for (unsigned nth = 1; list == NULL; nth++) {
		fault_malloc(nth);
		list = mdb_parse(str_of(two_machines), &err);
		if (list == NULL)
			assert_int_equal(err.code, ERR_NOMEM);
	}
	assert_false(fault_happened());
	fault_malloc(0);
	assert_int_equal(list->len, 2);
	machine_list_free(list);
}

/* A list of 20,000 machines in a file that is gone when it is closed. */
static FILE *
big_file(char *path)
{
	int fd = mkstemp(path);
	FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

	assert_non_null(f);
	fputs("[", f);
	for (int i = 0; i < 20000; i++)
		fprintf(f,
		    "%s{\"Hostname\":\"host%05d.example.com\",\"IpAddress\":\"10.%d.%d.1\","
		    "\"RequiredImage\":\"base/image/2016-10-01\",\"AwsMetadata\":"
		    "{\"AccountId\":\"123456789012\",\"AccountName\":\"prod\","
		    "\"InstanceId\":\"i-0123456789abcdef0\",\"Region\":\"us-east-1\","
		    "\"Tags\":{\"Name\":\"host%05d\",\"Team\":\"infrastructure\"}}}\n",
		    i == 0 ? "" : ",", (i * 7919) % 20000, i / 256, i % 256, i);
	fputs("]", f);
	fflush(f);
	return f;
}

static struct machine_list *
load(const char *path)
{
	struct machine_list *list;
	struct buf text;
	struct err err;

	buf_init(&text, 0);
	if (file_read(path, MDB_BYTES_MAX, &text, &err) != 0)
		fail_msg("%s", err.text);
	list = mdb_parse(buf_view(&text), &err);
	buf_fini(&text);
	return list;
}

static void
twenty_thousand_machines_load_within_a_second(void **state)
{
	char path[] = "/tmp/scotty-test-XXXXXX";
	FILE *f = big_file(path);
	clock_t began = clock(); /* of the processor, so that other tests may run beside it */
	struct machine_list *list = load(path);
	double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;

	(void)state;
	fclose(f);
	unlink(path);
	assert_non_null(list);
	assert_int_equal(list->len, 20000);
	assert_int_equal(list->skipped, 0);
	print_message("20,000 machines loaded in %.3f s\n", seconds);
	if (!IS_SLOW_BUILD)
		assert_true(seconds < 1);
	machine_list_free(list);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(machines_come_sorted_by_host),
		cmocka_unit_test(keys_count_in_any_case),
		cmocka_unit_test(of_several_with_one_name_the_first_counts),
		cmocka_unit_test(elements_without_a_usable_name_are_skipped),
		cmocka_unit_test(addresses_and_regions_that_make_no_sense_are_left_out),
		cmocka_unit_test(what_is_not_a_list_is_refused_with_its_place),
		cmocka_unit_test(bytes_after_a_nul_are_not_overlooked),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(parsing_without_memory_fails_cleanly),
		cmocka_unit_test(twenty_thousand_machines_load_within_a_second),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
