/*
 * messages/own_priv.h - for those of this module whose readers need memory of their own.
 */
#ifndef SCOTTY_MESSAGES_OWN_PRIV_H
#define SCOTTY_MESSAGES_OWN_PRIV_H

#include "messages/own.h"

/* First member of a block on the heap that lives as long as the registry. */
struct own_block {
	struct own_block *next;
};

/* Takes the block: own_free frees it. */
void own_keep(struct own *, struct own_block *);

#endif
