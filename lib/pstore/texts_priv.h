/*
 * pstore/texts_priv.h - what is the same for all records of an endpoint or a metric, made once: may
 * it be written, and the text around its values.
 *
 * Threads: one pump's. Records in the making lead here, so texts_tidy is for between the batches.
 */
#ifndef SCOTTY_PSTORE_TEXTS_PRIV_H
#define SCOTTY_PSTORE_TEXTS_PRIV_H

#include "base/hash.h"
#include "pstore/consumer.h"
#include "pstore/pump.h"

enum series_use {
	SERIES_WRITTEN,
	SERIES_EXCLUDED,    /* by the configuration */
	SERIES_UNSUPPORTED, /* the writer can't hold its kind */
};

struct known_series {
	struct write_series series;
	enum series_use use;
	bool echo;     /* debugMetricRegex matches */
	uint64_t used; /* number of the last tidying */
	struct known_series *next;
	char text[];
};

struct known_origin {
	struct write_origin origin;
	bool echo;         /* debugHostRegex matches */
	struct str key;    /* HOST NUL APP */
	struct tag tags[]; /* and texts behind them */
};

struct texts {
	struct store *store;
	const struct consumer *consumer;
	const struct writer *writer;
	origin_lookup *lookup;
	void *lookup_ctx;
	struct known_series **buckets; /* by address of the description */
	size_t bucket_count, series_count;
	uint64_t tidied;
	int64_t tidied_ns;
	struct map origins;
	int64_t origins_ns; /* since when they are collected */
	struct buf scratch, tail;
};

/* All of it outlives the texts. 0, or -1 with ERR_NOMEM. */
int texts_init(struct texts *, struct store *, const struct consumer *, const struct writer *,
    origin_lookup *, void *ctx, struct err *);
void texts_fini(struct texts *);

/* NULL when out of memory. Valid until texts_tidy. */
const struct known_series *texts_series(struct texts *, const struct metric_desc *);
const struct known_origin *texts_origin(struct texts *, struct str host, struct str app);

/*
 * Lets go of what was not used for long, so that descriptions that are gone can go and addresses
 * that changed are learned. Between batches.
 */
void texts_tidy(struct texts *, int64_t now_ns);

#endif
