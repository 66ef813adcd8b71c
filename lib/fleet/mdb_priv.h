/*
 * fleet/mdb_priv.h - the machine list: upstream's format, read and watched.
 *
 * A JSON array of machines: Hostname (the identity), IpAddress, AwsMetadata.Region; keys in any
 * case, others ignored.
 */
#ifndef SCOTTY_FLEET_MDB_PRIV_H
#define SCOTTY_FLEET_MDB_PRIV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/loop.h"

#define MDB_BYTES_MAX (256u * 1024 * 1024)

struct machine {
	struct str host, ip, region; /* ip and region may be empty */
	size_t place;                /* in the file, from 0 */
};

struct machine_list {
	struct arena arena;       /* holds all text */
	struct machine *machines; /* sorted by host, hosts unique */
	size_t len;
	size_t skipped; /* elements that name no host to connect to, or one named already */
};

/* NULL with ERR_PROTO (text: what is wrong at which byte), ERR_LIMIT, ERR_NOMEM. */
struct machine_list *mdb_parse(struct str text, struct err *);
/* NULL with ERR_NOTFOUND (no such file), ERR_IO, or as mdb_parse. */
struct machine_list *mdb_load(const char *path, struct err *);
void machine_list_free(struct machine_list *); /* NULL is fine */

/*
 * Watches the file at path: inotify on its directory, and a look at its size and times every few
 * seconds for what inotify does not see (a directory made later, the target of a symbolic link,
 * network file systems). `changed` is called on the loop's thread a moment after a first change:
 * the file may be in the middle of being written then, and is called again if so.
 */
struct mdb_watch;
struct mdb_watch *mdb_watch_new(
    struct loop *, const char *path, void (*changed)(void *ctx), void *ctx, struct err *);
/* Asks for another call of `changed` after delay_ns; one that is due sooner will do. */
void mdb_watch_again(struct mdb_watch *, int64_t delay_ns);
/* True if the file was last written less than 1 s ago: it may be in the middle of it. */
bool mdb_watch_is_fresh(const struct mdb_watch *);
void mdb_watch_free(struct mdb_watch *); /* NULL is fine */

#endif
