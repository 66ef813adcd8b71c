/*
 * base/crash.h - labelled steps at which a test may have the process die, as if by kill -9, to see
 * what a restart makes of it. Nothing but in builds with SCOTTY_CRASH_POINTS.
 */
#ifndef SCOTTY_BASE_CRASH_H
#define SCOTTY_BASE_CRASH_H

#ifdef SCOTTY_CRASH_POINTS

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Dies if the environment's SCOTTY_CRASH is "N LABEL", when it is there for the Nth time. */
static inline void
crash_point(const char *label)
{
	static atomic_int count; /* of this file's; the label is in one file */
	const char *wanted = getenv("SCOTTY_CRASH");
	char *wanted_label;
	long n;

	if (wanted == NULL)
		return;
	n = strtol(wanted, &wanted_label, 10);
	if (*wanted_label == ' ' && strcmp(wanted_label + 1, label) == 0 &&
	    atomic_fetch_add(&count, 1) + 1 == n)
		raise(SIGKILL);
}

#define CRASH_POINT(label) crash_point(label)

#else

#define CRASH_POINT(label) ((void)0)

#endif

#endif
