#include "messages/batch.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/hash.h"
#include "messages/number.h"

#define PATH_MOST_BYTES  4096
#define SHOWN_PATH_BYTES 100 /* of a path in bad_text, which names two at most */
#define FIRST_ROOM       32
#define FIRST_STAMPS     8

/* A slot of the set of paths and tags. */
struct seen {
	uint32_t hash;
	uint32_t place; /* 1 + the metric's index; 0 = free */
};

/* A slot of the table from group to time stamp. */
struct stamp {
	int64_t group;
	int64_t ts; /* TS_NONE = free */
};

struct batch_index {
	size_t room; /* of the arrays */
	struct metric_desc *desc;
	struct value *value;
	int64_t *group;
	int64_t *ts;

	struct seen *seen;
	size_t seen_cap; /* a power of two, at least twice the room */

	struct stamp *stamps;
	size_t stamp_cap, stamp_len; /* a power of two, at least twice as many as used */
	struct stamp *last_stamp;    /* of the metric before: groups often come in a row */

	struct str path_before; /* of the metric before, bad or not */
};

#define ARRAYS_BYTES (sizeof(struct metric_desc) + sizeof(struct value) + 2 * sizeof(int64_t))
/* Of all that grows with the metrics. */
#define METRIC_BYTES (ARRAYS_BYTES + 4 * sizeof(struct seen))

/* One large answer must not hold its memory for ever; as much as an arena keeps. */
#define TEXT_KEPT_BYTES (1024 * 1024)

void
batch_init(struct batch *b, size_t limit_bytes)
{
	*b = (struct batch){ .len = 0 };
	arena_init(&b->arena, limit_bytes);
	buf_init(&b->text, 0);
}

static void
let_go(struct batch *b)
{
	if (b->layout != NULL)
		b->layout->release(b->layout);
	b->layout = NULL;
}

void
batch_fini(struct batch *b)
{
	size_t limit = b->arena.limit_bytes;

	let_go(b);
	arena_fini(&b->arena);
	buf_fini(&b->text);
	batch_init(b, limit);
}

void
batch_reset(struct batch *b)
{
	let_go(b);
	arena_reset(&b->arena);
	if (b->text.cap > TEXT_KEPT_BYTES)
		buf_fini(&b->text);
	buf_clear(&b->text);
	*b = (struct batch){ .arena = b->arena, .text = b->text, .last_len = b->len };
}

void
batch_move_memory(struct batch *to, struct batch *from)
{
	size_t arena_limit = to->arena.limit_bytes, text_limit = to->text.limit;

	assert(to->len == 0 && to->text.len == 0 && from->len == 0 && from->text.len == 0);
	arena_fini(&to->arena);
	buf_fini(&to->text);
	to->arena = from->arena;
	to->text = from->text;
	to->last_len = from->last_len;
	if (arena_limit != 0 && arena_limit < to->arena.used_bytes)
		arena_limit = to->arena.used_bytes;
	to->arena.limit_bytes = arena_limit;
	to->text.limit = text_limit;
	batch_init(from, from->arena.limit_bytes);
}

void
batch_set_unordered(struct batch *b)
{
	b->unordered = true;
}

void
batch_alloc_err(const struct batch *b, size_t size, struct err *err)
{
	const struct arena *a = &b->arena;
	size_t overhead = 32; /* of a chunk, and for alignment; at least */

	if (a->limit_bytes == 0 || a->limit_bytes >= a->used_bytes + size + overhead)
		err_nomem(err);
	else
		err_set(err, ERR_LIMIT,
		    "metrics need more than %zu bytes besides their text; raise "
		    "collection.maxResponse",
		    a->limit_bytes);
}

static void *
alloc(struct batch *b, size_t size, struct err *err)
{
	void *p = arena_alloc(&b->arena, size);

	if (p == NULL)
		batch_alloc_err(b, size, err);
	return p;
}

/* A whole number of characters from the start of path. */
static struct str
shown(struct str path)
{
	size_t most = path.len < SHOWN_PATH_BYTES ? path.len : SHOWN_PATH_BYTES;

	return str_sub(path, 0, utf8_valid_prefix(path.p, most));
}

__attribute__((format(printf, 2, 0))) static void
count_bad(struct batch *b, const char *fmt, va_list args)
{
	int n;

	if (b->bad_count++ > 0)
		return;
	n = vsnprintf(b->bad_text, sizeof(b->bad_text), fmt, args);
	if (n >= (int)sizeof(b->bad_text))
		b->bad_text[utf8_valid_prefix(b->bad_text, sizeof(b->bad_text) - 1)] = '\0';
}

__attribute__((format(printf, 2, 3))) static void
bad(struct batch *b, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	count_bad(b, fmt, args);
	va_end(args);
}

static void
bad_path(struct batch *b, const char *what, struct str path)
{
	path = shown(path);
	bad(b, "%s: %.*s", what, STR_ARG(path));
}

void
batch_bad(struct batch *b, struct str path, const char *fmt, ...)
{
	char why[sizeof(b->bad_text)] = "";
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, sizeof(why), fmt, args);
	va_end(args);
	path = shown(path);
	bad(b, "%.*s: %s", STR_ARG(path), why);
}

static size_t
power_of_two_from(size_t n)
{
	size_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

/*
 * To begin with, as much as the last poll took, so far as memory at hand reaches: batches go from
 * one endpoint to the next, and a small one after a big one shall not pay for it.
 */
static size_t
first_room(const struct batch *b)
{
	size_t at_hand = (size_t)(b->arena.end - b->arena.next) / METRIC_BYTES;
	size_t room = b->last_len < at_hand ? b->last_len : at_hand;

	return room < FIRST_ROOM ? FIRST_ROOM : room;
}

static void
use_arrays(struct batch *b, char *block, size_t room)
{
	struct batch_index *ix = b->index;
	struct batch_index old = *ix;

	ix->room = room;
	ix->desc = (struct metric_desc *)(void *)block;
	ix->value = (struct value *)(void *)(ix->desc + room);
	ix->group = (int64_t *)(void *)(ix->value + room);
	ix->ts = ix->group + room;
	if (b->len > 0) {
		memcpy(ix->desc, old.desc, b->len * sizeof(*ix->desc));
		memcpy(ix->value, old.value, b->len * sizeof(*ix->value));
		memcpy(ix->group, old.group, b->len * sizeof(*ix->group));
		memcpy(ix->ts, old.ts, b->len * sizeof(*ix->ts));
	}
	b->desc = ix->desc;
	b->value = ix->value;
	b->group = ix->group;
	b->ts = ix->ts;
}

static void
use_seen(struct batch_index *ix, struct seen *slots, size_t cap)
{
	memset(slots, 0, cap * sizeof(*slots));
	for (size_t i = 0; i < ix->seen_cap; i++) {
		size_t at = ix->seen[i].hash & (cap - 1);

		if (ix->seen[i].place == 0)
			continue;
		while (slots[at].place != 0)
			at = (at + 1) & (cap - 1);
		slots[at] = ix->seen[i];
	}
	ix->seen = slots;
	ix->seen_cap = cap;
}

static int
begin(struct batch *b, struct err *err)
{
	struct batch_index *ix = alloc(b, sizeof(*ix), err);

	if (ix == NULL)
		return -1;
	*ix = (struct batch_index){ .room = 0 };
	b->index = ix;
	return 0;
}

/* Makes room for one more. What was outgrown stays in the arena: no more than what is in use. */
static int
make_room(struct batch *b, struct err *err)
{
	size_t room, cap;
	struct seen *slots;
	char *block;

	if (b->index == NULL && begin(b, err) != 0)
		return -1;
	assert(b->len <= b->index->room); /* arrays that were adopted have no room of ours */
	if (b->len < b->index->room)
		return 0;
	room = b->index->room == 0 ? first_room(b) : b->index->room * 2;
	assert(room < UINT32_MAX / 2);
	cap = power_of_two_from(2 * room);
	block = alloc(b, room * ARRAYS_BYTES, err);
	if (block == NULL)
		return -1;
	slots = alloc(b, cap * sizeof(*slots), err);
	if (slots == NULL)
		return -1;
	use_arrays(b, block, room);
	use_seen(b->index, slots, cap);
	return 0;
}

/* '/', then components that are not empty, with a '/' between each two. */
static bool
path_is_sound(struct str path)
{
	const char *p = path.p, *end;

	if (path.len < 2 || path.len > PATH_MOST_BYTES || *p != '/')
		return false;
	end = p + path.len;
	while (p != NULL) {
		p++;
		if (p == end || *p == '/')
			return false;
		p = memchr(p, '/', (size_t)(end - p));
	}
	return true;
}

static bool
limits_rise(const struct metric_desc *desc)
{
	for (size_t i = 0; i < desc->limit_count; i++) {
		if (!isfinite(desc->limits[i]) || (i > 0 && desc->limits[i] <= desc->limits[i - 1]))
			return false;
	}
	return true;
}

static bool
value_is_sound(struct batch *b, const struct metric_desc *desc, const struct value *value)
{
	if (desc->kind == KIND_NONE) {
		bad_path(b, "Unknown kind", desc->path);
		return false;
	}
	if (desc->kind == KIND_LIST &&
	    (desc->sub_kind == KIND_NONE || desc->sub_kind == KIND_LIST ||
	        desc->sub_kind == KIND_DIST)) {
		bad_path(b, "Bad list", desc->path);
		return false;
	}
	if (desc->kind == KIND_DIST &&
	    (value->dist == NULL || value->dist->len != desc->limit_count + 1 ||
	        !limits_rise(desc))) {
		bad_path(b, "Bad distribution", desc->path);
		return false;
	}
	return true;
}

static bool
is_in_order(struct batch *b, struct str path)
{
	struct str before = b->index->path_before;

	b->index->path_before = path;
	if (b->unordered || path_cmp_components(before, path) <= 0)
		return true;
	path = shown(path);
	before = shown(before);
	bad(b, "Paths not sorted: '%.*s' should come before '%.*s'", STR_ARG(path),
	    STR_ARG(before));
	return false;
}

static uint32_t
path_and_tags_hash(const struct metric_desc *desc)
{
	uint64_t hash = hash_bytes(desc->path);

	for (size_t i = 0; i < desc->tag_count; i++) {
		hash = hash_mix(hash, hash_bytes(desc->tags[i].key));
		hash = hash_mix(hash, hash_bytes(desc->tags[i].value));
	}
	return (uint32_t)hash;
}

/* The slot of desc's path and tags, or the free one where they go. */
static struct seen *
seen_find(const struct batch_index *ix, const struct metric_desc *desc, uint32_t hash)
{
	for (size_t at = hash & (ix->seen_cap - 1);; at = (at + 1) & (ix->seen_cap - 1)) {
		struct seen *slot = &ix->seen[at];

		if (slot->place == 0 ||
		    (slot->hash == hash && desc_cmp(&ix->desc[slot->place - 1], desc) == 0))
			return slot;
	}
}

/* The group's slot, or the free one where it goes. */
static struct stamp *
stamp_find(const struct batch_index *ix, int64_t group)
{
	size_t at = hash_bytes((struct str){ (const char *)&group, sizeof(group) });

	while (ix->stamps[at & (ix->stamp_cap - 1)].ts != TS_NONE &&
	       ix->stamps[at & (ix->stamp_cap - 1)].group != group)
		at++;
	return &ix->stamps[at & (ix->stamp_cap - 1)];
}

static int
stamps_make_room(struct batch *b, struct err *err)
{
	struct batch_index *ix = b->index;
	size_t cap = ix->stamp_cap == 0 ? FIRST_STAMPS : ix->stamp_cap * 2;
	struct batch_index old = *ix;
	struct stamp *slots;

	if (ix->stamp_len < ix->stamp_cap / 2)
		return 0;
	slots = alloc(b, cap * sizeof(*slots), err);
	if (slots == NULL)
		return -1;
	for (size_t i = 0; i < cap; i++)
		slots[i] = (struct stamp){ .ts = TS_NONE };
	ix->stamps = slots;
	ix->stamp_cap = cap;
	ix->last_stamp = NULL;
	for (size_t i = 0; i < old.stamp_cap; i++) {
		if (old.stamps[i].ts != TS_NONE)
			*stamp_find(ix, old.stamps[i].group) = old.stamps[i];
	}
	return 0;
}

/*
 * The group's slot with ts in it: the group's own, or the given one if it has none yet. NULL
 * without memory. ts is not TS_NONE.
 */
static const struct stamp *
stamp_take(struct batch *b, int64_t group, int64_t ts, struct err *err)
{
	struct batch_index *ix = b->index;
	struct stamp *slot = ix->last_stamp;

	if (slot != NULL && slot->group == group)
		return slot;
	if (stamps_make_room(b, err) != 0)
		return NULL;
	slot = stamp_find(ix, group);
	if (slot->ts == TS_NONE) {
		*slot = (struct stamp){ .group = group, .ts = ts };
		ix->stamp_len++;
	}
	ix->last_stamp = slot;
	return slot;
}

static void
bad_stamp(struct batch *b, struct str path, const struct stamp *first, int64_t ts)
{
	char texts[2][NUMBER_BYTES];
	size_t len[2] = { number_time(texts[0], first->ts, 1), number_time(texts[1], ts, 1) };

	path = shown(path);
	bad(b, "Conflicting timestamps for group %" PRId64 ": %.*s and %.*s; %.*s", first->group,
	    (int)len[0], texts[0], (int)len[1], texts[1], STR_ARG(path));
}

int
batch_add(struct batch *b, const struct metric_desc *desc, const struct value *value, int64_t group,
    int64_t ts_ns, struct err *err)
{
	struct batch_index *ix;
	struct seen *slot;
	uint32_t hash;

	if (make_room(b, err) != 0)
		return -1;
	ix = b->index;
	if (!path_is_sound(desc->path)) {
		bad_path(b, "Bad path", desc->path);
		return 0;
	}
	if (!is_in_order(b, desc->path) || !value_is_sound(b, desc, value))
		return 0;
	hash = path_and_tags_hash(desc);
	slot = seen_find(ix, desc, hash);
	if (slot->place != 0) {
		bad_path(b, "Duplicate path", desc->path);
		return 0;
	}
	if (ts_ns != TS_NONE) {
		const struct stamp *stamp = stamp_take(b, group, ts_ns, err);

		if (stamp == NULL)
			return -1;
		if (stamp->ts != ts_ns) {
			bad_stamp(b, desc->path, stamp, ts_ns);
			return 0;
		}
	}
	ix->desc[b->len] = *desc;
	ix->value[b->len] = *value;
	ix->group[b->len] = group;
	ix->ts[b->len] = ts_ns;
	*slot = (struct seen){ .hash = hash, .place = (uint32_t)++b->len };
	return 0;
}

uint64_t
batch_layout_next_id(void)
{
	static atomic_uint_fast64_t last_id;

	return atomic_fetch_add(&last_id, 1) + 1;
}

void
batch_hold(struct batch *b, struct batch_layout *layout)
{
	assert(b->layout == NULL);
	b->layout = layout;
}

int
batch_adopt(struct batch *b, const struct metric_desc *desc, const int64_t *group,
    const struct value *value, int64_t *ts, struct err *err)
{
	assert(b->layout != NULL && b->len == 0 && b->bad_count == 0);
	if (b->index == NULL && begin(b, err) != 0)
		return -1;
	b->index->ts = ts;
	b->desc = desc;
	b->group = group;
	b->value = value;
	b->ts = ts;
	b->len = b->layout->len;
	b->layout_id = b->layout->id;
	return 0;
}

void
batch_end(struct batch *b, int64_t now_ns)
{
	for (size_t i = 0; i < b->len; i++) {
		struct batch_index *ix = b->index;
		int64_t *ts = &ix->ts[i];

		if (*ts == TS_NONE && ix->stamp_cap > 0)
			*ts = stamp_find(ix, ix->group[i])->ts;
		if (*ts == TS_NONE)
			*ts = now_ns;
	}
}
