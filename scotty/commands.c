#include "scotty/command.h"

#define COMMAND(name, words, least, most, help)                                                    \
	int command_##name(struct client *, char **, size_t, struct err *);
#include "scotty/commands.def"
#undef COMMAND

static const struct command commands[] = {
#define COMMAND(name, words, least, most, help) { #name, words, help, least, most, command_##name },
#include "scotty/commands.def"
#undef COMMAND
};

const struct command *
command_at(size_t i)
{
	return i < ARRAY_LEN(commands) ? &commands[i] : NULL;
}

const struct command *
command_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}
