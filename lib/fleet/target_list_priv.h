/*
 * fleet/target_list_priv.h - targets as a discoverer yields them.
 */
#ifndef SCOTTY_FLEET_TARGET_LIST_PRIV_H
#define SCOTTY_FLEET_TARGET_LIST_PRIV_H

#include "base/err.h"
#include "poller/target.h"

struct listed {
	struct target *target; /* with a reference */
	/*
	 * Where it is: two targets of equal host, app and place are one given twice, of another
	 * place are two that need names of their own. 0: the name alone counts.
	 */
	uint64_t place;
	size_t seq; /* in the list as it was made */
};

struct target_list {
	struct listed *p;
	size_t len, cap;
	size_t bad;            /* targets left out as something is wrong with them */
	struct err bad_reason; /* of the first */
};

/* What a discoverer's entry says of all its targets. Text and tree are lent from the entry. */
struct target_defaults {
	struct str app; /* empty = by label or source */
	const struct source_ops *source;
	int64_t interval_ns;
	struct str region;
	struct conf_doc *doc;       /* holds options */
	const struct conf *options; /* NULL = none */
};

void target_list_init(struct target_list *);
void target_list_fini(struct target_list *);
/* Takes the reference, also when it fails. -1 with ERR_NOMEM. */
int target_list_add(struct target_list *, struct target *, uint64_t place, struct err *);
/* Counts a target that is left out, and keeps the first reason. */
void target_list_refuse(struct target_list *, const struct err *why);
/* By host, app, place, then as they were added. */
void target_list_sort(struct target_list *);
/* The same order but for the last. */
int target_place_cmp(
    const struct target *, uint64_t place, const struct target *other, uint64_t other_place);

#endif
