/*
 * scottyd/daemon.h - the whole program as one object: made bottom up, taken down in reverse.
 *
 *   state > own > store > journal > resolver > pollers > fleet > writers > api
 *
 * Threads: main.
 */
#ifndef SCOTTY_SCOTTYD_DAEMON_H
#define SCOTTY_SCOTTYD_DAEMON_H

#include "base/err.h"
#include "scottyd/config.h"

struct daemon;

/* Starts everything; the API is ready when it returns. argv is shown at /proc/args. */
struct daemon *daemon_new(const struct config *, int argc, char **argv, struct err *);
/* Another configuration: what can't change while running is logged. The old one stays on error. */
int daemon_reload(struct daemon *, const struct config *, struct err *);
/* To be called now and then: lets go of what was kept for a while. */
void daemon_tend(struct daemon *);
/*
 * Ends all threads and connections, closes all files; at most 2 s. The memory of the store is left
 * to the system, as giving back millions of series one by one would take longer than all the rest.
 */
void daemon_stop(struct daemon *);

#endif
