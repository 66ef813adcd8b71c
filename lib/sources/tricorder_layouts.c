/*
 * Skeletons and layouts are interned: equal ones are one. A skeleton's key is its holes, fixed
 * bytes and context, from which all else of it follows; a layout's key is its list of skeletons.
 */
#include "sources/tricorder_layouts.h"

#include <assert.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/hash.h"
#include "base/lock.h"
#include "sources/tricorder_layout_priv.h"

/* What a heap block and its slot in a map take beyond its bytes; maps are half full at least. */
#define OVERHEAD_BYTES (16 + 2 * sizeof(struct map_entry))

struct app {
	struct layout *latest; /* not counted: NULL once that is dropped */
	char name[];
};

/* So much may be idle in any case. */
#define DROP_LEAST_BYTES ((size_t)1 << 20)

struct tricorder_layouts {
	struct lock lock; /* of all below */
	struct map skeletons, layouts, apps;
	size_t budget_bytes, used_bytes;
	size_t drop_at_bytes;  /* of used_bytes: what is idle goes */
	size_t array_bytes;    /* of used_bytes: descs and groups of layouts as arrays */
	atomic_bool some_idle; /* a layout lost its last reference since the last dropping */
};

struct tricorder_layouts *
tricorder_layouts_new(size_t budget_bytes, struct err *err)
{
	struct tricorder_layouts *table = calloc(1, sizeof(*table));

	if (table == NULL) {
		err_nomem(err);
		return NULL;
	}
	table->budget_bytes = budget_bytes;
	table->drop_at_bytes = DROP_LEAST_BYTES;
	lock_init(&table->lock, LOCK_layouts);
	map_init(&table->skeletons);
	map_init(&table->layouts);
	map_init(&table->apps);
	return table;
}

static struct str
skeleton_key(const struct skeleton *s)
{
	return (struct str){ (const char *)s->holes,
		s->hole_count * sizeof(struct hole) + s->fixed_len + s->context_len };
}

static struct str
layout_key(const struct layout *l)
{
	return (struct str){ (const char *)l->skeletons, l->shared.len * sizeof(*l->skeletons) };
}

/* Dropping. All of it under the lock. */

static void
skeleton_unref(struct tricorder_layouts *table, struct skeleton *s)
{
	assert(s->refs > 0);
	if (--s->refs > 0)
		return;
	map_del(&table->skeletons, skeleton_key(s));
	table->used_bytes -= s->bytes + OVERHEAD_BYTES;
	free(s);
}

static size_t
layout_array_bytes(const struct layout *l)
{
	return l->shared.len * (sizeof(*l->desc) + sizeof(*l->group));
}

static void
layout_free(struct layout *l)
{
	free(l->desc);
	free(l->group);
	free(l);
}

static void
layout_drop(struct tricorder_layouts *table, struct layout *l)
{
	map_del(&table->layouts, layout_key(l));
	for (size_t i = 0; i < l->shared.len; i++)
		skeleton_unref(table, l->skeletons[i]);
	table->used_bytes -= l->bytes + OVERHEAD_BYTES;
	if (l->desc != NULL)
		table->array_bytes -= layout_array_bytes(l);
	layout_free(l);
}

/*
 * Drops what nobody has a reference to. New references to such layouts are only made under the
 * lock, so none comes up meanwhile.
 */
static void
drop_idle(struct tricorder_layouts *table)
{
	struct layout *doomed = NULL;
	const struct map_entry *entry;

	if (!atomic_exchange(&table->some_idle, false))
		return;
	for (size_t pos = 0; (entry = map_next(&table->layouts, &pos)) != NULL;) {
		struct layout *l = entry->value;

		if (atomic_load_explicit(&l->refs, memory_order_acquire) > 0)
			continue;
		l->doomed = true;
		l->next_doomed = doomed;
		doomed = l;
	}
	for (size_t pos = 0; (entry = map_next(&table->apps, &pos)) != NULL;) {
		struct app *app = entry->value;

		if (app->latest != NULL && app->latest->doomed)
			app->latest = NULL;
	}
	while (doomed != NULL) {
		struct layout *next = doomed->next_doomed;

		layout_drop(table, doomed);
		doomed = next;
	}
}

void
tricorder_layouts_free(struct tricorder_layouts *table)
{
	const struct map_entry *entry;

	if (table == NULL)
		return;
	lock_take(&table->lock);
	atomic_store(&table->some_idle, true);
	drop_idle(table);
	assert(table->layouts.len == 0 && table->skeletons.len == 0);
	for (size_t pos = 0; (entry = map_next(&table->apps, &pos)) != NULL;)
		free(entry->value);
	lock_drop(&table->lock);
	map_fini(&table->skeletons);
	map_fini(&table->layouts);
	map_fini(&table->apps);
	lock_fini(&table->lock);
	free(table);
}

/*
 * Takes bytes from the budget; false if there are not so many left. What is idle may be of use
 * again, but must not take more than what is in use: it goes each time the table has doubled.
 */
static bool
charge(struct tricorder_layouts *table, size_t bytes)
{
	if (bytes > table->budget_bytes - table->used_bytes)
		drop_idle(table);
	if (table->used_bytes + bytes > table->drop_at_bytes) {
		drop_idle(table);
		table->drop_at_bytes = 2 * (table->used_bytes + bytes);
		if (table->drop_at_bytes < DROP_LEAST_BYTES)
			table->drop_at_bytes = DROP_LEAST_BYTES;
	}
	if (bytes > table->budget_bytes - table->used_bytes)
		return false;
	table->used_bytes += bytes;
	return true;
}

/* Skeletons. */

/* Text of a desc, copied to *to, which moves behind it. */
static struct str
put_text(char **to, struct str s)
{
	struct str copy = { *to, s.len };

	if (s.len > 0)
		memcpy(*to, s.p, s.len);
	*to += s.len;
	return copy;
}

static size_t
desc_bytes(const struct metric_desc *d)
{
	size_t n = sizeof(*d) + d->tag_count * sizeof(*d->tags) +
	           d->limit_count * sizeof(*d->limits) + d->path.len + d->description.len +
	           d->unit.len;

	for (size_t i = 0; i < d->tag_count; i++)
		n += d->tags[i].key.len + d->tags[i].value.len;
	return n;
}

/* Copies d to *copy; tags, limits and text go behind it. */
static void
desc_copy(struct metric_desc *copy, const struct metric_desc *d)
{
	struct tag *tags = (struct tag *)(void *)(copy + 1);
	double *limits = (double *)(void *)(tags + d->tag_count);
	char *text = (char *)(limits + d->limit_count);

	*copy = *d;
	copy->path = put_text(&text, d->path);
	copy->description = put_text(&text, d->description);
	copy->unit = put_text(&text, d->unit);
	for (size_t i = 0; i < d->tag_count; i++) {
		tags[i].key = put_text(&text, d->tags[i].key);
		tags[i].value = put_text(&text, d->tags[i].value);
	}
	for (size_t i = 0; i < d->limit_count; i++)
		limits[i] = d->limits[i];
	copy->tags = tags;
	copy->limits = limits;
}

/* What is compared at each poll comes first. */
static struct skeleton *
skeleton_new(const struct draft *draft, const char *bytes, const struct metric_desc *d)
{
	size_t holes_bytes = draft->hole_count * sizeof(struct hole);
	size_t key_len = holes_bytes + draft->fixed_len + draft->context_len;
	size_t key_bytes = (key_len + 7) & ~(size_t)7;
	size_t size = sizeof(struct skeleton) + key_bytes + desc_bytes(d);
	struct skeleton *s = malloc(size);
	struct metric_desc *desc;
	char *key;

	if (s == NULL)
		return NULL;
	key = (char *)(s + 1);
	desc = (struct metric_desc *)(void *)(key + key_bytes);
	memcpy(key, bytes, key_len);
	desc_copy(desc, d);
	*s = (struct skeleton){
		.holes = (const struct hole *)(void *)key,
		.hole_count = draft->hole_count,
		.fixed = key + holes_bytes,
		.fixed_len = draft->fixed_len,
		.context_len = draft->context_len,
		.desc = desc,
		.kind = desc->kind,
		.bytes = size,
	};
	return s;
}

/* A new skeleton in the table, without a reference yet. */
static struct skeleton *
skeleton_add(struct tricorder_layouts *table, const struct lesson *lesson, size_t i)
{
	const struct draft *draft = &lesson->drafts[i];
	size_t at = lesson->prefix_len + i;
	struct skeleton *s =
	    skeleton_new(draft, lesson->bytes + draft->at, &lesson->batch->desc[at]);

	if (s == NULL)
		return NULL;
	s->group = lesson->batch->group[at];
	if (!charge(table, s->bytes + OVERHEAD_BYTES)) {
		free(s);
		return NULL;
	}
	if (map_put(&table->skeletons, skeleton_key(s), s) != 0) {
		table->used_bytes -= s->bytes + OVERHEAD_BYTES;
		free(s);
		return NULL;
	}
	return s;
}

/* The skeleton of the lesson's i-th draft, with a reference. */
static struct skeleton *
skeleton_take(struct tricorder_layouts *table, const struct lesson *lesson, size_t i)
{
	const struct draft *draft = &lesson->drafts[i];
	struct str key = { lesson->bytes + draft->at,
		draft->hole_count * sizeof(struct hole) + draft->fixed_len + draft->context_len };
	struct skeleton *s = map_get(&table->skeletons, key);

	if (s == NULL)
		s = skeleton_add(table, lesson, i);
	if (s != NULL)
		s->refs++;
	return s;
}

/* Layouts. */

static void
release(struct batch_layout *shared)
{
	layout_unref(CONTAINER_OF(shared, struct layout, shared));
}

struct layout *
layout_ref(struct layout *l)
{
	atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void
layout_unref(struct layout *l)
{
	struct tricorder_layouts *table;

	if (l == NULL)
		return;
	table = l->table; /* without its last reference the layout may go at any time */
	if (atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
		atomic_store(&table->some_idle, true);
}

/* Numbers the groups. False without memory. */
static bool
number_groups(struct layout *l, uint32_t *slots, const int64_t *group)
{
	struct map seen; /* from a group to one more than its slot */
	bool done = false;

	map_init(&seen);
	for (size_t i = 0; i < l->shared.len; i++) {
		struct str key = { (const char *)&group[i], sizeof(group[i]) };
		uintptr_t slot;

		if (i > 0 && group[i] == group[i - 1]) {
			slots[i] = slots[i - 1];
			continue;
		}
		slot = (uintptr_t)map_get(&seen, key);
		if (slot == 0) {
			slot = ++l->slot_count;
			if (map_put(&seen, key, (void *)slot) != 0)
				goto out;
		}
		slots[i] = (uint32_t)(slot - 1);
	}
	done = true;
out:
	map_fini(&seen);
	return done;
}

/* A layout of the batch's metrics that is not in the table and has no skeletons yet. */
static struct layout *
layout_new(struct tricorder_layouts *table, const struct batch *batch)
{
	size_t bytes =
	    sizeof(struct layout) + batch->len * (sizeof(struct skeleton *) + sizeof(uint32_t));
	struct layout *l = malloc(bytes);
	uint32_t *slots;

	if (l == NULL)
		return NULL;
	*l = (struct layout){
		.shared = { .len = batch->len, .release = release },
		.refs = 1,
		.table = table,
		.skeletons = (struct skeleton **)(void *)(l + 1),
		.bytes = bytes,
	};
	l->slots = slots = (uint32_t *)(void *)(l->skeletons + batch->len);
	for (size_t i = 0; i < batch->len; i++) {
		if (batch->desc[i].kind == KIND_DIST) {
			l->dist_count++;
			l->bucket_count += batch->desc[i].limit_count + 1;
		}
	}
	if (!number_groups(l, slots, batch->group)) {
		free(l);
		return NULL;
	}
	return l;
}

/*
 * The arrays that a batch points to. They are far larger than the rest of a layout, so layouts of
 * single endpoints could use up the budget with them: a quarter of it is for arrays.
 */
static void
add_arrays(struct tricorder_layouts *table, struct layout *l)
{
	size_t bytes = layout_array_bytes(l);

	if (bytes > table->budget_bytes / 4 - table->array_bytes || !charge(table, bytes))
		return;
	l->desc = malloc(l->shared.len * sizeof(*l->desc));
	l->group = malloc(l->shared.len * sizeof(*l->group));
	if (l->desc == NULL || l->group == NULL) {
		free(l->desc);
		free(l->group);
		l->desc = NULL;
		l->group = NULL;
		table->used_bytes -= bytes;
		return;
	}
	for (size_t i = 0; i < l->shared.len; i++) {
		l->desc[i] = *l->skeletons[i]->desc;
		l->group[i] = l->skeletons[i]->group;
	}
	l->bytes += bytes;
	table->array_bytes += bytes;
}

static void
give_back_skeletons(struct tricorder_layouts *table, struct layout *l, size_t n)
{
	while (n > 0)
		skeleton_unref(table, l->skeletons[--n]);
}

/* False, and none taken, without budget or memory. */
static bool
take_skeletons(struct tricorder_layouts *table, struct layout *l, const struct lesson *lesson)
{
	for (size_t i = 0; i < l->shared.len; i++) {
		struct skeleton *s;

		if (i < lesson->prefix_len) {
			s = lesson->prefix->skeletons[i];
			s->refs++;
		} else {
			s = skeleton_take(table, lesson, i - lesson->prefix_len);
		}
		if (s == NULL) {
			give_back_skeletons(table, l, i);
			return false;
		}
		l->skeletons[i] = s;
	}
	return true;
}

/* The new layout in the table, or the one that is there already instead of it. */
static struct layout *
intern(struct tricorder_layouts *table, struct layout *fresh, const struct lesson *lesson)
{
	struct layout *known;

	if (!take_skeletons(table, fresh, lesson))
		goto failed;
	known = map_get(&table->layouts, layout_key(fresh));
	if (known != NULL) {
		layout_ref(known);
		give_back_skeletons(table, fresh, fresh->shared.len);
		layout_free(fresh);
		return known;
	}
	if (!charge(table, fresh->bytes + OVERHEAD_BYTES))
		goto no_budget;
	if (map_put(&table->layouts, layout_key(fresh), fresh) != 0)
		goto no_slot;
	fresh->shared.id = batch_layout_next_id();
	add_arrays(table, fresh);
	return fresh;
no_slot:
	table->used_bytes -= fresh->bytes + OVERHEAD_BYTES;
no_budget:
	give_back_skeletons(table, fresh, fresh->shared.len);
failed:
	layout_free(fresh);
	return NULL;
}

/* NULL without budget or memory. */
static struct app *
app_add(struct tricorder_layouts *table, struct str name)
{
	size_t bytes = sizeof(struct app) + name.len;
	struct app *app;

	if (!charge(table, bytes + OVERHEAD_BYTES))
		return NULL;
	app = malloc(bytes);
	if (app == NULL)
		goto failed;
	if (name.len > 0)
		memcpy(app->name, name.p, name.len);
	if (map_put(&table->apps, (struct str){ app->name, name.len }, app) != 0)
		goto failed;
	return app;
failed:
	table->used_bytes -= bytes + OVERHEAD_BYTES;
	free(app);
	return NULL;
}

/* Makes it the guess for app's next endpoint, if there is budget and memory for that. */
static void
set_latest(struct tricorder_layouts *table, struct str name, struct layout *l)
{
	struct app *app = map_get(&table->apps, name);

	if (app == NULL)
		app = app_add(table, name);
	if (app != NULL)
		app->latest = l;
}

struct layout *
layout_remember(struct tricorder_layouts *table, struct str app, const struct lesson *lesson)
{
	struct layout *l = layout_new(table, lesson->batch);

	if (l == NULL)
		return NULL;
	lock_take(&table->lock);
	l = intern(table, l, lesson);
	if (l != NULL)
		set_latest(table, app, l);
	lock_drop(&table->lock);
	return l;
}

struct layout *
layout_guess(struct tricorder_layouts *table, struct str name)
{
	struct app *app;
	struct layout *l = NULL;

	lock_take(&table->lock);
	app = map_get(&table->apps, name);
	if (app != NULL && app->latest != NULL)
		l = layout_ref(app->latest);
	lock_drop(&table->lock);
	return l;
}

void
tricorder_layouts_stats(struct tricorder_layouts *table, struct tricorder_layouts_stats *out)
{
	lock_take(&table->lock);
	*out = (struct tricorder_layouts_stats){
		.layouts = table->layouts.len,
		.skeletons = table->skeletons.len,
		.bytes = table->used_bytes,
	};
	lock_drop(&table->lock);
}
