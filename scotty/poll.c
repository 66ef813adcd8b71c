/*
 * scotty poll [HOST/APP]: has endpoints polled now, without waiting for that.
 */
#include <stdio.h>

#include "scotty/client.h"

int command_poll(struct client *, char **, size_t, struct err *);

static int
add_endpoint(struct buf *path, struct str word, struct err *err)
{
	struct str host;

	/* An application's name may hold slashes, a host's may not. */
	if (!str_split(&word, '/', &host) || host.len == 0 || word.len == 0) {
		err_set(err, ERR_CONFIG, "poll wants HOST/APP");
		return -1;
	}
	buf_putc(path, '/');
	client_path_add(path, host);
	buf_putc(path, '/');
	client_path_add(path, word);
	return 0;
}

int
command_poll(struct client *client, char **words, size_t n, struct err *err)
{
	struct buf path, answer;
	int rc = 0;

	buf_init(&path, 0);
	buf_init(&answer, 0);
	buf_puts(&path, "/api/poll");
	if (n > 0)
		rc = add_endpoint(&path, str_of(words[0]), err);
	buf_putc(&path, '\0');
	if (rc == 0 && path.failed) {
		err_nomem(err);
		rc = -1;
	}
	if (rc == 0)
		rc = client_post(client, path.p, &answer, err);
	if (rc == 0 && client_options(client)->json)
		fputs(answer.p, stdout);
	buf_fini(&answer);
	buf_fini(&path);
	return rc;
}
