/*
 * base/processors.h - how many threads can run at a time.
 */
#ifndef SCOTTY_BASE_PROCESSORS_H
#define SCOTTY_BASE_PROCESSORS_H

/* Processors that this process may run on, at least 1. */
unsigned processor_count(void);

#endif
