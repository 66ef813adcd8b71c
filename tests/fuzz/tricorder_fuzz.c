/*
 * The answer of a tricorder process: any bytes give a sound batch or an error, within the arena's
 * limit.
 */
#include <assert.h>
#include <stdlib.h>

#include "sources/tricorder_parse_priv.h"

#define LIMIT_BYTES (256 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_text(struct str s)
{
	assert(utf8_valid_prefix(s.p, s.len) == s.len);
}

static void
check_value(const struct metric_desc *desc, const struct value *value)
{
	uint64_t count = 0;

	if (desc->kind == KIND_STRING)
		check_text(value->s);
	for (size_t i = 0; desc->kind == KIND_LIST && i < value->list->len; i++) {
		if (desc->sub_kind == KIND_STRING)
			check_text(value->list->values[i].s);
	}
	if (desc->kind == KIND_DIST) {
		assert(value->dist->len == desc->limit_count + 1);
		for (size_t i = 0; i < value->dist->len; i++)
			count += value->dist->counts[i];
		assert(value->dist->count == count);
	}
	assert(value_eq(desc, value, value)); /* reads all of it */
}

static void
check_desc(const struct metric_desc *desc)
{
	check_text(desc->path);
	check_text(desc->description);
	check_text(desc->unit);
	for (size_t i = 0; i < desc->tag_count; i++) {
		check_text(desc->tags[i].key);
		check_text(desc->tags[i].value);
		assert(desc->tags[i].key.len > 0);
		assert(i == 0 || str_cmp(desc->tags[i - 1].key, desc->tags[i].key) < 0);
	}
	assert(desc_eq(desc, desc));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *doc = malloc(size + 1);
	struct batch batch;
	struct err err;

	if (doc == NULL)
		return 0;
	if (size > 0)
		memcpy(doc, data, size);
	doc[size] = '\0';
	batch_init(&batch, LIMIT_BYTES);
	if (tricorder_parse(doc, size, &batch, &err) == 0) {
		batch_end(&batch, 1);
		for (size_t i = 0; i < batch.len; i++) {
			check_desc(&batch.desc[i]);
			check_value(&batch.desc[i], &batch.value[i]);
			assert(batch.ts[i] != TS_NONE);
		}
		assert((batch.bad_count > 0) == (batch.bad_text[0] != '\0'));
	} else {
		assert(err.code == ERR_PROTO || err.code == ERR_NOMEM || err.code == ERR_LIMIT);
		assert(err.text[0] != '\0');
	}
	assert(batch.arena.used_bytes <= LIMIT_BYTES);
	batch_fini(&batch);
	free(doc);
	return 0;
}
