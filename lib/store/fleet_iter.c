/*
 * Endpoints of one program share a schema, so what to look for where is found once per schema.
 */
#include <stdlib.h>

#include "store/latest_priv.h"
#include "store/match_priv.h"
#include "store/store_priv.h"

/* Schemas whose answer is remembered. */
#define KNOWN 64

struct known {
	struct schema *schema; /* a reference; NULL: free */
	uint32_t first;        /* in its order; order_len: it has no such series */
};

struct fleet_iter {
	struct store *store;
	struct match match;
	struct series_set *const *sets;
	size_t set_count;
	size_t set_index;  /* of the set being read */
	bool in_set;       /* some of it was read */
	struct known here; /* of that set: where to go on */
	struct known known[KNOWN];
	struct blob_hold hold;
	char prefix_bytes[];
};

struct fleet_iter *
fleet_iter_new(struct store *store, struct str prefix, enum iter_match how, struct err *err)
{
	struct fleet_iter *it = malloc(sizeof(*it) + prefix.len);

	if (it == NULL) {
		err_nomem(err);
		return NULL;
	}
	*it = (struct fleet_iter){ .store = store };
	if (prefix.len > 0)
		memcpy(it->prefix_bytes, prefix.p, prefix.len);
	it->match = match_of((struct str){ it->prefix_bytes, prefix.len }, how);
	if (sets_snapshot(store, &it->sets, &it->set_count, err) != 0) {
		free(it);
		return NULL;
	}
	return it;
}

void
fleet_iter_free(struct fleet_iter *it)
{
	if (it == NULL)
		return;
	blob_hold_release(it->store, &it->hold);
	for (size_t i = 0; i < KNOWN; i++)
		schema_unref(it->known[i].schema);
	schema_unref(it->here.schema);
	sets_free(it->sets, it->set_count);
	free(it);
}

static struct known
look_up(const struct fleet_iter *it, struct schema *schema)
{
	struct known known = { schema, match_first(&it->match, schema) };
	uint32_t at = known.first;
	struct series_at place;

	if (match_next(&it->match, schema, &at, &place) == NULL)
		known.first = schema->order_len;
	return known;
}

/* What is known of the schema; a set with it has the lock held. */
static const struct known *
find_known(struct fleet_iter *it, struct schema *schema, struct schema **dropped)
{
	struct known *known = &it->known[schema->serial % KNOWN];

	if (known->schema != schema) {
		*dropped = known->schema;
		*known = look_up(it, schema_ref(schema));
	}
	return known;
}

/* Begins with the set at set_index. False if it has no such series. */
static bool
begin_set(struct fleet_iter *it)
{
	struct series_set *set = it->sets[it->set_index];
	struct schema *dropped = NULL, *before = NULL;
	bool found = false;

	lock_take(&set->lock);
	if (set->schema != NULL) {
		const struct known *known = find_known(it, set->schema, &dropped);

		found = known->first < known->schema->order_len;
		if (found && it->here.schema != known->schema) {
			before = it->here.schema;
			it->here.schema = schema_ref(known->schema);
		}
		it->here.first = known->first;
	}
	lock_drop(&set->lock);
	schema_unref(before);
	schema_unref(dropped);
	return found;
}

/* Active ones from where it is, at most max. *done: the set has no more. */
static size_t
read_set(struct fleet_iter *it, struct record *out, size_t max, bool *done)
{
	struct series_set *set = it->sets[it->set_index];
	struct series_at place;
	size_t n = 0;

	*done = false;
	lock_take(&set->lock);
	for (size_t looked = 0; n < max && looked < BLOB_HOLD; looked++) {
		const struct meta *meta =
		    match_next(&it->match, it->here.schema, &it->here.first, &place);

		*done = meta == NULL;
		if (*done)
			break;
		n += latest_value(set, place, meta, &out[n], &it->hold);
	}
	lock_drop(&set->lock);
	return n;
}

size_t
fleet_iter_next(
    struct fleet_iter *it, const struct series_set **set, struct record *out, size_t max)
{
	blob_hold_release(it->store, &it->hold);
	if (max > BLOB_HOLD)
		max = BLOB_HOLD;
	while (it->set_index < it->set_count) {
		bool done = !it->in_set && !begin_set(it);
		size_t n = 0;

		*set = it->sets[it->set_index];
		if (!done)
			n = read_set(it, out, max, &done);
		it->in_set = !done;
		it->set_index += done;
		if (n > 0)
			return n;
	}
	return 0;
}
