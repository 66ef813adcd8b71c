#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xmlrpc-c/base.h>

#include "api/rpc_priv.h"
#include "api_fixture.h"
#include "fault.h"

#define CALL(params)                                                                               \
	"<?xml version=\"1.0\"?><methodCall><methodName>Scotty.Latest</methodName>"                \
	"<params>" params "</params></methodCall>"
#define PARAM(value) "<param><value>" value "</value></param>"

/*
 * Calls, and takes the answer apart with the library. Returns the value, or NULL and the fault's
 * code. The answer must be XML in any case.
 */
static xmlrpc_value *
call(struct api_fixture *f, const char *body, int *fault)
{
	xmlrpc_value *value = NULL;
	const char *text = NULL;
	xmlrpc_env env;

	f->body = body;
	ask(f, METHOD_POST, "/RPC2");
	assert_int_equal(f->status, 200);
	assert_string_equal(f->response.content_type, "text/xml; charset=utf-8");
	xmlrpc_env_init(&env);
	*fault = 0;
	xmlrpc_parse_response2(&env, f->answer.p, f->answer.len, &value, fault, &text);
	if (env.fault_occurred)
		fail_msg("no XML-RPC: %s: %s", env.fault_string, f->answer.p);
	free((char *)text);
	xmlrpc_env_clean(&env);
	return value;
}

static int
array_len(const xmlrpc_value *value)
{
	xmlrpc_env env;
	int n;

	xmlrpc_env_init(&env);
	n = xmlrpc_array_size(&env, value);
	assert_false(env.fault_occurred);
	xmlrpc_env_clean(&env);
	return n;
}

static void
store_two(struct api_fixture *f)
{
	struct batch batch;

	batch_begin(&batch);
	add_int(&batch, "/a/x", -7, 0, FIXTURE_NOW_NS);
	add_int(&batch, "/b", INT64_C(5000000000), 0, FIXTURE_NOW_NS);
	store_batch(f, "h", "app <&>", &batch);
}

static const struct {
	const char *params;
	int metrics;
} calls[] = {
	{ "", 2 },
	{ PARAM("<string></string>"), 2 },
	{ PARAM("<string>/</string>"), 2 },
	{ PARAM("<string>/a</string>"), 1 },
	{ PARAM("a/x/"), 1 },
	{ PARAM("<string>/nope</string>"), 0 },
};

static void
latest_takes_a_path_or_none(void **state)
{
	struct api_fixture *f = *state;
	char body[512];

	store_two(f);
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		xmlrpc_value *value;
		int fault, n;

		snprintf(body, sizeof(body), CALL("%s"), calls[i].params);
		value = call(f, body, &fault);
		if (value == NULL)
			fail_msg("row %zu: fault %d", i, fault);
		n = array_len(value);
		if (n != calls[i].metrics)
			fail_msg("row %zu: %d metrics", i, n);
		xmlrpc_DECREF(value);
	}
}

static void
metric_is_a_struct_with_the_keys_of_latest(void **state)
{
	struct api_fixture *f = *state;

	store_two(f);
	f->body = CALL(PARAM("/a"));
	assert_string_equal(ask(f, METHOD_POST, "/RPC2"),
	    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
	    "<methodResponse><params><param><value><array><data><value><struct>"
	    "<member><name>hostName</name><value><string>h</string></value></member>"
	    "<member><name>appName</name>"
	    "<value><string>app &lt;&amp;&gt;</string></value></member>"
	    "<member><name>path</name><value><string>/a/x</string></value></member>"
	    "<member><name>description</name><value><string>An int</string></value></member>"
	    "<member><name>unit</name><value><string>None</string></value></member>"
	    "<member><name>kind</name><value><string>int64</string></value></member>"
	    "<member><name>bits</name><value><int>64</int></value></member>"
	    "<member><name>timestamp</name>"
	    "<value><string>1795209663.000000000</string></value></member>"
	    "<member><name>value</name><value><int>-7</int></value></member>"
	    "</struct></value></data></array></value></param></params></methodResponse>\n");
}

#define V(text) "<value>" text "</value>"
#define S(text) V("<string>" text "</string>")
#define D(text) V("<double>" text "</double>")

#define M(name, value)  "<member><name>" name "</name>" value "</member>"
#define ARRAY(elements) V("<array><data>" elements "</data></array>")
#define INT(text)       V("<int>" text "</int>")

/* clang-format off */
#define NO_DIST V("<struct>" M("sum", D("0.0")) M("count", INT("0")) M("counts", ARRAY("")) \
	M("rollOverCount", INT("0")) "</struct>")
#define DIST V("<struct>" M("sum", D("55.5")) M("count", INT("3")) \
	M("counts", ARRAY(INT("1") INT("0") INT("2"))) M("rollOverCount", INT("1")) "</struct>")
#define DIST_METRIC V("<struct>" M("path", S("/d")) M("description", S("")) \
	M("kind", S("distribution")) M("timestamp", S("0.000000000")) M("value", DIST) \
	M("isNotCumulative", V("<boolean>1</boolean>")) \
	M("upperLimits", ARRAY(D("10.0") D("20.5"))) \
	M("tags", V("<struct>" M("k&lt;", S("v&gt;")) "</struct>")) "</struct>")
/* clang-format on */

static const struct {
	struct metric_desc desc;
	struct value value;
	const char *text;
} values[] = {
	{ { .kind = KIND_BOOL }, { .b = true }, V("<boolean>1</boolean>") },
	{ { .kind = KIND_BOOL }, { .b = false }, V("<boolean>0</boolean>") },
	{ { .kind = KIND_INT8 }, { .i = -128 }, V("<int>-128</int>") },
	{ { .kind = KIND_INT64 }, { .i = INT32_MAX }, V("<int>2147483647</int>") },
	{ { .kind = KIND_INT64 }, { .i = INT64_C(1) << 31 }, V("<i8>2147483648</i8>") },
	{ { .kind = KIND_INT64 }, { .i = INT64_MIN }, V("<i8>-9223372036854775808</i8>") },
	{ { .kind = KIND_UINT64 }, { .u = INT64_MAX }, V("<i8>9223372036854775807</i8>") },
	{ { .kind = KIND_UINT64 }, { .u = UINT64_MAX }, S("18446744073709551615") },
	{ { .kind = KIND_FLOAT64 }, { .f = 0 }, D("0.0") },
	{ { .kind = KIND_FLOAT64 }, { .f = -0.0 }, D("-0.0") },
	{ { .kind = KIND_FLOAT64 }, { .f = 12.375 }, D("12.375") },
	{ { .kind = KIND_FLOAT64 }, { .f = 1e20 }, D("100000000000000000000.0") },
	{ { .kind = KIND_FLOAT64 }, { .f = 1e21 }, D("1000000000000000000000.0") },
	{ { .kind = KIND_FLOAT64 }, { .f = -1.25e22 }, D("-12500000000000000000000.0") },
	{ { .kind = KIND_FLOAT64 }, { .f = 1e-7 }, D("0.0000001") },
	{ { .kind = KIND_FLOAT64 }, { .f = -1.25e-8 }, D("-0.0000000125") },
	{ { .kind = KIND_FLOAT64 }, { .f = NAN }, S("NaN") },
	{ { .kind = KIND_FLOAT64 }, { .f = INFINITY }, S("+Inf") },
	{ { .kind = KIND_FLOAT64 }, { .f = -INFINITY }, S("-Inf") },
	{ { .kind = KIND_FLOAT32 }, { .f = (double)0.1f }, D("0.1") },
	{ { .kind = KIND_FLOAT32 }, { .f = -INFINITY }, S("-Inf") },
	{ { .kind = KIND_STRING }, { .s = { "a<\0>\xff", 5 } },
	    S("a&lt;\xEF\xBF\xBD&gt;\xEF\xBF\xBD") },
	{ { .kind = KIND_TIME, .unit = { "Seconds", 7 } }, { .i = 1500000000250000000 },
	    S("1500000000.250000000") },
	{ { .kind = KIND_DURATION, .unit = { "Milliseconds", 12 } }, { .i = -1500000000 },
	    S("-1500.000000000") },
	{ { .kind = KIND_DIST }, { .dist = NULL }, NO_DIST },
};

static void
values_are_typed(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct buf out;

		buf_init(&out, 0);
		rpc_value(&out, &values[i].desc, &values[i].value);
		if (!str_eq(buf_view(&out), str_of(values[i].text)))
			fail_msg("row %zu: %.*s", i, (int)out.len, out.p);
		buf_fini(&out);
	}
}

static void
extreme_doubles_read_back_exactly(void **state)
{
	static const double extremes[] = { 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308,
		1e-300, 1.5e300, 0.1, 123456789.123456789, 1e22, 9007199254740993.0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(extremes); i++) {
		struct buf out;

		buf_init(&out, 0);
		rpc_double(&out, extremes[i]);
		buf_putc(&out, '\0');
		assert_null(strchr(out.p + strlen("<value><double>"), 'E'));
		assert_true(strtod(out.p + strlen("<value><double>"), NULL) == extremes[i]);
		buf_fini(&out);
	}
}

static void
lists_are_arrays_and_bytes_are_base64(void **state)
{
	static const struct value ints[] = { { .i = 1 }, { .i = -2 } };
	static const struct value bytes[] = { { .u = 1 }, { .u = 2 }, { .u = 255 } };
	static const struct value times[] = { { .i = 0 } };
	const struct list int_list = { ints, 2 }, byte_list = { bytes, 3 }, none = { NULL, 0 },
	                  time_list = { times, 1 };
	const struct {
		enum kind kind;
		const struct list *list;
		const char *text;
	} lists[] = {
		{ KIND_INT32, &int_list,
		    V("<array><data>" V("<int>1</int>") V("<int>-2</int>") "</data></array>") },
		{ KIND_INT32, &none, V("<array><data></data></array>") },
		{ KIND_UINT8, &byte_list, V("<base64>AQL/</base64>") },
		{ KIND_UINT8, &none, V("<base64></base64>") },
		{ KIND_TIME, &time_list, V("<array><data>" S("0.000000000") "</data></array>") },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
		const struct metric_desc desc = { .kind = KIND_LIST, .sub_kind = lists[i].kind };
		const struct value value = { .list = lists[i].list };
		struct buf out;

		buf_init(&out, 0);
		rpc_value(&out, &desc, &value);
		if (!str_eq(buf_view(&out), str_of(lists[i].text)))
			fail_msg("row %zu: %.*s", i, (int)out.len, out.p);
		buf_fini(&out);
	}
}

static void
distribution_has_limits_and_tags(void **state)
{
	static const double limits[] = { 10, 20.5 };
	static const uint64_t counts[] = { 1, 0, 2 };
	static const struct tag tags[] = { { { "k<", 2 }, { "v>", 2 } } };
	const struct dist dist = {
		.counts = counts, .len = 3, .sum = 55.5, .count = 3, .rollovers = 1
	};
	const struct metric_desc desc = {
		.path = STR("/d"),
		.kind = KIND_DIST,
		.limits = limits,
		.limit_count = 2,
		.not_cumulative = true,
		.tags = tags,
		.tag_count = 1,
	};
	const struct record record = { .desc = &desc, .value = { .dist = &dist }, .active = true };
	struct buf out;

	(void)state;
	buf_init(&out, 0);
	rpc_metric(&out, STR(""), STR(""), &record);
	buf_putc(&out, '\0');
	assert_string_equal(out.p, DIST_METRIC);
	buf_fini(&out);
}

/* What is no call, or a hostile one, is a fault; nothing of it comes back unescaped. */
static const struct {
	const char *body;
	int fault;
} hostile[] = {
	{ "", XMLRPC_PARSE_ERROR },
	{ "x", XMLRPC_PARSE_ERROR },
	{ "<methodCall>", XMLRPC_PARSE_ERROR },
	{ "<a/>", XMLRPC_PARSE_ERROR },
	{ "<!DOCTYPE a [<!ENTITY b \"c\">]><methodCall><methodName>&b;</methodName></methodCall>",
	    XMLRPC_PARSE_ERROR },
	{ "<methodCall><methodName>x</methodName><!-- --></methodCall>", XMLRPC_PARSE_ERROR },
	{ "<methodCall><methodName>&x;</methodName></methodCall>", XMLRPC_PARSE_ERROR },
	{ "<methodCall><methodName>\x01</methodName></methodCall>", XMLRPC_PARSE_ERROR },
	{ "<methodCall><methodName>\xff</methodName></methodCall>", XMLRPC_PARSE_ERROR },
	{ "<?xml version=\"1.0\" encoding=\"UTF-16\"?><methodCall/>", XMLRPC_PARSE_ERROR },
	{ "<methodCall><methodName>no&lt;such&gt;</methodName></methodCall>",
	    XMLRPC_NO_SUCH_METHOD_ERROR },
	{ CALL(PARAM("<int>1</int>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<double>inf</double>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<i8>9223372036854775808</i8>")), XMLRPC_PARSE_ERROR }, /* once a crash */
	{ CALL(PARAM("<i8\n>1</i8>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<ex:i8>x</ex:i8>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<![CDATA[x]]>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<?x y?>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<stringx>x</stringx>")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<string")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<")), XMLRPC_PARSE_ERROR },
	{ CALL(PARAM("<string>a</string>") PARAM("<string>b</string>")), XMLRPC_TYPE_ERROR },
	{ CALL(PARAM("<array><data></data></array>")), XMLRPC_TYPE_ERROR },
};

static void
hostile_bodies_are_faults(void **state)
{
	struct api_fixture *f = *state;

	for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
		int fault;

		if (call(f, hostile[i].body, &fault) != NULL || fault != hostile[i].fault)
			fail_msg("row %zu: %d: %s", i, fault, f->answer.p);
	}
}

static void
utf16_hides_no_declaration(void **state)
{
	struct api_fixture *f = *state;
	char body[] = "<\0!\0D\0O\0C\0";
	struct response resp;

	f->body = "x";
	ask(f, METHOD_POST, "/RPC2");
	f->request.body = (struct str){ body, sizeof(body) - 1 };
	response_init(&resp);
	rpc_post(&f->request, &resp);
	assert_non_null(memmem(resp.body.p, resp.body.len, "refused", 7));
	response_fini(&resp);
}

static void
deep_nesting_is_a_fault(void **state)
{
	static char body[REQUEST_BODY_BYTES];
	struct api_fixture *f = *state;
	int fault;

	body[0] = '\0';
	for (size_t n = 0; n + 8 < sizeof(body); n += 7)
		memcpy(body + n, "<value>", 8);
	assert_null(call(f, body, &fault));
	assert_int_equal(fault, XMLRPC_PARSE_ERROR);
	strcpy(body, "<methodCall><methodName>Scotty.Latest</methodName><params><param>");
	for (int i = 0; i < 900; i++)
		strcat(body, "<value><array><data>");
	for (int i = 0; i < 900; i++)
		strcat(body, "</data></array></value>");
	strcat(body, "</param></params></methodCall>");
	assert_null(call(f, body, &fault));
	assert_int_not_equal(fault, 0);
}

static void
introspection_tells_the_methods(void **state)
{
	struct api_fixture *f = *state;
	xmlrpc_value *value;
	int fault;

	value =
	    call(f, "<methodCall><methodName>system.listMethods</methodName></methodCall>", &fault);
	assert_non_null(value);
	assert_true(array_len(value) > 1);
	xmlrpc_DECREF(value);
	assert_non_null(strstr(f->answer.p, "Scotty.Latest"));
	value = call(f,
	    "<methodCall><methodName>system.methodHelp</methodName><params>" PARAM(
	        "<string>Scotty.Latest</string>") "</params></methodCall>",
	    &fault);
	assert_non_null(value);
	xmlrpc_DECREF(value);
	assert_non_null(strstr(f->answer.p, "newest value"));
	value = call(f,
	    "<methodCall><methodName>system.methodSignature</methodName><params>" PARAM(
	        "<string>Scotty.Latest</string>") "</params></methodCall>",
	    &fault);
	assert_non_null(value);
	assert_int_equal(array_len(value), 2);
	xmlrpc_DECREF(value);
}

static void
multicall_can_not_multiply_answers(void **state)
{
	struct api_fixture *f = *state;
	xmlrpc_value *value;
	int fault;

	store_two(f);
	value = call(f,
	    "<methodCall><methodName>system.multicall</methodName><params>" PARAM(
	        "<array><data><value><struct><member><name>methodName</name>"
	        "<value>Scotty.Latest</value></member><member><name>params</name>"
	        "<value><array><data></data></array></value></member></struct></value></data></"
	        "array>") "</params></methodCall>",
	    &fault);
	assert_non_null(value);
	xmlrpc_DECREF(value);
	assert_non_null(strstr(f->answer.p, "can't be called by system.multicall"));
	assert_null(strstr(f->answer.p, "/a/x"));
}

static void
without_memory_there_is_a_fault_or_a_refusal(void **state)
{
	struct api_fixture *f = *state;
	unsigned nth = 0;

	store_two(f);
	f->body = CALL(PARAM("/a"));
	do {
		buf_fini(&f->answer);
		fault_malloc(++nth);
		ask(f, METHOD_POST, "/RPC2");
		assert_true(f->status == 200 || f->status == 503);
	} while (fault_happened());
	fault_malloc(0);
	assert_true(nth > 4);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, api_fixture_setup, api_fixture_teardown)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(latest_takes_a_path_or_none),
		TEST(metric_is_a_struct_with_the_keys_of_latest),
		cmocka_unit_test(values_are_typed),
		cmocka_unit_test(extreme_doubles_read_back_exactly),
		cmocka_unit_test(lists_are_arrays_and_bytes_are_base64),
		cmocka_unit_test(distribution_has_limits_and_tags),
		TEST(hostile_bodies_are_faults),
		TEST(utf16_hides_no_declaration),
		TEST(deep_nesting_is_a_fault),
		TEST(introspection_tells_the_methods),
		TEST(multicall_can_not_multiply_answers),
		TEST(without_memory_there_is_a_fault_or_a_refusal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
