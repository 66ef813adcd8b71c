#include "sources/snmp_gather_priv.h"

#include "base/clock.h"

/* What the varbinds of an answer may take, to fit a packet of any network with what is around. */
#define ANSWER_BYTES 1200
/* As often the guide may do no good until it is given up for the life of the source. */
#define GUIDE_STRIKES_OUT 4
/* Most polls between two that are learned, of an agent whose rows come and go. */
#define BACKOFF_MOST 64

/* Interfaces come and go; a row without a name is looked up in the next poll. */
#define LOOKUP_PERIOD_NS (300 * NS_PER_S)
/* sysUpTime goes back to 0 after 497 days; agents' clocks drift, so that is known only roughly. */
#define UPTIME_WRAPS    (INT64_C(1) << 32)
#define UPTIME_SLACK_CS (60 * 100)

void
snmp_gather_init(struct snmp_gather *g, const struct snmp_conf *conf, struct snmp_layouts *layouts)
{
	*g = (struct snmp_gather){ .conf = conf, .layouts = layouts };
	snmp_reps_init(&g->reps, conf->max_repetitions);
	arena_init(&g->lookup_arena, 0);
	arena_init(&g->guide_arena, 0);
	snmp_rows_init(&g->lookups, &g->lookup_arena);
}

void
snmp_gather_fini(struct snmp_gather *g)
{
	arena_fini(&g->lookup_arena);
	arena_fini(&g->guide_arena);
	snmp_layout_unref(g->layout);
}

static bool
needs_lookups(const struct snmp_gather *g, int64_t now_ns)
{
	if (g->conf->plan.lookup_count == 0)
		return false;
	return !g->has_lookups || g->unnamed || now_ns - g->looked_up_ns >= LOOKUP_PERIOD_NS;
}

bool
snmp_gather_begin(struct snmp_gather *g, struct arena *arena, int64_t now_ns)
{
	g->walk = arena_alloc(arena, sizeof(*g->walk));
	if (g->walk == NULL)
		return false;
	g->bytes = g->varbinds = 0;
	g->looks_up = needs_lookups(g, now_ns);
	snmp_rows_init(&g->rows, arena);
	if (g->looks_up) {
		g->has_lookups = false;
		arena_reset(&g->lookup_arena);
		g->lookup_arena.limit_bytes = arena->limit_bytes;
		snmp_rows_init(&g->lookups, &g->lookup_arena);
	}
	snmp_walk_begin(g->walk, &g->conf->plan, &g->guide, &g->reps, g->looks_up);
	return true;
}

bool
snmp_gather_ask(struct snmp_gather *g, unsigned retries, struct snmp_ask *ask)
{
	return snmp_walk_ask(g->walk, retries, ask);
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
no_room(const struct arena *arena, struct err *err)
{
	if (arena->limit_bytes == 0)
		err_nomem(err);
	else
		err_set(err, ERR_LIMIT, "answers larger than %zu bytes (maxResponse)",
		    arena->limit_bytes);
	return -1;
}

static int
keep(const struct snmp_gather *g, struct snmp_rows *rows, const struct snmp_varbind *varbind,
    struct err *err)
{
	return snmp_rows_keep(rows, varbind, g->walk->run) ? 0 : no_room(rows->arena, err);
}

int
snmp_gather_take(
    struct snmp_gather *g, const struct snmp_varbind *varbind, int64_t now_ns, struct err *err)
{
	switch (snmp_walk_take(g->walk, varbind, err)) {
	case SNMP_KEEP:
		return keep(g, &g->rows, varbind, err);
	case SNMP_LOOKUP:
		return keep(g, &g->lookups, varbind, err);
	case SNMP_UPTIME:
		note_uptime(g, varbind, now_ns);
		return g->conf->uptime_walked ? 0 : keep(g, &g->rows, varbind, err);
	case SNMP_DROP:
		return 0;
	case SNMP_WRONG:
		break;
	}
	return -1;
}

int
snmp_gather_answered(struct snmp_gather *g, int64_t status, int64_t index, size_t bytes,
    unsigned retries, struct err *err)
{
	if (status == SNMP_ERR_NONE)
		snmp_reps_answered(&g->reps, retries);
	g->bytes += bytes;
	g->varbinds += g->walk->taken;
	return snmp_walk_answered(g->walk, status, index, err);
}

/* The guide. */

static void
drop_guide(struct snmp_gather *g, bool strike)
{
	g->guide.lanes = 0;
	if (strike && g->guide_strikes < GUIDE_STRIKES_OUT)
		g->guide_strikes++;
}

void
snmp_gather_failed(struct snmp_gather *g)
{
	if (g->guide.lanes > 0)
		drop_guide(g, true);
}

/* How many lanes an answer has room for, by the size of the last poll's varbinds. */
static unsigned
lanes_that_fit(const struct snmp_gather *g)
{
	size_t lane_bytes = g->varbinds == 0 ? ANSWER_BYTES : g->bytes / g->varbinds * g->reps.now;
	size_t lanes = lane_bytes == 0 ? 0 : ANSWER_BYTES / lane_bytes;

	return lanes > SNMP_LANES_MOST ? SNMP_LANES_MOST : (unsigned)lanes;
}

static bool
add_mark(struct snmp_gather *g, struct snmp_oid oid, struct snmp_oid *mark)
{
	uint32_t *ids = arena_array(&g->guide_arena, oid.len, sizeof(*ids));

	if (ids == NULL)
		return false;
	memcpy(ids, oid.ids, oid.len * sizeof(*ids));
	*mark = (struct snmp_oid){ ids, oid.len };
	return true;
}

/*
 * A mark for each repetitions-th object of each subtree, as a poll without guide found them: what
 * was got comes first, then subtree after subtree.
 */
static bool
set_marks(struct snmp_gather *g, struct snmp_oid *marks, size_t *first)
{
	const struct snmp_plan *plan = &g->conf->plan;
	const struct snmp_rows *rows = &g->rows;
	size_t count = 0, at = 0;

	for (size_t i = 0; i < rows->len; i++)
		at += rows->runs[i] == 0;
	for (size_t root = 0; root < plan->root_count; root++) {
		size_t found = 0;

		first[root] = count;
		for (; at < rows->len && snmp_oid_is_under(rows->all[at].name, plan->roots[root]);
		     at++) {
			if (++found % g->reps.now == 0 &&
			    !add_mark(g, rows->all[at].name, &marks[count++]))
				return false;
		}
	}
	first[plan->root_count] = count;
	return true;
}

/* Without memory there is no guide, and no harm. */
static void
make_guide(struct snmp_gather *g)
{
	size_t roots = g->conf->plan.root_count;
	unsigned lanes = lanes_that_fit(g);
	struct snmp_oid *marks;
	size_t *first;

	if (g->conf->plan.v1 || lanes < 2 || roots == 0)
		return;
	arena_reset(&g->guide_arena);
	marks = arena_array(&g->guide_arena, g->rows.len / g->reps.now + 1, sizeof(*marks));
	first = arena_array(&g->guide_arena, roots + 1, sizeof(*first));
	if (marks != NULL && first != NULL && set_marks(g, marks, first))
		g->guide = (struct snmp_guide){ marks, first, lanes };
}

static void
learn_guide(struct snmp_gather *g)
{
	if (g->guide.lanes == 0) {
		if (g->guide_strikes < GUIDE_STRIKES_OUT)
			make_guide(g);
	} else if (g->walk->narrow) {
		drop_guide(g, true);
	} else {
		g->guide_strikes = 0;
		if (g->walk->strayed)
			drop_guide(g, false);
	}
}

/* Metrics. */

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

/* Remembers a poll that was put together, but ever more seldom while none is as the one before. */
static void
learn_layout(struct snmp_gather *g, struct batch *batch)
{
	snmp_layout_unref(g->layout);
	g->layout = NULL;
	if (g->layouts == NULL || batch->bad_count > 0)
		return;
	if (g->wait > 0) {
		g->wait--;
		return;
	}
	g->wait = g->backoff;
	g->backoff = g->backoff == 0             ? 1
	             : g->backoff < BACKOFF_MOST ? g->backoff * 2
	                                         : BACKOFF_MOST;
	g->layout = snmp_layout_learn(g->layouts, &g->rows, g->conf->names, batch);
}

/* From scratch. */
static int
name_rows(struct snmp_gather *g, struct batch *batch, struct err *err)
{
	size_t nameless;

	if (snmp_rows_to_batch(&g->rows, &g->lookups, g->conf->names, batch, &nameless, err) != 0 ||
	    (g->has_uptime && add_restarts(g, batch, err) != 0))
		return -1;
	/* Who has no name when all are looked up has none at all. */
	if (g->looks_up)
		g->nameless = nameless;
	g->unnamed = nameless > g->nameless;
	learn_layout(g, batch);
	return 0;
}

/* As the poll before, if it is like that. */
static int
make_batch(struct snmp_gather *g, struct batch *batch, struct err *err)
{
	struct value restarts = { .u = g->restarts };
	enum snmp_fit fit = SNMP_OTHER;

	/* What was looked up names rows too. */
	if (g->layout != NULL && !g->looks_up)
		fit = snmp_layout_apply(
		    g->layout, &g->rows, &restarts, g->has_uptime ? 1 : 0, batch, err);
	if (fit == SNMP_OTHER)
		return name_rows(g, batch, err);
	if (g->backoff > 0)
		g->backoff--;
	return fit == SNMP_FITS ? 0 : -1;
}

int
snmp_gather_metrics(
    struct snmp_gather *g, struct batch *batch, int64_t now_ns, bool *restarted, struct err *err)
{
	if (!snmp_rows_sort(&g->rows, g->walk->run_count))
		return no_room(g->rows.arena, err);
	if (make_batch(g, batch, err) != 0)
		return -1;
	learn_guide(g);
	if (g->looks_up) {
		g->has_lookups = true;
		g->looked_up_ns = now_ns;
	}
	*restarted = g->restarts != g->restarts_told;
	g->restarts_told = g->restarts;
	return 0;
}
