/*
 * The graphite writer: lines "NAME VALUE SECONDS" over TCP, as carbon and its relatives read them.
 *
 *   form path   [PREFIX.]HOST.APP.PATH[.KEY=VALUE ...]
 *   form tags   [PREFIX.]PATH;app=APP;host=HOST;region=REGION[;KEY=VALUE ...]
 *
 * The keys are those of the metric's tags, and in form tags of the endpoint's: in a path these
 * would give all its series other names when one of them changes. PATH has dots for its slashes.
 * All bytes that the form has no place for are escaped (name_escape.h), so no name can become
 * another, or a second line.
 *
 * Graphite knows doubles and whole seconds only.
 *
 *   numbers, bool    their value; bools 1 and 0, times in seconds since 1970, durations in the
 *                    metric's unit; NaN, infinite: left out, and counted as unwritable
 *   distribution     PATH.count, PATH.sum (if finite), and PATH.bucket with the tag le for each
 *                    limit and "inf": how many values are up to it
 *   string, list     none: counted as unsupported
 *
 * There is no answer: see handover.h for when lines count as written.
 */
#include <math.h>
#include <stdlib.h>

#include "base/clock.h"
#include "messages/number.h"
#include "pstore/handover.h"
#include "pstore/name_escape.h"
#include "pstore/value_text.h"
#include "pstore/writer.h"

extern const struct writer_ops writer_graphite;

#define PORT "2003"

struct graphite {
	struct writer base;
	bool tags;
	char *prefix; /* escaped, with a dot at its end; or "" */
	char *host, *port;
	int64_t timeout_ns;
	const atomic_bool *stop;
};

static const struct conf_opt opts[] = {
	{ "hostAndPort", CONF_TEXT, NULL, "HOST or HOST:2003", 0, 0 },
	{ "form", CONF_TEXT, "path", "of names: path, or tags as Graphite 1.1 has them", 0, 0 },
	{ "prefix", CONF_TEXT, "", "of all names, as scotty.prod", 0, 0 },
	{ "timeout", CONF_DURATION, "30s", "until the server has read a batch", INT64_C(100000000),
	    INT64_C(3600000000000) },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* The last one is that of a distribution's buckets. */
static const char *const own_keys[] = { "app", "host", "name", "region", "le", NULL };

/* HOST, HOST:PORT, IPv6 address, [IPv6 address]:PORT. False if it is none of them. */
static bool
split_address(struct str address, struct str *host, struct str *port)
{
	const char *colon = NULL;
	uint64_t number;

	*port = STR(PORT);
	*host = address;
	if (str_starts(address, STR("["))) {
		const char *end = memchr(address.p, ']', address.len);

		if (end == NULL)
			return false;
		*host = str_sub(address, 1, (size_t)(end - address.p) - 1);
		address = str_sub(address, (size_t)(end + 1 - address.p), SIZE_MAX);
		if (address.len > 0 && address.p[0] != ':')
			return false;
		colon = address.len > 0 ? address.p : NULL;
	} else {
		colon = memchr(address.p, ':', address.len);
		if (colon != NULL && memrchr(address.p, ':', address.len) != colon)
			colon = NULL; /* an IPv6 address */
		if (colon != NULL)
			host->len = (size_t)(colon - address.p);
	}
	if (colon != NULL)
		*port = str_sub(address, (size_t)(colon + 1 - address.p), SIZE_MAX);
	return host->len > 0 && str_to_u64(*port, &number) && number > 0 && number <= UINT16_MAX;
}

static char *
make_prefix(struct str text)
{
	char *prefix = NULL;
	struct buf out;

	buf_init(&out, 0);
	name_escape(&out, text, ".");
	if (text.len > 0 && !str_ends(text, STR(".")))
		buf_putc(&out, '.');
	if (!out.failed)
		prefix = str_dup(buf_view(&out));
	buf_fini(&out);
	return prefix;
}

static void
graphite_close(struct writer *writer)
{
	struct graphite *w = CONTAINER_OF(writer, struct graphite, base);

	free(w->prefix);
	free(w->host);
	free(w->port);
	free(w);
}

static struct writer *
graphite_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct str address = conf_text(conf, opts, "hostAndPort"), host, port;
	struct str form = conf_text(conf, opts, "form");
	struct graphite *w;

	if (address.len == 0 || !split_address(address, &host, &port)) {
		err_set(err, ERR_CONFIG, "'hostAndPort' required, as graphite.example.com:2003");
		return NULL;
	}
	if (!str_eq(form, STR("path")) && !str_eq(form, STR("tags"))) {
		err_set(err, ERR_CONFIG, "'form' must be path or tags");
		return NULL;
	}
	w = calloc(1, sizeof(*w));
	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->base = (struct writer){ &writer_graphite,
		KINDS_ALL & ~(KIND_BIT(KIND_STRING) | KIND_BIT(KIND_LIST)) };
	w->tags = str_eq(form, STR("tags"));
	w->timeout_ns = conf_duration_ns(conf, opts, "timeout");
	w->stop = env == NULL ? NULL : env->stop;
	w->prefix = make_prefix(conf_text(conf, opts, "prefix"));
	w->host = str_dup(host);
	w->port = str_dup(port);
	if (w->prefix != NULL && w->host != NULL && w->port != NULL)
		return &w->base;
	err_nomem(err);
	graphite_close(&w->base);
	return NULL;
}

/* Formatting. */

/* ";KEY=VALUE"; nothing if one is empty, as that can't be said. */
static void
put_tag(struct buf *out, const char *prefix, struct str key, struct str value)
{
	if (key.len == 0 || value.len == 0)
		return;
	buf_putc(out, ';');
	buf_puts(out, prefix);
	name_escape(out, key, ".");
	buf_putc(out, '=');
	name_escape(out, value, "./");
}

/* The tags of an endpoint, but for those that the metric (NULL: none) has too. */
static void
put_origin(const struct write_origin *origin, const struct metric_desc *desc, struct buf *out)
{
	put_tag(out, "", STR("app"), origin->app);
	put_tag(out, "", STR("host"), origin->host);
	put_tag(out, "", STR("region"), origin->region);
	for (size_t i = 0; i < origin->tag_count; i++) {
		const struct tag *tag = &origin->tags[i];

		if (desc == NULL || !write_has_tag(desc, tag->key))
			put_tag(out, name_prefix(tag->key, "endpoint_", own_keys), tag->key,
			    tag->value);
	}
}

/* Form path: what stands before the path. Form tags: tags. */
static void
graphite_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	const struct graphite *w = CONTAINER_OF(writer, struct graphite, base);
	struct str parts[] = { origin->host, origin->app };

	if (w->tags) {
		put_origin(origin, NULL, out);
		return;
	}
	buf_puts(out, w->prefix);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		name_escape(out, parts[i], "");
		if (parts[i].len > 0)
			buf_putc(out, '.');
	}
}

/* "/a/b" as "a.b". */
static void
put_path(struct buf *out, struct str path)
{
	struct str part;

	path = str_sub(path, 1, SIZE_MAX);
	for (bool is_first = true; str_split(&path, '/', &part); is_first = false) {
		if (!is_first)
			buf_putc(out, '.');
		name_escape(out, part, "");
	}
}

static void
graphite_prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	const struct graphite *w = CONTAINER_OF(writer, struct graphite, base);

	if (w->tags)
		buf_puts(head, w->prefix);
	put_path(head, desc->path);
	for (size_t i = 0; i < desc->tag_count; i++) {
		const struct tag *tag = &desc->tags[i];
		bool is_plain = desc->kind != KIND_DIST && str_eq(tag->key, STR("le"));

		if (w->tags) {
			put_tag(tail, is_plain ? "" : name_prefix(tag->key, "metric_", own_keys),
			    tag->key, tag->value);
		} else if (tag->value.len > 0) {
			buf_putc(tail, '.');
			name_escape(tail, tag->key, "");
			buf_putc(tail, '=');
			name_escape(tail, tag->value, "");
		}
	}
}

/* The line up to its value. name goes on the path; tag is one more, as it is written. */
static void
begin_line(const struct graphite *w, const struct write_record *record, const char *name,
    struct str tag, struct buf *out)
{
	const struct write_series *series = record->series;

	if (!w->tags)
		buf_str(out, record->origin->text);
	buf_str(out, series->head);
	buf_puts(out, name);
	if (w->tags && write_tags_clash(record))
		put_origin(record->origin, series->desc, out);
	else if (w->tags)
		buf_str(out, record->origin->text);
	buf_str(out, series->tail);
	buf_str(out, tag);
	buf_putc(out, ' ');
}

static void
end_line(int64_t ts_ns, struct buf *out)
{
	buf_putc(out, ' ');
	buf_i64(out, ts_ns / NS_PER_S);
	buf_putc(out, '\n');
}

static void
put_f64(struct buf *out, double value)
{
	if (buf_reserve(out, VALUE_TEXT_BYTES))
		out->len += value_text_f64(out->p + out->len, value);
}

static void
put_bucket(const struct graphite *w, const struct write_record *record, struct str limit,
    uint64_t count, struct buf *out)
{
	struct buf tag;

	buf_init(&tag, 0);
	buf_puts(&tag, w->tags ? ";le=" : ".le=");
	name_escape(&tag, limit, w->tags ? "." : "");
	begin_line(w, record, ".bucket", buf_view(&tag), out);
	buf_u64(out, count);
	end_line(record->ts_ns, out);
	out->failed = out->failed || tag.failed;
	buf_fini(&tag);
}

static void
put_dist(const struct graphite *w, const struct write_record *record, struct buf *out)
{
	const struct metric_desc *desc = record->series->desc;
	const struct dist *dist = record->value.dist;
	uint64_t sum = 0;

	begin_line(w, record, ".count", STR_EMPTY, out);
	buf_u64(out, dist->count);
	end_line(record->ts_ns, out);
	if (isfinite(dist->sum)) {
		begin_line(w, record, ".sum", STR_EMPTY, out);
		put_f64(out, dist->sum);
		end_line(record->ts_ns, out);
	}
	for (size_t i = 0; i < dist->len; i++) {
		char limit[NUMBER_BYTES];

		sum += dist->counts[i];
		put_bucket(w, record, value_text_limit(limit, desc, i), sum, out);
	}
}

static bool
graphite_format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	const struct graphite *w = CONTAINER_OF(writer, struct graphite, base);
	const struct write_series *series = record->series;
	size_t begin = out->len, len;

	if (series->desc->kind == KIND_DIST) {
		put_dist(w, record, out);
		return true;
	}
	/* All of it: so the appends that follow need no more memory. */
	if (!buf_reserve(out, series->head.len + record->origin->text.len + series->tail.len +
	                          VALUE_TEXT_BYTES + NUMBER_BYTES))
		return true; /* the buffer tells */
	begin_line(w, record, "", STR_EMPTY, out);
	len = value_text(out->p + out->len, series->desc, &record->value);
	if (len == 0) {
		out->len = begin;
		return false;
	}
	out->len += len;
	end_line(record->ts_ns, out);
	return true;
}

static void
graphite_send(struct writer *writer, const struct write_request *request, struct write_answer *out)
{
	struct graphite *w = CONTAINER_OF(writer, struct graphite, base);

	if (handover(w->host, w->port, request->body, w->timeout_ns, w->stop, &out->err) != 0)
		out->status = WRITE_LATER;
}

const struct writer_ops writer_graphite = {
	.name = "graphite",
	.help = "Graphite: carbon's plaintext over TCP",
	.opts = opts,
	.open = graphite_open,
	.prepare_origin = graphite_prepare_origin,
	.prepare_series = graphite_prepare_series,
	.format = graphite_format,
	.send = graphite_send,
	.close = graphite_close,
};
