#include "pstore/writer.h"

/* Rows come from scotty_plugin(writer NAME) lines in CMakeLists.txt. */
#define X(name) extern const struct writer_ops writer_##name;
#include "writer_table.inc"
#undef X

static const struct writer_ops *const writers[] = {
#define X(name) &writer_##name,
#include "writer_table.inc"
#undef X
	NULL,
};

const struct writer_ops *
writer_at(size_t i)
{
	return i < ARRAY_LEN(writers) ? writers[i] : NULL;
}

const struct writer_ops *
writer_find(struct str name)
{
	for (size_t i = 0; writers[i] != NULL; i++)
		if (str_eq(name, str_of(writers[i]->name)))
			return writers[i];
	return NULL;
}
