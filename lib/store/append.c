/*
 * An append goes in three steps. Compare: the batch's values with the newest ones, without the
 * set's lock, as this thread alone changes those; the rows that undo the differences are encoded
 * into scratch memory. Prepare: get all that can fail. Apply: with the lock held, tell the journal,
 * put the rows into the log and the values into place, so that a poll lands whole or not at all
 * (land.c).
 */
#include <assert.h>
#include <stdlib.h>

#include "store/append_priv.h"
#include "store/redo_priv.h"
#include "store/store_priv.h"

#define LINE_BYTES 64
/* Of a distribution, what most have. */
#define DIST_BYTES (sizeof(struct blob) + sizeof(struct held_dist) + 20 * sizeof(uint64_t))

/* In metric_of: what is at a position, if not a metric of the batch. */
#define NOTHING UINT32_MAX       /* in the batch */
#define WAITS   (UINT32_MAX - 1) /* seen, but its value is not taken */
#define LEAVES  (UINT32_MAX - 2)

struct before
append_state_before(const struct append *a, uint32_t i)
{
	const struct stream *s;

	if (i >= a->set->stream_count)
		return (struct before){ .ts_ns = TS_NONE };
	s = a->set->streams[i];
	return (struct before){ s->len, s->active_count, s->ts_ns, s->pace };
}

static const struct metric_desc *
desc_of(const struct append *a, uint32_t i, uint32_t at)
{
	return &schema_meta(a->plan->schema, i, at)->desc;
}

/* Distributions: what a value counts as. */

/* The most resets of other series with that path and tags. */
static uint64_t
most_rollovers(const struct append *a, const struct metric_desc *desc, struct series_at self)
{
	const struct schema *schema = a->set->schema;
	uint64_t most = 0;

	if (schema == NULL || !a->plan->schema->has_dist_siblings)
		return 0;
	for (uint32_t i = schema_find(schema, desc); i < schema->order_len; i++) {
		struct series_at at = schema->order[i];
		const struct metric_desc *other = &schema_meta(schema, at.stream, at.at)->desc;
		const struct dist *dist;

		if (desc_cmp(other, desc) != 0)
			break;
		if (other->kind != KIND_DIST || (at.stream == self.stream && at.at == self.at))
			continue;
		dist = &blob_dist(blob_of_bits(a->set->streams[at.stream]->bits[at.at]))->dist;
		if (dist->rollovers > most)
			most = dist->rollovers;
	}
	return most;
}

/* held: what it was before, NULL for a new series. */
static uint64_t
rollovers_of(const struct append *a, const struct metric_desc *desc, struct series_at self,
    const struct held_dist *held, const struct dist *dist)
{
	uint64_t others = most_rollovers(a, desc, self);

	if (held == NULL)
		return others + 1;
	if (others > held->dist.rollovers)
		return others + 1;
	return held->dist.rollovers + (dist->generation < held->generation);
}

/* What was known of a series that moves to this place, else of none. */
static const struct held_dist *
dist_before_move(const struct append *a, struct series_at to)
{
	for (size_t i = 0; i < a->moves.len; i++) {
		const struct move *move = &a->moves.moves[i];

		if (move->to.stream == to.stream && move->to.at == to.at)
			return blob_dist(
			    blob_of_bits(a->set->streams[move->from.stream]->bits[move->from.at]));
	}
	return NULL;
}

/*
 * What an append reads lies in many small blocks, and a poll later no cache holds them any more:
 * they are asked for together, so that their ways from memory overlap.
 */

static inline void
fetch(const void *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i += LINE_BYTES)
		__builtin_prefetch((const char *)p + i);
	__builtin_prefetch((const char *)p + bytes - 1);
}

void
store_fetch(struct series_set *set)
{
	for (uint32_t i = 0; i < set->stream_count; i++)
		fetch(set->streams[i], sizeof(struct stream));
	lock_take(&set->lock); /* pages may be reclaimed meanwhile */
	for (uint32_t i = 0; i < set->stream_count; i++) {
		const struct stream *s = set->streams[i];

		if (s->len > 0)
			fetch(s->bits, (s->len + 2) * sizeof(*s->bits));
		if (s->newest != NULL)
			fetch(s->newest, sizeof(*s->newest));
	}
	lock_drop(&set->lock);
}

/* And what those lead to: distributions, and where rows go. */
static void
fetch_more(const struct append *a)
{
	lock_take(&a->set->lock);
	for (uint32_t i = 0; i < a->set->stream_count; i++) {
		const struct page *newest = a->set->streams[i]->newest;

		if (newest != NULL)
			fetch(newest->data + newest->start, 1);
	}
	lock_drop(&a->set->lock);
	for (uint32_t i = 0; i < a->set->stream_count; i++) {
		const struct plan_stream *plan = &a->plan->streams[i];
		const struct plan_entry *entry = &a->plan->entries[plan->first];
		const struct stream *s = a->set->streams[i];

		for (uint32_t left = plan->dist_count; left > 0; entry++) {
			if (entry->take != TAKE_DIST)
				continue;
			left--;
			fetch(blob_of_bits(s->bits[entry->at]), DIST_BYTES);
		}
	}
}

/* From values to bits. */

static uint64_t
word_of(enum take take, const struct value *value)
{
	return take == TAKE_BOOL ? value->b : value->u;
}

static bool
holds_blob(const struct metric_desc *desc, enum take take, uint64_t bits, const struct value *value)
{
	const struct blob *blob = blob_of_bits(bits);

	if (take == TAKE_STRING)
		return str_eq(blob == NULL ? STR_EMPTY : blob->s, value->s);
	if (blob == NULL)
		return value->list->len == 0;
	return value_eq(desc, &(struct value){ .list = &blob->list }, value);
}

static int
make_blob(struct append *a, const struct metric_desc *desc, const struct value *value,
    uint64_t rollovers, uint64_t *bits, struct err *err)
{
	struct store *store = a->set->store;
	struct blob *blob = NULL;
	int rc = 0;

	if (desc->kind == KIND_STRING) {
		rc = blob_new_string(store, value->s, &blob, err);
	} else if (desc->kind == KIND_LIST) {
		rc = blob_new_list(store, desc->sub_kind, value->list, &blob, err);
	} else {
		blob = blob_new_dist(store, value->dist->len, err);
		rc = blob == NULL ? -1 : 0;
		if (blob != NULL)
			blob_set_dist(blob, value->dist, rollovers);
	}
	if (blob != NULL)
		a->scratch->fresh[a->scratch->fresh_len++] = blob;
	*bits = (uintptr_t)blob;
	return rc;
}

/* The bits of a series that is new at its place. */
static int
first_bits(
    struct append *a, uint32_t i, const struct plan_entry *entry, uint64_t *bits, struct err *err)
{
	const struct value *value = &a->batch->value[entry->metric];
	const struct metric_desc *desc = desc_of(a, i, entry->at);
	struct series_at self = { i, entry->at };
	uint64_t rollovers = 0;

	if (entry->take == TAKE_WORD || entry->take == TAKE_BOOL) {
		*bits = word_of(entry->take, value);
		return 0;
	}
	if (entry->take == TAKE_DIST)
		rollovers = rollovers_of(a, desc, self, dist_before_move(a, self), value->dist);
	return make_blob(a, desc, value, rollovers, bits, err);
}

/* Rows. */

struct work *
append_begin_work(struct append *a, uint32_t stream, const struct before *before, int64_t ts_ns)
{
	struct scratch *s = a->scratch;
	struct work *work = &s->works[s->work_len++];

	*work = (struct work){ .stream = stream,
		.is_patch = ts_ns == before->ts_ns,
		.len_before = before->len,
		.change = (uint32_t)s->change_len,
		.born = (uint32_t)s->born_len,
		.row = { .ts_ns = ts_ns } };
	return work;
}

struct row_change *
append_add_change(struct append *a, struct work *work, uint32_t at, enum row_how how)
{
	struct scratch *s = a->scratch;
	struct row_change *change = &s->changes[s->change_len];

	s->spares[s->change_len++] = NULL;
	work->change_count++;
	*change = (struct row_change){ .at = at, .how = (uint8_t)how };
	return change;
}

static void
count_records(struct work *work, const struct before *after)
{
	uint32_t births = work->born_count + work->reborn_count;

	if (work->is_patch) {
		work->row.every_count = work->row.change_count = births;
	} else {
		work->row.every_count = after->active_count + work->stopped_count;
		work->row.change_count = work->change_count + work->born_count;
		work->row.value_count = work->change_count - work->reborn_count;
	}
	/* A series counts as one value; one that moved has another where it was. */
	work->row.value_count += work->moved_count;
}

/* Not even that there was a poll. */
static bool
says_nothing(const struct append *a, const struct work *work)
{
	if (a->is_restored || work->change_count > 0 || work->born_count > 0)
		return false;
	return work->is_patch || a->batch == NULL || a->plan->streams[work->stream].metric < 0;
}

/* The row's bytes, and if there is a journal those that it is told. -1: out of memory. */
static int
encode_work(struct append *a, struct work *work, struct row_late late)
{
	struct scratch *s = a->scratch;
	const struct row_change *changes = &s->changes[work->change];
	const uint8_t *classes = append_classes(a, work->stream);
	uint32_t len_after = work->len_before + work->born_count;
	int rc;

	work->off = s->rows.len;
	work->redo_off = s->redos.len;
	if (work->change_count > 0 && a->set->store->tap != NULL && !a->is_restored)
		rc = row_encode_both(&s->rows, &s->redos, late, work->len_before, len_after,
		    classes, changes, work->change_count);
	else
		rc = row_encode(&s->rows, late, work->len_before, len_after, classes, changes,
		    work->change_count);
	work->row.bytes = s->rows.len - work->off;
	work->redo_bytes = s->redos.len - work->redo_off;
	return rc;
}

int
append_end_work(struct append *a, struct work *work, struct before *before, struct err *err)
{
	struct scratch *s = a->scratch;
	struct row_late late = { .unit = ROW_PATCH };
	struct pace pace = before->pace;

	if (says_nothing(a, work)) {
		s->work_len--;
		return 0;
	}
	if (before->ts_ns == TS_NONE)
		pace_begin(&pace, work->row.ts_ns);
	else if (!work->is_patch)
		late = pace_advance(&pace, work->row.ts_ns);
	if (encode_work(a, work, late) != 0) {
		err_nomem(err);
		return -1;
	}
	*before = (struct before){
		.len = before->len + work->born_count,
		.active_count = before->active_count + work->born_count + work->reborn_count +
		                work->woken_count - work->stopped_count,
		.ts_ns = work->row.ts_ns,
		.pace = pace,
	};
	count_records(work, before);
	a->added += work->row.change_count;
	return 0;
}

void
append_note_ref(struct work *work, uint64_t bits)
{
	work->ref_count++;
	work->row.held_bytes += (uint32_t)sizeof(struct ring_item);
	if (bits != 0)
		work->row.held_bytes += (uint32_t)blob_of_bits(bits)->bytes;
}

/* Another value at a position that had one. */
static int
add_value(struct append *a, struct work *work, const struct plan_entry *entry, bool active,
    uint64_t rollovers, struct err *err)
{
	const struct value *value = &a->batch->value[entry->metric];
	uint64_t bits = a->set->streams[work->stream]->bits[entry->at];
	struct row_change *change =
	    append_add_change(a, work, entry->at, active ? ROW_SET : ROW_WAKE);
	struct scratch *s = a->scratch;

	work->woken_count += !active;
	if (entry->take == TAKE_DIST) {
		const struct held_dist *held = blob_dist(blob_of_bits(bits));
		struct row_dist *dists = &s->dists[s->dist_len];

		s->dist_len += 2;
		dists[0] = (struct row_dist){ held->dist.rollovers, held->dist.sum, held->dist.len,
			(uint64_t *)(uintptr_t)held->counts };
		dists[1] = (struct row_dist){ rollovers, value->dist->sum, value->dist->len,
			(uint64_t *)(uintptr_t)value->dist->counts };
		change->before = (uintptr_t)&dists[0];
		change->after = (uintptr_t)&dists[1];
		return 0;
	}
	change->before = bits;
	if (entry->take == TAKE_WORD || entry->take == TAKE_BOOL) {
		change->after = word_of(entry->take, value);
		return 0;
	}
	append_note_ref(work, bits);
	return make_blob(a, desc_of(a, work->stream, entry->at), value, 0, &change->after, err);
}

/* What the batch has for a position that had a value before. */
static int
compare(struct append *a, struct work *work, const struct plan_entry *entry, bool active,
    struct err *err)
{
	const struct value *value = &a->batch->value[entry->metric];
	uint64_t bits = a->set->streams[work->stream]->bits[entry->at], rollovers = 0;
	bool same;

	if (entry->take == TAKE_WORD || entry->take == TAKE_BOOL) {
		same = word_of(entry->take, value) == bits;
	} else if (entry->take == TAKE_DIST) {
		const struct metric_desc *desc = desc_of(a, work->stream, entry->at);
		const struct held_dist *held = blob_dist(blob_of_bits(bits));
		struct dist dist = *value->dist;

		rollovers = rollovers_of(
		    a, desc, (struct series_at){ work->stream, entry->at }, held, value->dist);
		dist.rollovers = rollovers;
		same = value_eq(
		    desc, &(struct value){ .dist = &held->dist }, &(struct value){ .dist = &dist });
	} else {
		same = holds_blob(
		    desc_of(a, work->stream, entry->at), (enum take)entry->take, bits, value);
	}
	if (!same)
		return add_value(a, work, entry, active, rollovers, err);
	if (!active) {
		append_add_change(a, work, entry->at, ROW_FLIP);
		work->woken_count++;
	}
	return 0;
}

/*
 * Words of metrics, from an entry up to the first that is none. Which ones change can't be
 * foretold: all are noted, those count.
 */
static const struct plan_entry *
compare_words(struct append *a, struct work *work, const struct plan_entry *entry,
    const struct plan_entry *end)
{
	const uint64_t *bits = a->set->streams[work->stream]->bits;
	const struct value *value = a->batch->value;
	struct scratch *s = a->scratch;
	struct row_change *first = &s->changes[s->change_len], *change = first;
	size_t n;

	for (; entry < end && entry->take == TAKE_WORD; entry++) {
		uint64_t was = bits[entry->at], now = value[entry->metric].u;

		*change = (struct row_change){ entry->at, ROW_SET, was, now };
		change += now != was;
	}
	n = (size_t)(change - first);
	memset(&s->spares[s->change_len], 0, n * sizeof(*s->spares));
	s->change_len += n;
	work->change_count += (uint32_t)n;
	return entry;
}

/* All that is active is in the batch and the reverse, as was so the last time. */
static int
compare_settled(struct append *a, struct work *work, struct err *err)
{
	const struct plan_stream *plan = &a->plan->streams[work->stream];
	const struct plan_entry *entry = &a->plan->entries[plan->first];
	const struct plan_entry *end = entry + plan->len;

	while ((entry = compare_words(a, work, entry, end)) < end) {
		if (compare(a, work, entry++, true, err) != 0)
			return -1;
	}
	return 0;
}

/* True if a new series takes a position that was freed. */
static bool
is_reborn(const struct append *a, uint32_t stream, uint32_t at)
{
	const struct schema *old = a->set->schema;

	return a->plan->schema != old && schema_meta(old, stream, at) == NULL;
}

void
append_note_birth(const struct append *a, struct work *work, uint32_t at)
{
	for (size_t i = 0; i < a->moves.len; i++) {
		const struct move *move = &a->moves.moves[i];

		work->moved_count += move->to.stream == work->stream && move->to.at == at;
	}
}

/* What there is in metric_of for each position the stream has. */
static void
find_metrics(struct append *a, uint32_t stream, const struct before *before)
{
	uint32_t *metric_of = a->scratch->metric_of;
	const struct plan_stream *plan;

	for (uint32_t at = 0; at < before->len; at++)
		metric_of[at] = NOTHING;
	for (size_t i = 0; i < a->moves.len; i++) {
		if (a->moves.moves[i].from.stream == stream)
			metric_of[a->moves.moves[i].from.at] = LEAVES;
	}
	if (a->batch == NULL)
		return;
	plan = &a->plan->streams[stream];
	for (uint32_t e = plan->first; e < plan->first + plan->len; e++) {
		const struct plan_entry *entry = &a->plan->entries[e];

		if (entry->at < before->len)
			metric_of[entry->at] = entry->take == TAKE_NONE ? WAITS : e;
	}
}

/* A new series at a position that was freed. */
static int
add_reborn(struct append *a, struct work *work, const struct plan_entry *entry, struct err *err)
{
	struct row_change *change = append_add_change(a, work, entry->at, ROW_BORN);

	work->reborn_count++;
	append_note_birth(a, work, entry->at);
	return first_bits(a, work->stream, entry, &change->after, err);
}

/* Position by position: what came, changed, went. */
static int
compare_all(struct append *a, struct work *work, bool values, struct err *err)
{
	for (uint32_t at = 0; at < work->len_before; at++) {
		const struct stream *s = a->set->streams[work->stream];
		uint32_t e = a->scratch->metric_of[at];
		bool active = bit_get(s->active, at);
		int rc = 0;

		if (e == WAITS || e == LEAVES || (e == NOTHING && !active))
			continue;
		if (e == NOTHING) {
			if (values) {
				append_add_change(a, work, at, ROW_FLIP);
				work->stopped_count++;
			}
		} else if (is_reborn(a, work->stream, at)) {
			rc = add_reborn(a, work, &a->plan->entries[e], err);
		} else if (values) {
			rc = compare(a, work, &a->plan->entries[e], active, err);
		} else {
			a->stale++;
		}
		if (rc != 0)
			return -1;
	}
	return 0;
}

/* Series at positions beyond those there were. */
static int
add_born(struct append *a, struct work *work, struct err *err)
{
	const struct plan_stream *plan = &a->plan->streams[work->stream];
	struct scratch *s = a->scratch;

	for (uint32_t e = plan->first; e < plan->first + plan->len; e++) {
		const struct plan_entry *entry = &a->plan->entries[e];

		if (entry->at < work->len_before)
			continue;
		assert(entry->at == work->len_before + work->born_count);
		if (first_bits(a, work->stream, entry, &s->born[s->born_len], err) != 0)
			return -1;
		s->born_len++;
		work->born_count++;
		append_note_birth(a, work, entry->at);
	}
	return 0;
}

/* A patch in which those that go to another stream become inactive here. */
static int
work_leaves(struct append *a, uint32_t stream, struct before *before, struct err *err)
{
	struct work *work;

	if (a->moves.len == 0)
		return 0;
	work = append_begin_work(a, stream, before, before->ts_ns);
	for (uint32_t at = 0; at < before->len; at++) {
		if (a->scratch->metric_of[at] == LEAVES &&
		    bit_get(a->set->streams[stream]->active, at)) {
			append_add_change(a, work, at, ROW_FLIP);
			work->stopped_count++;
		}
	}
	return append_end_work(a, work, before, err);
}

/* A group that is not there: a marker for each active series. */
static int
work_absent(struct append *a, uint32_t stream, struct before *before, struct err *err)
{
	int64_t ts_ns = a->wanted_ns;
	struct work *work;

	if (before->active_count == 0)
		return 0;
	assert(before->ts_ns <= INT64_MAX - NS_PER_MS);
	if (ts_ns < before->ts_ns + NS_PER_MS)
		ts_ns = before->ts_ns + NS_PER_MS;
	work = append_begin_work(a, stream, before, ts_ns);
	if (compare_all(a, work, true, err) != 0)
		return -1;
	return append_end_work(a, work, before, err);
}

static int
work_present(struct append *a, uint32_t stream, struct before *before, struct err *err)
{
	const struct plan_stream *plan = &a->plan->streams[stream];
	int64_t ts_ns = ts_at_most(a->batch->ts[plan->metric]);
	bool advances = before->ts_ns == TS_NONE || ts_ns > before->ts_ns;
	struct work *work = append_begin_work(a, stream, before, advances ? ts_ns : before->ts_ns);

	if (compare_all(a, work, advances, err) != 0 || add_born(a, work, err) != 0)
		return -1;
	return append_end_work(a, work, before, err);
}

static bool
is_settled(const struct append *a, uint32_t stream, const struct before *before)
{
	const struct plan_stream *plan;

	if (a->batch == NULL || a->plan_is_new)
		return false;
	plan = &a->plan->streams[stream];
	return plan->metric >= 0 && a->set->streams[stream]->settled &&
	       ts_at_most(a->batch->ts[plan->metric]) > before->ts_ns;
}

static int
work_settled(struct append *a, uint32_t stream, struct before *before, struct err *err)
{
	int64_t ts_ns = ts_at_most(a->batch->ts[a->plan->streams[stream].metric]);
	struct work *work = append_begin_work(a, stream, before, ts_ns);

	if (compare_settled(a, work, err) != 0)
		return -1;
	return append_end_work(a, work, before, err);
}

/* The rows of one stream. */
static int
work_stream(struct append *a, uint32_t stream, struct err *err)
{
	struct before before = append_state_before(a, stream);

	if (is_settled(a, stream, &before))
		return work_settled(a, stream, &before, err);
	find_metrics(a, stream, &before);
	if (work_leaves(a, stream, &before, err) != 0)
		return -1;
	if (a->batch != NULL && a->plan->streams[stream].metric >= 0)
		return work_present(a, stream, &before, err);
	return work_absent(a, stream, &before, err);
}

void
append_end_works(struct append *a)
{
	for (size_t i = 0; i < a->scratch->work_len; i++) {
		struct work *work = &a->scratch->works[i];

		work->row.p = (const uint8_t *)a->scratch->rows.p + work->off;
	}
}

static int
work_all(struct append *a, struct err *err)
{
	const struct schema *schema = a->schema;
	uint32_t count = schema == NULL ? 0 : schema->stream_count;
	size_t positions = (schema == NULL ? 0 : schema->len) + a->moves.len;

	if (a->plan != NULL && !a->plan_is_new)
		fetch_more(a);
	a->scratch = scratch_take(a->set->store, positions, count, err);
	if (a->scratch == NULL)
		return -1;
	for (uint32_t i = 0; i < count; i++) {
		if (work_stream(a, i, err) != 0)
			return -1;
	}
	if (a->plan != NULL && a->plan->once) {
		for (uint32_t i = 0; i < a->plan->len; i++)
			a->stale += a->plan->entries[i].take == TAKE_NONE;
	}
	append_end_works(a);
	return 0;
}

static int
append_batch(
    struct series_set *set, const struct batch *batch, struct append_stats *stats, struct err *err)
{
	struct append a = { .set = set, .batch = batch, .wanted_ns = TS_NONE };
	int rc = -1;

	if (set->dead_count > 0)
		set_sweep_dead(set);
	a.plan = plan_for(set, batch, &a.moves, err);
	a.plan_is_new = a.plan != NULL && a.plan != set->plan;
	a.schema = a.plan == NULL ? NULL : a.plan->schema;
	if (a.plan != NULL && work_all(&a, err) == 0 && append_land(&a, err) == 0) {
		*stats = (struct append_stats){ .added = a.added, .stale = a.stale };
		rc = 0;
	}
	append_fini(&a, rc == 0);
	return rc;
}

int
store_append(
    struct series_set *set, const struct batch *batch, struct append_stats *stats, struct err *err)
{
	int rc;

	assert(set != NULL && batch != NULL && stats != NULL && err != NULL);
	rc = append_batch(set, batch, stats, err);
	if (rc != 0 && err->code == ERR_LIMIT && set_give_up_ended(set))
		rc = append_batch(set, batch, stats, err);
	if (rc != 0)
		err_wrap(err, "append %zu values to %.*s/%.*s", batch->len, STR_ARG(set->host),
		    STR_ARG(set->app));
	return rc;
}

/* Ends all series without any memory: what was is given up. */
static size_t
deactivate_without_memory(struct series_set *set, int64_t ts_ns)
{
	size_t marked = 0;

	lock_take(&set->lock);
	redo_not_told(set);
	for (uint32_t i = 0; i < set->stream_count; i++) {
		struct work work = { .lost = true };
		struct stream *s = set->streams[i];

		if (s->active_count == 0)
			continue;
		marked += s->active_count;
		work.row.every_count = work.row.change_count = s->active_count;
		work.row.ts_ns = s->ts_ns + NS_PER_MS > ts_ns ? s->ts_ns + NS_PER_MS : ts_ns;
		for (uint32_t at = 0; at < s->len; at++) {
			if (bit_get(s->active, at))
				append_stop(&work, s, at);
		}
		log_lose(s, &work.row);
		s->settled = false;
	}
	set->append_count++;
	lock_drop(&set->lock);
	return marked;
}

size_t
store_deactivate(struct series_set *set, int64_t ts_ns)
{
	struct append a = { .set = set, .schema = set->schema, .wanted_ns = ts_at_most(ts_ns) };
	bool done;
	struct err err;

	assert(set != NULL);
	if (set->active_count == 0)
		return 0;
	done = work_all(&a, &err) == 0 && append_land(&a, &err) == 0;
	append_fini(&a, done);
	return done ? a.added : deactivate_without_memory(set, a.wanted_ns);
}
