/*
 * What is read here must come out as it does in prometheus_parse.c. Whatever is rare or no good is
 * therefore not decided here: the document is another one then.
 */
#include <math.h>

#include "base/clock.h"
#include "messages/number.h"
#include "sources/match_bytes_priv.h"
#include "sources/prometheus_layout_priv.h"

/* A whole number of up to 2^53 is a double as it is, and so is a power of ten of up to 10^22. */
#define EXACT_WHOLE (UINT64_C(1) << 53)
#define EXACT_POWER 22
/* Of a skeleton, what most have: head, holes and fixed bytes; and how many skeletons ahead. */
#define FETCHED_BYTES 192
#define AHEAD         4

struct matcher {
	struct layout *layout;
	const struct prometheus_form *form;
	const char *end;             /* of the document */
	struct layout_arrays arrays; /* dists, counts: what is left of them */
	uint64_t below;              /* the bucket before, of the histogram at hand */
	size_t slot;                 /* of the metric at hand */
};

/* Whoever reads something at `at` gives the place behind it, or NULL if it does not match. */

static struct str
word_at(const struct matcher *m, const char *at)
{
	const char *p = at;

	while (p < m->end && *p != ' ' && *p != '\t' && *p != '\n')
		p++;
	return (struct str){ at, (size_t)(p - at) };
}

static double
scaled(double whole, int power)
{
	static const double powers[EXACT_POWER + 1] = { 1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8,
		1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };

	return power < 0 ? whole / powers[-power] : whole * powers[power];
}

/* Reads an exponent of up to four digits behind its letter. */
static const char *
read_exponent(const struct matcher *m, const char *at, int *out)
{
	bool negative = at < m->end && *at == '-';
	uint64_t exponent;
	size_t n;

	at += at < m->end && (*at == '-' || *at == '+');
	n = read_digits(at, m->end, &exponent);
	if (n == 0 || n > 4)
		return NULL;
	*out = negative ? -(int)exponent : (int)exponent;
	return at + n;
}

/* Numbers that are one multiplication or division of exact numbers, hence rounded once. */
static inline const char *
read_short_number(const struct matcher *m, const char *at, double *out)
{
	bool negative = at < m->end && *at == '-';
	uint64_t mantissa, fraction;
	size_t n, k = 0;
	int power = 0;
	double magnitude;

	at += negative;
	n = read_digits(at, m->end, &mantissa);
	if (n == 0 || n > SAFE_DIGITS)
		return NULL;
	at += n;
	if (at < m->end && *at == '.') {
		k = read_digits(at + 1, m->end, &fraction);
		if (k == 0 || n + k > SAFE_DIGITS)
			return NULL;
		mantissa = mantissa * powers_of_ten[k] + fraction;
		at += 1 + k;
	}
	if (at < m->end && (*at == 'e' || *at == 'E') &&
	    (at = read_exponent(m, at + 1, &power)) == NULL)
		return NULL;
	power -= (int)k;
	if (mantissa > EXACT_WHOLE || power < -EXACT_POWER || power > EXACT_POWER)
		return NULL;
	magnitude = (double)mantissa;
	if (power != 0)
		magnitude = scaled(magnitude, power);
	*out = negative ? -magnitude : magnitude;
	return at;
}

static inline const char *
read_number(const struct matcher *m, const char *at, double *out)
{
	const char *behind = read_short_number(m, at, out);
	struct str word;

	if (behind != NULL)
		return behind;
	word = word_at(m, at);
	return number_parse_sample(word, out) ? at + word.len : NULL;
}

static const char *
read_count(const struct matcher *m, const char *at, uint64_t *out)
{
	size_t n = read_digits(at, m->end, out);
	struct str word;

	if (n > 0 && n <= SAFE_DIGITS && at + n < m->end &&
	    (at[n] == ' ' || at[n] == '\t' || at[n] == '\n'))
		return at + n;
	word = word_at(m, at);
	return prometheus_count(word, out) ? at + word.len : NULL;
}

static const char *
read_cumulative(struct matcher *m, const char *at, size_t i)
{
	uint64_t count;

	at = read_count(m, at, &count);
	if (at == NULL || count < m->below)
		return NULL;
	m->arrays.counts[i] = count - m->below;
	m->below = count;
	return at;
}

/* False if another metric of the group has another stamp. */
static bool
take_stamp(struct matcher *m, int64_t ts_ns)
{
	int64_t *group_ts = &m->arrays.group_ts[m->slot];

	if (*group_ts == TS_NONE)
		*group_ts = ts_ns;
	return *group_ts == ts_ns;
}

static const char *
read_stamp(struct matcher *m, const char *at, enum hole_type type)
{
	struct str word = word_at(m, at);
	int64_t ts_ns;

	if (!(type == HOLE_STAMP_MS ? prometheus_stamp_ms(word, &ts_ns)
	                            : prometheus_stamp_s(word, &ts_ns)) ||
	    !take_stamp(m, ts_ns))
		return NULL;
	return at + word.len;
}

/* Up to the line feed, which is left. */
static const char *
skip_exemplar(const struct matcher *m, const char *at)
{
	if (at < m->end && *at == '\n')
		return at;
	if (m->end - at < 3 || memcmp(at, " # ", 3) != 0)
		return NULL;
	return memchr(at, '\n', (size_t)(m->end - at));
}

static inline const char *
read_hole(struct matcher *m, const struct hole *hole, const char *at, struct value *out)
{
	uint64_t count;

	switch ((enum hole_type)hole->type) {
	case HOLE_SAMPLE:
		return read_number(m, at, &out->f);
	case HOLE_SAMPLE_SUM:
		return read_number(m, at, &m->arrays.dists->sum);
	case HOLE_SAMPLE_COUNT:
		return read_count(m, at, &count);
	case HOLE_CUMULATIVE:
		return read_cumulative(m, at, hole->at);
	case HOLE_STAMP_MS:
	case HOLE_STAMP_S:
		return read_stamp(m, at, (enum hole_type)hole->type);
	case HOLE_EXEMPLAR:
		return skip_exemplar(m, at);
	case HOLE_BOOL:
	case HOLE_INT:
	case HOLE_UINT:
	case HOLE_F32:
	case HOLE_F64:
	case HOLE_TIME:
	case HOLE_STRING:
	case HOLE_LIST:
	case HOLE_STAMP:
	case HOLE_DIST_F64:
	case HOLE_DIST_UINT:
	case HOLE_BUCKET:
		break;
	}
	return NULL;
}

static inline const char *
skip_fixed(const struct matcher *m, const char *at, const char *fixed, size_t n)
{
	return (size_t)(m->end - at) >= n && same_bytes(at, fixed, n) ? at + n : NULL;
}

static void
end_dist(struct matcher *m, const struct skeleton *s, struct value *out)
{
	struct dist *dist = m->arrays.dists++;

	dist->len = s->desc->limit_count + 1;
	dist->count = m->below;
	dist->generation = s->desc->not_cumulative ? 0 : dist->count;
	m->arrays.counts += dist->len;
	out->dist = dist;
}

/* The i-th metric, which stands there if it does. */
static inline const char *
match_metric(struct matcher *m, size_t i, const char *at)
{
	const struct skeleton *s = m->layout->skeletons[i];
	const char *fixed = s->fixed, *fixed_end = s->fixed + s->fixed_len;

	m->slot = m->layout->slots[i];
	if (s->kind == KIND_DIST) {
		*m->arrays.dists = (struct dist){ .counts = m->arrays.counts };
		m->below = 0;
	}
	for (size_t k = 0; k < s->hole_count; k++) {
		const struct hole *hole = &s->holes[k];

		at = skip_fixed(m, at, fixed, hole->gap);
		if (at == NULL || (at = read_hole(m, hole, at, &m->arrays.values[i])) == NULL)
			return NULL;
		fixed += hole->gap;
	}
	if (s->kind == KIND_DIST)
		end_dist(m, s, &m->arrays.values[i]);
	return skip_fixed(m, at, fixed, (size_t)(fixed_end - fixed));
}

/* A skeleton is read from its start, and its neighbours are not always the next ones. */
static inline void
fetch_ahead(const struct layout *l, size_t i)
{
	const char *next;

	if (i >= l->shared.len)
		return;
	next = (const char *)l->skeletons[i];
	for (size_t at = 0; at < FETCHED_BYTES; at += 64)
		__builtin_prefetch(next + at);
}

/* Equal stamps would be one group. */
static bool
stamps_differ(const struct matcher *m)
{
	for (size_t i = 1; i < m->layout->slot_count; i++) {
		for (size_t k = 0; k < i; k++) {
			if (m->arrays.group_ts[i] == m->arrays.group_ts[k])
				return false;
		}
	}
	return true;
}

/* Escapes are not the same in both formats. In one of them all samples may have exemplars. */
static bool
is_of_form(const struct layout *l, const struct prometheus_form *form)
{
	const struct skeleton *first = l->skeletons[0];

	return (first->holes[first->hole_count - 1].type == HOLE_EXEMPLAR) == form->openmetrics;
}

static bool
match_metrics(struct matcher *m, const char *at)
{
	const struct layout *l = m->layout;

	if (!is_of_form(l, m->form))
		return false;
	for (size_t i = 0; i < l->shared.len; i++) {
		fetch_ahead(l, i + AHEAD);
		at = match_metric(m, i, at);
		if (at == NULL)
			return false;
	}
	return prometheus_tail_is_quiet(at, m->end, m->form) && stamps_differ(m);
}

/* The layout is counted for the batch alone: who matches holds another reference. */
static int
fill_batch(struct matcher *m, struct batch *batch, struct err *err)
{
	const struct layout *l = m->layout;
	const struct metric_desc *desc;
	const int64_t *group;

	if (layout_descs(l, batch, &desc, &group, err) != 0)
		return -1;
	for (size_t i = 0; i < l->shared.len; i++)
		m->arrays.ts[i] = m->arrays.group_ts[l->slots[i]];
	batch_hold(batch, &layout_ref(m->layout)->shared);
	return batch_adopt(batch, desc, group, m->arrays.values, m->arrays.ts, err);
}

enum prometheus_match
prometheus_match(struct layout *layout, const char *doc, size_t len,
    const struct prometheus_form *form, struct batch *batch, struct err *err)
{
	struct matcher m = { .layout = layout, .form = form, .end = doc + len };

	batch_set_unordered(batch);
	if (layout_arrays_make(&m.arrays, layout, batch, err) != 0)
		return PROMETHEUS_LOST;
	if (!match_metrics(&m, doc))
		return PROMETHEUS_OTHER;
	return fill_batch(&m, batch, err) == 0 ? PROMETHEUS_MATCH : PROMETHEUS_LOST;
}
