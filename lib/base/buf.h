/*
 * base/buf.h - bytes that grow.
 *
 * Failure sticks: once memory runs out or the limit is reached, `failed` is set, further
 * appends do nothing, and the caller looks once at the end.
 *
 * Threads: a buf belongs to its owner.
 */
#ifndef SCOTTY_BASE_BUF_H
#define SCOTTY_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct buf {
	char *p; /* owned; NULL until the first append */
	size_t len, cap;
	size_t limit; /* most bytes it may hold; 0 = as memory allows */
	bool failed;
};

void buf_init(struct buf *, size_t limit_bytes);
void buf_fini(struct buf *);
/* The same for secrets: what it holds is overwritten first. */
void buf_wipe(struct buf *);
/* Empties it and clears failed; keeps the memory. */
void buf_clear(struct buf *);
/* Makes room for n more bytes; false (and failed) if it can't. */
bool buf_reserve(struct buf *, size_t n);
void buf_add(struct buf *, const void *, size_t len);
void buf_puts(struct buf *, const char *);
void buf_str(struct buf *, struct str);
void buf_u64(struct buf *, uint64_t);
void buf_i64(struct buf *, int64_t);
void buf_printf(struct buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *, const char *fmt, va_list) __attribute__((format(printf, 2, 0)));
/* Drops the first n bytes (n <= len) and moves the rest to the front. */
void buf_drop(struct buf *, size_t n);

static inline void
buf_putc(struct buf *b, char c)
{
	if (b->len < b->cap && !b->failed)
		b->p[b->len++] = c;
	else
		buf_add(b, &c, 1);
}

static inline struct str
buf_view(const struct buf *b)
{
	return (struct str){ b->p, b->len };
}

#endif
