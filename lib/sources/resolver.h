/*
 * sources/resolver.h - host names to addresses, off the polling threads.
 *
 * getaddrinfo blocks for as long as name servers like, so a few threads of the resolver's own call
 * it and post the answer to the asker's loop. Answers are cached: for `lifetime` they are given at
 * once; after it the old answer is still given at once and a new lookup runs behind it, so a name
 * server that dies changes nothing for names known already (the last good address stays). A failed
 * first lookup is reported and tried again at the next ask, not before a short while. First lookups
 * go before such refreshes. Both times count from when the lookup was asked for, by the asker's
 * loop.
 *
 * Numeric addresses never come here: resolver_numeric tells.
 *
 * Threads: resolver_new/free main; ask and cancel from any loop's thread. Locks taken: resolver,
 * loop, log.
 */
#ifndef SCOTTY_SOURCES_RESOLVER_H
#define SCOTTY_SOURCES_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/loop.h"
#include "base/str.h"

struct resolver;

struct net_addr {           /* IPv4 or IPv6 address without a port */
	sa_family_t family; /* AF_INET or AF_INET6 */
	uint8_t bytes[16];
};

struct resolver_conf {
	unsigned threads;    /* lookups at once; 0 = 8 */
	int64_t lifetime_ns; /* 0 = 60 s */
	int64_t retry_ns;    /* after a failure; 0 = 5 s */
	size_t max_names;    /* names kept; least recently asked go first. 0 = 100,000 */
	/*
	 * The lookup itself, called on a resolver thread; NULL = getaddrinfo. 0, or -1 with err.
	 * *out comes with the last good address (family AF_UNSPEC: none yet), which stays the
	 * answer as long as it is one of several. Tests put their own here.
	 */
	int (*lookup)(void *ctx, const char *name, struct net_addr *out, struct err *);
	void *ctx;
};

struct resolver *resolver_new(const struct resolver_conf *, struct err *);
/*
 * All asks must be done or cancelled. NULL is fine. Does not wait for lookups that hang: such a
 * thread is left to end on its own, and calls nothing of ours once its lookup has returned.
 */
void resolver_free(struct resolver *);

/* Embedded in the asker; fn is called exactly once, in a later turn of loop, unless cancelled. */
struct resolver_ask {
	void (*fn)(struct resolver_ask *, const struct net_addr *, const struct err *);
	struct loop *loop; /* set by the asker, as fn */
	/* the resolver's own from here on */
	struct loop_task task;
	struct resolver_ask *next;
	struct net_addr addr;
	struct err err;
	bool waiting, answered;
	void *name;
};

/*
 * A known name is answered at once: true and *addr. Otherwise false: the ask is queued and fn will
 * be called with the address or with an error (exactly one of the two non-NULL).
 */
bool resolver_get(struct resolver *, struct str name, struct resolver_ask *, struct net_addr *addr);
/* fn is not called any more. Does nothing when it was already. The asker's thread. */
void resolver_cancel(struct resolver *, struct resolver_ask *);

/* True and the address when text is a numeric IPv4 or IPv6 address (brackets allowed). */
bool resolver_numeric(struct str text, struct net_addr *addr);
/* Text form without brackets, to out[INET6_ADDRSTRLEN]. */
void net_addr_text(const struct net_addr *, char *out);
bool net_addr_equal(const struct net_addr *, const struct net_addr *);
/* 127/8, ::1, mapped too; 0.0.0.0 and ::, which connect to loopback as well. */
bool net_addr_is_loopback(const struct net_addr *);
bool net_addr_is_link_local(const struct net_addr *); /* 169.254/16, fe80::/10, mapped too */

#endif
