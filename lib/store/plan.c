#include "store/plan_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/row_priv.h"
#include "store/set_priv.h"
#include "store/store_priv.h"

/* A plan's share of the table, which is at least a third full. */
#define TABLE_BYTES (3 * sizeof(struct map_entry))
#define NOWHERE     UINT32_MAX

void
plan_table_init(struct plan_table *table)
{
	lock_init(&table->lock, LOCK_meta);
	map_init(&table->by_layout);
}

void
plan_table_fini(struct plan_table *table)
{
	assert(table->by_layout.len == 0);
	map_fini(&table->by_layout);
	lock_fini(&table->lock);
}

static struct str
layout_key(const uint64_t *layout_id)
{
	return (struct str){ (const char *)layout_id, sizeof(*layout_id) };
}

static size_t
plan_bytes(uint32_t stream_count, size_t entry_count)
{
	return sizeof(struct plan) + stream_count * sizeof(struct plan_stream) +
	       entry_count * sizeof(struct plan_entry);
}

static void
discard(struct plan *plan)
{
	schema_unref(plan->schema);
	memory_uncharge(plan->store, TABLE_BYTES);
	memory_free(plan->store, plan, plan->bytes);
}

/* REQUIRES the table's lock. */
static void
take_out(struct plan_table *table, struct plan *plan)
{
	struct plan *first = map_get(&table->by_layout, layout_key(&plan->layout_id));
	struct plan **at = &first;

	while (*at != plan)
		at = &(*at)->next;
	*at = plan->next;
	/* The key is in the first one. */
	map_del(&table->by_layout, layout_key(&plan->layout_id));
	if (first != NULL) {
		int rc = map_put(&table->by_layout, layout_key(&first->layout_id), first);

		assert(rc == 0); /* a place was just left */
	}
}

void
plan_unref(struct plan *plan)
{
	struct plan_table *table;
	bool last;

	if (plan == NULL)
		return;
	/* The last one goes with the table locked, as who looks there takes a new one. */
	table = &plan->store->plans;
	lock_take(&table->lock);
	last = atomic_fetch_sub(&plan->refs, 1) == 1;
	if (last && plan->layout_id != 0)
		take_out(table, plan);
	lock_drop(&table->lock);
	if (last)
		discard(plan);
}

/* REQUIRES the table's lock. */
static struct plan *
find(struct plan_table *table, uint64_t layout_id, uint64_t serial)
{
	struct plan *plan = map_get(&table->by_layout, layout_key(&layout_id));

	while (plan != NULL && plan->from != serial && plan->schema->serial != serial)
		plan = plan->next;
	return plan;
}

/* The plan of a layout for sets with that schema, with a reference; NULL if nobody made it yet. */
static struct plan *
find_in_table(struct store *store, uint64_t layout_id, const struct schema *schema)
{
	struct plan *plan;

	lock_take(&store->plans.lock);
	plan = find(&store->plans, layout_id, schema == NULL ? 0 : schema->serial);
	if (plan != NULL)
		plan->refs++;
	lock_drop(&store->plans.lock);
	return plan;
}

/* Lets others find a plan; without memory for that, they make their own. */
static void
put_in_table(struct store *store, struct plan *plan, uint64_t layout_id)
{
	struct plan_table *table = &store->plans;

	lock_take(&table->lock);
	plan->layout_id = layout_id;
	plan->next = map_get(&table->by_layout, layout_key(&layout_id));
	/* The second is as good a place as the first, whose key is in use. */
	if (plan->next != NULL) {
		struct plan *first = plan->next;

		plan->next = first->next;
		first->next = plan;
	} else if (map_put(&table->by_layout, layout_key(&plan->layout_id), plan) != 0) {
		plan->layout_id = 0;
	}
	lock_drop(&table->lock);
}

/* True if the batch has the very metrics, in the same order and groups, that the plan is for. */
static bool
is_for(const struct plan *plan, const struct batch *batch)
{
	const struct schema *schema = plan->schema;

	if (plan->len != batch->len)
		return false;
	for (uint32_t i = 0; i < schema->stream_count; i++) {
		const struct plan_stream *stream = &plan->streams[i];

		for (uint32_t e = 0; e < stream->len; e++) {
			const struct plan_entry *entry = &plan->entries[stream->first + e];

			if (batch->group[entry->metric] != schema->streams[i].group_id ||
			    !desc_eq(&schema_meta(schema, i, entry->at)->desc,
			        &batch->desc[entry->metric]))
				return false;
		}
	}
	return true;
}

/* A plan in the making. */
struct target {
	uint32_t group; /* of the batch, counted from 0 */
	struct series_at known, at;
	bool waits; /* to move, when time allows */
};

struct vote {
	uint32_t group, stream, count;
	bool same_id; /* the stream had the group's number last time */
};

struct making {
	struct series_set *set;
	const struct batch *batch;
	struct moves *moves;
	struct draft draft;
	struct target *targets; /* by metric */
	uint32_t *streams;      /* by group: the stream it continues */
	int64_t *ids;           /* by group */
	uint32_t group_count;
	bool any_waits;
};

/* Counts the batch's groups and finds what is known of it. */
static int
look_up(struct making *m, struct err *err)
{
	const struct batch *batch = m->batch;
	struct map ids;
	int rc = 0;

	map_init(&ids);
	for (size_t i = 0; rc == 0 && i < batch->len; i++) {
		struct str id = { (const char *)&batch->group[i], sizeof(batch->group[i]) };
		struct target *target = &m->targets[i];
		void *number = map_get(&ids, id);

		if (number == NULL) {
			m->ids[m->group_count] = batch->group[i];
			number = (void *)(uintptr_t)++m->group_count;
			rc = map_put(&ids, id, number);
		}
		target->group = (uint32_t)(uintptr_t)number - 1;
		target->known.stream = NOWHERE;
		if (m->set->schema != NULL)
			schema_find_series(m->set->schema, &batch->desc[i], &target->known);
	}
	map_fini(&ids);
	if (rc != 0)
		err_nomem(err);
	return rc;
}

static int
cmp_pair(const void *a, const void *b)
{
	const struct vote *x = a, *y = b;

	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->stream > y->stream) - (x->stream < y->stream);
}

static int
cmp_count(const void *a, const void *b)
{
	const struct vote *x = a, *y = b;

	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	if (x->same_id != y->same_id)
		return x->same_id ? -1 : 1;
	return cmp_pair(a, b);
}

/* One vote per pair of group and stream that have a metric in common, with the number of those. */
static size_t
count_votes(const struct making *m, struct vote *votes)
{
	size_t n = 0, len = 0;

	for (size_t i = 0; i < m->batch->len; i++) {
		const struct target *target = &m->targets[i];

		if (target->known.stream != NOWHERE)
			votes[n++] = (struct vote){ target->group, target->known.stream, 1, false };
	}
	qsort(votes, n, sizeof(*votes), cmp_pair);
	for (size_t i = 0; i < n; i++) {
		if (len > 0 && cmp_pair(&votes[len - 1], &votes[i]) == 0)
			votes[len - 1].count++;
		else
			votes[len++] = votes[i];
	}
	for (size_t i = 0; i < len; i++)
		votes[i].same_id =
		    m->ids[votes[i].group] == m->draft.streams[votes[i].stream].group_id;
	qsort(votes, len, sizeof(*votes), cmp_count);
	return len;
}

static void
continue_stream(struct making *m, bool *taken, uint32_t group, uint32_t stream)
{
	m->streams[group] = stream;
	taken[stream] = true;
}

/* A stream for each group. */
static int
choose_streams(struct making *m, struct vote *votes, bool *taken, struct err *err)
{
	uint32_t old_count = m->draft.len;
	size_t n = count_votes(m, votes);

	for (uint32_t i = 0; i < m->group_count; i++)
		m->streams[i] = NOWHERE;
	for (size_t i = 0; i < n; i++) {
		if (m->streams[votes[i].group] == NOWHERE && !taken[votes[i].stream])
			continue_stream(m, taken, votes[i].group, votes[i].stream);
	}
	for (uint32_t i = 0; i < m->group_count; i++) {
		for (uint32_t s = 0; m->streams[i] == NOWHERE && s < old_count; s++) {
			/* One without series is as good as new. */
			if (!taken[s] && (m->draft.streams[s].group_id == m->ids[i] ||
			                     m->draft.streams[s].len == 0))
				continue_stream(m, taken, i, s);
		}
		if (m->streams[i] != NOWHERE)
			continue;
		m->streams[i] = m->draft.len;
		if (draft_add_stream(&m->draft, m->ids[i], err) != 0)
			return -1;
	}
	return 0;
}

/* True if time goes on in both streams, for a series to go from one to the other. */
static bool
can_move(const struct making *m, uint32_t from, uint32_t to, int64_t ts_ns)
{
	const struct series_set *set = m->set;

	return ts_ns > set->streams[from]->ts_ns &&
	       (to >= set->stream_count || ts_ns > set->streams[to]->ts_ns);
}

static int
add_move(struct moves *moves, struct series_at from, struct series_at to, struct err *err)
{
	if (moves->len == moves->cap) {
		size_t cap = moves->cap == 0 ? 8 : moves->cap * 2;
		struct move *grown = realloc(moves->moves, cap * sizeof(*grown));

		if (grown == NULL) {
			err_nomem(err);
			return -1;
		}
		moves->moves = grown;
		moves->cap = cap;
	}
	moves->moves[moves->len++] = (struct move){ from, to };
	return 0;
}

static int
place_known(
    struct making *m, struct target *target, uint32_t stream, int64_t ts_ns, struct err *err)
{
	struct draft_stream *old;
	struct meta *meta;

	target->at = target->known;
	if (target->known.stream == stream)
		return 0;
	target->waits = !can_move(m, target->known.stream, stream, ts_ns);
	if (target->waits) {
		m->any_waits = true;
		return 0;
	}
	old = &m->draft.streams[target->known.stream];
	meta = meta_ref(m->draft.store, old->metas[target->known.at]);
	if (draft_add_series(&m->draft, stream, meta, &target->at, err) != 0)
		return -1;
	m->draft.streams[target->known.stream].moved[target->known.at] = 1;
	return add_move(m->moves, target->known, target->at, err);
}

/* Places for all metrics. */
static int
place_all(struct making *m, struct err *err)
{
	const struct batch *batch = m->batch;

	for (size_t i = 0; i < batch->len; i++) {
		struct target *target = &m->targets[i];
		uint32_t stream = m->streams[target->group];
		struct meta *meta;

		m->draft.streams[stream].group_id = batch->group[i];
		if (target->known.stream != NOWHERE) {
			if (place_known(m, target, stream, ts_at_most(batch->ts[i]), err) != 0)
				return -1;
			continue;
		}
		meta =
		    meta_intern(m->draft.store, &batch->desc[i], desc_hash(&batch->desc[i]), err);
		if (meta == NULL ||
		    draft_add_series(&m->draft, stream, meta, &target->at, err) != 0)
			return -1;
	}
	return 0;
}

static enum take
take_of(enum kind kind)
{
	switch ((int)kind) {
	case KIND_BOOL:
		return TAKE_BOOL;
	case KIND_STRING:
		return TAKE_STRING;
	case KIND_LIST:
		return TAKE_LIST;
	case KIND_DIST:
		return TAKE_DIST;
	default:
		return TAKE_WORD;
	}
}

static int
cmp_entries(const void *a, const void *b)
{
	const struct plan_entry *x = a, *y = b;

	return (x->at > y->at) - (x->at < y->at);
}

static void
fill_streams(struct plan *plan, const struct making *m)
{
	uint32_t first = 0;

	for (uint32_t s = 0; s < plan->schema->stream_count; s++)
		plan->streams[s] = (struct plan_stream){ .metric = -1 };
	for (size_t i = 0; i < plan->len; i++)
		plan->streams[m->targets[i].at.stream].len++;
	for (uint32_t s = 0; s < plan->schema->stream_count; s++) {
		plan->streams[s].first = first;
		first += plan->streams[s].len;
		plan->streams[s].len = 0;
	}
	for (size_t i = 0; i < plan->len; i++) {
		const struct target *target = &m->targets[i];
		struct plan_stream *stream = &plan->streams[target->at.stream];
		enum take take = target->waits ? TAKE_NONE : take_of(m->batch->desc[i].kind);

		plan->entries[stream->first + stream->len++] = (struct plan_entry){
			.metric = (uint32_t)i, .at = target->at.at & 0x1fffffff, .take = take & 7u
		};
		stream->dist_count += take == TAKE_DIST;
		if (take != TAKE_NONE)
			stream->metric = (int64_t)i;
	}
	for (uint32_t s = 0; s < plan->schema->stream_count; s++)
		qsort(plan->entries + plan->streams[s].first, plan->streams[s].len,
		    sizeof(*plan->entries), cmp_entries);
}

/* Takes the reference to schema, also on error. */
static struct plan *
alloc(struct making *m, struct schema *schema, struct err *err)
{
	struct store *store = m->set->store;
	size_t bytes = plan_bytes(schema->stream_count, m->batch->len);
	struct plan *plan = NULL;

	if (memory_charge(store, TABLE_BYTES, err) == 0) {
		plan = memory_alloc(store, bytes, err);
		if (plan == NULL)
			memory_uncharge(store, TABLE_BYTES);
	}
	if (plan == NULL) {
		schema_unref(schema);
		return NULL;
	}
	*plan = (struct plan){ .store = store, .bytes = bytes, .schema = schema };
	atomic_init(&plan->refs, 1);
	plan->len = m->batch->len;
	plan->once = m->any_waits;
	plan->from = m->set->schema == NULL ? 0 : m->set->schema->serial;
	/* Who moves needs to be told so each time. */
	if (m->moves->len > 0)
		plan->from = schema->serial;
	plan->entries = (struct plan_entry *)(void *)&plan->streams[schema->stream_count];
	fill_streams(plan, m);
	return plan;
}

static struct plan *
make(struct making *m, struct vote *votes, bool *taken, struct err *err)
{
	struct schema *schema;

	if (look_up(m, err) != 0 || choose_streams(m, votes, taken, err) != 0 ||
	    place_all(m, err) != 0)
		return NULL;
	schema = draft_finish(&m->draft, err);
	return schema == NULL ? NULL : alloc(m, schema, err);
}

/* What the draft begins with, and room for what is found out. */
static struct plan *
plan_make(struct series_set *set, const struct batch *batch, struct moves *moves, struct err *err)
{
	struct making m = { .set = set, .batch = batch, .moves = moves };
	size_t n = batch->len + 1;
	struct vote *votes = malloc(n * sizeof(*votes));
	bool *taken = calloc(set->stream_count + 1, sizeof(*taken));
	struct plan *plan = NULL;

	assert(batch->len < 1 << 28);
	m.targets = calloc(n, sizeof(*m.targets));
	m.streams = malloc(n * sizeof(*m.streams));
	m.ids = malloc(n * sizeof(*m.ids));
	if (draft_init(&m.draft, set->store, set->schema, err) != 0)
		goto out;
	if (votes == NULL || taken == NULL || m.targets == NULL || m.streams == NULL ||
	    m.ids == NULL)
		err_nomem(err);
	else
		plan = make(&m, votes, taken, err);
out:
	draft_fini(&m.draft);
	free(m.ids);
	free(m.streams);
	free(m.targets);
	free(taken);
	free(votes);
	return plan;
}

struct plan *
plan_for(struct series_set *set, const struct batch *batch, struct moves *moves, struct err *err)
{
	uint64_t layout_id = batch->layout_id;
	struct plan *plan = set->plan;

	if (plan != NULL && plan->schema == set->schema &&
	    (layout_id != 0 ? plan->layout_id == layout_id : is_for(plan, batch)))
		return plan;
	plan = layout_id == 0 ? NULL : find_in_table(set->store, layout_id, set->schema);
	if (plan != NULL)
		return plan;
	plan = plan_make(set, batch, moves, err);
	if (plan != NULL && layout_id != 0 && !plan->once)
		put_in_table(set->store, plan, layout_id);
	return plan;
}
