#include "pstore/kafka_producer.h"

#include <librdkafka/rdkafka.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"

/* A stop is noticed after this long. */
#define SLICE_MS 100
/* What may still come in when a stop does: else it is sent again after the start. */
#define STOP_NS (500 * NS_PER_MS)

/* What became of a record of the request that is under way. */
enum mark {
	MARK_LEFT,    /* to be handed to the library */
	MARK_HANDED,  /* not reported yet */
	MARK_DONE,    /* acknowledged, or there is nothing to send of it */
	MARK_REFUSED, /* for what is in it */
};

struct kafka_producer {
	rd_kafka_conf_t *conf;
	char *topic_name;
	int64_t timeout_ns;
	const atomic_bool *stop;
	rd_kafka_t *rk; /* NULL before the first send, and after a fatal error */
	rd_kafka_topic_t *topic;

	/* The request under way. */
	bool has_request;
	size_t n, cap;
	/*
	 * Its text, which messages in the library lead to: a copy, as the caller's goes when it
	 * takes up another request. The library's own would be one block and one copy a message.
	 */
	struct buf text;
	unsigned char *marks;
	rd_kafka_message_t *messages; /* the chunk that is being handed over */
	size_t chunk;  /* records that may go together: less once some were refused */
	size_t handed; /* of the chunk that is under way */
	size_t unreported;

	bool is_down;       /* no broker can be reached; until an acknowledgement */
	bool is_denied;     /* a broker does not want us; likewise */
	bool chunk_refused; /* since the last look */
	bool failed;        /* nothing more is to be had of this send */
	bool misconfigured;
	bool fatal;         /* the library's producer is of no more use */
	struct err trouble; /* why nothing goes, as last heard */
	struct err refusal; /* why a record was refused */
};

/* What the library tells. */

/* The fault of one message, which only sending it alone tells from the others of its batch. */
static bool
is_for_content(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ||
	       code == RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE ||
	       code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
	       code == RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP ||
	       code == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

/* Nothing will go before someone changes something, here or there. */
static bool
is_for_operator(rd_kafka_resp_err_t code)
{
	return code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
	       code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
	       code == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION ||
	       code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED ||
	       code == RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM ||
	       code == RD_KAFKA_RESP_ERR_POLICY_VIOLATION ||
	       code == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION ||
	       code == RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT ||
	       code == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE ||
	       code == RD_KAFKA_RESP_ERR__AUTHENTICATION;
}

static void
fail(struct kafka_producer *p, rd_kafka_resp_err_t code, const char *what)
{
	p->failed = true;
	p->misconfigured = p->misconfigured || is_for_operator(code);
	err_set(&p->trouble, ERR_IO, "kafka topic %s: %s", p->topic_name, what);
}

static void
fail_for_good(struct kafka_producer *p)
{
	char text[ERR_TEXT_BYTES / 2];
	rd_kafka_resp_err_t code = rd_kafka_fatal_error(p->rk, text, sizeof(text));

	p->fatal = true;
	fail(p, code, text);
}

static void
refuse(struct kafka_producer *p, size_t i, rd_kafka_resp_err_t code)
{
	p->marks[i] = MARK_REFUSED;
	err_set(
	    &p->refusal, ERR_LIMIT, "kafka topic %s: %s", p->topic_name, rd_kafka_err2str(code));
}

/* The message of record i was not taken. */
static void
give_back(struct kafka_producer *p, size_t i, rd_kafka_resp_err_t code)
{
	p->marks[i] = MARK_LEFT;
	if (is_for_content(code)) {
		p->chunk_refused = true;
		refuse(p, i, code);
		if (p->handed > 1)
			p->marks[i] = MARK_LEFT;
	} else if (code == RD_KAFKA_RESP_ERR__FATAL) {
		fail_for_good(p);
	} else if (code != RD_KAFKA_RESP_ERR__PURGE_QUEUE &&
	           code != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) { /* those are drop's doing */
		fail(p, code, rd_kafka_err2str(code));
	}
}

/* In rd_kafka_poll and _flush: on our thread. */
static void
on_report(rd_kafka_t *rk, const rd_kafka_message_t *message, void *ctx)
{
	struct kafka_producer *p = ctx;
	size_t i = (size_t)(uintptr_t)message->_private;

	(void)rk;
	p->unreported--;
	if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
		give_back(p, i, message->err);
		return;
	}
	p->marks[i] = MARK_DONE;
	p->is_down = p->is_denied = false;
}

/* The same. Most are of passing interest: the library tries again by itself. */
static void
on_error(rd_kafka_t *rk, int code, const char *reason, void *ctx)
{
	struct kafka_producer *p = ctx;

	(void)rk;
	if (code == RD_KAFKA_RESP_ERR__FATAL) {
		fail_for_good(p);
	} else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
		/* Comes after the error of the last broker, which says why. */
		p->is_down = p->failed = true;
	} else {
		err_set(&p->trouble, ERR_IO, "kafka topic %s: %s", p->topic_name, reason);
		if (is_for_operator((rd_kafka_resp_err_t)code))
			p->is_denied = p->failed = true;
	}
}

/* On any thread of the library's. */
static void
on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
	(void)rk;
	(void)level;
	log_debug("kafka", "%s: %s", facility, text);
}

/* Making and unmaking. */

struct kafka_producer *
kafka_producer_new(const struct kafka_producer_conf *conf, struct err *err)
{
	struct kafka_producer *p = calloc(1, sizeof(*p));

	if (p == NULL)
		goto nomem;
	buf_init(&p->text, 0);
	p->timeout_ns = conf->timeout_ns;
	p->stop = conf->stop;
	p->topic_name = strdup(conf->topic);
	p->conf = rd_kafka_conf_new();
	if (p->topic_name == NULL || p->conf == NULL)
		goto nomem;
	rd_kafka_conf_set_opaque(p->conf, p);
	rd_kafka_conf_set_dr_msg_cb(p->conf, on_report);
	rd_kafka_conf_set_error_cb(p->conf, on_error);
	rd_kafka_conf_set_log_cb(p->conf, on_log);
	return p;
nomem:
	err_nomem(err);
	kafka_producer_free(p);
	return NULL;
}

int
kafka_producer_set(struct kafka_producer *p, const char *name, const char *value, struct err *err)
{
	char why[256];

	if (rd_kafka_conf_set(p->conf, name, value, why, sizeof(why)) == RD_KAFKA_CONF_OK)
		return 0;
	if (strstr(name, "password") != NULL)
		err_set(err, ERR_CONFIG, "'%s' can't be used", name);
	else
		err_set(err, ERR_CONFIG, "%s", why);
	return -1;
}

/*
 * Ends the library's producer. What it had not been acknowledged for is given back. Without the
 * purge, destroying waits for what can't be sent.
 */
static void
drop(struct kafka_producer *p)
{
	if (p->rk == NULL)
		return;
	rd_kafka_purge(p->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
	rd_kafka_flush(p->rk, SLICE_MS);
	rd_kafka_topic_destroy(p->topic);
	rd_kafka_destroy(p->rk);
	p->rk = NULL;
	p->topic = NULL;
	for (size_t i = 0; i < p->n; i++) {
		if (p->marks[i] == MARK_HANDED)
			p->marks[i] = MARK_LEFT;
	}
	p->unreported = 0;
	p->fatal = p->is_down = p->is_denied = false;
}

void
kafka_producer_free(struct kafka_producer *p)
{
	if (p == NULL)
		return;
	drop(p);
	if (p->conf != NULL)
		rd_kafka_conf_destroy(p->conf);
	free(p->topic_name);
	free(p->marks);
	free(p->messages);
	buf_fini(&p->text);
	free(p);
}

static int
make(struct kafka_producer *p)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_dup(p->conf);
	char why[256];

	p->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof(why));
	if (p->rk == NULL) {
		rd_kafka_conf_destroy(conf);
		fail(p, RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE, why);
		return -1;
	}
	p->topic = rd_kafka_topic_new(p->rk, p->topic_name, NULL);
	if (p->topic != NULL)
		return 0;
	fail(p, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, rd_kafka_err2str(rd_kafka_last_error()));
	rd_kafka_destroy(p->rk);
	p->rk = NULL;
	return -1;
}

/* Requests. */

/* Where the text of record i begins. All of a request is texts: there is nothing between them. */
static size_t
text_begin(const struct write_request *request, size_t i)
{
	return i == 0 ? 0 : request->ends[i - 1];
}

/* Room for a request, and its text. -1 when out of memory. Nothing may be under way. */
static int
reserve(struct kafka_producer *p, const struct write_request *request)
{
	unsigned char *marks;
	rd_kafka_message_t *messages;
	size_t n = request->n;

	buf_clear(&p->text);
	buf_str(&p->text, request->body);
	if (p->text.failed)
		return -1;
	if (n <= p->cap)
		return 0;
	marks = realloc(p->marks, n * sizeof(*marks));
	if (marks == NULL)
		return -1;
	p->marks = marks;
	messages = realloc(p->messages, n * sizeof(*messages));
	if (messages == NULL)
		return -1;
	p->messages = messages;
	p->cap = n;
	return 0;
}

/* Goes on with the request that was answered LATER, or begins with this one. */
static int
take_request(struct kafka_producer *p, const struct write_request *request)
{
	if (p->has_request) {
		if (p->n == request->n && str_eq(buf_view(&p->text), request->body))
			return 0;
		drop(p); /* nobody waits for the reports of the other one */
		p->has_request = false;
	}
	if (reserve(p, request) != 0) {
		err_nomem(&p->trouble);
		return -1;
	}
	p->n = request->n;
	p->chunk = request->n;
	for (size_t i = 0; i < p->n; i++)
		p->marks[i] = request->ends[i] > text_begin(request, i) ? MARK_LEFT : MARK_DONE;
	return 0;
}

/* The next messages that are left, at most a chunk of them. */
static size_t
gather(struct kafka_producer *p, const struct write_request *request)
{
	size_t k = 0;

	for (size_t i = 0; i < p->n && k < p->chunk; i++) {
		size_t begin = text_begin(request, i);
		struct str host = request->records[i].origin->host;

		if (p->marks[i] != MARK_LEFT)
			continue;
		p->marks[i] = MARK_HANDED;
		p->messages[k++] = (rd_kafka_message_t){
			.payload = p->text.p + begin,
			.len = request->ends[i] - begin,
			.key = (char *)(uintptr_t)host.p,
			.key_len = host.len,
			._private = (void *)(uintptr_t)i,
		};
	}
	return k;
}

/* Hands the next chunk to the library, which copies the keys. False: nothing is left. */
static bool
hand_over(struct kafka_producer *p, const struct write_request *request)
{
	size_t k = gather(p, request);

	if (k == 0)
		return false;
	p->handed = k;
	p->unreported =
	    (size_t)rd_kafka_produce_batch(p->topic, RD_KAFKA_PARTITION_UA, 0, p->messages, (int)k);
	for (size_t j = 0; p->unreported < k && j < k; j++) {
		size_t i = (size_t)(uintptr_t)p->messages[j]._private;

		if (p->messages[j].err == RD_KAFKA_RESP_ERR_NO_ERROR)
			continue;
		if (is_for_content(p->messages[j].err))
			refuse(p, i, p->messages[j].err); /* the library looked at it alone */
		else
			give_back(p, i, p->messages[j].err);
	}
	return true;
}

/* Waits until all is reported, the time is up, or something came up. */
static void
wait_for_reports(struct kafka_producer *p, int64_t deadline_ns)
{
	while (p->unreported > 0 && !p->failed) {
		int64_t now_ns = clock_mono_ns();

		if (p->stop != NULL && *p->stop && deadline_ns > now_ns + STOP_NS)
			deadline_ns = now_ns + STOP_NS;
		if (now_ns >= deadline_ns) {
			if (!p->is_down && !p->is_denied)
				err_set(&p->trouble, ERR_TIMEOUT,
				    "kafka topic %s: no acknowledgement for %zu records within "
				    "%lld s",
				    p->topic_name, p->unreported,
				    (long long)(p->timeout_ns / NS_PER_S));
			p->failed = true;
			return;
		}
		rd_kafka_flush(p->rk, SLICE_MS);
	}
}

/* Whose chunk was refused: in halves, until it is alone. */
static void
size_chunk(struct kafka_producer *p)
{
	if (p->chunk_refused)
		p->chunk = p->handed > 1 ? p->handed / 2 : 1;
	else if (p->chunk < p->n)
		p->chunk *= 2;
	p->chunk_refused = false;
}

static void
answer_of(struct kafka_producer *p, struct write_answer *answer)
{
	answer->err = p->failed ? p->trouble : p->refusal;
	if (p->failed) {
		answer->status =
		    p->misconfigured || p->is_denied ? WRITE_MISCONFIGURED : WRITE_LATER;
		p->has_request = true;
		return;
	}
	p->has_request = false;
	for (size_t i = 0; i < p->n; i++) {
		if (p->marks[i] != MARK_REFUSED)
			continue;
		answer->status = WRITE_SOME;
		answer->refused[i] = true;
		answer->refused_count++;
	}
}

void
kafka_producer_send(
    struct kafka_producer *p, const struct write_request *request, struct write_answer *answer)
{
	int64_t deadline_ns = clock_mono_ns() + p->timeout_ns;

	p->failed = p->misconfigured = false;
	if (take_request(p, request) != 0) {
		answer->status = WRITE_LATER;
		answer->err = p->trouble;
		return;
	}
	if (p->rk == NULL && make(p) != 0) {
		answer_of(p, answer);
		return;
	}
	while (p->unreported > 0 || hand_over(p, request)) {
		wait_for_reports(p, deadline_ns);
		if (p->failed)
			break;
		size_chunk(p);
	}
	/* It may be fatal before the library says so. */
	if (p->failed && rd_kafka_fatal_error(p->rk, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR)
		fail_for_good(p);
	if (p->fatal)
		drop(p);
	answer_of(p, answer);
}
