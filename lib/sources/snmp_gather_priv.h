/*
 * sources/snmp_gather_priv.h - one poll of an agent, apart from how requests and answers travel:
 * what to ask, what was answered, and from poll to poll what is remembered of the agent.
 *
 * Threads: belongs to its owner.
 */
#ifndef SCOTTY_SOURCES_SNMP_GATHER_PRIV_H
#define SCOTTY_SOURCES_SNMP_GATHER_PRIV_H

#include "sources/snmp_conf_priv.h"
#include "sources/snmp_layout_priv.h"
#include "sources/snmp_rows_priv.h"
#include "sources/snmp_walk_priv.h"

struct snmp_gather {
	const struct snmp_conf *conf; /* lent */
	struct snmp_layouts *layouts; /* lent; NULL = remember none */
	struct snmp_reps reps;
	struct snmp_walk *walk; /* of the poll under way or the last one; in its arena */
	struct snmp_guide guide;
	struct arena guide_arena;
	unsigned guide_strikes;   /* polls in a row that the guide did no good */
	size_t bytes, varbinds;   /* of the answers of the poll under way */
	struct snmp_rows rows;    /* of the poll under way or the last one */
	struct snmp_rows lookups; /* names of rows, of whatever poll asked for them */
	struct arena lookup_arena;
	bool looks_up;                    /* the poll under way asks for them */
	bool has_lookups;                 /* lookups is whole */
	int64_t looked_up_ns;             /* when; mono */
	size_t nameless;                  /* rows that a lookup had no name for */
	bool unnamed;                     /* the last poll had more of them */
	struct snmp_layout *layout;       /* of a good poll since the lookup; NULL = none */
	unsigned wait, backoff;           /* polls that are not learned: left, next time */
	bool has_uptime;                  /* in the last poll */
	uint32_t uptime;                  /* then; centiseconds */
	int64_t uptime_ns;                /* when that was; mono */
	uint64_t restarts, restarts_told; /* seen; of those, told by snmp_gather_metrics */
};

/* conf and layouts outlive it; layouts NULL: none are remembered. */
void snmp_gather_init(struct snmp_gather *, const struct snmp_conf *, struct snmp_layouts *);
void snmp_gather_fini(struct snmp_gather *);

/*
 * Begins a poll; what it yields is kept in the arena, until snmp_gather_metrics. False when that
 * has no more memory.
 */
bool snmp_gather_begin(struct snmp_gather *, struct arena *, int64_t now_ns);
/* snmp_walk_ask. */
bool snmp_gather_ask(struct snmp_gather *, unsigned retries, struct snmp_ask *);
/*
 * The varbinds of an answer that reports no error, one by one, and then what the answer says
 * (bytes: of all its varbinds). -1 with ERR_PROTO, ERR_LIMIT, ERR_NOMEM: the poll has failed.
 */
int snmp_gather_take(
    struct snmp_gather *, const struct snmp_varbind *, int64_t now_ns, struct err *);
int snmp_gather_answered(struct snmp_gather *, int64_t status, int64_t index, size_t bytes,
    unsigned retries, struct err *);
/* The poll failed: the next one goes by what is sure. */
void snmp_gather_failed(struct snmp_gather *);
/* All was answered: adds the metrics. *restarted: the agent did, since the poll before. */
int snmp_gather_metrics(
    struct snmp_gather *, struct batch *, int64_t now_ns, bool *restarted, struct err *);

#endif
