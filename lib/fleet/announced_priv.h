/*
 * fleet/announced_priv.h - what a machine's health agent announces under /health-checks.
 *
 * An application NAME counts when /health-checks/NAME/has-tricorder-metrics is true and
 * .../port-number is an integer kind; .../use-tls is optional. All else there is ignored.
 */
#ifndef SCOTTY_FLEET_ANNOUNCED_PRIV_H
#define SCOTTY_FLEET_ANNOUNCED_PRIV_H

#include "base/arena.h"
#include "messages/batch.h"

#define HEALTH_AGENT        "health agent"
#define HEALTH_AGENT_PORT   6910
#define ANNOUNCED_COUNT_MAX 1000 /* per machine: what a sane host runs, tenfold */

struct announced {
	struct str name;
	uint16_t port;
	bool tls;
};

/*
 * Announcements of one batch in its order, to an array in arena; text is copied there. -1 when out
 * of memory. What exceeds ANNOUNCED_COUNT_MAX is left out.
 */
int announced_read(const struct batch *, struct arena *, struct announced **out, size_t *n);

#endif
