/*
 * The prometheus writer: remote write 1.0, to Prometheus and all that speak it.
 *
 * A metric is called as at /federate (messages/prometheus.h) and has the labels instance (the
 * host), job (the application), region, the endpoint's tags and its own; a tag that is called as
 * one of these, or as another of the same, has "exported_" before its name. Of a label that both
 * have the metric's counts.
 *
 *   numbers, bool, time, duration   doubles, in the unit that the name says; NaN and infinite too
 *   string                          1, of NAME_info with the label value
 *   distribution                    a histogram: NAME_bucket with the label le, NAME_sum,
 *                                   NAME_count
 *   list                            none: counted as unsupported
 *   distribution that is not        none: counted as unwritable
 *   cumulative
 *
 * Where a series ends its last sample is a marker ("stale"), so that queries have no value of it
 * from then on; but for strings, as their series is called by the value that they no longer have.
 *
 * Labels have to be sorted. Those of an endpoint and those of a metric are each made once, as the
 * bytes of the message, and merged for each record.
 */
#include <math.h>
#include <snappy-c.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "messages/number.h"
#include "messages/prometheus.h"
#include "pstore/post.h"

extern const struct writer_ops writer_prometheus;

#define REQUEST_BYTES ((size_t)1024 * 1024)
/* NaNs, by their bits: any value that is none, and what tells that a series has ended. */
#define PLAIN_NAN UINT64_C(0x7ff8000000000001)
#define STALE_NAN UINT64_C(0x7ff0000000000002)
/* A sample's bytes at most: key, length, key, double, key, time of 10 bytes. */
#define SAMPLE_BYTES 22
#define VARINT_BYTES 10

/*
 * A list of labels, sorted: this, a head for each, and their bytes, one after the other. The text
 * of an endpoint is a list; the head of a metric a row of them: one, or of a distribution one for
 * each bucket, the sum and the count.
 */
struct list_head {
	uint32_t count;
	uint32_t len; /* of the bytes */
};
struct label_head {
	uint32_t len;               /* of its bytes */
	uint32_t name_at, name_len; /* in them */
};

struct prometheus {
	struct writer base;
	struct post *post; /* NULL when opened to check only */
	struct buf packed;
};

static const struct conf_opt opts[] = {
	{ "url", CONF_TEXT, NULL, "http://HOST:9090/api/v1/write or https://...", 0, 0 },
	{ "username", CONF_TEXT, NULL, "basic authentication", 0, 0 },
	{ "password", CONF_SECRET, NULL, "for it", 0, 0 },
	{ "token", CONF_SECRET, NULL, "instead of both: a bearer token", 0, 0 },
	POST_OPTS_PLAIN,
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static void
prometheus_close(struct writer *writer)
{
	struct prometheus *w = CONTAINER_OF(writer, struct prometheus, base);

	post_free(w->post);
	buf_fini(&w->packed);
	free(w);
}

static int
open_post(struct prometheus *w, const struct conf *conf, const char *token, const char *password,
    const struct writer_env *env, struct err *err)
{
	struct post_conf post = { .conf = conf, .opts = opts, .stop = env->stop };
	char *header = NULL;

	if (token != NULL && asprintf(&header, "Authorization: Bearer %s", token) < 0) {
		err_nomem(err);
		return -1;
	}
	post.url = conf_text(conf, opts, "url").p; /* ended by a NUL */
	post.headers[0] = "Content-Type: application/x-protobuf";
	post.headers[1] = "Content-Encoding: snappy";
	post.headers[2] = "X-Prometheus-Remote-Write-Version: 0.1.0";
	post.headers[3] = "User-Agent: scottyd";
	post.headers[4] = header;
	if (conf_text(conf, opts, "username").len > 0) {
		post.user = conf_text(conf, opts, "username").p;
		post.password = password;
	}
	w->post = post_new(&post, err);
	conf_secret_free(header);
	return w->post == NULL ? -1 : 0;
}

static int
check(const struct conf *conf, const char *token, struct err *err)
{
	struct str url = conf_text(conf, opts, "url");

	if (url.len == 0)
		err_set(err, ERR_CONFIG,
		    "'url' required, as http://prometheus.example.com:9090/api/v1/write");
	else if (token != NULL && conf_text(conf, opts, "username").len > 0)
		err_set(err, ERR_CONFIG, "'username' or 'token': one of them");
	else if (token != NULL && strpbrk(token, "\r\n") != NULL)
		err_set(err, ERR_CONFIG, "'token' must not have line ends");
	else
		return post_check_url(url, err);
	return -1;
}

static struct writer *
prometheus_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	char *token = NULL, *password = NULL;
	struct prometheus *w = NULL;
	struct writer *result = NULL;

	if (conf_secret(conf, "token", &token, err) != 0 ||
	    conf_secret(conf, "password", &password, err) != 0 || check(conf, token, err) != 0)
		goto out;
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		err_nomem(err);
		goto out;
	}
	w->base = (struct writer){ &writer_prometheus, KINDS_ALL & ~KIND_BIT(KIND_LIST) };
	buf_init(&w->packed, 0);
	if (env == NULL || open_post(w, conf, token, password, env, err) == 0)
		result = &w->base;
	else
		prometheus_close(&w->base);
out:
	conf_secret_free(token);
	conf_secret_free(password);
	return result;
}

/* Protocol buffers: a field is a varint of its number and wire type, and its value. */
#define KEY_LABELS    0x0A /* WriteRequest.timeseries and TimeSeries.labels too: field 1, bytes */
#define KEY_NAME      0x0A
#define KEY_VALUE     0x12 /* Label.value, TimeSeries.samples: field 2, bytes */
#define KEY_SAMPLE    0x12
#define KEY_DOUBLE    0x09 /* Sample.value: field 1, 8 bytes */
#define KEY_TIMESTAMP 0x10 /* Sample.timestamp: field 2, varint */

static char *
put_varint(char *p, uint64_t n)
{
	while (n >= 0x80) {
		*p++ = (char)(n | 0x80);
		n >>= 7;
	}
	*p++ = (char)n;
	return p;
}

static size_t
varint_len(uint64_t n)
{
	size_t len = 1;

	while (n >= 0x80) {
		n >>= 7;
		len++;
	}
	return len;
}

static void
put_bytes(struct buf *out, char key, struct str bytes)
{
	if (!buf_reserve(out, 1 + VARINT_BYTES + bytes.len))
		return;
	out->p[out->len++] = key;
	out->len = (size_t)(put_varint(out->p + out->len, bytes.len) - out->p);
	buf_str(out, bytes);
}

static size_t
bytes_len(struct str bytes)
{
	return 1 + varint_len(bytes.len) + bytes.len;
}

/* Into a list whose head of it is at head_at. Its value is not empty: that can't be said. */
static void
put_label(struct buf *out, size_t head_at, struct str name, struct str value)
{
	size_t len = bytes_len(name) + bytes_len(value);
	struct label_head head = { .len = (uint32_t)(1 + varint_len(len) + len),
		.name_at = (uint32_t)(2 + varint_len(len) + varint_len(name.len)),
		.name_len = (uint32_t)name.len };

	if (!buf_reserve(out, 1 + VARINT_BYTES))
		return;
	out->p[out->len++] = KEY_LABELS;
	out->len = (size_t)(put_varint(out->p + out->len, len) - out->p);
	put_bytes(out, KEY_NAME, name);
	put_bytes(out, KEY_VALUE, value);
	if (!out->failed)
		memcpy(out->p + head_at, &head, sizeof(head));
}

/* Labels in the making: a name is lent from the names, at `at`. */
struct label {
	size_t at;
	struct str name, value;
};

struct labels {
	struct label *list;
	size_t n;
	struct buf names;
};

/* A name that our own labels have, or may have where desc is NULL, as the metric is not known. */
static bool
is_ours(const struct metric_desc *desc, struct str name)
{
	static const char *const always[] = { "__name__", "instance", "job", "region" };

	for (size_t i = 0; i < ARRAY_LEN(always); i++) {
		if (str_eq(name, str_of(always[i])))
			return true;
	}
	return ((desc == NULL || desc->kind == KIND_DIST) && str_eq(name, STR("le"))) ||
	       ((desc == NULL || desc->kind == KIND_STRING) && str_eq(name, STR("value")));
}

static bool
has_label(const struct labels *labels, struct str name)
{
	for (size_t i = 0; i < labels->n; i++) {
		struct str other = { labels->names.p + labels->list[i].at,
			labels->list[i].name.len };

		if (str_eq(name, other))
			return true;
	}
	return false;
}

static void
add_label(struct labels *labels, const struct metric_desc *desc, const struct tag *tag)
{
	struct buf *names = &labels->names;
	struct buf name;

	buf_init(&name, 0);
	prometheus_put_label_name(&name, tag->key);
	while (!name.failed &&
	       (is_ours(desc, buf_view(&name)) || has_label(labels, buf_view(&name)))) {
		struct buf longer;

		buf_init(&longer, 0);
		buf_puts(&longer, "exported_");
		buf_str(&longer, buf_view(&name));
		longer.failed = longer.failed || name.failed;
		buf_fini(&name);
		name = longer;
	}
	labels->list[labels->n++] = (struct label){ names->len, { NULL, name.len }, tag->value };
	buf_str(names, buf_view(&name));
	names->failed = names->failed || name.failed;
	buf_fini(&name);
}

static int
label_cmp(const void *a, const void *b)
{
	const struct label *x = a, *y = b;

	return str_cmp(x->name, y->name);
}

/* The tags of the metric, or of an endpoint (desc NULL), as labels, sorted. False: no memory. */
static bool
make_labels(struct labels *labels, const struct metric_desc *desc, const struct tag *tags, size_t n)
{
	buf_init(&labels->names, 0);
	labels->n = 0;
	labels->list = calloc(n + 1, sizeof(*labels->list));
	if (labels->list == NULL)
		return false;
	for (size_t i = 0; i < n && !labels->names.failed; i++) {
		if (tags[i].value.len > 0)
			add_label(labels, desc, &tags[i]);
	}
	if (labels->names.failed)
		return false;
	/* Only now: the buf may have moved while it grew. */
	for (size_t i = 0; i < labels->n; i++)
		labels->list[i].name.p = labels->names.p + labels->list[i].at;
	if (labels->n > 0)
		qsort(labels->list, labels->n, sizeof(*labels->list), label_cmp);
	return true;
}

static void
free_labels(struct labels *labels)
{
	free(labels->list);
	buf_fini(&labels->names);
}

/* A list of the labels and of `extra`, which is sorted too; those of it without a value not. */
static void
put_list(const struct labels *labels, const struct label *extra, size_t extra_len, struct buf *out)
{
	size_t at = out->len, heads = at + sizeof(struct list_head), i = 0, k = 0, begin;
	struct list_head head = { .count = (uint32_t)labels->n };

	for (size_t e = 0; e < extra_len; e++)
		head.count += extra[e].value.len > 0;
	begin = heads + head.count * sizeof(struct label_head);
	if (!buf_reserve(out, begin - at))
		return;
	out->len = begin;
	while (i < labels->n || k < extra_len) {
		const struct label *next;

		if (k == extra_len || (i < labels->n && label_cmp(&labels->list[i], &extra[k]) < 0))
			next = &labels->list[i++];
		else
			next = &extra[k++];
		if (next->value.len == 0)
			continue;
		put_label(out, heads, next->name, next->value);
		heads += sizeof(struct label_head);
	}
	head.len = (uint32_t)(out->len - begin);
	if (!out->failed)
		memcpy(out->p + at, &head, sizeof(head));
}

/* The list of a series: __name__, the labels, and le unless that is empty. */
static void
put_names(const struct labels *labels, struct str name, struct str le, struct buf *out)
{
	struct label extra[] = { { 0, STR("__name__"), name }, { 0, STR("le"), le } };

	put_list(labels, extra, ARRAY_LEN(extra), out);
}

static void
put_histogram(
    const struct labels *labels, const struct metric_desc *desc, struct buf *name, struct buf *out)
{
	size_t len = name->len;

	buf_puts(name, "_bucket");
	for (size_t i = 0; i <= desc->limit_count; i++) {
		char limit[NUMBER_BYTES];
		struct str text = STR("+Inf");

		if (i < desc->limit_count)
			text = (struct str){ limit,
				number_f64(limit, prometheus_scaled(desc, desc->limits[i])) };
		put_names(labels, buf_view(name), text, out);
	}
	name->len = len;
	buf_puts(name, "_sum");
	put_names(labels, buf_view(name), STR_EMPTY, out);
	name->len = len;
	buf_puts(name, "_count");
	put_names(labels, buf_view(name), STR_EMPTY, out);
}

/* The head stays empty for what has no place there. */
static void
prometheus_prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	struct labels labels;
	struct buf name;

	(void)writer;
	(void)tail;
	buf_init(&name, 0);
	if (!make_labels(&labels, desc, desc->tags, desc->tag_count))
		head->failed = true;
	else if (prometheus_name(desc, &name) && desc->kind == KIND_DIST)
		put_histogram(&labels, desc, &name, head);
	else if (name.len > 0)
		put_names(&labels, buf_view(&name), STR_EMPTY, head);
	head->failed = head->failed || name.failed;
	free_labels(&labels);
	buf_fini(&name);
}

static void
prometheus_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	struct label ours[] = { { 0, STR("instance"), origin->host },
		{ 0, STR("job"), origin->app }, { 0, STR("region"), origin->region } };
	struct labels labels;

	(void)writer;
	if (make_labels(&labels, NULL, origin->tags, origin->tag_count))
		put_list(&labels, ours, ARRAY_LEN(ours), out);
	else
		out->failed = true;
	free_labels(&labels);
}

/* A list, read label by label. */
struct walk {
	const char *heads; /* of the labels after the next one */
	uint32_t count;    /* labels left */
	struct str bytes;  /* theirs */
	struct label_head head;
};

/* The next label becomes the first one, if there is one. */
static void
walk_look(struct walk *walk)
{
	if (walk->count == 0)
		return;
	memcpy(&walk->head, walk->heads, sizeof(walk->head));
	walk->heads += sizeof(walk->head);
}

static void
walk_on(struct walk *walk)
{
	walk->count--;
	walk->bytes.p += walk->head.len;
	walk->bytes.len -= walk->head.len;
	walk_look(walk);
}

/* Takes the next list from a text. Returns the length of its labels' bytes. */
static size_t
walk_begin(struct walk *walk, struct str *text)
{
	struct list_head head;
	size_t begin;

	memcpy(&head, text->p, sizeof(head));
	begin = sizeof(head) + head.count * sizeof(struct label_head);
	walk->heads = text->p + sizeof(head);
	walk->count = head.count;
	walk->bytes = (struct str){ text->p + begin, head.len };
	*text = str_sub(*text, begin + head.len, SIZE_MAX);
	walk_look(walk);
	return head.len;
}

static struct str
walk_name(const struct walk *walk)
{
	return (struct str){ walk->bytes.p + walk->head.name_at, walk->head.name_len };
}

/* All labels of the lists, sorted; of a name that is in several the first list's. */
static char *
merge(char *p, struct walk *walks, size_t n)
{
	for (;;) {
		struct walk *first = NULL;
		size_t lists = 0;

		for (struct walk *w = walks; w < walks + n; w++) {
			int cmp = -1;

			if (first != NULL && w->count > 0)
				cmp = str_cmp(walk_name(w), walk_name(first));
			if (cmp == 0)
				walk_on(w); /* what follows is larger */
			if (w->count > 0 && cmp < 0)
				first = w;
			lists += w->count > 0;
		}
		if (first == NULL)
			return p;
		if (lists == 1)
			return str_put(p, first->bytes);
		p = str_put(p, (struct str){ first->bytes.p, first->head.len });
		walk_on(first);
	}
}

static char *
put_sample(char *p, uint64_t bits, uint64_t ts_ms)
{
	*p++ = KEY_SAMPLE;
	*p++ = (char)(9 + 1 + varint_len(ts_ms));
	*p++ = KEY_DOUBLE;
	for (unsigned i = 0; i < 8; i++)
		*p++ = (char)(bits >> (8 * i));
	*p++ = KEY_TIMESTAMP;
	return put_varint(p, ts_ms);
}

/* What a record says: the number, or that there are no more. */
static uint64_t
sample_bits(const struct write_record *record, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return record->is_end ? STALE_NAN : isnan(value) ? PLAIN_NAN : bits;
}

/* The next series of the head, with one sample; more is a list of labels or empty. */
static void
put_series(struct buf *out, const struct write_record *record, struct str *head, struct str more,
    double value)
{
	struct str origin = record->origin->text;
	struct walk walks[3];
	size_t n = 0, labels = 0, len;
	uint64_t ts_ms = (uint64_t)(record->ts_ns / NS_PER_MS);
	size_t sample_len = 2 + 9 + 1 + varint_len(ts_ms);
	char *p, *body, *end;

	if (more.len > 0)
		labels += walk_begin(&walks[n++], &more);
	labels += walk_begin(&walks[n++], head);
	labels += walk_begin(&walks[n++], &origin);
	if (!buf_reserve(out, 1 + VARINT_BYTES + labels + SAMPLE_BYTES))
		return;
	p = out->p + out->len;
	*p++ = KEY_LABELS;
	body = put_varint(p, labels + sample_len);
	end = merge(body, walks, n);
	len = (size_t)(end - body);
	if (len < labels) { /* some were in both */
		char *at = put_varint(p, len + sample_len);

		memmove(at, body, len);
		end = at + len;
	}
	out->len = (size_t)(put_sample(end, sample_bits(record, value), ts_ms) - out->p);
}

static double
number_of(const struct metric_desc *desc, const struct value *value)
{
	if (desc->kind == KIND_BOOL)
		return value->b ? 1 : 0;
	return prometheus_scaled(desc, value_to_double(desc->kind, value));
}

static void
put_dist(struct buf *out, const struct write_record *record)
{
	const struct metric_desc *desc = record->series->desc;
	const struct dist *dist = record->value.dist;
	struct str head = record->series->head;
	uint64_t count = 0;

	for (size_t i = 0; i <= desc->limit_count; i++) {
		count += i < dist->len ? dist->counts[i] : 0;
		put_series(out, record, &head, STR_EMPTY, (double)count);
	}
	put_series(out, record, &head, STR_EMPTY, prometheus_scaled(desc, dist->sum));
	put_series(out, record, &head, STR_EMPTY, (double)count); /* it has to be that of +Inf */
}

static bool
prometheus_format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	const struct metric_desc *desc = record->series->desc;
	struct str head = record->series->head;
	struct label text = { 0, STR("value"), record->value.s };
	struct buf more;

	(void)writer;
	if (head.len == 0)
		return false;
	if (desc->kind == KIND_DIST) {
		put_dist(out, record);
		return true;
	}
	if (desc->kind != KIND_STRING) {
		put_series(out, record, &head, STR_EMPTY, number_of(desc, &record->value));
		return true;
	}
	buf_init(&more, 0);
	put_list(&(struct labels){ .n = 0 }, &text, 1, &more);
	out->failed = out->failed || more.failed;
	if (!more.failed)
		put_series(out, record, &head, buf_view(&more), 1);
	buf_fini(&more);
	return true;
}

static bool
pack(struct prometheus *w, struct str body)
{
	size_t len = snappy_max_compressed_length(body.len);

	buf_clear(&w->packed);
	if (!buf_reserve(&w->packed, len) ||
	    snappy_compress(body.p, body.len, w->packed.p, &len) != SNAPPY_OK)
		return false;
	w->packed.len = len;
	return true;
}

static void
prometheus_send(
    struct writer *writer, const struct write_request *request, struct write_answer *out)
{
	struct prometheus *w = CONTAINER_OF(writer, struct prometheus, base);
	struct post_answer answer;
	struct err err;

	if (!pack(w, request->body)) {
		out->status = WRITE_LATER;
		err_nomem(&out->err);
		return;
	}
	post_send(w->post, buf_view(&w->packed), &answer, &err);
	post_judge(w->post, &answer, &err, out);
}

const struct writer_ops writer_prometheus = {
	.name = "prometheus",
	.help = "Prometheus, and what takes its remote write",
	.opts = opts,
	.request_bytes = REQUEST_BYTES,
	.end_kinds = KINDS_ALL & ~(KIND_BIT(KIND_LIST) | KIND_BIT(KIND_STRING)),
	.open = prometheus_open,
	.prepare_origin = prometheus_prepare_origin,
	.prepare_series = prometheus_prepare_series,
	.format = prometheus_format,
	.send = prometheus_send,
	.close = prometheus_close,
};
