#include "sources/tricorder_read_priv.h"

#include <stdlib.h>

#include "sources/tricorder_learn_priv.h"
#include "sources/tricorder_match_priv.h"

/* No answer above this is learned: its copy would be more than a poll should take. */
#define MOST_LEARNED_BYTES (16 * 1024 * 1024)

/* What the parser is about to read, before it overwrites some of it. */
struct keepsake {
	char *text; /* NULL: nothing is to be learned */
	size_t len;
	bool first; /* as in struct scan */
};

/* Decides whether to learn, and keeps what that needs. Without memory it is left. */
static struct keepsake
keep(struct layout_memory *m, const struct parser *p)
{
	struct keepsake kept = { .len = (size_t)(p->doc.end - p->list.p), .first = p->list.first };

	if (p->batch->bad_count > 0 || kept.len > MOST_LEARNED_BYTES ||
	    !layout_memory_wants_lesson(m))
		return kept;
	kept.text = malloc(kept.len + 1);
	if (kept.text != NULL)
		memcpy(kept.text, p->list.p, kept.len + 1);
	return kept;
}

static void
learn(struct layout_memory *m, const struct keepsake *kept, size_t matched, struct batch *batch)
{
	struct layout *learned = NULL;

	if (batch->bad_count == 0)
		learned = layout_learn(m->table, m->kin, m->layout, matched, kept->text, kept->len,
		    kept->first, batch);
	layout_memory_learned(m, learned);
	if (learned != NULL)
		batch->layout_id = learned->shared.id;
}

static enum match
match(struct parser *p, struct layout *layout, size_t *matched)
{
#ifdef HAVE_MATCH_AVX2
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
	    __builtin_cpu_supports("bmi2"))
		return layout_match_avx2(p, layout, matched);
#endif
	return layout_match(p, layout, matched);
}

int
tricorder_read(struct layout_memory *m, char *doc, size_t len, struct batch *batch, struct err *err)
{
	struct layout *known;
	struct keepsake kept;
	struct parser p;
	size_t matched = 0;
	int rc;

	if (parser_begin(&p, doc, len, batch, err) != 0)
		return -1;
	if (m->table == NULL)
		return parser_rest(&p);
	known = layout_memory_recall(m);
	if (known != NULL) {
		switch (match(&p, known, &matched)) {
		case MATCH_ALL:
			layout_memory_confirm(m);
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
