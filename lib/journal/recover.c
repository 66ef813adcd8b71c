/*
 * The store comes back: file by file, sealed ones first, chunk by chunk.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/processors.h"
#include "journal/crew_priv.h"
#include "journal/files_priv.h"
#include "journal/journal_priv.h"

/* More find not enough to do: chunks are read and handed on by one. */
#define THREADS_MOST 8

/*
 * A file tells of silent endpoints too if it was written for so long: that begins after 10 s, at
 * 1 MB/s.
 */
#define WHOLE_NS (60 * NS_PER_S)

struct recovery {
	struct journal *journal;
	struct crew *crew;
	struct segment_files files;
	size_t done; /* segments */
	size_t first;
	size_t whole; /* below first: that one before it, for what the others lack */
	journal_stop_fn stop;
	void *ctx;
	int64_t begun_ns, logged_ns;
	bool ended; /* early */
};

/* What is damaged leaves the way; where that can't be, it is met again at the next start. */
static void
set_aside(
    struct recovery *r, const struct segment_file *file, uint64_t good_bytes, const struct err *why)
{
	uint64_t number = file->number;
	struct err err;

	journal_note_error(r->journal, why->text);
	/* Queries look for the rest of it. */
	if (file->kind == SEGMENT_SEALED) {
		log_warn("journal", "damaged: %s; what follows does not come back", why->text);
		return;
	}
	if (files_set_aside(r->journal->dir_fd, SEGMENT_JOURNAL, number, good_bytes,
	        clock_real_ns(), &err) == 0)
		log_warn("journal",
		    "damaged: %s; what follows is set aside as %012" PRIu64
		    ".sj.damaged-..., the rest is good",
		    why->text, number);
	else
		log_warn("journal", "damaged: %s; it can't be set aside: %s", why->text, err.text);
}

static void
note_progress(struct recovery *r)
{
	struct journal *j = r->journal;
	int64_t now_ns = clock_mono_ns();
	struct restore_stats stats;

	crew_get_stats(r->crew, &stats);
	j->restored_rows = stats.rows;
	j->restored_values = stats.values;
	/* What lies between is there, though not in memory. */
	j->missing_rows = r->whole < r->first ? 0 : stats.missing_rows;
	j->lost_restoring_rows = stats.lost_rows;
	if (r->stop != NULL && r->stop(r->ctx))
		r->ended = true;
	if (now_ns - r->logged_ns < NS_PER_S)
		return;
	r->logged_ns = now_ns;
	log_info("journal",
	    "restoring: segment=%zu/%zu polls=%" PRIu64 " values=%" PRIu64 " seconds=%.1f",
	    r->done + 1 - r->first, r->files.len - r->first, stats.rows, stats.values,
	    (double)(now_ns - r->begun_ns) / NS_PER_S);
}

/* Feeds the chunks of a segment that was opened. */
static void
feed(struct recovery *r, const struct segment_file *file, struct segment_reader *reader)
{
	enum segment_found found = SEGMENT_CHUNK;
	bool is_packed = false, goes_on = true;
	struct err err, why;
	uint64_t at;

	crew_begin_stretch(r->crew);
	while (goes_on && !r->ended) {
		at = reader->good_bytes;
		found = segment_next_raw(reader, &is_packed, &err);
		goes_on = found == SEGMENT_CHUNK && crew_feed(r->crew, reader, is_packed, at);
		note_progress(r);
	}
	if (crew_drain(r->crew, &at, &why) != 0) {
		reader->good_bytes = at;
		found = SEGMENT_FAILED;
		err = why;
		if (why.code == ERR_PROTO)
			found = segment_damaged(reader, why.text, &err);
	}
	if (found == SEGMENT_DAMAGED) {
		set_aside(r, file, reader->good_bytes, &err);
	} else if (found == SEGMENT_FAILED) {
		journal_note_error(r->journal, err.text);
		log_error("journal", "not all comes back: %s", err.text);
	}
}

/* Of a segment, all but the reader is left alone. */
static enum segment_found
open_file(
    struct journal *j, struct sealed_file *file, const struct segment_file *which, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	if (which->kind == SEGMENT_SEALED)
		return sealed_open(file, j->history->history_fd, which->number, err);
	segment_name(name, SEGMENT_JOURNAL, which->number);
	return segment_open(&file->reader, j->dir_fd, name, err);
}

static void
recover_file(struct recovery *r, const struct segment_file *file)
{
	struct sealed_file sealed;
	struct err err;

	switch (open_file(r->journal, &sealed, file, &err)) {
	case SEGMENT_CHUNK:
		feed(r, file, &sealed.reader);
		break;
	case SEGMENT_DAMAGED:
		set_aside(r, file, 0, &err);
		break;
	case SEGMENT_END:
	case SEGMENT_NEWER:
	case SEGMENT_FAILED:
		journal_note_error(r->journal, err.text);
		log_error("journal", "not all comes back: %s", err.text);
		break;
	}
	sealed_close(&sealed);
}

/* And when they were begun. -1 with ERR_CONFIG if one is of a later version. */
static int
check_versions(struct recovery *r, struct err *err)
{
	for (size_t i = 0; i < r->files.len; i++) {
		struct sealed_file file;
		enum segment_found found = open_file(r->journal, &file, &r->files.files[i], err);

		if (found == SEGMENT_CHUNK)
			r->files.files[i].begun_ns = file.reader.begun_ns;
		sealed_close(&file);
		if (found == SEGMENT_NEWER)
			return -1;
	}
	return 0;
}

/* Where to begin, so that what is read fits into memory, and takes no longer than it may. */
static size_t
first_segment(
    const struct segment_files *files, uint64_t memory_bytes, const struct journal_conf *conf)
{
	uint64_t bytes = 0, most = memory_bytes;
	size_t i = files->len;

	if (conf->restore_bytes > 0 && conf->restore_bytes < most)
		most = conf->restore_bytes;
	for (; i > 0; i--) {
		const struct segment_file *file = &files->files[i - 1];
		/* Of the newest one's time, so that neither clocks nor a long rest count. */
		int64_t age_ns = files->files[files->len - 1].written_ns - file->written_ns;

		if (files->len - i >= 2 &&
		    (bytes + file->bytes > most || age_ns > conf->restore_ns))
			break;
		bytes += file->bytes;
	}
	return i;
}

/* One that ended as it was full does so too. */
static bool
tells_of_silent(const struct segment_file *file, const struct journal_conf *conf)
{
	return file->written_ns - file->begun_ns >= WHOLE_NS ||
	       file->bytes >= conf->segment_bytes / 2;
}

/*
 * Processes that soon died leave files that know only of endpoints which answered at once. If there
 * are no others from first on, the newest of those before: first if there is none.
 */
static size_t
whole_segment(const struct segment_files *files, size_t first, const struct journal_conf *conf)
{
	for (size_t i = files->len; i > 0; i--) {
		if (tells_of_silent(&files->files[i - 1], conf))
			return i - 1 < first ? i - 1 : first;
	}
	return first;
}

/* Sealed history and segments, by number; of one that is both, the former. -1 with ERR_IO,
 * ERR_NOMEM. */
static int
list_files(struct journal *j, struct segment_files *files, struct err *err)
{
	struct segment_files segments;
	int rc = segment_files_list(&segments, j->dir_fd, SEGMENT_JOURNAL, err);
	uint64_t last;

	if (rc == 0)
		rc = history_list(j->history, files, err);
	last = files->len == 0 ? 0 : files->files[files->len - 1].number;
	for (size_t i = 0; rc == 0 && i < segments.len; i++) {
		if (segments.files[i].number > last)
			rc = segment_files_add(files, segments.files[i], err);
	}
	segment_files_free(&segments);
	return rc;
}

static void
log_end(const struct recovery *r)
{
	const struct journal *j = r->journal;
	double seconds = (double)(clock_mono_ns() - r->begun_ns) / NS_PER_S;

	log_info("journal",
	    "restored: segments=%zu polls=%" PRIu64 " values=%" PRIu64
	    " seconds=%.2f missing=%" PRIu64 " lost=%" PRIu64 " onDisk=%zu%s",
	    r->done - r->first + (r->whole < r->first), j->restored_rows, j->restored_values,
	    seconds, j->missing_rows, j->lost_restoring_rows, r->first - (r->whole < r->first),
	    r->ended ? " (ended early)" : "");
}

static unsigned
thread_count(const struct journal *j)
{
	unsigned n = j->conf.restore_threads;

	if (n == 0)
		n = processor_count();
	return n < THREADS_MOST ? n : THREADS_MOST;
}

int
journal_restore(struct journal *j, struct store *store, uint64_t memory_bytes, journal_stop_fn stop,
    void *ctx, struct err *err)
{
	struct recovery r = { .journal = j, .stop = stop, .ctx = ctx };
	struct err why;
	int rc = 0;

	r.begun_ns = r.logged_ns = clock_mono_ns();
	j->dir_fd = files_open_dir(j->conf.state_dir, "journal", &why);
	if (history_load(j->history, err) != 0) {
		rc = -1;
		goto out;
	}
	if (j->dir_fd < 0 || list_files(j, &r.files, &why) != 0) {
		journal_note_error(j, why.text);
		log_error("journal", "nothing comes back: %s", why.text);
		goto out;
	}
	if (check_versions(&r, err) != 0) {
		rc = -1;
		goto out;
	}
	r.crew = crew_new(store, thread_count(j), err);
	if (r.crew == NULL) {
		rc = -1;
		goto out;
	}
	j->restoring = true;
	r.first = r.done = first_segment(&r.files, memory_bytes, &j->conf);
	r.whole = whole_segment(&r.files, r.first, &j->conf);
	if (r.whole < r.first)
		recover_file(&r, &r.files.files[r.whole]);
	for (; r.done < r.files.len && !r.ended; r.done++) {
		recover_file(&r, &r.files.files[r.done]);
		note_progress(&r);
	}
	j->restoring = false;
	log_end(&r);
out:
	crew_free(r.crew);
	segment_files_free(&r.files);
	return rc;
}

bool
journal_check_file(const char *journal_dir, const char *name, struct journal_check *check)
{
	enum segment_found found;
	struct sealed_file file;
	struct segment_reader *reader = &file.reader;
	uint64_t number;
	struct err err;
	bool is_sealed;
	int dir_fd;

	*check = (struct journal_check){ 0 };
	is_sealed = segment_parse_name(name, SEGMENT_SEALED, &number);
	if (!is_sealed && !segment_parse_name(name, SEGMENT_JOURNAL, &number))
		return false;
	dir_fd = open(journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	found = is_sealed ? sealed_open(&file, dir_fd, number, &err)
	                  : segment_open(reader, dir_fd, name, &err);
	check->bytes = reader->bytes;
	if (is_sealed && found == SEGMENT_CHUNK) {
		check->bytes += file.foot.entry_count * SEALED_ENTRY_BYTES + SEALED_FOOT_BYTES;
		found = sealed_check_index(&file, &err);
	}
	while (found == SEGMENT_CHUNK)
		found = segment_next(reader, &err);
	/* Behind the chunks of a sealed one are its index and foot. */
	check->good_bytes = found == SEGMENT_END ? check->bytes : reader->good_bytes;
	check->chunk_count = reader->chunk_count;
	if (found != SEGMENT_END)
		snprintf(check->fault, sizeof(check->fault), "%s", err.text);
	sealed_close(&file);
	if (dir_fd >= 0)
		close(dir_fd);
	return true;
}
