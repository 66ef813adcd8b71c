/*
 * sources/tricorder_parser_priv.h - the parts of the tricorder parser (tricorder_parse.c) that
 * reading by a layout (tricorder_match.c, tricorder_learn.c) goes on with.
 *
 * Threads: a parser belongs to the poll whose batch it fills.
 */
#ifndef SCOTTY_SOURCES_TRICORDER_PARSER_PRIV_H
#define SCOTTY_SOURCES_TRICORDER_PARSER_PRIV_H

#include "base/err.h"
#include "messages/batch.h"
#include "sources/json_scan_priv.h"

/* What became of a metric. */
enum outcome {
	METRIC_GOOD,
	METRIC_BAD, /* counted and named in the batch */
	POLL_LOST,  /* err says why */
};

struct parser {
	struct batch *batch;
	struct scan_doc doc;
	struct scan list; /* of all metrics */
	struct str path;  /* of the metric at hand */
	struct str stamp; /* text of the last time stamp; metrics of a group share it */
	int64_t stamp_ns; /* and what it says */
	struct err *err;
};

/* The keys of each object in the order in which tricorder writes them. */
enum {
	PATH,
	DESCRIPTION,
	UNIT,
	KIND,
	SUB_TYPE,
	BITS,
	VALUE,
	TIMESTAMP,
	GROUP_ID,
	TAGS,
	METRIC_KEYS
};
extern const struct str tricorder_metric_keys[METRIC_KEYS];

enum { MIN, MAX, AVERAGE, MEDIAN, SUM, COUNT, GENERATION, NOT_CUMULATIVE, RANGES, DIST_KEYS };
extern const struct str tricorder_dist_keys[DIST_KEYS];

enum { RANGE_LOWER, RANGE_UPPER, RANGE_COUNT, RANGE_KEYS };
extern const struct str tricorder_range_keys[RANGE_KEYS];

/* Stands before the first metric then. doc and len as for tricorder_parse; -1 as it. */
int parser_begin(struct parser *, char *doc, size_t len, struct batch *, struct err *);
/* Reads all that is left. -1 as tricorder_parse. */
int parser_rest(struct parser *);
/* Memory for n elements from the batch's arena. NULL: the poll is lost. */
void *parser_array(struct parser *, size_t n, size_t size);
/*
 * The value of a metric whose kind, sub_kind and unit are set, from its token; of a distribution it
 * sets desc's limits too. Strings are unescaped in place.
 */
enum outcome parser_read_value(
    struct parser *, struct scan_token *, struct metric_desc *, struct value *out);

#endif
