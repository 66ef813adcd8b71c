/*
 * What is read here must come out as it does in tricorder_parse.c. Whatever is rare or no good is
 * therefore not decided here: the metric does not match, and the parser reads it.
 */
#include "sources/tricorder_match_priv.h"

#include <math.h>

#include "messages/number.h"

/* A whole number of up to 2^53 is a double as it is. */
#define EXACT_WHOLE (UINT64_C(1) << 53)
/* Digits that a uint64_t surely holds. */
#define SAFE_DIGITS 19
/* Seconds whose nanoseconds surely fit an int64_t. */
#define SAFE_SECONDS UINT64_C(9000000000)

static const uint64_t powers_of_ten[SAFE_DIGITS + 1] = { 1, 10, 100, 1000, 10000, 100000, 1000000,
	10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
	100000000000000, 1000000000000000, 10000000000000000, 100000000000000000,
	1000000000000000000, UINT64_C(10000000000000000000) };

struct matcher {
	struct parser *p;
	const struct layout *layout;
	char *at; /* what comes next in the document */
	const char *end;
	struct value *values;
	int64_t *ts;
	int64_t *group_ts;  /* by slot; TS_NONE = none yet */
	struct dist *dists; /* what is left for distributions and their counts */
	uint64_t *counts;
	uint64_t total;            /* of the counts of the distribution at hand */
	int64_t stamp_ns;          /* of the metric at hand */
	struct scan_token pending; /* its value, if only the parser can read it */
};

/* Sixteen bytes are compared at once, without a branch each. */
struct pair {
	uint64_t a, b;
};

static inline uint64_t
differ16(const char *a, const char *b)
{
	struct pair x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return (x.a ^ y.a) | (x.b ^ y.b);
}

static inline uint64_t
differ8(const char *a, const char *b)
{
	uint64_t x, y;

	memcpy(&x, a, sizeof(x));
	memcpy(&y, b, sizeof(y));
	return x ^ y;
}

/* As memcmp(a, b, n) == 0, which costs more to call than most of these are long. */
static inline bool
same_bytes(const char *a, const char *b, size_t n)
{
	uint64_t differ = 0;

	if (n < 8) {
		while (n > 0 && a[n - 1] == b[n - 1])
			n--;
		return n == 0;
	}
	if (n < 16)
		return (differ8(a, b) | differ8(a + n - 8, b + n - 8)) == 0;
	for (; n > 64; a += 64, b += 64, n -= 64) {
		differ = differ16(a, b) | differ16(a + 16, b + 16) | differ16(a + 32, b + 32) |
		         differ16(a + 48, b + 48);
		if (differ != 0)
			return false;
	}
	if (n < 16) /* at least 64 bytes were compared before */
		return differ16(a + n - 16, b + n - 16) == 0;
	for (size_t i = 0; i + 16 < n; i += 16)
		differ |= differ16(a + i, b + i);
	return (differ | differ16(a + n - 16, b + n - 16)) == 0;
}

/* The digits among the eight bytes at p, up to the first other byte, and their value. */
static inline size_t
eight_digits(const char *p, const char *end, uint64_t *value)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	uint64_t text = 0, other;
	size_t n = 8;

	if (end - p >= 8)
		memcpy(&text, p, sizeof(text));
	else
		memcpy(&text, p, (size_t)(end - p));
	text = le64toh(text) ^ ones * '0';
	/* A byte above 9 gets its top bit set. The lowest such is exact, as none below it carries.
	 */
	other = (text | (text + ones * (0x80 - 10))) & ones * 0x80;
	if (other != 0) {
		n = (size_t)__builtin_ctzll(other) >> 3;
		if (n == 0) {
			*value = 0;
			return 0;
		}
		text <<= 64 - 8 * n; /* zeros come before it then */
	}
	text = (text * 10 + (text >> 8)) & UINT64_C(0x00FF00FF00FF00FF);
	text = (text * 100 + (text >> 16)) & UINT64_C(0x0000FFFF0000FFFF);
	*value = (text * 10000 + (text >> 32)) & UINT64_C(0xFFFFFFFF);
	return n;
}

/* How many digits stand at p, and their value. More than SAFE_DIGITS: the value is void. */
static inline size_t
read_digits(const char *p, const char *end, uint64_t *value)
{
	uint64_t more;
	size_t n = eight_digits(p, end, value), k;

	if (n < 8)
		return n;
	k = eight_digits(p + 8, end, &more);
	*value = *value * powers_of_ten[k] + more;
	if (k < 8)
		return 8 + k;
	k = eight_digits(p + 16, end, &more);
	*value = *value * powers_of_ten[k] + more;
	return 16 + k;
}

static bool
read_magnitude(struct matcher *m, uint64_t *out)
{
	char *p = m->at;
	size_t n = read_digits(p, m->end, out);

	if (n == 0 || (n > 1 && *p == '0'))
		return false;
	if (n > SAFE_DIGITS) {
		while (p[n] >= '0' && p[n] <= '9')
			n++;
		if (!str_to_u64((struct str){ p, n }, out))
			return false;
	}
	m->at = p + n;
	return true;
}

static bool
read_int(struct matcher *m, enum kind kind, int64_t *out)
{
	bool negative = *m->at == '-';
	uint64_t magnitude;

	m->at += negative;
	if (!read_magnitude(m, &magnitude) || magnitude > (uint64_t)INT64_MAX + negative)
		return false;
	*out = (int64_t)(negative ? 0 - magnitude : magnitude);
	return kind == KIND_INT64 || kind_int_fits(kind, *out);
}

static bool
read_uint(struct matcher *m, enum kind kind, uint64_t *out)
{
	return read_magnitude(m, out) && (kind == KIND_UINT64 || kind_uint_fits(kind, *out));
}

/* What may be a number, for those who know better. */
static struct str
number_text(struct matcher *m)
{
	char *start = m->at, *p = start;

	while ((*p >= '0' && *p <= '9') || *p == '.' || *p == '-' || *p == '+' || *p == 'e' ||
	       *p == 'E')
		p++;
	m->at = p;
	return (struct str){ start, (size_t)(p - start) };
}

/* Numbers without an exponent that are one division of exact numbers, hence rounded once. */
static inline bool
read_short_f64(struct matcher *m, double *out)
{
	bool negative = *m->at == '-';
	char *p = m->at + negative;
	uint64_t mantissa, fraction;
	size_t n = read_digits(p, m->end, &mantissa), k = 0;
	double magnitude;

	if (n == 0 || n > SAFE_DIGITS || (n > 1 && *p == '0'))
		return false;
	p += n;
	if (*p == '.') {
		k = read_digits(p + 1, m->end, &fraction);
		if (k == 0 || n + k > SAFE_DIGITS)
			return false;
		mantissa = mantissa * powers_of_ten[k] + fraction;
		p += 1 + k;
	}
	if (mantissa > EXACT_WHOLE || *p == 'e' || *p == 'E')
		return false;
	magnitude = (double)mantissa;
	if (k > 0)
		magnitude /= (double)powers_of_ten[k];
	*out = negative ? -magnitude : magnitude;
	m->at = p;
	return true;
}

static bool
read_f64(struct matcher *m, double *out)
{
	return read_short_f64(m, out) || (number_parse_f64(number_text(m), out) && isfinite(*out));
}

static bool
read_f32(struct matcher *m, double *out)
{
	float rounded;

	if (!number_parse_f32(number_text(m), &rounded) || !isfinite(rounded))
		return false;
	*out = (double)rounded;
	return true;
}

/* Up to the quote, which is left. A time has no escapes, so the first quote ends it. */
static bool
read_time(struct matcher *m, int64_t per_second, int64_t *out)
{
	char *p = m->at;
	const char *quote;
	uint64_t whole, fraction;
	size_t n = read_digits(p, m->end, &whole);

	if (per_second == 1 && n > 0 && n <= SAFE_DIGITS && whole <= SAFE_SECONDS && p[n] == '.' &&
	    read_digits(p + n + 1, m->end, &fraction) == 9 && p[n + 10] == '"') {
		*out = (int64_t)(whole * 1000000000 + fraction);
		m->at = p + n + 10;
		return true;
	}
	quote = memchr(p, '"', (size_t)(m->end - p));
	if (quote == NULL)
		return false;
	n = (size_t)(quote - p);
	m->at = p + n;
	return number_parse_time((struct str){ p, n }, per_second, out);
}

/* Metrics of a group, and mostly all of a document, have the same stamp. */
static inline bool
read_stamp(struct matcher *m)
{
	struct parser *p = m->p;
	size_t n = p->stamp.len;
	char *start = m->at;

	if (n > 0 && (size_t)(m->end - start) > n && start[n] == '"' &&
	    same_bytes(start, p->stamp.p, n)) {
		m->at += n;
		m->stamp_ns = p->stamp_ns;
		return true;
	}
	if (*start == '"')
		return true;
	if (!read_time(m, 1, &m->stamp_ns))
		return false;
	p->stamp = (struct str){ start, (size_t)(m->at - start) };
	p->stamp_ns = m->stamp_ns;
	return true;
}

static bool
read_bool(struct matcher *m, bool *out)
{
	struct str word = *m->at == 't' ? STR("true") : STR("false");

	if ((size_t)(m->end - m->at) < word.len || memcmp(m->at, word.p, word.len) != 0)
		return false;
	*out = *m->at == 't';
	m->at += word.len;
	return true;
}

/* A scan within the metric's object. */
static struct scan
scan_here(const struct matcher *m)
{
	struct scan s = m->p->list;

	s.p = m->at;
	s.depth++;
	return s;
}

static bool
read_string(struct matcher *m, struct str *out)
{
	struct scan s = scan_here(m);
	struct scan_token t;

	s.p--; /* the quote */
	if (scan_string(&s, &t) != 0)
		return false;
	m->at = t.p + t.len;
	if (t.escaped || t.beyond_ascii)
		m->pending = t;
	else
		*out = scan_text(&t);
	return true;
}

static bool
read_list(struct matcher *m)
{
	struct scan s = scan_here(m);

	if (scan_value(&s, &m->pending) != 0)
		return false;
	m->at = s.p;
	return true;
}

static bool
read_bucket(struct matcher *m, size_t at)
{
	return read_magnitude(m, &m->counts[at]) &&
	       !__builtin_add_overflow(m->total, m->counts[at], &m->total);
}

static bool
read_hole(struct matcher *m, const struct skeleton *s, const struct hole *hole, struct value *out)
{
	switch ((enum hole_type)hole->type) {
	case HOLE_BOOL:
		return read_bool(m, &out->b);
	case HOLE_INT:
		return read_int(m, s->desc.kind, &out->i);
	case HOLE_UINT:
		return read_uint(m, s->desc.kind, &out->u);
	case HOLE_F32:
		return read_f32(m, &out->f);
	case HOLE_F64:
		return read_f64(m, &out->f);
	case HOLE_TIME:
		return read_time(m, unit_per_second(s->desc.unit), &out->i);
	case HOLE_STRING:
		return read_string(m, &out->s);
	case HOLE_LIST:
		return read_list(m);
	case HOLE_STAMP:
		return read_stamp(m);
	case HOLE_DIST_F64:
		return read_f64(m, (double *)(void *)((char *)m->dists + hole->at));
	case HOLE_DIST_UINT:
		return read_magnitude(m, (uint64_t *)(void *)((char *)m->dists + hole->at));
	case HOLE_BUCKET:
		return read_bucket(m, hole->at);
	}
	return false;
}

static inline bool
skip_fixed(struct matcher *m, const char *fixed, size_t n)
{
	if ((size_t)(m->end - m->at) < n || !same_bytes(m->at, fixed, n))
		return false;
	m->at += n;
	return true;
}

static bool
read_holes(struct matcher *m, const struct skeleton *s, struct value *out)
{
	const char *fixed = s->fixed, *end = s->fixed + s->fixed_len;

	for (size_t i = 0; i < s->hole_count; i++) {
		const struct hole *hole = &s->holes[i];

		if (!skip_fixed(m, fixed, hole->gap) || !read_hole(m, s, hole, out))
			return false;
		fixed += hole->gap;
	}
	return skip_fixed(m, fixed, (size_t)(end - fixed));
}

static void
begin_dist(struct matcher *m)
{
	*m->dists = (struct dist){ .counts = m->counts };
	m->total = 0;
}

static void
end_dist(struct matcher *m, const struct skeleton *s, struct value *out)
{
	m->dists->len = s->desc.limit_count + 1;
	m->dists->count = m->total;
	m->counts += m->dists->len;
	out->dist = m->dists++;
}

/* False if another metric of the group has another stamp. */
static inline bool
take_stamp(struct matcher *m, size_t i)
{
	int64_t *group_ts = &m->group_ts[m->layout->slots[i]];

	m->ts[i] = m->stamp_ns;
	if (m->stamp_ns == TS_NONE || *group_ts == m->stamp_ns)
		return true;
	if (*group_ts != TS_NONE)
		return false;
	*group_ts = m->stamp_ns;
	return true;
}

/* The metric that the list stands at; if it matches, the list stands behind it then. */
static bool
match_metric(struct matcher *m, size_t i)
{
	const struct skeleton *s = m->layout->skeletons[i];
	struct value *out = &m->values[i];

	m->at = m->p->list.p;
	m->stamp_ns = TS_NONE;
	m->pending.type = SCAN_NOTHING;
	if (s->desc.kind == KIND_DIST)
		begin_dist(m);
	if (!read_holes(m, s, out) || !take_stamp(m, i))
		return false;
	if (s->desc.kind == KIND_DIST)
		end_dist(m, s, out);
	m->p->list.p = m->at;
	return true;
}

/* The value that was put off until its metric was sure to match. */
static enum outcome
read_pending(struct matcher *m, size_t i)
{
	struct metric_desc desc = m->layout->skeletons[i]->desc;

	m->p->path = desc.path;
	return parser_read_value(m->p, &m->pending, &desc, &m->values[i]);
}

/* As scan_next, quick if the next metric follows as tricorder writes it. */
static inline int
next_metric(struct scan *list)
{
	if (list->p[0] == ',' && list->p[1] == '\n' && list->p[2] == '\t' && list->p[3] == '{') {
		list->p += 3;
		return 1;
	}
	return scan_next(list);
}

/*
 * How many metrics match. The list stands behind them, or behind one more: its value was bad, and
 * is counted.
 */
static enum outcome
match_metrics(struct matcher *m, size_t *matched)
{
	const struct layout *l = m->layout;
	size_t i;

	for (i = 0; i < l->shared.len; i++) {
		struct scan before = m->p->list;
		enum outcome outcome = METRIC_GOOD;

		if (i + 1 < l->shared.len)
			__builtin_prefetch(l->skeletons[i + 1]);
		if (next_metric(&m->p->list) != 1 || !match_metric(m, i)) {
			m->p->list = before;
			break;
		}
		if (m->pending.type != SCAN_NOTHING)
			outcome = read_pending(m, i);
		if (outcome == METRIC_GOOD)
			continue;
		*matched = i;
		return outcome;
	}
	*matched = i;
	return METRIC_GOOD;
}

/* The bytes of all arrays that a poll needs, and where they are, in the order of alignment. */
static int
make_arrays(struct matcher *m)
{
	const struct layout *l = m->layout;
	size_t n = l->shared.len;
	size_t bytes = n * (sizeof(*m->values) + sizeof(*m->ts)) +
	               l->slot_count * sizeof(*m->group_ts) + l->dist_count * sizeof(*m->dists) +
	               l->bucket_count * sizeof(*m->counts);

	m->values = parser_array(m->p, bytes, 1);
	if (m->values == NULL)
		return -1;
	m->dists = (struct dist *)(void *)(m->values + n);
	m->ts = (int64_t *)(void *)(m->dists + l->dist_count);
	m->group_ts = m->ts + n;
	m->counts = (uint64_t *)(m->group_ts + l->slot_count);
	for (size_t i = 0; i < l->slot_count; i++)
		m->group_ts[i] = TS_NONE;
	return 0;
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
		if (m->ts[i] == TS_NONE)
			m->ts[i] = m->group_ts[m->layout->slots[i]];
	}
}

/* The layout's arrays for the batch, where it has none of its own. */
static int
copy_arrays(struct matcher *m, const struct metric_desc **desc, const int64_t **group)
{
	size_t n = m->layout->shared.len;
	struct metric_desc *descs = parser_array(m->p, n, sizeof(*descs));
	int64_t *groups = descs == NULL ? NULL : parser_array(m->p, n, sizeof(*groups));

	if (groups == NULL)
		return -1;
	for (size_t i = 0; i < n; i++) {
		descs[i] = m->layout->skeletons[i]->desc;
		groups[i] = m->layout->skeletons[i]->group;
	}
	*desc = descs;
	*group = groups;
	return 0;
}

static int
fill_batch(struct matcher *m)
{
	const struct metric_desc *desc = m->layout->desc;
	const int64_t *group = m->layout->group;

	if (desc == NULL && copy_arrays(m, &desc, &group) != 0)
		return -1;
	complete_stamps(m);
	return batch_adopt(m->p->batch, desc, group, m->values, m->ts, m->p->err);
}

/* Adds the first n as the parser would have done, so that it can go on. */
static int
add_matched(struct matcher *m, size_t n)
{
	struct batch *batch = m->p->batch;

	for (size_t i = 0; i < n; i++) {
		const struct skeleton *s = m->layout->skeletons[i];

		if (batch_add(batch, &s->desc, &m->values[i], s->group, m->ts[i], m->p->err) != 0)
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
	if (make_arrays(&m) != 0)
		return MATCH_LOST;
	outcome = match_metrics(&m, matched);
	if (outcome == POLL_LOST)
		return MATCH_LOST;
	if (outcome == METRIC_GOOD && *matched == layout->shared.len && is_at_end(p))
		return fill_batch(&m) == 0 ? MATCH_ALL : MATCH_LOST;
	return add_matched(&m, *matched) == 0 ? MATCH_PART : MATCH_LOST;
}
