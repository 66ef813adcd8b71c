/*
 * scotty: the client of scottyd for a terminal.
 *
 * Exit codes: 0 done, 1 it could not be done, 2 wrong usage.
 */
#include <stdio.h>
#include <stdlib.h>

#include "scotty/client.h"
#include "scotty/out.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

#define FIELD(name) offsetof(struct options, name)

static const struct flag flags[] = {
	{ "server", FLAG_TEXT, FIELD(server), "HOST:PORT",
	    "scottyd to ask ($SCOTTY_SERVER, else 127.0.0.1:6980)", 0 },
	{ "tokenFile", FLAG_TEXT, FIELD(token_file), "FILE",
	    "administrator's token, needed from other machines", 0 },
	{ "stateDir", FLAG_TEXT, FIELD(state_dir), "DIR",
	    "what scottyd keeps, for backup (/var/lib/scotty)", 0 },
	{ "json", FLAG_SWITCH, FIELD(json), NULL, "print JSON instead of a table", 0 },
	{ "version", FLAG_CHOICE, FIELD(what), NULL, "print the version", VERSION },
	{ "help", FLAG_CHOICE, FIELD(what), NULL, "print this", HELP },
	{ "h", FLAG_CHOICE, FIELD(what), NULL, NULL, HELP },
};

static void
print_help(void)
{
	const struct command *command;

	fputs("usage: scotty [FLAGS] COMMAND [ARGUMENT]\n\n", stdout);
	for (size_t i = 0; (command = command_at(i)) != NULL; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", command->name, command->words);
		printf("  %-28s %s\n", left, command->help);
	}
	putchar('\n');
	flag_help(flags, ARRAY_LEN(flags), stdout);
}

/* To standard error; servers put words of their own into errors. */
static void
complain(const struct err *err)
{
	struct buf text;

	buf_init(&text, 0);
	out_text(&text, str_of(err->text));
	fprintf(stderr, "scotty: %.*s\n", STR_ARG(buf_view(&text)));
	buf_fini(&text);
}

static int
exit_code(int rc, const struct err *err)
{
	if (rc == 0)
		return EXIT_OK;
	complain(err);
	return err->code == ERR_CONFIG ? EXIT_USAGE : EXIT_FAILED;
}

static int
run(const struct options *options, const struct flag_words *words, struct err *err)
{
	const struct command *command;
	struct client *client;
	size_t n = words->len - 1; /* without the command */
	int rc = -1;

	command = command_find(words->words[0]);
	if (command == NULL || n < command->least || n > command->most) {
		err_set(err, ERR_CONFIG,
		    command == NULL ? "no command '%s'; scotty -help lists them"
		                    : "%s: wrong number of arguments; see scotty -help",
		    words->words[0]);
		return -1;
	}
	client = client_new(options, err);
	if (client != NULL)
		rc = command->run(client, words->words + 1, n, err);
	client_free(client);
	if (rc == 0 && fflush(stdout) != 0) {
		err_set(err, ERR_IO, "the answer could not be written");
		rc = -1;
	}
	return rc;
}

int
main(int argc, char **argv)
{
	const char *server = getenv("SCOTTY_SERVER");
	struct options options = { .server = server == NULL ? "" : server,
		.state_dir = "/var/lib/scotty" };
	struct flag_words words;
	struct err err;

	if (flag_parse(flags, ARRAY_LEN(flags), &options, argc, argv, &words, &err) != 0)
		return exit_code(-1, &err);
	switch (options.what) {
	case HELP:
		print_help();
		return EXIT_OK;
	case VERSION:
		printf("scotty %s\n", SCOTTY_VERSION);
		return EXIT_OK;
	case RUN:
		break;
	}
	if (words.len == 0) {
		err_set(&err, ERR_CONFIG, "no command; scotty -help lists them");
		return exit_code(-1, &err);
	}
	return exit_code(run(&options, &words, &err), &err);
}
