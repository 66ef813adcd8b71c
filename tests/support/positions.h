/*
 * positions.h - positions of a cursor as a database keeps them, in memory.
 */
#ifndef SCOTTY_TESTS_POSITIONS_H
#define SCOTTY_TESTS_POSITIONS_H

#include "store/cursor.h"

#define POSITIONS_MAX 256

struct positions {
	struct {
		struct cursor_position pos;
		char host[16];
	} kept[POSITIONS_MAX];
	size_t len;
};

/* For cursor_save; ctx is struct positions. All applications are "app". */
int positions_keep(void *ctx, struct cursor_position *, struct err *);
/* The cursor goes on from there. */
void positions_restore(const struct positions *, struct cursor *);

#endif
