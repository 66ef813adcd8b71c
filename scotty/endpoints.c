/*
 * scotty endpoints: all endpoints and how they fare.
 */
#include "scotty/table.h"

int command_endpoints(struct client *, char **, size_t, struct err *);

static const struct column columns[] = {
	{ "HOST", "hostName", CELL_TEXT },
	{ "APPLICATION", "appName", CELL_TEXT },
	{ "SOURCE", "source", CELL_TEXT },
	{ "ADDRESS", "address", CELL_TEXT },
	{ "PORT", "port", CELL_TEXT },
	{ "ORIGIN", "origin", CELL_TEXT },
	{ "POLLED", "lastPoll", CELL_AGE },
	{ "TOOK", "pollSeconds", CELL_SECONDS },
	{ "METRICS", "metricCount", CELL_TEXT },
	{ "STATE", "state", CELL_TEXT },
	{ "ERROR", "error", CELL_TEXT },
};

int
command_endpoints(struct client *client, char **words, size_t n, struct err *err)
{
	(void)words;
	(void)n;
	return table_show(client, "/api/endpoints", columns, ARRAY_LEN(columns), err);
}
