/*
 * fuzz/edit.h - small changes to a document, for targets that read it again and again.
 */
#ifndef SCOTTY_TESTS_FUZZ_EDIT_H
#define SCOTTY_TESTS_FUZZ_EDIT_H

#include <stdint.h>

#include "base/buf.h"

#define EDIT_BYTES 4

/* A place (two bytes), what is done there, and a byte for it. */
void edit(struct buf *doc, const uint8_t how[EDIT_BYTES]);
/* A copy to be parsed, of exactly its size, ended by NUL. Caller frees. */
char *copy_of(const struct buf *doc);

#endif
