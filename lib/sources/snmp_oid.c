#include "sources/snmp_oid.h"

#include <assert.h>

int
snmp_oid_cmp(struct snmp_oid a, struct snmp_oid b)
{
	size_t len = a.len < b.len ? a.len : b.len;

	for (size_t i = 0; i < len; i++) {
		if (a.ids[i] != b.ids[i])
			return a.ids[i] < b.ids[i] ? -1 : 1;
	}
	return a.len == b.len ? 0 : a.len < b.len ? -1 : 1;
}

bool
snmp_oid_is_under(struct snmp_oid oid, struct snmp_oid root)
{
	return oid.len >= root.len &&
	       (root.len == 0 || memcmp(oid.ids, root.ids, root.len * sizeof(*root.ids)) == 0);
}

void
snmp_oid_keep(struct snmp_oid_room *room, struct snmp_oid oid)
{
	assert(oid.len <= SNMP_OID_MOST);
	room->len = oid.len;
	if (oid.len > 0)
		memmove(room->ids, oid.ids, oid.len * sizeof(*oid.ids));
}

bool
snmp_oid_parse(struct str text, struct snmp_oid_room *out)
{
	struct snmp_oid_room room;
	struct str part;

	room.len = 0;
	if (text.len > 0 && text.p[0] == '.')
		text = str_sub(text, 1, text.len);
	if (text.len == 0 || text.p[text.len - 1] == '.')
		return false;
	while (str_split(&text, '.', &part)) {
		uint64_t number;

		if (room.len == SNMP_OID_MOST || part.len == 0 || part.p[0] == '+' ||
		    !str_to_u64(part, &number) || number > UINT32_MAX)
			return false;
		room.ids[room.len++] = (uint32_t)number;
	}
	/* The first two share a byte on the wire (X.690 section 8.19.4). */
	if (room.len < 2 || room.ids[0] > 2 || (room.ids[0] < 2 && room.ids[1] > 39))
		return false;
	*out = room;
	return true;
}

static size_t
put_number(char *out, uint32_t number)
{
	char digits[10];
	size_t len = 0, n;

	do {
		digits[len++] = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	for (n = 0; len > 0; n++)
		out[n] = digits[--len];
	return n;
}

size_t
snmp_oid_text(struct snmp_oid oid, char *out)
{
	size_t len = 0;

	assert(oid.len <= SNMP_OID_MOST);
	for (size_t i = 0; i < oid.len; i++) {
		if (i > 0)
			out[len++] = '.';
		len += put_number(out + len, oid.ids[i]);
	}
	return len;
}
