#include "writer_sample.h"

#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../messages/vectors.h"
#include "base/clock.h"

static bool
is_other(const struct writer_sample *sample, const struct metric_desc *desc)
{
	if (desc->kind == KIND_LIST || desc->kind == KIND_DIST ||
	    !str_starts(desc->path, STR("/vec")) || str_starts(desc->path, STR("/vec/live")))
		return true;
	for (const char *const *other = sample->others; *other != NULL; other++) {
		if (str_starts(desc->path, str_of(*other)))
			return true;
	}
	return false;
}

static void
check_text(const struct writer_sample *sample, const struct metric_desc *desc, struct str text,
    struct str captured)
{
	struct buf want;

	if (str_ends(text, STR("\n")))
		text.len--;
	buf_init(&want, 0);
	if (sample->as_sampled != NULL)
		sample->as_sampled(desc, text, &want);
	else
		buf_str(&want, text);
	assert_true(want.len > 0);
	if (memmem(captured.p, captured.len, want.p, want.len) == NULL)
		fail_msg("not in %s: %.*s", sample->file, STR_ARG(buf_view(&want)));
	buf_fini(&want);
}

void
check_sample(struct text_maker *m, const struct writer_sample *sample)
{
	struct str captured = vector_load(sample->file);
	struct json_object *metrics = vector_parse("tricorder_metricsapi_vec.json");
	struct arena arena;
	size_t found = 0;

	arena_init(&arena, 0);
	for (size_t i = 0; i < vector_len(metrics); i++) {
		struct json_object *metric = vector_at(metrics, i);
		struct metric_desc desc = vector_desc(&arena, metric);
		struct value value = vector_value(&arena, &desc, vector_get(metric, "value"));

		if (is_other(sample, &desc))
			continue;
		check_text(
		    sample, &desc, text_of(m, &desc, value, sample->ts_ms * NS_PER_MS), captured);
		found++;
	}
	assert_true(found >= sample->at_least);
	arena_fini(&arena);
	vector_free(metrics);
	free((void *)(uintptr_t)captured.p);
}
