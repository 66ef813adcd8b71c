/*
 * The machine list: whatever the bytes, a list is sorted, its hosts are unique and can be names.
 */
#include <assert.h>
#include <stdint.h>

#include "fleet/mdb_priv.h"
#include "fleet/target_conf_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_machine(const struct machine_list *list, size_t i)
{
	const struct machine *machine = &list->machines[i];

	assert(name_fault(machine->host, NAME_IDENTITY) == NULL);
	assert(machine->ip.len == 0 || name_fault(machine->ip, NAME_OTHER) == NULL);
	assert(machine->region.len == 0 || name_fault(machine->region, NAME_OTHER) == NULL);
	assert(machine->ip.len > 0 || machine->host.p[0] != '*');
	if (i > 0)
		assert(str_cmp(machine[-1].host, machine->host) < 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err;
	struct machine_list *list = mdb_parse((struct str){ (const char *)data, size }, &err);

	if (list == NULL) {
		assert(err.code == ERR_PROTO && err.text[0] != '\0');
		return 0;
	}
	for (size_t i = 0; i < list->len; i++)
		check_machine(list, i);
	machine_list_free(list);
	return 0;
}
