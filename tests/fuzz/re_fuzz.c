/*
 * Regular expressions: up to the first NUL an expression, then a text. What is found in a text is
 * found in a longer one too, unless the expression speaks of places.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/re.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
speaks_of_places(struct str expression)
{
	for (size_t i = 0; i < expression.len; i++) {
		if (expression.p[i] == '\\' || expression.p[i] == '^' || expression.p[i] == '$')
			return true;
	}
	return false;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size }, expression = STR_EMPTY;
	struct err err;
	struct re *re;
	bool matches;

	str_split(&text, '\0', &expression);
	if (text.len > 4096)
		return 0;
	re = re_new(expression, &err);
	if (re == NULL) {
		assert(err.code == ERR_CONFIG && err.text[0] != '\0');
		return 0;
	}
	matches = re_match(re, text);
	assert(re_match(re, text) == matches);
	if (matches && !speaks_of_places(expression) && text.len > 0) {
		char *longer = malloc(text.len + 2);

		longer[0] = ' ';
		memcpy(longer + 1, text.p, text.len);
		longer[text.len + 1] = ' ';
		if (utf8_valid_prefix(text.p, text.len) == text.len)
			assert(re_match(re, (struct str){ longer, text.len + 2 }));
		free(longer);
	}
	re_free(re);
	return 0;
}
