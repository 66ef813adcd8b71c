/*
 * A cluster of Kafka brokers in one process, librdkafka's own, for tests of whole programs. Prints
 * the brokers' addresses in one line, then does what its input tells it to, "ok" after each line:
 *
 *   errors CODE N   the next N requests to write fail so (the protocol's number)
 *   down, up        all brokers
 *   rtt MS          of all brokers
 *
 * Usage: kafka_mock TOPIC PARTITIONS. Ends with its input.
 */
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BROKERS 3
#define PRODUCE 0

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
			fprintf(stderr, "kafka_mock: what is '%s'?\n", line);
			return 2;
		}
		printf("ok\n");
	}
	rd_kafka_mock_cluster_destroy(cluster);
	rd_kafka_destroy(rk);
	return 0;
}
