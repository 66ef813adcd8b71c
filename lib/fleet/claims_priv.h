/*
 * fleet/claims_priv.h - which discovered target has which name.
 *
 * A target asks for the name HOST/APP. Whoever asks first has it. Another target at the same place
 * (address, port and options) waits behind: it takes over when the first goes. One at another place
 * is a different endpoint and is named HOST/APP:PORT instead, and if that is taken too
 * HOST/APP:PORT:HASH, of what makes its place. Nobody changes name while he stays: endpoints that
 * were polled all the time keep their history when another goes.
 *
 * Who has a name is wanted as that member (member_want) for the origin of his discoverer.
 *
 * Threads: registry_lock held.
 */
#ifndef SCOTTY_FLEET_CLAIMS_PRIV_H
#define SCOTTY_FLEET_CLAIMS_PRIV_H

#include "fleet/fleet.h"
#include "fleet/target_list_priv.h"

struct fleet;
struct item;

/* The targets of one part, in the order of target_list_sort. Zero is none. */
struct items {
	struct item **p;
	size_t len;
};

/* What claims_replace did. */
struct claims_changes {
	size_t added, removed, changed;
};

void claims_init(struct fleet *);
void claims_fini(struct fleet *); /* items must be gone */
/*
 * Makes the items those of the list, for this origin. What is the same stays untouched. -1 with
 * ERR_NOMEM: nothing changed.
 */
int claims_replace(struct fleet *, struct items *, enum origin, const struct target_list *,
    struct claims_changes *, struct err *);
/* Makes the items none, without need of memory. */
void claims_clear(struct fleet *, struct items *);
/* Frees the items without a change to any member: the fleet ends. */
void claims_abandon(struct fleet *, struct items *);
/* Tries again what could not be had for want of memory. */
void claims_retry(struct fleet *);

#endif
