/*
 * temp_dir.h - a directory of the test's own under /tmp, and files in it.
 */
#ifndef SCOTTY_TESTS_TEMP_DIR_H
#define SCOTTY_TESTS_TEMP_DIR_H

struct temp_dir {
	char path[64];
	char file[128]; /* what temp_path returned last */
};

/* End the test if they can't. */
void temp_dir_init(struct temp_dir *);
void temp_dir_fini(struct temp_dir *); /* with all files in it */
/* "DIR/NAME", valid until the next call. */
const char *temp_path(struct temp_dir *, const char *name);
/* Writes the file in place. */
void temp_write(struct temp_dir *, const char *name, const char *text);
/* Writes another file and renames it to name. */
void temp_replace(struct temp_dir *, const char *name, const char *text);

#endif
