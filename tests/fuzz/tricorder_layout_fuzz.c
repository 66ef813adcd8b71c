/*
 * Reading by a layout: one document is learned, and an edited copy of it then gives the same with
 * the layout and without. The input is a number of edits, four bytes each, and the document.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "../sources/batch_same.h"
#include "../sources/match_either.h"
#include "edit.h"
#include "sources/tricorder_parse_priv.h"
#include "sources/tricorder_read_priv.h"

#define BUDGET_BYTES (16 * 1024 * 1024)
#define MOST_EDITS   8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
compare(struct layout_memory *memory, const struct buf *doc)
{
	char *plain_doc = copy_of(doc), *known_doc = copy_of(doc);
	struct batch plain, known;
	struct err plain_err, known_err;
	int plain_rc, known_rc;

	batch_init(&plain, 0);
	batch_init(&known, 0);
	plain_rc = tricorder_parse(plain_doc, doc->len, &plain, &plain_err);
	known_rc = tricorder_read(memory, known_doc, doc->len, &known, &known_err);
	assert(plain_rc == known_rc);
	if (plain_rc == 0) {
		const char *differs;

		batch_end(&plain, 1);
		batch_end(&known, 1);
		differs = batch_difference(&plain, &known);
		if (differs != NULL)
			fprintf(stderr, "%s differs\n", differs);
		assert(differs == NULL);
		assert(known.bad_count == 0 || known.layout_id == 0);
	} else {
		assert(plain_err.code == known_err.code);
		assert(strcmp(plain_err.text, known_err.text) == 0);
	}
	batch_fini(&known);
	batch_fini(&plain);
	free(known_doc);
	free(plain_doc);
}

static void
run(const uint8_t *data, size_t size)
{
	size_t edits = size == 0 ? 0 : data[0] % MOST_EDITS;
	struct layout_memory memory;
	struct buf doc;
	struct err err;

	if (size < 1 + edits * EDIT_BYTES)
		return;
	buf_init(&doc, 0);
	buf_add(&doc, data + 1 + edits * EDIT_BYTES, size - 1 - edits * EDIT_BYTES);
	layout_memory_init(&memory, tricorder_layouts_new(BUDGET_BYTES, &err), STR("app"));
	assert(memory.table != NULL);
	compare(&memory, &doc);
	for (size_t i = 0; i < edits; i++) {
		compare(&memory, &doc); /* what was learned matches its own document */
		memory.wait = memory.backoff = 0;
		edit(&doc, data + 1 + i * EDIT_BYTES);
		compare(&memory, &doc);
	}
	layout_memory_fini(&memory);
	tricorder_layouts_free(memory.table);
	buf_fini(&doc);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	match_without_avx2 = false;
	run(data, size);
	match_without_avx2 = true;
	run(data, size);
	return 0;
}
