/*
 * sources/tricorder_memory_priv.h - what an endpoint remembers from poll to poll to read its next
 * answer faster: the layout of its last good one.
 *
 * Threads: a memory belongs to its endpoint's poller.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_MEMORY_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_MEMORY_PRIV_H

#include "sources/tricorder_layout_priv.h"

struct tricorder_memory {
	struct tricorder_layouts *table; /* NULL = remember nothing */
	struct str app;                  /* lent: endpoints of one application look alike */
	struct layout *layout;           /* NULL = none yet */
	/* Learning costs as much as parsing, so an answer that keeps changing seldom gets it. */
	unsigned wait;    /* answers that don't match until it is tried again */
	unsigned backoff; /* the next wait */
};

void memory_init(struct tricorder_memory *, struct tricorder_layouts *, struct str app);
void memory_fini(struct tricorder_memory *);

/*
 * As tricorder_parse, with the same result, but for batch.layout_id and for how much of the arena
 * is needed: a batch whose layout is known has it, one with bad metrics never. The copy that
 * learning takes of the document is not the arena's.
 */
int memory_parse(struct tricorder_memory *, char *doc, size_t len, struct batch *, struct err *);

#endif
