/*
 * The store comes back: segment by segment, chunk by chunk.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "journal/files_priv.h"
#include "journal/journal_priv.h"

struct recovery {
	struct journal *journal;
	struct store_restore *restore;
	struct segment_files files;
	size_t done; /* segments */
	size_t first;
	journal_stop_fn stop;
	void *ctx;
	int64_t begun_ns, logged_ns;
	bool ended; /* early */
};

/* What is damaged leaves the way; where that can't be, it is met again at the next start. */
static void
set_aside(struct recovery *r, uint64_t number, uint64_t good_bytes, const struct err *why)
{
	struct err err;

	journal_note_error(r->journal, why->text);
	if (files_set_aside(r->journal->dir_fd, number, good_bytes, clock_real_ns(), &err) == 0)
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

	restore_get_stats(r->restore, &stats);
	j->restored_rows = stats.rows;
	j->restored_values = stats.values;
	j->missing_rows = stats.missing_rows;
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
feed(struct recovery *r, struct segment_reader *reader)
{
	enum segment_found found = SEGMENT_CHUNK;
	struct err err;

	restore_begin_stretch(r->restore);
	while (!r->ended) {
		uint64_t at = reader->good_bytes;
		size_t good;

		found = segment_next(reader, &err);
		if (found != SEGMENT_CHUNK)
			break;
		if (restore_feed(r->restore, reader->content.p, reader->content.len, &good, &err) !=
		    0) {
			reader->good_bytes = at;
			found = err.code == ERR_PROTO ? SEGMENT_DAMAGED : SEGMENT_FAILED;
			break;
		}
		note_progress(r);
	}
	if (found == SEGMENT_DAMAGED) {
		set_aside(r, reader->number, reader->good_bytes, &err);
	} else if (found == SEGMENT_FAILED) {
		journal_note_error(r->journal, err.text);
		log_error("journal", "not all comes back: %s", err.text);
	}
}

static void
recover_segment(struct recovery *r, uint64_t number)
{
	char name[SEGMENT_NAME_BYTES];
	struct segment_reader reader;
	struct err err;

	segment_name(name, number);
	switch (segment_open(&reader, r->journal->dir_fd, name, &err)) {
	case SEGMENT_CHUNK:
		feed(r, &reader);
		break;
	case SEGMENT_DAMAGED:
		set_aside(r, number, 0, &err);
		break;
	case SEGMENT_END:
	case SEGMENT_NEWER:
	case SEGMENT_FAILED:
		journal_note_error(r->journal, err.text);
		log_error("journal", "not all comes back: %s", err.text);
		break;
	}
	segment_reader_close(&reader);
}

/* -1 with ERR_CONFIG if one is of a later version. */
static int
check_versions(struct recovery *r, struct err *err)
{
	for (size_t i = 0; i < r->files.len; i++) {
		enum segment_found found;
		char name[SEGMENT_NAME_BYTES];
		struct segment_reader reader;

		segment_name(name, r->files.files[i].number);
		found = segment_open(&reader, r->journal->dir_fd, name, err);
		segment_reader_close(&reader);
		if (found == SEGMENT_NEWER)
			return -1;
	}
	return 0;
}

/* Where to begin, so that what is read fits. */
static size_t
first_segment(const struct segment_files *files, uint64_t memory_bytes, int64_t restore_ns)
{
	uint64_t bytes = 0;
	size_t i = files->len;

	for (; i > 0; i--) {
		const struct segment_file *file = &files->files[i - 1];
		/* Of the newest one's time, so that neither clocks nor a long rest count. */
		int64_t age_ns = files->files[files->len - 1].written_ns - file->written_ns;

		if (files->len - i >= 2 &&
		    (bytes + file->bytes > memory_bytes || age_ns > restore_ns))
			break;
		bytes += file->bytes;
	}
	return i;
}

static void
log_end(const struct recovery *r)
{
	const struct journal *j = r->journal;
	double seconds = (double)(clock_mono_ns() - r->begun_ns) / NS_PER_S;

	log_info("journal",
	    "restored: segments=%zu polls=%" PRIu64 " values=%" PRIu64
	    " seconds=%.2f missing=%" PRIu64 " lost=%" PRIu64 "%s",
	    r->done - r->first, j->restored_rows, j->restored_values, seconds, j->missing_rows,
	    j->lost_restoring_rows, r->ended ? " (ended early)" : "");
}

int
journal_restore(struct journal *j, struct store *store, uint64_t memory_bytes, journal_stop_fn stop,
    void *ctx, struct err *err)
{
	struct recovery r = { .journal = j, .stop = stop, .ctx = ctx };
	struct err why;
	int rc = 0;

	r.begun_ns = r.logged_ns = clock_mono_ns();
	j->dir_fd = files_open_dir(j->conf.state_dir, &why);
	if (j->dir_fd < 0 || segment_files_list(&r.files, j->dir_fd, &why) != 0) {
		journal_note_error(j, why.text);
		log_error("journal", "nothing comes back: %s", why.text);
		goto out;
	}
	if (check_versions(&r, err) != 0) {
		rc = -1;
		goto out;
	}
	r.restore = restore_new(store, err);
	if (r.restore == NULL) {
		rc = -1;
		goto out;
	}
	j->restoring = true;
	r.first = r.done = first_segment(&r.files, memory_bytes, j->conf.restore_ns);
	for (; r.done < r.files.len && !r.ended; r.done++) {
		recover_segment(&r, r.files.files[r.done].number);
		note_progress(&r);
	}
	j->restoring = false;
	log_end(&r);
out:
	restore_free(r.restore);
	segment_files_free(&r.files);
	return rc;
}

bool
journal_check_file(const char *journal_dir, const char *name, struct journal_check *check)
{
	enum segment_found found;
	struct segment_reader reader;
	uint64_t number;
	struct err err;
	int dir_fd;

	*check = (struct journal_check){ 0 };
	if (!segment_parse_name(name, &number))
		return false;
	dir_fd = open(journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	found = segment_open(&reader, dir_fd, name, &err);
	while (found == SEGMENT_CHUNK)
		found = segment_next(&reader, &err);
	check->bytes = reader.bytes;
	check->good_bytes = reader.good_bytes;
	check->chunk_count = reader.chunk_count;
	if (found != SEGMENT_END)
		snprintf(check->fault, sizeof(check->fault), "%s", err.text);
	segment_reader_close(&reader);
	if (dir_fd >= 0)
		close(dir_fd);
	return true;
}
