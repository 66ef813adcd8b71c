/*
 * pstore/handover.h - bytes to a server that reads them from a TCP connection and never answers.
 *
 * Each call has a connection of its own, which ends our side after the last byte and waits until
 * the server ends its side: a server does that when it has read all there is. So success means that
 * the program at the other end, not only its kernel, has taken every byte; one that dies, or is cut
 * off, with bytes unread, gives a reset or a silence instead. What the server does with what it
 * read cannot be known.
 *
 * Threads: any. Names are looked up on a thread of their own, so that none has to wait for a name
 * server longer than it likes. Locks taken: lookup.
 */
#ifndef SCOTTY_PSTORE_HANDOVER_H
#define SCOTTY_PSTORE_HANDOVER_H

#include <stdatomic.h>

#include "base/err.h"
#include "base/str.h"

/*
 * host is a name or a numeric address, port a number; both lent for the call. All of it within
 * timeout_ns, and no longer than about half a second once *stop is set (stop may be NULL). -1 with
 * ERR_IO, ERR_TIMEOUT, ERR_NOMEM: then any part of the bytes may have been read.
 */
int handover(const char *host, const char *port, struct str bytes, int64_t timeout_ns,
    const atomic_bool *stop, struct err *);

#endif
