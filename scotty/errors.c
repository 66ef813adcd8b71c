/*
 * scotty errors: endpoints whose last poll failed, and why.
 */
#include "scotty/table.h"

int command_errors(struct client *, char **, size_t, struct err *);

static const struct column columns[] = {
	{ "HOST", "hostName", CELL_TEXT },
	{ "APPLICATION", "appName", CELL_TEXT },
	{ "SINCE", "timestamp", CELL_AGE },
	{ "ERROR", "error", CELL_TEXT },
};

int
command_errors(struct client *client, char **words, size_t n, struct err *err)
{
	(void)words;
	(void)n;
	return table_show(client, "/api/errors/", columns, ARRAY_LEN(columns), err);
}
