/*
 * sources/prometheus_parse_priv.h - what Prometheus' exporters serve, to a batch: text format 0.0.4
 * and OpenMetrics 1.0, in one pass.
 *
 * A sample becomes the metric /NAME with its labels as tags (an empty label is none), a float64 in
 * group 0. HELP is its description; its unit is what UNIT says or NAME ends in. Samples of a
 * histogram become one distribution at the histogram's name, unless they are to stay as they are.
 * Exemplars are skipped. Samples with time stamps of their own are in groups 1, 2, ..., one for
 * each stamp, in the order in which the stamps come.
 *
 * White space may stand where either format allows it. Comments never count as bad: what they don't
 * say in a way we know is left out.
 *
 * Bounds: time linear in the document, memory only from the batch's arena; labels: 64 to a sample,
 * names and values of 4,096 bytes; of a description, 1,024 bytes.
 */
#ifndef SCOTTY_SOURCES_PROMETHEUS_PARSE_PRIV_H
#define SCOTTY_SOURCES_PROMETHEUS_PARSE_PRIV_H

#include "base/err.h"
#include "messages/batch.h"

/* How a document is to be read. */
struct prometheus_form {
	bool openmetrics; /* else text format */
	bool series;      /* histograms as their samples, not as distributions */
};

/* Where a number of a metric stands in the document, for prometheus_learn. */
struct prometheus_note {
	uint32_t metric; /* in the batch, if none was bad */
	uint32_t type;   /* enum hole_type */
	uint32_t at;     /* of HOLE_CUMULATIVE: which */
	uint32_t start, len;
};

/* All of them, in the order of the document. */
struct prometheus_notes {
	struct buf list; /* of struct prometheus_note; one that failed tells nothing */
	bool useless;    /* a layout would not do for this document */
};

/*
 * doc is not changed; doc[len] must be a NUL; it must live as long as the batch's content. notes
 * may be NULL, else doc is below 4 GiB and the notes are empty.
 *
 * A line that is no good costs itself and is counted (batch.h), for batch_add's reasons or these:
 * not of the format, a label given twice, not UTF-8, a bound exceeded. So does a histogram whose
 * buckets are no whole numbers, fall, lack "+Inf", or whose samples have different stamps.
 *
 * -1 with ERR_PROTO: there are lines and none of them is good, or no "# EOF" at the end of an
 * OpenMetrics document, which was cut off then; ERR_NOMEM, ERR_LIMIT. The batch must not be used.
 */
int prometheus_parse(const char *doc, size_t len, const struct prometheus_form *, struct batch *,
    struct prometheus_notes *notes, struct err *);

/*
 * True if what is left of a document, from the beginning of a line, holds no sample, and ends as it
 * should.
 */
bool prometheus_tail_is_quiet(const char *p, const char *end, const struct prometheus_form *);

/* A count as it stands in a sample: a whole number from 0 up, in whatever form. */
bool prometheus_count(struct str, uint64_t *out);
/* The time stamp of a sample. */
bool prometheus_stamp_ms(struct str, int64_t *out_ns);
bool prometheus_stamp_s(struct str, int64_t *out_ns);

#endif
