#include "pstore/letters_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "pstore/record_json.h"

/* Of dead letters, per file; there are two at most. */
#define FILE_BYTES ((uint64_t)16 * 1024 * 1024)
#define LOG_NS     (60 * NS_PER_S)

/* STATE_DIR/dead/NAME.jsonl; what could lead elsewhere is written as %XX. */
static void
put_path(struct buf *out, const char *state_dir, const char *name)
{
	buf_printf(out, "%s/dead/", state_dir);
	for (const char *p = name; *p != '\0'; p++) {
		if (*p == '/' || *p == '%' || (*p == '.' && p == name) || (unsigned char)*p < ' ')
			buf_printf(out, "%%%02X", (unsigned char)*p);
		else
			buf_putc(out, *p);
	}
	buf_puts(out, ".jsonl");
	buf_putc(out, '\0');
}

static void
open_echo(struct letters *l, const struct consumer *c)
{
	if (c->debug_metric == NULL && c->debug_host == NULL)
		return;
	if (c->debug_path == NULL) {
		l->echo = stdout;
		return;
	}
	l->echo = fopen(c->debug_path, "we");
	if (l->echo == NULL)
		log_warn("writer", "%s: no echo: debugFilePath %s: %s", c->name, c->debug_path,
		    strerror(errno));
}

int
letters_init(struct letters *l, const struct consumer *c, const char *state_dir, struct err *err)
{
	*l = (struct letters){ .name = c->name, .logged_ns = INT64_MIN };
	lock_init(&l->lock, LOCK_letters);
	buf_init(&l->line, 0);
	lines_file_init(&l->file, NULL, FILE_BYTES, 1);
	if (state_dir != NULL && state_dir[0] != '\0') {
		put_path(&l->line, state_dir, c->name);
		l->path = l->line.failed ? NULL : strdup(l->line.p);
		if (l->path == NULL) {
			err_nomem(err);
			return -1;
		}
		l->file.path = l->path;
	}
	open_echo(l, c);
	return 0;
}

void
letters_fini(struct letters *l)
{
	if (l->echo != NULL && l->echo != stdout)
		fclose(l->echo);
	lines_file_fini(&l->file);
	buf_fini(&l->line);
	free(l->path);
	lock_fini(&l->lock);
}

/* REQUIRES the lock. */
static void
make_dir(const struct letters *l)
{
	char *dir = strndup(l->path, (size_t)(strrchr(l->path, '/') - l->path));

	if (dir != NULL)
		mkdir(dir, 0700); /* what fails here fails when the file is opened */
	free(dir);
}

/* REQUIRES the lock. */
static bool
keep(struct letters *l, const struct write_record *record, const char *why)
{
	struct err err;
	bool kept;

	if (l->path == NULL)
		return false;
	buf_clear(&l->line);
	record_json(&l->line, record, l->name, why);
	if (l->file.fd < 0)
		make_dir(l);
	if (l->line.failed)
		err_nomem(&err);
	kept = !l->line.failed && lines_file_add(&l->file, buf_view(&l->line), &err) == 0;
	if (!kept && !l->failed)
		log_warn("writer", "%s: refused records are lost: %s", l->name, err.text);
	l->failed = !kept;
	return kept;
}

bool
letters_add(struct letters *l, const struct write_record *record, const char *why, int64_t now_ns)
{
	bool kept;

	lock_take(&l->lock);
	kept = keep(l, record, why);
	l->unlogged++;
	if (l->logged_ns == INT64_MIN || now_ns - l->logged_ns >= LOG_NS) {
		log_warn("writer",
		    "%s: record refused for good: %s: host=%.*s app=%.*s path=%.*s count=%llu "
		    "kept=%s",
		    l->name, why, STR_ARG(record->origin->host), STR_ARG(record->origin->app),
		    STR_ARG(record->series->desc->path), (unsigned long long)l->unlogged,
		    kept ? l->path : "no");
		l->unlogged = 0;
		l->logged_ns = now_ns;
	}
	lock_drop(&l->lock);
	return kept;
}

void
letters_echo(struct letters *l, const struct write_record *record)
{
	lock_take(&l->lock);
	if (l->echo != NULL) {
		buf_clear(&l->line);
		if (record != NULL)
			record_echo(&l->line, record);
		else
			buf_putc(&l->line, '\n');
		/* An echo that can't be written is no reason to stop. */
		if (!l->line.failed)
			(void)!fwrite(l->line.p, 1, l->line.len, l->echo);
		if (record == NULL)
			fflush(l->echo);
	}
	lock_drop(&l->lock);
}
