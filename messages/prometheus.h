/*
 * messages/prometheus.h - metrics as Prometheus text (exposition format 0.0.4): a batch, as scottyd
 * shows its own metrics at /metrics, or one after the other, as /federate does.
 */
#ifndef SCOTTY_MESSAGES_PROMETHEUS_H
#define SCOTTY_MESSAGES_PROMETHEUS_H

#include "base/buf.h"
#include "messages/batch.h"

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * Appends all metrics that have a place in the format, sorted by name. "/a/b-c" becomes
 * scotty_a_b_c, "/aB" scotty_a_b; durations and milliseconds become _seconds, bytes _bytes, times
 * _timestamp_seconds; bools 0 or 1; a cumulative distribution a histogram with _bucket, _sum,
 * _count; a string becomes the label "value" of an _info metric. Lists and other distributions are
 * left out. Tags become labels. HELP and TYPE once per name. All but histograms are gauges: a
 * metric does not say whether it only grows.
 *
 * Of paths that give the same name the first in the batch counts, and of tags the first that gives
 * a label. After all this come the usual process_* metrics, as far as the batch has /proc/...
 *
 * Failure, for lack of memory too, shows in out->failed.
 */
void prometheus_encode(const struct batch *, struct buf *out);

/* Labels that samples have besides their tags; a tag of the same name becomes exported_NAME. */
struct prometheus_labels {
	const struct tag *labels; /* keys that may stand as they are */
	size_t len;
};

/*
 * Appends the name of a metric and of all with its path, kind and unit: as prometheus_encode, but
 * without "scotty"; a float64 or distribution whose path is "/" and a name keeps that name. False
 * if it has no place in the format.
 */
bool prometheus_name(const struct metric_desc *, struct buf *out);
/* A tag's key as the name of a label: '_' for what that must not hold. */
void prometheus_put_label_name(struct buf *out, struct str key);
/* A number of such a metric, or a limit of its buckets, in the unit of its name. */
double prometheus_scaled(const struct metric_desc *, double);
/* Appends HELP and TYPE. */
void prometheus_put_head(
    struct buf *out, struct str name, const struct metric_desc *, const char *type);
/* Appends the sample, or those of a histogram; ts_ns may be TS_NONE. more may be NULL. */
void prometheus_put_sample(struct buf *out, struct str name, const struct metric_desc *,
    const struct value *, const struct prometheus_labels *more, int64_t ts_ns);

#endif
