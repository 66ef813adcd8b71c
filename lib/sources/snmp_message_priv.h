/*
 * sources/snmp_message_priv.h - requests and responses of SNMP as bytes (RFC 1157, 1901, 3416), and
 * the messages of versions 1 and 2c that they travel in. Those of version 3: snmp_usm_priv.h.
 *
 * Threads: pure functions.
 */
#ifndef SCOTTY_SOURCES_SNMP_MESSAGE_PRIV_H
#define SCOTTY_SOURCES_SNMP_MESSAGE_PRIV_H

#include "base/err.h"
#include "sources/snmp_ber_priv.h"

enum snmp_version { SNMP_V1 = 0, SNMP_V2C = 1, SNMP_V3 = 3 }; /* as on the wire */

enum snmp_pdu {
	SNMP_PDU_GET = 0xa0,
	SNMP_PDU_GETNEXT = 0xa1,
	SNMP_PDU_RESPONSE = 0xa2,
	SNMP_PDU_GETBULK = 0xa5,
	SNMP_PDU_REPORT = 0xa8,
};

/* What a value is: its BER tag. */
enum snmp_type {
	SNMP_INTEGER = 0x02,
	SNMP_OCTETS = 0x04,
	SNMP_NULL = 0x05,
	SNMP_OID = 0x06,
	SNMP_IPADDRESS = 0x40,
	SNMP_COUNTER32 = 0x41,
	SNMP_GAUGE32 = 0x42,
	SNMP_TIMETICKS = 0x43,
	SNMP_OPAQUE = 0x44,
	SNMP_COUNTER64 = 0x46,
	SNMP_UINTEGER32 = 0x47, /* RFC 1442's; still met */
	SNMP_NO_SUCH_OBJECT = 0x80,
	SNMP_NO_SUCH_INSTANCE = 0x81,
	SNMP_END_OF_MIB_VIEW = 0x82,
	/* Never on the wire by themselves: what an Opaque held. */
	SNMP_FLOAT = 0x100,
	SNMP_DOUBLE = 0x101,
	SNMP_INTEGER64 = 0x102,
};

enum { /* error-status, RFC 3416 section 3 */
	SNMP_ERR_NONE = 0,
	SNMP_ERR_TOO_BIG = 1,
	SNMP_ERR_NO_SUCH_NAME = 2,
	SNMP_ERR_AUTHORIZATION = 16,
};
/* "tooBig", ...; a number that is none is "error N" in a buffer of the thread's. */
const char *snmp_status_text(int64_t status);

struct snmp_varbind {
	struct snmp_oid name;
	enum snmp_type type;
	union {
		int64_t i;         /* INTEGER, INTEGER64 */
		uint64_t u;        /* COUNTER32, GAUGE32, TIMETICKS, COUNTER64, UINTEGER32 */
		double f;          /* FLOAT, DOUBLE */
		struct str octets; /* OCTETS, IPADDRESS (4 bytes), OPAQUE */
		struct snmp_oid oid;
	};
};

struct snmp_request {
	enum snmp_version version; /* 1 or 2c */
	struct str community;
	enum snmp_pdu pdu;
	int32_t id;
	uint32_t non_repeaters, max_repetitions; /* GETBULK */
	const struct snmp_oid *oids;             /* each two numbers at least */
	size_t count;
};

/* The PDU alone; version and community are of no account. */
void snmp_put_pdu(struct ber_writer *, const struct snmp_request *);
/* Writes the message to the end of out[0..size); its length, or 0 if it does not fit. */
size_t snmp_encode(const struct snmp_request *, uint8_t *out, size_t size);

/* A message as received, the varbinds still to be read. Points into the bytes. */
struct snmp_message {
	int64_t version;
	struct str community;
	uint8_t pdu;
	int32_t id;
	int64_t status, index; /* of a GETBULK: non-repeaters, max-repetitions */
	struct str varbinds;
};

/*
 * The id of a message of any version: of its PDU, or, version 3, its own. False if it has none.
 */
bool snmp_peek_id(struct str bytes, int64_t *id);
/* Takes a PDU off r into the message. */
bool snmp_take_pdu(struct ber_reader *r, struct snmp_message *);
/* False if the bytes are no such message. */
bool snmp_decode(struct str bytes, struct snmp_message *);

/* Storage for what one varbind points to, besides the message. */
struct snmp_varbind_room {
	struct snmp_oid_room name, value;
};

enum snmp_read { SNMP_READ_ONE, SNMP_READ_END, SNMP_READ_BAD };
/*
 * Takes the next varbind off *rest (at first snmp_message.varbinds). A value that fits its type in
 * no way is BAD, as is whatever is not BER; why says so.
 */
enum snmp_read snmp_read_varbind(
    struct str *rest, struct snmp_varbind *out, struct snmp_varbind_room *, const char **why);

#endif
