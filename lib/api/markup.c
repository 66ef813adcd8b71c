#include "api/markup_priv.h"

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* What stands for an ASCII character; NULL if it stands for itself. */
static const char *
reference(unsigned char c)
{
	switch (c) {
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '&':
		return "&amp;";
	case '"':
		return "&#34;";
	case '\'':
		return "&#39;";
	case '\r':
		return "&#13;";
	case '\t':
	case '\n':
		return NULL;
	default:
		return c < 0x20 || c == 0x7f ? REPLACEMENT : NULL;
	}
}

/* All that reference() knows, and what non-characters begin with. */
static const bool is_special[256] = {
	[0 ... 0x1F] = true,
	['"'] = true,
	['&'] = true,
	['\''] = true,
	['<'] = true,
	['>'] = true,
	[0x7F] = true,
	[0xEF] = true,
};

static bool
is_noncharacter(struct str s, size_t at)
{
	return s.len - at >= 3 && memcmp(s.p + at, "\xEF\xBF", 2) == 0 &&
	       ((unsigned char)s.p[at + 2] == 0xBE || (unsigned char)s.p[at + 2] == 0xBF);
}

void
markup_text(struct buf *out, struct str s)
{
	size_t done = 0; /* appended so far */
	size_t valid;    /* well-formed up to here */

	if (s.len == 0)
		return;
	valid = utf8_valid_prefix(s.p, s.len);
	for (size_t i = 0; i < s.len;) {
		const char *instead = NULL;
		size_t taken = 1;

		while (i < valid && !is_special[(unsigned char)s.p[i]])
			i++;
		if (i == s.len)
			break;
		if (i == valid) {
			instead = REPLACEMENT;
			valid = i + 1 + utf8_valid_prefix(s.p + i + 1, s.len - i - 1);
		} else if ((unsigned char)s.p[i] == 0xEF && is_noncharacter(s, i)) {
			instead = REPLACEMENT;
			taken = 3;
		} else if ((unsigned char)s.p[i] < 0x80) {
			instead = reference((unsigned char)s.p[i]);
		}
		if (instead != NULL) {
			buf_add(out, s.p + done, i - done);
			buf_puts(out, instead);
			done = i + taken;
		}
		i += taken;
	}
	buf_add(out, s.p + done, s.len - done);
}
