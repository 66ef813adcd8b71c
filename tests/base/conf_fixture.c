#include "conf_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "fault.h"

int
conf_fixture_setup(void **state)
{
	static struct conf_fixture f;

	snprintf(f.dir, sizeof(f.dir), "/tmp/conf_test.XXXXXX");
	if (mkdtemp(f.dir) == NULL)
		return -1;
	f.fds = fault_open_fds();
	*state = &f;
	return 0;
}

int
conf_fixture_teardown(void **state)
{
	struct conf_fixture *f = *state;
	char command[128];

	fault_malloc(0);
	snprintf(command, sizeof(command), "rm -r %s", f->dir);
	return system(command) != 0 || fault_open_fds() != f->fds;
}

const char *
write_file(struct conf_fixture *f, const char *name, mode_t mode, struct str text)
{
	FILE *file;

	snprintf(f->path, sizeof(f->path), "%s/%s", f->dir, name);
	file = fopen(f->path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text.p, 1, text.len, file), text.len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(f->path, mode), 0);
	return f->path;
}

struct conf_doc *
parse(const char *text)
{
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(text), "t", &err);

	if (doc == NULL)
		fail_msg("%s\nis refused: %s", text, err.text);
	return doc;
}
