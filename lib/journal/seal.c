/*
 * Making a sealed file.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crash.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "journal/sealed_priv.h"
#include "messages/metric.h"
#include "store/redo_skim.h"

/* ".new" of a name behind it. */
#define NEW_NAME_BYTES (SEGMENT_NAME_BYTES + 4)

/*
 * Bytes of a chunk, before compression, save what a record has more. That is what has to be
 * unpacked to read one small set; four times as much would save less than 1% of the disk.
 */
#define CHUNK_BYTES ((size_t)64 * 1024)

/* What one set told; or what is not of one set. */
struct part {
	uint64_t number; /* of the set, in the segment */
	uint64_t hash;
	int64_t birth_ns, whole_ns;
	struct buf records;   /* that are not in a chunk yet */
	uint64_t least, most; /* of metas or schemas: their numbers in records */
};

struct schema_streams {
	uint64_t number;
	uint32_t stream_count;
};

struct sealing {
	const struct seal_conf *conf;
	struct segment_reader in;
	struct segment_writer out;
	struct map parts;    /* by the set's number */
	struct map streams;  /* struct schema_streams, by number */
	struct part **order; /* the parts as they came */
	size_t part_count, part_cap;
	struct part metas, schemas, forgets;
	struct buf chunk; /* the one that is being filled */
	size_t band_bytes;
	struct sealed_entry *entries;
	size_t entry_count, entry_cap;
};

static struct str
key_of(const uint64_t *number)
{
	return (struct str){ (const char *)number, sizeof(*number) };
}

uint64_t
sealed_hash(struct str host, struct str app)
{
	uint64_t hash = hash_mix(hash_stable(host), hash_stable(app));

	return hash == 0 ? 1 : hash;
}

/* Makes room for one more. */
static bool
grow(void **items, size_t len, size_t *cap, size_t item_bytes)
{
	size_t more = *cap == 0 ? 64 : *cap * 2;
	void *grown;

	if (len < *cap)
		return true;
	grown = realloc(*items, more * item_bytes);
	if (grown == NULL)
		return false;
	*items = grown;
	*cap = more;
	return true;
}

/* Sorting out. All return -1 with ERR_NOMEM. */

static int
nomem(struct err *err)
{
	err_nomem(err);
	return -1;
}

static int
note_schema(struct sealing *s, const struct redo_skimmed *record, struct err *err)
{
	struct schema_streams *known;

	if (map_get(&s->streams, key_of(&record->number)) != NULL)
		return 0;
	known = malloc(sizeof(*known));
	if (known == NULL)
		return nomem(err);
	*known = (struct schema_streams){ record->number, record->stream_count };
	if (map_put(&s->streams, key_of(&known->number), known) == 0)
		return 0;
	free(known);
	return nomem(err);
}

static struct part *
add_part(struct sealing *s, const struct redo_skimmed *record, struct err *err)
{
	const struct schema_streams *schema = map_get(&s->streams, key_of(&record->schema));
	struct part *part = calloc(1, sizeof(*part));

	if (part == NULL)
		goto nomem;
	part->number = record->number;
	part->hash = sealed_hash(record->host, record->app);
	part->birth_ns = record->birth_ns;
	if (!redo_skim_whole(record, schema == NULL ? 0 : schema->stream_count, &part->whole_ns))
		part->whole_ns = INT64_MAX;
	buf_init(&part->records, 0);
	if (!grow((void **)&s->order, s->part_count, &s->part_cap, sizeof(struct part *)) ||
	    map_put(&s->parts, key_of(&part->number), part) != 0)
		goto nomem;
	s->order[s->part_count++] = part;
	return part;
nomem:
	free(part);
	err_nomem(err);
	return NULL;
}

/* Which part the record goes to, in *part; NULL: it is not needed. */
static int
find_part(struct sealing *s, const struct redo_skimmed *record, struct part **part, struct err *err)
{
	*part = NULL;
	switch (record->about) {
	case REDO_ABOUT_SCHEMA:
		*part = &s->schemas;
		return note_schema(s, record, err);
	case REDO_ABOUT_META:
		*part = &s->metas;
		return 0;
	case REDO_ABOUT_FORGET:
		*part = &s->forgets;
		return 0;
	case REDO_ABOUT_STATE:
		*part = map_get(&s->parts, key_of(&record->number));
		if (*part == NULL)
			*part = add_part(s, record, err);
		return *part == NULL ? -1 : 0;
	case REDO_ABOUT_POLL:
		*part = map_get(&s->parts, key_of(&record->number));
		return 0;
	case REDO_ABOUT_GONE:
		return 0;
	}
	return 0;
}

/* Chunks. */

static int
write_chunk(struct sealing *s, struct err *err)
{
	if (s->chunk.len > 0 && segment_append(&s->out, s->chunk.p, s->chunk.len, err) != 0)
		return -1;
	buf_clear(&s->chunk);
	return 0;
}

static struct sealed_entry
entry_of(const struct sealing *s, const struct part *part)
{
	uint64_t more = part->most - part->least;
	struct sealed_entry entry = {
		.hash = part->hash,
		.birth_ns = part->birth_ns,
		.offset = s->out.bytes,
		.content_bytes = (uint32_t)part->records.len,
	};

	if (part == &s->metas || part == &s->schemas) {
		entry.least_number = part->least;
		entry.more_numbers = more < UINT32_MAX ? (uint32_t)more : UINT32_MAX;
	} else {
		entry.whole_ns = part->whole_ns;
		entry.at = (uint32_t)s->chunk.len;
	}
	return entry;
}

/* To the chunk being filled, or the next one if there is no more room. */
static int
put_part(struct sealing *s, struct part *part, struct err *err)
{
	struct buf *records = &part->records;

	if (records->len == 0)
		return 0;
	if (s->chunk.len + records->len > CHUNK_BYTES && write_chunk(s, err) != 0)
		return -1;
	if (!grow((void **)&s->entries, s->entry_count, &s->entry_cap, sizeof(*s->entries)))
		return nomem(err);
	s->entries[s->entry_count++] = entry_of(s, part);
	buf_add(&s->chunk, records->p, records->len);
	if (s->chunk.failed)
		return nomem(err);
	s->band_bytes -= records->len;
	buf_fini(records);
	buf_init(records, 0);
	return 0;
}

/* In a chunk of its own. */
static int
write_part(struct sealing *s, struct part *part, struct err *err)
{
	assert(s->chunk.len == 0);
	return put_part(s, part, err) == 0 && write_chunk(s, err) == 0 ? 0 : -1;
}

/* A part that is large, and before it what it needs. */
static int
write_large(struct sealing *s, struct part *part, struct err *err)
{
	if (write_part(s, &s->metas, err) != 0)
		return -1;
	if (part != &s->metas && write_part(s, &s->schemas, err) != 0)
		return -1;
	return write_part(s, part, err);
}

static int
write_band(struct sealing *s, struct err *err)
{
	if (write_large(s, &s->schemas, err) != 0)
		return -1;
	for (size_t i = 0; i < s->part_count; i++) {
		if (put_part(s, s->order[i], err) != 0)
			return -1;
	}
	return write_chunk(s, err);
}

/* Sorts out a chunk. ERR_PROTO: from somewhere on it makes no sense. */

static int
add_record(struct sealing *s, struct part *part, const struct redo_skimmed *record, struct err *err)
{
	if (part->records.len == 0 || part->least > record->number)
		part->least = record->number;
	if (part->records.len == 0 || part->most < record->number)
		part->most = record->number;
	buf_add(&part->records, record->p, record->bytes);
	if (part->records.failed)
		return nomem(err);
	s->band_bytes += record->bytes;
	/* Those come last. */
	if (part->records.len < CHUNK_BYTES || part == &s->forgets)
		return 0;
	return write_large(s, part, err);
}

static int
sort_chunk(struct sealing *s, struct err *err)
{
	const struct buf *content = &s->in.content;
	struct redo_skimmed record;
	struct part *part;

	for (size_t at = 0; at < content->len; at += record.bytes) {
		if (!redo_skim(content->p + at, content->len - at, &record)) {
			segment_damaged(&s->in, "a record makes no sense", err);
			return -1;
		}
		if (find_part(s, &record, &part, err) != 0)
			return -1;
		if (part != NULL && add_record(s, part, &record, err) != 0)
			return -1;
	}
	return 0;
}

/* The whole. */

static int
by_set(const void *a, const void *b)
{
	const struct sealed_entry *x = a, *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	if (x->birth_ns != y->birth_ns)
		return x->birth_ns < y->birth_ns ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return (x->at > y->at) - (x->at < y->at);
}

static int
write_index(struct sealing *s, int64_t written_ns, struct err *err)
{
	struct sealed_foot foot = { .index_at = s->out.bytes,
		.entry_count = s->entry_count,
		.begun_ns = s->in.begun_ns,
		.written_ns = written_ns };
	size_t bytes = s->entry_count * sizeof(*s->entries);

	memcpy(foot.magic, "scottySI", sizeof(foot.magic));
	qsort(s->entries, s->entry_count, sizeof(*s->entries), by_set);
	foot.index_crc = crc32c(0, s->entries, bytes);
	foot.crc = crc32c(0, &foot, offsetof(struct sealed_foot, crc));
	if (segment_add_raw(&s->out, s->entries, bytes, err) != 0 ||
	    segment_add_raw(&s->out, &foot, sizeof(foot), err) != 0)
		return -1;
	CRASH_POINT("sealed");
	return segment_sync(&s->out, err);
}

static bool
is_stopping(const struct sealing *s, struct err *err)
{
	if (s->conf->stopping == NULL || !*s->conf->stopping)
		return false;
	err_set(err, ERR_LIMIT, "stopping");
	return true;
}

/* All chunks of the segment. */
static int
sort_segment(struct sealing *s, struct seal_result *result, struct err *err)
{
	enum segment_found found;

	result->good_bytes = s->in.good_bytes;
	while ((found = segment_next(&s->in, err)) == SEGMENT_CHUNK) {
		if (is_stopping(s, err))
			return -1;
		if (sort_chunk(s, err) != 0) {
			if (err->code != ERR_PROTO)
				return -1;
			found = SEGMENT_DAMAGED;
			break;
		}
		result->good_bytes = s->in.good_bytes;
		if (s->band_bytes >= s->conf->band_bytes && write_band(s, err) != 0)
			return -1;
	}
	result->is_damaged = found == SEGMENT_DAMAGED;
	result->is_unreadable = found == SEGMENT_FAILED;
	if (found == SEGMENT_FAILED || write_band(s, err) != 0)
		return -1;
	return write_part(s, &s->forgets, err);
}

static void
sealing_fini(struct sealing *s)
{
	const struct map_entry *entry;

	for (size_t i = 0; i < s->part_count; i++) {
		buf_fini(&s->order[i]->records);
		free(s->order[i]);
	}
	for (size_t pos = 0; (entry = map_next(&s->streams, &pos)) != NULL;)
		free(entry->value);
	map_fini(&s->parts);
	map_fini(&s->streams);
	buf_fini(&s->metas.records);
	buf_fini(&s->schemas.records);
	buf_fini(&s->forgets.records);
	buf_fini(&s->chunk);
	free(s->order);
	free(s->entries);
	segment_reader_close(&s->in);
	segment_writer_fini(&s->out);
	/* A band is many small pieces of this thread's own heap, which would keep them. */
	malloc_trim(0);
}

/* To its name, durably. */
static int
publish(struct sealing *s, const char *new_name, const char *name, struct err *err)
{
	int fd = s->conf->history_fd;

	if (renameat(fd, new_name, fd, name) == 0) {
		CRASH_POINT("sealed file renamed");
		if (fsync(fd) == 0)
			return 0;
	}
	err_errno(err, errno, "put history/%s", name);
	return -1;
}

static int
seal(struct sealing *s, const char *new_name, const char *name, int64_t written_ns,
    struct seal_result *result, struct err *err)
{
	/* What was left of an attempt before. */
	if (unlinkat(s->conf->history_fd, new_name, 0) != 0 && errno != ENOENT) {
		err_errno(err, errno, "delete history/%s", new_name);
		return -1;
	}
	if (segment_create(&s->out, s->conf->history_fd, SEGMENT_SEALED, new_name, s->in.number,
	        s->in.begun_ns, err) != 0 ||
	    sort_segment(s, result, err) != 0)
		return -1;
	if (s->entry_count == 0)
		return 0;
	if (write_index(s, written_ns, err) != 0 || publish(s, new_name, name, err) != 0)
		return -1;
	result->bytes = s->out.bytes;
	return 0;
}

int
seal_segment(const struct seal_conf *conf, uint64_t number, int64_t written_ns,
    struct seal_result *result, struct err *err)
{
	struct sealing s = { .conf = conf,
		.metas = { .birth_ns = SEALED_METAS },
		.schemas = { .birth_ns = SEALED_SCHEMAS },
		.forgets = { .birth_ns = SEALED_FORGETS, .whole_ns = TS_NONE } };
	char from[SEGMENT_NAME_BYTES], name[SEGMENT_NAME_BYTES], new_name[NEW_NAME_BYTES];
	enum segment_found found;
	int rc = -1;

	*result = (struct seal_result){ 0 };
	segment_name(from, SEGMENT_JOURNAL, number);
	segment_name(name, SEGMENT_SEALED, number);
	snprintf(new_name, sizeof(new_name), "%s.new", name);
	segment_writer_init(&s.out);
	map_init(&s.parts);
	map_init(&s.streams);
	found = segment_open(&s.in, conf->journal_fd, from, err);
	if (found == SEGMENT_CHUNK)
		rc = seal(&s, new_name, name, written_ns, result, err);
	result->is_damaged |= found == SEGMENT_DAMAGED;
	result->is_unreadable |= found == SEGMENT_FAILED;
	if (found == SEGMENT_DAMAGED)
		rc = 0;
	if (rc != 0 || result->bytes == 0)
		unlinkat(conf->history_fd, new_name, 0);
	sealing_fini(&s);
	return rc;
}
