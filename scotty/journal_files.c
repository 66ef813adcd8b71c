#include "scotty/journal_files.h"

#include <stdlib.h>
#include <string.h>

/*
 * The journal first: a segment that goes meanwhile is in a file of the history by then, and a row
 * that is in both does no harm.
 */
const char *const journal_dirs[] = { "journal", "history", NULL };

bool
journal_file_check(const char *path, struct journal_check *check)
{
	const char *name = strrchr(path, '/') + 1;
	char *dir = strndup(path, (size_t)(name - path - 1));
	bool known;

	*check = (struct journal_check){ 0 };
	if (dir == NULL)
		return false;
	known = journal_check_file(dir, name, check);
	free(dir);
	return known;
}
