#include "scotty/out.h"

void
out_text(struct buf *out, struct str text)
{
	while (text.len > 0) {
		size_t n = utf8_printable(text.p, text.len);

		if (n > 0)
			buf_add(out, text.p, n);
		else
			buf_printf(out, "\\x%02x", (unsigned char)text.p[0]);
		text = str_sub(text, n > 0 ? n : 1, SIZE_MAX);
	}
}

/* Appends the control character at the start of the text and returns its length; 0: no UTF-8. */
static size_t
put_control(struct buf *out, struct str text)
{
	unsigned char c = (unsigned char)text.p[0];

	if (c == 0xC2 && text.len > 1) {
		buf_printf(out, "\\u%04x", (unsigned char)text.p[1]);
		return 2;
	}
	if (c >= 0x80)
		return 0;
	if (c == '\n' || c == '\t')
		buf_putc(out, (char)c);
	else
		buf_printf(out, "\\u%04x", c);
	return 1;
}

size_t
out_json(struct buf *out, struct str piece, bool is_last)
{
	struct str rest = piece;

	while (rest.len > 0) {
		size_t n = utf8_printable(rest.p, rest.len);

		if (n > 0) {
			buf_add(out, rest.p, n);
		} else if ((unsigned char)rest.p[0] >= 0x80 && rest.len < 4 && !is_last) {
			break;
		} else {
			n = put_control(out, rest);
			if (n == 0)
				buf_puts(out, "\\ufffd");
		}
		rest = str_sub(rest, n > 0 ? n : 1, SIZE_MAX);
	}
	return piece.len - rest.len;
}
