/*
 * Reading records: the parts they are made of, and what is common to many sets.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "store/restore_priv.h"
#include "store/store_priv.h"

/* Parts. */

uint8_t
redo_byte(struct redo_reader *in)
{
	if (in->bad || in->p == in->end) {
		in->bad = true;
		return 0;
	}
	return *in->p++;
}

uint64_t
redo_number(struct redo_reader *in)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = redo_byte(in);

		v |= (uint64_t)(byte & 127) << shift;
		if (byte < 128)
			return in->bad ? 0 : v;
	}
	in->bad = true;
	return 0;
}

uint64_t
redo_number_to(struct redo_reader *in, uint64_t most)
{
	uint64_t v = redo_number(in);

	if (v > most) {
		in->bad = true;
		return 0;
	}
	return v;
}

static int64_t
unfolded(uint64_t v)
{
	return (int64_t)(v >> 1 ^ (0 - (v & 1)));
}

int64_t
redo_signed(struct redo_reader *in)
{
	return unfolded(redo_number(in));
}

struct str
redo_bytes(struct redo_reader *in, uint64_t len)
{
	struct str s = { (const char *)in->p, len };

	if (in->bad || len > (size_t)(in->end - in->p)) {
		in->bad = true;
		return STR_EMPTY;
	}
	in->p += len;
	return s;
}

uint64_t
redo_word(struct redo_reader *in)
{
	struct str s = redo_bytes(in, sizeof(uint64_t));
	uint64_t v = 0;

	if (s.len > 0)
		memcpy(&v, s.p, sizeof(v));
	return v;
}

int64_t
redo_time(struct redo_reader *in)
{
	uint64_t v = redo_number(in);

	if (v == REDO_LONG_TIME)
		return (int64_t)redo_word(in);
	return (int64_t)((uint64_t)unfolded(v >> 2) * (uint64_t)redo_unit_ns[v & 3]);
}

struct str
redo_text(struct redo_reader *in)
{
	struct str s = redo_bytes(in, redo_number(in));

	if (utf8_valid_prefix(s.p, s.len) != s.len)
		in->bad = true;
	return s;
}

/* Values. */

static int
read_list(struct store *store, struct redo_reader *in, enum kind sub_kind, struct blob **blob,
    struct err *err)
{
	/* Each element has a byte at least. */
	uint64_t len = redo_number_to(in, (uint64_t)(in->end - in->p));
	struct value *values;
	int rc = 0;

	if (in->bad || len == 0)
		return 0;
	values = calloc(len, sizeof(*values));
	if (values == NULL) {
		err_nomem(err);
		return -1;
	}
	for (uint64_t i = 0; i < len; i++) {
		if (sub_kind == KIND_STRING)
			values[i].s = redo_text(in);
		else if (sub_kind == KIND_BOOL)
			values[i].b = redo_word(in) != 0;
		else
			values[i].u = redo_word(in);
	}
	if (!in->bad)
		rc = blob_new_list(store, sub_kind, &(struct list){ values, len }, blob, err);
	free(values);
	return rc;
}

static int
read_dist(struct store *store, struct redo_reader *in, const struct metric_desc *desc,
    struct blob **blob, struct err *err)
{
	uint64_t rollovers = redo_number(in), generation = redo_number(in), sum = redo_word(in);
	uint64_t len = redo_number_to(in, (uint64_t)(in->end - in->p));
	struct dist dist = { .len = len, .generation = generation };
	uint64_t *counts;

	if (in->bad || len != desc->limit_count + 1) {
		in->bad = true;
		return 0;
	}
	counts = malloc(len * sizeof(*counts));
	if (counts == NULL) {
		err_nomem(err);
		return -1;
	}
	for (uint64_t i = 0; i < len; i++)
		counts[i] = redo_number(in);
	memcpy(&dist.sum, &sum, sizeof(sum));
	dist.counts = counts;
	*blob = in->bad ? NULL : blob_new_dist(store, len, err);
	if (*blob != NULL)
		blob_set_dist(*blob, &dist, rollovers);
	free(counts);
	return *blob == NULL && !in->bad ? -1 : 0;
}

int
restore_blob(struct store *store, struct redo_reader *in, const struct metric_desc *desc,
    uint64_t *bits, struct err *err)
{
	struct blob *blob = NULL;
	int rc = 0;

	if (desc->kind == KIND_DIST) {
		rc = read_dist(store, in, desc, &blob, err);
	} else if (desc->kind == KIND_LIST) {
		rc = read_list(store, in, desc->sub_kind, &blob, err);
	} else {
		struct str s = redo_text(in);

		if (!in->bad)
			rc = blob_new_string(store, s, &blob, err);
	}
	*bits = (uintptr_t)blob;
	return rc;
}

static void
read_words(struct redo_reader *in, const uint8_t *classes, uint64_t *bits, uint32_t n)
{
	struct row_undo undo;
	struct row row;

	if (in->bad || row_open(&row, in->p, (size_t)(in->end - in->p), n) != 0 ||
	    row.len_before != n) {
		in->bad = true;
		return;
	}
	in->p += row.bytes;
	while (row_next(&row, &undo)) {
		enum row_class class = (enum row_class)classes[undo.at];

		if (class_has_blob(classes[undo.at]) || undo.how != ROW_SET)
			in->bad = true;
		else
			bits[undo.at] = row_before(&undo, class, 0);
	}
}

int
restore_values(struct store *store, struct redo_reader *in, const struct schema *schema,
    uint32_t stream, uint32_t first, uint64_t *bits, uint32_t n, struct err *err)
{
	const uint8_t *classes = schema_classes(schema, stream) + first;

	for (uint32_t i = 0; i < n; i += REDO_BLOCK) {
		uint32_t len = n - i < REDO_BLOCK ? n - i : REDO_BLOCK;

		read_words(in, classes + i, bits + i, len);
		for (uint32_t at = i; at < i + len; at++) {
			const struct meta *meta = schema_meta(schema, stream, first + at);

			if (in->bad)
				return 0;
			if (meta != NULL && class_has_blob(classes[at]) &&
			    restore_blob(store, in, &meta->desc, &bits[at], err) != 0)
				return -1;
		}
	}
	return 0;
}

void
restore_values_free(struct store *store, const struct schema *schema, uint32_t stream,
    uint32_t first, uint64_t *bits, uint32_t n)
{
	const uint8_t *classes = schema_classes(schema, stream) + first;

	for (uint32_t i = 0; i < n; i++) {
		if (class_has_blob(classes[i]))
			blob_unref(store, blob_of_bits(bits[i]));
	}
}

/* What is common to many sets. */

/* Adds what to the map, if its number is new. The caller frees what is not. */
static bool
put_numbered(struct map *map, const uint64_t *number, void *what, struct redo_reader *in)
{
	if (*number == 0 || map_get(map, restore_key(number)) != NULL) {
		in->bad = true;
		return false;
	}
	return map_put(map, restore_key(number), what) == 0;
}

/* What it leads to is in the arena, or in what is read. */
static bool
read_desc(struct redo_reader *in, struct arena *arena, struct metric_desc *desc, struct err *err)
{
	struct tag *tags;
	double *limits;

	desc->kind = (enum kind)redo_byte(in);
	desc->sub_kind = (enum kind)redo_byte(in);
	desc->not_cumulative = redo_byte(in) != 0;
	desc->path = redo_text(in);
	desc->description = redo_text(in);
	desc->unit = redo_text(in);
	desc->tag_count = redo_number_to(in, (uint64_t)(in->end - in->p) / 2);
	tags = arena_array(arena, desc->tag_count, sizeof(*tags));
	for (size_t i = 0; tags != NULL && i < desc->tag_count; i++) {
		tags[i].key = redo_text(in);
		tags[i].value = redo_text(in);
	}
	desc->limit_count = redo_number_to(in, (uint64_t)(in->end - in->p) / sizeof(*limits));
	limits = arena_array(arena, desc->limit_count, sizeof(*limits));
	for (size_t i = 0; limits != NULL && i < desc->limit_count; i++) {
		uint64_t word = redo_word(in);

		memcpy(&limits[i], &word, sizeof(word));
	}
	if (tags == NULL || limits == NULL) {
		err_nomem(err);
		return false;
	}
	desc->tags = tags;
	desc->limits = limits;
	return true;
}

/* As sources must give them: see batch_add. */
static bool
is_sound(const struct metric_desc *desc)
{
	bool is_list = desc->kind == KIND_LIST;

	if (desc->kind <= KIND_NONE || desc->kind >= KIND_COUNT || desc->sub_kind >= KIND_COUNT ||
	    is_list != (desc->sub_kind != KIND_NONE) || desc->sub_kind == KIND_LIST ||
	    desc->sub_kind == KIND_DIST || (desc->kind != KIND_DIST && desc->limit_count > 0))
		return false;
	if (desc->path.len < 2 || desc->path.p[0] != '/')
		return false;
	for (size_t i = 1; i < desc->tag_count; i++) {
		if (str_cmp(desc->tags[i - 1].key, desc->tags[i].key) >= 0)
			return false;
	}
	for (size_t i = 1; i < desc->limit_count; i++) {
		if (!(desc->limits[i - 1] < desc->limits[i]))
			return false;
	}
	return true;
}

static int
read_meta(struct store_restore *r, struct redo_reader *in, struct err *err)
{
	struct restored_meta *known = calloc(1, sizeof(*known));
	struct metric_desc desc = { .kind = KIND_NONE };
	struct arena arena;
	int rc = -1;

	arena_init(&arena, 0);
	if (known == NULL) {
		err_nomem(err);
		goto out;
	}
	known->number = redo_number(in);
	if (!read_desc(in, &arena, &desc, err))
		goto out;
	if (in->bad || !is_sound(&desc)) {
		in->bad = true;
		rc = 0;
		goto out;
	}
	/* NULL: no room. What needs it is lost, not all the rest. */
	known->meta = meta_intern(r->store, &desc, desc_hash(&desc), err);
	if (put_numbered(&r->metas, &known->number, known, in)) {
		known = NULL;
		rc = 0;
	} else if (in->bad) {
		rc = 0;
	} else {
		err_nomem(err);
	}
out:
	if (known != NULL) {
		meta_unref(r->store, known->meta);
		free(known);
	}
	arena_fini(&arena);
	return rc;
}

/* Puts the position that comes next into the draft. */
static int
read_position(struct store_restore *r, struct redo_reader *in, struct draft *draft, uint32_t stream,
    struct err *err)
{
	uint64_t v = redo_number(in), number = v >> 1;
	struct draft_stream *to = &draft->streams[stream];
	struct restored_meta *known = NULL;

	if (v != 0) {
		known = map_get(&r->metas, restore_key(&number));
		in->bad |= known == NULL;
	}
	if (in->bad)
		return 0;
	if (known != NULL && known->meta == NULL) {
		err_set(err, ERR_LIMIT, "no room for a description");
		return -1;
	}
	return draft_put(draft, to, known == NULL ? NULL : meta_ref(r->store, known->meta),
	    (uint8_t)(v & 1), err);
}

static int
read_positions(
    struct store_restore *r, struct redo_reader *in, struct draft *draft, struct err *err)
{
	uint64_t count = redo_number_to(in, (uint64_t)(in->end - in->p) / 2), total = 0;
	uint32_t *lens = calloc(count + 1, sizeof(*lens));
	int rc = 0;

	if (lens == NULL) {
		err_nomem(err);
		return -1;
	}
	for (uint32_t i = 0; rc == 0 && !in->bad && i < count; i++) {
		rc = draft_add_stream(draft, redo_signed(in), err);
		lens[i] = (uint32_t)redo_number_to(in, (uint64_t)(in->end - in->p));
		total += lens[i];
	}
	/* As many as a plan's entries can name. */
	if (total > (uint64_t)(in->end - in->p) || total >= UINT64_C(1) << 28)
		in->bad = true;
	for (uint32_t i = 0; rc == 0 && !in->bad && i < count; i++) {
		for (uint32_t at = 0; rc == 0 && !in->bad && at < lens[i]; at++)
			rc = read_position(r, in, draft, i, err);
	}
	free(lens);
	return rc;
}

static int
read_schema(struct store_restore *r, struct redo_reader *in, struct err *err)
{
	struct restored_schema *known = calloc(1, sizeof(*known));
	struct draft draft = { .store = r->store };
	int rc = -1;

	if (known == NULL) {
		err_nomem(err);
		goto out;
	}
	known->number = redo_number(in);
	rc = read_positions(r, in, &draft, err);
	if (in->bad)
		goto out;
	/* NULL: no room, for it or a description. */
	if (rc == 0)
		known->schema = draft_finish(&draft, err);
	rc = -1;
	if (put_numbered(&r->schemas, &known->number, known, in)) {
		known = NULL;
		rc = 0;
	} else if (in->bad) {
		rc = 0;
	} else {
		err_nomem(err);
	}
out:
	if (known != NULL) {
		schema_unref(known->schema);
		free(known);
	}
	draft_fini(&draft);
	return rc;
}

struct schema *
restore_schema(struct store_restore *r, struct redo_reader *in, bool *lacking)
{
	uint64_t number = redo_number(in);
	struct restored_schema *known;

	*lacking = false;
	if (number == 0)
		return NULL;
	known = map_get(&r->schemas, restore_key(&number));
	if (known == NULL)
		in->bad = true;
	*lacking = known != NULL && known->schema == NULL;
	return known == NULL ? NULL : known->schema;
}

static struct series_at
read_place(struct redo_reader *in, const struct schema *schema)
{
	uint64_t stream = redo_number(in), at = redo_number(in);

	if (schema == NULL || stream >= schema->stream_count || at >= schema->streams[stream].len ||
	    schema_meta(schema, (uint32_t)stream, (uint32_t)at) == NULL) {
		in->bad = true;
		return (struct series_at){ 0, 0 };
	}
	return (struct series_at){ (uint32_t)stream, (uint32_t)at };
}

int
restore_moves(
    struct redo_reader *in, const struct schema *schema, struct moves *moves, struct err *err)
{
	uint64_t n = redo_number_to(in, (uint64_t)(in->end - in->p) / 4);

	if (n == 0)
		return 0;
	moves->moves = calloc(n, sizeof(*moves->moves));
	if (moves->moves == NULL) {
		err_nomem(err);
		return -1;
	}
	moves->cap = n;
	for (; moves->len < n && !in->bad; moves->len++) {
		struct move *move = &moves->moves[moves->len];

		move->from = read_place(in, schema);
		move->to = read_place(in, schema);
	}
	return 0;
}

bool
restore_can_change(
    const struct series_set *set, const struct schema *schema, uint32_t i, uint32_t *reborn)
{
	uint32_t old_len, len = schema->streams[i].len;
	const struct stream *s;

	*reborn = 0;
	if (i >= set->stream_count)
		return true;
	s = set->streams[i];
	old_len = s->len;
	if (len == 0)
		return s->active_count == 0;
	if (len < old_len)
		return false;
	for (uint32_t at = 0; at < old_len; at++) {
		const struct meta *before = schema_meta(set->schema, i, at);
		const struct meta *after = schema_meta(schema, i, at);

		*reborn += before == NULL && after != NULL;
		if (before != NULL && after != before && (after != NULL || bit_get(s->active, at)))
			return false;
	}
	return true;
}

/* Stretches. */

static void
read_forget(struct store_restore *r, struct redo_reader *in)
{
	uint64_t number = redo_number(in);
	struct str host = redo_text(in), app = redo_text(in);
	int64_t birth_ns = (int64_t)redo_word(in);
	struct restored_set *known;
	struct series_set *set;

	if (in->bad)
		return;
	known = map_del(&r->sets, restore_key(&number));
	if (known != NULL)
		series_set_unref(known->set);
	free(known);
	if (!restore_is_mine(r, host, app))
		return;
	set = store_find(r->store, host, app);
	if (set != NULL && set->birth_ns == birth_ns)
		store_forget(r->store, set);
	series_set_unref(set);
}

static void
read_gone(struct store_restore *r, struct redo_reader *in)
{
	bool is_schema = redo_byte(in) != 0;
	uint64_t number = redo_number(in);
	void *gone;

	if (in->bad)
		return;
	gone = map_del(is_schema ? &r->schemas : &r->metas, restore_key(&number));
	if (gone == NULL)
		in->bad = true;
	else if (is_schema)
		schema_unref(((struct restored_schema *)gone)->schema);
	else
		meta_unref(r->store, ((struct restored_meta *)gone)->meta);
	free(gone);
}

static int
read_record(struct store_restore *r, unsigned kind, struct redo_reader *in, struct err *err)
{
	int rc = -1;

	switch (kind) {
	case REDO_META:
		rc = read_meta(r, in, err);
		break;
	case REDO_SCHEMA:
		rc = read_schema(r, in, err);
		break;
	case REDO_STATE:
		rc = restore_state(r, in, err);
		break;
	case REDO_POLL:
		restore_poll(r, in);
		rc = 0;
		break;
	case REDO_FORGET:
		read_forget(r, in);
		rc = 0;
		break;
	case REDO_GONE:
		read_gone(r, in);
		rc = 0;
		break;
	default:
		in->bad = true;
	}
	if (in->bad) {
		err_set(err, ERR_PROTO, "a record of kind %u makes no sense", kind);
		return -1;
	}
	return rc;
}

int
restore_feed(struct store_restore *r, const void *p, size_t bytes, size_t *good, struct err *err)
{
	struct redo_reader in = { .p = p, .end = (const uint8_t *)p + bytes };

	while (in.p < in.end) {
		struct redo_reader record;
		unsigned kind;
		uint64_t len;

		*good = (size_t)(in.p - (const uint8_t *)p);
		kind = redo_byte(&in);
		len = redo_number_to(&in, bytes);
		record = (struct redo_reader){ .p = in.p, .end = in.p + len };
		redo_bytes(&in, len);
		if (in.bad) {
			err_set(err, ERR_PROTO, "a record is cut off");
			return -1;
		}
		if (read_record(r, kind, &record, err) != 0)
			return -1;
	}
	*good = bytes;
	return 0;
}

bool
restore_is_mine(const struct store_restore *r, struct str host, struct str app)
{
	return r->parts == 1 || hash_mix(hash_stable(host), hash_stable(app)) % r->parts == r->part;
}

struct store_restore *
restore_new(struct store *store, struct err *err)
{
	return restore_new_part(store, 0, 1, err);
}

struct store_restore *
restore_new_part(struct store *store, unsigned part, unsigned parts, struct err *err)
{
	struct store_restore *r = calloc(1, sizeof(*r));

	if (r == NULL) {
		err_nomem(err);
		return NULL;
	}
	r->store = store;
	r->part = part;
	r->parts = parts;
	map_init(&r->metas);
	map_init(&r->schemas);
	map_init(&r->sets);
	return r;
}

void
restore_begin_stretch(struct store_restore *r)
{
	const struct map_entry *entry;
	size_t pos;

	for (pos = 0; (entry = map_next(&r->sets, &pos)) != NULL;) {
		struct restored_set *known = entry->value;

		series_set_unref(known->set);
		free(known);
	}
	for (pos = 0; (entry = map_next(&r->schemas, &pos)) != NULL;) {
		struct restored_schema *known = entry->value;

		schema_unref(known->schema);
		free(known);
	}
	for (pos = 0; (entry = map_next(&r->metas, &pos)) != NULL;) {
		struct restored_meta *known = entry->value;

		meta_unref(r->store, known->meta);
		free(known);
	}
	map_fini(&r->sets);
	map_fini(&r->schemas);
	map_fini(&r->metas);
}

void
restore_free(struct store_restore *r)
{
	if (r == NULL)
		return;
	restore_begin_stretch(r);
	free(r);
}

void
restore_get_stats(const struct store_restore *r, struct restore_stats *stats)
{
	*stats = r->stats;
}
