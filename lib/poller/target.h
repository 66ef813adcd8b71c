/*
 * poller/target.h - what to poll: an endpoint's configuration, from wherever it came.
 *
 * Immutable once made, shared by counting.
 */
#ifndef SCOTTY_POLLER_TARGET_H
#define SCOTTY_POLLER_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "messages/metric.h"
#include "sources/source.h"

#define TARGET_TAGS_MAX      64
#define TARGET_TAG_BYTES_MAX 4096 /* of all keys and values of a target */

struct target {
	struct str host, app; /* together the identity */
	struct str address;   /* host name or numeric */
	uint16_t port;
	const struct source_ops *source;
	int64_t interval_ns;
	struct str region; /* empty = unknown */
	/*
	 * What else is known of the endpoint, sorted by key, keys unique. They belong to the
	 * endpoint: none of its metrics carries them.
	 */
	const struct tag *tags;
	size_t tag_count;
	bool deny_loopback, deny_link_local; /* the guard, see sources/http.h */
	struct conf_doc *doc;                /* holds options; NULL = none */
	const struct conf *options;
	_Atomic unsigned refs;
};

/*
 * A copy of all of proto (refs aside; doc gets another reference), with one reference. NULL when
 * out of memory.
 */
struct target *target_new(const struct target *proto);
struct target *target_ref(struct target *);
void target_unref(struct target *); /* NULL is fine */
/*
 * True if polling a is polling b: same identity, place, source, interval, region, tags, guard and
 * options (by content).
 */
bool target_eq(const struct target *a, const struct target *b);

#endif
