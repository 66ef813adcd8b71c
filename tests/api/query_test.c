#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "api/query_priv.h"
#include "fault.h"

static void
expect(const struct buf *got, const char *want, size_t row)
{
	if (got->failed || !str_eq(buf_view(got), str_of(want)))
		fail_msg("row %zu: got \"%.*s\"", row, STR_ARG(buf_view(got)));
}

static const struct {
	const char *target, *path, *query; /* path NULL: refused */
} targets[] = {
	{ "/", "/", "" },
	{ "/a/b", "/a/b", "" },
	{ "/a?b=c", "/a", "b=c" },
	{ "/a?b?c", "/a", "b?c" },
	{ "/a?", "/a", "" },
	{ "http://host:80/a?b", "/a", "b" },
	{ "HTTPS://host/a", "/a", "" },
	{ "http://host", NULL, NULL },
	{ "http://", NULL, NULL },
	{ "", NULL, NULL },
	{ "*", NULL, NULL },
	{ "?a=b", NULL, NULL },
	{ "a/b", NULL, NULL },
	{ "host:80", NULL, NULL },
};

static void
targets_are_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
		struct str path, query;
		bool ok = target_split(str_of(targets[i].target), &path, &query);

		if (ok != (targets[i].path != NULL))
			fail_msg("row %zu: %s", i, ok ? "taken" : "refused");
		if (ok && (!str_eq(path, str_of(targets[i].path)) ||
		              !str_eq(query, str_of(targets[i].query))))
			fail_msg("row %zu: path \"%.*s\", query \"%.*s\"", i, STR_ARG(path),
			    STR_ARG(query));
	}
}

static const struct {
	const char *path, *normal; /* NULL: refused */
} normals[] = {
	{ "/", "/" },
	{ "/%41%7a%30%2D%2e%5F%7E", "/Az0-._~" },
	{ "/health%20agent", "/health%20agent" },
	{ "/a b", "/a%20b" },
	{ "/a%2fb%2Fc", "/a%2Fb%2Fc" },
	{ "/:@!$&'()*+,;=", "/:@!$&'()*+,;=" },
	{ "/\\\"<>^`{|}#[]", "/%5C%22%3C%3E%5E%60%7B%7C%7D%23%5B%5D" },
	{ "/\xc3\xa9\x01\x7f\xff", "/%C3%A9%01%7F%FF" },
	{ "/%", NULL },
	{ "/%4", NULL },
	{ "/%4g", NULL },
	{ "/%g4", NULL },
	{ "/%%41", NULL },
};

static void
paths_are_normalized(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(normals); i++) {
		struct buf out;
		bool ok;

		buf_init(&out, 0);
		ok = path_normalize(str_of(normals[i].path), &out);
		if (ok != (normals[i].normal != NULL))
			fail_msg("row %zu: %s", i, ok ? "taken" : "refused");
		if (ok)
			expect(&out, normals[i].normal, i);
		buf_fini(&out);
	}
}

/* As Go's http.ServeMux: path.Clean, a last slash kept. */
static const struct {
	const char *path, *clean;
} cleans[] = {
	{ "/", "/" },
	{ "/a", "/a" },
	{ "/a/", "/a/" },
	{ "//", "/" },
	{ "///", "/" },
	{ "/a//b", "/a/b" },
	{ "//a", "/a" },
	{ "/a//", "/a/" },
	{ "/./a", "/a" },
	{ "/a/.", "/a" },
	{ "/a/./", "/a/" },
	{ "/a/..", "/" },
	{ "/a/../", "/" },
	{ "/a/b/..", "/a" },
	{ "/a/b/../", "/a/" },
	{ "/..", "/" },
	{ "/../../a", "/a" },
	{ "/a/../../b/c/./../d/", "/b/d/" },
	{ "/...", "/..." },
	{ "/.a/..b", "/.a/..b" },
};

static void
paths_are_cleaned(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cleans); i++) {
		struct buf out;
		bool differs;

		buf_init(&out, 0);
		differs = path_clean(str_of(cleans[i].path), &out);
		expect(&out, cleans[i].clean, i);
		if (differs != !str_eq(str_of(cleans[i].path), str_of(cleans[i].clean)))
			fail_msg("row %zu: said to differ: %d", i, differs);
		buf_fini(&out);
	}
}

static const struct {
	const char *query, *name, *value; /* NULL: absent */
} queries[] = {
	{ "", "a", NULL },
	{ "a=1", "a", "1" },
	{ "a=1", "b", NULL },
	{ "a=1&a=2", "a", "1" },
	{ "b=0&a=1", "a", "1" },
	{ "b=0;a=1", "a", "1" },
	{ "a", "a", "" },
	{ "a=", "a", "" },
	{ "=1", "", "1" },
	{ "&&;a=1&", "a", "1" },
	{ "a=b=c", "a", "b=c" },
	{ "a=x+y%20z%2B", "a", "x y z+" },
	{ "%61=1", "a", "1" },
	{ "a%zz=1&a=2", "a", "2" },
	{ "a=%zz&a=2", "a", "2" },
	{ "a=%", "a", NULL },
	{ "a=%4", "a", NULL },
	{ "A=1", "a", NULL },
	{ "ab=1", "a", NULL },
};

static void
query_gives_the_first_value(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(queries); i++) {
		struct arena arena;
		struct str value = STR_EMPTY;
		bool found;

		arena_init(&arena, 0);
		found = query_get(str_of(queries[i].query), queries[i].name, &arena, &value);
		if (found != (queries[i].value != NULL))
			fail_msg("row %zu: %s", i, found ? "found" : "absent");
		if (found && !str_eq(value, str_of(queries[i].value)))
			fail_msg("row %zu: \"%.*s\"", i, STR_ARG(value));
		arena_fini(&arena);
	}
}

static const struct {
	const char *typed, *path;
} metrics[] = {
	{ "", "" },
	{ "/", "" },
	{ "///", "" },
	{ "a", "/a" },
	{ "/a", "/a" },
	{ "a/b/", "/a/b" },
	{ "//a//b//", "/a//b" },
};

static void
metric_paths_get_one_slash_before(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(metrics); i++) {
		struct arena arena;
		struct str path;

		arena_init(&arena, 0);
		path = metric_path(&arena, str_of(metrics[i].typed));
		if (path.p == NULL || !str_eq(path, str_of(metrics[i].path)))
			fail_msg("row %zu: \"%.*s\"", i, STR_ARG(path));
		arena_fini(&arena);
	}
}

static void
every_byte_comes_back_from_its_escape(void **state)
{
	char all[256];
	struct arena arena;
	struct buf escaped, again;
	struct str back;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	buf_init(&escaped, 0);
	buf_init(&again, 0);
	arena_init(&arena, 0);
	url_escape((struct str){ all, sizeof(all) }, &escaped);
	assert_true(path_normalize(buf_view(&escaped), &again));
	assert_true(str_eq(buf_view(&escaped), buf_view(&again)));
	back = url_decode(&arena, buf_view(&escaped));
	assert_int_equal(back.len, sizeof(all));
	assert_memory_equal(back.p, all, sizeof(all));
	arena_fini(&arena);
	buf_fini(&escaped);
	buf_fini(&again);
}

static void
query_in_a_header_is_visible_ascii(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	query_escape(STR("a=b&c=%41 \r\n\x7f\xc3\"<"), &out);
	assert_true(str_eq(buf_view(&out), STR("a=b&c=%41%20%0D%0A%7F%C3\"<")));
	buf_fini(&out);
}

static void
without_memory_there_is_no_text(void **state)
{
	struct arena arena;
	struct str value;

	(void)state;
	arena_init(&arena, 0);
	fault_malloc(1);
	assert_null(url_decode(&arena, STR("a")).p);
	fault_malloc(1);
	assert_null(metric_path(&arena, STR("a")).p);
	fault_malloc(1);
	assert_false(query_get(STR("a=1"), "a", &arena, &value));
	fault_malloc(0);
	assert_true(query_get(STR("a=1"), "a", &arena, &value));
	arena_fini(&arena);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(targets_are_split),
		cmocka_unit_test(paths_are_normalized),
		cmocka_unit_test(paths_are_cleaned),
		cmocka_unit_test(query_gives_the_first_value),
		cmocka_unit_test(metric_paths_get_one_slash_before),
		cmocka_unit_test(every_byte_comes_back_from_its_escape),
		cmocka_unit_test(query_in_a_header_is_visible_ascii),
		cmocka_unit_test(without_memory_there_is_no_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
