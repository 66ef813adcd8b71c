/*
 * The kafka writer: a message per record, to one topic, by kafka_producer.h.
 *
 * format is what a message holds:
 *
 *   lmm      upstream's object of JSON (lmm_record.h), '/' in names as '_'; a newline ends it
 *   json     the object of record_json.h, and a newline
 *   influx   a line of the influx writer
 *
 * json has the endpoint's tags; lmm and influx do with the schema "tagged", not with upstream's.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "pstore/json_line.h"
#include "pstore/kafka_producer.h"
#include "pstore/lmm_record.h"

extern const struct writer_ops writer_kafka, writer_influx;

struct format;

struct kafka {
	struct writer base;
	const struct format *format;
	struct lmm_record lmm;
	char *api_key, *tenant; /* what lmm refers to */
	struct writer *influx;  /* for its formatter; NULL with other formats */
	struct kafka_producer *producer;
};

static const struct conf_opt opts[] = {
	{ "endpoints", CONF_TEXTS, NULL, "list of HOST:PORT, brokers to begin with", 0, 0 },
	{ "topic", CONF_TEXT, NULL, "messages go there; it must exist, or be made by the brokers",
	    0, 0 },
	{ "clientId", CONF_TEXT, NULL, "what brokers call us", 0, 0 },
	{ "tenantId", CONF_TEXT, NULL, "tenant_id of the format lmm", 0, 0 },
	{ "apiKey", CONF_SECRET, NULL, "apikey of the format lmm", 0, 0 },
	{ "format", CONF_TEXT, "lmm", "of messages: lmm, json, influx", 0, 0 },
	{ "schema", CONF_TEXT, "upstream", "of lmm and influx: upstream or tagged", 0, 0 },
	{ "compression", CONF_TEXT, "lz4", "none, gzip, snappy, lz4, zstd", 0, 0 },
	{ "timeout", CONF_DURATION, "30s", "for a request, until it is acknowledged", NS_PER_S,
	    INT64_C(300000000000) },
	{ "maxMessageSize", CONF_SIZE, "1000000", "as the topic's max.message.bytes, or less", 1000,
	    100000000 },
	{ "tls", CONF_BOOL, "false", "true: brokers are spoken to over TLS", 0, 0 },
	{ "caFile", CONF_TEXT, NULL, "tls: certificates to trust; absent = the system's", 0, 0 },
	{ "certificateFile", CONF_TEXT, NULL, "tls: our own, with keyFile", 0, 0 },
	{ "keyFile", CONF_TEXT, NULL, "tls: its key", 0, 0 },
	{ "keyPassword", CONF_SECRET, NULL, "tls: of keyFile", 0, 0 },
	{ "saslMechanism", CONF_TEXT, NULL,
	    "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; absent = no login", 0, 0 },
	{ "username", CONF_TEXT, NULL, "sasl", 0, 0 },
	{ "password", CONF_SECRET, NULL, "sasl", 0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* Formats. */

struct format {
	const char *name;
	void (*origin)(const struct kafka *, const struct write_origin *, struct buf *out);
	void (*series)(
	    const struct kafka *, const struct metric_desc *, struct buf *head, struct buf *tail);
	bool (*record)(const struct kafka *, const struct write_record *, struct buf *out);
};

static void
lmm_origin(const struct kafka *w, const struct write_origin *origin, struct buf *out)
{
	lmm_prepare_origin(&w->lmm, origin, out);
}

static void
lmm_series(
    const struct kafka *w, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	lmm_prepare_series(&w->lmm, desc, head, tail);
}

static bool
lmm_message(const struct kafka *w, const struct write_record *record, struct buf *out)
{
	if (!lmm_format(&w->lmm, record, out))
		return false;
	buf_putc(out, '\n');
	return true;
}

static void
json_origin(const struct kafka *w, const struct write_origin *origin, struct buf *out)
{
	(void)w;
	json_line_prepare_origin(origin, out);
}

static void
json_series(
    const struct kafka *w, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	(void)w;
	json_line_prepare_series(desc, head, tail);
}

static bool
json_message(const struct kafka *w, const struct write_record *record, struct buf *out)
{
	(void)w;
	json_line_format(record, out);
	return true;
}

static void
influx_origin(const struct kafka *w, const struct write_origin *origin, struct buf *out)
{
	w->influx->ops->prepare_origin(w->influx, origin, out);
}

static void
influx_series(
    const struct kafka *w, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	w->influx->ops->prepare_series(w->influx, desc, head, tail);
}

static bool
influx_message(const struct kafka *w, const struct write_record *record, struct buf *out)
{
	return w->influx->ops->format(w->influx, record, out);
}

static const struct format formats[] = {
	{ "lmm", lmm_origin, lmm_series, lmm_message },
	{ "json", json_origin, json_series, json_message },
	{ "influx", influx_origin, influx_series, influx_message },
};

static const struct format *
find_format(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(formats); i++) {
		if (str_eq(name, str_of(formats[i].name)))
			return &formats[i];
	}
	return NULL;
}

/* The influx writer as a formatter: opened only to check, it needs no server. */
static struct writer *
open_influx(bool tagged, struct err *err)
{
	static const char text[] = "{hostAndPort: 'http://localhost', database: d, schema: %s}";
	struct writer *writer;
	struct conf_doc *doc;
	char conf[sizeof(text) + 20];

	snprintf(conf, sizeof(conf), text, tagged ? "tagged" : "upstream");
	doc = conf_parse(str_of(conf), "kafka", err);
	if (doc == NULL)
		return NULL;
	writer = writer_influx.open(doc->root, NULL, err);
	conf_doc_unref(doc);
	return writer;
}

/* Opening. */

/* The library would say so only once a producer is made. */
static bool
knows_mechanism(const char *name)
{
	static const char *const known[] = { "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512" };

	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strcmp(name, known[i]) == 0)
			return true;
	}
	return false;
}

static const struct conf *
first_endpoint(const struct conf *conf)
{
	const struct conf *list = conf_child(conf, "endpoints");

	return list != NULL && list->shape == CONF_LIST ? list->first : list;
}

static const char *
text_or(const struct conf *conf, const char *name, const char *other)
{
	struct str text = conf_text(conf, opts, name);

	return text.len > 0 ? text.p : other; /* ended by a NUL */
}

static bool
has(const struct conf *conf, const char *name)
{
	return text_or(conf, name, NULL) != NULL;
}

static int
check_security(const struct conf *conf, struct err *err)
{
	bool sasl = has(conf, "saslMechanism");

	if (has(conf, "certificateFile") != has(conf, "keyFile"))
		err_set(err, ERR_CONFIG, "'certificateFile' and 'keyFile' go together");
	else if (!conf_bool(conf, opts, "tls") && (has(conf, "caFile") || has(conf, "keyFile")))
		err_set(err, ERR_CONFIG, "'caFile' and 'keyFile' need 'tls: true'");
	else if (sasl != has(conf, "username") || sasl != (conf_child(conf, "password") != NULL))
		err_set(err, ERR_CONFIG, "'saslMechanism', 'username' and 'password' go together");
	else if (sasl && !knows_mechanism(text_or(conf, "saslMechanism", NULL)))
		err_set(err, ERR_CONFIG,
		    "'saslMechanism' must be PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512");
	else
		return 0;
	return -1;
}

static int
check(const struct kafka *w, const struct conf *conf, struct err *err)
{
	struct str schema = conf_text(conf, opts, "schema");
	bool is_lmm = w->format == &formats[0];

	if (first_endpoint(conf) == NULL || !has(conf, "topic") || !has(conf, "clientId") ||
	    (is_lmm && (w->lmm.tenant.len == 0 || w->lmm.api_key.len == 0)))
		err_set(err, ERR_CONFIG,
		    "endpoint, topic, clientId, tenantId, and apiKey keys required");
	else if (w->format == NULL)
		err_set(err, ERR_CONFIG, "'format' must be lmm, json or influx");
	else if (!w->lmm.tagged && !str_eq(schema, STR("upstream")))
		err_set(err, ERR_CONFIG, "'schema' must be upstream or tagged");
	else
		return check_security(conf, err);
	return -1;
}

static int
set_brokers(struct kafka *w, const struct conf *conf, struct err *err)
{
	const struct conf *list = conf_child(conf, "endpoints");
	struct buf text;
	int rc = -1;

	buf_init(&text, 0);
	for (const struct conf *c = first_endpoint(conf); c != NULL;
	     c = c == list ? NULL : c->next) {
		if (text.len > 0)
			buf_putc(&text, ',');
		buf_str(&text, c->text);
	}
	buf_putc(&text, '\0');
	if (text.failed)
		err_nomem(err);
	else
		rc = kafka_producer_set(w->producer, "bootstrap.servers", text.p, err);
	buf_fini(&text);
	return rc;
}

static int
set_number(struct kafka *w, const char *name, int64_t value, struct err *err)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)value);
	return kafka_producer_set(w->producer, name, text, err);
}

/* The library's defaults are for other ways of use. */
static int
set_fixed(struct kafka *w, struct err *err)
{
	static const char *const fixed[][2] = {
		{ "enable.idempotence", "true" },
		/* As Java's clients do it: other writers to the topic get the same partitions. */
		{ "partitioner", "murmur2_random" },
		/* The library tries for ever; who gives up, and when, is not its to say. */
		{ "message.timeout.ms", "0" },
		/* A topic that isn't there is said so after this long. */
		{ "topic.metadata.propagation.max.ms", "10000" },
		/* Nothing lingers: a request is flushed. Till then all of it is to be in one batch.
		 */
		{ "linger.ms", "100" },
		{ "batch.num.messages", "1000000" },
		/* Above what a request may have. */
		{ "queue.buffering.max.messages", "200000" },
		{ "queue.buffering.max.kbytes", "262144" },
		{ "reconnect.backoff.max.ms", "5000" },
		{ "socket.keepalive.enable", "true" },
		{ "socket.nagle.disable", "true" },
		{ "log.connection.close", "false" },
	};

	for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
		if (kafka_producer_set(w->producer, fixed[i][0], fixed[i][1], err) != 0)
			return -1;
	}
	return 0;
}

static int
set_limits(struct kafka *w, const struct conf *conf, struct err *err)
{
	int64_t bytes = (int64_t)conf_size(conf, opts, "maxMessageSize");
	int64_t timeout_ms = conf_duration_ns(conf, opts, "timeout") / NS_PER_MS;

	if (set_number(w, "message.max.bytes", bytes, err) != 0 ||
	    set_number(w, "batch.size", bytes, err) != 0 ||
	    set_number(w, "request.timeout.ms", timeout_ms, err) != 0 ||
	    set_number(w, "socket.timeout.ms", timeout_ms, err) != 0)
		return -1;
	return kafka_producer_set(
	    w->producer, "compression.codec", text_or(conf, "compression", "none"), err);
}

static int
set_secret(
    struct kafka *w, const struct conf *conf, const char *option, const char *name, struct err *err)
{
	char *secret = NULL;
	int rc = conf_secret(conf, option, &secret, err);

	if (rc == 0 && secret != NULL)
		rc = kafka_producer_set(w->producer, name, secret, err);
	conf_secret_free(secret);
	return rc;
}

static int
set_security(struct kafka *w, const struct conf *conf, struct err *err)
{
	static const char *const texts[][2] = {
		{ "caFile", "ssl.ca.location" },
		{ "certificateFile", "ssl.certificate.location" },
		{ "keyFile", "ssl.key.location" },
		{ "saslMechanism", "sasl.mechanisms" },
		{ "username", "sasl.username" },
	};
	static const char *const protocols[2][2] = {
		{ "plaintext", "ssl" },
		{ "sasl_plaintext", "sasl_ssl" },
	};
	const char *protocol = protocols[has(conf, "saslMechanism")][conf_bool(conf, opts, "tls")];

	if (kafka_producer_set(w->producer, "security.protocol", protocol, err) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		const char *text = text_or(conf, texts[i][0], NULL);

		if (text != NULL && kafka_producer_set(w->producer, texts[i][1], text, err) != 0)
			return -1;
	}
	if (set_secret(w, conf, "keyPassword", "ssl.key.password", err) != 0)
		return -1;
	return set_secret(w, conf, "password", "sasl.password", err);
}

static int
open_producer(
    struct kafka *w, const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct kafka_producer_conf producer = {
		.topic = text_or(conf, "topic", ""),
		.timeout_ns = conf_duration_ns(conf, opts, "timeout"),
		.stop = env == NULL ? NULL : env->stop,
	};

	w->producer = kafka_producer_new(&producer, err);
	if (w->producer == NULL || set_brokers(w, conf, err) != 0 || set_fixed(w, err) != 0 ||
	    set_limits(w, conf, err) != 0 || set_security(w, conf, err) != 0)
		return -1;
	return kafka_producer_set(w->producer, "client.id", text_or(conf, "clientId", ""), err);
}

static void
kafka_close(struct writer *writer)
{
	struct kafka *w = CONTAINER_OF(writer, struct kafka, base);

	kafka_producer_free(w->producer);
	if (w->influx != NULL)
		w->influx->ops->close(w->influx);
	conf_secret_free(w->api_key);
	free(w->tenant);
	free(w);
}

static struct writer *
kafka_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct kafka *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	w->base = (struct writer){ &writer_kafka, KINDS_ALL };
	w->format = find_format(conf_text(conf, opts, "format"));
	w->tenant = str_dup(conf_text(conf, opts, "tenantId"));
	if (w->tenant == NULL) {
		err_nomem(err);
		goto fail;
	}
	if (conf_secret(conf, "apiKey", &w->api_key, err) != 0)
		goto fail;
	w->lmm = (struct lmm_record){ .api_key = str_of(w->api_key),
		.tenant = str_of(w->tenant),
		.tagged = str_eq(conf_text(conf, opts, "schema"), STR("tagged")),
		.underscores = true };
	if (check(w, conf, err) != 0)
		goto fail;
	if (w->format->record == influx_message) {
		w->influx = open_influx(w->lmm.tagged, err);
		if (w->influx == NULL)
			goto fail;
	}
	if (open_producer(w, conf, env, err) == 0)
		return &w->base;
fail:
	kafka_close(&w->base);
	return NULL;
}

/* What a pump asks for. */

static void
kafka_prepare_origin(
    const struct writer *writer, const struct write_origin *origin, struct buf *out)
{
	const struct kafka *w = CONTAINER_OF(writer, struct kafka, base);

	w->format->origin(w, origin, out);
}

static void
kafka_prepare_series(
    const struct writer *writer, const struct metric_desc *desc, struct buf *head, struct buf *tail)
{
	const struct kafka *w = CONTAINER_OF(writer, struct kafka, base);

	w->format->series(w, desc, head, tail);
}

static bool
kafka_format(const struct writer *writer, const struct write_record *record, struct buf *out)
{
	const struct kafka *w = CONTAINER_OF(writer, struct kafka, base);

	return w->format->record(w, record, out);
}

static void
kafka_send(struct writer *writer, const struct write_request *request, struct write_answer *answer)
{
	struct kafka *w = CONTAINER_OF(writer, struct kafka, base);

	kafka_producer_send(w->producer, request, answer);
}

const struct writer_ops writer_kafka = {
	.name = "kafka",
	.help = "Kafka: a message per record, acknowledged by all replicas",
	.opts = opts,
	/*
	 * With the keys and the framing still below the default of maxMessageSize, so that what
	 * goes to a partition is one batch, and is taken or refused as one.
	 */
	.request_bytes = (size_t)768 * 1024,
	.open = kafka_open,
	.prepare_origin = kafka_prepare_origin,
	.prepare_series = kafka_prepare_series,
	.format = kafka_format,
	.send = kafka_send,
	.close = kafka_close,
};
