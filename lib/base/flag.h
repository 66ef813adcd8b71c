/*
 * base/flag.h - command lines as Go's: -x v, -x=v, --x v, --x=v; a switch is -x or -x=true.
 *
 * A program has a table of its flags, whose values go to the fields of one struct.
 *
 * Threads: main.
 */
#ifndef SCOTTY_BASE_FLAG_H
#define SCOTTY_BASE_FLAG_H

#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

enum flag_type {
	FLAG_TEXT,     /* const char *, lent from argv */
	FLAG_INT,      /* int64_t, not negative */
	FLAG_DURATION, /* int64_t nanoseconds above 0, written as "1m30s" */
	FLAG_SWITCH,   /* bool */
	FLAG_CHOICE,   /* an enum, which becomes `choice` when the switch is on */
	FLAG_IGNORED,  /* a switch that does nothing */
	FLAG_ABSENT,   /* refused, with `help` as the reason */
};

struct flag {
	const char *name;
	enum flag_type type;
	size_t offset;     /* of the field in the struct */
	const char *value; /* how help shows it; NULL = a switch */
	const char *help;  /* NULL = not shown */
	int choice;
};

/* Words of a command line that are no flags, in their order. */
struct flag_words {
	char **words; /* within argv */
	size_t len;
};

/*
 * Puts the values of argv[1..argc) into the fields of the struct that starts at fields; what is not
 * given stays as it is. Flags and other words may be mixed; after "--" come words only. Without
 * words (NULL) only flags are allowed. argv is put into another order. -1 with ERR_CONFIG: "flag
 * -foo: not known; -help lists them".
 */
int flag_parse(const struct flag *table, size_t len, void *fields, int argc, char **argv,
    struct flag_words *words, struct err *);
/* A line for each. */
void flag_help(const struct flag *table, size_t len, FILE *);

#endif
