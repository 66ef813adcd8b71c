#include "store/store_priv.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>

#include "store/log_priv.h"
#include "store/set_priv.h"

/* From here on malloc takes whole pages of the system for a block. */
#define MMAP_BYTES (128 * 1024)
/* See grow_ahead; less than what free takes as the occasion to tidy up. */
#define AHEAD_BYTES (60 * 1024)
/* See trim_if_due. */
#define FREED_PART 128

/* What malloc takes for a block, as glibc rounds. */
static size_t
heap_bytes(size_t bytes)
{
	size_t head = 8, align = 16, least = 32;

	if (bytes >= MMAP_BYTES)
		return (bytes + 16 + 4095) / 4096 * 4096;
	bytes = (bytes + head + align - 1) / align * align;
	return bytes < least ? least : bytes;
}

bool
memory_try_charge(struct store *store, size_t bytes)
{
	uint64_t used = atomic_load(&store->used_bytes);

	do {
		if (bytes > store->limit_bytes || used > store->limit_bytes - bytes)
			return false;
	} while (!atomic_compare_exchange_weak(&store->used_bytes, &used, used + bytes));
	return true;
}

void
memory_uncharge(struct store *store, size_t bytes)
{
	atomic_fetch_sub(&store->used_bytes, bytes);
}

/*
 * Has malloc give back what lies free between blocks in use, each time a part of the limit was
 * freed: else a store whose memory goes from one use to another takes more and more of it. Spare
 * pages do not come here, so a store that only turns pages over has little to give back.
 */
static void
trim_if_due(struct store *store)
{
	uint64_t freed = atomic_load(&store->freed_bytes);

	if (freed > store->limit_bytes / FREED_PART &&
	    atomic_compare_exchange_strong(&store->freed_bytes, &freed, 0))
		malloc_trim(0);
}

void
memory_free(struct store *store, void *p, size_t bytes)
{
	if (p == NULL)
		return;
	free(p);
	store->freed_bytes += bytes;
	memory_uncharge(store, heap_bytes(bytes));
}

void *
memory_shrink(struct store *store, void *p, size_t bytes, size_t less)
{
	void *shrunk = realloc(p, less);

	/* The system has no smaller block: it is larger than need be for now. */
	if (shrunk == NULL)
		shrunk = p;
	store->freed_bytes += bytes - less;
	memory_uncharge(store, heap_bytes(bytes) - heap_bytes(less));
	return shrunk;
}

static void
full_err(const struct store *store, struct err *err)
{
	uint64_t mib = 1024 * 1024, kib = 1024;
	uint64_t unit = store->limit_bytes >= 10 * mib ? mib : kib;
	uint64_t used = atomic_load(&store->used_bytes);

	err_set(err, ERR_LIMIT,
	    "store is full: %" PRIu64 " %s of %" PRIu64 " %s used; raise store.memory", used / unit,
	    unit == mib ? "MiB" : "KiB", store->limit_bytes / unit, unit == mib ? "MiB" : "KiB");
}

/* Takes a page away from the stream whose turn it is. False if there is none. */
static bool
reclaim(struct store *store)
{
	struct stream *stream;
	struct page *page;
	bool done = false;

	while (!done && (stream = pages_victim(&store->pool, &page)) != NULL) {
		struct series_set *set = stream->set;

		lock_take(&set->lock);
		/* Someone else may have taken it in the meantime, or the stream woken up. */
		if (page == NULL ? stream->active_count == 0 && stream->oldest != NULL
		                 : stream->oldest == page && stream->newest != page) {
			log_drop_oldest(stream, true);
			done = true;
		}
		lock_drop(&set->lock);
		series_set_unref(set);
	}
	return done;
}

/* Waits for no one: pages are taken away until so much is free. -1 with ERR_LIMIT. */
static int
make_room(struct store *store, size_t bytes, struct err *err)
{
	while (!memory_try_charge(store, heap_bytes(bytes))) {
		struct page *spare = pages_take_spare(&store->pool);

		if (spare != NULL) {
			memory_free(store, spare, PAGE_BYTES);
		} else if (!reclaim(store) && !windows_free_one(store)) {
			full_err(store, err);
			return -1;
		}
	}
	memory_uncharge(store, heap_bytes(bytes));
	return 0;
}

int
memory_charge(struct store *store, size_t bytes, struct err *err)
{
	while (!memory_try_charge(store, bytes)) {
		if (make_room(store, bytes, err) != 0)
			return -1;
	}
	return 0;
}

void *
memory_alloc(struct store *store, size_t bytes, struct err *err)
{
	struct memory_want want = { 0 };
	void *p;

	while ((p = memory_try(store, bytes, &want)) == NULL) {
		if (memory_wait(store, &want, err) != 0)
			return NULL;
	}
	return p;
}

void
memory_charge_beyond(struct store *store, size_t bytes)
{
	atomic_fetch_add(&store->used_bytes, bytes);
}

void *
memory_alloc_beyond(struct store *store, size_t bytes, struct err *err)
{
	void *p = malloc(bytes);

	if (p == NULL)
		err_nomem(err);
	else
		memory_charge_beyond(store, heap_bytes(bytes));
	return p;
}

void *
memory_alloc_listed(struct store *store, size_t bytes, bool beyond, struct err *err)
{
	void *p = memory_alloc(store, bytes, err);

	if (p == NULL && beyond && err->code == ERR_LIMIT)
		p = memory_alloc_beyond(store, bytes, err);
	return p;
}

/*
 * Out of the main thread malloc has the system make the heap larger page by page. This has it done
 * for many at a time; they take no memory before they are used.
 */
static void
grow_ahead(size_t bytes)
{
	static _Thread_local size_t left;
	void *volatile ahead; /* else the compiler leaves both calls out */

	if (bytes <= left) {
		left -= bytes;
		return;
	}
	left = AHEAD_BYTES;
	ahead = malloc(AHEAD_BYTES);
	free(ahead);
}

void *
memory_try(struct store *store, size_t bytes, struct memory_want *want)
{
	void *p = NULL;

	*want = (struct memory_want){ .bytes = bytes };
	if (!memory_try_charge(store, heap_bytes(bytes)))
		return NULL;
	grow_ahead(bytes);
	p = malloc(bytes);
	if (p == NULL) {
		want->nomem = true;
		memory_uncharge(store, heap_bytes(bytes));
	}
	return p;
}

int
memory_wait(struct store *store, const struct memory_want *want, struct err *err)
{
	trim_if_due(store);
	if (want->nomem) {
		err_nomem(err);
		return -1;
	}
	/* What is reclaimed becomes a spare page, so it need not be given back first. */
	if (want->page && reclaim(store))
		return 0;
	return make_room(store, want->bytes, err);
}
