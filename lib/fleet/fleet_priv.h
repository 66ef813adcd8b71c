/*
 * fleet/fleet_priv.h - the parts of a fleet.
 *
 *   fleet.c     the outside: start and stop, configuration, API registrations
 *   members.c   who is in the fleet, for which origins, polled or gone
 *   discovery.c the table of discoverers (mdb.c, file_sd.c, http_sd.c), which yield targets
 *   claims.c    which name each of those gets, and what changed
 *   machines.c  machines of a machine list and their health agents' announcements, to members
 *
 * Changes are serialised by the lock `registry`, which may be held over SQLite; the lock `fleet`
 * guards what readers look at and is held for moments only.
 */
#ifndef SCOTTY_FLEET_FLEET_PRIV_H
#define SCOTTY_FLEET_FLEET_PRIV_H

#include <pthread.h>

#include "base/hash.h"
#include "base/lock.h"
#include "fleet/announced_priv.h"
#include "fleet/claims_priv.h"
#include "fleet/discovery_priv.h"
#include "fleet/fleet.h"

struct member {
	_Atomic unsigned refs;
	struct fleet *fleet;
	/* Constant. */
	struct str key;         /* HOST/APP */
	struct str host, app;   /* parts of it */
	struct series_set *set; /* its history */
	/* by lock fleet */
	struct target *wanted[ORIGIN_COUNT];
	enum origin origin;          /* in force, or last in force */
	struct target *target;       /* that origin's */
	struct endpoint *endpoint;   /* NULL = inactive */
	struct endpoint_status last; /* of an inactive one */
	bool hidden;                 /* deleted over the API, or never polled: not shown */
	bool gone;                   /* inactive, so in the list of those */
	int64_t gone_ns;             /* monotonic, since when */
	struct member *gone_prev, *gone_next;
	unsigned generation; /* of the configuration that names it */

	char name[]; /* what key points to */
};

struct observation;
struct stranger;

struct fleet {
	struct pollers *pollers;
	struct store *store;
	struct own *own;
	struct own_dist *decode_ms, *compare_ms;
	struct lock registry_lock, fleet_lock;

	/* by registry_lock */
	int64_t frequency_ns;
	char *own_app;
	uint16_t own_port;
	struct state *state; /* NULL = registrations are not kept */
	bool registry_read;  /* those kept before are members */
	unsigned generation;
	struct discovery *discoveries; /* in the order of the table */
	struct map claims;             /* see claims_priv.h */
	struct ifaddrs *interfaces;    /* of this host, as of the last machine list */
	struct map machines;           /* host to struct machine_state, those off the list too */
	size_t refused_count;          /* times that a discovered endpoint could not be had */
	struct conf_doc *tls_doc;      /* options of an application that wants TLS */

	struct {
		struct conf_doc *doc;
		const struct conf *discovery;
		char *mdb_file;
	} reload; /* what fleet_reload leaves to the fleet's thread */
	struct stranger *strangers;
	int64_t strangers_since_ns; /* the loop's time */

	/* by fleet_lock */
	struct map members;     /* key to struct member */
	struct member **sorted; /* those shown; NULL = to be made anew */
	size_t sorted_len;
	struct member *gone_first, *gone_last; /* longest gone first */
	size_t gone_count;

	/* fleet's thread */
	struct loop *loop;
	pthread_t thread;
	bool running;
	struct loop_timer tidy_timer;
	struct loop_task reload_task; /* posted by fleet_reload */

	struct lock inbox_lock;
	struct observation *inbox, **inbox_end; /* by inbox_lock: oldest first */
	struct loop_task inbox_task;

	/* Own metrics. */
	_Atomic uint64_t member_count, active_count, machine_count;
	_Atomic uint64_t failed_count; /* as of a few seconds ago */
};

/* Something discovered could not be had: logs the first, and has all tried again in a while. */
void fleet_refused(struct fleet *, const struct err *);

/* fleet_start without the thread: tests turn the loop by hand. */
int fleet_begin(struct fleet *, const struct fleet_conf *, struct err *);

/* members.c. All but members_init need registry_lock. */
void members_init(struct fleet *);
void members_fini(struct fleet *);
/*
 * Origin wants host/app polled as target says (gets a reference), or, target NULL, no more. The
 * first origin in order that wants it counts. -1 with err: nothing changed.
 */
int member_want(
    struct fleet *, struct str host, struct str app, enum origin, struct target *, struct err *);
/*
 * There is such a member, even if the store is full: its polls say so. For those that are listed
 * by who runs this, whose number is bounded by that. -1 with ERR_NOMEM, ERR_LIMIT (its name).
 */
int member_list(struct fleet *, struct str host, struct str app, struct err *);
/* The member, lent, or NULL. */
struct member *member_find(struct fleet *, struct str host, struct str app);
/* Drops what was wanted by the configuration before the current generation. */
void members_drop_old_config(struct fleet *);
/* Shows a member that the API has deleted no more, unless it is still polled for another origin. */
void member_hide(struct fleet *, struct member *);
/* Lets go of all endpoints, which the pollers end when they stop; their series stay active. */
void members_stop(struct fleet *);
/* Forgets members gone for long, or too many; now is the loop's time. */
void members_forget(struct fleet *, int64_t now_ns);

/* strangers.c; registry_lock held. now is the loop's time. */
/* Finds sets of the store that are no member's, once all members of the configuration are there. -1
 * with ERR_NOMEM. */
int strangers_find(struct fleet *, int64_t now_ns, struct err *);
/* Ends their series, and forgets them, when it is time. */
void strangers_end(struct fleet *, int64_t now_ns);
void strangers_fini(struct fleet *);

/* machines.c; registry_lock held. */
void machines_init(struct fleet *);
void machines_fini(struct fleet *);
/* The machine's health agent is polled as agent says, which gets a reference. -1 with ERR_NOMEM. */
int machine_set(struct fleet *, struct target *agent, struct err *);
/* It is on no list any more. */
void machine_gone(struct fleet *, struct str host);
/* Notes this host's addresses, which tell whether a machine is this one. */
void machines_look_at_interfaces(struct fleet *);
/* Builds the targets of all applications anew, after the frequency or our own port changed. */
void machines_refresh(struct fleet *);
/* Forgets what machines off the list announced, once their endpoints are forgotten. */
void machines_forget(struct fleet *);
/* What the health agent of a machine announced. */
void machines_observe(struct fleet *, const struct observation *);

/* One poll's announcements on their way from a poller's thread to the fleet's. */
struct observation {
	struct observation *next;
	struct arena arena; /* holds all text and apps */
	struct str host;
	struct announced *apps;
	size_t len;
};
struct observation *observation_new(struct str host, const struct batch *); /* NULL: no memory */
void observation_free(struct observation *);

#endif
