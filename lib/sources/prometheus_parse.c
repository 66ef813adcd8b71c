#include "sources/prometheus_parse_priv.h"

#include <math.h>
#include <stdlib.h>

#include "base/hash.h"
#include "messages/number.h"
#include "sources/prometheus_scan_priv.h"
#include "sources/tricorder_layout_priv.h"

#define FIRST_SLOTS   64
#define FIRST_BUCKETS 16

/* What became of a line. */
enum outcome { LINE_GOOD, LINE_BAD, POLL_LOST };

/* What the comments say of the samples that follow. */
struct family {
	struct str name; /* empty: nothing is said yet */
	enum prometheus_type type;
	struct str help, unit;
};

/* What the end of a sample's name makes of it. */
enum role { ROLE_PLAIN, ROLE_BUCKET, ROLE_SUM, ROLE_COUNT };

struct bucket {
	double limit;
	uint64_t count; /* with all below */
};

/* A histogram whose samples are coming. */
struct histogram {
	struct bucket *buckets;
	size_t len, cap;
	double sum;
	int64_t ts_ns;
	bool torn;       /* its stamps differ */
	uint64_t hash;   /* of its labels */
	size_t metric;   /* where it goes in the batch, if nothing is bad */
	size_t last_seq; /* of the sample that came last: gaps make a layout useless */
};

/* A metric of the family at hand, which is added at its end. */
struct pending {
	struct metric_desc desc;
	struct value value;
	int64_t group, ts_ns;
	struct histogram *histogram; /* NULL: it is a sample */
};

struct parser {
	struct batch *batch;
	const struct prometheus_form *form;
	struct prometheus_notes *notes; /* may be NULL */
	const char *doc, *p, *end;
	size_t line_number;
	struct family family;
	struct str last_name, last_path; /* samples of one name share a path */
	struct prometheus_sample sample; /* of the line at hand */
	size_t samples;                  /* read so far, whatever became of them */

	struct pending *pending; /* the family's, once there is a histogram */
	size_t pending_len, pending_cap;
	struct pending **index; /* of pending histograms, by labels */
	size_t index_cap, index_len;
	struct pending *last; /* histogram */

	int64_t *stamps; /* by group - 1 */
	size_t stamp_len, stamp_cap;
	uint32_t *stamp_index; /* of groups, by stamp; 0 = free; twice the capacity */

	struct err *err;
};

static void *
take_memory(struct parser *p, size_t n, size_t size)
{
	void *block = arena_array(&p->batch->arena, n, size);

	if (block == NULL)
		batch_alloc_err(p->batch, n * size, p->err);
	return block;
}

static enum outcome
complain(struct parser *p, const char *why)
{
	struct str name = p->sample.name;

	batch_bad(
	    p->batch, name.len > 0 ? name : STR("(no name)"), "line %zu: %s", p->line_number, why);
	return LINE_BAD;
}

/* Groups of time stamps. */

static size_t
stamp_slot(const struct parser *p, int64_t ts_ns)
{
	size_t mask = 2 * p->stamp_cap - 1;
	size_t at = (size_t)hash_bytes((struct str){ (const char *)&ts_ns, sizeof(ts_ns) }) & mask;

	while (p->stamp_index[at] != 0 && p->stamps[p->stamp_index[at] - 1] != ts_ns)
		at = (at + 1) & mask;
	return at;
}

static int
stamps_grow(struct parser *p)
{
	size_t cap = p->stamp_cap == 0 ? FIRST_SLOTS : 2 * p->stamp_cap;
	int64_t *stamps = take_memory(p, cap, sizeof(*stamps));
	uint32_t *index = stamps == NULL ? NULL : take_memory(p, 2 * cap, sizeof(*index));

	if (index == NULL)
		return -1;
	memset(index, 0, 2 * cap * sizeof(*index));
	if (p->stamp_len > 0)
		memcpy(stamps, p->stamps, p->stamp_len * sizeof(*stamps));
	p->stamps = stamps;
	p->stamp_index = index;
	p->stamp_cap = cap;
	for (size_t i = 0; i < p->stamp_len; i++)
		index[stamp_slot(p, stamps[i])] = (uint32_t)i + 1;
	return 0;
}

/* The group of a stamp. */
static int
stamp_group(struct parser *p, int64_t ts_ns, int64_t *group)
{
	size_t slot;

	*group = 0;
	if (ts_ns == TS_NONE)
		return 0;
	if (p->stamp_len == p->stamp_cap && stamps_grow(p) != 0)
		return -1;
	slot = stamp_slot(p, ts_ns);
	if (p->stamp_index[slot] == 0) {
		p->stamps[p->stamp_len++] = ts_ns;
		p->stamp_index[slot] = (uint32_t)p->stamp_len;
	}
	*group = p->stamp_index[slot];
	return 0;
}

/* Notes. */

static void
note(struct parser *p, size_t metric, enum hole_type type, size_t at, struct str text)
{
	struct prometheus_note n;

	if (p->notes == NULL)
		return;
	n = (struct prometheus_note){
		.metric = (uint32_t)metric,
		.type = type,
		.at = (uint32_t)at,
		.start = (uint32_t)(text.p - p->doc),
		.len = (uint32_t)text.len,
	};
	buf_add(&p->notes->list, &n, sizeof(n));
}

/* The number of the sample at hand, and what follows it. */
static void
note_sample(struct parser *p, size_t metric, enum hole_type type, size_t at)
{
	const struct prometheus_sample *s = &p->sample;
	struct str last = s->stamp.len > 0 ? s->stamp : s->value;

	note(p, metric, type, at, s->value);
	if (s->stamp.len > 0)
		note(p, metric, p->form->openmetrics ? HOLE_STAMP_S : HOLE_STAMP_MS, 0, s->stamp);
	if (p->form->openmetrics) {
		const char *newline = p->p > p->doc && p->p[-1] == '\n' ? p->p - 1 : p->p;

		last.p += last.len;
		last.len = (size_t)(newline - last.p);
		note(p, metric, HOLE_EXEMPLAR, 0, last);
	}
}

static void
no_layout(struct parser *p)
{
	if (p->notes != NULL)
		p->notes->useless = true;
}

/* Descriptions. */

static bool
stamp_of(const struct parser *p, int64_t *ts_ns)
{
	struct str text = p->sample.stamp;

	*ts_ns = TS_NONE;
	if (text.len == 0)
		return true;
	return p->form->openmetrics ? prometheus_stamp_s(text, ts_ns)
	                            : prometheus_stamp_ms(text, ts_ns);
}

/* What a name of the family may end in. */
static const struct {
	struct str suffix;
	unsigned types; /* bits of enum prometheus_type */
	enum role role;
	bool has_unit; /* the family's */
} suffixes[] = {
	{ { "_bucket", 7 }, 1u << PROMETHEUS_HISTOGRAM | 1u << PROMETHEUS_GAUGE_HISTOGRAM,
	    ROLE_BUCKET, false },
	{ { "_sum", 4 }, 1u << PROMETHEUS_HISTOGRAM | 1u << PROMETHEUS_SUMMARY, ROLE_SUM, true },
	{ { "_count", 6 }, 1u << PROMETHEUS_HISTOGRAM | 1u << PROMETHEUS_SUMMARY, ROLE_COUNT,
	    false },
	{ { "_gsum", 5 }, 1u << PROMETHEUS_GAUGE_HISTOGRAM, ROLE_SUM, true },
	{ { "_gcount", 7 }, 1u << PROMETHEUS_GAUGE_HISTOGRAM, ROLE_COUNT, false },
	{ { "_total", 6 }, 1u << PROMETHEUS_COUNTER, ROLE_PLAIN, true },
	{ { "_created", 8 },
	    1u << PROMETHEUS_COUNTER | 1u << PROMETHEUS_HISTOGRAM | 1u << PROMETHEUS_SUMMARY,
	    ROLE_PLAIN, false },
	{ { "_info", 5 }, 1u << PROMETHEUS_INFO, ROLE_PLAIN, false },
};

static bool
is_histogram(const struct family *family)
{
	return family->type == PROMETHEUS_HISTOGRAM || family->type == PROMETHEUS_GAUGE_HISTOGRAM;
}

/* The unit that the end of a name tells. */
static struct str
unit_of_name(struct str name)
{
	if (str_ends(name, STR("_total")))
		name.len -= STR("_total").len;
	if (str_ends(name, STR("_seconds")) || str_ends(name, STR("_created")))
		return STR(UNIT_SECONDS);
	if (str_ends(name, STR("_bytes")))
		return STR(UNIT_BYTES);
	if (str_ends(name, STR("_celsius")))
		return STR(UNIT_CELSIUS);
	return STR(UNIT_NONE);
}

static struct str
unit_of_family(const struct family *family)
{
	struct str said = family->unit;

	if (said.len == 0)
		return unit_of_name(family->name);
	if (str_eq(said, STR("seconds")))
		return STR(UNIT_SECONDS);
	if (str_eq(said, STR("bytes")))
		return STR(UNIT_BYTES);
	if (str_eq(said, STR("celsius")))
		return STR(UNIT_CELSIUS);
	return said;
}

/* What the sample is to its family, and what that tells of it. False: it belongs to none. */
static bool
describe(const struct parser *p, struct metric_desc *desc, enum role *role)
{
	const struct family *family = &p->family;
	struct str name = p->sample.name, suffix;

	*role = ROLE_PLAIN;
	if (family->name.len == 0 || !str_starts(name, family->name))
		return false;
	suffix = str_sub(name, family->name.len, SIZE_MAX);
	if (suffix.len == 0) {
		desc->description = family->help;
		desc->unit = unit_of_family(family);
		return true;
	}
	for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
		if (!str_eq(suffix, suffixes[i].suffix) ||
		    (suffixes[i].types & 1u << family->type) == 0)
			continue;
		desc->description = family->help;
		if (suffixes[i].has_unit)
			desc->unit = unit_of_family(family);
		if (is_histogram(family) && !p->form->series)
			*role = suffixes[i].role;
		return true;
	}
	return false;
}

/* "/NAME" */
static int
path_of(struct parser *p, struct str name, struct str *path)
{
	if (!str_eq(name, p->last_name)) {
		char *copy = take_memory(p, name.len + 1, 1);

		if (copy == NULL)
			return -1;
		copy[0] = '/';
		memcpy(copy + 1, name.p, name.len);
		p->last_name = name;
		p->last_path = (struct str){ copy, name.len + 1 };
	}
	*path = p->last_path;
	return 0;
}

static int
tags_of(struct parser *p, struct metric_desc *desc)
{
	size_t n = p->sample.label_count;
	struct tag *tags;

	desc->tag_count = n;
	if (n == 0)
		return 0;
	tags = take_memory(p, n, sizeof(*tags));
	if (tags == NULL)
		return -1;
	memcpy(tags, p->sample.labels, n * sizeof(*tags));
	desc->tags = tags;
	return 0;
}

/* The family's metrics that wait for its end. */

static struct pending *
pending_add(struct parser *p)
{
	if (p->pending_len == p->pending_cap) {
		size_t cap = p->pending_cap == 0 ? FIRST_SLOTS : 2 * p->pending_cap;
		struct pending *more = take_memory(p, cap, sizeof(*more));

		if (more == NULL)
			return NULL;
		if (p->pending_len > 0)
			memcpy(more, p->pending, p->pending_len * sizeof(*more));
		for (size_t i = 0; i < p->index_cap; i++) {
			if (p->index[i] != NULL)
				p->index[i] = more + (p->index[i] - p->pending);
		}
		if (p->last != NULL)
			p->last = more + (p->last - p->pending);
		p->pending = more;
		p->pending_cap = cap;
	}
	p->pending[p->pending_len] = (struct pending){ .histogram = NULL };
	return &p->pending[p->pending_len++];
}

static uint64_t
labels_hash(const struct prometheus_sample *s)
{
	uint64_t hash = 0;

	for (size_t i = 0; i < s->label_count; i++) {
		hash = hash_mix(hash, hash_bytes(s->labels[i].key));
		hash = hash_mix(hash, hash_bytes(s->labels[i].value));
	}
	return hash;
}

static bool
same_labels(const struct metric_desc *desc, const struct prometheus_sample *s)
{
	if (desc->tag_count != s->label_count)
		return false;
	for (size_t i = 0; i < s->label_count; i++) {
		if (!str_eq(desc->tags[i].key, s->labels[i].key) ||
		    !str_eq(desc->tags[i].value, s->labels[i].value))
			return false;
	}
	return true;
}

static struct pending **
index_find(const struct parser *p, uint64_t hash, const struct prometheus_sample *s)
{
	size_t at = hash & (p->index_cap - 1);

	for (; p->index[at] != NULL; at = (at + 1) & (p->index_cap - 1)) {
		if (p->index[at]->histogram->hash == hash && same_labels(&p->index[at]->desc, s))
			break;
	}
	return &p->index[at];
}

static int
index_grow(struct parser *p)
{
	size_t cap = p->index_cap == 0 ? FIRST_SLOTS : 2 * p->index_cap;
	struct pending **old = p->index, **slots = take_memory(p, cap, sizeof(*slots));
	size_t old_cap = p->index_cap;

	if (slots == NULL)
		return -1;
	memset(slots, 0, cap * sizeof(*slots));
	for (size_t i = 0; i < old_cap; i++) {
		size_t at;

		if (old[i] == NULL)
			continue;
		at = old[i]->histogram->hash & (cap - 1);
		while (slots[at] != NULL)
			at = (at + 1) & (cap - 1);
		slots[at] = old[i];
	}
	p->index = slots;
	p->index_cap = cap;
	return 0;
}

/* A new one with the labels of the sample at hand. NULL without memory. */
static struct pending *
histogram_begin(struct parser *p, uint64_t hash)
{
	struct pending *m;
	struct histogram *h = take_memory(p, 1, sizeof(*h));

	if (h == NULL || (m = pending_add(p)) == NULL)
		return NULL;
	*h = (struct histogram){
		.hash = hash,
		.metric = p->batch->len + p->pending_len - 1,
		.last_seq = p->samples - 1,
	};
	m->desc = (struct metric_desc){
		.description = p->family.help,
		.unit = unit_of_family(&p->family),
		.kind = KIND_DIST,
		.not_cumulative = p->family.type == PROMETHEUS_GAUGE_HISTOGRAM,
	};
	if (path_of(p, p->family.name, &m->desc.path) != 0 || tags_of(p, &m->desc) != 0 ||
	    !stamp_of(p, &h->ts_ns) || stamp_group(p, h->ts_ns, &m->group) != 0)
		return NULL;
	m->ts_ns = h->ts_ns;
	m->histogram = h;
	return m;
}

/* The histogram that the sample at hand belongs to. NULL without memory. */
static struct histogram *
histogram_of_sample(struct parser *p, int64_t ts_ns)
{
	struct pending **slot, *m = p->last;

	if (m == NULL || !same_labels(&m->desc, &p->sample)) {
		uint64_t hash = labels_hash(&p->sample);

		if (2 * p->index_len >= p->index_cap && index_grow(p) != 0)
			return NULL;
		slot = index_find(p, hash, &p->sample);
		m = *slot;
		if (m == NULL) {
			m = histogram_begin(p, hash);
			if (m == NULL)
				return NULL;
			*index_find(p, hash, &p->sample) = m;
			p->index_len++;
		}
		p->last = m;
	}
	if (m->histogram->ts_ns != ts_ns)
		m->histogram->torn = true;
	if (m->histogram->last_seq + 1 != p->samples)
		no_layout(p);
	m->histogram->last_seq = p->samples;
	return m->histogram;
}

static int
buckets_grow(struct parser *p, struct histogram *h)
{
	size_t cap = h->cap == 0 ? FIRST_BUCKETS : 2 * h->cap;
	struct bucket *more;

	if (h->len < h->cap)
		return 0;
	more = take_memory(p, cap, sizeof(*more));
	if (more == NULL)
		return -1;
	if (h->len > 0)
		memcpy(more, h->buckets, h->len * sizeof(*more));
	h->buckets = more;
	h->cap = cap;
	return 0;
}

/* Takes the label "le" out. False if it is missing or no limit. */
static bool
take_limit(struct prometheus_sample *s, double *limit)
{
	for (size_t i = 0; i < s->label_count; i++) {
		if (!str_eq(s->labels[i].key, STR("le")))
			continue;
		if (!number_parse_sample(s->labels[i].value, limit) || isnan(*limit))
			return false;
		s->label_count--;
		memmove(
		    &s->labels[i], &s->labels[i + 1], (s->label_count - i) * sizeof(s->labels[0]));
		return true;
	}
	return false;
}

static enum outcome
take_bucket(struct parser *p, int64_t ts_ns)
{
	struct histogram *h;
	struct bucket b;

	if (!take_limit(&p->sample, &b.limit))
		return complain(p, "no good \"le\"");
	if (!prometheus_count(p->sample.value, &b.count))
		return complain(p, "a bucket that is no count");
	h = histogram_of_sample(p, ts_ns);
	if (h == NULL || buckets_grow(p, h) != 0)
		return POLL_LOST;
	note_sample(p, h->metric, HOLE_CUMULATIVE, h->len);
	h->buckets[h->len++] = b;
	return LINE_GOOD;
}

static enum outcome
take_sum(struct parser *p, int64_t ts_ns)
{
	struct histogram *h;
	double sum;

	if (!number_parse_sample(p->sample.value, &sum))
		return complain(p, "not a number");
	h = histogram_of_sample(p, ts_ns);
	if (h == NULL)
		return POLL_LOST;
	h->sum = sum;
	note_sample(p, h->metric, HOLE_SAMPLE_SUM, 0);
	return LINE_GOOD;
}

/* The buckets say it too, and cannot be at odds with themselves. */
static enum outcome
take_count(struct parser *p, int64_t ts_ns)
{
	struct histogram *h;
	uint64_t count;

	if (!prometheus_count(p->sample.value, &count))
		return complain(p, "not a count");
	h = histogram_of_sample(p, ts_ns);
	if (h == NULL)
		return POLL_LOST;
	note_sample(p, h->metric, HOLE_SAMPLE_COUNT, 0);
	return LINE_GOOD;
}

static enum outcome
take_plain(struct parser *p, struct metric_desc *desc, int64_t ts_ns)
{
	struct pending m = { .ts_ns = ts_ns };
	struct pending *later;

	if (!number_parse_sample(p->sample.value, &m.value.f))
		return complain(p, "not a number");
	desc->kind = KIND_FLOAT64;
	if (path_of(p, p->sample.name, &desc->path) != 0 || tags_of(p, desc) != 0 ||
	    stamp_group(p, ts_ns, &m.group) != 0)
		return POLL_LOST;
	note_sample(p, p->batch->len + p->pending_len, HOLE_SAMPLE, 0);
	if (p->pending_len == 0)
		return batch_add(p->batch, desc, &m.value, m.group, ts_ns, p->err) == 0 ? LINE_GOOD
		                                                                        : POLL_LOST;
	m.desc = *desc;
	later = pending_add(p);
	if (later == NULL)
		return POLL_LOST;
	*later = m;
	return LINE_GOOD;
}

static int
bucket_cmp(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	return (x->limit > y->limit) - (x->limit < y->limit);
}

/* In rising order, as the formats ask for. */
static void
sort_buckets(struct parser *p, struct histogram *h)
{
	for (size_t i = 1; i < h->len; i++) {
		if (h->buckets[i - 1].limit > h->buckets[i].limit) {
			no_layout(p);
			qsort(h->buckets, h->len, sizeof(*h->buckets), bucket_cmp);
			return;
		}
	}
}

/* NULL, or why the samples do not make a histogram. */
static const char *
fill_dist(const struct histogram *h, struct dist *dist, uint64_t *counts, double *limits)
{
	uint64_t below = 0;

	if (h->torn)
		return "its samples have different time stamps";
	if (h->len == 0 || h->buckets[h->len - 1].limit != HUGE_VAL)
		return "no bucket \"+Inf\"";
	for (size_t i = 0; i < h->len; i++) {
		if (h->buckets[i].count < below)
			return "buckets fall";
		counts[i] = h->buckets[i].count - below;
		below = h->buckets[i].count;
		if (i + 1 < h->len)
			limits[i] = h->buckets[i].limit;
	}
	*dist = (struct dist){ .counts = counts, .len = h->len, .sum = h->sum, .count = below };
	return NULL;
}

static int
add_histogram(struct parser *p, struct pending *m)
{
	struct histogram *h = m->histogram;
	struct dist *dist = take_memory(p, 1, sizeof(*dist));
	uint64_t *counts = dist == NULL ? NULL : take_memory(p, h->len, sizeof(*counts));
	double *limits = counts == NULL ? NULL : take_memory(p, h->len, sizeof(*limits));
	const char *why;

	if (limits == NULL)
		return -1;
	sort_buckets(p, h);
	why = fill_dist(h, dist, counts, limits);
	if (why != NULL) {
		batch_bad(p->batch, m->desc.path, "%s", why);
		return 0;
	}
	/* A count that fell tells the store of a restart. */
	if (!m->desc.not_cumulative)
		dist->generation = dist->count;
	m->desc.limits = limits;
	m->desc.limit_count = h->len - 1;
	m->value.dist = dist;
	return batch_add(p->batch, &m->desc, &m->value, m->group, m->ts_ns, p->err);
}

/* The family ends. */
static int
flush(struct parser *p)
{
	for (size_t i = 0; i < p->pending_len; i++) {
		struct pending *m = &p->pending[i];

		if (m->histogram != NULL) {
			if (add_histogram(p, m) != 0)
				return -1;
		} else if (batch_add(p->batch, &m->desc, &m->value, m->group, m->ts_ns, p->err) !=
		           0) {
			return -1;
		}
	}
	if (p->index_len > 0) {
		/* A small family after a large one must not pay for that. */
		p->index_cap = FIRST_SLOTS;
		memset(p->index, 0, FIRST_SLOTS * sizeof(*p->index));
	}
	p->pending_len = p->index_len = 0;
	p->last = NULL;
	return 0;
}

static enum outcome
take_sample(struct parser *p, struct str line)
{
	struct metric_desc desc = { .unit = STR_EMPTY };
	bool no_memory = false;
	const char *why =
	    prometheus_scan_sample(line, p->form, &p->batch->arena, &p->sample, &no_memory);
	enum role role;
	int64_t ts_ns;

	if (no_memory) {
		batch_alloc_err(p->batch, PROMETHEUS_LABEL_BYTES_MAX, p->err);
		return POLL_LOST;
	}
	if (why != NULL)
		return complain(p, why);
	if (!stamp_of(p, &ts_ns))
		return complain(p, "no good time stamp");
	p->samples++;
	if (!describe(p, &desc, &role)) {
		if (flush(p) != 0)
			return POLL_LOST;
		desc.unit = unit_of_name(p->sample.name);
	} else if (desc.unit.len == 0) {
		desc.unit =
		    str_ends(p->sample.name, STR("_created")) ? STR(UNIT_SECONDS) : STR(UNIT_NONE);
	}
	switch (role) {
	case ROLE_BUCKET:
		return take_bucket(p, ts_ns);
	case ROLE_SUM:
		return take_sum(p, ts_ns);
	case ROLE_COUNT:
		return take_count(p, ts_ns);
	case ROLE_PLAIN:
		break;
	}
	return take_plain(p, &desc, ts_ns);
}

static int
take_comment(struct parser *p, const struct prometheus_comment *c)
{
	struct family *family = &p->family;

	if (c->word == PROMETHEUS_REMARK)
		return 0;
	if (!str_eq(family->name, c->name)) {
		if (flush(p) != 0)
			return -1;
		*family = (struct family){ .name = c->name };
	}
	if (c->word == PROMETHEUS_TYPE) {
		/* What waits was read as what it was until now. */
		if (flush(p) != 0)
			return -1;
		family->type = c->type;
	} else if (c->word == PROMETHEUS_UNIT) {
		family->unit = utf8_valid_prefix(c->text.p, c->text.len) == c->text.len &&
		                       c->text.len <= PROMETHEUS_LABEL_BYTES_MAX
		                   ? c->text
		                   : STR_EMPTY;
	} else if (!prometheus_help_text(c->text, p->form, &p->batch->arena, &family->help)) {
		batch_alloc_err(p->batch, PROMETHEUS_HELP_BYTES_MAX, p->err);
		return -1;
	}
	return 0;
}

/* All lines up to the end, or to that of the format. */
static int
take_lines(struct parser *p, bool *ended)
{
	struct prometheus_comment comment;
	struct str line;

	while (prometheus_line(&p->p, p->end, &line)) {
		p->line_number++;
		if (!prometheus_scan_comment(line, p->form, &comment)) {
			if (take_sample(p, line) == POLL_LOST)
				return -1;
			continue;
		}
		if (comment.word == PROMETHEUS_EOF) {
			*ended = true;
			return 0;
		}
		if (take_comment(p, &comment) != 0)
			return -1;
	}
	return 0;
}

int
prometheus_parse(const char *doc, size_t len, const struct prometheus_form *form,
    struct batch *batch, struct prometheus_notes *notes, struct err *err)
{
	struct parser p = {
		.batch = batch,
		.form = form,
		.notes = notes,
		.doc = doc,
		.p = doc,
		.end = doc + len,
		.err = err,
	};
	bool ended = false;

	batch_set_unordered(batch);
	if (take_lines(&p, &ended) != 0 || flush(&p) != 0)
		return -1;
	if (form->openmetrics && !ended) {
		err_set(err, ERR_PROTO, "no \"# EOF\" at the end: the answer was cut off");
		return -1;
	}
	if (ended && p.p != p.end) {
		p.sample.name = STR_EMPTY;
		complain(&p, "more after \"# EOF\"");
	}
	if (batch->len == 0 && batch->bad_count > 0) {
		err_set(err, ERR_PROTO, "not Prometheus' format: %s", batch->bad_text);
		return -1;
	}
	return 0;
}
