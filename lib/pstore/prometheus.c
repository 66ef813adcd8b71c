/*
 * The prometheus writer: remote write 1.0, to Prometheus and all that speak it.
 *
 * A metric is called as at /federate (messages/prometheus.h) and has the labels instance (the
 * host), job (the application), region, and its tags; a tag that is called as one of these, or as
 * another, has "exported_" before its name.
 *
 *   numbers, bool, time, duration   doubles, in the unit that the name says; NaN and infinite too
 *   string                          1, of NAME_info with the label value
 *   distribution                    a histogram: NAME_bucket with the label le, NAME_sum,
 * NAME_count list, distribution that is      none: counted as unsupported, as unwritable not
 * cumulative
 *
 * Labels have to be sorted. Those of an endpoint and those of a metric are each made once, as the
 * bytes of the message, and merged for each record: the endpoint's have names that are known, so
 * the metric's are kept in the stretches between those.
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
/* Beyond NaN's usual bits: some mean that a series is gone. */
#define PLAIN_NAN UINT64_C(0x7ff8000000000001)
/* A sample's bytes at most: key, length, key, double, key, time of 10 bytes. */
#define SAMPLE_BYTES 22
#define VARINT_BYTES 10

/* What stands between the stretches, sorted. A record has the last one only if it is a string. */
enum { LABEL_INSTANCE, LABEL_JOB, LABEL_REGION, LABEL_VALUE, LABELS };
static const char *const between[LABELS] = { "instance", "job", "region", "value" };
#define STRETCHES (LABELS + 1)

/*
 * In the head of a metric: a row of these, each with its bytes after it. One, or of a distribution
 * one for each bucket, the sum and the count. In the text of an endpoint: one, whose stretches are
 * the labels of that name.
 */
struct stretches {
	uint32_t len[STRETCHES];
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

/* Nothing for an empty value: that means that the label is not there. */
static void
put_label(struct buf *out, struct str name, struct str value)
{
	if (value.len == 0)
		return;
	if (!buf_reserve(out, 1 + VARINT_BYTES))
		return;
	out->p[out->len++] = KEY_LABELS;
	out->len =
	    (size_t)(put_varint(out->p + out->len, bytes_len(name) + bytes_len(value)) - out->p);
	put_bytes(out, KEY_NAME, name);
	put_bytes(out, KEY_VALUE, value);
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

static bool
has_label(const struct labels *labels, const struct metric_desc *desc, struct str name)
{
	for (size_t i = 0; i < LABELS; i++) {
		bool is_used = i != LABEL_VALUE || desc->kind == KIND_STRING;

		if (is_used && str_eq(name, str_of(between[i])))
			return true;
	}
	if (str_eq(name, STR("__name__")) || (desc->kind == KIND_DIST && str_eq(name, STR("le"))))
		return true;
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
	while (!name.failed && has_label(labels, desc, buf_view(&name))) {
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

/* The tags as labels, sorted. False when out of memory. */
static bool
make_labels(struct labels *labels, const struct metric_desc *desc)
{
	buf_init(&labels->names, 0);
	labels->n = 0;
	labels->list = calloc(desc->tag_count + 1, sizeof(*labels->list));
	if (labels->list == NULL)
		return false;
	for (size_t i = 0; i < desc->tag_count && !labels->names.failed; i++)
		add_label(labels, desc, &desc->tags[i]);
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

/* The stretches of a series: __name__, the labels, and le unless that is empty. */
static void
put_stretches(const struct labels *labels, struct str name, struct str le, struct buf *out)
{
	struct label extra[] = { { 0, STR("__name__"), name }, { 0, STR("le"), le } };
	size_t i = 0, k = 0, at = out->len, begin, slot = 0;
	struct stretches lens = { { 0 } };

	buf_add(out, &lens, sizeof(lens));
	begin = out->len;
	while (i < labels->n || k < ARRAY_LEN(extra)) {
		const struct label *next;

		if (k == ARRAY_LEN(extra) ||
		    (i < labels->n && label_cmp(&labels->list[i], &extra[k]) < 0))
			next = &labels->list[i++];
		else
			next = &extra[k++];
		while (slot < LABELS && str_cmp(next->name, str_of(between[slot])) > 0) {
			lens.len[slot++] = (uint32_t)(out->len - begin);
			begin = out->len;
		}
		put_label(out, next->name, next->value);
	}
	lens.len[slot] = (uint32_t)(out->len - begin);
	if (!out->failed)
		memcpy(out->p + at, &lens, sizeof(lens));
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
		put_stretches(labels, buf_view(name), text, out);
	}
	name->len = len;
	buf_puts(name, "_sum");
	put_stretches(labels, buf_view(name), STR_EMPTY, out);
	name->len = len;
	buf_puts(name, "_count");
	put_stretches(labels, buf_view(name), STR_EMPTY, out);
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
	if (!make_labels(&labels, desc))
		head->failed = true;
	else if (prometheus_name(desc, &name) && desc->kind == KIND_DIST)
		put_histogram(&labels, desc, &name, head);
	else if (name.len > 0)
		put_stretches(&labels, buf_view(&name), STR_EMPTY, head);
	head->failed = head->failed || name.failed;
	free_labels(&labels);
	buf_fini(&name);
}

static void
prometheus_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	struct str values[LABELS] = { origin->host, origin->app, origin->region, STR_EMPTY };
	struct stretches lens = { { 0 } };
	size_t at = out->len;

	(void)writer;
	buf_add(out, &lens, sizeof(lens));
	for (size_t i = 0; i < LABELS; i++) {
		size_t begin = out->len;

		put_label(out, str_of(between[i]), values[i]);
		lens.len[i] = (uint32_t)(out->len - begin);
	}
	if (!out->failed)
		memcpy(out->p + at, &lens, sizeof(lens));
}

/* Takes the next stretches and their bytes from a text. */
static struct stretches
take_stretches(struct str *text, const char **bytes)
{
	struct stretches s;
	size_t len = 0;

	memcpy(&s, text->p, sizeof(s));
	for (size_t i = 0; i < STRETCHES; i++)
		len += s.len[i];
	*bytes = text->p + sizeof(s);
	*text = str_sub(*text, sizeof(s) + len, SIZE_MAX);
	return s;
}

static size_t
sum_of(const struct stretches *s)
{
	size_t sum = 0;

	for (size_t i = 0; i < STRETCHES; i++)
		sum += s->len[i];
	return sum;
}

static char *
put_sample(char *p, double value, uint64_t ts_ms)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	if (isnan(value))
		bits = PLAIN_NAN;
	*p++ = KEY_SAMPLE;
	*p++ = (char)(9 + 1 + varint_len(ts_ms));
	*p++ = KEY_DOUBLE;
	for (unsigned i = 0; i < 8; i++)
		*p++ = (char)(bits >> (8 * i));
	*p++ = KEY_TIMESTAMP;
	return put_varint(p, ts_ms);
}

/* The next series of the head, with one sample; value_label is a label or empty. */
static void
put_series(struct buf *out, const struct write_record *record, struct str *head,
    struct str value_label, double value)
{
	struct str origin = record->origin->text;
	const char *mine, *origins;
	struct stretches own = take_stretches(head, &mine);
	struct stretches others = take_stretches(&origin, &origins);
	uint64_t ts_ms = (uint64_t)(record->ts_ns / NS_PER_MS);
	size_t labels = sum_of(&own) + sum_of(&others) + value_label.len;
	size_t len = labels + 2 + 9 + 1 + varint_len(ts_ms);
	char *p;

	if (!buf_reserve(out, 1 + VARINT_BYTES + labels + SAMPLE_BYTES))
		return;
	p = out->p + out->len;
	*p++ = KEY_LABELS;
	p = put_varint(p, len);
	for (size_t i = 0; i < STRETCHES; i++) {
		p = str_put(p, (struct str){ mine, own.len[i] });
		mine += own.len[i];
		if (i == LABEL_VALUE)
			p = str_put(p, value_label);
		p = str_put(p, (struct str){ origins, others.len[i] });
		origins += others.len[i];
	}
	out->len = (size_t)(put_sample(p, value, ts_ms) - out->p);
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
	struct buf label;

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
	buf_init(&label, 0);
	put_label(&label, str_of(between[LABEL_VALUE]), record->value.s);
	put_series(out, record, &head, buf_view(&label), 1);
	out->failed = out->failed || label.failed;
	buf_fini(&label);
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
	.open = prometheus_open,
	.prepare_origin = prometheus_prepare_origin,
	.prepare_series = prometheus_prepare_series,
	.format = prometheus_format,
	.send = prometheus_send,
	.close = prometheus_close,
};
