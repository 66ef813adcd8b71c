/*
 * sources/snmp_ber_priv.h - the Basic Encoding Rules (X.690), as much of them as SNMP uses.
 *
 * Writing goes from the end of the room to its beginning, so that a length is known when its turn
 * comes. Reading never goes beyond what it was given.
 *
 * Threads: pure functions on the caller's data.
 */
#ifndef SCOTTY_SOURCES_SNMP_BER_PRIV_H
#define SCOTTY_SOURCES_SNMP_BER_PRIV_H

#include "sources/snmp_oid.h"

enum {
	BER_INTEGER = 0x02,
	BER_OCTETS = 0x04,
	BER_NULL = 0x05,
	BER_OID = 0x06,
	BER_SEQUENCE = 0x30
};

struct ber_writer {
	uint8_t *begin, *at; /* free; the first byte written */
	bool failed;         /* it did not fit */
};

void ber_put_byte(struct ber_writer *, unsigned byte);
/* Tag and length, before what was written since end. */
void ber_put_header(struct ber_writer *, unsigned tag, const uint8_t *end);
void ber_put_integer(struct ber_writer *, int32_t);
void ber_put_octets(struct ber_writer *, struct str);
void ber_put_oid(struct ber_writer *, struct snmp_oid); /* two numbers at least */

struct ber_reader {
	const uint8_t *at, *end;
};

struct ber_reader ber_reader_of(struct str);
struct str ber_rest(const struct ber_reader *);

static inline size_t
ber_left(const struct ber_reader *r)
{
	return (size_t)(r->end - r->at);
}

/*
 * One tag, its length and its content, which is left to be read. A length may be in a longer form
 * than it needs (agents do so), of four bytes at most; the indefinite form is not allowed.
 */
bool ber_take(struct ber_reader *, unsigned *tag, struct ber_reader *content);
bool ber_take_as(struct ber_reader *, unsigned tag, struct ber_reader *content);
bool ber_take_integer(struct ber_reader *, int64_t *out);
bool ber_take_octets(struct ber_reader *, struct str *out);

/* What a content holds. Two's complement, 1 to 8 bytes. */
bool ber_to_integer(const struct ber_reader *, int64_t *out);
/*
 * At most `most` bytes, and a zero before them. Agents there are that leave that zero out, so the
 * first bit is no sign.
 */
bool ber_to_unsigned(const struct ber_reader *, size_t most, uint64_t *out);
bool ber_to_oid(const struct ber_reader *, struct snmp_oid_room *out);
uint64_t ber_big_endian(const struct ber_reader *);

#endif
