/*
 * fleet/mdb_priv.h - the machine list, in upstream's format; as discoverer `mdb` it
 * yields the health agents of its machines.
 *
 * A JSON array of machines: Hostname (the identity), IpAddress, AwsMetadata.Region; keys in any
 * case, others ignored.
 */
#ifndef SCOTTY_FLEET_MDB_PRIV_H
#define SCOTTY_FLEET_MDB_PRIV_H

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

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
void machine_list_free(struct machine_list *); /* NULL is fine */

#endif
