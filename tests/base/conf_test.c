#include "base/conf.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/conf_priv.h"
#include "conf_fixture.h"
#include "fault.h"

#define SIXTEEN_MIB (16 * 1024 * 1024)

/* The tree as text, so that two can be compared. */
static void
dump(struct buf *out, const struct conf *node, bool with_places)
{
	if (node->key.p != NULL)
		buf_printf(out, "%s=", node->key.p);
	if (node->key.p != NULL && with_places)
		buf_printf(out, "%d:%d,", node->key_line, node->key_column);
	if (with_places)
		buf_printf(out, "%d:%d ", node->line, node->column);
	if (node->shape == CONF_SCALAR) {
		assert_int_equal(strlen(node->text.p), node->text.len);
		buf_printf(out, node->quoted ? "\"%s\" " : "%s ", node->text.p);
		return;
	}
	buf_puts(out, node->shape == CONF_MAP ? "{ " : "[ ");
	for (const struct conf *c = node->first; c != NULL; c = c->next) {
		assert_ptr_equal(c->parent, node);
		dump(out, c, with_places);
	}
	buf_puts(out, node->shape == CONF_MAP ? "} " : "] ");
}

static void
assert_tree(const char *text, const char *wanted, bool with_places)
{
	struct conf_doc *doc = parse(text);
	struct buf out;

	buf_init(&out, 0);
	if (doc->root != NULL) {
		assert_null(doc->root->parent);
		dump(&out, doc->root, with_places);
	}
	buf_putc(&out, '\0');
	assert_string_equal(out.p, wanted);
	buf_fini(&out);
	conf_doc_unref(doc);
}

static void
yaml_becomes_a_tree_with_places(void **state)
{
	(void)state;
	assert_tree("# comment\n"
	            "listen: :6980\n"
	            "collection:\n"
	            "  frequency: 30s\n"
	            "  threads: \"4\"\n"
	            "endpoints:\n"
	            "- host: w\xC3\xA9z1\n"
	            "  options: {a: [1, '2'], \xC3\xA9: x}\n"
	            "text: |\n"
	            "  two\n"
	            "  lines\n"
	            "none:\n",
	    "2:1 { listen=2:1,2:9 :6980 "
	    "collection=3:1,4:3 { frequency=4:3,4:14 30s threads=5:3,5:12 \"4\" } "
	    "endpoints=6:1,7:1 [ 7:3 { host=7:3,7:9 w\xC3\xA9z1 options=8:3,8:12 { a=8:13,8:16 [ "
	    "8:17 1 8:20 \"2\" ] \xC3\xA9=8:26,8:29 x } } ] "
	    "text=9:1,9:7 \"two\nlines\n\" none=12:1,12:6  } ",
	    true);
}

static const struct {
	const char *text, *tree;
} trees[] = {
	{ "a: 1\nb: \"x\"\nc: 'y'\n", "{ a=1 b=\"x\" c=\"y\" } " },
	{ "- a\n- - b\n  - c\n- {}\n- []\n", "[ a [ b c ] { } [ ] ] " },
	{ "a: |\n  x\nb: >\n  y\n  z\n", "{ a=\"x\n\" b=\"y z\n\" } " },
	{ "a:\nb: ~\nc: null\nd: ''\n", "{ a= b=~ c=null d=\"\" } " },
	{ "just text", "just text " },
	{ "a: b:c\n", "{ a=b:c } " },
	{ "a: x # comment\r\nb: y\r\n", "{ a=x b=y } " },
	{ "--- # start\na: 1\n...\n# the end\n", "{ a=1 } " },
	{ "\xEF\xBB\xBFkey: 1\n", "{ key=1 } " },
	{ "\xEF\xBB\xBF{\"a\": 1}", "{ a=1 } " },
	{ "{file: /etc/x, 'b': \"c\", d}", "{ file=/etc/x b=\"c\" d= } " },
	{ "[a, b,\n c,]", "[ a b c ] " },
	{ "{\"a\": 1,}", "{ a=1 } " }, /* YAML, if not JSON */
	{ "{\"a\": 1} # comment\n", "{ a=1 } " },
	{ "<<: x\n", "{ <<=x } " }, /* nothing is merged */
	{ "\"\\U0001F600\\x7A\\L\": \"\\u00e9\"",
	    "{ \xF0\x9F\x98\x80z\xE2\x80\xA8=\"\xC3\xA9\" } " },
	/* JSON that libyaml would refuse or misread */
	{ "{\"a\":\"\\ud83d\\uDE00\"}", "{ a=\"\xF0\x9F\x98\x80\" } " },
	{ "[\"\\u0041\\u00e9\\u20AC\\\"\\\\\\/\\b\\f\\n\\r\\t\"]",
	    "[ \"A\xC3\xA9\xE2\x82\xAC\"\\/\b\f\n\r\t\" ] " },
	{ "\t{\n\t\"a\"\n\t:\t1\n\t,\t\"b\":[1,\n\t2]}\n\t", "{ a=1 b=[ 1 2 ] } " },
	{ "[\"\x7F\xC2\x80\xE2\x80\xA8\"]", "[ \"\x7F\xC2\x80\xE2\x80\xA8\" ] " },
	{ "[-1.5e+3, 0, true, false, null, {}, [], \"\"]",
	    "[ -1.5e+3 0 true false null { } [ ] \"\" ] " },
};

static void
texts_become_trees(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(trees); i++)
		assert_tree(trees[i].text, trees[i].tree, false);
}

static void
json_keeps_its_places(void **state)
{
	(void)state;
	assert_tree("{\n\t\"\xC3\xA9\": \"\\ud83d\\ude00\", \"b\": [1,\r\n 2]}",
	    "1:1 { \xC3\xA9=2:2,2:7 \"\xF0\x9F\x98\x80\" b=2:23,2:28 [ 2:29 1 3:2 2 ] } ", true);
}

static void
both_readers_see_the_same_in_json(void **state)
{
	static const char text[] =
	    "{\"a\": [1, {\"b\": \"c\\n\"}, null, -2.5e3],\n \"\xC3\xA9\": {},\n\"d\": true}";
	struct str whole = str_of(text);
	struct buf outs[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct conf_build b;
		struct arena arena;

		arena_init(&arena, 0);
		buf_init(&outs[i], 0);
		conf_build_init(&b, &arena, "t");
		assert_int_equal((i == 0 ? conf_json_read : conf_yaml_read)(&b, whole), 0);
		dump(&outs[i], b.root, true);
		conf_build_fini(&b);
		arena_fini(&arena);
	}
	assert_true(str_eq(buf_view(&outs[0]), buf_view(&outs[1])));
	buf_fini(&outs[0]);
	buf_fini(&outs[1]);
}

static void
a_text_without_values_has_no_root(void **state)
{
	static const char *const texts[] = { "", "\n", "# comment\n", "---\n", "null\n", "~",
		"\xEF\xBB\xBF" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_tree(texts[i], "", false);
}

#define TEXT(literal)                                                                              \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static const struct {
	struct str text;
	const char *err;
} refused[] = {
	{ TEXT("a: 1\nb: [1, 2\n"),
	    "3:1: did not find expected ',' or ']' while parsing a flow sequence begun at line 2" },
	{ TEXT("a: 1\nbb: 2\na: 3\n"), "3:1: key 'a' is given twice, first at 1:1" },
	{ TEXT("{\"a\": 1, \"a\": 2}"), "1:10: key 'a' is given twice, first at 1:2" },
	{ TEXT("a:\n  b: 1\n  'b': 2\n"), "3:3: key 'b' is given twice, first at 2:3" },
	{ TEXT("a: &x 1\n"),
	    "1:4: an anchor ('&') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: &hunter2\n"),
	    "1:4: an anchor ('&') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: *hunter2\n"),
	    "1:4: an alias ('*') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: !hunter2 x\n"),
	    "1:4: a tag ('!') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: ! x\n"), "1:4: a tag ('!') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: !!str x\n"),
	    "1:4: a tag ('!') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: &x [1]\n"),
	    "1:4: an anchor ('&') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: !!map {b: 1}\n"),
	    "1:4: a tag ('!') is not taken; put the text in quotes if it is one" },
	{ TEXT("a: 1\n---\nb: 2\n"), "2:1: more than one document" },
	{ TEXT("---\n---\n"), "2:1: more than one document" },
	{ TEXT("? [a, b]\n: c\n"), "1:3: a key must be a text, not a list" },
	{ TEXT("{a: 1}: c\n"), "1:2: expected a key in quotes" },
	{ TEXT("%YAML 1.2\n---\na: 1\n"),
	    "1:1: a line can't begin with '%': directives are not taken" },
	{ TEXT("a: 1\n...\n%TAG ! x\n"),
	    "3:1: a line can't begin with '%': directives are not taken" },
	{ TEXT("a:\n\tb: 1\n"), "2:1: a tab can't indent; use spaces" },
	{ TEXT("\xC3\xA9: x\nb: \xC3\xA9\xFF\n"), "2:5: not UTF-8" },
	{ TEXT("a: 1\0"), "1:5: NUL byte" },
	{ TEXT("a: \"x\\0y\"\n"), "1:4: a text can't hold a NUL character" },
	{ TEXT("[\"x\\u0000\"]"), "1:2: a text can't hold a NUL character" },
	{ TEXT("a: 1\nb: \x01\n"), "2:4: control characters are not allowed" },
	{ TEXT("a: \xC2\x80\n"), "1:4: control characters are not allowed" },
	{ TEXT("a: b: c\n"), "1:5: mapping values are not allowed in this context" },
	{ TEXT("a: 'x\n"),
	    "2:1: found unexpected end of stream while scanning a quoted scalar begun at line 1" },
	{ TEXT("a: @x\n"), "1:4: a text can't begin with '@'; put it in quotes" },
	{ TEXT("a: 1\n b: 2\n"), "2:3: mapping values are not allowed in this context" },
	/* What looks like JSON: the reader that got further complains. */
	{ TEXT("{\"a\": \"\\ud83d\\ude00\", \"b\" 1}"), "1:27: expected ':' after a key" },
	{ TEXT("{\"a\": \"\\ud83d\"}"), "1:10: found invalid Unicode character escape code" },
	{ TEXT("{\"a\": \"\\ude00\\ud83d\"}"),
	    "1:10: found invalid Unicode character escape code" },
	{ TEXT("{\"a\": \"\\ud83d\\u0041\"}"),
	    "1:10: found invalid Unicode character escape code" },
	{ TEXT("{\"a\": \"\\u12g4\"}"), "1:12: expected four hexadecimal digits" },
	{ TEXT("{\"a\": \"\\q\"}"), "1:9: expected a character that can be escaped" },
	{ TEXT("{\"a\": \"\\"),
	    "1:9: expected a character that can be escaped, found the end of the text" },
	{ TEXT("{a: 1, b: [}"), "1:12: did not find expected node content" },
	{ TEXT("{\"a\": 1"), "1:8: did not find expected ',' or '}'" },
	{ TEXT("[1, 2] 3"), "1:8: did not find expected <document start>" },
	{ TEXT("[1 2"), "1:5: did not find expected ',' or ']'" },
	{ TEXT("{\"a\": \"x"), "1:9: found unexpected end of stream" },
	{ TEXT("{\"a\": \"\\ud83d\\ude00\",\n\t1.}"), "2:2: expected a key in quotes" },
};

static void
bad_texts_are_refused_with_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct err err = { .code = ERR_NONE };

		assert_null(conf_parse(refused[i].text, "f.yaml", &err));
		assert_int_equal(err.code, ERR_CONFIG);
		assert_true(str_starts(str_of(err.text), STR("f.yaml:")));
		assert_string_equal(err.text + strlen("f.yaml:"), refused[i].err);
		assert_null(strstr(err.text, "hunter2"));
	}
}

static void
assert_limit(const struct buf *text, const char *wanted)
{
	struct err err = { .code = ERR_NONE };
	struct conf_doc *doc;

	assert_false(text->failed);
	doc = conf_parse(buf_view(text), "t", &err);
	if (wanted == NULL) {
		assert_non_null(doc);
		conf_doc_unref(doc);
	} else {
		assert_null(doc);
		assert_int_equal(err.code, ERR_LIMIT);
		assert_string_equal(err.text, wanted);
	}
}

static void
text_beyond_16_mib_is_refused(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 0);
	assert_true(buf_reserve(&text, SIXTEEN_MIB + 1));
	memset(text.p, '#', SIXTEEN_MIB + 1);
	text.len = SIXTEEN_MIB;
	assert_limit(&text, NULL);
	text.len++;
	assert_limit(&text, "t: longer than 16777216 bytes");
	buf_fini(&text);
}

static void
nesting_beyond_32_is_refused(void **state)
{
	static const struct {
		const char *begin, *end, *err;
	} forms[] = {
		{ "- ", "", "t:1:65: nested more than 32 deep" },
		{ "[", "]", "t:1:33: nested more than 32 deep" },
		{ "[ #\n", "]", "t:33:1: nested more than 32 deep" }, /* not JSON */
		{ "{\"a\": ", "}", "t:1:193: nested more than 32 deep" },
		{ "{a: ", "}", "t:1:129: nested more than 32 deep" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		for (int depth = 32; depth <= 33; depth++) {
			struct buf text;

			buf_init(&text, 0);
			for (int n = 0; n < depth; n++)
				buf_puts(&text, forms[i].begin);
			buf_puts(&text, "1");
			for (int n = 0; n < depth; n++)
				buf_puts(&text, forms[i].end);
			assert_limit(&text, depth == 32 ? NULL : forms[i].err);
			buf_fini(&text);
		}
	}
}

static void
more_than_a_million_values_are_refused(void **state)
{
	struct buf text;

	(void)state;
	buf_init(&text, 0);
	buf_putc(&text, '[');
	for (int i = 0; i < 999998; i++)
		buf_puts(&text, "1,");
	buf_puts(&text, "1]");
	assert_limit(&text, NULL); /* the list and 999 999 in it */
	text.len--;
	buf_puts(&text, ",1]");
	assert_limit(&text, "t:1:2000000: more than 1000000 values");
	buf_fini(&text);
}

/* libyaml alone would take an hour. */
static void
a_flood_of_directives_takes_no_time(void **state)
{
	struct err err;
	struct buf text;

	(void)state;
	buf_init(&text, 0);
	for (int i = 0; i < 500000; i++)
		buf_printf(&text, "%%TAG !%x! x\n", (unsigned)i);
	assert_null(conf_parse(buf_view(&text), "t", &err));
	assert_string_equal(
	    err.text, "t:1:1: a line can't begin with '%': directives are not taken");
	buf_fini(&text);
}

static void
children_are_found_by_key(void **state)
{
	struct conf_doc *doc = parse("a: 1\nb: null\nc: 'null'\nd: [1]\n");
	const struct conf *root = doc->root;

	(void)state;
	assert_string_equal(conf_child(root, "a")->text.p, "1");
	assert_null(conf_child(root, "b"));
	assert_string_equal(conf_child(root, "c")->text.p, "null");
	assert_null(conf_child(root, "e"));
	assert_null(conf_child(conf_child(root, "d"), ""));
	assert_null(conf_child(NULL, "a"));
	conf_doc_unref(doc);
}

static void
a_document_lives_until_its_last_reference(void **state)
{
	struct conf_doc *doc = parse("a: 1\n");

	(void)state;
	assert_ptr_equal(conf_doc_ref(doc), doc);
	conf_doc_unref(doc);
	assert_string_equal(doc->name, "t");
	assert_string_equal(conf_child(doc->root, "a")->text.p, "1");
	conf_doc_unref(doc);
	conf_doc_unref(NULL);
}

static void *
ref_and_unref(void *doc)
{
	for (int i = 0; i < 10000; i++)
		conf_doc_unref(conf_doc_ref(doc));
	conf_doc_unref(doc);
	return NULL;
}

static void
any_thread_counts_references(void **state)
{
	struct conf_doc *doc = parse("a: 1\n");
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, ref_and_unref, conf_doc_ref(doc)), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_string_equal(conf_child(doc->root, "a")->text.p, "1");
	conf_doc_unref(doc);
}

static void
load_reads_a_file(void **state)
{
	struct conf_fixture *f = *state;
	struct conf_doc *doc;
	struct err err;
	char wanted[256];

	doc = conf_load(write_file(f, "good", 0644, STR("a: 1\n")), &err);
	assert_non_null(doc);
	assert_string_equal(doc->name, f->path);
	assert_string_equal(conf_child(doc->root, "a")->text.p, "1");
	conf_doc_unref(doc);

	doc = conf_load(write_file(f, "empty", 0644, STR("")), &err);
	assert_non_null(doc);
	assert_null(doc->root);
	conf_doc_unref(doc);

	assert_null(conf_load(write_file(f, "bad", 0644, STR("a: 1\na: 2\n")), &err));
	assert_int_equal(err.code, ERR_CONFIG);
	snprintf(wanted, sizeof(wanted), "%s:2:1: key 'a' is given twice, first at 1:1", f->path);
	assert_string_equal(err.text, wanted);
}

static void
load_says_why_a_file_cannot_be_read(void **state)
{
	struct conf_fixture *f = *state;
	struct err err;
	char wanted[256];

	assert_null(conf_load("/nonexistent/x.yaml", &err));
	assert_int_equal(err.code, ERR_IO);
	assert_string_equal(err.text, "/nonexistent/x.yaml: No such file or directory");
	assert_null(conf_load(f->dir, &err));
	assert_int_equal(err.code, ERR_IO);
	snprintf(wanted, sizeof(wanted), "%s: Is a directory", f->dir);
	assert_string_equal(err.text, wanted);

	write_file(f, "long", 0644, STR(""));
	assert_int_equal(truncate(f->path, SIXTEEN_MIB + 1), 0);
	assert_null(conf_load(f->path, &err));
	assert_int_equal(err.code, ERR_LIMIT);
}

static const char yaml_text[] = "a: [b, {c: 'd'}, \"e\"]\nf: {g: {h: i}}\n"
                                "k1: 1\nk2: 2\nk3: 3\nk4: 4\nk5: 5\nk6: 6\nk7: 7\n";
static const char json_text[] = "{\"a\": [\"b\", {\"c\": \"d\\n\"}, 1.5], \"e\": {\"f\": null}}";
static const char flow_text[] = "{\"a\": [\"b\", {c: 'd'}], e: {}}"; /* fails as JSON */

static void
parse_without_memory_fails_cleanly(void **state)
{
	static const char *const texts[] = { yaml_text, json_text, flow_text, "" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		struct err err = { .code = ERR_NONE };
		struct conf_doc *doc;
		unsigned nth = 1;

		for (fault_malloc(nth); (doc = conf_parse(str_of(texts[i]), "t", &err)) == NULL;
		     fault_malloc(++nth)) {
			assert_true(fault_happened());
			assert_int_equal(err.code, ERR_NOMEM);
			err.code = ERR_NONE;
		}
		assert_false(fault_happened());
		fault_malloc(0);
		assert_true(nth > (texts[i][0] == '\0' ? 1 : 3));
		conf_doc_unref(doc);
	}
}

static void
load_without_memory_fails_cleanly(void **state)
{
	const char *path = write_file(*state, "good", 0644, str_of(yaml_text));
	struct err err = { .code = ERR_NONE };
	struct conf_doc *doc;
	unsigned nth = 1;

	for (fault_malloc(nth); (doc = conf_load(path, &err)) == NULL; fault_malloc(++nth)) {
		assert_true(fault_happened());
		assert_int_equal(err.code, ERR_NOMEM);
	}
	fault_malloc(0);
	conf_doc_unref(doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(yaml_becomes_a_tree_with_places),
		cmocka_unit_test(texts_become_trees),
		cmocka_unit_test(json_keeps_its_places),
		cmocka_unit_test(both_readers_see_the_same_in_json),
		cmocka_unit_test(a_text_without_values_has_no_root),
		cmocka_unit_test(bad_texts_are_refused_with_their_place),
		cmocka_unit_test(text_beyond_16_mib_is_refused),
		cmocka_unit_test(nesting_beyond_32_is_refused),
		cmocka_unit_test(more_than_a_million_values_are_refused),
		cmocka_unit_test(a_flood_of_directives_takes_no_time),
		cmocka_unit_test(children_are_found_by_key),
		cmocka_unit_test(a_document_lives_until_its_last_reference),
		cmocka_unit_test(any_thread_counts_references),
		CONF_TEST_WITH_FILES(load_reads_a_file),
		CONF_TEST_WITH_FILES(load_says_why_a_file_cannot_be_read),
		cmocka_unit_test(parse_without_memory_fails_cleanly),
		CONF_TEST_WITH_FILES(load_without_memory_fails_cleanly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
