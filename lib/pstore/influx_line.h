/*
 * pstore/influx_line.h - InfluxDB's line protocol, piece by piece, for all who write it:
 *
 *   MEASUREMENT,tag=v,tag=v field=v,field=v TIME
 *
 * Every byte string can be written, and comes back as it was but for two things the protocol has no
 * way to say: line ends in a measurement or tag come back as a backslash and 'n' or 'r', and where
 * an odd run of backslashes stands before a space, comma, equals sign, or at the end of one, the
 * last of them comes back as '/'. NUL in a measurement or tag comes back as U+FFFD.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_PSTORE_INFLUX_LINE_H
#define SCOTTY_PSTORE_INFLUX_LINE_H

#include "base/buf.h"
#include "base/str.h"

/* A measurement, tag key, tag value or field key; not empty. */
void influx_name(struct buf *, struct str);
/* ",KEY=VALUE"; nothing if the value is empty, as that can't be said. */
void influx_tag(struct buf *, struct str key, struct str value);
/* A string as a field's value, with its quotes. */
void influx_string(struct buf *, struct str);

#endif
