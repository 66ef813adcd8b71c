/*
 * store/match_priv.h - which series of a schema have a path that was asked for.
 *
 * Threads: pure functions on the caller's data.
 */
#ifndef SCOTTY_STORE_MATCH_PRIV_H
#define SCOTTY_STORE_MATCH_PRIV_H

#include "store/iter.h"
#include "store/schema_priv.h"

struct match {
	struct str prefix;
	enum iter_match how;
};

/* "/" holds all, as "" does. */
static inline struct match
match_of(struct str prefix, enum iter_match how)
{
	if (how == ITER_UNDER && str_eq(prefix, STR("/")))
		prefix.len = 0;
	return (struct match){ prefix, how };
}

/* Where in the schema's order to begin. */
static inline uint32_t
match_first(const struct match *match, const struct schema *schema)
{
	return schema_find(schema, &(struct metric_desc){ .path = match->prefix });
}

/*
 * The next series from *at on; NULL at the end. *at moves past it. What matches begins with the
 * prefix, and so does all between.
 */
static inline const struct meta *
match_next(
    const struct match *match, const struct schema *schema, uint32_t *at, struct series_at *place)
{
	while (*at < schema->order_len) {
		const struct meta *meta;
		struct str path;

		*place = schema->order[*at];
		meta = schema_meta(schema, place->stream, place->at);
		path = meta->desc.path;
		if (!str_starts(path, match->prefix))
			break;
		(*at)++;
		if (match->how == ITER_EXACT ? str_eq(path, match->prefix)
		                             : path_is_under(path, match->prefix))
			return meta;
	}
	return NULL;
}

#endif
