#include "messages/own.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/lock.h"
#include "messages/own_priv.h"

#define DIST_GROUP 100 /* the first distribution's group; the others' follow */

struct own_dist {
	struct own_metric row; /* read is NULL */
	const double *limits;
	size_t limit_count;
	size_t number;         /* from 0 */
	struct own_dist *next; /* of the next lower number */

	struct lock lock; /* guards the rest */
	double sum, min, max;
	uint64_t count;    /* and generation: each add is one of both */
	uint64_t counts[]; /* limit_count + 1 */
};

/* A metric that is registered. */
struct entry {
	const struct own_metric *row;
	const struct own_metric *rows; /* what own_add was given */
	void *ctx;
	struct own_dist *dist;             /* one that is added to, or NULL */
	const struct own_counted *counted; /* one that is counted when asked for, or NULL */
};

struct own {
	struct lock lock;      /* guards all but dists, which is read without it */
	struct entry *entries; /* in component order */
	size_t len, cap;
	struct own_block *blocks;
	struct own_dist *_Atomic dists; /* newest first; none is ever taken out */
};

struct own *
own_new(struct err *err)
{
	struct own *own = calloc(1, sizeof(*own));

	if (own == NULL) {
		err_nomem(err);
		return NULL;
	}
	lock_init(&own->lock, LOCK_self);
	return own;
}

void
own_free(struct own *own)
{
	struct own_dist *dist, *next_dist;
	struct own_block *block, *next_block;

	if (own == NULL)
		return;
	for (dist = own->dists; dist != NULL; dist = next_dist) {
		next_dist = dist->next;
		lock_fini(&dist->lock);
		free(dist);
	}
	for (block = own->blocks; block != NULL; block = next_block) {
		next_block = block->next;
		free(block);
	}
	lock_fini(&own->lock);
	free(own->entries);
	free(own);
}

void
own_keep(struct own *own, struct own_block *block)
{
	lock_take(&own->lock);
	block->next = own->blocks;
	own->blocks = block;
	lock_drop(&own->lock);
}

/* The first entry that does not sort before path. REQUIRES(own->lock) */
static size_t
find(const struct own *own, const char *path)
{
	size_t low = 0, high = own->len;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (path_cmp_components(str_of(own->entries[middle].row->path), str_of(path)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* REQUIRES(own->lock) */
static bool
exists(const struct own *own, const char *path)
{
	size_t at = find(own, path);

	return at < own->len && strcmp(own->entries[at].row->path, path) == 0;
}

/* REQUIRES(own->lock) */
static int
make_room(struct own *own, size_t n, struct err *err)
{
	size_t cap = own->cap * 2 > own->len + n ? own->cap * 2 : own->len + n;
	struct entry *entries;

	if (own->len + n <= own->cap)
		return 0;
	entries = realloc(own->entries, cap * sizeof(*entries));
	if (entries == NULL) {
		err_nomem(err);
		return -1;
	}
	own->entries = entries;
	own->cap = cap;
	return 0;
}

/* There is room. REQUIRES(own->lock) */
static void
insert(struct own *own, struct entry entry)
{
	size_t at = find(own, entry.row->path);

	memmove(own->entries + at + 1, own->entries + at, (own->len - at) * sizeof(entry));
	own->entries[at] = entry;
	own->len++;
}

/* Takes out what was added with rows and ctx. REQUIRES(own->lock) */
static void
take_out(struct own *own, const struct own_metric *rows, void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < own->len; i++) {
		if (own->entries[i].rows != rows || own->entries[i].ctx != ctx)
			own->entries[kept++] = own->entries[i];
	}
	own->len = kept;
}

/* REQUIRES(own->lock) */
static int
check_new(const struct own *own, const struct own_metric *rows, size_t n, struct err *err)
{
	for (size_t i = 0; i < n; i++) {
		bool twice = exists(own, rows[i].path);

		for (size_t k = 0; k < i && !twice; k++)
			twice = strcmp(rows[i].path, rows[k].path) == 0;
		if (twice) {
			err_set(err, ERR_EXISTS, "own metric %s exists already", rows[i].path);
			return -1;
		}
	}
	return 0;
}

/* Entries that are all as the one given, but for the row, of which there are n from its rows on.
 * REQUIRES(own->lock) */
static int
add_locked(struct own *own, struct entry entry, size_t n, struct err *err)
{
	if (check_new(own, entry.rows, n, err) != 0 || make_room(own, n, err) != 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		entry.row = &entry.rows[i];
		insert(own, entry);
	}
	return 0;
}

int
own_add(struct own *own, const struct own_metric *rows, size_t n, void *ctx, struct err *err)
{
	int rc;

	lock_take(&own->lock);
	rc = add_locked(own, (struct entry){ .rows = rows, .ctx = ctx }, n, err);
	lock_drop(&own->lock);
	return rc;
}

int
own_add_counted(struct own *own, const struct own_counted *counted, void *ctx, struct err *err)
{
	struct entry entry = { .rows = &counted->metric, .ctx = ctx, .counted = counted };
	int rc;

	lock_take(&own->lock);
	rc = add_locked(own, entry, 1, err);
	lock_drop(&own->lock);
	return rc;
}

void
own_remove(struct own *own, const struct own_metric *rows, void *ctx)
{
	lock_take(&own->lock);
	take_out(own, rows, ctx);
	lock_drop(&own->lock);
}

struct own_dist *
own_dist_new(struct own *own, const char *path, const char *description, const char *unit,
    const double *limits, size_t limit_count, struct err *err)
{
	struct own_dist *dist =
	    calloc(1, sizeof(*dist) + (limit_count + 1) * sizeof(dist->counts[0]));
	int rc;

	if (dist == NULL) {
		err_nomem(err);
		return NULL;
	}
	dist->row = (struct own_metric){
		.path = path, .description = description, .unit = unit, .kind = KIND_DIST
	};
	dist->limits = limits;
	dist->limit_count = limit_count;
	lock_init(&dist->lock, LOCK_self);

	lock_take(&own->lock);
	dist->next = own->dists;
	dist->number = dist->next == NULL ? 0 : dist->next->number + 1;
	dist->row.group = DIST_GROUP + (int)dist->number;
	rc = add_locked(own, (struct entry){ .rows = &dist->row, .dist = dist }, 1, err);
	if (rc == 0)
		own->dists = dist;
	lock_drop(&own->lock);

	if (rc != 0) {
		lock_fini(&dist->lock);
		free(dist);
		return NULL;
	}
	return dist;
}

void
own_dist_add(struct own_dist *dist, double value)
{
	size_t bucket = 0;

	assert(isfinite(value));
	while (bucket < dist->limit_count && value >= dist->limits[bucket])
		bucket++;

	lock_take(&dist->lock);
	if (dist->count == 0 || value < dist->min)
		dist->min = value;
	if (dist->count == 0 || value > dist->max)
		dist->max = value;
	dist->counts[bucket]++;
	dist->count++;
	dist->sum += value;
	lock_drop(&dist->lock);
}

/*
 * The k-th value (from 0) in order of size, taken to lie evenly spread in its bucket. All that the
 * distribution knows, as tricorder estimates it.
 */
static double
estimate(const struct dist *d, const double *limits, uint64_t k)
{
	size_t last = d->len - 1, bucket = 0;
	double lower, upper;

	while (bucket < last && k >= d->counts[bucket])
		k -= d->counts[bucket++];
	lower = bucket == 0 || limits[bucket - 1] < d->min ? d->min : limits[bucket - 1];
	upper = bucket == last || limits[bucket] > d->max ? d->max : limits[bucket];
	return lower + (upper - lower) * ((double)k + 1) / ((double)d->counts[bucket] + 1);
}

static double
median(const struct dist *d, const double *limits)
{
	if (d->count <= 2)
		return d->average;
	if (d->count % 2 == 1)
		return estimate(d, limits, d->count / 2);
	return (estimate(d, limits, d->count / 2 - 1) + estimate(d, limits, d->count / 2)) / 2;
}

/* An empty one in the batch's arena. NULL with err. */
static struct dist *
new_dist(struct batch *b, size_t len, uint64_t **counts, struct err *err)
{
	struct dist *d = arena_alloc(&b->arena, sizeof(*d));

	*counts = arena_array(&b->arena, len, sizeof(**counts));
	if (d == NULL || *counts == NULL) {
		batch_alloc_err(b, sizeof(*d) + len * sizeof(**counts), err);
		return NULL;
	}
	memset(*counts, 0, len * sizeof(**counts));
	*d = (struct dist){ .counts = *counts, .len = len };
	return d;
}

/* What follows from the rest. */
static void
complete(struct dist *d, const double *limits)
{
	if (d->count == 0)
		return;
	d->average = d->sum / (double)d->count;
	d->median = median(d, limits);
}

/* A copy in the batch's arena, with what follows from the counts. NULL with err. */
static const struct dist *
snapshot(struct own_dist *own_dist, struct batch *b, struct err *err)
{
	uint64_t *counts;
	struct dist *d = new_dist(b, own_dist->limit_count + 1, &counts, err);

	if (d == NULL)
		return NULL;
	lock_take(&own_dist->lock);
	memcpy(counts, own_dist->counts, d->len * sizeof(*counts));
	d->sum = own_dist->sum;
	d->count = d->generation = own_dist->count;
	d->min = own_dist->min;
	d->max = own_dist->max;
	lock_drop(&own_dist->lock);
	complete(d, own_dist->limits);
	return d;
}

/* NULL with err. */
static const struct dist *
count(const struct entry *entry, struct batch *b, int64_t now_ns, struct err *err)
{
	const struct own_counted *counted = entry->counted;
	uint64_t *counts;
	struct dist *d = new_dist(b, counted->limit_count + 1, &counts, err);

	if (d == NULL)
		return NULL;
	counted->count(entry->ctx, d, counts);
	for (size_t i = 0; i < d->len; i++)
		d->count += counts[i];
	d->generation = (uint64_t)now_ns; /* another one each time */
	complete(d, counted->limits);
	return d;
}

/*
 * Copies of all distributions made up to now, by number, and how many in *n. Before the registry is
 * locked: theirs has the same rank.
 */
static const struct dist **
snapshots(struct own *own, struct batch *b, size_t *n, struct err *err)
{
	struct own_dist *newest = own->dists;
	const struct dist **all;

	*n = newest == NULL ? 0 : newest->number + 1;
	all = arena_array(&b->arena, *n, sizeof(const struct dist *));
	if (all == NULL) {
		batch_alloc_err(b, *n * sizeof(*all), err);
		return NULL;
	}
	for (struct own_dist *d = newest; d != NULL; d = d->next) {
		all[d->number] = snapshot(d, b, err);
		if (all[d->number] == NULL)
			return NULL;
	}
	return all;
}

static int
copy_text(struct batch *b, const char *text, struct str *out, struct err *err)
{
	*out = arena_copy(&b->arena, str_of(text));
	if (out->p != NULL)
		return 0;
	batch_alloc_err(b, strlen(text) + 1, err);
	return -1;
}

static int
collect_one(const struct entry *entry, const struct dist *dist, struct batch *b, int64_t now_ns,
    struct err *err)
{
	const struct own_metric *row = entry->row;
	struct metric_desc desc = { .kind = row->kind };
	struct value value;

	/* Copied, as the rows may be gone before the batch is. */
	if (copy_text(b, row->path, &desc.path, err) != 0 ||
	    copy_text(b, row->description, &desc.description, err) != 0 ||
	    copy_text(b, row->unit, &desc.unit, err) != 0)
		return -1;
	if (entry->counted != NULL) {
		desc.limits = entry->counted->limits;
		desc.limit_count = entry->counted->limit_count;
		desc.not_cumulative = true;
		value.dist = count(entry, b, now_ns, err);
		if (value.dist == NULL)
			return -1;
	} else if (dist != NULL) {
		desc.limits = entry->dist->limits;
		desc.limit_count = entry->dist->limit_count;
		value.dist = dist;
	} else {
		value = row->read(entry->ctx, &b->arena);
	}
	return batch_add(b, &desc, &value, row->group, now_ns, err);
}

int
own_collect(struct own *own, struct batch *b, int64_t now_ns, struct err *err)
{
	const struct dist **dists;
	size_t n;
	int rc = 0;

	dists = snapshots(own, b, &n, err);
	if (dists == NULL)
		return -1;
	lock_take(&own->lock);
	for (size_t i = 0; i < own->len && rc == 0; i++) {
		const struct entry *entry = &own->entries[i];
		const struct dist *dist = NULL;

		if (entry->dist != NULL) {
			if (entry->dist->number >= n)
				continue; /* came meanwhile */
			dist = dists[entry->dist->number];
		}
		rc = collect_one(entry, dist, b, now_ns, err);
	}
	lock_drop(&own->lock);
	return rc;
}

/* 1, 2 or 5 times a power of ten: 0 gives 1, 1 gives 2, 2 gives 5, 3 gives 10, -1 gives 0.5. */
static double
step(int n)
{
	static const double factors[] = { 1, 2, 5 };
	int exp = n >= 0 ? n / 3 : -((2 - n) / 3);
	double factor = factors[n - 3 * exp];

	/* Negative powers of ten are not exact: divide. */
	return exp >= 0 ? factor * pow(10, exp) : factor / pow(10, -exp);
}

size_t
own_geometric(double lower, double upper, double *out, size_t max)
{
	int n =
	    3 * (int)floor(log10(lower)) - 1; /* below, whichever way the logarithm is rounded */
	size_t len = 0;

	assert(lower > 0 && lower < upper && max > 0);
	while (step(n + 1) <= lower)
		n++;
	do
		out[len++] = step(n);
	while (len < max && step(n++) < upper);
	return len;
}
