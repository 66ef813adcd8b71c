/*
 * base/gzipper.h - makes one gzip member (RFC 1952) of what it is given a piece at a time, and
 * unpacks raw deflate: with ISA-L where that is installed (gzipper_isal.c), which is some seven
 * times as fast, else with zlib (gzipper_zlib.c).
 *
 * Threads: a gzipper belongs to its owner.
 */
#ifndef SCOTTY_BASE_GZIPPER_H
#define SCOTTY_BASE_GZIPPER_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct gzipper; /* up to 270 KiB */

/* NULL when out of memory. */
struct gzipper *gzipper_new(void);
void gzipper_free(struct gzipper *); /* NULL is fine */
/*
 * Appends to out what in adds to the member, which may be nothing yet; all that is left with the
 * last. False when out of memory.
 */
bool gzipper_add(struct gzipper *, struct str in, bool last, struct buf *out);

/*
 * Raw deflate (RFC 1951) back, all at once, to out[0..bytes). -1 with ERR_PROTO: it does not yield
 * exactly so many, or does not end there; with ERR_NOMEM. Any thread.
 */
int inflate_raw(struct str in, void *out, size_t bytes, struct err *err);

#endif
