#include "sources/layout_memory_priv.h"

#include <stdlib.h>

#include "base/err.h"

#define MOST_BACKOFF 64

int
layout_memory_init(struct layout_memory *m, struct tricorder_layouts *table, const char *source,
    struct str app, struct err *err)
{
	size_t source_bytes = strlen(source) + 1; /* no name of either kind has a NUL */

	*m = (struct layout_memory){ .table = table };
	if (table == NULL)
		return 0;
	m->kin = malloc(source_bytes + app.len);
	if (m->kin == NULL) {
		err_nomem(err);
		return -1;
	}
	memcpy(m->kin, source, source_bytes);
	str_put(m->kin + source_bytes, app);
	m->kin_len = source_bytes + app.len;
	return 0;
}

void
layout_memory_fini(struct layout_memory *m)
{
	layout_unref(m->layout);
	free(m->kin);
	*m = (struct layout_memory){ .table = NULL };
}

struct str
layout_memory_kin(const struct layout_memory *m)
{
	return (struct str){ m->kin, m->kin_len };
}

struct layout *
layout_memory_recall(struct layout_memory *m)
{
	if (m->table != NULL && m->layout == NULL && m->wait == 0)
		m->layout = layout_guess(m->table, layout_memory_kin(m));
	return m->layout;
}

void
layout_memory_confirm(struct layout_memory *m)
{
	if (m->backoff > 0)
		m->backoff--;
	if (m->wait > m->backoff)
		m->wait = m->backoff;
}

bool
layout_memory_wants_lesson(struct layout_memory *m)
{
	if (m->table == NULL)
		return false;
	if (m->wait == 0)
		return true;
	m->wait--;
	return false;
}

void
layout_memory_learned(struct layout_memory *m, struct layout *learned)
{
	m->wait = m->backoff;
	m->backoff = m->backoff == 0             ? 1
	             : m->backoff < MOST_BACKOFF ? m->backoff * 2
	                                         : MOST_BACKOFF;
	if (learned == NULL)
		return;
	layout_unref(m->layout);
	m->layout = learned;
}
