/*
 * sources/snmp_oid.h - object identifiers: numbers, their order, their text.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_SOURCES_SNMP_OID_H
#define SCOTTY_SOURCES_SNMP_OID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define SNMP_OID_MOST       128                  /* numbers, RFC 3416 section 4.1 */
#define SNMP_OID_TEXT_BYTES (SNMP_OID_MOST * 11) /* "4294967295." each */

struct snmp_oid { /* owns nothing */
	const uint32_t *ids;
	size_t len;
};

/* Storage for one. */
struct snmp_oid_room {
	size_t len;
	uint32_t ids[SNMP_OID_MOST];
};

static inline struct snmp_oid
snmp_oid_of(const struct snmp_oid_room *room)
{
	return (struct snmp_oid){ room->ids, room->len };
}

/* Numeric order, number by number; a prefix comes before what it begins. */
int snmp_oid_cmp(struct snmp_oid, struct snmp_oid);
/* True if oid is root or lies under it. */
bool snmp_oid_is_under(struct snmp_oid oid, struct snmp_oid root);
/* oid must not be longer than SNMP_OID_MOST. */
void snmp_oid_keep(struct snmp_oid_room *, struct snmp_oid oid);
/* "1.3.6.1" or ".1.3.6.1", two numbers at least. False if not of that form or too long. */
bool snmp_oid_parse(struct str, struct snmp_oid_room *out);
/* "1.3.6.1" to out[SNMP_OID_TEXT_BYTES], no NUL; returns the length. */
size_t snmp_oid_text(struct snmp_oid, char *out);

#endif
