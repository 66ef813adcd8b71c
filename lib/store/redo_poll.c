/*
 * Restoring polls: an append whose changes are read, not found.
 */
#include <assert.h>
#include <stdlib.h>

#include "store/restore_priv.h"
#include "store/store_priv.h"

/* A distribution's generation, which rows know nothing of. */
struct generation {
	struct series_at at;
	uint64_t value;
};

struct poll {
	struct append a;
	struct redo_reader *in;
	struct arena arena; /* counts of distributions, generations */
	struct generation *generations;
	size_t generation_len;
	/* The row being read, and the one of the same stream before it, if there is one. */
	struct before before;
	const struct work *other;
	uint32_t reborn_count, wanted_reborn_count; /* in all rows; in the schema */
	uint64_t len;                               /* positions of streams looked at */
	int64_t last_ns;                            /* time of the last row read */
	struct err *err;
	int rc;
};

static void
bad(struct poll *p)
{
	p->in->bad = true;
}

/* A reference that is given back if the poll fails. */
static void
keep(struct poll *p, uint64_t bits)
{
	struct scratch *s = p->a.scratch;

	if (bits == 0)
		return;
	assert(s->fresh_len < s->cap);
	s->fresh[s->fresh_len++] = blob_of_bits(bits);
}

/* True if the row before it, of the same stream, has a change of that position; *from moves on. */
static bool
other_has(const struct poll *p, uint32_t *from, uint32_t at)
{
	const struct row_change *changes = p->a.scratch->changes;

	if (p->other == NULL)
		return false;
	for (; *from < p->other->change_count; ++*from) {
		uint32_t other_at = changes[p->other->change + *from].at;

		if (other_at >= at)
			return other_at == at;
	}
	return false;
}

/* Changes. Those of a row are first made, then filled from what is beside the row. */

static void
read_born(struct poll *p, struct work *work, struct row_change *change)
{
	const struct schema *old = p->a.set->schema;

	if (p->a.schema == old || schema_meta(old, work->stream, change->at) != NULL) {
		bad(p);
		return;
	}
	work->reborn_count++;
	append_note_birth(&p->a, work, change->at);
	p->rc = restore_values(p->a.set->store, p->in, p->a.schema, work->stream, change->at,
	    &change->after, 1, p->err);
	if (class_has_blob(append_classes(&p->a, work->stream)[change->at]))
		keep(p, change->after);
}

static void
read_dist(struct poll *p, struct work *work, struct row_change *change, const struct row_undo *undo)
{
	const struct stream *s = p->a.set->streams[work->stream];
	const struct held_dist *held = blob_dist(blob_of_bits(s->bits[change->at]));
	struct row_dist *dists = &p->a.scratch->dists[p->a.scratch->dist_len];
	size_t len = held->dist.len;
	uint64_t *counts = arena_array(&p->arena, len, sizeof(*counts));

	if (counts == NULL) {
		err_nomem(p->err);
		p->rc = -1;
		return;
	}
	p->a.scratch->dist_len += 2;
	dists[0] = (struct row_dist){ held->dist.rollovers, held->dist.sum, len,
		(uint64_t *)(uintptr_t)held->counts };
	dists[1] = (struct row_dist){ held->dist.rollovers, held->dist.sum, len, counts };
	if (!row_dist_before(undo, &dists[0], &dists[1], NULL)) {
		bad(p);
		return;
	}
	change->before = (uintptr_t)&dists[0];
	change->after = (uintptr_t)&dists[1];
	p->generations[p->generation_len++] = (struct generation){ { work->stream, change->at },
		held->generation + (uint64_t)redo_signed(p->in) };
}

/* Another value than before. */
static void
read_value(
    struct poll *p, struct work *work, struct row_change *change, const struct row_undo *undo)
{
	const struct stream *s = p->a.set->streams[work->stream];
	uint8_t class = append_classes(&p->a, work->stream)[change->at];

	if (bit_get(s->active, change->at) != (change->how == ROW_SET)) {
		bad(p);
		return;
	}
	work->woken_count += change->how == ROW_WAKE;
	if (class == ROW_DIST) {
		read_dist(p, work, change, undo);
		return;
	}
	change->before = s->bits[change->at];
	if (class != ROW_REF) {
		if (undo->form == ROW_BUCKETS)
			bad(p);
		change->after = row_before(undo, (enum row_class) class, change->before);
		return;
	}
	append_note_ref(work, change->before);
	p->rc = restore_blob(p->a.set->store, p->in,
	    &schema_meta(p->a.schema, work->stream, change->at)->desc, &change->after, p->err);
	keep(p, change->after);
}

static void
read_change(struct poll *p, struct work *work, const struct row_undo *undo)
{
	const struct series_set *set = p->a.set;
	struct row_change *change =
	    append_add_change(&p->a, work, undo->at, (enum row_how)undo->how);

	/* One that was born in the row before is not there yet. */
	if (work->stream >= set->stream_count || undo->at >= set->streams[work->stream]->len ||
	    schema_meta(p->a.schema, work->stream, undo->at) == NULL) {
		bad(p);
	} else if (undo->how == ROW_BORN) {
		read_born(p, work, change);
	} else if (p->a.schema != set->schema &&
	           schema_meta(set->schema, work->stream, undo->at) == NULL) {
		bad(p);
	} else if (undo->how == ROW_FLIP) {
		if (bit_get(set->streams[work->stream]->active, undo->at))
			work->stopped_count++;
		else
			work->woken_count++;
	} else {
		read_value(p, work, change, undo);
	}
}

/* Opens the row where the reader is, and moves on. */
static bool
open_row(struct poll *p, uint32_t len, struct row *row)
{
	struct redo_reader *in = p->in;

	if (in->bad || row_open(row, in->p, (size_t)(in->end - in->p), len) != 0 ||
	    row->len_before != len) {
		in->bad = true;
		return false;
	}
	in->p += row->bytes;
	return true;
}

static void
read_changes(struct poll *p, struct work *work)
{
	struct row_undo undo;
	uint32_t from = 0;
	struct row row;

	if (!open_row(p, work->len_before, &row))
		return;
	while (p->rc == 0 && !p->in->bad && row_next(&row, &undo)) {
		/* What the row before did to it can't be told from what is. */
		if (other_has(p, &from, undo.at))
			bad(p);
		else
			read_change(p, work, &undo);
	}
}

static void
read_births(struct poll *p, struct work *work)
{
	const struct schema *schema = p->a.schema;
	uint32_t most = schema->streams[work->stream].len - work->len_before;
	uint32_t n = (uint32_t)redo_number_to(p->in, most);
	const uint8_t *classes = append_classes(&p->a, work->stream) + work->len_before;
	uint64_t *bits = &p->a.scratch->born[work->born];

	if (p->in->bad)
		return;
	memset(bits, 0, n * sizeof(*bits));
	p->rc = restore_values(
	    p->a.set->store, p->in, schema, work->stream, work->len_before, bits, n, p->err);
	for (uint32_t i = 0; i < n; i++) {
		if (class_has_blob(classes[i]))
			keep(p, bits[i]);
		append_note_birth(&p->a, work, work->len_before + i);
	}
	work->born_count = n;
	p->a.scratch->born_len += n;
}

/* Rows. */

/* The stream of the next row; the state it finds there. */
static bool
enter_stream(struct poll *p, uint32_t stream)
{
	const struct scratch *s = p->a.scratch;
	const struct work *last = s->work_len == 0 ? NULL : &s->works[s->work_len - 1];

	if (last != NULL && last->stream == stream && p->other == NULL) {
		p->other = last;
		return true;
	}
	if (last != NULL && last->stream >= stream)
		return false; /* they come in order, two of a stream at most */
	p->other = NULL;
	p->before = append_state_before(&p->a, stream);
	return p->before.len <= p->a.schema->streams[stream].len;
}

static uint32_t
next_row_of(const struct series_set *set, uint32_t stream)
{
	/* One that is made but not used yet has none. */
	return stream < set->stream_cap ? set->streams[stream]->next_row : 0;
}

static void
read_row(struct poll *p)
{
	uint64_t stream = redo_number(p->in);
	uint64_t number = redo_number(p->in);
	uint8_t flags = redo_byte(p->in);
	int64_t ts_ns = redo_time(p->in);
	struct work *work;

	if (p->in->bad || stream >= p->a.schema->stream_count ||
	    !enter_stream(p, (uint32_t)stream) ||
	    number != next_row_of(p->a.set, (uint32_t)stream) + (p->other != NULL) ||
	    (p->before.ts_ns == TS_NONE) != ((flags & REDO_FIRST) != 0)) {
		bad(p);
		return;
	}
	if (p->a.scratch->work_len == 0)
		p->last_ns = (flags & REDO_FIRST) != 0 ? 0 : p->before.ts_ns;
	ts_ns = (int64_t)((uint64_t)p->last_ns + (uint64_t)ts_ns);
	if (ts_ns < p->before.ts_ns || ts_ns > TS_LATEST || ts_ns == TS_NONE) {
		bad(p);
		return;
	}
	p->last_ns = ts_ns;
	work = append_begin_work(&p->a, (uint32_t)stream, &p->before, ts_ns);
	if ((flags & REDO_CHANGES) != 0)
		read_changes(p, work);
	if (p->rc == 0 && !p->in->bad && (flags & REDO_BIRTHS) != 0)
		read_births(p, work);
	if (p->rc != 0 || p->in->bad)
		return;
	p->reborn_count += work->reborn_count;
	p->len += work->born_count;
	p->rc = append_end_work(&p->a, work, &p->before, p->err);
}

static void
read_rows(struct poll *p, uint64_t count)
{
	const struct series_set *set = p->a.set;

	for (uint32_t i = 0; i < set->stream_count; i++)
		p->len += set->streams[i]->len;
	for (uint64_t i = 0; p->rc == 0 && !p->in->bad && i < count; i++)
		read_row(p);
	if (p->rc != 0 || p->in->bad)
		return;
	/* All series that the schema says there are have been born. */
	if (p->len != p->a.schema->len || p->reborn_count != p->wanted_reborn_count ||
	    p->in->p != p->in->end)
		bad(p);
}

/* Polls. */

/* False if streams can't become what the schema says. *frees: positions go, and none come. */
static bool
check_schema(struct poll *p, bool *frees)
{
	const struct series_set *set = p->a.set;
	const struct schema *schema = p->a.schema;

	*frees = false;
	if (schema->stream_count < set->stream_count)
		return false;
	for (uint32_t i = 0; i < set->stream_count; i++) {
		const struct stream *s = set->streams[i];
		uint32_t reborn;

		if (!restore_can_change(set, schema, i, &reborn))
			return false;
		p->wanted_reborn_count += reborn;
		for (uint32_t at = 0; at < s->len && !*frees; at++)
			*frees =
			    schema_meta(set->schema, i, at) != NULL &&
			    (schema->streams[i].len == 0 || schema_meta(schema, i, at) == NULL);
	}
	return true;
}

/* Positions went and nothing else happened. */
static void
free_positions(struct poll *p)
{
	struct series_set *set = p->a.set;
	struct schema *old;
	uint64_t len = 0;

	for (uint32_t i = 0; i < set->stream_count; i++)
		len += p->a.schema->streams[i].len == 0 ? 0 : set->streams[i]->len;
	if (len != p->a.schema->len || p->a.schema->stream_count != set->stream_count ||
	    p->wanted_reborn_count > 0 || p->a.moves.len > 0) {
		bad(p);
		return;
	}
	lock_take(&set->lock);
	set_free_positions(set, p->a.schema);
	old = set_swap_schema(set, schema_ref(p->a.schema));
	lock_drop(&set->lock);
	schema_unref(old);
}

static void
set_generations(struct poll *p)
{
	for (size_t i = 0; i < p->generation_len; i++) {
		struct series_at at = p->generations[i].at;

		/* The appender alone looks at it. */
		blob_dist(blob_of_bits(p->a.set->streams[at.stream]->bits[at.at]))->generation =
		    p->generations[i].value;
	}
}

static void
land(struct poll *p, uint64_t row_count, struct restore_stats *stats)
{
	size_t positions = p->a.schema->len + p->a.moves.len;
	const struct scratch *s;

	p->a.scratch = scratch_take(p->a.set->store, positions, p->a.schema->stream_count, p->err);
	p->generations = arena_array(&p->arena, positions, sizeof(*p->generations));
	if (p->a.scratch == NULL || p->generations == NULL) {
		err_nomem(p->err);
		p->rc = -1;
		return;
	}
	read_rows(p, row_count);
	if (p->rc != 0 || p->in->bad)
		return;
	append_end_works(&p->a);
	p->rc = append_land(&p->a, p->err);
	if (p->rc != 0)
		return;
	set_generations(p);
	s = p->a.scratch;
	stats->rows += s->work_len;
	stats->values += s->change_len + s->born_len;
}

/*
 * How the first row, where the reader is, goes with the rows there are: -1 it is there already, 0
 * it is the next, 1 some are missing.
 */
static int
compare_row(const struct series_set *set, struct redo_reader in)
{
	uint64_t stream = redo_number(&in), number = redo_number(&in);
	uint64_t next = stream < set->stream_cap ? next_row_of(set, (uint32_t)stream) : 0;

	return number < next ? -1 : number > next;
}

/* The rest of a poll, of a set that is known. */
static void
read_poll(struct store_restore *r, struct poll *p, struct restored_set *known)
{
	struct series_set *set = p->a.set;
	bool swaps = redo_byte(p->in) != 0, frees = false, lacking = false;
	uint64_t row_count;
	int order;

	p->a.schema = set->schema;
	if (swaps) {
		p->a.schema = restore_schema(r, p->in, &lacking);
		if (lacking) {
			known->is_broken = true;
			r->stats.lost_rows++;
			return;
		}
		p->rc = restore_moves(p->in, p->a.schema, &p->a.moves, p->err);
	}
	row_count = redo_number_to(p->in, (uint64_t)(p->in->end - p->in->p));
	if (p->rc != 0 || p->in->bad)
		return;
	order = row_count == 0 ? -known->is_ahead : compare_row(set, *p->in);
	if (order < 0) {
		r->stats.known_rows += row_count;
		return;
	}
	known->is_ahead = false;
	if (order > 0 || p->a.schema == NULL || (swaps && !check_schema(p, &frees))) {
		known->is_broken = true;
		r->stats.lost_rows += row_count;
		return;
	}
	if (!frees)
		land(p, row_count, &r->stats);
	else if (row_count == 0)
		free_positions(p);
	else
		bad(p);
	if (p->rc != 0) {
		known->is_broken = true;
		r->stats.lost_rows += row_count;
	}
}

void
restore_poll(struct store_restore *r, struct redo_reader *in)
{
	struct err err;
	struct poll p = { .in = in, .err = &err };
	uint64_t number = redo_number(in);
	struct restored_set *known = map_get(&r->sets, restore_key(&number));

	if (in->bad || known == NULL) {
		in->bad = true;
		return;
	}
	if (known->is_others)
		return;
	if (known->is_broken) {
		r->stats.lost_rows++;
		return;
	}
	p.a = (struct append){ .set = known->set, .is_restored = true };
	arena_init(&p.arena, 0);
	read_poll(r, &p, known);
	append_fini(&p.a, p.rc == 0 && !in->bad);
	arena_fini(&p.arena);
}
