/*
 * scotty writers [pause|resume NAME]: how the writers fare; or has one wait, or go on.
 */
#include <stdio.h>

#include "scotty/table.h"

int command_writers(struct client *, char **, size_t, struct err *);

static const struct column columns[] = {
	{ "NAME", "name", CELL_TEXT },
	{ "WRITER", "writer", CELL_TEXT },
	{ "STATE", "state", CELL_TEXT },
	{ "LAG", "lagSeconds", CELL_SECONDS },
	{ "WRITTEN", "valuesWritten", CELL_TEXT },
	{ "LEFT", "valuesNotWritten", CELL_TEXT },
	{ "REFUSED", "refused", CELL_TEXT },
	{ "DEAD", "deadLettered", CELL_TEXT },
	{ "MISSED", "missed", CELL_TEXT },
	{ "RETRIES", "retries", CELL_TEXT },
	{ "LAST ERROR", "lastWriteError", CELL_TEXT },
};

/* POST /api/writers/NAME/VERB */
static int
tell(struct client *client, const char *verb, const char *name, struct err *err)
{
	struct buf path, answer;
	int rc = -1;

	buf_init(&path, 0);
	buf_init(&answer, 0);
	buf_puts(&path, "/api/writers/");
	client_path_add(&path, str_of(name));
	buf_printf(&path, "/%s", verb);
	buf_putc(&path, '\0');
	if (path.failed)
		err_nomem(err);
	else
		rc = client_post(client, path.p, &answer, err);
	buf_fini(&answer);
	buf_fini(&path);
	return rc;
}

int
command_writers(struct client *client, char **words, size_t n, struct err *err)
{
	if (n == 0)
		return table_show(client, "/api/writers", columns, ARRAY_LEN(columns), err);
	if (n == 2 && (strcmp(words[0], "pause") == 0 || strcmp(words[0], "resume") == 0))
		return tell(client, words[0], words[1], err);
	err_set(err, ERR_CONFIG, "writers wants nothing, pause NAME or resume NAME");
	return -1;
}
