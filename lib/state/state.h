/*
 * state/state.h - the state directory: what is kept over restarts.
 *
 *	DIR/lock	the process id of the scottyd that uses the directory; locked by it (flock),
 *			so that a file that was left behind is no obstacle
 *	DIR/state.db	SQLite: the registry, settings, positions of writers. Mode 0600, as options
 *			of endpoints may hold secrets
 *
 * A damaged state.db is renamed with a date and a new one begun. One that can't be written is read;
 * one that can't be read is tried again every 10 s when something wants it, so that all goes on
 * when the disk is well. The registry of versions that had a registry.db is taken over once.
 *
 * Threads: any, one at a time. Locks taken: state, and what cursors take.
 */
#ifndef SCOTTY_STATE_STATE_H
#define SCOTTY_STATE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "store/cursor.h"

struct state;

/*
 * Takes the directory, which is made with mode 0700 if its parent is there. What keeps state.db
 * from being used is logged, a line; then calls that need it fail. NULL with ERR_EXISTS (another
 * scottyd has it; the text has its process id), ERR_DENIED (written by a newer scottyd; nothing was
 * touched), ERR_IO (no directory and none can be made), ERR_NOMEM.
 */
struct state *state_open(const char *dir, struct err *);
void state_close(struct state *); /* NULL is fine */
const char *state_dir(const struct state *);
/* False: the database can't be read for now, which was logged. */
bool state_can_read(struct state *);

/* What was registered over the API. All: -1 with ERR_IO, ERR_TIMEOUT, ERR_NOMEM. */

/* Calls each for every row, which must not call state_*. */
int state_registry_each(struct state *,
    void (*each)(void *ctx, struct str host, struct str app, struct str body, bool from_loopback),
    void *ctx, struct err *);
/* Adds or replaces; on the disk when it returns. */
int state_registry_put(struct state *, struct str host, struct str app, struct str body,
    bool from_loopback, struct err *);
int state_registry_delete(struct state *, struct str host, struct str app, struct err *);

/* Settings: texts by name. */

/* Appends the value; nothing if it was never set. */
int state_setting_get(struct state *, const char *name, struct buf *out, struct err *);
/* On the disk when it returns. */
int state_setting_set(struct state *, const char *name, struct str value, struct err *);

/* Positions of writers. */

/*
 * Has the cursor go on where the writer of that name was; streams without a position are read from
 * the oldest row. Before the first read. Positions of before are kept on failure.
 */
int state_positions_load(struct state *, const char *writer, struct cursor *, struct err *);
/*
 * Keeps where the cursor is committed, as far as that changed since the last time, in one
 * transaction; it is there after a crash of the process, the last ones perhaps not after one of the
 * machine. What could not be kept is tried again by the next call. now_ns: of the wall clock.
 */
int state_positions_save(
    struct state *, const char *writer, struct cursor *, int64_t now_ns, struct err *);
/*
 * Tells which writers there are. Positions of others are kept for grace_ns from the first call that
 * does not name them, which is logged, and then dropped. Also drops what was not saved for 30 days.
 */
int state_writers_set(struct state *, const char *const *names, size_t n, int64_t now_ns,
    int64_t grace_ns, struct err *);

/* For tools; neither changes anything, and the scottyd that uses the directory may run. */

/*
 * Appends the database of the directory, as of this moment, as one file. False in *there: it has
 * none.
 */
int state_copy(const char *dir, struct buf *out, bool *there, struct err *);
/* Appends what is wrong with the database, a line each; nothing: it is good. */
int state_check(const char *dir, struct buf *out, bool *there, struct err *);

#endif
