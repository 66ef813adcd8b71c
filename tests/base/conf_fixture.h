/*
 * conf_fixture.h - what the tests of conf share: a tree from a text, and a directory for files.
 */
#ifndef SCOTTY_TESTS_CONF_FIXTURE_H
#define SCOTTY_TESTS_CONF_FIXTURE_H

#include <sys/types.h>

#include "base/conf.h"

/* A directory of the test's own, removed with what is in it; no fd may stay open. */
struct conf_fixture {
	char dir[64];
	char path[128]; /* of the file written last */
	int fds;
};

int conf_fixture_setup(void **state);
int conf_fixture_teardown(void **state);
#define CONF_TEST_WITH_FILES(test)                                                                 \
	cmocka_unit_test_setup_teardown(test, conf_fixture_setup, conf_fixture_teardown)

/* Writes a file below the fixture's directory and returns its path, until the next call. */
const char *write_file(struct conf_fixture *, const char *name, mode_t, struct str text);

/* The tree of a text called "t", which must be good. Caller unrefs. */
struct conf_doc *parse(const char *text);

#endif
