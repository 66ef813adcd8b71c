/*
 * fault.h - makes allocations fail in programs linked with WRAP_MALLOC.
 */
#ifndef SCOTTY_TESTS_FAULT_H
#define SCOTTY_TESTS_FAULT_H

#include <stdbool.h>

/* The nth allocation of this thread from now on fails (1 = the next), once; 0 = none. */
void fault_malloc(unsigned nth);
/* True if the failure asked for has happened: a loop over n ends when it did not. */
bool fault_happened(void);
/* Open file descriptors of this process: a fixture compares before and after. */
int fault_open_fds(void);

#endif
