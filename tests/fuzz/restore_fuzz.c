/*
 * What a journal tells, restored. The first byte says how to take the rest: as tellings, or, if it
 * is odd, as what a compressed chunk of a segment holds. Whatever it is, the store must be one that
 * can be asked and appended to, or there is an error.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "journal/segment_priv.h"
#include "store/iter.h"
#include "store/redo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
ask(struct series_set *set)
{
	struct err err;
	struct iter *iter = iter_new(set, STR_EMPTY, ITER_UNDER, &err);
	const struct metric_desc *desc;
	struct record record;
	int64_t ts_ns;

	assert(iter != NULL);
	while (iter_next_series(iter, &desc)) {
		(void)iter_latest(iter, &record);
		iter_range(iter, INT64_MIN, INT64_MAX);
		for (int i = 0; i < 1000 && iter_read(iter, &record, 1) == 1; i++) {
		}
		for (int i = 0; i < 1000 && iter_read_times(iter, &ts_ns, 1) == 1; i++) {
		}
	}
	iter_free(iter);
}

/* One more poll, with something old and something new. */
static void
append(struct series_set *set)
{
	struct metric_desc desc = { .path = STR("/new"), .kind = KIND_INT64 };
	struct value value = { .i = 7 };
	struct append_stats stats;
	struct batch batch;
	struct err err;

	batch_init(&batch, 0);
	(void)batch_add(&batch, &desc, &value, 0, INT64_C(2000000000000000000), &err);
	batch_end(&batch, 0);
	(void)store_append(set, &batch, &stats, &err);
	(void)store_deactivate(set, TS_NONE);
	batch_fini(&batch);
}

static void
restore(const uint8_t *data, size_t size)
{
	struct store_conf conf = { .memory_bytes = 8 << 20 };
	struct err err;
	struct store *store = store_new(&conf, NULL, &err);
	struct store_restore *r = restore_new(store, &err);
	/* A block of its own, so that a sanitizer sees a read beyond. */
	uint8_t *copy = calloc(1, size + RESTORE_SLACK);
	struct series_set *const *sets;
	size_t n, good;

	assert(copy != NULL);
	if (size > 0)
		memcpy(copy, data, size);
	restore_begin_stretch(r);
	if (restore_feed(r, copy, size, &good, &err) == 0)
		(void)restore_feed(r, copy, size, &good, &err);
	restore_free(r);
	free(copy);
	assert(sets_snapshot(store, &sets, &n, &err) == 0);
	for (size_t i = 0; i < n; i++) {
		ask(sets[i]);
		append(sets[i]);
		ask(sets[i]);
	}
	sets_free(sets, n);
	store_free(store);
}

/* A segment with one chunk, whose checksums are right. */
static void
read_segment(const uint8_t *data, size_t size)
{
	/* By a name that is not a segment's, it is number 0. */
	uint32_t head[8] = { [2] = SEGMENT_VERSION }, chunk[4] = { 0, (uint32_t)size, 0, 0 };
	uint64_t number = 0;
	int fd = memfd_create("segment", 0);
	struct segment_reader reader;
	char path[64];
	struct err err;

	memcpy(head, "scottySJ", 8);
	head[3] = crc32c(crc32c(0, head, 12), head + 4, 16);
	memcpy(chunk, "SJcz", 4);
	chunk[3] = crc32c(crc32c(crc32c(0, &number, 8), chunk, 12), data, size);
	if (write(fd, head, sizeof(head)) < 0 || write(fd, chunk, sizeof(chunk)) < 0 ||
	    write(fd, data, size) < 0)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (segment_open(&reader, -1, path, &err) != SEGMENT_CHUNK)
		abort();
	(void)segment_next(&reader, &err);
	segment_reader_close(&reader);
	close(fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	log_set_level(LOG_ERROR + 1);
	if (size == 0)
		return 0;
	if (data[0] % 2 == 0)
		restore(data + 1, size - 1);
	else
		read_segment(data + 1, size - 1);
	return 0;
}
