#include "store/iter.h"

#include <assert.h>
#include <stdlib.h>

#include "store/latest_priv.h"
#include "store/match_priv.h"
#include "store/past_priv.h"
#include "store/store_priv.h"
#include "store/window_priv.h"

/* Most series looked at while the lock is held. */
#define CHUNK BLOB_HOLD
/* Series taken apart at a time, and how many records of them: at most 2 MiB. */
#define MOST_SLOTS  1024
#define MOST_EVENTS (2 * 1024 * 1024 / sizeof(struct event))
/* Streams whose series may lie between each other in order of path, without loss of time. */
#define MOST_WINDOWS 4

enum range_state { RANGE_NONE, RANGE_FIRST, RANGE_MORE, RANGE_PAST };

struct iter {
	struct series_set *set;
	struct schema *schema; /* NULL: the set is empty */
	struct match match;
	uint32_t next;           /* in the schema's order, of the series after the current one */
	const struct meta *meta; /* of the current series; NULL before the first */
	struct series_at place;

	/* What is asked for. */
	enum range_state range;
	int64_t start_ns, end_ns;
	/* Records of the current series and of some after it, in the same range. */
	struct iter_window {
		struct window *window; /* NULL: not needed yet */
		bool in_use;
		uint32_t stream;
		size_t unread; /* series not asked for yet: about so many, as some may be twice */
	} windows[MOST_WINDOWS];
	unsigned next_window; /* of those filled one after the other: the oldest */
	size_t most_slots;
	/* The current series' records: those not read yet, and where they are. */
	struct window *source;
	struct slot_reader reader;
	int64_t oldest_ns;    /* of those read */
	bool may_have_moved;  /* there may be more at another place */
	struct window *older; /* what it has at older_place; NULL: not needed yet */
	struct series_at older_place;

	struct walk times;
	bool times_begun, times_ended;
	int64_t oldest_time_ns; /* of those read */
	bool failed;

	/* What was before; NULL: not reached for, or there is nothing. */
	struct past *past;
	int64_t cut_ns; /* see iter_cut_ns */

	struct blob_hold hold;
	char prefix_bytes[];
};

struct iter *
iter_new(struct series_set *set, struct str prefix, enum iter_match how, struct err *err)
{
	struct iter *it = malloc(sizeof(*it) + prefix.len);

	if (it == NULL) {
		err_nomem(err);
		return NULL;
	}
	*it = (struct iter){ .set = series_set_ref(set), .most_slots = MOST_SLOTS };
	walk_init(&it->times);
	if (prefix.len > 0)
		memcpy(it->prefix_bytes, prefix.p, prefix.len);
	it->match = match_of((struct str){ it->prefix_bytes, prefix.len }, how);
	lock_take(&set->lock);
	it->schema = schema_ref(set->schema);
	lock_drop(&set->lock);
	if (it->schema != NULL)
		it->next = match_first(&it->match, it->schema);
	return it;
}

void
iter_free(struct iter *it)
{
	if (it == NULL)
		return;
	blob_hold_release(it->set->store, &it->hold);
	for (size_t i = 0; i < MOST_WINDOWS; i++)
		window_give_back(it->set->store, it->windows[i].window);
	window_give_back(it->set->store, it->older);
	past_free(it->past);
	walk_fini(&it->times);
	schema_unref(it->schema);
	series_set_unref(it->set);
	free(it);
}

/* Another series is the current one. */
static void
find_next(struct iter *it)
{
	it->range = RANGE_NONE;
	it->meta =
	    it->schema == NULL ? NULL : match_next(&it->match, it->schema, &it->next, &it->place);
}

int
iter_reach(struct iter *it, int64_t start_ns, struct err *err)
{
	assert(it->meta == NULL && it->past == NULL);
	return past_open(
	    it->set, it->match.prefix, it->match.how, start_ns, &it->past, &it->cut_ns, err);
}

int64_t
iter_cut_ns(const struct iter *it)
{
	return it->past != NULL ? it->past->cut_ns : it->cut_ns;
}

/* Memory and past, merged: which of them has the series that comes first. */
static bool
next_of_both(struct iter *it, const struct metric_desc **desc)
{
	struct past *past = it->past;

	if (past->in_memory)
		find_next(it);
	past_next_series(past, it->meta == NULL ? NULL : &it->meta->desc);
	it->range = RANGE_NONE;
	*desc = past->in_memory ? &it->meta->desc : past->desc;
	return *desc != NULL;
}

bool
iter_next_series(struct iter *it, const struct metric_desc **desc)
{
	blob_hold_release(it->set->store, &it->hold);
	if (it->past != NULL)
		return next_of_both(it, desc);
	find_next(it);
	if (it->meta == NULL)
		return false;
	*desc = &it->meta->desc;
	return true;
}

bool
iter_has_series(struct iter *it)
{
	bool has;

	lock_take(&it->set->lock);
	has = set_has_series(it->set, it->place, it->meta);
	lock_drop(&it->set->lock);
	return has;
}

/* Memory knows nothing of the current series. */
static bool
is_of_past(const struct iter *it)
{
	return it->past != NULL && !it->past->in_memory;
}

bool
iter_latest(struct iter *it, struct record *out)
{
	bool active;

	if (is_of_past(it))
		return false;
	assert(it->meta != NULL);
	blob_hold_release(it->set->store, &it->hold);
	lock_take(&it->set->lock);
	active = latest_value(it->set, it->place, it->meta, out, &it->hold);
	lock_drop(&it->set->lock);
	return active;
}

size_t
iter_latest_many(struct iter *it, struct record *out, size_t max)
{
	size_t n = 0, looked;

	assert(it->past == NULL);
	if (max > CHUNK)
		max = CHUNK;
	blob_hold_release(it->set->store, &it->hold);
	do {
		lock_take(&it->set->lock);
		for (looked = 0; looked < CHUNK && n < max; looked++) {
			find_next(it);
			if (it->meta == NULL)
				break;
			n += latest_value(it->set, it->place, it->meta, &out[n], &it->hold);
		}
		lock_drop(&it->set->lock);
	} while (n == 0 && looked == CHUNK);
	return n;
}

void
iter_range(struct iter *it, int64_t start_ns, int64_t end_ns)
{
	assert(it->meta != NULL || is_of_past(it));
	if (start_ns != it->start_ns || end_ns != it->end_ns) {
		for (size_t i = 0; i < MOST_WINDOWS; i++)
			it->windows[i].in_use = false;
		it->most_slots = MOST_SLOTS;
	}
	it->range = start_ns < end_ns ? RANGE_FIRST : RANGE_NONE;
	it->start_ns = start_ns;
	it->end_ns = end_ns;
	it->times_begun = it->times_ended = false;
	it->oldest_time_ns = end_ns;
	if (it->past != NULL)
		past_range(it->past, start_ns, end_ns);
}

/* How many series a stream has at most. */
static size_t
stream_len(struct iter *it, uint32_t stream)
{
	size_t len;

	lock_take(&it->set->lock);
	len = stream < it->set->stream_count ? it->set->streams[stream]->len : 0;
	lock_drop(&it->set->lock);
	return len;
}

/* Slots for the current series and those after it in the same stream. False: out of memory. */
static bool
add_slots(struct iter *it, struct window *w)
{
	struct series_at place = it->place;
	const struct meta *meta = it->meta;
	size_t len = stream_len(it, place.stream);
	size_t most = len > 0 && len < it->most_slots ? len : it->most_slots;
	uint32_t next = it->next;

	while (meta != NULL && w->slot_len < most) {
		if (place.stream == it->place.stream && window_add(w, place.at, meta) != 0)
			return false;
		meta = match_next(&it->match, it->schema, &next, &place);
	}
	return true;
}

static bool
fill_window(struct iter *it, struct window *w)
{
	for (;;) {
		window_reset(w);
		w->start_ns = it->start_ns;
		w->end_ns = it->end_ns;
		if (!add_slots(it, w) || !window_start(w, it->set, it->place.stream))
			return false;
		window_run(w, MOST_EVENTS);
		if (!w->full || w->slot_len == 1)
			return true;
		it->most_slots = (w->slot_len + 3) / 4;
	}
}

/* The window that has the current series, or NULL. */
static struct iter_window *
find_window(struct iter *it)
{
	for (size_t i = 0; i < MOST_WINDOWS; i++) {
		struct iter_window *found = &it->windows[i];

		if (found->in_use && found->stream == it->place.stream &&
		    window_slot(found->window, it->place.at, it->meta) != NULL)
			return found;
	}
	return NULL;
}

/*
 * The window to be filled next: that of the same stream, else one that is of no more use, else the
 * one that was filled longest ago.
 */
static struct iter_window *
next_window(struct iter *it)
{
	struct iter_window *spent = NULL;

	for (size_t i = 0; i < MOST_WINDOWS; i++) {
		struct iter_window *found = &it->windows[i];

		if (found->in_use && found->stream == it->place.stream)
			return found;
		if (spent == NULL && (!found->in_use || found->unread == 0))
			spent = found;
	}
	return spent != NULL ? spent : &it->windows[it->next_window++ % MOST_WINDOWS];
}

static struct iter_window *
make_window(struct iter *it)
{
	struct iter_window *made = next_window(it);

	if (made->window == NULL)
		made->window = window_take(it->set->store);
	made->in_use = made->window != NULL && fill_window(it, made->window);
	made->stream = it->place.stream;
	made->unread = made->in_use ? made->window->slot_len : 0;
	it->failed = it->failed || !made->in_use || made->window->failed;
	return made->in_use ? made : NULL;
}

static void
read_from(struct iter *it, struct window *window, const struct slot *slot)
{
	it->source = window;
	it->reader = slot_reader(slot);
}

/* Begins with the current series. False if there is nothing to be had. */
static bool
begin(struct iter *it)
{
	struct iter_window *found = find_window(it);
	struct slot *slot;

	if (found == NULL)
		found = make_window(it);
	if (found == NULL)
		return false;
	slot = window_slot(found->window, it->place.at, it->meta);
	assert(slot != NULL);
	it->oldest_ns = INT64_MAX;
	it->older_place = it->place;
	it->may_have_moved = found->window->has_moves;
	found->unread -= found->unread > 0;
	/* What goes on drops what it had. */
	found->in_use = !found->window->full;
	read_from(it, found->window, slot);
	return true;
}

/* Goes on where the series was before it moved. False: nowhere. */
static bool
begin_older(struct iter *it)
{
	struct series_at place;
	struct window *w;
	bool found;

	lock_take(&it->set->lock);
	found = set_has_series(it->set, it->place, it->meta) &&
	        set_older_place(it->set, it->older_place, &place);
	lock_drop(&it->set->lock);
	if (!found)
		return false;
	it->older_place = place;
	if (it->older == NULL)
		it->older = window_take(it->set->store);
	if (it->older == NULL) {
		it->failed = true;
		return false;
	}
	w = it->older;
	window_reset(w);
	w->start_ns = it->start_ns;
	w->end_ns = it->oldest_ns < it->end_ns ? it->oldest_ns : it->end_ns;
	if (window_add(w, place.at, it->meta) != 0 || !window_start(w, it->set, place.stream)) {
		it->failed = true;
		return false;
	}
	window_run(w, MOST_EVENTS);
	it->failed = it->failed || w->failed;
	read_from(it, w, &w->slots[0]);
	return true;
}

/* Makes the reader's event the next one. False at the end. */
static bool
find_event(struct iter *it)
{
	while (it->reader.event == NO_EVENT) {
		if (it->source->full) {
			window_run(it->source, MOST_EVENTS);
			it->failed = it->failed || it->source->failed;
			read_from(it, it->source, it->reader.slot);
		} else if (!it->may_have_moved || it->oldest_ns <= it->start_ns ||
		           !begin_older(it)) {
			return false;
		}
	}
	return true;
}

/*
 * The same for one who goes on in the past: without the value that there was before all, unless the
 * past does not lead up to it.
 */
static size_t
changes_only(struct iter *it, struct record *out, size_t max)
{
	size_t n = 0;

	while (n < max && it->reader.event != NO_EVENT) {
		bool is_base = it->source->events[it->reader.event].is_base;

		n += window_records(it->source, &it->reader, &out[n], 1);
		if (is_base && it->past->in_past &&
		    past_leads_to(it->past, it->older_place.stream, out[n - 1].ts_ns)) {
			int64_t base_ns = out[--n].ts_ns;

			it->past->end_ns = base_ns < it->end_ns ? base_ns + 1 : it->end_ns;
			it->range = RANGE_PAST;
			break;
		}
	}
	return n;
}

/* Memory has no more of the series. */
static size_t
read_past(struct iter *it, struct record *out, size_t max)
{
	size_t n = 0;

	if (it->range == RANGE_PAST)
		n = past_read(it->past, out, max);
	if (n == 0)
		it->range = RANGE_NONE;
	return n;
}

/* Newest first, it goes on before what was read. */
static void
end_memory(struct iter *it)
{
	it->range = RANGE_NONE;
	if (it->past == NULL || it->oldest_ns <= it->start_ns)
		return;
	it->range = RANGE_PAST;
	it->past->end_ns = it->oldest_ns < it->end_ns ? it->oldest_ns : it->end_ns;
}

size_t
iter_read(struct iter *it, struct record *out, size_t max)
{
	size_t n = 0;

	assert(it->meta != NULL || is_of_past(it));
	blob_hold_release(it->set->store, &it->hold);
	if (it->range == RANGE_FIRST && is_of_past(it)) {
		it->range = RANGE_PAST;
		it->past->end_ns = it->end_ns;
	}
	if (it->range == RANGE_FIRST && max > 0)
		it->range = begin(it) ? RANGE_MORE : RANGE_NONE;
	if (it->range == RANGE_PAST && max > 0)
		return read_past(it, out, max);
	if (it->range == RANGE_NONE || max == 0)
		return 0;
	/* To go on may end what was given out, so it is only done in the next call. */
	if (it->reader.event != NO_EVENT || find_event(it))
		n = it->past == NULL ? window_records(it->source, &it->reader, out, max)
		                     : changes_only(it, out, max);
	if (n == 0 && it->past != NULL) {
		if (it->range == RANGE_MORE)
			end_memory(it);
		return read_past(it, out, max);
	}
	if (n == 0)
		it->range = RANGE_NONE;
	else
		it->oldest_ns = out[n - 1].ts_ns;
	return n;
}

bool
iter_failed(const struct iter *it)
{
	return it->failed || (it->past != NULL && past_failed(it->past));
}

static bool
begin_times(struct iter *it)
{
	bool there;

	if (walk_prepare(&it->times) != 0) {
		it->failed = true;
		return false;
	}
	lock_take(&it->set->lock);
	there = set_has_series(it->set, it->place, it->meta);
	if (there)
		walk_start(&it->times, it->set, it->place.stream);
	lock_drop(&it->set->lock);
	return there;
}

size_t
iter_read_times(struct iter *it, int64_t *out, size_t max)
{
	struct walk *walk = &it->times;
	struct row row;
	size_t n = 0;

	if (is_of_past(it))
		return past_read_times(it->past, it->end_ns, out, max);
	assert(it->meta != NULL);
	if (!it->times_begun)
		it->times_ended = it->start_ns >= it->end_ns || !begin_times(it);
	it->times_begun = true;
	while (n < max && !it->times_ended) {
		it->times_ended = walk->ts_ns <= it->start_ns || !walk_row(walk, &row);
		it->failed = it->failed || walk->failed;
		if (it->times_ended)
			break;
		if (walk->ts_ns < it->end_ns && (!walk_is_patch(walk) || row.len_before == 0))
			out[n++] = walk->ts_ns;
		walk_undo(walk, &row);
	}
	if (n > 0)
		it->oldest_time_ns = out[n - 1];
	else if (it->past != NULL && max > 0)
		n = past_read_times(it->past, it->oldest_time_ns, out, max);
	return n;
}

static int64_t
whole_from(const struct series_set *set, struct series_at at)
{
	return stream_whole_ns(set->streams[at.stream]);
}

int64_t
iter_earliest(struct iter *it)
{
	struct series_at at = it->place;
	uint32_t stream = at.stream;
	int64_t ts_ns = 0;

	if (is_of_past(it))
		return past_earliest(it->past);
	assert(it->meta != NULL);
	blob_hold_release(it->set->store, &it->hold);
	lock_take(&it->set->lock);
	do {
		int64_t from_ns = whole_from(it->set, at);

		stream = from_ns > ts_ns ? at.stream : stream;
		ts_ns = from_ns > ts_ns ? from_ns : ts_ns;
	} while (set_has_series(it->set, at, it->meta) && set_older_place(it->set, at, &at));
	lock_drop(&it->set->lock);
	if (ts_ns > 0 && it->past != NULL && past_leads_to(it->past, stream, ts_ns)) {
		int64_t past_ns = past_earliest_of(it->past, stream);

		/* The disk may have less. */
		ts_ns = past_ns < ts_ns ? past_ns : ts_ns;
	}
	return ts_ns;
}

int64_t
iter_earliest_kept(struct iter *it)
{
	int64_t whole_ns = iter_earliest(it);
	const struct series_set *set = it->set;
	struct store_past *past = set->store->past;

	if (whole_ns == 0 || past == NULL)
		return whole_ns;
	return past->earliest(past, set->host, set->app, set->birth_ns, whole_ns);
}
