/* In place of snmp_v3.c where net-snmp is not there to build with. */
#include "sources/snmp_v3_priv.h"

#include <assert.h>

struct snmp_v3 *
snmp_v3_open(
    struct loop *loop, struct snmp_conf *conf, const struct snmp_v3_events *events, struct err *err)
{
	(void)loop;
	(void)conf;
	(void)events;
	err_set(err, ERR_CONFIG, "built without net-snmp, so without version 3");
	return NULL;
}

void
snmp_v3_close(struct snmp_v3 *v3)
{
	assert(v3 == NULL);
}

void
snmp_v3_start(struct snmp_v3 *v3, const struct net_addr *addr, uint16_t port, uint64_t max_bytes)
{
	(void)addr;
	(void)port;
	(void)max_bytes;
	assert(v3 != NULL);
}

void
snmp_v3_cancel(struct snmp_v3 *v3)
{
	assert(v3 != NULL);
}
