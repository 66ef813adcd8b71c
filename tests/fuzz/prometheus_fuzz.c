/*
 * Prometheus' formats: one document is learned, and an edited copy of it then gives the same with
 * the layout and without. The input is the form and the number of edits, four bytes for each, and
 * the document.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "../sources/batch_same.h"
#include "edit.h"
#include "sources/prometheus_layout_priv.h"

#define BUDGET_BYTES (16 * 1024 * 1024)
#define MOST_EDITS   8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_batch(const struct batch *b)
{
	for (size_t i = 0; i < b->len; i++) {
		const struct metric_desc *desc = &b->desc[i];

		assert(desc->kind == KIND_FLOAT64 || desc->kind == KIND_DIST);
		assert(utf8_valid_prefix(desc->description.p, desc->description.len) ==
		       desc->description.len);
		for (size_t k = 0; k < desc->tag_count; k++)
			assert(desc->tags[k].key.len > 0 && desc->tags[k].value.len > 0);
	}
}

static void
compare(struct layout_memory *memory, const struct buf *doc, const struct prometheus_form *form)
{
	char *plain_doc = copy_of(doc), *known_doc = copy_of(doc);
	struct batch plain, known;
	struct err plain_err, known_err;
	int plain_rc, known_rc;

	batch_init(&plain, 0);
	batch_init(&known, 0);
	plain_rc = prometheus_parse(plain_doc, doc->len, form, &plain, NULL, &plain_err);
	known_rc = prometheus_read(memory, known_doc, doc->len, form, &known, &known_err);
	assert(plain_rc == known_rc);
	assert(memcmp(plain_doc, known_doc, doc->len) == 0);
	if (plain_rc == 0) {
		const char *differs;

		batch_end(&plain, 1);
		batch_end(&known, 1);
		differs = batch_difference(&plain, &known);
		if (differs != NULL)
			fprintf(stderr, "%s differs\n", differs);
		assert(differs == NULL);
		assert(known.bad_count == 0 || known.layout_id == 0);
		check_batch(&plain);
	} else {
		assert(plain_err.code == known_err.code);
		assert(strcmp(plain_err.text, known_err.text) == 0);
	}
	batch_fini(&known);
	batch_fini(&plain);
	free(known_doc);
	free(plain_doc);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t edits = size == 0 ? 0 : data[0] % MOST_EDITS;
	struct prometheus_form form;
	struct tricorder_layouts *table;
	struct layout_memory memory;
	struct buf doc;
	struct err err;

	if (size < 1 + edits * EDIT_BYTES)
		return 0;
	form.openmetrics = (data[0] & 0x80) != 0;
	form.series = (data[0] & 0x40) != 0;
	buf_init(&doc, 0);
	buf_add(&doc, data + 1 + edits * EDIT_BYTES, size - 1 - edits * EDIT_BYTES);
	table = tricorder_layouts_new(BUDGET_BYTES, &err);
	assert(table != NULL);
	layout_memory_init(&memory, table, STR("app"));
	compare(&memory, &doc, &form);
	for (size_t i = 0; i < edits; i++) {
		compare(&memory, &doc, &form); /* what was learned matches its own document */
		memory.wait = memory.backoff = 0;
		edit(&doc, data + 1 + i * EDIT_BYTES);
		compare(&memory, &doc, &form);
		if (i % 2 == 1)
			form.openmetrics = !form.openmetrics;
	}
	layout_memory_fini(&memory);
	tricorder_layouts_free(table);
	buf_fini(&doc);
	return 0;
}
