#include "sources/tricorder_memory_priv.h"

#include <stdlib.h>

#include "sources/tricorder_learn_priv.h"
#include "sources/tricorder_match_priv.h"

#define MOST_BACKOFF 64
/* No answer above this is learned: its copy would be more than a poll should take. */
#define MOST_LEARNED_BYTES (16 * 1024 * 1024)

/* What the parser is about to read, before it overwrites some of it. */
struct keepsake {
	char *text; /* NULL: nothing is to be learned */
	size_t len;
	bool first; /* as in struct scan */
};

void
memory_init(struct tricorder_memory *m, struct tricorder_layouts *table, struct str app)
{
	*m = (struct tricorder_memory){ .table = table, .app = app };
}

void
memory_fini(struct tricorder_memory *m)
{
	layout_unref(m->layout);
	m->layout = NULL;
}

/* Decides whether to learn, and keeps what that needs. Without memory it is left. */
static struct keepsake
keep(struct tricorder_memory *m, const struct parser *p)
{
	struct keepsake kept = { .len = (size_t)(p->doc.end - p->list.p), .first = p->list.first };

	if (p->batch->bad_count > 0 || kept.len > MOST_LEARNED_BYTES)
		return kept;
	if (m->wait > 0) {
		m->wait--;
		return kept;
	}
	kept.text = malloc(kept.len + 1);
	if (kept.text != NULL)
		memcpy(kept.text, p->list.p, kept.len + 1);
	return kept;
}

static void
learn(struct tricorder_memory *m, const struct keepsake *kept, size_t matched, struct batch *batch)
{
	struct layout *learned;

	m->wait = m->backoff;
	m->backoff = m->backoff == 0             ? 1
	             : m->backoff < MOST_BACKOFF ? m->backoff * 2
	                                         : MOST_BACKOFF;
	if (batch->bad_count > 0)
		return;
	learned = layout_learn(
	    m->table, m->app, m->layout, matched, kept->text, kept->len, kept->first, batch);
	if (learned == NULL)
		return;
	layout_unref(m->layout);
	m->layout = learned;
	batch->layout_id = learned->shared.id;
}

/* An answer that matched makes up for one that had to be learned. */
static void
calm_down(struct tricorder_memory *m)
{
	if (m->backoff > 0)
		m->backoff--;
	if (m->wait > m->backoff)
		m->wait = m->backoff;
}

int
memory_parse(
    struct tricorder_memory *m, char *doc, size_t len, struct batch *batch, struct err *err)
{
	struct keepsake kept;
	struct parser p;
	size_t matched = 0;
	int rc;

	if (parser_begin(&p, doc, len, batch, err) != 0)
		return -1;
	if (m->table == NULL)
		return parser_rest(&p);
	if (m->layout == NULL && m->wait == 0)
		m->layout = layout_guess(m->table, m->app);
	if (m->layout != NULL) {
		switch (layout_match(&p, m->layout, &matched)) {
		case MATCH_ALL:
			calm_down(m);
			return 0;
		case MATCH_LOST:
			return -1;
		case MATCH_PART:
			break;
		}
	}
	kept = keep(m, &p);
	rc = parser_rest(&p);
	if (rc == 0 && kept.text != NULL && batch->len > 0)
		learn(m, &kept, matched, batch);
	free(kept.text);
	return rc;
}
