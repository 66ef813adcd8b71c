#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fault.h"
#include "messages/tricorder.h"
#include "sources/tricorder_parse_priv.h"

#define NS_PER_S INT64_C(1000000000)

struct fixture {
	struct batch batch;
	struct err err;
	char *doc; /* the last document parsed; the batch points into it */
};

static int
setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .doc = NULL };
	batch_init(&f.batch, 0);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	fault_malloc(0);
	batch_fini(&f->batch);
	free(f->doc);
	return 0;
}

/* Exactly the document's size, so that a sanitizer sees a read beyond its end. */
static int
parse_bytes(struct fixture *f, const char *text, size_t len)
{
	batch_reset(&f->batch);
	f->err = (struct err){ .code = ERR_NONE };
	free(f->doc);
	f->doc = malloc(len + 1);
	assert_non_null(f->doc);
	memcpy(f->doc, text, len);
	f->doc[len] = '\0';
	return tricorder_parse(f->doc, len, &f->batch, &f->err);
}

static int
parse(struct fixture *f, const char *text)
{
	return parse_bytes(f, text, strlen(text));
}

/* Parses a document of one metric, which must be good. */
static void
parse_one(struct fixture *f, const char *text)
{
	if (parse(f, text) != 0)
		fail_msg("%s: %s", text, f->err.text);
	if (f->batch.len != 1)
		fail_msg("%s: %zu metrics, %s", text, f->batch.len, f->batch.bad_text);
	assert_int_equal(f->batch.bad_count, 0);
}

/* As parse_one, for a value of that kind, both in JSON. */
static const struct value *
parse_value(struct fixture *f, const char *kind, const char *value)
{
	char text[512];

	snprintf(text, sizeof(text),
	    "[{\"path\":\"/a\",\"unit\":\"Seconds\",\"kind\":%s,\"value\":%s}]", kind, value);
	parse_one(f, text);
	return &f->batch.value[0];
}

#define assert_str_is(got, want) assert_true(str_eq(got, STR(want)))

static void
all_that_describes_a_metric_is_read(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *d;

	parse_one(f, "[{\"path\": \"/queue/depth\", \"description\": \"Jobs waiting\","
	             "\"unit\": \"None\", \"kind\": \"int32\", \"bits\": 32, \"value\": -7,"
	             "\"timestamp\": \"1500000000.123456789\", \"groupId\": 3,"
	             "\"tags\": {\"zone\": \"b\", \"oid\": \"1.3\", \"zz\": \"\"}}]");
	d = &f->batch.desc[0];
	assert_str_is(d->path, "/queue/depth");
	assert_str_is(d->description, "Jobs waiting");
	assert_str_is(d->unit, "None");
	assert_int_equal(d->kind, KIND_INT32);
	assert_int_equal(d->sub_kind, KIND_NONE);
	assert_int_equal(f->batch.value[0].i, -7);
	assert_int_equal(f->batch.ts[0], 1500000000 * NS_PER_S + 123456789);
	assert_int_equal(f->batch.group[0], 3);
	assert_int_equal(d->tag_count, 3);
	assert_str_is(d->tags[0].key, "oid");
	assert_str_is(d->tags[0].value, "1.3");
	assert_str_is(d->tags[1].key, "zone");
	assert_str_is(d->tags[2].key, "zz");
}

static void
only_path_kind_and_value_are_needed(void **state)
{
	struct fixture *f = *state;
	static const char *const docs[] = {
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"unit\":null}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"tags\":null}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"groupId\":null}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"subType\":null}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"timestamp\":null}]",
		"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"timestamp\":\"\"}]",
	};

	for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
		parse_one(f, docs[i]);
		assert_int_equal(f->batch.desc[0].description.len, 0);
		assert_int_equal(f->batch.desc[0].unit.len, 0);
		assert_int_equal(f->batch.desc[0].tag_count, 0);
		assert_int_equal(f->batch.group[0], 0);
		assert_true(f->batch.ts[0] == TS_NONE);
	}
}

static void
integers_are_read_up_to_their_limits(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_value(f, "\"int8\"", "-128")->i, -128);
	assert_int_equal(parse_value(f, "\"int16\"", "32767")->i, 32767);
	assert_int_equal(parse_value(f, "\"int32\"", "-0")->i, 0);
	assert_true(parse_value(f, "\"int64\"", "-9223372036854775808")->i == INT64_MIN);
	assert_true(parse_value(f, "\"int64\"", "9223372036854775807")->i == INT64_MAX);
	assert_int_equal(parse_value(f, "\"uint8\"", "255")->u, 255);
	assert_int_equal(parse_value(f, "\"uint16\"", "0")->u, 0);
	assert_int_equal(parse_value(f, "\"uint32\"", "4294967295")->u, 4294967295);
	assert_true(parse_value(f, "\"uint64\"", "18446744073709551615")->u == UINT64_MAX);
}

static void
floats_are_read_to_the_last_bit(void **state)
{
	struct fixture *f = *state;

	assert_true(parse_value(f, "\"float64\"", "12.375")->f == 12.375);
	assert_true(parse_value(f, "\"float64\"", "1e+21")->f == 1e21);
	assert_true(parse_value(f, "\"float64\"", "1E-7")->f == 1e-7);
	assert_true(parse_value(f, "\"float64\"", "18446744073709551616")->f == 0x1p64);
	assert_true(parse_value(f, "\"float64\"", "9007199254740993")->f == 0x1p53);
	assert_true(parse_value(f, "\"float32\"", "0.1")->f == (double)0.1f);
	assert_true(parse_value(f, "\"float32\"", "16777217")->f == 0x1p24);
	assert_true(parse_value(f, "\"float64\"", "-0")->f == 0);
	assert_true(signbit(parse_value(f, "\"float64\"", "-0")->f) != 0);
	assert_true(parse_value(f, "\"float64\"", "-17")->f == -17);
}

static void
bools_strings_and_times_are_read(void **state)
{
	struct fixture *f = *state;

	assert_false(parse_value(f, "\"bool\"", "false")->b);
	assert_true(parse_value(f, "\"bool\"", "true")->b);
	assert_str_is(parse_value(f, "\"string\"", "\"plain\"")->s, "plain");
	assert_str_is(parse_value(f, "\"string\"", "\"\"")->s, "");
	assert_int_equal(parse_value(f, "\"duration\"", "\"-0.250000000\"")->i, -250000000);
	assert_int_equal(parse_value(f, "\"time\"", "\"1.5\"")->i, 1500000000);
	assert_int_equal(parse_value(f, "\"time\"", "\"\\u0031.5\"")->i, 1500000000);
}

static void
times_are_in_the_metrics_unit_and_stamps_in_seconds(void **state)
{
	struct fixture *f = *state;

	parse_one(f, "[{\"path\":\"/a\",\"unit\":\"Milliseconds\",\"kind\":\"duration\","
	             "\"value\":\"960357.000001000\",\"timestamp\":\"2\"}]");
	assert_int_equal(f->batch.value[0].i, 960357000001);
	assert_int_equal(f->batch.ts[0], 2 * NS_PER_S);
}

static void
kinds_of_old_servers_are_64_bits_wide(void **state)
{
	struct fixture *f = *state;

	parse_value(f, "\"int\"", "1");
	assert_int_equal(f->batch.desc[0].kind, KIND_INT64);
	parse_value(f, "\"uint\"", "1");
	assert_int_equal(f->batch.desc[0].kind, KIND_UINT64);
	parse_value(f, "\"float\"", "1");
	assert_int_equal(f->batch.desc[0].kind, KIND_FLOAT64);
}

static void
lists_are_read(void **state)
{
	struct fixture *f = *state;
	const struct list *l;

	l = parse_value(f, "\"list\",\"subType\":\"int16\"", "[-1, 2 ]")->list;
	assert_int_equal(l->len, 2);
	assert_int_equal(l->values[0].i, -1);
	assert_int_equal(l->values[1].i, 2);
	assert_int_equal(f->batch.desc[0].sub_kind, KIND_INT16);
	l = parse_value(f, "\"list\",\"subType\":\"string\"", "[\"a\\n\",\"\\u003cb\\u003e\"]")
	        ->list;
	assert_str_is(l->values[0].s, "a\n");
	assert_str_is(l->values[1].s, "<b>");
	l = parse_value(f, "\"list\",\"subType\":\"time\"", "[\"-1.750000000\"]")->list;
	assert_int_equal(l->values[0].i, -1750000000);
	assert_int_equal(parse_value(f, "\"list\",\"subType\":\"bool\"", "[]")->list->len, 0);
	assert_int_equal(parse_value(f, "\"list\",\"subType\":\"bool\"", "null")->list->len, 0);
}

static void
lists_of_uint8_are_base64(void **state)
{
	struct fixture *f = *state;
	static const char kind[] = "\"list\",\"subType\":\"uint8\"";
	const struct list *l;

	l = parse_value(f, kind, "\"AQL/\"")->list;
	assert_int_equal(l->len, 3);
	assert_int_equal(l->values[0].u, 1);
	assert_int_equal(l->values[1].u, 2);
	assert_int_equal(l->values[2].u, 255);
	l = parse_value(f, kind, "\"+zk=\"")->list;
	assert_int_equal(l->len, 2);
	assert_int_equal(l->values[0].u, 0xFB);
	assert_int_equal(l->values[1].u, 0x39);
	l = parse_value(f, kind, "\"0159\"")->list;
	assert_int_equal(l->len, 3);
	assert_int_equal(l->values[0].u, 0xD3);
	l = parse_value(f, kind, "\"eg=\\u003d\"")->list;
	assert_int_equal(l->len, 1);
	assert_int_equal(l->values[0].u, 'z');
	assert_int_equal(parse_value(f, kind, "\"\"")->list->len, 0);
	assert_int_equal(parse_value(f, kind, "null")->list->len, 0);
	assert_int_equal(parse_value(f, kind, "[9]")->list->values[0].u, 9);
}

static void
distributions_are_read(void **state)
{
	struct fixture *f = *state;
	const struct metric_desc *d = NULL;
	const struct dist *dist;

	dist = parse_value(f, "\"distribution\"",
	    "{\"min\":1,\"max\":100.5,\"average\":28.5,\"median\":22.5,\"sum\":173.5,\"count\":6,"
	    "\"generation\":7,\"isNotCumulative\":true,\"new\":[{}],\"ranges\":["
	    "{\"lower\":0,\"upper\":10,\"count\":2},{\"count\":1,\"upper\":20,\"lower\":10},"
	    "{\"lower\":20,\"upper\":0,\"count\":3}]}")
	           ->dist;
	d = &f->batch.desc[0];
	assert_true(dist->min == 1 && dist->max == 100.5 && dist->average == 28.5);
	assert_true(dist->median == 22.5 && dist->sum == 173.5);
	assert_int_equal(dist->count, 6);
	assert_int_equal(dist->generation, 7);
	assert_int_equal(dist->len, 3);
	assert_int_equal(dist->counts[0], 2);
	assert_int_equal(dist->counts[1], 1);
	assert_int_equal(dist->counts[2], 3);
	assert_int_equal(d->limit_count, 2);
	assert_true(d->limits[0] == 10 && d->limits[1] == 20);
	assert_true(d->not_cumulative);
}

static void
a_distribution_needs_only_ranges(void **state)
{
	struct fixture *f = *state;
	const struct dist *dist;

	dist =
	    parse_value(f, "\"distribution\"", "{\"ranges\":[{\"count\":4}],\"sum\":null}")->dist;
	assert_int_equal(dist->count, 4);
	assert_int_equal(dist->len, 1);
	assert_true(dist->sum == 0);
	assert_int_equal(f->batch.desc[0].limit_count, 0);
	assert_false(f->batch.desc[0].not_cumulative);
}

static void
layout_and_order_of_keys_do_not_matter(void **state)
{
	struct fixture *f = *state;
	static const char *const docs[] = {
		"[{\"value\":[1,2],\"subType\":\"int8\",\"kind\":\"list\",\"path\":\"/a\"}]",
		" \r\n\t[ { \"kind\" : \"list\" , \"value\" : [ 1 , 2 ] ,\"subType\"\n:\n\"int8\" ,"
		" \"path\" : \"/a\" } ] \n",
		"[{\"\\u0070ath\":\"\\/"
		"a\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":[1,2]}]",
		"[{\"path\":7,\"kind\":\"no\",\"value\":[{}],\"path\":\"/a\",\"kind\":\"list\","
		"\"subType\":\"int8\",\"value\":null,\"value\":[1,2]}]",
		"[{\"Path\":\"/b\",\"x\":{\"path\":[[\"/c\",{\"y\":[]}]]},\"path\":\"/a\",\"\":0,"
		"\"kind\":\"list\",\"subType\":\"int8\",\"value\":[1,2],\"paths\":\"\\ud800\"}]",
	};

	for (size_t i = 0; i < ARRAY_LEN(docs); i++) {
		parse_one(f, docs[i]);
		assert_str_is(f->batch.desc[0].path, "/a");
		assert_int_equal(f->batch.value[0].list->len, 2);
		assert_int_equal(f->batch.value[0].list->values[1].i, 2);
	}
}

static const struct {
	const char *json, *text;
} strings[] = {
	{ "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t" },
	{ "\"0123456789abcde\\n\"", "0123456789abcde\n" },
	{ "\"\\u0041\\u00e9\\u20AC\"", "A\xC3\xA9\xE2\x82\xAC" },
	{ "\"\\ud83d\\ude00!\"", "\xF0\x9F\x98\x80!" },
	{ "\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF" },
	{ "\"\xC3\xA9 raw \xF0\x9F\x98\x80\"", "\xC3\xA9 raw \xF0\x9F\x98\x80" },
	{ "\"\x7F\"", "\x7F" },
	/* Halves of surrogate pairs. */
	{ "\"\\ud83d\"", "\xEF\xBF\xBD" },
	{ "\"\\ude00\"", "\xEF\xBF\xBD" },
	{ "\"\\ud83dx\"", "\xEF\xBF\xBDx" },
	{ "\"\\ud83d\\n\"", "\xEF\xBF\xBD\n" },
	{ "\"\\ud83d\\u0041\"", "\xEF\xBF\xBD"
	                        "A" },
	{ "\"\\ud83d\\ud83d\\ude00\"", "\xEF\xBF\xBD\xF0\x9F\x98\x80" },
	/* Bytes that are not UTF-8: one for one. */
	{ "\"a\xFF\xFEz\"", "a\xEF\xBF\xBD\xEF\xBF\xBDz" },
	{ "\"\xE2\x82\"", "\xEF\xBF\xBD\xEF\xBF\xBD" },
	{ "\"\xC3\\u0041\"", "\xEF\xBF\xBD"
	                     "A" },
	{ "\"\xED\xA0\x80\"", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD" },
};

static void
strings_are_unescaped_and_made_utf8(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
		struct str got = parse_value(f, "\"string\"", strings[i].json)->s;

		if (!str_eq(got, str_of(strings[i].text)))
			fail_msg("row %zu: got \"%.*s\"", i, STR_ARG(got));
	}
	assert_true(
	    str_eq(parse_value(f, "\"string\"", "\"a\\u0000b\"")->s, (struct str){ "a\0b", 3 }));
}

static const struct {
	const char *metric, *why;
} bad_metrics[] = {
	{ "{}", "path is missing" },
	{ "{\"path\":\"\",\"kind\":\"bool\",\"value\":true}", "path is missing" },
	{ "{\"path\":7,\"kind\":\"bool\",\"value\":true}", "path 7 is not a string" },
	{ "null", "not an object" },
	{ "[{}]", "not an object" },
	{ "\"/a\"", "not an object" },
	{ "{\"path\":\"/b\",\"kind\":\"xyz\",\"value\":1}", "unknown kind 'xyz'" },
	{ "{\"path\":\"/b\",\"value\":1}", "unknown kind ''" },
	{ "{\"path\":\"/b\",\"kind\":\"goTime\",\"value\":\"1\"}", "unknown kind 'goTime'" },
	{ "{\"path\":\"/b\",\"kind\":\"goDuration\",\"value\":\"1\"}", "unknown kind" },
	{ "{\"path\":\"/b\",\"kind\":[],\"value\":1}", "kind [] is not a string" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\"}", "no value" },
	{ "{\"path\":\"/b\",\"kind\":\"int8\",\"value\":null}", "no value" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":1}", "value 1 does not fit bool" },
	{ "{\"path\":\"/b\",\"kind\":\"int32\",\"value\":1.0}", "value 1.0 does not fit int32" },
	{ "{\"path\":\"/b\",\"kind\":\"int32\",\"value\":1e3}", "value 1e3 does not fit int32" },
	{ "{\"path\":\"/b\",\"kind\":\"int32\",\"value\":\"1\"}",
	    "value \"1\" does not fit int32" },
	{ "{\"path\":\"/b\",\"kind\":\"int8\",\"value\":128}", "value 128 does not fit int8" },
	{ "{\"path\":\"/b\",\"kind\":\"int64\",\"value\":9223372036854775808}", "fit int64" },
	{ "{\"path\":\"/b\",\"kind\":\"int64\",\"value\":-9223372036854775809}", "fit int64" },
	{ "{\"path\":\"/b\",\"kind\":\"uint8\",\"value\":-1}", "value -1 does not fit uint8" },
	{ "{\"path\":\"/b\",\"kind\":\"uint8\",\"value\":-0}", "value -0 does not fit uint8" },
	{ "{\"path\":\"/b\",\"kind\":\"uint64\",\"value\":18446744073709551616}", "fit uint64" },
	{ "{\"path\":\"/b\",\"kind\":\"float64\",\"value\":1e400}", "1e400 does not fit float64" },
	{ "{\"path\":\"/b\",\"kind\":\"float64\",\"value\":true}", "true does not fit float64" },
	{ "{\"path\":\"/b\",\"kind\":\"float32\",\"value\":1e39}", "1e39 does not fit float32" },
	{ "{\"path\":\"/b\",\"kind\":\"float32\",\"value\":\"\"}", "\"\" does not fit float32" },
	{ "{\"path\":\"/b\",\"kind\":\"string\",\"value\":{}}", "value {} does not fit string" },
	{ "{\"path\":\"/b\",\"kind\":\"time\",\"value\":5}", "value 5 does not fit time" },
	{ "{\"path\":\"/b\",\"kind\":\"time\",\"value\":\"1e3\"}", "value '1e3' is no time" },
	{ "{\"path\":\"/b\",\"kind\":\"duration\",\"value\":\"\"}", "value '' is no duration" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"value\":[]}", "unknown kind '' of elements" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"list\",\"value\":[]}", "'list' of el" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"distribution\",\"value\":[]}",
	    "of el" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":3,\"value\":[]}", "subType 3 is not" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":3}",
	    "3 is not a list" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":\"AQL/\"}",
	    "not a list" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":[1,300]}",
	    "value 300" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":[null]}",
	    "value null" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"int8\",\"value\":[[1]]}", "value [1]" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"AQL\"}", "base64" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"A===\"}",
	    "base64" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"AQ=L\"}",
	    "base64" },
	{ "{\"path\":\"/b\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"AQ_-\"}",
	    "base64" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":[]}", "is not a distribution" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":null}", "no value" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{}}", "without ranges" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":[]}}",
	    "without ranges" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":[null]}}",
	    "range 0 is not" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":[{}]}}",
	    "count of range 0" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":[{\"count\":-1}]}}",
	    "count of range 0" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":["
	  "{\"upper\":1,\"count\":1},{\"count\":18446744073709551615}]}}",
	    "count of range 1" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"ranges\":["
	  "{\"upper\":\"1\",\"count\":1},{\"count\":1}]}}",
	    "upper limit of range 0" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"max\":\"9\","
	  "\"ranges\":[{\"count\":1}]}}",
	    "max of the distribution" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"count\":1.5,"
	  "\"ranges\":[{\"count\":1}]}}",
	    "count of the distribution" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"generation\":-1,"
	  "\"ranges\":[{\"count\":1}]}}",
	    "generation of the distribution" },
	{ "{\"path\":\"/b\",\"kind\":\"distribution\",\"value\":{\"isNotCumulative\":1,"
	  "\"ranges\":[{\"count\":1}]}}",
	    "isNotCumulative of the distribution" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"unit\":5}",
	    "unit 5 is not a string" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"timestamp\":5}", "timestamp 5" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"timestamp\":\"x\"}", "is no time" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"groupId\":1.5}", "groupId 1.5" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"groupId\":\"1\"}", "groupId \"1\"" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"tags\":[]}", "tags [] are not" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"tags\":{\"k\":1}}",
	    "tag k is not a" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,\"tags\":{\"\":\"\"}}",
	    "without a key" },
	{ "{\"path\":\"/b\",\"kind\":\"bool\",\"value\":true,"
	  "\"tags\":{\"k\":\"1\",\"a\":\"\",\"\\u006b\":\"1\"}}",
	    "tag k given twice" },
};

static void
a_bad_metric_costs_only_itself(void **state)
{
	struct fixture *f = *state;
	char text[1024];

	for (size_t i = 0; i < ARRAY_LEN(bad_metrics); i++) {
		snprintf(text, sizeof(text),
		    "[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true},%s,"
		    "{\"path\":\"/c\",\"kind\":\"bool\",\"value\":true}]",
		    bad_metrics[i].metric);
		if (parse(f, text) != 0)
			fail_msg("row %zu: %s", i, f->err.text);
		if (f->batch.len != 2 || f->batch.bad_count != 1)
			fail_msg("row %zu: %zu good, %zu bad", i, f->batch.len, f->batch.bad_count);
		if (strstr(f->batch.bad_text, bad_metrics[i].why) == NULL)
			fail_msg("row %zu: %s", i, f->batch.bad_text);
		assert_str_is(f->batch.desc[1].path, "/c");
	}
}

static void
complaints_show_the_beginning_of_long_texts(void **state)
{
	struct fixture *f = *state;
	char text[4096] = "[{\"path\":\"/a\",\"kind\":\"", *end = text + strlen(text);

	memset(end, 'k', 63);
	strcpy(end + 63, "\xC3\xA9more\",\"value\":1}]");
	assert_int_equal(parse(f, text), 0);
	assert_int_equal(f->batch.bad_count, 1);
	assert_non_null(strstr(f->batch.bad_text, "kkk'"));
	assert_null(strstr(f->batch.bad_text, "more"));
}

static void
tags_have_a_limit(void **state)
{
	struct fixture *f = *state;

	for (int n = 64; n <= 65; n++) {
		char text[2048] = "[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"tags\":{",
		     *p;

		p = text + strlen(text);
		for (int i = n; i > 0; i--)
			p += sprintf(p, "\"k%02d\":\"\"%s", i, i > 1 ? "," : "");
		strcpy(p, "}}]");
		assert_int_equal(parse(f, text), 0);
		assert_int_equal(f->batch.len, n == 64);
		assert_int_equal(f->batch.bad_count, n == 65);
		if (n == 64)
			assert_str_is(f->batch.desc[0].tags[63].key, "k64");
	}
}

static const struct {
	const char *doc, *text;
} bad_docs[] = {
	{ "", "not a list of metrics at byte 0" },
	{ " ", "not a list of metrics at byte 1" },
	{ "{}", "not a list of metrics at byte 0" },
	{ "null", "not a list of metrics at byte 0" },
	{ "\xEF\xBB\xBF[]", "not a list of metrics at byte 0" },
	{ "<html>", "not a list of metrics at byte 0" },
	{ "[", "not JSON at byte 1: it ends too early" },
	{ "[ ", "not JSON at byte 2: it ends too early" },
	{ "[1", "not JSON at byte 2: it ends too early" },
	{ "[1,", "not JSON at byte 3: it ends too early" },
	{ "[1,]", "not JSON at byte 3: no value" },
	{ "[,1]", "not JSON at byte 1: no value" },
	{ "[1 2]", "not JSON at byte 3: a comma or closing bracket is missing" },
	{ "[[] []]", "not JSON at byte 4: a comma" },
	{ "[1}", "not JSON at byte 2: a comma" },
	{ "[]]", "not JSON at byte 2: more than one value" },
	{ "[] x", "not JSON at byte 3: more than one value" },
	{ "[{\"a\"}]", "not JSON at byte 5: a colon is missing" },
	{ "[{\"a\" 1}]", "not JSON at byte 6: a colon is missing" },
	{ "[{\"a\":}]", "not JSON at byte 6: no value" },
	{ "[{\"a\":1,}]", "not JSON at byte 8: a key is missing" },
	{ "[{a:1}]", "not JSON at byte 2: a key is missing" },
	{ "[{'a':1}]", "not JSON at byte 2: a key is missing" },
	{ "[{\"a\":{\"b\":[1,{\"c\" 2}]}}]", "not JSON at byte 19: a colon" },
	{ "[{\"a\":[}]", "not JSON at byte 7: no value" },
	{ "[{\"a\":[[1]", "not JSON at byte 10: it ends too early" },
	{ "[nul]", "not JSON at byte 4: no value" },
	{ "[True]", "not JSON at byte 1: no value" },
	{ "[nullx]", "not JSON at byte 5: a comma" },
	{ "[NaN]", "not JSON at byte 1: no value" },
	{ "[-Infinity]", "not JSON at byte 2: a digit is missing" },
	{ "[01]", "not JSON at byte 1: a number begins with 0" },
	{ "[-00]", "not JSON at byte 2: a number begins with 0" },
	{ "[+1]", "not JSON at byte 1: no value" },
	{ "[.5]", "not JSON at byte 1: no value" },
	{ "[1.]", "not JSON at byte 3: a digit is missing" },
	{ "[1.e5]", "not JSON at byte 3: a digit is missing" },
	{ "[1e]", "not JSON at byte 3: a digit is missing" },
	{ "[1e+]", "not JSON at byte 4: a digit is missing" },
	{ "[-]", "not JSON at byte 2: a digit is missing" },
	{ "[0x10]", "not JSON at byte 2: a comma" },
	{ "[\"abc]", "not JSON at byte 6: it ends too early" },
	{ "[\"abcdefgh\n\"]", "not JSON at byte 10: a control character in a string" },
	{ "[\"\\x\"]", "not JSON at byte 3: no such escape" },
	{ "[\"\\", "not JSON at byte 3: it ends too early" },
	{ "[\"\\u12\"]", "not JSON at byte 6: \\u without four" },
	{ "[\"\\u12g4\"]", "not JSON at byte 6: \\u without four" },
	{ "[\"\\u123", "not JSON at byte 7: it ends too early" },
	{ "[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true} // x\n]",
	    "not JSON at byte 42: a comma" },
};

static void
what_is_not_json_is_refused_with_its_place(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(bad_docs); i++) {
		if (parse(f, bad_docs[i].doc) != -1)
			fail_msg("row %zu was taken", i);
		assert_int_equal(f->err.code, ERR_PROTO);
		if (strncmp(f->err.text, bad_docs[i].text, strlen(bad_docs[i].text)) != 0)
			fail_msg("row %zu: %s", i, f->err.text);
	}
}

static void
a_nul_byte_is_no_end(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse_bytes(f, "[]\0", 3), -1);
	assert_string_equal(f->err.text, "not JSON at byte 2: more than one value");
	assert_int_equal(parse_bytes(f, "[\0]", 3), -1);
	assert_string_equal(f->err.text, "not JSON at byte 1: no value");
	assert_int_equal(parse_bytes(f, "[\"\0\"]", 5), -1);
	assert_string_equal(f->err.text, "not JSON at byte 2: a control character in a string");
}

static void
every_beginning_of_a_document_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char doc[] =
	    "[{\"path\":\"/a\\u0041\",\"kind\":\"list\",\"subType\":\"string\",\"value\":"
	    "[\"\\ud83d\\ude00\", \"\xC3\xA9\"],\"x\":{\"y\":[1.5e+7,-0,true,null]}}]";

	assert_int_equal(parse(f, doc), 0);
	assert_int_equal(f->batch.len, 1);
	for (size_t len = 1; len < sizeof(doc) - 1; len++) {
		assert_int_equal(parse_bytes(f, doc, len), -1);
		assert_int_equal(f->err.code, ERR_PROTO);
	}
}

/* A metric whose value is nested n - 2 deep, so that the document is n deep. */
static int
parse_nested(struct fixture *f, size_t n, char open)
{
	const char head[] = "[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"x\":";
	const char *enter = open == '[' ? "[" : "{\"\":", *leave = open == '[' ? "]" : "}";
	size_t room = sizeof(head) + n * 8;
	char *text = malloc(room), *p = text;
	int rc;

	assert_non_null(text);
	p = stpcpy(p, head);
	for (size_t i = 2; i < n; i++)
		p = stpcpy(p, enter);
	if (open == '{')
		*p++ = '0';
	for (size_t i = 2; i < n; i++)
		p = stpcpy(p, leave);
	p = stpcpy(p, "}]");
	rc = parse_bytes(f, text, (size_t)(p - text));
	free(text);
	return rc;
}

static void
nesting_ends_at_64(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++) {
		char open = "[{"[i];

		assert_int_equal(parse_nested(f, 64, open), 0);
		assert_int_equal(f->batch.len, 1);
		assert_int_equal(parse_nested(f, 65, open), -1);
		assert_int_equal(f->err.code, ERR_PROTO);
		assert_non_null(strstr(f->err.text, "nested deeper than 64"));
		assert_int_equal(parse_nested(f, 1000000, open), -1);
	}
}

static void
empty_lists_of_metrics_are_fine(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(parse(f, "[]"), 0);
	assert_int_equal(f->batch.len, 0);
	assert_int_equal(parse(f, "\n[\t]\n"), 0);
	assert_int_equal(f->batch.len, 0);
}

/* One of each kind, and what may come with it. */
static const char every_kind[] =
    "[{\"path\":\"/a/bool\",\"kind\":\"bool\",\"value\":true,\"description\":\"<\\u0001\\ufffd>\"},"
    "{\"path\":\"/a/"
    "dist\",\"kind\":\"distribution\",\"value\":{\"min\":1,\"sum\":4.5,\"generation\":7,"
    "\"isNotCumulative\":true,\"ranges\":[{\"upper\":2.5,\"count\":1},{\"lower\":2.5,\"count\":2}]}"
    "},"
    "{\"path\":\"/a/duration\",\"kind\":\"duration\",\"unit\":\"Milliseconds\",\"value\":\"-1.5\"},"
    "{\"path\":\"/a/float32\",\"kind\":\"float32\",\"value\":0.1,\"groupId\":9},"
    "{\"path\":\"/a/float64\",\"kind\":\"float64\",\"value\":-0},"
    "{\"path\":\"/a/int8\",\"kind\":\"int8\",\"value\":-128,\"tags\":{\"k\":\"v\"}},"
    "{\"path\":\"/a/list\",\"kind\":\"list\",\"subType\":\"string\",\"value\":[\"\",\"x\"]},"
    "{\"path\":\"/a/list8\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"AQL/eg==\"},"
    "{\"path\":\"/a/string\",\"kind\":\"string\",\"value\":\"\\ud83d\\ude00\"},"
    "{\"path\":\"/a/time\",\"kind\":\"time\",\"value\":\"1468442100.453\",\"timestamp\":\"1.5\"},"
    "{\"path\":\"/a/uint64\",\"kind\":\"uint64\",\"value\":18446744073709551615}]";

static void
what_the_encoder_writes_is_read_back(void **state)
{
	struct fixture *f = *state;
	struct buf first, second;

	buf_init(&first, 0);
	buf_init(&second, 0);
	assert_int_equal(parse(f, every_kind), 0);
	assert_int_equal(f->batch.len, 11);
	batch_end(&f->batch, 0);
	tricorder_encode(&f->batch, STR_EMPTY, &first);
	assert_int_equal(parse_bytes(f, first.p, first.len), 0);
	assert_int_equal(f->batch.len, 11);
	batch_end(&f->batch, 0);
	tricorder_encode(&f->batch, STR_EMPTY, &second);
	assert_true(str_eq(buf_view(&first), buf_view(&second)));
	buf_fini(&first);
	buf_fini(&second);
}

/* All that takes memory: each alone in its document, so that a limit can hit it. */
static const char *const hungry[] = {
	"[{\"path\":\"/\xFF\",\"kind\":\"bool\",\"value\":true}]",
	"[{\"path\":\"/a\",\"description\":\"\xFF\",\"kind\":\"bool\",\"value\":true}]",
	"[{\"path\":\"/a\",\"unit\":\"\xFF\",\"kind\":\"bool\",\"value\":true}]",
	"[{\"path\":\"/a\",\"kind\":\"string\",\"value\":\"\xFF\"}]",
	"[{\"path\":\"/a\",\"kind\":\"list\",\"subType\":\"string\",\"value\":[\"\",\"\xFF\"]}]",
	"[{\"path\":\"/a\",\"kind\":\"list\",\"subType\":\"uint8\",\"value\":\"AQL/\"}]",
	"[{\"path\":\"/"
	"a\",\"kind\":\"distribution\",\"value\":{\"ranges\":[{\"upper\":1,\"count\":1},"
	"{\"count\":2}]}}]",
	"[{\"path\":\"/a\",\"kind\":\"bool\",\"value\":true,\"tags\":{\"\xFE\":\"\xFF\"}}]",
};

/* What a poll that failed for want of memory leaves behind is an error; all else is well. */
static void
parse_hungry(struct fixture *f, size_t limit, const char *doc, enum err_code code)
{
	batch_fini(&f->batch);
	batch_init(&f->batch, limit);
	if (parse(f, doc) == 0)
		assert_int_equal(f->batch.len, 1);
	else
		assert_int_equal(f->err.code, code);
	if (limit > 0)
		assert_true(f->batch.arena.used_bytes <= limit);
}

static void
out_of_memory_loses_the_poll_and_nothing_else(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hungry); i++) {
		unsigned nth = 2; /* the first is the document's */

		do {
			fault_malloc(nth++);
			parse_hungry(f, 0, hungry[i], ERR_NOMEM);
		} while (fault_happened());
		assert_true(nth > 3);
		assert_int_equal(f->err.code, ERR_NONE);
	}
}

static void
the_arenas_limit_holds(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hungry); i++) {
		size_t needed, lost = 0;

		parse_hungry(f, 0, hungry[i], ERR_NONE);
		needed = f->batch.arena.used_bytes;
		for (size_t limit = 1; limit < needed; limit += 8) {
			parse_hungry(f, limit, hungry[i], ERR_LIMIT);
			lost += f->err.code == ERR_LIMIT;
		}
		assert_true(lost > 10);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    all_that_describes_a_metric_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    only_path_kind_and_value_are_needed, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    integers_are_read_up_to_their_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(floats_are_read_to_the_last_bit, setup, teardown),
		cmocka_unit_test_setup_teardown(bools_strings_and_times_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    times_are_in_the_metrics_unit_and_stamps_in_seconds, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    kinds_of_old_servers_are_64_bits_wide, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_of_uint8_are_base64, setup, teardown),
		cmocka_unit_test_setup_teardown(distributions_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(a_distribution_needs_only_ranges, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    layout_and_order_of_keys_do_not_matter, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    strings_are_unescaped_and_made_utf8, setup, teardown),
		cmocka_unit_test_setup_teardown(a_bad_metric_costs_only_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    complaints_show_the_beginning_of_long_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(tags_have_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_is_not_json_is_refused_with_its_place, setup, teardown),
		cmocka_unit_test_setup_teardown(a_nul_byte_is_no_end, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    every_beginning_of_a_document_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(nesting_ends_at_64, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_lists_of_metrics_are_fine, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    what_the_encoder_writes_is_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    out_of_memory_loses_the_poll_and_nothing_else, setup, teardown),
		cmocka_unit_test_setup_teardown(the_arenas_limit_holds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
