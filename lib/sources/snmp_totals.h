/*
 * sources/snmp_totals.h - how much SNMP the process speaks: own metrics under /collector/snmp.
 *
 * Sources count by themselves and add what a poll took when it ends, so agents by the thousand cost
 * no contention.
 *
 * Threads: any.
 */
#ifndef SCOTTY_SOURCES_SNMP_TOTALS_H
#define SCOTTY_SOURCES_SNMP_TOTALS_H

#include <stdatomic.h>
#include <stdint.h>

#include "messages/own.h"

enum snmp_total {
	SNMP_REQUESTS, /* sent for the first time */
	SNMP_RETRIES,  /* sent again after silence */
	SNMP_TIMEOUTS, /* given up */
	SNMP_SENT_BYTES,
	SNMP_RECEIVED_BYTES, /* of answers that bear the id of a request under way */
	SNMP_TOTAL_COUNT
};

struct snmp_totals { /* zero at first */
	atomic_uint_fast64_t all[SNMP_TOTAL_COUNT];
	enum snmp_total registered; /* so many are */
};

/* Adds what a poll counted, and sets that to 0. */
void snmp_totals_add(struct snmp_totals *, uint64_t counts[SNMP_TOTAL_COUNT]);

/* Registers the metrics, until snmp_totals_remove. -1 with ERR_NOMEM, ERR_EXISTS. */
int snmp_totals_register(struct snmp_totals *, struct own *, struct err *);
void snmp_totals_remove(struct snmp_totals *, struct own *); /* half-registered is fine */

#endif
