#include "edit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RUN 64

void
edit(struct buf *doc, const uint8_t how[EDIT_BYTES])
{
	size_t at, run = 1 + how[3] % MOST_RUN, left;
	struct buf out;

	if (doc->len == 0)
		return;
	at = (how[0] | (size_t)how[1] << 8) % doc->len;
	left = doc->len - at;
	if (run > left)
		run = left;
	buf_init(&out, 0);
	buf_add(&out, doc->p, at);
	switch (how[2] % 5) {
	case 0: /* replace */
		buf_putc(&out, (char)how[3]);
		run = 1;
		break;
	case 1: /* insert */
		buf_putc(&out, (char)how[3]);
		run = 0;
		break;
	case 2: /* take out */
		break;
	case 3: /* repeat */
		buf_add(&out, doc->p + at, run);
		run = 0;
		break;
	case 4: /* the next digit becomes another */
		for (run = 0; run < left && !(doc->p[at + run] >= '0' && doc->p[at + run] <= '9');)
			run++;
		buf_add(&out, doc->p + at, run);
		if (run < left) {
			buf_putc(&out, (char)('0' + how[3] % 10));
			run++;
		}
		break;
	}
	buf_add(&out, doc->p + at + run, left - run);
	buf_fini(doc);
	*doc = out;
}

char *
copy_of(const struct buf *doc)
{
	char *copy = malloc(doc->len + 1);

	assert(copy != NULL);
	if (doc->len > 0)
		memcpy(copy, doc->p, doc->len);
	copy[doc->len] = '\0';
	return copy;
}
