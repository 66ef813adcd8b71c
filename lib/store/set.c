#include "store/set_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/cursor_priv.h"
#include "store/redo_priv.h"
#include "store/store_priv.h"

/* A set's share of the store's map, which is at least a third full, and of the sorted list. */
#define MAP_BYTES (3 * sizeof(struct map_entry) + sizeof(struct series_set *))

size_t
set_key(char *key, struct str host, struct str app)
{
	uint16_t host_len = (uint16_t)host.len;
	size_t len = sizeof(host_len);

	if (host.len > SET_KEY_MOST - len || app.len > SET_KEY_MOST - len - host.len)
		return 0;
	memcpy(key, &host_len, len);
	if (host.len > 0)
		memcpy(key + len, host.p, host.len);
	len += host.len;
	if (app.len > 0)
		memcpy(key + len, app.p, app.len);
	return len + app.len;
}

struct series_set *
set_new(struct store *store, struct str key, bool beyond, struct err *err)
{
	struct series_set *set;
	uint16_t host_len;

	set = memory_alloc_listed(store, sizeof(*set) + key.len, beyond, err);
	if (set == NULL)
		return NULL;
	if (memory_charge(store, MAP_BYTES, err) != 0) {
		if (!beyond) {
			memory_free(store, set, sizeof(*set) + key.len);
			return NULL;
		}
		memory_charge_beyond(store, MAP_BYTES);
	}
	*set = (struct series_set){ .store = store, .key_len = key.len };
	atomic_init(&set->refs, 1);
	set->birth_ns = clock_real_ns();
	if (set->birth_ns <= store->last_birth_ns)
		set->birth_ns = store->last_birth_ns + 1;
	store->last_birth_ns = set->birth_ns;
	set->number = ++store->set_serial;
	lock_init(&set->lock, LOCK_series);
	memcpy(set->key, key.p, key.len);
	memcpy(&host_len, key.p, sizeof(host_len));
	set->host = (struct str){ set->key + sizeof(host_len), host_len };
	set->app = (struct str){ set->host.p + host_len, key.len - sizeof(host_len) - host_len };
	return set;
}

static void
free_streams(struct series_set *set)
{
	/* All of them first leave the lists that others look into. */
	for (uint32_t i = 0; i < set->stream_count; i++)
		log_clear(set->streams[i]);
	for (uint32_t i = 0; i < set->stream_cap; i++)
		stream_free(
		    set->streams[i], i < set->stream_count ? schema_classes(set->schema, i) : NULL);
	memory_free(set->store, set->streams, set->stream_cap * sizeof(*set->streams));
}

static void
set_free(struct series_set *set)
{
	struct store *store = set->store;

	assert(set->places == NULL);
	store->active_count -= set->active_count;
	if (set->schema != NULL)
		store->series_count -= set->schema->order_len;
	free_streams(set);
	memory_free(store, set->moves, set->move_cap * sizeof(*set->moves));
	plan_unref(set->plan);
	schema_unref(set->schema);
	lock_fini(&set->lock);
	memory_free(store, set, sizeof(*set) + set->key_len);
	memory_uncharge(store, MAP_BYTES);
}

struct series_set *
series_set_ref(struct series_set *set)
{
	uint32_t before = atomic_fetch_add(&set->refs, 1);

	assert(before > 0);
	return set;
}

int64_t
series_set_birth_ns(const struct series_set *set)
{
	return set->birth_ns;
}

bool
series_set_try_ref(struct series_set *set)
{
	uint32_t refs = atomic_load(&set->refs);

	while (refs > 0) {
		if (atomic_compare_exchange_weak(&set->refs, &refs, refs + 1))
			return true;
	}
	return false;
}

void
series_set_unref(struct series_set *set)
{
	if (set != NULL && atomic_fetch_sub(&set->refs, 1) == 1)
		set_free(set);
}

struct str
series_set_host(const struct series_set *set)
{
	return set->host;
}

struct str
series_set_app(const struct series_set *set)
{
	return set->app;
}

size_t
series_set_active_count(const struct series_set *set)
{
	return set->active_count;
}

bool
set_reserve_streams(struct series_set *set, uint32_t count, struct memory_want *want)
{
	struct store *store = set->store;

	while (set->stream_cap < count) {
		struct stream **streams, *stream;

		streams = memory_try(store, (set->stream_cap + 1) * sizeof(*streams), want);
		if (streams == NULL)
			return false;
		stream = stream_try_new(set, want);
		if (stream == NULL) {
			memory_free(store, streams, (set->stream_cap + 1) * sizeof(*streams));
			return false;
		}
		if (set->stream_cap > 0)
			memcpy(streams, set->streams, set->stream_cap * sizeof(*streams));
		memory_free(store, set->streams, set->stream_cap * sizeof(*streams));
		streams[set->stream_cap++] = stream;
		set->streams = streams;
	}
	return true;
}

bool
set_reserve_moves(struct series_set *set, size_t count, struct memory_want *want)
{
	size_t cap = set->move_len + count;
	struct move *moves;

	if (count == 0 || cap <= set->move_cap)
		return true;
	moves = memory_try(set->store, cap * sizeof(*moves), want);
	if (moves == NULL)
		return false;
	if (set->move_len > 0)
		memcpy(moves, set->moves, set->move_len * sizeof(*moves));
	memory_free(set->store, set->moves, set->move_cap * sizeof(*moves));
	set->moves = moves;
	set->move_cap = (uint32_t)cap;
	return true;
}

bool
set_older_place(const struct series_set *set, struct series_at at, struct series_at *older)
{
	for (uint32_t i = set->move_len; i > 0; i--) {
		const struct move *move = &set->moves[i - 1];

		if (move->to.stream == at.stream && move->to.at == at.at) {
			*older = move->from;
			return true;
		}
	}
	return false;
}

struct schema *
set_swap_schema(struct series_set *set, struct schema *schema)
{
	struct schema *old = set->schema;
	uint32_t old_len = old == NULL ? 0 : old->order_len;

	set->schema = schema;
	set->stream_count = schema->stream_count;
	set->store->series_count += schema->order_len;
	set->store->series_count -= old_len;
	return old;
}

/* Takes dead series out of the draft; how many. */
static size_t
remove_dead(const struct series_set *set, struct draft *draft)
{
	size_t removed = 0;

	for (uint32_t i = 0; i < set->stream_count; i++) {
		const struct stream *s = set->streams[i];
		uint32_t left = 0;

		for (uint32_t at = 0; at < s->len; at++) {
			if (bit_get(s->dead, at)) {
				draft_remove_series(draft, (struct series_at){ i, at });
				removed++;
			}
			left += draft->streams[i].metas[at] != NULL;
		}
		if (left == 0)
			draft->streams[i].len = draft->streams[i].free_hint = 0;
	}
	return removed;
}

/* Forgets moves from and to places that are free. REQUIRES the lock. */
static void
forget_moves(struct series_set *set, const struct schema *schema)
{
	uint32_t len = 0;

	for (uint32_t i = 0; i < set->move_len; i++) {
		const struct move *move = &set->moves[i];

		if (move->from.at < schema->streams[move->from.stream].len &&
		    move->to.at < schema->streams[move->to.stream].len &&
		    schema_meta(schema, move->from.stream, move->from.at) != NULL &&
		    schema_meta(schema, move->to.stream, move->to.at) != NULL)
			set->moves[len++] = *move;
	}
	set->move_len = len;
}

void
set_free_positions(struct series_set *set, const struct schema *schema)
{
	forget_moves(set, schema);
	for (uint32_t i = 0; i < set->stream_count; i++) {
		const uint8_t *classes = schema_classes(set->schema, i);
		struct stream *s = set->streams[i];

		for (uint32_t at = 0; at < s->len; at++) {
			if (schema->streams[i].len > 0 && schema_meta(schema, i, at) != NULL)
				continue;
			if (class_has_blob(classes[at]))
				blob_unref(set->store, blob_of_bits(s->bits[at]));
			s->bits[at] = 0;
			set->dead_count -= bit_get(s->dead, at);
			bit_set(s->dead, at, false);
		}
		if (schema->streams[i].len == 0 && s->len > 0)
			stream_reset(s);
	}
}

static bool
has_ended(const struct series_set *set, uint32_t i)
{
	const struct stream *s = set->streams[i];

	for (uint32_t at = 0; at < s->len; at++) {
		if (schema_meta(set->schema, i, at) != NULL && !bit_get(s->active, at))
			return true;
	}
	return false;
}

bool
set_give_up_ended(struct series_set *set)
{
	bool dead;

	lock_take(&set->lock);
	for (uint32_t i = 0; i < set->stream_count; i++) {
		bool ended = has_ended(set, i);

		while (ended && set->streams[i]->oldest != NULL)
			log_drop_oldest(set->streams[i], true);
	}
	dead = set->dead_count > 0;
	lock_drop(&set->lock);
	return dead;
}

void
set_sweep_dead(struct series_set *set)
{
	struct schema *schema = NULL, *old;
	struct plan *plan;
	struct draft draft;
	size_t removed = 0;
	struct err err;

	if (draft_init(&draft, set->store, set->schema, &err) == 0) {
		draft.frees = true;
		lock_take(&set->lock);
		removed = remove_dead(set, &draft);
		lock_drop(&set->lock);
	}
	if (removed > 0)
		schema = draft_finish(&draft, &err);
	draft_fini(&draft);
	if (schema == NULL)
		return;
	lock_take(&set->lock);
	redo_tell_schema(set, schema);
	set_free_positions(set, schema);
	old = set_swap_schema(set, schema);
	/* It is for the old schema, and would keep that and the descriptions of the dead. */
	plan = set->plan;
	set->plan = NULL;
	lock_drop(&set->lock);
	plan_unref(plan);
	schema_unref(old);
}
