/*
 * scotty latest [PATH]: newest values of all endpoints.
 */
#include "scotty/table.h"

int command_latest(struct client *, char **, size_t, struct err *);

static const struct column columns[] = {
	{ "HOST", "hostName", CELL_TEXT },
	{ "APPLICATION", "appName", CELL_TEXT },
	{ "PATH", "path", CELL_TEXT },
	{ "AGE", "timestamp", CELL_AGE },
	{ "UNIT", "unit", CELL_TEXT },
	{ "VALUE", "value", CELL_VALUE },
};

int
command_latest(struct client *client, char **words, size_t n, struct err *err)
{
	struct str rest = n > 0 ? str_of(words[0]) : STR_EMPTY, component;
	struct buf path;
	int rc = -1;

	buf_init(&path, 0);
	buf_puts(&path, "/api/latest");
	while (str_split(&rest, '/', &component)) {
		if (component.len == 0)
			continue;
		buf_putc(&path, '/');
		client_path_add(&path, component);
	}
	/* Upstream's URL of everything ends in a slash. */
	if (path.len == strlen("/api/latest"))
		buf_putc(&path, '/');
	buf_putc(&path, '\0');
	if (path.failed)
		err_nomem(err);
	else
		rc = table_show(client, path.p, columns, ARRAY_LEN(columns), err);
	buf_fini(&path);
	return rc;
}
