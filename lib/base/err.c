#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

/* A text under construction: callers may pass the err's own text as an argument. */
struct draft {
	char text[ERR_TEXT_BYTES];
	size_t len;
};

/* How much of text is left without the character that the cut at its end made incomplete. */
static size_t
whole_characters(const char *text, size_t len)
{
	size_t lead = len;

	/* An incomplete one has at most two bytes after its first. */
	while (lead > 0 && len - lead < 2 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
		lead--;
	if (lead == 0 || (unsigned char)text[lead - 1] < 0xC0)
		return len;
	lead--;
	return lead + utf8_valid_prefix(text + lead, len - lead);
}

__attribute__((format(printf, 2, 0))) static void
draft_vadd(struct draft *d, const char *fmt, va_list args)
{
	size_t room = sizeof(d->text) - d->len;
	int n = vsnprintf(d->text + d->len, room, fmt, args);

	if (n > 0 && (size_t)n < room)
		d->len += (size_t)n;
	else if (n > 0)
		d->len = whole_characters(d->text, sizeof(d->text) - 1);
	d->text[d->len] = '\0';
}

__attribute__((format(printf, 2, 3))) static void
draft_add(struct draft *d, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	draft_vadd(d, fmt, args);
	va_end(args);
}

static void
draft_finish(const struct draft *d, struct err *err, enum err_code code)
{
	err->code = code;
	memcpy(err->text, d->text, d->len + 1);
}

void
err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	struct draft draft = { .len = 0 };
	va_list args;

	assert(err != NULL);
	va_start(args, fmt);
	draft_vadd(&draft, fmt, args);
	va_end(args);
	draft_finish(&draft, err, code);
}

void
err_errno(struct err *err, int errnum, const char *fmt, ...)
{
	struct draft draft = { .len = 0 };
	char reason[128];
	va_list args;

	assert(err != NULL);
	va_start(args, fmt);
	draft_vadd(&draft, fmt, args);
	va_end(args);
	draft_add(&draft, ": %s", strerror_r(errnum, reason, sizeof(reason)));
	draft_finish(&draft, err, errnum == ENOMEM ? ERR_NOMEM : ERR_IO);
}

void
err_nomem(struct err *err)
{
	err_set(err, ERR_NOMEM, "out of memory");
}

void
err_wrap(struct err *err, const char *fmt, ...)
{
	struct draft draft = { .len = 0 };
	va_list args;

	assert(err != NULL);
	va_start(args, fmt);
	draft_vadd(&draft, fmt, args);
	va_end(args);
	draft_add(&draft, ": %s", err->text);
	draft_finish(&draft, err, err->code);
}
