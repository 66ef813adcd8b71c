/*
 * The producer against the library's own cluster of brokers, which fails as it is told to
 * (reliability B5). What is in the topic is read back by a consumer of the library's.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "pstore/kafka_producer.h"

#define TOPIC      "metrics"
#define PARTITIONS 4
#define HOSTS      8
#define PRODUCE    0 /* the request's number in the protocol */
#define MOST       4000
#define BROKERS    3

struct fixture {
	rd_kafka_t *rk; /* whose cluster it is, and consumer */
	rd_kafka_mock_cluster_t *cluster;
	struct kafka_producer *producer;
	struct write_origin origins[HOSTS];
	char hosts[HOSTS][8];
	struct write_record records[MOST];
	uint32_t ends[MOST];
	bool refused[MOST];
	struct buf body;
	size_t next; /* number of the first record of the next request */
	unsigned seen[MOST];
};

/* The cluster. */

static void
setup_cluster(struct fixture *f)
{
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char why[200];

	rd_kafka_conf_set(conf, "log_level", "0", why, sizeof(why));
	f->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof(why));
	assert_non_null(f->rk);
	f->cluster = rd_kafka_mock_cluster_new(f->rk, BROKERS);
	assert_non_null(f->cluster);
	rd_kafka_brokers_add(f->rk, rd_kafka_mock_cluster_bootstraps(f->cluster));
	rd_kafka_mock_topic_create(f->cluster, TOPIC, PARTITIONS, BROKERS);
}

static void
set_brokers(struct fixture *f, bool up)
{
	for (int32_t id = 1; id <= BROKERS; id++) {
		if (up)
			rd_kafka_mock_broker_set_up(f->cluster, id);
		else
			rd_kafka_mock_broker_set_down(f->cluster, id);
	}
}

static void
set(struct fixture *f, const char *name, const char *value)
{
	struct err err;

	if (kafka_producer_set(f->producer, name, value, &err) != 0)
		fail_msg("%s", err.text);
}

static void
open_producer(struct fixture *f, const char *topic, int64_t timeout_ns)
{
	struct kafka_producer_conf conf = { .topic = topic, .timeout_ns = timeout_ns };
	struct err err;

	f->producer = kafka_producer_new(&conf, &err);
	assert_non_null(f->producer);
	set(f, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster));
	set(f, "enable.idempotence", "true");
	set(f, "message.timeout.ms", "0");
	set(f, "partitioner", "murmur2_random");
	set(f, "linger.ms", "100");
	set(f, "reconnect.backoff.max.ms", "500");
	set(f, "topic.metadata.propagation.max.ms", "500");
	set(f, "topic.metadata.refresh.interval.ms", "1000");
	set(f, "message.max.bytes", "100000");
}

static int
setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	buf_init(&f->body, 0);
	setup_cluster(f);
	for (size_t i = 0; i < HOSTS; i++) {
		snprintf(f->hosts[i], sizeof(f->hosts[i]), "web%zu", i);
		f->origins[i].host = str_of(f->hosts[i]);
	}
	open_producer(f, TOPIC, 20 * NS_PER_S);
	*state = f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	kafka_producer_free(f->producer);
	rd_kafka_mock_cluster_destroy(f->cluster);
	rd_kafka_destroy(f->rk);
	buf_fini(&f->body);
	free(f);
	return 0;
}

/* Requests. */

/* n records, of the hosts in turn, numbered on; `large` of them bytes long, SIZE_MAX = none. */
static struct write_request
request_of(struct fixture *f, size_t n, size_t large, size_t bytes)
{
	buf_clear(&f->body);
	for (size_t i = 0; i < n; i++) {
		size_t begin = f->body.len;

		f->records[i].origin = &f->origins[(f->next + i) % HOSTS];
		buf_printf(&f->body, "%zu\n", f->next + i);
		while (i == large && f->body.len - begin < bytes)
			buf_putc(&f->body, 'x');
		f->ends[i] = (uint32_t)f->body.len;
	}
	f->next += n;
	assert_true(f->next <= MOST);
	return (struct write_request){ buf_view(&f->body), f->records, f->ends, n };
}

static struct write_answer
send_request(struct fixture *f, const struct write_request *request)
{
	struct write_answer answer = { .status = WRITE_DONE, .refused = f->refused };

	memset(f->refused, 0, sizeof(f->refused));
	kafka_producer_send(f->producer, request, &answer);
	return answer;
}

/* As a pump does it: again until it goes. Returns how often it was put off. */
static unsigned
send_until_done(struct fixture *f, const struct write_request *request, enum write_status want)
{
	unsigned later = 0;

	for (;;) {
		struct write_answer answer = send_request(f, request);

		if (answer.status == want)
			return later;
		if (answer.status != WRITE_LATER || ++later > 60)
			fail_msg("status %d: %s", (int)answer.status, answer.err.text);
	}
}

/* Reading back. */

struct seen_state {
	struct fixture *f;
	long last[HOSTS]; /* highest number of that host so far */
	size_t count, repeated;
};

static void
see(struct seen_state *s, const rd_kafka_message_t *message)
{
	char text[24] = { 0 };
	long number;
	size_t host;

	memcpy(text, message->payload, message->len < 20 ? message->len : 20);
	number = strtol(text, NULL, 10);
	assert_true(number >= 0 && (size_t)number < s->f->next);
	host = (size_t)number % HOSTS;
	assert_memory_equal(message->key, s->f->hosts[host], message->key_len);
	s->count++;
	s->repeated += s->f->seen[number] > 0;
	/* One that is there for the first time comes after those before it. */
	if (s->f->seen[number]++ == 0) {
		if (number < s->last[host])
			fail_msg("%ld came after %ld", number, s->last[host]);
		s->last[host] = number;
	}
}

/* Reads all of the topic; every number is there, but for `missing`. Returns how many are repeats.
 */
static size_t
check_topic(struct fixture *f, size_t missing)
{
	rd_kafka_topic_t *topic = rd_kafka_topic_new(f->rk, TOPIC, NULL);
	struct seen_state s = { .f = f };
	size_t found = 0;

	memset(f->seen, 0, sizeof(f->seen));
	for (int32_t p = 0; p < PARTITIONS; p++) {
		int64_t low = 0, high = 0;

		assert_int_equal(
		    rd_kafka_query_watermark_offsets(f->rk, TOPIC, p, &low, &high, 10000), 0);
		assert_int_equal(low, 0);
		rd_kafka_consume_start(topic, p, RD_KAFKA_OFFSET_BEGINNING);
		while (low < high) {
			rd_kafka_message_t *message = rd_kafka_consume(topic, p, 10000);

			assert_non_null(message);
			if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
				see(&s, message);
				low = message->offset + 1;
			}
			rd_kafka_message_destroy(message);
		}
		rd_kafka_consume_stop(topic, p);
	}
	rd_kafka_topic_destroy(topic);
	for (size_t i = 0; i < f->next; i++) {
		found += f->seen[i] > 0;
		if (f->seen[i] == 0 && i != missing)
			fail_msg("%zu is missing", i);
	}
	assert_int_equal(s.count - s.repeated, found);
	return s.repeated;
}

#define NONE SIZE_MAX

static void
all_arrives_in_order_per_host(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < 5; i++) {
		struct write_request request = request_of(f, 500, NONE, 0);

		assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	}
	assert_int_equal(check_topic(f, NONE), 0);
}

static void
records_without_text_are_no_messages(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 10, NONE, 0);

	/* The text of record 3 goes. */
	memmove(f->body.p + 6, f->body.p + 8, f->body.len - 8);
	for (size_t i = 3; i < 10; i++)
		f->ends[i] -= 2;
	request.body.len -= 2;
	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	assert_int_equal(check_topic(f, 3), 0);
	assert_int_equal(f->seen[3], 0);
}

static const rd_kafka_resp_err_t passing[] = {
	RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
	RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
	RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
	RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
	RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
	RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
};

static void
errors_that_pass_cost_nothing(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
		struct write_request request = request_of(f, 400, NONE, 0);

		rd_kafka_mock_push_request_errors(
		    f->cluster, PRODUCE, 3, passing[i], passing[i], passing[i]);
		send_until_done(f, &request, WRITE_DONE);
	}
	assert_int_equal(check_topic(f, NONE), 0);
}

static void
a_batch_that_is_too_large_goes_in_parts(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 100, NONE, 0);

	rd_kafka_mock_push_request_errors(f->cluster, PRODUCE, 2,
	    RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	request = request_of(f, 100, NONE, 0);
	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	assert_int_equal(check_topic(f, NONE), 0);
}

static void
one_that_brokers_refuse_alone_is_named(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 1, NONE, 0);
	struct write_answer answer;

	rd_kafka_mock_push_request_errors(f->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_INVALID_RECORD);
	answer = send_request(f, &request);
	assert_int_equal(answer.status, WRITE_SOME);
	assert_int_equal(answer.refused_count, 1);
	assert_true(f->refused[0]);
	request = request_of(f, 100, NONE, 0);
	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	assert_int_equal(check_topic(f, 0), 0);
}

static void
one_that_is_too_large_is_named_and_the_others_go(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 100, 42, 200000);
	struct write_answer answer = send_request(f, &request);

	assert_int_equal(answer.status, WRITE_SOME);
	assert_int_equal(answer.refused_count, 1);
	assert_true(f->refused[42]);
	assert_non_null(strstr(answer.err.text, "too large"));
	assert_int_equal(check_topic(f, 42), 0);
}

static void
brokers_may_be_down_for_a_while(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 400, NONE, 0);
	struct write_answer answer;
	int64_t begin_ns;

	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	set_brokers(f, false);
	request = request_of(f, 400, NONE, 0);
	begin_ns = clock_mono_ns();
	answer = send_request(f, &request);
	/* Said at once, not at the timeout, and in words that help. */
	assert_true(clock_mono_ns() - begin_ns < 15 * NS_PER_S);
	assert_int_equal(answer.status, WRITE_LATER);
	assert_non_null(strstr(answer.err.text, "127.0.0.1"));
	set_brokers(f, true);
	send_until_done(f, &request, WRITE_DONE);
	request = request_of(f, 400, NONE, 0);
	assert_int_equal(send_request(f, &request).status, WRITE_DONE);
	/* The same request again is not sent twice. */
	assert_int_equal(check_topic(f, NONE), 0);
}

static void
slow_brokers_are_waited_for(void **state)
{
	struct fixture *f = *state;
	struct write_request request;
	unsigned later;

	kafka_producer_free(f->producer);
	open_producer(f, TOPIC, 1 * NS_PER_S);
	request = request_of(f, 400, NONE, 0);
	send_until_done(f, &request, WRITE_DONE);
	for (int32_t id = 1; id <= BROKERS; id++)
		rd_kafka_mock_broker_set_rtt(f->cluster, id, 2500);
	request = request_of(f, 400, NONE, 0);
	later = send_until_done(f, &request, WRITE_DONE);
	assert_true(later >= 1);
	for (int32_t id = 1; id <= BROKERS; id++)
		rd_kafka_mock_broker_set_rtt(f->cluster, id, 0);
	assert_int_equal(check_topic(f, NONE), 0);
}

/* The sequence of messages is broken for good: only a new producer goes on. */
static void
after_a_fatal_error_a_new_producer_goes_on(void **state)
{
	struct fixture *f = *state;
	struct write_request request;
	size_t repeated;

	for (unsigned i = 0; i < 4; i++) {
		request = request_of(f, 400, NONE, 0);
		if (i % 2 != 0)
			rd_kafka_mock_push_request_errors(
			    f->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
		assert_int_equal(send_until_done(f, &request, WRITE_DONE), i % 2);
	}
	repeated = check_topic(f, NONE);
	assert_true(repeated <= 2 * 400);
}

static void
another_request_may_follow_one_that_was_put_off(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 100, NONE, 0);

	set_brokers(f, false);
	assert_int_equal(send_request(f, &request).status, WRITE_LATER);
	set_brokers(f, true);
	f->next = 0; /* given up; the next one has more */
	request = request_of(f, 200, NONE, 0);
	send_until_done(f, &request, WRITE_DONE);
	check_topic(f, NONE);
}

static void
a_topic_that_is_not_there_is_for_the_operator(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 100, NONE, 0);
	struct write_answer answer;

	kafka_producer_free(f->producer);
	rd_kafka_mock_topic_set_error(f->cluster, "nope", RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
	open_producer(f, "nope", 20 * NS_PER_S);
	answer = send_request(f, &request);
	assert_int_equal(answer.status, WRITE_MISCONFIGURED);
	assert_non_null(strstr(answer.err.text, "nope"));
}

static void
a_topic_we_may_not_write_to_is_for_the_operator(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 1, NONE, 0);
	struct write_answer answer;

	rd_kafka_mock_push_request_errors(
	    f->cluster, PRODUCE, 1, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
	answer = send_request(f, &request);
	assert_int_equal(answer.status, WRITE_MISCONFIGURED);
	/* The library asks again from time to time. */
	for (unsigned i = 0; answer.status == WRITE_MISCONFIGURED && i < 100; i++) {
		usleep(100000);
		answer = send_request(f, &request);
	}
	assert_int_equal(answer.status, WRITE_DONE);
	assert_int_equal(check_topic(f, NONE), 0);
}

static void
settings_that_cannot_be_used_are_for_the_operator(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 1, NONE, 0);
	struct write_answer answer;

	set(f, "security.protocol", "ssl");
	set(f, "ssl.ca.location", "/does/not/exist");
	answer = send_request(f, &request);
	assert_int_equal(answer.status, WRITE_MISCONFIGURED);
	assert_non_null(strstr(answer.err.text, "ssl"));
}

static void
a_stop_does_not_wait_for_brokers(void **state)
{
	struct fixture *f = *state;
	struct write_request request = request_of(f, 100, NONE, 0);
	atomic_bool stop = true;
	struct kafka_producer_conf conf = { TOPIC, 60 * NS_PER_S, &stop };
	int64_t begin_ns;
	struct err err;

	kafka_producer_free(f->producer);
	f->producer = kafka_producer_new(&conf, &err);
	assert_non_null(f->producer);
	/* A port nobody listens to would be noticed at once: this one says nothing. */
	for (int32_t id = 1; id <= BROKERS; id++)
		rd_kafka_mock_broker_set_rtt(f->cluster, id, 30000);
	set(f, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(f->cluster));
	begin_ns = clock_mono_ns();
	assert_int_equal(send_request(f, &request).status, WRITE_LATER);
	kafka_producer_free(f->producer);
	f->producer = NULL;
	assert_true(clock_mono_ns() - begin_ns < 5 * NS_PER_S);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(all_arrives_in_order_per_host),
		TEST(records_without_text_are_no_messages),
		TEST(errors_that_pass_cost_nothing),
		TEST(a_batch_that_is_too_large_goes_in_parts),
		TEST(one_that_brokers_refuse_alone_is_named),
		TEST(one_that_is_too_large_is_named_and_the_others_go),
		TEST(brokers_may_be_down_for_a_while),
		TEST(slow_brokers_are_waited_for),
		TEST(after_a_fatal_error_a_new_producer_goes_on),
		TEST(another_request_may_follow_one_that_was_put_off),
		TEST(a_topic_that_is_not_there_is_for_the_operator),
		TEST(a_topic_we_may_not_write_to_is_for_the_operator),
		TEST(settings_that_cannot_be_used_are_for_the_operator),
		TEST(a_stop_does_not_wait_for_brokers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
