/*
 * pstore/lmm_record.h - a record as upstream sends it to Kafka and to LMM: one object of JSON,
 *
 *   {"@timestamp":"2006-01-02T15:04:05.000Z","@version":"1","apikey":K,"appname":A,"host":H,
 *    "ipaddress":I,"name":PATH,"region":R,"stringValue":S,"tenant_id":T,"value":V}
 *
 * in one line, without a newline. Region and address are left out where they are not known; the
 * metric's own tags follow its name, one that is called as a key of ours as metric_KEY. Where that
 * is asked for, the endpoint's follow the region, likewise as endpoint_KEY; where the metric has a
 * tag of that key, the metric's stands alone.
 *
 *   bool                    1, 0
 *   number, time, duration  as a number: times in seconds since 1970, durations in the metric's
 * unit NaN, infinite           can't be written string                  value 0, and stringValue
 *   list                    value 0, and stringValue: the list as JSON
 *   distribution            value is the mean (0 where there is none), and the keys count, sum
 * (where it is finite) and le_LIMIT: how many values are up to that limit
 *
 * The time is UTC. (Upstream writes the local time, but ends it with the Z of UTC.)
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_LMM_RECORD_H
#define SCOTTY_PSTORE_LMM_RECORD_H

#include "pstore/writer.h"

struct lmm_record {
	struct str api_key, tenant; /* lent */
	bool tagged;                /* with the endpoint's tags, which upstream knows not */
	bool underscores;           /* in names each '/' becomes '_', as upstream does for Kafka */
	size_t string_bytes;        /* most of a string's that are written; 0 = all */
};

/* What struct writer_ops has by these names. */
void lmm_prepare_origin(const struct lmm_record *, const struct write_origin *, struct buf *out);
void lmm_prepare_series(
    const struct lmm_record *, const struct metric_desc *, struct buf *head, struct buf *tail);
bool lmm_format(const struct lmm_record *, const struct write_record *, struct buf *out);

#endif
