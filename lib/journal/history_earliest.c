/*
 * How far back the sealed files go with one set.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "journal/history_priv.h"
#include "messages/metric.h"

/* Times of files come from a clock that lags behind by up to a tick of the system. */
#define TICK_NS (100 * NS_PER_MS)

/* From when on the file has all of the set: false if it has nothing of it, or can't be read. */
static bool
find_whole(
    const struct history *h, uint64_t number, uint64_t hash, int64_t birth_ns, int64_t *whole_ns)
{
	struct sealed_entry *entries = NULL;
	struct sealed_file file;
	size_t n = 0;
	struct err err;

	if (sealed_open(&file, h->history_fd, number, &err) == SEGMENT_CHUNK)
		(void)sealed_find(&file, hash, birth_ns, &entries, &n, &err);
	if (n > 0)
		*whole_ns = entries[0].whole_ns;
	free(entries);
	sealed_close(&file);
	return n > 0 && *whole_ns != INT64_MAX;
}

int64_t
history_past_earliest(
    struct store_past *past, struct str host, struct str app, int64_t birth_ns, int64_t whole_ns)
{
	struct history *h = CONTAINER_OF(past, struct history, past);
	uint64_t hash = sealed_hash(host, app);
	struct segment_files files = { 0 };
	int64_t found_ns = TS_NONE;
	struct err err;

	if (h->history_fd < 0 || history_list(h, &files, &err) != 0)
		goto out;
	for (size_t i = 0; i < files.len; i++) {
		/* The set was not there yet. */
		if (files.files[i].written_ns < birth_ns - TICK_NS)
			continue;
		if (!find_whole(h, files.files[i].number, hash, birth_ns, &found_ns))
			continue;
		if (found_ns == TS_NONE)
			whole_ns = 0;
		else if (found_ns < whole_ns)
			whole_ns = found_ns;
		break;
	}
out:
	segment_files_free(&files);
	return whole_ns;
}
