/*
 * fleet/fleet.h - which endpoints exist, and who says so.
 *
 * Endpoints come from the configuration, from the API (kept in the state directory),
 * from the machine list (mdb) and from what each machine's health agent announces. The identity is
 * host + application; if several origins name the same one, the first in the order of enum origin
 * counts and the others take over when it ends.
 *
 * A member that no origin names any more is inactive: not polled, its history still served, and
 * forgotten after an hour (or sooner, longest gone first, when there are more than 10,000 such).
 *
 * Threads: one of its own (file watching, discovery, forgetting); calls from any. Locks taken:
 * registry, fleet, and those of the pollers and the store.
 */
#ifndef SCOTTY_FLEET_FLEET_H
#define SCOTTY_FLEET_FLEET_H

#include <stdio.h>

#include "base/conf.h"
#include "poller/poller.h"
#include "state/state.h"

struct fleet;

enum origin {
	ORIGIN_CONFIG,
	ORIGIN_API,
	ORIGIN_HEALTH_CHECKS,
	ORIGIN_MDB,
	ORIGIN_FILE_SD,
	ORIGIN_HTTP_SD,
	ORIGIN_SELF,
	ORIGIN_COUNT
};
/* "config", "api", "health-checks", "mdb", "fileSd", "httpSd", "self" */
const char *origin_name(enum origin);

struct fleet_conf {
	struct conf_doc *doc;         /* holds endpoints and discovery */
	const struct conf *endpoints; /* the list, checked; NULL = none */
	int64_t frequency_ns;         /* default interval */
	struct state *state; /* outlives the fleet; NULL = API registrations are not kept */
	const struct conf *discovery; /* the table, checked; NULL = none */
	const char *mdb_file;         /* one more entry of it, {mdb: FILE}; NULL or "" = none */
	/*
	 * If this host is on the machine list (by one of its addresses) and announces no
	 * application at own_port, our own metrics are collected as its application own_app
	 * ("scotty"), by source self. 0 = they are not.
	 */
	uint16_t own_port;
	const char *own_app;
};

/*
 * Checks a list of endpoints elements (keys: host app address port source interval region tags
 * options), with all complaints. True if there is none. Host + app given twice is one.
 */
bool fleet_check_endpoints(const struct conf *list, struct conf_report *);

/* The same for the table `discovery`. */
bool fleet_check_discovery(const struct conf *list, struct conf_report *);
/* A commented example of the table, for -generate. */
void fleet_generate_discovery(FILE *);

/*
 * Polls nothing yet. store and own outlive it, pollers stay until fleet_stop. NULL with ERR_NOMEM,
 * ERR_IO.
 */
struct fleet *fleet_new(struct pollers *, struct store *, struct own *, struct err *);
/*
 * Reads the registry and the machine list, starts polling all of it. conf is copied. A registry
 * that can't be had is logged; it is tried again by PUT, DELETE and fleet_reload. -1 with err.
 */
int fleet_start(struct fleet *, const struct fleet_conf *, struct err *);
/*
 * Ends its thread and lets go of its endpoints, which end when the pollers stop. Members can still
 * be read. NULL is fine.
 */
void fleet_stop(struct fleet *);
/* After fleet_stop and once the pollers, which call fleet_polled, are gone. NULL is fine. */
void fleet_free(struct fleet *);

/*
 * Another configuration (SIGHUP): what stays the same is not disturbed; discoverers look again, in
 * a moment. state and own_app stay as at the start. -1 with ERR_NOMEM, ERR_LIMIT:
 * some of it may be in force.
 */
int fleet_reload(struct fleet *, const struct fleet_conf *, struct err *);

/* For pollers_conf.polled: notes what a health agent announces. ctx is a struct fleet **. */
void fleet_polled(void *ctx, struct endpoint *, const struct batch *);

#define FLEET_BODY_BYTES_MAX (64 * 1024)

/*
 * Registers or replaces host/app; body is the JSON (or YAML) text of a map of the keys above.
 * from_loopback: who asks may have loopback addresses polled. *created tells which. -1 with
 * ERR_CONFIG (what is wrong with the body), ERR_IO (could not be kept), ERR_NOMEM, ERR_LIMIT.
 */
int fleet_put(struct fleet *, struct str host, struct str app, struct str body, bool from_loopback,
    bool *created, struct err *);
/* -1 with ERR_NOTFOUND, ERR_DENIED (exists, but was not registered over the API), ERR_IO. */
int fleet_delete(struct fleet *, struct str host, struct str app, struct err *);

/*
 * Has host/app polled now or, both empty, all that is polled; schedules stay as they are. *count
 * tells how many that is. -1 with ERR_NOTFOUND: no such endpoint, or it is not polled.
 */
int fleet_poll_now(struct fleet *, struct str host, struct str app, size_t *count, struct err *);

/*
 * A member as readers see it. host and app live as long as the member's reference, the rest in the
 * view.
 */
struct member;
struct member_view {
	struct str host, app, address, region;
	const char *source;
	uint16_t port;
	bool active;
	enum origin origin;
	struct endpoint_status status;    /* of an inactive one: as it was last */
	struct tag tags[TARGET_TAGS_MAX]; /* tag_count of them, sorted by key */
	size_t tag_count;
	char text[520 + TARGET_TAG_BYTES_MAX]; /* address, region and tags point here */
};
/* All members sorted by host, then app, each with a reference; -1 with ERR_NOMEM. */
int fleet_snapshot(struct fleet *, struct member ***out, size_t *n, struct err *);
void fleet_snapshot_free(struct member **, size_t n);
void member_view(struct member *, struct member_view *out); /* do not copy *out about */

/*
 * Region, address and tags of host/app as texts in text (of that size; what does not fit is empty),
 * all empty for one that is unknown, or has none. An address that is a name is left out. Returns
 * how many tags it put into tags, which has room for TARGET_TAGS_MAX, sorted by key.
 */
size_t fleet_tags(struct fleet *, struct str host, struct str app, struct str *region,
    struct str *address, struct tag *tags, char *text, size_t size);

/*
 * False while it is not known yet, after the start, which endpoints there are: a server that lists
 * them has neither answered nor failed. Locks taken: registry.
 */
bool fleet_is_known(struct fleet *);

struct fleet_counts {
	size_t total, active, failed; /* failed: active and down */
};
void fleet_count(struct fleet *, struct fleet_counts *);

#endif
