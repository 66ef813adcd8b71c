/*
 * fleet/discovery_priv.h - the table `discovery` of the configuration: who yields lists of targets.
 *
 * A discoverer is a way to learn of targets: files (fileSd), a server (httpSd), a machine list
 * (mdb). It is one struct discoverer_ops in a file of its own and one line in the table of
 * discovery.c. It yields lists; each stands for a part of what it knows (a file, an answer) and
 * replaces that part's list of before. What differs is applied (claims_priv.h). A part that can't
 * be read is not yielded, so its last good list stays.
 *
 * Threads: all calls with registry_lock held.
 */
#ifndef SCOTTY_FLEET_DISCOVERY_PRIV_H
#define SCOTTY_FLEET_DISCOVERY_PRIV_H

#include "base/hash.h"
#include "fleet/claims_priv.h"
#include "fleet/fleet.h"
#include "fleet/target_list_priv.h"
#include "messages/own.h"

struct fleet;
struct discovery;

struct discoverer { /* first member of each kind's struct */
	const struct discoverer_ops *ops;
};

struct discoverer_ops {
	const char *key; /* the configuration's word, "fileSd": names what is watched */
	const char *help;
	enum origin origin;
	const struct conf_opt *opts; /* all keys of such an entry, ended by a NULL name */
	/* What conf_check can't: complains about the entry; NULL = nothing. */
	void (*check)(const struct conf *entry, struct conf_report *);
	/* May yield already. NULL with err. */
	struct discoverer *(*open)(struct discovery *, struct err *);
	/*
	 * The operator asks for everything anew, or the entry's other settings changed: what is
	 * known yields again, what is gone may go.
	 */
	void (*refresh)(struct discoverer *);
	void (*close)(struct discoverer *);
};

extern const struct discoverer_ops discoverer_file_sd, discoverer_http_sd, discoverer_mdb;

/* What entries for targets of any source have in common. */
#define DISCOVERY_TARGET_OPTS                                                                      \
	{ "app", CONF_TEXT, NULL, "default: the label job, else the source's name", 0, 0 },        \
	    { "source", CONF_TEXT, "tricorder", "how they are polled", 0, 0 },                     \
	    { "interval", CONF_DURATION, NULL, "default: collection.frequency", 100 * NS_PER_MS,   \
		    24 * 3600 * NS_PER_S },                                                        \
	    { "region", CONF_TEXT, NULL, "of targets without a label region", 0, 0 },              \
	{                                                                                          \
		"options", CONF_TREE, NULL, "what the source takes", 0, 0                          \
	}

/* A list that was yielded last for one part. */
struct part {
	struct part *next;
	struct items items;
	size_t bad; /* targets left out of it */
	char name[];
};

/* One entry of the table. Discoverers read the first block. */
struct discovery {
	struct fleet *fleet;
	const struct discoverer_ops *ops;
	const struct conf *conf; /* the entry, in doc */
	struct conf_doc *doc;
	struct target_defaults defaults;
	struct discoverer *discoverer;

	/* discovery.c's */
	char *identity;  /* equal for what stays the same entry over a reload */
	unsigned number; /* from 1, of those of the same kind */
	bool wanted;
	bool is_quiet, told_bad; /* while it runs at first or anew: one line for all parts */
	struct part *parts;
	struct own_metric *rows;
	char *row_texts;
	/* Own metrics. */
	_Atomic uint64_t target_count, bad_count, error_count, change_count;
	_Atomic int64_t good_ts_ns; /* of the last list that was believed; 0 = never */
	struct discovery *next;
};

/*
 * The part (name copied) now is list, which is emptied. -1 with ERR_NOMEM: nothing changed. Logs
 * what is wrong with single targets.
 */
int discovery_yield(struct discovery *, const char *part, struct target_list *, struct err *);
/* There is no such part any more. */
void discovery_drop(struct discovery *, const char *part);
/* A part was found to be as before. */
void discovery_confirm(struct discovery *);
/* A part could not be had; for counting, the discoverer has its own say in the log. */
void discovery_failed(struct discovery *);

/* The whole table. */

/* Complains about what is wrong with the list; NULL is fine. */
bool discoveries_check(const struct conf *list, struct conf_report *);
/*
 * The table is that of conf (and its mdb_file) from here on. Entries that stay are refreshed; those
 * that can't be opened are logged. -1 with ERR_NOMEM: some may be missing.
 */
int discoveries_set(struct fleet *, const struct fleet_conf *, struct err *);
/* False while a server has yet to answer for the first time, or to fail. */
bool discoveries_are_known(const struct fleet *);
/* Ends all of it; endpoints stay as they are. */
void discoveries_stop(struct fleet *);

#endif
