#include "journal/crew_priv.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/lock.h"

/* Chunks under way, and bytes of their contents: one more may be begun below that. */
#define SLOTS      16
#define BYTES_MOST ((size_t)32 * 1024 * 1024)

/* A chunk under way. */
struct slot {
	struct buf packed, content;
	bool is_packed; /* not in content yet */
	uint64_t at;    /* in its file */
	size_t bytes;   /* of the content */
	unsigned left;  /* threads that have yet to restore of it */
};

struct worker {
	struct crew *crew;
	struct store_restore *restore;
	pthread_t thread;
	uint64_t unpacked, restored; /* lock; chunks that are done with, by its turn and in all */
	struct restore_stats stats;  /* lock */
};

struct crew {
	struct worker *workers;
	unsigned worker_count;
	unsigned thread_count; /* that run; 0: there is one worker, whom the feeder does */

	struct lock lock;
	struct lock_cond changed; /* any of: */
	struct slot
	    slots[SLOTS];   /* a chunk's content belongs to who unpacks it, then is read only */
	uint64_t fed, done; /* lock; chunks */
	size_t bytes;       /* lock; of contents under way */
	bool stopping;      /* lock */
	bool failed;        /* lock; the rest of the stretch is left out */
	uint64_t failed_at; /* lock */
	struct err err;     /* lock */
};

static struct slot *
slot_of(struct crew *crew, uint64_t chunk)
{
	return &crew->slots[chunk % SLOTS];
}

/* REQUIRES the lock. */
static void
fail(struct crew *crew, uint64_t at, const struct err *err)
{
	if (!crew->failed || at < crew->failed_at) {
		crew->failed_at = at;
		crew->err = *err;
	}
	crew->failed = true;
}

/* It is behind what is no good. REQUIRES the lock. */
static bool
is_left_out(const struct crew *crew, const struct slot *slot)
{
	return crew->failed && slot->at > crew->failed_at;
}

/* Both REQUIRE the lock, and drop it meanwhile. */

static void
unpack(struct crew *crew, struct slot *slot)
{
	struct err err;
	int rc = 0;

	if (!is_left_out(crew, slot)) {
		lock_drop(&crew->lock);
		rc = segment_unpack(&slot->packed, &slot->content, &err);
		lock_take(&crew->lock);
	}
	if (rc != 0)
		fail(crew, slot->at, &err);
	slot->is_packed = false;
}

static void
restore(struct worker *worker, struct slot *slot)
{
	struct crew *crew = worker->crew;
	struct err err;
	size_t good;
	int rc = 0;

	/* What could not be unpacked is empty. */
	if (!is_left_out(crew, slot)) {
		lock_drop(&crew->lock);
		rc = restore_feed(worker->restore, slot->content.p, slot->content.len, &good, &err);
		lock_take(&crew->lock);
	}
	if (rc != 0)
		fail(crew, slot->at, &err);
	restore_get_stats(worker->restore, &worker->stats);
	worker->restored++;
	if (--slot->left > 0)
		return;
	/* Contents are read in order, so chunks are done in order. */
	crew->done++;
	crew->bytes -= slot->bytes;
}

/* One step of a worker's. False: there is nothing to do for now. REQUIRES the lock. */
static bool
step(struct worker *worker)
{
	struct crew *crew = worker->crew;
	struct slot *slot;

	if (worker->unpacked < crew->fed) {
		slot = slot_of(crew, worker->unpacked);
		if (slot->is_packed)
			unpack(crew, slot);
		worker->unpacked += crew->worker_count;
	} else if (worker->restored < crew->fed && !slot_of(crew, worker->restored)->is_packed) {
		restore(worker, slot_of(crew, worker->restored));
	} else {
		return false;
	}
	lock_cond_broadcast(&crew->changed);
	return true;
}

static void *
run(void *arg)
{
	struct worker *worker = arg;
	struct crew *crew = worker->crew;

	lock_take(&crew->lock);
	for (;;) {
		if (step(worker))
			continue;
		if (crew->stopping)
			break;
		(void)lock_cond_wait(&crew->changed, &crew->lock, INT64_MAX);
	}
	lock_drop(&crew->lock);
	return NULL;
}

/* Until no more than so many chunks are under way, or the next one has room. REQUIRES the lock. */
static void
wait_for_room(struct crew *crew, uint64_t most, size_t bytes_most)
{
	while (
	    crew->fed - crew->done > most || (crew->fed > crew->done && crew->bytes > bytes_most)) {
		if (crew->thread_count == 0)
			(void)step(&crew->workers[0]);
		else
			(void)lock_cond_wait(&crew->changed, &crew->lock, INT64_MAX);
	}
}

void
crew_begin_stretch(struct crew *crew)
{
	lock_take(&crew->lock);
	wait_for_room(crew, 0, 0);
	crew->failed = false;
	lock_drop(&crew->lock);
	/* The workers wait for chunks. */
	for (unsigned i = 0; i < crew->worker_count; i++)
		restore_begin_stretch(crew->workers[i].restore);
}

bool
crew_feed(struct crew *crew, struct segment_reader *reader, bool is_packed, uint64_t at)
{
	struct buf *from = is_packed ? &reader->packed : &reader->content, *to, other;
	struct slot *slot;
	bool failed;

	lock_take(&crew->lock);
	wait_for_room(crew, SLOTS - 1, BYTES_MOST);
	slot = slot_of(crew, crew->fed);
	slot->is_packed = is_packed;
	slot->at = at;
	slot->bytes = is_packed ? segment_unpacked_bytes(from) : from->len;
	slot->left = crew->worker_count;
	to = is_packed ? &slot->packed : &slot->content;
	other = *to;
	*to = *from;
	*from = other;
	crew->fed++;
	crew->bytes += slot->bytes;
	lock_cond_broadcast(&crew->changed);
	if (crew->thread_count == 0)
		wait_for_room(crew, 0, 0);
	failed = crew->failed;
	lock_drop(&crew->lock);
	return !failed;
}

int
crew_drain(struct crew *crew, uint64_t *at, struct err *err)
{
	int rc;

	lock_take(&crew->lock);
	wait_for_room(crew, 0, 0);
	rc = crew->failed ? -1 : 0;
	*at = crew->failed_at;
	*err = crew->err;
	lock_drop(&crew->lock);
	return rc;
}

void
crew_get_stats(struct crew *crew, struct restore_stats *sum)
{
	*sum = (struct restore_stats){ 0 };
	lock_take(&crew->lock);
	for (unsigned i = 0; i < crew->worker_count; i++) {
		const struct restore_stats *stats = &crew->workers[i].stats;

		sum->rows += stats->rows;
		sum->values += stats->values;
		sum->known_rows += stats->known_rows;
		sum->missing_rows += stats->missing_rows;
		sum->lost_rows += stats->lost_rows;
	}
	lock_drop(&crew->lock);
}

static int
start(struct crew *crew, struct err *err)
{
	for (unsigned i = 0; i < crew->worker_count && crew->worker_count > 1; i++) {
		int rc = pthread_create(&crew->workers[i].thread, NULL, run, &crew->workers[i]);

		if (rc != 0) {
			err_errno(err, rc, "start a thread to restore");
			return -1;
		}
		crew->thread_count++;
	}
	return 0;
}

struct crew *
crew_new(struct store *store, unsigned threads, struct err *err)
{
	struct crew *crew = calloc(1, sizeof(*crew));

	if (crew == NULL) {
		err_nomem(err);
		return NULL;
	}
	lock_init(&crew->lock, LOCK_crew);
	lock_cond_init(&crew->changed);
	for (size_t i = 0; i < SLOTS; i++) {
		buf_init(&crew->slots[i].packed, 0);
		buf_init(&crew->slots[i].content, 0);
	}
	crew->workers = calloc(threads, sizeof(*crew->workers));
	if (crew->workers == NULL)
		err_nomem(err);
	for (unsigned i = 0; crew->workers != NULL && i < threads; i++) {
		struct worker *worker = &crew->workers[i];

		worker->crew = crew;
		worker->unpacked = i;
		worker->restore = restore_new_part(store, i, threads, err);
		if (worker->restore == NULL)
			break;
		crew->worker_count++;
	}
	if (crew->worker_count < threads || start(crew, err) != 0) {
		crew_free(crew);
		return NULL;
	}
	return crew;
}

void
crew_free(struct crew *crew)
{
	if (crew == NULL)
		return;
	lock_take(&crew->lock);
	crew->stopping = true;
	lock_cond_broadcast(&crew->changed);
	lock_drop(&crew->lock);
	for (unsigned i = 0; i < crew->thread_count; i++)
		pthread_join(crew->workers[i].thread, NULL);
	for (unsigned i = 0; i < crew->worker_count; i++)
		restore_free(crew->workers[i].restore);
	for (size_t i = 0; i < SLOTS; i++) {
		buf_fini(&crew->slots[i].packed);
		buf_fini(&crew->slots[i].content);
	}
	lock_cond_fini(&crew->changed);
	lock_fini(&crew->lock);
	free(crew->workers);
	free(crew);
	/* The heaps of threads that are gone would keep what chunks took. */
	malloc_trim(0);
}
