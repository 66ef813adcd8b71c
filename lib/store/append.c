/*
 * An append goes in three steps. Compare: the batch's values with the newest ones, without the
 * set's lock, as this thread alone changes those; the rows that undo the differences are encoded
 * into scratch memory. Prepare: get all that can fail. Apply: with the lock held, put the rows into
 * the log and the values into place, so that a poll lands whole or not at all.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/cursor_priv.h"
#include "store/scratch_priv.h"
#include "store/set_priv.h"
#include "store/store_priv.h"

/* In metric_of: what is at a position, if not a metric of the batch. */
#define NOTHING UINT32_MAX       /* in the batch */
#define WAITS   (UINT32_MAX - 1) /* seen, but its value is not taken */
#define LEAVES  (UINT32_MAX - 2)

struct append {
	struct series_set *set;
	const struct batch *batch; /* NULL: nothing is there any more */
	struct plan *plan;         /* NULL without batch */
	bool plan_is_new;
	int64_t wanted_ns; /* without batch: time of markers, if late enough */
	struct moves moves;
	struct scratch *scratch;
	size_t added, stale; /* metrics */
};

/* What is known of a stream before the append; a stream to be made is empty. */
struct before {
	uint32_t len, active_count;
	int64_t ts_ns;
	struct pace pace; /* undefined if ts_ns is TS_NONE */
};

static struct before
state_before(const struct append *a, uint32_t i)
{
	const struct stream *s;

	if (i >= a->set->stream_count)
		return (struct before){ .ts_ns = TS_NONE };
	s = a->set->streams[i];
	return (struct before){ s->len, s->active_count, s->ts_ns, s->pace };
}

static const uint8_t *
classes_of(const struct append *a, uint32_t i)
{
	return schema_classes(a->plan == NULL ? a->set->schema : a->plan->schema, i);
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

static struct work *
begin_work(struct append *a, uint32_t stream, const struct before *before, int64_t ts_ns)
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

static struct row_change *
add_change(struct append *a, struct work *work, uint32_t at, enum row_how how)
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

/* Encodes the row, unless it says nothing, and makes of before what is after it. */
static int
end_work(struct append *a, struct work *work, struct before *before, struct err *err)
{
	struct scratch *s = a->scratch;
	struct row_late late = { .unit = ROW_PATCH };
	struct pace pace = before->pace;

	if (work->change_count == 0 && work->born_count == 0 &&
	    (work->is_patch || a->batch == NULL || a->plan->streams[work->stream].metric < 0)) {
		s->work_len--;
		return 0;
	}
	if (before->ts_ns == TS_NONE)
		pace_begin(&pace, work->row.ts_ns);
	else if (!work->is_patch)
		late = pace_advance(&pace, work->row.ts_ns);
	work->off = s->rows.len;
	if (row_encode(&s->rows, late, work->len_before, work->len_before + work->born_count,
	        classes_of(a, work->stream), &s->changes[work->change], work->change_count) != 0) {
		err_nomem(err);
		return -1;
	}
	work->row.bytes = s->rows.len - work->off;
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

/* Another value at a position that had one. */
static int
add_value(struct append *a, struct work *work, const struct plan_entry *entry, bool active,
    uint64_t rollovers, struct err *err)
{
	const struct value *value = &a->batch->value[entry->metric];
	uint64_t bits = a->set->streams[work->stream]->bits[entry->at];
	struct row_change *change = add_change(a, work, entry->at, active ? ROW_SET : ROW_WAKE);
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
	work->ref_count++;
	work->row.held_bytes += (uint32_t)sizeof(struct ring_item);
	if (bits != 0)
		work->row.held_bytes += (uint32_t)blob_of_bits(bits)->bytes;
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
		add_change(a, work, entry->at, ROW_FLIP);
		work->woken_count++;
	}
	return 0;
}

/* All that is active is in the batch and the reverse, as was so the last time. */
static int
compare_settled(struct append *a, struct work *work, struct err *err)
{
	const struct plan_stream *plan = &a->plan->streams[work->stream];
	const struct plan_entry *entry = &a->plan->entries[plan->first];
	const struct plan_entry *end = entry + plan->len;
	const uint64_t *bits = a->set->streams[work->stream]->bits;
	const struct value *value = a->batch->value;

	for (; entry < end; entry++) {
		if (entry->take == TAKE_WORD) {
			uint64_t now = value[entry->metric].u;

			if (now != bits[entry->at]) {
				struct row_change *change = add_change(a, work, entry->at, ROW_SET);

				change->before = bits[entry->at];
				change->after = now;
			}
		} else if (compare(a, work, entry, true, err) != 0) {
			return -1;
		}
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

static void
note_birth(struct append *a, struct work *work, uint32_t at)
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
	struct row_change *change = add_change(a, work, entry->at, ROW_BORN);

	work->reborn_count++;
	note_birth(a, work, entry->at);
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
				add_change(a, work, at, ROW_FLIP);
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
		note_birth(a, work, entry->at);
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
	work = begin_work(a, stream, before, before->ts_ns);
	for (uint32_t at = 0; at < before->len; at++) {
		if (a->scratch->metric_of[at] == LEAVES &&
		    bit_get(a->set->streams[stream]->active, at)) {
			add_change(a, work, at, ROW_FLIP);
			work->stopped_count++;
		}
	}
	return end_work(a, work, before, err);
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
	work = begin_work(a, stream, before, ts_ns);
	if (compare_all(a, work, true, err) != 0)
		return -1;
	return end_work(a, work, before, err);
}

static int
work_present(struct append *a, uint32_t stream, struct before *before, struct err *err)
{
	const struct plan_stream *plan = &a->plan->streams[stream];
	int64_t ts_ns = ts_at_most(a->batch->ts[plan->metric]);
	bool advances = before->ts_ns == TS_NONE || ts_ns > before->ts_ns;
	struct work *work = begin_work(a, stream, before, advances ? ts_ns : before->ts_ns);

	if (compare_all(a, work, advances, err) != 0 || add_born(a, work, err) != 0)
		return -1;
	return end_work(a, work, before, err);
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
	struct work *work = begin_work(a, stream, before, ts_ns);

	if (compare_settled(a, work, err) != 0)
		return -1;
	return end_work(a, work, before, err);
}

/* The rows of one stream. */
static int
work_stream(struct append *a, uint32_t stream, struct err *err)
{
	struct before before = state_before(a, stream);

	if (is_settled(a, stream, &before))
		return work_settled(a, stream, &before, err);
	find_metrics(a, stream, &before);
	if (work_leaves(a, stream, &before, err) != 0)
		return -1;
	if (a->batch != NULL && a->plan->streams[stream].metric >= 0)
		return work_present(a, stream, &before, err);
	return work_absent(a, stream, &before, err);
}

static int
work_all(struct append *a, struct err *err)
{
	const struct schema *schema = a->plan == NULL ? a->set->schema : a->plan->schema;
	uint32_t count = schema == NULL ? 0 : schema->stream_count;
	size_t positions = (schema == NULL ? 0 : schema->len) + a->moves.len;

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
	for (size_t i = 0; i < a->scratch->work_len; i++) {
		struct work *work = &a->scratch->works[i];

		work->row.p = (const uint8_t *)a->scratch->rows.p + work->off;
	}
	return 0;
}

/* Getting what can fail. All of it REQUIRES the set's lock. */

/* What all rows of a stream need together. */
struct need {
	size_t bytes, refs, markers;
};

/* i: the first work of the stream. */
static struct need
need_of_stream(const struct append *a, size_t i)
{
	const struct work *works = a->scratch->works;
	struct need need = { 0 };

	for (size_t j = i; j < a->scratch->work_len && works[j].stream == works[i].stream; j++) {
		need.bytes += works[j].row.bytes;
		need.refs += works[j].ref_count;
		need.markers += works[j].stopped_count;
	}
	return need;
}

/* A distribution that a reader holds can't be changed: another takes its place. */
static bool
reserve_spares(struct append *a, const struct work *work, struct memory_want *want)
{
	struct stream *s = a->set->streams[work->stream];
	struct store *store = a->set->store;

	for (uint32_t i = work->change; i < work->change + work->change_count; i++) {
		const struct row_change *change = &a->scratch->changes[i];
		const struct row_dist *after = (const struct row_dist *)(uintptr_t)change->after;
		struct blob *blob;

		if (classes_of(a, work->stream)[change->at] != ROW_DIST ||
		    (change->how != ROW_SET && change->how != ROW_WAKE) ||
		    a->scratch->spares[i] != NULL || blob_of_bits(s->bits[change->at])->refs == 1)
			continue;
		blob = blob_try_dist(store, after->len, want);
		if (blob == NULL)
			return false;
		a->scratch->spares[i] = blob;
	}
	return true;
}

static bool
reserve_log(struct append *a, size_t i, struct memory_want *want)
{
	struct work *work = &a->scratch->works[i];
	struct stream *s = a->set->streams[work->stream];
	struct need need;

	/* The first one's room is for all. */
	if (work->lost || (i > 0 && work[-1].stream == work->stream))
		return true;
	need = need_of_stream(a, i);
	return ring_reserve(a->set->store, &s->blobs, need.refs, want) &&
	       ring_reserve(a->set->store, &s->markers, need.markers, want) &&
	       log_reserve(s, need.bytes, &work->room, want);
}

/* False: *lacking is the work whose log has no room, NULL if it is something else. */
static bool
reserve(struct append *a, struct memory_want *want, struct work **lacking)
{
	*lacking = NULL;
	if (a->plan != NULL && !set_reserve_streams(a->set, a->plan->schema->stream_count, want))
		return false;
	if (!places_reserve(a->set, a->set->stream_cap, want) ||
	    !set_reserve_moves(a->set, a->moves.len, want))
		return false;
	for (size_t i = 0; i < a->scratch->work_len; i++) {
		struct work *work = &a->scratch->works[i];

		if (!stream_reserve(
		        a->set->streams[work->stream], work->len_before + work->born_count, want) ||
		    !reserve_spares(a, work, want))
			return false;
		if (!reserve_log(a, i, want)) {
			*lacking = work;
			return false;
		}
	}
	return true;
}

/* The log of that stream is given up; the rows to come with it. */
static void
give_up_log(struct append *a, const struct work *lacking)
{
	for (size_t i = 0; i < a->scratch->work_len; i++) {
		struct work *work = &a->scratch->works[i];

		if (work->stream == lacking->stream)
			work->lost = true;
	}
}

/* All is there when it returns 0, and the set is locked. */
static int
lock_prepared(struct append *a, struct err *err)
{
	struct memory_want want;
	struct work *lacking;
	/* Ever more is asked for, as a try that fails may give back what the next one needs too. */
	size_t more = 0;

	for (;; more = 2 * more + sizeof(struct stream)) {
		lock_take(&a->set->lock);
		if (reserve(a, &want, &lacking))
			return 0;
		lock_drop(&a->set->lock);
		want.bytes += more;
		if (memory_wait(a->set->store, &want, err) == 0)
			continue;
		/* A marker can always be set, and without room a row is as if it were reclaimed. */
		if (lacking == NULL || (err->code != ERR_LIMIT && a->batch != NULL))
			return -1;
		give_up_log(a, lacking);
	}
}

/* Doing it. All of it REQUIRES the set's lock. */

static void
replace_dist(struct append *a, struct stream *s, uint32_t change_index)
{
	const struct row_change *change = &a->scratch->changes[change_index];
	const struct row_dist *after = (const struct row_dist *)(uintptr_t)change->after;
	struct blob *spare = a->scratch->spares[change_index];
	struct dist dist = { .counts = after->counts, .len = after->len, .sum = after->sum };

	if (spare != NULL) {
		blob_unref(a->set->store, blob_of_bits(s->bits[change->at]));
		s->bits[change->at] = (uintptr_t)spare;
		a->scratch->spares[change_index] = NULL;
	}
	blob_set_dist(blob_of_bits(s->bits[change->at]), &dist, after->rollovers);
}

static void
replace_ref(
    struct append *a, const struct work *work, struct stream *s, const struct row_change *change)
{
	struct blob *old = blob_of_bits(s->bits[change->at]);

	if (work->lost)
		blob_unref(a->set->store, old);
	else
		ring_push(&s->blobs, (struct ring_item){ s->next_row, change->at, old });
	s->bits[change->at] = change->after;
}

static void
stop(const struct work *work, struct stream *s, uint32_t at)
{
	stream_set_active(s, at, false);
	if (!work->lost) {
		ring_push(&s->markers, (struct ring_item){ .row = s->next_row, .at = at });
	} else if (!bit_get(s->dead, at)) {
		bit_set(s->dead, at, true);
		s->set->dead_count++;
	}
}

static void
apply_change(struct append *a, const struct work *work, struct stream *s, uint32_t change_index)
{
	const struct row_change *change = &a->scratch->changes[change_index];
	uint8_t class = classes_of(a, work->stream)[change->at];

	if (change->how == ROW_FLIP) {
		if (bit_get(s->active, change->at))
			stop(work, s, change->at);
		else
			stream_set_active(s, change->at, true);
		return;
	}
	if (change->how == ROW_BORN)
		s->bits[change->at] = change->after;
	else if (class == ROW_DIST)
		replace_dist(a, s, change_index);
	else if (class == ROW_REF)
		replace_ref(a, work, s, change);
	else
		s->bits[change->at] = change->after;
	stream_set_active(s, change->at, true);
}

static void
apply_work(struct append *a, struct work *work, struct log_room *room)
{
	struct stream *s = a->set->streams[work->stream];

	for (uint32_t i = 0; i < work->change_count; i++)
		apply_change(a, work, s, work->change + i);
	for (uint32_t i = 0; i < work->born_count; i++) {
		s->bits[s->len] = a->scratch->born[work->born + i];
		stream_set_active(s, s->len++, true);
	}
	if (work->lost)
		log_lose(s, &work->row);
	else
		log_put(s, &work->row, room);
}

/* A distribution's generation is of the last value, also if that is the same. */
static void
apply_generations(struct append *a, uint32_t stream)
{
	const struct plan_stream *plan = &a->plan->streams[stream];
	struct stream *s = a->set->streams[stream];

	for (uint32_t e = plan->first; e < plan->first + plan->len; e++) {
		const struct plan_entry *entry = &a->plan->entries[e];

		if (entry->take == TAKE_DIST)
			blob_dist(blob_of_bits(s->bits[entry->at]))->generation =
			    a->batch->value[entry->metric].dist->generation;
	}
}

static void
apply_works(struct append *a)
{
	struct log_room *room = NULL;

	for (size_t i = 0; i < a->scratch->work_len; i++) {
		struct work *work = &a->scratch->works[i];
		struct stream *s = a->set->streams[work->stream];

		if (i == 0 || work[-1].stream != work->stream)
			room = &work->room;
		apply_work(a, work, room);
		if (a->plan == NULL || work->is_patch) {
			s->settled = false;
			continue;
		}
		s->settled =
		    !a->plan->once && s->active_count == a->plan->streams[work->stream].len;
		if (a->plan->streams[work->stream].dist_count > 0)
			apply_generations(a, work->stream);
	}
}

/* Does what was found out, with the set locked, and unlocks it. */
static void
apply(struct append *a)
{
	struct series_set *set = a->set;
	struct schema *old_schema = NULL;
	struct plan *old_plan = NULL;

	if (a->plan_is_new) {
		for (size_t i = 0; i < a->moves.len; i++)
			set->moves[set->move_len++] = a->moves.moves[i];
		for (uint32_t i = 0; i < set->stream_count; i++)
			set->streams[i]->settled = false;
		old_plan = set->plan;
		set->plan = a->plan->once ? NULL : a->plan;
		old_schema = set_swap_schema(set, schema_ref(a->plan->schema));
	}
	apply_works(a);
	set->append_count++;
	lock_drop(&set->lock);
	if (a->plan_is_new && a->plan->once)
		plan_unref(a->plan);
	plan_unref(old_plan);
	schema_unref(old_schema);
	a->scratch->fresh_len = 0;
}

static void
fini(struct append *a, bool done)
{
	struct store *store = a->set->store;
	struct scratch *s = a->scratch;

	if (a->plan_is_new && !done)
		plan_unref(a->plan);
	free(a->moves.moves);
	if (s == NULL)
		return;
	for (size_t i = 0; i < s->fresh_len; i++)
		blob_unref(store, s->fresh[i]);
	for (size_t i = 0; i < s->change_len; i++)
		blob_unref(store, s->spares[i]);
	for (size_t i = 0; i < s->work_len; i++)
		log_free_room(store, &s->works[i].room);
	scratch_give_back(store, s);
}

int
store_append(
    struct series_set *set, const struct batch *batch, struct append_stats *stats, struct err *err)
{
	struct append a = { .set = set, .batch = batch, .wanted_ns = TS_NONE };
	int rc = -1;

	assert(set != NULL && batch != NULL && stats != NULL && err != NULL);
	if (set->dead_count > 0)
		set_sweep_dead(set);
	a.plan = plan_for(set, batch, &a.moves, err);
	a.plan_is_new = a.plan != NULL && a.plan != set->plan;
	if (a.plan != NULL && work_all(&a, err) == 0 && lock_prepared(&a, err) == 0) {
		apply(&a);
		*stats = (struct append_stats){ .added = a.added, .stale = a.stale };
		rc = 0;
	}
	fini(&a, rc == 0);
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
				stop(&work, s, at);
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
	struct append a = { .set = set, .wanted_ns = ts_at_most(ts_ns) };
	bool done = false;
	struct err err;

	assert(set != NULL);
	if (set->active_count == 0)
		return 0;
	if (work_all(&a, &err) == 0 && lock_prepared(&a, &err) == 0) {
		apply(&a);
		done = true;
	}
	fini(&a, done);
	return done ? a.added : deactivate_without_memory(set, a.wanted_ns);
}
