#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/str.h"
#include "scottyd/config.h"

struct fixture {
	char dir[64];
	char file[96];
	char complaints[4096];
	struct flags flags;
	struct config config;
};

static int
set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;
	char *argv[] = { "scottyd" };

	if (f == NULL)
		return -1;
	strcpy(f->dir, "/tmp/scottyd-config-XXXXXX");
	if (mkdtemp(f->dir) == NULL || flags_parse(&f->flags, 1, argv, &err) != 0)
		return -1;
	snprintf(f->file, sizeof(f->file), "%s/scottyd.yaml", f->dir);
	f->flags.config_dir = f->dir;
	*state = f;
	return 0;
}

static int
tear_down(void **state)
{
	struct fixture *f = *state;
	char token[96];

	config_fini(&f->config);
	unlink(f->file);
	snprintf(token, sizeof(token), "%s/token", f->dir);
	unlink(token);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void
write_file(const char *path, const char *text)
{
	FILE *out = fopen(path, "w");

	assert_non_null(out);
	fputs(text, out);
	fclose(out);
}

/* Loads text as the configuration; complaints without the directory. */
static int
load(struct fixture *f, const char *text)
{
	struct conf_report report;
	char *at;
	int rc;

	if (text != NULL)
		write_file(f->file, text);
	config_fini(&f->config);
	conf_report_init(&report, "");
	rc = config_load(&f->config, &f->flags, &report);
	snprintf(f->complaints, sizeof(f->complaints), "%.*s", STR_ARG(buf_view(&report.text)));
	while ((at = strstr(f->complaints, f->dir)) != NULL)
		memmove(at, at + strlen(f->dir) + 1, strlen(at + strlen(f->dir) + 1) + 1);
	conf_report_fini(&report);
	return rc;
}

static void
without_a_file_the_defaults_hold(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, NULL), 0);
	assert_string_equal(f->config.listen, "127.0.0.1:6980");
	assert_string_equal(f->config.state_dir, "/var/lib/scotty");
	assert_string_equal(f->config.mdb_file, "/var/lib/scotty/mdb");
	assert_int_equal(f->config.frequency_ns, 30 * NS_PER_S);
	assert_int_equal(f->config.connect_timeout_ns, 5 * NS_PER_S);
	assert_int_equal(f->config.poll_timeout_ns, 10 * NS_PER_S);
	assert_int_equal(f->config.stale_after_ns, 300 * NS_PER_S);
	assert_int_equal(f->config.max_response, 64 << 20);
	assert_true(f->config.connections >= 1);
	assert_false(f->config.open);
	assert_null(f->config.admin_token);
}

static void
flags_go_over_the_file(void **state)
{
	struct fixture *f = *state;

	f->flags.port = 7000;
	f->flags.connections = 12;
	f->flags.state_dir = "";
	assert_int_equal(load(f, "listen: 127.0.0.2:6980\nstateDir: /x\n"
	                         "collection: {frequency: 5s, connections: 3}\n"),
	    0);
	assert_string_equal(f->config.listen, "127.0.0.2:7000");
	assert_int_equal(f->config.connections, 12);
	assert_string_equal(f->config.state_dir, "");
	assert_int_equal(f->config.frequency_ns, 5 * NS_PER_S);
}

static void
every_complaint_names_its_place(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "lisen: x\n"
	                         "collection:\n"
	                         "  frequency: often\n"
	                         "endpoints:\n"
	                         "  - {host: a, app: b, port: 1}\n"
	                         "  - {host: a, app: b, port: 2}\n"
	                         "  - {host: a, app: c}\n"
	                         "  - {host: a, app: d, port: 1, source: smtp}\n"),
	    -1);
	assert_non_null(strstr(f->complaints, "scottyd.yaml:1:1: "));
	assert_non_null(strstr(f->complaints, "did you mean 'listen'"));
	assert_non_null(strstr(f->complaints, "scottyd.yaml:3:14: "));
	assert_non_null(strstr(
	    f->complaints, "scottyd.yaml:6:5: endpoint a/b is given twice, first in line 5\n"));
	assert_non_null(strstr(f->complaints, "scottyd.yaml:7:5: 'port' is missing\n"));
	assert_non_null(strstr(f->complaints, "no source 'smtp' in this build; there are: "));
}

static void
what_is_no_yaml_is_one_line(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "a: [1\n"), -1);
	assert_ptr_equal(strchr(f->complaints, '\n') + 1, f->complaints + strlen(f->complaints));
	assert_non_null(strstr(f->complaints, "scottyd.yaml:"));
}

static void
a_file_that_is_named_must_be_there(void **state)
{
	struct fixture *f = *state;

	f->flags.config = f->file;
	assert_int_equal(load(f, NULL), -1);
	assert_non_null(strstr(f->complaints, "No such file"));
}

static void
other_machines_are_let_in_on_purpose_only(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "listen: :6980\n"), -1);
	assert_non_null(strstr(f->complaints, "insecure: true"));
	assert_int_equal(load(f, "listen: 0.0.0.0:6980\n"), -1);
	assert_int_equal(load(f, "listen: :6980\ninsecure: true\n"), 0);
	assert_true(f->config.open);
	f->flags.listen = ":6980";
	assert_int_equal(load(f, "collection: {}\n"), 0);
	assert_true(f->config.open);
	f->flags.listen = "[::1]:6980";
	assert_int_equal(load(f, "collection: {}\n"), 0);
	assert_false(f->config.open);
}

static void
the_token_comes_from_a_file_only_we_can_read(void **state)
{
	struct fixture *f = *state;
	char token[96], text[160];

	snprintf(token, sizeof(token), "%s/token", f->dir);
	snprintf(text, sizeof(text), "adminToken: {file: %s}\n", token);
	write_file(token, "s3cret\n");
	chmod(token, 0644);
	assert_int_equal(load(f, text), -1);
	assert_null(strstr(f->complaints, "s3cret"));
	chmod(token, 0600);
	assert_int_equal(load(f, text), 0);
	assert_string_equal(f->config.admin_token, "s3cret");
}

static void
writers_that_are_not_there_are_refused_by_name(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(load(f, "writers: []\n"), 0);
	assert_int_equal(load(f, "writers:\n- carrier-pigeon: {}\n  consumer: {name: x}\n"), -1);
	assert_non_null(strstr(f->complaints, "2:19: Unrecognized fields: carrier-pigeon"));
	assert_int_equal(load(f, "writers:\n- consumer: {name: x}\n"), -1);
	assert_non_null(strstr(f->complaints, "One writer field must be defined."));
}

static void
the_example_is_a_configuration(void **state)
{
	struct fixture *f = *state;
	FILE *out = fopen(f->file, "w");

	assert_non_null(out);
	config_generate(out);
	fclose(out);
	if (load(f, NULL) != 0)
		fail_msg("%s", f->complaints);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		TEST(without_a_file_the_defaults_hold),
		TEST(flags_go_over_the_file),
		TEST(every_complaint_names_its_place),
		TEST(what_is_no_yaml_is_one_line),
		TEST(a_file_that_is_named_must_be_there),
		TEST(other_machines_are_let_in_on_purpose_only),
		TEST(the_token_comes_from_a_file_only_we_can_read),
		TEST(writers_that_are_not_there_are_refused_by_name),
		TEST(the_example_is_a_configuration),
#undef TEST
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
