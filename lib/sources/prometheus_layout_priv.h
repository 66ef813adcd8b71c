/*
 * sources/prometheus_layout_priv.h - reading Prometheus' formats by a layout: an answer is learned
 * once, and of those that follow only the numbers are read.
 */
#ifndef SCOTTY_SOURCES_PROMETHEUS_LAYOUT_PRIV_H
#define SCOTTY_SOURCES_PROMETHEUS_LAYOUT_PRIV_H

#include "sources/layout_memory_priv.h"
#include "sources/prometheus_parse_priv.h"

enum prometheus_match {
	PROMETHEUS_MATCH, /* the batch is filled, its layout_id set */
	PROMETHEUS_OTHER, /* another answer: the batch is as it was, but for its arena */
	PROMETHEUS_LOST,  /* the poll: err says why */
};

/* The batch is empty, and holds a reference to a layout that matches. doc as prometheus_parse. */
enum prometheus_match prometheus_match(struct layout *, const char *doc, size_t len,
    const struct prometheus_form *, struct batch *, struct err *);

/*
 * The layout of a document that was parsed to the batch, with these notes; none of it was bad. A
 * reference is the caller's. NULL if it is not worth it, or without budget or memory: samples of a
 * histogram that do not stand together, too many time stamps, no line feed at the end.
 */
struct layout *prometheus_learn(struct tricorder_layouts *, struct str kin, const char *doc,
    size_t len, const struct prometheus_notes *, const struct batch *);

/*
 * As prometheus_parse, with the same result, but for batch.layout_id and for how much of the arena
 * is needed: a batch whose layout is known has it, one with bad metrics never.
 */
int prometheus_read(struct layout_memory *, const char *doc, size_t len,
    const struct prometheus_form *, struct batch *, struct err *);

#endif
