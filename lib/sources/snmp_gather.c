#include "sources/snmp_gather_priv.h"

#include "base/clock.h"

/* Interfaces come and go; a row without a name is looked up in the next poll. */
#define LOOKUP_PERIOD_NS (300 * NS_PER_S)
/* sysUpTime goes back to 0 after 497 days; agents' clocks drift, so that is known only roughly. */
#define UPTIME_WRAPS    (INT64_C(1) << 32)
#define UPTIME_SLACK_CS (60 * 100)

void
snmp_gather_init(struct snmp_gather *g, const struct snmp_conf *conf)
{
	*g = (struct snmp_gather){ .conf = conf };
	snmp_reps_init(&g->reps, conf->max_repetitions);
	arena_init(&g->lookup_arena, 0);
	snmp_rows_init(&g->lookups, &g->lookup_arena);
}

void
snmp_gather_fini(struct snmp_gather *g)
{
	arena_fini(&g->lookup_arena);
}

static bool
needs_lookups(const struct snmp_gather *g, int64_t now_ns)
{
	if (g->conf->plan.lookup_count == 0)
		return false;
	return !g->has_lookups || g->unnamed || now_ns - g->looked_up_ns >= LOOKUP_PERIOD_NS;
}

void
snmp_gather_begin(struct snmp_gather *g, struct arena *arena, int64_t now_ns)
{
	g->looks_up = needs_lookups(g, now_ns);
	snmp_rows_init(&g->rows, arena);
	if (g->looks_up) {
		g->has_lookups = false;
		arena_reset(&g->lookup_arena);
		g->lookup_arena.limit_bytes = arena->limit_bytes;
		snmp_rows_init(&g->lookups, &g->lookup_arena);
	}
	snmp_walk_begin(&g->walk, &g->conf->plan, &g->reps, g->looks_up);
}

bool
snmp_gather_ask(struct snmp_gather *g, unsigned retries, struct snmp_ask *ask)
{
	return snmp_walk_ask(&g->walk, retries, ask);
}

/* True if going from then to now means that the agent started anew in between. */
static bool
went_back(const struct snmp_gather *g, uint32_t uptime, int64_t now_ns)
{
	int64_t expected = g->uptime + (now_ns - g->uptime_ns) / (10 * NS_PER_MS);

	return uptime < g->uptime && expected + UPTIME_SLACK_CS < UPTIME_WRAPS;
}

static void
note_uptime(struct snmp_gather *g, const struct snmp_varbind *varbind, int64_t now_ns)
{
	if (varbind->type != SNMP_TIMETICKS)
		return;
	if (g->has_uptime && went_back(g, (uint32_t)varbind->u, now_ns)) {
		g->restarts++;
		/* Indexes may be dealt out anew. */
		g->has_lookups = false;
	}
	g->has_uptime = true;
	g->uptime = (uint32_t)varbind->u;
	g->uptime_ns = now_ns;
}

static int
keep(struct snmp_rows *rows, const struct snmp_varbind *varbind, struct err *err)
{
	const struct arena *arena = rows->arena;

	if (snmp_rows_keep(rows, varbind))
		return 0;
	if (arena->limit_bytes == 0)
		err_nomem(err);
	else
		err_set(err, ERR_LIMIT, "answers larger than %zu bytes", arena->limit_bytes);
	return -1;
}

int
snmp_gather_take(
    struct snmp_gather *g, const struct snmp_varbind *varbind, int64_t now_ns, struct err *err)
{
	switch (snmp_walk_take(&g->walk, varbind, err)) {
	case SNMP_KEEP:
		return keep(&g->rows, varbind, err);
	case SNMP_LOOKUP:
		return keep(&g->lookups, varbind, err);
	case SNMP_UPTIME:
		note_uptime(g, varbind, now_ns);
		return g->conf->uptime_walked ? 0 : keep(&g->rows, varbind, err);
	case SNMP_DROP:
		return 0;
	case SNMP_WRONG:
		break;
	}
	return -1;
}

int
snmp_gather_answered(
    struct snmp_gather *g, int64_t status, int64_t index, unsigned retries, struct err *err)
{
	if (status == SNMP_ERR_NONE)
		snmp_reps_answered(&g->reps, retries);
	return snmp_walk_answered(&g->walk, status, index, err);
}

static int
add_restarts(struct snmp_gather *g, struct batch *batch, struct err *err)
{
	static const struct metric_desc desc = {
		.path = { "/snmp/agent/restarts", 20 },
		.description = { "Restarts of the agent seen, by sysUpTime going back", 51 },
		.unit = { UNIT_NONE, sizeof(UNIT_NONE) - 1 },
		.kind = KIND_UINT64,
	};
	struct value value = { .u = g->restarts };

	return batch_add(batch, &desc, &value, 0, TS_NONE, err);
}

int
snmp_gather_metrics(
    struct snmp_gather *g, struct batch *batch, int64_t now_ns, bool *restarted, struct err *err)
{
	uint64_t seen = g->restarts_told;
	bool unnamed;

	if (snmp_rows_to_batch(&g->rows, &g->lookups, g->conf->names, batch, &unnamed, err) != 0 ||
	    (g->has_uptime && add_restarts(g, batch, err) != 0))
		return -1;
	if (g->looks_up) {
		g->has_lookups = true;
		g->looked_up_ns = now_ns;
		/* Who has no name now has none at all. */
		unnamed = false;
	}
	g->unnamed = unnamed;
	*restarted = g->restarts != seen;
	g->restarts_told = g->restarts;
	return 0;
}
