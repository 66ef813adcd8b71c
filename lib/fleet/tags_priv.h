/*
 * fleet/tags_priv.h - tags of an endpoint as they come in.
 */
#ifndef SCOTTY_FLEET_TAGS_PRIV_H
#define SCOTTY_FLEET_TAGS_PRIV_H

#include "base/err.h"
#include "poller/target.h"

/* Tags being collected, sorted by key. Text is lent. */
struct tags {
	struct tag p[TARGET_TAGS_MAX];
	size_t len;
	size_t bytes; /* of keys and values */
};

/*
 * What is wrong with a tag, as "holds a control character"; NULL if nothing is. Keys are those that
 * Prometheus takes, [a-zA-Z_][a-zA-Z0-9_]*.
 */
const char *tag_fault(struct str key, struct str value);
/* Adds a tag without fault, whose key is not there yet. -1 with ERR_LIMIT. */
int tags_add(struct tags *, struct str key, struct str value, struct err *);

#endif
