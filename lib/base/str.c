#include "base/str.h"

#include <stdlib.h>

int
str_cmp(struct str a, struct str b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len == 0 ? 0 : memcmp(a.p, b.p, len);

	if (order != 0)
		return order;
	return (a.len > b.len) - (a.len < b.len);
}

bool
str_starts(struct str s, struct str prefix)
{
	return s.len >= prefix.len && str_eq((struct str){ s.p, prefix.len }, prefix);
}

bool
str_ends(struct str s, struct str suffix)
{
	return s.len >= suffix.len && str_eq(str_sub(s, s.len - suffix.len, suffix.len), suffix);
}

/* Not tolower(): the locale has no say in protocols. */
static char
lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool
str_eq_nocase(struct str a, struct str b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (lower(a.p[i]) != lower(b.p[i]))
			return false;
	}
	return true;
}

struct str
str_sub(struct str s, size_t from, size_t len)
{
	if (from >= s.len)
		return STR_EMPTY;
	return (struct str){ s.p + from, len < s.len - from ? len : s.len - from };
}

bool
str_split(struct str *rest, char sep, struct str *part)
{
	const char *at;

	if (rest->len == 0)
		return false;
	at = memchr(rest->p, sep, rest->len);
	if (at == NULL) {
		*part = *rest;
		*rest = STR_EMPTY;
	} else {
		*part = (struct str){ rest->p, (size_t)(at - rest->p) };
		*rest = str_sub(*rest, part->len + 1, SIZE_MAX);
	}
	return true;
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str
str_trim(struct str s)
{
	while (s.len > 0 && is_space(s.p[0])) {
		s.p++;
		s.len--;
	}
	while (s.len > 0 && is_space(s.p[s.len - 1]))
		s.len--;
	return s;
}

char *
str_dup(struct str s)
{
	char *copy = malloc(s.len + 1);

	if (copy == NULL)
		return NULL;
	if (s.len > 0)
		memcpy(copy, s.p, s.len);
	copy[s.len] = '\0';
	return copy;
}

/* Digits only, at least one, at most max. */
static bool
to_magnitude(struct str digits, uint64_t max, uint64_t *out)
{
	uint64_t value = 0;

	if (digits.len == 0)
		return false;
	for (size_t i = 0; i < digits.len; i++) {
		uint64_t digit = (uint64_t)(unsigned char)digits.p[i] - '0';

		if (digit > 9 || value > (max - digit) / 10)
			return false;
		value = value * 10 + digit;
	}
	*out = value;
	return true;
}

bool
str_to_u64(struct str s, uint64_t *out)
{
	return to_magnitude(str_sub(s, s.len > 0 && s.p[0] == '+', SIZE_MAX), UINT64_MAX, out);
}

bool
str_to_i64(struct str s, int64_t *out)
{
	bool negative = s.len > 0 && s.p[0] == '-';
	bool has_sign = negative || (s.len > 0 && s.p[0] == '+');
	uint64_t max = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
	uint64_t magnitude;

	if (!to_magnitude(str_sub(s, has_sign, SIZE_MAX), max, &magnitude))
		return false;
	if (!negative)
		*out = (int64_t)magnitude;
	else
		*out = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
	return true;
}

int
str_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool
str_is_bare_ipv6(struct str host)
{
	return host.len > 0 && host.p[0] != '[' && memchr(host.p, ':', host.len) != NULL;
}

/*
 * The length of the character at p, 0 if it is ill-formed or cut. Its second byte carries what
 * RFC 3629 (section 4) forbids: overlong forms, surrogates and all beyond U+10FFFF.
 */
static size_t
utf8_character(const unsigned char *p, size_t len)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t needed;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return 0;
	needed = p[0] >= 0xF0 ? 4 : p[0] >= 0xE0 ? 3 : 2;
	if (p[0] == 0xE0)
		low = 0xA0;
	else if (p[0] == 0xED)
		high = 0x9F;
	else if (p[0] == 0xF0)
		low = 0x90;
	else if (p[0] == 0xF4)
		high = 0x8F;
	if (len < needed || p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < needed; i++) {
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	}
	return needed;
}

size_t
utf8_valid_prefix(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t at = 0;

	while (at < len) {
		uint64_t eight;
		size_t n;

		/* Nearly all of what endpoints send is ASCII. */
		while (len - at >= sizeof(eight)) {
			memcpy(&eight, p + at, sizeof(eight));
			if ((eight & UINT64_C(0x8080808080808080)) != 0)
				break;
			at += sizeof(eight);
		}
		if (at == len)
			break;
		n = utf8_character(p + at, len - at);
		if (n == 0)
			break;
		at += n;
	}
	return at;
}

size_t
utf8_printable(const char *p, size_t len)
{
	const unsigned char *c = (const unsigned char *)p;

	if (c[0] < 0x20 || c[0] == 0x7F)
		return 0;
	/* U+0080 to U+009F are control characters too; some terminals obey them. */
	if (c[0] == 0xC2 && len > 1 && c[1] < 0xA0)
		return 0;
	for (size_t n = 1; n <= 4 && n <= len; n++) {
		if (utf8_valid_prefix(p, n) == n)
			return n;
	}
	return 0;
}

void
base64_group(char out[4], uint32_t bits, size_t n)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	out[0] = digits[bits >> 18 & 63];
	out[1] = digits[bits >> 12 & 63];
	out[2] = n > 1 ? digits[bits >> 6 & 63] : '=';
	out[3] = n > 2 ? digits[bits & 63] : '=';
}
