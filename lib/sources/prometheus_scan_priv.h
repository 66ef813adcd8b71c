/*
 * sources/prometheus_scan_priv.h - the lines of Prometheus' formats, taken apart.
 *
 * Threads: pure functions on the caller's data.
 */
#ifndef SCOTTY_SOURCES_PROMETHEUS_SCAN_PRIV_H
#define SCOTTY_SOURCES_PROMETHEUS_SCAN_PRIV_H

#include "base/arena.h"
#include "messages/metric.h"
#include "sources/prometheus_parse_priv.h"

#define PROMETHEUS_LABELS_MAX      64
#define PROMETHEUS_LABEL_BYTES_MAX 4096
#define PROMETHEUS_HELP_BYTES_MAX  1024

/* A sample's line. Text leads into it, values of labels that were escaped into the arena. */
struct prometheus_sample {
	struct str name;
	struct tag labels[PROMETHEUS_LABELS_MAX]; /* sorted, none empty */
	size_t label_count;
	struct str value; /* as it stands there */
	struct str stamp; /* likewise; empty = none */
};

/* The next line without its end, which is skipped; false at the end of the document. */
bool prometheus_line(const char **p, const char *end, struct str *line);

/*
 * NULL, or what is wrong with the line, which is no comment and not blank; out->name is then what
 * could be read of it. *no_memory tells when it is the arena that is used up.
 */
const char *prometheus_scan_sample(struct str line, const struct prometheus_form *, struct arena *,
    struct prometheus_sample *out, bool *no_memory);

enum prometheus_type {
	PROMETHEUS_UNTYPED, /* also what it is by itself */
	PROMETHEUS_COUNTER,
	PROMETHEUS_GAUGE,
	PROMETHEUS_HISTOGRAM,
	PROMETHEUS_GAUGE_HISTOGRAM,
	PROMETHEUS_SUMMARY,
	PROMETHEUS_INFO,
};

enum prometheus_comment_word {
	PROMETHEUS_REMARK, /* or what we can't read */
	PROMETHEUS_HELP,
	PROMETHEUS_TYPE,
	PROMETHEUS_UNIT,
	PROMETHEUS_EOF,
};

struct prometheus_comment {
	enum prometheus_comment_word word;
	struct str name;
	enum prometheus_type type;
	struct str text; /* HELP (escapes as they are), UNIT */
};

/* True if the line is blank or a comment, which *out is then. */
bool prometheus_scan_comment(
    struct str line, const struct prometheus_form *, struct prometheus_comment *out);
/* The text of HELP without escapes, in the arena if it has any. False without memory. */
bool prometheus_help_text(
    struct str raw, const struct prometheus_form *, struct arena *, struct str *out);

#endif
