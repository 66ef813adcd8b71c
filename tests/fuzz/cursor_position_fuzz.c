/*
 * Bytes as positions of a cursor, as a file may hold them: whatever they say, the cursor reads on
 * to the end, every record of the streams at most once.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "store/cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROWS    40
#define METRICS 6
#define BYTES   (1024 * 1024)
#define MOST    ((size_t)2 * ROWS * METRICS)

/* Metrics in two groups; some come and go. */
static void
fill(struct store *store)
{
	static const char *const paths[METRICS] = { "/a", "/b", "/c", "/d", "/e", "/f" };
	struct series_set *set;
	struct append_stats stats;
	struct batch batch;
	struct err err;

	set = store_set(store, STR("h"), STR("a"), &err);
	assert(set != NULL);
	batch_init(&batch, 0);
	for (int64_t row = 0; row < ROWS; row++) {
		batch_reset(&batch);
		for (int64_t i = 0; i < METRICS; i++) {
			struct metric_desc desc = { .path = str_of(paths[i]), .kind = KIND_INT64 };

			if ((row + i) % 7 != 0 &&
			    batch_add(&batch, &desc, &(struct value){ .i = row / (i + 1) }, i % 2,
			        (row + 1) * NS_PER_S, &err) != 0)
				assert(false);
		}
		batch_end(&batch, 0);
		if (store_append(set, &batch, &stats, &err) != 0)
			assert(false);
	}
	batch_fini(&batch);
	series_set_unref(set);
}

/* As the database has it: six numbers of 32 bits, one of 64 (the rest have it). */
static struct cursor_position
position(const uint8_t bytes[32])
{
	struct cursor_position pos = { .host = STR("h"), .app = STR("a") };

	memcpy(&pos.stream, bytes, 4);
	memcpy(&pos.row, bytes + 4, 4);
	memcpy(&pos.target, bytes + 8, 4);
	memcpy(&pos.at, bytes + 12, 4);
	memcpy(&pos.at_row, bytes + 16, 4);
	memcpy(&pos.flags, bytes + 20, 4);
	memcpy(&pos.left, bytes + 24, 8);
	memcpy(&pos.from_ns, bytes + 24, 8);
	pos.row_ns = pos.from_ns;
	pos.skip_target = pos.left % 64;
	pos.skip_at = pos.left / 64 % 8;
	pos.skip_at_row = pos.left / 512 % 64;
	return pos;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_conf conf = { .memory_bytes = BYTES };
	struct cursor_record records[16];
	struct cursor *cursor;
	struct store *store;
	struct err err;
	size_t n, sum = 0;

	if (size == 0)
		return 0;
	store = store_new(&conf, NULL, &err);
	assert(store != NULL);
	fill(store);
	cursor = cursor_new(store, "w", data[0] % 2 ? CURSOR_EVERY : CURSOR_CHANGES, &err);
	assert(cursor != NULL);
	cursor_keep(cursor);
	for (size_t at = 1; at + 32 <= size; at += 32) {
		struct cursor_position pos = position(data + at);

		if (cursor_restore(cursor, &pos, &err) != 0)
			assert(err.code == ERR_NOTFOUND || err.code == ERR_PROTO);
	}
	cursor_lag_ns(cursor, 0, NULL);
	if (cursor_read(cursor, records, 5) > 0)
		cursor_rewind(cursor);
	while ((n = cursor_read(cursor, records, 16)) > 0) {
		sum += n;
		assert(sum <= MOST);
		if (data[0] % 4 < 2)
			cursor_commit(cursor);
	}
	cursor_free(cursor);
	store_free(store);
	return 0;
}
