#include "base/conf_priv.h"

/* Reads RFC 8259. */
struct json {
	struct conf_build *b;
	const char *p, *end;
	struct conf_place at; /* of the byte at p */
	struct buf text;      /* the string read last */
};

static int read_value(struct json *);

/* The byte at p, -1 at the end. */
static int
peek(const struct json *j)
{
	return j->p < j->end ? (unsigned char)*j->p : -1;
}

static void
pass(struct json *j)
{
	conf_place_pass(&j->at, j->p, j->end);
	j->p++;
}

static void
pass_space(struct json *j)
{
	while (peek(j) == ' ' || peek(j) == '\t' || peek(j) == '\n' || peek(j) == '\r')
		pass(j);
}

static bool
pass_if(struct json *j, char c)
{
	if (peek(j) != (unsigned char)c)
		return false;
	pass(j);
	return true;
}

static int
expected(struct json *j, const char *what)
{
	return conf_build_fail(j->b, ERR_CONFIG, j->at, "expected %s%s", what,
	    j->p == j->end ? ", found the end of the text" : "");
}

static bool
read_hex4(struct json *j, unsigned *out)
{
	unsigned value = 0;

	for (int i = 0; i < 4; i++) {
		int c = peek(j);
		int digit;

		if (c >= '0' && c <= '9')
			digit = c - '0';
		else if (c >= 'a' && c <= 'f')
			digit = c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			digit = c - 'A' + 10;
		else
			return false;
		value = value * 16 + (unsigned)digit;
		pass(j);
	}
	*out = value;
	return true;
}

/* The byte that carries six bits of c, from shift on, behind the first. */
static char
trailing(unsigned c, unsigned shift)
{
	return (char)(0x80 | (c >> shift & 0x3F));
}

static void
add_utf8(struct buf *b, unsigned c)
{
	char bytes[4];
	size_t len;

	if (c < 0x80) {
		bytes[0] = (char)c;
		len = 1;
	} else if (c < 0x800) {
		bytes[0] = (char)(0xC0 | c >> 6);
		len = 2;
	} else if (c < 0x10000) {
		bytes[0] = (char)(0xE0 | c >> 12);
		len = 3;
	} else {
		bytes[0] = (char)(0xF0 | c >> 18);
		len = 4;
	}
	for (size_t i = 1; i < len; i++)
		bytes[i] = trailing(c, (unsigned)(len - 1 - i) * 6);
	buf_add(b, bytes, len);
}

/* What follows "\u": four digits, or a surrogate pair (section 7). */
static int
read_unicode(struct json *j)
{
	struct conf_place at = j->at;
	unsigned high, low;

	if (!read_hex4(j, &high))
		return expected(j, "four hexadecimal digits");
	if (high < 0xD800 || high > 0xDFFF) {
		add_utf8(&j->text, high);
		return 0;
	}
	if (high > 0xDBFF || !pass_if(j, '\\') || !pass_if(j, 'u') || !read_hex4(j, &low) ||
	    low < 0xDC00 || low > 0xDFFF)
		return conf_build_fail(j->b, ERR_CONFIG, at, "half of a surrogate pair");
	add_utf8(&j->text, 0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF));
	return 0;
}

static int
read_escape(struct json *j)
{
	static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *at;
	int c = peek(j);

	if (c == 'u') {
		pass(j);
		return read_unicode(j);
	}
	at = c <= 0 ? NULL : strchr(names, c);
	if (at == NULL)
		return expected(j, "a character that can be escaped");
	buf_putc(&j->text, meant[at - names]);
	pass(j);
	return 0;
}

/* Reads to j->text; the opening quote is next. */
static int
read_string(struct json *j)
{
	buf_clear(&j->text);
	pass(j);
	while (!pass_if(j, '"')) {
		int c = peek(j);

		if (c < 0x20)
			return expected(j, "'\"' at the end of a text");
		if (c != '\\') {
			buf_putc(&j->text, (char)c);
			pass(j);
		} else {
			pass(j);
			if (read_escape(j) != 0)
				return -1;
		}
	}
	return j->text.failed ? conf_build_nomem(j->b) : 0;
}

/* Reads a string and gives it to the builder, as a key or a value. */
static int
take_string(struct json *j)
{
	struct conf_place at = j->at;

	if (read_string(j) != 0)
		return -1;
	return conf_build_scalar(j->b, buf_view(&j->text), true, at);
}

/* true, false, null or a number: the run of letters, digits, '+', '-' and '.'. */
static int
read_word(struct json *j)
{
	struct conf_place at = j->at;
	struct str word = { j->p, 0 };
	double number;

	for (int c = peek(j); (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	                      (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
	     c = peek(j)) {
		pass(j);
		word.len++;
	}
	if (str_eq(word, STR("true")) || str_eq(word, STR("false")) || str_eq(word, STR("null")) ||
	    conf_parse_float(word, &number))
		return conf_build_scalar(j->b, word, false, at);
	j->at = at;
	return expected(j, "a value");
}

static int
read_list(struct json *j)
{
	if (conf_build_open(j->b, CONF_LIST, j->at) != 0)
		return -1;
	pass(j);
	pass_space(j);
	if (peek(j) != ']') {
		do {
			if (read_value(j) != 0)
				return -1;
		} while (pass_if(j, ','));
	}
	if (!pass_if(j, ']'))
		return expected(j, "',' or ']'");
	conf_build_close(j->b);
	return 0;
}

static int
read_member(struct json *j)
{
	pass_space(j);
	if (peek(j) != '"')
		return expected(j, "a key in quotes");
	if (take_string(j) != 0)
		return -1;
	pass_space(j);
	if (!pass_if(j, ':'))
		return expected(j, "':' after a key");
	return read_value(j);
}

static int
read_map(struct json *j)
{
	if (conf_build_open(j->b, CONF_MAP, j->at) != 0)
		return -1;
	pass(j);
	pass_space(j);
	if (peek(j) != '}') {
		do {
			if (read_member(j) != 0)
				return -1;
		} while (pass_if(j, ','));
	}
	if (!pass_if(j, '}'))
		return expected(j, "',' or '}'");
	conf_build_close(j->b);
	return 0;
}

/* With the space around it. The builder's limit on depth bounds the recursion. */
static int
read_value(struct json *j)
{
	int c, rc;

	pass_space(j);
	c = peek(j);
	if (c == '{')
		rc = read_map(j);
	else if (c == '[')
		rc = read_list(j);
	else if (c == '"')
		rc = take_string(j);
	else
		rc = read_word(j);
	pass_space(j);
	return rc;
}

int
conf_json_read(struct conf_build *b, struct str text)
{
	struct json j = { .b = b, .p = text.p, .end = text.p + text.len, .at = { 1, 1 } };
	int rc;

	buf_init(&j.text, 0);
	rc = read_value(&j);
	if (rc == 0 && j.p != j.end)
		rc = conf_build_fail(b, ERR_CONFIG, j.at, "expected the end of the text");
	buf_fini(&j.text);
	return rc;
}
