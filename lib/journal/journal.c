#include "journal/journal_priv.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "journal/files_priv.h"

/* What was told is written after at most that. */
#define WRITE_NS (250 * NS_PER_MS)
/* Or when so much waits. */
#define WRITE_BYTES ((size_t)256 * 1024)
/* A disk that does not keep up is not waited for: what comes then is lost. */
#define WAITING_MOST ((size_t)16 * 1024 * 1024)
/* A buffer that grew beyond it, with the states at the begin of a segment, is given back. */
#define BUFFER_KEPT ((size_t)1024 * 1024)

/* What all sets are, told anew in each segment, is at most that part of one. */
#define STATES_PART 4

/* When so old, or over, a segment is told of endpoints that are not polled; so much at a time. */
#define REST_NS    (10 * NS_PER_S)
#define REST_BYTES WRITE_BYTES

#define BACKOFF_FIRST_NS NS_PER_S
#define BACKOFF_MOST_NS  (30 * NS_PER_S)
/* A segment that somebody waits for ends when it is so old. */
#define WANTED_NS (15 * NS_PER_S)
/* After so long without trouble the next one is the first again. */
#define WELL_NS (60 * NS_PER_S)

static struct journal *
journal_of(struct store_tap *tap)
{
	return CONTAINER_OF(tap, struct journal, tap);
}

/* The tap. Its lock is held from open to close. */

static struct buf *
tap_open(struct store_tap *tap, uint64_t *stretch)
{
	struct journal *j = journal_of(tap);

	lock_take(&j->lock);
	if (!j->listening || j->waiting.len >= j->conf.waiting_bytes) {
		lock_drop(&j->lock);
		return NULL;
	}
	*stretch = j->stretch;
	j->open_at = j->waiting.len;
	return &j->waiting;
}

static void
tap_close(struct store_tap *tap, bool done, struct store_told told)
{
	struct journal *j = journal_of(tap);

	if (done) {
		j->told_count++;
		j->waiting_told.rows += told.rows;
		j->waiting_told.values += told.values;
		j->waiting_told.state_bytes += told.state_bytes;
		if (j->open_at < WRITE_BYTES && j->waiting.len >= WRITE_BYTES)
			lock_cond_signal(&j->wake);
	} else {
		/* Some that was told counts as known, so the rest of the segment is no good. */
		j->waiting.len = j->open_at;
		j->waiting.failed = false;
		j->listening = false;
		j->wants_segment = true;
		j->lost_rows += told.rows;
		lock_cond_signal(&j->wake);
	}
	lock_drop(&j->lock);
}

static void
tap_missed(struct store_tap *tap, struct store_told told)
{
	journal_of(tap)->lost_rows += told.rows;
}

/* Trouble. */

void
journal_note_error(struct journal *j, const char *text)
{
	lock_take(&j->error_lock);
	memcpy(j->error, text, strlen(text) + 1);
	lock_drop(&j->error_lock);
}

void
journal_last_error(struct journal *j, char *text, size_t bytes)
{
	size_t len;

	lock_take(&j->error_lock);
	len = strlen(j->error);
	if (len >= bytes)
		len = bytes - 1;
	memcpy(text, j->error, len);
	text[len] = '\0';
	lock_drop(&j->error_lock);
}

/* All that was told counts as accepted. REQUIRES the lock. */
static void
accept_all(struct journal *j)
{
	j->accepted_count = j->told_count;
	lock_cond_broadcast(&j->written);
}

/* The disk does not do its part. told: what was to be written, and is lost. */
static void
degrade(struct journal *j, struct store_told told, int64_t mono_ns, const struct err *err)
{
	bool is_new = !j->degraded;

	segment_close(&j->segment);
	j->is_dirty = false;
	if (is_new)
		j->lost_before = j->lost_rows;
	lock_take(&j->lock);
	j->listening = false;
	j->wants_segment = false;
	j->lost_rows += told.rows + j->waiting_told.rows;
	j->waiting_told = (struct store_told){ 0 };
	buf_clear(&j->waiting);
	accept_all(j);
	lock_drop(&j->lock);
	j->degraded = true;
	if (is_new && j->degraded_ns != 0 && mono_ns - j->degraded_ns > WELL_NS)
		j->backoff_ns = 0;
	j->backoff_ns = j->backoff_ns == 0 ? BACKOFF_FIRST_NS : 2 * j->backoff_ns;
	if (j->backoff_ns > BACKOFF_MOST_NS)
		j->backoff_ns = BACKOFF_MOST_NS;
	j->retry_ns = mono_ns + j->backoff_ns;
	/* If it is full, history may be more than it is to be: the file system may have shrunk. */
	/* And what was written is good: who waits for it need not wait for the disk to be well. */
	history_seal_before(j->history, j->stretch == 0 ? 0 : j->stretch + 1, false);
	if (!is_new)
		return;
	j->degraded_ns = mono_ns;
	journal_note_error(j, err->text);
	log_error("journal",
	    "not writing: %s; polling goes on, but what comes now is not kept on "
	    "disk: retry every %d s at most",
	    err->text, (int)(BACKOFF_MOST_NS / NS_PER_S));
}

/* Segments. */

/* The number of the segment to come. -1 with ERR_IO. */
static int
next_number(struct journal *j, uint64_t *number, struct err *err)
{
	int rc, fd = files_renew_dir(j->dir_fd, j->conf.state_dir, "journal", err);
	struct segment_files files;

	if (fd < 0)
		return -1;
	j->dir_fd = fd;
	rc = segment_files_list(&files, j->dir_fd, SEGMENT_JOURNAL, err);
	*number = files.next_number;
	segment_files_free(&files);
	if (*number < history_next_number(j->history))
		*number = history_next_number(j->history);
	/* Never one whose tellings some may take for known. */
	if (*number <= j->stretch)
		*number = j->stretch + 1;
	return rc;
}

static int
begin_segment(struct journal *j, uint64_t number, int64_t mono_ns, int64_t real_ns, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	segment_name(name, SEGMENT_JOURNAL, number);
	if (segment_create(&j->segment, j->dir_fd, SEGMENT_JOURNAL, name, number, real_ns, err) !=
	    0)
		return -1;
	j->begun_ns = j->synced_ns = mono_ns;
	j->told_bytes = j->state_bytes = 0;
	j->has_all = false;
	j->segments++;
	j->bytes += j->segment.bytes;
	files_drop_old(j->dir_fd,
	    files_most_bytes(j->dir_fd, j->conf.disk_bytes, j->conf.disk_percent),
	    real_ns - j->conf.retention_ns);
	history_seal_before(j->history, number, true);
	return 0;
}

/* The first one, or one after trouble. */
static void
try_to_begin(struct journal *j, int64_t mono_ns, int64_t real_ns)
{
	uint64_t number;
	struct err err;

	if (next_number(j, &number, &err) != 0 ||
	    begin_segment(j, number, mono_ns, real_ns, &err) != 0) {
		degrade(j, (struct store_told){ 0 }, mono_ns, &err);
		return;
	}
	lock_take(&j->lock);
	assert(j->waiting.len == 0);
	j->stretch = number;
	j->listening = true;
	lock_drop(&j->lock);
	if (j->degraded)
		log_info("journal", "writing again: lostRows=%" PRIu64 " after=%" PRId64 "s",
		    j->lost_rows - j->lost_before, (mono_ns - j->degraded_ns) / NS_PER_S);
	j->degraded = false;
}

static bool
is_segment_over(const struct journal *j, int64_t mono_ns)
{
	int64_t age_ns = mono_ns - j->begun_ns;

	if (age_ns >= j->conf.segment_ns ||
	    (age_ns >= WANTED_NS && history_wants_segment(j->history)))
		return true;
	return j->segment.bytes >= j->conf.segment_bytes &&
	       j->told_bytes >= STATES_PART * j->state_bytes;
}

/* What restoring needs to know of endpoints that are silent. */
static void
tell_rest(struct journal *j)
{
	if (!j->has_all && j->store != NULL)
		j->has_all = store_tell_rest(j->store, REST_BYTES);
}

/* Writing. */

/* What waited is to be written; what is told from here on may be for another segment. */
static struct store_told
take_waiting(struct journal *j, bool *rotates, uint64_t *told_count)
{
	struct buf swapped = j->writing;
	struct store_told told;

	lock_take(&j->lock);
	told = j->waiting_told;
	j->waiting_told = (struct store_told){ 0 };
	j->writing = j->waiting;
	j->waiting = swapped;
	*told_count = j->told_count;
	*rotates |= j->wants_segment;
	if (*rotates) {
		j->stretch++;
		j->wants_segment = false;
		j->listening = !j->stopping;
	}
	lock_drop(&j->lock);
	return told;
}

static int
write_waiting(struct journal *j, struct store_told told, uint64_t told_count, struct err *err)
{
	uint64_t bytes_before = j->segment.bytes;

	if (j->writing.len > 0 &&
	    segment_append(&j->segment, j->writing.p, j->writing.len, err) != 0)
		return -1;
	if (j->writing.len > 0) {
		j->is_dirty = true;
		j->bytes += j->segment.bytes - bytes_before;
		j->chunks++;
		j->rows += told.rows;
		j->values += told.values;
		j->told_bytes += j->writing.len;
		j->state_bytes += told.state_bytes;
	}
	if (j->writing.cap > BUFFER_KEPT) {
		buf_fini(&j->writing);
		buf_init(&j->writing, 0);
	}
	buf_clear(&j->writing);
	lock_take(&j->lock);
	j->accepted_count = told_count;
	lock_cond_broadcast(&j->written);
	lock_drop(&j->lock);
	return 0;
}

static int
sync_segment(struct journal *j, int64_t mono_ns, struct err *err)
{
	j->synced_ns = mono_ns;
	if (!j->is_dirty)
		return 0;
	CRASH_POINT("before sync");
	/* One that failed says nothing about what was written before, so the segment is over. */
	if (segment_sync(&j->segment, err) != 0)
		return -1;
	CRASH_POINT("after sync");
	j->is_dirty = false;
	j->syncs++;
	return 0;
}

static int
rotate(struct journal *j, int64_t mono_ns, int64_t real_ns, struct err *err)
{
	if (sync_segment(j, mono_ns, err) != 0)
		return -1;
	segment_close(&j->segment);
	CRASH_POINT("segment closed");
	return begin_segment(j, j->stretch, mono_ns, real_ns, err);
}

static void
write_turn(struct journal *j, int64_t mono_ns, int64_t real_ns)
{
	bool is_over = is_segment_over(j, mono_ns), rotates;
	uint64_t told_count;
	struct store_told told;
	struct err err;

	if (is_over || mono_ns - j->begun_ns >= REST_NS)
		tell_rest(j);
	rotates = is_over && j->has_all;
	told = take_waiting(j, &rotates, &told_count);
	if (write_waiting(j, told, told_count, &err) != 0) {
		buf_clear(&j->writing);
		degrade(j, told, mono_ns, &err);
		return;
	}
	if (rotates
	        ? rotate(j, mono_ns, real_ns, &err) != 0
	        : mono_ns - j->synced_ns >= j->conf.sync_ns && sync_segment(j, mono_ns, &err) != 0)
		degrade(j, (struct store_told){ 0 }, mono_ns, &err);
}

void
journal_turn(struct journal *j, int64_t mono_ns, int64_t real_ns)
{
	if (j->segment.fd >= 0)
		write_turn(j, mono_ns, real_ns);
	else if (mono_ns >= j->retry_ns)
		try_to_begin(j, mono_ns, real_ns);
}

int
journal_seal(struct journal *j, int64_t real_ns, struct err *err)
{
	return history_turn(j->history, real_ns, err);
}

/* The thread. */

/* True when it is to end. */
static bool
wait_for_work(struct journal *j)
{
	int64_t deadline_ns = clock_mono_ns() + WRITE_NS;
	bool stopping;

	lock_take(&j->lock);
	while (!j->stopping && !j->wants_segment && !j->hurries && j->waiting.len < WRITE_BYTES &&
	       lock_cond_wait(&j->wake, &j->lock, deadline_ns)) {
	}
	j->hurries = false;
	stopping = j->stopping;
	lock_drop(&j->lock);
	return stopping;
}

static void *
run(void *arg)
{
	struct journal *j = arg;

	while (!wait_for_work(j))
		journal_turn(j, clock_mono_ns(), clock_real_ns());
	return NULL;
}

/* Making and ending it. */

struct journal *
journal_new(const struct journal_conf *conf, struct own *own, struct err *err)
{
	struct journal *j = calloc(1, sizeof(*j));

	if (j == NULL) {
		err_nomem(err);
		return NULL;
	}
	j->tap = (struct store_tap){ tap_open, tap_close, tap_missed };
	j->conf = *conf;
	j->conf.state_dir = strdup(conf->state_dir);
	if (j->conf.waiting_bytes == 0)
		j->conf.waiting_bytes = WAITING_MOST;
	if (j->conf.state_dir != NULL) {
		j->history = history_new(&(struct history_conf){ .state_dir = conf->state_dir,
		                             .retention_ns = conf->retention_ns,
		                             .disk_bytes = conf->disk_bytes,
		                             .disk_percent = conf->disk_percent,
		                             .band_bytes = conf->band_bytes,
		                             .read_bytes = conf->read_bytes,
		                             .manual = conf->manual },
		    own, err);
	}
	j->dir_fd = -1;
	segment_writer_init(&j->segment);
	lock_init(&j->lock, LOCK_journal);
	lock_init(&j->error_lock, LOCK_trouble);
	lock_cond_init(&j->wake);
	lock_cond_init(&j->written);
	buf_init(&j->waiting, 0);
	buf_init(&j->writing, 0);
	if (j->conf.state_dir == NULL)
		err_nomem(err);
	if (j->conf.state_dir == NULL || j->history == NULL ||
	    (own != NULL && journal_self_add(j, own, err) != 0)) {
		journal_free(j);
		return NULL;
	}
	return j;
}

int
journal_start(struct journal *j, struct store *store, struct err *err)
{
	int rc;

	if (history_start(j->history, err) != 0)
		return -1;
	store_set_past(store, &j->history->past);
	try_to_begin(j, clock_mono_ns(), clock_real_ns());
	j->store = store;
	store_set_tap(store, &j->tap);
	if (j->conf.manual)
		return 0;
	rc = pthread_create(&j->thread, NULL, run, j);
	if (rc != 0) {
		err_errno(err, rc, "start the journal's thread");
		return -1;
	}
	j->has_thread = true;
	return 0;
}

void
journal_stop(struct journal *j)
{
	int64_t mono_ns = clock_mono_ns();
	struct err err;

	lock_take(&j->lock);
	j->stopping = true;
	lock_cond_signal(&j->wake);
	lock_drop(&j->lock);
	if (j->has_thread)
		pthread_join(j->thread, NULL);
	j->has_thread = false;
	if (j->segment.fd >= 0)
		write_turn(j, mono_ns, clock_real_ns());
	lock_take(&j->lock);
	j->listening = false;
	lock_drop(&j->lock);
	if (j->segment.fd >= 0 && sync_segment(j, mono_ns, &err) != 0)
		degrade(j, (struct store_told){ 0 }, mono_ns, &err);
	segment_close(&j->segment);
	if (j->store != NULL) {
		store_set_tap(j->store, NULL);
		store_set_past(j->store, NULL);
	}
	if (j->history != NULL)
		history_stop(j->history);
	j->store = NULL;
}

void
journal_free(struct journal *j)
{
	if (j == NULL)
		return;
	journal_stop(j);
	history_free(j->history);
	journal_self_remove(j);
	if (j->dir_fd >= 0)
		close(j->dir_fd);
	buf_fini(&j->waiting);
	buf_fini(&j->writing);
	segment_writer_fini(&j->segment);
	lock_cond_fini(&j->written);
	lock_cond_fini(&j->wake);
	lock_fini(&j->error_lock);
	lock_fini(&j->lock);
	free((char *)(uintptr_t)j->conf.state_dir);
	free(j);
}

/* Marks. */

uint64_t
journal_mark(struct journal *j)
{
	return j->told_count;
}

bool
journal_accepted(struct journal *j, uint64_t mark)
{
	return j->accepted_count >= mark;
}

bool
journal_wait(struct journal *j, uint64_t mark, int64_t deadline_mono_ns)
{
	bool accepted;

	lock_take(&j->lock);
	if (j->accepted_count < mark) {
		j->hurries = true;
		lock_cond_signal(&j->wake);
	}
	while (!(accepted = j->accepted_count >= mark) &&
	       lock_cond_wait(&j->written, &j->lock, deadline_mono_ns)) {
	}
	lock_drop(&j->lock);
	return accepted;
}

void
journal_get_stats(struct journal *j, struct journal_stats *stats)
{
	*stats = (struct journal_stats){
		.bytes = j->bytes,
		.rows = j->rows,
		.values = j->values,
		.chunks = j->chunks,
		.syncs = j->syncs,
		.segments = j->segments,
		.lost_rows = j->lost_rows,
		.lost_restoring_rows = j->lost_restoring_rows,
		.missing_rows = j->missing_rows,
		.restored_rows = j->restored_rows,
		.restored_values = j->restored_values,
		.degraded = j->degraded,
		.restoring = j->restoring,
	};
}
