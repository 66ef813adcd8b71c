/*
 * Restoring what a set is, as it is told once in each stretch.
 *
 * Mostly that is known: the stretch before ended with it. If rows are missing in between, what is
 * there catches up: rows without content take the numbers of those that are missing, and one or two
 * rows make the difference. What can't be told so begins anew.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/cursor_priv.h"
#include "store/restore_priv.h"
#include "store/store_priv.h"

/* Row numbers that a file may name: far from where they would wrap around. */
#define ROW_MOST (UINT32_MAX - (UINT32_C(1) << 24))
/* More missing rows than that are not filled in. */
#define MISSING_MOST 100000
/* Fillers that land together: a scratch has room for as many rows. */
#define FILLERS 8

enum mode {
	AS_IS,    /* nothing to do */
	CATCH_UP, /* rows are missing */
	ANEW,     /* what was is given up */
};

/* A stream as it was told. */
struct told_stream {
	uint32_t next_row, len;
	int64_t ts_ns, begin_ns;
	const uint8_t *active; /* a bit each */
	uint64_t *bits;        /* what they lead to are references */
	enum mode mode;
};

struct state {
	struct store *store;
	struct series_set *set;
	struct schema *schema; /* lent; NULL: no series */
	struct schema *old;    /* what the set had before; a reference */
	struct moves moves;
	struct told_stream *streams;
	uint32_t stream_count;
};

static bool
is_active(const struct told_stream *told, uint32_t at)
{
	return (told->active[at / 8] >> at % 8 & 1) != 0;
}

/* Reading. */

static void
read_times(struct redo_reader *in, struct told_stream *told)
{
	told->next_row = (uint32_t)redo_number_to(in, ROW_MOST);
	told->ts_ns = told->begin_ns = TS_NONE;
	if (redo_byte(in) == 0)
		return;
	told->ts_ns = (int64_t)redo_word(in);
	told->begin_ns = (int64_t)redo_word(in);
	if (told->ts_ns == TS_NONE || told->begin_ns == TS_NONE || told->ts_ns > TS_LATEST)
		in->bad = true;
}

static int
read_values(struct state *state, struct redo_reader *in, uint32_t i, struct err *err)
{
	struct told_stream *told = &state->streams[i];
	uint32_t len = state->schema->streams[i].len;

	told->active = (const uint8_t *)redo_bytes(in, (len + 7) / 8).p;
	if (in->bad || len == 0)
		return 0;
	if (told->ts_ns == TS_NONE) {
		in->bad = true;
		return 0;
	}
	told->bits = calloc(len, sizeof(*told->bits));
	if (told->bits == NULL) {
		err_nomem(err);
		return -1;
	}
	told->len = len;
	for (uint32_t at = 0; at < len; at++) {
		if (is_active(told, at) && schema_meta(state->schema, i, at) == NULL)
			in->bad = true;
	}
	return in->bad
	           ? 0
	           : restore_values(state->store, in, state->schema, i, 0, told->bits, len, err);
}

static bool
is_known(const struct state *state)
{
	const struct series_set *set = state->set;

	if (set->schema != state->schema)
		return false;
	for (uint32_t i = 0; i < state->stream_count; i++) {
		if (set->streams[i]->next_row != state->streams[i].next_row ||
		    set->streams[i]->ts_ns != state->streams[i].ts_ns)
			return false;
	}
	return true;
}

static bool
is_ahead(const struct state *state)
{
	for (uint32_t i = 0; i < state->stream_count && i < state->set->stream_count; i++) {
		if (state->set->streams[i]->next_row > state->streams[i].next_row)
			return true;
	}
	return false;
}

static int
read_streams(struct state *state, struct redo_reader *in, struct err *err)
{
	state->stream_count = state->schema == NULL ? 0 : state->schema->stream_count;
	state->streams = calloc(state->stream_count + 1, sizeof(*state->streams));
	if (state->streams == NULL) {
		err_nomem(err);
		return -1;
	}
	for (uint32_t i = 0; i < state->stream_count; i++)
		read_times(in, &state->streams[i]);
	if (in->bad || is_known(state) || is_ahead(state))
		return 0;
	for (uint32_t i = 0; i < state->stream_count; i++) {
		if (read_values(state, in, i, err) != 0)
			return -1;
		if (in->bad)
			return 0;
	}
	in->bad = in->p != in->end;
	return 0;
}

static void
state_fini(struct state *state)
{
	for (uint32_t i = 0; state->streams != NULL && i < state->stream_count; i++) {
		struct told_stream *told = &state->streams[i];

		if (told->bits != NULL)
			restore_values_free(
			    state->store, state->schema, i, 0, told->bits, told->len);
		free(told->bits);
	}
	free(state->streams);
	free(state->moves.moves);
	schema_unref(state->old);
}

/* Finding out what to do. */

/* True if the position had no series and gets one. */
static bool
is_reborn(const struct state *state, uint32_t stream, uint32_t at)
{
	return schema_meta(state->old, stream, at) == NULL &&
	       schema_meta(state->schema, stream, at) != NULL;
}

static enum mode
mode_of(const struct state *state, uint32_t i)
{
	const struct told_stream *told = &state->streams[i];
	const struct stream *s;
	uint32_t reborn;

	if (i >= state->set->stream_count)
		return ANEW;
	s = state->set->streams[i];
	if (!restore_can_change(state->set, state->schema, i, &reborn))
		return ANEW;
	if (told->next_row == s->next_row && told->ts_ns == s->ts_ns && told->len == s->len &&
	    reborn == 0)
		return AS_IS;
	if (told->next_row <= s->next_row || told->next_row - s->next_row > MISSING_MOST ||
	    s->ts_ns == TS_NONE || told->ts_ns <= s->ts_ns || told->len == 0)
		return ANEW;
	return CATCH_UP;
}

/* Beginning anew. REQUIRES the set's lock. */

static void
load(struct state *state, uint32_t i)
{
	const struct told_stream *told = &state->streams[i];
	struct stream *s = state->set->streams[i];
	const uint8_t *classes;

	stream_begin_at(s, told->next_row, told->ts_ns, told->begin_ns);
	if (told->len == 0)
		return;
	classes = schema_classes(state->schema, i);
	for (uint32_t at = 0; at < told->len; at++) {
		s->bits[at] = told->bits[at];
		if (class_has_blob(classes[at]))
			blob_ref(blob_of_bits(s->bits[at]));
		s->len = at + 1;
		stream_set_active(s, at, is_active(told, at));
		/* Of those that have ended nothing else is known. */
		if (!is_active(told, at) && schema_meta(state->schema, i, at) != NULL) {
			bit_set(s->dead, at, true);
			state->set->dead_count++;
		}
	}
}

static bool
reserve(struct state *state, struct memory_want *want)
{
	struct series_set *set = state->set;
	uint32_t more =
	    state->moves.len > set->move_len ? (uint32_t)state->moves.len - set->move_len : 0;

	if (!set_reserve_streams(set, state->stream_count, want) ||
	    !places_reserve(set, set->stream_cap, want) || !set_reserve_moves(set, more, want))
		return false;
	for (uint32_t i = 0; i < state->stream_count; i++) {
		if (!stream_reserve(set->streams[i], state->streams[i].len, want))
			return false;
	}
	return true;
}

/* All is there when it returns 0, and the set is locked. */
static int
lock_reserved(struct state *state, struct err *err)
{
	struct memory_want want;
	size_t more = 0;

	for (;; more = 2 * more + sizeof(struct stream)) {
		lock_take(&state->set->lock);
		if (reserve(state, &want))
			return 0;
		lock_drop(&state->set->lock);
		want.bytes += more;
		if (memory_wait(state->store, &want, err) != 0)
			return -1;
	}
}

/* The schema is taken over; what begins anew has. */
static int
take_over(struct state *state, struct err *err)
{
	struct series_set *set = state->set;

	if (lock_reserved(state, err) != 0)
		return -1;
	for (uint32_t i = 0; i < set->stream_count; i++) {
		struct stream *s = set->streams[i];

		if (state->streams[i].mode == ANEW)
			stream_clear(s, schema_classes(set->schema, i));
	}
	/* Those that were emptied have no blobs any more that it would free. */
	if (set->schema != NULL)
		set_free_positions(set, state->schema);
	state->old = set_swap_schema(set, schema_ref(state->schema));
	set->move_len = (uint32_t)state->moves.len;
	if (state->moves.len > 0)
		memcpy(set->moves, state->moves.moves, state->moves.len * sizeof(*set->moves));
	for (uint32_t i = 0; i < state->stream_count; i++) {
		if (state->streams[i].mode == ANEW)
			load(state, i);
	}
	set->append_count++;
	lock_drop(&set->lock);
	return 0;
}

/* Catching up. */

static struct append
begin_append(const struct state *state)
{
	return (struct append){ .set = state->set, .schema = state->schema, .is_restored = true };
}

static int
end_append(struct append *a, struct err *err)
{
	int rc;

	append_end_works(a);
	rc = append_land(a, err);
	append_fini(a, rc == 0);
	return rc;
}

/* Rows that say nothing, at the time of the last one. */
static int
add_fillers(const struct state *state, uint32_t i, uint32_t count, struct err *err)
{
	while (count > 0) {
		struct append a = begin_append(state);
		struct before before = append_state_before(&a, i);

		a.scratch = scratch_take(state->store, 0, FILLERS, err);
		if (a.scratch == NULL)
			return -1;
		for (uint32_t n = 0; n < FILLERS && count > 0; n++, count--) {
			struct work *work = append_begin_work(&a, i, &before, before.ts_ns);

			if (append_end_work(&a, work, &before, err) != 0) {
				append_fini(&a, false);
				return -1;
			}
		}
		if (end_append(&a, err) != 0)
			return -1;
	}
	return 0;
}

static bool
same_value(const struct state *state, uint32_t i, uint32_t at)
{
	const struct stream *s = state->set->streams[i];
	const struct metric_desc *desc = &schema_meta(state->schema, i, at)->desc;
	uint64_t bits = s->bits[at], told = state->streams[i].bits[at];
	struct value before, after;

	if (bits == told || !class_has_blob(schema_classes(state->schema, i)[at]))
		return bits == told;
	if (bits == 0 || told == 0)
		return false;
	before = bits_to_value(bits, desc->kind, true);
	after = bits_to_value(told, desc->kind, true);
	return value_eq(desc, &before, &after);
}

/* The bits that were told, with a reference that is given back if the append fails. */
static uint64_t
take_bits(const struct state *state, struct append *a, uint32_t i, uint32_t at)
{
	uint64_t bits = state->streams[i].bits[at];

	if (bits != 0 && class_has_blob(schema_classes(state->schema, i)[at]))
		a->scratch->fresh[a->scratch->fresh_len++] = blob_ref(blob_of_bits(bits));
	return bits;
}

static void
change_dist(struct append *a, struct row_change *change, uint64_t before, uint64_t after)
{
	struct row_dist *dists = &a->scratch->dists[a->scratch->dist_len];

	a->scratch->dist_len += 2;
	for (int k = 0; k < 2; k++) {
		const struct held_dist *held = blob_dist(blob_of_bits(k == 0 ? before : after));

		dists[k] = (struct row_dist){ held->dist.rollovers, held->dist.sum, held->dist.len,
			(uint64_t *)(uintptr_t)held->counts };
	}
	change->before = (uintptr_t)&dists[0];
	change->after = (uintptr_t)&dists[1];
}

static void
change_value(const struct state *state, struct append *a, struct work *work, uint32_t at)
{
	const struct stream *s = state->set->streams[work->stream];
	uint8_t class = schema_classes(state->schema, work->stream)[at];
	bool active = bit_get(s->active, at);
	struct row_change *change = append_add_change(a, work, at, active ? ROW_SET : ROW_WAKE);

	work->woken_count += !active;
	if (class == ROW_DIST) {
		change_dist(a, change, s->bits[at], state->streams[work->stream].bits[at]);
		return;
	}
	if (class == ROW_REF)
		append_note_ref(work, s->bits[at]);
	change->before = s->bits[at];
	change->after = take_bits(state, a, work->stream, at);
}

/* The row in which all series get their values; those that have one are active after it. */
static void
add_values(const struct state *state, struct append *a, struct work *work)
{
	const struct told_stream *told = &state->streams[work->stream];
	const struct stream *s = state->set->streams[work->stream];

	for (uint32_t at = 0; at < s->len; at++) {
		if (schema_meta(state->schema, work->stream, at) == NULL)
			continue;
		if (is_reborn(state, work->stream, at)) {
			append_add_change(a, work, at, ROW_BORN)->after =
			    take_bits(state, a, work->stream, at);
			work->reborn_count++;
		} else if (!same_value(state, work->stream, at)) {
			change_value(state, a, work, at);
		} else if (!bit_get(s->active, at) && is_active(told, at)) {
			append_add_change(a, work, at, ROW_FLIP);
			work->woken_count++;
		}
	}
	for (uint32_t at = s->len; at < told->len; at++) {
		a->scratch->born[a->scratch->born_len++] = take_bits(state, a, work->stream, at);
		work->born_count++;
	}
}

/* The row in which those that are not active end. */
static void
add_markers(const struct state *state, struct append *a, struct work *work)
{
	const struct told_stream *told = &state->streams[work->stream];
	const struct stream *s = state->set->streams[work->stream];

	for (uint32_t at = 0; at < told->len; at++) {
		bool had =
		    at < s->len && bit_get(s->active, at) && !is_reborn(state, work->stream, at);
		bool touched =
		    at >= s->len || (schema_meta(state->schema, work->stream, at) != NULL &&
		                        (is_reborn(state, work->stream, at) ||
		                            !same_value(state, work->stream, at)));

		if (!is_active(told, at) && (had || touched)) {
			append_add_change(a, work, at, ROW_FLIP);
			work->stopped_count++;
		}
	}
}

/* Both rows, found but not landed. How many there are; -1: it can't be told so, or no memory. */
static int
make_rows(const struct state *state, struct append *a, uint32_t i, struct err *err)
{
	const struct told_stream *told = &state->streams[i];
	struct before before = append_state_before(a, i), middle = before;
	struct scratch *s = a->scratch;
	struct work *work;
	bool changes;

	work = append_begin_work(a, i, &before, told->ts_ns);
	add_markers(state, a, work);
	if (work->change_count == 0) {
		add_values(state, a, work);
		return append_end_work(a, work, &before, err) == 0 ? 1 : -1;
	}
	/* The markers come last, and later. */
	s->work_len = s->change_len = 0;
	work = append_begin_work(a, i, &before, told->ts_ns - NS_PER_MS);
	add_values(state, a, work);
	changes = work->change_count > 0 || work->born_count > 0;
	if (!changes)
		s->work_len = 0;
	else if (work->row.ts_ns <= before.ts_ns || append_end_work(a, work, &middle, err) != 0)
		return -1;
	work = append_begin_work(a, i, &middle, told->ts_ns);
	add_markers(state, a, work);
	return append_end_work(a, work, &middle, err) == 0 ? 1 + changes : -1;
}

static int
catch_up(const struct state *state, uint32_t i, struct err *err)
{
	const struct told_stream *told = &state->streams[i];
	const struct stream *s = state->set->streams[i];
	uint32_t missing = told->next_row - s->next_row;

	/* Once to see how many they are, and once to land behind the fillers. */
	for (int round = 0; round < 2; round++) {
		struct append a = begin_append(state);
		int rows;

		a.scratch =
		    scratch_take(state->store, state->schema->len, state->stream_count, err);
		rows = a.scratch == NULL ? -1 : make_rows(state, &a, i, err);
		if (rows < 0 || (uint32_t)rows > missing || round == 0)
			append_fini(&a, false);
		if (rows < 0 || (uint32_t)rows > missing)
			return -1;
		if (round == 0 && add_fillers(state, i, missing - (uint32_t)rows, err) != 0)
			return -1;
		if (round == 1 && end_append(&a, err) != 0)
			return -1;
	}
	for (uint32_t at = 0; at < told->len; at++) {
		if (schema_classes(state->schema, i)[at] == ROW_DIST &&
		    schema_meta(state->schema, i, at) != NULL)
			blob_dist(blob_of_bits(s->bits[at]))->generation =
			    blob_dist(blob_of_bits(told->bits[at]))->generation;
	}
	return 0;
}

static void
begin_anew(struct state *state, uint32_t i)
{
	lock_take(&state->set->lock);
	stream_clear(state->set->streams[i], schema_classes(state->schema, i));
	load(state, i);
	lock_drop(&state->set->lock);
}

static int
apply(struct store_restore *r, struct state *state, struct err *err)
{
	for (uint32_t i = 0; i < state->stream_count; i++) {
		struct told_stream *told = &state->streams[i];

		told->mode = mode_of(state, i);
		if (i < state->set->stream_count &&
		    told->next_row > state->set->streams[i]->next_row)
			r->stats.missing_rows += told->next_row - state->set->streams[i]->next_row;
	}
	if (take_over(state, err) != 0)
		return -1;
	for (uint32_t i = 0; i < state->stream_count; i++) {
		if (state->streams[i].mode == CATCH_UP && catch_up(state, i, err) != 0)
			begin_anew(state, i);
	}
	return 0;
}

/* Sets. */

/* The set of that birth, with a reference. NULL with ERR_NOMEM, ERR_LIMIT. */
static struct series_set *
open_set(struct store *store, struct str host, struct str app, int64_t birth_ns, struct err *err)
{
	struct series_set *set = store_find(store, host, app);

	if (set != NULL && set->birth_ns == birth_ns)
		return set;
	if (set != NULL) {
		store_forget(store, set);
		series_set_unref(set);
	}
	set = store_set(store, host, app, err);
	if (set == NULL)
		return NULL;
	lock_take(&store->lock);
	set->birth_ns = birth_ns;
	if (store->last_birth_ns < birth_ns)
		store->last_birth_ns = birth_ns;
	lock_drop(&store->lock);
	return set;
}

/* The one that the number is for from here on; NULL: no memory. */
static struct restored_set *
put_known(struct store_restore *r, uint64_t number)
{
	struct restored_set *known = map_get(&r->sets, restore_key(&number));

	if (known != NULL) {
		series_set_unref(known->set);
		*known = (struct restored_set){ .number = number };
		return known;
	}
	known = calloc(1, sizeof(*known));
	if (known == NULL)
		return NULL;
	known->number = number;
	if (map_put(&r->sets, restore_key(&known->number), known) != 0) {
		free(known);
		return NULL;
	}
	return known;
}

static int
read_state(struct store_restore *r, struct redo_reader *in, struct state *state,
    struct restored_set *known, struct err *err)
{
	bool lacking;

	state->schema = restore_schema(r, in, &lacking);
	if (lacking) {
		known->is_broken = true;
		return 0;
	}
	if (restore_moves(in, state->schema, &state->moves, err) != 0 ||
	    read_streams(state, in, err) != 0)
		return -1;
	if (in->bad || is_known(state))
		return 0;
	known->is_ahead = is_ahead(state);
	/* A schema with fewer streams, which none has that goes on, is for a set that is not. */
	if (known->is_ahead)
		return 0;
	if (state->stream_count < state->set->stream_count) {
		known->is_broken = true;
		return 0;
	}
	return state->schema == NULL ? 0 : apply(r, state, err);
}

int
restore_state(struct store_restore *r, struct redo_reader *in, struct err *err)
{
	uint64_t number = redo_number(in);
	struct str host = redo_text(in), app = redo_text(in);
	int64_t birth_ns = (int64_t)redo_word(in);
	struct state state = { .store = r->store };
	struct restored_set *known;

	if (in->bad)
		return 0;
	known = put_known(r, number);
	if (known == NULL) {
		err_nomem(err);
		return -1;
	}
	known->is_others = !restore_is_mine(r, host, app);
	if (known->is_others)
		return 0;
	known->set = open_set(r->store, host, app, birth_ns, err);
	known->is_broken = known->set == NULL;
	if (known->is_broken)
		return 0;
	state.set = known->set;
	/* What there is no room for is told again in the next stretch. */
	if (read_state(r, in, &state, known, err) != 0)
		known->is_broken = true;
	state_fini(&state);
	return 0;
}
