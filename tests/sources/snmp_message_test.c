#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sources/snmp_message_priv.h"

/* GET of sysUpTime.0 by "public", id 1000, as net-snmp's snmpget sends it. */
static const uint8_t get_bytes[] = { 0x30, 0x27, 0x02, 0x01, 0x01, 0x04, 0x06, 'p', 'u', 'b', 'l',
	'i', 'c', 0xa0, 0x1a, 0x02, 0x02, 0x03, 0xe8, 0x02, 0x01, 0x00, 0x02, 0x01, 0x00, 0x30,
	0x0e, 0x30, 0x0c, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x02, 0x01, 0x01, 0x03, 0x00, 0x05, 0x00 };

static struct str
bytes_of(const void *p, size_t len)
{
	return (struct str){ p, len };
}

static void
request_is_the_bytes_of_other_programs(void **state)
{
	static const uint32_t ids[] = { 1, 3, 6, 1, 2, 1, 1, 3, 0 };
	const struct snmp_oid oid = { ids, ARRAY_LEN(ids) };
	const struct snmp_request request = { .version = SNMP_V2C,
		.community = STR("public"),
		.pdu = SNMP_PDU_GET,
		.id = 1000,
		.oids = &oid,
		.count = 1 };
	uint8_t out[64];
	size_t len = snmp_encode(&request, out, sizeof(out));

	(void)state;
	assert_int_equal(len, sizeof(get_bytes));
	assert_memory_equal(out + sizeof(out) - len, get_bytes, len);
	for (size_t room = 0; room < sizeof(get_bytes); room++)
		assert_int_equal(snmp_encode(&request, out, room), 0);
}

static void
integers_take_as_few_bytes_as_they_can(void **state)
{
	static const struct {
		int32_t value;
		size_t len;
	} rows[] = { { 0, 3 }, { 127, 3 }, { 128, 4 }, { -1, 3 }, { -128, 3 }, { -129, 4 },
		{ 32767, 4 }, { 32768, 5 }, { 8388607, 5 }, { 8388608, 6 }, { INT32_MAX, 6 },
		{ INT32_MIN, 6 } };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t out[16];
		struct ber_writer w = { .begin = out, .at = out + sizeof(out) };
		struct ber_reader r;
		int64_t back = 0;

		ber_put_integer(&w, rows[i].value);
		assert_int_equal(out + sizeof(out) - w.at, rows[i].len);
		r = (struct ber_reader){ w.at, out + sizeof(out) };
		assert_true(ber_take_integer(&r, &back));
		assert_int_equal(back, rows[i].value);
	}
}

static void
object_identifiers_come_back(void **state)
{
	static const char *const texts[] = { "0.0", "1.3", "2.999.3",
		"1.3.6.1.4.1.127.128.16383.16384", "1.3.4294967295.0.4294967295", "2.4294967215" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		uint8_t out[128];
		char text[SNMP_OID_TEXT_BYTES];
		struct ber_writer w = { .begin = out, .at = out + sizeof(out) };
		struct ber_reader r, content;
		struct snmp_oid_room room, back;

		assert_true(snmp_oid_parse(str_of(texts[i]), &room));
		ber_put_oid(&w, snmp_oid_of(&room));
		r = (struct ber_reader){ w.at, out + sizeof(out) };
		assert_true(ber_take_as(&r, BER_OID, &content) && ber_to_oid(&content, &back));
		assert_true(str_eq(
		    bytes_of(text, snmp_oid_text(snmp_oid_of(&back), text)), str_of(texts[i])));
	}
}

static void
text_that_is_no_object_identifier_is_refused(void **state)
{
	static const char *const texts[] = { "", ".", "1", "1.", "1..3", "3.1", "1.40", "1.3.x",
		"1.3.-1", "1.3.4294967296", "1.3.+6", " 1.3" };
	struct snmp_oid_room room;
	char deep[400] = "1.3";

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		assert_false(snmp_oid_parse(str_of(texts[i]), &room));
	for (int i = 2; i < SNMP_OID_MOST; i++)
		strcat(deep, ".1");
	assert_true(snmp_oid_parse(str_of(deep), &room));
	strcat(deep, ".1");
	assert_false(snmp_oid_parse(str_of(deep), &room));
}

static void
order_is_by_number(void **state)
{
	static const char *const rising[] = { "1.3", "1.3.2", "1.3.2.1", "1.3.10", "1.3.127",
		"1.3.128", "1.3.16383.1", "1.3.16384" };
	struct snmp_oid_room a, b;

	(void)state;
	for (size_t i = 0; i + 1 < ARRAY_LEN(rising); i++) {
		assert_true(snmp_oid_parse(str_of(rising[i]), &a));
		assert_true(snmp_oid_parse(str_of(rising[i + 1]), &b));
		assert_true(snmp_oid_cmp(snmp_oid_of(&a), snmp_oid_of(&b)) < 0);
		assert_true(snmp_oid_cmp(snmp_oid_of(&b), snmp_oid_of(&a)) > 0);
		assert_int_equal(snmp_oid_cmp(snmp_oid_of(&a), snmp_oid_of(&a)), 0);
	}
}

static void
cut_messages_are_refused(void **state)
{
	(void)state;
	for (size_t len = 0; len < sizeof(get_bytes); len++) {
		char *copy = malloc(len + 1); /* so that a sanitizer sees any byte read beyond */
		struct snmp_message message;
		int64_t id;

		assert_non_null(copy);
		memcpy(copy, get_bytes, len);
		assert_false(snmp_decode(bytes_of(copy, len), &message));
		assert_false(snmp_peek_id(bytes_of(copy, len), &id));
		free(copy);
	}
}

static void
message_is_read(void **state)
{
	struct snmp_message message;
	struct snmp_varbind_room room;
	struct snmp_varbind varbind;
	const char *why;
	int64_t id;

	(void)state;
	assert_true(snmp_decode(bytes_of(get_bytes, sizeof(get_bytes)), &message));
	assert_true(snmp_peek_id(bytes_of(get_bytes, sizeof(get_bytes)), &id));
	assert_int_equal(id, 1000);
	assert_int_equal(message.id, 1000);
	assert_int_equal(message.pdu, SNMP_PDU_GET);
	assert_true(str_eq(message.community, STR("public")));
	assert_int_equal(
	    snmp_read_varbind(&message.varbinds, &varbind, &room, &why), SNMP_READ_ONE);
	assert_int_equal(varbind.type, SNMP_NULL);
	assert_int_equal(varbind.name.len, 9);
	assert_int_equal(
	    snmp_read_varbind(&message.varbinds, &varbind, &room, &why), SNMP_READ_END);
}

/* Reads the value given as tag, length and content. */
static enum snmp_read
read_value(const char *value, size_t len, struct snmp_varbind *out)
{
	static struct snmp_varbind_room room;
	static char bytes[200];
	struct str rest;
	const char *why;

	bytes[0] = 0x30;
	bytes[1] = (char)(len + 3);
	memcpy(bytes + 2, "\x06\x01\x2b", 3);
	memcpy(bytes + 5, value, len);
	rest = bytes_of(bytes, len + 5);
	return snmp_read_varbind(&rest, out, &room, &why);
}
#define READ(value, out) read_value(value, sizeof(value) - 1, out)

static void
values_have_their_types(void **state)
{
	struct snmp_varbind v;

	(void)state;
	assert_int_equal(READ("\x02\x01\xff", &v), SNMP_READ_ONE);
	assert_int_equal(v.i, -1);
	assert_int_equal(READ("\x41\x05\x00\xff\xff\xff\xff", &v), SNMP_READ_ONE);
	assert_int_equal(v.u, UINT32_MAX);
	/* Without the zero that should be there. */
	assert_int_equal(READ("\x42\x04\xff\xff\xff\xff", &v), SNMP_READ_ONE);
	assert_int_equal(v.u, UINT32_MAX);
	assert_int_equal(READ("\x46\x09\x00\xff\xff\xff\xff\xff\xff\xff\xff", &v), SNMP_READ_ONE);
	assert_true(v.u == UINT64_MAX);
	assert_int_equal(READ("\x04\x00", &v), SNMP_READ_ONE);
	assert_int_equal(v.octets.len, 0);
	assert_int_equal(READ("\x44\x07\x9f\x78\x04\x3f\x80\x00\x00", &v), SNMP_READ_ONE);
	assert_int_equal(v.type, SNMP_FLOAT);
	assert_true(v.f == 1.0);
	assert_int_equal(
	    READ("\x44\x0b\x9f\x79\x08\x3f\xf0\x00\x00\x00\x00\x00\x00", &v), SNMP_READ_ONE);
	assert_int_equal(v.type, SNMP_DOUBLE);
	assert_true(v.f == 1.0);
	assert_int_equal(READ("\x44\x02\x01\x02", &v), SNMP_READ_ONE);
	assert_int_equal(v.type, SNMP_OPAQUE);
	assert_int_equal(READ("\x82\x00", &v), SNMP_READ_ONE);
	assert_int_equal(v.type, SNMP_END_OF_MIB_VIEW);
}

static void
values_that_do_not_fit_are_refused(void **state)
{
	struct snmp_varbind v;

	(void)state;
	assert_int_equal(READ("\x02\x00", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x02\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x41\x05\x01\x00\x00\x00\x00", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x40\x03\x01\x02\x03", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x06\x02\x2b\x81", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x06\x06\x2b\x90\x80\x80\x80\x00", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x24\x00", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x04\x05\x01", &v), SNMP_READ_BAD);
	assert_int_equal(READ("\x04\x80\x00\x00", &v), SNMP_READ_BAD);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(request_is_the_bytes_of_other_programs),
		cmocka_unit_test(integers_take_as_few_bytes_as_they_can),
		cmocka_unit_test(object_identifiers_come_back),
		cmocka_unit_test(text_that_is_no_object_identifier_is_refused),
		cmocka_unit_test(order_is_by_number),
		cmocka_unit_test(cut_messages_are_refused),
		cmocka_unit_test(message_is_read),
		cmocka_unit_test(values_have_their_types),
		cmocka_unit_test(values_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
