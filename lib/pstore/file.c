/*
 * The file writer: one line of JSON per record (record_json.h), in a file that is begun anew when
 * it is full.
 */
#include <stdlib.h>

#include "pstore/lines_file.h"
#include "pstore/record_json.h"

struct file_writer {
	struct writer base;
	char *path;
	struct lines_file file;
};

extern const struct writer_ops writer_file;

static const struct conf_opt opts[] = {
	{ "path", CONF_TEXT, NULL,
	    "absolute, a regular file; those before it are called PATH.1 ...", 0, 0 },
	{ "maxSize", CONF_SIZE, "64MiB", "of one file", 4096, INT64_MAX },
	{ "keep", CONF_INT, "4", "files before the present one", 0, 1000 },
	{ NULL, CONF_TREE, NULL, NULL, 0, 0 },
};

static void
file_close(struct writer *w)
{
	struct file_writer *f = CONTAINER_OF(w, struct file_writer, base);

	lines_file_fini(&f->file);
	free(f->path);
	free(f);
}

static struct writer *
file_open(const struct conf *conf, const struct writer_env *env, struct err *err)
{
	struct str path = conf_text(conf, opts, "path");
	struct file_writer *f = calloc(1, sizeof(*f));

	(void)env;
	if (f == NULL)
		goto nomem;
	f->base = (struct writer){ &writer_file, KINDS_ALL };
	lines_file_init(&f->file, NULL, conf_size(conf, opts, "maxSize"),
	    (unsigned)conf_int(conf, opts, "keep"));
	if (!str_starts(path, STR("/"))) {
		err_set(err, ERR_CONFIG, "path required, beginning with '/'");
		file_close(&f->base);
		return NULL;
	}
	f->path = str_dup(path);
	if (f->path == NULL) {
		file_close(&f->base);
		goto nomem;
	}
	f->file.path = f->path;
	return &f->base;
nomem:
	err_nomem(err);
	return NULL;
}

static bool
file_format(const struct writer *w, const struct write_record *record, struct buf *out)
{
	(void)w;
	record_json(out, record, NULL, NULL);
	return true;
}

static void
file_send(struct writer *w, const struct write_request *request, struct write_answer *answer)
{
	struct file_writer *f = CONTAINER_OF(w, struct file_writer, base);

	if (lines_file_add(&f->file, request->body, &answer->err) != 0)
		answer->status = answer->err.code == ERR_CONFIG ? WRITE_MISCONFIGURED : WRITE_LATER;
}

const struct writer_ops writer_file = {
	.name = "file",
	.help = "lines of JSON in a file",
	.opts = opts,
	.single = true,
	.open = file_open,
	.format = file_format,
	.send = file_send,
	.close = file_close,
};
