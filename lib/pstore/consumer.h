/*
 * pstore/consumer.h - one element of a list of writers, as configured: which writer, and the keys
 * under `consumer`.
 *
 * Threads: read-only once made, save `regexes` (see base/re.h), which belong to the pump's thread.
 */
#ifndef SCOTTY_PSTORE_CONSUMER_H
#define SCOTTY_PSTORE_CONSUMER_H

#include "base/re.h"
#include "pstore/writer.h"
#include "store/rollup.h"

struct regexes {
	struct re **list;
	size_t len;
};
/* True if one of them matches. */
bool regexes_match(const struct regexes *, struct str);

struct consumer {
	char *name;
	const struct writer_ops *ops;
	struct conf_doc *doc;       /* holds the next two */
	const struct conf *element; /* all of it */
	const struct conf *options; /* the writer's */
	unsigned concurrency;
	size_t batch_size;
	uint64_t records_per_second; /* of each thread; 0 = no limit */
	int64_t rollup_span_ns;      /* 0 = none */
	enum rollup_fn rollup_fn;
	bool paused;
	struct regexes exclude, include;      /* include: empty = all */
	struct re *debug_metric, *debug_host; /* either: successfully written records are echoed */
	char *debug_path;                     /* NULL = standard output */
};

/*
 * Checks a list of such elements, with all complaints; list may be NULL. names holds those seen
 * before, in other lists, and gets those of this one; NULL to check no more than one list. True if
 * there is no complaint. Options that are secrets are read.
 */
struct map;
bool consumers_check(const struct conf *list, struct map *names, struct conf_report *);

/* One element of a list that was checked. doc gets a reference. NULL with ERR_CONFIG, ERR_NOMEM. */
struct consumer *consumer_new(struct conf_doc *, const struct conf *element, struct err *);
void consumer_free(struct consumer *); /* NULL is fine */

/* The keys under consumer, for -generate. */
extern const struct conf_opt consumer_opts[];

#endif
