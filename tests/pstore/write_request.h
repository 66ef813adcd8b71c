/*
 * write_request.h - reads a WriteRequest of Prometheus' remote write, strictly.
 */
#ifndef SCOTTY_TESTS_WRITE_REQUEST_H
#define SCOTTY_TESTS_WRITE_REQUEST_H

#include "base/buf.h"

/*
 * Appends a line "NAME=VALUE,NAME=VALUE NUMBER MILLISECONDS" per series. False if the bytes are not
 * of that form; or a series has no name or not one sample, labels not sorted, twice, empty, or of
 * names that may not be.
 */
bool write_request_read(struct str bytes, struct buf *out);

#endif
