/*
 * pstore/writer_own_priv.h - a writer's own metrics, /writer/NAME/...
 *
 * Threads: any, one at a time. Locks taken: self.
 */
#ifndef SCOTTY_PSTORE_WRITER_OWN_PRIV_H
#define SCOTTY_PSTORE_WRITER_OWN_PRIV_H

#include "pstore/pump.h"

struct writer_dists; /* of all names there ever were: a distribution lives as long as the registry
                      */

struct writer_own {
	struct own_metric *rows; /* NULL: none are registered */
	struct pump *pump;
};

/*
 * Registers them, and has the pump fill the distributions of its name. own may be NULL. What can't
 * be registered is logged. Before pump_start; the pump must outlive it.
 */
void writer_own_add(struct writer_own *, struct own *, struct writer_dists **, struct pump *);
void writer_own_remove(struct writer_own *, struct own *);
void writer_dists_free(struct writer_dists *); /* after the last own_collect */

#endif
