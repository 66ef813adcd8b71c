#include "sources/snmp_totals.h"

static struct value
read_total(void *ctx, struct arena *arena)
{
	(void)arena;
	return (struct value){ .u = atomic_load_explicit(
		                   (atomic_uint_fast64_t *)ctx, memory_order_relaxed) };
}

static const struct own_metric rows[SNMP_TOTAL_COUNT] = {
	[SNMP_REQUESTS] = { "/collector/snmp/requests",
	    "Requests sent to SNMP agents, retries apart", UNIT_NONE, KIND_UINT64, 0, read_total },
	[SNMP_RETRIES] = { "/collector/snmp/retries",
	    "Requests sent again, as the SNMP agent was silent", UNIT_NONE, KIND_UINT64, 0,
	    read_total },
	[SNMP_TIMEOUTS] = { "/collector/snmp/timeouts",
	    "Requests that no SNMP agent answered, retries included", UNIT_NONE, KIND_UINT64, 0,
	    read_total },
	[SNMP_SENT_BYTES] = { "/collector/snmp/sentBytes", "Bytes sent to SNMP agents", UNIT_BYTES,
	    KIND_UINT64, 0, read_total },
	[SNMP_RECEIVED_BYTES] = { "/collector/snmp/receivedBytes",
	    "Bytes that SNMP agents answered", UNIT_BYTES, KIND_UINT64, 0, read_total },
};

void
snmp_totals_add(struct snmp_totals *totals, uint64_t counts[SNMP_TOTAL_COUNT])
{
	for (size_t i = 0; i < SNMP_TOTAL_COUNT; i++) {
		if (counts[i] > 0)
			atomic_fetch_add_explicit(&totals->all[i], counts[i], memory_order_relaxed);
		counts[i] = 0;
	}
}

int
snmp_totals_register(struct snmp_totals *totals, struct own *own, struct err *err)
{
	for (; totals->registered < SNMP_TOTAL_COUNT; totals->registered++) {
		enum snmp_total i = totals->registered;

		if (own_add(own, &rows[i], 1, &totals->all[i], err) != 0)
			return -1;
	}
	return 0;
}

void
snmp_totals_remove(struct snmp_totals *totals, struct own *own)
{
	while (totals->registered > 0) {
		enum snmp_total i = --totals->registered;

		own_remove(own, &rows[i], &totals->all[i]);
	}
}
