#include "store/cursor_priv.h"

#include "store/feed_priv.h"
#include "store/store_priv.h"

/* cap positions, all before any record. NULL with ERR_NOMEM, ERR_LIMIT. */
static struct position *
positions_new(struct store *store, size_t cap, struct err *err)
{
	struct position *positions = memory_alloc(store, cap * sizeof(*positions), err);

	for (size_t i = 0; positions != NULL && i < cap; i++)
		positions[i] = (struct position){ TS_NONE, TS_NONE };
	return positions;
}

static void
positions_free(struct store *store, struct position *positions, size_t cap)
{
	memory_free(store, positions, cap * sizeof(*positions));
}

static struct place *
place_new(struct cursor *cursor, struct series_set *set, struct err *err)
{
	struct place *place = memory_alloc(set->store, sizeof(*place), err);

	if (place != NULL)
		*place = (struct place){ .cursor = cursor, .set = set };
	return place;
}

void
place_free(struct store *store, struct place *place)
{
	positions_free(store, place->positions, place->cap);
	memory_free(store, place, sizeof(*place));
}

/* REQUIRES the store's lock. */
static void
link_to_cursor(struct place *place)
{
	struct cursor *cursor = place->cursor;

	place->next = cursor->places;
	if (place->next != NULL)
		place->next->prev = place;
	cursor->places = place;
	cursor->place_count++;
}

/* REQUIRES the store's lock. */
static void
unlink_from_cursor(struct place *place)
{
	struct cursor *cursor = place->cursor;

	if (cursor->at == place)
		cursor->at = place->next;
	if (place->prev != NULL)
		place->prev->next = place->next;
	else
		cursor->places = place->next;
	if (place->next != NULL)
		place->next->prev = place->prev;
	cursor->place_count--;
}

/* REQUIRES the set's and the store's lock. */
static void
unlink_from_set(struct place *place)
{
	struct place **at = &place->set->places;

	while (*at != place)
		at = &(*at)->next_in_set;
	*at = place->next_in_set;
}

/*
 * Puts the place into its set, once it has positions for all series the set has room for. -1 with
 * ERR_NOMEM, ERR_LIMIT. REQUIRES the store's lock.
 */
static int
place_attach(struct place *place, struct err *err)
{
	struct series_set *set = place->set;
	struct position *positions;
	bool done = false;
	size_t cap;

	for (;;) {
		lock_take(&set->lock);
		cap = set->cap;
		done = place->cap >= cap;
		if (done) {
			place->next_in_set = set->places;
			set->places = place;
		}
		lock_drop(&set->lock);
		if (done)
			return 0;
		positions = positions_new(set->store, cap, err);
		if (positions == NULL)
			return -1;
		positions_free(set->store, place->positions, place->cap);
		place->positions = positions;
		place->cap = cap;
	}
}

int
place_open(struct cursor *cursor, struct series_set *set, struct err *err)
{
	struct place *place = place_new(cursor, set, err);

	if (place == NULL)
		return -1;
	if (place_attach(place, err) != 0) {
		place_free(set->store, place);
		return -1;
	}
	link_to_cursor(place);
	return 0;
}

void
place_close(struct place *place)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	unlink_from_set(place);
	lock_drop(&set->lock);
	unlink_from_cursor(place);
	place_free(set->store, place);
}

int
places_open(struct series_set *set, struct err *err)
{
	for (struct cursor *cursor = set->store->cursors; cursor != NULL; cursor = cursor->next) {
		if (place_open(cursor, set, err) != 0) {
			places_close(set);
			return -1;
		}
	}
	return 0;
}

struct place *
places_short(struct series_set *set, size_t cap)
{
	struct place *place = set->places;

	while (place != NULL && place->cap >= cap)
		place = place->next_in_set;
	return place;
}

int
places_grow(struct series_set *set, size_t cap, struct err *err)
{
	struct position *fresh = NULL;
	size_t fresh_cap = 0;

	for (;;) {
		struct position *old = fresh;
		size_t old_cap = fresh_cap;
		struct place *place;

		lock_take(&set->lock);
		place = places_short(set, cap);
		if (place != NULL && fresh != NULL) {
			old = place->positions;
			old_cap = place->cap;
			if (old_cap > 0)
				memcpy(fresh, old, old_cap * sizeof(*old));
			place->positions = fresh;
			place->cap = cap;
			place = places_short(set, cap);
		}
		lock_drop(&set->lock);
		positions_free(set->store, old, old_cap);
		if (place == NULL)
			return 0;
		fresh = positions_new(set->store, cap, err);
		if (fresh == NULL)
			return -1;
		fresh_cap = cap;
	}
}

void
place_commit(struct place *place)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	for (size_t i = 0; i < place->cap; i++)
		place->positions[i].committed_ns = place->positions[i].read_ns;
	place->at_risk_count = 0;
	lock_drop(&set->lock);
}

void
place_rewind(struct place *place)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	for (size_t i = 0; i < place->cap; i++)
		place->positions[i].read_ns = place->positions[i].committed_ns;
	place->cursor->missed_count += place->at_risk_count;
	place->at_risk_count = 0;
	lock_drop(&set->lock);
	place->done_count = 0;
}

/* Records between the two times; with only not NULL, those that stand for a time of that group. */
static uint64_t
count_records(const struct series *series, enum cursor_mode mode, const struct group *only,
    int64_t after_ns, int64_t upto_ns)
{
	struct feed feed;
	struct feed_record record;
	uint64_t count = 0;

	feed_start(&feed, series, mode, after_ns);
	while (feed_next(&feed, &record) && record.ts_ns < upto_ns)
		count += only == NULL || record.group == only;
	return count;
}

/* Counts them as lost. REQUIRES the set's lock. */
static void
place_lose(
    struct place *place, const struct series *series, const struct group *only, int64_t upto_ns)
{
	const struct position *position = &place->positions[series->ordinal];
	enum cursor_mode mode = place->cursor->mode;
	uint64_t unread, all;

	if (position->committed_ns >= upto_ns - 1)
		return;
	unread = count_records(series, mode, only, position->read_ns, upto_ns);
	all = unread;
	if (position->committed_ns < position->read_ns)
		all = count_records(series, mode, only, position->committed_ns, upto_ns);
	place->cursor->missed_count += unread;
	place->at_risk_count += all - unread;
}

void
places_lose_values(const struct series *series, int64_t upto_ns)
{
	struct place *place = series->values.set->places;

	for (; place != NULL; place = place->next_in_set)
		place_lose(place, series, NULL, upto_ns);
}

void
places_lose_times(const struct group *group, int64_t upto_ns)
{
	const struct series_set *set = group->times.set;

	for (struct place *place = set->places; place != NULL; place = place->next_in_set) {
		if (place->cursor->mode != CURSOR_EVERY)
			continue;
		for (size_t i = 0; i < set->len; i++) {
			const struct series *series = set->series[i];

			if (series->group == group || series->old_group == group)
				place_lose(place, series, group, upto_ns);
		}
	}
}

void
places_close(struct series_set *set)
{
	while (set->places != NULL) {
		struct place *place = set->places;

		lock_take(&set->lock);
		for (size_t i = 0; i < set->len; i++)
			place_lose(place, set->series[i], NULL, INT64_MAX);
		set->places = place->next_in_set;
		place->gone = true;
		lock_drop(&set->lock);
		unlink_from_cursor(place);
		if (!place->held)
			place_free(set->store, place);
	}
}
