#include "fleet/conf_text_priv.h"

void
conf_text_string(struct buf *out, struct str s)
{
	buf_putc(out, '"');
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c < ' ' || c == 0x7f) {
			buf_printf(out, "\\u%04x", c);
			continue;
		}
		if (c == '"' || c == '\\')
			buf_putc(out, '\\');
		buf_putc(out, (char)c);
	}
	buf_putc(out, '"');
}

/* True for what means the same to YAML's plain scalars, wherever it stands. */
static bool
is_plain(struct str s)
{
	if (s.len == 0 || (s.p[0] == '-' && (s.len == 1 || s.p[1] < '0' || s.p[1] > '9')))
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.p[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    c != '.' && c != '_' && c != '-' && c != '+')
			return false;
	}
	return true;
}

static void
add_scalar(struct buf *out, const struct conf *scalar)
{
	if (!scalar->quoted && (scalar->text.len == 0 || str_eq(scalar->text, STR("~"))))
		buf_puts(out, "null");
	else if (!scalar->quoted && is_plain(scalar->text))
		buf_str(out, scalar->text);
	else
		conf_text_string(out, scalar->text);
}

/* Recursion is bounded by the nesting that conf_parse lets through. */
void
conf_text_tree(struct buf *out, const struct conf *conf)
{
	bool is_map = conf != NULL && conf->shape == CONF_MAP;

	if (conf == NULL || conf->shape == CONF_SCALAR) {
		if (conf == NULL)
			buf_puts(out, "null");
		else
			add_scalar(out, conf);
		return;
	}
	buf_putc(out, is_map ? '{' : '[');
	for (const struct conf *child = conf->first; child != NULL; child = child->next) {
		if (child != conf->first)
			buf_puts(out, ", ");
		if (is_map) {
			conf_text_string(out, child->key);
			buf_puts(out, ": ");
		}
		conf_text_tree(out, child);
	}
	buf_putc(out, is_map ? '}' : ']');
}
