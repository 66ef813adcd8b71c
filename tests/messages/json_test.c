#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault.h"
#include "messages/json.h"
#include "vectors.h"

struct fixture {
	struct buf buf;
	struct json json;
	struct arena arena;
};

static int
setup(void **state)
{
	static struct fixture f;

	buf_init(&f.buf, 0);
	json_init(&f.json, &f.buf, false);
	arena_init(&f.arena, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	buf_fini(&f->buf);
	arena_fini(&f->arena);
	return 0;
}

/* Compares what was written with want and begins anew. */
static void
assert_written(struct fixture *f, struct str want)
{
	assert_false(f->buf.failed);
	if (!str_eq(buf_view(&f->buf), want))
		fail_msg("wrote %.*s\nnot   %.*s", STR_ARG(buf_view(&f->buf)), STR_ARG(want));
	buf_clear(&f->buf);
	json_init(&f->json, &f->buf, f->json.indent);
}

/* Go's escape of one byte below 0x80, or of one that is not UTF-8. */
static size_t
escape(char *out, unsigned char c)
{
	if (c == '"' || c == '\\')
		return (size_t)sprintf(out, "\\%c", c);
	if (c == '\n' || c == '\r' || c == '\t')
		return (size_t)sprintf(out, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
	if (c >= 0x80)
		return (size_t)sprintf(out, "\\ufffd");
	if (c < 0x20 || c == '<' || c == '>' || c == '&')
		return (size_t)sprintf(out, "\\u%04x", c);
	*out = (char)c;
	return 1;
}

static void
every_byte_is_escaped_at_every_place(void **state)
{
	struct fixture *f = *state;

	for (unsigned c = 0; c < 256; c++) {
		for (size_t before = 0; before < 18; before++) {
			for (size_t after = 0; after < 18; after++) {
				char in[40], want[60];
				size_t len;

				memset(in, 'a', sizeof(in));
				in[before] = (char)c;
				want[0] = '"';
				memset(want + 1, 'a', before);
				len = 1 + before + escape(want + 1 + before, (unsigned char)c);
				memset(want + len, 'a', after);
				want[len + after] = '"';
				json_string(&f->json, (struct str){ in, before + 1 + after });
				assert_written(f, (struct str){ want, len + after + 1 });
			}
		}
	}
}

static void
bytes_in_a_row_are_all_escaped(void **state)
{
	struct fixture *f = *state;
	char in[256], want[256 * 6 + 2];
	size_t len = 0;

	want[len++] = '"';
	for (unsigned c = 0; c < 256; c++) {
		in[c] = (char)c;
		len += escape(want + len, (unsigned char)c);
	}
	want[len++] = '"';
	json_string(&f->json, (struct str){ in, sizeof(in) });
	assert_written(f, (struct str){ want, len });
}

static void
text_beyond_ascii_stays_but_for_line_separators(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
		{ "", "\"\"" },
		{ "\u00e9", "\"\u00e9\"" },
		{ "a\u00e9\u20acb\U0001F600c", "\"a\u00e9\u20acb\U0001F600c\"" },
		{ "\u2027\u2028\u2029\u202a", "\"\u2027\\u2028\\u2029\u202a\"" },
		{ "\uFFFC\uFFFD\uFFFE", "\"\uFFFC\\ufffd\uFFFE\"" },
		{ "\U0010FFFF", "\"\U0010FFFF\"" },
		{ "a<\u00e9>", "\"a\\u003c\u00e9\\u003e\"" },
		/* Each byte of what is no character counts by itself. */
		{ "\xC3", "\"\\ufffd\"" },
		{ "\xE2\x82x", "\"\\ufffd\\ufffdx\"" },
		{ "\xC0\x80", "\"\\ufffd\\ufffd\"" },
		{ "\xED\xA0\x80", "\"\\ufffd\\ufffd\\ufffd\"" },
		{ "\xF4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"" },
		{ "\u00e9\xFF\u00e9\xFE", "\"\u00e9\\ufffd\u00e9\\ufffd\"" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_string(&f->json, str_of(rows[i].in));
		assert_written(f, str_of(rows[i].want));
	}
	json_string(&f->json, (struct str){ "a\0b", 3 });
	assert_written(f, STR("\"a\\u0000b\""));
	json_string(&f->json, STR_EMPTY);
	assert_written(f, STR("\"\""));
}

static void
scalars_have_their_forms(void **state)
{
	struct fixture *f = *state;
	struct json *j = &f->json;

	json_begin_array(j);
	json_bool(j, true);
	json_bool(j, false);
	json_null(j);
	json_u64(j, UINT64_MAX);
	json_i64(j, INT64_MIN);
	json_f64(j, 1e21);
	json_f64(j, -0.0);
	json_f64(j, NAN);
	json_f64(j, -INFINITY);
	json_f32(j, 0.1f);
	json_f32(j, INFINITY);
	json_ts(j, INT64_C(1500000000123456789));
	json_ts(j, TS_NONE);
	json_end_array(j);
	assert_written(f, STR("[true,false,null,18446744073709551615,-9223372036854775808,1e+21,-0,"
	                      "null,null,0.1,null,\"1500000000.123456789\",\"\"]"));
}

static void
write_nested(struct json *j)
{
	json_begin_object(j);
	json_key(j, "a");
	json_begin_array(j);
	json_end_array(j);
	json_key(j, "b");
	json_begin_array(j);
	json_u64(j, 1);
	json_begin_object(j);
	json_end_object(j);
	json_begin_object(j);
	json_string_unless_empty(j, "none", STR_EMPTY);
	json_string_unless_empty(j, "c", STR("d"));
	json_end_object(j);
	json_end_array(j);
	json_key(j, "e");
	json_null(j);
	json_end_object(j);
}

static void
layouts_are_those_of_go(void **state)
{
	struct fixture *f = *state;

	write_nested(&f->json);
	assert_written(f, STR("{\"a\":[],\"b\":[1,{},{\"c\":\"d\"}],\"e\":null}"));
	f->json.indent = true;
	write_nested(&f->json);
	assert_written(
	    f, STR("{\n\t\"a\": [],\n\t\"b\": [\n\t\t1,\n\t\t{},\n\t\t{\n\t\t\t\"c\": \"d\""
	           "\n\t\t}\n\t],\n\t\"e\": null\n}"));
}

static void
nesting_goes_as_deep_as_allowed(void **state)
{
	struct fixture *f = *state;

	for (int indent = 0; indent < 2; indent++) {
		size_t want = 2 * JSON_DEPTH;

		/* A line break and its tabs before each bracket, but the first and "[]" within. */
		for (unsigned depth = 1; indent && depth < JSON_DEPTH; depth++)
			want += (1 + depth) + (1 + depth - 1);
		json_init(&f->json, &f->buf, indent);
		for (unsigned i = 0; i < JSON_DEPTH; i++)
			json_begin_array(&f->json);
		for (unsigned i = 0; i < JSON_DEPTH; i++)
			json_end_array(&f->json);
		assert_int_equal(f->buf.len, want);
		assert_int_equal(f->json.depth, 0);
		buf_clear(&f->buf);
	}
}

static void
a_document_may_be_drained_anywhere(void **state)
{
	struct fixture *f = *state;
	struct buf whole;
	struct json j;
	struct buf out;

	buf_init(&whole, 0);
	buf_init(&out, 0);
	json_init(&j, &out, true);
	json_begin_array(&j);
	for (int i = 0; i < 10; i++) {
		json_i64(&j, i);
		buf_str(&whole, buf_view(&out));
		buf_clear(&out);
	}
	json_end_array(&j);
	buf_str(&whole, buf_view(&out));

	json_init(&f->json, &f->buf, true);
	json_begin_array(&f->json);
	for (int i = 0; i < 10; i++)
		json_i64(&f->json, i);
	json_end_array(&f->json);
	assert_written(f, buf_view(&whole));
	buf_fini(&out);
	buf_fini(&whole);
}

static void
tags_come_last(void **state)
{
	static const struct tag tags[] = {
		{ { "k<", 2 }, { "v\"", 2 } },
		{ { "l", 1 }, { "", 0 } },
	};
	static const double limits[] = { 0.5, 1 };
	struct metric_desc desc = { .path = STR("/a"),
		.kind = KIND_DIST,
		.tags = tags,
		.tag_count = 2,
		.limits = limits,
		.limit_count = 2,
		.not_cumulative = true };
	struct fixture *f = *state;

	json_begin_object(&f->json);
	json_desc(&f->json, &desc);
	json_desc_tail(&f->json, &desc);
	json_end_object(&f->json);
	assert_written(
	    f, STR("{\"path\":\"/"
	           "a\",\"description\":\"\",\"kind\":\"distribution\",\"isNotCumulative\":"
	           "true,\"upperLimits\":[0.5,1],\"tags\":{\"k\\u003c\":\"v\\\"\",\"l\":\"\"}}"));

	f->json.indent = true;
	json_begin_object(&f->json);
	json_tags(&f->json, &desc);
	json_end_object(&f->json);
	assert_written(
	    f, STR("{\n\t\"tags\": {\n\t\t\"k\\u003c\": \"v\\\"\",\n\t\t\"l\": \"\"\n\t}\n}"));

	json_begin_object(&f->json);
	json_tags(&f->json, &(struct metric_desc){ .path = STR("/a") });
	json_end_object(&f->json);
	assert_written(f, STR("{}"));
}

/* Writes what tells of desc, with or without its text, in an object of more than that. */
static void
write_desc(struct json *j, const struct metric_desc *desc)
{
	json_begin_object(j);
	json_desc(j, desc);
	json_key(j, "value");
	json_null(j);
	json_desc_tail(j, desc);
	json_end_object(j);
}

static void
text_made_ahead_says_the_same(void **state)
{
	static const struct tag tags[] = { { { "k<", 2 }, { "v\"", 2 } } };
	static const double limits[] = { 0.5, 1 };
	struct metric_desc descs[] = {
		{ .path = STR("/a&b"),
		    .description = STR("\"A\""),
		    .unit = STR("<u>"),
		    .kind = KIND_INT8 },
		{ .kind = KIND_STRING },
		{ .path = STR("/l"),
		    .kind = KIND_LIST,
		    .sub_kind = KIND_FLOAT32,
		    .tags = tags,
		    .tag_count = 1 },
		{ .path = STR("/d"),
		    .kind = KIND_DIST,
		    .limits = limits,
		    .limit_count = 2,
		    .not_cumulative = true },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(descs); i++) {
		struct desc_text made;
		struct buf text, want;
		struct json json;
		size_t desc_len;

		buf_init(&text, 0);
		buf_init(&want, 0);
		json_init(&json, &want, false);
		write_desc(&json, &descs[i]);
		buf_puts(&text, "before");
		desc_len = json_desc_text(&text, &descs[i]);
		made.desc = str_sub(buf_view(&text), 6, desc_len);
		made.tail = str_sub(buf_view(&text), 6 + desc_len, SIZE_MAX);
		descs[i].text = &made;
		write_desc(&f->json, &descs[i]);
		assert_written(f, buf_view(&want));

		/* Indented documents make their own. */
		made = (struct desc_text){ STR("wrong"), STR("wrong") };
		f->json.indent = true;
		write_desc(&f->json, &descs[i]);
		assert_null(memmem(f->buf.p, f->buf.len, "wrong", 5));
		buf_clear(&f->buf);
		json_init(&f->json, &f->buf, false);
		buf_fini(&text);
		buf_fini(&want);
	}
}

/* want: the value between < and >. */
static void
check_scalar(const struct metric_desc *desc, const struct value *value, const char *want)
{
	json_scalar *put = json_scalar_of(desc->kind);
	char text[JSON_VALUE_BYTES];
	size_t len;

	if (put == NULL) {
		assert_true(desc->kind == KIND_STRING || desc->kind == KIND_LIST ||
		            desc->kind == KIND_DIST);
		return;
	}
	len = put(text, value, desc->unit);
	assert_int_equal(len, strchr(want, '>') - strchr(want, '<') - 1);
	assert_memory_equal(text, strchr(want, '<') + 1, len);
}

/* Elements of an array, the middle one by hand. */
static void
a_value_by_hand_stands_among_others(void **state)
{
	static const struct value elements[] = { { .u = 7 }, { .u = 8 } };
	static const struct list list = { elements, 2 }, empty = { NULL, 0 };
	static const struct {
		struct metric_desc desc;
		struct value value;
		const char *want;
	} rows[] = {
		{ { .kind = KIND_BOOL }, { .b = true }, "[0,<true>,0]" },
		{ { .kind = KIND_INT64 }, { .i = INT64_MIN }, "[0,<-9223372036854775808>,0]" },
		{ { .kind = KIND_FLOAT64 }, { .f = NAN }, "[0,<null>,0]" },
		{ { .kind = KIND_UINT8 }, { .u = 0 }, "[0,<0>,0]" },
		{ { .kind = KIND_UINT64 }, { .u = UINT64_MAX }, "[0,<18446744073709551615>,0]" },
		{ { .kind = KIND_FLOAT32 }, { .f = -0.5 }, "[0,<-0.5>,0]" },
		{ { .kind = KIND_TIME }, { .i = INT64_MIN }, "[0,<\"-9223372036.854775808\">,0]" },
		{ { .kind = KIND_DURATION, .unit = { UNIT_MILLISECONDS, 12 } }, { .i = 1500000 },
		    "[0,<\"1.500000000\">,0]" },
		{ { .kind = KIND_STRING }, { .s = { "a<", 2 } }, "[0,<\"a\\u003c\">,0]" },
		{ { .kind = KIND_LIST, .sub_kind = KIND_UINT16 }, { .list = &list },
		    "[0,<[7,8]>,0]" },
		{ { .kind = KIND_LIST, .sub_kind = KIND_UINT16 }, { .list = &empty },
		    "[0,<[]>,0]" },
		{ { .kind = KIND_DIST }, { .dist = NULL }, "[0,<null>,0]" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *p;

		json_begin_array(&f->json);
		json_u64(&f->json, 0);
		p = json_begin_raw(&f->json, 1 + JSON_VALUE_BYTES + 1);
		*p++ = '<';
		p = json_value_raw(&f->json, p, 1, &rows[i].desc, &rows[i].value);
		*p++ = '>';
		json_end_raw(&f->json, p);
		json_u64(&f->json, 0);
		json_end_array(&f->json);
		assert_written(f, str_of(rows[i].want));
		check_scalar(&rows[i].desc, &rows[i].value, rows[i].want);
	}
}

static void
what_is_empty_is_left_out_of_a_desc(void **state)
{
	struct fixture *f = *state;
	struct metric_desc desc = { .kind = KIND_LIST, .sub_kind = KIND_INT16 };

	json_begin_object(&f->json);
	json_desc(&f->json, &desc);
	json_desc_tail(&f->json, &desc);
	json_end_object(&f->json);
	assert_written(
	    f, STR("{\"description\":\"\",\"kind\":\"list\",\"subType\":\"int16\",\"bits\":16}"));
}

static void
byte_lists_are_base64(void **state)
{
	static const struct value bytes[] = { { .u = 1 }, { .u = 2 }, { .u = 255 }, { .u = 0 },
		{ .u = 250 } };
	static const char *const want[] = { "\"\"", "\"AQ==\"", "\"AQI=\"", "\"AQL/\"",
		"\"AQL/AA==\"", "\"AQL/APo=\"" };
	struct fixture *f = *state;
	struct metric_desc desc = { .kind = KIND_LIST, .sub_kind = KIND_UINT8 };

	for (size_t n = 0; n <= ARRAY_LEN(bytes); n++) {
		struct list list = { bytes, n };

		json_value(&f->json, &desc, &(struct value){ .list = &list });
		assert_written(f, str_of(want[n]));
	}
}

static void
an_inactive_distribution_is_null(void **state)
{
	struct fixture *f = *state;
	struct metric_desc desc = { .kind = KIND_DIST };
	struct value zero = value_zero(KIND_DIST);

	json_value(&f->json, &desc, &zero);
	assert_written(f, STR("null"));
}

/* /api/latest as captured, written again. */
static void
write_latest(struct json *j, struct arena *arena, struct json_object *metrics)
{
	json_begin_array(j);
	for (size_t i = 0; i < vector_len(metrics); i++) {
		struct json_object *metric = vector_at(metrics, i);
		struct metric_desc desc = vector_desc(arena, metric);
		struct value value = vector_value(arena, &desc, vector_get(metric, "value"));

		json_begin_object(j);
		json_string_unless_empty(j, "hostName", vector_text(metric, "hostName"));
		json_string_unless_empty(j, "appName", vector_text(metric, "appName"));
		json_desc(j, &desc);
		json_key(j, "timestamp");
		json_ts(j, vector_ts(metric));
		json_key(j, "value");
		json_value(j, &desc, &value);
		json_desc_tail(j, &desc);
		json_end_object(j);
	}
	json_end_array(j);
}

static void
latest_is_written_as_captured(void **state)
{
	struct fixture *f = *state;
	struct json_object *metrics = vector_parse("scotty_api_latest_vec.json");
	struct str want = vector_load("scotty_api_latest_vec.json");

	assert_true(str_ends(want, STR("]\n")));
	assert_true(vector_len(metrics) > 60);
	write_latest(&f->json, &f->arena, metrics);
	assert_written(f, str_sub(want, 0, want.len - 1));
	free((void *)(uintptr_t)want.p);
	vector_free(metrics);
}

/* /api/hosts as captured, indented. */
static void
write_hosts(struct json *j, struct arena *arena, struct json_object *metrics)
{
	json_begin_array(j);
	for (size_t i = 0; i < vector_len(metrics); i++) {
		struct json_object *metric = vector_at(metrics, i);
		struct json_object *values = vector_get(metric, "values");
		struct metric_desc desc = vector_desc(arena, metric);

		json_begin_object(j);
		json_desc(j, &desc);
		json_key(j, "values");
		json_begin_array(j);
		for (size_t k = 0; k < vector_len(values); k++) {
			struct json_object *one = vector_at(values, k);
			struct value value = vector_value(arena, &desc, vector_get(one, "value"));

			json_begin_object(j);
			json_key(j, "timestamp");
			json_ts(j, vector_ts(one));
			json_key(j, "value");
			json_value(j, &desc, &value);
			json_key(j, "active");
			json_bool(j, vector_bool(one, "active"));
			json_end_object(j);
		}
		json_end_array(j);
		json_desc_tail(j, &desc);
		json_end_object(j);
	}
	json_end_array(j);
}

static void
hosts_are_written_as_captured(void **state)
{
	struct fixture *f = *state;
	const char *name = "scotty_api_hosts_vec_history0_text.json";
	struct json_object *metrics = vector_parse(name);
	struct str want = vector_load(name);

	f->json.indent = true;
	write_hosts(&f->json, &f->arena, metrics);
	assert_written(f, want);
	free((void *)(uintptr_t)want.p);
	vector_free(metrics);
}

/* Every way to run out of room leaves the buf failed and the writer usable. */
static void
without_memory_the_buf_fails(void **state)
{
	unsigned nth = 0;
	bool happened;

	(void)state;
	do {
		struct buf out;
		struct json j;

		buf_init(&out, 0);
		json_init(&j, &out, true);
		fault_malloc(++nth);
		write_nested(&j);
		json_string(&j, (struct str){ "\xFF<\u00e9\u2028\n"
		                              "aaaaaaaaaaaaaaaaaaaaaaaa",
		                    33 });
		json_begin_array(&j);
		for (int i = 0; i < 200; i++)
			json_f64(&j, i / 7.0);
		json_end_array(&j);
		happened = fault_happened();
		fault_malloc(0);
		assert_int_equal(out.failed, happened);
		assert_int_equal(j.depth, 0);
		buf_fini(&out);
	} while (happened);
	assert_true(nth > 3);
}

static void
beyond_its_limit_the_buf_fails(void **state)
{
	struct buf whole, out;
	struct json j;
	size_t limit;

	(void)state;
	buf_init(&whole, 0);
	json_init(&j, &whole, true);
	write_nested(&j);
	for (limit = 1;; limit++) {
		buf_init(&out, limit);
		json_init(&j, &out, true);
		write_nested(&j);
		assert_true(out.len <= limit);
		if (!out.failed)
			break;
		assert_int_equal(j.depth, 0);
		buf_fini(&out);
	}
	assert_true(str_eq(buf_view(&whole), buf_view(&out)));
	assert_in_range(limit, whole.len, whole.len + 120);
	buf_fini(&out);
	buf_fini(&whole);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    every_byte_is_escaped_at_every_place, setup, teardown),
		cmocka_unit_test_setup_teardown(bytes_in_a_row_are_all_escaped, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    text_beyond_ascii_stays_but_for_line_separators, setup, teardown),
		cmocka_unit_test_setup_teardown(scalars_have_their_forms, setup, teardown),
		cmocka_unit_test_setup_teardown(layouts_are_those_of_go, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting_goes_as_deep_as_allowed, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_document_may_be_drained_anywhere, setup, teardown),
		cmocka_unit_test_setup_teardown(tags_come_last, setup, teardown),
		cmocka_unit_test_setup_teardown(text_made_ahead_says_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_value_by_hand_stands_among_others, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_empty_is_left_out_of_a_desc, setup, teardown),
		cmocka_unit_test_setup_teardown(byte_lists_are_base64, setup, teardown),
		cmocka_unit_test_setup_teardown(an_inactive_distribution_is_null, setup, teardown),
		cmocka_unit_test_setup_teardown(latest_is_written_as_captured, setup, teardown),
		cmocka_unit_test_setup_teardown(hosts_are_written_as_captured, setup, teardown),
		cmocka_unit_test_setup_teardown(without_memory_the_buf_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(beyond_its_limit_the_buf_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
