/*
 * sink_text.h - what writers send, read back: the numbered samples in a body.
 *
 * It finds its fields by the bytes before them and trusts the rest; that a body is what the server
 * wants to have is for tests with real servers.
 */
#ifndef SCOTTY_TESTS_SINK_TEXT_H
#define SCOTTY_TESTS_SINK_TEXT_H

#include "tally.h"

enum sink_kind {
	SINK_INFLUX, /* upstream's schema */
	SINK_OPENTSDB,
	SINK_LMM, /* kafka's too */
	SINK_GRAPHITE,
	SINK_FILE,
	SINK_PROMETHEUS, /* only where snappy is */
	SINK_KIND_COUNT,
};
extern const char *const sink_kind_names[SINK_KIND_COUNT]; /* "influx", ... */

/* Adds all that whole records of the body say; returns how many of its bytes were read so. */
size_t sink_text_read(enum sink_kind, struct str body, struct tally *);

#endif
