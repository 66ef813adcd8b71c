/*
 * base/conf_priv.h - what the parts of conf share.
 *
 * Two readers, YAML and JSON, feed one builder, which makes the tree and sees to limits and to keys
 * given twice.
 */
#ifndef SCOTTY_BASE_CONF_PRIV_H
#define SCOTTY_BASE_CONF_PRIV_H

#include "base/arena.h"
#include "base/conf.h"
#include "base/hash.h"

#define CONF_TEXT_BYTES_MAX (16 * 1024 * 1024)
#define CONF_DEPTH_MAX      32
#define CONF_NODES_MAX      1000000

struct conf_place {
	int line, column; /* from 1; columns count characters */
};

/* Moves the place past the byte at p; text ends at end. */
void conf_place_pass(struct conf_place *, const char *p, const char *end);
/* Of the byte at offset. */
struct conf_place conf_place_of(struct str text, size_t offset);

/* A map or list that is not complete yet. */
struct conf_frame {
	struct conf *node;
	struct conf *last; /* child */
	struct map keys;   /* map: key to child */
	bool has_key;      /* map: the next node is the value of key */
	struct str key;
	struct conf_place key_at;
};

struct conf_build {
	struct arena *arena;     /* lent: gets nodes and texts */
	const char *name;        /* lent: for complaints */
	const struct conf *root; /* NULL until the first node */
	struct conf_frame open[CONF_DEPTH_MAX];
	size_t depth;
	size_t node_count;
	struct err err; /* once a call has failed */
	struct conf_place err_at;
};

void conf_build_init(struct conf_build *, struct arena *, const char *name);
void conf_build_fini(struct conf_build *);
/*
 * The next scalar, or the begin and end of a map or list. In a map keys and values take turns. 0,
 * or -1 with err and err_at set.
 */
int conf_build_scalar(struct conf_build *, struct str, bool quoted, struct conf_place);
int conf_build_open(struct conf_build *, enum conf_shape, struct conf_place);
void conf_build_close(struct conf_build *);
/* Sets err to "NAME:LINE:COLUMN: ..." and err_at. Always -1. */
int conf_build_fail(struct conf_build *, enum err_code, struct conf_place, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
int conf_build_nomem(struct conf_build *);

/*
 * Read a whole text, which must not be empty, into a fresh builder. 0, or -1 with the builder's err
 * and err_at set. The text must be UTF-8 without NUL.
 */
int conf_yaml_read(struct conf_build *, struct str text);
int conf_json_read(struct conf_build *, struct str text);

/* Text for a complaint: control characters as '?', cut when long. */
struct conf_shown {
	char text[84];
};
struct conf_shown conf_show(struct str);
/* Puts '?' for each control character. */
void conf_mask_controls(char *p, size_t len);

/* null, ~ or nothing, without quotes. */
bool conf_is_null(const struct conf *);
/* A text, or a map of file or env alone to a text that is not empty. */
bool conf_is_secret(const struct conf *);
/*
 * A decimal number: whole text, any sign, as YAML 1.2 (10.3.2) has it save for infinity and NaN.
 * False if it isn't one or is out of range.
 */
bool conf_parse_float(struct str, double *out);
/* As they would be written in a file, with the largest unit that leaves no fraction. */
struct conf_shown conf_show_duration(int64_t ns);
struct conf_shown conf_show_size(uint64_t bytes);
/*
 * The least memory limit of the control groups listed in the file proc_cgroup, which are mounted
 * below the directory sys_cgroup. UINT64_MAX if there is none.
 */
uint64_t conf_cgroup_limit_bytes(const char *proc_cgroup, const char *sys_cgroup);

#endif
