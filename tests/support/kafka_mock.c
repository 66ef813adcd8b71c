/*
 * A cluster of Kafka brokers in one process, librdkafka's own, for tests of whole programs. Prints
 * the brokers' addresses in one line, then does what its input tells it to, "ok" after each line:
 *
 *   errors CODE N   the next N requests to write fail so (the protocol's number)
 *   down, up        all brokers
 *   rtt MS          of all brokers
 *   figures, gaps, last
 *                   of the numbered samples in the topic, in LMM's form, as sink_sim does; they are
 *                   read from when the first of these is asked for
 *
 * Usage: kafka_mock TOPIC PARTITIONS. Ends with its input.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sink_text.h"

#define BROKERS      3
#define PRODUCE      0
#define MESSAGES_MAX 10000

/* Reads the topic while it is being written: the brokers soon forget. */
struct reader {
	rd_kafka_t *rk;
	rd_kafka_queue_t *queue;
	pthread_mutex_t lock;
	struct tally *tally;
};

static void
take_message(struct reader *reader, const rd_kafka_message_t *message)
{
	struct str body = { message->payload, message->len };

	if (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET)
		tally_stray(reader->tally, STR("the brokers forgot what was not read"));
	if (message->err == 0 && sink_text_read(SINK_LMM, body, reader->tally) + 1 < body.len)
		tally_stray(reader->tally, body);
}

static void *
reader_run(void *arg)
{
	static rd_kafka_message_t *messages[MESSAGES_MAX];
	struct reader *reader = arg;

	for (;;) {
		ssize_t n = rd_kafka_consume_batch_queue(reader->queue, 50, messages, MESSAGES_MAX);

		pthread_mutex_lock(&reader->lock);
		for (ssize_t i = 0; i < n; i++) {
			take_message(reader, messages[i]);
			rd_kafka_message_destroy(messages[i]);
		}
		pthread_mutex_unlock(&reader->lock);
	}
	return NULL;
}

static void
die(const char *what)
{
	fprintf(stderr, "kafka_mock: %s\n", what);
	exit(1);
}

static rd_kafka_conf_t *
reader_conf(const char *brokers)
{
	static const char *const options[][2] = {
		{ "group.id", "tally" },
		{ "auto.offset.reset", "error" },
		{ "fetch.wait.max.ms", "50" },
		{ "fetch.error.backoff.ms", "50" },
		{ "reconnect.backoff.max.ms", "500" },
		{ "queued.min.messages", "1000000" },
		{ NULL, NULL },
	};
	rd_kafka_conf_t *conf = rd_kafka_conf_new();
	char text[200];

	for (size_t i = 0; options[i][0] != NULL; i++) {
		if (rd_kafka_conf_set(conf, options[i][0], options[i][1], text, sizeof(text)) != 0)
			die(text);
	}
	if (rd_kafka_conf_set(conf, "bootstrap.servers", brokers, text, sizeof(text)) != 0)
		die(text);
	return conf;
}

static struct reader *
reader_start(const char *brokers, const char *topic, int partitions)
{
	rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
	static struct reader reader = { .lock = PTHREAD_MUTEX_INITIALIZER };
	pthread_t thread;
	char text[200];

	reader.rk = rd_kafka_new(RD_KAFKA_CONSUMER, reader_conf(brokers), text, sizeof(text));
	if (reader.rk == NULL)
		die(text);
	for (int i = 0; i < partitions; i++)
		rd_kafka_topic_partition_list_add(list, topic, i)->offset = 0;
	rd_kafka_poll_set_consumer(reader.rk);
	reader.queue = rd_kafka_queue_get_consumer(reader.rk);
	reader.tally = tally_new();
	if (rd_kafka_assign(reader.rk, list) != 0 ||
	    pthread_create(&thread, NULL, reader_run, &reader) != 0)
		die("no reader");
	rd_kafka_topic_partition_list_destroy(list);
	return &reader;
}

static int
tell_reader(struct reader *reader, const char *line)
{
	int rc = 0;

	pthread_mutex_lock(&reader->lock);
	if (strcmp(line, "figures\n") == 0)
		tally_print(reader->tally, stdout);
	else if (strcmp(line, "gaps\n") == 0)
		tally_print_gaps(reader->tally, stdout);
	else if (strcmp(line, "last\n") == 0)
		tally_print_last(reader->tally, stdout);
	else
		rc = -1;
	pthread_mutex_unlock(&reader->lock);
	return rc;
}

static void
do_errors(rd_kafka_mock_cluster_t *cluster, int code, int count)
{
	for (int i = 0; i < count; i++)
		rd_kafka_mock_push_request_errors(cluster, PRODUCE, 1, (rd_kafka_resp_err_t)code);
}

static int
do_line(rd_kafka_mock_cluster_t *cluster, const char *line)
{
	int code, count;

	if (sscanf(line, "errors %d %d", &code, &count) == 2) {
		do_errors(cluster, code, count);
		return 0;
	}
	for (int32_t id = 1; id <= BROKERS; id++) {
		if (strcmp(line, "down\n") == 0)
			rd_kafka_mock_broker_set_down(cluster, id);
		else if (strcmp(line, "up\n") == 0)
			rd_kafka_mock_broker_set_up(cluster, id);
		else if (sscanf(line, "rtt %d", &count) == 1)
			rd_kafka_mock_broker_set_rtt(cluster, id, count);
		else
			return -1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	rd_kafka_mock_cluster_t *cluster;
	struct reader *reader = NULL;
	char line[100];
	rd_kafka_t *rk;

	if (argc != 3) {
		fprintf(stderr, "usage: kafka_mock TOPIC PARTITIONS\n");
		return 2;
	}
	rk = rd_kafka_new(RD_KAFKA_PRODUCER, NULL, line, sizeof(line));
	cluster = rk == NULL ? NULL : rd_kafka_mock_cluster_new(rk, BROKERS);
	if (cluster == NULL ||
	    rd_kafka_mock_topic_create(cluster, argv[1], atoi(argv[2]), 1) != 0) {
		fprintf(stderr, "kafka_mock: no cluster\n");
		return 1;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
	while (fgets(line, sizeof(line), stdin) != NULL) {
		if (do_line(cluster, line) != 0) {
			if (reader == NULL)
				reader = reader_start(rd_kafka_mock_cluster_bootstraps(cluster),
				    argv[1], atoi(argv[2]));
			if (tell_reader(reader, line) != 0) {
				fprintf(stderr, "kafka_mock: what is '%s'?\n", line);
				return 2;
			}
		}
		printf("ok\n");
	}
	if (reader != NULL)
		_exit(0); /* its thread is still about */
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
