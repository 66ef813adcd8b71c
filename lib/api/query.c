#include "api/query_priv.h"

static bool
is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

/* pchar and '/' of RFC 3986, section 3.3. */
static bool
may_stand_in_path(unsigned char c)
{
	return is_unreserved(c) || (c != '\0' && strchr("/:@!$&'()*+,;=", c) != NULL);
}

/* The byte that "%XX" at s[at] stands for, or -1. */
static int
escape_at(struct str s, size_t at)
{
	int high, low;

	if (s.len - at < 3)
		return -1;
	high = str_hex_digit(s.p[at + 1]);
	low = str_hex_digit(s.p[at + 2]);
	return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static void
put_escape(struct buf *out, unsigned char c)
{
	static const char digits[] = "0123456789ABCDEF";
	char text[3] = { '%', digits[c >> 4], digits[c & 15] };

	buf_add(out, text, sizeof(text));
}

bool
target_split(struct str target, struct str *path, struct str *query)
{
	const struct str schemes[] = { STR("http://"), STR("https://") };
	struct str rest = target;

	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		const char *slash;

		if (!str_eq_nocase(str_sub(target, 0, schemes[i].len), schemes[i]))
			continue;
		rest = str_sub(target, schemes[i].len, target.len);
		slash = rest.len == 0 ? NULL : memchr(rest.p, '/', rest.len);
		if (slash == NULL)
			return false;
		rest = str_sub(rest, (size_t)(slash - rest.p), rest.len);
	}
	*path = STR_EMPTY;
	*query = STR_EMPTY;
	if (str_split(&rest, '?', path))
		*query = rest;
	return path->len > 0 && path->p[0] == '/';
}

bool
path_normalize(struct str path, struct buf *out)
{
	for (size_t i = 0; i < path.len; i++) {
		unsigned char c = (unsigned char)path.p[i];

		if (c == '%') {
			int byte = escape_at(path, i);

			if (byte < 0)
				return false;
			i += 2;
			if (is_unreserved((unsigned char)byte))
				buf_putc(out, (char)byte);
			else
				put_escape(out, (unsigned char)byte);
		} else if (may_stand_in_path(c)) {
			buf_putc(out, (char)c);
		} else {
			put_escape(out, c);
		}
	}
	return true;
}

/* Cuts out back to length `to` plus the components before the last one. */
static void
drop_component(struct buf *out, size_t to)
{
	while (out->len > to && out->p[out->len - 1] != '/')
		out->len--;
	if (out->len > to)
		out->len--;
}

bool
path_clean(struct str path, struct buf *out)
{
	size_t start = out->len;
	struct str rest = path, part;

	while (str_split(&rest, '/', &part)) {
		if (part.len == 0 || str_eq(part, STR(".")))
			continue;
		if (str_eq(part, STR(".."))) {
			drop_component(out, start);
			continue;
		}
		buf_putc(out, '/');
		buf_str(out, part);
	}
	if (out->len == start || str_ends(path, STR("/")))
		buf_putc(out, '/');
	return !str_eq(path, str_sub(buf_view(out), start, out->len));
}

void
url_escape(struct str bytes, struct buf *out)
{
	for (size_t i = 0; i < bytes.len; i++) {
		unsigned char c = (unsigned char)bytes.p[i];

		if (is_unreserved(c))
			buf_putc(out, (char)c);
		else
			put_escape(out, c);
	}
}

void
query_escape(struct str query, struct buf *out)
{
	for (size_t i = 0; i < query.len; i++) {
		unsigned char c = (unsigned char)query.p[i];

		if (c > 0x20 && c < 0x7f)
			buf_putc(out, (char)c);
		else
			put_escape(out, c);
	}
}

/* Decodes to out[0..s.len). False at a broken escape. */
static bool
decode(struct str s, bool plus_is_space, char *out, size_t *len)
{
	*len = 0;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (c == '%') {
			int byte = escape_at(s, i);

			if (byte < 0)
				return false;
			c = (char)byte;
			i += 2;
		} else if (c == '+' && plus_is_space) {
			c = ' ';
		}
		out[(*len)++] = c;
	}
	return true;
}

struct str
url_decode(struct arena *arena, struct str path)
{
	char *out = arena_alloc(arena, path.len);
	size_t len;

	if (out == NULL || !decode(path, false, out, &len))
		return STR_EMPTY;
	return (struct str){ out, len };
}

/* The next pair that is not empty, cut at its '='. */
static bool
next_pair(struct str *query, struct str *name, struct str *value)
{
	while (query->len > 0) {
		size_t end = 0;

		while (end < query->len && query->p[end] != '&' && query->p[end] != ';')
			end++;
		*value = str_sub(*query, 0, end);
		*query = str_sub(*query, end + 1, query->len);
		if (value->len == 0)
			continue;
		str_split(value, '=', name);
		return true;
	}
	return false;
}

bool
query_next(struct str *query, const char *name, struct arena *arena, struct str *value)
{
	struct str raw_name, raw_value;
	/* What is decoded is never longer than what it came from. */
	char *out = arena_alloc(arena, query->len);

	if (out == NULL)
		return false;
	while (next_pair(query, &raw_name, &raw_value)) {
		size_t len;

		if (!decode(raw_name, true, out, &len) ||
		    !str_eq((struct str){ out, len }, str_of(name)))
			continue;
		if (!decode(raw_value, true, out, &len))
			continue;
		*value = (struct str){ out, len };
		return true;
	}
	return false;
}

bool
query_get(struct str query, const char *name, struct arena *arena, struct str *value)
{
	return query_next(&query, name, arena, value);
}

struct str
metric_path(struct arena *arena, struct str typed)
{
	char *out;

	while (typed.len > 0 && typed.p[0] == '/')
		typed = str_sub(typed, 1, typed.len);
	while (typed.len > 0 && typed.p[typed.len - 1] == '/')
		typed.len--;
	if (typed.len == 0)
		return STR("");
	out = arena_alloc(arena, typed.len + 1);
	if (out == NULL)
		return STR_EMPTY;
	out[0] = '/';
	memcpy(out + 1, typed.p, typed.len);
	return (struct str){ out, typed.len + 1 };
}
