/*
 * What is read here must come out as it does in tricorder_parse.c. Whatever is rare or no good is
 * therefore not decided here: the metric does not match, and the parser reads it.
 */
#include "sources/tricorder_match_priv.h"

#include <assert.h>
#include <math.h>

#include "base/clock.h"
#include "messages/number.h"
#include "sources/match_bytes_priv.h"

/* A whole number of up to 2^53 is a double as it is. */
#define EXACT_WHOLE (UINT64_C(1) << 53)
/* Seconds whose nanoseconds surely fit an int64_t. */
#define SAFE_SECONDS UINT64_C(9000000000)
/* Of a skeleton, what most have: head, holes and fixed bytes. */
#define FETCHED_BYTES 320
/* And how many skeletons ahead. */
#define AHEAD 3

struct matcher {
	struct parser *p;
	const struct layout *layout;
	const char *end;             /* of the document */
	struct layout_arrays arrays; /* dists, counts: what is left of them */
	uint64_t total;              /* of the counts of the distribution at hand */
	int64_t stamp_ns;            /* of the metric at hand */
	struct str plain_stamp;      /* of the plain metric that came last; empty: of none */
	int64_t plain_ns;
	struct scan_token pending; /* its value, if only the parser can read it */
	bool lacks_stamps;         /* some metric has none of its own */
};

/*
 * Whoever reads something at `at` gives the place behind it, or NULL if the metric does not match.
 */

static inline char *
read_magnitude(const struct matcher *m, char *at, uint64_t *out)
{
	size_t n = read_digits(at, m->end, out);

	if (n == 0 || (n > 1 && *at == '0'))
		return NULL;
	if (n > SAFE_DIGITS) {
		while (at[n] >= '0' && at[n] <= '9')
			n++;
		if (!str_to_u64((struct str){ at, n }, out))
			return NULL;
	}
	return at + n;
}

static inline char *
read_int(const struct matcher *m, char *at, enum kind kind, int64_t *out)
{
	bool negative = *at == '-';
	uint64_t magnitude;

	at = read_magnitude(m, at + negative, &magnitude);
	if (at == NULL || magnitude > (uint64_t)INT64_MAX + negative)
		return NULL;
	*out = (int64_t)(negative ? 0 - magnitude : magnitude);
	return kind == KIND_INT64 || kind_int_fits(kind, *out) ? at : NULL;
}

static inline char *
read_uint(const struct matcher *m, char *at, enum kind kind, uint64_t *out)
{
	at = read_magnitude(m, at, out);
	return at != NULL && (kind == KIND_UINT64 || kind_uint_fits(kind, *out)) ? at : NULL;
}

/* What may be a number, for those who know better. */
static struct str
number_text(const char *at)
{
	const char *p = at;

	while ((*p >= '0' && *p <= '9') || *p == '.' || *p == '-' || *p == '+' || *p == 'e' ||
	       *p == 'E')
		p++;
	return (struct str){ at, (size_t)(p - at) };
}

/* Numbers of up to SAFE_DIGITS without an exponent: mostly one division of exact numbers. */
static inline char *
read_short_f64(const struct matcher *m, char *at, double *out)
{
	bool negative = *at == '-';
	uint64_t mantissa, fraction;
	size_t n, k = 0;
	double magnitude;

	at += negative;
	n = read_few_digits(at, m->end, &mantissa);
	if (n == 0 || n > SAFE_DIGITS || (n > 1 && *at == '0'))
		return NULL;
	at += n;
	if (*at == '.') {
		k = read_few_digits(at + 1, m->end, &fraction);
		if (k == 0 || n + k > SAFE_DIGITS)
			return NULL;
		mantissa = mantissa * powers_of_ten[k] + fraction;
		at += 1 + k;
	}
	if (*at == 'e' || *at == 'E')
		return NULL;
	if (mantissa <= EXACT_WHOLE)
		magnitude = (double)mantissa / (double)powers_of_ten[k];
	else if (!number_from_decimal(mantissa, -(int64_t)k, &magnitude))
		return NULL;
	*out = negative ? -magnitude : magnitude;
	return at;
}

static char *
read_f64(const struct matcher *m, char *at, double *out)
{
	char *behind = read_short_f64(m, at, out);
	struct str text;

	if (behind != NULL)
		return behind;
	text = number_text(at);
	return number_parse_f64(text, out) && isfinite(*out) ? at + text.len : NULL;
}

static char *
read_f32(char *at, double *out)
{
	struct str text = number_text(at);
	float rounded;

	if (!number_parse_f32(text, &rounded) || !isfinite(rounded))
		return NULL;
	*out = (double)rounded;
	return at + text.len;
}

/* Up to the quote, which is left. A time has no escapes, so the first quote ends it. */
static char *
read_time(const struct matcher *m, char *at, int64_t per_second, int64_t *out)
{
	const char *quote;
	uint64_t whole, fraction;
	size_t n = read_digits(at, m->end, &whole);

	if (per_second == 1 && n > 0 && n <= SAFE_DIGITS && whole <= SAFE_SECONDS && at[n] == '.' &&
	    read_digits(at + n + 1, m->end, &fraction) == 9) {
		*out = (int64_t)whole * NS_PER_S + (int64_t)fraction;
		return at + n + 10;
	}
	quote = memchr(at, '"', (size_t)(m->end - at));
	if (quote == NULL)
		return NULL;
	n = (size_t)(quote - at);
	return number_parse_time((struct str){ at, n }, per_second, out) ? at + n : NULL;
}

/* Metrics of a group, and mostly all of a document, have the same stamp. */
static inline char *
read_stamp(struct matcher *m, char *at)
{
	struct parser *p = m->p;
	size_t n = p->stamp.len;
	char *behind;

	if (n > 0 && (size_t)(m->end - at) > n && at[n] == '"' && same_bytes(at, p->stamp.p, n)) {
		m->stamp_ns = p->stamp_ns;
		return at + n;
	}
	if (*at == '"')
		return at;
	behind = read_time(m, at, 1, &m->stamp_ns);
	if (behind != NULL) {
		p->stamp = (struct str){ at, (size_t)(behind - at) };
		p->stamp_ns = m->stamp_ns;
	}
	return behind;
}

static char *
read_bool(const struct matcher *m, char *at, bool *out)
{
	struct str word = *at == 't' ? STR("true") : STR("false");

	if ((size_t)(m->end - at) < word.len || memcmp(at, word.p, word.len) != 0)
		return NULL;
	*out = *at == 't';
	return at + word.len;
}

/* A scan that stands within the metric's object. */
static struct scan
scan_at(const struct matcher *m, char *at)
{
	struct scan s = m->p->list;

	s.p = at;
	s.depth++;
	return s;
}

static char *
read_string(struct matcher *m, char *at, struct str *out)
{
	struct scan s = scan_at(m, at - 1); /* the quote */
	struct scan_token t;

	if (scan_string(&s, &t) != 0)
		return NULL;
	*out = scan_text(&t);
	if (t.escaped || t.beyond_ascii)
		m->pending = t;
	return t.p + t.len;
}

static char *
read_list(struct matcher *m, char *at)
{
	struct scan s = scan_at(m, at);

	return scan_value(&s, &m->pending) == 0 ? s.p : NULL;
}

static char *
read_bucket(struct matcher *m, char *at, size_t i)
{
	at = read_magnitude(m, at, &m->arrays.counts[i]);
	return at != NULL && !__builtin_add_overflow(m->total, m->arrays.counts[i], &m->total)
	           ? at
	           : NULL;
}

static inline char *
read_hole(struct matcher *m, const struct skeleton *s, const struct hole *hole, char *at,
    struct value *out)
{
	switch ((enum hole_type)hole->type) {
	case HOLE_BOOL:
		return read_bool(m, at, &out->b);
	case HOLE_INT:
		return read_int(m, at, s->kind, &out->i);
	case HOLE_UINT:
		return read_uint(m, at, s->kind, &out->u);
	case HOLE_F32:
		return read_f32(at, &out->f);
	case HOLE_F64:
		return read_f64(m, at, &out->f);
	case HOLE_TIME:
		return read_time(m, at, unit_per_second(s->desc->unit), &out->i);
	case HOLE_STRING:
		return read_string(m, at, &out->s);
	case HOLE_LIST:
		return read_list(m, at);
	case HOLE_STAMP:
		return read_stamp(m, at);
	case HOLE_DIST_F64:
		return read_f64(m, at, (double *)(void *)((char *)m->arrays.dists + hole->at));
	case HOLE_DIST_UINT:
		return read_magnitude(
		    m, at, (uint64_t *)(void *)((char *)m->arrays.dists + hole->at));
	case HOLE_BUCKET:
		return read_bucket(m, at, hole->at);
	case HOLE_SAMPLE:
	case HOLE_SAMPLE_SUM:
	case HOLE_SAMPLE_COUNT:
	case HOLE_CUMULATIVE:
	case HOLE_STAMP_MS:
	case HOLE_STAMP_S:
	case HOLE_EXEMPLAR:
		break;
	}
	return NULL;
}

static inline char *
skip_fixed(const struct matcher *m, char *at, const char *fixed, size_t n)
{
	return (size_t)(m->end - at) >= n && same_bytes(at, fixed, n) ? at + n : NULL;
}

/* A value and a stamp, in this order: so are most metrics. */
static inline bool
is_plain(const struct skeleton *s)
{
	return s->kind != KIND_DIST && s->hole_count == 2 && s->holes[1].type == HOLE_STAMP;
}

/*
 * Reads buckets from a hole on, but not the metric's last hole, as far as they are such as most,
 * and gives the hole behind them.
 */
static __attribute__((noinline)) const struct hole *
read_buckets(struct matcher *m, const struct skeleton *s, const struct hole *hole, char **place,
    const char **fixed_place)
{
	const struct hole *last = s->holes + s->hole_count - 1;
	const char *fixed = *fixed_place, *end = m->end;
	uint64_t *counts = m->arrays.counts, total = m->total;
	char *at = *place;

	for (; hole < last && hole->type == HOLE_BUCKET; hole++) {
		size_t gap = hole->gap, n;
		uint64_t count, sum;

		if (gap < 32 || gap > 96 || (size_t)(end - at) < gap + 8 ||
		    !same_32_to_96_bytes(at, fixed, gap))
			break;
		n = up_to_seven_digits(at + gap, &count);
		if (n == 0 || (n > 1 && at[gap] == '0') ||
		    __builtin_add_overflow(total, count, &sum))
			break;
		total = sum;
		counts[hole->at] = count;
		at += gap + n;
		fixed += gap;
	}
	m->total = total;
	*place = at;
	*fixed_place = fixed;
	return hole;
}

static inline char *
read_metric(struct matcher *m, const struct skeleton *s, char *at, struct value *out)
{
	const char *fixed = s->fixed, *end = s->fixed + s->fixed_len;

	for (size_t i = 0; i < s->hole_count; i++) {
		const struct hole *hole = &s->holes[i];

		if (hole->type == HOLE_BUCKET && i + 1 < s->hole_count) {
			const struct hole *next = read_buckets(m, s, hole, &at, &fixed);

			i += (size_t)(next - hole);
			hole = next;
		}
		at = skip_fixed(m, at, fixed, hole->gap);
		if (at == NULL || (at = read_hole(m, s, hole, at, out)) == NULL)
			return NULL;
		fixed += hole->gap;
	}
	return skip_fixed(m, at, fixed, (size_t)(end - fixed));
}

static void
begin_dist(struct matcher *m)
{
	*m->arrays.dists = (struct dist){ .counts = m->arrays.counts };
	m->total = 0;
}

static void
end_dist(struct matcher *m, const struct skeleton *s, struct value *out)
{
	m->arrays.dists->len = s->desc->limit_count + 1;
	m->arrays.dists->count = m->total;
	m->arrays.counts += m->arrays.dists->len;
	out->dist = m->arrays.dists++;
}

/* False if another metric of the group has another stamp. */
static inline bool
take_stamp(struct matcher *m, size_t i)
{
	int64_t *group_ts = &m->arrays.group_ts[m->layout->slots[i]];

	m->arrays.ts[i] = m->stamp_ns;
	m->lacks_stamps |= m->stamp_ns == TS_NONE;
	if (m->stamp_ns == TS_NONE || *group_ts == m->stamp_ns)
		return true;
	if (*group_ts != TS_NONE)
		return false;
	*group_ts = m->stamp_ns;
	return true;
}

/* The i-th metric, which stands there if it does. Out of the way of the plain ones. */
static __attribute__((noinline)) char *
match_metric(struct matcher *m, size_t i, char *at)
{
	const struct skeleton *s = m->layout->skeletons[i];
	struct value *out = &m->arrays.values[i];

	m->stamp_ns = TS_NONE;
	if (s->kind == KIND_DIST)
		begin_dist(m);
	at = read_metric(m, s, at, out);
	if (at == NULL || !take_stamp(m, i))
		return NULL;
	if (s->kind == KIND_DIST)
		end_dist(m, s, out);
	return at;
}

/* The value that was put off until its metric was sure to match. */
static enum outcome
read_pending(struct matcher *m, size_t i)
{
	struct metric_desc desc = *m->layout->skeletons[i]->desc;
	enum outcome outcome;

	m->p->path = desc.path;
	outcome = parser_read_value(m->p, &m->pending, &desc, &m->arrays.values[i]);
	m->pending.type = SCAN_NOTHING;
	return outcome;
}

/* Where the metric begins that follows what ends at `at`; NULL if none does. */
static char *
find_metric(const struct parser *p, char *at)
{
	struct scan list = p->list;

	list.p = at;
	return scan_next(&list) == 1 ? list.p : NULL;
}

/* As find_metric, quick where tricorder wrote it. */
static inline char *
next_metric(const struct matcher *m, char *at)
{
	if (m->end - at >= 4 && memcmp(at, ",\n\t{", 4) == 0 && !m->p->list.first)
		return at + 3;
	return find_metric(m->p, at);
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

/* As read_hole, save for what is in line below. */
static __attribute__((noinline)) char *
read_rare(struct matcher *m, const struct skeleton *s, char *at, struct value *out)
{
	at = read_hole(m, s, &s->holes[0], at, out);
	return m->pending.type == SCAN_NOTHING ? at : NULL;
}

/* As read_int and read_uint, in one: which of the two comes next can't be foretold. */
static inline char *
read_whole(const struct matcher *m, const struct skeleton *s, char *at, struct value *out)
{
	unsigned is_signed = HOLE_UINT - s->holes[0].type, negative = is_signed & (*at == '-');
	uint64_t most = (UINT64_MAX >> is_signed) + negative, magnitude;

	at = read_magnitude(m, at + negative, &magnitude);
	if (at == NULL || magnitude > most)
		return NULL;
	out->u = (magnitude ^ (0 - (uint64_t)negative)) + negative;
	if (s->kind == KIND_INT64 || s->kind == KIND_UINT64)
		return at;
	return (is_signed ? kind_int_fits(s->kind, out->i) : kind_uint_fits(s->kind, out->u))
	           ? at
	           : NULL;
}

static inline char *
read_plain_value(struct matcher *m, const struct skeleton *s, char *at, struct value *out)
{
	static_assert(HOLE_UINT == HOLE_INT + 1, "told by one comparison");

	if (s->holes[0].type - HOLE_INT <= HOLE_UINT - HOLE_INT)
		return read_whole(m, s, at, out);
	if (s->holes[0].type == HOLE_F64)
		return read_short_f64(m, at, &out->f);
	return read_rare(m, s, at, out);
}

/* What a plain metric has behind its value, with that stamp. */
static inline char *
skip_plain_end(const struct matcher *m, const struct skeleton *s, struct str stamp, char *at)
{
	size_t value_gap = s->holes[0].gap, stamp_gap = s->holes[1].gap;
	const char *before = s->fixed + value_gap, *behind = before + stamp_gap;
	size_t rest = s->fixed_len - value_gap - stamp_gap;
	char *stamp_at = at + stamp_gap, *rest_at = stamp_at + stamp.len;
	bool same;

	if ((size_t)(m->end - at) < stamp_gap + stamp.len + rest)
		return NULL;
	if (__builtin_expect(
	        is_16_to_32(stamp_gap) && is_16_to_32(stamp.len) && is_16_to_32(rest), true))
		same = is_zero_half(differ_16_to_32(at, before, stamp_gap) |
		                    differ_16_to_32(stamp_at, stamp.p, stamp.len) |
		                    differ_16_to_32(rest_at, behind, rest));
	else
		same = memcmp(at, before, stamp_gap) == 0 &&
		       memcmp(stamp_at, stamp.p, stamp.len) == 0 &&
		       memcmp(rest_at, behind, rest) == 0;
	return same ? rest_at + rest : NULL;
}

/*
 * Goes through the plain metrics from the i-th on that stand there as tricorder wrote them, with
 * the stamp of the plain one before, and gives the first that does not.
 */
static inline size_t
match_plain(struct matcher *m, size_t i)
{
	const struct layout *l = m->layout;
	const struct str stamp = m->plain_stamp;
	const int64_t stamp_ns = m->plain_ns;
	struct scan *list = &m->p->list;
	char *at = list->p;

	if (stamp.len == 0 || list->first)
		return i;
	for (; i < l->shared.len; i++) {
		const struct skeleton *s = l->skeletons[i];
		size_t gap;

		fetch_ahead(l, i + AHEAD);
		if (!is_plain(s) || (size_t)(m->end - at) < 3 + s->fixed_len ||
		    differ4(at, ",\n\t{") != 0)
			break;
		at += 3;
		gap = s->holes[0].gap;
		if (gap < 64 ? !same_bytes(at, s->fixed, gap) : !same_many_bytes(at, s->fixed, gap))
			break;
		at = read_plain_value(m, s, at + gap, &m->arrays.values[i]);
		if (at == NULL || m->arrays.group_ts[l->slots[i]] != stamp_ns ||
		    (at = skip_plain_end(m, s, stamp, at)) == NULL)
			break;
		m->arrays.ts[i] = stamp_ns;
		list->p = at;
	}
	return i;
}

/*
 * How many metrics match. The list stands behind them, or behind one more: its value was bad, and
 * is counted.
 */
static enum outcome
match_metrics(struct matcher *m, size_t *matched)
{
	const struct layout *l = m->layout;
	struct scan *list = &m->p->list;
	enum outcome outcome = METRIC_GOOD;
	size_t i;

	m->pending.type = SCAN_NOTHING;
	for (i = 0; (i = match_plain(m, i)) < l->shared.len; i++) {
		char *at = next_metric(m, list->p);

		m->pending.type = SCAN_NOTHING;
		if (at == NULL || (at = match_metric(m, i, at)) == NULL)
			break;
		list->p = at;
		list->first = false;
		if (is_plain(l->skeletons[i])) {
			m->plain_stamp = m->p->stamp;
			m->plain_ns = m->p->stamp_ns;
		}
		if (m->pending.type != SCAN_NOTHING &&
		    (outcome = read_pending(m, i)) != METRIC_GOOD)
			break;
	}
	*matched = i;
	return outcome;
}

/* True if the document ends here as it should. Else the list is where it was. */
static bool
is_at_end(struct parser *p)
{
	struct scan before = p->list;

	if (scan_next(&p->list) == 0 && scan_finish(&p->list) == 0)
		return true;
	p->list = before;
	return false;
}

/* A metric without a stamp gets that of its group, so far as that has one. */
static void
complete_stamps(struct matcher *m)
{
	for (size_t i = 0; i < m->layout->shared.len; i++) {
		if (m->arrays.ts[i] == TS_NONE)
			m->arrays.ts[i] = m->arrays.group_ts[m->layout->slots[i]];
	}
}

static int
fill_batch(struct matcher *m)
{
	const struct metric_desc *desc;
	const int64_t *group;

	if (layout_descs(m->layout, m->p->batch, &desc, &group, m->p->err) != 0)
		return -1;
	if (m->lacks_stamps)
		complete_stamps(m);
	return batch_adopt(m->p->batch, desc, group, m->arrays.values, m->arrays.ts, m->p->err);
}

/* Adds the first n as the parser would have done, so that it can go on. */
static int
add_matched(struct matcher *m, size_t n)
{
	struct batch *batch = m->p->batch;

	for (size_t i = 0; i < n; i++) {
		const struct skeleton *s = m->layout->skeletons[i];

		if (batch_add(batch, s->desc, &m->arrays.values[i], s->group, m->arrays.ts[i],
		        m->p->err) != 0)
			return -1;
	}
	return 0;
}

enum match
layout_match(struct parser *p, struct layout *layout, size_t *matched)
{
	struct matcher m = { .p = p, .layout = layout, .end = p->doc.end };
	enum outcome outcome;

	batch_hold(p->batch, &layout_ref(layout)->shared);
	if (layout_arrays_make(&m.arrays, layout, p->batch, p->err) != 0)
		return MATCH_LOST;
	outcome = match_metrics(&m, matched);
	if (outcome == POLL_LOST)
		return MATCH_LOST;
	if (outcome == METRIC_GOOD && *matched == layout->shared.len && is_at_end(p))
		return fill_batch(&m) == 0 ? MATCH_ALL : MATCH_LOST;
	return add_matched(&m, *matched) == 0 ? MATCH_PART : MATCH_LOST;
}
