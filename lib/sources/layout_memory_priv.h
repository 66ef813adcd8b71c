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
	char *kin;                       /* endpoints with an equal one look alike */
	size_t kin_len;
	struct layout *layout; /* NULL = none yet */
	unsigned wait;         /* answers that don't match until it is tried again */
	unsigned backoff;      /* the next wait */
};

/*
 * Endpoints of one source and app look alike. -1 with ERR_NOMEM; fini is fine then, and for one
 * that is all zero.
 */
int layout_memory_init(struct layout_memory *, struct tricorder_layouts *, const char *source,
    struct str app, struct err *);
void layout_memory_fini(struct layout_memory *);
struct str layout_memory_kin(const struct layout_memory *);

/* What the next answer may look like; NULL: not known. */
struct layout *layout_memory_recall(struct layout_memory *);
/* The answer matched. */
void layout_memory_confirm(struct layout_memory *);
/* The answer did not match: shall it be learned? */
bool layout_memory_wants_lesson(struct layout_memory *);
/* It was learned (the reference is taken over), or NULL: could not be. */
void layout_memory_learned(struct layout_memory *, struct layout *);

#endif
