#include "store/cursor_priv.h"

#include "store/count_priv.h"
#include "store/redo.h"
#include "store/store_priv.h"

static uint64_t
sum_of(const struct cursor *cursor, const struct stream *s)
{
	return cursor->mode == CURSOR_EVERY ? s->every_sum : s->change_sum;
}

static uint64_t
lost_of(const struct cursor *cursor, const struct stream *s)
{
	return cursor->mode == CURSOR_EVERY ? s->every_lost : s->change_lost;
}

void
place_free(struct store *store, struct place *place)
{
	memory_free(store, place->streams, place->len * sizeof(*place->streams));
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

/* Takes the place of what the place has; returns that. REQUIRES the set's lock. */
static struct place_stream *
swap_streams(struct place *place, struct place_stream *streams, uint32_t len)
{
	struct place_stream *old = place->streams;

	memset(streams, 0, len * sizeof(*streams));
	if (place->len > 0)
		memcpy(streams, old, place->len * sizeof(*streams));
	place->streams = streams;
	place->len = len;
	return old;
}

bool
places_reserve(struct series_set *set, uint32_t len, struct memory_want *want)
{
	for (struct place *p = set->places; p != NULL; p = p->next_in_set) {
		uint32_t old_len = p->len;
		struct place_stream *streams;

		if (p->len >= len)
			continue;
		streams = memory_try(set->store, len * sizeof(*streams), want);
		if (streams == NULL)
			return false;
		memory_free(set->store, swap_streams(p, streams, len), old_len * sizeof(*streams));
	}
	return true;
}

/* Begins with the oldest rows there are. REQUIRES the set's lock. */
static void
init_marks(struct place *place)
{
	for (uint32_t i = 0; i < place->len; i++) {
		const struct stream *s = place->set->streams[i];
		struct place_stream *stream = &place->streams[i];

		stream->read.row = stream->read.target = s->first_row;
		stream->read.sum = lost_of(place->cursor, s);
		stream->read.wants_base = s->first_row > 0;
		stream->committed = stream->read;
		stream->committed_ns = s->base_ns > s->begin_ns ? s->base_ns : s->begin_ns;
		stream->row_ns = stream->read_ns = stream->committed_ns;
	}
}

/* Puts the place into its set. False: see memory_try. REQUIRES the store's lock. */
static bool
try_attach(struct place *place, struct memory_want *want)
{
	struct series_set *set = place->set;
	bool done;

	lock_take(&set->lock);
	place->next_in_set = set->places;
	set->places = place;
	done = places_reserve(set, set->stream_cap, want);
	if (done)
		init_marks(place);
	else
		set->places = place->next_in_set;
	lock_drop(&set->lock);
	return done;
}

/* Room for the marks of the set's streams, above the limit. -1 with ERR_NOMEM. */
static int
grow_beyond(struct place *place, struct err *err)
{
	struct series_set *set = place->set;
	uint32_t old_len = place->len, len;
	struct place_stream *streams;

	lock_take(&set->lock);
	len = set->stream_cap;
	lock_drop(&set->lock);
	streams = memory_alloc_beyond(set->store, len * sizeof(*streams), err);
	if (streams == NULL)
		return -1;
	memory_free(set->store, swap_streams(place, streams, len), old_len * sizeof(*streams));
	return 0;
}

int
place_open(struct cursor *cursor, struct series_set *set, bool beyond, struct err *err)
{
	struct place *place;
	struct memory_want want;

	place = memory_alloc_listed(set->store, sizeof(*place), beyond, err);
	if (place == NULL)
		return -1;
	*place = (struct place){ .cursor = cursor, .set = set };
	while (!try_attach(place, &want)) {
		if (memory_wait(set->store, &want, err) != 0 &&
		    (!beyond || err->code != ERR_LIMIT || grow_beyond(place, err) != 0)) {
			place_free(set->store, place);
			return -1;
		}
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
places_open(struct series_set *set, bool beyond, struct err *err)
{
	for (struct cursor *cursor = set->store->cursors; cursor != NULL; cursor = cursor->next) {
		if (place_open(cursor, set, beyond, err) != 0) {
			places_close(set);
			return -1;
		}
	}
	return 0;
}

/* REQUIRES the set's lock. */
static void
miss(struct place *place, struct place_stream *stream, uint64_t count)
{
	place->cursor->missed_count += count;
	stream->missed_count += count;
}

static bool
same_place(const struct mark *a, const struct mark *b)
{
	return a->row == b->row && a->target == b->target && a->at == b->at &&
	       a->at_row == b->at_row && a->in_piece == b->in_piece;
}

/* Nothing is read and not committed: what moved the one mark moves the other. */
static void
settle(struct place_stream *stream)
{
	if (stream->committed.row != stream->read.row)
		stream->committed_ns = stream->read.in_piece ? stream->row_ns : stream->read_ns;
	stream->changed = stream->changed || !same_place(&stream->committed, &stream->read);
	stream->committed = stream->read;
	stream->missed_count = 0;
}

struct store_past *
place_past(const struct place *place)
{
	struct store_past *past = place->set->store->past;

	return past == NULL || past->seal == NULL ? NULL : past;
}

/* Rows that are gone are in the past, or done with. REQUIRES the set's lock. */
static void
skip_lost(struct place *place, const struct stream *s)
{
	struct place_stream *stream = &place->streams[s->number];
	struct mark *mark = &stream->read;
	uint64_t lost = lost_of(place->cursor, s);

	if (place_past(place) != NULL) {
		if (s->first_row > mark->row && !stream->is_behind) {
			stream->is_behind = true;
			place->past_next = 0;
		}
		return;
	}
	if (s->first_row <= mark->target)
		return;
	miss(place, stream, lost - mark->sum);
	mark->sum = lost;
	mark->target = s->first_row;
	stream->read_ns = s->base_ns;
	mark->wants_base = true;
	if (!mark->in_piece)
		mark->row = mark->target;
	if (!place->held)
		settle(stream);
}

/* The set is gone: all that was not read is missed. REQUIRES the set's lock. */
static void
lose_all(struct place *place, const struct stream *s)
{
	struct place_stream *stream = &place->streams[s->number];

	miss(place, stream, sum_of(place->cursor, s) - stream->read.sum + stream->read.left);
}

void
places_lose_rows(const struct stream *s)
{
	for (struct place *p = s->set->places; p != NULL; p = p->next_in_set)
		skip_lost(p, s);
}

void
places_note_row(const struct stream *s, int64_t ts_ns)
{
	for (struct place *p = s->set->places; p != NULL; p = p->next_in_set) {
		struct place_stream *stream = &p->streams[s->number];

		if (stream->committed.row == s->next_row)
			stream->committed_ns = ts_ns;
		if (stream->read.target == s->next_row)
			stream->read_ns = ts_ns;
	}
}

/* Records that a row may have, where nobody counted them. */
static uint32_t
guess_of(const struct place *place, const struct stream *s)
{
	return place->cursor->mode == CURSOR_EVERY ? s->active_count : 1;
}

/* The mark goes back to that row. What it had read of a piece is read again. */
static void
put_back(const struct place *place, const struct stream *s, struct mark *mark, uint32_t row)
{
	if (mark->row >= mark->guess_row) {
		mark->guess = guess_of(place, s);
		mark->guess_row = mark->target < s->first_row ? mark->target : s->first_row;
		if (mark->target >= s->first_row)
			mark->sum = lost_of(place->cursor, s);
	}
	/* The sum is that of all before guess_row, or of all before target if that is less. */
	if (mark->target < mark->guess_row)
		mark->sum -= (uint64_t)mark->guess * (mark->target - row);
	else
		mark->sum -= (uint64_t)mark->guess * (mark->guess_row - row);
	mark->row = mark->target = row;
	mark->left = 0;
	mark->at = mark->at_row = 0;
	mark->wants_base = mark->wants_base || mark->has_base;
	mark->in_piece = mark->has_base = false;
}

/*
 * What the piece gave out is skipped from here on. A mark can tell that of one piece only: if some
 * was skipped in this one already and is not part of it, what is less comes again.
 */
static void
skip_given(struct mark *mark)
{
	bool is_whole = mark->skip_target <= mark->row || mark->at > mark->skip_at ||
	                (mark->at == mark->skip_at && mark->at_row >= mark->skip_at_row);

	if (mark->skip_target > mark->target ||
	    (!is_whole && mark->target - mark->skip_target < mark->skip_target - mark->row))
		return;
	mark->skip_target = mark->target;
	mark->skip_at = mark->at;
	mark->skip_at_row = mark->at_row;
}

void
place_break_piece(struct place *place, uint32_t number)
{
	struct mark *mark = &place->streams[number].read;

	skip_given(mark);
	put_back(place, place->set->streams[number], mark, mark->row);
	place->streams[number].read_ns = place->streams[number].row_ns;
}

void
place_go_back(struct place *place, uint32_t number, uint32_t row)
{
	struct place_stream *stream = &place->streams[number];

	stream->goes_back = false;
	if (row < stream->read.row) {
		put_back(place, place->set->streams[number], &stream->read, row);
		stream->committed_ns = stream->row_ns = stream->read_ns = stream->back_ns;
	}
	stream->committed = stream->read;
}

void
place_begin_past_piece(struct place *place, uint32_t number, const struct past_rows *rows)
{
	struct place_stream *stream = &place->streams[number];
	struct mark *mark = &stream->read;

	mark->has_base =
	    place->cursor->mode == CURSOR_CHANGES && (mark->wants_base || rows->from > mark->row);
	mark->wants_base = false;
	mark->in_piece = true;
	mark->row = rows->from;
	mark->target = rows->end;
	mark->at = mark->at_row = 0;
	mark->left = rows->count;
	mark->sum += mark->row < mark->guess_row
	                 ? (uint64_t)mark->guess * (mark->target - mark->row)
	                 : rows->count;
	stream->row_ns = stream->read_ns;
	stream->read_ns = rows->end_ns;
}

/* All before the oldest row of memory is done with, or nowhere. REQUIRES the set's lock. */
static void
arrive(struct place *place, struct place_stream *stream, const struct stream *s)
{
	struct mark *mark = &stream->read;
	uint64_t lost = lost_of(place->cursor, s);

	/* A guess may have been too high. */
	if ((int64_t)(lost - mark->sum) > 0)
		miss(place, stream, lost - mark->sum);
	mark->sum = lost;
	mark->row = mark->target = s->first_row;
	mark->guess_row = 0;
	stream->is_behind = false;
}

void
place_give_up(struct place *place, uint32_t number)
{
	const struct stream *s = place->set->streams[number];
	struct place_stream *stream = &place->streams[number];
	struct mark *mark = &stream->read;

	stream->goes_back = false;
	if (mark->row >= s->first_row)
		return;
	mark->wants_base = true;
	if (mark->in_piece && mark->target > s->first_row) {
		mark->row = s->first_row; /* what it had before is left of it at its end */
		return;
	}
	miss(place, stream, mark->left);
	mark->left = 0;
	mark->in_piece = mark->has_base = false;
	stream->read_ns = s->base_ns;
	arrive(place, stream, s);
}

/* True if what the stream needs next is not in memory. REQUIRES the set's lock. */
static bool
is_in_past(struct place *place, struct place_stream *stream, const struct stream *s)
{
	if (!stream->is_behind)
		return false;
	if (place_past(place) == NULL)
		place_give_up(place, s->number);
	else if (stream->goes_back || stream->read.row < s->first_row)
		return true;
	if (stream->read.row == s->first_row && !stream->read.in_piece)
		arrive(place, stream, s);
	stream->is_behind = false;
	return false;
}

enum piece
place_begin_piece(struct place *place, uint32_t number)
{
	const struct stream *s = place->set->streams[number];
	struct mark *mark = &place->streams[number].read;

	if (is_in_past(place, &place->streams[number], s))
		return PIECE_IN_PAST;
	if (mark->in_piece)
		return PIECE_IN_MEMORY;
	mark->wants_base = mark->wants_base && place->cursor->mode == CURSOR_CHANGES;
	if (mark->row == s->next_row && !mark->wants_base)
		return PIECE_NONE;
	place->streams[number].row_ns = place->streams[number].read_ns;
	mark->in_piece = true;
	mark->has_base = mark->wants_base;
	mark->wants_base = false;
	mark->target = s->next_row;
	mark->left = sum_of(place->cursor, s) - mark->sum;
	mark->sum += mark->left;
	mark->at = mark->at_row = 0;
	return PIECE_IN_MEMORY;
}

void
place_end_piece(struct place *place, uint32_t number)
{
	struct place_stream *stream = &place->streams[number];
	struct mark *mark = &stream->read;

	miss(place, stream, mark->left);
	mark->left = 0;
	mark->row = mark->target;
	mark->in_piece = mark->has_base = false;
}

void
place_found(struct place *place, uint32_t number, uint64_t count)
{
	place->cursor->missed_count -= count;
	place->streams[number].missed_count -= count;
}

void
place_commit(struct place *place)
{
	lock_take(&place->set->lock);
	for (uint32_t i = 0; i < place->len; i++) {
		if (place->gone) /* what is missed of it counts as such already */
			place->streams[i].read =
			    (struct mark){ .sum = sum_of(place->cursor, place->set->streams[i]) };
		settle(&place->streams[i]);
	}
	lock_drop(&place->set->lock);
}

void
place_rewind(struct place *place)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	place->past_next = 0;
	for (uint32_t i = 0; i < place->len; i++) {
		struct place_stream *stream = &place->streams[i];

		place->cursor->missed_count -= stream->missed_count;
		stream->missed_count = 0;
		if (stream->read.target != stream->committed.target)
			stream->read_ns = stream->committed_ns;
		stream->row_ns = stream->committed_ns;
		stream->read = stream->committed;
		if (place->gone)
			lose_all(place, set->streams[i]);
		else
			skip_lost(place, set->streams[i]);
	}
	lock_drop(&set->lock);
	place->done_count = 0;
	place->next_stream = 0;
}

int64_t
place_oldest_ns(struct place *place, uint64_t *count)
{
	struct series_set *set = place->set;
	int64_t oldest_ns = INT64_MAX;

	lock_take(&set->lock);
	for (uint32_t i = 0; i < place->len; i++) {
		const struct place_stream *stream = &place->streams[i];

		*count += sum_of(place->cursor, set->streams[i]) - stream->committed.sum +
		          stream->committed.left;
		if (stream->committed.row < set->streams[i]->next_row &&
		    stream->committed_ns < oldest_ns)
			oldest_ns = stream->committed_ns;
	}
	lock_drop(&set->lock);
	return oldest_ns;
}

void
places_close(struct series_set *set)
{
	while (set->places != NULL) {
		struct place *place = set->places;

		lock_take(&set->lock);
		for (uint32_t i = 0; i < place->len; i++)
			lose_all(place, set->streams[i]);
		set->places = place->next_in_set;
		place->gone = true;
		lock_drop(&set->lock);
		unlink_from_cursor(place);
		if (!place->held && !place->changed)
			place_free(set->store, place);
	}
}

/* --- positions that are kept ----------------------------------------------------------------- */

/* In cursor_position.flags. */
enum { IN_PIECE = 1, HAS_BASE = 2, WANTS_BASE = 4, OF_CHANGES = 8, FROM = CURSOR_POSITION_FROM };

uint32_t
place_len(struct place *place)
{
	uint32_t len;

	lock_take(&place->set->lock);
	len = place->len;
	lock_drop(&place->set->lock);
	return len;
}

bool
place_save(struct place *place, uint32_t number, struct cursor_position *out, int64_t *row_ns)
{
	struct series_set *set = place->set;
	const struct mark *mark;
	bool found;

	lock_take(&set->lock);
	/* One that has to go back first is where it was. */
	found = !place->gone && place->streams[number].changed && !place->streams[number].goes_back;
	if (found) {
		mark = &place->streams[number].committed;
		*row_ns = mark->in_piece ? place->streams[number].committed_ns : TS_NONE;
		*out = (struct cursor_position){
			.host = set->host,
			.app = set->app,
			.birth_ns = series_set_birth_ns(set),
			.stream = number,
			.row = mark->row,
			.target = mark->target,
			.at = mark->at,
			.at_row = mark->at_row,
			.left = mark->left,
			.flags = (mark->in_piece ? IN_PIECE : 0u) |
			         (mark->has_base ? HAS_BASE : 0u) |
			         (mark->wants_base ? WANTS_BASE : 0u) |
			         (place->cursor->mode == CURSOR_CHANGES ? OF_CHANGES : 0u),
			.row_ns = place->streams[number].committed_ns,
		};
		if (mark->skip_target > mark->row) {
			out->skip_target = mark->skip_target;
			out->skip_at = mark->skip_at;
			out->skip_at_row = mark->skip_at_row;
		}
		if (out->row_ns == TS_NONE)
			out->row_ns = 0;
	}
	lock_drop(&set->lock);
	return found;
}

struct place *
place_touch(const struct cursor *cursor, struct series_set *set, uint32_t number)
{
	struct place *place;

	lock_take(&set->lock);
	place = set->places;
	while (place != NULL && place->cursor != cursor)
		place = place->next_in_set;
	if (place != NULL && number < place->len)
		place->streams[number].changed = true;
	lock_drop(&set->lock);
	return place;
}

void
place_saved(struct place *place)
{
	lock_take(&place->set->lock);
	for (uint32_t i = 0; i < place->len; i++)
		place->streams[i].changed = false;
	lock_drop(&place->set->lock);
}

static bool
makes_sense(const struct cursor_position *pos)
{
	bool in_piece = (pos->flags & IN_PIECE) != 0;

	return pos->flags <= CURSOR_POSITION_FLAGS && pos->row <= pos->target &&
	       (in_piece || (pos->row == pos->target && pos->left == 0)) &&
	       pos->left <= UINT64_C(1) << 60;
}

/* Its mark, without the sum. */
static struct mark
mark_of(const struct cursor_position *pos, enum cursor_mode mode)
{
	struct mark mark = { .row = pos->row, .target = pos->target };

	/* What is left of a piece was counted in the other way: it begins anew. */
	if (((pos->flags & OF_CHANGES) != 0) != (mode == CURSOR_CHANGES)) {
		mark.target = mark.row;
		return mark;
	}
	mark.skip_target = pos->skip_target;
	mark.skip_at = pos->skip_at;
	mark.skip_at_row = pos->skip_at_row;
	mark.wants_base = (pos->flags & WANTS_BASE) != 0;
	mark.in_piece = (pos->flags & IN_PIECE) != 0;
	if (mark.in_piece) {
		mark.has_base = (pos->flags & HAS_BASE) != 0;
		mark.at = pos->at;
		mark.at_row = pos->at_row;
		mark.left = pos->left;
	}
	return mark;
}

/* NULL if the set is not the one meant. REQUIRES the set's lock. */
static struct place *
place_of(
    const struct cursor *cursor, const struct series_set *set, const struct cursor_position *pos)
{
	struct place *place = set->places;

	while (place != NULL && place->cursor != cursor)
		place = place->next_in_set;
	if (place == NULL || pos->birth_ns != series_set_birth_ns(set) ||
	    pos->stream >= set->stream_count)
		return NULL;
	return place;
}

/* Where memory begins, of a stream. */
struct memory_begin {
	uint32_t row;
	int64_t before_ns; /* time of the row before it */
	bool has_past;     /* and that is kept */
};

/* True if rows from that time on may be in the past. */
static bool
reaches_past(const struct memory_begin *memory, int64_t from_ns)
{
	return memory->has_past && memory->row > 0 && from_ns <= memory->before_ns;
}

/*
 * Moves the mark back to where the frames begin that were not done with; *back_ns: it goes there
 * once it reads, else TS_NONE. -1 with ERR_NOMEM.
 */
static int
move_back(const struct cursor *cursor, struct series_set *set, const struct cursor_position *pos,
    const struct memory_begin *memory, struct mark *mark, int64_t *back_ns, struct err *err)
{
	const struct cursor_frames *frames = &cursor->frames;
	struct row_search search = { .row = mark->row, .from_ns = TS_NONE };

	*back_ns = TS_NONE;
	if ((pos->flags & FROM) == 0 && frames->begin_ns == NULL)
		return 0;
	if ((pos->flags & FROM) != 0)
		search.from_ns = pos->from_ns > TS_NONE ? pos->from_ns : TS_NONE + 1;
	else if (mark->row < memory->row && pos->row_ns != 0)
		search.from_ns = pos->row_ns;
	if (search.from_ns != TS_NONE && frames->begin_ns != NULL)
		search.from_ns = frames->begin_ns(frames->ctx, search.from_ns);
	if (search.from_ns != TS_NONE && reaches_past(memory, search.from_ns)) {
		*back_ns = search.from_ns;
		*mark = (struct mark){ .row = mark->row, .target = mark->row };
		return 0;
	}
	search.begin_ns = frames->begin_ns;
	search.ctx = frames->ctx;
	if (find_row(set, pos->stream, &search, err) != 0)
		return -1;
	/* What was read of a piece is read again. */
	if (search.row < mark->row || frames->begin_ns != NULL)
		*mark = (struct mark){ .row = search.row, .target = search.row };
	return 0;
}

/*
 * Rows that were given up before the mark came back: nobody can tell how many records they had, so
 * they count as what the stream has now. REQUIRES the set's lock.
 */
static void
miss_unknown(struct place *place, const struct stream *s, struct mark *mark)
{
	uint64_t rows = s->first_row - mark->target;

	miss(place, &place->streams[s->number],
	    place->cursor->mode == CURSOR_EVERY ? rows * s->active_count : rows);
	mark->sum = lost_of(place->cursor, s);
	mark->target = s->first_row;
	mark->wants_base = true;
	if (!mark->in_piece)
		mark->row = mark->target;
}

/* The same of rows that may be in the past. REQUIRES the set's lock. */
static void
guess_unknown(const struct place *place, const struct stream *s, struct mark *mark)
{
	mark->guess_row = s->first_row;
	mark->guess = guess_of(place, s);
	mark->sum =
	    lost_of(place->cursor, s) - (uint64_t)mark->guess * (mark->guess_row - mark->target);
}

/* REQUIRES the set's lock. */
static void
put_mark(struct place *place, const struct stream *s, struct mark mark,
    const struct row_counts *counts, const struct cursor_position *pos, int64_t back_ns)
{
	struct place_stream *stream = &place->streams[s->number];
	int64_t oldest_ns = s->base_ns > s->begin_ns ? s->base_ns : s->begin_ns;
	bool has_past = place_past(place) != NULL;

	if (mark.target >= s->first_row)
		mark.sum = counts->sum - counts->count;
	else if (has_past)
		guess_unknown(place, s, &mark);
	else
		miss_unknown(place, s, &mark);
	/* Of a row that is in the past. */
	if (has_past && mark.row < s->first_row && pos->row_ns != 0 && pos->row_ns < oldest_ns)
		oldest_ns = pos->row_ns;
	stream->read = stream->committed = mark;
	stream->read_ns = counts->from_ns != TS_NONE ? counts->from_ns : oldest_ns;
	stream->committed_ns = counts->earliest_ns != TS_NONE ? counts->earliest_ns : oldest_ns;
	stream->row_ns = stream->committed_ns;
	stream->missed_count = 0;
	stream->changed = false;
	stream->goes_back = has_past && back_ns != TS_NONE;
	stream->back_ns = back_ns;
	stream->is_behind = has_past && (stream->goes_back || mark.row < s->first_row);
	stream->is_restored = true;
	place->past_next = 0;
	place->done_count = 0; /* it has news again */
	place->tag = pos->tag;
}

/* The stream is read from its first row on. REQUIRES the set's lock. */
static void
begin_at_first(struct place *place, const struct stream *s)
{
	struct place_stream *stream = &place->streams[s->number];
	struct mark mark = { .row = 0 };

	guess_unknown(place, s, &mark);
	stream->read = stream->committed = mark;
	stream->committed_ns = stream->row_ns = stream->read_ns = s->begin_ns;
	stream->is_behind = true;
}

void
place_begin_new(struct place *place, int64_t since_ns)
{
	struct series_set *set = place->set;

	lock_take(&set->lock);
	for (uint32_t i = 0; place_past(place) != NULL && i < place->len; i++) {
		const struct stream *s = set->streams[i];
		bool is_new = set->birth_ns >= since_ns || s->begin_ns >= since_ns;

		if (is_new && !place->streams[i].is_restored && s->first_row > 0)
			begin_at_first(place, s);
	}
	lock_drop(&set->lock);
}

/* False if rows came meanwhile, so that what was counted is of no use. */
static bool
try_restore(struct place *place, const struct cursor_position *pos, struct mark mark,
    const struct row_counts *counts, int64_t back_ns)
{
	const struct stream *s = place->set->streams[pos->stream];

	if (s->next_row != counts->next_row)
		return false;
	/* The end of what was told last did not come back. */
	if (mark.target > s->next_row)
		mark.target = s->next_row;
	if (mark.row > mark.target)
		mark.row = mark.target;
	put_mark(place, s, mark, counts, pos, back_ns);
	return true;
}

int
place_restore(struct cursor *cursor, struct series_set *set, const struct cursor_position *pos,
    struct err *err)
{
	struct mark mark = mark_of(pos, cursor->mode);
	struct memory_begin memory = { .row = 0 };
	struct row_counts counts;
	struct place *place;
	int64_t back_ns;
	bool done;

	if (!makes_sense(pos)) {
		err_set(err, ERR_PROTO, "position in %.*s/%.*s makes no sense", STR_ARG(pos->host),
		    STR_ARG(pos->app));
		return -1;
	}
	do {
		lock_take(&set->lock);
		place = place_of(cursor, set, pos);
		if (place != NULL)
			memory = (struct memory_begin){ set->streams[pos->stream]->first_row,
				set->streams[pos->stream]->base_ns, place_past(place) != NULL };
		lock_drop(&set->lock);
		if (place == NULL)
			break;
		if (move_back(cursor, set, pos, &memory, &mark, &back_ns, err) != 0 ||
		    count_rows(
		        set, pos->stream, cursor->mode, mark.target, mark.row, &counts, err) != 0)
			return -1;
		lock_take(&set->lock);
		place = place_of(cursor, set, pos);
		done = place != NULL && try_restore(place, pos, mark, &counts, back_ns);
		lock_drop(&set->lock);
	} while (place != NULL && !done);
	if (place != NULL)
		return 0;
	err_set(err, ERR_NOTFOUND, "no such stream: %.*s/%.*s %u", STR_ARG(pos->host),
	    STR_ARG(pos->app), (unsigned)pos->stream);
	return -1;
}
