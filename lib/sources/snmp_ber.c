#include "sources/snmp_ber_priv.h"

#include <assert.h>
#include <stdio.h>

#define TAG_SEQUENCE 0x30

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

/*
 * Writing goes from the end to the beginning, so that a length is known when its turn comes.
 */
struct writer {
	uint8_t *begin, *at;
	bool failed;
};

static void
put_byte(struct writer *w, unsigned byte)
{
	if (w->at == w->begin)
		w->failed = true;
	else
		*--w->at = (uint8_t)byte;
}

/* Tag and length before what was written since end. */
static void
put_header(struct writer *w, unsigned tag, const uint8_t *end)
{
	size_t len = (size_t)(end - w->at);

	if (len < 0x80) {
		put_byte(w, (unsigned)len);
	} else {
		unsigned bytes = 0;

		for (; len > 0; len >>= 8, bytes++)
			put_byte(w, len & 0xff);
		put_byte(w, 0x80 | bytes);
	}
	put_byte(w, tag);
}

static void
put_integer(struct writer *w, int32_t value)
{
	const uint8_t *end = w->at;

	for (;; value >>= 8) {
		put_byte(w, (unsigned)value & 0xff);
		if (value >= INT8_MIN && value <= INT8_MAX)
			break;
	}
	put_header(w, SNMP_INTEGER, end);
}

static void
put_octets(struct writer *w, struct str octets)
{
	const uint8_t *end = w->at;

	if (octets.len > (size_t)(w->at - w->begin)) {
		w->failed = true;
		return;
	}
	w->at -= octets.len;
	if (octets.len > 0)
		memcpy(w->at, octets.p, octets.len);
	put_header(w, SNMP_OCTETS, end);
}

static void
put_base128(struct writer *w, uint64_t number)
{
	unsigned more = 0;

	do {
		put_byte(w, (unsigned)(number & 0x7f) | more);
		number >>= 7;
		more = 0x80;
	} while (number > 0);
}

static void
put_oid(struct writer *w, struct snmp_oid oid)
{
	const uint8_t *end = w->at;

	assert(oid.len >= 2);
	for (size_t i = oid.len; i > 2; i--)
		put_base128(w, oid.ids[i - 1]);
	put_base128(w, (uint64_t)oid.ids[0] * 40 + oid.ids[1]);
	put_header(w, SNMP_OID, end);
}

size_t
snmp_encode(const struct snmp_request *request, uint8_t *out, size_t size)
{
	uint8_t *end = out + size;
	struct writer w = { .begin = out, .at = end };
	bool bulk = request->pdu == SNMP_PDU_GETBULK;

	for (size_t i = request->count; i > 0 && !w.failed; i--) {
		const uint8_t *varbind_end = w.at;

		put_header(&w, SNMP_NULL, w.at);
		put_oid(&w, request->oids[i - 1]);
		put_header(&w, TAG_SEQUENCE, varbind_end);
	}
	put_header(&w, TAG_SEQUENCE, end);
	put_integer(&w, bulk ? (int32_t)request->max_repetitions : 0);
	put_integer(&w, bulk ? (int32_t)request->non_repeaters : 0);
	put_integer(&w, request->id);
	put_header(&w, request->pdu, end);
	put_octets(&w, request->community);
	put_integer(&w, (int32_t)request->version);
	put_header(&w, TAG_SEQUENCE, end);
	return w.failed ? 0 : (size_t)(end - w.at);
}

/* Reading. */

struct reader {
	const uint8_t *at, *end;
};

static struct reader
reader_of(struct str bytes)
{
	const uint8_t *at = (const uint8_t *)bytes.p;

	return (struct reader){ at, bytes.len == 0 ? at : at + bytes.len };
}

static size_t
left(const struct reader *r)
{
	return (size_t)(r->end - r->at);
}

/*
 * One tag, its length and its content, which is left to be read. A length may be in a longer form
 * than it needs (agents do so), of four bytes at most; the indefinite form is not allowed.
 */
static bool
take(struct reader *r, unsigned *tag, struct reader *content)
{
	size_t len, bytes;

	if (left(r) < 2)
		return false;
	*tag = *r->at++;
	len = *r->at++;
	if (len >= 0x80) {
		bytes = len & 0x7f;
		if (bytes == 0 || bytes > 4 || left(r) < bytes)
			return false;
		for (len = 0; bytes > 0; bytes--)
			len = len << 8 | *r->at++;
	}
	if (left(r) < len)
		return false;
	*content = (struct reader){ r->at, r->at + len };
	r->at += len;
	return true;
}

static bool
take_as(struct reader *r, unsigned wanted, struct reader *content)
{
	unsigned tag;

	return take(r, &tag, content) && tag == wanted;
}

/* Two's complement, 1 to 8 bytes. */
static bool
to_integer(const struct reader *content, int64_t *out)
{
	size_t len = left(content);
	uint64_t value;

	if (len == 0 || len > 8)
		return false;
	value = content->at[0] & 0x80 ? UINT64_MAX : 0;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | content->at[i];
	*out = (int64_t)value;
	return true;
}

static bool
take_integer(struct reader *r, int64_t *out)
{
	struct reader content;

	return take_as(r, SNMP_INTEGER, &content) && to_integer(&content, out);
}

/*
 * At most `most` bytes, and a zero before them. Agents there are that leave that zero out, so the
 * first bit is no sign.
 */
static bool
to_unsigned(const struct reader *content, size_t most, uint64_t *out)
{
	size_t len = left(content);
	uint64_t value = 0;

	if (len == 0 || len > most + 1 || (len == most + 1 && content->at[0] != 0))
		return false;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | content->at[i];
	*out = value;
	return true;
}

static bool
to_oid(const struct reader *content, struct snmp_oid_room *room)
{
	const uint8_t *at = content->at, *end = content->end;
	size_t len = 0;

	room->len = 0;
	while (at < end) {
		uint32_t number = 0;
		uint8_t byte;

		do {
			if (at == end || number > UINT32_MAX >> 7)
				return false;
			byte = *at++;
			number = number << 7 | (byte & 0x7f);
		} while (byte & 0x80);
		if (len == 0) {
			uint32_t first = number < 80 ? number / 40 : 2;

			room->ids[len++] = first;
			number -= first * 40;
		}
		if (len == SNMP_OID_MOST)
			return false;
		room->ids[len++] = number;
	}
	/* Empty is 0.0 to some agents. */
	if (len == 0) {
		room->ids[0] = room->ids[1] = 0;
		len = 2;
	}
	room->len = len;
	return true;
}

static struct str
to_str(const struct reader *content)
{
	return (struct str){ (const char *)content->at, left(content) };
}

static uint64_t
big_endian(const struct reader *r)
{
	uint64_t value = 0;

	for (const uint8_t *at = r->at; at < r->end; at++)
		value = value << 8 | *at;
	return value;
}

static double
to_float(const struct reader *content)
{
	uint32_t bits = (uint32_t)big_endian(content);
	float value;

	memcpy(&value, &bits, sizeof(value));
	return (double)value;
}

static double
to_double(const struct reader *content)
{
	uint64_t bits = big_endian(content);
	double value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

/* True if what an Opaque holds is a number in net-snmp's form; else it stays what it is. */
static bool
open_opaque(struct reader content, struct snmp_varbind *out)
{
	struct reader number;
	unsigned tag;

	if (left(&content) < 3 || *content.at++ != 0x9f || !take(&content, &tag, &number))
		return false;
	switch (tag) {
	case OPAQUE_FLOAT:
		out->type = SNMP_FLOAT;
		out->f = to_float(&number);
		return left(&number) == 4;
	case OPAQUE_DOUBLE:
		out->type = SNMP_DOUBLE;
		out->f = to_double(&number);
		return left(&number) == 8;
	case OPAQUE_INTEGER64:
		out->type = SNMP_INTEGER64;
		return to_integer(&number, &out->i);
	case OPAQUE_COUNTER64:
	case OPAQUE_UNSIGNED64:
		out->type = SNMP_COUNTER64;
		return to_unsigned(&number, 8, &out->u);
	default:
		return false;
	}
}

static bool
read_value(unsigned tag, const struct reader *content, struct snmp_varbind *out,
    struct snmp_varbind_room *room)
{
	out->type = (enum snmp_type)tag;
	switch (tag) {
	case SNMP_INTEGER:
		return to_integer(content, &out->i);
	case SNMP_COUNTER32:
	case SNMP_GAUGE32:
	case SNMP_TIMETICKS:
	case SNMP_UINTEGER32:
		return to_unsigned(content, 4, &out->u);
	case SNMP_COUNTER64:
		return to_unsigned(content, 8, &out->u);
	case SNMP_OID:
		out->oid = (struct snmp_oid){ room->value.ids, 0 };
		if (!to_oid(content, &room->value))
			return false;
		out->oid.len = room->value.len;
		return true;
	case SNMP_OPAQUE:
		if (open_opaque(*content, out))
			return true;
		out->type = SNMP_OPAQUE;
		out->octets = to_str(content);
		return true;
	case SNMP_IPADDRESS:
		out->octets = to_str(content);
		return out->octets.len == 4;
	case SNMP_OCTETS:
		out->octets = to_str(content);
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
	struct reader r = reader_of(*rest), varbind, name, value;
	unsigned tag;

	if (left(&r) == 0)
		return SNMP_READ_END;
	if (!take_as(&r, TAG_SEQUENCE, &varbind) || !take_as(&varbind, SNMP_OID, &name) ||
	    !take(&varbind, &tag, &value)) {
		*why = "a varbind is not BER";
		return SNMP_READ_BAD;
	}
	if (!to_oid(&name, &room->name)) {
		*why = "an object identifier is too long";
		return SNMP_READ_BAD;
	}
	if (!read_value(tag, &value, out, room)) {
		*why = "a value does not fit its type";
		return SNMP_READ_BAD;
	}
	out->name = snmp_oid_of(&room->name);
	*rest = to_str(&r);
	return SNMP_READ_ONE;
}

bool
snmp_decode(struct str bytes, struct snmp_message *message, const char **why)
{
	struct reader r = reader_of(bytes), whole, community, pdu, varbinds;
	unsigned tag;
	int64_t id;

	*why = "not an SNMP message";
	/* What follows the message is not looked at, as in other implementations. */
	if (!take_as(&r, TAG_SEQUENCE, &whole) || !take_integer(&whole, &message->version) ||
	    !take_as(&whole, SNMP_OCTETS, &community) || !take(&whole, &tag, &pdu))
		return false;
	*why = "not an SNMP request or response";
	if (tag < SNMP_PDU_GET || tag > 0xa8 || !take_integer(&pdu, &id) ||
	    !take_integer(&pdu, &message->status) || !take_integer(&pdu, &message->index) ||
	    !take_as(&pdu, TAG_SEQUENCE, &varbinds))
		return false;
	*why = "its request id is out of range";
	if (id < INT32_MIN || id > INT32_MAX)
		return false;
	message->community = to_str(&community);
	message->pdu = (uint8_t)tag;
	message->id = (int32_t)id;
	message->varbinds = to_str(&varbinds);
	return true;
}
