/*
 * fault_io.h - makes calls that change files fail in programs linked with WRAP_IO: opening,
 * writing, syncing, cutting, renaming, deleting.
 */
#ifndef SCOTTY_TESTS_FAULT_IO_H
#define SCOTTY_TESTS_FAULT_IO_H

#include <stdbool.h>

/*
 * From the nth call of this thread from now on (1 = the next), count calls fail with errnum; 0 =
 * none. A write that fails with ENOSPC writes a part first.
 */
void fault_io(unsigned nth, unsigned count, int errnum);
/* True if one has failed. */
bool fault_io_happened(void);

#endif
