#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/str.h"

/* PIPE_BUF: the kernel never tears a line of this length apart on its way through a pipe. */
#define LINE_BYTES 4096
#define CUT_MARK   " [cut]"

struct line {
	char p[LINE_BYTES];
	size_t len;
	bool cut;
};

static const char *const level_names[] = {
	[LOG_DEBUG] = "debug",
	[LOG_INFO] = "info",
	[LOG_WARN] = "warn",
	[LOG_ERROR] = "error",
};

static struct lock lock = { PTHREAD_MUTEX_INITIALIZER, LOCK_log };
static atomic_int lowest = LOG_INFO;

void
log_set_level(enum log_level level)
{
	atomic_store_explicit(&lowest, (int)level, memory_order_relaxed);
}

/* All or nothing; always leaves room for the mark and the newline. */
static void
line_add(struct line *line, const char *text, size_t len)
{
	if (len > sizeof(line->p) - sizeof(CUT_MARK) - line->len) {
		line->cut = true;
		return;
	}
	memcpy(line->p + line->len, text, len);
	line->len += len;
}

static void
line_add_time(struct line *line, int64_t real_ns)
{
	time_t seconds = (time_t)(real_ns / NS_PER_S);
	char text[64];
	struct tm tm;
	size_t n;

	gmtime_r(&seconds, &tm);
	n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	line_add(line, text, n);
	n = (size_t)snprintf(text, sizeof(text), ".%03dZ ", (int)(real_ns % NS_PER_S / NS_PER_MS));
	line_add(line, text, n);
}

static void
line_add_hex(struct line *line, unsigned char c)
{
	static const char digits[] = "0123456789abcdef";
	const char text[] = { '\\', 'x', digits[c >> 4], digits[c & 0xF] };

	line_add(line, text, sizeof(text));
}

static void
line_add_escaped(struct line *line, const char *text, size_t len)
{
	while (len > 0 && !line->cut) {
		size_t n = utf8_printable(text, len);

		if (n > 0) {
			line_add(line, text, n);
		} else {
			line_add_hex(line, (unsigned char)text[0]);
			n = 1;
		}
		text += n;
		len -= n;
	}
}

static void
line_end(struct line *line)
{
	if (line->cut) {
		memcpy(line->p + line->len, CUT_MARK, sizeof(CUT_MARK) - 1);
		line->len += sizeof(CUT_MARK) - 1;
	}
	line->p[line->len++] = '\n';
}

/* Nobody could be told of a failure here. */
static void
line_write(const struct line *line)
{
	size_t done = 0;

	while (done < line->len) {
		ssize_t n = write(STDERR_FILENO, line->p + done, line->len - done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
}

void
log_line(enum log_level level, const char *module, const char *fmt, ...)
{
	int saved_errno = errno;
	char text[LINE_BYTES]; /* what is cut off here would not fit the line either */
	struct line line = { .len = 0 };
	va_list args;
	int n;

	if ((int)level < atomic_load_explicit(&lowest, memory_order_relaxed))
		return;
	va_start(args, fmt);
	n = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);

	lock_take(&lock);
	line_add_time(&line, clock_real_ns());
	line_add(&line, level_names[level], strlen(level_names[level]));
	line_add(&line, " ", 1);
	line_add(&line, module, strlen(module));
	line_add(&line, ": ", 2);
	if (n > 0)
		line_add_escaped(&line, text, strnlen(text, sizeof(text)));
	line_end(&line);
	line_write(&line);
	lock_drop(&lock);
	errno = saved_errno;
}
