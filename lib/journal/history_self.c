/*
 * The own metrics below /history.
 */
#include "journal/history_priv.h"

#define COUNTER(field)                                                                             \
	static struct value read_##field(void *ctx, struct arena *arena)                           \
	{                                                                                          \
		const struct history *h = ctx;                                                     \
                                                                                                   \
		(void)arena;                                                                       \
		return (struct value){ .u = h->field };                                            \
	}

COUNTER(file_count)
COUNTER(bytes)
COUNTER(sealed_count)
COUNTER(dropped_count)
COUNTER(error_count)
COUNTER(query_count)
COUNTER(followed_count)
COUNTER(refused_count)
COUNTER(cut_count)
COUNTER(reading_bytes)

static struct value
read_oldest(void *ctx, struct arena *arena)
{
	const struct history *h = ctx;
	int64_t ns = h->oldest_ns;

	(void)arena;
	return (struct value){ .i = ns == TS_NONE ? 0 : ns };
}

static const struct own_metric metrics[] = {
	{ "/history/files", "Files of history on disk, sorted by endpoint", UNIT_NONE, KIND_UINT64,
	    0, read_file_count },
	{ "/history/bytes", "Bytes of history on disk", UNIT_BYTES, KIND_UINT64, 0, read_bytes },
	{ "/history/oldest", "When history on disk begins", UNIT_NONE, KIND_TIME, 0, read_oldest },
	{ "/history/sealed", "Files of the journal that became files of history", UNIT_NONE,
	    KIND_UINT64, 0, read_sealed_count },
	{ "/history/dropped", "Files of history dropped, too old or too many", UNIT_NONE,
	    KIND_UINT64, 0, read_dropped_count },
	{ "/history/errors", "Files that could not be read or made", UNIT_NONE, KIND_UINT64, 0,
	    read_error_count },
	{ "/history/queries", "Reads of history on disk", UNIT_NONE, KIND_UINT64, 0,
	    read_query_count },
	{ "/history/followed", "Shares of endpoints in files of history, read by writers",
	    UNIT_NONE, KIND_UINT64, 0, read_followed_count },
	{ "/history/refused", "Reads of history on disk refused, as there were too many at once",
	    UNIT_NONE, KIND_UINT64, 0, read_refused_count },
	{ "/history/cut", "Reads of history on disk that left some out, too much of it or damaged",
	    UNIT_NONE, KIND_UINT64, 0, read_cut_count },
	{ "/history/readingBytes", "Memory for reads of history on disk now", UNIT_BYTES,
	    KIND_UINT64, 0, read_reading_bytes },
};

int
history_self_add(struct history *h, struct own *own, struct err *err)
{
	if (own_add(own, metrics, ARRAY_LEN(metrics), h, err) != 0)
		return -1;
	h->own = own;
	return 0;
}

void
history_self_remove(struct history *h)
{
	if (h->own != NULL)
		own_remove(h->own, metrics, h);
}
