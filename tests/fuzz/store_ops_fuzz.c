/*
 * Bytes as operations on a store with little memory: polls of any mix of metrics, groups and times,
 * deactivations, queries, cursors, endpoints that go. Histories must be in order, and memory within
 * its bound.
 */
#include <assert.h>
#include <string.h>

#include "base/clock.h"
#include "store/cursor.h"
#include "store/iter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define METRICS 12
#define BYTES   (96 * 1024)

struct input {
	const uint8_t *p;
	size_t left;
};

struct world {
	struct store *store;
	struct series_set *set;
	struct cursor *cursors[2];
	struct batch batch;
	int64_t now_ns;
};

static const char *const paths[METRICS] = { "/a", "/a/b", "/b", "/c", "/d", "/e", "/f", "/g", "/h",
	"/i", "/j", "/k" };

static uint8_t
take(struct input *in)
{
	if (in->left == 0)
		return 0;
	in->left--;
	return *in->p++;
}

static void
add_metric(struct world *w, size_t i, int64_t n, int64_t group)
{
	static const enum kind kinds[] = { KIND_INT64, KIND_FLOAT64, KIND_STRING, KIND_BOOL };
	static const char text[] = "abcdefghijklmnopqrstuvwxyz";
	struct metric_desc desc = { .path = str_of(paths[i]), .kind = kinds[i % 4] };
	struct value value = { .i = n };
	struct err err;

	if (desc.kind == KIND_FLOAT64)
		value.f = (double)n / 100;
	else if (desc.kind == KIND_STRING)
		value.s = (struct str){ text, (size_t)n % sizeof(text) };
	else if (desc.kind == KIND_BOOL)
		value.b = n % 2 != 0;
	assert(batch_add(&w->batch, &desc, &value, group, w->now_ns, &err) == 0);
}

static void
do_append(struct world *w, struct input *in)
{
	unsigned mask = take(in) | (unsigned)take(in) << 8, shift = take(in);
	struct append_stats stats;
	struct err err;

	w->now_ns += ((int64_t)take(in) - 16) * NS_PER_MS;
	batch_reset(&w->batch);
	batch_set_unordered(&w->batch);
	for (size_t i = 0; i < METRICS; i++) {
		if ((mask >> i & 1) != 0)
			add_metric(w, i, take(in), (int64_t)((i + shift) % (1 + shift % 4)));
	}
	batch_end(&w->batch, w->now_ns);
	if (store_append(w->set, &w->batch, &stats, &err) != 0)
		assert(err.code == ERR_LIMIT || err.code == ERR_NOMEM);
	else
		assert(stats.stale <= w->batch.len);
}

static void
do_query(struct world *w, struct input *in)
{
	int64_t start_ns = w->now_ns - (int64_t)take(in) * 10 * NS_PER_MS;
	int64_t end_ns = start_ns + (int64_t)take(in) * 20 * NS_PER_MS;
	const struct metric_desc *desc;
	struct record records[7];
	struct err err;
	struct iter *it = iter_new(w->set, STR_EMPTY, ITER_UNDER, &err);
	size_t n;

	assert(it != NULL);
	while (iter_next_series(it, &desc)) {
		int64_t before_ns = end_ns;
		bool last = false;

		iter_range(it, start_ns, end_ns);
		while ((n = iter_read(it, records, 7)) > 0) {
			for (size_t i = 0; i < n; i++) {
				assert(!last && records[i].ts_ns < before_ns);
				before_ns = records[i].ts_ns;
				last = before_ns <= start_ns;
			}
		}
		(void)iter_earliest(it);
	}
	iter_free(it);
}

static void
do_cursor(struct world *w, struct input *in)
{
	struct cursor_record records[16];
	struct cursor *cursor = w->cursors[take(in) % 2];
	uint8_t what = take(in);

	(void)cursor_read(cursor, records, 1 + what % 16);
	if (what >= 192)
		cursor_rewind(cursor);
	else if (what >= 64)
		cursor_commit(cursor);
	(void)cursor_lag_ns(cursor, w->now_ns, NULL);
}

static void
open_set(struct world *w)
{
	struct err err;

	w->set = store_set(w->store, STR("host"), STR("app"), &err);
	assert(w->set != NULL);
}

static void
step(struct world *w, struct input *in)
{
	switch (take(in) % 16) {
	case 0:
		store_deactivate(w->set, w->now_ns);
		assert(series_set_active_count(w->set) == 0);
		break;
	case 1:
		store_forget(w->store, w->set);
		series_set_unref(w->set);
		open_set(w);
		break;
	case 2:
	case 3:
		do_query(w, in);
		break;
	case 4:
	case 5:
	case 6:
		do_cursor(w, in);
		break;
	default:
		do_append(w, in);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct world w = { .now_ns = 1500000000 * NS_PER_S };
	struct store_stats stats;
	struct err err;

	w.store = store_new(&(struct store_conf){ .memory_bytes = BYTES }, NULL, &err);
	assert(w.store != NULL);
	batch_init(&w.batch, 0);
	open_set(&w);
	for (size_t i = 0; i < 2; i++) {
		w.cursors[i] = cursor_new(w.store, i == 0 ? "every" : "changes",
		    i == 0 ? CURSOR_EVERY : CURSOR_CHANGES, &err);
		assert(w.cursors[i] != NULL);
	}
	while (in.left > 0) {
		step(&w, &in);
		store_get_stats(w.store, &stats);
		assert(stats.bytes_used <= stats.bytes_limit);
	}
	for (size_t i = 0; i < 2; i++)
		cursor_free(w.cursors[i]);
	series_set_unref(w.set);
	batch_fini(&w.batch);
	store_free(w.store);
	return 0;
}
