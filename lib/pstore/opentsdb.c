/*
 * The openTSDB writer: points as JSON to /api/put?details, as upstream writes them.
 *
 * The metric is the path, with tags HostName, appname, ipaddress, region, the endpoint's and its
 * own. What the server takes in none of them is escaped (name_escape.h). OpenTSDB takes 8 tags
 * unless its tsd.storage.max_tags says otherwise; of more than `maxTags` the endpoint's are left
 * out, the last by key first: they say more of a series, but the others are what it is.
 *
 *   bool             1 and 0
 *   ints, uints      whole numbers; above 2^63-1, where the server has none, floats
 *   floats           as they are; NaN, infinite: left out, and counted as unwritable
 *   time, duration   seconds since 1970, the metric's unit
 *   string           a string, as upstream: what the server refuses of them is counted. `strings:
 *                    false` does not send them
 *   distribution     PATH.count, PATH.sum (if finite), and PATH.bucket with a tag le for each limit
 *                    and "inf": how many values are up to it
 *   list             none: counted as unsupported
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "messages/json.h"
#include "messages/number.h"
#include "pstore/name_escape.h"
#include "pstore/opentsdb_answer.h"
#include "pstore/post.h"
#include "pstore/value_text.h"

extern const struct writer_ops writer_opentsdb;

/* What upstream sends at most, but for a single point. */
#define REQUEST_BYTES ((size_t)40960)
/* An answer names the points that were refused, and each is a point of the request and a text. */
#define ANSWER_BYTES ((size_t)512 * 1024)
/* That an operator may ask for. */
#define MOST_TAGS 64
/* Besides letters, digits, '-' and '_'. */
#define ALSO "./"

struct opentsdb {
	struct writer base;
	int64_t ns_per_tick;
	size_t most_tags;
	struct post *post; /* NULL when opened to check only */
};

static const struct conf_opt opts[] = {
	{ "hostAndPort", CONF_TEXT, NULL, "HOST:4242, or with http:// or https:// before it", 0,
	    0 },
	{ "precision", CONF_TEXT, "s", "of times: s, ms. With s the last value of a second counts",
	    0, 0 },
	{ "strings", CONF_BOOL, "true", "false: strings are not sent; OpenTSDB refuses them", 0,
	    0 },
	{ "maxTags", CONF_INT, "8",
	    "of a point, as the server's tsd.storage.max_tags; tags of the endpoint beyond are "
	    "left out",
	    1, MOST_TAGS },
	POST_OPTS,
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* The last one is that of a distribution's buckets. */
static const char *const own_keys[] = { "HostName", "appname", "ipaddress", "region", "le", NULL };

static int
check(const struct conf *conf, struct err *err)
{
	struct str address = conf_text(conf, opts, "hostAndPort");
	struct str precision = conf_text(conf, opts, "precision");

	if (address.len == 0)
		err_set(err, ERR_CONFIG, "HostAndPort fields required.");
	else if (!str_eq(precision, STR("s")) && !str_eq(precision, STR("ms")))
		err_set(err, ERR_CONFIG, "'precision' must be s or ms");
	else if (memmem(address.p, address.len, "://", 3) != NULL)
		return post_check_url(address, err);
	else
		return 0;
	return -1;
}

static int
open_post(
    struct opentsdb *w, const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct post_conf post = {
		.conf = conf, .opts = opts, .stop = env->stop, .keep_bytes = ANSWER_BYTES
	};
	struct str address = conf_text(conf, opts, "hostAndPort");
	struct buf url;

	while (str_ends(address, STR("/")))
		address.len--;
	buf_init(&url, 0);
	if (memmem(address.p, address.len, "://", 3) == NULL)
		buf_puts(&url, "http://");
	buf_str(&url, address);
	buf_puts(&url, "/api/put?details");
	buf_putc(&url, '\0');
	post.url = url.p;
	post.headers[0] = "Content-Type: application/json; charset=UTF-8";
	if (url.failed)
		err_nomem(err);
	else
		w->post = post_new(&post, err);
	buf_fini(&url);
	return w->post == NULL ? -1 : 0;
}

static void
opentsdb_close(struct writer *writer)
{
	struct opentsdb *w = CONTAINER_OF(writer, struct opentsdb, base);

	post_free(w->post);
	free(w);
}

static struct writer *
opentsdb_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct opentsdb *w;

	if (check(conf, err) != 0)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->base = (struct writer){ &writer_opentsdb, KINDS_ALL & ~KIND_BIT(KIND_LIST) };
	if (!conf_bool(conf, opts, "strings"))
		w->base.kinds &= ~KIND_BIT(KIND_STRING);
	w->most_tags = (size_t)conf_int(conf, opts, "maxTags");
	w->ns_per_tick =
	    str_eq(conf_text(conf, opts, "precision"), STR("ms")) ? NS_PER_MS : NS_PER_S;
	if (env == NULL || open_post(w, conf, env, err) == 0)
		return &w->base;
	opentsdb_close(&w->base);
	return NULL;
}

/* Formatting. Names that are escaped need nothing else to stand in JSON. */

/* `"KEY":"VALUE",`; nothing, and 0, if one is empty, as that can't be said. */
static size_t
put_tag(struct buf *out, const char *prefix, struct str key, struct str value)
{
	if (key.len == 0 || value.len == 0)
		return 0;
	buf_putc(out, '"');
	buf_puts(out, prefix);
	name_escape(out, key, ALSO);
	buf_puts(out, "\":\"");
	name_escape(out, value, ALSO);
	buf_puts(out, "\",");
	return 1;
}

/*
 * The tags of an endpoint, but for those that the metric (NULL: none) has too; of its own only as
 * many as make `most` of all. Returns how many there are.
 */
static size_t
put_origin(
    const struct write_origin *origin, const struct metric_desc *desc, size_t most, struct buf *out)
{
	size_t n = put_tag(out, "", STR("HostName"), origin->host);

	n += put_tag(out, "", STR("appname"), origin->app);
	n += put_tag(out, "", STR("ipaddress"), origin->address);
	n += put_tag(out, "", STR("region"), origin->region);
	for (size_t i = 0; i < origin->tag_count && n < most; i++) {
		const struct tag *tag = &origin->tags[i];

		if (desc == NULL || !write_has_tag(desc, tag->key))
			n += put_tag(out, name_prefix(tag->key, "endpoint_", own_keys), tag->key,
			    tag->value);
	}
	return n;
}

/* How many there are, in a byte, and the tags; likewise of a metric's own in its tail. */
static void
opentsdb_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	const struct opentsdb *w = CONTAINER_OF(writer, struct opentsdb, base);
	size_t n;

	buf_putc(out, '\0');
	n = put_origin(origin, NULL, w->most_tags, out);
	if (!out->failed)
		out->p[0] = (char)n;
}

static void
opentsdb_prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	bool is_dist = desc->kind == KIND_DIST;
	size_t n = 0;

	(void)writer;
	buf_puts(head, "{\"metric\":\"");
	name_escape(head, desc->path, ALSO);
	if (!is_dist) /* of those it goes on */
		buf_puts(head, "\",\"timestamp\":");
	buf_putc(tail, '\0');
	for (size_t i = 0; i < desc->tag_count; i++) {
		const struct tag *tag = &desc->tags[i];
		bool is_plain = !is_dist && str_eq(tag->key, STR("le"));

		n += put_tag(tail, is_plain ? "" : name_prefix(tag->key, "metric_", own_keys),
		    tag->key, tag->value);
	}
	/* Of more than these there is no room for any of the endpoint's. */
	if (!tail->failed)
		tail->p[0] = (char)(n < MOST_TAGS ? n : MOST_TAGS);
}

static size_t
put_ts(const struct opentsdb *w, char *out, int64_t ts_ns)
{
	return number_i64(out, ts_ns / w->ns_per_tick);
}

/* The count that is a text's first byte. */
static size_t
tags_in(struct str text)
{
	return text.len == 0 ? 0 : (unsigned char)text.p[0];
}

/* From after the value: the tags, with more of them (0 or 1). */
static void
put_tags(
    const struct opentsdb *w, const struct write_record *record, struct str more, struct buf *out)
{
	const struct write_origin *origin = record->origin;
	struct str tail = record->series->tail;
	size_t others = tags_in(tail) + (more.len > 0);
	size_t most = w->most_tags > others ? w->most_tags - others : 0;

	buf_puts(out, ",\"tags\":{");
	if (origin->tag_count > 0 && (tags_in(origin->text) > most || write_tags_clash(record)))
		put_origin(origin, record->series->desc, most, out);
	else
		buf_str(out, str_sub(origin->text, 1, SIZE_MAX));
	buf_str(out, more);
	buf_str(out, str_sub(tail, 1, SIZE_MAX));
	if (!out->failed && out->p[out->len - 1] == ',')
		out->len--;
	buf_puts(out, "}}");
}

/* A float: its text must not look like a whole number that the server's can't hold. */
static void
put_f64(struct buf *out, double value)
{
	char text[NUMBER_BYTES];
	size_t len = number_f64(text, value);

	buf_add(out, text, len);
	if (fabs(value) >= 0x1p63 && memchr(text, 'e', len) == NULL)
		buf_puts(out, ".0");
}

static void
put_count(struct buf *out, uint64_t count)
{
	if (count > INT64_MAX)
		put_f64(out, (double)count);
	else
		buf_u64(out, count);
}

/* False: the value can't be written. */
static bool
put_value(const struct metric_desc *desc, const struct value *value, struct buf *out)
{
	enum kind kind = desc->kind;
	struct json json;

	if (kind == KIND_STRING) {
		json_init(&json, out, false);
		json_string(&json, value->s);
	} else if (kind_is_int(kind)) {
		buf_i64(out, value->i);
	} else if (kind_is_uint(kind)) {
		put_count(out, value->u);
	} else if (kind == KIND_FLOAT32 || kind == KIND_FLOAT64) {
		if (!isfinite(value->f))
			return false;
		put_f64(out, value->f);
	} else if (buf_reserve(out, VALUE_TEXT_BYTES)) {
		out->len += value_text(out->p + out->len, desc, value);
	}
	return true;
}

/* The begin of a distribution's point: up to its value. */
static void
begin_dist_point(
    const struct opentsdb *w, const struct write_record *record, const char *name, struct buf *out)
{
	char ts[NUMBER_BYTES];

	buf_str(out, record->series->head);
	buf_puts(out, name);
	buf_puts(out, "\",\"timestamp\":");
	buf_add(out, ts, put_ts(w, ts, record->ts_ns));
	buf_puts(out, ",\"value\":");
}

static void
put_bucket(const struct opentsdb *w, const struct write_record *record, struct str limit,
    uint64_t count, struct buf *out)
{
	struct buf tag;

	buf_init(&tag, 0);
	put_tag(&tag, "", STR("le"), limit);
	buf_putc(out, ',');
	begin_dist_point(w, record, ".bucket", out);
	put_count(out, count);
	put_tags(w, record, buf_view(&tag), out);
	out->failed = out->failed || tag.failed;
	buf_fini(&tag);
}

static void
put_dist(const struct opentsdb *w, const struct write_record *record, struct buf *out)
{
	const struct metric_desc *desc = record->series->desc;
	const struct dist *dist = record->value.dist;
	uint64_t sum = 0;

	begin_dist_point(w, record, ".count", out);
	put_count(out, dist->count);
	put_tags(w, record, STR_EMPTY, out);
	if (isfinite(dist->sum)) {
		buf_putc(out, ',');
		begin_dist_point(w, record, ".sum", out);
		put_f64(out, dist->sum);
		put_tags(w, record, STR_EMPTY, out);
	}
	for (size_t i = 0; i < dist->len; i++) {
		char limit[NUMBER_BYTES];

		sum += dist->counts[i];
		put_bucket(w, record, value_text_limit(limit, desc, i), sum, out);
	}
}

static bool
opentsdb_format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	const struct opentsdb *w = CONTAINER_OF(writer, struct opentsdb, base);
	const struct write_series *series = record->series;
	size_t begin = out->len;

	if (series->desc->kind == KIND_DIST) {
		put_dist(w, record, out);
		return true;
	}
	/* Mostly all of it: so the appends that follow need no more memory. */
	if (!buf_reserve(out, series->head.len + record->origin->text.len + series->tail.len + 128))
		return true; /* the buffer tells */
	buf_str(out, series->head);
	out->len += put_ts(w, out->p + out->len, record->ts_ns);
	buf_puts(out, ",\"value\":");
	if (!put_value(series->desc, &record->value, out)) {
		out->len = begin;
		return false;
	}
	put_tags(w, record, STR_EMPTY, out);
	return true;
}

static void
opentsdb_send(struct writer *writer, const struct write_request *request, struct write_answer *out)
{
	struct opentsdb *w = CONTAINER_OF(writer, struct opentsdb, base);
	struct post_answer answer;
	struct err err;

	post_send(w->post, request->body, &answer, &err);
	post_judge(w->post, &answer, &err, out);
	if (answer.status == 200 || answer.status == 400)
		opentsdb_judge(answer.text, request, out);
}

const struct writer_ops writer_opentsdb = {
	.name = "openTSDB",
	.help = "OpenTSDB: JSON to /api/put, and what speaks it",
	.opts = opts,
	.request_bytes = REQUEST_BYTES,
	.begin = { "[", 1 },
	.between = { ",", 1 },
	.end = { "]", 1 },
	.open = opentsdb_open,
	.prepare_origin = opentsdb_prepare_origin,
	.prepare_series = opentsdb_prepare_series,
	.format = opentsdb_format,
	.send = opentsdb_send,
	.close = opentsdb_close,
};
