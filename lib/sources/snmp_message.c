#include "sources/snmp_message_priv.h"

#include <assert.h>
#include <stdio.h>

/* What net-snmp puts into an Opaque: a long tag (0x9f), then one of these. */
enum {
	OPAQUE_COUNTER64 = 0x76,
	OPAQUE_FLOAT = 0x78,
	OPAQUE_DOUBLE = 0x79,
	OPAQUE_INTEGER64 = 0x7a,
	OPAQUE_UNSIGNED64 = 0x7b
};

const char *
snmp_status_text(int64_t status)
{
	static const char *const texts[] = { "noError", "tooBig", "noSuchName", "badValue",
		"readOnly", "genErr", "noAccess", "wrongType", "wrongLength", "wrongEncoding",
		"wrongValue", "noCreation", "inconsistentValue", "resourceUnavailable",
		"commitFailed", "undoFailed", "authorizationError", "notWritable",
		"inconsistentName" };
	static _Thread_local char unknown[32];

	if (status >= 0 && status < (int64_t)ARRAY_LEN(texts))
		return texts[status];
	snprintf(unknown, sizeof(unknown), "error %lld", (long long)status);
	return unknown;
}

void
snmp_put_pdu(struct ber_writer *w, const struct snmp_request *request)
{
	const uint8_t *end = w->at;
	bool bulk = request->pdu == SNMP_PDU_GETBULK;

	for (size_t i = request->count; i > 0 && !w->failed; i--) {
		const uint8_t *varbind_end = w->at;

		ber_put_header(w, BER_NULL, w->at);
		ber_put_oid(w, request->oids[i - 1]);
		ber_put_header(w, BER_SEQUENCE, varbind_end);
	}
	ber_put_header(w, BER_SEQUENCE, end);
	ber_put_integer(w, bulk ? (int32_t)request->max_repetitions : 0);
	ber_put_integer(w, bulk ? (int32_t)request->non_repeaters : 0);
	ber_put_integer(w, request->id);
	ber_put_header(w, request->pdu, end);
}

size_t
snmp_encode(const struct snmp_request *request, uint8_t *out, size_t size)
{
	uint8_t *end = out + size;
	struct ber_writer w = { .begin = out, .at = end };

	snmp_put_pdu(&w, request);
	ber_put_octets(&w, request->community);
	ber_put_integer(&w, (int32_t)request->version);
	ber_put_header(&w, BER_SEQUENCE, end);
	return w.failed ? 0 : (size_t)(end - w.at);
}

static double
to_float(const struct ber_reader *content)
{
	uint32_t bits = (uint32_t)ber_big_endian(content);
	float value;

	memcpy(&value, &bits, sizeof(value));
	return (double)value;
}

static double
to_double(const struct ber_reader *content)
{
	uint64_t bits = ber_big_endian(content);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* True if what an Opaque holds is a number in net-snmp's form; else it stays what it is. */
static bool
open_opaque(struct ber_reader content, struct snmp_varbind *out)
{
	struct ber_reader number;
	unsigned tag;

	if (ber_left(&content) < 3 || *content.at++ != 0x9f || !ber_take(&content, &tag, &number))
		return false;
	switch (tag) {
	case OPAQUE_FLOAT:
		out->type = SNMP_FLOAT;
		out->f = to_float(&number);
		return ber_left(&number) == 4;
	case OPAQUE_DOUBLE:
		out->type = SNMP_DOUBLE;
		out->f = to_double(&number);
		return ber_left(&number) == 8;
	case OPAQUE_INTEGER64:
		out->type = SNMP_INTEGER64;
		return ber_to_integer(&number, &out->i);
	case OPAQUE_COUNTER64:
	case OPAQUE_UNSIGNED64:
		out->type = SNMP_COUNTER64;
		return ber_to_unsigned(&number, 8, &out->u);
	default:
		return false;
	}
}

static bool
read_value(unsigned tag, const struct ber_reader *content, struct snmp_varbind *out,
    struct snmp_varbind_room *room)
{
	out->type = (enum snmp_type)tag;
	switch (tag) {
	case SNMP_INTEGER:
		return ber_to_integer(content, &out->i);
	case SNMP_COUNTER32:
	case SNMP_GAUGE32:
	case SNMP_TIMETICKS:
	case SNMP_UINTEGER32:
		return ber_to_unsigned(content, 4, &out->u);
	case SNMP_COUNTER64:
		return ber_to_unsigned(content, 8, &out->u);
	case SNMP_OID:
		out->oid = (struct snmp_oid){ room->value.ids, 0 };
		if (!ber_to_oid(content, &room->value))
			return false;
		out->oid.len = room->value.len;
		return true;
	case SNMP_OPAQUE:
		if (open_opaque(*content, out))
			return true;
		out->type = SNMP_OPAQUE;
		out->octets = ber_rest(content);
		return true;
	case SNMP_IPADDRESS:
		out->octets = ber_rest(content);
		return out->octets.len == 4;
	case SNMP_OCTETS:
		out->octets = ber_rest(content);
		return true;
	case SNMP_NULL:
	case SNMP_NO_SUCH_OBJECT:
	case SNMP_NO_SUCH_INSTANCE:
	case SNMP_END_OF_MIB_VIEW:
		return true;
	default:
		return false;
	}
}

enum snmp_read
snmp_read_varbind(
    struct str *rest, struct snmp_varbind *out, struct snmp_varbind_room *room, const char **why)
{
	struct ber_reader r = ber_reader_of(*rest), varbind, name, value;
	unsigned tag;

	if (ber_left(&r) == 0)
		return SNMP_READ_END;
	if (!ber_take_as(&r, BER_SEQUENCE, &varbind) || !ber_take_as(&varbind, SNMP_OID, &name) ||
	    !ber_take(&varbind, &tag, &value)) {
		*why = "a varbind is not BER";
		return SNMP_READ_BAD;
	}
	if (!ber_to_oid(&name, &room->name)) {
		*why = "an object identifier is too long";
		return SNMP_READ_BAD;
	}
	if (!read_value(tag, &value, out, room)) {
		*why = "a value does not fit its type";
		return SNMP_READ_BAD;
	}
	out->name = snmp_oid_of(&room->name);
	*rest = ber_rest(&r);
	return SNMP_READ_ONE;
}

bool
snmp_take_pdu(struct ber_reader *r, struct snmp_message *message)
{
	struct ber_reader pdu, varbinds;
	unsigned tag;
	int64_t id;

	if (!ber_take(r, &tag, &pdu) || tag < SNMP_PDU_GET || tag > SNMP_PDU_REPORT ||
	    !ber_take_integer(&pdu, &id) || id < INT32_MIN || id > INT32_MAX ||
	    !ber_take_integer(&pdu, &message->status) || !ber_take_integer(&pdu, &message->index) ||
	    !ber_take_as(&pdu, BER_SEQUENCE, &varbinds))
		return false;
	message->pdu = (uint8_t)tag;
	message->id = (int32_t)id;
	message->varbinds = ber_rest(&varbinds);
	return true;
}

bool
snmp_decode(struct str bytes, struct snmp_message *message)
{
	struct ber_reader r = ber_reader_of(bytes), whole;

	/* What follows the message is not looked at, as in other implementations. */
	return ber_take_as(&r, BER_SEQUENCE, &whole) &&
	       ber_take_integer(&whole, &message->version) &&
	       ber_take_octets(&whole, &message->community) && snmp_take_pdu(&whole, message);
}

bool
snmp_peek_id(struct str bytes, int64_t *id)
{
	struct ber_reader r = ber_reader_of(bytes), whole, header, pdu;
	struct str community;
	int64_t version;
	unsigned tag;

	if (!ber_take_as(&r, BER_SEQUENCE, &whole) || !ber_take_integer(&whole, &version))
		return false;
	if (version == SNMP_V3)
		return ber_take_as(&whole, BER_SEQUENCE, &header) && ber_take_integer(&header, id);
	return ber_take_octets(&whole, &community) && ber_take(&whole, &tag, &pdu) &&
	       ber_take_integer(&pdu, id);
}
