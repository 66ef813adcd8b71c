/*
 * scotty/dir_list.h - the regular files of a directory, by name.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_DIR_LIST_H
#define SCOTTY_SCOTTY_DIR_LIST_H

#include <stddef.h>

#include "base/err.h"

struct dir_list {
	char **names; /* sorted */
	size_t len, cap;
};

/* Those of DIR/NAME; a directory that is not there has none. -1 with ERR_IO, ERR_NOMEM: empty. */
int dir_list_read(struct dir_list *, const char *dir, const char *name, struct err *);
void dir_list_fini(struct dir_list *);

#endif
