#include "store/cursor_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/store_priv.h"

/* Most places looked at while the store's lock is held. */
#define PLACES_CHUNK 256
/* Series taken apart at a time, and records: at most 1 MiB, unless a single series has more. */
#define MOST_SLOTS  1024
#define MOST_EVENTS (1024 * 1024 / sizeof(struct event))

/* REQUIRES the store's lock. */
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
		if (place_open(cursor, entry->value, true, err) != 0)
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
	cursor->most_slots = MOST_SLOTS;
	window_init(&cursor->memory_window);
	cursor->window = &cursor->memory_window;
	cursor_past_init(cursor);
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
	cursor_saved(cursor);
	cursor_detach(cursor);
	window_fini(&cursor->memory_window);
	cursor_past_fini(cursor);
	free(cursor->metas);
	free(cursor->schemas);
	free(cursor->name);
	free(cursor);
}

/* Which place to read. */

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

			end = *looked >= cursor->place_count;
			if (end)
				break;
			if (place->done_count != place->set->append_count)
				found = place;
			*looked += found == NULL;
			cursor->at = found != NULL ? found : place->next;
		}
		if (found != NULL && !found->held) {
			series_set_ref(found->set);
			lock_take(&found->set->lock);
			found->held = true;
			lock_drop(&found->set->lock);
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

/* The window. */

bool
cursor_keep_schema(struct cursor *cursor, struct schema *schema)
{
	if (cursor->schema_len > 0 && cursor->schemas[cursor->schema_len - 1] == schema)
		return true;
	if (cursor->schema_len == cursor->schema_cap) {
		size_t cap = cursor->schema_cap * 2 + 8;
		struct schema **schemas = realloc(cursor->schemas, cap * sizeof(struct schema *));

		if (schemas == NULL)
			return false;
		cursor->schemas = schemas;
		cursor->schema_cap = cap;
	}
	cursor->schemas[cursor->schema_len++] = schema_ref(schema);
	return true;
}

/* The records given out stay valid for the moment. */
static void
close_window(struct cursor *cursor)
{
	window_keep(cursor->window);
	schema_unref(cursor->schema);
	cursor->schema = NULL;
	cursor->place = NULL;
}

/*
 * A piece of the stream to read in memory, with the schema of this moment, or where else it is.
 * *end: there is no such stream.
 */
static enum piece
begin_piece(
    struct cursor *cursor, struct place *place, uint32_t stream, struct mark *mark, bool *end)
{
	struct series_set *set = place->set;
	enum piece piece = PIECE_NONE;

	lock_take(&set->lock);
	*end = place->gone || stream >= set->stream_count;
	if (!*end)
		piece = place_begin_piece(place, stream);
	if (piece == PIECE_IN_MEMORY) {
		*mark = place->streams[stream].read;
		cursor->schema = schema_ref(set->schema);
		if (set->streams[stream]->first_row > mark->row)
			mark->row = set->streams[stream]->first_row;
	}
	lock_drop(&set->lock);
	return piece;
}

/* Slots for positions from mark->at on. False: out of memory. */
static bool
add_slots(struct cursor *cursor, const struct mark *mark)
{
	const struct schema *schema = cursor->schema;
	uint32_t len = schema->streams[cursor->stream].len, at = mark->at;

	for (; at < len && cursor->window->slot_len < cursor->most_slots; at++) {
		const struct meta *meta = schema_meta(schema, cursor->stream, at);

		if (meta != NULL && window_add(cursor->window, at, meta) != 0)
			return false;
	}
	cursor->window_is_last = at >= len;
	return true;
}

static bool
fill_window(struct cursor *cursor, struct series_set *set, const struct mark *mark)
{
	struct window *w = cursor->window;
	size_t most = MOST_EVENTS;

	for (;;) {
		window_reset(w);
		w->from_row = mark->row;
		w->before_row = mark->target;
		w->oldest_first = true;
		if (!add_slots(cursor, mark) || !window_start(w, set, cursor->stream))
			return false;
		window_run(w, most);
		if (!w->full || most > MOST_EVENTS)
			return !w->failed;
		if (w->slot_len == 1)
			most = NO_EVENT - 1; /* it has to be read from its oldest record on */
		cursor->most_slots = (w->slot_len + 3) / 4;
	}
}

enum opened {
	OPENED,
	NOTHING_NEW,
	GOES_ON_LATER, /* some of the place is on disk: it is the next place's turn */
	NOT_YET,       /* the same, and it did not get further */
	NOT_NOW,       /* no memory, or what was given out has to go first */
};

/* True if rows of the window may have been given up before it had read them. */
static bool
has_lost_rows(struct place *place, uint32_t stream, const struct mark *mark)
{
	bool lost;

	lock_take(&place->set->lock);
	lost = place_past(place) != NULL && mark->row < place->set->streams[stream]->first_row;
	lock_drop(&place->set->lock);
	return lost;
}

/* A window of a piece in memory that was begun. */
static enum opened
open_in_memory(struct cursor *cursor, struct place *place, const struct mark *mark)
{
	cursor->window = &cursor->memory_window;
	cursor->place = place;
	cursor->stream = place->next_stream;
	if (!fill_window(cursor, place->set, mark)) {
		close_window(cursor);
		return NOT_NOW;
	}
	if (has_lost_rows(place, cursor->stream, mark)) {
		close_window(cursor);
		return NOTHING_NEW; /* it is looked for where it is now */
	}
	return OPENED;
}

/* The same of the past. NOTHING_NEW: look again; GOES_ON_LATER: not this stream. */
static enum opened
open_in_past(struct cursor *cursor, struct place *place, bool is_free)
{
	bool was_open = cursor->past.place == place, failed;
	struct series_set *set;
	struct mark mark;

	switch (cursor_past_open(cursor, place, is_free)) {
	case PAST_OPEN:
		if (was_open)
			break;
		/* All streams get what it has of them, as the next one begins behind it. */
		place->next_stream = 0;
		return NOTHING_NEW;
	case PAST_LATER:
		return GOES_ON_LATER;
	case PAST_NOTHING:
		place->has_moved = true;
		return NOTHING_NEW;
	case PAST_IN_USE:
		return NOT_NOW;
	}
	if (!cursor_past_begin(cursor, place, place->next_stream, &mark, &failed))
		return failed ? NOT_NOW : GOES_ON_LATER;
	place->has_moved = true;
	set = cursor->past.found.set;
	cursor->window = &cursor->past.window;
	cursor->place = place;
	cursor->stream = place->next_stream;
	cursor->schema = schema_ref(set->schema); /* nobody appends to it */
	if (fill_window(cursor, set, &mark) && cursor_past_adopt(cursor))
		return OPENED;
	close_window(cursor);
	return NOT_NOW;
}

/* All streams were looked at. */
static enum opened
end_round(struct cursor *cursor, struct place *place)
{
	bool is_late = place->is_late, has_moved = place->has_moved;

	cursor_past_leave(cursor);
	place->next_stream = 0;
	place->is_late = place->has_moved = false;
	if (is_late)
		return has_moved ? GOES_ON_LATER : NOT_YET;
	place->past_tries = 0;
	place->done_count = place->round_count;
	return NOTHING_NEW;
}

/* A window of the next stream of the place that has news. is_free: see cursor_past_open. */
static enum opened
open_window(struct cursor *cursor, struct place *place, bool is_free)
{
	if (place->next_stream == 0)
		place->round_count = place->set->append_count;
	for (;;) {
		enum opened opened = NOTHING_NEW;
		struct mark mark;
		bool end;

		switch (begin_piece(cursor, place, place->next_stream, &mark, &end)) {
		case PIECE_NONE:
			if (end)
				return end_round(cursor, place);
			place->next_stream++;
			break;
		case PIECE_IN_MEMORY:
			opened = open_in_memory(cursor, place, &mark);
			break;
		case PIECE_IN_PAST:
			opened = open_in_past(cursor, place, is_free);
			if (opened == GOES_ON_LATER) {
				place->is_late = true;
				place->next_stream++;
			}
			break;
		}
		if (opened == NOT_NOW)
			return opened;
		if (opened == OPENED)
			break;
	}
	cursor->slot = 0;
	cursor->in_slot = false;
	return OPENED;
}

/* What is in the window. */

/* The value of an event, at a time. */
struct found {
	const struct event *event;
	const struct row_time *time;
};

/* The next change of the slot, not before row. False at its end. */
static bool
next_change(struct cursor *cursor, bool with_base, uint32_t row, struct found *out)
{
	while (cursor->event != NO_EVENT) {
		const struct event *event = &cursor->window->events[cursor->event];

		const struct row_time *time = &cursor->window->times[event->time];

		cursor->event = event->next;
		if (time->row < row || event->is_leave || (event->is_base && !with_base))
			continue;
		*out = (struct found){ event, time };
		return true;
	}
	return false;
}

/* Goes on to the next row; true if that is a record of the slot. */
static bool
step_time(struct cursor *cursor, const struct row_time *time)
{
	const struct event *event = NULL;

	if (cursor->event != NO_EVENT)
		event = &cursor->window->events[cursor->event];
	if (event != NULL && event->time == cursor->time) {
		cursor->event = event->next;
		cursor->state = event->is_leave ? NULL : event;
		return !event->is_leave;
	}
	return !time->is_patch && cursor->state != NULL && cursor->state->active;
}

/* The next record of the slot, one for each time, not before row. False at its end. */
static bool
next_of_every(struct cursor *cursor, uint32_t row, struct found *out)
{
	while (cursor->time > 0) {
		const struct row_time *time = &cursor->window->times[--cursor->time];

		if (!step_time(cursor, time) || time->row < row)
			continue;
		*out = (struct found){ cursor->state, time };
		return true;
	}
	return false;
}

static void
begin_slot(struct cursor *cursor)
{
	const struct window *w = cursor->window;

	cursor->in_slot = true;
	cursor->event = w->slots[cursor->slot].first;
	cursor->time = w->time_len;
	cursor->state = NULL;
	if (cursor->mode == CURSOR_EVERY && cursor->event != NO_EVENT &&
	    w->events[cursor->event].is_base) {
		cursor->state = &w->events[cursor->event];
		cursor->event = cursor->state->next;
	}
}

/* Records from the window's slots; mark moves with them. */
static size_t
read_slots(struct cursor *cursor, struct mark *mark, struct cursor_record *out, size_t max)
{
	struct window *w = cursor->window;
	size_t n = 0;

	while (n < max && cursor->slot < w->slot_len) {
		const struct slot *slot = &w->slots[cursor->slot];
		uint32_t row = slot->at == mark->at ? mark->at_row : 0;
		struct found found;
		bool more;

		if (!cursor->in_slot)
			begin_slot(cursor);
		more = cursor->mode == CURSOR_EVERY
		           ? next_of_every(cursor, row, &found)
		           : next_change(cursor, mark->has_base, row, &found);
		if (!more) {
			mark->at = slot->at + 1;
			mark->at_row = 0;
			cursor->slot++;
			cursor->in_slot = false;
			continue;
		}
		if (mark_has_given(mark, slot->at, found.time->row)) {
			mark->left -= !(cursor->mode == CURSOR_CHANGES && found.event->is_base);
			continue;
		}
		out[n].host = cursor->place->set->host;
		out[n].app = cursor->place->set->app;
		out[n].stream = cursor->stream;
		out[n].is_base = cursor->mode == CURSOR_CHANGES && found.event->is_base;
		mark->left -= !out[n].is_base;
		window_record(slot, found.event, found.time->ts_ns, &out[n++].record);
		mark->at = slot->at;
		mark->at_row = found.time->row + 1;
	}
	return n;
}

/* Reads on in the window, and closes it at its end. */
static size_t
read_window(struct cursor *cursor, struct cursor_record *out, size_t max)
{
	struct place *place = cursor->place;
	struct series_set *set = place->set;
	struct mark *mark, before;
	size_t n = 0;
	bool end, gone;

	lock_take(&set->lock);
	mark = &place->streams[cursor->stream].read;
	before = *mark;
	gone = place->gone;
	lock_drop(&set->lock);
	if (!gone)
		n = read_slots(cursor, &before, out, max);
	end = gone || cursor->slot == cursor->window->slot_len;
	lock_take(&set->lock);
	mark = &place->streams[cursor->stream].read;
	mark->at = before.at;
	mark->at_row = before.at_row;
	/* Forgotten meanwhile: then what was just read counts as missed already. */
	if (!gone && place->gone)
		place_found(place, cursor->stream, mark->left - before.left);
	mark->left = before.left;
	/* The stream is looked at again, as there may be rows after a piece that was begun long
	 * ago. */
	if (end && cursor->window_is_last && !place->gone)
		place_end_piece(place, cursor->stream);
	lock_drop(&set->lock);
	if (end)
		close_window(cursor);
	return n;
}

/* Gives up the hold on a place; it may be gone then. */
static void
release_place(struct cursor *cursor, struct place *place)
{
	struct series_set *set = place->set;
	bool gone;

	lock_take(&cursor->store->lock);
	lock_take(&set->lock);
	place->held = false;
	gone = place->gone && !place->changed;
	lock_drop(&set->lock);
	lock_drop(&cursor->store->lock);
	if (gone)
		place_free(cursor->store, place);
	series_set_unref(set);
}

/* REQUIRES that the place is held. */
static void
note_changed(struct cursor *cursor, struct place *place)
{
	series_set_ref(place->set);
	lock_take(&cursor->store->lock);
	place->changed = true;
	lock_drop(&cursor->store->lock);
	place->next_changed = cursor->changed;
	cursor->changed = place;
}

/* Commits or rewinds what was read, and lets go of it, but for the place kept. */
static void
settle(struct cursor *cursor, void (*settle_place)(struct place *), struct place *kept)
{
	struct place *held = cursor->held;

	cursor->read_count = 0;
	cursor->held = NULL;
	while (held != NULL) {
		struct place *place = held;

		held = place->next_held;
		settle_place(place);
		if (cursor->keeps && !place->changed)
			note_changed(cursor, place);
		if (place == kept) {
			place->next_held = NULL;
			cursor->held = place;
		} else {
			release_place(cursor, place);
		}
	}
	/* A window of the past has no descriptions of its own. */
	if (cursor->place != NULL && cursor->window == &cursor->past.window)
		return;
	while (cursor->schema_len > 0)
		schema_unref(cursor->schemas[--cursor->schema_len]);
	while (cursor->meta_len > 0)
		meta_unref(cursor->store, cursor->metas[--cursor->meta_len]);
}

/* Memory in which the past was read, which may be much, is given back once all was. */
static void
tidy_past(struct cursor *cursor)
{
	if (cursor->waits || cursor->past.place != NULL || cursor->past.window.event_cap == 0)
		return;
	cursor_past_close(cursor);
	window_fini(&cursor->past.window);
	window_init(&cursor->past.window);
}

size_t
cursor_read(struct cursor *cursor, struct cursor_record *out, size_t max)
{
	size_t n = 0, looked = 0;

	window_release(&cursor->memory_window);
	window_release(&cursor->past.window);
	cursor->waits = false;
	while (n < max) {
		enum opened opened = OPENED;

		if (cursor->place == NULL && n > 0 &&
		    (window_has_to_go(&cursor->memory_window) ||
		        window_has_to_go(&cursor->past.window)))
			break;
		if (cursor->place == NULL) {
			struct place *place = take_place(cursor, &looked);

			if (place == NULL)
				break;
			opened = open_window(cursor, place, n == 0);
			/* Else the round that ended began before the last append. */
			if (opened == NOTHING_NEW &&
			    place->done_count == place->set->append_count) {
				leave_place(cursor, place);
				looked++;
			}
			if (opened == GOES_ON_LATER || opened == NOT_YET) {
				leave_place(cursor, place);
				looked += opened == NOT_YET;
				cursor->waits = true;
			}
		}
		if (opened == NOT_NOW ||
		    (opened == OPENED && cursor->window == &cursor->memory_window &&
		        !cursor_keep_schema(cursor, cursor->schema)))
			break;
		if (opened == OPENED)
			n += read_window(cursor, &out[n], max - n);
	}
	if (n == 0)
		tidy_past(cursor);
	cursor->read_count += n;
	if (cursor->read_count == 0) /* then nobody would commit, and the sets stay held */
		cursor_commit(cursor);
	return n;
}

void
cursor_commit(struct cursor *cursor)
{
	/* The past that is open belongs to the place that is read. */
	settle(cursor, place_commit, cursor->place != NULL ? cursor->place : cursor->past.place);
}

void
cursor_rewind(struct cursor *cursor)
{
	close_window(cursor);
	window_release(&cursor->memory_window);
	window_reset(&cursor->memory_window);
	cursor_past_close(cursor);
	settle(cursor, place_rewind, NULL);
}

bool
cursor_is_waiting(const struct cursor *cursor)
{
	return cursor->waits;
}

uint64_t
cursor_missed_count(const struct cursor *cursor)
{
	return cursor->missed_count;
}

int64_t
cursor_lag_ns(struct cursor *cursor, int64_t now_ns, uint64_t *count)
{
	int64_t oldest_ns = INT64_MAX;
	uint64_t sum = 0;

	lock_take(&cursor->store->lock);
	for (struct place *place = cursor->places; place != NULL; place = place->next) {
		int64_t ts_ns = place_oldest_ns(place, &sum);

		oldest_ns = ts_ns < oldest_ns ? ts_ns : oldest_ns;
	}
	lock_drop(&cursor->store->lock);
	if (count != NULL)
		*count = sum;
	return oldest_ns < now_ns ? now_ns - oldest_ns : 0;
}

/* Positions that are kept. */

void
cursor_keep(struct cursor *cursor)
{
	cursor->keeps = true;
}

void
cursor_set_frames(struct cursor *cursor, const struct cursor_frames *frames)
{
	cursor->frames = *frames;
}

void
cursor_touch(struct cursor *cursor, struct str host, struct str app, uint32_t stream)
{
	struct series_set *set = cursor->keeps ? store_find(cursor->store, host, app) : NULL;
	struct place *place;
	bool is_new;

	if (set == NULL)
		return;
	lock_take(&cursor->store->lock);
	place = place_touch(cursor, set, stream);
	is_new = place != NULL && !place->changed;
	if (is_new)
		place->changed = true; /* from here on it stays */
	lock_drop(&cursor->store->lock);
	if (!is_new) {
		series_set_unref(set);
		return;
	}
	place->next_changed = cursor->changed;
	cursor->changed = place;
}

/* Those of one set. */
static int
save_place(struct place *place, int (*each)(void *ctx, struct cursor_position *, struct err *),
    void *ctx, struct err *err)
{
	const struct cursor_frames *frames = &place->cursor->frames;
	uint32_t len = place_len(place); /* streams that come meanwhile have nothing committed */

	place->new_tag = place->tag;
	for (uint32_t i = 0; i < len; i++) {
		struct cursor_position pos;
		int64_t row_ns;
		int rc = 0;

		if (!place_save(place, i, &pos, &row_ns))
			continue;
		if (frames->oldest_ns != NULL) {
			pos.from_ns = frames->oldest_ns(frames->ctx, &pos, row_ns);
			pos.flags |= CURSOR_POSITION_FROM;
		}
		pos.tag = place->new_tag;
		rc = each(ctx, &pos, err);
		if (rc != 0)
			return rc;
		place->new_tag = pos.tag;
	}
	return 0;
}

int
cursor_save(struct cursor *cursor, int (*each)(void *ctx, struct cursor_position *, struct err *),
    void *ctx, struct err *err)
{
	for (struct place *place = cursor->changed; place != NULL; place = place->next_changed) {
		int rc = save_place(place, each, ctx, err);

		if (rc != 0)
			return rc;
	}
	return 0;
}

bool
cursor_has_changes(const struct cursor *cursor)
{
	return cursor->changed != NULL;
}

void
cursor_saved(struct cursor *cursor)
{
	while (cursor->changed != NULL) {
		struct place *place = cursor->changed;
		struct series_set *set = place->set;
		bool gone;

		cursor->changed = place->next_changed;
		place_saved(place);
		place->tag = place->new_tag;
		lock_take(&cursor->store->lock);
		place->changed = false;
		gone = place->gone && !place->held;
		lock_drop(&cursor->store->lock);
		if (gone)
			place_free(cursor->store, place);
		series_set_unref(set);
	}
}

void
cursor_begin_new(struct cursor *cursor, int64_t since_ns)
{
	lock_take(&cursor->store->lock);
	for (struct place *place = cursor->places; place != NULL; place = place->next)
		place_begin_new(place, since_ns);
	lock_drop(&cursor->store->lock);
}

int
cursor_restore(struct cursor *cursor, const struct cursor_position *pos, struct err *err)
{
	struct series_set *set = store_find(cursor->store, pos->host, pos->app);
	int rc = -1;

	assert(cursor->held == NULL);
	if (set == NULL)
		err_set(
		    err, ERR_NOTFOUND, "no set %.*s/%.*s", STR_ARG(pos->host), STR_ARG(pos->app));
	else
		rc = place_restore(cursor, set, pos, err);
	series_set_unref(set);
	return rc;
}
