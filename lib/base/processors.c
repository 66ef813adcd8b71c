#include "base/processors.h"

#include <sched.h>

unsigned
processor_count(void)
{
	cpu_set_t set;

	/* Fails on machines with more than the 1024 that cpu_set_t holds. */
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return CPU_SETSIZE;
	return (unsigned)CPU_COUNT(&set);
}
