#include "sources/snmp_text.h"

#include <arpa/inet.h>
#include <stdio.h>

#define COMPONENT_MOST_BYTES 200

static bool
keep(struct arena *arena, const char *text, size_t len, struct str *out)
{
	*out = arena_copy(arena, (struct str){ text, len });
	return out->p != NULL;
}

static bool
is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

/* Text that people can read: UTF-8, of control characters only those that space it. */
static bool
is_readable(struct str octets)
{
	for (size_t i = 0; i < octets.len; i++) {
		if (is_control(octets.p[i]) && (octets.p[i] < '\t' || octets.p[i] > '\r'))
			return false;
	}
	return utf8_valid_prefix(octets.p, octets.len) == octets.len;
}

/* Some agents count the NUL that ends a string in C. */
static struct str
without_nuls(struct str octets)
{
	while (octets.len > 0 && octets.p[octets.len - 1] == '\0')
		octets.len--;
	return octets;
}

static bool
show_hex(struct arena *arena, struct str octets, const char *digits, char between, struct str *out)
{
	size_t len = octets.len == 0 ? 0 : octets.len * 3 - 1;
	char *text = arena_alloc(arena, len + 1);

	if (text == NULL)
		return false;
	for (size_t i = 0; i < octets.len; i++) {
		unsigned char byte = (unsigned char)octets.p[i];

		if (i > 0)
			text[i * 3 - 1] = between;
		text[i * 3] = digits[byte >> 4];
		text[i * 3 + 1] = digits[byte & 15];
	}
	text[len] = '\0';
	*out = (struct str){ text, len };
	return true;
}

static bool
show_text(struct arena *arena, struct str octets, struct str *out)
{
	char *text;

	octets = without_nuls(octets);
	if (!keep(arena, octets.p, octets.len, out))
		return false;
	text = (char *)(uintptr_t)out->p; /* just copied */
	for (size_t done = 0; (done += utf8_valid_prefix(text + done, out->len - done)) < out->len;)
		text[done] = '?';
	for (size_t i = 0; i < out->len; i++) {
		if (is_control(text[i]) && (text[i] < '\t' || text[i] > '\r'))
			text[i] = '?';
	}
	return true;
}

/* DateAndTime's display hint, "2d-1d-1d,1d:1d:1d.1d,1a1d:1d": 8 octets, or 11 with a time zone. */
static bool
show_date(struct arena *arena, struct str octets, struct str *out)
{
	const unsigned char *o = (const unsigned char *)octets.p;
	char text[64];
	int len;

	if (octets.len != 8 && octets.len != 11)
		return show_hex(arena, octets, "0123456789ABCDEF", ' ', out);
	len = snprintf(text, sizeof(text), "%d-%d-%d,%d:%d:%d.%d", o[0] << 8 | o[1], o[2], o[3],
	    o[4], o[5], o[6], o[7]);
	if (octets.len == 11)
		len += snprintf(text + len, sizeof(text) - (size_t)len, ",%c%d:%d",
		    o[8] == '-' ? '-' : '+', o[9], o[10]);
	return keep(arena, text, (size_t)len, out);
}

static bool
show_ip(struct arena *arena, struct str octets, struct str *out)
{
	char text[INET6_ADDRSTRLEN];

	if (octets.len != 4 && octets.len != 16)
		return show_hex(arena, octets, "0123456789ABCDEF", ' ', out);
	inet_ntop(octets.len == 4 ? AF_INET : AF_INET6, octets.p, text, sizeof(text));
	return keep(arena, text, strlen(text), out);
}

bool
snmp_text_show(struct arena *arena, struct str octets, enum snmp_show show, struct str *out)
{
	switch (show) {
	case SNMP_SHOW_AUTO:
		if (is_readable(without_nuls(octets)))
			return show_text(arena, octets, out);
		break;
	case SNMP_SHOW_TEXT:
		return show_text(arena, octets, out);
	case SNMP_SHOW_MAC:
		return show_hex(arena, octets, "0123456789abcdef", ':', out);
	case SNMP_SHOW_DATE:
		return show_date(arena, octets, out);
	case SNMP_SHOW_IP:
		return show_ip(arena, octets, out);
	case SNMP_SHOW_HEX:
		break;
	}
	return show_hex(arena, octets, "0123456789ABCDEF", ' ', out);
}

bool
snmp_text_oid(struct arena *arena, struct snmp_oid oid, struct str *out)
{
	char text[SNMP_OID_TEXT_BYTES];

	return keep(arena, text, snmp_oid_text(oid, text), out);
}

bool
snmp_text_component(struct arena *arena, struct str octets, struct str *out)
{
	bool dots = true;
	char *text;

	octets = str_trim(without_nuls(octets));
	if (octets.len > COMPONENT_MOST_BYTES)
		octets.len = utf8_valid_prefix(octets.p, COMPONENT_MOST_BYTES);
	if (!keep(arena, octets.p, octets.len, out))
		return false;
	text = (char *)(uintptr_t)out->p; /* just copied */
	for (size_t done = 0; (done += utf8_valid_prefix(text + done, out->len - done)) < out->len;)
		text[done] = '_';
	for (size_t i = 0; i < out->len; i++) {
		if (is_control(text[i]) || text[i] == '/')
			text[i] = '_';
		dots = dots && text[i] == '.';
	}
	/* "." and ".." mean something in a URL. */
	if (dots)
		memset(text, '_', out->len);
	return true;
}

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

void
snmp_text_kebab(struct buf *out, struct str symbol)
{
	for (size_t i = 0; i < symbol.len; i++) {
		const char *p = symbol.p + i;
		bool last_of_capitals = i + 1 < symbol.len && p[1] >= 'a' && p[1] <= 'z';

		if (i > 0 && is_upper(*p) && (!is_upper(p[-1]) || last_of_capitals))
			buf_putc(out, '-');
		buf_putc(out, is_upper(*p) ? (char)(*p - 'A' + 'a') : *p);
	}
}
