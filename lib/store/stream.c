#include "store/log_priv.h"

#include <assert.h>

#include "store/set_priv.h"
#include "store/store_priv.h"

struct stream *
stream_try_new(struct series_set *set, struct memory_want *want)
{
	struct stream *s = memory_try(set->store, sizeof(*s), want);

	if (s != NULL)
		*s = (struct stream){
			.set = set, .number = set->stream_cap, .ts_ns = TS_NONE, .base_ns = TS_NONE
		};
	return s;
}

static size_t
bit_words(uint32_t cap)
{
	return (cap + 63) / 64;
}

static size_t
block_bytes(uint32_t cap)
{
	return (cap + 2 * bit_words(cap)) * sizeof(uint64_t);
}

void
stream_free(struct stream *s, const uint8_t *classes)
{
	struct store *store;

	if (s == NULL)
		return;
	store = s->set->store;
	log_clear(s);
	for (uint32_t i = 0; i < s->len; i++) {
		if (class_has_blob(classes[i]))
			blob_unref(store, blob_of_bits(s->bits[i]));
	}
	memory_free(store, s->bits, block_bytes(s->cap));
	memory_free(store, s, sizeof(*s));
}

bool
stream_reserve(struct stream *s, uint32_t len, struct memory_want *want)
{
	uint32_t cap = (len + 3) / 4 * 4;
	uint64_t *bits, *active, *dead;

	if (len <= s->cap)
		return true;
	/* The first list of metrics is mostly the last; after that, leave some room. */
	if (s->cap > 0 && cap < s->cap + s->cap / 8)
		cap = s->cap + s->cap / 8;
	bits = memory_try(s->set->store, block_bytes(cap), want);
	if (bits == NULL)
		return false;
	memset(bits, 0, block_bytes(cap));
	active = bits + cap;
	dead = active + bit_words(cap);
	if (s->cap > 0) {
		memcpy(bits, s->bits, s->cap * sizeof(*bits));
		memcpy(active, s->active, bit_words(s->cap) * sizeof(*active));
		memcpy(dead, s->dead, bit_words(s->cap) * sizeof(*dead));
	}
	memory_free(s->set->store, s->bits, block_bytes(s->cap));
	s->bits = bits;
	s->active = active;
	s->dead = dead;
	s->cap = cap;
	return true;
}

void
stream_set_active(struct stream *s, uint32_t at, bool active)
{
	struct series_set *set = s->set;

	if (bit_get(s->active, at) == active)
		return;
	bit_set(s->active, at, active);
	if (active) {
		set->dead_count -= bit_get(s->dead, at);
		bit_set(s->dead, at, false);
		set->active_count++;
		set->store->active_count++;
		if (s->active_count++ == 0)
			pages_remove_idle(&set->store->pool, s);
	} else {
		set->active_count--;
		set->store->active_count--;
		if (--s->active_count == 0 && s->oldest != NULL)
			pages_add_idle(&set->store->pool, s);
	}
}

void
stream_clear(struct stream *s, const uint8_t *classes)
{
	for (uint32_t at = 0; at < s->len; at++) {
		stream_set_active(s, at, false);
		if (class_has_blob(classes[at]))
			blob_unref(s->set->store, blob_of_bits(s->bits[at]));
		s->set->dead_count -= bit_get(s->dead, at);
	}
	log_clear(s);
	if (s->cap > 0)
		memset(s->bits, 0, block_bytes(s->cap));
	s->len = 0;
	s->settled = false;
	s->ts_ns = TS_NONE;
}

void
stream_begin_at(struct stream *s, uint32_t next_row, int64_t ts_ns, int64_t begin_ns)
{
	assert(s->len == 0 && s->newest == NULL);
	s->first_row = s->next_row = next_row;
	s->ts_ns = ts_ns;
	if (ts_ns != TS_NONE)
		pace_begin(&s->pace, ts_ns);
	s->begin_ns = begin_ns;
	s->base_ns = ts_ns;
}

void
stream_reset(struct stream *s)
{
	assert(s->active_count == 0);
	log_clear(s);
	for (uint32_t i = 0; i < s->len; i++)
		s->set->dead_count -= bit_get(s->dead, i);
	memory_free(s->set->store, s->bits, block_bytes(s->cap));
	s->bits = s->active = s->dead = NULL; /* blobs are gone already */
	s->len = s->cap = 0;
	s->settled = false;
	s->ts_ns = TS_NONE;
}
