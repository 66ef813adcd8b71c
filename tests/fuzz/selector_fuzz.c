/*
 * Selectors of /federate: the first line is the selector, the rest a series' name and labels by
 * turns, parted by line feeds.
 */
#include <assert.h>
#include <stdlib.h>

#include "api/selector_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct str
label_of(const void *series, struct str label)
{
	struct str rest = *(const struct str *)series, key, value;

	while (str_split(&rest, '\n', &key) && str_split(&rest, '\n', &value)) {
		if (str_eq(key, label))
			return value;
	}
	return STR_EMPTY;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str rest = { (const char *)data, size }, text;
	struct selector selector;
	struct arena arena;
	struct err err;

	if (!str_split(&rest, '\n', &text))
		return 0;
	arena_init(&arena, 0);
	if (selector_parse(&selector, text, &arena, &err) == 0) {
		bool matches = selector_matches(&selector, label_of, &rest);

		assert(selector.len > 0);
		assert(!matches ||
		       selector_may_match_name(&selector, label_of(&rest, STR("__name__"))));
		assert(matches == selector_matches(&selector, label_of, &rest));
	}
	selector_fini(&selector);
	arena_fini(&arena);
	return 0;
}
