/*
 * sources/snmp_v3_priv.h - polls of SNMP version 3, by net-snmp on one thread for all.
 *
 * net-snmp keeps users, keys and engine times in lists without locks, so one thread makes all calls
 * to it; it starts with the first agent and ends with the last. A poll runs on that thread from its
 * first request to its last, so that threads change twice a poll and not twice a request; its
 * session, and with it the socket, is open only so long.
 *
 * Threads: all functions belong to the poller's thread. Locks taken: snmp, loop.
 */
#ifndef SCOTTY_SOURCES_SNMP_V3_PRIV_H
#define SCOTTY_SOURCES_SNMP_V3_PRIV_H

#include "base/loop.h"
#include "sources/resolver.h"
#include "sources/snmp_gather_priv.h"

struct snmp_v3;

struct snmp_v3_events {
	void *ctx;
	/* On the poller's thread; at most once a poll, before on_done. */
	void (*on_connected)(void *ctx);
	/*
	 * Exactly once a poll unless cancelled: NULL, or what went wrong. What was gathered is
	 * lent until the next start, cancel or close.
	 */
	void (*on_done)(void *ctx, struct snmp_gather *, const struct err *);
};

/* NULL with ERR_NOMEM, ERR_IO, or ERR_CONFIG if net-snmp lacks what conf asks for. */
struct snmp_v3 *snmp_v3_open(
    struct loop *, struct snmp_conf *, const struct snmp_v3_events *, struct err *);
void snmp_v3_close(struct snmp_v3 *); /* no poll is under way; NULL is fine */

/* max_bytes bounds what is gathered. on_done with ERR_NOMEM may be called inside. */
void snmp_v3_start(struct snmp_v3 *, const struct net_addr *, uint16_t port, uint64_t max_bytes);
/* Ends the poll under way, if any: nothing is called any more. */
void snmp_v3_cancel(struct snmp_v3 *);

#endif
