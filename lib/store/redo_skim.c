#include "store/redo_skim.h"

#include "store/restore_priv.h"

static void
skim_rest(struct redo_reader *in, unsigned kind, struct redo_skimmed *out)
{
	switch (kind) {
	case REDO_META:
		out->about = REDO_ABOUT_META;
		out->number = redo_number(in);
		break;
	case REDO_SCHEMA:
		out->about = REDO_ABOUT_SCHEMA;
		out->number = redo_number(in);
		out->stream_count = (uint32_t)redo_number_to(in, (uint64_t)(in->end - in->p));
		break;
	case REDO_STATE:
		out->about = REDO_ABOUT_STATE;
		out->number = redo_number(in);
		out->host = redo_text(in);
		out->app = redo_text(in);
		out->birth_ns = (int64_t)redo_word(in);
		out->schema = redo_number(in);
		break;
	case REDO_POLL:
		out->about = REDO_ABOUT_POLL;
		out->number = redo_number(in);
		if (redo_byte(in) != 0)
			out->schema = redo_number(in);
		break;
	case REDO_FORGET:
		out->about = REDO_ABOUT_FORGET;
		break;
	case REDO_GONE:
		out->about = REDO_ABOUT_GONE;
		break;
	default:
		in->bad = true;
	}
}

bool
redo_skim(const char *p, size_t bytes, struct redo_skimmed *out)
{
	const uint8_t *begin = (const uint8_t *)p;
	struct redo_reader in = { .p = begin, .end = begin + bytes };
	unsigned kind = redo_byte(&in);
	uint64_t len = redo_number_to(&in, bytes);
	struct redo_reader record = { .p = in.p, .end = in.p + len, .bad = in.bad };

	redo_bytes(&in, len);
	if (in.bad)
		return false;
	*out = (struct redo_skimmed){ .p = p, .bytes = (size_t)(in.p - begin) };
	skim_rest(&record, kind, out);
	out->rest = (size_t)(record.p - begin);
	return !record.bad;
}

static struct redo_reader
rest_of(const struct redo_skimmed *record)
{
	const uint8_t *begin = (const uint8_t *)record->p;

	return (struct redo_reader){ .p = begin + record->rest, .end = begin + record->bytes };
}

bool
redo_skim_whole(const struct redo_skimmed *record, uint32_t stream_count, int64_t *whole_ns)
{
	struct redo_reader in = rest_of(record);
	uint64_t moves = redo_number_to(&in, (uint64_t)(in.end - in.p) / 4);

	for (uint64_t i = 0; i < 4 * moves; i++)
		(void)redo_number(&in);
	*whole_ns = TS_NONE;
	for (uint32_t i = 0; i < stream_count && !in.bad; i++) {
		int64_t ts_ns;

		(void)redo_number(&in);
		if (redo_byte(&in) == 0)
			continue;
		ts_ns = (int64_t)redo_word(&in);
		(void)redo_word(&in);
		if (ts_ns > *whole_ns)
			*whole_ns = ts_ns;
	}
	return !in.bad;
}

bool
redo_skim_metas(
    const struct redo_skimmed *record, bool (*fn)(void *ctx, uint64_t number), void *ctx)
{
	struct redo_reader in = rest_of(record);
	uint64_t count = 0;

	for (uint32_t i = 0; i < record->stream_count && !in.bad; i++) {
		(void)redo_signed(&in);
		count += redo_number_to(&in, (uint64_t)(in.end - in.p));
	}
	for (uint64_t i = 0; i < count && !in.bad; i++) {
		uint64_t v = redo_number(&in);

		if (v != 0 && !fn(ctx, v >> 1))
			return false;
	}
	return !in.bad;
}
