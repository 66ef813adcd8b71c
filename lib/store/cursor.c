#include "store/cursor.h"

#include <assert.h>
#include <stdlib.h>

#include "store/blob_priv.h"
#include "store/cursor_priv.h"
#include "store/feed_priv.h"
#include "store/record_priv.h"
#include "store/store_priv.h"

/* Most series looked at, and most records copied, while a set's lock is held. */
#define CHUNK BLOB_HOLD
/* Most places looked at while the store's lock is held. */
#define PLACES_CHUNK 256

struct cursor {
	struct store *store;
	enum cursor_mode mode;
	char *name;
	struct cursor *next;		/* the store's lock */
	struct place *places;		/* the store's lock, as the next two */
	struct place *at;		/* to visit next; NULL: the first */
	size_t place_count;
	struct place *held;
	uint64_t read_count;		/* records since the last commit */
	struct blob_hold hold;
	_Atomic uint64_t missed_count;
};

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

static void
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

/* A place for the cursor in the set. REQUIRES the store's lock. -1 with ERR_NOMEM, ERR_LIMIT. */
static int
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
place_lose(struct place *place, const struct series *series, const struct group *only,
    int64_t upto_ns)
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

/* A cursor's name, free to use. REQUIRES the store's lock. */
static bool
name_in_use(const struct store *store, const char *name)
{
	for (const struct cursor *cursor = store->cursors; cursor != NULL; cursor = cursor->next) {
		if (strcmp(cursor->name, name) == 0)
			return true;
	}
	return false;
}

/* Places in all sets, and a place among the cursors. REQUIRES the store's lock. */
static int
cursor_attach(struct cursor *cursor, struct err *err)
{
	struct store *store = cursor->store;
	const struct map_entry *entry;
	size_t pos = 0;

	if (name_in_use(store, cursor->name)) {
		err_set(err, ERR_EXISTS, "cursor %s is open already", cursor->name);
		return -1;
	}
	while ((entry = map_next(&store->sets, &pos)) != NULL) {
		if (place_open(cursor, entry->value, err) != 0)
			return -1;
	}
	cursor->next = store->cursors;
	store->cursors = cursor;
	return 0;
}

struct cursor *
cursor_new(struct store *store, const char *name, enum cursor_mode mode, struct err *err)
{
	struct cursor *cursor = calloc(1, sizeof(*cursor));
	int rc;

	if (cursor == NULL) {
		err_nomem(err);
		return NULL;
	}
	cursor->store = store;
	cursor->mode = mode;
	cursor->name = strdup(name);
	if (cursor->name == NULL) {
		err_nomem(err);
		cursor_free(cursor);
		return NULL;
	}
	lock_take(&store->lock);
	rc = cursor_attach(cursor, err);
	lock_drop(&store->lock);
	if (rc != 0) {
		cursor_free(cursor);
		return NULL;
	}
	return cursor;
}

/* Takes the cursor out of the store if it got there. */
static void
cursor_detach(struct cursor *cursor)
{
	struct store *store = cursor->store;
	struct cursor **at = &store->cursors;

	lock_take(&store->lock);
	while (*at != NULL && *at != cursor)
		at = &(*at)->next;
	if (*at != NULL)
		*at = cursor->next;
	while (cursor->places != NULL) {
		struct place *place = cursor->places;

		lock_take(&place->set->lock);
		unlink_from_set(place);
		lock_drop(&place->set->lock);
		unlink_from_cursor(place);
		place_free(store, place);
	}
	lock_drop(&store->lock);
}

void
cursor_free(struct cursor *cursor)
{
	if (cursor == NULL)
		return;
	cursor_rewind(cursor); /* lets go of what it holds */
	cursor_detach(cursor);
	free(cursor->name);
	free(cursor);
}

/*
 * The next place, from where the last read ended, whose set has news; held from here on. NULL
 * when all have been looked at.
 */
static struct place *
take_place(struct cursor *cursor, size_t *looked)
{
	struct store *store = cursor->store;
	struct place *found = NULL;
	bool end = false;

	while (found == NULL && !end) {
		lock_take(&store->lock);
		for (size_t i = 0; found == NULL && !end && i < PLACES_CHUNK; i++) {
			struct place *place = cursor->at != NULL ? cursor->at : cursor->places;

			end = (*looked)++ >= cursor->place_count;
			if (end)
				break;
			if (place->done_count != place->set->append_count)
				found = place;
			cursor->at = found != NULL ? found : place->next;
		}
		if (found != NULL && !found->held) {
			series_set_ref(found->set);
			found->held = true;
			found->next_held = cursor->held;
			cursor->held = found;
		}
		lock_drop(&store->lock);
	}
	return found;
}

/* The next read goes on with the place after this one. */
static void
leave_place(struct cursor *cursor, const struct place *place)
{
	lock_take(&cursor->store->lock);
	if (cursor->at == place)
		cursor->at = place->next;
	lock_drop(&cursor->store->lock);
}

/*
 * Reads on in one series. *done: there is no more. Returns how many records. REQUIRES the set's
 * lock.
 */
static size_t
read_series(struct place *place, const struct series *series, struct cursor_record *out, size_t max,
    bool *done)
{
	struct cursor *cursor = place->cursor;
	struct position *position = &place->positions[series->ordinal];
	struct feed_record next;
	struct feed feed;
	size_t n = 0;

	*done = false;
	feed_start(&feed, series, cursor->mode, position->read_ns);
	while (n < max && cursor->hold.len < BLOB_HOLD) {
		*done = !feed_next(&feed, &next);
		if (*done)
			break;
		out[n].host = place->set->host;
		out[n].app = place->set->app;
		record_set(&out[n++].record, series, next.ts_ns, next.bits, next.active,
		    &cursor->hold);
		position->read_ns = next.ts_ns;
	}
	/* Times that gave no record need not be looked at again. */
	if (*done && cursor->mode == CURSOR_EVERY &&
	    position->read_ns < series->group->times.last.ts_ns)
		position->read_ns = series->group->times.last.ts_ns;
	return n;
}

/* Reads on in the set, for as long as the lock may be held. REQUIRES the set's lock. */
static size_t
read_chunk(struct place *place, struct cursor_record *out, size_t max, size_t *looked)
{
	const struct series_set *set = place->set;
	size_t n = 0;
	bool done = true;

	for (size_t i = 0; done && i < CHUNK && *looked < set->len; i++) {
		if (place->next_series >= set->len)
			place->next_series = 0;
		n += read_series(place, set->series[place->next_series], &out[n], max - n, &done);
		place->next_series += done;
		*looked += done;
	}
	return n;
}

/* *done: all series were looked at and have no more. */
static size_t
read_place(struct place *place, struct cursor_record *out, size_t max, bool *done)
{
	const struct cursor *cursor = place->cursor;
	struct series_set *set = place->set;
	uint64_t append_count = set->append_count;
	size_t n = 0, looked = 0;

	do {
		size_t most = max - n < CHUNK ? max - n : CHUNK;

		lock_take(&set->lock);
		if (!place->gone)
			n += read_chunk(place, &out[n], most, &looked);
		*done = place->gone || looked >= set->len;
		lock_drop(&set->lock);
	} while (!*done && n < max && cursor->hold.len < BLOB_HOLD);
	if (*done)
		place->done_count = append_count;
	return n;
}

/* Gives up the hold on a place; it may be gone then. */
static void
release_place(struct cursor *cursor, struct place *place)
{
	struct series_set *set = place->set;
	bool gone;

	lock_take(&cursor->store->lock);
	place->held = false;
	gone = place->gone;
	lock_drop(&cursor->store->lock);
	if (gone)
		place_free(cursor->store, place);
	series_set_unref(set);
}

static void
commit_place(struct place *place)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	for (size_t i = 0; i < place->cap; i++)
		place->positions[i].committed_ns = place->positions[i].read_ns;
	place->at_risk_count = 0;
	lock_drop(&set->lock);
}

static void
rewind_place(struct place *place)
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

/* Commits or rewinds what was read, and lets go of it. */
static void
settle(struct cursor *cursor, void (*settle_place)(struct place *))
{
	blob_hold_release(&cursor->hold);
	cursor->read_count = 0;
	while (cursor->held != NULL) {
		struct place *place = cursor->held;

		cursor->held = place->next_held;
		settle_place(place);
		release_place(cursor, place);
	}
}

size_t
cursor_read(struct cursor *cursor, struct cursor_record *out, size_t max)
{
	size_t n = 0, looked = 0;
	bool done = true;

	blob_hold_release(&cursor->hold);
	while (done && n < max && cursor->hold.len < BLOB_HOLD) {
		struct place *place = take_place(cursor, &looked);

		if (place == NULL)
			break;
		n += read_place(place, &out[n], max - n, &done);
		if (done)
			leave_place(cursor, place);
	}
	cursor->read_count += n;
	if (cursor->read_count == 0) /* then nobody would commit, and the sets stay held */
		cursor_commit(cursor);
	return n;
}

void
cursor_commit(struct cursor *cursor)
{
	settle(cursor, commit_place);
}

void
cursor_rewind(struct cursor *cursor)
{
	settle(cursor, rewind_place);
}

uint64_t
cursor_missed_count(const struct cursor *cursor)
{
	return cursor->missed_count;
}
