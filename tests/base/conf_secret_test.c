#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/conf.h"
#include "conf_fixture.h"
#include "fault.h"

/* conf_secret of the key "s" in text; NULL: of a map that names the fixture's last file. */
static int
secret(struct conf_fixture *f, const char *text, char **out, struct err *err)
{
	struct conf_doc *doc;
	char of_file[256];
	int rc;

	snprintf(of_file, sizeof(of_file), "s: {file: %s}\n", f->path);
	doc = parse(text == NULL ? of_file : text);
	*out = NULL;
	rc = conf_secret(doc->root, "s", out, err);
	conf_doc_unref(doc);
	return rc;
}

static void
assert_secret(struct conf_fixture *f, const char *text, const char *wanted)
{
	struct err err;
	char *out;

	assert_int_equal(secret(f, text, &out, &err), 0);
	if (wanted == NULL)
		assert_null(out);
	else
		assert_string_equal(out, wanted);
	conf_secret_free(out);
}

static void
assert_no_secret(struct conf_fixture *f, const char *text, const char *why)
{
	struct err err = { .code = ERR_NONE };
	char *out;

	assert_int_equal(secret(f, text, &out, &err), -1);
	assert_null(out);
	assert_int_equal(err.code, ERR_CONFIG);
	assert_true(str_starts(str_of(err.text), STR("s: ")));
	if (strstr(err.text, why) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", err.text, why);
	assert_null(strstr(err.text, "hunter2"));
}

static void
a_secret_comes_from_text_file_or_environment(void **state)
{
	struct conf_fixture *f = *state;

	assert_secret(f, "s: hunter2\n", "hunter2");
	assert_secret(f, "s: ''\n", "");
	assert_secret(f, "s: 'null'\n", "null");
	assert_secret(f, "s:\n", NULL);
	assert_secret(f, "t: x\n", NULL);
	assert_secret(f, "", NULL);

	write_file(f, "secret", 0600, STR("hunter2\n"));
	assert_secret(f, NULL, "hunter2");
	write_file(f, "secret", 0400, STR("hunter2\n\n"));
	assert_secret(f, NULL, "hunter2\n");
	assert_int_equal(unlink(f->path), 0);
	write_file(f, "secret", 0620, STR("hunter2"));
	assert_secret(f, NULL, "hunter2");

	assert_int_equal(setenv("CONF_TEST_SECRET", "hunter2\n", 1), 0);
	assert_secret(f, "s: {env: CONF_TEST_SECRET}\n", "hunter2\n");
	conf_secret_free(NULL);
}

static void
a_bad_secret_is_refused_and_not_shown(void **state)
{
	struct conf_fixture *f = *state;
	static const mode_t modes[] = { 0640, 0604, 0644, 0444 };
	char wanted[256];

	assert_no_secret(f, "s: [hunter2]\n", "wants a text, {file: PATH} or {env: NAME}");
	assert_no_secret(f, "s: {hunter2}\n", "wants a text, {file: PATH} or {env: NAME}");
	for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
		write_file(f, "secret", modes[i], STR("hunter2\n"));
		snprintf(wanted, sizeof(wanted),
		    "group or others can read it (mode %04o); run: chmod 600 %s",
		    (unsigned)modes[i], f->path);
		assert_no_secret(f, NULL, wanted);
		assert_int_equal(unlink(f->path), 0);
	}
	write_file(f, "secret", 0600, STR("\n"));
	assert_no_secret(f, NULL, "secret: empty");
	write_file(f, "secret", 0600, STR("hunter2\0hunter2"));
	assert_no_secret(f, NULL, "holds a NUL byte");
	assert_int_equal(unlink(f->path), 0);
	assert_no_secret(f, NULL, "No such file or directory");
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_no_secret(f, NULL, "not a regular file");
	assert_int_equal(rmdir(f->path), 0);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_no_secret(f, NULL, "not a regular file");

	assert_int_equal(unsetenv("CONF_TEST_SECRET"), 0);
	assert_no_secret(
	    f, "s: {env: CONF_TEST_SECRET}\n", "environment variable CONF_TEST_SECRET is not set");
	assert_int_equal(setenv("CONF_TEST_SECRET", "", 1), 0);
	assert_no_secret(
	    f, "s: {env: CONF_TEST_SECRET}\n", "environment variable CONF_TEST_SECRET is empty");
}

static void
a_secret_has_at_most_64_kib(void **state)
{
	struct conf_fixture *f = *state;
	static char text[64 * 1024 + 1];
	struct err err;
	char *out;

	memset(text, 'x', sizeof(text));
	write_file(f, "secret", 0600, (struct str){ text, sizeof(text) - 1 });
	assert_int_equal(secret(f, NULL, &out, &err), 0);
	assert_int_equal(strlen(out), sizeof(text) - 1);
	conf_secret_free(out);
	write_file(f, "secret", 0600, (struct str){ text, sizeof(text) });
	assert_no_secret(f, NULL, "longer than 65536 bytes");
}

static void
a_secret_without_memory_fails_cleanly(void **state)
{
	struct conf_fixture *f = *state;
	struct conf_doc *doc;
	struct err err;
	char text[256], *out = NULL;
	unsigned nth = 1;

	write_file(f, "secret", 0600, STR("hunter2"));
	snprintf(text, sizeof(text), "s: {file: %s}\n", f->path);
	doc = parse(text);
	for (fault_malloc(nth); conf_secret(doc->root, "s", &out, &err) != 0; fault_malloc(++nth)) {
		assert_int_equal(err.code, ERR_NOMEM);
		assert_null(out);
	}
	fault_malloc(0);
	assert_int_equal(nth, 3);
	conf_secret_free(out);
	conf_doc_unref(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		CONF_TEST_WITH_FILES(a_secret_comes_from_text_file_or_environment),
		CONF_TEST_WITH_FILES(a_bad_secret_is_refused_and_not_shown),
		CONF_TEST_WITH_FILES(a_secret_has_at_most_64_kib),
		CONF_TEST_WITH_FILES(a_secret_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
