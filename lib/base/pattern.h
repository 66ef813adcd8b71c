/*
 * base/pattern.h - regular expressions as Prometheus' selectors have them, matched against a whole
 * text in time linear in its length.
 *
 * The syntax is RE2's as far as it is of use here: literals, ., [...], \d \w \s and their
 * opposites, groups, |, *, +, ?, {n,m}, ^ and $. What has no place in a question (flags, classes by
 * name, bytes beyond ASCII in brackets) is refused.
 *
 * Bounds: 4,096 bytes, 1,000 instructions, groups 32 deep.
 *
 * Threads: a pattern belongs to its owner, for matching too.
 */
#ifndef SCOTTY_BASE_PATTERN_H
#define SCOTTY_BASE_PATTERN_H

#include "base/err.h"
#include "base/str.h"

struct pattern;

/* NULL with ERR_CONFIG (what is wrong with the expression), ERR_LIMIT, ERR_NOMEM. */
struct pattern *pattern_new(struct str expression, struct err *);
void pattern_free(struct pattern *); /* NULL is fine */
/* True if the whole text, which is UTF-8, matches. */
bool pattern_matches(struct pattern *, struct str text);

#endif
