#include "poller/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "fault.h"

static const struct source_ops some_source = { .name = "some" };
static const struct source_ops other_source = { .name = "other" };

static const struct tag some_tags[] = { { STR("dc"), STR("x") }, { STR("rack"), STR("7") } };
static const struct tag other_tags[] = { { STR("dc"), STR("x") }, { STR("rack"), STR("8") } };

static struct target
proto(void)
{
	return (struct target){
		.host = STR("web1"),
		.app = STR("health agent"),
		.address = STR("10.0.0.1"),
		.port = 6910,
		.source = &some_source,
		.interval_ns = 30,
		.region = STR("us-east-1"),
		.tags = some_tags,
		.tag_count = 2,
		.deny_loopback = true,
	};
}

static struct conf_doc *
parse(const char *text)
{
	struct err err;
	struct conf_doc *doc = conf_parse(str_of(text), "test", &err);

	if (doc == NULL)
		fail_msg("%s", err.text);
	return doc;
}

static void
a_copy_is_equal_and_its_own(void **state)
{
	char host[] = "web1";
	struct target p = proto();
	struct target *copy;

	(void)state;
	p.host = str_of(host);
	copy = target_new(&p);
	assert_non_null(copy);
	assert_true(target_eq(&p, copy));
	host[0] = 'x';
	assert_string_equal(copy->host.p, "web1"); /* NUL-ended, too */
	assert_string_equal(copy->app.p, "health agent");
	assert_string_equal(copy->address.p, "10.0.0.1");
	assert_string_equal(copy->region.p, "us-east-1");
	assert_int_equal(copy->tag_count, 2);
	assert_string_equal(copy->tags[1].key.p, "rack");
	assert_string_equal(copy->tags[1].value.p, "7");
	assert_int_equal(copy->port, 6910);
	assert_ptr_equal(copy->source, &some_source);
	assert_int_equal(copy->interval_ns, 30);
	assert_true(copy->deny_loopback);
	assert_false(copy->deny_link_local);
	target_unref(copy);
}

static void
absent_text_is_copied_as_empty(void **state)
{
	struct target p = proto(), *copy;

	(void)state;
	p.region = STR_EMPTY;
	copy = target_new(&p);
	assert_non_null(copy);
	assert_int_equal(copy->region.len, 0);
	target_unref(copy);
}

static void
the_last_reference_frees_it(void **state)
{
	struct conf_doc *doc = parse("path: /x\n");
	struct target p = proto(), *copy;

	(void)state;
	p.doc = doc;
	p.options = doc->root;
	copy = target_new(&p);
	assert_non_null(copy);
	conf_doc_unref(doc);
	assert_ptr_equal(target_ref(copy), copy);
	target_unref(copy);
	assert_string_equal(conf_child(copy->options, "path")->text.p, "/x");
	target_unref(copy);
	target_unref(NULL);
}

static void
no_memory_means_no_copy(void **state)
{
	struct conf_doc *doc = parse("path: /x\n");
	struct target p = proto();

	(void)state;
	p.doc = doc;
	fault_malloc(1);
	assert_null(target_new(&p));
	fault_malloc(0);
	conf_doc_unref(doc); /* the only reference: a leak would show */
}

static void
every_field_makes_a_difference(void **state)
{
	const struct target p = proto();
	struct target other;

	(void)state;
	assert_true(target_eq(&p, &p));
#define DIFFERS(change)                                                                            \
	other = proto();                                                                           \
	other.change;                                                                              \
	assert_false(target_eq(&p, &other));                                                       \
	assert_false(target_eq(&other, &p))
	DIFFERS(host = STR("web2"));
	DIFFERS(app = STR("agent"));
	DIFFERS(address = STR("10.0.0.2"));
	DIFFERS(port = 6911);
	DIFFERS(source = &other_source);
	DIFFERS(interval_ns = 31);
	DIFFERS(region = STR_EMPTY);
	DIFFERS(tags = other_tags);
	DIFFERS(tag_count = 1);
	DIFFERS(deny_loopback = false);
	DIFFERS(deny_link_local = true);
#undef DIFFERS
}

static const struct {
	const char *a, *b;
	bool equal;
} options[] = {
	{ "{}", "{}", true },
	{ "{x: 1}", "{x: 1}", true },
	{ "{x: 1}", "x: 1\n", true },
	{ "{x: 1, y: 2}", "{y: 2, x: 1}", true },
	{ "{x: [1, 2], y: {z: 3}}", "{x: [1, 2], y: {z: 3}}", true },
	{ "{x: 1}", "{}", false },
	{ "{x: 1}", "{x: 2}", false },
	{ "{x: 1}", "{y: 1}", false },
	{ "{x: 1}", "{x: \"1\"}", false },
	{ "{x: 1}", "{x: [1]}", false },
	{ "{x: 1}", "{x: 1, y: 2}", false },
	{ "{x: [1, 2]}", "{x: [2, 1]}", false },
	{ "{x: [1, 2]}", "{x: [1]}", false },
	{ "{x: {y: 1}}", "{x: {y: 2}}", false },
	{ "{x: {y: 1}}", "{x: {}}", false },
	{ "{x: []}", "{x: {}}", false },
};

static void
options_are_compared_by_content(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(options); i++) {
		struct conf_doc *doc_a = parse(options[i].a), *doc_b = parse(options[i].b);
		struct target a = proto(), b = proto();

		a.options = doc_a->root;
		b.options = doc_b->root;
		if (target_eq(&a, &b) != options[i].equal || target_eq(&b, &a) != options[i].equal)
			fail_msg("%s and %s", options[i].a, options[i].b);
		conf_doc_unref(doc_a);
		conf_doc_unref(doc_b);
	}
}

static void
no_options_are_empty_options(void **state)
{
	struct conf_doc *empty = parse("{}"), *some = parse("{x: 1}");
	struct target none = proto(), a = proto();

	(void)state;
	a.options = empty->root;
	assert_true(target_eq(&a, &none));
	assert_true(target_eq(&none, &a));
	a.options = some->root;
	assert_false(target_eq(&a, &none));
	assert_false(target_eq(&none, &a));
	conf_doc_unref(empty);
	conf_doc_unref(some);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_copy_is_equal_and_its_own),
		cmocka_unit_test(absent_text_is_copied_as_empty),
		cmocka_unit_test(the_last_reference_frees_it),
		cmocka_unit_test(no_memory_means_no_copy),
		cmocka_unit_test(every_field_makes_a_difference),
		cmocka_unit_test(options_are_compared_by_content),
		cmocka_unit_test(no_options_are_empty_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
