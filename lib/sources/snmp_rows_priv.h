/*
 * sources/snmp_rows_priv.h - from varbinds to metrics: paths, tags, kinds, text.
 *
 * A poll's varbinds are kept until all are there, as the names of rows (ifName, say) come with
 * them: then "1.3.6.1.2.1.2.2.1.10.3" becomes /snmp/if/eth0/in-octets.
 *
 * Threads: all belongs to its owner; nothing blocks.
 */
#ifndef SCOTTY_SOURCES_SNMP_ROWS_PRIV_H
#define SCOTTY_SOURCES_SNMP_ROWS_PRIV_H

#include "messages/batch.h"
#include "sources/snmp_message_priv.h"
#include "sources/snmp_names.h"

/* Varbinds kept, and all that they point to, in an arena. */
struct snmp_rows {
	struct arena *arena; /* lent */
	struct snmp_varbind *all;
	uint32_t *runs; /* of each: where it goes */
	size_t len, cap;
};

void snmp_rows_init(struct snmp_rows *, struct arena *);
/* Copies it. run: see struct snmp_walk. False when the arena has no more. */
bool snmp_rows_keep(struct snmp_rows *, const struct snmp_varbind *, uint32_t run);
/* Puts run after run, in each as they came; no more are kept after it. False when the arena has no
 * more. */
bool snmp_rows_sort(struct snmp_rows *, uint32_t run_count);

/*
 * Adds all of rows as metrics, their rows named by what rows and lookups hold. What the batch
 * points to is in its arena or in names, never in rows or lookups. *nameless: how many rows have no
 * name, though their table has names. -1 with ERR_NOMEM, ERR_LIMIT.
 */
int snmp_rows_to_batch(const struct snmp_rows *rows, const struct snmp_rows *lookups,
    const struct snmp_names *, struct batch *, size_t *nameless, struct err *);

/* The largest single piece of memory asked for: octets of a whole datagram, as hexadecimal. */
#define SNMP_LARGEST_BLOCK (3 * 65536)

/* A metric's value, of the kind that goes with the type. False when the arena has no more. */
bool snmp_varbind_value(
    struct arena *, const struct snmp_varbind *, enum snmp_show, struct value *out);
/* False if the number is none of its type. */
bool snmp_varbind_is_sound(const struct snmp_varbind *);

#endif
