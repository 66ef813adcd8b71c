/*
 * sources/tricorder_read_priv.h - reads a tricorder process's answer: by the layout that is
 * remembered, as far as it matches, and the rest in full.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_READ_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_READ_PRIV_H

#include "sources/layout_memory_priv.h"

/*
 * As tricorder_parse, with the same result, but for batch.layout_id and for how much of the arena
 * is needed: a batch whose layout is known has it, one with bad metrics never. The copy that
 * learning takes of the document is not the arena's.
 */
int tricorder_read(struct layout_memory *, char *doc, size_t len, struct batch *, struct err *);

#endif
