/*
 * The past of one set, restored to a store of its own: of each file that has some of it only what
 * the set told, and the descriptions that needs.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "journal/history_priv.h"
#include "store/redo.h"
#include "store/redo_skim.h"

/* Most that one reader gets of all memory for reading. */
#define SHARE 2
/* The same of one who reads oldest first, of all memory for that. */
#define FOLLOWING_SHARE 8
/* One who reads oldest first is asked after so much of a file whether it is enough. */
#define PIECE_BYTES ((size_t)2 * 1024 * 1024)
/* Memory for what is so long on disk: at first, and if that was not enough. */
#define MEMORY_PER_BYTE 4
#define MEMORY_LEAST    ((uint64_t)4 * 1024 * 1024)
/* Files read beyond where memory ends, as it may give up more meanwhile. */
#define MORE_FILES 1

/* Numbers of metas or schemas. */
struct numbers {
	uint64_t *p;
	size_t len, cap;
	bool failed;
};

/* One file: sealed, or a segment that is not yet. */
struct source {
	struct sealed_file sealed; /* its reader for a segment too */
	uint64_t hash;
	struct sealed_entry *of_set; /* of a sealed file */
	size_t of_set_len;
	struct buf records, schemas, metas;
	struct numbers schema_numbers, meta_numbers;
	uint64_t set_number;
	bool has_set;
};

struct reading {
	struct history *history;
	const struct past_query *query;
	struct segment_files files; /* sealed ones, then segments, by number */
	size_t sealed_len;
	uint64_t content_bytes; /* of the set in the sealed files to be read */
	bool is_cut;            /* some is left out */
	bool has_enough;        /* what is read on is in case memory gives up more meanwhile */
	bool lacks;             /* what comes next does not begin where what was read ends */
	int64_t whole_ns;       /* from then on nothing is left out */
	bool has_stopped;       /* within a file, as it was enough */
	uint64_t next;          /* see past_found */
	uint64_t memory_bytes;  /* granted */
	struct store *store;
	struct store_restore *restore;
	struct series_set *set; /* in it */
};

/* Numbers. */

static void
numbers_add(struct numbers *numbers, uint64_t number)
{
	if (numbers->len == numbers->cap) {
		size_t cap = numbers->cap == 0 ? 64 : numbers->cap * 2;
		uint64_t *grown = realloc(numbers->p, cap * sizeof(*grown));

		if (grown == NULL) {
			numbers->failed = true;
			return;
		}
		numbers->p = grown;
		numbers->cap = cap;
	}
	numbers->p[numbers->len++] = number;
}

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void
numbers_sort(struct numbers *numbers)
{
	if (numbers->len > 0)
		qsort(numbers->p, numbers->len, sizeof(*numbers->p), by_number);
}

static bool
numbers_have(const struct numbers *numbers, uint64_t number)
{
	return numbers->len > 0 &&
	       bsearch(&number, numbers->p, numbers->len, sizeof(*numbers->p), by_number) != NULL;
}

static bool
numbers_have_between(const struct numbers *numbers, uint64_t least, uint64_t most)
{
	size_t low = 0, high = numbers->len;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (numbers->p[mid] < least)
			low = mid + 1;
		else
			high = mid;
	}
	return low < numbers->len && numbers->p[low] <= most;
}

/* Files. */

static void
source_close(struct source *s)
{
	sealed_close(&s->sealed);
	free(s->of_set);
	free(s->schema_numbers.p);
	free(s->meta_numbers.p);
	buf_fini(&s->records);
	buf_fini(&s->schemas);
	buf_fini(&s->metas);
}

static enum segment_found
open_sealed(struct reading *r, struct source *s, uint64_t number, struct err *err)
{
	enum segment_found found = sealed_open(&s->sealed, r->history->history_fd, number, err);

	if (found == SEGMENT_CHUNK)
		found = sealed_find(
		    &s->sealed, s->hash, r->query->birth_ns, &s->of_set, &s->of_set_len, err);
	return found;
}

/* Close it in all cases. */
static enum segment_found
source_open(struct reading *r, struct source *s, const struct segment_file *file, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];
	enum segment_found found;

	*s = (struct source){ .hash = sealed_hash(r->query->host, r->query->app) };
	buf_init(&s->records, 0);
	buf_init(&s->schemas, 0);
	buf_init(&s->metas, 0);
	if (file->kind == SEGMENT_SEALED)
		return open_sealed(r, s, file->number, err);
	segment_name(name, SEGMENT_JOURNAL, file->number);
	found = segment_open(&s->sealed.reader, r->history->journal_fd, name, err);
	if (found != SEGMENT_FAILED)
		return found;
	/* It may have been sealed since. */
	segment_reader_close(&s->sealed.reader);
	return open_sealed(r, s, file->number, err);
}

typedef void (*record_fn)(struct reading *, struct source *, const struct redo_skimmed *);

static enum segment_found
each_record(struct reading *r, struct source *s, struct str records, record_fn fn, struct err *err)
{
	struct redo_skimmed record;

	for (size_t at = 0; at < records.len; at += record.bytes) {
		if (!redo_skim(records.p + at, records.len - at, &record))
			return segment_damaged(&s->sealed.reader, "a record makes no sense", err);
		fn(r, s, &record);
	}
	return SEGMENT_CHUNK;
}

/* Of a segment, all there is; a chunk at its end may be half written. */
static enum segment_found
each_of_segment(struct reading *r, struct source *s, record_fn fn, struct err *err)
{
	struct segment_reader *reader = &s->sealed.reader;
	enum segment_found found;

	reader->good_bytes = SEGMENT_HEAD_BYTES;
	reader->chunk_count = 0;
	while ((found = segment_next(reader, err)) == SEGMENT_CHUNK) {
		found = each_record(r, s, buf_view(&reader->content), fn, err);
		if (found != SEGMENT_CHUNK)
			break;
	}
	return found == SEGMENT_FAILED ? found : SEGMENT_CHUNK;
}

static enum segment_found
each_of_part(struct reading *r, struct source *s, const struct sealed_entry *entry, record_fn fn,
    struct err *err)
{
	struct str part;
	enum segment_found found = sealed_read(&s->sealed, entry, &part, err);

	return found == SEGMENT_CHUNK ? each_record(r, s, part, fn, err) : found;
}

static enum segment_found
each_of_set(struct reading *r, struct source *s, record_fn fn, struct err *err)
{
	enum segment_found found = SEGMENT_CHUNK;

	if (s->sealed.reader.kind == SEGMENT_JOURNAL)
		return each_of_segment(r, s, fn, err);
	for (size_t i = 0; i < s->of_set_len && found == SEGMENT_CHUNK; i++)
		found = each_of_part(r, s, &s->of_set[i], fn, err);
	return found;
}

/* Of metas or schemas, where one that is wanted may be. */
static enum segment_found
each_numbered(struct reading *r, struct source *s, int64_t kind, const struct numbers *wanted,
    record_fn fn, struct err *err)
{
	struct sealed_entry *entries;
	enum segment_found found;
	size_t n;

	if (s->sealed.reader.kind == SEGMENT_JOURNAL)
		return each_of_segment(r, s, fn, err);
	found = sealed_find(&s->sealed, 0, kind, &entries, &n, err);
	for (size_t i = 0; i < n && found == SEGMENT_CHUNK; i++) {
		if (numbers_have_between(
		        wanted, entries[i].least_number, sealed_most_number(&entries[i])))
			found = each_of_part(r, s, &entries[i], fn, err);
	}
	free(entries);
	return found;
}

/* Sorting out. */

static void
take_record(struct reading *r, struct source *s, const struct redo_skimmed *record)
{
	if (record->about == REDO_ABOUT_STATE && record->birth_ns == r->query->birth_ns &&
	    str_eq(record->host, r->query->host) && str_eq(record->app, r->query->app)) {
		s->set_number = record->number;
		s->has_set = true;
	} else if (record->about != REDO_ABOUT_POLL) {
		return;
	}
	if (!s->has_set || record->number != s->set_number)
		return;
	buf_add(&s->records, record->p, record->bytes);
	if (record->schema != 0)
		numbers_add(&s->schema_numbers, record->schema);
}

static bool
note_meta(void *ctx, uint64_t number)
{
	numbers_add(ctx, number);
	return true;
}

static void
take_schema(struct reading *r, struct source *s, const struct redo_skimmed *record)
{
	(void)r;
	if (record->about != REDO_ABOUT_SCHEMA || !numbers_have(&s->schema_numbers, record->number))
		return;
	buf_add(&s->schemas, record->p, record->bytes);
	(void)redo_skim_metas(record, note_meta, &s->meta_numbers);
}

static void
take_meta(struct reading *r, struct source *s, const struct redo_skimmed *record)
{
	(void)r;
	if (record->about == REDO_ABOUT_META && numbers_have(&s->meta_numbers, record->number))
		buf_add(&s->metas, record->p, record->bytes);
}

/* What the set told there, with what it needs. */
static enum segment_found
collect(struct reading *r, struct source *s, struct err *err)
{
	enum segment_found found = each_of_set(r, s, take_record, err);

	if (found != SEGMENT_CHUNK || s->records.len == 0)
		return found;
	numbers_sort(&s->schema_numbers);
	found = each_numbered(r, s, SEALED_SCHEMAS, &s->schema_numbers, take_schema, err);
	numbers_sort(&s->meta_numbers);
	if (found == SEGMENT_CHUNK)
		found = each_numbered(r, s, SEALED_METAS, &s->meta_numbers, take_meta, err);
	if (s->schema_numbers.failed || s->meta_numbers.failed || s->records.failed ||
	    s->schemas.failed || s->metas.failed) {
		err_nomem(err);
		return SEGMENT_FAILED;
	}
	return found;
}

/* Restoring. */

/*
 * True if the set lets go of series that have ended, so that nobody can ask for them any more: a
 * poll with another schema and no rows, of which only two zeros are left (store/redo_priv.h).
 */
static bool
frees_series(const struct redo_skimmed *record)
{
	return record->about == REDO_ABOUT_POLL && record->schema != 0 &&
	       record->bytes - record->rest == 2;
}

/* Bytes of the records at p that are fed before it is asked whether they are enough. */
static size_t
piece_bytes(const char *p, size_t len)
{
	struct redo_skimmed record;
	size_t n = 0;

	while (n < len && n < PIECE_BYTES) {
		if (!redo_skim(p + n, len - n, &record))
			return len; /* it is refused there */
		if (n > 0 && frees_series(&record))
			break;
		n += record.bytes;
	}
	return n;
}

static bool
is_enough(struct reading *r)
{
	if (r->set == NULL)
		r->set = store_find(r->store, r->query->host, r->query->app);
	return r->set != NULL && r->query->is_enough(r->query->ctx, r->set);
}

static int
feed(struct reading *r, struct buf *records, struct err *err)
{
	size_t good, n;

	if (records->len == 0)
		return 0;
	if (!buf_reserve(records, RESTORE_SLACK)) {
		err_nomem(err);
		return -1;
	}
	memset(records->p + records->len, 0, RESTORE_SLACK);
	for (size_t at = 0; at < records->len && !r->has_stopped; at += n) {
		n = records->len - at;
		if (r->query->oldest_first)
			n = piece_bytes(records->p + at, n);
		if (restore_feed(r->restore, records->p + at, n, &good, err) != 0)
			return -1;
		r->has_stopped = at + n < records->len && is_enough(r);
	}
	return 0;
}

/* What is no good is left out. */
static void
note_bad(struct reading *r, const struct err *err)
{
	static _Atomic bool logged;

	r->lacks |= !r->has_enough;
	r->history->error_count++;
	if (!atomic_exchange(&logged, true))
		log_warn("history",
		    "some of the past of %.*s can't be read and is left out: %s (further ones are "
		    "only counted)",
		    STR_ARG(r->query->host), err->text);
}

static uint64_t
missing_rows(const struct reading *r)
{
	struct restore_stats stats;

	restore_get_stats(r->restore, &stats);
	return stats.missing_rows;
}

static uint32_t
stream_count_of(const struct source *s, uint64_t schema)
{
	struct redo_skimmed record;

	for (size_t at = 0; at < s->schemas.len; at += record.bytes) {
		if (!redo_skim(s->schemas.p + at, s->schemas.len - at, &record))
			break;
		if (record.number == schema)
			return record.stream_count;
	}
	return 0;
}

/* What was read of the file is all that there was, from the state on that it begins with. */
static void
note_whole(struct reading *r, const struct source *s)
{
	struct redo_skimmed state;
	int64_t whole_ns;

	r->is_cut = true;
	r->lacks = false;
	if (!redo_skim(s->records.p, s->records.len, &state) ||
	    !redo_skim_whole(&state, stream_count_of(s, state.schema), &whole_ns))
		whole_ns = INT64_MAX;
	if (r->whole_ns < whole_ns)
		r->whole_ns = whole_ns;
}

/* True if that is no reason to leave the file out: it is to be tried again. */
static bool
is_to_be_told(struct reading *r, enum segment_found found, uint64_t number, const struct err *err)
{
	if (err->code == ERR_NOMEM)
		return true;
	return r->query->oldest_first && !r->query->leaves_out && found == SEGMENT_FAILED &&
	       history_has(r->history, number);
}

/* One file. -1 with ERR_NOMEM, ERR_IO. */
static int
read_file(struct reading *r, const struct segment_file *file, struct err *err)
{
	struct source source;
	enum segment_found found = source_open(r, &source, file, err);
	int rc = 0;

	if (found == SEGMENT_CHUNK)
		found = collect(r, &source, err);
	if (found == SEGMENT_CHUNK && source.records.len > 0) {
		uint64_t missing = missing_rows(r);

		restore_begin_stretch(r->restore);
		rc = feed(r, &source.metas, err);
		if (rc == 0)
			rc = feed(r, &source.schemas, err);
		if (rc == 0)
			rc = feed(r, &source.records, err);
		if (rc == 0 && !r->has_enough && (r->lacks || missing_rows(r) > missing))
			note_whole(r, &source);
	}
	if (found != SEGMENT_CHUNK || rc != 0) {
		rc = is_to_be_told(r, found, file->number, err) ? -1 : 0;
		/* One that went meanwhile was too old. */
		if (rc == 0 && source.sealed.reader.fd >= 0)
			note_bad(r, err);
	}
	source_close(&source);
	if (r->set == NULL)
		r->set = store_find(r->store, r->query->host, r->query->app);
	return rc;
}

/* Memory. */

static _Atomic uint64_t *
memory_of(struct history *h, bool oldest_first)
{
	return oldest_first ? &h->following_bytes : &h->reading_bytes;
}

static bool
take_memory(struct reading *r, uint64_t bytes)
{
	_Atomic uint64_t *all = memory_of(r->history, r->query->oldest_first);
	uint64_t used = *all;

	do {
		if (used + bytes > r->history->conf.read_bytes)
			return false;
	} while (!atomic_compare_exchange_weak(all, &used, used + bytes));
	return true;
}

static void
drop_store(struct reading *r)
{
	restore_free(r->restore);
	series_set_unref(r->set);
	store_free(r->store);
	*memory_of(r->history, r->query->oldest_first) -= r->memory_bytes;
	r->restore = NULL;
	r->set = NULL;
	r->store = NULL;
	r->memory_bytes = 0;
}

static int
make_store(struct reading *r, uint64_t memory_bytes, struct err *err)
{
	struct store_conf conf = { .memory_bytes = memory_bytes };

	if (!take_memory(r, memory_bytes)) {
		r->history->refused_count++;
		err_set(err, ERR_LIMIT,
		    "too much history on disk is being read: try again, or ask for less of it");
		return -1;
	}
	r->memory_bytes = memory_bytes;
	r->store = store_new(&conf, NULL, err);
	r->restore = r->store == NULL ? NULL : restore_new(r->store, err);
	return r->restore == NULL ? -1 : 0;
}

/* More was read than there was room for. */
static bool
was_short(const struct reading *r)
{
	struct restore_stats stats;
	struct store_stats store_stats;

	restore_get_stats(r->restore, &stats);
	store_get_stats(r->store, &store_stats);
	return stats.lost_rows > 0 || store_stats.pages_reclaimed > 0;
}

/* The whole. */

/* Of the set's records in a file; *whole_ns stays if there are none. */
static uint64_t
bytes_of_set(const struct source *s, int64_t *whole_ns)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->of_set_len; i++) {
		bytes += s->of_set[i].content_bytes;
		*whole_ns = s->of_set[i].whole_ns;
	}
	return bytes;
}

/*
 * The sealed file to begin with: the newest that has all from start_ns on, or as much as there is
 * room for.
 */
static size_t
find_first(struct reading *r)
{
	uint64_t most = r->history->conf.read_bytes / SHARE;
	size_t first = r->sealed_len;
	bool is_bad = false;

	for (size_t i = r->sealed_len; i > 0; i--) {
		struct source source;
		struct err err;
		enum segment_found found = source_open(r, &source, &r->files.files[i - 1], &err);
		int64_t whole_ns = INT64_MAX;
		uint64_t bytes = 0;

		if (found == SEGMENT_CHUNK)
			bytes = bytes_of_set(&source, &whole_ns);
		is_bad |= found != SEGMENT_CHUNK && source.sealed.reader.fd >= 0;
		source_close(&source);
		if (bytes == 0)
			continue;
		if (r->content_bytes + bytes > most) {
			r->is_cut = true;
			break;
		}
		r->content_bytes += bytes;
		first = i - 1;
		is_bad = false;
		if (whole_ns <= r->query->start_ns)
			break;
	}
	r->is_cut |= is_bad;
	return first;
}

static int
read_all(struct reading *r, size_t first, struct err *err)
{
	size_t more = MORE_FILES;

	for (size_t i = first; i < r->files.len; i++) {
		r->has_enough = r->set != NULL && r->query->is_enough(r->query->ctx, r->set);
		/* A segment has to be searched from end to end. */
		if (r->has_enough && (more == 0 || r->files.files[i].kind == SEGMENT_JOURNAL))
			break;
		more -= r->has_enough;
		if (read_file(r, &r->files.files[i], err) != 0)
			return -1;
	}
	return 0;
}

static int
restore(struct reading *r, struct err *err)
{
	uint64_t most = r->history->conf.read_bytes / SHARE;
	size_t first = find_first(r);
	uint64_t bytes = r->content_bytes * MEMORY_PER_BYTE + MEMORY_LEAST;

	for (;; bytes *= MEMORY_PER_BYTE) {
		if (bytes > most)
			bytes = most;
		r->lacks = r->is_cut;
		r->has_enough = false;
		r->whole_ns = TS_NONE;
		if (make_store(r, bytes, err) != 0 || read_all(r, first, err) != 0)
			return -1;
		if (!was_short(r) || bytes == most)
			break;
		drop_store(r);
	}
	if (r->lacks)
		r->whole_ns = INT64_MAX;
	r->is_cut |= r->lacks || was_short(r);
	restore_free(r->restore);
	r->restore = NULL;
	return 0;
}

/* Oldest first. */

/* Bytes of the set's records in a file; 0 if there are none. -1 with ERR_IO, ERR_NOMEM. */
static int
content_of(struct reading *r, const struct segment_file *file, uint64_t *bytes, int64_t *whole_ns,
    struct err *err)
{
	struct source source;
	enum segment_found found = source_open(r, &source, file, err);
	int rc = 0;

	*bytes = 0;
	if (found == SEGMENT_CHUNK) {
		*bytes = bytes_of_set(&source, whole_ns);
	} else {
		rc = is_to_be_told(r, found, file->number, err) ? -1 : 0;
		if (rc == 0 && source.sealed.reader.fd >= 0)
			note_bad(r, err);
	}
	source_close(&source);
	return rc;
}

/* The file to go on with: the newest that has all from start_ns on, else the oldest. */
static int
find_oldest(struct reading *r, size_t *first, struct err *err)
{
	size_t i = 0;

	if (r->query->next > 0) {
		while (i < r->sealed_len && r->files.files[i].number < r->query->next)
			i++;
		*first = i;
		return 0;
	}
	*first = 0;
	for (i = r->sealed_len; i > 0; i--) {
		int64_t whole_ns;
		uint64_t bytes;

		if (content_of(r, &r->files.files[i - 1], &bytes, &whole_ns, err) != 0)
			return -1;
		if (bytes > 0 && whole_ns <= r->query->start_ns) {
			*first = i - 1;
			break;
		}
	}
	return 0;
}

/* One file to a store of its own, as each is a whole; of a large one, some pieces. */
static int
read_alone(struct reading *r, const struct segment_file *file, struct err *err)
{
	uint64_t most = r->history->conf.read_bytes / FOLLOWING_SHARE, bytes;
	int64_t whole_ns;

	if (content_of(r, file, &bytes, &whole_ns, err) != 0)
		return -1;
	if (bytes == 0)
		return 0;
	bytes = bytes * MEMORY_PER_BYTE + MEMORY_LEAST;
	for (;; bytes *= MEMORY_PER_BYTE) {
		if (bytes > most)
			bytes = most;
		r->has_stopped = false;
		if (make_store(r, bytes, err) != 0 || read_file(r, file, err) != 0)
			return -1;
		if (!was_short(r) || bytes == most)
			break;
		drop_store(r);
	}
	r->is_cut = was_short(r);
	restore_free(r->restore);
	r->restore = NULL;
	return 0;
}

static int
follow(struct reading *r, struct err *err)
{
	size_t i;

	if (find_oldest(r, &i, err) != 0)
		return -1;
	r->next = r->query->next > 0 ? r->query->next : 1;
	for (; i < r->sealed_len; i++) {
		uint64_t number = r->files.files[i].number;

		if (read_alone(r, &r->files.files[i], err) != 0)
			return -1;
		r->next = number + !r->has_stopped;
		if (r->store != NULL && is_enough(r)) {
			r->history->followed_count++;
			break;
		}
		drop_store(r);
	}
	return 0;
}

/* Sealed files, then segments that are not. */
static int
list_files(struct reading *r, struct err *err)
{
	struct segment_files segments = { 0 };
	uint64_t last = 0;
	int rc = 0;

	/* In this order: what is sealed in between is in one list at least. */
	if (!r->query->oldest_first)
		rc = segment_files_list(&segments, r->history->journal_fd, SEGMENT_JOURNAL, err);
	if (rc == 0)
		rc = history_list(r->history, &r->files, err);
	r->sealed_len = r->files.len;
	if (r->sealed_len > 0)
		last = r->files.files[r->sealed_len - 1].number;
	for (size_t i = 0; rc == 0 && i < segments.len; i++) {
		if (segments.files[i].number > last)
			rc = segment_files_add(&r->files, segments.files[i], err);
	}
	segment_files_free(&segments);
	return rc;
}

int
history_past_open(struct store_past *past, const struct past_query *query, struct past_found *found,
    struct err *err)
{
	struct history *h = CONTAINER_OF(past, struct history, past);
	struct reading r = { .history = h, .query = query };
	int rc = -1;

	*found = (struct past_found){ .store = NULL, .next = query->next };
	if (h->journal_fd < 0 || h->history_fd < 0)
		return 0;
	h->query_count += !query->oldest_first;
	if (list_files(&r, err) != 0) {
		note_bad(&r, err);
		rc = err->code == ERR_NOMEM ? -1 : 0;
		goto out;
	}
	if ((query->oldest_first ? follow(&r, err) : restore(&r, err)) != 0)
		goto out;
	rc = 0;
	found->next = r.next;
	h->cut_count += r.is_cut;
	found->is_cut = r.is_cut;
	found->whole_ns = r.whole_ns;
	if (r.set == NULL || series_set_birth_ns(r.set) != query->birth_ns)
		goto out;
	found->store = r.store;
	found->set = r.set;
	found->memory_bytes = r.memory_bytes;
out:
	if (found->store == NULL)
		drop_store(&r);
	segment_files_free(&r.files);
	return rc;
}

void
history_past_close(struct store_past *past, struct past_found *found)
{
	struct history *h = CONTAINER_OF(past, struct history, past);

	series_set_unref(found->set);
	store_free(found->store);
	*memory_of(h, found->next > 0) -= found->memory_bytes;
	*found = (struct past_found){ .store = NULL };
}
