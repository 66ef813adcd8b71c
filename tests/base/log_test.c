#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/str.h"

#define LINE_BYTES 4096

/* Standard error becomes a socket of packets, so that each write is one packet. */
struct fixture {
	int read_fd, saved_fd;
};

static int
setup(void **state)
{
	static struct fixture f;
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0)
		return -1;
	f.read_fd = fds[0];
	f.saved_fd = dup(STDERR_FILENO);
	dup2(fds[1], STDERR_FILENO);
	close(fds[1]);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	log_set_level(LOG_INFO);
	dup2(f->saved_fd, STDERR_FILENO);
	close(f->saved_fd);
	close(f->read_fd);
	return 0;
}

/* The next packet, ended by a NUL; false if there is none. */
static bool
next_packet(struct fixture *f, char *text, size_t size)
{
	ssize_t n = recv(f->read_fd, text, size - 1, MSG_DONTWAIT);

	if (n < 0)
		return false;
	text[n] = '\0';
	return true;
}

/* What one log_line wrote behind "TIME warn test: ", without the newline. */
static struct str
next_text(struct fixture *f, char *line, size_t size)
{
	static const char head[] = "2026-11-21T01:02:03.456Z warn test: ";
	size_t len;

	assert_true(next_packet(f, line, size));
	len = strlen(line);
	assert_true(len >= sizeof(head));
	assert_int_equal(line[len - 1], '\n');
	assert_memory_equal(line + strlen("2026-11-21T01:02:03.456Z"), " warn test: ", 12);
	return (struct str){ line + sizeof(head) - 1, len - sizeof(head) };
}

static void
a_line_has_time_level_module_and_text(void **state)
{
	static const char pattern[] =
	    "^20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z "
	    "info poller: web1: state=down\n$";
	char line[LINE_BYTES + 1];
	regex_t regex;

	log_info("poller", "%s: state=%s", "web1", "down");
	assert_true(next_packet(*state, line, sizeof(line)));
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	if (regexec(&regex, line, 0, NULL, 0) != 0)
		fail_msg("%s", line);
	regfree(&regex);
	assert_false(next_packet(*state, line, sizeof(line)));
}

static void
lines_below_the_level_are_dropped(void **state)
{
	static const char *const names[] = { "debug", "info", "warn", "error" };
	char line[LINE_BYTES + 1], want[32];

	for (int lowest = LOG_DEBUG; lowest <= LOG_ERROR; lowest++) {
		log_set_level((enum log_level)lowest);
		log_debug("m", "x");
		log_info("m", "x");
		log_warn("m", "x");
		log_error("m", "x");
		for (int level = lowest; level <= LOG_ERROR; level++) {
			assert_true(next_packet(*state, line, sizeof(line)));
			snprintf(want, sizeof(want), " %s m: x\n", names[level]);
			assert_string_equal(line + strlen("2026-11-21T01:02:03.456Z"), want);
		}
		assert_false(next_packet(*state, line, sizeof(line)));
	}
}

static void
what_could_forge_a_line_is_escaped(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{ "plain ~ \\ text", "plain ~ \\ text" },
		{ "", "" },
		{ "a\nb\r\tc", "a\\x0ab\\x0d\\x09c" },
		{ "\x1b[31m\x7f", "\\x1b[31m\\x7f" },
		{ "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		    "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "\xc3", "\\xc3" },
		{ "\xc3(", "\\xc3(" },
		{ "\xe2\x82z", "\\xe2\\x82z" },
		{ "\xc0\x8a", "\\xc0\\x8a" },                   /* overlong newline */
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },          /* surrogate */
		{ "\xc2\x9bm\xc2\xa0", "\\xc2\\x9bm\xc2\xa0" }, /* CSI; no-break space */
		{ "\xc3\xa9\xa9", "\xc3\xa9\\xa9" },
		{ "\x80\x80\x80\x80\x80\x80", "\\x80\\x80\\x80\\x80\\x80\\x80" },
	};
	char line[LINE_BYTES + 1];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct str got;

		log_warn("test", "%s", rows[i].text);
		got = next_text(*state, line, sizeof(line));
		if (!str_eq(got, str_of(rows[i].want)))
			fail_msg("row %zu: %s", i, line);
	}
}

static void
an_overlong_line_is_cut_with_a_mark(void **state)
{
	static const struct {
		const char *unit, *shown;
	} rows[] = {
		{ "x", "x" },
		{ "\n", "\\x0a" },
		{ "\xc3\xa9", "\xc3\xa9" },
		{ "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
	};
	char text[3 * LINE_BYTES], line[2 * LINE_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t n = strlen(rows[i].unit), shown = strlen(rows[i].shown), len = 0;
		struct str got;

		for (; len + n < sizeof(text); len += n)
			memcpy(text + len, rows[i].unit, n);
		text[len] = '\0';
		log_warn("test", "%s", text);
		got = next_text(*state, line, sizeof(line));
		assert_in_range(strlen(line), LINE_BYTES - 3, LINE_BYTES);
		assert_true(str_ends(got, STR(" [cut]")));
		got.len -= strlen(" [cut]");
		assert_int_equal(got.len % shown, 0);
		for (; got.len > 0; got = str_sub(got, shown, SIZE_MAX))
			assert_memory_equal(got.p, rows[i].shown, shown);
		assert_false(next_packet(*state, line, sizeof(line)));
	}
}

/* Around the length where the mark comes in. */
static void
no_line_is_cut_without_need(void **state)
{
	char text[LINE_BYTES], line[2 * LINE_BYTES];
	size_t longest = 0;

	memset(text, 'x', sizeof(text));
	for (int len = LINE_BYTES - 60; len < LINE_BYTES; len++) {
		struct str got;

		log_warn("test", "%.*s", len, text);
		got = next_text(*state, line, sizeof(line));
		assert_true(strlen(line) <= LINE_BYTES);
		if (!str_ends(got, STR("[cut]"))) {
			assert_int_equal(got.len, len);
			longest = strlen(line);
		}
	}
	assert_in_range(longest, LINE_BYTES - 10, LINE_BYTES);
}

static void
errno_is_left_alone(void **state)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int packets = dup(STDERR_FILENO);
	int after;

	(void)state;
	dup2(null, STDERR_FILENO); /* a write fails with EBADF */
	errno = ETIMEDOUT;
	log_warn("test", "x");
	after = errno;
	dup2(packets, STDERR_FILENO);
	close(packets);
	close(null);
	assert_int_equal(after, ETIMEDOUT);
}

static void *
log_some(void *name)
{
	for (int i = 0; i < 50; i++)
		log_warn("test", "%s %d", (const char *)name, i);
	return NULL;
}

static void
lines_of_threads_do_not_mix(void **state)
{
	static char names[][2] = { "0", "1", "2", "3" };
	int next[ARRAY_LEN(names)] = { 0 };
	pthread_t threads[ARRAY_LEN(names)];
	char line[LINE_BYTES + 1];

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_some, names[i]), 0);
	/* Read as they come, as the socket holds only so many. */
	for (size_t i = 0; i < ARRAY_LEN(names) * 50; i++) {
		struct fixture *f = *state;
		struct str got;
		char want[16];
		size_t who;

		assert_true(recv(f->read_fd, line, 1, MSG_PEEK) == 1);
		got = next_text(f, line, sizeof(line));
		who = (size_t)(got.p[0] - '0');
		assert_true(who < ARRAY_LEN(names));
		snprintf(want, sizeof(want), "%zu %d", who, next[who]++);
		assert_true(str_eq(got, str_of(want)));
	}
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_false(next_packet(*state, line, sizeof(line)));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_line_has_time_level_module_and_text),
		TEST(lines_below_the_level_are_dropped),
		TEST(what_could_forge_a_line_is_escaped),
		TEST(an_overlong_line_is_cut_with_a_mark),
		TEST(no_line_is_cut_without_need),
		TEST(errno_is_left_alone),
		TEST(lines_of_threads_do_not_mix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
