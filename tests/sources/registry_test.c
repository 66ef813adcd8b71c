#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sources/source.h"

static void
every_source_is_found_by_its_name(void **state)
{
	size_t n = 0;

	(void)state;
	for (const struct source_ops *ops; (ops = source_at(n)) != NULL; n++)
		assert_ptr_equal(source_find(str_of(ops->name)), ops);
	assert_true(n >= 2);
	assert_null(source_at(n));
	assert_null(source_at(SIZE_MAX));
}

static void
every_source_has_what_callers_rely_on(void **state)
{
	(void)state;
	for (size_t i = 0; source_at(i) != NULL; i++) {
		const struct source_ops *ops = source_at(i);

		assert_non_null(ops->help);
		assert_non_null(ops->opts);
		assert_non_null(ops->open);
		assert_non_null(ops->start);
		assert_non_null(ops->close);
	}
}

static void
sources_without_dependencies_are_always_there(void **state)
{
	(void)state;
	assert_non_null(source_find(STR("tricorder")));
	assert_non_null(source_find(STR("self")));
}

static void
other_names_are_not_found(void **state)
{
	(void)state;
	assert_null(source_find(STR("")));
	assert_null(source_find(STR("self ")));
	assert_null(source_find(STR("Self")));
	assert_null(source_find(STR("tricord")));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_source_is_found_by_its_name),
		cmocka_unit_test(every_source_has_what_callers_rely_on),
		cmocka_unit_test(sources_without_dependencies_are_always_there),
		cmocka_unit_test(other_names_are_not_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
