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
	while (cursor->places != NULL)
		place_close(cursor->places);
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
		record_set(
		    &out[n++].record, series, next.ts_ns, next.bits, next.active, &cursor->hold);
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
	settle(cursor, place_commit);
}

void
cursor_rewind(struct cursor *cursor)
{
	settle(cursor, place_rewind);
}

uint64_t
cursor_missed_count(const struct cursor *cursor)
{
	return cursor->missed_count;
}
