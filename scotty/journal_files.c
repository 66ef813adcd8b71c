#include "scotty/journal_files.h"

#include <errno.h>
#include <sys/stat.h>

/*
 * The journal first: a segment that goes meanwhile is in a file of the history by then, and a row
 * that is in both does no harm.
 */
const char *const journal_dirs[] = { "journal", "history", NULL };

int
journal_file_check(const char *path, struct journal_check *out, struct err *err)
{
	struct stat st;

	if (stat(path, &st) != 0) {
		err_errno(err, errno, "%s", path);
		return -1;
	}
	*out = (struct journal_check){ .good_bytes = (uint64_t)st.st_size,
		.bytes = (uint64_t)st.st_size };
	return 0;
}
