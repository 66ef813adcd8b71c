/*
 * pstore/writer.h - what every writer to another store implements: how a record reads, and how many
 * of them are sent.
 *
 * The pump (pump.h) does all the rest: it reads the store through a cursor of its own, leaves out
 * what the configuration excludes, batches, paces, waits and tries again, splits batches that are
 * refused, counts, and moves its position only once the server has acknowledged. The store is the
 * queue: a writer that is slow falls behind, and polling never waits for it.
 *
 * A writer is one file that exports `const struct writer_ops writer_NAME`, and one line in
 * CMakeLists.txt. Its formatter is a pure function of the configuration and one record, to be
 * tested against tables and fuzzed. Texts that are the same for all records of an endpoint or of a
 * metric are made once: see the prepare functions. Those that speak HTTP send by post.h.
 *
 * Threads: a pump opens a writer for each of its threads, from the same configuration. format and
 * the prepare functions only read the writer, so they may run on another thread than send.
 */
#ifndef SCOTTY_PSTORE_WRITER_H
#define SCOTTY_PSTORE_WRITER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "messages/metric.h"

/* An endpoint, as far as it belongs to its records. */
struct write_origin {
	struct str host, app;
	struct str region, address; /* numeric address; each empty where unknown */
	struct str text;            /* what prepare_origin made */
	/* What else its configuration or discovery says of it, sorted by key; see write_tags_clash.
	 */
	const struct tag *tags;
	size_t tag_count;
};

/* A metric, which any number of endpoints may have. */
struct write_series {
	const struct metric_desc *desc;
	struct str head, tail; /* what prepare_series made */
};

/* One value. All of it is valid while the batch is. */
struct write_record {
	const struct write_origin *origin;
	const struct write_series *series;
	int64_t ts_ns;
	struct value value; /* is_end: value_zero of the kind */
	bool is_end;        /* no value: since then the series has none; see end_kinds */
};

/*
 * True if the metric has a tag of one of the endpoint's keys. The metric's own is written then, so
 * that no key comes twice, and the origin's text, which has all of them, is of no use.
 */
bool write_tags_clash(const struct write_record *);
/* True if the metric has a tag of that key. */
bool write_has_tag(const struct metric_desc *, struct str key);

/*
 * What one call of send is to bring across: begin, the records' texts with between, end. Those that
 * format left out have no bytes and no between.
 */
struct write_request {
	struct str body;
	const struct write_record *records;
	const uint32_t *ends; /* of body: where the text of each record ends */
	size_t n;             /* records, at least one of which has bytes */
};

enum write_status {
	WRITE_DONE,          /* the server has all of them */
	WRITE_LATER,         /* none or we can't know: the same again after a while */
	WRITE_REFUSED,       /* for the content of one or more: the pump finds which */
	WRITE_TOO_LARGE,     /* the same in smaller requests */
	WRITE_SOME,          /* written but for `refused` */
	WRITE_MISCONFIGURED, /* nothing will go before the operator acts; tried now and then */
};

struct write_answer {
	enum write_status status; /* WRITE_DONE at first */
	int64_t retry_after_ns;   /* LATER: what the server asked for; 0 = nothing */
	uint64_t refused_count;   /* SOME: how many were not written */
	bool *refused;            /* SOME: which, as far as known; n of them, false at first */
	struct err err;           /* all but DONE: why */
};

struct writer {
	const struct writer_ops *ops; /* first member of every writer */
	unsigned kinds;               /* bit set (1u << kind) of the value kinds it can hold */
};

/* What a writer is opened in. */
struct writer_env {
	const char *name;        /* the consumer's, unique; lent */
	const char *state_dir;   /* NULL or "" = none; lent */
	const atomic_bool *stop; /* set: send returns within a second; outlives the writer */
};

struct writer_ops {
	const char *name; /* the configuration's word: "influx" */
	const char *help;
	const struct conf_opt *opts;
	/* Bit set of the kinds of which it is told when a series ends; roll-ups tell of no end. */
	unsigned end_kinds;
	bool single;          /* concurrency is always 1 */
	size_t request_bytes; /* most that a request should have; 0 = 4 MiB */
	struct str begin, between, end;

	/*
	 * conf is the map under the writer's word, checked against opts; lent for the call. Nothing
	 * is connected, read (but for secrets) or created yet: that is for the first send. env may
	 * be NULL, to check only. NULL with ERR_CONFIG, ERR_NOMEM.
	 */
	struct writer *(*open)(const struct conf *conf, const struct writer_env *env, struct err *);
	/*
	 * Append the text that each record of the endpoint (origin->text is yet empty), or each of
	 * the metric, has; head and tail may lead to any parts of it. NULL = none.
	 */
	void (*prepare_origin)(const struct writer *, const struct write_origin *, struct buf *out);
	void (*prepare_series)(
	    const struct writer *, const struct metric_desc *, struct buf *head, struct buf *tail);
	/*
	 * Appends one record. False, with nothing appended, if it is a value that the other store
	 * cannot hold (NaN). Nothing for a record is decided here that its series decides.
	 */
	bool (*format)(const struct writer *, const struct write_record *, struct buf *out);
	/*
	 * Sends, and waits for the answer. May take as long as the writer's timeout. answer comes
	 * as WRITE_DONE without refusals.
	 */
	void (*send)(struct writer *, const struct write_request *, struct write_answer *answer);
	void (*close)(struct writer *);
};

#define KIND_BIT(kind) (1u << (kind))
#define KINDS_ALL      (((1u << KIND_COUNT) - 1) & ~KIND_BIT(KIND_NONE))

/* By name; NULL if there is none in this build. */
const struct writer_ops *writer_find(struct str name);
/* All of them, i = 0, 1, ...; NULL at the end. */
const struct writer_ops *writer_at(size_t i);

#endif
