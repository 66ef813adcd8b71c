/*
 * A request target through all that takes it apart. What comes out must be fit for a header and for
 * matching routes, and must not change when it goes in again.
 */
#include <assert.h>
#include <stdlib.h>

#include "api/gzip_priv.h"
#include "api/markup_priv.h"
#include "api/query_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check_header_safe(const struct buf *text)
{
	for (size_t i = 0; i < text->len; i++)
		assert(text->p[i] > ' ' && text->p[i] < 0x7f);
}

static void
check_clean(const struct buf *path)
{
	assert(path->len > 0 && path->p[0] == '/');
	for (size_t i = 0; i + 1 < path->len; i++)
		assert(path->p[i] != '/' || path->p[i + 1] != '/');
}

static void
check_path(struct str path, struct arena *arena)
{
	struct buf normal, again, clean, cleaner;

	buf_init(&normal, 0);
	buf_init(&again, 0);
	buf_init(&clean, 0);
	buf_init(&cleaner, 0);
	if (path_normalize(path, &normal)) {
		check_header_safe(&normal);
		assert(path_normalize(buf_view(&normal), &again));
		assert(str_eq(buf_view(&normal), buf_view(&again)));
		path_clean(buf_view(&normal), &clean);
		check_clean(&clean);
		assert(!path_clean(buf_view(&clean), &cleaner));
		assert(str_eq(buf_view(&clean), buf_view(&cleaner)));
		metric_path(arena, url_decode(arena, buf_view(&clean)));
	}
	buf_fini(&normal);
	buf_fini(&again);
	buf_fini(&clean);
	buf_fini(&cleaner);
}

static void
check_query(struct str query, struct arena *arena)
{
	struct buf escaped, markup;
	struct str value;

	buf_init(&escaped, 0);
	buf_init(&markup, 0);
	query_escape(query, &escaped);
	check_header_safe(&escaped);
	if (query_get(query, "a", arena, &value)) {
		assert(value.len <= query.len);
		markup_text(&markup, value);
		assert(utf8_valid_prefix(markup.p, markup.len) == markup.len);
	}
	gzip_accepted(query);
	buf_fini(&escaped);
	buf_fini(&markup);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str path, query;
	struct arena arena;

	arena_init(&arena, 0);
	if (target_split((struct str){ (const char *)data, size }, &path, &query)) {
		check_path(path, &arena);
		check_query(query, &arena);
	}
	arena_fini(&arena);
	return 0;
}
