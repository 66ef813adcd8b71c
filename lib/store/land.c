/*
 * How an append lands: what can fail is got, then all of it is applied with the set's lock held.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/append_priv.h"
#include "store/cursor_priv.h"
#include "store/redo_priv.h"
#include "store/store_priv.h"

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

	if (a->plan != NULL && a->plan->streams[work->stream].dist_count == 0)
		return true;
	for (uint32_t i = work->change; i < work->change + work->change_count; i++) {
		const struct row_change *change = &a->scratch->changes[i];
		const struct row_dist *after = (const struct row_dist *)(uintptr_t)change->after;
		struct blob *blob;

		if (append_classes(a, work->stream)[change->at] != ROW_DIST ||
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
	if (a->schema != NULL && !set_reserve_streams(a->set, a->schema->stream_count, want))
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

void
append_stop(const struct work *work, struct stream *s, uint32_t at)
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
	uint8_t class = append_classes(a, work->stream)[change->at];

	if (change->how == ROW_FLIP) {
		if (bit_get(s->active, change->at))
			append_stop(work, s, change->at);
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
	if (change->how != ROW_SET)
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

	if (!a->is_restored)
		redo_tell(a);
	if (a->plan_is_new || a->schema != set->schema || a->moves.len > 0) {
		for (size_t i = 0; i < a->moves.len; i++)
			set->moves[set->move_len++] = a->moves.moves[i];
		for (uint32_t i = 0; i < set->stream_count; i++)
			set->streams[i]->settled = false;
		old_plan = set->plan;
		set->plan = a->plan == NULL || a->plan->once ? NULL : a->plan;
		old_schema = set_swap_schema(set, schema_ref(a->schema));
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

int
append_land(struct append *a, struct err *err)
{
	if (lock_prepared(a, err) != 0)
		return -1;
	apply(a);
	return 0;
}

void
append_fini(struct append *a, bool done)
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
	for (size_t i = 0; i < s->change_len; i++) {
		if (s->spares[i] != NULL)
			blob_unref(store, s->spares[i]);
	}
	for (size_t i = 0; i < s->work_len; i++)
		log_free_room(store, &s->works[i].room);
	scratch_give_back(store, s);
}
