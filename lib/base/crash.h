/*
 * base/crash.h - labelled steps at which a test may have the process die, as if by kill -9, to see
 * what a restart makes of it. Nothing but in builds with SCOTTY_CRASH_POINTS.
 */
#ifndef SCOTTY_BASE_CRASH_H
#define SCOTTY_BASE_CRASH_H

#ifdef SCOTTY_CRASH_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Dies if the environment's SCOTTY_CRASH is "LABEL" */
static inline void
crash_point(const char *label)
{
	const char *wanted = getenv("SCOTTY_CRASH");

	if (wanted != NULL && strcmp(wanted, label) == 0)
		raise(SIGKILL);
}

#define CRASH_POINT(label) crash_point(label)

#else

#define CRASH_POINT(label) ((void)0)

#endif

#endif
