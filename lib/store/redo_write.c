#include <assert.h>

#include "store/iter.h"
#include "store/redo_priv.h"
#include "store/store_priv.h"

/* Of a number, at most. */
#define NUMBER_BYTES 10

void
store_set_tap(struct store *store, struct store_tap *tap)
{
	store->tap = tap;
}

static void
put_number(struct buf *out, uint64_t v)
{
	char *at;

	if ((out->failed || out->cap - out->len < NUMBER_BYTES) && !buf_reserve(out, NUMBER_BYTES))
		return;
	at = out->p + out->len;
	for (; v >= 128; v >>= 7)
		*at++ = (char)((v & 127) | 128);
	*at++ = (char)v;
	out->len = (size_t)(at - out->p);
}

static void
put_signed(struct buf *out, int64_t v)
{
	put_number(out, (uint64_t)v << 1 ^ (0 - ((uint64_t)v >> 63)));
}

static void
put_word(struct buf *out, uint64_t v)
{
	buf_add(out, &v, sizeof(v));
}

static void
put_text(struct buf *out, struct str s)
{
	put_number(out, s.len);
	buf_str(out, s);
}

static void
put_time(struct buf *out, int64_t ns)
{
	unsigned unit = 3;
	uint64_t v;

	while (unit > 0 && (ns == 0 || ns % redo_unit_ns[unit] != 0))
		unit--;
	v = (uint64_t)(ns / redo_unit_ns[unit]);
	v = v << 1 ^ (0 - (v >> 63));
	if (v >> 62 == 0) {
		put_number(out, v << 2 | unit);
	} else {
		put_number(out, REDO_LONG_TIME);
		put_word(out, (uint64_t)ns);
	}
}

/* A record whose length is filled in when it is whole. */
static size_t
begin_record(struct buf *out, enum redo_kind kind)
{
	buf_putc(out, (char)kind);
	return out->len;
}

static void
end_record(struct buf *out, size_t start)
{
	size_t len = out->len - start, n = 0;
	char bytes[NUMBER_BYTES];

	if (out->failed)
		return;
	for (uint64_t v = len; n == 0 || v > 0; v >>= 7)
		bytes[n++] = (char)((v & 127) | (v >= 128 ? 128 : 0));
	if (!buf_reserve(out, n))
		return;
	memmove(out->p + start + n, out->p + start, len);
	memcpy(out->p + start, bytes, n);
	out->len += n;
}

static void
put_list(struct buf *out, const struct list *list, enum kind sub_kind)
{
	put_number(out, list->len);
	for (size_t i = 0; i < list->len; i++) {
		if (sub_kind == KIND_STRING)
			put_text(out, list->values[i].s);
		else if (sub_kind == KIND_BOOL)
			put_word(out, list->values[i].b);
		else
			put_word(out, list->values[i].u);
	}
}

/* A text or a list; the bits of a position. */
static void
put_ref(struct buf *out, const struct metric_desc *desc, uint64_t bits)
{
	const struct blob *blob = blob_of_bits(bits);

	if (blob == NULL)
		put_number(out, 0);
	else if (desc->kind == KIND_STRING)
		put_text(out, blob->s);
	else
		put_list(out, &blob->list, desc->sub_kind);
}

static void
put_dist(struct buf *out, const struct held_dist *held)
{
	uint64_t sum;

	memcpy(&sum, &held->dist.sum, sizeof(sum));
	put_number(out, held->dist.rollovers);
	put_number(out, held->generation);
	put_word(out, sum);
	put_number(out, held->dist.len);
	for (size_t i = 0; i < held->dist.len; i++)
		put_number(out, held->counts[i]);
}

static void
put_blob(struct buf *out, const struct metric_desc *desc, uint64_t bits)
{
	if (desc->kind == KIND_DIST)
		put_dist(out, blob_dist(blob_of_bits(bits)));
	else
		put_ref(out, desc, bits);
}

static void
put_block(struct buf *out, struct meta *const *metas, const uint8_t *classes, const uint64_t *bits,
    uint32_t n)
{
	struct row_change changes[REDO_BLOCK];
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (!class_has_blob(classes[i]) && bits[i] != 0)
			changes[count++] = (struct row_change){ i, ROW_SET, bits[i], 0 };
	}
	if (row_encode(out, row_no_time, n, n, classes, changes, count) != 0)
		return;
	for (uint32_t i = 0; i < n; i++) {
		if (class_has_blob(classes[i]) && metas[i] != NULL)
			put_blob(out, &metas[i]->desc, bits[i]);
	}
}

/* Values of positions from first on; bits: of these. */
static void
put_values(struct buf *out, const struct schema *schema, uint32_t stream, uint32_t first,
    const uint64_t *bits, uint32_t n)
{
	uint32_t at = schema->streams[stream].first + first;

	for (uint32_t i = 0; i < n; i += REDO_BLOCK) {
		uint32_t len = n - i < REDO_BLOCK ? n - i : REDO_BLOCK;

		put_block(out, schema->metas + at + i, schema->classes + at + i, bits + i, len);
	}
}

/* What is equal for many is told once a stretch. */

static void
put_meta(struct buf *out, const struct meta *meta)
{
	size_t start = begin_record(out, REDO_META);
	const struct metric_desc *desc = &meta->desc;

	put_number(out, meta->number);
	buf_putc(out, (char)desc->kind);
	buf_putc(out, (char)desc->sub_kind);
	buf_putc(out, desc->not_cumulative);
	put_text(out, desc->path);
	put_text(out, desc->description);
	put_text(out, desc->unit);
	put_number(out, desc->tag_count);
	for (size_t i = 0; i < desc->tag_count; i++) {
		put_text(out, desc->tags[i].key);
		put_text(out, desc->tags[i].value);
	}
	put_number(out, desc->limit_count);
	buf_add(out, desc->limits, desc->limit_count * sizeof(*desc->limits));
	end_record(out, start);
}

/* The stretch is under way: see store_tap.open. The marks of what was told are its. */
static void
put_schema(struct buf *out, const struct schema *schema, uint64_t stretch)
{
	size_t start;

	if (schema == NULL || schema->told == stretch)
		return;
	for (uint32_t i = 0; i < schema->len; i++) {
		struct meta *meta = schema->metas[i];

		if (meta != NULL && meta->told != stretch) {
			put_meta(out, meta);
			meta->told = stretch;
		}
	}
	start = begin_record(out, REDO_SCHEMA);
	put_number(out, schema->serial);
	put_number(out, schema->stream_count);
	for (uint32_t i = 0; i < schema->stream_count; i++) {
		put_signed(out, schema->streams[i].group_id);
		put_number(out, schema->streams[i].len);
	}
	for (uint32_t i = 0; i < schema->len; i++)
		put_number(out, schema->metas[i] == NULL
		                    ? 0
		                    : schema->metas[i]->number << 1 | schema->moved[i]);
	end_record(out, start);
	((struct schema *)(uintptr_t)schema)->told = stretch;
}

static void
put_moves(struct buf *out, const struct move *moves, size_t n)
{
	put_number(out, n);
	for (size_t i = 0; i < n; i++) {
		put_number(out, moves[i].from.stream);
		put_number(out, moves[i].from.at);
		put_number(out, moves[i].to.stream);
		put_number(out, moves[i].to.at);
	}
}

static void
put_stream_times(struct buf *out, const struct stream *s)
{
	put_number(out, s->next_row);
	buf_putc(out, s->ts_ns != TS_NONE);
	if (s->ts_ns != TS_NONE) {
		put_word(out, (uint64_t)s->ts_ns);
		put_word(out, (uint64_t)s->begin_ns);
	}
}

static void
put_state(struct buf *out, const struct series_set *set, uint64_t stretch)
{
	size_t start;

	put_schema(out, set->schema, stretch);
	start = begin_record(out, REDO_STATE);
	put_number(out, set->number);
	put_text(out, set->host);
	put_text(out, set->app);
	put_word(out, (uint64_t)set->birth_ns);
	put_number(out, set->schema == NULL ? 0 : set->schema->serial);
	put_moves(out, set->moves, set->move_len);
	for (uint32_t i = 0; i < set->stream_count; i++)
		put_stream_times(out, set->streams[i]);
	for (uint32_t i = 0; i < set->stream_count; i++) {
		const struct stream *s = set->streams[i];

		buf_add(out, s->active, (s->len + 7) / 8);
		put_values(out, set->schema, i, 0, s->bits, s->len);
	}
	end_record(out, start);
}

/* Rows. */

/* The generation that the batch has for a distribution; *e: entry to begin with, moves on. */
static uint64_t
generation_of(const struct append *a, uint32_t *e, uint32_t at)
{
	while (a->plan->entries[*e].at != at)
		++*e;
	return a->batch->value[a->plan->entries[*e].metric].dist->generation;
}

/* What the row can't tell of its changes. */
static void
put_beside(struct buf *out, const struct append *a, const struct work *work)
{
	const struct stream *s = a->set->streams[work->stream];
	const uint8_t *classes = append_classes(a, work->stream);
	uint32_t e = a->plan == NULL ? 0 : a->plan->streams[work->stream].first;

	for (uint32_t i = work->change; i < work->change + work->change_count; i++) {
		const struct row_change *change = &a->scratch->changes[i];
		const struct meta *meta = schema_meta(a->schema, work->stream, change->at);
		uint8_t class = classes[change->at];

		if (change->how == ROW_BORN)
			put_values(out, a->schema, work->stream, change->at, &change->after, 1);
		else if (change->how == ROW_FLIP)
			continue;
		else if (class == ROW_REF)
			put_ref(out, &meta->desc, change->after);
		else if (class == ROW_DIST)
			put_signed(out,
			    (int64_t)(generation_of(a, &e, change->at) -
			              blob_dist(blob_of_bits(s->bits[change->at]))->generation));
	}
}

/* first: of its stream. The time is told as what it is later than from_ns. */
static void
put_row(struct buf *out, const struct append *a, const struct work *work, uint32_t number,
    bool first, int64_t from_ns)
{
	put_number(out, work->stream);
	put_number(out, number);
	buf_putc(
	    out, (char)((first ? REDO_FIRST : 0) | (work->change_count > 0 ? REDO_CHANGES : 0) |
	                (work->born_count > 0 ? REDO_BIRTHS : 0)));
	put_time(out, (int64_t)((uint64_t)work->row.ts_ns - (uint64_t)from_ns));
	if (work->change_count > 0) {
		assert(work->redo_bytes > 0);
		buf_add(out, a->scratch->redos.p + work->redo_off, work->redo_bytes);
		put_beside(out, a, work);
	}
	if (work->born_count > 0) {
		put_number(out, work->born_count);
		put_values(out, a->schema, work->stream, work->len_before,
		    &a->scratch->born[work->born], work->born_count);
	}
}

static void
put_rows(struct buf *out, const struct append *a)
{
	const struct work *works = a->scratch->works;
	uint32_t number = 0;

	put_number(out, a->scratch->work_len);
	for (size_t i = 0; i < a->scratch->work_len; i++) {
		const struct stream *s = a->set->streams[works[i].stream];
		bool other = i == 0 || works[i - 1].stream != works[i].stream;
		bool first = other && s->ts_ns == TS_NONE;
		/* Groups of one program mostly have the same time, or nearly. */
		int64_t from_ns = i > 0 ? works[i - 1].row.ts_ns : first ? 0 : s->ts_ns;

		number = other ? s->next_row : number + 1;
		put_row(out, a, &works[i], number, first, from_ns);
	}
}

/* Telling. */

static struct store_told
count_of(const struct append *a)
{
	struct store_told told = { .rows = a->scratch->work_len };

	for (size_t i = 0; i < a->scratch->work_len; i++)
		told.values += a->scratch->works[i].change_count + a->scratch->works[i].born_count;
	return told;
}

/* What is to be known of the set before all else. */
static void
tell_state(struct series_set *set, struct buf *out, uint64_t stretch, struct store_told *told)
{
	size_t begin = out->len;

	if (set->told != stretch)
		put_state(out, set, stretch);
	set->told = stretch;
	told->state_bytes = out->len - begin;
}

/* Where to tell, with what is to be known of the set before; NULL: it can't be told now. */
static struct buf *
open_tap(struct series_set *set, uint64_t *stretch, struct store_told *told)
{
	struct store_tap *tap = set->store->tap;
	struct buf *out = tap->open(tap, stretch);

	if (out == NULL) {
		redo_not_told(set);
		return NULL;
	}
	tell_state(set, out, *stretch, told);
	return out;
}

static void
close_tap(struct series_set *set, struct buf *out, struct store_told told)
{
	struct store_tap *tap = set->store->tap;
	bool done = !out->failed;

	if (!done)
		redo_not_told(set);
	tap->close(tap, done, told);
}

void
redo_not_told(struct series_set *set)
{
	set->told = 0;
}

void
redo_tell(struct append *a)
{
	bool swaps = a->schema != a->set->schema || a->moves.len > 0;
	struct series_set *set = a->set;
	struct store_told told;
	uint64_t stretch;
	struct buf *out;
	size_t start;

	if (set->store->tap == NULL || set->forgotten || (a->scratch->work_len == 0 && !swaps))
		return;
	told = count_of(a);
	out = open_tap(set, &stretch, &told);
	if (out == NULL) {
		set->store->tap->missed(set->store->tap, told);
		return;
	}
	if (swaps)
		put_schema(out, a->schema, stretch);
	start = begin_record(out, REDO_POLL);
	put_number(out, set->number);
	buf_putc(out, swaps);
	if (swaps) {
		put_number(out, a->schema->serial);
		put_moves(out, a->moves.moves, a->moves.len);
	}
	put_rows(out, a);
	end_record(out, start);
	close_tap(set, out, told);
}

/* False: it can't be told now. *told: what that took. REQUIRES the set's lock. */
static bool
tell_again(struct series_set *set, struct store_told *told)
{
	struct store_tap *tap = set->store->tap;
	uint64_t stretch;
	struct buf *out;

	*told = (struct store_told){ 0 };
	if (tap == NULL || set->forgotten)
		return true;
	out = tap->open(tap, &stretch);
	if (out == NULL)
		return false;
	tell_state(set, out, stretch, told);
	close_tap(set, out, *told);
	return true;
}

bool
store_tell_rest(struct store *store, uint64_t bytes_most)
{
	struct series_set *const *sets;
	struct store_told told;
	uint64_t bytes = 0;
	bool done = true;
	struct err err;
	size_t n;

	if (sets_snapshot(store, &sets, &n, &err) != 0)
		return false;
	for (size_t i = 0; i < n && done; i++) {
		lock_take(&sets[i]->lock);
		done = tell_again(sets[i], &told);
		lock_drop(&sets[i]->lock);
		bytes += told.state_bytes;
		done = done && bytes < bytes_most;
	}
	sets_free(sets, n);
	return done;
}

void
redo_tell_schema(struct series_set *set, const struct schema *schema)
{
	struct store_told told = { 0 };
	uint64_t stretch;
	struct buf *out;
	size_t start;

	/* If nothing was told, the next telling has it. */
	if (set->store->tap == NULL || set->forgotten || set->told == 0)
		return;
	out = open_tap(set, &stretch, &told);
	if (out == NULL)
		return;
	put_schema(out, schema, stretch);
	start = begin_record(out, REDO_POLL);
	put_number(out, set->number);
	buf_putc(out, 1);
	put_number(out, schema->serial);
	put_moves(out, NULL, 0);
	put_number(out, 0);
	end_record(out, start);
	close_tap(set, out, told);
}

void
redo_tell_forget(struct series_set *set)
{
	uint64_t stretch;
	struct buf *out;
	size_t start;

	set->forgotten = true;
	if (set->store->tap == NULL)
		return;
	out = set->store->tap->open(set->store->tap, &stretch);
	if (out == NULL)
		return;
	start = begin_record(out, REDO_FORGET);
	put_number(out, set->told == stretch ? set->number : 0);
	put_text(out, set->host);
	put_text(out, set->app);
	put_word(out, (uint64_t)set->birth_ns);
	end_record(out, start);
	close_tap(set, out, (struct store_told){ 0 });
}

void
redo_tell_gone(struct store *store, bool is_schema, uint64_t number, uint64_t told)
{
	struct store_tap *tap = store->tap;
	uint64_t stretch;
	struct buf *out;
	size_t start;

	if (tap == NULL || told == 0)
		return;
	out = tap->open(tap, &stretch);
	if (out == NULL)
		return;
	if (stretch == told) {
		start = begin_record(out, REDO_GONE);
		buf_putc(out, is_schema);
		put_number(out, number);
		end_record(out, start);
	}
	tap->close(tap, !out->failed, (struct store_told){ 0 });
}
