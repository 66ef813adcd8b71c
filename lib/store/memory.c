#include "store/store_priv.h"

#include <inttypes.h>
#include <stdlib.h>

#include "store/chain_priv.h"
#include "store/set_priv.h"

/* From here on malloc takes whole pages of the system for a block. */
#define MMAP_BYTES (128 * 1024)

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

static bool
charge(struct store *store, size_t bytes)
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

void
memory_free(struct store *store, void *p, size_t bytes)
{
	if (p == NULL)
		return;
	free(p);
	memory_uncharge(store, heap_bytes(bytes));
}

/* Takes a page away from the chain whose turn it is. NULL if there is none. */
static struct page *
reclaim(struct store *store)
{
	struct page *page = NULL;

	while (page == NULL) {
		struct chain *chain = pages_claim(&store->pool);
		struct series_set *set;

		if (chain == NULL)
			return NULL;
		set = chain->set;
		lock_take(&set->lock);
		page = chain_drop_oldest(chain);
		lock_drop(&set->lock);
		if (page != NULL)
			chain_release_page(chain, page);
		series_set_unref(set);
	}
	return page;
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

int
memory_charge(struct store *store, size_t bytes, struct err *err)
{
	while (!charge(store, bytes)) {
		struct page *page = reclaim(store);

		if (page == NULL) {
			full_err(store, err);
			return -1;
		}
		memory_free(store, page, sizeof(*page));
	}
	return 0;
}

void *
memory_alloc(struct store *store, size_t bytes, struct err *err)
{
	void *p;

	if (memory_charge(store, heap_bytes(bytes), err) != 0)
		return NULL;
	p = malloc(bytes);
	if (p == NULL) {
		memory_uncharge(store, heap_bytes(bytes));
		err_nomem(err);
	}
	return p;
}

void *
memory_grow(struct store *store, void *p, size_t old_bytes, size_t new_bytes, struct err *err)
{
	void *grown = memory_alloc(store, new_bytes, err);

	if (grown == NULL)
		return NULL;
	if (old_bytes > 0)
		memcpy(grown, p, old_bytes);
	memory_free(store, p, old_bytes);
	return grown;
}

int
memory_pages(struct store *store, size_t n, struct page_list *list, struct err *err)
{
	while (list->len < n) {
		struct page *page;

		if (charge(store, heap_bytes(sizeof(*page)))) {
			page = malloc(sizeof(*page));
			if (page == NULL) {
				memory_uncharge(store, heap_bytes(sizeof(*page)));
				err_nomem(err);
				return -1;
			}
		} else {
			page = reclaim(store);
			if (page == NULL)
				return 0;
		}
		page->newer = list->first;
		list->first = page;
		list->len++;
	}
	return 0;
}

void
memory_free_pages(struct store *store, struct page_list *list)
{
	while (list->first != NULL) {
		struct page *page = list->first;

		list->first = page->newer;
		list->len--;
		memory_free(store, page, sizeof(*page));
	}
}
