#include "journal/history_priv.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crash.h"
#include "base/log.h"
#include "messages/metric.h"

#define BAND_BYTES ((size_t)32 * 1024 * 1024)
#define READ_BYTES ((uint64_t)256 * 1024 * 1024)

/* The disk is tried again after that. */
#define RETRY_NS (30 * NS_PER_S)
/* Files that are too old, dropped in one turn: a clock that jumps does not cost all of them. */
#define OLD_MOST 2

/* Of the thread: pollers and readers go first, for processors and disks. */
#define NICENESS    10
#define IOPRIO_IDLE (3 << 13) /* ioprio_set(2) */

/* The list. All of it REQUIRES the lock. */

static void
note_list(struct history *h)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < h->len; i++)
		bytes += h->files[i].bytes;
	h->file_count = h->len;
	h->bytes = bytes;
	h->oldest_ns = h->len == 0 ? TS_NONE : h->files[0].begun_ns;
}

static bool
is_known(const struct history *h, uint64_t number)
{
	for (size_t i = h->len; i > 0; i--) {
		if (h->files[i - 1].number == number)
			return true;
	}
	return false;
}

static int
add_info(struct history *h, struct sealed_info info, struct err *err)
{
	size_t at = h->len;

	if (h->len == h->cap) {
		size_t cap = h->cap == 0 ? 64 : h->cap * 2;
		struct sealed_info *grown = realloc(h->files, cap * sizeof(*grown));

		if (grown == NULL) {
			err_nomem(err);
			return -1;
		}
		h->files = grown;
		h->cap = cap;
	}
	while (at > 0 && h->files[at - 1].number > info.number)
		at--;
	memmove(&h->files[at + 1], &h->files[at], (h->len - at) * sizeof(*h->files));
	h->files[at] = info;
	h->len++;
	if (h->next_number <= info.number)
		h->next_number = info.number + 1;
	note_list(h);
	return 0;
}

uint64_t
history_next_number(struct history *h)
{
	uint64_t number;

	lock_take(&h->lock);
	number = h->next_number;
	lock_drop(&h->lock);
	return number;
}

bool
history_has(struct history *h, uint64_t number)
{
	bool known;

	lock_take(&h->lock);
	known = is_known(h, number);
	lock_drop(&h->lock);
	return known;
}

int
history_list(struct history *h, struct segment_files *files, struct err *err)
{
	int rc = 0;

	lock_take(&h->lock);
	for (size_t i = 0; i < h->len && rc == 0; i++)
		rc = segment_files_add(files,
		    (struct segment_file){ SEGMENT_SEALED, h->files[i].number, h->files[i].bytes,
		        h->files[i].written_ns, h->files[i].begun_ns },
		    err);
	lock_drop(&h->lock);
	return rc;
}

/* Opening. */

static void
set_aside(struct history *h, uint64_t number, const struct err *why)
{
	struct err err;

	h->error_count++;
	if (files_set_aside(h->history_fd, SEGMENT_SEALED, number, 0, clock_real_ns(), &err) == 0)
		log_warn("history", "damaged: %s; it is set aside as %012" PRIu64 ".sh.damaged-...",
		    why->text, number);
	else
		log_warn("history", "damaged: %s; it can't be set aside: %s", why->text, err.text);
}

/* -1 with ERR_CONFIG, ERR_NOMEM. */
static int
load_file(struct history *h, const struct segment_file *file, struct err *err)
{
	struct sealed_file sealed;
	struct err why;
	enum segment_found found = sealed_open(&sealed, h->history_fd, file->number, &why);
	int rc = 0;

	if (found == SEGMENT_CHUNK)
		found = sealed_check_index(&sealed, &why);
	if (found == SEGMENT_CHUNK) {
		lock_take(&h->lock);
		rc = add_info(h,
		    (struct sealed_info){
		        file->number, file->bytes, sealed.foot.begun_ns, sealed.foot.written_ns },
		    err);
		lock_drop(&h->lock);
	}
	sealed_close(&sealed);
	if (found == SEGMENT_DAMAGED) {
		set_aside(h, file->number, &why);
	} else if (found == SEGMENT_NEWER) {
		*err = why;
		rc = -1;
	} else if (found == SEGMENT_FAILED) {
		h->error_count++;
		log_error("history", "left out: %s", why.text);
	}
	return rc;
}

static int
open_dirs(struct history *h, struct err *err)
{
	int fd = files_renew_dir(h->journal_fd, h->conf.state_dir, "journal", err);

	if (fd < 0)
		return -1;
	h->journal_fd = fd;
	fd = files_renew_dir(h->history_fd, h->conf.state_dir, "history", err);
	if (fd < 0)
		return -1;
	h->history_fd = fd;
	return 0;
}

int
history_load(struct history *h, struct err *err)
{
	struct segment_files files = { 0 };
	struct err why;
	int rc = 0;

	if (open_dirs(h, &why) != 0 ||
	    segment_files_list(&files, h->history_fd, SEGMENT_SEALED, &why) != 0) {
		h->error_count++;
		log_error("history", "not opened: %s", why.text);
		goto out;
	}
	lock_take(&h->lock);
	h->next_number = files.next_number;
	lock_drop(&h->lock);
	for (size_t i = 0; i < files.len && rc == 0; i++)
		rc = load_file(h, &files.files[i], err);
out:
	segment_files_free(&files);
	return rc;
}

/* Sealing. */

/* What is damaged in the segment is kept, the rest is in the sealed file. */
static int
keep_damaged(struct history *h, uint64_t number, uint64_t good_bytes, struct err *err)
{
	if (files_set_aside(
	        h->journal_fd, SEGMENT_JOURNAL, number, good_bytes, clock_real_ns(), err) != 0)
		return -1;
	h->error_count++;
	log_warn("history",
	    "journal/%012" PRIu64 ".sj is damaged from byte %" PRIu64 " on: that is set aside as "
	    "%012" PRIu64 ".sj.damaged-..., the rest is good",
	    number, good_bytes, number);
	return 0;
}

static int
seal(struct history *h, const struct segment_file *file, bool *is_stuck, struct err *err)
{
	struct seal_conf conf = { h->journal_fd, h->history_fd, h->conf.band_bytes, &h->stopping };
	struct seal_result sealing;
	int rc = seal_segment(&conf, file->number, file->written_ns, &sealing, err);

	*is_stuck = sealing.is_unreadable;
	if (rc != 0)
		return -1;
	if (sealing.bytes > 0) {
		struct sealed_file sealed;

		/* What was written is read again once, before the segment goes. */
		if (sealed_open(&sealed, h->history_fd, file->number, err) != SEGMENT_CHUNK ||
		    sealed_check_index(&sealed, err) != SEGMENT_CHUNK)
			rc = -1;
		if (rc == 0) {
			lock_take(&h->lock);
			rc = add_info(h,
			    (struct sealed_info){ file->number, sealing.bytes, sealed.foot.begun_ns,
			        sealed.foot.written_ns },
			    err);
			lock_drop(&h->lock);
			h->sealed_count++;
		}
		sealed_close(&sealed);
	}
	if (rc == 0 && sealing.is_damaged)
		rc = keep_damaged(h, file->number, sealing.good_bytes, err);
	return rc;
}

static int
seal_one(struct history *h, const struct segment_file *file, bool *is_stuck, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];

	if (!history_has(h, file->number) && seal(h, file, is_stuck, err) != 0)
		return -1;
	CRASH_POINT("before segment goes");
	segment_name(name, SEGMENT_JOURNAL, file->number);
	if (unlinkat(h->journal_fd, name, 0) != 0 && errno != ENOENT) {
		err_errno(err, errno, "delete journal/%s", name);
		return -1;
	}
	return 0;
}

/* Retention. */

/* The oldest file goes. */
static int
drop_first(struct history *h, struct err *err)
{
	char name[SEGMENT_NAME_BYTES];
	uint64_t number;

	lock_take(&h->lock);
	number = h->files[0].number;
	memmove(&h->files[0], &h->files[1], --h->len * sizeof(*h->files));
	note_list(h);
	lock_drop(&h->lock);
	segment_name(name, SEGMENT_SEALED, number);
	if (unlinkat(h->history_fd, name, 0) != 0 && errno != ENOENT) {
		err_errno(err, errno, "delete history/%s", name);
		return -1;
	}
	CRASH_POINT("sealed file dropped");
	h->dropped_count++;
	return 0;
}

static int
drop_old(struct history *h, int64_t real_ns, struct err *err)
{
	uint64_t most = files_most_bytes(h->history_fd, h->conf.disk_bytes, h->conf.disk_percent);
	struct segment_files files;
	uint64_t journal_bytes;
	int rc = segment_files_list(&files, h->journal_fd, SEGMENT_JOURNAL, err);

	journal_bytes = files.bytes;
	segment_files_free(&files);
	for (int old = 0; rc == 0;) {
		bool too_old, too_much;

		/* The thread alone changes the list. */
		if (h->len == 0)
			break;
		too_old = h->files[0].written_ns < real_ns - h->conf.retention_ns && old < OLD_MOST;
		too_much = h->bytes + journal_bytes > most;
		if (!too_old && !too_much)
			break;
		old += too_old;
		rc = drop_first(h, err);
	}
	return rc;
}

/*
 * Seals what can be sealed of the files before that number. -1: not all, err has the first reason;
 * *is_stuck: a segment can't be read. Those after it do not wait for it, as it may never be.
 */
static int
seal_all(struct history *h, const struct segment_files *files, uint64_t before, bool *is_stuck,
    struct err *err)
{
	struct err more;
	int rc = 0;

	for (size_t i = 0; i < files->len && !h->stopping; i++) {
		bool unreadable = false;

		if (files->files[i].number >= before ||
		    seal_one(h, &files->files[i], &unreadable, rc == 0 ? err : &more) == 0)
			continue;
		rc = -1;
		*is_stuck |= unreadable;
		if (!unreadable)
			break;
	}
	return rc;
}

int
history_turn(struct history *h, int64_t real_ns, struct err *err)
{
	struct segment_files files = { 0 };
	struct err why;
	bool is_stuck = true;
	uint64_t before;
	int rc = -1;

	lock_take(&h->lock);
	before = h->before;
	lock_drop(&h->lock);
	if (open_dirs(h, err) != 0 ||
	    segment_files_list(&files, h->journal_fd, SEGMENT_JOURNAL, err) != 0)
		goto out;
	is_stuck = false;
	rc = h->conf.retention_ns > 0 ? seal_all(h, &files, before, &is_stuck, err) : 0;
	if (rc == 0 && !h->stopping) {
		lock_take(&h->lock);
		h->sealed_before = before;
		lock_drop(&h->lock);
	}
	/* If there is no room to seal, that makes some. */
	if (rc == 0)
		rc = drop_old(h, real_ns, err);
	else
		(void)drop_old(h, real_ns, &why);
out:
	lock_take(&h->lock);
	h->is_stuck = is_stuck;
	lock_drop(&h->lock);
	segment_files_free(&files);
	return rc;
}

/* The thread. */

static void
try_turn(struct history *h)
{
	struct err err;

	if (history_turn(h, clock_real_ns(), &err) == 0) {
		if (h->failing)
			log_info("history", "sealing again");
		h->failing = false;
		return;
	}
	if (h->stopping)
		return;
	h->error_count++;
	if (!h->failing)
		log_error("history", "not sealed: %s; the journal's files stay: retry every %d s",
		    err.text, (int)(RETRY_NS / NS_PER_S));
	h->failing = true;
}

static void *
run(void *arg)
{
	struct history *h = arg;
	id_t thread = (id_t)gettid();

	/* Where that is not allowed it works as well. */
	(void)setpriority(PRIO_PROCESS, thread, NICENESS);
	(void)syscall(SYS_ioprio_set, 1 /* a thread */, (int)thread, IOPRIO_IDLE);
	for (;;) {
		int64_t retry_ns = h->failing ? clock_mono_ns() + RETRY_NS : INT64_MAX;

		lock_take(&h->lock);
		while (
		    !h->stopping && !h->has_work && lock_cond_wait(&h->wake, &h->lock, retry_ns)) {
		}
		h->has_work = false;
		lock_drop(&h->lock);
		if (h->stopping)
			return NULL;
		try_turn(h);
	}
}

void
history_seal_before(struct history *h, uint64_t number, bool is_writing)
{
	lock_take(&h->lock);
	h->is_writing = is_writing;
	if (h->before < number)
		h->before = number;
	h->has_work = true;
	lock_cond_signal(&h->wake);
	lock_drop(&h->lock);
}

/* Who waits for that. */

uint64_t
history_past_seal(struct store_past *past)
{
	struct history *h = CONTAINER_OF(past, struct history, past);
	uint64_t number;

	lock_take(&h->lock);
	number = h->before + h->is_writing;
	if (h->is_writing)
		h->wanted = number;
	lock_drop(&h->lock);
	return number;
}

enum past_sealing
history_past_sealing(struct store_past *past, uint64_t number)
{
	struct history *h = CONTAINER_OF(past, struct history, past);
	enum past_sealing sealing = PAST_SEALS;

	lock_take(&h->lock);
	if (h->sealed_before >= number && h->before > 0)
		sealing = PAST_SEALED;
	else if (h->is_stuck || h->before == 0) /* 0: nothing could ever be written */
		sealing = PAST_STUCK;
	lock_drop(&h->lock);
	return sealing;
}

bool
history_wants_segment(struct history *h)
{
	bool wants;

	lock_take(&h->lock);
	wants = h->wanted > h->before;
	lock_drop(&h->lock);
	return wants;
}

/* Making and ending it. */

struct history *
history_new(const struct history_conf *conf, struct own *own, struct err *err)
{
	struct history *h = calloc(1, sizeof(*h));

	if (h == NULL) {
		err_nomem(err);
		return NULL;
	}
	h->past = (struct store_past){
		.open = history_past_open,
		.close = history_past_close,
		.earliest = history_past_earliest,
	};
	if (conf->retention_ns > 0) {
		h->past.seal = history_past_seal;
		h->past.sealing = history_past_sealing;
	}
	h->conf = *conf;
	h->conf.state_dir = strdup(conf->state_dir);
	if (h->conf.band_bytes == 0)
		h->conf.band_bytes = BAND_BYTES;
	if (h->conf.read_bytes == 0)
		h->conf.read_bytes = READ_BYTES;
	h->journal_fd = h->history_fd = -1;
	h->oldest_ns = TS_NONE;
	h->next_number = 1;
	lock_init(&h->lock, LOCK_history);
	lock_cond_init(&h->wake);
	if (h->conf.state_dir == NULL)
		err_nomem(err);
	if (h->conf.state_dir == NULL || (own != NULL && history_self_add(h, own, err) != 0)) {
		history_free(h);
		return NULL;
	}
	return h;
}

int
history_start(struct history *h, struct err *err)
{
	int rc;

	if (h->conf.manual)
		return 0;
	rc = pthread_create(&h->thread, NULL, run, h);
	if (rc != 0) {
		err_errno(err, rc, "start the history's thread");
		return -1;
	}
	h->has_thread = true;
	return 0;
}

void
history_stop(struct history *h)
{
	lock_take(&h->lock);
	h->stopping = true;
	lock_cond_signal(&h->wake);
	lock_drop(&h->lock);
	if (h->has_thread)
		pthread_join(h->thread, NULL);
	h->has_thread = false;
}

void
history_free(struct history *h)
{
	if (h == NULL)
		return;
	history_stop(h);
	history_self_remove(h);
	if (h->journal_fd >= 0)
		close(h->journal_fd);
	if (h->history_fd >= 0)
		close(h->history_fd);
	lock_cond_fini(&h->wake);
	lock_fini(&h->lock);
	free(h->files);
	free((char *)(uintptr_t)h->conf.state_dir);
	free(h);
}
