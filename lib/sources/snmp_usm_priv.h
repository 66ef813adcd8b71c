/*
 * sources/snmp_usm_priv.h - messages of SNMP version 3 and their User-based Security Model:
 * RFC 3412 (messages), 3414 (model, MD5, SHA, DES), 3826 (AES), 7860 (SHA-2), and for AES-192 and
 * AES-256 what implementations agree on (draft-blumenthal-aes-usm-04,
 * draft-reeder-snmpv3-usm-3desede).
 *
 * Each agent has an engine of its own here, so agents that share an engine id do not disturb each
 * other, and nothing is kept beyond the agent. Hashes and ciphers are libcrypto's.
 *
 * Threads: belongs to its owner.
 */
#ifndef SCOTTY_SOURCES_SNMP_USM_PRIV_H
#define SCOTTY_SOURCES_SNMP_USM_PRIV_H

#include "base/err.h"
#include "sources/snmp_conf_priv.h"
#include "sources/snmp_message_priv.h"

#define SNMP_ENGINE_ID_MOST 32
#define SNMP_KEY_MOST       64

struct snmp_key {
	uint8_t bytes[SNMP_KEY_MOST];
	size_t len;
};

/*
 * Keys of a password before they are bound to an engine: a mebibyte is hashed for each, a
 * millisecond or two, so those of the last users are remembered.
 */
struct snmp_keyring;
struct snmp_keyring *snmp_keyring_new(struct err *);
void snmp_keyring_free(struct snmp_keyring *); /* NULL is fine; wipes them */

/* What is known of an agent's engine; zero at first. */
struct snmp_engine {
	const struct snmp_conf *conf; /* user, level, protocols; lent */
	struct snmp_key auth_master, priv_master;
	uint8_t id[SNMP_ENGINE_ID_MOST];
	size_t id_len;              /* 0 = unknown: it is asked for first */
	struct snmp_key auth, priv; /* bound to id */
	/* Its boots and time, and when that was (mono); trusted once a message was authentic. */
	uint32_t boots, time;
	int64_t time_ns;
	bool trusted;
	uint64_t salt; /* of the next encrypted message */
};

/* -1 with ERR_NOMEM, or ERR_CONFIG if libcrypto here can't do what conf asks for. */
int snmp_engine_init(
    struct snmp_engine *, const struct snmp_conf *, struct snmp_keyring *, struct err *);
/* As if nothing had been heard of it yet. */
void snmp_engine_forget(struct snmp_engine *);
void snmp_engine_fini(struct snmp_engine *); /* wipes the keys; zero is fine */

/*
 * Writes the message to the end of out[0..size), its id the request's; the request is not sent as
 * long as the engine is unknown, but one that asks for it. Its length, or 0 if it does not fit.
 */
size_t snmp_usm_encode(
    struct snmp_engine *, const struct snmp_request *, int64_t now_ns, uint8_t *out, size_t size);

enum snmp_usm_result {
	SNMP_USM_ANSWER, /* *out is the response, authentic and fresh as the level demands */
	SNMP_USM_AGAIN,  /* the engine was found, or its clock: ask again */
	SNMP_USM_DROP,   /* not to be trusted, or no message at all: as if it had not come */
	SNMP_USM_FAILED, /* err says what the agent complained of */
};

/* The bytes are decrypted in place; *out points into them. */
enum snmp_usm_result snmp_usm_decode(struct snmp_engine *, uint8_t *bytes, size_t len,
    int64_t now_ns, struct snmp_message *out, struct err *);

#endif
