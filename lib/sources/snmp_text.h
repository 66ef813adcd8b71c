/*
 * sources/snmp_text.h - octets and object identifiers of agents as text.
 *
 * What agents send may hold anything; what comes out is UTF-8.
 *
 * Threads: pure functions on the caller's data.
 */
#ifndef SCOTTY_SOURCES_SNMP_TEXT_H
#define SCOTTY_SOURCES_SNMP_TEXT_H

#include "base/arena.h"
#include "base/buf.h"
#include "sources/snmp_names.h"

/* True and *out, from the arena, or false when that has no more. */
bool snmp_text_show(struct arena *, struct str octets, enum snmp_show, struct str *out);
bool snmp_text_oid(struct arena *, struct snmp_oid, struct str *out);
/*
 * As one component of a path: no '/', no control characters, at most 200 bytes, no space at the
 * ends. Empty if nothing is left.
 */
bool snmp_text_component(struct arena *, struct str octets, struct str *out);
/* "HCInOctets" as "hc-in-octets": a word begins with the last of several capitals. */
void snmp_text_kebab(struct buf *out, struct str symbol);

#endif
