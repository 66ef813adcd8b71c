#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/clock.h"
#include "writer_fixture.h"

#define AT (INT64_C(1234567890) * NS_PER_S + 999999999)

static const struct {
	enum kind kind;
	struct value value;
	const char *text; /* NULL = can't be written */
} kinds[] = {
	{ KIND_BOOL, { .b = true }, "1" },
	{ KIND_INT8, { .i = -128 }, "-128" },
	{ KIND_UINT64, { .u = UINT64_MAX }, "18446744073709552000" },
	{ KIND_FLOAT64, { .f = 1.5e-9 }, "0.0000000015" },
	{ KIND_FLOAT64, { .f = NAN }, NULL },
	{ KIND_FLOAT64, { .f = INFINITY }, NULL },
	{ KIND_FLOAT32, { .f = -INFINITY }, NULL },
	{ KIND_TIME, { .i = 1500000000123456789 }, "1500000000.123456789" },
	{ KIND_DURATION, { .i = 1500000000 }, "1500" },
};

static void
every_kind_has_its_form(void **state)
{
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "graphite", "{hostAndPort: carbon}");
	assert_int_equal(
	    m.writer->kinds, KINDS_ALL & ~(KIND_BIT(KIND_STRING) | KIND_BIT(KIND_LIST)));
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct metric_desc desc = {
			.path = STR("/a/b"), .unit = STR(UNIT_MILLISECONDS), .kind = kinds[i].kind
		};
		struct str got = text_of(&m, &desc, kinds[i].value, AT);
		char want[200];

		if (kinds[i].text == NULL) {
			assert_null(got.p);
			continue;
		}
		snprintf(want, sizeof(want), "host1_2Eexample_2Ecom.vecapp.a.b %s 1234567890\n",
		    kinds[i].text);
		assert_string_equal(got.p, want);
	}
	text_maker_fini(&m);
}

static const struct tag tags[] = { { STR("app"), STR("other") }, { STR("if"), STR("eth0/1.5;") },
	{ STR("no"), STR("") } };

static const struct {
	const char *options, *lines;
} forms[] = {
	{ "{hostAndPort: x}", "h_2Ex.a_20b.p_2Eq.r.app=other.if=eth0_2F1_2E5_3B 7 1234567890\n" },
	{ "{hostAndPort: x, prefix: my.scotty}",
	    "my.scotty.h_2Ex.a_20b.p_2Eq.r.app=other.if=eth0_2F1_2E5_3B 7 1234567890\n" },
	{ "{hostAndPort: x, form: tags, prefix: s.}",
	    "s.p_2Eq.r;app=a_20b;host=h.x;metric_app=other;if=eth0/1.5_3B 7 1234567890\n" },
};

static void
names_follow_the_form(void **state)
{
	struct metric_desc desc = {
		.path = STR("/p.q/r"), .kind = KIND_INT64, .tags = tags, .tag_count = 3
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		struct text_maker m;

		text_maker_init(&m, "graphite", forms[i].options);
		m.origin = (struct write_origin){ .host = STR("h.x"), .app = STR("a b") };
		assert_string_equal(
		    text_of(&m, &desc, (struct value){ .i = 7 }, AT).p, forms[i].lines);
		text_maker_fini(&m);
	}
}

static void
a_distribution_is_several_lines(void **state)
{
	struct value value = { .dist = &some_dist };
	struct text_maker m;

	(void)state;
	text_maker_init(&m, "graphite", "{hostAndPort: x}");
	m.origin = (struct write_origin){ .host = STR("h"), .app = STR("a") };
	assert_string_equal(text_of(&m, &dist_desc, value, 5 * NS_PER_S).p,
	    "h.a.d.count 6 5\nh.a.d.sum 12.5 5\nh.a.d.bucket.le=0_2E5 1 5\n"
	    "h.a.d.bucket.le=10 3 5\nh.a.d.bucket.le=inf 6 5\n");
	value.dist = &endless_dist;
	assert_null(strstr(text_of(&m, &dist_desc, value, 5 * NS_PER_S).p, "sum"));
	text_maker_fini(&m);
	text_maker_init(&m, "graphite", "{hostAndPort: x, form: tags}");
	m.origin = (struct write_origin){ .host = STR("h"), .region = STR("r") };
	value.dist = &some_dist;
	assert_string_equal(text_of(&m, &dist_desc, value, 5 * NS_PER_S).p,
	    "d.count;host=h;region=r 6 5\nd.sum;host=h;region=r 12.5 5\n"
	    "d.bucket;host=h;region=r;le=0.5 1 5\nd.bucket;host=h;region=r;le=10 3 5\n"
	    "d.bucket;host=h;region=r;le=inf 6 5\n");
	text_maker_fini(&m);
}

/* Whatever bytes there are, a line has three words. */
static void
no_byte_breaks_a_line(void **state)
{
	static const char *const options[] = { "{hostAndPort: x}", "{hostAndPort: x, form: tags}" };

	(void)state;
	for (int c = 0; c < 512; c++) {
		char path[4] = { '/', (char)c, 'x', (char)c };
		struct tag tag = { { path, 4 }, { path, 4 } };
		struct metric_desc desc = {
			.path = { path, 4 }, .kind = KIND_INT64, .tags = &tag, .tag_count = 1
		};
		struct text_maker m;
		size_t spaces = 0;
		struct str got;

		text_maker_init(&m, "graphite", options[c / 256]);
		m.origin.host = m.origin.app = m.origin.region = desc.path;
		got = text_of(&m, &desc, (struct value){ .i = 1 }, AT);
		for (size_t i = 0; i < got.len; i++) {
			spaces += got.p[i] == ' ';
			assert_true(got.p[i] == '\n' ? i + 1 == got.len
			                             : got.p[i] >= ' ' && got.p[i] < 0x7f);
		}
		assert_int_equal(spaces, 2);
		text_maker_fini(&m);
	}
}

static const struct {
	const char *options;
	bool good;
} configurations[] = {
	{ "{hostAndPort: h}", true },
	{ "{hostAndPort: 'h:2003'}", true },
	{ "{hostAndPort: '::1'}", true },
	{ "{hostAndPort: '[::1]:2003'}", true },
	{ "{hostAndPort: '[::1]'}", true },
	{ "{hostAndPort: '[::1'}", false },
	{ "{hostAndPort: '[::1]x'}", false },
	{ "{hostAndPort: 'h:'}", false },
	{ "{hostAndPort: 'h:0'}", false },
	{ "{hostAndPort: 'h:65536'}", false },
	{ "{hostAndPort: ':2003'}", false },
	{ "{}", false },
	{ "{hostAndPort: h, form: other}", false },
};

static void
addresses_are_checked(void **state)
{
	const struct writer_ops *ops = writer_find(STR("graphite"));

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(configurations); i++) {
		struct err err;
		struct conf_doc *doc = conf_parse(str_of(configurations[i].options), "t", &err);
		struct writer *w = ops->open(doc->root, NULL, &err);

		if ((w != NULL) != configurations[i].good)
			fail_msg("%s", configurations[i].options);
		if (w != NULL)
			ops->close(w);
		conf_doc_unref(doc);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_has_its_form),
		cmocka_unit_test(names_follow_the_form),
		cmocka_unit_test(a_distribution_is_several_lines),
		cmocka_unit_test(no_byte_breaks_a_line),
		cmocka_unit_test(addresses_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
