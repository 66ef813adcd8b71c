#include "store/past_priv.h"

#include <assert.h>
#include <stdlib.h>

#include "store/set_priv.h"
#include "store/store_priv.h"

/* So often one query reads the disk again: who is that slow has to ask for less. */
#define RENEWALS_MOST 16

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

/* Closes it. */
static void
leave_disk(struct past *past)
{
	iter_free(past->records);
	iter_free(past->times);
	past->records = past->times = NULL;
	if (past->found.store != NULL)
		past->from->close(past->from, &past->found);
	past->found = (struct past_found){ .store = NULL };
}

/* -1 with ERR_LIMIT, ERR_NOMEM: it may be half open. */
static int
read_disk(struct past *past, struct ends *ends, struct err *err)
{
	struct past_query query = {
		.host = past->set->host,
		.app = past->set->app,
		.birth_ns = past->set->birth_ns,
		.start_ns = past->reach_ns,
		.is_enough = is_enough,
		.ctx = ends,
	};

	if (past->from->open(past->from, &query, &past->found, err) != 0) {
		past->found.store = NULL;
		return -1;
	}
	past->cut_ns = cut_of(&past->found, ends);
	if (past->found.store == NULL)
		return 0;
	past->records = iter_new(past->found.set, past->prefix, past->how, err);
	past->times =
	    past->records == NULL ? NULL : iter_new(past->found.set, past->prefix, past->how, err);
	return past->times == NULL ? -1 : 0;
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
	*past = (struct past){ .from = from,
		.set = set,
		.prefix = prefix,
		.how = how,
		.reach_ns = start_ns,
		.in_memory = true,
		.in_past = true };
	if (read_disk(past, &ends, err) != 0)
		goto out;
	rc = 0;
	*cut_ns = past->cut_ns;
	if (past->found.store == NULL)
		goto out;
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
	leave_disk(past);
	free(past);
}

static const struct stream *
stream_of(const struct past *past, uint32_t stream)
{
	const struct series_set *set = past->found.set;

	/* Nobody appends to it. */
	return set != NULL && stream < set->stream_count ? set->streams[stream] : NULL;
}

static void
advance(struct past *past)
{
	const struct metric_desc *desc;

	if (!iter_next_series(past->records, &past->desc))
		past->desc = NULL;
	(void)iter_next_series(past->times, &desc);
}

/* True if memory has given up rows that are not in what was read. */
static bool
has_gap(struct past *past)
{
	struct series_set *set = past->set;
	bool gap = false;

	lock_take(&set->lock);
	for (uint32_t i = 0; i < set->stream_count && !gap; i++) {
		int64_t whole_ns = stream_whole_ns(set->streams[i]);
		const struct stream *s = stream_of(past, i);

		gap = whole_ns != 0 && (s == NULL || s->ts_ns < whole_ns);
	}
	lock_drop(&set->lock);
	return gap;
}

/* Reads the disk again, to where memory begins now; the current series stays the same. */
static void
renew(struct past *past)
{
	struct ends ends = { .base_ns = NULL };
	struct err err;

	leave_disk(past);
	past->failed = find_ends(past->set, &ends, &err) != 0 || read_disk(past, &ends, &err) != 0;
	free(ends.base_ns);
	past->desc = NULL;
	past->records_ranged = past->times_ranged = false;
	if (past->failed)
		leave_disk(past);
	if (past->found.store != NULL) {
		do
			advance(past);
		while (past->desc != NULL && desc_cmp(past->desc, past->memory_desc) < 0);
	}
	past->in_past = past->desc != NULL && desc_eq(past->desc, past->memory_desc);
}

/* Before the current series goes on from memory to here. */
static void
close_gap(struct past *past)
{
	if (!past->in_memory || past->memory_desc == NULL || past->renewals >= RENEWALS_MOST ||
	    !has_gap(past))
		return;
	past->renewals++;
	renew(past);
	/* The disk does not have it. */
	if (has_gap(past))
		past->renewals = RENEWALS_MOST;
}

void
past_next_series(struct past *past, const struct metric_desc *desc)
{
	int order;

	past->records_ranged = past->times_ranged = false;
	past->memory_desc = desc;
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
	past->before_ns = past->record_ns = past->time_ns = before_ns;
	past->records_ranged = past->times_ranged = false;
}

/*
 * Of records or times. The range is the same for all series, whatever end_ns is: see iter_range;
 * but for one that goes on after the disk was read again.
 */
static bool
begin(struct past *past, bool is_records)
{
	bool *ranged = is_records ? &past->records_ranged : &past->times_ranged;

	if (!*ranged)
		close_gap(past);
	if (!past->in_past || past->start_ns >= past->before_ns)
		return false;
	if (!*ranged && is_records)
		iter_range(past->records, past->start_ns, past->record_ns);
	else if (!*ranged)
		iter_range(past->times, past->start_ns, past->time_ns);
	*ranged = true;
	return true;
}

size_t
past_read(struct past *past, struct record *out, size_t max)
{
	size_t n, skipped;

	if (!begin(past, true))
		return 0;
	do {
		n = iter_read(past->records, out, max);
		for (skipped = 0; skipped < n && out[skipped].ts_ns >= past->end_ns;)
			skipped++;
	} while (n > 0 && skipped == n);
	memmove(out, out + skipped, (n - skipped) * sizeof(*out));
	if (n > 0)
		past->record_ns = out[n - skipped - 1].ts_ns;
	return n - skipped;
}

size_t
past_read_times(struct past *past, int64_t before_ns, int64_t *out, size_t max)
{
	size_t n, skipped;

	if (!begin(past, false))
		return 0;
	do {
		n = iter_read_times(past->times, out, max);
		for (skipped = 0; skipped < n && out[skipped] >= before_ns;)
			skipped++;
	} while (n > 0 && skipped == n);
	memmove(out, out + skipped, (n - skipped) * sizeof(*out));
	if (n > 0)
		past->time_ns = out[n - skipped - 1];
	return n - skipped;
}

bool
past_failed(const struct past *past)
{
	return past->failed ||
	       (past->records != NULL && (iter_failed(past->records) || iter_failed(past->times)));
}

static bool
leads_to(const struct past *past, uint32_t stream, int64_t ts_ns)
{
	const struct stream *s = stream_of(past, stream);

	return s != NULL && s->ts_ns >= ts_ns;
}

bool
past_leads_to(struct past *past, uint32_t stream, int64_t ts_ns)
{
	if (!leads_to(past, stream, ts_ns))
		close_gap(past);
	return leads_to(past, stream, ts_ns);
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
