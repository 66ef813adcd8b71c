#include "store/past_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/set_priv.h"
#include "store/store_priv.h"

void
store_set_past(struct store *store, struct store_past *past)
{
	store->past = past;
}

/* Where memory ends, by stream. */
struct ends {
	int64_t *base_ns; /* 0: it has all */
	uint32_t len;
	int64_t latest_ns;
};

/* -1 with ERR_NOMEM. */
static int
find_ends(struct series_set *set, struct ends *ends, struct err *err)
{
	uint32_t cap;

	lock_take(&set->lock);
	cap = set->stream_count;
	lock_drop(&set->lock);
	*ends = (struct ends){ .base_ns = calloc((size_t)cap + 1, sizeof(*ends->base_ns)) };
	if (ends->base_ns == NULL) {
		err_nomem(err);
		return -1;
	}
	lock_take(&set->lock);
	/* There are never fewer than before. */
	ends->len = cap < set->stream_count ? cap : set->stream_count;
	for (uint32_t i = 0; i < ends->len; i++) {
		ends->base_ns[i] = stream_whole_ns(set->streams[i]);
		if (ends->base_ns[i] > ends->latest_ns)
			ends->latest_ns = ends->base_ns[i];
	}
	lock_drop(&set->lock);
	return 0;
}

static bool
is_enough(void *ctx, struct series_set *set)
{
	const struct ends *ends = ctx;
	bool enough = true;

	lock_take(&set->lock);
	for (uint32_t i = 0; i < ends->len && enough; i++)
		enough = ends->base_ns[i] == 0 ||
		         (i < set->stream_count && set->streams[i]->ts_ns >= ends->base_ns[i]);
	lock_drop(&set->lock);
	return enough;
}

static int
restore(
    struct past *past, struct series_set *set, struct ends *ends, int64_t start_ns, struct err *err)
{
	struct past_query query = {
		.host = set->host,
		.app = set->app,
		.birth_ns = set->birth_ns,
		.start_ns = start_ns,
		.is_enough = is_enough,
		.ctx = ends,
	};

	return past->from->open(past->from, &query, &past->found, err);
}

/*
 * Where what was left out ends, 0 if nothing was. Memory may begin before that, but gives up more
 * while it is read.
 */
static int64_t
cut_of(const struct past_found *found, struct ends *ends)
{
	int64_t cut_ns = found->is_cut ? found->whole_ns : 0;

	if (found->store == NULL)
		return found->is_cut ? ends->latest_ns : 0;
	for (uint32_t i = 0; found->is_cut && i < found->set->stream_count; i++) {
		int64_t whole_ns = stream_whole_ns(found->set->streams[i]);

		if (cut_ns < whole_ns)
			cut_ns = whole_ns;
	}
	if (cut_ns == INT64_MAX || (cut_ns < ends->latest_ns && !is_enough(ends, found->set)))
		cut_ns = ends->latest_ns;
	return cut_ns;
}

int
past_open(struct series_set *set, struct str prefix, enum iter_match how, int64_t start_ns,
    struct past **out, int64_t *cut_ns, struct err *err)
{
	struct store_past *from = set->store->past;
	struct past *past = NULL;
	struct ends ends;
	int rc = -1;

	*out = NULL;
	*cut_ns = 0;
	if (from == NULL)
		return 0;
	if (find_ends(set, &ends, err) != 0)
		return -1;
	if (ends.latest_ns == 0 || ends.latest_ns <= start_ns) {
		rc = 0;
		goto out;
	}
	past = calloc(1, sizeof(*past));
	if (past == NULL) {
		err_nomem(err);
		goto out;
	}
	*past = (struct past){ .from = from, .in_memory = true, .in_past = true };
	if (restore(past, set, &ends, start_ns, err) != 0)
		goto out;
	rc = 0;
	*cut_ns = cut_of(&past->found, &ends);
	if (past->found.store == NULL)
		goto out;
	past->records = iter_new(past->found.set, prefix, how, err);
	past->times = past->records == NULL ? NULL : iter_new(past->found.set, prefix, how, err);
	if (past->times == NULL) {
		rc = -1;
		goto out;
	}
	*out = past;
	past = NULL;
out:
	past_free(past);
	free(ends.base_ns);
	return rc;
}

void
past_free(struct past *past)
{
	if (past == NULL)
		return;
	iter_free(past->records);
	iter_free(past->times);
	if (past->found.store != NULL)
		past->from->close(past->from, &past->found);
	free(past);
}

static void
advance(struct past *past)
{
	const struct metric_desc *desc;

	if (!iter_next_series(past->records, &past->desc))
		past->desc = NULL;
	(void)iter_next_series(past->times, &desc);
}

void
past_next_series(struct past *past, const struct metric_desc *desc)
{
	int order;

	past->ranged = false;
	if (past->in_past)
		advance(past);
	/* What only the past has, and says nothing of: its descriptions outlive its rows. */
	while (past->desc != NULL && (desc == NULL || desc_cmp(past->desc, desc) < 0) &&
	       !iter_has_series(past->records))
		advance(past);
	if (desc == NULL || past->desc == NULL) {
		past->in_memory = desc != NULL;
		past->in_past = past->desc != NULL;
		return;
	}
	order = desc_cmp(desc, past->desc);
	if (order == 0 && !desc_eq(desc, past->desc))
		order = -1;
	past->in_memory = order <= 0;
	past->in_past = order >= 0;
}

void
past_range(struct past *past, int64_t start_ns, int64_t before_ns)
{
	past->start_ns = start_ns;
	past->before_ns = before_ns;
	past->ranged = false;
}

static bool
begin(struct past *past)
{
	if (!past->in_past || past->start_ns >= past->before_ns)
		return false;
	if (past->ranged)
		return true;
	past->ranged = true;
	/* The same for all series, whatever end_ns is: see iter_range. */
	iter_range(past->records, past->start_ns, past->before_ns);
	iter_range(past->times, past->start_ns, past->before_ns);
	return true;
}

size_t
past_read(struct past *past, struct record *out, size_t max)
{
	size_t n, skipped;

	if (!begin(past))
		return 0;
	do {
		n = iter_read(past->records, out, max);
		for (skipped = 0; skipped < n && out[skipped].ts_ns >= past->end_ns;)
			skipped++;
	} while (n > 0 && skipped == n);
	memmove(out, out + skipped, (n - skipped) * sizeof(*out));
	return n - skipped;
}

size_t
past_read_times(struct past *past, int64_t before_ns, int64_t *out, size_t max)
{
	size_t n, skipped;

	if (!begin(past))
		return 0;
	do {
		n = iter_read_times(past->times, out, max);
		for (skipped = 0; skipped < n && out[skipped] >= before_ns;)
			skipped++;
	} while (n > 0 && skipped == n);
	memmove(out, out + skipped, (n - skipped) * sizeof(*out));
	return n - skipped;
}

bool
past_failed(const struct past *past)
{
	return iter_failed(past->records) || iter_failed(past->times);
}

static const struct stream *
stream_of(const struct past *past, uint32_t stream)
{
	const struct series_set *set = past->found.set;

	/* Nobody appends to it. */
	return stream < set->stream_count ? set->streams[stream] : NULL;
}

bool
past_leads_to(const struct past *past, uint32_t stream, int64_t ts_ns)
{
	const struct stream *s = stream_of(past, stream);

	return s != NULL && s->ts_ns >= ts_ns;
}

int64_t
past_earliest(struct past *past)
{
	return iter_earliest(past->records);
}

int64_t
past_earliest_of(const struct past *past, uint32_t stream)
{
	const struct stream *s = stream_of(past, stream);

	return s == NULL ? 0 : stream_whole_ns(s);
}
