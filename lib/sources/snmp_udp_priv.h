/*
 * sources/snmp_udp_priv.h - datagrams to and from agents: two sockets (IPv4, IPv6) for all agents
 * of one loop, so that a thousand agents take no more descriptors than one.
 *
 * An answer belongs to the peer whose request id it bears, and only if it comes from that peer's
 * address; ids hold 15 bits that nobody can guess. Everything else is dropped.
 *
 * Threads: all belongs to the loop's thread.
 */
#ifndef SCOTTY_SOURCES_SNMP_UDP_PRIV_H
#define SCOTTY_SOURCES_SNMP_UDP_PRIV_H

#include <netinet/in.h>

#include "base/loop.h"
#include "sources/resolver.h"
#include "sources/snmp_message_priv.h"

struct snmp_udp;

/* NULL with ERR_NOMEM. */
struct snmp_udp *snmp_udp_new(struct loop *, struct err *);
void snmp_udp_free(struct snmp_udp *); /* all peers must have left; NULL is fine */

/* One agent, embedded in its owner. */
struct snmp_peer {
	/*
	 * Set by the owner. The bytes are lent for the call and may be written to; all that is
	 * known of them is where they come from and that they bear the id of the request.
	 */
	void (*on_answer)(struct snmp_peer *, struct str bytes);
	/* the module's own from here on; zero at first */
	struct snmp_udp *udp; /* NULL: has not joined */
	uint32_t slot;
	int32_t id; /* of the request under way; 0 = none */
	socklen_t address_len;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} address;
};

#define SNMP_PEERS_MOST 65536

/* -1 with ERR_NOMEM, ERR_LIMIT (SNMP_PEERS_MOST have joined). */
int snmp_udp_join(struct snmp_udp *, struct snmp_peer *, struct err *);
void snmp_udp_leave(struct snmp_peer *); /* does nothing if it has not joined */

/* Where it is, from now on. -1 with ERR_IO: no socket of that family. */
int snmp_udp_set_address(struct snmp_peer *, const struct net_addr *, uint16_t port, struct err *);
/* Begins another request: its id. Answers to the one before are dropped. */
int32_t snmp_udp_begin(struct snmp_peer *);
/* Answers are dropped until the next request. */
void snmp_udp_end(struct snmp_peer *);
/*
 * Sends a request, or sends it again. A full socket counts as sent, as a lost packet does. -1 with
 * ERR_IO when the system knows it can't get there.
 */
int snmp_udp_send(struct snmp_peer *, const void *bytes, size_t len, struct err *);

#endif
