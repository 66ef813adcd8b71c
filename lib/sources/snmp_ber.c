#include "sources/snmp_ber_priv.h"

#include <assert.h>

void
ber_put_byte(struct ber_writer *w, unsigned byte)
{
	if (w->at == w->begin)
		w->failed = true;
	else
		*--w->at = (uint8_t)byte;
}

/* Tag and length before what was written since end. */
void
ber_put_header(struct ber_writer *w, unsigned tag, const uint8_t *end)
{
	size_t len = (size_t)(end - w->at);

	if (len < 0x80) {
		ber_put_byte(w, (unsigned)len);
	} else {
		unsigned bytes = 0;

		for (; len > 0; len >>= 8, bytes++)
			ber_put_byte(w, len & 0xff);
		ber_put_byte(w, 0x80 | bytes);
	}
	ber_put_byte(w, tag);
}

void
ber_put_integer(struct ber_writer *w, int32_t value)
{
	const uint8_t *end = w->at;

	for (;; value >>= 8) {
		ber_put_byte(w, (unsigned)value & 0xff);
		if (value >= INT8_MIN && value <= INT8_MAX)
			break;
	}
	ber_put_header(w, BER_INTEGER, end);
}

void
ber_put_octets(struct ber_writer *w, struct str octets)
{
	const uint8_t *end = w->at;

	if (octets.len > (size_t)(w->at - w->begin)) {
		w->failed = true;
		return;
	}
	w->at -= octets.len;
	if (octets.len > 0)
		memcpy(w->at, octets.p, octets.len);
	ber_put_header(w, BER_OCTETS, end);
}

static void
put_base128(struct ber_writer *w, uint64_t number)
{
	unsigned more = 0;

	do {
		ber_put_byte(w, (unsigned)(number & 0x7f) | more);
		number >>= 7;
		more = 0x80;
	} while (number > 0);
}

void
ber_put_oid(struct ber_writer *w, struct snmp_oid oid)
{
	const uint8_t *end = w->at;

	assert(oid.len >= 2);
	for (size_t i = oid.len; i > 2; i--)
		put_base128(w, oid.ids[i - 1]);
	put_base128(w, (uint64_t)oid.ids[0] * 40 + oid.ids[1]);
	ber_put_header(w, BER_OID, end);
}

struct ber_reader
ber_reader_of(struct str bytes)
{
	const uint8_t *at = (const uint8_t *)bytes.p;

	return (struct ber_reader){ at, bytes.len == 0 ? at : at + bytes.len };
}

bool
ber_take(struct ber_reader *r, unsigned *tag, struct ber_reader *content)
{
	size_t len, bytes;

	if (ber_left(r) < 2)
		return false;
	*tag = *r->at++;
	len = *r->at++;
	if (len >= 0x80) {
		bytes = len & 0x7f;
		if (bytes == 0 || bytes > 4 || ber_left(r) < bytes)
			return false;
		for (len = 0; bytes > 0; bytes--)
			len = len << 8 | *r->at++;
	}
	if (ber_left(r) < len)
		return false;
	*content = (struct ber_reader){ r->at, r->at + len };
	r->at += len;
	return true;
}

bool
ber_take_as(struct ber_reader *r, unsigned wanted, struct ber_reader *content)
{
	unsigned tag;

	return ber_take(r, &tag, content) && tag == wanted;
}

bool
ber_to_integer(const struct ber_reader *content, int64_t *out)
{
	size_t len = ber_left(content);
	uint64_t value;

	if (len == 0 || len > 8)
		return false;
	value = content->at[0] & 0x80 ? UINT64_MAX : 0;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | content->at[i];
	*out = (int64_t)value;
	return true;
}

bool
ber_take_integer(struct ber_reader *r, int64_t *out)
{
	struct ber_reader content;

	return ber_take_as(r, BER_INTEGER, &content) && ber_to_integer(&content, out);
}

bool
ber_to_unsigned(const struct ber_reader *content, size_t most, uint64_t *out)
{
	size_t len = ber_left(content);
	uint64_t value = 0;

	if (len == 0 || len > most + 1 || (len == most + 1 && content->at[0] != 0))
		return false;
	for (size_t i = 0; i < len; i++)
		value = value << 8 | content->at[i];
	*out = value;
	return true;
}

bool
ber_to_oid(const struct ber_reader *content, struct snmp_oid_room *room)
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

struct str
ber_rest(const struct ber_reader *content)
{
	return (struct str){ (const char *)content->at, ber_left(content) };
}

uint64_t
ber_big_endian(const struct ber_reader *r)
{
	uint64_t value = 0;

	for (const uint8_t *at = r->at; at < r->end; at++)
		value = value << 8 | *at;
	return value;
}

bool
ber_take_octets(struct ber_reader *r, struct str *out)
{
	struct ber_reader content;

	if (!ber_take_as(r, BER_OCTETS, &content))
		return false;
	*out = ber_rest(&content);
	return true;
}
