/*
 * sources/layout_memory_priv.h - what an endpoint remembers from poll to poll to read its next
 * answer faster: the layout of its last good one, and how often it was learned of late.
 *
 * Learning costs as much as parsing, so an answer that keeps changing is learned ever more seldom.
 *
 * Threads: a memory belongs to its endpoint's poller.
 */
#ifndef SCOTTY_SOURCES_LAYOUT_MEMORY_PRIV_H
#define SCOTTY_SOURCES_LAYOUT_MEMORY_PRIV_H

#include "sources/tricorder_layout_priv.h"

struct layout_memory {
	struct tricorder_layouts *table; /* NULL = remember nothing */
	struct str kin;                  /* lent: endpoints with an equal one look alike */
	struct layout *layout;           /* NULL = none yet */
	unsigned wait;                   /* answers that don't match until it is tried again */
	unsigned backoff;                /* the next wait */
};

void layout_memory_init(struct layout_memory *, struct tricorder_layouts *, struct str kin);
void layout_memory_fini(struct layout_memory *);

/* What the next answer may look like; NULL: not known. Lent until layout_memory_learned. */
struct layout *layout_memory_recall(struct layout_memory *);
/* The answer matched. */
void layout_memory_confirm(struct layout_memory *);
/* The answer did not match: shall it be learned? */
bool layout_memory_wants_lesson(struct layout_memory *);
/* It was learned (the reference is taken over), or NULL: could not be. */
void layout_memory_learned(struct layout_memory *, struct layout *);

#endif
