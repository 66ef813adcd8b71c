/*
 * messages/prometheus.h - a batch as Prometheus text (exposition format 0.0.4): how scottyd shows
 * its own metrics at /metrics.
 */
#ifndef SCOTTY_MESSAGES_PROMETHEUS_H
#define SCOTTY_MESSAGES_PROMETHEUS_H

#include "base/buf.h"
#include "messages/batch.h"

#define PROMETHEUS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/*
 * Appends all metrics that have a place in the format, sorted by name. "/a/b-c" becomes
 * scotty_a_b_c; durations and milliseconds become _seconds, bytes _bytes, times _timestamp_seconds;
 * bools 0 or 1; a cumulative distribution a histogram with _bucket, _sum, _count; a string becomes
 * the label "value" of an _info metric. Lists and other distributions are left out. Tags become
 * labels. HELP and TYPE once per name. All but histograms are gauges: a metric does not say
 * whether it only grows.
 *
 * Of paths that give the same name the first in the batch counts, and of tags the first that gives
 * a label. After all this come the usual process_* metrics, as far as the batch has /proc/...
 *
 * Failure, for lack of memory too, shows in out->failed.
 */
void prometheus_encode(const struct batch *, struct buf *out);

#endif
