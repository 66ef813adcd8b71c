#include "base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void
buf_init(struct buf *b, size_t limit_bytes)
{
	*b = (struct buf){ .limit = limit_bytes };
}

void
buf_fini(struct buf *b)
{
	free(b->p);
	buf_init(b, b->limit);
}

void
buf_wipe(struct buf *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->cap);
	buf_fini(b);
}

void
buf_clear(struct buf *b)
{
	b->len = 0;
	b->failed = false;
}

/* Doubles, for appends at a constant cost each, within needed and max. */
static size_t
next_cap(size_t cap, size_t needed, size_t max)
{
	size_t next = cap < FIRST_CAP / 2 ? FIRST_CAP : cap > max / 2 ? max : cap * 2;

	if (next < needed)
		next = needed;
	return next < max ? next : max;
}

bool
buf_reserve(struct buf *b, size_t n)
{
	/* The block has one byte more than cap, where vsnprintf may put its NUL. */
	size_t max = b->limit != 0 && b->limit < PTRDIFF_MAX ? b->limit : PTRDIFF_MAX - 1;
	size_t cap;
	char *p;

	if (b->failed)
		return false;
	if (n <= b->cap - b->len)
		return true;
	if (n > max - b->len)
		goto failed;
	cap = next_cap(b->cap, b->len + n, max);
	p = realloc(b->p, cap + 1);
	if (p == NULL)
		goto failed;
	b->p = p;
	b->cap = cap;
	return true;
failed:
	b->failed = true;
	return false;
}

void
buf_add(struct buf *b, const void *bytes, size_t len)
{
	if (len == 0 || !buf_reserve(b, len))
		return;
	memcpy(b->p + b->len, bytes, len);
	b->len += len;
}

void
buf_puts(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void
buf_str(struct buf *b, struct str s)
{
	buf_add(b, s.p, s.len);
}

void
buf_u64(struct buf *b, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value != 0);
	buf_add(b, digits + at, sizeof(digits) - at);
}

void
buf_i64(struct buf *b, int64_t value)
{
	if (value >= 0) {
		buf_u64(b, (uint64_t)value);
		return;
	}
	buf_putc(b, '-');
	buf_u64(b, -(uint64_t)value);
}

void
buf_vprintf(struct buf *b, const char *fmt, va_list args)
{
	char *end = NULL;
	size_t room = 0;
	va_list again;
	int n;

	if (b->failed)
		return;
	if (b->p != NULL) {
		end = b->p + b->len;
		room = b->cap - b->len + 1;
	}
	va_copy(again, args);
	n = vsnprintf(end, room, fmt, args);
	if (n < 0) {
		b->failed = true;
	} else if ((size_t)n <= b->cap - b->len) {
		b->len += (size_t)n;
	} else if (buf_reserve(b, (size_t)n)) {
		vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void
buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(b, fmt, args);
	va_end(args);
}

void
buf_drop(struct buf *b, size_t n)
{
	assert(n <= b->len);
	if (n == 0)
		return;
	b->len -= n;
	memmove(b->p, b->p + n, b->len);
}
