#include "sources/layout_memory_priv.h"

#define MOST_BACKOFF 64

void
layout_memory_init(struct layout_memory *m, struct tricorder_layouts *table, struct str kin)
{
	*m = (struct layout_memory){ .table = table, .kin = kin };
}

void
layout_memory_fini(struct layout_memory *m)
{
	layout_unref(m->layout);
	m->layout = NULL;
}

struct layout *
layout_memory_recall(struct layout_memory *m)
{
	if (m->table != NULL && m->layout == NULL && m->wait == 0)
		m->layout = layout_guess(m->table, m->kin);
	return m->layout;
}

/* An answer that matched makes up for one that had to be learned. */
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
