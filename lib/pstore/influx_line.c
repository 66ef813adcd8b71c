#include "pstore/influx_line.h"

static bool
is_special(char c)
{
	return c == ' ' || c == ',' || c == '=';
}

/* s[0..n) are backslashes; what follows them is s[n], or the end. */
static void
put_backslashes(struct buf *out, struct str s, size_t n)
{
	bool eats_next = n % 2 != 0 && (n == s.len || is_special(s.p[n]));

	for (size_t i = 0; i + eats_next < n; i++)
		buf_putc(out, '\\');
	if (eats_next)
		buf_putc(out, '/');
}

void
influx_name(struct buf *out, struct str s)
{
	while (s.len > 0) {
		size_t n = 1;

		if (s.p[0] == '\\') {
			while (n < s.len && s.p[n] == '\\')
				n++;
			put_backslashes(out, s, n);
		} else if (is_special(s.p[0])) {
			buf_putc(out, '\\');
			buf_putc(out, s.p[0]);
		} else if (s.p[0] == '\n' || s.p[0] == '\r') {
			buf_puts(out, s.p[0] == '\n' ? "\\n" : "\\r");
		} else if (s.p[0] == '\0') {
			buf_puts(out, "\xef\xbf\xbd");
		} else {
			buf_putc(out, s.p[0]);
		}
		s = str_sub(s, n, s.len);
	}
}

void
influx_tag(struct buf *out, struct str key, struct str value)
{
	if (value.len == 0 || key.len == 0)
		return;
	buf_putc(out, ',');
	influx_name(out, key);
	buf_putc(out, '=');
	influx_name(out, value);
}

void
influx_string(struct buf *out, struct str s)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		if (s.p[i] == '"' || s.p[i] == '\\')
			buf_putc(out, '\\');
		buf_putc(out, s.p[i]);
	}
	buf_putc(out, '"');
}
