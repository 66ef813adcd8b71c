#include "sources/source.h"

#define X(name) extern const struct source_ops source_##name;
#include "source_table.inc"
#undef X

static const struct source_ops *const sources[] = {
#define X(name) &source_##name,
#include "source_table.inc"
#undef X
};

const struct source_ops *
source_at(size_t i)
{
	return i < ARRAY_LEN(sources) ? sources[i] : NULL;
}

const struct source_ops *
source_find(struct str name)
{
	for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
		if (str_eq(str_of(sources[i]->name), name))
			return sources[i];
	}
	return NULL;
}
