/*
 * Reading a sealed file.
 */
#include "journal/sealed_priv.h"

#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

static_assert(sizeof(struct sealed_entry) == SEALED_ENTRY_BYTES, "as described");
static_assert(sizeof(struct sealed_foot) == SEALED_FOOT_BYTES, "as described");

/* Entries read at a time. */
#define ENTRIES 256

enum segment_found
sealed_open(struct sealed_file *f, int history_fd, uint64_t number, struct err *err)
{
	struct segment_reader *r = &f->reader;
	struct sealed_foot *foot = &f->foot;
	char name[SEGMENT_NAME_BYTES];
	enum segment_found found;

	*foot = (struct sealed_foot){ .index_at = 0 };
	segment_name(name, SEGMENT_SEALED, number);
	found = segment_open(r, history_fd, name, err);
	if (found != SEGMENT_CHUNK)
		return found;
	if (r->bytes < SEGMENT_HEAD_BYTES + SEALED_FOOT_BYTES)
		return segment_damaged(r, "it is cut off", err);
	found = segment_read_at(r, r->bytes - sizeof(*foot), foot, sizeof(*foot), err);
	if (found != SEGMENT_CHUNK)
		return found;
	if (memcmp(foot->magic, "scottySI", sizeof(foot->magic)) != 0 ||
	    foot->crc != crc32c(0, foot, offsetof(struct sealed_foot, crc)))
		return segment_damaged(r, "its foot is no good", err);
	if (foot->index_at < SEGMENT_HEAD_BYTES || foot->index_at > r->bytes - sizeof(*foot) ||
	    foot->entry_count > r->bytes / SEALED_ENTRY_BYTES ||
	    foot->index_at + foot->entry_count * SEALED_ENTRY_BYTES != r->bytes - sizeof(*foot))
		return segment_damaged(r, "its foot makes no sense", err);
	r->bytes = foot->index_at;
	return SEGMENT_CHUNK;
}

void
sealed_close(struct sealed_file *f)
{
	segment_reader_close(&f->reader);
}

static enum segment_found
read_entries(const struct sealed_file *f, uint64_t at, struct sealed_entry *entries, size_t n,
    struct err *err)
{
	return segment_read_at(&f->reader, f->foot.index_at + at * SEALED_ENTRY_BYTES, entries,
	    n * sizeof(*entries), err);
}

/* What version 1 had in its place is not what it is now. */
static void
modernize(const struct sealed_file *f, struct sealed_entry *entry)
{
	if (f->reader.version >= 2)
		return;
	entry->at = 0;
	if (entry->birth_ns == SEALED_METAS) {
		entry->least_number = 0;
		entry->more_numbers = UINT32_MAX;
	}
}

uint64_t
sealed_most_number(const struct sealed_entry *entry)
{
	uint64_t most = entry->least_number + entry->more_numbers;

	return entry->more_numbers == UINT32_MAX || most < entry->least_number ? UINT64_MAX : most;
}

/* Order of the index. */
static int
compare(const struct sealed_entry *entry, uint64_t hash, int64_t birth_ns)
{
	if (entry->hash != hash)
		return entry->hash < hash ? -1 : 1;
	return (entry->birth_ns > birth_ns) - (entry->birth_ns < birth_ns);
}

static bool
is_sound(const struct sealed_file *f, const struct sealed_entry *entry)
{
	return entry->offset >= SEGMENT_HEAD_BYTES && entry->offset < f->foot.index_at;
}

enum segment_found
sealed_check_index(const struct sealed_file *f, struct err *err)
{
	struct sealed_entry entries[ENTRIES], before = { 0 };
	uint32_t crc = 0;

	for (uint64_t at = 0; at < f->foot.entry_count;) {
		uint64_t left = f->foot.entry_count - at;
		size_t n = left < ENTRIES ? (size_t)left : ENTRIES;
		enum segment_found found = read_entries(f, at, entries, n, err);

		if (found != SEGMENT_CHUNK)
			return found;
		crc = crc32c(crc, entries, n * sizeof(*entries));
		for (size_t i = 0; i < n; i++) {
			if (!is_sound(f, &entries[i]) ||
			    (at + i > 0 &&
			        compare(&before, entries[i].hash, entries[i].birth_ns) > 0))
				return segment_damaged(&f->reader, "its index makes no sense", err);
			before = entries[i];
		}
		at += n;
	}
	if (crc != f->foot.index_crc)
		return segment_damaged(&f->reader, "its index's checksum is wrong", err);
	return SEGMENT_CHUNK;
}

/* The first entry not before that set's. */
static enum segment_found
find_first(
    const struct sealed_file *f, uint64_t hash, int64_t birth_ns, uint64_t *first, struct err *err)
{
	uint64_t low = 0, high = f->foot.entry_count;

	while (low < high) {
		uint64_t mid = low + (high - low) / 2;
		struct sealed_entry entry;
		enum segment_found found = read_entries(f, mid, &entry, 1, err);

		if (found != SEGMENT_CHUNK)
			return found;
		if (compare(&entry, hash, birth_ns) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	*first = low;
	return SEGMENT_CHUNK;
}

enum segment_found
sealed_find(const struct sealed_file *f, uint64_t hash, int64_t birth_ns, struct sealed_entry **out,
    size_t *n, struct err *err)
{
	enum segment_found found;
	struct sealed_entry entry;
	uint64_t at;

	*out = NULL;
	*n = 0;
	if (f->reader.version < 2 && birth_ns == SEALED_SCHEMAS)
		birth_ns = SEALED_METAS;
	found = find_first(f, hash, birth_ns, &at, err);
	for (; found == SEGMENT_CHUNK && at < f->foot.entry_count; at++) {
		struct sealed_entry *grown;

		found = read_entries(f, at, &entry, 1, err);
		if (found != SEGMENT_CHUNK || compare(&entry, hash, birth_ns) != 0)
			break;
		if (!is_sound(f, &entry)) {
			found = segment_damaged(&f->reader, "its index makes no sense", err);
			break;
		}
		grown = realloc(*out, (*n + 1) * sizeof(*grown));
		if (grown == NULL) {
			err_nomem(err);
			found = SEGMENT_FAILED;
			break;
		}
		modernize(f, &entry);
		*out = grown;
		grown[(*n)++] = entry;
	}
	if (found != SEGMENT_CHUNK) {
		free(*out);
		*out = NULL;
		*n = 0;
	}
	return found;
}

enum segment_found
sealed_read(
    struct sealed_file *f, const struct sealed_entry *entry, struct str *part, struct err *err)
{
	struct segment_reader *r = &f->reader;
	size_t at = entry->hash == 0 ? 0 : entry->at;
	enum segment_found found;

	r->good_bytes = entry->offset;
	found = segment_read_at(
	    r, entry->offset + CHUNK_NUMBER_AT, &r->chunk_count, sizeof(r->chunk_count), err);
	if (found == SEGMENT_CHUNK)
		found = segment_next(r, err);
	if (found == SEGMENT_END)
		return segment_damaged(r, "here is no chunk", err);
	if (found != SEGMENT_CHUNK)
		return found;
	if (at > r->content.len || entry->content_bytes > r->content.len - at)
		return segment_damaged(r, "a chunk is not as long as said", err);
	*part = (struct str){ r->content.p + at, entry->content_bytes };
	return SEGMENT_CHUNK;
}
