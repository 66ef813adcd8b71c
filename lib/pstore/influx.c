/*
 * The influx writer: line protocol to InfluxDB 1.x (/write) and 2.x or 3.x (/api/v2/write), and to
 * what speaks it (VictoriaMetrics, QuestDB ...).
 *
 * A metric is a measurement called by its path; what endpoint it is of, and its own tags, are tags.
 * Schema "upstream" has the fields name="PATH" and value, a float or string, as upstream writes
 * them; schema "tagged" has value alone, typed: ints as such, bools as true and false, and the
 * endpoint's own tags are tags too. In both,
 *
 *   time, duration   a float: seconds since 1970, the metric's unit
 *   uint64           a float, as InfluxDB has no integer for its upper half
 *   list             a string of JSON
 *   distribution     fields count, sum, and le_LIMIT: how many values are up to that limit
 *   NaN, infinite    left out, and counted as unwritable; of a distribution only its sum
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "messages/json.h"
#include "messages/number.h"
#include "pstore/influx_line.h"
#include "pstore/post.h"
#include "pstore/value_text.h"

extern const struct writer_ops writer_influx;

struct influx {
	struct writer base;
	bool tagged;
	int64_t ns_per_tick;
	struct post *post; /* NULL when opened to check only */
};

static const struct conf_opt opts[] = {
	{ "hostAndPort", CONF_TEXT, NULL, "http://HOST:8086 or https://...", 0, 0 },
	{ "database", CONF_TEXT, NULL, "1.x", 0, 0 },
	{ "username", CONF_TEXT, NULL, "1.x", 0, 0 },
	{ "password", CONF_SECRET, NULL, "1.x", 0, 0 },
	{ "retentionPolicy", CONF_TEXT, "", "1.x", 0, 0 },
	{ "writeConsistency", CONF_TEXT, "", "1.x: any, one, quorum, all", 0, 0 },
	{ "bucket", CONF_TEXT, NULL, "2.x and 3.x; instead of database", 0, 0 },
	{ "org", CONF_TEXT, "", "2.x", 0, 0 },
	{ "token", CONF_SECRET, NULL, "2.x and 3.x", 0, 0 },
	{ "precision", CONF_TEXT, "ns", "of times: ns, u, ms, s, m, h", 0, 0 },
	{ "schema", CONF_TEXT, "upstream", "upstream or tagged", 0, 0 },
	POST_OPTS,
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static const struct precision {
	const char *name, *v2; /* v2 NULL: that version has it not */
	int64_t ns;
} precisions[] = {
	{ "ns", "ns", 1 },
	{ "n", "ns", 1 },
	{ "u", "us", 1000 },
	{ "us", "us", 1000 },
	{ "ms", "ms", 1000000 },
	{ "s", "s", 1000000000 },
	{ "m", NULL, INT64_C(60000000000) },
	{ "h", NULL, INT64_C(3600000000000) },
};

static const struct precision *
find_precision(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(precisions); i++) {
		if (str_eq(name, str_of(precisions[i].name)))
			return &precisions[i];
	}
	return NULL;
}

/* KEY=VALUE with what is not unreserved (RFC 3986) as %XX. */
static void
put_param(struct buf *out, const char *key, struct str value)
{
	buf_printf(out, "%s=", key);
	for (size_t i = 0; i < value.len; i++) {
		char c = value.p[i];

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    (c != '\0' && strchr("-._~", c) != NULL))
			buf_putc(out, c);
		else
			buf_printf(out, "%%%02X", (unsigned char)c);
	}
}

/* The address to post to, ended by a NUL. */
static void
put_url(struct buf *out, const struct conf *conf, const struct precision *precision)
{
	struct str base = conf_text(conf, opts, "hostAndPort");

	while (str_ends(base, STR("/")))
		base.len--;
	buf_str(out, base);
	if (conf_text(conf, opts, "bucket").len > 0) {
		put_param(out, "/api/v2/write?bucket", conf_text(conf, opts, "bucket"));
		put_param(out, "&org", conf_text(conf, opts, "org"));
		put_param(out, "&precision", str_of(precision->v2));
	} else {
		put_param(out, "/write?consistency", conf_text(conf, opts, "writeConsistency"));
		put_param(out, "&db", conf_text(conf, opts, "database"));
		put_param(out, "&precision", conf_text(conf, opts, "precision"));
		put_param(out, "&rp", conf_text(conf, opts, "retentionPolicy"));
	}
	buf_putc(out, '\0');
}

static int
check(const struct conf *conf, const struct precision *precision, struct err *err)
{
	bool v2 = conf_text(conf, opts, "bucket").len > 0;
	struct str schema = conf_text(conf, opts, "schema");

	if (conf_text(conf, opts, "hostAndPort").len == 0 ||
	    (!v2 && conf_text(conf, opts, "database").len == 0))
		err_set(err, ERR_CONFIG, "HostAndPort and Database fields required.");
	else if (v2 && conf_text(conf, opts, "database").len > 0)
		err_set(err, ERR_CONFIG, "'database' is for 1.x, 'bucket' for 2.x: one of them");
	else if (precision == NULL || (v2 && precision->v2 == NULL))
		err_set(err, ERR_CONFIG, "'precision' must be one of %s",
		    v2 ? "ns, us, ms, s" : "ns, u, ms, s, m, h");
	else if (!str_eq(schema, STR("upstream")) && !str_eq(schema, STR("tagged")))
		err_set(err, ERR_CONFIG, "'schema' must be upstream or tagged");
	else
		return post_check_url(conf_text(conf, opts, "hostAndPort"), err);
	return -1;
}

/* The password or token ends up in the post only. */
static int
open_post(struct influx *w, const struct conf *conf, const struct precision *precision,
    const struct writer_env *env, struct err *err)
{
	struct post_conf post = { .conf = conf, .opts = opts, .stop = env->stop };
	struct str user = conf_text(conf, opts, "username");
	char *secret = NULL, *header = NULL;
	bool v2 = conf_text(conf, opts, "bucket").len > 0;
	struct buf url;
	int rc = -1;

	buf_init(&url, 0);
	put_url(&url, conf, precision);
	if (conf_secret(conf, v2 ? "token" : "password", &secret, err) != 0)
		goto out;
	post.url = url.p;
	post.headers[0] = "User-Agent: InfluxDBClient";
	post.headers[1] = "Content-Type;";
	if (v2 && secret != NULL) {
		if (asprintf(&header, "Authorization: Token %s", secret) < 0)
			header = NULL;
		post.headers[2] = header;
	} else if (user.len > 0) {
		post.user = user.p; /* ended by a NUL */
		post.password = secret;
	}
	if (url.failed || (v2 && secret != NULL && header == NULL)) {
		err_nomem(err);
		goto out;
	}
	w->post = post_new(&post, err);
	rc = w->post == NULL ? -1 : 0;
out:
	buf_fini(&url);
	conf_secret_free(secret);
	conf_secret_free(header);
	return rc;
}

static void
influx_close(struct writer *writer)
{
	struct influx *w = CONTAINER_OF(writer, struct influx, base);

	post_free(w->post);
	free(w);
}

/* Both are read, so that a check finds a file that can't be had. */
static int
check_secrets(const struct conf *conf, struct err *err)
{
	char *secret;

	if (conf_secret(conf, "password", &secret, err) != 0)
		return -1;
	conf_secret_free(secret);
	if (conf_secret(conf, "token", &secret, err) != 0)
		return -1;
	conf_secret_free(secret);
	return 0;
}

static struct writer *
influx_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	const struct precision *precision = find_precision(conf_text(conf, opts, "precision"));
	struct influx *w;

	if (check(conf, precision, err) != 0)
		return NULL;
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->base = (struct writer){ &writer_influx, KINDS_ALL };
	w->tagged = str_eq(conf_text(conf, opts, "schema"), STR("tagged"));
	w->ns_per_tick = precision->ns;
	if ((env == NULL ? check_secrets(conf, err) : open_post(w, conf, precision, env, err)) == 0)
		return &w->base;
	influx_close(&w->base);
	return NULL;
}

/* Formatting. */

/* A tag; one that is called as one of ours gets another name: what it is of and an underscore. */
static void
put_tag(struct buf *out, const char *of, const struct tag *tag)
{
	static const char *const ours[] = { "@version", "app", "appname", "host", "ipaddress",
		"region", "time" };
	char key[300];

	for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
		if (!str_eq(tag->key, str_of(ours[i])))
			continue;
		snprintf(key, sizeof(key), "%s_%s", of, ours[i]);
		influx_tag(out, str_of(key), tag->value);
		return;
	}
	influx_tag(out, tag->key, tag->value);
}

/* The tags of an endpoint, but for those that the metric (NULL: none) has too. */
static void
put_origin(const struct influx *w, const struct write_origin *origin,
    const struct metric_desc *desc, struct buf *out)
{
	if (!w->tagged)
		buf_puts(out, ",@version=1");
	influx_tag(out, w->tagged ? STR("app") : STR("appname"), origin->app);
	influx_tag(out, STR("host"), origin->host);
	influx_tag(out, STR("ipaddress"), origin->address);
	influx_tag(out, STR("region"), origin->region);
	for (size_t i = 0; w->tagged && i < origin->tag_count; i++) {
		if (desc == NULL || !write_has_tag(desc, origin->tags[i].key))
			put_tag(out, "endpoint", &origin->tags[i]);
	}
}

static void
influx_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	put_origin(CONTAINER_OF(writer, struct influx, base), origin, NULL, out);
}

static void
influx_prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	const struct influx *w = CONTAINER_OF(writer, struct influx, base);

	influx_name(head, desc->path);
	for (size_t i = 0; i < desc->tag_count; i++)
		put_tag(tail, "metric", &desc->tags[i]);
	buf_putc(tail, ' ');
	if (!w->tagged) {
		buf_puts(tail, "name=");
		influx_string(tail, desc->path);
		buf_putc(tail, ',');
	}
	if (desc->kind != KIND_DIST)
		buf_puts(tail, "value=");
}

static void
put_f64(struct buf *out, double value)
{
	if (buf_reserve(out, VALUE_TEXT_BYTES))
		out->len += value_text_f64(out->p + out->len, value);
}

/* A count: an integer where the schema has such and it is one of InfluxDB's. */
static void
put_count(const struct influx *w, struct buf *out, uint64_t count)
{
	if (w->tagged && count <= INT64_MAX)
		buf_printf(out, "%llui", (unsigned long long)count);
	else
		put_f64(out, (double)count);
}

static void
put_dist(const struct influx *w, const struct metric_desc *desc, const struct dist *dist,
    struct buf *out)
{
	uint64_t sum = 0;

	buf_puts(out, "count=");
	put_count(w, out, dist->count);
	if (isfinite(dist->sum)) {
		buf_puts(out, ",sum=");
		put_f64(out, dist->sum);
	}
	for (size_t i = 0; i < dist->len; i++) {
		char limit[NUMBER_BYTES];

		sum += dist->counts[i];
		buf_puts(out, ",le_");
		influx_name(out, value_text_limit(limit, desc, i));
		buf_putc(out, '=');
		put_count(w, out, sum);
	}
}

/* A list has nothing that has to be escaped but by influx_string. */
static void
put_list(const struct metric_desc *desc, const struct value *value, struct buf *out)
{
	struct buf text;
	struct json json;

	buf_init(&text, 0);
	json_init(&json, &text, false);
	json_value(&json, desc, value);
	influx_string(out, buf_view(&text));
	out->failed = out->failed || text.failed;
	buf_fini(&text);
}

/* False: the value can't be written. */
static bool
put_value(const struct influx *w, const struct write_record *record, struct buf *out)
{
	const struct metric_desc *desc = record->series->desc;
	const struct value *value = &record->value;
	size_t len;

	if (desc->kind == KIND_STRING) {
		influx_string(out, value->s);
		return true;
	}
	if (desc->kind == KIND_LIST) {
		put_list(desc, value, out);
		return true;
	}
	if (desc->kind == KIND_DIST) {
		put_dist(w, desc, value->dist, out);
		return true;
	}
	if (!buf_reserve(out, VALUE_TEXT_BYTES))
		return true; /* the buffer tells */
	if (w->tagged && desc->kind == KIND_BOOL) {
		buf_puts(out, value->b ? "true" : "false");
	} else if (w->tagged && (kind_is_int(desc->kind) ||
	                            (kind_is_uint(desc->kind) && desc->kind != KIND_UINT64))) {
		out->len += number_i64(out->p + out->len, value->i);
		out->p[out->len++] = 'i';
	} else {
		len = value_text(out->p + out->len, desc, value);
		out->len += len;
		return len > 0;
	}
	return true;
}

/* Room for the end of the line. */
#define TIME_BYTES (NUMBER_BYTES + 2)

static bool
influx_format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	const struct influx *w = CONTAINER_OF(writer, struct influx, base);
	const struct write_series *series = record->series;
	size_t begin = out->len;
	char *p;

	if (w->tagged && write_tags_clash(record)) {
		buf_str(out, series->head);
		put_origin(w, record->origin, series->desc, out);
		buf_str(out, series->tail);
	} else if (buf_reserve(out, series->head.len + record->origin->text.len + series->tail.len +
	                                VALUE_TEXT_BYTES + TIME_BYTES)) {
		p = str_put(out->p + out->len, series->head);
		p = str_put(p, record->origin->text);
		p = str_put(p, series->tail);
		out->len = (size_t)(p - out->p);
	}
	if (!put_value(w, record, out)) {
		out->len = begin;
		return false;
	}
	if (!buf_reserve(out, TIME_BYTES))
		return true;
	p = out->p + out->len;
	*p++ = ' ';
	p += number_i64(p, w->ns_per_tick == 1 ? record->ts_ns : record->ts_ns / w->ns_per_tick);
	*p++ = '\n';
	out->len = (size_t)(p - out->p);
	return true;
}

/* Sending. */

static bool
has(struct str text, const char *what)
{
	return text.len > 0 && memmem(text.p, text.len, what, strlen(what)) != NULL;
}

/* "... dropped=N": how many the server left out. */
static uint64_t
dropped_count(struct str text)
{
	const char *at =
	    text.len == 0 ? NULL : memmem(text.p, text.len, "dropped=", strlen("dropped="));
	uint64_t n = 0;

	if (at == NULL)
		return 0;
	for (at += strlen("dropped="); at < text.p + text.len && *at >= '0' && *at <= '9'; at++)
		n = n * 10 + (uint64_t)(*at - '0');
	return n;
}

static void
influx_send(struct writer *writer, const struct write_request *request, struct write_answer *out)
{
	struct influx *w = CONTAINER_OF(writer, struct influx, base);
	struct post_answer answer;
	uint64_t dropped;
	struct err err;

	post_send(w->post, request->body, &answer, &err);
	post_judge(w->post, &answer, &err, out);
	dropped = dropped_count(answer.text);
	/*
	 * Too old to be kept: that is no fault of the record, and the others were stored. Other
	 * partial writes are looked into; what was stored already is written over by the same.
	 */
	if (answer.status == 400 && has(answer.text, "beyond retention policy")) {
		out->status = WRITE_SOME;
		out->refused_count = dropped < request->n ? dropped : request->n;
	}
	/* 1.x says so with status 500. */
	if (answer.status == 500 && has(answer.text, "retention policy not found"))
		out->status = WRITE_MISCONFIGURED;
}

const struct writer_ops writer_influx = {
	.name = "influx",
	.help = "InfluxDB 1.x, 2.x, 3.x: line protocol over HTTP",
	.opts = opts,
	.open = influx_open,
	.prepare_origin = influx_prepare_origin,
	.prepare_series = influx_prepare_series,
	.format = influx_format,
	.send = influx_send,
	.close = influx_close,
};
