/*
 * api/selector_priv.h - Prometheus' selectors of series: NAME, {LABEL="VALUE",...}, or both; =, !=,
 * =~, !~.
 *
 * Threads: a selector belongs to its request.
 */
#ifndef SCOTTY_API_SELECTOR_PRIV_H
#define SCOTTY_API_SELECTOR_PRIV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/re.h"

#define SELECTOR_MATCHERS_MAX 16

struct selector {
	struct selector_matcher {
		struct str label, value;
		bool negated;
		struct re *re; /* NULL: value is compared */
	} matchers[SELECTOR_MATCHERS_MAX];
	size_t len;
};

/*
 * text is lent as long as the selector; values with escapes go to the arena. -1 with ERR_CONFIG
 * (what is wrong with it), ERR_LIMIT, ERR_NOMEM; fini is fine then too.
 */
int selector_parse(struct selector *, struct str text, struct arena *, struct err *);
void selector_fini(struct selector *);

/* A series' label; empty if it has none of that name. Its name is the label "__name__". */
typedef struct str selector_label(const void *series, struct str label);

bool selector_matches(const struct selector *, selector_label *, const void *series);
/* The same of the matchers for the name alone. */
bool selector_may_match_name(const struct selector *, struct str name);

#endif
