/*
 * scotty/command.h - what the client was asked to do.
 *
 * Threads: one.
 */
#ifndef SCOTTY_SCOTTY_COMMAND_H
#define SCOTTY_SCOTTY_COMMAND_H

#include <stdbool.h>

#include "base/err.h"
#include "base/flag.h"
#include "base/str.h"

/* Flags, common to all commands. Text is lent from argv. */
struct options {
	const char *server;     /* HOST:PORT */
	const char *token_file; /* NULL = none */
	const char *state_dir;  /* of the scottyd, for what works on files */
	bool json;
	enum { RUN, VERSION, HELP } what;
};

struct client;
struct command {
	const char *name, *words, *help;
	size_t least, most; /* words it takes */
	/* 0, or -1 with err; ERR_CONFIG: used in the wrong way. */
	int (*run)(struct client *, char **words, size_t n, struct err *);
};

/* NULL if there is none of that name. */
const struct command *command_find(const char *name);
/* All of them, i = 0, 1, ...; NULL at the end. */
const struct command *command_at(size_t i);

#endif
