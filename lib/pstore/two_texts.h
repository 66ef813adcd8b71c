/*
 * pstore/two_texts.h - two texts in one, for prepare_origin of formats where what is of an endpoint
 * comes at two places of a record.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_TWO_TEXTS_H
#define SCOTTY_PSTORE_TWO_TEXTS_H

#include "base/buf.h"

/* Call first, on an empty buf; then append the first text. */
static inline void
two_texts_begin(struct buf *out)
{
	buf_add(out, &(uint32_t){ 0 }, sizeof(uint32_t));
}

/* The first text is whole; then append the second one. */
static inline void
two_texts_second(struct buf *out)
{
	uint32_t len = (uint32_t)(out->len - sizeof(uint32_t));

	if (!out->failed)
		memcpy(out->p, &len, sizeof(len));
}

/* What was made so, taken apart; two empty ones of an empty text. */
static inline void
two_texts_split(struct str text, struct str *first, struct str *second)
{
	uint32_t len = 0;

	if (text.len >= sizeof(len))
		memcpy(&len, text.p, sizeof(len));
	*first = str_sub(text, sizeof(len), len);
	*second = str_sub(text, sizeof(len) + len, text.len);
}

#endif
