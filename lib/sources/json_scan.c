#include "sources/json_scan_priv.h"

#include <assert.h>

/* Digits of a number that surely fits a uint64_t. */
#define SAFE_DIGITS 19

int
scan_bad(struct scan *s, const char *at, const char *why)
{
	s->doc->bad_at = at;
	s->doc->why = at == s->doc->end ? "it ends too early" : why;
	return -1;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

void
scan_init(struct scan *s, struct scan_doc *doc, char *text, size_t len)
{
	assert(text[len] == '\0');
	*doc = (struct scan_doc){ .start = text, .end = text + len };
	*s = (struct scan){ .doc = doc, .p = text };
}

void
scan_enter(struct scan *inner, const struct scan *outer)
{
	assert(*outer->p == '[' || *outer->p == '{');
	*inner = (struct scan){
		.doc = outer->doc,
		.p = outer->p + 1,
		.depth = outer->depth + 1,
		.close = *outer->p == '[' ? ']' : '}',
		.first = true,
	};
}

/* Passes over the escape whose backslash p is. NULL: not JSON. */
static char *
skip_escape(struct scan *s, char *p)
{
	switch (*++p) {
	case '"':
	case '\\':
	case '/':
	case 'b':
	case 'f':
	case 'n':
	case 'r':
	case 't':
		return p + 1;
	case 'u':
		for (int i = 0; i < 4; i++) {
			if (str_hex_digit(*++p) < 0) {
				scan_bad(s, p, "\\u without four hexadecimal digits");
				return NULL;
			}
		}
		return p + 1;
	default:
		scan_bad(s, p, "no such escape");
		return NULL;
	}
}

/* Goes on with a string from its first special byte on. */
int
scan_string_rest(struct scan *s, char *p, struct scan_token *t)
{
	while (*p != '"') {
		if (*p == '\\') {
			t->escaped = true;
			p = skip_escape(s, p);
			if (p == NULL)
				return -1;
		} else if ((unsigned char)*p >= 0x80) {
			t->beyond_ascii = true;
			p++;
		} else {
			return scan_bad(s, p, "a control character in a string");
		}
		p = scan_plain(p, s->doc->end);
	}
	t->len = (size_t)(p - t->p);
	s->p = p + 1;
	return 0;
}

int
scan_key(struct scan *s, struct scan_token *t)
{
	if (*s->p != '"')
		return scan_bad(s, s->p, "a key is missing");
	if (scan_string(s, t) != 0)
		return -1;
	s->p = scan_space(s->p);
	if (*s->p != ':')
		return scan_bad(s, s->p, "a colon is missing");
	s->p = scan_space(s->p + 1);
	return 0;
}

static char *
skip_digits(char *p)
{
	while (is_digit(*p))
		p++;
	return p;
}

/* The fraction and the exponent at p, if any. NULL: not JSON. */
static char *
skip_fraction(struct scan *s, char *p)
{
	if (*p == '.') {
		if (!is_digit(*++p)) {
			scan_bad(s, p, "a digit is missing");
			return NULL;
		}
		p = skip_digits(p);
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		if (!is_digit(*p)) {
			scan_bad(s, p, "a digit is missing");
			return NULL;
		}
		p = skip_digits(p);
	}
	return p;
}

static int
scan_number(struct scan *s, struct scan_token *t)
{
	char *p = s->p, *digits;
	uint64_t magnitude = 0;

	t->type = SCAN_NUMBER;
	t->p = p;
	t->negative = *p == '-';
	digits = p += t->negative;
	if (!is_digit(*p))
		return scan_bad(s, p, t->negative ? "a digit is missing" : "no value");
	while (is_digit(*p))
		magnitude = magnitude * 10 + (uint64_t)(*p++ - '0');
	if (*digits == '0' && p - digits > 1)
		return scan_bad(s, digits, "a number begins with 0");
	t->whole = p - digits <= SAFE_DIGITS ||
	           str_to_u64((struct str){ digits, (size_t)(p - digits) }, &magnitude);
	t->magnitude = magnitude;
	if (*p == '.' || *p == 'e' || *p == 'E') {
		t->whole = false;
		p = skip_fraction(s, p);
		if (p == NULL)
			return -1;
	}
	t->len = (size_t)(p - t->p);
	s->p = p;
	return 0;
}

static int
scan_word(struct scan *s, const char *word, enum scan_type type, struct scan_token *t)
{
	char *p = s->p;

	for (; *word != '\0'; word++, p++) {
		if (*p != *word)
			return scan_bad(s, p, "no value");
	}
	t->type = type;
	t->p = s->p;
	t->len = (size_t)(p - s->p);
	s->p = p;
	return 0;
}

/* Takes in the array or object at s->p: all levels of it in one loop, a bit each for its kind. */
static int
skip_nested(struct scan *s, struct scan_token *t)
{
	struct scan in;
	uint64_t objects = *s->p == '{';
	size_t count = 0;

	assert(s->depth < SCAN_DEPTH); /* its callers walk a few levels by themselves, no more */
	t->type = *s->p == '{' ? SCAN_OBJECT : SCAN_ARRAY;
	t->p = s->p;
	scan_enter(&in, s);
	while (in.depth > s->depth) {
		struct scan_token ignored;
		int step = scan_next(&in);

		if (step == 0) {
			in.depth--;
			objects >>= 1;
			in.close = (objects & 1) != 0 ? '}' : ']';
			in.first = false;
			continue;
		}
		if (step < 0 || (in.close == '}' && scan_key(&in, &ignored) != 0))
			return -1;
		count += in.depth == s->depth + 1;
		if (*in.p == '[' || *in.p == '{') {
			if (in.depth >= SCAN_DEPTH)
				return scan_bad(s, in.p, "nested deeper than 64");
			objects = objects << 1 | (*in.p == '{');
			scan_enter(&in, &in);
		} else if (scan_value(&in, &ignored) != 0) {
			return -1;
		}
	}
	s->p = in.p;
	t->len = (size_t)(s->p - t->p);
	t->count = count;
	return 0;
}

/* Any value but a string. */
int
scan_unquoted(struct scan *s, struct scan_token *t)
{
	switch (*s->p) {
	case '[':
	case '{':
		return skip_nested(s, t);
	case 't':
		return scan_word(s, "true", SCAN_TRUE, t);
	case 'f':
		return scan_word(s, "false", SCAN_FALSE, t);
	case 'n':
		return scan_word(s, "null", SCAN_NULL, t);
	default:
		return scan_number(s, t);
	}
}

int
scan_finish(struct scan *s)
{
	s->p = scan_space(s->p);
	return s->p == s->doc->end ? 0 : scan_bad(s, s->p, "more than one value");
}

/* The four hexadecimal digits at p. */
static unsigned
code_unit(const char *p)
{
	unsigned unit = 0;

	for (int i = 0; i < 4; i++)
		unit = unit << 4 | (unsigned)str_hex_digit(p[i]);
	return unit;
}

static char *
put_utf8(char *out, unsigned c)
{
	if (c < 0x80) {
		*out++ = (char)c;
		return out;
	}
	if (c < 0x800) {
		*out++ = (char)(0xC0 | c >> 6);
	} else {
		if (c < 0x10000) {
			*out++ = (char)(0xE0 | c >> 12);
		} else {
			*out++ = (char)(0xF0 | c >> 18);
			*out++ = (char)(0x80 | (c >> 12 & 0x3F));
		}
		*out++ = (char)(0x80 | (c >> 6 & 0x3F));
	}
	*out++ = (char)(0x80 | (c & 0x3F));
	return out;
}

/* Reads what stands behind "\u" at *in, a pair of surrogates included, and moves *in past it. */
static unsigned
code_point(const char **in, const char *end)
{
	unsigned unit = code_unit(*in), low;

	*in += 4;
	if (unit < 0xD800 || unit > 0xDFFF)
		return unit;
	if (unit > 0xDBFF || end - *in < 6 || (*in)[0] != '\\' || (*in)[1] != 'u')
		return 0xFFFD;
	low = code_unit(*in + 2);
	if (low < 0xDC00 || low > 0xDFFF)
		return 0xFFFD;
	*in += 6;
	return 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
}

static char
short_escape(char c)
{
	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	default:
		return c;
	}
}

void
scan_unescape(struct scan_token *t)
{
	const char *end = t->p + t->len, *in = t->p;
	char *out = t->p;

	assert(t->type == SCAN_STRING);
	while (in < end) {
		if (*in != '\\') {
			*out++ = *in++;
			continue;
		}
		in += 2;
		if (in[-1] == 'u')
			out = put_utf8(out, code_point(&in, end));
		else
			*out++ = short_escape(in[-1]);
	}
	t->len = (size_t)(out - t->p);
	t->escaped = false;
}
