/*
 * sources/snmp_walk_priv.h - what to ask an agent next, and when to stop: a pure state machine.
 *
 * One walk is one poll: first the objects to get, packed into few requests, then subtree after
 * subtree by GETBULK, or GETNEXT for version 1. A subtree ends where an answer leaves it or the
 * MIB ends; an object that does not come after the one before is an error, as it could go on for
 * ever. sysUpTime goes along with the first request, whatever that is.
 *
 * Threads: a walk belongs to its owner.
 */
#ifndef SCOTTY_SOURCES_SNMP_WALK_PRIV_H
#define SCOTTY_SOURCES_SNMP_WALK_PRIV_H

#include "sources/snmp_message_priv.h"

#define SNMP_GETS_MOST  40 /* objects a GET: answers stay below what a packet holds, as a rule */
#define SNMP_LANES_MOST 8

/* What to ask for; constant, and shared by the polls of one endpoint. */
struct snmp_plan {
	bool v1;
	const struct snmp_oid *gets;
	size_t get_count;
	const struct snmp_oid *roots; /* subtrees */
	size_t root_count;            /* those always walked */
	size_t lookup_count;          /* further ones, for names of rows: walked when asked for */
};

/*
 * How many repetitions a GETBULK asks for: remembered from poll to poll. A retry asks for half of
 * what the try before did. Only when full size failed several times in a row is it taken for too
 * large, and not for a packet lost, and given up; it is tried again after a while.
 */
struct snmp_reps {
	unsigned now, most;
	unsigned strikes; /* answers in a row that took a retry */
	unsigned good;    /* answers at the first try since `now` was lowered */
	unsigned needed;  /* as many until it is doubled */
};

void snmp_reps_init(struct snmp_reps *, unsigned most);
/* An answer to a GETBULK came after so many retries. */
void snmp_reps_answered(struct snmp_reps *, unsigned retries);
/* The answer would have been too large. False if it can't get smaller. */
bool snmp_reps_too_big(struct snmp_reps *);

/*
 * Where the poll before found objects: marks are every so many of them. A GETBULK may then walk
 * several stretches of a subtree at once, from mark to mark, and a poll takes few round trips.
 * Whatever has come or gone in between, nothing is missed: a stretch ends only at its mark.
 */
struct snmp_guide {
	const struct snmp_oid *marks; /* rising within each root */
	const size_t *first;          /* of each root's; one more than there are roots */
	unsigned lanes;               /* stretches at once, up to SNMP_LANES_MOST; 0 = no guide */
};

/* A stretch of a subtree: what comes after `last` up to the mark. */
struct snmp_lane {
	struct snmp_oid mark; /* its last object; empty: the subtree's end */
	bool ended;
	uint32_t run;
	struct snmp_oid_room last; /* the object before, or where it begins */
};

struct snmp_walk {
	const struct snmp_plan *plan;
	const struct snmp_guide *guide; /* lent */
	struct snmp_reps *reps;         /* lent */
	size_t root_count;
	bool uptime_wanted; /* it was not answered yet */
	bool uptime_asked;  /* it comes first in the request under way */
	size_t get_at;      /* gets before it are done */
	size_t get_until;   /* the request under way ends before it, at the latest */
	size_t gets_most;   /* in one request */
	size_t root_at;     /* the subtree under way */
	size_t next_lane;   /* of that subtree, not begun yet */
	struct snmp_lane lanes[SNMP_LANES_MOST]; /* those begun */
	size_t lane_count;
	struct snmp_lane *asked_lanes[SNMP_LANES_MOST]; /* of the request under way */
	size_t asked_lane_count;
	bool narrow;  /* one lane at a time, as a request for several was not answered */
	bool strayed; /* the guide does not fit any more */
	/* Objects come in order within a run, and runs are in order; lanes make them come mixed. */
	uint32_t run, run_count; /* of the varbind taken last; so far */
	size_t asked, taken;     /* varbinds of the request, of the answer so far */
	struct snmp_oid oids[SNMP_GETS_MOST + 1]; /* of the request */
};

/* What to send. The oids are lent until the walk goes on. */
struct snmp_ask {
	enum snmp_pdu pdu;
	unsigned non_repeaters, repetitions;
	const struct snmp_oid *oids;
	size_t count;
};

/* All outlives the walk. */
void snmp_walk_begin(struct snmp_walk *, const struct snmp_plan *, const struct snmp_guide *,
    struct snmp_reps *, bool lookups);
/*
 * The next request; for a retry, the same again, smaller if it can be. False when all is done.
 */
bool snmp_walk_ask(struct snmp_walk *, unsigned retries, struct snmp_ask *out);

enum snmp_take {
	SNMP_KEEP,   /* a value asked for */
	SNMP_LOOKUP, /* of a subtree that is only walked for names */
	SNMP_UPTIME, /* sysUpTime, which nobody asked for */
	SNMP_DROP,   /* nothing: no such object, or beyond the subtree */
	SNMP_WRONG,  /* err says why */
};
/* Takes the varbinds of the answer one by one, in their order. */
enum snmp_take snmp_walk_take(struct snmp_walk *, const struct snmp_varbind *, struct err *);
/*
 * The answer was taken whole; status and index are its own. -1 with ERR_PROTO when the agent can't
 * or won't answer: the text names the object.
 */
int snmp_walk_answered(struct snmp_walk *, int64_t status, int64_t index, struct err *);
/* What is being asked for, for error texts: an object or the subtree. To out[SNMP_OID_TEXT_BYTES],
 * with a NUL. */
void snmp_walk_where(const struct snmp_walk *, char *out);

extern const struct snmp_oid snmp_uptime; /* sysUpTime.0 */

#endif
