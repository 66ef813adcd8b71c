/*
 * pstore/kafka_producer.h - brings requests of records to a topic of Kafka: librdkafka behind the
 * shape of a writer's send.
 *
 * Each record is a message whose key is its host, so that what is of one host is in one partition,
 * in order. The producer is idempotent: the library sends again what a broker did not acknowledge,
 * for as long as it takes, and the broker writes it once. Only a request is under way at a time.
 * One that is not acknowledged in time stays with the library; the next call with the same request
 * waits on, and sends nothing twice. Where the library gives up (a fatal error), its producer is
 * replaced by a new one, which sends again what was not acknowledged.
 *
 * Threads: a producer belongs to one thread. The library has some of its own, one per broker and
 * two more, and calls back on ours, but for its log.
 */
#ifndef SCOTTY_PSTORE_KAFKA_PRODUCER_H
#define SCOTTY_PSTORE_KAFKA_PRODUCER_H

#include "pstore/writer.h"

struct kafka_producer;

struct kafka_producer_conf {
	const char *topic;       /* copied */
	int64_t timeout_ns;      /* how long a send may wait for acknowledgements */
	const atomic_bool *stop; /* NULL = none; outlives the producer */
};

/* Nothing is connected, and no thread begun, before the first send. NULL with ERR_NOMEM. */
struct kafka_producer *kafka_producer_new(const struct kafka_producer_conf *, struct err *);
/* What is not acknowledged is given up. NULL is fine. */
void kafka_producer_free(struct kafka_producer *);

/*
 * One of the library's own settings, by its name, before the first send; value is copied. -1 with
 * ERR_CONFIG, and the library's words for why; they never hold the value of a password.
 */
int kafka_producer_set(struct kafka_producer *, const char *name, const char *value, struct err *);

/*
 * As struct writer_ops has it. The answer is
 *
 *   DONE           every record was acknowledged
 *   SOME           the same, but for those in `refused`: too large, or refused by the broker for
 *                  what is in it when sent alone
 *   LATER          brokers can't be reached, don't acknowledge, or the producer has to be replaced
 *   MISCONFIGURED  no such topic, no right to write to it, credentials or settings that are wrong
 */
void kafka_producer_send(
    struct kafka_producer *, const struct write_request *, struct write_answer *);

#endif
