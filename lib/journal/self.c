/*
 * The own metrics below /journal.
 */
#include "journal/journal_priv.h"

#define COUNTER(field)                                                                             \
	static struct value read_##field(void *ctx, struct arena *arena)                           \
	{                                                                                          \
		const struct journal *j = ctx;                                                     \
                                                                                                   \
		(void)arena;                                                                       \
		return (struct value){ .u = j->field };                                            \
	}

COUNTER(bytes)
COUNTER(rows)
COUNTER(values)
COUNTER(chunks)
COUNTER(syncs)
COUNTER(segments)
COUNTER(lost_rows)
COUNTER(restored_values)
COUNTER(missing_rows)

static struct value
read_bytes_per_value(void *ctx, struct arena *arena)
{
	const struct journal *j = ctx;
	uint64_t values = j->values;

	(void)arena;
	return (struct value){ .f = values > 0 ? (double)j->bytes / (double)values : 0 };
}

static struct value
read_degraded(void *ctx, struct arena *arena)
{
	const struct journal *j = ctx;

	(void)arena;
	return (struct value){ .b = j->degraded };
}

static struct value
read_last_error(void *ctx, struct arena *arena)
{
	char text[ERR_TEXT_BYTES];

	journal_last_error(ctx, text, sizeof(text));
	return (struct value){ .s = arena_copy(arena, str_of(text)) };
}

static const struct own_metric metrics[] = {
	{ "/journal/bytes", "Bytes written to the journal", UNIT_BYTES, KIND_UINT64, 0,
	    read_bytes },
	{ "/journal/polls", "Polls of groups written to the journal", UNIT_NONE, KIND_UINT64, 0,
	    read_rows },
	{ "/journal/values", "Changed values written to the journal", UNIT_NONE, KIND_UINT64, 0,
	    read_values },
	{ "/journal/bytesPerValue", "Bytes written to the journal, per value that changed",
	    UNIT_BYTES, KIND_FLOAT64, 0, read_bytes_per_value },
	{ "/journal/chunks", "Writes to the journal", UNIT_NONE, KIND_UINT64, 0, read_chunks },
	{ "/journal/syncs", "How often the journal was made durable", UNIT_NONE, KIND_UINT64, 0,
	    read_syncs },
	{ "/journal/segments", "Files begun", UNIT_NONE, KIND_UINT64, 0, read_segments },
	{ "/journal/lostPolls", "Polls of groups that are not in the journal, as the disk failed",
	    UNIT_NONE, KIND_UINT64, 0, read_lost_rows },
	{ "/journal/missingPolls", "Polls of groups found missing in the journal at the start",
	    UNIT_NONE, KIND_UINT64, 0, read_missing_rows },
	{ "/journal/restoredValues", "Changed values brought back at the start", UNIT_NONE,
	    KIND_UINT64, 0, read_restored_values },
	{ "/journal/degraded", "Whether the disk fails, so that nothing is written", UNIT_NONE,
	    KIND_BOOL, 0, read_degraded },
	{ "/journal/lastError", "What last went wrong", UNIT_NONE, KIND_STRING, 0,
	    read_last_error },
};

int
journal_self_add(struct journal *j, struct own *own, struct err *err)
{
	if (own_add(own, metrics, ARRAY_LEN(metrics), j, err) != 0)
		return -1;
	j->own = own;
	return 0;
}

void
journal_self_remove(struct journal *j)
{
	if (j->own != NULL)
		own_remove(j->own, metrics, j);
}
