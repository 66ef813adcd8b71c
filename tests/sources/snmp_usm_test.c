#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sources/snmp_usm_priv.h"

#define SIZE 1400

static const uint8_t engine_id[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2 };

struct fixture {
	struct snmp_keyring *ring;
	struct snmp_conf conf;
	char auth_password[16], priv_password[16];
	struct snmp_engine engine;
	struct err err;
};

static int
setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	strcpy(f.auth_password, "maplesyrup");
	strcpy(f.priv_password, "maplesyrup");
	f.conf = (struct snmp_conf){ .version = SNMP_V3,
		.user = STR("bert"),
		.context = STR(""),
		.level = SNMP_AUTH_PRIV,
		.auth_password = f.auth_password,
		.priv_password = f.priv_password };
	f.ring = snmp_keyring_new(&f.err);
	assert_non_null(f.ring);
	*state = &f;
	return 0;
}

static int
teardown(void **state)
{
	struct fixture *f = *state;

	snmp_engine_fini(&f->engine);
	snmp_keyring_free(f->ring);
	return 0;
}

/* A message of the agent's side, without security: a report of the USM counter, or a response. */
static size_t
make_plain(uint8_t *out, unsigned pdu, uint32_t counter, uint32_t boots, uint32_t time)
{
	uint32_t ids[] = { 1, 3, 6, 1, 6, 3, 15, 1, 1, counter, 0 };
	uint8_t *end = out + SIZE;
	struct ber_writer w = { .begin = out, .at = end };
	struct str id = { (const char *)engine_id, sizeof(engine_id) };
	const uint8_t *security;

	ber_put_integer(&w, 7);
	ber_put_oid(&w, (struct snmp_oid){ ids, ARRAY_LEN(ids) });
	ber_put_header(&w, BER_SEQUENCE, end);
	ber_put_header(&w, BER_SEQUENCE, end);
	ber_put_integer(&w, 0);
	ber_put_integer(&w, 0);
	ber_put_integer(&w, 1);
	ber_put_header(&w, pdu, end);
	ber_put_octets(&w, STR(""));
	ber_put_octets(&w, id);
	ber_put_header(&w, BER_SEQUENCE, end);
	security = w.at;
	ber_put_octets(&w, STR(""));
	ber_put_octets(&w, STR(""));
	ber_put_octets(&w, STR(""));
	ber_put_integer(&w, (int32_t)time);
	ber_put_integer(&w, (int32_t)boots);
	ber_put_octets(&w, id);
	ber_put_header(&w, BER_SEQUENCE, security);
	ber_put_header(&w, BER_OCTETS, security);
	security = w.at;
	ber_put_integer(&w, 3);
	ber_put_octets(&w, (struct str){ "\0", 1 });
	ber_put_integer(&w, 65507);
	ber_put_integer(&w, 1);
	ber_put_header(&w, BER_SEQUENCE, security);
	ber_put_integer(&w, SNMP_V3);
	ber_put_header(&w, BER_SEQUENCE, end);
	assert_false(w.failed);
	memmove(out, w.at, (size_t)(end - w.at));
	return (size_t)(end - w.at);
}

static enum snmp_usm_result
decode_plain(struct fixture *f, unsigned pdu, uint32_t counter, uint32_t boots, uint32_t time)
{
	uint8_t bytes[SIZE];
	struct snmp_message message;
	size_t len = make_plain(bytes, pdu, counter, boots, time);

	return snmp_usm_decode(&f->engine, bytes, len, 0, &message, &f->err);
}

static void
open_engine(struct fixture *f, enum snmp_auth auth, enum snmp_priv priv)
{
	f->conf.auth = auth;
	f->conf.priv = priv;
	assert_int_equal(snmp_engine_init(&f->engine, &f->conf, f->ring, &f->err), 0);
	assert_int_equal(decode_plain(f, SNMP_PDU_REPORT, 4, 5, 1000), SNMP_USM_AGAIN);
}

static void
check_key(const struct snmp_key *key, const char *hex)
{
	char text[2 * SNMP_KEY_MOST + 1] = "";

	for (size_t i = 0; i < key->len; i++)
		sprintf(text + 2 * i, "%02x", key->bytes[i]);
	assert_string_equal(text, hex);
}

/* RFC 3414 section A.3. */
static void
keys_are_those_of_the_standard(void **state)
{
	struct fixture *f = *state;

	open_engine(f, SNMP_MD5, SNMP_DES);
	check_key(&f->engine.auth_master, "9faf3283884e92834ebc9847d8edd963");
	check_key(&f->engine.auth, "526f5eed9fcce26f8964c2930787d82b");
	open_engine(f, SNMP_SHA, SNMP_DES);
	check_key(&f->engine.auth_master, "9fb5cc0381497b3793528939ff788d5d79145211");
	check_key(&f->engine.auth, "6695febc9288e36282235fc7151f128497b38f3f");
	check_key(&f->engine.priv, "6695febc9288e36282235fc7151f128497b38f3f");
}

/*
 * What the engine sends is also what it would accept, but for the PDU: turned into a response it
 * serves as the agent's answer.
 */
static size_t
make_answer(struct fixture *f, int64_t now_ns, uint8_t *out)
{
	static const uint32_t ids[] = { 1, 3, 6, 1, 2, 1, 1, 3, 0 };
	const struct snmp_oid oid = { ids, ARRAY_LEN(ids) };
	const struct snmp_request request = {
		.pdu = SNMP_PDU_RESPONSE, .id = 9, .oids = &oid, .count = 1
	};
	size_t len = snmp_usm_encode(&f->engine, &request, now_ns, out, SIZE);

	assert_true(len > 0);
	memmove(out, out + SIZE - len, len);
	return len;
}

static void
every_cipher_comes_back(void **state)
{
	struct fixture *f = *state;

	for (enum snmp_auth auth = SNMP_MD5; auth <= SNMP_SHA512; auth++) {
		for (enum snmp_priv priv = SNMP_DES; priv <= SNMP_AES256C; priv++) {
			uint8_t bytes[SIZE];
			struct snmp_message message;
			size_t len;

			open_engine(f, auth, priv);
			len = make_answer(f, 0, bytes);
			assert_null(memmem(bytes, len, "\x2b\x06\x01\x02\x01\x01\x03", 7));
			assert_int_equal(
			    snmp_usm_decode(&f->engine, bytes, len, 0, &message, &f->err),
			    SNMP_USM_ANSWER);
			assert_int_equal(message.id, 9);
			assert_true(f->engine.trusted);
		}
	}
}

static void
a_message_with_any_byte_changed_is_dropped(void **state)
{
	struct fixture *f = *state;
	uint8_t whole[SIZE], bytes[SIZE];
	struct snmp_message message;
	size_t len;

	open_engine(f, SNMP_SHA256, SNMP_AES128);
	len = make_answer(f, 0, whole);
	for (size_t i = 0; i < len; i++) {
		memcpy(bytes, whole, len);
		bytes[i] ^= 1;
		assert_int_not_equal(
		    snmp_usm_decode(&f->engine, bytes, len, 0, &message, &f->err), SNMP_USM_ANSWER);
		memcpy(bytes, whole, len);
		assert_int_equal(
		    snmp_usm_decode(&f->engine, bytes, i, 0, &message, &f->err), SNMP_USM_DROP);
	}
}

static void
old_messages_are_dropped_and_the_clock_is_followed(void **state)
{
	struct fixture *f = *state;
	uint8_t whole[SIZE], bytes[SIZE];
	struct snmp_message message;
	size_t len;

	open_engine(f, SNMP_SHA, SNMP_AES128);
	len = make_answer(f, 0, whole);
	memcpy(bytes, whole, len);
	assert_int_equal(snmp_usm_decode(&f->engine, bytes, len, 150 * NS_PER_S, &message, &f->err),
	    SNMP_USM_ANSWER);
	/* That set the clock back to 1000 at 150 s. */
	memcpy(bytes, whole, len);
	assert_int_equal(snmp_usm_decode(&f->engine, bytes, len, 300 * NS_PER_S, &message, &f->err),
	    SNMP_USM_ANSWER);
	memcpy(bytes, whole, len);
	assert_int_equal(snmp_usm_decode(&f->engine, bytes, len, 302 * NS_PER_S, &message, &f->err),
	    SNMP_USM_DROP);
	/* A message from before a restart. */
	f->engine.boots = 6;
	memcpy(bytes, whole, len);
	assert_int_equal(snmp_usm_decode(&f->engine, bytes, len, 150 * NS_PER_S, &message, &f->err),
	    SNMP_USM_DROP);
	/* A later boot is followed at once. */
	f->engine.boots = 4;
	memcpy(bytes, whole, len);
	assert_int_equal(
	    snmp_usm_decode(&f->engine, bytes, len, 0, &message, &f->err), SNMP_USM_ANSWER);
	assert_int_equal(f->engine.boots, 5);
}

static void
values_without_security_do_not_count(void **state)
{
	struct fixture *f = *state;

	open_engine(f, SNMP_SHA, SNMP_AES128);
	assert_int_equal(decode_plain(f, SNMP_PDU_RESPONSE, 1, 5, 1000), SNMP_USM_DROP);
	/* Who is not sure of the time need not believe it either. */
	assert_int_equal(decode_plain(f, SNMP_PDU_REPORT, 2, 5, 1000), SNMP_USM_DROP);
	f->conf.level = SNMP_NO_AUTH;
	assert_int_equal(decode_plain(f, SNMP_PDU_RESPONSE, 1, 5, 1000), SNMP_USM_ANSWER);
	snmp_engine_forget(&f->engine);
	assert_int_equal(decode_plain(f, SNMP_PDU_RESPONSE, 1, 5, 1000), SNMP_USM_DROP);
}

static void
reports_become_texts(void **state)
{
	static const struct {
		uint32_t counter;
		const char *text;
	} rows[] = { { 1, "may not use level authPriv" }, { 3, "agent knows no user bert" },
		{ 5, "wrong digest" }, { 6, "could not decrypt" },
		{ 9, "agent reported 1.3.6.1.6.3.15.1.1.9.0" } };
	struct fixture *f = *state;

	open_engine(f, SNMP_SHA, SNMP_AES128);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(
		    decode_plain(f, SNMP_PDU_REPORT, rows[i].counter, 5, 1000), SNMP_USM_FAILED);
		assert_non_null(strstr(f->err.text, rows[i].text));
	}
}

static void
requests_that_do_not_fit_are_not_written(void **state)
{
	static const uint32_t ids[] = { 1, 3, 6 };
	const struct snmp_oid oid = { ids, ARRAY_LEN(ids) };
	const struct snmp_request request = {
		.pdu = SNMP_PDU_GET, .id = 9, .oids = &oid, .count = 1
	};
	struct fixture *f = *state;
	uint8_t out[SIZE];
	size_t len;

	open_engine(f, SNMP_SHA512, SNMP_DES);
	len = snmp_usm_encode(&f->engine, &request, 0, out, sizeof(out));
	assert_true(len > 0);
	for (size_t room = 0; room < len; room++)
		assert_int_equal(snmp_usm_encode(&f->engine, &request, 0, out, room), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_are_those_of_the_standard, setup, teardown),
		cmocka_unit_test_setup_teardown(every_cipher_comes_back, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    a_message_with_any_byte_changed_is_dropped, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    old_messages_are_dropped_and_the_clock_is_followed, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    values_without_security_do_not_count, setup, teardown),
		cmocka_unit_test_setup_teardown(reports_become_texts, setup, teardown),
		cmocka_unit_test_setup_teardown(
		    requests_that_do_not_fit_are_not_written, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
