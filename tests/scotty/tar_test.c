#include "scotty/tar.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
	FILE *file;
	struct tar tar;
	struct err err;
	unsigned char bytes[8192]; /* what was written */
	size_t len;
};

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->file = tmpfile();
	assert_non_null(f->file);
	tar_init(&f->tar, f->file, 1234567890);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fclose(f->file);
	free(f);
	return 0;
}

static void
read_back(struct fixture *f)
{
	rewind(f->file);
	f->len = fread(f->bytes, 1, sizeof(f->bytes), f->file);
}

static void
assert_checksum(const unsigned char *header)
{
	unsigned sum = 0;

	for (size_t i = 0; i < 512; i++)
		sum += i >= 148 && i < 156 ? ' ' : header[i];
	assert_int_equal(strtoul((const char *)header + 148, NULL, 8), sum);
}

static void
files_are_whole_blocks(void **state)
{
	struct fixture *f = *state;
	struct err *err = &f->err;

	assert_int_equal(tar_dir(&f->tar, "journal/", err), 0);
	assert_int_equal(tar_file(&f->tar, "journal/1", 5, err), 0);
	assert_int_equal(tar_add(&f->tar, "ab", 2, err), 0);
	assert_int_equal(tar_add(&f->tar, "cde", 3, err), 0);
	assert_int_equal(tar_file(&f->tar, "empty", 0, err), 0);
	assert_int_equal(tar_end(&f->tar, err), 0);
	read_back(f);
	assert_int_equal(f->len, (1 + 2 + 1 + 2) * 512);
	assert_string_equal((char *)f->bytes, "journal/");
	assert_int_equal(f->bytes[156], '5');
	assert_string_equal((char *)f->bytes + 512, "journal/1");
	assert_string_equal((char *)f->bytes + 512 + 100, "0000600");
	assert_string_equal((char *)f->bytes + 512 + 124, "00000000005");
	assert_string_equal((char *)f->bytes + 512 + 136, "11145401322");
	assert_string_equal((char *)f->bytes + 512 + 257, "ustar");
	assert_memory_equal(f->bytes + 1024, "abcde\0\0", 7);
	assert_string_equal((char *)f->bytes + 1536, "empty");
	for (size_t at = 0; at < 4 * 512; at += at == 512 ? 1024 : 512)
		assert_checksum(f->bytes + at);
}

static void
sizes_beyond_octal_are_binary(void **state)
{
	struct fixture *f = *state;
	static const unsigned char size[] = { 0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 1 };

	assert_int_equal(tar_file(&f->tar, "x", (UINT64_C(9) << 30) + 1, &f->err), 0);
	read_back(f);
	assert_memory_equal(f->bytes + 124, size, sizeof(size));
	assert_checksum(f->bytes);
}

static void
names_that_are_too_long_are_refused(void **state)
{
	struct fixture *f = *state;
	char name[TAR_NAME_MOST + 2];

	memset(name, 'n', sizeof(name));
	name[TAR_NAME_MOST + 1] = '\0';
	assert_int_equal(tar_file(&f->tar, name, 0, &f->err), -1);
	assert_int_equal(f->err.code, ERR_LIMIT);
	name[TAR_NAME_MOST] = '\0';
	assert_int_equal(tar_file(&f->tar, name, 0, &f->err), 0);
}

static void
a_file_that_cannot_be_written_gives_an_error(void **state)
{
	struct fixture *f = *state;
	FILE *full = fopen("/dev/full", "w");

	assert_non_null(full);
	setvbuf(full, NULL, _IONBF, 0);
	tar_init(&f->tar, full, 0);
	assert_int_equal(tar_dir(&f->tar, "x/", &f->err), -1);
	assert_int_equal(f->err.code, ERR_IO);
	fclose(full);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(files_are_whole_blocks),
		TEST(sizes_beyond_octal_are_binary),
		TEST(names_that_are_too_long_are_refused),
		TEST(a_file_that_cannot_be_written_gives_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
