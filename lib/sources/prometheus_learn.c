#include "sources/prometheus_layout_priv.h"

#include <stdlib.h>

/* No answer above this is learned: the notes would be more than a poll should take. */
#define MOST_LEARNED_BYTES (16 * 1024 * 1024)
/* Time stamps of an answer by layout are compared with each other. */
#define MOST_GROUPS 256

/* From the notes to a lesson. */
struct learner {
	const char *doc, *end;
	const char *taken; /* what stands before this is in the drafts */
	const struct prometheus_note *notes;
	size_t note_count, next_note;
	const struct batch *batch;
	struct buf bytes; /* of all drafts */
	struct draft *drafts;
};

static void
add_holes(struct learner *l, const struct prometheus_note *notes, size_t n)
{
	const char *taken = l->taken;

	for (size_t i = 0; i < n; i++) {
		const char *start = l->doc + notes[i].start;
		struct hole hole = {
			.gap = (uint32_t)(start - taken),
			.type = notes[i].type,
			.at = notes[i].at,
		};

		buf_add(&l->bytes, &hole, sizeof(hole));
		taken = start + notes[i].len;
	}
}

/* All between the holes, to the end of the last one's line. False if that has no end. */
static bool
add_fixed(struct learner *l, const struct prometheus_note *notes, size_t n)
{
	const char *newline;

	for (size_t i = 0; i < n; i++) {
		const char *start = l->doc + notes[i].start;

		buf_add(&l->bytes, l->taken, (size_t)(start - l->taken));
		l->taken = start + notes[i].len;
	}
	newline = memchr(l->taken, '\n', (size_t)(l->end - l->taken));
	if (newline == NULL)
		return false;
	buf_add(&l->bytes, l->taken, (size_t)(newline + 1 - l->taken));
	l->taken = newline + 1;
	return true;
}

/* What comments and other lines say of the metric. */
static void
add_context(struct learner *l, const struct metric_desc *desc, int64_t group)
{
	buf_putc(&l->bytes, (char)desc->kind);
	buf_putc(&l->bytes, (char)desc->not_cumulative);
	buf_add(&l->bytes, &group, sizeof(group));
	buf_str(&l->bytes, desc->unit);
	buf_putc(&l->bytes, '\0');
	buf_str(&l->bytes, desc->description);
}

static bool
learn_metric(struct learner *l, size_t metric)
{
	struct draft *draft = &l->drafts[metric];
	const struct prometheus_note *notes = l->notes + l->next_note;
	size_t n = 0, at;

	while (l->next_note < l->note_count && l->notes[l->next_note].metric == metric) {
		l->next_note++;
		n++;
	}
	if (n == 0)
		return false;
	draft->at = l->bytes.len;
	draft->hole_count = n;
	add_holes(l, notes, n);
	at = l->bytes.len;
	if (!add_fixed(l, notes, n))
		return false;
	draft->fixed_len = l->bytes.len - at;
	at = l->bytes.len;
	add_context(l, &l->batch->desc[metric], l->batch->group[metric]);
	draft->context_len = l->bytes.len - at;
	return !l->bytes.failed;
}

static bool
learn_metrics(struct learner *l)
{
	for (size_t i = 0; i < l->batch->len; i++) {
		if (l->batch->group[i] > MOST_GROUPS || !learn_metric(l, i))
			return false;
	}
	return l->next_note == l->note_count;
}

struct layout *
prometheus_learn(struct tricorder_layouts *table, struct str kin, const char *doc, size_t len,
    const struct prometheus_notes *notes, const struct batch *batch)
{
	struct layout *learned = NULL;
	struct learner l = {
		.doc = doc,
		.end = doc + len,
		.taken = doc,
		.notes = (const struct prometheus_note *)(const void *)notes->list.p,
		.note_count = notes->list.len / sizeof(struct prometheus_note),
		.batch = batch,
	};

	if (notes->useless || notes->list.failed || batch->bad_count > 0 || batch->len == 0)
		return NULL;
	buf_init(&l.bytes, 0);
	l.drafts = calloc(batch->len, sizeof(*l.drafts));
	if (l.drafts != NULL && learn_metrics(&l)) {
		const struct lesson lesson = {
			.drafts = l.drafts,
			.bytes = l.bytes.p,
			.batch = batch,
		};

		learned = layout_remember(table, kin, &lesson);
	}
	free(l.drafts);
	buf_fini(&l.bytes);
	return learned;
}

/* Reads it in full, and learns it if that is due. */
static int
read_and_learn(struct layout_memory *m, const char *doc, size_t len,
    const struct prometheus_form *form, struct batch *batch, struct err *err)
{
	bool lesson = len <= MOST_LEARNED_BYTES && layout_memory_wants_lesson(m);
	struct prometheus_notes notes = { .useless = false };
	struct layout *learned;
	int rc;

	buf_init(&notes.list, 0);
	rc = prometheus_parse(doc, len, form, batch, lesson ? &notes : NULL, err);
	if (rc == 0 && lesson) {
		learned = prometheus_learn(m->table, m->kin, doc, len, &notes, batch);
		layout_memory_learned(m, learned);
		if (learned != NULL)
			batch->layout_id = learned->shared.id;
	}
	buf_fini(&notes.list);
	return rc;
}

int
prometheus_read(struct layout_memory *m, const char *doc, size_t len,
    const struct prometheus_form *form, struct batch *batch, struct err *err)
{
	struct layout *known = layout_memory_recall(m);

	if (known != NULL) {
		switch (prometheus_match(known, doc, len, form, batch, err)) {
		case PROMETHEUS_MATCH:
			layout_memory_confirm(m);
			return 0;
		case PROMETHEUS_LOST:
			return -1;
		case PROMETHEUS_OTHER:
			break;
		}
	}
	return read_and_learn(m, doc, len, form, batch, err);
}
