/*
 * What a cursor reads where memory ends: the past of one endpoint at a time, as far as one file on
 * disk has it, in a scratch store (past.h). Its windows are a cursor's as those of memory.
 *
 * The disk may be slow, full or broken. A place whose past can't be had for the moment is left for
 * later, ever longer, while the others go on; after some tries it goes on without. Rows that are
 * not sealed yet are waited for as well, and without end, as they are there.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/count_priv.h"
#include "store/cursor_priv.h"
#include "store/store_priv.h"

/* A past that can't be had is asked for again after that, and then ever later. */
#define RETRY_NS      (NS_PER_S / 4)
#define RETRY_MOST_NS (60 * NS_PER_S)
/* So often; all together some minutes. */
#define TRIES_MOST 11
/* What is not sealed yet is looked for ever later too, but sealing takes seconds. */
#define WAIT_MOST_NS (16 * NS_PER_S)
/* How often it is said that the disk fails. */
#define SAY_NS (600 * NS_PER_S)

void
cursor_past_init(struct cursor *cursor)
{
	window_init(&cursor->past.window);
	cursor->past.mono_ns = clock_mono_ns;
}

void
cursor_past_close(struct cursor *cursor)
{
	struct cursor_past *past = &cursor->past;

	past->place = NULL;
	if (past->found.store == NULL)
		return;
	window_release(&past->window);
	window_reset(&past->window);
	walk_release(&past->window.walk);
	past->from->close(past->from, &past->found);
}

void
cursor_past_fini(struct cursor *cursor)
{
	cursor_past_close(cursor);
	window_fini(&cursor->past.window);
}

void
cursor_past_leave(struct cursor *cursor)
{
	cursor->past.place = NULL;
}

/* What a place lacks, by stream. */
struct lack {
	bool is_wanted;
	uint32_t row;
	int64_t back_ns; /* TS_NONE, or: it goes back to there */
};

struct lacks {
	struct lack *of; /* by stream */
	uint32_t len;
	int64_t start_ns; /* all of it is of later */
	uint64_t next;
};

/* REQUIRES the set's lock. */
static void
note_lack(struct lacks *lacks, const struct place *place, uint32_t i)
{
	const struct place_stream *stream = &place->streams[i];
	struct lack *lack = &lacks->of[i];
	int64_t ts_ns = stream->committed_ns;

	*lack = (struct lack){ .row = stream->read.row, .back_ns = TS_NONE };
	lack->is_wanted = stream->is_behind &&
	                  (stream->goes_back || lack->row < place->set->streams[i]->first_row);
	if (!lack->is_wanted)
		return;
	if (stream->goes_back) {
		lack->back_ns = stream->back_ns;
		ts_ns = ts_ns < stream->back_ns ? ts_ns : stream->back_ns;
	}
	ts_ns -= ts_ns > TS_NONE;
	if (ts_ns < lacks->start_ns)
		lacks->start_ns = ts_ns;
}

/* -1 with ERR_NOMEM. */
static int
find_lacks(struct place *place, struct lacks *lacks, struct err *err)
{
	uint32_t cap = place_len(place);

	*lacks = (struct lacks){ .of = calloc((size_t)cap + 1, sizeof(*lacks->of)),
		.start_ns = INT64_MAX };
	if (lacks->of == NULL) {
		err_nomem(err);
		return -1;
	}
	lock_take(&place->set->lock);
	lacks->len = place->gone ? 0 : cap; /* there are never fewer */
	for (uint32_t i = 0; i < lacks->len; i++)
		note_lack(lacks, place, i);
	lacks->next = place->past_next;
	lock_drop(&place->set->lock);
	return 0;
}

static bool
is_enough(void *ctx, struct series_set *set)
{
	const struct lacks *lacks = ctx;
	bool enough = false;

	lock_take(&set->lock);
	for (uint32_t i = 0; i < lacks->len && i < set->stream_count && !enough; i++) {
		const struct lack *lack = &lacks->of[i];

		if (!lack->is_wanted)
			continue;
		enough = lack->back_ns == TS_NONE ? set->streams[i]->next_row > lack->row
		                                  : set->streams[i]->ts_ns >= lack->back_ns;
	}
	lock_drop(&set->lock);
	return enough;
}

/* The streams that go back find out to where; those of which there is nothing wait. */
static int
go_back(struct cursor *cursor, struct place *place, const struct lacks *lacks, struct err *err)
{
	struct series_set *set = cursor->past.found.set;

	for (uint32_t i = 0; i < lacks->len && i < set->stream_count; i++) {
		struct row_search search = { .row = lacks->of[i].row,
			.from_ns = lacks->of[i].back_ns };

		if (!lacks->of[i].is_wanted || search.from_ns == TS_NONE ||
		    set->streams[i]->ts_ns < search.from_ns)
			continue;
		if (find_row(set, i, &search, err) != 0)
			return -1;
		lock_take(&place->set->lock);
		place_go_back(place, i, search.row);
		lock_drop(&place->set->lock);
	}
	return 0;
}

static void
give_up(struct place *place, const struct lacks *lacks)
{
	lock_take(&place->set->lock);
	for (uint32_t i = 0; i < lacks->len; i++) {
		if (lacks->of[i].is_wanted)
			place_give_up(place, i);
	}
	lock_drop(&place->set->lock);
}

/* The place is left for a while, ever longer; count is of such times. */
static void
leave_for(struct cursor *cursor, struct place *place, unsigned *count, int64_t most_ns)
{
	unsigned before = *count < TRIES_MOST ? (*count)++ : TRIES_MOST;
	int64_t wait_ns = RETRY_NS << before;

	if (wait_ns > most_ns)
		wait_ns = most_ns;
	place->past_retry_ns = cursor->past.mono_ns() + wait_ns;
}

static void
put_off(struct cursor *cursor, struct place *place)
{
	leave_for(cursor, place, &place->past_tries, RETRY_MOST_NS);
}

static void
end_tries(struct place *place)
{
	/* Who has left out something does not wait again, until he is in memory. */
	if (place->past_tries < TRIES_MOST)
		place->past_tries = 0;
	place->past_waits = 0;
	place->past_retry_ns = 0;
	place->past_asked = 0;
}

static void
say_failed(struct cursor *cursor, const struct place *place, const struct err *err)
{
	int64_t now_ns = cursor->past.mono_ns();

	if (now_ns < cursor->past.next_say_ns)
		return;
	cursor->past.next_say_ns = now_ns + SAY_NS;
	log_warn("store",
	    "%s: history of %.*s on disk can't be read: %s; it is tried again for some minutes, "
	    "then what it has counts as missed",
	    cursor->name, STR_ARG(place->set->host), err->text);
}

static int
open_past(struct cursor *cursor, struct place *place, struct lacks *lacks, struct err *err)
{
	struct past_query query = {
		.host = place->set->host,
		.app = place->set->app,
		.birth_ns = place->set->birth_ns,
		.start_ns = lacks->start_ns,
		.is_enough = is_enough,
		.ctx = lacks,
		.oldest_first = true,
		.leaves_out = place->past_tries >= TRIES_MOST,
		.next = lacks->next,
	};
	struct cursor_past *past = &cursor->past;

	if (past->from->open(past->from, &query, &past->found, err) != 0) {
		past->found.store = NULL;
		if (err->code == ERR_IO)
			say_failed(cursor, place, err);
		return -1;
	}
	return 0;
}

static bool
has_some(const struct cursor_past *past, struct lacks *lacks)
{
	return past->found.store != NULL && is_enough(lacks, past->found.set);
}

/* What is not there may not be sealed yet. */
static enum past_state
wait_for_seal(
    struct cursor *cursor, struct place *place, const struct lacks *lacks, enum past_sealing was)
{
	struct store_past *from = cursor->past.from;

	if (was == PAST_SEALED || place->past_tries == TRIES_MOST) {
		give_up(place, lacks);
		end_tries(place);
		return PAST_NOTHING;
	}
	if (place->past_asked == 0)
		place->past_asked = from->seal(from);
	if (was == PAST_STUCK)
		put_off(cursor, place);
	else
		leave_for(cursor, place, &place->past_waits, WAIT_MOST_NS);
	return PAST_LATER;
}

static enum past_state
find_past(struct cursor *cursor, struct place *place, struct lacks *lacks)
{
	struct cursor_past *past = &cursor->past;
	enum past_sealing sealing = PAST_SEALS;
	struct err err;

	/* Asked before it is looked for. */
	if (place->past_asked != 0)
		sealing = past->from->sealing(past->from, place->past_asked);
	if (open_past(cursor, place, lacks, &err) != 0)
		goto later;
	lock_take(&place->set->lock);
	/* Unless a stream fell behind meanwhile, whose rows may be elsewhere. */
	if (place->past_next == lacks->next)
		place->past_next = past->found.next;
	lock_drop(&place->set->lock);
	if (!has_some(past, lacks)) {
		cursor_past_close(cursor);
		return wait_for_seal(cursor, place, lacks, sealing);
	}
	if (go_back(cursor, place, lacks, &err) != 0) {
		cursor_past_close(cursor);
		lock_take(&place->set->lock);
		place->past_next = 0; /* that file was not read */
		lock_drop(&place->set->lock);
		goto later;
	}
	end_tries(place);
	past->place = place;
	return PAST_OPEN;
later:
	/* Only what the disk fails to do is given up in the end. */
	if (err.code == ERR_IO)
		put_off(cursor, place);
	else
		place->past_retry_ns = past->mono_ns() + RETRY_NS;
	return PAST_LATER;
}

enum past_state
cursor_past_open(struct cursor *cursor, struct place *place, bool is_free)
{
	struct cursor_past *past = &cursor->past;
	enum past_state state = PAST_LATER;
	struct lacks lacks;
	struct err err;

	if (past->place == place)
		return PAST_OPEN;
	if (past->mono_ns() < place->past_retry_ns)
		return PAST_LATER;
	if (past->found.store != NULL && !is_free)
		return PAST_IN_USE;
	cursor_past_close(cursor);
	past->from = place_past(place);
	if (past->from == NULL)
		return PAST_LATER; /* all ends */
	if (find_lacks(place, &lacks, &err) != 0)
		return PAST_LATER;
	state = find_past(cursor, place, &lacks);
	free(lacks.of);
	return state;
}

/* Rows of the stream in the past. REQUIRES the past's set's lock. */
static bool
rows_of(const struct series_set *set, uint32_t stream, uint32_t *first, uint32_t *next)
{
	if (stream >= set->stream_count)
		return false;
	*first = set->streams[stream]->first_row;
	*next = set->streams[stream]->next_row;
	return *first < *next;
}

/* Records of rows from `from` to before `end`. -1 with ERR_NOMEM. */
static int
count_between(struct cursor *cursor, uint32_t stream, struct past_rows *rows, struct err *err)
{
	struct series_set *set = cursor->past.found.set;
	struct row_counts from, end;

	if (count_rows(set, stream, cursor->mode, rows->from, rows->from, &from, err) != 0 ||
	    count_rows(set, stream, cursor->mode, rows->end, rows->end, &end, err) != 0)
		return -1;
	rows->count = from.count - end.count;
	rows->end_ns = end.from_ns != TS_NONE ? end.from_ns : set->streams[stream]->ts_ns + 1;
	return 0;
}

bool
cursor_past_begin(
    struct cursor *cursor, struct place *place, uint32_t stream, struct mark *mark, bool *failed)
{
	struct series_set *set = cursor->past.found.set;
	uint32_t first, next, first_in_memory;
	struct past_rows rows;
	bool goes_back, goes_on, is_asked;
	struct err err;

	*failed = false;
	lock_take(&place->set->lock);
	*mark = place->streams[stream].read;
	goes_back = place->streams[stream].goes_back;
	first_in_memory = place->set->streams[stream]->first_row;
	is_asked = place->past_next == cursor->past.found.next;
	lock_drop(&place->set->lock);
	/* Nobody appends to it. */
	if (goes_back || !rows_of(set, stream, &first, &next) || next <= mark->row)
		return false;
	/* It fell behind since, and what it lacks is in another file. */
	if (first > mark->row && !is_asked)
		return false;
	goes_on = mark->in_piece && first <= mark->row && mark->target <= next;
	if (goes_on)
		return true;
	if (mark->in_piece) {
		lock_take(&place->set->lock);
		place_break_piece(place, stream);
		*mark = place->streams[stream].read;
		lock_drop(&place->set->lock);
	}
	rows = (struct past_rows){ .from = mark->row > first ? mark->row : first, .end = next };
	if (rows.end > first_in_memory)
		rows.end = first_in_memory;
	if (rows.from < mark->guess_row && rows.end > mark->guess_row)
		rows.end = mark->guess_row;
	if (rows.from >= rows.end) { /* what there is, memory has too */
		lock_take(&place->set->lock);
		place_give_up(place, stream);
		lock_drop(&place->set->lock);
		place->has_moved = true;
		return false;
	}
	*failed = count_between(cursor, stream, &rows, &err) != 0;
	if (*failed)
		return false;
	lock_take(&place->set->lock);
	place_begin_past_piece(place, stream, &rows);
	*mark = place->streams[stream].read;
	lock_drop(&place->set->lock);
	return true;
}

/*
 * The one equal to desc in the cursor's store, which is kept; *meta is NULL if there is no room for
 * it. False: no memory.
 */
static bool
find_meta(struct cursor *cursor, const struct metric_desc *desc, struct meta **meta)
{
	struct err err;

	if (cursor->meta_len == cursor->meta_cap) {
		size_t cap = cursor->meta_cap * 2 + 64;
		struct meta **metas = realloc(cursor->metas, cap * sizeof(struct meta *));

		if (metas == NULL)
			return false;
		cursor->metas = metas;
		cursor->meta_cap = cap;
	}
	*meta = meta_intern(cursor->store, desc, desc_hash(desc), &err);
	if (*meta == NULL)
		return err.code == ERR_LIMIT;
	cursor->metas[cursor->meta_len++] = *meta;
	return true;
}

/* What the set has at that position, if it is the same series; else NULL. */
static const struct meta *
same_in(const struct schema *schema, uint32_t stream, const struct slot *slot)
{
	const struct meta *meta = NULL;

	if (schema != NULL && stream < schema->stream_count &&
	    slot->at < schema->streams[stream].len)
		meta = schema_meta(schema, stream, slot->at);
	return meta != NULL && desc_eq(&meta->desc, &slot->meta->desc) ? meta : NULL;
}

/* False: no memory. */
static bool
adopt_slot(struct cursor *cursor, const struct schema *schema, struct slot *slot)
{
	const struct meta *same = same_in(schema, cursor->stream, slot);
	struct meta *meta = NULL;

	if (same != NULL) {
		slot->meta = same;
		return true;
	}
	if (!find_meta(cursor, &slot->meta->desc, &meta))
		return false;
	slot->meta = meta;
	/* Nobody could be told of it: it is missed. */
	if (meta == NULL)
		slot->first = NO_EVENT;
	return true;
}

bool
cursor_past_adopt(struct cursor *cursor)
{
	struct series_set *set = cursor->place->set;
	struct window *w = cursor->window;
	struct schema *schema;
	bool done;

	lock_take(&set->lock);
	schema = set->schema == NULL ? NULL : schema_ref(set->schema);
	lock_drop(&set->lock);
	done = schema == NULL || cursor_keep_schema(cursor, schema);
	for (size_t i = 0; done && i < w->slot_len; i++)
		done = adopt_slot(cursor, schema, &w->slots[i]);
	schema_unref(schema);
	return done;
}
