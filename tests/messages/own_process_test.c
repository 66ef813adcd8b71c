#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "fault.h"
#include "messages/own.h"

struct fixture {
	struct own *own;
	struct batch batch;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	f.own = own_new(&f.err);
	batch_init(&f.batch, 0);
	*state = &f;
	return f.own == NULL ? -1 : 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	own_free(f->own);
	batch_fini(&f->batch);
	return 0;
}

static void
collect(struct fixture *f)
{
	batch_reset(&f->batch);
	assert_int_equal(own_collect(f->own, &f->batch, 1, &f->err), 0);
	assert_string_equal(f->batch.bad_text, "");
}

static size_t
find(const struct fixture *f, const char *path)
{
	for (size_t i = 0; i < f->batch.len; i++) {
		if (str_eq(f->batch.desc[i].path, str_of(path)))
			return i;
	}
	fail_msg("%s is missing", path);
	return 0;
}

static struct value
value_of(struct fixture *f, const char *path)
{
	collect(f);
	return f->batch.value[find(f, path)];
}

static void
rows_are_tricorders(void **state)
{
	static const struct {
		const char *path, *description, *unit;
		enum kind kind;
		int64_t group;
	} want[] = {
		{ "/proc/args", "Program args", "None", KIND_STRING, 0 },
		{ "/proc/cpu/sys", "User CPU time used", "Seconds", KIND_DURATION, 2 },
		{ "/proc/cpu/user", "User CPU time used", "Seconds", KIND_DURATION, 2 },
		{ "/proc/io/input", "Block input operations", "None", KIND_INT64, 2 },
		{ "/proc/io/num-open-file-descriptors", "Number of open file descriptors", "None",
		    KIND_INT64, 0 },
		{ "/proc/io/output", "Block output operations", "None", KIND_INT64, 2 },
		{ "/proc/ipc/received", "IPC messages received", "None", KIND_INT64, 2 },
		{ "/proc/ipc/sent", "IPC messages sent", "None", KIND_INT64, 2 },
		{ "/proc/memory/hard-page-fault", "Hard page faults", "None", KIND_INT64, 2 },
		{ "/proc/memory/max-resident-set-size", "Maximum resident set size", "Bytes",
		    KIND_INT64, 2 },
		{ "/proc/memory/shared", "Integral shared memory size", "Bytes", KIND_INT64, 2 },
		{ "/proc/memory/soft-page-fault", "Soft page faults", "None", KIND_INT64, 2 },
		{ "/proc/memory/swaps", "Swaps", "None", KIND_INT64, 2 },
		{ "/proc/memory/total", "System memory currently allocated to process", "Bytes",
		    KIND_UINT64, 1 },
		{ "/proc/memory/unshared-data", "Integral unshared data size", "Bytes", KIND_INT64,
		    2 },
		{ "/proc/memory/unshared-stack", "Integral unshared stack size", "Bytes",
		    KIND_INT64, 2 },
		{ "/proc/name", "Program name", "None", KIND_STRING, 0 },
		{ "/proc/scheduler/involuntary-switches", "Involuntary context switches", "None",
		    KIND_INT64, 2 },
		{ "/proc/scheduler/voluntary-switches", "Voluntary context switches", "None",
		    KIND_INT64, 2 },
		{ "/proc/signals/received", "Signals received", "None", KIND_INT64, 2 },
		{ "/proc/start-time", "Program start time", "None", KIND_TIME, 0 },
	};
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	collect(f);
	assert_int_equal(f->batch.len, ARRAY_LEN(want));
	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		const struct metric_desc *desc = &f->batch.desc[i];

		assert_true(str_eq(desc->path, str_of(want[i].path)));
		assert_true(str_eq(desc->description, str_of(want[i].description)));
		assert_true(str_eq(desc->unit, str_of(want[i].unit)));
		assert_int_equal(desc->kind, want[i].kind);
		assert_int_equal(f->batch.group[i], want[i].group);
	}
}

static void
arguments_are_joined_and_made_utf8(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "scott\xFFyd", "-a", "b\xC3", "\xC3\xA9", NULL };

	assert_int_equal(own_add_process(f->own, 4, argv, &f->err), 0);
	assert_true(str_eq(value_of(f, "/proc/name").s, STR("scott\uFFFDyd")));
	assert_true(str_eq(value_of(f, "/proc/args").s, STR("-a|b\uFFFD|\u00e9")));
}

static void
no_arguments_are_empty_texts(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { NULL };

	assert_int_equal(own_add_process(f->own, 0, argv, &f->err), 0);
	assert_int_equal(value_of(f, "/proc/name").s.len, 0);
	assert_int_equal(value_of(f, "/proc/args").s.len, 0);
}

static void
a_process_is_registered_once(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), -1);
	assert_int_equal(f->err.code, ERR_EXISTS);
}

static void
cpu_time_is_that_of_getrusage(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };
	struct rusage before, after;
	volatile uint64_t work = 0;
	int64_t user;

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	do {
		work++;
		getrusage(RUSAGE_SELF, &before);
	} while (before.ru_utime.tv_sec == 0 && before.ru_utime.tv_usec < 1000);
	user = value_of(f, "/proc/cpu/user").i;
	getrusage(RUSAGE_SELF, &after);
	assert_in_range(user, before.ru_utime.tv_sec * NS_PER_S + before.ru_utime.tv_usec * 1000,
	    after.ru_utime.tv_sec * NS_PER_S + after.ru_utime.tv_usec * 1000);
}

static void
memory_is_the_resident_set(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };
	size_t size = 32 << 20;
	uint64_t before, after;
	int64_t most;
	char *block;

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	before = value_of(f, "/proc/memory/total").u;
	block = malloc(size);
	assert_non_null(block);
	memset(block, 1, size);
	after = value_of(f, "/proc/memory/total").u;
	most = value_of(f, "/proc/memory/max-resident-set-size").i;
	assert_int_equal(block[size / 2], 1);
	free(block);
	assert_int_equal(before % (uint64_t)sysconf(_SC_PAGESIZE), 0);
	assert_true(after >= before + size / 2);
	assert_true(most >= (int64_t)size);
}

static void
open_descriptors_are_counted(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };
	int64_t before;
	int fd;

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	before = value_of(f, "/proc/io/num-open-file-descriptors").i;
	assert_int_equal(before, fault_open_fds());
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(value_of(f, "/proc/io/num-open-file-descriptors").i, before + 1);
	close(fd);
	assert_int_equal(value_of(f, "/proc/io/num-open-file-descriptors").i, before);
	assert_int_equal(fault_open_fds(), before);
}

static void
without_descriptors_the_last_values_stand(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };
	struct rlimit was, none;
	int64_t fds;
	uint64_t memory;

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	fds = value_of(f, "/proc/io/num-open-file-descriptors").i;
	memory = value_of(f, "/proc/memory/total").u;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	none = was;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	collect(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_int_equal(f->batch.value[find(f, "/proc/io/num-open-file-descriptors")].i, fds);
	assert_int_equal(f->batch.value[find(f, "/proc/memory/total")].u, memory);
}

static void
the_start_time_stays(void **state)
{
	struct fixture *f = *state;
	char *argv[] = { "x", NULL };
	int64_t start;

	assert_int_equal(own_add_process(f->own, 1, argv, &f->err), 0);
	start = value_of(f, "/proc/start-time").i;
	assert_true(start > INT64_C(1500000000) * NS_PER_S);
	assert_int_equal(value_of(f, "/proc/start-time").i, start);
}

static void
without_memory_nothing_is_registered(void **state)
{
	char *argv[] = { "scottyd", "-config", "a file with a name that is longer than a small buf",
		NULL };
	unsigned nth = 0;
	bool happened;

	(void)state;
	do {
		struct err err = { .code = ERR_NONE };
		struct own *own = own_new(&err);
		struct batch b;
		int rc;

		assert_non_null(own);
		batch_init(&b, 0);
		fault_malloc(++nth);
		rc = own_add_process(own, 3, argv, &err);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(rc, happened ? -1 : 0);
		assert_int_equal(err.code, happened ? ERR_NOMEM : ERR_NONE);
		assert_int_equal(own_collect(own, &b, 1, &err), 0);
		assert_int_equal(b.len == 0, happened);
		own_free(own);
		batch_fini(&b);
	} while (happened);
	assert_true(nth > 3);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rows_are_tricorders, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    arguments_are_joined_and_made_utf8, setup, teardown),
		cmocka_unit_test_setup_teardown(no_arguments_are_empty_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_process_is_registered_once, setup, teardown),
		cmocka_unit_test_setup_teardown(cpu_time_is_that_of_getrusage, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_is_the_resident_set, setup, teardown),
		cmocka_unit_test_setup_teardown(open_descriptors_are_counted, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    without_descriptors_the_last_values_stand, setup, teardown),
		cmocka_unit_test_setup_teardown(the_start_time_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    without_memory_nothing_is_registered, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
