/*
 * base/conf.h - configuration text to a tree, and the checking of a tree against a table.
 *
 * The text is YAML (JSON is YAML): mappings, lists and scalars; anchors, aliases, tags and more
 * than one document are refused. Every node knows its line and column, so that each complaint
 * reads "FILE:LINE:COLUMN: what is wrong". Checking goes on after an error, to report them all.
 *
 * Limits: 16 MiB of text, nesting 32, 1,000,000 nodes.
 *
 * Threads: a tree is read-only once parsed and may be read by any thread.
 */
#ifndef SCOTTY_BASE_CONF_H
#define SCOTTY_BASE_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum conf_shape { CONF_SCALAR, CONF_LIST, CONF_MAP };

struct conf {
	enum conf_shape shape;
	bool quoted;      /* scalar: written with quotes, so a string and nothing else */
	int line, column; /* from 1; columns count characters */
	struct str key;   /* in a map: ended by a NUL beyond .len */
	int key_line, key_column;
	struct str text;           /* scalar: ended by a NUL beyond .len, holds no other */
	const struct conf *parent; /* NULL for the root */
	const struct conf *first;  /* map, list: children in the order written */
	const struct conf *next;
};

struct conf_doc {                /* owns a tree; shared by counting */
	const char *name;        /* of the file, for complaints */
	const struct conf *root; /* NULL for an empty text, or null */
};

/*
 * Parses text; name (copied) is what complaints call it. NULL with ERR_CONFIG (the text of err
 * reads "NAME:LINE:COLUMN: ..."), ERR_LIMIT or ERR_NOMEM. The document starts with one reference.
 */
struct conf_doc *conf_parse(struct str text, const char *name, struct err *);
/* Reads a whole file, at most 16 MiB. NULL with ERR_IO or as conf_parse. */
struct conf_doc *conf_load(const char *path, struct err *);
struct conf_doc *conf_doc_ref(struct conf_doc *); /* any thread */
void conf_doc_unref(struct conf_doc *);           /* any thread; NULL is fine */

/* The child called key, NULL if there is none or it is null; map may be NULL. */
const struct conf *conf_child(const struct conf *map, const char *key);

/*
 * True if both say the same, wherever they were written and in whatever order the keys of a map
 * are. NULL is an empty map.
 */
bool conf_eq(const struct conf *, const struct conf *);

/* All complaints about one document, a line each. */
struct conf_report {
	const char *name; /* lent: the file's */
	struct buf text;
	size_t count;
	const char *unknown; /* said before a key that is not known; NULL = "unknown key" */
};

void conf_report_init(struct conf_report *, const char *name);
void conf_report_fini(struct conf_report *);
/*
 * Adds the line "NAME:LINE:COLUMN: ...", control characters shown as '?'. at may be NULL: then
 * without line and column. Beyond 1 MiB of text complaints are only counted.
 */
void conf_complain(struct conf_report *, const struct conf *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The first complaint as an err with ERR_CONFIG, or ERR_NOMEM if there was no memory for it. */
void conf_report_err(const struct conf_report *, struct err *);

/*
 * A table of what a map may hold. Unknown keys, wrong types and values out of range are
 * complaints (a key given twice does not even parse). null, ~ and nothing at all mean absent.
 * Defaults are written as in the file.
 */
enum conf_type {
	CONF_BOOL,     /* true, false */
	CONF_INT,      /* whole number, min..max; not in quotes, as are BOOL and FLOAT */
	CONF_FLOAT,    /* any finite number */
	CONF_TEXT,     /* any scalar */
	CONF_SECRET,   /* scalar, {file: PATH} or {env: NAME} */
	CONF_SIZE,     /* bytes: 64MiB (or 64M), 64MB (a thousand thousands), 512, 50% (of RAM) */
	CONF_DISK,     /* bytes as above, but 50% is of a file system, 0% is not allowed */
	CONF_DURATION, /* Go's: 30s, 1h30m, 100ms, also 7d; 0 */
	CONF_TEXTS,    /* list of scalars, or one scalar */
	CONF_TREE,     /* checked by whoever takes it */
};

struct conf_opt {
	const char *name;
	enum conf_type type;
	const char *dflt; /* NULL = absent means absent */
	const char *help; /* one line for -generate */
	int64_t min, max; /* INT, SIZE, DISK, DURATION (ns); both 0 = any that is not negative */
};

/* Room on a disk: so many bytes, or so much of the file system if percent is not 0. */
struct conf_disk {
	uint64_t bytes;
	double percent;
};

/*
 * Checks map (NULL: nothing given) against opts, ended by a row with name NULL. True if nothing
 * was complained about. A node that is no map is a complaint.
 */
bool conf_check(const struct conf *map, const struct conf_opt *opts, struct conf_report *);

/*
 * Values of a checked map; map may be NULL (all defaults). name must be a row of opts, of that
 * type. Text is lent from the tree or the table. What is absent without default is false, 0, or an
 * empty str with p == NULL; what can't be read, which conf_check complained about, counts as
 * absent.
 */
bool conf_bool(const struct conf *map, const struct conf_opt *opts, const char *name);
int64_t conf_int(const struct conf *map, const struct conf_opt *opts, const char *name);
double conf_float(const struct conf *map, const struct conf_opt *opts, const char *name);
struct str conf_text(const struct conf *map, const struct conf_opt *opts, const char *name);
uint64_t conf_size(const struct conf *map, const struct conf_opt *opts, const char *name);
struct conf_disk conf_disk(const struct conf *map, const struct conf_opt *opts, const char *name);
int64_t conf_duration_ns(const struct conf *map, const struct conf_opt *opts, const char *name);

/*
 * Reads a secret to out (NUL-ended, owned by the caller, wiped by conf_secret_free). A file must
 * be a regular one that group and others can't read, at most 64 KiB; one newline at its end is
 * cut. A file or variable that is empty is refused. 0 with *out NULL when absent. -1 with
 * ERR_CONFIG or ERR_NOMEM; the text never holds the secret.
 */
int conf_secret(const struct conf *map, const char *name, char **out, struct err *);
/*
 * The same for who may be another host: with deny_files a secret must be a text, as else that host
 * could have any file or variable of this one sent to itself. Also -1 with ERR_DENIED.
 */
int conf_secret_for(
    const struct conf *map, const char *name, bool deny_files, char **out, struct err *);
/* The same of a file, for flags. */
int conf_secret_file(const char *path, char **out, struct err *);
void conf_secret_free(char *);

/* The same forms outside a tree, for flags: whole text or false. */
bool conf_parse_duration(struct str, int64_t *out_ns);
bool conf_parse_size(struct str, uint64_t *out_bytes);
bool conf_parse_disk(struct str, struct conf_disk *out);
bool conf_parse_bool(struct str, bool *out);

/*
 * Memory this process may use: RAM, or the cgroup's limit (v2, v1) when that is smaller. Bytes;
 * what percentages refer to.
 */
uint64_t conf_memory_bytes(void);

#endif
