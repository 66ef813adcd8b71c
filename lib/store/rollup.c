#include "store/rollup.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "store/frame_priv.h"
#include "store/meta_priv.h"

/* Records read from the inner cursor at once. */
#define CHUNK 64
/* A series without records for that many spans has ended. */
#define IDLE_SPANS 2

/* A stream of an endpoint with frames in the making. */
struct origin {
	struct str key; /* host, NUL, application, stream; leads into this block, as the next two */
	struct str host, app;
	uint32_t stream;
	size_t refs;
	struct part *parts;
	/*
	 * Name of the oldest frame that was open at the last commit, and in how many parts; 0: that
	 * is to be looked up.
	 */
	int64_t oldest_ns;
	size_t oldest_count;
	char text[];
};

/* What part is found by: bytes of the map's key. */
struct part_key {
	struct origin *origin;
	struct meta *meta; /* of the series */
};

/* A series with a frame in the making. */
struct part {
	struct part_key key;
	struct meta *result;           /* of the records given out; a reference of its own */
	struct frame frame, committed; /* as it is, as it was at the last commit */
	int64_t touched_ns;            /* when its last record was read */
	struct part *newer, *older;    /* by that time */
	struct part *next_touched;     /* since the last commit */
	bool touched;
	bool idle; /* touched because nothing came */
	struct part *next_in_origin, *prev_in_origin;
};

struct rollup {
	struct store *store;
	struct cursor *cursor;
	int64_t span_ns;
	enum rollup_fn fn;

	struct map origins, parts;
	struct part *oldest, *newest;
	struct part *touched;
	struct kept *given;   /* values of the records of the last read */
	uint64_t given_count; /* records since the last commit */
	struct buf key;       /* of an origin looked for */

	/* The part of the last record, NULL at first and after a commit or rewind. */
	struct part *last;
	struct cursor_record last_record;
	struct cursor_record in[CHUNK];
};

/* What positions that are kept must not lie between: see struct cursor_frames. */

/* Name of the oldest frame that was open at the last commit; TS_NONE: none was. */
static int64_t
oldest_open_ns(struct origin *origin)
{
	if (origin->oldest_count > 0)
		return origin->oldest_ns;
	origin->oldest_ns = TS_NONE;
	for (const struct part *p = origin->parts; p != NULL; p = p->next_in_origin) {
		int64_t name_ns = p->committed.name_ns;

		if (name_ns == TS_NONE)
			continue;
		if (origin->oldest_count == 0 || name_ns < origin->oldest_ns) {
			origin->oldest_ns = name_ns;
			origin->oldest_count = 0;
		}
		origin->oldest_count += name_ns == origin->oldest_ns;
	}
	return origin->oldest_ns;
}

/* A part's frame at the last commit was that of the one name, and is that of the other. */
static void
note_committed(struct origin *origin, int64_t old_ns, int64_t new_ns)
{
	if (origin->oldest_count == 0 || old_ns == new_ns)
		return;
	if (new_ns != TS_NONE && new_ns < origin->oldest_ns) {
		origin->oldest_ns = new_ns;
		origin->oldest_count = 1;
		return;
	}
	origin->oldest_count += new_ns == origin->oldest_ns;
	origin->oldest_count -= old_ns == origin->oldest_ns;
}

/* HOST NUL APP STREAM in r->key; false: out of memory. */
static bool
put_key(struct rollup *r, struct str host, struct str app, uint32_t stream)
{
	buf_clear(&r->key);
	buf_str(&r->key, host);
	buf_putc(&r->key, '\0');
	buf_str(&r->key, app);
	buf_str(&r->key, (struct str){ (const char *)&stream, sizeof(stream) });
	return !r->key.failed;
}

static int64_t
begin_ns(void *ctx, int64_t ts_ns)
{
	const struct rollup *r = ctx;

	return frame_begin_ns(frame_name_ns(ts_ns, r->span_ns), r->span_ns);
}

static int64_t
oldest_ns(void *ctx, const struct cursor_position *pos, int64_t row_ns)
{
	struct rollup *r = ctx;
	struct origin *origin = NULL;
	int64_t name_ns = TS_NONE, from_ns = INT64_MAX;

	/* Without memory all of it is made again. */
	if (!put_key(r, pos->host, pos->app, pos->stream))
		return TS_NONE + 1;
	origin = map_get(&r->origins, buf_view(&r->key));
	if (origin != NULL)
		name_ns = oldest_open_ns(origin);
	if (name_ns != TS_NONE)
		from_ns = frame_begin_ns(name_ns, r->span_ns);
	if (row_ns != TS_NONE && begin_ns(r, row_ns) < from_ns)
		from_ns = begin_ns(r, row_ns);
	return from_ns;
}

struct rollup *
rollup_new(
    struct store *store, struct cursor *cursor, int64_t span_ns, enum rollup_fn fn, struct err *err)
{
	struct rollup *r = calloc(1, sizeof(*r));

	assert(span_ns > 0);
	if (r == NULL) {
		err_nomem(err);
		return NULL;
	}
	r->store = store;
	r->cursor = cursor;
	r->span_ns = span_ns;
	r->fn = fn;
	map_init(&r->origins);
	map_init(&r->parts);
	buf_init(&r->key, 0);
	cursor_set_frames(cursor, &(struct cursor_frames){ oldest_ns, begin_ns, r });
	return r;
}

static void
origin_unref(struct rollup *r, struct origin *origin)
{
	if (origin == NULL || --origin->refs > 0)
		return;
	map_del(&r->origins, origin->key);
	free(origin);
}

static struct origin *
origin_new(struct rollup *r, const struct cursor_record *record, struct err *err)
{
	struct origin *origin = malloc(sizeof(*origin) + r->key.len);

	if (origin == NULL)
		goto nomem;
	memcpy(origin->text, r->key.p, r->key.len);
	origin->key = (struct str){ origin->text, r->key.len };
	origin->host = str_sub(origin->key, 0, record->host.len);
	origin->app = str_sub(origin->key, record->host.len + 1, record->app.len);
	origin->stream = record->stream;
	origin->refs = 1;
	origin->parts = NULL;
	origin->oldest_count = 0;
	if (map_put(&r->origins, origin->key, origin) == 0)
		return origin;
nomem:
	free(origin);
	err_nomem(err);
	return NULL;
}

/* The record's stream, with a reference. NULL with ERR_NOMEM. */
static struct origin *
origin_get(struct rollup *r, const struct cursor_record *record, struct err *err)
{
	struct origin *origin;

	if (!put_key(r, record->host, record->app, record->stream)) {
		err_nomem(err);
		return NULL;
	}
	origin = map_get(&r->origins, buf_view(&r->key));
	if (origin == NULL)
		return origin_new(r, record, err);
	origin->refs++;
	return origin;
}

static struct str
part_key(const struct part_key *key)
{
	return (struct str){ (const char *)key, sizeof(*key) };
}

static void
list_remove(struct rollup *r, struct part *part)
{
	*(part->older != NULL ? &part->older->newer : &r->oldest) = part->newer;
	*(part->newer != NULL ? &part->newer->older : &r->newest) = part->older;
}

static void
list_add(struct rollup *r, struct part *part)
{
	part->older = r->newest;
	part->newer = NULL;
	*(r->newest != NULL ? &r->newest->newer : &r->oldest) = part;
	r->newest = part;
}

/* One that is not, or no longer, in the list by time. */
static void
part_free(struct rollup *r, struct part *part)
{
	enum kind kind = part->key.meta->desc.kind;
	struct origin *origin = part->key.origin;

	note_committed(origin, part->committed.name_ns, TS_NONE);
	*(part->prev_in_origin != NULL ? &part->prev_in_origin->next_in_origin : &origin->parts) =
	    part->next_in_origin;
	if (part->next_in_origin != NULL)
		part->next_in_origin->prev_in_origin = part->prev_in_origin;
	map_del(&r->parts, part_key(&part->key));
	frame_clear(&part->frame, r->fn, kind);
	frame_clear(&part->committed, r->fn, kind);
	meta_unref(r->store, part->result);
	meta_unref(r->store, part->key.meta);
	origin_unref(r, origin);
	free(part);
}

/* What records of the part are described by, with a reference. NULL with ERR_NOMEM, ERR_LIMIT. */
static struct meta *
result_meta(struct rollup *r, const struct metric_desc *desc, struct err *err)
{
	struct metric_desc result = *desc;
	enum kind kind = frame_kind(r->fn, desc->kind);

	if (kind != KIND_NONE)
		result.kind = kind;
	if (r->fn == ROLLUP_COUNT) {
		result.unit = STR(UNIT_NONE);
		result.sub_kind = KIND_NONE;
		result.limits = NULL;
		result.limit_count = 0;
		result.not_cumulative = false;
	}
	return meta_intern(r->store, &result, desc_hash(&result), err);
}

/* Takes the references in key unless it fails. */
static struct part *
part_new(struct rollup *r, const struct part_key *key, struct err *err)
{
	struct part *part = calloc(1, sizeof(*part));

	if (part == NULL) {
		err_nomem(err);
		return NULL;
	}
	part->key = *key;
	part->frame.name_ns = part->committed.name_ns = TS_NONE;
	part->result = result_meta(r, &key->meta->desc, err);
	if (part->result == NULL) {
		free(part);
		return NULL;
	}
	if (map_put(&r->parts, part_key(&part->key), part) != 0) {
		meta_unref(r->store, part->result);
		free(part);
		err_nomem(err);
		return NULL;
	}
	list_add(r, part);
	part->next_in_origin = key->origin->parts;
	if (part->next_in_origin != NULL)
		part->next_in_origin->prev_in_origin = part;
	key->origin->parts = part;
	return part;
}

/* The part of the record's series, made if need be. NULL with ERR_NOMEM, ERR_LIMIT. */
static struct part *
part_find(struct rollup *r, const struct cursor_record *record, struct err *err)
{
	const struct metric_desc *desc = record->record.desc;
	struct part_key key = { NULL, NULL };
	struct part *part = NULL;

	key.origin = origin_get(r, record, err);
	if (key.origin != NULL)
		key.meta = meta_intern(r->store, desc, desc_hash(desc), err);
	if (key.meta == NULL)
		goto out;
	part = map_get(&r->parts, part_key(&key));
	if (part == NULL) {
		part = part_new(r, &key, err);
		if (part != NULL)
			return part;
	}
out:
	meta_unref(r->store, key.meta);
	origin_unref(r, key.origin);
	return part;
}

/* As part_find; records of one series come in runs. */
static struct part *
part_get(struct rollup *r, const struct cursor_record *record, struct err *err)
{
	const struct cursor_record *last = &r->last_record;

	/* Between commits equal pointers are the same endpoint and series. */
	if (r->last == NULL || last->record.desc != record->record.desc ||
	    last->host.p != record->host.p || last->app.p != record->app.p) {
		r->last = part_find(r, record, err);
		r->last_record = *record;
	}
	return r->last;
}

/* Its frame may change from here on. */
static void
part_touch(struct rollup *r, struct part *part, int64_t now_ns)
{
	part->touched_ns = now_ns;
	list_remove(r, part);
	list_add(r, part);
	if (part->touched)
		return;
	part->touched = true;
	part->next_touched = r->touched;
	r->touched = part;
}

/* Makes a record of the part's frame, and closes it. */
static void
give(struct rollup *r, struct part *part, struct cursor_record *out)
{
	enum kind kind = part->key.meta->desc.kind;
	struct kept *kept;

	*out = (struct cursor_record){
		.host = part->key.origin->host,
		.app = part->key.origin->app,
		.record = { .desc = &part->result->desc,
		    .ts_ns = part->frame.name_ns,
		    .active = true },
	};
	out->record.value = frame_value(&part->frame, r->fn, kind, &kept);
	if (kept != NULL) {
		kept->next = r->given;
		r->given = kept;
	}
	frame_clear(&part->frame, r->fn, kind);
	r->given_count++;
}

/*
 * Adds one record to its series' frame; *n grows if that ended the frame before. -1 with ERR_NOMEM,
 * ERR_LIMIT.
 */
static int
add(struct rollup *r, const struct cursor_record *record, int64_t now_ns, struct cursor_record *out,
    size_t *n, struct err *err)
{
	int64_t name_ns = frame_name_ns(record->record.ts_ns, r->span_ns);
	struct part *part = part_get(r, record, err);

	if (part == NULL)
		return -1;
	part_touch(r, part, now_ns);
	if (frame_is_open(&part->frame) && part->frame.name_ns != name_ns)
		give(r, part, &out[(*n)++]);
	if (!record->record.active)
		return 0;
	if (!frame_is_open(&part->frame))
		frame_open(&part->frame, name_ns);
	return frame_add(&part->frame, r->fn, record->record.desc, &record->record.value, err);
}

/* Ends the frames of the series that have ended. Returns how many records that gave. */
static size_t
end_idle(struct rollup *r, int64_t now_ns, struct cursor_record *out, size_t max)
{
	size_t n = 0;

	while (n < max && r->oldest != NULL &&
	       (now_ns - r->oldest->touched_ns) / IDLE_SPANS >= r->span_ns) {
		struct part *part = r->oldest;

		part_touch(r, part, now_ns);
		part->idle = true;
		if (frame_is_open(&part->frame))
			give(r, part, &out[n++]);
	}
	return n;
}

static void
release_given(struct rollup *r)
{
	while (r->given != NULL) {
		struct kept *kept = r->given;

		r->given = kept->next;
		kept_unref(kept);
	}
}

int
rollup_read(struct rollup *r, int64_t now_ns, struct cursor_record *out, size_t max, size_t *n,
    struct err *err)
{
	size_t got, len = 0;

	release_given(r);
	do {
		/* A record ends one frame at most, so none is read that can't be dealt with. */
		got = cursor_read(r->cursor, r->in, max - len < CHUNK ? max - len : CHUNK);
		for (size_t i = 0; i < got; i++) {
			if (add(r, &r->in[i], now_ns, out, &len, err) != 0) {
				rollup_rewind(r);
				return -1;
			}
		}
	} while (got > 0 && len < max);
	/* What is waited for may go on with any of them. */
	if (!cursor_is_waiting(r->cursor))
		len += end_idle(r, now_ns, &out[len], max - len);
	/* Nobody commits when there was nothing, and the cursor would hold on to what it read. */
	if (r->given_count == 0)
		rollup_commit(r);
	*n = len;
	return 0;
}

/* Ends what began at the last commit: each part's frame stays as it is, or as it was then. */
static void
settle(struct rollup *r, bool keep)
{
	release_given(r);
	r->given_count = 0;
	r->last = NULL;
	while (r->touched != NULL) {
		struct part *part = r->touched;
		enum kind kind = part->key.meta->desc.kind;
		struct frame *from = keep ? &part->frame : &part->committed;
		struct frame *to = keep ? &part->committed : &part->frame;

		r->touched = part->next_touched;
		if (keep)
			note_committed(
			    part->key.origin, part->committed.name_ns, part->frame.name_ns);
		if (keep && part->idle) {
			const struct origin *origin = part->key.origin;

			cursor_touch(r->cursor, origin->host, origin->app, origin->stream);
		}
		part->touched = part->idle = false;
		frame_clear(to, r->fn, kind);
		frame_copy(to, from, r->fn, kind);
		if (!frame_is_open(to)) {
			list_remove(r, part);
			part_free(r, part);
		}
	}
}

void
rollup_commit(struct rollup *r)
{
	settle(r, true);
	cursor_commit(r->cursor);
}

void
rollup_rewind(struct rollup *r)
{
	settle(r, false);
	cursor_rewind(r->cursor);
}

uint64_t
rollup_missed_count(const struct rollup *r)
{
	return cursor_missed_count(r->cursor);
}

void
rollup_free(struct rollup *r)
{
	if (r == NULL)
		return;
	release_given(r);
	while (r->oldest != NULL) {
		struct part *part = r->oldest;

		list_remove(r, part);
		part_free(r, part);
	}
	map_fini(&r->parts);
	map_fini(&r->origins);
	buf_fini(&r->key);
	cursor_free(r->cursor);
	free(r);
}
