/*
 * The process dies at each labelled step of the journal; what comes back is all that was accepted
 * before, and nothing else.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "journal_fixture.h"

#define TURN_NS (250 * NS_PER_MS)
#define POLLS   40

/* What the process that dies says of itself. */
struct said {
	uint64_t accepted; /* polls */
};

static void
live_and_die(struct fixture *f, const char *crash, struct said *said)
{
	struct err err;

	setenv("SCOTTY_CRASH", crash, 1);
	fixture_start(f);
	for (int i = 0; i < POLLS; i++) {
		uint64_t mark;

		fixture_poll(f);
		mark = journal_mark(f->journal);
		fixture_turn(f, TURN_NS);
		(void)journal_seal(f->journal, clock_real_ns(), &err);
		if (journal_accepted(f->journal, mark))
			said->accepted = f->poll_count;
	}
	fixture_close(f);
	_exit(0);
}

/* Runs it; true if it died at the label. */
static bool
dies(struct fixture *f, const char *crash, struct said *said)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		live_and_die(f, crash, said);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void
check(struct fixture *f, const char *crash, uint64_t accepted, bool all)
{
	struct fixture whole;
	struct err err;

	/* The same fleet again, which was never stopped. */
	fixture_init(&whole);
	fixture_start(&whole);
	for (int i = 0; i < POLLS; i++)
		fixture_poll(&whole);
	assert_int_equal(fixture_open(f, &err), 0);
	if (all && fixture_rows(f->store) < accepted * ENDPOINTS)
		fail_msg("%s: %d polls came back of %d accepted", crash,
		    (int)fixture_rows(f->store), (int)accepted * ENDPOINTS);
	assert_true(fixture_rows(f->store) <= (accepted + 1) * ENDPOINTS);
	fixture_close(f);
	fixture_fini(&whole);
}

static void
it_may_die_at_any_step(void **state)
{
	static const char *const labels[] = { "segment made", "segment begun", "before chunk",
		"after chunk", "before sync", "after sync", "segment closed", "segment dropped",
		"sealed", "sealed file renamed", "before segment goes", "sealed file dropped" };
	struct said *said =
	    mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(said != MAP_FAILED);
	for (size_t i = 0; i < ARRAY_LEN(labels); i++) {
		unsigned deaths = 0;

		for (int nth = 1; nth <= 4; nth++) {
			struct fixture f;
			char crash[64];

			snprintf(crash, sizeof(crash), "%d %s", nth, labels[i]);
			said->accepted = 0;
			fixture_init(&f);
			f.conf.segment_bytes = 2000;
			/* All that is needed stays. */
			f.conf.disk_bytes = strcmp(labels[i], "segment dropped") == 0 ? 1
			                    : strcmp(labels[i], "sealed file dropped") == 0
			                        ? 5000
			                        : 1 << 30;
			if (dies(&f, crash, said)) {
				deaths++;
				check(&f, crash, said->accepted, f.conf.disk_bytes == 1 << 30);
			}
			fixture_fini(&f);
		}
		if (deaths == 0)
			fail_msg("it never came to \"%s\"", labels[i]);
	}
	munmap(said, sizeof(*said));
}

static void
recovery_may_die(void **state)
{
	struct fixture f;
	char name[256], *bytes;
	struct sum sum;
	struct err err;
	size_t len;
	pid_t pid;
	int status;

	(void)state;
	fixture_init(&f);
	fixture_start(&f);
	for (int i = 0; i < 5; i++) {
		fixture_poll(&f);
		fixture_turn(&f, TURN_NS);
		if (i == 3)
			sum = fixture_sum(f.store);
	}
	fixture_close(&f);
	fixture_files(&f, ".sj", name);
	bytes = fixture_read(&f, name, &len);
	fixture_write(&f, name, bytes, len - 1);
	free(bytes);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		setenv("SCOTTY_CRASH", "1 tail copied", 1);
		_exit(fixture_open(&f, &err) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(fixture_open(&f, &err), 0);
	assert_same_sum(fixture_sum(f.store), sum);
	fixture_fini(&f);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(it_may_die_at_any_step),
		cmocka_unit_test(recovery_may_die),
	};

	log_set_level(LOG_ERROR + 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
