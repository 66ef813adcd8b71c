/*
 * The mock writer takes everything and keeps nothing.
 */
#include <stdlib.h>

#include "pstore/writer.h"

extern const struct writer_ops writer_mock;

static const struct conf_opt opts[] = {
	{ "accepted", CONF_TEXTS, NULL, "kinds of values it takes, as int64, string; absent = all",
	    0, 0 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

/* False if it is the name of no kind. */
static bool
add_kind(struct str name, unsigned *kinds)
{
	enum kind kind = kind_parse(name);

	*kinds |= KIND_BIT(kind);
	return kind != KIND_NONE;
}

static struct writer *
mock_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	const struct conf *accepted = conf_child(conf, "accepted");
	const struct conf *first = accepted;
	struct writer *w = calloc(1, sizeof(*w));

	(void)env;
	if (w == NULL) {
		err_nomem(err);
		return NULL;
	}
	if (accepted != NULL && accepted->shape == CONF_LIST)
		first = accepted->first;
	for (const struct conf *c = first; c != NULL; c = c == accepted ? NULL : c->next) {
		if (add_kind(c->text, &w->kinds))
			continue;
		err_set(err, ERR_CONFIG, "'%.*s' is no kind of value", STR_ARG(c->text));
		free(w);
		return NULL;
	}
	if (w->kinds == 0)
		w->kinds = KINDS_ALL;
	w->ops = &writer_mock;
	return w;
}

static bool
mock_format(const struct writer *w, const struct write_record *record, struct buf *out)
{
	(void)w;
	(void)record;
	buf_putc(out, '\n');
	return true;
}

static void
mock_send(struct writer *w, const struct write_request *request, struct write_answer *answer)
{
	(void)w;
	(void)request;
	(void)answer; /* done, as it came */
}

static void
mock_close(struct writer *w)
{
	free(w);
}

const struct writer_ops writer_mock = {
	.name = "mock",
	.help = "takes everything, keeps nothing",
	.opts = opts,
	.open = mock_open,
	.format = mock_format,
	.send = mock_send,
	.close = mock_close,
};
