/*
 * fleet/registry_db_priv.h - endpoints registered over the API, in SQLite under the state
 * directory.
 *
 * STATE_DIR/registry.db, WAL, synchronous=FULL: what a PUT was told is kept is on disk. Mode 0600,
 * as options may hold secrets. A damaged file is renamed with a date and a new one begun.
 *
 * Threads: one at a time (lock `registry`).
 */
#ifndef SCOTTY_FLEET_REGISTRY_DB_PRIV_H
#define SCOTTY_FLEET_REGISTRY_DB_PRIV_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct registry_db;

/*
 * Opens or makes the file. A damaged one is set aside, which is logged; NULL with ERR_IO if none
 * can be had (no directory, no permission, written by a newer scottyd).
 */
struct registry_db *registry_db_open(const char *state_dir, struct err *);
void registry_db_close(struct registry_db *); /* NULL is fine */

/* Calls each for every row. -1 with ERR_IO. */
int registry_db_each(struct registry_db *,
    void (*each)(void *ctx, struct str host, struct str app, struct str body, bool from_loopback),
    void *ctx, struct err *);
/* Adds or replaces; on disk when it returns. -1 with ERR_IO. */
int registry_db_put(struct registry_db *, struct str host, struct str app, struct str body,
    bool from_loopback, struct err *);
int registry_db_delete(struct registry_db *, struct str host, struct str app, struct err *);

#endif
